/** CRC32C (Castagnoli), as iSCSI and ext4 compute it: that of "123456789" is e3069283. */
#pragma once
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#if defined(__x86_64__)
#include <nmmintrin.h>
#define CRC_TARGET __attribute__((target("sse4.2")))
#define CRC_SUPPORTED (__builtin_cpu_supports("sse4.2") != 0)
#define CRC_WORD _mm_crc32_u64
#define CRC_BYTE _mm_crc32_u8
#elif defined(__aarch64__)
#include <arm_acle.h>
#include <asm/hwcap.h>
#include <sys/auxv.h>
#define CRC_TARGET __attribute__((target("+crc")))
#define CRC_SUPPORTED ((getauxval(AT_HWCAP) & HWCAP_CRC32) != 0)
#define CRC_WORD __crc32cd
#define CRC_BYTE __crc32cb
#endif

/** By a table, anywhere. */
inline uint32_t crc32cPortable(const uint8_t* bytes, size_t length) {
  struct Table {
    uint32_t of[256];
    Table() {
      for (uint32_t i = 0; i < 256; i++) {
        uint32_t value = i;
        for (int bit = 0; bit < 8; bit++) value = (value >> 1) ^ ((value & 1) != 0 ? 0x82f63b78 : 0);
        of[i] = value;
      }
    }
  };
  static const Table table;
  uint32_t crc = 0xffffffff;
  for (size_t i = 0; i < length; i++) crc = (crc >> 8) ^ table.of[(crc ^ bytes[i]) & 0xff];
  return ~crc;
}

#ifdef CRC_TARGET
CRC_TARGET inline uint32_t crc32cByProcessor(const uint8_t* bytes, size_t length) {
  uint32_t crc = 0xffffffff;
  for (; length >= 8; bytes += 8, length -= 8) {
    uint64_t word;
    memcpy(&word, bytes, 8);
    crc = static_cast<uint32_t>(CRC_WORD(crc, word));
  }
  for (; length > 0; bytes++, length--) crc = CRC_BYTE(crc, *bytes);
  return ~crc;
}
#endif

/** By the processor where it can, else by a table. */
inline uint32_t crc32c(const uint8_t* bytes, size_t length) {
#ifdef CRC_TARGET
  static const bool supported = CRC_SUPPORTED;
  if (supported) return crc32cByProcessor(bytes, length);
#endif
  return crc32cPortable(bytes, length);
}

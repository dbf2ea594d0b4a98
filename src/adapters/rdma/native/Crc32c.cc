#include "Crc32c.h"

#include <string.h>

#if defined(__x86_64__)
#include <nmmintrin.h>
#elif defined(__aarch64__) && defined(__linux__)
#include <arm_acle.h>
#include <asm/hwcap.h>
#include <sys/auxv.h>
#endif

namespace {

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

#if defined(__x86_64__)
bool isSupported() { return __builtin_cpu_supports("sse4.2") != 0; }

__attribute__((target("sse4.2"))) uint32_t byProcessor(const uint8_t* bytes, size_t length) {
  uint64_t crc = 0xffffffff;
  for (; length >= 8; bytes += 8, length -= 8) {
    uint64_t word;
    memcpy(&word, bytes, 8);
    crc = _mm_crc32_u64(crc, word);
  }
  auto last = static_cast<uint32_t>(crc);
  for (; length > 0; bytes++, length--) last = _mm_crc32_u8(last, *bytes);
  return ~last;
}
#elif defined(__aarch64__) && defined(__linux__)
bool isSupported() { return (getauxval(AT_HWCAP) & HWCAP_CRC32) != 0; }

__attribute__((target("+crc"))) uint32_t byProcessor(const uint8_t* bytes, size_t length) {
  uint32_t crc = 0xffffffff;
  for (; length >= 8; bytes += 8, length -= 8) {
    uint64_t word;
    memcpy(&word, bytes, 8);
    crc = __crc32cd(crc, word);
  }
  for (; length > 0; bytes++, length--) crc = __crc32cb(crc, *bytes);
  return ~crc;
}
#else
bool isSupported() { return false; }
uint32_t byProcessor(const uint8_t* bytes, size_t length) { return crc32cPortable(bytes, length); }
#endif

}  // namespace

uint32_t crc32cPortable(const uint8_t* bytes, size_t length) {
  static const Table table;
  uint32_t crc = 0xffffffff;
  for (size_t i = 0; i < length; i++) crc = (crc >> 8) ^ table.of[(crc ^ bytes[i]) & 0xff];
  return ~crc;
}

uint32_t crc32c(const uint8_t* bytes, size_t length) {
  static const bool supported = isSupported();
  return supported ? byProcessor(bytes, length) : crc32cPortable(bytes, length);
}

/** CRC32C (Castagnoli), as iSCSI and ext4 compute it: check value of "123456789" is e3069283. */
#pragma once
#include <stddef.h>
#include <stdint.h>

/** By the processor where it can, else by a table. */
uint32_t crc32c(const uint8_t* bytes, size_t length);
/** By a table, anywhere. */
uint32_t crc32cPortable(const uint8_t* bytes, size_t length);

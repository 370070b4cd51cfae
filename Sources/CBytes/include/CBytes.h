// Two loops over raw bytes that want instructions Swift has no name for.
#ifndef VOLFS_CBYTES_H
#define VOLFS_CBYTES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/// CRC-32C (Castagnoli, RFC 3720 appendix B.4) of `count` bytes, continuing from `crc` (0 to begin).
/// Any thread; no alignment needed.
uint32_t volfs_crc32c(uint32_t crc, const void *bytes, size_t count);

/// The same value computed from tables only. What processors without the instruction use, and the tests' reference.
uint32_t volfs_crc32c_portable(uint32_t crc, const void *bytes, size_t count);

/// True if all `count` bytes are zero.
bool volfs_is_zero(const void *bytes, size_t count);

#endif

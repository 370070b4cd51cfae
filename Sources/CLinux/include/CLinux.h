// What Glibc's Swift overlay does not carry: variadic or macro-only calls of Linux.
#ifndef VOLFS_CLINUX_H
#define VOLFS_CLINUX_H

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <fcntl.h>
#include <stdint.h>
#include <sys/random.h>
#include <sys/types.h>

/// fallocate(2) with FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE.
static inline int volfs_punch_hole(int descriptor, int64_t offset, int64_t count) {
    return fallocate(descriptor, 0x02 | 0x01, offset, count);
}

/// open(2) with its third argument.
static inline int volfs_open(const char *path, int flags, mode_t mode) { return open(path, flags, mode); }

/// The size in bytes of the block device behind `descriptor`, or -1 and errno.
int64_t volfs_block_device_size(int descriptor);

#endif

#include "CLinux.h"

#include <linux/fs.h>
#include <sys/ioctl.h>

int64_t volfs_block_device_size(int descriptor) {
    uint64_t size = 0;
    return ioctl(descriptor, BLKGETSIZE64, &size) == 0 ? (int64_t)size : -1;
}

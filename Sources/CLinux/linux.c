#define _GNU_SOURCE
#include "CLinux.h"

#include <fcntl.h>
#include <linux/falloc.h>
#include <linux/fs.h>
#include <malloc.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/uio.h>
#include <syslog.h>
#include <unistd.h>
#include <sys/xattr.h>

int volfs_open(const char *path, int flags, unsigned int mode) { return open(path, flags, (mode_t)mode); }

int volfs_punch_hole(int descriptor, int64_t offset, int64_t count) {
    return fallocate(descriptor, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, offset, count);
}

int volfs_allocate(int descriptor, int64_t offset, int64_t count) {
    return fallocate(descriptor, FALLOC_FL_KEEP_SIZE, offset, count);
}

int64_t volfs_block_device_size(int descriptor) {
    uint64_t size = 0;
    return ioctl(descriptor, BLKGETSIZE64, &size) == 0 ? (int64_t)size : -1;
}

int volfs_become_io_flusher(void) { return prctl(PR_SET_IO_FLUSHER, 1, 0, 0, 0); }

int volfs_exchange(const char *first, const char *second) {
    return renameat2(AT_FDCWD, first, AT_FDCWD, second, RENAME_EXCHANGE);
}

int volfs_set_direct(int descriptor) {
    int flags = fcntl(descriptor, F_GETFL);
    return flags == -1 ? -1 : fcntl(descriptor, F_SETFL, flags | O_DIRECT);
}

void volfs_syslog(int priority, const char *name, const char *text) {
    syslog(LOG_DAEMON | priority, "%s: %s", name, text);
}

int volfs_enter_mount_namespace(const char *path) {
    int descriptor = open(path, O_RDONLY | O_CLOEXEC);
    if (descriptor == -1) return -1;
    int result = setns(descriptor, CLONE_NEWNS);
    close(descriptor);
    return result;
}

void volfs_limit_arenas(int count) { mallopt(M_ARENA_MAX, count); }

int volfs_freeze(int descriptor) { return ioctl(descriptor, FIFREEZE, 0); }

int volfs_thaw(int descriptor) { return ioctl(descriptor, FITHAW, 0); }

long volfs_get_attribute(const char *path, const char *name, char *value, size_t size) { return getxattr(path, name, value, size); }

int volfs_set_attribute(const char *path, const char *name, const char *value, size_t size) {
    return setxattr(path, name, value, size, 0);
}

int volfs_remove_attribute(const char *path, const char *name) { return removexattr(path, name); }

long volfs_copy_range(int source, int target, int64_t offset, size_t count) {
    off_t from = offset, to = offset;
    return copy_file_range(source, &from, target, &to, count, 0);
}

int volfs_begin_storing(int descriptor, int64_t offset, int64_t count) {
    return sync_file_range(descriptor, offset, count, SYNC_FILE_RANGE_WRITE);
}

int volfs_wake_descriptor(void) { return eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK); }

int volfs_signal_descriptor(const int *signals, int count) {
    sigset_t set;
    sigemptyset(&set);
    for (int index = 0; index < count; index++) sigaddset(&set, signals[index]);
    return signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
}

int volfs_next_signal(int descriptor) {
    struct signalfd_siginfo next;
    return read(descriptor, &next, sizeof next) == sizeof next ? (int)next.ssi_signo : 0;
}

int64_t volfs_read_cached(int descriptor, void *bytes, int64_t count, int64_t offset) {
    struct iovec part = {bytes, (size_t)count};
    return preadv2(descriptor, &part, 1, offset, RWF_NOWAIT);
}

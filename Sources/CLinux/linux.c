#define _GNU_SOURCE
#include "CLinux.h"

#include <fcntl.h>
#include <linux/falloc.h>
#include <linux/fs.h>
#include <linux/fuse.h>
#include <linux/loop.h>
#include <linux/magic.h>
#include <linux/mount.h>
#include <malloc.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <sys/eventfd.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/vfs.h>
#include <syslog.h>
#include <unistd.h>
#include <sys/xattr.h>

static char **arguments;

// Before main, with what main gets.
__attribute__((constructor)) static void note_arguments(int count, char **words) {
    (void)count;
    arguments = words;
}

const char *volfs_argument(int index) { return arguments[index]; }

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

int volfs_is_read_only_device(int descriptor) {
    int is_read_only = 0;
    return ioctl(descriptor, BLKROGET, &is_read_only) == -1 ? -1 : is_read_only != 0;
}

int volfs_is_loop_file(int descriptor, uint64_t device, uint64_t inode) {
    struct loop_info64 info;
    if (ioctl(descriptor, LOOP_GET_STATUS64, &info) == -1) return -1;
    return info.lo_device == device && info.lo_inode == inode;
}

int volfs_is_in_proc(const char *path) {
    struct statfs filesystem;
    return statfs(path, &filesystem) == -1 ? -1 : filesystem.f_type == PROC_SUPER_MAGIC;
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

int volfs_memory_file(const char *name, int64_t size) {
    int descriptor = memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (descriptor == -1) return -1;
    if (ftruncate(descriptor, size) == 0 && fcntl(descriptor, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) == 0) return descriptor;
    close(descriptor);
    return -1;
}

int volfs_has_fixed_size(int descriptor) {
    int seals = fcntl(descriptor, F_GET_SEALS), wanted = F_SEAL_SHRINK | F_SEAL_GROW;
    return seals != -1 && (seals & wanted) == wanted;
}

void volfs_publish(void *address, uint64_t value) { __atomic_store_n((uint64_t *)address, value, __ATOMIC_RELEASE); }

int volfs_send_descriptor(int socket, const void *address, size_t address_size, const char *text, int descriptor) {
    union {
        struct cmsghdr header;
        char space[CMSG_SPACE(sizeof(int))];
    } control = {0};
    struct iovec part = {(void *)text, strlen(text)};
    struct msghdr message = {
        .msg_name = (void *)address,
        .msg_namelen = (socklen_t)address_size,
        .msg_iov = &part,
        .msg_iovlen = 1,
        .msg_control = &control,
        .msg_controllen = sizeof control.space,
    };
    struct cmsghdr *header = CMSG_FIRSTHDR(&message);
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(sizeof(int));
    memcpy(CMSG_DATA(header), &descriptor, sizeof descriptor);
    return sendmsg(socket, &message, MSG_NOSIGNAL) == -1 ? -1 : 0;
}

static void do_nothing(int signal) { (void)signal; }

int volfs_allow_interrupts(void) {
    // Without SA_RESTART.
    struct sigaction action = {.sa_handler = do_nothing};
    return sigaction(SIGIO, &action, NULL);
}

int volfs_thread(void) { return (int)syscall(SYS_gettid); }

void volfs_interrupt(int thread) { syscall(SYS_tgkill, getpid(), thread, SIGIO); }

static _Thread_local uint64_t request;

void volfs_begin_request(uint64_t number) { request = number; }

uint64_t volfs_request(void) { return request; }

// A filesystem of which there is no mount: the kernel's first request says what it speaks, and closing ends it.
static int begin_fuse(int context, int device) {
    char number[12];
    snprintf(number, sizeof number, "%d", device);
    const char *words[][2] = {{"source", "volfs"}, {"fd", number}, {"rootmode", "40000"}, {"user_id", "0"}, {"group_id", "0"}};
    for (size_t i = 0; i < sizeof words / sizeof *words; i++) {
        if (syscall(SYS_fsconfig, context, FSCONFIG_SET_STRING, words[i][0], words[i][1], 0) != 0) return -1;
    }
    return (int)syscall(SYS_fsconfig, context, FSCONFIG_CMD_CREATE, NULL, NULL, 0);
}

int volfs_fuse_protocol(uint32_t *major, uint32_t *minor) {
    int result = -1, device = open("/dev/fuse", O_RDWR | O_CLOEXEC | O_NONBLOCK);
    if (device == -1) return -1;
    int context = (int)syscall(SYS_fsopen, "fuse", FSOPEN_CLOEXEC);
    if (context != -1 && begin_fuse(context, device) == 0) {
        // The least that the kernel accepts to write a request to.
        struct { struct fuse_in_header header; struct fuse_init_in init; char rest[8192]; } request;
        ssize_t count = read(device, &request, sizeof request);
        if (count >= (ssize_t)sizeof request.header + 8 && request.header.opcode == FUSE_INIT) {
            *major = request.init.major;
            *minor = request.init.minor;
            result = 0;
        }
    }
    if (context != -1) close(context);
    close(device);
    return result;
}

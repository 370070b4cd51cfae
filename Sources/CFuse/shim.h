// libfuse 3's low-level interface, with inline C for what later releases turn into macros.
#define FUSE_USE_VERSION 314
#include <fuse3/fuse_lowlevel.h>
#include <linux/falloc.h>
#include <linux/fuse.h>

static inline struct fuse_session *volfs_session_new(
    struct fuse_args *arguments, const struct fuse_lowlevel_ops *operations, void *userdata) {
    return fuse_session_new(arguments, operations, sizeof *operations, userdata);
}

// Bit fields, which Swift imports but may lay out only through C.
static inline void volfs_open_flags(struct fuse_file_info *info, int direct, int keep) {
    info->direct_io = direct != 0;
    info->keep_cache = keep != 0;
}

// A stream has no offsets, and nothing of it is kept.
static inline void volfs_open_stream(struct fuse_file_info *info) {
    info->direct_io = 1;
    info->nonseekable = 1;
}

// The kernel's flags for an open volume. libfuse 3.14 has no field for the second: without it the kernel lets only one thread at a
// time write to a file past the page cache. Kernels before protocol 7.38 ignore it.
static const uint32_t volfs_volume_flags = FOPEN_DIRECT_IO | FOPEN_PARALLEL_DIRECT_WRITES;

// The reply to an open of a volume.
static inline int volfs_reply_open_volume(fuse_req_t request, uint64_t handle) {
    struct fuse_open_out reply = {.fh = handle, .open_flags = volfs_volume_flags};
    return fuse_reply_buf(request, (const char *)&reply, sizeof reply);
}

// The reply to a create of a volume, with no timeouts.
static inline int volfs_reply_create_volume(fuse_req_t request, uint64_t handle, const struct stat *status) {
    struct {
        struct fuse_entry_out entry;
        struct fuse_open_out open;
    } reply = {.open = {.fh = handle, .open_flags = volfs_volume_flags}};
    reply.entry.nodeid = status->st_ino;
    reply.entry.attr = (struct fuse_attr){
        .ino = status->st_ino,
        .size = (uint64_t)status->st_size,
        .blocks = (uint64_t)status->st_blocks,
        .atime = (uint64_t)status->st_atim.tv_sec,
        .mtime = (uint64_t)status->st_mtim.tv_sec,
        .ctime = (uint64_t)status->st_ctim.tv_sec,
        .atimensec = (uint32_t)status->st_atim.tv_nsec,
        .mtimensec = (uint32_t)status->st_mtim.tv_nsec,
        .ctimensec = (uint32_t)status->st_ctim.tv_nsec,
        .mode = status->st_mode,
        .nlink = (uint32_t)status->st_nlink,
        .uid = status->st_uid,
        .gid = status->st_gid,
        .blksize = (uint32_t)status->st_blksize,
    };
    return fuse_reply_buf(request, (const char *)&reply, sizeof reply);
}

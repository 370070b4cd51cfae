// libfuse 3's low-level interface, with inline C for what later releases turn into macros.
#define FUSE_USE_VERSION 314
#include <fuse3/fuse_lowlevel.h>
#include <linux/falloc.h>

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

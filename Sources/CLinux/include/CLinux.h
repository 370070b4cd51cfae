// Calls of Linux that Swift cannot make itself: variadic ones, and ones behind macros. No system header is included
// here, so that Swift has each C type from one module only.
#ifndef VOLFS_CLINUX_H
#define VOLFS_CLINUX_H

#include <stddef.h>
#include <stdint.h>

/// A word that this program was started with, the name as 0; null behind the last, beyond which nobody may ask.
const char *volfs_argument(int index);

/// open(2) with its third argument. -1 and errno on failure, as all of these.
int volfs_open(const char *path, int flags, unsigned int mode);

/// renameat2(2) with RENAME_EXCHANGE.
int volfs_exchange(const char *first, const char *second);

/// fallocate(2) with FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE.
int volfs_punch_hole(int descriptor, int64_t offset, int64_t count);

/// fallocate(2) that gives a range storage and changes nothing else.
int volfs_allocate(int descriptor, int64_t offset, int64_t count);

/// The size in bytes of the block device behind `descriptor`.
int64_t volfs_block_device_size(int descriptor);

/// Whether nothing can be written to the block device behind `descriptor`: 1, or 0.
int volfs_is_read_only_device(int descriptor);

/// Whether the loop device behind `descriptor` is on the file with these numbers of stat(2): 1, or 0. A partition counts as its device.
int volfs_is_loop_file(int descriptor, uint64_t device, uint64_t inode);

/// Whether a path is in a filesystem of processes, as /proc is: 1, or 0.
int volfs_is_in_proc(const char *path);

/// prctl(2) with PR_SET_IO_FLUSHER: this process is needed to write memory back, and must not wait for that itself.
int volfs_become_io_flusher(void);

/// Makes reads and writes of an open file go past the kernel's page cache (O_DIRECT).
int volfs_set_direct(int descriptor);

/// syslog(3) with the facility of daemons; `name` is what each line begins with.
void volfs_syslog(int priority, const char *name, const char *text);

/// setns(2) into the mount namespace that the file `path` stands for.
int volfs_enter_mount_namespace(const char *path);

/// Keeps malloc(3) to few arenas, so that what one thread has freed is used by the others.
void volfs_limit_arenas(int count);

/// ioctl(2) FIFREEZE and FITHAW: nothing is written to the filesystem that `descriptor` is in, until it is thawed.
int volfs_freeze(int descriptor);
int volfs_thaw(int descriptor);

/// copy_file_range(2), both files at the same offset.
long volfs_copy_range(int source, int target, int64_t offset, size_t count);

/// getxattr(2), setxattr(2), removexattr(2).
long volfs_get_attribute(const char *path, const char *name, char *value, size_t size);
int volfs_set_attribute(const char *path, const char *name, const char *value, size_t size);
int volfs_remove_attribute(const char *path, const char *name);
/// epoll(7): a new one; a descriptor in it, edge-triggered for reading, writing and the peer's end; and the next event of one
/// descriptor, by its key. The last returns 0 when none came in time.
int volfs_poll_create(void);
int volfs_poll_add(int poll, int descriptor, uint64_t key);
/// One more event, of these kinds only.
int volfs_poll_once(int poll, int descriptor, uint64_t key, int input, int output);
/// The kind of an event: 1 broken or closed on both sides, 2 input or its end, 4 output.
int volfs_poll_wait(int poll, uint64_t *key, int *kind, int milliseconds);

/// eventfd(2), non-blocking.
int volfs_event_create(void);
int volfs_event_signal(int descriptor);

/// accept4(2), non-blocking and close-on-exec.
int volfs_accept(int descriptor);

/// SO_PEERCRED of a connected Unix socket.
int volfs_peer(int descriptor, int32_t *process, uint32_t *uid);

/// sync_file_range(2) with SYNC_FILE_RANGE_WRITE: begins to store a range, and does not wait for that.
int volfs_begin_storing(int descriptor, int64_t offset, int64_t count);

/// eventfd(2), which never waits.
int volfs_wake_descriptor(void);

/// signalfd(2) of some signals, which never waits.
int volfs_signal_descriptor(const int *signals, int count);

/// The next signal of such a descriptor; 0 if there is none.
int volfs_next_signal(int descriptor);

/// memfd_create(2) of a size that can never change, close-on-exec.
int volfs_memory_file(const char *name, int64_t size);

/// Whether a descriptor is such a file: fcntl(2) with F_GET_SEALS.
int volfs_has_fixed_size(int descriptor);

/// Stores an aligned word whole, after all that was stored before it.
void volfs_publish(void *address, uint64_t value);

/// sendmsg(2) of a text and an open descriptor to the Unix socket at `address`, whose size is given.
int volfs_send_descriptor(int socket, const void *address, size_t address_size, const char *text, int descriptor);

/// Makes the signal that `volfs_interrupt` sends end a thread's system call, and do nothing else.
int volfs_allow_interrupts(void);

/// gettid(2), and tgkill(2) of a thread of this process with that signal. A thread that has ended is no failure.
int volfs_thread(void);
void volfs_interrupt(int thread);

/// The number of the request that this thread carries out.
void volfs_begin_request(uint64_t number);
uint64_t volfs_request(void);

/// preadv2(2) with RWF_NOWAIT: only what needs no waiting, EAGAIN if that is nothing.
int64_t volfs_read_cached(int descriptor, void *bytes, int64_t count, int64_t offset);

/// The version of FUSE that the kernel speaks. Nothing is mounted anywhere for it.
int volfs_fuse_protocol(uint32_t *major, uint32_t *minor);

#endif

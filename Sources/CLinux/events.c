#define _GNU_SOURCE
#include "CLinux.h"

#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>

int volfs_poll_create(void) { return epoll_create1(EPOLL_CLOEXEC); }

int volfs_poll_add(int poll, int descriptor, uint64_t key) {
    struct epoll_event event = {.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET, .data.u64 = key};
    return epoll_ctl(poll, EPOLL_CTL_ADD, descriptor, &event);
}

int volfs_poll_once(int poll, int descriptor, uint64_t key, int input, int output) {
    struct epoll_event event = {.events = EPOLLONESHOT | (input ? EPOLLIN | EPOLLRDHUP : 0) | (output ? EPOLLOUT : 0), .data.u64 = key};
    return epoll_ctl(poll, EPOLL_CTL_MOD, descriptor, &event);
}

int volfs_poll_wait(int poll, uint64_t *key, int *kind, int milliseconds) {
    struct epoll_event event;
    int count = epoll_wait(poll, &event, 1, milliseconds);
    if (count == 1) {
        *key = event.data.u64;
        *kind = (event.events & (EPOLLHUP | EPOLLERR) ? 1 : 0) | (event.events & (EPOLLIN | EPOLLRDHUP) ? 2 : 0)
            | (event.events & EPOLLOUT ? 4 : 0);
    }
    return count;
}

int volfs_event_create(void) { return eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC); }

int volfs_event_signal(int descriptor) { return eventfd_write(descriptor, 1); }

int volfs_accept(int descriptor) { return accept4(descriptor, 0, 0, SOCK_NONBLOCK | SOCK_CLOEXEC); }

int volfs_peer(int descriptor, int32_t *process, uint32_t *uid) {
    struct ucred peer;
    socklen_t size = sizeof peer;
    if (getsockopt(descriptor, SOL_SOCKET, SO_PEERCRED, &peer, &size) != 0) return -1;
    *process = peer.pid;
    *uid = peer.uid;
    return 0;
}

/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Between gRPC's listeners and the kernel: each connection passes a gate (rpc_gate.h) before gRPC
 * hears of it.
 *
 * gRPC accepts by itself, as many as come, and at the first error of accept4 other than EAGAIN its
 * listener is dead for good: at EMFILE, and even at ECONNABORTED. It has no interface for a say in
 * that: its socket mutator cannot refuse either (what it refuses ends the listener, too), and
 * servers on descriptors that were accepted elsewhere take no TLS. So this file defines accept4
 * itself, the function that the shared libgrpc calls: a program's own symbols come before those of
 * libc (ELF). Listeners that are not ours get what the kernel says. tests/unit/test_rpc_accept.c
 * fails where a build does not bind it. */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "base/log.h"
#include "rpc/rpc_gate.h"
#include "rpc/rpc_impl.h"

/* In one go, for the thread has other work: who waits meanwhile is accepted with the next who
 * comes, which is at once where so many do. */
#define REFUSED_MAX 256u

/* What stands before the listeners of one kith_rpc. */
struct rpc_door {
    struct rpc_door *next;
    struct rpc_gate *gate;
    uint16_t port;
    struct sockaddr_un near; /* near_size 0: it has none */
    socklen_t near_size;
};

/* Held while one is accepted; inside no other lock, but for the log's. */
static pthread_mutex_t doors_lock = PTHREAD_MUTEX_INITIALIZER;
static struct rpc_door *doors; /* protected by doors_lock */
static int spare = -1; /* closed to refuse one where no other descriptor is left; likewise */

static int kernel_accept(int fd, struct sockaddr *address, socklen_t *size, int flags)
{
    return (int)syscall(SYS_accept4, fd, address, size, flags);
}

/* doors_lock held. NULL: the listener is none of ours. */
static struct rpc_door *door_of(int fd)
{
    struct sockaddr_storage own;
    socklen_t size = sizeof own;
    memset(&own, 0, sizeof own);
    if (!doors || getsockname(fd, (struct sockaddr *)&own, &size) != 0) {
        return NULL;
    }
    uint16_t port = own.ss_family == AF_INET    ? ((struct sockaddr_in *)(void *)&own)->sin_port
                    : own.ss_family == AF_INET6 ? ((struct sockaddr_in6 *)(void *)&own)->sin6_port
                                                : 0;
    for (struct rpc_door *door = doors; door; door = door->next) {
        if (port != 0 ? ntohs(port) == door->port
                      : door->near_size == size && memcmp(&own, &door->near, size) == 0) {
            return door;
        }
    }
    return NULL;
}

/* With a reset: nothing of it stays in the kernel. */
static void shut(int fd)
{
    const struct linger at_once = {1, 0};
    (void)setsockopt(fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
    close(fd);
}

/* There is no descriptor left. False: there is nothing to be done about it now. */
static bool refuse_one(int fd)
{
    if (spare >= 0) {
        close(spare);
    }
    int got = kernel_accept(fd, NULL, NULL, SOCK_CLOEXEC);
    if (got >= 0) {
        shut(got);
    }
    spare = open("/dev/null", O_RDONLY | O_CLOEXEC);
    return got >= 0;
}

static void tell(const struct sockaddr *address, const char *why)
{
    static struct kith_log_limit limit;
    char host[INET6_ADDRSTRLEN] = "this machine";
    const void *at =
        address->sa_family == AF_INET
            ? (const void *)&((const struct sockaddr_in *)(const void *)address)->sin_addr
        : address->sa_family == AF_INET6
            ? &((const struct sockaddr_in6 *)(const void *)address)->sin6_addr
            : NULL;
    if (at) {
        (void)inet_ntop(address->sa_family, at, host, sizeof host);
    }
    const char *plain = strncmp(host, "::ffff:", 7) == 0 ? host + 7 : host;
    kith_log_limited(&limit, KITH_LOG_WARN, "rpc", "a connection from %s was closed: %s", plain,
                     why);
}

/* doors_lock held. */
static int accept_through(struct rpc_door *door, int fd, struct sockaddr *address, socklen_t *size,
                          int flags)
{
    socklen_t room = *size;
    for (uint32_t refused = 0; refused < REFUSED_MAX; refused++) {
        *size = room;
        int got = kernel_accept(fd, address, size, flags);
        if (got < 0 && (errno == EMFILE || errno == ENFILE)) {
            if (!refuse_one(fd)) {
                break;
            }
            continue;
        }
        if (got < 0) {
            switch (errno) {
            case EAGAIN:
            case EINTR:
            case EBADF: /* mistakes of the caller's, and the end of the listener */
            case EFAULT:
            case EINVAL:
            case ENOTSOCK:
            case EOPNOTSUPP:
                return -1;
            default: /* of that one connection, or of a moment: accept(2) */
                continue;
            }
        }
        struct rpc_place place;
        const char *why = rpc_place_of(got, address, &place)
                              ? rpc_gate_enter(door->gate, got, &place, kith_mono_ms())
                              : "its address is of no known kind";
        if (!why) {
            return got;
        }
        tell(address, why);
        shut(got);
    }
    errno = EAGAIN;
    return -1;
}

/* The name under which libgrpc finds it; another one in C, where accept4 is declared already. */
int rpc_accept4(int fd, struct sockaddr *address, socklen_t *size, int flags) __asm__("accept4")
    __attribute__((visibility("default"), used));

int rpc_accept4(int fd, struct sockaddr *address, socklen_t *size, int flags)
{
    pthread_mutex_lock(&doors_lock);
    struct rpc_door *door = address && size ? door_of(fd) : NULL;
    int got = door ? accept_through(door, fd, address, size, flags) : 0;
    int saved = errno;
    pthread_mutex_unlock(&doors_lock);
    errno = saved;
    return door ? got : kernel_accept(fd, address, size, flags); /* it may wait */
}

enum kith_err rpc_door_open(struct kith_rpc *rpc, uint16_t port, const char *near)
{
    struct rlimit files;
    struct rpc_gate_limits limits;
    struct rpc_door *door = kith_calloc(1, sizeof *door);
    if (!door) {
        return KITH_ENOMEM;
    }
    rpc_gate_limits_for(getrlimit(RLIMIT_NOFILE, &files) == 0 ? files.rlim_cur : 0, &limits);
    enum kith_err err = rpc_gate_new(&limits, &door->gate);
    if (err != KITH_OK) {
        kith_free(door);
        return err;
    }
    door->port = port;
    if (near && !rpc_near_name(near, &door->near, &door->near_size)) {
        door->near_size = 0;
    }
    rpc->door = door;
    pthread_mutex_lock(&doors_lock);
    door->next = doors;
    doors = door;
    if (spare < 0) {
        spare = open("/dev/null", O_RDONLY | O_CLOEXEC);
    }
    pthread_mutex_unlock(&doors_lock);
    return KITH_OK;
}

void rpc_door_close(struct kith_rpc *rpc)
{
    if (!rpc->door) {
        return;
    }
    pthread_mutex_lock(&doors_lock);
    struct rpc_door **at = &doors;
    while (*at != rpc->door) {
        at = &(*at)->next;
    }
    *at = rpc->door->next;
    if (!doors && spare >= 0) {
        close(spare);
        spare = -1;
    }
    pthread_mutex_unlock(&doors_lock);
    rpc_gate_free(rpc->door->gate);
    kith_free(rpc->door);
    rpc->door = NULL;
}

void rpc_door_known(struct kith_rpc *rpc, grpc_call *call)
{
    struct rpc_place place;
    if (!rpc_gate_has_unknown(rpc->door->gate)) {
        return;
    }
    char *peer = grpc_call_get_peer(call);
    if (rpc_place_parse(peer, &place)) {
        pthread_mutex_lock(&doors_lock);
        rpc_gate_known(rpc->door->gate, &place, kith_mono_ms());
        pthread_mutex_unlock(&doors_lock);
    }
    gpr_free(peer);
}

void rpc_door_count(struct kith_rpc *rpc, uint32_t *ret_total, uint32_t *ret_unknown)
{
    pthread_mutex_lock(&doors_lock);
    rpc_gate_count(rpc->door->gate, ret_total, ret_unknown);
    pthread_mutex_unlock(&doors_lock);
}

/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * loop.c - the threads that read the kernel's requests: a leader and followers (Schmidt et al.,
 * "Pattern-Oriented Software Architecture" 2, 2000).
 *
 * One thread leads: it reads a request, works it off and reads the next. Requests mostly come one
 * after the other, and their handlers never wait for the network (executor.c, client.h), so the
 * leader is back before the next is there; it stays warm, where libfuse's own loop hands each
 * request to the thread that has slept longest (figures: tests/bench/README.md). It gives the lead
 * away before it handles a request that may take long, or when the next one is there already: then
 * the others run at the same time. */
#include <errno.h>
#include <linux/fuse.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "fs/fs.h"

#define LIGHT_BYTES_MAX 16384u /* a request with more is worth another thread meanwhile */

struct loop {
    struct fuse_session *session;
    int over_fd;   /* readable once a thread has seen the end */
    pthread_mutex_t lock;
    pthread_cond_t changed;
    /* protected by lock */
    bool led, over;
    pthread_t leader; /* while led */
    int error;        /* errno of reading, 0: unmounted */
};

/* Handled from memory or sent on in some microseconds. */
static bool is_light(const struct fuse_buf *buf)
{
    struct fuse_in_header header;
    if ((buf->flags & FUSE_BUF_IS_FD) != 0 || buf->size < sizeof header ||
        buf->size > LIGHT_BYTES_MAX) {
        return false;
    }
    memcpy(&header, buf->mem, sizeof header);
    switch (header.opcode) {
    case FUSE_LOOKUP:
    case FUSE_FORGET:
    case FUSE_GETATTR:
    case FUSE_SETATTR:
    case FUSE_UNLINK:
    case FUSE_RENAME:
    case FUSE_RENAME2:
    case FUSE_OPEN:
    case FUSE_WRITE:
    case FUSE_RELEASE:
    case FUSE_GETXATTR:
    case FUSE_FLUSH:
    case FUSE_ACCESS:
    case FUSE_CREATE:
        return true;
    default:
        return false;
    }
}

static bool more_waits(const struct loop *loop)
{
    struct pollfd wait = {.fd = fuse_session_fd(loop->session), .events = POLLIN};
    return poll(&wait, 1, 0) != 0; /* an error, too, is for the next to see */
}

/* False: the end. */
static bool take_lead(struct loop *loop)
{
    pthread_mutex_lock(&loop->lock);
    while (loop->led && !loop->over) {
        pthread_cond_wait(&loop->changed, &loop->lock);
    }
    bool mine = !loop->over;
    if (mine) {
        loop->led = true;
        loop->leader = pthread_self();
    }
    pthread_mutex_unlock(&loop->lock);
    return mine;
}

static void give_lead(struct loop *loop)
{
    pthread_mutex_lock(&loop->lock);
    loop->led = false;
    pthread_cond_signal(&loop->changed);
    pthread_mutex_unlock(&loop->lock);
}

static void end(struct loop *loop, int error)
{
    uint64_t one = 1;
    pthread_mutex_lock(&loop->lock);
    loop->over = true;
    loop->led = false;
    loop->error = error;
    pthread_cond_broadcast(&loop->changed);
    pthread_mutex_unlock(&loop->lock);
    if (write(loop->over_fd, &one, sizeof one) != (ssize_t)sizeof one) {
        kith_log_error("mount", "an eventfd cannot be written: %s", strerror(errno));
    }
}

static void free_memory(void *arg)
{
    free(((struct fuse_buf *)arg)->mem); /* libfuse's, of malloc */
}

/* Reads; only here may the thread be cancelled. */
static int receive(struct loop *loop, struct fuse_buf *buf)
{
    int ignored;
    pthread_setcancelstate(PTHREAD_CANCEL_ENABLE, &ignored);
    int got = fuse_session_receive_buf(loop->session, buf);
    pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &ignored);
    return got;
}

/* Leads until the lead is given away; false: the end. */
static bool lead(struct loop *loop, struct fuse_buf *buf)
{
    bool given = false;
    while (!given) {
        int got = receive(loop, buf);
        if (got == -EINTR || got == -EAGAIN) {
            continue;
        }
        if (got <= 0) {
            end(loop, -got);
            return false;
        }
        if (!is_light(buf) || more_waits(loop)) {
            give_lead(loop);
            given = true;
        }
        fuse_session_process_buf(loop->session, buf);
    }
    return true;
}

static void *run(void *arg)
{
    struct loop *loop = arg;
    struct fuse_buf buf;
    int ignored;
    memset(&buf, 0, sizeof buf);
    pthread_setname_np(pthread_self(), "fuse");
    pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &ignored);
    pthread_cleanup_push(free_memory, &buf);
    while (take_lead(loop) && lead(loop, &buf)) {
    }
    pthread_cleanup_pop(1);
    return NULL;
}

/* Until a thread sees the end, or a signal comes that libfuse's handlers take for one; those run
 * only here. */
static void wait_for_end(struct loop *loop, const sigset_t *unblocked)
{
    struct pollfd over = {.fd = loop->over_fd, .events = POLLIN};
    while (!fuse_session_exited(loop->session) && ppoll(&over, 1, NULL, unblocked) <= 0) {
    }
}

static void end_threads(struct loop *loop, const pthread_t threads[], unsigned count)
{
    pthread_mutex_lock(&loop->lock);
    loop->over = true;
    if (loop->led) { /* it may be waiting for a request */
        pthread_cancel(loop->leader);
    }
    pthread_cond_broadcast(&loop->changed);
    pthread_mutex_unlock(&loop->lock);
    for (unsigned i = 0; i < count; i++) {
        pthread_join(threads[i], NULL);
    }
}

int kith_loop(struct fuse_session *session, unsigned threads)
{
    struct loop loop = {.session = session, .over_fd = eventfd(0, EFD_CLOEXEC)};
    pthread_t *list = kith_calloc(threads, sizeof *list);
    sigset_t ending, before;
    unsigned started = 0;
    int failed = loop.over_fd < 0 ? errno : list == NULL ? ENOMEM : 0;
    pthread_mutex_init(&loop.lock, NULL);
    pthread_cond_init(&loop.changed, NULL);
    sigemptyset(&ending);
    sigaddset(&ending, SIGTERM);
    sigaddset(&ending, SIGINT);
    sigaddset(&ending, SIGHUP);
    pthread_sigmask(SIG_BLOCK, &ending, &before);
    while (failed == 0 && started < threads) {
        failed = pthread_create(&list[started], NULL, run, &loop);
        started += failed == 0 ? 1 : 0;
    }
    if (started > 0) { /* fewer do as well */
        failed = 0;
        wait_for_end(&loop, &before);
        end_threads(&loop, list, started);
        failed = loop.error;
    }
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    pthread_cond_destroy(&loop.changed);
    pthread_mutex_destroy(&loop.lock);
    if (loop.over_fd >= 0) {
        close(loop.over_fd);
    }
    kith_free(list);
    return failed;
}

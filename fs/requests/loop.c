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
 * the others run at the same time.
 *
 * THE END by a signal. Its handler runs in whatever thread the kernel chooses; it only makes an
 * eventfd readable. The leader, who may wait for a request, is then woken by a signal of his own:
 * not by pthread_cancel, whose signal is one of real time, which the kernel does not send once the
 * user has used up RLIMIT_SIGPENDING, and not by a poll before each read, a call more a request. */
#include <errno.h>
#include <linux/fuse.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include "fs/fs.h"
#include "fs/requests/requests.h"

#define LIGHT_BYTES_MAX 16384u /* a request with more is worth another thread meanwhile */

#define WAKE_SIGNAL SIGVTALRM            /* nobody else has a use for it; not of real time */
#define WAKE_NS     (NSEC_PER_SEC / 100) /* until it is sent again */

#define DOWN_MS 1000 /* from the first sign of its end to a connection that is down: microseconds  \
                      */

/* Those that end the mount, and those that shall do nothing: a write into a pipe says what is wrong
 * by itself. */
static const int taken[] = {SIGTERM, SIGINT, SIGHUP, SIGPIPE, WAKE_SIGNAL};
#define TAKEN_COUNT (sizeof taken / sizeof taken[0])

/* Readable once the loop is to end. Made once and never closed: a handler may still run in some
 * thread when a session is over. Written before the handlers are set. */
static int over_fd = -1;
static struct fuse_session *_Atomic ending; /* the handlers' */
static struct sigaction before[TAKEN_COUNT];

struct loop {
    struct fuse_session *session;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    /* protected by lock */
    bool led, over;
    pthread_t leader; /* while led */
    int error;        /* errno of reading, 0: unmounted */
};

static void say_over(void)
{
    uint64_t one = 1;
    ssize_t written = write(over_fd, &one, sizeof one); /* fails only if it is readable anyhow */
    (void)written;
}

static void on_end(int number)
{
    int saved_errno = errno;
    struct fuse_session *session = ending;
    (void)number;
    if (session != NULL) {
        fuse_session_exit(session);
        say_over();
    }
    errno = saved_errno;
}

static void on_nothing(int number)
{
    (void)number;
}

enum kith_err kith_loop_signals(struct fuse_session *session, struct kith_error *error)
{
    uint64_t count;
    if (over_fd < 0) {
        over_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    }
    if (over_fd < 0) {
        return kith_error_set(error, KITH_EIO, "eventfd: %s", strerror(errno));
    }
    ssize_t got = read(over_fd, &count, sizeof count); /* of the session before; mostly EAGAIN */
    (void)got;
    ending = session;
    for (size_t i = 0; i < TAKEN_COUNT; i++) {
        bool ends = taken[i] != SIGPIPE && taken[i] != WAKE_SIGNAL;
        struct sigaction action = {.sa_handler = ends ? on_end : on_nothing,
                                   .sa_flags = taken[i] == WAKE_SIGNAL ? 0 : SA_RESTART};
        (void)sigemptyset(&action.sa_mask);
        (void)sigaction(taken[i], NULL, &before[i]); /* fails for no signal of the list */
        if (before[i].sa_handler == SIG_DFL || taken[i] == WAKE_SIGNAL) { /* nohup has its way */
            (void)sigaction(taken[i], &action, NULL);
        }
    }
    return KITH_OK;
}

void kith_loop_signals_end(void)
{
    for (size_t i = 0; i < TAKEN_COUNT && ending != NULL; i++) {
        (void)sigaction(taken[i], &before[i], NULL);
    }
    ending = NULL;
}

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
    pthread_mutex_lock(&loop->lock);
    loop->over = true;
    loop->led = false;
    loop->error = error;
    pthread_cond_broadcast(&loop->changed);
    pthread_mutex_unlock(&loop->lock);
    say_over();
}

/* As fuse_session_receive_buf. A read that takes a request in the moment of the unmounting gets
 * ECONNABORTED, as one after an abort does; the next one, once the connection is down (poll shows
 * POLLERR), gets ENODEV only where it was unmounted (fuse_dev_do_read in Linux). */
static int receive(struct loop *loop, struct fuse_buf *buf)
{
    int got = fuse_session_receive_buf(loop->session, buf);
    if (got == -ECONNABORTED) {
        struct pollfd file = {.fd = fuse_session_fd(loop->session), .events = 0};
        (void)poll(&file, 1, DOWN_MS);
        got = fuse_session_receive_buf(loop->session, buf);
    }
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
    sigset_t wake;
    memset(&buf, 0, sizeof buf);
    pthread_setname_np(pthread_self(), "fuse");
    sigemptyset(&wake);
    sigaddset(&wake, WAKE_SIGNAL);
    pthread_sigmask(SIG_UNBLOCK, &wake, NULL);
    while (take_lead(loop) && lead(loop, &buf)) {
    }
    free(buf.mem); /* libfuse's, of malloc */
    return NULL;
}

/* Until a thread sees the end, or a signal comes. */
static void wait_for_end(void)
{
    struct pollfd over = {.fd = over_fd, .events = POLLIN};
    while (poll(&over, 1, -1) <= 0) {
    }
}

/* A leader may be waiting for a request, or just about to: then he misses the signal, and gets it
 * again. In a session that is told to exit whatever his read brings is the end. */
static void end_threads(struct loop *loop, const pthread_t threads[], unsigned count)
{
    pthread_mutex_lock(&loop->lock);
    loop->over = true;
    fuse_session_exit(loop->session);
    pthread_cond_broadcast(&loop->changed);
    while (loop->led) {
        uint64_t at = kith_mono_ns() + WAKE_NS;
        struct timespec until = {(time_t)(at / NSEC_PER_SEC), (long)(at % NSEC_PER_SEC)};
        pthread_kill(loop->leader, WAKE_SIGNAL);
        pthread_cond_clockwait(&loop->changed, &loop->lock, CLOCK_MONOTONIC, &until);
    }
    pthread_mutex_unlock(&loop->lock);
    for (unsigned i = 0; i < count; i++) {
        pthread_join(threads[i], NULL);
    }
}

int kith_loop(struct fuse_session *session, unsigned threads)
{
    struct loop loop = {.session = session};
    pthread_t *list = kith_calloc(threads, sizeof *list);
    unsigned started = 0;
    int failed = list == NULL ? ENOMEM : 0;
    pthread_mutex_init(&loop.lock, NULL);
    pthread_cond_init(&loop.changed, NULL);
    while (failed == 0 && started < threads) {
        failed = pthread_create(&list[started], NULL, run, &loop);
        started += failed == 0 ? 1 : 0;
    }
    if (started > 0) { /* fewer do as well */
        wait_for_end();
        end_threads(&loop, list, started);
        failed = loop.error;
    }
    pthread_cond_destroy(&loop.changed);
    pthread_mutex_destroy(&loop.lock);
    kith_free(list);
    return failed;
}

/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "fs/mount/guard.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/vfs.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/crash.h"
#include "fs/mount/mountpoint.h"

#define CONTROL_DIR   "/sys/fs/fuse/connections"
#define CONTROL_MAGIC 0x65735543 /* statfs of fusectl, linux/magic.h */
#define PATH_SIZE     64u        /* bytes; the above, a number and a word */
#define NAME          "fuse-guard"
#define TITLE_SIZE    32u /* bytes; the above, " of " and a number */
/* The child's files: three to nowhere, and */
#define CHILD_SOCKET 3
/* Tells the child of its parent's end. None of real time: of those the kernel leaves out the sender
 * when the user has used up RLIMIT_SIGPENDING. Nobody else has a use for it. */
#define CHILD_SIGNAL SIGVTALRM

struct kith_guard {
    pid_t child;
    int socket;   /* to the child, which closes its end when it dies */
    int abort_fd; /* -1: not armed */
};

union rights { /* of one descriptor, aligned as CMSG_DATA wants it */
    struct cmsghdr header;
    char space[CMSG_SPACE(sizeof(int))];
};

static void write_abort(int fd)
{
    ssize_t written = write(fd, "1", 1);
    (void)written; /* no other way is left; a connection that is gone takes it, too */
}

/* ---- The child: only async-signal-safe calls, its parent may have threads ---- */

/* The descriptor that comes next, or -1 at the end. */
static int child_receive(void)
{
    char byte;
    union rights rights;
    struct iovec part = {.iov_base = &byte, .iov_len = 1};
    struct msghdr message = {
        .msg_iov = &part, .msg_iovlen = 1, .msg_control = &rights, .msg_controllen = sizeof rights};
    int fd = -1;
    if (recvmsg(CHILD_SOCKET, &message, MSG_CMSG_CLOEXEC) == 1) {
        const struct cmsghdr *header = CMSG_FIRSTHDR(&message);
        if (header != NULL && header->cmsg_type == SCM_RIGHTS) {
            memcpy(&fd, CMSG_DATA(header), sizeof fd);
        }
    }
    return fd;
}

/* Until the thread that made us is gone (which only it can have told), or the whole process. */
static void child_wait(int signals, pid_t parent, int *abort_fd)
{
    for (;;) {
        struct pollfd waits[2] = {{.fd = signals, .events = POLLIN},
                                  {.fd = CHILD_SOCKET, .events = POLLIN}};
        struct signalfd_siginfo told;
        if (poll(waits, 2, -1) < 0) {
            continue; /* EINTR; all signals are blocked, but a debugger's */
        }
        if (waits[0].revents != 0 && read(signals, &told, sizeof told) == (ssize_t)sizeof told &&
            told.ssi_pid == (uint32_t)parent) {
            return;
        }
        if (waits[1].revents != 0) {
            int fd = child_receive();
            if (fd < 0) {
                return;
            }
            *abort_fd = fd;
            if (send(CHILD_SOCKET, "", 1, MSG_NOSIGNAL) < 0) {
                return;
            }
        }
    }
}

/* It is not called kithfs, not in what ps shows either, so that who kills kithfs by name does not
 * kill both. argv lies in one piece, as long as the kernel says. */
static void child_name(const char *title)
{
    char *args = program_invocation_name, part[512];
    size_t size = 0;
    ssize_t got;
    int fd = open("/proc/self/cmdline", O_RDONLY | O_CLOEXEC);
    while (fd >= 0 && (got = read(fd, part, sizeof part)) > 0) {
        if (size == 0 && strncmp(part, args, (size_t)got) != 0) {
            return; /* somebody has moved it */
        }
        size += (size_t)got;
    }
    size_t length = strlen(title) < size ? strlen(title) : size;
    memset(args, 0, size);
    memcpy(args, title, length);
    (void)prctl(PR_SET_NAME, NAME, 0L, 0L, 0L);
}

/* It leaves the group of processes, which a terminal or `timeout` may signal as a whole, and holds
 * nothing but its socket: a file of /dev/fuse or the end of somebody's pipe would be its parent's
 * that never closes. All signals are blocked; the one that it awaits comes with its sender. */
static _Noreturn void child_main(int socket, pid_t parent, const char *title)
{
    sigset_t awaited;
    int abort_fd = -1;
    child_name(title);
    (void)setsid();
    socket = fcntl(socket, F_DUPFD, CHILD_SOCKET + 1);
    int null = open("/dev/null", O_RDWR);
    if (prctl(PR_SET_PDEATHSIG, (long)CHILD_SIGNAL, 0L, 0L, 0L) != 0 || chdir("/") != 0 ||
        socket < 0 || null < 0 || dup2(null, 0) < 0 || dup2(null, 1) < 0 || dup2(null, 2) < 0 ||
        dup2(socket, CHILD_SOCKET) < 0 || close_range(CHILD_SOCKET + 1, ~0U, 0) != 0) {
        _exit(1);
    }
    (void)sigemptyset(&awaited);
    (void)sigaddset(&awaited, CHILD_SIGNAL);
    int signals = signalfd(-1, &awaited, SFD_CLOEXEC);
    if (signals < 0) {
        _exit(1);
    }
    child_wait(signals, parent, &abort_fd);
    if (abort_fd >= 0) {
        write_abort(abort_fd);
    }
    _exit(0);
}

/* ---- The parent ---- */

enum kith_err kith_guard_new(struct kith_guard **ret_guard, struct kith_error *error)
{
    int ends[2];
    sigset_t all, before;
    struct kith_guard *guard = kith_calloc(1, sizeof *guard);
    if (guard == NULL) {
        return kith_error_set(error, KITH_ENOMEM, "out of memory");
    }
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) != 0) {
        kith_free(guard);
        return kith_error_set(error, KITH_EIO, "socketpair: %s", strerror(errno));
    }
    char title[TITLE_SIZE];
    pid_t self = getpid();
    (void)snprintf(title, sizeof title, "%s of %d", NAME, (int)self);
    (void)sigfillset(&all);
    (void)pthread_sigmask(SIG_SETMASK, &all, &before);
    guard->child = fork();
    if (guard->child == 0) {
        child_main(ends[1], self, title);
    }
    int failed = guard->child < 0 ? errno : 0;
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    close(ends[1]);
    guard->socket = ends[0];
    guard->abort_fd = -1;
    if (failed != 0) {
        close(ends[0]);
        kith_free(guard);
        return kith_error_set(error, KITH_EIO, "fork: %s", strerror(failed));
    }
    *ret_guard = guard;
    return KITH_OK;
}

/* "N/abort" in a fusectl of our own that is attached nowhere: where it is not mounted (a
 * container), and we may. */
static int open_detached(const char *file)
{
    int mounted = -1, fd = -1;
    int made = fsopen("fusectl", FSOPEN_CLOEXEC);
    if (made >= 0 && fsconfig(made, FSCONFIG_CMD_CREATE, NULL, NULL, 0) == 0) {
        mounted = fsmount(made, FSMOUNT_CLOEXEC, 0);
    }
    if (mounted >= 0) {
        fd = openat(mounted, file, O_WRONLY | O_CLOEXEC);
        close(mounted);
    }
    if (made >= 0) {
        close(made);
    }
    return fd;
}

static bool is_control(int fd)
{
    struct statfs status;
    return fstatfs(fd, &status) == 0 && status.f_type == CONTROL_MAGIC;
}

static enum kith_err open_abort(int fuse_fd, const char *mountpoint, int *ret_fd,
                                struct kith_error *error)
{
    unsigned number;
    char path[PATH_SIZE];
    if (!kith_mountpoint_number(fuse_fd, mountpoint, &number)) {
        return kith_error_set(error, KITH_EIO, "the number of its device cannot be found");
    }
    int prefix = snprintf(path, sizeof path, "%s/", CONTROL_DIR);
    (void)snprintf(path + prefix, sizeof path - (size_t)prefix, "%u/abort", number);
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    int failed = errno;
    if (fd >= 0 && !is_control(fd)) {
        close(fd);
        fd = -1;
        failed = ENOENT;
    }
    fd = fd >= 0 ? fd : open_detached(path + prefix);
    if (fd < 0) {
        return kith_error_set(error, KITH_EIO, "%s: %s; is fusectl mounted there?", path,
                              strerror(failed));
    }
    *ret_fd = fd;
    return KITH_OK;
}

/* Hands it to the child and waits until it has it. */
static bool hand_over(const struct kith_guard *guard, int fd)
{
    char byte = 0;
    union rights rights;
    memset(&rights, 0, sizeof rights);
    struct iovec part = {.iov_base = &byte, .iov_len = 1};
    struct msghdr message = {
        .msg_iov = &part, .msg_iovlen = 1, .msg_control = &rights, .msg_controllen = sizeof rights};
    rights.header.cmsg_level = SOL_SOCKET;
    rights.header.cmsg_type = SCM_RIGHTS;
    rights.header.cmsg_len = CMSG_LEN(sizeof fd);
    memcpy(CMSG_DATA(&rights.header), &fd, sizeof fd);
    if (sendmsg(guard->socket, &message, MSG_NOSIGNAL) != 1) {
        return false;
    }
    ssize_t got;
    do {
        got = recv(guard->socket, &byte, 1, 0);
    } while (got < 0 && errno == EINTR);
    return got == 1;
}

enum kith_err kith_guard_arm(struct kith_guard *guard, int fuse_fd, const char *mountpoint,
                             struct kith_error *error)
{
    int fd = -1;
    enum kith_err err = open_abort(fuse_fd, mountpoint, &fd, error);
    if (err == KITH_OK && !hand_over(guard, fd)) {
        close(fd);
        err = kith_error_set(error, KITH_EIO, "the process that guards it is gone");
    }
    if (err == KITH_OK) {
        guard->abort_fd = fd;
        kith_crash_file(fd);
    }
    return err;
}

bool kith_guard_stands(const struct kith_guard *guard)
{
    if (guard == NULL || guard->abort_fd < 0) {
        return false;
    }
    struct pollfd gone = {.fd = guard->socket, .events = 0}; /* POLLHUP always counts */
    int count;
    do {
        count = poll(&gone, 1, 0);
    } while (count < 0 && errno == EINTR);
    return count == 0;
}

void kith_guard_abort(const struct kith_guard *guard)
{
    if (guard != NULL && guard->abort_fd >= 0) {
        write_abort(guard->abort_fd);
    }
}

void kith_guard_free(struct kith_guard *guard)
{
    if (guard == NULL) {
        return;
    }
    kith_crash_file(-1);
    if (guard->abort_fd >= 0) {
        close(guard->abort_fd);
    }
    close(guard->socket);
    if (waitpid(guard->child, NULL, WNOHANG) == 0) { /* there: its number is not another's */
        (void)kill(guard->child, SIGKILL);           /* somebody may have stopped it */
    }
    while (waitpid(guard->child, NULL, 0) < 0 && errno == EINTR) {
    }
    kith_free(guard);
}

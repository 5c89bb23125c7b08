/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * local_process.c - the daemons of a local cluster: finding, starting, ending. */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/prctl.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "ctl/local/local.h"
#include "ctl/local/local_certs.h"

#define EXEC_WAIT_MS 1000 /* for a program to be mapped: far less where the disk answers at all */
#define TAIL_BYTES   8192
#define PORT_LEAST   1024u /* below, ports are for the system's services */
#define PORT_CHOICE  8192u /* ports of which one is drawn */
#define PORT_TRIES   100u
#define TAIL_LINES   30u /* the log may go with what is taken back */

/* ---- Finding ---- */

bool kith_local_is_ours(const char *cmdline, size_t size, const char *data)
{
    size_t length = strlen(data);
    const char *end = cmdline + size;
    const char *name_end = memchr(cmdline, 0, size);
    if (!name_end || name_end - cmdline < 5 || memcmp(name_end - 5, "kithd", 5) != 0) {
        return false;
    }
    for (const char *word = name_end + 1; word < end;) {
        const char *stop = memchr(word, 0, (size_t)(end - word));
        stop = stop ? stop : end;
        if ((size_t)(stop - word) == length && memcmp(word, data, length) == 0) {
            return true;
        }
        word = stop + 1;
    }
    return false;
}

static size_t file_read(const char *path, char *out, size_t room)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        return 0;
    }
    size_t size = 0;
    ssize_t got = 0;
    while (size < room && (got = read(fd, out + size, room - size)) > 0) {
        size += (size_t)got;
    }
    (void)close(fd); /* was only read */
    return size;
}

/* The process with that pid when it is a kithd on the data folder. */
static struct kith_local_process process_open(long pid, const char *data)
{
    struct kith_local_process process = {-1, 0};
    char path[64];
    char cmdline[2 * PATH_MAX];
    if (pid <= 0 || pid > INT_MAX) {
        return process;
    }
    int fd = pidfd_open((pid_t)pid, 0); /* first: from here on the number cannot change its owner */
    if (fd < 0) {
        return process;
    }
    (void)snprintf(path, sizeof(path), "/proc/%ld/cmdline", pid);
    size_t size = file_read(path, cmdline, sizeof(cmdline));
    /* In the middle of execve a process has no command line: not the old one any more, not yet the
     * new one. A kernel thread never has one, one that has ended neither. */
    process.fd = fd;
    for (int waited_ms = 0; size == 0 && waited_ms < EXEC_WAIT_MS; waited_ms++) {
        if (kith_local_wait_end(&process, 1)) {
            break;
        }
        size = file_read(path, cmdline, sizeof(cmdline));
    }
    process.fd = -1;
    if (!kith_local_is_ours(cmdline, size, data)) {
        (void)close(fd);
        return process;
    }
    process.fd = fd;
    process.pid = (pid_t)pid;
    return process;
}

enum kith_err kith_local_find(const struct kith_local *local, uint32_t index,
                              struct kith_local_process *ret_process, struct kith_error *error)
{
    char data[PATH_MAX];
    char log[PATH_MAX];
    char path[PATH_MAX + 16];
    char text[32] = "";
    enum kith_err err = kith_local_paths(local, index, data, log, error);
    if (err != KITH_OK) {
        return err;
    }
    (void)snprintf(path, sizeof(path), "%s/kithd.pid", data);
    (void)file_read(path, text, sizeof(text) - 1);
    *ret_process = process_open(strtol(text, NULL, 10), data);
    if (ret_process->fd < 0) {
        *ret_process = process_open(local->nodes[index].pid, data);
    }
    return KITH_OK;
}

/* ---- Starting ---- */

enum kith_err kith_local_program(char ret_path[PATH_MAX], struct kith_error *error)
{
    static const char *const places[] = {"kithd", "../node/kithd", "../sbin/kithd"};
    char self[PATH_MAX];
    ssize_t length = readlink("/proc/self/exe", self, sizeof(self) - 1);
    self[length > 0 ? length : 0] = '\0';
    char *slash = strrchr(self, '/');
    for (size_t i = 0; slash && i < sizeof(places) / sizeof(places[0]); i++) {
        int wanted = snprintf(ret_path, PATH_MAX, "%.*s/%s", (int)(slash - self), self, places[i]);
        if (wanted < PATH_MAX && access(ret_path, X_OK) == 0) {
            return KITH_OK;
        }
    }
    const char *path = getenv("PATH");
    for (const char *at = path; at && *at;) {
        size_t part = strcspn(at, ":");
        int wanted = snprintf(ret_path, PATH_MAX, "%.*s/kithd", (int)part, at);
        if (part > 0 && wanted < PATH_MAX && access(ret_path, X_OK) == 0) {
            return KITH_OK;
        }
        at += part + (at[part] == ':');
    }
    return kith_error_set(error, KITH_ENOTFOUND,
                          "kithd is neither beside kithctl nor in PATH: build or install it");
}

/* Where the kernel begins to take ports for connections that go out. What is above may be taken by
 * one of these between this look and the daemon's, or while the daemon is stopped. */
static uint32_t ephemeral_first(void)
{
    char text[64];
    size_t size = file_read("/proc/sys/net/ipv4/ip_local_port_range", text, sizeof(text) - 1);
    text[size] = '\0';
    unsigned long first = strtoul(text, NULL, 10);
    return first <= UINT16_MAX ? (uint32_t)first : 0;
}

/* One below them; 0, which lets the kernel choose, where there are none or no chance. */
static uint16_t port_draw(void)
{
    uint32_t first = ephemeral_first(), number = 0;
    if (first < PORT_LEAST + PORT_CHOICE ||
        getrandom(&number, sizeof(number), GRND_NONBLOCK) != (ssize_t)sizeof(number)) {
        return 0;
    }
    return (uint16_t)(first - PORT_CHOICE + number % PORT_CHOICE);
}

/* Whether it can be listened on now; 0: the kernel chooses. */
static enum kith_err port_try(uint16_t *port, struct kith_error *error)
{
    struct sockaddr_in address;
    socklen_t size = sizeof(address);
    const int on = 1;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0) {
        return kith_error_set(error, KITH_EIO, "no socket: %s", strerror(errno));
    }
    memset(&address, 0, sizeof(address));
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    address.sin_port = htons(*port);
    /* as the daemon will do: connections that linger from the last run do not count */
    bool good = setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) == 0 &&
                bind(fd, (struct sockaddr *)&address, sizeof(address)) == 0 && listen(fd, 1) == 0 &&
                getsockname(fd, (struct sockaddr *)&address, &size) == 0;
    int number = errno;
    (void)close(fd);
    if (!good) {
        return kith_error_set(error, number == EADDRINUSE ? KITH_EBUSY : KITH_EIO, "port %u: %s",
                              *port, strerror(number));
    }
    *port = ntohs(address.sin_port);
    return KITH_OK;
}

/* From this look until the daemon listens another `local up` may draw it, too, and take our daemon
 * for its own: so it is claimed, by a name that belongs to this process until its end, in the same
 * network namespace. False: it is another's. */
static bool port_claim(uint16_t port)
{
    struct sockaddr_un name = {.sun_family = AF_UNIX};
    int size = snprintf(name.sun_path + 1, sizeof(name.sun_path) - 1, "kithctl-port/%u", port);
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0) {
        return true; /* without a claim, then */
    }
    socklen_t length = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + (size_t)size);
    bool ours = bind(fd, (struct sockaddr *)&name, length) == 0 || errno != EADDRINUSE;
    if (!ours) {
        (void)close(fd);
    }
    return ours;
}

enum kith_err kith_local_port(uint16_t *port, struct kith_error *error)
{
    bool chosen = *port != 0;
    enum kith_err err = KITH_EBUSY;
    for (uint32_t tries = 0; err == KITH_EBUSY && tries < (chosen ? 1 : PORT_TRIES); tries++) {
        uint16_t number = chosen ? *port : port_draw();
        err = port_try(&number, error);
        if (err == KITH_OK && !chosen && !port_claim(number)) {
            err = kith_error_set(error, KITH_EBUSY, "port %u: another kithctl takes it", number);
        }
        *port = err == KITH_OK ? number : *port;
    }
    return err;
}

/* In the grandchild: becomes kithd. Only async-signal-safe calls; -errno goes into the pipe. What
 * it says before its log is open, and what libraries say, goes into the log from the first
 * instruction on. */
static _Noreturn void daemon_exec(const char *program, const char *log, char *const argv[],
                                  int pipe_fd)
{
    int null = open("/dev/null", O_RDONLY | O_CLOEXEC);
    int out = open(log, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0640); /* as kithd opens it */
    if (null >= 0 && out >= 0 && dup2(null, 0) >= 0 && dup2(out, 1) >= 0 && dup2(out, 2) >= 0) {
        (void)execv(program, argv);
    }
    int number = -errno;
    ssize_t written = write(pipe_fd, &number, sizeof(number));
    _exit(written == (ssize_t)sizeof(number) ? 127 : 126);
}

/* Forks twice, so that the daemon has a session that it does not lead. Writes its pid into the
 * pipe, or -errno. */
static _Noreturn void daemon_fork(const char *program, const char *log, char *const argv[],
                                  int pipe_fd)
{
    (void)setsid(); /* fails only for the leader of a group, which a fresh child is not */
    pid_t pid = fork();
    if (pid == 0) {
        daemon_exec(program, log, argv, pipe_fd);
    }
    int number = pid > 0 ? pid : -errno;
    ssize_t written = write(pipe_fd, &number, sizeof(number));
    _exit(pid > 0 && written == (ssize_t)sizeof(number) ? 0 : 1);
}

/* Reads one int; false at the end of the pipe. */
static bool pipe_int(int fd, int *ret_value)
{
    ssize_t got = 0;
    do {
        got = read(fd, ret_value, sizeof(*ret_value));
    } while (got < 0 && errno == EINTR);
    return got == (ssize_t)sizeof(*ret_value);
}

static enum kith_err daemon_spawn(const char *program, const char *log, char *const argv[],
                                  pid_t *ret_pid, struct kith_error *error)
{
    _Static_assert(sizeof(pid_t) == sizeof(int), "both travel through the pipe as int");
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) != 0) {
        return kith_error_set(error, KITH_EIO, "no pipe: %s", strerror(errno));
    }
    /* the daemon becomes our child when its parent ends: only a parent is told how it ended. Where
     * the kernel refuses, it is not told, and nothing else is lost. */
    (void)prctl(PR_SET_CHILD_SUBREAPER, 1L, 0L, 0L, 0L);
    pid_t child = fork();
    if (child == 0) {
        daemon_fork(program, log, argv, ends[1]);
    }
    int number = child < 0 ? errno : 0;
    (void)close(ends[1]);
    pid_t pid = 0;
    int status = 0;
    /* the end of the pipe is execve: the pid from the child, -errno from who failed, in any
     * order */
    for (int value = 0; child > 0 && pipe_int(ends[0], &value);) {
        pid = value > 0 ? value : pid;
        number = value < 0 ? -value : number;
    }
    while (child > 0 && waitpid(child, &status, 0) < 0 && errno == EINTR) {
    }
    (void)close(ends[0]);
    if (number != 0 || pid == 0 || status != 0) {
        return kith_error_set(error, KITH_EIO, "cannot start %s, log %s: %s", program, log,
                              number != 0 ? strerror(number) : "its parent was killed");
    }
    *ret_pid = pid;
    return KITH_OK;
}

#define CERT_WORDS 4u

/* Options of kithd: its certificate, or that it has none. */
static enum kith_err cert_words(const struct kith_local *local,
                                char ret_words[CERT_WORDS][PATH_MAX + 8], uint32_t *ret_count,
                                struct kith_error *error)
{
    static const char *const options[CERT_WORDS] = {"--cert=", "--key=", "--ca=", "--crl="};
    static const char *const files[CERT_WORDS] = {"node.crt", "node.key", "ca.crt", "crl.pem"};
    *ret_count = local->secure ? CERT_WORDS : 1;
    if (!local->secure) {
        (void)snprintf(ret_words[0], sizeof(ret_words[0]), "--insecure");
        return KITH_OK;
    }
    enum kith_err err = KITH_OK;
    for (uint32_t i = 0; i < CERT_WORDS && err == KITH_OK; i++) {
        char path[PATH_MAX];
        err = kith_local_cert_path(local, files[i], path, error);
        if (err == KITH_OK) {
            (void)snprintf(ret_words[i], sizeof(ret_words[i]), "%s%s", options[i], path);
        }
    }
    return err;
}

enum kith_err kith_local_start(struct kith_local *local, uint32_t index, const char *program,
                               struct kith_local_process *ret_process, struct kith_error *error)
{
    char data[PATH_MAX];
    char log[PATH_MAX];
    char listen_at[32];
    char name[PATH_MAX];
    char cache[32];
    char metrics[] = "--metrics=127.0.0.1:0"; /* each its own: the file `metrics` in its data */
    char options[4][16] = {"--data", "--listen", "--log", "--cache"};
    char certs[CERT_WORDS][PATH_MAX + 8];
    uint32_t cert_count = 0;
    enum kith_err err = kith_local_paths(local, index, data, log, error);
    err = err == KITH_OK ? cert_words(local, certs, &cert_count, error) : err;
    if (err != KITH_OK) {
        return err;
    }
    (void)snprintf(name, sizeof(name), "%s", program);
    (void)snprintf(listen_at, sizeof(listen_at), "127.0.0.1:%u", local->nodes[index].port);
    (void)snprintf(cache, sizeof(cache), "%lluM", (unsigned long long)(local->cache_bytes >> 20));
    char *argv[8 + CERT_WORDS + 2 + 1] = {name,    options[0], data, options[1], listen_at,
                                          metrics, options[2], log};
    uint32_t used = 8;
    for (uint32_t i = 0; i < cert_count; i++) {
        argv[used++] = certs[i];
    }
    if (local->cache_bytes > 0) {
        argv[used++] = options[3];
        argv[used++] = cache;
    }
    pid_t pid = 0;
    err = daemon_spawn(program, log, argv, &pid, error);
    if (err != KITH_OK) {
        return err;
    }
    local->nodes[index].pid = pid;
    /* its number stays its own, also when it has ended: nobody but us waits for it */
    int fd = pidfd_open(pid, 0);
    if (fd < 0) {
        return kith_error_set(error, KITH_EIO, "process %d: %s", (int)pid, strerror(errno));
    }
    ret_process->fd = fd;
    ret_process->pid = pid;
    return KITH_OK;
}

/* ---- Ending ---- */

bool kith_local_wait_end(const struct kith_local_process *process, int timeout_ms)
{
    struct pollfd wait = {process->fd, POLLIN, 0};
    int ready = 0;
    do {
        ready = poll(&wait, 1, timeout_ms);
    } while (ready < 0 && errno == EINTR);
    return ready > 0;
}

void kith_local_end_text(const struct kith_local_process *process, char *ret_text, size_t size)
{
    siginfo_t info;
    memset(&info, 0, sizeof(info));
    ret_text[0] = '\0';
    if (process->fd < 0 ||
        waitid(P_PIDFD, (id_t)process->fd, &info, WEXITED | WNOHANG | WNOWAIT) != 0 ||
        info.si_pid == 0) {
        return;
    }
    if (info.si_code == CLD_EXITED) {
        (void)snprintf(ret_text, size, "exit status %d", info.si_status);
    } else {
        (void)snprintf(ret_text, size, "signal %d (%s)", info.si_status,
                       strsignal(info.si_status));
    }
}

enum kith_err kith_local_signal(const struct kith_local_process *process, int signal,
                                struct kith_error *error)
{
    if (pidfd_send_signal(process->fd, signal, NULL, 0) != 0 && errno != ESRCH) {
        return kith_error_set(error, errno == EPERM ? KITH_EPERM : KITH_EIO, "process %d: %s",
                              (int)process->pid, strerror(errno));
    }
    return KITH_OK;
}

char *kith_local_log_tail(const char *path)
{
    char *text = calloc(1, TAIL_BYTES + 1);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (!text || fd < 0) {
        if (fd >= 0) {
            (void)close(fd);
        }
        return text;
    }
    off_t size = lseek(fd, 0, SEEK_END);
    off_t from = size > TAIL_BYTES ? size - TAIL_BYTES : 0;
    ssize_t got = pread(fd, text, TAIL_BYTES, from);
    (void)close(fd); /* was only read */
    text[got > 0 ? got : 0] = '\0';
    size_t start = strlen(text);
    for (uint32_t lines = 0; start > 0; start--) {
        if (text[start - 1] == '\n' && text[start] != '\0' && ++lines == TAIL_LINES) {
            break;
        }
    }
    memmove(text, text + start, strlen(text + start) + 1);
    return text;
}

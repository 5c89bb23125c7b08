/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "base/log.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <syslog.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"

/* Bytes of a line with its newline; longer ones are cut. Enough for a path of PATH_MAX/2 and well
 * below PIPE_BUF, so that lines of several processes on one pipe do not mix either. */
#define LINE_MAX_BYTES 2048u

static const struct {
    const char *name;
    int priority; /* of syslog(3), as the journal reads it */
} levels[] = {
    [KITH_LOG_ERROR] = {"error", LOG_ERR},
    [KITH_LOG_WARN] = {"warn", LOG_WARNING},
    [KITH_LOG_INFO] = {"info", LOG_INFO},
    [KITH_LOG_DEBUG] = {"debug", LOG_DEBUG},
};
#define LEVEL_COUNT (sizeof levels / sizeof levels[0])

static int max_level = KITH_LOG_INFO; /* atomic */
/* Atomic. A file that was opened once keeps its descriptor number for good: a later target is put
 * under it with dup3, which is atomic, so that a thread in the middle of a line never writes into a
 * descriptor that means something else by now. */
static int target = STDERR_FILENO;
static int to_stderr = 1;                                      /* atomic */
static const char *system_program; /* atomic; NULL = not to the system's */
static pthread_mutex_t open_mutex = PTHREAD_MUTEX_INITIALIZER; /* one change of target at a time */
static bool stderr_taken; /* under open_mutex: standard output and error follow the target */

static pthread_once_t journal_once = PTHREAD_ONCE_INIT;
static bool stderr_is_journal; /* written once under journal_once */

/* JOURNAL_STREAM is "device:inode" of the journal's socket. It is inherited by children whose
 * stderr goes elsewhere, therefore systemd.exec(5) says to compare. */
static void find_journal(void)
{
    const char *stream = getenv("JOURNAL_STREAM");
    unsigned long long device, inode;
    struct stat info;
    if (stream && sscanf(stream, "%llu:%llu", &device, &inode) == 2 &&
        fstat(STDERR_FILENO, &info) == 0) {
        stderr_is_journal = info.st_dev == device && info.st_ino == inode;
    }
}

enum kith_err kith_log_level_parse(const char *text, enum kith_log_level *ret_level)
{
    for (size_t i = 0; i < LEVEL_COUNT; i++) {
        if (strcmp(text, levels[i].name) == 0) {
            *ret_level = (enum kith_log_level)i;
            return KITH_OK;
        }
    }
    return KITH_EINVAL;
}

void kith_log_set_level(enum kith_log_level level)
{
    __atomic_store_n(&max_level, (int)level, __ATOMIC_RELAXED);
}

bool kith_log_enabled(enum kith_log_level level)
{
    return (int)level <= __atomic_load_n(&max_level, __ATOMIC_RELAXED);
}

/* open_mutex held */
static enum kith_err take_stderr(struct kith_error *error)
{
    int from = __atomic_load_n(&target, __ATOMIC_ACQUIRE);
    if (dup2(from, STDOUT_FILENO) < 0 || dup2(from, STDERR_FILENO) < 0) {
        return kith_error_set(error, KITH_EIO, "standard error cannot be the log: %s",
                              strerror(errno));
    }
    return KITH_OK;
}

enum kith_err kith_log_take_stderr(struct kith_error *error)
{
    enum kith_err err = KITH_EINVAL;
    pthread_mutex_lock(&open_mutex);
    if (!__atomic_load_n(&to_stderr, __ATOMIC_RELAXED) && system_program == NULL) {
        err = take_stderr(error);
        stderr_taken = err == KITH_OK;
    }
    pthread_mutex_unlock(&open_mutex);
    return err;
}

int kith_log_fd(void)
{
    return __atomic_load_n(&target, __ATOMIC_ACQUIRE);
}

enum kith_err kith_log_open(const char *path, struct kith_error *error)
{
    enum kith_err err = KITH_OK;
    pthread_mutex_lock(&open_mutex);
    int opened = path ? open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0640)
                      : fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 3);
    if (opened < 0) {
        err = kith_error_set(error, KITH_EIO, "cannot open the log %s: %s",
                             path ? path : "(standard error)", strerror(errno));
    } else {
        int current = __atomic_load_n(&target, __ATOMIC_ACQUIRE);
        if (current == STDERR_FILENO) {
            __atomic_store_n(&target, opened, __ATOMIC_RELEASE);
        } else {
            if (dup3(opened, current, O_CLOEXEC) < 0) {
                err = kith_error_set(error, KITH_EIO, "cannot switch the log to %s: %s",
                                     path ? path : "(standard error)", strerror(errno));
            }
            close(opened);
        }
        if (err == KITH_OK) {
            __atomic_store_n(&to_stderr, path == NULL, __ATOMIC_RELAXED);
            err = stderr_taken && path != NULL ? take_stderr(error) : KITH_OK;
        }
    }
    pthread_mutex_unlock(&open_mutex);
    return err;
}

/* The address of syslog(3). Its sender would do, if it did not wait where the reader is stuck. */
static int connect_system(int fd)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX, .sun_path = "/dev/log"};
    return connect(fd, (const struct sockaddr *)&address, sizeof address);
}

enum kith_err kith_log_to_system(const char *program, struct kith_error *error)
{
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0) {
        return kith_error_set(error, KITH_EIO, "no way to the system's log: %s", strerror(errno));
    }
    (void)connect_system(fd); /* who is not there yet may come: each line tries again */
    pthread_mutex_lock(&open_mutex);
    __atomic_store_n(&to_stderr, 0, __ATOMIC_RELAXED);
    __atomic_store_n(&system_program, program, __ATOMIC_RELEASE);
    __atomic_store_n(&target, fd, __ATOMIC_RELEASE);
    pthread_mutex_unlock(&open_mutex);
    return KITH_OK;
}

/* "<time> <level> <component>: " or the journal's "<N>component: "; the bytes written. */
static size_t write_head(char *line, size_t size, enum kith_log_level level, const char *component)
{
    int written;
    const char *program = __atomic_load_n(&system_program, __ATOMIC_ACQUIRE);
    pthread_once(&journal_once, find_journal);
    if (program) {
        written = snprintf(line, size, "<%d>%s[%d]: %s: ", LOG_DAEMON | levels[level].priority,
                           program, (int)getpid(), component);
    } else if (stderr_is_journal && __atomic_load_n(&to_stderr, __ATOMIC_RELAXED)) {
        written = snprintf(line, size, "<%d>%s: ", levels[level].priority, component);
    } else {
        struct timespec now;
        struct tm utc;
        clock_gettime(CLOCK_REALTIME, &now);
        gmtime_r(&now.tv_sec, &utc);
        written =
            snprintf(line, size, "%04d-%02d-%02dT%02d:%02d:%02d.%03ldZ %s %s: ", utc.tm_year + 1900,
                     utc.tm_mon + 1, utc.tm_mday, utc.tm_hour, utc.tm_min, utc.tm_sec,
                     now.tv_nsec / 1000000, levels[level].name, component);
    }
    if (written < 0) {
        return 0;
    }
    return (size_t)written < size ? (size_t)written : size - 1;
}

/* Where the log itself cannot be written, there is nowhere left to tell it. */
static void write_line(const char *line, size_t size)
{
    int fd = __atomic_load_n(&target, __ATOMIC_ACQUIRE);
    if (__atomic_load_n(&system_program, __ATOMIC_ACQUIRE)) {
        if (write(fd, line, size) < 0 && errno != EAGAIN && connect_system(fd) == 0) {
            (void)!write(fd, line, size); /* the reader had been started again */
        }
        return;
    }
    size_t done = 0;
    while (done < size) {
        ssize_t count = write(fd, line + done, size - done);
        if (count < 0 && errno == EINTR) {
            continue;
        }
        if (count <= 0) {
            break;
        }
        done += (size_t)count;
    }
}

static void log_line(enum kith_log_level level, const char *component, const char *format,
                     va_list args)
{
    int saved_errno = errno;
    char line[LINE_MAX_BYTES];
    size_t size = write_head(line, sizeof line - 1, level, component);
    int written = vsnprintf(line + size, sizeof line - 1 - size, format, args);
    if (written > 0) {
        size_t room = sizeof line - 2 - size;
        size += (size_t)written < room ? (size_t)written : room;
    }
    for (size_t i = 0; i < size; i++) {
        if (line[i] == '\n' || line[i] == '\r') {
            line[i] = ' '; /* one line an event, whatever a peer put into a message */
        } else if ((unsigned char)line[i] < 0x20 || line[i] == 0x7f) {
            line[i] = '?'; /* nor does it move about in the terminal of who reads it */
        }
    }
    line[size++] = '\n';
    write_line(line, size);
    errno = saved_errno;
}

void kith_log(enum kith_log_level level, const char *component, const char *format, ...)
{
    if (!kith_log_enabled(level)) {
        return;
    }
    va_list args;
    va_start(args, format);
    log_line(level, component, format, args);
    va_end(args);
}

void kith_log_limited(struct kith_log_limit *limit, enum kith_log_level level,
                      const char *component, const char *format, ...)
{
    static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
    if (!kith_log_enabled(level)) {
        return;
    }
    uint64_t now_ms = kith_mono_ms();
    uint32_t missed = 0;
    pthread_mutex_lock(&lock);
    if (limit->count == 0 || now_ms - limit->since_ms >= KITH_LOG_LIMIT_MS) {
        missed = limit->count > KITH_LOG_LIMIT ? limit->count - KITH_LOG_LIMIT : 0;
        limit->since_ms = now_ms;
        limit->count = 0;
    }
    limit->count += limit->count < UINT32_MAX ? 1 : 0;
    bool good = limit->count <= KITH_LOG_LIMIT;
    pthread_mutex_unlock(&lock);
    if (missed > 0) {
        kith_log(level, component, "%u more lines like the next one were left out", missed);
    }
    if (good) {
        va_list args;
        va_start(args, format);
        log_line(level, component, format, args);
        va_end(args);
    }
}

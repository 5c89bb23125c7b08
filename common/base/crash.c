/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "base/crash.h"

#include <errno.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"

static const int fatal[] = {SIGABRT, SIGBUS, SIGFPE,  SIGILL,  SIGQUIT,
                            SIGSEGV, SIGSYS, SIGTRAP, SIGXCPU, SIGXFSZ};
#define FATAL_COUNT (sizeof fatal / sizeof fatal[0])
#define LINE_SIZE   128u /* bytes; a name, a signal's abbreviation and what stands around them */

static atomic_int file = -1;
static const char *program; /* written before there are threads */

static size_t append(char *line, size_t size, const char *text)
{
    size_t more = text != NULL ? strlen(text) : 0;
    more = more < LINE_SIZE - size ? more : LINE_SIZE - size;
    memcpy(line + size, text != NULL ? text : "", more);
    return size + more;
}

/* Only what is async-signal-safe: no time in the line, for making it takes a lock. */
static void on_fatal(int number)
{
    int saved_errno = errno;
    int fd = atomic_load(&file);
    ssize_t written = fd >= 0 ? write(fd, "1", 1) : 0;
    char line[LINE_SIZE];
    size_t size = append(line, 0, "error ");
    size = append(line, size, program);
    size = append(line, size, ": ended by SIG");
    size = append(line, size, sigabbrev_np(number));
    size = append(line, size, written < 0 ? ", and the file could not be told\n" : "\n");
    written = write(kith_log_fd(), line, size);
    (void)written; /* there is nowhere left to tell it */
    /* Not before (SA_RESETHAND): another thread that ends so at the same time would dump core. */
    (void)signal(number, SIG_DFL);
    (void)raise(number); /* blocked here; on return */
    errno = saved_errno;
}

void kith_crash_init(const char *name)
{
    struct sigaction action = {.sa_handler = on_fatal}, before;
    program = name;
    (void)sigemptyset(&action.sa_mask);
    for (size_t i = 0; i < FATAL_COUNT; i++) {
        if (sigaction(fatal[i], NULL, &before) == 0 && before.sa_handler == SIG_DFL) {
            (void)sigaction(fatal[i], &action, NULL); /* fails for no signal of the list */
        }
    }
}

void kith_crash_file(int fd)
{
    atomic_store(&file, fd);
}

/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * caller.c - what the signals of a thread that waits for an answer mean.
 *
 * The kernel sends INTERRUPT for any signal, and an EINTR that answers it reaches the program,
 * which does not expect one from a file: git's progress timer (SIGALRM with SA_RESTART) makes its
 * open() and rename() fail. So EINTR is for who is being killed, and for who catches a signal by
 * which people and systems end programs; as on NFS the others wait on, to the deadline at most. The
 * signal is still pending while the kernel waits for us, so /proc shows it. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "fs/fs.h"
#include "fs/requests/requests.h"

#define STATUS_SIZE 4096u /* bytes; the lines of /proc/TID/status with signals end before 1,500 */

static uint64_t mask_of(const char *status, const char *field)
{
    const char *at = strstr(status, field);
    return at == NULL ? 0 : strtoull(at + strlen(field), NULL, 16);
}

static uint64_t bit_of(int signal)
{
    return UINT64_C(1) << (signal - 1);
}

enum kith_caller kith_caller_state(pid_t thread)
{
    char path[64], status[STATUS_SIZE];
    if (thread <= 0) {
        return KITH_CALLER_UNKNOWN;
    }
    snprintf(path, sizeof path, "/proc/%d/status", (int)thread);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t size = fd < 0 ? -1 : read(fd, status, sizeof status - 1);
    if (fd >= 0) {
        close(fd);
    }
    if (size <= 0) {
        return KITH_CALLER_UNKNOWN;
    }
    status[size] = '\0';
    uint64_t pending = mask_of(status, "\nSigPnd:") | mask_of(status, "\nShdPnd:");
    uint64_t blocked = mask_of(status, "\nSigBlk:");
    uint64_t ends = bit_of(SIGINT) | bit_of(SIGTERM) | bit_of(SIGQUIT) | bit_of(SIGHUP);
    /* what kills has been turned into SIGKILL, but for what also dumps core: that is not caught */
    uint64_t ignored = mask_of(status, "\nSigIgn:"), caught = mask_of(status, "\nSigCgt:");
    uint64_t harmless = bit_of(SIGCHLD) | bit_of(SIGWINCH) | bit_of(SIGURG) | bit_of(SIGCONT) |
                        bit_of(SIGSTOP) | bit_of(SIGTSTP) | bit_of(SIGTTIN) | bit_of(SIGTTOU);
    uint64_t fatal = ~(ignored | caught | harmless);
    bool over = (pending & bit_of(SIGKILL)) != 0 || (pending & ~blocked & (ends | fatal)) != 0;
    return over ? KITH_CALLER_ENDS : KITH_CALLER_STAYS;
}

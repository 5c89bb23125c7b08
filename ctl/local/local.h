/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * local.h - a cluster on this machine under one folder:
 *
 *     DIR/cluster.json   which nodes there are: address and pid of each
 *     DIR/nodeK/         data of node K (kithd.pid and address among it, written by kithd)
 *     DIR/nodeK.log      its log
 *     DIR/certs/, env    certificates, and what kithctl wants to know: local_certs.h
 *
 * local_state.c reads and writes cluster.json, local_process.c starts and ends daemons,
 * local_remove.c removes what a run has made, local.c is the commands, local_up.c the first. */
#ifndef KITH_CTL_LOCAL_H
#define KITH_CTL_LOCAL_H

#include <limits.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/err.h"

#define KITH_LOCAL_NODES_MAX 64u /* one machine; each takes a process with its cache */

struct kith_local_node {
    uint16_t port; /* on 127.0.0.1; 0 = none yet */
    pid_t pid;     /* of the last start; 0 = none */
};

struct kith_local {
    char dir[PATH_MAX]; /* absolute */
    bool made;          /* DIR, by this run */
    bool has_state;     /* cluster.json was there when it was read */
    bool secure;        /* it has certificates */
    uint64_t cache_bytes; /* of each node that is started from now on; 0 = kithd's own choice */
    uint32_t count;
    struct kith_local_node nodes[KITH_LOCAL_NODES_MAX];
};

/* ---- cluster.json ---- */

/* The text for the nodes, to be freed with free(); NULL: out of memory. */
char *kith_local_encode(const struct kith_local *local);
/* count and nodes from text; EFORMAT with a message. dir is not touched. */
KITH_MUST_CHECK enum kith_err kith_local_decode(const char *text, struct kith_local *local,
                                                struct kith_error *error);
/* Reads DIR's cluster.json; a missing one gives no nodes. ENOTFOUND, EIO, EFORMAT. */
KITH_MUST_CHECK enum kith_err kith_local_load(const char *dir, struct kith_local *ret_local,
                                              struct kith_error *error);
/* The same (DIR is made with `create` where it is missing) for who will change what is there: until
 * *ret_fd is closed, another gets EBUSY. */
KITH_MUST_CHECK enum kith_err kith_local_hold(const char *dir, bool create,
                                              struct kith_local *ret_local, int *ret_fd,
                                              struct kith_error *error);
/* Writes cluster.json whole: a new file, flushed, then renamed over the old one. */
KITH_MUST_CHECK enum kith_err kith_local_save(const struct kith_local *local,
                                              struct kith_error *error);

/* DIR/nodeK and DIR/nodeK.log, K = index + 1. ETOOBIG: longer than a path may be. */
KITH_MUST_CHECK enum kith_err kith_local_paths(const struct kith_local *local, uint32_t index,
                                               char ret_data[PATH_MAX], char ret_log[PATH_MAX],
                                               struct kith_error *error);

/* The text and a line feed into a file, flushed. EIO. */
KITH_MUST_CHECK enum kith_err kith_local_text_write(const char *path, const char *text,
                                                    struct kith_error *error);
/* Removes cluster.json, where it is. EIO. */
KITH_MUST_CHECK enum kith_err kith_local_forget(const struct kith_local *local,
                                                struct kith_error *error);

/* ---- Taking back ---- */

/* What is there of a node. */
struct kith_local_present {
    bool data, log;
};
KITH_MUST_CHECK enum kith_err kith_local_present(const struct kith_local *local, uint32_t index,
                                                 struct kith_local_present *ret_present,
                                                 struct kith_error *error);
/* Removes what is there of the node and was not `before`. Its process has ended. EIO. */
KITH_MUST_CHECK enum kith_err kith_local_remove(const struct kith_local *local, uint32_t index,
                                                const struct kith_local_present *before,
                                                struct kith_error *error);

/* Removes all that is at `path`, where there is something. EIO. */
KITH_MUST_CHECK enum kith_err kith_local_tree_remove(const char *path, struct kith_error *error);

/* ---- Processes ---- */

/* A process that is known to be node `index`'s kithd, held so that its number cannot pass to
 * another. */
struct kith_local_process {
    int fd; /* pidfd; -1 = not running */
    pid_t pid;
};

/* The running kithd of the node, by kithd.pid or the recorded pid: /proc/PID/cmdline must name its
 * data folder. fd = -1 where there is none. Close fd. */
KITH_MUST_CHECK enum kith_err kith_local_find(const struct kith_local *local, uint32_t index,
                                              struct kith_local_process *ret_process,
                                              struct kith_error *error);
/* Whether a process's command line (NUL-separated, as in /proc) is a kithd on that data folder. */
bool kith_local_is_ours(const char *cmdline, size_t size, const char *data);

/* The path of kithd: beside this program, in ../node, in ../sbin, else in PATH. ENOTFOUND. */
KITH_MUST_CHECK enum kith_err kith_local_program(char ret_path[PATH_MAX], struct kith_error *error);
/* Whether the port can be listened on now; with port 0 a free one is drawn, below those that the
 * kernel gives to connections that go out, and no other process draws it before this one ends. EBUSY,
 * EIO. */
KITH_MUST_CHECK enum kith_err kith_local_port(uint16_t *port, struct kith_error *error);
/* Starts node `index` as a daemon (own session, no terminal, what it prints goes to its log) and
 * notes its pid; returns when it has become kithd, *ret_process holds it, fd to be closed. Call it
 * before anything of gRPC: a process with its threads cannot fork. While this process lives it is
 * told how its daemons end (it is a subreaper from now on). */
KITH_MUST_CHECK enum kith_err kith_local_start(struct kith_local *local, uint32_t index,
                                               const char *program,
                                               struct kith_local_process *ret_process,
                                               struct kith_error *error);
/* How a process that kith_local_start gave has ended, "exit status 2" or "signal 11 (Segmentation
 * fault)"; "" where it has not, or was started by another. */
void kith_local_end_text(const struct kith_local_process *process, char *ret_text, size_t size);
/* Waits up to timeout_ms for the process's end; true: it has ended. */
bool kith_local_wait_end(const struct kith_local_process *process, int timeout_ms);
/* Sends a signal; a process that has ended meanwhile is no error. */
KITH_MUST_CHECK enum kith_err kith_local_signal(const struct kith_local_process *process,
                                                int signal, struct kith_error *error);
/* The last lines of a log; "" where there is none. free() it; NULL:
 * out of memory. */
char *kith_local_log_tail(const char *path);

/* ---- The commands: for local.c and local_up.c ---- */

struct kith_ctl_args;

/* A line of progress on stdout; nothing with --json: then stdout is for the one answer. */
void kith_local_say(const struct kith_ctl_args *args, const char *format, ...) KITH_PRINTF(2, 3);
/* Waits for the end of a node's process that was told to end; kills it when that takes too long. */
KITH_MUST_CHECK enum kith_err kith_local_end(const struct kith_ctl_args *args, uint32_t index,
                                             const struct kith_local_process *process,
                                             struct kith_error *error);

#endif

/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * options.h - the command line of kithfs, as text to values. Pure; checked by
 * tests/unit/test_options.c.
 *
 *     kithfs HOST[:PORT][,HOST[:PORT]...][:/PATH] MOUNTPOINT [-o OPTION[,OPTION...]] [-f] [-d] */
#ifndef KITH_FS_OPTIONS_H
#define KITH_FS_OPTIONS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/log.h"
#include "data/quorum.h"
#include "format/versions.h"

#define KITH_FS_PORT        "7070"
#define KITH_FS_SERVERS_MAX 64u
#define KITH_FS_EXTRA_MAX   32u

struct kith_fs_options {
    const char *source; /* as given */
    const char *mountpoint;
    uint32_t server_count;
    char *servers[KITH_FS_SERVERS_MAX]; /* "host:port"; owned */
    char *path;                         /* "/" or "/a/b"; owned */
    char *volume; /* its name (data/volume.h); NULL = "fs"; owned */
    bool foreground, debug, help, version;
    bool fake; /* as helper, -f: nothing is mounted, only the line is looked at */
    bool tolerant; /* as helper, -s: options that nobody knows are left out */
    bool read_only, allow_other, no_watch, strict;
    bool no_control; /* no virtual directory .kith */
    bool over;    /* another filesystem may be mounted there */
    bool remount; /* of a mount that is there: */
    uint32_t own_count; /* options that a remount cannot change */
    bool insecure; /* no certificate, although one may lie where they are looked for */
    bool helper;   /* called by mount(8) */
    bool hard;   /* requests wait until the cluster answers (kith_client_hard) */
    bool no_acl; /* POSIX ACLs are neither kept nor minded */
    bool hide_conflicts;
    char *on_conflict; /* the program as it was given (fs/hook); NULL = none; owned */
    enum kith_conflict_style conflict_names;
    uint32_t w_min; /* of client.h */
    char *zone;     /* NULL = that of the nearest node; owned */
    char *cert, *key, *ca, *crl; /* whole paths; NULL = none; owned */
    enum kith_level read_level, write_level;
    double attr_timeout, entry_timeout; /* seconds */
    uint32_t mount_timeout_ms, op_timeout_ms;
    uint64_t cache_bytes;
    uint32_t readahead_bytes;
    double check_s; /* between two checks for orphans (fs/orphans); 0: none */
    uint32_t dir_time_ms; /* a directory's time of change is put so long after the change; 0: never */
    uint32_t hook_limit_ms, hook_quiet_ms; /* of on_conflict: a run's, and before it (hook_queue.h) */
    uint32_t lease_ms; /* as in fs/content/content.h; 0 = its own */
    char *log_path; /* NULL = stderr; owned */
    char *pid_path; /* NULL = none; owned */
    enum kith_log_level log_level;
    uint32_t extra_count;
    char *extra[KITH_FS_EXTRA_MAX]; /* options for the kernel's side (nosuid ...); owned */
};

/* Parses; on an error *ret_options holds nothing. EINVAL with a message that names the word. As
 * helper of mount(8) (argv[0] "mount.*") -s -f -n -v -r -w mean what they do there. Options that only
 * concern fstab are dropped. */
KITH_MUST_CHECK enum kith_err kith_fs_options_parse(int argc, char *const argv[],
                                                    struct kith_fs_options *ret_options,
                                                    struct kith_error *error);
void kith_fs_options_release(struct kith_fs_options *options);
/* Those that differ from what they are when nobody gives any, as after -o: "strict,zone=ams". */
void kith_fs_options_text(const struct kith_fs_options *options, struct kith_buf *out);
/* "HOST[:PORT],...[:/PATH]" into servers and path. */
KITH_MUST_CHECK enum kith_err
kith_fs_source_parse(const char *source, struct kith_fs_options *options, struct kith_error *error);
/* "64", "64k", "1M", "2G" (binary) to bytes. EINVAL. */
KITH_MUST_CHECK enum kith_err kith_fs_size_parse(const char *text, uint64_t *ret_bytes);

#endif

/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * mount.c - the mount from its beginning to its end. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "fs/control/control.h"
#include "fs/fs.h"
#include "fs/files/files.h"
#include "fs/hook/hook.h"
#include "fs/mount/guard.h"
#include "fs/mount/mount.h"
#include "fs/mount/mountpoint.h"
#include "fs/names/names.h"
#include "fs/orphans/orphans.h"
#include "fs/requests/requests.h"
#include "fs/rows/rows.h"
#include "fs/tables/tables.h"
#include "data/volume.h"
#include "tls/identity.h"

#define INODE_BUCKETS_FIRST 1024u
/* Threads for requests: they never wait, so as many as processors are enough. */
#define THREADS_MIN 4
#define THREADS_MAX 16
#define END_TIMEOUT_NS (10 * NSEC_PER_SEC)
#define EXIT_UNFLUSHED 1
#define EXIT_SYSTEM    2
#define EXIT_MOUNT     32

/* As whom this mount writes. */
static void get_writer(char ret_writer[KITH_WRITER_MAX + 1])
{
    char host[64] = "host";
    struct passwd *user = getpwuid(geteuid());
    if (gethostname(host, sizeof host - 1) != 0) {
        memcpy(host, "host", 5);
    }
    if (user != NULL) {
        snprintf(ret_writer, KITH_WRITER_MAX + 1, "%.31s@%.31s", user->pw_name, host);
    } else {
        snprintf(ret_writer, KITH_WRITER_MAX + 1, "%u@%.31s", (unsigned)geteuid(), host);
    }
}

static enum kith_err open_client(const struct kith_fs_options *options,
                                 struct kith_client **ret_client, struct kith_error *error)
{
    char writer[KITH_WRITER_MAX + 1];
    get_writer(writer);
    struct kith_client_options client = {.server_count = options->server_count,
                                         .servers = (const char *const *)options->servers,
                                         .connect_timeout_ms = options->mount_timeout_ms,
                                         .op_timeout_ms = options->op_timeout_ms,
                                         .strict = options->strict,
                                         .w_min = options->w_min,
                                         .zone = options->zone,
                                         .read_level = options->read_level,
                                         .write_level = options->write_level,
                                         .writer = writer};
    const struct kith_identity_files files = {options->cert, options->key, options->ca,
                                              options->crl, NULL};
    if (files.cert != NULL || files.key != NULL || files.ca != NULL || files.crl != NULL) {
        client.tls = &files; /* who names one of them must not talk in plain text */
    }
    return kith_client_open(&client, ret_client, error);
}

/* The root's row, made where the cluster has none: blind, with a fixed id, so that two mounts that
 * make it at once make the same. */
static int make_root(struct kith_fs *fs, const struct kith_group *group, struct kith_error *error)
{
    struct kith_client_answer answer;
    struct kith_buf buf;
    kith_buf_init(&buf);
    kith_root_record_encode(geteuid(), getegid(), kith_wall_time(), &buf);
    struct kith_put_update update = {.has_sibling = true, .value = kith_buf_bytes(&buf)};
    int failed = ENOMEM;
    if (!buf.failed) {
        failed = kith_rows_put(fs, group, KITH_DURABLE_DISK, &update, 1, &answer);
        if (failed != 0 && answer.result.message != NULL) {
            (void)kith_error_set(error, KITH_EIO, "the root directory cannot be made: %s",
                                 answer.result.message);
        }
        kith_client_answer_release(&answer);
    }
    kith_buf_release(&buf);
    return failed;
}

/* The root's row where it is missing: of the volume that every cluster has it is made, others come from
 * who looks after the cluster, so that a name that is misspelt is not taken for a new one. */
static int replace_root(struct kith_fs *fs, const struct kith_group *group,
                        struct kith_error *error)
{
    const char *volume = fs->options->volume;
    if (fs->volume == KITH_VOLUME_FS) {
        return make_root(fs, group, error);
    }
    (void)kith_error_set(error, KITH_ENOTFOUND,
                         "there is no volume '%s' in this cluster; an administrator makes it: "
                         "kithctl volume create %s",
                         volume, volume);
    return ENOENT;
}

static int find_root(struct kith_fs *fs, struct kith_error *error)
{
    struct kith_arena arena;
    struct kith_client_answer answer;
    struct kith_seen seen;
    struct kith_group group = kith_volume_root(fs->volume);
    const char *volume = fs->options->volume != NULL ? fs->options->volume : "fs";
    fs->root = kith_inode_new(fs, KITH_ROOT_FILE_ID, KITH_TYPE_DIR);
    if (fs->root == NULL) {
        return ENOMEM;
    }
    fs->root->dir->group = group;
    kith_arena_init(&arena, 0);
    int failed = ESTALE;
    for (unsigned i = 0; i < 2 && failed == ESTALE; i++) {
        failed = i == 0 ? 0 : replace_root(fs, &group, error);
        if (failed == 0) {
            failed = kith_inode_read(fs, fs->root, &arena, &answer, &seen);
            if (failed != 0 && failed != ESTALE && answer.result.message != NULL) {
                (void)kith_error_set(error, failed == EPERM ? KITH_EPERM : KITH_EIO,
                                     "the root directory of volume '%s': %s", volume,
                                     answer.result.message);
            }
            kith_client_answer_release(&answer);
        }
    }
    kith_arena_release(&arena);
    return failed;
}

/* Goes down to the directory that is to be the root here. The directories above stay known: their
 * entries hold them. */
static int find_path(struct kith_fs *fs, const char *path, struct kith_error *error)
{
    while (*path == '/') {
        path++;
    }
    while (*path != '\0') {
        char name[KITH_FS_NAME_MAX + 1];
        size_t size = strcspn(path, "/");
        if (size > KITH_FS_NAME_MAX) {
            return ENAMETOOLONG;
        }
        memcpy(name, path, size);
        name[size] = '\0';
        struct kith_entry *entry;
        int failed = kith_dir_read(fs, fs->root, name, &entry);
        if (failed != 0) {
            return failed;
        }
        /* the pin stays: what leads to the root of a mount is never swept */
        if (entry->inode == NULL || entry->inode->type != KITH_TYPE_DIR) {
            failed = entry->inode == NULL ? ENOENT : ENOTDIR;
            (void)kith_error_set(error, KITH_ENOTFOUND, "%s: %s", fs->options->path,
                                 strerror(failed));
            entry->pins--;
            return failed;
        }
        kith_inode_hold(entry->inode);
        fs->root = entry->inode;
        path += size;
        while (*path == '/') {
            path++;
        }
    }
    return 0;
}

static enum kith_err start_parts(struct kith_fs *fs, struct kith_error *error)
{
    struct kith_content_options content = {.client = fs->client,
                                           .volume = fs->volume,
                                           .cache_bytes = (size_t)fs->options->cache_bytes,
                                           .readahead_bytes = fs->options->readahead_bytes,
                                           .lease_ms = fs->options->lease_ms,
                                           .timeout_ms = fs->options->op_timeout_ms};
    enum kith_err err = kith_content_store_new(&content, &fs->store);
    if (err == KITH_OK) {
        err = kith_executor_new(fs, &fs->executor);
    }
    if (err == KITH_OK) {
        err = kith_notifier_new(fs, &fs->notifier);
    }
    if (err == KITH_OK && !fs->options->no_control) {
        err = kith_control_new(fs, &fs->control);
    }
    if (err == KITH_OK && !fs->options->no_watch) {
        err = kith_watcher_new(fs, &fs->watcher);
    }
    if (err == KITH_OK) {
        int failed = find_root(fs, error);
        if (failed == 0) {
            failed = find_path(fs, fs->options->path, error);
        }
        if (failed != 0) {
            return error->code != KITH_OK
                       ? error->code
                       : kith_error_set(error, KITH_EIO, "the root directory cannot be read: %s",
                                        strerror(failed));
        }
        err = kith_timer_new(fs, &fs->timer);
    }
    if (err == KITH_OK && fs->options->check_s > 0.0 && !fs->options->read_only) {
        err = kith_checker_new(fs, &fs->checker);
    }
    if (err == KITH_OK && fs->options->on_conflict != NULL) {
        err = kith_hook_new(fs);
    }
    return err == KITH_OK ? err : kith_error_set(error, err, "%s", kith_err_text((int)err));
}

/* The requests of the mount itself, at its beginning and its end, end by their deadline. */
static void set_hard(struct kith_fs *fs, bool hard)
{
    if (fs->store != NULL) {
        kith_content_store_hard(fs->store, hard);
    }
    if (fs->client != NULL) {
        kith_client_hard(fs->client, hard);
    }
}

enum kith_err kith_fs_new(const struct kith_fs_options *options, struct kith_client *client,
                          struct kith_fs **ret_fs, struct kith_error *error)
{
    memset(error, 0, sizeof *error);
    struct kith_fs *fs = kith_calloc(1, sizeof *fs);
    if (fs == NULL) {
        return kith_error_set(error, KITH_ENOMEM, "out of memory");
    }
    fs->options = options;
    fs->client = client;
    get_writer(fs->writer);
    fs->volume = options->volume != NULL ? kith_volume_number(options->volume) : KITH_VOLUME_FS;
    fs->entry_ns = (uint64_t)(options->entry_timeout * (double)NSEC_PER_SEC);
    fs->random_state[0] = kith_mono_ns() | 1;
    fs->random_state[1] = (uint64_t)getpid() << 32 | 1;
    fs->inode_buckets = INODE_BUCKETS_FIRST;
    fs->inodes = kith_calloc(fs->inode_buckets, sizeof(struct kith_inode *));
    pthread_mutex_init(&fs->lock, NULL);
    pthread_cond_init(&fs->changed, NULL);
    enum kith_err err = KITH_OK;
    if (fs->inodes == NULL) {
        err = kith_error_set(error, KITH_ENOMEM, "out of memory");
    }
    if (err == KITH_OK && fs->client == NULL) {
        err = open_client(options, &fs->client, error);
    }
    if (err == KITH_OK) {
        err = start_parts(fs, error);
    }
    if (err == KITH_OK && kith_statfs_new(fs) != KITH_OK) {
        err = kith_error_set(error, KITH_ENOMEM, "out of memory");
    }
    if (err != KITH_OK) {
        (void)kith_fs_free(fs);
        return err;
    }
    set_hard(fs, options->hard);
    *ret_fs = fs;
    return KITH_OK;
}

/* What the kernel will never forget by itself now. */
static void drop_all(struct kith_fs *fs)
{
    pthread_mutex_lock(&fs->lock);
    for (uint32_t i = 0; i < fs->inode_buckets; i++) {
        for (struct kith_inode *inode = fs->inodes[i]; inode != NULL; inode = inode->hash_next) {
            if (inode->content != NULL) {
                struct kith_content *content = inode->content;
                inode->content = NULL;
                pthread_mutex_unlock(&fs->lock);
                kith_content_free(content); /* the only thread left */
                pthread_mutex_lock(&fs->lock);
            }
        }
    }
    pthread_mutex_unlock(&fs->lock);
}

unsigned kith_fs_free(struct kith_fs *fs)
{
    unsigned lost = 0;
    set_hard(fs, false); /* who waits for the cluster waits no more */
    kith_checker_stop(fs->checker);
    kith_hook_stop(fs->hook);
    if (fs->timer != NULL) {
        lost = kith_fs_flush_all(fs, kith_mono_ns() + END_TIMEOUT_NS);
    }
    kith_checker_free(fs->checker);
    kith_hook_free(fs);
    kith_timer_free(fs->timer);
    fs->timer = NULL;
    kith_control_end(fs->control); /* a reader who waits is a job */
    kith_executor_free(fs->executor);
    kith_dir_lost_end(fs, 0); /* what the executor's last jobs have left */
    kith_cycles_end(fs);
    kith_watcher_free(fs);
    kith_notifier_free(fs->notifier);
    drop_all(fs);
    if (fs->store != NULL) {
        kith_content_store_free(fs->store);
    }
    if (fs->client != NULL) {
        kith_client_close(fs->client);
    }
    kith_statfs_free(fs->statfs);
    kith_tables_free(fs);
    kith_control_free(fs->control);
    pthread_cond_destroy(&fs->changed);
    pthread_mutex_destroy(&fs->lock);
    kith_free(fs);
    return lost;
}

/* The list for libfuse's own parser. The source is named by its first server, the volume where it is not
 * the usual one, and the path (ctl/files/path.c reads that); a name that is too long is cut. */
static int mount_args(const struct kith_fs_options *options, struct fuse_args *args)
{
    char name[KITH_ERROR_MESSAGE_SIZE], *escaped = NULL;
    snprintf(name, sizeof name, "fsname=%s%s%s:%s",
             options->server_count > 0 ? options->servers[0] : "kithfs",
             options->volume != NULL ? ":" : "", options->volume != NULL ? options->volume : "",
             options->path);
    int failed = fuse_opt_add_arg(args, "kithfs") |
                 fuse_opt_add_arg(args, "-osubtype=kithfs,default_permissions") |
                 fuse_opt_add_opt_escaped(&escaped, name) | fuse_opt_add_arg(args, "-o") |
                 fuse_opt_add_arg(args, escaped);
    free(escaped);
    if (options->read_only) {
        failed |= fuse_opt_add_arg(args, "-oro");
    }
    if (options->allow_other) {
        failed |= fuse_opt_add_arg(args, "-oallow_other");
    }
    for (uint32_t i = 0; i < options->extra_count; i++) {
        failed |= fuse_opt_add_arg(args, "-o") | fuse_opt_add_arg(args, options->extra[i]);
    }
    if (options->debug && getenv("KITHFS_FUSE_DEBUG") != NULL) {
        failed |= fuse_opt_add_arg(args, "-d");
    }
    return failed;
}

static int serve_session(struct fuse_session *session)
{
    long processors = sysconf(_SC_NPROCESSORS_ONLN);
    unsigned threads = processors < THREADS_MIN   ? THREADS_MIN
                       : processors > THREADS_MAX ? THREADS_MAX
                                                  : (unsigned)processors;
    int failed = kith_loop(session, threads);
    if (failed != 0) {
        kith_log_error("mount", "the session ended: %s", strerror(failed));
        return EXIT_SYSTEM;
    }
    return 0;
}

/* The mount works all the same, only slower to show what others change. */
static void say_unguarded(const char *why)
{
    kith_log_warn("mount",
                  "no guard, so the kernel is told of no changes, and keeps names and attributes "
                  "for their timeouts: %s",
                  why);
}

static void arm_guard(struct kith_fs *fs, struct kith_guard *guard)
{
    struct kith_error error;
    int fd = fuse_session_fd(fs->session);
    if (guard != NULL && kith_guard_arm(guard, fd, fs->options->mountpoint, &error) == KITH_OK) {
        fs->guard = guard;
    } else if (guard != NULL) {
        say_unguarded(error.message);
    }
}

static bool is_over(int fuse_fd)
{
    struct pollfd file = {.fd = fuse_fd, .events = 0}; /* POLLERR always counts */
    return poll(&file, 1, 0) == 1 && (file.revents & POLLERR) != 0;
}

/* Ends the connection and leaves the path alone: it leads to another mount by now. libfuse would
 * unmount that one, but where poll shows POLLERR for its file, as it does when the kernel has
 * unmounted ours: a pipe that nobody can read shows the same. Where no pipe can be made, the file
 * is closed with the session. */
static void leave(struct fuse_session *session, const char *mountpoint)
{
    int ends[2], fd = fuse_session_fd(session);
    kith_log_warn("mount",
                  "%s does not lead to this mount any more, which ends without being unmounted: "
                  "something else is mounted over it, or the path is another; when that is away: "
                  "fusermount3 -uz %s",
                  mountpoint, mountpoint);
    if (pipe2(ends, O_CLOEXEC) != 0) {
        kith_log_error("mount", "pipe: %s", strerror(errno));
        return;
    }
    close(ends[0]);
    bool shut = dup3(ends[1], fd, O_CLOEXEC) == fd;
    close(ends[1]);
    if (shut) {
        fuse_session_unmount(session);
    }
}

/* Ours, and no other that lies over it. */
static void unmount(struct fuse_session *session, const char *mountpoint, const unsigned *number)
{
    if (number == NULL || is_over(fuse_session_fd(session)) ||
        kith_mountpoint_shows(mountpoint, *number)) {
        fuse_session_unmount(session);
    } else {
        leave(session, mountpoint);
    }
}

/* Mounts and serves until unmounted or told to end. */
static int serve_mount(struct kith_fs *fs, struct kith_guard *guard, struct kith_error *error)
{
    const char *at = fs->options->mountpoint;
    if (kith_mountpoint_clear(at, error) != KITH_OK ||
        kith_mountpoint_check(at, fs->options->over, error) != KITH_OK) { /* somebody was faster */
        return EXIT_MOUNT;
    }
    if (fuse_session_mount(fs->session, at) != 0) {
        bool others = fs->options->allow_other && geteuid() != 0;
        (void)kith_error_set(error, KITH_EIO, "it cannot be mounted on (%s)",
                             others ? "allow_other wants a line user_allow_other in /etc/fuse.conf, "
                                      "unless root mounts"
                                    : "is /dev/fuse there, and may you use it?");
        return EXIT_MOUNT;
    }
    unsigned number;
    bool known = kith_mountpoint_number(fuse_session_fd(fs->session), at, &number);
    fs->mount_number = known ? number : 0;
    kith_control_attach(fs->control, fs->session);
    arm_guard(fs, guard);
    int code = serve_session(fs->session);
    kith_control_end(fs->control);
    kith_hook_stop(fs->hook); /* what it does in the mount ends below, with who still waits */
    unmount(fs->session, at, known ? &number : NULL);
    /* who still waits is answered by nobody, and the notifier may wait for him. Not before: libfuse
     * takes an aborted connection for an unmounted one. */
    kith_guard_abort(guard);
    return code;
}

static int serve_fs(struct kith_fs *fs, struct kith_guard *guard)
{
    struct fuse_args args = FUSE_ARGS_INIT(0, NULL);
    struct kith_error error = {.code = KITH_OK};
    const struct fuse_lowlevel_ops *ops = fs->control != NULL ? &kith_control_ops : &kith_fs_ops;
    int code = EXIT_SYSTEM;
    if (mount_args(fs->options, &args) != 0) {
        (void)kith_error_set(&error, KITH_ENOMEM, "out of memory");
    } else if ((fs->session = fuse_session_new(&args, ops, sizeof *ops, fs)) == NULL) {
        (void)kith_error_set(&error, KITH_EINVAL, "libfuse refuses the options");
    } else if (kith_loop_signals(fs->session, &error) == KITH_OK) {
        code = serve_mount(fs, guard, &error);
    }
    if (error.code != KITH_OK) {
        char message[KITH_ERROR_MESSAGE_SIZE + 64];
        snprintf(message, sizeof message, "mount %s: %s", fs->options->mountpoint, error.message);
        fs->on_ready(fs->on_ready_arg, code, message);
    }
    struct fuse_session *session = fs->session;
    unsigned lost = kith_fs_free(fs);
    kith_loop_signals_end(); /* only now: the end of the machine must not interrupt the last puts */
    if (session != NULL) {
        fuse_session_destroy(session);
    }
    fuse_opt_free_args(&args);
    return lost > 0 ? EXIT_UNFLUSHED : code;
}

int kith_fs_serve(const struct kith_fs_options *options, struct kith_client *client,
                  void (*ready)(void *arg, int code, const char *message), void *arg)
{
    struct kith_fs *fs = NULL;
    struct kith_guard *guard = NULL;
    struct kith_error error;
    if (kith_guard_new(&guard, &error) != KITH_OK) { /* first: it forks */
        say_unguarded(error.message);
    }
    int code = EXIT_MOUNT;
    if (kith_fs_new(options, client, &fs, &error) == KITH_OK) {
        fs->on_ready = ready;
        fs->on_ready_arg = arg;
        code = serve_fs(fs, guard);
    } else {
        char message[KITH_ERROR_MESSAGE_SIZE + 64];
        snprintf(message, sizeof message, "mount %s: %s", options->mountpoint, error.message);
        ready(arg, code, message);
    }
    kith_guard_free(guard);
    return code;
}

/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * main.c - kithfs: mounts a cluster.
 *
 * The daemon is forked before anything makes a thread (gRPC cannot be used in a forked child of a
 * process that has used it); the parent waits on a pipe until the mount answers and ends with its
 * code. */
#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/crash.h"
#include "base/stdfd.h"
#include "fs/fs.h"
#include "fs/hook/hook_program.h"
#include "fs/mount/mount.h"
#include "fs/mount/mountpoint.h"
#include "tls/identity_find.h"
#include "tls/pem_file.h"

#define EXIT_USAGE  1
#define EXIT_SYSTEM 2
#define EXIT_MOUNT  32
#define KEEP_BELOW                                                                                 \
    (4 << 20) /* bytes: a 1 MiB request's buffer is reused, not mapped afresh each time */
#define ARENAS 2 /* heaps: each keeps holes of its own, and there are up to 80 threads */

static const char usage[] =
    "usage: kithfs HOST[:PORT][,HOST[:PORT]...][:/PATH] MOUNTPOINT [-o OPTION[,OPTION...]] [-f] "
    "[-d]\n"
    "Mounts a kithfs cluster. Any one of the hosts is enough; port 7070 unless given; IPv6 in "
    "brackets.\n"
    "  -f                    stay in front     -d  the same, with debug messages\n"
    "  -h, --help, -o help   this text         -V, --version\n"
    "  -o ro                 no writing (rw)\n"
    "  -o allow_other        other users may use it, too (who mounts alone). Where that is not root,\n"
    "                        /etc/fuse.conf has to have a line 'user_allow_other'\n"
    "  -o over               hide another filesystem that is mounted at MOUNTPOINT (an error)\n"
    "  -o remount,ro         of a mount that is there: no more writing; remount,rw: again. Other\n"
    "                        options cannot be changed while it is mounted\n"
    "  -o attr_timeout=S     attributes are kept S seconds (1)\n"
    "  -o entry_timeout=S    names are kept S seconds (1)\n"
    "  -o mount_timeout=S    give up mounting after S seconds (10)\n"
    "  -o nowatch            no watches: other mounts' changes are asked for, not told (told)\n"
    "  -o nocontrol          no virtual directory .kith (status, stats, conflicts, accesslog) at the\n"
    "                        mount's root (there is one)\n"
    "  -o noacl              no POSIX ACLs: they count for nothing here, and cannot be set (acl)\n"
    "  -o op_timeout=S       a request fails after S seconds (10)\n"
    "  -o soft               where no node answers by then, calls end with an error (the default)\n"
    "  -o hard               they wait until nodes answer, and go on by themselves; ^C and kill -9\n"
    "                        end who waits (soft). Of the two the last one counts\n"
    "  -o strict             write only with a quorum of a file's owners up, and read nothing\n"
    "                        older than the last such write; else EIO (sloppy)\n"
    "  -o sloppy             go on with the nodes that are left: they keep what the others\n"
    "                        miss, and bring it to them (the default)\n"
    "  -o w_min=N            sloppy, but no write with fewer than N copies (1)\n"
    "  -o zone=NAME          data centre that this computer is in: its nodes are asked first "
    "(that\n"
    "                        of the node that answers fastest)\n"
    "  -o volume=NAME        the tree of that name ('kithctl volume create'), apart from all others (fs)\n"
    "  -o cert=FILE          certificate of this mount ('kithctl cert client'); a cluster whose nodes\n"
    "                        have certificates answers nobody without. Files may be replaced. Where none\n"
    "                        is named: $KITH_CERT, $KITH_KEY, $KITH_CA, $KITH_CRL, else client.crt (or\n"
    "                        admin.crt), .key, ca.crt and crl.pem in ~/.config/kithfs or /etc/kithfs\n"
    "  -o key=FILE           its key, which only its owner may read (as of cert)\n"
    "  -o ca=FILE            certificate of the cluster's authority (as of cert)\n"
    "  -o crl=FILE           the authority's list of what is revoked (as of cert; else nothing is)\n"
    "  -o insecure           none at all, in plain text (a certificate, where there is one)\n"
    "  -o read=LEVEL         owners that must answer: one, quorum (of all), local-quorum (of "
    "those\n"
    "                        in this data centre), each-quorum (in every one), all (quorum)\n"
    "  -o write=LEVEL        the same of those that must have a write (quorum)\n";
static const char usage_more[] = /* C99 promises 4,095 bytes of a string */
    "  -o conflicts=show     concurrent versions of a file stand beside it, as\n"
    "                        NAME.conflict-TIME-WRITER-HASH; hide: they do not (show)\n"
    "  -o conflict_names=W   suffix, or infix: before the file's extension (suffix)\n"
    "  -o on_conflict=CMD    a program, by its path or its name in PATH, that is run when this mount\n"
    "                        finds a file with concurrent versions: CMD FILE VERSION...; KITH_PATH,\n"
    "                        KITH_VERSIONS and KITH_MOUNT say the same. Once for the same versions,\n"
    "                        one at a time, for a minute at most, as the user of the mount (none)\n"
    "  -o check=S            every S seconds one of the mounts looks for directories that no name\n"
    "                        leads to, and gives them one (86400; 0: this one never does)\n"
    "  -o cache_size=BYTES   of file contents (64M)\n"
    "  -o readahead=BYTES    so far ahead of who reads a file in order at most (8M)\n"
    "  -o pid_file=FILE      holds the mount's process id while it runs (none)\n"
    "  -o log=FILE           messages go there (in the background to the system's log, in front "
    "to\n"
    "                        standard error)\n"
    "  -o log_level=LEVEL    error, warn, info or debug (info)\n"
    "  -o dir_time=S         for tests: a directory's time of change is stored so long after it (2)\n"
    "  -o lease=S            for tests: between two requests to keep the chunks of open files (21600)\n"
    "  -o hook_quiet=S       for tests: so long before a program for conflicts is run (1)\n"
    "  -o hook_limit=S       for tests: so long it may run (60)\n"
    "Of the system's: nosuid and nodev (both unless suid or dev is given), noexec, noatime, sync,\n"
    "dirsync; and what only fstab means (_netdev, nofail, user, x-NAME): mount.kithfs(8) has them all.\n"
    "df MOUNTPOINT shows what is stored in the cluster, once and not as often as there are copies,\n"
    "and what can be written until the first disk is full for its share.\n"
    "Example: kithfs n1,n2:/projects ~/projects\n"
    "Unmount: fusermount3 -u MOUNTPOINT\n"
    "Exit status: 0 mounted, 1 usage (or, with -f, files that could not be stored at the end),\n"
    "2 system, 32 the mount failed.\n";

struct report {
    int fd; /* the pipe to the waiting parent, or -1 */
    bool sent;
    int pid_fd; /* of the pid file, or -1 */
    const char *pid_path;
    bool no_log; /* no file is named for messages */
};

/* Detaches the daemon from the terminal; what is said on standard error is the log's. Without a
 * file for it the messages go to the system's log: they tell of files that could not be stored.
 * Only once it is mounted: until then it belongs to the group of processes of who waits for it, so
 * that ^C ends both, and an automount knows whom it must let through to the mount point. */
static void let_go(bool no_log)
{
    struct kith_error error;
    if (setsid() < 0) {
        kith_log_warn("mount", "the daemon stays with its terminal: %s", strerror(errno));
    }
    int null = open("/dev/null", O_RDWR | O_CLOEXEC);
    if (null >= 0) {
        (void)dup2(null, 0);
        (void)dup2(null, 1);
        (void)dup2(null, 2);
        close(null);
    }
    enum kith_err err =
        no_log ? kith_log_to_system("kithfs", &error) : kith_log_take_stderr(&error);
    if (err == KITH_EIO) {
        kith_log_warn("mount", "%s", error.message);
    }
}

/* A mount of before that is about to end may have removed the file since it was opened. */
static bool write_pid(const struct report *report)
{
    struct stat ours, there;
    bool same = fstat(report->pid_fd, &ours) == 0 && stat(report->pid_path, &there) == 0 &&
                ours.st_ino == there.st_ino && ours.st_dev == there.st_dev;
    int fd = same ? report->pid_fd
                  : open(report->pid_path, O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
    bool ok = fd >= 0 && ftruncate(fd, 0) == 0 && dprintf(fd, "%d\n", (int)getpid()) > 0;
    if (!same && fd >= 0) {
        close(fd);
    }
    return ok;
}

/* Whether it names this process, or none: a mount that came meanwhile may have it. */
static bool pid_is_ours(const char *path)
{
    char text[32] = "";
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t size = fd >= 0 ? read(fd, text, sizeof text - 1) : -1;
    if (fd >= 0) {
        close(fd);
    }
    return size == 0 || (size > 0 && strtol(text, NULL, 10) == (long)getpid());
}

static void on_ready(void *arg, int code, const char *message)
{
    struct report *report = arg;
    if (report->sent) {
        return;
    }
    report->sent = true;
    if (code == 0 && report->pid_fd >= 0 && !write_pid(report)) {
        kith_log_error("mount", "the pid file cannot be written: %s", strerror(errno));
    }
    if (report->fd < 0) {
        if (code != 0) {
            fprintf(stderr, "kithfs: %s\n", message);
        }
        return;
    }
    if (code == 0) {
        let_go(report->no_log); /* before the parent does */
    }
    char line[KITH_ERROR_MESSAGE_SIZE + 80];
    line[0] = (char)code;
    int size = snprintf(line + 1, sizeof line - 1, "%s", message);
    size_t total = 1 + (size_t)(size > 0 ? size : 0);
    if (write(report->fd, line, total < sizeof line ? total : sizeof line - 1) < 0) {
        kith_log_warn("mount", "the starting process is gone: %s", strerror(errno));
    }
    close(report->fd);
    report->fd = -1;
}

/* The parent: the daemon's word, or its silent death. */
static int await(int fd)
{
    char line[KITH_ERROR_MESSAGE_SIZE + 80];
    size_t size = 0;
    ssize_t got;
    while ((got = read(fd, line + size, sizeof line - 1 - size)) != 0) {
        if (got < 0 && errno == EINTR) {
            continue;
        }
        if (got < 0) {
            break;
        }
        size += (size_t)got;
    }
    line[size] = '\0';
    if (size == 0) {
        fprintf(stderr, "kithfs: the daemon ended before the mount answered\n");
        return EXIT_SYSTEM;
    }
    if (line[0] != 0) {
        fprintf(stderr, "kithfs: %s\n", line + 1);
    }
    return line[0];
}

/* Serves until unmounted. The pid file goes with the mount, unless it names another one. */
static int serve(struct kith_fs_options *options, struct report *report)
{
    int code = kith_fs_serve(options, NULL, on_ready, report);
    if (report->pid_fd >= 0) {
        if (pid_is_ours(options->pid_path) && unlink(options->pid_path) != 0 && errno != ENOENT) {
            kith_log_warn("mount", "%s cannot be removed: %s", options->pid_path, strerror(errno));
        }
        close(report->pid_fd);
    }
    return code;
}

/* Opened before the daemon goes to "/", so that what is wrong with it is said at once. */
static int open_pid_file(struct kith_fs_options *options, int *ret_fd)
{
    *ret_fd = -1;
    if (options->pid_path == NULL) {
        return 0;
    }
    *ret_fd = open(options->pid_path, O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
    char *absolute = *ret_fd < 0 ? NULL : realpath(options->pid_path, NULL);
    if (absolute == NULL) {
        fprintf(stderr, "kithfs: pid file %s: %s\n", options->pid_path, strerror(errno));
        return EXIT_SYSTEM;
    }
    char *copy = kith_strdup(absolute); /* the options free it */
    free(absolute);
    if (copy == NULL) {
        fprintf(stderr, "kithfs: out of memory\n");
        return EXIT_SYSTEM;
    }
    kith_free(options->pid_path);
    options->pid_path = copy;
    return 0;
}

static int daemon_run(struct kith_fs_options *options, int pid_fd)
{
    int pipe_fds[2];
    if (pipe2(pipe_fds, O_CLOEXEC) != 0) {
        fprintf(stderr, "kithfs: pipe: %s\n", strerror(errno));
        return EXIT_SYSTEM;
    }
    pid_t child = fork();
    if (child < 0) {
        fprintf(stderr, "kithfs: fork: %s\n", strerror(errno));
        return EXIT_SYSTEM;
    }
    if (child > 0) {
        close(pipe_fds[1]);
        return await(pipe_fds[0]);
    }
    close(pipe_fds[0]);
    struct report report = {pipe_fds[1], false, pid_fd, options->pid_path,
                            options->log_path == NULL};
    if (chdir("/") != 0) {
        on_ready(&report, EXIT_SYSTEM, "the daemon cannot go to /");
        return EXIT_SYSTEM;
    }
    return serve(options, &report);
}

/* Found before the daemon goes to "/", so that what is wrong with it is said at once. */
static int find_hook(struct kith_fs_options *options)
{
    struct kith_error error;
    char *path;
    if (options->on_conflict == NULL) {
        return 0;
    }
    if (kith_hook_program(options->on_conflict, options->mountpoint, &path, &error) != KITH_OK) {
        fprintf(stderr, "kithfs: %s\n", error.message);
        return EXIT_USAGE;
    }
    kith_free(options->on_conflict);
    options->on_conflict = path;
    return 0;
}

static enum kith_err take_path(const char *path, char **place, struct kith_error *error)
{
    if (path == NULL) {
        return KITH_OK;
    }
    char *whole = realpath(path, NULL); /* it is read again later, from the root folder */
    if (whole == NULL) {
        return kith_error_set(error, KITH_EIO, "%s: %s", path, strerror(errno));
    }
    *place = kith_strdup(whole);
    free(whole);
    return *place == NULL ? kith_error_set(error, KITH_ENOMEM, "out of memory") : KITH_OK;
}

/* The certificate, where no option names one. A mount that the system makes takes the system's. */
static enum kith_err find_identity(struct kith_fs_options *options, struct kith_error *error)
{
    struct kith_identity_found found;
    bool given = options->cert != NULL || options->key != NULL || options->ca != NULL ||
                 options->crl != NULL;
    if (given && options->insecure) {
        return kith_error_set(error, KITH_EINVAL,
                              "options insecure and cert= contradict each other");
    }
    if (given || options->insecure) {
        return KITH_OK;
    }
    bool user = !options->helper || geteuid() != 0;
    enum kith_err err = kith_identity_find(KITH_CERT_CLIENT, user, &found, error);
    if (err != KITH_OK || !found.any) {
        return err;
    }
    err = take_path(found.files.cert, &options->cert, error);
    err = err == KITH_OK ? take_path(found.files.key, &options->key, error) : err;
    err = err == KITH_OK ? take_path(found.files.ca, &options->ca, error) : err;
    return err == KITH_OK ? take_path(found.files.crl, &options->crl, error) : err;
}

/* With a certificate for reading only nothing can be written: programs are to be told at once, not when
 * what they wrote cannot be stored. What is wrong with the file is told by who reads it next. */
static void heed_read_only(struct kith_fs_options *options)
{
    struct kith_buf pem;
    struct kith_cert cert;
    struct kith_error error;
    if (options->cert == NULL || options->read_only) {
        return;
    }
    kith_buf_init(&pem);
    if (kith_pem_read(options->cert, KITH_PEM_PUBLIC, KITH_CERT_PEM_MAX, &pem, &error) == KITH_OK &&
        kith_cert_read(kith_buf_bytes(&pem), &cert, &error) == KITH_OK && cert.grant.read_only) {
        kith_log_warn("mount", "%s is for reading only, and so is this mount (as with -o ro)",
                      options->cert);
        options->read_only = true;
    }
    kith_buf_release(&pem);
}

/* Of a mount that is there, ro and rw can be changed, which the kernel does. Others may only be what
 * they were: mount(8) passes on what stands in fstab. */
static int remount(const struct kith_fs_options *options)
{
    struct kith_error error;
    const char *at = options->mountpoint;
    if (kith_mountpoint_remount(at, options->read_only, &error) != KITH_OK) {
        fprintf(stderr, "kithfs: remount %s: %s\n", at, error.message);
        return EXIT_MOUNT;
    }
    if (options->own_count > 0) {
        fprintf(stderr,
                "kithfs: remount %s: only ro and rw can be changed while it is mounted, the other "
                "options are as they were; to change them: umount %s, and mount it again\n",
                at, at);
    }
    return 0;
}

static int run(struct kith_fs_options *options)
{
    struct kith_error error;
    kith_log_set_level(options->log_level);
    if (options->log_path != NULL && kith_log_open(options->log_path, &error) != KITH_OK) {
        fprintf(stderr, "kithfs: %s\n", error.message);
        return EXIT_SYSTEM;
    }
    if (options->remount) {
        return remount(options);
    }
    enum kith_err err = kith_mountpoint_check(options->mountpoint, options->over, &error);
    if (err != KITH_OK) {
        fprintf(stderr, "kithfs: mount %s: %s\n", options->mountpoint, error.message);
        return err == KITH_EBUSY ? EXIT_MOUNT : EXIT_SYSTEM;
    }
    if (find_identity(options, &error) != KITH_OK) {
        fprintf(stderr, "kithfs: %s\n", error.message);
        return EXIT_SYSTEM;
    }
    heed_read_only(options);
    char *absolute = kith_mountpoint_absolute(options->mountpoint);
    if (absolute == NULL) {
        fprintf(stderr, "kithfs: mount %s: %s\n", options->mountpoint, strerror(errno));
        return EXIT_SYSTEM;
    }
    options->mountpoint = absolute;
    kith_crash_init("kithfs");
    mallopt(M_MMAP_THRESHOLD, KEEP_BELOW);
    mallopt(M_TRIM_THRESHOLD, 2 * KEEP_BELOW);
    mallopt(M_ARENA_MAX, ARENAS);
    int pid_fd = -1;
    int code = find_hook(options);
    code = code != 0 ? code : open_pid_file(options, &pid_fd);
    if (code == 0 && options->foreground) {
        struct report report = {-1, false, pid_fd, options->pid_path, false};
        code = serve(options, &report);
    } else if (code == 0) {
        code = daemon_run(options, pid_fd);
    }
    free(absolute);
    return code;
}

int main(int argc, char *argv[])
{
    struct kith_fs_options options;
    struct kith_error error;
    if (kith_stdfd_init(&error) != KITH_OK) {
        fprintf(stderr, "kithfs: %s\n", error.message);
        return EXIT_SYSTEM;
    }
    if (kith_fs_options_parse(argc, argv, &options, &error) != KITH_OK) {
        fprintf(stderr, "kithfs: %s\nTry: kithfs --help\n", error.message);
        return EXIT_USAGE;
    }
    int code = 0;
    if (options.help) {
        fputs(usage, stdout);
        fputs(usage_more, stdout);
    } else if (options.version) {
        printf("kithfs %s\n", KITH_VERSION);
    } else if (!options.fake) {
        code = run(&options);
    }
    kith_fs_options_release(&options);
    return code;
}

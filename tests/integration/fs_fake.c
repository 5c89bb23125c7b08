/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * fs_fake.c - kithfs over a cluster in memory: fs_fake MOUNTPOINT [DELAY_US] [-o OPTIONS]
 *
 * For tests of what the mount does with files, without a cluster. Stays in front; prints "ready"
 * when the mount answers and, when it ends, how many requests of each kind the mount sent. After
 * SIGUSR1 one more put succeeds, the next two are refused. After SIGUSR2 (which prints "lost") the
 * next put is carried out and ends as unknown. After SIGHUP (which prints "held") the next put
 * waits until somebody else has put a file "theirs" in the same directory, whose put the mount has
 * not seen.
 *
 * A line "HOW AFTER COUNT" on standard input (answered "fault") is for the COUNT puts that come
 * after AFTER others: "lose", they are carried out and end as unknown; "drop", they end as unknown
 * and are not carried out; "refuse". The line "rows" is answered "rows FILES LINKS MARKS": rows of
 * files, of names that refer to a file's row, and directories that are marked as removed. After
 * "stop" (answered "stopped") no request is answered until "go" (answered "going"). After "again"
 * (answered "again") the end of the mount is the beginning of another one of the same cluster,
 * which knows nothing of what the one before had in memory. */
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fs/fs.h"
#include "fs/mount/mount.h"
#include "lib/fake_client.h"

static void on_ready(void *arg, int code, const char *message)
{
    (void)arg;
    printf("%s%s\n", code == 0 ? "ready" : "failed: ", message);
    fflush(stdout);
}

static void print_counts(struct kith_fake_cluster *cluster)
{
    static const char *const names[] = {"",          "get",       "scan",       "groups", "put",
                                        "chunk_put", "chunk_get", "chunk_sync", "status", "where"};
    struct kith_fake_counts counts;
    kith_fake_counts(cluster, &counts);
    for (unsigned i = 1; i < KITH_CLIENT_KINDS; i++) {
        printf("%s %llu\n", names[i], (unsigned long long)counts.ops[i]);
    }
    printf("put_updates %llu\nmost_under_way %u\nconflicts %llu\n",
           (unsigned long long)counts.put_updates, counts.under_way_max,
           (unsigned long long)counts.conflicts);
}

static struct kith_client *_Atomic the_client; /* the mount's; set before the threads are made */
static atomic_bool over;                       /* the thread ends */
static atomic_bool again;                      /* another mount follows this one */

/* The next put comes just after another mount's create in the same directory. */
static void be_late(struct kith_fake_cluster *cluster)
{
    const struct timespec tick = {0, 1000000};
    struct kith_inode_record record;
    struct kith_buf buf;
    memset(&record, 0, sizeof record);
    record.type = KITH_TYPE_FILE;
    record.file_id = 77;
    kith_buf_init(&buf);
    kith_inode_record_encode(&record, &buf);
    kith_fake_hold(cluster, KITH_CLIENT_PUT, true);
    printf("held\n");
    fflush(stdout);
    struct kith_bytes name = kith_bytes_make("theirs", 6);
    while (!buf.failed && !over &&
           !kith_fake_intrude(cluster, the_client, name, kith_buf_bytes(&buf))) {
        nanosleep(&tick, NULL);
    }
    kith_buf_release(&buf);
    kith_fake_hold(cluster, KITH_CLIENT_PUT, false);
}

static void *await_faults(void *arg)
{
    sigset_t set;
    int number;
    sigemptyset(&set);
    sigaddset(&set, SIGUSR1);
    sigaddset(&set, SIGUSR2);
    sigaddset(&set, SIGHUP);
    while (sigwait(&set, &number) == 0 && !over) {
        if (number == SIGHUP) {
            be_late(arg);
            continue;
        }
        if (number == SIGUSR2) {
            kith_fake_fail_next(arg, KITH_CLIENT_PUT, 1, KITH_EUNKNOWN, true);
            printf("lost\n");
            fflush(stdout);
            continue;
        }
        kith_fake_fail_later(arg, KITH_CLIENT_PUT, 1, 2, KITH_EUNREACH, false);
    }
    return NULL;
}

struct row_counts {
    struct kith_arena arena;
    unsigned files, links, marks;
};

static void count_row(void *arg, struct kith_bytes name, const struct kith_row *row)
{
    struct row_counts *counts = arg;
    struct kith_inode_record record;
    struct kith_rowname_parts parts;
    bool own = name.size == 0;
    if (!own && (kith_rowname_parse(name, &parts) != KITH_OK ||
                 (parts.kind != KITH_ROWNAME_ENTRY && parts.kind != KITH_ROWNAME_SHARED))) {
        return;
    }
    for (uint32_t i = 0; i < row->sibling_count; i++) {
        if (kith_inode_record_decode(&counts->arena, row->siblings[i].value, &record) != KITH_OK) {
            continue; /* where a renamed file went */
        }
        counts->links += record.type == KITH_TYPE_LINK;
        counts->files += record.type != KITH_TYPE_LINK && record.type != KITH_TYPE_DIR;
        counts->marks += own && record.removed;
    }
}

static void print_rows(struct kith_fake_cluster *cluster)
{
    struct row_counts counts = {.files = 0};
    kith_arena_init(&counts.arena, 0);
    kith_fake_each_row(cluster, count_row, &counts);
    kith_arena_release(&counts.arena);
    printf("rows %u %u %u\n", counts.files, counts.links, counts.marks);
    fflush(stdout);
}

/* A line of one word; false: it is another. */
static bool take_word(struct kith_fake_cluster *cluster, const char *line)
{
    if (strcmp(line, "rows\n") == 0) {
        print_rows(cluster);
    } else if (strcmp(line, "stop\n") == 0) {
        kith_fake_hold(cluster, 0, true);
        puts("stopped");
    } else if (strcmp(line, "go\n") == 0) {
        kith_fake_hold(cluster, 0, false);
        puts("going");
    } else if (strcmp(line, "again\n") == 0) {
        again = true;
        puts("again");
    } else {
        return false;
    }
    fflush(stdout);
    return true;
}

/* Runs until the end of the program; touches nothing after the end of its input. */
static void *await_lines(void *arg)
{
    char line[64], how[8];
    unsigned after, count;
    while (fgets(line, sizeof line, stdin) != NULL) {
        if (take_word(arg, line)) {
            continue;
        }
        if (sscanf(line, "%7s %u %u", how, &after, &count) != 3) {
            continue;
        }
        bool lose = strcmp(how, "lose") == 0, drop = strcmp(how, "drop") == 0;
        kith_fake_fail_later(arg, KITH_CLIENT_PUT, after, count,
                             lose || drop ? KITH_EUNKNOWN : KITH_EUNREACH, lose);
        printf("fault\n");
        fflush(stdout);
    }
    return NULL;
}

/* One mount after the other while another one is asked for; the last one's exit status. */
static int serve(const struct kith_fs_options *options, struct kith_fake_cluster *cluster)
{
    int code = 0;
    do {
        again = false;
        if (the_client == NULL) {
            the_client = kith_fake_client_new(cluster, "test@fake");
        }
        if (the_client == NULL) {
            fprintf(stderr, "fs_fake: out of memory\n");
            return 2;
        }
        code = kith_fs_serve(options, the_client, on_ready, NULL);
        the_client = NULL; /* went with the mount */
    } while (code == 0 && again);
    return code;
}

int main(int argc, char *argv[])
{
    sigset_t set; /* before any thread is made */
    sigemptyset(&set);
    sigaddset(&set, SIGUSR1);
    sigaddset(&set, SIGUSR2);
    sigaddset(&set, SIGHUP);
    pthread_sigmask(SIG_BLOCK, &set, NULL);
    if (argc < 2) {
        fprintf(stderr, "usage: fs_fake MOUNTPOINT [DELAY_US] [-o OPTIONS]\n");
        return 1;
    }
    char program[] = "kithfs", source[] = "fake:1";
    char *words[5] = {program, source, argv[1], argc > 4 ? argv[3] : NULL,
                      argc > 4 ? argv[4] : NULL};
    struct kith_fs_options options;
    struct kith_error error;
    if (kith_fs_options_parse(argc > 4 ? 5 : 3, words, &options, &error) != KITH_OK) {
        fprintf(stderr, "fs_fake: %s\n", error.message);
        return 1;
    }
    /* puts are counted, and fail by their number: these would be in between */
    options.dir_time_ms = 0;
    options.check_s = 0.0;
    struct kith_fake_cluster *cluster = kith_fake_cluster_new();
    struct kith_client *client =
        cluster != NULL ? kith_fake_client_new(cluster, "test@fake") : NULL;
    if (client == NULL) {
        fprintf(stderr, "fs_fake: out of memory\n");
        return 2;
    }
    kith_fake_set_watches(cluster, true);
    kith_fake_set_delay(cluster, argc > 2 ? (uint32_t)strtoul(argv[2], NULL, 10) : 0);
    kith_log_set_level(options.log_level);
    the_client = client;
    pthread_t faults, lines;
    if (pthread_create(&faults, NULL, await_faults, cluster) != 0 ||
        pthread_create(&lines, NULL, await_lines, cluster) != 0) {
        fprintf(stderr, "fs_fake: no thread can be made\n");
        return 2;
    }
    int code = serve(&options, cluster);
    print_counts(cluster);
    over = true;
    pthread_kill(faults, SIGHUP);
    pthread_join(faults, NULL);
    kith_fake_cluster_free(cluster);
    kith_fs_options_release(&options);
    return code;
}

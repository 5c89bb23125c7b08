/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * check.c - now and then all directories are looked at, by one of the mounts.
 *
 * Who does it notes so, with the time, in a row that all mounts read (CLAIM below), and reads it again a
 * moment later: of several that have noted it at once the latest goes on. Where two do it all the
 * same, or one ends in the middle, nothing is lost but work. */
#include <errno.h>
#include <string.h>
#include <time.h>

#include "base/log.h"
#include "format/attrs.h"
#include "format/rowname.h"
#include "fs/fs.h"
#include "fs/orphans/orphans.h"
#include "fs/orphans/place.h"
#include "fs/rows/rows.h"
#include "fs/tables/tables.h"

#define MSEC_PER_SEC   1000u
#define NSEC_PER_MSEC  UINT64_C(1000000)
#define FIRST_MS       60000u  /* after the mount's start */
#define AGAIN_MS       600000u /* after one that could not be done */
#define YOUNG_MS       600000u /* what is said of a directory may be half done for so long */
#define SETTLE_MS      2000u
#define EACH_MS        5u      /* a directory: two reads, as a rule */
#define FAILED_MAX     8u      /* in a row; then the nodes are not there */
#define CLAIM          "check" /* an attribute row of a group that is no directory's */

struct kith_checker {
    struct kith_fs *fs;
    pthread_t thread;
    pthread_mutex_t lock; /* protects `ending` */
    pthread_cond_t wake;
    bool ending;
    uint64_t interval_ms;
};

/* ---- Who does it ---- */

static uint64_t wall_ms(void)
{
    struct kith_time now = kith_wall_time();
    return (uint64_t)now.sec * MSEC_PER_SEC + now.nsec / NSEC_PER_MSEC;
}

static int claim_row(struct kith_fs *fs, struct kith_group *ret_group, struct kith_rowname *ret_name)
{
    uint8_t own[KITH_DIR_ID_SIZE];
    memset(own, 0xff, sizeof own);
    *ret_group = kith_group_make(fs->volume, own);
    return kith_errno(kith_rowname_xattr(kith_bytes_make(NULL, 0),
                                         kith_bytes_make(CLAIM, sizeof CLAIM - 1), ret_name));
}

/* Who has begun last (his mark, 0: nobody), when; what replaces that. */
static int claim_read(struct kith_fs *fs, struct kith_arena *arena, uint64_t *ret_who,
                      uint64_t *ret_ms, struct kith_bytes *ret_context)
{
    struct kith_client_answer answer;
    struct kith_xattr_record record;
    struct kith_rowname name;
    struct kith_group group;
    *ret_who = *ret_ms = 0;
    int error = claim_row(fs, &group, &name);
    if (error != 0) {
        return error;
    }
    struct kith_bytes bytes = kith_rowname_bytes(&name);
    error = kith_rows_get_strict(fs, &group, &bytes, 1, &answer);
    if (error == 0) {
        const struct kith_row *row = &answer.result.u.rows.rows[0].row;
        const struct kith_sibling *winner = kith_row_winner(row);
        if (winner != NULL && kith_xattr_record_decode(winner->value, &record) == KITH_OK) {
            *ret_who = record.file_id;
            *ret_ms = (uint64_t)record.stamp.sec * MSEC_PER_SEC + record.stamp.nsec / NSEC_PER_MSEC;
        }
        const struct kith_row bare = {row->clock, 0, NULL};
        error = kith_errno(kith_row_context(arena, &bare, NULL, ret_context));
    }
    kith_client_answer_release(&answer);
    return error;
}

/* when: in ms of the wall clock; 0: whoever comes may do it. */
static int claim_put(struct kith_fs *fs, uint64_t who, uint64_t when, struct kith_bytes context)
{
    struct kith_client_answer answer;
    struct kith_xattr_record record = {
        .file_id = who,
        .stamp = {(int64_t)(when / MSEC_PER_SEC), (uint32_t)(when % MSEC_PER_SEC * NSEC_PER_MSEC)},
        .value = kith_bytes_make(fs->writer, strlen(fs->writer))};
    struct kith_rowname name;
    struct kith_group group;
    struct kith_buf buf;
    kith_buf_init(&buf);
    kith_xattr_record_encode(&record, &buf);
    int error = claim_row(fs, &group, &name);
    if (error == 0) {
        error = buf.failed ? ENOMEM : 0;
    }
    if (error == 0) {
        struct kith_put_update update = {.name = kith_rowname_bytes(&name),
                                         .has_sibling = true,
                                         .kind = KITH_SIBLING_VALUE,
                                         .context = context,
                                         .value = kith_buf_bytes(&buf)};
        error = kith_rows_put(fs, &group, KITH_DURABLE_OS, &update, 1, &answer);
        kith_client_answer_release(&answer);
    }
    kith_buf_release(&buf);
    return error;
}

/* What was begun was not brought to its end: another may. */
static void claim_give_up(struct kith_fs *fs)
{
    struct kith_bytes context;
    struct kith_arena arena;
    uint64_t who = 0, began = 0;
    kith_arena_init(&arena, 0);
    int error = claim_read(fs, &arena, &who, &began, &context);
    error = error == 0 ? claim_put(fs, who, 0, context) : error;
    if (error != 0) {
        kith_log_debug("orphans", "the check is not given up: %s", strerror(error));
    }
    kith_arena_release(&arena);
}

int kith_check_claim(struct kith_fs *fs, uint64_t interval_ms, bool (*settle)(void *arg),
                     void *arg, bool *ret_mine, uint64_t *ret_next_ms)
{
    struct kith_bytes context;
    struct kith_arena arena;
    uint64_t who = 0, began = 0, now = wall_ms(), me = kith_fs_random(fs);
    kith_arena_init(&arena, 0);
    *ret_mine = false;
    *ret_next_ms = interval_ms;
    int error = claim_read(fs, &arena, &who, &began, &context);
    if (error == 0 && began <= now && now - began < interval_ms) {
        *ret_next_ms = began + interval_ms - now;
    } else if (error == 0) { /* one of the future is somebody's clock, and counts for nothing */
        error = claim_put(fs, me, now, context);
        if (error == 0 && !settle(arg)) {
            claim_give_up(fs);
            error = ECANCELED;
        }
        error = error == 0 ? claim_read(fs, &arena, &who, &began, &context) : error;
        *ret_mine = error == 0 && who == me;
    }
    kith_arena_release(&arena);
    return error;
}

/* ---- All directories ---- */

static int check_partition(struct kith_fs *fs, uint32_t partition, uint64_t before_ms,
                           struct kith_known *known, bool (*wait)(void *arg), void *arg,
                           struct kith_orphans *orphans, uint32_t *ret_partitions)
{
    struct kith_group last;
    const struct kith_group *after = NULL;
    uint32_t failed = 0;
    bool more = true;
    int error = 0;
    while (more && error == 0) {
        struct kith_client_answer answer;
        error = kith_rows_groups(fs, partition, after, &answer);
        for (uint32_t i = 0; error == 0 && i < answer.result.u.groups.count; i++) {
            last = answer.result.u.groups.groups[i];
            after = &last;
            int looked = kith_orphan_look(fs, &last, before_ms, known, orphans);
            failed = looked == 0 ? 0 : failed + 1;
            error = failed == FAILED_MAX ? looked : wait(arg) ? 0 : ECANCELED;
        }
        if (error == 0) {
            more = answer.result.u.groups.more;
            *ret_partitions = answer.result.u.groups.partitions;
        }
        kith_client_answer_release(&answer);
    }
    return error;
}

int kith_check_all(struct kith_fs *fs, uint64_t before_ms, bool (*wait)(void *arg), void *arg,
                   struct kith_orphans *orphans)
{
    struct kith_known *known = kith_known_new();
    uint32_t partitions = 1;
    int error = known != NULL ? 0 : ENOMEM;
    for (uint32_t i = 0; i < partitions && error == 0; i++) {
        error = check_partition(fs, i, before_ms, known, wait, arg, orphans, &partitions);
    }
    kith_known_free(known);
    return error;
}

/* ---- The thread ---- */

/* False: the mount ends. */
static bool pause_ms(struct kith_checker *checker, uint64_t ms)
{
    uint64_t until = kith_mono_ns() + ms * NSEC_PER_MSEC;
    struct timespec spec = {(time_t)(until / NSEC_PER_SEC), (long)(until % NSEC_PER_SEC)};
    pthread_mutex_lock(&checker->lock);
    int waited = 0;
    while (!checker->ending && waited != ETIMEDOUT) {
        waited = pthread_cond_timedwait(&checker->wake, &checker->lock, &spec);
    }
    bool on = !checker->ending;
    pthread_mutex_unlock(&checker->lock);
    return on;
}

static bool pause_each(void *arg)
{
    return pause_ms(arg, EACH_MS);
}

static uint64_t lesser(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

static bool pause_settle(void *arg)
{
    struct kith_checker *checker = arg;
    return pause_ms(checker, lesser(SETTLE_MS, checker->interval_ms / 4));
}

static int check(struct kith_checker *checker)
{
    struct kith_orphans orphans = {0};
    uint64_t now = wall_ms(), young = lesser(YOUNG_MS, checker->interval_ms / 2);
    int error = kith_check_all(checker->fs, now - young, pause_each, checker, &orphans);
    if (orphans.back + orphans.found > 0) {
        kith_log_warn("orphans", "%llu of %llu directories had no name: %llu have theirs again, %llu "
                      "are in /lost+found", (unsigned long long)(orphans.back + orphans.found),
                      (unsigned long long)orphans.looked, (unsigned long long)orphans.back,
                      (unsigned long long)orphans.found);
    }
    if (error != 0 || orphans.failed > 0) {
        kith_log_info("orphans", "%llu directories were looked at, %llu could not be read%s%s",
                      (unsigned long long)orphans.looked, (unsigned long long)orphans.failed,
                      error != 0 ? ", and then: " : "", error != 0 ? strerror(error) : "");
    } else {
        kith_log_info("orphans", "names lead to all of %llu directories",
                      (unsigned long long)orphans.looked);
    }
    return error;
}

static void *checker_main(void *arg)
{
    struct kith_checker *checker = arg;
    uint64_t next = lesser(FIRST_MS, checker->interval_ms / 4);
    /* not all at once where many are mounted at the same time */
    next += kith_fs_random(checker->fs) % (next + 1);
    while (pause_ms(checker, next)) {
        bool mine = false;
        int error = kith_check_claim(checker->fs, checker->interval_ms, pause_settle, checker,
                                     &mine, &next);
        if (error == 0 && mine) {
            error = check(checker);
            if (error != 0) {
                claim_give_up(checker->fs);
            }
        } else if (error != 0) {
            kith_log_debug("orphans", "no check: %s", strerror(error));
        }
        next = error != 0 ? lesser(AGAIN_MS, checker->interval_ms) : next;
    }
    return NULL;
}

enum kith_err kith_checker_new(struct kith_fs *fs, struct kith_checker **ret_checker)
{
    struct kith_checker *checker = kith_calloc(1, sizeof *checker);
    pthread_condattr_t attr;
    *ret_checker = NULL;
    if (checker == NULL) {
        return KITH_ENOMEM;
    }
    checker->fs = fs;
    checker->interval_ms = (uint64_t)(fs->options->check_s * MSEC_PER_SEC) + 1u;
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_mutex_init(&checker->lock, NULL);
    pthread_cond_init(&checker->wake, &attr);
    pthread_condattr_destroy(&attr);
    if (pthread_create(&checker->thread, NULL, checker_main, checker) != 0) {
        pthread_cond_destroy(&checker->wake);
        pthread_mutex_destroy(&checker->lock);
        kith_free(checker);
        return KITH_ELIMIT;
    }
    *ret_checker = checker;
    return KITH_OK;
}

void kith_checker_stop(struct kith_checker *checker)
{
    if (checker != NULL) {
        pthread_mutex_lock(&checker->lock);
        checker->ending = true;
        pthread_cond_signal(&checker->wake);
        pthread_mutex_unlock(&checker->lock);
    }
}

void kith_checker_free(struct kith_checker *checker)
{
    if (checker != NULL) {
        kith_checker_stop(checker);
        pthread_join(checker->thread, NULL);
        pthread_cond_destroy(&checker->wake);
        pthread_mutex_destroy(&checker->lock);
        kith_free(checker);
    }
}

/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * left.c - what a removal of a shared inode, or a move of its contents, had not seen.
 *
 * The row of the inode is gone, or elsewhere, and still a version of it is there, or comes, that no
 * name refers to. Where it holds other contents than those that went it gets a name again, as a
 * file of its own. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "format/versions.h"
#include "fs/fs.h"
#include "fs/links/links.h"
#include "fs/mount/mount.h"
#include "fs/requests/requests.h"
#include "fs/rows/rows.h"
#include "fs/tables/tables.h"

#define RETRY_NS        NSEC_PER_SEC
#define END_PAUSE_NS    200000000 /* between tries while the mount ends */
#define BESIDE_FORMAT   ".conflict-%08x"
#define BESIDE_NAME_MAX (KITH_FS_NAME_MAX - 18u) /* of the name, what leaves room for that */

/* What comes back, and where: under the name that it had, or where that is another file's one
 * beside it. Id and name follow from the version,
 * so that two mounts that do it at once do the same. */
struct comeback {
    uint64_t id;
    char name[KITH_FS_NAME_MAX + 1];
    struct kith_bytes context; /* of the name's row */
    bool done;                 /* another mount has done it */
};

static int look_at_name(struct kith_fs *fs, struct kith_arena *arena,
                        const struct kith_group *group, struct comeback *back, bool *ret_taken)
{
    struct kith_bytes name = kith_bytes_make(back->name, strlen(back->name));
    struct kith_client_answer answer;
    struct kith_inode_record record;
    int error = kith_rows_get_strict(fs, group, &name, 1, &answer);
    if (error == 0) {
        const struct kith_row *row = &answer.result.u.rows.rows[0].row;
        const struct kith_sibling *winner = kith_versions_winner(row);
        *ret_taken = winner != NULL;
        back->done = winner != NULL &&
                     kith_inode_record_decode(arena, winner->value, &record) == KITH_OK &&
                     record.file_id == back->id;
        error = kith_errno(kith_row_context(arena, row, NULL, &back->context));
    }
    kith_client_answer_release(&answer);
    return error;
}

static int find_name(struct kith_fs *fs, struct kith_linkset *set, const struct kith_link_name *old,
                     struct comeback *back)
{
    bool taken = false;
    memset(back, 0, sizeof *back);
    back->id = kith_seen_other_id(set->id, &set->seen.dot);
    memcpy(back->name, old->name.data, old->name.size);
    int error = look_at_name(fs, &set->arena, &old->group, back, &taken);
    if (error == 0 && taken && !back->done) {
        int room = (int)(old->name.size < BESIDE_NAME_MAX ? old->name.size : BESIDE_NAME_MAX);
        (void)snprintf(back->name, sizeof back->name, "%.*s" BESIDE_FORMAT, room,
                       (const char *)old->name.data, (unsigned)(back->id >> 32));
        error = look_at_name(fs, &set->arena, &old->group, back, &taken);
    }
    return error; /* a name that bears this number and is taken becomes a conflict */
}

int kith_linkset_restore(struct kith_fs *fs, struct kith_linkset *set,
                         const struct kith_link_name *name)
{
    struct kith_batch *from = kith_batch_new(), *into = kith_batch_new();
    struct kith_inode_record record = set->seen.record;
    struct kith_rowname row;
    struct comeback back;
    struct kith_bytes value;
    struct kith_client_answer answer;
    bool here = kith_group_compare(&name->group, &set->group) == 0;
    int error = from == NULL || into == NULL ? ENOMEM : find_name(fs, set, name, &back);
    record.names = NULL;
    record.name_count = 0;
    kith_link_rowname(set->own, set->id, &row);
    if (error == 0 && !back.done) {
        record.file_id = back.id;
        error = kith_batch_record(into, &record, &value);
        if (error == 0 &&
            kith_batch_add(into, kith_bytes_make(back.name, strlen(back.name)), back.context,
                           &value, KITH_SIBLING_VALUE, set->seen.winner->refs,
                           set->seen.winner->ref_count) < 0) {
            error = ENOMEM;
        }
    }
    if (error == 0 && kith_batch_add(here ? into : from, kith_rowname_bytes(&row),
                                     set->seen.inode_ctx, NULL, 0, NULL, 0) < 0) {
        error = ENOMEM;
    }
    if (error == 0 && into->count > 0) {
        error = kith_batch_put(fs, into, &name->group, &answer);
        kith_client_answer_release(&answer);
    }
    if (error == 0 && from->count > 0) {
        error = kith_batch_put(fs, from, &set->group, &answer);
        kith_client_answer_release(&answer);
    }
    if (error == 0 && !back.done) {
        kith_log_info("link", "%s: written to while the file was removed or got another place "
                      "elsewhere, and a file of its own now", back.name);
    }
    kith_batch_free(from);
    kith_batch_free(into);
    return error;
}

struct kith_left {
    struct kith_left *next;
    uint64_t due; /* not before */
    struct kith_link_at of;
    struct kith_link_name name; /* for what comes back */
    char text[KITH_FS_NAME_MAX];
    struct kith_octets contents;
};

static void left_free(struct kith_left *left)
{
    if (left != NULL) {
        kith_octets_clear(&left->contents);
        kith_free(left);
    }
}

/* It tells of other names alone. */
static int remove_version(struct kith_fs *fs, const struct kith_linkset *set)
{
    struct kith_client_answer answer;
    struct kith_rowname row;
    kith_link_rowname(set->own, set->id, &row);
    struct kith_put_update update = {.name = kith_rowname_bytes(&row),
                                     .context = set->seen.inode_ctx};
    int error = kith_rows_put(fs, &set->group, KITH_DURABLE_OS, &update, 1, &answer);
    kith_client_answer_release(&answer);
    return error;
}

/* Those with other contents come back, until none is left. */
static int left_bring(struct kith_fs *fs, const struct kith_left *left)
{
    struct kith_linkset set;
    int error = 0;
    for (bool more = true; more && error == 0;) {
        error = kith_linkset_read(fs, &left->of.group, left->of.own, left->of.id, &set);
        if (error == 0 && set.live && set.leads == 0) {
            error = kith_linkset_drop(fs, &set);
        }
        more = error == 0 && set.live && set.leads == 0;
        if (more && kith_bytes_equal(set.seen.record.contents,
                                     kith_octets_bytes(&left->contents))) {
            error = remove_version(fs, &set);
        } else if (more) {
            error = kith_linkset_restore(fs, &set, &left->name);
        }
        kith_linkset_free(&set);
    }
    return error;
}

/* fs->lock held. */
static void left_add(struct kith_fs *fs, struct kith_left *left)
{
    left->next = fs->left;
    fs->left = left;
}

/* Once; where it fails, once more later: nobody else knows of it. */
static void left_try(struct kith_fs *fs, struct kith_left *left)
{
    int error = left_bring(fs, left);
    if (error == 0) {
        left_free(left);
        return;
    }
    kith_log_debug("link", "%.*s: another version of the file: %s", (int)left->name.name.size,
                   left->text, strerror(error));
    pthread_mutex_lock(&fs->lock);
    left->due = kith_mono_ns() + RETRY_NS;
    left_add(fs, left);
    pthread_mutex_unlock(&fs->lock);
}

static void do_left(struct kith_job *job)
{
    left_try(job->fs, job->state);
}

/* One that is due by `now`. */
static struct kith_left *left_take(struct kith_fs *fs, uint64_t now)
{
    pthread_mutex_lock(&fs->lock);
    struct kith_left **at = &fs->left;
    while (*at != NULL && (*at)->due > now) {
        at = &(*at)->next;
    }
    struct kith_left *left = *at;
    if (left != NULL) {
        *at = left->next;
    }
    pthread_mutex_unlock(&fs->lock);
    return left;
}

void kith_link_left_start(struct kith_fs *fs)
{
    struct kith_left *left;
    while ((left = left_take(fs, kith_mono_ns())) != NULL) {
        struct kith_job *job = kith_job_new(fs, NULL, 0, 0, do_left);
        if (job != NULL) {
            job->state = left;
            kith_job_begin(job);
            if (kith_job_go_on(job, do_left)) {
                continue;
            }
            kith_job_end(job);
        }
        pthread_mutex_lock(&fs->lock); /* too much waits already: the next tick */
        left_add(fs, left);
        pthread_mutex_unlock(&fs->lock);
        return;
    }
}

void kith_link_left_end(struct kith_fs *fs, uint64_t deadline)
{
    const struct timespec pause = {0, END_PAUSE_NS};
    struct kith_left *left;
    while ((left = left_take(fs, UINT64_MAX)) != NULL) {
        int error = left_bring(fs, left);
        while (error != 0 && kith_mono_ns() < deadline) {
            nanosleep(&pause, NULL);
            error = left_bring(fs, left);
        }
        if (error != 0) {
            kith_log_error("link", "%.*s: another version of the file has no name now: %s",
                           (int)left->name.name.size, left->text, strerror(error));
        }
        left_free(left);
    }
}

/* fs->lock held. It waits to be looked at already. */
static bool left_known(const struct kith_fs *fs, const struct kith_link_at *of,
                       struct kith_bytes contents)
{
    for (const struct kith_left *left = fs->left; left != NULL; left = left->next) {
        if (left->of.id == of->id && left->of.own == of->own &&
            kith_group_compare(&left->of.group, &of->group) == 0 &&
            kith_bytes_equal(kith_octets_bytes(&left->contents), contents)) {
            return true;
        }
    }
    return false;
}

void kith_link_left_later(struct kith_fs *fs, const struct kith_link_at *of,
                          const struct kith_link_name *name, struct kith_bytes contents,
                          uint64_t delay)
{
    if (delay > 0 && left_known(fs, of, contents)) {
        return;
    }
    struct kith_left *left = kith_calloc(1, sizeof *left);
    if (left == NULL || !kith_octets_set(&left->contents, contents)) {
        kith_log_warn("link", "%.*s: another version of the file may have no name now",
                      (int)name->name.size, (const char *)name->name.data);
        left_free(left);
        return;
    }
    left->of = *of;
    left->name.group = name->group;
    left->name.name = kith_bytes_make(left->text, name->name.size);
    memcpy(left->text, name->name.data, name->name.size);
    left->due = kith_mono_ns() + delay;
    left_add(fs, left);
    kith_timer_wake(fs->timer);
}

void kith_link_left(struct kith_fs *fs, const struct kith_link_at *of,
                    const struct kith_link_name *name, struct kith_bytes contents)
{
    kith_link_left_later(fs, of, name, contents, 0);
}

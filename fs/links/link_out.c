/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * link_out.c - an inode moves to a group of its own, when it gets a name in another directory.
 *
 * Its row and what stands beside it are put into a fresh group first. Then, in one batch, the names
 * that it has refer to it there, and its row in the directory's group goes. Where that batch has
 * failed for sure no name refers to the fresh row, and it is taken away again. */
#include <errno.h>
#include <string.h>

#include "fs/fs.h"
#include "fs/files/files.h"
#include "fs/links/links.h"
#include "fs/names/names.h"
#include "fs/requests/requests.h"
#include "fs/rows/rows.h"
#include "fs/tables/tables.h"

#define AWAY_PAUSE_NS 200000000 /* between tries */

/* The rows of a batch that was put go again, as it left them. */
static int add_removal(struct kith_batch *undo, const struct kith_batch *done,
                       const struct kith_client_answer *answer)
{
    int error = 0;
    for (uint32_t i = 0; i < done->count && error == 0; i++) {
        struct kith_bytes context = answer->result.u.put.results[i].context;
        if (done->updates[i].has_sibling &&
            kith_batch_add(undo, done->updates[i].name, context, NULL, 0, NULL, 0) < 0) {
            error = ENOMEM;
        }
    }
    return error;
}

/* The inode's row, put into a fresh group; and its extended attributes. *ret_group. What takes it
 * back is added to `undo`, in whose arena the image lies. */
static int put_into_own(struct kith_fs *fs, struct kith_inode *inode, struct kith_batch *from,
                        const struct kith_link_name names[], uint32_t count,
                        struct kith_image *image, struct kith_group *ret_group,
                        struct kith_octets *ret_ctx, struct kith_dot *ret_dot,
                        struct kith_batch *undo)
{
    struct kith_batch *into = kith_batch_new();
    if (into == NULL) {
        return ENOMEM;
    }
    uint8_t own[KITH_DIR_ID_SIZE];
    uint64_t a = kith_fs_random(fs), b = kith_fs_random(fs);
    memcpy(own, &a, 8);
    memcpy(own + 8, &b, 4);
    *ret_group = kith_group_make(fs->volume, own);
    struct kith_rowname self = {.size = 0};
    struct kith_inode_record record;
    struct kith_bytes value;
    int at = -1;
    int error = kith_inode_image(fs, inode, KITH_DURABLE_OS, &undo->arena, image);
    if (error == 0 && !inode->pending) {
        error = kith_batch_attrs(fs, from, into, inode, &self);
    }
    pthread_mutex_lock(&fs->lock);
    kith_inode_record_of(inode, &record);
    record.file_id = inode->id; /* where it went under another one the two are parted for good */
    record.names = names;
    record.name_count = count;
    record.contents = image->bytes;
    if (error == 0 && kith_batch_record(into, &record, &value) == 0) {
        at = kith_batch_add(into, kith_bytes_make(NULL, 0), kith_bytes_make(NULL, 0), &value,
                            KITH_SIBLING_VALUE, image->refs, image->ref_count);
    }
    pthread_mutex_unlock(&fs->lock);
    if (error == 0 && at < 0) {
        error = ENOMEM;
    }
    if (error == 0) {
        struct kith_client_answer answer;
        error = kith_batch_put(fs, into, ret_group, &answer);
        if (error == 0) {
            *ret_dot = answer.result.u.put.results[at].dot;
            error = kith_batch_note(ret_ctx, &answer, at) | add_removal(undo, into, &answer);
        }
        kith_client_answer_release(&answer);
    }
    kith_batch_free(into);
    return error;
}

/* The names that are in one directory's group become references to `group`, in one batch.
 * *ret_unknown: what failed may have happened. */
static int refer_all(struct kith_fs *fs, struct kith_batch *batch, struct kith_inode *dir,
                     struct kith_inode *inode, const struct kith_group *group,
                     struct kith_entry *entries[], uint32_t count, bool *ret_unknown)
{
    int at[KITH_LINKS_MAX];
    int error = 0;
    pthread_mutex_lock(&fs->lock);
    for (uint32_t i = 0; i < count && error == 0; i++) {
        at[i] = kith_link_name_row(fs, batch, entries[i], kith_entry_ctx(entries[i]), inode, group);
        error = at[i] < 0 ? ENOMEM : 0;
    }
    struct kith_group dir_group = dir->dir->group;
    pthread_mutex_unlock(&fs->lock);
    if (error == 0) {
        struct kith_client_answer answer;
        error = kith_batch_put(fs, batch, &dir_group, &answer);
        *ret_unknown = answer.result.err == KITH_EUNKNOWN;
        pthread_mutex_lock(&fs->lock);
        bool put = error == 0;
        for (uint32_t i = 0; i < count && !put; i++) {
            entries[i]->valid_until = 0; /* perhaps it happened: who needs them reads them again */
            kith_watch_doubt(entries[i]);
        }
        for (uint32_t i = 0; i < count && error == 0; i++) {
            error = kith_batch_note(&entries[i]->ctx, &answer, at[i]);
            kith_entry_refer(entries[i], group);
            entries[i]->changed_at = kith_mono_ns();
        }
        pthread_mutex_unlock(&fs->lock);
        kith_client_answer_release(&answer);
    }
    return error;
}

/* Rows that no name refers to. */
struct orphan {
    struct kith_group group;
    struct kith_batch *undo;
};

static void orphan_free(struct orphan *orphan)
{
    if (orphan != NULL) {
        kith_batch_free(orphan->undo);
        kith_free(orphan);
    }
}

/* They go; tried for as long as a request may take. They do no harm where that fails. */
static void do_take_away(struct kith_job *job)
{
    struct kith_fs *fs = job->fs;
    struct orphan *orphan = job->state;
    const struct timespec pause = {0, AWAY_PAUSE_NS};
    uint64_t until = kith_rows_until(fs);
    struct kith_client_answer answer;
    int error;
    while ((error = kith_batch_put(fs, orphan->undo, &orphan->group, &answer)) != 0 &&
           kith_mono_ns() < until) {
        kith_client_answer_release(&answer);
        nanosleep(&pause, NULL);
    }
    kith_client_answer_release(&answer);
    if (error != 0) {
        kith_log_warn("link", "a file's row that no name refers to could not be removed: %s",
                      strerror(error));
    }
    orphan_free(orphan);
}

/* Nobody waits for it: what it is about has failed, and is reported as such. Takes `undo` over. */
static void take_away(struct kith_fs *fs, struct kith_batch *undo, const struct kith_group *group)
{
    struct orphan *orphan = kith_malloc(sizeof *orphan);
    struct kith_job *job = kith_job_new(fs, NULL, 0, 0, do_take_away);
    if (orphan != NULL) {
        orphan->group = *group;
        orphan->undo = undo;
    } else {
        kith_batch_free(undo);
    }
    if (job != NULL) {
        job->state = orphan;
        kith_job_begin(job);
    }
    if (job != NULL && orphan != NULL && kith_job_go_on(job, do_take_away)) {
        return;
    }
    kith_log_warn("link", "a file's row that no name refers to stays: too much waits already");
    orphan_free(orphan);
    if (job != NULL) {
        kith_job_end(job);
    }
}

int kith_link_move_out(struct kith_fs *fs, struct kith_inode *inode, struct kith_inode *dir,
                       struct kith_entry *entries[], uint32_t count, bool stays)
{
    struct kith_batch *batch = kith_batch_new(), *undo = kith_batch_new();
    struct kith_link_name names[KITH_LINKS_MAX];
    struct kith_image image;
    struct kith_group group;
    struct kith_octets ctx = {NULL, 0};
    struct kith_dot dot;
    bool unknown = false;
    if (batch == NULL || undo == NULL) {
        kith_batch_free(batch);
        kith_batch_free(undo);
        return ENOMEM;
    }
    pthread_mutex_lock(&fs->lock);
    for (uint32_t i = 0; i < count; i++) {
        names[i].group = dir->dir->group;
        names[i].name = kith_entry_bytes(entries[i]);
    }
    pthread_mutex_unlock(&fs->lock);
    int error = put_into_own(fs, inode, batch, names, count, &image, &group, &ctx, &dot, undo);
    bool goes = inode->shared && !stays; /* the row that it had in the directory's group */
    const struct kith_link_at was = {inode->share_group, inode->share_own, inode->share_id};
    if (error == 0 && goes) {
        struct kith_rowname row;
        kith_rowname_shared(inode->share_id, &row);
        pthread_mutex_lock(&fs->lock);
        int at = kith_batch_add(batch, kith_rowname_bytes(&row),
                                kith_octets_bytes(kith_inode_ctx(inode)), NULL, 0, NULL, 0);
        pthread_mutex_unlock(&fs->lock);
        error = at < 0 ? ENOMEM : 0;
    }
    if (error == 0) {
        error = refer_all(fs, batch, dir, inode, &group, entries, count, &unknown);
    }
    if (error != 0 && !unknown && undo->count > 0) {
        take_away(fs, undo, &group);
        undo = NULL;
    }
    if (error == 0 && goes) {
        pthread_mutex_lock(&fs->lock);
        kith_link_left(fs, &was, &names[0], image.bytes);
        pthread_mutex_unlock(&fs->lock);
    }
    if (error == 0) {
        pthread_mutex_lock(&fs->lock);
        kith_link_share(inode, &group, true);
        if (!kith_inode_moved_on(inode, kith_octets_bytes(&ctx)) ||
            !kith_inode_names_set(inode, names, count)) {
            error = ENOMEM;
        }
        pthread_mutex_unlock(&fs->lock);
        image.bytes = kith_bytes_make(NULL, 0); /* its memory goes with `undo` */
        image.ref_count = 0;
        kith_inode_image_stored(fs, inode, &image, &dot, KITH_DURABLE_OS);
        pthread_mutex_lock(&fs->lock);
        kith_inode_image_forget(fs, inode);
        pthread_mutex_unlock(&fs->lock);
    }
    kith_octets_clear(&ctx);
    kith_batch_free(batch);
    kith_batch_free(undo);
    return error;
}

/* All names that lead to it go along, as they are now: who added one has told the row. One that
 * refers to it below another file of that name stays, and the row with it. */
int kith_link_promote(struct kith_fs *fs, struct kith_inode *inode)
{
    struct kith_entry *entries[KITH_LINKS_MAX];
    struct kith_linkset set;
    pthread_mutex_lock(&fs->lock);
    struct kith_inode *dir = inode->entry != NULL ? inode->entry->dir : NULL;
    bool there = dir != NULL && kith_entry_leads(inode->entry, inode);
    if (there) {
        kith_inode_hold(dir);
    } else if (dir != NULL) {
        kith_entry_doubt(inode->entry);
    }
    pthread_mutex_unlock(&fs->lock);
    if (!there) {
        return ESTALE;
    }
    uint32_t count = 0;
    int error = kith_linkset_read(fs, &inode->share_group, false, inode->share_id, &set);
    if (error == 0 && set.leads > 0) {
        error = kith_linkset_drop(fs, &set);
    }
    if (error == 0) {
        count = kith_linkset_pin(fs, dir, inode, &set, NULL, entries);
        error = count == 0 ? ESTALE : 0;
    }
    if (error == 0) {
        error = kith_link_move_out(fs, inode, dir, entries, count, count < set.leads + set.hidden);
    }
    kith_linkset_free(&set);
    for (uint32_t i = 0; i < count; i++) {
        kith_entry_unpin(fs, entries[i]);
    }
    pthread_mutex_lock(&fs->lock);
    kith_inode_drop(fs, dir);
    pthread_mutex_unlock(&fs->lock);
    return error;
}

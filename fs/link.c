/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * link.c - hard links: several names that refer to one inode row.
 *
 * Within a directory the inode row lies in the directory's group (NUL i ID), so that a link or
 * unlink is one batch; the last name but one takes the inode back. A name in another directory
 * moves the inode to a group of its own: inode row first, then the new name, then the old ones. The
 * inode row holds the set of its names; their number is the link count. */
#include <errno.h>
#include <string.h>

#include "fs/fs.h"

#define UNTOLD_RETRY_NS NSEC_PER_SEC
#define AWAY_PAUSE_NS   200000000 /* between tries */

int kith_link_name_row(struct kith_fs *fs, struct kith_batch *batch, struct kith_entry *entry,
                       const struct kith_octets *ctx, const struct kith_inode *inode,
                       const struct kith_group *group)
{
    (void)fs;
    struct kith_inode_record record;
    memset(&record, 0, sizeof record);
    record.type = KITH_TYPE_LINK;
    record.file_id = inode->id;
    record.link = *group;
    struct kith_bytes value;
    if (kith_batch_record(batch, &record, &value) != 0) {
        return -1;
    }
    return kith_batch_add(batch, kith_entry_bytes(entry), kith_octets_bytes(ctx), &value,
                          KITH_SIBLING_VALUE, NULL, 0);
}

int kith_link_row(struct kith_fs *fs, struct kith_batch *batch, struct kith_inode *inode,
                  const struct kith_link_name names[], uint32_t count,
                  const struct kith_image *image)
{
    struct kith_inode_record record;
    struct kith_rowname name;
    struct kith_group group;
    struct kith_bytes value;
    int at = -1;
    pthread_mutex_lock(&fs->lock);
    kith_inode_record_of(inode, &record);
    record.names = names;
    record.name_count = count;
    record.contents = image->bytes;
    struct kith_bytes context = kith_octets_bytes(kith_inode_ctx(inode));
    if (kith_inode_place(inode, &group, &name) && kith_batch_record(batch, &record, &value) == 0 &&
        value.size <= KITH_INLINE_VALUE_MAX) {
        bool gone = count == 0;
        at = kith_batch_add(batch, kith_rowname_bytes(&name), context, gone ? NULL : &value,
                            KITH_SIBLING_VALUE, gone ? NULL : image->refs,
                            gone ? 0 : image->ref_count);
    }
    pthread_mutex_unlock(&fs->lock);
    return at;
}

int kith_link_put(struct kith_fs *fs, struct kith_inode *inode, const struct kith_link_name names[],
                  uint32_t count, const struct kith_image *image)
{
    struct kith_batch *batch = kith_batch_new();
    if (batch == NULL) {
        return ENOMEM;
    }
    struct kith_client_answer answer;
    int at = kith_link_row(fs, batch, inode, names, count, image);
    pthread_mutex_lock(&fs->lock);
    int error = at >= 0 ? 0 : inode->unlinked ? ESTALE : ENOMEM;
    pthread_mutex_unlock(&fs->lock);
    if (error == 0 && count == 0) {
        error = kith_batch_attrs(fs, batch, NULL, inode, NULL);
    }
    if (error == 0) {
        error = kith_batch_put(fs, batch, &inode->share_group, &answer);
        if (error == 0) {
            const struct kith_put_result *result = &answer.result.u.put.results[at];
            pthread_mutex_lock(&fs->lock);
            error = kith_inode_moved_on(inode, result->context) ? 0 : ENOMEM;
            pthread_mutex_unlock(&fs->lock);
            kith_inode_image_stored(fs, inode, image, &result->dot, KITH_DURABLE_OS);
            if (count == 0 && inode->name_count > 0 &&
                !kith_context_is_alone(result->context)) {
                const struct kith_link_at was = {inode->share_group, inode->share_own, inode->id};
                pthread_mutex_lock(&fs->lock);
                kith_link_left(fs, &was, &inode->names[0], image->bytes);
                pthread_mutex_unlock(&fs->lock);
            }
        }
        kith_client_answer_release(&answer);
    }
    kith_batch_free(batch);
    return error;
}

void kith_inode_untold(struct kith_fs *fs, struct kith_inode *inode, int error)
{
    pthread_mutex_lock(&fs->lock);
    inode->untold = true;
    inode->retry_at = kith_mono_ns() + UNTOLD_RETRY_NS;
    kith_inode_enqueue(fs, inode);
    pthread_mutex_unlock(&fs->lock);
    kith_put_failed(fs, inode, error);
}

int kith_link_put_names(struct kith_fs *fs, struct kith_inode *inode,
                        const struct kith_link_name names[], uint32_t count)
{
    struct kith_arena arena;
    struct kith_image image;
    kith_arena_init(&arena, 0);
    int error = kith_inode_image(fs, inode, KITH_DURABLE_OS, &arena, &image);
    if (error == 0) {
        error = kith_link_put(fs, inode, names, count, &image);
    }
    kith_arena_release(&arena);
    return error;
}

void kith_link_tell(struct kith_fs *fs, struct kith_inode *inode,
                    const struct kith_link_name names[], uint32_t count,
                    const struct kith_image *image)
{
    int error = image != NULL ? kith_link_put(fs, inode, names, count, image)
                              : kith_link_put_names(fs, inode, names, count);
    error = error == ESTALE ? 0 : error; /* there is no row any more, nor who would tell it */
    pthread_mutex_lock(&fs->lock);
    if (!kith_inode_names_set(inode, names, count) && error == 0) {
        error = ENOMEM; /* the old ones stay in memory: put again, they do no harm */
    }
    inode->unlinked = inode->unlinked || (error == 0 && count == 0);
    pthread_mutex_unlock(&fs->lock);
    if (error != 0) {
        kith_inode_untold(fs, inode, error);
    }
}

int kith_link_retell(struct kith_fs *fs, struct kith_inode *inode)
{
    /* with the contents that others have put since */
    int error = kith_inode_renew(fs, inode);
    /* ESTALE: another mount removed its last name, there is no row any more */
    if (error == 0) {
        error = kith_link_put_names(fs, inode, inode->names, inode->name_count);
    }
    return error == ESTALE ? 0 : error;
}

/* ---- One inode row in a group: the first link within a directory, or the move to its own group
 * ---- */

/* fs->lock held. The inode has a row of its own from here on. */
static void become_shared(struct kith_inode *inode, const struct kith_group *group, bool own)
{
    inode->shared = true;
    inode->share_own = own;
    inode->share_group = *group;
    kith_octets_clear(&inode->ctx);
    inode->attr_row = false;
    kith_octets_clear(&inode->attr_ctx);
}

static int note(struct kith_octets *octets, const struct kith_client_answer *answer, int at)
{
    return kith_octets_set(octets, answer->result.u.put.results[at].context) ? 0 : ENOMEM;
}

/* The first second name, in the same directory: one batch. */
static int link_first_here(struct kith_fs *fs, struct kith_inode *inode, struct kith_entry *added)
{
    struct kith_batch *batch = kith_batch_new();
    if (batch == NULL) {
        return ENOMEM;
    }
    struct kith_entry *first = inode->entry;
    struct kith_group group = added->dir->dir->group;
    struct kith_image image;
    struct kith_rowname row;
    struct kith_inode_record record;
    struct kith_bytes value;
    uint32_t count = 0;
    kith_rowname_shared(inode->id, &row);
    int first_at = -1, added_at = -1, row_at = -1;
    int error = kith_inode_image(fs, inode, KITH_DURABLE_OS, &batch->arena, &image);
    if (error == 0 && !inode->pending) {
        error = kith_batch_attrs(fs, batch, batch, inode, &row);
    }
    pthread_mutex_lock(&fs->lock);
    inode->name_count = 0;
    struct kith_link_name names[2] = {{group, kith_entry_bytes(first)},
                                      {group, kith_entry_bytes(added)}};
    if (kith_link_name_compare(&names[0], &names[1]) > 0) {
        struct kith_link_name swap = names[0];
        names[0] = names[1];
        names[1] = swap;
    }
    count = 2;
    kith_inode_record_of(inode, &record);
    record.names = names;
    record.name_count = count;
    record.contents = image.bytes;
    if (error == 0 && kith_batch_record(batch, &record, &value) == 0) {
        first_at = kith_link_name_row(fs, batch, first, kith_entry_ctx(first), inode, &group);
        added_at = kith_link_name_row(fs, batch, added, &added->ctx, inode, &group);
        row_at = kith_batch_add(batch, kith_rowname_bytes(&row), kith_bytes_make(NULL, 0), &value,
                                KITH_SIBLING_VALUE, image.refs, image.ref_count);
    }
    pthread_mutex_unlock(&fs->lock);
    if (error == 0 && (first_at < 0 || added_at < 0 || row_at < 0)) {
        error = ENOMEM;
    }
    if (error == 0) {
        struct kith_client_answer answer;
        error = kith_batch_put(fs, batch, &group, &answer);
        if (error == 0) {
            const struct kith_put_result *result = &answer.result.u.put.results[row_at];
            pthread_mutex_lock(&fs->lock);
            become_shared(inode, &group, false);
            error = note(&first->ctx, &answer, first_at) | note(&added->ctx, &answer, added_at);
            kith_entry_refer(first, &group);
            if (!kith_inode_moved_on(inode, result->context) ||
                !kith_inode_names_set(inode, names, count)) {
                error = ENOMEM;
            }
            pthread_mutex_unlock(&fs->lock);
            kith_inode_image_stored(fs, inode, &image, &result->dot, KITH_DURABLE_OS);
        }
        kith_client_answer_release(&answer);
    }
    kith_batch_free(batch);
    return error;
}

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
            error = note(ret_ctx, &answer, at) | add_removal(undo, into, &answer);
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
            error = note(&entries[i]->ctx, &answer, at[i]);
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

/* Moves the inode to a group of its own. entries: its names in `dir`; stays: not all of them, the row
 * that it had there is still needed. */
static int move_out(struct kith_fs *fs, struct kith_inode *inode, struct kith_inode *dir,
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
    const struct kith_link_at was = {inode->share_group, inode->share_own, inode->id};
    if (error == 0 && goes) {
        struct kith_rowname row;
        kith_rowname_shared(inode->id, &row);
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
        become_shared(inode, &group, true);
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

/* fs->lock held. The entry of a name that the set says to lead to the inode, as it was read, pinned;
 * NULL where this mount is just putting another file there, or memory is short. */
static struct kith_entry *pin_name(struct kith_fs *fs, struct kith_inode *dir,
                                   struct kith_inode *inode, const struct kith_linkset *set,
                                   uint32_t i)
{
    char name[KITH_FS_NAME_MAX + 1];
    struct kith_bytes bytes = set->seen.record.names[i].name;
    memcpy(name, bytes.data, bytes.size);
    name[bytes.size] = '\0';
    struct kith_entry *entry = kith_entry_make(fs, dir, name, bytes.size);
    bool others = entry != NULL && entry->inode != NULL && entry->inode != inode &&
                  (entry->inode->row_busy || kith_entry_unsent(entry));
    if (entry == NULL || others || !kith_octets_set(&entry->ctx, set->contexts[i])) {
        return NULL;
    }
    kith_entry_lead(fs, entry, inode);
    kith_entry_refer(entry, &set->group);
    kith_entry_touch(fs, entry);
    entry->pins++;
    return entry;
}

uint32_t kith_linkset_pin(struct kith_fs *fs, struct kith_inode *dir, struct kith_inode *inode,
                          const struct kith_linkset *set, const struct kith_entry *out,
                          struct kith_entry *ret_entries[])
{
    uint32_t count = 0;
    pthread_mutex_lock(&fs->lock);
    for (uint32_t i = 0; i < set->seen.record.name_count; i++) {
        const struct kith_link_name *name = &set->seen.record.names[i];
        bool here = kith_group_compare(&name->group, &dir->dir->group) == 0;
        bool other = out == NULL || !kith_bytes_equal(name->name, kith_entry_bytes(out));
        struct kith_entry *entry = here && other && set->states[i] == KITH_LINK_LEADS
                                       ? pin_name(fs, dir, inode, set, i)
                                       : NULL;
        if (entry != NULL) {
            ret_entries[count++] = entry;
        }
    }
    pthread_mutex_unlock(&fs->lock);
    return count;
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
    int error = kith_linkset_read(fs, &inode->share_group, false, inode->id, &set);
    if (error == 0 && set.leads > 0) {
        error = kith_linkset_drop(fs, &set);
    }
    if (error == 0) {
        count = kith_linkset_pin(fs, dir, inode, &set, NULL, entries);
        error = count == 0 ? ESTALE : 0;
    }
    if (error == 0) {
        error = move_out(fs, inode, dir, entries, count, count < set.leads + set.hidden);
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

/* The name's row refers to the inode; in the batch as its only update, or with the inode's row. */
static int put_more(struct kith_fs *fs, struct kith_inode *inode, struct kith_entry *added,
                    struct kith_batch *batch, int row_at, const struct kith_image *image,
                    bool *ret_unknown)
{
    struct kith_client_answer answer;
    pthread_mutex_lock(&fs->lock);
    struct kith_group group = added->dir->dir->group;
    int at = kith_link_name_row(fs, batch, added, &added->ctx, inode, &inode->share_group);
    pthread_mutex_unlock(&fs->lock);
    if (at < 0) {
        return ENOMEM;
    }
    int error = kith_batch_put(fs, batch, &group, &answer);
    *ret_unknown = answer.result.err == KITH_EUNKNOWN;
    const struct kith_put_result *results = answer.result.u.put.results;
    if (error == 0) {
        pthread_mutex_lock(&fs->lock);
        error = note(&added->ctx, &answer, at);
        if (row_at >= 0 && !kith_inode_moved_on(inode, results[row_at].context)) {
            error = ENOMEM;
        }
        pthread_mutex_unlock(&fs->lock);
        if (row_at >= 0) {
            kith_inode_image_stored(fs, inode, image, &results[row_at].dot, KITH_DURABLE_OS);
        }
    }
    kith_client_answer_release(&answer);
    return error;
}

/* A further name for an inode that is shared already. In a group of its own the row learns of the
 * name first: a name that it does not have might be counted for none when another goes. */
static int link_more(struct kith_fs *fs, struct kith_inode *inode, struct kith_entry *added)
{
    struct kith_batch *batch = kith_batch_new();
    struct kith_image image;
    uint32_t count = 0;
    if (batch == NULL) {
        return ENOMEM;
    }
    int error = kith_inode_image(fs, inode, KITH_DURABLE_OS, &batch->arena, &image);
    pthread_mutex_lock(&fs->lock);
    struct kith_link_name *names = kith_link_names_with(&batch->arena, inode, NULL, added, &count);
    bool own = inode->share_own, unknown = false, told = false;
    pthread_mutex_unlock(&fs->lock);
    if (error == 0 && names == NULL) {
        error = ENOMEM;
    }
    int row_at = -1;
    if (error == 0 && own) {
        error = kith_link_put(fs, inode, names, count, &image);
        told = error == 0;
    } else if (error == 0) {
        row_at = kith_link_row(fs, batch, inode, names, count, &image);
        error = row_at < 0 ? ENOMEM : 0;
    }
    if (error == 0) {
        error = put_more(fs, inode, added, batch, row_at, &image, &unknown);
    }
    if (error == 0 && own) { /* who removed the last other name before this one was there saw the row */
        error = kith_link_put(fs, inode, names, count, &image);
        if (error != 0) {
            kith_inode_untold(fs, inode, error);
            error = 0;
        }
    }
    bool taken_back = error != 0 && told && !unknown;
    pthread_mutex_lock(&fs->lock);
    if ((error == 0 || told) && !taken_back && !kith_inode_names_set(inode, names, count)) {
        error = ENOMEM;
    }
    if (taken_back) {
        names = kith_link_names_with(&batch->arena, inode, added, NULL, &count);
    }
    pthread_mutex_unlock(&fs->lock);
    if (taken_back && names != NULL) {
        kith_link_tell(fs, inode, names, count, &image);
    }
    kith_batch_free(batch);
    return error;
}

static int link_entry(struct kith_fs *fs, struct kith_inode *inode, struct kith_entry *added)
{
    pthread_mutex_lock(&fs->lock);
    bool elsewhere = inode->entry != NULL && inode->entry->dir != added->dir;
    bool shared = inode->shared, own = shared && inode->share_own;
    bool full = shared && inode->name_count >= KITH_LINKS_MAX;
    bool lost = inode->unlinked || (inode->entry == NULL && !own);
    bool taken = added->inode != NULL;
    bool removed = added->dir->dir->removed;
    struct kith_entry *first = inode->entry;
    bool over = !lost && !own && !kith_entry_leads(first, inode);
    if (over) {
        kith_entry_doubt(first);
    }
    pthread_mutex_unlock(&fs->lock);
    int error = taken             ? EEXIST
                : full            ? EMLINK
                : lost || removed ? ENOENT
                : over            ? ESTALE /* the kernel looks again */
                                  : 0;
    bool refused = error != 0;
    if (!refused) {
        pthread_mutex_lock(&fs->lock);
        kith_inode_named(inode);
        pthread_mutex_unlock(&fs->lock);
    }
    if (error == 0 && elsewhere && !own) {
        error = shared ? kith_link_promote(fs, inode)
                       : move_out(fs, inode, first->dir, &first, 1, false);
        shared = true;
    }
    if (error == 0) {
        error = shared ? link_more(fs, inode, added) : link_first_here(fs, inode, added);
    }
    pthread_mutex_lock(&fs->lock);
    if (error == 0) {
        kith_entry_lead(fs, added, inode);
        kith_entry_refer(added, &inode->share_group);
        added->changed_at = inode->changed_at = kith_mono_ns();
        added->valid_until = added->changed_at + fs->entry_ns;
        kith_dir_changed(added->dir);
    } else {
        added->valid_until = 0;
        if (!refused) {
            kith_watch_doubt(added);
            if (inode->entry != NULL) {
                kith_watch_doubt(inode->entry);
            }
        }
    }
    pthread_mutex_unlock(&fs->lock);
    return error;
}

/* fs->lock held. Takes the directory of the new name and that of the inode's, held. */
static void take_homes(struct kith_job *job, struct kith_inode *dirs[2])
{
    struct kith_fs *fs = job->fs;
    struct kith_inode *inode = job->inode;
    dirs[0] = job->inode2;
    for (;;) {
        struct kith_inode *home = inode->entry != NULL ? inode->entry->dir : NULL;
        dirs[1] = home != job->inode2 ? home : NULL;
        if (dirs[1] != NULL) {
            kith_inode_hold(dirs[1]);
        }
        kith_busy_take(fs, true, dirs, 2);
        if (home == (inode->entry != NULL ? inode->entry->dir : NULL)) {
            return;
        }
        kith_busy_give(fs, true, dirs, 2); /* renamed while this waited */
        if (dirs[1] != NULL) {
            kith_inode_drop(fs, dirs[1]);
        }
    }
}

void kith_do_link(struct kith_job *job)
{
    struct kith_fs *fs = job->fs;
    struct kith_inode *inode = job->inode;
    struct kith_entry *added = NULL;
    struct kith_inode *dirs[2];
    pthread_mutex_lock(&fs->lock);
    take_homes(job, dirs);
    pthread_mutex_unlock(&fs->lock);
    int error = inode->type == KITH_TYPE_DIR ? EPERM : 0;
    if (error == 0) {
        error = kith_name_fresh_in(fs, job->inode2, job->name, &added);
    }
    if (error == 0) {
        pthread_mutex_lock(&fs->lock);
        kith_busy_take(fs, false, &inode, 1);
        pthread_mutex_unlock(&fs->lock);
        error = kith_inode_put_again(fs, inode);
        if (error == 0) {
            error = kith_inode_renew(fs, inode);
        }
        if (error == 0) {
            error = link_entry(fs, inode, added);
        }
        pthread_mutex_lock(&fs->lock);
        kith_busy_give(fs, false, &inode, 1);
        pthread_mutex_unlock(&fs->lock);
        kith_entry_unpin(fs, added);
    }
    pthread_mutex_lock(&fs->lock);
    kith_busy_give(fs, true, dirs, 2);
    if (dirs[1] != NULL) {
        kith_inode_drop(fs, dirs[1]);
    }
    pthread_mutex_unlock(&fs->lock);
    if (error != 0) {
        kith_job_fail(job, error);
    } else {
        kith_reply_entry(job, inode, kith_mono_ns() + fs->entry_ns);
    }
}

/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * rename.c - within a directory one batch, across directories the target first and then the source.
 *
 * The target's row gets the whole record, with the attributes as they are now; what is unsent is
 * carried along. The source's row keeps "moved to (group, name)". A directory's own row then learns
 * where it is. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "fs/fs.h"

#define SECOND_PAUSE_NS 200000000 /* between tries of a rename's second half: a node's restart is */
                                  /* some tries, a refusal costs nobody's processor */

struct move {
    struct kith_fs *fs;
    struct kith_entry *src, *dst;
    struct kith_inode *inode, *old; /* what moves; what is replaced, or NULL */
    struct kith_batch *from, *into; /* the same within a directory */
    struct kith_image image;
    struct kith_image old_image;
    /* links: the names of `inode` and of `old` afterwards; in the batch's arena */
    struct kith_link_name *names, *old_names;
    uint32_t name_count, old_count;
    int src_at, dst_at, row_at, old_at; /* places in from, into, into, into; -1 = none */
    bool cross, was_pending, dst_link;
    bool put, unknown; /* the target was put; what failed may have happened */
    bool now; /* nothing may wait: EBUSY instead */
    struct kith_client_op op; /* now: what was sent, and until when it is put again */
    uint64_t until;
    int error; /* now: its outcome */
};

/* The value for the target: a link's reference or the whole record. */
static int add_target(struct move *move)
{
    struct kith_fs *fs = move->fs;
    if (move->src->link) {
        pthread_mutex_lock(&fs->lock);
        move->dst_at =
            kith_link_name_row(fs, move->into, move->dst, &move->dst->ctx, move->inode,
                               &move->inode->share_group);
        pthread_mutex_unlock(&fs->lock);
        return move->dst_at < 0 ? ENOMEM : 0;
    }
    struct kith_arena *arena = &move->into->arena;
    int error = move->now
                    ? kith_inode_image_now(fs, move->inode, arena, &move->image)
                    : kith_inode_image(fs, move->inode, KITH_DURABLE_OS, arena, &move->image);
    if (error != 0) {
        return error;
    }
    struct kith_inode_record record;
    struct kith_bytes value;
    pthread_mutex_lock(&fs->lock);
    kith_inode_record_of(move->inode, &record);
    record.contents = move->image.bytes;
    error = kith_batch_record(move->into, &record, &value);
    if (error == 0) {
        move->dst_at = kith_batch_add(move->into, kith_entry_bytes(move->dst),
                                      kith_octets_bytes(&move->dst->ctx), &value,
                                      KITH_SIBLING_VALUE, move->image.refs, move->image.ref_count);
        error = move->dst_at < 0 ? ENOMEM : 0;
    }
    pthread_mutex_unlock(&fs->lock);
    return error;
}

static int add_source(struct move *move)
{
    if (move->was_pending) {
        return 0; /* the cluster never heard of it */
    }
    struct kith_buf buf;
    kith_buf_init(&buf);
    pthread_mutex_lock(&move->fs->lock);
    struct kith_moved_mark mark = {move->dst->dir->dir->group, kith_entry_bytes(move->dst),
                                   move->inode->id};
    kith_moved_mark_encode(&mark, &buf);
    struct kith_bytes value = kith_buf_bytes(&buf);
    if (!buf.failed) {
        move->src_at =
            kith_batch_add(move->from, kith_entry_bytes(move->src),
                           kith_octets_bytes(kith_entry_ctx(move->src)), &value,
                           KITH_SIBLING_MARK, NULL, 0);
    }
    pthread_mutex_unlock(&move->fs->lock);
    kith_buf_release(&buf);
    return move->src_at < 0 ? ENOMEM : 0;
}

/* The names of a link that changes its name; its inode's row goes in the same batch where it is in
 * the same group, else in a put of its own afterwards (do_move): a name that the row does not have
 * yet, or has still, does no harm. */
static int add_link_row(struct move *move)
{
    struct kith_fs *fs = move->fs;
    struct kith_arena *arena = &move->into->arena;
    pthread_mutex_lock(&fs->lock);
    move->names =
        kith_link_names_with(arena, move->inode, move->src, move->dst, &move->name_count);
    pthread_mutex_unlock(&fs->lock);
    if (move->names == NULL) {
        return ENOMEM;
    }
    /* also for a row in a group of its own, which is told afterwards: in between it may be removed
     * with the old name, the only one that others see in it */
    int error = kith_inode_image(fs, move->inode, KITH_DURABLE_OS, arena, &move->image);
    if (error == 0 && !move->inode->share_own) {
        move->row_at = kith_link_row(fs, move->into, move->inode, move->names, move->name_count,
                                     &move->image);
        error = move->row_at < 0 ? ENOMEM : 0;
    }
    return error;
}

/* The replaced name was one of several: the same for its inode, which has one less. */
static int add_old_row(struct move *move)
{
    struct kith_fs *fs = move->fs;
    struct kith_inode *old = move->old;
    struct kith_arena *arena = &move->into->arena;
    pthread_mutex_lock(&fs->lock);
    move->old_names = kith_link_names_with(arena, old, move->dst, NULL, &move->old_count);
    pthread_mutex_unlock(&fs->lock);
    if (move->old_names == NULL) {
        return ENOMEM;
    }
    if (old->share_own) {
        return 0;
    }
    int error = kith_inode_image(fs, old, KITH_DURABLE_OS, arena, &move->old_image);
    if (error == 0) {
        move->old_at = kith_link_row(fs, move->into, old, move->old_names, move->old_count,
                                     &move->old_image);
        error = move->old_at < 0 ? ENOMEM : 0;
    }
    if (error == 0 && move->old_count == 0) {
        error = kith_batch_attrs(fs, move->into, NULL, old, NULL);
    }
    return error;
}

static int build(struct move *move)
{
    struct kith_rowname to;
    kith_rowname_entry(kith_entry_bytes(move->dst), &to);
    pthread_mutex_lock(&move->fs->lock);
    kith_inode_named(move->inode);
    if (move->old != NULL && move->dst_link) {
        kith_inode_named(move->old);
    }
    pthread_mutex_unlock(&move->fs->lock);
    int error = add_target(move);
    if (error == 0) {
        error = add_source(move);
    }
    if (error == 0 && move->old != NULL && !move->dst_link) {
        error = kith_batch_attrs(move->fs, move->into, NULL, move->old, NULL);
    }
    if (error == 0 && !move->src->link && !move->was_pending) {
        error = kith_batch_attrs(move->fs, move->from, move->into, move->inode, &to);
    }
    if (error == 0 && move->src->link) {
        error = add_link_row(move);
    }
    if (error == 0 && move->old != NULL && move->dst_link) {
        error = add_old_row(move);
    }
    return error;
}

/* fs->lock held. The inodes' rows that were in the batch. */
static bool settle_links(struct move *move, const struct kith_put_result results[])
{
    bool ok = true;
    if (move->row_at >= 0) {
        ok = kith_inode_moved_on(move->inode, results[move->row_at].context) &&
             kith_inode_names_set(move->inode, move->names, move->name_count);
    }
    if (move->old_at >= 0) {
        ok = kith_inode_moved_on(move->old, results[move->old_at].context) &&
             kith_inode_names_set(move->old, move->old_names, move->old_count) && ok;
        move->old->unlinked = move->old_count == 0;
    }
    return ok;
}

/* Whether another version stays under the old name. It is known after the put. */
static bool has_twin(const struct move *move)
{
    return move->src_at >= 0 && !kith_context_is_alone(kith_octets_bytes(&move->src->ctx));
}

/* The tables after the puts. */
static int settle(struct move *move, const struct kith_client_result *into,
                  const struct kith_client_result *from)
{
    struct kith_fs *fs = move->fs;
    const struct kith_put_result *dst = &into->u.put.results[move->dst_at];
    bool ok = true;
    pthread_mutex_lock(&fs->lock);
    if (move->old != NULL && !move->dst_link) {
        kith_entry_gone(fs, move->dst);
    }
    kith_entry_lead(fs, move->dst, NULL);
    ok = kith_octets_set(&move->dst->ctx, dst->context);
    if (move->src_at >= 0) {
        ok = kith_octets_set(&move->src->ctx, from->u.put.results[move->src_at].context) &&
             ok;
    }
    bool link = move->src->link;
    move->dst->link = false;
    if (link) {
        kith_entry_refer(move->dst, &move->inode->share_group);
    }
    kith_inode_hold(move->inode);
    kith_entry_lead(fs, move->src, NULL);
    kith_entry_lead(fs, move->dst, move->inode);
    kith_inode_drop(fs, move->inode);
    move->inode->entry = move->dst;
    move->src->link = false;
    move->src->changed_at = move->dst->changed_at = kith_mono_ns();
    move->src->valid_until = move->dst->valid_until = move->dst->changed_at + fs->entry_ns;
    if (has_twin(move)) {
        move->src->valid_until = 0;
        kith_watch_doubt(move->src);
    }
    kith_dir_changed(move->src->dir);
    kith_dir_changed(move->dst->dir);
    if (!link) {
        ok = kith_inode_moved_on(move->inode, dst->context) && ok;
        move->inode->attr_row =
            false; /* the record has it all; a row beside the new name is none */
        kith_octets_clear(&move->inode->attr_ctx);
    }
    ok = settle_links(move, into->u.put.results) && ok;
    pthread_mutex_unlock(&fs->lock);
    if (!link) {
        kith_inode_image_stored(fs, move->inode, &move->image, &dst->dot, KITH_DURABLE_OS);
    } else if (move->row_at >= 0) {
        kith_inode_image_stored(fs, move->inode, &move->image,
                                &into->u.put.results[move->row_at].dot, KITH_DURABLE_OS);
    }
    if (move->old_at >= 0) {
        kith_inode_image_stored(fs, move->old, &move->old_image,
                                &into->u.put.results[move->old_at].dot, KITH_DURABLE_OS);
    }
    return ok ? 0 : ENOMEM;
}

/* The source's half, after the target's has been put: given up only after a while, for then the
 * file stands under both names. The answer must be released, whatever is returned. */
static int put_source(struct move *move, const struct kith_group *group,
                      struct kith_client_answer *ret_answer)
{
    struct kith_fs *fs = move->fs;
    uint64_t until = kith_mono_ns() + (uint64_t)fs->options->op_timeout_ms * 1000000u;
    const struct timespec pause = {0, SECOND_PAUSE_NS};
    int error = kith_batch_put(fs, move->from, group, ret_answer);
    while (error != 0 && kith_mono_ns() < until) {
        kith_client_answer_release(ret_answer);
        nanosleep(&pause, NULL);
        error = kith_batch_put(fs, move->from, group, ret_answer);
    }
    if (error != 0) {
        kith_log_error("rename", "%s stands under its new name %s, too: the old one could not be "
                       "removed: %s", move->src->name, move->dst->name, strerror(error));
    }
    return error;
}

/* fs->lock held. The put failed: perhaps it happened. */
static void move_doubted(struct move *move)
{
    move->src->valid_until = move->dst->valid_until = 0;
    kith_watch_doubt(move->src);
    kith_watch_doubt(move->dst);
}

/* The target is put, and the source is gone or not: the rows of shared inodes in groups of their
 * own are told. */
static void tell_links(struct move *move, bool source_gone)
{
    struct kith_fs *fs = move->fs;
    if (move->src->link && move->row_at < 0) {
        if (!source_gone) {
            pthread_mutex_lock(&fs->lock);
            move->names = kith_link_names_with(&move->into->arena, move->inode, NULL, move->dst,
                                               &move->name_count);
            pthread_mutex_unlock(&fs->lock);
        }
        kith_link_tell(fs, move->inode, move->names, move->name_count, &move->image);
    }
    if (move->old != NULL && move->dst_link && move->old_at < 0) {
        kith_link_tell(fs, move->old, move->old_names, move->old_count, NULL);
    }
}

/* It becomes a file of its own. src is pinned and its directory taken. */
static void part(struct move *move)
{
    if (has_twin(move)) {
        kith_twin_part(move->fs, move->src, move->inode);
    }
}

static int do_move(struct move *move)
{
    struct kith_fs *fs = move->fs;
    struct kith_group src_group = move->src->dir->dir->group;
    struct kith_group dst_group = move->dst->dir->dir->group;
    struct kith_client_answer into, from;
    memset(&into, 0, sizeof into);
    memset(&from, 0, sizeof from);
    int error = build(move);
    if (error != 0) {
        return error;
    }
    error = kith_batch_put(fs, move->into, &dst_group, &into);
    move->put = error == 0;
    move->unknown = into.result.err == KITH_EUNKNOWN;
    bool second = error == 0 && move->cross && move->from->count > 0;
    if (second) {
        error = put_source(move, &src_group, &from);
    }
    if (move->put && move->old != NULL && move->dst_link) { /* before its row goes */
        kith_twin_unlink(fs, move->dst, move->old, into.result.u.put.results[move->dst_at].context);
    }
    if (move->put) {
        tell_links(move, error == 0);
    }
    if (move->put && move->old_at >= 0 && move->old_count == 0 &&
        !kith_context_is_alone(into.result.u.put.results[move->old_at].context)) {
        const struct kith_link_at was = {dst_group, false, move->old->id};
        const struct kith_link_name name = {dst_group, kith_entry_bytes(move->dst)};
        pthread_mutex_lock(&fs->lock);
        kith_link_left(fs, &was, &name, move->old_image.bytes);
        pthread_mutex_unlock(&fs->lock);
    }
    if (error == 0) {
        error = settle(move, &into.result, move->cross ? &from.result : &into.result);
    } else {
        pthread_mutex_lock(&fs->lock);
        move_doubted(move);
        pthread_mutex_unlock(&fs->lock);
    }
    kith_client_answer_release(&into);
    if (second) {
        kith_client_answer_release(&from);
    }
    if (error == 0 && move->inode->type == KITH_TYPE_DIR) {
        kith_dir_tell(fs, move->inode, move->dst->name);
    }
    if (error == 0) {
        part(move);
    }
    return error;
}

static int rename_types(const struct kith_inode *inode, const struct kith_inode *old)
{
    if (old == NULL || (inode->type == KITH_TYPE_DIR) == (old->type == KITH_TYPE_DIR)) {
        return 0;
    }
    return old->type == KITH_TYPE_DIR ? EISDIR : ENOTDIR;
}

/* Both entries pinned, both directories taken. */
static int move_names(struct kith_fs *fs, struct kith_entry *src, struct kith_entry *dst,
                      struct kith_inode *inode, struct kith_inode *old)
{
    struct move move = {.fs = fs, .src = src, .dst = dst, .inode = inode, .old = old};
    move.src_at = move.dst_at = move.row_at = move.old_at = -1;
    int error = rename_types(inode, old);
    bool directory = error == 0 && old != NULL && old->type == KITH_TYPE_DIR;
    struct kith_inode *both[2] = {inode, old};
    pthread_mutex_lock(&fs->lock);
    if (directory) {
        kith_busy_take(fs, true, &old, 1);
    }
    kith_busy_take(fs, false, both, 2);
    pthread_mutex_unlock(&fs->lock);
    for (unsigned i = 0; i < 2 && error == 0; i++) {
        error = both[i] != NULL ? kith_inode_put_again(fs, both[i]) : 0;
    }
    if (error == 0) {
        error = kith_inode_renew(fs, inode);
    }
    if (error == 0 && old != NULL && old->shared) { /* its row is put with one name less */
        error = kith_inode_renew(fs, old);
    }
    pthread_mutex_lock(&fs->lock);
    if (error == 0 && (!kith_entry_leads(src, inode) || !kith_entry_leads(dst, old))) {
        error = ESTALE; /* who was waited for, or another mount, has changed them */
    }
    move.cross = src->dir != dst->dir;
    move.was_pending = inode->pending;
    move.dst_link = dst->link;
    pthread_mutex_unlock(&fs->lock);
    if (directory && error == 0) {
        error = kith_dir_remove(fs, old);
    }
    if (error == 0 && move.cross && src->link && !inode->share_own) {
        error = kith_link_promote(fs, inode);
    }
    move.into = kith_batch_new();
    move.from = move.cross ? kith_batch_new() : move.into;
    if (error == 0) {
        error = move.into == NULL || move.from == NULL ? ENOMEM : do_move(&move);
        if (error != 0 && directory && !move.put) {
            kith_dir_restore(fs, old, move.unknown);
        }
    }
    if (move.from != move.into) {
        kith_batch_free(move.from);
    }
    kith_batch_free(move.into);
    pthread_mutex_lock(&fs->lock);
    kith_busy_give(fs, false, both, 2);
    if (directory) {
        kith_busy_give(fs, true, &old, 1);
    }
    pthread_mutex_unlock(&fs->lock);
    if (old != NULL) {
        kith_inode_settle(fs, old);
    }
    return error;
}

static int rename_entries(struct kith_job *job, struct kith_entry *src, struct kith_entry *dst)
{
    struct kith_fs *fs = job->fs;
    pthread_mutex_lock(&fs->lock);
    struct kith_inode *inode = src->inode, *old = dst->inode;
    bool removed = job->inode2->dir->removed;
    if (inode != NULL) {
        kith_inode_hold(inode);
    }
    if (old != NULL) {
        kith_inode_hold(old);
    }
    pthread_mutex_unlock(&fs->lock);
    int error = 0;
    if (inode == NULL || removed) {
        error = ENOENT;
    } else if ((job->flags & RENAME_NOREPLACE) != 0 && old != NULL) {
        error = EEXIST;
    } else if ((job->flags & RENAME_EXCHANGE) != 0) {
        error = old == NULL ? ENOENT : inode == old ? 0 : kith_exchange(fs, src, dst);
    } else if (inode != old) {
        error = move_names(fs, src, dst, inode, old);
    }
    pthread_mutex_lock(&fs->lock);
    if (inode != NULL) {
        kith_inode_drop(fs, inode);
    }
    if (old != NULL) {
        kith_inode_drop(fs, old);
    }
    pthread_mutex_unlock(&fs->lock);
    return error;
}

/* Both directories are taken. ESTALE: the names are to be looked at again. */
static int rename_once(struct kith_job *job)
{
    struct kith_fs *fs = job->fs;
    struct kith_entry *src = NULL, *dst = NULL;
    int error = kith_dir_entry(fs, job->inode, job->name, &src);
    if (error == 0) {
        error = (job->flags & RENAME_NOREPLACE) != 0
                    ? kith_dir_read(fs, job->inode2, job->name2, &dst)
                    : kith_dir_entry(fs, job->inode2, job->name2, &dst);
    }
    if (error == 0) {
        error = rename_entries(job, src, dst);
    }
    pthread_mutex_lock(&fs->lock);
    if (src != NULL) {
        if (error == ESTALE) {
            kith_entry_doubt(src);
        }
        src->pins--;
    }
    if (dst != NULL) {
        if (error == ESTALE) {
            kith_entry_doubt(dst);
        }
        dst->pins--;
    }
    pthread_mutex_unlock(&fs->lock);
    return error;
}

void kith_do_rename(struct kith_job *job)
{
    struct kith_fs *fs = job->fs;
    struct kith_inode *dirs[2] = {job->inode, job->inode2 != job->inode ? job->inode2 : NULL};
    if ((job->flags & ~(RENAME_NOREPLACE | RENAME_EXCHANGE)) != 0 ||
        ((job->flags & RENAME_EXCHANGE) != 0 && dirs[1] != NULL)) {
        kith_job_fail(job, EINVAL);
        return;
    }
    pthread_mutex_lock(&fs->lock);
    kith_busy_take(fs, true, dirs, 2);
    pthread_mutex_unlock(&fs->lock);
    int error = ESTALE;
    for (unsigned i = 0; i < KITH_LOOKS_MAX && error == ESTALE; i++) {
        error = rename_once(job);
    }
    pthread_mutex_lock(&fs->lock);
    kith_busy_give(fs, true, dirs, 2);
    pthread_mutex_unlock(&fs->lock);
    kith_job_fail(job, error);
}

/* fs->lock held. An inode that a rename can take along or replace at once. */
static bool moves_now(const struct kith_inode *inode)
{
    return inode->type != KITH_TYPE_DIR && !inode->shared && !inode->row_busy &&
           inode->again == NULL && !kith_inode_outdated(inode) &&
           !((inode->attrs.have & KITH_ATTR_XATTRS) != 0 && inode->attrs.xattrs);
}

/* fs->lock held. Both names known well enough: takes what the rename needs. */
static bool take_now(struct kith_job *job, struct move *move)
{
    struct kith_fs *fs = job->fs;
    struct kith_inode *dir = job->inode;
    uint64_t now = kith_mono_ns();
    struct kith_entry *src = kith_entry_find(dir, job->name);
    struct kith_entry *dst = kith_entry_find(dir, job->name2);
    if (job->inode2 != dir || job->flags != 0 || dir->dir_busy || dir->dir->removed ||
        src == NULL || src == dst || !kith_entry_valid(src, now) || src->inode == NULL ||
        src->link || !moves_now(src->inode)) {
        return false;
    }
    if (dst == NULL) {
        dst = kith_dir_missing(fs, dir, job->name2, now);
    }
    if (dst == NULL || !kith_entry_valid(dst, now) || dst->link ||
        (dst->inode != NULL && (dst->inode == src->inode || !moves_now(dst->inode)))) {
        return false;
    }
    move->src = src;
    move->dst = dst;
    move->inode = src->inode;
    move->old = dst->inode;
    move->was_pending = src->inode->pending;
    struct kith_inode *both[2] = {move->inode, move->old};
    kith_busy_take(fs, true, &dir, 1); /* neither is busy: no waiting */
    kith_busy_take(fs, false, both, 2);
    kith_entry_touch(fs, src);
    kith_entry_touch(fs, dst);
    src->pins++;
    dst->pins++;
    kith_inode_hold(move->inode);
    if (move->old != NULL) {
        kith_inode_hold(move->old);
    }
    return true;
}

/* Gives all of that back. */
static void give_now(struct kith_job *job, struct move *move)
{
    struct kith_fs *fs = job->fs;
    struct kith_inode *both[2] = {move->inode, move->old};
    pthread_mutex_lock(&fs->lock);
    kith_busy_give(fs, false, both, 2);
    kith_busy_give(fs, true, &job->inode, 1);
    move->src->pins--;
    move->dst->pins--;
    pthread_mutex_unlock(&fs->lock);
    for (unsigned i = 0; i < 2; i++) {
        if (both[i] != NULL) {
            kith_inode_settle_soon(fs, both[i]);
            pthread_mutex_lock(&fs->lock);
            kith_inode_drop(fs, both[i]);
            pthread_mutex_unlock(&fs->lock);
        }
    }
    kith_batch_free(move->into);
    kith_free(move);
}

/* The put is over with this errno. */
static void rename_took(struct kith_job *job, int error, const struct kith_client_result *result)
{
    struct move *move = job->state;
    if (error == 0) {
        error = settle(move, result, result);
    } else {
        pthread_mutex_lock(&job->fs->lock);
        move_doubted(move);
        pthread_mutex_unlock(&job->fs->lock);
    }
    move->error = error;
}

static void rename_end(struct kith_job *job)
{
    struct move *move = job->state;
    int error = move->error;
    give_now(job, move);
    kith_job_fail(job, error);
}

/* In a thread. */
static void rename_part(struct kith_job *job)
{
    part(job->state);
    rename_end(job);
}

/* In a thread. */
static void rename_again(struct kith_job *job)
{
    struct move *move = job->state;
    struct kith_client_answer answer;
    move->op.u.put.again = true;
    int error = kith_rows_put_op(job->fs, &move->op, move->until, &answer);
    rename_took(job, error, &answer.result);
    kith_client_answer_release(&answer);
    if (move->error == 0) {
        part(move);
    }
    rename_end(job);
}

static void rename_done(struct kith_job *job, const struct kith_client_result *result)
{
    struct move *move = job->state;
    if (kith_rows_open(result, move->until) && kith_job_go_on(job, rename_again)) {
        return;
    }
    rename_took(job, kith_rows_put_end(job->fs, result, move->into->count), result);
    if (move->error == 0 && has_twin(move) && kith_job_go_on(job, rename_part)) {
        return;
    }
    rename_end(job);
    kith_job_end(job);
}

void kith_start_rename(struct kith_job *job)
{
    struct kith_fs *fs = job->fs;
    struct move *move = kith_calloc(1, sizeof *move);
    bool now = false;
    if (move != NULL) {
        move->fs = fs;
        move->now = true;
        move->src_at = move->dst_at = move->row_at = move->old_at = -1;
        pthread_mutex_lock(&fs->lock);
        now = take_now(job, move);
        pthread_mutex_unlock(&fs->lock);
    }
    if (now) {
        move->into = move->from = kith_batch_new();
        now = move->into != NULL && build(move) == 0;
        if (!now) {
            give_now(job, move);
        }
    } else {
        kith_free(move);
    }
    if (!now) {
        kith_job_start(job);
        return;
    }
    struct kith_client_op *op = &move->op;
    op->kind = KITH_CLIENT_PUT;
    op->u.put.group = job->inode->dir->group;
    op->u.put.durability = KITH_DURABLE_OS;
    op->u.put.updates = move->into->updates;
    op->u.put.update_count = move->into->count;
    op->u.put.request = kith_client_request_id(fs->client);
    move->until = kith_rows_until(fs);
    job->state = move;
    kith_job_begin(job);
    kith_job_send(job, op, rename_done);
}

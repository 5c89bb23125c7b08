/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * move.c - what a rename puts: within a directory one batch, across directories the target first
 * and then the source.
 *
 * The target's row gets the whole record, with the attributes as they are now; what is unsent is
 * carried along. The source's row keeps "moved to (group, name)". A directory's own row then learns
 * where it is. */
#include <errno.h>
#include <string.h>

#include "fs/fs.h"
#include "fs/files/files.h"
#include "fs/links/links.h"
#include "fs/names/names.h"
#include "fs/orphans/orphans.h"
#include "fs/rows/rows.h"
#include "fs/tables/tables.h"

#define SECOND_PAUSE_NS 200000000 /* between tries of a rename's second half: a node's restart is */
                                  /* some tries, a refusal costs nobody's processor */

/* The value for the target: a link's reference or the whole record. ESTALE: the name leads
 * elsewhere by now, to what another mount has put there; what was no name nobody was busy with. */
static int add_target(struct kith_move *move)
{
    struct kith_fs *fs = move->fs;
    if (move->src->link) {
        pthread_mutex_lock(&fs->lock);
        bool same = kith_entry_leads(move->dst, move->old);
        if (same) {
            move->dst_at =
                kith_link_name_row(fs, move->into, move->dst, &move->dst->ctx, move->inode,
                                   &move->inode->share_group);
        }
        pthread_mutex_unlock(&fs->lock);
        return !same ? ESTALE : move->dst_at < 0 ? ENOMEM : 0;
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
    error = kith_entry_leads(move->dst, move->old)
                ? kith_batch_record(move->into, &record, &value)
                : ESTALE;
    if (error == 0) {
        move->dst_at = kith_batch_add(move->into, kith_entry_bytes(move->dst),
                                      kith_octets_bytes(&move->dst->ctx), &value,
                                      KITH_SIBLING_VALUE, move->image.refs, move->image.ref_count);
        error = move->dst_at < 0 ? ENOMEM : 0;
    }
    pthread_mutex_unlock(&fs->lock);
    return error;
}

static int add_source(struct kith_move *move)
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
 * the same group, else in a put of its own afterwards (tell_links): a name that the row does not
 * have yet, or has still, does no harm. */
static int add_link_row(struct kith_move *move)
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
static int add_old_row(struct kith_move *move)
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

int kith_move_build(struct kith_move *move)
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
static bool settle_links(struct kith_move *move, const struct kith_put_result results[])
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

int kith_move_settle(struct kith_move *move, const struct kith_client_result *into,
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
    int more = move->inode->dir != NULL ? 1 : 0;
    kith_inode_hold(move->inode);
    kith_entry_lead(fs, move->src, NULL);
    kith_entry_lead(fs, move->dst, move->inode);
    kith_inode_drop(fs, move->inode);
    move->inode->entry = move->dst;
    move->src->link = false;
    move->src->changed_at = move->dst->changed_at = kith_mono_ns();
    move->src->valid_until = move->dst->valid_until = move->dst->changed_at + fs->entry_ns;
    if (move->src_at >= 0 && kith_twin_stays(move->src)) {
        move->src->valid_until = 0;
        kith_watch_doubt(move->src);
    }
    kith_dir_changed(fs, move->src->dir, -more);
    kith_dir_changed(fs, move->dst->dir, more);
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
static int put_source(struct kith_move *move, const struct kith_group *group,
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

void kith_move_doubted(struct kith_move *move)
{
    move->src->valid_until = move->dst->valid_until = 0;
    kith_watch_doubt(move->src);
    kith_watch_doubt(move->dst);
}

/* The target is put, and the source is gone or not: the rows of shared inodes in groups of their
 * own are told. */
static void tell_links(struct kith_move *move, bool source_gone)
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

int kith_move_put(struct kith_move *move)
{
    struct kith_fs *fs = move->fs;
    struct kith_group src_group = move->src->dir->dir->group;
    struct kith_group dst_group = move->dst->dir->dir->group;
    struct kith_client_answer into, from;
    memset(&into, 0, sizeof into);
    memset(&from, 0, sizeof from);
    int error = kith_move_build(move);
    bool directory = move->inode->type == KITH_TYPE_DIR;
    if (error == 0 && directory) {
        error = kith_dir_tell_first(fs, move->inode, move->dst->dir, move->dst->name);
        if (error != 0) {
            kith_inode_untold(fs, move->inode, error);
        }
    }
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
        const struct kith_link_at was = {dst_group, false, move->old->share_id};
        const struct kith_link_name name = {dst_group, kith_entry_bytes(move->dst)};
        pthread_mutex_lock(&fs->lock);
        kith_link_left(fs, &was, &name, move->old_image.bytes);
        pthread_mutex_unlock(&fs->lock);
    }
    if (error == 0) {
        error = kith_move_settle(move, &into.result, move->cross ? &from.result : &into.result);
        if (directory && move->cross) {
            pthread_mutex_lock(&fs->lock);
            kith_dir_moved(fs, move->inode);
            pthread_mutex_unlock(&fs->lock);
        }
    } else {
        pthread_mutex_lock(&fs->lock);
        kith_move_doubted(move);
        pthread_mutex_unlock(&fs->lock);
    }
    kith_client_answer_release(&into);
    if (second) {
        kith_client_answer_release(&from);
    }
    if (error != 0 && directory) { /* its own row says that it is there */
        kith_inode_untold(fs, move->inode, error);
    }
    if (error == 0 && move->src_at >= 0) {
        kith_twin_part(fs, move->src, move->inode);
    }
    return error;
}

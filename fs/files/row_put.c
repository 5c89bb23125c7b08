/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * row_put.c - one put of the row of an inode, or of the attribute row beside it.
 *
 * A put that ended UNKNOWN may have been carried out, or may yet be. What was written since would,
 * as a put of its own with the context from before, be a sibling of it: a conflict of the user with
 * himself. So it is kept, byte for byte, and goes again under the same request id before anything
 * else of that row; its answer tells the context that covers it. It takes no more memory than the
 * inline contents that stay dirty with it. */
#include <errno.h>

#include "fs/fs.h"
#include "fs/files/files.h"
#include "fs/hook/hook.h"
#include "fs/rows/rows.h"
#include "fs/tables/tables.h"

#define AGAIN_NS (600 * NSEC_PER_SEC) /* DESIGN section 3: no client retries after 10 minutes */

/* A put of the row of an inode, or of the attribute row beside it, with all that it refers to.
 * row_busy held as long as it lives. */
struct kith_row_put {
    struct kith_request_id request;
    bool attrs;       /* the attribute row: of the image only attr_version counts */
    bool again;       /* an attempt ended UNKNOWN */
    uint64_t started; /* the first */
    struct kith_arena arena;
    struct kith_image image;
    enum kith_durability durability;
    struct kith_group group;
    struct kith_rowname name;
    struct kith_put_update update;
    /* of kith_inode_put_begin */
    struct kith_fs *fs;
    struct kith_inode *inode;
    void (*done)(void *arg, int error);
    void *arg;
};

/* From the image that is there. ESTALE: nothing to put, it has no name any more. */
static int row_put_make(struct kith_fs *fs, struct kith_inode *inode, struct kith_row_put *put)
{
    struct kith_inode_record record;
    struct kith_buf buf;
    kith_buf_init(&buf);
    pthread_mutex_lock(&fs->lock);
    bool placed = kith_inode_place(inode, &put->group, &put->name);
    struct kith_bytes context = kith_octets_bytes(kith_inode_ctx(inode));
    context.data = kith_arena_copy(&put->arena, context.data, context.size);
    kith_inode_record_of(inode, &record);
    record.contents = put->image.bytes;
    kith_inode_record_encode(&record, &buf);
    pthread_mutex_unlock(&fs->lock);
    void *value = buf.failed ? NULL : kith_arena_copy(&put->arena, buf.data, buf.size);
    struct kith_put_update update = {.name = kith_rowname_bytes(&put->name),
                                     .context = context,
                                     .has_sibling = true,
                                     .ref_count = put->image.ref_count,
                                     .refs = put->image.refs,
                                     .value = kith_bytes_make(value, buf.size)};
    put->update = update;
    kith_buf_release(&buf);
    if (!placed) {
        return ESTALE;
    }
    return value == NULL || context.data == NULL ? ENOMEM : 0;
}

/* The same for the attribute row. */
static int attr_put_make(struct kith_fs *fs, struct kith_inode *inode, struct kith_row_put *put)
{
    struct kith_rowname row;
    put->attrs = true;
    pthread_mutex_lock(&fs->lock);
    put->image.attr_version = inode->attr_version;
    int error = ESTALE;
    if (kith_inode_place(inode, &put->group, &row)) {
        error = kith_errno(kith_attr_update(inode, &put->arena, &put->name, &put->update));
    }
    pthread_mutex_unlock(&fs->lock);
    return error;
}

static int attr_put_end(struct kith_fs *fs, struct kith_inode *inode,
                        const struct kith_row_put *put, const struct kith_put_result *result)
{
    pthread_mutex_lock(&fs->lock);
    bool ok = kith_octets_set(&inode->attr_ctx, result->context);
    inode->attr_row = true;
    inode->attr_flushed = put->image.attr_version;
    if (inode->attr_version == put->image.attr_version) {
        inode->attr_changed = 0;
    }
    inode->attr_os_only = put->durability == KITH_DURABLE_OS;
    inode->changed_at = kith_mono_ns();
    inode->valid_until = inode->changed_at + fs->entry_ns;
    pthread_mutex_unlock(&fs->lock);
    return ok ? 0 : ENOMEM;
}

static int row_put_end(struct kith_fs *fs, struct kith_inode *inode, const struct kith_row_put *put,
                       const struct kith_put_result *result)
{
    if (put->attrs) {
        return attr_put_end(fs, inode, put, result);
    }
    pthread_mutex_lock(&fs->lock);
    bool moved = kith_inode_moved_on(inode, result->context);
    inode->wrote = inode->shared;
    if (inode->entry != NULL) {
        inode->entry->dir->dir->changed_at = kith_mono_ns();
    }
    kith_hook_saw(fs, inode->entry);
    pthread_mutex_unlock(&fs->lock);
    kith_inode_image_stored(fs, inode, &put->image, &result->dot, put->durability);
    return moved ? 0 : ENOMEM;
}

static void row_put_free(struct kith_row_put *put)
{
    if (put != NULL) {
        kith_arena_release(&put->arena);
        kith_free(put);
    }
}

static struct kith_row_put *row_put_new(struct kith_fs *fs, enum kith_durability durability)
{
    struct kith_row_put *put = kith_calloc(1, sizeof *put);
    if (put != NULL) {
        put->durability = durability;
        put->request = kith_client_request_id(fs->client);
        put->started = kith_mono_ns();
        kith_arena_init(&put->arena, 0);
    }
    return put;
}

static struct kith_client_op row_put_op(const struct kith_row_put *put)
{
    struct kith_client_op op = {.kind = KITH_CLIENT_PUT};
    op.u.put.group = put->group;
    op.u.put.durability = put->durability;
    op.u.put.updates = &put->update;
    op.u.put.update_count = 1;
    op.u.put.request = put->request;
    op.u.put.again = put->again;
    return op;
}

/* It failed: freed, or kept where it may have happened. */
static void row_put_failed(struct kith_fs *fs, struct kith_inode *inode, struct kith_row_put *put,
                           enum kith_err err)
{
    bool keep = !put->attrs && (put->again || err == KITH_EUNKNOWN);
    if (keep) {
        put->again = true;
        pthread_mutex_lock(&fs->lock);
        inode->again = put;
        pthread_mutex_unlock(&fs->lock);
    } else {
        row_put_free(put);
    }
}

/* It ended; the put is taken over. */
static int row_put_result(struct kith_fs *fs, struct kith_inode *inode, struct kith_row_put *put,
                          const struct kith_client_result *result)
{
    int error = kith_rows_put_end(fs, result, 1);
    pthread_mutex_lock(&fs->lock);
    if (error == 0) {
        kith_unput_forget(inode);
    } else if (!(inode->pending && inode->awaited)) {
        kith_unput_note(inode, error, result->message != NULL ? result->message : "");
    }
    pthread_mutex_unlock(&fs->lock);
    if (error == 0) {
        error = row_put_end(fs, inode, put, &result->u.put.results[0]);
        row_put_free(put);
    } else {
        row_put_failed(fs, inode, put, result->err);
    }
    return error;
}

/* Sends it and waits; the put is taken over. *ret_anew: an image that is made anew may be taken, as
 * chunks that this one names are gone (fs/content/renew.c). */
static int row_put_send(struct kith_fs *fs, struct kith_inode *inode, struct kith_row_put *put,
                        bool *ret_anew)
{
    struct kith_client_op op = row_put_op(put);
    struct kith_client_answer answer;
    answer.result.err = kith_client_call(fs->client, &op, &answer);
    *ret_anew = answer.result.err == KITH_EREFUSED && !put->again && put->image.flushed &&
                put->image.ref_count > 0;
    int error = row_put_result(fs, inode, put, &answer.result);
    kith_client_answer_release(&answer);
    return error;
}

void kith_inode_put_forget(struct kith_inode *inode)
{
    row_put_free(inode->again);
    inode->again = NULL;
}

int kith_inode_put_again(struct kith_fs *fs, struct kith_inode *inode)
{
    struct kith_group group;
    struct kith_rowname name;
    pthread_mutex_lock(&fs->lock);
    struct kith_row_put *put = inode->again;
    inode->again = NULL;
    /* its row may have become another's meanwhile */
    bool same = put != NULL && kith_inode_place(inode, &group, &name) &&
                kith_group_compare(&group, &put->group) == 0 &&
                kith_bytes_equal(kith_rowname_bytes(&name), put->update.name);
    pthread_mutex_unlock(&fs->lock);
    if (put == NULL) {
        return 0;
    }
    if (!same || kith_mono_ns() - put->started > AGAIN_NS) {
        row_put_free(put);
        return 0;
    }
    bool anew;
    return row_put_send(fs, inode, put, &anew);
}

/* There is nowhere to put it. A file that was removed here needs no more; one whose name went
 * elsewhere, and may have become another, keeps what was written until it is found, but nobody may
 * take it for stored. */
static int put_nowhere(struct kith_fs *fs, const struct kith_inode *inode, bool attrs)
{
    pthread_mutex_lock(&fs->lock);
    bool over = inode->unlinked || attrs;
    pthread_mutex_unlock(&fs->lock);
    return over ? 0 : ESTALE;
}

static int put_once(struct kith_fs *fs, struct kith_inode *inode, enum kith_durability durability,
                    bool attrs, bool *ret_anew)
{
    struct kith_row_put *put = row_put_new(fs, durability);
    *ret_anew = false;
    if (put == NULL) {
        return ENOMEM;
    }
    int error;
    if (attrs) {
        error = attr_put_make(fs, inode, put);
    } else {
        error = kith_whole_image(fs, inode, durability, &put->arena, &put->image);
        if (error == 0) {
            error = row_put_make(fs, inode, put);
        }
    }
    if (error == 0) {
        return row_put_send(fs, inode, put, ret_anew);
    }
    row_put_free(put);
    return error == ESTALE ? put_nowhere(fs, inode, attrs) : error;
}

int kith_inode_put_one(struct kith_fs *fs, struct kith_inode *inode,
                       enum kith_durability durability, bool attrs)
{
    bool anew;
    int error = put_once(fs, inode, durability, attrs, &anew);
    return anew ? put_once(fs, inode, durability, attrs, &anew) : error;
}

static void put_ended(void *arg, const struct kith_client_result *result)
{
    struct kith_row_put *put = arg;
    struct kith_fs *fs = put->fs;
    struct kith_inode *inode = put->inode;
    void (*done)(void *, int) = put->done;
    void *done_arg = put->arg;
    int error = row_put_result(fs, inode, put, result);
    if (error != 0) {
        kith_inode_flush_failed(fs, inode, error);
    }
    done(done_arg, error);
}

bool kith_inode_put_one_begin(struct kith_fs *fs, struct kith_inode *inode,
                              enum kith_durability durability, bool attrs,
                              void (*done)(void *arg, int error), void *arg)
{
    struct kith_row_put *put = row_put_new(fs, durability);
    if (put == NULL) {
        return false;
    }
    int error = attrs ? attr_put_make(fs, inode, put)
                      : kith_whole_image_now(fs, inode, &put->arena, &put->image);
    if (error == 0 && !attrs) {
        error = row_put_make(fs, inode, put);
    }
    if (error != 0) {
        row_put_free(put);
        return false;
    }
    put->fs = fs;
    put->inode = inode;
    put->done = done;
    put->arg = arg;
    struct kith_client_op op = row_put_op(put);
    enum kith_err err = kith_client_submit(fs->client, &op, put_ended, put);
    if (err != KITH_OK) {
        struct kith_client_result failed = {.err = err, .message = kith_err_text((int)err)};
        put_ended(put, &failed);
    }
    return true;
}

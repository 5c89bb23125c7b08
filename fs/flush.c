/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * flush.c - one put a file: name, attributes and contents as one row.
 *
 * Versions instead of a dirty flag: what was written while the put was under way is still dirty
 * after it. A put that failed leaves everything as it was; the timer tries again every RETRY_NS.
 *
 * A put that ended UNKNOWN may have been carried out, or may yet be. What was written since would,
 * as a put of its own with the context from before, be a sibling of it: a conflict of the user with
 * himself. So it is kept, byte for byte, and goes again under the same request id before anything
 * else of that row; its answer tells the context that covers it. It takes no more memory than the
 * inline contents that stay dirty with it. */
#include <errno.h>
#include <string.h>

#include "fs/fs.h"

#define RETRY_NS  NSEC_PER_SEC
#define AGAIN_NS  (600 * NSEC_PER_SEC) /* DESIGN section 3: no client retries after 10 minutes */
#define NAME_COST 24u /* bytes of a name of a shared inode beside the name itself */
#define SIBLING_INLINE_MAX                                                                         \
    4096u /* DESIGN section 2: a second sibling's contents above go to chunks */

_Static_assert(KITH_CONTENT_INLINE_MAX >=
                   IMAGE_MAX + KITH_LINKS_MAX * (KITH_FS_NAME_MAX + NAME_COST),
               "an image that memory holds has room in the row beside all names");

/* What the names of a shared inode leave of the row. One more that is being added is not counted:
 * KITH_CONTENT_INLINE_MAX has room for it. fs->lock held. */
static size_t room_beside_names(const struct kith_inode *inode)
{
    size_t names = 0;
    for (uint32_t i = 0; i < inode->name_count && inode->shared; i++) {
        names += inode->names[i].name.size + NAME_COST;
    }
    return names < KITH_CONTENT_INLINE_MAX ? KITH_CONTENT_INLINE_MAX - names : 0;
}

/* How much contents may stay in the row. fs->lock held. */
static size_t inline_max(struct kith_inode *inode, struct kith_arena *arena)
{
    size_t max = room_beside_names(inode);
    struct kith_row context;
    struct kith_octets *ctx = kith_inode_ctx(inode);
    enum kith_err err = kith_row_decode(arena, kith_octets_bytes(ctx), &context);
    if ((err != KITH_OK || context.sibling_count > 0) && max > SIBLING_INLINE_MAX) {
        max = SIBLING_INLINE_MAX;
    }
    return max;
}

static void image_made(const struct kith_content_image *from, struct kith_image *ret_image)
{
    ret_image->bytes = from->encoded;
    ret_image->refs = from->refs;
    ret_image->ref_count = from->ref_count;
    ret_image->size = from->size;
    ret_image->allocated = from->allocated;
}

/* Stored contents that leave no room for the names of their inode go to chunks. */
static int make_room(struct kith_fs *fs, enum kith_durability durability, size_t max,
                     struct kith_arena *arena, struct kith_image *image)
{
    struct kith_content *content;
    struct kith_content_image made;
    uint64_t generation;
    enum kith_err err = kith_content_new(fs->store, image->bytes, &content);
    if (err != KITH_OK) {
        return kith_errno(err);
    }
    err = kith_content_flush(content, durability, max, arena, &made, &generation);
    kith_content_free(content);
    if (err == KITH_OK) {
        image_made(&made, image);
    }
    return kith_errno(err);
}

/* Of a file that is not open: from memory, or read again. */
static int closed_image(struct kith_fs *fs, struct kith_inode *inode,
                        enum kith_durability durability, struct kith_arena *arena,
                        struct kith_image *image)
{
    if (inode->type != KITH_TYPE_FILE || inode->pending) {
        pthread_mutex_unlock(&fs->lock);
        return 0;
    }
    struct kith_bytes bytes = kith_octets_bytes(&inode->image);
    const struct kith_chunk_id *refs = inode->image_refs;
    uint32_t ref_count = inode->image_ref_count;
    bool known = inode->image_known;
    image->size = inode->size;
    image->allocated = inode->allocated;
    struct kith_client_answer answer;
    struct kith_seen seen;
    size_t max = inode->shared ? room_beside_names(inode) : SIZE_MAX;
    int error = 0;
    if (!known) {
        pthread_mutex_unlock(&fs->lock);
        error = kith_inode_read(fs, inode, arena, &answer, &seen);
        if (error == 0) {
            bytes = seen.record.contents;
            refs = seen.winner->refs;
            ref_count = seen.winner->ref_count;
        }
    }
    if (error == 0) {
        image->bytes = kith_bytes_make(kith_arena_copy(arena, bytes.data, bytes.size), bytes.size);
        image->refs = kith_arena_copy(arena, refs, ref_count * sizeof *refs);
        image->ref_count = ref_count;
        if (image->bytes.data == NULL || image->refs == NULL) {
            error = ENOMEM;
        }
    }
    if (error == 0 && !known && image->bytes.size > 0) { /* perhaps another version than memory's */
        error = kith_errno(
            kith_content_image_stat(image->bytes, &image->size, &image->allocated));
    } else if (error == 0 && !known) {
        image->size = image->allocated = 0;
    }
    if (known) {
        pthread_mutex_unlock(&fs->lock);
    } else {
        kith_client_answer_release(&answer);
    }
    if (error == 0 && !known && image->bytes.size > max) {
        error = make_room(fs, durability, max, arena, image);
    }
    return error;
}

int kith_inode_image(struct kith_fs *fs, struct kith_inode *inode, enum kith_durability durability,
                     struct kith_arena *arena, struct kith_image *ret_image)
{
    memset(ret_image, 0, sizeof *ret_image);
    pthread_mutex_lock(&fs->lock);
    ret_image->write_version = inode->write_version;
    ret_image->attr_version = inode->attr_version;
    struct kith_content *content = inode->content;
    if (content == NULL) {
        return closed_image(fs, inode, durability, arena, ret_image);
    }
    size_t max = inline_max(inode, arena);
    pthread_mutex_unlock(&fs->lock);
    struct kith_content_image image;
    enum kith_err err =
        kith_content_flush(content, durability, max, arena, &image, &ret_image->generation);
    if (err != KITH_OK) {
        return kith_errno(err);
    }
    image_made(&image, ret_image);
    ret_image->flushed = true;
    return 0;
}

int kith_inode_image_now(struct kith_fs *fs, struct kith_inode *inode, struct kith_arena *arena,
                         struct kith_image *ret_image)
{
    memset(ret_image, 0, sizeof *ret_image);
    pthread_mutex_lock(&fs->lock);
    ret_image->write_version = inode->write_version;
    ret_image->attr_version = inode->attr_version;
    struct kith_content *content = inode->content;
    if (content == NULL) {
        if (inode->type == KITH_TYPE_FILE && !inode->pending && !inode->image_known) {
            pthread_mutex_unlock(&fs->lock);
            return EBUSY;
        }
        return closed_image(fs, inode, KITH_DURABLE_OS, arena, ret_image);
    }
    size_t max = inline_max(inode, arena);
    pthread_mutex_unlock(&fs->lock);
    struct kith_content_image image;
    enum kith_err err = kith_content_try_flush(content, max, arena, &image, &ret_image->generation);
    if (err != KITH_OK) {
        return err == KITH_EBUSY ? EBUSY : kith_errno(err);
    }
    ret_image->bytes = image.encoded;
    ret_image->size = image.size;
    ret_image->allocated = image.allocated;
    ret_image->flushed = true;
    return 0;
}

void kith_inode_image_stored(struct kith_fs *fs, struct kith_inode *inode,
                             const struct kith_image *image, const struct kith_dot *dot,
                             enum kith_durability durability)
{
    if (image->flushed) {
        kith_content_flushed(inode->content, image->generation);
    }
    pthread_mutex_lock(&fs->lock);
    static const struct kith_dot zero;
    struct kith_dot old = inode->has_dot ? inode->dot : zero;
    if (inode->has_kernel_dot && kith_dot_equal(&inode->kernel_dot, &old)) {
        inode->kernel_dot = *dot;
    }
    inode->dot = *dot;
    inode->has_dot = true;
    inode->pending = false;
    inode->write_flushed = image->write_version;
    if (inode->attr_version == image->attr_version) {
        inode->attr_flushed = image->attr_version;
        inode->attr_changed = 0;
    }
    if (inode->write_version == image->write_version && inode->type == KITH_TYPE_FILE) {
        inode->size = image->size;
        inode->allocated = image->allocated;
    } else if (kith_inode_dirty(inode)) {
        inode->dirty_since = kith_mono_ns();
    }
    inode->os_only = durability == KITH_DURABLE_OS;
    inode->attr_os_only = false; /* the row has all attributes */
    if (inode->shared && inode->name_count > 0) {
        inode->untold = false; /* and its names as they are in memory */
    }
    kith_inode_image_set(fs, inode, image->bytes, image->refs, image->ref_count);
    kith_link_recount_soon(fs, inode);
    inode->changed_at = kith_mono_ns();
    inode->valid_until = inode->changed_at + fs->entry_ns;
    if (inode->entry != NULL) {
        inode->entry->changed_at = inode->changed_at;
        inode->entry->valid_until = inode->valid_until;
    }
    pthread_mutex_unlock(&fs->lock);
}

void kith_put_failed(struct kith_fs *fs, const struct kith_inode *inode, int error)
{
    char path[KITH_ERROR_MESSAGE_SIZE];
    pthread_mutex_lock(&fs->lock);
    kith_inode_path(fs, inode, path, sizeof path);
    bool made = inode->pending && inode->awaited;
    pthread_mutex_unlock(&fs->lock);
    atomic_fetch_add(&fs->put_failures, 1);
    if (made) {
        kith_log_warn("flush", "%s could not be made: %s; it is not tried again", path,
                      strerror(error));
        return;
    }
    kith_log_warn("flush", "%s could not be stored yet: %s; it stays in memory and is tried again",
                  path, strerror(error));
}

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
    if (error == 0) {
        error = row_put_end(fs, inode, put, &result->u.put.results[0]);
        row_put_free(put);
    } else {
        row_put_failed(fs, inode, put, result->err);
    }
    return error;
}

/* Sends it and waits; the put is taken over. */
static int row_put_send(struct kith_fs *fs, struct kith_inode *inode, struct kith_row_put *put)
{
    struct kith_client_op op = row_put_op(put);
    struct kith_client_answer answer;
    answer.result.err = kith_client_call(fs->client, &op, &answer);
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
    return row_put_send(fs, inode, put);
}

/* What an inode has to put. fs->lock held. */
struct unsent {
    bool row;   /* its row, and with it its attributes */
    bool attrs; /* the attribute row beside it */
    bool names; /* what its names are now */
    bool count; /* whether they are */
};

static struct unsent unsent_of(const struct kith_inode *inode, enum kith_durability durability)
{
    bool disk = durability == KITH_DURABLE_DISK;
    struct unsent unsent = {.row = kith_inode_dirty(inode) || (disk && inode->os_only),
                            .names = inode->untold,
                            .count = inode->recount && kith_mono_ns() >= inode->recount_at};
    unsent.attrs = !unsent.row && (inode->attr_changed != 0 || (disk && inode->attr_os_only));
    return unsent;
}

/* The row itself, or the attribute row beside it. row_busy held. */
static int put_one(struct kith_fs *fs, struct kith_inode *inode, enum kith_durability durability,
                   bool attrs)
{
    struct kith_row_put *put = row_put_new(fs, durability);
    if (put == NULL) {
        return ENOMEM;
    }
    int error;
    if (attrs) {
        error = attr_put_make(fs, inode, put);
    } else {
        error = kith_inode_image(fs, inode, durability, &put->arena, &put->image);
        if (error == 0) {
            error = row_put_make(fs, inode, put);
        }
    }
    if (error == 0) {
        return row_put_send(fs, inode, put);
    }
    row_put_free(put);
    return error == ESTALE ? 0 : error;
}

/* It stays unsent; the timer tries again. */
static void flush_failed(struct kith_fs *fs, struct kith_inode *inode, int error)
{
    pthread_mutex_lock(&fs->lock);
    inode->retry_at = kith_mono_ns() + RETRY_NS;
    kith_inode_enqueue(fs, inode);
    pthread_mutex_unlock(&fs->lock);
    kith_put_failed(fs, inode, error);
}

int kith_inode_flush_busy(struct kith_fs *fs, struct kith_inode *inode,
                          enum kith_durability durability)
{
    int error = kith_inode_put_again(fs, inode);
    pthread_mutex_lock(&fs->lock);
    struct unsent unsent = unsent_of(inode, durability);
    bool unlinked = inode->unlinked;
    pthread_mutex_unlock(&fs->lock);
    if (unlinked ||
        (!unsent.row && !unsent.attrs && !unsent.names && !unsent.count)) {
        return 0;
    }
    if (error == 0 && unsent.names) {
        error = kith_inode_tell(fs, inode);
        pthread_mutex_lock(&fs->lock);
        unsent = unsent_of(inode, durability);
        unsent.row = unsent.row && !inode->unlinked; /* it was the last name that had gone */
        unsent.attrs = unsent.attrs && !inode->unlinked;
        pthread_mutex_unlock(&fs->lock);
    }
    if (error == 0 && (unsent.row || unsent.attrs)) {
        error = put_one(fs, inode, durability, unsent.attrs);
    }
    if (error != 0) {
        flush_failed(fs, inode, error);
    } else if (unsent.count) { /* nobody waits for that: it is tried again where it fails */
        (void)kith_link_recount(fs, inode);
    }
    return error;
}

int kith_inode_flush(struct kith_fs *fs, struct kith_inode *inode, enum kith_durability durability)
{
    pthread_mutex_lock(&fs->lock);
    struct unsent unsent = unsent_of(inode, durability);
    if (!unsent.row && !unsent.attrs && !unsent.names && !unsent.count && !inode->row_busy) {
        pthread_mutex_unlock(&fs->lock);
        return 0; /* a clean flush sends nothing */
    }
    kith_busy_take(fs, false, &inode, 1);
    pthread_mutex_unlock(&fs->lock);
    int error = kith_inode_flush_busy(fs, inode, durability);
    pthread_mutex_lock(&fs->lock);
    kith_busy_give(fs, false, &inode, 1);
    pthread_mutex_unlock(&fs->lock);
    return error;
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
        flush_failed(fs, inode, error);
    }
    done(done_arg, error);
}

bool kith_inode_put_begin(struct kith_fs *fs, struct kith_inode *inode,
                          enum kith_durability durability, void (*done)(void *arg, int error),
                          void *arg)
{
    pthread_mutex_lock(&fs->lock);
    KITH_ASSERT(inode->row_busy);
    struct unsent unsent = unsent_of(inode, durability);
    bool now = (unsent.row || unsent.attrs) && !unsent.names && !unsent.count &&
               !inode->unlinked && inode->again == NULL;
    pthread_mutex_unlock(&fs->lock);
    struct kith_row_put *put = now ? row_put_new(fs, durability) : NULL;
    if (put == NULL) {
        return false;
    }
    int error = unsent.attrs ? attr_put_make(fs, inode, put)
                             : kith_inode_image_now(fs, inode, &put->arena, &put->image);
    if (error == 0 && unsent.row) {
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

void kith_start_put(struct kith_job *job, enum kith_durability durability,
                    void (*done)(void *job, int error))
{
    struct kith_fs *fs = job->fs;
    struct kith_inode *inode = job->inode;
    pthread_mutex_lock(&fs->lock);
    struct unsent unsent = unsent_of(inode, durability);
    bool nothing = inode->unlinked ||
                   (!unsent.row && !unsent.attrs && !unsent.names && !unsent.count);
    bool now = !inode->row_busy;
    inode->row_busy = true;
    pthread_mutex_unlock(&fs->lock);
    if (!now) {
        kith_job_start(job);
        return;
    }
    kith_job_begin(job);
    if (nothing) {
        done(job, 0);
    } else if (!kith_inode_put_begin(fs, inode, durability, done, job)) {
        pthread_mutex_lock(&fs->lock);
        kith_busy_give(fs, false, &inode, 1);
        pthread_mutex_unlock(&fs->lock);
        kith_job_defer(job);
    }
}

static void flush_done(void *arg, int error)
{
    struct kith_job *job = arg;
    pthread_mutex_lock(&job->fs->lock);
    kith_busy_give(job->fs, false, &job->inode, 1);
    pthread_mutex_unlock(&job->fs->lock);
    kith_job_fail(job, error);
    kith_job_end(job);
}

void kith_start_flush(struct kith_job *job, enum kith_durability durability)
{
    kith_start_put(job, durability, flush_done);
}

/* The next one with something unsent, held; NULL when there is none. */
static struct kith_inode *next_unsent(struct kith_fs *fs)
{
    struct kith_inode *found = NULL;
    pthread_mutex_lock(&fs->lock);
    struct kith_inode *inode = fs->dirty;
    while (inode != NULL && found == NULL) {
        if (!inode->unlinked &&
            (kith_inode_dirty(inode) || inode->attr_changed != 0 || inode->untold ||
             inode->recount)) {
            found = inode;
            inode->recount_at = 0; /* at once: the mount ends */
            kith_inode_hold(inode);
        }
        inode = inode->dirty_next == fs->dirty ? NULL : inode->dirty_next;
    }
    pthread_mutex_unlock(&fs->lock);
    return found;
}

/* Gives up what could not be put, by name. */
static unsigned give_up(struct kith_fs *fs)
{
    unsigned lost = 0;
    struct kith_inode *inode;
    while ((inode = next_unsent(fs)) != NULL) {
        char path[KITH_ERROR_MESSAGE_SIZE];
        pthread_mutex_lock(&fs->lock);
        bool counts = kith_inode_dirty(inode) || inode->attr_changed != 0 || inode->untold;
        inode->recount = false;
        kith_inode_path(fs, inode, path, sizeof path);
        kith_inode_put_forget(inode);
        inode->write_flushed = inode->write_version;
        inode->pending = inode->untold = false;
        inode->attr_changed = 0;
        kith_inode_drop(fs, inode);
        pthread_mutex_unlock(&fs->lock);
        if (counts) {
            kith_log_error("flush", "%s could not be stored and is given up", path);
            lost++;
        }
    }
    return lost;
}

unsigned kith_fs_flush_all(struct kith_fs *fs, uint64_t deadline)
{
    struct kith_inode *inode;
    kith_link_left_end(fs);
    while ((inode = next_unsent(fs)) != NULL && kith_mono_ns() < deadline) {
        int error = kith_inode_flush(fs, inode, KITH_DURABLE_OS);
        bool wait = error != 0;
        pthread_mutex_lock(&fs->lock);
        inode->recount = false; /* once; the next mount that meets it does what is left */
        if (wait) { /* others first; and not more often than the timer would */
            struct timespec until;
            clock_gettime(CLOCK_REALTIME, &until);
            until.tv_sec += 1;
            fs->dirty = fs->dirty != NULL ? fs->dirty->dirty_next : NULL;
            pthread_cond_timedwait(&fs->changed, &fs->lock, &until);
        }
        kith_inode_drop(fs, inode);
        inode = NULL;
        pthread_mutex_unlock(&fs->lock);
    }
    if (inode != NULL) {
        pthread_mutex_lock(&fs->lock);
        kith_inode_drop(fs, inode);
        pthread_mutex_unlock(&fs->lock);
    }
    if (kith_mono_ns() < deadline) {
        kith_link_left_end(fs);
    }
    return give_up(fs);
}

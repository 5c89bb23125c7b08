/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * flush.c - the image of the contents, and everything that it names safe in the cluster.
 *
 *     cut the pieces -> rewrite crowded regions -> encode (list chunks where the row has no room)
 *     -> send what is named and not stored, wait -> for `disk`: one sync for all -> image
 *
 * Everything goes out at `os` and is synced once: one flush of the log of each node for the whole
 * file, instead of one for each chunk. */
#include <string.h>
#include <time.h>

#include "fs/content/impl.h"

#define BODY_MIN (16u << 10) /* bytes: a list of extents up to this may always be in the row */
#define ENTRY_MAX 64u        /* bytes of a list's entry, at most */
#define FLAT_EXTENTS_MAX 4096u           /* more are not even tried */

/* ---- becoming small again ---- */

/* With the lock, given up meanwhile. A file that shrank goes back to inline bytes; where they
 * cannot be read now it stays as it is. */
static void gather(struct kith_content *content, size_t inline_max)
{
    uint64_t generation = content->generation;
    size_t size = (size_t)content->size, got = 0;
    if (content->is_inline || content->size > inline_max) {
        return;
    }
    uint8_t *bytes = kith_malloc(size + 1);
    if (bytes == NULL) {
        return;
    }
    pthread_mutex_unlock(&content->lock);
    enum kith_err err = kith_content_read(content, 0, bytes, size, &got);
    pthread_mutex_lock(&content->lock);
    if (err != KITH_OK || got != size || generation != content->generation) {
        kith_free(bytes);
        return;
    }
    kith_pieces_release(content);
    kith_extents_release(&content->extents);
    kith_free(content->index);
    content->index = NULL;
    content->index_count = 0;
    content->bytes = bytes;
    content->bytes_capacity = size + 1;
    content->is_inline = true;
    kith_content_inline_charge(content, true);
}

/* ---- rewriting crowded regions ---- */

/* Moves the runs of the region in `blob` (its bytes from `start` on) together at the front, and
 * makes them one chunk. Fits: each run is one extent afterwards. */
static enum kith_err rewrite(struct kith_content *content, uint64_t start, struct kith_blob *blob)
{
    uint64_t end = start + KITH_REGION_SIZE;
    struct kith_extent runs[KITH_REGION_SIZE / KITH_HOLE_MIN + 1];
    uint32_t count = 0;
    size_t packed = 0;
    const struct kith_extent *extent = kith_extents_find(&content->extents, start);
    for (; extent != NULL && extent->offset < end;
         extent = kith_extents_find(&content->extents, extent->offset + extent->length)) {
        struct kith_extent *run = count == 0 ? NULL : &runs[count - 1];
        if (run != NULL && extent->offset - run->offset - run->length < KITH_HOLE_MIN) {
            run->length = (uint32_t)(extent->offset + extent->length - run->offset);
        } else {
            KITH_ASSERT(count < sizeof(runs) / sizeof(runs[0]));
            runs[count].offset = extent->offset;
            runs[count].length = extent->length;
            count++;
        }
    }
    for (uint32_t i = 0; i < count; i++) {
        runs[i].chunk_offset = (uint32_t)packed;
        memmove(blob->data + packed, blob->data + (runs[i].offset - start), runs[i].length);
        packed += runs[i].length;
    }
    blob->size = packed;
    struct upload *upload = NULL;
    enum kith_err err = kith_upload_new(content, KITH_IMAGE_EXTENTS, start, kith_blob_hold(blob),
                                        0, &upload);
    if (err != KITH_OK) {
        kith_blob_drop(blob);
        return err;
    }
    kith_upload_first(upload); /* large, and nothing replaces it before the flush ends */
    upload->charge = packed;
    kith_store_charge(content->store, packed, 0);
    for (uint32_t i = 0; i < count && err == KITH_OK; i++) {
        runs[i].chunk = upload->ref;
        err = kith_extents_insert(&content->extents, &runs[i]);
    }
    return err;
}

/* With the lock: what waits to be sent and was replaced by the rewriting of its region. */
static void drop_replaced(struct kith_content *content, uint64_t start)
{
    struct upload *upload = content->uploads[UPLOAD_QUEUED].head;
    while (upload != NULL) {
        struct upload *next = upload->next;
        if (upload->kind == KITH_IMAGE_EXTENTS && upload->start == start &&
            !kith_upload_is_named(upload)) {
            kith_upload_drop(upload);
        }
        upload = next;
    }
}

/* Regions that were rewritten leave early: a file has as many as it is large. What fails stays in
 * memory, and the flush sends it once more with the rest. */
void kith_flush_relieve(struct kith_content *content)
{
    if (!kith_store_is_pressed(content->store)) {
        return;
    }
    content->paused = false;
    pthread_mutex_unlock(&content->lock);
    kith_uploads_pump(content);
    pthread_mutex_lock(&content->lock);
    while (content->uploads[UPLOAD_SENT].count > 0 && !content->paused &&
           kith_store_is_pressed(content->store)) {
        pthread_cond_wait(&content->cond, &content->lock);
    }
    content->paused = true;
    content->failure = KITH_OK;
}

/* With the lock, given up meanwhile. */
static enum kith_err compact(struct kith_content *content)
{
    uint64_t at = 0, start;
    uint32_t tries = 0;
    enum kith_err err = KITH_OK;
    while (err == KITH_OK && kith_extents_crowded(&content->extents, at, &start)) {
        uint64_t generation = content->generation;
        size_t got = 0;
        struct kith_blob *blob = kith_blob_new(KITH_REGION_SIZE);
        if (blob == NULL) {
            return KITH_ENOMEM;
        }
        pthread_mutex_unlock(&content->lock);
        err = kith_content_read(content, start, blob->data, KITH_REGION_SIZE, &got);
        pthread_mutex_lock(&content->lock);
        if (err == KITH_OK) {
            err = kith_regions_cut(content);
        }
        if (err == KITH_OK && generation == content->generation) {
            err = rewrite(content, start, blob);
            drop_replaced(content, start);
            at = start + KITH_REGION_SIZE;
            tries = 0;
        } else if (err == KITH_OK && ++tries == COMPACT_TRIES) {
            at = start + KITH_REGION_SIZE; /* somebody keeps writing: the next flush does it */
            tries = 0;
        }
        kith_blob_drop(blob);
        kith_flush_relieve(content);
    }
    return err;
}

/* ---- encoding ---- */

static enum kith_err queue_list(struct kith_content *content, enum kith_image_kind kind,
                                uint64_t start, const struct kith_buf *buf,
                                struct kith_chunk_id *refs, uint32_t ref_count,
                                struct kith_chunk_ref *ret_ref)
{
    struct upload *upload = NULL;
    if (buf->failed) {
        return KITH_ENOMEM;
    }
    if (buf->size > KITH_CHUNK_MAX) {
        return KITH_ELIMIT; /* one region with more extents than a chunk can list */
    }
    struct kith_blob *blob = kith_blob_new(buf->size);
    if (blob == NULL) {
        return KITH_ENOMEM;
    }
    memcpy(blob->data, buf->data, buf->size);
    enum kith_err err = kith_upload_new(content, kind, start, blob, 0, &upload);
    if (err != KITH_OK) {
        kith_blob_drop(blob);
        return err;
    }
    upload->refs = refs;
    upload->ref_count = ref_count;
    upload->charge = blob->size;
    kith_store_charge(content->store, upload->charge, 0);
    *ret_ref = upload->ref;
    return KITH_OK;
}

static enum kith_err store_leaf(struct kith_content *content, struct kith_leaf *leaf)
{
    if (leaf->count > KITH_LEAF_EXTENTS_MAX) {
        return KITH_ELIMIT;
    }
    struct kith_buf buf;
    struct kith_chunk_id *refs = kith_calloc(leaf->count + 1u, sizeof(*refs));
    if (refs == NULL) {
        return KITH_ENOMEM;
    }
    uint32_t ref_count = 0;
    kith_buf_init(&buf);
    kith_buf_put_u8(&buf, KITH_IMAGE_FORMAT);
    kith_buf_put_u8(&buf, KITH_IMAGE_LEAF);
    enum kith_err err = kith_leaf_encode(leaf, leaf->start, &buf, refs, &ref_count);
    if (err == KITH_OK) {
        err = queue_list(content, KITH_IMAGE_LEAF, leaf->start, &buf, refs, ref_count, &leaf->ref);
    }
    if (err == KITH_OK) {
        leaf->stored = true;
    } else {
        kith_free(refs);
    }
    kith_buf_release(&buf);
    return err;
}

/* Index chunks over the entries; one that says the same as before keeps its chunk. */
static enum kith_err store_index(struct kith_content *content,
                                 const struct kith_list_entry *entries, uint32_t count,
                                 struct kith_arena *arena, struct kith_list_entry **ret_index,
                                 uint32_t *ret_count)
{
    uint32_t groups = (count + KITH_INDEX_ENTRIES - 1) / KITH_INDEX_ENTRIES;
    struct kith_list_entry *index = kith_arena_calloc(arena, groups, sizeof(*index));
    struct kith_chunk_ref *known = kith_calloc(groups, sizeof(*known));
    enum kith_err err = index == NULL || known == NULL ? KITH_ENOMEM : KITH_OK;
    for (uint32_t g = 0; g < groups && err == KITH_OK; g++) {
        const struct kith_list_entry *first = entries + (size_t)g * KITH_INDEX_ENTRIES;
        uint32_t members = count - g * KITH_INDEX_ENTRIES;
        members = members < KITH_INDEX_ENTRIES ? members : KITH_INDEX_ENTRIES;
        struct kith_buf buf;
        kith_buf_init(&buf);
        kith_buf_put_u8(&buf, KITH_IMAGE_FORMAT);
        kith_buf_put_u8(&buf, KITH_IMAGE_LISTS);
        kith_entries_encode(first, members, first->start, &buf);
        index[g].start = first->start;
        struct kith_checksum checksum = kith_checksum_of(kith_buf_bytes(&buf));
        struct kith_chunk_id *refs = kith_calloc(members, sizeof(*refs));
        err = refs == NULL || buf.failed ? KITH_ENOMEM : KITH_OK;
        for (uint32_t i = 0; i < members && err == KITH_OK; i++) {
            index[g].allocated += first[i].allocated;
            refs[i] = first[i].ref.id;
        }
        if (err == KITH_OK && g < content->index_count &&
            kith_checksum_equal(&content->index[g].checksum, &checksum)) {
            index[g].ref = content->index[g];
            kith_free(refs);
        } else if (err == KITH_OK) {
            err = queue_list(content, KITH_IMAGE_LISTS, first->start, &buf, refs, members,
                             &index[g].ref);
        }
        if (err != KITH_OK) {
            kith_free(refs);
        } else {
            known[g] = index[g].ref;
        }
        kith_buf_release(&buf);
    }
    if (err != KITH_OK) {
        kith_free(known);
        return err;
    }
    kith_free(content->index);
    content->index = known;
    content->index_count = groups;
    *ret_index = index;
    *ret_count = groups;
    return KITH_OK;
}

static enum kith_err image_lists(struct kith_content *content, struct kith_arena *arena,
                                 size_t body_max, struct kith_buf *buf,
                                 struct kith_content_image *image)
{
    struct kith_extents *list = &content->extents;
    kith_extents_tidy(list);
    uint32_t count = list->leaf_count;
    struct kith_list_entry *entries = kith_arena_calloc(arena, count, sizeof(*entries));
    if (entries == NULL) {
        return KITH_ENOMEM;
    }
    for (uint32_t i = 0; i < count; i++) {
        struct kith_leaf *leaf = &list->leaves[i];
        enum kith_err err = leaf->stored ? KITH_OK : store_leaf(content, leaf);
        if (err != KITH_OK) {
            return err;
        }
        entries[i] = (struct kith_list_entry){leaf->start, leaf->allocated, leaf->ref};
    }
    enum kith_image_kind kind = KITH_IMAGE_LISTS;
    if (count > KITH_INDEX_ENTRIES || (size_t)count * ENTRY_MAX > body_max) {
        enum kith_err err = store_index(content, entries, count, arena, &entries, &count);
        if (err != KITH_OK) {
            return err;
        }
        kind = KITH_IMAGE_INDEX;
    }
    kith_image_put_head(buf, kind, content->size, list->allocated);
    kith_entries_encode(entries, count, 0, buf);
    struct kith_chunk_id *refs = kith_arena_calloc(arena, count, sizeof(*refs));
    if (refs == NULL || buf->failed) {
        return KITH_ENOMEM;
    }
    for (uint32_t i = 0; i < count; i++) {
        refs[i] = entries[i].ref.id;
    }
    image->refs = refs;
    image->ref_count = count;
    return buf->size > KITH_INLINE_VALUE_MAX ? KITH_ELIMIT : KITH_OK;
}

/* All extents in the row itself; ETOOBIG where they do not fit. */
static enum kith_err image_flat(struct kith_content *content, struct kith_arena *arena,
                                size_t body_max, struct kith_buf *buf,
                                struct kith_content_image *image)
{
    const struct kith_extents *list = &content->extents;
    if (list->count > FLAT_EXTENTS_MAX) {
        return KITH_ETOOBIG;
    }
    struct kith_leaf all = {.count = 0};
    all.extents = kith_arena_calloc(arena, (size_t)list->count, sizeof(*all.extents));
    struct kith_chunk_id *refs = kith_arena_calloc(arena, (size_t)list->count, sizeof(*refs));
    if (all.extents == NULL || refs == NULL) {
        return KITH_ENOMEM;
    }
    for (uint32_t i = 0; i < list->leaf_count; i++) {
        const struct kith_leaf *leaf = &list->leaves[i];
        if (leaf->count > 0) {
            memcpy(all.extents + all.count, leaf->extents, leaf->count * sizeof(*all.extents));
            all.count += leaf->count;
        }
    }
    kith_image_put_head(buf, KITH_IMAGE_EXTENTS, content->size, list->allocated);
    enum kith_err err = kith_leaf_encode(&all, 0, buf, refs, &image->ref_count);
    image->refs = refs;
    return err == KITH_OK && buf->size > body_max ? KITH_ETOOBIG : err;
}

/* With the lock. inline_max: the room in the row, for lists as for bytes. */
static enum kith_err make_image(struct kith_content *content, struct kith_arena *arena,
                                size_t inline_max, struct kith_content_image *image)
{
    size_t body_max = inline_max > BODY_MIN ? inline_max : BODY_MIN;
    struct kith_buf buf;
    kith_buf_init(&buf);
    memset(image, 0, sizeof(*image));
    image->size = content->size;
    image->allocated = content->is_inline ? content->size : content->extents.allocated;
    enum kith_err err;
    if (content->is_inline) {
        kith_image_put_head(&buf, KITH_IMAGE_INLINE, content->size, content->size);
        kith_buf_put(&buf, content->bytes, (size_t)content->size);
        err = KITH_OK;
    } else {
        err = image_flat(content, arena, body_max, &buf, image);
        if (err == KITH_ETOOBIG) {
            kith_buf_clear(&buf);
            err = image_lists(content, arena, body_max, &buf, image);
        }
    }
    if (err == KITH_OK && buf.failed) {
        err = KITH_ENOMEM;
    }
    if (err == KITH_OK) {
        image->encoded.data = kith_arena_copy(arena, buf.data, buf.size);
        image->encoded.size = buf.size;
        err = image->encoded.data == NULL ? KITH_ENOMEM : KITH_OK;
    }
    kith_buf_release(&buf);
    return err;
}

/* ---- sending and waiting ---- */

/* With the lock: forgets what nobody names any more, and marks what this flush needs. */
static void select_wanted(struct kith_content *content, bool stored_too)
{
    content->flush_waiting = 0;
    content->flush_err = KITH_OK;
    while (content->uploads[UPLOAD_FAILED].head != NULL) { /* once more */
        kith_upload_move(content->uploads[UPLOAD_FAILED].head, UPLOAD_QUEUED);
    }
    for (unsigned state = 0; state < UPLOAD_STATES; state++) {
        if (state == UPLOAD_STORED && !stored_too) {
            continue;
        }
        struct upload *upload = content->uploads[state].head;
        while (upload != NULL) {
            struct upload *next = upload->next;
            bool named = !content->is_inline && kith_upload_is_named(upload);
            if (named) {
                upload->wanted = content->flush_serial;
                content->flush_waiting += state != UPLOAD_STORED;
            } else if (state != UPLOAD_SENT) {
                kith_upload_drop(upload);
            }
            upload = next;
        }
    }
    if (stored_too) {
        content->prune_at = 1024u + 2u * content->uploads[UPLOAD_STORED].count;
    }
}

/* With the lock, given up meanwhile. Each transfer ends by its deadline, so this does. */
static enum kith_err send_wanted(struct kith_content *content)
{
    content->paused = false;
    pthread_mutex_unlock(&content->lock);
    kith_uploads_pump(content);
    pthread_mutex_lock(&content->lock);
    while (content->flush_waiting > 0 && content->flush_err == KITH_OK) {
        if (content->paused) { /* something unwanted failed meanwhile: the rest goes on */
            content->paused = false;
            pthread_mutex_unlock(&content->lock);
            kith_uploads_pump(content);
            pthread_mutex_lock(&content->lock);
            continue;
        }
        pthread_cond_wait(&content->cond, &content->lock);
    }
    return content->flush_err;
}

/* ---- syncing ---- */

struct sync {
    struct kith_chunk_ref *refs;
    size_t count, capacity;
    bool failed;
};

static void sync_add(struct sync *sync, const struct kith_chunk_ref *ref)
{
    if (sync->count == sync->capacity && !sync->failed) {
        size_t capacity = sync->capacity == 0 ? 64 : sync->capacity * 2;
        struct kith_chunk_ref *refs = kith_realloc(sync->refs, capacity * sizeof(*refs));
        sync->failed = refs == NULL;
        sync->refs = refs == NULL ? sync->refs : refs;
        sync->capacity = refs == NULL ? sync->capacity : capacity;
    }
    if (!sync->failed) {
        sync->refs[sync->count++] = *ref;
    }
}

/* With the lock: our own chunks, and young ones that came with the image. */
static void sync_collect(struct kith_content *content, struct sync *sync)
{
    for (struct upload *upload = content->uploads[UPLOAD_STORED].head; upload != NULL;
         upload = upload->next) {
        if (upload->wanted == content->flush_serial) {
            sync_add(sync, &upload->ref);
        }
    }
    if (content->others_synced) {
        return;
    }
    struct timespec now;
    KITH_ASSERT(clock_gettime(CLOCK_REALTIME, &now) == 0);
    uint64_t now_ms = (uint64_t)now.tv_sec * 1000u + (uint64_t)now.tv_nsec / 1000000u;
    const struct kith_extents *list = &content->extents;
    for (uint32_t i = 0; i < list->leaf_count; i++) {
        const struct kith_leaf *leaf = &list->leaves[i];
        if (leaf->stored && kith_chunk_id_time_ms(&leaf->ref.id) + SYNC_AGE_MS > now_ms) {
            sync_add(sync, &leaf->ref);
        }
        for (uint32_t k = 0; k < leaf->count; k++) {
            const struct kith_chunk_ref *ref = &leaf->extents[k].chunk;
            bool same = k > 0 && memcmp(&leaf->extents[k - 1].chunk.id, &ref->id,
                                        sizeof(ref->id)) == 0;
            if (!same && kith_chunk_id_time_ms(&ref->id) + SYNC_AGE_MS > now_ms) {
                sync_add(sync, ref);
            }
        }
    }
    for (uint32_t i = 0; i < content->index_count; i++) {
        if (kith_chunk_id_time_ms(&content->index[i].id) + SYNC_AGE_MS > now_ms) {
            sync_add(sync, &content->index[i]);
        }
    }
}

/* With the lock, given up meanwhile: puts a chunk again that its owners have lost. */
static enum kith_err put_again(struct kith_content *content, const struct kith_chunk_ref *ref)
{
    struct kith_content_store *store = content->store;
    struct kith_client_op op = {.kind = KITH_CLIENT_CHUNK_PUT, .timeout_ms = store->timeout_ms};
    struct upload *upload = content->uploads[UPLOAD_STORED].head;
    while (upload != NULL && memcmp(&upload->ref.id, &ref->id, sizeof(ref->id)) != 0) {
        upload = upload->next;
    }
    if (upload != NULL) { /* a flush alone drops stored ones, and this is the flush */
        op.u.chunk_put.refs = upload->refs;
        op.u.chunk_put.ref_count = upload->ref_count;
    }
    for (uint32_t i = 0; i < content->extents.leaf_count && upload == NULL; i++) {
        struct kith_leaf *leaf = &content->extents.leaves[i];
        if (leaf->stored && memcmp(&leaf->ref.id, &ref->id, sizeof(ref->id)) == 0) {
            leaf->stored = false; /* written anew by the next flush, with its references */
            kith_content_touch(content);
            return KITH_EIO;
        }
    }
    pthread_mutex_unlock(&content->lock);
    struct entry *entry;
    struct kith_blob *blob = NULL;
    enum kith_err err = kith_store_fetch(store, ref, &entry);
    if (err == KITH_OK) {
        err = kith_store_wait(entry, &blob);
    }
    if (err == KITH_OK) {
        struct kith_client_answer answer;
        op.u.chunk_put.id = ref->id;
        op.u.chunk_put.durability = KITH_DURABLE_DISK;
        op.u.chunk_put.checksum = ref->checksum;
        op.u.chunk_put.payload = blob;
        err = kith_client_call(store->client, &op, &answer);
        kith_client_answer_release(&answer);
        kith_blob_drop(blob);
    }
    pthread_mutex_lock(&content->lock);
    return err;
}

static enum kith_err sync_batch(struct kith_content *content, const struct kith_chunk_ref *refs,
                                uint32_t count)
{
    struct kith_chunk_id *ids = kith_calloc(count, sizeof(*ids));
    if (ids == NULL) {
        return KITH_ENOMEM;
    }
    for (uint32_t i = 0; i < count; i++) {
        ids[i] = refs[i].id;
    }
    struct kith_client_op op = {.kind = KITH_CLIENT_CHUNK_SYNC,
                                .timeout_ms = content->store->timeout_ms};
    op.u.chunk_sync.id_count = count;
    op.u.chunk_sync.ids = ids;
    struct kith_client_answer answer;
    pthread_mutex_unlock(&content->lock);
    enum kith_err err = kith_client_call(content->store->client, &op, &answer);
    pthread_mutex_lock(&content->lock);
    uint32_t missing = err == KITH_OK ? answer.result.u.chunk_sync.missing_count : 0;
    for (uint32_t i = 0; i < missing && err == KITH_OK; i++) {
        uint32_t at = 0;
        while (at < count && memcmp(&ids[at], &answer.result.u.chunk_sync.missing[i],
                                    sizeof(ids[at])) != 0) {
            at++;
        }
        if (at < count) {
            err = put_again(content, &refs[at]);
        }
    }
    kith_client_answer_release(&answer);
    kith_free(ids);
    return err;
}

/* With the lock, given up meanwhile. */
static enum kith_err sync_wanted(struct kith_content *content)
{
    struct sync sync = {NULL, 0, 0, false};
    sync_collect(content, &sync);
    enum kith_err err = sync.failed ? KITH_ENOMEM : KITH_OK;
    for (size_t at = 0; at < sync.count && err == KITH_OK; at += SYNC_IDS_MAX) {
        err = sync_batch(content, sync.refs + at,
                         (uint32_t)kith_min_size(SYNC_IDS_MAX, sync.count - at));
    }
    kith_free(sync.refs);
    struct upload *upload = content->uploads[UPLOAD_STORED].head;
    while (err == KITH_OK && upload != NULL) { /* durable: nothing left to remember */
        struct upload *next = upload->next;
        if (upload->wanted == content->flush_serial) {
            kith_upload_drop(upload);
        }
        upload = next;
    }
    return err;
}

/* ---- the flush ---- */

/* With the lock, given up meanwhile: contents in the form in which they will be stored. */
static enum kith_err prepare(struct kith_content *content, size_t inline_max)
{
    enum kith_err err = kith_content_load(content);
    if (err != KITH_OK) {
        return err;
    }
    content->paused = true; /* what a rewrite replaces is not sent first */
    gather(content, inline_max);
    if (content->is_inline && content->size <= inline_max) {
        return KITH_OK;
    }
    err = kith_content_spread(content);
    if (err == KITH_OK) {
        err = kith_regions_cut(content);
    }
    if (err == KITH_OK) {
        err = kith_content_renew(content);
    }
    if (err == KITH_OK) {
        err = compact(content);
    }
    return err == KITH_OK ? kith_regions_cut(content) : err;
}

/* With the lock, given up meanwhile: the image, with all that it names at `os`. */
static enum kith_err send_image(struct kith_content *content, bool disk, size_t inline_max,
                                struct kith_arena *arena, struct kith_content_image *image,
                                uint64_t *ret_generation)
{
    enum kith_err err = prepare(content, inline_max);
    *ret_generation = content->generation;
    if (err == KITH_OK) {
        err = make_image(content, arena, inline_max, image);
    }
    if (err == KITH_OK) {
        select_wanted(content, disk || content->uploads[UPLOAD_STORED].count > content->prune_at);
        err = send_wanted(content);
    }
    return err;
}

enum kith_err kith_content_flush(struct kith_content *content, enum kith_durability durability,
                                 size_t inline_max, struct kith_arena *arena,
                                 struct kith_content_image *ret_image, uint64_t *ret_generation)
{
    struct kith_content_image image = {.size = 0};
    bool disk = durability == KITH_DURABLE_DISK;
    pthread_mutex_lock(&content->lock);
    while (content->flushing) {
        pthread_cond_wait(&content->cond, &content->lock);
    }
    content->flushing = true;
    content->flush_serial++;
    content->failure = KITH_OK; /* tried again now: told only if that fails too */
    inline_max = kith_min_size(inline_max, KITH_CONTENT_INLINE_MAX);
    uint64_t generation;
    enum kith_err err = send_image(content, disk, inline_max, arena, &image, &generation);
    if (err == KITH_EREFUSED) { /* a list of chunks: one that it names may be gone */
        kith_content_store_refused(content->store);
        err = send_image(content, disk, inline_max, arena, &image, &generation);
    }
    content->paused = content->uploads[UPLOAD_FAILED].count > 0;
    if (err == KITH_OK && disk) {
        err = sync_wanted(content);
        if (err == KITH_OK && generation == content->generation) { /* else new ones may have come */
            content->others_synced = true;
        }
    }
    content->flushing = false;
    pthread_cond_broadcast(&content->cond);
    pthread_mutex_unlock(&content->lock);
    kith_uploads_pump(content);
    if (err == KITH_OK) {
        *ret_image = image;
        *ret_generation = generation;
    }
    return err;
}

enum kith_err kith_content_try_flush(struct kith_content *content, size_t inline_max,
                                     struct kith_arena *arena,
                                     struct kith_content_image *ret_image, uint64_t *ret_generation)
{
    if (pthread_mutex_trylock(&content->lock) != 0) {
        return KITH_EBUSY;
    }
    inline_max = kith_min_size(inline_max, KITH_CONTENT_INLINE_MAX);
    bool small = !content->flushing && !content->loading && content->failure == KITH_OK &&
                 content->lists.kind == KITH_IMAGE_INLINE && content->is_inline &&
                 content->size <= inline_max && content->extents.leaf_count == 0 &&
                 content->region_count == 0 && content->index_count == 0;
    for (unsigned state = 0; state < UPLOAD_STATES; state++) {
        small = small && content->uploads[state].count == 0;
    }
    enum kith_err err = KITH_EBUSY;
    if (small) {
        *ret_generation = content->generation;
        err = make_image(content, arena, inline_max, ret_image);
    }
    pthread_mutex_unlock(&content->lock);
    return err;
}

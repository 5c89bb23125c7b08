/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * rows.c - requests to the cluster from threads that may wait, and contexts. */
#include <string.h>

#include "fs/fs.h"
#include "fs/rows/rows.h"

#define NSEC_PER_MSEC   UINT64_C(1000000)
#define TELL_EACH_NS    (10 * NSEC_PER_SEC)
#define AGAIN_PAUSE_NS  (NSEC_PER_SEC / 5)     /* between tries of a put whose outcome is unknown */
#define XATTR_PAGE_ROWS (KITH_XATTRS_MAX + 4u) /* nearly always all of a file's, and the end */

bool kith_octets_set(struct kith_octets *octets, struct kith_bytes bytes)
{
    if (bytes.size != octets->size) {
        uint8_t *data = bytes.size == 0 ? NULL : kith_malloc(bytes.size);
        if (data == NULL && bytes.size > 0) {
            return false;
        }
        kith_free(octets->data);
        octets->data = data;
        octets->size = bytes.size;
    }
    if (bytes.size > 0) {
        memmove(octets->data, bytes.data, bytes.size);
    }
    return true;
}

void kith_octets_clear(struct kith_octets *octets)
{
    kith_free(octets->data);
    octets->data = NULL;
    octets->size = 0;
}

void kith_rows_failed(struct kith_fs *fs, const struct kith_client_result *result)
{
    bool nodes = result->err == KITH_EUNREACH || result->err == KITH_EUNKNOWN ||
                 result->err == KITH_ETIMEOUT;
    uint64_t now = kith_mono_ns();
    uint64_t told = atomic_load(&fs->failed_told_ns);
    bool tell = nodes && (told == 0 || now - told >= TELL_EACH_NS) &&
                atomic_compare_exchange_strong(&fs->failed_told_ns, &told, now);
    const char *why = result->message != NULL ? result->message : "";
    const char *what = kith_err_text((int)result->err);
    if (tell) {
        kith_log_warn("rows", "request failed: %s (%s)", why, what);
    } else {
        kith_log_debug("rows", "request failed: %s (%s)", why, what);
    }
}

static int rows_call(struct kith_fs *fs, const struct kith_client_op *op,
                     struct kith_client_answer *ret_answer)
{
    enum kith_err err = kith_client_call(fs->client, op, ret_answer);
    if (err != KITH_OK && op->kind != KITH_CLIENT_PUT) {
        kith_rows_failed(fs, &ret_answer->result);
    }
    return kith_errno(err);
}

int kith_rows_get(struct kith_fs *fs, const struct kith_group *group,
                  const struct kith_bytes names[], uint32_t count,
                  struct kith_client_answer *ret_answer)
{
    struct kith_client_op op = {.kind = KITH_CLIENT_GET};
    op.u.get.group = *group;
    op.u.get.names = names;
    op.u.get.name_count = count;
    return rows_call(fs, &op, ret_answer);
}

int kith_rows_get_strict(struct kith_fs *fs, const struct kith_group *group,
                         const struct kith_bytes names[], uint32_t count,
                         struct kith_client_answer *ret_answer)
{
    struct kith_client_op op = {.kind = KITH_CLIENT_GET, .strict = true};
    op.u.get.group = *group;
    op.u.get.names = names;
    op.u.get.name_count = count;
    return kith_errno(kith_client_call(fs->client, &op, ret_answer));
}

int kith_rows_scan(struct kith_fs *fs, const struct kith_group *group,
                   const struct kith_bytes *after, uint32_t max_rows, bool strict,
                   struct kith_client_answer *ret_answer)
{
    struct kith_client_op op = {.kind = KITH_CLIENT_SCAN, .strict = strict};
    op.u.scan.group = *group;
    op.u.scan.max_rows = max_rows;
    if (after != NULL) {
        op.u.scan.has_after = true;
        op.u.scan.after = *after;
    }
    return rows_call(fs, &op, ret_answer);
}

int kith_rows_groups(struct kith_fs *fs, uint32_t partition, const struct kith_group *after,
                     struct kith_client_answer *ret_answer)
{
    struct kith_client_op op = {.kind = KITH_CLIENT_GROUPS};
    op.u.groups.partition = partition;
    op.u.groups.volume = fs->volume;
    if (after != NULL) {
        op.u.groups.has_after = true;
        op.u.groups.after = *after;
    }
    return kith_errno(kith_client_call(fs->client, &op, ret_answer));
}

/* One page of the rows behind *after, which becomes the last of them. */
static int xattrs_page(struct kith_fs *fs, const struct kith_group *group, struct kith_bytes base,
                       bool strict, struct kith_rowname *after, bool *ret_more,
                       int (*each)(void *arg, const struct kith_client_row *row,
                                   struct kith_bytes attribute),
                       void *arg)
{
    struct kith_client_answer answer;
    struct kith_bytes start = kith_rowname_bytes(after);
    int error = kith_rows_scan(fs, group, &start, XATTR_PAGE_ROWS, strict, &answer);
    bool more = error == 0 && answer.result.u.rows.more;
    struct kith_bytes last = more ? answer.result.u.rows.last : kith_bytes_make(NULL, 0);
    for (uint32_t i = 0; error == 0 && i < answer.result.u.rows.row_count; i++) {
        const struct kith_client_row *row = &answer.result.u.rows.rows[i];
        struct kith_rowname_parts parts;
        if (kith_rowname_parse(row->name, &parts) != KITH_OK || parts.kind != KITH_ROWNAME_XATTR ||
            !kith_bytes_equal(parts.base, base)) {
            more = false;
            break;
        }
        error = each(arg, row, parts.attribute);
    }
    if (more && last.size <= sizeof after->data) { /* what is longer is nothing of ours */
        memcpy(after->data, last.data, last.size);
        after->size = (uint16_t)last.size;
    } else {
        more = false;
    }
    kith_client_answer_release(&answer);
    *ret_more = more;
    return error;
}

int kith_rows_xattrs(struct kith_fs *fs, const struct kith_group *group, struct kith_bytes base,
                     bool strict,
                     int (*each)(void *arg, const struct kith_client_row *row,
                                 struct kith_bytes attribute),
                     void *arg)
{
    struct kith_rowname after; /* the rows behind NUL 'a' */
    bool more = true;
    int error = 0;
    for (kith_rowname_attr(base, &after); more && error == 0;) {
        error = xattrs_page(fs, group, base, strict, &after, &more, each, arg);
    }
    return error;
}

int kith_rows_put(struct kith_fs *fs, const struct kith_group *group,
                  enum kith_durability durability, const struct kith_put_update updates[],
                  uint32_t count, struct kith_client_answer *ret_answer)
{
    struct kith_client_op op = {.kind = KITH_CLIENT_PUT};
    op.u.put.group = *group;
    op.u.put.durability = durability;
    op.u.put.updates = updates;
    op.u.put.update_count = count;
    op.u.put.request = kith_client_request_id(fs->client);
    return kith_rows_put_op(fs, &op, kith_rows_until(fs), ret_answer);
}

uint64_t kith_rows_until(const struct kith_fs *fs)
{
    return kith_mono_ns() + (uint64_t)fs->options->op_timeout_ms * NSEC_PER_MSEC;
}

bool kith_rows_open(const struct kith_client_result *result, uint64_t until)
{
    return result->err == KITH_EUNKNOWN && kith_mono_ns() + AGAIN_PAUSE_NS < until;
}

/* At least 1: the pause before may have lasted longer than was left. */
static uint32_t left_ms(uint64_t until)
{
    uint64_t now = kith_mono_ns();
    return until > now ? (uint32_t)((until - now) / NSEC_PER_MSEC) + 1 : 1;
}

int kith_rows_put_op(struct kith_fs *fs, const struct kith_client_op *op, uint64_t until,
                     struct kith_client_answer *ret_answer)
{
    const struct timespec pause = {0, AGAIN_PAUSE_NS};
    struct kith_client_op put = *op;
    put.timeout_ms = left_ms(until);
    (void)rows_call(fs, &put, ret_answer);
    for (unsigned i = 0; kith_rows_open(&ret_answer->result, until); i++) {
        kith_client_answer_release(ret_answer);
        if (i > 0) { /* the first time it may be the answer alone that was lost */
            nanosleep(&pause, NULL);
        }
        put.u.put.again = true;
        put.timeout_ms = left_ms(until);
        (void)rows_call(fs, &put, ret_answer);
    }
    return kith_rows_put_end(fs, &ret_answer->result, op->u.put.update_count);
}

int kith_rows_put_end(struct kith_fs *fs, const struct kith_client_result *result, uint32_t count)
{
    int error = kith_errno(result->err);
    if (error != 0) {
        kith_rows_failed(fs, result);
    }
    if (result->err == KITH_EREFUSED) {
        kith_content_store_refused(fs->store);
    }
    if (error == 0 && result->u.put.result_count != count) {
        error = kith_errno(KITH_EIO);
    }
    atomic_store(&fs->put_trouble, error != 0);
    return error;
}

static void put_woke(void *arg, const struct kith_client_result *result)
{
    struct kith_put_wait *wait = arg;
    int error = kith_rows_put_end(wait->fs, result, 1);
    pthread_mutex_lock(&wait->lock);
    wait->error = error;
    wait->done = true;
    pthread_cond_signal(&wait->cond);
    pthread_mutex_unlock(&wait->lock);
}

void kith_rows_put_begin(struct kith_fs *fs, const struct kith_group *group,
                         const struct kith_put_update *update, struct kith_put_wait *ret_wait)
{
    struct kith_client_op op = {.kind = KITH_CLIENT_PUT};
    op.u.put.group = *group;
    op.u.put.durability = KITH_DURABLE_OS;
    op.u.put.updates = update;
    op.u.put.update_count = 1;
    ret_wait->fs = fs;
    ret_wait->done = false;
    pthread_mutex_init(&ret_wait->lock, NULL);
    pthread_cond_init(&ret_wait->cond, NULL);
    enum kith_err err =
        update == NULL ? KITH_ENOMEM : kith_client_submit(fs->client, &op, put_woke, ret_wait);
    if (err != KITH_OK) {
        struct kith_client_result failed = {.err = err, .message = kith_err_text((int)err)};
        put_woke(ret_wait, &failed);
    }
}

int kith_rows_put_wait(struct kith_put_wait *wait)
{
    pthread_mutex_lock(&wait->lock);
    while (!wait->done) {
        pthread_cond_wait(&wait->cond, &wait->lock);
    }
    pthread_mutex_unlock(&wait->lock);
    pthread_cond_destroy(&wait->cond);
    pthread_mutex_destroy(&wait->lock);
    return wait->error;
}

bool kith_fs_defers(struct kith_fs *fs, const struct kith_group *group)
{
    return !atomic_load(&fs->put_trouble) && kith_client_writable(fs->client, group);
}

bool kith_context_is_alone(struct kith_bytes context)
{
    struct kith_arena arena;
    struct kith_row row;
    kith_arena_init(&arena, 0);
    bool alone = kith_row_decode(&arena, context, &row) == KITH_OK;
    for (uint32_t i = 0; alone && i < row.sibling_count; i++) {
        alone = row.siblings[i].kind == KITH_SIBLING_MARK;
    }
    kith_arena_release(&arena);
    return alone;
}

/* Two versions that a person cannot tell apart: the next write that has read them drops both. */
static bool looks_alike(const struct kith_sibling *a, const struct kith_sibling *b)
{
    return a->kind == b->kind && kith_bytes_equal(a->value, b->value);
}

enum kith_err kith_row_context(struct kith_arena *arena, const struct kith_row *row,
                               const struct kith_sibling *winner, struct kith_bytes *ret_context)
{
    *ret_context = kith_bytes_make(NULL, 0);
    if (kith_row_is_empty(row)) {
        return KITH_OK;
    }
    struct kith_sibling *kept = kith_arena_calloc(arena, row->sibling_count + 1u, sizeof *kept);
    if (kept == NULL) {
        return KITH_ENOMEM;
    }
    struct kith_row context = {row->clock, 0, kept};
    for (uint32_t i = 0; i < row->sibling_count; i++) {
        const struct kith_sibling *sibling = &row->siblings[i];
        bool goes = sibling->kind == KITH_SIBLING_MARK || sibling == winner ||
                    (winner != NULL && looks_alike(sibling, winner));
        if (!goes) {
            kept[context.sibling_count++] = *sibling;
        }
    }
    struct kith_buf buf;
    kith_buf_init(&buf);
    kith_row_encode(&context, &buf);
    void *copy = buf.failed ? NULL : kith_arena_copy(arena, buf.data, buf.size);
    size_t size = buf.size;
    kith_buf_release(&buf);
    if (copy == NULL) {
        return KITH_ENOMEM;
    }
    *ret_context = kith_bytes_make(copy, size);
    return KITH_OK;
}

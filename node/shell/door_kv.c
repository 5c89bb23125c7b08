/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * The Kv service on a kith_client.
 *
 * A context token is an encoded row (data/row.h): the clock of what was seen, with those siblings
 * that the next writer must keep. After a Get that is none (he saw all), after a Put those of
 * others that he has not seen, as the coordinator returned them. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/assert.h"
#include "data/hlc.h"
#include "kv.pb-c.h"
#include "shell/door_int.h"

#define REQUEST_ARENA_MAX (4u * KITH_MESSAGE_MAX) /* a decoded request with all protobuf-c's structs */
#define BUCKET_MAX KITH_NAME_MAX
#define SCAN_PAGE_ROWS 256u /* at 1 KiB each, what a slow reader makes the node hold: 256 KiB */
#define DOT_TEXT_SIZE 64u

/* One call under way. */
struct kv {
    struct kith_door *door;
    struct kith_rpc_call *call;
    struct kith_arena arena; /* the request */
    ProtobufCAllocator allocator;
    struct kith_group group;
    struct kith_bytes key;
    enum kith_level level;
    /* Put and Delete */
    enum kith_durability durability;
    struct kith_request_id request; /* all zero: none given */
    bool again;
    /* Scan */
    bool keys_only, has_after;
    uint64_t left;
    struct kith_buf after;
};

static void *arena_alloc(void *arg, size_t size)
{
    return kith_arena_alloc(arg, size);
}

static void arena_free(void *arg, void *memory)
{
    (void)arg;
    (void)memory;
}

static void kv_free(struct kv *kv)
{
    kith_arena_release(&kv->arena);
    kith_buf_release(&kv->after);
    kith_free(kv);
}

#define kv_fail(kv, err, ...)                     \
    do {                                          \
        door_fail((kv)->call, err, __VA_ARGS__);  \
        kv_free(kv);                              \
    } while (0)

/* Ends the call with what the client says. */
static void kv_fail_result(struct kv *kv, const struct kith_client_result *result)
{
    kv_fail(kv, result->err, "%s",
            result->message && result->message[0] ? result->message
                                                  : kith_err_text((int)result->err));
}

/* Submits; on a failure the call is ended and kv gone, on success the callback may have run
 * already. */
static void kv_submit(struct kv *kv, struct kith_client_op *op, kith_client_cb cb)
{
    struct kith_client *client = kv->door->options.client(kv->door->options.arg);
    if (!client) {
        kv_fail(kv, KITH_ENOTREADY, "this node serves no cluster yet");
        return;
    }
    uint32_t timeout_ms = kith_rpc_call_timeout_ms(kv->call);
    if (timeout_ms == 0) {
        kv_fail(kv, KITH_ETIMEOUT, "the deadline has passed");
        return;
    }
    /* a caller without a deadline gets the client's */
    op->timeout_ms = timeout_ms == KITH_TIMEOUT_MAX_MS ? 0 : timeout_ms;
    op->level = kv->level;
    enum kith_err err = kith_client_submit(client, op, cb, kv);
    if (err != KITH_OK) {
        kv_fail(kv, err, "%s", kith_err_text((int)err));
    }
}

/* ---- Requests ---- */

/* bucket and key to group and name; false: the call has been ended. */
static bool take_key(struct kv *kv, const char *bucket, ProtobufCBinaryData key, bool want_key)
{
    size_t bucket_size = strlen(bucket);
    kv->key = kith_bytes_make(key.data, key.len);
    if (bucket_size > BUCKET_MAX) {
        kv_fail(kv, KITH_EINVAL, "bucket: %zu bytes, at most %u are possible", bucket_size,
                BUCKET_MAX);
        return false;
    }
    if (want_key && (key.len == 0 || key.len > KITH_NAME_MAX)) {
        kv_fail(kv, KITH_EINVAL, "key: %zu bytes, 1 to %u are possible", key.len, KITH_NAME_MAX);
        return false;
    }
    kv->group = bucket_size > 0 ? kith_group_of_bucket(kith_bytes_make(bucket, bucket_size))
                                : kith_group_of_kv(kv->key);
    return true;
}

static bool take_level(struct kv *kv, Kith__V1__Level level, Kith__V1__Durability durability)
{
    if ((unsigned)level >= KITH_LEVELS || (unsigned)durability > KITH_DURABLE_DISK) {
        kv_fail(kv, KITH_EINVAL, "%s: no such value",
                (unsigned)level >= KITH_LEVELS ? "level" : "durability");
        return false;
    }
    kv->level = (enum kith_level)level;
    kv->durability = (enum kith_durability)durability;
    return true;
}

/* Whether the token is one of ours, or empty. */
static bool check_context(struct kv *kv, ProtobufCBinaryData context)
{
    struct kith_row row;
    enum kith_err err =
        kith_row_decode(&kv->arena, kith_bytes_make(context.data, context.len), &row);
    if (err == KITH_OK) {
        return true;
    }
    kv_fail(kv, err == KITH_ENOMEM ? err : KITH_EINVAL,
            "context: not a token that a Get or Put gave");
    return false;
}

static bool take_request(struct kv *kv, ProtobufCBinaryData request, bool again)
{
    static const struct kith_request_id nil;
    if (request.len == 0 && !again) {
        return true;
    }
    if (request.len != sizeof kv->request.bytes ||
        memcmp(request.data, nil.bytes, sizeof nil.bytes) == 0) {
        kv_fail(kv, KITH_EINVAL,
                request.len == 0 ? "again: only for what was sent with a request id before"
                                 : "request: 16 bytes, not all zero");
        return false;
    }
    memcpy(kv->request.bytes, request.data, sizeof kv->request.bytes);
    kv->again = again;
    return true;
}

static struct kv *kv_new(struct kith_door *door, struct kith_rpc_call *call)
{
    struct kv *kv = kith_calloc(1, sizeof *kv);
    if (!kv) {
        door_fail(call, KITH_ENOMEM, "no memory for the call");
        return NULL;
    }
    kv->door = door;
    kv->call = call;
    kith_arena_init(&kv->arena, REQUEST_ARENA_MAX);
    kith_buf_init(&kv->after);
    kv->allocator = (ProtobufCAllocator){arena_alloc, arena_free, &kv->arena};
    return kv;
}

/* ---- Answers ---- */

/* Packs and sends as the answer, or as one message of a stream. */
static bool reply(struct kith_rpc_call *call, const ProtobufCMessage *message, bool stream)
{
    size_t size = protobuf_c_message_get_packed_size(message);
    uint8_t *bytes = size <= KITH_MESSAGE_MAX ? kith_malloc(size) : NULL;
    if (!bytes) {
        if (!stream) {
            door_fail(call, KITH_ETOOBIG, "an answer of %zu bytes is too large", size);
        }
        return false;
    }
    protobuf_c_message_pack(message, bytes);
    bool ok = true;
    if (stream) {
        ok = kith_rpc_stream(call, kith_bytes_make(bytes, size));
    } else {
        kith_rpc_finish(call, kith_bytes_make(bytes, size), NULL);
    }
    kith_free(bytes);
    return ok;
}

/* Whether an earlier sibling (a lower dot) looks the same: two that look equal are shown as one. */
static bool shown_already(const struct kith_row *row, uint32_t at)
{
    for (uint32_t i = 0; i < at; i++) {
        if (row->siblings[i].kind == KITH_SIBLING_VALUE &&
            kith_bytes_equal(row->siblings[i].value, row->siblings[at].value)) {
            return true;
        }
    }
    return false;
}

static int latest_first(const void *a, const void *b)
{
    const struct kith_sibling *x = *(const struct kith_sibling *const *)a;
    const struct kith_sibling *y = *(const struct kith_sibling *const *)b;
    if (x->time != y->time) {
        return x->time > y->time ? -1 : 1;
    }
    return -kith_dot_compare(&x->dot, &y->dot);
}

static char *dot_text(struct kith_arena *arena, const struct kith_dot *dot)
{
    char *text = kith_arena_alloc(arena, DOT_TEXT_SIZE);
    if (text) {
        (void)snprintf(text, DOT_TEXT_SIZE, "%016" PRIx64 ".%" PRIu64 ".%" PRIu64, dot->actor.run,
                       dot->actor.epoch, dot->counter);
    }
    return text;
}

/* A writer's name is bytes; text on the wire must be UTF-8, so what is not ASCII becomes '?'. */
static char *writer_text(struct kith_arena *arena, struct kith_bytes writer)
{
    char *text = kith_arena_alloc(arena, writer.size + 1);
    if (text) {
        for (size_t i = 0; i < writer.size; i++) {
            text[i] = writer.data[i] >= 0x20 && writer.data[i] < 0x7f ? (char)writer.data[i] : '?';
        }
        text[writer.size] = '\0';
    }
    return text;
}

/* The row's values as protobuf-c structs in the arena. false: no memory. */
static bool make_versions(struct kith_arena *arena, const struct kith_row *row, bool with_values,
                          size_t *ret_count, Kith__V1__KvVersion ***ret_versions)
{
    const struct kith_sibling **shown = kith_arena_calloc(arena, row->sibling_count, sizeof *shown);
    if (!shown) {
        return false;
    }
    size_t count = 0;
    for (uint32_t i = 0; i < row->sibling_count; i++) {
        if (row->siblings[i].kind == KITH_SIBLING_VALUE && !shown_already(row, i)) {
            shown[count++] = &row->siblings[i];
        }
    }
    qsort(shown, count, sizeof *shown, latest_first);
    Kith__V1__KvVersion **list = kith_arena_calloc(arena, count, sizeof *list);
    Kith__V1__KvVersion *versions = kith_arena_calloc(arena, count, sizeof *versions);
    if (!list || !versions) {
        return false;
    }
    for (size_t i = 0; i < count; i++) {
        kith__v1__kv_version__init(&versions[i]);
        if (with_values) {
            versions[i].value.data = (uint8_t *)(uintptr_t)shown[i]->value.data;
            versions[i].value.len = shown[i]->value.size;
        }
        versions[i].time_ms = kith_hlc_ms(shown[i]->time);
        versions[i].writer = writer_text(arena, shown[i]->writer);
        versions[i].dot = dot_text(arena, &shown[i]->dot);
        if (!versions[i].writer || !versions[i].dot) {
            return false;
        }
        list[i] = &versions[i];
    }
    *ret_count = count;
    *ret_versions = list;
    return true;
}

/* The token of one who has seen the whole row. */
static bool make_context(const struct kith_row *row, struct kith_buf *buf)
{
    struct kith_row seen = {.clock = row->clock};
    if (!kith_row_is_empty(row)) {
        kith_row_encode(&seen, buf);
    }
    return !buf->failed;
}

static ProtobufCBinaryData binary(struct kith_bytes bytes)
{
    ProtobufCBinaryData data = {bytes.size, (uint8_t *)(uintptr_t)bytes.data};
    return data;
}

/* ---- Get ---- */

static void on_got(void *arg, const struct kith_client_result *result)
{
    struct kv *kv = arg;
    if (result->err != KITH_OK) {
        kv_fail_result(kv, result);
        return;
    }
    KITH_ASSERT(result->u.rows.row_count == 1);
    const struct kith_row *row = &result->u.rows.rows[0].row;
    Kith__V1__KvGetResponse response = KITH__V1__KV_GET_RESPONSE__INIT;
    struct kith_buf context;
    kith_buf_init(&context);
    if (!make_versions(&kv->arena, row, true, &response.n_versions, &response.versions) ||
        !make_context(row, &context)) {
        door_fail(kv->call, KITH_ENOMEM, "no memory for the answer");
    } else {
        response.context = binary(kith_buf_bytes(&context));
        response.degraded = result->degraded;
        (void)reply(kv->call, &response.base, false);
    }
    kith_buf_release(&context);
    kv_free(kv);
}

static void submit_get(struct kv *kv, kith_client_cb cb)
{
    struct kith_client_op op = {.kind = KITH_CLIENT_GET};
    op.u.get.group = kv->group;
    op.u.get.name_count = 1;
    op.u.get.names = &kv->key;
    kv_submit(kv, &op, cb);
}

static void kv_get(struct kv *kv, struct kith_bytes bytes)
{
    Kith__V1__KvGetRequest *request =
        kith__v1__kv_get_request__unpack(&kv->allocator, bytes.size, bytes.data);
    if (!request) {
        kv_fail(kv, KITH_EINVAL, "the request is malformed");
        return;
    }
    if (take_key(kv, request->bucket, request->key, true) &&
        take_level(kv, request->level, KITH__V1__DURABILITY__OS)) {
        submit_get(kv, on_got);
    }
}

/* ---- Put and Delete ---- */

static void on_put(void *arg, const struct kith_client_result *result)
{
    struct kv *kv = arg;
    if (result->err != KITH_OK) {
        kv_fail_result(kv, result);
        return;
    }
    KITH_ASSERT(result->u.put.result_count == 1);
    const struct kith_put_result *put = &result->u.put.results[0];
    Kith__V1__KvPutResponse response = KITH__V1__KV_PUT_RESPONSE__INIT;
    response.context = binary(put->context);
    response.dot = dot_text(&kv->arena, &put->dot);
    response.copies = result->u.put.copies;
    if (response.dot) {
        (void)reply(kv->call, &response.base, false);
    } else {
        door_fail(kv->call, KITH_ENOMEM, "no memory for the answer");
    }
    kv_free(kv);
}

static void submit_put(struct kv *kv, struct kith_bytes context, const struct kith_bytes *value)
{
    struct kith_put_update update = {
        .name = kv->key, .context = context, .has_sibling = value != NULL};
    if (value) {
        update.kind = KITH_SIBLING_VALUE;
        update.value = *value;
    }
    struct kith_client_op op = {.kind = KITH_CLIENT_PUT};
    op.u.put.group = kv->group;
    op.u.put.durability = kv->durability;
    op.u.put.update_count = 1;
    op.u.put.updates = &update;
    op.u.put.request = kv->request;
    op.u.put.again = kv->again;
    kv_submit(kv, &op, on_put);
}

static void kv_put(struct kv *kv, struct kith_bytes bytes)
{
    Kith__V1__KvPutRequest *request =
        kith__v1__kv_put_request__unpack(&kv->allocator, bytes.size, bytes.data);
    if (!request) {
        kv_fail(kv, KITH_EINVAL, "the request is malformed");
        return;
    }
    if (!take_key(kv, request->bucket, request->key, true) ||
        !take_level(kv, request->level, request->durability)) {
        return;
    }
    if (request->value.len > KITH_INLINE_VALUE_MAX) {
        kv_fail(kv, KITH_EINVAL, "value: %zu bytes, at most %u are possible", request->value.len,
                KITH_INLINE_VALUE_MAX);
        return;
    }
    if (check_context(kv, request->context) &&
        take_request(kv, request->request, request->again)) {
        struct kith_bytes value = kith_bytes_make(request->value.data, request->value.len);
        submit_put(kv, kith_bytes_make(request->context.data, request->context.len), &value);
    }
}

/* A delete without a token: removes what this read has found. */
static void on_read_for_delete(void *arg, const struct kith_client_result *result)
{
    struct kv *kv = arg;
    if (result->err != KITH_OK) {
        kv_fail_result(kv, result);
        return;
    }
    KITH_ASSERT(result->u.rows.row_count == 1);
    const struct kith_row *row = &result->u.rows.rows[0].row;
    struct kith_buf context;
    kith_buf_init(&context);
    if (!make_context(row, &context)) {
        kv_fail(kv, KITH_ENOMEM, "no memory for the call");
    } else if (row->sibling_count == 0) {
        Kith__V1__KvPutResponse response = KITH__V1__KV_PUT_RESPONSE__INIT;
        response.context = binary(kith_buf_bytes(&context));
        (void)reply(kv->call, &response.base, false);
        kv_free(kv);
    } else {
        submit_put(kv, kith_buf_bytes(&context), NULL);
    }
    kith_buf_release(&context);
}

static void kv_delete(struct kv *kv, struct kith_bytes bytes)
{
    Kith__V1__KvDeleteRequest *request =
        kith__v1__kv_delete_request__unpack(&kv->allocator, bytes.size, bytes.data);
    if (!request) {
        kv_fail(kv, KITH_EINVAL, "the request is malformed");
        return;
    }
    if (!take_key(kv, request->bucket, request->key, true) ||
        !take_level(kv, request->level, request->durability) ||
        !check_context(kv, request->context) ||
        !take_request(kv, request->request, request->again)) {
        return;
    }
    if (request->context.len == 0 && request->request.len > 0) {
        kv_fail(kv, KITH_EINVAL, "request: a delete under an id wants a context");
    } else if (request->context.len == 0) {
        submit_get(kv, on_read_for_delete);
    } else {
        submit_put(kv, kith_bytes_make(request->context.data, request->context.len), NULL);
    }
}

/* ---- Scan: a page, and the next one when the caller has taken it ---- */

static void next_page(void *arg);

/* One key of the page. false: the caller is gone, or there is no memory. */
static bool send_entry(struct kv *kv, const struct kith_client_row *row)
{
    struct kith_arena arena;
    struct kith_buf context;
    kith_arena_init(&arena, 0);
    kith_buf_init(&context);
    Kith__V1__KvEntry entry = KITH__V1__KV_ENTRY__INIT;
    bool ok =
        make_versions(&arena, &row->row, !kv->keys_only, &entry.n_versions, &entry.versions) &&
        make_context(&row->row, &context);
    if (ok && entry.n_versions > 0) {
        entry.key = binary(row->name);
        entry.context = binary(kith_buf_bytes(&context));
        ok = reply(kv->call, &entry.base, true);
        kv->left--;
    }
    kith_buf_release(&context);
    kith_arena_release(&arena);
    return ok;
}

static void on_page(void *arg, const struct kith_client_result *result)
{
    struct kv *kv = arg;
    if (result->err != KITH_OK) {
        kv_fail_result(kv, result);
        return;
    }
    for (uint32_t i = 0; i < result->u.rows.row_count && kv->left > 0; i++) {
        if (!send_entry(kv, &result->u.rows.rows[i])) {
            kv_fail(kv, KITH_ECANCELED, "the caller has gone, or memory is short");
            return;
        }
    }
    if (!result->u.rows.more || kv->left == 0) {
        kith_rpc_finish(kv->call, kith_bytes_make(NULL, 0), NULL);
        kv_free(kv);
        return;
    }
    kv->has_after = true;
    kith_buf_clear(&kv->after);
    kith_buf_put(&kv->after, result->u.rows.last.data, result->u.rows.last.size);
    if (kv->after.failed) {
        kv_fail(kv, KITH_ENOMEM, "no memory for the call");
        return;
    }
    kith_rpc_when_drained(kv->call, next_page, kv);
}

static void next_page(void *arg)
{
    struct kv *kv = arg;
    struct kith_client_op op = {.kind = KITH_CLIENT_SCAN};
    op.u.scan.group = kv->group;
    op.u.scan.has_after = kv->has_after;
    op.u.scan.after = kith_buf_bytes(&kv->after);
    op.u.scan.max_rows = kv->left < SCAN_PAGE_ROWS ? (uint32_t)kv->left : SCAN_PAGE_ROWS;
    kv_submit(kv, &op, on_page);
}

static void kv_scan(struct kv *kv, struct kith_bytes bytes)
{
    Kith__V1__KvScanRequest *request =
        kith__v1__kv_scan_request__unpack(&kv->allocator, bytes.size, bytes.data);
    if (!request) {
        kv_fail(kv, KITH_EINVAL, "the request is malformed");
        return;
    }
    if (request->bucket[0] == '\0') {
        kv_fail(kv, KITH_EINVAL, "bucket: missing; keys without a bucket cannot be scanned");
        return;
    }
    if (request->after.len > KITH_NAME_MAX) {
        kv_fail(kv, KITH_EINVAL, "after: %zu bytes, at most %u are possible", request->after.len,
                KITH_NAME_MAX);
        return;
    }
    if (!take_key(kv, request->bucket, request->after, false) ||
        !take_level(kv, request->level, KITH__V1__DURABILITY__OS)) {
        return;
    }
    kv->keys_only = request->keys_only;
    kv->left = request->limit == 0 ? UINT64_MAX : request->limit;
    kv->has_after = request->after.len > 0;
    kith_buf_put(&kv->after, request->after.data, request->after.len);
    if (kv->after.failed) {
        kv_fail(kv, KITH_ENOMEM, "no memory for the call");
        return;
    }
    next_page(kv);
}

bool door_kv(struct kith_door *door, struct kith_rpc_call *call, const char *method,
             struct kith_bytes request)
{
    static const struct {
        const char *name;
        void (*run)(struct kv *kv, struct kith_bytes request);
    } methods[] = {{"Get", kv_get}, {"Put", kv_put}, {"Delete", kv_delete}, {"Scan", kv_scan}};
    for (size_t i = 0; i < sizeof methods / sizeof methods[0]; i++) {
        if (strcmp(method, methods[i].name) == 0) {
            struct kv *kv = kv_new(door, call);
            if (kv) {
                methods[i].run(kv, request);
            }
            return true;
        }
    }
    return false;
}

/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Any bytes as a stored record, and any as what comes in from outside. The record's hash is made
 * right, or the fuzzer would never get past it.
 *
 *     u8   bit 0: a put (what comes in is its context), else a merge; bit 1: the record's hash is
 * left out; bit 2: a plain delete u16  size of the record's header up to the hash (LE) u16  size of
 * its state
 *     ...  header, state, and to the end what comes in */
#include "fuzz.h"

#include <string.h>

#include "base/assert.h"
#include "core/rows/rowop.h"

#define HEAD_SIZE 5u

static uint8_t secret_bytes[192];
static const struct kith_key key = {.name = {(const uint8_t *)"name", 4}};
static const struct kith_request_id request = {"client12sequence"};

static struct kith_rowop_env make_env(void)
{
    for (unsigned i = 0; i < sizeof secret_bytes; i++) {
        secret_bytes[i] = (uint8_t)(i * 37 + 11);
    }
    struct kith_rowop_env env = {7,     1000, 1000, 5000000, {secret_bytes, sizeof secret_bytes},
                                 false, NULL, false};
    return env;
}

static enum kith_err operate(struct kith_arena *arena, const struct kith_rowop_env *env,
                             uint8_t flags, struct kith_bytes record, struct kith_bytes incoming,
                             struct kith_rowop_result *result)
{
    if (flags & 1) {
        struct kith_put_update update = {.context = incoming,
                                         .has_sibling = (flags & 4) == 0,
                                         .value = kith_bytes_make("value", 5)};
        return kith_rowop_put(arena, env, &key, record, &update, kith_bytes_make("a@b", 3), 9,
                              &request, result);
    }
    struct kith_replica_row row = {.state = incoming, .has_dot = true, .dot = {{7, 300}, 300}};
    return kith_rowop_merge(arena, env, &key, record, &row, &request, result);
}

static void check(struct kith_arena *arena, const struct kith_rowop_env *env,
                  const struct kith_rowop_result *result)
{
    struct kith_bytes state;
    struct kith_checksum hash;
    KITH_ASSERT(!result->foreign_run || !result->changed);
    KITH_ASSERT(kith_rowop_state(&key, result->record, env->secret, &state, &hash) == KITH_OK);
    KITH_ASSERT(kith_bytes_equal(state, result->state));
    KITH_ASSERT(kith_checksum_equal(&hash, &result->new_hash));
    /* the same state again changes nothing; without a counter, for a record that was changed by
     * nothing may hold a twin whose other one is gone */
    static const struct kith_request_id none;
    struct kith_replica_row row = {.state = state};
    struct kith_rowop_env merge_env = *env;
    struct kith_rowop_result again;
    merge_env.counter = 0;
    KITH_ASSERT(kith_rowop_merge(arena, &merge_env, &key, result->record, &row, &none, &again) ==
                KITH_OK);
    KITH_ASSERT(!again.changed);
}

static void take(uint8_t flags, struct kith_bytes header, struct kith_bytes state,
                 struct kith_bytes incoming)
{
    struct kith_rowop_env env = make_env();
    struct kith_arena arena;
    struct kith_buf buf;
    struct kith_rowop_result result;
    struct kith_dot dot;
    kith_arena_init(&arena, 0);
    kith_buf_init(&buf);
    kith_buf_put(&buf, header.data, header.size);
    if ((flags & 2) == 0) {
        struct kith_checksum hash = kith_row_hash(&key, state, env.secret);
        kith_buf_put(&buf, hash.bytes, sizeof hash.bytes);
    }
    kith_buf_put(&buf, state.data, state.size);
    KITH_ASSERT(!buf.failed);
    enum kith_err err = operate(&arena, &env, flags, kith_buf_bytes(&buf), incoming, &result);
    bool of_put = (flags & 1) != 0 && (err == KITH_EINVAL || err == KITH_ENOTREADY);
    KITH_ASSERT(err == KITH_OK || err == KITH_ECORRUPT || err == KITH_EFORMAT ||
                err == KITH_ELIMIT || err == KITH_ETOOBIG || of_put);
    if (err == KITH_OK) {
        check(&arena, &env, &result);
    }
    err = kith_rowop_find(kith_buf_bytes(&buf), &request, &dot);
    KITH_ASSERT(err == KITH_OK || err == KITH_ENOTFOUND || err == KITH_ECORRUPT);
    kith_buf_release(&buf);
    kith_arena_release(&arena);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < HEAD_SIZE) {
        return 0;
    }
    size_t left = size - HEAD_SIZE;
    size_t header = (size_t)(data[1] | data[2] << 8), state = (size_t)(data[3] | data[4] << 8);
    header = header > left ? left : header;
    state = state > left - header ? left - header : state;
    const uint8_t *at = data + HEAD_SIZE;
    take(data[0], kith_bytes_make(at, header), kith_bytes_make(at + header, state),
         kith_bytes_make(at + header + state, left - header - state));
    return 0;
}

/* Records after 1 to 4 puts, and after as many as the request log holds, with what another node
 * made of the same row. */
size_t kith_fuzz_seed(uint32_t number, uint8_t data[KITH_FUZZ_SEED_MAX])
{
    if (number > 16) {
        return 0;
    }
    uint32_t puts = number == 16 ? KITH_REQUESTS_MAX : number / 4 + 1;
    struct kith_rowop_env env = make_env();
    struct kith_arena arena;
    struct kith_rowop_result mine = {.changed = false}, theirs = {.changed = false};
    kith_arena_init(&arena, 0);
    for (uint32_t i = 0; i < puts; i++) {
        struct kith_request_id other = {"client34sequence"};
        struct kith_put_update update = {.has_sibling = i % 2 == 0 && i < 4};
        other.bytes[15] = (uint8_t)i;
        other.bytes[7] = (uint8_t)i;
        env.run = 7;
        env.counter = 300 + i;
        KITH_ASSERT(kith_rowop_put(&arena, &env, &key, mine.record, &update,
                                   kith_bytes_make("a@b", 3), 9, &other, &mine) == KITH_OK);
        env.run = 8;
        other.bytes[0] = 'x';
        KITH_ASSERT(kith_rowop_put(&arena, &env, &key, theirs.record, &update,
                                   kith_bytes_make("c@d", 3), 9, &other, &theirs) == KITH_OK);
    }
    size_t header = mine.record.size - mine.state.size - KITH_CHECKSUM_SIZE;
    data[0] = (uint8_t)((number & 1) | (number & 2) << 1);
    data[1] = (uint8_t)header;
    data[2] = (uint8_t)(header >> 8);
    data[3] = (uint8_t)mine.state.size;
    data[4] = (uint8_t)(mine.state.size >> 8);
    uint8_t *out = data + HEAD_SIZE;
    memcpy(out, mine.record.data, header);
    memcpy(out + header, mine.state.data, mine.state.size);
    memcpy(out + header + mine.state.size, theirs.state.data, theirs.state.size);
    size_t size = HEAD_SIZE + header + mine.state.size + theirs.state.size;
    kith_arena_release(&arena);
    return size;
}

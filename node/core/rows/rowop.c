/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * An operation decodes the old record once and writes the new one once, header and state into one
 * piece of the arena. A merge whose result is the incoming state copies its bytes. */
#include "core/rows/rowop.h"

#include <string.h>

#include "base/assert.h"

#define FLAG_NOTE         1u
#define FLAG_RETRIES      2u
#define VARINT_MAX_BYTES  10u
#define REQUEST_MAX_BYTES (sizeof(struct kith_request_id) + 8 + 3 * VARINT_MAX_BYTES)
#define HEADER_MAX_BYTES                                                                           \
    (2 + 8 + VARINT_MAX_BYTES + VARINT_MAX_BYTES + KITH_REQUESTS_MAX * REQUEST_MAX_BYTES + 8 +     \
     KITH_CHECKSUM_SIZE)
_Static_assert(KITH_REQUESTS_MAX <= 64 && KITH_RETRIES_MAX < KITH_REQUESTS_MAX,
               "a word has all marks, and where all entries are taken one is no retry");

struct request_entry {
    struct kith_request_id request;
    struct kith_dot dot;
    uint64_t wall_ms;
    bool retry;
};

/* A record taken apart. */
struct record {
    bool exists;
    bool has_note;
    struct kith_actor note;
    uint32_t request_count;
    struct kith_checksum hash;
    struct kith_bytes state;
    struct request_entry requests[KITH_REQUESTS_MAX]; /* newest last; only request_count are set */
};

static bool request_is_nil(const struct kith_request_id *request)
{
    static const struct kith_request_id nil;
    return memcmp(request->bytes, nil.bytes, sizeof nil.bytes) == 0;
}

static bool request_equal(const struct kith_request_id *a, const struct kith_request_id *b)
{
    return memcmp(a->bytes, b->bytes, sizeof a->bytes) == 0;
}

static bool same_client(const struct kith_request_id *a, const struct kith_request_id *b)
{
    return memcmp(a->bytes, b->bytes, 8) == 0;
}

/* ---- Reading a record ---- */

static bool read_requests(struct kith_reader *reader, bool has_retries, struct record *record)
{
    uint64_t count = kith_read_varint(reader);
    uint64_t retries = has_retries ? kith_read_u64(reader) : 0;
    if (count > KITH_REQUESTS_MAX) {
        return false;
    }
    for (uint32_t i = 0; i < count; i++) {
        struct request_entry *entry = &record->requests[i];
        const uint8_t *id = kith_read(reader, sizeof entry->request.bytes);
        if (!id) {
            return false;
        }
        memcpy(entry->request.bytes, id, sizeof entry->request.bytes);
        entry->dot.actor.run = kith_read_u64(reader);
        entry->dot.actor.epoch = kith_read_varint(reader);
        entry->dot.counter = kith_read_varint(reader);
        entry->wall_ms = kith_read_varint(reader);
        entry->retry = (retries >> i & 1) != 0;
    }
    record->request_count = (uint32_t)count;
    return !reader->failed;
}

/* Everything in front of the state, which may be anything. */
static enum kith_err read_record(struct kith_bytes bytes, struct record *record)
{
    record->exists = bytes.size != 0;
    record->has_note = false;
    record->request_count = 0;
    record->state = kith_bytes_make(NULL, 0);
    memset(&record->hash, 0, sizeof record->hash);
    if (!record->exists) {
        return KITH_OK;
    }
    struct kith_reader reader;
    kith_reader_init(&reader, bytes);
    uint8_t format = kith_read_u8(&reader);
    uint8_t flags = kith_read_u8(&reader);
    if (format != KITH_RECORD_FORMAT || (flags & ~(FLAG_NOTE | FLAG_RETRIES)) != 0) {
        return KITH_ECORRUPT;
    }
    record->has_note = (flags & FLAG_NOTE) != 0;
    if (record->has_note) {
        record->note.run = kith_read_u64(&reader);
        record->note.epoch = kith_read_varint(&reader);
    }
    if (!read_requests(&reader, (flags & FLAG_RETRIES) != 0, record)) {
        return KITH_ECORRUPT;
    }
    const uint8_t *hash = kith_read(&reader, KITH_CHECKSUM_SIZE);
    size_t state_size = kith_reader_left(&reader);
    if (!hash || state_size == 0) {
        return KITH_ECORRUPT; /* a row that was never written has no record */
    }
    memcpy(record->hash.bytes, hash, KITH_CHECKSUM_SIZE);
    record->state = kith_bytes_make(hash + KITH_CHECKSUM_SIZE, state_size);
    return KITH_OK;
}

static enum kith_err read_verified(const struct kith_key *key, struct kith_bytes bytes,
                                   struct kith_bytes secret, struct record *record)
{
    if (key->name.size > KITH_NAME_MAX) {
        return KITH_EINVAL;
    }
    enum kith_err err = read_record(bytes, record);
    if (err == KITH_OK && record->exists) {
        struct kith_checksum hash = kith_row_hash(key, record->state, secret);
        if (!kith_checksum_equal(&hash, &record->hash)) {
            err = KITH_ECORRUPT;
        }
    }
    return err;
}

/* The old record and its row, and a result that says "nothing changed". */
static enum kith_err begin(struct kith_arena *arena, const struct kith_rowop_env *env,
                           const struct kith_key *key, struct kith_bytes old, struct record *record,
                           struct kith_rowop_result *result)
{
    enum kith_err err = read_verified(key, old, env->secret, record);
    if (err != KITH_OK) {
        return err;
    }
    struct kith_row row;
    err = kith_row_decode(arena, record->state, &row);
    if (err != KITH_OK) {
        return err == KITH_ENOMEM ? err : KITH_ECORRUPT;
    }
    memset(result, 0, sizeof *result);
    result->existed = record->exists;
    result->record = old;
    result->old_hash = record->hash;
    result->new_hash = record->hash;
    result->old_row = row;
    result->new_row = row;
    result->state = record->state;
    return KITH_OK;
}

/* ---- The request log ---- */

static const struct request_entry *find_request(const struct record *record,
                                                const struct kith_request_id *request)
{
    for (uint32_t i = record->request_count; i > 0; i--) {
        if (request_equal(&record->requests[i - 1].request, request)) {
            return &record->requests[i - 1];
        }
    }
    return NULL;
}

static void remove_request(struct record *record, uint32_t index)
{
    record->request_count--;
    memmove(&record->requests[index], &record->requests[index + 1],
            (record->request_count - index) * sizeof record->requests[0]);
}

static void forget_old_requests(struct record *record, uint64_t wall_ms)
{
    uint32_t kept = 0;
    for (uint32_t i = 0; i < record->request_count; i++) {
        uint64_t noted = record->requests[i].wall_ms;
        /* a time ahead of now: the clock was set back since, and it is no reason to forget */
        if (noted > wall_ms || wall_ms - noted <= KITH_REQUEST_KEEP_MS) {
            if (kept != i) {
                record->requests[kept] = record->requests[i];
            }
            kept++;
        }
    }
    record->request_count = kept;
}

/* Puts a request at the end, and drops the oldest of its kind, a retry or its client's others, or of
 * all that are no retries, to make room. */
static void note_request(struct record *record, const struct kith_request_id *request,
                         const struct kith_dot *dot, const struct kith_rowop_env *env)
{
    uint32_t alike = 0, most = env->retry ? KITH_RETRIES_MAX : KITH_REQUESTS_PER_CLIENT;
    uint32_t oldest = 0; /* no retry */
    for (uint32_t i = record->request_count; i > 0; i--) {
        const struct request_entry *entry = &record->requests[i - 1];
        if (entry->retry == env->retry &&
            (env->retry || same_client(&entry->request, request)) && ++alike >= most) {
            remove_request(record, i - 1);
        }
    }
    if (record->request_count == KITH_REQUESTS_MAX) {
        while (record->requests[oldest].retry && oldest + 1 < KITH_REQUESTS_MAX) {
            oldest++;
        }
        remove_request(record, oldest);
    }
    struct request_entry *entry = &record->requests[record->request_count++];
    entry->request = *request;
    entry->dot = *dot;
    entry->wall_ms = env->wall_ms;
    entry->retry = env->retry;
}

/* ---- Writing a record ---- */

static uint8_t *write_varint(uint8_t *out, uint64_t value)
{
    while (value >= 0x80) {
        *out++ = (uint8_t)(value | 0x80);
        value >>= 7;
    }
    *out++ = (uint8_t)value;
    return out;
}

static uint8_t *write_u64(uint8_t *out, uint64_t value)
{
    for (unsigned i = 0; i < 8; i++) {
        *out++ = (uint8_t)(value >> (8 * i));
    }
    return out;
}

static uint8_t *write_header(const struct record *record, uint8_t *out)
{
    uint64_t retries = 0;
    for (uint32_t i = 0; i < record->request_count; i++) {
        retries |= record->requests[i].retry ? UINT64_C(1) << i : 0;
    }
    *out++ = KITH_RECORD_FORMAT;
    *out++ = (uint8_t)((record->has_note ? FLAG_NOTE : 0) | (retries != 0 ? FLAG_RETRIES : 0));
    if (record->has_note) {
        out = write_u64(out, record->note.run);
        out = write_varint(out, record->note.epoch);
    }
    out = write_varint(out, record->request_count);
    out = retries != 0 ? write_u64(out, retries) : out;
    for (uint32_t i = 0; i < record->request_count; i++) {
        const struct request_entry *entry = &record->requests[i];
        memcpy(out, entry->request.bytes, sizeof entry->request.bytes);
        out = write_u64(out + sizeof entry->request.bytes, entry->dot.actor.run);
        out = write_varint(out, entry->dot.actor.epoch);
        out = write_varint(out, entry->dot.counter);
        out = write_varint(out, entry->wall_ms);
    }
    return out;
}

/* Fills in what a changed record has: its bytes, state and hash. `ready` is the new row's encoding
 * where it exists already, empty where it has to be written; `hash` its hash where that is known.
 */
static enum kith_err finish(struct kith_arena *arena, const struct kith_rowop_env *env,
                            const struct kith_key *key, const struct record *record,
                            struct kith_bytes ready, const struct kith_checksum *hash,
                            struct kith_rowop_result *result)
{
    uint8_t header[HEADER_MAX_BYTES];
    size_t header_size = (size_t)(write_header(record, header) - header);
    size_t state_size = ready.size ? ready.size : kith_row_encoded_size(&result->new_row);
    size_t size = header_size + KITH_CHECKSUM_SIZE + state_size;
    uint8_t *bytes = kith_arena_alloc(arena, size);
    if (!bytes) {
        return KITH_ENOMEM;
    }
    memcpy(bytes, header, header_size);
    uint8_t *state = bytes + header_size + KITH_CHECKSUM_SIZE;
    if (ready.size != 0) {
        memcpy(state, ready.data, ready.size);
    } else {
        uint8_t *end = kith_row_write(&result->new_row, state);
        KITH_ASSERT(end == bytes + size);
    }
    result->changed = true;
    result->record = kith_bytes_make(bytes, size);
    result->state = kith_bytes_make(state, state_size);
    result->new_hash = hash ? *hash : kith_row_hash(key, result->state, env->secret);
    memcpy(bytes + header_size, result->new_hash.bytes, KITH_CHECKSUM_SIZE);
    return KITH_OK;
}

/* ---- Twins: siblings of one request under several dots ---- */

/* What is known of the dots of a request: the log, and what came with the operation. */
struct known {
    const struct record *record;
    const struct kith_request_id *request; /* of the operation; NULL = none */
    const struct kith_dot *dot;            /* that it made; NULL = none */
    const struct kith_row *sides[2];       /* what is put together: ours, and what came */
    const struct kith_floor *floor;        /* NULL = none */
};

/* Deleted here before the row was reaped: floor.h. */
static bool is_dead(const struct known *known, const struct kith_dot *dot)
{
    return known->floor && kith_floor_covers(known->floor, dot) &&
           !kith_clock_covers(&known->sides[0]->clock, dot);
}

static bool lacks(const struct kith_row *row, const struct kith_dot *dot)
{
    return kith_clock_covers(&row->clock, dot) && !kith_row_find(row, dot);
}

/* Whether a side has seen a sibling of the request and is without it: the write has been
 * replaced. */
static bool is_replaced(const struct known *known, uint32_t side,
                        const struct kith_request_id *request)
{
    const struct kith_row *row = known->sides[side], *other = known->sides[1 - side];
    const struct request_entry *entry = find_request(known->record, request);
    if ((entry && lacks(row, &entry->dot)) ||
        (known->dot && request_equal(known->request, request) && lacks(row, known->dot))) {
        return true;
    }
    for (uint32_t i = 0; i < other->sibling_count; i++) {
        if (request_equal(&other->siblings[i].request, request) &&
            lacks(row, &other->siblings[i].dot)) {
            return true;
        }
    }
    return false;
}

/* The siblings of `row` (what the two sides make) without the dead, and without those whose write
 * has been replaced under another dot; `own` (NULL: none) stays. The row's own array where all stay.
 * NULL: ENOMEM. */
static const struct kith_sibling *without_twins(struct kith_arena *arena, const struct known *known,
                                                const struct kith_row *row,
                                                const struct kith_dot *own, uint32_t *ret_count)
{
    struct kith_sibling *rest = NULL;
    uint32_t count = 0;
    for (uint32_t i = 0; i < row->sibling_count; i++) {
        const struct kith_sibling *sibling = &row->siblings[i];
        bool twin = !request_is_nil(&sibling->request) &&
                    (is_replaced(known, 0, &sibling->request) ||
                     is_replaced(known, 1, &sibling->request));
        bool goes = (twin || is_dead(known, &sibling->dot)) &&
                    !(own && kith_dot_equal(own, &sibling->dot));
        if (goes && !rest) {
            rest = kith_arena_alloc(arena, row->sibling_count * sizeof *rest);
            if (!rest) {
                return NULL;
            }
            memcpy(rest, row->siblings, i * sizeof *rest);
        }
        if (!goes) {
            if (rest) {
                rest[count] = *sibling;
            }
            count++;
        }
    }
    *ret_count = count;
    return rest ? rest : row->siblings;
}

/* ---- Put ---- */

/* Whether the clock has a dot of this run at or above `counter`. */
static bool run_reaches(const struct kith_clock *clock, uint64_t run, uint64_t counter)
{
    for (uint32_t i = 0; i < clock->count; i++) {
        if (clock->entries[i].actor.run == run && clock->entries[i].counter >= counter) {
            return true;
        }
    }
    return false;
}

/* The same, above counter_last: false where nothing can be above it. */
static bool is_foreign_run(const struct kith_clock *clock, const struct kith_rowop_env *env)
{
    return env->counter_last != UINT64_MAX && run_reaches(clock, env->run, env->counter_last + 1);
}

/* A context may name actors that the row here lacks: its writer has read another replica. How many,
 * and why: rowop.h, THE WRITER'S CONTEXT. */
static bool context_fits(const struct kith_clock *row, const struct kith_clock *context)
{
    uint32_t added = 0;
    for (uint32_t i = 0; i < context->count; i++) {
        added += kith_clock_get(row, &context->entries[i].actor) == 0 ? 1 : 0;
    }
    return added == 0 || row->count + added <= KITH_CLOCK_CONTEXT_MAX;
}

static bool refs_are_of(uint32_t volume, const struct kith_chunk_id *refs, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        if (kith_chunk_id_volume(&refs[i]) != volume) {
            return false;
        }
    }
    return true;
}

/* Whether what the put names, also in the siblings that its writer keeps, lies in the volume of the
 * row: by the volume nodes and mounts judge who may see it. */
static bool put_stays_in_volume(const struct kith_key *key, const struct kith_put_update *update,
                                const struct kith_row *context)
{
    uint32_t volume = kith_group_volume(&key->group);
    bool stays = refs_are_of(volume, update->refs, update->ref_count);
    for (uint32_t i = 0; stays && i < context->sibling_count; i++) {
        stays = refs_are_of(volume, context->siblings[i].refs, context->siblings[i].ref_count);
    }
    return stays;
}

/* The dot that `request` has made already, from the log or, where the row came by a merge that did
 * not tell, from a sibling. */
static bool find_duplicate(const struct record *record, const struct kith_row *row,
                           const struct kith_request_id *request, struct kith_dot *ret_dot)
{
    if (request_is_nil(request)) {
        return false;
    }
    const struct request_entry *entry = find_request(record, request);
    if (entry) {
        *ret_dot = entry->dot;
        return true;
    }
    for (uint32_t i = 0; i < row->sibling_count; i++) {
        if (request_equal(&row->siblings[i].request, request)) {
            *ret_dot = row->siblings[i].dot;
            return true;
        }
    }
    return false;
}

/* The actor that this node may use for the row: the noted one while it is of this run, else a new
 * epoch, which begins with this very counter. */
static struct kith_actor choose_actor(const struct record *record, const struct kith_row *row,
                                      const struct kith_rowop_env *env)
{
    /* a note without its entry in the clock: the row is not the one that the note was made for */
    if (record->has_note && record->note.run == env->run &&
        kith_clock_get(&row->clock, &record->note) != 0) {
        return record->note;
    }
    struct kith_actor actor = {env->run, env->counter};
    return actor;
}

static struct kith_row_update make_update(const struct kith_put_update *update,
                                          const struct kith_row *context, struct kith_bytes writer)
{
    struct kith_row_update made = {
        .context = context->clock,
        .kept_count = context->sibling_count,
        .kept = context->siblings,
        .has_sibling = update->has_sibling,
        .kind = update->kind,
        .writer = writer,
        .ref_count = update->ref_count,
        .refs = update->refs,
        .value = update->value,
    };
    return made;
}

/* Twins of what the put's context covers go with it: the dot that is new already says so. */
static enum kith_err put_twins(struct kith_arena *arena, const struct known *known,
                               struct kith_rowop_result *result)
{
    struct kith_row *row = &result->new_row;
    uint32_t count = 0;
    const struct kith_sibling *rest = without_twins(arena, known, row, &result->dot, &count);
    if (!rest && row->sibling_count > 0) {
        return KITH_ENOMEM;
    }
    row->siblings = rest;
    row->sibling_count = count;
    return KITH_OK;
}

enum kith_err kith_rowop_put(struct kith_arena *arena, const struct kith_rowop_env *env,
                             const struct kith_key *key, struct kith_bytes old,
                             const struct kith_put_update *update, struct kith_bytes writer,
                             uint64_t time, const struct kith_request_id *request,
                             struct kith_rowop_result *ret_result)
{
    KITH_ASSERT(env->counter != 0 && env->counter <= env->counter_last);
    struct record record;
    struct kith_rowop_result result;
    enum kith_err err = begin(arena, env, key, old, &record, &result);
    if (err != KITH_OK) {
        return err;
    }
    result.time = time;
    if (find_duplicate(&record, &result.old_row, request, &result.dot)) {
        const struct kith_sibling *sibling = kith_row_find(&result.old_row, &result.dot);
        result.duplicate = true;
        result.time = sibling ? sibling->time : 0;
        *ret_result = result;
        return KITH_OK;
    }
    struct kith_row context;
    err = kith_row_decode(arena, update->context, &context);
    if (err != KITH_OK) {
        return err == KITH_ENOMEM ? err : KITH_EFORMAT;
    }
    if (kith_row_is_empty(&context) && update->has_sibling &&
        result.old_row.sibling_count >= KITH_SIBLINGS_REFUSE) {
        return KITH_ELIMIT;
    }
    if (!put_stays_in_volume(key, update, &context)) {
        return KITH_EINVAL;
    }
    if (!context_fits(&result.old_row.clock, &context.clock)) {
        return KITH_ENOTREADY;
    }
    /* All dots of this run in this row were drawn before this one, so one that is not below it was
     * drawn by somebody else. */
    if (run_reaches(&result.old_row.clock, env->run, env->counter) ||
        run_reaches(&context.clock, env->run, env->counter)) {
        result.foreign_run = true;
        *ret_result = result;
        return KITH_OK;
    }
    result.dot.actor = choose_actor(&record, &result.old_row, env);
    result.dot.counter = env->counter;
    struct kith_row_update row_update = make_update(update, &context, writer);
    err = kith_row_put(arena, &result.old_row, &row_update, &result.dot, time, request,
                       &result.new_row);
    if (err == KITH_OK) {
        const struct known known = {
            &record, NULL, NULL, {&result.old_row, &context}, env->floor};
        err = put_twins(arena, &known, &result);
    }
    if (err != KITH_OK) {
        return err;
    }
    record.has_note = true;
    record.note = result.dot.actor;
    forget_old_requests(&record, env->wall_ms);
    if (!request_is_nil(request)) {
        note_request(&record, request, &result.dot, env);
    }
    err = finish(arena, env, key, &record, kith_bytes_make(NULL, 0), NULL, &result);
    if (err == KITH_OK) {
        *ret_result = result;
    }
    return err;
}

/* ---- Merge ---- */

static bool is_same_row(const struct kith_row *a, const struct kith_row *b)
{
    return a->clock.entries == b->clock.entries && a->clock.count == b->clock.count &&
           a->siblings == b->siblings && a->sibling_count == b->sibling_count;
}

/* Takes twins out of a merged row, which is a write with a dot of its own. */
static enum kith_err merge_twins(struct kith_arena *arena, const struct kith_rowop_env *env,
                                 const struct known *known, struct record *record,
                                 struct kith_rowop_result *result)
{
    struct kith_row merged = result->new_row;
    static const struct kith_request_id none;
    uint32_t count = 0;
    const struct kith_sibling *rest = without_twins(arena, known, &merged, NULL, &count);
    if (!rest && merged.sibling_count > 0) {
        return KITH_ENOMEM;
    }
    if (count == merged.sibling_count) {
        return KITH_OK;
    }
    if (env->run_stays && is_foreign_run(&merged.clock, env)) {
        return KITH_OK; /* no dot can be drawn here: who has the row next removes them */
    }
    result->wants_counter = env->counter == 0;
    result->foreign_run =
        !result->wants_counter && run_reaches(&merged.clock, env->run, env->counter);
    if (result->wants_counter || result->foreign_run) {
        return KITH_OK;
    }
    const struct kith_row_update removal = {
        .context = merged.clock, .kept_count = count, .kept = rest};
    result->dot.actor = choose_actor(record, &result->old_row, env);
    result->dot.counter = env->counter;
    enum kith_err err =
        kith_row_put(arena, &merged, &removal, &result->dot, 0, &none, &result->new_row);
    if (err == KITH_OK) {
        record->has_note = true;
        record->note = result->dot.actor;
    } else if (err == KITH_ELIMIT) { /* no room for a dot: merges are never refused */
        result->new_row = merged;
        err = KITH_OK;
    }
    return err;
}

enum kith_err kith_rowop_merge(struct kith_arena *arena, const struct kith_rowop_env *env,
                               const struct kith_key *key, struct kith_bytes old,
                               const struct kith_replica_row *incoming,
                               const struct kith_request_id *request,
                               struct kith_rowop_result *ret_result)
{
    struct record record;
    struct kith_rowop_result result;
    enum kith_err err = begin(arena, env, key, old, &record, &result);
    if (err != KITH_OK) {
        return err;
    }
    struct kith_row other;
    err = kith_row_decode(arena, incoming->state, &other);
    if (err != KITH_OK) {
        return err == KITH_ENOMEM ? err : KITH_EFORMAT;
    }
    if (!env->run_stays &&
        (is_foreign_run(&result.old_row.clock, env) || is_foreign_run(&other.clock, env))) {
        result.foreign_run = true;
        *ret_result = result;
        return KITH_OK;
    }
    err = kith_row_merge(arena, &result.old_row, &other, &result.new_row);
    if (err != KITH_OK) {
        return err;
    }
    const struct known known = {
        &record, request, incoming->has_dot ? &incoming->dot : NULL, {&result.old_row, &other},
        env->floor};
    err = merge_twins(arena, env, &known, &record, &result);
    if (err != KITH_OK) {
        return err;
    }
    if (result.wants_counter || result.foreign_run) {
        result.new_row = result.old_row;
        *ret_result = result;
        return KITH_OK;
    }
    bool same_state = is_same_row(&result.new_row, &result.old_row);
    bool note = incoming->has_dot && !request_is_nil(request) &&
                kith_clock_covers(&result.new_row.clock, &incoming->dot) &&
                !find_request(&record, request);
    if (same_state && !note) {
        *ret_result = result;
        return KITH_OK;
    }
    /* a note of an earlier run is good for nothing any more */
    record.has_note = record.has_note && record.note.run == env->run;
    forget_old_requests(&record, env->wall_ms);
    if (note) {
        note_request(&record, request, &incoming->dot, env);
    }
    struct kith_bytes ready = kith_bytes_make(NULL, 0);
    if (same_state) {
        ready = record.state;
    } else if (is_same_row(&result.new_row, &other)) {
        ready = incoming->state;
    }
    err = finish(arena, env, key, &record, ready, same_state ? &record.hash : NULL, &result);
    if (err == KITH_OK) {
        *ret_result = result;
    }
    return err;
}

/* ---- Reading ---- */

enum kith_err kith_rowop_state(const struct kith_key *key, struct kith_bytes record,
                               struct kith_bytes secret, struct kith_bytes *ret_state,
                               struct kith_checksum *ret_hash)
{
    struct record taken;
    enum kith_err err = read_verified(key, record, secret, &taken);
    if (err == KITH_OK) {
        *ret_state = taken.state;
        *ret_hash = taken.hash;
    }
    return err;
}

enum kith_err kith_rowop_find(struct kith_bytes record, const struct kith_request_id *request,
                              struct kith_dot *ret_dot)
{
    struct record taken;
    enum kith_err err = read_record(record, &taken);
    if (err != KITH_OK) {
        return err;
    }
    /* The log seldom fails to tell, so a row is decoded only then, with memory of its own. */
    struct kith_arena arena;
    struct kith_row row = {.sibling_count = 0};
    kith_arena_init(&arena, 0);
    if (!find_request(&taken, request)) {
        err = kith_row_decode(&arena, taken.state, &row);
    }
    if (err == KITH_OK && !find_duplicate(&taken, &row, request, ret_dot)) {
        err = KITH_ENOTFOUND;
    } else if (err != KITH_OK && err != KITH_ENOMEM) {
        err = KITH_ECORRUPT;
    }
    kith_arena_release(&arena);
    return err;
}

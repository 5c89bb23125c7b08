/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * What a damaged row referred to: kept as long as it is set aside; and not for ever, once it is back
 * without it, or dropped, whether its record can be read or not. And nothing goes that is named. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "store_flip.h"

static uint32_t partition_of(uint32_t group)
{
    struct kith_group id = group_of(group);
    return kith_group_partition(&id, PARTITIONS);
}

/* Whether something here refers to the chunk, as who sweeps is told. */
static bool is_named(struct place *place, uint32_t chunk)
{
    struct kith_sweep_chunk one = {chunk_id(chunk), 0};
    struct kith_store_op op = {
        .id = 2, .kind = KITH_STORE_SWEEP_LOOK, .durability = KITH_DURABLE_DISK};
    op.partition = kith_chunk_partition(&one.id, PARTITIONS);
    op.u.sweep.now_ms = 100000;
    op.u.sweep.grace_ms = 1000;
    op.u.sweep.count = 1;
    op.u.sweep.chunks = &one;
    op.u.sweep.step = KITH_SWEEP_ASK;
    const struct kith_store_done *done = ask(place, &op);
    assert_int_equal(done->err, KITH_OK);
    return done->u.sweep.kept_count == 1;
}

/* Chunks 1 to 8, a bit for each. */
static uint32_t named(struct place *place)
{
    uint32_t bits = 0;
    for (uint32_t i = 0; i < 8; i++) {
        bits |= is_named(place, i + 1) ? 1u << i : 0;
    }
    return bits;
}

/* Instead of what it was: a row that names those chunks. */
static void put_refs(struct place *place, uint32_t group, const char *name, uint32_t bits)
{
    struct kith_chunk_id refs[8];
    struct kith_bytes old = state_of(place, group, name);
    struct kith_arena arena = {0};
    struct kith_row row;
    struct kith_buf context;
    kith_buf_init(&context);
    assert_int_equal(kith_row_decode(&arena, old, &row), KITH_OK);
    row.sibling_count = 0;
    if (old.size > 0) {
        kith_row_encode(&row, &context);
    }
    struct kith_put_update update = update_of(name, "value");
    update.context = kith_buf_bytes(&context);
    for (uint32_t i = 0; i < 8; i++) {
        if ((bits >> i & 1) != 0) {
            refs[update.ref_count++] = chunk_id(i + 1);
        }
    }
    update.refs = refs;
    struct kith_store_op op = put_op(group, &update, 1);
    assert_int_equal(ask(place, &op)->err, KITH_OK);
    kith_arena_release(&arena);
    kith_buf_release(&context);
    free_bytes(old);
}

static enum kith_err get_row(struct place *place, const char *name)
{
    struct kith_bytes names[1] = {kith_bytes_make(name, strlen(name))};
    struct kith_store_op op = get_op(1, names, 1);
    return ask(place, &op)->err;
}

/* The rows of a partition, as core/repair/scrub.c goes over them. */
static uint32_t scrub(struct place *place, uint32_t partition)
{
    struct kith_store_op op = {.id = 9, .kind = KITH_STORE_SCRUB, .partition = partition};
    uint32_t damaged = 0;
    while (op.u.scrub.leaf < KITH_TREE_LEAVES) {
        const struct kith_store_done *done = ask(place, &op);
        assert_int_equal(done->err, KITH_OK);
        damaged += done->damaged;
        op.u.scrub.leaf = done->u.scrub.leaf;
    }
    return damaged;
}

static uint32_t scrub_all(struct place *place)
{
    uint32_t damaged = 0;
    for (uint32_t p = 0; p < PARTITIONS; p++) {
        damaged += scrub(place, p);
    }
    return damaged;
}

static void drop(struct place *place, uint32_t partition)
{
    struct kith_store_op op = {.id = 9, .kind = KITH_STORE_DROP, .partition = partition};
    while (ask(place, &op)->u.drop.more) {
    }
}

/* The tables as they lie on the disk, between two runs. */
struct raw {
    WT_CONNECTION *conn;
    WT_CURSOR *cursor;
};

static struct raw raw_open(struct place *place, const char *table)
{
    struct raw raw;
    WT_SESSION *session;
    char path[256], uri[32];
    must_close(place);
    snprintf(path, sizeof path, "%s/wt", place->dir);
    snprintf(uri, sizeof uri, "table:%s", table);
    assert_int_equal(wiredtiger_open(path, NULL, "log=(enabled)", &raw.conn), 0);
    assert_int_equal(raw.conn->open_session(raw.conn, NULL, NULL, &session), 0);
    assert_int_equal(session->open_cursor(session, uri, NULL, "overwrite", &raw.cursor), 0);
    return raw;
}

static void raw_close(struct place *place, struct raw *raw)
{
    assert_int_equal(raw->conn->close(raw->conn, NULL), 0);
    must_open(place);
}

/* Flips a bit where the record of that row of group 1 names the chunk. */
static void flip_ref(struct place *place, const char *name, uint32_t chunk)
{
    struct raw raw = raw_open(place, "rows");
    struct kith_chunk_id id = chunk_id(chunk);
    struct kith_group group = group_of(1);
    uint8_t copy[1000];
    WT_ITEM key, value;
    bool flipped = false;
    while (!flipped && raw.cursor->next(raw.cursor) == 0) {
        assert_int_equal(raw.cursor->get_key(raw.cursor, &key), 0);
        assert_int_equal(raw.cursor->get_value(raw.cursor, &value), 0);
        size_t size = 2 + KITH_GROUP_SIZE + strlen(name);
        if (key.size != size || value.size > sizeof copy ||
            memcmp((const uint8_t *)key.data + 2, group.bytes, KITH_GROUP_SIZE) != 0 ||
            memcmp((const uint8_t *)key.data + 2 + KITH_GROUP_SIZE, name, strlen(name)) != 0) {
            continue;
        }
        memcpy(copy, value.data, value.size);
        uint8_t *at = memmem(copy, value.size, id.bytes, sizeof id.bytes);
        assert_non_null(at);
        at[7] ^= 16;
        WT_ITEM changed = {.data = copy, .size = value.size};
        raw.cursor->set_value(raw.cursor, &changed);
        assert_int_equal(raw.cursor->update(raw.cursor), 0);
        flipped = true;
    }
    assert_true(flipped);
    raw_close(place, &raw);
}

/* A reference for which there is no row, or which it does not have. */
static void raw_ref(struct raw *raw, uint32_t chunk, uint32_t group, const char *name)
{
    uint8_t bytes[200];
    struct kith_chunk_id id = chunk_id(chunk);
    struct kith_group of = group_of(group);
    uint32_t partition = partition_of(group);
    memcpy(bytes, id.bytes, KITH_CHUNK_ID_SIZE);
    size_t size = KITH_CHUNK_ID_SIZE;
    bytes[size++] = 'r';
    bytes[size++] = (uint8_t)(partition >> 8);
    bytes[size++] = (uint8_t)partition;
    memcpy(bytes + size, of.bytes, KITH_GROUP_SIZE);
    size += KITH_GROUP_SIZE;
    memcpy(bytes + size, name, strlen(name));
    WT_ITEM key = {.data = bytes, .size = size + strlen(name)}, none = {.data = "", .size = 0};
    raw->cursor->set_key(raw->cursor, &key);
    raw->cursor->set_value(raw->cursor, &none);
    assert_int_equal(raw->cursor->insert(raw->cursor), 0);
}

/* The row is looked for. */
static void raw_mark(struct raw *raw, char kind, uint32_t group, const char *name)
{
    uint8_t bytes[100];
    struct kith_group of = group_of(group);
    uint32_t partition = partition_of(group);
    size_t size = 0;
    bytes[size++] = (uint8_t)kind;
    bytes[size++] = (uint8_t)(partition >> 8);
    bytes[size++] = (uint8_t)partition;
    memcpy(bytes + size, of.bytes, KITH_GROUP_SIZE);
    size += KITH_GROUP_SIZE;
    memcpy(bytes + size, name, strlen(name));
    WT_ITEM key = {.data = bytes, .size = size + strlen(name)}, none = {.data = "", .size = 0};
    raw->cursor->set_key(raw->cursor, &key);
    raw->cursor->set_value(raw->cursor, &none);
    assert_int_equal(raw->cursor->insert(raw->cursor), 0);
}

static uint32_t marks(struct place *place)
{
    struct raw raw = raw_open(place, "bad");
    uint32_t count = 0;
    while (raw.cursor->next(raw.cursor) == 0) {
        WT_ITEM key;
        assert_int_equal(raw.cursor->get_key(raw.cursor, &key), 0);
        uint8_t kind = *(const uint8_t *)key.data;
        count += kind == 's' || kind == 'w' ? 1 : 0;
    }
    raw_close(place, &raw);
    return count;
}

static void wrong_refs(struct place *place, uint64_t count)
{
    struct kith_store_verdict verdict;
    struct kith_error error = {KITH_OK, ""};
    assert_int_equal(kith_store_verify(place->store, true, &verdict, &error), KITH_OK);
    assert_int_equal(verdict.wrong_refs, count);
}

/* ---- At once ---- */

static void a_row_comes_back_with_fewer(void **state)
{
    struct place *place = *state;
    put_refs(place, 1, "one", 0x11);
    struct kith_bytes before = state_of(place, 1, "one");
    put_refs(place, 1, "one", 0x3b);
    put_refs(place, 2, "one", 0x02);
    flip_row(place, "one");
    assert_int_equal(get_row(place, "one"), KITH_ECORRUPT);
    assert_int_equal(named(place), 0x3b); /* as long as nobody knows better */
    verify(place, 1, 0);
    bring_back(place, "one", before);
    assert_int_equal(get_row(place, "one"), KITH_OK);
    assert_int_equal(named(place), 0x13);
    verify(place, 2, 0);
    free_bytes(before);
}

/* A put there is no return; what comes with it is named, and what the others bring. */
static void a_put_before_it_is_back(void **state)
{
    struct place *place = *state;
    put_refs(place, 1, "one", 0x01);
    struct kith_bytes before = state_of(place, 1, "one");
    put_refs(place, 1, "one", 0x07);
    flip_row(place, "one");
    assert_int_equal(get_row(place, "one"), KITH_ECORRUPT);
    struct kith_chunk_id refs[2] = {chunk_id(2), chunk_id(4)};
    struct kith_put_update update = update_of("one", "new");
    update.refs = refs;
    update.ref_count = 2;
    struct kith_store_op op = put_op(1, &update, 1);
    assert_int_equal(ask(place, &op)->err, KITH_OK);
    assert_int_equal(named(place), 0x0f);
    assert_int_equal(scrub_all(place), 0);
    assert_int_equal(named(place), 0x0f);
    bring_back(place, "one", before);
    assert_int_equal(named(place), 0x0b);
    verify(place, 1, 0);
    free_bytes(before);
}

/* What is kept for another owner is not our row. */
static void a_hint_is_no_return(void **state)
{
    struct place *place = *state;
    put_refs(place, 1, "one", 0x01);
    struct kith_bytes before = state_of(place, 1, "one");
    flip_row(place, "one");
    assert_int_equal(get_row(place, "one"), KITH_ECORRUPT);
    struct kith_put_update update = update_of("one", "new");
    struct kith_store_op op = put_op(1, &update, 1);
    assert_int_equal(ask(place, &op)->err, KITH_OK);
    struct kith_uuid target = {{9}};
    struct kith_hint_want want = {.custody = true, .target_count = 1, .targets = &target};
    struct kith_replica_row row = {.name = kith_bytes_make("one", 3), .state = before};
    op = (struct kith_store_op){.id = 3, .kind = KITH_STORE_MERGE, .partition = partition_of(1)};
    op.u.merge.group = group_of(1);
    op.u.merge.wall_ms = 1000;
    op.u.merge.row_count = 1;
    op.u.merge.rows = &row;
    op.u.merge.hint = &want;
    assert_int_equal(ask(place, &op)->err, KITH_OK);
    assert_int_equal(get_row(place, "one"), KITH_ECORRUPT);
    assert_int_equal(kith_store_counts(place->store).bad_rows, 1);
    free_bytes(before);
}

/* Rows that were set aside, one of them the group's own, and one that nobody has met yet. */
static void a_partition_is_dropped(void **state)
{
    struct place *place = *state;
    put_refs(place, 1, "", 0x01);
    put_refs(place, 1, "one", 0x06);
    put_refs(place, 1, "two", 0x18);
    put_refs(place, 1, "three", 0x40);
    uint32_t other = 2;
    while (partition_of(other) == partition_of(1)) {
        other++;
    }
    put_refs(place, other, "one", 0x22);
    flip_row(place, "");
    flip_row(place, "one");
    assert_int_equal(get_row(place, ""), KITH_ECORRUPT);
    assert_int_equal(get_row(place, "one"), KITH_ECORRUPT);
    flip_row(place, "two");
    assert_int_equal(named(place), 0x7f);
    drop(place, partition_of(1));
    assert_int_equal(kith_store_counts(place->store).bad_rows, 0);
    assert_int_equal(named(place), 0x22);
    verify(place, 1, 0);
}

/* ---- In time ---- */

/* The damage lies where the chunk was named. */
static void what_cannot_be_read(void **state)
{
    struct place *place = *state;
    for (uint32_t how = 0; how < 3; how++) {
        put_refs(place, 1, "one", 0x01);
        struct kith_bytes before = state_of(place, 1, "one");
        put_refs(place, 1, "one", 0x0f);
        flip_ref(place, "one", 3);
        assert_int_equal(scrub_all(place), 1);
        assert_int_equal(scrub_all(place), 0);
        assert_int_equal(named(place), 0x0f); /* set aside: it stays */
        if (how == 0) {
            bring_back(place, "one", before);
        } else {
            drop(place, partition_of(1));
        }
        uint32_t left = how == 0 ? 0x01 : 0;
        assert_int_equal(named(place), left | 0x04);
        wrong_refs(place, 1);
        if (how == 2) { /* it is back, whole, and names it again */
            put_refs(place, 1, "one", 0x05);
            left = 0x05;
        }
        assert_int_equal(scrub_all(place), 0);
        assert_int_equal(named(place), left);
        verify(place, how == 1 ? 0 : 1, 0);
        drop(place, partition_of(1));
        assert_int_equal(named(place), 0);
        free_bytes(before);
    }
}

/* A row that is looked for, and was damaged once more: the scrub of another partition comes first to
 * its references, before anybody has met it. Then it is set aside. */
static void one_that_was_not_met_yet(void **state)
{
    struct place *place = *state;
    uint32_t other = 2;
    while (partition_of(other) == partition_of(1)) {
        other++;
    }
    put_refs(place, 1, "one", 0x0f);
    flip_ref(place, "one", 3);
    for (uint32_t i = 0; i < 2; i++) {
        struct raw raw = raw_open(place, "bad");
        raw_mark(&raw, 's', 1, "one");
        raw_close(place, &raw);
        assert_int_equal(scrub(place, partition_of(other)), 0);
        assert_int_equal(named(place), 0x0f);
        assert_int_equal(scrub(place, partition_of(1)), 1 - i);
        assert_int_equal(named(place), 0x0f);
    }
}

/* More than one operation looks through; a start in between begins anew. */
static void a_long_index(void **state)
{
    struct place *place = *state;
    enum { MANY = 40000, STALE = 700, ROWS = 4 };
    put_refs(place, 1, "first", 0x01);
    struct raw raw = raw_open(place, "refs");
    for (uint32_t i = 0; i < STALE; i++) {
        raw_ref(&raw, 100 + i, 1, "nobody");
    }
    raw_ref(&raw, 5, 1, "first");
    raw_ref(&raw, 1000 + MANY, 1, "nobody");
    raw_close(place, &raw);
    struct kith_chunk_id *refs = malloc(MANY / ROWS * sizeof *refs);
    for (uint32_t i = 0; i < ROWS; i++) {
        char name[] = "long0";
        name[4] = (char)('0' + i);
        for (uint32_t k = 0; k < MANY / ROWS; k++) {
            refs[k] = chunk_id(1000 + i * MANY / ROWS + k);
        }
        struct kith_put_update update = update_of(name, "value");
        update.refs = refs;
        update.ref_count = MANY / ROWS;
        struct kith_store_op op = put_op(1, &update, 1);
        assert_int_equal(ask(place, &op)->err, KITH_OK);
    }
    free(refs);
    wrong_refs(place, STALE + 2);
    assert_int_equal(scrub_all(place), 0); /* nobody has said that there is anything */
    wrong_refs(place, STALE + 2);
    raw = raw_open(place, "bad");
    raw_mark(&raw, 's', 1, "nobody");
    raw_mark(&raw, 's', 1, "first");
    raw_mark(&raw, 's', 1, "long1");
    raw_close(place, &raw);
    assert_int_equal(kith_store_counts(place->store).bad_rows, 0);
    scrub(place, 0);
    must_close(place);
    must_open(place);
    uint32_t scrubs = 0;
    assert_int_equal(marks(place), 3);
    while (is_named(place, 1000 + MANY)) {
        scrub(place, scrubs++ % PARTITIONS);
        assert_true(scrubs < 100);
    }
    assert_in_range(scrubs, 4, 8); /* it goes on where it was */
    assert_int_equal(marks(place), 0);
    verify(place, 1 + ROWS, 0);
    assert_int_equal(named(place), 0x01);
    assert_true(is_named(place, 1000 + MANY - 1));
}

/* More rows than are looked for at a time, and one that is marked meanwhile. */
static void many_rows(void **state)
{
    struct place *place = *state;
    enum { ROWS = 600 };
    char name[8];
    struct raw raw = raw_open(place, "refs");
    for (uint32_t i = 0; i < ROWS; i++) {
        snprintf(name, sizeof name, "r%u", i);
        raw_ref(&raw, 3 + i % 2, 1 + i % 7, name);
    }
    raw_close(place, &raw);
    raw = raw_open(place, "bad");
    for (uint32_t i = 0; i < ROWS; i++) {
        snprintf(name, sizeof name, "r%u", i);
        raw_mark(&raw, 's', 1 + i % 7, name);
    }
    raw_close(place, &raw);
    scrub(place, 1);
    put_refs(place, 1, "one", 0x03);
    flip_ref(place, "one", 2);
    assert_int_equal(get_row(place, "one"), KITH_ECORRUPT);
    drop(place, partition_of(1));
    assert_int_equal(named(place) & 0x03, 0x02);
    for (uint32_t i = 0; i < 2 * PARTITIONS; i++) {
        scrub(place, i % PARTITIONS);
    }
    assert_int_equal(named(place), 0);
    assert_int_equal(marks(place), 0);
    verify(place, 0, 0);
}

/* Rows are written by several workers while it looks: no write fails for that, and whatever they
 * name has its reference at the end, though there was one before that had no row. */
static void while_rows_are_written(void **state)
{
    struct place *place = *state;
    enum { GROUPS = 40, ROWS = 6, BURST = 40, REFS = 4 };
    struct kith_chunk_id refs[REFS];
    char names[BURST][8];
    struct kith_put_update updates[BURST]; /* until they are done */
    uint32_t asked = 0;
    must_close(place);
    place->workers = 4;
    must_open(place);
    struct raw raw = raw_open(place, "refs");
    for (uint32_t i = 0; i < ROWS * GROUPS; i++) {
        for (uint32_t chunk = 1; chunk <= 2 * REFS; chunk++) {
            snprintf(names[0], sizeof names[0], "r%03u", i / GROUPS);
            raw_ref(&raw, chunk, i % GROUPS, names[0]);
        }
    }
    raw_close(place, &raw);
    raw = raw_open(place, "bad");
    for (uint32_t i = 0; i < ROWS * GROUPS; i++) {
        snprintf(names[0], sizeof names[0], "r%03u", i / GROUPS);
        raw_mark(&raw, 's', i % GROUPS, names[0]);
    }
    raw_close(place, &raw);
    for (uint32_t i = 0; i < REFS; i++) {
        refs[i] = chunk_id(1 + i);
    }
    for (uint32_t i = 0; i < ROWS * GROUPS; i++) {
        char *name = names[i % BURST];
        snprintf(name, sizeof names[0], "r%03u", i / GROUPS);
        struct kith_put_update *update = &updates[i % BURST];
        *update = update_of(name, "value");
        update->refs = refs;
        update->ref_count = REFS;
        struct kith_store_op op = put_op(i % GROUPS, update, 1);
        submit(place, &op);
        op = (struct kith_store_op){.id = 9, .kind = KITH_STORE_SCRUB, .partition = i % PARTITIONS};
        submit(place, &op);
        asked += 2;
        if (i % BURST == BURST - 1) {
            for (kith_store_kick(place->store); asked > 0; asked--) {
                assert_int_equal(next_done(place)->err, KITH_OK);
            }
            release_results(place);
        }
    }
    scrub_all(place);
    scrub_all(place);
    verify(place, ROWS * GROUPS, 0);
    assert_int_equal(named(place), 0x0f);
    assert_int_equal(marks(place), 0);
}

int main(void)
{
    place_secret();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_row_comes_back_with_fewer, setup, teardown),
        cmocka_unit_test_setup_teardown(a_put_before_it_is_back, setup, teardown),
        cmocka_unit_test_setup_teardown(a_hint_is_no_return, setup, teardown),
        cmocka_unit_test_setup_teardown(a_partition_is_dropped, setup, teardown),
        cmocka_unit_test_setup_teardown(what_cannot_be_read, setup, teardown),
        cmocka_unit_test_setup_teardown(one_that_was_not_met_yet, setup, teardown),
        cmocka_unit_test_setup_teardown(a_long_index, setup, teardown),
        cmocka_unit_test_setup_teardown(many_rows, setup, teardown),
        cmocka_unit_test_setup_teardown(while_rows_are_written, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

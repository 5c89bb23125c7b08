/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * store_flip.h - a store in which something has changed on the disk. Include it after cmocka.h. */
#ifndef KITH_TESTS_STORE_FLIP_H
#define KITH_TESTS_STORE_FLIP_H

#include <wiredtiger.h>

#include "store_place.h"

/* Flips a bit of the last byte of the record of that table whose key ends in `end`. */
static inline void flip(struct place *place, const char *table, const void *end, size_t size)
{
    WT_CONNECTION *conn;
    WT_SESSION *session;
    WT_CURSOR *cursor;
    char path[256], uri[32];
    bool flipped = false;
    must_close(place);
    snprintf(path, sizeof path, "%s/wt", place->dir);
    snprintf(uri, sizeof uri, "table:%s", table);
    assert_int_equal(wiredtiger_open(path, NULL, "log=(enabled)", &conn), 0);
    assert_int_equal(conn->open_session(conn, NULL, NULL, &session), 0);
    assert_int_equal(session->open_cursor(session, uri, NULL, "overwrite", &cursor), 0);
    while (!flipped && cursor->next(cursor) == 0) {
        WT_ITEM key, value;
        assert_int_equal(cursor->get_key(cursor, &key), 0);
        assert_int_equal(cursor->get_value(cursor, &value), 0);
        const uint8_t *bytes = key.data;
        if (key.size >= size && memcmp(bytes + key.size - size, end, size) == 0) {
            uint8_t *copy = malloc(value.size);
            assert_non_null(copy);
            memcpy(copy, value.data, value.size);
            copy[value.size - 1] ^= 4;
            WT_ITEM changed = {.data = copy, .size = value.size};
            cursor->set_value(cursor, &changed);
            assert_int_equal(cursor->update(cursor), 0);
            free(copy);
            flipped = true;
        }
    }
    assert_true(flipped);
    assert_int_equal(conn->close(conn, NULL), 0);
    must_open(place);
}

static inline void flip_row(struct place *place, const char *name)
{
    uint8_t end[64];
    struct kith_group group = group_of(1);
    memcpy(end, group.bytes, KITH_GROUP_SIZE);
    memcpy(end + KITH_GROUP_SIZE, name, strlen(name));
    flip(place, "rows", end, KITH_GROUP_SIZE + strlen(name));
}

/* As another owner's row: what it was before. */
static inline void bring_back(struct place *place, const char *name, struct kith_bytes state)
{
    struct kith_leaf_row row = {
        .group = group_of(1), .name = kith_bytes_make(name, strlen(name)), .state = state};
    struct kith_store_op op = {.kind = KITH_STORE_ABSORB};
    op.partition = kith_group_partition(&row.group, PARTITIONS);
    op.u.absorb.wall_ms = 1000;
    op.u.absorb.row_count = 1;
    op.u.absorb.rows = &row;
    const struct kith_store_done *done = ask(place, &op);
    assert_int_equal(done->err, KITH_OK);
    assert_int_equal(done->u.absorb.failed, 0);
    assert_int_equal(done->u.absorb.changed, 1);
}

#endif

/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Workers of the store whose transactions meet at one record: who comes second waits for the first
 * one, and does not fail. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "store/store_int.h"
#include "store_place.h"

/* Longer than all tries without a pause between them take, by far. */
#define HELD_NS 100000000L

/* A transaction of its own has written the row, and goes on. */
static WT_SESSION *row_hold(struct place *place, const struct kith_store_op *op, const char *name)
{
    WT_SESSION *session = NULL;
    WT_CURSOR *cursor = NULL;
    uint8_t buffer[KITH_ROW_KEY_MAX];
    struct kith_bytes key = store_row_key(op->partition, &op->u.put.group,
                                          kith_bytes_make(name, strlen(name)), buffer);
    WT_ITEM item = {.data = key.data, .size = key.size};
    WT_CONNECTION *conn = place->store->conn;
    assert_int_equal(conn->open_session(conn, NULL, NULL, &session), 0);
    assert_int_equal(session->begin_transaction(session, NULL), 0);
    assert_int_equal(session->open_cursor(session, "table:rows", NULL, "overwrite=true", &cursor),
                     0);
    cursor->set_key(cursor, &item);
    cursor->set_value(cursor, &item);
    assert_int_equal(cursor->insert(cursor), 0);
    return session;
}

static bool any_done(struct place *place)
{
    pthread_mutex_lock(&place->lock);
    bool any = place->count > 0;
    pthread_mutex_unlock(&place->lock);
    return any;
}

static void test_waits(void **state)
{
    struct place *place = *state;
    char text[32];
    put_text(place, 1, "other", "there is a cluster");
    release_results(place);
    struct kith_put_update update = update_of("a", "one");
    struct kith_store_op op = put_op(1, &update, 1);
    WT_SESSION *session = row_hold(place, &op, "a");
    submit(place, &op);
    kith_store_kick(place->store);
    struct timespec held = {0, HELD_NS};
    (void)nanosleep(&held, NULL);
    assert_false(any_done(place)); /* neither stored nor refused */
    assert_int_equal(session->rollback_transaction(session, NULL), 0);
    assert_int_equal(session->close(session, NULL), 0);
    assert_int_equal(next_done(place)->err, KITH_OK);
    assert_int_equal(siblings_of(place, 1, "a", text), 1);
    assert_string_equal(text, "one");
    verify(place, 2, 0);
}

/* One that never ends is no reason to wait for ever. */
static void test_gives_up(void **state)
{
    struct place *place = *state;
    struct kith_put_update update = update_of("a", "one");
    struct kith_store_op op = put_op(1, &update, 1);
    WT_SESSION *session = row_hold(place, &op, "a");
    assert_int_equal(ask(place, &op)->err, KITH_EIO);
    assert_int_equal(session->rollback_transaction(session, NULL), 0);
    assert_int_equal(session->close(session, NULL), 0);
    assert_int_equal(ask(place, &op)->err, KITH_OK);
    verify(place, 1, 0);
}

int main(void)
{
    place_secret();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_waits, setup, teardown),
        cmocka_unit_test_setup_teardown(test_gives_up, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

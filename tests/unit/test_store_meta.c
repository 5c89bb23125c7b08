/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * A store of another format is refused, and the message says what helps. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <wiredtiger.h>

#include "store_place.h"

static void write_format(const struct place *place, uint8_t format)
{
    WT_CONNECTION *conn;
    WT_SESSION *session;
    WT_CURSOR *cursor;
    const uint8_t number = 0xf0;
    WT_ITEM key = {.data = &number, .size = 1};
    WT_ITEM value = {.data = &format, .size = 1};
    char path[256];
    snprintf(path, sizeof path, "%s/wt", place->dir);
    assert_int_equal(wiredtiger_open(path, NULL, "log=(enabled)", &conn), 0);
    assert_int_equal(conn->open_session(conn, NULL, NULL, &session), 0);
    assert_int_equal(session->open_cursor(session, "table:meta", NULL, NULL, &cursor), 0);
    cursor->set_key(cursor, &key);
    cursor->set_value(cursor, &value);
    assert_int_equal(cursor->insert(cursor), 0);
    assert_int_equal(conn->close(conn, NULL), 0);
}

static void test_other_format(void **state)
{
    struct place *place = *state;
    struct kith_store_options options = {.path = place->dir, .run = 1};
    struct kith_store *store = NULL;
    struct kith_error error = {KITH_OK, ""};
    must_close(place);
    write_format(place, 1);
    assert_int_equal(kith_store_open(&options, &store, &error), KITH_EVERSION);
    assert_non_null(strstr(error.message, "earlier version"));
    assert_non_null(strstr(error.message, place->dir));
    assert_non_null(strstr(error.message, "move the directory away"));
    write_format(place, 200);
    assert_int_equal(kith_store_open(&options, &store, &error), KITH_EVERSION);
    assert_non_null(strstr(error.message, "later version"));
    write_format(place, 2);
    must_open(place);
}

int main(void)
{
    place_secret();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_other_format, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * How the owners' rows stand to each other. */
/* clang-format off */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
/* clang-format on */

#include <stdlib.h>
#include <string.h>

#include "ctl/files/explain.h"

static struct kith_arena arena;
static struct kith_view_node nodes[3];

/* A row with the writes 1 to `counter` of one actor, the last of them there where `live`. */
static struct kith_row row_with(uint64_t counter, bool live)
{
    struct kith_row row;
    struct kith_clock_entry *entry = kith_arena_calloc(&arena, 1, sizeof(*entry));
    struct kith_sibling *sibling = kith_arena_calloc(&arena, 1, sizeof(*sibling));
    assert_true(entry && sibling);
    memset(&row, 0, sizeof(row));
    entry->actor.run = 7;
    entry->actor.epoch = 1;
    entry->counter = counter;
    sibling->dot.actor = entry->actor;
    sibling->dot.counter = counter;
    sibling->writer = kith_bytes_make("anna@mars\033", 10);
    sibling->value = kith_bytes_make("hello", 5);
    row.clock.count = 1;
    row.clock.entries = entry;
    row.sibling_count = live ? 1 : 0;
    row.siblings = sibling;
    return row;
}

static struct kith_explain explain_of(const struct kith_row rows[3], const uint8_t hashes[3])
{
    struct kith_explain explain;
    memset(&explain, 0, sizeof(explain));
    explain.what = "key";
    explain.name = kith_bytes_make("greeting", 8);
    explain.count = 3;
    for (uint32_t i = 0; i < 3; i++) {
        nodes[i].uuid.bytes[0] = (uint8_t)(i + 1);
        explain.owners[i].node = &nodes[i];
        explain.owners[i].row = rows[i];
        explain.owners[i].hash.bytes[0] = hashes[i];
        explain.owners[i].state = hashes[i] == 0xff ? KITH_EXPLAIN_NO_ANSWER : KITH_EXPLAIN_NEVER;
    }
    assert_int_equal(kith_explain_compare(&arena, &explain), KITH_OK);
    json_t *json = kith_explain_json(&explain);
    assert_non_null(json);
    json_decref(json);
    return explain;
}

static void test_states(void **state)
{
    (void)state;
    struct kith_row none;
    memset(&none, 0, sizeof(none));
    const struct kith_row same[3] = {row_with(3, true), row_with(3, true), row_with(3, true)};
    struct kith_explain all = explain_of(same, (const uint8_t[]){5, 5, 5});
    assert_true(all.agree);
    assert_int_equal(all.owners[2].state, KITH_EXPLAIN_WHOLE);
    const struct kith_row behind[3] = {row_with(2, true), none, row_with(3, true)};
    struct kith_explain one = explain_of(behind, (const uint8_t[]){4, 0, 5});
    assert_false(one.agree);
    assert_int_equal(one.owners[0].state, KITH_EXPLAIN_BEHIND);
    assert_int_equal(one.owners[1].state, KITH_EXPLAIN_NEVER);
    assert_int_equal(one.owners[2].state, KITH_EXPLAIN_WHOLE);
    assert_int_equal(one.whole.sibling_count, 1);
    const struct kith_row empty[3] = {none, none, none};
    assert_true(explain_of(empty, (const uint8_t[]){0, 0, 0xff}).agree);
    const struct kith_row wrong[3] = {row_with(3, true), row_with(3, false), none};
    struct kith_explain bad = explain_of(wrong, (const uint8_t[]){5, 6, 0xff});
    assert_false(bad.agree);
    assert_int_equal(bad.owners[1].state, KITH_EXPLAIN_WRONG);
    assert_int_equal(bad.answered, 2);
    kith_arena_reset(&arena);
}

static void test_screen(void **state)
{
    (void)state;
    char *text = NULL;
    size_t size = 0;
    struct kith_table table = {.partitions = 8};
    struct kith_view view = {.table = &table};
    const struct kith_row rows[3] = {row_with(2, true), row_with(3, true), row_with(3, true)};
    struct kith_explain explain = explain_of(rows, (const uint8_t[]){4, 5, 0xff});
    explain.owners[0].pair_count = 2;
    explain.owners[0].pairs[1].rows_ms_ago = 14 * 60000;
    explain.owners[1].pair_count = 1;
    explain.owners[1].pairs[0].rows_ms_ago = UINT64_MAX;
    (void)strcpy(explain.owners[2].error, "n3:7070: connection refused");
    FILE *out = open_memstream(&text, &size);
    assert_non_null(out);
    assert_int_equal(kith_explain_print(&view, &explain, out, false), KITH_OK);
    (void)fclose(out);
    assert_string_equal(
        text,
        "\nRow \"greeting\" (key) of group 00000000000000000000000000000000   partition 0 of 8\n"
        "STATE      NODE      ADDRESS  ZONE  VERSIONS  CLOCKS  HASH      COMPARED\n"
        "behind     01000000  -        -     1         1       04000000  14 m\n"
        "whole      02000000  -        -     1         1       05000000  not yet\n"
        "no answer  03000000  -        -     -         -       -         -\n"
        "TIME                  SIZE  KIND   OWNERS  DOT\n"
        "1970-01-01T00:00:00Z  5 B   value  1 of 2  0000000000000007/1:3\n"
        "0000000000000007/1:3 by anna@mars\\x1b\n"
        "No answer: n3:7070: connection refused. See: kithctl status\n"
        "The owners do not agree: those that are behind get the rest when it is read, or from "
        "the next exchange.\n");
    free(text);
    kith_arena_release(&arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_states),
                                       cmocka_unit_test(test_screen)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}

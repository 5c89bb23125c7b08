/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * What the rows of a name tell of versions in conflict. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <string.h>

#include "conflicts/conflict_row.h"

#define ROW_MAX 8u

struct made_row {
    struct kith_arena arena;
    struct kith_sibling siblings[ROW_MAX];
    struct kith_row row;
};

static struct kith_bytes text(const char *string)
{
    return kith_bytes_make(string, strlen(string));
}

static void begin(struct made_row *made)
{
    memset(made, 0, sizeof(*made));
    kith_arena_init(&made->arena, 0);
    made->row.siblings = made->siblings;
}

/* The next version, by dot. contents: of a file; of a directory its id. */
static struct kith_sibling *add(struct made_row *made, enum kith_type type, uint64_t ms,
                                const char *writer, const char *contents)
{
    struct kith_sibling *sibling = &made->siblings[made->row.sibling_count++];
    struct kith_inode_record record;
    struct kith_buf buf;
    memset(&record, 0, sizeof(record));
    kith_buf_init(&buf);
    record.type = type;
    record.file_id = 7;
    record.attrs.have = KITH_ATTR_MODE;
    record.attrs.mode = made->row.sibling_count; /* no two values are equal */
    if (type == KITH_TYPE_DIR) {
        memcpy(record.dir_id, contents, strlen(contents));
    } else if (type != KITH_TYPE_LINK) {
        record.contents = text(contents);
    }
    kith_inode_record_encode(&record, &buf);
    assert_false(buf.failed);
    sibling->value = kith_bytes_make(kith_arena_copy(&made->arena, buf.data, buf.size), buf.size);
    kith_buf_release(&buf);
    sibling->dot.actor.run = 1;
    sibling->dot.counter = made->row.sibling_count;
    sibling->time = ms << 16;
    sibling->writer = text(writer);
    sibling->request.bytes[0] = (uint8_t)(made->row.sibling_count + ms % 100);
    return sibling;
}

/* The contents of the versions in turn, "a b c". */
static void expect(struct made_row *made, const struct made_row *shared, const char *want,
                   uint64_t since_ms, const char *writers)
{
    struct kith_conflict conflict;
    char got[200] = "";
    assert_int_equal(
        kith_conflict_of(&made->arena, &made->row, shared ? &shared->row : NULL, &conflict),
        KITH_OK);
    for (uint32_t i = 0; i < conflict.count; i++) {
        const struct kith_inode_record *record = &conflict.versions[i].record;
        bool dir = record->type == KITH_TYPE_DIR;
        strcat(got, i > 0 ? " " : "");
        strncat(got, dir ? (const char *)record->dir_id : (const char *)record->contents.data,
                dir ? 1 : record->contents.size);
    }
    assert_string_equal(got, want);
    assert_int_equal(conflict.since_ms, since_ms);
    got[0] = '\0';
    for (uint32_t i = 0; i < conflict.writer_count; i++) {
        strcat(got, i > 0 ? " " : "");
        strncat(got, (const char *)conflict.writers[i].data, conflict.writers[i].size);
    }
    assert_string_equal(got, writers);
}

static void test_entry(void **state)
{
    (void)state;
    struct made_row made;
    begin(&made);
    expect(&made, NULL, "", 0, "");
    assert_true(kith_conflict_none(&made.row));
    add(&made, KITH_TYPE_FILE, 500, "anna", "a");
    expect(&made, NULL, "a", 0, "anna");
    assert_true(kith_conflict_none(&made.row));
    add(&made, KITH_TYPE_FILE, 900, "ben", "b");
    assert_false(kith_conflict_none(&made.row));
    expect(&made, NULL, "b a", 500, "anna ben");
    add(&made, KITH_TYPE_FILE, 700, "anna", "c");
    expect(&made, NULL, "b c a", 500, "anna ben");
    add(&made, KITH_TYPE_FILE, 950, "an", "d")->kind = KITH_SIBLING_MARK; /* is none */
    expect(&made, NULL, "b c a", 500, "anna ben");
    kith_arena_release(&made.arena);

    begin(&made); /* directories are told, and references are no versions */
    add(&made, KITH_TYPE_DIR, 500, "anna", "x");
    assert_false(kith_conflict_none(&made.row));
    add(&made, KITH_TYPE_DIR, 400, "ben", "y");
    add(&made, KITH_TYPE_LINK, 900, "ben", "");
    add(&made, KITH_TYPE_FILE, 950, "carl", "f");
    expect(&made, NULL, "x f y", 400, "anna ben carl");
    kith_arena_release(&made.arena);
}

static void test_shared(void **state)
{
    (void)state;
    struct made_row made;
    struct made_row shared;
    begin(&made);
    begin(&shared);
    add(&made, KITH_TYPE_LINK, 500, "anna", "");
    assert_false(kith_conflict_none(&made.row));
    expect(&made, NULL, "", 0, ""); /* it refers to nothing */
    expect(&made, &shared, "", 0, "");
    add(&shared, KITH_TYPE_FILE, 600, "anna", "a");
    expect(&made, &shared, "a", 0, "anna");
    add(&shared, KITH_TYPE_FILE, 650, "ben", "a"); /* another mode alone */
    expect(&made, &shared, "a", 0, "ben");
    add(&shared, KITH_TYPE_FILE, 300, "carl", "b");
    expect(&made, &shared, "a b", 300, "ben carl");
    add(&made, KITH_TYPE_FILE, 400, "dora", "own"); /* beside the reference, of the name alone */
    expect(&made, &shared, "a own b", 300, "ben carl dora");
    kith_arena_release(&made.arena);
    kith_arena_release(&shared.arena);
}

static void test_later_format(void **state)
{
    (void)state;
    struct made_row made;
    struct kith_conflict conflict;
    begin(&made);
    static const uint8_t later[] = {200, 1};
    add(&made, KITH_TYPE_FILE, 500, "anna", "a")->value = kith_bytes_make(later, sizeof(later));
    assert_false(kith_conflict_none(&made.row));
    assert_int_not_equal(kith_conflict_of(&made.arena, &made.row, NULL, &conflict), KITH_OK);
    kith_arena_release(&made.arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_entry),
        cmocka_unit_test(test_shared),
        cmocka_unit_test(test_later_format),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

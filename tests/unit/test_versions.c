/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Which version bears a name, and by which names the others are shown. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "format/versions.h"
#include "lib/random.h"

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
    memset(made, 0, sizeof *made);
    kith_arena_init(&made->arena, 0);
    made->row.siblings = made->siblings;
}

/* The next version, by dot. contents: of a file; of a directory its id. */
static struct kith_sibling *add(struct made_row *made, enum kith_type type, uint64_t ms,
                                const char *contents)
{
    struct kith_sibling *sibling = &made->siblings[made->row.sibling_count++];
    struct kith_inode_record record;
    struct kith_buf buf;
    memset(&record, 0, sizeof record);
    kith_buf_init(&buf);
    record.type = type;
    record.file_id = 7;
    record.attrs.have = KITH_ATTR_MODE;
    record.attrs.mode = made->row.sibling_count; /* no two values are equal */
    if (type == KITH_TYPE_DIR) {
        memcpy(record.dir_id, contents, strlen(contents));
    } else {
        record.contents = text(contents);
    }
    kith_inode_record_encode(&record, &buf);
    assert_false(buf.failed);
    sibling->value = kith_bytes_make(kith_arena_copy(&made->arena, buf.data, buf.size), buf.size);
    kith_buf_release(&buf);
    sibling->dot.actor.run = 1;
    sibling->dot.counter = made->row.sibling_count;
    sibling->time = ms << 16;
    sibling->writer = text("anna@mars");
    sibling->request.bytes[0] = (uint8_t)made->row.sibling_count;
    return sibling;
}

static void expect(struct made_row *made, unsigned count, const unsigned dots[])
{
    struct kith_version *versions;
    uint32_t got;
    assert_int_equal(kith_versions_list(&made->arena, &made->row, &versions, &got), KITH_OK);
    assert_int_equal(got, count);
    for (unsigned i = 0; i < count; i++) {
        assert_int_equal(versions[i].sibling->dot.counter, dots[i]);
    }
    const struct kith_sibling *winner = kith_versions_winner(&made->row);
    assert_true(count == 0 ? winner == NULL : winner == versions[0].sibling);
    kith_arena_release(&made->arena);
}

static void test_order(void **state)
{
    (void)state;
    struct made_row made;
    begin(&made);
    expect(&made, 0, NULL);

    begin(&made); /* the latest bears the name, among equal times the highest dot */
    add(&made, KITH_TYPE_FILE, 500, "a");
    add(&made, KITH_TYPE_FILE, 900, "b");
    add(&made, KITH_TYPE_FILE, 100, "c");
    add(&made, KITH_TYPE_FILE, 900, "d");
    expect(&made, 4, (const unsigned[]){4, 2, 1, 3});

    begin(&made); /* a directory does, however old it is; marks are no versions */
    add(&made, KITH_TYPE_FILE, 500, "a");
    add(&made, KITH_TYPE_DIR, 100, "dir");
    add(&made, KITH_TYPE_FILE, 900, "b")->kind = KITH_SIBLING_MARK;
    add(&made, KITH_TYPE_SYMLINK, 700, "");
    made.row.sibling_count--;
    expect(&made, 2, (const unsigned[]){2, 1});
}

static void test_alike(void **state)
{
    (void)state;
    struct made_row made;
    begin(&made); /* one write under two dots */
    add(&made, KITH_TYPE_FILE, 500, "a");
    add(&made, KITH_TYPE_FILE, 900, "b")->request.bytes[0] = 1;
    add(&made, KITH_TYPE_FILE, 700, "c");
    expect(&made, 2, (const unsigned[]){2, 3});

    begin(&made); /* equal values, which are not those of the winner */
    add(&made, KITH_TYPE_FILE, 500, "a");
    add(&made, KITH_TYPE_FILE, 900, "b");
    add(&made, KITH_TYPE_FILE, 700, "c")->value = made.siblings[0].value;
    expect(&made, 2, (const unsigned[]){2, 3});

    begin(&made); /* one directory, and another */
    add(&made, KITH_TYPE_DIR, 500, "one");
    add(&made, KITH_TYPE_DIR, 900, "two");
    add(&made, KITH_TYPE_DIR, 700, "one");
    expect(&made, 2, (const unsigned[]){2, 3});
}

static void test_unreadable(void **state)
{
    (void)state;
    struct made_row made;
    struct kith_version *versions;
    uint32_t count;
    begin(&made); /* a later format: not shown, but where it bears the name that is said */
    add(&made, KITH_TYPE_FILE, 900, "a");
    add(&made, KITH_TYPE_FILE, 500, "b")->value = text("\xff what");
    expect(&made, 1, (const unsigned[]){1});
    begin(&made);
    add(&made, KITH_TYPE_FILE, 100, "a");
    add(&made, KITH_TYPE_FILE, 500, "b")->value = text("\xff what");
    assert_int_not_equal(kith_versions_list(&made.arena, &made.row, &versions, &count), KITH_OK);
    kith_arena_release(&made.arena);
}

static void expect_name(const char *base, enum kith_conflict_style style, const char *writer,
                        const char *before, const char *after)
{
    struct made_row made;
    char name[KITH_FS_NAME_MAX + 1];
    begin(&made);
    struct kith_sibling *sibling =
        add(&made, KITH_TYPE_FILE, UINT64_C(1795224600123), "a"); /* 2026-11-21 01:30:00.123 */
    sibling->writer = text(writer);
    size_t size = kith_conflict_name(text(base), sibling, style, false, name);
    assert_int_equal(size, strlen(name));
    assert_int_equal(size, strlen(before) + 8 + strlen(after));
    assert_int_equal(strncmp(name, before, strlen(before)), 0);
    assert_string_equal(name + strlen(before) + 8, after);
    assert_int_equal(strspn(name + strlen(before), "0123456789abcdef"), 8);
    kith_arena_release(&made.arena);
}

static void test_names(void **state)
{
    (void)state;
    const enum kith_conflict_style suffix = KITH_CONFLICT_SUFFIX, infix = KITH_CONFLICT_INFIX;
#define AT ".conflict-20261121T013000Z-"
    expect_name("plan.odt", suffix, "ben@fra-pc3", "plan.odt" AT "ben@fra-pc3-", "");
    expect_name("plan.odt", infix, "ben@fra-pc3", "plan" AT "ben@fra-pc3-", ".odt");
    expect_name("a.tar.gz", infix, "b@c", "a.tar" AT "b@c-", ".gz");
    expect_name(".bashrc", infix, "b@c", ".bashrc" AT "b@c-", ""); /* no file type */
    expect_name("ends.", infix, "b@c", "ends." AT "b@c-", "");
    expect_name("x.averylongextension", infix, "b@c", "x.averylongextension" AT "b@c-", "");
    expect_name("n", suffix, "a/b\n@c", "n" AT "a_b_@c-", "");
    expect_name("n", suffix, "", "n" AT "unknown-", "");
#undef AT
}

/* Whether one of the readings of the name leads to the base. */
static bool leads_back(struct kith_bytes name, enum kith_conflict_style style,
                       struct kith_bytes base)
{
    struct kith_conflict_base guess;
    for (unsigned i = 0; kith_conflict_base(name, style, i, &guess); i++) {
        size_t both = guess.stem.size + guess.extension.size;
        if ((both == base.size || (guess.cut && both < base.size)) &&
            memcmp(base.data, guess.stem.data, guess.stem.size) == 0 &&
            memcmp(base.data + base.size - guess.extension.size, guess.extension.data,
                   guess.extension.size) == 0) {
            return true;
        }
    }
    return false;
}

static size_t random_name(struct test_random *random, char *name)
{
    static const char *const parts[] = {"a",  ".",  "ä",  "€", "😀", "\x80", "\xff",
                                        "-",  "Z",  "0f", "T", " ",  "odt",  ".conflict-",
                                        ".conflict-20261121T013000Z-a-01234567"};
    size_t size = 0, want = 1 + test_random_below(random, KITH_FS_NAME_MAX);
    while (size < want) {
        const char *part = parts[test_random_below(random, sizeof parts / sizeof parts[0])];
        size_t left = KITH_FS_NAME_MAX - size;
        size_t take = strlen(part) < left ? strlen(part) : left;
        memcpy(name + size, part, take);
        size += take;
    }
    return size;
}

/* Whatever the name: it fits, is no other file's, and can be read back. */
static void test_any_name(void **state)
{
    (void)state;
    struct test_random random = {20261123};
    for (unsigned i = 0; i < 20000; i++) {
        char base[KITH_FS_NAME_MAX + 1], name[KITH_FS_NAME_MAX + 1], other[KITH_FS_NAME_MAX + 1];
        uint8_t writer[KITH_WRITER_MAX];
        struct made_row made;
        begin(&made);
        struct kith_sibling *sibling =
            add(&made, KITH_TYPE_FILE, (uint64_t)test_random_below(&random, UINT32_MAX) << 15, "a");
        size_t base_size = random_name(&random, base);
        size_t writer_size = test_random_below(&random, KITH_WRITER_MAX + 1);
        for (size_t k = 0; k < writer_size; k++) {
            writer[k] = (uint8_t)test_random_below(&random, 256);
        }
        sibling->writer = kith_bytes_make(writer, writer_size);
        enum kith_conflict_style style =
            test_random_below(&random, 2) == 0 ? KITH_CONFLICT_SUFFIX : KITH_CONFLICT_INFIX;
        bool wide = test_random_below(&random, 2) == 0;
        struct kith_bytes whole = kith_bytes_make(base, base_size);
        size_t size = kith_conflict_name(whole, sibling, style, wide, name);
        assert_true(size <= KITH_FS_NAME_MAX);
        assert_int_equal(strlen(name), size);
        assert_null(memchr(name, '/', size));
        assert_true(kith_conflict_name_like(name, size));
        assert_true(leads_back(kith_bytes_make(name, size), style, whole));
        sibling->dot.counter++; /* another version */
        kith_conflict_name(whole, sibling, style, wide, other);
        assert_string_not_equal(name, other);
        kith_arena_release(&made.arena);
    }
}

/* A writer's machine may be called like a hash with an extension, where the file has none. */
static void test_writer_like_hash(void **state)
{
    (void)state;
    struct kith_bytes name =
        text("Makefile.conflict-20261121T013000Z-anna@db-0a1b2c3d.lan-9f3c01d2");
    struct kith_conflict_base base;
    assert_true(leads_back(name, KITH_CONFLICT_INFIX, text("Makefile")));
    assert_true(leads_back(name, KITH_CONFLICT_INFIX, text("Makefile.lan-9f3c01d2")));
    assert_true(kith_conflict_base(name, KITH_CONFLICT_INFIX, 1, &base));
    assert_int_equal(base.stem.size, 8);
    assert_int_equal(base.extension.size, 0);
    assert_false(kith_conflict_base(name, KITH_CONFLICT_INFIX, 2, &base));
    assert_true(leads_back(name, KITH_CONFLICT_SUFFIX, text("Makefile")));
    assert_false(kith_conflict_base(name, KITH_CONFLICT_SUFFIX, 1, &base));
}

static void test_not_like(void **state)
{
    (void)state;
    static const char *const names[] = {
        "",
        "a",
        "a.conflict-",
        "report.conflict-anna",
        ".conflict-20261121T013000Z-a-01234567",      /* of no name */
        "a.conflict-20261121T013000Z-a-0123456",      /* seven digits */
        "a.conflict-20261121T013000Z-a-0123456G",     /* no digit */
        "a.conflict-20261121X013000Z-a-01234567",     /* no time */
        "a.conflict-20261121T013000Z01234567",        /* no writer */
        "a.conflict-20261121T013000Z-a-01234567.odt", /* an extension */
    };
    struct kith_conflict_base base;
    for (unsigned i = 0; i < sizeof names / sizeof names[0]; i++) {
        assert_false(kith_conflict_base(text(names[i]), KITH_CONFLICT_SUFFIX, 0, &base));
    }
    assert_true(kith_conflict_base(text(names[9]), KITH_CONFLICT_INFIX, 0, &base));
    assert_false(kith_conflict_name_like("a.conflict-", 11));
}

static bool in_conflict(struct made_row *made, uint32_t volume, struct kith_bytes name)
{
    static const uint8_t own[12] = {3};
    struct kith_key key = {kith_group_make(volume, own), name};
    bool is = true;
    assert_int_equal(kith_versions_conflict(&made->arena, &key, &made->row, &is), KITH_OK);
    return is;
}

/* Of a file with one name, and of one with several, in one directory or in several. */
static void expect_conflict(struct made_row *made, bool entry, bool shared)
{
    struct kith_rowname name;
    struct kith_bytes plan = text("plan");
    assert_int_equal(in_conflict(made, KITH_VOLUME_FS, plan), entry);
    assert_int_equal(in_conflict(made, 0x80000005u, plan), entry); /* a volume's number */
    assert_false(in_conflict(made, KITH_VOLUME_CLUSTER, plan));
    kith_rowname_shared(9, &name);
    assert_int_equal(in_conflict(made, KITH_VOLUME_FS, kith_rowname_bytes(&name)), shared);
    const struct kith_sibling *winner = kith_versions_winner(&made->row);
    bool dir = winner != NULL && kith_inode_record_type(winner->value) == KITH_TYPE_DIR;
    assert_int_equal(in_conflict(made, KITH_VOLUME_FS, kith_bytes_make("", 0)), !dir && shared);
    /* what is no file, or in no filesystem */
    assert_false(in_conflict(made, KITH_VOLUME_FS, kith_bytes_make("a\0?", 3)));
    kith_rowname_attr(plan, &name);
    assert_false(in_conflict(made, KITH_VOLUME_FS, kith_rowname_bytes(&name)));
    assert_int_equal(kith_rowname_xattr(plan, text("user.x"), &name), KITH_OK);
    assert_false(in_conflict(made, KITH_VOLUME_FS, kith_rowname_bytes(&name)));
    assert_false(in_conflict(made, KITH_VOLUME_KV, plan));
    assert_false(in_conflict(made, KITH_VOLUME_CLUSTER, plan));
    kith_arena_release(&made->arena);
}

static void test_conflict(void **state)
{
    (void)state;
    struct made_row made;
    begin(&made);
    expect_conflict(&made, false, false);
    begin(&made);
    add(&made, KITH_TYPE_FILE, 500, "a");
    expect_conflict(&made, false, false);
    begin(&made);
    add(&made, KITH_TYPE_FILE, 500, "a");
    add(&made, KITH_TYPE_FILE, 900, "b");
    expect_conflict(&made, true, true);

    begin(&made); /* one write under two dots, and a mark */
    add(&made, KITH_TYPE_FILE, 500, "a");
    add(&made, KITH_TYPE_FILE, 900, "b")->request.bytes[0] = 1;
    add(&made, KITH_TYPE_FILE, 700, "c")->kind = KITH_SIBLING_MARK;
    expect_conflict(&made, false, false);

    begin(&made); /* another mode: two of a name's, one of what several names share */
    add(&made, KITH_TYPE_FILE, 500, "a");
    add(&made, KITH_TYPE_FILE, 900, "a");
    expect_conflict(&made, true, false);

    begin(&made); /* references to shared inodes are no versions beside another */
    add(&made, KITH_TYPE_LINK, 500, "");
    add(&made, KITH_TYPE_FILE, 900, "a");
    expect_conflict(&made, false, true);
    begin(&made);
    add(&made, KITH_TYPE_LINK, 900, "");
    add(&made, KITH_TYPE_LINK, 800, "");
    expect_conflict(&made, false, false);
    begin(&made);
    add(&made, KITH_TYPE_LINK, 900, "");
    add(&made, KITH_TYPE_FILE, 500, "a");
    expect_conflict(&made, true, true);

    begin(&made); /* one directory made twice, or two things of one name */
    add(&made, KITH_TYPE_DIR, 500, "one");
    add(&made, KITH_TYPE_DIR, 900, "one");
    expect_conflict(&made, false, false);
    begin(&made);
    add(&made, KITH_TYPE_DIR, 500, "one");
    add(&made, KITH_TYPE_FILE, 900, "a");
    expect_conflict(&made, true, true);

    begin(&made); /* values that are no inodes, and a version of a later format */
    add(&made, KITH_TYPE_FILE, 500, "a")->value = text("value");
    add(&made, KITH_TYPE_FILE, 900, "b")->value = text("other");
    expect_conflict(&made, false, false);
    begin(&made);
    add(&made, KITH_TYPE_FILE, 900, "a");
    add(&made, KITH_TYPE_FILE, 500, "b")->value = text("\xff what");
    expect_conflict(&made, false, false);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_order),    cmocka_unit_test(test_alike),
        cmocka_unit_test(test_unreadable), cmocka_unit_test(test_names),
        cmocka_unit_test(test_any_name), cmocka_unit_test(test_writer_like_hash),
        cmocka_unit_test(test_not_like), cmocka_unit_test(test_conflict),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

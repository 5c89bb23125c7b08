/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <linux/fuse.h>
#include <stdlib.h>
#include <string.h>

#include "fs/control/words.h"

/* A request as the kernel sends it. */
static uint8_t bytes[4096];
static size_t size;

static void request(uint32_t opcode, uint64_t node)
{
    struct fuse_in_header header = {
        .opcode = opcode, .unique = 8, .nodeid = node, .uid = 1000, .gid = 100, .pid = 4403};
    memcpy(bytes, &header, sizeof header);
    size = sizeof header;
}

static void add(const void *data, size_t more)
{
    memcpy(bytes + size, data, more);
    size += more;
}

/* Read from memory of just that size, so that a sanitizer sees what lies beyond. */
static struct kith_words words;
static void *copy;
static bool read_words(void)
{
    free(copy);
    copy = malloc(size > 0 ? size : 1);
    assert_non_null(copy);
    memcpy(copy, bytes, size);
    return kith_words_read(copy, size, &words);
}

static void test_names(void **state)
{
    (void)state;
    request(FUSE_LOOKUP, 77);
    add("a b", 4);
    assert_true(read_words());
    assert_string_equal("lookup", words.op);
    assert_string_equal("a b", words.name);
    assert_int_equal(77, words.node);
    assert_int_equal(1000, words.uid);
    assert_int_equal(100, words.gid);
    assert_int_equal(4403, words.pid);
    assert_int_equal(8, words.unique);
    assert_null(words.relation);
    assert_string_equal("", words.args);
}

static void test_two_names(void **state)
{
    struct fuse_rename2_in rename = {.newdir = 99, .flags = 1};
    struct fuse_link_in link = {.oldnodeid = 55};
    uint64_t newdir = 98;
    (void)state;
    request(FUSE_RENAME2, 77);
    add(&rename, sizeof rename);
    add("from\0to", 8);
    assert_true(read_words());
    assert_string_equal("rename", words.op);
    assert_string_equal("from", words.name);
    assert_string_equal("to", words.relation);
    assert_int_equal(99, words.node2);
    assert_string_equal("to", words.name2);
    assert_string_equal("flags=0x1", words.args);
    request(FUSE_RENAME, 77);
    add(&newdir, sizeof newdir);
    add("from\0to", 8);
    assert_true(read_words());
    assert_int_equal(98, words.node2);
    assert_string_equal("from", words.name);
    request(FUSE_LINK, 77);
    add(&link, sizeof link);
    add("new", 4);
    assert_true(read_words());
    assert_string_equal("new", words.name);
    assert_string_equal("of", words.relation);
    assert_int_equal(55, words.node2);
    assert_null(words.name2);
    request(FUSE_SYMLINK, 77);
    add("name\0../target", 15);
    assert_true(read_words());
    assert_string_equal("name", words.name);
    assert_int_equal(0, words.node2);
    assert_string_equal("../target", words.name2);
}

static void test_arguments(void **state)
{
    struct fuse_write_in write = {.offset = UINT64_MAX, .size = UINT32_MAX};
    struct fuse_create_in create = {.flags = 0x8241, .mode = 0100644};
    struct fuse_setattr_in setattr = {
        .valid = UINT32_MAX, .mode = 0107777, .uid = 4000000000u, .gid = 5, .size = UINT64_MAX};
    struct fuse_copy_file_range_in range = {
        .off_in = UINT64_MAX, .nodeid_out = 12, .off_out = UINT64_MAX, .len = UINT64_MAX};
    uint32_t xattr[2] = {17, 0};
    (void)state;
    request(FUSE_WRITE, 77);
    add(&write, sizeof write);
    add("data", 4);
    assert_true(read_words());
    assert_null(words.name);
    assert_string_equal("size=4294967295 offset=18446744073709551615", words.args);
    request(FUSE_CREATE, 77);
    add(&create, sizeof create);
    add("f", 2);
    assert_true(read_words());
    assert_string_equal("f", words.name);
    assert_string_equal("mode=0644 flags=0x8241", words.args);
    request(FUSE_SETATTR, 77);
    add(&setattr, sizeof setattr);
    assert_true(read_words());
    assert_string_equal("mode=7777 owner=-294967296:5 size=18446744073709551615 times", words.args);
    request(FUSE_COPY_FILE_RANGE, 77);
    add(&range, sizeof range);
    assert_true(read_words());
    assert_int_equal(12, words.node2);
    assert_string_equal("to", words.relation);
    request(FUSE_SETXATTR, 77);
    add(xattr, sizeof xattr);
    add("user.a b\0secret", 16);
    assert_true(read_words());
    assert_string_equal("name=user.a_b size=17", words.args);
    request(FUSE_INIT, 0);
    assert_true(read_words());
    assert_string_equal("init", words.op);
    request(9999, 1);
    assert_true(read_words());
    assert_string_equal("other", words.op);
}

/* Whatever is cut off, and whatever comes: no byte is read that is not there. */
static void test_cut(void **state)
{
    (void)state;
    size = 0;
    assert_false(read_words());
    size = sizeof(struct fuse_in_header) - 1;
    assert_false(read_words());
    srand(1);
    for (uint32_t opcode = 0; opcode < 70; opcode++) {
        for (size_t more = 0; more < 160; more += 3) {
            request(opcode, 7);
            for (size_t i = 0; i < more; i++) {
                bytes[size++] = (uint8_t)rand() | 1; /* no text ends */
            }
            assert_true(read_words());
            assert_true(strlen(words.args) < KITH_WORDS_ARGS_SIZE);
            assert_null(words.name);
            assert_null(words.name2);
        }
    }
    free(copy);
    copy = NULL;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_names),
        cmocka_unit_test(test_two_names),
        cmocka_unit_test(test_arguments),
        cmocka_unit_test(test_cut),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * A file that is open here while another mount removes it, and the nodes sweep what nothing refers
 * to any more. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <errno.h>
#include <stdlib.h>

#include "lib/two_fs.h"

#define SIZE 300000u

static struct kith_content *content_of(struct kith_fs *fs, struct kith_inode *inode)
{
    struct kith_content *content;
    assert_int_equal(kith_inode_content(fs, inode, &content), 0);
    return content;
}

static void write_bytes(struct kith_fs *fs, struct kith_inode *inode, uint64_t offset, size_t size,
                        uint8_t byte)
{
    uint8_t *bytes = malloc(size);
    assert_non_null(bytes);
    memset(bytes, byte, size);
    assert_int_equal(kith_content_write(content_of(fs, inode), offset, bytes, size), KITH_OK);
    kith_inode_written(fs, inode, offset + size);
    free(bytes);
}

/* Made and written by the other mount, and open in this one. */
static struct kith_inode *opened(struct two_fs *place)
{
    struct kith_fs *theirs = place->fs[TWO_OTHER], *mine = place->fs[TWO_MINE];
    two_work(two_job(theirs, place->dir[TWO_OTHER], NULL, "a", "", kith_do_mknod));
    struct kith_inode *inode = two_inode_at(theirs, place->dir[TWO_OTHER], "a");
    assert_int_equal(kith_inode_open(theirs, inode), 0);
    write_bytes(theirs, inode, 0, SIZE, 'a');
    assert_int_equal(kith_inode_flush(theirs, inode, KITH_DURABLE_OS), 0);
    kith_inode_close(theirs, inode);
    inode = two_inode_at(mine, place->dir[TWO_MINE], "a");
    assert_int_equal(kith_inode_open(mine, inode), 0);
    return inode;
}

static void sweep(struct two_fs *place)
{
    assert_int_equal(kith_fake_sweep_sized(place->cluster, SIZE, 10), 1);
}

static uint8_t byte_at(struct kith_fs *fs, struct kith_inode *inode, uint64_t offset)
{
    uint8_t byte = 0;
    size_t got = 0;
    assert_int_equal(kith_content_read(content_of(fs, inode), offset, &byte, 1, &got), KITH_OK);
    assert_int_equal(got, 1);
    return byte;
}

/* Its bytes are in memory: nobody notices. */
static void test_renewed(void **state)
{
    struct two_fs *place = *state;
    struct kith_fs *fs = place->fs[TWO_MINE];
    struct kith_inode *inode = opened(place);
    assert_int_equal(byte_at(fs, inode, 5), 'a'); /* in the cache */
    sweep(place);
    write_bytes(fs, inode, 100, 10, 'b');
    assert_int_equal(kith_inode_flush(fs, inode, KITH_DURABLE_DISK), 0);
    assert_false(kith_inode_dirty(inode));
    kith_inode_close(fs, inode);
    struct kith_fs *theirs = place->fs[TWO_OTHER];
    inode = two_inode_at(theirs, place->dir[TWO_OTHER], "a");
    assert_int_equal(kith_inode_open(theirs, inode), 0);
    assert_int_equal(inode->size, SIZE);
    assert_int_equal(byte_at(theirs, inode, 99), 'a');
    assert_int_equal(byte_at(theirs, inode, 100), 'b');
    assert_int_equal(byte_at(theirs, inode, SIZE - 1), 'a');
    kith_inode_close(theirs, inode);
}

/* They are nowhere: said by each flush, and what was written stays until the file is whole
 * again. */
static void test_lost(void **state)
{
    struct two_fs *place = *state;
    struct kith_fs *fs = place->fs[TWO_MINE];
    struct kith_inode *inode = opened(place);
    sweep(place);
    write_bytes(fs, inode, 100, 10, 'b');
    for (uint32_t i = 0; i < 2; i++) {
        assert_int_equal(
            kith_inode_flush(fs, inode, i == 0 ? KITH_DURABLE_OS : KITH_DURABLE_DISK), EIO);
        assert_true(kith_inode_dirty(inode));
        assert_int_equal(byte_at(fs, inode, 105), 'b');
    }
    write_bytes(fs, inode, 0, SIZE, 'c');
    assert_int_equal(kith_inode_flush(fs, inode, KITH_DURABLE_DISK), 0);
    assert_false(kith_inode_dirty(inode));
    kith_inode_close(fs, inode);
}

/* A rename puts the row with the same contents: it fails once, and then goes. */
static void test_renamed(void **state)
{
    struct two_fs *place = *state;
    struct kith_fs *fs = place->fs[TWO_MINE];
    struct kith_inode *inode = opened(place);
    assert_int_equal(byte_at(fs, inode, 5), 'a');
    sweep(place);
    struct kith_inode *dir = place->dir[TWO_MINE], *sub = place->sub[TWO_MINE];
    two_work(two_job(fs, dir, sub, "a", "b", kith_do_rename));
    assert_non_null(two_inode_at(fs, dir, "a"));
    two_work(two_job(fs, dir, sub, "a", "b", kith_do_rename));
    assert_ptr_equal(two_inode_at(fs, sub, "b"), inode);
    kith_inode_close(fs, inode);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_renewed, two_setup, two_teardown),
        cmocka_unit_test_setup_teardown(test_lost, two_setup, two_teardown),
        cmocka_unit_test_setup_teardown(test_renamed, two_setup, two_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

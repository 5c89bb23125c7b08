/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Contents of an open file that are replaced by those that another mount has put, while somebody
 * reads them. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <pthread.h>
#include <sched.h>

#include "lib/two_fs.h"

/* The other mount writes so many bytes. */
static void write_bytes(struct two_fs *place, const char *name, const char *bytes)
{
    struct kith_fs *fs = place->fs[TWO_OTHER];
    struct kith_inode *inode = two_inode_at(fs, place->dir[TWO_OTHER], name);
    struct kith_content *content;
    assert_int_equal(kith_inode_open(fs, inode), 0);
    assert_int_equal(kith_inode_content(fs, inode, &content), 0);
    assert_int_equal(kith_content_write(content, 0, (const uint8_t *)bytes, strlen(bytes)),
                     KITH_OK);
    kith_inode_written(fs, inode, strlen(bytes));
    assert_int_equal(kith_inode_flush(fs, inode, KITH_DURABLE_OS), 0);
    kith_inode_close(fs, inode);
}

/* A file of the other mount, which this one has open. */
static struct kith_inode *opened(struct two_fs *place, const char *name)
{
    struct kith_fs *fs = place->fs[TWO_MINE];
    two_work(two_job(place->fs[TWO_OTHER], place->dir[TWO_OTHER], NULL, name, "", kith_do_mknod));
    write_bytes(place, name, "old");
    struct kith_inode *inode = two_inode_at(fs, place->dir[TWO_MINE], name);
    assert_int_equal(kith_inode_open(fs, inode), 0);
    return inode;
}

static uint64_t begin(struct kith_fs *fs, struct kith_inode *inode)
{
    uint64_t read = 0;
    pthread_mutex_lock(&fs->lock);
    assert_true(kith_inode_read_begin(inode, &read));
    pthread_mutex_unlock(&fs->lock);
    return read;
}

/* What was read of the version before does not count any more. */
static void test_replaced_while_read(void **state)
{
    struct two_fs *place = *state;
    struct kith_fs *fs = place->fs[TWO_MINE];
    struct kith_inode *inode = opened(place, "a");
    uint64_t read = begin(fs, inode);
    write_bytes(place, "a", "the new one");
    assert_int_equal(kith_inode_open(fs, inode), 0);
    assert_int_equal(inode->size, strlen("the new one"));
    assert_false(kith_inode_read_counts(fs, inode, read));
    read = begin(fs, inode);
    assert_true(kith_inode_read_counts(fs, inode, read));
    kith_inode_read_over(fs, inode);
    kith_inode_close(fs, inode);
    kith_inode_close(fs, inode);
}

struct opener {
    struct kith_fs *fs;
    struct kith_inode *inode;
};

static void *open_again(void *arg)
{
    struct opener *opener = arg;
    return kith_inode_open(opener->fs, opener->inode) == 0 ? opener : NULL;
}

/* What counts is answered before the newer version takes its place. */
static void test_answered_first(void **state)
{
    struct two_fs *place = *state;
    struct kith_fs *fs = place->fs[TWO_MINE];
    struct kith_inode *inode = opened(place, "a");
    struct opener opener = {fs, inode};
    struct kith_content *content;
    pthread_t thread;
    void *done;
    uint64_t read = begin(fs, inode);
    write_bytes(place, "a", "the new one");
    assert_true(kith_inode_read_counts(fs, inode, read));
    assert_int_equal(pthread_create(&thread, NULL, open_again, &opener), 0);
    pthread_mutex_lock(&fs->lock);
    while (!inode->replacing && inode->size == strlen("old")) {
        pthread_mutex_unlock(&fs->lock);
        sched_yield();
        pthread_mutex_lock(&fs->lock);
    }
    bool waits = inode->replacing, begins = kith_inode_read_begin(inode, &read);
    pthread_mutex_unlock(&fs->lock);
    assert_true(waits);
    assert_false(begins);
    assert_int_equal(kith_inode_content(fs, inode, &content), 0);
    assert_int_equal(kith_content_size(content), strlen("old"));
    kith_inode_read_over(fs, inode);
    assert_int_equal(pthread_join(thread, &done), 0);
    assert_ptr_equal(done, &opener);
    assert_int_equal(kith_content_size(content), strlen("the new one"));
    kith_inode_close(fs, inode);
    kith_inode_close(fs, inode);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_replaced_while_read, two_setup, two_teardown),
        cmocka_unit_test_setup_teardown(test_answered_first, two_setup, two_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

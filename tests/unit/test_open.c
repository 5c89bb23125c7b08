/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Contents of an open file that are replaced by those that another mount has put, while somebody
 * reads them; and what of them follows what other mounts append. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <fcntl.h>
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

/* Until the timer has looked for another version of it, where it was to. */
static void await_follow(struct kith_fs *fs, struct kith_inode *inode)
{
    bool over = false;
    while (!over) {
        pthread_mutex_lock(&fs->lock);
        over = !inode->follow && !inode->follows && !inode->flushing && !inode->row_busy;
        pthread_mutex_unlock(&fs->lock);
        sched_yield();
    }
}

/* The open file is looked at again, as by its name; whether it has these contents then. */
static bool follows(struct two_fs *place, struct kith_inode *inode, const char *name,
                    const char *bytes)
{
    struct kith_fs *fs = place->fs[TWO_MINE];
    struct kith_content *content;
    uint8_t have[100];
    size_t size = 0;
    assert_ptr_equal(two_inode_at(fs, place->dir[TWO_MINE], name), inode);
    await_follow(fs, inode);
    assert_int_equal(kith_inode_content(fs, inode, &content), 0);
    assert_int_equal(kith_content_read(content, 0, have, sizeof have, &size), KITH_OK);
    pthread_mutex_lock(&fs->lock);
    assert_int_equal(size, inode->size);
    pthread_mutex_unlock(&fs->lock);
    return size == strlen(bytes) && memcmp(have, bytes, size) == 0;
}

static void opened_for(struct two_fs *place, struct kith_inode *inode, int flags)
{
    struct fuse_file_info fi = {.flags = flags};
    pthread_mutex_lock(&place->fs[TWO_MINE]->lock);
    kith_inode_opened(inode, &fi);
    pthread_mutex_unlock(&place->fs[TWO_MINE]->lock);
}

/* Who reads a file sees what others append to it, and nothing else that they do. */
static void test_follows(void **state)
{
    struct two_fs *place = *state;
    struct kith_fs *fs = place->fs[TWO_MINE];
    struct kith_inode *inode = opened(place, "log");
    opened_for(place, inode, O_RDONLY);
    assert_true(follows(place, inode, "log", "old"));
    write_bytes(place, "log", "old, more");
    assert_true(follows(place, inode, "log", "old, more"));
    write_bytes(place, "log", "old, more and more");
    assert_true(follows(place, inode, "log", "old, more and more"));
    write_bytes(place, "log", "new, longer than what it was");
    assert_true(follows(place, inode, "log", "old, more and more"));
    assert_true(follows(place, inode, "log", "old, more and more"));
    pthread_mutex_lock(&fs->lock);
    assert_true(inode->not_followed.counter != 0); /* nor is it read again for that */
    pthread_mutex_unlock(&fs->lock);
    assert_int_equal(kith_inode_open(fs, inode), 0); /* as ever */
    assert_true(follows(place, inode, "log", "new, longer than what it was"));
    kith_inode_close(fs, inode);
    write_bytes(place, "log", "new, longer than what it was, and more");
    assert_true(follows(place, inode, "log", "new, longer than what it was, and more"));
    kith_inode_close(fs, inode);
    await_follow(fs, inode);
    pthread_mutex_lock(&fs->lock);
    assert_false(inode->is_open || inode->may_write || inode->follow);
    pthread_mutex_unlock(&fs->lock);
}

/* Who may write replaces the version that he opened: it stays. */
static void test_writers_do_not_follow(void **state)
{
    struct two_fs *place = *state;
    struct kith_inode *inode = opened(place, "log");
    opened_for(place, inode, O_WRONLY | O_APPEND);
    opened_for(place, inode, O_RDONLY);
    write_bytes(place, "log", "old, more");
    assert_true(follows(place, inode, "log", "old"));
    kith_inode_close(place->fs[TWO_MINE], inode);
    inode = opened(place, "other");
    opened_for(place, inode, O_RDONLY);
    struct kith_content *content;
    assert_int_equal(kith_inode_content(place->fs[TWO_MINE], inode, &content), 0);
    write_bytes(place, "other", "old, more");
    assert_int_equal(kith_content_write(content, 0, (const uint8_t *)"mine", 4), KITH_OK);
    kith_inode_written(place->fs[TWO_MINE], inode, 4); /* as by its name: nobody opened it so */
    assert_true(follows(place, inode, "other", "mine"));
    kith_inode_close(place->fs[TWO_MINE], inode);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_replaced_while_read, two_setup, two_teardown),
        cmocka_unit_test_setup_teardown(test_answered_first, two_setup, two_teardown),
        cmocka_unit_test_setup_teardown(test_follows, two_setup, two_teardown),
        cmocka_unit_test_setup_teardown(test_writers_do_not_follow, two_setup, two_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

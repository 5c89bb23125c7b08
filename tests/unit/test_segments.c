/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * What is left after kill -9, after a power cut, and on a full disk. The children are forked before
 * this process has threads of a store. Invariants 1 and 5. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <signal.h>
#include <sys/mount.h>
#include <sys/wait.h>

#include "store_place.h"

/* ---- Crashes: a child works and is killed; it was forked before it had threads ---- */

struct shared_note {
    uint32_t acked_rows;
    uint32_t acked_chunks;
};

static void crash_child(struct place *place, int pipe_fd, uint32_t seed)
{
    must_open(place);
    struct shared_note note = {0, 0};
    for (uint32_t i = 0;; i++) {
        char name[16], value[16];
        snprintf(name, sizeof name, "r%u", i % 97);
        snprintf(value, sizeof value, "%u", i);
        put_text(place, i % 97, name, value);
        note.acked_rows = i;
        if (i % 5 == 0 && i / 5 < 60) {
            if (put_chunk(place, seed * 1000 + i / 5, chunk_size(i / 5)) != KITH_OK) {
                _exit(3);
            }
            note.acked_chunks = i / 5 + 1;
        }
        if (write(pipe_fd, &note, sizeof note) != sizeof note) {
            _exit(4);
        }
    }
}

static struct shared_note crash_once(struct place *place, uint32_t seed, uint32_t after)
{
    int pipes[2];
    struct shared_note note = {0, 0};
    assert_int_equal(pipe(pipes), 0);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        close(pipes[0]);
        crash_child(place, pipes[1], seed);
        _exit(0);
    }
    close(pipes[1]);
    for (uint32_t i = 0; i < after; i++) {
        assert_int_equal(read(pipes[0], &note, sizeof note), sizeof note);
    }
    kill(child, SIGKILL);
    struct shared_note more;
    while (read(pipes[0], &more, sizeof more) == sizeof more) {
        note = more;
    }
    close(pipes[0]);
    waitpid(child, NULL, 0);
    return note;
}

static void test_kill_keeps_acknowledged(void **state)
{
    struct place own;
    (void)state;
    place_init(&own);
    uint64_t chunks = 0;
    for (uint32_t round = 0; round < 3; round++) {
        struct shared_note note = crash_once(&own, round, 150 + 130 * round);
        must_open(&own);
        for (uint32_t i = note.acked_rows; i + 97 > note.acked_rows && i > 0; i--) {
            char name[16], text[32];
            snprintf(name, sizeof name, "r%u", i % 97);
            assert_int_equal(siblings_of(&own, i % 97, name, text), 1);
            if (i % 97 != (note.acked_rows + 1) % 97) { /* that one may have got a newer value */
                assert_int_equal(strtoul(text, NULL, 10), i);
            }
        }
        for (uint32_t i = 0; i < note.acked_chunks; i++) {
            assert_int_equal(check_chunk(&own, round * 1000 + i, chunk_size(i)), KITH_OK);
        }
        struct kith_store_counts counts = kith_store_counts(own.store);
        chunks += note.acked_chunks;
        assert_true(counts.chunks >= chunks); /* one more may have been written, not acknowledged */
        chunks = counts.chunks;
        verify(&own, counts.rows, counts.chunks);
        must_close(&own);
    }
    remove_tree(own.dir);
}

/* Bytes of a segment that did not reach the disk before a power cut: zeros where the index says a
 * chunk is. A clean close marks all as synced, so the mark must come from a crash. */
static void test_lost_tail_leaves_the_index(void **state)
{
    (void)state;
    struct place own;
    char path[256];
    place_init(&own);
    struct shared_note note = crash_once(&own, 0, 120);
    assert_true(note.acked_chunks > 10);
    for (uint32_t i = 1; i <= 2; i++) {
        snprintf(path, sizeof path, "%s/chunks/%06u.seg", own.dir, i);
        int fd = open(path, O_RDWR);
        assert_true(fd >= 0);
        off_t size = lseek(fd, 0, SEEK_END);
        assert_int_equal(ftruncate(fd, size / 2), 0);
        assert_int_equal(ftruncate(fd, size), 0);
        close(fd);
    }
    must_open(&own);
    uint32_t lost = 0;
    for (uint32_t i = 0; i < note.acked_chunks; i++) {
        enum kith_err err = check_chunk(&own, i, chunk_size(i));
        assert_true(err == KITH_OK || err == KITH_ENOTFOUND);
        lost += err == KITH_ENOTFOUND ? 1 : 0;
        if (err == KITH_ENOTFOUND) { /* and can be put again */
            assert_int_equal(put_chunk(&own, i, chunk_size(i)), KITH_OK);
            assert_int_equal(check_chunk(&own, i, chunk_size(i)), KITH_OK);
        }
    }
    assert_true(lost > 0);
    struct kith_store_counts counts = kith_store_counts(own.store);
    verify(&own, counts.rows, counts.chunks);
    must_close(&own);
    remove_tree(own.dir);
}

/* On a disk that fills up: ENOSPC for each write that does not fit, nothing acknowledged is lost,
 * reads go on, deletes are taken, and writes again when there is room. */
static void test_full_disk(void **state)
{
    (void)state;
    struct place own;
    char text[32];
    char path[256];
    place_init(&own);
    if (mount("none", own.dir, "tmpfs", 0, "size=64m") != 0) {
        skip(); /* not root */
    }
    must_open(&own);
    put_text(&own, 1, "first", "value");
    uint32_t stored = 0;
    enum kith_err err = KITH_OK;
    while (err == KITH_OK && stored < 100) {
        err = put_chunk(&own, stored, 1u << 20);
        stored += err == KITH_OK ? 1 : 0;
    }
    assert_int_equal(err, KITH_ENOSPC);
    assert_true(stored > 20);
    struct kith_put_update update = update_of("second", "value");
    struct kith_store_op op;
    uint32_t rows = 1;
    for (err = KITH_OK; err == KITH_OK && rows < 100000; rows++) { /* a smaller thing still goes */
        op = put_op(rows, &update, 1);
        err = ask(&own, &op)->err;
    }
    assert_int_equal(err, KITH_ENOSPC);
    rows--;
    assert_int_equal(siblings_of(&own, 1, "first", text), 1);
    update = update_of("first", "");
    update.has_sibling = false;
    op = put_op(1, &update, 1);
    assert_int_equal(ask(&own, &op)->err, KITH_OK);
    verify(&own, rows, stored);
    must_close(&own);
    must_open(&own);
    for (uint32_t i = 0; i < stored; i++) {
        assert_int_equal(check_chunk(&own, i, 1u << 20), KITH_OK);
    }
    release_results(&own);
    assert_false(own.fatal);
    snprintf(path, sizeof path, "size=128m");
    assert_int_equal(mount("none", own.dir, "tmpfs", MS_REMOUNT, path), 0);
    put_text(&own, 1, "second", "value");
    must_close(&own);
    umount(own.dir);
    remove_tree(own.dir);
}

int main(void)
{
    place_secret();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_kill_keeps_acknowledged),
        cmocka_unit_test(test_lost_tail_leaves_the_index),
        cmocka_unit_test(test_full_disk),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

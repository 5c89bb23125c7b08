/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Trees and the index of leaves that are damaged, missing, or half made: the store opens, with all
 * of them as its rows and chunks are (invariant 5), and nothing else is touched. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <signal.h>
#include <sys/wait.h>
#include <time.h>

#include "store_files.h"
#include "store_flip.h"

/* WiredTiger keeps what it had when it gave up, though it is closed. */
const char *__lsan_default_suppressions(void);
const char *__lsan_default_suppressions(void)
{
    return "leak:libwiredtiger";
}

enum { ROWS = 300, CHUNKS = 40 };

static const char *const tables[] = {"tree", "ctree", "sums", "conflicts", "leaves"};
enum { TABLES = sizeof tables / sizeof tables[0] };

/* Each tenth row is of a file in conflict. */
static void fill(struct place *place, uint32_t rows)
{
    char name[16];
    for (uint32_t i = 0; i < rows; i++) {
        snprintf(name, sizeof name, "row%u", i);
        if (i % 10 == 3) {
            put_file(place, i % 50, name, "mine", NULL);
            put_file(place, i % 50, name, "theirs", NULL);
        } else {
            put_text(place, i % 50, name, "value");
        }
    }
    for (uint32_t i = 0; i < CHUNKS; i++) {
        assert_int_equal(put_chunk(place, i, 100 + i), KITH_OK);
    }
}

/* It works, now and after another start. */
static void is_whole(struct place *place)
{
    char text[32];
    verify(place, ROWS, CHUNKS);
    assert_int_equal(conflicts_told(place), ROWS / 10);
    assert_int_equal(siblings_of(place, 7, "row7", text), 1);
    put_text(place, 7, "row7", "other");
    assert_int_equal(check_chunk(place, 3, 103), KITH_OK);
    must_close(place);
    must_open(place);
    verify(place, ROWS, CHUNKS);
    assert_int_equal(conflicts_told(place), ROWS / 10);
    assert_int_equal(siblings_of(place, 7, "row7", text), 1);
    assert_string_equal(text, "other");
}

/* With the store closed: something is done to a table through the engine. */
static void hurt(struct place *place, const char *table, bool drop)
{
    WT_CONNECTION *conn;
    WT_SESSION *session;
    WT_CURSOR *cursor;
    char path[256], uri[32];
    snprintf(path, sizeof path, "%s/wt", place->dir);
    snprintf(uri, sizeof uri, "table:%s", table);
    assert_int_equal(wiredtiger_open(path, NULL, "log=(enabled)", &conn), 0);
    assert_int_equal(conn->open_session(conn, NULL, NULL, &session), 0);
    if (drop) {
        assert_int_equal(session->drop(session, uri, NULL), 0);
    } else {
        WT_ITEM key = {.data = "\3\4\5", .size = 3}, value = {.data = "nonsense", .size = 8};
        assert_int_equal(session->open_cursor(session, uri, NULL, "overwrite", &cursor), 0);
        cursor->set_key(cursor, &key);
        cursor->set_value(cursor, &value);
        assert_int_equal(cursor->insert(cursor), 0);
    }
    assert_int_equal(conn->close(conn, NULL), 0);
}

static void test_nonsense(void **state)
{
    struct place *place = *state;
    fill(place, ROWS);
    for (uint32_t i = 0; i < TABLES - 1; i++) {
        must_close(place);
        hurt(place, tables[i], false);
        must_open(place);
        is_whole(place);
    }
}

static void test_dropped(void **state)
{
    struct place *place = *state;
    fill(place, ROWS);
    for (uint32_t i = 0; i < TABLES; i++) {
        must_close(place);
        hurt(place, tables[i], true);
        must_open(place);
        is_whole(place);
    }
}

static void file_of(const struct place *place, const char *table, char path[256])
{
    snprintf(path, 256, "%s/wt/%s.wt", place->dir, table);
}

static void test_removed_file(void **state)
{
    struct place *place = *state;
    char path[256];
    fill(place, ROWS);
    for (uint32_t i = 0; i < TABLES; i++) {
        must_close(place);
        file_of(place, tables[i], path);
        assert_int_equal(unlink(path), 0);
        must_open(place);
        is_whole(place);
    }
}

/* Every byte of the file behind its head is another one. */
static void flip_file(struct place *place, const char *table)
{
    char path[256];
    uint8_t bytes[4096];
    place->damaged = true;
    file_of(place, table, path);
    int fd = open(path, O_RDWR);
    assert_true(fd >= 0);
    for (off_t at = 4096;; at += (off_t)sizeof bytes) {
        ssize_t size = pread(fd, bytes, sizeof bytes, at);
        for (ssize_t i = 0; i < size; i++) {
            bytes[i] ^= 0x55;
        }
        if (size <= 0) {
            break;
        }
        assert_int_equal(pwrite(fd, bytes, (size_t)size, at), size);
    }
    close(fd);
}

static void test_flipped_file(void **state)
{
    struct place *place = *state;
    fill(place, ROWS);
    for (uint32_t i = 0; i < TABLES; i++) {
        must_close(place);
        flip_file(place, tables[i]);
        must_open(place);
        is_whole(place);
    }
}

/* A child whose store is opened, and that is killed after so long; or when it has filled it. */
static void killed(struct place *place, bool fills, long after_us)
{
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        must_open(place);
        if (fills) {
            fill(place, ROWS);
            raise(SIGKILL);
        }
        pause();
    }
    if (!fills) {
        struct timespec pause = {0, after_us * 1000};
        nanosleep(&pause, NULL);
        kill(child, SIGKILL);
    }
    int status = 0;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFSIGNALED(status));
}

/* Making them anew is cut off, anywhere, and begun again. */
static void test_cut_off(void **state)
{
    struct place *place = *state;
    must_close(place);
    killed(place, true, 0);
    must_open(place);
    verify(place, ROWS, CHUNKS);
    for (uint32_t i = 0; i < TABLES; i++) {
        must_close(place);
        hurt(place, tables[i], true);
        for (long us = 2000; us < 150000; us = us * 5 / 3) {
            killed(place, false, us);
        }
        must_open(place);
        is_whole(place);
    }
}

/* A page that is read while the store runs: the engine gives up, and the next start knows why. */
static void test_gives_up(void **state)
{
    enum { MANY = 3000 };
    struct place *place = *state;
    char path[256];
    fill(place, MANY);
    must_close(place);
    file_of(place, "leaves", path);
    struct stat before;
    assert_int_equal(stat(path, &before), 0);
    assert_true(before.st_size > 60000);
    int fd = open(path, O_RDWR);
    assert_true(fd >= 0);
    assert_int_equal(pwrite(fd, "damaged", 7, 20000), 7); /* in the first page of several */
    close(fd);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        must_open(place);
        struct kith_store_op op = {.id = 9, .kind = KITH_STORE_SCRUB};
        while (op.partition < PARTITIONS) {
            const struct kith_store_done *done = ask(place, &op);
            op.u.scrub.leaf = done->u.scrub.leaf % KITH_TREE_LEAVES;
            if (done->err != KITH_OK) {
                raise(SIGKILL);
            }
            op.partition += done->u.scrub.leaf == KITH_TREE_LEAVES ? 1u : 0u;
        }
        _exit(1); /* nothing was found */
    }
    int status = 0;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFSIGNALED(status));
    must_open(place);
    verify(place, MANY, CHUNKS);
    snprintf(path, sizeof path, "%s/rebuild", place->dir);
    assert_int_equal(access(path, F_OK), -1);
}

int main(void)
{
    place_secret();
    kith_log_set_level(KITH_LOG_ERROR);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_nonsense, setup, teardown),
        cmocka_unit_test_setup_teardown(test_dropped, setup, teardown),
        cmocka_unit_test_setup_teardown(test_removed_file, setup, teardown),
        cmocka_unit_test_setup_teardown(test_flipped_file, setup, teardown),
        cmocka_unit_test_setup_teardown(test_cut_off, setup, teardown),
        cmocka_unit_test_setup_teardown(test_gives_up, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

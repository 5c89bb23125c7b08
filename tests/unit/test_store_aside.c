/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Files of the store that are damaged, missing, or of another kind: the store opens all the same,
 * with an empty table in their place, the old file kept, a record of what is lost for the core, and
 * all that follows from the tables as they are now (invariant 5). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <dirent.h>
#include <signal.h>
#include <sys/wait.h>

#include "core/repair/refill.h"
#include "store_flip.h"

/* WiredTiger keeps what it had when it gave up, though it is closed. */
const char *__lsan_default_suppressions(void);
const char *__lsan_default_suppressions(void)
{
    return "leak:libwiredtiger";
}

enum { ROWS = 2000, FEW = 200, CHUNKS = 300, LARGE = 5 };

/* What each table costs. */
static const struct {
    const char *table;
    bool rows, chunks; /* they are gone */
    uint8_t lost;      /* marked: bit 0 rows, bit 1 chunks */
} cases[] = {{"rows", true, false, 1},  {"chunks", false, true, 2}, {"segs", false, true, 2},
             {"bad", false, false, 3},  {"hints", false, false, 0}, {"refs", false, false, 0},
             {"marks", false, false, 0}};
enum { CASES = sizeof cases / sizeof cases[0] };

static void fill(struct place *place, uint32_t rows)
{
    char name[16], value[64];
    for (uint32_t i = 0; i < rows; i++) {
        snprintf(name, sizeof name, "row%u", i);
        snprintf(value, sizeof value, "a value that takes some room on its page: %u", i);
        put_text(place, i % 50, name, value);
    }
    for (uint32_t i = 0; i < CHUNKS; i++) {
        assert_int_equal(put_chunk(place, i, 300 + i), KITH_OK);
    }
    for (uint32_t i = 0; i < LARGE; i++) {
        assert_int_equal(put_chunk(place, 1000 + i, 100000), KITH_OK);
    }
}

static void file_of(const struct place *place, const char *table, char path[256])
{
    snprintf(path, 256, "%s/wt/%s.wt", place->dir, table);
}

enum { HEAD_SIZE = 4096 };

static off_t file_size(const struct place *place, const char *table)
{
    char path[256];
    struct stat st;
    file_of(place, table, path);
    assert_int_equal(stat(path, &st), 0);
    return st.st_size;
}

enum how { REMOVED, HEAD, ALL, EMPTIED, HOWS };

static void hurt(struct place *place, const char *table, enum how how)
{
    char path[256];
    uint8_t bytes[4096];
    place->damaged = true;
    file_of(place, table, path);
    if (how == REMOVED) {
        assert_int_equal(unlink(path), 0);
        return;
    }
    int fd = open(path, O_RDWR);
    assert_true(fd >= 0);
    if (how == EMPTIED) {
        assert_int_equal(ftruncate(fd, 0), 0);
    }
    for (off_t at = how == ALL ? HEAD_SIZE : 0; how != EMPTIED; at += (off_t)sizeof bytes) {
        ssize_t size = pread(fd, bytes, sizeof bytes, at);
        for (ssize_t i = 0; i < size; i++) {
            bytes[i] ^= 0x55;
        }
        if (size <= 0) {
            break;
        }
        assert_int_equal(pwrite(fd, bytes, (size_t)size, at), size);
        if (how == HEAD) {
            break;
        }
    }
    close(fd);
}

/* The marks of rows and chunks in the record, and 8 that promises are lost; 0: there is none, or it
 * says that nothing is. */
static uint8_t marked(struct place *place)
{
    struct kith_start start;
    kith_store_start(place->store, &start);
    struct kith_bytes record = start.meta[KITH_META_LOST];
    if (record.size == 0) {
        return 0;
    }
    for (uint8_t lost = 0; lost < 16; lost++) {
        struct kith_buf buf;
        kith_buf_init(&buf);
        kith_lost_encode(lost, kith_bytes_make(NULL, 0), &buf);
        bool same = kith_bytes_equal(kith_buf_bytes(&buf), record);
        kith_buf_release(&buf);
        if (same) {
            return lost;
        }
    }
    fail_msg("a record of something else");
    return 0;
}

/* The file was kept. */
static bool kept(const struct place *place, const char *table)
{
    char path[256], end[32];
    bool found = false;
    snprintf(path, sizeof path, "%s/damaged", place->dir);
    snprintf(end, sizeof end, "-%s.wt", table);
    DIR *directory = opendir(path);
    for (struct dirent *entry; directory != NULL && (entry = readdir(directory)) != NULL;) {
        size_t size = strlen(entry->d_name);
        found =
            found || (size > strlen(end) && strcmp(entry->d_name + size - strlen(end), end) == 0);
    }
    if (directory != NULL) {
        closedir(directory);
    }
    return found;
}

static void test_damaged(void **state)
{
    struct place *place = *state;
    for (uint32_t i = 0; i < CASES * HOWS; i++) {
        uint32_t c = i / HOWS;
        enum how how = (enum how)(i % HOWS);
        must_close(place);
        remove_tree(place->dir);
        assert_int_equal(mkdir(place->dir, 0700), 0);
        must_open(place);
        fill(place, FEW);
        must_close(place);
        if (how == ALL && file_size(place, cases[c].table) <= HEAD_SIZE) {
            must_open(place);
            continue; /* it is empty */
        }
        hurt(place, cases[c].table, how);
        for (uint32_t start = 0; start < 2; start++) {
            must_open(place);
            uint64_t rows = cases[c].rows ? start : FEW;
            verify(place, rows, cases[c].chunks ? 0 : CHUNKS + LARGE);
            assert_int_equal(marked(place), cases[c].lost);
            assert_true(how == REMOVED || kept(place, cases[c].table));
            put_text(place, 7, "row7", "other");
            assert_int_equal(check_chunk(place, 3, 303),
                             cases[c].chunks ? KITH_ENOTFOUND : KITH_OK);
            must_close(place);
        }
        must_open(place);
    }
}

/* One page of many, which the start does not read: whoever meets it ends the store, and the next
 * start knows why. */
static void test_page(void **state)
{
    struct place *place = *state;
    char path[256];
    fill(place, ROWS);
    for (uint32_t c = 0; c < 2; c++) {
        must_close(place);
        file_of(place, cases[c].table, path);
        struct stat before;
        assert_int_equal(stat(path, &before), 0);
        assert_true(before.st_size > 80000);
        int fd = open(path, O_RDWR);
        assert_true(fd >= 0);
        assert_int_equal(pwrite(fd, "damaged", 7, before.st_size / 2), 7);
        close(fd);
        pid_t child = fork();
        assert_true(child >= 0);
        if (child == 0) {
            must_open(place); /* it is not read */
            uint32_t failed = 0;
            char name[16];
            for (uint32_t i = 0; i < ROWS && failed == 0; i++) {
                snprintf(name, sizeof name, "row%u", i);
                struct kith_bytes names[1] = {kith_bytes_make(name, strlen(name))};
                struct kith_store_op op = get_op(i % 50, names, 1);
                failed += c == 0 && ask(place, &op)->err != KITH_OK ? 1 : 0;
                failed += c == 1 && i < CHUNKS && check_chunk(place, i, 300 + i) != KITH_OK ? 1 : 0;
            }
            if (failed > 0) {
                raise(SIGKILL);
            }
            _exit(1);
        }
        int status = 0;
        assert_int_equal(waitpid(child, &status, 0), child);
        assert_true(WIFSIGNALED(status));
        must_open(place);
        verify(place, 0, c == 0 ? CHUNKS + LARGE : 0);
        assert_int_equal(marked(place), c == 0 ? 1 : 3); /* both by now */
        assert_true(kept(place, cases[c].table));
        snprintf(path, sizeof path, "%s/aside-%s", place->dir, cases[c].table);
        assert_int_equal(access(path, F_OK), -1);
    }
}

/* What was called damaged is read again, and is whole: nothing is lost. */
static void test_bad_moment(void **state)
{
    struct place *place = *state;
    char path[256];
    fill(place, FEW);
    must_close(place);
    for (uint32_t i = 0; i < CASES; i++) {
        snprintf(path, sizeof path, "%s/aside-%s", place->dir, cases[i].table);
        int fd = open(path, O_WRONLY | O_CREAT, 0600);
        assert_true(fd >= 0);
        close(fd);
    }
    must_open(place);
    verify(place, FEW, CHUNKS + LARGE);
    assert_int_equal(marked(place), 0);
    assert_int_equal(access(path, F_OK), -1);
}

/* References come back with what refers: rows, chunks that are lists, and what is kept for others.
 */
static void test_refs(void **state)
{
    struct place *place = *state;
    struct kith_chunk_id ids[2] = {chunk_id(1), chunk_id(2)};
    struct kith_put_update update = update_of("refers", "value");
    update.ref_count = 2;
    update.refs = ids;
    struct kith_store_op op = put_op(1, &update, 1);
    assert_int_equal(ask(place, &op)->err, KITH_OK);
    for (uint32_t i = 0; i < CASES; i++) {
        if (cases[i].rows) {
            continue;
        }
        must_close(place);
        hurt(place, cases[i].table, ALL);
        must_open(place);
        verify(place, 1, 0);
    }
    must_close(place);
    hurt(place, "rows", ALL);
    must_open(place);
    verify(place, 0, 0); /* nothing refers to them from here */
}

/* ---- Who this node is ---- */

static void put_meta(struct place *place, enum kith_meta_key key, const char *text)
{
    struct kith_store_op op = {
        .id = 3, .kind = KITH_STORE_META_PUT, .durability = KITH_DURABLE_DISK};
    op.u.meta.key = key;
    op.u.meta.value = kith_bytes_make(text, strlen(text));
    assert_int_equal(ask(place, &op)->err, KITH_OK);
}

static bool meta_is(struct place *place, enum kith_meta_key key, const char *text)
{
    struct kith_start start;
    kith_store_start(place->store, &start);
    return kith_bytes_equal(start.meta[key], kith_bytes_make(text, strlen(text)));
}

static void fill_named(struct place *place)
{
    fill(place, FEW);
    put_meta(place, KITH_META_NODE, "who");
    put_meta(place, KITH_META_TABLE, "an old table");
    put_meta(place, KITH_META_TABLE, "a table");
    put_meta(place, KITH_META_DECIDE, "promises");
}

/* It is who it was, with what is left; and forgets that it has voted. */
static void is_named(struct place *place, uint64_t rows, uint64_t chunks)
{
    for (uint32_t start = 0; start < 2; start++) {
        assert_true(meta_is(place, KITH_META_NODE, "who"));
        assert_true(meta_is(place, KITH_META_TABLE, "a table"));
        assert_true(meta_is(place, KITH_META_DECIDE, ""));
        assert_int_equal(marked(place), 11);
        verify(place, rows, chunks);
        must_close(place);
        must_open(place);
    }
}

static void test_meta(void **state)
{
    struct place *place = *state;
    for (uint32_t how = 0; how < HOWS; how++) {
        must_close(place);
        remove_tree(place->dir);
        assert_int_equal(mkdir(place->dir, 0700), 0);
        must_open(place);
        fill_named(place);
        must_close(place);
        hurt(place, "meta", (enum how)how);
        must_open(place);
        is_named(place, FEW, CHUNKS + LARGE);
    }
}

/* The log has to be recovered, and names the damaged page: nothing can be saved of the store. */
static void test_log_tail(void **state)
{
    struct place *place = *state;
    fill_named(place);
    must_close(place);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        must_open(place);
        put_text(place, 7, "row7", "other");
        raise(SIGKILL);
    }
    int status = 0;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFSIGNALED(status));
    hurt(place, "rows", ALL);
    must_open(place);
    is_named(place, 0, 0);
    put_text(place, 7, "row7", "new");
    assert_int_equal(put_chunk(place, 1000, 100000), KITH_OK);
    verify(place, 1, 1);
}

/* A file of the engine's own; and all of it is gone. */
static void test_engine(void **state)
{
    struct place *place = *state;
    char path[256];
    fill_named(place);
    must_close(place);
    hurt(place, "WiredTiger", ALL);
    must_open(place);
    is_named(place, 0, 0);
    must_close(place);
    snprintf(path, sizeof path, "%s/wt", place->dir);
    remove_tree(path);
    must_open(place);
    is_named(place, 0, 0);
    must_close(place);
    remove_tree(path);
    snprintf(path, sizeof path, "%s/identity", place->dir);
    assert_int_equal(truncate(path, 30), 0);
    struct kith_error error = {KITH_OK, ""};
    assert_int_equal(place_open(place, &error), KITH_ECORRUPT); /* nobody is made up */
    assert_non_null(strstr(error.message, "plan replace"));
    assert_int_equal(unlink(path), 0);
    remove_tree(path);
}

int main(void)
{
    place_secret();
    kith_log_set_level(KITH_LOG_ERROR);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_damaged, setup, teardown),
        cmocka_unit_test_setup_teardown(test_page, setup, teardown),
        cmocka_unit_test_setup_teardown(test_bad_moment, setup, teardown),
        cmocka_unit_test_setup_teardown(test_refs, setup, teardown),
        cmocka_unit_test_setup_teardown(test_meta, setup, teardown),
        cmocka_unit_test_setup_teardown(test_log_tail, setup, teardown),
        cmocka_unit_test_setup_teardown(test_engine, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

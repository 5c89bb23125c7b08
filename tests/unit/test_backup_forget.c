/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * test_backup_forget.c - runs of a backup are forgotten: those that are kept say what they said, also where
 * that is killed at any of its steps; what only the others needed is gone. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <dirent.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "ctl/backup/backup_forget.h"

#define PARTITIONS 4u
#define PARTITION  1u
#define RUNS       14u
#define NOTHING    11u /* this run finds nothing new */
#define PARTIAL    12u /* is not whole */
#define BROKEN     13u /* has had its MARK once before, and was broken off */
#define ROWS       12u
#define KEPT       4u /* whole runs: 10, 11, 13, 14 */
#define OLDEST     10u

static char folder[64];
static const struct kith_uuid cluster = {{1, 2, 3}};
static const uint8_t own[12] = {7}, noise[10] = {5};
/* versions[run][row]: which one it has then; 0: none */
static uint32_t versions[RUNS + 2][ROWS];

static int remove_one(const char *path, const struct stat *info, int kind, struct FTW *at)
{
    (void)info;
    (void)kind;
    (void)at;
    return remove(path);
}

static void remove_folder(const char *path)
{
    (void)nftw(path, remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

/* ---- A backup of RUNS runs ---- */

/* The data, and a list of it, which a row names. */
static struct kith_chunk_id chunk_id(uint32_t row, uint32_t version, bool list)
{
    return kith_chunk_id_make(1, row * 1000 + version * 2 + list, noise);
}

static void chunk_add(struct kith_backup_dir *dir, uint32_t row, uint32_t version, bool list)
{
    struct kith_error error;
    struct kith_backup_record record;
    struct kith_chunk_id data = chunk_id(row, version, false);
    char text[400];
    memset(&record, 0, sizeof record);
    memset(text, 'a' + (int)(version % 20), sizeof text);
    record.type = KITH_BACKUP_CHUNK;
    record.u.chunk.id = chunk_id(row, version, list);
    record.u.chunk.contents = kith_bytes_make(text, sizeof text);
    record.u.chunk.checksum = kith_checksum_of(record.u.chunk.contents);
    record.u.chunk.ref_count = list ? 1 : 0;
    record.u.chunk.refs = &data;
    assert_int_equal(kith_backup_dir_chunk(dir, &record, &error), KITH_OK);
}

static void row_state(uint32_t row, uint32_t version, struct kith_buf *buf)
{
    struct kith_clock_entry entry = {{77, 1}, version};
    struct kith_chunk_id id = chunk_id(row, version, true);
    char text[300];
    memset(text, 'A' + (int)(version % 20), sizeof text);
    struct kith_sibling sibling = {.dot = {{77, 1}, version}, .ref_count = 1, .refs = &id,
                                   .value = kith_bytes_make(text, sizeof text)};
    struct kith_row state = {.clock = {1, &entry}, .sibling_count = 1, .siblings = &sibling};
    kith_buf_init(buf);
    kith_row_encode(&state, buf);
}

static void row_add(struct kith_backup_file *file, uint32_t row, uint32_t version)
{
    struct kith_error error;
    struct kith_backup_record record;
    struct kith_buf buf;
    uint8_t name = (uint8_t)row;
    memset(&record, 0, sizeof record);
    row_state(row, version, &buf);
    record.type = KITH_BACKUP_ROW;
    record.u.row.partition = PARTITION;
    record.u.row.group = kith_group_make(1, own);
    record.u.row.name = kith_bytes_make(&name, 1);
    if (version > 0) {
        record.u.row.hash = kith_checksum_of(kith_buf_bytes(&buf));
        record.u.row.state = kith_buf_bytes(&buf);
    }
    assert_int_equal(kith_backup_file_add(file, &record, &error), KITH_OK);
    kith_buf_release(&buf);
}

static struct kith_checksum mark_add(struct kith_backup_file *file, uint32_t run)
{
    static const struct kith_checksum none;
    struct kith_error error;
    struct kith_backup_record record;
    struct kith_sum sum = {0, 0};
    memset(&record, 0, sizeof record);
    record.type = KITH_BACKUP_MARK;
    record.u.mark.partition = PARTITION;
    record.u.mark.run = run;
    record.u.mark.whole = run != PARTIAL;
    for (uint32_t row = 0; row < ROWS; row++) {
        struct kith_buf buf;
        row_state(row, versions[run][row], &buf);
        struct kith_checksum hash = kith_checksum_of(kith_buf_bytes(&buf));
        kith_sum_replace(&sum, &none, versions[run][row] > 0 ? &hash : &none);
        record.u.mark.rows += versions[run][row] > 0;
        kith_buf_release(&buf);
    }
    kith_sum_encode(&sum, &record.u.mark.root);
    assert_int_equal(kith_backup_file_add(file, &record, &error), KITH_OK);
    return kith_backup_mark_sum(&record);
}

static void log_open(struct kith_backup_dir *dir, struct kith_backup_file *file)
{
    struct kith_error error;
    struct kith_backup_record head;
    struct stat info;
    char path[4200];
    memset(&head, 0, sizeof head);
    memset(file, 0, sizeof *file);
    head.type = KITH_BACKUP_HEAD;
    head.u.head.cluster = cluster;
    head.u.head.partitions = PARTITIONS;
    head.u.head.partition = PARTITION;
    kith_backup_log_path(dir, PARTITION, path);
    uint64_t size = stat(path, &info) == 0 ? (uint64_t)info.st_size : 0;
    assert_int_equal(kith_backup_file_open(file, path, size, &head, &error), KITH_OK);
}

/* Two of three rows change in each run, some of these are gone. */
static void run_write(struct kith_backup_dir *dir, uint32_t run)
{
    struct kith_backup_file file;
    struct kith_error error;
    static struct kith_checksum marks[PARTITIONS];
    memcpy(versions[run], versions[run - 1], sizeof versions[run]);
    if (run != NOTHING) {
        log_open(dir, &file);
        for (uint32_t row = 0; row < ROWS; row++) {
            if ((row + run) % 3 == 0 && run > 1) {
                continue;
            }
            bool gone = (row + run) % 5 == 1 && versions[run - 1][row] > 0;
            versions[run][row] = gone ? 0 : run;
            if (!gone) {
                chunk_add(dir, row, run, false);
                chunk_add(dir, row, run, true);
            }
            row_add(&file, row, versions[run][row]);
        }
        if (run == BROKEN) {
            (void)mark_add(&file, run);
            row_add(&file, 0, 99);
            row_add(&file, 0, versions[run][0]);
        }
        marks[PARTITION] = mark_add(&file, run);
        assert_int_equal(kith_backup_file_sync(&file, &error), KITH_OK);
        kith_backup_file_close(&file);
        assert_int_equal(kith_backup_file_sync(&dir->pack, &error), KITH_OK);
    }
    assert_int_equal(kith_backup_dir_done(dir, run, run != PARTIAL, marks, "rows 1", &error),
                     KITH_OK);
}

static void open_write(struct kith_backup_dir *dir)
{
    struct kith_error error;
    enum kith_err err = kith_backup_dir_write(dir, folder, &cluster, PARTITIONS, &error);
    assert_string_equal(err == KITH_OK ? "" : error.message, "");
}

static int setup(void **state)
{
    (void)state;
    struct kith_backup_dir dir;
    (void)strcpy(folder, "/tmp/kith-test-forget.XXXXXX");
    if (!mkdtemp(folder)) {
        return -1;
    }
    memset(versions, 0, sizeof versions);
    open_write(&dir);
    for (uint32_t run = 1; run <= RUNS; run++) {
        run_write(&dir, run);
    }
    kith_backup_dir_close(&dir);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    remove_folder(folder);
    return 0;
}

/* ---- What it says ---- */

static void chunk_verify(const struct kith_backup_dir *dir, uint32_t row, uint32_t version,
                         bool list)
{
    struct kith_error error;
    struct kith_arena arena;
    struct kith_buf bytes;
    struct kith_backup_record record;
    struct kith_chunk_id id = chunk_id(row, version, list);
    const struct kith_backup_place *place = kith_backup_index_find(&dir->chunks, &id);
    assert_non_null(place);
    kith_arena_init(&arena, 0);
    kith_buf_init(&bytes);
    assert_int_equal(kith_backup_dir_read_chunk(dir, place, &arena, &record, &bytes, &error),
                     KITH_OK);
    assert_int_equal(record.u.chunk.contents.data[0], 'a' + (int)(version % 20));
    kith_buf_release(&bytes);
    kith_arena_release(&arena);
}

/* Run `run` is there as it was, with all of its chunks. */
static void run_verify(const struct kith_backup_dir *dir, const struct kith_backup_run *run)
{
    struct kith_backup_state state;
    struct kith_backup_log log;
    struct kith_error error;
    struct kith_checksum marks[PARTITIONS];
    uint32_t count = 0, expected = 0;
    memset(marks, 0, sizeof marks);
    kith_backup_state_init(&state, PARTITION, PARTITIONS);
    assert_int_equal(kith_backup_log_read(dir, PARTITION, run->run, &state, &log, &error), KITH_OK);
    marks[PARTITION] = log.mark_sum;
    assert_true(kith_backup_marks_fit(run, marks, PARTITIONS));
    for (const struct kith_backup_row *row = state.rows; row; row = row->next) {
        if (row->held.there) {
            uint32_t number = row->name.data[0], version = versions[run->run][number];
            struct kith_buf buf;
            assert_true(version > 0);
            row_state(number, version, &buf);
            assert_true(kith_bytes_equal(row->held.state, kith_buf_bytes(&buf)));
            kith_buf_release(&buf);
            chunk_verify(dir, number, version, false);
            chunk_verify(dir, number, version, true);
            count++;
        }
    }
    for (uint32_t row = 0; row < ROWS; row++) {
        expected += versions[run->run][row] > 0;
    }
    assert_int_equal(count, expected);
    kith_backup_log_release(&log);
    kith_backup_state_release(&state);
}

/* Every run of the folder; returns the first one. */
static uint64_t verify(uint64_t last)
{
    struct kith_backup_dir dir;
    struct kith_error error;
    assert_int_equal(kith_backup_dir_read(&dir, folder, NULL, NULL, &error), KITH_OK);
    uint64_t oldest = dir.runs[0].run;
    assert_int_equal(dir.run_count, last - oldest + 1);
    for (uint32_t i = 0; i < dir.run_count; i++) {
        assert_int_equal(dir.runs[i].run, oldest + i);
        run_verify(&dir, &dir.runs[i]);
    }
    kith_backup_dir_close(&dir);
    return oldest;
}

static uint64_t size_of(const char *name)
{
    char path[100];
    struct stat info;
    (void)snprintf(path, sizeof path, "%s/%s", folder, name);
    assert_int_equal(stat(path, &info), 0);
    return (uint64_t)info.st_size;
}

static uint32_t leftovers(const char *name)
{
    char path[100];
    uint32_t count = 0;
    (void)snprintf(path, sizeof path, "%s/%s", folder, name);
    DIR *stream = opendir(path);
    for (struct dirent *entry = readdir(stream); entry; entry = readdir(stream)) {
        count += strstr(entry->d_name, ".new") != NULL;
    }
    (void)closedir(stream);
    return count;
}

static enum kith_err forget(struct kith_backup_forget *forget, struct kith_error *error)
{
    struct kith_backup_dir dir;
    open_write(&dir);
    forget->dir = &dir;
    enum kith_err err = kith_backup_forget(forget, error);
    kith_backup_dir_close(&dir);
    return err;
}

/* ---- Cases ---- */

struct told {
    uint32_t calls;
    uint64_t done, all;
    char what[32];
};

/* Each step comes to its end. */
static void on_progress(void *arg, uint64_t done, uint64_t all, const char *what)
{
    struct told *told = arg;
    if (strcmp(told->what, what) != 0) {
        assert_int_equal(told->done, told->all);
        told->done = 0;
    }
    assert_true(done == told->done + 1 && done <= all);
    told->calls++;
    told->done = done;
    told->all = all;
    (void)snprintf(told->what, sizeof told->what, "%s", what);
}

static void test_forget(void **state)
{
    (void)state;
    struct told told = {.calls = 0};
    struct kith_backup_forget options = {.keep = KEPT, .progress = on_progress,
                                         .progress_arg = &told};
    struct kith_error error;
    struct kith_backup_dir dir;
    uint64_t log = size_of("rows/00001"), pack = size_of("chunks/000001");
    assert_int_equal(verify(RUNS), 1);
    assert_int_equal(forget(&options, &error), KITH_OK);
    assert_int_equal(options.runs, OLDEST - 1);
    assert_int_equal(told.calls, PARTITIONS + 1); /* and one pack */
    assert_int_equal(told.done, told.all);
    assert_int_equal(options.oldest, OLDEST);
    assert_int_equal(verify(RUNS), OLDEST);
    assert_int_equal(options.freed,
                     log + pack - size_of("rows/00001") - size_of("chunks/000001"));
    options.keep = 1;
    options.progress = NULL;
    assert_int_equal(forget(&options, &error), KITH_OK);
    assert_int_equal(verify(RUNS), RUNS);
    uint32_t rows = 0;
    for (uint32_t row = 0; row < ROWS; row++) {
        rows += versions[RUNS][row] > 0;
    }
    assert_int_equal(kith_backup_dir_read(&dir, folder, NULL, NULL, &error), KITH_OK);
    assert_int_equal(dir.chunks.count, 2 * rows); /* nothing but what the last run needs */
    kith_backup_dir_close(&dir);
    assert_true(size_of("rows/00001") < rows * 420 + 200);
    assert_int_equal(forget(&options, &error), KITH_OK);
    assert_int_equal(options.runs, 0);
    assert_int_equal(options.freed, 0);
    open_write(&dir); /* and it is gone on with */
    run_write(&dir, RUNS + 1);
    kith_backup_dir_close(&dir);
    assert_int_equal(verify(RUNS + 1), RUNS);
}

static uint32_t steps, last_step;

static void die_at(void *arg, const char *path)
{
    (void)arg;
    (void)path;
    if (steps++ == last_step) {
        _exit(99); /* as by kill -9: nothing is flushed, nothing is closed */
    }
}

static void copy_folder(const char *from, const char *to)
{
    char command[400];
    (void)snprintf(command, sizeof command, "rm -rf %s && cp -a %s %s", to, from, to);
    assert_int_equal(system(command), 0);
}

/* Killed at each step: what is listed is there, either as before or as afterwards; and the next one comes to
 * the same end. */
static void test_killed(void **state)
{
    (void)state;
    char before[80];
    uint64_t log = 0, pack = 0;
    bool killed = true;
    (void)snprintf(before, sizeof before, "%s.before", folder);
    copy_folder(folder, before);
    for (uint32_t last = 0; killed; last++) {
        copy_folder(before, folder);
        pid_t child = fork();
        assert_true(child >= 0);
        if (child == 0) {
            struct kith_backup_forget options = {.keep = KEPT, .step = die_at};
            struct kith_error error;
            last_step = last;
            _exit(forget(&options, &error) == KITH_OK ? 0 : 1);
        }
        int status = 0;
        assert_int_equal(waitpid(child, &status, 0), child);
        assert_true(WIFEXITED(status) && (WEXITSTATUS(status) == 99 || WEXITSTATUS(status) == 0));
        killed = WEXITSTATUS(status) == 99;
        uint64_t oldest = verify(RUNS);
        assert_int_equal(oldest, last < 3 ? 1 : OLDEST);
        struct kith_backup_forget options = {.keep = KEPT};
        struct kith_error error;
        assert_int_equal(forget(&options, &error), KITH_OK);
        assert_int_equal(verify(RUNS), OLDEST);
        assert_int_equal(leftovers("rows") + leftovers("chunks") + leftovers("."), 0);
        assert_true(last == 0 || log == size_of("rows/00001"));
        assert_true(last == 0 || pack == size_of("chunks/000001"));
        log = size_of("rows/00001");
        pack = size_of("chunks/000001");
        assert_true(killed || last > 8);
    }
    remove_folder(before);
}

/* With fewer whole runs than are to be kept none goes; and a file with little that is dead stays. */
static void test_keeps(void **state)
{
    (void)state;
    struct kith_backup_forget options = {.keep = RUNS};
    struct kith_error error;
    uint64_t log = size_of("rows/00001");
    assert_int_equal(forget(&options, &error), KITH_OK);
    assert_int_equal(options.runs, 0);
    assert_int_equal(verify(RUNS), 1);
    options.keep = 1;
    options.dead_min = 1u << 20;
    assert_int_equal(forget(&options, &error), KITH_OK);
    assert_int_equal(options.runs, RUNS - 1);
    assert_int_equal(options.freed, 0);
    assert_int_equal(size_of("rows/00001"), log);
    assert_int_equal(verify(RUNS), RUNS);
}

/* What a run that was broken off has left behind the last MARK is there for the next one. */
static void test_loose(void **state)
{
    (void)state;
    struct kith_backup_forget options = {.keep = 1};
    struct kith_backup_dir dir;
    struct kith_backup_file file;
    struct kith_backup_state rows;
    struct kith_backup_log log;
    struct kith_error error;
    open_write(&dir);
    chunk_add(&dir, 3, 77, false);
    chunk_add(&dir, 3, 77, true);
    assert_int_equal(kith_backup_file_sync(&dir.pack, &error), KITH_OK);
    log_open(&dir, &file);
    row_add(&file, 3, 77);
    assert_int_equal(kith_backup_file_sync(&file, &error), KITH_OK);
    kith_backup_file_close(&file);
    kith_backup_dir_close(&dir);
    assert_int_equal(forget(&options, &error), KITH_OK);
    assert_true(options.freed > 0);
    assert_int_equal(verify(RUNS), RUNS);
    assert_int_equal(kith_backup_dir_read(&dir, folder, NULL, NULL, &error), KITH_OK);
    kith_backup_state_init(&rows, PARTITION, PARTITIONS);
    assert_int_equal(kith_backup_log_read(&dir, PARTITION, UINT64_MAX, &rows, &log, &error),
                     KITH_OK);
    assert_true(log.loose);
    chunk_verify(&dir, 3, 77, false);
    chunk_verify(&dir, 3, 77, true);
    kith_backup_log_release(&log);
    kith_backup_state_release(&rows);
    kith_backup_dir_close(&dir);
}

static void flip(const char *name, uint64_t at)
{
    char path[100], byte = 0;
    (void)snprintf(path, sizeof path, "%s/%s", folder, name);
    int fd = open(path, O_RDWR);
    assert_int_equal(pread(fd, &byte, 1, (off_t)at), 1);
    byte ^= 0x10;
    assert_int_equal(pwrite(fd, &byte, 1, (off_t)at), 1);
    (void)close(fd);
}

/* Nothing is written anew by what is damaged, and the file is named. */
static void test_damaged(void **state)
{
    (void)state;
    static const char *const names[] = {"rows/00001", "chunks/000001"};
    for (uint32_t i = 0; i < 2; i++) {
        struct kith_backup_forget options = {.keep = KEPT};
        struct kith_error error;
        uint64_t size = size_of(names[i]), at = size - 700;
        flip(names[i], at);
        assert_int_equal(forget(&options, &error), KITH_ECORRUPT);
        assert_non_null(strstr(error.message, names[i]));
        assert_int_equal(size_of(names[i]), size);
        flip(names[i], at);
        assert_int_equal(leftovers("rows") + leftovers("chunks"), 0);
        assert_int_equal(verify(RUNS), OLDEST);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_forget, setup, teardown),
        cmocka_unit_test_setup_teardown(test_killed, setup, teardown),
        cmocka_unit_test_setup_teardown(test_keeps, setup, teardown),
        cmocka_unit_test_setup_teardown(test_loose, setup, teardown),
        cmocka_unit_test_setup_teardown(test_damaged, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * test_backup_dir.c - a backup's folder: what was written is read; an end that was torn off is cut back to
 * the last whole record, wherever it was torn; damage is told from that; and who may write to it. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "ctl/backup/backup_dir.h"

#define PARTITIONS 4u

static char folder[] = "/tmp/kith-test-backup.XXXXXX";
static const struct kith_uuid cluster = {{1, 2, 3}}, other = {{9}};
static const uint8_t own[12] = {7}, noise[10] = {0};

static int remove_one(const char *path, const struct stat *info, int kind, struct FTW *at)
{
    (void)info;
    (void)kind;
    (void)at;
    return remove(path);
}

static int setup(void **state)
{
    (void)state;
    (void)strcpy(folder + strlen(folder) - 6, "XXXXXX");
    return mkdtemp(folder) ? 0 : -1;
}

static int teardown(void **state)
{
    (void)state;
    return nftw(folder, remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

static void open_write(struct kith_backup_dir *dir)
{
    struct kith_error error;
    assert_int_equal(kith_backup_dir_write(dir, folder, &cluster, PARTITIONS, &error), KITH_OK);
}

static enum kith_err open_read(struct kith_backup_dir *dir, struct kith_error *error)
{
    return kith_backup_dir_read(dir, folder, NULL, NULL, error);
}

/* Row `number` of partition 1 with that text as its state; the mark of a run. */
static void row_add(struct kith_backup_file *file, uint8_t number, const char *text)
{
    struct kith_error error;
    struct kith_backup_record record;
    memset(&record, 0, sizeof record);
    record.type = KITH_BACKUP_ROW;
    record.u.row.partition = 1;
    record.u.row.group = kith_group_make(1, own);
    record.u.row.name = kith_bytes_make(&number, 1);
    record.u.row.hash.bytes[0] = number;
    record.u.row.state = kith_bytes_make(text, strlen(text));
    assert_int_equal(kith_backup_file_add(file, &record, &error), KITH_OK);
}

static void mark_add(struct kith_backup_file *file, uint64_t run, uint64_t rows, uint8_t root)
{
    struct kith_error error;
    struct kith_backup_record record;
    memset(&record, 0, sizeof record);
    record.type = KITH_BACKUP_MARK;
    record.u.mark.partition = 1;
    record.u.mark.run = run;
    record.u.mark.rows = rows;
    record.u.mark.root.bytes[0] = root;
    assert_int_equal(kith_backup_file_add(file, &record, &error), KITH_OK);
}

static uint64_t log_open(struct kith_backup_dir *dir, struct kith_backup_file *file, uint64_t size,
                         char path[4200])
{
    struct kith_error error;
    struct kith_backup_record head;
    memset(&head, 0, sizeof head);
    head.type = KITH_BACKUP_HEAD;
    head.u.head.cluster = dir->cluster;
    head.u.head.partitions = PARTITIONS;
    head.u.head.partition = 1;
    kith_backup_log_path(dir, 1, path);
    assert_int_equal(kith_backup_file_open(file, path, size, &head, &error), KITH_OK);
    return file->size;
}

static uint32_t held(const struct kith_backup_state *state)
{
    uint32_t count = 0;
    for (const struct kith_backup_row *row = state->rows; row; row = row->next) {
        count += row->held.there;
    }
    return count;
}

/* Two rows and a mark, one more and one gone and a mark; torn after each byte. */
static void test_torn_log(void **test)
{
    (void)test;
    struct kith_backup_dir dir;
    struct kith_backup_file file;
    struct kith_error error;
    char path[4200];
    uint64_t ends[6];
    open_write(&dir);
    (void)log_open(&dir, &file, 0, path);
    row_add(&file, 1, "one");
    row_add(&file, 2, "two");
    ends[0] = file.size;
    mark_add(&file, 1, 2, 3);
    ends[1] = file.size;
    row_add(&file, 3, "three");
    row_add(&file, 1, "");
    ends[2] = file.size;
    mark_add(&file, 2, 2, 5);
    ends[3] = file.size;
    assert_int_equal(kith_backup_file_sync(&file, &error), KITH_OK);
    kith_backup_file_close(&file);
    for (uint64_t size = ends[3] + 1; size-- > 0;) {
        struct kith_backup_state state;
        struct kith_backup_log log;
        assert_int_equal(truncate(path, (off_t)size), 0);
        for (uint32_t run = 1; run <= 3; run++) { /* 3: all that is whole */
            kith_backup_state_init(&state, 1, PARTITIONS);
            assert_int_equal(kith_backup_log_read(&dir, 1, run == 3 ? UINT64_MAX : run, &state,
                                                  &log, &error),
                             KITH_OK);
            bool first = size >= ends[1], second = size >= ends[3] && run > 1;
            assert_int_equal(log.marked, first);
            assert_int_equal(log.mark_end, second ? ends[3] : first ? ends[1] : 0);
            assert_true(log.end <= size);
            if (run < 3 || size == ends[3]) {
                assert_int_equal(held(&state), first ? 2 : 0);
            } else if (size >= ends[2]) { /* rows without their mark count, for who goes on */
                assert_int_equal(held(&state), 2);
                assert_true(log.loose);
            }
            kith_backup_log_release(&log);
            kith_backup_state_release(&state);
        }
    }
    kith_backup_dir_close(&dir);
}

/* A bit that was turned anywhere before the last record is damage, with the byte; the rows of the mark
 * before it are there. */
static void test_damaged_log(void **test)
{
    (void)test;
    struct kith_backup_dir dir;
    struct kith_backup_file file;
    struct kith_error error;
    char path[4200], byte = 0;
    open_write(&dir);
    (void)log_open(&dir, &file, 0, path);
    row_add(&file, 1, "one");
    mark_add(&file, 1, 1, 1);
    uint64_t first = file.size;
    row_add(&file, 2, "two");
    uint64_t last = file.size;
    mark_add(&file, 2, 2, 3);
    assert_int_equal(kith_backup_file_sync(&file, &error), KITH_OK);
    kith_backup_file_close(&file);
    int fd = open(path, O_RDWR);
    for (uint64_t at = 0; at < last; at++) {
        struct kith_backup_state state;
        struct kith_backup_log log;
        assert_int_equal(pread(fd, &byte, 1, (off_t)at), 1);
        byte ^= 0x10;
        assert_int_equal(pwrite(fd, &byte, 1, (off_t)at), 1);
        kith_backup_state_init(&state, 1, PARTITIONS);
        assert_int_equal(kith_backup_log_read(&dir, 1, UINT64_MAX, &state, &log, &error),
                         KITH_ECORRUPT);
        assert_non_null(strstr(error.message, "rows/00001 is damaged at byte"));
        assert_int_equal(held(&state), at >= first ? 1 : 0);
        kith_backup_log_release(&log);
        kith_backup_state_release(&state);
        byte ^= 0x10;
        assert_int_equal(pwrite(fd, &byte, 1, (off_t)at), 1);
    }
    (void)close(fd);
    /* whole records, but not the rows that the mark sums up */
    (void)log_open(&dir, &file, first, path);
    mark_add(&file, 2, 7, 1);
    assert_int_equal(kith_backup_file_sync(&file, &error), KITH_OK);
    kith_backup_file_close(&file);
    struct kith_backup_state state;
    struct kith_backup_log log;
    kith_backup_state_init(&state, 1, PARTITIONS);
    assert_int_equal(kith_backup_log_read(&dir, 1, UINT64_MAX, &state, &log, &error),
                     KITH_ECORRUPT);
    kith_backup_log_release(&log);
    kith_backup_state_release(&state);
    kith_backup_dir_close(&dir);
}

static struct kith_backup_record chunk_of(uint8_t number, const char *text)
{
    struct kith_backup_record record;
    memset(&record, 0, sizeof record);
    record.type = KITH_BACKUP_CHUNK;
    record.u.chunk.id = kith_chunk_id_make(1, number, noise);
    record.u.chunk.contents = kith_bytes_make(text, strlen(text));
    record.u.chunk.checksum = kith_checksum_of(record.u.chunk.contents);
    return record;
}

/* Chunks are found again, also after a torn end, which the next one is written over. */
static void test_chunks(void **test)
{
    (void)test;
    struct kith_backup_dir dir;
    struct kith_error error;
    struct kith_backup_record record, found;
    char path[4200];
    open_write(&dir);
    for (uint8_t i = 1; i <= 3; i++) {
        record = chunk_of(i, i == 3 ? "third" : "contents");
        assert_int_equal(kith_backup_dir_chunk(&dir, &record, &error), KITH_OK);
    }
    assert_int_equal(kith_backup_file_sync(&dir.pack, &error), KITH_OK);
    uint64_t size = dir.pack.size;
    kith_backup_pack_path(&dir, 1, path);
    kith_backup_dir_close(&dir);
    assert_int_equal(truncate(path, (off_t)size - 1), 0);
    open_write(&dir);
    assert_int_equal(dir.chunks.count, 2);
    record = chunk_of(4, "fourth");
    assert_int_equal(kith_backup_dir_chunk(&dir, &record, &error), KITH_OK);
    kith_backup_dir_close(&dir); /* not flushed: it is lost */
    open_write(&dir);
    assert_int_equal(dir.chunks.count, 2);
    assert_int_equal(kith_backup_dir_chunk(&dir, &record, &error), KITH_OK);
    assert_int_equal(kith_backup_file_sync(&dir.pack, &error), KITH_OK);
    kith_backup_dir_close(&dir);
    assert_int_equal(open_read(&dir, &error), KITH_OK);
    struct kith_arena arena;
    struct kith_buf bytes;
    kith_arena_init(&arena, 0);
    kith_buf_init(&bytes);
    const struct kith_backup_place *place =
        kith_backup_index_find(&dir.chunks, &record.u.chunk.id);
    assert_non_null(place);
    assert_int_equal(kith_backup_dir_read_chunk(&dir, place, &arena, &found, &bytes, &error),
                     KITH_OK);
    assert_true(kith_bytes_equal(found.u.chunk.contents, record.u.chunk.contents));
    int fd = open(path, O_RDWR);
    assert_int_equal(pwrite(fd, "?", 1, (off_t)place->at + 62), 1);
    (void)close(fd);
    assert_int_equal(kith_backup_dir_read_chunk(&dir, place, &arena, &found, &bytes, &error),
                     KITH_ECORRUPT);
    kith_buf_release(&bytes);
    kith_arena_release(&arena);
    kith_backup_dir_close(&dir);
}

static void test_index(void **test)
{
    (void)test;
    struct kith_backup_index index;
    memset(&index, 0, sizeof index);
    for (uint64_t i = 1; i <= 5000; i++) {
        struct kith_backup_place place = {kith_chunk_id_make(1, i, noise), 1, i};
        assert_int_equal(kith_backup_index_add(&index, &place), KITH_OK);
        place.at = 2 * i; /* a second copy, which counts from now on */
        assert_int_equal(kith_backup_index_add(&index, &place), KITH_OK);
    }
    assert_int_equal(index.count, 5000);
    for (uint64_t i = 1; i <= 5001; i++) {
        struct kith_chunk_id id = kith_chunk_id_make(1, i, noise);
        const struct kith_backup_place *place = kith_backup_index_find(&index, &id);
        assert_true(i == 5001 ? place == NULL : place != NULL && place->at == 2 * i);
    }
    kith_backup_index_release(&index);
}

/* Of another cluster, with other partitions, in use, something else; and what runs there were. */
static void test_who_may(void **test)
{
    (void)test;
    struct kith_backup_dir dir, second;
    struct kith_error error;
    char path[300];
    static const struct kith_checksum marks[PARTITIONS] = {{{1}}, {{2}}, {{3}}, {{4}}};
    assert_int_equal(open_read(&dir, &error), KITH_ENOTFOUND);
    kith_backup_dir_close(&dir);
    open_write(&dir);
    assert_int_equal(kith_backup_dir_write(&second, folder, &cluster, PARTITIONS, &error),
                     KITH_EBUSY);
    kith_backup_dir_close(&second);
    assert_int_equal(open_read(&second, &error), KITH_EBUSY);
    kith_backup_dir_close(&second);
    assert_int_equal(kith_backup_dir_done(&dir, 1, true, marks, "rows 1", &error), KITH_OK);
    assert_int_equal(kith_backup_dir_done(&dir, 2, false, marks, "rows 1", &error), KITH_OK);
    assert_int_equal(dir.run_count, 2);
    kith_backup_dir_close(&dir);
    (void)snprintf(path, sizeof path, "%s/runs", folder);
    FILE *runs = fopen(path, "a");
    (void)fputs("run 3 whole 2026-11-23T04:05:06Z ends 000102030405060708090a0b0c0d0e0f rows 1\n",
                runs); /* as an older kithctl wrote it: of the logs it says nothing any more */
    (void)fputs("run 4 who", runs); /* it was being written */
    (void)fclose(runs);
    open_write(&dir);
    assert_int_equal(dir.run_count, 3);
    assert_true(kith_backup_marks_fit(&dir.runs[2], marks, PARTITIONS));
    assert_true(kith_backup_marks_fit(&dir.runs[1], marks, PARTITIONS));
    assert_false(kith_backup_marks_fit(&dir.runs[1], marks + 1, PARTITIONS - 1));
    assert_true(dir.runs[0].whole && !dir.runs[1].whole && dir.runs[1].run == 2);
    struct kith_checksum sum = kith_backup_marks(marks, PARTITIONS);
    assert_true(kith_checksum_equal(&sum, &dir.runs[1].marks));
    assert_int_equal(kith_backup_dir_done(&dir, 4, true, marks, "rows 1", &error), KITH_OK);
    kith_backup_dir_close(&dir);
    assert_int_equal(open_read(&dir, &error), KITH_OK);
    assert_int_equal(dir.run_count, 4);
    kith_backup_dir_close(&dir);
    assert_int_equal(kith_backup_dir_write(&dir, folder, &other, PARTITIONS, &error),
                     KITH_ECLUSTER);
    kith_backup_dir_close(&dir);
    assert_int_equal(kith_backup_dir_write(&dir, folder, &cluster, 2 * PARTITIONS, &error),
                     KITH_ECLUSTER);
    kith_backup_dir_close(&dir);
    (void)snprintf(path, sizeof path, "%s/cluster", folder);
    assert_int_equal(remove(path), 0);
    assert_int_equal(kith_backup_dir_write(&dir, folder, &cluster, PARTITIONS, &error),
                     KITH_EEXIST); /* what is in it would be taken for this one's */
    kith_backup_dir_close(&dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_torn_log, setup, teardown),
        cmocka_unit_test_setup_teardown(test_damaged_log, setup, teardown),
        cmocka_unit_test_setup_teardown(test_chunks, setup, teardown),
        cmocka_unit_test(test_index),
        cmocka_unit_test_setup_teardown(test_who_may, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

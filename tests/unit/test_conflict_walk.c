/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "conflicts/conflict_table.h"
#include "conflicts/conflict_walk.h"
#include "lib/fake_client.h"

/* Every name below a directory is looked at, over a cluster in memory. */
struct world {
    struct kith_fake_cluster *cluster;
    struct kith_client *mine, *theirs;
    struct kith_conflict_walk walk;
    struct kith_error error;
    char found[1024];     /* "PATH COUNT WRITERS;" */
    uint32_t steps, most; /* the walk is over after so many; 0: never */
};

static struct kith_group group_of(uint8_t dir)
{
    uint8_t id[KITH_DIR_ID_SIZE] = {dir};
    return kith_group_make(KITH_VOLUME_FS, id);
}

static bool on_found(void *arg, struct kith_bytes path, struct kith_bytes name,
                     const struct kith_conflict *conflict)
{
    struct world *w = arg;
    size_t used = strlen(w->found);
    assert_true(path.size >= name.size);
    snprintf(w->found + used, sizeof w->found - used, "%.*s %u %u;", (int)path.size,
             (const char *)path.data, conflict->count, conflict->writer_count);
    return true;
}

static bool on_step(void *arg, const struct kith_conflict_walk *walk, struct kith_bytes path)
{
    struct world *w = arg;
    (void)walk, (void)path;
    return ++w->steps != w->most;
}

static int setup(void **state)
{
    struct world *w = kith_calloc(1, sizeof *w);
    if (w == NULL || (w->cluster = kith_fake_cluster_new()) == NULL) {
        return -1;
    }
    w->mine = kith_fake_client_new(w->cluster, "me@here");
    w->theirs = kith_fake_client_new(w->cluster, "they@there");
    w->walk.found = on_found;
    w->walk.step = on_step;
    w->walk.arg = w;
    *state = w;
    return w->mine == NULL || w->theirs == NULL ? -1 : 0;
}

static int teardown(void **state)
{
    struct world *w = *state;
    kith_client_close(w->mine);
    kith_client_close(w->theirs);
    kith_fake_cluster_free(w->cluster);
    kith_free(w);
    return 0;
}

/* Blind: beside what is there. */
static void put(struct kith_client *client, uint8_t dir, const char *name, enum kith_type type,
                uint64_t id)
{
    struct kith_inode_record record;
    struct kith_client_answer answer;
    struct kith_buf buf;
    memset(&record, 0, sizeof record);
    record.type = type;
    record.file_id = id;
    record.attrs.mode = (uint32_t)id;
    record.attrs.have = KITH_ATTR_MODE;
    if (type == KITH_TYPE_DIR) {
        record.dir_id[0] = (uint8_t)id;
    }
    kith_buf_init(&buf);
    kith_inode_record_encode(&record, &buf);
    struct kith_put_update update = {.name = kith_bytes_make(name, strlen(name)),
                                     .has_sibling = true,
                                     .value = kith_buf_bytes(&buf)};
    struct kith_client_op op = {.kind = KITH_CLIENT_PUT};
    op.u.put.group = group_of(dir);
    op.u.put.update_count = 1;
    op.u.put.updates = &update;
    assert_int_equal(KITH_OK, kith_client_call(client, &op, &answer));
    kith_client_answer_release(&answer);
    kith_buf_release(&buf);
}

static enum kith_err walk(struct world *w, uint8_t dir)
{
    struct kith_group group = group_of(dir);
    w->found[0] = '\0';
    w->steps = 0;
    return kith_conflict_walk_dir(w->mine, &group, &w->walk, &w->error);
}

static void make_tree(struct world *w)
{
    put(w->mine, 0, "d", KITH_TYPE_DIR, 7);
    put(w->mine, 0, "plain", KITH_TYPE_FILE, 20);
    put(w->mine, 7, "e", KITH_TYPE_DIR, 8);
    put(w->mine, 7, "f", KITH_TYPE_FILE, 21);
    put(w->theirs, 7, "f", KITH_TYPE_FILE, 22);
    put(w->mine, 8, "g", KITH_TYPE_FILE, 23);
    put(w->mine, 8, "g", KITH_TYPE_FILE, 24);
    put(w->theirs, 8, "g", KITH_TYPE_FILE, 25);
}

static void test_finds(void **state)
{
    struct world *w = *state;
    make_tree(w);
    assert_int_equal(KITH_OK, walk(w, 0));
    assert_string_equal("d/f 2 2;d/e/g 3 2;", w->found);
    assert_int_equal(2, w->walk.conflicts);
    assert_int_equal(3, w->walk.directories);
    assert_false(w->walk.degraded);
    assert_int_equal(0, w->walk.unread);
    assert_int_equal(KITH_OK, walk(w, 8)); /* a mount of a subdirectory: paths begin there */
    assert_string_equal("g 3 2;", w->found);
    assert_int_equal(KITH_OK, walk(w, 99));
    assert_string_equal("", w->found);
}

static void test_name(void **state)
{
    struct world *w = *state;
    struct kith_group group = group_of(7);
    make_tree(w);
    w->found[0] = '\0';
    assert_int_equal(KITH_OK, kith_conflict_walk_name(w->mine, &group, kith_bytes_make("e", 1),
                                                      &w->walk, &w->error));
    assert_string_equal("g 3 2;", w->found);
    assert_int_equal(
        KITH_ENOTFOUND,
        kith_conflict_walk_name(w->mine, &group, kith_bytes_make("x", 1), &w->walk, &w->error));
}

/* A directory that cannot be read is an error, wherever it is. */
static void test_unreachable(void **state)
{
    struct world *w = *state;
    make_tree(w);
    for (uint32_t after = 0; after < 3; after++) {
        kith_fake_fail_later(w->cluster, KITH_CLIENT_SCAN, after, 1, KITH_EUNREACH, false);
        assert_int_equal(KITH_EUNREACH, walk(w, 0));
        assert_true(w->error.message[0] != '\0');
    }
    assert_int_equal(KITH_OK, walk(w, 0));
}

static void test_interrupted(void **state)
{
    struct world *w = *state;
    struct kith_fake_counts before, after;
    make_tree(w);
    kith_fake_counts(w->cluster, &before);
    w->most = 2;
    assert_int_equal(KITH_ECANCELED, walk(w, 0));
    kith_fake_counts(w->cluster, &after);
    assert_int_equal(before.ops[KITH_CLIENT_SCAN] + 1, after.ops[KITH_CLIENT_SCAN]);
}

/* Directories within one another do not keep it for ever. */
static void test_cycle(void **state)
{
    struct world *w = *state;
    put(w->mine, 0, "d", KITH_TYPE_DIR, 7);
    put(w->mine, 7, "up", KITH_TYPE_DIR, 7);
    assert_int_equal(KITH_OK, walk(w, 0));
    assert_int_equal(1, w->walk.unread);
}

/* The lines, whatever is in a name. */
static void test_table(void **state)
{
    struct kith_columns columns;
    struct kith_bytes writers[2] = {kith_bytes_make("a@b", 3), kith_bytes_make("c\n@d", 4)};
    struct kith_conflict conflict = {
        .count = 3, .since_ms = UINT64_C(1795197753123), .writer_count = 2, .writers = writers};
    char *text;
    size_t size;
    (void)state;
    kith_conflict_table_init(&columns);
    assert_true(kith_conflict_table_add(&columns, kith_bytes_make("d/\nx", 4), &conflict));
    FILE *out = open_memstream(&text, &size);
    assert_non_null(out);
    assert_true(kith_columns_print(&columns, out, false));
    assert_int_equal(0, fclose(out));
    assert_string_equal("PATH     VERSIONS  SINCE             WRITERS\n"
                        "d/\\x0ax  3         2026-11-20 18:02  a@b, c\\x0a@d\n",
                        text);
    free(text);
    kith_columns_release(&columns);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_finds, setup, teardown),
        cmocka_unit_test_setup_teardown(test_name, setup, teardown),
        cmocka_unit_test_setup_teardown(test_unreachable, setup, teardown),
        cmocka_unit_test_setup_teardown(test_interrupted, setup, teardown),
        cmocka_unit_test_setup_teardown(test_cycle, setup, teardown),
        cmocka_unit_test(test_table),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * When a mount runs its hook, and for what: the tables of two mounts over a cluster in memory; no
 * kernel. The hook is a shell script that notes what it is given. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "aside_place.h"
#include "fs/hook/hook.h"

static char folder[64];

struct place {
    struct two_fs two; /* first: the helpers of aside_place.h take it */
    char program[128], log[128];
};

/* The program: notes "RUN" and its words, with "!" for the made parts of names, on one line; and does
 * what stands in the file `then`. */
static void write_program(const struct place *place)
{
    int fd = open(place->program, O_WRONLY | O_CREAT | O_CLOEXEC | O_TRUNC, 0700);
    assert_true(fd >= 0);
    assert_true(dprintf(fd,
                        "#!/bin/sh\n"
                        "{ printf RUN; printf ' %%s' \"$@\" | sed 's/conflict-[^ ]*/!/g'; echo; "
                        "} >>%s\n"
                        "[ \"$KITH_PATH\" = \"$1\" ] || exit 9\n"
                        "[ ! -f %s/then ] || . %s/then\n",
                        place->log, folder, folder) > 0);
    close(fd);
}

static void then(const char *script)
{
    char path[128];
    snprintf(path, sizeof path, "%s/then", folder);
    int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC | O_TRUNC, 0600);
    assert_true(fd >= 0 && dprintf(fd, "%s\n", script) > 0);
    close(fd);
}

static int setup_with(void **state, const char *list, bool watches)
{
    struct place *place = kith_calloc(1, sizeof *place);
    struct two_fs *two = &place->two;
    struct kith_error error;
    char program[] = "kithfs", source[] = "fake:1", at[] = "/nowhere", o[] = "-o", options[128];
    char *words[5] = {program, source, at, o, options};
    snprintf(folder, sizeof folder, "/tmp/kith-hook.XXXXXX");
    assert_non_null(mkdtemp(folder));
    snprintf(place->program, sizeof place->program, "%s/program", folder);
    snprintf(place->log, sizeof place->log, "%s/log", folder);
    write_program(place);
    snprintf(options, sizeof options, "entry_timeout=0,hook_quiet=0.1,hook_limit=20,%s", list);
    assert_int_equal(kith_fs_options_parse(5, words, &two->options, &error), KITH_OK);
    two->options.mountpoint = "/nowhere";
    two->cluster = kith_fake_cluster_new();
    char *hook = kith_strdup(place->program);
    assert_true(two->cluster != NULL && hook != NULL);
    kith_fake_set_watches(two->cluster, watches);
    for (unsigned i = 0; i < TWO_MOUNTS; i++) {
        struct kith_client *client = kith_fake_client_new(two->cluster, "who@where");
        assert_non_null(client);
        two->options.on_conflict = i == TWO_MINE ? hook : NULL;
        assert_int_equal(kith_fs_new(&two->options, client, &two->fs[i], &error), KITH_OK);
        assert_int_equal(two->fs[i]->hook != NULL, i == TWO_MINE);
    }
    two->options.on_conflict = hook;
    two->dir[TWO_OTHER] = two_made_dir(two->fs[TWO_OTHER], two->fs[TWO_OTHER]->root, "d");
    two->dir[TWO_MINE] = two_inode_at(two->fs[TWO_MINE], two->fs[TWO_MINE]->root, "d");
    assert_non_null(two->dir[TWO_MINE]);
    *state = place;
    return 0;
}

static int setup(void **state)
{
    return setup_with(state, "nowatch", false);
}

static int setup_hidden(void **state)
{
    return setup_with(state, "nowatch,conflicts=hide", false);
}

static int setup_watched(void **state)
{
    return setup_with(state, "rw", true);
}

static int teardown(void **state)
{
    struct place *place = *state;
    struct two_fs *two = &place->two;
    char path[128];
    for (unsigned i = 0; i < TWO_MOUNTS; i++) {
        if (two->fs[i] != NULL) {
            assert_int_equal(kith_fs_free(two->fs[i]), 0);
        }
    }
    kith_fake_cluster_free(two->cluster);
    kith_fs_options_release(&two->options);
    snprintf(path, sizeof path, "%s/then", folder);
    (void)unlink(path);
    (void)unlink(place->log);
    assert_int_equal(unlink(place->program), 0);
    assert_int_equal(rmdir(folder), 0);
    kith_free(place);
    return 0;
}

static const char *noted(const struct place *place)
{
    static char text[4096];
    size_t used = 0;
    FILE *file = fopen(place->log, "re");
    if (file != NULL) {
        used = fread(text, 1, sizeof text - 1, file);
        fclose(file);
    }
    text[used] = '\0';
    return text;
}

static struct kith_hook_figures figures(const struct place *place)
{
    struct kith_hook_figures now;
    struct kith_fs *fs = place->two.fs[TWO_MINE];
    pthread_mutex_lock(&fs->lock);
    kith_hook_figures(fs->hook, &now);
    pthread_mutex_unlock(&fs->lock);
    return now;
}

static void tick(void)
{
    const struct timespec pause = {0, 10000000};
    nanosleep(&pause, NULL);
}

static void wait_runs(const struct place *place, uint64_t runs)
{
    for (unsigned i = 0; i < 2000 && figures(place).runs < runs; i++) {
        tick();
    }
    assert_int_equal(figures(place).runs, runs);
}

/* Nothing waits to be looked at, and nothing comes: longer than it would have to be quiet. */
static void settled(const struct place *place)
{
    unsigned idle = 0;
    for (unsigned i = 0; i < 3000 && idle < 30; i++) {
        tick();
        idle = figures(place).waiting == 0 ? idle + 1 : 0;
    }
    assert_int_equal(idle, 30);
}

/* The directories that are watched by now have been looked through. */
static void looked_through(const struct place *place)
{
    struct kith_fs *fs = place->two.fs[TWO_MINE];
    struct kith_watch_figures watch;
    pthread_mutex_lock(&fs->lock);
    kith_watch_figures(fs, &watch);
    pthread_mutex_unlock(&fs->lock);
    assert_true(watch.live > 0);
    for (unsigned i = 0; i < 2000 && figures(place).looks < watch.live; i++) {
        tick();
    }
    assert_true(figures(place).looks >= watch.live);
    settled(place);
}

static void ran(const struct place *place, const char *want)
{
    settled(place);
    assert_string_equal(noted(place), want);
}

/* Both make the file, each without knowing of the other. */
static void conflict(struct two_fs *two, const char *name)
{
    struct kith_inode *mine = created(two, TWO_MINE, name), *other = created(two, TWO_OTHER, name);
    append(two->fs[TWO_MINE], mine, "mine");
    append(two->fs[TWO_OTHER], other, "theirs");
    closed(two->fs[TWO_MINE], mine);
    closed(two->fs[TWO_OTHER], other);
}

static void looks(struct two_fs *two, const char *name)
{
    (void)two_inode_at(two->fs[TWO_MINE], two->dir[TWO_MINE], name);
}

/* Once for a set, however often it is seen; again for another version. */
static void test_once(void **state)
{
    struct place *place = *state;
    struct two_fs *two = &place->two;
    conflict(two, "f");
    looks(two, "f");
    looks(two, "f");
    wait_runs(place, 1);
    ran(place, "RUN /nowhere/d/f /nowhere/d/f.!\n");
    looks(two, "f");
    (void)listing(two, TWO_MINE);
    ran(place, "RUN /nowhere/d/f /nowhere/d/f.!\n");
    assert_int_equal(figures(place).runs, 1);
    assert_int_equal(figures(place).failures, 0);
    /* who writes on in what bears the name changes nothing beside it */
    struct kith_inode *inode = two_inode_at(two->fs[TWO_OTHER], two->dir[TWO_OTHER], "f");
    assert_int_equal(kith_inode_open(two->fs[TWO_OTHER], inode), 0);
    append(two->fs[TWO_OTHER], inode, "+");
    assert_int_equal(kith_inode_flush(two->fs[TWO_OTHER], inode, KITH_DURABLE_OS), 0);
    kith_inode_close(two->fs[TWO_OTHER], inode);
    looks(two, "f");
    settled(place);
    assert_int_equal(figures(place).runs, 1);
}

/* Another version of the file, by somebody who has seen none. */
static void blind(struct two_fs *two, const char *name)
{
    struct kith_fs *fs = two->fs[TWO_OTHER];
    struct kith_client_answer answer;
    struct kith_inode_record record;
    struct kith_rowname row;
    struct kith_buf buf;
    memset(&record, 0, sizeof record);
    kith_buf_init(&buf);
    record.type = KITH_TYPE_FILE;
    record.file_id = kith_fs_random(fs);
    record.attrs.have = KITH_ATTR_ALL;
    record.attrs.mode = 0644;
    kith_inode_record_encode(&record, &buf);
    kith_rowname_entry(kith_bytes_make(name, strlen(name)), &row);
    struct kith_put_update update = {
        .name = kith_rowname_bytes(&row), .has_sibling = true, .value = kith_buf_bytes(&buf)};
    assert_int_equal(kith_rows_put(fs, &two->dir[TWO_OTHER]->dir->group, KITH_DURABLE_OS, &update,
                                   1, &answer),
                     0);
    kith_client_answer_release(&answer);
    kith_buf_release(&buf);
}

/* Another version: again, and both are named. One of them goes: not again. */
static void test_joins(void **state)
{
    struct place *place = *state;
    struct two_fs *two = &place->two;
    char name[KITH_FS_NAME_MAX + 1];
    conflict(two, "f");
    looks(two, "f");
    wait_runs(place, 1);
    settled(place);
    made_name(two, TWO_OTHER, "f", name);
    blind(two, "f");
    looks(two, "f");
    wait_runs(place, 2);
    ran(place, "RUN /nowhere/d/f /nowhere/d/f.!\nRUN /nowhere/d/f /nowhere/d/f.! /nowhere/d/f.!\n");
    removes(two, TWO_OTHER, name);
    looks(two, "f");
    settled(place);
    assert_int_equal(figures(place).runs, 2);
}

/* Nobody looks: the answer to what this mount puts says it. */
static void test_own_put(void **state)
{
    struct place *place = *state;
    struct two_fs *two = &place->two;
    struct kith_inode *mine = created(two, TWO_MINE, "f");
    append(two->fs[TWO_MINE], mine, "mine");
    blind(two, "f");
    closed(two->fs[TWO_MINE], mine);
    wait_runs(place, 1);
    ran(place, "RUN /nowhere/d/f /nowhere/d/f.!\n");
}

/* Before its turn comes somebody has removed the other version. */
static void test_settled(void **state)
{
    struct place *place = *state;
    struct two_fs *two = &place->two;
    char name[KITH_FS_NAME_MAX + 1];
    conflict(two, "f");
    made_name(two, TWO_OTHER, "f", name);
    looks(two, "f");
    removes(two, TWO_OTHER, name);
    settled(place);
    assert_int_equal(figures(place).runs, 0);
    assert_string_equal(noted(place), "");
}

/* Nobody touches the file at this mount: what is told is enough. */
static void test_told(void **state)
{
    struct place *place = *state;
    struct two_fs *two = &place->two;
    struct kith_inode *mine = created(two, TWO_MINE, "f"), *other = created(two, TWO_OTHER, "f");
    append(two->fs[TWO_MINE], mine, "mine");
    append(two->fs[TWO_OTHER], other, "theirs");
    closed(two->fs[TWO_MINE], mine);
    looked_through(place);
    closed(two->fs[TWO_OTHER], other);
    wait_runs(place, 1);
    ran(place, "RUN /nowhere/d/f /nowhere/d/f.!\n");
}

/* It was there before anybody watched, and nobody looks at it but at another name: the directory is
 * looked through. So it is when a watch is live again that was not. */
static void test_looked_through(void **state)
{
    struct place *place = *state;
    struct two_fs *two = &place->two;
    blind(two, "f");
    blind(two, "f");
    looks(two, "g");
    wait_runs(place, 1);
    ran(place, "RUN /nowhere/d/f /nowhere/d/f.!\n");
}

static uint64_t scans(const struct place *place)
{
    struct kith_fake_counts counts;
    kith_fake_counts(place->two.cluster, &counts);
    return counts.ops[KITH_CLIENT_SCAN];
}

/* Whoever asks under the live watch reads all names: then they are not read once more. */
static void test_listed(void **state)
{
    struct place *place = *state;
    struct two_fs *two = &place->two;
    looks(two, "zero");
    uint64_t before = scans(place);
    looks(two, "one");
    assert_int_equal(scans(place), before + 1);
    looked_through(place);
    assert_int_equal(scans(place), before + 2); /* the root's, of which nobody has asked for more */
}

static uint32_t watched(struct kith_fs *fs, uint64_t later_s)
{
    struct kith_watch_figures watch;
    kith_watch_tick(fs, kith_mono_ns() + later_s * NSEC_PER_SEC);
    pthread_mutex_lock(&fs->lock);
    kith_watch_figures(fs, &watch);
    pthread_mutex_unlock(&fs->lock);
    return watch.watched;
}

/* A mount with a hook goes on watching what nobody uses: for an hour, or until nodes are back. */
static void test_watched_on(void **state)
{
    struct place *place = *state;
    struct two_fs *two = &place->two;
    looks(two, "zero");
    looked_through(place);
    assert_true(watched(two->fs[TWO_OTHER], 0) > 0);
    assert_int_equal(watched(two->fs[TWO_OTHER], 400), 0); /* it has none */
    assert_int_equal(watched(two->fs[TWO_MINE], 400), 2);  /* the root, and "d" */
    assert_int_equal(watched(two->fs[TWO_MINE], 3000), 2);
    kith_fake_set_watches(two->cluster, false);
    assert_int_equal(watched(two->fs[TWO_MINE], 7200), 2);
    kith_fake_set_watches(two->cluster, true);
    assert_int_equal(watched(two->fs[TWO_MINE], 7200), 0);
}

/* A file of two names, opened at both mounts: what each has written, the other's not put yet. */
static void write_linked(struct two_fs *two, struct kith_inode **ret_mine,
                         struct kith_inode **ret_other)
{
    struct kith_fs *fs = two->fs[TWO_MINE], *others = two->fs[TWO_OTHER];
    two_work(two_job(others, two->dir[TWO_OTHER], NULL, "one", "", kith_do_mknod));
    struct kith_inode *other = two_inode_at(others, two->dir[TWO_OTHER], "one");
    two_work(two_job(others, other, two->dir[TWO_OTHER], "two", "", kith_do_link));
    struct kith_inode *mine = two_inode_at(fs, two->dir[TWO_MINE], "one");
    assert_int_equal(kith_inode_open(fs, mine), 0);
    assert_int_equal(kith_inode_open(others, other), 0);
    append(fs, mine, "mine");
    append(others, other, "theirs");
    assert_int_equal(kith_inode_flush(fs, mine, KITH_DURABLE_OS), 0);
    kith_inode_close(fs, mine);
    *ret_mine = mine;
    *ret_other = other;
}

static void put_other(struct two_fs *two, struct kith_inode *other)
{
    assert_int_equal(kith_inode_flush(two->fs[TWO_OTHER], other, KITH_DURABLE_OS), 0);
    kith_inode_close(two->fs[TWO_OTHER], other);
}

/* A file with several names is in conflict once. */
static void test_names(void **state)
{
    struct place *place = *state;
    struct two_fs *two = &place->two;
    struct kith_inode *mine, *other;
    write_linked(two, &mine, &other);
    put_other(two, other);
    looks(two, "one");
    wait_runs(place, 1);
    looks(two, "two");
    ran(place, "RUN /nowhere/d/one /nowhere/d/one.!\n");
    assert_int_equal(figures(place).runs, 1);
}

/* What is told is the row that the names share. */
static void test_names_told(void **state)
{
    struct place *place = *state;
    struct two_fs *two = &place->two;
    struct kith_inode *mine, *other;
    looks(two, "zero");
    looked_through(place);
    write_linked(two, &mine, &other);
    settled(place);
    put_other(two, other);
    wait_runs(place, 1);
    settled(place);
    assert_int_equal(figures(place).runs, 1);
}

static void test_hidden(void **state)
{
    struct place *place = *state;
    struct two_fs *two = &place->two;
    conflict(two, "f");
    looks(two, "f");
    wait_runs(place, 1);
    ran(place, "RUN /nowhere/d/f\n");
    assert_int_equal(figures(place).failures, 0);
}

static void test_fails(void **state)
{
    struct place *place = *state;
    struct two_fs *two = &place->two;
    then("exit 3");
    conflict(two, "f");
    looks(two, "f");
    wait_runs(place, 1);
    looks(two, "f");
    settled(place); /* a run that fails is a run */
    struct kith_hook_figures now = figures(place);
    assert_int_equal(now.runs, 1);
    assert_int_equal(now.failures, 1);
    assert_true(now.failed_ms > 0);
    assert_non_null(strstr(now.failure, "/nowhere/d/f: ended with status 3"));
}

/* No node answers: tried again. */
static void test_unreachable(void **state)
{
    struct place *place = *state;
    struct two_fs *two = &place->two;
    conflict(two, "f");
    looks(two, "f");
    kith_fake_fail_next(two->cluster, KITH_CLIENT_GET, 2, KITH_EUNREACH, false);
    wait_runs(place, 1);
    ran(place, "RUN /nowhere/d/f /nowhere/d/f.!\n");
    assert_int_equal(figures(place).dropped, 0);
}

/* The mount ends while it runs, and others wait. */
static void test_end(void **state)
{
    struct place *place = *state;
    struct two_fs *two = &place->two;
    then("trap '' TERM; exec sleep 60");
    conflict(two, "f");
    looks(two, "f");
    wait_runs(place, 1);
    conflict(two, "g");
    looks(two, "g");
    uint64_t before = kith_mono_ns();
    assert_int_equal(kith_fs_free(two->fs[TWO_MINE]), 0);
    two->fs[TWO_MINE] = NULL;
    assert_true(kith_mono_ns() - before < 20 * NSEC_PER_SEC);
    assert_null(strstr(noted(place), "/g"));
}

#define HOOK_TEST(name, start) cmocka_unit_test_setup_teardown(name, start, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        HOOK_TEST(test_once, setup),         HOOK_TEST(test_joins, setup),
        HOOK_TEST(test_own_put, setup),      HOOK_TEST(test_names_told, setup_watched),
        HOOK_TEST(test_watched_on, setup_watched), HOOK_TEST(test_listed, setup_watched),
        HOOK_TEST(test_settled, setup),      HOOK_TEST(test_told, setup_watched),
        HOOK_TEST(test_looked_through, setup_watched), HOOK_TEST(test_names, setup),
        HOOK_TEST(test_hidden, setup_hidden), HOOK_TEST(test_fails, setup),
        HOOK_TEST(test_unreachable, setup),  HOOK_TEST(test_end, setup),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * A store that is encrypted: all of it, found again with its key alone. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "store_place.h"

#include "store/store_crypt.h"

#define MARKER "Th1sIsTheSecretThatNobodyMayReadOnTheDisk"
#define LARGE  300000u /* a chunk in a segment */
#define SMALL  5000u

static const struct kith_crypt_key keys[2] = {{{1, 2, 3}}, {{1, 2, 4}}};

/* ---- What lies on the disk ---- */

static struct kith_buf found; /* path, mode and bytes of all files, in the order of the walk */

static int collect(const char *path, const struct stat *st, int type, struct FTW *at)
{
    (void)at;
    if (type != FTW_F) {
        return 0;
    }
    kith_buf_put(&found, path, strlen(path) + 1);
    kith_buf_put_u64(&found, (uint64_t)st->st_mode);
    FILE *file = fopen(path, "r");
    uint8_t bytes[65536];
    for (size_t got; file != NULL && (got = fread(bytes, 1, sizeof bytes, file)) > 0;) {
        kith_buf_put(&found, bytes, got);
    }
    return file == NULL || fclose(file) != 0;
}

static struct kith_bytes all_bytes(const struct place *place)
{
    kith_buf_clear(&found);
    assert_int_equal(nftw(place->dir, collect, 16, FTW_PHYS), 0);
    assert_false(found.failed);
    return kith_buf_bytes(&found);
}

static uint32_t markers(const struct place *place)
{
    struct kith_bytes all = all_bytes(place);
    uint32_t count = 0;
    const uint8_t *at = all.data, *end = all.data + all.size;
    while ((at = memmem(at, (size_t)(end - at), MARKER, sizeof MARKER - 1)) != NULL) {
        count++;
        at++;
    }
    return count;
}

/* ---- What is put there ---- */

static struct kith_blob *marked_blob(size_t size)
{
    struct kith_blob *blob = kith_blob_new(size);
    for (size_t i = 0; i < size; i++) {
        blob->data[i] = (uint8_t)MARKER[i % (sizeof MARKER - 1)];
    }
    return blob;
}

static void put_marked(struct place *place, uint32_t number, size_t size)
{
    struct kith_blob *blob = marked_blob(size);
    struct kith_store_op op = chunk_op(number, blob);
    assert_int_equal(ask(place, &op)->err, KITH_OK);
    kith_blob_drop(blob);
}

static const struct kith_store_done *get(struct place *place, uint32_t number, uint32_t offset,
                                         uint32_t size)
{
    struct kith_store_op op = {.id = 8, .kind = KITH_STORE_CHUNK_GET};
    op.u.chunk_get.id = chunk_id(number);
    op.u.chunk_get.offset = offset;
    op.u.chunk_get.size = size;
    op.partition = kith_chunk_partition(&op.u.chunk_get.id, PARTITIONS);
    return ask(place, &op);
}

static void assert_marked(struct place *place, uint32_t number, uint32_t size)
{
    struct kith_blob *blob = marked_blob(size);
    uint32_t parts[3][2] = {{0, 0}, {0, 100}, {size / 3, size / 2}};
    for (uint32_t i = 0; i < 3; i++) {
        const struct kith_store_done *done = get(place, number, parts[i][0], parts[i][1]);
        uint32_t wanted = parts[i][1] == 0 ? size : parts[i][1];
        assert_int_equal(done->err, KITH_OK);
        assert_int_equal(done->u.chunk.payload->size, wanted);
        assert_memory_equal(done->u.chunk.payload->data, blob->data + parts[i][0], wanted);
    }
    kith_blob_drop(blob);
}

static void fill(struct place *place)
{
    put_text(place, 1, "a-" MARKER, "row " MARKER);
    for (uint32_t i = 0; i < 300; i++) { /* more than a page */
        char name[40];
        snprintf(name, sizeof name, "n%u", i);
        put_text(place, i, name, MARKER MARKER);
    }
    put_marked(place, 1, SMALL);
    put_marked(place, 2, LARGE);
    put_marked(place, 3, 1u << 20);
    struct kith_store_op op = {.id = 9, .kind = KITH_STORE_META_PUT};
    op.u.meta.key = KITH_META_NODE;
    op.u.meta.value = kith_bytes_make(MARKER, sizeof MARKER - 1);
    assert_int_equal(ask(place, &op)->err, KITH_OK);
}

static void assert_filled(struct place *place)
{
    char text[32];
    assert_int_equal(siblings_of(place, 1, "a-" MARKER, text), 1);
    assert_memory_equal(text, "row " MARKER, 31);
    assert_int_equal(siblings_of(place, 299, "n299", text), 1);
    assert_marked(place, 1, SMALL);
    assert_marked(place, 2, LARGE);
    assert_marked(place, 3, 1u << 20);
    verify(place, 301, 3);
}

static int setup_crypt(void **state)
{
    struct place *place = calloc(1, sizeof *place);
    place_init(place);
    place->key = &keys[0];
    must_open(place);
    *state = place;
    return 0;
}

/* As a process that is killed leaves it: everything is at the operating system, nothing is closed.
 */
static void fill_and_die(struct place *place)
{
    must_close(place);
    pid_t child = fork();
    if (child == 0) {
        must_open(place);
        fill(place);
        _exit(0);
    }
    int status = 0;
    assert_true(child > 0 && waitpid(child, &status, 0) == child);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

/* ---- Tests ---- */

static void test_all_of_it(void **state)
{
    struct place *place = *state;
    fill_and_die(place);
    assert_int_equal(markers(place), 0); /* in the log */
    must_open(place);
    assert_filled(place);
    must_close(place);
    assert_int_equal(markers(place), 0); /* and in the tables */
    must_open(place);
    assert_filled(place);
    /* the same without a key, so that the search is one */
    must_close(place);
    remove_tree(place->dir);
    assert_int_equal(mkdir(place->dir, 0700), 0);
    place->key = NULL;
    must_open(place);
    fill_and_die(place);
    assert_true(markers(place) > 300);
    must_open(place);
    assert_filled(place);
}

static void assert_refused(struct place *place, const struct kith_crypt_key *key, const char *word)
{
    struct kith_error error = {KITH_OK, ""};
    struct kith_bytes before = all_bytes(place);
    struct kith_buf copy;
    kith_buf_init(&copy);
    kith_buf_put(&copy, before.data, before.size);
    place->key = key;
    assert_int_equal(place_open(place, &error), KITH_EINVAL);
    if (strstr(error.message, word) == NULL) {
        fail_msg("\"%s\" lacks \"%s\"", error.message, word);
    }
    assert_true(kith_bytes_equal(kith_buf_bytes(&copy), all_bytes(place)));
    kith_buf_release(&copy);
}

/* Another key, none, or one for what has none: said, and not a byte is changed. */
static void test_other_keys(void **state)
{
    struct place *place = *state;
    fill_and_die(place);
    assert_refused(place, &keys[1], "another key");
    assert_refused(place, NULL, "encrypt = yes");
    place->key = &keys[0];
    must_open(place);
    assert_filled(place);
    must_close(place);
    remove_tree(place->dir);
    assert_int_equal(mkdir(place->dir, 0700), 0);
    place->key = NULL;
    must_open(place);
    fill_and_die(place);
    assert_refused(place, &keys[0], "is not encrypted");
    place->key = NULL;
    must_open(place);
    assert_filled(place);
}

static void write_notes(const struct place *place, const char *text)
{
    char path[200];
    snprintf(path, sizeof path, "%s/encryption", place->dir);
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    assert_int_equal(fputs(text, file) >= 0 && fclose(file) == 0, 1);
}

/* DIR/encryption as nobody wrote it. */
static void test_notes(void **state)
{
    struct place *place = *state;
    static const char *bad[] = {"",
                                "kithfs",
                                "kithfs encryption 1\n",
                                "kithfs encryption 1\nsalt 00\n",
                                "kithfs encryption 7\n",
                                "kithfs identity 1\nsalt ",
                                "\xff\xff"};
    char text[400], path[200];
    must_close(place);
    snprintf(path, sizeof path, "%s/encryption", place->dir);
    FILE *file = fopen(path, "r");
    assert_non_null(file);
    size_t size = fread(text, 1, sizeof text - 1, file);
    text[size] = '\0';
    fclose(file);
    for (size_t i = 0; i < sizeof bad / sizeof bad[0] + size; i++) {
        char changed[400];
        struct kith_error error = {KITH_OK, ""};
        snprintf(changed, sizeof changed, "%s", i < size ? text : bad[i - size]);
        if (i < size) {
            changed[i] = changed[i] == 'x' ? 'y' : 'x';
        }
        write_notes(place, changed);
        enum kith_err err = place_open(place, &error);
        assert_true(err == KITH_EFORMAT || err == KITH_EVERSION);
        assert_non_null(strstr(error.message, "encryption: "));
    }
    write_notes(place, text);
    must_open(place);
}

static void change(int fd, off_t at)
{
    uint8_t byte = 0;
    assert_int_equal(pread(fd, &byte, 1, at), 1);
    byte ^= 1;
    assert_int_equal(pwrite(fd, &byte, 1, at), 1);
}

/* One byte of a chunk, or its block in another's place: an error for that chunk, and no more than
 * that. */
static void test_changed_chunk(void **state)
{
    struct place *place = *state;
    const off_t block = LARGE + KITH_CRYPT_OVERHEAD;
    const off_t bytes[] = {0, 5, 20, 1000, block - 1};
    char path[200];
    uint8_t other[100000];
    must_close(place);
    place->workers = 1;
    must_open(place);
    for (uint32_t i = 0; i < 7; i++) {
        put_marked(place, i, LARGE);
    }
    snprintf(path, sizeof path, "%s/chunks/000001.seg", place->dir);
    int fd = open(path, O_RDWR);
    assert_true(fd >= 0);
    for (uint32_t i = 0; i < 5; i++) {
        assert_marked(place, i, LARGE);
        change(fd, i * block + bytes[i]);
        assert_int_equal(get(place, i, 0, 0)->err, KITH_ECORRUPT);
    }
    for (off_t at = 0; at < block; at += (off_t)sizeof other) { /* 6 in the place of 5 */
        size_t size = block - at < (off_t)sizeof other ? (size_t)(block - at) : sizeof other;
        assert_int_equal(pread(fd, other, size, 6 * block + at), size);
        assert_int_equal(pwrite(fd, other, size, 5 * block + at), size);
    }
    assert_int_equal(get(place, 5, 0, 0)->err, KITH_ECORRUPT);
    assert_marked(place, 6, LARGE);
    close(fd);
}

/* Its blocks are authentic under no key that the store has: the same master key, another salt.
 * Whatever the engine makes of it, the process ends in order, and says so. */
static void test_changed_blocks(void **state)
{
    struct place *place = *state;
    struct place other;
    char from[200], to[200];
    int status = 0;
    fill(place);
    must_close(place);
    place_init(&other);
    other.key = &keys[0];
    must_open(&other);
    must_close(&other);
    snprintf(from, sizeof from, "%s/encryption", other.dir);
    snprintf(to, sizeof to, "%s/encryption", place->dir);
    assert_int_equal(rename(from, to), 0);
    remove_tree(other.dir);
    pid_t child = fork();
    if (child == 0) {
        struct kith_error error = {KITH_OK, ""};
        enum kith_err err = place_open(place, &error);
        _exit(err == KITH_ECORRUPT && strstr(error.message, "WiredTiger") != NULL ? 0 : 1);
    }
    assert_true(child > 0 && waitpid(child, &status, 0) == child);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

int main(void)
{
    place_secret();
    kith_buf_init(&found);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_all_of_it, setup_crypt, teardown),
        cmocka_unit_test_setup_teardown(test_other_keys, setup_crypt, teardown),
        cmocka_unit_test_setup_teardown(test_notes, setup_crypt, teardown),
        cmocka_unit_test_setup_teardown(test_changed_chunk, setup_crypt, teardown),
        cmocka_unit_test_setup_teardown(test_changed_blocks, setup_crypt, teardown),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    kith_buf_release(&found);
    return failed;
}

/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * store_files.h - rows of files in a store, and how many of them it says are in conflict. Include it
 * after cmocka.h. */
#ifndef KITH_TESTS_STORE_FILES_H
#define KITH_TESTS_STORE_FILES_H

#include "format/versions.h"
#include "store_place.h"

/* A file's inode with these contents and that mode, allocated. */
static inline struct kith_bytes file_value(const char *contents, uint32_t mode)
{
    struct kith_inode_record record = {.type = KITH_TYPE_FILE, .file_id = 7};
    struct kith_buf buf;
    kith_buf_init(&buf);
    record.attrs.have = KITH_ATTR_MODE;
    record.attrs.mode = mode;
    record.contents = kith_bytes_make(contents, strlen(contents));
    kith_inode_record_encode(&record, &buf);
    assert_false(buf.failed);
    uint8_t *copy = malloc(buf.size);
    assert_non_null(copy);
    memcpy(copy, buf.data, buf.size);
    size_t size = buf.size;
    kith_buf_release(&buf);
    return kith_bytes_make(copy, size);
}

/* Everything that the state has, read and to be replaced; allocated. */
static inline struct kith_bytes context_of(struct kith_bytes state)
{
    struct kith_arena arena;
    struct kith_row row;
    struct kith_buf context;
    kith_arena_init(&arena, 0);
    kith_buf_init(&context);
    assert_int_equal(kith_row_decode(&arena, state, &row), KITH_OK);
    row.sibling_count = 0;
    if (state.size > 0) {
        kith_row_encode(&row, &context);
    }
    uint8_t *copy = malloc(context.size + 1);
    assert_non_null(copy);
    memcpy(copy, context.size > 0 ? (const void *)context.data : "", context.size);
    size_t size = context.size;
    kith_buf_release(&context);
    kith_arena_release(&arena);
    return kith_bytes_make(copy, size);
}

/* One more version of a row in that group; seen: a state, all of which it replaces, NULL: nothing.
 * contents NULL: none, it is deleted. */
static inline void put_version(struct place *place, const struct kith_group *group,
                               struct kith_bytes name, const char *contents, uint32_t mode,
                               const struct kith_bytes *seen)
{
    struct kith_bytes value = file_value(contents == NULL ? "" : contents, mode);
    struct kith_bytes context = context_of(seen == NULL ? kith_bytes_make("", 0) : *seen);
    struct kith_put_update update = {.name = name,
                                     .context = context,
                                     .has_sibling = contents != NULL,
                                     .value = contents == NULL ? kith_bytes_make("", 0) : value};
    struct kith_store_op op = put_op(0, &update, 1);
    op.u.put.group = *group;
    op.partition = kith_group_partition(group, PARTITIONS);
    assert_int_equal(ask(place, &op)->err, KITH_OK);
    free_bytes(value);
    free_bytes(context);
}

static inline void put_file(struct place *place, uint32_t group, const char *name,
                            const char *contents, const struct kith_bytes *seen)
{
    struct kith_group id = group_of(group);
    put_version(place, &id, kith_bytes_make(name, strlen(name)), contents, 0644, seen);
}

/* By what it says of its partitions; of `partition` alone where that is one. */
static inline uint64_t conflicts_of(struct place *place, uint32_t partition)
{
    struct kith_store_op op = {.id = 6, .kind = KITH_STORE_COUNT};
    const struct kith_store_done *done = ask(place, &op);
    uint64_t files = 0;
    assert_int_equal(done->err, KITH_OK);
    for (uint32_t i = 0; i < done->u.counts.conflict_count; i++) {
        const struct kith_store_conflicts *some = &done->u.counts.conflicts[i];
        assert_true(some->files > 0 && some->partition < PARTITIONS);
        assert_true(i == 0 || some->partition > done->u.counts.conflicts[i - 1].partition);
        files += partition == some->partition || partition == PARTITIONS ? some->files : 0;
    }
    return files;
}

static inline uint64_t conflicts_told(struct place *place)
{
    return conflicts_of(place, PARTITIONS);
}

#endif

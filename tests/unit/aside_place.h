/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * aside_place.h - two mounts, and a file that is open at one when the other's takes its name over. For
 * test_aside.c and test_aside_there.c; include it after cmocka.h. */
#ifndef KITH_TESTS_ASIDE_PLACE_H
#define KITH_TESTS_ASIDE_PLACE_H

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <time.h>

#include "fs/conflicts/conflicts.h"
#include "fs/rows/rows.h"
#include "lib/two_fs.h"

#define LISTING_SIZE 2048u
#define TEXT_SIZE    256u
#define NAMES_MAX    16u

/* A file as CREATE makes it, open once, in this mount's memory alone. */
static inline struct kith_inode *created(struct two_fs *place, unsigned mount, const char *name)
{
    struct kith_fs *fs = place->fs[mount];
    const struct fuse_ctx ctx = {.uid = 0};
    struct kith_entry *entry = NULL;
    uint64_t id = kith_fs_random(fs);
    assert_int_equal(kith_dir_entry(fs, place->dir[mount], name, &entry), 0);
    pthread_mutex_lock(&fs->lock);
    struct kith_inode *inode = kith_inode_make(fs, entry, id, KITH_TYPE_FILE, 0644, &ctx);
    assert_non_null(inode);
    inode->opens = 1;
    inode->is_open = kith_octets_set(&inode->open_ctx, kith_octets_bytes(&entry->ctx));
    kith_inode_enqueue(fs, inode);
    entry->pins--;
    pthread_mutex_unlock(&fs->lock);
    return inode;
}

static inline void append(struct kith_fs *fs, struct kith_inode *inode, const char *text)
{
    struct kith_content *content;
    uint64_t at;
    assert_int_equal(kith_inode_content(fs, inode, &content), 0);
    assert_int_equal(kith_content_append(content, (const uint8_t *)text, strlen(text), &at),
                     KITH_OK);
    kith_inode_written(fs, inode, kith_content_size(content));
}

static inline void closed(struct kith_fs *fs, struct kith_inode *inode)
{
    assert_int_equal(kith_inode_flush(fs, inode, KITH_DURABLE_OS), 0);
    kith_inode_close(fs, inode);
    pthread_mutex_lock(&fs->lock);
    kith_inode_drop(fs, inode);
    pthread_mutex_unlock(&fs->lock);
}

static inline void text_of(struct kith_fs *fs, struct kith_inode *inode, char ret_text[TEXT_SIZE])
{
    struct kith_content *content;
    size_t got = 0;
    assert_int_equal(kith_inode_open(fs, inode), 0);
    if (inode->content != NULL) {
        assert_int_equal(kith_inode_content(fs, inode, &content), 0);
        assert_int_equal(kith_content_read(content, 0, (uint8_t *)ret_text, TEXT_SIZE - 1, &got),
                         KITH_OK);
    }
    ret_text[got] = '\0';
    kith_inode_close(fs, inode);
}

struct names {
    uint32_t count;
    char names[NAMES_MAX][KITH_FS_NAME_MAX + 1];
};

static inline int on_name(void *arg, const char *name, size_t size, enum kith_type type, uint64_t id)
{
    struct names *names = arg;
    (void)type, (void)id;
    if (size < 3 || memcmp(name, "sub", 3) != 0) {
        assert_true(names->count < NAMES_MAX);
        memcpy(names->names[names->count], name, size);
        names->names[names->count++][size] = '\0';
    }
    return 0;
}

static inline int by_name(const void *a, const void *b)
{
    return strcmp(a, b);
}

/* All that is in "d", as a reader of the mount finds it: NAME=TEXT, NAME/ for a directory; "!" for
 * what is made of a version. */
static inline const char *listing(struct two_fs *place, unsigned mount)
{
    static char told[LISTING_SIZE];
    struct kith_fs *fs = place->fs[mount];
    struct kith_inode *dir = place->dir[mount];
    struct kith_dir_page page = {.more = true};
    struct kith_arena arena;
    struct names names = {.count = 0};
    kith_arena_init(&arena, 0);
    assert_int_equal(kith_dir_page(fs, dir, NULL, ++fs->load_count, &arena, on_name, &names, &page),
                     0);
    for (uint32_t i = names.count; i-- > 0;) {
        struct kith_other *others;
        uint32_t count;
        assert_int_equal(kith_others_list(fs, dir, names.names[i], &arena, &others, &count), 0);
        for (uint32_t k = 0; k < count; k++) {
            on_name(&names, others[k].name, strlen(others[k].name), KITH_TYPE_FILE, 0);
        }
    }
    kith_arena_release(&arena);
    qsort(names.names, names.count, sizeof names.names[0], by_name);
    told[0] = '\0';
    for (uint32_t i = 0; i < names.count; i++) {
        struct kith_inode *inode = two_inode_at(fs, dir, names.names[i]);
        char text[TEXT_SIZE] = "", shown[KITH_FS_NAME_MAX + 1];
        bool made = inode == NULL;
        if (made) {
            assert_int_equal(kith_other_inode(fs, dir, names.names[i], &inode), 0);
        }
        if (inode->type == KITH_TYPE_FILE) {
            text_of(fs, inode, text);
        }
        memcpy(shown, names.names[i], sizeof shown);
        for (char *mark; (mark = strstr(shown, ".conflict-")) != NULL;) {
            char *next = strstr(mark + 1, ".conflict-");
            *mark = '!';
            memmove(mark + 1, next != NULL ? next : "", next != NULL ? strlen(next) + 1 : 1);
        }
        size_t used = strlen(told);
        snprintf(told + used, sizeof told - used, "%s%s%s%s", used > 0 ? " " : "", shown,
                 inode->type == KITH_TYPE_DIR ? "/" : "=", text);
        if (made) {
            pthread_mutex_lock(&fs->lock);
            kith_inode_drop(fs, inode);
            pthread_mutex_unlock(&fs->lock);
        }
    }
    return told;
}

static inline void both_have(struct two_fs *place, const char *want)
{
    for (unsigned i = 0; i < TWO_MOUNTS; i++) {
        assert_string_equal(listing(place, i), want);
    }
}

/* The name under which another version stands beside it, or what became of one. */
static inline void made_name(struct two_fs *place, unsigned mount, const char *base, char *ret_name)
{
    struct kith_fs *fs = place->fs[mount];
    struct kith_other *others;
    struct kith_arena arena;
    uint32_t count;
    kith_arena_init(&arena, 0);
    assert_int_equal(kith_others_list(fs, place->dir[mount], base, &arena, &others, &count), 0);
    assert_int_equal(count, 1);
    memcpy(ret_name, others[0].name, KITH_FS_NAME_MAX + 1);
    kith_arena_release(&arena);
}

static inline void renames(struct two_fs *place, unsigned mount, const char *from, const char *to)
{
    struct kith_inode *dir = place->dir[mount];
    two_work(two_job(place->fs[mount], dir, dir, from, to, kith_do_rename));
}

static inline void removes(struct two_fs *place, unsigned mount, const char *name)
{
    two_work(two_job(place->fs[mount], place->dir[mount], NULL, name, "", kith_do_unlink));
}

/* Both mounts have made "f" at once, and the other's bears the name. Mine is open, and clean; so is
 * the other's, where it is asked for. */
static inline struct kith_inode *lost(struct two_fs *place, struct kith_inode **ret_other)
{
    struct kith_fs *fs = place->fs[TWO_MINE], *others = place->fs[TWO_OTHER];
    struct kith_inode *mine = created(place, TWO_MINE, "f");
    struct kith_inode *other = created(place, TWO_OTHER, "f");
    append(fs, mine, "mine");
    append(others, other, "theirs");
    assert_int_equal(kith_inode_flush(fs, mine, KITH_DURABLE_OS), 0);
    assert_int_equal(kith_inode_flush(others, other, KITH_DURABLE_OS), 0);
    if (ret_other != NULL) {
        *ret_other = other;
    } else {
        closed(others, other);
    }
    return mine;
}

/* The mount learns of it. */
static inline void learns(struct two_fs *place, struct kith_inode *mine)
{
    assert_ptr_not_equal(two_inode_at(place->fs[TWO_MINE], place->dir[TWO_MINE], "f"), mine);
    assert_null(mine->entry);
}

#endif

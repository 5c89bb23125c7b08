/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * A file is open at one mount when another file, or a directory, takes its name over: what is
 * written to it is stored as a file beside that, whatever becomes of the version meanwhile. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

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
static struct kith_inode *created(struct two_fs *place, unsigned mount, const char *name)
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

static void append(struct kith_fs *fs, struct kith_inode *inode, const char *text)
{
    struct kith_content *content;
    uint64_t at;
    assert_int_equal(kith_inode_content(fs, inode, &content), 0);
    assert_int_equal(kith_content_append(content, (const uint8_t *)text, strlen(text), &at),
                     KITH_OK);
    kith_inode_written(fs, inode, kith_content_size(content));
}

static void closed(struct kith_fs *fs, struct kith_inode *inode)
{
    assert_int_equal(kith_inode_flush(fs, inode, KITH_DURABLE_OS), 0);
    kith_inode_close(fs, inode);
    pthread_mutex_lock(&fs->lock);
    kith_inode_drop(fs, inode);
    pthread_mutex_unlock(&fs->lock);
}

static void text_of(struct kith_fs *fs, struct kith_inode *inode, char ret_text[TEXT_SIZE])
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

static int on_name(void *arg, const char *name, size_t size, enum kith_type type, uint64_t id)
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

static int by_name(const void *a, const void *b)
{
    return strcmp(a, b);
}

/* All that is in "d", as a reader of the mount finds it: NAME=TEXT, NAME/ for a directory; "!" for
 * what is made of a version. */
static const char *listing(struct two_fs *place, unsigned mount)
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

static void both_have(struct two_fs *place, const char *want)
{
    for (unsigned i = 0; i < TWO_MOUNTS; i++) {
        assert_string_equal(listing(place, i), want);
    }
}

/* The name under which another version stands beside it, or what became of one. */
static void made_name(struct two_fs *place, unsigned mount, const char *base, char *ret_name)
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

static void renames(struct two_fs *place, unsigned mount, const char *from, const char *to)
{
    struct kith_inode *dir = place->dir[mount];
    two_work(two_job(place->fs[mount], dir, dir, from, to, kith_do_rename));
}

static void removes(struct two_fs *place, unsigned mount, const char *name)
{
    two_work(two_job(place->fs[mount], place->dir[mount], NULL, name, "", kith_do_unlink));
}

/* Both mounts have made "f" at once, and the other's bears the name. Mine is open, and clean; so is
 * the other's, where it is asked for. */
static struct kith_inode *lost(struct two_fs *place, struct kith_inode **ret_other)
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
static void learns(struct two_fs *place, struct kith_inode *mine)
{
    assert_ptr_not_equal(two_inode_at(place->fs[TWO_MINE], place->dir[TWO_MINE], "f"), mine);
    assert_null(mine->entry);
}

static void test_goes_on(void **state)
{
    struct two_fs *place = *state;
    struct kith_fs *fs = place->fs[TWO_MINE];
    struct kith_inode *mine = lost(place, NULL), *found;
    char name[KITH_FS_NAME_MAX + 1];
    learns(place, mine);
    both_have(place, "f=theirs f!=mine");
    made_name(place, TWO_OTHER, "f", name);
    append(fs, mine, "-");
    assert_int_equal(kith_other_inode(fs, place->dir[TWO_MINE], name, &found), 0);
    assert_ptr_equal(found, mine); /* it is one file, whoever looks at it */
    assert_false(found->made);     /* and who has it open may go on */
    assert_int_equal(found->size, strlen("mine-"));
    pthread_mutex_lock(&fs->lock);
    kith_inode_drop(fs, found);
    pthread_mutex_unlock(&fs->lock);
    for (unsigned i = 0; i < 2; i++) {
        append(fs, mine, "+");
        assert_int_equal(kith_inode_flush(fs, mine, i == 0 ? KITH_DURABLE_DISK : KITH_DURABLE_OS),
                         0);
        assert_false(kith_inode_dirty(mine));
        assert_int_equal(mine->size, strlen("mine-+") + i);
        both_have(place, i == 0 ? "f=theirs f!=mine-+" : "f=theirs f!=mine-++");
    }
    found = two_inode_at(place->fs[TWO_OTHER], place->dir[TWO_OTHER], name);
    assert_non_null(found); /* under the name that it had */
    assert_int_equal(found->id, mine->id);
    append(fs, mine, "!");
    closed(fs, mine);
    both_have(place, "f=theirs f!=mine-++!");
}

/* fsync of what close has put already. */
static void test_clean_on_disk(void **state)
{
    struct two_fs *place = *state;
    struct kith_fs *fs = place->fs[TWO_MINE];
    struct kith_inode *mine = lost(place, NULL);
    learns(place, mine);
    assert_int_equal(kith_inode_flush(fs, mine, KITH_DURABLE_DISK), 0);
    assert_false(mine->os_only);
    both_have(place, "f=theirs f!=mine");
    closed(fs, mine);
}

static void test_directory(void **state)
{
    struct two_fs *place = *state;
    struct kith_fs *fs = place->fs[TWO_MINE];
    struct kith_inode *mine = created(place, TWO_MINE, "f");
    append(fs, mine, "mine");
    two_made_dir(place->fs[TWO_OTHER], place->dir[TWO_OTHER], "f");
    assert_int_equal(kith_inode_flush(fs, mine, KITH_DURABLE_OS), 0);
    append(fs, mine, "+");
    assert_int_equal(kith_inode_flush(fs, mine, KITH_DURABLE_OS), 0);
    learns(place, mine);
    both_have(place, "f/ f!=mine+");
    append(fs, mine, "+");
    assert_int_equal(kith_inode_flush(fs, mine, KITH_DURABLE_DISK), 0);
    both_have(place, "f/ f!=mine++");
    closed(fs, mine);
    both_have(place, "f/ f!=mine++");
}

/* Nothing but its attributes: they are of the file that it is. */
static void test_attributes(void **state)
{
    struct two_fs *place = *state;
    struct kith_fs *fs = place->fs[TWO_MINE];
    struct kith_inode *mine = lost(place, NULL);
    const struct stat attr = {.st_mode = 0600};
    struct stat now;
    double timeout;
    learns(place, mine);
    if (kith_setattr_fast(fs, mine, &attr, FUSE_SET_ATTR_MODE, &now, &timeout)) {
        assert_int_equal(now.st_mode & 07777u, 0600);
    }
    assert_int_equal(kith_inode_flush(fs, mine, KITH_DURABLE_OS), 0);
    assert_int_equal(mine->attr_changed, 0);
    assert_non_null(mine->entry);
    struct kith_inode *seen =
        two_inode_at(place->fs[TWO_OTHER], place->dir[TWO_OTHER], mine->entry->name);
    assert_non_null(seen);
    assert_int_equal(seen->attrs.mode & 07777u, 0600);
    both_have(place, "f=theirs f!=mine");
    closed(fs, mine);
}

/* The same where it is closed at once, while they wait for the next put. */
static void test_attributes_closed(void **state)
{
    struct two_fs *place = *state;
    struct kith_fs *fs = place->fs[TWO_MINE], *others = place->fs[TWO_OTHER];
    struct kith_inode *mine = lost(place, NULL), *seen = NULL;
    const struct stat attr = {.st_mode = 0600};
    struct stat now;
    double timeout;
    char name[KITH_FS_NAME_MAX + 1];
    learns(place, mine);
    made_name(place, TWO_OTHER, "f", name);
    assert_true(kith_setattr_fast(fs, mine, &attr, FUSE_SET_ATTR_MODE, &now, &timeout));
    kith_inode_close(fs, mine);
    for (unsigned i = 0; i < 1000 && (seen == NULL || (seen->attrs.mode & 0777u) != 0600); i++) {
        const struct timespec tick = {0, 10000000};
        nanosleep(&tick, NULL);
        seen = two_inode_at(others, place->dir[TWO_OTHER], name);
    }
    assert_non_null(seen);
    assert_int_equal(seen->attrs.mode & 0777u, 0600);
    pthread_mutex_lock(&fs->lock);
    kith_inode_drop(fs, mine);
    pthread_mutex_unlock(&fs->lock);
    both_have(place, "f=theirs f!=mine");
}

static void test_winner(void **state)
{
    struct two_fs *place = *state;
    struct kith_fs *fs = place->fs[TWO_MINE], *others = place->fs[TWO_OTHER];
    struct kith_inode *other, *mine = lost(place, &other);
    learns(place, mine);
    append(others, other, "+");
    assert_int_equal(kith_inode_flush(others, other, KITH_DURABLE_OS), 0);
    both_have(place, "f=theirs+ f!=mine");
    append(fs, mine, "+");
    append(others, other, "+");
    closed(fs, mine);
    closed(others, other);
    both_have(place, "f=theirs++ f!=mine+");
}

/* Who has something unsent when he learns of it puts that under the name; then it is the newest,
 * and the other one goes on beside it. */
static void test_unsent(void **state)
{
    struct two_fs *place = *state;
    struct kith_fs *fs = place->fs[TWO_MINE], *others = place->fs[TWO_OTHER];
    struct kith_inode *other, *mine = lost(place, &other);
    append(fs, mine, "+");
    assert_ptr_equal(two_inode_at(fs, place->dir[TWO_MINE], "f"), mine);
    closed(fs, mine);
    both_have(place, "f=mine+ f!=theirs");
    append(others, other, "+");
    closed(others, other);
    both_have(place, "f=mine+ f!=theirs+");
}

static void test_two_handles(void **state)
{
    struct two_fs *place = *state;
    struct kith_fs *fs = place->fs[TWO_MINE];
    struct kith_inode *mine = lost(place, NULL);
    pthread_mutex_lock(&fs->lock);
    mine->opens++; /* it was opened twice before */
    pthread_mutex_unlock(&fs->lock);
    learns(place, mine);
    append(fs, mine, "+");
    assert_int_equal(kith_inode_flush(fs, mine, KITH_DURABLE_OS), 0);
    kith_inode_close(fs, mine);
    append(fs, mine, "+");
    closed(fs, mine);
    both_have(place, "f=theirs f!=mine++");
}

/* Nobody writes to it any more: it is a version like any other, also for who looks again. */
static void test_closed(void **state)
{
    struct two_fs *place = *state;
    struct kith_fs *fs = place->fs[TWO_MINE];
    struct kith_inode *mine = lost(place, NULL), *found;
    char name[KITH_FS_NAME_MAX + 1];
    learns(place, mine);
    kith_inode_close(fs, mine);
    both_have(place, "f=theirs f!=mine");
    made_name(place, TWO_MINE, "f", name);
    assert_int_equal(kith_other_inode(fs, place->dir[TWO_MINE], name, &found), 0);
    assert_ptr_equal(found, mine);
    assert_true(found->made);
    pthread_mutex_lock(&fs->lock);
    kith_inode_drop(fs, found);
    kith_inode_drop(fs, mine);
    pthread_mutex_unlock(&fs->lock);
}

/* What is done here to the two names while it is open. */
static void test_changed_here(void **state)
{
    struct two_fs *place = *state;
    struct kith_fs *fs = place->fs[TWO_MINE];
    struct kith_inode *mine = lost(place, NULL); /* the name's bearer moves */
    learns(place, mine);
    append(fs, mine, "+");
    renames(place, TWO_MINE, "f", "g");
    assert_non_null(mine->entry);
    assert_string_equal(listing(place, TWO_OTHER), "f!=mine g=theirs"); /* not sent yet */
    closed(fs, mine);
    both_have(place, "f!=mine+ g=theirs");
}

/* A third file takes the name, made here. */
static void test_replaced_here(void **state)
{
    struct two_fs *place = *state;
    struct kith_fs *fs = place->fs[TWO_MINE];
    struct kith_inode *mine = lost(place, NULL);
    learns(place, mine);
    struct kith_inode *third = created(place, TWO_MINE, "z");
    append(fs, third, "third");
    closed(fs, third);
    renames(place, TWO_MINE, "z", "f");
    both_have(place, "f=third f!=mine");
    append(fs, mine, "+");
    closed(fs, mine);
    both_have(place, "f=third f!=mine+");
}

static void test_version_moved_here(void **state)
{
    struct two_fs *place = *state;
    struct kith_fs *fs = place->fs[TWO_MINE];
    char name[KITH_FS_NAME_MAX + 1];
    struct kith_inode *mine = lost(place, NULL);
    learns(place, mine);
    append(fs, mine, "+");
    made_name(place, TWO_MINE, "f", name);
    renames(place, TWO_MINE, name, "g");
    both_have(place, "f=theirs g=mine+");
    append(fs, mine, "+");
    closed(fs, mine);
    both_have(place, "f=theirs g=mine++");
}

static void test_version_chosen_here(void **state)
{
    struct two_fs *place = *state;
    struct kith_fs *fs = place->fs[TWO_MINE];
    char name[KITH_FS_NAME_MAX + 1];
    struct kith_inode *mine = lost(place, NULL);
    learns(place, mine);
    made_name(place, TWO_MINE, "f", name);
    renames(place, TWO_MINE, name, "f");
    append(fs, mine, "+");
    closed(fs, mine);
    both_have(place, "f=mine+");
}

/* Removed here it is as any file is that is removed while it is open. */
static void test_removed_here(void **state)
{
    struct two_fs *place = *state;
    struct kith_fs *fs = place->fs[TWO_MINE];
    char name[KITH_FS_NAME_MAX + 1], text[TEXT_SIZE];
    struct kith_inode *mine = lost(place, NULL);
    learns(place, mine);
    made_name(place, TWO_MINE, "f", name);
    removes(place, TWO_MINE, name);
    assert_true(mine->unlinked);
    append(fs, mine, "+");
    text_of(fs, mine, text);
    assert_string_equal(text, "mine+");
    closed(fs, mine);
    both_have(place, "f=theirs");
}

/* The same where it has become a file by then; and the bearer of the name goes. */
static void test_removed_after(void **state)
{
    struct two_fs *place = *state;
    struct kith_fs *fs = place->fs[TWO_MINE];
    struct kith_inode *mine = lost(place, NULL);
    learns(place, mine);
    append(fs, mine, "+");
    assert_int_equal(kith_inode_flush(fs, mine, KITH_DURABLE_OS), 0);
    removes(place, TWO_MINE, "f");
    both_have(place, "f!=mine+");
    removes(place, TWO_MINE, mine->entry->name);
    append(fs, mine, "+");
    closed(fs, mine);
    both_have(place, "");
}

/* Another mount has removed the version: what is written is an edit, and stays. */
static void test_removed_there(void **state)
{
    struct two_fs *place = *state;
    struct kith_fs *fs = place->fs[TWO_MINE];
    char name[KITH_FS_NAME_MAX + 1];
    struct kith_inode *mine = lost(place, NULL);
    learns(place, mine);
    made_name(place, TWO_OTHER, "f", name);
    removes(place, TWO_OTHER, name);
    both_have(place, "f=theirs");
    append(fs, mine, "+");
    assert_int_equal(kith_inode_flush(fs, mine, KITH_DURABLE_DISK), 0);
    both_have(place, "f=theirs f!=mine+");
    assert_non_null(two_inode_at(place->fs[TWO_OTHER], place->dir[TWO_OTHER], name));
    append(fs, mine, "+");
    closed(fs, mine);
    both_have(place, "f=theirs f!=mine++");
}

/* Nobody here has seen it before it was gone: the name is taken over by a file that knew of it, as
 * editors do that save by renaming. */
static void test_replaced_there(void **state)
{
    struct two_fs *place = *state;
    struct kith_fs *fs = place->fs[TWO_MINE], *others = place->fs[TWO_OTHER];
    struct kith_inode *mine = created(place, TWO_MINE, "f");
    append(fs, mine, "mine");
    assert_int_equal(kith_inode_flush(fs, mine, KITH_DURABLE_OS), 0);
    struct kith_inode *other = created(place, TWO_OTHER, "tmp");
    append(others, other, "saved");
    closed(others, other);
    assert_non_null(two_inode_at(others, place->dir[TWO_OTHER], "f"));
    renames(place, TWO_OTHER, "tmp", "f");
    learns(place, mine);
    both_have(place, "f=saved");
    append(fs, mine, "+");
    closed(fs, mine);
    both_have(place, "f=saved f!=mine+");
}

/* Moved there, and another made in its place: it is found. */
static void test_moved_there(void **state)
{
    struct two_fs *place = *state;
    struct kith_fs *fs = place->fs[TWO_MINE], *others = place->fs[TWO_OTHER];
    struct kith_inode *mine = created(place, TWO_MINE, "f");
    append(fs, mine, "mine");
    assert_int_equal(kith_inode_flush(fs, mine, KITH_DURABLE_OS), 0);
    renames(place, TWO_OTHER, "f", "f.1");
    struct kith_inode *other = created(place, TWO_OTHER, "f");
    append(others, other, "next");
    closed(others, other);
    assert_ptr_not_equal(two_inode_at(fs, place->dir[TWO_MINE], "f"), mine);
    append(fs, mine, "+");
    closed(fs, mine);
    both_have(place, "f=next f.1=mine+");
}

/* Another mount has chosen it for the name: so he writes on there. known: this mount has learnt of
 * the other file before; looks: or of the choice, before it writes. */
static void chosen_there(struct two_fs *place, bool known, bool looks, const char *want)
{
    struct kith_fs *fs = place->fs[TWO_MINE];
    char name[KITH_FS_NAME_MAX + 1];
    struct kith_inode *mine = lost(place, NULL);
    if (known) {
        learns(place, mine);
    }
    made_name(place, TWO_OTHER, "f", name);
    renames(place, TWO_OTHER, name, "f");
    assert_string_equal(listing(place, TWO_OTHER), "f=mine");
    if (looks) {
        assert_ptr_equal(two_inode_at(fs, place->dir[TWO_MINE], "f"), mine);
    }
    append(fs, mine, "+");
    closed(fs, mine);
    both_have(place, want);
}

static void test_chosen_there(void **state)
{
    chosen_there(*state, true, false, "f=mine+");
    removes(*state, TWO_OTHER, "f");
    chosen_there(*state, true, true, "f=mine+");
    removes(*state, TWO_OTHER, "f");
    chosen_there(*state, false, true, "f=mine+");
    removes(*state, TWO_OTHER, "f");
    chosen_there(*state, false, false, "f=mine+ f!=mine"); /* he wrote before he knew */
}

/* The bearer of the name goes, and leaves it to what stood beside it. */
static void test_bears_again(void **state)
{
    struct two_fs *place = *state;
    struct kith_fs *fs = place->fs[TWO_MINE];
    struct kith_put_update update = {.name = kith_bytes_make("f", 1)};
    struct kith_group group = place->dir[TWO_MINE]->dir->group;
    struct kith_client_answer answer, put;
    struct kith_arena arena;
    struct kith_inode *mine = lost(place, NULL);
    learns(place, mine);
    kith_arena_init(&arena, 0);
    assert_int_equal(kith_rows_get(fs, &group, &update.name, 1, &answer), 0);
    const struct kith_row *row = &answer.result.u.rows.rows[0].row;
    assert_int_equal(kith_row_context(&arena, row, kith_versions_winner(row), &update.context),
                     KITH_OK);
    assert_int_equal(kith_rows_put(place->fs[TWO_OTHER], &group, KITH_DURABLE_OS, &update, 1, &put),
                     0);
    kith_client_answer_release(&put);
    kith_client_answer_release(&answer);
    kith_arena_release(&arena);
    assert_ptr_equal(two_inode_at(fs, place->dir[TWO_MINE], "f"), mine);
    append(fs, mine, "+");
    closed(fs, mine);
    both_have(place, "f=mine+");
}

struct remover {
    struct two_fs *place;
    const char *name;
};

static void *removes_it(void *arg)
{
    struct remover *remover = arg;
    removes(remover->place, TWO_MINE, remover->name);
    return NULL;
}

/* While it becomes a file nobody puts it: what is put then has the context of the new row. */
static void test_taken_meanwhile(void **state)
{
    struct two_fs *place = *state;
    struct kith_fs *fs = place->fs[TWO_MINE];
    struct kith_inode *mine = lost(place, NULL);
    struct remover remover = {place, "f"};
    const struct kith_bytes nobody = kith_bytes_make("\0z", 2);
    pthread_t thread;
    learns(place, mine);
    kith_fake_hold(place->cluster, KITH_CLIENT_PUT, true);
    assert_int_equal(pthread_create(&thread, NULL, removes_it, &remover), 0);
    while (!kith_fake_intrude(place->cluster, fs->client, nobody, nobody)) {
        sched_yield(); /* until its put waits */
    }
    pthread_mutex_lock(&fs->lock);
    bool busy = mine->row_busy;
    pthread_mutex_unlock(&fs->lock);
    kith_fake_hold(place->cluster, KITH_CLIENT_PUT, false);
    assert_int_equal(pthread_join(thread, NULL), 0);
    assert_true(busy);
    append(fs, mine, "+");
    closed(fs, mine);
    both_have(place, "f!=mine+");
}

/* It has become a file there, as its name's bearer went: he writes on in that one. */
static void parted_there(struct two_fs *place, bool known)
{
    struct kith_fs *fs = place->fs[TWO_MINE];
    struct kith_inode *mine = lost(place, NULL);
    if (known) {
        learns(place, mine);
    }
    removes(place, TWO_OTHER, "f");
    assert_null(two_inode_at(fs, place->dir[TWO_MINE], "f"));
    append(fs, mine, "+");
    assert_int_equal(kith_inode_flush(fs, mine, KITH_DURABLE_DISK), 0);
    both_have(place, "f!=mine+");
    removes(place, TWO_MINE, mine->entry->name);
    closed(fs, mine);
    both_have(place, "");
}

static void test_parted_there(void **state)
{
    parted_there(*state, true);
    parted_there(*state, false);
}

/* It is moved on from there. */
static void test_version_moved_there(void **state)
{
    struct two_fs *place = *state;
    struct kith_fs *fs = place->fs[TWO_MINE];
    char name[KITH_FS_NAME_MAX + 1];
    struct kith_inode *mine = lost(place, NULL);
    learns(place, mine);
    made_name(place, TWO_OTHER, "f", name);
    renames(place, TWO_OTHER, name, "g");
    append(fs, mine, "+");
    closed(fs, mine);
    both_have(place, "f=theirs g=mine+");
}

/* A file that is gone with its name is so here, too: nobody can say that it is stored. */
static void test_gone(void **state)
{
    struct two_fs *place = *state;
    struct kith_fs *fs = place->fs[TWO_MINE];
    struct kith_inode *mine = created(place, TWO_MINE, "f");
    append(fs, mine, "mine");
    assert_int_equal(kith_inode_flush(fs, mine, KITH_DURABLE_OS), 0);
    removes(place, TWO_OTHER, "f");
    assert_null(two_inode_at(fs, place->dir[TWO_MINE], "f"));
    append(fs, mine, "+");
    assert_int_equal(kith_inode_flush(fs, mine, KITH_DURABLE_OS), ESTALE);
    assert_true(kith_inode_dirty(mine));
    pthread_mutex_lock(&fs->lock);
    mine->write_flushed = mine->write_version; /* and nothing is said of attributes alone */
    mine->attr_changed |= KITH_ATTR_MODE;
    mine->attr_version++;
    pthread_mutex_unlock(&fs->lock);
    assert_int_equal(kith_inode_flush(fs, mine, KITH_DURABLE_OS), 0);
    assert_int_equal(mine->attr_changed, 0);
    both_have(place, "");
    pthread_mutex_lock(&fs->lock);
    mine->unlinked = true; /* for the end of the test */
    pthread_mutex_unlock(&fs->lock);
    closed(fs, mine);
}

/* The cluster fails in between: said, and stored later. */
static void test_fails(void **state)
{
    struct two_fs *place = *state;
    struct kith_fs *fs = place->fs[TWO_MINE];
    for (unsigned at = 0; at < 2; at++) {
        for (unsigned applied = 0; applied < 2; applied++) {
            struct kith_inode *mine = lost(place, NULL);
            learns(place, mine);
            append(fs, mine, "+");
            kith_fake_fail_later(place->cluster, KITH_CLIENT_PUT, at, 1,
                                 applied != 0 ? KITH_EUNKNOWN : KITH_EUNREACH, applied != 0);
            int error = kith_inode_flush(fs, mine, KITH_DURABLE_OS);
            assert_true(error != 0 || applied != 0);
            assert_int_equal(kith_inode_dirty(mine), error != 0);
            assert_int_equal(kith_inode_flush(fs, mine, KITH_DURABLE_OS), 0);
            assert_false(kith_inode_dirty(mine));
            both_have(place, "f=theirs f!=mine+");
            removes(place, TWO_OTHER, "f");
            removes(place, TWO_OTHER, mine->entry->name);
            assert_string_equal(listing(place, TWO_MINE), "");
            pthread_mutex_lock(&fs->lock);
            mine->unlinked = true;
            pthread_mutex_unlock(&fs->lock);
            closed(fs, mine);
            both_have(place, "");
        }
    }
}

/* A file of the made name is there: it keeps that. */
static void test_name_taken(void **state)
{
    struct two_fs *place = *state;
    struct kith_fs *fs = place->fs[TWO_MINE], *others = place->fs[TWO_OTHER];
    char name[KITH_FS_NAME_MAX + 1];
    struct kith_inode *mine = lost(place, NULL);
    learns(place, mine);
    made_name(place, TWO_OTHER, "f", name);
    removes(place, TWO_OTHER, name);
    struct kith_inode *saved = created(place, TWO_OTHER, name);
    append(others, saved, "saved");
    closed(others, saved);
    append(fs, mine, "+");
    closed(fs, mine);
    const char *told = listing(place, TWO_OTHER);
    assert_non_null(strstr(told, "f!=saved"));
    assert_non_null(strstr(told, "f!=mine+"));
    assert_non_null(strstr(told, "f=theirs"));
}

/* Where other versions are not shown it is a file all the same, and no version is left behind. */
static void test_hidden(void **state)
{
    struct two_fs *place = *state;
    struct kith_fs *fs = place->fs[TWO_MINE];
    struct kith_inode *mine = lost(place, NULL);
    place->options.hide_conflicts = true;
    learns(place, mine);
    both_have(place, "f=theirs");
    append(fs, mine, "+");
    closed(fs, mine);
    both_have(place, "f=theirs f!=mine+");
    place->options.hide_conflicts = false;
    both_have(place, "f=theirs f!=mine+");
}

/* While nodes cannot be reached a write says so itself; what is not stored has a name in the log.
 */
static void test_write_through(void **state)
{
    struct two_fs *place = *state;
    struct kith_fs *fs = place->fs[TWO_MINE];
    struct kith_inode *mine = lost(place, NULL);
    char path[64];
    learns(place, mine);
    pthread_mutex_lock(&fs->lock);
    kith_inode_path(fs, mine, path, sizeof path);
    pthread_mutex_unlock(&fs->lock);
    assert_string_equal(path, "/d/f");
    kith_fake_set_unreachable(place->cluster, true);
    append(fs, mine, "+");
    assert_int_not_equal(kith_inode_write_through(fs, mine), 0);
    kith_fake_set_unreachable(place->cluster, false);
    assert_int_equal(kith_inode_flush(fs, mine, KITH_DURABLE_OS), 0);
    both_have(place, "f=theirs f!=mine+");
    closed(fs, mine);
}

/* The mount ends with something unsent. */
static void test_mount_ends(void **state)
{
    struct two_fs *place = *state;
    struct kith_fs *fs = place->fs[TWO_MINE];
    struct kith_inode *mine = lost(place, NULL);
    learns(place, mine);
    append(fs, mine, "+");
    assert_int_equal(kith_fs_flush_all(fs, kith_mono_ns() + 10 * NSEC_PER_SEC), 0);
    assert_string_equal(listing(place, TWO_OTHER), "f=theirs f!=mine+");
    closed(fs, mine);
}

/* It ends while it is aside, and open. */
static void test_ends_open(void **state)
{
    struct two_fs *place = *state;
    struct kith_fs *fs = place->fs[TWO_MINE];
    struct kith_inode *mine = lost(place, NULL);
    learns(place, mine);
    assert_non_null(mine->aside);
    closed(fs, mine);
    assert_string_equal(listing(place, TWO_OTHER), "f=theirs f!=mine");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_goes_on, two_setup, two_teardown),
        cmocka_unit_test_setup_teardown(test_clean_on_disk, two_setup, two_teardown),
        cmocka_unit_test_setup_teardown(test_directory, two_setup, two_teardown),
        cmocka_unit_test_setup_teardown(test_attributes, two_setup, two_teardown),
        cmocka_unit_test_setup_teardown(test_attributes_closed, two_setup, two_teardown),
        cmocka_unit_test_setup_teardown(test_winner, two_setup, two_teardown),
        cmocka_unit_test_setup_teardown(test_unsent, two_setup, two_teardown),
        cmocka_unit_test_setup_teardown(test_two_handles, two_setup, two_teardown),
        cmocka_unit_test_setup_teardown(test_closed, two_setup, two_teardown),
        cmocka_unit_test_setup_teardown(test_changed_here, two_setup, two_teardown),
        cmocka_unit_test_setup_teardown(test_replaced_here, two_setup, two_teardown),
        cmocka_unit_test_setup_teardown(test_version_moved_here, two_setup, two_teardown),
        cmocka_unit_test_setup_teardown(test_version_chosen_here, two_setup, two_teardown),
        cmocka_unit_test_setup_teardown(test_removed_here, two_setup, two_teardown),
        cmocka_unit_test_setup_teardown(test_removed_after, two_setup, two_teardown),
        cmocka_unit_test_setup_teardown(test_removed_there, two_setup, two_teardown),
        cmocka_unit_test_setup_teardown(test_replaced_there, two_setup, two_teardown),
        cmocka_unit_test_setup_teardown(test_moved_there, two_setup, two_teardown),
        cmocka_unit_test_setup_teardown(test_chosen_there, two_setup, two_teardown),
        cmocka_unit_test_setup_teardown(test_bears_again, two_setup, two_teardown),
        cmocka_unit_test_setup_teardown(test_taken_meanwhile, two_setup, two_teardown),
        cmocka_unit_test_setup_teardown(test_parted_there, two_setup, two_teardown),
        cmocka_unit_test_setup_teardown(test_version_moved_there, two_setup, two_teardown),
        cmocka_unit_test_setup_teardown(test_gone, two_setup, two_teardown),
        cmocka_unit_test_setup_teardown(test_fails, two_setup, two_teardown),
        cmocka_unit_test_setup_teardown(test_name_taken, two_setup, two_teardown),
        cmocka_unit_test_setup_teardown(test_hidden, two_setup, two_teardown),
        cmocka_unit_test_setup_teardown(test_write_through, two_setup, two_teardown),
        cmocka_unit_test_setup_teardown(test_mount_ends, two_setup, two_teardown),
        cmocka_unit_test_setup_teardown(test_ends_open, two_setup, two_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

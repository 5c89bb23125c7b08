/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * others.c - which other versions there are, and their inodes. */
#include <errno.h>
#include <string.h>

#include "fs/conflicts/conflicts.h"
#include "fs/names/names.h"
#include "fs/rows/rows.h"
#include "fs/tables/tables.h"

#define BASES_MAX 64u /* names that begin and end like one that was cut */

bool kith_conflicts_like(const struct kith_fs *fs, const char *name)
{
    return !fs->options->hide_conflicts && kith_conflict_name_like(name, strlen(name));
}

bool kith_conflicts_beside(const struct kith_entry *entry)
{
    const struct kith_inode *inode = entry->inode;
    return inode != NULL &&
           (kith_row_count_siblings(kith_octets_bytes(&entry->ctx)) > 0 ||
            (entry->link && kith_row_count_siblings(kith_octets_bytes(&inode->ctx)) > 0));
}

/* The context as a row, in the arena. */
static enum kith_err context_row(struct kith_arena *arena, const struct kith_octets *context,
                                 struct kith_row *ret_row)
{
    struct kith_bytes bytes = kith_octets_bytes(context);
    bytes.data = kith_arena_copy(arena, bytes.data, bytes.size);
    return bytes.data == NULL ? KITH_ENOMEM : kith_row_decode(arena, bytes, ret_row);
}

bool kith_other_same(bool of_inode, const struct kith_sibling *a, const struct kith_sibling *b)
{
    struct kith_inode_record first, second;
    struct kith_arena arena;
    if (!of_inode || kith_versions_alike(a, b)) {
        return kith_versions_alike(a, b);
    }
    kith_arena_init(&arena, 0);
    bool same = kith_inode_record_decode(&arena, a->value, &first) == KITH_OK &&
                kith_inode_record_decode(&arena, b->value, &second) == KITH_OK &&
                first.type == second.type &&
                kith_bytes_equal(first.contents, second.contents) &&
                kith_bytes_equal(first.target, second.target);
    kith_arena_release(&arena);
    return same;
}

/* Whether one of those is this version. */
static bool listed(const struct kith_other others[], uint32_t count, bool of_inode,
                   const struct kith_sibling *sibling)
{
    for (uint32_t i = 0; i < count; i++) {
        if (others[i].of_inode == of_inode &&
            kith_other_same(of_inode, others[i].version.sibling, sibling)) {
            return true;
        }
    }
    return false;
}

/* The versions of one row behind those that there are. */
static enum kith_err add_row(struct kith_fs *fs, struct kith_arena *arena, struct kith_bytes base,
                             const struct kith_octets *context, bool of_inode,
                             struct kith_other **others, uint32_t *count)
{
    struct kith_row row;
    struct kith_version *versions = NULL;
    uint32_t more = 0;
    enum kith_err err = context_row(arena, context, &row);
    if (err == KITH_OK) {
        err = kith_versions_list(arena, &row, &versions, &more);
    }
    if (err != KITH_OK) {
        return err == KITH_ENOMEM ? err : KITH_OK; /* of a later format: not to be shown */
    }
    struct kith_other *all = kith_arena_calloc(arena, *count + more + 1u, sizeof *all);
    if (all == NULL) {
        return KITH_ENOMEM;
    }
    memcpy(all, *others, *count * sizeof *all);
    for (uint32_t i = 0; i < more; i++) {
        const struct kith_inode_record *record = &versions[i].record;
        struct kith_other *other = &all[*count];
        if (record->type == KITH_TYPE_LINK ||
            listed(all, *count, of_inode, versions[i].sibling)) {
            continue;
        }
        other->version = versions[i];
        other->of_inode = of_inode;
        other->id = record->type == KITH_TYPE_DIR
                        ? record->file_id /* by which its group is found */
                        : kith_seen_other_id(record->file_id, &versions[i].sibling->dot);
        kith_conflict_name(base, versions[i].sibling, fs->options->conflict_names, false,
                           other->name);
        ++*count;
    }
    *others = all;
    return KITH_OK;
}

/* A name that a row has, or another version: the longer one then. */
static int settle_name(struct kith_fs *fs, struct kith_inode *dir, struct kith_bytes base,
                       struct kith_other others[], uint32_t at)
{
    struct kith_entry *entry;
    int error = kith_dir_entry(fs, dir, others[at].name, &entry);
    if (error != 0) {
        return error;
    }
    pthread_mutex_lock(&fs->lock);
    bool taken = entry->inode != NULL;
    entry->pins--;
    pthread_mutex_unlock(&fs->lock);
    for (uint32_t i = 0; i < at && !taken; i++) {
        taken = strcmp(others[i].name, others[at].name) == 0;
    }
    if (taken) {
        kith_conflict_name(base, others[at].version.sibling, fs->options->conflict_names, true,
                           others[at].name);
    }
    return 0;
}

int kith_others_all(struct kith_fs *fs, struct kith_inode *dir, const char *base,
                    struct kith_arena *arena, struct kith_other **ret_others, uint32_t *ret_count)
{
    static struct kith_other none;
    struct kith_bytes name = kith_bytes_make(base, strlen(base));
    struct kith_entry *entry;
    enum kith_err err = KITH_OK;
    *ret_others = &none;
    *ret_count = 0;
    int error = kith_dir_entry(fs, dir, base, &entry);
    if (error != 0) {
        return error;
    }
    pthread_mutex_lock(&fs->lock);
    if (kith_conflicts_beside(entry)) {
        err = add_row(fs, arena, name, &entry->ctx, false, ret_others, ret_count);
        if (err == KITH_OK && entry->link) {
            err = add_row(fs, arena, name, &entry->inode->ctx, true, ret_others, ret_count);
        }
    }
    entry->pins--;
    pthread_mutex_unlock(&fs->lock);
    error = kith_errno(err);
    for (uint32_t i = 0; i < *ret_count && error == 0; i++) {
        error = settle_name(fs, dir, name, *ret_others, i);
    }
    return error;
}

int kith_others_list(struct kith_fs *fs, struct kith_inode *dir, const char *base,
                     struct kith_arena *arena, struct kith_other **ret_others,
                     uint32_t *ret_count)
{
    if (fs->options->hide_conflicts) {
        *ret_others = NULL;
        *ret_count = 0;
        return 0;
    }
    return kith_others_all(fs, dir, base, arena, ret_others, ret_count);
}

/* The one of that name beside `base`; ENOENT. */
static int find_beside(struct kith_fs *fs, struct kith_inode *dir, const char *base,
                       const char *name, struct kith_arena *arena, struct kith_other *ret_other)
{
    struct kith_other *others;
    uint32_t count;
    int error = kith_others_list(fs, dir, base, arena, &others, &count);
    if (error != 0) {
        return error;
    }
    for (uint32_t i = 0; i < count; i++) {
        if (strcmp(others[i].name, name) == 0) {
            *ret_other = others[i];
            return 0;
        }
    }
    return ENOENT;
}

/* Names that begin with the stem, and end with the extension. */
struct bases {
    const struct kith_conflict_base *like;
    bool over; /* past all of them */
    uint32_t count;
    char names[BASES_MAX][KITH_FS_NAME_MAX + 1];
};

static int on_base(void *arg, const char *name, size_t size, enum kith_type type, uint64_t id)
{
    struct bases *bases = arg;
    const struct kith_bytes *stem = &bases->like->stem, *extension = &bases->like->extension;
    (void)type, (void)id;
    if (size < stem->size || memcmp(name, stem->data, stem->size) != 0) {
        bases->over = true;
        return 0;
    }
    bool ends = size > stem->size + extension->size &&
                memcmp(name + size - extension->size, extension->data, extension->size) == 0;
    if (ends && bases->count < BASES_MAX) {
        memcpy(bases->names[bases->count], name, size);
        bases->names[bases->count++][size] = '\0';
    }
    return 0;
}

/* The name was cut: those that it may have been made from stand together. */
static int find_cut(struct kith_fs *fs, struct kith_inode *dir,
                    const struct kith_conflict_base *like, const char *name,
                    struct kith_arena *arena, struct kith_other *ret_other, char *ret_base)
{
    struct bases *bases = kith_arena_calloc(arena, 1, sizeof *bases);
    struct kith_dir_page page = {.more = true, .last = like->stem};
    if (bases == NULL) {
        return ENOMEM;
    }
    bases->like = like;
    pthread_mutex_lock(&fs->lock);
    uint64_t load = ++fs->load_count;
    pthread_mutex_unlock(&fs->lock);
    int error = 0;
    while (error == 0 && page.more && !bases->over) {
        struct kith_bytes after = page.last;
        error = kith_dir_page(fs, dir, &after, load, arena, on_base, bases, &page);
    }
    if (error != 0) {
        return error;
    }
    error = ENOENT;
    for (uint32_t i = 0; i < bases->count && error == ENOENT; i++) {
        error = find_beside(fs, dir, bases->names[i], name, arena, ret_other);
        memcpy(ret_base, bases->names[i], sizeof bases->names[i]);
    }
    return error;
}

int kith_other_find(struct kith_fs *fs, struct kith_inode *dir, const char *name,
                    struct kith_arena *arena, struct kith_other *ret_other,
                    char ret_base[KITH_FS_NAME_MAX + 1])
{
    struct kith_bytes bytes = kith_bytes_make(name, strlen(name));
    struct kith_conflict_base base;
    int error = ENOENT;
    for (unsigned i = 0; error == ENOENT && kith_conflicts_like(fs, name) &&
                         kith_conflict_base(bytes, fs->options->conflict_names, i, &base);
         i++) {
        memcpy(ret_base, base.stem.data, base.stem.size);
        memcpy(ret_base + base.stem.size, base.extension.data, base.extension.size);
        ret_base[base.stem.size + base.extension.size] = '\0';
        error = find_beside(fs, dir, ret_base, name, arena, ret_other);
        if (error == ENOENT && base.cut) {
            error = find_cut(fs, dir, &base, name, arena, ret_other, ret_base);
        }
    }
    return error;
}

/* fs->lock held. What the kernel is told of it: as it was written; who may use it, as who may use
 * the file beside which it stands. */
static enum kith_err fill(struct kith_fs *fs, struct kith_inode *inode,
                          const struct kith_other *other, const struct kith_inode *beside)
{
    const struct kith_inode_record *record = &other->version.record;
    struct kith_attrs attrs = record->attrs;
    uint64_t size = record->target.size, allocated = 0;
    if (beside != NULL && kith_inode_row_id(beside) == record->file_id) {
        kith_attrs_merge(&attrs, &beside->attrs);
        attrs.mtime = record->attrs.mtime;
        attrs.mtime_stamp = record->attrs.mtime_stamp;
    }
    attrs.have |= KITH_ATTR_XATTRS; /* they stay with the file */
    attrs.xattrs = false;
    if (!kith_inode_attrs_set(inode, &attrs)) {
        return KITH_ENOMEM;
    }
    inode->btime = record->btime;
    inode->rdev = record->rdev;
    inode->made_links = other->of_inode && beside != NULL ? beside->name_count : 1;
    if (inode->dir != NULL) {
        inode->dir->group = kith_group_make(fs->volume, record->dir_id);
        return KITH_OK;
    }
    enum kith_err err = record->contents.size == 0
                            ? KITH_OK
                            : kith_content_image_stat(record->contents, &size, &allocated);
    inode->size = size;
    inode->allocated = allocated;
    bool ok = inode->made_image.data != NULL || /* open, perhaps; it is never another */
              (kith_octets_set(&inode->made_image, record->contents) &&
               kith_octets_set(&inode->target, record->target));
    return ok ? err : KITH_ENOMEM;
}

/* fs->lock held. The inode of that number, if it is this version; *ret_taken: it is something
 * else. */
static struct kith_inode *known_inode(struct kith_fs *fs, uint64_t id, enum kith_type type,
                                      bool *ret_taken)
{
    struct kith_inode *inode = kith_inode_find(fs, id);
    bool it = inode != NULL && inode->type == type &&
              (inode->made || kith_aside_is(inode) ||
               (type == KITH_TYPE_DIR && !inode->unlinked));
    *ret_taken = inode != NULL && !it;
    return it ? inode : NULL;
}

int kith_other_inode(struct kith_fs *fs, struct kith_inode *dir, const char *name,
                     struct kith_inode **ret_inode)
{
    char base[KITH_FS_NAME_MAX + 1];
    struct kith_arena arena;
    struct kith_other other;
    bool taken = false;
    kith_arena_init(&arena, 0);
    int error = kith_other_find(fs, dir, name, &arena, &other, base);
    if (error == 0) {
        enum kith_type type = other.version.record.type;
        pthread_mutex_lock(&fs->lock);
        const struct kith_entry *entry = kith_entry_find(dir, base);
        const struct kith_inode *beside = entry != NULL ? entry->inode : NULL;
        struct kith_inode *inode = known_inode(fs, other.id, type, &taken);
        while (taken) { /* it was made a file, and the row has it still: a put that was cut short */
            other.id = kith_seen_other_id(other.id, &other.version.sibling->dot);
            inode = known_inode(fs, other.id, type, &taken);
        }
        if (inode != NULL) {
            kith_inode_hold(inode);
        } else {
            inode = kith_inode_new(fs, other.id, type);
            error = inode == NULL ? ENOMEM : 0;
        }
        if (error == 0 && !kith_aside_is(inode) && (inode->dir == NULL || inode->entry == NULL)) {
            inode->made = true;
            error = kith_errno(fill(fs, inode, &other, beside));
        }
        if (error != 0 && inode != NULL) {
            kith_inode_drop(fs, inode);
        } else if (inode != NULL) {
            inode->was_named = false; /* who comes from here knows what it is */
        }
        *ret_inode = inode;
        pthread_mutex_unlock(&fs->lock);
    }
    kith_arena_release(&arena);
    return error;
}

int kith_other_taken(struct kith_fs *fs, struct kith_inode *dir, const char *name)
{
    char base[KITH_FS_NAME_MAX + 1];
    struct kith_arena arena;
    struct kith_other other;
    if (!kith_conflicts_like(fs, name)) {
        return 0;
    }
    kith_arena_init(&arena, 0);
    int error = kith_other_find(fs, dir, name, &arena, &other, base);
    kith_arena_release(&arena);
    return error == 0 ? EEXIST : error == ENOENT ? 0 : error;
}

/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * inode.c - the table of known inodes, their references and what they remember. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "fs/fs.h"
#include "fs/files/files.h"
#include "fs/mount/mount.h"
#include "fs/rows/rows.h"
#include "fs/tables/tables.h"

#define PATH_DEPTH_MAX 64u /* parts of a path in a message; deeper ones begin with "..." */

/* xorshift128+ over a seed from the system: ids need to be distinct, not secret. */
uint64_t kith_fs_random(struct kith_fs *fs)
{
    uint64_t value = 0;
    if (getrandom(&value, sizeof value, GRND_NONBLOCK) == (ssize_t)sizeof value && value >= KITH_INODE_IDS) {
        return value;
    }
    pthread_mutex_lock(&fs->lock);
    uint64_t a = fs->random_state[0], b = fs->random_state[1];
    fs->random_state[0] = b;
    a ^= a << 23;
    fs->random_state[1] = a ^ b ^ (a >> 17) ^ (b >> 26);
    value = fs->random_state[1] + b;
    pthread_mutex_unlock(&fs->lock);
    return value >= KITH_INODE_IDS ? value : value + KITH_INODE_IDS;
}

struct kith_inode *kith_inode_of(struct kith_fs *fs, fuse_ino_t ino)
{
    return ino == FUSE_ROOT_ID ? fs->root : (struct kith_inode *)(uintptr_t)ino;
}

fuse_ino_t kith_inode_ino(const struct kith_fs *fs, const struct kith_inode *inode)
{
    return inode == fs->root ? FUSE_ROOT_ID : (fuse_ino_t)(uintptr_t)inode;
}

struct kith_inode *kith_inode_find(struct kith_fs *fs, uint64_t id)
{
    struct kith_inode *inode = fs->inodes[id & (fs->inode_buckets - 1)];
    while (inode != NULL && inode->id != id) {
        inode = inode->hash_next;
    }
    return inode;
}

struct kith_inode *kith_dir_find(struct kith_fs *fs, const struct kith_group *group)
{
    uint64_t id;
    memcpy(&id, group->bytes + (sizeof group->bytes - KITH_DIR_ID_SIZE), sizeof id);
    struct kith_inode *dir = id == 0 ? fs->root : kith_inode_find(fs, id);
    bool it = dir != NULL && dir->dir != NULL && kith_group_compare(&dir->dir->group, group) == 0;
    return it ? dir : NULL;
}

/* Doubles the table; where memory is short it only gets slower. */
static void table_grow(struct kith_fs *fs)
{
    uint32_t count = fs->inode_buckets * 2;
    struct kith_inode **buckets = kith_calloc(count, sizeof *buckets);
    if (buckets == NULL) {
        return;
    }
    for (uint32_t i = 0; i < fs->inode_buckets; i++) {
        struct kith_inode *inode = fs->inodes[i];
        while (inode != NULL) {
            struct kith_inode *next = inode->hash_next;
            inode->hash_next = buckets[inode->id & (count - 1)];
            buckets[inode->id & (count - 1)] = inode;
            inode = next;
        }
    }
    kith_free(fs->inodes);
    fs->inodes = buckets;
    fs->inode_buckets = count;
}

static void table_take_out(struct kith_fs *fs, struct kith_inode *inode)
{
    struct kith_inode **link = &fs->inodes[inode->id & (fs->inode_buckets - 1)];
    while (*link != inode) {
        link = &(*link)->hash_next;
    }
    *link = inode->hash_next;
}

static void table_put_in(struct kith_fs *fs, struct kith_inode *inode)
{
    struct kith_inode **bucket = &fs->inodes[inode->id & (fs->inode_buckets - 1)];
    inode->hash_next = *bucket;
    *bucket = inode;
}

struct kith_inode *kith_inode_new(struct kith_fs *fs, uint64_t id, enum kith_type type)
{
    struct kith_inode *inode = kith_calloc(1, sizeof *inode);
    if (inode == NULL) {
        return NULL;
    }
    if (type == KITH_TYPE_DIR) {
        inode->dir = kith_calloc(1, sizeof *inode->dir);
        if (inode->dir == NULL) {
            kith_free(inode);
            return NULL;
        }
    }
    if (fs->inode_count >= fs->inode_buckets) {
        table_grow(fs);
    }
    inode->id = id;
    inode->type = type;
    inode->refs = 1;
    table_put_in(fs, inode);
    fs->inode_count++;
    return inode;
}

void kith_inode_hold(struct kith_inode *inode)
{
    KITH_ASSERT(inode->refs > 0);
    inode->refs++;
}

static void names_free(struct kith_inode *inode)
{
    for (uint32_t i = 0; i < inode->name_count; i++) {
        kith_free((void *)(uintptr_t)inode->names[i].name.data);
    }
    kith_free(inode->names);
    inode->names = NULL;
    inode->name_count = 0;
}

/* The inode's own copy of `size` bytes, where it has not got these already. False: no memory. */
static bool own_acl(const uint8_t **acl, size_t size, const uint8_t *had, size_t had_size)
{
    if (size == had_size && (size == 0 || memcmp(*acl, had, size) == 0)) {
        *acl = had;
        return true;
    }
    uint8_t *copy = size == 0 ? NULL : kith_malloc(size);
    if (copy != NULL) {
        memcpy(copy, *acl, size);
    }
    *acl = copy;
    return copy != NULL || size == 0;
}

static void acl_free(const uint8_t *acl)
{
    kith_free((void *)(uintptr_t)acl);
}

bool kith_inode_attrs_set(struct kith_inode *inode, const struct kith_attrs *attrs)
{
    const struct kith_attrs was = inode->attrs;
    struct kith_attrs now = *attrs;
    if (!own_acl(&now.acl, now.acl_size, was.acl, was.acl_size)) {
        return false;
    }
    if (!own_acl(&now.default_acl, now.default_acl_size, was.default_acl,
                 was.default_acl_size)) {
        acl_free(now.acl != was.acl ? now.acl : NULL);
        return false;
    }
    inode->attrs = now;
    acl_free(now.acl != was.acl ? was.acl : NULL);
    acl_free(now.default_acl != was.default_acl ? was.default_acl : NULL);
    return true;
}

bool kith_inode_attrs_merge(struct kith_inode *inode, const struct kith_attrs *attrs)
{
    struct kith_attrs merged = inode->attrs;
    kith_attrs_merge(&merged, attrs);
    return kith_inode_attrs_set(inode, &merged);
}

void kith_inode_rename(struct kith_fs *fs, struct kith_inode *inode, uint64_t id)
{
    table_take_out(fs, inode);
    inode->id = id;
    table_put_in(fs, inode);
}

static void inode_free(struct kith_fs *fs, struct kith_inode *inode)
{
    table_take_out(fs, inode);
    fs->inode_count--;
    KITH_ASSERT(!inode->queued && inode->content == NULL);
    if (inode->dir != NULL) {
        kith_dir_free(fs, inode->dir);
    }
    kith_aside_forget(fs, inode);
    kith_inode_put_forget(inode);
    kith_unput_forget(inode);
    kith_inode_image_forget(fs, inode);
    names_free(inode);
    acl_free(inode->attrs.acl);
    acl_free(inode->attrs.default_acl);
    kith_octets_clear(&inode->made_image);
    kith_octets_clear(&inode->target);
    kith_octets_clear(&inode->unknown);
    kith_octets_clear(&inode->ctx);
    kith_octets_clear(&inode->open_ctx);
    kith_octets_clear(&inode->attr_ctx);
    kith_free(inode);
}

void kith_inode_drop(struct kith_fs *fs, struct kith_inode *inode)
{
    KITH_ASSERT(inode->refs > 0);
    if (--inode->refs == 0) {
        inode_free(fs, inode);
    }
}

void kith_inode_forget(struct kith_fs *fs, struct kith_inode *inode, uint64_t count)
{
    if (count == 0 || inode->nlookup == 0) {
        return;
    }
    inode->nlookup = count >= inode->nlookup ? 0 : inode->nlookup - count;
    if (inode->nlookup == 0) {
        kith_told_forget(inode);
        kith_inode_drop(fs, inode);
    }
}

bool kith_inode_place(const struct kith_inode *inode, struct kith_group *ret_group,
                      struct kith_rowname *ret_name)
{
    if (inode->shared) {
        *ret_group = inode->share_group;
        if (inode->share_own) {
            kith_rowname_entry(kith_bytes_make(NULL, 0), ret_name);
        } else {
            kith_rowname_shared(inode->share_id, ret_name);
        }
        return !inode->unlinked;
    }
    if (inode->entry == NULL) { /* the root, or unlinked */
        if (inode->dir == NULL || inode->unlinked) {
            return false;
        }
        *ret_group = inode->dir->group;
        kith_rowname_entry(kith_bytes_make(NULL, 0), ret_name);
        return true;
    }
    *ret_group = inode->entry->dir->dir->group;
    kith_rowname_entry(kith_entry_bytes(inode->entry), ret_name);
    return true;
}

struct kith_octets *kith_inode_ctx(struct kith_inode *inode)
{
    if (inode->is_open) {
        return &inode->open_ctx;
    }
    return inode->shared || inode->entry == NULL ? &inode->ctx : &inode->entry->ctx;
}

const struct kith_octets *kith_entry_ctx(const struct kith_entry *entry)
{
    const struct kith_inode *inode = entry->inode;
    bool own = inode != NULL && inode->is_open && !inode->shared && inode->entry == entry;
    return own ? &inode->open_ctx : &entry->ctx;
}

bool kith_inode_moved_on(struct kith_inode *inode, struct kith_bytes context)
{
    struct kith_octets *seen =
        inode->shared || inode->entry == NULL ? &inode->ctx : &inode->entry->ctx;
    bool ok = kith_octets_set(seen, context);
    if (inode->is_open) {
        ok = kith_octets_set(&inode->open_ctx, context) && ok;
    }
    return ok;
}

void kith_inode_image_forget(struct kith_fs *fs, struct kith_inode *inode)
{
    if (inode->image.size > 0) {
        fs->image_bytes -= inode->image.size;
        *(inode->image_old != NULL ? &inode->image_old->image_young : &fs->image_oldest) =
            inode->image_young;
        *(inode->image_young != NULL ? &inode->image_young->image_old : &fs->image_youngest) =
            inode->image_old;
    }
    kith_octets_clear(&inode->image);
    kith_free(inode->image_refs);
    inode->image_refs = NULL;
    inode->image_ref_count = 0;
    inode->image_known = false;
}

void kith_inode_image_set(struct kith_fs *fs, struct kith_inode *inode, struct kith_bytes image,
                          const struct kith_chunk_id *refs, uint32_t ref_count)
{
    kith_inode_image_forget(fs, inode);
    if (image.size > IMAGE_MAX) {
        return;
    }
    while (fs->image_bytes + image.size > IMAGES_MAX) {
        kith_inode_image_forget(fs, fs->image_oldest);
    }
    if (ref_count > 0) {
        inode->image_refs = kith_malloc(ref_count * sizeof *refs);
        if (inode->image_refs == NULL) {
            return;
        }
        memcpy(inode->image_refs, refs, ref_count * sizeof *refs);
    }
    inode->image_known = kith_octets_set(&inode->image, image);
    inode->image_ref_count = ref_count;
    if (inode->image.size > 0) {
        fs->image_bytes += inode->image.size;
        inode->image_young = NULL;
        inode->image_old = fs->image_youngest;
        *(inode->image_old != NULL ? &inode->image_old->image_young : &fs->image_oldest) = inode;
        fs->image_youngest = inode;
    }
}

bool kith_inode_names_set(struct kith_inode *inode, const struct kith_link_name names[],
                          uint32_t count)
{
    struct kith_link_name *copy = NULL;
    if (count > 0) {
        copy = kith_calloc(count, sizeof *copy);
        if (copy == NULL) {
            return false;
        }
    }
    for (uint32_t i = 0; i < count; i++) {
        struct kith_octets octets = {NULL, 0};
        if (!kith_octets_set(&octets, names[i].name)) {
            while (i-- > 0) {
                kith_free((void *)(uintptr_t)copy[i].name.data);
            }
            kith_free(copy);
            return false;
        }
        copy[i].group = names[i].group;
        copy[i].name = kith_octets_bytes(&octets);
    }
    names_free(inode);
    inode->names = copy;
    inode->name_count = count;
    return true;
}

bool kith_inode_names_take(struct kith_inode *inode, const struct kith_link_name names[],
                           uint32_t count, bool own)
{
    if (!inode->untold) {
        return kith_inode_names_set(inode, names, count);
    }
    struct kith_link_name both[KITH_LINKS_MAX];
    uint32_t joined = 0, mine = 0, theirs = own ? count : 0;
    while ((mine < inode->name_count || theirs < count) && joined < KITH_LINKS_MAX) {
        int order = mine == inode->name_count ? 1
                    : theirs == count
                        ? -1
                        : kith_link_name_compare(&inode->names[mine], &names[theirs]);
        both[joined++] = order <= 0 ? inode->names[mine] : names[theirs];
        mine += order <= 0 ? 1 : 0;
        theirs += order >= 0 ? 1 : 0;
    }
    return kith_inode_names_set(inode, both, joined);
}

bool kith_inode_dirty(const struct kith_inode *inode)
{
    return inode->pending || inode->write_version != inode->write_flushed || inode->again != NULL;
}

void kith_inode_enqueue(struct kith_fs *fs, struct kith_inode *inode)
{
    if (inode->queued) {
        return;
    }
    inode->queued = true;
    kith_inode_hold(inode);
    if (fs->dirty == NULL) {
        kith_timer_wake(fs->timer);
        inode->dirty_prev = inode->dirty_next = inode;
        fs->dirty = inode;
    } else {
        inode->dirty_next = fs->dirty;
        inode->dirty_prev = fs->dirty->dirty_prev;
        inode->dirty_prev->dirty_next = inode;
        fs->dirty->dirty_prev = inode;
    }
}

void kith_inode_path(const struct kith_fs *fs, const struct kith_inode *inode, char *ret_path,
                     size_t size)
{
    const struct kith_entry *parts[PATH_DEPTH_MAX];
    unsigned depth = 0;
    bool aside = kith_aside_is(inode);
    const struct kith_inode *at = aside ? inode->aside->dir : inode;
    while (at != fs->root && at->entry != NULL && depth < PATH_DEPTH_MAX) {
        parts[depth++] = at->entry;
        at = at->entry->dir;
    }
    size_t used = (size_t)snprintf(ret_path, size, "%s", at == fs->root ? "" : "...");
    if (depth == 0 && at == fs->root && !aside) {
        snprintf(ret_path, size, "/");
    }
    while (depth-- > 0 && used < size) {
        const struct kith_entry *part = parts[depth];
        int n = snprintf(ret_path + used, size - used, "/%s", part->name);
        used += n > 0 ? (size_t)n : 0;
    }
    if (aside && used < size) { /* what had been under that name */
        snprintf(ret_path + used, size - used, "/%s", inode->aside->base);
    }
}

void kith_inode_record_of(const struct kith_inode *inode, struct kith_inode_record *ret_record)
{
    memset(ret_record, 0, sizeof *ret_record);
    ret_record->type = inode->type;
    ret_record->file_id = kith_inode_row_id(inode);
    ret_record->attrs = inode->attrs;
    ret_record->btime = inode->btime;
    ret_record->rdev = inode->rdev;
    ret_record->target = kith_octets_bytes(&inode->target);
    ret_record->unknown = kith_octets_bytes(&inode->unknown);
    ret_record->names = inode->names;
    ret_record->name_count = inode->shared ? inode->name_count : 0;
    if (inode->dir != NULL) {
        memcpy(ret_record->dir_id, inode->dir->group.bytes + 4, KITH_DIR_ID_SIZE);
    }
}

static bool busy_any(bool dirs, struct kith_inode *const inodes[], unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        if (inodes[i] != NULL && (dirs ? inodes[i]->dir_busy : inodes[i]->row_busy)) {
            return true;
        }
    }
    return false;
}

static void busy_set(bool dirs, struct kith_inode *const inodes[], unsigned count, bool value)
{
    for (unsigned i = 0; i < count; i++) {
        if (inodes[i] != NULL && dirs) {
            inodes[i]->dir_busy = value;
        } else if (inodes[i] != NULL) {
            inodes[i]->row_busy = value;
        }
    }
}

void kith_busy_take(struct kith_fs *fs, bool dirs, struct kith_inode *const inodes[],
                    unsigned count)
{
    while (busy_any(dirs, inodes, count)) {
        pthread_cond_wait(&fs->changed, &fs->lock);
    }
    busy_set(dirs, inodes, count, true);
}

void kith_busy_give(struct kith_fs *fs, bool dirs, struct kith_inode *const inodes[],
                    unsigned count)
{
    busy_set(dirs, inodes, count, false);
    pthread_cond_broadcast(&fs->changed);
}

void kith_dir_take(struct kith_fs *fs, struct kith_inode *dir)
{
    pthread_mutex_lock(&fs->lock);
    kith_busy_take(fs, true, &dir, 1);
    pthread_mutex_unlock(&fs->lock);
}

void kith_dir_give(struct kith_fs *fs, struct kith_inode *dir)
{
    pthread_mutex_lock(&fs->lock);
    kith_busy_give(fs, true, &dir, 1);
    pthread_mutex_unlock(&fs->lock);
}

void kith_tables_free(struct kith_fs *fs)
{
    /* entries first, children before parents where the order of use allows: each pass frees what
     * nothing else holds, and lookups of a kernel that is gone count no more */
    for (uint32_t i = 0; i < fs->inode_buckets && fs->inodes != NULL; i++) {
        for (struct kith_inode *inode = fs->inodes[i]; inode != NULL; inode = inode->hash_next) {
            kith_inode_hold(inode);
            kith_free(inode->aside); /* its directory goes as all do */
            inode->aside = NULL;
        }
    }
    while (fs->oldest != NULL) {
        fs->oldest->pins = 0;
        kith_entry_remove(fs, fs->oldest);
    }
    for (uint32_t i = 0; i < fs->inode_buckets && fs->inodes != NULL; i++) {
        while (fs->inodes[i] != NULL) {
            fs->inodes[i]->queued = false;
            inode_free(fs, fs->inodes[i]);
        }
    }
    kith_free(fs->inodes);
}

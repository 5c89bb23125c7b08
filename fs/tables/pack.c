/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * pack.c - names of a large directory that are known, in little room.
 *
 * An entry with its inode takes more than a KiB, so that of a directory of a million names a mount
 * keeps a part, and each question about another one would be a request. A pack holds a name with
 * what its row says in some 200 bytes. It belongs to a watched directory, and is filled from pages
 * that are read as more and more questions need the network (names/dir_ahead.c), and with entries
 * that leave the table.
 *
 * WHICH COUNTS. A name that is in the table has its entry, and what the pack says of it does not
 * count. An event therefore need not look here: it makes an entry, which is unknown. When an entry
 * leaves the table the pack takes note of it as it is then: known, with its inode as memory has it
 * (kith_watch_knows: that is what a quorum would say now, this mount's own changes included);
 * missing; or unknown, and who asks for the name asks the cluster. Who asks for a known one gets an
 * entry made of it, as if a page had just brought it.
 *
 * WHY IT IS SOUND. An item bears the time from which on it is known: when the request for its page
 * began, or when the entry left. Between then and now the watch was live without a break (a pack
 * has the number of the watch, dir->live, and goes with it), and no event named it, for that would
 * have made an entry, and the item anew when that left. So (1) to (3) of watch.c hold for the item
 * as they do for what a read brings that began at that time. A page never replaces an item that is
 * newer than the page's request.
 *
 * The pack is whole when pages from the first to the last have been read under its number, by
 * requests in a row: then a name that has neither entry nor item does not exist. What was made
 * before the page of its place was asked for is in that page; what was made later had an entry, by
 * the event or as this mount's own. That is not to be mixed up with dir->complete, which says it of
 * the table alone, and lets it be listed.
 *
 * An entry forgets what was told of it when it leaves. The item keeps the time, and gives it to the
 * entry that is made for the name again: a read from before does not count.
 *
 * What an item leaves out are the contents, however short: who opens the file reads its row. A file
 * whose id memory has already is not made of an item; there the read of the name tells who is who.
 *
 *     slots   hash of the name, place   open addressing, a power of two, at most 3/4 full
 *     blocks  1 MiB each: items, aligned to 8; place 1 + its distance from the first block in 8s
 *     item    time, room, size, state, name, then (known)
 *             u8 attr_row, varint size, varint allocated, u64 run, varint epoch, varint counter,
 *             sized context, sized context of the attribute row, the record without contents
 *
 * A pack that nobody has used for a while goes, with what was read for it.
 *
 * All under fs->lock. Checked by tests/unit/test_pack.c. */
#include <string.h>

#include "fs/content/content.h"
#include "fs/fs.h"
#include "fs/links/links.h"
#include "fs/rows/rows.h"
#include "fs/tables/tables.h"

#define BLOCK_SIZE  (1u << 20)
#define ALIGNMENT   8u
#define SLOTS_FIRST 4096u
#define ROW_MAX     1024u /* bytes that are kept of a row; who has more is asked for */
#define IDLE_NS     (30 * NSEC_PER_SEC) /* not used for so long: its memory is worth more */

enum state {
    STATE_KNOWN,
    STATE_UNKNOWN,
    STATE_MISSING,
};

struct item {
    uint64_t at;         /* known since; of what is unknown: when the entry left */
    uint16_t room, size; /* of what follows the name */
    uint8_t state, name_size;
    char name[];
};

struct slot {
    uint32_t hash, place; /* place 0: free */
};

struct kith_pack {
    struct kith_fs *fs;
    struct kith_pack *next, **link; /* in fs->packs, and who leads here */
    struct kith_inode *dir;         /* the watch has the ref */
    uint64_t used_at;
    struct kith_ahead ahead;
    uint64_t live; /* the number of the watch under which it counts */
    struct slot *slots;
    uint32_t slot_count, count;
    uint8_t **blocks;
    uint32_t block_count;
    size_t block_used; /* of the last block */
    size_t bytes;
    uint64_t left_at; /* when an entry left last */
};

/* ---- Items ---- */

static struct item *item_at(const struct kith_pack *pack, uint32_t place)
{
    size_t offset = (size_t)(place - 1) * ALIGNMENT;
    return (struct item *)(void *)(pack->blocks[offset / BLOCK_SIZE] + offset % BLOCK_SIZE);
}

static struct kith_bytes item_row(const struct item *item)
{
    return kith_bytes_make(item->name + item->name_size, item->size);
}

/* The slot of the name, or the free one where it belongs. */
static struct slot *slot_of(const struct kith_pack *pack, const char *name, size_t size,
                            uint32_t hash)
{
    uint32_t mask = pack->slot_count - 1;
    uint32_t at = hash & mask;
    for (;; at = (at + 1) & mask) {
        struct slot *slot = &pack->slots[at];
        if (slot->place == 0) {
            return slot;
        }
        if (slot->hash == hash) {
            const struct item *item = item_at(pack, slot->place);
            if (item->name_size == size && memcmp(item->name, name, size) == 0) {
                return slot;
            }
        }
    }
}

static struct item *item_find(const struct kith_pack *pack, const char *name, size_t size)
{
    const struct slot *slot = slot_of(pack, name, size, kith_entry_hash(name, size));
    return slot->place == 0 ? NULL : item_at(pack, slot->place);
}

/* Counts what is taken of all packs' memory. False: it would be too much. */
static bool charge(struct kith_pack *pack, size_t bytes)
{
    if (pack->fs->pack_bytes + bytes > PACKS_MAX) {
        return false;
    }
    pack->bytes += bytes;
    pack->fs->pack_bytes += bytes;
    return true;
}

static void uncharge(struct kith_pack *pack, size_t bytes)
{
    pack->bytes -= bytes;
    pack->fs->pack_bytes -= bytes;
}

static bool slots_grow(struct kith_pack *pack)
{
    uint32_t count = pack->slot_count == 0 ? SLOTS_FIRST : pack->slot_count * 2;
    struct slot *old = pack->slots;
    uint32_t old_count = pack->slot_count;
    if (!charge(pack, count * sizeof *old)) {
        return false;
    }
    struct slot *slots = kith_calloc(count, sizeof *slots);
    if (slots == NULL) {
        uncharge(pack, count * sizeof *old);
        return false;
    }
    for (uint32_t i = 0; i < old_count; i++) {
        uint32_t at = old[i].hash & (count - 1);
        while (old[i].place != 0 && slots[at].place != 0) {
            at = (at + 1) & (count - 1);
        }
        if (old[i].place != 0) {
            slots[at] = old[i];
        }
    }
    pack->slots = slots;
    pack->slot_count = count;
    kith_free(old);
    uncharge(pack, old_count * sizeof *old);
    return true;
}

static bool block_add(struct kith_pack *pack)
{
    if (!charge(pack, BLOCK_SIZE)) {
        return false;
    }
    uint8_t **blocks =
        kith_realloc(pack->blocks, (pack->block_count + 1u) * sizeof(uint8_t *));
    if (blocks != NULL) {
        pack->blocks = blocks;
        blocks[pack->block_count] = kith_malloc(BLOCK_SIZE);
    }
    if (blocks == NULL || blocks[pack->block_count] == NULL) {
        uncharge(pack, BLOCK_SIZE);
        return false;
    }
    pack->block_count++;
    pack->block_used = 0;
    return true;
}

/* Room for an item; its place, or 0. */
static uint32_t place_new(struct kith_pack *pack, size_t name_size, size_t row_size)
{
    size_t size = sizeof(struct item) + name_size + row_size;
    size = (size + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
    if ((pack->block_count == 0 || pack->block_used + size > BLOCK_SIZE) && !block_add(pack)) {
        return 0;
    }
    size_t offset = (size_t)(pack->block_count - 1) * BLOCK_SIZE + pack->block_used;
    struct item *item = (struct item *)(void *)(pack->blocks[pack->block_count - 1] +
                                                pack->block_used);
    pack->block_used += size;
    item->room = (uint16_t)(size - sizeof *item - name_size);
    item->name_size = (uint8_t)name_size;
    return (uint32_t)(offset / ALIGNMENT + 1);
}

/* False: there is no room, and nothing has changed. */
static bool item_set(struct kith_pack *pack, const char *name, size_t size, enum state state,
                     struct kith_bytes row, uint64_t at)
{
    uint32_t hash = kith_entry_hash(name, size);
    if (pack->count + 1 > pack->slot_count / 4 * 3 && !slots_grow(pack)) {
        return false;
    }
    struct slot *slot = slot_of(pack, name, size, hash);
    struct item *item = slot->place == 0 ? NULL : item_at(pack, slot->place);
    if (item == NULL || item->room < row.size) { /* what is too small is left where it is */
        uint32_t place = place_new(pack, size, row.size);
        if (place == 0) {
            return false;
        }
        pack->count += item == NULL ? 1 : 0;
        slot->hash = hash;
        slot->place = place;
        item = item_at(pack, place);
        memcpy(item->name, name, size);
    }
    item->at = at;
    item->state = (uint8_t)state;
    item->size = (uint16_t)row.size;
    if (row.size > 0) {
        memcpy(item->name + size, row.data, row.size);
    }
    return true;
}

/* ---- Rows ---- */

bool kith_pack_encode(const struct kith_seen *seen, struct kith_buf *buf)
{
    uint64_t size = seen->bare ? seen->size : seen->record.target.size;
    uint64_t allocated = seen->bare ? seen->allocated : 0;
    if (!seen->live || seen->link || seen->degraded ||
        (!seen->bare && seen->record.contents.size > 0 &&
         kith_content_image_stat(seen->record.contents, &size, &allocated) != KITH_OK)) {
        return false;
    }
    struct kith_inode_record record = seen->record;
    record.contents = kith_bytes_make(NULL, 0);
    kith_buf_put_u8(buf, seen->attr_row ? 1 : 0);
    kith_buf_put_varint(buf, size);
    kith_buf_put_varint(buf, allocated);
    kith_buf_put_u64(buf, seen->dot.actor.run);
    kith_buf_put_varint(buf, seen->dot.actor.epoch);
    kith_buf_put_varint(buf, seen->dot.counter);
    kith_buf_put_sized(buf, seen->ctx);
    kith_buf_put_sized(buf, seen->attr_ctx);
    kith_inode_record_encode(&record, buf);
    return !buf->failed && buf->size <= ROW_MAX;
}

/* Borrows from the row. */
static bool decode(struct kith_arena *arena, struct kith_bytes row, struct kith_seen *ret_seen)
{
    struct kith_reader reader;
    memset(ret_seen, 0, sizeof *ret_seen);
    kith_reader_init(&reader, row);
    ret_seen->live = ret_seen->bare = true;
    ret_seen->attr_row = kith_read_u8(&reader) != 0;
    ret_seen->size = kith_read_varint(&reader);
    ret_seen->allocated = kith_read_varint(&reader);
    ret_seen->dot.actor.run = kith_read_u64(&reader);
    ret_seen->dot.actor.epoch = kith_read_varint(&reader);
    ret_seen->dot.counter = kith_read_varint(&reader);
    ret_seen->ctx = kith_read_sized(&reader, ROW_MAX);
    ret_seen->attr_ctx = kith_read_sized(&reader, ROW_MAX);
    size_t left = kith_reader_left(&reader);
    struct kith_bytes record = kith_bytes_make(kith_read(&reader, left), left);
    bool ok = !reader.failed &&
              kith_inode_record_decode(arena, record, &ret_seen->record) == KITH_OK;
    ret_seen->row_id = ret_seen->record.file_id;
    return ok;
}

/* ---- Beginning and end ---- */

struct kith_pack *kith_pack_of(struct kith_inode *dir)
{
    uint64_t live = kith_watch_live(dir); /* where that is another one now, the pack goes */
    struct kith_pack *pack = dir->dir->pack;
    KITH_ASSERT(pack == NULL || pack->live == live);
    if (pack != NULL) {
        pack->used_at = kith_mono_ns();
    }
    return pack;
}

struct kith_pack *kith_pack_begin(struct kith_fs *fs, struct kith_inode *dir)
{
    uint64_t live = kith_watch_live(dir);
    KITH_ASSERT(dir->dir->pack == NULL);
    if (live == 0 || dir->dir->pack_refused == live) {
        return NULL;
    }
    struct kith_pack *pack = kith_calloc(1, sizeof *pack);
    if (pack == NULL) {
        return NULL;
    }
    pack->fs = fs;
    pack->live = live;
    pack->ahead.number = ++fs->load_count;
    if (!slots_grow(pack)) {
        kith_free(pack);
        return NULL;
    }
    pack->dir = dir;
    pack->used_at = kith_mono_ns();
    pack->next = fs->packs;
    pack->link = &fs->packs;
    if (pack->next != NULL) {
        pack->next->link = &pack->next;
    }
    fs->packs = pack;
    dir->dir->pack = pack;
    return pack;
}

void kith_pack_drop(struct kith_inode *dir)
{
    struct kith_pack *pack = dir->dir->pack;
    if (pack == NULL) {
        return;
    }
    dir->dir->pack = NULL;
    *pack->link = pack->next;
    if (pack->next != NULL) {
        pack->next->link = pack->link;
    }
    /* what the items remembered: the entries of names may be made again without them */
    dir->dir->told_at = dir->dir->told_at > pack->left_at ? dir->dir->told_at : pack->left_at;
    uncharge(pack, pack->bytes);
    for (uint32_t i = 0; i < pack->block_count; i++) {
        kith_free(pack->blocks[i]);
    }
    kith_free(pack->blocks);
    kith_free(pack->slots);
    kith_octets_clear(&pack->ahead.after);
    kith_free(pack);
}

void kith_pack_sweep(struct kith_fs *fs, uint64_t now)
{
    struct kith_pack *next;
    for (struct kith_pack *pack = fs->packs; pack != NULL; pack = next) {
        next = pack->next;
        if (now > pack->used_at + IDLE_NS) {
            kith_pack_drop(pack->dir);
        }
    }
}

struct kith_ahead *kith_pack_ahead(struct kith_pack *pack)
{
    return &pack->ahead;
}

/* ---- Rows come in ---- */

bool kith_pack_saw(struct kith_inode *dir, const char *name, size_t size,
                   const struct kith_bytes *row, bool live, uint64_t started)
{
    struct kith_pack *pack = dir->dir->pack;
    const struct item *item = pack == NULL ? NULL : item_find(pack, name, size);
    if (pack == NULL || (item != NULL && item->at >= started)) {
        return pack != NULL;
    }
    const struct kith_bytes none = {NULL, 0};
    if (!live) {
        return item == NULL || item_set(pack, name, size, STATE_MISSING, none, started);
    }
    return row != NULL ? item_set(pack, name, size, STATE_KNOWN, *row, started)
                       : item_set(pack, name, size, STATE_UNKNOWN, none, started);
}

/* All of it is what a quorum would say, and none of it is anybody's but the row's. */
static bool packable(const struct kith_entry *entry)
{
    const struct kith_inode *inode = entry->inode;
    if (inode->shared || entry->link || inode->name_count > 0 || !inode->has_dot ||
        inode->is_open || inode->opens > 0 || inode->content != NULL || kith_inode_dirty(inode) ||
        inode->attr_changed != 0 || inode->untold || inode->row_busy || inode->queued ||
        inode->made || inode->aside != NULL) {
        return false;
    }
    return inode->dir == NULL || (!inode->dir->removed && inode->dir->mark.size == 0 &&
                                  inode->dir->touched_at == 0 && !inode->dir_busy);
}

static bool row_of(const struct kith_entry *entry, struct kith_buf *buf)
{
    const struct kith_inode *inode = entry->inode;
    struct kith_seen seen;
    memset(&seen, 0, sizeof seen);
    seen.live = seen.bare = true;
    seen.size = inode->size;
    seen.allocated = inode->allocated;
    seen.dot = inode->dot;
    seen.attr_row = inode->attr_row;
    seen.ctx = kith_octets_bytes(&entry->ctx);
    seen.attr_ctx = kith_octets_bytes(&inode->attr_ctx);
    kith_inode_record_of(inode, &seen.record);
    return kith_pack_encode(&seen, buf);
}

bool kith_pack_evicts(const struct kith_entry *entry)
{
    struct kith_inode *dir = entry->dir;
    struct kith_pack *pack = dir->dir->pack;
    if (pack == NULL) {
        return false;
    }
    const struct kith_inode *inode = entry->inode;
    uint64_t now = kith_mono_ns();
    /* whether that number still counts is looked at when the pack is used */
    bool knows = entry->live != 0 && entry->live == pack->live && !entry->link &&
                 kith_entry_current(entry) && (inode == NULL || inode->retry_at == 0);
    struct kith_buf buf;
    kith_buf_init(&buf);
    enum state state = STATE_UNKNOWN;
    if (knows && inode == NULL) {
        state = STATE_MISSING;
    } else if (knows && packable(entry) && row_of(entry, &buf)) {
        state = STATE_KNOWN;
    }
    if (state != STATE_KNOWN) {
        kith_buf_clear(&buf);
    }
    bool needless = state == STATE_MISSING && pack->ahead.whole &&
                    item_find(pack, entry->name, entry->name_size) == NULL;
    bool ok = needless || item_set(pack, entry->name, entry->name_size, state, kith_buf_bytes(&buf),
                                   now);
    kith_buf_release(&buf);
    pack->left_at = now;
    if (!ok) { /* it is not whole any more, and what it knows is in the way of what comes */
        dir->dir->pack_refused = pack->live;
        kith_pack_drop(dir);
    }
    return ok;
}

/* ---- Names are asked for ---- */

uint64_t kith_pack_told(const struct kith_inode *dir, const char *name, size_t size)
{
    const struct kith_pack *pack = dir->dir->pack;
    const struct item *item = pack == NULL ? NULL : item_find(pack, name, size);
    return item == NULL ? 0 : item->at - 1; /* what began then counts */
}

bool kith_pack_lacks(struct kith_inode *dir, const char *name)
{
    const struct kith_pack *pack = kith_pack_of(dir);
    if (pack == NULL) {
        return false;
    }
    const struct item *item = item_find(pack, name, strlen(name));
    return item == NULL ? pack->ahead.whole : item->state == STATE_MISSING;
}

/* An entry of what is known of the name; NULL: it is to be asked for. */
static struct kith_entry *unpack(struct kith_fs *fs, struct kith_inode *dir, const char *name,
                                 const struct item *item)
{
    struct kith_arena arena;
    struct kith_seen seen;
    struct kith_link_at at;
    struct kith_entry *entry = NULL;
    const uint64_t since = item->at;
    kith_arena_init(&arena, 0);
    struct kith_bytes row = item_row(item); /* a copy: the pack may go while it is absorbed */
    row.data = kith_arena_copy(&arena, row.data, row.size);
    bool ok = row.data != NULL && decode(&arena, row, &seen) &&
              kith_inode_find(fs, seen.record.file_id) == NULL &&
              kith_inode_find(fs, kith_seen_other_id(seen.record.file_id, &seen.dot)) == NULL &&
              !kith_seen_other_row(fs, dir, name, &seen, &at);
    if (ok) {
        entry = kith_entry_make(fs, dir, name, strlen(name));
    }
    if (entry != NULL && kith_seen_absorb(fs, entry, &seen, since) != KITH_OK) {
        kith_entry_doubt(entry);
    }
    kith_arena_release(&arena);
    return entry;
}

struct kith_entry *kith_pack_entry(struct kith_fs *fs, struct kith_inode *dir, const char *name)
{
    const struct kith_pack *pack = kith_pack_of(dir);
    if (pack == NULL) {
        return NULL;
    }
    uint64_t live = pack->live;
    const struct item *item = item_find(pack, name, strlen(name));
    if (item != NULL && item->state != STATE_MISSING) {
        return item->state == STATE_KNOWN ? unpack(fs, dir, name, item) : NULL;
    }
    if (item == NULL && !pack->ahead.whole) {
        return NULL;
    }
    struct kith_entry *entry = kith_entry_make(fs, dir, name, strlen(name));
    if (entry != NULL) {
        entry->live = live;
    }
    return entry;
}

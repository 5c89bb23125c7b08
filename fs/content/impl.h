/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * impl.h - what the files of fs/content share. Nobody else includes it.
 *
 *     write -> piece (memory, one region) -> cut -> upload (a chunk; immutable; pinned in cache)
 *           -> acknowledged at `os` (memory free) -> synced (durable)
 *
 * Extents name a chunk from the cut on, also before it is acknowledged: a reader finds its bytes in
 * the cache, where they stay pinned until then. A read therefore sees pieces over extents, nothing
 * else.
 *
 * Locks, in the order in which they are taken:
 *     content->lock   all fields of the content, its pieces and uploads
 *     store->lock     cache table, budget, list of dirty contents, reference counts of contents
 * Neither is held while the client is called or waited for. Client callbacks take both for moments.
 * A flush marks `flushing` and goes without the lock while it waits. */
#ifndef KITH_FS_CONTENT_IMPL_H
#define KITH_FS_CONTENT_IMPL_H

#include <pthread.h>

#include "base/assert.h"
#include "fs/content/content.h"
#include "format/extents.h"

/* A mount is to stay within 200 MiB with 100,000 inodes known, which take 110. What is dirty is
 * uploaded while more comes, so a small budget is no slower than a large one. */
#define CACHE_BYTES_DEFAULT (64u << 20) /* clean and dirty together */
#define DIRTY_BYTES_DEFAULT (48u << 20)
#define CACHE_CLEAN_PART 4u /* a quarter of the cache is for what is clean, however much is dirty */
#define READAHEAD_DEFAULT (8u << 20)
#define TIMEOUT_DEFAULT_MS 10000u
#define UPLOADS_MAX 8u         /* of one content under way: 8 MiB, enough to hide a round trip */
#define SYNC_IDS_MAX 4096u     /* in one CHUNK_SYNC: 80 KiB */
#define SYNC_AGE_MS 600000u    /* younger chunks of other objects are synced by an fsync */
#define COMPACT_TRIES 3u       /* per flush and region, while somebody keeps writing */
#define PRESSURE_CONTENTS 64u  /* cut by one writer that finds the budget used up */

/* ---- store.c ---- */

enum entry_state { ENTRY_FETCHING, ENTRY_READY, ENTRY_FAILED };

/* One chunk in memory or on its way there. All fields protected by store->lock. */
struct entry {
    struct entry *hash_next;
    struct entry *lru_prev, *lru_next; /* only READY, unpinned and in the table */
    struct kith_content_store *store;
    struct kith_chunk_ref ref;
    struct kith_blob *blob; /* READY */
    enum entry_state state;
    enum kith_err err; /* FAILED */
    uint32_t refs;     /* the table's, each holder's, the fetch's */
    bool in_table, in_lru, pinned;
};

struct kith_content_store {
    struct kith_client *client;
    uint32_t volume;
    uint32_t timeout_ms;
    size_t cache_limit, dirty_limit;
    uint32_t readahead;
    pthread_mutex_t lock;
    pthread_cond_t cond; /* a fetch ended, dirty memory became free, an upload ended; monotonic */
    struct entry **buckets;
    size_t bucket_count;
    struct entry lru; /* ring; lru.lru_next is the most recently used */
    struct kith_content *dirty_head, *dirty_tail;
    uint32_t ops; /* requests under way */
    struct kith_content *all; /* contents */
    uint32_t lease_ms;
    uint64_t lease_look_ms; /* when they are looked at next */
    bool hard;
    uint64_t refusals; /* puts that were refused, see renew.c */
    struct kith_content_stats stats;
};

/* Puts a chunk that is about to be uploaded into the cache and keeps it there. ENOMEM. */
KITH_MUST_CHECK enum kith_err kith_store_pin(struct kith_content_store *store,
                                             const struct kith_chunk_ref *ref,
                                             struct kith_blob *blob);
/* It is stored (keep: from now on an ordinary cached chunk), or nobody needs it. */
void kith_store_unpin(struct kith_content_store *store, const struct kith_chunk_id *id, bool keep);
/* The entry of a chunk that is in the table, held; NULL otherwise. */
struct entry *kith_store_lookup(struct kith_content_store *store, const struct kith_chunk_id *id);
bool kith_store_is_pinned(struct kith_content_store *store, const struct kith_chunk_id *id);
/* The entry, held, with a fetch started where there was none. ENOMEM. EFORMAT: it is of another volume;
 * who may write to this one only would else have a mount with wider rights read it for him. */
KITH_MUST_CHECK enum kith_err kith_store_fetch(struct kith_content_store *store,
                                               const struct kith_chunk_ref *ref,
                                               struct entry **ret_entry);
/* Waits for a fetch; the blob is held for the caller. Drops the entry. */
KITH_MUST_CHECK enum kith_err kith_store_wait(struct entry *entry, struct kith_blob **ret_blob);
void kith_store_drop(struct entry *entry);
/* Dirty memory grew or shrank by so much. */
void kith_store_charge(struct kith_content_store *store, size_t more, size_t less);
/* Whether half of the dirty budget is used up. */
bool kith_store_is_pressed(struct kith_content_store *store);
void kith_store_op_begin(struct kith_content_store *store);
void kith_store_op_end(struct kith_content_store *store);

/* ---- content.c ---- */

/* Dirty bytes in one region that no chunk holds yet. Their blob has one owner. */
struct piece {
    uint64_t offset;
    uint32_t length;
    uint32_t capacity; /* of blob; charged to the budget */
    struct kith_blob *blob;
};

struct region {
    uint64_t start;
    uint32_t count, capacity;
    struct piece *pieces; /* sorted, not overlapping; may touch */
};

enum upload_state { UPLOAD_QUEUED, UPLOAD_SENT, UPLOAD_FAILED, UPLOAD_STORED, UPLOAD_STATES };

struct upload {
    struct upload *prev, *next; /* in content->uploads[state] */
    struct kith_content *content;
    struct kith_chunk_ref ref;
    struct kith_blob *blob; /* NULL once STORED */
    enum upload_state state;
    enum kith_image_kind kind; /* EXTENTS: data; LEAF, LISTS: a list or index chunk */
    uint64_t start;            /* the region, leaf or index chunk that names it */
    uint64_t wanted;           /* serial of the flush that waits for it */
    size_t charge;
    uint32_t ref_count;
    struct kith_chunk_id *refs;
};

struct upload_list {
    struct upload *head, *tail;
    uint32_t count;
};

struct kith_content {
    struct kith_content_store *store;
    uint32_t refs;                              /* protected by store->lock: owner, uploads */
    bool listed;                                /* protected by store->lock */
    struct kith_content *dirty_prev, *dirty_next; /* protected by store->lock */
    struct kith_content *all_prev, *all_next;     /* protected by it, too, like the next one */
    uint64_t leased_ms; /* or seen first; 0: not yet */

    pthread_mutex_t lock; /* protects all that follows */
    pthread_cond_t cond;  /* an upload ended, a flush ended, lists are loaded */
    uint64_t size;
    uint64_t generation, flushed;
    bool is_inline;
    uint8_t *bytes; /* inline: `size` bytes */
    size_t bytes_capacity, bytes_charged;
    struct kith_extents extents;
    struct kith_image lists; /* LISTS or INDEX that are not loaded yet; else kind INLINE */
    uint8_t *lists_bytes;    /* what lists.body borrows */
    bool loading;
    uint32_t index_count; /* index chunks of the last image */
    struct kith_chunk_ref *index;
    uint32_t region_count, region_capacity;
    struct region *regions; /* sorted */
    struct upload_list uploads[UPLOAD_STATES];
    bool paused; /* the queue waits: an upload failed, or a flush is preparing */
    bool dead;
    enum kith_err failure; /* of a background upload, not yet reported */
    bool flushing;
    uint64_t flush_serial;
    uint32_t flush_waiting;   /* uploads that the flush wants and that are not stored */
    enum kith_err flush_err;
    size_t prune_at;          /* prune the stored ones above so many */
    bool others_synced;       /* chunks that came with the image were made durable */
    uint64_t refusals;        /* of the store's: all that it names was there after so many */
    uint64_t next_offset;     /* where a sequential reader goes on */
    uint64_t window;          /* bytes to read ahead; 0 = not sequential */
};

static inline uint64_t kith_region_of(uint64_t offset)
{
    return offset - offset % KITH_REGION_SIZE;
}
static inline size_t kith_min_size(size_t a, size_t b)
{
    return a < b ? a : b;
}
static inline uint64_t kith_min_u64(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

void kith_content_hold(struct kith_content *content);
void kith_content_drop(struct kith_content *content);
/* With the lock. Marks a change: dirty, and known to the store. */
void kith_content_touch(struct kith_content *content);
/* With the lock (given up while it waits): extents are there afterwards. */
KITH_MUST_CHECK enum kith_err kith_content_load(struct kith_content *content);

/* ---- lease.c ---- */

#define LEASE_DEFAULT_MS 21600000u /* 6 h, of the 24 that nodes wait */
void kith_lease_list(struct kith_content *content);
/* With store->lock. */
void kith_lease_unlist(struct kith_content *content);

/* ---- renew.c ---- */

uint64_t kith_renew_refusals(struct kith_content_store *store);
/* With the lock, given up meanwhile, by the flush, with all that is dirty cut: where a put was
 * refused since the last time, chunks that are gone are replaced by new ones. EIO: some are, and
 * nobody has their bytes. */
KITH_MUST_CHECK enum kith_err kith_content_renew(struct kith_content *content);

/* ---- flush.c ---- */

/* With the lock, given up meanwhile, by the flush: lets what it has made leave before that takes
 * more memory than there is for what is dirty. */
void kith_flush_relieve(struct kith_content *content);

/* ---- write.c; all with the lock ---- */

/* From inline bytes to extents and one piece. ENOMEM: nothing changed. */
KITH_MUST_CHECK enum kith_err kith_content_spread(struct kith_content *content);
void kith_content_inline_charge(struct kith_content *content, bool dirty);
KITH_MUST_CHECK enum kith_err kith_pieces_write(struct kith_content *content, uint64_t offset,
                                                const uint8_t *data, size_t size);
/* Drops dirty bytes in [offset, end). */
KITH_MUST_CHECK enum kith_err kith_pieces_punch(struct kith_content *content, uint64_t offset,
                                                uint64_t end);
void kith_pieces_release(struct kith_content *content);
/* The first region whose end is after `offset`. */
uint32_t kith_regions_seek(const struct kith_content *content, uint64_t offset);

/* ---- upload.c ---- */

/* With the lock: a chunk with these bytes (taken over on success), queued. ENOMEM. */
KITH_MUST_CHECK enum kith_err kith_upload_new(struct kith_content *content,
                                              enum kith_image_kind kind, uint64_t start,
                                              struct kith_blob *blob, size_t charge,
                                              struct upload **ret_upload);
/* With the lock: every piece of the region becomes chunks and extents. */
KITH_MUST_CHECK enum kith_err kith_region_cut(struct kith_content *content, uint32_t index);
KITH_MUST_CHECK enum kith_err kith_regions_cut(struct kith_content *content);
/* Without the lock: sends what is queued, up to UPLOADS_MAX. */
void kith_uploads_pump(struct kith_content *content);
/* With the lock: moves it to another state's list. */
void kith_upload_move(struct upload *upload, enum upload_state state);
/* With the lock: to the front of its list. */
void kith_upload_first(struct upload *upload);
/* With the lock: drops it (not a SENT one). */
void kith_upload_drop(struct upload *upload);
bool kith_upload_is_named(const struct upload *upload);

#endif

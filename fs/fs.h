/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * fs.h - the mount: what it keeps in memory, its locks and its threads.
 *
 * A mount knows INODES (kith_inode, one for each file id, found by id; the kernel's node id is its
 * address) and ENTRIES (kith_entry: a name in a directory, found in the directory's hash table). An
 * entry is what was last seen of one row: its context, and the inode that the name leads to, or
 * none ("no such file"). It is worth something for entry_timeout after the read that it comes from.
 *
 *     directory inode -- dir.buckets --> entry --(1 ref)--> inode --(content)--> contents (open or
 * dirty)
 *            ^-----------(1 ref)-----------'    ^-- inode->entry: the name by which it is put --'
 *
 * References of an inode: one for each entry that leads to it, one for each entry in it (a
 * directory), the kernel's lookups, open handles, and one for each request or flush that works on
 * it. It dies with the last. The sweep removes entries that nobody used for a while and whose inode
 * only they hold.
 *
 * WRITES WAIT. A created file is "pending": it exists in this mount and nowhere else. Written data
 * lies in the content; write_version != write_flushed says that the row must be put. The flush
 * (flush.c) puts name, attributes and contents as one row. Changes of attributes after that wait up
 * to ATTR_DELAY_NS.
 *
 * CONTEXTS. entry->ctx is the row as last seen, without the version that bears the name: what a put
 * must send to replace just that version. An open file has its own, open_ctx, taken when it was
 * opened first and moved only by this mount's acknowledged puts, so that a concurrent edit becomes
 * a sibling and no loss. Where the file is opened again and its contents are renewed, the context
 * is that of the newer ones; who writes through a handle from before then writes without any.
 *
 * LOCKS, in this order:
 *   1. inode->dir_busy  who changes names in a directory (all needed ones are taken at once)
 *   2. inode->row_busy  who puts the row of an inode (all at once, never while waiting for 1)
 *   3. fs->lock         all tables and fields below; never held over a request to the cluster, a
 *                       function of content.h or a reply to the kernel
 *   4. the executor's own lock; the notifier's own lock
 * 1 and 2 are flags under fs->lock, waited for with fs->changed; they are held over requests.
 *
 * THREADS: libfuse's workers answer what memory can answer; the common requests that need the
 * cluster once (kith_start_*) they send themselves, and the client's callback answers; everything
 * else goes to the executor (executor.c), whose threads may wait; one timer thread (timer.c) starts
 * flushes that are due, answers interrupted requests and sweeps; one notifier (notify.c) talks to the
 * kernel, and a second process (guard.h) ends what hangs when this one dies while it does. The
 * client's threads wake waiters and end what kith_start_* sent; they never wait. An interrupted
 * request is answered EINTR where its caller means to end; its work goes on to its end. */
#ifndef KITH_FS_FS_H
#define KITH_FS_FS_H

#define FUSE_USE_VERSION 314
#include <fuse3/fuse_lowlevel.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/stat.h>
#include <sys/statvfs.h>

#include "base/assert.h"
#include "base/log.h"
#include "client/client.h"
#include "fs/content/content.h"
#include "fs/format/inode_format.h"
#include "fs/format/rowname.h"
#include "fs/guard.h"
#include "fs/options.h"

#define NSEC_PER_SEC   UINT64_C(1000000000)
#define FLUSH_DELAY_NS NSEC_PER_SEC /* an unsent byte waits at most this long */
#define FLUSH_LARGE_DELAY_NS                                                                       \
    (5 * NSEC_PER_SEC) /* the row of a large file: its chunks go out before */
#define ATTR_DELAY_NS      (NSEC_PER_SEC / 10)
#define INTERRUPT_GRACE_NS (80 * NSEC_PER_SEC / 1000) /* then EINTR: within 100 ms */
#define INTERRUPT_UNKNOWN_NS NSEC_PER_SEC /* a caller whose signals cannot be seen */
#define SWEEP_AGE_NS                                                                               \
    (15 * NSEC_PER_SEC) /* above the longest request, so no answer outlives an entry */
#define ENTRIES_MAX                                                                                \
    200000u /* known names; above it the kernel is asked to forget: 200,000 take ~90 MiB */
#define IMAGE_MAX      (24u << 10) /* bytes of an image that is kept with its inode */
#define IMAGES_MAX     (24u << 20) /* bytes of all kept images; beyond it the oldest goes */
#define LOAD_PAGES_MAX 16u /* a directory beyond this many pages is not read whole for lookups */
#define KITH_WRITE_MAX (1u << 20) /* bytes of a WRITE */
#define LARGE_CONTENT  (1u << 20) /* bytes; see FLUSH_LARGE_DELAY_NS */

/* Bytes on the heap; zero = empty. */
struct kith_octets {
    uint8_t *data;
    size_t size;
};

struct kith_entry;
struct kith_left;

struct kith_dir {
    struct kith_group group;
    struct kith_entry **buckets; /* a power of two; NULL until the first entry */
    uint32_t bucket_count, entry_count;
    uint64_t complete_until; /* until then a name that is not in the table does not exist */
    uint64_t miss_since;
    uint32_t misses; /* lookups that needed the network since then */
    bool loading;    /* a scan for lookups is under way */
    bool removed;    /* rmdir took it: nothing can be made in it */
    struct kith_octets mark; /* takes this mount's "removed" off its own row; empty: none is there */
    /* watch.c */
    struct kith_dir_watch *watch; /* NULL: none */
    uint64_t live, live_since;    /* the number under which its watch is live, 0: not; for sure since */
    uint64_t complete;      /* under this number a name that is not in the table does not exist */
    uint64_t complete_from; /* when the scan that showed the table complete began */
    uint64_t doubt_at;      /* when a name became unknown last */
    uint64_t told_at;       /* when a change was told last that may be of any name */
    uint64_t hold_until;    /* reads begun before count for their time only */
    uint64_t asked_since, listed_at;
    uint32_t asked;    /* questions that needed the network since then */
    bool watch_begins; /* somebody is about to begin one */
    bool large;        /* more than a page: not to be scanned for one name */
};

struct kith_inode {
    struct kith_inode *hash_next;
    uint64_t id; /* st_ino */
    enum kith_type type;
    uint32_t refs;
    uint64_t nlookup; /* the kernel's; counts as one ref while not zero */
    bool dir_busy, row_busy;
    bool unlinked;  /* no name left here: nothing is put any more */
    bool shared;    /* several names: the inode has a row of its own in share_group */
    bool share_own; /* share_group is a group of its own, not that of a directory */
    struct kith_group share_group;
    struct kith_entry *entry; /* a name that leads here; NULL for the root and when unlinked */
    struct kith_dir *dir;     /* directories */
    struct kith_attrs attrs;
    struct kith_time btime;
    uint64_t rdev;
    struct kith_octets target; /* symlinks */
    struct kith_octets unknown;
    uint32_t name_count; /* shared: its names */
    struct kith_link_name *names;
    uint64_t size, allocated;
    struct kith_dot dot; /* of the version in memory */
    bool has_dot;
    /* told.c */
    uint64_t told_size;    /* which the kernel was told last */
    uint64_t told_least, told_most; /* of those that it may have, or take yet */
    bool told;                      /* it was told one */
    bool told_in_vain;     /* it is about to change: what is told of it is to be asked again */
    bool told_noted;       /* the kernel is to ask for it, and was not told it since */
    uint32_t told_changes; /* sizes told that this mount's own writes did not make */
    pid_t told_again;      /* this thread's open was answered ESTALE for that */
    struct kith_dot kernel_dot; /* of the version whose pages the kernel has */
    bool has_kernel_dot;
    struct kith_octets ctx;      /* shared: of its own row */
    struct kith_octets open_ctx; /* while is_open */
    struct kith_octets attr_ctx; /* of the attribute row; empty = never seen one */
    bool attr_row;               /* the attribute row has versions */
    struct kith_octets image;    /* of the version in memory, where image_known */
    struct kith_chunk_id *image_refs;
    uint32_t image_ref_count;
    bool image_known;
    struct kith_inode *image_old, *image_young; /* among those with an image, by its age */
    uint64_t valid_until, changed_at;
    /* open or dirty */
    struct kith_content *content;
    uint32_t opens;
    uint64_t renewals;    /* of the contents of an open file; those before an open are its fh */
    uint64_t stale_below; /* nothing was written since the last one: handles below may not know it */
    bool is_open; /* opened or created here and not let go: open_ctx counts */
    bool opening; /* somebody reads it for an open */
    bool pending; /* never put */
    bool awaited; /* while pending: its maker waits for the put, and where that fails it never was */
    uint64_t made_at; /* this mount made it then; 0: another did, or nobody knows any more */
    uint64_t part_until; /* whole.c: a write may not be over until then; 0: it is */
    pid_t part_by;       /* this thread's */
    uint32_t parts;      /* there were so many */
    uint64_t write_version, write_flushed;
    uint64_t attr_version, attr_flushed;
    uint32_t attr_changed; /* bits not yet in any row */
    uint64_t dirty_since, attr_since, retry_at;
    bool os_only;  /* the last put was acknowledged at `os`, an fsync has still to do */
    bool attr_os_only; /* the same of the attribute row, where it was put last */
    bool recount; /* its names are to be held against the directories (linkset.c), then: */
    uint64_t recount_at;
    bool took;   /* shared: this mount has removed a name, and told the row so with the version */
    struct kith_dot took_dot;
    bool wrote;  /* shared: this mount has put contents since it saw that a name refers to it */
    bool untold; /* its names changed, and the row that says so could not be put: the timer does */
    bool queued;   /* in fs->dirty (one ref) */
    bool flushing; /* the timer has started its flush */
    struct kith_row_put *again; /* a put of its row whose outcome is unknown, row_put.c; row_busy */
    struct kith_inode *dirty_prev, *dirty_next;
};

struct kith_entry {
    struct kith_entry *next;        /* in its bucket */
    struct kith_entry *old, *young; /* in fs->entries, by last use */
    struct kith_inode *dir, *inode; /* inode NULL: no such file, as far as it is valid */
    struct kith_octets ctx;
    uint64_t valid_until, changed_at, used_at;
    uint64_t load;       /* the latest scan that saw it */
    uint64_t live;       /* under this number of the directory's watch a quorum says the same; 0: no */
    uint64_t told_at;    /* when a change of it was told last */
    uint64_t hold_until; /* as in kith_dir */
    uint32_t hash, pins;
    int32_t fresh_tid; /* this thread's lookup asked the cluster and found nothing */
    uint64_t dangling; /* since when it is known to refer to a row that is not there; 0: it does not */
    bool over;           /* the name was seen to lead elsewhere, and that is not taken over yet */
    bool link;         /* the row only refers to a shared inode, */
    struct kith_group link_group; /* whose row is in that group */
    uint8_t name_size;
    char name[];
};

struct kith_fs {
    const struct kith_fs_options *options;
    struct kith_client *client;
    struct kith_content_store *store;
    struct fuse_session *session;
    uint32_t volume;
    uint64_t entry_ns; /* entry_timeout */
    pthread_mutex_t lock;
    pthread_cond_t changed; /* a busy flag fell, a content is there */
    struct kith_inode *root;
    struct kith_inode **inodes; /* by id */
    uint32_t inode_buckets, inode_count;
    struct kith_entry *oldest, *youngest;
    uint32_t entry_count;
    struct kith_inode *dirty; /* ring of those with something to put */
    struct kith_left *left;   /* rows of shared inodes that are to be looked at, left.c */
    size_t image_bytes;
    struct kith_inode *image_oldest, *image_youngest; /* with an image of more than 0 bytes */
    uint64_t load_count;
    uint64_t random_state[2];
    atomic_bool put_trouble; /* since the last put that failed: nothing waits in memory */
    atomic_uint_fast64_t put_failures;
    struct statvfs statvfs;
    uint64_t statvfs_at;
    bool statvfs_busy;
    void (*on_ready)(void *arg, int code,
                     const char *message); /* told once, when the kernel asked INIT */
    void *on_ready_arg;
    struct kith_executor *executor;
    struct kith_notifier *notifier;
    struct kith_guard *guard; /* NULL: not guarded (guard.h); borrowed */
    struct kith_timer *timer;
    struct kith_watcher *watcher; /* NULL: no watches */
};

/* ---- clock.c, errno.c ---- */
uint64_t kith_mono_ns(void);
struct kith_time kith_wall_time(void);
/* The errno for a code: soft mounts answer EIO or ETIMEDOUT, never hang. */
int kith_errno(enum kith_err err);

/* ---- rows.c: requests to the cluster, errno in, errno out ---- */
KITH_MUST_CHECK bool kith_octets_set(struct kith_octets *octets, struct kith_bytes bytes);
void kith_octets_clear(struct kith_octets *octets);
static inline struct kith_bytes kith_octets_bytes(const struct kith_octets *octets)
{
    return kith_bytes_make(octets->data, octets->size);
}
/* Reads rows; *ret_answer must be released, whatever is returned. */
int kith_rows_get(struct kith_fs *fs, const struct kith_group *group,
                  const struct kith_bytes names[], uint32_t count,
                  struct kith_client_answer *ret_answer);
/* The same, never degraded. */
int kith_rows_get_strict(struct kith_fs *fs, const struct kith_group *group,
                         const struct kith_bytes names[], uint32_t count,
                         struct kith_client_answer *ret_answer);
/* strict: never degraded, for what must not be done on the word of fewer than a quorum. */
int kith_rows_scan(struct kith_fs *fs, const struct kith_group *group,
                   const struct kith_bytes *after, uint32_t max_rows, bool strict,
                   struct kith_client_answer *ret_answer);
/* Where the outcome is unknown the same goes again under the same request id until it is known or
 * the mount's deadline for a request has passed (ret_answer tells EUNKNOWN then). */
int kith_rows_put(struct kith_fs *fs, const struct kith_group *group,
                  enum kith_durability durability, const struct kith_put_update updates[],
                  uint32_t count, struct kith_client_answer *ret_answer);
/* The same for an op that has a request id, or (again, client.h) that was sent already; until: a
 * time of kith_mono_ns. */
int kith_rows_put_op(struct kith_fs *fs, const struct kith_client_op *op, uint64_t until,
                     struct kith_client_answer *ret_answer);
/* When a put that begins now is given up. */
uint64_t kith_rows_until(const struct kith_fs *fs);
/* Whether the put that ended so is to be put again: for callbacks, which let a thread do it. */
bool kith_rows_open(const struct kith_client_result *result, uint64_t until);
/* A put of one row that goes on while its sender does something else; wait ends it. update NULL: its
 * memory was short, and so is the put's outcome. */
struct kith_put_wait {
    struct kith_fs *fs;
    pthread_mutex_t lock; /* protects what follows */
    pthread_cond_t cond;
    bool done;
    int error;
};
void kith_rows_put_begin(struct kith_fs *fs, const struct kith_group *group,
                         const struct kith_put_update *update, struct kith_put_wait *ret_wait);
int kith_rows_put_wait(struct kith_put_wait *wait);
/* What a put came to, for callbacks: errno; the mount takes note of trouble. */
int kith_rows_put_end(struct kith_fs *fs, const struct kith_client_result *result, uint32_t count);
/* What replaces the version `winner` (NULL: none) of `row`: clock and the siblings that stay. In
 * the arena. */
KITH_MUST_CHECK enum kith_err kith_row_context(struct kith_arena *arena, const struct kith_row *row,
                                               const struct kith_sibling *winner,
                                               struct kith_bytes *ret_context);
/* Whether a row that was put has no other version than the one just put. */
bool kith_context_is_alone(struct kith_bytes context);
/* True when the mount may keep small writes for the group in memory. */
bool kith_fs_defers(struct kith_fs *fs, const struct kith_group *group);

/* ---- inode.c (fs->lock held, but for kith_fs_random) ---- */
uint64_t kith_fs_random(struct kith_fs *fs);
struct kith_inode *kith_inode_of(struct kith_fs *fs, fuse_ino_t ino);
fuse_ino_t kith_inode_ino(const struct kith_fs *fs, const struct kith_inode *inode);
struct kith_inode *kith_inode_find(struct kith_fs *fs, uint64_t id);
/* New, with one ref for the caller. NULL when memory is short. */
struct kith_inode *kith_inode_new(struct kith_fs *fs, uint64_t id, enum kith_type type);
/* It goes under another id from now on. */
void kith_inode_rename(struct kith_fs *fs, struct kith_inode *inode, uint64_t id);
void kith_inode_hold(struct kith_inode *inode);
void kith_inode_drop(struct kith_fs *fs, struct kith_inode *inode);
void kith_inode_forget(struct kith_fs *fs, struct kith_inode *inode, uint64_t count);
/* The row of its inode: group and name. False when it is unlinked. */
bool kith_inode_place(const struct kith_inode *inode, struct kith_group *ret_group,
                      struct kith_rowname *ret_name);
/* The context that its next put takes: the open one where there is one. */
struct kith_octets *kith_inode_ctx(struct kith_inode *inode);
/* The context of a put that takes the row of this name from the inode whose contents it has: what
 * an open file does not know of must not go with it. */
const struct kith_octets *kith_entry_ctx(const struct kith_entry *entry);
/* After an own put: all contexts of its row move on. */
KITH_MUST_CHECK bool kith_inode_moved_on(struct kith_inode *inode, struct kith_bytes context);
void kith_inode_image_set(struct kith_fs *fs, struct kith_inode *inode, struct kith_bytes image,
                          const struct kith_chunk_id *refs, uint32_t ref_count);
void kith_inode_image_forget(struct kith_fs *fs, struct kith_inode *inode);
KITH_MUST_CHECK bool kith_inode_names_set(struct kith_inode *inode,
                                          const struct kith_link_name names[], uint32_t count);
/* Those that a row was read with; own: the version that this mount put. What is untold stays; of
 * another's version all names stay, too: one too many does no harm, one that is missing would. */
KITH_MUST_CHECK bool kith_inode_names_take(struct kith_inode *inode,
                                           const struct kith_link_name names[], uint32_t count,
                                           bool own);
bool kith_inode_dirty(const struct kith_inode *inode);
/* Puts it among those the timer looks at. */
void kith_inode_enqueue(struct kith_fs *fs, struct kith_inode *inode);
void kith_inode_path(const struct kith_fs *fs, const struct kith_inode *inode, char *ret_path,
                     size_t size);
/* The record that a put of its row writes; borrows from the inode. */
void kith_inode_record_of(const struct kith_inode *inode, struct kith_inode_record *ret_record);
/* Waits until none of them is busy, then marks all. dirs: dir_busy, else row_busy. Distinct or
 * NULL. */
void kith_busy_take(struct kith_fs *fs, bool dirs, struct kith_inode *const inodes[],
                    unsigned count);
void kith_busy_give(struct kith_fs *fs, bool dirs, struct kith_inode *const inodes[],
                    unsigned count);
/* The same for one directory, without fs->lock. */
void kith_dir_take(struct kith_fs *fs, struct kith_inode *dir);
void kith_dir_give(struct kith_fs *fs, struct kith_inode *dir);

/* The end: frees every entry and inode, whoever held them. One thread is left. */
void kith_tables_free(struct kith_fs *fs);

/* ---- entry.c (fs->lock held) ---- */
struct kith_entry *kith_entry_find(const struct kith_inode *dir, const char *name);
/* Finds or makes (unknown yet). NULL when memory is short. */
struct kith_entry *kith_entry_make(struct kith_fs *fs, struct kith_inode *dir, const char *name,
                                   size_t size);
/* Points it to an inode (or none); the refs follow. */
void kith_entry_lead(struct kith_fs *fs, struct kith_entry *entry, struct kith_inode *inode);
void kith_entry_touch(struct kith_fs *fs, struct kith_entry *entry);
void kith_entry_remove(struct kith_fs *fs, struct kith_entry *entry);
/* Removes what nobody used since `before`; looks at no more than `most`. */
void kith_entry_sweep(struct kith_fs *fs, uint64_t before, uint32_t most);
void kith_dir_free(struct kith_fs *fs, struct kith_dir *dir);
/* The names, attributes and validity after this mount's own change. */
void kith_dir_changed(struct kith_inode *dir);
static inline struct kith_bytes kith_entry_bytes(const struct kith_entry *entry)
{
    return kith_bytes_make(entry->name, entry->name_size);
}
/* The name refers to a shared inode whose row is in that group. */
void kith_entry_refer(struct kith_entry *entry, const struct kith_group *group);
/* Whether what is known of the name fits what is known of its inode, and is not known to be over.
 * Another name may have told since that the inode has a row of its own, or another one, or none any
 * more, or that the file was renamed; then the name's context and the inode's contents are not of one
 * row, and the name must be read again before it is used. */
bool kith_entry_current(const struct kith_entry *entry);
/* Whether it still leads there, for who has waited since he looked; inode may be NULL. */
bool kith_entry_leads(const struct kith_entry *entry, const struct kith_inode *inode);
/* It does not, or what it leads to is not there any more: it must be read again. */
void kith_entry_doubt(struct kith_entry *entry);
#define KITH_LOOKS_MAX 4u /* at names that others change all the time, before that is an error */
/* Known well enough to be answered from memory at `now`; until when the kernel may keep it. */
bool kith_entry_valid(const struct kith_entry *entry, uint64_t now);
uint64_t kith_entry_until(const struct kith_fs *fs, const struct kith_entry *entry, uint64_t now);
/* True when the name is the place of writes that are not put yet: whoever removed or replaced it
 * meanwhile elsewhere has not seen them, so the name stays until they are put. fs->lock held. */
bool kith_entry_unsent(const struct kith_entry *entry);

/* ---- seen.c: rows as read, made into entries and inodes ---- */
struct kith_seen {
    bool live;                       /* a version bears the name */
    bool degraded;                   /* fewer than a quorum told it; set by who read it */
    bool link, resolved;             /* a link entry; its inode's row is in `record` too */
    bool unsettled;                  /* that row has versions with different names */
    struct kith_group link_group;    /* where that row is */
    struct kith_inode_record record; /* of the inode; of the link entry while not resolved */
    const struct kith_sibling *winner;
    struct kith_dot dot;
    struct kith_bytes ctx;       /* of the entry's row */
    struct kith_bytes inode_ctx; /* of the shared inode's row */
    bool attr_row;
    struct kith_bytes attr_ctx;
};
/* Everything lies in the arena or borrows from the rows. attr NULL = not known. */
KITH_MUST_CHECK enum kith_err kith_seen_entry(struct kith_arena *arena, const struct kith_row *row,
                                              const struct kith_row *attr,
                                              struct kith_seen *ret_seen);
KITH_MUST_CHECK enum kith_err kith_seen_shared(struct kith_arena *arena, const struct kith_row *row,
                                               const struct kith_row *attr, struct kith_seen *seen);
/* Two rows may have one file id: two mounts renamed a file at once, or one gave it a second name.
 * They are two files then. The id that the version `dot` of a row goes under in a mount that has met
 * the id elsewhere, too; its next put writes it. The same for every mount. */
uint64_t kith_seen_other_id(uint64_t id, const struct kith_dot *dot);
/* fs->lock held. The name that the file stands under as far as memory knows, where that is not the
 * one, nor a row, that was seen: it must be read before what was seen is absorbed. Else NULL. */
struct kith_entry *kith_seen_elsewhere(struct kith_fs *fs, struct kith_inode *dir, const char *name,
                                       const struct kith_seen *seen);
/* fs->lock held. Takes note of what a request that began at `started` saw. */
KITH_MUST_CHECK enum kith_err kith_seen_absorb(struct kith_fs *fs, struct kith_entry *entry,
                                               const struct kith_seen *seen, uint64_t started);
KITH_MUST_CHECK enum kith_err kith_seen_inode(struct kith_fs *fs, struct kith_inode *inode,
                                              const struct kith_seen *seen, uint64_t started);
/* fs->lock held. Whether that took all of it over, so that the inode is now as was seen. */
bool kith_seen_taken(const struct kith_inode *inode, const struct kith_seen *seen,
                     uint64_t started);

/* ---- dir_read.c (may wait) ---- */
/* Reads one name by quorum; the entry comes back pinned. */
int kith_dir_read(struct kith_fs *fs, struct kith_inode *dir, const char *name,
                  struct kith_entry **ret_entry);
/* What a request that began at `started` saw of one name, into the tables; the entry comes back
 * pinned. Does not wait. */
int kith_dir_saw(struct kith_fs *fs, struct kith_inode *dir, const char *name,
                 const struct kith_seen *seen, uint64_t started, struct kith_entry **ret_entry);
/* Removes a name that refers to a row that is not there; dir_busy held, or nobody has put the row for
 * so long that nobody will. Else EIO. */
int kith_dir_remove_dangling(struct kith_fs *fs, struct kith_inode *dir, const char *name);
/* Reads the row of an inode again by quorum and takes note of it. ESTALE when its name leads to
 * another file now. The answer must be released, whatever is returned; ret_seen borrows from it and
 * the arena. */
int kith_inode_read(struct kith_fs *fs, struct kith_inode *inode, struct kith_arena *arena,
                    struct kith_client_answer *ret_answer, struct kith_seen *ret_seen);
/* What that does with the rows (name, attributes) that it read. shared: the group of a shared inode's
 * row, else NULL. Does not wait. */
int kith_inode_saw(struct kith_fs *fs, struct kith_inode *inode, const struct kith_group *shared,
                   struct kith_arena *arena, const struct kith_client_result *result,
                   uint64_t started, struct kith_seen *ret_seen);

/* ---- dir_page.c (may wait) ---- */
/* One page behind `after` (NULL: from the first row) into the entries. each: for every entry with
 * its lock-free name; stops at an error. */
struct kith_dir_page {
    bool strict; /* given: no degraded answer */
    bool more, degraded;
    struct kith_bytes last; /* in the arena */
};
typedef int (*kith_dir_each)(void *arg, const char *name, size_t size, enum kith_type type,
                             uint64_t id);
int kith_dir_page(struct kith_fs *fs, struct kith_inode *dir, const struct kith_bytes *after,
                  uint64_t load, struct kith_arena *arena, kith_dir_each each, void *arg,
                  struct kith_dir_page *ret_page);
/* What that does with the page that a scan begun at `started` brought. Does not wait. */
int kith_dir_page_saw(struct kith_fs *fs, struct kith_inode *dir,
                      const struct kith_client_result *result, uint64_t load, uint64_t started,
                      struct kith_arena *arena, kith_dir_each each, void *arg,
                      struct kith_dir_page *ret_page);

/* ---- dir.c: what is known of a directory (may wait) ---- */
/* fs->lock held. Counts a lookup that needs the network; true when the directory should be read
 * whole now. */
bool kith_dir_missed(struct kith_dir *dir, uint64_t now);
/* fs->lock held. True: the next question in this directory is better put as a scan of a page, after
 * which its watch answers. */
bool kith_dir_scan_due(struct kith_inode *dir);
/* fs->lock held. The entry of a name that is not in the table, where that means that it does not exist;
 * else NULL. */
struct kith_entry *kith_dir_missing(struct kith_fs *fs, struct kith_inode *dir, const char *name,
                                    uint64_t now);
/* fs->lock held. Every name is in the table and none is unknown: it can be listed from memory. */
bool kith_dir_listable(struct kith_inode *dir, uint64_t now);
/* The entry as this mount knows it, read again where it is not valid any more. Pinned. */
int kith_dir_entry(struct kith_fs *fs, struct kith_inode *dir, const char *name,
                   struct kith_entry **ret_entry);
void kith_entry_unpin(struct kith_fs *fs, struct kith_entry *entry);
/* The scan that is due: one page, so that lookups can be answered from memory. */
void kith_dir_scan(struct kith_fs *fs, struct kith_inode *dir);
/* fs->lock held. All pages of `load`, begun at `started`, are read: what it did not see is not
 * there. */
void kith_dir_complete(struct kith_fs *fs, struct kith_inode *dir, uint64_t load, uint64_t started);
/* As far as this mount knows just now; it knows. */
bool kith_dir_seems_empty(struct kith_fs *fs, struct kith_inode *dir);
/* 0 when a fresh scan by quorum finds no entry, ENOTEMPTY, or an error. */
int kith_dir_empty(struct kith_fs *fs, struct kith_inode *dir);

/* ---- image.c ---- */
/* Image of the contents as they are now, for a put; *ret_generation for kith_inode_image_stored. */
struct kith_image {
    struct kith_bytes bytes;
    uint32_t ref_count;
    const struct kith_chunk_id *refs;
    uint64_t size, allocated, generation, write_version, attr_version;
    bool flushed; /* comes from kith_content_flush */
};
int kith_inode_image(struct kith_fs *fs, struct kith_inode *inode, enum kith_durability durability,
                     struct kith_arena *arena, struct kith_image *ret_image);
/* The same from memory alone: EBUSY where it would have to wait. row_busy held. */
int kith_inode_image_now(struct kith_fs *fs, struct kith_inode *inode, struct kith_arena *arena,
                         struct kith_image *ret_image);
/* The row with this image is stored under `dot`; without fs->lock, row_busy held. */
void kith_inode_image_stored(struct kith_fs *fs, struct kith_inode *inode,
                             const struct kith_image *image, const struct kith_dot *dot,
                             enum kith_durability durability);

/* ---- row_put.c ---- */
/* Puts the row itself or, attrs, the attribute row beside it, and waits. row_busy held. */
int kith_inode_put_one(struct kith_fs *fs, struct kith_inode *inode,
                       enum kith_durability durability, bool attrs);
/* The same without waiting, as kith_inode_put_begin does it. */
KITH_MUST_CHECK bool kith_inode_put_one_begin(struct kith_fs *fs, struct kith_inode *inode,
                                              enum kith_durability durability, bool attrs,
                                              void (*done)(void *arg, int error), void *arg);
/* To be called before names or rows of the inode are changed otherwise: a put of its row whose
 * outcome is unknown is put again, the same under the same request id, so that nothing of it comes
 * back later. 0 when there is none (any more). row_busy held. */
int kith_inode_put_again(struct kith_fs *fs, struct kith_inode *inode);
/* Forgets it. */
void kith_inode_put_forget(struct kith_inode *inode);

/* ---- flush.c (may wait) ---- */
int kith_inode_flush(struct kith_fs *fs, struct kith_inode *inode, enum kith_durability durability);
/* The same with row_busy held by the caller. */
int kith_inode_flush_busy(struct kith_fs *fs, struct kith_inode *inode,
                          enum kith_durability durability);
/* The same without waiting, row_busy held: begins the put and calls `done` once with its outcome,
 * on a client's thread or here; row_busy stays the caller's, who also holds the inode until then.
 * False: a thread must do it, or there is nothing to put; `done` is not called. */
KITH_MUST_CHECK bool kith_inode_put_begin(struct kith_fs *fs, struct kith_inode *inode,
                                          enum kith_durability durability,
                                          void (*done)(void *arg, int error), void *arg);
struct kith_job;
/* What is unsent of the job's inode, with the job taken over: row_busy is taken, and `done`, who
 * gets the job, gives it back and ends the job. Else job->run does it in a thread. */
void kith_start_put(struct kith_job *job, enum kith_durability durability,
                    void (*done)(void *job, int error));
/* A put of something unsent failed: it stays unsent, the timer tries again. */
void kith_inode_flush_failed(struct kith_fs *fs, struct kith_inode *inode, int error);
/* Counts and logs a put that failed. */
void kith_put_failed(struct kith_fs *fs, const struct kith_inode *inode, int error);
/* Everything that is unsent, until the deadline; names what could not be put. Returns how many. */
unsigned kith_fs_flush_all(struct kith_fs *fs, uint64_t deadline);

/* ---- open.c (may wait) ---- */
/* Opens: content made or renewed from a fresh read. */
/* To be called before the row of a file gets another place or other names: where it is open with
 * an older version than its row has been seen with, and nothing is unsent, it takes over the newer
 * one, as with an open; the row of a shared inode is read where memory is over. With something
 * unsent it keeps its own, and what replaces the row leaves the other beside it (kith_entry_ctx).
 * row_busy held. */
int kith_inode_renew(struct kith_fs *fs, struct kith_inode *inode);
/* fs->lock held. Whether kith_inode_renew has something to do. */
bool kith_inode_outdated(const struct kith_inode *inode);
int kith_inode_open(struct kith_fs *fs, struct kith_inode *inode, bool *ret_keep_cache);
void kith_inode_close(struct kith_fs *fs, struct kith_inode *inode);
/* Lets go of the contents where nobody needs them any more. */
void kith_inode_settle(struct kith_fs *fs, struct kith_inode *inode);
/* The same for threads that must not wait: where the row is busy a thread of the executor does it. */
void kith_inode_settle_soon(struct kith_fs *fs, struct kith_inode *inode);
/* The contents of an open file, made at the first use. */
int kith_inode_content(struct kith_fs *fs, struct kith_inode *inode,
                       struct kith_content **ret_content);
/* It has been written to through that handle. Where the contents were renewed since it was opened,
 * its writer may not have seen them: they stay beside what he wrote. An append keeps them anyway. */
void kith_inode_written_by(struct kith_fs *fs, struct kith_inode *inode,
                           const struct fuse_file_info *fi);
/* A write or truncate has happened: the size, times, and when it must go out. */
void kith_inode_written(struct kith_fs *fs, struct kith_inode *inode, uint64_t size);
/* O_TRUNC of a file that the job has just opened: nothing is left of it, nor of its set-id bits, but
 * where root opens. Where that fails it is closed. */
int kith_inode_cut(struct kith_job *job, struct kith_inode *inode);
/* Puts at once where nothing may wait in memory. */
int kith_inode_write_through(struct kith_fs *fs, struct kith_inode *inode);

/* ---- attr.c ---- */
/* What the kernel is told. fs->lock held. */
void kith_inode_stat(struct kith_inode *inode, struct stat *ret_stat);
/* fs->lock held. Its names are about to change: its ctime does, and goes with the row that is put for
 * that. */
void kith_inode_named(struct kith_inode *inode);
void kith_do_setattr(struct kith_job *job);
void kith_do_getattr(struct kith_job *job);
/* One attribute row update for a batch; in the arena. fs->lock held. */
KITH_MUST_CHECK enum kith_err kith_attr_update(struct kith_inode *inode, struct kith_arena *arena,
                                               struct kith_rowname *name,
                                               struct kith_put_update *ret_update);

/* ---- told.c: the size that the kernel has of a file (fs->lock held, but for kith_told_before) ---- */
/* Its size goes to the kernel. */
void kith_told_size(struct kith_inode *inode);
/* Its size is another after a write, truncate and the like. */
void kith_told_written(struct kith_inode *inode);
/* For how long the kernel may keep that, of so many seconds. checked: it drops the answer where it
 * has learnt a size since it asked, as with LOOKUP, GETATTR and READDIRPLUS. */
double kith_told_timeout(const struct kith_inode *inode, double seconds, bool checked);
/* The kernel does not know the file any more. */
void kith_told_forget(struct kith_inode *inode);
/* The contents are about to be replaced by others of that size. Where the kernel may have a smaller
 * one, from now on who reads asks for it. True: kith_told_after follows when the size is the new
 * one, or will not be. row_busy held; not fs->lock. */
KITH_MUST_CHECK bool kith_told_before(struct kith_fs *fs, struct kith_inode *inode, uint64_t size);
void kith_told_after(struct kith_inode *inode);
/* Before an open is answered, which counts in inode->opens: the kernel has the size of what was
 * opened, or asks for it. True: it must have it at once, and is to look up the name and to open
 * once more (ESTALE). fs->lock comes and goes. */
KITH_MUST_CHECK bool kith_told_open(struct kith_fs *fs, struct kith_inode *inode, int flags,
                                    pid_t thread);

/* ---- executor.c ---- */
struct kith_job {
    struct kith_job *next;                /* in the queue */
    struct kith_job *int_prev, *int_next; /* among the interrupted */
    struct kith_fs *fs;
    fuse_req_t req;
    void (*run)(struct kith_job *);
    void (*done)(struct kith_job *, const struct kith_client_result *); /* kith_job_send */
    void *state;      /* of the request under way */
    uint64_t started; /* when it was sent */
    uint64_t load;    /* of a scan */
    bool answered, interrupted; /* protected by the executor's lock */
    uint64_t interrupted_at, judge_at;
    struct fuse_ctx ctx;
    struct kith_inode *inode, *inode2; /* one ref each */
    struct fuse_file_info fi, fi2;
    bool has_fi;
    int flags;
    mode_t mode;
    dev_t rdev;
    off_t offset, offset2;
    size_t size;
    struct stat attr;
    int whence;
    uint8_t *data; /* on the heap, the job's */
    char name[KITH_FS_NAME_MAX + 1], name2[KITH_FS_NAME_MAX + 1];
};
KITH_MUST_CHECK enum kith_err kith_executor_new(struct kith_fs *fs,
                                                struct kith_executor **ret_executor);
/* Runs what is queued, then ends the threads. */
void kith_executor_free(struct kith_executor *executor);
/* A job for a request (req NULL: work of the mount itself). NULL when memory is short. The inodes
 * are held for it (ino 0: none). */
struct kith_job *kith_job_new(struct kith_fs *fs, fuse_req_t req, fuse_ino_t ino, fuse_ino_t ino2,
                              void (*run)(struct kith_job *));
/* Hands it over. A full queue answers the request EIO. */
void kith_job_start(struct kith_job *job);
/* Instead of start: callbacks bring the job to its end, no thread waits for it. */
void kith_job_begin(struct kith_job *job);
void kith_job_end(struct kith_job *job);   /* it is answered: freed */
void kith_job_defer(struct kith_job *job); /* a thread must do it after all: job->run */
/* Lets a thread run `run` for a job that callbacks brought so far. False: too much waits already, the
 * job is still the caller's. */
KITH_MUST_CHECK bool kith_job_go_on(struct kith_job *job, void (*run)(struct kith_job *));
/* True for the one who may answer the request. */
KITH_MUST_CHECK bool kith_job_take(struct kith_job *job);
void kith_job_fail(struct kith_job *job, int error); /* 0 = plain success */
/* Answers those that were interrupted before `now` - grace and whose callers mean to end; the next
 * deadline, or 0. */
uint64_t kith_executor_interrupts(struct kith_executor *executor, uint64_t now);

/* Sends one request to the cluster; `done` gets the result on a client's thread (or here, when it
 * fails at once) and must not wait. */
void kith_job_send(struct kith_job *job, const struct kith_client_op *op,
                   void (*done)(struct kith_job *, const struct kith_client_result *));

/* ---- caller.c: what a signal to the thread that waits for us means ---- */
enum kith_caller {
    KITH_CALLER_UNKNOWN, /* in another pid namespace, or gone from /proc */
    KITH_CALLER_ENDS,    /* dying, or told to end by a signal that it catches */
    KITH_CALLER_STAYS,   /* SIGALRM, SIGCHLD, SIGWINCH ...: it counts on the call */
};
enum kith_caller kith_caller_state(pid_t thread);

/* ---- timer.c, notify.c ---- */
KITH_MUST_CHECK enum kith_err kith_timer_new(struct kith_fs *fs, struct kith_timer **ret_timer);
void kith_timer_free(struct kith_timer *timer);
void kith_timer_wake(struct kith_timer *timer);
KITH_MUST_CHECK enum kith_err kith_notifier_new(struct kith_fs *fs,
                                                struct kith_notifier **ret_notifier);
void kith_notifier_free(struct kith_notifier *notifier);
/* Asks the kernel to forget a name; or, expire, to ask for it and its attributes again when it is
 * used next. Dropped when the queue is full, or the mount is not guarded (guard.h): timeouts do the
 * work then. */
void kith_notify_entry(struct kith_notifier *notifier, fuse_ino_t parent, const char *name,
                       size_t size, bool expire);

/* ---- watch.c: directories whose changes the cluster tells ---- */
KITH_MUST_CHECK enum kith_err kith_watcher_new(struct kith_fs *fs,
                                               struct kith_watcher **ret_watcher);
/* Ends all watches; the notifier is still there. */
void kith_watcher_free(struct kith_fs *fs);
/* Ends those that nobody uses; from a thread that may wait. */
void kith_watch_tick(struct kith_fs *fs, uint64_t now);
/* Begins a watch. Does not wait; not under fs->lock. */
void kith_watch_begin(struct kith_fs *fs, struct kith_inode *dir);
/* The same for a directory that this mount makes just now. */
void kith_watch_made(struct kith_fs *fs, struct kith_inode *dir);
/* All that follow: fs->lock held.
 * A question in the directory needs the network, or a listing does: true for who shall call
 * kith_watch_begin then. */
KITH_MUST_CHECK bool kith_watch_asked(struct kith_fs *fs, struct kith_inode *dir, bool listing);
/* The number under which the directory's watch is live now, or 0; this is a use of it. */
uint64_t kith_watch_live(struct kith_inode *dir);
/* What the table says of this name is what a quorum would say now; the same of an inode's row. */
bool kith_watch_knows(const struct kith_entry *entry);
bool kith_watch_knows_inode(const struct kith_inode *inode);
/* A name that is not in the table does not exist. */
bool kith_watch_complete(struct kith_inode *dir);
/* The entry where kith_watch_knows it (made, where it is known to be missing), else NULL. */
struct kith_entry *kith_watch_entry(struct kith_fs *fs, struct kith_inode *dir, const char *name);
/* What a read begun at `started` brought of this name is in the tables now; sure: all of it, and from a
 * quorum. */
void kith_watch_saw(struct kith_entry *entry, uint64_t started, bool sure);
/* Until when that is worth something without a watch. entry may be NULL. */
uint64_t kith_watch_until(const struct kith_fs *fs, const struct kith_entry *entry,
                          uint64_t started);
/* All pages of a scan begun at `started` are in the table. */
void kith_watch_scanned(struct kith_inode *dir, uint64_t started);
/* A put of this mount for this name failed, or may yet be carried out. */
void kith_watch_doubt(struct kith_entry *entry);
/* The entry leaves the table; whether that would cost what a watch knows. */
void kith_watch_evicts(struct kith_entry *entry);
bool kith_watch_holds(const struct kith_entry *entry);
/* What needed no request: counted for the log. */
enum kith_watch_saving {
    KITH_SAVED_LOOKUP,
    KITH_SAVED_NEW, /* the question before a new name */
    KITH_SAVED_OPEN,
    KITH_SAVED_ATTR,
    KITH_SAVED_COUNT,
};
void kith_watch_saved(struct kith_fs *fs, enum kith_watch_saving what);

/* ---- reply.c: answers, undone where the kernel no longer waits ---- */
/* checked: as in kith_told_timeout */
void kith_reply_entry(struct kith_job *job, struct kith_inode *inode, uint64_t valid_until,
                      bool checked);
void kith_reply_create(struct kith_job *job, struct kith_inode *inode);
void kith_reply_open(struct kith_job *job, struct kith_inode *inode, bool keep_cache);
void kith_reply_attr(struct kith_job *job, struct kith_inode *inode, bool checked);
void kith_reply_data(struct kith_job *job, const void *data, size_t size);
void kith_reply_written(struct kith_job *job, size_t size);
void kith_reply_xattr_size(struct kith_job *job, size_t size);
void kith_reply_offset(struct kith_job *job, off_t offset);
/* The entry_param for an inode; counts a lookup. fs->lock held. */
void kith_entry_param(struct kith_fs *fs, struct kith_inode *inode, uint64_t valid_until,
                      bool checked, struct fuse_entry_param *ret_param);

#include "fs/work.h"

/* ---- loop.c ---- */
/* From now on SIGTERM, SIGINT and SIGHUP, where nobody else handles or ignores them, end the session:
 * its kith_loop, also one that is yet to begin. SIGPIPE does nothing. For one session at a time.
 * KITH_EIO. */
KITH_MUST_CHECK enum kith_err kith_loop_signals(struct fuse_session *session,
                                                struct kith_error *error);
/* They do again what they did before kith_loop_signals, if that was called. */
void kith_loop_signals_end(void);
/* Reads and handles the session's requests, by so many threads, until it is unmounted or a signal ends
 * it (kith_loop_signals was called). 0, or the errno of what went wrong. */
int kith_loop(struct fuse_session *session, unsigned threads);

/* ---- ops.c, opendir.c, mount.c ---- */
extern const struct fuse_lowlevel_ops kith_fs_ops;
void kith_op_opendir(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi);
void kith_op_readdir(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off,
                     struct fuse_file_info *fi);
void kith_op_readdirplus(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off,
                         struct fuse_file_info *fi);
void kith_op_releasedir(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi);

/* Connects, finds or makes the root, starts the threads. Takes over the client where given (tests:
 * a client of their own), else opens one. The message names what failed. */
KITH_MUST_CHECK enum kith_err kith_fs_new(const struct kith_fs_options *options,
                                          struct kith_client *client, struct kith_fs **ret_fs,
                                          struct kith_error *error);
/* Flushes, ends the threads, frees. Returns how many files could not be put. */
unsigned kith_fs_free(struct kith_fs *fs);
/* Mounts and serves until unmounted; `ready` is called once the kernel has answered. Returns the
 * exit code of the program. */
int kith_fs_serve(const struct kith_fs_options *options, struct kith_client *client,
                  void (*ready)(void *arg, int code, const char *message), void *arg);

#endif

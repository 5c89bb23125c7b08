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
 * only they hold. Of large directories more names are known than have entries (tables/pack.c).
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
 * ASIDE. An open file whose name is seen to be another's (two mounts made it at once) has no name in
 * memory any more. It remembers which it was (kith_aside); what is unsent makes the flush give it a
 * name of its own first (aside_name.c).
 *
 * LOCKS, in this order:
 *   1. inode->dir_busy  who changes names in a directory (all needed ones are taken at once)
 *   2. inode->row_busy  who puts the row of an inode (all at once, never while waiting for 1)
 *   3. fs->lock         all tables and fields below; never held over a request to the cluster, a
 *                       function of content.h or a reply to the kernel
 *   4. that of .kith (control/impl.h); the hook's (hook.h)
 *   5. the executor's own lock; the notifier's own lock
 * 1 and 2 are flags under fs->lock, waited for with fs->changed; they are held over requests.
 *
 * THREADS: libfuse's workers answer what memory can answer; the common requests that need the
 * cluster once (kith_start_*) they send themselves, and the client's callback answers; everything
 * else goes to the executor (executor.c), whose threads may wait; one timer thread (timer.c) starts
 * flushes that are due, answers interrupted requests and sweeps; one notifier (notify.c) talks to
 * the kernel, and a second process (guard.h) ends what hangs when this one dies while it does; with
 * -o on_conflict one reads names in which there may be a conflict, and waits for a program. The
 * client's threads wake waiters and end what kith_start_* sent; they never wait. An interrupted
 * request is answered EINTR where its caller means to end; its work goes on to its end.
 *
 * FOLDERS, each with a header of its name, which says what it may use:
 *   requests              the way in and out: reading, handlers, jobs and their threads, answers
 *   names, links, files   the work: names in directories; hard links; contents and attributes
 *   conflicts             the work: concurrent versions beside the one that bears the name
 *   hook                  a program of the user's that is run for them
 *   tables                what is known in memory
 *   rows                  requests to the cluster
 *   control               the virtual files in .kith, and what is counted for them
 *   mount                 beginning and end; options, timer, notifier, guard
 * They share what stands below. content and format are libraries of their own and know nothing of
 * it. */
#ifndef KITH_FS_FS_H
#define KITH_FS_FS_H

#define FUSE_USE_VERSION 314
#include <fuse3/fuse_lowlevel.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/stat.h>
#include <sys/statvfs.h>

#include "base/clock.h"
#include "base/assert.h"
#include "base/log.h"
#include "client/client.h"
#include "fs/content/content.h"
#include "format/inode_format.h"
#include "format/rowname.h"
#include "fs/mount/options.h"

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
    200000u /* known names; above it the kernel is asked to forget: they take ~240 MiB */
#define ENTRIES_LEAST 50000u /* so many may be known whatever the packs take (tables/pack.c): */
#define PACKS_MAX     (256u << 20) /* bytes of all packs */
#define ENTRY_COST    1200u /* bytes of an entry with its inode; packs take the place of some */
#define IMAGE_MAX      (24u << 10) /* bytes of an image that is kept with its inode */
#define IMAGES_MAX     (24u << 20) /* bytes of all kept images; beyond it the oldest goes */
#define LOAD_PAGES_MAX 16u /* a directory beyond this many pages is not read whole for lookups */
#define KITH_INODE_IDS 16u /* from here on ids of files; those below are the mount's own (control.h) */
#define KITH_WRITE_MAX (1u << 20) /* bytes of a WRITE */
#define LARGE_CONTENT  (1u << 20) /* bytes; see FLUSH_LARGE_DELAY_NS */

/* Bytes on the heap; zero = empty. */
struct kith_octets {
    uint8_t *data;
    size_t size;
};

struct kith_entry;
struct kith_pack;
struct kith_near;
struct kith_job;
struct kith_left;
struct kith_lost;
struct kith_checker;
struct kith_moved;
struct kith_control;
struct kith_link_at;
struct kith_statfs;
struct kith_hook;

/* What could not be put so far (files/unput.c). */
struct kith_unput {
    uint64_t since_ms, last_ms; /* of the first and the last failure, by the wall clock */
    uint32_t tries;
    int error; /* errno of the last */
    char message[160]; /* what the client said of it, "" */
};

/* An open file whose name another one bears now (tables/aside.c). */
struct kith_aside {
    struct kith_inode *dir;          /* where the name is: one ref */
    char base[KITH_FS_NAME_MAX + 1]; /* the name */
    char name[KITH_FS_NAME_MAX + 1]; /* made for the version that it is; with the longer hash: */
    char wide_name[KITH_FS_NAME_MAX + 1];
    uint64_t file_id;                /* that the version bears beside the name */
    bool shown;          /* it goes under the number of that version: the made name leads to it */
    uint64_t scanned_at; /* it was looked for in the whole directory then; 0: not yet */
};

struct kith_dir {
    struct kith_group group;
    struct kith_entry **buckets; /* a power of two; NULL until the first entry */
    uint32_t bucket_count, entry_count;
    uint32_t subdirs; /* entries that lead to directories */
    uint64_t complete_until; /* until then a name that is not in the table does not exist */
    uint64_t miss_since;
    uint32_t misses; /* lookups that needed the network since then */
    bool loading;    /* a scan for lookups is under way */
    bool removed;    /* rmdir took it: nothing can be made in it */
    uint64_t changed_at; /* this mount changed a name in it last; 0: never */
    uint64_t touched_at; /* the first such change of which the stored mtime does not tell; 0: none */
    bool time_only;      /* its changed attributes are nothing but that */
    bool miscounted;     /* touched only for the stored count of directories, which is another one */
    /* takes this mount's "removed" off its own row; empty: none is there */
    struct kith_octets mark;
    /* watch.c */
    struct kith_dir_watch *watch; /* NULL: none */
    /* the number under which its watch is live, 0: not; for sure since */
    uint64_t live, live_since;
    uint64_t complete;      /* under this number a name that is not in the table does not exist */
    uint64_t complete_from; /* when the scan that showed the table complete began */
    uint64_t evicted_at;    /* when a name that may exist left the table last */
    uint64_t doubt_at;      /* when a name became unknown last */
    uint64_t told_at;       /* when a change was told last that may be of any name */
    uint64_t hold_until;    /* reads begun before count for their time only */
    uint64_t asked_since, listed_at;
    uint32_t asked;    /* questions that needed the network since then */
    bool watch_begins; /* somebody is about to begin one */
    bool large;        /* more than a page: not to be scanned for one name */
    struct kith_pack *pack; /* names that are known without an entry (pack.c); NULL: none */
    uint64_t pack_refused;  /* under this number of the watch they took too much memory */
    uint32_t questions;     /* in a large one, under this number: dir_ahead.c */
    struct kith_near *near; /* how many names a question there brings: neighbours.c; NULL: one */
};

struct kith_inode {
    struct kith_inode *hash_next;
    uint64_t id; /* st_ino; its row may bear another, see kith_inode_row_id */
    enum kith_type type;
    uint32_t refs;
    uint64_t nlookup; /* the kernel's; counts as one ref while not zero */
    bool dir_busy, row_busy;
    bool unlinked;  /* no name left here: nothing is put any more */
    bool shared;    /* several names: the inode has a row of its own in share_group */
    bool share_own; /* share_group is a group of its own, not that of a directory */
    struct kith_group share_group;
    uint64_t share_id; /* the number that the row, and what refers to it, bears there */
    struct kith_entry *entry; /* a name that leads here; NULL for the root and when unlinked */
    struct kith_dir *dir;     /* directories */
    struct kith_attrs attrs; /* its ACLs are the inode's own (kith_inode_attrs_set) */
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
    uint64_t dropped_at; /* it was told to drop others then; 0: it had none */
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
    uint64_t replacements; /* of the same, and while they are under way: */
    bool replacing;
    uint32_t answering; /* reads of them that are being answered */
    uint64_t stale_below; /* nothing was written since the last: handles below may not know it */
    bool made; /* a version beside the one that bears a name (conflicts.h), and its contents: */
    struct kith_octets made_image;
    uint32_t made_links; /* names beside which it stands: those of a shared inode */
    struct kith_aside *aside; /* counts while it has no name, see kith_aside_is; NULL: none */
    bool was_named; /* another file took its name, by which the kernel may come here still */
    bool is_open; /* opened or created here and not let go: open_ctx counts */
    bool may_write; /* while is_open: it was opened for writing, too */
    bool follow;    /* while is_open: there may be another version, which may have more (follow.c) */
    bool follows;   /* it is being read for that */
    uint64_t follow_from; /* before that it is looked at only when another version is told or seen */
    struct kith_dot not_followed; /* the last that was something else; its counter 0: none yet */
    bool opening; /* somebody reads it for an open */
    bool pending; /* never put */
    bool awaited; /* while pending: its maker waits for the put; where that fails it never was */
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
    bool beside; /* shared: its row was seen there before, and names may still lead to that */
    bool beside_own;
    struct kith_group beside_group;
    bool took;   /* shared: this mount has removed a name, and told the row so with the version */
    struct kith_dot took_dot;
    bool wrote;  /* shared: this mount has put contents since it saw that a name refers to it */
    bool untold; /* its names changed, and the row that says so could not be put: the timer does */
    bool queued;   /* in fs->dirty (one ref) */
    bool flushing; /* the timer has started its flush */
    struct kith_row_put *again; /* a put of its row whose outcome is unknown, row_put.c; row_busy */
    struct kith_unput *unput;   /* its last put failed; NULL: it did not */
    struct kith_inode *dirty_prev, *dirty_next;
};

struct kith_entry {
    struct kith_entry *next;        /* in its bucket */
    struct kith_entry *old, *young; /* in fs->entries, by last use */
    struct kith_inode *dir, *inode; /* inode NULL: no such file, as far as it is valid */
    struct kith_octets ctx;
    uint64_t valid_until, changed_at, used_at;
    uint64_t load;       /* the latest scan that saw it */
    uint64_t live; /* under this number of the directory's watch a quorum says the same; 0: no */
    uint64_t told_at;    /* when a change of it was told last */
    uint64_t hold_until; /* as in kith_dir */
    uint32_t hash, pins;
    int32_t fresh_tid; /* this thread's lookup asked the cluster and found nothing */
    /* since when it is known to refer to a row that is not there; 0: it does not */
    uint64_t dangling;
    bool over;           /* the name was seen to lead elsewhere, and that is not taken over yet */
    bool brought; /* known by a question for another (neighbours.c), and not asked for since */
    bool link;         /* the row only refers to a shared inode, */
    struct kith_group link_group; /* whose row is in that group */
    uint8_t name_size;
    char name[];
};

/* A lookup that failed for want of nodes (names/lookup.c). */
struct kith_failed {
    uint64_t dir_id, at;
    uint32_t hash; /* of the name */
    int error;
};
#define KITH_FAILED_MAX 64u /* names are overwritten by others that fall on their place */

struct kith_fs {
    const struct kith_fs_options *options;
    struct kith_client *client;
    struct kith_content_store *store;
    struct fuse_session *session;
    char writer[KITH_WRITER_MAX + 1]; /* "user@host" */
    uint32_t volume;
    uint64_t entry_ns; /* entry_timeout */
    atomic_bool acl; /* the kernel minds ACLs, and leaves umasks to us; set by INIT, before all else */
    pthread_mutex_t lock;
    pthread_cond_t changed; /* a busy flag fell, a content is there */
    struct kith_inode *root;
    struct kith_inode **inodes; /* by id */
    uint32_t inode_buckets, inode_count;
    struct kith_entry *oldest, *youngest;
    uint32_t entry_count;
    struct kith_pack *packs;
    size_t pack_bytes; /* of all of them */
    struct kith_inode *dirty; /* ring of those with something to put */
    uint32_t following; /* open files that are looked at, whether others have appended to them */
    struct kith_left *left;   /* rows of shared inodes that are to be looked at, left.c */
    struct kith_lost *lost;   /* directories that others have removed, lost.c */
    struct kith_moved *moved; /* that this mount has moved, cycle.c */
    uint64_t cycles_due;      /* 0: not */
    bool cycles_busy;
    size_t image_bytes;
    struct kith_inode *image_oldest, *image_youngest; /* with an image of more than 0 bytes */
    uint64_t load_count;
    uint64_t random_state[2];
    atomic_bool put_trouble; /* since the last put that failed: nothing waits in memory */
    _Atomic uint64_t failed_told_ns; /* the log was told then of nodes that cannot be reached */
    atomic_uint_fast64_t put_failures;
    struct kith_failed failed[KITH_FAILED_MAX];
    struct kith_statfs *statfs; /* files/statfs.c */
    void (*on_ready)(void *arg, int code,
                     const char *message); /* told once, when the kernel asked INIT */
    void *on_ready_arg;
    struct kith_executor *executor;
    struct kith_notifier *notifier;
    struct kith_guard *guard; /* NULL: not guarded (guard.h); borrowed */
    struct kith_timer *timer;
    struct kith_watcher *watcher; /* NULL: no watches */
    struct kith_checker *checker; /* NULL: it does not look for orphans */
    struct kith_control *control; /* NULL: no virtual files */
    struct kith_hook *hook; /* NULL: no -o on_conflict; set and cleared under lock (hook.h) */
    unsigned mount_number;        /* of the device; 0: not known, or not mounted yet */
};
/* ---- errno.c: codes as errnos, and the time of day ---- */
struct kith_time kith_wall_time(void);
/* The errno for a code. Soft mounts answer EIO or ETIMEDOUT where nodes do not. */
int kith_errno(enum kith_err err);

#endif

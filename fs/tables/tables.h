/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * tables.h - what a mount knows in memory: its inodes, its entries, what was read of them, and
 * which directories are watched.
 *
 * Nothing here asks the cluster, but that watch.c has the client watch. Reads come from names.h and
 * are absorbed here; puts are made of what is here. Beside the contexts of rows.h the tables call
 * what happens later: a word to the kernel or to the timer (mount.h), a look at the names of a
 * shared inode (links.h); of files.h what is forgotten with an inode; and dir.c (names.h), where a
 * name that is not in the table is known to be missing. */
#ifndef KITH_FS_TABLES_TABLES_H
#define KITH_FS_TABLES_TABLES_H

#include "fs/fs.h"

/* ---- inode.c (fs->lock held, but for kith_fs_random) ---- */
uint64_t kith_fs_random(struct kith_fs *fs);
struct kith_inode *kith_inode_of(struct kith_fs *fs, fuse_ino_t ino);
fuse_ino_t kith_inode_ino(const struct kith_fs *fs, const struct kith_inode *inode);
struct kith_inode *kith_inode_find(struct kith_fs *fs, uint64_t id);
/* The directory whose names are in that group, where memory has it. Its group's own part begins
 * with its id (make.c); one of which that is not true is not found. */
struct kith_inode *kith_dir_find(struct kith_fs *fs, const struct kith_group *group);
/* New, with one ref for the caller. NULL when memory is short. */
struct kith_inode *kith_inode_new(struct kith_fs *fs, uint64_t id, enum kith_type type);
/* Takes the attributes, with copies of their ACLs: nothing else writes those of inode->attrs. False:
 * memory is short, and nothing has changed. */
KITH_MUST_CHECK bool kith_inode_attrs_set(struct kith_inode *inode,
                                          const struct kith_attrs *attrs);
/* The same with what kith_attrs_merge makes of its own and these. */
KITH_MUST_CHECK bool kith_inode_attrs_merge(struct kith_inode *inode,
                                            const struct kith_attrs *attrs);
/* It goes under another id from now on. */
void kith_inode_rename(struct kith_fs *fs, struct kith_inode *inode, uint64_t id);
void kith_inode_hold(struct kith_inode *inode);
void kith_inode_drop(struct kith_fs *fs, struct kith_inode *inode);
void kith_inode_forget(struct kith_fs *fs, struct kith_inode *inode, uint64_t count);
/* The row of its inode: group and name. False when it is unlinked. */
bool kith_inode_place(const struct kith_inode *inode, struct kith_group *ret_group,
                      struct kith_rowname *ret_name);
/* The number that this row bears. */
static inline uint64_t kith_inode_row_id(const struct kith_inode *inode)
{
    return inode->shared ? inode->share_id : inode->id;
}
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
uint32_t kith_entry_hash(const char *name, size_t size);
/* Finds or makes (unknown yet). NULL when memory is short. */
struct kith_entry *kith_entry_make(struct kith_fs *fs, struct kith_inode *dir, const char *name,
                                   size_t size);
/* Points it to an inode (or none); the refs follow. */
void kith_entry_lead(struct kith_fs *fs, struct kith_entry *entry, struct kith_inode *inode);
void kith_entry_touch(struct kith_fs *fs, struct kith_entry *entry);
void kith_entry_remove(struct kith_fs *fs, struct kith_entry *entry);
/* Removes what nobody used since `before`, and above ENTRIES_MAX (less what the packs take) what was
 * used least recently; what the kernel knows it is asked to forget then. Looks at no more than
 * `most`. Whether there are too many still. The caller's entries are pinned, or among the last
 * ENTRIES_LEAST used. */
bool kith_entry_sweep(struct kith_fs *fs, uint64_t before, uint32_t most);
/* The same for who has just made one: as fast as they come, some thousands at once. */
void kith_entry_sweep_few(struct kith_fs *fs);
/* The kernel has forgotten what it leads to: where there are too many it goes at once. */
void kith_entry_forgotten(struct kith_fs *fs, struct kith_entry *entry);
void kith_dir_free(struct kith_fs *fs, struct kith_dir *dir);
/* A name in it was made, removed or moved by this mount, in the table, too: its time of change, and how many directories
 * there are more in it, which are stored dir_time_ms (options.h) later with what else has changed by
 * then (kith_dir_untold). */
void kith_dir_changed(struct kith_fs *fs, struct kith_inode *dir, int more);
/* All names of it have been read: where another number of directories is stored (two mounts have changed
 * it at the same time, or one was killed), and is still then, the right one is put. */
void kith_dir_counted(struct kith_fs *fs, struct kith_inode *dir);
/* It has a time of change that is not stored, and is not among its changed attributes yet. */
static inline bool kith_dir_untold(const struct kith_inode *inode)
{
    return inode->dir != NULL && inode->dir->touched_at != 0;
}
/* It is, from now on. */
void kith_dir_tell_time(struct kith_inode *inode);
static inline struct kith_bytes kith_entry_bytes(const struct kith_entry *entry)
{
    return kith_bytes_make(entry->name, entry->name_size);
}
/* The name refers to a shared inode whose row is in that group. */
void kith_entry_refer(struct kith_entry *entry, const struct kith_group *group);
/* Whether what is known of the name fits what is known of its inode, and is not known to be over.
 * Another name may have told since that the inode has a row of its own, or another one, or none any
 * more, or that the file was renamed; then the name's context and the inode's contents are not of
 * one row, and the name must be read again before it is used. */
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
struct kith_link_names {
    uint32_t count;
    const struct kith_link_name *names; /* strictly ascending */
};
struct kith_seen {
    bool live;                       /* a version bears the name */
    bool degraded;                   /* fewer than a quorum told it; set by who read it */
    bool link, resolved;             /* a link entry; its inode's row is in `record` too */
    bool unsettled;                  /* that row has versions with different names */
    bool names_missing;              /* there are too many names for all_names */
    struct kith_link_names all_names; /* also of versions with other contents */
    struct kith_group link_group;    /* where that row is */
    uint64_t row_id; /* the number that the rows bear; in memory it may be another: record's */
    bool moved;      /* no name leads to the row any more that it had in moved_from */
    struct kith_group moved_from;
    struct kith_inode_record record; /* of the inode; of the link entry while not resolved */
    bool bare; /* without contents and winner, but with what they say of the file's */
    uint64_t size, allocated;
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
 * They are two files then. The id that the version `dot` of a row goes under in a mount that has
 * met the id elsewhere, too; its next put writes it. The same for every mount. */
uint64_t kith_seen_other_id(uint64_t id, const struct kith_dot *dot);
/* The same for the row of a shared inode, which lies in that group: names lead to two rows of one
 * id where a mount gave the inode a name while another moved it. No put writes that number, as long
 * as the row stays there: what refers to it bears the other. fs->lock held; *ret_inode: who goes
 * under it, or NULL. */
uint64_t kith_seen_place_id(struct kith_fs *fs, uint64_t id, const struct kith_group *group,
                            struct kith_inode **ret_inode);
/* fs->lock held. Memory has a shared inode of that id, whose row is not the one that was seen, but
 * in *ret_at: it must be known whether names lead to that before what was seen is absorbed. */
bool kith_seen_other_row(struct kith_fs *fs, const struct kith_inode *dir, const char *name,
                         const struct kith_seen *seen, struct kith_link_at *ret_at);
/* fs->lock held. The name that the file, of one name, stands under as far as memory knows, where
 * that is not the one that was seen: it must be read before what was seen is absorbed. Else
 * NULL. */
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

/* ---- aside.c: open files whose name another one bears now (fs->lock held) ---- */
/* It is open, another file bears its name, and nothing is known to lead to it. */
bool kith_aside_is(const struct kith_inode *inode);
/* The same, of that name. */
bool kith_aside_of(const struct kith_inode *inode, const struct kith_inode *dir, const char *base);
/* The name is about to lead to what was seen, or (also seen NULL) nowhere: where what it leads to is
 * open, that is remembered. A version that stands beside the name's bearer goes under its number from here on
 * (kith_seen_other_id). */
void kith_aside_note(struct kith_fs *fs, const struct kith_entry *entry,
                     const struct kith_seen *seen);
void kith_aside_forget(struct kith_fs *fs, struct kith_inode *inode);
/* fs->lock held. What is said to who may not do that with another version of a file: EPERM; ESTALE
 * where he may have come by the plain name that it had, for the kernel looks that up again then, and
 * finds the file that bears it. */
int kith_aside_refusal(const struct kith_inode *inode);
/* The group to which what is written to the file goes, also where it is aside. False: nowhere. */
bool kith_inode_goes_to(const struct kith_inode *inode, struct kith_group *ret_group);
/* It is not open any more. */
void kith_aside_close(struct kith_fs *fs, struct kith_inode *inode);
/* The number under which an open file goes that the name was seen to lead to: it was aside and
 * bears the name again, or another mount has chosen its version for the name (a copy of it, whose
 * row bears the version's number). 0: there is none. */
uint64_t kith_aside_returns(struct kith_fs *fs, const struct kith_entry *entry,
                            const struct kith_seen *seen);
/* A number for a file of that one's that no inode has. */
uint64_t kith_inode_free_id(struct kith_fs *fs, uint64_t id, const struct kith_dot *dot);

/* ---- pack.c: names of a watched directory that are known without an entry (fs->lock held) ---- */
/* What its reader (names/dir_ahead.c) keeps with it. */
struct kith_ahead {
    uint64_t number; /* of this pack: none has the same */
    bool whole;      /* a name that has neither entry nor item does not exist */
    bool over;       /* nothing is read any more */
    bool under_way;  /* a page */
    bool begun;      /* the next page is the one behind `after` */
    struct kith_octets after;
    uint32_t credit; /* rows that may be read */
    uint32_t pages;
    uint64_t again_at; /* not before */
};
/* The directory's pack, where its watch has been live since it was begun; else NULL. */
struct kith_pack *kith_pack_of(struct kith_inode *dir);
/* An empty one, for a directory that has none. NULL: it is not watched, memory is short, or it has
 * taken too much under this watch. */
struct kith_pack *kith_pack_begin(struct kith_fs *fs, struct kith_inode *dir);
void kith_pack_drop(struct kith_inode *dir);
/* Drops those that nobody has used for a while. */
void kith_pack_sweep(struct kith_fs *fs, uint64_t now);
struct kith_ahead *kith_pack_ahead(struct kith_pack *pack);
/* What a pack keeps of a row; without fs->lock. False: nothing, who wants it asks. */
KITH_MUST_CHECK bool kith_pack_encode(const struct kith_seen *seen, struct kith_buf *buf);
/* What a page begun at `started` told of a name that has no entry. row: as encoded, NULL where it
 * was not; live: there is one. False: there is no room, or no pack. */
KITH_MUST_CHECK bool kith_pack_saw(struct kith_inode *dir, const char *name, size_t size,
                                   const struct kith_bytes *row, bool live, uint64_t started);
/* The entry leaves the table. True: the pack keeps what there is to be remembered of the name. */
bool kith_pack_evicts(const struct kith_entry *entry);
/* Reads of the name that began by then tell nothing; 0: no such is known. */
uint64_t kith_pack_told(const struct kith_inode *dir, const char *name, size_t size);
/* The name, which has no entry, is known not to exist. */
bool kith_pack_lacks(struct kith_inode *dir, const char *name);
/* A new entry of a name that has none, where that is known to exist, or not to; else NULL. */
struct kith_entry *kith_pack_entry(struct kith_fs *fs, struct kith_inode *dir, const char *name);

/* ---- watch.c: directories whose changes the cluster tells ---- */
KITH_MUST_CHECK enum kith_err kith_watcher_new(struct kith_fs *fs,
                                               struct kith_watcher **ret_watcher);
/* Ends all watches; the notifier is still there. */
void kith_watcher_free(struct kith_fs *fs);
/* Ends those that nobody uses; from a thread that may wait. */
void kith_watch_tick(struct kith_fs *fs, uint64_t now);
/* Begins a watch, or, where there is one, reads a page ahead (names/dir_ahead.c). Does not wait; not
 * under fs->lock. */
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
bool kith_watch_knows_inode(struct kith_inode *inode);
/* A name that is not in the table does not exist. */
bool kith_watch_complete(struct kith_inode *dir);
/* The same; and whoever was asked for it has read all names under the watch that is live now. It is no
 * use of it. */
bool kith_watch_saw_all(const struct kith_inode *dir);
/* The entry where kith_watch_knows it (made, where the name has none and is known), else NULL. */
struct kith_entry *kith_watch_entry(struct kith_fs *fs, struct kith_inode *dir, const char *name);
/* What a read begun at `started` brought of this name is in the tables now; sure: all of it, and
 * from a quorum. */
void kith_watch_saw(struct kith_entry *entry, uint64_t started, bool sure);
/* The same of the rows of the mount's root, where that is the volume's, which has no name; else nothing. */
void kith_watch_saw_root(struct kith_fs *fs, uint64_t started, bool sure);
/* Until when that is worth something without a watch. entry may be NULL. */
uint64_t kith_watch_until(const struct kith_fs *fs, const struct kith_entry *entry,
                          uint64_t started);
/* What a read of many names begun at `started` did not see is missing: no event of anything, no put of
 * unknown outcome stands against it, but for names that have entries or had them since. */
bool kith_watch_counts(const struct kith_inode *dir, uint64_t started);
/* All pages of a scan begun at `started` are in the table. */
void kith_watch_scanned(struct kith_inode *dir, uint64_t started);
/* A put of this mount for this name failed, or may yet be carried out. */
void kith_watch_doubt(struct kith_entry *entry);
void kith_watch_doubt_inode(struct kith_fs *fs, struct kith_inode *inode);
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
struct kith_watch_figures {
    uint32_t watched, live; /* directories, now */
    uint64_t begun, events, lapses, saved[KITH_SAVED_COUNT]; /* since the mount began */
};
void kith_watch_figures(const struct kith_fs *fs, struct kith_watch_figures *ret_figures);

#endif

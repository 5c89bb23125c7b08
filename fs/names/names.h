/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * names.h - names in directories: how they are read, and the requests that ask for, make, remove
 * and move them.
 *
 * Reads go from rows into the tables; changes hold the directory's dir_busy (fs.h) from the check
 * to the end of the put. What is done to one of several names of a file is done with links.h, to
 * its contents with files.h; jobs and answers are those of requests.h. */
#ifndef KITH_FS_NAMES_NAMES_H
#define KITH_FS_NAMES_NAMES_H

#include "fs/fs.h"
#include "fs/files/files.h"

struct kith_batch; /* rows.h */
struct kith_seen;  /* tables.h */

/* ---- dir.c: what is known of a directory (may wait) ---- */
/* With so many names in the table a directory is not loaded for lookups. */
#define KITH_LOAD_NAMES_MAX (LOAD_PAGES_MAX * KITH_PAGE_ROWS_MAX / 2)
/* fs->lock held. Counts a lookup that needs the network; true when the directory should be read
 * whole now. */
bool kith_dir_missed(struct kith_dir *dir, uint64_t now);
/* fs->lock held. True: the next question in this directory is better put as a scan of a page, after
 * which its watch answers. */
bool kith_dir_scan_due(struct kith_inode *dir);
/* fs->lock held. The entry of a name that is not in the table, made, where it is known not to exist,
 * or known without an entry (kith_pack_entry); else NULL. */
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

/* ---- dir_read.c (may wait) ---- */
/* Reads one name by quorum; the entry comes back pinned. */
int kith_dir_read(struct kith_fs *fs, struct kith_inode *dir, const char *name,
                  struct kith_entry **ret_entry);
/* What a request that began at `started` saw of one name, into the tables; the entry comes back
 * pinned. Does not wait. */
int kith_dir_saw(struct kith_fs *fs, struct kith_inode *dir, const char *name,
                 const struct kith_seen *seen, uint64_t started, struct kith_entry **ret_entry);
/* Removes a name that refers to a row that is not there; dir_busy held, or nobody has put the row
 * for so long that nobody will. Else EIO. */
int kith_dir_remove_dangling(struct kith_fs *fs, struct kith_inode *dir, const char *name);
/* Reads the row of an inode again by quorum and takes note of it. ESTALE when its name leads to
 * another file now. The answer must be released, whatever is returned; ret_seen borrows from it and
 * the arena. */
int kith_inode_read(struct kith_fs *fs, struct kith_inode *inode, struct kith_arena *arena,
                    struct kith_client_answer *ret_answer, struct kith_seen *ret_seen);
/* What that does with the rows (name, attributes) that it read. shared: the group of a shared
 * inode's row, else NULL. Does not wait. */
int kith_inode_saw(struct kith_fs *fs, struct kith_inode *inode, const struct kith_group *shared,
                   struct kith_arena *arena, const struct kith_client_result *result,
                   uint64_t started, struct kith_seen *ret_seen);

/* ---- dir_page.c (may wait) ---- */
struct kith_dir_page {
    bool strict; /* given: no degraded answer */
    /* given: the scan was of few rows, so that its last name is never taken where there are more
     * rows, for it may have some behind them; and entries that become known are noted as brought */
    bool few;
    bool more, degraded;
    struct kith_bytes last; /* in the arena; few: "" where nothing was taken */
    struct kith_bytes next; /* few: the row behind it, where that came along, too; else "" */
    uint32_t brought;       /* few: entries */
};
typedef int (*kith_dir_each)(void *arg, const char *name, size_t size, enum kith_type type,
                             uint64_t id);
/* One page behind `after` (NULL: from the first row) into the entries. each: for every entry with
 * its lock-free name; stops at an error. */
int kith_dir_page(struct kith_fs *fs, struct kith_inode *dir, const struct kith_bytes *after,
                  uint64_t load, struct kith_arena *arena, kith_dir_each each, void *arg,
                  struct kith_dir_page *ret_page);
/* What that does with the page that a scan begun at `started` brought. Does not wait. */
int kith_dir_page_saw(struct kith_fs *fs, struct kith_inode *dir,
                      const struct kith_client_result *result, uint64_t load, uint64_t started,
                      struct kith_arena *arena, kith_dir_each each, void *arg,
                      struct kith_dir_page *ret_page);

/* The same into the pack of that number (tables.h), and into the entries that there are. EAGAIN: it
 * does not count there; ENOSPC: there is no room. */
int kith_dir_page_pack(struct kith_fs *fs, struct kith_inode *dir,
                       const struct kith_client_result *result, uint64_t number, uint64_t started,
                       struct kith_arena *arena, struct kith_dir_page *ret_page);

/* ---- dir_ahead.c: a large directory is read page by page while questions are asked ---- */
/* fs->lock held. A question in a watched directory needs the network. True: a page is to be read
 * ahead, by whom this is told: kith_dir_ahead follows. */
KITH_MUST_CHECK bool kith_dir_ahead_due(struct kith_fs *fs, struct kith_inode *dir);
/* Sends for it. Does not wait; not under fs->lock. */
void kith_dir_ahead(struct kith_fs *fs, struct kith_inode *dir);

/* ---- neighbours.c: a question in a large directory brings the names behind the name, too ---- */
/* fs->lock held. The name is not known. How many rows a scan from the name on is to bring instead
 * of the name alone: kith_near_send follows. 0: it is to be asked for alone. */
KITH_MUST_CHECK uint32_t kith_near_take(struct kith_inode *dir, const char *name);
/* Asks for job->name in the directory so; begins the job. */
void kith_near_send(struct kith_job *job, struct kith_inode *dir, uint32_t rows,
                    void (*done)(struct kith_job *, const struct kith_client_result *));
/* What that saw, into the tables. The entry of the name, pinned; NULL: it does not tell of the name,
 * a thread must ask. Does not wait. */
struct kith_entry *kith_near_saw(struct kith_job *job, struct kith_inode *dir,
                                 const struct kith_client_result *result);
/* fs->lock held. The name, which has no entry, is not there: such a scan has told so under the watch
 * that is live now. */
bool kith_near_lacks(struct kith_inode *dir, const char *name);
/* The same: an entry for it, NULL: that is not known. */
struct kith_entry *kith_near_missing(struct kith_fs *fs, struct kith_inode *dir, const char *name);
/* fs->lock held. The entry leaves the table. */
void kith_near_evicts(const struct kith_entry *entry);
/* fs->lock held. The entry was asked for, and known. */
void kith_near_used(struct kith_entry *entry);

/* ---- dir_own.c: a directory's own row ---- */
/* That row, encoded into `buf`; its group. parent: where it is to be; NULL: where it is. */
struct kith_group kith_dir_own_row(struct kith_fs *fs, struct kith_inode *inode,
                                   const struct kith_inode *parent, const char *name, bool removed,
                                   struct kith_buf *buf);
/* fs->lock held. The id of a directory that is to be made under the name, the same for every mount
 * that makes it at once; ret_ids[0] 0: there is none for it. */
void kith_dir_ids(struct kith_fs *fs, const struct kith_entry *entry, uint64_t ret_ids[2]);
struct kith_group kith_dir_group(const struct kith_fs *fs, const uint64_t ids[2]);
enum kith_dir_id {
    KITH_DIR_ID_FREE,  /* nobody has ever had it */
    KITH_DIR_ID_HERE,  /* another mount makes it, too, or has just made it */
    KITH_DIR_ID_OTHER, /* another directory has it, or that is not known */
};
/* What the own row of that id, as it was read, says of it. */
enum kith_dir_id kith_dir_id_state(const struct kith_inode *dir, const char *name,
                                   const struct kith_client_result *result);
/* Marks an empty directory's own row as removed (dir_busy and row_busy held). */
int kith_dir_remove(struct kith_fs *fs, struct kith_inode *inode);
/* Its name was not removed after all: takes the mark back. unknown: perhaps it was, and the mark
 * stays. */
void kith_dir_restore(struct kith_fs *fs, struct kith_inode *inode, bool unknown);
/* Takes this mount's mark off the own row: that one alone, whatever else stands there by now. */
int kith_dir_unmark(struct kith_fs *fs, struct kith_inode *inode);
/* Says in a directory's own row where it is (parent NULL), or is to be, or that it is removed
 * (context: what takes an earlier mark along). */
int kith_dir_put_own(struct kith_fs *fs, struct kith_inode *inode, const struct kith_inode *parent,
                     const char *name, bool removed, struct kith_bytes context);

/* ---- lookup.c; create.c and make.c ask with it, too ---- */
/* Asks the cluster for the job's name; begins the job. */
void kith_name_send(struct kith_job *job,
                    void (*done)(struct kith_job *, const struct kith_client_result *));
/* What that saw, into the tables; the entry comes back pinned. *ret_link: it needs a second
 * request, being a link, or a file that stood elsewhere; nothing is taken note of yet. */
int kith_name_saw(struct kith_job *job, const struct kith_client_result *result, bool *ret_link,
                  struct kith_entry **ret_entry);
/* The same with a scan of the job's directory (kith_dir_scan_due) instead of the one name.
 * *ret_ask: the scan does not tell of the name, a thread must ask. */
void kith_names_send(struct kith_job *job,
                     void (*done)(struct kith_job *, const struct kith_client_result *));
int kith_names_saw(struct kith_job *job, const struct kith_client_result *result, bool *ret_ask,
                   struct kith_entry **ret_entry);
/* fs->lock held. True when a name that must not be there need not be asked for: the thread's lookup
 * has just done so, this mount has made it and not put it yet, or the directory's watch knows. */
bool kith_name_asked(const struct kith_entry *entry, pid_t thread);
/* For names that must not be there: what the cluster says now. Pinned. May wait. */
int kith_name_fresh(struct kith_job *job, struct kith_entry **ret_entry);
/* The same of another name than the job's, which nobody has just asked for. */
int kith_name_fresh_in(struct kith_fs *fs, struct kith_inode *dir, const char *name,
                       struct kith_entry **ret_entry);
void kith_do_lookup(struct kith_job *job);
void kith_start_lookup(struct kith_job *job);
/* fs->lock held. The errno with which a lookup of the name has just failed for want of nodes; 0: it
 * has not, ask. */
int kith_lookup_failed(struct kith_fs *fs, const struct kith_inode *dir, const char *name);

/* ---- create.c ---- */
/* fs->lock held. A new inode under `entry`, which leads to it; one ref for the caller. NULL when
 * memory is short. */
struct kith_inode *kith_inode_make(struct kith_fs *fs, struct kith_entry *entry, uint64_t id,
                                   enum kith_type type, mode_t mode, const struct fuse_ctx *ctx);
/* A made name that could not be put: it never was. */
void kith_inode_unmake(struct kith_fs *fs, struct kith_entry *entry, struct kith_inode *inode);
void kith_do_create(struct kith_job *job);
void kith_start_create(struct kith_job *job);
/* Answers CREATE from memory where that is possible. */
bool kith_create_fast(struct kith_fs *fs, fuse_req_t req, struct kith_inode *dir, const char *name,
                      mode_t mode, struct fuse_file_info *fi);

/* ---- make.c ---- */
void kith_do_mknod(struct kith_job *job);
void kith_do_mkdir(struct kith_job *job);
void kith_do_symlink(struct kith_job *job); /* data: the target */
void kith_start_mknod(struct kith_job *job);
void kith_start_mkdir(struct kith_job *job);
void kith_start_symlink(struct kith_job *job);

/* ---- remove.c ---- */
/* fs->lock held: the name is removed; its inode, where that was the last one, is unlinked. */
void kith_entry_gone(struct kith_fs *fs, struct kith_entry *entry);
void kith_do_unlink(struct kith_job *job);
void kith_do_rmdir(struct kith_job *job);
void kith_start_unlink(struct kith_job *job);

/* ---- rename.c ---- */
void kith_do_rename(struct kith_job *job);
void kith_start_rename(struct kith_job *job);

/* ---- move.c: what a rename puts; all that it needs is pinned and taken ---- */
struct kith_move {
    struct kith_fs *fs;
    struct kith_entry *src, *dst;
    struct kith_inode *inode, *old; /* what moves; what is replaced, or NULL */
    struct kith_batch *from, *into; /* the same within a directory */
    struct kith_image image;
    struct kith_image old_image;
    /* links: the names of `inode` and of `old` afterwards; in the batch's arena */
    struct kith_link_name *names, *old_names;
    uint32_t name_count, old_count;
    int src_at, dst_at, row_at, old_at; /* places in from, into, into, into; -1 = none */
    bool cross, was_pending, dst_link;
    bool put, unknown; /* the target was put; what failed may have happened */
    bool now; /* nothing may wait: EBUSY instead */
};
/* Adds what is to be put to its batches. */
int kith_move_build(struct kith_move *move);
/* That, and puts it. May wait. */
int kith_move_put(struct kith_move *move);
/* The tables after the puts. */
int kith_move_settle(struct kith_move *move, const struct kith_client_result *into,
                     const struct kith_client_result *from);
/* fs->lock held. The put failed: perhaps it happened. */
void kith_move_doubted(struct kith_move *move);

/* ---- exchange.c ---- */
/* RENAME_EXCHANGE of two files; both pinned, the directory taken. */
int kith_exchange(struct kith_fs *fs, struct kith_entry *a, struct kith_entry *b);

/* ---- name_put.c: a name is removed or moved by one put that no thread waits for ---- */
/* The job's state begins with it. */
struct kith_name_put {
    struct kith_client_op op; /* group and updates: the caller's, who keeps them until the end */
    uint64_t until;           /* it is put again until then */
    struct kith_entry *left;  /* the name, pinned; NULL: the cluster never heard of it */
    struct kith_inode *inode; /* what leaves it */
    int error;                /* what the request is answered with */
    /* Takes note of the outcome, and returns what the request is answered with. */
    int (*took)(struct kith_job *job, int error, const struct kith_client_result *result);
    /* Gives back what was taken, with the state, and answers the request. */
    void (*end)(struct kith_job *job, int error);
};
/* Sends it; the job is begun, and taken over. */
void kith_name_put_send(struct kith_job *job);

/* ---- twin.c ---- */
/* fs->lock held. Whether another version stays under a name that a file has left, as its put
 * answered. */
bool kith_twin_stays(const struct kith_entry *entry);
/* Where that is a version of the file it becomes a file of its own. May wait. */
void kith_twin_part(struct kith_fs *fs, struct kith_entry *entry, const struct kith_inode *inode);
/* A name that another file took over from a shared inode; the put of that answered `context`. Where
 * a reference to the inode stays under it, that goes. May wait. */
void kith_twin_unlink(struct kith_fs *fs, struct kith_entry *entry, const struct kith_inode *inode,
                      struct kith_bytes context);

/* ---- tell.c ---- */
/* The names of an inode whose row is in a group of its own have changed, in the directories. Its
 * row is put; where that fails the names changed all the same, and the timer puts it. image: as it
 * was before they changed, with which it is put though somebody has removed it since; NULL where no
 * name was added. row_busy held. */
void kith_link_tell(struct kith_fs *fs, struct kith_inode *inode,
                    const struct kith_link_name names[], uint32_t count,
                    const struct kith_image *image);
/* Where a directory is now, in its own row: so that a move to two places is settled alike
 * everywhere. Where that fails the entry counts all the same, and the timer tries again. row_busy
 * held. */
void kith_dir_tell(struct kith_fs *fs, struct kith_inode *inode, const char *name);
/* Where a directory is to be, before it is: where that fails it stays where it was. row_busy held. */
int kith_dir_tell_first(struct kith_fs *fs, struct kith_inode *inode,
                        const struct kith_inode *parent, const char *name);
/* What is untold is put. row_busy held. */
int kith_inode_tell(struct kith_fs *fs, struct kith_inode *inode);
/* That failed, or has to be tried later: the timer does it. */
void kith_inode_untold(struct kith_fs *fs, struct kith_inode *inode, int error);

#endif

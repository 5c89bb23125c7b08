/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * work.h - the work of requests: names, hard links, contents, attributes, and the batches of rows
 * that they put. Included by fs.h, whose types it needs. */
#ifndef KITH_FS_WORK_H
#define KITH_FS_WORK_H

/* ---- lookup.c, create.c and make.c share ---- */
/* Asks the cluster for the job's name; begins the job. */
void kith_name_send(struct kith_job *job,
                    void (*done)(struct kith_job *, const struct kith_client_result *));
/* What that saw, into the tables; the entry comes back pinned. *ret_link: it needs a second request,
 * being a link, or a file that stood elsewhere; nothing is taken note of yet. */
int kith_name_saw(struct kith_job *job, const struct kith_client_result *result, bool *ret_link,
                  struct kith_entry **ret_entry);
/* The same with a scan of the job's directory (kith_dir_scan_due) instead of the one name. *ret_ask: the
 * scan does not tell of the name, a thread must ask. */
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
/* fs->lock held. A new inode under `entry`, which leads to it; one ref for the caller. NULL when
 * memory is short. */
struct kith_inode *kith_inode_make(struct kith_fs *fs, struct kith_entry *entry, uint64_t id,
                                   enum kith_type type, mode_t mode, const struct fuse_ctx *ctx);
/* A made name that could not be put: it never was. */
void kith_inode_unmake(struct kith_fs *fs, struct kith_entry *entry, struct kith_inode *inode);

/* ---- lookup.c to data.c: the work of requests, in threads ---- */
void kith_do_lookup(struct kith_job *job);
void kith_do_create(struct kith_job *job);
void kith_do_mknod(struct kith_job *job);
void kith_do_mkdir(struct kith_job *job);
void kith_do_symlink(struct kith_job *job); /* data: the target */
void kith_do_unlink(struct kith_job *job);
void kith_do_rmdir(struct kith_job *job);
void kith_do_rename(struct kith_job *job);
void kith_do_link(struct kith_job *job);
void kith_do_open(struct kith_job *job);
void kith_do_read(struct kith_job *job);
void kith_do_write(struct kith_job *job);
void kith_do_flush(struct kith_job *job);
void kith_do_fsync(struct kith_job *job);
void kith_do_release(struct kith_job *job);
void kith_do_fallocate(struct kith_job *job);
void kith_do_lseek(struct kith_job *job);
void kith_do_copy_range(struct kith_job *job);
void kith_do_setxattr(struct kith_job *job);
void kith_do_getxattr(struct kith_job *job);
void kith_do_listxattr(struct kith_job *job);
void kith_do_removexattr(struct kith_job *job);
void kith_do_no_memory(struct kith_job *job);
/* The same without a thread that waits, from libfuse's workers: the job is taken over, and handed to
 * the executor where memory does not know enough, something is busy, or much is to be done. */
void kith_start_lookup(struct kith_job *job);
void kith_start_create(struct kith_job *job);
void kith_start_open(struct kith_job *job);
void kith_start_flush(struct kith_job *job, enum kith_durability durability);
void kith_start_setattr(struct kith_job *job);
void kith_start_getattr(struct kith_job *job);
void kith_start_mknod(struct kith_job *job);
void kith_start_mkdir(struct kith_job *job);
void kith_start_symlink(struct kith_job *job);
void kith_start_unlink(struct kith_job *job);
void kith_start_rename(struct kith_job *job);
void kith_start_release(struct kith_job *job);
/* Done at once from memory: true, and the request is answered. */
bool kith_write_fast(struct kith_fs *fs, fuse_req_t req, struct kith_inode *inode, const char *data,
                     size_t size, off_t offset, const struct fuse_file_info *fi);
bool kith_read_fast(struct kith_fs *fs, fuse_req_t req, struct kith_inode *inode, size_t size,
                    off_t offset);
/* Takes attributes that may wait for the next put: true, and *ret_stat is as they are now, for so many
 * seconds. False: they must be put before the answer, and nothing has changed. */
bool kith_setattr_fast(struct kith_fs *fs, struct kith_inode *inode, const struct stat *attr,
                       int valid, struct stat *ret_stat, double *ret_timeout);
void kith_do_statfs(struct kith_job *job);
/* fs->lock held. True for the one who shall start kith_do_statfs now. */
bool kith_statfs_due(struct kith_fs *fs);
/* Answers CREATE from memory where that is possible. */
bool kith_create_fast(struct kith_fs *fs, fuse_req_t req, struct kith_inode *dir, const char *name,
                      mode_t mode, struct fuse_file_info *fi);

/* ---- whole.c: what is put has no half of a write in it ---- */
/* Before the data of a WRITE is in the contents. True: it may be a part of a write, and more
 * follows. */
KITH_MUST_CHECK bool kith_whole_part(struct kith_fs *fs, struct kith_inode *inode, pid_t thread,
                                     uint64_t offset, size_t size,
                                     const struct fuse_file_info *fi);
/* No write to the file is under way: the kernel's lock of it is held, or the data of the last WRITE
 * of one is in the contents. */
void kith_whole_over(struct kith_fs *fs, struct kith_inode *inode);
/* fs->lock held. None by that thread is: it asks for something else. */
void kith_whole_asked(struct kith_fs *fs, struct kith_inode *inode, pid_t thread);
/* kith_inode_image and kith_inode_image_now, for who comes without the kernel's lock of the file:
 * they wait until a write that is under way is over, some time; or say EBUSY. */
int kith_whole_image(struct kith_fs *fs, struct kith_inode *inode, enum kith_durability durability,
                     struct kith_arena *arena, struct kith_image *ret_image);
int kith_whole_image_now(struct kith_fs *fs, struct kith_inode *inode, struct kith_arena *arena,
                         struct kith_image *ret_image);

/* ---- remove.c ---- */
/* fs->lock held: the name is removed; its inode, where that was the last one, is unlinked. */
void kith_entry_gone(struct kith_fs *fs, struct kith_entry *entry);

/* ---- dir_own.c: a directory's own row ---- */
/* That row, encoded into `buf`; its group. */
struct kith_group kith_dir_own_row(struct kith_fs *fs, struct kith_inode *inode, const char *name,
                                   bool removed, struct kith_buf *buf);
/* Marks an empty directory's own row as removed (dir_busy and row_busy held). */
int kith_dir_remove(struct kith_fs *fs, struct kith_inode *inode);
/* Its name was not removed after all: takes the mark back. unknown: perhaps it was, and the mark
 * stays. */
void kith_dir_restore(struct kith_fs *fs, struct kith_inode *inode, bool unknown);
/* Takes this mount's mark off the own row: that one alone, whatever else stands there by now. */
int kith_dir_unmark(struct kith_fs *fs, struct kith_inode *inode);
/* Says in a directory's own row where it is now, or that it is removed (context: what takes an
 * earlier mark along). */
int kith_dir_put_own(struct kith_fs *fs, struct kith_inode *inode, const char *name, bool removed,
                     struct kith_bytes context);

/* ---- link_remove.c, link_out.c ---- */
/* Takes one name from a shared inode, in the cluster; what stays under it is parted (twin.c).
 * row_busy held. */
int kith_link_remove(struct kith_fs *fs, struct kith_entry *entry, struct kith_inode *inode);
/* Gives a shared inode a row in a group of its own, so that names anywhere can refer to it. */
int kith_link_promote(struct kith_fs *fs, struct kith_inode *inode);
/* The same, and of an inode with one name alone. entries: its names in `dir`; stays: not all of
 * them, the row that it had there is still needed. row_busy held. */
int kith_link_move_out(struct kith_fs *fs, struct kith_inode *inode, struct kith_inode *dir,
                       struct kith_entry *entries[], uint32_t count, bool stays);

/* ---- tell.c ---- */
/* The names of an inode whose row is in a group of its own have changed, in the directories. Its
 * row is put; where that fails the names changed all the same, and the timer puts it. image: as it was
 * before they changed, with which it is put though somebody has removed it since; NULL where no name
 * was added. row_busy held. */
void kith_link_tell(struct kith_fs *fs, struct kith_inode *inode,
                    const struct kith_link_name names[], uint32_t count,
                    const struct kith_image *image);
/* Where a directory is now, in its own row: so that a move to two places is settled alike
 * everywhere. Where that fails the entry counts all the same, and the timer tries again. row_busy
 * held. */
void kith_dir_tell(struct kith_fs *fs, struct kith_inode *inode, const char *name);
/* What is untold is put. row_busy held. */
int kith_inode_tell(struct kith_fs *fs, struct kith_inode *inode);
/* That failed, or has to be tried later: the timer does it. */
void kith_inode_untold(struct kith_fs *fs, struct kith_inode *inode, int error);

/* ---- linkset.c: which names refer to the row of a shared inode ---- */
enum kith_link_state {
    KITH_LINK_GONE,
    KITH_LINK_HIDDEN, /* under a newer version of the name, which leads elsewhere */
    KITH_LINK_LEADS,
};
struct kith_linkset {
    struct kith_group group; /* the row: where, and of what */
    bool own;
    uint64_t id;
    bool live;             /* it is there */
    struct kith_seen seen; /* it; its record has the names that follow */
    enum kith_link_state states[KITH_LINKS_MAX];
    /* of the names' rows: what replaces the version that leads there; what removes a hidden one */
    struct kith_bytes contexts[KITH_LINKS_MAX];
    uint32_t leads, hidden;
    struct kith_arena arena;
    struct kith_client_answer answer;
};
/* Reads the row and its names by quorum, never degraded. To be freed, whatever is returned. EBUSY:
 * they change all the time. */
int kith_linkset_read(struct kith_fs *fs, const struct kith_group *group, bool own, uint64_t id,
                      struct kith_linkset *ret_set);
void kith_linkset_free(struct kith_linkset *set);
/* Those that refer to it, less `out` (may be NULL); ret_names has room for KITH_LINKS_MAX and
 * borrows from the set. */
uint32_t kith_linkset_names(const struct kith_linkset *set, const struct kith_entry *out,
                            struct kith_link_name ret_names[]);
/* Takes out the references that are hidden under other files' names. Two mounts gave the name to two
 * files at once: the newer one has it, and the reference is no name. */
int kith_linkset_drop(struct kith_fs *fs, struct kith_linkset *set);
/* Those of them that lead to it and lie in `dir`, less `out` (may be NULL), into the tables, pinned;
 * row_busy held. A name that this mount is just giving to another file is left out. */
uint32_t kith_linkset_pin(struct kith_fs *fs, struct kith_inode *dir, struct kith_inode *inode,
                          const struct kith_linkset *set, const struct kith_entry *out,
                          struct kith_entry *ret_entries[]);
/* fs->lock held. The timer looks at the names of the inode, in a moment. */
void kith_link_recount_soon(struct kith_fs *fs, struct kith_inode *inode);
/* That. row_busy held. */
int kith_link_recount(struct kith_fs *fs, struct kith_inode *inode);
/* The name of a shared inode's row in its group. */
static inline void kith_link_rowname(bool own, uint64_t id, struct kith_rowname *ret_name)
{
    if (own) {
        kith_rowname_entry(kith_bytes_make(NULL, 0), ret_name);
    } else {
        kith_rowname_shared(id, ret_name);
    }
}

/* ---- left.c ---- */
/* The row goes, and what was in it becomes a file of its own under a name that it had. */
int kith_linkset_restore(struct kith_fs *fs, struct kith_linkset *set,
                         const struct kith_link_name *name);
/* Where the row of a shared inode was, which it no longer has. */
struct kith_link_at {
    struct kith_group group;
    bool own;
    uint64_t id;
};
/* fs->lock held. That row was removed, or left for another place of the inode with `contents`. Where
 * versions of it are still there, or come, that no name refers to, those with other contents come
 * back as files of their own under `name`, or one beside it. */
void kith_link_left(struct kith_fs *fs, const struct kith_link_at *of,
                    const struct kith_link_name *name, struct kith_bytes contents);
/* The same not before `delay` has passed. */
void kith_link_left_later(struct kith_fs *fs, const struct kith_link_at *of,
                          const struct kith_link_name *name, struct kith_bytes contents,
                          uint64_t delay);
/* Begins that, for all that are due; from the timer. What fails is tried again later. */
void kith_link_left_start(struct kith_fs *fs);
/* Does it, also what is not due yet: the mount ends. What has failed by the deadline is named. */
void kith_link_left_end(struct kith_fs *fs, uint64_t deadline);

/* ---- batch.c ---- */
struct kith_batch {
    struct kith_arena arena;
    struct kith_put_update updates[KITH_BATCH_MAX];
    uint32_t count;
};
KITH_MUST_CHECK struct kith_batch *kith_batch_new(void);
void kith_batch_free(struct kith_batch *batch);
/* Adds one update; name, context and value are copied. Returns its index or -1 (ENOMEM, full). */
int kith_batch_add(struct kith_batch *batch, struct kith_bytes name, struct kith_bytes context,
                   const struct kith_bytes *value, uint8_t kind, const struct kith_chunk_id *refs,
                   uint32_t ref_count);
/* Removes the attribute rows of an inode that stand beside its row; with `to`, the extended
 * attributes are written beside that row instead (in the batch of another group where `into`
 * differs). May wait. */
int kith_batch_attrs(struct kith_fs *fs, struct kith_batch *from, struct kith_batch *into,
                     struct kith_inode *inode, const struct kith_rowname *to);
/* Puts a batch; the answer must be released, whatever is returned. */
int kith_batch_put(struct kith_fs *fs, struct kith_batch *batch, const struct kith_group *group,
                   struct kith_client_answer *ret_answer);
/* Takes over the context that the put answered for the update `at`. fs->lock held. ENOMEM. */
int kith_batch_note(struct kith_octets *octets, const struct kith_client_answer *answer, int at);
/* The record of an inode, with its image, as a value in the batch's arena. */
int kith_batch_record(struct kith_batch *batch, const struct kith_inode_record *record,
                      struct kith_bytes *ret_value);

/* ---- link_row.c ---- */
/* A name that refers to a shared inode in `group`. fs->lock held. */
int kith_link_name_row(struct kith_fs *fs, struct kith_batch *batch, struct kith_entry *entry,
                       const struct kith_octets *ctx, const struct kith_inode *inode,
                       const struct kith_group *group);
/* The row of a shared inode with these names, contents `image`. */
int kith_link_row(struct kith_fs *fs, struct kith_batch *batch, struct kith_inode *inode,
                  const struct kith_link_name names[], uint32_t count,
                  const struct kith_image *image);
/* The same as a put of its own; count 0 removes the row. */
int kith_link_put(struct kith_fs *fs, struct kith_inode *inode, const struct kith_link_name names[],
                  uint32_t count, const struct kith_image *image);
/* The same with the contents as they are. */
int kith_link_put_names(struct kith_fs *fs, struct kith_inode *inode,
                        const struct kith_link_name names[], uint32_t count);
/* A shared inode's names with one taken out and one put in (either may be NULL). In the arena; the
 * names borrow. fs->lock held. NULL when memory is short. */
struct kith_link_name *kith_link_names_with(struct kith_arena *arena,
                                            const struct kith_inode *inode,
                                            const struct kith_entry *out,
                                            const struct kith_entry *in, uint32_t *ret_count);
/* fs->lock held. The inode has a row of its own from here on. */
void kith_link_share(struct kith_inode *inode, const struct kith_group *group, bool own);

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

/* ---- twin.c, exchange.c ---- */
/* fs->lock held. Whether another version stays under a name that a file has left, as its put
 * answered. */
bool kith_twin_stays(const struct kith_entry *entry);
/* Where that is a version of the file it becomes a file of its own. May wait. */
void kith_twin_part(struct kith_fs *fs, struct kith_entry *entry, const struct kith_inode *inode);
/* A name that another file took over from a shared inode; the put of that answered `context`. Where
 * a reference to the inode stays under it, that goes. May wait. */
void kith_twin_unlink(struct kith_fs *fs, struct kith_entry *entry, const struct kith_inode *inode,
                      struct kith_bytes context);
/* RENAME_EXCHANGE of two files; both pinned, the directory taken. */
int kith_exchange(struct kith_fs *fs, struct kith_entry *a, struct kith_entry *b);

#endif

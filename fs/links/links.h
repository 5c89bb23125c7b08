/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * links.h - hard links: the row of a shared inode, the names that refer to it, and what is left
 * where the two did not see each other's change.
 *
 * Over the tables, rows and files; jobs and answers are those of requests.h. A row whose names
 * changed in another group is told so by names.h (tell.c), which also looks whether a new name is
 * free (lookup.c) and parts what stays under a removed one (twin.c). */
#ifndef KITH_FS_LINKS_LINKS_H
#define KITH_FS_LINKS_LINKS_H

#include "fs/fs.h"
#include "fs/tables/tables.h"

struct kith_batch; /* rows.h */
struct kith_image; /* files.h */

/* ---- link.c ---- */
void kith_do_link(struct kith_job *job);

/* ---- link_remove.c ---- */
/* Takes one name from a shared inode, in the cluster; what stays under it is parted (twin.c).
 * row_busy held. */
int kith_link_remove(struct kith_fs *fs, struct kith_entry *entry, struct kith_inode *inode);

/* ---- link_out.c ---- */
/* Gives a shared inode a row in a group of its own, so that names anywhere can refer to it. */
int kith_link_promote(struct kith_fs *fs, struct kith_inode *inode);
/* The same, and of an inode with one name alone. entries: its names in `dir`; stays: not all of
 * them, the row that it had there is still needed. row_busy held. */
int kith_link_move_out(struct kith_fs *fs, struct kith_inode *inode, struct kith_inode *dir,
                       struct kith_entry *entries[], uint32_t count, bool stays);

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
    struct kith_seen seen; /* it; its record has the names that follow, of all its versions */
    struct kith_link_names row_names; /* those that the version has of which it tells */
    enum kith_link_state states[KITH_LINKS_MAX];
    /* of the names' rows: what replaces the version that leads there; what removes a hidden one */
    struct kith_bytes contexts[KITH_LINKS_MAX];
    uint32_t leads, hidden;
    bool beside; /* a name leads to another row of the same inode, which is in this group: */
    struct kith_group beside_group;
    bool beside_own; /* one of its own */
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
/* Whether that name leads to it. */
bool kith_linkset_leads(const struct kith_linkset *set, const struct kith_group *dir,
                        const char *name);
/* Takes out the references that are hidden under other files' names. Two mounts gave the name to
 * two files at once: the newer one has it, and the reference is no name. */
int kith_linkset_drop(struct kith_fs *fs, struct kith_linkset *set);
/* Those of them that lead to it and lie in `dir`, less `out` (may be NULL), into the tables,
 * pinned; row_busy held. A name that this mount is just giving to another file is left out. */
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

/* ---- link_join.c ---- */
/* Where the names tell of another row of the inode (set->beside) both become one, *ret_joined, and
 * the set is over. row_busy held. */
int kith_linkset_join(struct kith_fs *fs, struct kith_inode *inode, struct kith_linkset *set,
                      bool *ret_joined);

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
/* fs->lock held. That row was removed, or left for another place of the inode with `contents`.
 * Where versions of it are still there, or come, that no name refers to, those with other contents
 * come back as files of their own under `name`, or one beside it. */
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

#endif

/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * link_join.c - one inode with two rows becomes one again.
 *
 * A mount gives a shared inode a row in a group of its own (link_out.c) while another adds a name
 * where the row was, or gives it a group of its own, too. Then names of one file lead to two rows,
 * which a mount keeps apart as two inodes (kith_seen_place_id). Who counts the names of one row
 * meets the other: a name that it tells of leads there. He moves all names to one of them, the same
 * for every mount. First the row that stays learns of them, then they refer to it, and then the
 * other one goes; where that holds other contents it comes back as a file of its own. */
#include <errno.h>
#include <string.h>

#include "fs/fs.h"
#include "fs/links/links.h"
#include "fs/rows/rows.h"
#include "fs/tables/tables.h"

/* The row in a group of its own stays: names anywhere can refer to it. */
static bool stays(const struct kith_linkset *set, const struct kith_linkset *other)
{
    return set->own != other->own ? set->own : kith_group_compare(&set->group, &other->group) < 0;
}

/* What is in both is the same. */
static bool alike(const struct kith_linkset *a, const struct kith_linkset *b)
{
    return a->seen.record.type == b->seen.record.type &&
           kith_bytes_equal(a->seen.record.contents, b->seen.record.contents) &&
           kith_bytes_equal(a->seen.record.target, b->seen.record.target);
}

/* A set of names in their order. */
struct names {
    struct kith_link_name at[2 * KITH_LINKS_MAX];
    uint32_t count;
};

static void add_name(struct names *names, const struct kith_link_name *name)
{
    uint32_t i = 0;
    while (i < names->count && kith_link_name_compare(&names->at[i], name) < 0) {
        i++;
    }
    if (i == names->count || kith_link_name_compare(&names->at[i], name) != 0) {
        memmove(&names->at[i + 1], &names->at[i], (names->count - i) * sizeof *names->at);
        names->at[i] = *name;
        names->count++;
    }
}

static void all_names(const struct kith_linkset *from, const struct kith_linkset *into,
                      struct names *ret_names)
{
    struct kith_link_name have[KITH_LINKS_MAX];
    uint32_t count = kith_linkset_names(into, NULL, have);
    ret_names->count = 0;
    for (uint32_t i = 0; i < count; i++) {
        add_name(ret_names, &have[i]);
    }
    for (uint32_t i = 0; i < from->seen.record.name_count; i++) {
        if (from->states[i] == KITH_LINK_LEADS) {
            add_name(ret_names, &from->seen.record.names[i]);
        }
    }
}

/* The row that stays, with all names and the newer attributes of both. *ret_answer is of its put,
 * to be released. E2BIG: they do not go into one. */
static int put_into(struct kith_fs *fs, const struct kith_linkset *from,
                    const struct kith_linkset *into, const struct names *names,
                    struct kith_client_answer *ret_answer)
{
    struct kith_inode_record record = into->seen.record;
    struct kith_rowname row;
    struct kith_bytes value;
    struct kith_batch *batch = kith_batch_new();
    memset(ret_answer, 0, sizeof *ret_answer);
    if (batch == NULL) {
        return ENOMEM;
    }
    record.names = names->at;
    record.name_count = names->count;
    kith_attrs_merge(&record.attrs, &from->seen.record.attrs);
    kith_link_rowname(into->own, into->id, &row);
    int error = names->count > KITH_LINKS_MAX ? E2BIG : kith_batch_record(batch, &record, &value);
    if (error == 0 && value.size > KITH_INLINE_VALUE_MAX) {
        error = E2BIG;
    }
    if (error == 0 &&
        kith_batch_add(batch, kith_rowname_bytes(&row), into->seen.inode_ctx, &value,
                       KITH_SIBLING_VALUE, into->seen.winner->refs,
                       into->seen.winner->ref_count) < 0) {
        error = ENOMEM;
    }
    error = error == 0 ? kith_batch_put(fs, batch, &into->group, ret_answer) : error;
    kith_batch_free(batch);
    return error;
}

static int add_reference(struct kith_batch *batch, const struct kith_linkset *from, uint32_t i,
                         const struct kith_linkset *into)
{
    struct kith_inode_record record;
    struct kith_bytes value;
    memset(&record, 0, sizeof record);
    record.type = KITH_TYPE_LINK;
    record.file_id = into->id;
    record.link = into->group;
    int error = kith_batch_record(batch, &record, &value);
    if (error == 0 && kith_batch_add(batch, from->seen.record.names[i].name, from->contexts[i],
                                     &value, KITH_SIBLING_VALUE, NULL, 0) < 0) {
        error = ENOMEM;
    }
    return error;
}

/* The row goes as far as it was read, and the attribute row beside it. */
static int add_removal(struct kith_batch *batch, const struct kith_linkset *from)
{
    struct kith_rowname row, attr;
    kith_link_rowname(from->own, from->id, &row);
    kith_rowname_attr(kith_rowname_bytes(&row), &attr);
    bool ok = kith_batch_add(batch, kith_rowname_bytes(&row), from->seen.inode_ctx, NULL, 0, NULL,
                             0) >= 0 &&
              (!from->seen.attr_row || kith_batch_add(batch, kith_rowname_bytes(&attr),
                                                      from->seen.attr_ctx, NULL, 0, NULL, 0) >= 0);
    return ok ? 0 : ENOMEM;
}

/* The names of one group, from `first` to `end`, refer to the row that stays; with them goes the
 * other row, where it lies there and `goes`. */
static int refer(struct kith_fs *fs, const struct kith_linkset *from, uint32_t first, uint32_t end,
                 const struct kith_linkset *into, bool goes)
{
    const struct kith_group *group = &from->seen.record.names[first].group;
    struct kith_batch *batch = kith_batch_new();
    struct kith_client_answer answer;
    int error = batch == NULL ? ENOMEM : 0;
    for (uint32_t i = first; i < end && error == 0; i++) {
        if (from->states[i] == KITH_LINK_LEADS) {
            error = add_reference(batch, from, i, into);
        }
    }
    if (error == 0 && goes && kith_group_compare(group, &from->group) == 0) {
        error = add_removal(batch, from);
    }
    if (error == 0 && batch->count > 0) {
        error = kith_batch_put(fs, batch, group, &answer);
        kith_client_answer_release(&answer);
    }
    kith_batch_free(batch);
    return error;
}

static int refer_all(struct kith_fs *fs, const struct kith_linkset *from,
                     const struct kith_linkset *into, bool goes)
{
    const struct kith_inode_record *record = &from->seen.record;
    int error = 0;
    uint32_t end;
    for (uint32_t first = 0; first < record->name_count && error == 0; first = end) {
        for (end = first + 1; end < record->name_count &&
                              kith_group_compare(&record->names[end].group,
                                                 &record->names[first].group) == 0;
             end++) {
        }
        error = refer(fs, from, first, end, into, goes);
    }
    return error;
}

/* Where no name lies in its group it goes by itself. */
static int remove_own(struct kith_fs *fs, const struct kith_linkset *from)
{
    struct kith_batch *batch = kith_batch_new();
    struct kith_client_answer answer;
    int error = batch == NULL ? ENOMEM : add_removal(batch, from);
    if (error == 0) {
        error = kith_batch_put(fs, batch, &from->group, &answer);
        kith_client_answer_release(&answer);
    }
    kith_batch_free(batch);
    return error;
}

/* fs->lock held. The names have changed, beside what this mount does with them. */
static void doubt_names(struct kith_fs *fs, const struct kith_linkset *from)
{
    for (uint32_t i = 0; i < from->seen.record.name_count; i++) {
        char name[KITH_FS_NAME_MAX + 1];
        struct kith_bytes bytes = from->seen.record.names[i].name;
        const struct kith_inode *dir = kith_dir_find(fs, &from->seen.record.names[i].group);
        memcpy(name, bytes.data, bytes.size);
        name[bytes.size] = '\0';
        struct kith_entry *entry = dir != NULL ? kith_entry_find(dir, name) : NULL;
        if (entry != NULL) {
            kith_entry_doubt(entry);
            kith_watch_doubt(entry);
        }
    }
}

/* fs->lock held. What memory has of the inode, where that is the row that has just been put: its
 * contents under another dot. */
static int stored(struct kith_inode *inode, const struct kith_put_result *put)
{
    if (inode->has_kernel_dot && inode->has_dot &&
        kith_dot_equal(&inode->kernel_dot, &inode->dot)) {
        inode->kernel_dot = put->dot;
    }
    inode->dot = put->dot;
    inode->has_dot = true;
    return kith_inode_moved_on(inode, put->context) ? 0 : ENOMEM;
}

/* fs->lock held. Memory has the inode where it is now. What an open file was read from goes along
 * where both rows held the same; else its next put stands beside what is there. */
static int take_place(struct kith_inode *inode, const struct kith_linkset *from,
                      const struct kith_linkset *into, const struct names *names,
                      const struct kith_put_result *put)
{
    bool moves = kith_group_compare(&inode->share_group, &from->group) == 0;
    const struct kith_linkset *at = moves ? from : into;
    bool current = inode->has_dot && kith_dot_equal(&inode->dot, &at->seen.dot);
    int error = 0;
    if (moves) {
        kith_link_share(inode, &into->group, into->own);
        inode->share_id = into->id;
        inode->attr_row = into->seen.attr_row;
        error = kith_octets_set(&inode->attr_ctx, into->seen.attr_ctx) ? 0 : ENOMEM;
    }
    if (current && (!moves || alike(from, into))) {
        error = error | stored(inode, put);
    } else if (moves) {
        kith_octets_clear(&inode->open_ctx);
    }
    inode->valid_until = 0;
    inode->changed_at = kith_mono_ns();
    return kith_inode_names_set(inode, names->at, names->count) ? error : ENOMEM;
}

/* Both rows are live. */
static int join(struct kith_fs *fs, struct kith_inode *inode, struct kith_linkset *from,
                const struct kith_linkset *into)
{
    struct kith_client_answer answer;
    struct names names;
    const struct kith_inode_record *record = &from->seen.record;
    bool goes = alike(from, into), here = false;
    all_names(from, into, &names);
    int error = put_into(fs, from, into, &names, &answer);
    for (uint32_t i = 0; i < record->name_count; i++) {
        here = here || kith_group_compare(&record->names[i].group, &from->group) == 0;
    }
    if (error == 0) {
        error = refer_all(fs, from, into, goes);
    }
    if (error == 0 && goes && !here) {
        error = remove_own(fs, from);
    } else if (error == 0 && !goes && record->name_count > 0) {
        error = kith_linkset_restore(fs, from, &record->names[0]);
    }
    pthread_mutex_lock(&fs->lock);
    doubt_names(fs, from);
    if (error == 0 && inode->shared && !inode->unlinked) {
        error = take_place(inode, from, into, &names, &answer.result.u.put.results[0]);
    }
    if (error == 0 && record->name_count > 0) { /* versions that were not seen, yet to come */
        const struct kith_link_at was = {from->group, from->own, from->id};
        kith_link_left(fs, &was, &record->names[0], record->contents);
    }
    if (error == 0) { /* other versions that were there, with names of their own */
        inode->beside = true;
        inode->beside_own = from->own;
        inode->beside_group = from->group;
    }
    kith_link_recount_soon(fs, inode);
    pthread_mutex_unlock(&fs->lock);
    kith_client_answer_release(&answer);
    return error;
}

int kith_linkset_join(struct kith_fs *fs, struct kith_inode *inode, struct kith_linkset *set,
                      bool *ret_joined)
{
    struct kith_linkset other;
    *ret_joined = false;
    if (!set->beside) {
        return 0;
    }
    int error = kith_linkset_read(fs, &set->beside_group, set->beside_own, set->id, &other);
    if (error == 0 && other.live && other.seen.record.name_count > 0) {
        error = kith_linkset_drop(fs, &other);
        if (error == 0) {
            bool kept = stays(set, &other);
            error = join(fs, inode, kept ? &other : set, kept ? set : &other);
        }
        *ret_joined = error == 0;
        error = error == E2BIG ? 0 : error; /* they stay two */
    }
    kith_linkset_free(&other);
    return error;
}

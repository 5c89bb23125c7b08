/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * linkset.c - the names of a shared inode, held against the directories.
 *
 * The set of names in an inode's row is what mounts have told it. Two that change names at the same
 * time do not see each other's change, and one that ends between two puts tells only half. So who
 * acts on the set, because few names are left or the row is to move, and who has put the row a
 * moment ago, looks whether the names refer to it. Within a directory the row and the names come in
 * one read: each replica answers it from one state, and as a name is never put without the row,
 * none can be missed. A row in a group of its own is read before its names, and put once more after
 * a new name (link.c): who removed it in between did not see that put.
 *
 * Where no name is left, and it is this mount that removed one, the row goes; where it has written
 * to the file meanwhile that gets its name again, as a file of its own (left.c): a removal keeps
 * the edit that it has not seen. */
#include <errno.h>
#include <string.h>

#include "format/versions.h"
#include "fs/fs.h"
#include "fs/files/files.h"
#include "fs/links/links.h"
#include "fs/rows/rows.h"
#include "fs/tables/tables.h"

#define RECOUNT_NS      (NSEC_PER_SEC / 2) /* at least, after a change: the next ones come along */
#define RECOUNT_MORE_NS (NSEC_PER_SEC / 2) /* at random on top: two mounts seldom do it at once */
#define LEFT_NS                                                                                    \
    SWEEP_AGE_NS /* who removed the last name has told the row by then, or has ended */
#define ROWS_BESIDE     2u /* asked with the names: the inode's and its attributes */

_Static_assert(KITH_LINKS_MAX + ROWS_BESIDE <= KITH_NAMES_MAX, "all names in one read");

void kith_linkset_free(struct kith_linkset *set)
{
    kith_client_answer_release(&set->answer);
    kith_arena_release(&set->arena);
}

/* The name leads to a row of the same inode, in another place. */
static void note_beside(struct kith_linkset *set, const struct kith_group *in,
                        const struct kith_inode_record *record)
{
    set->beside = true;
    set->beside_group = record->link;
    set->beside_own = kith_group_compare(&record->link, in) != 0;
}

/* How a name's row in the group `in` refers to the inode's; *ret_rest: the row without its
 * references. */
static enum kith_link_state state_of(struct kith_arena *arena, struct kith_linkset *set,
                                     const struct kith_group *in, const struct kith_row *row,
                                     struct kith_row *ret_rest)
{
    const struct kith_sibling *winner = kith_versions_winner(row);
    enum kith_link_state state = KITH_LINK_GONE;
    struct kith_sibling *others =
        kith_arena_calloc(arena, row->sibling_count + 1u, sizeof *others);
    ret_rest->sibling_count = others != NULL ? 0 : row->sibling_count;
    ret_rest->siblings = others != NULL ? others : row->siblings;
    for (uint32_t i = 0; i < row->sibling_count; i++) {
        const struct kith_sibling *sibling = &row->siblings[i];
        struct kith_inode_record record;
        bool link = sibling->kind == KITH_SIBLING_VALUE &&
                    kith_inode_record_decode(arena, sibling->value, &record) == KITH_OK &&
                    record.type == KITH_TYPE_LINK && record.file_id == set->id;
        if (!link || kith_group_compare(&record.link, &set->group) != 0) {
            if (link && sibling == winner) {
                note_beside(set, in, &record);
            }
            if (others != NULL) {
                others[ret_rest->sibling_count++] = *sibling;
            }
            continue;
        }
        if (sibling == winner) {
            return KITH_LINK_LEADS;
        }
        state = KITH_LINK_HIDDEN;
    }
    return state;
}

static int take_state(struct kith_linkset *set, uint32_t i, const struct kith_row *row)
{
    struct kith_row rest = *row;
    const struct kith_sibling *goes = kith_versions_winner(row);
    set->states[i] = state_of(&set->arena, set, &set->seen.record.names[i].group, row, &rest);
    set->leads += set->states[i] == KITH_LINK_LEADS ? 1 : 0;
    set->hidden += set->states[i] == KITH_LINK_HIDDEN ? 1 : 0;
    if (set->states[i] == KITH_LINK_HIDDEN) { /* all but the references */
        goes = NULL;
    }
    return kith_errno(kith_row_context(&set->arena, goes == NULL ? &rest : row, goes,
                                       &set->contexts[i]));
}

/* The names of other groups than the row's. */
static int read_elsewhere(struct kith_fs *fs, struct kith_linkset *set)
{
    const struct kith_inode_record *record = &set->seen.record;
    int error = 0;
    uint32_t end;
    for (uint32_t first = 0; first < record->name_count && error == 0; first = end) {
        const struct kith_group *group = &record->names[first].group;
        struct kith_bytes names[KITH_LINKS_MAX];
        for (end = first; end < record->name_count &&
                          kith_group_compare(&record->names[end].group, group) == 0;
             end++) {
            names[end - first] = record->names[end].name;
        }
        if (kith_group_compare(group, &set->group) == 0) {
            continue;
        }
        struct kith_client_answer answer;
        error = kith_rows_get_strict(fs, group, names, end - first, &answer);
        for (uint32_t i = first; i < end && error == 0; i++) {
            error = take_state(set, i, &answer.result.u.rows.rows[i - first].row);
        }
        kith_client_answer_release(&answer);
    }
    return error;
}

/* The names that lie in the row's own group, in the arena: they outlive the answer. */
static bool names_here(struct kith_linkset *set, struct kith_bytes names[], uint32_t *ret_count)
{
    const struct kith_inode_record *record = &set->seen.record;
    *ret_count = 0;
    for (uint32_t i = 0; i < record->name_count && set->live; i++) {
        struct kith_bytes name = record->names[i].name;
        if (kith_group_compare(&record->names[i].group, &set->group) != 0) {
            continue;
        }
        name.data = kith_arena_copy(&set->arena, name.data, name.size);
        if (name.data == NULL) {
            return false;
        }
        names[(*ret_count)++] = name;
    }
    return true;
}

static bool same_names(const struct kith_bytes a[], uint32_t a_count, const struct kith_bytes b[],
                       uint32_t b_count)
{
    bool same = a_count == b_count;
    for (uint32_t i = 0; i < a_count && same; i++) {
        same = kith_bytes_equal(a[i], b[i]);
    }
    return same;
}

/* The row, and in the same read the names of its group; read again until it has no other ones. */
static int read_here(struct kith_fs *fs, struct kith_linkset *set)
{
    struct kith_rowname row, attr;
    struct kith_bytes names[ROWS_BESIDE + KITH_LINKS_MAX], next[KITH_LINKS_MAX];
    uint32_t count = 0, next_count = 0;
    kith_link_rowname(set->own, set->id, &row);
    kith_rowname_attr(kith_rowname_bytes(&row), &attr);
    names[0] = kith_rowname_bytes(&row);
    names[1] = kith_rowname_bytes(&attr);
    for (unsigned i = 0; i < KITH_LOOKS_MAX; i++) {
        kith_client_answer_release(&set->answer);
        int error = kith_rows_get_strict(fs, &set->group, names, ROWS_BESIDE + count, &set->answer);
        if (error != 0) {
            return error;
        }
        const struct kith_client_row *rows = set->answer.result.u.rows.rows;
        memset(&set->seen, 0, sizeof set->seen);
        set->seen.record.file_id = set->id;
        enum kith_err err = kith_seen_shared(&set->arena, &rows[0].row, &rows[1].row, &set->seen);
        set->live = err == KITH_OK;
        if (err != KITH_OK) {
            return err == KITH_ENOTFOUND ? 0 : kith_errno(err);
        }
        if (set->seen.names_missing) {
            return EMLINK;
        }
        set->row_names.count = set->seen.record.name_count;
        set->row_names.names = set->seen.record.names;
        set->seen.record.name_count = set->seen.all_names.count;
        set->seen.record.names = set->seen.all_names.names;
        if (!names_here(set, next, &next_count)) {
            return ENOMEM;
        }
        if (same_names(&names[ROWS_BESIDE], count, next, next_count)) {
            return 0;
        }
        memcpy(&names[ROWS_BESIDE], next, next_count * sizeof *next);
        count = next_count;
    }
    return EBUSY; /* they change all the time */
}

int kith_linkset_read(struct kith_fs *fs, const struct kith_group *group, bool own, uint64_t id,
                      struct kith_linkset *ret_set)
{
    struct kith_linkset *set = ret_set;
    memset(set, 0, sizeof *set);
    kith_arena_init(&set->arena, 0);
    set->group = *group;
    set->own = own;
    set->id = id;
    int error = read_here(fs, set);
    if (error != 0 || !set->live) {
        return error;
    }
    uint32_t at = ROWS_BESIDE;
    for (uint32_t i = 0; i < set->seen.record.name_count && error == 0; i++) {
        if (kith_group_compare(&set->seen.record.names[i].group, group) == 0) {
            error = take_state(set, i, &set->answer.result.u.rows.rows[at++].row);
        }
    }
    return error == 0 ? read_elsewhere(fs, set) : error;
}

uint32_t kith_linkset_names(const struct kith_linkset *set, const struct kith_entry *out,
                            struct kith_link_name ret_names[])
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < set->seen.record.name_count; i++) {
        const struct kith_link_name *name = &set->seen.record.names[i];
        bool goes = out != NULL && kith_bytes_equal(name->name, kith_entry_bytes(out)) &&
                    kith_group_compare(&name->group, &out->dir->dir->group) == 0;
        if (set->states[i] != KITH_LINK_GONE && !goes) {
            ret_names[count++] = *name;
        }
    }
    return count;
}

bool kith_linkset_leads(const struct kith_linkset *set, const struct kith_group *dir,
                        const char *name)
{
    const struct kith_link_name it = {*dir, kith_bytes_make(name, strlen(name))};
    bool leads = false;
    for (uint32_t i = 0; i < set->seen.record.name_count && !leads; i++) {
        leads = set->states[i] == KITH_LINK_LEADS &&
                kith_link_name_compare(&set->seen.record.names[i], &it) == 0;
    }
    return leads;
}

int kith_linkset_drop(struct kith_fs *fs, struct kith_linkset *set)
{
    int error = 0;
    for (uint32_t i = 0; i < set->seen.record.name_count && error == 0; i++) {
        if (set->states[i] != KITH_LINK_HIDDEN) {
            continue;
        }
        struct kith_client_answer answer;
        struct kith_put_update update = {.name = set->seen.record.names[i].name,
                                         .context = set->contexts[i]};
        error = kith_rows_put(fs, &set->seen.record.names[i].group, KITH_DURABLE_OS, &update, 1,
                              &answer);
        kith_client_answer_release(&answer);
        set->states[i] = error == 0 ? KITH_LINK_GONE : KITH_LINK_HIDDEN;
        set->hidden -= error == 0 ? 1 : 0;
    }
    return error;
}

/* fs->lock held. The entry of a name that the set says to lead to the inode, as it was read,
 * pinned; NULL where this mount is just putting another file there, or memory is short. */
static struct kith_entry *pin_name(struct kith_fs *fs, struct kith_inode *dir,
                                   struct kith_inode *inode, const struct kith_linkset *set,
                                   uint32_t i)
{
    char name[KITH_FS_NAME_MAX + 1];
    struct kith_bytes bytes = set->seen.record.names[i].name;
    memcpy(name, bytes.data, bytes.size);
    name[bytes.size] = '\0';
    struct kith_entry *entry = kith_entry_make(fs, dir, name, bytes.size);
    bool others = entry != NULL && entry->inode != NULL && entry->inode != inode &&
                  (entry->inode->row_busy || kith_entry_unsent(entry));
    if (entry == NULL || others || !kith_octets_set(&entry->ctx, set->contexts[i])) {
        return NULL;
    }
    kith_entry_lead(fs, entry, inode);
    kith_entry_refer(entry, &set->group);
    kith_entry_touch(fs, entry);
    entry->pins++;
    return entry;
}

uint32_t kith_linkset_pin(struct kith_fs *fs, struct kith_inode *dir, struct kith_inode *inode,
                          const struct kith_linkset *set, const struct kith_entry *out,
                          struct kith_entry *ret_entries[])
{
    uint32_t count = 0;
    pthread_mutex_lock(&fs->lock);
    for (uint32_t i = 0; i < set->seen.record.name_count; i++) {
        const struct kith_link_name *name = &set->seen.record.names[i];
        bool here = kith_group_compare(&name->group, &dir->dir->group) == 0;
        bool other = out == NULL || !kith_bytes_equal(name->name, kith_entry_bytes(out));
        struct kith_entry *entry = here && other && set->states[i] == KITH_LINK_LEADS
                                       ? pin_name(fs, dir, inode, set, i)
                                       : NULL;
        if (entry != NULL) {
            ret_entries[count++] = entry;
        }
    }
    pthread_mutex_unlock(&fs->lock);
    return count;
}

void kith_link_recount_soon(struct kith_fs *fs, struct kith_inode *inode)
{
    if (!inode->shared || inode->unlinked) {
        return;
    }
    if (!inode->recount) {
        uint64_t now = kith_mono_ns();
        inode->recount_at = now + RECOUNT_NS + (now / 1000 ^ inode->id) % RECOUNT_MORE_NS;
    }
    inode->recount = true;
    kith_inode_enqueue(fs, inode);
}

/* fs->lock held. What is in memory is what the directories have. */
static bool told(const struct kith_inode *inode, const struct kith_linkset *set,
                 const struct kith_link_name names[], uint32_t count)
{
    bool same = !set->seen.unsettled && inode->name_count == count &&
                set->row_names.count == count;
    for (uint32_t i = 0; i < count && same; i++) {
        same = kith_link_name_compare(&inode->names[i], &names[i]) == 0 &&
               kith_link_name_compare(&set->row_names.names[i], &names[i]) == 0;
    }
    return same;
}

/* No name refers to it. back: this mount has written to it since, or a newer file took its name: it
 * comes back. Else who removed its last name tells the row, which takes away what he has seen of it
 * and nothing else; it is this mount where the version in the row is the one with which it told so.
 * Any other may be an edit that nobody has removed, and whoever wrote it may have ended. */
static int recount_none(struct kith_fs *fs, struct kith_inode *inode, struct kith_linkset *set,
                        bool back)
{
    const struct kith_link_at was = {set->group, set->own, set->id};
    const struct kith_bytes nothing = kith_bytes_make(NULL, 0);
    bool named = set->seen.record.name_count > 0;
    pthread_mutex_lock(&fs->lock);
    bool removed = inode->took && kith_dot_equal(&inode->took_dot, &set->seen.dot);
    if (named && !back && !removed) {
        kith_link_left_later(fs, &was, &set->seen.record.names[0], nothing, LEFT_NS);
    }
    pthread_mutex_unlock(&fs->lock);
    if (named && !back && !removed) {
        return 0;
    }
    int error;
    if (back && named) {
        error = kith_linkset_restore(fs, set, &set->seen.record.names[0]);
    } else {
        struct kith_image none;
        memset(&none, 0, sizeof none);
        error = kith_link_put(fs, inode, NULL, 0, &none);
    }
    if (error == 0) {
        pthread_mutex_lock(&fs->lock);
        if (back && named) { /* the versions beside it, too */
            kith_link_left(fs, &was, &set->seen.record.names[0], set->seen.record.contents);
        }
        /* what is written through an open handle yet is put into the row again, and comes back: an
         * unlinked file would drop it */
        inode->unlinked = !(back && named && inode->is_open);
        inode->untold = false;
        pthread_mutex_unlock(&fs->lock);
    }
    return error;
}

/* Where else its row may be, as memory knows; the names tell better. */
static void look_beside(struct kith_fs *fs, struct kith_inode *inode, struct kith_linkset *set)
{
    pthread_mutex_lock(&fs->lock);
    if (inode->beside && !set->beside) {
        set->beside_group = inode->beside_group;
        set->beside_own = inode->beside_own;
        set->beside = kith_group_compare(&set->beside_group, &set->group) != 0;
    }
    pthread_mutex_unlock(&fs->lock);
}

static int recount(struct kith_fs *fs, struct kith_inode *inode)
{
    struct kith_linkset set;
    struct kith_link_name names[KITH_LINKS_MAX];
    int error = kith_inode_renew(fs, inode);
    if (error != 0) {
        return error == ESTALE ? 0 : error;
    }
    error = kith_linkset_read(fs, &inode->share_group, inode->share_own, inode->share_id, &set);
    bool lost = error == 0 && set.live && set.leads == 0 && set.hidden > 0, joined = false;
    if (error == 0 && set.live) {
        error = kith_linkset_drop(fs, &set);
    }
    if (error == 0 && set.live) {
        look_beside(fs, inode, &set);
        error = kith_linkset_join(fs, inode, &set, &joined);
    }
    if (error == 0 && set.live && !joined) {
        uint32_t count = kith_linkset_names(&set, NULL, names);
        pthread_mutex_lock(&fs->lock);
        bool same = told(inode, &set, names, count);
        inode->wrote = inode->wrote && count == 0; /* else a name leads to what was written */
        pthread_mutex_unlock(&fs->lock);
        if (count == 0) {
            error = recount_none(fs, inode, &set, lost || inode->wrote);
        } else if (!same) {
            error = kith_link_put_names(fs, inode, names, count);
            pthread_mutex_lock(&fs->lock);
            if (error == 0 && !kith_inode_names_set(inode, names, count)) {
                error = ENOMEM;
            }
            pthread_mutex_unlock(&fs->lock);
        }
    }
    pthread_mutex_lock(&fs->lock);
    inode->beside = inode->beside && (error != 0 || joined);
    pthread_mutex_unlock(&fs->lock);
    kith_linkset_free(&set);
    return error;
}

int kith_link_recount(struct kith_fs *fs, struct kith_inode *inode)
{
    pthread_mutex_lock(&fs->lock);
    inode->recount = false;
    bool now = !inode->untold && !kith_inode_dirty(inode);
    if (!now) { /* what is put before that is counted with it */
        kith_link_recount_soon(fs, inode);
    }
    now = now && inode->shared && !inode->unlinked;
    pthread_mutex_unlock(&fs->lock);
    int error = now ? recount(fs, inode) : 0;
    if (error != 0) {
        kith_log_debug("link", "names of %llx: %s", (unsigned long long)inode->id,
                       strerror(error));
        pthread_mutex_lock(&fs->lock);
        kith_link_recount_soon(fs, inode);
        pthread_mutex_unlock(&fs->lock);
    }
    return error;
}

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
 * Where no name is left the row goes; but where this mount has written to the file meanwhile it gets
 * its name again, as a file of its own: a removal keeps the edit that it has not seen. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "fs/fs.h"

#define RECOUNT_NS      (NSEC_PER_SEC / 2) /* at least, after a change: the next ones come along */
#define RECOUNT_MORE_NS (NSEC_PER_SEC / 2) /* at random on top: two mounts seldom do it at once */
#define BESIDE_FORMAT   ".conflict-%08x"
#define BESIDE_NAME_MAX (KITH_FS_NAME_MAX - 18u) /* of the name, what leaves room for that */
#define ROWS_BESIDE     2u                 /* asked with the names: the inode's and its attributes */

_Static_assert(KITH_LINKS_MAX + ROWS_BESIDE <= KITH_NAMES_MAX, "all names in one read");

static int get_strict(struct kith_fs *fs, const struct kith_group *group,
                      const struct kith_bytes names[], uint32_t count,
                      struct kith_client_answer *ret_answer)
{
    struct kith_client_op op = {.kind = KITH_CLIENT_GET, .strict = true};
    op.u.get.group = *group;
    op.u.get.names = names;
    op.u.get.name_count = count;
    return kith_errno(kith_client_call(fs->client, &op, ret_answer));
}

void kith_linkset_free(struct kith_linkset *set)
{
    kith_client_answer_release(&set->answer);
    kith_arena_release(&set->arena);
}

/* How a name's row refers to the inode's; *ret_rest: the row without its references. */
static enum kith_link_state state_of(struct kith_arena *arena, const struct kith_linkset *set,
                                     const struct kith_row *row, struct kith_row *ret_rest)
{
    const struct kith_sibling *winner = kith_row_winner(row);
    enum kith_link_state state = KITH_LINK_GONE;
    struct kith_sibling *others =
        kith_arena_calloc(arena, row->sibling_count + 1u, sizeof *others);
    ret_rest->sibling_count = others != NULL ? 0 : row->sibling_count;
    ret_rest->siblings = others != NULL ? others : row->siblings;
    for (uint32_t i = 0; i < row->sibling_count; i++) {
        const struct kith_sibling *sibling = &row->siblings[i];
        struct kith_inode_record record;
        if (sibling->kind != KITH_SIBLING_VALUE ||
            kith_inode_record_decode(arena, sibling->value, &record) != KITH_OK ||
            record.type != KITH_TYPE_LINK || record.file_id != set->id ||
            kith_group_compare(&record.link, &set->group) != 0) {
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
    const struct kith_sibling *goes = kith_row_winner(row);
    set->states[i] = state_of(&set->arena, set, row, &rest);
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
        error = get_strict(fs, group, names, end - first, &answer);
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
        int error = get_strict(fs, &set->group, names, ROWS_BESIDE + count, &set->answer);
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

/* fs->lock held. The entry of a name that the set says to lead to the inode, as it was read, pinned;
 * NULL where this mount is just putting another file there, or memory is short. */
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

/* ---- No name is left: what a removal, or a move of the contents, had not seen ---- */

/* What comes back, and where: under the name that it had, or where that is another file's one beside
 * it. Id and name follow from the version, so that two mounts that do it at once do the same. */
struct comeback {
    uint64_t id;
    char name[KITH_FS_NAME_MAX + 1];
    struct kith_bytes context; /* of the name's row */
    bool done;                 /* another mount has done it */
};

static int look_at_name(struct kith_fs *fs, struct kith_arena *arena,
                        const struct kith_group *group, struct comeback *back, bool *ret_taken)
{
    struct kith_bytes name = kith_bytes_make(back->name, strlen(back->name));
    struct kith_client_answer answer;
    struct kith_inode_record record;
    int error = get_strict(fs, group, &name, 1, &answer);
    if (error == 0) {
        const struct kith_row *row = &answer.result.u.rows.rows[0].row;
        const struct kith_sibling *winner = kith_row_winner(row);
        *ret_taken = winner != NULL;
        back->done = winner != NULL &&
                     kith_inode_record_decode(arena, winner->value, &record) == KITH_OK &&
                     record.file_id == back->id;
        error = kith_errno(kith_row_context(arena, row, NULL, &back->context));
    }
    kith_client_answer_release(&answer);
    return error;
}

static int find_name(struct kith_fs *fs, struct kith_linkset *set, const struct kith_link_name *old,
                     struct comeback *back)
{
    bool taken = false;
    memset(back, 0, sizeof *back);
    back->id = kith_seen_other_id(set->id, &set->seen.dot);
    memcpy(back->name, old->name.data, old->name.size);
    int error = look_at_name(fs, &set->arena, &old->group, back, &taken);
    if (error == 0 && taken && !back->done) {
        int room = (int)(old->name.size < BESIDE_NAME_MAX ? old->name.size : BESIDE_NAME_MAX);
        (void)snprintf(back->name, sizeof back->name, "%.*s" BESIDE_FORMAT, room,
                       (const char *)old->name.data, (unsigned)(back->id >> 32));
        error = look_at_name(fs, &set->arena, &old->group, back, &taken);
    }
    return error; /* a name that bears this number and is taken becomes a conflict */
}

/* The row goes, and what was in it becomes a file of its own under a name that it had. */
static int restore(struct kith_fs *fs, struct kith_linkset *set, const struct kith_link_name *name)
{
    struct kith_batch *from = kith_batch_new(), *into = kith_batch_new();
    struct kith_inode_record record = set->seen.record;
    struct kith_rowname row;
    struct comeback back;
    struct kith_bytes value;
    struct kith_client_answer answer;
    bool here = kith_group_compare(&name->group, &set->group) == 0;
    int error = from == NULL || into == NULL ? ENOMEM : find_name(fs, set, name, &back);
    record.names = NULL;
    record.name_count = 0;
    kith_link_rowname(set->own, set->id, &row);
    if (error == 0 && !back.done) {
        record.file_id = back.id;
        error = kith_batch_record(into, &record, &value);
        if (error == 0 &&
            kith_batch_add(into, kith_bytes_make(back.name, strlen(back.name)), back.context,
                           &value, KITH_SIBLING_VALUE, set->seen.winner->refs,
                           set->seen.winner->ref_count) < 0) {
            error = ENOMEM;
        }
    }
    if (error == 0 && kith_batch_add(here ? into : from, kith_rowname_bytes(&row),
                                     set->seen.inode_ctx, NULL, 0, NULL, 0) < 0) {
        error = ENOMEM;
    }
    if (error == 0 && into->count > 0) {
        error = kith_batch_put(fs, into, &name->group, &answer);
        kith_client_answer_release(&answer);
    }
    if (error == 0 && from->count > 0) {
        error = kith_batch_put(fs, from, &set->group, &answer);
        kith_client_answer_release(&answer);
    }
    if (error == 0 && !back.done) {
        kith_log_info("link", "%s: written to while the file was removed or got another place "
                      "elsewhere, and a file of its own now", back.name);
    }
    kith_batch_free(from);
    kith_batch_free(into);
    return error;
}

struct kith_left {
    struct kith_left *next;
    struct kith_link_at of;
    struct kith_link_name name; /* for what comes back */
    char text[KITH_FS_NAME_MAX];
    struct kith_octets contents;
};

static void left_free(struct kith_left *left)
{
    if (left != NULL) {
        kith_octets_clear(&left->contents);
        kith_free(left);
    }
}

/* It tells of other names alone. */
static int remove_version(struct kith_fs *fs, const struct kith_linkset *set)
{
    struct kith_client_answer answer;
    struct kith_rowname row;
    kith_link_rowname(set->own, set->id, &row);
    struct kith_put_update update = {.name = kith_rowname_bytes(&row),
                                     .context = set->seen.inode_ctx};
    int error = kith_rows_put(fs, &set->group, KITH_DURABLE_OS, &update, 1, &answer);
    kith_client_answer_release(&answer);
    return error;
}

/* Those with other contents come back, until none is left. */
static void left_bring(struct kith_fs *fs, struct kith_left *left)
{
    struct kith_linkset set;
    int error = 0;
    for (bool more = true; more && error == 0;) {
        error = kith_linkset_read(fs, &left->of.group, left->of.own, left->of.id, &set);
        if (error == 0 && set.live && set.leads == 0) {
            error = kith_linkset_drop(fs, &set);
        }
        more = error == 0 && set.live && set.leads == 0;
        if (more && kith_bytes_equal(set.seen.record.contents,
                                     kith_octets_bytes(&left->contents))) {
            error = remove_version(fs, &set);
        } else if (more) {
            error = restore(fs, &set, &left->name);
        }
        kith_linkset_free(&set);
    }
    if (error != 0) {
        kith_log_error("link", "%.*s: another version of the file has no name now: %s",
                       (int)left->name.name.size, left->text, strerror(error));
    }
    left_free(left);
}

static void do_left(struct kith_job *job)
{
    left_bring(job->fs, job->state);
}

static struct kith_left *left_take(struct kith_fs *fs)
{
    pthread_mutex_lock(&fs->lock);
    struct kith_left *left = fs->left;
    fs->left = left != NULL ? left->next : NULL;
    pthread_mutex_unlock(&fs->lock);
    return left;
}

void kith_link_left_start(struct kith_fs *fs)
{
    struct kith_left *left;
    while ((left = left_take(fs)) != NULL) {
        struct kith_job *job = kith_job_new(fs, NULL, 0, 0, do_left);
        if (job != NULL) {
            job->state = left;
            kith_job_begin(job);
            if (kith_job_go_on(job, do_left)) {
                continue;
            }
            kith_job_end(job);
        }
        pthread_mutex_lock(&fs->lock); /* too much waits already: the next tick */
        left->next = fs->left;
        fs->left = left;
        pthread_mutex_unlock(&fs->lock);
        return;
    }
}

void kith_link_left_end(struct kith_fs *fs)
{
    struct kith_left *left;
    while ((left = left_take(fs)) != NULL) {
        left_bring(fs, left);
    }
}

void kith_link_left(struct kith_fs *fs, const struct kith_link_at *of,
                    const struct kith_link_name *name, struct kith_bytes contents)
{
    struct kith_left *left = kith_calloc(1, sizeof *left);
    if (left == NULL || !kith_octets_set(&left->contents, contents)) {
        kith_log_warn("link", "%.*s: another version of the file may have no name now",
                      (int)name->name.size, (const char *)name->name.data);
        left_free(left);
        return;
    }
    left->of = *of;
    left->name.group = name->group;
    left->name.name = kith_bytes_make(left->text, name->name.size);
    memcpy(left->text, name->name.data, name->name.size);
    left->next = fs->left;
    fs->left = left;
    kith_timer_wake(fs->timer);
}

/* ---- The timer's ---- */

/* fs->lock held. What is in memory is what the directories have. */
static bool told(const struct kith_inode *inode, const struct kith_linkset *set,
                 const struct kith_link_name names[], uint32_t count)
{
    bool same = !set->seen.unsettled && inode->name_count == count &&
                set->seen.record.name_count == count;
    for (uint32_t i = 0; i < count && same; i++) {
        same = kith_link_name_compare(&inode->names[i], &names[i]) == 0;
    }
    return same;
}

/* No name refers to it. back: nobody has removed what it holds, or not seen it. */
static int recount_none(struct kith_fs *fs, struct kith_inode *inode, struct kith_linkset *set,
                        bool back)
{
    int error;
    if (back && set->seen.record.name_count > 0) {
        error = restore(fs, set, &set->seen.record.names[0]);
    } else {
        struct kith_image none;
        memset(&none, 0, sizeof none);
        error = kith_link_put(fs, inode, NULL, 0, &none);
    }
    if (error == 0) {
        pthread_mutex_lock(&fs->lock);
        inode->unlinked = true;
        inode->untold = false;
        pthread_mutex_unlock(&fs->lock);
    }
    return error;
}

static int recount(struct kith_fs *fs, struct kith_inode *inode)
{
    struct kith_linkset set;
    struct kith_link_name names[KITH_LINKS_MAX];
    int error = kith_inode_renew(fs, inode);
    if (error != 0) {
        return error == ESTALE ? 0 : error;
    }
    error = kith_linkset_read(fs, &inode->share_group, inode->share_own, inode->id, &set);
    bool lost = error == 0 && set.live && set.leads == 0 && set.hidden > 0;
    if (error == 0 && set.live) {
        error = kith_linkset_drop(fs, &set);
    }
    if (error == 0 && set.live) {
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
    kith_linkset_free(&set);
    return error;
}

int kith_link_recount(struct kith_fs *fs, struct kith_inode *inode)
{
    pthread_mutex_lock(&fs->lock);
    inode->recount = false;
    bool now = inode->shared && !inode->unlinked && !inode->untold && !kith_inode_dirty(inode);
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

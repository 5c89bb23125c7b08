/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * xattr.c - extended attributes: a row each beside the inode's.
 *
 * The attributes say whether a file may have any (attrs.xattrs): for those that have none, and that
 * is nearly all of them, GETXATTR and LISTXATTR are answered from memory (ops.c). ACLs are none of
 * these: they are attributes (acl.c). */
#include <errno.h>
#include <string.h>
#include <sys/xattr.h>

#include "fs/conflicts/conflicts.h"
#include "fs/fs.h"
#include "fs/files/files.h"
#include "fs/requests/requests.h"
#include "fs/rows/rows.h"
#include "fs/tables/tables.h"

/* the value of a row less its header */
#define XATTR_SIZE_MAX_BYTES (KITH_INLINE_VALUE_MAX - 64u)

struct place {
    struct kith_group group;
    struct kith_rowname base, name;
    uint64_t id; /* that the rows bear */
};

/* Where the attribute of the job is. A file that was never put is put first: its rows must not be
 * there without it. */
static int find_place(struct kith_job *job, bool put, struct place *place)
{
    struct kith_fs *fs = job->fs;
    int error = 0;
    pthread_mutex_lock(&fs->lock);
    bool pending = job->inode->pending;
    pthread_mutex_unlock(&fs->lock);
    if (put && pending) {
        error = kith_inode_flush(fs, job->inode, KITH_DURABLE_OS);
    } else if (put) { /* so does one whose name another file has */
        error = kith_aside_name(fs, job->inode);
    }
    pthread_mutex_lock(&fs->lock);
    if (!kith_inode_place(job->inode, &place->group, &place->base)) {
        error = error != 0 ? error : ENOENT;
    }
    place->id = kith_inode_row_id(job->inode);
    pthread_mutex_unlock(&fs->lock);
    if (error == 0 && job->name[0] != '\0') {
        struct kith_bytes attribute = kith_bytes_make(job->name, strlen(job->name));
        enum kith_err err =
            kith_rowname_xattr(kith_rowname_bytes(&place->base), attribute, &place->name);
        error = err == KITH_OK ? 0 : ERANGE;
    }
    return error;
}

/* The latest value of a row that is this file's. */
static bool current(const struct kith_row *row, uint64_t file_id, struct kith_bytes *ret_value)
{
    const struct kith_sibling *winner = kith_row_winner(row);
    struct kith_xattr_record record;
    if (winner == NULL || kith_xattr_record_decode(winner->value, &record) != KITH_OK ||
        record.file_id != file_id) {
        return false;
    }
    *ret_value = record.value;
    return true;
}

static int read_row(struct kith_fs *fs, const struct place *place,
                    struct kith_client_answer *answer, const struct kith_row **ret_row)
{
    struct kith_bytes name = kith_rowname_bytes(&place->name);
    int error = kith_rows_get(fs, &place->group, &name, 1, answer);
    if (error == 0) {
        *ret_row = &answer->result.u.rows.rows[0].row;
    }
    return error;
}

/* Puts or removes the row; the attribute row says that there are some, where it did not before. */
static int write_row(struct kith_job *job, const struct place *place, const struct kith_row *row,
                     bool remove)
{
    struct kith_fs *fs = job->fs;
    struct kith_inode *inode = job->inode;
    struct kith_put_update updates[2];
    struct kith_rowname attr_name;
    struct kith_arena arena;
    struct kith_buf buf;
    kith_arena_init(&arena, 0);
    kith_buf_init(&buf);
    memset(updates, 0, sizeof updates);
    struct kith_xattr_record record = {place->id, kith_wall_time(),
                                       kith_bytes_make(job->data, job->size)};
    kith_xattr_record_encode(&record, &buf);
    struct kith_row bare = {row->clock, 0, NULL};
    enum kith_err err = kith_row_context(&arena, &bare, NULL, &updates[0].context);
    updates[0].name = kith_rowname_bytes(&place->name);
    updates[0].has_sibling = !remove;
    if (!remove) {
        updates[0].value = kith_buf_bytes(&buf);
    }
    pthread_mutex_lock(&fs->lock);
    bool first = !remove && !((inode->attrs.have & KITH_ATTR_XATTRS) != 0 && inode->attrs.xattrs);
    uint64_t version = ++inode->attr_version;
    if (first) {
        inode->attrs.have |= KITH_ATTR_XATTRS;
        inode->attrs.xattrs = true;
        inode->attrs.xattrs_stamp = record.stamp;
        inode->attr_changed |= KITH_ATTR_XATTRS;
        if (err == KITH_OK) {
            err = kith_attr_update(inode, &arena, &attr_name, &updates[1]);
        }
    }
    pthread_mutex_unlock(&fs->lock);
    int error = buf.failed ? ENOMEM : kith_errno(err);
    if (error == 0) {
        struct kith_client_answer answer;
        error = kith_rows_put(fs, &place->group, KITH_DURABLE_OS, updates, first ? 2 : 1, &answer);
        pthread_mutex_lock(&fs->lock);
        if (error != 0) {
            kith_watch_doubt_inode(fs, inode);
        }
        if (error == 0 && first) {
            inode->attr_row = true;
            inode->changed_at = kith_mono_ns();
            inode->attr_changed = inode->attr_version == version ? 0 : inode->attr_changed;
            error = kith_octets_set(&inode->attr_ctx, answer.result.u.put.results[1].context)
                        ? 0
                        : ENOMEM;
        }
        pthread_mutex_unlock(&fs->lock);
        kith_client_answer_release(&answer);
    }
    kith_buf_release(&buf);
    kith_arena_release(&arena);
    return error;
}

struct counting {
    uint64_t file_id;
    struct kith_bytes but; /* this one is not counted */
    uint32_t count;
    size_t bytes;
};

static int count_one(void *arg, const struct kith_client_row *row, struct kith_bytes attribute)
{
    struct counting *counting = arg;
    struct kith_bytes value;
    if (current(&row->row, counting->file_id, &value) &&
        !kith_bytes_equal(attribute, counting->but)) {
        counting->count++;
        counting->bytes += attribute.size + value.size;
    }
    return 0;
}

/* ENOSPC where it is more than a file can have. */
static int check_room(struct kith_job *job, const struct place *place)
{
    struct kith_fs *fs = job->fs;
    struct kith_inode *inode = job->inode;
    struct counting counting = {.file_id = place->id,
                                .but = kith_bytes_make(job->name, strlen(job->name))};
    pthread_mutex_lock(&fs->lock);
    bool some = !((inode->attrs.have & KITH_ATTR_XATTRS) != 0 && !inode->attrs.xattrs);
    pthread_mutex_unlock(&fs->lock);
    int error = some ? kith_rows_xattrs(fs, &place->group, kith_rowname_bytes(&place->base), false,
                                        count_one, &counting)
                     : 0;
    if (error == 0 && (counting.count >= KITH_XATTRS_MAX ||
                       counting.bytes + counting.but.size + job->size > KITH_XATTRS_BYTES_MAX)) {
        error = ENOSPC;
    }
    return error;
}

static int change(struct kith_job *job, bool remove)
{
    struct kith_fs *fs = job->fs;
    struct place place;
    struct kith_client_answer answer;
    const struct kith_row *row = NULL;
    struct kith_bytes value;
    if (job->size > XATTR_SIZE_MAX_BYTES) {
        return E2BIG;
    }
    int error = find_place(job, true, &place);
    if (error != 0) {
        return error;
    }
    pthread_mutex_lock(&fs->lock);
    kith_busy_take(fs, false, &job->inode, 1);
    pthread_mutex_unlock(&fs->lock);
    error = read_row(fs, &place, &answer, &row);
    if (error == 0) {
        bool there = current(row, place.id, &value);
        if (there && (job->flags & XATTR_CREATE) != 0) {
            error = EEXIST;
        } else if (!there && (remove || (job->flags & XATTR_REPLACE) != 0)) {
            error = ENODATA;
        } else {
            bool grows = !remove && (!there || value.size < job->size);
            error = grows ? check_room(job, &place) : 0;
            error = error != 0 ? error : write_row(job, &place, row, remove);
        }
    }
    kith_client_answer_release(&answer);
    pthread_mutex_lock(&fs->lock);
    kith_busy_give(fs, false, &job->inode, 1);
    pthread_mutex_unlock(&fs->lock);
    return error;
}

void kith_do_setxattr(struct kith_job *job)
{
    kith_job_fail(job, change(job, false));
}

void kith_do_removexattr(struct kith_job *job)
{
    job->flags = 0;
    kith_job_fail(job, change(job, true));
}

void kith_xattr_answer(struct kith_job *job, const void *data, size_t size, size_t room)
{
    if (room == 0) {
        kith_reply_xattr_size(job, size);
    } else if (size > room) {
        kith_job_fail(job, ERANGE);
    } else {
        kith_reply_data(job, data, size);
    }
}

void kith_do_getxattr(struct kith_job *job)
{
    struct place place;
    struct kith_client_answer answer;
    const struct kith_row *row = NULL;
    struct kith_bytes value;
    int error = find_place(job, false, &place);
    if (error != 0) {
        kith_job_fail(job, error);
        return;
    }
    error = read_row(job->fs, &place, &answer, &row);
    if (error == 0 && !current(row, place.id, &value)) {
        error = ENODATA;
    }
    if (error != 0) {
        kith_job_fail(job, error);
    } else {
        kith_xattr_answer(job, value.data, value.size, job->size);
    }
    kith_client_answer_release(&answer);
}

struct listing {
    uint64_t file_id;
    struct kith_buf names; /* with a NUL each, as the kernel has them */
};

static int list_one(void *arg, const struct kith_client_row *row, struct kith_bytes attribute)
{
    struct listing *listing = arg;
    struct kith_bytes value;
    if (current(&row->row, listing->file_id, &value)) {
        kith_buf_put(&listing->names, attribute.data, attribute.size);
        kith_buf_put_u8(&listing->names, 0);
    }
    return 0;
}

void kith_do_listxattr(struct kith_job *job)
{
    struct place place;
    struct listing listing;
    job->name[0] = '\0';
    int error = find_place(job, false, &place);
    if (error != 0) {
        kith_job_fail(job, error);
        return;
    }
    listing.file_id = place.id;
    kith_buf_init(&listing.names);
    pthread_mutex_lock(&job->fs->lock);
    kith_acl_names(job->fs, job->inode, &listing.names);
    pthread_mutex_unlock(&job->fs->lock);
    error = kith_rows_xattrs(job->fs, &place.group, kith_rowname_bytes(&place.base), false,
                             list_one, &listing);
    if (error != 0 || listing.names.failed) {
        kith_job_fail(job, error != 0 ? error : ENOMEM);
    } else {
        kith_xattr_answer(job, listing.names.data, listing.names.size, job->size);
    }
    kith_buf_release(&listing.names);
}

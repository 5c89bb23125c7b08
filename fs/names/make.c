/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * make.c - mknod, mkdir and symlink: names that must not be there, made and put before the answer.
 *
 * The name's row and, with a directory, its own row go out at the same time: whoever finds the name
 * without the own row sees an empty directory, which it is; so where only the own row could not be
 * put the directory is made, and the timer puts the row. No thread waits for the question
 * whether the name is there, nor for the puts, but where somebody else is at work in the
 * directory. */
#include <errno.h>
#include <string.h>

#include "fs/conflicts/conflicts.h"
#include "fs/fs.h"
#include "fs/files/files.h"
#include "fs/names/names.h"
#include "fs/requests/requests.h"
#include "fs/rows/rows.h"
#include "fs/tables/tables.h"

/* The number of what is made. */
struct new_id {
    uint64_t ids[2];
    bool empty; /* a directory: nobody else knows it */
};

static void id_draw(struct kith_fs *fs, struct new_id *id)
{
    id->ids[0] = kith_fs_random(fs);
    id->ids[1] = kith_fs_random(fs);
    id->empty = true;
}

/* The own row of a new directory. */
static void own_begin(struct kith_fs *fs, struct kith_inode *inode, const char *name,
                      struct kith_put_wait *ret_wait)
{
    struct kith_buf buf;
    kith_buf_init(&buf);
    struct kith_group group = kith_dir_own_row(fs, inode, NULL, name, false, &buf);
    struct kith_put_update update = {.has_sibling = true, .value = kith_buf_bytes(&buf)};
    kith_rows_put_begin(fs, &group, buf.failed ? NULL : &update, ret_wait);
    kith_buf_release(&buf);
}

/* The puts of a new name. */
static int put_name(struct kith_fs *fs, struct kith_inode *inode, const char *name)
{
    struct kith_put_wait own;
    bool dir = inode->type == KITH_TYPE_DIR;
    if (dir) {
        own_begin(fs, inode, name, &own);
    }
    int error = kith_inode_flush(fs, inode, KITH_DURABLE_OS);
    int own_error = dir ? kith_rows_put_wait(&own) : 0;
    if (error == 0 && own_error != 0) {
        kith_inode_untold(fs, inode, own_error);
    }
    return error;
}

/* fs->lock held, and dir_busy the caller's: the inode under its name, with one ref for the caller;
 * also given where the outcome is an error and there is something to take back. */
static int make_under(struct kith_job *job, struct kith_entry *entry, enum kith_type type,
                      const struct new_id *id, struct kith_inode **ret_inode)
{
    struct kith_fs *fs = job->fs;
    *ret_inode = NULL;
    if (entry->inode != NULL) {
        return EEXIST;
    }
    if (!kith_entry_leads(entry, NULL)) {
        return ESTALE; /* the kernel looks again */
    }
    if (job->inode->dir->removed) {
        return ENOENT;
    }
    struct kith_inode *inode = kith_inode_make(fs, entry, id->ids[0], type, job->mode, &job->ctx);
    if (inode == NULL) {
        return ENOMEM;
    }
    *ret_inode = inode;
    inode->awaited = true;
    inode->rdev = job->rdev;
    if (type == KITH_TYPE_DIR) {
        inode->dir->group = kith_dir_group(fs, id->ids);
        /* where nobody else knows the id yet the directory is empty */
        inode->dir->complete_until = id->empty ? kith_mono_ns() + fs->entry_ns : 0;
    }
    if (type == KITH_TYPE_SYMLINK) {
        inode->size = job->size;
        return kith_octets_set(&inode->target, kith_bytes_make(job->data, job->size)) ? 0 : ENOMEM;
    }
    return 0;
}

/* fs->lock held. The question for the own row of the directory that is to be made; false: it gets
 * the id that was drawn. */
static bool ask_id(struct kith_job *job, const struct kith_entry *entry, struct new_id *id,
                   struct kith_client_op *ret_op)
{
    static const struct kith_bytes self = {NULL, 0};
    uint64_t ids[2];
    kith_dir_ids(job->fs, entry, ids);
    if (ids[0] == 0) {
        return false;
    }
    memcpy(id->ids, ids, sizeof ids);
    memset(ret_op, 0, sizeof *ret_op);
    ret_op->kind = KITH_CLIENT_GET;
    ret_op->u.get.group = kith_dir_group(job->fs, ids);
    ret_op->u.get.names = &self;
    ret_op->u.get.name_count = 1;
    return true;
}

/* What the answer makes of it. */
static void judge_id(struct kith_job *job, const struct kith_client_result *result,
                     struct new_id *id)
{
    enum kith_dir_id state = kith_dir_id_state(job->inode, job->name, result);
    id->empty = state == KITH_DIR_ID_FREE;
    if (state == KITH_DIR_ID_OTHER) {
        id_draw(job->fs, id);
    }
}

/* In a thread: the id of a new directory. */
static void choose_id(struct kith_job *job, const struct kith_entry *entry, struct new_id *id)
{
    struct kith_fs *fs = job->fs;
    struct kith_client_answer answer;
    struct kith_client_op op;
    pthread_mutex_lock(&fs->lock);
    bool ask = ask_id(job, entry, id, &op);
    pthread_mutex_unlock(&fs->lock);
    if (ask) {
        (void)kith_rows_get(fs, &op.u.get.group, op.u.get.names, 1, &answer);
        judge_id(job, &answer.result, id);
        kith_client_answer_release(&answer);
    }
}

/* In a thread. */
static void make_name(struct kith_job *job, enum kith_type type)
{
    struct kith_fs *fs = job->fs;
    struct kith_entry *entry = NULL;
    struct kith_inode *inode = NULL;
    struct new_id id;
    id_draw(fs, &id);
    kith_dir_take(fs, job->inode);
    int error = kith_name_fresh(job, &entry);
    if (error == 0) {
        error = kith_other_taken(fs, job->inode, job->name);
    }
    if (error == 0 && type == KITH_TYPE_DIR) {
        choose_id(job, entry, &id);
    }
    if (error == 0) {
        pthread_mutex_lock(&fs->lock);
        error = make_under(job, entry, type, &id, &inode);
        pthread_mutex_unlock(&fs->lock);
    }
    if (error == 0 && type == KITH_TYPE_DIR) {
        kith_watch_made(fs, inode);
    }
    if (error == 0) {
        error = put_name(fs, inode, job->name);
    }
    if (error != 0 && inode != NULL) {
        kith_inode_unmake(fs, entry, inode);
    }
    if (entry != NULL) {
        kith_entry_unpin(fs, entry);
    }
    kith_dir_give(fs, job->inode);
    if (error != 0) {
        kith_job_fail(job, error);
    } else {
        kith_reply_entry(job, inode, kith_mono_ns() + fs->entry_ns, false);
    }
    if (inode != NULL) {
        pthread_mutex_lock(&fs->lock);
        kith_inode_drop(fs, inode);
        pthread_mutex_unlock(&fs->lock);
    }
}

static enum kith_type node_type(mode_t mode)
{
    if (S_ISFIFO(mode)) {
        return KITH_TYPE_FIFO;
    }
    if (S_ISSOCK(mode)) {
        return KITH_TYPE_SOCKET;
    }
    if (S_ISCHR(mode)) {
        return KITH_TYPE_CHAR;
    }
    return S_ISBLK(mode) ? KITH_TYPE_BLOCK : KITH_TYPE_FILE;
}

void kith_do_mknod(struct kith_job *job)
{
    make_name(job, node_type(job->mode));
}

void kith_do_mkdir(struct kith_job *job)
{
    make_name(job, KITH_TYPE_DIR);
}

void kith_do_symlink(struct kith_job *job)
{
    job->mode = 0777;
    make_name(job, KITH_TYPE_SYMLINK);
}

/* ---- The same without a thread ---- */

/* A job's state; its inode2 is what is made. */
struct making {
    struct kith_entry *entry; /* pinned; dir_busy of its directory, row_busy of inode2 are held */
    unsigned left;            /* puts under way; protected by fs->lock, as are the errors */
    int error, own_error;
};

/* fs->lock held, the directory not busy. All that the puts need is taken, or nothing. */
static int making_take(struct kith_job *job, struct kith_entry *entry, const struct new_id *id)
{
    struct making *making = kith_calloc(1, sizeof *making);
    struct kith_inode *inode = NULL;
    enum kith_type type = (enum kith_type)job->flags;
    if (making == NULL) {
        return ENOMEM;
    }
    int error = make_under(job, entry, type, id, &inode);
    if (inode == NULL) {
        kith_free(making);
        return error;
    }
    making->entry = entry;
    making->error = error;
    entry->pins++;
    job->state = making;
    job->inode2 = inode;
    job->inode->dir_busy = inode->row_busy = true;
    return 0;
}

static void making_end(struct kith_job *job)
{
    struct kith_fs *fs = job->fs;
    struct making *making = job->state;
    int error = making->error;
    if (error != 0) {
        kith_inode_unmake(fs, making->entry, job->inode2);
    } else if (making->own_error != 0) {
        kith_inode_untold(fs, job->inode2, making->own_error);
    }
    pthread_mutex_lock(&fs->lock);
    making->entry->pins--;
    kith_busy_give(fs, false, &job->inode2, 1);
    kith_busy_give(fs, true, &job->inode, 1);
    pthread_mutex_unlock(&fs->lock);
    kith_free(making);
    if (error != 0) {
        kith_job_fail(job, error);
    } else {
        kith_reply_entry(job, job->inode2, kith_mono_ns() + fs->entry_ns, false);
    }
    kith_job_end(job);
}

/* One of the puts has ended; with the last the job is gone. */
static void one_ended(struct kith_job *job, int error, int own_error)
{
    struct making *making = job->state;
    pthread_mutex_lock(&job->fs->lock);
    making->error = making->error != 0 ? making->error : error;
    making->own_error = making->own_error != 0 ? making->own_error : own_error;
    bool last = --making->left == 0;
    pthread_mutex_unlock(&job->fs->lock);
    if (last) {
        making_end(job);
    }
}

static void put_ended(void *arg, int error)
{
    one_ended(arg, error, 0);
}

static void own_ended(void *arg, const struct kith_client_result *result)
{
    struct kith_job *job = arg;
    one_ended(job, 0, kith_rows_put_end(job->fs, result, 1));
}

static void own_send(struct kith_job *job)
{
    struct kith_fs *fs = job->fs;
    struct kith_buf buf;
    kith_buf_init(&buf);
    struct kith_client_op op = {.kind = KITH_CLIENT_PUT};
    op.u.put.group = kith_dir_own_row(fs, job->inode2, NULL, job->name, false, &buf);
    struct kith_put_update update = {.has_sibling = true, .value = kith_buf_bytes(&buf)};
    op.u.put.durability = KITH_DURABLE_OS;
    op.u.put.updates = &update;
    op.u.put.update_count = 1;
    enum kith_err err =
        buf.failed ? KITH_ENOMEM : kith_client_submit(fs->client, &op, own_ended, job);
    kith_buf_release(&buf);
    if (err != KITH_OK) {
        one_ended(job, 0, kith_errno(err));
    }
}

/* What making_take took goes out; the job is begun. */
static void making_send(struct kith_job *job)
{
    struct making *making = job->state;
    bool dir = job->inode2->type == KITH_TYPE_DIR;
    if (making->error != 0) {
        making_end(job);
        return;
    }
    making->left = dir ? 2 : 1;
    if (dir) {
        kith_watch_made(job->fs, job->inode2);
        own_send(job);
    }
    if (!kith_inode_put_begin(job->fs, job->inode2, KITH_DURABLE_OS, put_ended, job)) {
        put_ended(job, ENOMEM); /* it needs no reading and nobody else has it */
    }
}

/* The name is known, and comes pinned: what is made takes its place, and goes out. dir_busy is not
 * held over the questions: what was done to the name here meanwhile is newer than the answers, and
 * is kept. */
static void make_take_and_send(struct kith_job *job, struct kith_entry *entry,
                               const struct new_id *id)
{
    struct kith_fs *fs = job->fs;
    int error = 0;
    pthread_mutex_lock(&fs->lock);
    bool defer = job->inode->dir_busy;
    if (!defer) {
        error = making_take(job, entry, id);
    }
    entry->pins--;
    pthread_mutex_unlock(&fs->lock);
    if (defer) {
        kith_job_defer(job);
    } else if (error != 0) {
        kith_job_fail(job, error);
        kith_job_end(job);
    } else {
        making_send(job);
    }
}

/* A directory's id is asked for: a job's state. */
struct asking {
    struct kith_entry *entry; /* pinned */
    struct new_id id;
};

static void id_asked(struct kith_job *job, const struct kith_client_result *result)
{
    struct asking *asking = job->state;
    struct kith_entry *entry = asking->entry;
    struct new_id id = asking->id;
    judge_id(job, result, &id);
    job->state = NULL;
    kith_free(asking);
    make_take_and_send(job, entry, &id);
}

/* The job is begun; the entry comes pinned. */
static void make_under_entry(struct kith_job *job, struct kith_entry *entry)
{
    struct kith_fs *fs = job->fs;
    struct asking *asking =
        job->flags == KITH_TYPE_DIR ? kith_calloc(1, sizeof *asking) : NULL;
    struct kith_client_op op;
    struct new_id id;
    bool ask = false;
    id_draw(fs, &id);
    if (asking != NULL) {
        asking->entry = entry;
        asking->id = id;
        pthread_mutex_lock(&fs->lock);
        ask = entry->inode == NULL && ask_id(job, entry, &asking->id, &op);
        pthread_mutex_unlock(&fs->lock);
    }
    if (ask) {
        job->state = asking;
        kith_job_send(job, &op, id_asked);
    } else {
        kith_free(asking);
        make_take_and_send(job, entry, &id);
    }
}

static void make_go_on(struct kith_job *job, int error, bool defer, struct kith_entry *entry)
{
    if (entry != NULL) {
        make_under_entry(job, entry);
    } else if (defer) {
        kith_job_defer(job);
    } else {
        kith_job_fail(job, error);
        kith_job_end(job);
    }
}

static void make_asked(struct kith_job *job, const struct kith_client_result *result)
{
    struct kith_entry *entry = NULL;
    bool link = false;
    int error = kith_name_saw(job, result, &link, &entry);
    make_go_on(job, error, link, entry);
}

static void make_scanned(struct kith_job *job, const struct kith_client_result *result)
{
    struct kith_entry *entry = NULL;
    bool ask = false;
    int error = kith_names_saw(job, result, &ask, &entry);
    make_go_on(job, error, ask, entry);
}

static void start_make(struct kith_job *job, enum kith_type type)
{
    struct kith_fs *fs = job->fs;
    job->flags = (int)type;
    pthread_mutex_lock(&fs->lock);
    struct kith_entry *entry = kith_entry_find(job->inode, job->name);
    entry = entry == NULL ? kith_watch_entry(fs, job->inode, job->name) : entry;
    bool now = !job->inode->dir_busy && !job->inode->dir->removed &&
               (entry == NULL || entry->inode == NULL) && !kith_conflicts_like(fs, job->name);
    bool asked = now && kith_name_asked(entry, job->ctx.pid);
    bool scan = now && !asked && kith_dir_scan_due(job->inode);
    if (asked) {
        if (kith_watch_knows(entry)) {
            kith_watch_saved(fs, KITH_SAVED_NEW);
        }
        entry->pins++;
    }
    pthread_mutex_unlock(&fs->lock);
    if (scan) {
        kith_names_send(job, make_scanned);
    } else if (!now) {
        kith_job_start(job);
    } else if (asked) {
        kith_job_begin(job);
        make_under_entry(job, entry);
    } else {
        kith_name_send(job, make_asked);
    }
}

void kith_start_mknod(struct kith_job *job)
{
    start_make(job, node_type(job->mode));
}

void kith_start_mkdir(struct kith_job *job)
{
    start_make(job, KITH_TYPE_DIR);
}

void kith_start_symlink(struct kith_job *job)
{
    job->mode = 0777;
    start_make(job, KITH_TYPE_SYMLINK);
}

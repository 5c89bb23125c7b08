/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * statfs.c - what df shows: the figures of all nodes, as capacity.h puts them together.
 *
 * statfs is answered at once with the last known figures. Whoever asks when they are old starts a
 * refresh, in a thread of the executor: any node says who the members are, and those that are up are
 * asked for their own figures; for the others those that they gave last count on. One refresh at a
 * time; the more nodes there are, the longer its figures are good for.
 *
 * Files are not counted out: there is room for one as long as there is for its row. */
#include <errno.h>
#include <string.h>
#include <time.h>

#include "fs/fs.h"
#include "data/capacity.h"
#include "fs/files/files.h"
#include "fs/requests/requests.h"

#define AGE_NS      (5 * NSEC_PER_SEC) /* figures older than this are asked for again */
#define AGE_NODE_NS (NSEC_PER_SEC / 20) /* and this for each node: 1,000 are asked in a minute */
#define ASK_MS      2000u               /* a node that takes longer counts with what it said before */
#define ASKED_MOST  16u                 /* nodes at a time */
#define FIRST_NS    (NSEC_PER_SEC / 2)  /* a mount waits so long for the first figures */
#define FS_BLOCK    4096u
#define FILE_BYTES  1024u /* a small file's row, with what the store adds: df -i divides by it */
#define SPACE_FULL  3u    /* of enum Space in proto/types.proto */

struct kith_statfs {
    struct statvfs figures; /* protected by fs->lock, as the next three */
    uint64_t at;            /* when the last refresh ended; 0: none has */
    uint64_t age_ns;        /* that figures may have */
    bool busy;              /* a refresh is under way; what follows is its own */
    struct kith_capacity_node *nodes; /* what each has said last */
    uint32_t count;
};

/* A refresh: answers come on the client's thread. */
struct asking {
    pthread_mutex_t lock; /* protects all but fs and table */
    pthread_cond_t wake;
    const struct kith_fs *fs;
    const struct kith_table *table;
    uint32_t under_way;
    struct kith_capacity_node *nodes; /* table->member_count places */
    uint32_t count;
};

/* asking->lock held, or nobody else knows it yet. */
static void node_set(struct asking *asking, const struct kith_capacity_node *node)
{
    uint32_t at = 0;
    while (at < asking->count && !kith_uuid_equal(&asking->nodes[at].node, &node->node)) {
        at++;
    }
    if (at < asking->count || kith_table_find(asking->table, &node->node) != KITH_NO_MEMBER) {
        asking->nodes[at] = *node;
        asking->count += at == asking->count ? 1 : 0;
    }
}

static void status_set(struct asking *asking, const struct kith_node_status *status)
{
    bool full = status->space >= SPACE_FULL;
    uint64_t room = full ? 0 : status->disk_free_bytes; /* one that tells no more than that */
    struct kith_capacity_node node = {.node = status->node,
                                      .seen = kith_mono_ns(),
                                      .full = full,
                                      .disk = status->disk_id,
                                      .room_bytes =
                                          status->disk_id != 0 ? status->disk_room_bytes : room,
                                      .data_bytes = status->row_bytes + status->chunk_bytes,
                                      .rows = status->rows};
    node_set(asking, &node);
}

static void on_status(void *arg, const struct kith_client_result *result)
{
    struct asking *asking = arg;
    pthread_mutex_lock(&asking->lock);
    if (result->err == KITH_OK) {
        status_set(asking, &result->u.status->node);
    }
    asking->under_way--;
    pthread_cond_signal(&asking->wake);
    pthread_mutex_unlock(&asking->lock); /* under the lock: the asking thread may end it after */
}

static struct kith_client_op status_op(const struct kith_fs *fs, const char *address)
{
    uint32_t most = fs->options->op_timeout_ms;
    struct kith_client_op op = {.kind = KITH_CLIENT_STATUS,
                                .timeout_ms = most < ASK_MS ? most : ASK_MS};
    op.u.status.address = address;
    return op;
}

/* Each that is up as far as `door` knows, but itself, which has answered. */
static void ask_all(struct asking *asking, const struct kith_status_res *door)
{
    status_set(asking, &door->node);
    pthread_mutex_lock(&asking->lock);
    for (uint32_t i = 0; i < door->member_count; i++) {
        const struct kith_member_info *member = &door->members[i];
        if (!member->up || kith_uuid_equal(&member->uuid, &door->node.node) ||
            kith_table_find(asking->table, &member->uuid) == KITH_NO_MEMBER) {
            continue;
        }
        while (asking->under_way == ASKED_MOST) {
            pthread_cond_wait(&asking->wake, &asking->lock);
        }
        struct kith_client_op op = status_op(asking->fs, member->address);
        asking->under_way++;
        pthread_mutex_unlock(&asking->lock); /* it may fail at once, and say so in here */
        enum kith_err err = kith_client_submit(asking->fs->client, &op, on_status, asking);
        pthread_mutex_lock(&asking->lock);
        asking->under_way -= err != KITH_OK ? 1 : 0;
    }
    while (asking->under_way > 0) {
        pthread_cond_wait(&asking->wake, &asking->lock);
    }
    pthread_mutex_unlock(&asking->lock);
}

/* The refresh itself. fs->lock not held, fs->statfs->busy set by the caller. */
static enum kith_err ask(struct kith_fs *fs, const struct kith_table *table,
                         struct kith_capacity *ret_capacity)
{
    struct kith_statfs *statfs = fs->statfs;
    struct asking asking = {.fs = fs, .table = table};
    asking.nodes = kith_calloc(table->member_count, sizeof *asking.nodes);
    if (asking.nodes == NULL) {
        return KITH_ENOMEM;
    }
    for (uint32_t i = 0; i < statfs->count; i++) {
        node_set(&asking, &statfs->nodes[i]);
    }
    pthread_mutex_init(&asking.lock, NULL);
    pthread_cond_init(&asking.wake, NULL);
    struct kith_client_op op = status_op(fs, NULL);
    struct kith_client_answer answer;
    if (kith_client_call(fs->client, &op, &answer) == KITH_OK) {
        ask_all(&asking, answer.result.u.status);
    }
    kith_client_answer_release(&answer);
    pthread_cond_destroy(&asking.wake);
    pthread_mutex_destroy(&asking.lock);
    kith_free(statfs->nodes);
    statfs->nodes = asking.nodes;
    statfs->count = asking.count;
    return kith_capacity_of(table, statfs->nodes, statfs->count, ret_capacity);
}

/* fs->lock held. Size is what is stored and what is free: what other programs have on the nodes'
 * disks is neither. */
static void figures_set(struct kith_statfs *statfs, const struct kith_capacity *capacity)
{
    struct statvfs *figures = &statfs->figures;
    figures->f_bfree = figures->f_bavail = capacity->free_bytes / FS_BLOCK;
    figures->f_blocks = (capacity->stored_bytes + FS_BLOCK - 1) / FS_BLOCK + figures->f_bfree;
    figures->f_ffree = figures->f_favail = capacity->free_bytes / FILE_BYTES;
    figures->f_files = capacity->rows + figures->f_ffree;
}

static void do_refresh(struct kith_job *job)
{
    struct kith_fs *fs = job->fs;
    struct kith_capacity capacity;
    struct kith_table *table = kith_client_table(fs->client);
    enum kith_err err = ask(fs, table, &capacity);
    pthread_mutex_lock(&fs->lock);
    if (err == KITH_OK) {
        figures_set(fs->statfs, &capacity);
    }
    fs->statfs->age_ns = AGE_NS + table->member_count * AGE_NODE_NS;
    fs->statfs->at = kith_mono_ns();
    fs->statfs->busy = false;
    pthread_cond_broadcast(&fs->changed);
    pthread_mutex_unlock(&fs->lock);
    kith_table_drop(table);
}

bool kith_statfs(struct kith_fs *fs, struct statvfs *ret_figures)
{
    struct kith_statfs *statfs = fs->statfs;
    *ret_figures = statfs->figures;
    bool due = !statfs->busy && kith_mono_ns() - statfs->at > statfs->age_ns;
    statfs->busy = statfs->busy || due;
    return due;
}

void kith_statfs_refresh(struct kith_fs *fs)
{
    struct kith_job *job = kith_job_new(fs, NULL, 0, 0, do_refresh);
    if (job != NULL) {
        kith_job_begin(job);
        if (kith_job_go_on(job, do_refresh)) {
            return;
        }
        kith_job_end(job); /* too much waits: whoever asks next may try again */
    }
    pthread_mutex_lock(&fs->lock);
    fs->statfs->busy = false;
    pthread_mutex_unlock(&fs->lock);
}

enum kith_err kith_statfs_new(struct kith_fs *fs)
{
    fs->statfs = kith_calloc(1, sizeof *fs->statfs);
    if (fs->statfs == NULL) {
        return KITH_ENOMEM;
    }
    fs->statfs->figures.f_bsize = fs->statfs->figures.f_frsize = FS_BLOCK;
    fs->statfs->figures.f_namemax = KITH_FS_NAME_MAX;
    fs->statfs->busy = true;
    kith_statfs_refresh(fs);
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    uint64_t ns = (uint64_t)until.tv_nsec + FIRST_NS;
    until.tv_sec += (time_t)(ns / NSEC_PER_SEC);
    until.tv_nsec = (long)(ns % NSEC_PER_SEC);
    pthread_mutex_lock(&fs->lock);
    while (fs->statfs->busy &&
           pthread_cond_timedwait(&fs->changed, &fs->lock, &until) != ETIMEDOUT) {
    }
    pthread_mutex_unlock(&fs->lock);
    return KITH_OK;
}

void kith_statfs_free(struct kith_statfs *statfs)
{
    if (statfs != NULL) {
        kith_free(statfs->nodes);
        kith_free(statfs);
    }
}

/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * restore_pool.c - several batches of rows at a time: each of them is read, its chunks are put, and then it
 * is put, and most of that time is spent waiting for nodes. */
#include <pthread.h>
#include <string.h>

#include "base/assert.h"
#include "ctl/backup/restore.h"

/* Under way at a time. 10,000 rows of 2,000 folders into three nodes on one machine of two cores, where no
 * time goes by on the way: 3.1 s one after the other, 1.8 s with 4 of them, 1.5 s with 8, 1.2 s with 16. */
#define WORKERS   16u
#define QUEUE_MAX (2u * WORKERS) /* that wait: so much of the backup is in memory, at least one partition */

struct job {
    struct job *next;
    struct kith_group group;
    void *arg;
    uint32_t count;
    struct kith_restore_row rows[];
};

struct kith_restore_pool {
    struct kith_restore *restore;
    void (*over)(void *arg);
    pthread_t threads[WORKERS];
    uint32_t thread_count;
    pthread_mutex_t lock;
    pthread_cond_t work, room; /* for workers; for who adds or waits */
    /* protected by lock: */
    struct job *first, **last;
    uint32_t waiting, out;
    struct kith_error error; /* the first one: nothing is begun any more */
    bool ends;
};

/* The next one, to be taken up or, once something has failed, given up; NULL: it ends. With the lock held. */
static struct job *next_job(struct kith_restore_pool *pool)
{
    while (!pool->first && !pool->ends) {
        pthread_cond_wait(&pool->work, &pool->lock);
    }
    struct job *job = pool->first;
    if (job) {
        pool->first = job->next;
        pool->last = pool->first ? pool->last : &pool->first;
        pool->waiting--;
        pool->out++;
    }
    return job;
}

static void *work(void *arg)
{
    struct kith_restore_pool *pool = arg;
    pthread_mutex_lock(&pool->lock);
    for (struct job *job = next_job(pool); job; job = next_job(pool)) {
        struct kith_error error = pool->error;
        pthread_mutex_unlock(&pool->lock);
        if (error.code == KITH_OK) {
            enum kith_err err =
                kith_restore_rows(pool->restore, &job->group, job->rows, job->count, &error);
            error.code = err;
        }
        pool->over(job->arg);
        kith_free(job);
        pthread_mutex_lock(&pool->lock);
        if (error.code != KITH_OK && pool->error.code == KITH_OK) {
            pool->error = error;
        }
        pool->out--;
        pthread_cond_broadcast(&pool->room);
    }
    pthread_mutex_unlock(&pool->lock);
    return NULL;
}

enum kith_err kith_restore_pool_new(struct kith_restore *restore, void (*over)(void *arg),
                                    struct kith_restore_pool **ret_pool, struct kith_error *error)
{
    struct kith_restore_pool *pool = kith_calloc(1, sizeof *pool);
    if (!pool) {
        return kith_error_set(error, KITH_ENOMEM, "out of memory");
    }
    pool->restore = restore;
    pool->over = over;
    pool->last = &pool->first;
    pthread_mutex_init(&pool->lock, NULL);
    pthread_cond_init(&pool->work, NULL);
    pthread_cond_init(&pool->room, NULL);
    while (pool->thread_count < WORKERS &&
           pthread_create(&pool->threads[pool->thread_count], NULL, work, pool) == 0) {
        pool->thread_count++;
    }
    if (pool->thread_count == 0) {
        kith_restore_pool_free(pool);
        return kith_error_set(error, KITH_ENOMEM, "a thread cannot be made");
    }
    *ret_pool = pool;
    return KITH_OK;
}

static enum kith_err outcome(const struct kith_restore_pool *pool, struct kith_error *error)
{
    if (pool->error.code != KITH_OK) {
        *error = pool->error;
    }
    return pool->error.code;
}

enum kith_err kith_restore_pool_add(struct kith_restore_pool *pool, const struct kith_group *group,
                                    const struct kith_restore_row *rows, uint32_t count, void *arg,
                                    struct kith_error *error)
{
    KITH_ASSERT(count > 0 && count <= KITH_BATCH_MAX);
    struct job *job = kith_malloc(sizeof *job + count * sizeof *rows);
    if (!job) {
        return kith_error_set(error, KITH_ENOMEM, "out of memory");
    }
    job->next = NULL;
    job->group = *group;
    job->arg = arg;
    job->count = count;
    memcpy(job->rows, rows, count * sizeof *rows);
    pthread_mutex_lock(&pool->lock);
    while (pool->waiting >= QUEUE_MAX && pool->error.code == KITH_OK) {
        pthread_cond_wait(&pool->room, &pool->lock);
    }
    enum kith_err err = outcome(pool, error);
    if (err == KITH_OK) {
        *pool->last = job;
        pool->last = &job->next;
        pool->waiting++;
        pthread_cond_signal(&pool->work);
    }
    pthread_mutex_unlock(&pool->lock);
    if (err != KITH_OK) {
        kith_free(job);
    }
    return err;
}

enum kith_err kith_restore_pool_wait(struct kith_restore_pool *pool, struct kith_error *error)
{
    pthread_mutex_lock(&pool->lock);
    while (pool->first || pool->out > 0) {
        pthread_cond_wait(&pool->room, &pool->lock);
    }
    enum kith_err err = outcome(pool, error);
    pthread_mutex_unlock(&pool->lock);
    return err;
}

void kith_restore_pool_free(struct kith_restore_pool *pool)
{
    if (!pool) {
        return;
    }
    pthread_mutex_lock(&pool->lock);
    pool->ends = true;
    pthread_cond_broadcast(&pool->work);
    pthread_mutex_unlock(&pool->lock);
    for (uint32_t i = 0; i < pool->thread_count; i++) {
        (void)pthread_join(pool->threads[i], NULL); /* it was made */
    }
    pthread_cond_destroy(&pool->room);
    pthread_cond_destroy(&pool->work);
    pthread_mutex_destroy(&pool->lock);
    kith_free(pool);
}

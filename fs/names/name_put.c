/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * name_put.c - a name is removed or moved by one put that no thread waits for.
 *
 * The client's callback notes the outcome and ends the job. A thread is needed where the outcome is
 * unknown, for the put goes again under the same request id then; and where another version of the
 * file stays under the name that it leaves, for that becomes a file of its own (twin.c). */
#include "fs/fs.h"
#include "fs/names/names.h"
#include "fs/requests/requests.h"
#include "fs/rows/rows.h"

/* It is over; whether another version stays. */
static bool took(struct kith_job *job, int error, const struct kith_client_result *result)
{
    struct kith_name_put *put = job->state;
    put->error = put->took(job, error, result);
    pthread_mutex_lock(&job->fs->lock);
    bool stays = put->error == 0 && put->left != NULL && kith_twin_stays(put->left);
    pthread_mutex_unlock(&job->fs->lock);
    return stays;
}

static void end(struct kith_job *job)
{
    struct kith_name_put *put = job->state;
    put->end(job, put->error);
}

/* In a thread. */
static void part(struct kith_job *job)
{
    struct kith_name_put *put = job->state;
    kith_twin_part(job->fs, put->left, put->inode);
    end(job);
}

/* In a thread. */
static void put_again(struct kith_job *job)
{
    struct kith_name_put *put = job->state;
    struct kith_client_answer answer;
    put->op.u.put.again = true;
    int error = kith_rows_put_op(job->fs, &put->op, put->until, &answer);
    bool stays = took(job, error, &answer.result);
    kith_client_answer_release(&answer);
    if (stays) {
        part(job);
    } else {
        end(job);
    }
}

static void put_done(struct kith_job *job, const struct kith_client_result *result)
{
    struct kith_name_put *put = job->state;
    if (kith_rows_open(result, put->until) && kith_job_go_on(job, put_again)) {
        return;
    }
    int error = kith_rows_put_end(job->fs, result, put->op.u.put.update_count);
    if (took(job, error, result) && kith_job_go_on(job, part)) {
        return;
    }
    end(job);
    kith_job_end(job);
}

void kith_name_put_send(struct kith_job *job)
{
    struct kith_name_put *put = job->state;
    put->op.kind = KITH_CLIENT_PUT;
    put->op.u.put.durability = KITH_DURABLE_OS;
    put->op.u.put.request = kith_client_request_id(job->fs->client);
    put->until = kith_rows_until(job->fs);
    kith_job_send(job, &put->op, put_done);
}

/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Requests that are answered with EINTR while their work goes on: libfuse has them again then, and
 * nothing touches them any more. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <errno.h>
#include <sched.h>

#include "lib/two_fs.h"

/* In the place of libfuse's: the linker takes these. */
struct fuse_req {
    struct fuse_ctx ctx;
    fuse_interrupt_func_t interrupt;
    void *data;
    bool over;
    int error;
};

const struct fuse_ctx *fuse_req_ctx(fuse_req_t req)
{
    assert_false(req->over);
    return &req->ctx;
}

void fuse_req_interrupt_func(fuse_req_t req, fuse_interrupt_func_t func, void *data)
{
    assert_false(req->over);
    req->interrupt = func;
    req->data = data;
}

int fuse_reply_err(fuse_req_t req, int error)
{
    assert_false(req->over);
    req->error = error;
    __atomic_store_n(&req->over, true, __ATOMIC_SEQ_CST);
    return 0;
}

static void work(struct kith_job *job)
{
    kith_job_fail(job, 0);
}

/* The job of a request that has got a signal; of whom it was is not known any more. */
static struct kith_job *interrupted(struct two_fs *place, struct fuse_req *req)
{
    struct kith_fs *fs = place->fs[TWO_MINE];
    memset(req, 0, sizeof *req);
    struct kith_job *job = kith_job_new(fs, req, 0, 0, work);
    assert_non_null(job);
    kith_job_begin(job);
    assert_non_null(req->interrupt);
    req->interrupt(req, req->data);
    return job;
}

static void test_answered_then_deferred(void **state)
{
    struct two_fs *place = *state;
    struct kith_fs *fs = place->fs[TWO_MINE];
    struct fuse_req req;
    struct kith_job *job = interrupted(place, &req);
    kith_executor_interrupts(fs->executor, kith_mono_ns() + 3600 * NSEC_PER_SEC);
    assert_true(req.over && req.error == EINTR);
    assert_true(kith_job_answered(job));
    kith_job_defer(job); /* it takes a thread to end: the teardown waits for that */
}

static void test_deferred_then_answered(void **state)
{
    struct two_fs *place = *state;
    struct fuse_req req;
    struct kith_job *job = interrupted(place, &req);
    kith_job_defer(job);
    while (!__atomic_load_n(&req.over, __ATOMIC_SEQ_CST)) {
        sched_yield();
    }
    assert_int_equal(req.error, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_answered_then_deferred, two_setup, two_teardown),
        cmocka_unit_test_setup_teardown(test_deferred_then_answered, two_setup, two_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

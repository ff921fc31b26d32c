/* SPDX-License-Identifier: MIT */
/* coil_once: done by one fiber, known to all; a failure passes the turn on. */
#include "core/waitq.h"
#include "support/fiber_test.h"

struct job {
    coil_once once;
    int runs;
    int running;
    int result;
    coil_sem may_end; /* a permit for each run that is to end */
};

static int run_job(void *arg)
{
    struct job *job = arg;
    int result;

    job->runs++;
    cr_assert_eq(job->running++, 0, "one at a time");
    result = coil_sem_acquire(&job->may_end);
    job->running--;
    return result < 0 ? result : job->result;
}

static int do_job(void *arg)
{
    struct job *job = arg;

    return coil_once_do(&job->once, run_job, job);
}

static void job_init(struct job *job, int result, unsigned permits)
{
    *job = (struct job){.result = result};
    coil_once_init(&job->once);
    coil_sem_init(&job->may_end, permits);
}

FIBER_TEST(once, the_first_runs_it_the_others_wait_and_all_have_the_result)
{
    struct job job;
    coil_fiber *fibers[3];

    job_init(&job, 7, 0);
    for (int i = 0; i < 3; i++)
        fibers[i] = spawn_until_parked(do_job, &job);
    cr_assert_eq(job.runs, 1);
    cr_assert_not(coil_once_is_done(&job.once));
    cr_assert_eq(*fibers[1]->tcb->waiter->owner, fibers[0], "for the report of deadlocks");
    coil_sem_release(&job.may_end);
    for (int i = 0; i < 3; i++)
        cr_assert_eq(join_and_drop(fibers[i]), 7);

    cr_assert_eq(do_job(&job), 7);
    cr_assert(coil_once_is_done(&job.once));
    cr_assert_eq(job.runs, 1);
}

FIBER_TEST(once, a_failure_is_the_runners_own_and_the_longest_waiter_tries_next)
{
    struct job job;
    coil_fiber *fibers[3];

    job_init(&job, -EIO, 0);
    for (int i = 0; i < 3; i++)
        fibers[i] = spawn_until_parked(do_job, &job);
    coil_sem_release(&job.may_end);
    cr_assert_eq(join_and_drop(fibers[0]), -EIO);
    until_parked(fibers[1]);
    cr_assert_eq(job.runs, 2);
    cr_assert_eq(*fibers[2]->tcb->waiter->owner, fibers[1]);
    job.result = 0;
    coil_sem_release(&job.may_end);

    cr_assert_eq(join_and_drop(fibers[1]), 0);
    cr_assert_eq(join_and_drop(fibers[2]), 0);
    cr_assert_eq(job.runs, 2);
}

FIBER_TEST(once, after_a_failure_that_nobody_waited_for_the_next_caller_tries)
{
    struct job job;

    job_init(&job, -EIO, 2);
    cr_assert_eq(do_job(&job), -EIO);
    cr_assert_not(coil_once_is_done(&job.once));
    job.result = 1;
    cr_assert_eq(do_job(&job), 1);
    cr_assert_eq(do_job(&job), 1);
    cr_assert_eq(job.runs, 2);
}

static int ask_for_myself(void *arg)
{
    struct job *job = arg;

    cr_assert_eq(do_job(job), -EDEADLK);
    return 3;
}

FIBER_TEST(once, a_function_that_asks_for_itself_is_refused)
{
    struct job job;

    job_init(&job, 0, 0);
    cr_assert_eq(coil_once_do(&job.once, ask_for_myself, &job), 3);
    cr_assert_eq(do_job(&job), 3);
    cr_assert_eq(job.runs, 0);
}

FIBER_TEST(once, zeroed_storage_needs_no_init)
{
    struct job job = {.result = 4};

    coil_sem_init(&job.may_end, 1);
    cr_assert_not(coil_once_is_done(&job.once));
    cr_assert_eq(do_job(&job), 4);
    cr_assert(coil_once_is_done(&job.once));
}

/* ---- Interruptions ---- */

static int do_job_for_a_moment(void *arg)
{
    coil_scope scope;
    int result;

    coil_scope_enter(&scope, COIL_MS(1));
    result = do_job(arg);
    return coil_scope_leave(&scope) ? result : 1;
}

FIBER_TEST(once, an_interrupted_waiter_is_passed_over)
{
    struct job job;
    coil_fiber *fibers[3];

    job_init(&job, -EIO, 0);
    for (int i = 0; i < 3; i++)
        fibers[i] = spawn_until_parked(do_job, &job);
    cr_assert_eq(join_and_drop(spawn_until_parked(do_job_for_a_moment, &job)), -ETIMEDOUT);
    coil_cancel(fibers[1]);
    coil_sem_release(&job.may_end);
    cr_assert_eq(join_and_drop(fibers[0]), -EIO);
    cr_assert_eq(join_and_drop(fibers[1]), -ECANCELED);
    job.result = 0;
    coil_sem_release(&job.may_end);

    cr_assert_eq(join_and_drop(fibers[2]), 0);
    cr_assert_eq(job.runs, 2);
}

FIBER_TEST(once, a_runner_that_is_cancelled_or_timed_out_passes_the_turn_on)
{
    struct job job;
    coil_fiber *fibers[3];

    job_init(&job, 0, 0);
    fibers[0] = spawn_until_parked(do_job_for_a_moment, &job);
    for (int i = 1; i < 3; i++)
        fibers[i] = spawn_until_parked(do_job, &job);
    cr_assert_eq(join_and_drop(fibers[0]), -ETIMEDOUT);
    until_parked(fibers[1]);
    cr_assert_eq(job.runs, 2);
    coil_cancel(fibers[1]);
    cr_assert_eq(join_and_drop(fibers[1]), -ECANCELED);
    until_parked(fibers[2]);
    cr_assert_eq(job.runs, 3);
    coil_sem_release(&job.may_end);

    cr_assert_eq(join_and_drop(fibers[2]), 0);
}

FIBER_TEST(once, who_is_cancelled_after_it_was_given_the_turn_takes_it_and_passes_it_on)
{
    struct job job;
    coil_fiber *fibers[3];

    job_init(&job, -EIO, 0);
    for (int i = 0; i < 3; i++)
        fibers[i] = spawn_until_parked(do_job, &job);
    coil_sem_release(&job.may_end);
    while (fibers[0]->tcb)
        coil_yield();
    coil_cancel(fibers[1]);
    cr_assert_eq(join_and_drop(fibers[0]), -EIO);
    cr_assert_eq(join_and_drop(fibers[1]), -ECANCELED);
    job.result = 0;
    coil_sem_release(&job.may_end);

    cr_assert_eq(join_and_drop(fibers[2]), 0);
    cr_assert_eq(job.runs, 3);
}

static int spoil(void *arg)
{
    memset(arg, 0xff, sizeof(coil_once));
    return 0;
}

FIBER_TEST(once, a_waiter_with_its_result_does_not_look_back)
{
    struct job job;
    coil_fiber *fibers[3];

    job_init(&job, 9, 0);
    for (int i = 0; i < 2; i++)
        fibers[i] = spawn_until_parked(do_job, &job);
    coil_sem_release(&job.may_end);
    cr_assert_eq(coil_spawn(spoil, &job.once, &fibers[2]), 0);
    for (int i = 0; i < 2; i++)
        cr_assert_eq(join_and_drop(fibers[i]), 9);
    cr_assert_eq(join_and_drop(fibers[2]), 0);
}

FIBER_TEST(once, an_expired_scope_fails_before_the_turn_is_taken)
{
    struct job job;
    coil_scope scope;

    job_init(&job, 0, 2);
    coil_scope_enter(&scope, 0);
    cr_assert_eq(do_job(&job), -ETIMEDOUT);
    cr_assert(coil_scope_leave(&scope));
    cr_assert_eq(job.runs, 0);
    cr_assert_eq(do_job(&job), 0);
}

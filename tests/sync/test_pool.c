/* SPDX-License-Identifier: MIT */
/* coil_pool: never more at work than slots, no slot lost however a task ends, no deadlock. */
#include "sync/pool_fixture.h"

#include "base/alloc.h"

static int return_number(void *arg)
{
    return *(const int *)arg;
}

FIBER_TEST(pool, no_more_tasks_run_than_there_are_slots)
{
    struct work work;
    struct spawner spawner = {&work, pass_gate, &work, 'a'};
    coil_fiber *spawners[10];

    setup_pool(&work, 3);
    for (int i = 0; i < 10; i++)
        cr_assert_eq(coil_spawn(spawn_from_outside, &spawner, &spawners[i]), 0);
    for (int i = 0; i < 10; i++) {
        until_parked(spawners[9]);
        cr_assert_leq(coil_pool_running(work.pool), 3);
        open_gate(&work, 1);
        coil_yield();
    }
    for (int i = 0; i < 10; i++)
        cr_assert_eq(join_and_drop(spawners[i]), 0);
    cr_assert_eq(coil_pool_wait(work.pool), 0);

    cr_assert_eq(work.started, 10);
    cr_assert_eq(work.active_max, 3);
    coil_pool_free(work.pool);
}

FIBER_TEST(pool, results_come_through_handles_and_counters_tell_the_state)
{
    struct work work;
    coil_fiber *fiber;
    int number = 42;

    setup_pool(&work, 2);
    cr_assert_eq(coil_pool_free_count(work.pool), 2);
    cr_assert_eq(coil_pool_spawn(work.pool, return_number, &number, &fiber), 0);
    spawn_gated(&work, 1);
    cr_assert_eq(coil_pool_running(work.pool), 2);
    cr_assert_eq(coil_pool_free_count(work.pool), 0);
    cr_assert_eq(work.started, 0, "spawning only schedules");

    cr_assert_eq(join_and_drop(fiber), 42);
    cr_assert_eq(coil_pool_running(work.pool), 1);
    open_gate(&work, 1);
    cr_assert_eq(coil_pool_wait(work.pool), 0);
    cr_assert_eq(coil_pool_running(work.pool), 0);
    coil_pool_free(work.pool);
}

FIBER_TEST(pool, blocked_spawners_are_counted_and_served_in_order)
{
    struct work work;
    struct spawner spawners[] = {{&work, pass_gate, &work, 'a'},
                                 {&work, pass_gate, &work, 'b'},
                                 {&work, pass_gate, &work, 'c'}};
    coil_fiber *fibers[3];

    setup_pool(&work, 1);
    spawn_gated(&work, 1);
    for (int i = 0; i < 3; i++)
        fibers[i] = spawn_until_parked(spawn_from_outside, &spawners[i]);
    cr_assert_eq(coil_pool_waiting(work.pool), 3);
    cr_assert_eq(coil_pool_try_spawn(work.pool, pass_gate, &work, NULL), -EAGAIN);
    open_gate(&work, 4);
    for (int i = 0; i < 3; i++)
        cr_assert_eq(join_and_drop(fibers[i]), 0);
    cr_assert_eq(coil_pool_waiting(work.pool), 0);
    cr_assert_eq(coil_pool_wait(work.pool), 0);

    cr_assert_str_eq(work.log, "abc");
    cr_assert_eq(work.started, 4);
    cr_assert_eq(work.active_max, 1);
    coil_pool_free(work.pool);
}

static int try_spawn_when_slot_comes_back(void *arg)
{
    struct work *work = arg;

    return coil_pool_try_spawn(work->pool, pass_gate, work, NULL);
}

FIBER_TEST(pool, a_returned_slot_belongs_to_the_waiting_spawner_at_once)
{
    struct work work;
    struct spawner spawner = {&work, pass_gate, &work, 'a'};
    coil_fiber *waiting;
    coil_fiber *late;

    setup_pool(&work, 1);
    spawn_gated(&work, 1);
    waiting = spawn_until_parked(spawn_from_outside, &spawner);
    open_gate(&work, 1);
    cr_assert_eq(coil_spawn(try_spawn_when_slot_comes_back, &work, &late), 0);
    cr_assert_eq(join_and_drop(late), -EAGAIN);
    open_gate(&work, 1);
    cr_assert_eq(join_and_drop(waiting), 0);
    cr_assert_eq(coil_pool_wait(work.pool), 0);
    coil_pool_free(work.pool);
}

FIBER_TEST(pool, an_interrupted_spawner_leaks_no_slot_and_starts_nothing)
{
    struct work work;
    struct spawner spawners[] = {{&work, pass_gate, &work, 'a'}, {&work, pass_gate, &work, 'b'}};
    coil_fiber *fibers[2];
    coil_scope scope;

    setup_pool(&work, 1);
    spawn_gated(&work, 1);
    for (int i = 0; i < 2; i++)
        fibers[i] = spawn_until_parked(spawn_from_outside, &spawners[i]);
    coil_scope_enter(&scope, COIL_MS(1));
    cr_assert_eq(coil_pool_spawn_detached(work.pool, pass_gate, &work), -ETIMEDOUT);
    cr_assert(coil_scope_leave(&scope));
    coil_cancel(fibers[0]);
    cr_assert_eq(coil_pool_waiting(work.pool), 1);
    open_gate(&work, 2);
    cr_assert_eq(join_and_drop(fibers[0]), -ECANCELED);
    cr_assert_eq(join_and_drop(fibers[1]), 0);
    cr_assert_eq(coil_pool_wait(work.pool), 0);

    cr_assert_eq(work.started, 2);
    cr_assert_eq(coil_pool_free_count(work.pool), 1);
    coil_pool_free(work.pool);
}

FIBER_TEST(pool, an_expired_scope_takes_no_slot_be_it_free)
{
    struct work work;
    coil_scope scope;

    setup_pool(&work, 1);
    coil_scope_enter(&scope, 0);
    cr_assert_eq(coil_pool_spawn_detached(work.pool, pass_gate, &work), -ETIMEDOUT);
    cr_assert_eq(coil_pool_wait(work.pool), -ETIMEDOUT);
    cr_assert_eq(coil_pool_try_spawn(work.pool, pass_gate, &work, NULL), 0, "tries do not park");
    cr_assert(coil_scope_leave(&scope));
    open_gate(&work, 1);
    cr_assert_eq(coil_pool_wait(work.pool), 0);

    cr_assert_eq(work.started, 1);
    coil_pool_free(work.pool);
}

FIBER_TEST(pool, a_slot_given_before_the_cancellation_is_used)
{
    struct work work;
    struct spawner spawner = {&work, pass_gate, &work, 'a'};
    coil_fiber *fiber;

    setup_pool(&work, 0);
    fiber = spawn_until_parked(spawn_from_outside, &spawner);
    coil_pool_resize(work.pool, 1);
    cr_assert_eq(coil_pool_running(work.pool), 1);
    coil_cancel(fiber);
    open_gate(&work, 1);
    cr_assert_eq(join_and_drop(fiber), 0);
    cr_assert_eq(coil_pool_wait(work.pool), 0);

    cr_assert_eq(work.started, 1);
    cr_assert_eq(coil_pool_running(work.pool), 0);
    coil_pool_free(work.pool);
}

FIBER_TEST(pool, without_slots_every_spawn_waits)
{
    struct work work;
    coil_scope scope;

    setup_pool(&work, 0);
    cr_assert_eq(coil_pool_try_spawn(work.pool, pass_gate, &work, NULL), -EAGAIN);
    coil_scope_enter(&scope, COIL_MS(1));
    cr_assert_eq(coil_pool_spawn_detached(work.pool, pass_gate, &work), -ETIMEDOUT);
    cr_assert(coil_scope_leave(&scope));
    cr_assert_eq(coil_pool_wait(work.pool), 0, "nothing runs");
    coil_pool_free(work.pool);
}

FIBER_TEST(pool, growing_releases_as_many_spawners_as_there_are_new_slots)
{
    struct work work;
    struct spawner spawner = {&work, pass_gate, &work, 'a'};
    coil_fiber *fibers[4];

    setup_pool(&work, 1);
    spawn_gated(&work, 1);
    for (int i = 0; i < 4; i++)
        fibers[i] = spawn_until_parked(spawn_from_outside, &spawner);
    coil_pool_resize(work.pool, 3);
    cr_assert_eq(coil_pool_waiting(work.pool), 2);
    cr_assert_eq(coil_pool_running(work.pool), 3);
    while (work.active < 3)
        coil_yield();
    open_gate(&work, 5);
    for (int i = 0; i < 4; i++)
        cr_assert_eq(join_and_drop(fibers[i]), 0);
    cr_assert_eq(coil_pool_wait(work.pool), 0);

    cr_assert_eq(work.active_max, 3);
    coil_pool_free(work.pool);
}

FIBER_TEST(pool, shrinking_lets_tasks_run_on_and_their_slots_vanish)
{
    struct work work;
    struct spawner spawner = {&work, pass_gate, &work, 'a'};
    coil_fiber *fiber;

    setup_pool(&work, 3);
    spawn_gated(&work, 3);
    fiber = spawn_until_parked(spawn_from_outside, &spawner);
    coil_pool_resize(work.pool, 1);
    cr_assert_eq(coil_pool_free_count(work.pool), -2);
    open_gate(&work, 2);
    coil_yield();
    cr_assert_eq(coil_pool_free_count(work.pool), 0);
    cr_assert_eq(coil_pool_waiting(work.pool), 1, "two ends only paid for the surplus");
    open_gate(&work, 2);
    cr_assert_eq(join_and_drop(fiber), 0);
    cr_assert_eq(coil_pool_wait(work.pool), 0);

    cr_assert_eq(coil_pool_free_count(work.pool), 1);
    coil_pool_free(work.pool);
}

/* ---- Waiting ---- */

static int spawn_another(void *arg)
{
    struct work *work = arg;

    work->started++;
    return work->started < 5 ? coil_pool_spawn_detached(work->pool, spawn_another, work) : 0;
}

FIBER_TEST(pool, waiting_includes_tasks_spawned_while_others_run)
{
    struct work work;

    setup_pool(&work, 2);
    cr_assert_eq(coil_pool_wait(work.pool), 0, "an empty pool is not waited for");
    cr_assert_eq(coil_pool_spawn_detached(work.pool, spawn_another, &work), 0);
    cr_assert_eq(coil_pool_wait(work.pool), 0);

    cr_assert_eq(work.started, 5);
    cr_assert_eq(coil_pool_running(work.pool), 0);
    coil_pool_free(work.pool);
}

FIBER_TEST(pool, an_interrupted_wait_leaves_the_tasks_alone)
{
    struct work work;
    coil_scope scope;

    setup_pool(&work, 2);
    spawn_gated(&work, 2);
    coil_scope_enter(&scope, COIL_MS(1));
    cr_assert_eq(coil_pool_wait(work.pool), -ETIMEDOUT);
    cr_assert(coil_scope_leave(&scope));
    cr_assert_eq(coil_pool_running(work.pool), 2);
    open_gate(&work, 2);
    cr_assert_eq(coil_pool_wait(work.pool), 0);
    coil_pool_free(work.pool);
}

/* ---- Ends of tasks ---- */

struct reports {
    int count;
    int result;
};

static void report(const coil_fiber *fiber, int result, void *arg)
{
    struct reports *reports = arg;

    (void)fiber;
    reports->count++;
    reports->result = result;
}

FIBER_TEST(pool, failing_tasks_return_their_slots_and_are_reported_once)
{
    struct work work;
    struct reports reports = {0, 0};
    int failure = -EIO;
    coil_fiber *fiber;

    setup_pool(&work, 1);
    coil_unhandled_set(report, &reports);
    cr_assert_eq(coil_pool_spawn_detached(work.pool, return_number, &failure), 0);
    cr_assert_eq(coil_pool_wait(work.pool), 0);
    coil_yield();
    cr_assert_eq(reports.count, 1);
    cr_assert_eq(reports.result, -EIO);

    cr_assert_eq(coil_pool_free_count(work.pool), 1);
    cr_assert_eq(coil_pool_spawn(work.pool, return_number, &failure, &fiber), 0);
    cr_assert_eq(join_and_drop(fiber), -EIO);
    cr_assert_eq(reports.count, 1, "what was collected is not reported");
    coil_unhandled_set(NULL, NULL);
    coil_pool_free(work.pool);
}

FIBER_TEST(pool, cancelled_tasks_run_and_return_their_slots)
{
    struct work work;
    coil_fiber *early;
    coil_fiber *late;

    setup_pool(&work, 2);
    cr_assert_eq(coil_pool_spawn(work.pool, pass_gate, &work, &late), 0);
    until_parked(late);
    cr_assert_eq(coil_pool_spawn(work.pool, pass_gate, &work, &early), 0);
    coil_cancel(early);
    coil_cancel(late);
    cr_assert_eq(join_and_drop(early), -ECANCELED);
    cr_assert_eq(join_and_drop(late), -ECANCELED);

    cr_assert_eq(work.started, 2, "cancelled before its start it still owns its argument");
    cr_assert_eq(coil_pool_free_count(work.pool), 2);
    coil_pool_free(work.pool);
}

FIBER_TEST(pool, freeing_cancels_and_joins_every_task)
{
    struct work work;
    coil_scope expired;
    coil_fiber *kept;

    setup_pool(&work, 4);
    spawn_gated(&work, 2);
    cr_assert_eq(coil_pool_spawn(work.pool, pass_gate, &work, &kept), 0);
    until_parked(kept);
    spawn_gated(&work, 1); /* has not started yet */
    coil_scope_enter(&expired, 0);
    coil_pool_free(work.pool);
    cr_assert_not(coil_scope_leave(&expired), "freeing is not interrupted");

    cr_assert_eq(work.started, 4);
    cr_assert_eq(work.active, 0);
    cr_assert_eq(join_and_drop(kept), -ECANCELED, "handles outlive the pool");
    coil_pool_free(NULL);
}

FIBER_TEST(pool, freeing_lets_go_of_blocked_spawners_and_of_lenders)
{
    struct work work;
    struct spawner spawner = {&work, pass_gate, &work, 'a'};
    coil_fiber *member;
    coil_fiber *outside;

    setup_pool(&work, 1);
    cr_assert_eq(coil_pool_spawn(work.pool, lend_then_sleep, &work, &member), 0);
    until_parked(member);
    outside = spawn_until_parked(spawn_from_outside, &spawner);
    coil_pool_free(work.pool);

    cr_assert_eq(join_and_drop(outside), -ESHUTDOWN);
    cr_assert_eq(join_and_drop(member), -ECANCELED);
}

static int wait_for_pool(void *arg)
{
    struct work *work = arg;

    return coil_pool_wait(work->pool);
}

static int hold_in_shield(void *arg)
{
    struct work *work = arg;
    coil_scope shield;
    int result;

    coil_scope_enter_shield(&shield, COIL_NEVER);
    result = pass_gate(work);
    (void)coil_scope_leave(&shield);
    return result;
}

static int free_pool(void *arg)
{
    struct work *work = arg;

    coil_pool_free(work->pool);
    return 0;
}

FIBER_TEST(pool, freeing_lets_go_of_those_who_wait_before_the_tasks_have_ended)
{
    struct work work;
    struct spawner spawner = {&work, pass_gate, &work, 'a'};
    coil_fiber *waiting[2];
    coil_fiber *freeing;

    setup_pool(&work, 1);
    cr_assert_eq(coil_pool_spawn_detached(work.pool, hold_in_shield, &work), 0);
    waiting[0] = spawn_until_parked(wait_for_pool, &work);
    waiting[1] = spawn_until_parked(spawn_from_outside, &spawner);
    freeing = spawn_until_parked(free_pool, &work);
    cr_assert_eq(work.active, 1);
    for (int i = 0; i < 2; i++)
        cr_assert_eq(join_and_drop(waiting[i]), -ESHUTDOWN);
    cr_assert_eq(coil_pool_spawn_detached(work.pool, pass_gate, &work), -ESHUTDOWN);
    cr_assert_eq(coil_pool_wait(work.pool), -ESHUTDOWN);
    cr_assert_not_null(freeing->tcb);
    open_gate(&work, 1);

    cr_assert_eq(join_and_drop(freeing), 0);
    cr_assert_eq(work.started, 1);
}

static int spawn_in_shield(void *arg)
{
    struct work *work = arg;
    coil_scope shield;
    int results[2];

    (void)pass_gate(work);
    coil_scope_enter_shield(&shield, COIL_NEVER);
    results[0] = coil_pool_spawn_detached(work->pool, pass_gate, work);
    results[1] = coil_pool_try_spawn(work->pool, pass_gate, work, NULL);
    (void)coil_scope_leave(&shield);
    return results[0] == results[1] ? results[0] : 0;
}

FIBER_TEST(pool, nothing_starts_in_a_pool_that_is_being_freed)
{
    struct work work;
    coil_fiber *fibers[2];

    setup_pool(&work, 2);
    for (int i = 0; i < 2; i++)
        cr_assert_eq(coil_pool_spawn(work.pool, spawn_in_shield, &work, &fibers[i]), 0);
    until_parked(fibers[1]);
    coil_pool_free(work.pool);

    for (int i = 0; i < 2; i++)
        cr_assert_eq(join_and_drop(fibers[i]), -ESHUTDOWN);
    cr_assert_eq(work.started, 2);
}

/* ---- Limits and memory ---- */

FIBER_TEST_WITH(pool, a_spawn_beyond_the_limit_of_fibers_returns_the_slot,
                (&(coil_options){.size = sizeof(coil_options), .fibers_max = 2}))
{
    struct work work;

    setup_pool(&work, 3);
    spawn_gated(&work, 1);
    cr_assert_eq(coil_pool_spawn_detached(work.pool, pass_gate, &work), -EAGAIN);
    cr_assert_eq(coil_pool_try_spawn(work.pool, pass_gate, &work, NULL), -EAGAIN);
    cr_assert_eq(coil_pool_running(work.pool), 1);
    open_gate(&work, 1);
    cr_assert_eq(coil_pool_wait(work.pool), 0);
    coil_pool_free(work.pool);
}

static int spawn_one_level(void *arg)
{
    struct work *work = arg;
    int zero = 0;

    work->started++;
    return coil_pool_spawn_detached(work->pool, return_number, &zero);
}

FIBER_TEST(pool, when_any_allocation_fails_the_spawn_says_so_and_nothing_leaks)
{
    int result = -ENOMEM;
    int failures = -1;

    for (int64_t n = 0; result < 0; n++, failures++) {
        struct work work = {.active = 0};
        coil_fiber *fiber;

        coil__alloc_fail_after(n);
        result = coil_pool_new(1, &work.pool);
        if (result == 0) {
            result = coil_pool_spawn(work.pool, spawn_one_level, &work, &fiber);
            if (result == 0)
                result = join_and_drop(fiber);
            coil__alloc_fail_after(-1);
            cr_assert_eq(coil_pool_running(work.pool), 0);
            coil_pool_free(work.pool);
        }
        coil__alloc_fail_after(-1);
        cr_assert(result == 0 || result == -ENOMEM);
    }
    cr_assert_geq(failures, 2, "the pool and the task");
}

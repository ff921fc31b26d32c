/* SPDX-License-Identifier: MIT */
/* Members of a coil_pool that spawn into it: a full pool borrows their slot and gives it back, so
 * recursion neither deadlocks nor runs more tasks than there are slots.
 */
#include "sync/pool_fixture.h"

static int recurse(void *arg)
{
    struct work *work = arg;
    int result;

    work->started++;
    work->active++;
    if (work->active > work->active_max)
        work->active_max = work->active;
    if (work->started < work->depth) {
        work->active--; /* parked while the slot is lent */
        result = coil_pool_spawn_detached(work->pool, recurse, work);
        work->active++;
        cr_assert_eq(result, 0);
        cr_assert_eq(coil_pool_running(work->pool), 1, "the slot is back, and only this one");
    }
    work->active--;
    return 0;
}

FIBER_TEST(pool_member, a_member_of_a_full_pool_lends_its_slot_however_deep)
{
    struct work work;

    setup_pool(&work, 1);
    work.depth = 500;
    cr_assert_eq(coil_pool_spawn_detached(work.pool, recurse, &work), 0);
    cr_assert_eq(coil_pool_wait(work.pool), 0);

    cr_assert_eq(work.started, 500);
    cr_assert_eq(work.active_max, 1);
    cr_assert_eq(coil_pool_free_count(work.pool), 1);
    coil_pool_free(work.pool);
}

static int spawn_two(void *arg)
{
    struct work *work = arg;

    cr_assert_eq(coil_pool_try_spawn(work->pool, pass_gate, work, NULL), 0);
    cr_assert_eq(coil_pool_try_spawn(work->pool, pass_gate, work, NULL), -EAGAIN);
    return coil_pool_spawn_detached(work->pool, pass_gate, work);
}

FIBER_TEST(pool_member, a_member_uses_a_free_slot_before_it_lends_its_own)
{
    struct work work;
    coil_fiber *member;

    setup_pool(&work, 2);
    cr_assert_eq(coil_pool_spawn(work.pool, spawn_two, &work, &member), 0);
    until_parked(member);
    coil_yield();
    cr_assert_eq(work.active, 2);
    cr_assert_eq(coil_pool_running(work.pool), 2);
    cr_assert_not_null(member->tcb, "it waits until the task in its slot has ended");
    open_gate(&work, 1); /* not the one in the lent slot */
    coil_yield();
    coil_yield();
    cr_assert_not_null(member->tcb);
    open_gate(&work, 1);
    cr_assert_eq(join_and_drop(member), 0);

    cr_assert_eq(coil_pool_wait(work.pool), 0);
    cr_assert_eq(work.active_max, 2);
    coil_pool_free(work.pool);
}

FIBER_TEST(pool_member, a_cancelled_lender_goes_on_and_is_counted_beside_the_task)
{
    struct work work;
    struct spawner spawner = {&work, pass_gate, &work, 'a'};
    coil_fiber *member;
    coil_fiber *outside;

    setup_pool(&work, 1);
    cr_assert_eq(coil_pool_spawn(work.pool, lend_then_sleep, &work, &member), 0);
    until_parked(member);
    outside = spawn_until_parked(spawn_from_outside, &spawner);
    coil_cancel(member);
    cr_assert_eq(coil_pool_free_count(work.pool), -1);
    cr_assert_eq(join_and_drop(member), -ECANCELED);
    cr_assert_eq(coil_pool_free_count(work.pool), 0);
    cr_assert_eq(coil_pool_waiting(work.pool), 1, "the task still has the slot");
    open_gate(&work, 2);
    cr_assert_eq(join_and_drop(outside), 0);

    cr_assert_eq(coil_pool_wait(work.pool), 0);
    cr_assert_eq(coil_pool_free_count(work.pool), 1);
    coil_pool_free(work.pool);
}

static int lend_within_deadline(void *arg)
{
    struct work *work = arg;
    coil_scope scope;

    coil_scope_enter(&scope, COIL_MS(1));
    cr_assert_eq(coil_pool_spawn_detached(work->pool, pass_gate, work), 0);
    cr_assert_eq(coil_sleep(1), -ETIMEDOUT, "the deadline is told by the next call");
    cr_assert(coil_scope_leave(&scope));
    cr_assert_eq(coil_pool_free_count(work->pool), -1);
    open_gate(work, 1);
    return 0;
}

FIBER_TEST(pool_member, a_deadline_ends_the_lenders_wait)
{
    struct work work;
    coil_fiber *member;

    setup_pool(&work, 1);
    cr_assert_eq(coil_pool_spawn(work.pool, lend_within_deadline, &work, &member), 0);
    cr_assert_eq(join_and_drop(member), 0);
    cr_assert_eq(coil_pool_wait(work.pool), 0);

    cr_assert_eq(coil_pool_free_count(work.pool), 1);
    coil_pool_free(work.pool);
}

static int wait_for_own_pool(void *arg)
{
    struct work *work = arg;

    return coil_pool_wait(work->pool);
}

FIBER_TEST(pool_member, a_member_cannot_wait_for_its_own_pool)
{
    struct work work;
    struct work other;
    coil_fiber *fiber;

    setup_pool(&work, 1);
    setup_pool(&other, 1);
    cr_assert_eq(coil_pool_spawn(work.pool, wait_for_own_pool, &work, &fiber), 0);
    cr_assert_eq(join_and_drop(fiber), -EDEADLK);
    cr_assert_eq(coil_pool_spawn(work.pool, wait_for_own_pool, &other, &fiber), 0);
    cr_assert_eq(join_and_drop(fiber), 0, "for another pool it can");
    coil_pool_free(work.pool);
    coil_pool_free(other.pool);
}

static int fail(void *arg)
{
    (void)arg;
    return -EPIPE;
}

struct replacement {
    struct work *work;
    int status;
};

static void spawn_replacement(const coil_fiber *fiber, int result, void *arg)
{
    struct replacement *replacement = arg;

    (void)fiber;
    cr_assert_eq(result, -EPIPE);
    replacement->status =
        coil_pool_spawn_detached(replacement->work->pool, pass_gate, replacement->work);
}

FIBER_TEST(pool_member, the_unhandled_hook_of_a_task_is_no_member_and_has_no_slot_to_lend)
{
    struct work work;
    struct replacement replacement = {&work, 1};

    setup_pool(&work, 1);
    coil_unhandled_set(spawn_replacement, &replacement);
    cr_assert_eq(coil_pool_spawn_detached(work.pool, fail, NULL), 0);
    spawn_gated(&work, 1); /* gets the slot before the hook asks for one */
    while (coil_pool_waiting(work.pool) == 0 && work.active < 2)
        coil_yield();
    open_gate(&work, 2);
    while (replacement.status == 1)
        coil_yield();
    cr_assert_eq(coil_pool_wait(work.pool), 0);

    cr_assert_eq(replacement.status, 0);
    cr_assert_eq(work.active_max, 1);
    cr_assert_eq(coil_pool_free_count(work.pool), 1);
    coil_pool_free(work.pool);
}

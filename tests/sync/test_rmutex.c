/* SPDX-License-Identifier: MIT */
/* coil_rmutex: as deep as its owner likes, free after as many unlocks, and by nobody else. */
#include <limits.h>

#include "support/fiber_test.h"

static int lock_and_unlock(void *arg)
{
    const int result = coil_rmutex_lock(arg);

    if (result < 0)
        return result;
    cr_assert_eq(coil_rmutex_depth(arg), 1);
    return coil_rmutex_unlock(arg);
}

FIBER_TEST(rmutex, it_is_free_after_as_many_unlocks_as_locks)
{
    coil_rmutex rmutex;
    coil_fiber *fiber;

    coil_rmutex_init(&rmutex);
    cr_assert_eq(coil_rmutex_lock(&rmutex), 0);
    cr_assert_eq(coil_rmutex_lock(&rmutex), 0);
    cr_assert_eq(coil_rmutex_try_lock(&rmutex), 0);
    cr_assert_eq(coil_rmutex_depth(&rmutex), 3);
    fiber = spawn_until_parked(lock_and_unlock, &rmutex);
    for (unsigned left = 2; left > 0; left--) {
        cr_assert_eq(coil_rmutex_unlock(&rmutex), 0);
        cr_assert_eq(coil_rmutex_depth(&rmutex), left);
        coil_yield();
        cr_assert_eq(fiber->tcb->state, COIL__FIBER_PARKED);
    }
    cr_assert_eq(coil_rmutex_unlock(&rmutex), 0);
    cr_assert_eq(coil_rmutex_depth(&rmutex), 0, "the waiter's now");
    cr_assert_eq(coil_rmutex_try_lock(&rmutex), -EAGAIN);

    cr_assert_eq(join_and_drop(fiber), 0);
    cr_assert_eq(coil_rmutex_try_lock(&rmutex), 0);
    cr_assert_eq(coil_rmutex_depth(&rmutex), 1);
    cr_assert_eq(coil_rmutex_unlock(&rmutex), 0);
}

static int meddle(void *arg)
{
    cr_assert_eq(coil_rmutex_depth(arg), 0);
    cr_assert_eq(coil_rmutex_try_lock(arg), -EAGAIN);
    return coil_rmutex_unlock(arg);
}

FIBER_TEST(rmutex, only_the_owner_can_unlock)
{
    coil_rmutex rmutex;

    coil_rmutex_init(&rmutex);
    cr_assert_eq(coil_rmutex_unlock(&rmutex), -EPERM);
    cr_assert_eq(coil_rmutex_lock(&rmutex), 0);
    cr_assert_eq(coil_rmutex_lock(&rmutex), 0);
    cr_assert_eq(join_and_drop(spawn_until_parked(meddle, &rmutex)), -EPERM);
    cr_assert_eq(coil_rmutex_depth(&rmutex), 2);
    cr_assert_eq(coil_rmutex_unlock(&rmutex), 0);
    cr_assert_eq(coil_rmutex_unlock(&rmutex), 0);
    cr_assert_eq(coil_rmutex_unlock(&rmutex), -EPERM);
}

FIBER_TEST(rmutex, waiters_are_served_in_order_and_a_cancelled_one_is_passed_over)
{
    coil_rmutex rmutex;
    coil_fiber *fibers[3];

    coil_rmutex_init(&rmutex);
    cr_assert_eq(coil_rmutex_lock(&rmutex), 0);
    for (int i = 0; i < 3; i++)
        fibers[i] = spawn_until_parked(lock_and_unlock, &rmutex);
    coil_cancel(fibers[0]);
    cr_assert_eq(coil_rmutex_unlock(&rmutex), 0);
    coil_cancel(fibers[1]);

    cr_assert_eq(coil_mutex_owner(&rmutex.mutex), fibers[1]);
    cr_assert_eq(join_and_drop(fibers[0]), -ECANCELED);
    cr_assert_eq(join_and_drop(fibers[1]), 0, "handed over before the cancellation");
    cr_assert_eq(join_and_drop(fibers[2]), 0);
}

FIBER_TEST(rmutex, an_expired_scope_locks_no_deeper_but_unlocks)
{
    coil_rmutex rmutex;
    coil_scope scope;

    coil_rmutex_init(&rmutex);
    cr_assert_eq(coil_rmutex_lock(&rmutex), 0);
    coil_scope_enter(&scope, 0);
    cr_assert_eq(coil_rmutex_lock(&rmutex), -ETIMEDOUT);
    cr_assert_eq(coil_rmutex_depth(&rmutex), 1);
    cr_assert_eq(coil_rmutex_unlock(&rmutex), 0);
    cr_assert_eq(coil_rmutex_lock(&rmutex), -ETIMEDOUT);
    cr_assert(coil_scope_leave(&scope));

    cr_assert_eq(coil_rmutex_depth(&rmutex), 0);
}

FIBER_TEST(rmutex, the_depth_has_an_end)
{
    coil_rmutex rmutex;

    coil_rmutex_init(&rmutex);
    cr_assert_eq(coil_rmutex_lock(&rmutex), 0);
    rmutex.depth = UINT_MAX - 1;
    cr_assert_eq(coil_rmutex_lock(&rmutex), 0);
    cr_assert_eq(coil_rmutex_lock(&rmutex), -EOVERFLOW);
    cr_assert_eq(coil_rmutex_try_lock(&rmutex), -EOVERFLOW);
    cr_assert_eq(coil_rmutex_depth(&rmutex), UINT_MAX);
    rmutex.depth = 1;
    cr_assert_eq(coil_rmutex_unlock(&rmutex), 0);
}

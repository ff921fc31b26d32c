/* SPDX-License-Identifier: MIT */
/* coil_sem: no permit is lost or invented, and waiters are served in the order of arrival. */
#include "support/fiber_test.h"

struct turn {
    coil_sem *sem;
    char *log;
    char name;
};

static int take_then_log(void *arg)
{
    const struct turn *turn = arg;
    const int result = coil_sem_acquire(turn->sem);

    if (result == 0)
        strncat(turn->log, &turn->name, 1);
    return result;
}

FIBER_TEST(sem, a_permit_is_taken_once_and_a_timeout_takes_none)
{
    coil_sem sem;
    coil_scope scope;

    coil_sem_init(&sem, 1);
    cr_assert_eq(coil_sem_acquire(&sem), 0);

    coil_scope_enter(&scope, COIL_MS(1));
    cr_assert_eq(coil_sem_acquire(&sem), -ETIMEDOUT);
    cr_assert(coil_scope_leave(&scope));

    coil_sem_release(&sem);
    cr_assert_eq(coil_sem_balance(&sem), 1);
    cr_assert_eq(coil_sem_acquire(&sem), 0);
}

FIBER_TEST(sem, released_permits_go_to_the_longest_waiters_and_nowhere_else)
{
    coil_sem sem;
    char log[4] = "";
    struct turn turns[] = {{&sem, log, 'a'}, {&sem, log, 'b'}, {&sem, log, 'c'}};
    coil_fiber *fibers[3];

    coil_sem_init(&sem, 0);
    for (int i = 0; i < 3; i++)
        fibers[i] = spawn_until_parked(take_then_log, &turns[i]);
    cr_assert_eq(coil_sem_balance(&sem), -3);
    for (int i = 0; i < 3; i++)
        coil_sem_release(&sem);
    cr_assert_eq(coil_sem_try_acquire(&sem), -EAGAIN, "released permits belong to the waiters");
    for (int i = 0; i < 3; i++)
        cr_assert_eq(join_and_drop(fibers[i]), 0);

    cr_assert_str_eq(log, "abc");
    cr_assert_eq(coil_sem_balance(&sem), 0);
}

FIBER_TEST(sem, a_cancelled_waiter_takes_no_permit)
{
    coil_sem sem;
    char log[4] = "";
    struct turn turns[] = {{&sem, log, 'a'}, {&sem, log, 'b'}};
    coil_fiber *first;
    coil_fiber *second;

    coil_sem_init(&sem, 0);
    first = spawn_until_parked(take_then_log, &turns[0]);
    second = spawn_until_parked(take_then_log, &turns[1]);
    coil_cancel(first);
    coil_sem_release(&sem);

    cr_assert_eq(join_and_drop(first), -ECANCELED);
    cr_assert_eq(join_and_drop(second), 0);
    cr_assert_str_eq(log, "b");
}

FIBER_TEST(sem, a_permit_handed_over_before_the_cancellation_is_kept)
{
    coil_sem sem;
    char log[4] = "";
    struct turn turn = {&sem, log, 'a'};
    coil_fiber *fiber;

    coil_sem_init(&sem, 0);
    fiber = spawn_until_parked(take_then_log, &turn);
    coil_sem_release(&sem);
    coil_cancel(fiber);

    cr_assert_eq(join_and_drop(fiber), 0);
    cr_assert_str_eq(log, "a");
    cr_assert_eq(coil_sem_balance(&sem), 0);
}

FIBER_TEST(sem, trying_takes_a_permit_or_says_that_there_is_none)
{
    coil_sem sem;

    coil_sem_init(&sem, 2);
    cr_assert_eq(coil_sem_try_acquire(&sem), 0);
    cr_assert_eq(coil_sem_balance(&sem), 1);
    cr_assert_eq(coil_sem_try_acquire(&sem), 0);
    cr_assert_eq(coil_sem_try_acquire(&sem), -EAGAIN);
    cr_assert_eq(coil_sem_balance(&sem), 0);
    coil_sem_release(&sem);
    cr_assert_eq(coil_sem_try_acquire(&sem), 0);
}

FIBER_TEST(sem, a_cancelled_fiber_can_pass_on_the_permit_that_it_was_given)
{
    coil_sem sem;
    char log[4] = "";
    struct turn turns[] = {{&sem, log, 'a'}, {&sem, log, 'b'}};
    coil_fiber *fibers[2];

    coil_sem_init(&sem, 0);
    for (int i = 0; i < 2; i++)
        fibers[i] = spawn_until_parked(take_then_log, &turns[i]);
    coil_sem_release(&sem);
    coil_cancel(fibers[0]);
    cr_assert_eq(join_and_drop(fibers[0]), 0);
    cr_assert_eq(coil_sem_release(&sem), 0, "in its place");

    cr_assert_eq(join_and_drop(fibers[1]), 0);
    cr_assert_eq(coil_sem_balance(&sem), 0);
}

FIBER_TEST(sem, a_fiber_that_releases_and_acquires_at_once_queues_behind_who_waits)
{
    coil_sem sem;
    char log[4] = "";
    struct turn turn = {&sem, log, 'a'};
    coil_fiber *fiber;

    coil_sem_init(&sem, 1);
    cr_assert_eq(coil_sem_acquire(&sem), 0);
    fiber = spawn_until_parked(take_then_log, &turn);
    cr_assert_eq(coil_sem_release(&sem), 0);
    cr_assert_eq(coil_sem_try_acquire(&sem), -EAGAIN);
    until_parked(fiber);
    cr_assert_eq(coil_sem_release(&sem), 0);
    cr_assert_eq(coil_sem_acquire(&sem), 0);

    cr_assert_str_eq(log, "a");
    cr_assert_eq(join_and_drop(fiber), 0);
}

FIBER_TEST(sem, the_storage_may_go_between_the_release_and_the_waiters_turn)
{
    coil_sem sem;
    char log[4] = "";
    struct turn turns[] = {{&sem, log, 'a'}, {&sem, log, 'b'}};
    coil_fiber *fibers[2];

    coil_sem_init(&sem, 0);
    for (int i = 0; i < 2; i++)
        fibers[i] = spawn_until_parked(take_then_log, &turns[i]);
    coil_cancel(fibers[0]);
    coil_sem_release(&sem);
    memset(&sem, 0xff, sizeof sem);

    cr_assert_eq(join_and_drop(fibers[0]), -ECANCELED);
    cr_assert_eq(join_and_drop(fibers[1]), 0);
}

FIBER_TEST(sem, a_bounded_one_refuses_more_permits_than_it_began_with)
{
    coil_sem sem;
    char log[4] = "";
    struct turn turn = {&sem, log, 'a'};
    coil_fiber *fiber;

    coil_sem_init_bounded(&sem, 1);
    cr_assert_eq(coil_sem_release(&sem), -EOVERFLOW);
    cr_assert_eq(coil_sem_balance(&sem), 1);
    cr_assert_eq(coil_sem_acquire(&sem), 0);
    fiber = spawn_until_parked(take_then_log, &turn);
    cr_assert_eq(coil_sem_release(&sem), 0, "to the waiter");
    cr_assert_eq(coil_sem_release(&sem), 0);
    cr_assert_eq(coil_sem_release(&sem), -EOVERFLOW);
    cr_assert_eq(join_and_drop(fiber), 0);
    cr_assert_eq(coil_sem_balance(&sem), 1);
}

FIBER_TEST(sem, the_number_of_permits_has_an_end)
{
    coil_sem sem;

    coil_sem_init(&sem, COIL_SEM_MAX - 1);
    cr_assert_eq(coil_sem_release(&sem), 0);
    cr_assert_eq(coil_sem_release(&sem), -EOVERFLOW);
    cr_assert_eq(coil_sem_balance(&sem), INT32_MAX);
}

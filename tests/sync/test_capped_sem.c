/* SPDX-License-Identifier: MIT */
/* coil_capped_sem: both sides wait, in order, and an interrupted one took or gave nothing. */
#include <signal.h>

#include "core/waitq.h"
#include "support/child.h"
#include "support/fiber_test.h"

struct turn {
    coil_capped_sem *sem;
    char *log;
    char name; /* capital letters release */
};

static int take_turn(void *arg)
{
    const struct turn *turn = arg;
    const int result =
        turn->name < 'a' ? coil_capped_sem_release(turn->sem) : coil_capped_sem_acquire(turn->sem);

    if (result == 0)
        strncat(turn->log, &turn->name, 1);
    return result;
}

FIBER_TEST(capped_sem, a_release_waits_at_the_limit_and_goes_on_in_order)
{
    coil_capped_sem sem;
    char log[4] = "";
    struct turn turns[] = {{&sem, log, 'A'}, {&sem, log, 'B'}, {&sem, log, 'C'}};
    coil_fiber *fibers[3];

    coil_capped_sem_init(&sem, 1, 2);
    cr_assert_eq(coil_capped_sem_release(&sem), 0);
    for (int i = 0; i < 3; i++)
        fibers[i] = spawn_until_parked(take_turn, &turns[i]);
    cr_assert_eq(coil_capped_sem_balance(&sem), 5);
    for (int i = 0; i < 3; i++) {
        cr_assert_eq(coil_capped_sem_acquire(&sem), 0);
        cr_assert_eq(coil_capped_sem_try_release(&sem), -EAGAIN, "the room was theirs");
    }
    for (int i = 0; i < 3; i++)
        cr_assert_eq(join_and_drop(fibers[i]), 0);

    cr_assert_str_eq(log, "ABC");
    cr_assert_eq(coil_capped_sem_balance(&sem), 2);
}

FIBER_TEST(capped_sem, released_permits_go_to_the_longest_waiters)
{
    coil_capped_sem sem;
    char log[4] = "";
    struct turn turns[] = {{&sem, log, 'a'}, {&sem, log, 'b'}};
    coil_fiber *fibers[2];

    coil_capped_sem_init(&sem, 0, 1);
    for (int i = 0; i < 2; i++)
        fibers[i] = spawn_until_parked(take_turn, &turns[i]);
    cr_assert_eq(coil_capped_sem_balance(&sem), -2);
    for (int i = 0; i < 2; i++) {
        cr_assert_eq(coil_capped_sem_release(&sem), 0);
        cr_assert_eq(coil_capped_sem_try_acquire(&sem), -EAGAIN);
    }
    for (int i = 0; i < 2; i++)
        cr_assert_eq(join_and_drop(fibers[i]), 0);

    cr_assert_str_eq(log, "ab");
    cr_assert_eq(coil_capped_sem_balance(&sem), 0);
}

FIBER_TEST(capped_sem, without_a_limit_above_0_it_is_a_rendezvous)
{
    coil_capped_sem sem;
    char log[4] = "";
    struct turn turns[] = {{&sem, log, 'A'}, {&sem, log, 'a'}};
    coil_fiber *fiber;

    coil_capped_sem_init(&sem, 0, 0);
    cr_assert_eq(coil_capped_sem_try_release(&sem), -EAGAIN);
    cr_assert_eq(coil_capped_sem_try_acquire(&sem), -EAGAIN);
    fiber = spawn_until_parked(take_turn, &turns[0]);
    cr_assert_str_eq(log, "", "nobody has come to acquire");
    cr_assert_eq(coil_capped_sem_acquire(&sem), 0);
    cr_assert_eq(join_and_drop(fiber), 0);
    fiber = spawn_until_parked(take_turn, &turns[1]);
    cr_assert_eq(coil_capped_sem_try_release(&sem), 0);
    memset(&sem, 0xff, sizeof sem);

    cr_assert_eq(join_and_drop(fiber), 0);
    cr_assert_str_eq(log, "Aa");
}

FIBER_TEST(capped_sem, a_timeout_takes_and_gives_nothing)
{
    coil_capped_sem sem;
    coil_scope scope;

    coil_capped_sem_init(&sem, 1, 1);
    coil_scope_enter(&scope, COIL_MS(1));
    cr_assert_eq(coil_capped_sem_release(&sem), -ETIMEDOUT);
    cr_assert_eq(coil_capped_sem_acquire(&sem), -ETIMEDOUT);
    cr_assert(coil_scope_leave(&scope));
    cr_assert_eq(coil_capped_sem_balance(&sem), 1);
    cr_assert_eq(coil_capped_sem_acquire(&sem), 0);

    coil_scope_enter(&scope, COIL_MS(1));
    cr_assert_eq(coil_capped_sem_acquire(&sem), -ETIMEDOUT);
    cr_assert_eq(coil_capped_sem_try_release(&sem), 0, "trying is no parking call");
    cr_assert(coil_scope_leave(&scope));
    cr_assert_eq(coil_capped_sem_balance(&sem), 1);
}

FIBER_TEST(capped_sem, a_cancellation_counts_before_the_hand_over_and_not_after_it)
{
    coil_capped_sem sem;
    char log[4] = "";
    struct turn turns[] = {{&sem, log, 'A'}, {&sem, log, 'B'}, {&sem, log, 'a'}, {&sem, log, 'b'}};
    coil_fiber *fibers[2];

    coil_capped_sem_init(&sem, 1, 1);
    for (int i = 0; i < 2; i++)
        fibers[i] = spawn_until_parked(take_turn, &turns[i]);
    coil_cancel(fibers[0]);
    cr_assert_eq(coil_capped_sem_acquire(&sem), 0);
    coil_cancel(fibers[1]);
    cr_assert_eq(join_and_drop(fibers[0]), -ECANCELED);
    cr_assert_eq(join_and_drop(fibers[1]), 0);
    cr_assert_eq(coil_capped_sem_balance(&sem), 1);

    cr_assert_eq(coil_capped_sem_acquire(&sem), 0);
    for (int i = 0; i < 2; i++)
        fibers[i] = spawn_until_parked(take_turn, &turns[2 + i]);
    coil_cancel(fibers[0]);
    cr_assert_eq(coil_capped_sem_release(&sem), 0);
    coil_cancel(fibers[1]);
    cr_assert_eq(join_and_drop(fibers[0]), -ECANCELED);
    cr_assert_eq(join_and_drop(fibers[1]), 0);
    cr_assert_eq(coil_capped_sem_balance(&sem), 0);
    cr_assert_str_eq(log, "Bb");
}

FIBER_TEST(capped_sem, a_balance_is_right_at_the_highest_limit)
{
    coil_capped_sem sem;
    char log[4] = "";
    struct turn turn = {&sem, log, 'A'};
    coil_fiber *fiber;

    coil_capped_sem_init(&sem, COIL_CAPPED_SEM_MAX, COIL_CAPPED_SEM_MAX);
    fiber = spawn_until_parked(take_turn, &turn);
    cr_assert_eq(coil_capped_sem_balance(&sem), INT32_MAX / 2 + 1);
    cr_assert_eq(coil_capped_sem_acquire(&sem), 0);
    cr_assert_eq(join_and_drop(fiber), 0);
    cr_assert_eq(coil_capped_sem_balance(&sem), INT32_MAX / 2);
}

static int set_too_high_a_limit(void *arg)
{
    coil_capped_sem sem;

    (void)arg;
    coil_capped_sem_init(&sem, 0, COIL_CAPPED_SEM_MAX + 1);
    return 0;
}

Test(capped_sem, a_limit_beyond_the_highest_stops_the_program, .timeout = 60)
{
    struct child_end end;

    child_run(set_too_high_a_limit, NULL, &end);
    cr_assert_eq(end.signal, SIGABRT, "%d %s", end.exit_code, end.output);
    cr_assert_not_null(strstr(end.output, "a balance is an int"), "%s", end.output);
}

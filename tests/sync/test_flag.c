/* SPDX-License-Identifier: MIT */
/* coil_flag: setting lets all go who wait, whatever happens to the flag before they run. */
#include "core/waitq.h"
#include "support/fiber_test.h"

struct waiter {
    coil_flag *flag;
    char *log;
    char name;
};

static int wait_then_log(void *arg)
{
    const struct waiter *waiter = arg;
    const int result = coil_flag_wait(waiter->flag);

    strncat(waiter->log, &waiter->name, 1);
    return result;
}

FIBER_TEST(flag, setting_lets_all_go_in_order_and_who_comes_later_passes)
{
    coil_flag flag;
    char log[4] = "";
    struct waiter waiters[] = {{&flag, log, 'a'}, {&flag, log, 'b'}, {&flag, log, 'c'}};
    coil_fiber *fibers[3];

    coil_flag_init(&flag);
    cr_assert_not(coil_flag_is_set(&flag));
    for (int i = 0; i < 3; i++)
        fibers[i] = spawn_until_parked(wait_then_log, &waiters[i]);
    coil_flag_set(&flag);
    cr_assert_str_eq(log, "", "setting must not switch");
    cr_assert(coil_flag_is_set(&flag));
    for (int i = 0; i < 3; i++)
        cr_assert_eq(join_and_drop(fibers[i]), 0);

    cr_assert_str_eq(log, "abc");
    coil_flag_set(&flag);
    cr_assert_eq(coil_flag_wait(&flag), 0);
    cr_assert_eq(coil_flag_wait(&flag), 0, "a wait does not clear it");
}

FIBER_TEST(flag, who_waited_goes_on_even_if_it_is_cleared_at_once)
{
    coil_flag flag;
    char log[4] = "";
    struct waiter waiters[] = {{&flag, log, 'a'}, {&flag, log, 'b'}};
    coil_fiber *fibers[2];

    coil_flag_init(&flag);
    for (int i = 0; i < 2; i++)
        fibers[i] = spawn_until_parked(wait_then_log, &waiters[i]);
    coil_flag_set(&flag);
    coil_flag_clear(&flag);
    for (int i = 0; i < 2; i++)
        cr_assert_eq(join_and_drop(fibers[i]), 0);

    cr_assert_not(coil_flag_is_set(&flag));
    fibers[0] = spawn_until_parked(wait_then_log, &waiters[0]);
    cr_assert_eq(fibers[0]->tcb->state, COIL__FIBER_PARKED, "a cleared flag is waited for again");
    coil_flag_clear(&flag);
    coil_flag_set(&flag);
    memset(&flag, 0xff, sizeof flag);
    cr_assert_eq(join_and_drop(fibers[0]), 0);
}

FIBER_TEST(flag, a_timeout_leaves_no_waiter_behind)
{
    coil_flag flag;
    coil_scope scope;

    coil_flag_init(&flag);
    coil_scope_enter(&scope, COIL_MS(1));
    cr_assert_eq(coil_flag_wait(&flag), -ETIMEDOUT);
    coil_flag_set(&flag);
    cr_assert_eq(coil_flag_wait(&flag), -ETIMEDOUT, "also when it is set");
    cr_assert(coil_scope_leave(&scope));
    cr_assert(coil__waitq_is_empty(&flag.waiters));
    cr_assert_eq(coil_flag_wait(&flag), 0);
}

FIBER_TEST(flag, a_cancellation_before_the_set_is_reported_and_one_after_it_is_not)
{
    coil_flag flag;
    char log[4] = "";
    struct waiter waiters[] = {{&flag, log, 'a'}, {&flag, log, 'b'}, {&flag, log, 'c'}};
    coil_fiber *fibers[3];

    coil_flag_init(&flag);
    for (int i = 0; i < 3; i++)
        fibers[i] = spawn_until_parked(wait_then_log, &waiters[i]);
    coil_cancel(fibers[1]);
    coil_flag_set(&flag);
    coil_cancel(fibers[2]);

    cr_assert_eq(join_and_drop(fibers[0]), 0);
    cr_assert_eq(join_and_drop(fibers[1]), -ECANCELED);
    cr_assert_eq(join_and_drop(fibers[2]), 0);
}

/* SPDX-License-Identifier: MIT */
/* coil_waitgroup: a wait ends when the count comes to 0, once, whatever is added then. */
#include <limits.h>
#include <signal.h>

#include "core/waitq.h"
#include "support/child.h"
#include "support/fiber_test.h"

struct waiter {
    coil_waitgroup *group;
    char *log;
    char name;
};

static int wait_then_log(void *arg)
{
    const struct waiter *waiter = arg;
    const int result = coil_waitgroup_wait(waiter->group);

    strncat(waiter->log, &waiter->name, 1);
    return result;
}

FIBER_TEST(waitgroup, the_last_thing_done_lets_all_go_in_order)
{
    coil_waitgroup group;
    char log[4] = "";
    struct waiter waiters[] = {{&group, log, 'a'}, {&group, log, 'b'}, {&group, log, 'c'}};
    coil_fiber *fibers[3];

    coil_waitgroup_init(&group);
    cr_assert_eq(coil_waitgroup_wait(&group), 0, "nothing is under way");
    coil_waitgroup_add(&group, 2);
    coil_waitgroup_add(&group, 1);
    for (int i = 0; i < 3; i++)
        fibers[i] = spawn_until_parked(wait_then_log, &waiters[i]);
    for (unsigned left = 3; left > 0; left--) {
        cr_assert_eq(coil_waitgroup_count(&group), left);
        coil_yield();
        cr_assert_str_eq(log, "");
        coil_waitgroup_done(&group);
    }
    cr_assert_str_eq(log, "", "it must not switch");
    for (int i = 0; i < 3; i++)
        cr_assert_eq(join_and_drop(fibers[i]), 0);

    cr_assert_str_eq(log, "abc");
    cr_assert_eq(coil_waitgroup_count(&group), 0);
}

FIBER_TEST(waitgroup, it_can_be_used_again_and_go_before_its_waiters_run)
{
    coil_waitgroup group;
    char log[4] = "";
    struct waiter waiters[] = {{&group, log, 'a'}, {&group, log, 'b'}};
    coil_fiber *fibers[2];

    coil_waitgroup_init(&group);
    coil_waitgroup_add(&group, 1);
    fibers[0] = spawn_until_parked(wait_then_log, &waiters[0]);
    coil_waitgroup_done(&group);
    coil_waitgroup_add(&group, 1);
    fibers[1] = spawn_until_parked(wait_then_log, &waiters[1]);
    cr_assert_eq(join_and_drop(fibers[0]), 0);
    cr_assert_eq(fibers[1]->tcb->state, COIL__FIBER_PARKED, "it waits for the second thing");
    coil_waitgroup_done(&group);
    memset(&group, 0xff, sizeof group);

    cr_assert_eq(join_and_drop(fibers[1]), 0);
    cr_assert_str_eq(log, "ab");
}

FIBER_TEST(waitgroup, a_timeout_leaves_no_waiter_and_the_count_as_it_is)
{
    coil_waitgroup group;
    coil_scope scope;

    coil_waitgroup_init(&group);
    coil_waitgroup_add(&group, 1);
    coil_scope_enter(&scope, COIL_MS(1));
    cr_assert_eq(coil_waitgroup_wait(&group), -ETIMEDOUT);
    cr_assert(coil_scope_leave(&scope));
    cr_assert(coil__waitq_is_empty(&group.waiters));
    cr_assert_eq(coil_waitgroup_count(&group), 1);
    coil_waitgroup_done(&group);
    cr_assert_eq(coil_waitgroup_wait(&group), 0);
}

FIBER_TEST(waitgroup, a_cancellation_before_the_end_is_reported_and_one_after_it_is_not)
{
    coil_waitgroup group;
    char log[4] = "";
    struct waiter waiters[] = {{&group, log, 'a'}, {&group, log, 'b'}};
    coil_fiber *fibers[2];

    coil_waitgroup_init(&group);
    coil_waitgroup_add(&group, 1);
    for (int i = 0; i < 2; i++)
        fibers[i] = spawn_until_parked(wait_then_log, &waiters[i]);
    coil_cancel(fibers[0]);
    coil_waitgroup_done(&group);
    coil_cancel(fibers[1]);

    cr_assert_eq(join_and_drop(fibers[0]), -ECANCELED);
    cr_assert_eq(join_and_drop(fibers[1]), 0);
}

/* ---- Mistakes ---- */

static int do_once_too_often(void *arg)
{
    coil_waitgroup group;

    (void)arg;
    coil_waitgroup_init(&group);
    coil_waitgroup_add(&group, 1);
    coil_waitgroup_done(&group);
    coil_waitgroup_done(&group);
    return 0;
}

static int add_too_much(void *arg)
{
    coil_waitgroup group;

    (void)arg;
    coil_waitgroup_init(&group);
    coil_waitgroup_add(&group, UINT_MAX);
    coil_waitgroup_add(&group, 1);
    return 0;
}

Test(waitgroup, a_count_below_0_or_beyond_its_range_stops_the_program, .timeout = 60)
{
    struct child_end end;

    child_run(do_once_too_often, NULL, &end);
    cr_assert_eq(end.signal, SIGABRT, "%d %s", end.exit_code, end.output);
    cr_assert_not_null(strstr(end.output, "done no more often than added"), "%s", end.output);

    child_run(add_too_much, NULL, &end);
    cr_assert_eq(end.signal, SIGABRT, "%d %s", end.exit_code, end.output);
    cr_assert_not_null(strstr(end.output, "UINT_MAX"), "%s", end.output);
}

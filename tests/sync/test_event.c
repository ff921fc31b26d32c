/* SPDX-License-Identifier: MIT */
/* coil_event: given once, to all who wait and to all who ask later, and to nobody half. */
#include <limits.h>
#include <signal.h>

#include "support/child.h"
#include "support/fiber_test.h"

struct waiter {
    coil_event *event;
    char *log;
    char name;
    void *value;
};

static int wait_then_log(void *arg)
{
    struct waiter *waiter = arg;
    const int result = coil_event_wait(waiter->event, &waiter->value);

    strncat(waiter->log, &waiter->name, 1);
    return result;
}

FIBER_TEST(event, a_value_reaches_those_who_wait_in_order_and_those_who_ask_later)
{
    coil_event event;
    int payload;
    char log[4] = "";
    struct waiter waiters[] = {
        {&event, log, 'a', NULL}, {&event, log, 'b', NULL}, {&event, log, 'c', NULL}};
    coil_fiber *fibers[3];
    void *late = NULL;

    coil_event_init(&event);
    for (int i = 0; i < 3; i++)
        fibers[i] = spawn_until_parked(wait_then_log, &waiters[i]);
    cr_assert_not(coil_event_is_set(&event));
    cr_assert_eq(coil_event_set(&event, &payload), 0);
    cr_assert_str_eq(log, "", "setting must not switch");
    for (int i = 0; i < 3; i++)
        cr_assert_eq(join_and_drop(fibers[i]), 0);

    cr_assert_str_eq(log, "abc");
    for (int i = 0; i < 3; i++)
        cr_assert_eq(waiters[i].value, &payload);
    cr_assert(coil_event_is_set(&event));
    cr_assert_eq(coil_event_wait(&event, &late), 0);
    cr_assert_eq(late, &payload);
    cr_assert_eq(coil_event_wait(&event, NULL), 0);
}

FIBER_TEST(event, a_failure_reaches_those_who_wait_and_those_who_ask_later)
{
    coil_event event;
    char log[4] = "";
    int untouched;
    struct waiter waiters[] = {{&event, log, 'a', &untouched}, {&event, log, 'b', &untouched}};
    coil_fiber *fibers[2];
    void *late = &untouched;

    coil_event_init(&event);
    for (int i = 0; i < 2; i++)
        fibers[i] = spawn_until_parked(wait_then_log, &waiters[i]);
    cr_assert_eq(coil_event_fail(&event, -ECONNRESET), 0);
    for (int i = 0; i < 2; i++) {
        cr_assert_eq(join_and_drop(fibers[i]), -ECONNRESET);
        cr_assert_eq(waiters[i].value, &untouched);
    }

    cr_assert(coil_event_is_set(&event));
    cr_assert_eq(coil_event_wait(&event, &late), -ECONNRESET);
    cr_assert_eq(late, &untouched);
}

FIBER_TEST(event, a_second_value_or_failure_is_refused_and_changes_nothing)
{
    coil_event event;
    int first;
    int second;
    void *value = NULL;

    coil_event_init(&event);
    cr_assert_eq(coil_event_set(&event, &first), 0);
    cr_assert_eq(coil_event_set(&event, &second), -EALREADY);
    cr_assert_eq(coil_event_fail(&event, -EIO), -EALREADY);
    cr_assert_eq(coil_event_wait(&event, &value), 0);
    cr_assert_eq(value, &first);

    coil_event_reset(&event);
    cr_assert_eq(coil_event_fail(&event, -EIO), 0);
    cr_assert_eq(coil_event_set(&event, &second), -EALREADY);
    cr_assert_eq(coil_event_wait(&event, &value), -EIO);
}

FIBER_TEST(event, a_reset_event_is_waited_for_and_given_again)
{
    coil_event event;
    int value;
    char log[4] = "";
    struct waiter waiter = {&event, log, 'a', NULL};
    coil_fiber *fiber;

    coil_event_init(&event);
    coil_event_reset(&event);
    cr_assert_eq(coil_event_fail(&event, -EIO), 0);
    coil_event_reset(&event);
    cr_assert_not(coil_event_is_set(&event));
    fiber = spawn_until_parked(wait_then_log, &waiter);
    coil_event_reset(&event);
    cr_assert_eq(coil_event_set(&event, &value), 0);

    cr_assert_eq(join_and_drop(fiber), 0);
    cr_assert_eq(waiter.value, &value);
}

FIBER_TEST(event, what_a_waiter_was_given_survives_a_reset_before_its_turn)
{
    coil_event event;
    int first;
    int second;
    char log[4] = "";
    struct waiter waiter = {&event, log, 'a', NULL};
    coil_fiber *fiber;

    coil_event_init(&event);
    fiber = spawn_until_parked(wait_then_log, &waiter);
    cr_assert_eq(coil_event_set(&event, &first), 0);
    coil_event_reset(&event);
    cr_assert_eq(coil_event_set(&event, &second), 0);
    memset(&event, 0xff, sizeof event);

    cr_assert_eq(join_and_drop(fiber), 0);
    cr_assert_eq(waiter.value, &first);
}

FIBER_TEST(event, a_timeout_leaves_no_waiter_behind)
{
    coil_event event;
    coil_scope scope;
    int value;
    void *seen = &value;

    coil_event_init(&event);
    coil_scope_enter(&scope, COIL_MS(1));
    cr_assert_eq(coil_event_wait(&event, &seen), -ETIMEDOUT);
    cr_assert(coil_scope_leave(&scope));
    cr_assert_eq(seen, &value, "untouched");

    cr_assert_eq(coil_event_set(&event, NULL), 0);
    cr_assert_eq(coil_event_wait(&event, &seen), 0);
    cr_assert_null(seen);
}

FIBER_TEST(event, an_expired_scope_speaks_first_and_is_told_from_a_failure_that_looks_alike)
{
    coil_event event;
    coil_scope scope;

    coil_event_init(&event);
    cr_assert_eq(coil_event_set(&event, NULL), 0);
    coil_scope_enter(&scope, 0);
    cr_assert_eq(coil_event_wait(&event, NULL), -ETIMEDOUT);
    cr_assert(coil_scope_leave(&scope));

    coil_event_reset(&event);
    cr_assert_eq(coil_event_fail(&event, -ETIMEDOUT), 0);
    coil_scope_enter(&scope, COIL_SECONDS(30));
    cr_assert_eq(coil_event_wait(&event, NULL), -ETIMEDOUT);
    cr_assert_not(coil_scope_leave(&scope));
}

FIBER_TEST(event, a_cancelled_waiter_harms_neither_the_event_nor_the_others)
{
    coil_event event;
    int value;
    char log[4] = "";
    struct waiter waiters[] = {
        {&event, log, 'a', NULL}, {&event, log, 'b', NULL}, {&event, log, 'c', NULL}};
    coil_fiber *fibers[3];

    coil_event_init(&event);
    for (int i = 0; i < 3; i++)
        fibers[i] = spawn_until_parked(wait_then_log, &waiters[i]);
    coil_cancel(fibers[1]);
    cr_assert_eq(coil_event_set(&event, &value), 0);
    coil_cancel(fibers[2]);

    cr_assert_eq(join_and_drop(fibers[0]), 0);
    cr_assert_eq(join_and_drop(fibers[1]), -ECANCELED);
    cr_assert_null(waiters[1].value);
    cr_assert_eq(join_and_drop(fibers[2]), 0, "what was given before the cancellation is kept");
    cr_assert_eq(waiters[2].value, &value);
}

/* ---- Nonsense ---- */

static int fail_event(void *arg)
{
    coil_event event;

    coil_event_init(&event);
    return coil_event_fail(&event, *(const int *)arg);
}

static int run_fail_event(void *arg)
{
    return fiber_test_coil_run(fail_event, arg, NULL, NULL);
}

Test(event, what_is_no_negative_errno_is_refused_loudly, .timeout = 60)
{
    int nonsense[] = {0, 1, -4096, INT_MIN};
    int sense[] = {-1, -4095};
    struct child_end end;

    for (int i = 0; i < 4; i++) {
        child_run(run_fail_event, &nonsense[i], &end);
        cr_assert_eq(end.signal, SIGABRT, "%d: %d %s", nonsense[i], end.exit_code, end.output);
        cr_assert_not_null(strstr(end.output, "negative errno"), "%s", end.output);
    }
    for (int i = 0; i < 2; i++) {
        child_run(run_fail_event, &sense[i], &end);
        cr_assert_eq(end.exit_code, 0, "%d: %s", sense[i], end.output);
    }
}

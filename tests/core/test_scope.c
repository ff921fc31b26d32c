/* SPDX-License-Identifier: MIT */
/* Scopes: deadlines and cancellation in every parking call, nesting, shields, races in one turn.
 *
 * Races are made exact by timers armed for the same nanosecond, or by a deadline that passes while
 * the fiber burns the CPU, so that everything is due when the loop looks next.
 */
#include "support/fiber_test.h"

#include "base/alloc.h"
#include "core/scope_checks.h"

static void burn(coil_time duration)
{
    const int64_t start = coil_now();

    while (coil_now() - start <= duration)
        continue;
}

static bool no_timer_is_armed(void)
{
    return coil__timers_next(&coil__sched_this->timers) == INT64_MAX;
}

/* ---- Every parking call ---- */

FIBER_TEST(scope, a_deadline_interrupts_every_parking_call_and_every_further_one)
{
    check_that_deadlines_interrupt_every_call();
}

FIBER_TEST(scope, zero_and_negative_timeouts_fail_every_call_at_once)
{
    check_that_no_time_fails_every_call();
}

FIBER_TEST(scope, a_cancellation_interrupts_every_parking_call_and_every_further_one)
{
    check_that_cancellations_interrupt_every_call();
}

FIBER_TEST(scope, a_shield_hides_cancellation_and_outer_deadlines_from_every_call)
{
    check_that_shields_hide_from_every_call();
}

/* ---- Leaving ---- */

FIBER_TEST(scope, leaving_in_time_disarms_the_deadline)
{
    coil_scope scope;

    coil_scope_enter(&scope, COIL_MS(1));
    cr_assert_not(no_timer_is_armed());
    cr_assert_not(coil_scope_leave(&scope));

    cr_assert(no_timer_is_armed());
    cr_assert_eq(coil_sleep(COIL_MS(2)), 0);
}

FIBER_TEST(scope, a_deadline_that_passes_unnoticed_is_not_reported)
{
    coil_scope scope;

    coil_scope_enter(&scope, COIL_MS(1));
    burn(COIL_MS(2));
    cr_assert_not(coil_scope_leave(&scope));
    cr_assert_eq(coil_sleep(0), 0);

    coil_scope_enter(&scope, 0);
    cr_assert_not(coil_scope_leave(&scope));
    cr_assert_eq(coil_sleep(0), 0);

    coil_scope_enter(&scope, COIL_MS(1));
    for (int64_t start = coil_now(); coil_now() - start < COIL_MS(3);)
        coil_yield();
    cr_assert_not(coil_scope_leave(&scope), "it fired, but no call returned it");
    cr_assert_eq(coil_sleep(0), 0);
}

FIBER_TEST(scope, one_scope_can_be_entered_again_and_again)
{
    coil_scope scope;

    for (int i = 0; i < 20; i++) {
        coil_scope_enter(&scope, COIL_US(50));
        cr_assert_eq(coil_sleep(COIL_NEVER), -ETIMEDOUT);
        cr_assert(coil_scope_leave(&scope));
        coil_scope_enter(&scope, COIL_SECONDS(10));
        cr_assert_eq(coil_sleep(COIL_US(50)), 0);
        cr_assert_not(coil_scope_leave(&scope));
    }
}

FIBER_TEST(scope, never_sets_no_deadline_and_huge_timeouts_do_not_overflow)
{
    coil_scope scope;

    coil_scope_enter(&scope, COIL_NEVER);
    cr_assert(no_timer_is_armed());
    cr_assert_eq(coil_sleep(COIL_MS(1)), 0);
    cr_assert_not(coil_scope_leave(&scope));

    coil_scope_enter(&scope, COIL_NEVER - 1);
    cr_assert_eq(coil_sleep(COIL_MS(1)), 0);
    cr_assert_not(coil_scope_leave(&scope));
}

FIBER_TEST(scope, a_million_scopes_cost_no_memory)
{
    const int64_t blocks = coil__alloc_total_count();
    coil_scope scope;

    for (int i = 0; i < 1000000; i++) {
        coil_scope_enter(&scope, COIL_SECONDS(10));
        cr_assert_not(coil_scope_leave(&scope));
    }

    cr_assert_eq(coil__alloc_total_count(), blocks);
    cr_assert(no_timer_is_armed());
}

/* ---- Nesting ---- */

FIBER_TEST(scope, an_inner_deadline_leaves_the_outer_scope_armed_and_silent)
{
    coil_scope outer;
    coil_scope inner;
    bool is_inner_alone = false;

    for (coil_time time = COIL_MS(20); !is_inner_alone; time *= 2) {
        coil_scope_enter(&outer, time);
        coil_scope_enter(&inner, COIL_MS(1));
        cr_assert_eq(coil_sleep(COIL_NEVER), -ETIMEDOUT);
        is_inner_alone = coil_scope_leave(&inner);
        if (is_inner_alone)
            cr_assert_eq(coil_sleep(COIL_NEVER), -ETIMEDOUT);
        cr_assert(coil_scope_leave(&outer));
    }

    coil_scope_enter(&outer, COIL_SECONDS(50));
    coil_scope_enter(&inner, COIL_MS(1));
    cr_assert_eq(coil_sleep(COIL_NEVER), -ETIMEDOUT);
    cr_assert(coil_scope_leave(&inner));
    cr_assert_eq(coil_sleep(0), 0);
    cr_assert_not(coil_scope_leave(&outer));
}

FIBER_TEST(scope, an_outer_deadline_is_not_the_inner_scopes)
{
    coil_scope outer;
    coil_scope inner;

    coil_scope_enter(&outer, COIL_MS(1));
    coil_scope_enter(&inner, COIL_SECONDS(10));
    cr_assert_eq(coil_sleep(COIL_NEVER), -ETIMEDOUT);
    cr_assert_not(coil_scope_leave(&inner));
    cr_assert_eq(coil_sleep(0), -ETIMEDOUT);
    cr_assert(coil_scope_leave(&outer));
    cr_assert_eq(coil_sleep(0), 0);
}

static void expect_outer_to_win(coil_time outer_timeout, coil_time inner_timeout)
{
    coil_scope outer;
    coil_scope middle;
    coil_scope inner;

    coil_scope_enter(&outer, outer_timeout);
    coil_scope_enter(&middle, COIL_SECONDS(10));
    coil_scope_enter(&inner, inner_timeout);
    burn(COIL_MS(3));
    cr_assert_eq(coil_sleep(COIL_NEVER), -ETIMEDOUT);
    cr_assert_not(coil_scope_leave(&inner));
    cr_assert_not(coil_scope_leave(&middle));
    cr_assert(coil_scope_leave(&outer));
    cr_assert_eq(coil_sleep(0), 0);
}

FIBER_TEST(scope, when_both_are_due_in_one_turn_the_outer_wins)
{
    expect_outer_to_win(COIL_MS(2), COIL_MS(1));
    expect_outer_to_win(COIL_MS(1), COIL_MS(2));
    expect_outer_to_win(0, 0);
    expect_outer_to_win(COIL_MS(1), 0);
    expect_outer_to_win(0, COIL_MS(1));
}

static int cancel_inside_expired_scope(void *arg)
{
    coil_scope scope;
    int result;

    (void)arg;
    coil_scope_enter(&scope, 0);
    coil_cancel(coil_self());
    result = coil_sleep(COIL_NEVER);
    return coil_scope_leave(&scope) ? 1 : result;
}

FIBER_TEST(scope, cancellation_is_outside_of_all_scopes)
{
    coil_fiber *fiber;

    cr_assert_eq(coil_spawn(cancel_inside_expired_scope, NULL, &fiber), 0);
    cr_assert_eq(join_and_drop(fiber), -ECANCELED);
}

/* ---- Shields ---- */

struct shielded {
    coil_sem sem;
    int inside;
    int inner;
    bool is_inner_reported;
    bool is_shield_reported;
    int after;
};

static int clean_up_shielded(void *arg)
{
    struct shielded *shielded = arg;
    coil_scope shield;
    coil_scope inner;

    coil_scope_enter_shield(&shield, COIL_SECONDS(10));
    shielded->inside = coil_sem_acquire(&shielded->sem);
    coil_scope_enter(&inner, COIL_MS(1));
    shielded->inner = coil_sleep(COIL_NEVER);
    shielded->is_inner_reported = coil_scope_leave(&inner);
    shielded->is_shield_reported = coil_scope_leave(&shield);
    shielded->after = coil_sleep(COIL_NEVER);
    return 0;
}

FIBER_TEST(scope, a_cancellation_waits_until_the_shield_is_left)
{
    struct shielded shielded = {0};
    coil_fiber *fiber;

    coil_sem_init(&shielded.sem, 0);
    fiber = spawn_until_parked(clean_up_shielded, &shielded);
    coil_cancel(fiber);
    cr_assert_eq(fiber->tcb->state, COIL__FIBER_PARKED);
    coil_sem_release(&shielded.sem);
    cr_assert_eq(join_and_drop(fiber), 0);

    cr_assert_eq(shielded.inside, 0);
    cr_assert_eq(shielded.inner, -ETIMEDOUT, "a scope inside the shield works as ever");
    cr_assert(shielded.is_inner_reported);
    cr_assert_not(shielded.is_shield_reported);
    cr_assert_eq(shielded.after, -ECANCELED);
}

FIBER_TEST(scope, an_outer_deadline_that_passes_inside_a_shield_waits_for_its_end)
{
    coil_scope outer;
    coil_scope shield;
    coil_scope inner_shield;

    coil_scope_enter(&outer, COIL_MS(1));
    coil_scope_enter_shield(&shield, COIL_SECONDS(10));
    coil_scope_enter_shield(&inner_shield, COIL_NEVER);
    cr_assert_eq(coil_sleep(COIL_MS(3)), 0);
    cr_assert_eq(coil_expired(), 0);
    cr_assert_not(coil_scope_leave(&inner_shield));
    cr_assert_eq(coil_sleep(0), 0);
    cr_assert_not(coil_scope_leave(&shield));
    cr_assert_eq(coil_sleep(0), -ETIMEDOUT);
    cr_assert(coil_scope_leave(&outer));
}

/* ---- Asking without parking ---- */

FIBER_TEST(scope, expired_tells_what_the_next_call_would_return)
{
    coil_scope scope;

    cr_assert_eq(coil_expired(), 0);
    coil_scope_enter(&scope, COIL_SECONDS(10));
    cr_assert_eq(coil_expired(), 0);
    cr_assert_not(coil_scope_leave(&scope));
    coil_scope_enter(&scope, 0);
    cr_assert_eq(coil_expired(), -ETIMEDOUT);
    cr_assert(coil_scope_leave(&scope), "it counts as a call");
    cr_assert_eq(coil_expired(), 0);
}

FIBER_TEST(scope, expired_ends_a_loop_that_only_computes)
{
    coil_scope outer;
    coil_scope inner;

    coil_scope_enter(&outer, COIL_MS(1));
    coil_scope_enter(&inner, COIL_SECONDS(100));
    while (coil_expired() == 0)
        continue;
    cr_assert_not(coil_scope_leave(&inner));
    cr_assert_eq(coil_sleep(0), -ETIMEDOUT);
    cr_assert(coil_scope_leave(&outer));
    cr_assert(no_timer_is_armed());
    cr_assert_eq(coil__self()->interrupts, 0, "the fast path is open again");
    cr_assert_eq(coil_sleep(0), 0);
}

/* ---- The awaited thing and the deadline in one turn ---- */

struct releaser {
    struct coil__timer timer;
    coil_sem *sem;
};

static void release_now(struct coil__timer *timer)
{
    coil_sem_release(container_of(timer, struct releaser, timer)->sem);
}

FIBER_TEST(scope, a_success_before_the_deadline_in_the_same_turn_is_delivered)
{
    coil_sem sem;
    coil_scope scope;
    struct releaser releaser = {.timer.fire = release_now, .sem = &sem};

    coil_sem_init(&sem, 0);
    coil_scope_enter(&scope, COIL_MS(1));
    coil__timer_arm(&coil__sched_this->timers, &releaser.timer, scope.timer.node.key - 1);
    burn(COIL_MS(2));
    cr_assert_eq(coil_sem_acquire(&sem), 0);
    cr_assert_eq(coil_sem_balance(&sem), 0);
    cr_assert_eq(coil_sleep(0), -ETIMEDOUT, "the deadline waits for the next call");
    cr_assert(coil_scope_leave(&scope));
}

FIBER_TEST(scope, a_success_after_the_deadline_in_the_same_turn_is_not_lost)
{
    coil_sem sem;
    coil_scope scope;
    struct releaser releaser = {.timer.fire = release_now, .sem = &sem};

    coil_sem_init(&sem, 0);
    coil_scope_enter(&scope, COIL_MS(1));
    coil__timer_arm(&coil__sched_this->timers, &releaser.timer, scope.timer.node.key);
    burn(COIL_MS(2));
    cr_assert_eq(coil_sem_acquire(&sem), -ETIMEDOUT);
    cr_assert(coil_scope_leave(&scope));
    cr_assert_eq(coil_sem_balance(&sem), 1);
}

/* Ends a wait that should have been interrupted, so that the test fails instead of hanging. */
static int release_at_last(void *arg)
{
    const int result = coil_sleep(COIL_SECONDS(30));

    coil_sem_release(arg);
    return result;
}

FIBER_TEST(scope, a_deadline_that_passes_while_a_call_yields_its_budget_is_not_missed)
{
    coil_sem sem;
    coil_scope scope;
    coil_fiber *rescuer;

    coil_sem_init(&sem, 0);
    rescuer = spawn_until_parked(release_at_last, &sem);
    coil_scope_enter(&scope, COIL_MS(1));
    burn(COIL_MS(2));
    coil__sched_this->budget = 1;
    cr_assert_eq(coil_sem_acquire(&sem), -ETIMEDOUT);
    cr_assert(coil_scope_leave(&scope));

    coil_cancel(rescuer);
    cr_assert_eq(join_and_drop(rescuer), -ECANCELED);
}

FIBER_TEST(scope, a_call_that_yields_its_budget_takes_nothing_once_the_deadline_is_due)
{
    coil_sem sem;
    coil_scope scope;

    coil_sem_init(&sem, 1);
    coil_scope_enter(&scope, COIL_MS(1));
    burn(COIL_MS(2));
    coil__sched_this->budget = 1;
    cr_assert_eq(coil_sem_acquire(&sem), -ETIMEDOUT);
    cr_assert(coil_scope_leave(&scope));
    cr_assert_eq(coil_sem_balance(&sem), 1);
}

/* ---- Loops that ignore results ---- */

static void count_ignorers(coil_log_level level, const char *message, void *arg)
{
    (void)level;
    if (strstr(message, "'deaf'") && strstr(message, "ignores"))
        ++*(int *)arg;
}

static int ignore_results(void *arg)
{
    const int *count = arg;

    for (int i = 0; i < *count; i++)
        (void)coil_sleep(COIL_MS(1));
    return 0;
}

static int messages_after_failures(int failure_count)
{
    int message_count = 0;
    coil_fiber *fiber;

    coil_log_set(count_ignorers, &message_count);
    cr_assert_eq(coil_spawn(ignore_results, &failure_count, &fiber), 0);
    coil_fiber_name_set(fiber, "deaf");
    coil_cancel(fiber);
    cr_assert_eq(join_and_drop(fiber), 0);
    coil_log_set(NULL, NULL);
    return message_count;
}

FIBER_TEST(scope, ten_thousand_ignored_failures_are_named_once_in_the_log)
{
    cr_assert_eq(messages_after_failures(9999), 0);
    cr_assert_eq(messages_after_failures(10000), 1);
    cr_assert_eq(messages_after_failures(50000), 1);
}

FIBER_TEST(scope, polling_with_a_scope_of_no_time_is_not_ignoring_results)
{
    int message_count = 0;
    coil_sem sem;

    coil_sem_init(&sem, 0);
    coil_fiber_name_set(coil_self(), "deaf");
    coil_log_set(count_ignorers, &message_count);
    for (int i = 0; i < 30000; i++) {
        coil_scope scope;

        coil_scope_enter(&scope, 0);
        cr_assert_eq(coil_sem_acquire(&sem), -ETIMEDOUT);
        cr_assert(coil_scope_leave(&scope));
    }
    coil_log_set(NULL, NULL);

    cr_assert_eq(message_count, 0);
}

/* SPDX-License-Identifier: MIT */
/* Fibers: spawn, join, handles, cancellation, names and the limit of fibers.
 *
 * What concerns time and turns (yield, sleep, fairness) is in test_sched.c, results that nobody
 * collects in test_unhandled.c.
 */
#include "support/fiber_test.h"

#include "base/alloc.h"

enum {
    ANSWER = 42,
    JOINER_COUNT = 5,
    CYCLE_COUNT = 100000,
    WARM_UP_COUNT = 100,
};

static int return_number(void *arg)
{
    return *(int *)arg;
}

static int sleep_forever(void *arg)
{
    (void)arg;
    return coil_sleep(COIL_NEVER);
}

static int set_flag(void *arg)
{
    *(bool *)arg = true;
    return 0;
}

/* ---- Spawn and join ---- */

FIBER_TEST(fiber, a_child_runs_when_its_parent_parks_and_not_before)
{
    bool has_run = false;

    cr_assert_eq(coil_spawn(set_flag, &has_run, NULL), 0);
    cr_assert_not(has_run);
    coil_yield();

    cr_assert(has_run);
}

struct joining {
    coil_fiber *target;
    int status;
    int result;
};

static int join_target(void *arg)
{
    struct joining *joining = arg;

    joining->status = coil_join(joining->target, &joining->result);
    return 0;
}

static int acquire_then_answer(void *arg)
{
    const int result = coil_sem_acquire(arg);

    return result < 0 ? result : ANSWER;
}

FIBER_TEST(fiber, every_joiner_gets_the_result_also_late_ones_and_twice)
{
    struct joining joinings[JOINER_COUNT];
    coil_fiber *joiners[JOINER_COUNT];
    coil_fiber *target;
    coil_sem sem;
    int result = 0;

    coil_sem_init(&sem, 0);
    target = spawn_until_parked(acquire_then_answer, &sem);
    for (int i = 0; i < JOINER_COUNT; i++) {
        joinings[i] = (struct joining){.target = target};
        joiners[i] = spawn_until_parked(join_target, &joinings[i]);
    }
    coil_sem_release(&sem);
    for (int i = 0; i < JOINER_COUNT; i++) {
        cr_assert_eq(join_and_drop(joiners[i]), 0);
        cr_assert_eq(joinings[i].status, 0);
        cr_assert_eq(joinings[i].result, ANSWER);
    }

    cr_assert_eq(coil_join(target, NULL), 0);
    cr_assert_eq(coil_join(target, &result), 0);
    cr_assert_eq(result, ANSWER);
    coil_fiber_unref(target);
}

static int sleep_and_answer(void *arg)
{
    (void)arg;
    cr_assert_eq(coil_sleep(COIL_MS(1)), 0);
    return ANSWER;
}

/* The one that drops the only reference runs first, so the other's handle is gone. */
FIBER_TEST(fiber, a_joiner_gets_the_result_after_another_joiner_dropped_the_handle)
{
    struct joining joining = {0};
    coil_fiber *joiner;

    cr_assert_eq(coil_spawn(sleep_and_answer, NULL, &joining.target), 0);
    cr_assert_eq(coil_spawn(join_target, &joining, &joiner), 0);
    cr_assert_eq(join_and_drop(joining.target), ANSWER);
    cr_assert_eq(join_and_drop(joiner), 0);

    cr_assert_eq(joining.status, 0);
    cr_assert_eq(joining.result, ANSWER);
}

FIBER_TEST(fiber, a_fibers_own_failure_is_its_result_and_not_the_status_of_join)
{
    int number = -EPIPE;
    int result = 0;
    coil_fiber *fiber;

    cr_assert_eq(coil_spawn(return_number, &number, &fiber), 0);
    cr_assert_eq(coil_join(fiber, &result), 0);
    cr_assert_eq(result, -EPIPE);
    coil_fiber_unref(fiber);
}

FIBER_TEST(fiber, a_fiber_cannot_join_itself)
{
    int result = 77;

    cr_assert_eq(coil_join(coil_self(), &result), -EDEADLK);
    cr_assert_eq(result, 77);
}

FIBER_TEST(fiber, a_join_that_times_out_gives_no_result_and_leaves_the_fiber_alone)
{
    coil_fiber *target;
    coil_scope scope;
    coil_sem sem;
    int result = 77;

    coil_sem_init(&sem, 0);
    target = spawn_until_parked(acquire_then_answer, &sem);
    coil_scope_enter(&scope, COIL_MS(1));
    cr_assert_eq(coil_join(target, &result), -ETIMEDOUT);
    cr_assert(coil_scope_leave(&scope));
    cr_assert_eq(result, 77);

    coil_sem_release(&sem);
    cr_assert_eq(join_and_drop(target), ANSWER);
}

FIBER_TEST(fiber, a_cancelled_join_leaves_the_other_joiners_their_place)
{
    struct joining joinings[2];
    coil_fiber *joiners[2];
    coil_fiber *target;
    coil_sem sem;

    coil_sem_init(&sem, 0);
    target = spawn_until_parked(acquire_then_answer, &sem);
    for (int i = 0; i < 2; i++) {
        joinings[i] = (struct joining){.target = target, .result = 77};
        joiners[i] = spawn_until_parked(join_target, &joinings[i]);
    }
    coil_cancel(joiners[0]);
    cr_assert_eq(join_and_drop(joiners[0]), 0);
    cr_assert_eq(joinings[0].status, -ECANCELED);
    cr_assert_eq(joinings[0].result, 77);

    coil_sem_release(&sem);
    cr_assert_eq(join_and_drop(joiners[1]), 0);
    cr_assert_eq(joinings[1].result, ANSWER);
    cr_assert_eq(join_and_drop(target), ANSWER);
}

/* ---- Handles ---- */

FIBER_TEST(fiber, a_handle_outlives_its_fiber_but_the_stack_goes_back_at_once)
{
    int number = ANSWER;
    const size_t stacks_before = coil__sched_this->stacks.live_count;
    coil_fiber *fiber;
    uint64_t id;

    cr_assert_eq(coil_spawn(return_number, &number, &fiber), 0);
    coil_fiber_name_set(fiber, "short");
    id = coil_fiber_id(fiber);
    cr_assert_eq(coil__sched_this->stacks.live_count, stacks_before + 1);
    coil_yield();
    coil_yield();

    cr_assert_eq(coil__sched_this->stacks.live_count, stacks_before);
    cr_assert_eq(coil_fiber_id(fiber), id);
    cr_assert_str_eq(coil_fiber_name(fiber), "short");
    cr_assert_eq(join_and_drop(fiber), ANSWER);
}

FIBER_TEST(fiber, each_reference_keeps_the_handle)
{
    int number = ANSWER;
    coil_fiber *fiber;
    int result = 0;

    cr_assert_eq(coil_spawn(return_number, &number, &fiber), 0);
    cr_assert_eq(coil_fiber_ref(fiber), fiber);
    coil_fiber_unref(fiber);
    cr_assert_eq(coil_join(fiber, &result), 0);
    cr_assert_eq(result, ANSWER);
    cr_assert_eq(coil__sched_this->handles.live_count, 2);
    coil_fiber_unref(fiber);

    cr_assert_eq(coil__sched_this->handles.live_count, 1, "main's is left");
    coil_fiber_unref(NULL);
}

FIBER_TEST(fiber, a_detached_fiber_leaves_no_handle)
{
    bool has_run = false;

    cr_assert_eq(coil_spawn(set_flag, &has_run, NULL), 0);
    cr_assert_eq(coil__sched_this->handles.live_count, 2);
    coil_yield();

    cr_assert(has_run);
    cr_assert_eq(coil__sched_this->handles.live_count, 1);
}

FIBER_TEST(fiber, a_dropped_handle_lets_the_fiber_run_on)
{
    bool has_run = false;
    coil_fiber *fiber;

    cr_assert_eq(coil_spawn(set_flag, &has_run, &fiber), 0);
    coil_fiber_unref(fiber);
    coil_yield();

    cr_assert(has_run);
}

FIBER_TEST(fiber, names_are_cut_at_23_bytes_and_empty_at_first)
{
    char longer[] = "0123456789012345678901234567";
    coil_fiber *fiber = spawn_until_parked(sleep_forever, NULL);

    cr_assert_str_eq(coil_fiber_name(fiber), "");
    coil_fiber_name_set(fiber, longer);
    cr_assert_str_eq(coil_fiber_name(fiber), "01234567890123456789012");
    longer[23] = '\0';
    coil_fiber_name_set(fiber, longer);
    cr_assert_str_eq(coil_fiber_name(fiber), longer);
    coil_fiber_name_set(fiber, "x");
    cr_assert_str_eq(coil_fiber_name(fiber), "x");

    coil_cancel(fiber);
    cr_assert_eq(join_and_drop(fiber), -ECANCELED);
}

FIBER_TEST(fiber, ids_are_never_zero_and_never_used_twice)
{
    uint64_t last = coil_fiber_id(coil_self());
    int number = 0;

    cr_assert_neq(last, 0);
    for (int i = 0; i < 1000; i++) {
        coil_fiber *fiber;

        cr_assert_eq(coil_spawn(return_number, &number, &fiber), 0);
        cr_assert_gt(coil_fiber_id(fiber), last);
        last = coil_fiber_id(fiber);
        cr_assert_eq(join_and_drop(fiber), 0);
    }
}

static int compare_self(void *arg)
{
    return coil_self() == *(coil_fiber **)arg;
}

Test(fiber, outside_of_coil_run_there_is_no_self)
{
    cr_assert_null(coil_self());
}

FIBER_TEST(fiber, self_is_the_handle_that_spawn_gave)
{
    coil_fiber *fiber;

    cr_assert_eq(coil_spawn(compare_self, &fiber, &fiber), 0);
    cr_assert_eq(join_and_drop(fiber), 1);
    cr_assert_str_eq(coil_fiber_name(coil_self()), "main");
}

/* ---- The limit ---- */

FIBER_TEST_WITH(fiber, beyond_the_limit_spawn_fails_until_one_ends,
                (&(coil_options){.size = sizeof(coil_options), .fibers_max = 3}))
{
    coil_fiber *const untouched = coil_self();
    coil_fiber *fibers[2];
    coil_fiber *third = untouched;
    int number = 1;

    fibers[0] = spawn_until_parked(sleep_forever, NULL);
    fibers[1] = spawn_until_parked(sleep_forever, NULL);
    for (int i = 0; i < 3; i++)
        cr_assert_eq(coil_spawn(return_number, &number, &third), -EAGAIN);
    cr_assert_eq(third, untouched);
    coil_cancel(fibers[0]);
    cr_assert_eq(join_and_drop(fibers[0]), -ECANCELED);

    cr_assert_eq(coil_spawn(return_number, &number, &third), 0);
    cr_assert_eq(join_and_drop(third), 1);
    coil_cancel(fibers[1]);
    cr_assert_eq(join_and_drop(fibers[1]), -ECANCELED);
}

FIBER_TEST(fiber, spawning_and_joining_for_long_does_not_grow_memory)
{
    int64_t blocks = 0;
    int number = 1;
    int sum = 0;

    for (int i = 0; i < CYCLE_COUNT; i++) {
        coil_fiber *fiber;

        if (i == WARM_UP_COUNT)
            blocks = coil__alloc_live_count();
        cr_assert_eq(coil_spawn(return_number, &number, &fiber), 0);
        sum += join_and_drop(fiber);
    }

    cr_assert_eq(sum, CYCLE_COUNT);
    cr_assert_eq(coil__alloc_live_count(), blocks);
    coil__fiber_reap(coil__sched_this);
    cr_assert_eq(coil__sched_this->stacks.live_count, 1);
    cr_assert_eq(coil__sched_this->fiber_count, 1);
}

/* ---- Cancellation ---- */

FIBER_TEST(fiber, cancelling_ends_the_present_wait_and_not_the_canceller)
{
    coil_fiber *fiber = spawn_until_parked(sleep_forever, NULL);

    coil_cancel(fiber);
    coil_cancel(fiber);
    cr_assert_not_null(fiber->tcb, "cancel only makes it runnable");
    cr_assert_eq(fiber->tcb->interrupts, 1, "counted once");
    cr_assert_eq(join_and_drop(fiber), -ECANCELED);

    cr_assert_eq(coil_expired(), 0);
    cr_assert_eq(coil_sleep(0), 0);
}

struct outcomes {
    bool has_run;
    int expired;
    int first;
    int second;
};

static int try_to_sleep(void *arg)
{
    struct outcomes *outcomes = arg;

    outcomes->has_run = true;
    outcomes->expired = coil_expired();
    outcomes->first = coil_sleep(COIL_NEVER);
    outcomes->second = coil_sleep(0);
    return 5;
}

FIBER_TEST(fiber, a_fiber_cancelled_before_its_start_still_runs_cancelled)
{
    struct outcomes outcomes = {0};
    coil_fiber *fiber;

    cr_assert_eq(coil_spawn(try_to_sleep, &outcomes, &fiber), 0);
    coil_cancel(fiber);
    cr_assert_eq(join_and_drop(fiber), 5);

    cr_assert(outcomes.has_run);
    cr_assert_eq(outcomes.expired, -ECANCELED);
    cr_assert_eq(outcomes.first, -ECANCELED);
    cr_assert_eq(outcomes.second, -ECANCELED);
}

FIBER_TEST(fiber, cancelling_one_that_has_ended_changes_nothing)
{
    int number = ANSWER;
    coil_fiber *fiber;

    cr_assert_eq(coil_spawn(return_number, &number, &fiber), 0);
    coil_yield();
    cr_assert_null(fiber->tcb);
    coil_cancel(fiber);

    cr_assert_eq(join_and_drop(fiber), ANSWER);
}

static int cancel_self_then_sleep(void *arg)
{
    (void)arg;
    coil_cancel(coil_self());
    return coil_sleep(COIL_MS(1));
}

FIBER_TEST(fiber, a_fiber_can_cancel_itself)
{
    coil_fiber *fiber;

    cr_assert_eq(coil_spawn(cancel_self_then_sleep, NULL, &fiber), 0);
    cr_assert_eq(join_and_drop(fiber), -ECANCELED);
}

static int fail_many_times(void *arg)
{
    int failures = 0;

    (void)arg;
    while (failures < 100 && coil_sleep(0) == -ECANCELED)
        failures++;
    return failures;
}

FIBER_TEST(fiber, a_cancellation_stays)
{
    coil_fiber *fiber;

    cr_assert_eq(coil_spawn(fail_many_times, NULL, &fiber), 0);
    coil_cancel(fiber);
    cr_assert_eq(join_and_drop(fiber), 100);
}

/* ---- Memory ---- */

static int wait_for_burst_end(void *arg)
{
    return coil_sem_acquire(arg);
}

FIBER_TEST(fiber, fibers_that_end_continue_each_other_without_a_visit_to_the_loop)
{
    enum {
        COUNT = 10
    };
    struct coil__sched *sched = coil__sched();
    coil_fiber *fibers[COUNT];
    uint64_t before;
    int number = 0;

    for (int i = 0; i < COUNT; i++)
        cr_assert_eq(coil_spawn(return_number, &number, &fibers[i]), 0);
    before = sched->switch_count;
    cr_assert_eq(coil_join(fibers[COUNT - 1], NULL), 0);
    cr_assert_eq(sched->switch_count - before, COUNT + 1);
    for (int i = 0; i < COUNT; i++)
        cr_assert_eq(join_and_drop(fibers[i]), 0);
}

FIBER_TEST(fiber, a_spawn_takes_the_stack_of_the_fiber_that_ended_last)
{
    struct coil__sched *sched = coil__sched();
    coil_fiber *fiber;
    int number = 0;
    void *top;

    cr_assert_eq(coil_spawn(return_number, &number, &fiber), 0);
    top = fiber->tcb->stack_top;
    cr_assert_eq(join_and_drop(fiber), 0);
    cr_assert_eq(sched->stacks.live_count, 2, "not recycled yet: nobody has needed it");
    cr_assert_eq(coil_spawn(return_number, &number, &fiber), 0);
    cr_assert_eq(fiber->tcb->stack_top, top);
    cr_assert_eq(join_and_drop(fiber), 0);
}

FIBER_TEST(fiber, the_stacks_of_a_burst_are_given_back_but_for_a_reserve)
{
    enum {
        BURST = 3000
    };
    struct coil__sched *sched = coil__sched();
    coil_sem end;

    coil_sem_init(&end, 0);
    for (int i = 0; i < BURST; i++)
        cr_assert_eq(coil_spawn(wait_for_burst_end, &end, NULL), 0);
    coil_yield();
    for (int i = 0; i < BURST; i++)
        coil_sem_release(&end);
    while (sched->fiber_count > 1)
        coil_yield();
    coil__fiber_reap(sched);
    cr_assert_geq(sched->stacks.free_count + sched->stacks.cold_count, BURST);

    for (int i = 0; sched->stacks.cold_count < BURST - 600 && i < 200; i++)
        cr_assert_eq(coil_sleep(COIL_MS(50)), 0);
    cr_assert_leq(sched->stacks.free_count, 600);
    cr_assert_gt(sched->stacks.free_count, 400, "a reserve stays warm");
}

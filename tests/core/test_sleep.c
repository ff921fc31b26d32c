/* SPDX-License-Identifier: MIT */
/* Fibers that start later. (Sleeping itself is in test_sched.c, with the timers.) */
#include "base/alloc.h"
#include "support/fiber_test.h"

enum {
    RESULT = 5,
    MANY = 10000,
};

struct started {
    int64_t at;
    int first_call; /* what its first parking call returned */
    char *log;
    char name;
};

static int note_start(void *arg)
{
    struct started *started = arg;

    started->at = coil_now();
    started->first_call = coil_sleep(0);
    if (started->log)
        strncat(started->log, &started->name, 1);
    return RESULT;
}

FIBER_TEST(sleep, a_delayed_fiber_starts_after_its_delay_and_not_before)
{
    const int64_t begin = coil_now();
    struct started started = {.at = 0};
    coil_fiber *fiber;

    cr_assert_eq(coil_spawn_after(COIL_MS(2), note_start, &started, &fiber), 0);
    until_parked(fiber);
    cr_assert_str_eq(fiber->tcb->wait_name, "its start");
    cr_assert_eq(started.at, 0);

    cr_assert_eq(join_and_drop(fiber), RESULT);
    cr_assert_geq(started.at - begin, COIL_MS(2));
    cr_assert_eq(started.first_call, 0);
}

FIBER_TEST(sleep, no_delay_and_a_negative_one_start_it_as_soon_as_the_parent_parks)
{
    struct started now = {.at = 0};
    struct started past = {.at = 0};
    coil_fiber *fibers[2];

    cr_assert_eq(coil_spawn_after(0, note_start, &now, &fibers[0]), 0);
    cr_assert_eq(coil_spawn_after(-COIL_SECONDS(1), note_start, &past, &fibers[1]), 0);
    cr_assert_eq(now.at, 0);

    cr_assert_eq(join_and_drop(fibers[0]), RESULT);
    cr_assert_eq(join_and_drop(fibers[1]), RESULT);
}

FIBER_TEST(sleep, delayed_fibers_start_in_the_order_of_their_deadlines)
{
    bool is_certain = false;

    for (coil_time unit = COIL_MS(1); !is_certain; unit *= 2) {
        char log[4] = "";
        struct started late = {.log = log, .name = 'b'};
        struct started early = {.log = log, .name = 'a'};
        const int64_t begin = coil_now();
        coil_fiber *fibers[2];

        cr_assert_eq(coil_spawn_after(50 * unit, note_start, &late, &fibers[0]), 0);
        cr_assert_eq(coil_spawn_after(unit, note_start, &early, &fibers[1]), 0);
        is_certain = coil_now() + unit < begin + 50 * unit;
        cr_assert_eq(join_and_drop(fibers[0]), RESULT);
        cr_assert_eq(join_and_drop(fibers[1]), RESULT);
        if (is_certain)
            cr_assert_str_eq(log, "ab");
    }
}

FIBER_TEST(sleep, cancelled_before_its_start_it_runs_at_once_with_the_cancellation_pending)
{
    struct started parked = {.at = 0};
    struct started fresh = {.at = 0};
    coil_fiber *fibers[2];

    cr_assert_eq(coil_spawn_after(COIL_NEVER, note_start, &parked, &fibers[0]), 0);
    until_parked(fibers[0]);
    cr_assert_eq(coil_spawn_after(COIL_NEVER, note_start, &fresh, &fibers[1]), 0);
    coil_cancel(fibers[0]);
    coil_cancel(fibers[1]);

    cr_assert_eq(join_and_drop(fibers[0]), RESULT);
    cr_assert_eq(join_and_drop(fibers[1]), RESULT);
    cr_assert_eq(parked.first_call, -ECANCELED);
    cr_assert_eq(fresh.first_call, -ECANCELED);
}

static int spawn_and_end(void *arg)
{
    return coil_spawn_after(COIL_US(100), note_start, arg, NULL);
}

FIBER_TEST(sleep, a_delayed_fiber_starts_though_its_spawner_is_gone)
{
    char log[2] = "";
    struct started started = {.log = log, .name = 'a'};
    coil_fiber *fiber;

    cr_assert_eq(coil_spawn(spawn_and_end, &started, &fiber), 0);
    cr_assert_eq(join_and_drop(fiber), 0);
    while (!log[0]) /* the last that it does with the storage of this test */
        cr_assert_eq(coil_sleep(COIL_US(100)), 0);
}

static int fail(void *arg)
{
    (void)arg;
    return -EIO;
}

static void count_unhandled(const coil_fiber *fiber, int result, void *arg)
{
    (void)fiber;
    cr_assert_eq(result, -EIO);
    ++*(int *)arg;
}

FIBER_TEST(sleep, a_delayed_fiber_that_fails_is_reported_and_the_timers_after_it_fire)
{
    struct started started = {.at = 0};
    int unhandled = 0;
    coil_fiber *fiber;

    coil_unhandled_set(count_unhandled, &unhandled);
    cr_assert_eq(coil_spawn_after(COIL_US(100), fail, NULL, NULL), 0);
    cr_assert_eq(coil_spawn_after(COIL_MS(1), note_start, &started, &fiber), 0);
    cr_assert_eq(join_and_drop(fiber), RESULT);

    cr_assert_eq(unhandled, 1);
    cr_assert_eq(started.first_call, 0);
}

FIBER_TEST(sleep, thousands_that_are_cancelled_before_their_start_leave_nothing)
{
    struct started started = {.at = 0};
    static coil_fiber *fibers[MANY];

    for (int i = 0; i < MANY; i++)
        cr_assert_eq(coil_spawn_after(COIL_SECONDS(100), note_start, &started, &fibers[i]), 0);
    coil_yield();
    for (int i = 0; i < MANY; i++)
        coil_cancel(fibers[i]);
    for (int i = 0; i < MANY; i++)
        cr_assert_eq(join_and_drop(fibers[i]), RESULT);

    coil__timer_disarm(&coil__sched()->timers, &coil__sched()->trim); /* of the many free stacks */
    cr_assert_eq(coil__timers_next(&coil__sched()->timers), INT64_MAX);
}

FIBER_TEST(sleep, when_any_allocation_fails_the_spawn_says_so_and_nothing_leaks)
{
    struct started started = {.at = 0};
    coil_fiber *fiber = NULL;
    int result = -ENOMEM;

    for (int64_t after = 0; result == -ENOMEM; after++) {
        coil__alloc_fail_after(after);
        result = coil_spawn_after(0, note_start, &started, &fiber);
        coil__alloc_fail_after(-1);
    }
    cr_assert_eq(result, 0);
    cr_assert_eq(join_and_drop(fiber), RESULT);
}

static int ask_parent(void *arg)
{
    *(uint64_t *)arg = coil_fiber_parent_id(coil_self());
    return 0;
}

FIBER_TEST(sleep, a_fiber_knows_its_parent_and_main_has_none)
{
    uint64_t parents[2] = {0, 0};
    coil_fiber *fibers[2];

    cr_assert_eq(coil_fiber_parent_id(coil_self()), 0);
    cr_assert_eq(coil_spawn(ask_parent, &parents[0], &fibers[0]), 0);
    cr_assert_eq(coil_spawn_after(0, ask_parent, &parents[1], &fibers[1]), 0);
    cr_assert_neq(coil_fiber_spawn_site(fibers[0]), NULL);
    cr_assert_neq(coil_fiber_spawn_site(fibers[0]), coil_fiber_spawn_site(fibers[1]));
    cr_assert_eq(join_and_drop(fibers[0]), 0);
    cr_assert_eq(join_and_drop(fibers[1]), 0);

    cr_assert_eq(parents[0], coil_fiber_id(coil_self()));
    cr_assert_eq(parents[1], coil_fiber_id(coil_self()));
}

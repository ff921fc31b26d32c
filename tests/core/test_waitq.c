/* SPDX-License-Identifier: MIT */
/* Wait queues: order, hand-over, and that a wake is final whatever comes after (design D3). */
#include "core/waitq.h"

#include "support/fiber_test.h"

enum {
    WOKEN = 7,
};

struct waiting {
    struct coil__waitq *queue;
    char *log;
    char name;
    int first;
    int second;
};

static int park_once(void *arg)
{
    struct waiting *waiting = arg;

    waiting->first = coil__waitq_park(waiting->queue, "test", waiting);
    strncat(waiting->log, &waiting->name, 1);
    return waiting->first;
}

FIBER_TEST(waitq, waiters_are_woken_first_come_first_served)
{
    struct coil__waitq queue;
    char log[5] = "";
    struct waiting waiting[4];
    coil_fiber *fibers[4];

    coil__waitq_init(&queue);
    cr_assert_null(coil__waitq_first(&queue));
    cr_assert_not(coil__waitq_wake_one(&queue, WOKEN));
    for (int i = 0; i < 4; i++) {
        waiting[i] = (struct waiting){.queue = &queue, .log = log, .name = (char)('a' + i)};
        fibers[i] = spawn_until_parked(park_once, &waiting[i]);
    }
    cr_assert_eq(coil__waitq_count(&queue), 4);
    cr_assert_eq(coil__waitq_first(&queue), fibers[0]->tcb);
    cr_assert_eq(fibers[0]->tcb->wait_object, &waiting[0]);
    cr_assert(coil__waitq_wake_one(&queue, WOKEN));
    cr_assert_eq(coil__waitq_count(&queue), 3);
    cr_assert_eq(coil__waitq_wake_all(&queue, WOKEN + 1), 3);
    cr_assert(coil__waitq_is_empty(&queue));

    for (int i = 0; i < 4; i++)
        cr_assert_eq(join_and_drop(fibers[i]), i == 0 ? WOKEN : WOKEN + 1);
    cr_assert_str_eq(log, "abcd");
}

FIBER_TEST(waitq, an_interrupted_waiter_leaves_from_any_place_in_the_queue)
{
    for (int gone = 0; gone < 3; gone++) {
        struct coil__waitq queue;
        char log[4] = "";
        struct waiting waiting[3];
        coil_fiber *fibers[3];

        coil__waitq_init(&queue);
        for (int i = 0; i < 3; i++) {
            waiting[i] = (struct waiting){.queue = &queue, .log = log, .name = (char)('a' + i)};
            fibers[i] = spawn_until_parked(park_once, &waiting[i]);
        }
        coil_cancel(fibers[gone]);
        cr_assert_eq(coil__waitq_count(&queue), 2);
        cr_assert_eq(coil__waitq_wake_all(&queue, WOKEN), 2);

        for (int i = 0; i < 3; i++)
            cr_assert_eq(join_and_drop(fibers[i]), i == gone ? -ECANCELED : WOKEN);
    }
}

FIBER_TEST(waitq, a_wake_is_final_even_if_a_cancellation_follows)
{
    struct coil__waitq queue;
    char log[2] = "";
    struct waiting waiting = {.queue = &queue, .log = log, .name = 'a'};
    coil_fiber *fiber;

    coil__waitq_init(&queue);
    fiber = spawn_until_parked(park_once, &waiting);
    cr_assert(coil__waitq_wake_one(&queue, WOKEN));
    coil_cancel(fiber);

    cr_assert_eq(join_and_drop(fiber), WOKEN);
}

static int park_twice(void *arg)
{
    struct waiting *waiting = arg;

    waiting->first = coil__waitq_park(waiting->queue, "test", NULL);
    waiting->second = coil__waitq_park(waiting->queue, "test", NULL);
    return 0;
}

FIBER_TEST(waitq, a_cancellation_that_follows_a_wake_ends_the_next_wait_of_the_same_call)
{
    struct coil__waitq queue;
    struct waiting waiting = {.queue = &queue};
    coil_fiber *fiber;

    coil__waitq_init(&queue);
    fiber = spawn_until_parked(park_twice, &waiting);
    cr_assert(coil__waitq_wake_one(&queue, WOKEN));
    coil_cancel(fiber);
    until_parked(fiber);
    cr_assert_eq(coil__waitq_wake_all(&queue, WOKEN), 0, "it waits, cancelled");
    cr_assert_eq(join_and_drop(fiber), 0);

    cr_assert_eq(waiting.first, WOKEN);
    cr_assert_eq(waiting.second, -ECANCELED);
}

static int park_shielded(void *arg)
{
    struct waiting *waiting = arg;

    waiting->first = coil__waitq_park_shielded(waiting->queue, "test");
    return coil_sleep(0);
}

FIBER_TEST(waitq, a_shielded_wait_ignores_cancellation_until_it_is_over)
{
    struct coil__waitq queue;
    struct waiting waiting = {.queue = &queue};
    coil_fiber *fibers[2];

    coil__waitq_init(&queue);
    fibers[0] = spawn_until_parked(park_shielded, &waiting);
    coil_cancel(fibers[0]);
    cr_assert_eq(fibers[0]->tcb->state, COIL__FIBER_PARKED);
    cr_assert_eq(coil_spawn(park_shielded, &waiting, &fibers[1]), 0);
    coil_cancel(fibers[1]);
    until_parked(fibers[1]);
    cr_assert_eq(coil__waitq_wake_all(&queue, WOKEN), 2);

    cr_assert_eq(join_and_drop(fibers[0]), -ECANCELED);
    cr_assert_eq(join_and_drop(fibers[1]), -ECANCELED);
    cr_assert_eq(waiting.first, WOKEN);
}

FIBER_TEST(waitq, what_a_fiber_waits_for_is_named_while_it_waits)
{
    struct coil__waitq queue;
    char log[2] = "";
    struct waiting waiting = {.queue = &queue, .log = log, .name = 'a'};
    coil_fiber *fiber;

    coil__waitq_init(&queue);
    cr_assert_null(coil__self()->wait_name);
    fiber = spawn_until_parked(park_once, &waiting);
    cr_assert_str_eq(fiber->tcb->wait_name, "test");
    cr_assert(coil__waitq_wake_one(&queue, WOKEN));
    cr_assert_eq(join_and_drop(fiber), WOKEN);
}

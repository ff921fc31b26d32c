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
    const struct coil__waiter *first;

    coil__waitq_init(&queue);
    cr_assert_null(coil__waitq_first(&queue));
    cr_assert_not(coil__waitq_wake_one(&queue, WOKEN));
    for (int i = 0; i < 4; i++) {
        waiting[i] = (struct waiting){.queue = &queue, .log = log, .name = (char)('a' + i)};
        fibers[i] = spawn_until_parked(park_once, &waiting[i]);
    }
    cr_assert_eq(coil__waitq_count(&queue), 4);
    first = coil__waitq_first(&queue);
    cr_assert(first && first->tcb == fibers[0]->tcb);
    cr_assert(first && first->object == &waiting[0]);
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

/* ---- Waits that their object must know the end of ---- */

struct counted {
    struct coil__waitq queue;
    int waiting;
};

static void count_and_leave(struct coil__tcb *tcb)
{
    struct counted *counted = tcb->waiter->object;

    counted->waiting--;
    coil__waitq_leave(tcb);
}

static int park_counted(void *arg)
{
    struct counted *counted = arg;
    struct coil__waiter waiter = {.object = counted};
    int result;

    counted->waiting++;
    result = coil__waitq_park_waiter(&counted->queue, "test", &waiter, count_and_leave);
    cr_assert_null(coil__self()->waiter);
    return result;
}

FIBER_TEST(waitq, an_object_can_learn_of_an_interruption_before_the_fiber_runs)
{
    struct counted counted = {.waiting = 0};
    coil_fiber *fibers[2];

    coil__waitq_init(&counted.queue);
    for (int i = 0; i < 2; i++)
        fibers[i] = spawn_until_parked(park_counted, &counted);
    coil_cancel(fibers[0]);
    cr_assert_eq(counted.waiting, 1);
    cr_assert_eq(coil__waitq_count(&counted.queue), 1);
    cr_assert(coil__waitq_wake_one(&counted.queue, WOKEN));
    coil_cancel(fibers[1]);
    cr_assert_eq(counted.waiting, 1, "a wake is no interruption");

    cr_assert_eq(join_and_drop(fibers[0]), -ECANCELED);
    cr_assert_eq(join_and_drop(fibers[1]), WOKEN);
}

FIBER_TEST(waitq, a_moved_waiter_waits_on_at_the_end_of_the_other_queue_shielded)
{
    struct coil__waitq queues[2];
    char log[4] = "";
    struct waiting waiting[3];
    coil_fiber *fibers[3];
    coil_fiber *owner = coil_self();

    for (int i = 0; i < 2; i++)
        coil__waitq_init(&queues[i]);
    for (int i = 0; i < 3; i++) {
        waiting[i] = (struct waiting){.queue = &queues[i > 0], .log = log, .name = (char)('a' + i)};
        fibers[i] = spawn_until_parked(park_once, &waiting[i]);
    }
    coil__waiter_move(fibers[0]->tcb->waiter, &queues[1], "moved", &owner);
    cr_assert(coil__waitq_is_empty(&queues[0]));
    cr_assert_str_eq(fibers[0]->tcb->wait_name, "moved");
    cr_assert_eq(*fibers[0]->tcb->waiter->owner, coil_self());
    coil_cancel(fibers[0]);
    coil_yield();
    cr_assert_eq(fibers[0]->tcb->state, COIL__FIBER_PARKED);
    cr_assert_eq(coil__waitq_wake_all(&queues[1], WOKEN), 3);
    for (int i = 0; i < 3; i++)
        cr_assert_eq(join_and_drop(fibers[i]), WOKEN);

    cr_assert_str_eq(log, "bca");
}

/* ---- Several queues at once ---- */

enum {
    QUEUES = 3,
};

struct choosing {
    struct coil__waitq queues[QUEUES];
    size_t needed;
    int results[QUEUES]; /* in the order of the wakes */
    size_t woken_count;
};

static int park_in_all(void *arg)
{
    struct choosing *choosing = arg;
    struct coil__waiter waiters[QUEUES];
    struct coil__choice choice;
    int result;

    coil__choice_init(&choice, waiters, QUEUES, choosing->needed);
    for (size_t i = 0; i < QUEUES; i++)
        coil__choice_queue(&choice, i, &choosing->queues[i], NULL, NULL);
    result = coil__choice_park(&choice, "test");
    for (struct coil__list *link = choice.woken.next; link != &choice.woken; link = link->next) {
        const struct coil__waiter *waiter = container_of(link, struct coil__waiter, link);

        choosing->results[choosing->woken_count++] = waiter->result;
    }
    return result;
}

static coil_fiber *choose(struct choosing *choosing, size_t needed)
{
    *choosing = (struct choosing){.needed = needed};
    for (size_t i = 0; i < QUEUES; i++)
        coil__waitq_init(&choosing->queues[i]);
    return spawn_until_parked(park_in_all, choosing);
}

static void assert_all_left(const struct choosing *choosing)
{
    for (size_t i = 0; i < QUEUES; i++)
        cr_assert(coil__waitq_is_empty(&choosing->queues[i]));
}

FIBER_TEST(waitq, a_choice_takes_one_wake_and_leaves_the_other_queues_at_once)
{
    for (size_t i = 0; i < QUEUES; i++) {
        struct choosing choosing;
        coil_fiber *fiber = choose(&choosing, 1);

        cr_assert(coil__waitq_wake_one(&choosing.queues[i], WOKEN + (int)i));
        assert_all_left(&choosing);

        cr_assert_eq(join_and_drop(fiber), 0);
        cr_assert_eq(choosing.woken_count, 1);
        cr_assert_eq(choosing.results[0], WOKEN + (int)i);
    }
}

FIBER_TEST(waitq, a_choice_of_many_reports_them_in_the_order_of_their_wakes)
{
    struct choosing choosing;
    coil_fiber *fiber = choose(&choosing, 2);

    cr_assert(coil__waitq_wake_one(&choosing.queues[2], 22));
    coil_yield();
    cr_assert_eq(fiber->tcb->state, COIL__FIBER_PARKED, "one of two is not enough");
    cr_assert(coil__waitq_wake_one(&choosing.queues[0], 20));
    assert_all_left(&choosing);

    cr_assert_eq(join_and_drop(fiber), 0);
    cr_assert_eq(choosing.woken_count, 2);
    cr_assert_eq(choosing.results[0], 22);
    cr_assert_eq(choosing.results[1], 20);
}

FIBER_TEST(waitq, an_interrupted_choice_leaves_all_queues_and_keeps_what_it_was_given)
{
    struct choosing choosing;
    coil_fiber *fiber = choose(&choosing, 3);

    cr_assert(coil__waitq_wake_one(&choosing.queues[1], WOKEN));
    coil_cancel(fiber);
    assert_all_left(&choosing);
    cr_assert_not(coil__waitq_wake_one(&choosing.queues[0], WOKEN));

    cr_assert_eq(join_and_drop(fiber), -ECANCELED);
    cr_assert_eq(choosing.woken_count, 1);
    cr_assert_eq(choosing.results[0], WOKEN);
}

FIBER_TEST(waitq, a_choice_completed_before_the_cancellation_is_kept)
{
    struct choosing choosing;
    coil_fiber *fiber = choose(&choosing, 1);

    cr_assert(coil__waitq_wake_one(&choosing.queues[0], WOKEN));
    coil_cancel(fiber);

    cr_assert_eq(join_and_drop(fiber), 0);
    cr_assert_eq(choosing.results[0], WOKEN);
}

FIBER_TEST(waitq, a_choice_keeps_its_place_between_other_waiters)
{
    struct choosing choosing;
    char log[3] = "";
    struct waiting waiting[2];
    coil_fiber *fibers[3];

    for (int i = 0; i < 2; i++)
        waiting[i] = (struct waiting){.log = log, .name = (char)('a' + i)};
    choosing = (struct choosing){.needed = 1};
    for (size_t i = 0; i < QUEUES; i++)
        coil__waitq_init(&choosing.queues[i]);
    waiting[0].queue = &choosing.queues[1];
    waiting[1].queue = &choosing.queues[1];
    fibers[0] = spawn_until_parked(park_once, &waiting[0]);
    fibers[1] = spawn_until_parked(park_in_all, &choosing);
    fibers[2] = spawn_until_parked(park_once, &waiting[1]);

    for (int i = 0; i < 3; i++)
        cr_assert(coil__waitq_wake_one(&choosing.queues[1], WOKEN + i));

    cr_assert_eq(join_and_drop(fibers[0]), WOKEN);
    cr_assert_eq(join_and_drop(fibers[1]), 0);
    cr_assert_eq(choosing.results[0], WOKEN + 1);
    cr_assert_eq(join_and_drop(fibers[2]), WOKEN + 2);
}

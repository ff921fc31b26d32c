/* SPDX-License-Identifier: MIT */
/* coil_wait_any, coil_wait_some and coil_wait_all: what has happened, in its order, once each. */
#include "sync/chan_fixture.h"

#include "base/alloc.h"

static int wait_for_event(void *arg)
{
    return coil_event_wait(arg, NULL);
}

/* A fiber that waits for some of its cases. */
struct waiting {
    coil_case cases[4];
    size_t needed;
    size_t order[4];
};

static int wait_for_some(void *arg)
{
    struct waiting *waiting = arg;

    return coil_wait_some(waiting->cases, 4, waiting->needed, waiting->order);
}

/* Four events, the cases of a fiber that waits. */
static void init_waiting(struct waiting *waiting, coil_event *events, size_t needed)
{
    *waiting = (struct waiting){.needed = needed};
    for (int i = 0; i < 4; i++) {
        coil_event_init(&events[i]);
        waiting->cases[i] = coil_case_event(&events[i], NULL);
    }
}

static void settle(coil_event *event)
{
    cr_assert_eq(coil_event_set(event, NULL), 0);
}

FIBER_TEST(wait, waiting_for_all_reports_the_order_in_which_they_happened)
{
    static const size_t order[] = {2, 0, 3, 1};
    coil_event events[4];
    struct waiting waiting;
    coil_fiber *fiber;

    init_waiting(&waiting, events, 4);
    fiber = spawn_until_parked(wait_for_some, &waiting);
    for (int i = 0; i < 4; i++) {
        coil_yield();
        cr_assert_not_null(fiber->tcb, "%d of 4", i);
        settle(&events[order[i]]);
    }
    cr_assert_eq(join_and_drop(fiber), 4);
    cr_assert_arr_eq(waiting.order, order, sizeof order);
    for (int i = 0; i < 4; i++)
        cr_assert(coil_case_is_done(&waiting.cases[i]));
    cr_assert_eq(coil_wait_all(waiting.cases, 4, NULL), 0, "nothing is left");
}

FIBER_TEST(wait, waiting_for_some_leaves_the_others_alone)
{
    coil_event events[4];
    struct waiting waiting;
    coil_fiber *fiber;

    init_waiting(&waiting, events, 2);
    fiber = spawn_until_parked(wait_for_some, &waiting);
    settle(&events[3]);
    settle(&events[1]);
    settle(&events[0]);
    cr_assert_eq(join_and_drop(fiber), 2);
    cr_assert_eq(waiting.order[0], 3);
    cr_assert_eq(waiting.order[1], 1);
    cr_assert_not(coil_case_is_done(&waiting.cases[0]), "it came third");
    cr_assert_not(coil_case_is_done(&waiting.cases[2]));
    settle(&events[2]);
    cr_assert_eq(coil_wait_some(waiting.cases, 4, 100, waiting.order), 2, "all that there are");
    cr_assert_eq(waiting.order[0], 0);
    cr_assert_eq(waiting.order[1], 2);
    cr_assert_eq(coil_wait_some(waiting.cases, 4, 0, NULL), 0);
}

FIBER_TEST(wait, cases_that_are_done_or_nothing_are_not_waited_for)
{
    coil_event events[4];
    struct waiting waiting;
    coil_fiber *fiber;

    init_waiting(&waiting, events, 100);
    settle(&events[1]);
    cr_assert_eq(coil_wait_any(waiting.cases, 4), 1);
    waiting.cases[3] = coil_case_none();
    fiber = spawn_until_parked(wait_for_some, &waiting);
    settle(&events[2]);
    settle(&events[0]);
    cr_assert_eq(join_and_drop(fiber), 2);
    cr_assert_eq(waiting.order[0], 2);
    cr_assert_eq(waiting.order[1], 0);
    cr_assert_not(coil_case_is_done(&waiting.cases[3]));
}

FIBER_TEST(wait, waiting_for_any_sees_each_once_as_it_happens_until_nothing_is_left)
{
    coil_event events[4];
    struct waiting waiting;

    init_waiting(&waiting, events, 0);
    settle(&events[2]);
    cr_assert_eq(coil_wait_any(waiting.cases, 4), 2);
    settle(&events[3]);
    settle(&events[1]);
    cr_assert_eq(coil_wait_any(waiting.cases, 4), 1, "of two, the first in the array");
    cr_assert_eq(coil_wait_any(waiting.cases, 4), 3);
    cr_assert_eq(coil_event_fail(&events[0], -EIO), 0);
    cr_assert_eq(coil_wait_any(waiting.cases, 4), 0);
    cr_assert_eq(waiting.cases[0].result, -EIO);
    cr_assert_eq(coil_wait_any(waiting.cases, 4), -ENOENT);
}

FIBER_TEST(wait, fibers_are_joined_in_the_order_in_which_they_end)
{
    static const int order[] = {1, 2, 0};
    coil_event ends[3];
    coil_fiber *fibers[3];
    coil_case cases[3];
    int results[3];

    for (int i = 0; i < 3; i++) {
        coil_event_init(&ends[i]);
        fibers[i] = spawn_until_parked(wait_for_event, &ends[i]);
        cases[i] = coil_case_join(fibers[i], &results[i]);
    }
    for (int i = 0; i < 3; i++) {
        int index;

        cr_assert_eq(coil_event_fail(&ends[order[i]], -1 - order[i]), 0);
        index = coil_wait_any(cases, 3);
        cr_assert_eq(index, order[i]);
        cr_assert_eq(results[index], -1 - index);
        coil_fiber_unref(fibers[index]);
    }
    cr_assert_eq(coil_wait_any(cases, 3), -ENOENT, "the handles may be gone by now");
}

FIBER_TEST(wait, fibers_that_end_while_nobody_looks_are_reported_in_the_order_of_their_ends)
{
    static const size_t expected[] = {1, 2, 0};
    coil_event ends[3];
    coil_fiber *fibers[3];
    coil_case cases[3];
    size_t order[3];

    for (int i = 0; i < 3; i++) {
        coil_event_init(&ends[i]);
        fibers[i] = spawn_until_parked(wait_for_event, &ends[i]);
        cases[i] = coil_case_join(fibers[i], NULL);
    }
    for (int i = 0; i < 3; i++)
        settle(&ends[expected[i]]);
    cr_assert_eq(coil_wait_all(cases, 3, order), 3);
    cr_assert_arr_eq(order, expected, sizeof order);
    for (int i = 0; i < 3; i++)
        coil_fiber_unref(fibers[i]);
}

FIBER_TEST(wait, things_of_every_kind_are_waited_for_together)
{
    coil_chan *from = new_chan(0);
    coil_chan *to = new_chan(0);
    struct party receiver = {to, -1};
    coil_event event;
    coil_event stop;
    coil_sem sem;
    coil_fiber *waiting;
    coil_fiber *receiving;
    int item = -1;
    int result = 77;
    const int sent = 5;
    size_t order[6];

    coil_event_init(&event);
    coil_event_init(&stop);
    coil_sem_init(&sem, 0);
    waiting = spawn_until_parked(wait_for_event, &stop);
    {
        coil_case cases[] = {
            coil_case_recv(from, &item),      coil_case_send(to, &sent),
            coil_case_event(&event, NULL),    coil_case_acquire(&sem),
            coil_case_join(waiting, &result), coil_case_after(COIL_US(1)),
        };
        struct party sender = {from, 4};
        coil_fiber *sending = spawn_until_parked(send_one, &sender);

        receiving = spawn_until_parked(receive_one, &receiver);
        settle(&event);
        settle(&stop);
        coil_sem_release(&sem);
        cr_assert_eq(coil_wait_all(cases, 6, order), 6);
        for (size_t i = 0; i < 6; i++)
            cr_assert_eq(cases[i].result, i == 0 ? 1 : 0);
        cr_assert_eq(join_and_drop(sending), 0);
    }
    cr_assert_eq(item, 4);
    cr_assert_eq(result, 0);
    cr_assert_eq(join_and_drop(receiving), 1);
    cr_assert_eq(receiver.item, 5);
    coil_fiber_unref(waiting);
    coil_chan_free(from);
    coil_chan_free(to);
}

/* ---- Interruptions ---- */

FIBER_TEST(wait, an_interruption_reports_what_has_happened_and_the_rest_can_be_waited_for_again)
{
    coil_event events[4];
    struct waiting waiting;
    coil_fiber *fiber;

    init_waiting(&waiting, events, 4);
    fiber = spawn_until_parked(wait_for_some, &waiting);
    settle(&events[2]);
    settle(&events[0]);
    coil_cancel(fiber);
    settle(&events[1]);
    cr_assert_eq(join_and_drop(fiber), 2);
    cr_assert_eq(waiting.order[0], 2);
    cr_assert_eq(waiting.order[1], 0);
    cr_assert_not(coil_case_is_done(&waiting.cases[1]));
    settle(&events[3]);
    cr_assert_eq(coil_wait_all(waiting.cases, 4, waiting.order), 2);
}

/* coil_wait_all() with a deadline that passes while it waits, and not before it begins. */
static int wait_with_time(coil_case *cases, size_t count)
{
    coil_time time = COIL_MS(1);
    coil_scope scope;
    int done;

    do {
        coil_scope_enter(&scope, time);
        done = coil_wait_all(cases, count, NULL);
        cr_assert(coil_scope_leave(&scope));
        time *= 2;
    } while (done == -ETIMEDOUT);
    return done;
}

FIBER_TEST(wait, a_timeout_before_anything_has_happened_is_the_result)
{
    coil_event events[4];
    struct waiting waiting;
    coil_scope scope;

    init_waiting(&waiting, events, 4);
    coil_scope_enter(&scope, COIL_MS(1));
    cr_assert_eq(coil_wait_all(waiting.cases, 4, NULL), -ETIMEDOUT);
    cr_assert_eq(coil_wait_any(waiting.cases, 4), -ETIMEDOUT);
    settle(&events[0]);
    cr_assert_eq(coil_wait_all(waiting.cases, 4, NULL), -ETIMEDOUT, "takes nothing any more");
    cr_assert(coil_scope_leave(&scope));
    cr_assert_not(coil_case_is_done(&waiting.cases[0]));

    cr_assert_eq(wait_with_time(waiting.cases, 4), 1, "cut short");
    for (int i = 1; i < 4; i++)
        cr_assert(coil__list_is_empty(&events[i].waiters.waiters));
}

FIBER_TEST(wait, an_item_that_came_before_the_interruption_is_not_lost)
{
    coil_chan *chan = new_chan(0);
    coil_event events[4];
    struct waiting waiting;
    coil_fiber *fiber;
    int item = -1;

    init_waiting(&waiting, events, 2);
    waiting.cases[1] = coil_case_recv(chan, &item);
    fiber = spawn_until_parked(wait_for_some, &waiting);
    send_now(chan, 3);
    coil_cancel(fiber);
    cr_assert_eq(join_and_drop(fiber), 1);
    cr_assert_eq(waiting.order[0], 1);
    cr_assert_eq(item, 3);
    coil_chan_free(chan);
}

FIBER_TEST(wait, memory_that_is_missing_takes_nothing_away)
{
    enum {
        MANY = 20,
    };

    coil_event events[MANY];
    coil_case cases[MANY];

    for (int i = 0; i < MANY; i++) {
        coil_event_init(&events[i]);
        cases[i] = coil_case_event(&events[i], NULL);
    }
    coil__alloc_fail_after(0);
    cr_assert_eq(coil_wait_all(cases, MANY, NULL), -ENOMEM);
    settle(&events[7]);
    cr_assert_eq(coil_wait_all(cases, MANY, NULL), 1, "what has happened first");
    cr_assert_eq(coil_wait_all(cases, MANY, NULL), -ENOMEM);
    coil__alloc_fail_after(-1);
    for (int i = 0; i < MANY; i++)
        if (i != 7)
            settle(&events[i]);
    cr_assert_eq(coil_wait_all(cases, MANY, NULL), MANY - 1);
}

/* ---- Cases that touch each other ---- */

FIBER_TEST(wait, what_one_case_makes_possible_for_another_happens_too)
{
    coil_chan *chan = new_chan(1);
    const int sent[] = {1, 2};
    int received[2] = {-1, -1};
    coil_case cases[] = {
        coil_case_recv(chan, &received[0]),
        coil_case_recv(chan, &received[1]),
        coil_case_send(chan, &sent[0]),
        coil_case_send(chan, &sent[1]),
    };
    size_t order[4];

    cr_assert_eq(coil_wait_all(cases, 4, order), 4);
    cr_assert_eq(order[0], 2);
    cr_assert_eq(order[1], 0);
    cr_assert_eq(order[2], 3);
    cr_assert_eq(order[3], 1);
    cr_assert_eq(received[0], 1);
    cr_assert_eq(received[1], 2);
    coil_chan_free(chan);
}

static int wait_for_two(void *arg)
{
    return coil_wait_all(arg, 2, NULL);
}

FIBER_TEST(wait, sending_and_receiving_on_one_channel_needs_somebody_else_for_both)
{
    coil_chan *chan = new_chan(0);
    const int sent = 1;
    int received = -1;
    coil_case cases[] = {coil_case_send(chan, &sent), coil_case_recv(chan, &received)};
    coil_fiber *fiber = spawn_until_parked(wait_for_two, cases);

    cr_assert_not_null(fiber->tcb);
    cr_assert_eq(receive_now(chan), 1);
    coil_yield();
    cr_assert_not_null(fiber->tcb, "the other one is missing");
    send_now(chan, 2);
    cr_assert_eq(join_and_drop(fiber), 2);
    cr_assert_eq(received, 2);
    coil_chan_free(chan);
}

FIBER_TEST(wait, a_resize_that_lets_an_item_in_gives_it_to_whoever_waits)
{
    coil_chan *chan = new_chan(0);
    const int sent = 1;
    int received = -1;
    coil_case cases[] = {coil_case_send(chan, &sent), coil_case_recv(chan, &received)};
    coil_fiber *fiber = spawn_until_parked(wait_for_two, cases);

    cr_assert_eq(coil_chan_resize(chan, 1), 0);
    cr_assert_eq(join_and_drop(fiber), 2);
    cr_assert_eq(received, 1);
    cr_assert_eq(coil_chan_len(chan), 0);
    coil_chan_free(chan);
}

/* ---- Time ---- */

static int sleep_a_little(void *arg)
{
    (void)arg;
    return coil_sleep(COIL_MS(1));
}

FIBER_TEST(wait, a_time_runs_on_from_one_call_to_the_next)
{
    coil_chan *chan = new_chan(1);
    const int64_t start = coil_now();
    coil_case after = coil_case_after(COIL_MS(5));
    int64_t deadline = 0;
    int item;

    for (;;) {
        coil_fiber *fiber = spawn_until_parked(sleep_a_little, NULL);
        coil_case cases[] = {after, coil_case_join(fiber, NULL), coil_case_recv(chan, &item)};
        const int index = coil_wait_any(cases, 3);

        after = cases[0];
        cr_assert_eq(join_and_drop(fiber), 0);
        if (index == 0)
            break;
        cr_assert(deadline == 0 || after.with.deadline == deadline, "it began with the first call");
        deadline = after.with.deadline;
    }
    cr_assert_geq(coil_now() - start, COIL_MS(5));
    cr_assert(coil_case_is_done(&after));
    coil_chan_free(chan);
}

FIBER_TEST(wait, several_times_happen_in_the_order_of_their_ends)
{
    coil_case cases[] = {coil_case_after(COIL_MS(3)), coil_case_after(COIL_MS(1)),
                         coil_case_after(COIL_MS(2)), coil_case_after(0)};
    static const size_t expected[] = {3, 1, 2, 0};
    const int64_t start = coil_now();
    size_t order[4];

    cr_assert_eq(coil_wait_all(cases, 4, order), 4);
    cr_assert_arr_eq(order, expected, sizeof order);
    cr_assert_geq(coil_now() - start, COIL_MS(3));
}

FIBER_TEST(wait, times_of_one_call_begin_at_the_same_moment)
{
    coil_case cases[] = {coil_case_after(COIL_SECONDS(2)), coil_case_after(COIL_SECONDS(1)),
                         coil_case_after(COIL_MS(1))};

    cr_assert_eq(coil_wait_any(cases, 3), 2);
    cr_assert_eq(cases[0].with.deadline - cases[1].with.deadline, COIL_SECONDS(1));
}

static int lock_twice(void *arg)
{
    coil_case cases[] = {coil_case_lock(arg), coil_case_lock(arg)};

    cr_assert_eq(coil_wait_all(cases, 2, NULL), 2);
    cr_assert_eq(cases[0].result, 0);
    cr_assert_eq(cases[1].result, -EDEADLK);
    return coil_mutex_unlock(arg);
}

FIBER_TEST(wait, a_mutex_that_is_there_twice_is_locked_once)
{
    coil_mutex mutex;
    coil_fiber *fiber;

    coil_mutex_init(&mutex);
    cr_assert_eq(coil_mutex_lock(&mutex), 0);
    fiber = spawn_until_parked(lock_twice, &mutex);
    cr_assert_eq(coil_mutex_unlock(&mutex), 0);

    cr_assert_eq(join_and_drop(fiber), 0);
}

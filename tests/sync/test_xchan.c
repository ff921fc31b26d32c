/* SPDX-License-Identifier: MIT */
/* coil_xchan: between cores and threads no item is lost, doubled or overtaken; closing drains; an
 * interrupted side has neither sent nor taken anything.
 */
#include <coil/xchan.h>

#include "base/alloc.h"
#include "sync/cross_fixture.h"
#include "sync/xwait.h"

enum {
    ITEMS = 3000,
    WAITERS = 6,
};

static coil_xchan *new_chan(size_t capacity)
{
    coil_xchan *chan = NULL;

    cr_assert_eq(coil_xchan_new(capacity, sizeof(int), &chan), 0);
    return chan;
}

static int send_all(void *arg)
{
    int result = 0;

    for (int i = 0; i < ITEMS && result == 0; i++)
        result = coil_xchan_send(arg, &i);
    coil_xchan_close(arg);
    return result;
}

/* Returns how many came in order before the close. */
static int receive_all(void *arg)
{
    int count = 0;
    int item;
    int result;

    while ((result = coil_xchan_recv(arg, &item)) > 0)
        if (item != count++)
            return -count;
    return result < 0 ? result : count;
}

static int send_one(void *arg)
{
    const int item = 5;

    return coil_xchan_send(arg, &item);
}

static int receive_one(void *arg)
{
    int item = 0;
    const int result = coil_xchan_recv(arg, &item);

    return result == 1 ? item : -1000 + result;
}

/* ---- Order ---- */

CROSS_TEST(xchan, items_cross_cores_in_order_and_the_close_comes_last)
{
    const size_t capacities[] = {0, 1, 2, 3, 64, 4 * (size_t)ITEMS};

    for (size_t i = 0; i < sizeof capacities / sizeof *capacities; i++) {
        const size_t capacity = capacities[i];
        coil_xchan *chan = new_chan(capacity);
        struct cross sender;
        struct cross receiver;

        cross_start(&sender, 1, send_all, chan);
        cross_start(&receiver, 2, receive_all, chan);
        cr_assert_eq(cross_join(&sender), 0);
        cr_assert_eq(cross_join(&receiver), ITEMS, "capacity %zu", capacity);
        cr_assert(coil_xchan_is_closed(chan));
        coil_xchan_free(chan);
    }
}

FIBER_TEST(xchan, on_one_core_it_is_a_channel_too)
{
    coil_xchan *chan = new_chan(2);
    coil_fiber *sender = spawn_until_parked(send_all, chan);
    int item;

    cr_assert_eq(coil_xchan_len(chan), 2);
    cr_assert_eq(coil_xchan_try_recv(chan, &item), 1);
    cr_assert_eq(item, 0);
    cr_assert_eq(coil_xchan_len(chan), 2, "the waiting sender's item took the place");
    for (int i = 1; i < ITEMS; i++) {
        cr_assert_eq(coil_xchan_recv(chan, &item), 1);
        cr_assert_eq(item, i);
    }
    cr_assert_eq(coil_xchan_recv(chan, &item), 0);
    cr_assert_eq(join_and_drop(sender), 0);
    coil_xchan_free(chan);
}

static void until_receiving(coil_xchan *chan, size_t count)
{
    while (coil_xchan_receiving(chan) != count)
        coil_yield();
}

static void until_sending(coil_xchan *chan, size_t count)
{
    while (coil_xchan_sending(chan) != count)
        coil_yield();
}

CROSS_TEST(xchan, receivers_on_all_cores_are_served_in_the_order_of_arrival)
{
    coil_xchan *chan = new_chan(1);
    struct cross crosses[WAITERS];

    for (int i = 0; i < WAITERS; i++) {
        cross_start(&crosses[i], (unsigned)i % CROSS_CORES, receive_one, chan);
        until_receiving(chan, (size_t)i + 1);
    }
    for (int i = 0; i < WAITERS; i++)
        cr_assert_eq(coil_xchan_try_send(chan, &i), 0);
    cr_assert_eq(coil_xchan_len(chan), 0, "each went straight to who waits");
    for (int i = 0; i < WAITERS; i++)
        cr_assert_eq(cross_join(&crosses[i]), i);
    coil_xchan_free(chan);
}

/* ---- Without waiting ---- */

FIBER_TEST(xchan, try_does_not_wait)
{
    coil_xchan *chan = new_chan(1);
    coil_xchan *rendezvous = new_chan(0);
    int item = 3;

    cr_assert_eq(coil_xchan_try_recv(chan, &item), -EAGAIN);
    cr_assert_eq(coil_xchan_try_send(chan, &item), 0);
    cr_assert_eq(coil_xchan_try_send(chan, &item), -EAGAIN);
    cr_assert_eq(coil_xchan_try_send(rendezvous, &item), -EAGAIN);
    cr_assert_eq(coil_xchan_try_recv(rendezvous, &item), -EAGAIN);
    coil_xchan_close(chan);
    cr_assert_eq(coil_xchan_try_send(chan, &item), -EPIPE);
    cr_assert_eq(coil_xchan_try_recv(chan, &item), 1);
    cr_assert_eq(coil_xchan_try_recv(chan, &item), 0);
    coil_xchan_free(chan);
    coil_xchan_free(rendezvous);
    coil_xchan_free(NULL);
}

/* ---- Interruptions ---- */

FIBER_TEST(xchan, an_interrupted_side_has_done_nothing)
{
    coil_xchan *chan = new_chan(1);
    coil_scope scope;
    int item = 1;

    coil_scope_enter(&scope, COIL_MS(1));
    cr_assert_eq(coil_xchan_recv(chan, &item), -ETIMEDOUT);
    cr_assert(coil_scope_leave(&scope));
    cr_assert_eq(coil_xchan_send(chan, &item), 0);
    cr_assert_eq(coil_xchan_len(chan), 1, "nobody waits any more");

    item = 2;
    coil_scope_enter(&scope, COIL_MS(1));
    cr_assert_eq(coil_xchan_send(chan, &item), -ETIMEDOUT);
    cr_assert(coil_scope_leave(&scope));
    cr_assert_eq(coil_xchan_recv(chan, &item), 1);
    cr_assert_eq(item, 1);
    cr_assert_eq(coil_xchan_try_recv(chan, &item), -EAGAIN);
    coil_xchan_free(chan);
}

CROSS_TEST(xchan, a_receiver_cancelled_elsewhere_takes_nothing)
{
    coil_xchan *chan = new_chan(0);
    struct cross first;
    struct cross second;

    cross_start(&first, 1, receive_one, chan);
    until_receiving(chan, 1);
    cross_cancel(&first);
    cr_assert_eq(cross_join(&first), -1000 - ECANCELED, "its own result");
    cr_assert_eq(coil_xchan_receiving(chan), 0);
    cross_start(&second, 2, receive_one, chan);
    cr_assert_eq(send_one(chan), 0);
    cr_assert_eq(cross_join(&second), 5);
    coil_xchan_free(chan);
}

FIBER_TEST(xchan, an_item_that_was_handed_over_beats_the_interruption)
{
    coil_xchan *chan = new_chan(0);
    coil_fiber *receiver = spawn_until_parked(receive_one, chan);

    cr_assert_eq(send_one(chan), 0);
    coil_cancel(receiver);
    cr_assert_eq(join_and_drop(receiver), 5);
    coil_xchan_free(chan);
}

FIBER_TEST(xchan, an_item_that_is_on_its_way_from_a_thread_beats_the_interruption)
{
    coil_xchan *chan = new_chan(0);
    coil_fiber *receiver = spawn_until_parked(receive_one, chan);
    struct cross thread;

    cross_start_thread(&thread, send_one, chan);
    cr_assert_eq(cross_join_thread(&thread), 0); /* no turn of the loop meanwhile */
    coil_cancel(receiver);
    cr_assert_eq(join_and_drop(receiver), 5);
    coil_xchan_free(chan);
}

/* Before it sleeps a waiter looks for a while, as a fiber that is runnable. */
FIBER_TEST(xchan, a_receiver_that_has_just_queued_is_served_or_interrupted)
{
    coil_xchan *chan = new_chan(0);

    for (int i = 0; i < 200; i++) {
        const bool is_served = i % 2 == 0;
        coil_fiber *receiver = NULL;

        cr_assert_eq(coil_spawn(receive_one, chan, &receiver), 0);
        coil_yield();
        cr_assert_eq(coil_xchan_receiving(chan), 1);
        if (is_served)
            cr_assert_eq(send_one(chan), 0);
        coil_cancel(receiver);
        cr_assert_eq(join_and_drop(receiver), is_served ? 5 : -1000 - ECANCELED);
        cr_assert_eq(coil_xchan_receiving(chan), 0);
    }
    coil_xchan_free(chan);
}

FIBER_TEST(xchan, those_who_look_do_not_overtake_those_who_sleep)
{
    coil_xchan *chan = new_chan(1);
    coil_fiber *first = spawn_until_parked(receive_one, chan);
    coil_fiber *second = NULL;

    cr_assert_eq(coil_spawn(receive_one, chan, &second), 0);
    coil_yield();
    for (int i = 1; i <= 2; i++)
        cr_assert_eq(coil_xchan_try_send(chan, &i), 0);
    cr_assert_eq(join_and_drop(second), 2);
    cr_assert_eq(join_and_drop(first), 1);
    coil_xchan_free(chan);
}

/* ---- Plain threads ---- */

FIBER_TEST(xchan, threads_send_to_fibers_and_receive_from_them)
{
    coil_xchan *chan = new_chan(4);
    struct cross thread;

    cross_start_thread(&thread, send_all, chan);
    cr_assert_eq(receive_all(chan), ITEMS);
    cr_assert_eq(cross_join_thread(&thread), 0);
    coil_xchan_free(chan);

    chan = new_chan(4);
    cross_start_thread(&thread, receive_all, chan);
    cr_assert_eq(send_all(chan), 0);
    cr_assert_eq(cross_join_thread(&thread), ITEMS);
    coil_xchan_free(chan);
}

/* ---- The end ---- */

CROSS_TEST(xchan, freeing_lets_go_of_whoever_waits)
{
    coil_xchan *chan = new_chan(0);
    coil_xchan *full = new_chan(0);
    struct cross crosses[2];
    struct cross threads[2];

    cross_start(&crosses[0], 1, receive_one, chan);
    cross_start(&crosses[1], 2, send_one, full);
    cross_start_thread(&threads[0], receive_one, chan);
    cross_start_thread(&threads[1], send_one, full);
    until_receiving(chan, 2);
    until_sending(full, 2);
    coil_xchan_close(chan);
    coil_xchan_close(full);
    coil_xchan_close(full);
    cr_assert_eq(cross_join(&crosses[0]), -1000);
    cr_assert_eq(cross_join(&crosses[1]), -EPIPE);
    cr_assert_eq(cross_join_thread(&threads[0]), -1000);
    cr_assert_eq(cross_join_thread(&threads[1]), -EPIPE);
    coil_xchan_free(chan);
    coil_xchan_free(full);
}

static int receive_and_free(void *arg)
{
    int item;
    const int result = coil_xchan_recv(arg, &item);

    coil_xchan_free(arg);
    return result;
}

/* The receiver may be through with the channel while the sender is still on its way out of it. */
CROSS_TEST(xchan, whoever_gets_the_last_item_may_free_the_channel)
{
    for (int i = 0; i < 200; i++) {
        coil_xchan *chan = new_chan((size_t)i % 2);
        struct cross receiver;

        cross_start(&receiver, 1, receive_and_free, chan);
        cr_assert_eq(send_one(chan), 0);
        cr_assert_eq(cross_join(&receiver), 1);
    }
}

FIBER_TEST(xchan, impossible_sizes_and_shortage_are_refused)
{
    coil_xchan *chan = NULL;

    cr_assert_eq(coil_xchan_new(1, 0, &chan), -EINVAL);
    cr_assert_eq(coil_xchan_new(SIZE_MAX, 2, &chan), -ENOMEM);
    cr_assert_eq(coil_xchan_new(SIZE_MAX, 1, &chan), -ENOMEM);
    coil__alloc_fail_after(0);
    cr_assert_eq(coil_xchan_new(1, 1, &chan), -ENOMEM);
    coil__alloc_fail_after(-1);
    cr_assert_null(chan);
}

/* ---- Looking ---- */

static int sleep_for_moments(void *arg)
{
    (void)arg;
    return coil_sleep(COIL_US(100));
}

/* What a receiver does whose items all come while it looks: it never parks. */
FIBER_TEST(xchan, looks_that_succeed_keep_timers_waiting_for_a_few_moments_only)
{
    coil_fiber *fiber = spawn_until_parked(sleep_for_moments, NULL);
    int moments = 0;

    cr_assert_eq(coil_sleep(0), 0, "a turn begins");
    while (coil__xwait_pass()) {
        cr_assert_eq(coil__xwait_checkpoint(), 0);
        moments++;
    }
    cr_assert_leq(moments, 100);
    cr_assert_eq(join_and_drop(fiber), 0);
}

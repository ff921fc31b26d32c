/* SPDX-License-Identifier: MIT */
/* coil_chan: counting work that is done, and the end that drops what is left. */
#include "sync/chan_fixture.h"

static int join_chan(void *arg)
{
    return coil_chan_join(arg);
}

FIBER_TEST(chan_work, joining_a_channel_without_work_returns_at_once)
{
    coil_chan *chan = new_chan(1);

    cr_assert_eq(coil_chan_unfinished(chan), 0);
    cr_assert_eq(coil_chan_join(chan), 0);
    coil_chan_free(chan);
}

FIBER_TEST(chan_work, the_last_item_that_is_done_wakes_all_that_join)
{
    coil_chan *chan = new_chan(2);
    coil_fiber *fibers[2];

    send_now(chan, 1);
    send_now(chan, 2);
    for (int i = 0; i < 2; i++)
        fibers[i] = spawn_until_parked(join_chan, chan);
    (void)receive_now(chan);
    (void)receive_now(chan);
    cr_assert_eq(coil_chan_unfinished(chan), 2, "received is not done");
    cr_assert_eq(coil_chan_task_done(chan), 0);
    coil_yield();
    cr_assert_not_null(fibers[0]->tcb);
    cr_assert_eq(coil_chan_task_done(chan), 0);
    for (int i = 0; i < 2; i++)
        cr_assert_eq(join_and_drop(fibers[i]), 0);
    coil_chan_free(chan);
}

FIBER_TEST(chan_work, more_done_than_sent_is_an_error)
{
    coil_chan *chan = new_chan(1);

    cr_assert_eq(coil_chan_task_done(chan), -EINVAL);
    send_now(chan, 1);
    cr_assert_eq(coil_chan_task_done(chan), 0);
    cr_assert_eq(coil_chan_task_done(chan), -EINVAL);
    coil_chan_free(chan);
}

FIBER_TEST(chan_work, an_item_counts_once_it_is_accepted_however_it_is)
{
    coil_chan *chan = new_chan(0);
    struct party receiver = {chan, -1};
    struct party senders[] = {{chan, 1}, {chan, 2}, {chan, 3}};
    coil_fiber *receiving = spawn_until_parked(receive_one, &receiver);
    coil_fiber *sending[3];

    send_now(chan, 0);
    cr_assert_eq(coil_chan_unfinished(chan), 1, "handed over");
    cr_assert_eq(join_and_drop(receiving), 1);
    for (int i = 0; i < 3; i++)
        sending[i] = spawn_until_parked(send_one, &senders[i]);
    cr_assert_eq(coil_chan_unfinished(chan), 1, "waiting items are not accepted");
    (void)receive_now(chan);
    cr_assert_eq(coil_chan_unfinished(chan), 2, "taken from a sender");
    cr_assert_eq(coil_chan_resize(chan, 1), 0);
    cr_assert_eq(coil_chan_unfinished(chan), 3, "let in by a resize");
    (void)receive_now(chan);
    cr_assert_eq(coil_chan_unfinished(chan), 4, "let in by a receive");
    for (int i = 0; i < 3; i++)
        cr_assert_eq(join_and_drop(sending[i]), 0);
    coil_chan_free(chan);
}

FIBER_TEST(chan_work, a_join_can_be_interrupted_and_ends_when_the_channel_is_freed)
{
    coil_chan *chan = new_chan(1);
    coil_fiber *cancelled;
    coil_fiber *fiber;

    send_now(chan, 1);
    cancelled = spawn_until_parked(join_chan, chan);
    fiber = spawn_until_parked(join_chan, chan);
    coil_cancel(cancelled);
    cr_assert_eq(join_and_drop(cancelled), -ECANCELED);
    coil_chan_close(chan);
    coil_yield();
    cr_assert_not_null(fiber->tcb, "what was accepted is still to be done");
    coil_chan_free(chan);
    cr_assert_eq(join_and_drop(fiber), -EPIPE);
}

struct dropped {
    int items[8];
    size_t count;
};

static void drop(void *item, void *arg)
{
    struct dropped *dropped = arg;

    dropped->items[dropped->count++] = *(int *)item;
}

FIBER_TEST(chan_work, closing_now_drops_what_is_stored_in_the_order_of_receiving)
{
    coil_chan *chans[] = {new_chan(4), new_lifo_chan(4), new_priority_chan(4)};
    static const int orders[3][4] = {{3, 1, 4, 2}, {2, 4, 1, 3}, {1, 2, 3, 4}};

    for (int i = 0; i < 3; i++) {
        struct dropped dropped = {.count = 0};
        struct party sender = {chans[i], 9};
        coil_fiber *fiber;
        int item;

        for (int k = 0; k < 4; k++)
            send_now(chans[i], orders[0][k]);
        fiber = spawn_until_parked(send_one, &sender);
        cr_assert_eq(coil_chan_close_now(chans[i], drop, &dropped), 4);
        cr_assert_eq(dropped.count, 4);
        cr_assert_arr_eq(dropped.items, orders[i], sizeof orders[i]);
        cr_assert_eq(join_and_drop(fiber), -EPIPE, "its item is its own");
        cr_assert_eq(coil_chan_try_recv(chans[i], &item), 0);
        cr_assert_eq(coil_chan_close_now(chans[i], drop, &dropped), 0);
        coil_chan_free(chans[i]);
    }
}

FIBER_TEST(chan_work, dropped_items_count_as_done)
{
    coil_chan *chan = new_chan(3);
    coil_fiber *fiber;

    for (int i = 0; i < 3; i++)
        send_now(chan, i);
    (void)receive_now(chan);
    fiber = spawn_until_parked(join_chan, chan);
    cr_assert_eq(coil_chan_close_now(chan, NULL, NULL), 2);
    coil_yield();
    cr_assert_not_null(fiber->tcb, "one is still being worked on");
    cr_assert_eq(coil_chan_task_done(chan), 0);
    cr_assert_eq(join_and_drop(fiber), 0);
    coil_chan_free(chan);
}

FIBER_TEST(chan_work, closing_now_lets_waiting_receivers_go_with_the_end)
{
    coil_chan *chan = new_chan(1);
    struct party receiver = {chan, -1};
    coil_fiber *fiber = spawn_until_parked(receive_one, &receiver);

    cr_assert_eq(coil_chan_close_now(chan, NULL, NULL), 0);
    cr_assert_eq(join_and_drop(fiber), 0);
    cr_assert_eq(receiver.item, -1);
    coil_chan_free(chan);
}

/* SPDX-License-Identifier: MIT */
/* coil_chan: items arrive in order, each once, whoever waits, closes or is interrupted. */
#include "sync/chan_fixture.h"

#include "base/alloc.h"

FIBER_TEST(chan, items_leave_in_the_order_in_which_they_came_around_the_ring)
{
    coil_chan *chan = new_chan(3);
    int sent = 0;
    int received = 0;

    for (int round = 0; round < 10; round++) {
        for (int i = 0; i < 1 + round % 3; i++)
            send_now(chan, sent++);
        cr_assert_eq(coil_chan_len(chan), 1 + (size_t)(round % 3));
        while (received < sent)
            cr_assert_eq(receive_now(chan), received++);
    }
    cr_assert_eq(coil_chan_len(chan), 0);
    coil_chan_free(chan);
}

FIBER_TEST(chan, large_items_are_copied_whole)
{
    coil_chan *chan;
    char sent[3][1000];
    char received[1000];

    cr_assert_eq(coil_chan_new(2, sizeof sent[0], &chan), 0);
    for (int i = 0; i < 3; i++) {
        memset(sent[i], 'a' + i, sizeof sent[i]);
        cr_assert_eq(coil_chan_try_send(chan, sent[i]), i < 2 ? 0 : -EAGAIN);
    }
    for (int i = 0; i < 2; i++) {
        cr_assert_eq(coil_chan_recv(chan, received), 1);
        cr_assert_arr_eq(received, sent[i], sizeof received);
    }
    coil_chan_free(chan);
}

FIBER_TEST(chan, sending_into_room_does_not_switch)
{
    coil_chan *chan = new_chan(2);
    struct party waiting = {chan, 0};
    coil_fiber *fiber;
    const int items[] = {7, 8, 9};

    fiber = spawn_until_parked(receive_one, &waiting);
    cr_assert_eq(coil_chan_receiving(chan), 1);
    for (int i = 0; i < 3; i++)
        cr_assert_eq(coil_chan_send(chan, &items[i]), 0);
    cr_assert_not_null(fiber->tcb, "the receiver must not have run yet");
    cr_assert_eq(coil_chan_receiving(chan), 0);
    cr_assert_eq(coil_chan_len(chan), 2, "the first item was handed over, not stored");

    cr_assert_eq(join_and_drop(fiber), 1);
    cr_assert_eq(waiting.item, 7);
    coil_chan_free(chan);
}

FIBER_TEST(chan, a_full_channel_parks_senders_and_takes_their_items_in_order)
{
    coil_chan *chan = new_chan(1);
    struct party senders[] = {{chan, 1}, {chan, 2}, {chan, 3}};
    coil_fiber *fibers[3];
    const int refused = 9;

    send_now(chan, 0);
    for (int i = 0; i < 3; i++)
        fibers[i] = spawn_until_parked(send_one, &senders[i]);
    cr_assert_eq(coil_chan_sending(chan), 3);
    cr_assert_eq(coil_chan_len(chan), 1, "waiting items are not counted");
    cr_assert_eq(receive_now(chan), 0);
    cr_assert_eq(coil_chan_sending(chan), 2);
    cr_assert_eq(coil_chan_try_send(chan, &refused), -EAGAIN, "the slot went to the first sender");
    for (int i = 1; i <= 3; i++)
        cr_assert_eq(receive_now(chan), i);
    for (int i = 0; i < 3; i++)
        cr_assert_eq(join_and_drop(fibers[i]), 0);

    cr_assert_eq(coil_chan_len(chan), 0);
    coil_chan_free(chan);
}

FIBER_TEST(chan, waiting_receivers_get_one_item_each_in_order_and_nobody_overtakes)
{
    coil_chan *chan = new_chan(4);
    struct party receivers[] = {{chan, 0}, {chan, 0}, {chan, 0}};
    coil_fiber *fibers[3];
    int item = -1;

    for (int i = 0; i < 3; i++)
        fibers[i] = spawn_until_parked(receive_one, &receivers[i]);
    for (int i = 0; i < 3; i++)
        send_now(chan, 10 + i);
    cr_assert_eq(coil_chan_try_recv(chan, &item), -EAGAIN);
    cr_assert_eq(item, -1, "untouched");
    for (int i = 0; i < 3; i++) {
        cr_assert_eq(join_and_drop(fibers[i]), 1);
        cr_assert_eq(receivers[i].item, 10 + i);
    }
    coil_chan_free(chan);
}

FIBER_TEST(chan, interrupted_receivers_take_nothing)
{
    coil_chan *chan = new_chan(4);
    struct party receivers[] = {{chan, -1}, {chan, -1}};
    coil_fiber *cancelled = spawn_until_parked(receive_one, &receivers[0]);
    coil_fiber *lucky = spawn_until_parked(receive_one, &receivers[1]);
    coil_scope scope;
    int item = -1;

    coil_cancel(cancelled);
    send_now(chan, 5);
    cr_assert_eq(join_and_drop(cancelled), -ECANCELED);
    cr_assert_eq(receivers[0].item, -1);
    cr_assert_eq(join_and_drop(lucky), 1);
    cr_assert_eq(receivers[1].item, 5);

    coil_scope_enter(&scope, COIL_MS(1));
    cr_assert_eq(coil_chan_recv(chan, &item), -ETIMEDOUT);
    send_now(chan, 6);
    cr_assert_eq(coil_chan_recv(chan, &item), -ETIMEDOUT, "an expired scope takes nothing either");
    cr_assert(coil_scope_leave(&scope));
    cr_assert_eq(item, -1);
    cr_assert_eq(receive_now(chan), 6);
    coil_chan_free(chan);
}

FIBER_TEST(chan, an_item_handed_over_before_the_cancellation_is_kept)
{
    coil_chan *chan = new_chan(0);
    struct party receiver = {chan, -1};
    struct party sender = {chan, 4};
    coil_fiber *fiber = spawn_until_parked(receive_one, &receiver);

    send_now(chan, 3);
    coil_cancel(fiber);
    cr_assert_eq(join_and_drop(fiber), 1);
    cr_assert_eq(receiver.item, 3);

    fiber = spawn_until_parked(send_one, &sender);
    cr_assert_eq(receive_now(chan), 4);
    coil_cancel(fiber);
    cr_assert_eq(join_and_drop(fiber), 0, "the item is gone, so the send has succeeded");
    coil_chan_free(chan);
}

FIBER_TEST(chan, an_interrupted_senders_item_is_absent)
{
    coil_chan *chan = new_chan(1);
    struct party senders[] = {{chan, 1}, {chan, 2}};
    coil_fiber *fibers[2];
    coil_scope scope;
    int item = 3;

    send_now(chan, 0);
    for (int i = 0; i < 2; i++)
        fibers[i] = spawn_until_parked(send_one, &senders[i]);
    coil_cancel(fibers[0]);
    coil_scope_enter(&scope, COIL_MS(1));
    cr_assert_eq(coil_chan_send(chan, &item), -ETIMEDOUT);
    cr_assert(coil_scope_leave(&scope));

    cr_assert_eq(receive_now(chan), 0);
    cr_assert_eq(receive_now(chan), 2);
    cr_assert_eq(coil_chan_try_recv(chan, &item), -EAGAIN);
    cr_assert_eq(join_and_drop(fibers[0]), -ECANCELED);
    cr_assert_eq(join_and_drop(fibers[1]), 0);
    coil_chan_free(chan);
}

FIBER_TEST(chan, without_capacity_a_send_ends_when_the_item_is_taken)
{
    coil_chan *chan = new_chan(0);
    struct party senders[] = {{chan, 1}, {chan, 2}};
    struct party receiver = {chan, -1};
    coil_fiber *fibers[2];
    int item = 9;

    cr_assert_eq(coil_chan_try_send(chan, &item), -EAGAIN, "nobody waits for an item");
    cr_assert_eq(coil_chan_try_recv(chan, &item), -EAGAIN, "nobody waits with one");
    for (int i = 0; i < 2; i++)
        fibers[i] = spawn_until_parked(send_one, &senders[i]);
    cr_assert_eq(coil_chan_len(chan), 0);
    cr_assert_eq(coil_chan_recv(chan, &item), 1);
    cr_assert_eq(item, 1);
    cr_assert_eq(join_and_drop(fibers[0]), 0);
    cr_assert_not_null(fibers[1]->tcb, "the second item was not taken");
    cr_assert_eq(receive_now(chan), 2);
    cr_assert_eq(join_and_drop(fibers[1]), 0);

    fibers[0] = spawn_until_parked(receive_one, &receiver);
    cr_assert_eq(coil_chan_send(chan, &item), 0, "pairs with the waiting receiver at once");
    cr_assert_eq(join_and_drop(fibers[0]), 1);
    cr_assert_eq(receiver.item, 1);
    coil_chan_free(chan);
}

FIBER_TEST(chan, a_closed_channel_is_drained_and_then_at_its_end)
{
    coil_chan *chan = new_chan(3);
    int item = 7;

    send_now(chan, 1);
    send_now(chan, 2);
    cr_assert_not(coil_chan_is_closed(chan));
    coil_chan_close(chan);
    coil_chan_close(chan);
    cr_assert(coil_chan_is_closed(chan));
    cr_assert_eq(coil_chan_send(chan, &item), -EPIPE);
    cr_assert_eq(coil_chan_try_send(chan, &item), -EPIPE);

    cr_assert_eq(receive_now(chan), 1);
    cr_assert_eq(coil_chan_recv(chan, &item), 1);
    cr_assert_eq(item, 2);
    cr_assert_eq(coil_chan_recv(chan, &item), 0);
    cr_assert_eq(coil_chan_try_recv(chan, &item), 0);
    cr_assert_eq(item, 2, "untouched");
    coil_chan_free(chan);
}

FIBER_TEST(chan, closing_lets_waiting_receivers_go_with_the_end)
{
    coil_chan *chan = new_chan(1);
    struct party receivers[] = {{chan, -1}, {chan, -1}};
    coil_fiber *fibers[2];

    for (int i = 0; i < 2; i++)
        fibers[i] = spawn_until_parked(receive_one, &receivers[i]);
    coil_chan_close(chan);
    for (int i = 0; i < 2; i++) {
        cr_assert_eq(join_and_drop(fibers[i]), 0);
        cr_assert_eq(receivers[i].item, -1);
    }
    coil_chan_free(chan);
}

FIBER_TEST(chan, closing_refuses_the_items_of_waiting_senders)
{
    coil_chan *chan = new_chan(1);
    struct party sender = {chan, 1};
    coil_fiber *fiber;
    int item = -1;

    send_now(chan, 0);
    fiber = spawn_until_parked(send_one, &sender);
    coil_chan_close(chan);
    cr_assert_eq(join_and_drop(fiber), -EPIPE);
    cr_assert_eq(receive_now(chan), 0);
    cr_assert_eq(coil_chan_try_recv(chan, &item), 0);
    coil_chan_free(chan);
}

FIBER_TEST(chan, freeing_lets_go_of_those_who_wait_and_they_do_not_look_back)
{
    coil_chan *full = new_chan(0);
    coil_chan *empty = new_chan(2);
    struct party sender = {full, 1};
    struct party receiver = {empty, -1};
    coil_fiber *sending = spawn_until_parked(send_one, &sender);
    coil_fiber *receiving = spawn_until_parked(receive_one, &receiver);

    coil_chan_free(full);
    coil_chan_free(empty);
    coil_chan_free(NULL);

    cr_assert_eq(join_and_drop(sending), -EPIPE);
    cr_assert_eq(join_and_drop(receiving), 0);
}

struct pair {
    coil_chan *to;
    coil_chan *from;
    int count;
};

static int pong(void *arg)
{
    const struct pair *pair = arg;
    int item;
    int got;

    for (got = coil_chan_recv(pair->from, &item); got > 0;
         got = coil_chan_recv(pair->from, &item)) {
        item++;
        got = coil_chan_send(pair->to, &item);
        if (got < 0)
            break;
    }
    return got;
}

FIBER_TEST(chan, two_channels_play_ping_pong)
{
    struct pair pair = {.to = new_chan(1), .from = new_chan(0)};
    coil_fiber *fiber;
    int item = 0;

    cr_assert_eq(coil_spawn(pong, &pair, &fiber), 0);
    for (int i = 0; i < 100000; i++) {
        const int sent = item;

        cr_assert_eq(coil_chan_send(pair.from, &sent), 0);
        cr_assert_eq(coil_chan_recv(pair.to, &item), 1);
    }
    coil_chan_close(pair.from);

    cr_assert_eq(join_and_drop(fiber), 0);
    cr_assert_eq(item, 100000);
    coil_chan_free(pair.to);
    coil_chan_free(pair.from);
}

static int produce(void *arg)
{
    const struct pair *pair = arg;

    for (int i = 0; i < pair->count; i++) {
        const int result = coil_chan_send(pair->to, &i);

        if (result < 0)
            return result;
        if (i % 7 == 0)
            coil_yield();
    }
    coil_chan_close(pair->to);
    return 0;
}

FIBER_TEST(chan, order_is_kept_between_one_producer_and_one_consumer)
{
    for (size_t capacity = 0; capacity < 6; capacity++) {
        struct pair pair = {.to = new_chan(capacity), .count = 1000};
        coil_fiber *fiber;
        int expected = 0;
        int item;

        cr_assert_eq(coil_spawn(produce, &pair, &fiber), 0);
        while (coil_chan_recv(pair.to, &item) > 0) {
            cr_assert_eq(item, expected++);
            cr_assert_leq(coil_chan_len(pair.to), capacity);
            if (item % 5 == 0)
                coil_yield();
        }
        cr_assert_eq(expected, pair.count);
        cr_assert_eq(join_and_drop(fiber), 0);
        coil_chan_free(pair.to);
    }
}

struct delivery {
    struct coil__timer timer;
    coil_chan *chan;
    int item;
};

static void deliver(struct coil__timer *timer)
{
    const struct delivery *delivery = container_of(timer, struct delivery, timer);

    cr_assert_eq(coil_chan_try_send(delivery->chan, &delivery->item), 0);
}

FIBER_TEST(chan, a_callback_outside_of_fibers_may_try_to_send)
{
    struct delivery delivery = {.timer = {.fire = deliver}, .chan = new_chan(1), .item = 6};
    int item = -1;

    for (int i = 0; i < 2; i++) {
        coil__timer_arm(&coil__sched()->timers, &delivery.timer, 0);
        if (i > 0)
            while (coil_chan_len(delivery.chan) == 0) /* nobody receives yet */
                coil_yield();
        cr_assert_eq(coil_chan_recv(delivery.chan, &item), 1);
        cr_assert_eq(item, 6);
    }
    coil_chan_free(delivery.chan);
}

FIBER_TEST(chan, impossible_sizes_and_missing_memory_are_refused)
{
    coil_chan *chan = NULL;

    cr_assert_eq(coil_chan_new(4, 0, &chan), -EINVAL);
    cr_assert_eq(coil_chan_new(SIZE_MAX / 2, 4, &chan), -ENOMEM);
    cr_assert_eq(coil_chan_new(SIZE_MAX - 1, 1, &chan), -ENOMEM);
    coil__alloc_fail_after(0);
    cr_assert_eq(coil_chan_new(4, 4, &chan), -ENOMEM);
    coil__alloc_fail_after(-1);
    cr_assert_null(chan, "untouched");
}

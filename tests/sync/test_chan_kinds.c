/* SPDX-License-Identifier: MIT */
/* coil_chan: orders, capacities without a bound and their change, looking without taking. */
#include "sync/chan_fixture.h"

#include "base/alloc.h"

/* ---- Unbounded ---- */

FIBER_TEST(chan_kinds, an_unbounded_channel_never_parks_its_senders_and_keeps_the_order)
{
    coil_chan *chan = new_chan(COIL_CHAN_UNBOUNDED);
    const uint64_t switches = coil__sched()->switch_count;
    int received = 0;
    int sent = 0;

    /* Around the ring, and through some growth in every position of its head. */
    while (sent < 200) {
        for (int i = 0; i < 7; i++, sent++)
            cr_assert_eq(coil_chan_send(chan, &sent), 0);
        for (int i = 0; i < 3; i++)
            cr_assert_eq(receive_now(chan), received++);
    }
    cr_assert_eq(coil_chan_capacity(chan), COIL_CHAN_UNBOUNDED);
    cr_assert_eq(coil_chan_len(chan), (size_t)(sent - received));
    cr_assert_eq(coil__sched()->switch_count, switches, "no put has switched");
    while (received < sent)
        cr_assert_eq(receive_now(chan), received++);
    coil_chan_free(chan);
}

FIBER_TEST(chan_kinds, a_drained_unbounded_channel_gives_back_what_a_burst_took)
{
    coil_chan *chan = new_chan(COIL_CHAN_UNBOUNDED);
    const int64_t blocks = coil__alloc_live_count();

    for (int round = 0; round < 3; round++) {
        for (int i = 0; i < 40000; i++)
            send_now(chan, i);
        cr_assert_eq(coil__alloc_live_count(), blocks + 1);
        for (int i = 0; i < 40000; i++)
            cr_assert_eq(receive_now(chan), i);
        cr_assert_eq(coil__alloc_live_count(), blocks);
    }
    coil_chan_free(chan);
}

FIBER_TEST(chan_kinds, an_unbounded_channel_refuses_what_is_beyond_its_limit_of_items)
{
    coil_chan_options options = COIL_CHAN_OPTIONS_INIT;
    coil_chan *chan;
    int item = 0;

    for (options.items_max = 1; options.items_max < 70; options.items_max += 13) {
        cr_assert_eq(coil_chan_new_with(COIL_CHAN_UNBOUNDED, sizeof item, &options, &chan), 0);
        for (size_t i = 0; i < options.items_max; i++)
            cr_assert_eq(coil_chan_send(chan, &item), 0);
        cr_assert_eq(coil_chan_send(chan, &item), -ENOBUFS);
        cr_assert_eq(coil_chan_try_send(chan, &item), -ENOBUFS);
        cr_assert_eq(coil_chan_len(chan), options.items_max);
        (void)receive_now(chan);
        cr_assert_eq(coil_chan_send(chan, &item), 0);
        coil_chan_free(chan);
    }
}

FIBER_TEST(chan_kinds, growth_without_memory_refuses_the_item_and_loses_none)
{
    for (int missing = 0;; missing++) {
        int sent = 0;
        int result = 0;
        coil_chan *chan = NULL;

        coil__alloc_fail_after(missing);
        result = coil_chan_new(COIL_CHAN_UNBOUNDED, sizeof sent, &chan);
        for (; result == 0 && sent < 100; sent++)
            result = coil_chan_send(chan, &sent);
        coil__alloc_fail_after(-1);
        if (result == 0) {
            cr_assert_geq(missing, 3, "the channel, 32, 64 and 128 slots");
            coil_chan_free(chan);
            return;
        }
        cr_assert_eq(result, -ENOMEM);
        if (!chan)
            continue;
        cr_assert_eq(coil_chan_len(chan), (size_t)(sent - 1));
        send_now(chan, sent - 1);
        for (int i = 0; i < sent; i++)
            cr_assert_eq(receive_now(chan), i);
        coil_chan_free(chan);
    }
}

/* ---- Orders ---- */

FIBER_TEST(chan_kinds, a_stack_gives_the_newest_item_first)
{
    coil_chan *chan = new_lifo_chan(3);
    struct party sender = {chan, 4};
    coil_fiber *fiber;

    for (int i = 1; i <= 3; i++)
        send_now(chan, i);
    fiber = spawn_until_parked(send_one, &sender);
    cr_assert_eq(receive_now(chan), 3);
    cr_assert_eq(join_and_drop(fiber), 0);
    cr_assert_eq(receive_now(chan), 4, "the sender's item is the newest now");
    cr_assert_eq(receive_now(chan), 2);
    cr_assert_eq(receive_now(chan), 1);
    coil_chan_free(chan);
}

struct ranked {
    int rank;
    char name;
    char ballast[11]; /* a size that is no multiple of anything */
};

static int by_rank(const void *a, const void *b)
{
    return ((const struct ranked *)a)->rank - ((const struct ranked *)b)->rank;
}

FIBER_TEST(chan_kinds, a_priority_channel_gives_the_smallest_first_and_equal_ones_in_order)
{
    coil_chan_options options = COIL_CHAN_OPTIONS_INIT;
    const struct ranked sent[] = {{5, 'a', ""}, {1, 'b', ""}, {5, 'c', ""}, {3, 'd', ""},
                                  {1, 'e', ""}, {5, 'f', ""}, {0, 'g', ""}, {1, 'h', ""}};
    char order[9] = "";
    struct ranked got;
    coil_chan *chan;

    options.order = COIL_CHAN_PRIORITY;
    options.compare = by_rank;
    cr_assert_eq(coil_chan_new_with(8, sizeof got, &options, &chan), 0);
    for (int i = 0; i < 8; i++)
        cr_assert_eq(coil_chan_try_send(chan, &sent[i]), 0);
    cr_assert_eq(coil_chan_try_send(chan, &sent[0]), -EAGAIN);
    while (coil_chan_try_recv(chan, &got) > 0)
        strncat(order, &got.name, 1);
    cr_assert_str_eq(order, "gbehdacf");
    coil_chan_free(chan);
}

FIBER_TEST(chan_kinds, the_order_of_a_priority_channel_covers_what_waiting_senders_bring)
{
    coil_chan *chan = new_priority_chan(2);
    struct party senders[] = {{chan, 1}, {chan, 9}};
    coil_fiber *fibers[2];

    send_now(chan, 8);
    send_now(chan, 5);
    for (int i = 0; i < 2; i++)
        fibers[i] = spawn_until_parked(send_one, &senders[i]);
    cr_assert_eq(receive_now(chan), 5);
    cr_assert_eq(receive_now(chan), 1, "let in by the first receive");
    cr_assert_eq(receive_now(chan), 8);
    cr_assert_eq(receive_now(chan), 9);
    for (int i = 0; i < 2; i++)
        cr_assert_eq(join_and_drop(fibers[i]), 0);
    coil_chan_free(chan);
}

FIBER_TEST(chan_kinds, options_that_contradict_each_other_are_refused)
{
    coil_chan_options options = COIL_CHAN_OPTIONS_INIT;
    coil_chan *chan = NULL;

    options.order = COIL_CHAN_PRIORITY;
    cr_assert_eq(coil_chan_new_with(1, 1, &options, &chan), -EINVAL, "compared by what?");
    options.compare = by_rank;
    options.order = COIL_CHAN_FIFO;
    cr_assert_eq(coil_chan_new_with(1, 1, &options, &chan), -EINVAL);
    options.order = (enum coil_chan_order)17;
    cr_assert_eq(coil_chan_new_with(1, 1, &options, &chan), -EINVAL);
    options.order = COIL_CHAN_PRIORITY;
    cr_assert_eq(coil_chan_new_with(1, SIZE_MAX - 8, &options, &chan), -ENOMEM);
    options.size = 0;
    cr_assert_eq(coil_chan_new_with(1, 1, &options, &chan), -EINVAL);
    cr_assert_null(chan);
}

/* ---- Resize ---- */

FIBER_TEST(chan_kinds, growing_lets_waiting_senders_in_in_order_as_many_as_fit)
{
    coil_chan *chan = new_chan(1);
    struct party senders[] = {{chan, 1}, {chan, 2}, {chan, 3}, {chan, 4}};
    coil_fiber *fibers[4];

    send_now(chan, 0);
    for (int i = 0; i < 4; i++)
        fibers[i] = spawn_until_parked(send_one, &senders[i]);
    cr_assert_eq(coil_chan_resize(chan, 3), 0);
    cr_assert_eq(coil_chan_capacity(chan), 3);
    cr_assert_eq(coil_chan_len(chan), 3);
    cr_assert_eq(coil_chan_sending(chan), 2);
    cr_assert_eq(join_and_drop(fibers[0]), 0);
    cr_assert_eq(join_and_drop(fibers[1]), 0);
    cr_assert_not_null(fibers[2]->tcb);
    for (int i = 0; i < 5; i++)
        cr_assert_eq(receive_now(chan), i);
    cr_assert_eq(join_and_drop(fibers[2]), 0);
    cr_assert_eq(join_and_drop(fibers[3]), 0);
    coil_chan_free(chan);
}

FIBER_TEST(chan_kinds, losing_the_bound_lets_all_waiting_senders_in)
{
    coil_chan *chan = new_chan(0);
    struct party senders[40];
    coil_fiber *fibers[40];

    for (int i = 0; i < 40; i++) {
        senders[i] = (struct party){chan, i};
        fibers[i] = spawn_until_parked(send_one, &senders[i]);
    }
    cr_assert_eq(coil_chan_resize(chan, COIL_CHAN_UNBOUNDED), 0);
    cr_assert_eq(coil_chan_len(chan), 40);
    cr_assert_eq(coil_chan_sending(chan), 0);
    send_now(chan, 40);
    for (int i = 0; i < 40; i++)
        cr_assert_eq(join_and_drop(fibers[i]), 0);
    for (int i = 0; i < 41; i++)
        cr_assert_eq(receive_now(chan), i);
    coil_chan_free(chan);
}

FIBER_TEST(chan_kinds, losing_the_bound_refuses_senders_beyond_the_limit_of_items)
{
    coil_chan_options options = COIL_CHAN_OPTIONS_INIT;
    coil_chan *chan;
    struct party senders[3];
    coil_fiber *fibers[3];

    options.items_max = 2;
    cr_assert_eq(coil_chan_new_with(0, sizeof(int), &options, &chan), 0);
    for (int i = 0; i < 3; i++) {
        senders[i] = (struct party){chan, i};
        fibers[i] = spawn_until_parked(send_one, &senders[i]);
    }
    cr_assert_eq(coil_chan_resize(chan, COIL_CHAN_UNBOUNDED), 0);
    for (int i = 0; i < 3; i++)
        cr_assert_eq(join_and_drop(fibers[i]), i < 2 ? 0 : -ENOBUFS);
    cr_assert_eq(coil_chan_len(chan), 2);
    coil_chan_free(chan);
}

FIBER_TEST(chan_kinds, shrinking_keeps_the_items_and_lets_nobody_in_before_there_is_room)
{
    coil_chan *chan = new_chan(4);
    struct party sender = {chan, 4};
    coil_fiber *fiber;
    const int refused = 9;

    for (int i = 0; i < 4; i++)
        send_now(chan, i);
    cr_assert_eq(coil_chan_resize(chan, 2), 0);
    cr_assert_eq(coil_chan_len(chan), 4);
    fiber = spawn_until_parked(send_one, &sender);
    for (int i = 0; i < 2; i++) {
        cr_assert_eq(receive_now(chan), i);
        cr_assert_eq(coil_chan_sending(chan), 1, "%d items are left", 3 - i);
        cr_assert_eq(coil_chan_try_send(chan, &refused), -EAGAIN);
    }
    cr_assert_eq(receive_now(chan), 2);
    cr_assert_eq(join_and_drop(fiber), 0);
    cr_assert_eq(receive_now(chan), 3);
    cr_assert_eq(receive_now(chan), 4);

    send_now(chan, 5);
    cr_assert_eq(coil_chan_resize(chan, 0), 0);
    fiber = spawn_until_parked(send_one, &sender);
    cr_assert_eq(receive_now(chan), 5, "stored before the capacity was gone");
    cr_assert_eq(coil_chan_sending(chan), 1);
    cr_assert_eq(receive_now(chan), 4);
    cr_assert_eq(join_and_drop(fiber), 0);
    coil_chan_free(chan);
}

FIBER_TEST(chan_kinds, a_resize_without_memory_changes_nothing)
{
    coil_chan *chan = new_chan(2);
    struct party sender = {chan, 2};
    coil_fiber *fiber;

    send_now(chan, 0);
    send_now(chan, 1);
    fiber = spawn_until_parked(send_one, &sender);
    coil__alloc_fail_after(0);
    cr_assert_eq(coil_chan_resize(chan, 8), -ENOMEM);
    cr_assert_eq(coil_chan_resize(chan, COIL_CHAN_UNBOUNDED), -ENOMEM);
    cr_assert_eq(coil_chan_resize(chan, SIZE_MAX - 1), -ENOMEM);
    cr_assert_eq(coil_chan_capacity(chan), 2);
    cr_assert_eq(coil_chan_sending(chan), 1);
    cr_assert_eq(coil_chan_resize(chan, 1), 0, "shrinking needs no memory");
    coil__alloc_fail_after(-1);
    for (int i = 0; i < 3; i++)
        cr_assert_eq(receive_now(chan), i);
    cr_assert_eq(join_and_drop(fiber), 0);
    coil_chan_free(chan);
}

FIBER_TEST(chan_kinds, a_resize_in_the_middle_of_the_ring_keeps_the_order)
{
    static const size_t capacities[] = {5, 9, 6, COIL_CHAN_UNBOUNDED, 4, 40};
    coil_chan *chan = new_chan(4);
    int sent = 0;
    int received = 0;

    for (size_t i = 0; i < 60; i++) {
        while (coil_chan_len(chan) < 4)
            send_now(chan, sent++);
        for (size_t k = 0; k < 1 + i % 3; k++)
            cr_assert_eq(receive_now(chan), received++);
        cr_assert_eq(coil_chan_resize(chan, capacities[i % 6]), 0);
    }
    while (received < sent)
        cr_assert_eq(receive_now(chan), received++);
    coil_chan_free(chan);
}

/* ---- Peek ---- */

FIBER_TEST(chan_kinds, peeking_shows_the_next_item_and_leaves_it)
{
    coil_chan *chans[] = {new_chan(3), new_lifo_chan(3), new_priority_chan(3)};
    static const int next[] = {2, 3, 1};

    for (int i = 0; i < 3; i++) {
        int item = -1;

        cr_assert_eq(coil_chan_try_peek(chans[i], &item), -EAGAIN);
        cr_assert_eq(item, -1);
        send_now(chans[i], 2);
        send_now(chans[i], 1);
        send_now(chans[i], 3);
        cr_assert_eq(coil_chan_try_peek(chans[i], &item), 1);
        cr_assert_eq(item, next[i]);
        cr_assert_eq(coil_chan_peek(chans[i], &item), 1);
        cr_assert_eq(item, next[i]);
        cr_assert_eq(coil_chan_len(chans[i]), 3);
        cr_assert_eq(receive_now(chans[i]), next[i]);
        coil_chan_free(chans[i]);
    }
}

FIBER_TEST(chan_kinds, all_that_wait_to_peek_see_the_next_item_and_one_receiver_gets_it)
{
    coil_chan *chan = new_chan(1);
    struct party looking[] = {{chan, -1}, {chan, -1}};
    struct party receiver = {chan, -1};
    coil_fiber *fibers[3];

    fibers[0] = spawn_until_parked(peek_one, &looking[0]);
    fibers[2] = spawn_until_parked(receive_one, &receiver);
    fibers[1] = spawn_until_parked(peek_one, &looking[1]);
    send_now(chan, 7);
    for (int i = 0; i < 3; i++)
        cr_assert_eq(join_and_drop(fibers[i]), 1);
    cr_assert_eq(looking[0].item, 7);
    cr_assert_eq(looking[1].item, 7);
    cr_assert_eq(receiver.item, 7);

    fibers[0] = spawn_until_parked(peek_one, &looking[0]);
    send_now(chan, 8);
    cr_assert_eq(join_and_drop(fibers[0]), 1);
    cr_assert_eq(looking[0].item, 8);
    cr_assert_eq(receive_now(chan), 8, "it is still there");
    coil_chan_free(chan);
}

FIBER_TEST(chan_kinds, peeking_without_capacity_sees_what_a_sender_waits_with)
{
    coil_chan *chan = new_chan(0);
    struct party looking = {chan, -1};
    struct party sender = {chan, 6};
    coil_fiber *peeking = spawn_until_parked(peek_one, &looking);
    coil_fiber *sending;
    int item = 9;

    cr_assert_eq(coil_chan_try_send(chan, &item), -EAGAIN, "who peeks is no receiver");
    sending = spawn_until_parked(send_one, &sender);
    cr_assert_eq(join_and_drop(peeking), 1);
    cr_assert_eq(looking.item, 6);
    cr_assert_eq(coil_chan_try_peek(chan, &item), 1);
    cr_assert_eq(item, 6);
    cr_assert_not_null(sending->tcb, "its item was not taken");
    cr_assert_eq(receive_now(chan), 6);
    cr_assert_eq(join_and_drop(sending), 0);
    coil_chan_free(chan);
}

FIBER_TEST(chan_kinds, peeking_ends_with_the_channel_and_with_the_scope)
{
    coil_chan *chan = new_chan(1);
    struct party looking[] = {{chan, -1}, {chan, -1}};
    coil_fiber *cancelled = spawn_until_parked(peek_one, &looking[0]);
    coil_fiber *fiber = spawn_until_parked(peek_one, &looking[1]);
    int item = -1;

    coil_cancel(cancelled);
    cr_assert_eq(join_and_drop(cancelled), -ECANCELED);
    coil_chan_close(chan);
    cr_assert_eq(join_and_drop(fiber), 0);
    cr_assert_eq(coil_chan_peek(chan, &item), 0);
    cr_assert_eq(coil_chan_try_peek(chan, &item), 0);
    cr_assert_eq(item, -1);
    coil_chan_free(chan);
}

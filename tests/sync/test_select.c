/* SPDX-License-Identifier: MIT */
/* coil_select: exactly one case happens, in its turn among all other fibers, and nothing else. */
#include "sync/select_fixture.h"

#include "base/alloc.h"

/* ---- What can happen at once ---- */

FIBER_TEST(select, the_first_case_in_the_array_that_can_happen_does_and_no_other)
{
    coil_chan *empty = new_chan(2);
    coil_chan *full = new_chan(2);
    struct selector selector = {.count = 0};

    send_now(full, 1);
    send_now(full, 2);
    add_recv(&selector, empty);
    add_send(&selector, full, 3);
    add_send(&selector, empty, 4);
    add_recv(&selector, full);
    cr_assert_eq(coil_select(selector.cases, 4), 2);
    cr_assert_eq(selector.cases[2].result, 0);
    cr_assert_eq(coil_chan_len(full), 2);
    cr_assert_eq(coil_select(selector.cases, 4), 0, "the array can be used again");
    cr_assert_eq(selector.cases[0].result, 1);
    cr_assert_eq(selector.items[0], 4);
    coil_chan_free(empty);
    coil_chan_free(full);
}

FIBER_TEST(select, starting_after_the_last_one_gives_every_case_its_turn)
{
    coil_chan *chans[3];
    struct selector selector = {.count = 0};
    int index = 4; /* beyond the array: 1 */

    for (int i = 0; i < 3; i++) {
        chans[i] = new_chan(3);
        for (int k = 0; k < 3; k++)
            send_now(chans[i], 10 * i + k);
        add_recv(&selector, chans[i]);
    }
    for (int i = 0; i < 9; i++) {
        index = coil_select_from(selector.cases, 3, (size_t)index);
        cr_assert_eq(index, (i + 1) % 3);
        cr_assert_eq(selector.items[index], 10 * index + i / 3);
        index++;
    }
    for (int i = 0; i < 3; i++)
        coil_chan_free(chans[i]);
}

FIBER_TEST(select, an_item_the_end_and_a_refusal_can_be_told_apart)
{
    coil_chan *chan = new_chan(1);
    struct selector receiving = {.count = 0};
    struct selector sending = {.count = 0};

    add_recv(&receiving, chan);
    add_send(&sending, chan, 1);
    send_now(chan, 7);
    coil_chan_close(chan);
    cr_assert_eq(coil_select(sending.cases, 1), 0);
    cr_assert_eq(sending.cases[0].result, -EPIPE);
    cr_assert_eq(coil_select(receiving.cases, 1), 0);
    cr_assert_eq(receiving.cases[0].result, 1);
    cr_assert_eq(receiving.items[0], 7);
    cr_assert_eq(coil_select(receiving.cases, 1), 0);
    cr_assert_eq(receiving.cases[0].result, 0);
    cr_assert_eq(receiving.items[0], 7, "untouched");
    coil_chan_free(chan);
}

FIBER_TEST(select, without_a_case_that_could_happen_there_is_nothing_to_wait_for)
{
    coil_case cases[] = {coil_case_none(), {0}, coil_case_none()};
    coil_chan *chan = new_chan(1);
    int item;

    cr_assert_eq(coil_select(cases, 3), -ENOENT);
    cr_assert_eq(coil_select(NULL, 0), -ENOENT);
    cr_assert_eq(coil_try_select(cases, 3), -ENOENT);
    cr_assert_eq(coil_select(cases, COIL_CASES_MAX + 1), -EINVAL);
    cr_assert_eq(coil_try_select(cases, COIL_CASES_MAX + 1), -EINVAL);
    cases[1] = coil_case_recv(chan, &item);
    send_now(chan, 1);
    cr_assert_eq(coil_select(cases, 3), 1, "nothing is skipped");
    coil_chan_free(chan);
}

FIBER_TEST(select, trying_does_what_can_be_done_and_never_parks)
{
    coil_chan *chan = new_chan(0);
    struct selector selector = {.count = 0};
    struct party sender = {chan, 5};
    coil_fiber *fiber;

    add_recv(&selector, chan);
    add_send(&selector, chan, 6);
    cr_assert_eq(coil_try_select(selector.cases, 2), -EAGAIN, "it does not pair with itself");
    cr_assert_eq(coil_chan_receiving(chan), 0);
    cr_assert_eq(coil_chan_sending(chan), 0);
    fiber = spawn_until_parked(send_one, &sender);
    cr_assert_eq(coil_try_select(selector.cases, 2), 0);
    cr_assert_eq(selector.items[0], 5);
    cr_assert_eq(join_and_drop(fiber), 0);
    coil_chan_free(chan);
}

/* ---- Waiting ---- */

FIBER_TEST(select, what_ends_the_wait_takes_the_fiber_out_of_all_other_queues)
{
    coil_chan *chans[] = {new_chan(0), new_chan(0), new_chan(0)};

    for (int i = 0; i < 3; i++) {
        struct selector selector = {.count = 0};
        coil_fiber *fiber;

        add_recv(&selector, chans[0]);
        add_recv(&selector, chans[1]);
        add_send(&selector, chans[2], 9);
        fiber = spawn_until_parked(select_one, &selector);
        cr_assert_eq(coil_chan_receiving(chans[0]), 1);
        cr_assert_eq(coil_chan_receiving(chans[1]), 1);
        cr_assert_eq(coil_chan_sending(chans[2]), 1);
        if (i < 2)
            send_now(chans[i], 5);
        else
            cr_assert_eq(receive_now(chans[2]), 9);
        for (int k = 0; k < 3; k++)
            cr_assert_eq(coil_chan_receiving(chans[k]) + coil_chan_sending(chans[k]), 0);
        cr_assert_eq(join_and_drop(fiber), i);
        cr_assert_eq(selector.cases[i].result, i < 2 ? 1 : 0);
        cr_assert_eq(selector.items[i], i < 2 ? 5 : 9);
    }
    for (int i = 0; i < 3; i++)
        coil_chan_free(chans[i]);
}

FIBER_TEST(select, a_second_item_of_the_same_turn_is_not_taken)
{
    coil_chan *chans[] = {new_chan(1), new_chan(1)};
    struct selector selector = {.count = 0};
    coil_fiber *fiber;

    add_recv(&selector, chans[0]);
    add_recv(&selector, chans[1]);
    fiber = spawn_until_parked(select_one, &selector);
    send_now(chans[1], 1);
    send_now(chans[0], 2);
    cr_assert_eq(join_and_drop(fiber), 1);
    cr_assert_eq(selector.items[0], -1);
    cr_assert_eq(receive_now(chans[0]), 2);
    for (int i = 0; i < 2; i++)
        coil_chan_free(chans[i]);
}

FIBER_TEST(select, a_selecting_receiver_keeps_its_place_among_the_others)
{
    coil_chan *chan = new_chan(0);
    coil_chan *other = new_chan(0);
    struct party plain[] = {{chan, -1}, {chan, -1}};
    struct selector selector = {.count = 0};
    coil_fiber *fibers[3];

    add_recv(&selector, other);
    add_recv(&selector, chan);
    fibers[0] = spawn_until_parked(receive_one, &plain[0]);
    fibers[1] = spawn_until_parked(select_one, &selector);
    fibers[2] = spawn_until_parked(receive_one, &plain[1]);
    for (int i = 0; i < 3; i++)
        send_now(chan, 10 + i);
    cr_assert_eq(join_and_drop(fibers[0]), 1);
    cr_assert_eq(join_and_drop(fibers[1]), 1);
    cr_assert_eq(join_and_drop(fibers[2]), 1);
    cr_assert_eq(plain[0].item, 10);
    cr_assert_eq(selector.items[1], 11);
    cr_assert_eq(plain[1].item, 12);
    coil_chan_free(chan);
    coil_chan_free(other);
}

FIBER_TEST(select, a_selecting_sender_keeps_its_place_among_the_others)
{
    coil_chan *chan = new_chan(1);
    coil_chan *other = new_chan(0);
    struct party plain[] = {{chan, 1}, {chan, 3}};
    struct selector selector = {.count = 0};
    coil_fiber *fibers[3];

    send_now(chan, 0);
    add_send(&selector, chan, 2);
    add_recv(&selector, other);
    fibers[0] = spawn_until_parked(send_one, &plain[0]);
    fibers[1] = spawn_until_parked(select_one, &selector);
    fibers[2] = spawn_until_parked(send_one, &plain[1]);
    for (int i = 0; i < 4; i++)
        cr_assert_eq(receive_now(chan), i);
    for (int i = 0; i < 3; i++)
        cr_assert_eq(join_and_drop(fibers[i]), 0);
    coil_chan_free(chan);
    coil_chan_free(other);
}

FIBER_TEST(select, two_selects_meet_whichever_waits_first_and_in_whatever_order)
{
    coil_chan *a = new_chan(0);
    coil_chan *b = new_chan(0);

    for (int i = 0; i < 4; i++) {
        struct selector sending = {.count = 0};
        struct selector receiving = {.count = 0};
        struct selector *first = i % 2 ? &sending : &receiving;
        struct selector *second = i % 2 ? &receiving : &sending;
        coil_fiber *fibers[2];

        /* They have one channel in common, and the other in the same direction. */
        add_send(&sending, a, 1);
        add_recv(&sending, b);
        add_recv(&receiving, i < 2 ? a : b);
        add_recv(&receiving, i < 2 ? b : a);
        fibers[0] = spawn_until_parked(select_one, first);
        cr_assert_eq(first->result, 0, "it waits");
        fibers[1] = spawn_until_parked(select_one, second);
        cr_assert_geq(join_and_drop(fibers[0]), 0);
        cr_assert_geq(join_and_drop(fibers[1]), 0);
        cr_assert_eq(sending.result, 0);
        cr_assert_eq(receiving.result, i < 2 ? 0 : 1);
        cr_assert_eq(receiving.items[receiving.result], 1);
        cr_assert_eq(coil_chan_receiving(a) + coil_chan_sending(a), 0);
        cr_assert_eq(coil_chan_receiving(b) + coil_chan_sending(b), 0);
    }
    coil_chan_free(a);
    coil_chan_free(b);
}

FIBER_TEST(select, a_channel_that_is_there_twice_gives_one_item_to_the_first_of_the_two)
{
    coil_chan *chan = new_chan(2);
    struct selector selector = {.count = 0};
    coil_fiber *fiber;

    add_recv(&selector, chan);
    add_recv(&selector, chan);
    fiber = spawn_until_parked(select_one, &selector);
    cr_assert_eq(coil_chan_receiving(chan), 2);
    send_now(chan, 1);
    send_now(chan, 2);
    cr_assert_eq(join_and_drop(fiber), 0);
    cr_assert_eq(selector.items[0], 1);
    cr_assert_eq(selector.items[1], -1);
    cr_assert_eq(coil_chan_len(chan), 1);

    fiber = spawn_until_parked(select_one, &selector);
    cr_assert_eq(join_and_drop(fiber), 0, "the stored one");
    fiber = spawn_until_parked(select_one, &selector);
    coil_chan_close(chan);
    cr_assert_eq(join_and_drop(fiber), 0);
    cr_assert_eq(selector.cases[0].result, 0);
    coil_chan_free(chan);
}

FIBER_TEST(select, sending_and_receiving_on_one_channel_waits_for_somebody_else)
{
    coil_chan *chan = new_chan(0);

    for (int i = 0; i < 2; i++) {
        struct selector selector = {.count = 0};
        coil_fiber *fiber;

        add_send(&selector, chan, 1);
        add_recv(&selector, chan);
        fiber = spawn_until_parked(select_one, &selector);
        cr_assert_not_null(fiber->tcb, "it must not pair with itself");
        if (i == 0)
            cr_assert_eq(receive_now(chan), 1);
        else
            send_now(chan, 2);
        cr_assert_eq(coil_chan_sending(chan) + coil_chan_receiving(chan), 0);
        cr_assert_eq(join_and_drop(fiber), i);
        cr_assert_eq(selector.items[1], i == 0 ? -1 : 2);
    }
    coil_chan_free(chan);
}

FIBER_TEST(select, two_selects_that_send_and_receive_on_one_channel_pair_with_each_other)
{
    coil_chan *chan = new_chan(0);
    struct selector selectors[2] = {{.count = 0}, {.count = 0}};
    coil_fiber *fibers[2];

    for (int i = 0; i < 2; i++) {
        add_send(&selectors[i], chan, 10 + i);
        add_recv(&selectors[i], chan);
        fibers[i] = spawn_until_parked(select_one, &selectors[i]);
    }
    cr_assert_eq(join_and_drop(fibers[0]), 1);
    cr_assert_eq(join_and_drop(fibers[1]), 0);
    cr_assert_eq(selectors[0].items[1], 11);
    coil_chan_free(chan);
}

FIBER_TEST(select, a_resize_lets_a_selecting_sender_in)
{
    coil_chan *chan = new_chan(0);
    struct selector selector = {.count = 0};
    coil_fiber *fiber;

    add_recv(&selector, chan);
    add_send(&selector, chan, 4);
    fiber = spawn_until_parked(select_one, &selector);
    cr_assert_eq(coil_chan_resize(chan, 1), 0);
    cr_assert_eq(join_and_drop(fiber), 1);
    cr_assert_eq(coil_chan_receiving(chan), 0);
    cr_assert_eq(receive_now(chan), 4);
    coil_chan_free(chan);
}

FIBER_TEST(select, peeking_sees_what_a_select_would_send)
{
    coil_chan *chan = new_chan(0);
    struct party looking = {chan, -1};
    struct selector selector = {.count = 0};
    coil_fiber *peeking = spawn_until_parked(peek_one, &looking);
    coil_fiber *fiber;

    add_send(&selector, chan, 4);
    fiber = spawn_until_parked(select_one, &selector);
    cr_assert_eq(join_and_drop(peeking), 1);
    cr_assert_eq(looking.item, 4);
    cr_assert_eq(receive_now(chan), 4);
    cr_assert_eq(join_and_drop(fiber), 0);
    coil_chan_free(chan);
}

/* ---- Ends ---- */

FIBER_TEST(select, closing_or_freeing_a_channel_ends_the_wait_for_it)
{
    for (int i = 0; i < 4; i++) {
        coil_chan *closed = new_chan(0);
        coil_chan *other = new_chan(0);
        struct selector selector = {.count = 0};
        coil_fiber *fiber;

        add_recv(&selector, other);
        if (i % 2)
            add_send(&selector, closed, 1);
        else
            add_recv(&selector, closed);
        fiber = spawn_until_parked(select_one, &selector);
        if (i < 2)
            coil_chan_close(closed);
        else
            coil_chan_free(closed);
        coil_chan_close(other);
        cr_assert_eq(join_and_drop(fiber), 1, "the first one ends it");
        cr_assert_eq(selector.cases[1].result, i % 2 ? -EPIPE : 0);
        if (i < 2)
            coil_chan_free(closed);
        coil_chan_free(other);
    }
}

FIBER_TEST(select, an_interrupted_select_took_nothing_and_waits_nowhere)
{
    coil_chan *a = new_chan(1);
    coil_chan *b = new_chan(0);
    struct selector selector = {.count = 0};
    coil_scope scope;
    coil_fiber *fiber;

    add_recv(&selector, a);
    add_send(&selector, b, 1);
    fiber = spawn_until_parked(select_one, &selector);
    coil_cancel(fiber);
    send_now(a, 5);
    cr_assert_eq(coil_chan_len(a), 1, "stored, not handed over");
    cr_assert_eq(coil_chan_sending(b), 0);
    cr_assert_eq(join_and_drop(fiber), -ECANCELED);
    cr_assert_eq(selector.items[0], -1);
    cr_assert_eq(receive_now(a), 5);

    coil_scope_enter(&scope, COIL_MS(1));
    cr_assert_eq(coil_select(selector.cases, 2), -ETIMEDOUT);
    send_now(a, 6);
    cr_assert_eq(coil_select(selector.cases, 2), -ETIMEDOUT, "an expired scope takes nothing");
    cr_assert_eq(coil_try_select(selector.cases, 2), 0, "trying parks never");
    cr_assert(coil_scope_leave(&scope));
    cr_assert_eq(selector.items[0], 6);
    coil_chan_free(a);
    coil_chan_free(b);
}

FIBER_TEST(select, what_happened_before_the_cancellation_is_kept)
{
    coil_chan *a = new_chan(0);
    coil_chan *b = new_chan(0);
    struct selector selector = {.count = 0};
    coil_fiber *fiber;

    add_recv(&selector, a);
    add_recv(&selector, b);
    fiber = spawn_until_parked(select_one, &selector);
    send_now(b, 3);
    coil_cancel(fiber);
    cr_assert_eq(coil_chan_receiving(a), 0);
    cr_assert_eq(join_and_drop(fiber), 1);
    cr_assert_eq(selector.items[1], 3);
    coil_chan_free(a);
    coil_chan_free(b);
}

/* ---- Many ---- */

FIBER_TEST(select, more_cases_than_the_stack_has_room_for_are_waited_for_all_the_same)
{
    enum {
        MANY = 100,
    };

    coil_chan *chan = new_chan(1);
    coil_chan *quiet = new_chan(0);
    coil_case cases[MANY];
    const int64_t blocks = coil__alloc_live_count();
    struct party sender = {chan, 8};
    coil_fiber *fiber;
    int item = -1;

    for (int i = 0; i < MANY; i++)
        cases[i] = coil_case_recv(i == MANY - 1 ? chan : quiet, &item);
    cr_assert_eq(coil_spawn(send_one, &sender, &fiber), 0);
    cr_assert_eq(coil_select(cases, MANY), MANY - 1);
    cr_assert_eq(item, 8);
    cr_assert_eq(coil_chan_receiving(quiet), 0);
    cr_assert_eq(join_and_drop(fiber), 0);
    cr_assert_eq(coil__alloc_live_count(), blocks);

    coil__alloc_fail_after(0);
    cr_assert_eq(coil_select(cases, MANY), -ENOMEM);
    cr_assert_eq(coil_chan_receiving(quiet), 0, "and waits nowhere");
    send_now(chan, 9);
    cr_assert_eq(coil_select(cases, MANY), MANY - 1, "what can happen needs no memory");
    cases[16] = coil_case_after(COIL_US(1));
    cr_assert_eq(coil_select(cases + 1, 16), 15, "nor do sixteen");
    coil__alloc_fail_after(-1);
    coil_chan_free(chan);
    coil_chan_free(quiet);
}

/* SPDX-License-Identifier: MIT */
/* coil_udp under concurrency: turns, deadlines, cancellation, and closing under all of it.
 */
#include <sys/socket.h>
#include <unistd.h>

#include "net/udp_fixture.h"

enum {
    FIBERS = 5,
    MANY = 100,
};

/* ---- Receiving ---- */

FIBER_TEST(udp_waits, several_receivers_are_served_in_the_order_of_their_arrival)
{
    struct receiver receivers[FIBERS];
    coil_fiber *fibers[FIBERS];
    unsigned order = 0;
    coil_udp *a;
    coil_udp *b;

    udp_pair(&a, &b);
    for (int i = 0; i < FIBERS; i++) {
        receivers[i] = (struct receiver){.udp = b, .order = &order};
        fibers[i] = spawn_until_parked(receive_once, &receivers[i]);
    }
    for (int i = 0; i < FIBERS; i++)
        cr_assert_eq(coil_udp_send(a, &"abcde"[i], 1, NULL), 0);

    for (unsigned i = 0; i < FIBERS; i++) {
        cr_assert_eq(join_and_drop(fibers[i]), 0);
        cr_assert_eq(receivers[i].result, 1);
        cr_assert_eq(receivers[i].data[0], (char)('a' + i));
        cr_assert_eq(receivers[i].place, i + 1);
    }
    coil_udp_close(a);
    coil_udp_close(b);
}

static void interrupt_first_of_two(bool is_unix)
{
    struct receiver first;
    struct receiver second;
    coil_fiber *fibers[2];
    coil_udp *a;
    coil_udp *b;

    (is_unix ? unix_datagram_pair : udp_pair)(&a, &b);
    first = (struct receiver){.udp = b};
    second = (struct receiver){.udp = b};
    fibers[0] = spawn_until_parked(receive_once, &first);
    fibers[1] = spawn_until_parked(receive_once, &second);

    coil_cancel(fibers[0]);
    cr_assert_eq(join_and_drop(fibers[0]), 0);
    send_text(a, "x");

    cr_assert_eq(first.result, -ECANCELED);
    cr_assert_eq(join_and_drop(fibers[1]), 0);
    cr_assert_eq(second.result, 1, "the turn is passed on, nothing is lost");
    coil_udp_close(a);
    coil_udp_close(b);
}

FIBER_TEST(udp_waits, a_cancelled_receiver_passes_the_turn_on)
{
    interrupt_first_of_two(false);
    interrupt_first_of_two(true);
}

FIBER_TEST(udp_waits, a_cancelled_receiver_in_the_line_takes_nothing)
{
    struct receiver first;
    struct receiver second;
    coil_fiber *fibers[2];
    coil_udp *a;
    coil_udp *b;

    udp_pair(&a, &b);
    first = (struct receiver){.udp = b};
    second = (struct receiver){.udp = b};
    fibers[0] = spawn_until_parked(receive_once, &first);
    fibers[1] = spawn_until_parked(receive_once, &second);
    coil_cancel(fibers[1]);
    cr_assert_eq(join_and_drop(fibers[1]), 0);
    send_text(a, "x");

    cr_assert_eq(second.result, -ECANCELED);
    cr_assert_eq(join_and_drop(fibers[0]), 0);
    cr_assert_eq(first.result, 1);
    coil_udp_close(a);
    coil_udp_close(b);
}

FIBER_TEST(udp_waits, a_receive_ends_with_its_deadline_and_the_next_one_works)
{
    coil_udp *a;
    coil_udp *b;
    coil_scope scope;
    char data[4];

    udp_pair(&a, &b);
    coil_scope_enter(&scope, COIL_MS(5));
    cr_assert_eq(coil_udp_recv(b, data, sizeof data, NULL), -ETIMEDOUT);
    cr_assert(coil_scope_leave(&scope));

    send_text(a, "x");
    expect_text(b, "x");
    coil_udp_close(a);
    coil_udp_close(b);
}

FIBER_TEST(udp_waits, no_datagram_is_lost_to_deadlines_that_pass_as_it_comes)
{
    coil_udp *a;
    coil_udp *b;
    unsigned received = 0;
    char data[4];

    udp_pair(&a, &b);
    for (int i = 0; i < MANY; i++) {
        coil_scope scope;

        send_text(a, "x");
        coil_scope_enter(&scope, i % 3 == 0 ? 0 : COIL_US(i));
        received += coil_udp_recv(b, data, sizeof data, NULL) == 1;
        (void)coil_scope_leave(&scope);
    }
    while (received < MANY && coil_udp_recv(b, data, sizeof data, NULL) == 1)
        received++;

    cr_assert_eq(received, MANY);
    cr_assert_eq(coil_udp_try_recv(b, data, sizeof data, NULL), -EAGAIN);
    coil_udp_close(a);
    coil_udp_close(b);
}

FIBER_TEST(udp_waits, a_receive_in_an_expired_scope_takes_nothing)
{
    coil_udp *a;
    coil_udp *b;
    coil_scope scope;
    char data[4];

    udp_pair(&a, &b);
    send_text(a, "x");
    coil_scope_enter(&scope, 0);
    cr_assert_eq(coil_udp_recv(b, data, sizeof data, NULL), -ETIMEDOUT);
    cr_assert_eq(coil_udp_send(b, "y", 1, NULL), -ETIMEDOUT);
    (void)coil_scope_leave(&scope);

    expect_text(b, "x");
    coil_udp_close(a);
    coil_udp_close(b);
}

FIBER_TEST(udp_waits, a_try_gets_what_is_there_and_never_overtakes)
{
    struct receiver receiver;
    coil_fiber *fiber;
    coil_udp *a;
    coil_udp *b;
    char data[4];

    udp_pair(&a, &b);
    cr_assert_eq(coil_udp_try_recv(b, data, sizeof data, NULL), -EAGAIN);
    cr_assert_eq(coil_udp_try_send(a, "x", 1, NULL), 0);
    cr_assert_eq(coil_udp_try_recv(b, data, sizeof data, NULL), 1);

    receiver = (struct receiver){.udp = b};
    fiber = spawn_until_parked(receive_once, &receiver);
    send_text(a, "y");
    cr_assert_eq(coil_udp_try_recv(b, data, sizeof data, NULL), -EAGAIN, "another has waited");
    cr_assert_eq(join_and_drop(fiber), 0);
    cr_assert_eq(receiver.data[0], 'y');
    coil_udp_close(a);
    coil_udp_close(b);
}

/* ---- Sending ---- */

struct sender {
    coil_udp *udp;
    char byte;
    int result;
};

static int send_once(void *arg)
{
    struct sender *sender = arg;

    sender->result = coil_udp_send(sender->udp, &sender->byte, 1, NULL);
    return 0;
}

FIBER_TEST(udp_waits, senders_wait_for_room_in_the_order_of_their_arrival)
{
    struct sender senders[FIBERS];
    coil_fiber *fibers[FIBERS];
    unsigned filled;
    coil_udp *a;
    coil_udp *b;
    char byte;

    unix_datagram_pair(&a, &b);
    filled = fill_peer(a);
    cr_assert_gt(filled, 0);
    for (int i = 0; i < FIBERS; i++) {
        senders[i] = (struct sender){.udp = a, .byte = (char)('a' + i), .result = 1};
        fibers[i] = spawn_until_parked(send_once, &senders[i]);
    }
    cr_assert_eq(coil_udp_try_send(a, "z", 1, NULL), -EAGAIN);

    while (filled-- > 0)
        expect_text(b, "x");
    for (int i = 0; i < FIBERS; i++) {
        cr_assert_eq(coil_udp_recv(b, &byte, 1, NULL), 1);
        cr_assert_eq(byte, (char)('a' + i));
        cr_assert_eq(join_and_drop(fibers[i]), 0);
        cr_assert_eq(senders[i].result, 0);
    }
    coil_udp_close(a);
    coil_udp_close(b);
}

FIBER_TEST(udp_waits, a_sender_that_comes_late_does_not_overtake_one_that_waits)
{
    struct sender first;
    coil_fiber *fiber;
    unsigned filled;
    coil_udp *a;
    coil_udp *b;
    char byte;

    unix_datagram_pair(&a, &b);
    filled = fill_peer(a);
    first = (struct sender){.udp = a, .byte = '1'};
    fiber = spawn_until_parked(send_once, &first);
    /* Room, of which the kernel has not told the waiting sender yet. */
    while (filled-- > 0)
        cr_assert_eq(recv(coil_udp_fd(b), &byte, 1, MSG_DONTWAIT), 1);
    cr_assert_eq(coil_udp_try_send(a, "try", 3, NULL), -EAGAIN);
    send_text(a, "2");

    expect_text(b, "1");
    expect_text(b, "2");
    cr_assert_eq(join_and_drop(fiber), 0);
    coil_udp_close(a);
    coil_udp_close(b);
}

FIBER_TEST(udp_waits, a_cancelled_sender_has_sent_nothing_and_lets_the_next_one)
{
    struct sender senders[2];
    coil_fiber *fibers[2];
    unsigned filled;
    coil_udp *a;
    coil_udp *b;

    unix_datagram_pair(&a, &b);
    filled = fill_peer(a);
    for (int i = 0; i < 2; i++) {
        senders[i] = (struct sender){.udp = a, .byte = (char)('a' + i)};
        fibers[i] = spawn_until_parked(send_once, &senders[i]);
    }
    coil_cancel(fibers[0]);
    cr_assert_eq(join_and_drop(fibers[0]), 0);
    cr_assert_eq(senders[0].result, -ECANCELED);

    while (filled-- > 0)
        expect_text(b, "x");
    expect_text(b, "b");
    cr_assert_eq(join_and_drop(fibers[1]), 0);
    cr_assert_eq(senders[1].result, 0);
    coil_udp_close(a);
    coil_udp_close(b);
}

/* ---- Closing ---- */

static void close_under_receivers(void (*make_pair)(coil_udp **, coil_udp **))
{
    struct receiver receivers[FIBERS];
    coil_fiber *fibers[FIBERS];
    coil_udp *a;
    coil_udp *b;

    make_pair(&a, &b);
    for (int i = 0; i < FIBERS; i++) {
        receivers[i] = (struct receiver){.udp = b};
        fibers[i] = spawn_until_parked(receive_once, &receivers[i]);
    }
    coil_udp_close(b);

    for (int i = 0; i < FIBERS; i++) {
        cr_assert_eq(join_and_drop(fibers[i]), 0);
        cr_assert_eq(receivers[i].result, -EBADF);
    }
    coil_udp_close(a);
}

FIBER_TEST(udp_waits, a_close_wakes_every_receiver)
{
    close_under_receivers(udp_pair);
    close_under_receivers(unix_datagram_pair);
}

FIBER_TEST(udp_waits, a_close_wakes_every_sender)
{
    struct sender senders[FIBERS];
    coil_fiber *fibers[FIBERS];
    coil_udp *a;
    coil_udp *b;

    unix_datagram_pair(&a, &b);
    (void)fill_peer(a);
    for (int i = 0; i < FIBERS; i++) {
        senders[i] = (struct sender){.udp = a};
        fibers[i] = spawn_until_parked(send_once, &senders[i]);
    }
    coil_udp_close(a);

    for (int i = 0; i < FIBERS; i++) {
        cr_assert_eq(join_and_drop(fibers[i]), 0);
        cr_assert_eq(senders[i].result, -EBADF);
    }
    coil_udp_close(b);
}

static int call_when_busy(void *arg)
{
    struct receiver *receiver = arg;

    coil__self()->sched->budget = 1; /* the call begins with a yield */
    return receive_once(receiver);
}

FIBER_TEST(udp_waits, a_close_waits_for_a_call_that_has_only_begun)
{
    struct receiver receiver;
    coil_fiber *fiber;
    coil_udp *a;
    coil_udp *b;

    udp_pair(&a, &b);
    receiver = (struct receiver){.udp = b};
    cr_assert_eq(coil_spawn(call_when_busy, &receiver, &fiber), 0);
    while (b->guest_count == 0)
        coil_yield();
    coil_udp_close(b);

    cr_assert_eq(join_and_drop(fiber), 0);
    cr_assert_eq(receiver.result, -EBADF);
    coil_udp_close(a);
}

FIBER_TEST(udp_waits, the_descriptor_can_be_used_again_at_once_after_a_close)
{
    struct receiver receiver;
    coil_fiber *fiber;
    coil_udp *a;
    coil_udp *b;
    coil_udp *c;
    coil_udp *d;
    int fd;

    udp_pair(&a, &b);
    receiver = (struct receiver){.udp = b};
    fiber = spawn_until_parked(receive_once, &receiver);
    fd = coil_udp_fd(b);
    coil_udp_close(b);
    unix_datagram_pair(&c, &d);
    cr_assert(coil_udp_fd(c) == fd || coil_udp_fd(d) == fd, "the number is given again");
    send_text(c, "new");

    cr_assert_eq(join_and_drop(fiber), 0);
    cr_assert_eq(receiver.result, -EBADF, "not the stranger's datagram");
    expect_text(d, "new");
    coil_udp_close(a);
    coil_udp_close(c);
    coil_udp_close(d);
}

FIBER_TEST(udp_waits, a_close_in_an_expired_scope_closes_all_the_same)
{
    struct receiver receiver;
    coil_fiber *fiber;
    coil_scope scope;
    coil_udp *a;
    coil_udp *b;

    udp_pair(&a, &b);
    receiver = (struct receiver){.udp = b};
    fiber = spawn_until_parked(receive_once, &receiver);
    coil_scope_enter(&scope, 0);
    coil_udp_close(b);
    (void)coil_scope_leave(&scope);

    cr_assert_eq(join_and_drop(fiber), 0);
    cr_assert_eq(receiver.result, -EBADF);
    coil_udp_close(a);
}

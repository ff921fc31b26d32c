/* SPDX-License-Identifier: MIT */
/* coil_udp: several datagrams by one call. */
#include "net/udp_fixture.h"

enum {
    MANY = 100,
};

FIBER_TEST(udp_batch, a_batch_takes_what_is_there_up_to_its_size)
{
    char bytes[MANY];
    coil_datagram items[MANY];
    coil_udp *a;
    coil_udp *b;
    coil_address from;
    ssize_t count;
    int seen = 0;

    udp_pair(&a, &b);
    from = address_of(a);
    for (int i = 0; i < 40; i++)
        cr_assert_eq(coil_udp_send(a, &(char){(char)i}, 1, NULL), 0);
    for (int i = 0; i < MANY; i++)
        items[i] = (coil_datagram){.data = &bytes[i], .size = 1};

    count = coil_udp_recv_batch(b, items, 3);
    cr_assert(count > 0 && count <= 3, "no more than asked for");
    while (seen < count) {
        cr_assert_eq(items[seen].length, 1);
        cr_assert_eq(bytes[seen], seen);
        cr_assert(coil_address_equal(&items[seen].address, &from));
        seen++;
    }
    while (seen < 40) {
        count = coil_udp_recv_batch(b, items, MANY);
        cr_assert_gt(count, 0);
        for (ssize_t i = 0; i < count; i++)
            cr_assert_eq(bytes[i], seen++);
    }
    cr_assert_eq(coil_udp_try_recv(b, bytes, 1, NULL), -EAGAIN);
    coil_udp_close(a);
    coil_udp_close(b);
}

static int receive_batch(void *arg)
{
    struct receiver *receiver = arg;
    coil_datagram items[4];

    for (int i = 0; i < 4; i++)
        items[i] = (coil_datagram){.data = &receiver->data[i], .size = 1};
    receiver->result = coil_udp_recv_batch(receiver->udp, items, 4);
    return 0;
}

FIBER_TEST(udp_batch, a_batch_waits_for_its_first_datagram_only)
{
    struct receiver receiver;
    coil_fiber *fiber;
    coil_udp *a;
    coil_udp *b;

    unix_datagram_pair(&a, &b);
    receiver = (struct receiver){.udp = b};
    fiber = spawn_until_parked(receive_batch, &receiver);
    send_text(a, "x");

    cr_assert_eq(join_and_drop(fiber), 0);
    cr_assert_eq(receiver.result, 1);
    coil_udp_close(a);
    coil_udp_close(b);
}

FIBER_TEST(udp_batch, each_datagram_of_a_batch_says_if_it_was_cut)
{
    static const size_t lengths[3] = {1, 5, 2};
    char bytes[3][2];
    coil_datagram items[3];
    coil_udp *a;
    coil_udp *b;
    ssize_t count = 0;

    udp_pair(&a, &b);
    send_text(a, "a");
    send_text(a, "bcdef");
    send_text(a, "gh");
    while (count < 3) {
        ssize_t more;

        for (int i = 0; i < 3; i++)
            items[i] = (coil_datagram){.data = bytes[i], .size = 2};
        more = coil_udp_recv_batch(b, items, 3);
        cr_assert_gt(more, 0);
        cr_assert_leq(count + more, 3);
        for (ssize_t i = 0; i < more; i++)
            cr_assert_eq(items[i].length, lengths[count + i]);
        count += more;
    }
    coil_udp_close(a);
    coil_udp_close(b);
}

static int send_many(void *arg)
{
    coil_udp *udp = arg;
    char bytes[MANY];
    coil_datagram items[MANY];

    for (int i = 0; i < MANY; i++) {
        bytes[i] = (char)i;
        items[i] = (coil_datagram){.data = &bytes[i], .size = 1};
    }
    cr_assert_eq(coil_udp_send_batch(udp, items, MANY), MANY);
    return 0;
}

FIBER_TEST(udp_batch, a_batch_is_sent_in_order_and_waits_for_room)
{
    coil_udp *a;
    coil_udp *b;
    coil_fiber *fiber;
    char byte;

    unix_datagram_pair(&a, &b); /* takes 11 at a time, say, whatever the size */
    fiber = spawn_until_parked(send_many, a);
    for (int i = 0; i < MANY; i++) {
        cr_assert_eq(coil_udp_recv(b, &byte, 1, NULL), 1);
        cr_assert_eq(byte, i);
    }
    cr_assert_eq(join_and_drop(fiber), 0);
    coil_udp_close(a);
    coil_udp_close(b);
}

FIBER_TEST(udp_batch, a_batch_goes_to_as_many_peers_as_it_names)
{
    coil_udp *all = udp_at(":0");
    coil_udp *ipv4 = udp_at("127.0.0.1:0");
    coil_udp *other = udp_at("127.0.0.1:0");
    coil_datagram items[3] = {
        {.data = (char[]){"one"}, .size = 3, .address = address_of(ipv4)},
        {.data = (char[]){"two"}, .size = 3, .address = address_of(other)},
        {.data = (char[]){"three"}, .size = 5, .address = address_of(ipv4)},
    };

    cr_assert_eq(coil_udp_send_batch(all, items, 3), 3);

    expect_text(ipv4, "one");
    expect_text(ipv4, "three");
    expect_text(other, "two");
    coil_udp_close(all);
    coil_udp_close(ipv4);
    coil_udp_close(other);
}

FIBER_TEST(udp_batch, a_batch_tells_how_much_went_out_before_it_failed)
{
    static char large[70000];
    coil_udp *a;
    coil_udp *b;
    coil_datagram items[3] = {
        {.data = (char[]){"x"}, .size = 1},
        {.data = large, .size = sizeof large},
        {.data = (char[]){"y"}, .size = 1},
    };

    udp_pair(&a, &b);
    cr_assert_eq(coil_udp_send_batch(a, items, 3), 1);
    cr_assert_eq(coil_udp_send_batch(a, items + 1, 2), -EMSGSIZE);
    cr_assert_eq(coil_udp_send_batch(a, items, 0), 0);

    expect_text(b, "x");
    coil_udp_close(a);
    coil_udp_close(b);
}

FIBER_TEST(udp_batch, segments_leave_in_one_call_and_arrive_as_datagrams)
{
    static const char data[] = "aaaabbbbcc";
    static const char many[MANY];
    coil_udp *a;
    coil_udp *b;
    int result;

    udp_pair(&a, &b);
    result = coil_udp_send_segments(a, data, 10, 4, NULL);
    if (result == -EIO || result == -EOPNOTSUPP)
        cr_skip_test("no segmentation here");
    cr_assert_eq(result, 0, "%d", result);
    expect_text(b, "aaaa");
    expect_text(b, "bbbb");
    expect_text(b, "cc");

    cr_assert_eq(coil_udp_send_segments(a, data, 4, 4, NULL), 0);
    expect_text(b, "aaaa");
    cr_assert_eq(coil_udp_send_segments(a, data, 10, 0, NULL), -EINVAL);
    cr_assert_eq(coil_udp_send_segments(a, many, 65, 1, NULL), -EINVAL);
    coil_udp_close(a);
    coil_udp_close(b);
}

FIBER_TEST(udp_batch, segments_are_cut_for_udp_alone)
{
    coil_udp *a;
    coil_udp *b;

    unix_datagram_pair(&a, &b);
    cr_assert_eq(coil_udp_send_segments(a, "abcdef", 6, 2, NULL), -EOPNOTSUPP);
    cr_assert_eq(coil_udp_send_segments(a, "abcdef", 6, 6, NULL), -EOPNOTSUPP);
    send_text(a, "next");
    expect_text(b, "next");
    coil_udp_close(a);
    coil_udp_close(b);
}

FIBER_TEST(udp_batch, a_segment_of_any_length_holds_a_single_datagram)
{
    coil_udp *a;
    coil_udp *b;

    udp_pair(&a, &b);
    cr_assert_eq(coil_udp_send_segments(a, "whole", 5, SIZE_MAX / 64 + 1, NULL), 0);
    expect_text(b, "whole");
    coil_udp_close(a);
    coil_udp_close(b);
}

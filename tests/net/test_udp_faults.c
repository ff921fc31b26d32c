/* SPDX-License-Identifier: MIT */
/* Datagrams when buffers and memory run out: no hang, no lost datagram, nothing left behind. */
#include <stdio.h>

#include "base/alloc.h"
#include "net/net_fixture.h"
#include "net/udp_fixture.h"
#include "support/child.h"

enum {
    MANY = 100,
};

/* ---- Buffers ---- */

/* Lets so many datagrams be delivered to sockets that nobody reads from that the buffers are out,
 * if the engine delivers at all. */
static void hoard_buffers(coil_udp **readers, coil_udp **writers, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        udp_pair(&readers[i], &writers[i]);
        send_text(writers[i], "first");
        expect_text(readers[i], "first"); /* the order stands from here on */
        for (int n = 0; n < 60; n++)
            send_text(writers[i], "x");
        for (int turn = 0; turn < 60; turn++)
            coil_yield();
    }
}

FIBER_TEST(udp_faults, without_shared_buffers_a_receiver_goes_on)
{
    enum {
        HOARDERS = 6, /* of 60 each, more than there are */
    };

    coil_udp *readers[HOARDERS];
    coil_udp *writers[HOARDERS];
    coil_udp *a;
    coil_udp *b;

    hoard_buffers(readers, writers, HOARDERS);
    udp_pair(&a, &b);
    for (int i = 0; i < 20; i++) {
        send_text(a, "through");
        expect_text(b, "through");
    }

    coil_udp_close(a);
    coil_udp_close(b);
    for (int i = 0; i < HOARDERS; i++) {
        for (int n = 0; n < 60; n++)
            expect_text(readers[i], "x");
        coil_udp_close(readers[i]);
        coil_udp_close(writers[i]);
    }
}

FIBER_TEST(udp_faults, a_socket_that_nobody_reads_stops_taking_buffers)
{
    coil_udp *reader;
    coil_udp *writer;

    hoard_buffers(&reader, &writer, 1);
    for (int n = 0; n < 100; n++) {
        send_text(writer, "x");
        for (int turn = 0; turn < 3; turn++)
            coil_yield();
    }

    /* What the kernel delivers before it is told to stop comes on top, never all that is sent. */
    cr_assert_leq(reader->order.lease_count, 64 + 32);
    for (int n = 0; n < 160; n++)
        expect_text(reader, "x");
    coil_udp_close(reader);
    coil_udp_close(writer);
}

FIBER_TEST(udp_faults, datagrams_that_were_delivered_and_not_received_go_with_the_socket)
{
    coil_udp *reader;
    coil_udp *writer;

    hoard_buffers(&reader, &writer, 1);
    coil_udp_close(reader); /* the engine asserts that it has all its buffers back */
    coil_udp_close(writer);
}

FIBER_TEST(udp_faults, a_stop_hands_out_what_was_delivered_before)
{
    coil_udp *reader;
    coil_udp *writer;
    char data[8];
    int count = 0;

    hoard_buffers(&reader, &writer, 1);
    coil_udp_serve_stop(reader);
    while (coil_udp_recv(reader, data, sizeof data, NULL) == 1)
        count++;

    cr_assert_leq(count, 60);
    cr_assert_eq(coil_udp_recv(reader, data, sizeof data, NULL), -ESHUTDOWN);
    coil_udp_close(reader);
    coil_udp_close(writer);
}

/* ---- Memory ---- */

static int answer(const void *data, size_t size, const coil_address *from, coil_udp *udp, void *arg)
{
    (void)arg;
    return coil_udp_send(udp, data, size, from);
}

static int serve(void *arg)
{
    return coil_udp_serve(arg, answer, NULL, NULL);
}

static int ask(coil_udp *client)
{
    char data[8];
    coil_scope scope;
    int result = coil_udp_send(client, "ask", 3, NULL);
    ssize_t length;

    if (result < 0)
        return result;
    coil_scope_enter(&scope, COIL_SECONDS(20));
    length = coil_udp_recv(client, data, sizeof data, NULL);
    cr_assert_not(coil_scope_leave(&scope), "hangs");
    return length == 3 ? 0 : -EIO;
}

static int scenario(void *arg)
{
    char address[COIL_ADDRESS_SIZE];
    coil_udp *server;
    coil_udp *client;
    coil_fiber *fiber;
    int result = coil_udp_open("127.0.0.1:0", NULL, &server);

    (void)arg;
    if (result < 0)
        return result;
    (void)coil_udp_address(server, address, sizeof address);
    result = coil_udp_connect(address, NULL, NULL, &client);
    if (result < 0)
        goto close_server;
    result = coil_spawn(serve, server, &fiber);
    if (result < 0)
        goto close_client;
    coil_yield();
    /* What a server that runs does in a shortage is told by test_udp_serve. */
    coil__alloc_fail_after(-1);
    if (server->server)
        result = ask(client);
    coil_udp_serve_stop(server);
    if (result == 0)
        result = join_and_drop(fiber);
    else
        (void)join_and_drop(fiber);
close_client:
    coil_udp_close(client);
close_server:
    coil_udp_close(server);
    return result;
}

Test(udp_faults, every_allocation_may_fail_and_nothing_is_left_or_hangs, .timeout = 120)
{
    int failures = 0;

    for (int n = 0; n < MANY; n++) {
        const int result = run_with_allocations(scenario, NULL, n);

        failures += result < 0;
        if (result == 0 && failures > 0 && n > 30)
            break;
    }
    cr_assert_gt(failures, 3);
}

/* ---- Forgotten ---- */

static int forget_a_socket(void *arg)
{
    coil_udp *reader;
    coil_udp *writer;

    (void)arg;
    udp_pair(&reader, &writer);
    send_text(writer, "first");
    expect_text(reader, "first");
    if (!reader->order.is_active) /* a kernel that has none: nothing can be held */
        return 0;
    for (int n = 0; n < 100; n++) {
        send_text(writer, "x");
        for (int turn = 0; turn < 3; turn++)
            coil_yield();
    }
    child_check(reader->order.first != NULL, "datagrams");
    while (reader->order.is_active)
        coil_yield();
    return 0;
}

static int run_and_forget(void *arg)
{
    int result = -1;

    child_check(fiber_test_coil_run(forget_a_socket, arg, NULL, &result) == 0, "coil_run");
    return result;
}

Test(udp_faults, a_socket_that_was_never_closed_ends_no_program)
{
    struct child_end end;

    child_run(run_and_forget, NULL, &end);
    cr_assert_eq(end.signal, 0, "signal %d: %s", end.signal, end.output);
    cr_assert_eq(end.exit_code, 0, "%s", end.output);
}

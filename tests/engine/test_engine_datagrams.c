/* SPDX-License-Identifier: MIT */
/* The engine table's standing order on datagram sockets, on all engines there are.
 *
 * With tiny rings and few buffers (COIL_URING_SIZE) orders end all the time; an engine that has no
 * such order at all (COIL_URING_OFF) is skipped.
 */
#include <arpa/inet.h>
#include <stdlib.h>

#include "base/alloc.h"
#include "engine/engine_fixture.h"
#include "engine/faulty_kernel.h"

enum {
    LARGEST = 65507,
    SENDS = 200,
};

struct datagram_probe {
    struct coil__receive receive;
    struct bench *bench;
    bool is_restarting; /* after every end but an error, and when hoarding but a shortage */
    bool is_hoarding;
    struct coil__lease *hoard; /* newest first */
    unsigned count;
    unsigned end_count;
    unsigned starved_count;
    int last_result;
    uint32_t last_length;    /* of the whole datagram */
    unsigned char last_byte; /* its first */
    struct sockaddr_in last_sender;
    unsigned disorder; /* datagrams whose first byte is not the next number */
};

static void take(struct datagram_probe *probe, struct coil__lease *lease)
{
    const struct coil__datagram *head = (const void *)lease->data;

    probe->last_length = head->length;
    probe->last_byte = 0;
    if (lease->end > lease->start)
        probe->last_byte = (unsigned char)lease->data[lease->start];
    probe->disorder += probe->last_byte != (unsigned char)probe->count;
    if (head->address_length == sizeof probe->last_sender)
        memcpy(&probe->last_sender, head->address, sizeof probe->last_sender);
    probe->count++;
    if (!probe->is_hoarding) {
        probe->bench->engine->ops->lease_return(probe->bench->engine, lease);
        return;
    }
    lease->next = probe->hoard;
    probe->hoard = lease;
}

static void datagram_event(struct coil__receive *receive, struct coil__lease *lease, int result,
                           bool more)
{
    struct datagram_probe *probe = container_of(receive, struct datagram_probe, receive);

    probe->last_result = result;
    cr_assert_eq(lease != NULL, result >= 0);
    if (lease) {
        cr_assert_eq(lease->end - lease->start, (unsigned)result);
        take(probe, lease);
    }
    if (more)
        return;
    probe->end_count++;
    probe->starved_count += result == -ENOBUFS;
    if (probe->is_restarting && (result >= 0 || (result == -ENOBUFS && !probe->is_hoarding)))
        probe->bench->engine->ops->receive_start(probe->bench->engine, receive);
}

static void datagrams_start(struct bench *bench, struct datagram_probe *probe, int fd)
{
    if (!bench->engine->has_datagrams)
        cr_skip_test("this engine has no such order");
    probe->bench = bench;
    probe->receive = (struct coil__receive){
        .request = {.kind = COIL__REQUEST_DATAGRAMS, .fd = fd},
        .event = datagram_event,
    };
    bench->engine->ops->receive_start(bench->engine, &probe->receive);
}

static void datagrams_stop(struct datagram_probe *probe)
{
    probe->is_restarting = false;
    if (probe->receive.request.state != COIL__REQUEST_IDLE)
        probe->bench->engine->ops->receive_stop(probe->bench->engine, &probe->receive);
    while (probe->receive.request.state != COIL__REQUEST_IDLE)
        bench_wait(probe->bench);
}

static void release(struct datagram_probe *probe)
{
    while (probe->hoard) {
        struct coil__lease *lease = probe->hoard;

        probe->hoard = lease->next;
        probe->bench->engine->ops->lease_return(probe->bench->engine, lease);
    }
}

/* A receiver, and a sender connected to it. */
static void make_udp_pair(int *ret_receiver, int *ret_sender)
{
    struct sockaddr_in address = {.sin_family = AF_INET};
    socklen_t length = sizeof address;

    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    *ret_receiver = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    *ret_sender = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    cr_assert_eq(bind(*ret_receiver, (struct sockaddr *)&address, sizeof address), 0);
    cr_assert_eq(getsockname(*ret_receiver, (struct sockaddr *)&address, &length), 0);
    cr_assert_eq(connect(*ret_sender, (struct sockaddr *)&address, sizeof address), 0);
}

CONTRACT(datagrams, each_arrives_by_itself_with_its_sender_and_in_order)
{
    struct datagram_probe probe = {.is_restarting = true};
    struct sockaddr_in sender_address;
    socklen_t length = sizeof sender_address;
    int receiver;
    int sender;

    make_udp_pair(&receiver, &sender);
    datagrams_start(bench, &probe, receiver);
    for (unsigned i = 0; i < SENDS; i++) {
        const unsigned char byte = (unsigned char)i;

        cr_assert_eq(send(sender, &byte, 1, 0), 1);
        if (i % 7 == 0)
            bench_run_until(bench, &probe.count, i + 1);
    }
    bench_run_until(bench, &probe.count, SENDS);
    datagrams_stop(&probe);

    cr_assert_eq(probe.disorder, 0);
    cr_assert_eq(getsockname(sender, (struct sockaddr *)&sender_address, &length), 0);
    cr_assert_eq(probe.last_sender.sin_port, sender_address.sin_port);
    cr_assert_eq(probe.last_sender.sin_addr.s_addr, htonl(INADDR_LOOPBACK));
    (void)close(receiver);
    (void)close(sender);
}

CONTRACT(datagrams, an_empty_one_and_the_largest_one_arrive_whole)
{
    static char large[LARGEST] = "large";
    struct datagram_probe probe = {.is_restarting = true};
    int receiver;
    int sender;

    make_udp_pair(&receiver, &sender);
    datagrams_start(bench, &probe, receiver);
    cr_assert_eq(send(sender, large, 0, 0), 0);
    bench_run_until(bench, &probe.count, 1);
    cr_assert_eq(probe.last_result, 0);
    cr_assert_eq(probe.last_length, 0);

    cr_assert_eq(send(sender, large, sizeof large, 0), LARGEST);
    bench_run_until(bench, &probe.count, 2);
    cr_assert_eq(probe.last_result, LARGEST);
    cr_assert_eq(probe.last_length, LARGEST);
    datagrams_stop(&probe);
    (void)close(receiver);
    (void)close(sender);
}

CONTRACT(datagrams, a_stopped_order_leaves_the_rest_in_the_socket)
{
    int receiver;
    int sender;

    make_udp_pair(&receiver, &sender);
    for (unsigned round = 0; round < 30; round++) {
        struct datagram_probe probe = {.is_restarting = true};
        unsigned left = 0;
        char byte;

        datagrams_start(bench, &probe, receiver);
        if (round % 2)
            bench_turn(bench);
        for (unsigned i = 0; i < 5; i++)
            cr_assert_eq(send(sender, "x", 1, 0), 1);
        if (round % 3 == 0)
            bench_turn(bench);
        datagrams_stop(&probe);
        while (recv(receiver, &byte, 1, MSG_DONTWAIT) == 1)
            left++;

        cr_assert_eq(probe.count + left, 5, "round %u", round);
    }
    (void)close(receiver);
    (void)close(sender);
}

CONTRACT(datagrams, who_keeps_all_buffers_starves_and_goes_on_when_they_are_back)
{
    struct datagram_probe probe = {.is_restarting = true, .is_hoarding = true};
    unsigned sent = 0;
    int receiver;
    int sender;

    make_udp_pair(&receiver, &sender);
    datagrams_start(bench, &probe, receiver);
    while (probe.starved_count == 0 && sent < 1000) {
        cr_assert_eq(send(sender, "x", 1, 0), 1);
        sent++;
        while (probe.count < sent && probe.starved_count == 0)
            bench_wait(bench);
    }
    cr_assert_eq(probe.starved_count, 1);
    cr_assert_eq(bench->engine->stats.starved_count, 1);
    cr_assert_geq(probe.count, sent - 1); /* the kernel may say so before it needs a buffer */

    release(&probe);
    bench_turn(bench); /* shows them to the kernel */
    bench->engine->ops->receive_start(bench->engine, &probe.receive);
    for (unsigned i = 0; i < 3; i++) {
        cr_assert_eq(send(sender, "x", 1, 0), 1);
        bench_run_until(bench, &probe.count, ++sent);
    }
    datagrams_stop(&probe);
    release(&probe);
    (void)close(receiver);
    (void)close(sender);
}

CONTRACT(datagrams, an_error_of_the_network_ends_the_order)
{
    struct datagram_probe probe = {.last_result = 0};
    int receiver;
    int sender;

    make_udp_pair(&receiver, &sender);
    (void)close(receiver);
    datagrams_start(bench, &probe, sender);
    bench_turn(bench);
    cr_assert_eq(send(sender, "x", 1, 0), 1);

    bench_run_until(bench, &probe.end_count, 1);
    cr_assert_eq(probe.last_result, -ECONNREFUSED);
    (void)close(sender);
}

/* ---- Kernels without it ---- */

static void expect_no_datagrams(struct bench *bench)
{
    struct datagram_probe probe = {.last_result = 0};
    int receiver;
    int sender;

    make_udp_pair(&receiver, &sender);
    datagrams_start(bench, &probe, receiver);
    cr_assert_eq(probe.end_count, 0, "start() does not call back");
    bench_run_until(bench, &probe.end_count, 1);

    cr_assert_eq(probe.last_result, -ENOBUFS);
    cr_assert_not(bench->engine->has_datagrams);
    cr_assert_not_null(
        strstr(bench->engine->ops->describe(bench->engine), "multishot_recvmsg refused"));
    use_engine(bench);
    (void)close(receiver);
    (void)close(sender);
}

URING_TEST(uring_datagrams, a_kernel_without_multishot_messages_is_found_out_by_use)
{
    struct bench bench;

    fault.is_without_multishot = true;
    bench_open(&bench, coil__uring_open, NULL);
    fault.uring = coil__uring_of(bench.engine);
    expect_no_datagrams(&bench);
    bench_close(&bench);
}

URING_TEST(uring_datagrams, refused_buffers_are_done_without)
{
    struct bench bench;

    fault = (struct fault){.register_opcode = IORING_REGISTER_PBUF_RING, .register_error = -ENOMEM};
    bench_open(&bench, coil__uring_open, NULL);
    expect_no_datagrams(&bench);
    bench_close(&bench);
}

URING_TEST(uring_datagrams, their_buffers_are_made_for_the_first_order)
{
    struct datagram_probe probe = {.last_result = 0};
    struct bench bench;
    int64_t count;
    int receiver;
    int sender;

    make_udp_pair(&receiver, &sender);
    bench_open(&bench, coil__uring_open, NULL);
    count = coil__alloc_live_count();
    use_engine(&bench);
    cr_assert_eq(coil__alloc_live_count(), count + 1, "those of streams");
    datagrams_start(&bench, &probe, receiver);
    cr_assert_eq(coil__alloc_live_count(), count + 2);
    datagrams_stop(&probe);
    bench_close(&bench);
    (void)close(receiver);
    (void)close(sender);
}

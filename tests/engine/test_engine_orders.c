/* SPDX-License-Identifier: MIT */
/* The engine table's standing orders: receives and accepts on all engines there are.
 *
 * The tests run with tiny rings and few buffers too (COIL_URING_SIZE), where standing orders end
 * early all the time: that must never show as lost bytes or connections.
 */
#include <fcntl.h>
#include <stdlib.h>

#include "engine/engine_fixture.h"

/* ---- Receiving ---- */

CONTRACT(orders, a_receive_delivers_all_bytes_in_order_and_then_the_end)
{
    enum {
        LENGTH = 1 << 20
    };

    static char sent[LENGTH];
    static char received[LENGTH];
    struct receive_probe probe = {.bytes = received, .size = LENGTH, .is_restarting = true};
    struct op_probe send;
    int fds[2];

    for (unsigned i = 0; i < LENGTH; i++)
        sent[i] = (char)(i * 2654435761U >> 24);
    make_pair(fds);
    receive_start(bench, &probe, fds[0]);

    for (size_t at = 0; at < LENGTH; at += (size_t)send.op.result) {
        op_start(bench, &send,
                 OP(COIL__OP_SEND, fds[1], .data = sent + at, .length = LENGTH - at,
                    .flags = MSG_NOSIGNAL | MSG_WAITALL));
        bench_run_until(bench, &send.done_count, 1);
        cr_assert_gt(send.op.result, 0);
    }
    cr_assert_eq(shutdown(fds[1], SHUT_WR), 0);
    while (probe.receive.request.state != COIL__REQUEST_IDLE)
        cr_assert_eq(bench->engine->ops->wait(bench->engine, coil__clock_now() + MS(5000)), 0);

    cr_assert_eq(probe.last_result, 0, "the end of the stream");
    cr_assert_eq(probe.length, LENGTH);
    cr_assert_eq(memcmp(sent, received, LENGTH), 0);
    close_pair(fds);
}

CONTRACT(orders, a_reset_ends_the_receive_with_its_error)
{
    struct sockaddr_in address;
    const int listener = make_listener(&address);
    const int client = dial_address(&address);
    const int server = accept(listener, NULL, NULL);
    const struct linger abort_it = {.l_onoff = 1};
    struct receive_probe probe = {.is_restarting = true};

    receive_start(bench, &probe, server);
    bench_turn(bench);
    cr_assert_eq(setsockopt(client, SOL_SOCKET, SO_LINGER, &abort_it, sizeof abort_it), 0);
    (void)close(client);

    bench_run_until(bench, &probe.end_count, 1);
    cr_assert_eq(probe.last_result, -ECONNRESET);
    (void)close(server);
    (void)close(listener);
}

CONTRACT(orders, a_stopped_receive_leaves_the_rest_of_the_bytes_in_the_socket)
{
    int fds[2];

    make_pair(fds);
    for (unsigned round = 0; round < 50; round++) {
        struct receive_probe probe = {.is_restarting = true};
        char rest[16];
        ssize_t left;

        receive_start(bench, &probe, fds[0]);
        if (round % 2)
            bench_turn(bench);
        cr_assert_eq(write(fds[1], "abcdefg", 7), 7);
        if (round % 3 == 0)
            bench_turn(bench);
        receive_stop(&probe);

        left = recv(fds[0], rest, sizeof rest, MSG_DONTWAIT);
        cr_assert_eq(probe.length + (size_t)(left > 0 ? left : 0), 7, "round %u", round);
        cr_assert(probe.last_result == -ECANCELED || probe.last_result > 0);
    }
    cr_assert_eq(bench->engine->stats.active_count, 0);
    close_pair(fds);
}

CONTRACT(orders, an_idle_receive_can_be_stopped_before_the_first_turn)
{
    struct receive_probe probe = {.last_result = 0};
    int fds[2];

    make_pair(fds);
    receive_start(bench, &probe, fds[0]);
    receive_stop(&probe);

    cr_assert_eq(probe.last_result, -ECANCELED);
    cr_assert_eq(probe.end_count, 1);
    close_pair(fds);
}

CONTRACT(orders, a_lease_has_room_behind_its_end_and_lives_on_after_the_receive)
{
    struct receive_probe probe = {.is_hoarding = true};
    int fds[2];

    make_pair(fds);
    receive_start(bench, &probe, fds[0]);
    cr_assert_eq(write(fds[1], "abc", 3), 3);
    bench_run_until(bench, &probe.event_count, 1);
    receive_stop(&probe);
    close_pair(fds);

    cr_assert_eq(probe.hoard->end, 3);
    cr_assert_gt(probe.hoard->capacity, 3);
    probe.hoard->data[probe.hoard->end] = 'd';
    cr_assert_eq(memcmp(probe.hoard->data, "abcd", 4), 0);
    receive_release(&probe);
}

struct pair {
    int fds[2];
    char *received;
    struct receive_probe receive;
    struct op_probe send;
    size_t sent;
};

static char pattern(size_t pair, size_t at)
{
    return (char)(at * 31 + pair * 7 + (at >> 8));
}

static void send_some(struct bench *bench, struct pair *pair, size_t number, char *message,
                      size_t length)
{
    for (size_t i = 0; i < length; i++)
        message[i] = pattern(number, pair->sent + i);
    op_start(bench, &pair->send,
             OP(COIL__OP_SEND, pair->fds[1], .data = message, .length = length,
                .flags = MSG_NOSIGNAL | MSG_WAITALL));
}

static void stress_pairs(struct bench *bench, unsigned count, unsigned rounds)
{
    enum {
        PAIRS_MAX = 64,
        MESSAGE_MAX = 3000
    };
    static struct pair pairs[PAIRS_MAX];
    static char messages[PAIRS_MAX][MESSAGE_MAX];
    const size_t size = (size_t)rounds * MESSAGE_MAX;

    for (unsigned i = 0; i < count; i++) {
        pairs[i] = (struct pair){.received = malloc(size)};
        pairs[i].receive =
            (struct receive_probe){.bytes = pairs[i].received, .size = size, .is_restarting = true};
        make_pair(pairs[i].fds);
        receive_start(bench, &pairs[i].receive, pairs[i].fds[0]);
    }
    for (unsigned round = 0; round < rounds; round++) {
        for (unsigned i = 0; i < count; i++)
            send_some(bench, &pairs[i], i, messages[i], 1 + (round * 131 + i * 97) % MESSAGE_MAX);
        for (unsigned i = 0; i < count; i++) {
            bench_run_until(bench, &pairs[i].send.done_count, 1);
            cr_assert_gt(pairs[i].send.op.result, 0);
            pairs[i].sent += (size_t)pairs[i].send.op.result;
        }
    }
    for (unsigned i = 0; i < count; i++) {
        cr_assert_eq(shutdown(pairs[i].fds[1], SHUT_WR), 0);
        while (pairs[i].receive.receive.request.state != COIL__REQUEST_IDLE)
            cr_assert_eq(bench->engine->ops->wait(bench->engine, coil__clock_now() + MS(5000)), 0);
        cr_assert_eq(pairs[i].receive.last_result, 0);
        cr_assert_eq(pairs[i].receive.length, pairs[i].sent);
        for (size_t at = 0; at < pairs[i].sent; at++)
            cr_assert_eq(pairs[i].received[at], pattern(i, at), "pair %u, byte %zu", i, at);
        close_pair(pairs[i].fds);
        free(pairs[i].received);
    }
}

CONTRACT(orders, fifty_receives_share_few_buffers_without_mixing_their_bytes)
{
    stress_pairs(bench, 50, 40);
}

/* ---- Accepting ---- */

CONTRACT(orders, an_accept_delivers_every_connection)
{
    struct sockaddr_in address;
    const int listener = make_listener(&address);
    struct accept_probe probe;
    int clients[20];

    accept_start(bench, &probe, listener, false);
    for (unsigned i = 0; i < 20; i++)
        clients[i] = dial_address(&address);
    bench_run_until(bench, &probe.accepted_count, 20);

    cr_assert(fcntl(probe.fds[7], F_GETFD) & FD_CLOEXEC);
    cr_assert_not(fcntl(probe.fds[7], F_GETFL) & O_NONBLOCK);
    accept_stop(&probe);
    cr_assert_eq(probe.accepted_count, 20);
    cr_assert_eq(probe.last_result, -ECANCELED);
    accept_close_all(&probe);
    for (unsigned i = 0; i < 20; i++)
        (void)close(clients[i]);
    (void)close(listener);
}

CONTRACT(orders, an_accept_once_takes_one_connection_per_start)
{
    struct sockaddr_in address;
    const int listener = make_listener(&address);
    const int first = dial_address(&address);
    const int second = dial_address(&address);
    struct accept_probe probe;
    struct accept_probe next;

    accept_start(bench, &probe, listener, true);
    bench_run_until(bench, &probe.end_count, 1);
    bench_turn(bench);
    bench_turn(bench);
    cr_assert_eq(probe.accepted_count, 1);
    cr_assert_eq(probe.accept.request.state, COIL__REQUEST_IDLE);

    accept_start(bench, &next, listener, true);
    bench_run_until(bench, &next.end_count, 1);
    cr_assert_eq(next.accepted_count, 1);

    accept_close_all(&probe);
    accept_close_all(&next);
    (void)close(first);
    (void)close(second);
    (void)close(listener);
}

CONTRACT(orders, an_accept_on_something_else_ends_with_an_error)
{
    const int fd = socket(AF_INET, SOCK_STREAM, 0);
    struct accept_probe probe;

    accept_start(bench, &probe, fd, false);
    bench_run_until(bench, &probe.end_count, 1);

    cr_assert_eq(probe.last_result, -EINVAL);
    (void)close(fd);
}

/* ---- Running out of buffers ---- */

CONTRACT(orders, a_receive_without_buffers_says_so_and_works_again_after_a_return)
{
    enum {
        BYTES = 40000
    };
    struct receive_probe greedy = {.is_hoarding = true};
    static char bytes[BYTES];
    size_t sent = 0;
    int fds[2];

    make_pair(fds);
    receive_start(bench, &greedy, fds[0]);
    /* One byte per buffer, until there is none left; 600 is more than any default has. */
    for (unsigned i = 0; i < 600 && greedy.starved_count == 0; i++) {
        if (greedy.receive.request.state == COIL__REQUEST_IDLE)
            receive_start(bench, &greedy, fds[0]);
        cr_assert_eq(write(fds[1], "x", 1), 1);
        sent++;
        while (greedy.length < sent && greedy.starved_count == 0) {
            cr_assert_eq(bench->engine->ops->wait(bench->engine, INT64_MAX), 0);
            if (greedy.receive.request.state == COIL__REQUEST_IDLE && greedy.starved_count == 0)
                receive_start(bench, &greedy, fds[0]);
        }
    }
    cr_assert_eq(bench->engine->stats.starved_count, greedy.starved_count);
    receive_release(&greedy);

    /* Private buffers do not run out; then there is nothing to start again. */
    greedy.is_hoarding = false;
    greedy.is_restarting = true;
    greedy.bytes = bytes;
    greedy.size = BYTES;
    if (greedy.receive.request.state == COIL__REQUEST_IDLE)
        receive_start(bench, &greedy, fds[0]);
    while (greedy.length < sent)
        cr_assert_eq(bench->engine->ops->wait(bench->engine, INT64_MAX), 0);
    receive_stop(&greedy);
    cr_assert_eq(greedy.length, sent);
    close_pair(fds);
}

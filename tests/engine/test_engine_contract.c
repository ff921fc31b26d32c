/* SPDX-License-Identifier: MIT */
/* The engine table: what every engine owes its callers, checked on all engines there are.
 *
 * The tests run with tiny rings and few buffers too (COIL_URING_SIZE), where standing orders end
 * early all the time: that must never show as lost bytes or connections.
 */
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/time.h>

#include "engine/engine_fixture.h"
#include "support/poll_engine.h"

/* Defines one test per engine from one body. */
#define CONTRACT(name)                  \
 static void name(struct bench *bench); \
 Test(uring_contract, name)             \
 {                                      \
  run(coil__uring_open, name);          \
 }                                      \
 Test(poll_contract, name)              \
 {                                      \
  run(coil__poll_engine_open, name);    \
 }                                      \
 static void name(struct bench *bench)

TestSuite(uring_contract, .timeout = 30);
TestSuite(poll_contract, .timeout = 30);

static void run(coil__engine_open *open, void (*body)(struct bench *))
{
    struct bench bench;

    bench_open(&bench, open, NULL);
    body(&bench);
    bench_close(&bench);
}

static void close_pair(const int fds[2])
{
    (void)close(fds[0]);
    (void)close(fds[1]);
}

/* ---- One-shot operations ---- */

static char hello[] = "hello";

CONTRACT(an_operation_is_done_in_wait_and_not_in_submit)
{
    struct op_probe probe;

    op_start(bench, &probe, OP(COIL__OP_NOP, -1, .flags = 0));

    cr_assert_eq(probe.done_count, 0);
    cr_assert_eq(bench->engine->stats.active_count, 1);
    bench_run_until(bench, &probe.done_count, 1);
    cr_assert_eq(probe.op.result, 0);
    cr_assert_eq(probe.op.request.state, COIL__REQUEST_IDLE);
    cr_assert_eq(bench->engine->stats.active_count, 0);
}

CONTRACT(sent_bytes_are_received_by_the_peer)
{
    int fds[2];
    char text[8] = "";

    make_pair(fds);

    cr_assert_eq(op_run(bench, OP(COIL__OP_SEND, fds[0], .data = hello, .length = 5,
                                  .flags = MSG_NOSIGNAL | MSG_WAITALL)),
                 5);
    cr_assert_eq(op_run(bench, OP(COIL__OP_RECV, fds[1], .data = text, .length = 8)), 5);

    cr_assert_str_eq(text, "hello");
    close_pair(fds);
}

CONTRACT(a_send_to_a_closed_peer_is_an_error_and_no_signal)
{
    int fds[2];

    make_pair(fds);
    (void)close(fds[1]);

    cr_assert_eq(
        op_run(bench, OP(COIL__OP_SEND, fds[0], .data = hello, .length = 1, .flags = MSG_NOSIGNAL)),
        -EPIPE);
    (void)close(fds[0]);
}

CONTRACT(messages_carry_several_pieces)
{
    int fds[2];
    char text[8] = "";
    struct iovec out[2] = {{.iov_base = (char[]){'a', 'b'}, .iov_len = 2},
                           {.iov_base = (char[]){'c'}, .iov_len = 1}};
    struct iovec in = {.iov_base = text, .iov_len = sizeof text};
    struct msghdr sent = {.msg_iov = out, .msg_iovlen = 2};
    struct msghdr received = {.msg_iov = &in, .msg_iovlen = 1};

    make_pair(fds);

    cr_assert_eq(op_run(bench, OP(COIL__OP_SENDMSG, fds[0], .data = &sent, .flags = MSG_NOSIGNAL)),
                 3);
    cr_assert_eq(op_run(bench, OP(COIL__OP_RECVMSG, fds[1], .data = &received)), 3);

    cr_assert_str_eq(text, "abc");
    close_pair(fds);
}

CONTRACT(a_poll_tells_which_events_there_are)
{
    int fds[2];
    struct op_probe probe;

    make_pair(fds);
    op_start(bench, &probe, OP(COIL__OP_POLL, fds[0], .flags = POLLIN));

    bench_turn(bench);
    cr_assert_eq(probe.done_count, 0);

    cr_assert_eq(write(fds[1], "x", 1), 1);
    bench_run_until(bench, &probe.done_count, 1);
    cr_assert_eq(probe.op.result, POLLIN);
    close_pair(fds);
}

CONTRACT(a_connection_is_made_and_a_refused_one_says_so)
{
    struct sockaddr_in address;
    const int listener = make_listener(&address);
    const int good = socket(AF_INET, SOCK_STREAM, 0);
    const int bad = socket(AF_INET, SOCK_STREAM, 0);

    cr_assert_eq(
        op_run(bench, OP(COIL__OP_CONNECT, good, .data = &address, .length = sizeof address)), 0);
    (void)close(listener);
    cr_assert_eq(
        op_run(bench, OP(COIL__OP_CONNECT, bad, .data = &address, .length = sizeof address)),
        -ECONNREFUSED);

    (void)close(good);
    (void)close(bad);
}

CONTRACT(files_are_opened_written_read_described_synced_and_closed)
{
    char directory[] = "/tmp/coil-engine-XXXXXX";
    char name[] = "f";
    char missing[] = "none";
    char content[] = "abcdef";
    char text[16] = "";
    struct statx status;
    int dir_fd;
    int fd;

    cr_assert_not_null(mkdtemp(directory));
    dir_fd = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    fd = op_run(bench, OP(COIL__OP_OPENAT, dir_fd, .data = name, .length = 0600,
                          .flags = O_RDWR | O_CREAT | O_CLOEXEC));
    cr_assert_geq(fd, 0);
    cr_assert_eq(
        op_run(bench, OP(COIL__OP_WRITE, fd, .data = content, .length = 6, .more.offset = 2)), 6);
    cr_assert_eq(op_run(bench, OP(COIL__OP_FSYNC, fd, .flags = 0)), 0);
    cr_assert_eq(
        op_run(bench, OP(COIL__OP_READ, fd, .data = text, .length = 3, .more.offset = UINT64_MAX)),
        3);
    cr_assert_eq(memcmp(text, "\0\0a", 3), 0);
    cr_assert_eq(
        op_run(bench, OP(COIL__OP_READ, fd, .data = text, .length = 16, .more.offset = UINT64_MAX)),
        5, "the first read moved the file's position");
    cr_assert_eq(memcmp(text, "bcdef", 5), 0);
    cr_assert_eq(op_run(bench, OP(COIL__OP_STATX, dir_fd, .data = name, .length = STATX_SIZE,
                                  .more.extra = &status)),
                 0);
    cr_assert_eq(status.stx_size, 8);
    cr_assert_eq(op_run(bench, OP(COIL__OP_CLOSE, fd, .flags = 0)), 0);
    cr_assert_eq(fcntl(fd, F_GETFD), -1);
    cr_assert_eq(op_run(bench, OP(COIL__OP_OPENAT, dir_fd, .data = missing)), -ENOENT);

    cr_assert_eq(unlinkat(dir_fd, "f", 0), 0);
    (void)close(dir_fd);
    cr_assert_eq(rmdir(directory), 0);
}

struct chain {
    struct coil__op op;
    struct bench *bench;
    unsigned count;
};

static void chain_done(struct coil__op *op)
{
    struct chain *chain = container_of(op, struct chain, op);

    if (++chain->count < 500)
        chain->bench->engine->ops->submit(chain->bench->engine, op);
}

CONTRACT(an_operation_may_be_submitted_again_from_its_own_callback)
{
    struct chain chain = {.op = OP(COIL__OP_NOP, -1, .done = chain_done), .bench = bench};

    bench->engine->ops->submit(bench->engine, &chain.op);
    bench_run_until(bench, &chain.count, 500);

    cr_assert_eq(bench->engine->stats.active_count, 0);
}

CONTRACT(more_operations_than_any_queue_holds_are_all_done)
{
    enum {
        COUNT = 3000
    };
    static struct op_probe probes[COUNT];
    unsigned done_count = 0;

    for (unsigned i = 0; i < COUNT; i++)
        op_start(bench, &probes[i], OP(COIL__OP_NOP, -1, .flags = 0));
    cr_assert_eq(bench->engine->stats.active_count, COUNT);

    for (unsigned i = 0; i < COUNT; i++) {
        bench_run_until(bench, &probes[i].done_count, 1);
        done_count += probes[i].done_count;
    }
    cr_assert_eq(done_count, COUNT, "each is done once");
    cr_assert_eq(bench->engine->stats.active_count, 0);
}

/* ---- Cancelling ---- */

CONTRACT(a_cancelled_receive_takes_no_bytes)
{
    int fds[2];
    char byte = 0;
    struct op_probe probe;

    make_pair(fds);
    op_start(bench, &probe, OP(COIL__OP_RECV, fds[0], .data = &byte, .length = 1));
    bench_turn(bench);

    bench->engine->ops->cancel(bench->engine, &probe.op);
    cr_assert_eq(probe.done_count, 0, "cancel() does not call back");
    bench_run_until(bench, &probe.done_count, 1);

    cr_assert_eq(probe.op.result, -ECANCELED);
    cr_assert_eq(write(fds[1], "x", 1), 1);
    cr_assert_eq(op_run(bench, OP(COIL__OP_RECV, fds[0], .data = &byte, .length = 1)), 1);
    close_pair(fds);
}

CONTRACT(a_cancel_before_the_first_turn_ends_the_operation_too)
{
    int fds[2];
    char byte;
    struct op_probe probe;

    make_pair(fds);
    op_start(bench, &probe, OP(COIL__OP_RECV, fds[0], .data = &byte, .length = 1));
    bench->engine->ops->cancel(bench->engine, &probe.op);
    bench->engine->ops->cancel(bench->engine, &probe.op); /* twice is once */

    bench_run_until(bench, &probe.done_count, 1);
    cr_assert_eq(probe.op.result, -ECANCELED);
    close_pair(fds);
}

CONTRACT(queued_operations_can_be_cancelled_in_any_order)
{
    enum {
        COUNT = 1000
    };
    static struct op_probe probes[COUNT];
    static char bytes[COUNT];
    int fds[2];

    make_pair(fds);
    for (unsigned i = 0; i < COUNT; i++)
        op_start(bench, &probes[i], OP(COIL__OP_RECV, fds[0], .data = &bytes[i], .length = 1));
    for (unsigned i = 0; i < COUNT; i += 2)
        bench->engine->ops->cancel(bench->engine, &probes[i].op);
    bench_turn(bench);
    for (unsigned i = COUNT; i-- > 0;)
        if (i % 2 == 1)
            bench->engine->ops->cancel(bench->engine, &probes[i].op);

    for (unsigned i = 0; i < COUNT; i++) {
        bench_run_until(bench, &probes[i].done_count, 1);
        cr_assert_eq(probes[i].done_count, 1);
        cr_assert_eq(probes[i].op.result, -ECANCELED);
    }
    close_pair(fds);
}

/* The operation and its cancel meet in every state; a byte must be either delivered or left. */
CONTRACT(a_success_that_races_with_its_cancel_is_delivered)
{
    int fds[2];
    unsigned success_count = 0;

    make_pair(fds);
    for (unsigned round = 0; round < 200; round++) {
        char byte = 0;
        struct op_probe probe;

        op_start(bench, &probe, OP(COIL__OP_RECV, fds[0], .data = &byte, .length = 1));
        if (round % 3 == 1)
            bench_turn(bench);
        cr_assert_eq(write(fds[1], "x", 1), 1);
        if (round % 3 == 2)
            bench_turn(bench);
        if (probe.done_count == 0)
            bench->engine->ops->cancel(bench->engine, &probe.op);
        bench_run_until(bench, &probe.done_count, 1);

        if (probe.op.result == 1) {
            success_count++;
        } else {
            cr_assert_eq(probe.op.result, -ECANCELED);
            cr_assert_eq(recv(fds[0], &byte, 1, MSG_DONTWAIT), 1, "round %u", round);
        }
        cr_assert_eq(byte, 'x');
        cr_assert_eq(recv(fds[0], &byte, 1, MSG_DONTWAIT), -1);
    }
    cr_assert_gt(success_count, 0);
    close_pair(fds);
}

struct assassin {
    struct coil__op op;
    struct bench *bench;
    struct op_probe *victim;
};

static void assassin_done(struct coil__op *op)
{
    struct assassin *assassin = container_of(op, struct assassin, op);

    if (assassin->victim->done_count == 0)
        assassin->bench->engine->ops->cancel(assassin->bench->engine, &assassin->victim->op);
}

CONTRACT(a_callback_may_cancel_what_completes_in_the_same_turn)
{
    int fds[2];

    make_pair(fds);
    for (unsigned round = 0; round < 50; round++) {
        char byte = 0;
        struct op_probe victim;
        struct assassin assassin = {
            .op = OP(COIL__OP_NOP, -1, .done = assassin_done),
            .bench = bench,
            .victim = &victim,
        };

        cr_assert_eq(write(fds[1], "x", 1), 1);
        bench->engine->ops->submit(bench->engine, &assassin.op);
        op_start(bench, &victim, OP(COIL__OP_RECV, fds[0], .data = &byte, .length = 1));
        bench_run_until(bench, &victim.done_count, 1);

        if (victim.op.result != 1)
            cr_assert_eq(recv(fds[0], &byte, 1, MSG_DONTWAIT), 1);
        cr_assert_eq(byte, 'x');
    }
    /* No cancel is left that could hit the next operation at the same address. */
    for (unsigned i = 0; i < 4; i++)
        bench_turn(bench);
    close_pair(fds);
}

/* ---- Receiving ---- */

CONTRACT(a_receive_delivers_all_bytes_in_order_and_then_the_end)
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

CONTRACT(a_reset_ends_the_receive_with_its_error)
{
    struct sockaddr_in address;
    const int listener = make_listener(&address);
    const int client = dial(&address);
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

CONTRACT(a_stopped_receive_leaves_the_rest_of_the_bytes_in_the_socket)
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

CONTRACT(an_idle_receive_can_be_stopped_before_the_first_turn)
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

CONTRACT(a_lease_has_room_behind_its_end_and_lives_on_after_the_receive)
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

CONTRACT(fifty_receives_share_few_buffers_without_mixing_their_bytes)
{
    stress_pairs(bench, 50, 40);
}

/* ---- Accepting ---- */

CONTRACT(an_accept_delivers_every_connection)
{
    struct sockaddr_in address;
    const int listener = make_listener(&address);
    struct accept_probe probe;
    int clients[20];

    accept_start(bench, &probe, listener, false);
    for (unsigned i = 0; i < 20; i++)
        clients[i] = dial(&address);
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

CONTRACT(an_accept_once_takes_one_connection_per_start)
{
    struct sockaddr_in address;
    const int listener = make_listener(&address);
    const int first = dial(&address);
    const int second = dial(&address);
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

CONTRACT(an_accept_on_something_else_ends_with_an_error)
{
    const int fd = socket(AF_INET, SOCK_STREAM, 0);
    struct accept_probe probe;

    accept_start(bench, &probe, fd, false);
    bench_run_until(bench, &probe.end_count, 1);

    cr_assert_eq(probe.last_result, -EINVAL);
    (void)close(fd);
}

/* ---- Waiting and waking ---- */

CONTRACT(a_wait_never_ends_before_its_deadline)
{
    for (unsigned i = 0; i < 10; i++) {
        const int64_t deadline = coil__clock_now() + MS(3) + i * 100000;

        cr_assert_eq(bench->engine->ops->wait(bench->engine, deadline), 0);
        cr_assert_geq(coil__clock_now(), deadline);
    }
}

CONTRACT(a_wait_for_a_passed_deadline_returns)
{
    cr_assert_eq(bench->engine->ops->wait(bench->engine, 0), 0);
    cr_assert_eq(bench->engine->ops->wait(bench->engine, 1), 0);
    cr_assert_eq(bench->engine->ops->wait(bench->engine, coil__clock_now() - 1), 0);
}

CONTRACT(a_wake_before_the_wait_ends_the_wait)
{
    for (unsigned i = 0; i < 100; i++) {
        bench->engine->ops->wake(bench->engine);
        bench->engine->ops->wake(bench->engine);
        cr_assert_eq(bench->engine->ops->wait(bench->engine, INT64_MAX), 0);
    }
    cr_assert_geq(bench->engine->stats.wake_count, 100);
}

struct waker {
    struct bench *bench;
    unsigned count;
    pthread_t owner;
    atomic_uint wakes_seen;
};

/* Each wake waits until the one before was seen, so a lost one hangs the test. */
static void *wake_often(void *arg)
{
    struct waker *waker = arg;

    for (unsigned i = 0; i < waker->count; i++) {
        while (atomic_load(&waker->wakes_seen) != i)
            ;
        waker->bench->engine->ops->wake(waker->bench->engine);
    }
    return NULL;
}

CONTRACT(no_wake_from_another_thread_is_lost)
{
    struct waker waker = {.bench = bench, .count = 3000};
    pthread_t thread;

    cr_assert_eq(pthread_create(&thread, NULL, wake_often, &waker), 0);
    for (unsigned i = 0; i < waker.count; i++) {
        cr_assert_eq(bench->engine->ops->wait(bench->engine, INT64_MAX), 0);
        atomic_fetch_add(&waker.wakes_seen, 1);
    }
    cr_assert_eq(pthread_join(thread, NULL), 0);
}

static struct coil__engine *signalled_engine;

static void wake_in_handler(int number)
{
    (void)number;
    signalled_engine->ops->wake(signalled_engine);
}

static void *signal_often(void *arg)
{
    struct waker *waker = arg;

    for (unsigned i = 0; i < waker->count; i++) {
        while (atomic_load(&waker->wakes_seen) != i)
            ;
        (void)pthread_kill(waker->owner, SIGUSR1);
    }
    return NULL;
}

CONTRACT(no_wake_from_a_signal_handler_is_lost)
{
    struct sigaction action = {.sa_handler = wake_in_handler, .sa_flags = SA_RESTART};
    struct waker waker = {.bench = bench, .count = 1000, .owner = pthread_self()};
    pthread_t thread;

    signalled_engine = bench->engine;
    cr_assert_eq(sigaction(SIGUSR1, &action, NULL), 0);
    cr_assert_eq(pthread_create(&thread, NULL, signal_often, &waker), 0);
    for (unsigned i = 0; i < waker.count; i++) {
        cr_assert_eq(bench->engine->ops->wait(bench->engine, INT64_MAX), 0);
        atomic_fetch_add(&waker.wakes_seen, 1);
    }
    cr_assert_eq(pthread_join(thread, NULL), 0);
}

static void ignore_signal(int number)
{
    (void)number;
}

CONTRACT(a_signal_does_not_end_a_wait)
{
    struct sigaction action = {.sa_handler = ignore_signal};
    const struct itimerval every_ms = {.it_value.tv_usec = 1000, .it_interval.tv_usec = 1000};
    const struct itimerval never = {.it_value.tv_usec = 0};
    const int64_t deadline = coil__clock_now() + MS(30);

    cr_assert_eq(sigaction(SIGALRM, &action, NULL), 0);
    cr_assert_eq(setitimer(ITIMER_REAL, &every_ms, NULL), 0);
    cr_assert_eq(bench->engine->ops->wait(bench->engine, deadline), 0);
    cr_assert_eq(setitimer(ITIMER_REAL, &never, NULL), 0);

    cr_assert_geq(coil__clock_now(), deadline);
}

/* ---- Running out of buffers ---- */

CONTRACT(a_receive_without_buffers_says_so_and_works_again_after_a_return)
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

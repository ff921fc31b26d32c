/* SPDX-License-Identifier: MIT */
/* What coil_serve() knows of connections that its handlers have moved: they count for the limit,
 * and a stop ends their idle reads, waits for them, and cancels them after the grace, wherever they
 * are. */
#include <signal.h>
#include <unistd.h>

#include "net/journey_fixture.h"
#include "net/listener.h"
#include "net/serve.h"

TestSuite(serve_moved, .timeout = 60);

/* Never says that it is idle. */
static int answer_two_bytes(coil_stream *stream, void *arg)
{
    char bytes[2];
    const ssize_t n = coil_read_full(stream, bytes, sizeof bytes, NULL);

    (void)arg;
    return n == 2 ? coil_write(stream, bytes, sizeof bytes) : (int)n;
}

CORES_TEST(serve_moved, a_handler_moves_its_connection_and_returns)
{
    struct journey journey;
    int fd;

    journey_open(&journey, echo_bytes);
    site_start(&journey.site);
    for (unsigned i = 1; i <= 3; i++) {
        fd = dial_and_send(&journey, "a");
        cr_assert_eq(journey.core, FAR);
        expect_answer(fd, 'a');
        until_running(&journey.site, 0);
        cr_assert_eq(journey.moved, 0);
        write_text(fd, "b");
        expect_answer(fd, 'b');
        cr_assert_eq(close(fd), 0);
        while (journey.left < i)
            coil_yield();
        until_counted(&journey, 0);
        journey.step = 0;
    }
    site_stop(&journey.site);
    cr_assert_eq(journey.site.served, 3);
    cr_assert_eq(journey.site.failed, 0);
}

/* ---- Counts ---- */

CORES_TEST(serve_moved, a_moved_connection_keeps_its_place_until_it_is_closed)
{
    struct journey journey;
    int waiting;
    int fd;

    journey_open(&journey, echo_bytes);
    journey.site.options.concurrency = 1;
    site_start(&journey.site);
    fd = dial_and_send(&journey, "a");
    until_counted(&journey, 1);
    until_running(&journey.site, 0);
    journey.step = 0;

    waiting = dial(journey.site.address);
    write_text(waiting, "b");
    for (int turns = 0; turns < 10; turns++)
        cr_assert_eq(coil_sleep(0), 0);
    expect_answer(fd, 'a');
    cr_assert_eq(journey.arrived, 1);
    cr_assert_eq(journey.site.listener->server->running, 1);

    cr_assert_eq(close(fd), 0);
    expect_answer(waiting, 'b');
    cr_assert_eq(close(waiting), 0);
    until_counted(&journey, 0);
    site_stop(&journey.site);
    cr_assert_eq(journey.site.running_max, 1);
}

static int leave_a_tail(coil_stream *stream, void *arg)
{
    (void)arg;
    (void)fill_fd(coil_stream_fd(stream));
    return coil_write(stream, "tail", 4);
}

CORES_TEST(serve_moved, a_peer_that_does_not_read_holds_a_moved_place_for_the_close_timeout_only)
{
    struct journey journey;
    int fd;

    journey_open_unix(&journey, leave_a_tail);
    journey.site.options.close_timeout = COIL_MS(20);
    site_start(&journey.site);
    fd = dial_and_send(&journey, "a");
    until_counted(&journey, 0);
    site_stop(&journey.site);
    cr_assert_eq(close(fd), 0);
}

/* ---- Stops ---- */

CORES_TEST(serve_moved, a_stop_ends_idle_reads_wherever_they_are)
{
    struct journey journey;
    int fd;

    journey_open(&journey, echo_bytes);
    site_start(&journey.site);
    fd = dial_and_send(&journey, "a");
    expect_answer(fd, 'a');
    site_stop(&journey.site);
    cr_assert_eq(journey.left, 1, "it returns after the last handler");
    cr_assert_eq(journey.result, 0, "the read has come to an end");
    expect_end(fd);
}

CORES_TEST(serve_moved, a_stop_waits_for_what_is_under_way_elsewhere)
{
    struct journey journey;
    char text[4];
    int fd;

    journey_open(&journey, answer_two_bytes);
    site_start(&journey.site);
    fd = dial_and_send(&journey, "a");
    until_running(&journey.site, 0);
    coil_serve_stop(journey.site.listener);
    for (int turns = 0; turns < 10; turns++)
        cr_assert_eq(coil_sleep(0), 0);
    cr_assert_not_null(journey.site.fiber->tcb, "the grace is 30 s");
    cr_assert_eq(journey.left, 0);

    write_text(fd, "b");
    cr_assert_eq(site_end(&journey.site), 0);
    cr_assert_eq(journey.left, 1);
    cr_assert_eq(read_fd(fd, text, sizeof text), 2);
    cr_assert_eq(close(fd), 0);
}

CORES_TEST(serve_moved, the_end_of_the_grace_cancels_what_has_been_moved)
{
    struct journey journey;
    int fd;

    journey_open(&journey, answer_two_bytes);
    journey.site.options.grace = COIL_MS(20);
    site_start(&journey.site);
    fd = dial_and_send(&journey, "a");
    site_stop(&journey.site);
    cr_assert_eq(journey.left, 1);
    cr_assert_eq(journey.result, -ECANCELED);
    expect_end(fd);
}

CORES_TEST(serve_moved, the_end_of_the_grace_reaches_a_moved_connection_that_is_being_closed)
{
    struct journey journey;
    int fd;

    journey_open_unix(&journey, leave_a_tail);
    journey.site.options.grace = COIL_MS(20);
    site_start(&journey.site);
    fd = dial_and_send(&journey, "a");
    while (journey.left == 0)
        coil_yield();
    site_stop(&journey.site);
    cr_assert_eq(close(fd), 0);
}

static int pass(void *arg)
{
    (void)arg;
    return 0;
}

static int be_idle_and_linger(coil_stream *stream, void *arg)
{
    char byte;

    (void)arg;
    coil_stream_linger(stream, COIL_SECONDS(30), (size_t)1024 * 1024);
    if (coil_read(stream, &byte, 1) != 1)
        return -EILSEQ;
    coil_stream_idle(stream);
    return 0;
}

CORES_TEST(serve_moved, a_stop_does_not_cut_the_lingering_of_a_moved_connection)
{
    struct journey journey;
    char byte;
    int fd;

    journey_open(&journey, be_idle_and_linger);
    site_start(&journey.site);
    fd = dial_and_send(&journey, "a");
    cr_assert_eq(recv(fd, &byte, 1, 0), 0, "its close has begun");
    coil_serve_stop(journey.site.listener);
    for (int turns = 0; turns < 10; turns++)
        cr_assert_eq(coil_on(FAR, pass, NULL, NULL), 0, "the order comes and has its effect");
    for (int i = 0; i < 10; i++) {
        write_text(fd, "what crosses the end");
        cr_assert_eq(recv(fd, &byte, 1, 0), 0, "an end and no reset");
    }
    cr_assert_not_null(journey.site.fiber->tcb, "it waits for the peer's end");
    cr_assert_eq(close(fd), 0);
    cr_assert_eq(site_end(&journey.site), 0);
}

CORES_TEST(serve_moved, a_second_signal_cancels_what_has_been_moved)
{
    struct journey journey;
    int fd;

    journey_open(&journey, answer_two_bytes);
    journey.site.options.stop_on_signals = true;
    site_start(&journey.site);
    fd = dial_and_send(&journey, "a");
    cr_assert_eq(raise(SIGTERM), 0);
    cr_assert_eq(raise(SIGTERM), 0);
    cr_assert_eq(site_end(&journey.site), 0);
    cr_assert_eq(journey.result, -ECANCELED);
    expect_end(fd);
}

CORES_TEST(serve_moved, an_interrupted_server_cancels_what_has_been_moved_and_waits)
{
    struct journey journey;
    int fd;

    journey_open(&journey, answer_two_bytes);
    site_start(&journey.site);
    fd = dial_and_send(&journey, "a");
    coil_cancel(journey.site.fiber);
    cr_assert_eq(site_end(&journey.site), -ECANCELED);
    cr_assert_eq(journey.left, 1);
    cr_assert_eq(journey.result, -ECANCELED);
    expect_end(fd);
}

/* The handler looks for a first byte that does not come: the stop finds it here. */
CORES_TEST(serve_moved, a_connection_that_is_moved_during_a_stop_is_still_the_servers)
{
    struct journey journey;
    int fd;

    journey_open(&journey, echo_bytes);
    site_start(&journey.site);
    fd = dial(journey.site.address);
    until_running(&journey.site, 1);
    coil_serve_stop(journey.site.listener);
    cr_assert_not_null(journey.handler, "it has not said that it is idle");
    write_text(fd, "a");
    cr_assert_eq(site_end(&journey.site), 0);
    cr_assert_eq(journey.left, 1);
    cr_assert_eq(journey.result, 0, "its first idle read has come to an end");
    expect_answer(fd, 'a');
    expect_end(fd);
}

CORES_TEST(serve_moved, a_connection_that_is_moved_after_the_grace_is_cancelled_where_it_arrives)
{
    struct journey journey;
    int fd;

    journey_open(&journey, echo_bytes);
    journey.site.options.grace = COIL_MS(20);
    site_start(&journey.site);
    fd = dial(journey.site.address);
    until_running(&journey.site, 1);
    site_stop(&journey.site);
    cr_assert_eq(journey.moved, 0, "the move itself is not interrupted");
    cr_assert_eq(journey.left, 1);
    cr_assert_eq(journey.result, -ECANCELED);
    expect_end(fd);
}

/* ---- While it is on its way ---- */

/* Keeps the core from doing anything, the arrival of a stream for example. */
static int block_core(void *arg)
{
    struct journey *journey = arg;

    while (!journey->is_released)
        ;
    return 0;
}

static void until_on_its_way(const struct journey *journey)
{
    while (!journey->handler || !journey->handler->tcb ||
           journey->handler->tcb->state != COIL__FIBER_PARKED ||
           strcmp(journey->handler->tcb->wait_name, "call on another core") != 0)
        coil_yield();
}

/* Returns a client whose connection is neither here nor there. */
static int begin_slow_move(struct journey *journey)
{
    int fd;

    site_start(&journey->site);
    cr_assert_eq(coil_spawn_on(FAR, block_core, journey), 0);
    fd = dial(journey->site.address);
    write_text(fd, "a");
    until_on_its_way(journey);
    return fd;
}

CORES_TEST(serve_moved, a_handler_that_is_killed_while_it_moves_its_connection_moves_it)
{
    struct journey journey;
    int fd;

    journey_open(&journey, echo_bytes);
    fd = begin_slow_move(&journey);
    coil_cancel(journey.handler);
    journey.is_released = true;
    expect_answer(fd, 'a');
    until_running(&journey.site, 0);
    cr_assert_eq(journey.moved, 0);
    until_counted(&journey, 1);
    write_text(fd, "b");
    expect_answer(fd, 'b');
    cr_assert_eq(close(fd), 0);
    until_counted(&journey, 0);
    site_stop(&journey.site);
}

CORES_TEST(serve_moved, a_stop_reaches_a_connection_on_its_way)
{
    struct journey journey;
    int fd;

    journey_open(&journey, echo_bytes);
    fd = begin_slow_move(&journey);
    coil_serve_stop(journey.site.listener);
    journey.is_released = true;
    cr_assert_eq(site_end(&journey.site), 0);
    cr_assert_eq(journey.left, 1);
    cr_assert_eq(journey.result, 0);
    expect_answer(fd, 'a');
    expect_end(fd);
}

CORES_TEST(serve_moved, a_cancelled_server_reaches_a_connection_on_its_way)
{
    struct journey journey;
    int fd;

    journey_open(&journey, echo_bytes);
    fd = begin_slow_move(&journey);
    coil_cancel(journey.site.fiber);
    until_parked(journey.site.fiber);
    journey.is_released = true;
    cr_assert_eq(site_end(&journey.site), -ECANCELED);
    cr_assert_eq(journey.left, 1);
    cr_assert_eq(journey.result, -ECANCELED);
    expect_end(fd);
}

/* The orders come to a core that is busy; when it looks, the connection has ended. */
static int wait_without_looking(coil_stream *stream, void *arg)
{
    (void)stream;
    return block_core(arg);
}

CORES_TEST(serve_moved, orders_that_come_after_the_end_of_a_connection_are_awaited)
{
    struct journey journey;
    int fd;

    journey_open(&journey, wait_without_looking);
    site_start(&journey.site);
    fd = dial_and_send(&journey, "a");
    until_running(&journey.site, 0);
    coil_serve_stop(journey.site.listener);
    coil_cancel(journey.site.fiber);
    until_parked(journey.site.fiber);
    journey.is_released = true;
    cr_assert_eq(site_end(&journey.site), -ECANCELED);
    cr_assert_eq(journey.left, 1);
    expect_end(fd);
}

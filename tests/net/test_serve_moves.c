/* SPDX-License-Identifier: MIT */
/* Moving connections of coil_serve(): on and on, by whom, for what, and when it fails. */
#include <unistd.h>

#include "base/alloc.h"
#include "net/journey_fixture.h"

TestSuite(serve_moves, .timeout = 60);

enum {
    ALLOCATIONS_MAX = 40,
};

/* ---- Further moves ---- */

static const unsigned home_again[] = {FAR, 0};
static const unsigned far_and_far_again[] = {FAR, 0, FAR, FAR};

static void go_and_stop(const unsigned *route, unsigned length)
{
    struct journey journey;
    int fd;

    journey_open_by(&journey, echo_bytes, route, length);
    site_start(&journey.site);
    fd = dial_and_send(&journey, "a");
    cr_assert_eq(journey.core, route[length - 1]);
    expect_answer(fd, 'a');
    until_counted(&journey, 1);
    site_stop(&journey.site);
    cr_assert_eq(journey.left, 1);
    cr_assert_eq(journey.result, 0);
    expect_end(fd);
}

CORES_TEST(serve_moves, a_connection_that_moves_on_stays_the_servers)
{
    go_and_stop(home_again, 2);
    go_and_stop(far_and_far_again, 4);
}

/* Never says that it is idle. */
static int wait_for_a_line(coil_stream *stream, void *arg)
{
    char line[64];

    (void)arg;
    return (int)coil_read_line(stream, line, sizeof line);
}

CORES_TEST(serve_moves, a_connection_that_has_moved_on_is_cancelled_after_the_grace)
{
    struct journey journey;
    int fd;

    journey_open_by(&journey, wait_for_a_line, far_and_far_again, 4);
    journey.site.options.grace = COIL_MS(20);
    site_start(&journey.site);
    fd = dial_and_send(&journey, "a");
    site_stop(&journey.site);
    cr_assert_eq(journey.left, 1);
    cr_assert_eq(journey.result, -ECANCELED);
    expect_end(fd);
}

static void sit_until_released(struct journey *journey)
{
    coil_scope shield;

    coil_scope_enter_shield(&shield, COIL_NEVER);
    while (!journey->is_released)
        (void)coil_sleep(COIL_MS(1));
    (void)coil_scope_leave(&shield);
}

static int pass(void *arg)
{
    (void)arg;
    return 0;
}

static int block_core(void *arg)
{
    const struct journey *journey = arg;

    while (!journey->is_released)
        ;
    return 0;
}

FIBER_TEST_WITH(serve_moves, an_order_for_a_connection_that_is_moving_on_is_for_where_it_arrives,
                (&(coil_options){.size = sizeof(coil_options), .cores = 3}))
{
    static const unsigned far_and_farther[] = {FAR, 2};
    struct journey journey;
    int fd;

    journey_open_by(&journey, echo_bytes, far_and_farther, 2);
    site_start(&journey.site);
    cr_assert_eq(coil_spawn_on(2, block_core, &journey), 0);
    fd = dial(journey.site.address);
    write_text(fd, "a");
    while (journey.step < 2)
        coil_yield();
    cr_assert_eq(coil_on(FAR, pass, NULL, NULL), 0, "its fiber there has parked in the move");
    coil_cancel(journey.site.fiber);
    until_parked(journey.site.fiber);
    cr_assert_eq(coil_on(FAR, pass, NULL, NULL), 0, "a post would have come before");

    journey.is_released = true;
    cr_assert_eq(site_end(&journey.site), -ECANCELED);
    cr_assert_eq(journey.left, 1);
    cr_assert_eq(journey.result, -ECANCELED);
    while (journey.moved > 0)
        coil_yield();
    cr_assert_eq(journey.moved, 0);
    cr_assert_eq(journey.expired, 0, "whoever has moved it on is nothing to the server");
    expect_end(fd);
}

static int echo_at_home(coil_stream *stream, void *arg)
{
    struct journey *journey = arg;

    journey->core = coil_core();
    return echo_bytes(stream, arg);
}

static int move_home_and_stay(coil_stream *stream, void *arg)
{
    struct journey *journey = arg;

    journey->moved = coil_stream_move(stream, 0, echo_at_home, journey);
    sit_until_released(journey);
    return -EILSEQ;
}

static void note_unhandled(const coil_fiber *fiber, int result, void *arg)
{
    (void)fiber;
    atomic_store((atomic_int *)arg, result);
}

static atomic_int unhandled;

static int watch_unhandled(void *arg)
{
    (void)arg;
    coil_unhandled_set(note_unhandled, &unhandled);
    return 0;
}

CORES_TEST(serve_moves,
           what_a_handler_does_after_its_move_is_nothing_to_the_connection_and_the_server)
{
    struct journey journey;
    int fd;

    journey_open(&journey, move_home_and_stay);
    cr_assert_eq(coil_each_core(watch_unhandled, NULL), 0);
    site_start(&journey.site);
    fd = dial_and_send(&journey, "a");
    expect_answer(fd, 'a');
    cr_assert_eq(journey.core, 0);
    until_counted(&journey, 1);
    cr_assert_eq(journey.left, 0);

    journey.is_released = true;
    while (unhandled == 0)
        coil_yield();
    write_text(fd, "b");
    expect_answer(fd, 'b');
    cr_assert_eq(close(fd), 0);
    until_counted(&journey, 0);
    site_stop(&journey.site);
    cr_assert_eq(unhandled, -EILSEQ);
    cr_assert_eq(journey.site.failed, 0, "the hook is for the server's own handlers");
}

/* ---- Whoever moves it ---- */

static int move_it(void *arg)
{
    struct journey *journey = arg;

    return coil_stream_move(journey->stream, FAR, journey_arrive, journey);
}

/* Reads while another fiber moves the stream. */
static int be_moved(coil_stream *stream, void *arg)
{
    struct journey *journey = arg;
    char byte;
    int result;

    came(&journey->site);
    journey->stream = stream;
    result = (int)coil_read(stream, &byte, 1);
    went(&journey->site);
    return result;
}

CORES_TEST(serve_moves, a_fiber_beside_the_handler_may_move_the_connection)
{
    struct journey journey;
    coil_fiber *mover;
    int fd;

    journey_open(&journey, echo_bytes);
    journey.site.handler = be_moved;
    site_start(&journey.site);
    fd = dial(journey.site.address);
    until_running(&journey.site, 1);
    mover = spawn_until_parked(move_it, &journey);
    until_running(&journey.site, 0);
    cr_assert_eq(journey.site.failure, -EBADF, "the handler's call");
    cr_assert_eq(join_and_drop(mover), 0);
    until_counted(&journey, 1);
    write_text(fd, "a");
    expect_answer(fd, 'a');
    site_stop(&journey.site);
    cr_assert_eq(journey.left, 1);
    expect_end(fd);
}

static int close_it(coil_stream *stream, void *arg)
{
    (void)arg;
    return coil_close(stream);
}

CORES_TEST(serve_moves, the_last_handler_may_close_the_stream_itself)
{
    struct journey journey;

    journey_open(&journey, close_it);
    site_start(&journey.site);
    expect_end(dial_and_send(&journey, "a"));
    until_counted(&journey, 0);
    site_stop(&journey.site);
    cr_assert_eq(journey.left, 1);
    cr_assert_eq(journey.result, 0);
}

static int answer(coil_http_request *request, void *arg)
{
    (void)arg;
    return coil_http_respond(request, 200, "text/plain", "!", 1);
}

static int serve_http(coil_stream *stream, void *arg)
{
    (void)arg;
    return coil_http_serve_stream(stream, answer, NULL, NULL);
}

CORES_TEST(serve_moves, what_is_moved_can_be_served_by_http_and_a_stop_ends_it_between_requests)
{
    struct journey journey;
    int fd;

    journey_open(&journey, serve_http);
    site_start(&journey.site);
    fd = dial_and_send(&journey, "GET / HTTP/1.1\r\nHost: x\r\n\r\n");
    expect_answer(fd, 'H');
    site_stop(&journey.site);
    cr_assert_eq(journey.left, 1);
    cr_assert_eq(journey.result, 0);
    while (read_fd(fd, &(char){0}, 1) == 1)
        ;
    cr_assert_eq(close(fd), 0);
}

/* ---- Failures ---- */

static void fail_to_move(struct journey *journey, int expected)
{
    int fd;

    site_start(&journey->site);
    fd = dial(journey->site.address);
    write_text(fd, "a");
    expect_end(fd);
    until_counted(journey, 0);
    while (journey->moved > 0)
        coil_yield();
    cr_assert_eq(journey->moved, expected);
    site_stop(&journey->site);
    cr_assert_eq(journey->site.served, 1);
    cr_assert_eq(journey->arrived, 0);
    cr_assert_eq(journey->site.failed, 0);
}

CORES_TEST(serve_moves, a_move_that_is_impossible_ends_the_connection_only)
{
    static const unsigned nowhere[] = {2};
    static const unsigned far_and_nowhere[] = {FAR, 2};
    struct journey journey;

    journey_open_by(&journey, echo_bytes, nowhere, 1);
    fail_to_move(&journey, -EINVAL);
    journey_open_by(&journey, echo_bytes, far_and_nowhere, 2);
    fail_to_move(&journey, -EINVAL);
}

static int stay(void *arg)
{
    (void)arg;
    return coil_sleep(COIL_NEVER);
}

FIBER_TEST_WITH(serve_moves, a_core_that_is_full_ends_the_connection_only,
                (&(coil_options){.size = sizeof(coil_options), .cores = 2, .fibers_max = 3}))
{
    struct journey journey;

    for (int i = 0; i < 3; i++)
        cr_assert_eq(coil_spawn_on(FAR, stay, NULL), 0);
    journey_open(&journey, echo_bytes);
    fail_to_move(&journey, -EAGAIN);
}

/* On one core: the others have their own business with the allocator meanwhile. */
static int move_with_allocations(coil_stream *stream, void *arg)
{
    struct journey *journey = arg;
    const char *data;

    came(&journey->site);
    if (coil_peek(stream, 1, &data) == 1) {
        coil__alloc_fail_after((int)journey->allocations);
        journey->moved = coil_stream_move(stream, 0, journey_arrive, journey);
        coil__alloc_fail_after(-1);
    }
    went(&journey->site);
    return 0;
}

static int echo_with_all_allocations(coil_stream *stream, void *arg)
{
    coil__alloc_fail_after(-1);
    return echo_bytes(stream, arg);
}

FIBER_TEST(serve_moves, the_nth_allocation_fails_cleanly_for_each_n)
{
    struct journey journey;
    unsigned n;

    journey_open(&journey, echo_with_all_allocations);
    journey.site.handler = move_with_allocations;
    site_start(&journey.site);
    for (n = 0; n < ALLOCATIONS_MAX && journey.moved != 0; n++) {
        const int fd = dial(journey.site.address);

        journey.allocations = n;
        write_text(fd, "a");
        while (journey.site.served == n)
            coil_yield();
        if (journey.moved == 0)
            expect_answer(fd, 'a');
        else
            cr_assert_eq(journey.moved, -ENOMEM);
        cr_assert_eq(shutdown(fd, SHUT_WR), 0);
        expect_end(fd);
        until_counted(&journey, 0);
    }
    cr_assert_gt(n, 2);
    cr_assert_lt(n, ALLOCATIONS_MAX);
    site_stop(&journey.site);
    cr_assert_eq(journey.left, 1);
}

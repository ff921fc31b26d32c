/* SPDX-License-Identifier: MIT */
/* coil_serve() where it once went wrong: peers that do not read while their connection is closed,
 * stops at awkward moments, shortages, and whom a failed handler is reported to.
 */
#include <signal.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

#include "io/signal.h"
#include "net/listener.h"
#include "net/serve_fixture.h"

TestSuite(serve_stop, .timeout = 60);

/* ---- Connections that are being closed ---- */

/* Leaves bytes that cannot be sent before the peer reads. */
static int leave_a_tail(coil_stream *stream, void *arg)
{
    struct site *site = arg;
    int result;

    came(site);
    (void)fill_fd(coil_stream_fd(stream));
    result = coil_write(stream, "tail", 4);
    went(site);
    return result;
}

/* A client that does not read, whose handler has returned. */
static int stall(struct site *site)
{
    const unsigned served = site->served;
    const int fd = dial(site->address);

    while (site->served == served)
        coil_yield();
    return fd;
}

static void expect_no_tail(int fd)
{
    char bytes[4096];
    size_t n;

    do {
        n = read_now(fd, bytes, sizeof bytes);
        for (size_t i = 0; i < n; i++)
            cr_assert_eq(bytes[i], 0, "the close did not have to wait");
    } while (n > 0);
    cr_assert_eq(close(fd), 0);
}

FIBER_TEST(serve_stop, the_end_of_the_grace_reaches_a_connection_that_is_being_closed)
{
    struct site site;
    int fd;

    site_open_unix(&site, leave_a_tail);
    site.options.grace = COIL_MS(20);
    site_start(&site);
    fd = stall(&site);
    site_stop(&site);
    expect_no_tail(fd);
}

FIBER_TEST(serve_stop, a_second_signal_reaches_a_connection_that_is_being_closed)
{
    struct site site;
    int fd;

    site_open_unix(&site, leave_a_tail);
    site.options.stop_on_signals = true;
    site_start(&site);
    fd = stall(&site);
    cr_assert_eq(kill(getpid(), SIGTERM), 0);
    while (site.listener->error == 0)
        coil_yield();
    cr_assert_eq(kill(getpid(), SIGTERM), 0);
    cr_assert_eq(site_end(&site), 0);
    expect_no_tail(fd);
}

FIBER_TEST(serve_stop, a_second_signal_right_behind_the_first_cuts_the_grace_short_too)
{
    struct site site;
    int fd;

    site_open_unix(&site, leave_a_tail);
    site.options.stop_on_signals = true;
    site_start(&site);
    fd = stall(&site);
    cr_assert_eq(raise(SIGTERM), 0);
    cr_assert_eq(raise(SIGTERM), 0);
    cr_assert_eq(site_end(&site), 0);
    expect_no_tail(fd);
}

FIBER_TEST(serve_stop, cancelling_the_server_reaches_a_connection_that_is_being_closed)
{
    struct site site;
    int fd;

    site_open_unix(&site, leave_a_tail);
    site_start(&site);
    fd = stall(&site);
    coil_cancel(site.fiber);
    cr_assert_eq(site_end(&site), -ECANCELED);
    expect_no_tail(fd);
}

FIBER_TEST(serve_stop, a_peer_that_does_not_read_holds_its_place_for_the_close_timeout_only)
{
    struct site site;
    int fds[2];

    site_open_unix(&site, leave_a_tail);
    site.options.close_timeout = COIL_MS(20);
    site.options.concurrency = 1;
    site_start(&site);
    for (int i = 0; i < 2; i++)
        fds[i] = stall(&site);
    site_stop(&site);
    for (int i = 0; i < 2; i++)
        expect_no_tail(fds[i]);
}

/* ---- Stops at awkward moments ---- */

static int finish_at_once(coil_stream *stream, void *arg)
{
    (void)stream;
    came(arg);
    went(arg);
    return 0;
}

FIBER_TEST(serve_stop, a_stop_before_the_server_begins_is_kept)
{
    struct site site;

    site_open(&site, finish_at_once);
    cr_assert_eq(coil_spawn(site_serve, &site, &site.fiber), 0);
    site_stop(&site);

    site_open(&site, finish_at_once);
    coil_serve_stop(site.listener);
    site_start(&site);
    cr_assert_eq(site_end(&site), 0);
}

static void listen_for_signals(struct site *site)
{
    coil_listen_options options = COIL_LISTEN_OPTIONS_INIT;

    options.stop_on_signals = true;
    *site = (struct site){.options = COIL_SERVE_OPTIONS_INIT, .handler = finish_at_once};
    cr_assert_eq(coil_listen("127.0.0.1:0", &options, &site->listener), 0);
    cr_assert_gt(coil_listener_address(site->listener, site->address, sizeof site->address), 0);
}

FIBER_TEST(serve_stop, a_signal_before_the_server_begins_is_kept_if_the_listener_is_asked_to)
{
    for (int stop_on_signals = 0; stop_on_signals < 2; stop_on_signals++) {
        struct sigaction now;
        struct site site;
        int fd;

        listen_for_signals(&site);
        site.options.stop_on_signals = stop_on_signals;
        fd = dial(site.address);
        cr_assert_eq(raise(SIGTERM), 0);
        site_start(&site);
        cr_assert_eq(site_end(&site), 0);
        cr_assert_eq(site.served, 1, "who came before");
        cr_assert_eq(close(fd), 0);
        cr_assert_eq(sigaction(SIGTERM, NULL, &now), 0);
        cr_assert_eq(now.sa_handler, SIG_DFL);
    }
}

FIBER_TEST(serve_stop, a_listener_that_is_asked_to_stops_its_server_by_a_later_signal)
{
    struct site site;

    listen_for_signals(&site);
    site_start(&site);
    cr_assert_eq(raise(SIGINT), 0);
    cr_assert_eq(site_end(&site), 0);
}

FIBER_TEST(serve_stop, a_listener_that_cannot_watch_or_listen_leaves_nothing_behind)
{
    coil_listen_options options = COIL_LISTEN_OPTIONS_INIT;
    coil_listener *listeners[COIL__SIGNAL_WATCHES_MAX];
    coil_listener *more = NULL;
    char address[COIL_ADDRESS_SIZE];

    options.stop_on_signals = true;
    for (int i = 0; i < COIL__SIGNAL_WATCHES_MAX; i++)
        cr_assert_eq(coil_listen("127.0.0.1:0", &options, &listeners[i]), 0);
    cr_assert_eq(coil_listen("127.0.0.1:0", &options, &more), -EAGAIN);
    coil_listener_close(listeners[0]);
    cr_assert_gt(coil_listener_address(listeners[1], address, sizeof address), 0);
    cr_assert_eq(coil_listen(address, &options, &more), -EADDRINUSE);
    cr_assert_null(more);
    cr_assert_eq(coil_listen("127.0.0.1:0", &options, &listeners[0]), 0);
    for (int i = 0; i < COIL__SIGNAL_WATCHES_MAX; i++)
        coil_listener_close(listeners[i]);
}

FIBER_TEST(serve_stop, what_was_accepted_before_an_early_stop_is_served)
{
    struct site site;
    coil_stream *first;
    size_t queued;
    int fds[4];

    site_open(&site, finish_at_once);
    for (int i = 0; i < 4; i++)
        fds[i] = dial(site.address);
    cr_assert_eq(coil_accept(site.listener, &first), 0);
    for (int turns = 0; turns < 4; turns++)
        cr_assert_eq(coil_sleep(0), 0);
    queued = site.listener->queue_count;
    coil_serve_stop(site.listener);
    cr_assert_eq(site_serve(&site), 0);

    cr_assert_geq(site.served, queued);
    cr_assert_eq(site.listener->queue_count, 0);
    cr_assert_eq(coil_close(first), 0);
    coil_listener_close(site.listener);
    for (int i = 0; i < 4; i++)
        cr_assert_eq(close(fds[i]), 0);
}

/* Answers each byte; between two of them the connection is idle. */
static int echo_bytes(coil_stream *stream, void *arg)
{
    struct site *site = arg;
    ssize_t n;
    char byte;

    came(site);
    do {
        coil_stream_idle(stream);
        n = coil_read(stream, &byte, 1);
        if (n > 0)
            n = coil_write(stream, &byte, 1) < 0 ? -EPIPE : 1;
    } while (n > 0);
    went(site);
    return (int)n;
}

enum {
    CLIENTS = 40,
};

static void answer_all_that_came_before_a_stop(void)
{
    struct site site;
    int fds[CLIENTS];
    char bytes[2];

    site_open(&site, echo_bytes);
    site_start(&site);
    for (int i = 0; i < CLIENTS; i++) {
        fds[i] = dial(site.address);
        write_text(fds[i], "x");
    }
    until_running(&site, CLIENTS);
    for (int i = 0; i < CLIENTS; i++)
        while (read_now(fds[i], bytes, 1) == 0)
            coil_yield();
    for (int turns = 0; turns < 4; turns++)
        cr_assert_eq(coil_sleep(0), 0, "until all are idle");

    for (int i = 0; i < CLIENTS; i++)
        write_text(fds[i], "y");
    site_stop(&site);
    for (int i = 0; i < CLIENTS; i++) {
        cr_assert_eq(read_fd(fds[i], bytes, 1), 1, "client %d sent in time", i);
        cr_assert_eq(close(fds[i]), 0);
    }
}

FIBER_TEST(serve_stop, a_stop_loses_no_message_that_came_before)
{
    answer_all_that_came_before_a_stop();
}

/* Without that flag the kernel takes messages off the sockets whenever it likes. */
Test(serve_stop, a_stop_loses_no_message_that_came_before_without_defer_taskrun)
{
    cr_assert_eq(setenv("COIL_URING_OFF", "defer_taskrun", 1), 0);
    fiber_test_run(answer_all_that_came_before_a_stop, NULL);
}

static int idle_and_linger(coil_stream *stream, void *arg)
{
    coil_stream_linger(stream, COIL_SECONDS(30), (size_t)1024 * 1024);
    return echo_bytes(stream, arg);
}

FIBER_TEST(serve_stop, a_connection_that_a_stop_ends_lingers_for_what_crosses_its_end)
{
    struct site site;
    char byte;
    int fd;

    site_open(&site, idle_and_linger);
    site_start(&site);
    fd = dial(site.address);
    until_running(&site, 1);
    coil_serve_stop(site.listener);
    while (recv(fd, &byte, 1, MSG_DONTWAIT) != 0)
        coil_yield();
    for (int i = 0; i < 10; i++) {
        write_text(fd, "a request that crosses the end");
        cr_assert_eq(coil_sleep(COIL_MS(1)), 0);
        cr_assert_eq(recv(fd, &byte, 1, 0), 0, "an end and no reset");
    }
    cr_assert_not_null(site.fiber->tcb, "it waits for the peer's end");
    cr_assert_eq(close(fd), 0);
    cr_assert_eq(site_end(&site), 0);
}

/* ---- Shortages ---- */

static int accept_one(void *arg)
{
    struct site *site = arg;
    coil_stream *stream;
    const int result = coil_accept(site->listener, &stream);

    if (result == 0)
        (void)coil_close(stream);
    return result;
}

/* Takes every descriptor there is. Returns how many those are. */
static int take_descriptors(int *fds, int fds_max)
{
    int count = 0;

    while (count < fds_max) {
        fds[count] = dup(STDERR_FILENO);
        if (fds[count] < 0)
            break;
        count++;
    }
    cr_assert_lt(count, fds_max);
    return count;
}

FIBER_TEST(serve_stop, an_accept_that_fails_after_the_close_of_its_listener_arms_no_timer)
{
    enum {
        LIMIT = 200
    };
    struct rlimit limit;
    struct site site;
    int fds[LIMIT];
    int client;
    int count;

    cr_assert_eq(getrlimit(RLIMIT_NOFILE, &limit), 0);
    limit.rlim_cur = LIMIT;
    cr_assert_eq(setrlimit(RLIMIT_NOFILE, &limit), 0);
    site_open(&site, finish_at_once);
    client = dial(site.address);
    count = take_descriptors(fds, LIMIT);

    cr_assert_eq(coil_spawn(accept_one, &site, &site.fiber), 0);
    coil_yield(); /* it parks; its order waits for the end of the turn */
    coil_listener_close(site.listener);
    while (count > 0)
        cr_assert_eq(close(fds[--count]), 0);
    cr_assert_eq(join_and_drop(site.fiber), -EBADF);
    cr_assert_eq(coil__timers_next(&coil__sched()->timers), INT64_MAX,
                 "it would fire into nothing");
    cr_assert_eq(close(client), 0);
}

static int wait_for_permit(void *arg)
{
    return coil_sem_acquire(arg);
}

FIBER_TEST_WITH(serve_stop, in_a_shortage_of_fibers_the_end_of_any_fiber_is_noticed,
                (&(coil_options){.size = sizeof(coil_options), .fibers_max = 4}))
{
    struct site site;
    coil_fiber *other;
    coil_sem end;
    int fds[2];

    coil_sem_init(&end, 0);
    site_open(&site, echo_bytes);
    site_start(&site);
    fds[0] = dial(site.address);
    until_running(&site, 1);
    other = spawn_until_parked(wait_for_permit, &end);
    fds[1] = dial(site.address);
    cr_assert_eq(coil_sleep(COIL_MS(30)), 0);
    cr_assert_eq(site.running, 1, "main, the server, a connection and the other");

    coil_sem_release(&end);
    cr_assert_eq(join_and_drop(other), 0);
    until_running(&site, 2);
    for (int i = 0; i < 2; i++)
        cr_assert_eq(close(fds[i]), 0);
    site_stop(&site);
}

/* ---- Who is told of a handler's failure ---- */

struct told {
    int count;
    int result;
};

static void note_unhandled(const coil_fiber *fiber, int result, void *arg)
{
    struct told *told = arg;

    (void)fiber;
    told->count++;
    told->result = result;
}

static int failure_of_handlers;

static int fail(coil_stream *stream, void *arg)
{
    (void)stream;
    came(arg);
    went(arg);
    return failure_of_handlers;
}

/* Serves one connection with a handler that returns `result`. */
static void fail_once(struct site *site, int result)
{
    char byte;
    int fd;

    failure_of_handlers = result;
    site_start(site);
    fd = dial(site->address);
    while (site->served == 0)
        coil_yield();
    site_stop(site);
    cr_assert_eq(read_fd(fd, &byte, 1), 0);
    cr_assert_eq(close(fd), 0);
}

FIBER_TEST(serve_stop, without_the_failed_hook_a_handlers_failure_is_unhandled)
{
    struct told told = {0};
    struct site site;

    coil_unhandled_set(note_unhandled, &told);
    site_open(&site, fail);
    fail_once(&site, -EILSEQ);
    cr_assert_eq(told.count, 1);
    cr_assert_eq(told.result, -EILSEQ);
}

FIBER_TEST(serve_stop, with_the_failed_hook_nothing_is_unhandled)
{
    struct told told = {0};
    struct site site;

    coil_unhandled_set(note_unhandled, &told);
    site_open(&site, fail);
    site.options.failed = note_failure;
    fail_once(&site, -EILSEQ);
    cr_assert_eq(site.failure, -EILSEQ);
    cr_assert_eq(site.failed, 1);
    cr_assert_eq(told.count, 0);
}

FIBER_TEST(serve_stop, that_a_peer_went_away_is_told_to_the_failed_hook_only)
{
    const int results[] = {-ECONNRESET, -EPIPE};
    struct told told = {0};
    struct site site;

    coil_unhandled_set(note_unhandled, &told);
    for (int i = 0; i < 2; i++) {
        site_open(&site, fail);
        fail_once(&site, results[i]);
        cr_assert_eq(told.count, 0);

        site_open(&site, fail);
        site.options.failed = note_failure;
        fail_once(&site, results[i]);
        cr_assert_eq(site.failure, results[i]);
    }
}

FIBER_TEST(serve_stop, a_close_that_fails_is_not_a_handlers_failure)
{
    struct site site;
    int fd;

    site_open_unix(&site, leave_a_tail);
    site.options.failed = note_failure;
    site_start(&site);
    fd = stall(&site);
    cr_assert_eq(close(fd), 0);
    site_stop(&site);
    cr_assert_eq(site.failed, 0);
}

/* ---- Options without their initialiser ---- */

FIBER_TEST(serve_stop, options_without_their_initialiser_are_refused)
{
    const coil_listen_options listen_options = {.backlog = 1};
    coil_listener *listener = NULL;
    struct site site;

    cr_assert_eq(coil_listen("127.0.0.1:0", &listen_options, &listener), -EINVAL);
    cr_assert_null(listener);
    site_open(&site, finish_at_once);
    site.options = (coil_serve_options){.concurrency = 1};
    coil_serve_stop(site.listener);
    cr_assert_eq(site_serve(&site), -EINVAL);
    coil_listener_close(site.listener);
}

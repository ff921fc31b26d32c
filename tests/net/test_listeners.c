/* SPDX-License-Identifier: MIT */
/* Servers on all cores: one port for all, connections on several cores, and every way in which they
 * stop together.
 *
 * What runs on other cores reports by its result or through atomics: Criterion's assertions belong
 * to main's thread.
 */
#include <coil/listeners.h>

#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>

#include "base/alloc.h"
#include "core/run.h"
#include "support/fiber_test.h"

enum {
    CORES = 3,
    CLIENTS = 60,
    ALLOCATIONS_MAX = 40,
};

#define CORES_TEST(name) \
 FIBER_TEST_WITH(listeners, name, (&(coil_options){.size = sizeof(coil_options), .cores = CORES}))

struct server {
    coil_listeners *listeners;
    coil_serve_options options;
    atomic_int served[CORES];
    atomic_int inside;
    int (*handler)(coil_stream *stream, void *arg);
    char address[COIL_ADDRESS_SIZE];
    coil_fiber *fiber;
};

static int echo(coil_stream *stream, void *arg)
{
    struct server *server = arg;
    char line[64];
    ssize_t n;

    server->served[coil_core()]++;
    server->inside++;
    do {
        coil_stream_idle(stream);
        n = coil_read_line(stream, line, sizeof line);
    } while (n > 0 && coil_write(stream, line, (size_t)n) == 0);
    server->inside--;
    return (int)n;
}

static int serve(void *arg)
{
    struct server *server = arg;

    return coil_serve_cores(server->listeners, server->handler, server, &server->options);
}

static void start_server(struct server *server, coil_handler *handler)
{
    server->handler = handler;
    server->options.size = sizeof server->options;
    cr_assert_eq(coil_listen_cores("127.0.0.1:0", NULL, &server->listeners), 0);
    cr_assert_gt(coil_listeners_address(server->listeners, server->address, COIL_ADDRESS_SIZE), 0);
    server->fiber = spawn_until_parked(serve, server);
}

static int end_server(struct server *server)
{
    const int result = join_and_drop(server->fiber);

    coil_listeners_close(server->listeners);
    return result;
}

static coil_stream *client_of(const struct server *server)
{
    coil_stream *stream = NULL;

    cr_assert_eq(coil_connect(server->address, NULL, &stream), 0);
    return stream;
}

static void exchange(coil_stream *stream)
{
    char line[64];

    cr_assert_geq(coil_write(stream, "hello\n", 6), 0);
    cr_assert_eq(coil_read_line(stream, line, sizeof line), 6);
    cr_assert_str_eq(line, "hello\n");
}

/* ---- Serving ---- */

CORES_TEST(one_port_is_served_by_several_cores)
{
    struct server server = {.listeners = NULL};
    coil_stream *clients[CLIENTS];
    int cores = 0;
    int sum = 0;

    start_server(&server, echo);
    for (int i = 0; i < CLIENTS; i++)
        clients[i] = client_of(&server);
    for (int i = 0; i < CLIENTS; i++)
        exchange(clients[i]);
    for (int i = 0; i < CORES; i++) {
        cores += server.served[i] > 0;
        sum += server.served[i];
    }
    cr_assert_eq(sum, CLIENTS);
    cr_assert_gt(cores, 1, "all on one core has a chance of 1 in 3^59");

    coil_serve_cores_stop(server.listeners);
    coil_serve_cores_stop(server.listeners);
    cr_assert_eq(join_and_drop(server.fiber), 0);
    cr_assert_eq(server.inside, 0, "idle connections end at a stop");
    for (int i = 0; i < CLIENTS; i++) {
        char byte;

        cr_assert_eq(coil_read(clients[i], &byte, 1), 0);
        cr_assert_eq(coil_close(clients[i]), 0);
    }
    coil_listeners_close(server.listeners);
}

FIBER_TEST(listeners, one_core_is_enough)
{
    struct server server = {.listeners = NULL};
    coil_stream *client;

    start_server(&server, echo);
    client = client_of(&server);
    exchange(client);
    cr_assert_eq(coil_serve_cores(server.listeners, echo, &server, NULL), -EBUSY);
    coil_serve_cores_stop(server.listeners);
    cr_assert_eq(end_server(&server), 0);
    cr_assert_eq(coil_close(client), 0);
}

/* ---- Stopping ---- */

static int stop_all(coil_stream *stream, void *arg)
{
    struct server *server = arg;
    char byte;

    coil_serve_cores_stop(server->listeners);
    return (int)coil_read(stream, &byte, 1); /* what is under way may finish */
}

CORES_TEST(a_handler_on_any_core_may_stop_all)
{
    struct server server = {.listeners = NULL};
    coil_stream *client;

    start_server(&server, stop_all);
    client = client_of(&server);
    cr_assert_geq(coil_write(client, "x", 1), 0);
    cr_assert_eq(coil_flush(client), 0);
    cr_assert_eq(end_server(&server), 0);
    cr_assert_eq(coil_close(client), 0);
}

static int hold(coil_stream *stream, void *arg)
{
    struct server *server = arg;
    int result;

    (void)stream;
    server->inside++;
    result = coil_sleep(COIL_NEVER);
    server->inside--;
    return result == -ECANCELED ? 0 : 1;
}

CORES_TEST(a_signal_stops_all_gracefully)
{
    struct server server = {.options = {.stop_on_signals = true}};
    coil_stream *client;

    start_server(&server, echo);
    client = client_of(&server);
    exchange(client);
    cr_assert_eq(raise(SIGTERM), 0);
    cr_assert_eq(end_server(&server), 0);
    cr_assert_eq(server.inside, 0);
    cr_assert_eq(coil_close(client), 0);
}

CORES_TEST(a_signal_before_the_servers_begin_is_kept_if_the_listeners_are_asked_to)
{
    coil_listen_options options = COIL_LISTEN_OPTIONS_INIT;
    struct sigaction now;
    coil_listeners *listeners;

    options.stop_on_signals = true;
    cr_assert_eq(coil_listen_cores("127.0.0.1:0", &options, &listeners), 0);
    cr_assert_eq(raise(SIGTERM), 0);
    cr_assert_eq(coil_serve_cores(listeners, echo, NULL, NULL), 0);
    coil_listeners_close(listeners);
    cr_assert_eq(sigaction(SIGTERM, NULL, &now), 0);
    cr_assert_eq(now.sa_handler, SIG_DFL);
}

CORES_TEST(a_second_signal_cancels_what_runs_on_all_cores)
{
    const struct sigaction ignore = {.sa_handler = SIG_IGN};
    struct server server = {.options = {.stop_on_signals = true}};
    coil_stream *clients[CORES];

    (void)sigaction(SIGTERM, &ignore, NULL); /* beneath the server's own */
    start_server(&server, hold);
    for (int i = 0; i < CORES; i++)
        clients[i] = client_of(&server);
    while (server.inside < CORES)
        coil_yield();
    while (server.fiber->tcb) {
        cr_assert_eq(raise(SIGTERM), 0); /* two that come together are one */
        coil_yield();
    }
    cr_assert_eq(end_server(&server), 0);
    cr_assert_eq(server.inside, 0);
    for (int i = 0; i < CORES; i++)
        cr_assert_eq(coil_close(clients[i]), 0);
}

CORES_TEST(an_interruption_cancels_all)
{
    struct server server = {.listeners = NULL};
    coil_stream *client;

    start_server(&server, echo);
    client = client_of(&server);
    exchange(client);
    coil_cancel(server.fiber);
    cr_assert_eq(end_server(&server), -ECANCELED);
    cr_assert_eq(server.inside, 0);
    cr_assert_eq(coil_close(client), 0);
}

static int fail_on_core_1(coil_listener *listener, void *arg)
{
    struct server *server = arg;

    if (coil_core() == 1)
        return -EIO;
    return coil_serve(listener, echo, server, NULL);
}

CORES_TEST(the_first_failure_stops_the_others_and_is_returned)
{
    struct server server = {.listeners = NULL};

    cr_assert_eq(coil_listen_cores("127.0.0.1:0", NULL, &server.listeners), 0);
    cr_assert_eq(coil_listeners_run(server.listeners, fail_on_core_1, &server, false), -EIO);
    coil_listeners_close(server.listeners);
}

/* ---- A stop from a thread that is held up between its posts, and a close meanwhile ---- */

struct stopper {
    coil_listeners *listeners;
    int rings; /* until it is held up */
    pthread_t thread;
    coil_fiber *closer;
};

static struct coil__engine_ops held_ops;
static const struct coil__engine_ops *real_ops;
static coil__engine_open *real_open;
static _Thread_local int rings_left;
static atomic_bool is_held;
static atomic_bool is_let_go;

static void ring_and_hold(struct coil__engine *engine)
{
    real_ops->wake(engine);
    if (rings_left == 0 || --rings_left > 0)
        return;
    is_held = true;
    while (!is_let_go)
        (void)sched_yield();
}

static int open_with_held_bell(const struct coil__engine_options *options,
                               struct coil__engine **ret_engine, char *ret_why)
{
    const int result = real_open(options, ret_engine, ret_why);

    if (result == 0)
        (*ret_engine)->ops = &held_ops;
    return result;
}

static int note_engine(void *arg)
{
    (void)arg;
    real_ops = coil__sched_this->engine->ops;
    return 0;
}

static void run_with_held_bell(int (*body)(void *), struct stopper *stopper)
{
    const coil_options options = {.size = sizeof options, .cores = CORES};

    cr_assert_eq(fiber_test_coil_run(note_engine, NULL, NULL, NULL), 0, "chooses the engine");
    held_ops = *real_ops;
    held_ops.wake = ring_and_hold;
    real_open = coil__run_engine_open;
    coil__run_engine_open = open_with_held_bell;
    cr_assert_eq(coil_run(body, stopper, &options, NULL), 0);
    coil__run_engine_open = real_open;
}

static void *stop_and_be_held(void *arg)
{
    struct stopper *stopper = arg;

    rings_left = stopper->rings;
    coil_serve_cores_stop(stopper->listeners);
    return NULL;
}

static int close_listeners(void *arg)
{
    coil_listeners_close(arg);
    return 0;
}

static void close_while_held(struct stopper *stopper, int rings)
{
    stopper->rings = rings;
    cr_assert_eq(coil_listen_cores("127.0.0.1:0", NULL, &stopper->listeners), 0);
    cr_assert_eq(pthread_create(&stopper->thread, NULL, stop_and_be_held, stopper), 0);
    while (!is_held)
        coil_yield();
    stopper->closer = spawn_until_parked(close_listeners, stopper->listeners);
}

static int count_core(void *arg)
{
    (void)arg;
    return 0;
}

static int close_before_the_second_post(void *arg)
{
    struct stopper *stopper = arg;

    close_while_held(stopper, 1);
    for (int i = 0; i < 50; i++) /* enough for a close that waits for nothing */
        cr_assert_eq(coil_each_core(count_core, NULL), 0);
    cr_assert_not_null(stopper->closer->tcb, "closed under a stop");
    is_let_go = true;
    cr_assert_eq(join_and_drop(stopper->closer), 0);
    return pthread_join(stopper->thread, NULL);
}

Test(listeners, a_close_waits_for_stops_that_are_on_their_way, .timeout = 60)
{
    struct stopper stopper = {.listeners = NULL};

    run_with_held_bell(close_before_the_second_post, &stopper);
}

static int close_after_the_last_post(void *arg)
{
    struct stopper *stopper = arg;

    close_while_held(stopper, CORES);
    cr_assert_eq(join_and_drop(stopper->closer), 0);
    is_let_go = true;
    return pthread_join(stopper->thread, NULL);
}

Test(listeners, a_stop_does_not_look_back_after_its_last_post, .timeout = 60)
{
    struct stopper stopper = {.listeners = NULL};

    run_with_held_bell(close_after_the_last_post, &stopper);
}

/* ---- Refusals ---- */

CORES_TEST(what_cannot_be_listened_on_leaves_nothing)
{
    coil_listeners *listeners = NULL;
    coil_listener *other;
    char address[COIL_ADDRESS_SIZE];
    char long_address[COIL_ADDRESS_SIZE + 10];

    cr_assert_eq(coil_listen("127.0.0.1:0", NULL, &other), 0);
    cr_assert_gt(coil_listener_address(other, address, sizeof address), 0);
    cr_assert_eq(coil_listen_cores(address, NULL, &listeners), -EADDRINUSE);
    coil_listener_close(other);

    memset(long_address, '1', sizeof long_address);
    long_address[sizeof long_address - 1] = '\0';
    cr_assert_eq(coil_listen_cores(long_address, NULL, &listeners), -EINVAL);
    cr_assert_eq(coil_listen_cores("nonsense", NULL, &listeners), -EINVAL);
    cr_assert_eq(coil_listen_cores("unix:/tmp/x", NULL, &listeners), -EOPNOTSUPP);
    cr_assert_null(listeners);
    coil_listeners_close(NULL);
}

/* On one core: the others have their own business with the allocator meanwhile. */
FIBER_TEST(listeners, the_nth_allocation_fails_cleanly_for_each_n)
{
    coil_listeners *listeners = NULL;
    int64_t blocks;
    int n;

    cr_assert_eq(coil_listen_cores("127.0.0.1:0", NULL, &listeners), 0);
    coil_listeners_close(listeners);
    blocks = coil__alloc_live_count();
    for (n = 0; n < ALLOCATIONS_MAX; n++) {
        const int fds = count_fds();
        int result;

        listeners = NULL;
        coil__alloc_fail_after(n);
        result = coil_listen_cores("127.0.0.1:0", NULL, &listeners);
        coil__alloc_fail_after(-1);
        coil_listeners_close(listeners);
        cr_assert_eq(coil__alloc_live_count(), blocks, "allocation %d", n);
        cr_assert_eq(count_fds(), fds, "allocation %d", n);
        if (result == 0)
            break;
        cr_assert_eq(result, -ENOMEM);
        cr_assert_null(listeners);
    }
    cr_assert_gt(n, 1);
    cr_assert_lt(n, ALLOCATIONS_MAX);
}

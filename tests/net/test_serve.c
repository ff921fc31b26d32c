/* SPDX-License-Identifier: MIT */
/* coil_serve(): everybody is served within the limit, and a stop loses nothing that it need not. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "net/listener.h"
#include "net/serve_fixture.h"

TestSuite(serve, .timeout = 60);

/* ---- Handlers ---- */

/* Echoes lines; between two of them the connection is idle. */
static int echo(coil_stream *stream, void *arg)
{
    struct site *site = arg;
    char line[64];
    ssize_t n;

    came(site);
    for (;;) {
        coil_stream_idle(stream);
        n = coil_read_line(stream, line, sizeof line);
        if (n <= 0)
            break;
        coil_yield();
        (void)coil_write(stream, line, (size_t)n);
    }
    went(site);
    return (int)n;
}

/* ---- Clients ---- */

struct client {
    const char *address;
    int id;
};

static int ask_and_check(void *arg)
{
    const struct client *client = arg;
    coil_stream *stream;
    char question[32];
    char answer[32];
    int result = coil_connect(client->address, NULL, &stream);

    if (result < 0)
        return result;
    for (int i = 0; i < 3; i++) {
        ssize_t n;

        (void)snprintf(question, sizeof question, "%d.%d\n", client->id, i);
        (void)coil_write(stream, question, strlen(question));
        n = coil_read_line(stream, answer, sizeof answer);
        if (n < 0)
            result = (int)n;
        else if (strcmp(answer, question) != 0)
            result = -EILSEQ;
    }
    (void)coil_close(stream);
    return result;
}

static void serve_clients(struct site *site, int count)
{
    struct client *clients = calloc((size_t)count, sizeof *clients);
    coil_fiber **fibers = calloc((size_t)count, sizeof(coil_fiber *));

    for (int i = 0; i < count; i++) {
        clients[i] = (struct client){site->address, i};
        cr_assert_eq(coil_spawn(ask_and_check, &clients[i], &fibers[i]), 0);
    }
    for (int i = 0; i < count; i++)
        cr_assert_eq(join_and_drop(fibers[i]), 0, "client %d", i);
    free(clients);
    free(fibers);
}

/* ---- The limit ---- */

FIBER_TEST(serve, one_place_serves_a_hundred_clients_one_after_the_other)
{
    struct site site;

    site_open(&site, echo);
    site.options.concurrency = 1;
    site_start(&site);
    serve_clients(&site, 100);
    site_stop(&site);
    cr_assert_eq(site.served, 100);
    cr_assert_eq(site.running_max, 1);
}

FIBER_TEST(serve, a_hundred_clients_get_through_a_backlog_of_one)
{
    const coil_listen_options options = {.size = sizeof options, .backlog = 1};
    struct site site;

    site_open_unix(&site, echo);
    coil_listener_close(site.listener);
    cr_assert_eq(coil_listen(site.address, &options, &site.listener), 0);
    site.options.concurrency = 3;
    site_start(&site);
    serve_clients(&site, 100);
    site_stop(&site);
    cr_assert_eq(site.served, 100);
    cr_assert_eq(site.running_max, 3);
}

FIBER_TEST(serve, the_limit_is_used_and_not_exceeded)
{
    struct site site;

    site_open(&site, echo);
    site.options.concurrency = 7;
    site_start(&site);
    serve_clients(&site, 100);
    site_stop(&site);
    cr_assert_eq(site.served, 100);
    cr_assert_eq(site.running_max, 7);
}

FIBER_TEST(serve, many_are_served_at_a_time)
{
    struct site site;
    char text[8];
    int fds[150];

    site_open(&site, echo);
    site_start(&site);
    for (int i = 0; i < 150; i++)
        fds[i] = dial(site.address);
    until_running(&site, 150);
    for (int i = 0; i < 150; i++) {
        write_text(fds[i], "x\n");
        cr_assert_eq(shutdown(fds[i], SHUT_WR), 0);
    }
    until_running(&site, 0);
    site_stop(&site);
    for (int i = 0; i < 150; i++) {
        cr_assert_eq(read_fd(fds[i], text, sizeof text), 2);
        cr_assert_eq(close(fds[i]), 0);
    }
}

FIBER_TEST_WITH(serve, a_shortage_of_fibers_delays_and_drops_nobody,
                (&(coil_options){.size = sizeof(coil_options), .fibers_max = 10}))
{
    struct site site;
    int fds[30];
    char answer[8];

    site_open(&site, echo);
    site_start(&site);
    for (int i = 0; i < 30; i++) {
        fds[i] = dial(site.address);
        write_text(fds[i], "hello\n");
        cr_assert_eq(shutdown(fds[i], SHUT_WR), 0);
    }
    while (site.served < 30)
        cr_assert_eq(coil_sleep(COIL_MS(1)), 0);
    site_stop(&site);
    for (int i = 0; i < 30; i++) {
        cr_assert_eq(read_fd(fds[i], answer, sizeof answer), 6);
        cr_assert_eq(close(fds[i]), 0);
    }
    cr_assert_leq(site.running_max, 8);
}

/* ---- Stopping ---- */

FIBER_TEST(serve, a_stop_ends_idle_connections_at_once)
{
    struct site site;
    int fds[10];
    char byte;

    site_open(&site, echo);
    site_start(&site);
    for (int i = 0; i < 10; i++)
        fds[i] = dial(site.address);
    until_running(&site, 10);
    site_stop(&site);
    for (int i = 0; i < 10; i++) {
        cr_assert_eq(read_fd(fds[i], &byte, 1), 0);
        cr_assert_eq(close(fds[i]), 0);
    }
}

FIBER_TEST(serve, a_stop_answers_a_request_that_was_sent_before)
{
    struct site site;
    char text[16];
    int fd;

    site_open(&site, echo);
    site_start(&site);
    fd = dial(site.address);
    until_running(&site, 1);
    write_text(fd, "late\n");
    site_stop(&site);
    cr_assert_eq(read_fd(fd, text, sizeof text), 5);
    cr_assert_eq(close(fd), 0);
}

FIBER_TEST(serve, a_stop_lets_what_is_under_way_finish)
{
    struct site site;
    char text[16];
    int fd;

    site_open(&site, wait_for_line);
    site_start(&site);
    fd = dial(site.address);
    until_running(&site, 1);
    coil_serve_stop(site.listener);
    coil_serve_stop(site.listener);
    cr_assert_eq(coil_sleep(COIL_MS(5)), 0);
    cr_assert_eq(site.running, 1, "the grace is 30 s");
    write_text(fd, "line\n");
    cr_assert_eq(site_end(&site), 0);
    cr_assert_eq(read_fd(fd, text, sizeof text), 5);
    cr_assert_eq(close(fd), 0);
}

FIBER_TEST(serve, a_stop_cancels_what_outlives_the_grace)
{
    struct site site;
    int fd;

    site_open(&site, wait_for_line);
    site.options.grace = COIL_MS(20);
    site.options.failed = note_failure;
    site_start(&site);
    fd = dial(site.address);
    until_running(&site, 1);
    site_stop(&site);
    cr_assert_eq(site.failure, -ECANCELED);
    cr_assert_eq(site.failed, 1);
    cr_assert_eq(close(fd), 0);
}

FIBER_TEST(serve, every_connection_that_the_kernel_handed_over_before_a_stop_is_served)
{
    enum {
        COUNT = 50
    };

    for (int round = 0; round < 5; round++) {
        struct site site;
        unsigned answered = 0;
        int fds[COUNT];
        char text[16];

        site_open(&site, wait_for_line);
        site_start(&site);
        for (int i = 0; i < COUNT; i++) {
            fds[i] = dial(site.address);
            write_text(fds[i], "line\n");
        }
        for (int turns = 0; turns < round; turns++)
            cr_assert_eq(coil_sleep(0), 0);
        coil_serve_stop(site.listener);
        cr_assert_eq(join_and_drop(site.fiber), 0);
        cr_assert_eq(site.listener->queue_count, 0, "nobody is left behind");
        cr_assert(!site.listener->is_active, "nothing more can come");
        coil_listener_close(site.listener);
        for (int i = 0; i < COUNT; i++) {
            answered += read_fd(fds[i], text, 5) == 5;
            cr_assert_eq(close(fds[i]), 0);
        }
        cr_assert_eq(answered, site.served);
    }
}

FIBER_TEST(serve, a_stopped_listener_takes_no_more)
{
    struct site site;
    coil_stream *stream = NULL;

    site_open(&site, echo);
    site_start(&site);
    coil_serve_stop(site.listener);
    cr_assert_eq(join_and_drop(site.fiber), 0);
    cr_assert_eq(coil_accept(site.listener, &stream), -ESHUTDOWN);
    cr_assert_null(stream);
    coil_serve_stop(site.listener);
    coil_listener_close(site.listener);
}

/* ---- Interruptions ---- */

struct timed_site {
    struct site site;
    coil_time time;
    int result;
};

static int serve_for_time(void *arg)
{
    struct timed_site *timed = arg;
    coil_scope scope;

    coil_scope_enter(&scope, timed->time);
    timed->result = site_serve(&timed->site);
    cr_assert(coil_scope_leave(&scope));
    return timed->result;
}

/* Serves until a deadline that passes after the only handler has begun, and not before. */
static void serve_beyond_deadline(bool stops_first)
{
    bool was_running = false;

    for (coil_time time = COIL_MS(20); !was_running; time *= 2) {
        struct timed_site timed = {.time = time};
        struct site *site = &timed.site;
        int fd;

        site_open(site, wait_for_line);
        site->options.failed = note_failure;
        site->fiber = spawn_until_parked(serve_for_time, &timed);
        fd = dial(site->address);
        while (timed.result == 0 && site->running == 0)
            coil_yield();
        was_running = site->running == 1;
        if (stops_first)
            coil_serve_stop(site->listener);
        cr_assert_eq(site_end(site), -ETIMEDOUT);
        cr_assert(!was_running || site->failure == -ECANCELED);
        cr_assert_eq(close(fd), 0);
    }
}

FIBER_TEST(serve, a_deadline_ends_the_server_and_cancels_what_runs)
{
    serve_beyond_deadline(false);
}

FIBER_TEST(serve, a_deadline_that_passes_during_the_grace_cuts_it_short)
{
    serve_beyond_deadline(true);
}

FIBER_TEST(serve, cancelling_the_server_at_its_limit_cancels_what_runs)
{
    struct site site;
    int fd;

    site_open(&site, wait_for_line);
    site.options.concurrency = 1;
    site_start(&site);
    fd = dial(site.address);
    until_running(&site, 1);
    coil_cancel(site.fiber);
    cr_assert_eq(site_end(&site), -ECANCELED);
    cr_assert_eq(close(fd), 0);
}

FIBER_TEST(serve, a_listener_is_served_once_at_a_time)
{
    struct site site;

    site_open(&site, echo);
    site_start(&site);
    cr_assert_eq(coil_serve(site.listener, echo, &site, NULL), -EBUSY);
    site_stop(&site);
}

/* ---- Signals ---- */

static volatile sig_atomic_t caught;

static void catch_signal(int number)
{
    caught = number;
}

FIBER_TEST(serve, sigterm_stops_gracefully_and_the_old_handlers_come_back)
{
    struct sigaction action = {.sa_handler = catch_signal};
    struct sigaction now;
    struct site site;
    char text[16];
    int fd;

    cr_assert_eq(sigaction(SIGTERM, &action, NULL), 0);
    cr_assert_neq(signal(SIGINT, SIG_DFL), SIG_ERR);
    site_open(&site, wait_for_line);
    site.options.stop_on_signals = true;
    site_start(&site);
    fd = dial(site.address);
    until_running(&site, 1);
    cr_assert_eq(kill(getpid(), SIGTERM), 0);
    while (site.listener->error == 0)
        coil_yield();
    cr_assert_eq(site.running, 1);
    write_text(fd, "line\n");
    cr_assert_eq(site_end(&site), 0);
    cr_assert_eq(read_fd(fd, text, sizeof text), 5);
    cr_assert_eq(close(fd), 0);
    cr_assert_eq(caught, 0, "the server's, while it runs");

    cr_assert_eq(sigaction(SIGTERM, NULL, &now), 0);
    cr_assert_eq(now.sa_handler, catch_signal);
    cr_assert_eq(sigaction(SIGINT, NULL, &now), 0);
    cr_assert_eq(now.sa_handler, SIG_DFL);
    cr_assert_eq(kill(getpid(), SIGTERM), 0);
    while (caught == 0)
        coil_yield();
    cr_assert_eq(caught, SIGTERM);
}

FIBER_TEST(serve, a_second_signal_cancels_what_runs)
{
    struct site site;
    int fd;

    site_open(&site, wait_for_line);
    site.options.stop_on_signals = true;
    site.options.failed = note_failure;
    site_start(&site);
    fd = dial(site.address);
    until_running(&site, 1);
    cr_assert_eq(kill(getpid(), SIGINT), 0);
    while (site.listener->error == 0)
        coil_yield();
    cr_assert_eq(site.running, 1);
    cr_assert_eq(kill(getpid(), SIGTERM), 0);
    cr_assert_eq(site_end(&site), 0);
    cr_assert_eq(site.failure, -ECANCELED);
    cr_assert_eq(close(fd), 0);
}

FIBER_TEST(serve, a_signal_stops_every_server_that_asked)
{
    struct site sites[3];

    for (int i = 0; i < 3; i++) {
        site_open(&sites[i], echo);
        sites[i].options.stop_on_signals = i < 2;
        site_start(&sites[i]);
    }
    cr_assert_eq(kill(getpid(), SIGTERM), 0);
    cr_assert_eq(site_end(&sites[0]), 0);
    cr_assert_eq(site_end(&sites[1]), 0);
    cr_assert_not_null(sites[2].fiber->tcb);
    site_stop(&sites[2]);
}

FIBER_TEST(serve, a_server_that_ends_leaves_the_signals_to_those_that_still_watch)
{
    struct site sites[2];

    for (int i = 0; i < 2; i++) {
        site_open(&sites[i], echo);
        sites[i].options.stop_on_signals = true;
        site_start(&sites[i]);
    }
    site_stop(&sites[0]);
    cr_assert_eq(kill(getpid(), SIGTERM), 0);
    cr_assert_eq(site_end(&sites[1]), 0);
}

FIBER_TEST(serve, a_stop_without_a_signal_ends_the_watch_too)
{
    struct sigaction now;
    struct site site;

    site_open(&site, echo);
    site.options.stop_on_signals = true;
    site_start(&site);
    site_stop(&site);
    cr_assert_eq(sigaction(SIGTERM, NULL, &now), 0);
    cr_assert_eq(now.sa_handler, SIG_DFL);
}

/* SPDX-License-Identifier: MIT */
/* The HTTP server on all cores: every request is answered, and a stop ends all of them; and
 * what it serves can't be moved to another core meanwhile. */
#include <signal.h>
#include <stdatomic.h>
#include <sys/socket.h>
#include <unistd.h>

#include "support/fiber_test.h"

enum {
    CORES = 3,
    REQUESTS = 40,
};

struct site {
    coil_listeners *listeners;
    atomic_int answered[CORES];
};

static int answer(coil_http_request *request, void *arg)
{
    struct site *site = arg;

    site->answered[coil_core()]++;
    return coil_http_respond(request, 200, "text/plain", "hello", 5);
}

static int serve(void *arg)
{
    struct site *site = arg;

    return coil_http_serve_cores(site->listeners, answer, site, NULL);
}

static void get(const char *address)
{
    coil_stream *stream;
    char line[128];

    cr_assert_eq(coil_connect(address, NULL, &stream), 0);
    cr_assert_geq(coil_printf(stream, "GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"), 0);
    cr_assert_gt(coil_read_line(stream, line, sizeof line), 0);
    cr_assert_str_eq(line, "HTTP/1.1 200 OK\r\n");
    (void)coil_close(stream);
}

FIBER_TEST_WITH(server_cores, requests_are_answered_on_several_cores,
                (&(coil_options){.size = sizeof(coil_options), .cores = CORES}))
{
    struct site site = {.listeners = NULL};
    char address[COIL_ADDRESS_SIZE];
    coil_fiber *fiber;
    int cores = 0;
    int sum = 0;

    cr_assert_eq(coil_listen_cores("127.0.0.1:0", NULL, &site.listeners), 0);
    cr_assert_gt(coil_listeners_address(site.listeners, address, sizeof address), 0);
    fiber = spawn_until_parked(serve, &site);
    for (int i = 0; i < REQUESTS; i++)
        get(address);
    coil_serve_cores_stop(site.listeners);
    cr_assert_eq(join_and_drop(fiber), 0);
    coil_listeners_close(site.listeners);

    for (int i = 0; i < CORES; i++) {
        cores += site.answered[i] > 0;
        sum += site.answered[i];
    }
    cr_assert_eq(sum, REQUESTS);
    cr_assert_gt(cores, 1);
}

FIBER_TEST(server_cores, impossible_options_are_refused)
{
    const coil_http_options options = {.size = sizeof options, .server_name = "a\nb"};
    const coil_http_options uninitialised = {.server_name = "x"};
    struct site site = {.listeners = NULL};

    cr_assert_eq(coil_listen_cores("127.0.0.1:0", NULL, &site.listeners), 0);
    cr_assert_eq(coil_http_serve_cores(site.listeners, answer, &site, &options), -EINVAL);
    cr_assert_eq(coil_http_serve_cores(site.listeners, answer, &site, &uninitialised), -EINVAL);
    coil_listeners_close(site.listeners);
}

/* ---- Moving the connection ---- */

static int move_away(coil_stream *stream, void *arg)
{
    (void)stream;
    (void)arg;
    return 0;
}

static int answer_and_move(coil_http_request *request, void *arg)
{
    return coil_stream_move(arg, 0, move_away, request);
}

static int answer_and_close(coil_http_request *request, void *arg)
{
    (void)request;
    return coil_close(arg);
}

static void serve_one_request(coil_http_app *application)
{
    static const char request[] = "GET / HTTP/1.1\r\nHost: x\r\n\r\n";
    coil_stream *server;
    int fd;

    stream_and_fd(&server, &fd);
    cr_assert_eq(write(fd, request, sizeof request - 1), (ssize_t)sizeof request - 1);
    cr_assert_eq(coil_http_serve_stream(server, application, server, NULL), 0);
}

static void move_within_the_application(void)
{
    serve_one_request(answer_and_move);
}

Test(server_cores, moving_the_connection_within_the_application_stops_the_program,
     .signal = SIGABRT)
{
    fiber_test_run(move_within_the_application, NULL);
}

static void close_within_the_application(void)
{
    serve_one_request(answer_and_close);
}

Test(server_cores, closing_the_connection_within_the_application_stops_the_program,
     .signal = SIGABRT)
{
    fiber_test_run(close_within_the_application, NULL);
}

FIBER_TEST(server_cores, the_connection_can_be_moved_when_its_requests_have_been_served)
{
    struct site site = {.listeners = NULL};
    coil_stream *server;
    int fd;

    stream_and_fd(&server, &fd);
    cr_assert_eq(shutdown(fd, SHUT_WR), 0);
    cr_assert_eq(coil_http_serve_stream(server, answer, &site, NULL), 0);
    cr_assert_eq(coil_stream_move(server, 0, move_away, NULL), 0);
    while (recv(fd, &(char){0}, 1, MSG_DONTWAIT) < 0)
        coil_yield();
    cr_assert_eq(close(fd), 0);
}

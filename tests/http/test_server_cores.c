/* SPDX-License-Identifier: MIT */
/* The HTTP server on all cores: every request is answered, and a stop ends all of them. */
#include <stdatomic.h>

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

/* SPDX-License-Identifier: MIT */
/* Connections of the HTTP client: which are kept, which replaced, how many at a time, and what an
 * interruption gives back. */
#include "http/client_fixture.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>

#define OK(length, body) "HTTP/1.1 200 OK\r\nContent-Length: " #length "\r\n\r\n" body

FIBER_TEST(client_pool, a_connection_is_used_again_after_a_whole_body)
{
    coil_http_client *client = client_new();
    struct server server;
    char text[8];
    const struct play play = {
        .replies = {OK(1, "1"),
                    "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\n2\r\n0\r\n\r\n",
                    "HTTP/1.1 304 Not Modified\r\nContent-Length: 100\r\n\r\n", OK(1, "4")},
    };

    server_start(&server, &play, 1);
    cr_expect_eq(get_text(client, &server, "/", NULL, 0), 200);
    cr_expect_eq(get_text(client, &server, "/", text, sizeof text), 200);
    cr_expect_str_eq(text, "2");
    cr_expect_eq(get_text(client, &server, "/", NULL, 0), 304);
    cr_expect_eq(get_text(client, &server, "/", text, sizeof text), 200);
    cr_expect_str_eq(text, "4");
    server_join(&server);
    cr_expect_eq(server.connections, 1);
    coil_http_client_free(client);
}

FIBER_TEST(client_pool, a_connection_is_not_used_again_when_either_side_is_not_done_with_it)
{
    coil_http_client *client = client_new();
    coil_http_response *response;
    struct server server;
    const struct play plays[] = {
        {.replies = {OK(100, "half a body"), OK(0, "")}, .ending = ENDS_WAITING},
        {.replies = {"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n",
                     OK(0, "")},
         .ending = ENDS_WAITING},
        {.replies = {"HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n", OK(0, "")},
         .ending = ENDS_WAITING},
        {.replies = {OK(1, "1") "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nforged"},
         .ending = ENDS_WAITING},
        {.replies = {OK(0, "")}, .ending = ENDS_WAITING},
    };

    server_start(&server, plays, 5);
    cr_assert_eq(get(client, &server, "/", &response), 0);
    coil_http_response_close(response);
    for (int i = 1; i < 5; i++)
        cr_expect_eq(get_text(client, &server, "/", NULL, 0), 200);
    cr_expect_eq(server.connections, 5);
    cr_expect_eq(server.requests, 5);
    coil_http_client_free(client);
    server_join(&server);
}

FIBER_TEST(client_pool, a_kept_connection_that_the_server_closed_is_replaced_once)
{
    coil_http_client *client = client_new();
    struct server server;
    char text[8];
    const struct play plays[] = {
        {.replies = {OK(1, "1")}, .ending = ENDS_CLOSED},
        {.replies = {OK(1, "2")}, .ending = ENDS_RESET},
        {.replies = {OK(1, "3")}, .ending = ENDS_CLOSED},
    };

    server_start(&server, plays, 3);
    for (int i = 0; i < 3; i++) {
        cr_expect_eq(get_text(client, &server, "/", text, sizeof text), 200);
        cr_expect_eq(text[0], '1' + i);
        while (server.closed <= i)
            coil_yield();
    }
    server_join(&server);
    cr_expect_eq(server.connections, 3);
    cr_expect_eq(server.requests, 3);
    coil_http_client_free(client);
}

struct forger {
    coil_listener *listener;
    coil_stream *streams[2];
};

/* Answers one request on each of two connections, and leaves them open. */
static int answer_two(void *arg)
{
    struct forger *forger = arg;
    char line[256];

    for (int i = 0; i < 2; i++) {
        cr_assert_eq(coil_accept(forger->listener, &forger->streams[i]), 0);
        do
            cr_assert_gt(coil_read_line(forger->streams[i], line, sizeof line), 0);
        while (line[0] != '\r');
        cr_assert_eq(coil_printf(forger->streams[i], "%s%d", OK(1, ""), i + 1), 0);
        cr_assert_eq(coil_flush(forger->streams[i]), 0);
    }
    return 0;
}

static void fetch_after_forgery(void)
{
    static const char forgery[] = OK(1, "9");
    coil_http_client *client = client_new();
    struct forger forger;
    struct server server;
    coil_fiber *fiber;
    char address[COIL_ADDRESS_SIZE];
    char text[8];

    cr_assert_eq(coil_listen("127.0.0.1:0", NULL, &forger.listener), 0);
    cr_assert_gt(coil_listener_address(forger.listener, address, sizeof address), 0);
    (void)snprintf(server.url, sizeof server.url, "http://%s", address);
    fiber = spawn_until_parked(answer_two, &forger);
    cr_assert_eq(get_text(client, &server, "/", text, sizeof text), 200);
    /* No turn of the loop lies between its arrival and the next request. */
    cr_assert_gt(send(coil_stream_fd(forger.streams[0]), forgery, strlen(forgery), 0), 0);
    cr_assert_eq(get_text(client, &server, "/", text, sizeof text), 200);
    cr_expect_str_eq(text, "2");

    coil_http_client_free(client);
    cr_assert_eq(join_and_drop(fiber), 0);
    for (int i = 0; i < 2; i++)
        (void)coil_close(forger.streams[i]);
    coil_listener_close(forger.listener);
}

FIBER_TEST(client_pool, an_answer_that_nobody_asked_for_is_not_taken_for_the_next_one)
{
    fetch_after_forgery();
}

/* Then the ring takes bytes whenever the kernel likes, before anybody looks. */
Test(client_pool, nor_when_the_ring_has_taken_it_already, .timeout = 60)
{
    cr_assert_eq(setenv("COIL_URING_OFF", "defer_taskrun", 1), 0);
    fiber_test_run(fetch_after_forgery, NULL);
}

FIBER_TEST(client_pool, a_request_is_not_sent_again_once_a_part_of_the_answer_has_come)
{
    coil_http_client *client = client_new();
    coil_http_response *response;
    struct server server;
    const struct play plays[] = {
        {.replies = {OK(1, "1"), "HTTP/1.1 2"}},
        {.replies = {OK(1, "2")}},
    };

    server_start(&server, plays, 2);
    cr_expect_eq(get_text(client, &server, "/", NULL, 0), 200);
    cr_expect_eq(get(client, &server, "/", &response), -EPROTO);
    cr_expect_eq(server.connections, 1);
    cr_expect_eq(server.requests, 2);
    server_stop(&server);
    coil_http_client_free(client);
}

FIBER_TEST(client_pool, a_new_connection_that_is_closed_unanswered_is_an_error_at_once)
{
    coil_http_client *client = client_new();
    coil_http_response *response;
    struct server server;
    const struct play plays[] = {{.ending = ENDS_AT_ONCE}, {.replies = {OK(1, "2")}}};
    int result;

    server_start(&server, plays, 2);
    result = get(client, &server, "/", &response);
    cr_expect(result == -EPROTO || result == -ECONNRESET, "%s", coil_strerror(result));
    cr_expect_eq(server.connections, 1);
    server_stop(&server);
    coil_http_client_free(client);
}

FIBER_TEST(client_pool, too_many_and_too_old_idle_connections_are_closed)
{
    coil_http_client_options options = COIL_HTTP_CLIENT_OPTIONS_INIT;
    coil_http_client *client;
    struct server server;
    struct server other;
    const struct play plays[] = {
        {.replies = {OK(0, ""), OK(0, "")}, .ending = ENDS_WAITING},
        {.replies = {OK(0, ""), OK(0, "")}, .ending = ENDS_WAITING},
    };

    options.idle_max = 1;
    cr_assert_eq(coil_http_client_new(&options, &client), 0);
    server_start(&server, plays, 2);
    server_start(&other, plays, 2);
    cr_expect_eq(get_text(client, &server, "/", NULL, 0), 200);
    cr_expect_eq(get_text(client, &other, "/", NULL, 0), 200);
    cr_expect_eq(get_text(client, &server, "/", NULL, 0), 200);
    cr_expect_eq(server.connections, 2, "the first was pushed out by the other server's");
    coil_http_client_free(client);
    server_stop(&server);
    server_stop(&other);

    options.idle_max = 0;
    options.idle_timeout = 1;
    cr_assert_eq(coil_http_client_new(&options, &client), 0);
    server_start(&server, plays, 2);
    cr_expect_eq(get_text(client, &server, "/", NULL, 0), 200);
    cr_expect_eq(get_text(client, &server, "/", NULL, 0), 200);
    cr_expect_eq(server.connections, 2, "a nanosecond is over");
    coil_http_client_free(client);
    server_stop(&server);
}

struct job {
    coil_http_client *client;
    const struct server *server;
};

static int fetch_job(void *arg)
{
    const struct job *job = arg;

    return get_text(job->client, job->server, "/", NULL, 0);
}

FIBER_TEST(client_pool, requests_beyond_the_connections_of_a_host_wait_their_turn)
{
    coil_http_client_options options = COIL_HTTP_CLIENT_OPTIONS_INIT;
    struct job job;
    struct server server;
    coil_fiber *fibers[4];
    const struct play play = {.replies = {OK(1, "1"), OK(1, "2"), OK(1, "3"), OK(1, "4")}};

    options.per_host_max = 1;
    cr_assert_eq(coil_http_client_new(&options, &job.client), 0);
    server_start(&server, &play, 1);
    job.server = &server;
    for (int i = 0; i < 4; i++)
        fibers[i] = spawn_until_parked(fetch_job, &job);
    for (int i = 0; i < 4; i++)
        cr_expect_eq(join_and_drop(fibers[i]), 200);
    server_join(&server);
    cr_expect_eq(server.connections, 1);
    coil_http_client_free(job.client);
}

static int get_job(void *arg)
{
    const struct job *job = arg;
    coil_http_response *response;

    return get(job->client, job->server, "/", &response);
}

FIBER_TEST(client_pool, a_connect_that_fails_lets_the_next_request_try)
{
    coil_http_client_options options = COIL_HTTP_CLIENT_OPTIONS_INIT;
    struct job job;
    struct server server;
    coil_fiber *fibers[3];

    options.per_host_max = 1;
    cr_assert_eq(coil_http_client_new(&options, &job.client), 0);
    server_start_one(&server, "", ENDS_CLOSED);
    server_stop(&server);
    job.server = &server;
    for (int i = 0; i < 3; i++)
        cr_assert_eq(coil_spawn(get_job, &job, &fibers[i]), 0);
    for (int i = 0; i < 3; i++)
        cr_expect_eq(join_and_drop(fibers[i]), -ECONNREFUSED);
    coil_http_client_free(job.client);
}

/* ---- Interruptions ---- */

FIBER_TEST(client_pool, a_deadline_ends_each_wait_and_leaves_the_client_usable)
{
    coil_http_client_options options = COIL_HTTP_CLIENT_OPTIONS_INIT;
    coil_http_client *client;
    coil_http_response *first;
    coil_http_response *second;
    coil_scope scope;
    struct server server;
    const struct play plays[] = {
        {.replies = {"HTTP/1.1 200"}, .ending = ENDS_WAITING},
        {.replies = {OK(9, "1")}, .ending = ENDS_WAITING},
        {.replies = {OK(1, "3")}},
    };

    options.per_host_max = 1;
    cr_assert_eq(coil_http_client_new(&options, &client), 0);
    server_start(&server, plays, 3);
    coil_scope_enter(&scope, COIL_MS(20));
    cr_expect_eq(get(client, &server, "/", &first), -ETIMEDOUT, "half a head");
    cr_expect(coil_scope_leave(&scope));

    cr_assert_eq(get(client, &server, "/", &first), 0);
    coil_scope_enter(&scope, COIL_MS(20));
    cr_expect_eq(get(client, &server, "/", &second), -ETIMEDOUT, "no slot");
    cr_expect(coil_scope_leave(&scope));
    coil_http_response_close(first);

    cr_expect_eq(get_text(client, &server, "/", NULL, 0), 200);
    server_join(&server);
    coil_http_client_free(client);
}

FIBER_TEST(client_pool, a_cancelled_get_gives_back_all_it_held)
{
    struct job job = {.client = client_new()};
    struct server server;
    const struct play plays[] = {
        {.replies = {"HTTP/1.1 200"}, .ending = ENDS_WAITING},
        {.replies = {OK(0, "")}},
    };
    coil_fiber *fiber;

    server_start(&server, plays, 2);
    job.server = &server;
    cr_assert_eq(coil_spawn(get_job, &job, &fiber), 0);
    while (server.requests == 0)
        coil_yield();
    coil_cancel(fiber);
    cr_expect_eq(join_and_drop(fiber), -ECANCELED);
    cr_expect_eq(get_text(job.client, &server, "/", NULL, 0), 200);
    server_join(&server);
    coil_http_client_free(job.client);
}

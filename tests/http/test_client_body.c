/* SPDX-License-Identifier: MIT */
/* Bodies of responses: each framing whole, in pieces, cut short, over the limit, interrupted. */
#include "http/client_fixture.h"

#include <stdio.h>
#include <stdlib.h>

#define CHUNKED "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
#define SIZED   "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n"
#define CLOSING "HTTP/1.1 200 OK\r\n\r\n"

static const char *const whole[] = {
    SIZED "0123456789",
    CHUNKED "3;x=y\r\n012\r\n7\r\n3456789\r\n0\r\nTrailer: t\r\n\r\n",
    CLOSING "0123456789",
    "HTTP/1.0 200 OK\r\n\r\n0123456789",
};

enum {
    WHOLE_COUNT = sizeof whole / sizeof whole[0],
};

/* Reads with a buffer of `step` bytes up to the end or an error, which it returns. */
static ssize_t read_by(coil_http_response *response, size_t step, char *text, size_t *length)
{
    char buffer[64];
    ssize_t got;

    *length = 0;
    while ((got = coil_http_response_read(response, buffer, step)) > 0) {
        cr_assert_leq((size_t)got, step);
        memcpy(text + *length, buffer, (size_t)got);
        *length += (size_t)got;
    }
    text[*length] = '\0';
    return got;
}

FIBER_TEST(client_body, every_framing_gives_the_same_body_however_it_is_cut)
{
    static const size_t steps[] = {1, 3, 64};
    coil_http_client *client = client_new();

    for (int i = 0; i < WHOLE_COUNT * 6; i++) {
        const struct play play = {.replies = {whole[i / 6]}, .is_slow = i % 2};
        coil_http_response *response;
        struct server server;
        char text[128];
        size_t length;

        server_start(&server, &play, 1);
        cr_assert_eq(get(client, &server, "/", &response), 0);
        cr_expect_eq(coil_http_response_length(response), i / 6 == 0 ? 10 : -1);
        cr_expect_eq(read_by(response, steps[i / 2 % 3], text, &length), 0);
        cr_expect_str_eq(text, "0123456789");
        cr_expect_eq(coil_http_response_read(response, text, 1), 0, "stays at the end");
        coil_http_response_close(response);
        server_join(&server);
    }
    coil_http_client_free(client);
}

FIBER_TEST(client_body, the_connection_is_back_when_the_last_byte_has_been_read)
{
    coil_http_client *client = client_new();

    for (int i = 0; i < 2; i++) {
        const struct play play = {.replies = {whole[i], SIZED "abcdefghij"}};
        coil_http_response *response;
        struct server server;
        char text[128];
        size_t length;

        server_start(&server, &play, 1);
        cr_assert_eq(get(client, &server, "/", &response), 0);
        cr_expect_eq(read_by(response, 7, text, &length), 0);
        cr_expect_eq(get_text(client, &server, "/", NULL, 0), 200);
        cr_expect_eq(server.connections, 1, "while the first response is open");
        coil_http_response_close(response);
        server_join(&server);
    }
    coil_http_client_free(client);
}

FIBER_TEST(client_body, a_body_that_is_cut_short_or_broken_is_never_a_success)
{
    static const char *const broken[] = {
        SIZED "012345678",           SIZED,
        CHUNKED "3\r\n012\r\n",      CHUNKED "3\r\n01",
        CHUNKED "3\r\n012\r\n0\r\n", CHUNKED "zz\r\n",
        CHUNKED "3\r\n0123\r\n",     CHUNKED,
    };
    coil_http_client *client = client_new();

    for (size_t i = 0; i < sizeof broken / sizeof broken[0]; i++) {
        const struct play plays[] = {{.replies = {broken[i]}}, {.replies = {broken[i]}}};
        coil_http_response *response;
        const char *data = NULL;
        struct server server;
        char text[128];
        size_t length;

        server_start(&server, plays, 2);
        cr_assert_eq(get(client, &server, "/", &response), 0);
        cr_expect_eq(read_by(response, 64, text, &length), -EPROTO, "%s", broken[i]);
        cr_expect_eq(coil_http_response_read(response, text, 1), -EPROTO, "the error stays");
        coil_http_response_close(response);
        cr_assert_eq(get(client, &server, "/", &response), 0);
        cr_expect_eq(coil_http_response_body(response, 1 << 20, &data), -EPROTO);
        cr_expect_null(data);
        coil_http_response_close(response);
        server_join(&server);
        cr_expect_eq(server.connections, 2);
    }
    coil_http_client_free(client);
}

FIBER_TEST(client_body, a_reset_in_the_body_is_told_in_every_framing)
{
    static const char *const cut[] = {SIZED "012", CHUNKED "3\r\n012\r\n", CLOSING "012"};
    coil_http_client *client = client_new();

    for (int i = 0; i < 3; i++) {
        coil_http_response *response;
        struct server server;
        char text[128];
        size_t length;

        server_start_one(&server, cut[i], ENDS_WAITING);
        server.plays[0].ending = ENDS_RESET;
        cr_assert_eq(get(client, &server, "/", &response), 0);
        cr_expect_eq(coil_http_response_status(response), 200);
        cr_expect_eq(read_by(response, 64, text, &length), -ECONNRESET);
        coil_http_response_close(response);
        server_join(&server);
    }
    coil_http_client_free(client);
}

FIBER_TEST(client_body, some_statuses_have_no_body_whatever_the_head_says)
{
    coil_http_client *client = client_new();
    coil_http_response *response;
    struct server server;
    const struct play play = {
        .replies = {"HTTP/1.1 204 No Content\r\nContent-Length: 3\r\n\r\n",
                    "HTTP/1.1 304 Not Modified\r\nTransfer-Encoding: chunked\r\n\r\n",
                    "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"},
    };

    server_start(&server, &play, 1);
    for (int i = 0; i < 3; i++) {
        const char *data = NULL;
        char byte;

        cr_assert_eq(get(client, &server, "/", &response), 0);
        cr_expect_eq(coil_http_response_length(response), 0);
        cr_expect_eq(coil_http_response_read(response, &byte, 1), 0);
        cr_expect_eq(coil_http_response_body(response, 0, &data), 0);
        cr_expect_str_eq(data, "");
        coil_http_response_close(response);
    }
    server_join(&server);
    cr_expect_eq(server.connections, 1);
    coil_http_client_free(client);
}

/* ---- Limits ---- */

FIBER_TEST(client_body, a_body_of_exactly_the_limit_passes_and_one_byte_more_does_not)
{
    for (int i = 0; i < WHOLE_COUNT * 2; i++) {
        coil_http_client_options options = COIL_HTTP_CLIENT_OPTIONS_INIT;
        const struct play plays[] = {{.replies = {whole[i / 2]}}, {.replies = {whole[i / 2]}}};
        coil_http_client *client;
        coil_http_response *response;
        struct server server;
        char text[128];
        size_t length;

        options.body_max = i % 2 ? 9 : 10;
        cr_assert_eq(coil_http_client_new(&options, &client), 0);
        server_start(&server, plays, 1);
        cr_assert_eq(get(client, &server, "/", &response), 0);
        cr_expect_eq(read_by(response, 64, text, &length), i % 2 ? -EMSGSIZE : 0);
        cr_expect_leq(length, options.body_max);
        if (i == 1)
            cr_expect_eq(length, 0, "a length beyond the limit is refused before it is read");
        coil_http_response_close(response);
        server_join(&server);
        coil_http_client_free(client);
    }
}

FIBER_TEST(client_body, a_whole_body_is_kept_within_its_own_limit)
{
    coil_http_client *client = client_new();

    for (int i = 0; i < WHOLE_COUNT * 2; i++) {
        const ssize_t max = i % 2 ? 9 : 10;
        coil_http_response *response;
        const char *data = NULL;
        struct server server;

        server_start_one(&server, whole[i / 2], ENDS_CLOSED);
        cr_assert_eq(get(client, &server, "/", &response), 0);
        cr_expect_eq(coil_http_response_body(response, (size_t)max, &data),
                     max == 10 ? 10 : -EMSGSIZE);
        if (max == 10) {
            cr_expect_str_eq(data, "0123456789");
            cr_expect_eq(coil_http_response_body(response, 10, &data), 10, "the same again");
        }
        coil_http_response_close(response);
        server_join(&server);
    }
    coil_http_client_free(client);
}

FIBER_TEST(client_body, what_was_read_before_does_not_count_for_the_rest)
{
    coil_http_client *client = client_new();
    coil_http_response *response;
    const char *data;
    struct server server;
    char text[5];

    server_start_one(&server, whole[0], ENDS_CLOSED);
    cr_assert_eq(get(client, &server, "/", &response), 0);
    cr_assert_eq(coil_http_response_read(response, text, 4), 4);
    cr_assert_eq(coil_http_response_body(response, 6, &data), 6);
    cr_expect_str_eq(data, "456789");
    coil_http_response_close(response);
    server_join(&server);
    coil_http_client_free(client);
}

FIBER_TEST(client_body, a_large_body_grows_as_it_comes)
{
    enum {
        LARGE = 300000
    };

    coil_http_client *client = client_new();
    coil_http_response *response;
    struct server server;
    const char *data;
    char *reply = malloc(LARGE + 100);
    size_t head;

    cr_assert_not_null(reply);
    head = (size_t)snprintf(reply, 100, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n", LARGE);
    for (size_t i = 0; i < LARGE; i++)
        reply[head + i] = (char)('a' + i % 23);
    reply[head + LARGE] = '\0';
    server_start_one(&server, reply, ENDS_CLOSED);
    cr_assert_eq(get(client, &server, "/", &response), 0);
    cr_assert_eq(coil_http_response_body(response, LARGE, &data), LARGE);
    cr_expect_arr_eq(data, reply + head, LARGE);
    coil_http_response_close(response);
    server_join(&server);
    coil_http_client_free(client);
    free(reply);
}

FIBER_TEST(client_body, a_length_that_is_only_claimed_reserves_no_memory)
{
    coil_http_client *client = client_new();
    coil_http_response *response;
    const char *data;
    struct server server;

    server_start_one(&server, "HTTP/1.1 200 OK\r\nContent-Length: 9000000000000000000\r\n\r\nabc",
                     ENDS_CLOSED);
    cr_assert_eq(get(client, &server, "/", &response), 0);
    cr_expect_eq(coil_http_response_body(response, SIZE_MAX, &data), -EPROTO);
    coil_http_response_close(response);
    server_join(&server);
    coil_http_client_free(client);
}

/* ---- Interruptions ---- */

struct reading {
    coil_http_response *response;
    ssize_t result;
};

static int read_all(void *arg)
{
    struct reading *reading = arg;
    char text[128];
    size_t length;

    reading->result = read_by(reading->response, 64, text, &length);
    return (int)length;
}

/* Sends half of a body, and the rest when it is told to. */
struct halves {
    coil_listener *listener;
    coil_sem go_on;
};

static int send_halves(void *arg)
{
    struct halves *halves = arg;
    coil_stream *stream;

    cr_assert_eq(coil_accept(halves->listener, &stream), 0);
    (void)coil_write(stream, SIZED "01234", strlen(SIZED) + 5);
    (void)coil_flush(stream);
    cr_assert_eq(coil_sem_acquire(&halves->go_on), 0);
    (void)coil_write(stream, "56789", 5);
    return coil_close(stream);
}

FIBER_TEST(client_body, nothing_is_lost_to_a_deadline_and_reading_goes_on)
{
    coil_http_client *client = client_new();
    coil_http_response *response;
    struct halves halves;
    coil_fiber *fiber;
    coil_scope scope;
    char address[COIL_ADDRESS_SIZE];
    char url[COIL_ADDRESS_SIZE + 16];
    const char *data = NULL;

    cr_assert_eq(coil_listen("127.0.0.1:0", NULL, &halves.listener), 0);
    cr_assert_gt(coil_listener_address(halves.listener, address, sizeof address), 0);
    (void)snprintf(url, sizeof url, "http://%s/", address);
    coil_sem_init(&halves.go_on, 0);
    cr_assert_eq(coil_spawn(send_halves, &halves, &fiber), 0);

    cr_assert_eq(coil_http_get(client, url, &response), 0);
    coil_scope_enter(&scope, COIL_MS(20));
    cr_expect_eq(coil_http_response_body(response, 100, &data), -ETIMEDOUT);
    cr_expect(coil_scope_leave(&scope));
    coil_sem_release(&halves.go_on);
    cr_assert_eq(coil_http_response_body(response, 100, &data), 10);
    cr_expect_str_eq(data, "0123456789");

    coil_http_response_close(response);
    cr_expect_eq(join_and_drop(fiber), 0);
    coil_listener_close(halves.listener);
    coil_http_client_free(client);
}

FIBER_TEST(client_body, a_reader_that_is_cancelled_in_mid_body_can_close)
{
    coil_http_client *client = client_new();
    struct reading reading;
    struct server server;
    coil_fiber *fiber;

    server_start_one(&server, SIZED "01234", ENDS_WAITING);
    cr_assert_eq(get(client, &server, "/", &reading.response), 0);
    fiber = spawn_until_parked(read_all, &reading);
    coil_cancel(fiber);
    cr_expect_eq(join_and_drop(fiber), 5);
    cr_expect_eq(reading.result, -ECANCELED);
    coil_http_response_close(reading.response);
    server_join(&server);
    coil_http_client_free(client);
}

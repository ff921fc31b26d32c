/* SPDX-License-Identifier: MIT */
/* Responses: how they are framed, which headers an application may set, and how failures show. */
#include "http/server_fixture.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "http/status.h"

#define GET(target)  "GET " target " HTTP/1.1\r\nHost: x\r\n\r\n"
#define HEAD(target) "HEAD " target " HTTP/1.1\r\nHost: x\r\n\r\n"
#define GET_1_0      "GET / HTTP/1.0\r\n\r\n"

static void ignore_log(coil_log_level level, const char *message, void *arg)
{
    (void)level;
    (void)message;
    ++*(int *)arg;
}

/* ---- Framing ---- */

static int stream_pieces(coil_http_request *request, void *arg)
{
    static const char *const pieces[] = {"", "one", "", "two", ""};
    int result = coil_http_begin(request, 200, NULL, COIL_HTTP_UNKNOWN);

    (void)arg;
    for (size_t i = 0; i < 5 && result == 0; i++)
        result = coil_http_write(request, pieces[i], strlen(pieces[i]));
    return result;
}

FIBER_TEST(http_response, a_body_of_unknown_length_is_sent_in_chunks_none_of_them_empty)
{
    const char *reply = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
                        "3\r\none\r\n3\r\ntwo\r\n0\r\n\r\n";
    char *twice = repeat(reply, 2);

    assert_converses(stream_pieces, NULL, GET("/") GET("/"), twice);
    free(twice);
}

FIBER_TEST(http_response, to_http_1_0_a_body_of_unknown_length_ends_with_the_connection)
{
    const char *reply = "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nonetwo";

    assert_converses_open(stream_pieces, NULL, GET_1_0 GET("/never"), reply);
    assert_converses_open(stream_pieces, NULL, "GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
                          reply);
}

static int stream_nothing(coil_http_request *request, void *arg)
{
    (void)arg;
    return coil_http_begin(request, 200, NULL, COIL_HTTP_UNKNOWN);
}

FIBER_TEST(http_response, an_empty_chunked_body_is_one_last_chunk)
{
    assert_converses(stream_nothing, NULL, GET("/"),
                     "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n");
}

static int write_ten(coil_http_request *request, void *arg)
{
    int result = coil_http_begin(request, 201, "text/css", 10);

    (void)arg;
    if (result == 0)
        result = coil_http_write(request, "01234", 5);
    if (result == 0)
        result = coil_http_write(request, "56789", 5);
    if (result == 0)
        cr_assert_eq(coil_http_write(request, "x", 1), -EMSGSIZE, "the promise is kept");
    if (result == 0)
        result = coil_http_end(request);
    cr_assert_eq(coil_http_write(request, "x", 1), -EINVAL);
    cr_assert_eq(coil_http_end(request), 0, "ending twice is harmless");
    return result;
}

FIBER_TEST(http_response, a_promised_length_is_what_is_sent)
{
    const char *reply = "HTTP/1.1 201 Created\r\nContent-Length: 10\r\n"
                        "Content-Type: text/css\r\n\r\n0123456789";
    char *twice = repeat(reply, 2);

    assert_converses(write_ten, NULL, GET("/") GET("/"), twice);
    free(twice);
}

static int respond_with_status(coil_http_request *request, void *arg)
{
    const int status = (int)strtol(coil_http_target(request) + 1, NULL, 10);

    (void)arg;
    return coil_http_respond(request, status, NULL, "body", 4);
}

FIBER_TEST(http_response, statuses_without_a_body_have_none_and_say_nothing_about_it)
{
    assert_converses(respond_with_status, NULL, GET("/204") GET("/304") GET("/200"),
                     "HTTP/1.1 204 No Content\r\n\r\n"
                     "HTTP/1.1 304 Not Modified\r\n\r\n"
                     "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nbody");
}

FIBER_TEST(http_response, head_gets_the_headers_and_no_body)
{
    assert_converses(respond_with_status, NULL, HEAD("/200") GET("/200"),
                     "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n"
                     "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nbody");
    assert_converses(stream_pieces, NULL, HEAD("/") HEAD("/"),
                     "HTTP/1.1 200 OK\r\n\r\nHTTP/1.1 200 OK\r\n\r\n");
}

FIBER_TEST(http_response, a_tunnel_that_is_granted_has_no_body_and_ends_the_requests)
{
    assert_converses_open(stream_pieces, NULL, "CONNECT h:1 HTTP/1.1\r\nHost: x\r\n\r\n" GET("/"),
                          "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n");
}

FIBER_TEST(http_response, a_status_without_a_name_goes_out_without_a_reason)
{
    assert_converses(respond_with_status, NULL, GET("/299") GET("/599"),
                     "HTTP/1.1 299 \r\nContent-Length: 4\r\n\r\nbody"
                     "HTTP/1.1 599 \r\nContent-Length: 4\r\n\r\nbody");
}

Test(http_response, status_lines_begin_with_their_status)
{
    for (int status = -100; status < 1000; status++) {
        const struct coil__slice line = coil__http_status_line(status);
        char expected[32];

        if (line.len == 0)
            continue;
        (void)snprintf(expected, sizeof expected, "HTTP/1.1 %d ", status);
        cr_expect_eq(strncmp(line.data, expected, 13), 0, "%d", status);
        cr_expect_eq(strcmp(line.data + line.len - 2, "\r\n"), 0, "%d", status);
    }
    cr_assert_eq(coil__http_status_line(99).len, 0);
    cr_assert_gt(coil__http_status_line(431).len, 0);
    cr_assert_eq(coil__http_status_line(432).len, 0);
}

static int answer_megabytes(coil_http_request *request, void *arg)
{
    char *body = repeat("0123456789abcdef", 8192);
    int result;

    (void)arg;
    result = strcmp(coil_http_target(request), "/chunks") == 0
                 ? coil_http_begin(request, 200, NULL, COIL_HTTP_UNKNOWN)
                 : coil_http_respond(request, 200, NULL, body, 131072);
    if (result == 0 && strcmp(coil_http_target(request), "/chunks") == 0)
        result = coil_http_write(request, body, 131072);
    free(body);
    return result;
}

FIBER_TEST(http_response, a_body_larger_than_any_buffer_arrives_whole)
{
    char *body = repeat("0123456789abcdef", 8192);
    char *whole = converse(answer_megabytes, NULL, GET("/"));
    char *chunked = converse(answer_megabytes, NULL, GET("/chunks"));

    assert_heard(whole, "Content-Length: 131072\r\n\r\n");
    cr_assert_str_eq(strstr(whole, "\r\n\r\n") + 4, body);
    cr_assert_eq(strncmp(strstr(chunked, "\r\n\r\n") + 4, "20000\r\n", 7), 0);
    cr_assert_eq(strncmp(strstr(chunked, "\r\n\r\n") + 11, body, 131072), 0);
    cr_assert_str_eq(strstr(chunked, "\r\n\r\n") + 11 + 131072, "\r\n0\r\n\r\n");

    free(body);
    free(whole);
    free(chunked);
}

/* ---- Headers ---- */

static int set_headers(coil_http_request *request, void *arg)
{
    (void)arg;
    cr_assert_eq(coil_http_header_set(request, "X-One", "1"), 0);
    cr_assert_eq(coil_http_header_add(request, "Set-Cookie", "a=b"), 0);
    cr_assert_eq(coil_http_header_add(request, "set-cookie", "c=d"), 0);
    cr_assert_eq(coil_http_header_add(request, "X-On", "longer"), 0);
    cr_assert_eq(coil_http_header_set(request, "x-one", "2"), 0);
    cr_assert_eq(coil_http_header_set(request, "X-Bytes", "\xc2\xa0\t x"), 0);
    return coil_http_respond(request, 200, NULL, NULL, 0);
}

FIBER_TEST(http_response, headers_are_set_and_added_and_stay_with_their_response)
{
    const char *reply =
        "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nSet-Cookie: a=b\r\n"
        "set-cookie: c=d\r\nX-On: longer\r\nx-one: 2\r\nX-Bytes: \xc2\xa0\t x\r\n\r\n";
    char *twice = repeat(reply, 2);

    assert_converses(set_headers, NULL, GET("/") GET("/"), twice);
    free(twice);
}

static int type_twice(coil_http_request *request, void *arg)
{
    (void)arg;
    cr_assert_eq(coil_http_header_set(request, "content-type", "text/html"), 0);
    cr_assert_eq(coil_http_header_set(request, "X", "1"), 0);
    return coil_http_respond(request, 200, "text/plain", NULL, 0);
}

static int type_once(coil_http_request *request, void *arg)
{
    (void)arg;
    cr_assert_eq(coil_http_header_set(request, "Content-Type", "text/html"), 0);
    return coil_http_respond(request, 200, NULL, NULL, 0);
}

FIBER_TEST(http_response, a_type_is_told_once_that_of_the_response_before_that_of_a_header)
{
    assert_converses(
        type_twice, NULL, GET("/"),
        "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nContent-Type: text/plain\r\nX: 1\r\n\r\n");
    assert_converses(type_once, NULL, GET("/"),
                     "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nContent-Type: text/html\r\n\r\n");
}

static int set_bad_headers(coil_http_request *request, void *arg)
{
    static const char *const own[] = {"Content-Length", "transfer-encoding", "CONNECTION",
                                      "Keep-Alive",     "upgrade",           "Trailer"};

    (void)arg;
    cr_expect_eq(coil_http_header_set(request, "X", "a\r\nEvil: b"), -EINVAL);
    cr_expect_eq(coil_http_header_add(request, "X", "a\nb"), -EINVAL);
    cr_expect_eq(coil_http_header_add(request, "X", "a\rb"), -EINVAL);
    cr_expect_eq(coil_http_header_add(request, "X", "\x7f"), -EINVAL);
    cr_expect_eq(coil_http_header_add(request, "X:", "b"), -EINVAL);
    cr_expect_eq(coil_http_header_add(request, "", "b"), -EINVAL);
    cr_expect_eq(coil_http_header_add(request, "a b", "b"), -EINVAL);
    for (size_t i = 0; i < sizeof own / sizeof own[0]; i++)
        cr_expect_eq(coil_http_header_set(request, own[i], "1"), -EINVAL, "%s", own[i]);
    cr_expect_eq(coil_http_respond(request, 200, "a/b\r\nEvil: x", "", 0), -EINVAL);
    cr_expect_eq(coil_http_respond(request, 199, NULL, "", 0), -EINVAL);
    cr_expect_eq(coil_http_respond(request, 600, NULL, "", 0), -EINVAL);
    cr_expect_eq(coil_http_write(request, "x", 1), -EINVAL, "not begun");
    cr_expect_eq(coil_http_end(request), -EINVAL, "not begun");
    cr_expect_eq(coil_http_respond(request, 200, NULL, "ok", 2), 0);
    cr_expect_eq(coil_http_respond(request, 200, NULL, "ok", 2), -EALREADY);
    cr_expect_eq(coil_http_begin(request, 200, NULL, 2), -EALREADY);
    cr_expect_eq(coil_http_header_set(request, "X-Late", "1"), -EALREADY);
    return 0;
}

FIBER_TEST(http_response, what_would_break_the_message_is_refused_and_leaves_no_trace)
{
    assert_converses(set_bad_headers, NULL, GET("/"),
                     "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
}

static int set_much(coil_http_request *request, void *arg)
{
    char *value = repeat("0123456789abcdef", 64);
    int count = 0;

    (void)arg;
    while (coil_http_header_add(request, "X", value) == 0)
        count++;
    free(value);
    cr_assert_gt(count, 60);
    cr_assert_lt(count, 64, "a response's headers are limited");
    return coil_http_respond(request, 200, NULL, "ok", 2);
}

FIBER_TEST(http_response, many_headers_arrive_whole_up_to_the_limit)
{
    char *heard = converse(set_much, NULL, GET("/") GET("/"));

    cr_assert_gt(count_heard(heard, "\r\nX: 0123456789abcdef"), 120);
    cr_assert_eq(count_heard(heard, "\r\n\r\nok"), 2);
    free(heard);
}

static int set_own_date(coil_http_request *request, void *arg)
{
    (void)arg;
    cr_assert_eq(coil_http_header_set(request, "DATE", "mine"), 0);
    cr_assert_eq(coil_http_header_set(request, "server", "mine too"), 0);
    return coil_http_respond(request, 200, NULL, NULL, 0);
}

FIBER_TEST(http_response, the_applications_date_and_server_replace_those_of_the_library)
{
    coil_http_options options = COIL_HTTP_OPTIONS_INIT;

    options.server_name = "coil";
    assert_converses(
        set_own_date, &options, GET("/"),
        "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nDATE: mine\r\nserver: mine too\r\n\r\n");
    assert_converses(answer_target, &options, GET("/"),
                     "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n"
                     "Content-Type: text/plain\r\nServer: coil\r\n\r\n/");
}

FIBER_TEST(http_response, every_response_carries_the_present_date)
{
    const time_t before = time(NULL);
    struct conversation conversation;
    char heard[512] = "";
    bool is_found = false;

    conversation_open(&conversation, answer_target, NULL, NULL);
    say_text(&conversation, GET("/"));
    (void)coil_shutdown(conversation.client);
    cr_assert_gt(coil_read_full(conversation.client, heard, sizeof heard - 1, NULL), 0);
    for (time_t at = before; at <= time(NULL); at++) {
        char line[64] = "\r\nDate: ";

        coil_http_date(at, line + 8);
        is_found |= strstr(heard, line) != NULL;
    }

    cr_assert(is_found, "%s", heard);
    cr_assert_eq(conversation_end(&conversation), 0);
}

FIBER_TEST(http_response, a_response_has_one_date)
{
    struct conversation conversation;
    char heard[512] = "";

    conversation_open(&conversation, set_own_date, NULL, NULL);
    say_text(&conversation, GET("/"));
    (void)coil_shutdown(conversation.client);
    cr_assert_gt(coil_read_full(conversation.client, heard, sizeof heard - 1, NULL), 0);

    assert_heard(heard, "\r\nDATE: mine\r\n");
    assert_not_heard(heard, "\r\nDate: ");
    cr_assert_eq(conversation_end(&conversation), 0);
}

FIBER_TEST(http_response, the_date_goes_with_the_time)
{
    struct conversation conversation;
    char heard[512] = "";
    char *second;

    conversation_open(&conversation, answer_target, NULL, NULL);
    for (int i = 0; i < 2; i++) {
        say_text(&conversation, GET("/"));
        cr_assert_gt(coil_read(conversation.client, heard + strlen(heard), 200), 0);
        cr_assert_eq(coil_sleep(COIL_MS(1100)), 0);
    }
    second = strstr(strstr(heard, "Date: ") + 1, "Date: ");

    cr_assert_not_null(second);
    cr_assert_neq(strncmp(strstr(heard, "Date: "), second, 35), 0, "%s", heard);
    cr_assert_eq(conversation_end(&conversation), 0);
}

/* ---- Failures ---- */

static int fail_at_once(coil_http_request *request, void *arg)
{
    (void)arg;
    cr_assert_eq(coil_http_header_set(request, "X-Of-Failed", "1"), 0);
    return -EIO;
}

static int answer_nothing(coil_http_request *request, void *arg)
{
    (void)request;
    (void)arg;
    return 0;
}

FIBER_TEST(http_response, no_answer_or_an_error_before_it_is_500_and_the_end)
{
    const char *reply = "HTTP/1.1 500 Internal Server Error\r\nContent-Length: 22\r\n"
                        "Connection: close\r\nContent-Type: text/plain\r\n\r\n"
                        "Internal Server Error\n";
    int logged = 0;

    coil_log_set(ignore_log, &logged);
    assert_converses_open(fail_at_once, NULL, GET("/") GET("/"), reply);
    assert_converses_open(answer_nothing, NULL, GET("/") GET("/"), reply);
    coil_log_set(NULL, NULL);

    cr_assert_eq(logged, 2);
}

static int fail_later(coil_http_request *request, void *arg)
{
    int result = coil_http_begin(request, 200, NULL, COIL_HTTP_UNKNOWN);

    (void)arg;
    if (result == 0)
        result = coil_http_write(request, "part", 4);
    cr_assert_eq(result, 0);
    return -EIO;
}

FIBER_TEST(http_response, an_error_after_the_beginning_cuts_the_chunks_without_an_end)
{
    int logged = 0;

    coil_log_set(ignore_log, &logged);
    assert_converses_open(fail_later, NULL, GET("/") GET("/"),
                          "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\npart\r\n");
    coil_log_set(NULL, NULL);

    cr_assert_eq(logged, 1);
}

FIBER_TEST(http_response, an_error_in_a_body_without_framing_resets_the_connection)
{
    struct conversation conversation;
    int logged = 0;

    coil_log_set(ignore_log, &logged);
    conversation_open(&conversation, fail_later, NULL, NULL);
    say_text(&conversation, GET_1_0);
    hear_all(&conversation);
    coil_log_set(NULL, NULL);

    cr_assert_eq(conversation.ended, -ECONNRESET);
    cr_assert_eq(conversation_end(&conversation), 0);
}

static int write_too_little(coil_http_request *request, void *arg)
{
    int result = coil_http_begin(request, 200, NULL, 10);

    (void)arg;
    return result < 0 ? result : coil_http_write(request, "part", 4);
}

FIBER_TEST(http_response, a_body_shorter_than_promised_ends_the_connection)
{
    assert_converses_open(write_too_little, NULL, GET("/") GET("/"),
                          "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\npart");
}

static int write_after_leaving(coil_http_request *request, void *arg)
{
    char *body = repeat("0123456789abcdef", 65536);
    int result = coil_http_begin(request, 200, NULL, COIL_HTTP_UNKNOWN);

    while (result == 0)
        result = coil_http_write(request, body, 1 << 20);
    free(body);
    *(int *)arg = result;
    return result;
}

FIBER_TEST(http_response, a_client_that_leaves_in_the_middle_ends_the_connection_quietly)
{
    struct conversation conversation;
    int error = 0;
    int logged = 0;

    coil_log_set(ignore_log, &logged);
    conversation_open(&conversation, write_after_leaving, &error, NULL);
    say_text(&conversation, GET("/"));

    cr_assert_eq(conversation_end(&conversation), 0);
    coil_log_set(NULL, NULL);
    cr_assert(error == -EPIPE || error == -ECONNRESET, "%d", error);
    cr_assert_eq(logged, 0);
}

/* Little enough for the stream's buffer. */
static int answer_and_close(coil_http_request *request, void *arg)
{
    char *body = repeat("0123456789abcdef", 900);
    int result;

    (void)arg;
    coil_http_close(request);
    result = coil_http_respond(request, 200, NULL, body, 14400);
    cr_assert_eq(result, 0);
    free(body);
    return result;
}

FIBER_TEST(http_response, a_last_reply_that_nobody_takes_is_given_up)
{
    coil_http_options options = COIL_HTTP_OPTIONS_INIT;
    struct conversation conversation;

    options.write_timeout = COIL_MS(30);
    conversation_open_stalled(&conversation, answer_and_close, NULL, &options);
    say_text(&conversation, GET("/"));

    cr_assert_eq(coil_join(conversation.fiber, NULL), 0);
    cr_assert_eq(conversation_end(&conversation), 0);
}

static int ignore_errors(coil_http_request *request, void *arg)
{
    char *piece = repeat("0123456789abcdef", 1000);
    int result = coil_http_begin(request, 200, NULL, COIL_HTTP_UNKNOWN);

    for (int i = 0; i < 100 && result == 0; i++)
        result = coil_http_write(request, piece, 16000);
    free(piece);
    *(int *)arg = result;
    return 0;
}

FIBER_TEST(http_response, a_body_with_a_piece_that_was_not_written_does_not_end_well)
{
    coil_http_options options = COIL_HTTP_OPTIONS_INIT;
    struct conversation conversation;
    static char piece[65536];
    char last[5] = "";
    ssize_t length;
    int error = 0;

    options.write_timeout = COIL_MS(30);
    conversation_open_stalled(&conversation, ignore_errors, &error, &options);
    say_text(&conversation, GET("/"));
    while (error == 0) /* to read any earlier would let the piece pass */
        cr_assert_eq(coil_sleep(COIL_MS(1)), 0);
    while ((length = coil_read(conversation.client, piece, sizeof piece)) > 0)
        if (length >= 5)
            memcpy(last, piece + length - 5, 5);

    cr_assert_eq(error, -ETIMEDOUT);
    cr_assert_neq(memcmp(last, "0\r\n\r\n", 5), 0, "the client takes it for whole");
    cr_assert_eq(conversation_end(&conversation), 0);
}

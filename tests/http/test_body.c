/* SPDX-License-Identifier: MIT */
/* Bodies of requests: read by the application, drained by the server, limited, or broken. */
#include "http/server_fixture.h"

#include <stdio.h>
#include <stdlib.h>

#define PING       "GET /ping HTTP/1.1\r\nHost: x\r\n\r\n"
#define PONG       REPLY("5", "/ping")
#define POST(more) "POST /p HTTP/1.1\r\nHost: x\r\n" more "\r\n"
#define CHUNKED    POST("Transfer-Encoding: chunked\r\n")
#define EXPECTING  "POST /p HTTP/1.1\r\nHost: x\r\nExpect: 100-Continue\r\n"
#define CONTINUE   "HTTP/1.1 100 Continue\r\n\r\n"

/* ---- Read ---- */

FIBER_TEST(http_body, a_body_of_known_length_is_read_to_its_end_and_no_further)
{
    assert_converses(answer_body, NULL, POST("Content-Length: 5\r\n") "hello" PING,
                     REPLY("5", "hello") REPLY("0", ""));
}

FIBER_TEST(http_body, a_chunked_body_is_the_same_in_steps_of_any_size)
{
    static const size_t steps[] = {1, 2, 7, 4096};
    const char *request =
        CHUNKED "f\r\nthis is chunked\r\n1\r\n\n\r\n6\r\nline 2\r\n0006;ext=\"a b\"\r\n"
                "\nline3\r\n0\r\n\r\n" PING;

    for (size_t i = 0; i < sizeof steps / sizeof steps[0]; i++) {
        size_t step = steps[i];
        struct conversation conversation;

        conversation_open(&conversation, answer_body, &step, NULL);
        say_text(&conversation, request);
        hear(&conversation, REPLY("28", "this is chunked\nline 2\nline3") REPLY("0", ""));
        cr_assert_eq(conversation_end(&conversation), 0);
    }
}

FIBER_TEST(http_body, a_body_that_comes_byte_by_byte_is_read_alike)
{
    const char *request = CHUNKED "3\r\nabc\r\n10\r\n0123456789abcdef\r\n0\r\nX: y\r\n\r\n" PING;
    struct conversation conversation;

    conversation_open(&conversation, answer_body, NULL, NULL);
    for (const char *at = request; *at; at++) {
        say(&conversation, at, 1);
        until_parked(conversation.fiber);
    }
    hear(&conversation, REPLY("19", "abc0123456789abcdef") REPLY("0", ""));

    cr_assert_eq(conversation_end(&conversation), 0);
}

FIBER_TEST(http_body, a_large_body_arrives_whole)
{
    char *body = repeat("0123456789abcdef", 8192);
    struct conversation conversation;

    conversation_open(&conversation, answer_body, NULL, NULL);
    say_text(&conversation, POST("Content-Length: 131072\r\n"));
    say(&conversation, body, 131072);
    hear(&conversation, body);

    cr_assert_eq(conversation_end(&conversation), 0);
    free(body);
}

static int answer_head_after_body(coil_http_request *request, void *arg)
{
    char dropped[64];

    while (coil_http_read(request, dropped, sizeof dropped) > 0)
        continue;
    cr_expect_str_eq(coil_http_header(request, "x-late"), "here");
    cr_expect_str_eq(coil_http_method(request), "POST");
    return answer_target(request, arg);
}

/* With so few buffers, the body overwrites the one that the head came in. */
FIBER_TEST_WITH(http_body, the_head_outlives_the_reading_of_the_body,
                (&(coil_options){.size = sizeof(coil_options), .buffer_count = 2}))
{
    struct conversation conversation;

    conversation_open(&conversation, answer_head_after_body, NULL, NULL);
    say_text(&conversation, POST("X-Late: here\r\nContent-Length: 40000\r\n"));
    for (int i = 0; i < 40; i++) {
        char *part = repeat("0123456789", 100);

        until_parked(conversation.fiber);
        say(&conversation, part, 1000);
        free(part);
    }
    hear(&conversation, REPLY("2", "/p"));

    cr_assert_eq(conversation_end(&conversation), 0);
}

static int answer_twice_read(coil_http_request *request, void *arg)
{
    char byte;

    (void)arg;
    cr_assert_eq(coil_http_read(request, &byte, 1), 0, "no body is an empty one");
    cr_assert_eq(coil_http_read(request, &byte, 1), 0);
    cr_assert_eq(coil_http_content_length(request), 0);
    return answer_target(request, NULL);
}

FIBER_TEST(http_body, a_request_without_a_body_has_an_empty_one)
{
    assert_converses(answer_twice_read, NULL, PING POST("Content-Length: 0\r\n"),
                     PONG REPLY("2", "/p"));
}

static int give_up_then_read(coil_http_request *request, void *arg)
{
    coil_scope scope;
    char byte;

    coil_scope_enter(&scope, COIL_MS(10));
    cr_assert_eq(coil_http_read(request, &byte, 1), -ETIMEDOUT);
    cr_assert(coil_scope_leave(&scope));
    return answer_body(request, arg);
}

FIBER_TEST(http_body, a_read_that_the_applications_deadline_ends_can_be_tried_again)
{
    struct conversation conversation;

    conversation_open(&conversation, give_up_then_read, NULL, NULL);
    say_text(&conversation, EXPECTING "Content-Length: 3\r\n\r\n");
    hear(&conversation, CONTINUE);
    cr_assert_eq(coil_sleep(COIL_MS(30)), 0);
    say_text(&conversation, "abc");
    hear(&conversation, CONTINUE REPLY("3", "abc"));

    cr_assert_eq(conversation_end(&conversation), 0);
}

/* ---- Not read ---- */

FIBER_TEST(http_body, an_unread_body_is_not_taken_for_a_request)
{
    assert_converses(answer_target, NULL,
                     POST("Content-Length: 24\r\n") "GET /tricksy HTTP/1.1\r\n\r" PING,
                     REPLY("2", "/p") PONG);
    assert_converses(answer_target, NULL,
                     CHUNKED "18\r\nGET /tricksy HTTP/1.1\r\n\r\r\n0\r\n\r\n" PING,
                     REPLY("2", "/p") PONG);
    assert_converses_open(
        answer_target, NULL,
        "PUT /1 HTTP/1.0\r\nConnection: keep-alive\r\nContent-Length: 23\r\n\r\n"
        "GET /tricksy HTTP/1.1\r\n"
        "GET /2 HTTP/1.0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: keep-alive\r\n"
        "Keep-Alive: timeout=60\r\nContent-Type: text/plain\r\n\r\n/1" REPLY_CLOSE("2", "/2"));
}

static int answer_ten(coil_http_request *request, void *arg)
{
    char ten[10];
    size_t len = 0;
    ssize_t length;

    (void)arg;
    while (len < sizeof ten && (length = coil_http_read(request, ten + len, sizeof ten - len)) > 0)
        len += (size_t)length;
    return len > 0 ? coil_http_respond(request, 200, "text/plain", ten, len)
                   : answer_target(request, NULL);
}

FIBER_TEST(http_body, the_rest_of_a_body_read_in_part_is_drained)
{
    assert_converses(answer_ten, NULL,
                     CHUNKED
                     "8\r\n01234567\r\n20\r\n89abcdefghijklmnopqrstuvwxyz....\r\n0\r\n\r\n" PING,
                     REPLY("10", "0123456789") PONG);
}

/* Leaves `rest`, 128 KiB, to be read after the answer. Returns how the connection ends. */
static ssize_t leave_unread(const char *rest)
{
    struct conversation conversation;
    ssize_t ended;

    conversation_open(&conversation, answer_target, NULL, NULL);
    say_text(&conversation, POST("Content-Length: 131072\r\n"));
    say(&conversation, rest, 131072);
    say_text(&conversation, PING);
    hear_all(&conversation);

    ended = conversation.ended;
    if (ended == 0)
        cr_assert_str_eq(conversation.heard, REPLY_CLOSE("2", "/p"));
    cr_assert_eq(conversation_end(&conversation), 0);
    return ended;
}

/* The server lingers, but not for ever: a thread that stands still for so long may well lose one
 * connection to a reset, and hardly all. */
FIBER_TEST(http_body, more_unread_bytes_than_would_be_drained_close_the_connection)
{
    char *rest = repeat("0123456789abcdef", 8192);
    ssize_t ended = -1;

    for (int i = 0; i < 10 && ended != 0; i++)
        ended = leave_unread(rest);
    cr_assert_eq(ended, 0, "the client could read it all");
    free(rest);
}

FIBER_TEST(http_body, an_endless_unread_chunked_body_closes_the_connection)
{
    char *chunks = repeat("1000\r\n", 1);
    char *data = repeat("0123456789abcdef", 256);
    struct conversation conversation;

    conversation_open(&conversation, answer_target, NULL, NULL);
    say_text(&conversation, CHUNKED);
    for (int i = 0; i < 40; i++) {
        say_text(&conversation, chunks);
        say_text(&conversation, data);
        say_text(&conversation, "\r\n");
    }
    say_text(&conversation, "0\r\n\r\n" PING);
    hear_all(&conversation);

    cr_assert_str_eq(conversation.heard, REPLY("2", "/p"));
    cr_assert_eq(conversation_end(&conversation), 0);
    free(chunks);
    free(data);
}

/* ---- Expect: 100-continue ---- */

FIBER_TEST(http_body, a_client_that_expects_it_is_told_to_continue_by_the_first_read)
{
    struct conversation conversation;

    conversation_open(&conversation, answer_body, NULL, NULL);
    for (int i = 0; i < 2; i++) {
        conversation.heard_len = 0;
        say_text(&conversation, EXPECTING "Content-Length: 7\r\n\r\n");
        hear(&conversation, CONTINUE);
        say_text(&conversation, "testing");
        hear(&conversation, CONTINUE REPLY("7", "testing"));
    }

    cr_assert_eq(conversation_end(&conversation), 0);
}

static int refuse_expectation(coil_http_request *request, void *arg)
{
    (void)arg;
    return coil_http_respond(request, 417, NULL, "no", 2);
}

FIBER_TEST(http_body, a_body_that_is_refused_unseen_is_not_asked_for)
{
    assert_converses_open(refuse_expectation, NULL, EXPECTING "Content-Length: 1025\r\n\r\n",
                          "HTTP/1.1 417 Expectation Failed\r\nContent-Length: 2\r\n"
                          "Connection: close\r\n\r\nno");
}

FIBER_TEST(http_body, a_body_sent_without_waiting_for_the_100_ends_the_connection_if_unread)
{
    assert_converses_open(answer_target, NULL,
                          EXPECTING "Content-Length: 23\r\n\r\n"
                                    "GET /tricksy HTTP/1.1\r\n" PING,
                          REPLY_CLOSE("2", "/p"));
}

static int answer_then_read(coil_http_request *request, void *arg)
{
    char body[64];
    ssize_t length;
    int result = coil_http_begin(request, 202, NULL, COIL_HTTP_UNKNOWN);

    (void)arg;
    if (result == 0)
        result = coil_http_write(request, "first", 5);
    if (result == 0)
        result = coil_http_flush(request);
    if (result < 0)
        return result;
    while ((length = coil_http_read(request, body, sizeof body)) > 0) {
        result = coil_http_write(request, body, (size_t)length);
        if (result < 0)
            return result;
    }
    return (int)length;
}

FIBER_TEST(http_body, no_100_follows_a_response_that_has_begun)
{
    const char *begun = "HTTP/1.1 202 Accepted\r\nTransfer-Encoding: chunked\r\n"
                        "Connection: close\r\n\r\n5\r\nfirst\r\n";
    struct conversation conversation;

    conversation_open(&conversation, answer_then_read, NULL, NULL);
    say_text(&conversation, EXPECTING "Transfer-Encoding: chunked\r\n\r\n");
    hear(&conversation, begun);
    say_text(&conversation, "4\r\nrest\r\n0\r\n\r\n");
    hear_all(&conversation);

    assert_not_heard(conversation.heard, "100 Continue");
    assert_heard(conversation.heard, "5\r\nfirst\r\n4\r\nrest\r\n0\r\n\r\n");
    cr_assert_eq(conversation_end(&conversation), 0);
}

FIBER_TEST(http_body, http_1_0_is_never_told_to_continue)
{
    assert_converses(answer_body, NULL,
                     "POST / HTTP/1.0\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\nab",
                     REPLY_CLOSE("2", "ab"));
}

/* ---- Limits ---- */

static int fail_calls;

static int count_then_read(coil_http_request *request, void *arg)
{
    fail_calls++;
    return answer_body(request, arg);
}

static char *limited(const char *request)
{
    coil_http_options options = COIL_HTTP_OPTIONS_INIT;

    options.body_max = 10;
    return converse_open(count_then_read, &options, request);
}

FIBER_TEST(http_body, a_length_over_the_limit_is_413_without_the_application)
{
    char *heard = limited(POST("Content-Length: 11\r\n") "hello world" PING);

    assert_heard(heard, "HTTP/1.1 413 Content Too Large\r\n");
    assert_heard(heard, "\r\nConnection: close\r\n");
    cr_expect_eq(count_heard(heard, "HTTP/1.1"), 1);
    cr_expect_eq(fail_calls, 0);
    free(heard);
}

FIBER_TEST(http_body, chunks_over_the_limit_together_are_413)
{
    char *heard = limited(CHUNKED "6\r\nhello \r\n5\r\nworld\r\n0\r\n\r\n" PING);

    assert_heard(heard, "HTTP/1.1 413 Content Too Large\r\n");
    cr_expect_eq(count_heard(heard, "HTTP/1.1"), 1);
    free(heard);
}

FIBER_TEST(http_body, a_body_at_the_limit_is_served)
{
    coil_http_options options = COIL_HTTP_OPTIONS_INIT;

    options.body_max = 10;
    assert_converses(answer_body, &options,
                     POST("Content-Length: 10\r\n") "0123456789" CHUNKED
                                                    "a\r\n0123456789\r\n0\r\n\r\n",
                     REPLY("10", "0123456789") REPLY("10", "0123456789"));
}

FIBER_TEST(http_body, a_body_that_stays_away_is_408)
{
    coil_http_options options = COIL_HTTP_OPTIONS_INIT;
    char *heard;

    options.body_timeout = COIL_MS(30);
    heard = converse_open(answer_body, &options, POST("Content-Length: 10\r\n") "0123");
    assert_heard(heard, "HTTP/1.1 408 Request Timeout\r\n");
    assert_heard(heard, "\r\nConnection: close\r\n");
    free(heard);
}

struct late {
    coil_event timed_out;
    coil_event sent;
};

static int read_again_later(coil_http_request *request, void *arg)
{
    struct late *late = arg;
    char byte;

    while (coil_http_read(request, &byte, 1) > 0)
        continue;
    cr_assert_eq(coil_event_set(&late->timed_out, NULL), 0);
    cr_assert_eq(coil_event_wait(&late->sent, NULL), 0);
    cr_assert_eq(coil_http_read(request, &byte, 1), -ETIMEDOUT, "too late is too late");
    return -EIO;
}

FIBER_TEST(http_body, bytes_that_come_after_the_deadline_are_not_read)
{
    coil_http_options options = COIL_HTTP_OPTIONS_INIT;
    struct conversation conversation;
    struct late late;

    options.body_timeout = COIL_MS(20);
    coil_event_init(&late.timed_out);
    coil_event_init(&late.sent);
    conversation_open(&conversation, read_again_later, &late, &options);
    say_text(&conversation, POST("Content-Length: 10\r\n") "0123");
    cr_assert_eq(coil_event_wait(&late.timed_out, NULL), 0);
    say_text(&conversation, "456789");
    cr_assert_eq(coil_event_set(&late.sent, NULL), 0);
    hear_all(&conversation);

    assert_heard(conversation.heard, "HTTP/1.1 408 ");
    cr_assert_eq(conversation_end(&conversation), 0);
}

/* ---- Broken ---- */

static int last_error;

static int note_error(coil_http_request *request, void *arg)
{
    char byte;
    ssize_t length;

    (void)arg;
    do
        length = coil_http_read(request, &byte, 1);
    while (length > 0);
    last_error = (int)length;
    cr_assert_eq(coil_http_read(request, &byte, 1), length, "the end is final");
    return (int)length;
}

FIBER_TEST(http_body, broken_chunks_are_400_and_the_end)
{
    static const char *const bodies[] = {
        "cats\r\nabc\r\n0\r\n\r\n",
        "\r\n",
        "3\nabc\r\n0\r\n\r\n",
        "3\r\nabcX0\r\n\r\n",
        "3\r\nabc0\r\n\r\n",
        "11111111111111111\r\nabc",
        "-1\r\nabc\r\n0\r\n\r\n",
        "3;a=\0011\r\nabc\r\n0\r\n\r\n",
        "0GET /evil HTTP/1.1\r\nHost: x\r\n\r\n",
        "0\r\nGET /evil HTTP/1.1\r\nHost: x\r\n\r\n",
    };

    for (size_t i = 0; i < sizeof bodies / sizeof bodies[0]; i++) {
        char request[256];
        char *heard;

        (void)snprintf(request, sizeof request, "%s%s%s", CHUNKED, bodies[i], PING);
        last_error = 1;
        heard = converse_open(note_error, NULL, request);
        cr_expect_eq(strncmp(heard, "HTTP/1.1 400 Bad Request\r\n", 26), 0, "'%s': %s", bodies[i],
                     heard);
        cr_expect_eq(count_heard(heard, "HTTP/1.1"), 1, "%s", heard);
        assert_heard(heard, "\r\nConnection: close\r\n");
        cr_expect_eq(last_error, -EPROTO);
        free(heard);
    }
}

FIBER_TEST(http_body, broken_chunks_that_nobody_read_end_the_connection_after_the_reply)
{
    char *heard = converse_open(answer_target, NULL, CHUNKED "0GET /evil HTTP/1.1\r\n\r\n" PING);

    cr_expect_str_eq(heard, REPLY("2", "/p"));
    free(heard);
}

FIBER_TEST(http_body, an_input_that_ends_inside_the_body_is_an_error_of_the_read)
{
    static const char *const requests[] = {
        CHUNKED "def\r\n0123456789abcdef",
        CHUNKED "4\r\nthi",
        CHUNKED "4\r\nthis",
        CHUNKED "4\r\nthis\r\n0\r\n",
        POST("Content-Length: 5\r\n") "hell",
    };

    for (size_t i = 0; i < sizeof requests / sizeof requests[0]; i++) {
        last_error = 1;
        assert_converses(note_error, NULL, requests[i], "");
        cr_expect_eq(last_error, -ECONNRESET, "'%s': %d", requests[i], last_error);
    }
}

FIBER_TEST(http_body, trailers_are_swallowed_and_belong_to_no_request)
{
    assert_converses(answer_body, NULL, CHUNKED "2\r\nab\r\n0\r\nX-Late: y\r\nHost: z\r\n\r\n" PING,
                     REPLY("2", "ab") REPLY("0", ""));
}

/* SPDX-License-Identifier: MIT */
/* What a peer can make the server hold or wait for: the bounds of a head and of a body's framing,
 * blank lines between requests, slow bodies, replies that nobody takes. */
#include "http/server_fixture.h"

#include <stdio.h>
#include <stdlib.h>

#include "net/stream.h"

#define POST(field) "POST /p HTTP/1.1\r\nHost: x\r\n" field "\r\n"
#define ABC         POST("Content-Length: 3\r\n") "abc"
#define CHUNKED     POST("Transfer-Encoding: chunked\r\n")

enum {
    HEAD_MAX = 1024 * 1024 - 4, /* both limits together */
    LINE_MAX = 1024,
};

/* ---- Heads ---- */

static int serve_with(const coil_http_options *options)
{
    coil_stream *client;
    coil_stream *server;
    int result;

    stream_pair(&client, &server);
    cr_assert_eq(coil_close(client), 0);
    result = coil_http_serve_stream(server, answer_target, NULL, options);
    (void)coil_close(server);
    return result;
}

FIBER_TEST(http_limits, limits_that_no_head_can_reach_are_refused)
{
    coil_http_options options = COIL_HTTP_OPTIONS_INIT;

    options.headers_max = HEAD_MAX;
    cr_expect_eq(serve_with(&options), -EINVAL, "the default request line has no room");
    options.request_line_max = LINE_MAX;
    cr_expect_eq(serve_with(&options), -EINVAL);
    options.headers_max = HEAD_MAX - LINE_MAX + 1;
    cr_expect_eq(serve_with(&options), -EINVAL);
    options.headers_max = HEAD_MAX - LINE_MAX;
    cr_expect_eq(serve_with(&options), 0);
    options.headers_max = SIZE_MAX;
    cr_expect_eq(serve_with(&options), -EINVAL, "the sum must not wrap");
    options.headers_max = 0;
    options.request_line_max = HEAD_MAX;
    cr_expect_eq(serve_with(&options), -EINVAL, "nor have the default headers");
}

FIBER_TEST(http_limits, options_without_their_initialiser_are_refused)
{
    coil_serve_options serve = {0};
    coil_http_options options = {0};

    cr_expect_eq(serve_with(&options), -EINVAL);
    options = (coil_http_options)COIL_HTTP_OPTIONS_INIT;
    options.serve = &serve;
    cr_expect_eq(serve_with(&options), -EINVAL);
    options.serve = NULL;
    options.size = sizeof options.size;
    options.request_line_max = SIZE_MAX;
    cr_expect_eq(serve_with(&options), 0, "an older struct ends where it ends");
}

/* A head whose every part is `excess` bytes over its largest limit; to be freed. */
static char *largest_head(size_t excess)
{
    char *request = calloc(1, 2 * HEAD_MAX);
    size_t len;

    cr_assert_not_null(request);
    len = (size_t)sprintf(request, "\r\n\r\nGET /%0*d HTTP/1.1\r\nHost: x\r\na: ",
                          LINE_MAX - (int)strlen("GET / HTTP/1.1"), 0);
    (void)sprintf(request + len, "%0*d\r\n\r\n",
                  HEAD_MAX - LINE_MAX + (int)excess - (int)strlen("Host: x\r\na: \r\n\r\n"), 0);
    return request;
}

FIBER_TEST(http_limits, the_largest_head_that_limits_allow_is_served_and_the_next_one_told)
{
    coil_http_options options = COIL_HTTP_OPTIONS_INIT;
    char *request = largest_head(0);
    char *heard;

    options.request_line_max = LINE_MAX;
    options.header_line_max = HEAD_MAX;
    options.headers_max = HEAD_MAX - LINE_MAX;
    heard = converse(answer_target, &options, request);
    assert_heard(heard, "HTTP/1.1 200 OK\r\n");
    free(heard);
    free(request);

    request = largest_head(1);
    heard = converse_open(answer_target, &options, request);
    assert_heard(heard, "HTTP/1.1 431 Request Header Fields Too Large\r\n");
    free(heard);
    free(request);
}

/* ---- Blank lines ---- */

FIBER_TEST(http_limits, a_blank_line_after_a_body_is_no_request_that_could_be_late)
{
    coil_http_options options = COIL_HTTP_OPTIONS_INIT;

    options.idle_timeout = COIL_MS(200);
    assert_converses_at_once(answer_body, &options, ABC "\r\n", REPLY("3", "abc"));
    assert_converses_open(answer_body, &options, "\r\n", "");
}

FIBER_TEST(http_limits, blank_lines_do_not_keep_a_connection)
{
    coil_http_options options = COIL_HTTP_OPTIONS_INIT;
    struct conversation conversation;
    int sent = 0;

    options.idle_timeout = COIL_MS(60);
    options.header_timeout = COIL_MS(60);
    conversation_open(&conversation, answer_body, NULL, &options);
    while (is_open(&conversation) && sent++ < 1000) {
        say_text(&conversation, "\r\n");
        cr_assert_eq(coil_sleep(COIL_MS(5)), 0);
    }

    cr_assert_lt(sent, 100);
    cr_assert_eq(conversation_end(&conversation), 0);
}

FIBER_TEST(http_limits, a_blank_line_leaves_the_connection_idle)
{
    static const char *const lines[] = {"", "\r\n", "\r"};

    for (size_t i = 0; i < 3; i++) {
        struct conversation conversation;

        conversation_open(&conversation, answer_body, NULL, NULL);
        say_text(&conversation, ABC);
        say_text(&conversation, lines[i]);
        hear(&conversation, REPLY("3", "abc"));
        until_parked(conversation.fiber);
        if (i == 2)
            say_text(&conversation, "\n");
        until_parked(conversation.fiber);
        coil_yield();
        coil__stream_drain(conversation.server);
        hear_all(&conversation);
        cr_expect_eq(conversation.ended, 0);
        cr_assert_eq(conversation_end(&conversation), 0);
    }
}

FIBER_TEST(http_limits, requests_with_blank_lines_between_them_are_answered)
{
    assert_converses(answer_body, NULL, "\r\n" ABC "\r\n" ABC "\r\n" ABC "\r\n",
                     REPLY("3", "abc") REPLY("3", "abc") REPLY("3", "abc"));
}

/* Requests for longer than `idle_timeout`, one in each fifth of it: whether all are answered. */
static bool is_kept_by_requests(coil_time idle_timeout)
{
    static const char request[] = "GET / HTTP/1.1\r\nHost: x\r\n\r\n";
    coil_http_options options = COIL_HTTP_OPTIONS_INIT;
    struct conversation conversation;
    char *replies = repeat(REPLY("1", "/"), 8);
    coil_time last = 0;
    bool is_kept;

    options.idle_timeout = idle_timeout;
    conversation_open(&conversation, answer_target, NULL, &options);
    for (size_t i = 0; i < 8; i++) {
        cr_assert_eq(coil_sleep(idle_timeout / 5), 0);
        last = coil_now();
        say_text(&conversation, request);
    }
    hear_all(&conversation);

    is_kept = strcmp(conversation.heard, replies) == 0;
    if (is_kept)
        cr_expect_geq(coil_now() - last, idle_timeout);
    free(replies);
    cr_assert_eq(conversation_end(&conversation), 0);
    return is_kept;
}

/* A request that a stall of the thread makes late is tried again with more time. */
FIBER_TEST(http_limits, idleness_counts_from_the_last_request)
{
    coil_time idle_timeout = COIL_MS(250);

    while (!is_kept_by_requests(idle_timeout)) {
        idle_timeout *= 2;
        cr_assert_leq(idle_timeout, COIL_SECONDS(8), "it counts from before");
    }
}

/* ---- Bodies ---- */

/* `count` chunks with a byte each and an extension of 4 KiB, and their end. */
static char *framed(size_t count)
{
    char *request = calloc(1, 512 + count * 5000);
    char *at = request;

    cr_assert_not_null(request);
    at += sprintf(at, "%s", CHUNKED);
    for (size_t i = 0; i < count; i++)
        at += sprintf(at, "1;%04000d\r\na\r\n", 0);
    (void)sprintf(at, "0\r\n\r\n");
    return request;
}

static int answer_unread(coil_http_request *request, void *arg)
{
    (void)arg;
    return coil_http_respond(request, 200, NULL, NULL, 0);
}

FIBER_TEST(http_limits, framing_counts_beside_the_bytes_it_frames)
{
    coil_http_options options = COIL_HTTP_OPTIONS_INIT;
    char *request = framed(16);
    char *heard;

    options.body_max = 100;
    assert_converses(answer_body, &options, request, REPLY("16", "aaaaaaaaaaaaaaaa"));
    free(request);

    request = framed(17);
    heard = converse_open(answer_body, &options, request);
    assert_heard(heard, "HTTP/1.1 413 Content Too Large\r\n");
    free(heard);
    options.body_max = UINT64_MAX;
    heard = converse(answer_body, &options, request);
    assert_heard(heard, "HTTP/1.1 200 OK\r\n");
    free(heard);
    free(request);

    request = framed(40);
    heard = converse_open(answer_unread, &options, request);
    assert_heard(heard, "HTTP/1.1 200 OK\r\n");
    free(heard);
    free(request);
}

/* Trickles a body, a byte in each `pause`; returns how many were sent until the server gave up. */
static int trickle(const coil_http_options *options, const char *head, const char *piece,
                   coil_time pause)
{
    struct conversation conversation;
    int sent = 0;

    conversation_open(&conversation, answer_body, NULL, options);
    say_text(&conversation, head);
    while (is_open(&conversation) && sent < 200) {
        say_text(&conversation, piece);
        sent++;
        cr_assert_eq(coil_sleep(pause), 0);
    }
    if (sent < 200) {
        hear_all(&conversation);
        assert_heard(conversation.heard, "HTTP/1.1 408 Request Timeout\r\n");
    }
    cr_assert_eq(conversation_end(&conversation), 0);
    return sent;
}

FIBER_TEST(http_limits, a_body_that_trickles_is_408)
{
    coil_http_options options = COIL_HTTP_OPTIONS_INIT;

    options.body_timeout = COIL_MS(60);
    cr_expect_lt(trickle(&options, POST("Content-Length: 1000\r\n"), "a", COIL_MS(5)), 100);
    cr_expect_lt(trickle(&options, CHUNKED, "1\r\na\r\n", COIL_MS(5)), 100);
}

/* Two hundred bytes in twice `body_timeout`, ten of which earn a second: whether all are taken. */
static bool is_kept_by_bytes(coil_time body_timeout)
{
    coil_http_options options = COIL_HTTP_OPTIONS_INIT;

    options.body_timeout = body_timeout;
    options.body_rate_min = 10;
    return trickle(&options, POST("Content-Length: 1000\r\n"), "a", body_timeout / 100) == 200;
}

/* A stall of the thread before the first ten have come is time that is not earned yet: then it is
 * tried again with more. */
FIBER_TEST(http_limits, a_body_that_keeps_the_rate_may_take_its_time)
{
    coil_http_options options = COIL_HTTP_OPTIONS_INIT;
    coil_time body_timeout = COIL_MS(250);

    while (!is_kept_by_bytes(body_timeout)) {
        body_timeout *= 2;
        cr_assert_leq(body_timeout, COIL_SECONDS(8), "bytes earn no time");
    }
    options.body_rate_min = 1000000;
    options.body_timeout = COIL_NEVER;
    cr_expect_eq(trickle(&options, POST("Content-Length: 1000\r\n"), "a", COIL_MS(5)), 200);
}

/* ---- Replies that nobody takes ---- */

static struct coil__stream_ops stalled_ops;
static const struct coil__stream_ops *real_ops;
static int sends; /* tried since stalled_ops are in place */

static void count_output_start(coil_stream *stream)
{
    sends++;
    real_ops->output_start(stream);
}

static ssize_t count_output_send(coil_stream *stream, struct msghdr *message)
{
    sends++;
    return real_ops->output_send(stream, message);
}

struct stalled {
    struct conversation conversation;
    int error; /* of the first write that was not taken */
};

static int write_on(coil_http_request *request, void *arg)
{
    struct stalled *stalled = arg;
    coil_stream *stream = stalled->conversation.server;
    char *piece = repeat("0123456789abcdef", 1000);
    int result = coil_http_begin(request, 200, NULL, 1 << 20);
    uint64_t turn;

    for (int i = 0; i < 10 && result == 0; i++)
        result = coil_http_write(request, piece, 16000);
    stalled->error = result;
    real_ops = stream->ops;
    stalled_ops = *real_ops;
    stalled_ops.output_start = count_output_start;
    stalled_ops.output_send = count_output_send;
    stream->ops = &stalled_ops;
    turn = coil__sched()->turn_count;
    cr_expect_lt(coil_http_write(request, piece, 16000), 0);
    cr_expect_lt(coil_http_flush(request), 0);
    cr_expect_eq(coil__sched()->turn_count, turn, "it waits again");
    free(piece);
    return result;
}

FIBER_TEST(http_limits, a_stalled_reply_is_waited_for_once)
{
    coil_http_options options = COIL_HTTP_OPTIONS_INIT;
    struct stalled stalled = {.error = 0};

    options.write_timeout = COIL_MS(50);
    conversation_open_stalled(&stalled.conversation, write_on, &stalled, &options);
    say_text(&stalled.conversation, "GET / HTTP/1.1\r\nHost: x\r\n\r\n");
    cr_assert_eq(coil_join(stalled.conversation.fiber, NULL), 0);

    cr_expect_eq(stalled.error, -ETIMEDOUT);
    cr_expect_eq(sends, 0, "neither a write nor the close tries again");
    cr_assert_eq(conversation_end(&stalled.conversation), 0);
}

static void start_no_output(coil_stream *stream)
{
    stream->output.flight = stream->output.chunk->end - stream->output.chunk->start;
}

static void stop_no_output(coil_stream *stream)
{
    coil__output_done(stream, -ECANCELED);
}

/* Answers with bytes that only the connection's end frames, the last of which nobody takes. */
static int answer_and_stall(coil_http_request *request, void *arg)
{
    const struct conversation *conversation = arg;
    int result = coil_http_begin(request, 200, NULL, COIL_HTTP_UNKNOWN);

    cr_assert_eq(coil_http_flush(request), 0);
    stalled_ops = *conversation->server->ops;
    stalled_ops.output_start = start_no_output;
    stalled_ops.output_stop = stop_no_output;
    conversation->server->ops = &stalled_ops;
    return result < 0 ? result : coil_http_write(request, "the end", 7);
}

FIBER_TEST(http_limits, a_body_whose_end_nobody_takes_does_not_end_well)
{
    coil_http_options options = COIL_HTTP_OPTIONS_INIT;
    struct conversation conversation;

    options.write_timeout = COIL_MS(30);
    conversation_open(&conversation, answer_and_stall, &conversation, &options);
    say_text(&conversation, "GET / HTTP/1.0\r\n\r\n");
    hear_all(&conversation);

    cr_expect_eq(conversation.ended, -ECONNRESET, "the client takes it for whole");
    cr_assert_eq(conversation_end(&conversation), 0);
}

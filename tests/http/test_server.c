/* SPDX-License-Identifier: MIT */
/* The server's loop over the requests of a connection: which one is answered, what keeps the
 * connection and what ends it, limits, deadlines, and the graceful stop. */
#include "http/server_fixture.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>

#include "base/alloc.h"
#include "net/stream.h"

#define GET(target) "GET " target " HTTP/1.1\r\nHost: x\r\n\r\n"

/* ---- Which requests are answered on one connection ---- */

FIBER_TEST(http_server, an_http_1_0_request_is_answered_and_the_connection_closed)
{
    assert_converses_open(answer_target, NULL, "GET / HTTP/1.0\r\nHost: x\r\n\r\n",
                          REPLY_CLOSE("1", "/"));
}

FIBER_TEST(http_server, requests_follow_each_other_on_one_connection)
{
    struct conversation conversation;

    conversation_open(&conversation, answer_target, NULL, NULL);
    say_text(&conversation, GET("/a"));
    hear(&conversation, REPLY("2", "/a"));
    say_text(&conversation, GET("/b"));
    hear(&conversation, REPLY("2", "/a") REPLY("2", "/b"));

    cr_assert_eq(conversation_end(&conversation), 0);
}

FIBER_TEST(http_server, pipelined_requests_are_answered_in_order)
{
    assert_converses(answer_target, NULL, GET("/a") GET("/b") GET("/c"),
                     REPLY("2", "/a") REPLY("2", "/b") REPLY("2", "/c"));
}

FIBER_TEST(http_server, what_the_client_closes_ends_after_that_reply)
{
    assert_converses_open(
        answer_target, NULL,
        GET("/a") "GET /b HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n" GET("/never"),
        REPLY("2", "/a") REPLY_CLOSE("2", "/b"));
}

FIBER_TEST(http_server, http_1_0_keeps_the_connection_when_asked_to)
{
    const char *request = "GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n";
    const char *reply = "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nConnection: keep-alive\r\n"
                        "Keep-Alive: timeout=60\r\nContent-Type: text/plain\r\n\r\n/";
    char *twice = repeat(reply, 2);
    struct conversation conversation;

    conversation_open(&conversation, answer_target, NULL, NULL);
    say_text(&conversation, request);
    hear(&conversation, reply);
    say_text(&conversation, request);
    hear(&conversation, twice);
    cr_assert_eq(conversation.heard_len, strlen(twice));

    free(twice);
    cr_assert_eq(conversation_end(&conversation), 0);
}

static void assert_answered_at_once(const coil_http_options *options, const char *request,
                                    const char *reply)
{
    struct conversation conversation;

    conversation_open_with(&conversation, answer_target, NULL, options, request);
    hear(&conversation, reply);
    cr_expect_str_eq(conversation.heard, reply);
    cr_assert_eq(conversation_end(&conversation), 0);
}

FIBER_TEST(http_server, who_asks_to_keep_the_connection_is_told_for_how_long)
{
    const char *request = "GET / HTTP/1.1\r\nHost: x\r\nConnection: Keep-Alive\r\n\r\n";
    coil_http_options options = COIL_HTTP_OPTIONS_INIT;

    options.idle_timeout = COIL_MS(2500);
    assert_answered_at_once(&options, request,
                            "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nConnection: keep-alive\r\n"
                            "Keep-Alive: timeout=2\r\nContent-Type: text/plain\r\n\r\n/");
    options.idle_timeout = COIL_NEVER;
    assert_answered_at_once(&options, request,
                            "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nConnection: keep-alive\r\n"
                            "Content-Type: text/plain\r\n\r\n/");
    options.close_always = true;
    assert_answered_at_once(&options, request, REPLY_CLOSE("1", "/"));
}

FIBER_TEST(http_server, close_always_leaves_one_request_per_connection)
{
    coil_http_options options = COIL_HTTP_OPTIONS_INIT;

    options.close_always = true;
    assert_converses_open(answer_target, &options, GET("/a") GET("/b"), REPLY_CLOSE("2", "/a"));
}

static int close_after(coil_http_request *request, void *arg)
{
    coil_http_close(request);
    return answer_target(request, arg);
}

FIBER_TEST(http_server, an_application_can_close_the_connection)
{
    assert_converses_open(close_after, NULL, GET("/a") GET("/b"), REPLY_CLOSE("2", "/a"));
}

FIBER_TEST(http_server, requests_that_come_byte_by_byte_are_answered_alike)
{
    const char *requests = GET("/a") "\r\n" GET("/b?c");
    struct conversation conversation;

    conversation_open(&conversation, answer_target, NULL, NULL);
    for (const char *at = requests; *at; at++) {
        say(&conversation, at, 1);
        until_parked(conversation.fiber);
    }
    hear(&conversation, REPLY("2", "/a") REPLY("4", "/b?c"));
    cr_assert_eq(conversation.heard_len, strlen(REPLY("2", "/a") REPLY("4", "/b?c")));

    cr_assert_eq(conversation_end(&conversation), 0);
}

FIBER_TEST(http_server, a_request_cut_short_is_not_answered)
{
    assert_converses(answer_target, NULL, GET("/a") "GET /b HTTP/1.1\r\nHost: x\r\n",
                     REPLY("2", "/a"));
}

static int starts;

static struct coil__stream_ops counting_ops;
static void (*real_output_start)(coil_stream *stream);

static void count_output_start(coil_stream *stream)
{
    starts++;
    real_output_start(stream);
}

FIBER_TEST(http_server, the_replies_to_sixteen_pipelined_requests_leave_in_one_send)
{
    char *requests = repeat(GET("/"), 16);
    char *replies = repeat(REPLY("1", "/"), 16);
    struct conversation conversation;

    conversation_open(&conversation, answer_target, NULL, NULL);
    counting_ops = *conversation.server->ops;
    real_output_start = counting_ops.output_start;
    counting_ops.output_start = count_output_start;
    conversation.server->ops = &counting_ops;
    say_text(&conversation, requests);
    hear(&conversation, replies);

    cr_assert_eq(starts, 1);
    cr_assert_eq(conversation_end(&conversation), 0);
    free(requests);
    free(replies);
}

/* ---- Refusals ---- */

static int calls;

static int count_calls(coil_http_request *request, void *arg)
{
    calls++;
    return answer_target(request, arg);
}

/* One error reply, then the end, and the application never hears of it. */
static void assert_refused(const coil_http_options *options, const char *request,
                           const char *status_line)
{
    char *heard = converse_open(count_calls, options, request);

    cr_expect(strncmp(heard, status_line, strlen(status_line)) == 0, "'%.60s' is answered '%s'",
              request, heard);
    assert_heard(heard, "\r\nConnection: close\r\n");
    cr_expect_eq(count_heard(heard, "HTTP/1.1"), 1, "%s", heard);
    cr_expect_eq(calls, 0);
    free(heard);
}

FIBER_TEST(http_server, malformed_requests_are_refused_without_the_application)
{
    static const struct {
        const char *request;
        const char *status_line;
    } rows[] = {
        {"GET / HTTP/1.1\r\n\r\n" GET("/n"), "HTTP/1.1 400 Bad Request\r\n"},
        {"GET / HTTP/1.1\r\nHost: x\r\nHost: x\r\n\r\n", "HTTP/1.1 400 Bad Request\r\n"},
        {"GET /\r\n\r\n", "HTTP/1.1 400 Bad Request\r\n"},
        {"GET / HTTP/1.1\nHost: x\n\n", "HTTP/1.1 400 Bad Request\r\n"},
        {"GET / HTTP/1.1\r\nHost: x\r\n folded\r\n\r\n", "HTTP/1.1 400 Bad Request\r\n"},
        {"GET / HTTP/2.0\r\nHost: x\r\n\r\n", "HTTP/1.1 505 HTTP Version Not Supported\r\n"},
        {"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: argh\r\n\r\n", "HTTP/1.1 400 "},
        {"POST / HTTP/1.1\r\nHost: x\r\nContent-Length:\r\n\r\n", "HTTP/1.1 400 "},
        {"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: -10\r\n\r\n", "HTTP/1.1 400 "},
        {"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: +3\r\n\r\nabc", "HTTP/1.1 400 "},
        {"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 3, 3\r\n\r\nabc", "HTTP/1.1 400 "},
        {"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 0x3\r\n\r\nabc", "HTTP/1.1 400 "},
        {"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\nTransfer-Encoding: chunked\r\n\r\n"
         "0\r\n\r\n" GET("/n"),
         "HTTP/1.1 400 "},
        {"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip, chunked\r\n\r\n",
         "HTTP/1.1 501 Not Implemented\r\n"},
    };

    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        assert_refused(NULL, rows[i].request, rows[i].status_line);
}

/* The three texts as one, to be freed; frees the middle one. */
static char *join(const char *before, char *middle, const char *after)
{
    const size_t size = strlen(before) + strlen(middle) + strlen(after) + 1;
    char *all = malloc(size);

    cr_assert_not_null(all);
    (void)snprintf(all, size, "%s%s%s", before, middle, after);
    free(middle);
    return all;
}

FIBER_TEST(http_server, a_request_line_over_the_limit_is_414_and_under_a_higher_one_served)
{
    coil_http_options options = COIL_HTTP_OPTIONS_INIT;
    char *request = join("GET ", repeat("/abcd", 3000), " HTTP/1.1\r\nHost: x\r\n\r\n");
    char *heard;

    assert_refused(NULL, request, "HTTP/1.1 414 URI Too Long\r\n");
    options.request_line_max = 20000;
    heard = converse(answer_target, &options, request);
    assert_heard(heard, "HTTP/1.1 200 OK\r\nContent-Length: 15000\r\n");

    free(heard);
    free(request);
}

FIBER_TEST(http_server, a_header_line_over_the_limit_is_431)
{
    char *request = join("GET / HTTP/1.1\r\nHost: x\r\na: ", repeat("b", 10000), "\r\n\r\n");

    assert_refused(NULL, request, "HTTP/1.1 431 Request Header Fields Too Large\r\n");
    free(request);
}

FIBER_TEST(http_server, header_lines_over_the_limit_together_are_431)
{
    char *line = join("a: ", repeat("b", 7000), "\r\n");
    char *request = join("GET / HTTP/1.1\r\nHost: x\r\n", repeat(line, 20), "\r\n");

    assert_refused(NULL, request, "HTTP/1.1 431 Request Header Fields Too Large\r\n");
    free(line);
    free(request);
}

FIBER_TEST(http_server, more_than_a_hundred_headers_are_431)
{
    char *request = join("GET / HTTP/1.1\r\nHost: x\r\n", repeat("a: b\r\n", 100), "\r\n");

    assert_refused(NULL, request, "HTTP/1.1 431 Request Header Fields Too Large\r\n");
    free(request);
}

FIBER_TEST(http_server, a_client_that_sends_a_megabyte_of_headers_reads_its_431)
{
    char *request = join("GET / HTTP/1.1\r\nHost: x\r\n", repeat("abcdefg: hijklm\r\n", 61680), "");

    assert_refused(NULL, request, "HTTP/1.1 431 Request Header Fields Too Large\r\n");
    free(request);
}

FIBER_TEST(http_server, limits_that_can_not_be_kept_are_refused)
{
    coil_http_options options = COIL_HTTP_OPTIONS_INIT;
    coil_stream *client;
    coil_stream *server;

    stream_pair(&client, &server);
    options.headers_max = 1024 * 1024 + 1;
    cr_assert_eq(coil_http_serve_stream(server, answer_target, NULL, &options), -EINVAL);
    options.headers_max = 0;
    options.server_name = "a\r\nb: c";
    cr_assert_eq(coil_http_serve_stream(server, answer_target, NULL, &options), -EINVAL);

    cr_assert_eq(coil_close(client), 0);
    cr_assert_eq(coil_close(server), 0);
}

/* ---- Deadlines and disappearing peers ---- */

FIBER_TEST(http_server, half_a_head_is_given_up_in_silence)
{
    coil_http_options options = COIL_HTTP_OPTIONS_INIT;

    options.header_timeout = COIL_MS(30);
    assert_converses_open(answer_target, &options, "GET / HTTP/1.1\r\nHost", "");
}

FIBER_TEST(http_server, the_deadline_of_a_head_is_not_moved_by_its_bytes)
{
    coil_http_options options = COIL_HTTP_OPTIONS_INIT;
    struct conversation conversation;
    int sent = 0;

    options.header_timeout = COIL_MS(60);
    conversation_open(&conversation, answer_target, NULL, &options);
    while (is_open(&conversation) && sent < 10000) {
        say(&conversation, sent == 0 ? "GET / HTTP/1.1\r\n" : "a: b\r\n", sent == 0 ? 16 : 6);
        sent++;
        cr_assert_eq(coil_sleep(COIL_MS(5)), 0);
    }

    cr_assert_lt(sent, 100, "the connection outlives its deadline");
    cr_assert_eq(conversation_end(&conversation), 0);
}

FIBER_TEST(http_server, an_idle_connection_is_closed)
{
    coil_http_options options = COIL_HTTP_OPTIONS_INIT;

    options.idle_timeout = COIL_MS(30);
    assert_converses_open(answer_target, &options, "", "");
    assert_converses_at_once(answer_target, &options, GET("/a"), REPLY("2", "/a"));
}

static int answer_slowly(coil_http_request *request, void *arg)
{
    const int result = coil_sleep(COIL_MS(100));

    return result < 0 ? result : answer_target(request, arg);
}

FIBER_TEST(http_server, an_application_may_take_longer_than_idle_connections)
{
    coil_http_options options = COIL_HTTP_OPTIONS_INIT;

    options.idle_timeout = COIL_MS(20);
    options.header_timeout = COIL_MS(20);
    assert_converses_at_once(answer_slowly, &options, GET("/a"), REPLY("2", "/a"));
}

FIBER_TEST(http_server, a_peer_that_resets_in_mid_head_is_no_failure)
{
    const struct linger reset = {.l_onoff = 1};
    struct conversation conversation;

    conversation_open(&conversation, answer_target, NULL, NULL);
    say_text(&conversation, "GET / HT");
    (void)setsockopt(coil_stream_fd(conversation.client), SOL_SOCKET, SO_LINGER, &reset,
                     sizeof reset);

    cr_assert_eq(conversation_end(&conversation), 0);
}

static int answer_much(coil_http_request *request, void *arg)
{
    char *body = repeat("0123456789abcdef", 65536);
    int result = 0;

    (void)arg;
    for (int i = 0; i < 64 && result == 0; i++)
        result = i == 0 ? coil_http_begin(request, 200, NULL, 64 << 20)
                        : coil_http_write(request, body, 1 << 20);
    free(body);
    return result;
}

FIBER_TEST(http_server, a_peer_that_never_reads_is_cut_off)
{
    coil_http_options options = COIL_HTTP_OPTIONS_INIT;
    struct conversation conversation;
    int result;

    options.write_timeout = COIL_MS(50);
    conversation_open(&conversation, answer_much, NULL, &options);
    say_text(&conversation, GET("/"));
    cr_assert_eq(coil_join(conversation.fiber, &result), 0);

    cr_assert_eq(result, 0);
    cr_assert_eq(conversation_end(&conversation), 0);
}

FIBER_TEST(http_server, a_cancelled_connection_says_so)
{
    struct conversation conversation;

    conversation_open(&conversation, answer_target, NULL, NULL);
    coil_cancel(conversation.fiber);

    cr_assert_eq(conversation_end(&conversation), -ECANCELED);
}

/* ---- The whole server ---- */

struct served {
    coil_listener *listener;
    coil_http_options options;
    coil_serve_options serve;
    coil_event begun;
    coil_event allowed;
    int failure;
};

static int answer_when_allowed(coil_http_request *request, void *arg)
{
    struct served *served = arg;
    int result = coil_event_set(&served->begun, NULL);

    cr_assert_eq(result, 0);
    result = coil_event_wait(&served->allowed, NULL);
    return result < 0 ? result : answer_target(request, NULL);
}

static void note_failure_of(int result, void *arg)
{
    ((struct served *)arg)->failure = result;
}

static int serve_listener(void *arg)
{
    struct served *served = arg;

    return coil_http_serve(served->listener, answer_when_allowed, served, &served->options);
}

/* With `grace` when stopped; 0: the default, longer than any stall. */
static coil_fiber *start_serving(struct served *served, coil_time grace)
{
    *served = (struct served){.options = COIL_HTTP_OPTIONS_INIT, .serve = COIL_SERVE_OPTIONS_INIT};
    served->options.serve = &served->serve;
    served->serve.failed = note_failure_of;
    served->serve.grace = grace;
    coil_event_init(&served->begun);
    coil_event_init(&served->allowed);
    cr_assert_eq(coil_listen("127.0.0.1:0", NULL, &served->listener), 0);
    return spawn_until_parked(serve_listener, served);
}

static coil_stream *connect_to(const struct served *served)
{
    char address[COIL_ADDRESS_SIZE];
    coil_stream *stream;

    cr_assert_gt(coil_listener_address(served->listener, address, sizeof address), 0);
    cr_assert_eq(coil_connect(address, NULL, &stream), 0);
    return stream;
}

FIBER_TEST(http_server, a_stop_ends_idle_connections_and_finishes_what_runs)
{
    struct served served;
    coil_fiber *server = start_serving(&served, 0);
    coil_stream *idle = connect_to(&served);
    coil_stream *busy = connect_to(&served);
    char text[512] = "";
    ssize_t length;

    cr_assert_eq(coil_write(busy, GET("/a"), strlen(GET("/a"))), 0);
    cr_assert_eq(coil_flush(busy), 0);
    cr_assert_eq(coil_event_wait(&served.begun, NULL), 0);
    coil_serve_stop(served.listener);
    cr_assert_eq(coil_read(idle, text, 1), 0, "an idle connection ends at once");
    cr_assert_eq(coil_event_set(&served.allowed, NULL), 0);
    length = coil_read_full(busy, text, sizeof text - 1, NULL);

    cr_assert_gt(length, 0);
    assert_heard(text, "\r\nConnection: close\r\n");
    assert_heard(text, "\r\n\r\n/a");
    cr_assert_eq(coil_close(idle), 0);
    cr_assert_eq(coil_close(busy), 0);
    cr_assert_eq(join_and_drop(server), 0);
    coil_listener_close(served.listener);
}

static int fail_always(coil_http_request *request, void *arg)
{
    (void)request;
    (void)arg;
    return -EIO;
}

static void note_failure(int result, void *arg)
{
    *(int *)arg = result;
}

static int serve_failing(void *arg)
{
    struct served *served = arg;

    return coil_http_serve(served->listener, fail_always, &served->failure, &served->options);
}

FIBER_TEST(http_server, the_failure_of_an_application_reaches_the_hook_with_its_argument)
{
    struct served served = {.options = COIL_HTTP_OPTIONS_INIT, .serve = COIL_SERVE_OPTIONS_INIT};
    coil_fiber *server;
    coil_stream *client;
    char text[512] = "";

    served.serve.failed = note_failure;
    served.options.serve = &served.serve;
    cr_assert_eq(coil_listen("127.0.0.1:0", NULL, &served.listener), 0);
    server = spawn_until_parked(serve_failing, &served);
    client = connect_to(&served);
    cr_assert_eq(coil_write(client, GET("/a"), strlen(GET("/a"))), 0);
    cr_assert_gt(coil_read_full(client, text, sizeof text - 1, NULL), 0);
    coil_serve_stop(served.listener);

    assert_heard(text, "HTTP/1.1 500 Internal Server Error\r\n");
    cr_assert_eq(served.failure, -EIO);
    cr_assert_eq(coil_close(client), 0);
    cr_assert_eq(join_and_drop(server), 0);
    coil_listener_close(served.listener);
}

FIBER_TEST(http_server, what_outlives_the_grace_is_cancelled_and_reaches_the_hook)
{
    struct served served;
    coil_fiber *server;
    coil_stream *busy;
    char byte;

    server = start_serving(&served, COIL_MS(200));
    busy = connect_to(&served);
    cr_assert_eq(coil_write(busy, GET("/a"), strlen(GET("/a"))), 0);
    cr_assert_eq(coil_flush(busy), 0);
    cr_assert_eq(coil_event_wait(&served.begun, NULL), 0);
    coil_serve_stop(served.listener);
    cr_assert_leq(coil_read(busy, &byte, 1), 0, "cut, without an answer");

    cr_assert_eq(join_and_drop(server), 0);
    cr_assert_eq(served.failure, -ECANCELED);
    cr_assert_eq(coil_close(busy), 0);
    coil_listener_close(served.listener);
}

/* ---- Memory ---- */

static int set_and_answer(coil_http_request *request, void *arg)
{
    const int result = coil_http_header_set(request, "X-Test", "1");

    return result < 0 ? result : answer_body(request, arg);
}

static void ignore_log(coil_log_level level, const char *message, void *arg)
{
    (void)level;
    (void)message;
    (void)arg;
}

/* One exchange with the N-th allocation of the server failing. Returns whether it was answered. */
static bool exchange_with_failure(int64_t after)
{
    static const char request[] = "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc";
    struct conversation conversation;
    bool is_answered;
    int result;

    conversation_open(&conversation, set_and_answer, NULL, NULL);
    say_text(&conversation, request);
    (void)coil_shutdown(conversation.client);
    coil__alloc_fail_after(after);
    (void)coil_join(conversation.fiber, NULL);
    coil__alloc_fail_after(-1);
    hear_all(&conversation);
    is_answered = strncmp(conversation.heard, "HTTP/1.1 200 OK\r\n", 17) == 0;
    result = conversation_end(&conversation);
    cr_assert(result == 0 || result == -ENOMEM, "%d", result);
    return is_answered;
}

FIBER_TEST(http_server, a_failing_allocation_costs_at_most_the_connection)
{
    int64_t after = 0;

    coil_log_set(ignore_log, NULL);
    while (!exchange_with_failure(after)) {
        after++;
        cr_assert_lt(after, 50, "it never works");
    }
    coil_log_set(NULL, NULL);
    cr_assert_gt(after, 0, "nothing was allocated");
}

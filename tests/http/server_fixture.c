/* SPDX-License-Identifier: MIT */
/* Raw conversations with the HTTP server (tests/http/server_fixture.h). */
#include "http/server_fixture.h"

#include <poll.h>
#include <stdlib.h>
#include <sys/socket.h>

#include "net/stream.h"

static int serve(void *arg)
{
    struct conversation *conversation = arg;
    coil_stream *stream = conversation->server;
    const int result =
        coil_http_serve_stream(stream, conversation->app, conversation->arg, conversation->options);

    (void)coil_close(stream); /* the client may have gone: how the close ends is not the server's */
    return result;
}

static void say_first(const struct conversation *conversation, const char *text)
{
    const int fd = coil_stream_fd(conversation->client);
    struct pollfd server = {.fd = coil_stream_fd(conversation->server), .events = POLLIN};

    cr_assert_eq(send(fd, text, strlen(text), MSG_DONTWAIT), (ssize_t)strlen(text));
    cr_assert_eq(poll(&server, 1, 20000), 1);
}

static void open_over(void (*make_pair)(coil_stream **, coil_stream **),
                      struct conversation *conversation, coil_http_app *app, void *arg,
                      const coil_http_options *options, const char *first)
{
    *conversation = (struct conversation){
        .app = app,
        .arg = arg,
        .options = options,
        .heard = calloc(1, HEARD_SIZE),
        .ended = 1,
    };
    cr_assert_not_null(conversation->heard);
    make_pair(&conversation->client, &conversation->server);
    if (*first)
        say_first(conversation, first);
    conversation->fiber = spawn_until_parked(serve, conversation);
}

void conversation_open(struct conversation *conversation, coil_http_app *app, void *arg,
                       const coil_http_options *options)
{
    open_over(tcp_pair, conversation, app, arg, options, "");
}

void conversation_open_with(struct conversation *conversation, coil_http_app *app, void *arg,
                            const coil_http_options *options, const char *first)
{
    open_over(tcp_pair, conversation, app, arg, options, first);
}

void conversation_open_stalled(struct conversation *conversation, coil_http_app *app, void *arg,
                               const coil_http_options *options)
{
    static const char junk[4096];

    open_over(stream_pair, conversation, app, arg, options, "");
    while (send(coil_stream_fd(conversation->server), junk, sizeof junk, MSG_DONTWAIT) > 0)
        continue;
}

bool is_open(const struct conversation *conversation)
{
    return conversation->fiber->tcb && !conversation->server->is_closing;
}

void say(struct conversation *conversation, const char *bytes, size_t len)
{
    /* A server that refuses may stop reading: the reply is what counts. */
    (void)coil_write(conversation->client, bytes, len);
    (void)coil_flush(conversation->client);
}

void say_text(struct conversation *conversation, const char *text)
{
    say(conversation, text, strlen(text));
}

/* The first "Date: ...\r\n" of the text goes, once it is complete. */
static void drop_dates(struct conversation *conversation)
{
    char *date;

    while ((date = strstr(conversation->heard, "Date: ")) != NULL) {
        const char *end = strstr(date, "\r\n");

        if (!end)
            return;
        conversation->heard_len -= (size_t)(end + 2 - date);
        memmove(date, end + 2, strlen(end + 2) + 1);
    }
}

static ssize_t hear_some(struct conversation *conversation)
{
    coil_scope scope;
    ssize_t length;

    cr_assert_lt(conversation->heard_len, (size_t)HEARD_SIZE - 1);
    coil_scope_enter(&scope, COIL_SECONDS(20));
    length = coil_read(conversation->client, conversation->heard + conversation->heard_len,
                       HEARD_SIZE - 1 - conversation->heard_len);
    cr_assert_not(coil_scope_leave(&scope), "the server goes silent after '%s'",
                  conversation->heard);
    if (length > 0) {
        conversation->heard_len += (size_t)length;
        conversation->heard[conversation->heard_len] = '\0';
        drop_dates(conversation);
    } else {
        conversation->ended = length;
    }
    return length;
}

static bool ends_with(const char *text, const char *end)
{
    const size_t len = strlen(text);
    const size_t end_len = strlen(end);

    return len >= end_len && strcmp(text + len - end_len, end) == 0;
}

void hear(struct conversation *conversation, const char *text)
{
    while (!ends_with(conversation->heard, text))
        cr_assert_gt(hear_some(conversation), 0, "the connection ends after '%s'",
                     conversation->heard);
}

void hear_all(struct conversation *conversation)
{
    while (hear_some(conversation) > 0)
        continue;
}

int conversation_end(struct conversation *conversation)
{
    free(conversation->heard);
    (void)coil_close(conversation->client);
    return join_and_drop(conversation->fiber);
}

/* Hears all and ends; returns what was heard. */
static char *take_heard(struct conversation *conversation)
{
    char *heard = conversation->heard;

    hear_all(conversation);
    conversation->heard = NULL;
    cr_assert_eq(conversation_end(conversation), 0);
    return heard;
}

static char *hold(coil_http_app *app, const coil_http_options *options, const char *input,
                  bool is_half_closed)
{
    struct conversation conversation;

    conversation_open(&conversation, app, NULL, options);
    say_text(&conversation, input);
    if (is_half_closed)
        (void)coil_shutdown(conversation.client);
    return take_heard(&conversation);
}

char *converse(coil_http_app *app, const coil_http_options *options, const char *input)
{
    return hold(app, options, input, true);
}

char *converse_open(coil_http_app *app, const coil_http_options *options, const char *input)
{
    return hold(app, options, input, false);
}

static void compare(char *heard, const char *input, const char *output)
{
    cr_expect_str_eq(heard, output, "said:\n%s\nheard:\n%s\nexpected:\n%s\n", input, heard, output);
    free(heard);
}

void assert_converses(coil_http_app *app, const coil_http_options *options, const char *input,
                      const char *output)
{
    compare(converse(app, options, input), input, output);
}

void assert_converses_open(coil_http_app *app, const coil_http_options *options, const char *input,
                           const char *output)
{
    compare(converse_open(app, options, input), input, output);
}

void assert_converses_at_once(coil_http_app *app, const coil_http_options *options,
                              const char *input, const char *output)
{
    struct conversation conversation;

    conversation_open_with(&conversation, app, NULL, options, input);
    compare(take_heard(&conversation), input, output);
}

void assert_heard(const char *heard, const char *text)
{
    cr_expect(strstr(heard, text) != NULL, "no '%s' in '%s'", text, heard);
}

void assert_not_heard(const char *heard, const char *text)
{
    cr_expect(strstr(heard, text) == NULL, "'%s' in '%s'", text, heard);
}

int count_heard(const char *heard, const char *text)
{
    int count = 0;

    for (const char *at = heard; (at = strstr(at, text)) != NULL; at++)
        count++;
    return count;
}

char *repeat(const char *text, size_t count)
{
    const size_t len = strlen(text);
    char *all = malloc(len * count + 1);

    cr_assert_not_null(all);
    for (size_t i = 0; i < count; i++)
        memcpy(all + i * len, text, len);
    all[len * count] = '\0';
    return all;
}

int answer_target(coil_http_request *request, void *arg)
{
    const char *target = coil_http_target(request);

    (void)arg;
    return coil_http_respond(request, 200, "text/plain", target, strlen(target));
}

int answer_body(coil_http_request *request, void *arg)
{
    const size_t step = arg ? *(const size_t *)arg : 4096;
    char *body = calloc(1, HEARD_SIZE);
    size_t len = 0;
    ssize_t length;
    int result;

    cr_assert_not_null(body);
    while ((length = coil_http_read(request, body + len, step)) > 0)
        len += (size_t)length;
    result = length < 0 ? (int)length : coil_http_respond(request, 200, "text/plain", body, len);
    free(body);
    return result;
}

/* SPDX-License-Identifier: MIT */
/* Talking to the HTTP server in raw bytes, for the tests of its parts.
 *
 * converse() is most of them: everything the client says, then its half-close, and everything it
 * hears until the end of the connection, with the Date lines taken out so that whole replies can be
 * compared. The server is one connection of coil_http_serve_stream() in a fiber of its own. Where
 * the order of events matters, a conversation is held step by step.
 */
#ifndef COIL_TESTS_HTTP_SERVER_FIXTURE_H
#define COIL_TESTS_HTTP_SERVER_FIXTURE_H

#include "support/fiber_test.h"

enum {
    HEARD_SIZE = 262144,
};

struct conversation {
    coil_stream *client;
    coil_stream *server;
    coil_fiber *fiber;
    coil_http_app *app;
    void *arg;
    const coil_http_options *options;
    char *heard; /* all that the client has read, NUL-terminated, without Date lines */
    size_t heard_len;
    ssize_t ended; /* 0: the connection has ended well; else its error; 1 while it is open */
};

/* Opens a connection over TCP and starts serving it. */
void conversation_open(struct conversation *conversation, coil_http_app *app, void *arg,
                       const coil_http_options *options);

/* The same with `first`, a few bytes, there to be read before the server begins: its first wait
 * finds them, however long the thread has stood still since the deadline was set. */
void conversation_open_with(struct conversation *conversation, coil_http_app *app, void *arg,
                            const coil_http_options *options, const char *first);

/* The same over unix sockets, whose way to the client is filled with junk: nothing more goes out
 * before the client reads. (TCP would go on squeezing some bytes through.) */
void conversation_open_stalled(struct conversation *conversation, coil_http_app *app, void *arg,
                               const coil_http_options *options);

/* Whether the server has not begun to close. (Once it has closed, its stream is gone.) */
bool is_open(const struct conversation *conversation);

/* Writes `len` bytes, or a text, and has them sent. */
void say(struct conversation *conversation, const char *bytes, size_t len);
void say_text(struct conversation *conversation, const char *text);

/* Reads until what was heard ends with `text`; fails the test when the connection ends before. */
void hear(struct conversation *conversation, const char *text);

/* Reads until the server ends the connection, in bounded time. */
void hear_all(struct conversation *conversation);

/* Closes the client's side, waits for the server's, returns its result. */
int conversation_end(struct conversation *conversation);

/* Says `input`, half-closes, and returns all that is heard until the end, to be freed. */
char *converse(coil_http_app *app, const coil_http_options *options, const char *input);

/* The same without the half-close: it is the server who has to end the connection. */
char *converse_open(coil_http_app *app, const coil_http_options *options, const char *input);

/* Compares what converse() returns with `output`, and frees it. */
void assert_converses(coil_http_app *app, const coil_http_options *options, const char *input,
                      const char *output);
void assert_converses_open(coil_http_app *app, const coil_http_options *options, const char *input,
                           const char *output);

/* The same with `input` there before the server begins, for those with a short idle_timeout. */
void assert_converses_at_once(coil_http_app *app, const coil_http_options *options,
                              const char *input, const char *output);

/* Fails unless `text` is among what was heard, or if it is. */
void assert_heard(const char *heard, const char *text);
void assert_not_heard(const char *heard, const char *text);

/* How often `text` is among what was heard. */
int count_heard(const char *heard, const char *text);

/* A text repeated, to be freed. */
char *repeat(const char *text, size_t count);

/* Responds 200 with the raw target as the body, without reading the request's. */
int answer_target(coil_http_request *request, void *arg);

/* Responds 200 with the request's body, read in pieces of *(size_t *)arg bytes (NULL: 4096). */
int answer_body(coil_http_request *request, void *arg);

/* The reply of answer_target() and answer_body() to an HTTP/1.1 request. */
#define REPLY(length, body) \
 "HTTP/1.1 200 OK\r\nContent-Length: " length "\r\nContent-Type: text/plain\r\n\r\n" body
#define REPLY_CLOSE(length, body)             \
 "HTTP/1.1 200 OK\r\nContent-Length: " length \
 "\r\nConnection: close\r\nContent-Type: text/plain\r\n\r\n" body

#endif

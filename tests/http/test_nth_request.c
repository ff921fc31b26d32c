/* SPDX-License-Identifier: MIT */
/* The HTTP server and client on a kernel that fails its N-th operation (tests/net/nth_fixture.h):
 * a connection that is used again, bodies in both directions, their framing told or chunked.
 */
#include <stdio.h>

#include "io/file_fixture.h"
#include "net/nth_fixture.h"

TestSuite(nth_request, .init = make_directory, .fini = remove_directory, .timeout = 120);

enum {
    BODY = 20000,
};

static char body[BODY];

static void report_nothing(const coil_fiber *fiber, int result, void *arg)
{
    (void)fiber;
    (void)result;
    (void)arg;
}

static bool is_body(const char *text, size_t length)
{
    return length == BODY && memcmp(text, body, BODY) == 0;
}

static int give(coil_http_request *request)
{
    int result = coil_http_begin(request, 200, "text/plain", COIL_HTTP_UNKNOWN);

    if (result == 0)
        result = coil_http_write(request, body, BODY / 2);
    if (result == 0)
        result = coil_http_write(request, body + BODY / 2, BODY - BODY / 2);
    return result == 0 ? coil_http_end(request) : result;
}

static int take(coil_http_request *request)
{
    char text[1000];
    size_t total = 0;
    ssize_t length;

    while ((length = coil_http_read(request, text, sizeof text)) > 0) {
        if (total + (size_t)length > BODY || memcmp(text, body + total, (size_t)length) != 0)
            return coil_http_respond(request, 200, "text/plain", "wrong", 5);
        total += (size_t)length;
    }
    if (length < 0)
        return (int)length;
    return coil_http_respond(request, 200, "text/plain", total == BODY ? "right" : "wrong", 5);
}

static int answer(coil_http_request *request, void *arg)
{
    const char *target = coil_http_target(request);

    (void)arg;
    if (strcmp(target, "/take") == 0)
        return take(request);
    if (strcmp(target, "/told") == 0)
        return coil_http_respond(request, 200, "text/plain", body, BODY);
    return give(request);
}

static int serve(void *arg)
{
    return coil_http_serve(arg, answer, NULL, NULL);
}

/* ---- Clients ---- */

static int fetch(coil_http_client *client, const char *address, const char *path)
{
    char url[128];
    coil_http_response *response;
    const char *text;
    ssize_t length;
    int result;

    (void)snprintf(url, sizeof url, "http://%s%s", address, path);
    result = coil_http_get(client, url, &response);
    if (result < 0)
        return result;
    length = coil_http_response_body(response, (size_t)BODY * 2, &text);
    if (length < 0)
        result = (int)length;
    else if (coil_http_response_status(response) != 200)
        result = -EPROTO;
    else if (!is_body(text, (size_t)length))
        result = -EILSEQ;
    coil_http_response_close(response);
    return result;
}

static int fetch_some(const char *address)
{
    coil_http_client *client;
    int result = coil_http_client_new(NULL, &client);

    if (result < 0)
        return result;
    result = fetch(client, address, "/told");
    if (result == 0)
        result = fetch(client, address, "/chunked");
    coil_http_client_free(client);
    return result;
}

/* A request with a body, which the client has no call for. */
static int send_body(coil_stream *stream)
{
    char text[2000];
    ssize_t length;
    int result = coil_printf(stream,
                             "POST /take HTTP/1.1\r\nHost: a\r\nConnection: close\r\n"
                             "Content-Length: %d\r\n\r\n",
                             BODY);

    if (result == 0)
        result = coil_write(stream, body, BODY);
    if (result == 0)
        result = coil_flush(stream);
    if (result < 0)
        return result;
    length = coil_read_full(stream, text, sizeof text - 1, NULL);
    if (length <= 0)
        return length < 0 ? (int)length : -ENODATA;
    text[length] = '\0';
    if (strstr(text, "wrong"))
        return -EILSEQ;
    return strstr(text, "right") ? 0 : -ENODATA;
}

static int post(const char *address)
{
    coil_stream *stream;
    int result = coil_connect(address, NULL, &stream);

    if (result < 0)
        return result;
    result = send_body(stream);
    (void)coil_close(stream);
    return result;
}

static int use_http(int (*client)(const char *address))
{
    char address[COIL_ADDRESS_SIZE];
    coil_listener *listener;
    coil_fiber *server;
    int result = coil_listen("127.0.0.1:0", NULL, &listener);

    if (result < 0)
        return result;
    for (int i = 0; i < BODY; i++)
        body[i] = (char)('a' + i % 23);
    coil_unhandled_set(report_nothing, NULL);
    (void)coil_listener_address(listener, address, sizeof address);
    cr_assert_eq(coil_spawn(serve, listener, &server), 0);
    result = client(address);
    coil_serve_stop(listener);
    cr_assert_eq(join_and_drop(server), 0);
    coil_listener_close(listener);
    return result;
}

static int use_fetches(void)
{
    return use_http(fetch_some);
}

static int use_post(void)
{
    return use_http(post);
}

Test(nth_request, no_body_is_wrong_or_short_without_an_error)
{
    fail_everything(use_fetches);
}

Test(nth_request, no_request_body_is_wrong_or_waited_for_in_vain)
{
    fail_everything(use_post);
}

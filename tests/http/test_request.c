/* SPDX-License-Identifier: MIT */
/* What an application learns of its request. */
#include "http/server_fixture.h"

#include <stdio.h>
#include <stdlib.h>

/* Answers "METHOD target path query version" with '-' for what is not there. */
static int describe(coil_http_request *request, void *arg)
{
    char path[32] = "";
    char text[256];
    const char *query = coil_http_query(request);
    const ssize_t length = coil_http_path(request, path, sizeof path);
    const int len = snprintf(text, sizeof text, "%s %s %s%d %s %d", coil_http_method(request),
                             coil_http_target(request), length < 0 ? "error " : path, (int)length,
                             query ? query : "-", coil_http_version(request));

    (void)arg;
    return coil_http_respond(request, 200, NULL, text, (size_t)len);
}

FIBER_TEST(http_request, the_request_line_is_given_raw_and_decoded)
{
    static const struct {
        const char *line;
        const char *body;
    } rows[] = {
        {"GET / HTTP/1.1", "GET / /1 - 11"},
        {"get / HTTP/1.1", "get / /1 - 11"},
        {"GET /a%20b?c%20d HTTP/1.1", "GET /a%20b?c%20d /a b4 c%20d 11"},
        {"GET /? HTTP/1.1", "GET /? /1  11"},
        {"GET /a?b?c HTTP/1.0", "GET /a?b?c /a2 b?c 10"},
        {"GET /a*b@%40%233 HTTP/1.1", "GET /a*b@%40%233 /a*b@@#38 - 11"},
        {"GET /%2e%2E/%2f HTTP/1.1", "GET /%2e%2E/%2f /..//5 - 11"},
        {"GET /%zz HTTP/1.1", "GET /%zz error -22 - 11"},
        {"GET /%00 HTTP/1.1", "GET /%00 error -22 - 11"},
        {"GET /0123456789012345678901234567890 HTTP/1.1",
         "GET /0123456789012345678901234567890 error -36 - 11"},
        {"GET /012345678901234567890123456789 HTTP/1.1",
         "GET /012345678901234567890123456789 /01234567890123456789012345678931 - 11"},
        {"GET http://h:80/a?b HTTP/1.1", "GET http://h:80/a?b /a2 b 11"},
        {"GET http://h HTTP/1.1", "GET http://h /1 - 11"},
        {"GET http://h?q HTTP/1.1", "GET http://h?q /1 q 11"},
        {"GET http://h?a/b HTTP/1.1", "GET http://h?a/b /1 a/b 11"},
        {"OPTIONS * HTTP/1.1", "OPTIONS * *1 - 11"},
        {"CONNECT h:1 HTTP/1.1", "CONNECT h:1 h:13 - 11"},
        {"GET / HTTP/1.9", "GET / /1 - 11"},
    };

    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        char request[128];
        char *heard;

        (void)snprintf(request, sizeof request, "%s\r\nHost: x\r\n\r\n", rows[i].line);
        heard = converse(describe, NULL, request);
        if (strncmp(rows[i].line, "CONNECT", 7) == 0)
            assert_heard(heard, "HTTP/1.1 200 OK\r\n");
        else
            cr_expect_str_eq(strstr(heard, "\r\n\r\n") + 4, rows[i].body, "%s", rows[i].line);
        free(heard);
    }
}

static int answer_query(coil_http_request *request, void *arg)
{
    const char *query = coil_http_query(request);

    (void)arg;
    return coil_http_respond(request, 200, "text/plain", query, strlen(query));
}

FIBER_TEST(http_request, a_query_ends_where_the_target_does)
{
    assert_converses(answer_query, NULL, "GET /?a=b HTTP/1.1\r\nHost: x\r\n\r\n",
                     REPLY("3", "a=b"));
}

static int check_headers(coil_http_request *request, void *arg)
{
    const char *name;
    const char *value;

    (void)arg;
    cr_expect_str_eq(coil_http_header(request, "x-any_k"), "one");
    cr_expect_str_eq(coil_http_header(request, "X-ANY_K"), "one", "asked for twice");
    cr_expect_str_eq(coil_http_header(request, "spaced"), "o   u   t");
    cr_expect_str_eq(coil_http_header(request, "bytes"), "\xc2\xa0");
    cr_expect_str_eq(coil_http_header(request, "Empty"), "");
    cr_expect_null(coil_http_header(request, "X-Any"), "no prefix is enough");
    cr_expect_null(coil_http_header(request, "X-Any_Kk"));
    cr_expect_null(coil_http_header(request, ""));
    cr_expect(coil_http_header_at(request, 1, &name, &value));
    cr_expect_str_eq(name, "x-ANY_k");
    cr_expect_str_eq(value, "one");
    cr_expect(coil_http_header_at(request, 2, &name, &value));
    cr_expect_str_eq(name, "x-ANY_k");
    cr_expect_str_eq(value, "two");
    cr_expect_not(coil_http_header_at(request, 6, &name, &value));
    cr_expect_str_eq(name, "x-ANY_k", "untouched on failure");
    return answer_target(request, NULL);
}

FIBER_TEST(http_request, headers_are_found_in_any_case_and_listed_as_sent)
{
    assert_converses(check_headers, NULL,
                     "GET / HTTP/1.1\r\nHost: x\r\nx-ANY_k: one\r\nx-ANY_k: two\r\n"
                     "Spaced: \t  o   u   t \t\r\nBytes: \xc2\xa0\r\nEmpty:\r\n\r\n",
                     REPLY("1", "/"));
}

FIBER_TEST(http_request, headers_of_one_request_are_not_those_of_the_next)
{
    struct conversation conversation;

    conversation_open(&conversation, describe, NULL, NULL);
    say_text(&conversation, "GET /a?b HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
    hear(&conversation, "GET /a?b /a2 b 10");
    say_text(&conversation, "GET /c HTTP/1.1\r\nHost: x\r\n\r\n");
    hear(&conversation, "GET /c /c2 - 11");

    cr_assert_eq(conversation_end(&conversation), 0);
}

static int answer_lengths(coil_http_request *request, void *arg)
{
    char text[32];
    const int len =
        snprintf(text, sizeof text, "%lld", (long long)coil_http_content_length(request));

    (void)arg;
    return coil_http_respond(request, 200, NULL, text, (size_t)len);
}

FIBER_TEST(http_request, the_length_of_the_body_is_told_when_it_is_known)
{
    char *heard =
        converse(answer_lengths, NULL,
                 "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc"
                 "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
                 "POST / HTTP/1.1\r\nHost: x\r\n\r\n");

    assert_heard(heard, "\r\n\r\n3HTTP/1.1");
    assert_heard(heard, "\r\n\r\n-1HTTP/1.1");
    assert_heard(heard, "\r\n\r\n0");
    free(heard);
}

static int answer_peer(coil_http_request *request, void *arg)
{
    char small[3] = "..";
    char text[COIL_ADDRESS_SIZE];
    const int len = coil_http_peer(request, text, sizeof text);

    (void)arg;
    cr_assert_eq(coil_http_peer(request, small, sizeof small), -ENOBUFS);
    cr_assert_str_eq(small, "..", "untouched");
    return len < 0 ? len : coil_http_respond(request, 200, NULL, text, (size_t)len);
}

FIBER_TEST(http_request, the_peer_is_the_clients_address)
{
    struct conversation conversation;
    char address[COIL_ADDRESS_SIZE];

    conversation_open(&conversation, answer_peer, NULL, NULL);
    cr_assert_gt(coil_stream_local(conversation.client, address, sizeof address), 0);
    say_text(&conversation, "GET / HTTP/1.1\r\nHost: x\r\n\r\n");
    hear(&conversation, address);

    cr_assert_eq(conversation_end(&conversation), 0);
}

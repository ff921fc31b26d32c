/* SPDX-License-Identifier: MIT */
/* The HTTP client's requests: what is sent, understood, followed and refused. */
#include "http/client_fixture.h"

#include <netinet/in.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/alloc.h"

#define OK(length, body) "HTTP/1.1 200 OK\r\nContent-Length: " #length "\r\n\r\n" body

/* ---- The request and the head of the response ---- */

FIBER_TEST(client, a_get_sends_one_well_formed_request)
{
    coil_http_client_options options = COIL_HTTP_CLIENT_OPTIONS_INIT;
    coil_http_client *client;
    struct server server;
    char text[8];
    char want[512];

    options.user_agent = "tester/1";
    cr_assert_eq(coil_http_client_new(&options, &client), 0);
    server_start_one(&server, OK(5, "hello"), ENDS_CLOSED);
    cr_assert_eq(get_text(client, &server, "/a/../b c?q=1#part", text, sizeof text), 200);
    cr_expect_str_eq(text, "hello");
    (void)snprintf(want, sizeof want,
                   "GET /b%%20c?q=1 HTTP/1.1\r\nHost: %.*s\r\nUser-Agent: tester/1\r\n"
                   "Accept: */*\r\n\r\n",
                   (int)sizeof server.url, server.url + strlen("http://"));
    cr_expect_str_eq(server.request, want);
    server_join(&server);
    coil_http_client_free(client);
}

FIBER_TEST(client, the_head_is_told_as_it_came)
{
    coil_http_client *client = client_new();
    coil_http_response *response;
    struct server server;
    const char *name = NULL;

    server_start_one(&server,
                     "HTTP/1.1 404 Not Found\r\nContent-Type:  text/html \r\nX-Two: a\r\n"
                     "x-two: b\r\nEmpty:\r\nContent-Length: 0\r\n\r\n",
                     ENDS_CLOSED);
    cr_assert_eq(get(client, &server, "/%7euser", &response), 0);
    cr_expect_eq(coil_http_response_status(response), 404);
    cr_expect_eq(coil_http_response_length(response), 0);
    cr_expect_str_eq(strstr(coil_http_response_url(response), "/~"), "/~user");
    cr_expect_str_eq(coil_http_response_header(response, "content-TYPE"), "text/html");
    cr_expect_str_eq(coil_http_response_header(response, "X-TWO"), "a");
    cr_expect_str_eq(coil_http_response_header(response, "empty"), "");
    cr_expect_null(coil_http_response_header(response, "X-Tw"));
    cr_expect_null(coil_http_response_header(response, "X-Two-"));
    cr_expect_str_eq(coil_http_response_header_at(response, 2, &name), "b");
    cr_expect_str_eq(name, "x-two");
    cr_expect_not_null(coil_http_response_header_at(response, 4, NULL));
    cr_expect_null(coil_http_response_header_at(response, 5, &name));
    coil_http_response_close(response);
    server_join(&server);
    coil_http_client_free(client);
}

FIBER_TEST(client, interim_responses_are_skipped_up_to_a_number_and_no_protocol_is_switched)
{
    coil_http_client *client = client_new();
    coil_http_response *response = NULL;
    char flood[20 * 64] = "";
    size_t length = 0;
    struct server server;
    char text[8];

    for (int i = 0; i < 20; i++)
        length += (size_t)snprintf(flood + length, sizeof flood - length,
                                   "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n");
    (void)snprintf(flood + length, sizeof flood - length, OK(2, "no"));
    const struct play plays[] = {
        {.replies = {"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Hints\r\nA: b\r\n\r\n" OK(2, "ok")},
         .is_slow = true},
        {.replies = {"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n" OK(2, "no")}},
        {.replies = {flood}},
    };
    server_start(&server, plays, 3);
    cr_assert_eq(get_text(client, &server, "/", text, sizeof text), 200);
    cr_expect_str_eq(text, "ok");
    cr_expect_eq(get(client, &server, "/", &response), -EPROTO);
    cr_expect_eq(get(client, &server, "/", &response), -EPROTO);
    cr_expect_null(response, "untouched");
    server_join(&server);
    coil_http_client_free(client);
}

FIBER_TEST(client, what_is_not_http_is_refused)
{
    static const char *const bad[] = {
        "",
        "220 mail.example ESMTP\r\n",
        "HTTP/2.0 200 OK\r\n\r\n",
        "HTTP/1.1 200 OK\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
        "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\na",
        "HTTP/1.1 200 OK\r\nA : b\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n",
    };
    coil_http_client *client = client_new();

    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        coil_http_response *response = NULL;
        struct server server;

        server_start_one(&server, bad[i], ENDS_CLOSED);
        cr_expect_eq(get(client, &server, "/", &response), -EPROTO, "%s", bad[i]);
        cr_expect_null(response);
        server_join(&server);
    }
    coil_http_client_free(client);
}

FIBER_TEST(client, a_head_over_the_limit_is_refused)
{
    coil_http_client_options options = COIL_HTTP_CLIENT_OPTIONS_INIT;
    coil_http_client *client;
    coil_http_response *response;
    struct server server;
    char fill[2048];
    char reply[4096];

    memset(fill, 'x', sizeof fill - 1);
    fill[sizeof fill - 1] = '\0';
    (void)snprintf(reply, sizeof reply, "HTTP/1.1 200 OK\r\nFill: %s\r\nContent-Length: 0\r\n\r\n",
                   fill);
    const struct play plays[] = {
        {.replies = {reply}, .ending = ENDS_WAITING},
        {.replies = {reply}, .ending = ENDS_WAITING},
    };
    server_start(&server, plays, 2);
    options.head_max = 2000;
    cr_assert_eq(coil_http_client_new(&options, &client), 0);
    cr_expect_eq(get(client, &server, "/", &response), -EMSGSIZE);
    coil_http_client_free(client);

    options.head_max = 4000;
    cr_assert_eq(coil_http_client_new(&options, &client), 0);
    cr_assert_eq(get(client, &server, "/", &response), 0);
    coil_http_response_close(response);
    coil_http_client_free(client);
    server_join(&server);
}

FIBER_TEST(client, urls_that_can_not_be_fetched_are_refused_before_connecting)
{
    coil_http_client *client = client_new();
    coil_http_response *response = NULL;
    char *huge = malloc(10000);

    cr_assert_not_null(huge);
    memset(huge, 'a', 9999);
    memcpy(huge, "http://h/", 9);
    huge[9999] = '\0';
    cr_expect_eq(coil_http_get(client, "https://127.0.0.1/", &response), -EPROTONOSUPPORT);
    cr_expect_eq(coil_http_get(client, "ftp://127.0.0.1/", &response), -EPROTONOSUPPORT);
    cr_expect_eq(coil_http_get(client, "127.0.0.1", &response), -EINVAL);
    cr_expect_eq(coil_http_get(client, "http://", &response), -EINVAL);
    cr_expect_eq(coil_http_get(client, "http://u:p@127.0.0.1/", &response), -EINVAL);
    cr_expect_eq(coil_http_get(client, "http://127.0.0.1/a\r\nX: y", &response), -EINVAL);
    cr_expect_eq(coil_http_get(client, huge, &response), -ENAMETOOLONG);
    cr_expect_null(response);
    free(huge);
    coil_http_client_free(client);
}

Test(client, options_that_can_not_be_kept_are_refused, .timeout = 20)
{
    coil_http_client_options options = COIL_HTTP_CLIENT_OPTIONS_INIT;
    coil_http_client *client = NULL;

    options.user_agent = "a\r\nX: y";
    cr_expect_eq(coil_http_client_new(&options, &client), -EINVAL);
    options.user_agent = NULL;
    options.head_max = 1 << 20;
    cr_expect_eq(coil_http_client_new(&options, &client), -EINVAL);
    cr_expect_null(client);
    coil_http_client_free(NULL);
    coil_http_response_close(NULL);
}

FIBER_TEST(client, nobody_listening_is_said)
{
    coil_http_client *client = client_new();
    coil_http_response *response;
    struct server server;

    server_start_one(&server, "", ENDS_CLOSED);
    server_stop(&server);
    cr_expect_eq(get(client, &server, "/", &response), -ECONNREFUSED);
    coil_http_client_free(client);
}

/* ---- Redirects ---- */

#define MOVED(to) "HTTP/1.1 302 Found\r\nLocation: " to "\r\nContent-Length: 4\r\n\r\nover"

FIBER_TEST(client, redirects_are_followed_as_far_as_asked)
{
    coil_http_client_options options = COIL_HTTP_CLIENT_OPTIONS_INIT;
    coil_http_client *client;
    coil_http_response *response;
    struct server server;
    const struct play play = {
        .replies = {MOVED("../c/d?e"), OK(1, "1"), MOVED("/2"), MOVED("/3")},
        .ending = ENDS_WAITING,
    };

    options.redirects_max = 1;
    cr_assert_eq(coil_http_client_new(&options, &client), 0);
    server_start(&server, &play, 1);
    cr_assert_eq(get(client, &server, "/a/b", &response), 0);
    cr_expect_eq(coil_http_response_status(response), 200);
    cr_expect_str_eq(coil_http_response_url(response) + strlen(server.url), "/c/d?e");
    cr_expect_eq(coil_http_response_read(response, (char[1]){0}, 1), 1);
    coil_http_response_close(response);
    cr_expect_eq(get(client, &server, "/1", &response), -ELOOP);
    coil_http_client_free(client);
    server_join(&server);
    cr_expect_eq(server.requests, 4);
}

FIBER_TEST(client, a_redirect_is_a_response_like_others_unless_asked)
{
    coil_http_client *client = client_new();
    struct server server;

    server_start_one(&server, MOVED("https://127.0.0.1/"), ENDS_CLOSED);
    cr_expect_eq(get_text(client, &server, "/", NULL, 0), 302);
    server_join(&server);
    coil_http_client_free(client);
}

FIBER_TEST(client, a_redirect_to_what_can_not_be_fetched_is_an_error)
{
    coil_http_client_options options = COIL_HTTP_CLIENT_OPTIONS_INIT;
    coil_http_client *client;
    coil_http_response *response;
    struct server server;
    const struct play play = {.replies = {MOVED("https://127.0.0.1/"), MOVED("http://")}};

    options.redirects_max = 5;
    cr_assert_eq(coil_http_client_new(&options, &client), 0);
    server_start(&server, &play, 1);
    cr_expect_eq(get(client, &server, "/", &response), -EPROTONOSUPPORT);
    cr_expect_eq(get(client, &server, "/", &response), -EINVAL);
    server_join(&server);
    coil_http_client_free(client);
}

FIBER_TEST(client, the_body_of_a_redirect_is_not_waited_for)
{
    coil_http_client_options options = COIL_HTTP_CLIENT_OPTIONS_INIT;
    coil_http_client *client;
    coil_scope scope;
    struct server server;
    const struct play plays[] = {
        {.replies = {"HTTP/1.1 302 Found\r\nLocation: /b\r\nContent-Length: 4\r\n\r\no"},
         .ending = ENDS_WAITING},
        {.replies = {OK(1, "2")}},
    };

    options.redirects_max = 1;
    cr_assert_eq(coil_http_client_new(&options, &client), 0);
    server_start(&server, plays, 2);
    coil_scope_enter(&scope, COIL_SECONDS(10));
    cr_expect_eq(get_text(client, &server, "/a", NULL, 0), 200);
    cr_expect_not(coil_scope_leave(&scope));
    server_join(&server);
    cr_expect_eq(server.connections, 2);
    coil_http_client_free(client);
}

FIBER_TEST(client, options_without_their_initialiser_are_refused)
{
    coil_http_client_options options = {0};
    coil_http_client *client;

    cr_assert_eq(coil_http_client_new(&options, &client), -EINVAL);
}

/* ---- Memory ---- */

/* Answers requests on one connection after the other, with no memory of coil's. */
static void *answer(void *arg)
{
    static const char reply[] = MOVED("/moved") OK(5, "hello");
    const size_t moved = strlen(MOVED("/moved"));
    const int listening = *(int *)arg;
    char bytes[4096];
    int fd;

    while ((fd = accept(listening, NULL, NULL)) >= 0) {
        ssize_t got;

        while ((got = recv(fd, bytes, sizeof bytes - 1, 0)) > 0) {
            bytes[got] = '\0';
            if (strstr(bytes, "/moved"))
                (void)send(fd, reply + moved, sizeof reply - 1 - moved, MSG_NOSIGNAL);
            else
                (void)send(fd, reply, moved, MSG_NOSIGNAL);
        }
        (void)close(fd);
    }
    return NULL;
}

/* Creates a client and fetches one page over a redirect; the first error, or 0. */
static int fetch_short_of_memory(const char *url)
{
    coil_http_client_options options = COIL_HTTP_CLIENT_OPTIONS_INIT;
    coil_http_client *client;
    coil_http_response *response;
    const char *data;
    ssize_t length;
    int result;

    options.redirects_max = 1;
    result = coil_http_client_new(&options, &client);
    if (result < 0)
        return result;
    result = coil_http_get(client, url, &response);
    if (result == 0) {
        length = coil_http_response_body(response, 10, &data);
        result = length < 0 ? (int)length : 0;
        if (result == 0)
            cr_expect_str_eq(data, "hello");
        coil_http_response_close(response);
    }
    coil_http_client_free(client);
    return result;
}

/* A listening socket of the kernel's own, and the URL of a page there. */
static int listen_raw(char *url, size_t size)
{
    struct sockaddr_in address = {.sin_family = AF_INET};
    socklen_t length = sizeof address;
    const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    cr_assert_eq(bind(fd, (struct sockaddr *)&address, sizeof address), 0);
    cr_assert_eq(listen(fd, 8), 0);
    cr_assert_eq(getsockname(fd, (struct sockaddr *)&address, &length), 0);
    (void)snprintf(url, size, "http://127.0.0.1:%d/", ntohs(address.sin_port));
    return fd;
}

FIBER_TEST(client, when_any_allocation_fails_the_get_says_so_and_nothing_leaks)
{
    char url[64];
    int listening = listen_raw(url, sizeof url);
    pthread_t thread;
    int failures = 0;
    int result;

    cr_assert_eq(pthread_create(&thread, NULL, answer, &listening), 0);
    cr_assert_eq(fetch_short_of_memory(url), 0, "and the engine has what it needs for itself");
    do {
        coil__alloc_fail_after(failures);
        result = fetch_short_of_memory(url);
        coil__alloc_fail_after(-1);
        cr_assert(result == 0 || result == -ENOMEM, "%s", coil_strerror(result));
        failures++;
    } while (result < 0);
    cr_expect_geq(failures, 8, "client, responses, texts, host, connection, heads, body");
    cr_assert_eq(shutdown(listening, SHUT_RDWR), 0);
    cr_assert_eq(pthread_join(thread, NULL), 0);
    (void)close(listening);
}

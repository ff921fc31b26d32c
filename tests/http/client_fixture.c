/* SPDX-License-Identifier: MIT */
/* The scripted server (tests/http/client_fixture.h). */
#include "http/client_fixture.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>

/* Keeps the head of the next request. Returns 0 at the end of the connection. */
static int read_request(struct server *server, coil_stream *stream)
{
    size_t length = 0;

    server->request[0] = '\0';
    for (;;) {
        const ssize_t got =
            coil_read_line(stream, server->request + length, sizeof server->request - length);

        if (got <= 0)
            return 0;
        length += (size_t)got;
        if (got == 2)
            break;
    }
    server->requests++;
    return 1;
}

static void send_reply(coil_stream *stream, const char *reply, bool is_slow)
{
    if (!is_slow) {
        (void)coil_write(stream, reply, strlen(reply));
    } else {
        for (; *reply; reply++) {
            (void)coil_write(stream, reply, 1);
            (void)coil_flush(stream);
            coil_yield();
        }
    }
    (void)coil_flush(stream);
}

static void end(coil_stream *stream, enum ending ending)
{
    const struct linger reset = {.l_onoff = 1, .l_linger = 0};
    char byte;

    if (ending == ENDS_WAITING)
        (void)!coil_read(stream, &byte, 1);
    if (ending == ENDS_RESET)
        (void)setsockopt(coil_stream_fd(stream), SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
    (void)coil_close(stream);
}

static int serve_plays(void *arg)
{
    struct server *server = arg;

    for (int i = 0; i < server->play_count; i++) {
        const struct play *play = &server->plays[i];
        coil_stream *stream;
        const int result = coil_accept(server->listener, &stream);

        if (result < 0)
            return 0;
        server->connections++;
        for (int r = 0; play->ending != ENDS_AT_ONCE && r < REPLIES_MAX && play->replies[r]; r++) {
            if (!read_request(server, stream))
                break;
            send_reply(stream, play->replies[r], play->is_slow);
        }
        end(stream, play->ending);
        server->closed++;
    }
    return 0;
}

void server_start(struct server *server, const struct play *plays, int count)
{
    char address[COIL_ADDRESS_SIZE];

    cr_assert_leq(count, PLAYS_MAX);
    *server = (struct server){.play_count = count};
    memcpy(server->plays, plays, (size_t)count * sizeof *plays);
    cr_assert_eq(coil_listen("127.0.0.1:0", NULL, &server->listener), 0);
    cr_assert_gt(coil_listener_address(server->listener, address, sizeof address), 0);
    (void)snprintf(server->url, sizeof server->url, "http://%s", address);
    cr_assert_eq(coil_spawn(serve_plays, server, &server->fiber), 0);
}

void server_start_one(struct server *server, const char *reply, enum ending ending)
{
    const struct play play = {.replies = {reply}, .ending = ending};

    server_start(server, &play, 1);
}

void server_join(struct server *server)
{
    cr_assert_eq(join_and_drop(server->fiber), 0);
    coil_listener_close(server->listener);
}

void server_stop(struct server *server)
{
    coil_cancel(server->fiber);
    server_join(server);
}

int get(coil_http_client *client, const struct server *server, const char *path,
        coil_http_response **ret_response)
{
    char url[512];

    (void)snprintf(url, sizeof url, "%s%s", server->url, path);
    return coil_http_get(client, url, ret_response);
}

int get_text(coil_http_client *client, const struct server *server, const char *path, char *text,
             size_t size)
{
    coil_http_response *response;
    const char *data;
    ssize_t length;
    int status;
    int result = get(client, server, path, &response);

    cr_assert_eq(result, 0, "%s", coil_strerror(result));
    status = coil_http_response_status(response);
    length = coil_http_response_body(response, 1 << 20, &data);
    cr_assert_geq(length, 0, "%s", coil_strerror((int)length));
    cr_assert_eq(strlen(data), (size_t)length);
    if (text)
        (void)snprintf(text, size, "%s", data);
    coil_http_response_close(response);
    return status;
}

coil_http_client *client_new(void)
{
    coil_http_client *client;

    cr_assert_eq(coil_http_client_new(NULL, &client), 0);
    return client;
}

/* SPDX-License-Identifier: MIT */
/* Connections on a journey (tests/net/journey_fixture.h). */
#include "net/journey_fixture.h"

#include <unistd.h>

#include "net/listener.h"
#include "net/serve.h"

int journey_arrive(coil_stream *stream, void *arg)
{
    struct journey *journey = arg;
    int result;

    journey->core = coil_core();
    journey->arrived++;
    result = journey->last(stream, arg);
    journey->result = result;
    journey->left++;
    return result;
}

static int go_on(coil_stream *stream, void *arg)
{
    struct journey *journey = arg;
    const unsigned step = journey->step++;
    const bool is_last = step + 1 == journey->route_length;
    const int result =
        coil_stream_move(stream, journey->route[step], is_last ? journey_arrive : go_on, journey);

    if (is_last) {
        journey->expired = coil_expired();
        journey->moved = result;
    }
    return 0;
}

/* The server's handler. */
static int look_and_move(coil_stream *stream, void *arg)
{
    struct journey *journey = arg;
    const char *data;

    came(&journey->site);
    journey->handler = coil_self();
    if (coil_peek(stream, 1, &data) <= 0)
        (void)coil_shutdown(stream); /* a stop or a cancellation: it is moved all the same */
    (void)go_on(stream, arg);
    journey->handler = NULL;
    went(&journey->site);
    return 0;
}

int echo_bytes(coil_stream *stream, void *arg)
{
    ssize_t n;
    char byte;

    (void)arg;
    do {
        coil_stream_idle(stream);
        n = coil_read(stream, &byte, 1);
        if (n > 0)
            n = coil_write(stream, &byte, 1) < 0 ? -EPIPE : 1;
    } while (n > 0);
    return (int)n;
}

static void open_with(struct journey *journey, coil_handler *last,
                      void (*open)(struct site *site, coil_handler *handler))
{
    *journey = (struct journey){.route = {FAR}, .route_length = 1, .last = last, .moved = 1};
    open(&journey->site, look_and_move);
    journey->site.options.failed = note_failure;
}

void journey_open(struct journey *journey, coil_handler *last)
{
    open_with(journey, last, site_open);
}

void journey_open_unix(struct journey *journey, coil_handler *last)
{
    open_with(journey, last, site_open_unix);
}

void journey_open_by(struct journey *journey, coil_handler *last, const unsigned *route,
                     unsigned length)
{
    journey_open(journey, last);
    memcpy(journey->route, route, length * sizeof *route);
    journey->route_length = length;
}

void until_counted(const struct journey *journey, size_t count)
{
    while (journey->site.listener->server->running != count)
        coil_yield();
}

int dial_and_send(struct journey *journey, const char *text)
{
    const unsigned arrived = journey->arrived;
    const int fd = dial(journey->site.address);

    write_text(fd, text);
    while (journey->arrived == arrived)
        coil_yield();
    return fd;
}

void expect_answer(int fd, char expected)
{
    char byte = 0;

    while (read_now(fd, &byte, 1) == 0)
        coil_yield();
    cr_assert_eq(byte, expected);
}

void expect_end(int fd)
{
    char byte;
    ssize_t n;

    do {
        coil_yield();
        n = recv(fd, &byte, 1, MSG_DONTWAIT);
    } while (n < 0 && errno == EAGAIN);
    cr_assert_leq(n, 0, "an end or a reset");
    cr_assert_eq(close(fd), 0);
}

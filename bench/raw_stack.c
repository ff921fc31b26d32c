/* SPDX-License-Identifier: MIT */
/* How deep an echo handler's stack goes: parked in its read, and at its deepest so far.
 *
 * The stacks are filled with a pattern before fibers run on them, so what the pattern has lost is
 * what was ever touched. The handlers are those of demos/echo.c, served by coil_serve() to one
 * client that has had a few replies. It looks inside the library, as a user can't.
 *
 * Design D10 wants control block, stream and the parked chain of calls to fit into 2,100 bytes:
 * with the colour of up to 1,984 on top, that is a page.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <coil/coil.h>

#include "core/sched.h"
#include "measure.h"
#include "net/stream.h"

enum {
    STACKS_FILLED = 8, /* more than the fibers of this program */
    FILLED_SIZE = 32768,
    PATTERN = 0xA5,
    EXCHANGES = 3,
};

static struct coil__tcb *observed;

static int echo_lines(coil_stream *client, void *arg)
{
    char line[1024];
    ssize_t length;

    (void)arg;
    observed = coil__self();
    for (;;) {
        coil_stream_idle(client);
        length = coil_read_line(client, line, sizeof line);
        if (length <= 0)
            break;
        if (coil_write(client, line, (size_t)length) < 0)
            break;
    }
    return (int)length;
}

static int echo_bytes(coil_stream *client, void *arg)
{
    const char *bytes;
    ssize_t length;

    (void)arg;
    observed = coil__self();
    for (;;) {
        coil_stream_idle(client);
        length = coil_peek(client, 1, &bytes);
        if (length <= 0)
            break;
        if (coil_write(client, bytes, (size_t)length) < 0)
            break;
        coil_consume(client, (size_t)length);
    }
    return (int)length;
}

static void fill_stacks(struct coil__stacks *stacks)
{
    void *tops[STACKS_FILLED];

    for (int i = 0; i < STACKS_FILLED; i++) {
        tops[i] = coil__stack_get(stacks);
        measure_check(tops[i] ? 0 : -ENOMEM, "coil__stack_get");
        memset((char *)tops[i] - FILLED_SIZE, PATTERN, FILLED_SIZE);
    }
    for (int i = 0; i < STACKS_FILLED; i++)
        coil__stack_put(stacks, tops[i]);
}

/* The lowest byte that was written to. */
static const unsigned char *lowest_touched(const struct coil__tcb *tcb)
{
    const unsigned char *at = (const unsigned char *)tcb->stack_top - FILLED_SIZE;

    while (*at == PATTERN)
        at++;
    return at;
}

static void exchange(coil_stream *stream)
{
    char reply[8];
    ssize_t length;

    for (int i = 0; i < EXCHANGES; i++) {
        measure_check((int)coil_write(stream, "hello\n", 6), "coil_write");
        length = coil_read_line(stream, reply, sizeof reply);
        measure_check(length == 6 ? 0 : -EIO, "coil_read_line");
    }
    /* The reply arrives before the handler is parked again. */
    while (observed->state != COIL__FIBER_PARKED)
        coil_yield();
}

static void report(const char *name, bool is_last)
{
    const char *tcb = (const char *)observed;

    (void)printf("\"%s\": {\"parked\": %td, \"touched\": %td}%s", name,
                 tcb - (const char *)observed->context,
                 tcb - (const char *)lowest_touched(observed), is_last ? "" : ", ");
}

struct server {
    coil_listener *listener;
    coil_handler *handler;
};

static int serve(void *arg)
{
    const struct server *server = arg;

    return coil_serve(server->listener, server->handler, NULL, NULL);
}

static void observe(const char *name, coil_handler *handler, bool is_last)
{
    struct server server = {.handler = handler};
    char address[COIL_ADDRESS_SIZE];
    coil_stream *stream;
    coil_fiber *fiber;

    fill_stacks(&coil__sched()->stacks);
    measure_check(coil_listen("127.0.0.1:0", NULL, &server.listener), "coil_listen");
    (void)coil_listener_address(server.listener, address, sizeof address);
    measure_check(coil_spawn(serve, &server, &fiber), "coil_spawn");
    measure_check(coil_connect(address, NULL, &stream), "coil_connect");
    exchange(stream);
    report(name, is_last);
    measure_check(coil_close(stream), "coil_close");
    coil_serve_stop(server.listener);
    measure_check(coil_join(fiber, NULL), "coil_join");
    coil_fiber_unref(fiber);
    coil_listener_close(server.listener);
}

static int measure(void *arg)
{
    (void)arg;
    (void)printf("{\"control_block\": %zu, \"stream\": %zu, ", sizeof(struct coil__tcb),
                 sizeof(coil_stream));
    observe("echo_lines", echo_lines, false);
    observe("echo_bytes", echo_bytes, true);
    (void)printf("}\n");
    return 0;
}

int main(void)
{
    measure_check(coil_run(measure, NULL, NULL, NULL), "coil_run");
    return 0;
}

/* SPDX-License-Identifier: MIT */
/* Idle connections of the HTTP server (http/idle.h).
 *
 * Invariant: while a wait with a deadline is under way the timer is armed, for that deadline or an
 * earlier time.
 */
#include "http/idle.h"

#include <errno.h>

static const int64_t retry_delay = COIL_MS(1);

static void arm(struct coil__http_idle *idle, int64_t deadline)
{
    coil__timer_arm(&idle->stream->sched->timers, &idle->timer, deadline);
}

static void fire(struct coil__timer *timer)
{
    struct coil__http_idle *idle = container_of(timer, struct coil__http_idle, timer);

    if (!idle->is_waiting)
        return; /* the next wait arms it */
    if (idle->deadline > coil__clock_now()) {
        arm(idle, idle->deadline);
    } else if (!idle->stream->input.is_parked) {
        arm(idle, coil__clock_deadline(retry_delay)); /* about to run: it may park again */
    } else {
        idle->is_over = true;
        coil__input_fail(idle->stream, -ETIMEDOUT);
    }
}

/* An empty line before a request, as some clients send it after a body, is not the beginning of
 * one (RFC 9112 2.2): the connection stays idle, and for no longer. */
static COIL_COLD ssize_t skip_empty_line(coil_stream *stream)
{
    const char *data;
    const ssize_t length = coil_peek(stream, 2, &data);

    if (length < 2 || data[1] != '\n')
        return length;
    coil_consume(stream, 2);
    coil_stream_idle(stream);
    return coil_peek(stream, 1, &data);
}

int coil__http_idle_wait(struct coil__http_idle *idle)
{
    const char *data;
    ssize_t length;

    coil_stream_idle(idle->stream);
    idle->deadline = coil__clock_deadline(idle->timeout);
    idle->is_waiting = true;
    if (COIL_UNLIKELY(!coil__heap_has(&idle->timer.node)))
        arm(idle, idle->deadline);
    length = coil_peek(idle->stream, 1, &data);
    if (COIL_UNLIKELY(length > 0 && data[0] == '\r'))
        length = skip_empty_line(idle->stream);
    idle->is_waiting = false;
    if (COIL_UNLIKELY(idle->is_over))
        return 0;
    return length > 0 ? 1 : (int)length;
}

void coil__http_idle_init(struct coil__http_idle *idle, coil_stream *stream, coil_time timeout)
{
    *idle = (struct coil__http_idle){
        .timer = {.fire = fire},
        .stream = stream,
        .timeout = timeout,
    };
}

void coil__http_idle_fini(struct coil__http_idle *idle)
{
    coil__timer_disarm(&idle->stream->sched->timers, &idle->timer);
}

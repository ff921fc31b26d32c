/* SPDX-License-Identifier: MIT */
/* Waiting for the next request of a connection, for as long as it may be idle.
 *
 * One timer serves all waits of a connection. It is armed by the first and then left alone: when it
 * fires, it looks at the deadline of the wait under way and is armed again if that has moved. So a
 * busy connection touches the timers once per idle_timeout, not twice per request, which was a
 * twelfth of what a small request costs.
 */
#ifndef COIL_LIB_HTTP_IDLE_H
#define COIL_LIB_HTTP_IDLE_H

#include "net/stream.h"

struct coil__http_idle {
    struct coil__timer timer;
    coil_stream *stream;
    coil_time timeout;
    int64_t deadline; /* of the wait under way */
    bool is_waiting;
    bool is_over; /* it passed */
};

void coil__http_idle_init(struct coil__http_idle *idle, coil_stream *stream, coil_time timeout);
void coil__http_idle_fini(struct coil__http_idle *idle);

/* Waits for the first byte of a request. Returns 1; 0 at the end of the input or when it was idle
 * for too long; or an error. */
int coil__http_idle_wait(struct coil__http_idle *idle);

#endif

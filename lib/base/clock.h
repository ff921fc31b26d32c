/* SPDX-License-Identifier: MIT */
/* The monotonic clock and the arithmetic of deadlines.
 *
 * Inside coil a deadline is absolute (CLOCK_MONOTONIC, ns); the public API speaks durations. The
 * clock is read where a duration becomes a deadline and once per turn of the loop, not per
 * operation.
 */
#ifndef COIL_LIB_BASE_CLOCK_H
#define COIL_LIB_BASE_CLOCK_H

#include <stdint.h>
#include <time.h>

static inline int64_t coil__clock_now(void)
{
    struct timespec now;

    (void)clock_gettime(CLOCK_MONOTONIC, &now); /* cannot fail with this clock */
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

/* The same clock, some milliseconds late and at a fifth of the price: for people. */
static inline int64_t coil__clock_coarse(void)
{
    struct timespec now;

    (void)clock_gettime(CLOCK_MONOTONIC_COARSE, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

/* The deadline `timeout_ns` from now: INT64_MAX for never, also when the sum would overflow; a
 * negative timeout counts as 0. */
static inline int64_t coil__clock_deadline(int64_t timeout_ns)
{
    int64_t now;

    if (timeout_ns == INT64_MAX)
        return INT64_MAX;
    now = coil__clock_now();
    if (timeout_ns <= 0)
        return now;
    return timeout_ns >= INT64_MAX - now ? INT64_MAX : now + timeout_ns;
}

#endif

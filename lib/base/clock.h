/* SPDX-License-Identifier: MIT */
/* The monotonic clock and the arithmetic of deadlines.
 *
 * Inside coil a deadline is absolute (CLOCK_MONOTONIC, ns); the public API speaks durations. The
 * clock is read where a duration becomes a deadline and a few times per turn of the loop, not per
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

/* The deadline `timeout_ns` after `now`: INT64_MAX for never, also when the sum would overflow; a
 * negative timeout counts as 0. */
static inline int64_t coil__clock_after(int64_t now, int64_t timeout_ns)
{
    if (timeout_ns <= 0)
        return now;
    return timeout_ns >= INT64_MAX - now ? INT64_MAX : now + timeout_ns;
}

/* The deadline `timeout_ns` from now. */
static inline int64_t coil__clock_deadline(int64_t timeout_ns)
{
    return timeout_ns == INT64_MAX ? INT64_MAX : coil__clock_after(coil__clock_now(), timeout_ns);
}

/* As pthread_cond_timedwait(3) wants it, of a condition that goes by this clock. */
static inline struct timespec coil__clock_timespec(int64_t deadline)
{
    return (struct timespec){.tv_sec = deadline / 1000000000, .tv_nsec = deadline % 1000000000};
}

#endif

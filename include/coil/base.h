/* SPDX-License-Identifier: MIT */
/* coil/base.h - what every other header of coil starts from.
 *
 * Results: a call that can fail returns >= 0 or a negative errno (-EINVAL, -ETIMEDOUT, ...), the
 * convention of io_uring's own completions. They never travel in `errno`. Objects and
 * further results come through last parameters named ret_x, which stay untouched on failure.
 *
 * Time: coil_time is a duration in nanoseconds, relative to now, everywhere. COIL_NEVER is "no
 * limit", a negative duration counts as 0. COIL_MS(5), COIL_SECONDS(2) make one.
 *
 * Parking: a call documented as "parks" may put the calling fiber to sleep while others run. Every
 * parking call fails with -ETIMEDOUT inside an expired scope and -ECANCELED in a cancelled fiber
 * (coil/scope.h), also when it would not have had to wait. Calls named try_x never park.
 *
 * Threads: unless a header says otherwise, an object belongs to the core (coil/core.h) that made
 * it, and every call must come from a fiber there. From elsewhere: coil/remote.h.
 *
 * Mistakes of the program, which no result could mend, stop it, in every build, with a line that
 * says what did not hold: a call outside of coil_run() or on another core, scopes left out of order
 * or by another fiber, a second close, a lock that its owner takes along.
 */
#ifndef COIL_BASE_H
#define COIL_BASE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#ifdef __cplusplus
# define COIL_BEGIN_DECLS extern "C" {
# define COIL_END_DECLS   }
#else
# define COIL_BEGIN_DECLS
# define COIL_END_DECLS
#endif

#define COIL_API        __attribute__((visibility("default")))
#define COIL_MUST_CHECK __attribute__((warn_unused_result))
#define COIL_PRINTF(format_index, first_arg) \
 __attribute__((format(printf, format_index, first_arg)))

/** A duration in nanoseconds, relative to now. */
typedef int64_t coil_time;

#define COIL_NEVER      INT64_MAX
#define COIL_US(n)      ((coil_time)(n)*1000)
#define COIL_MS(n)      ((coil_time)(n)*1000000)
#define COIL_SECONDS(n) ((coil_time)(n)*1000000000)

COIL_BEGIN_DECLS

/** Returns a static sentence for @p result, a negative errno as coil's calls return it (a positive
 *  one is accepted too). Never NULL, never parks, any thread. Like strerror(3) without its
 *  buffer. */
COIL_API const char *coil_strerror(int result);

/** Returns the monotonic clock in nanoseconds; only differences mean anything. Any thread.
 *  Like clock_gettime(2) with CLOCK_MONOTONIC. */
COIL_API int64_t coil_now(void);

COIL_END_DECLS

#endif

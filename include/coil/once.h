/* SPDX-License-Identifier: MIT */
/* coil/once.h - something that is done by whoever needs it first, and not again.
 *
 * For what is set up on demand and whose set-up parks: connecting, reading a configuration. The
 * first fiber that asks runs the function; the others wait for its end and have its result.
 *
 * Only success counts, a result of 0 or more. A function that fails has not done it: its caller
 * gets the error, and the next fiber, the one that has waited longest, tries with the function and
 * the argument that it brought itself. So a caller that was cancelled or timed out in the middle of
 * the work costs the others time and nothing else.
 *
 * The struct (32 bytes) lives in the caller's storage and owns nothing. One that is all zeros is
 * ready for use, so a static variable needs no initialisation; make it thread-local if several
 * threads run fibers.
 *
 * Threads: fibers of one core only.
 */
#ifndef COIL_ONCE_H
#define COIL_ONCE_H

#include <coil/base.h>
#include <coil/fiber.h>
#include <coil/private.h>

COIL_BEGIN_DECLS

typedef struct coil_once {
    struct coil__waitq waiters; /* private, as all fields */
    struct coil_fiber *runner;
    int result;
    bool is_done;
} coil_once;

/** Makes @p once one that has not been done. Never fails; needs no counterpart. */
COIL_API void coil_once_init(coil_once *once);

/** Makes sure that @p once has been done: runs @p fn(@p arg) if nobody has and nobody is at it.
 *  Parks while another fiber is, and where @p fn does.
 *
 *  Returns the result, 0 or more, of the function that has done it; the error of @p fn, when it was
 *  this fiber's turn; -EDEADLK when @p fn asks for itself; or -ETIMEDOUT or -ECANCELED, also when
 *  it has been done. Like sync.Once.Do() of Go and pthread_once(3). */
COIL_API COIL_MUST_CHECK int coil_once_do(coil_once *once, int (*fn)(void *), void *arg);

/** Returns whether @p once has been done. Never parks. */
COIL_API bool coil_once_is_done(const coil_once *once);

COIL_END_DECLS

#endif

/* SPDX-License-Identifier: MIT */
/* coil/waitgroup.h - waiting until a number of things have been done.
 *
 * A count of what is under way: add before it starts, done at its end, wait until nothing is left.
 * The things need not be fibers; for fibers that are spawned together and joined together, with
 * their results, see coil/pool.h.
 *
 * Waiters go on when the count comes to 0, even if something is added before they run. After that
 * the group can be used again. The struct (24 bytes) lives in the caller's storage, owns nothing,
 * and may go as soon as the count is 0.
 *
 * Threads: fibers of one core only.
 */
#ifndef COIL_WAITGROUP_H
#define COIL_WAITGROUP_H

#include <coil/base.h>
#include <coil/private.h>

COIL_BEGIN_DECLS

typedef struct coil_waitgroup {
    struct coil__waitq waiters; /* private, as all fields */
    unsigned count;
} coil_waitgroup;

/** Makes @p group one with nothing under way. Never fails; needs no counterpart. */
COIL_API void coil_waitgroup_init(coil_waitgroup *group);

/** Adds @p count things. Add before you start them, or a wait may end too early. More than UINT_MAX
 *  together is a mistake that aborts. Never parks. Like sync.WaitGroup.Add() of Go. */
COIL_API void coil_waitgroup_add(coil_waitgroup *group, unsigned count);

/** Takes one thing as done; the last one lets all who wait go on, in the order in which they came.
 *  One more than were added is a mistake that aborts, because somebody has gone on too early.
 *  Never parks. Like WaitGroup.Done(). */
COIL_API void coil_waitgroup_done(coil_waitgroup *group);

/** Waits until everything is done; at once when nothing is under way. Parks.
 *  Returns 0, or -ETIMEDOUT or -ECANCELED. Like WaitGroup.Wait(). */
COIL_API COIL_MUST_CHECK int coil_waitgroup_wait(coil_waitgroup *group);

/** Returns the number of things under way. Never parks. */
COIL_API unsigned coil_waitgroup_count(const coil_waitgroup *group);

COIL_END_DECLS

#endif

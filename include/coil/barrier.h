/* SPDX-License-Identifier: MIT */
/* coil/barrier.h - a point that a number of fibers pass together.
 *
 * Each of N fibers waits at the barrier, and when the last one comes they all go on; then it is
 * ready for the next round. A fiber that is interrupted while it waits has not arrived: its place
 * is free again, the others go on waiting, and the barrier is as good as before.
 *
 * The struct (24 bytes) lives in the caller's storage, owns nothing, and may go as soon as a round
 * is complete, before the others run.
 *
 * Threads: fibers of one core only.
 */
#ifndef COIL_BARRIER_H
#define COIL_BARRIER_H

#include <coil/base.h>
#include <coil/private.h>

COIL_BEGIN_DECLS

typedef struct coil_barrier {
    struct coil__waitq waiters; /* private, as all fields */
    unsigned parties;
    unsigned arrived;
} coil_barrier;

/** Makes @p barrier one that @p parties fibers, 1 or more, pass together. Never fails; needs no
 *  counterpart. */
COIL_API void coil_barrier_init(coil_barrier *barrier, unsigned parties);

/** Arrives at @p barrier and waits for the rest of the round. Parks unless it is the last, which
 *  lets the others go on in the order in which they came.
 *
 *  Returns 1 to the last fiber of a round, which may then do what is to be done once, and 0 to the
 *  others; or -ETIMEDOUT or -ECANCELED, and then the fiber counts as one that has not arrived.
 *  Like pthread_barrier_wait(3). */
COIL_API COIL_MUST_CHECK int coil_barrier_wait(coil_barrier *barrier);

/** Returns how many fibers have arrived and wait for the rest. Never parks.
 *  Like threading.Barrier.n_waiting. */
COIL_API unsigned coil_barrier_waiting(const coil_barrier *barrier);

COIL_END_DECLS

#endif

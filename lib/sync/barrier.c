/* SPDX-License-Identifier: MIT */
/* Barrier (coil/barrier.h).
 *
 * Who arrives last ends the round for everybody at once: nobody looks at the barrier after that, so
 * a fiber that is quick to come again belongs to the next round. An interruption gives the place
 * back when it happens, not when the interrupted fiber runs: in between, the round could be
 * completed with one party too few.
 *
 * Invariant: `arrived` is the number of waiters, less than `parties`.
 */
#include <coil/barrier.h>

#include "core/waitq.h"

COIL_STATIC_ASSERT(sizeof(coil_barrier) == 24, "a promise of the header");

void coil_barrier_init(coil_barrier *barrier, unsigned parties)
{
    COIL_ASSERT(parties > 0 && "a barrier for somebody");
    barrier->parties = parties;
    barrier->arrived = 0;
    coil__waitq_init(&barrier->waiters);
}

static void interrupted(struct coil__tcb *tcb)
{
    coil_barrier *barrier = tcb->waiter->object;

    COIL_ASSERT(barrier->arrived > 0);
    barrier->arrived--;
    coil__waitq_leave(tcb);
}

int coil_barrier_wait(coil_barrier *barrier)
{
    struct coil__waiter waiter = {.object = barrier};
    const int result = coil__checkpoint(coil__self());

    if (result < 0)
        return result;
    COIL_ASSERT(barrier->arrived < barrier->parties);
    if (barrier->arrived + 1 < barrier->parties) {
        barrier->arrived++;
        return coil__waitq_park_waiter(&barrier->waiters, "barrier", &waiter, interrupted);
    }
    barrier->arrived = 0;
    coil__waitq_wake_all(&barrier->waiters, 0);
    return 1;
}

unsigned coil_barrier_waiting(const coil_barrier *barrier)
{
    return barrier->arrived;
}

/* SPDX-License-Identifier: MIT */
/* Deadlock: the moment at which a scheduler has fibers, and nothing can ever run one again.
 *
 * That is so when no fiber is runnable, no timer is armed, the engine has no request, and no other
 * thread is known to be about to post (coil__sched.outside_count). Each of them is a number that
 * exists anyway, so looking costs the loop one comparison per turn, and there are no false alarms.
 * It is no proof of liveness: an open stream or listener has a request with the kernel, and a timer
 * may belong to somebody else; then the dump (coil/dump.h) shows who waits for whom.
 */
#ifndef COIL_LIB_CORE_STUCK_H
#define COIL_LIB_CORE_STUCK_H

#include "core/remote.h"
#include "core/sched.h"

static inline bool coil__is_stuck(struct coil__sched *sched)
{
    return COIL_UNLIKELY(sched->engine->stats.active_count == 0) &&
           coil__list_is_empty(&sched->ready) && sched->timers.count == 0 &&
           sched->outside_count == 0 && sched->fiber_count > 0 &&
           !coil__remote_has_posts(sched->remote);
}

/* Logs who waits for what since when, and who waits for each other in a circle. */
void coil__stuck_report(struct coil__sched *sched);

#endif

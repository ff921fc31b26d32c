/* SPDX-License-Identifier: MIT */
/* Timers of one scheduler: intrusive, in a heap ordered by deadline, fired by the loop.
 *
 * The kernel knows of none of them: the loop waits with the first deadline as its timeout, one per
 * turn however many timers there are. (A linked timeout per operation would cost two submissions
 * and blur who cancelled what.) Equal deadlines fire in the order of arming.
 *
 * `fire` runs on the scheduler's stack; it makes fibers runnable and must not park. The timer is
 * disarmed by then and may be armed again or freed.
 */
#ifndef COIL_LIB_CORE_TIMER_H
#define COIL_LIB_CORE_TIMER_H

#include "base/clock.h"
#include "base/heap.h"

struct coil__timers {
    struct coil__heap heap;
};

/* `deadline` is absolute; INT64_MAX arms nothing. The timer must be disarmed, or zeroed. */
static inline void coil__timer_arm(struct coil__timers *timers, struct coil__timer *timer,
                                   int64_t deadline)
{
    if (deadline != INT64_MAX)
        coil__heap_insert(&timers->heap, &timer->node, deadline);
}

/* Harmless when the timer is not armed. */
static inline void coil__timer_disarm(struct coil__timers *timers, struct coil__timer *timer)
{
    coil__heap_remove(&timers->heap, &timer->node);
}

/* The first deadline, INT64_MAX without timers. */
static inline int64_t coil__timers_next(const struct coil__timers *timers)
{
    const struct coil__heap_node *first = coil__heap_first(&timers->heap);

    return first ? first->key : INT64_MAX;
}

/* Fires everything that is due; reads the clock only when something is armed. */
static inline void coil__timers_fire(struct coil__timers *timers)
{
    struct coil__heap_node *node = coil__heap_first(&timers->heap);
    int64_t now;

    if (!node)
        return;
    now = coil__clock_now();
    while (node && node->key <= now) {
        struct coil__timer *timer = container_of(node, struct coil__timer, node);

        coil__heap_remove(&timers->heap, node);
        timer->fire(timer);
        node = coil__heap_first(&timers->heap);
    }
}

#endif

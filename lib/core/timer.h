/* SPDX-License-Identifier: MIT */
/* Timers of one scheduler: intrusive, in order of deadline, fired by the loop.
 *
 * The kernel knows of none of them: the loop waits with the first deadline as its timeout, one per
 * turn however many timers there are. (A linked timeout per operation would cost two submissions
 * and blur who cancelled what.) Equal deadlines fire in the order of arming.
 *
 * `fire` runs on the scheduler's stack; it makes fibers runnable and must not park. The timer is
 * disarmed by then and may be armed again or freed.
 *
 * What is armed goes to a list first: most timers are disarmed before the loop looks at them. Those
 * that are still there when it does go to a bucket, by deadline: a timing wheel of LEVELS levels,
 * SLOTS buckets each, a bucket of one level as wide as all of the level below. A timer lies on the
 * level of the highest digit (to the base SLOTS, a tick is the unit) in which its deadline differs
 * from `base`, in the bucket of that digit; so a level's buckets come before those of the levels
 * above, and in order. When the time of a bucket of a higher level begins, its timers are spread
 * over the levels below. Each bucket is a pairing heap, so that its first deadline is at hand,
 * exactly, without spreading it early.
 *
 * Why not one heap for all: a timer lies in its fiber's stack, a page of its own. Each one that
 * fired cost some 25 looks at others, all of them misses of cache and TLB when there are many; now
 * it is touched when it is armed, when it is spread, and among those of its own tick
 * (lib/DECISIONS.md, 30).
 *
 * Invariant: a timer with a deadline before `base` is in the bucket of base's own tick; all others
 * are where `base` says. That base moves on changes nobody's place, as it does so only when no
 * bucket of a higher level has begun.
 */
#ifndef COIL_LIB_CORE_TIMER_H
#define COIL_LIB_CORE_TIMER_H

#include "base/clock.h"
#include "base/heap.h"

enum {
    COIL__TIMER_TICK_BITS = 18, /* 262 us: some hundreds, of 100,000 that sleep for a while */
    COIL__TIMER_SLOT_BITS = 5,
    COIL__TIMER_SLOTS = 1 << COIL__TIMER_SLOT_BITS,
    COIL__TIMER_LEVELS = 9, /* enough for all deadlines */
};

struct coil__timers {
    struct coil__heap_node *young; /* armed since the loop looked */
    uint64_t sequence;             /* of the last one that was armed */
    size_t count;                  /* how many are armed */
    int64_t base;                  /* a moment until which all have fired */

    /* The bits of levels and slots that have timers, or had some until they were disarmed. */
    unsigned levels;
    uint32_t slots[COIL__TIMER_LEVELS];
    struct coil__heap buckets[COIL__TIMER_LEVELS][COIL__TIMER_SLOTS];
};

/* `deadline` is absolute; INT64_MAX arms nothing. The timer must be disarmed, or zeroed. */
static inline void coil__timer_arm(struct coil__timers *timers, struct coil__timer *timer,
                                   int64_t deadline)
{
    COIL_ASSERT(!coil__heap_has(&timer->node) && "a timer is armed once");
    if (deadline == INT64_MAX)
        return;
    timer->node.key = deadline;
    timer->node.sequence = ++timers->sequence;
    timers->count++;
    coil__heap_list_push(&timers->young, &timer->node);
}

/* Harmless when the timer is not armed. */
static inline void coil__timer_disarm(struct coil__timers *timers, struct coil__timer *timer)
{
    if (!coil__heap_has(&timer->node))
        return;
    timers->count--;
    coil__heap_remove(&timer->node);
}

/* The first deadline, INT64_MAX without timers. */
int64_t coil__timers_next(struct coil__timers *timers);

/* Fires everything that is due at `now`, which never goes back. */
void coil__timers_fire_due(struct coil__timers *timers, int64_t now);

/* Fires everything that is due; reads the clock only when something is armed. */
static inline void coil__timers_fire(struct coil__timers *timers)
{
    if (timers->count > 0)
        coil__timers_fire_due(timers, coil__clock_now());
}

/* The first timers in order of deadline, at most `count`; returns how many. */
size_t coil__timers_nearest(struct coil__timers *timers, struct coil__timer **ret_timers,
                            size_t count);

#endif

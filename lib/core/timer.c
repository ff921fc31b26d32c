/* SPDX-License-Identifier: MIT */
/* The timing wheel (core/timer.h).
 *
 * The first bucket is found by two bits, the lowest level's lowest slot. Disarming does not know
 * which bucket it empties, so a bit may be left behind; whoever looks for the first bucket clears
 * it, once for each time that it was set.
 *
 * Nothing here is done when time passes and no timer is armed: `base` is behind then, and what is
 * armed next lies on a higher level than need be, until the loop fires for the next time.
 */
#include "core/timer.h"

#include "base/list.h"

COIL_STATIC_ASSERT(COIL__TIMER_TICK_BITS + COIL__TIMER_LEVELS * COIL__TIMER_SLOT_BITS >= 63,
                   "each deadline has a level");

static int64_t max(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

/* The position of the lowest bit of a digit of this level. */
static unsigned shift_of(unsigned level)
{
    return COIL__TIMER_TICK_BITS + level * COIL__TIMER_SLOT_BITS;
}

static void place(struct coil__timers *timers, struct coil__heap_node *node)
{
    const uint64_t at = (uint64_t)max(node->key, timers->base);
    const uint64_t differing = (at ^ (uint64_t)timers->base) | (UINT64_C(1) << shift_of(0));
    const unsigned highest = 63U - (unsigned)__builtin_clzll(differing);
    const unsigned level = (highest - COIL__TIMER_TICK_BITS) / COIL__TIMER_SLOT_BITS;
    const unsigned slot = (unsigned)(at >> shift_of(level)) % COIL__TIMER_SLOTS;

    timers->levels |= 1U << level;
    timers->slots[level] |= UINT32_C(1) << slot;
    coil__heap_insert(&timers->buckets[level][slot], node);
}

static void place_young(struct coil__timers *timers)
{
    while (timers->young) {
        struct coil__heap_node *node = timers->young;

        coil__heap_remove(node);
        place(timers, node);
    }
}

/* The first bucket that has timers, and its level; NULL when there is none. */
static struct coil__heap *first_bucket(struct coil__timers *timers, unsigned *ret_level)
{
    place_young(timers);
    while (timers->levels) {
        const unsigned level = (unsigned)__builtin_ctz(timers->levels);
        const unsigned slot = (unsigned)__builtin_ctz(timers->slots[level]);
        struct coil__heap *bucket = &timers->buckets[level][slot];

        *ret_level = level;
        if (coil__heap_first(bucket))
            return bucket;
        timers->slots[level] &= timers->slots[level] - 1;
        if (!timers->slots[level])
            timers->levels &= timers->levels - 1;
    }
    return NULL;
}

/* Spreads the first bucket, of a higher level, which begins at `begin`. */
static void spread(struct coil__timers *timers, struct coil__heap *bucket, int64_t begin)
{
    struct coil__heap_node *node;

    timers->base = begin;
    while ((node = coil__heap_take_any(bucket)) != NULL)
        place(timers, node);
}

int64_t coil__timers_next(struct coil__timers *timers)
{
    unsigned level;
    const struct coil__heap *bucket = first_bucket(timers, &level);

    return bucket ? coil__heap_first(bucket)->key : INT64_MAX;
}

void coil__timers_fire_due(struct coil__timers *timers, int64_t now)
{
    struct coil__heap *bucket;
    unsigned level;

    while ((bucket = first_bucket(timers, &level)) != NULL) {
        struct coil__heap_node *node = coil__heap_first(bucket);
        const int64_t begin = (int64_t)((uint64_t)node->key >> shift_of(level) << shift_of(level));

        if (level > 0 && begin <= now) {
            spread(timers, bucket, begin);
        } else if (node->key <= now) {
            struct coil__timer *timer = container_of(node, struct coil__timer, node);

            coil__timer_disarm(timers, timer);
            timer->fire(timer);
        } else {
            break;
        }
    }
    timers->base = now;
}

size_t coil__timers_nearest(struct coil__timers *timers, struct coil__timer **ret_timers,
                            size_t count)
{
    size_t found = 0;
    struct coil__heap *bucket;
    unsigned level;

    while (found < count && (bucket = first_bucket(timers, &level)) != NULL) {
        struct coil__heap_node *node = coil__heap_first(bucket);

        coil__heap_remove(node);
        ret_timers[found++] = container_of(node, struct coil__timer, node);
    }
    for (size_t i = 0; i < found; i++)
        place(timers, &ret_timers[i]->node);
    return found;
}

/* SPDX-License-Identifier: MIT */
/* Fiber stacks, carved from slabs of address space (design D10).
 *
 * A slab is one mapping (2 MiB, each next one double, up to 64 MiB) cut into slots of
 * guard + usable bytes. The kernel commits pages at first touch, adjacent slabs merge into one
 * VMA, and guards are page-table markers (MADV_GUARD_INSTALL) that cost no VMA either: the number
 * of fibers is bounded by memory, not by vm.max_map_count. Where the kernel lacks them (probed once
 * by use: some accept the call without effect), mprotect takes over, slab by slab. Where both fail
 * (locked memory, vm.max_map_count) the log says so once, and a canary in the highest bytes of the
 * guard's place, which costs a page of memory, shows afterwards that a fiber went beyond its stack.
 * Below it the rest of that place takes the damage, so that looking when the fiber ends will do.
 *
 * Free stacks are reused last in, first out, warm and with their guard in place; after a burst
 * coil__stacks_trim() gives the pages of the coldest ones back.
 *
 * Invariant: a stack handed out has its guard installed, if the kernel grants guards at all, else
 * an intact canary, and its usable part readable and writable.
 */
#ifndef COIL_LIB_CORE_STACK_H
#define COIL_LIB_CORE_STACK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/assert.h"
#include "base/sanitize.h"

enum coil__guard_kind {
    COIL__GUARD_MADVISE,
    COIL__GUARD_MPROTECT,
    COIL__GUARD_CANARY, /* both refused (logged once): overflow is seen after the fact */
};

enum {
    /* A stack that large is a mistake of units, and sums of sizes must not overflow. */
    COIL__STACK_SIZE_MAX = 1024 * 1024 * 1024,
};

struct coil__stack_slab;
struct coil__stack_slot;

/* All stacks of one scheduler; all of one size. */
struct coil__stacks {
    size_t usable_size; /* bytes per stack, a multiple of the page size */
    size_t guard_size;
    void *free_list; /* warm stacks, linked through the word at their highest address */
    struct coil__stack_slot *cold_list; /* stacks without pages, linked beside the slabs */
    struct coil__stack_slab *slabs;
    size_t slab_size_next;
    size_t live_count;           /* handed out */
    size_t free_count;           /* in free_list */
    size_t cold_count;           /* in cold_list */
    size_t canary_count;         /* slots that have a canary for want of a guard */
    enum coil__guard_kind guard; /* what the last new stack got */
};

/* `usable_size` (at most COIL__STACK_SIZE_MAX) is rounded up to whole pages; 0 is the default of
 * 64 KiB, 256 KiB under ASan. Maps nothing yet. */
void coil__stacks_init(struct coil__stacks *stacks, size_t usable_size);

/* Unmaps everything; all stacks must have been given back. */
void coil__stacks_fini(struct coil__stacks *stacks);

/* Lowest usable address of the stack that ends at `top`. */
static inline char *coil__stack_bottom(const struct coil__stacks *stacks, void *top)
{
    return (char *)top - stacks->usable_size;
}

/* The word of a free stack that links to the next one. */
static inline void **coil__stack_link(void *top)
{
    return (void **)top - 1;
}

/* coil__stack_get() when no warm stack is left. */
void *coil__stack_get_cold(struct coil__stacks *stacks);

/* The highest address of a stack (exclusive end, page aligned), or NULL when there is no memory.
 * The contents are undefined: a recycled stack holds what its last fiber left. */
static inline void *coil__stack_get(struct coil__stacks *stacks)
{
    void *top = stacks->free_list;

    if (COIL_UNLIKELY(!top))
        return coil__stack_get_cold(stacks);
    /* Also what the last fiber left poisoned: it ended without returning from its frames. */
    coil__sanitize_unpoison(coil__stack_bottom(stacks, top), stacks->usable_size);
    stacks->free_list = *coil__stack_link(top);
    stacks->free_count--;
    stacks->live_count++;
    return top;
}

/* Whether the stack that ends at `top` is one of these. */
bool coil__stacks_have(const struct coil__stacks *stacks, const void *top);

/* To be called on another stack than `top`'s. */
static inline void coil__stack_put(struct coil__stacks *stacks, void *top)
{
    void **const link = coil__stack_link(top);

    COIL_ASSERT(stacks->live_count > 0 && "more stacks come back than went out");
    COIL_DEBUG_ASSERT(coil__stacks_have(stacks, top) && "another scheduler's stack");

    coil__sanitize_unpoison(link, sizeof *link);
    *link = stacks->free_list;
    stacks->free_list = top;
    stacks->free_count++;
    stacks->live_count--;
    coil__sanitize_poison(coil__stack_bottom(stacks, top), stacks->usable_size);
}

/* Gives the pages of free stacks behind the `keep` warmest back to the kernel, of `most` stacks at
 * most: some 1.2 us for each. */
void coil__stacks_trim(struct coil__stacks *stacks, size_t keep, size_t most);

/* Whether `address` lies in the guard below some stack of `stacks`; *ret_top is that stack's top.
 * Async-signal-safe: the overflow handler asks. */
bool coil__stacks_guard_hit(const struct coil__stacks *stacks, const void *address, void **ret_top);

/* The slow part of coil__stack_is_intact(). */
bool coil__stack_is_canary_intact(const struct coil__stacks *stacks, void *top);

/* False when the canary below the stack ending at `top` was overwritten. Where there is a real
 * guard an overflow has long ended the program. */
static inline bool coil__stack_is_intact(const struct coil__stacks *stacks, void *top)
{
    return COIL_LIKELY(stacks->canary_count == 0) || coil__stack_is_canary_intact(stacks, top);
}

/* Bytes of the stack ending at `top` that are resident, by mincore(2): its high-water mark, rounded
 * up to pages. */
size_t coil__stack_resident(const struct coil__stacks *stacks, void *top);

/* The number of slabs, and the address space that they take. */
void coil__stacks_measure(const struct coil__stacks *stacks, size_t *ret_slabs, size_t *ret_bytes);

/* ---- For tests ---- */

/* The best kind of guard that slabs mapped from now on, in any thread, may get. */
void coil__stack_guard_limit(enum coil__guard_kind kind);

#endif

/* SPDX-License-Identifier: MIT */
/* Fiber stacks from slabs (core/stack.h).
 *
 * A slab's slots are carved in order of address, each when it is first needed: only then is its
 * guard installed, so that a slab costs neither pages nor page tables beyond the stacks in use. A
 * slot is guard, then usable part, then the next slot's guard; a stack is named by its top.
 *
 * A stack that was given back is in one of two lists. The warm list is linked through the highest
 * word of each stack, in the page that the last fiber had in use anyhow. A trimmed stack owns no
 * page that could hold a link: the cold list runs through the slots' records, beside the slabs.
 *
 * Guards are tried from cheap to expensive, in each slab anew, because the cheap one can fail for
 * single mappings (locked memory) and mprotect when the process runs out of VMAs: a program that
 * loses its guards once is not without them for ever. Which slots have a canary instead is in their
 * records, for the canary of a slot with a guard could not be read.
 */
#include "core/stack.h"

#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/assert.h"
#include "base/log.h"
#include "base/sanitize.h"

enum {
    KIB = 1024,
    MIB = 1024 * KIB,

    /* Parked fibers need a page, handlers some 10 KiB, getaddrinfo 12, a printf of a long double
     * 33; address space is free. ASan's frames are several times larger. */
    USABLE_SIZE_DEFAULT = COIL__HAS_ASAN ? 256 * KIB : 64 * KIB,

    /* Wide enough that a frame without stack probes rarely steps over it, and whole pages on every
     * architecture. */
    GUARD_SIZE = 64 * KIB,

    /* Doubling keeps the number of mappings logarithmic: a program with few fibers reserves
     * little, and no mapping is so large that the kernel's overcommit heuristics refuse it. */
    SLAB_SIZE_MIN = 2 * MIB,
    SLAB_SIZE_MAX = 64 * MIB,

    /* MADV_GUARD_INSTALL of Linux 6.13, which the C library of Debian 12 does not know. */
    ADVICE_GUARD_INSTALL = 102,

    /* Larger than most holes that a frame leaves untouched, and still only eight cache lines. */
    CANARY_WORDS = 64,

    RESIDENT_PAGES_PER_CALL = 128,
};

/* Differs from word to word, so that neither a fill nor a copy of a canary looks like one. */
static const uint64_t canary_seed = 0xc011ca9a5eedf1beU;

/* What is known about a slot beside its memory. */
struct coil__stack_slot {
    struct coil__stack_slot *next_cold;
    void *top;
    unsigned valgrind_id;
    bool has_canary;
};

struct coil__stack_slab {
    struct coil__stack_slab *next;
    char *base;
    size_t size; /* bytes mapped */
    size_t slot_count;
    size_t carved_count; /* slots that have been handed out at least once */
    struct coil__stack_slot slots[];
};

/* ---- Guards ---- */

enum probe {
    PROBE_UNKNOWN,
    PROBE_WORKS,
    PROBE_FAILS,
};

/* Threads may probe at the same time; they find the same. */
static _Atomic int madvise_probe = PROBE_UNKNOWN;
static _Atomic int best_guard = COIL__GUARD_MADVISE;
static atomic_flag is_loss_logged = ATOMIC_FLAG_INIT;

static size_t page_size(void)
{
    return (size_t)sysconf(_SC_PAGESIZE);
}

/* Has the kernel read a byte of `page` instead of reading it: a refusal is no signal this way. */
static bool is_unreadable(int fd, const char *page)
{
    return write(fd, page, 1) < 0 && errno == EFAULT;
}

/* Installs a guard and looks whether it is one: emulators accept the advice and do nothing. */
static enum probe probe_madvise(void)
{
    enum probe result = PROBE_UNKNOWN;
    char *page;
    int fds[2];

    if (pipe2(fds, O_CLOEXEC | O_NONBLOCK) < 0)
        return PROBE_UNKNOWN;
    page = coil__map(page_size());
    if (page) {
        const bool is_guard =
            madvise(page, page_size(), ADVICE_GUARD_INSTALL) == 0 && is_unreadable(fds[1], page);

        result = is_guard ? PROBE_WORKS : PROBE_FAILS;
        coil__unmap(page, page_size());
    }
    (void)close(fds[0]);
    (void)close(fds[1]);
    return result;
}

/* Without descriptors or memory the answer is "not now", and the next slab asks again. */
static bool is_madvise_effective(void)
{
    if (atomic_load(&madvise_probe) == PROBE_UNKNOWN)
        atomic_store(&madvise_probe, (int)probe_madvise());
    return atomic_load(&madvise_probe) == PROBE_WORKS;
}

static enum coil__guard_kind best_guard_now(void)
{
    const enum coil__guard_kind best = (enum coil__guard_kind)atomic_load(&best_guard);

    if (best == COIL__GUARD_MADVISE && !is_madvise_effective())
        return COIL__GUARD_MPROTECT;
    return best;
}

static uint64_t canary_word(const uint64_t *at)
{
    return canary_seed ^ (uint64_t)(uintptr_t)at;
}

/* The lowest word of the canary below a stack. */
static uint64_t *canary_of(char *bottom)
{
    return (uint64_t *)(void *)bottom - CANARY_WORDS;
}

static void install_canary(char *bottom)
{
    uint64_t *canary = canary_of(bottom);

    for (size_t i = 0; i < CANARY_WORDS; i++)
        canary[i] = canary_word(&canary[i]);
}

/* Protects `guard` as well as the slab can, which from here on is what stacks->guard says. */
static void install_guard(struct coil__stacks *stacks, char *guard)
{
    if (stacks->guard == COIL__GUARD_MADVISE &&
        madvise(guard, stacks->guard_size, ADVICE_GUARD_INSTALL) < 0)
        stacks->guard = COIL__GUARD_MPROTECT;
    if (stacks->guard == COIL__GUARD_MPROTECT && mprotect(guard, stacks->guard_size, PROT_NONE) < 0)
        stacks->guard = COIL__GUARD_CANARY;
    if (stacks->guard == COIL__GUARD_CANARY && !atomic_flag_test_and_set(&is_loss_logged)) {
        coil__log(COIL_LOG_WARNING, "fiber stacks have no guard pages: a stack overflow will only "
                                    "be seen when the fiber ends (vm.max_map_count reached?)");
    }
}

void coil__stack_guard_limit(enum coil__guard_kind kind)
{
    atomic_store(&best_guard, (int)kind);
}

/* ---- Slabs ---- */

static size_t slot_size(const struct coil__stacks *stacks)
{
    return stacks->guard_size + stacks->usable_size;
}

/* Where memory is short, half of what was planned may still be there. */
static char *map_slab(struct coil__stacks *stacks, size_t *ret_size)
{
    size_t size = stacks->slab_size_next;
    char *base = NULL;

    if (size < slot_size(stacks))
        size = slot_size(stacks);
    for (;;) {
        base = coil__map(size);
        if (base || size / 2 < slot_size(stacks))
            break;
        size /= 2;
    }
    if (!base)
        return NULL;
    *ret_size = size;
    return base;
}

static bool add_slab(struct coil__stacks *stacks)
{
    struct coil__stack_slab *slab;
    size_t size;
    size_t slot_count;
    char *base = map_slab(stacks, &size);

    if (!base)
        return false;

    slot_count = size / slot_size(stacks);
    slab = coil__alloc(sizeof *slab + slot_count * sizeof slab->slots[0]);
    if (!slab) {
        coil__unmap(base, size);
        return false;
    }
    /* A huge page would commit two megabytes at the first touch. Refused where there are none. */
    (void)madvise(base, size, MADV_NOHUGEPAGE);

    slab->base = base;
    slab->size = size;
    slab->slot_count = slot_count;
    slab->next = stacks->slabs;
    stacks->slabs = slab;
    stacks->slab_size_next = size * 2 < SLAB_SIZE_MAX ? size * 2 : SLAB_SIZE_MAX;
    stacks->guard = best_guard_now();
    return true;
}

/* Prepares the newest slab's next slot. */
static void *carve(struct coil__stacks *stacks)
{
    struct coil__stack_slab *slab = stacks->slabs;
    struct coil__stack_slot *slot = &slab->slots[slab->carved_count];
    char *guard = slab->base + slab->carved_count * slot_size(stacks);
    char *bottom = guard + stacks->guard_size;

    install_guard(stacks, guard);
    slot->has_canary = stacks->guard == COIL__GUARD_CANARY;
    if (slot->has_canary) {
        install_canary(bottom);
        stacks->canary_count++;
    }
    slot->top = bottom + stacks->usable_size;
    slot->valgrind_id = coil__sanitize_stack_add(bottom, slot->top);
    coil__sanitize_root_add(bottom, stacks->usable_size);
    slab->carved_count++;
    return slot->top;
}

static void free_slab(const struct coil__stacks *stacks, struct coil__stack_slab *slab)
{
    for (size_t i = 0; i < slab->carved_count; i++) {
        const struct coil__stack_slot *slot = &slab->slots[i];

        coil__sanitize_stack_remove(slot->valgrind_id);
        coil__sanitize_root_remove(coil__stack_bottom(stacks, slot->top), stacks->usable_size);
    }
    coil__sanitize_unpoison(slab->base, slab->size);
    coil__unmap(slab->base, slab->size);
    coil__free(slab);
}

/* The slab that holds `address`, or NULL. `guess` is tried first; it may be NULL. */
static struct coil__stack_slab *find_slab(const struct coil__stacks *stacks, const void *address,
                                          struct coil__stack_slab *guess)
{
    const uintptr_t at = (uintptr_t)address;

    if (guess && at - (uintptr_t)guess->base < guess->size)
        return guess;
    for (struct coil__stack_slab *slab = stacks->slabs; slab; slab = slab->next) {
        if (at - (uintptr_t)slab->base < slab->size)
            return slab;
    }
    return NULL;
}

static struct coil__stack_slot *slot_of(const struct coil__stacks *stacks,
                                        struct coil__stack_slab *slab, const char *bottom)
{
    return &slab->slots[(size_t)(bottom - slab->base) / slot_size(stacks)];
}

void coil__stacks_init(struct coil__stacks *stacks, size_t usable_size)
{
    const size_t page = page_size();
    const size_t size = usable_size ? usable_size : (size_t)USABLE_SIZE_DEFAULT;

    COIL_ASSERT(size <= COIL__STACK_SIZE_MAX && "the caller checked the option");
    COIL_ASSERT(GUARD_SIZE % page == 0);

    *stacks = (struct coil__stacks){
        .usable_size = (size + page - 1) / page * page,
        .guard_size = GUARD_SIZE,
        .slab_size_next = SLAB_SIZE_MIN,
    };
}

void coil__stacks_fini(struct coil__stacks *stacks)
{
    struct coil__stack_slab *slab = stacks->slabs;

    COIL_ASSERT(stacks->live_count == 0 && "a fiber outlives its scheduler");

    while (slab) {
        struct coil__stack_slab *next = slab->next;

        free_slab(stacks, slab);
        slab = next;
    }
    stacks->slabs = NULL;
    stacks->free_list = NULL;
    stacks->cold_list = NULL;
    stacks->free_count = 0;
    stacks->cold_count = 0;
    stacks->canary_count = 0;
}

/* ---- Getting and giving back ---- */

static void *take_cold(struct coil__stacks *stacks)
{
    struct coil__stack_slot *slot = stacks->cold_list;

    if (slot) {
        stacks->cold_list = slot->next_cold;
        stacks->cold_count--;
        return slot->top;
    }
    if (stacks->slabs && stacks->slabs->carved_count < stacks->slabs->slot_count)
        return carve(stacks);
    return add_slab(stacks) ? carve(stacks) : NULL;
}

void *coil__stack_get_cold(struct coil__stacks *stacks)
{
    void *top = take_cold(stacks);

    if (!top)
        return NULL;
    coil__sanitize_unpoison(coil__stack_bottom(stacks, top), stacks->usable_size);
    stacks->live_count++;
    return top;
}

bool coil__stacks_have(const struct coil__stacks *stacks, const void *top)
{
    return find_slab(stacks, (const char *)top - 1, NULL) != NULL;
}

/* ---- Memory ---- */

/* The link before the first stack that is not among the `keep` warmest. */
static void **skip_warm(struct coil__stacks *stacks, size_t keep)
{
    void **link = &stacks->free_list;

    while (keep > 0 && *link) {
        link = coil__stack_link(*link);
        coil__sanitize_unpoison(link, sizeof *link);
        keep--;
    }
    return link;
}

/* Gives the pages of a free stack back; it goes from the warm list to the cold one. */
static struct coil__stack_slab *cool(struct coil__stacks *stacks, void *top,
                                     struct coil__stack_slab *slab)
{
    struct coil__stack_slot *slot;
    char *bottom = coil__stack_bottom(stacks, top);

    /* Refused for locked memory, which then stays: no harm. */
    (void)madvise(bottom, stacks->usable_size, MADV_DONTNEED);

    slab = find_slab(stacks, bottom, slab);
    COIL_ASSERT(slab && "a free stack belongs to a slab");
    slot = slot_of(stacks, slab, bottom);
    slot->next_cold = stacks->cold_list;
    stacks->cold_list = slot;
    stacks->free_count--;
    stacks->cold_count++;
    return slab;
}

void coil__stacks_trim(struct coil__stacks *stacks, size_t keep, size_t most)
{
    struct coil__stack_slab *slab = NULL;
    void **last_kept;
    void *top;

    if (stacks->free_count <= keep)
        return;
    last_kept = skip_warm(stacks, keep);
    top = *last_kept;
    while (top && most-- > 0) {
        void *next;

        coil__sanitize_unpoison(coil__stack_link(top), sizeof(void *));
        next = *coil__stack_link(top);
        slab = cool(stacks, top, slab);
        top = next;
    }
    *last_kept = top;
}

bool coil__stacks_guard_hit(const struct coil__stacks *stacks, const void *address, void **ret_top)
{
    const struct coil__stack_slab *slab = find_slab(stacks, address, NULL);
    size_t offset;
    size_t index;

    if (!slab)
        return false;
    offset = (size_t)((const char *)address - slab->base);
    index = offset / slot_size(stacks);
    if (index >= slab->carved_count || offset % slot_size(stacks) >= stacks->guard_size)
        return false;
    *ret_top = slab->slots[index].top;
    return true;
}

bool coil__stack_is_canary_intact(const struct coil__stacks *stacks, void *top)
{
    char *bottom = coil__stack_bottom(stacks, top);
    struct coil__stack_slab *slab = find_slab(stacks, bottom, NULL);
    const uint64_t *canary = canary_of(bottom);
    uint64_t difference = 0;

    COIL_ASSERT(slab && "a stack belongs to a slab");
    if (!slot_of(stacks, slab, bottom)->has_canary)
        return true;
    for (size_t i = 0; i < CANARY_WORDS; i++)
        difference |= canary[i] ^ canary_word(&canary[i]);
    return difference == 0;
}

size_t coil__stack_resident(const struct coil__stacks *stacks, void *top)
{
    const size_t page = page_size();
    const size_t batch = RESIDENT_PAGES_PER_CALL * page;
    char *at = coil__stack_bottom(stacks, top);
    size_t left = stacks->usable_size;
    size_t page_count = 0;

    while (left > 0) {
        unsigned char pages[RESIDENT_PAGES_PER_CALL];
        const size_t len = left < batch ? left : batch;

        if (mincore(at, len, pages) == 0) {
            for (size_t i = 0; i < len / page; i++)
                page_count += pages[i] & 1U;
        }
        at += len;
        left -= len;
    }
    return page_count * page;
}

void coil__stacks_measure(const struct coil__stacks *stacks, size_t *ret_slabs, size_t *ret_bytes)
{
    size_t slabs = 0;
    size_t bytes = 0;

    for (const struct coil__stack_slab *slab = stacks->slabs; slab; slab = slab->next) {
        slabs++;
        bytes += slab->size;
    }
    *ret_slabs = slabs;
    *ret_bytes = bytes;
}

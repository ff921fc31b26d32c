/* SPDX-License-Identifier: MIT */
/* The allocation seam (base/alloc.h).
 *
 * Each call costs one relaxed load (is a failure planned?) and one relaxed add on top of the
 * allocator's own work: blocks obtained and blocks released are counted apart, and both figures
 * that tests ask for are sums of counters, so that no call has to move two of them.
 *
 * `fail_after` is what is left of a plan: -1 none, n > 0 let n more pass, 0 refuse. Only a planned
 * failure pays for the compare-and-swap that counts it down exactly even between threads.
 *
 * Invariant: obtained - released is the number of live blocks; a refused call changes neither.
 */
#include "base/alloc.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "base/assert.h"

static _Atomic int64_t fail_after = -1;
static _Atomic int64_t obtained; /* blocks handed out */
static _Atomic int64_t released; /* blocks taken back */
static _Atomic int64_t resized;  /* calls that moved or resized a block */
static _Atomic int64_t refused;  /* calls that got nothing */

static void count(_Atomic int64_t *counter)
{
    atomic_fetch_add_explicit(counter, 1, memory_order_relaxed);
}

static bool is_refused_by_plan(void)
{
    int64_t left = atomic_load_explicit(&fail_after, memory_order_relaxed);

    while (left > 0) {
        if (atomic_compare_exchange_weak_explicit(&fail_after, &left, left - 1,
                                                  memory_order_relaxed, memory_order_relaxed))
            return false;
    }
    return left == 0;
}

static bool is_refused(void)
{
    if (COIL_LIKELY(atomic_load_explicit(&fail_after, memory_order_relaxed) < 0))
        return false;
    return is_refused_by_plan();
}

static void *counted(void *memory)
{
    count(memory ? &obtained : &refused);
    return memory;
}

void *coil__alloc(size_t size)
{
    return counted(is_refused() ? NULL : calloc(1, size));
}

void coil__free(void *memory)
{
    if (!memory)
        return;
    count(&released);
    free(memory);
}

void *coil__realloc(void *memory, size_t size)
{
    void *moved;

    COIL_ASSERT(size > 0 && "realloc to nothing is coil__free");

    if (!memory)
        return counted(is_refused() ? NULL : malloc(size));
    moved = is_refused() ? NULL : realloc(memory, size);
    count(moved ? &resized : &refused);
    return moved;
}

void *coil__map(size_t size)
{
    void *memory = MAP_FAILED;

    if (!is_refused()) {
        memory = mmap(NULL, size, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    }
    return counted(memory == MAP_FAILED ? NULL : memory);
}

void coil__unmap(void *memory, size_t size)
{
    if (!memory)
        return;
    const int result = munmap(memory, size);

    COIL_ASSERT(result == 0 && "unmapped what coil__map returned");
    count(&released);
}

/* ---- For tests ---- */

void coil__alloc_fail_after(int64_t after)
{
    atomic_store(&fail_after, after < 0 ? -1 : after);
}

int64_t coil__alloc_live_count(void)
{
    return atomic_load(&obtained) - atomic_load(&released);
}

int64_t coil__alloc_total_count(void)
{
    return atomic_load(&obtained) + atomic_load(&resized) + atomic_load(&refused);
}

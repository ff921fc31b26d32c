/* SPDX-License-Identifier: MIT */
/* All that sanitizers and Valgrind must be told, as functions that are empty when they are off.
 *
 * This is the only header of coil with `#if` on tools. What they must know: which stack runs
 * (ASan's fake stacks, TSan's fibers), which memory is dead though mapped (poison), where pointers
 * to live blocks may be (LSan's roots), and that a jump of the stack pointer is no giant frame
 * (Valgrind's stacks). Valgrind's requests cost a handful of instructions in ordinary builds; they
 * are used where a stack is made, never in a switch.
 *
 * A switch is: coil__sanitize_switch_begin(), coil__switch(), and on the other side
 * coil__sanitize_switch_end() before anything else.
 */
#ifndef COIL_LIB_BASE_SANITIZE_H
#define COIL_LIB_BASE_SANITIZE_H

#include <stdbool.h>
#include <stddef.h>

#include "base/assert.h"

#if defined(__has_feature)
# if __has_feature(address_sanitizer)
#  define COIL__WITH_ASAN 1
# endif
# if __has_feature(thread_sanitizer)
#  define COIL__WITH_TSAN 1
# endif
#endif
#if defined(__SANITIZE_ADDRESS__) && !defined(COIL__WITH_ASAN)
# define COIL__WITH_ASAN 1
#endif
#if defined(__SANITIZE_THREAD__) && !defined(COIL__WITH_TSAN)
# define COIL__WITH_TSAN 1
#endif

/* On a function that reads memory that may be poisoned: of stacks, say. */
#define COIL_NO_ASAN __attribute__((no_sanitize("address")))

/* ---- AddressSanitizer and LeakSanitizer ---- */

#ifdef COIL__WITH_ASAN

# include <pthread.h>
# include <sanitizer/asan_interface.h>
# include <sanitizer/common_interface_defs.h>
# include <sanitizer/lsan_interface.h>

enum {
    COIL__HAS_ASAN = 1
};

/* Makes any access to the range a reported error, until it is unpoisoned. */
static inline void coil__sanitize_poison(const void *memory, size_t size)
{
    __asan_poison_memory_region(memory, size);
}

static inline void coil__sanitize_unpoison(const void *memory, size_t size)
{
    __asan_unpoison_memory_region(memory, size);
}

/* Blocks that are reachable from the range only are not leaks. The range must be readable
 * throughout when the leak check comes: guards do not belong into it. */
static inline void coil__sanitize_root_add(const void *memory, size_t size)
{
    __lsan_register_root_region(memory, size);
}

static inline void coil__sanitize_root_remove(const void *memory, size_t size)
{
    __lsan_unregister_root_region(memory, size);
}

static inline void coil__asan_switch_begin(void **ret_fake_stack, const void *bottom, size_t size)
{
    __sanitizer_start_switch_fiber(ret_fake_stack, bottom, size);
}

static inline void coil__asan_switch_end(void *fake_stack)
{
    __sanitizer_finish_switch_fiber(fake_stack, NULL, NULL);
}

/* The bounds of the calling thread's own stack, for the switches back to it. */
static inline void coil__sanitize_thread_stack(const void **ret_bottom, size_t *ret_size)
{
    pthread_attr_t attributes;
    void *bottom = NULL;

    *ret_size = 0;
    if (pthread_getattr_np(pthread_self(), &attributes) == 0) {
        (void)pthread_attr_getstack(&attributes, &bottom, ret_size);
        (void)pthread_attr_destroy(&attributes);
    }
    *ret_bottom = bottom;
}

#else

enum {
    COIL__HAS_ASAN = 0
};

static inline void coil__sanitize_poison(const void *memory, size_t size)
{
    (void)memory;
    (void)size;
}

static inline void coil__sanitize_unpoison(const void *memory, size_t size)
{
    (void)memory;
    (void)size;
}

static inline void coil__sanitize_root_add(const void *memory, size_t size)
{
    (void)memory;
    (void)size;
}

static inline void coil__sanitize_root_remove(const void *memory, size_t size)
{
    (void)memory;
    (void)size;
}

static inline void coil__asan_switch_begin(void **ret_fake_stack, const void *bottom, size_t size)
{
    (void)ret_fake_stack;
    (void)bottom;
    (void)size;
}

static inline void coil__asan_switch_end(void *fake_stack)
{
    (void)fake_stack;
}

static inline void coil__sanitize_thread_stack(const void **ret_bottom, size_t *ret_size)
{
    *ret_bottom = NULL;
    *ret_size = 0;
}

#endif

/* ---- ThreadSanitizer ---- */

#ifdef COIL__WITH_TSAN

# include <sanitizer/tsan_interface.h>

/* TSan's name for a new fiber; to be freed when the fiber has ended, by somebody else. */
static inline void *coil__sanitize_fiber_new(void)
{
    return __tsan_create_fiber(0);
}

static inline void coil__sanitize_fiber_free(void *fiber)
{
    __tsan_destroy_fiber(fiber);
}

/* TSan's name for what runs now, be it a fiber or a thread's own stack. */
static inline void *coil__sanitize_fiber_this(void)
{
    return __tsan_get_current_fiber();
}

static COIL_ALWAYS_INLINE void coil__tsan_switch(void *fiber)
{
    __tsan_switch_to_fiber(fiber, 0);
}

#else

static inline void *coil__sanitize_fiber_new(void)
{
    return NULL;
}

static inline void coil__sanitize_fiber_free(void *fiber)
{
    (void)fiber;
}

static inline void *coil__sanitize_fiber_this(void)
{
    return NULL;
}

static inline void coil__tsan_switch(void *fiber)
{
    (void)fiber;
}

#endif

/* ---- Both, at a switch ---- */

/* To be called right before a switch to the stack [bottom, bottom + size), named `fiber` by TSan.
 * What belongs to the stack that is left goes to *ret_fake_stack; NULL there says that it is left
 * for good. */
static COIL_ALWAYS_INLINE void coil__sanitize_switch_begin(void **ret_fake_stack,
                                                           const void *bottom, size_t size,
                                                           void *fiber)
{
    coil__asan_switch_begin(ret_fake_stack, bottom, size);
    coil__tsan_switch(fiber);
}

/* To be called right after a switch, with what coil__sanitize_switch_begin() stored when the stack
 * that now runs was left; NULL when it runs for the first time. */
static inline void coil__sanitize_switch_end(void *fake_stack)
{
    coil__asan_switch_end(fake_stack);
}

/* ---- Valgrind ---- */

#if defined(__has_include)
# if __has_include(<valgrind/valgrind.h>)
#  define COIL__WITH_VALGRIND 1
# endif
#endif

#ifdef COIL__WITH_VALGRIND

# include <valgrind/valgrind.h>

/* Announces a stack; the result is what coil__sanitize_stack_remove() wants. */
static inline unsigned coil__sanitize_stack_add(const void *bottom, const void *top)
{
    return (unsigned)VALGRIND_STACK_REGISTER(bottom, top);
}

static inline void coil__sanitize_stack_remove(unsigned id)
{
    VALGRIND_STACK_DEREGISTER(id);
}

#else

static inline unsigned coil__sanitize_stack_add(const void *bottom, const void *top)
{
    (void)bottom;
    (void)top;
    return 0;
}

static inline void coil__sanitize_stack_remove(unsigned id)
{
    (void)id;
}

#endif

#endif

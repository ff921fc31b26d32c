/* SPDX-License-Identifier: MIT */
/* Assertions: the program is wrong, as opposed to the world having failed.
 *
 * COIL_ASSERT stays on in release builds: a broken invariant in a scheduler corrupts other
 * people's data long before it crashes, so stopping at once is the cheap outcome. Give the reason
 * in the condition: COIL_ASSERT(n > 0 && "caller checked"). COIL_DEBUG_ASSERT is for walks over
 * whole structures and vanishes with NDEBUG.
 */
#ifndef COIL_LIB_BASE_ASSERT_H
#define COIL_LIB_BASE_ASSERT_H

/* Prints where and what, then aborts. Uses no heap and little stack: it may run on a fiber. */
_Noreturn void coil__assert_failed(const char *condition, const char *file, int line,
                                   const char *function) __attribute__((cold));

/* Adds where it happened, as " in fiber 4 'worker'", if there is anything to say. Of an upper layer
 * (core/describe.c), which a program that uses this one only does not have. */
struct coil__text;
void coil__assert_place(struct coil__text *text) __attribute__((weak));

#define COIL_ASSERT(condition)       \
 (__builtin_expect(!!(condition), 1) \
      ? (void)0                      \
      : coil__assert_failed(#condition, __FILE__, __LINE__, __func__))

#ifdef NDEBUG
# define COIL_DEBUG_ASSERT(condition) ((void)sizeof(!!(condition)))
#else
# define COIL_DEBUG_ASSERT(condition) COIL_ASSERT(condition)
#endif

#define COIL_STATIC_ASSERT(condition, reason) _Static_assert(condition, reason)

#define COIL_LIKELY(condition)                __builtin_expect(!!(condition), 1)
#define COIL_UNLIKELY(condition)              __builtin_expect(!!(condition), 0)

/* On a function that the usual case does not reach: kept out of its callers, whose frames and
 * register saving would otherwise grow for it. */
#define COIL_COLD __attribute__((noinline, cold))

/* On a function that its callers know no better than one of another library: they neither take it
 * in nor keep anything where it touches nothing. */
#if defined(__has_attribute)
# if __has_attribute(noipa)
#  define COIL_OPAQUE __attribute__((noipa))
# endif
#endif
#ifndef COIL_OPAQUE
# define COIL_OPAQUE __attribute__((noinline))
#endif

/* On a function that must not have a frame of its own. */
#define COIL_ALWAYS_INLINE inline __attribute__((always_inline))

#endif

/* SPDX-License-Identifier: MIT */
/* That AddressSanitizer's leak check works in these programs: support/leak_roots.c says to it what
 * to read. Without the sanitizer there is nothing to test. */
#include "base/sanitize.h"
#include "support/fiber_test.h"

static void *kept;
static uintptr_t hidden; /* nothing that looks like a pointer */

#ifdef COIL__WITH_ASAN
static bool is_lost(void)
{
    return __lsan_do_recoverable_leak_check() != 0;
}
#else
static bool is_lost(void)
{
    return hidden != 0;
}
#endif

/* Functions of their own: nothing of the block may stay in a register or on the stack. */
static __attribute__((noinline)) void make_block(void)
{
    kept = malloc(100);
    cr_assert_not_null(kept);
}

static __attribute__((noinline)) void hide_block(void)
{
    hidden = ~(uintptr_t)kept;
    kept = NULL;
}

static __attribute__((noinline)) void free_block(void)
{
    free((void *)~hidden); /* NOLINT(performance-no-int-to-ptr) */
    hidden = 0;
}

Test(leaks, a_block_that_no_variable_has_any_more_is_found, .timeout = 60)
{
    make_block();
    cr_assert_not(is_lost());
    hide_block();
    cr_assert(is_lost());
    free_block();
    cr_assert_not(is_lost());
}

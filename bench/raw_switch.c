/* SPDX-License-Identifier: MIT */
/* One context switch, without a scheduler: what no fiber library can be faster than.
 *
 * The main context and one other hand control to each other, so an operation is one call of
 * coil__switch(). It looks inside the library (core/switch.h), as a user can't.
 */
#include <stddef.h>
#include <stdint.h>

#include "core/switch.h"
#include "measure.h"

static void *main_context;
static void *other_context;

static void other(void *arg)
{
    (void)arg;
    for (;;)
        coil__switch(&other_context, main_context);
}

static int64_t ping_pong(long count)
{
    static _Alignas(64) char stack[16384];
    int64_t start;

    other_context = coil__switch_prepare(stack + sizeof stack, other, NULL);
    coil__switch(&main_context, other_context);
    start = measure_now();
    for (long i = 0; i < count; i += 2)
        coil__switch(&main_context, other_context);
    return measure_now() - start;
}

int main(int argc, char **argv)
{
    static const struct measure_case cases[] = {{"switch", ping_pong}, {0}};

    return measure_main(argc, argv, cases);
}

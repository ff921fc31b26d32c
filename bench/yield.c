/* SPDX-License-Identifier: MIT */
/* A yield through the scheduler, with 2, 64 and 10,000 runnable fibers.
 *
 * The measuring fiber is one of them: each of its yields lets every other one yield once, so a
 * round is as many yields as there are fibers.
 */
#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>

#include <coil/coil.h>

#include "measure.h"

static bool is_over;

static int yield_until_over(void *arg)
{
    (void)arg;
    while (!is_over)
        coil_yield();
    return 0;
}

static int64_t yield_among(long fibers, long count)
{
    coil_fiber **others = calloc((size_t)fibers, sizeof(*others));
    int64_t start;
    int64_t taken;

    measure_check(others ? 0 : -ENOMEM, "calloc");
    is_over = false;
    for (long i = 1; i < fibers; i++)
        measure_check(coil_spawn(yield_until_over, NULL, &others[i]), "coil_spawn");
    coil_yield();

    start = measure_now();
    for (long i = 0; i < count; i += fibers)
        coil_yield();
    taken = measure_now() - start;

    is_over = true;
    for (long i = 1; i < fibers; i++) {
        measure_check(coil_join(others[i], NULL), "coil_join");
        coil_fiber_unref(others[i]);
    }
    free(others);
    return taken;
}

static int64_t yield_2(long count)
{
    return yield_among(2, count);
}

static int64_t yield_64(long count)
{
    return yield_among(64, count);
}

static int64_t yield_10000(long count)
{
    return yield_among(10000, count);
}

int main(int argc, char **argv)
{
    static const struct measure_case cases[] = {
        {"yield_2", yield_2}, {"yield_64", yield_64}, {"yield_10000", yield_10000}, {0}};

    return measure_main_in_fiber(argc, argv, cases);
}

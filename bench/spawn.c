/* SPDX-License-Identifier: MIT */
/* The life of a fiber that does nothing: spawn, run, end, and a join by the parent.
 *
 * `spawn_join` waits for each child before the next, so one stack is used over and over;
 * `spawn_join_64` spawns 64 and then joins them; `spawn_detached` has no handle to give back.
 */
#include <coil/coil.h>

#include "measure.h"

enum {
    BATCH = 64,
};

static int nothing(void *arg)
{
    (void)arg;
    return 0;
}

static int64_t spawn_join(long count)
{
    const int64_t start = measure_now();

    for (long i = 0; i < count; i++) {
        coil_fiber *fiber;

        measure_check(coil_spawn(nothing, NULL, &fiber), "coil_spawn");
        measure_check(coil_join(fiber, NULL), "coil_join");
        coil_fiber_unref(fiber);
    }
    return measure_now() - start;
}

static int64_t spawn_join_64(long count)
{
    const int64_t start = measure_now();

    for (long i = 0; i < count; i += BATCH) {
        coil_fiber *fibers[BATCH];

        for (int k = 0; k < BATCH; k++)
            measure_check(coil_spawn(nothing, NULL, &fibers[k]), "coil_spawn");
        for (int k = 0; k < BATCH; k++) {
            measure_check(coil_join(fibers[k], NULL), "coil_join");
            coil_fiber_unref(fibers[k]);
        }
    }
    return measure_now() - start;
}

static int64_t spawn_detached(long count)
{
    const int64_t start = measure_now();

    for (long i = 0; i < count; i++) {
        measure_check(coil_spawn(nothing, NULL, NULL), "coil_spawn");
        if (i % BATCH == BATCH - 1)
            coil_yield();
    }
    coil_yield();
    return measure_now() - start;
}

int main(int argc, char **argv)
{
    static const struct measure_case cases[] = {{"spawn_join", spawn_join},
                                                {"spawn_join_64", spawn_join_64},
                                                {"spawn_detached", spawn_detached},
                                                {0}};

    return measure_main_in_fiber(argc, argv, cases);
}

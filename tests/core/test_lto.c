/* SPDX-License-Identifier: MIT */
/* Fibers whose code the linker optimises together with the scheduler's: a plain program, built with
 * core/sched.c in one link-time unit.
 *
 * Passes when what each fiber computes with registers that no switch saves (those of the x87 on
 * x86-64, where a long double lives) is right, though the others compute in between.
 */
#include <stdio.h>

#include <coil/coil.h>

enum {
    FIBERS = 4,
    STEPS = 1000,
};

/* Approaches twice its argument. */
static int approach(void *arg)
{
    const long double half = *(const int *)arg;
    long double value = 0;

    for (int i = 0; i < STEPS; i++) {
        value = value * 0.5L + half;
        coil_yield();
    }
    return (int)(value + 0.5L);
}

static int run(void *arg)
{
    int halves[FIBERS];
    coil_fiber *fibers[FIBERS];
    int wrong_count = 0;

    (void)arg;
    for (int i = 0; i < FIBERS; i++) {
        halves[i] = 10 * i + 1;
        if (coil_spawn(approach, &halves[i], &fibers[i]) < 0)
            return 1;
    }
    for (int i = 0; i < FIBERS; i++) {
        int value = 0;

        if (coil_join(fibers[i], &value) < 0 || value != 2 * halves[i]) {
            fprintf(stderr, "fiber %d: %d instead of %d\n", i, value, 2 * halves[i]);
            wrong_count++;
        }
        coil_fiber_unref(fibers[i]);
    }
    return wrong_count > 0;
}

int main(void)
{
    int result = 1;

    return coil_run(run, NULL, NULL, &result) < 0 ? 1 : result;
}

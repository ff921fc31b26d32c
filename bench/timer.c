/* SPDX-License-Identifier: MIT */
/* A timer set and cancelled, which is what a scope with a deadline does when all goes well.
 *
 * `timer` has no other timers beside it, `timer_1000` has a thousand sleeping fibers' ones, as in a
 * server. `clock` is coil_now(), the reading that a deadline needs, a part of both. `sleep_cancel`
 * is the whole life of a fiber that is cancelled in its sleep.
 *
 * `timer_million`: a million scopes in each other, with deadlines in no order, all entered and then
 * all left; an operation is one of them. `timer_expiry`: a hundred thousand fibers sleep for 100 to
 * 150 ms each; an operation is the whole life of one of them.
 */
#include <errno.h>
#include <stdlib.h>

#include <coil/coil.h>

#include "measure.h"

enum {
    SLEEPERS = 1000,
    MILLION = 1000000,
    EXPIRING = 100000,
};

static int64_t set_and_cancel(long count)
{
    const int64_t start = measure_now();

    for (long i = 0; i < count; i++) {
        coil_scope scope;

        coil_scope_enter(&scope, COIL_SECONDS(30));
        if (coil_scope_leave(&scope))
            exit(EXIT_FAILURE);
    }
    return measure_now() - start;
}

static int sleep_long(void *arg)
{
    (void)arg;
    return coil_sleep(COIL_SECONDS(3600));
}

static void end_sleeper(coil_fiber *fiber)
{
    coil_cancel(fiber);
    measure_check(coil_join(fiber, NULL), "coil_join");
    coil_fiber_unref(fiber);
}

static int64_t set_and_cancel_among_others(long count)
{
    static coil_fiber *sleepers[SLEEPERS];
    int64_t taken;

    for (int i = 0; i < SLEEPERS; i++)
        measure_check(coil_spawn(sleep_long, NULL, &sleepers[i]), "coil_spawn");
    coil_yield();
    taken = set_and_cancel(count);
    for (int i = 0; i < SLEEPERS; i++)
        end_sleeper(sleepers[i]);
    return taken;
}

static int64_t read_clock(long count)
{
    const int64_t start = measure_now();

    for (long i = 0; i < count; i++)
        (void)coil_now();
    return measure_now() - start;
}

static int64_t sleep_and_cancel(long count)
{
    const int64_t start = measure_now();

    for (long i = 0; i < count; i++) {
        coil_fiber *fiber;

        measure_check(coil_spawn(sleep_long, NULL, &fiber), "coil_spawn");
        coil_yield();
        end_sleeper(fiber);
    }
    return measure_now() - start;
}

static int64_t set_a_million_then_cancel(long count)
{
    coil_scope *scopes = calloc(MILLION, sizeof(*scopes));
    int64_t start;
    int64_t taken;

    measure_check(scopes ? 0 : -ENOMEM, "calloc");
    start = measure_now();
    for (long i = 0; i < MILLION; i++)
        coil_scope_enter(&scopes[i], COIL_SECONDS(3600) + COIL_US(i * 7919 % MILLION));
    for (long i = MILLION; i > 0; i--)
        (void)coil_scope_leave(&scopes[i - 1]);
    taken = measure_now() - start;
    free(scopes);
    return measure_scaled(taken, MILLION, count);
}

static int sleep_short(void *arg)
{
    return coil_sleep(COIL_MS(100) + COIL_US((long)(intptr_t)arg * 7919 % 50000));
}

static int64_t sleep_to_the_end(long count)
{
    static coil_fiber *sleepers[EXPIRING];
    const int64_t start = measure_now();

    for (long i = 0; i < EXPIRING; i++)
        measure_check(coil_spawn(sleep_short, (void *)(intptr_t)i, &sleepers[i]), "coil_spawn");
    for (long i = 0; i < EXPIRING; i++) {
        measure_check(coil_join(sleepers[i], NULL), "coil_join");
        coil_fiber_unref(sleepers[i]);
    }
    return measure_scaled(measure_now() - start, EXPIRING, count);
}

int main(int argc, char **argv)
{
    static const struct measure_case cases[] = {{"timer", set_and_cancel},
                                                {"timer_1000", set_and_cancel_among_others},
                                                {"timer_million", set_a_million_then_cancel},
                                                {"timer_expiry", sleep_to_the_end},
                                                {"clock", read_clock},
                                                {"sleep_cancel", sleep_and_cancel},
                                                {0}};

    return measure_main_in_fiber(argc, argv, cases);
}

/* SPDX-License-Identifier: MIT */
/* Offloaded calls that race with their callers' deadlines: a plain program, since Criterion does
 * not work under ThreadSanitizer, for which this is made (-DCOIL_SANITIZE=thread).
 *
 * Passes when every call has ended exactly once, with its result or abandoned, over several runs in
 * two threads; TSan adds that nothing raced on a job or its argument.
 */
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

#include <coil/coil.h>

enum {
    THREADS = 2,
    RUNS = 4,
    ROUNDS = 25,
    RACERS = 40,
    LONGEST_DELAY = 40000, /* rounds of an empty loop: some 50 us */
};

struct race {
    int delay;
    int seen; /* written by the call, read by whoever has the race afterwards */
};

static atomic_int won_count;
static atomic_int lost_count;
static atomic_int abandoned_count;
static atomic_int error_count;

static int take_a_while(void *arg)
{
    struct race *race = arg;

    for (volatile int i = 0; i < race->delay; i++) {}
    race->seen = race->delay;
    return race->delay;
}

static void give_up(void *arg)
{
    atomic_fetch_add(&abandoned_count, 1);
    free(arg);
}

static int race_once(void *arg)
{
    const unsigned seed = *(unsigned *)arg;
    struct race *race = calloc(1, sizeof *race);
    coil_scope scope;
    int result = -1;
    int error;

    if (!race)
        abort();
    race->delay = (int)(seed * 2654435761U % LONGEST_DELAY);
    coil_scope_enter(&scope, seed % 8 == 0 ? COIL_NEVER : COIL_US(seed * 7 % 400));
    error = coil_offload(take_a_while, race, give_up, &result);
    (void)coil_scope_leave(&scope);
    if (error < 0) {
        atomic_fetch_add(&lost_count, 1);
        return 0;
    }
    if (result != race->delay || race->seen != race->delay)
        atomic_fetch_add(&error_count, 1);
    atomic_fetch_add(&won_count, 1);
    free(race);
    return 0;
}

static int run_rounds(void *arg)
{
    (void)arg;
    for (unsigned round = 0; round < ROUNDS; round++) {
        coil_fiber *fibers[RACERS];
        unsigned seeds[RACERS];

        for (unsigned i = 0; i < RACERS; i++) {
            seeds[i] = round * RACERS + i;
            if (coil_spawn(race_once, &seeds[i], &fibers[i]) < 0)
                abort();
        }
        for (int i = 0; i < RACERS; i++) {
            if (coil_join(fibers[i], NULL) < 0)
                atomic_fetch_add(&error_count, 1);
            coil_fiber_unref(fibers[i]);
        }
    }
    return 0;
}

static void *run_all(void *arg)
{
    (void)arg;
    for (int i = 0; i < RUNS; i++)
        if (coil_run(run_rounds, NULL, NULL, NULL) < 0)
            atomic_fetch_add(&error_count, 1);
    return NULL;
}

int main(void)
{
    pthread_t threads[THREADS];

    for (int i = 0; i < THREADS; i++)
        if (pthread_create(&threads[i], NULL, run_all, NULL) != 0)
            return EXIT_FAILURE;
    for (int i = 0; i < THREADS; i++)
        (void)pthread_join(threads[i], NULL);

    printf("%d calls won, %d lost, %d were abandoned, %d errors\n", won_count, lost_count,
           abandoned_count, error_count);
    if (error_count || lost_count != abandoned_count || won_count == 0 || lost_count == 0 ||
        won_count + lost_count != THREADS * RUNS * ROUNDS * RACERS)
        return EXIT_FAILURE;
    return EXIT_SUCCESS;
}

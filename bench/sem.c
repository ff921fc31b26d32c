/* SPDX-License-Identifier: MIT */
/* A semaphore's permit handed to the fiber that waits for it.
 *
 * Two fibers and two semaphores without permits: each releases the other's and waits for its own,
 * so an operation is one release that wakes, one acquire that parks, and the switch between them.
 * `sem_free` is an acquire and a release of a permit that nobody else wants.
 */
#include <coil/coil.h>

#include "measure.h"

struct pair {
    coil_sem mine;
    coil_sem theirs;
    long count;
};

static int answer(void *arg)
{
    struct pair *pair = arg;

    for (long i = 0; i < pair->count; i += 2) {
        measure_check(coil_sem_acquire(&pair->theirs), "coil_sem_acquire");
        coil_sem_release(&pair->mine);
    }
    return 0;
}

static int64_t hand_over(long count)
{
    struct pair pair = {.count = count};
    coil_fiber *partner;
    int64_t start;
    int64_t taken;

    coil_sem_init(&pair.mine, 0);
    coil_sem_init(&pair.theirs, 0);
    measure_check(coil_spawn(answer, &pair, &partner), "coil_spawn");
    coil_yield();

    start = measure_now();
    for (long i = 0; i < count; i += 2) {
        coil_sem_release(&pair.theirs);
        measure_check(coil_sem_acquire(&pair.mine), "coil_sem_acquire");
    }
    taken = measure_now() - start;

    measure_check(coil_join(partner, NULL), "coil_join");
    coil_fiber_unref(partner);
    return taken;
}

static int64_t take_free(long count)
{
    const int64_t start = measure_now();
    coil_sem sem;

    coil_sem_init(&sem, 1);
    for (long i = 0; i < count; i++) {
        measure_check(coil_sem_acquire(&sem), "coil_sem_acquire");
        coil_sem_release(&sem);
    }
    return measure_now() - start;
}

int main(int argc, char **argv)
{
    static const struct measure_case cases[] = {
        {"sem_hand_over", hand_over}, {"sem_free", take_free}, {0}};

    return measure_main_in_fiber(argc, argv, cases);
}

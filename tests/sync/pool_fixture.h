/* SPDX-License-Identifier: MIT */
/* Tasks for the tests of coil_pool: they count themselves and end when the test lets them.
 *
 * A gated task parks until coil_sem_release() of the gate, once for each; what runs, what has run
 * and how many at most at once is in struct work.
 */
#ifndef COIL_TESTS_SYNC_POOL_FIXTURE_H
#define COIL_TESTS_SYNC_POOL_FIXTURE_H

#include "support/fiber_test.h"

/* What the tasks of a test share. */
struct work {
    coil_pool *pool;
    coil_sem gate; /* a gated task ends with a permit of it */
    int active;
    int active_max;
    int started;
    int depth;
    char log[16];
};

/* A fiber outside of the pool that spawns one task into it, then appends its name to the log. */
struct spawner {
    struct work *work;
    int (*fn)(void *);
    void *arg;
    char name;
};

void setup_pool(struct work *work, size_t size);
void open_gate(struct work *work, int count);

/* Fibers: a gated task (struct work), a spawner (struct spawner). */
int pass_gate(void *arg);
int spawn_from_outside(void *arg);

void spawn_gated(struct work *work, int count);

/* A member that lends its slot to a gated task, then sleeps until it is cancelled. */
int lend_then_sleep(void *arg);

#endif

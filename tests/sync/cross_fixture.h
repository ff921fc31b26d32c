/* SPDX-License-Identifier: MIT */
/* Fibers on other cores and plain threads, started and collected from main's core.
 *
 * What runs elsewhere reports by its result: Criterion's assertions belong to main's thread.
 */
#ifndef COIL_TESTS_SYNC_CROSS_FIXTURE_H
#define COIL_TESTS_SYNC_CROSS_FIXTURE_H

#include <pthread.h>

#include "support/fiber_test.h"

enum {
    CROSS_CORES = 3,
};

#define CROSS_TEST(suite, name) \
 FIBER_TEST_WITH(suite, name, (&(coil_options){.size = sizeof(coil_options), .cores = CROSS_CORES}))

/* A function under way on another core, or in a thread. */
struct cross {
    unsigned core;
    int (*fn)(void *);
    void *arg;
    coil_fiber *caller;
    pthread_t thread;
    int result;
};

/* Starts fn(arg) on `core`. */
void cross_start(struct cross *cross, unsigned core, int (*fn)(void *), void *arg);

/* Cancels it there. */
void cross_cancel(struct cross *cross);

/* Waits for its end. Returns fn's result, or the interruption. */
int cross_join(struct cross *cross);

/* The same in a plain thread. */
void cross_start_thread(struct cross *cross, int (*fn)(void *), void *arg);
int cross_join_thread(struct cross *cross);

#endif

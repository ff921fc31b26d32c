/* SPDX-License-Identifier: MIT */
/* What the tests of offloaded calls share.
 *
 * A struct call is what they offload: it tells when it runs and where, waits until it may go on,
 * and counts what became of it.
 */
#ifndef COIL_TESTS_OFFLOAD_FIXTURE_H
#define COIL_TESTS_OFFLOAD_FIXTURE_H

#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>

#include "io/offload.h"
#include "support/fiber_test.h"

struct call {
    sem_t proceed; /* for those that block */
    atomic_int run_count;
    atomic_int abandoned_count;
    pthread_t thread;
    int result;
};

void call_init(struct call *call, int result);

/* Lets a call that blocks go on. */
void call_proceed(struct call *call);

/* What is offloaded: returns at once, or when call_proceed() says so. */
int run_at_once(void *arg);
int run_when_allowed(void *arg);

/* For `abandoned`. */
void count_abandoned(void *arg);

/* Offload one of the two; return its result, or the error. Entries of fibers too. */
int offload_at_once(void *arg);
int offload_blocking(void *arg);

/* Waits for another thread while the other fibers run. */
void until_count(const atomic_int *count, int value);

/* A fiber in the middle of a blocking call. */
coil_fiber *spawn_into_thread(struct call *call);

/* COIL_THREADS for pools that are made from now on. */
void set_threads(const char *count);

/* Appends messages of coil's log to the text `arg`, of at least 1024 bytes. For coil_log_set(). */
coil_log_hook keep_message;

#endif

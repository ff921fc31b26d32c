/* SPDX-License-Identifier: MIT */
/* Calls to be offloaded (tests/io/offload_fixture.h). */
#include "io/offload_fixture.h"

#include <stdlib.h>

void call_init(struct call *call, int result)
{
    memset(call, 0, sizeof *call);
    cr_assert_eq(sem_init(&call->proceed, 0, 0), 0);
    call->result = result;
}

void call_proceed(struct call *call)
{
    cr_assert_eq(sem_post(&call->proceed), 0);
}

int run_at_once(void *arg)
{
    struct call *call = arg;

    call->thread = pthread_self();
    atomic_fetch_add(&call->run_count, 1);
    return call->result;
}

int run_when_allowed(void *arg)
{
    struct call *call = arg;
    const int result = run_at_once(call);

    while (sem_wait(&call->proceed) < 0)
        ;
    return result;
}

void count_abandoned(void *arg)
{
    struct call *call = arg;

    atomic_fetch_add(&call->abandoned_count, 1);
}

int offload_at_once(void *arg)
{
    int result = 0;
    const int error = coil_offload(run_at_once, arg, count_abandoned, &result);

    return error < 0 ? error : result;
}

int offload_blocking(void *arg)
{
    int result = 0;
    const int error = coil_offload(run_when_allowed, arg, count_abandoned, &result);

    return error < 0 ? error : result;
}

void until_count(const atomic_int *count, int value)
{
    while (atomic_load(count) < value)
        coil_yield();
}

coil_fiber *spawn_into_thread(struct call *call)
{
    coil_fiber *fiber = spawn_until_parked(offload_blocking, call);

    until_count(&call->run_count, 1);
    return fiber;
}

void set_threads(const char *count)
{
    cr_assert_eq(setenv("COIL_THREADS", count, 1), 0); /* NOLINT(concurrency-mt-unsafe) */
}

void keep_message(coil_log_level level, const char *message, void *arg)
{
    (void)level;
    (void)strncat(arg, message, 200);
}

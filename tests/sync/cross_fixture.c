/* SPDX-License-Identifier: MIT */
/* Starting and collecting (sync/cross_fixture.h). */
#include "sync/cross_fixture.h"

static int call(void *arg)
{
    struct cross *cross = arg;
    int result = INT32_MIN;
    const int status = coil_on(cross->core, cross->fn, cross->arg, &result);

    return status < 0 ? status : result;
}

void cross_start(struct cross *cross, unsigned core, int (*fn)(void *), void *arg)
{
    *cross = (struct cross){.core = core, .fn = fn, .arg = arg};
    cross->caller = spawn_until_parked(call, cross);
}

void cross_cancel(struct cross *cross)
{
    coil_cancel(cross->caller);
}

int cross_join(struct cross *cross)
{
    return join_and_drop(cross->caller);
}

static void *run_in_thread(void *arg)
{
    struct cross *cross = arg;

    cross->result = cross->fn(cross->arg);
    return NULL;
}

void cross_start_thread(struct cross *cross, int (*fn)(void *), void *arg)
{
    *cross = (struct cross){.fn = fn, .arg = arg};
    cr_assert_eq(pthread_create(&cross->thread, NULL, run_in_thread, cross), 0);
}

int cross_join_thread(struct cross *cross)
{
    cr_assert_eq(pthread_join(cross->thread, NULL), 0);
    return cross->result;
}

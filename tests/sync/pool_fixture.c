/* SPDX-License-Identifier: MIT */
/* Tasks for the tests of coil_pool (pool_fixture.h). */
#include "sync/pool_fixture.h"

void setup_pool(struct work *work, size_t size)
{
    *work = (struct work){.active = 0};
    coil_sem_init(&work->gate, 0);
    cr_assert_eq(coil_pool_new(size, &work->pool), 0);
}

void open_gate(struct work *work, int count)
{
    for (int i = 0; i < count; i++)
        coil_sem_release(&work->gate);
}

int pass_gate(void *arg)
{
    struct work *work = arg;
    int result;

    work->started++;
    work->active++;
    if (work->active > work->active_max)
        work->active_max = work->active;
    result = coil_sem_acquire(&work->gate);
    work->active--;
    return result;
}

void spawn_gated(struct work *work, int count)
{
    for (int i = 0; i < count; i++)
        cr_assert_eq(coil_pool_spawn_detached(work->pool, pass_gate, work), 0);
}

int spawn_from_outside(void *arg)
{
    const struct spawner *spawner = arg;
    const int result = coil_pool_spawn_detached(spawner->work->pool, spawner->fn, spawner->arg);

    if (result == 0)
        strncat(spawner->work->log, &spawner->name, 1);
    return result;
}

int lend_then_sleep(void *arg)
{
    struct work *work = arg;
    const int result = coil_pool_spawn_detached(work->pool, pass_gate, work);

    cr_assert_eq(result, 0, "the task runs, so the spawn has succeeded");
    return coil_sleep(COIL_SECONDS(60));
}

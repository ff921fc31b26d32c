/* SPDX-License-Identifier: MIT */
/* Resource pools: there are never more than the maximum, whatever parks meanwhile. */
#include "sync/respool_fixture.h"

enum {
    GROWN = 4,
};

static int clear_all(void *arg)
{
    coil_respool_clear(arg, NULL);
    return 0;
}

FIBER_TEST(respool_max, a_create_that_parks_while_the_pool_is_resized_counts_all_the_time)
{
    struct factory factory;
    coil_respool *pool = make_pool(&factory, (coil_respool_options){.max = 1});
    struct getter getters[GROWN + 1];

    factory.create_gate = &factory.gate;
    start_getters(getters, GROWN + 1, pool, NULL);
    coil_respool_resize(pool, GROWN);
    coil_respool_resize(pool, 2);
    coil_respool_resize(pool, GROWN);
    for (int i = 0; i < GROWN + 1; i++)
        cr_assert_eq(coil_sem_release(&factory.gate), 0);
    for (int i = 0; i < GROWN; i++)
        cr_assert_eq(join_and_drop(getters[i].fiber), 0);
    cr_assert_eq(factory.made, GROWN);
    cr_assert_eq(counts_of(pool, "").waiting, 1);

    coil_respool_resize(pool, 1);
    for (int i = 0; i < GROWN; i++) {
        cr_assert_eq(factory.made, GROWN, "the last one waits until there is one left");
        coil_respool_put(getters[i].resource);
    }
    join_and_put(&getters[GROWN]);
    cr_assert_eq(factory.alive_max, GROWN);
    cr_assert_eq(factory.made - factory.unmade, 1);
    free_pool(pool, &factory);
}

/* An idle one is being unmade, by `fiber` (or the reaper, NULL). Nobody gets another one before. */
static void expect_no_other_meanwhile(coil_respool *pool, struct factory *factory,
                                      coil_fiber *fiber)
{
    struct getter getter;
    coil_resource *none = NULL;

    while (counts_of(pool, "").idle > 0)
        cr_assert_eq(coil_sleep(COIL_MS(1)), 0);
    cr_assert_eq(counts_of(pool, "").used, 1);
    cr_assert_eq(coil_respool_try_get(pool, "", &none), -EAGAIN);
    start_getters(&getter, 1, pool, NULL);
    cr_assert_eq(coil_sem_release(factory->destroy_gate), 0);
    cr_assert_eq(join_and_drop(getter.fiber), 0);
    cr_assert_eq(factory->alive_max, 1);
    cr_assert_eq(factory->made, 2);
    if (fiber)
        cr_assert_eq(join_and_drop(fiber), 0);
    factory->destroy_gate = NULL;
    coil_respool_drop(getter.resource);
    free_pool(pool, factory);
}

FIBER_TEST(respool_max, one_that_has_expired_counts_until_it_is_unmade)
{
    struct factory factory;
    coil_respool *pool =
        make_pool(&factory, (coil_respool_options){.max = 1, .idle_timeout = COIL_MS(2)});

    factory.destroy_gate = &factory.gate;
    coil_respool_put(get_resource(pool, ""));
    expect_no_other_meanwhile(pool, &factory, NULL);
}

FIBER_TEST(respool_max, one_that_was_cleared_counts_until_it_is_unmade)
{
    struct factory factory;
    coil_respool *pool = make_pool(&factory, (coil_respool_options){.max = 1});

    factory.destroy_gate = &factory.gate;
    coil_respool_put(get_resource(pool, ""));
    expect_no_other_meanwhile(pool, &factory, spawn_until_parked(clear_all, pool));
}

static int put_it(void *arg)
{
    coil_respool_put(arg);
    return 0;
}

FIBER_TEST(respool_max, one_too_many_of_all_keys_counts_until_it_is_unmade)
{
    struct factory factory;
    coil_respool *pool = make_pool(&factory, (coil_respool_options){.max = 1, .idle_max = 1});
    struct getter getter;
    coil_resource *other = get_resource(pool, "other");
    coil_fiber *putter;

    factory.destroy_gate = &factory.gate;
    coil_respool_put(get_resource(pool, ""));
    putter = spawn_until_parked(put_it, other);
    start_getters(&getter, 1, pool, NULL);
    cr_assert_eq(factory.made, 2);
    cr_assert_eq(coil_sem_release(&factory.gate), 0);
    cr_assert_eq(join_and_drop(putter), 0);
    cr_assert_eq(join_and_drop(getter.fiber), 0);
    factory.destroy_gate = NULL;
    coil_respool_put(getter.resource);
    free_pool(pool, &factory);
}

FIBER_TEST(respool_max, the_reaper_leaves_one_to_the_waiter_that_has_been_given_its_place)
{
    struct factory factory;
    coil_respool *pool =
        make_pool(&factory, (coil_respool_options){.max = 1, .idle_timeout = COIL_MS(2)});
    coil_resource *resource = get_resource(pool, "");
    struct getter getter;
    int64_t end;

    factory.destroy_gate = &factory.gate;
    coil_respool_put(get_resource(pool, "other"));
    while (counts_of(pool, "other").idle > 0)
        cr_assert_eq(coil_sleep(COIL_MS(1)), 0, "the reaper is busy");
    start_getters(&getter, 1, pool, NULL);
    cr_assert_eq(coil_sem_release(&factory.gate), 0);
    coil_respool_put(resource);
    for (end = coil_now() + COIL_MS(3); coil_now() < end;)
        continue; /* nobody runs before it has expired, too */
    for (int i = 0; i < 4; i++)
        cr_assert_eq(coil_sleep(0), 0);

    cr_assert_eq(factory.made, 2, "the expired one is not unmade yet");
    factory.destroy_gate = NULL;
    cr_assert_eq(coil_sem_release(&factory.gate), 0);
    join_and_put(&getter);
    free_pool(pool, &factory);
}

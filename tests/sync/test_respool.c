/* SPDX-License-Identifier: MIT */
/* Resource pools: limits per key, turns, what breaks; nothing lost, nothing left. */
#include "base/alloc.h"
#include "sync/respool.h"
#include "sync/respool_fixture.h"

/* ---- Reuse and limits ---- */

FIBER_TEST(respool, a_resource_that_was_given_back_is_used_again)
{
    struct factory factory;
    coil_respool *pool = make_pool(&factory, (coil_respool_options){.max = 2});
    coil_resource *resource = get_resource(pool, "");
    const void *value = coil_resource_value(resource);

    cr_assert_not(coil_resource_is_reused(resource));
    coil_respool_put(resource);
    resource = get_resource(pool, "");
    cr_assert_eq(coil_resource_value(resource), value);
    cr_assert(coil_resource_is_reused(resource));
    cr_assert_eq(factory.checked, 1);
    coil_respool_put(resource);

    cr_assert_eq(factory.made, 1);
    free_pool(pool, &factory);
}

FIBER_TEST(respool, the_last_used_one_is_used_first_or_the_longest_idle_if_asked_for)
{
    for (int is_fifo = 0; is_fifo < 2; is_fifo++) {
        struct factory factory;
        coil_respool *pool =
            make_pool(&factory, (coil_respool_options){.max = 3, .is_fifo = is_fifo});
        coil_resource *resource;

        make_idle(pool, 3);
        resource = get_resource(pool, "");
        cr_assert_eq(coil_resource_value(resource), &factory.things[is_fifo ? 0 : 2]);
        coil_respool_put(resource);

        free_pool(pool, &factory);
    }
}

FIBER_TEST(respool, keys_have_limits_and_resources_of_their_own)
{
    struct factory factory;
    coil_respool *pool = make_pool(&factory, (coil_respool_options){.max = 1});
    coil_resource *a = get_resource(pool, "a");
    coil_resource *b = get_resource(pool, "b");
    coil_resource *none = NULL;

    cr_assert_eq(coil_respool_try_get(pool, "a", &none), -EAGAIN);
    cr_assert_null(none);
    cr_assert_str_eq(((struct thing *)coil_resource_value(b))->key, "b");
    coil_respool_put(a);
    cr_assert_eq(counts_of(pool, "a").idle, 1);
    cr_assert_eq(counts_of(pool, "b").used, 1);
    cr_assert_eq(counts_of(pool, NULL).used, 1);
    cr_assert_eq(counts_of(pool, NULL).idle, 1);
    cr_assert_eq(counts_of(pool, "c").used, 0);
    coil_respool_put(b);

    free_pool(pool, &factory);
}

FIBER_TEST(respool, those_who_wait_are_served_in_the_order_of_arrival)
{
    struct factory factory;
    coil_respool *pool = make_pool(&factory, (coil_respool_options){.max = 1});
    coil_resource *resource = get_resource(pool, "");
    char log[WAITERS + 1] = "";
    struct getter getters[WAITERS];

    start_getters(getters, WAITERS, pool, log);
    cr_assert_eq(counts_of(pool, "").waiting, WAITERS);
    coil_respool_put(resource);
    cr_assert_eq(coil_respool_try_get(pool, "", &resource), -EAGAIN, "it belongs to the first");
    for (int i = 0; i < WAITERS; i++)
        join_and_put(&getters[i]);

    cr_assert_str_eq(log, "abc");
    cr_assert_eq(factory.made, 1);
    free_pool(pool, &factory);
}

FIBER_TEST(respool, what_is_given_back_to_several_who_wait_is_all_used_again)
{
    struct factory factory;
    coil_respool *pool = make_pool(&factory, (coil_respool_options){.max = WAITERS});
    struct getter getters[WAITERS];
    coil_resource *resources[WAITERS];

    for (int i = 0; i < WAITERS; i++)
        resources[i] = get_resource(pool, "");
    start_getters(getters, WAITERS, pool, NULL);
    for (int i = 0; i < WAITERS; i++)
        coil_respool_put(resources[i]);
    cr_assert_eq(factory.unmade, 0);
    for (int i = 0; i < WAITERS; i++)
        join_and_put(&getters[i]);

    cr_assert_eq(factory.made, WAITERS);
    free_pool(pool, &factory);
}

FIBER_TEST(respool, the_limit_of_idle_ones_spares_those_that_somebody_waits_for)
{
    struct factory factory;
    coil_respool *pool = make_pool(&factory, (coil_respool_options){.max = 2, .idle_max = 1});
    struct getter getters[2];
    coil_resource *resources[2];

    for (int i = 0; i < 2; i++)
        resources[i] = get_resource(pool, "");
    start_getters(getters, 2, pool, NULL);
    for (int i = 0; i < 2; i++)
        coil_respool_put(resources[i]);
    for (int i = 0; i < 2; i++)
        cr_assert_eq(join_and_drop(getters[i].fiber), 0);
    cr_assert_eq(factory.made, 2);
    for (int i = 0; i < 2; i++)
        coil_respool_put(getters[i].resource);

    cr_assert_eq(factory.unmade, 1, "the surplus, when nobody waits");
    free_pool(pool, &factory);
}

FIBER_TEST(respool, concurrent_creates_do_not_exceed_the_limit)
{
    struct factory factory;
    coil_respool *pool = make_pool(&factory, (coil_respool_options){.max = 2});
    struct getter getters[WAITERS];

    factory.create_gate = &factory.gate;
    start_getters(getters, WAITERS, pool, NULL);
    cr_assert_eq(counts_of(pool, "").used, 2);
    cr_assert_eq(counts_of(pool, "").waiting, 1);
    for (int i = 0; i < WAITERS; i++)
        coil_sem_release(&factory.gate);
    for (int i = 0; i < WAITERS; i++)
        join_and_put(&getters[i]);

    cr_assert_eq(factory.alive_max, 2);
    free_pool(pool, &factory);
}

/* ---- Failures ---- */

FIBER_TEST(respool, a_create_that_fails_gives_its_place_to_the_next)
{
    struct factory factory;
    coil_respool *pool = make_pool(&factory, (coil_respool_options){.max = 1});
    char log[3] = "";
    struct getter getters[2];

    factory.create_gate = &factory.gate;
    factory.create_result = -ECONNREFUSED;
    start_getters(getters, 2, pool, log);
    coil_sem_release(&factory.gate);
    cr_assert_eq(join_and_drop(getters[0].fiber), -ECONNREFUSED);
    factory.create_result = 0;
    coil_sem_release(&factory.gate);
    join_and_put(&getters[1]);

    cr_assert_str_eq(log, "b");
    free_pool(pool, &factory);
}

FIBER_TEST(respool, a_create_that_is_cancelled_gives_its_place_to_the_next)
{
    struct factory factory;
    coil_respool *pool = make_pool(&factory, (coil_respool_options){.max = 1});
    struct getter getters[2];

    factory.create_gate = &factory.gate;
    start_getters(getters, 2, pool, NULL);
    coil_cancel(getters[0].fiber);
    cr_assert_eq(join_and_drop(getters[0].fiber), -ECANCELED);
    coil_sem_release(&factory.gate);
    join_and_put(&getters[1]);

    free_pool(pool, &factory);
}

FIBER_TEST(respool, a_waiter_that_gives_up_takes_nothing_and_the_next_is_served)
{
    struct factory factory;
    coil_respool *pool = make_pool(&factory, (coil_respool_options){.max = 1});
    coil_resource *resource = get_resource(pool, "");
    char log[3] = "";
    struct getter getters[2];
    coil_scope scope;
    coil_resource *none = NULL;

    coil_scope_enter(&scope, COIL_MS(1));
    cr_assert_eq(coil_respool_get(pool, "", &none), -ETIMEDOUT);
    cr_assert(coil_scope_leave(&scope));
    start_getters(getters, 2, pool, log);
    coil_cancel(getters[0].fiber);
    coil_respool_put(resource);
    cr_assert_eq(join_and_drop(getters[0].fiber), -ECANCELED);
    join_and_put(&getters[1]);

    cr_assert_str_eq(log, "b");
    free_pool(pool, &factory);
}

FIBER_TEST(respool, a_place_given_before_the_cancellation_is_used)
{
    struct factory factory;
    coil_respool *pool = make_pool(&factory, (coil_respool_options){.max = 1});
    coil_resource *resource = get_resource(pool, "");
    struct getter getter;

    start_getters(&getter, 1, pool, NULL);
    coil_respool_put(resource);
    coil_cancel(getter.fiber);
    join_and_put(&getter);

    free_pool(pool, &factory);
}

FIBER_TEST(respool, when_a_broken_one_is_dropped_the_waiter_makes_a_new_one)
{
    struct factory factory;
    coil_respool *pool = make_pool(&factory, (coil_respool_options){.max = 1});
    coil_resource *resource = get_resource(pool, "");
    struct getter getter;

    start_getters(&getter, 1, pool, NULL);
    coil_respool_drop(resource);
    cr_assert_eq(join_and_drop(getter.fiber), 0);
    cr_assert_not(coil_resource_is_reused(getter.resource));
    coil_respool_put(getter.resource);

    cr_assert_eq(factory.made, 2);
    cr_assert_eq(factory.alive_max, 1, "the old one was gone before");
    free_pool(pool, &factory);
}

FIBER_TEST(respool, idle_ones_that_fail_their_check_are_unmade_and_replaced)
{
    struct factory factory;
    coil_respool *pool = make_pool(&factory, (coil_respool_options){.max = 3});
    coil_resource *resource;

    make_idle(pool, 2);
    factory.things[0].is_bad = true;
    factory.things[1].is_bad = true;
    resource = get_resource(pool, "");

    cr_assert_eq(coil_resource_value(resource), &factory.things[2]);
    cr_assert_eq(factory.unmade, 2);
    coil_respool_put(resource);
    free_pool(pool, &factory);
}

FIBER_TEST(respool, a_fresh_one_is_new_and_the_idle_ones_go)
{
    struct factory factory;
    coil_respool *pool = make_pool(&factory, (coil_respool_options){.max = 3});
    coil_resource *resource = get_resource(pool, "");

    coil_respool_put(resource);
    cr_assert_eq(coil__respool_get_fresh(pool, "", &resource), 0);
    cr_assert_eq(coil_resource_value(resource), &factory.things[1]);
    cr_assert_eq(factory.unmade, 1);
    coil_respool_put(resource);

    free_pool(pool, &factory);
}

static int get_fresh(void *arg)
{
    struct getter *getter = arg;

    return coil__respool_get_fresh(getter->pool, "", &getter->resource);
}

FIBER_TEST(respool, a_fresh_one_costs_nothing_that_came_back_since)
{
    struct factory factory;
    coil_respool *pool = make_pool(&factory, (coil_respool_options){.max = 2});
    struct getter getter = {.pool = pool};
    coil_fiber *fiber;

    factory.destroy_gate = &factory.gate;
    coil_respool_put(get_resource(pool, ""));
    fiber = spawn_until_parked(get_fresh, &getter);
    coil_respool_put(get_resource(pool, ""));
    coil_sem_release(&factory.gate);
    until_parked(fiber);
    cr_assert(factory.things[1].is_alive);
    cr_assert_eq(coil_try_join(fiber, NULL), 0, "it waits for nothing else");
    coil_fiber_unref(fiber);
    cr_assert_not(coil_resource_is_reused(getter.resource));

    factory.destroy_gate = NULL;
    coil_respool_put(getter.resource);
    free_pool(pool, &factory);
}

/* ---- Sizes, options, memory ---- */

FIBER_TEST(respool, growing_releases_waiters_and_shrinking_unmakes_what_comes_back)
{
    struct factory factory;
    coil_respool *pool = make_pool(&factory, (coil_respool_options){.max = 1});
    coil_resource *resource = get_resource(pool, "");
    char log[3] = "";
    struct getter getters[2];

    start_getters(getters, 2, pool, log);
    coil_respool_resize(pool, 3);
    for (int i = 0; i < 2; i++)
        cr_assert_eq(join_and_drop(getters[i].fiber), 0);
    coil_respool_resize(pool, 1);
    coil_respool_put(getters[0].resource);
    coil_respool_put(getters[1].resource);
    cr_assert_eq(factory.unmade, 2);
    coil_respool_put(resource);
    cr_assert_eq(factory.unmade, 2);

    cr_assert_str_eq(log, "ab");
    free_pool(pool, &factory);
}

FIBER_TEST(respool, a_pool_needs_a_way_to_make_things)
{
    coil_respool_options options = COIL_RESPOOL_OPTIONS_INIT;
    coil_respool *pool = NULL;

    cr_assert_eq(coil_respool_new(&options, &pool), -EINVAL);
    options.create = factory_create;
    options.size = 0;
    cr_assert_eq(coil_respool_new(&options, &pool), -EINVAL);
    cr_assert_null(pool);
    coil_respool_free(NULL);
}

FIBER_TEST(respool, when_any_allocation_fails_nothing_is_made_or_left)
{
    int result = -ENOMEM;

    for (int64_t after = 0; result < 0; after++) {
        struct factory factory = {.made = 0};
        coil_respool_options options = COIL_RESPOOL_OPTIONS_INIT;
        coil_respool *pool = NULL;
        coil_resource *resource = NULL;

        options.create = factory_create;
        options.destroy = factory_destroy;
        options.arg = &factory;
        coil__alloc_fail_after(after);
        result = coil_respool_new(&options, &pool);
        if (result == 0)
            result = coil_respool_get(pool, "key", &resource);
        coil__alloc_fail_after(-1);
        if (result == 0)
            coil_respool_put(resource);
        else
            cr_assert_eq(result, -ENOMEM);
        free_pool(pool, &factory);
    }
}

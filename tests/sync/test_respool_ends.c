/* SPDX-License-Identifier: MIT */
/* Resource pools: how resources end. Idle too long, too old, too many, cleared, freed. */
#include "sync/respool_fixture.h"

FIBER_TEST(respool, what_nobody_used_for_the_idle_time_is_unmade_without_a_call)
{
    struct factory factory;
    coil_respool *pool =
        make_pool(&factory, (coil_respool_options){.max = 3, .min = 1, .idle_timeout = COIL_MS(2)});

    make_idle(pool, 3);
    while (factory.unmade < 2)
        cr_assert_eq(coil_sleep(COIL_MS(1)), 0);
    cr_assert_eq(coil_sleep(COIL_MS(5)), 0);

    cr_assert_eq(counts_of(pool, "").idle, 1, "the least that is kept");
    cr_assert(factory.things[2].is_alive, "the last used one");
    free_pool(pool, &factory);
}

/* A thing that was idle for less than the time, and is used until that is over. Whether it was so:
 * it may have been too long on a busy machine. */
static bool use_beyond_idle_time(coil_time idle_timeout)
{
    struct factory factory;
    coil_respool *pool =
        make_pool(&factory, (coil_respool_options){.max = 1, .idle_timeout = idle_timeout});
    coil_resource *resource = get_resource(pool, "");
    bool was_soon;

    coil_respool_put(resource);
    resource = get_resource(pool, "");
    was_soon = factory.made == 1;
    cr_assert_eq(coil_sleep(2 * idle_timeout), 0);
    cr_assert_eq(factory.unmade, factory.made - 1, "the one in use is left");
    coil_respool_put(resource);
    while (factory.unmade < factory.made)
        cr_assert_eq(coil_sleep(COIL_MS(1)), 0);
    free_pool(pool, &factory);
    return was_soon;
}

FIBER_TEST(respool, one_that_is_used_meanwhile_does_not_expire)
{
    coil_time idle_timeout = COIL_MS(5);

    while (!use_beyond_idle_time(idle_timeout))
        idle_timeout *= 2;
}

FIBER_TEST(respool, one_that_is_too_old_is_unmade_when_it_comes_back)
{
    struct factory factory;
    coil_respool *pool =
        make_pool(&factory, (coil_respool_options){.max = 1, .age_max = COIL_MS(1)});
    coil_resource *resource = get_resource(pool, "");

    cr_assert_eq(coil_sleep(COIL_MS(2)), 0);
    coil_respool_put(resource);
    cr_assert_eq(factory.unmade, 1);
    cr_assert_eq(counts_of(pool, "").idle, 0);

    free_pool(pool, &factory);
}

FIBER_TEST(respool, beyond_the_limit_of_idle_ones_the_longest_idle_goes)
{
    struct factory factory;
    coil_respool *pool = make_pool(&factory, (coil_respool_options){.max = 1, .idle_max = 2});
    coil_resource *resources[3];
    static const char *const keys[3] = {"a", "b", "c"};

    for (int i = 0; i < 3; i++)
        resources[i] = get_resource(pool, keys[i]);
    for (int i = 0; i < 3; i++)
        coil_respool_put(resources[i]);

    cr_assert_eq(factory.unmade, 1);
    cr_assert_not(factory.things[0].is_alive);
    free_pool(pool, &factory);
}

FIBER_TEST(respool, clearing_unmakes_idle_ones_now_and_used_ones_when_they_come_back)
{
    struct factory factory;
    coil_respool *pool = make_pool(&factory, (coil_respool_options){.max = 3});
    coil_resource *idle = get_resource(pool, "a");
    coil_resource *used = get_resource(pool, "a");
    coil_resource *other = get_resource(pool, "b");
    coil_resource *later;

    coil_respool_put(idle);
    coil_respool_clear(pool, "a");
    cr_assert_eq(factory.unmade, 1);
    later = get_resource(pool, "a");
    coil_respool_put(used);
    cr_assert_eq(factory.unmade, 2);
    coil_respool_put(later);
    coil_respool_put(other);
    cr_assert_eq(factory.unmade, 2, "made after the clearing, or of another key");
    coil_respool_clear(pool, NULL);
    cr_assert_eq(factory.unmade, 4);
    coil_respool_clear(pool, "unknown");

    free_pool(pool, &factory);
}

FIBER_TEST(respool, one_that_is_cleared_while_it_is_checked_is_not_handed_out)
{
    struct factory factory;
    coil_respool *pool = make_pool(&factory, (coil_respool_options){.max = 2});
    struct getter getter;

    coil_respool_put(get_resource(pool, ""));
    factory.check_gate = &factory.gate;
    start_getters(&getter, 1, pool, NULL);
    coil_respool_clear(pool, NULL);
    coil_sem_release(&factory.gate);
    cr_assert_eq(join_and_drop(getter.fiber), 0);
    cr_assert_not(coil_resource_is_reused(getter.resource));
    coil_respool_put(getter.resource);

    free_pool(pool, &factory);
}

FIBER_TEST(respool, unmaking_is_shielded_from_the_callers_deadline)
{
    struct factory factory;
    coil_respool *pool = make_pool(&factory, (coil_respool_options){.max = 1});
    coil_resource *resource = get_resource(pool, "");
    coil_scope scope;

    coil_sem_release(&factory.gate);
    factory.destroy_gate = &factory.gate;
    coil_scope_enter(&scope, 0);
    coil_respool_drop(resource);
    (void)coil_scope_leave(&scope);

    cr_assert_eq(factory.unmade, 1);
    free_pool(pool, &factory);
}

static int free_in_fiber(void *arg)
{
    coil_respool_free(arg);
    return 0;
}

FIBER_TEST(respool, freeing_waits_for_the_reaper)
{
    struct factory factory;
    coil_respool *pool =
        make_pool(&factory, (coil_respool_options){.max = 2, .idle_timeout = COIL_US(1)});
    coil_fiber *fiber;

    factory.destroy_gate = &factory.gate;
    coil_respool_put(get_resource(pool, ""));
    while (coil_sem_balance(&factory.gate) == 0)
        cr_assert_eq(coil_sleep(COIL_US(100)), 0);
    fiber = spawn_until_parked(free_in_fiber, pool);
    coil_sem_release(&factory.gate);
    cr_assert_eq(join_and_drop(fiber), 0);

    cr_assert_eq(factory.unmade, 1);
}

FIBER_TEST(respool, freeing_after_the_reaper_waits_for_what_would_have_expired_next)
{
    struct factory factory;
    coil_respool *pool =
        make_pool(&factory, (coil_respool_options){.max = 3, .idle_timeout = COIL_MS(5)});
    coil_fiber *fiber;

    factory.destroy_gate = &factory.gate;
    coil_respool_put(get_resource(pool, ""));
    while (coil_sem_balance(&factory.gate) == 0)
        cr_assert_eq(coil_sleep(COIL_US(100)), 0);
    make_idle(pool, 2);
    fiber = spawn_until_parked(free_in_fiber, pool);
    for (int i = 1; i <= 2; i++) {
        coil_sem_release(&factory.gate);
        while (factory.unmade < i)
            coil_yield();
        cr_assert_eq(coil_sleep(COIL_MS(10)), 0);
    }
    cr_assert_eq(coil_try_join(fiber, NULL), -EAGAIN, "the last one is still being unmade");
    coil_sem_release(&factory.gate);
    cr_assert_eq(join_and_drop(fiber), 0);

    cr_assert_eq(factory.unmade, 3);
}

struct clearing {
    coil_respool *pool;
    const char *key;
};

static int clear_in_fiber(void *arg)
{
    const struct clearing *clearing = arg;

    coil_respool_clear(clearing->pool, clearing->key);
    return 0;
}

FIBER_TEST(respool, clearing_spares_what_is_made_while_it_unmakes)
{
    static const char *const keys[2] = {"", NULL};

    for (int i = 0; i < 2; i++) {
        struct factory factory;
        coil_respool *pool = make_pool(&factory, (coil_respool_options){.max = 2});
        struct clearing clearing = {pool, keys[i]};
        coil_fiber *fiber;

        factory.destroy_gate = &factory.gate;
        coil_respool_put(get_resource(pool, ""));
        fiber = spawn_until_parked(clear_in_fiber, &clearing);
        coil_respool_put(get_resource(pool, ""));
        coil_sem_release(&factory.gate);
        until_parked(fiber);
        cr_assert_eq(coil_try_join(fiber, NULL), 0);
        coil_fiber_unref(fiber);
        cr_assert(factory.things[1].is_alive);

        coil_sem_release(&factory.gate);
        free_pool(pool, &factory);
    }
}

FIBER_TEST(respool, one_that_the_least_kept_protected_expires_in_time_when_it_is_one_too_many)
{
    struct factory factory;
    coil_respool *pool = make_pool(
        &factory, (coil_respool_options){.max = 2, .min = 1, .idle_timeout = COIL_MS(100)});
    coil_resource *a[2];
    coil_resource *b[2];

    for (int i = 0; i < 2; i++) {
        a[i] = get_resource(pool, "a");
        b[i] = get_resource(pool, "b");
    }
    coil_respool_put(a[0]);
    cr_assert_eq(coil_sleep(COIL_MS(80)), 0);
    coil_respool_put(b[0]);
    coil_respool_put(b[1]);
    coil_respool_put(a[1]);
    cr_assert_eq(coil_sleep(COIL_MS(40)), 0);
    cr_assert_not(factory.things[0].is_alive);

    free_pool(pool, &factory);
}

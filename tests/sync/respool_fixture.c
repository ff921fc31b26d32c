/* SPDX-License-Identifier: MIT */
/* A factory of things for resource pools (respool_fixture.h). */
#include "sync/respool_fixture.h"

int factory_create(const char *key, void *arg, void **ret_value)
{
    struct factory *factory = arg;
    struct thing *thing;

    if (factory->create_gate) {
        const int result = coil_sem_acquire(factory->create_gate);

        if (result < 0)
            return result;
    }
    if (factory->create_result < 0)
        return factory->create_result;
    thing = &factory->things[factory->made++];
    strncpy(thing->key, key, sizeof thing->key - 1);
    thing->is_alive = true;
    if (factory->made - factory->unmade > factory->alive_max)
        factory->alive_max = factory->made - factory->unmade;
    *ret_value = thing;
    return 0;
}

void factory_destroy(void *value, void *arg)
{
    struct factory *factory = arg;
    struct thing *thing = value;

    if (factory->destroy_gate)
        cr_assert_eq(coil_sem_acquire(factory->destroy_gate), 0, "inside of a shield");
    cr_assert(thing->is_alive, "unmade once");
    thing->is_alive = false;
    factory->unmade++;
}

static bool check(void *value, void *arg)
{
    struct factory *factory = arg;
    const struct thing *thing = value;

    factory->checked++;
    if (factory->check_gate)
        cr_assert_eq(coil_sem_acquire(factory->check_gate), 0);
    return !thing->is_bad;
}

coil_respool *make_pool(struct factory *factory, coil_respool_options options)
{
    coil_respool *pool = NULL;

    *factory = (struct factory){.made = 0};
    coil_sem_init(&factory->gate, 0);
    options.size = sizeof options;
    options.create = factory_create;
    options.destroy = factory_destroy;
    options.check = check;
    options.arg = factory;
    cr_assert_eq(coil_respool_new(&options, &pool), 0);
    return pool;
}

coil_resource *get_resource(coil_respool *pool, const char *key)
{
    coil_resource *resource = NULL;

    cr_assert_eq(coil_respool_get(pool, key, &resource), 0);
    cr_assert(((struct thing *)coil_resource_value(resource))->is_alive);
    return resource;
}

coil_respool_counts counts_of(const coil_respool *pool, const char *key)
{
    coil_respool_counts counts;

    coil_respool_count(pool, key, &counts);
    return counts;
}

void free_pool(coil_respool *pool, const struct factory *factory)
{
    coil_respool_free(pool);
    cr_assert_eq(factory->made, factory->unmade);
}

void make_idle(coil_respool *pool, int count)
{
    coil_resource *resources[WAITERS];

    cr_assert_leq(count, WAITERS);
    for (int i = 0; i < count; i++)
        resources[i] = get_resource(pool, "");
    for (int i = 0; i < count; i++)
        coil_respool_put(resources[i]);
}

static int get_and_log(void *arg)
{
    struct getter *getter = arg;
    const int result = coil_respool_get(getter->pool, "", &getter->resource);

    if (result == 0 && getter->log)
        strncat(getter->log, &getter->name, 1);
    return result;
}

void start_getters(struct getter *getters, int count, coil_respool *pool, char *log)
{
    for (int i = 0; i < count; i++) {
        getters[i] = (struct getter){.pool = pool, .name = (char)('a' + i)};
        getters[i].log = log;
        getters[i].fiber = spawn_until_parked(get_and_log, &getters[i]);
    }
}

void join_and_put(struct getter *getter)
{
    cr_assert_eq(join_and_drop(getter->fiber), 0);
    coil_respool_put(getter->resource);
}

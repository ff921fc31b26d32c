/* SPDX-License-Identifier: MIT */
/* What the tests of resource pools share: a factory of things, which counts what it makes and
 * unmakes, and fibers that get one.
 */
#ifndef COIL_TESTS_SYNC_RESPOOL_FIXTURE_H
#define COIL_TESTS_SYNC_RESPOOL_FIXTURE_H

#include "support/fiber_test.h"

enum {
    THINGS = 64,
    WAITERS = 3,
};

struct thing {
    char key[16];
    bool is_alive;
    bool is_bad;
};

/* What the functions of a pool share. */
struct factory {
    struct thing things[THINGS];
    int made;
    int unmade;
    int checked;
    int alive_max;
    int create_result;
    coil_sem *create_gate;  /* `create` acquires it first */
    coil_sem *destroy_gate; /* so does `destroy` */
    coil_sem *check_gate;
    coil_sem gate; /* for those: closed until the test releases it */
};

int factory_create(const char *key, void *arg, void **ret_value);
void factory_destroy(void *value, void *arg);

/* A pool of the factory's things, with the limits that `options` says. */
coil_respool *make_pool(struct factory *factory, coil_respool_options options);

/* Frees the pool and checks that everything that was made is gone. */
void free_pool(coil_respool *pool, const struct factory *factory);

/* Takes a resource, which must succeed. */
coil_resource *get_resource(coil_respool *pool, const char *key);

coil_respool_counts counts_of(const coil_respool *pool, const char *key);

/* Takes so many resources of the key "", WAITERS at most, and gives them back in that order. */
void make_idle(coil_respool *pool, int count);

/* A fiber that gets a resource of the key "" and then adds its name to the log. */
struct getter {
    coil_respool *pool;
    char *log; /* may be NULL */
    char name;
    coil_resource *resource;
    coil_fiber *fiber;
};

/* Starts getters with the names 'a', 'b'...: each has parked, or ended, before the next one. */
void start_getters(struct getter *getters, int count, coil_respool *pool, char *log);

/* Joins one that must have got a resource, and gives it back. */
void join_and_put(struct getter *getter);

#endif

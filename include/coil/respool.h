/* SPDX-License-Identifier: MIT */
/* coil/respool.h - a pool of things that are dear to make: connections, buffers, sessions.
 *
 * The user says how a resource is made, unmade and looked at; the pool keeps those that nobody uses
 * and hands them out again. Resources have a key, a text such as "db.example:5432", and limits
 * count per key; a pool of one kind of thing uses the key "".
 *
 *     coil_respool_options options = COIL_RESPOOL_OPTIONS_INIT;
 *
 *     options.create = open_session;
 *     options.destroy = close_session;
 *     coil_respool_new(&options, &pool);
 *     ...
 *     result = coil_respool_get(pool, "", &resource);     (parks while `max` are in use)
 *     if (result < 0)
 *         return result;
 *     result = query(coil_resource_value(resource));
 *     if (result < 0)
 *         coil_respool_drop(resource);                      (unmade: it may be broken)
 *     else
 *         coil_respool_put(resource);                       (kept for the next)
 *
 * Who waits for a resource is served in the order of arrival, per key. What a fiber waits for is a
 * place, not a certain resource: one that breaks, is refused by `check` or has to be made anew does
 * not cost anybody his turn, and a `create` that fails or is cancelled gives its place to the next.
 *
 * A resource that is not used is unmade after `idle_timeout`, one that is older than `age_max` when
 * it is given back, and the longest idle one when there are more than `idle_max`.
 *
 * coil/connpool.h has the functions for a pool of connections.
 *
 * A pool is 1,240 bytes, and 88 bytes for each resource and each key, whose text comes on top.
 *
 * Threads: fibers of one core only.
 */
#ifndef COIL_RESPOOL_H
#define COIL_RESPOOL_H

#include <coil/base.h>

COIL_BEGIN_DECLS

typedef struct coil_respool coil_respool;

/** A resource that somebody uses. */
typedef struct coil_resource coil_resource;

/** Options of coil_respool_new(); start from COIL_RESPOOL_OPTIONS_INIT. Zero means the default. All
 *  three functions get `arg` and may park. */
typedef struct coil_respool_options {
    size_t size; /* set by the initialiser */
    /* Makes a resource for `key`: 0, or a negative errno, which coil_respool_get() returns. */
    int (*create)(const char *key, void *arg, void **ret_value);
    /* Unmakes one; may be NULL. Called inside of a shield: no deadline interrupts it. */
    void (*destroy)(void *value, void *arg);
    /* Whether an idle one can still be used; NULL when they all can. */
    bool (*check)(void *value, void *arg);
    void *arg;
    size_t max;             /* resources of a key, from their create to the end of destroy: 4 */
    size_t min;             /* idle resources of a key that no idle_timeout unmakes: 0 */
    size_t idle_max;        /* idle resources of all keys: 1,000 */
    coil_time idle_timeout; /* 10 s */
    coil_time age_max;      /* since it was made: COIL_NEVER */
    bool is_fifo;           /* use the longest idle one first: the last used one first */
} coil_respool_options;

#define COIL_RESPOOL_OPTIONS_INIT      \
 {                                     \
  .size = sizeof(coil_respool_options) \
 }

/** Makes an empty pool; `create` is needed. Never parks. The caller owns it and frees it.
 *  Returns 0; -EINVAL without `create` or the initialiser; -ENOMEM.
 *  Like eventlet.pools.Pool, and its db_pool. */
COIL_API COIL_MUST_CHECK int coil_respool_new(const coil_respool_options *options,
                                              coil_respool **ret_pool);

/** Unmakes what is idle and frees @p pool; NULL is harmless. Parks, and nothing interrupts it: a
 *  releasing call. Nobody may use a resource of the pool, or wait for one. */
COIL_API void coil_respool_free(coil_respool *pool);

/** Takes a resource of @p key (copied), an idle one or a new one. Parks while `max` are in use.
 *  Returns 0, when the resource is the caller's until put or drop; the error of `create`;
 *  -ETIMEDOUT or -ECANCELED; -ENOMEM. Like Pool.get(). */
COIL_API COIL_MUST_CHECK int coil_respool_get(coil_respool *pool, const char *key,
                                              coil_resource **ret_resource);

/** The same without waiting for a place: -EAGAIN when `max` are in use. `create` and `check` may
 *  still park. */
COIL_API COIL_MUST_CHECK int coil_respool_try_get(coil_respool *pool, const char *key,
                                                  coil_resource **ret_resource);

/** Gives @p resource back for others to use. Parks only to unmake what is too many or too old, and
 *  nothing interrupts that. Like Pool.put(). */
COIL_API void coil_respool_put(coil_resource *resource);

/** Unmakes @p resource; its place goes to the next who waits. Parks, and nothing interrupts it. */
COIL_API void coil_respool_drop(coil_resource *resource);

/** Unmakes all idle resources of @p key (NULL: of all keys), and those in use when they are given
 *  back. Parks, and nothing interrupts it. Like db_pool's clear(). */
COIL_API void coil_respool_clear(coil_respool *pool, const char *key);

/** Changes `max`. More places go to those who have waited longest; with fewer, resources that are
 *  in use or being made are unmade when they are given back, idle ones when they have been used
 *  once more or their time is over. Never parks. Like Pool.resize(). */
COIL_API void coil_respool_resize(coil_respool *pool, size_t max);

/** Returns what `create` made. Valid until put or drop. */
COIL_API void *coil_resource_value(const coil_resource *resource);

/** Returns whether @p resource has been used before: if it fails now, a new one may not. */
COIL_API bool coil_resource_is_reused(const coil_resource *resource);

/** What coil_respool_count() tells, of one key or of all. 24 bytes. */
typedef struct coil_respool_counts {
    size_t used;    /* handed out, being made or unmade */
    size_t idle;    /* kept */
    size_t waiting; /* fibers that wait for a place */
} coil_respool_counts;

/** Stores the counts of @p key (NULL: of all keys). Never parks. */
COIL_API void coil_respool_count(const coil_respool *pool, const char *key,
                                 coil_respool_counts *ret_counts);

COIL_END_DECLS

#endif

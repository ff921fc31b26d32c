/* SPDX-License-Identifier: MIT */
/* Pool of resources (coil/respool.h).
 *
 * A key has `max` places. A fiber first gets a place, in the order of arrival, then a resource: an
 * idle one that is still good, or a new one. So nobody waits for a certain resource, and whatever
 * becomes of one, its place is given on: to the longest waiter directly, `used` unchanged, as
 * coil_pool does with its slots.
 *
 * Idle resources hang in two lists, one of their key and one of the pool, the longest idle first.
 * A timer of the pool waits for the first whose time will be over; unmaking may park, so the timer
 * starts a fiber for it, the reaper, which exists only meanwhile. A resource leaves both lists
 * before it is unmade or looked at, since those calls may park, and loops begin again at the head.
 *
 * Unmaking takes a place, too, or a slow `destroy` would let a key have more than `max`: whoever
 * uses a resource has one; for an idle one a place is taken beside those in use, which its own end
 * leaves room for. That room is not there while a waiter has been given a place for it and has not
 * run (`arriving`), so idle resources that arriving waiters will take are left to these; only
 * clearing has to unmake them, and may then for a moment have one too many.
 *
 * Clearing counts. A resource remembers the count at the time it was asked for; one that is older
 * than its key's or the pool's last clearing is unmade when it comes back.
 *
 * Invariants: fibers wait for a place only while used >= max; a key exists while `users` is not 0,
 * which counts its places in use, its waiters and its idle resources; used - arriving + idle of a
 * key is at most max, but after a shrink.
 */
#include "sync/respool.h"

#include <errno.h>
#include <string.h>

#include "base/alloc.h"
#include "base/options.h"
#include "core/waitq.h"

enum {
    MAX_DEFAULT = 4, /* as eventlet */
    IDLE_MAX_DEFAULT = 1000,
    BUCKETS = 64, /* keys in use at a time are tens, rarely hundreds */
};

static const coil_time idle_timeout_default = COIL_SECONDS(10);
static const coil_time reap_again_after = COIL_SECONDS(1); /* when no fiber could be had */

struct key {
    struct coil__list link; /* in its bucket */
    struct coil__list idle; /* resources, the next to be used first */
    struct coil__waitq waiters;
    size_t used;     /* places */
    size_t arriving; /* of these, given to a waiter that has not run since */
    size_t idle_count;
    size_t users;
    uint64_t cleared; /* the count of its last clearing */
    char text[];
};

COIL_STATIC_ASSERT(sizeof(struct key) <= 88, "a promise of the header");

struct coil_resource {
    struct coil__list key_link; /* in key->idle */
    struct coil__list link;     /* in pool->idle */
    coil_respool *pool;
    struct key *key;
    void *value;
    int64_t made_at;
    int64_t idle_since;
    uint64_t clear_count; /* of the pool, when it was asked for */
    bool is_reused;
};

COIL_STATIC_ASSERT(sizeof(coil_resource) <= 88, "a promise of the header");

struct coil_respool {
    coil_respool_options options; /* with the defaults filled in */
    struct coil__list buckets[BUCKETS];
    struct coil__list idle; /* of all keys, the longest idle first */
    size_t idle_count;
    uint64_t clear_count;
    uint64_t cleared; /* the count of the last clearing of all keys */
    struct coil__sched *sched;
    const void *spawn_site; /* of the reaper: where the pool was made */
    struct coil__timer expiry;
    struct coil__waitq reaped; /* wait for the end of the reaper */
    bool is_reaping;
};

COIL_STATIC_ASSERT(sizeof(coil_respool) <= 1240, "a promise of the header");
COIL_STATIC_ASSERT(sizeof(coil_respool_counts) == 24, "a promise of the header");

static void expiry_due(struct coil__timer *timer);

int coil_respool_new(const coil_respool_options *options, coil_respool **ret_pool)
{
    coil_respool_options read;
    coil_respool *pool;

    if (coil__options_read(&read, sizeof read, options) < 0 || !read.create)
        return -EINVAL;
    pool = coil__alloc(sizeof *pool);
    if (!pool)
        return -ENOMEM;
    pool->options = read;
    if (!read.max)
        pool->options.max = MAX_DEFAULT;
    if (!read.idle_max)
        pool->options.idle_max = IDLE_MAX_DEFAULT;
    if (!read.idle_timeout)
        pool->options.idle_timeout = idle_timeout_default;
    if (!read.age_max)
        pool->options.age_max = COIL_NEVER;
    for (int i = 0; i < BUCKETS; i++)
        coil__list_init(&pool->buckets[i]);
    coil__list_init(&pool->idle);
    coil__waitq_init(&pool->reaped);
    pool->sched = coil__sched();
    pool->spawn_site = __builtin_return_address(0);
    pool->expiry.fire = expiry_due;
    *ret_pool = pool;
    return 0;
}

/* ---- Keys ---- */

/* FNV-1a: the keys are short and not chosen to collide, a long bucket would only cost time. */
static size_t bucket_of(const char *text)
{
    uint32_t hash = 2166136261U;

    for (; *text; text++)
        hash = (hash ^ (unsigned char)*text) * 16777619U;
    return hash % BUCKETS;
}

static struct key *key_find(const coil_respool *pool, const char *text)
{
    const struct coil__list *bucket = &pool->buckets[bucket_of(text)];

    for (struct coil__list *link = bucket->next; link != bucket; link = link->next) {
        struct key *key = container_of(link, struct key, link);

        if (strcmp(key->text, text) == 0)
            return key;
    }
    return NULL;
}

/* The key with one more user, or NULL without memory. */
static struct key *key_ref(coil_respool *pool, const char *text)
{
    struct key *key = key_find(pool, text);
    const size_t size = strlen(text) + 1;

    if (!key) {
        key = coil__alloc(sizeof *key + size);
        if (!key)
            return NULL;
        coil__list_push_front(&pool->buckets[bucket_of(text)], &key->link);
        coil__list_init(&key->idle);
        coil__waitq_init(&key->waiters);
        memcpy(key->text, text, size);
    }
    key->users++;
    return key;
}

static void key_unref(struct key *key)
{
    COIL_ASSERT(key->users > 0);
    if (--key->users > 0)
        return;
    coil__list_remove(&key->link);
    coil__free(key);
}

/* ---- Places ---- */

static int take_place(const coil_respool *pool, struct key *key, bool may_wait)
{
    int result;

    if (key->used < pool->options.max) {
        key->used++;
        return 0;
    }
    if (!may_wait)
        return -EAGAIN;
    result = coil__waitq_park(&key->waiters, "resource", key);
    if (result == 0)
        key->arriving--;
    return result;
}

/* Gives a place that counts as used to the longest waiter; false when there is none. */
static bool hand_place(struct key *key)
{
    if (!coil__waitq_wake_one(&key->waiters, 0))
        return false;
    key->arriving++;
    return true;
}

/* Gives on the caller's place, and its use of the key. */
static void give_place(const coil_respool *pool, struct key *key)
{
    COIL_ASSERT(key->used > 0);
    if (key->used > pool->options.max || !hand_place(key))
        key->used--;
    key_unref(key);
}

/* ---- Resources ---- */

static void unmake(coil_resource *resource)
{
    const coil_respool_options *options = &resource->pool->options;
    coil_scope shield;

    if (options->destroy) {
        coil_scope_enter_shield(&shield, COIL_NEVER);
        options->destroy(resource->value, options->arg);
        (void)coil_scope_leave(&shield);
    }
    coil__free(resource);
}

static void take_out(coil_resource *resource)
{
    coil__list_remove(&resource->link);
    coil__list_remove(&resource->key_link);
    resource->pool->idle_count--;
    resource->key->idle_count--;
    key_unref(resource->key);
}

static bool is_cleared(const coil_resource *resource)
{
    return resource->clear_count < resource->key->cleared ||
           resource->clear_count < resource->pool->cleared;
}

static bool is_outdated(const coil_resource *resource)
{
    return is_cleared(resource) ||
           coil_now() - resource->made_at >= resource->pool->options.age_max;
}

static coil_time time_left(const coil_resource *resource)
{
    return resource->pool->options.idle_timeout - (coil_now() - resource->idle_since);
}

/* Whether one that was idle until now can be used. */
static bool is_good(coil_resource *resource)
{
    const coil_respool_options *options = &resource->pool->options;

    if (time_left(resource) <= 0 && resource->key->idle_count >= options->min)
        return false; /* the reaper is late */
    if (options->check && !options->check(resource->value, options->arg))
        return false;
    return !is_outdated(resource); /* now: the check may have parked */
}

/* Makes a resource, its record first: what was made is never without a place to put it. */
static int make(coil_respool *pool, struct key *key, coil_resource **ret_resource)
{
    coil_resource *resource = coil__alloc(sizeof *resource);
    int result;

    if (!resource)
        return -ENOMEM;
    *resource = (coil_resource){.pool = pool, .key = key, .clear_count = pool->clear_count};
    coil__list_init(&resource->link);
    coil__list_init(&resource->key_link);
    result = pool->options.create(key->text, pool->options.arg, &resource->value);
    if (result < 0) {
        coil__free(resource);
        return result;
    }
    resource->made_at = coil_now();
    *ret_resource = resource;
    return 0;
}

/* The first resource of `key` that was idle at `time`, or NULL. */
static coil_resource *first_idle_at(const struct key *key, int64_t time)
{
    for (struct coil__list *link = key->idle.next; link != &key->idle; link = link->next) {
        coil_resource *resource = container_of(link, coil_resource, key_link);

        if (resource->idle_since <= time)
            return resource;
    }
    return NULL;
}

/* The caller has a place. An idle resource that is still good, if one may be used; or a new one,
 * for which the idle ones go: when the last used one has failed its user, the others will, except
 * those that others have used with success since then. */
static int find_or_make(coil_respool *pool, struct key *key, bool is_fresh,
                        coil_resource **ret_resource)
{
    const int64_t limit = is_fresh ? coil_now() : INT64_MAX;
    coil_resource *resource;

    while ((resource = first_idle_at(key, limit)) != NULL) {
        take_out(resource);
        if (!is_fresh && is_good(resource)) {
            resource->is_reused = true;
            *ret_resource = resource;
            return 0;
        }
        unmake(resource);
    }
    return make(pool, key, ret_resource);
}

static int get(coil_respool *pool, const char *text, bool may_wait, bool is_fresh,
               coil_resource **ret_resource)
{
    struct key *key;
    int result = coil__checkpoint(coil__self());

    if (result < 0)
        return result;
    key = key_ref(pool, text);
    if (!key)
        return -ENOMEM;
    result = take_place(pool, key, may_wait);
    if (result < 0) {
        key_unref(key);
        return result;
    }
    result = find_or_make(pool, key, is_fresh, ret_resource);
    if (result < 0)
        give_place(pool, key);
    return result;
}

int coil_respool_get(coil_respool *pool, const char *key, coil_resource **ret_resource)
{
    return get(pool, key, true, false, ret_resource);
}

int coil_respool_try_get(coil_respool *pool, const char *key, coil_resource **ret_resource)
{
    return get(pool, key, false, false, ret_resource);
}

int coil__respool_get_fresh(coil_respool *pool, const char *key, coil_resource **ret_resource)
{
    return get(pool, key, true, true, ret_resource);
}

/* ---- Idle resources, and their end ---- */

/* Takes a place for it meanwhile. */
static void unmake_idle(coil_resource *resource)
{
    coil_respool *pool = resource->pool;
    struct key *key = resource->key;

    key->users++;
    key->used++;
    take_out(resource);
    unmake(resource);
    give_place(pool, key);
}

/* The longest idle one that a timeout may unmake, or NULL. */
static coil_resource *first_to_expire(const coil_respool *pool)
{
    for (struct coil__list *link = pool->idle.next; link != &pool->idle; link = link->next) {
        coil_resource *resource = container_of(link, coil_resource, link);
        const struct key *key = resource->key;

        if (key->idle_count > pool->options.min && key->idle_count > key->arriving)
            return resource;
    }
    return NULL;
}

/* Sees to it that the next resource whose time will be over is unmade then. That may be sooner than
 * was known: of a key with `min` idle resources, one more lets the first of them expire. */
static void watch_idle(coil_respool *pool)
{
    const coil_resource *next = first_to_expire(pool);
    int64_t deadline;

    if (!next || pool->is_reaping)
        return;
    deadline = coil__clock_deadline(time_left(next));
    if (coil__heap_has(&pool->expiry.node) && pool->expiry.node.key <= deadline)
        return;
    coil__timer_disarm(&pool->sched->timers, &pool->expiry);
    coil__timer_arm(&pool->sched->timers, &pool->expiry, deadline);
}

static void unmake_expired(coil_respool *pool)
{
    coil_resource *next;

    while ((next = first_to_expire(pool)) != NULL && time_left(next) <= 0)
        unmake_idle(next);
}

static int reap(void *arg)
{
    coil_respool *pool = arg;

    coil_fiber_name_set(coil_self(), "pool reaper");
    unmake_expired(pool);
    pool->is_reaping = false;
    watch_idle(pool);
    coil__waitq_wake_all(&pool->reaped, 0);
    return 0;
}

static void expiry_due(struct coil__timer *timer)
{
    coil_respool *pool = container_of(timer, coil_respool, expiry);
    const coil_resource *next = first_to_expire(pool);

    if (!next || time_left(next) > 0) {
        watch_idle(pool); /* that one has been used meanwhile */
        return;
    }
    pool->is_reaping = coil__fiber_spawn(pool->sched, reap, pool, pool->spawn_site, NULL) == 0;
    if (!pool->is_reaping)
        coil__timer_arm(&pool->sched->timers, timer, coil__clock_deadline(reap_again_after));
}

static void keep(coil_resource *resource)
{
    coil_respool *pool = resource->pool;
    struct key *key = resource->key;

    resource->idle_since = coil_now();
    if (pool->options.is_fifo)
        coil__list_push_back(&key->idle, &resource->key_link);
    else
        coil__list_push_front(&key->idle, &resource->key_link);
    coil__list_push_back(&pool->idle, &resource->link);
    pool->idle_count++;
    key->idle_count++;
    key->users++;
}

/* The longest idle one that no waiter is about to take, or NULL. */
static coil_resource *first_to_spare(const coil_respool *pool)
{
    for (struct coil__list *link = pool->idle.next; link != &pool->idle; link = link->next) {
        coil_resource *resource = container_of(link, coil_resource, link);

        if (resource->key->idle_count > resource->key->arriving)
            return resource;
    }
    return NULL;
}

void coil_respool_put(coil_resource *resource)
{
    coil_respool *pool = resource->pool;
    struct key *key = resource->key;
    coil_resource *surplus;

    if (is_outdated(resource) || key->used - key->arriving + key->idle_count > pool->options.max) {
        coil_respool_drop(resource);
        return;
    }
    keep(resource);
    give_place(pool, key);
    watch_idle(pool);
    while (pool->idle_count > pool->options.idle_max && (surplus = first_to_spare(pool)) != NULL)
        unmake_idle(surplus);
}

void coil_respool_drop(coil_resource *resource)
{
    coil_respool *pool = resource->pool;
    struct key *key = resource->key;

    unmake(resource);
    give_place(pool, key);
}

/* An idle resource of `key` (NULL: of all) that was cleared, or NULL. */
static coil_resource *first_cleared(const coil_respool *pool, const struct key *key)
{
    for (struct coil__list *link = pool->idle.next; link != &pool->idle; link = link->next) {
        coil_resource *resource = container_of(link, coil_resource, link);

        if ((!key || resource->key == key) && is_cleared(resource))
            return resource;
    }
    return NULL;
}

void coil_respool_clear(coil_respool *pool, const char *key)
{
    struct key *found = key ? key_find(pool, key) : NULL;
    coil_resource *resource;

    if (key && !found)
        return;
    pool->clear_count++;
    if (found) {
        found->users++;
        found->cleared = pool->clear_count;
    } else {
        pool->cleared = pool->clear_count;
    }
    while ((resource = first_cleared(pool, found)) != NULL)
        unmake_idle(resource);
    if (found)
        key_unref(found);
}

void coil_respool_free(coil_respool *pool)
{
    if (!pool)
        return;
    while (pool->is_reaping)
        (void)coil__waitq_park_shielded(&pool->reaped, "reaper of a resource pool");
    coil__timer_disarm(&pool->sched->timers, &pool->expiry); /* a reaper arms it at its end */
    coil_respool_clear(pool, NULL);
    for (int i = 0; i < BUCKETS; i++)
        COIL_ASSERT(coil__list_is_empty(&pool->buckets[i]) && "resources were given back");
    coil__free(pool);
}

/* ---- State ---- */

void coil_respool_resize(coil_respool *pool, size_t max)
{
    pool->options.max = max;
    for (int i = 0; i < BUCKETS; i++) {
        const struct coil__list *bucket = &pool->buckets[i];

        for (struct coil__list *link = bucket->next; link != bucket; link = link->next) {
            struct key *key = container_of(link, struct key, link);

            while (key->used < max && hand_place(key))
                key->used++;
        }
    }
}

void *coil_resource_value(const coil_resource *resource)
{
    return resource->value;
}

bool coil_resource_is_reused(const coil_resource *resource)
{
    return resource->is_reused;
}

static void add_counts(const struct key *key, coil_respool_counts *counts)
{
    counts->used += key->used;
    counts->idle += key->idle_count;
    counts->waiting += coil__waitq_count(&key->waiters);
}

void coil_respool_count(const coil_respool *pool, const char *key, coil_respool_counts *ret_counts)
{
    const struct key *found = key ? key_find(pool, key) : NULL;

    *ret_counts = (coil_respool_counts){.used = 0};
    if (found)
        add_counts(found, ret_counts);
    for (int i = 0; i < BUCKETS && !key; i++) {
        const struct coil__list *bucket = &pool->buckets[i];

        for (struct coil__list *link = bucket->next; link != bucket; link = link->next)
            add_counts(container_of(link, struct key, link), ret_counts);
    }
}

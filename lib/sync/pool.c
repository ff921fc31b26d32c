/* SPDX-License-Identifier: MIT */
/* Bounded set of fibers (coil/pool.h, design D6).
 *
 * `running` counts slots in use. A slot that comes back goes straight to the longest waiting
 * spawner, `running` unchanged, so nobody can overtake and a spawner that is interrupted after its
 * wake still has the slot and uses it. A slot is vacated by the task's own fiber when its function
 * has returned, which happens however it ends: a cancelled fiber runs too.
 *
 * Members are known without a mark on the fiber: their entry is task_main() and its argument the
 * task. A member that lends its slot parks outside of the spawners' queue, named by the task that
 * borrowed; at its end that task gives the slot back by waking it. If the member is interrupted
 * before, the slot stays with the task and the member is counted as one more in use, as after a
 * shrink; the surplus vanishes at the next end. Either way each fiber that is not lending accounts
 * for one slot.
 *
 * Invariants: spawners wait only while running >= size; a task is in `tasks` from its spawn until
 * its function has returned; when running is 0, `tasks` is empty.
 */
#include <coil/pool.h>

#include <errno.h>

#include "base/alloc.h"
#include "base/slab.h"
#include "core/waitq.h"

enum {
    TASKS_PER_CHUNK = 32,
};

struct coil_pool {
    size_t size;                 /* slots */
    size_t running;              /* slots in use */
    struct coil__waitq spawners; /* wait for a slot */
    struct coil__waitq waiters;  /* wait for an empty pool */
    struct coil__list tasks;
    struct coil__slab task_slab;
    bool is_closing;
};

COIL_STATIC_ASSERT(sizeof(coil_pool) <= 112, "a promise of the header");

struct task {
    struct coil__list link; /* in the pool's tasks */
    coil_pool *pool;
    int (*fn)(void *);
    void *arg;
    coil_fiber *fiber;        /* borrowed: the task is gone before its fiber */
    struct coil__tcb *lender; /* parked until this task ends; NULL when the slot is its own */
};

COIL_STATIC_ASSERT(sizeof(struct task) <= 56, "a promise of the header");

int coil_pool_new(size_t size, coil_pool **ret_pool)
{
    coil_pool *pool = coil__alloc(sizeof *pool);

    if (!pool)
        return -ENOMEM;
    pool->size = size;
    coil__waitq_init(&pool->spawners);
    coil__waitq_init(&pool->waiters);
    coil__list_init(&pool->tasks);
    coil__slab_init(&pool->task_slab, sizeof(struct task), TASKS_PER_CHUNK);
    *ret_pool = pool;
    return 0;
}

/* ---- Slots ---- */

static void vacate_slot(coil_pool *pool)
{
    COIL_ASSERT(pool->running > 0);
    if (pool->running <= pool->size && coil__waitq_wake_one(&pool->spawners, 0))
        return;
    if (--pool->running == 0)
        coil__waitq_wake_all(&pool->waiters, 0);
}

void coil_pool_resize(coil_pool *pool, size_t size)
{
    pool->size = size;
    while (pool->running < pool->size && coil__waitq_wake_one(&pool->spawners, 0))
        pool->running++;
}

/* ---- Tasks ---- */

static int task_main(void *arg)
{
    struct task *task = arg;
    coil_pool *pool = task->pool;
    const int result = task->fn(task->arg);
    struct coil__tcb *lender = task->lender;

    coil__self()->entry = NULL; /* what this fiber calls from now on, it calls as no member */
    coil__list_remove(&task->link);
    coil__slab_put(&pool->task_slab, task);
    if (lender)
        coil__wake(lender, 0);
    else
        vacate_slot(pool);
    return result;
}

static bool is_member(const coil_pool *pool, const struct coil__tcb *tcb)
{
    return tcb->entry == task_main && ((const struct task *)tcb->arg)->pool == pool;
}

/* Starts a fiber for a new task. The caller sees to the slot, also on failure. */
static int start(coil_pool *pool, struct task spec, const void *spawn_site, struct task **ret_task)
{
    struct task *task;
    int result;

    if (pool->is_closing)
        return -ESHUTDOWN;
    task = coil__slab_get(&pool->task_slab);
    if (!task)
        return -ENOMEM;
    *task = spec;
    task->pool = pool;
    result = coil__fiber_spawn(coil__sched(), task_main, task, spawn_site, &task->fiber);
    if (result < 0) {
        coil__slab_put(&pool->task_slab, task);
        return result;
    }
    coil__list_push_back(&pool->tasks, &task->link);
    *ret_task = task;
    return 0;
}

/* Gives the handle to the spawner, or detaches the fiber. */
static void hand_out(const struct task *task, coil_fiber **ret_fiber)
{
    if (ret_fiber)
        *ret_fiber = task->fiber;
    else
        coil_fiber_unref(task->fiber);
}

/* The caller has taken a slot; on failure it is vacated. */
static int start_in_slot(coil_pool *pool, struct task spec, const void *spawn_site,
                         coil_fiber **ret_fiber)
{
    struct task *task;
    const int result = start(pool, spec, spawn_site, &task);

    if (result < 0) {
        vacate_slot(pool);
        return result;
    }
    hand_out(task, ret_fiber);
    return 0;
}

static void lender_interrupted(struct coil__tcb *lender)
{
    struct task *task = lender->wait_object;

    /* The spawn has succeeded and returns 0; the next parking call tells of the interruption. */
    task->lender = NULL;
    task->pool->running++;
    coil__wake(lender, 0);
}

static int start_in_lent_slot(coil_pool *pool, struct task spec, const void *spawn_site,
                              coil_fiber **ret_fiber)
{
    struct task *task;
    const int result = start(pool, spec, spawn_site, &task);

    if (result < 0)
        return result;
    hand_out(task, ret_fiber);
    task->lender = coil__self();
    return coil__park("task in its slot", task, lender_interrupted);
}

/* ---- Spawning ---- */

static int spawn(coil_pool *pool, struct task spec, const void *spawn_site, coil_fiber **ret_fiber)
{
    struct coil__tcb *self = coil__self();
    int result = coil__checkpoint(self);

    if (result < 0)
        return result;
    if (pool->is_closing)
        return -ESHUTDOWN;
    if (pool->running < pool->size) {
        pool->running++;
        return start_in_slot(pool, spec, spawn_site, ret_fiber);
    }
    if (is_member(pool, self))
        return start_in_lent_slot(pool, spec, spawn_site, ret_fiber);

    result = coil__waitq_park(&pool->spawners, "pool slot", pool);
    if (result < 0)
        return result; /* without another look at the pool, which may be gone */
    return start_in_slot(pool, spec, spawn_site, ret_fiber);
}

int coil_pool_spawn(coil_pool *pool, int (*fn)(void *), void *arg, coil_fiber **ret_fiber)
{
    const struct task spec = {.fn = fn, .arg = arg};

    return spawn(pool, spec, __builtin_return_address(0), ret_fiber);
}

int coil_pool_spawn_detached(coil_pool *pool, int (*fn)(void *), void *arg)
{
    const struct task spec = {.fn = fn, .arg = arg};

    return spawn(pool, spec, __builtin_return_address(0), NULL);
}

int coil_pool_try_spawn(coil_pool *pool, int (*fn)(void *), void *arg, coil_fiber **ret_fiber)
{
    const struct task spec = {.fn = fn, .arg = arg};

    if (pool->running >= pool->size)
        return pool->is_closing ? -ESHUTDOWN : -EAGAIN;
    pool->running++;
    return start_in_slot(pool, spec, __builtin_return_address(0), ret_fiber);
}

/* ---- Waiting and the end ---- */

int coil_pool_wait(coil_pool *pool)
{
    struct coil__tcb *self = coil__self();
    int result;

    if (is_member(pool, self))
        return -EDEADLK;
    result = coil__checkpoint(self);
    if (result < 0)
        return result;
    if (pool->is_closing)
        return -ESHUTDOWN;
    if (pool->running == 0)
        return 0;
    return coil__waitq_park(&pool->waiters, "empty pool", pool);
}

void coil_pool_free(coil_pool *pool)
{
    struct coil__list *link;

    if (!pool)
        return;
    COIL_ASSERT(!is_member(pool, coil__self()) && "a member would wait for itself");
    pool->is_closing = true;
    coil__waitq_wake_all(&pool->spawners, -ESHUTDOWN);
    coil__waitq_wake_all(&pool->waiters, -ESHUTDOWN);
    for (link = pool->tasks.next; link != &pool->tasks; link = link->next)
        coil_cancel(container_of(link, struct task, link)->fiber);
    if (pool->running > 0)
        coil__waitq_park_shielded(&pool->waiters, "cancelled pool tasks");

    COIL_ASSERT(coil__list_is_empty(&pool->tasks));
    coil__slab_fini(&pool->task_slab);
    coil__free(pool);
}

/* ---- State ---- */

size_t coil_pool_running(const coil_pool *pool)
{
    return pool->running;
}

ptrdiff_t coil_pool_free_count(const coil_pool *pool)
{
    return (ptrdiff_t)(pool->size - pool->running);
}

size_t coil_pool_waiting(const coil_pool *pool)
{
    return coil__waitq_count(&pool->spawners);
}

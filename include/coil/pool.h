/* SPDX-License-Identifier: MIT */
/* coil/pool.h - a bounded set of fibers: at most so many at work at a time.
 *
 * A pool has slots. coil_pool_spawn() takes one for the new fiber and parks while there is none,
 * which is how a pool slows down whoever feeds it; spawners are served in the order of arrival. The
 * slot comes back when the task ends, however it ends.
 *
 * Recursion: a fiber that a pool runs is a member of it. When a member spawns into its own full
 * pool, waiting for a slot could last for ever, since the slot it waits for may be its own. So it
 * lends its slot: the new task runs in it, on a stack of its own, and the member parks until that
 * task has ended and the slot is back. A recursive crawl works with a pool of one. When the wait is
 * interrupted, the call still returns 0, as the task is running; the member then goes on beside it,
 * one more than the pool's size until either ends.
 *
 *     coil_pool_new(200, &pool);
 *     while (next_job(&job))
 *         coil_pool_spawn(pool, work, job, NULL);        (results checked, in real code)
 *     coil_pool_wait(pool);
 *     coil_pool_free(pool);
 *
 * Only fibers that the pool itself started are members; pools that wait for each other's slots in
 * a circle can deadlock like any two locks.
 *
 * A pool is 112 bytes, and 56 and a fiber for each task.
 *
 * Threads: fibers of one core only.
 */
#ifndef COIL_POOL_H
#define COIL_POOL_H

#include <coil/base.h>
#include <coil/fiber.h>

COIL_BEGIN_DECLS

typedef struct coil_pool coil_pool;

/** Makes a pool with @p size slots; with 0 every spawn waits for a coil_pool_resize(). Never parks.
 *  The caller owns the pool and frees it. Returns 0 or -ENOMEM. Like eventlet.GreenPool(size). */
COIL_API COIL_MUST_CHECK int coil_pool_new(size_t size, coil_pool **ret_pool);

/** Cancels every task of @p pool, waits until all have ended, and frees it; NULL is harmless.
 *
 *  Parks, and nothing interrupts it: a releasing call. Call coil_pool_wait() first to let the tasks
 *  finish. Fibers that wait in a call on the pool are let go with -ESHUTDOWN, and so is any later
 *  spawn by a task. Must not be called by a member. */
COIL_API void coil_pool_free(coil_pool *pool);

/** Runs @p fn(@p arg) in a new fiber of @p pool. Parks while no slot is free; a member of the pool
 *  lends its own instead (above).
 *
 *  With @p ret_fiber the caller gets a handle and must unref it; NULL detaches the fiber, whose
 *  negative result then goes to the hook of coil_unhandled_set(). The fiber owns @p arg and runs
 *  even if it is cancelled before its start. Returns 0; -ETIMEDOUT or -ECANCELED while waiting for
 *  a slot, none is taken then; -EAGAIN at the limit of fibers, -ENOMEM, -ESHUTDOWN. After an error
 *  @p fn does not run and @p arg is still the caller's.
 *  Like GreenPool.spawn(). */
COIL_API COIL_MUST_CHECK int coil_pool_spawn(coil_pool *pool, int (*fn)(void *), void *arg,
                                             coil_fiber **ret_fiber);

/** coil_pool_spawn() without a handle. Like GreenPool.spawn_n(). */
COIL_API COIL_MUST_CHECK int coil_pool_spawn_detached(coil_pool *pool, int (*fn)(void *),
                                                      void *arg);

/** coil_pool_spawn() without parking: -EAGAIN when no slot is free, for members too. */
COIL_API COIL_MUST_CHECK int coil_pool_try_spawn(coil_pool *pool, int (*fn)(void *), void *arg,
                                                 coil_fiber **ret_fiber);

/** Waits until @p pool is empty for the first time; tasks spawned while others still run count.
 *  Parks. Returns 0, at once when nothing runs; -EDEADLK to a member; -ETIMEDOUT or -ECANCELED;
 *  -ESHUTDOWN. Like GreenPool.waitall(). */
COIL_API COIL_MUST_CHECK int coil_pool_wait(coil_pool *pool);

/** Changes the number of slots. New ones go to the spawners that have waited longest; when there
 *  are fewer than tasks, these run on and their slots vanish as they end. Never parks.
 *  Like GreenPool.resize(). */
COIL_API void coil_pool_resize(coil_pool *pool, size_t size);

/** Returns the number of slots in use: a task counts from its spawn to its end, a member that has
 *  lent its slot does not count beside the task that has it. Like GreenPool.running(). */
COIL_API size_t coil_pool_running(const coil_pool *pool);

/** Returns the number of free slots; negative while more are in use than the pool has, after a
 *  resize. Like GreenPool.free(). */
COIL_API ptrdiff_t coil_pool_free_count(const coil_pool *pool);

/** Returns how many fibers wait in coil_pool_spawn() for a free slot. Like GreenPool.waiting(). */
COIL_API size_t coil_pool_waiting(const coil_pool *pool);

COIL_END_DECLS

#endif

/* SPDX-License-Identifier: MIT */
/* coil/core.h - more than one core: running functions on each other's threads.
 *
 * With coil_options.cores a coil_run() has that many threads, numbered from 0, each with its own
 * scheduler and io_uring; main runs on core 0. A fiber stays on its core for life, and so does what
 * it makes: a stream, a semaphore, a channel belongs to the core where it was made, and needs no
 * lock there. Work crosses cores as calls:
 *
 *     static int count_there(void *arg)
 *     {
 *         struct table *table = arg;                      (core 1's, and only core 1 touches it)
 *
 *         return table->count;
 *     }
 *
 *     result = coil_on(1, count_there, &table, &count);
 *
 * A call costs a message there and one back; if the other core sleeps, its wake takes most of the
 * time (on a virtual machine some 50 us of CPU time each way). Send work, not instructions. Data
 * that both sides use at the same time needs coil/xchan.h, coil/xsem.h or a lock of the program's
 * own, which must not be held while a fiber parks. Servers need none of this: coil/listeners.h.
 *
 * The number of a fiber shows its core: core 3's 17th is 3000000000000017.
 *
 * When main returns, the fibers of all cores are cancelled, and no core leaves before all fibers
 * have ended: clean-up inside a shield may still call other cores.
 *
 * Threads: from fibers of the run, and coil_core() also from what runs between fibers.
 */
#ifndef COIL_CORE_H
#define COIL_CORE_H

#include <coil/base.h>

COIL_BEGIN_DECLS

/** Returns the number of the core that the caller is on. */
COIL_API unsigned coil_core(void);

/** Returns the number of cores of this coil_run(). */
COIL_API unsigned coil_core_count(void);

/** Runs @p fn(@p arg) in a fiber on core @p core, which may be the caller's own, and stores what it
 *  returned, whatever that is, in *@p ret_result (may be NULL). Parks until it has returned.
 *
 *  An interruption of the caller cancels the fiber there, and its end is still awaited, so @p arg
 *  may be the caller's own storage. If it has a result all the same, that is delivered, and the
 *  interruption speaks at the caller's next call; the call fails if the fiber returned -ECANCELED.
 *  Deadlines do not cross over otherwise: the fiber begins without any.
 *
 *  Returns 0; -EINVAL when there is no such core; -EAGAIN or -ENOMEM when it can't start a fiber,
 *  or -ESHUTDOWN when it has ended: then @p fn has not run; -ETIMEDOUT or -ECANCELED. */
COIL_API COIL_MUST_CHECK int coil_on(unsigned core, int (*fn)(void *), void *arg, int *ret_result);

/** Starts a detached fiber that runs @p fn(@p arg) on core @p core; on one's own, see coil_spawn().
 *
 *  Parks until the other core has made the fiber, which nothing interrupts: a message there and one
 *  back. That bounds what is under way to one message per calling fiber, and tells the truth:
 *  Returns 0 when the fiber will run, which owns @p arg from then on; -EINVAL, -EAGAIN, -ENOMEM,
 *  -ESHUTDOWN, -ETIMEDOUT or -ECANCELED when it won't. */
COIL_API COIL_MUST_CHECK int coil_spawn_on(unsigned core, int (*fn)(void *), void *arg);

/** Runs @p fn(@p arg) in a fiber on every core at the same time, and waits for all of them.
 *
 *  Parks. An interruption cancels those that run, and waits. Returns 0 when each returned 0 or
 *  more; else the negative result, or the reason why @p fn could not be started, of the lowest core
 *  that has one; -ENOMEM before anything has run; -ETIMEDOUT or -ECANCELED when the caller was
 *  interrupted and that result is -ECANCELED. */
COIL_API COIL_MUST_CHECK int coil_each_core(int (*fn)(void *), void *arg);

COIL_END_DECLS

#endif

/* SPDX-License-Identifier: MIT */
/* coil/fiber.h - green threads: spawn, join, cancel, yield, sleep.
 *
 * A fiber is a function with a stack of its own. It runs until it parks (waits for input, a
 * timer, another fiber), and then the next one runs, so between two parking calls a fiber has the
 * thread to itself and shared data needs no lock. A fiber stays on the thread that spawned it.
 *
 * Spawning only schedules: the child first runs when the parent parks. A handle, if asked for, is
 * counted: hold it as long as you like, also after the fiber's end, and give it back with
 * coil_fiber_unref(). A fiber without a handle is detached. A negative result that nobody can
 * collect any more is reported to the hook of coil_unhandled_set(), or else logged.
 *
 * The stack is 64 KiB by default (coil/run.h) with a guard below; big local arrays belong on the
 * heap. Compile your code with -fstack-clash-protection, which coil's CMake and pkg-config files
 * ask for: without it a large frame can jump over the guard.
 *
 * A handle is 112 bytes; the rest of a fiber is on its stack: 192 bytes at most, and what it uses
 * itself, rounded up to whole pages.
 *
 * Threads: see coil/base.h. A handle must not be used from another thread.
 */
#ifndef COIL_FIBER_H
#define COIL_FIBER_H

#include <coil/base.h>

COIL_BEGIN_DECLS

typedef struct coil_fiber coil_fiber;

/** Schedules a new fiber that runs @p fn(@p arg); its return value is the fiber's result. The fiber
 *  owns @p arg: it runs even if it is cancelled before its start.
 *
 *  With @p ret_fiber the caller gets a handle and must unref it; NULL detaches the fiber. Never
 *  parks. Returns 0, -EAGAIN at the limit of fibers (coil_options.fibers_max), or -ENOMEM.
 *  Like eventlet.spawn() and eventlet.spawn_n(). */
COIL_API COIL_MUST_CHECK int coil_spawn(int (*fn)(void *), void *arg, coil_fiber **ret_fiber);

/** Schedules a fiber that runs @p fn(@p arg) after @p delay at the earliest, also when the caller
 *  has ended by then. Until then it waits for "its start"; cancelled before, it runs at once, since
 *  it owns @p arg, with the cancellation pending. Otherwise as coil_spawn().
 *  Like eventlet.spawn_after(); for spawn_after_local() use a group (coil/group.h). */
COIL_API COIL_MUST_CHECK int coil_spawn_after(coil_time delay, int (*fn)(void *), void *arg,
                                              coil_fiber **ret_fiber);

/** Waits until @p fiber has ended and stores its result in *@p ret_result (may be NULL).
 *
 *  Parks. Any number of fibers may join, any number of times, also after the end. Returns 0;
 *  -EDEADLK when a fiber joins itself; -ETIMEDOUT or -ECANCELED without a result. The fiber's own
 *  result, be it negative, is never the return value.
 *  Like eventlet.GreenThread.wait(). */
COIL_API int coil_join(coil_fiber *fiber, int *ret_result);

/** coil_join() without parking: -EAGAIN while @p fiber runs. Like Greenlet.ready(). */
COIL_API COIL_MUST_CHECK int coil_try_join(coil_fiber *fiber, int *ret_result);

/** Cancels @p fiber: its present and all further parking calls fail with -ECANCELED, except inside
 *  a shield (coil/scope.h). Never parks, never runs the fiber; harmless on one that has ended.
 *  A fiber that has not started yet still runs, cancelled, because it owns its argument.
 *  Like eventlet.kill(), but sticky. */
COIL_API void coil_cancel(coil_fiber *fiber);

/** Takes another reference to @p fiber. Returns it. */
COIL_API coil_fiber *coil_fiber_ref(coil_fiber *fiber);

/** Gives a reference back; NULL is harmless. A fiber that runs goes on, detached. */
COIL_API void coil_fiber_unref(coil_fiber *fiber);

/** Returns the calling fiber, borrowed: ref it to keep it beyond its end. NULL outside fibers.
 *  Like eventlet.getcurrent(). */
COIL_API coil_fiber *coil_self(void);

/** Returns the number of @p fiber, unique in its coil_run() and never 0. It shows the core: number
 *  17 of core 3 is 3000000000000017 (coil/core.h). */
COIL_API uint64_t coil_fiber_id(const coil_fiber *fiber);

/** Returns the number of the fiber that spawned @p fiber; 0 when none did (main).
 *  Like gevent's spawning_greenlet. */
COIL_API uint64_t coil_fiber_parent_id(const coil_fiber *fiber);

/** Returns where @p fiber was spawned: the address behind the call, for dladdr(3) or addr2line(1).
 */
COIL_API const void *coil_fiber_spawn_site(const coil_fiber *fiber);

/** Returns the name of @p fiber, "" when it has none; valid as long as the caller's reference. */
COIL_API const char *coil_fiber_name(const coil_fiber *fiber);

/** Names @p fiber for reports; what exceeds 23 bytes is cut. */
COIL_API void coil_fiber_name_set(coil_fiber *fiber, const char *name);

/** Lets every other runnable fiber run once, and I/O and timers have their turn. Never fails.
 *  Like eventlet.sleep(0). */
COIL_API void coil_yield(void);

/** Sleeps for at least @p duration; 0 or less is a yield that can fail. Parks.
 *  Returns 0, -ETIMEDOUT or -ECANCELED. Like eventlet.sleep(). */
COIL_API int coil_sleep(coil_time duration);

/** What coil_on_exit() remembers, in the caller's storage (24 bytes). It must live until the hook
 *  has been called or taken off. */
typedef struct coil_exit_hook {
    struct coil_exit_hook *next; /* private, as all fields */
    void (*fn)(coil_fiber *fiber, int result, void *arg);
    void *arg;
} coil_exit_hook;

/** Has @p fn(@p fiber, its result, @p arg) called when @p fiber ends: by that fiber itself, after
 *  its function has returned and before its joiners run, hooks in the order in which they were
 *  added. On a fiber that has ended, @p fn is called at once. A hook may add and take off others,
 *  and may park, within the fiber's cancellation if there is one. It counts as somebody who has
 *  seen the result. Never parks itself. Like GreenThread.link(). */
COIL_API void coil_on_exit(coil_fiber *fiber, coil_exit_hook *hook,
                           void (*fn)(coil_fiber *fiber, int result, void *arg), void *arg);

/** Takes @p hook off. Returns false when it is not there: it was called, or is being called.
 *  Like GreenThread.unlink(). */
COIL_API bool coil_off_exit(coil_fiber *fiber, coil_exit_hook *hook);

/** Called with a fiber that ended with a negative @p result that nobody can collect: on that
 *  fiber's own stack, where it may park, or by the coil_fiber_unref() that let it go. */
typedef void coil_unhandled_hook(const coil_fiber *fiber, int result, void *arg);

/** Sends results that nobody can collect to @p hook; NULL restores the default, a line in the log.
 *  -ECANCELED is a quiet end and not reported. For the fibers of the caller's core. */
COIL_API void coil_unhandled_set(coil_unhandled_hook *hook, void *arg);

COIL_END_DECLS

#endif

/* SPDX-License-Identifier: MIT */
/* coil/select.h - waiting for several things at once: the first one, some, or all of them.
 *
 * A coil_case says one thing that could happen: an item sent or received, an event, a permit, a
 * lock, the end of a fiber, a time. An array of them goes to one of two families of calls:
 *
 *     coil_case cases[] = {
 *         coil_case_recv(jobs, &job),
 *         coil_case_event(&stop, NULL),
 *         coil_case_after(COIL_SECONDS(5)),
 *     };
 *
 *     switch (coil_select(cases, 3)) {
 *     case 0: ...   (cases[0].result: 1 with a job, 0 when the channel is closed)
 *     case 1: ...   (cases[1].result: 0, or what the event failed with)
 *     case 2: ...   (five seconds since the call)
 *     }                                                  (negative: interrupted)
 *
 * coil_select() makes exactly one case happen and returns its index; nothing has been done for the
 * others. The array can be used again, as it is. coil_wait_any(), coil_wait_some() and
 * coil_wait_all() make several happen, one call or many: a case that has happened is done and
 * skipped from then on, so a wait that was interrupted goes on where it was.
 *
 * Cases are tried in the order of the array: of two that can happen at once, the one in front does.
 * coil_select_from() gives the others their turn. If none can, the fiber waits in the queues of all
 * of them, in the same order as any other fiber there, and what ends the wait is handed over: what
 * was handed over is reported, whatever interrupts the fiber then, and a call that was interrupted
 * took nothing. A case never pairs with another one of the same call: sending to and receiving from
 * one channel in one array waits for somebody else.
 *
 * A case (32 bytes) is a value that owns nothing. What it points to must stay until the call
 * returns. Up to 16 cases are waited for without allocation; more need memory for the wait, 56
 * bytes each, and COIL_CASES_MAX is the limit.
 *
 * Streams, listeners, processes, signals, rwlocks, conditions and what is shared between cores
 * (coil/xchan.h) can't be cases: let a fiber wait for such a thing, and send what comes to a
 * channel that is one.
 *
 * Threads: fibers of one core only.
 */
#ifndef COIL_SELECT_H
#define COIL_SELECT_H

#include <coil/base.h>
#include <coil/capped_sem.h>
#include <coil/chan.h>
#include <coil/event.h>
#include <coil/fiber.h>
#include <coil/flag.h>
#include <coil/mutex.h>
#include <coil/sem.h>
#include <coil/waitgroup.h>

COIL_BEGIN_DECLS

/** The most cases of one call: what an index can count, and far more than a wait should have. */
#define COIL_CASES_MAX ((size_t)1 << 20)

/** One thing that could happen. A zeroed one is coil_case_none(). */
typedef struct coil_case {
    int result; /** What it came to, once it has happened: see the function that made it. */
    int kind;   /* private, as all that follows */

    union {
        coil_chan *chan;
        coil_event *event;
        coil_flag *flag;
        coil_sem *sem;
        coil_capped_sem *capped;
        coil_mutex *mutex;
        coil_waitgroup *group;
        coil_fiber *fiber;
        coil_time duration;
    } on;

    union {
        const void *item;
        void *buffer;
        void **value;
        int *joined;
        int64_t deadline;
    } with;

    union {
        void *value;
        int joined;
    } kept;
} coil_case;

/* ---- Cases ---- */

/** Nothing: never happens, is skipped. Like a nil channel in Go. */
COIL_API coil_case coil_case_none(void);

/** The item at @p item is sent to @p chan. Result: 0; -EPIPE when the channel is closed; of an
 *  unbounded channel also -ENOMEM and -ENOBUFS. Like coil_chan_send(). */
COIL_API coil_case coil_case_send(coil_chan *chan, const void *item);

/** An item of @p chan is received and copied to @p ret_item, or the channel ends. Result: 1 with
 *  the item, 0 when the channel is closed and drained. Like coil_chan_recv(). */
COIL_API coil_case coil_case_recv(coil_chan *chan, void *ret_item);

/** @p event is set, its value is stored in *@p ret_value (may be NULL); or it fails. Result: 0, or
 *  the error of coil_event_fail(). Like coil_event_wait(). */
COIL_API coil_case coil_case_event(coil_event *event, void **ret_value);

/** A permit of @p sem is taken. Result: 0. Like coil_sem_acquire(). */
COIL_API coil_case coil_case_acquire(coil_sem *sem);

/** @p flag is set. Result: 0. Like coil_flag_wait(). */
COIL_API coil_case coil_case_flag(coil_flag *flag);

/** A permit of @p sem is taken. Result: 0. Like coil_capped_sem_acquire(). */
COIL_API coil_case coil_case_capped_acquire(coil_capped_sem *sem);

/** A permit is given to @p sem. Result: 0. Like coil_capped_sem_release(). */
COIL_API coil_case coil_case_capped_release(coil_capped_sem *sem);

/** @p mutex is locked for the calling fiber. Result: 0, or -EDEADLK, at once, when that fiber owns
 *  it already. Like coil_mutex_lock(). */
COIL_API coil_case coil_case_lock(coil_mutex *mutex);

/** Nothing of @p group is under way. Result: 0. Like coil_waitgroup_wait(). */
COIL_API coil_case coil_case_waitgroup(coil_waitgroup *group);

/** @p fiber ends, its result is stored in *@p ret_result (may be NULL). The caller holds a
 *  reference until then. Result: 0, or -EDEADLK, at once, of the calling fiber. Like coil_join().
 */
COIL_API coil_case coil_case_join(coil_fiber *fiber, int *ret_result);

/** @p duration has passed since the call of coil_select(), or since the first call of coil_wait_x()
 *  with this case that had to wait; with 0 or less, at once: as the last case, "otherwise". Result:
 *  0. Like Go's time.After(). */
COIL_API coil_case coil_case_after(coil_time duration);

/** Returns whether coil_wait_any(), coil_wait_some() or coil_wait_all() has seen @p it happen. */
COIL_API bool coil_case_is_done(const coil_case *it);

/* ---- One of them ---- */

/** Makes one of the @p count cases happen, the first in the array of those that can. Parks while
 *  none can.
 *
 *  Returns the index of the case that happened, whose `result` is set; -ETIMEDOUT or -ECANCELED
 *  when nothing has; -ENOENT when there is no case that could; -EINVAL for more than
 *  COIL_CASES_MAX cases; -ENOMEM when more than 16 have to wait and there is no memory for it.
 *  Like Go's select. */
COIL_API COIL_MUST_CHECK int coil_select(coil_case *cases, size_t count);

/** The same, trying the case with index @p first first and the others after it, around the end of
 *  the array. A loop that passes what the last call returned, plus one, treats all cases alike,
 *  even if one could always happen. An index beyond the array is taken modulo @p count. */
COIL_API COIL_MUST_CHECK int coil_select_from(coil_case *cases, size_t count, size_t first);

/** coil_select() without parking: -EAGAIN when no case can happen now. Also for callbacks outside
 *  of fibers. Like Go's select with a default. */
COIL_API COIL_MUST_CHECK int coil_try_select(coil_case *cases, size_t count);

/* ---- Several ---- */

/** Makes one more of the cases happen, which is done then. Parks while none can.
 *
 *  Returns and fails as coil_select(), -ENOENT also when all are done: a loop until then sees all
 *  of them as they happen, those that have happened before the call in the order of the array.
 *  Like gevent.iwait(). */
COIL_API COIL_MUST_CHECK int coil_wait_any(coil_case *cases, size_t count);

/** Makes @p needed more of the cases happen, or all if there are fewer; each is done then. Parks
 *  until they have.
 *
 *  Returns how many have happened in this call. Fewer than that means that the call was cut
 *  short, and the next parking call says why; if none has, this one returns -ETIMEDOUT, -ECANCELED,
 *  -ENOMEM or -EINVAL. (coil_scope_leave() is true also after a timeout that cut it short.)
 *
 *  Their indexes go to @p ret_order (room for @p count, may be NULL) in the order in which they
 *  happened. Like gevent.wait(objects, count=needed). */
COIL_API COIL_MUST_CHECK int coil_wait_some(coil_case *cases, size_t count, size_t needed,
                                            size_t *ret_order);

/** coil_wait_some() for all that are not done yet; 0 when there are none. Like gevent.joinall(). */
COIL_API COIL_MUST_CHECK int coil_wait_all(coil_case *cases, size_t count, size_t *ret_order);

COIL_END_DECLS

#endif

/* SPDX-License-Identifier: MIT */
/* The io_uring engine's turn: one system call that submits, runs the kernel's task work and waits.
 *
 * The submission queue is refilled from the lists until everything is with the kernel; only the
 * last enter may wait. A deadline is the timeout of that enter. A turn that neither submits nor
 * waits needs no system call, unless the kernel says that it has work for us (TASKRUN, overflow).
 *
 * Refusals pass: after EBUSY or EAGAIN completions are taken before anything is submitted again,
 * after EINTR and short submits we go round. Everything else means that the ring is broken. Entries
 * that are refused again after that are offered twice in a row, or a kernel that refuses in step
 * with us (every second enter, say) would meet an entry each time, and nothing would ever happen.
 *
 * Sleeping and waking: the owner announces its sleep before it looks at the wake flag, wake() sets
 * the flag before it looks at the announcement, all in one total order: one of them sees the other.
 */
#include "engine/uring.h"

#include <errno.h>

#include "base/clock.h"

enum {
    ENTER_ABS_TIMER = 1U << 5, /* newer than the headers of liburing 2.3 */
    CONGESTION_WAIT_NS = 1000000,
};

/* The kernel takes no entries now: the next turn lets it finish something, unless the turn before
 * did and it did not help. */
static void refused(struct coil__uring *uring)
{
    uring->is_congested = !uring->is_relieved;
    uring->is_relieved = false;
}

/* What enter's failures mean for the turn: 0 to go on, or the error when the ring is broken. */
static int enter_failed(struct coil__uring *uring, int error, unsigned flags)
{
    switch (-error) {
    case ETIME: /* the deadline passed */
    case EINTR: /* a signal */
        return 0;
    case EAGAIN: /* no memory for requests, or the completion queue is overflown */
    case EBUSY:
        refused(uring);
        return 0;
    case EINVAL:
        if (!(flags & ENTER_ABS_TIMER))
            return error;
        coil__uring_drop_ability(uring, COIL__URING_ABS_TIMER);
        return 0;
    default:
        return error;
    }
}

/* Returns how many entries the kernel took, 0 when it was none for a passing reason, or the
 * negative errno of a broken ring. */
static int enter(struct coil__uring *uring, unsigned submit_count, unsigned min_complete,
                 unsigned flags, struct io_uring_getevents_arg *arg)
{
    const int result =
        coil__uring_kernel->enter(uring->enter_fd, submit_count, min_complete,
                                  flags | uring->enter_flags, arg, arg ? sizeof *arg : 0);

    uring->engine.stats.enter_count++;
    if (COIL_UNLIKELY(result < 0))
        return enter_failed(uring, result, flags);
    uring->engine.stats.submission_count += (unsigned)result;
    return result;
}

/* Writes `deadline` as the kernel wants it; returns the flags that say so. */
static unsigned set_timeout(struct coil__uring *uring, int64_t deadline)
{
    unsigned flags = IORING_ENTER_EXT_ARG;

    if (coil__uring_can(uring, COIL__URING_ABS_TIMER)) {
        flags |= ENTER_ABS_TIMER;
    } else {
        const int64_t now = coil__clock_now();

        deadline = deadline > now ? deadline - now : 0;
    }
    uring->timeout.tv_sec = deadline / 1000000000;
    uring->timeout.tv_nsec = deadline % 1000000000;
    return flags;
}

static int enter_sleeping(struct coil__uring *uring, unsigned submit_count, int64_t deadline)
{
    const bool is_limited = deadline != INT64_MAX;
    unsigned flags = IORING_ENTER_GETEVENTS;
    unsigned min_complete = 1;
    int result;

    if (is_limited)
        flags |= set_timeout(uring, deadline);
    atomic_store(&uring->is_sleeping, true);
    if (atomic_load(&uring->is_woken))
        min_complete = 0;
    result =
        enter(uring, submit_count, min_complete, flags, is_limited ? &uring->timeout_arg : NULL);
    atomic_store_explicit(&uring->is_sleeping, false, memory_order_relaxed);
    return result;
}

/* Shows the filled entries to the kernel; returns how many it has not taken yet. */
static unsigned publish_entries(struct coil__uring *uring)
{
    struct io_uring_sq *sq = &uring->ring.sq;

    __atomic_store_n(sq->ktail, sq->sqe_tail, __ATOMIC_RELEASE);
    return sq->sqe_tail - *sq->khead;
}

static bool has_completions(const struct coil__uring *uring)
{
    const struct io_uring_cq *cq = &uring->ring.cq;

    return __atomic_load_n(cq->ktail, __ATOMIC_ACQUIRE) != *cq->khead;
}

/* Are there requests that ended without the kernel? */
static bool has_finished(const struct coil__uring *uring)
{
    return !coil__list_is_empty(&uring->cancelled) || !coil__list_is_empty(&uring->starved);
}

/* Would an enter that neither submits nor waits bring anything? */
static bool has_kernel_work(const struct coil__uring *uring)
{
    const unsigned flags = __atomic_load_n(uring->ring.sq.kflags, __ATOMIC_RELAXED);

    return !coil__uring_can(uring, COIL__URING_TASKRUN_FLAG) ||
           (flags & (IORING_SQ_TASKRUN | IORING_SQ_CQ_OVERFLOW)) != 0;
}

/* The enter of a turn once everything is in the submission queue. */
static int enter_last(struct coil__uring *uring, unsigned submit_count, int64_t deadline)
{
    if (deadline != 0 && !has_completions(uring) && !has_finished(uring))
        return enter_sleeping(uring, submit_count, deadline);
    if (submit_count == 0 && !has_kernel_work(uring))
        return 0;
    return enter(uring, submit_count, 0, IORING_ENTER_GETEVENTS, NULL);
}

/* After a refusal: lets the kernel finish something before it is asked again. It may also be out
 * of memory without having anything of ours to finish, hence the short limit. */
static int relieve(struct coil__uring *uring, int64_t deadline)
{
    uring->is_congested = false;
    uring->is_relieved = true;
    if (deadline != 0) {
        const int64_t limit = coil__clock_deadline(CONGESTION_WAIT_NS);

        if (limit < deadline)
            deadline = limit;
    }
    return enter_last(uring, 0, deadline);
}

/* Gives the kernel all that waits, and with the last of it the rest of the turn. A kernel that
 * takes part of the entries returns without waiting, so go round. Returns 0 or a broken ring's
 * negative errno. */
int coil__uring_hand_over(struct coil__uring *uring, int64_t deadline)
{
    if (COIL_UNLIKELY(uring->is_congested)) {
        const int result = relieve(uring, deadline);

        return result < 0 ? result : 0;
    }
    for (;;) {
        const bool is_last = coil__uring_refill(uring);
        const unsigned submit_count = publish_entries(uring);
        const int result = is_last ? enter_last(uring, submit_count, deadline)
                                   : enter(uring, submit_count, 0, 0, NULL);

        if (result <= 0)
            return result;
        uring->is_relieved = false;
        if (is_last && (unsigned)result == submit_count)
            return 0;
    }
}

/* Was wake() called? The flag is cleared before the caller looks at what it was woken for. */
static bool take_wake(struct coil__uring *uring)
{
    if (COIL_LIKELY(!atomic_load_explicit(&uring->is_woken, memory_order_relaxed)))
        return false;
    uring->engine.stats.wake_count++;
    (void)atomic_exchange(&uring->is_woken, false);
    return true;
}

static bool is_over(int64_t deadline)
{
    return deadline == 0 || (deadline != INT64_MAX && coil__clock_now() >= deadline);
}

int coil__uring_wait(struct coil__engine *engine, int64_t deadline)
{
    struct coil__uring *uring = coil__uring_of(engine);
    unsigned told_count = 0;

    for (;;) {
        int error;

        if (COIL_UNLIKELY(has_finished(uring)))
            told_count += coil__uring_report(uring);
        coil__uring_buffers_publish(&uring->buffers);
        coil__uring_buffers_publish(&uring->datagrams);
        error = coil__uring_hand_over(uring, told_count > 0 ? 0 : deadline);
        if (COIL_UNLIKELY(error < 0))
            return error;
        told_count += coil__uring_reap(uring);
        if (take_wake(uring) || told_count > 0 || is_over(deadline))
            return 0;
    }
}

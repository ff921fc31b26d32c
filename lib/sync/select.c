/* SPDX-License-Identifier: MIT */
/* Waiting for several things at once (coil/select.h): tries all cases, then waits in the queues of
 * all of them (a choice, core/waitq.h). What the cases are is case.c's.
 *
 * Nothing is queued while cases are tried, and nothing is tried while they are queued, so a call
 * never meets itself. Between the two no other fiber runs: what could not happen when it was tried
 * can't when it is queued, except that a case which did happen made it possible (room in a channel,
 * an item); hence trying goes on until a whole round has made nothing happen.
 *
 * Times have one queue and one timer for the whole call: it fires for the first, wakes all that are
 * due, and is armed again for the next. A choice that is complete has left that queue, so a timer
 * that fires after that, before the fiber runs, finds nobody.
 */
#include "sync/case.h"

#include <errno.h>

#include "base/alloc.h"

enum {
    WAITERS_ON_STACK = 16,
};

COIL_STATIC_ASSERT(sizeof(struct coil__waiter) == 56, "a promise of the header");

/* One call. */
struct wait {
    coil_case *cases;
    size_t count;
    size_t first;      /* the case that is tried first */
    size_t needed;     /* so many are to happen */
    size_t done_count; /* so many have */
    size_t *order;     /* their indexes; may be NULL */
    bool is_select;    /* cases that have happened are ready for the next call, not done */
    struct coil__choice choice;
    struct coil__waitq sleepers; /* waiters of the times; object: the case */
    struct coil__timer timer;    /* armed for the first of them */
};

static void note(struct wait *wait, size_t index)
{
    if (wait->order)
        wait->order[wait->done_count] = index;
    wait->done_count++;
    if (!wait->is_select)
        wait->cases[index].kind = COIL__CASE_DONE;
}

/* ---- Trying ---- */

/* Tries each case once, until enough have happened. Returns how many are left that could. */
static size_t try_round(struct wait *wait)
{
    size_t left = 0;
    size_t index = wait->first;

    for (size_t i = 0; i < wait->count && wait->done_count < wait->needed; i++) {
        coil_case *it = &wait->cases[index];

        if (coil__case_is_live(it)) {
            if (coil__case_try(it))
                note(wait, index);
            else
                left++;
        }
        index = index + 1 < wait->count ? index + 1 : 0;
    }
    return left;
}

/* The same until nothing more can happen. */
static size_t try_all(struct wait *wait)
{
    size_t before;
    size_t left;

    do {
        before = wait->done_count;
        left = try_round(wait);
    } while (wait->done_count > before && wait->done_count < wait->needed);
    return left;
}

/* ---- Time ---- */

static const coil_case *earliest(const struct wait *wait, struct coil__waiter **ret_waiter)
{
    const coil_case *found = NULL;

    for (struct coil__list *link = wait->sleepers.waiters.next; link != &wait->sleepers.waiters;
         link = link->next) {
        struct coil__waiter *waiter = container_of(link, struct coil__waiter, link);
        const coil_case *it = waiter->object;

        if (found && it->with.deadline >= found->with.deadline)
            continue;
        found = it;
        *ret_waiter = waiter;
    }
    return found;
}

static void arm(struct wait *wait)
{
    struct coil__waiter *waiter;
    const coil_case *it = earliest(wait, &waiter);

    if (it)
        coil__timer_arm(&coil__sched()->timers, &wait->timer, it->with.deadline);
}

static void wake_sleepers(struct coil__timer *timer)
{
    struct wait *wait = container_of(timer, struct wait, timer);
    const int64_t now = coil__clock_now();
    struct coil__waiter *waiter;
    const coil_case *it;

    while ((it = earliest(wait, &waiter)) != NULL && it->with.deadline <= now)
        coil__waiter_wake(waiter, 0);
    arm(wait);
}

/* A time runs on from one coil_wait_x() to the next: it keeps its deadline. A select forgets it.
 * All that begin in one call begin at the same moment, or two that are close would change places
 * when the thread is preempted between them. */
static void queue_sleeper(struct wait *wait, size_t index, int64_t *now)
{
    coil_case *it = &wait->cases[index];

    if (it->with.deadline == 0 && *now == 0)
        *now = coil__clock_now();
    if (it->with.deadline == 0)
        it->with.deadline = coil__clock_after(*now, it->on.duration);
    coil__choice_queue(&wait->choice, index, &wait->sleepers, it, NULL);
}

static void reset_times(struct wait *wait)
{
    for (size_t i = 0; i < wait->count; i++)
        if (wait->cases[i].kind == COIL__CASE_AFTER)
            wait->cases[i].with.deadline = 0;
}

/* ---- Waiting ---- */

/* Takes over what the choice's waiters were woken with, in the order of the wakes. */
static void collect(struct wait *wait)
{
    const struct coil__list *woken = &wait->choice.woken;

    for (struct coil__list *link = woken->next; link != woken; link = link->next) {
        const struct coil__waiter *waiter = container_of(link, struct coil__waiter, link);
        const size_t index = (size_t)(waiter - wait->choice.waiters);

        coil__case_finish(&wait->cases[index], waiter->result);
        note(wait, index);
    }
}

static int park(struct wait *wait, struct coil__waiter *waiters)
{
    bool has_times = false;
    int64_t now = 0;
    int result;

    coil__choice_init(&wait->choice, waiters, wait->count, wait->needed - wait->done_count);
    coil__waitq_init(&wait->sleepers);
    wait->timer = (struct coil__timer){.fire = wake_sleepers};
    for (size_t i = 0; i < wait->count; i++) {
        coil_case *it = &wait->cases[i];

        if (it->kind == COIL__CASE_AFTER) {
            queue_sleeper(wait, i, &now);
            has_times = true;
        } else if (coil__case_is_live(it)) {
            coil__case_queue(it, &wait->choice, i);
        }
    }
    if (has_times)
        arm(wait);
    result = coil__choice_park(&wait->choice, "select");
    if (has_times)
        coil__timer_disarm(&coil__sched()->timers, &wait->timer);
    if (has_times && wait->is_select)
        reset_times(wait);
    collect(wait);
    return result;
}

static int park_on_stack(struct wait *wait)
{
    struct coil__waiter waiters[WAITERS_ON_STACK];

    return park(wait, waiters);
}

static int park_on_heap(struct wait *wait)
{
    struct coil__waiter *waiters = coil__alloc(wait->count * sizeof *waiters);
    int result;

    if (!waiters)
        return -ENOMEM;
    result = park(wait, waiters);
    coil__free(waiters);
    return result;
}

/* Makes `needed` cases happen, or all. Returns 0 when some have, -ENOENT when none could, or why
 * none has. */
static int run(struct wait *wait)
{
    size_t left;
    int result = coil__checkpoint(coil__self());

    if (result < 0)
        return result;
    if (wait->count > COIL_CASES_MAX)
        return -EINVAL;
    left = try_all(wait);
    if (wait->done_count == wait->needed || left == 0)
        return wait->done_count > 0 ? 0 : -ENOENT;
    if (wait->needed - wait->done_count > left)
        wait->needed = wait->done_count + left;
    result = wait->count <= WAITERS_ON_STACK ? park_on_stack(wait) : park_on_heap(wait);
    return wait->done_count > 0 ? 0 : result;
}

/* ---- Public ---- */

int coil_select(coil_case *cases, size_t count)
{
    return coil_select_from(cases, count, 0);
}

int coil_select_from(coil_case *cases, size_t count, size_t first)
{
    size_t index = 0;
    struct wait wait;
    int result;

    wait.cases = cases;
    wait.count = count;
    wait.first = first < count || count == 0 ? first : first % count;
    wait.needed = 1;
    wait.done_count = 0;
    wait.order = &index;
    wait.is_select = true;
    result = run(&wait);
    return result < 0 ? result : (int)index;
}

int coil_try_select(coil_case *cases, size_t count)
{
    bool is_empty = true;

    if (count > COIL_CASES_MAX)
        return -EINVAL;
    for (size_t i = 0; i < count; i++) {
        if (!coil__case_is_live(&cases[i]))
            continue;
        if (coil__case_try(&cases[i]))
            return (int)i;
        is_empty = false;
    }
    return is_empty ? -ENOENT : -EAGAIN;
}

int coil_wait_any(coil_case *cases, size_t count)
{
    size_t index = 0;
    struct wait wait = {.cases = cases, .count = count, .needed = 1, .order = &index};
    const int result = run(&wait);

    return result < 0 ? result : (int)index;
}

int coil_wait_some(coil_case *cases, size_t count, size_t needed, size_t *ret_order)
{
    struct wait wait = {.cases = cases, .count = count, .needed = needed};
    int result;

    wait.order = ret_order;
    result = run(&wait);
    return result < 0 && result != -ENOENT ? result : (int)wait.done_count;
}

int coil_wait_all(coil_case *cases, size_t count, size_t *ret_order)
{
    return coil_wait_some(cases, count, count, ret_order);
}

/* SPDX-License-Identifier: MIT */
/* The loop, switching and parking (core/sched.h).
 *
 * A turn: take what other threads posted; fire timers; run fibers while there are runnable ones and
 * budget; one engine wait, which blocks only when nobody is runnable. The budget counts switches,
 * ends of fibers and inline successes alike and is renewed each turn, so I/O and timers are never
 * further away than BUDGET_PER_TURN cheap steps.
 */
#include "core/sched.h"

#include <errno.h>
#include <string.h>

#include "base/log.h"
#include "base/sanitize.h"
#include "core/remote.h"
#include "core/switch.h"

enum {
    /* Some 20-50 us of inline work: long enough that looking at the rings does not show (a look
     * without a system call costs some 5 ns), short enough for timers at a millisecond's grain. */
    BUDGET_PER_TURN = 1024,

    /* The budget counts steps, not time, which is looked at after a slice of it (25 ns). */
    BUDGET_PER_SLICE = 256,

    /* Parking calls that failed at once, in a row, before the fiber is named in the log: a loop
     * that ignores results should be found by its author. */
    FAILURES_REPORTED_AT = 10000,
};

static const coil_time turn_time = COIL_US(500);

_Thread_local struct coil__sched *coil__sched_this
    __attribute__((tls_model("initial-exec"), visibility("hidden")));

/* ---- Switching ----
 * The functions around a switch are opaque, as is the loop, which run_fiber() is a part of: else
 * link-time optimisation puts them into code with a red zone, or with something in registers that
 * no switch names. */

/* Inlined by force, as is what it calls: TSan would count the entry of a function for the fiber
 * that is left and its exit for the one that is continued. */
static COIL_ALWAYS_INLINE void *switch_to_next(struct coil__sched *sched, struct coil__tcb *next,
                                               bool is_last)
{
    struct coil__tcb *self = sched->current;
    void **fake_stack =
        is_last ? NULL : (self ? &self->sanitizer_stack : &sched->loop_sanitizer_stack);

    if (next) {
        coil__sanitize_switch_begin(fake_stack, coil__stack_bottom(&sched->stacks, next->stack_top),
                                    sched->stacks.usable_size, next->sanitizer_fiber);
    } else {
        coil__sanitize_switch_begin(fake_stack, sched->loop_stack_bottom, sched->loop_stack_size,
                                    sched->loop_sanitizer_fiber);
    }
    /* A watchdog looks at both from its thread; to this one they are plain. In this order its
     * signal in between finds another slice than it was sent for, not another fiber in the same. */
    __atomic_store_n(&sched->switch_count, sched->switch_count + 1, __ATOMIC_RELAXED);
    __atomic_store_n(&sched->current, next, __ATOMIC_RELAXED);
    if (!next)
        return sched->loop_context;
    next->state = COIL__FIBER_RUNNING;
    return next->context;
}

/* Who is continued by a fiber that gives way: NULL is the loop. */
static COIL_ALWAYS_INLINE struct coil__tcb *take_next(struct coil__sched *sched)
{
    struct coil__list *link = NULL;

    if (--sched->budget > 0)
        link = coil__list_pop_front_raw(&sched->ready);
    return link ? container_of(link, struct coil__tcb, link) : NULL;
}

COIL_OPAQUE void coil__switch_away(struct coil__tcb *self)
{
    struct coil__sched *sched = self->sched;
    struct coil__tcb *next = take_next(sched);

    if (next == self) {
        self->state = COIL__FIBER_RUNNING;
        return;
    }
    coil__switch(&self->context, switch_to_next(sched, next, false));
    coil__sanitize_switch_end(self->sanitizer_stack);
}

COIL_OPAQUE void coil__fiber_exit(void *arg)
{
    struct coil__tcb *self = arg;
    struct coil__sched *sched = self->sched;

    coil__fiber_reap(sched);
    sched->zombie = self;
    coil__switch_last(switch_to_next(sched, take_next(sched), true));
}

COIL_OPAQUE void coil__sched_call(void (*fn)(void *arg), void *arg)
{
    struct coil__tcb *self = coil__self();
    struct coil__sched *sched = self->sched;

    sched->caller = self;
    sched->call = fn;
    sched->call_arg = arg;
    coil__switch(&self->context, switch_to_next(sched, NULL, false));
    coil__sanitize_switch_end(self->sanitizer_stack);
}

/* Continues `tcb`; returns when the loop is wanted again. */
static void run_fiber(struct coil__sched *sched, struct coil__tcb *tcb)
{
    while (tcb) {
        coil__switch(&sched->loop_context, switch_to_next(sched, tcb, false));
        coil__sanitize_switch_end(sched->loop_sanitizer_stack);
        tcb = sched->caller;
        if (!tcb)
            return;
        sched->caller = NULL;
        sched->call(sched->call_arg);
    }
}

static void run_ready(struct coil__sched *sched)
{
    while (sched->budget > 0) {
        struct coil__list *link = coil__list_pop_front_raw(&sched->ready);

        if (!link)
            return;
        run_fiber(sched, container_of(link, struct coil__tcb, link));
        coil__fiber_reap(sched);
    }
}

/* ---- Parking ---- */

void coil__wake_interrupted(struct coil__tcb *tcb)
{
    tcb->is_interrupted = true;
    coil__wake(tcb, COIL__WAKE_INTERRUPTED);
}

void coil__interrupt_if_due(struct coil__tcb *tcb)
{
    coil__interrupt *interrupt = tcb->interrupt;

    if (tcb->state != COIL__FIBER_PARKED || !interrupt || coil__scope_due(tcb) == 0)
        return;
    tcb->interrupt = NULL;
    interrupt(tcb);
}

void coil__yield(struct coil__tcb *self)
{
    struct coil__sched *sched = self->sched;

    /* Whoever was runnable has run since this fiber's last yield of the turn: now the loop, or a
     * fiber that computes and yields would keep I/O and timers waiting for the whole budget. */
    if (self->yield_turn == sched->turn_count) {
        sched->budget = 0;
        sched->is_turn_over = true;
    }
    self->yield_turn = sched->turn_count;
    self->state = COIL__FIBER_READY;
    coil__list_push_back(&sched->ready, &self->link);
    coil__switch_away(self);
}

int coil__checkpoint_slow(struct coil__tcb *self)
{
    struct coil__sched *sched = self->sched;
    int result = self->interrupts ? coil__scope_report(self) : 0;

    if (result == 0) {
        self->failure_count = 0;
    } else if (++self->failure_count >= FAILURES_REPORTED_AT && !self->is_failure_reported) {
        self->is_failure_reported = true;
        coil__log(COIL_LOG_WARNING,
                  "fiber %llu '%s' ignores that its calls fail (%s), %u times in a row",
                  (unsigned long long)self->handle->id, self->handle->name, coil_strerror(result),
                  self->failure_count);
    }
    if (--sched->budget <= 0) {
        coil__yield(self);
        if (result == 0 && self->interrupts)
            result = coil__scope_report(self);
    }
    return result;
}

void coil_yield(void)
{
    coil__yield(coil__self());
}

/* ---- The loop ---- */

/* Runs fibers until none is runnable, or the turn's steps or its time are used up. */
static void run_turn(struct coil__sched *sched)
{
    int64_t started = 0;

    for (int left = BUDGET_PER_TURN; left > 0; left -= BUDGET_PER_SLICE) {
        sched->budget = BUDGET_PER_SLICE;
        run_ready(sched);
        if (coil__list_is_empty(&sched->ready) || sched->is_turn_over)
            return;
        coil__timers_fire(&sched->timers);
        if (started == 0)
            started = coil__clock_now();
        else if (coil__clock_now() - started >= turn_time)
            return;
    }
}

COIL_OPAQUE int coil__sched_loop(struct coil__sched *sched, bool (*is_over)(void *arg), void *arg)
{
    for (;;) {
        int64_t deadline;
        int result;

        sched->turn_count++;
        sched->turn_began = coil__clock_coarse();
        sched->is_turn_over = false;
        coil__remote_run_posts(sched->remote);
        coil__timers_fire(&sched->timers);
        run_turn(sched);
        if (is_over(arg))
            return 0;

        deadline = coil__list_is_empty(&sched->ready) ? coil__timers_next(&sched->timers) : 0;
        result = sched->engine->ops->wait(sched->engine, deadline);
        if (result < 0)
            return result;
    }
}

void coil__sched_init(struct coil__sched *sched, struct coil__engine *engine, size_t stack_size,
                      size_t fibers_max)
{
    memset(sched, 0, sizeof *sched); /* a compound literal would be a copy on the stack */
    sched->engine = engine;
    sched->fibers_max = fibers_max;
    coil__list_init(&sched->ready);
    coil__list_init(&sched->registry);
    coil__stacks_init(&sched->stacks, stack_size);
    sched->trim.fire = coil__fiber_trim;
    coil__slab_init(&sched->handles, sizeof(struct coil_fiber), 64);
    coil__sanitize_thread_stack(&sched->loop_stack_bottom, &sched->loop_stack_size);
    sched->loop_sanitizer_fiber = coil__sanitize_fiber_this();
}

void coil__sched_fini(struct coil__sched *sched)
{
    const size_t of_others = sched->opened[COIL__OPENED_BACKDOOR]; /* one each */

    COIL_ASSERT(sched->fiber_count == 0);
    if (sched->handles.live_count > of_others)
        coil__log(COIL_LOG_WARNING, "%zu handles of fibers were not given back: coil_fiber_unref()",
                  sched->handles.live_count - of_others);
    sched->handles.live_count = 0; /* a leak harms nobody any more: free them all the same */
    coil__stacks_fini(&sched->stacks);
    coil__slab_fini(&sched->handles);
}

/* SPDX-License-Identifier: MIT */
/* coil_run(): a scheduler's life from the engine's set-up to the last fiber (coil/run.h).
 *
 * Between two turns the loop asks whether all is over. That is also where a deadlock is noticed
 * (core/stuck.h): it ends the run as main's return does, with another status.
 *
 * When main returns, the fibers that are left are cancelled together, oldest first, those spawned
 * from then on are born cancelled, and the loop goes on until all have ended or the grace is over.
 * Fibers that outlive it are named and given up: the kernel may still write to their stacks, so
 * nothing of the scheduler is freed then.
 */
#include "core/run.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/log.h"
#include "base/options.h"
#include "core/overflow.h"
#include "core/stuck.h"

enum {
    FIBERS_MAX_DEFAULT = 1000000, /* 4.6 GB of stacks: beyond it a runaway spawn loop is likelier */
    STACK_SIZE_MIN = 16 * 1024,   /* what coil's own rare paths (a log line) need, and a little */
    LEFTOVERS_NAMED = 10,         /* in the log; more would scroll the cause away */
    WHY_SIZE = 256,
};

static const coil_time grace_default = COIL_SECONDS(5);

coil__engine_open *coil__run_engine_open = coil__uring_open;

struct run {
    struct coil__sched sched;
    struct coil__timer grace;
    coil_time grace_timeout;
    struct coil_fiber *main;
    coil_deadlock_policy on_deadlock;
    bool is_deadlocked;
    bool is_grace_over;
};

static void grace_over(struct coil__timer *timer)
{
    container_of(timer, struct run, grace)->is_grace_over = true;
}

static void cancel_all(struct coil__sched *sched)
{
    struct coil__list *link = sched->registry.next;

    while (link != &sched->registry) {
        struct coil_fiber *fiber = container_of(link, struct coil_fiber, registry);

        link = link->next; /* cancelling makes runnable, it ends nothing: the list stays */
        coil_cancel(fiber);
    }
}

/* Starts what upper layers have to do when all others have ended. It bounds itself: the grace has
 * no say in it. */
static bool start_last(struct run *run)
{
    struct coil__sched *sched = &run->sched;
    int (*last)(void *) = sched->last;

    sched->last = NULL;
    if (!last)
        return false;
    coil__timer_disarm(&sched->timers, &run->grace);
    run->is_grace_over = false;
    sched->is_ending = true;
    return coil__fiber_spawn(sched, last, &run->grace_timeout, NULL, NULL) == 0;
}

static void begin_end(struct run *run)
{
    if (run->sched.is_ending)
        return;
    run->sched.is_ending = true;
    cancel_all(&run->sched);
    run->grace.fire = grace_over;
    coil__timer_arm(&run->sched.timers, &run->grace, coil__clock_deadline(run->grace_timeout));
}

/* Nothing can happen any more by itself. A grace without end would not end it either. */
static void end_deadlock(struct run *run)
{
    run->is_deadlocked = true;
    coil__stuck_report(&run->sched);
    if (run->on_deadlock == COIL_DEADLOCK_ABORT)
        abort();
    begin_end(run);
    run->is_grace_over = coil__is_stuck(&run->sched);
}

static bool is_over(void *arg)
{
    struct run *run = arg;

    if (run->sched.fiber_count == 0)
        return !start_last(run);
    if (!run->main->tcb)
        begin_end(run);
    if (coil__is_stuck(&run->sched) && !run->is_grace_over &&
        run->on_deadlock != COIL_DEADLOCK_IGNORE)
        end_deadlock(run);
    return run->is_grace_over;
}

static void name_leftovers(const struct coil__sched *sched)
{
    size_t named = 0;
    struct coil__list *link;

    for (link = sched->registry.next; link != &sched->registry; link = link->next) {
        const struct coil_fiber *fiber = container_of(link, struct coil_fiber, registry);

        if (++named > LEFTOVERS_NAMED)
            break;
        coil__log(COIL_LOG_ERROR, "main has returned, but fiber %llu '%s' still waits for %s",
                  (unsigned long long)fiber->id, fiber->name,
                  fiber->tcb->state == COIL__FIBER_PARKED ? fiber->tcb->wait_name : "its turn");
    }
    coil__log(COIL_LOG_ERROR, "%zu fibers outlived the grace and are lost", sched->fiber_count);
}

static void free_parts(struct coil__sched *sched)
{
    for (size_t i = 0; i < COIL__PART_COUNT; i++) {
        struct coil__part_slot *slot = &sched->parts[i];

        if (!slot->state)
            continue;
        slot->fini(sched, slot->state);
        coil__free(slot->state);
        slot->state = NULL;
    }
}

void *coil__sched_part(struct coil__sched *sched, enum coil__part part, size_t size,
                       void (*init)(struct coil__sched *sched, void *state),
                       void (*fini)(struct coil__sched *sched, void *state))
{
    struct coil__part_slot *slot = &sched->parts[part];

    if (COIL_LIKELY(slot->state))
        return slot->state;
    slot->state = coil__alloc(size);
    if (!slot->state)
        return NULL;
    slot->fini = fini;
    init(sched, slot->state);
    return slot->state;
}

static int run_main(struct run *run, int (*main)(void *), void *arg, int *ret_result)
{
    struct coil__sched *sched = &run->sched;
    int result = coil__fiber_spawn(sched, main, arg, __builtin_return_address(0), &run->main);

    if (result < 0)
        return result;
    coil_fiber_name_set(run->main, "main");
    run->main->is_collected = true;

    result = coil__sched_loop(sched, is_over, run);
    if (sched->fiber_count > 0) {
        if (result < 0)
            coil__log(COIL_LOG_ERROR, "the engine failed: %s", coil_strerror(result));
        name_leftovers(sched);
        return result < 0 ? result : -ETIMEDOUT;
    }

    coil__timer_disarm(&sched->timers, &run->grace);
    if (ret_result && !run->is_deadlocked)
        *ret_result = run->main->result;
    coil_fiber_unref(run->main);
    return run->is_deadlocked ? -EDEADLK : 0;
}

static int read_options(const coil_options *options, coil_options *ret_options)
{
    coil_options read;

    if (coil__options_read(&read, sizeof read, options) < 0) {
        coil__log(COIL_LOG_ERROR, "coil_options without COIL_OPTIONS_INIT");
        return -EINVAL;
    }
    if (read.stack_size > COIL__STACK_SIZE_MAX) {
        coil__log(COIL_LOG_ERROR, "coil_options.stack_size is %zu, but at most %d can be",
                  read.stack_size, COIL__STACK_SIZE_MAX);
        return -EINVAL;
    }
    if (read.stack_size && read.stack_size < STACK_SIZE_MIN)
        read.stack_size = STACK_SIZE_MIN;
    if ((unsigned)read.on_deadlock > COIL_DEADLOCK_IGNORE) {
        coil__log(COIL_LOG_ERROR,
                  "coil_options.on_deadlock is %d, which is no coil_deadlock_policy",
                  (int)read.on_deadlock);
        return -EINVAL;
    }
    if (!read.fibers_max)
        read.fibers_max = FIBERS_MAX_DEFAULT;
    if (!read.grace)
        read.grace = grace_default;
    *ret_options = read;
    return 0;
}

static int open_engine(const coil_options *options, struct coil__engine **ret_engine)
{
    const struct coil__engine_options engine_options = {
        .sq_size = options->sq_size,
        .cq_size = options->cq_size,
        .buffer_count = options->buffer_count,
        .buffer_size = options->buffer_size,
    };
    char why[WHY_SIZE] = "";
    const int result = coil__run_engine_open(&engine_options, ret_engine, why);

    if (result < 0)
        coil__log(COIL_LOG_ERROR, "%s", why[0] ? why : coil_strerror(result));
    else if (options->report_engine)
        coil__log(COIL_LOG_WARNING, "%s", (*ret_engine)->ops->describe(*ret_engine));
    return result;
}

/* Fibers that outlived the grace (which have been named), or what main forgot to close. */
static bool is_something_lost(const struct coil__sched *sched)
{
    const uint64_t requests = sched->engine->stats.active_count;

    if (sched->fiber_count == 0 && requests > 0) {
        coil__log(COIL_LOG_ERROR,
                  "%llu requests are still with the kernel: a stream or a listener was not closed; "
                  "coil_close(), coil_listener_close()",
                  (unsigned long long)requests);
    }
    return sched->fiber_count > 0 || requests > 0;
}

int coil_run(int (*main)(void *), void *arg, const coil_options *options, int *ret_result)
{
    struct coil__engine *engine = NULL;
    coil_options chosen;
    struct run *run;
    int result;

    if (coil__sched_this)
        return -EBUSY;
    result = read_options(options, &chosen);
    if (result < 0)
        return result;
    run = coil__alloc(sizeof *run);
    if (!run)
        return -ENOMEM;
    result = open_engine(&chosen, &engine);
    if (result < 0) {
        coil__free(run);
        return result;
    }

    coil__sched_init(&run->sched, engine, chosen.stack_size, chosen.fibers_max);
    run->grace_timeout = chosen.grace;
    run->on_deadlock = chosen.on_deadlock;
    coil__sched_this = &run->sched;
    if (chosen.report_overflow)
        coil__overflow_report_begin();
    result = run_main(run, main, arg, ret_result);
    if (chosen.report_overflow)
        coil__overflow_report_end();
    if (is_something_lost(&run->sched)) {
        coil__sched_this = NULL;
        return result; /* the kernel may still write to what is lost: all of it stays */
    }

    free_parts(&run->sched);
    coil__sched_fini(&run->sched);
    coil__sched_this = NULL;
    engine->ops->close(engine);
    coil__free(run);
    return result;
}

/* SPDX-License-Identifier: MIT */
/* coil_run(), and a core's life from the engine's set-up to the last fiber (coil/run.h).
 *
 * Between two turns the loop asks whether all is over. That is also where a deadlock is noticed
 * (core/stuck.h): it ends the run as main's return does, with another status.
 *
 * When main returns, the fibers that are left are cancelled together, oldest first, those spawned
 * from then on are born cancelled, and the loop goes on until all have ended or the grace is over:
 * on each core by itself, except that none leaves before all have ended (core/team.h). Fibers that
 * outlive the grace are named and given up: the kernel may still write to their stacks, so nothing
 * of their scheduler is freed then.
 */
#include "core/run.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/log.h"
#include "base/options.h"
#include "base/text.h"
#include "core/census.h"
#include "core/overflow.h"
#include "core/quit.h"
#include "core/signal_stack.h"
#include "core/stuck.h"
#include "core/team.h"

enum {
    FIBERS_MAX_DEFAULT = 1000000, /* 4.6 GB of stacks: beyond it a runaway spawn loop is likelier */
    STACK_SIZE_MIN = 16 * 1024,   /* what coil's own rare paths (a log line) need, and a little */
    LEFTOVERS_NAMED = 10,         /* in the log; more would scroll the cause away */
    WHY_SIZE = 256,
};

static const coil_time grace_default = COIL_SECONDS(5);

coil__engine_open *coil__run_engine_open = coil__uring_open;

static void grace_over(struct coil__timer *timer)
{
    container_of(timer, struct coil__core, grace)->is_grace_over = true;
}

static void cancel_all(struct coil__sched *sched)
{
    struct coil_fiber *fiber = coil__fiber_next(sched, NULL);

    /* Cancelling makes runnable, it ends nothing: the list stays. */
    for (; fiber; fiber = coil__fiber_next(sched, fiber))
        coil_cancel(fiber);
}

/* Starts what upper layers have to do when all others have ended. It bounds itself: the grace has
 * no say in it. */
static bool start_last(struct coil__core *core)
{
    struct coil__sched *sched = &core->sched;
    int (*last)(void *) = sched->last;

    sched->last = NULL;
    if (!last)
        return false;
    coil__timer_disarm(&sched->timers, &core->grace);
    core->is_grace_over = false;
    return coil__fiber_spawn(sched, last, &sched->team->options.grace, NULL, NULL) == 0;
}

static void begin_end(struct coil__core *core)
{
    struct coil__sched *sched = &core->sched;

    if (sched->is_ending)
        return;
    sched->is_ending = true;
    cancel_all(sched);
    core->grace.fire = grace_over;
    coil__timer_arm(&sched->timers, &core->grace, coil__clock_deadline(sched->team->options.grace));
}

/* Nothing can happen any more by itself. A grace without end would not end it either. */
static void end_deadlock(struct coil__core *core)
{
    struct coil__sched *sched = &core->sched;

    core->is_deadlocked = true;
    coil__stuck_report(sched);
    if (sched->team->options.on_deadlock == COIL_DEADLOCK_ABORT)
        abort();
    coil__team_end(sched->team);
    begin_end(core);
    core->is_grace_over = coil__is_stuck(sched);
}

/* Whether a core that has no fibers may leave: when nobody could call it any more. */
static bool may_leave(struct coil__core *core)
{
    struct coil__sched *sched = &core->sched;

    if (atomic_load(&sched->team->busy_count) > 0 && !core->is_grace_over)
        return false;
    return !start_last(core) && (core->is_grace_over || coil__remote_try_close(sched->remote));
}

static bool is_over(void *arg)
{
    struct coil__core *core = arg;
    struct coil__sched *sched = &core->sched;
    struct coil__team *team = sched->team;

    if (core->main && !core->main->tcb)
        coil__team_end(team);
    if (atomic_load_explicit(&team->is_ending, memory_order_relaxed))
        begin_end(core);
    if (coil__is_stuck(sched) && !core->is_grace_over &&
        team->options.on_deadlock != COIL_DEADLOCK_IGNORE)
        end_deadlock(core);
    if (!sched->is_ending)
        return false;
    coil__team_set_busy(core, sched->fiber_count > 0);
    return sched->fiber_count > 0 ? core->is_grace_over : may_leave(core);
}

static void name_leftovers(const struct coil__sched *sched)
{
    const struct coil_fiber *fiber = coil__fiber_next(sched, NULL);

    for (int i = 0; fiber && i < LEFTOVERS_NAMED; i++) {
        coil__log(COIL_LOG_ERROR, "main has returned, but fiber %llu '%s' still waits for %s",
                  (unsigned long long)fiber->id, fiber->name,
                  fiber->tcb->state == COIL__FIBER_PARKED ? fiber->tcb->wait_name : "its turn");
        fiber = coil__fiber_next(sched, fiber);
    }
    coil__log(COIL_LOG_ERROR, "lost, as they outlived the grace: %zu fiber%s", sched->fiber_count,
              coil__text_plural(sched->fiber_count));
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
    if (!read.cores)
        read.cores = 1;
    if (read.cores == COIL_CORES_ALL)
        read.cores = coil__team_cpu_count();
    if (read.cores > COIL__CORES_MAX) {
        coil__log(COIL_LOG_ERROR, "coil_options.cores is %u, but at most %d can be", read.cores,
                  COIL__CORES_MAX);
        return -EINVAL;
    }
    *ret_options = read;
    return 0;
}

static int open_engine(const coil_options *options, bool is_first, struct coil__engine **ret_engine)
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
    else if (options->report_engine && is_first)
        coil__log(COIL_LOG_WARNING, "%s", (*ret_engine)->ops->describe(*ret_engine));
    return result;
}

/* What main forgot to close, and which function would have. Streams and handles of fibers are named
 * by the pools that they go back to. */
static void name_opened(const struct coil__sched *sched)
{
    static const struct {
        const char *type;
        const char *close;
    } kinds[] = {
        [COIL__OPENED_BACKDOOR] = {"coil_backdoor", "coil_backdoor_close()"},
        [COIL__OPENED_DIR] = {"coil_dir", "coil_dir_close()"},
        [COIL__OPENED_LISTENER] = {"coil_listener", "coil_listener_close()"},
        [COIL__OPENED_PROCESS] = {"coil_process", "coil_process_free()"},
        [COIL__OPENED_SIGNAL] = {"coil_signal", "coil_signal_close()"},
        [COIL__OPENED_UDP] = {"coil_udp", "coil_udp_close()"},
    };

    for (int i = 0; i < COIL__OPENED_COUNT; i++) {
        if (sched->opened[i] > 0)
            coil__log(COIL_LOG_WARNING, "%zu %s not closed at the end of the run: %s",
                      sched->opened[i], kinds[i].type, kinds[i].close);
    }
}

/* Fibers that outlived the grace (which have been named), or what main forgot to close. */
static bool is_something_lost(const struct coil__sched *sched)
{
    const uint64_t requests = sched->engine->stats.active_count;

    if (sched->fiber_count == 0 && requests > 0) {
        coil__log(COIL_LOG_ERROR,
                  "%llu requests are still with the kernel: something was not closed; "
                  "coil_close(), coil_listener_close(), coil_udp_close(), coil_process_free()",
                  (unsigned long long)requests);
    }
    return sched->fiber_count > 0 || requests > 0;
}

/* ---- A core ---- */

static void set_up(struct coil__core *core, struct coil__team *team, unsigned number)
{
    struct coil__sched *sched = &core->sched;

    sched->team = team;
    sched->core = number;
    sched->id_last = number * COIL__FIBER_IDS_PER_CORE;
    sched->outside_count = team->count > 1; /* the other cores */
    core->is_busy = true;
}

int coil__core_open(struct coil__team *team, unsigned number, struct coil__core **ret_core)
{
    struct coil__core *core = coil__alloc(sizeof *core);
    struct coil__engine *engine = NULL;
    int result;

    if (!core)
        return -ENOMEM;
    result = open_engine(&team->options, number == 0, &engine);
    if (result < 0) {
        coil__free(core);
        return result;
    }
    coil__sched_init(&core->sched, engine, team->options.stack_size, team->options.fibers_max);
    set_up(core, team, number);
    core->sched.remote = coil__remote_new(&core->sched, team->count == 1);
    if (!core->sched.remote) {
        coil__sched_fini(&core->sched);
        engine->ops->close(engine);
        coil__free(core);
        return -ENOMEM;
    }
    team->members[number].remote = core->sched.remote;
    coil__sched_this = &core->sched;
    *ret_core = core;
    return 0;
}

void coil__core_run(struct coil__core *core)
{
    struct coil__sched *sched = &core->sched;
    struct coil__team *team = sched->team;
    int status;

    coil__signal_stack_begin();
    if (team->options.report_overflow)
        coil__overflow_report_begin();
    if (team->options.dump_on_quit)
        coil__quit_begin(sched);
    coil__census_enter(sched);
    status = coil__sched_loop(sched, is_over, core);
    coil__census_leave(sched);
    coil__quit_end(sched);
    if (status < 0) {
        coil__log(COIL_LOG_ERROR, "the engine failed: %s", coil_strerror(status));
        coil__team_end(team);
    }
    coil__remote_close(sched->remote); /* calls what is there, which may make the core busy */
    coil__team_set_busy(core, false);
    coil__timer_disarm(&sched->timers, &core->grace);
    if (sched->fiber_count > 0) {
        name_leftovers(sched);
        status = status < 0 ? status : -ETIMEDOUT;
    } else if (core->is_deadlocked) {
        status = -EDEADLK;
    }
    team->members[sched->core].status = status;
    if (team->options.report_overflow)
        coil__overflow_report_end();
    coil__signal_stack_end();
}

void coil__core_close(struct coil__core *core)
{
    struct coil__sched *sched = &core->sched;
    struct coil__engine *engine = sched->engine;

    coil__remote_close(sched->remote);
    if (sched->fiber_count == 0)
        name_opened(sched);
    if (is_something_lost(sched)) {
        sched->team->members[sched->core].is_lost = true;
        coil__sched_this = NULL;
        return; /* the kernel may still write to what is lost: all of it stays */
    }
    free_parts(sched);
    coil__sched_fini(sched);
    coil__sched_this = NULL;
    engine->ops->close(engine);
    coil__free(core);
}

/* ---- The run ---- */

static int run_main(struct coil__core *core, int (*main)(void *), void *arg, int *ret_result)
{
    struct coil__sched *sched = &core->sched;
    struct coil__team *team = sched->team;
    int result = coil__fiber_spawn(sched, main, arg, team->spawn_site, &core->main);

    if (result < 0) {
        coil__team_end(team);
    } else {
        coil_fiber_name_set(core->main, "main");
        core->main->is_collected = true;
    }
    coil__core_run(core);
    coil__team_join(team);
    if (result == 0)
        result = coil__team_status(team);
    if (result == 0 && ret_result)
        *ret_result = core->main->result;
    if (core->main && sched->fiber_count == 0)
        coil_fiber_unref(core->main);
    return result;
}

static int run_team(struct coil__team *team, int (*main)(void *), void *arg, int *ret_result)
{
    struct coil__core *core;
    int result = coil__core_open(team, 0, &core);

    if (result < 0)
        return result;
    result = coil__team_start(team);
    if (result == 0)
        result = run_main(core, main, arg, ret_result);
    coil__core_close(core);
    return result;
}

/* The same with this thread, core 0, tied to a CPU meanwhile. */
static int run_pinned(struct coil__team *team, int (*main)(void *), void *arg, int *ret_result)
{
    int result = coil__team_pin(team, 0);

    if (result == 0)
        result = run_team(team, main, arg, ret_result);
    coil__team_unpin(team);
    return result;
}

int coil_run(int (*main)(void *), void *arg, const coil_options *options, int *ret_result)
{
    coil_options chosen;
    struct coil__team *team = NULL;
    int result;

    if (coil__sched_this)
        return -EBUSY;
    result = read_options(options, &chosen);
    if (result == 0)
        result = coil__team_new(&chosen, &team);
    if (result < 0)
        return result;
    team->spawn_site = __builtin_return_address(0);
    result = chosen.pin_cores ? run_pinned(team, main, arg, ret_result)
                              : run_team(team, main, arg, ret_result);
    coil__team_free(team);
    return result;
}

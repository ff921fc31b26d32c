/* SPDX-License-Identifier: MIT */
/* Numbers of a running scheduler (coil/stats.h).
 *
 * Nothing is counted for the sake of this file on hot paths that was not counted before, but for
 * the peak of fibers and the timers; the number of runnable fibers is measured here, by walking.
 */
#include <coil/stats.h>

#include <errno.h>
#include <string.h>

#include "core/remote.h"
#include "core/sched.h"
#include "io/offload.h"

COIL_STATIC_ASSERT(sizeof(coil_stats_info) == 216, "a promise of the header");

static void add_engine(coil_stats_info *stats, const struct coil__engine_stats *engine)
{
    stats->enters = engine->enter_count;
    stats->submissions = engine->submission_count;
    stats->completions = engine->completion_count;
    stats->requests = engine->active_count;
    stats->queued_submissions = engine->queued_count;
    stats->cancels = engine->cancel_count;
    stats->overflows = engine->overflow_count;
    stats->starved_receives = engine->starved_count;
    stats->rearms = engine->rearm_count;
    stats->wakes = engine->wake_count;
}

static void add_stacks(coil_stats_info *stats, const struct coil__stacks *stacks)
{
    size_t slabs;
    size_t bytes;

    coil__stacks_measure(stacks, &slabs, &bytes);
    stats->stacks = stacks->live_count;
    stats->stacks_warm = stacks->free_count;
    stats->stacks_cold = stacks->cold_count;
    stats->stack_slabs = slabs;
    stats->stack_bytes = bytes;
}

int coil_stats(coil_stats_info *ret_stats)
{
    struct coil__sched *sched = coil__sched_this;
    const size_t given = ret_stats->size;
    const size_t known = given < sizeof *ret_stats ? given : sizeof *ret_stats;
    coil_stats_info stats = {.size = given};
    struct coil__offload_load offload;

    if (given < sizeof given)
        return -EINVAL;
    if (!sched)
        return -ESRCH;
    stats.fibers = sched->fiber_count;
    stats.fibers_peak = sched->fiber_peak;
    stats.ready = coil__list_count(&sched->ready);
    stats.spawns = sched->spawn_count;
    stats.switches = sched->switch_count;
    stats.turns = sched->turn_count;
    stats.timers = sched->timers.count;
    stats.posts = sched->remote->post_count;
    add_engine(&stats, &sched->engine->stats);
    coil__offload_measure(sched, &offload);
    stats.offload_threads = offload.threads;
    stats.offload_running = offload.running;
    stats.offload_queued = offload.queued;
    coil__fiber_reap(sched); /* or the stack of the last fiber that ended would count as in use */
    add_stacks(&stats, &sched->stacks);

    memset(ret_stats, 0, given);
    memcpy(ret_stats, &stats, known);
    return 0;
}

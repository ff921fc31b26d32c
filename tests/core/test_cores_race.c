/* SPDX-License-Identifier: MIT */
/* Cores that call each other at random, with deadlines and cancellations in between, while plain
 * threads post to them until after their end: a plain program, made for ThreadSanitizer.
 *
 *     test_cores_race [SEED]
 *
 * Passes when every call has come back as it should, every accepted post has been called exactly
 * once, and nothing is left. The seed is printed: a run with the same one makes the same choices,
 * though not in the same order.
 */
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>

#include <coil/coil.h>

#include "support/race.h"

enum {
    CORES = 3,
    RUNS = 10,
    CALLERS = 20, /* on each core */
    CALLS = 60,   /* of each caller */
    POSTERS = 2,
    NODES = 64, /* of each poster */
};

/* ---- Calls ---- */

struct run {
    struct race race;
    atomic_uint caller_count;
    atomic_int running; /* fibers inside work() */
    atomic_int detached_begun;
    atomic_int detached_ended;
    atomic_int through; /* posters of which a core has accepted a post */
    _Atomic(coil_remote *) remotes[CORES];
};

struct work {
    struct run *run;
    unsigned seed;
    int depth;
};

/* Runs anywhere: yields, sleeps, or calls on; its result is its depth unless it was interrupted. */
static int work(void *arg)
{
    struct work *work_item = arg;
    unsigned state = work_item->seed | 1;
    int result = 0;

    atomic_fetch_add(&work_item->run->running, 1);
    for (unsigned steps = below(&state, 4); steps > 0 && result == 0; steps--) {
        if (below(&state, 2) == 0)
            coil_yield();
        else
            result = coil_sleep(COIL_US(below(&state, 300)));
    }
    if (result == 0 && work_item->depth > 0) {
        struct work deeper = {work_item->run, next_random(&state), work_item->depth - 1};
        int deeper_result = -1;

        result = coil_on(below(&state, CORES), work, &deeper, &deeper_result);
        if (result == 0) {
            race_check(&work_item->run->race,
                       deeper_result == deeper.depth || is_interruption(deeper_result),
                       "a call has come back with another call's result");
        }
    }
    atomic_fetch_sub(&work_item->run->running, 1);
    return result < 0 ? result : work_item->depth;
}

static int work_detached(void *arg)
{
    struct run *run = arg;

    (void)coil_sleep(COIL_US(100));
    atomic_fetch_add(&run->detached_ended, 1);
    return 0;
}

static int count_up(void *arg)
{
    atomic_fetch_add((atomic_int *)arg, 1);
    return 0;
}

static void call_all(struct run *run)
{
    atomic_int count = 0;
    const int result = coil_each_core(count_up, &count);

    race_check(&run->race, is_interruption(result) || (result == 0 && count == CORES),
               "a core was left out");
}

/* One call of a random kind under a random deadline. */
static void call_once(struct run *run, unsigned *state)
{
    struct work item = {run, next_random(state), (int)below(state, 3)};
    coil_scope scope;
    int result = -1;
    int status;

    coil_scope_enter(&scope, below(state, 3) == 0 ? COIL_US(below(state, 500)) : COIL_SECONDS(60));
    switch (below(state, 8)) {
    case 0:
        status = coil_spawn_on(below(state, CORES), work_detached, run);
        if (status == 0)
            atomic_fetch_add(&run->detached_begun, 1);
        race_check(&run->race, status == 0 || is_interruption(status), "spawning failed");
        break;
    case 1:
        call_all(run);
        break;
    default:
        status = coil_on(below(state, CORES), work, &item, &result);
        race_check(&run->race,
                   status == 0 ? result == item.depth || is_interruption(result)
                               : is_interruption(status),
                   "a call has failed otherwise than by an interruption");
    }
    (void)coil_scope_leave(&scope);
}

static int caller(void *arg)
{
    struct run *run = arg;
    unsigned state = (run->race.seed + atomic_fetch_add(&run->caller_count, 1) * 7919) | 1;

    for (int i = 0; i < CALLS; i++) {
        if (coil_expired() != 0)
            return 0;
        call_once(run, &state);
    }
    return 0;
}

static int cancel_some_callers(void *arg)
{
    struct run *run = arg;
    unsigned state = (run->race.seed + coil_core()) | 1;
    coil_fiber *callers[CALLERS];

    atomic_store(&run->remotes[coil_core()], coil_remote_get(coil_core()));
    for (int i = 0; i < CALLERS; i++)
        if (coil_spawn(caller, run, &callers[i]) < 0)
            return -1;
    for (int i = 0; i < CALLERS; i++) {
        if (below(&state, 4) == 0) {
            (void)coil_sleep(COIL_US(below(&state, 2000)));
            coil_cancel(callers[i]);
        }
    }
    for (int i = 0; i < CALLERS; i++) {
        (void)coil_join(callers[i], NULL);
        coil_fiber_unref(callers[i]);
    }
    return 0;
}

static int run_callers(void *arg)
{
    struct run *run = arg;
    const int result = coil_each_core(cancel_some_callers, run);

    while (atomic_load(&run->through) < POSTERS)
        (void)coil_sleep(COIL_US(100));
    return result;
}

/* ---- Posts from outside, until after the end ---- */

struct node {
    coil_post_node post;
    atomic_bool is_free;
    atomic_int *called;
};

struct poster {
    pthread_t thread;
    struct run *run;
    unsigned seed;
    struct node nodes[NODES];
    atomic_int called;
    int accepted;
};

static void node_called(coil_post_node *post)
{
    struct node *node = (struct node *)(void *)post;

    atomic_fetch_add(node->called, 1);
    atomic_store(&node->is_free, true);
}

static coil_remote *await_remote(struct run *run, unsigned core)
{
    coil_remote *remote;

    while ((remote = atomic_load(&run->remotes[core])) == NULL)
        (void)sched_yield();
    return remote;
}

/* Ends when all cores have refused a post. */
static void *post_to_the_end(void *arg)
{
    struct poster *poster = arg;
    unsigned state = poster->seed | 1;
    bool is_closed[CORES] = {false};
    int closed = 0;

    for (int i = 0; i < NODES; i++) {
        poster->nodes[i].post.run = node_called;
        poster->nodes[i].called = &poster->called;
        atomic_store(&poster->nodes[i].is_free, true);
    }
    for (int i = 0; closed < CORES; i++) {
        struct node *node = &poster->nodes[i % NODES];
        const unsigned core = below(&state, CORES);

        if (!atomic_exchange(&node->is_free, false)) {
            (void)sched_yield();
            continue;
        }
        if (coil_post(await_remote(poster->run, core), &node->post) == 0) {
            if (poster->accepted++ == 0)
                atomic_fetch_add(&poster->run->through, 1);
            continue;
        }
        atomic_store(&node->is_free, true);
        closed += !is_closed[core];
        is_closed[core] = true;
    }
    return NULL;
}

/* ---- A run ---- */

static int run_once(unsigned seed)
{
    static struct poster posters[POSTERS];
    struct run run = {.race.seed = seed};
    const coil_options options = {.size = sizeof options, .cores = CORES};
    int result = -1;
    int status;

    for (int i = 0; i < POSTERS; i++) {
        posters[i] = (struct poster){.run = &run, .seed = seed + (unsigned)i};
        if (pthread_create(&posters[i].thread, NULL, post_to_the_end, &posters[i]) != 0)
            return 1;
    }
    status = coil_run(run_callers, &run, &options, &result);
    race_check(&run.race, status == 0 && result == 0, "the run has failed");
    for (int i = 0; i < POSTERS; i++) {
        (void)pthread_join(posters[i].thread, NULL);
        race_check(&run.race, posters[i].called == posters[i].accepted,
                   "a post is lost, or called twice");
        race_check(&run.race, posters[i].accepted > 0, "no post got through");
    }
    for (int i = 0; i < CORES; i++)
        coil_remote_unref(run.remotes[i]);
    race_check(&run.race, run.running == 0, "a call is still running");
    race_check(&run.race, run.detached_begun == run.detached_ended, "a detached fiber is lost");
    return run.race.faults;
}

int main(int argc, char **argv)
{
    const unsigned seed = race_begin(argc, argv);
    int faults = 0;

    for (unsigned i = 0; i < RUNS && faults == 0; i++)
        faults = run_once(seed + i);
    return race_end(seed, faults);
}

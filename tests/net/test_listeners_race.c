/* SPDX-License-Identifier: MIT */
/* Listeners that all cores want to serve at the same time, while a plain thread stops them: a plain
 * program, made for ThreadSanitizer.
 *
 * Passes when never more than one has served them at a time, the others were told so, and a close
 * right after the end of the last one leaves nothing.
 */
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>

#include <coil/coil.h>

#include "base/alloc.h"

enum {
    CORES = 3,
    RUNS = 20,
    TRIES = 5, /* of each core */
};

struct run {
    coil_listeners *listeners;
    atomic_bool is_inside[CORES];
    atomic_int served;
    atomic_int faults;
};

static void check(struct run *run, bool is_true, const char *text)
{
    if (is_true)
        return;
    atomic_fetch_add(&run->faults, 1);
    (void)fprintf(stderr, "%s\n", text);
}

/* Nobody connects. */
static int ignore(coil_stream *stream, void *arg)
{
    (void)stream;
    (void)arg;
    return 0;
}

static int serve(coil_listener *listener, void *arg)
{
    struct run *run = arg;
    const unsigned core = coil_core();

    check(run, !atomic_exchange(&run->is_inside[core], true), "served twice at a time");
    check(run, coil_serve(listener, ignore, NULL, NULL) == 0, "a loop has failed");
    atomic_store(&run->is_inside[core], false);
    return 0;
}

static int want_to_serve(void *arg)
{
    struct run *run = arg;

    for (int i = 0; i < TRIES; i++) {
        const int result = coil_listeners_run(run->listeners, serve, run, false);

        check(run, result == 0 || result == -EBUSY, "serving has failed");
        atomic_fetch_add(&run->served, result == 0);
        coil_yield();
    }
    return 0;
}

static void *stop(void *arg)
{
    coil_serve_cores_stop(arg);
    return NULL;
}

static int serve_on_all(void *arg)
{
    struct run *run = arg;
    pthread_t stopper;
    int result = coil_listen_cores("127.0.0.1:0", NULL, &run->listeners);

    if (result < 0 || pthread_create(&stopper, NULL, stop, run->listeners) != 0)
        return -1;
    result = coil_each_core(want_to_serve, run);
    coil_listeners_close(run->listeners);
    (void)pthread_join(stopper, NULL);
    return result;
}

static int run_once(void)
{
    struct run run = {.listeners = NULL};
    const coil_options options = {.size = sizeof options, .cores = CORES};
    int result = -1;
    const int status = coil_run(serve_on_all, &run, &options, &result);

    check(&run, status == 0 && result == 0, "the run has failed");
    check(&run, run.served > 0, "nobody has served");
    return run.faults;
}

int main(void)
{
    int faults = 0;

    for (int i = 0; i < RUNS && faults == 0; i++)
        faults = run_once();
    if (coil__alloc_live_count() != 0) {
        (void)fprintf(stderr, "memory is left\n");
        faults++;
    }
    return faults > 0;
}

/* SPDX-License-Identifier: MIT */
/* Channels and semaphores between cores and threads, under random deadlines and cancellations: a
 * plain program, made for ThreadSanitizer.
 *
 *     test_cross_race [SEED]
 *
 * Passes when every item that was sent has been received exactly once, no sender's items have
 * overtaken each other at a receiver, a semaphore has let in no more than it may, and all its
 * permits are back. The seed is printed: a run with the same one makes the same choices, though not
 * in the same order.
 */
#include <pthread.h>
#include <stdatomic.h>

#include <coil/coil.h>

#include "support/race.h"

enum {
    CORES = 3,
    RUNS = 8,
    SENDERS = 4,   /* on each core */
    RECEIVERS = 3, /* on each core */
    ITEMS = 300,   /* of each sender */
    GUESTS = 6,    /* on each core */
    VISITS = 150,  /* of each guest */
    PERMITS = 2,
    ALL_SENDERS = CORES * SENDERS + 1, /* and a plain thread */
};

struct item {
    int sender;
    int number;
};

struct run {
    struct race race;
    coil_xchan *chan;
    coil_xsem *sem;
    atomic_int sender_count;
    atomic_int senders_left;
    atomic_int guest_count;
    atomic_int inside;
    atomic_int received[ALL_SENDERS];
    int sent[ALL_SENDERS];
};

/* Mostly none, sometimes a short one. */
static coil_time random_timeout(unsigned *state)
{
    return below(state, 3) == 0 ? COIL_US(below(state, 200)) : COIL_SECONDS(60);
}

/* ---- The channel ---- */

static void sender_left(struct run *run)
{
    if (atomic_fetch_sub(&run->senders_left, 1) == 1)
        coil_xchan_close(run->chan);
}

static int send_items(void *arg)
{
    struct run *run = arg;
    struct item item = {.sender = atomic_fetch_add(&run->sender_count, 1)};
    unsigned state = (run->race.seed * 31 + (unsigned)item.sender) | 1;

    for (int i = 0; i < ITEMS; i++) {
        coil_scope scope;
        int result;

        coil_scope_enter(&scope, random_timeout(&state));
        result = coil_xchan_send(run->chan, &item);
        (void)coil_scope_leave(&scope);
        race_check(&run->race, result == 0 || is_interruption(result), "a send has failed");
        item.number += result == 0;
        if (below(&state, 8) == 0)
            coil_yield();
    }
    run->sent[item.sender] = item.number;
    sender_left(run);
    return 0;
}

static void *send_items_as_thread(void *arg)
{
    struct run *run = arg;
    struct item item = {.sender = atomic_fetch_add(&run->sender_count, 1)};

    while (item.number < ITEMS && coil_xchan_send(run->chan, &item) == 0)
        item.number++;
    run->sent[item.sender] = item.number;
    sender_left(run);
    return NULL;
}

static int receive_items(void *arg)
{
    struct run *run = arg;
    unsigned state = (run->race.seed * 17 + coil_core()) | 1;
    int last[ALL_SENDERS];
    int result;

    for (int i = 0; i < ALL_SENDERS; i++)
        last[i] = -1;
    do {
        struct item item;
        coil_scope scope;

        coil_scope_enter(&scope, random_timeout(&state));
        result = coil_xchan_recv(run->chan, &item);
        (void)coil_scope_leave(&scope);
        if (result > 0) {
            race_check(&run->race, item.number > last[item.sender], "an item was overtaken");
            last[item.sender] = item.number;
            atomic_fetch_add(&run->received[item.sender], 1);
        }
    } while (result != 0);
    return 0;
}

/* ---- The semaphore ---- */

static void visit(struct run *run, unsigned *state)
{
    coil_scope scope;
    int result;

    coil_scope_enter(&scope, random_timeout(state));
    result = coil_xsem_acquire(run->sem);
    if (result == 0) {
        race_check(&run->race, atomic_fetch_add(&run->inside, 1) < PERMITS, "too many are inside");
        if (below(state, 4) == 0)
            coil_yield();
        atomic_fetch_sub(&run->inside, 1);
        coil_xsem_release(run->sem);
    }
    (void)coil_scope_leave(&scope);
    race_check(&run->race, result == 0 || is_interruption(result), "an acquire has failed");
}

static int visit_often(void *arg)
{
    struct run *run = arg;
    unsigned state = (run->race.seed + (unsigned)atomic_fetch_add(&run->guest_count, 1) * 7919) | 1;

    for (int i = 0; i < VISITS && coil_expired() == 0; i++)
        visit(run, &state);
    return 0;
}

/* ---- A run ---- */

static int spawn_many(int (*fn)(void *), struct run *run, int count, coil_fiber **ret_fibers)
{
    for (int i = 0; i < count; i++)
        if (coil_spawn(fn, run, &ret_fibers[i]) < 0)
            return -1;
    return count;
}

static int run_core(void *arg)
{
    coil_fiber *fibers[SENDERS + RECEIVERS + GUESTS];
    struct run *run = arg;
    unsigned state = (run->race.seed + coil_core()) | 1;
    int count = spawn_many(visit_often, run, GUESTS, fibers);

    count += spawn_many(receive_items, run, RECEIVERS, fibers + count);
    count += spawn_many(send_items, run, SENDERS, fibers + count);
    (void)coil_sleep(COIL_US(below(&state, 2000)));
    coil_cancel(fibers[0]); /* a guest in the middle of its visits */
    for (int i = 0; i < count; i++) {
        (void)coil_join(fibers[i], NULL);
        coil_fiber_unref(fibers[i]);
    }
    return 0;
}

static int run_cores(void *arg)
{
    return coil_each_core(run_core, arg);
}

static int run_once(unsigned seed)
{
    struct run run = {.race.seed = seed, .senders_left = ALL_SENDERS};
    const coil_options options = {.size = sizeof options, .cores = CORES};
    pthread_t thread;
    int result = -1;

    if (coil_xchan_new(seed % 4, sizeof(struct item), &run.chan) < 0 ||
        coil_xsem_new(PERMITS, &run.sem) < 0 ||
        pthread_create(&thread, NULL, send_items_as_thread, &run) != 0)
        return 1;
    race_check(&run.race, coil_run(run_cores, &run, &options, &result) == 0, "the run has failed");
    race_check(&run.race, result == 0, "a core has failed");
    (void)pthread_join(thread, NULL);

    for (int i = 0; i < ALL_SENDERS; i++)
        race_check(&run.race, run.received[i] == run.sent[i],
                   "an item is lost, or was received twice");
    race_check(&run.race, coil_xsem_balance(run.sem) == PERMITS, "a permit is lost");
    coil_xchan_free(run.chan);
    coil_xsem_free(run.sem);
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

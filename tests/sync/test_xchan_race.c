/* SPDX-License-Identifier: MIT */
/* A channel between cores and threads, with everything at once: large and small capacities, several
 * senders and receivers on each core, plain threads on both sides, deadlines, cancellations, calls
 * that do not wait, an early close. A plain program, made for ThreadSanitizer.
 *
 *     test_xchan_race [SEED]
 *
 * Passes when every item whose send succeeded has been received exactly once, and no other, each
 * receiver has had each sender's items in order, a single receiver without a gap, and the last one
 * to leave could free the channel under the others. The seed is printed: a run with the same one
 * makes the same choices, though not in the same order.
 */
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <unistd.h>

#include <coil/coil.h>

#include "support/race.h"

enum {
    CORES = 3,
    RUNS = 48,         /* all capacities with all numbers of receivers */
    SENDERS = 3,       /* on each core */
    RECEIVERS_MAX = 3, /* on each core */
    ITEMS = 400,       /* of each sender */
    ALL_SENDERS = CORES * SENDERS + 1,
    HANG_SECONDS = 100, /* a wake-up is lost */
};

struct item {
    int sender;
    int number;
};

struct run {
    struct race race;
    coil_xchan *chan;
    int receivers;     /* on each core; with 0 there is one, on core 0 */
    bool closes_early; /* while items are under way */
    atomic_int sender_count;
    atomic_int senders_left;
    atomic_int users_left; /* the last one frees the channel */
    int sent[ALL_SENDERS];
    atomic_int received[ALL_SENDERS][ITEMS];
};

static coil_time random_timeout(unsigned *state)
{
    return below(state, 4) == 0 ? COIL_US(below(state, 100)) : COIL_SECONDS(60);
}

/* Frees while others may be on their way out of their last call. */
static void user_left(struct run *run)
{
    if (atomic_fetch_sub(&run->users_left, 1) == 1)
        coil_xchan_free(run->chan);
}

/* ---- Sending ---- */

static int send_somehow(struct run *run, const struct item *item, unsigned *state)
{
    coil_scope scope;
    int result;

    if (below(state, 3) == 0)
        return coil_xchan_try_send(run->chan, item);
    coil_scope_enter(&scope, random_timeout(state));
    result = coil_xchan_send(run->chan, item);
    (void)coil_scope_leave(&scope);
    return result;
}

static void senders_end(struct run *run, int sender, int sent)
{
    run->sent[sender] = sent;
    if (atomic_fetch_sub(&run->senders_left, 1) == 1)
        coil_xchan_close(run->chan);
    user_left(run);
}

static int send_items(void *arg)
{
    struct run *run = arg;
    struct item item = {.sender = atomic_fetch_add(&run->sender_count, 1)};
    unsigned state = (run->race.seed * 31 + (unsigned)item.sender * 7919) | 1;
    bool is_cancelled = false;

    while (item.number < ITEMS && !is_cancelled) {
        const int result = send_somehow(run, &item, &state);

        if (result == -EPIPE) {
            race_check(&run->race, run->closes_early, "closed before the end");
            break;
        }
        race_check(&run->race, result == 0 || result == -EAGAIN || is_interruption(result),
                   "a send failed");
        is_cancelled = result == -ECANCELED;
        item.number += result == 0;
        if (result == -EAGAIN || below(&state, 16) == 0)
            coil_yield();
    }
    senders_end(run, item.sender, item.number);
    return 0;
}

static void *send_items_as_thread(void *arg)
{
    struct run *run = arg;
    struct item item = {.sender = atomic_fetch_add(&run->sender_count, 1)};

    while (item.number < ITEMS && coil_xchan_send(run->chan, &item) == 0)
        item.number++;
    senders_end(run, item.sender, item.number);
    return NULL;
}

/* ---- Receiving ---- */

static bool is_only_receiver(const struct run *run)
{
    return run->receivers == 0;
}

static void took(struct run *run, const struct item *item, int *last)
{
    const bool is_known = item->sender >= 0 && item->sender < ALL_SENDERS && item->number >= 0 &&
                          item->number < ITEMS;

    race_check(&run->race, is_known, "an item that nobody has sent");
    if (!is_known)
        return;
    race_check(&run->race, item->number > last[item->sender], "an item was overtaken");
    if (is_only_receiver(run))
        race_check(&run->race, item->number == last[item->sender] + 1, "an item is missing");
    last[item->sender] = item->number;
    atomic_fetch_add(&run->received[item->sender][item->number], 1);
}

static int receive_somehow(struct run *run, struct item *ret_item, unsigned *state)
{
    coil_scope scope;
    int result;

    if (below(state, 3) == 0)
        return coil_xchan_try_recv(run->chan, ret_item);
    coil_scope_enter(&scope, random_timeout(state));
    result = coil_xchan_recv(run->chan, ret_item);
    (void)coil_scope_leave(&scope);
    return result;
}

static int receive_items(void *arg)
{
    struct run *run = arg;
    unsigned state = (run->race.seed * 17 + coil_core()) | 1;
    int last[ALL_SENDERS];
    int result = 1;

    memset(last, -1, sizeof last);
    while (result != 0 && result != -ECANCELED) {
        struct item item;

        result = receive_somehow(run, &item, &state);
        if (result > 0)
            took(run, &item, last);
        else
            race_check(&run->race, result == 0 || result == -EAGAIN || is_interruption(result),
                       "a receive failed");
        if (result == -EAGAIN || below(&state, 16) == 0)
            coil_yield();
    }
    user_left(run);
    return 0;
}

static void *receive_items_as_thread(void *arg)
{
    struct run *run = arg;
    int last[ALL_SENDERS];
    struct item item;

    memset(last, -1, sizeof last);
    while (coil_xchan_recv(run->chan, &item) > 0)
        took(run, &item, last);
    user_left(run);
    return NULL;
}

/* ---- A run ---- */

static int receivers_of(const struct run *run, unsigned core)
{
    return is_only_receiver(run) ? core == 0 : run->receivers;
}

static int run_core(void *arg)
{
    coil_fiber *fibers[SENDERS + RECEIVERS_MAX];
    struct run *run = arg;
    unsigned state = (run->race.seed + coil_core()) | 1;
    const int count = SENDERS + receivers_of(run, coil_core());

    for (int i = 0; i < count; i++) {
        const int result = coil_spawn(i < SENDERS ? send_items : receive_items, run, &fibers[i]);

        if (result < 0)
            return result;
    }
    (void)coil_sleep(COIL_US(below(&state, 3000)));
    coil_cancel(fibers[below(&state, SENDERS)]);
    if (count > SENDERS + 1) /* others receive what is left */
        coil_cancel(fibers[SENDERS]);
    if (run->closes_early && coil_core() == 1)
        coil_xchan_close(run->chan);
    for (int i = 0; i < count; i++) {
        (void)coil_join(fibers[i], NULL);
        coil_fiber_unref(fibers[i]);
    }
    user_left(run);
    return 0;
}

static int run_cores(void *arg)
{
    return coil_each_core(run_core, arg);
}

static void check_items_of(struct run *run, int sender)
{
    for (int i = 0; i < ITEMS; i++) {
        const int count = run->received[sender][i];

        if (i < run->sent[sender])
            race_check(&run->race, count == 1, "an item is lost, or was received twice");
        else
            race_check(&run->race, count == 0, "an item was received whose send has failed");
    }
}

static int users(const struct run *run)
{
    int count = ALL_SENDERS + CORES + !is_only_receiver(run);

    for (unsigned i = 0; i < CORES; i++)
        count += receivers_of(run, i);
    return count;
}

static int run_once(unsigned seed)
{
    static const size_t capacities[] = {0, 1, 2, 7, 64, 256};
    static struct run run;
    const coil_options options = {.size = sizeof options, .cores = CORES};
    pthread_t threads[2];
    int result = -1;

    memset(&run, 0, sizeof run);
    run.race.seed = seed;
    run.receivers = (int)(seed / 6 % (RECEIVERS_MAX + 1));
    run.closes_early = seed / 24 % 2;
    run.senders_left = ALL_SENDERS;
    run.users_left = users(&run);
    if (coil_xchan_new(capacities[seed % 6], sizeof(struct item), &run.chan) < 0 ||
        pthread_create(&threads[0], NULL, send_items_as_thread, &run) != 0)
        return 1;
    if (!is_only_receiver(&run) &&
        pthread_create(&threads[1], NULL, receive_items_as_thread, &run) != 0)
        return 1;
    race_check(&run.race, coil_run(run_cores, &run, &options, &result) == 0, "the run has failed");
    race_check(&run.race, result == 0, "a core has failed");
    (void)pthread_join(threads[0], NULL);
    if (!is_only_receiver(&run))
        (void)pthread_join(threads[1], NULL);
    for (int i = 0; i < ALL_SENDERS; i++)
        check_items_of(&run, i);
    race_check(&run.race, run.users_left == 0, "somebody has not left");
    return run.race.faults;
}

int main(int argc, char **argv)
{
    const unsigned seed = race_begin(argc, argv);
    int faults = 0;

    (void)alarm(HANG_SECONDS);
    for (unsigned i = 0; i < RUNS && faults == 0; i++)
        faults = run_once(seed + i * 5);
    return race_end(seed, faults);
}

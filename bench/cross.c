/* SPDX-License-Identifier: MIT */
/* What crossing from one core to another costs: calls, posts, channels and semaphores between two
 * cores, in CPU time of both.
 *
 * Where each side waits for the other both fall asleep in between, so the wake through the kernel
 * is most of it: `cross_call`, `cross_spawn`, `xsem_hand_over` and `xchan_rendezvous` do one
 * operation for every hundred asked for. `cross_post` and `xchan_stream` keep the other core awake.
 * Needs two CPUs, whatever one it is started on.
 */
#include <sched.h>
#include <stdbool.h>
#include <stdlib.h>

#include <coil/coil.h>

#include "measure.h"

enum {
    CORES = 2,
    BATCH = 1000,
    CAPACITY = 256,
    SLOW = 100, /* operations asked for, for each that is done */
};

/* ---- Calls ---- */

static int do_nothing(void *arg)
{
    (void)arg;
    return 0;
}

static int64_t call(long count)
{
    const int64_t start = measure_now();

    for (long i = 0; i < count; i += SLOW)
        measure_check(coil_on(1, do_nothing, NULL, NULL), "coil_on");
    return (measure_now() - start) * SLOW;
}

static int64_t spawn_there(long count)
{
    const int64_t start = measure_now();

    for (long i = 0; i < count; i += SLOW)
        measure_check(coil_spawn_on(1, do_nothing, NULL), "coil_spawn_on");
    return (measure_now() - start) * SLOW;
}

/* ---- Posts ---- */

struct batch {
    coil_post_node nodes[BATCH];
    coil_xsem *done;
    int called;
};

static struct batch *batch_of_posts;

static void count_post(coil_post_node *node)
{
    (void)node;
    if (++batch_of_posts->called == BATCH) {
        batch_of_posts->called = 0;
        coil_xsem_release(batch_of_posts->done);
    }
}

static int64_t post(long count)
{
    static struct batch batch;
    coil_remote *remote = coil_remote_get(1);
    int64_t start;
    int64_t taken;

    batch_of_posts = &batch;
    measure_check(coil_xsem_new(0, &batch.done), "coil_xsem_new");
    start = measure_now();
    for (long i = 0; i < count; i += BATCH) {
        for (int j = 0; j < BATCH; j++) {
            batch.nodes[j].run = count_post;
            measure_check(coil_post(remote, &batch.nodes[j]), "coil_post");
        }
        measure_check(coil_xsem_acquire(batch.done), "coil_xsem_acquire");
    }
    taken = measure_now() - start;
    coil_xsem_free(batch.done);
    coil_remote_unref(remote);
    return taken;
}

/* ---- Between two fibers ---- */

struct pair {
    coil_xsem *mine;
    coil_xsem *theirs;
    coil_xchan *chan;
    long count;
};

static int call_partner(int (*partner)(void *), struct pair *pair)
{
    return coil_spawn_on(1, partner, pair);
}

static int answer(void *arg)
{
    struct pair *pair = arg;

    for (long i = 0; i < pair->count; i += 2L * SLOW) {
        measure_check(coil_xsem_acquire(pair->theirs), "coil_xsem_acquire");
        coil_xsem_release(pair->mine);
    }
    return 0;
}

static int64_t sem_hand_over(long count)
{
    struct pair pair = {.count = count};
    int64_t start;
    int64_t taken;

    measure_check(coil_xsem_new(0, &pair.mine), "coil_xsem_new");
    measure_check(coil_xsem_new(0, &pair.theirs), "coil_xsem_new");
    measure_check(call_partner(answer, &pair), "coil_spawn_on");
    start = measure_now();
    for (long i = 0; i < count; i += 2L * SLOW) {
        coil_xsem_release(pair.theirs);
        measure_check(coil_xsem_acquire(pair.mine), "coil_xsem_acquire");
    }
    taken = measure_now() - start;
    coil_xsem_free(pair.mine);
    coil_xsem_free(pair.theirs);
    return taken * SLOW;
}

static int send_items(void *arg)
{
    struct pair *pair = arg;

    for (long i = 0; i < pair->count; i++)
        measure_check(coil_xchan_send(pair->chan, &i), "coil_xchan_send");
    coil_xchan_close(pair->chan);
    return 0;
}

static int64_t receive_items(size_t capacity, long count)
{
    struct pair pair = {.count = count};
    long item;
    int result;
    int64_t start;
    int64_t taken;

    measure_check(coil_xchan_new(capacity, sizeof item, &pair.chan), "coil_xchan_new");
    measure_check(call_partner(send_items, &pair), "coil_spawn_on");
    start = measure_now();
    do
        result = coil_xchan_recv(pair.chan, &item);
    while (result > 0);
    measure_check(result, "coil_xchan_recv");
    taken = measure_now() - start;
    /* The partner may be on its way out of the channel: its core is asked after it has left. */
    measure_check(coil_on(1, do_nothing, NULL, NULL), "coil_on");
    coil_xchan_free(pair.chan);
    return taken;
}

static int64_t chan_stream(long count)
{
    return receive_items(CAPACITY, count);
}

static int64_t chan_rendezvous(long count)
{
    return receive_items(0, count / SLOW) * SLOW;
}

static int64_t sem_free(long count)
{
    const int64_t start = measure_now();
    coil_xsem *sem;

    measure_check(coil_xsem_new(1, &sem), "coil_xsem_new");
    for (long i = 0; i < count; i++) {
        measure_check(coil_xsem_acquire(sem), "coil_xsem_acquire");
        coil_xsem_release(sem);
    }
    coil_xsem_free(sem);
    return measure_now() - start;
}

/* `bench/run core` ties its programs to one CPU. */
static void use_all_cpus(void)
{
    cpu_set_t all;

    CPU_ZERO(&all);
    for (unsigned i = 0; i < CPU_SETSIZE; i++)
        CPU_SET(i, &all);
    (void)sched_setaffinity(0, sizeof all, &all);
}

int main(int argc, char **argv)
{
    static const struct measure_case cases[] = {
        {"cross_call", call},
        {"cross_spawn", spawn_there},
        {"cross_post", post},
        {"xsem_hand_over", sem_hand_over},
        {"xsem_free", sem_free},
        {"xchan_stream", chan_stream},
        {"xchan_rendezvous", chan_rendezvous},
        {0},
    };
    const coil_options options = {.size = sizeof options, .cores = CORES, .pin_cores = true};

    use_all_cpus();
    return measure_main_in_fiber_with(argc, argv, cases, &options);
}

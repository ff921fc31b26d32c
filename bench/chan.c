/* SPDX-License-Identifier: MIT */
/* Items passed between two fibers through channels.
 *
 * `chan_ping_pong`: two channels without capacity; each fiber sends to the other and waits for the
 * answer, so an operation is one send that wakes, one receive that parks, and the switch between
 * them. `chan_ping_pong_1` is the same with room for one item. `chan_stream` is a producer and a
 * consumer at a channel of 64 items, per item; `chan_free` a send and a receive that never wait.
 */
#include <coil/coil.h>

#include "measure.h"

enum {
    STREAM_CAPACITY = 64,
};

struct pair {
    coil_chan *there;
    coil_chan *back;
    long count;
};

static void make(size_t capacity, coil_chan **ret_chan)
{
    measure_check(coil_chan_new(capacity, sizeof(uint64_t), ret_chan), "coil_chan_new");
}

static int answer(void *arg)
{
    const struct pair *pair = arg;

    for (long i = 0; i < pair->count; i += 2) {
        uint64_t item;

        measure_check(coil_chan_recv(pair->there, &item), "coil_chan_recv");
        item++;
        measure_check(coil_chan_send(pair->back, &item), "coil_chan_send");
    }
    return 0;
}

static int64_t ping_pong_through(long count, size_t capacity)
{
    struct pair pair = {.count = count};
    coil_fiber *partner;
    uint64_t item = 0;
    int64_t start;
    int64_t taken;

    make(capacity, &pair.there);
    make(capacity, &pair.back);
    measure_check(coil_spawn(answer, &pair, &partner), "coil_spawn");
    coil_yield();

    start = measure_now();
    for (long i = 0; i < count; i += 2) {
        measure_check(coil_chan_send(pair.there, &item), "coil_chan_send");
        measure_check(coil_chan_recv(pair.back, &item), "coil_chan_recv");
    }
    taken = measure_now() - start;

    measure_check(coil_join(partner, NULL), "coil_join");
    coil_fiber_unref(partner);
    coil_chan_free(pair.there);
    coil_chan_free(pair.back);
    return taken;
}

static int64_t ping_pong(long count)
{
    return ping_pong_through(count, 0);
}

static int64_t ping_pong_1(long count)
{
    return ping_pong_through(count, 1);
}

static int produce(void *arg)
{
    const struct pair *pair = arg;

    for (long i = 0; i < pair->count; i++) {
        const uint64_t item = (uint64_t)i;

        measure_check(coil_chan_send(pair->there, &item), "coil_chan_send");
    }
    coil_chan_close(pair->there);
    return 0;
}

static int64_t stream(long count)
{
    struct pair pair = {.count = count};
    coil_fiber *partner;
    uint64_t item;
    int64_t start;
    int64_t taken;

    make(STREAM_CAPACITY, &pair.there);
    measure_check(coil_spawn(produce, &pair, &partner), "coil_spawn");

    start = measure_now();
    while (coil_chan_recv(pair.there, &item) > 0)
        continue;
    taken = measure_now() - start;

    measure_check(coil_join(partner, NULL), "coil_join");
    coil_fiber_unref(partner);
    coil_chan_free(pair.there);
    return taken;
}

static int64_t nobody_waits(long count)
{
    coil_chan *chan;
    uint64_t item = 0;
    int64_t start;
    int64_t taken;

    make(STREAM_CAPACITY, &chan);
    start = measure_now();
    for (long i = 0; i < count; i++) {
        measure_check(coil_chan_send(chan, &item), "coil_chan_send");
        measure_check(coil_chan_recv(chan, &item), "coil_chan_recv");
    }
    taken = measure_now() - start;
    coil_chan_free(chan);
    return taken;
}

int main(int argc, char **argv)
{
    static const struct measure_case cases[] = {{"chan_ping_pong", ping_pong},
                                                {"chan_ping_pong_1", ping_pong_1},
                                                {"chan_stream", stream},
                                                {"chan_free", nobody_waits},
                                                {0}};

    return measure_main_in_fiber(argc, argv, cases);
}

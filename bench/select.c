/* SPDX-License-Identifier: MIT */
/* One fiber that selects among eight channels.
 *
 * `select_8`: eight fibers send, each through a channel of its own without capacity, and an
 * operation is one item: most selects find a sender that waits. `select_8_parks`: one fiber sends
 * through the eight in turn and waits for an answer, so each select has to wait in eight queues and
 * is woken out of them; an operation is that, the answer, and two switches. `select_1_parks` is the
 * same with one channel. `select_try_8` finds nothing to do in any of eight.
 */
#include <coil/coil.h>

#include "measure.h"

enum {
    CHANNELS = 8,
};

struct table {
    coil_chan *chans[CHANNELS];
    coil_chan *answers;
    coil_case cases[CHANNELS];
    uint64_t item;
    size_t count; /* channels in use */
    long turns;
};

static void make(coil_chan **ret_chan)
{
    measure_check(coil_chan_new(0, sizeof(uint64_t), ret_chan), "coil_chan_new");
}

static void begin(struct table *table, size_t count)
{
    table->count = count;
    make(&table->answers);
    for (size_t i = 0; i < count; i++) {
        make(&table->chans[i]);
        table->cases[i] = coil_case_recv(table->chans[i], &table->item);
    }
}

static void end(struct table *table)
{
    coil_chan_free(table->answers);
    for (size_t i = 0; i < table->count; i++)
        coil_chan_free(table->chans[i]);
}

/* ---- Eight senders ---- */

static int send_for_ever(void *arg)
{
    const uint64_t item = 1;

    while (coil_chan_send(arg, &item) == 0)
        continue;
    return 0;
}

static int64_t select_8(long count)
{
    struct table table;
    coil_fiber *senders[CHANNELS];
    size_t next = 0;
    int64_t start;
    int64_t taken;

    begin(&table, CHANNELS);
    for (int i = 0; i < CHANNELS; i++)
        measure_check(coil_spawn(send_for_ever, table.chans[i], &senders[i]), "coil_spawn");
    coil_yield();

    start = measure_now();
    for (long i = 0; i < count; i++) {
        const int index = coil_select_from(table.cases, CHANNELS, next);

        measure_check(index, "coil_select_from");
        next = (size_t)index + 1;
    }
    taken = measure_now() - start;

    for (int i = 0; i < CHANNELS; i++)
        coil_chan_close(table.chans[i]);
    for (int i = 0; i < CHANNELS; i++) {
        measure_check(coil_join(senders[i], NULL), "coil_join");
        coil_fiber_unref(senders[i]);
    }
    end(&table);
    return taken;
}

/* ---- One sender in turn ---- */

static int send_in_turn(void *arg)
{
    struct table *table = arg;
    uint64_t item = 0;

    for (long i = 0; i < table->turns; i++) {
        measure_check(coil_chan_send(table->chans[(size_t)i % table->count], &item),
                      "coil_chan_send");
        measure_check(coil_chan_recv(table->answers, &item), "coil_chan_recv");
    }
    return 0;
}

static int64_t select_that_parks(long count, size_t channels)
{
    struct table table = {.turns = count};
    coil_fiber *sender;
    int64_t start;
    int64_t taken;

    begin(&table, channels);
    measure_check(coil_spawn(send_in_turn, &table, &sender), "coil_spawn");

    start = measure_now();
    for (long i = 0; i < count; i++) {
        measure_check(coil_select(table.cases, channels), "coil_select");
        measure_check(coil_chan_send(table.answers, &table.item), "coil_chan_send");
    }
    taken = measure_now() - start;

    measure_check(coil_join(sender, NULL), "coil_join");
    coil_fiber_unref(sender);
    end(&table);
    return taken;
}

static int64_t select_8_parks(long count)
{
    return select_that_parks(count, CHANNELS);
}

static int64_t select_1_parks(long count)
{
    return select_that_parks(count, 1);
}

/* ---- Nobody ---- */

static int64_t select_try_8(long count)
{
    struct table table;
    int64_t start;
    int64_t taken;

    begin(&table, CHANNELS);
    start = measure_now();
    for (long i = 0; i < count; i++)
        measure_check(-(coil_try_select(table.cases, CHANNELS) >= 0), "coil_try_select");
    taken = measure_now() - start;
    end(&table);
    return taken;
}

int main(int argc, char **argv)
{
    static const struct measure_case cases[] = {{"select_8", select_8},
                                                {"select_8_parks", select_8_parks},
                                                {"select_1_parks", select_1_parks},
                                                {"select_try_8", select_try_8},
                                                {0}};

    return measure_main_in_fiber(argc, argv, cases);
}

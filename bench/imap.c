/* SPDX-License-Identifier: MIT */
/* An imap over 100,000 items by 200 workers, results in input order.
 *
 * An item's work is one yield, as if it had waited for something, so that all 200 are under way. An
 * operation is one item from the feeder to the consumer. `imap_chan` is the same by hand, with
 * fibers that wait at a channel for items: what a program without imap would do, and out of order.
 */
#include <errno.h>
#include <stdlib.h>

#include <coil/coil.h>

#include "measure.h"

enum {
    ITEMS = 100000,
    WORKERS = 200,
};

struct feed {
    long next;
};

static int items[ITEMS];

static int work(void *item)
{
    coil_yield();
    (*(int *)item)++;
    return 0;
}

static int feed_next(void *arg, void **ret_item)
{
    struct feed *feed = arg;

    if (feed->next == ITEMS)
        return 0;
    *ret_item = &items[feed->next++];
    return 1;
}

static int64_t through_imap(long count)
{
    const int64_t start = measure_now();
    struct feed feed = {0};
    coil_imap *imap;
    void *item;
    int result;

    measure_check(coil_imap_new(WORKERS, work, feed_next, &feed, NULL, &imap), "coil_imap_new");
    for (long i = 0; i < ITEMS; i++) {
        measure_check(coil_imap_next(imap, &item, &result), "coil_imap_next");
        measure_check(item == &items[i] && result == 0 ? 0 : -EIO, "the order");
    }
    coil_imap_close(imap);
    return measure_scaled(measure_now() - start, ITEMS, count);
}

static int work_from_chan(void *arg)
{
    coil_chan *chan = arg;
    void *item;

    while (coil_chan_recv(chan, &item) > 0)
        (void)work(item);
    return 0;
}

static int64_t through_chan(long count)
{
    const int64_t start = measure_now();
    static coil_fiber *workers[WORKERS];
    coil_chan *chan;

    measure_check(coil_chan_new(WORKERS, sizeof(void *), &chan), "coil_chan_new");
    for (int i = 0; i < WORKERS; i++)
        measure_check(coil_spawn(work_from_chan, chan, &workers[i]), "coil_spawn");
    for (long i = 0; i < ITEMS; i++) {
        void *item = &items[i];

        measure_check(coil_chan_send(chan, &item), "coil_chan_send");
    }
    coil_chan_close(chan);
    for (int i = 0; i < WORKERS; i++) {
        measure_check(coil_join(workers[i], NULL), "coil_join");
        coil_fiber_unref(workers[i]);
    }
    coil_chan_free(chan);
    return measure_scaled(measure_now() - start, ITEMS, count);
}

int main(int argc, char **argv)
{
    static const struct measure_case cases[] = {
        {"imap", through_imap}, {"imap_chan", through_chan}, {0}};

    return measure_main_in_fiber(argc, argv, cases);
}

/* SPDX-License-Identifier: MIT */
/* coil_imap: every item comes out once, in input order; the input waits for the consumer; closing
 * leaves nothing behind.
 */
#include "support/fiber_test.h"

#include "base/alloc.h"
#include "base/list.h"

enum {
    ITEMS_MAX = 64,
};

struct source;

struct item {
    struct source *source;
    int index;
    coil_event may_end;
};

/* What feeder, workers and consumer of a test share. */
struct source {
    struct item items[ITEMS_MAX];
    int count;      /* items until the end; beyond ITEMS_MAX they are used in turn */
    int end_result; /* what the feeder returns then */
    int fail_index; /* this item's work fails with -EIO; -1 for none */
    bool is_gated;  /* workers wait for their item's event */
    int fed;
    int started;
    int ended;
    int active_max;
    int freed;
};

static void setup(struct source *source, int count)
{
    *source = (struct source){.count = count, .fail_index = -1};
    for (int i = 0; i < ITEMS_MAX; i++)
        coil_event_init(&source->items[i].may_end);
}

static int feed(void *arg, void **ret_item)
{
    struct source *source = arg;
    struct item *item = &source->items[source->fed % ITEMS_MAX];

    if (source->fed == source->count)
        return source->end_result;
    item->source = source;
    item->index = source->fed++;
    *ret_item = item;
    return 1;
}

static int work(void *arg)
{
    struct item *item = arg;
    struct source *source = item->source;
    int result = 0;

    source->started++;
    if (source->started - source->ended > source->active_max)
        source->active_max = source->started - source->ended;
    if (source->is_gated)
        result = coil_event_wait(&item->may_end, NULL);
    else
        coil_yield();
    source->ended++;
    if (result < 0)
        return result;
    return item->index == source->fail_index ? -EIO : item->index * 10;
}

static void count_freed(void *arg)
{
    const struct item *item = arg;

    item->source->freed++;
}

static coil_imap *start(struct source *source, size_t size)
{
    coil_imap *imap = NULL;

    cr_assert_eq(coil_imap_new(size, work, feed, source, count_freed, &imap), 0);
    return imap;
}

static void expect_item(coil_imap *imap, int index, int result)
{
    void *item = NULL;
    int seen = INT32_MIN;

    cr_assert_eq(coil_imap_next(imap, &item, &seen), 1);
    cr_assert_eq(((struct item *)item)->index, index);
    cr_assert_eq(seen, result);
}

static void expect_end(coil_imap *imap, int result)
{
    void *item = NULL;
    int seen = INT32_MIN;

    for (int i = 0; i < 2; i++)
        cr_assert_eq(coil_imap_next(imap, &item, &seen), result);
    cr_assert_null(item, "untouched");
    cr_assert_eq(seen, INT32_MIN, "untouched");
}

FIBER_TEST(imap, results_come_in_input_order_when_work_ends_in_reverse)
{
    struct source source;
    coil_imap *imap;

    setup(&source, 8);
    source.is_gated = true;
    imap = start(&source, 8);
    while (source.started < 8)
        coil_yield();
    for (int i = 7; i >= 0; i--) {
        cr_assert_eq(coil_event_set(&source.items[i].may_end, NULL), 0);
        coil_yield();
    }
    cr_assert_eq(source.ended, 8);
    for (int i = 0; i < 8; i++)
        expect_item(imap, i, i * 10);
    expect_end(imap, 0);

    coil_imap_close(imap);
    cr_assert_eq(source.freed, 0, "taken items are the consumer's");
}

static int take_first(void *arg)
{
    void *item;
    int result = -1;
    const int got = coil_imap_next(arg, &item, &result);

    return got == 1 ? result : got;
}

FIBER_TEST(imap, the_consumer_waits_for_the_front_however_many_others_are_done)
{
    struct source source;
    coil_imap *imap;
    coil_fiber *consumer;

    setup(&source, 3);
    source.is_gated = true;
    imap = start(&source, 4); /* room enough for the feeder to come to its end */
    consumer = spawn_until_parked(take_first, imap);
    while (source.started < 3)
        coil_yield();
    for (int i = 2; i > 0; i--) {
        cr_assert_eq(coil_event_set(&source.items[i].may_end, NULL), 0);
        coil_yield();
        cr_assert_eq(consumer->tcb->state, COIL__FIBER_PARKED);
    }
    cr_assert_eq(coil_event_set(&source.items[0].may_end, NULL), 0);
    cr_assert_eq(join_and_drop(consumer), 0);
    expect_item(imap, 1, 10);
    expect_item(imap, 2, 20);
    expect_end(imap, 0);
    coil_imap_close(imap);
}

FIBER_TEST(imap, a_failing_item_is_delivered_at_its_place_and_the_rest_goes_on)
{
    struct source source;
    coil_imap *imap;

    setup(&source, 6);
    source.fail_index = 2;
    imap = start(&source, 3);
    for (int i = 0; i < 6; i++)
        expect_item(imap, i, i == 2 ? -EIO : i * 10);
    expect_end(imap, 0);
    coil_imap_close(imap);
}

FIBER_TEST(imap, no_items_and_one_item_are_fine)
{
    for (int count = 0; count < 2; count++) {
        struct source source;
        coil_imap *imap;

        setup(&source, count);
        imap = start(&source, 4);
        if (count > 0)
            expect_item(imap, 0, 0);
        expect_end(imap, 0);
        coil_imap_close(imap);
    }
}

FIBER_TEST(imap, a_feeders_error_comes_after_the_last_item)
{
    for (int count = 0; count < 4; count++) {
        struct source source;
        coil_imap *imap;

        setup(&source, count);
        source.end_result = -EBADMSG;
        imap = start(&source, 2);
        for (int i = 0; i < count; i++)
            expect_item(imap, i, i * 10);
        expect_end(imap, -EBADMSG);
        coil_imap_close(imap);
    }
}

FIBER_TEST(imap, an_endless_input_waits_for_a_slow_consumer_in_bounded_memory)
{
    struct source source;
    coil_imap *imap;
    int64_t blocks = 0;

    setup(&source, -1);
    imap = start(&source, 5);
    for (int i = 0; i < 10000; i++) {
        void *item;
        int result;

        for (int j = 0; j < 4; j++)
            coil_yield();
        cr_assert_leq(source.fed, i + 5, "one is asked for only when there is room");
        cr_assert_eq(coil_imap_next(imap, &item, &result), 1);
        cr_assert_eq(result, i * 10);
        if (i == 100)
            blocks = coil__alloc_total_count();
    }
    cr_assert_eq(coil__alloc_total_count(), blocks, "nothing was allocated after the warm-up");
    cr_assert_leq(source.active_max, 5);
    coil_imap_close(imap);
    cr_assert_eq(source.freed, source.fed - 10000);
}

FIBER_TEST(imap, with_room_for_one_items_are_worked_on_one_by_one)
{
    struct source source;
    coil_imap *imap;

    setup(&source, 20);
    imap = start(&source, 1);
    for (int i = 0; i < 20; i++)
        expect_item(imap, i, i * 10);
    expect_end(imap, 0);
    cr_assert_eq(source.active_max, 1);
    coil_imap_close(imap);
}

static int feed_from_channel(void *arg, void **ret_item)
{
    return coil_chan_recv(arg, ret_item);
}

static int negate(void *item)
{
    return -*(const int *)item;
}

FIBER_TEST(imap, the_feeder_may_park)
{
    const int numbers[] = {1, 2, 3};
    coil_chan *chan;
    coil_imap *imap;
    void *item;
    int result;

    cr_assert_eq(coil_chan_new(0, sizeof(const int *), &chan), 0);
    cr_assert_eq(coil_imap_new(2, negate, feed_from_channel, chan, NULL, &imap), 0);
    for (int i = 0; i < 3; i++) {
        const int *sent = &numbers[i];

        cr_assert_eq(coil_chan_send(chan, &sent), 0);
        cr_assert_eq(coil_imap_next(imap, &item, &result), 1);
        cr_assert_eq(item, sent);
        cr_assert_eq(result, -numbers[i]);
    }
    coil_chan_close(chan);
    cr_assert_eq(coil_imap_next(imap, &item, NULL), 0);
    coil_imap_close(imap);
    coil_chan_free(chan);
}

/* ---- Interruption ---- */

FIBER_TEST(imap, an_interrupted_consumer_takes_nothing)
{
    struct source source;
    coil_imap *imap;
    coil_scope scope;
    coil_fiber *consumer;
    void *item = NULL;

    setup(&source, 2);
    source.is_gated = true;
    imap = start(&source, 2);
    coil_scope_enter(&scope, COIL_MS(1));
    cr_assert_eq(coil_imap_next(imap, &item, NULL), -ETIMEDOUT);
    cr_assert(coil_scope_leave(&scope));
    consumer = spawn_until_parked(take_first, imap);
    coil_cancel(consumer);
    cr_assert_eq(join_and_drop(consumer), -ECANCELED);

    for (int i = 0; i < 2; i++) {
        cr_assert_eq(coil_event_set(&source.items[i].may_end, NULL), 0);
        expect_item(imap, i, i * 10);
    }
    expect_end(imap, 0);
    coil_imap_close(imap);
}

FIBER_TEST(imap, an_expired_scope_takes_nothing_be_it_ready)
{
    struct source source;
    coil_imap *imap;
    coil_scope scope;
    void *item = NULL;

    setup(&source, 1);
    imap = start(&source, 2);
    while (source.ended < 1)
        coil_yield();
    coil_scope_enter(&scope, 0);
    cr_assert_eq(coil_imap_next(imap, &item, NULL), -ETIMEDOUT);
    cr_assert(coil_scope_leave(&scope));
    expect_item(imap, 0, 0);
    expect_end(imap, 0);
    coil_imap_close(imap);
}

FIBER_TEST(imap, an_item_that_was_ready_before_the_cancellation_is_delivered)
{
    struct source source;
    coil_imap *imap;
    coil_fiber *consumer;

    setup(&source, 1);
    source.is_gated = true;
    imap = start(&source, 2);
    consumer = spawn_until_parked(take_first, imap);
    cr_assert_eq(coil_event_set(&source.items[0].may_end, NULL), 0);
    while (consumer->tcb->state == COIL__FIBER_PARKED)
        coil_yield();
    coil_cancel(consumer);
    cr_assert_eq(join_and_drop(consumer), 0);
    expect_end(imap, 0);
    coil_imap_close(imap);
}

FIBER_TEST(imap, a_second_consumer_is_refused)
{
    struct source source;
    coil_imap *imap;
    coil_fiber *consumer;
    void *item = NULL;

    setup(&source, 2);
    source.is_gated = true;
    imap = start(&source, 2);
    consumer = spawn_until_parked(take_first, imap);
    cr_assert_eq(coil_imap_next(imap, &item, NULL), -EBUSY);
    for (int i = 0; i < 2; i++)
        cr_assert_eq(coil_event_set(&source.items[i].may_end, NULL), 0);
    cr_assert_eq(join_and_drop(consumer), 0);
    expect_item(imap, 1, 10);
    coil_imap_close(imap);
}

/* ---- Closing ---- */

FIBER_TEST(imap, closing_early_cancels_the_rest_and_frees_every_item_left)
{
    for (int taken = 0; taken < 4; taken++) {
        struct source source;
        coil_imap *imap;
        coil_scope expired;

        setup(&source, -1);
        source.is_gated = true;
        for (int i = 0; i < taken; i++)
            cr_assert_eq(coil_event_set(&source.items[i].may_end, NULL), 0);
        imap = start(&source, 4);
        for (int i = 0; i < taken; i++)
            expect_item(imap, i, i * 10);
        coil_scope_enter(&expired, 0);
        coil_imap_close(imap);
        cr_assert_not(coil_scope_leave(&expired), "closing is not interrupted");

        cr_assert_eq(source.started, source.ended);
        cr_assert_eq(source.freed, source.fed - taken);
    }
    coil_imap_close(NULL);
}

FIBER_TEST(imap, closing_at_once_feeds_nothing)
{
    struct source source;

    setup(&source, -1);
    coil_imap_close(start(&source, 4));
    cr_assert_eq(source.fed, 0);
}

static int feed_stubbornly(void *arg, void **ret_item)
{
    struct source *source = arg;

    (void)coil_sleep(COIL_SECONDS(60));
    return feed(source, ret_item);
}

FIBER_TEST(imap, an_item_that_a_cancelled_feeder_still_brings_is_freed_unworked)
{
    struct source source;
    coil_imap *imap;

    setup(&source, -1);
    cr_assert_eq(coil_imap_new(4, work, feed_stubbornly, &source, count_freed, &imap), 0);
    coil_yield();
    coil_imap_close(imap);

    cr_assert_eq(source.fed, 1);
    cr_assert_eq(source.started, 0);
    cr_assert_eq(source.freed, 1);
}

static int clean_up_slowly(void *arg)
{
    struct item *item = arg;
    coil_scope shield;

    item->source->started++;
    (void)coil_sleep(COIL_SECONDS(60));
    coil_scope_enter_shield(&shield, COIL_NEVER);
    (void)coil_sleep(COIL_MS(2));
    (void)coil_scope_leave(&shield);
    item->source->ended++;
    return -ECANCELED;
}

FIBER_TEST(imap, closing_waits_for_workers_that_clean_up_in_a_shield)
{
    struct source source;
    coil_imap *imap;

    setup(&source, 3);
    cr_assert_eq(coil_imap_new(4, clean_up_slowly, feed, &source, count_freed, &imap), 0);
    while (source.started < 3)
        coil_yield();
    coil_imap_close(imap);
    cr_assert_eq(source.ended, 3);
    cr_assert_eq(source.freed, 3);
}

static int sleep_long(void *arg)
{
    (void)arg;
    return coil_sleep(COIL_MS(1));
}

FIBER_TEST(imap, closing_cancels_nobody_else_who_came_after_a_worker_that_ended)
{
    struct source source;
    coil_imap *imap;
    coil_fiber *bystanders[3];

    setup(&source, 3);
    imap = start(&source, 4);
    while (source.ended < 3)
        coil_yield();
    for (int i = 0; i < 3; i++) /* in the memory of the workers' handles */
        bystanders[i] = spawn_until_parked(sleep_long, NULL);
    coil_imap_close(imap);

    cr_assert_eq(source.freed, 3);
    for (int i = 0; i < 3; i++)
        cr_assert_eq(join_and_drop(bystanders[i]), 0);
}

/* ---- Limits and memory ---- */

FIBER_TEST_WITH(imap, an_item_without_a_worker_says_why_at_its_place,
                (&(coil_options){.size = sizeof(coil_options), .fibers_max = 3}))
{
    struct source source;
    coil_imap *imap;

    setup(&source, 3);
    source.is_gated = true;
    imap = start(&source, 3);
    while (source.fed < 3)
        coil_yield();
    cr_assert_eq(coil_event_set(&source.items[0].may_end, NULL), 0);
    expect_item(imap, 0, 0);
    expect_item(imap, 1, -EAGAIN);
    expect_item(imap, 2, -EAGAIN);
    expect_end(imap, 0);
    coil_imap_close(imap);
}

FIBER_TEST_WITH(imap, a_waiting_consumer_gets_an_item_without_a_worker_while_the_feeder_parks,
                (&(coil_options){.size = sizeof(coil_options), .fibers_max = 2}))
{
    int number = 1;
    int *sent = &number;
    coil_chan *chan;
    coil_imap *imap;
    void *item;
    int result = 0;

    cr_assert_eq(coil_chan_new(1, sizeof sent, &chan), 0);
    cr_assert_eq(coil_chan_try_send(chan, &sent), 0);
    cr_assert_eq(coil_imap_new(2, negate, feed_from_channel, chan, NULL, &imap), 0);
    cr_assert_eq(coil_imap_next(imap, &item, &result), 1);
    cr_assert_eq(item, &number);
    cr_assert_eq(result, -EAGAIN);
    coil_imap_close(imap);
    coil_chan_free(chan);
}

FIBER_TEST_WITH(imap, without_a_feeder_there_is_no_imap,
                (&(coil_options){.size = sizeof(coil_options), .fibers_max = 1}))
{
    struct source source;
    coil_imap *imap = NULL;

    setup(&source, 3);
    cr_assert_eq(coil_imap_new(2, work, feed, &source, NULL, &imap), -EAGAIN);
    cr_assert_eq(coil_imap_new(0, work, feed, &source, NULL, &imap), -EINVAL);
    cr_assert_null(imap);
}

/* Runs a whole imap with the n-th and all later allocations failing; the first error, or 0. */
static int run_short_of_memory(int64_t n, struct source *source)
{
    coil_imap *imap;
    int first_error = 0;
    int taken = 0;
    int got;
    int result = 0;
    void *item;

    setup(source, 40);
    coil__alloc_fail_after(n);
    got = coil_imap_new(40, work, feed, source, count_freed, &imap);
    if (got < 0)
        return got;
    for (got = coil_imap_next(imap, &item, &result); got > 0;
         got = coil_imap_next(imap, &item, &result)) {
        cr_assert_eq(((struct item *)item)->index, taken++);
        if (result < 0 && first_error == 0)
            first_error = result;
    }
    coil__alloc_fail_after(-1);
    coil_imap_close(imap);
    cr_assert_eq(taken, source->fed, "each item that was fed came out");
    return first_error < 0 ? first_error : got;
}

FIBER_TEST(imap, when_any_allocation_fails_the_consumer_is_told_and_nothing_leaks)
{
    struct source source;
    int failures = 0;

    while (run_short_of_memory(failures, &source) < 0) {
        coil__alloc_fail_after(-1);
        failures++;
    }
    coil__alloc_fail_after(-1);
    cr_assert_eq(source.fed, 40);
    cr_assert_geq(failures, 3, "the imap and two chunks of elements");
}

/* SPDX-License-Identifier: MIT */
/* coil_imap without order: items come as they are done; bounds, errors and close as with order. */
#include <signal.h>

#include "base/alloc.h"
#include "support/child.h"
#include "support/fiber_test.h"

enum {
    ITEMS = 8,
};

struct item {
    int index;
    coil_event may_end;
};

struct source {
    struct item items[ITEMS];
    int count;
    int fed;
    int end_result;
    int freed;
};

static struct source source;

static int feed(void *arg, void **ret_item)
{
    (void)arg;
    if (source.fed == source.count)
        return source.end_result;
    *ret_item = &source.items[source.fed++];
    return 1;
}

static int work(void *arg)
{
    struct item *item = arg;
    const int result = coil_event_wait(&item->may_end, NULL);

    return result < 0 ? result : item->index;
}

static void count_freed(void *item)
{
    (void)item;
    source.freed++;
}

static coil_imap *start(int count, size_t size)
{
    coil_imap *imap = NULL;

    source = (struct source){.count = count};
    for (int i = 0; i < ITEMS; i++) {
        source.items[i].index = i;
        coil_event_init(&source.items[i].may_end);
    }
    cr_assert_eq(coil_imap_new_unordered(size, work, feed, NULL, count_freed, &imap), 0);
    return imap;
}

static void let_end(int index)
{
    cr_assert_eq(coil_event_set(&source.items[index].may_end, NULL), 0);
}

static void expect_item(coil_imap *imap, int index, int result)
{
    void *item = NULL;
    int seen = INT32_MIN;

    cr_assert_eq(coil_imap_next(imap, &item, &seen), 1);
    cr_assert_eq(item, &source.items[index]);
    cr_assert_eq(seen, result);
}

FIBER_TEST(imap_unordered, items_come_in_the_order_in_which_they_are_done)
{
    static const int order[ITEMS] = {5, 0, 7, 1, 6, 2, 4, 3};
    coil_imap *imap = start(ITEMS, ITEMS);
    void *item;

    while (source.fed < ITEMS)
        coil_yield();
    for (int i = 0; i < ITEMS; i++) {
        let_end(order[i]);
        coil_yield();
    }
    for (int i = 0; i < ITEMS; i++)
        expect_item(imap, order[i], order[i]);
    cr_assert_eq(coil_imap_next(imap, &item, NULL), 0);

    coil_imap_close(imap);
    cr_assert_eq(source.freed, 0);
}

static int take(void *arg)
{
    void *item;
    int result = -1;
    const int got = coil_imap_next(arg, &item, &result);

    return got == 1 ? result : got;
}

FIBER_TEST(imap_unordered, a_waiting_consumer_gets_the_first_that_is_done_be_it_the_last_fed)
{
    coil_imap *imap = start(3, 3);
    coil_fiber *consumer = spawn_until_parked(take, imap);

    let_end(2);
    cr_assert_eq(join_and_drop(consumer), 2);

    coil_imap_close(imap);
    cr_assert_eq(source.freed, 2);
}

FIBER_TEST(imap_unordered, items_done_and_not_taken_count_so_the_input_waits)
{
    coil_imap *imap = start(ITEMS, 2);

    while (source.fed < 2)
        coil_yield();
    let_end(0);
    let_end(1);
    for (int i = 0; i < ITEMS; i++)
        coil_yield();
    cr_assert_eq(source.fed, 2);
    expect_item(imap, 0, 0);
    for (int i = 0; i < ITEMS; i++)
        coil_yield();
    cr_assert_eq(source.fed, 3);

    coil_imap_close(imap);
    cr_assert_eq(source.freed, 2);
}

FIBER_TEST(imap_unordered, the_end_and_a_feeders_error_wait_for_items_under_way)
{
    coil_imap *imap = start(2, ITEMS);
    coil_fiber *consumer;
    void *item;

    source.end_result = -EPROTO;
    while (source.fed < 2)
        coil_yield();
    let_end(1);
    expect_item(imap, 1, 1);
    consumer = spawn_until_parked(take, imap);
    cr_assert_eq(consumer->tcb->state, COIL__FIBER_PARKED, "one item is under way");
    let_end(0);
    cr_assert_eq(join_and_drop(consumer), 0);
    cr_assert_eq(coil_imap_next(imap, &item, NULL), -EPROTO);

    coil_imap_close(imap);
}

FIBER_TEST(imap_unordered, closing_frees_items_that_are_done_and_those_that_are_not)
{
    coil_imap *imap = start(4, 4);

    while (source.fed < 4)
        coil_yield();
    let_end(3);
    coil_yield();
    coil_imap_close(imap);

    cr_assert_eq(source.freed, 4);
}

FIBER_TEST_WITH(imap_unordered, an_item_without_a_worker_comes_when_it_failed,
                (&(coil_options){.size = sizeof(coil_options), .fibers_max = 3}))
{
    coil_imap *imap = start(2, ITEMS);

    while (source.fed < 2)
        coil_yield();
    expect_item(imap, 1, -EAGAIN);
    let_end(0);
    expect_item(imap, 0, 0);

    coil_imap_close(imap);
}

FIBER_TEST(imap_unordered, room_for_none_is_refused)
{
    coil_imap *imap = NULL;

    cr_assert_eq(coil_imap_new_unordered(0, work, feed, NULL, NULL, &imap), -EINVAL);
    cr_assert_null(imap);
}

static coil_imap *closed_from_inside;

static int close_in_worker(void *item)
{
    (void)item;
    coil_imap_close(closed_from_inside);
    return 0;
}

static int feed_and_close(void *arg, void **ret_item)
{
    if (!arg)
        coil_imap_close(closed_from_inside);
    *ret_item = arg;
    return 1;
}

static int close_from_inside(void *arg)
{
    child_check(coil_imap_new_unordered(1, close_in_worker, feed_and_close, arg, NULL,
                                        &closed_from_inside) == 0,
                "no imap\n");
    return coil_sleep(COIL_MS(1));
}

static int run_close_from_inside(void *arg)
{
    return fiber_test_coil_run(close_from_inside, arg, NULL, NULL) == 0;
}

Test(imap_unordered, a_worker_or_feeder_that_closes_it_stops_the_program, .timeout = 60)
{
    int item = 0;
    void *const args[] = {&item, NULL};

    for (int i = 0; i < 2; i++) {
        struct child_end end;

        child_run(run_close_from_inside, args[i], &end);
        cr_assert_eq(end.signal, SIGABRT, "%d %s", end.exit_code, end.output);
        cr_assert_not_null(strstr(end.output, "would wait for itself"), "%s", end.output);
    }
}

static int feed_all(void *arg)
{
    coil_imap **imap = arg;

    cr_assert_eq(coil_imap_new_unordered(ITEMS, work, feed, NULL, NULL, imap), 0);
    for (int i = 0; i < ITEMS; i++)
        cr_assert_eq(coil_event_set(&source.items[i].may_end, NULL), 0);
    while (source.fed < ITEMS)
        coil_yield();
    coil_yield();
    return 0;
}

Test(imap_unordered, one_whose_fibers_have_ended_can_be_closed_after_the_run, .timeout = 60)
{
    coil_imap *imap = NULL;

    source = (struct source){.count = ITEMS};
    for (int i = 0; i < ITEMS; i++)
        coil_event_init(&source.items[i].may_end);
    cr_assert_eq(fiber_test_coil_run(feed_all, &imap, NULL, NULL), 0);
    coil_imap_close(imap);
}

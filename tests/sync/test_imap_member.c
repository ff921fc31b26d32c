/* SPDX-License-Identifier: MIT */
/* coil_imap: its own workers and feeder cannot take from it, those of others can. */
#include "support/fiber_test.h"

static coil_imap *own;
static int taken_by_worker;
static int taken_by_feeder;

static int take_from_own(void *item)
{
    void *other;

    (void)item;
    coil_yield();
    taken_by_worker = coil_imap_next(own, &other, NULL);
    return 0;
}

/* Feeds as many items as *arg says. */
static int feed(void *arg, void **ret_item)
{
    int *left = arg;

    *ret_item = left;
    return (*left)-- > 0 ? 1 : 0;
}

static int take_and_feed(void *arg, void **ret_item)
{
    void *other;

    taken_by_feeder = coil_imap_next(own, &other, NULL);
    return feed(arg, ret_item);
}

FIBER_TEST(imap_member, a_worker_or_the_feeder_cannot_take_what_it_works_on)
{
    int left = 1;
    void *item;

    cr_assert_eq(coil_imap_new(2, take_from_own, take_and_feed, &left, NULL, &own), 0);
    cr_assert_eq(coil_imap_next(own, &item, NULL), 1);
    cr_assert_eq(taken_by_worker, -EDEADLK);
    cr_assert_eq(coil_imap_next(own, &item, NULL), 0);
    cr_assert_eq(taken_by_feeder, -EDEADLK);
    coil_imap_close(own);
}

FIBER_TEST(imap_member, neither_can_while_nobody_waits)
{
    int left = 1;
    void *item;

    taken_by_worker = 0;
    taken_by_feeder = 0;
    cr_assert_eq(coil_imap_new(2, take_from_own, take_and_feed, &left, NULL, &own), 0);
    for (int i = 0; i < 100 && !taken_by_worker; i++)
        coil_yield();
    cr_assert_eq(taken_by_feeder, -EDEADLK);
    cr_assert_eq(taken_by_worker, -EDEADLK);
    cr_assert_eq(coil_imap_next(own, &item, NULL), 1, "the consumer misses nothing");
    cr_assert_eq(coil_imap_next(own, &item, NULL), 0);
    coil_imap_close(own);
}

FIBER_TEST(imap_member, a_worker_of_another_can_take)
{
    coil_imap *other;
    int none = 0;
    int left = 1;
    void *item;

    cr_assert_eq(coil_imap_new(1, take_from_own, feed, &none, NULL, &own), 0);
    cr_assert_eq(coil_imap_new(1, take_from_own, feed, &left, NULL, &other), 0);
    taken_by_worker = -1;
    cr_assert_eq(coil_imap_next(other, &item, NULL), 1);
    cr_assert_eq(taken_by_worker, 0);
    coil_imap_close(other);
    coil_imap_close(own);
}

/* SPDX-License-Identifier: MIT */
/* Piles: results in the order of the spawns, over a pool that several of them may share. */
#include <signal.h>

#include "base/alloc.h"
#include "support/child.h"
#include "support/fiber_test.h"

enum {
    ITEMS = 16,
    PILES = 10,
};

struct item {
    coil_pool *pool; /* spawned into by the call itself, when there is one */
    coil_pile *pile;
    coil_event may_end;
    bool is_gated;
    int result;
    int seen; /* what the call's own waiting returned */
    int *freed;
    int *active;
    int *active_max;
};

static int work(void *arg)
{
    struct item *item = arg;

    if (item->active && ++*item->active > *item->active_max)
        *item->active_max = *item->active;
    if (item->is_gated)
        item->seen = coil_event_wait(&item->may_end, NULL);
    else
        coil_yield();
    if (item->active)
        --*item->active;
    return item->seen < 0 ? item->seen : item->result;
}

static void count_freed(void *arg)
{
    const struct item *item = arg;

    ++*item->freed;
}

struct fixture {
    coil_pool *pool;
    coil_pile *pile;
    struct item items[ITEMS];
    int freed;
};

static void setup(struct fixture *fixture, size_t pool_size, size_t limit)
{
    *fixture = (struct fixture){.pool = NULL};
    cr_assert_eq(coil_pool_new(pool_size, &fixture->pool), 0);
    cr_assert_eq(coil_pile_new(fixture->pool, limit, count_freed, &fixture->pile), 0);
    for (int i = 0; i < ITEMS; i++) {
        fixture->items[i] = (struct item){.result = i, .freed = &fixture->freed};
        coil_event_init(&fixture->items[i].may_end);
    }
}

static void teardown(const struct fixture *fixture)
{
    coil_pile_close(fixture->pile);
    coil_pool_free(fixture->pool);
}

static void expect_item(coil_pile *pile, const struct item *expected, int result)
{
    void *item = NULL;
    int seen = INT32_MIN;

    cr_assert_eq(coil_pile_next(pile, &item, &seen), 1);
    cr_assert_eq(item, expected);
    cr_assert_eq(seen, result);
}

static void expect_end(coil_pile *pile)
{
    void *item = NULL;

    cr_assert_eq(coil_pile_next(pile, &item, NULL), 0);
    cr_assert_null(item, "untouched");
}

FIBER_TEST(pile, results_come_in_the_order_of_the_spawns_when_calls_end_in_reverse)
{
    struct fixture fixture;

    setup(&fixture, ITEMS, 0);
    for (int i = 0; i < ITEMS; i++) {
        fixture.items[i].is_gated = true;
        cr_assert_eq(coil_pile_spawn(fixture.pile, work, &fixture.items[i]), 0);
    }
    for (int i = ITEMS - 1; i >= 0; i--) {
        cr_assert_eq(coil_event_set(&fixture.items[i].may_end, NULL), 0);
        coil_yield();
    }
    for (int i = 0; i < ITEMS; i++)
        expect_item(fixture.pile, &fixture.items[i], i);
    expect_end(fixture.pile);

    teardown(&fixture);
    cr_assert_eq(fixture.freed, 0, "taken items are the taker's");
}

FIBER_TEST(pile, without_spawns_there_is_nothing_to_take)
{
    struct fixture fixture;

    setup(&fixture, 1, 0);
    expect_end(fixture.pile);
    teardown(&fixture);
}

FIBER_TEST(pile, a_failing_call_is_delivered_at_its_place_and_not_reported_elsewhere)
{
    struct fixture fixture;

    setup(&fixture, ITEMS, 0);
    fixture.items[1].result = -EIO;
    for (int i = 0; i < 3; i++)
        cr_assert_eq(coil_pile_spawn(fixture.pile, work, &fixture.items[i]), 0);
    expect_item(fixture.pile, &fixture.items[0], 0);
    expect_item(fixture.pile, &fixture.items[1], -EIO);
    expect_item(fixture.pile, &fixture.items[2], 2);
    expect_end(fixture.pile);
    teardown(&fixture);
}

FIBER_TEST(pile, a_spawn_that_waited_in_vain_for_a_slot_does_not_count)
{
    struct fixture fixture;
    coil_scope scope;

    setup(&fixture, 1, 0);
    fixture.items[0].is_gated = true;
    cr_assert_eq(coil_pile_spawn(fixture.pile, work, &fixture.items[0]), 0);
    coil_scope_enter(&scope, COIL_MS(1));
    cr_assert_eq(coil_pile_spawn(fixture.pile, work, &fixture.items[1]), -ETIMEDOUT);
    cr_assert(coil_scope_leave(&scope));
    cr_assert_eq(coil_event_set(&fixture.items[0].may_end, NULL), 0);

    expect_item(fixture.pile, &fixture.items[0], 0);
    expect_end(fixture.pile);
    teardown(&fixture);
}

struct taking {
    coil_pile *pile;
    void *item;
    int result;
};

static int take_one(void *arg)
{
    struct taking *taking = arg;

    return coil_pile_next(taking->pile, &taking->item, &taking->result);
}

static int spawn_second(void *arg)
{
    struct fixture *fixture = arg;

    return coil_pile_spawn(fixture->pile, work, &fixture->items[1]);
}

FIBER_TEST(pile, a_taker_that_waits_for_a_spawn_that_fails_is_told_that_nothing_is_left)
{
    struct fixture fixture;
    struct taking taking = {.item = NULL};
    coil_fiber *spawner;
    coil_fiber *taker;

    setup(&fixture, 1, 0);
    fixture.items[0].is_gated = true;
    cr_assert_eq(coil_pool_spawn_detached(fixture.pool, work, &fixture.items[0]), 0);
    spawner = spawn_until_parked(spawn_second, &fixture);
    taking.pile = fixture.pile;
    taker = spawn_until_parked(take_one, &taking);
    coil_cancel(spawner);

    cr_assert_eq(join_and_drop(spawner), -ECANCELED);
    cr_assert_eq(join_and_drop(taker), 0);
    cr_assert_eq(coil_event_set(&fixture.items[0].may_end, NULL), 0);
    teardown(&fixture);
}

FIBER_TEST(pile, any_fiber_may_take_but_only_one_at_a_time)
{
    struct fixture fixture;
    struct taking taking = {.item = NULL};
    coil_fiber *taker;
    void *item;

    setup(&fixture, 1, 0);
    fixture.items[0].is_gated = true;
    cr_assert_eq(coil_pile_spawn(fixture.pile, work, &fixture.items[0]), 0);
    taking.pile = fixture.pile;
    taker = spawn_until_parked(take_one, &taking);
    cr_assert_eq(coil_pile_next(fixture.pile, &item, NULL), -EBUSY);
    cr_assert_eq(coil_event_set(&fixture.items[0].may_end, NULL), 0);

    cr_assert_eq(join_and_drop(taker), 1);
    cr_assert_eq(taking.item, &fixture.items[0]);
    teardown(&fixture);
}

static int take_own_result(void *arg)
{
    const struct item *item = arg;
    void *taken = NULL;
    const int result = coil_pile_next(item->pile, &taken, NULL);

    cr_assert_null(taken);
    return result;
}

FIBER_TEST(pile, a_call_cannot_wait_for_its_own_result)
{
    struct fixture fixture;

    setup(&fixture, 1, 0);
    fixture.items[0].pile = fixture.pile;
    cr_assert_eq(coil_pile_spawn(fixture.pile, take_own_result, &fixture.items[0]), 0);
    coil_yield();

    expect_item(fixture.pile, &fixture.items[0], -EDEADLK);
    teardown(&fixture);
}

FIBER_TEST(pile, an_interrupted_taker_takes_nothing)
{
    struct fixture fixture;
    coil_scope scope;
    void *item = NULL;

    setup(&fixture, 1, 0);
    fixture.items[0].is_gated = true;
    cr_assert_eq(coil_pile_spawn(fixture.pile, work, &fixture.items[0]), 0);
    coil_scope_enter(&scope, COIL_MS(1));
    cr_assert_eq(coil_pile_next(fixture.pile, &item, NULL), -ETIMEDOUT);
    cr_assert_eq(coil_event_set(&fixture.items[0].may_end, NULL), 0);
    cr_assert_eq(coil_pile_next(fixture.pile, &item, NULL), -ETIMEDOUT);
    cr_assert(coil_scope_leave(&scope));
    cr_assert_null(item);

    expect_item(fixture.pile, &fixture.items[0], 0);
    teardown(&fixture);
}

FIBER_TEST(pile, at_its_limit_a_spawn_is_refused_until_a_result_is_taken)
{
    struct fixture fixture;

    setup(&fixture, ITEMS, 2);
    for (int i = 0; i < 2; i++)
        cr_assert_eq(coil_pile_spawn(fixture.pile, work, &fixture.items[i]), 0);
    cr_assert_eq(coil_pile_spawn(fixture.pile, work, &fixture.items[2]), -ENOBUFS);
    expect_item(fixture.pile, &fixture.items[0], 0);
    cr_assert_eq(coil_pile_spawn(fixture.pile, work, &fixture.items[2]), 0);
    expect_item(fixture.pile, &fixture.items[1], 1);
    expect_item(fixture.pile, &fixture.items[2], 2);
    teardown(&fixture);
}

struct pile_user {
    coil_pool *pool;
    int *active;
    int *active_max;
};

static int use_pile(void *arg)
{
    const struct pile_user *user = arg;
    struct item items[ITEMS];
    coil_pile *pile;
    int sum = 0;

    cr_assert_eq(coil_pile_new(user->pool, 0, NULL, &pile), 0);
    for (int i = 0; i < ITEMS; i++) {
        items[i] =
            (struct item){.result = i, .active = user->active, .active_max = user->active_max};
        cr_assert_eq(coil_pile_spawn(pile, work, &items[i]), 0);
    }
    for (int i = 0; i < ITEMS; i++) {
        expect_item(pile, &items[i], i);
        sum += i;
    }
    coil_pile_close(pile);
    return sum;
}

FIBER_TEST(pile, many_piles_share_a_pool_of_two_and_none_waits_for_ever)
{
    int active = 0;
    int active_max = 0;
    struct pile_user user = {.active = &active, .active_max = &active_max};
    coil_fiber *users[PILES];

    cr_assert_eq(coil_pool_new(2, &user.pool), 0);
    for (int i = 0; i < PILES; i++)
        cr_assert_eq(coil_spawn(use_pile, &user, &users[i]), 0);
    for (int i = 0; i < PILES; i++)
        cr_assert_eq(join_and_drop(users[i]), ITEMS * (ITEMS - 1) / 2);

    cr_assert_eq(active_max, 2);
    coil_pool_free(user.pool);
}

static int use_pile_in_pool(void *arg)
{
    return use_pile(arg);
}

FIBER_TEST(pile, a_call_may_use_a_pile_over_its_own_full_pool)
{
    int active = 0;
    int active_max = 0;
    struct pile_user user = {.active = &active, .active_max = &active_max};
    coil_fiber *fiber;

    cr_assert_eq(coil_pool_new(1, &user.pool), 0);
    cr_assert_eq(coil_pool_spawn(user.pool, use_pile_in_pool, &user, &fiber), 0);
    cr_assert_eq(join_and_drop(fiber), ITEMS * (ITEMS - 1) / 2);

    coil_pool_free(user.pool);
}

FIBER_TEST(pile, closing_cancels_what_runs_or_has_not_started_and_frees_every_item_left)
{
    struct fixture fixture;

    setup(&fixture, ITEMS, 0);
    for (int i = 0; i < 4; i++) {
        fixture.items[i].is_gated = i > 0;
        cr_assert_eq(coil_pile_spawn(fixture.pile, work, &fixture.items[i]), 0);
    }
    coil_yield();
    coil_yield();
    for (int i = 4; i < 6; i++) {
        fixture.items[i].is_gated = true;
        cr_assert_eq(coil_pile_spawn(fixture.pile, work, &fixture.items[i]), 0);
    }
    coil_pile_close(fixture.pile);

    cr_assert_eq(fixture.freed, 6);
    for (int i = 1; i < 6; i++)
        cr_assert_eq(fixture.items[i].seen, -ECANCELED, "call %d", i);
    cr_assert_eq(coil_pool_running(fixture.pool), 0);
    coil_pool_free(fixture.pool);
}

static int spawn_next_and_work(void *arg)
{
    struct item *item = arg;

    cr_assert_eq(coil_pile_spawn(item->pile, work, item + 1), 0);
    return work(item);
}

FIBER_TEST(pile, closing_cancels_a_call_that_lends_its_slot_to_another)
{
    struct fixture fixture;

    setup(&fixture, 1, 0);
    fixture.items[0].pile = fixture.pile;
    for (int i = 0; i < 2; i++)
        fixture.items[i].is_gated = true;
    cr_assert_eq(coil_pile_spawn(fixture.pile, spawn_next_and_work, &fixture.items[0]), 0);
    coil_yield();
    coil_yield();
    coil_pile_close(fixture.pile);

    cr_assert_eq(fixture.freed, 2);
    for (int i = 0; i < 2; i++)
        cr_assert_eq(fixture.items[i].seen, -ECANCELED, "call %d", i);
    coil_pool_free(fixture.pool);
}

static int close_own_pile(void *arg)
{
    const struct item *item = arg;

    coil_pile_close(item->pile);
    return 0;
}

static int call_that_closes(void *arg)
{
    coil_pool *pool;
    struct item item = {.result = 0};

    (void)arg;
    child_check(coil_pool_new(1, &pool) == 0, "no pool\n");
    child_check(coil_pile_new(pool, 0, NULL, &item.pile) == 0, "no pile\n");
    child_check(coil_pile_spawn(item.pile, close_own_pile, &item) == 0, "no call\n");
    return coil_pool_wait(pool);
}

static int run_call_that_closes(void *arg)
{
    return fiber_test_coil_run(call_that_closes, arg, NULL, NULL) == 0;
}

Test(pile, a_call_that_closes_its_own_pile_stops_the_program, .timeout = 60)
{
    struct child_end end;

    child_run(run_call_that_closes, NULL, &end);

    cr_assert_eq(end.signal, SIGABRT, "%d %s", end.exit_code, end.output);
    cr_assert_not_null(strstr(end.output, "a call would wait for itself"), "%s", end.output);
}

FIBER_TEST(pile, when_any_allocation_fails_the_call_says_so_and_nothing_leaks)
{
    struct item item = {.result = 3};
    int result = -ENOMEM;

    for (int64_t after = 0; result < 0; after++) {
        coil_pool *pool;
        coil_pile *pile = NULL;

        cr_assert_eq(coil_pool_new(1, &pool), 0);
        coil__alloc_fail_after(after);
        result = coil_pile_new(pool, 0, NULL, &pile);
        if (result == 0)
            result = coil_pile_spawn(pile, work, &item);
        coil__alloc_fail_after(-1);
        if (result == 0)
            expect_item(pile, &item, 3);
        else
            cr_assert_eq(result, -ENOMEM);
        coil_pile_close(pile);
        coil_pool_free(pool);
    }
}

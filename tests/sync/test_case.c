/* SPDX-License-Identifier: MIT */
/* The cases of coil_select that are no channels: each gives what its own parking call would. */
#include "sync/select_fixture.h"

#include "core/waitq.h"

/* ---- Other things than channels ---- */

FIBER_TEST(case, an_event_gives_its_value_or_its_error_and_keeps_neither)
{
    coil_event event;
    int thing;
    void *value = NULL;
    coil_case cases[] = {coil_case_none(), coil_case_event(&event, &value)};
    struct selector selector = {.count = 2};
    coil_fiber *fiber;

    coil_event_init(&event);
    memcpy(selector.cases, cases, sizeof cases);
    fiber = spawn_until_parked(select_one, &selector);
    cr_assert_eq(coil_event_set(&event, &thing), 0);
    coil_event_reset(&event);
    cr_assert_eq(join_and_drop(fiber), 1);
    cr_assert_eq(selector.cases[1].result, 0);
    cr_assert_eq(value, &thing, "handed over before the reset");

    value = &event;
    fiber = spawn_until_parked(select_one, &selector);
    cr_assert_eq(coil_event_fail(&event, -EAGAIN), 0);
    cr_assert_eq(join_and_drop(fiber), 1);
    cr_assert_eq(selector.cases[1].result, -EAGAIN, "a result, whatever its number");
    cr_assert_eq(coil_select(cases, 2), 1);
    cr_assert_eq(cases[1].result, -EAGAIN, "the same when it has happened already");
    cr_assert_eq(value, &event, "untouched");

    coil_event_reset(&event);
    cr_assert_eq(coil_event_set(&event, &thing), 0);
    cr_assert_eq(coil_select(cases, 2), 1);
    cr_assert_eq(value, &thing, "looked up when it has happened already");
    cases[1] = coil_case_event(&event, NULL);
    cr_assert_eq(coil_select(cases, 2), 1);
    cr_assert_eq(cases[1].result, 0);
}

FIBER_TEST(case, a_permit_is_handed_over_once_and_an_interruption_takes_none)
{
    coil_sem sems[2];
    struct selector selector = {.count = 2};
    coil_fiber *fiber;

    for (int i = 0; i < 2; i++) {
        coil_sem_init(&sems[i], 0);
        selector.cases[i] = coil_case_acquire(&sems[i]);
    }
    fiber = spawn_until_parked(select_one, &selector);
    cr_assert_eq(coil_sem_balance(&sems[0]), -1);
    coil_sem_release(&sems[1]);
    coil_sem_release(&sems[0]);
    cr_assert_eq(join_and_drop(fiber), 1);
    cr_assert_eq(coil_sem_balance(&sems[0]), 1);
    cr_assert_eq(coil_sem_balance(&sems[1]), 0);
    cr_assert_eq(coil_select(selector.cases, 2), 0, "a free permit is taken at once");
    cr_assert_eq(coil_sem_balance(&sems[0]), 0);

    fiber = spawn_until_parked(select_one, &selector);
    coil_cancel(fiber);
    coil_sem_release(&sems[0]);
    cr_assert_eq(join_and_drop(fiber), -ECANCELED);
    cr_assert_eq(coil_sem_balance(&sems[0]), 1);
}

static int return_it(void *arg)
{
    return *(int *)arg;
}

static int wait_for_event(void *arg)
{
    return coil_event_wait(arg, NULL);
}

FIBER_TEST(case, the_end_of_a_fiber_gives_its_result)
{
    coil_event event;
    int results[2] = {77, 77};
    int seven = 7;
    struct selector selector = {.count = 2};
    coil_fiber *ended;
    coil_fiber *waiting;
    coil_fiber *fiber;

    coil_event_init(&event);
    cr_assert_eq(coil_spawn(return_it, &seven, &ended), 0);
    waiting = spawn_until_parked(wait_for_event, &event);
    selector.cases[0] = coil_case_join(waiting, &results[0]);
    selector.cases[1] = coil_case_join(ended, &results[1]);
    cr_assert_eq(coil_select(selector.cases, 2), 1);
    cr_assert_eq(selector.cases[1].result, 0);
    cr_assert_eq(results[1], 7);

    selector.count = 1;
    fiber = spawn_until_parked(select_one, &selector);
    cr_assert_eq(*fiber->tcb->waiter->owner, waiting, "for the report of deadlocks");
    cr_assert_eq(coil_event_fail(&event, -EIO), 0);
    cr_assert_eq(join_and_drop(fiber), 0);
    cr_assert_eq(selector.cases[0].result, 0);
    cr_assert_eq(results[0], -EIO, "the fiber's result is not the status");
    selector.cases[0] = coil_case_join(waiting, NULL);
    cr_assert_eq(coil_select(selector.cases, 1), 0);
    selector.cases[0] = coil_case_join(coil_self(), &results[0]);
    cr_assert_eq(coil_select(selector.cases, 1), 0);
    cr_assert_eq(selector.cases[0].result, -EDEADLK);
    coil_fiber_unref(ended);
    coil_fiber_unref(waiting);
}

/* ---- Time ---- */

FIBER_TEST(case, the_first_of_several_times_ends_the_wait_and_runs_anew_each_call)
{
    coil_chan *chan = new_chan(1);
    struct selector selector = {.count = 0};

    add_recv(&selector, chan);
    selector.cases[1] = coil_case_after(COIL_SECONDS(600));
    selector.cases[2] = coil_case_after(COIL_MS(2));
    selector.cases[3] = coil_case_after(COIL_NEVER);
    for (int i = 0; i < 2; i++) {
        const int64_t start = coil_now();

        cr_assert_eq(coil_select(selector.cases, 4), 2);
        cr_assert_geq(coil_now() - start, COIL_MS(2));
        cr_assert_eq(coil_chan_receiving(chan), 0);
    }
    send_now(chan, 1);
    cr_assert_eq(coil_select(selector.cases, 4), 0);
    cr_assert_eq(coil_try_select(selector.cases, 4), -EAGAIN, "the time has not passed again");
    coil_chan_free(chan);
}

FIBER_TEST(case, no_time_at_all_is_the_otherwise_of_the_cases_before_it)
{
    coil_chan *chan = new_chan(1);
    struct selector selector = {.count = 0};

    add_recv(&selector, chan);
    selector.cases[1] = coil_case_after(0);
    selector.cases[2] = coil_case_after(-1);
    cr_assert_eq(coil_select(selector.cases, 3), 1);
    cr_assert_eq(selector.cases[1].result, 0);
    send_now(chan, 1);
    cr_assert_eq(coil_select(selector.cases, 3), 0);
    coil_chan_free(chan);
}

struct delivery {
    struct coil__timer timer;
    coil_chan *chan;
    int item;
    int result;
};

static void deliver(struct coil__timer *timer)
{
    struct delivery *delivery = container_of(timer, struct delivery, timer);
    coil_case sending = coil_case_send(delivery->chan, &delivery->item);

    delivery->result = coil_try_select(&sending, 1);
}

FIBER_TEST(case, a_callback_outside_of_fibers_may_try_to_select)
{
    struct delivery delivery = {.timer = {.fire = deliver}, .chan = new_chan(0), .item = 6};
    struct selector selector = {.count = 0};

    delivery.result = -1;
    add_recv(&selector, delivery.chan);
    selector.cases[1] = coil_case_after(COIL_SECONDS(600));
    coil__timer_arm(&coil__sched()->timers, &delivery.timer, 0);
    cr_assert_eq(coil_select(selector.cases, 2), 0);
    cr_assert_eq(selector.items[0], 6);
    cr_assert_eq(delivery.result, 0);
    coil_chan_free(delivery.chan);
}

FIBER_TEST(case, a_time_and_an_item_that_are_due_together_are_one_of_them)
{
    struct delivery delivery = {.timer = {.fire = deliver}, .chan = new_chan(1), .item = 6};
    struct selector selector = {.count = 0};

    add_recv(&selector, delivery.chan);
    selector.cases[1] = coil_case_after(COIL_MS(1));
    for (int i = 0; i < 2; i++) {
        /* The first time the item comes first, the second time it finds nobody any more. */
        const int64_t due = coil__clock_deadline(COIL_MS(1));
        const int64_t begin = i == 0 ? due - COIL_US(900) : due + COIL_US(900);
        int index;

        coil__timer_arm(&coil__sched()->timers, &delivery.timer, begin);
        index = coil_select(selector.cases, 2);
        while (coil__heap_has(&delivery.timer.node))
            coil_yield();
        cr_assert_eq(coil_chan_len(delivery.chan), index == 0 ? 0 : 1);
        if (index == 1)
            cr_assert_eq(receive_now(delivery.chan), 6);
    }
    coil_chan_free(delivery.chan);
}

/* ---- Flags, locks and counts ---- */

FIBER_TEST(case, a_flag_that_is_set_lets_the_select_go_also_when_it_is_cleared_again)
{
    coil_flag flag;
    struct selector selector = {.count = 1};
    coil_fiber *fiber;

    coil_flag_init(&flag);
    selector.cases[0] = coil_case_flag(&flag);
    fiber = spawn_until_parked(select_one, &selector);
    coil_flag_set(&flag);
    coil_flag_clear(&flag);
    cr_assert_eq(join_and_drop(fiber), 0);
    cr_assert_eq(coil_try_select(selector.cases, 1), -EAGAIN);
    coil_flag_set(&flag);
    cr_assert_eq(coil_select(selector.cases, 1), 0);
    cr_assert_eq(selector.cases[0].result, 0);
}

struct locking {
    coil_mutex *mutexes;
    int index;
};

static int lock_one(void *arg)
{
    struct locking *locking = arg;
    coil_case cases[] = {coil_case_lock(&locking->mutexes[0]),
                         coil_case_lock(&locking->mutexes[1])};

    locking->index = coil_select(cases, 2);
    if (locking->index < 0)
        return locking->index;
    cr_assert_eq(cases[locking->index].result, 0);
    cr_assert_eq(coil_mutex_owner(&locking->mutexes[locking->index]), coil_self());
    return coil_mutex_unlock(&locking->mutexes[locking->index]);
}

FIBER_TEST(case, one_lock_of_several_is_handed_over_and_no_other)
{
    coil_mutex mutexes[2];
    struct locking locking = {.mutexes = mutexes};
    coil_case own;
    coil_fiber *fiber;

    for (int i = 0; i < 2; i++) {
        coil_mutex_init(&mutexes[i]);
        cr_assert_eq(coil_mutex_lock(&mutexes[i]), 0);
    }
    own = coil_case_lock(&mutexes[0]);
    cr_assert_eq(coil_select(&own, 1), 0);
    cr_assert_eq(own.result, -EDEADLK);

    fiber = spawn_until_parked(lock_one, &locking);
    cr_assert_eq(*fiber->tcb->waiter->owner, coil_self(), "for the report of deadlocks");
    cr_assert_eq(coil_mutex_unlock(&mutexes[1]), 0);
    cr_assert_eq(coil_mutex_owner(&mutexes[1]), fiber);
    cr_assert_eq(coil_mutex_unlock(&mutexes[0]), 0);
    cr_assert_null(coil_mutex_owner(&mutexes[0]), "nobody waits for it any more");
    cr_assert_eq(join_and_drop(fiber), 0);
    cr_assert_eq(locking.index, 1);

    cr_assert_eq(coil_mutex_lock(&mutexes[0]), 0);
    fiber = spawn_until_parked(lock_one, &locking);
    cr_assert_eq(join_and_drop(fiber), 0, "a free one is taken at once");
    cr_assert_eq(locking.index, 1);
    cr_assert_eq(coil_mutex_unlock(&mutexes[0]), 0);
}

FIBER_TEST(case, a_capped_semaphore_takes_and_gives_permits_and_never_pairs_with_itself)
{
    coil_capped_sem sem;
    struct selector selector = {.count = 2};
    coil_fiber *fiber;

    coil_capped_sem_init(&sem, 0, 0);
    selector.cases[0] = coil_case_capped_acquire(&sem);
    selector.cases[1] = coil_case_capped_release(&sem);
    fiber = spawn_until_parked(select_one, &selector);
    cr_assert_not_null(fiber->tcb);
    cr_assert_eq(coil_capped_sem_try_release(&sem), 0);
    cr_assert_eq(join_and_drop(fiber), 0);
    fiber = spawn_until_parked(select_one, &selector);
    cr_assert_eq(coil_capped_sem_try_acquire(&sem), 0);
    cr_assert_eq(join_and_drop(fiber), 1);
    cr_assert_eq(coil_capped_sem_balance(&sem), 0);

    coil_capped_sem_init(&sem, 1, 1);
    cr_assert_eq(coil_select(selector.cases, 2), 0);
    cr_assert_eq(coil_select(selector.cases + 1, 1), 0);
    cr_assert_eq(coil_capped_sem_balance(&sem), 1);
}

FIBER_TEST(case, a_wait_group_that_is_done_lets_the_select_go)
{
    coil_waitgroup group;
    struct selector selector = {.count = 1};
    coil_fiber *fiber;

    coil_waitgroup_init(&group);
    selector.cases[0] = coil_case_waitgroup(&group);
    cr_assert_eq(coil_select(selector.cases, 1), 0);
    coil_waitgroup_add(&group, 2);
    fiber = spawn_until_parked(select_one, &selector);
    coil_waitgroup_done(&group);
    cr_assert_eq(coil_try_select(selector.cases, 1), -EAGAIN);
    coil_yield();
    cr_assert_not_null(fiber->tcb);
    coil_waitgroup_done(&group);
    cr_assert_eq(join_and_drop(fiber), 0);
    cr_assert_eq(selector.cases[0].result, 0);
}

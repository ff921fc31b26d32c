/* SPDX-License-Identifier: MIT */
/* coil_barrier: all parties pass together, one of them is told, who leaves gives its place back. */
#include "core/waitq.h"
#include "support/fiber_test.h"

struct party {
    coil_barrier *barrier;
    char *log;
    char name;
};

static int arrive(void *arg)
{
    const struct party *party = arg;
    const int result = coil_barrier_wait(party->barrier);

    strncat(party->log, &party->name, 1);
    return result;
}

FIBER_TEST(barrier, the_last_party_lets_the_others_go_in_order_and_is_the_one_that_is_told)
{
    coil_barrier barrier;
    char log[4] = "";
    struct party parties[] = {{&barrier, log, 'a'}, {&barrier, log, 'b'}, {&barrier, log, 'c'}};
    coil_fiber *fibers[3];

    coil_barrier_init(&barrier, 4);
    for (int i = 0; i < 3; i++) {
        cr_assert_eq(coil_barrier_waiting(&barrier), (unsigned)i);
        fibers[i] = spawn_until_parked(arrive, &parties[i]);
    }
    cr_assert_str_eq(log, "");
    cr_assert_eq(coil_barrier_wait(&barrier), 1);
    cr_assert_str_eq(log, "", "the last one must not switch");
    cr_assert_eq(coil_barrier_waiting(&barrier), 0);
    memset(&barrier, 0xff, sizeof barrier);
    for (int i = 0; i < 3; i++)
        cr_assert_eq(join_and_drop(fibers[i]), 0);

    cr_assert_str_eq(log, "abc");
}

struct runner {
    coil_barrier *barrier;
    int *rounds; /* of each runner */
    int me;
    int told;
};

enum {
    RUNNERS = 3,
    ROUNDS = 50,
};

static int run_rounds(void *arg)
{
    struct runner *runner = arg;

    for (int round = 0; round < ROUNDS; round++) {
        int result;

        runner->rounds[runner->me] = round;
        for (int i = 0; i < runner->me; i++)
            coil_yield();
        result = coil_barrier_wait(runner->barrier);
        cr_assert_geq(result, 0);
        runner->told += result;
        for (int i = 0; i < RUNNERS; i++)
            cr_assert_geq(runner->rounds[i], round, "nobody is a round behind");
    }
    return 0;
}

FIBER_TEST(barrier, it_serves_round_after_round_also_those_who_come_back_at_once)
{
    coil_barrier barrier;
    int rounds[RUNNERS] = {0};
    struct runner runners[RUNNERS];
    coil_fiber *fibers[RUNNERS];
    int told = 0;

    coil_barrier_init(&barrier, RUNNERS);
    for (int i = 0; i < RUNNERS; i++) {
        runners[i] = (struct runner){.barrier = &barrier, .rounds = rounds, .me = i};
        fibers[i] = spawn_until_parked(run_rounds, &runners[i]);
    }
    for (int i = 0; i < RUNNERS; i++) {
        cr_assert_eq(join_and_drop(fibers[i]), 0);
        told += runners[i].told;
    }

    cr_assert_eq(told, ROUNDS);
}

FIBER_TEST(barrier, one_party_passes_alone)
{
    coil_barrier barrier;

    coil_barrier_init(&barrier, 1);
    cr_assert_eq(coil_barrier_wait(&barrier), 1);
    cr_assert_eq(coil_barrier_wait(&barrier), 1);
}

FIBER_TEST(barrier, a_cancelled_partys_place_is_free_again_at_once)
{
    coil_barrier barrier;
    char log[4] = "";
    struct party parties[] = {{&barrier, log, 'a'}, {&barrier, log, 'b'}, {&barrier, log, 'c'}};
    coil_fiber *fibers[3];

    coil_barrier_init(&barrier, 3);
    for (int i = 0; i < 2; i++)
        fibers[i] = spawn_until_parked(arrive, &parties[i]);
    coil_cancel(fibers[0]);
    cr_assert_eq(coil_barrier_waiting(&barrier), 1, "before it runs");
    fibers[2] = spawn_until_parked(arrive, &parties[2]);
    cr_assert_eq(fibers[2]->tcb->state, COIL__FIBER_PARKED, "two of three");
    cr_assert_eq(coil_barrier_wait(&barrier), 1);

    cr_assert_eq(join_and_drop(fibers[0]), -ECANCELED);
    cr_assert_eq(join_and_drop(fibers[1]), 0);
    cr_assert_eq(join_and_drop(fibers[2]), 0);
}

FIBER_TEST(barrier, a_timeout_leaves_no_trace)
{
    coil_barrier barrier;
    coil_scope scope;
    char log[4] = "";
    struct party party = {&barrier, log, 'a'};
    coil_fiber *fiber;

    coil_barrier_init(&barrier, 2);
    coil_scope_enter(&scope, COIL_MS(1));
    cr_assert_eq(coil_barrier_wait(&barrier), -ETIMEDOUT);
    cr_assert_eq(coil_barrier_wait(&barrier), -ETIMEDOUT, "and does not arrive in it");
    cr_assert(coil_scope_leave(&scope));
    cr_assert_eq(coil_barrier_waiting(&barrier), 0);
    cr_assert(coil__waitq_is_empty(&barrier.waiters));

    fiber = spawn_until_parked(arrive, &party);
    cr_assert_eq(coil_barrier_wait(&barrier), 1);
    cr_assert_eq(join_and_drop(fiber), 0);
}

FIBER_TEST(barrier, a_cancellation_after_the_round_is_complete_changes_nothing)
{
    coil_barrier barrier;
    char log[4] = "";
    struct party party = {&barrier, log, 'a'};
    coil_fiber *fiber;

    coil_barrier_init(&barrier, 2);
    fiber = spawn_until_parked(arrive, &party);
    cr_assert_eq(coil_barrier_wait(&barrier), 1);
    coil_cancel(fiber);

    cr_assert_eq(join_and_drop(fiber), 0);
    cr_assert_eq(coil_barrier_waiting(&barrier), 0);
}

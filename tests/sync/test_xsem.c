/* SPDX-License-Identifier: MIT */
/* coil_xsem: no permit is lost or invented, whoever gives and takes; waiters of all kinds are
 * served in the order of arrival; an interrupted one has taken nothing.
 */
#include <coil/xsem.h>

#include <signal.h>
#include <stdatomic.h>

#include "base/alloc.h"
#include "support/child.h"
#include "sync/cross_fixture.h"

enum {
    WAITERS = 6,
    LAPS = 2000,
};

static int acquire(void *arg)
{
    return coil_xsem_acquire(arg);
}

/* Until so many wait. */
static void until_balance(coil_xsem *sem, int balance)
{
    while (coil_xsem_balance(sem) != balance)
        coil_yield();
}

static coil_xsem *new_sem(unsigned permits)
{
    coil_xsem *sem = NULL;

    cr_assert_eq(coil_xsem_new(permits, &sem), 0);
    return sem;
}

FIBER_TEST(xsem, permits_are_counted)
{
    coil_xsem *sem = new_sem(2);

    cr_assert_eq(coil_xsem_balance(sem), 2);
    cr_assert_eq(coil_xsem_acquire(sem), 0);
    cr_assert_eq(coil_xsem_try_acquire(sem), 0);
    cr_assert_eq(coil_xsem_try_acquire(sem), -EAGAIN);
    coil_xsem_release(sem);
    cr_assert_eq(coil_xsem_balance(sem), 1);
    coil_xsem_free(sem);
    coil_xsem_free(NULL);
}

FIBER_TEST(xsem, the_number_of_permits_has_an_end)
{
    coil_xsem *sem = new_sem(COIL_XSEM_MAX - 1);

    cr_assert_eq(coil_xsem_release(sem), 0);
    cr_assert_eq(coil_xsem_release(sem), -EOVERFLOW);
    cr_assert_eq(coil_xsem_balance(sem), INT32_MAX);
    coil_xsem_free(sem);
}

static int make_with_too_many(void *arg)
{
    coil_xsem *sem;

    (void)arg;
    return coil_xsem_new(COIL_XSEM_MAX + 1, &sem);
}

Test(xsem, more_permits_than_it_can_hold_stop_the_program, .timeout = 60)
{
    struct child_end end;

    child_run(make_with_too_many, NULL, &end);
    cr_assert_eq(end.signal, SIGABRT, "%d %s", end.exit_code, end.output);
    cr_assert_not_null(strstr(end.output, "a balance is an int"), "%s", end.output);
}

struct turn {
    coil_xsem *sem;
    atomic_int *place;
    int taken; /* the place at which it got its permit */
};

static int note_place(void *arg)
{
    struct turn *turn = arg;
    const int result = coil_xsem_acquire(turn->sem);

    turn->taken = atomic_fetch_add(turn->place, 1);
    return result;
}

CROSS_TEST(xsem, waiters_on_all_cores_are_served_in_the_order_of_arrival)
{
    coil_xsem *sem = new_sem(0);
    struct cross crosses[WAITERS];
    struct turn turns[WAITERS];
    atomic_int place = 0;

    for (int i = 0; i < WAITERS; i++) {
        turns[i] = (struct turn){.sem = sem, .place = &place};
        cross_start(&crosses[i], (unsigned)i % CROSS_CORES, note_place, &turns[i]);
        until_balance(sem, -i - 1);
    }
    for (int i = 0; i < WAITERS; i++) {
        coil_xsem_release(sem);
        cr_assert_eq(coil_xsem_try_acquire(sem), -EAGAIN, "it is handed over, not put back");
        cr_assert_eq(cross_join(&crosses[i]), 0);
        cr_assert_eq(turns[i].taken, i);
    }
    coil_xsem_free(sem);
}

CROSS_TEST(xsem, an_interrupted_waiter_takes_nothing)
{
    coil_xsem *sem = new_sem(0);
    struct cross first;
    struct cross second;
    coil_scope scope;

    coil_scope_enter(&scope, COIL_MS(1));
    cr_assert_eq(coil_xsem_acquire(sem), -ETIMEDOUT);
    cr_assert(coil_scope_leave(&scope));

    cross_start(&first, 1, acquire, sem);
    until_balance(sem, -1);
    cross_start(&second, 2, acquire, sem);
    until_balance(sem, -2);
    cross_cancel(&first);
    cr_assert_eq(cross_join(&first), -ECANCELED);
    cr_assert_eq(coil_xsem_balance(sem), -1);
    coil_xsem_release(sem);
    cr_assert_eq(cross_join(&second), 0, "the next one gets it");
    cr_assert_eq(coil_xsem_balance(sem), 0);
    coil_xsem_free(sem);
}

static int acquire_then_sleep(void *arg)
{
    int result = coil_xsem_acquire(arg);

    if (result == 0)
        result = coil_sleep(0) == -ECANCELED ? 7 : 8;
    return result;
}

FIBER_TEST(xsem, a_permit_that_was_handed_over_beats_the_interruption)
{
    coil_xsem *sem = new_sem(0);
    coil_fiber *fiber = spawn_until_parked(acquire_then_sleep, sem);

    coil_xsem_release(sem);
    coil_cancel(fiber);
    cr_assert_eq(join_and_drop(fiber), 7);
    coil_xsem_free(sem);
}

static int release(void *arg)
{
    coil_xsem_release(arg);
    return 0;
}

FIBER_TEST(xsem, a_permit_that_is_on_its_way_from_a_thread_beats_the_interruption)
{
    coil_xsem *sem = new_sem(0);
    coil_fiber *fiber = spawn_until_parked(acquire_then_sleep, sem);
    struct cross thread;

    cross_start_thread(&thread, release, sem);
    cr_assert_eq(cross_join_thread(&thread), 0); /* no turn of the loop meanwhile */
    coil_cancel(fiber);
    cr_assert_eq(join_and_drop(fiber), 7);
    cr_assert_eq(coil_xsem_balance(sem), 0);
    coil_xsem_free(sem);
}

FIBER_TEST(xsem, what_is_due_before_the_call_takes_nothing_either)
{
    coil_xsem *sem = new_sem(1);
    coil_scope scope;

    coil_scope_enter(&scope, 0);
    cr_assert_eq(coil_xsem_acquire(sem), -ETIMEDOUT);
    cr_assert(coil_scope_leave(&scope));
    cr_assert_eq(coil_xsem_balance(sem), 1);
    coil_xsem_free(sem);
}

/* ---- Plain threads ---- */

static int release_and_acquire(void *arg)
{
    coil_xsem **sems = arg;
    int result = 0;

    for (int i = 0; i < LAPS && result == 0; i++) {
        coil_xsem_release(sems[0]);
        result = coil_xsem_acquire(sems[1]);
    }
    return result;
}

FIBER_TEST(xsem, a_thread_without_coil_run_waits_and_is_waited_for)
{
    coil_xsem *sems[2] = {new_sem(0), new_sem(0)};
    struct cross thread;

    cross_start_thread(&thread, release_and_acquire, sems);
    for (int i = 0; i < LAPS; i++) {
        cr_assert_eq(coil_xsem_acquire(sems[0]), 0);
        coil_xsem_release(sems[1]);
    }
    cr_assert_eq(cross_join_thread(&thread), 0);
    coil_xsem_free(sems[0]);
    coil_xsem_free(sems[1]);
}

/* ---- The end ---- */

CROSS_TEST(xsem, freeing_lets_go_of_fibers_and_threads)
{
    coil_xsem *sem = new_sem(0);
    struct cross crosses[CROSS_CORES];
    struct cross thread;

    for (int i = 0; i < CROSS_CORES; i++)
        cross_start(&crosses[i], (unsigned)i, acquire, sem);
    cross_start_thread(&thread, acquire, sem);
    until_balance(sem, -CROSS_CORES - 1);
    coil_xsem_free(sem);
    for (int i = 0; i < CROSS_CORES; i++)
        cr_assert_eq(cross_join(&crosses[i]), -EBADF);
    cr_assert_eq(cross_join_thread(&thread), -EBADF);
}

FIBER_TEST(xsem, without_memory_there_is_none)
{
    coil_xsem *sem = NULL;

    coil__alloc_fail_after(0);
    cr_assert_eq(coil_xsem_new(1, &sem), -ENOMEM);
    coil__alloc_fail_after(-1);
    cr_assert_null(sem);
}

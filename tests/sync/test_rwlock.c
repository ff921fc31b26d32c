/* SPDX-License-Identifier: MIT */
/* coil_rwlock: readers together, writers alone, everybody in the order of arrival. */
#include "core/waitq.h"
#include "support/fiber_test.h"

struct visitor {
    coil_rwlock *lock;
    char *log;
    bool is_writer;
    char name;
};

/* Logs its name when it is in and parks there until it is cancelled. */
static int stay(void *arg)
{
    const struct visitor *visitor = arg;
    int result = visitor->is_writer ? coil_rwlock_lock_write(visitor->lock)
                                    : coil_rwlock_lock_read(visitor->lock);

    if (result < 0)
        return result;
    strncat(visitor->log, &visitor->name, 1);
    result = coil_sleep(COIL_NEVER);
    cr_assert_eq(result, -ECANCELED);
    return coil_rwlock_unlock(visitor->lock);
}

enum {
    VISITORS = 8,
};

struct house {
    coil_rwlock lock;
    char log[VISITORS + 1];
    struct visitor visitors[VISITORS];
    coil_fiber *fibers[VISITORS];
};

/* 'r' and 'w' in `kinds` are readers and writers, who come one after the other. */
static void open_house(struct house *house, const char *kinds)
{
    coil_rwlock_init(&house->lock);
    memset(house->log, 0, sizeof house->log);
    for (int i = 0; kinds[i]; i++) {
        house->visitors[i] =
            (struct visitor){&house->lock, house->log, kinds[i] == 'w', (char)('a' + i)};
        house->fibers[i] = spawn_until_parked(stay, &house->visitors[i]);
    }
}

static void send_away(struct house *house, int visitor, int expected)
{
    coil_cancel(house->fibers[visitor]);
    cr_assert_eq(join_and_drop(house->fibers[visitor]), expected);
    coil_yield();
}

FIBER_TEST(rwlock, readers_are_in_together_and_a_writer_is_alone)
{
    struct house house;

    open_house(&house, "rrw");
    cr_assert_str_eq(house.log, "ab");
    send_away(&house, 0, 0);
    cr_assert_str_eq(house.log, "ab");
    send_away(&house, 1, 0);
    cr_assert_str_eq(house.log, "abc");
    cr_assert_eq(coil_rwlock_try_lock_read(&house.lock), -EAGAIN);
    cr_assert_eq(coil_rwlock_try_lock_write(&house.lock), -EAGAIN);
    send_away(&house, 2, 0);
    cr_assert_eq(coil_rwlock_try_lock_write(&house.lock), 0);
    cr_assert_eq(coil_rwlock_unlock(&house.lock), 0);
}

FIBER_TEST(rwlock, a_waiting_writer_keeps_later_readers_behind_it)
{
    struct house house;

    open_house(&house, "rwrrwr");
    cr_assert_str_eq(house.log, "a");
    cr_assert_eq(coil_rwlock_try_lock_read(&house.lock), -EAGAIN, "nor may one overtake it");
    send_away(&house, 0, 0);
    cr_assert_str_eq(house.log, "ab");
    send_away(&house, 1, 0);
    cr_assert_str_eq(house.log, "abcd", "the readers at the head, together");
    send_away(&house, 2, 0);
    send_away(&house, 3, 0);
    cr_assert_str_eq(house.log, "abcde");
    send_away(&house, 4, 0);
    cr_assert_str_eq(house.log, "abcdef");
    send_away(&house, 5, 0);
}

FIBER_TEST(rwlock, the_lock_is_handed_over_before_anybody_runs)
{
    struct house house;

    open_house(&house, "wrw");
    coil_cancel(house.fibers[0]);
    while (house.lock.readers == 0)
        coil_yield();
    cr_assert_str_eq(house.log, "a", "the reader has it and has not run");
    cr_assert_eq(house.lock.holder, house.fibers[1]);
    send_away(&house, 1, 0);
    cr_assert_eq(join_and_drop(house.fibers[0]), 0);
    send_away(&house, 2, 0);
    cr_assert_str_eq(house.log, "abc");
}

/* ---- Interruptions ---- */

FIBER_TEST(rwlock, an_interrupted_writer_lets_in_the_readers_behind_it_at_once)
{
    struct house house;

    open_house(&house, "rwrrwr");
    coil_cancel(house.fibers[1]);
    cr_assert_eq(house.lock.readers, 3, "before the writer has run");
    cr_assert_eq(join_and_drop(house.fibers[1]), -ECANCELED);
    coil_yield();
    cr_assert_str_eq(house.log, "acd");
    send_away(&house, 4, -ECANCELED);
    cr_assert_str_eq(house.log, "acdf");
    send_away(&house, 0, 0);
    send_away(&house, 2, 0);
    send_away(&house, 3, 0);
    send_away(&house, 5, 0);
    cr_assert_eq(coil_rwlock_try_lock_write(&house.lock), 0);
    cr_assert_eq(coil_rwlock_unlock(&house.lock), 0);
}

FIBER_TEST(rwlock, an_interrupted_waiter_behind_a_writer_changes_nothing)
{
    struct house house;

    open_house(&house, "wwrr");
    send_away(&house, 1, -ECANCELED);
    send_away(&house, 2, -ECANCELED);
    cr_assert_str_eq(house.log, "a");
    send_away(&house, 0, 0);
    cr_assert_str_eq(house.log, "ad");
    send_away(&house, 3, 0);
}

static int lock_for_a_moment(void *arg)
{
    const struct visitor *visitor = arg;
    coil_scope scope;
    int result;

    coil_scope_enter(&scope, COIL_MS(1));
    result = visitor->is_writer ? coil_rwlock_lock_write(visitor->lock)
                                : coil_rwlock_lock_read(visitor->lock);
    return coil_scope_leave(&scope) ? result : 1;
}

FIBER_TEST(rwlock, a_timeout_leaves_no_trace)
{
    for (int is_writer = 0; is_writer < 2; is_writer++) {
        coil_rwlock lock;
        struct visitor visitor = {&lock, NULL, is_writer, 'a'};

        coil_rwlock_init(&lock);
        cr_assert_eq(coil_rwlock_lock_write(&lock), 0);
        cr_assert_eq(join_and_drop(spawn_until_parked(lock_for_a_moment, &visitor)), -ETIMEDOUT);
        cr_assert(coil__waitq_is_empty(&lock.waiters));
        cr_assert_eq(coil_rwlock_unlock(&lock), 0);
        cr_assert_eq(lock.readers, 0);
        cr_assert_null(lock.holder);
    }
}

FIBER_TEST(rwlock, a_lock_handed_over_before_the_cancellation_is_kept)
{
    for (int is_writer = 0; is_writer < 2; is_writer++) {
        coil_rwlock lock;
        char log[4] = "";
        struct visitor visitor = {&lock, log, is_writer, 'a'};
        coil_fiber *fiber;

        coil_rwlock_init(&lock);
        cr_assert_eq(coil_rwlock_lock_write(&lock), 0);
        fiber = spawn_until_parked(stay, &visitor);
        cr_assert_eq(coil_rwlock_unlock(&lock), 0);
        coil_cancel(fiber);
        cr_assert_eq(coil_rwlock_try_lock_write(&lock), -EAGAIN);

        cr_assert_eq(join_and_drop(fiber), 0);
        cr_assert_str_eq(log, "a");
        cr_assert_eq(coil_rwlock_try_lock_write(&lock), 0);
        cr_assert_eq(coil_rwlock_unlock(&lock), 0);
    }
}

FIBER_TEST(rwlock, an_interrupted_waiter_does_not_look_back)
{
    for (int is_writer = 0; is_writer < 2; is_writer++) {
        coil_rwlock lock;
        char log[4] = "";
        struct visitor visitor = {&lock, log, is_writer, 'a'};
        coil_fiber *fiber;

        coil_rwlock_init(&lock);
        cr_assert_eq(coil_rwlock_lock_write(&lock), 0);
        fiber = spawn_until_parked(stay, &visitor);
        coil_cancel(fiber);
        cr_assert_eq(coil_rwlock_unlock(&lock), 0);
        memset(&lock, 0xff, sizeof lock);

        cr_assert_eq(join_and_drop(fiber), -ECANCELED);
    }
}

FIBER_TEST(rwlock, an_expired_scope_refuses_to_lock_but_not_to_unlock)
{
    coil_rwlock lock;
    coil_scope scope;

    coil_rwlock_init(&lock);
    cr_assert_eq(coil_rwlock_lock_read(&lock), 0);
    coil_scope_enter(&scope, 0);
    cr_assert_eq(coil_rwlock_lock_read(&lock), -ETIMEDOUT);
    cr_assert_eq(coil_rwlock_unlock(&lock), 0);
    cr_assert_eq(coil_rwlock_lock_write(&lock), -ETIMEDOUT);
    cr_assert(coil_scope_leave(&scope));
    cr_assert_eq(lock.readers, 0);
}

/* ---- Trying, misuse, downgrade ---- */

FIBER_TEST(rwlock, trying_takes_what_is_free)
{
    coil_rwlock lock;

    coil_rwlock_init(&lock);
    cr_assert_eq(coil_rwlock_try_lock_read(&lock), 0);
    cr_assert_eq(coil_rwlock_try_lock_read(&lock), 0, "twice, unlocked twice");
    cr_assert_eq(coil_rwlock_try_lock_write(&lock), -EAGAIN);
    cr_assert_eq(coil_rwlock_unlock(&lock), 0);
    cr_assert_eq(coil_rwlock_try_lock_write(&lock), -EAGAIN);
    cr_assert_eq(coil_rwlock_unlock(&lock), 0);
    cr_assert_eq(coil_rwlock_try_lock_write(&lock), 0);
    cr_assert_eq(coil_rwlock_try_lock_write(&lock), -EAGAIN);
    cr_assert_eq(coil_rwlock_try_lock_read(&lock), -EAGAIN);
    cr_assert_eq(coil_rwlock_unlock(&lock), 0);
}

FIBER_TEST(rwlock, an_upgrade_and_other_known_deadlocks_are_refused)
{
    struct house house;

    coil_rwlock_init(&house.lock);
    cr_assert_eq(coil_rwlock_lock_write(&house.lock), 0);
    cr_assert_eq(coil_rwlock_lock_write(&house.lock), -EDEADLK);
    cr_assert_eq(coil_rwlock_lock_read(&house.lock), -EDEADLK);
    cr_assert_eq(coil_rwlock_unlock(&house.lock), 0);

    cr_assert_eq(coil_rwlock_lock_read(&house.lock), 0);
    cr_assert_eq(coil_rwlock_lock_write(&house.lock), -EDEADLK, "an upgrade");
    house.visitors[0] = (struct visitor){&house.lock, house.log, true, 'a'};
    memset(house.log, 0, sizeof house.log);
    house.fibers[0] = spawn_until_parked(stay, &house.visitors[0]);
    cr_assert_eq(coil_rwlock_lock_read(&house.lock), -EDEADLK, "behind a writer behind it");
    cr_assert_eq(*house.fibers[0]->tcb->waiter->owner, coil_self());
    cr_assert_eq(coil_rwlock_unlock(&house.lock), 0);
    coil_yield();
    cr_assert_str_eq(house.log, "a");
    send_away(&house, 0, 0);
}

FIBER_TEST(rwlock, a_reader_that_has_left_is_no_longer_taken_for_one)
{
    struct house house;
    coil_scope scope;

    coil_rwlock_init(&house.lock);
    memset(house.log, 0, sizeof house.log);
    cr_assert_eq(coil_rwlock_lock_read(&house.lock), 0);
    house.visitors[0] = (struct visitor){&house.lock, house.log, false, 'a'};
    house.fibers[0] = spawn_until_parked(stay, &house.visitors[0]);
    cr_assert_eq(coil_rwlock_unlock(&house.lock), 0);
    coil_scope_enter(&scope, COIL_MS(1));
    cr_assert_eq(coil_rwlock_lock_write(&house.lock), -ETIMEDOUT, "it waits for the other reader");
    cr_assert(coil_scope_leave(&scope));

    send_away(&house, 0, 0);
    cr_assert_eq(coil_rwlock_lock_write(&house.lock), 0);
    cr_assert_eq(coil_rwlock_unlock(&house.lock), 0);
}

static int unlock_now(void *arg)
{
    return coil_rwlock_unlock(arg);
}

static int downgrade_now(void *arg)
{
    return coil_rwlock_downgrade(arg);
}

FIBER_TEST(rwlock, only_who_holds_it_can_unlock_or_downgrade)
{
    coil_rwlock lock;

    coil_rwlock_init(&lock);
    cr_assert_eq(coil_rwlock_unlock(&lock), -EPERM);
    cr_assert_eq(coil_rwlock_downgrade(&lock), -EPERM);
    cr_assert_eq(coil_rwlock_lock_write(&lock), 0);
    cr_assert_eq(join_and_drop(spawn_until_parked(unlock_now, &lock)), -EPERM);
    cr_assert_eq(join_and_drop(spawn_until_parked(downgrade_now, &lock)), -EPERM);
    cr_assert_eq(coil_rwlock_try_lock_read(&lock), -EAGAIN, "still written");
    cr_assert_eq(coil_rwlock_unlock(&lock), 0);

    cr_assert_eq(coil_rwlock_lock_read(&lock), 0);
    cr_assert_eq(join_and_drop(spawn_until_parked(unlock_now, &lock)), -EPERM);
    cr_assert_eq(coil_rwlock_downgrade(&lock), -EPERM, "it only reads");
    cr_assert_eq(lock.readers, 1);
    cr_assert_eq(coil_rwlock_unlock(&lock), 0);
    cr_assert_eq(coil_rwlock_unlock(&lock), -EPERM);
}

FIBER_TEST(rwlock, a_downgraded_writer_reads_with_those_who_wait_next)
{
    struct house house = {.log = ""};
    const char kinds[] = "rrwr";

    coil_rwlock_init(&house.lock);
    cr_assert_eq(coil_rwlock_lock_write(&house.lock), 0);
    for (int i = 0; i < 4; i++) {
        house.visitors[i] =
            (struct visitor){&house.lock, house.log, kinds[i] == 'w', (char)('a' + i)};
        house.fibers[i] = spawn_until_parked(stay, &house.visitors[i]);
    }
    cr_assert_eq(coil_rwlock_downgrade(&house.lock), 0);
    cr_assert_eq(house.lock.readers, 3);
    coil_yield();
    cr_assert_str_eq(house.log, "ab");
    cr_assert_eq(coil_rwlock_unlock(&house.lock), 0);
    send_away(&house, 0, 0);
    cr_assert_str_eq(house.log, "ab");
    send_away(&house, 1, 0);
    cr_assert_str_eq(house.log, "abc");
    send_away(&house, 2, 0);
    send_away(&house, 3, 0);
    cr_assert_str_eq(house.log, "abcd");
}

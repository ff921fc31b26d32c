/* SPDX-License-Identifier: MIT */
/* What the report of deadlocks (coil/run.h) says of locks: who holds what the others wait for. */
#include "support/fiber_test.h"

enum {
    LOG_SIZE = 8192,
};

static char logged[LOG_SIZE];

static void keep_line(coil_log_level level, const char *message, void *arg)
{
    (void)level;
    (void)arg;
    strncat(logged, message, LOG_SIZE - strlen(logged) - 2);
    strncat(logged, "\n", 2);
}

static void assert_stuck(int (*main)(void *), const char *text)
{
    coil_log_set(keep_line, NULL);
    cr_assert_eq(fiber_test_coil_run(main, NULL, NULL, NULL), -EDEADLK);
    coil_log_set(NULL, NULL);
    cr_assert_not_null(strstr(logged, text), "no '%s' in:\n%s", text, logged);
}

struct pair {
    coil_mutex *first;
    coil_mutex *second;
};

static int lock_both(void *arg)
{
    const struct pair *pair = arg;

    cr_assert_eq(coil_mutex_lock(pair->first), 0);
    coil_yield();
    cr_assert_eq(coil_mutex_lock(pair->second), -ECANCELED, "by the end of the run");
    return coil_mutex_unlock(pair->first);
}

static int lock_in_opposite_orders(void *arg)
{
    coil_mutex mutexes[2];
    struct pair pairs[] = {{&mutexes[0], &mutexes[1]}, {&mutexes[1], &mutexes[0]}};
    coil_fiber *fiber;
    int result;

    (void)arg;
    for (int i = 0; i < 2; i++)
        coil_mutex_init(&mutexes[i]);
    cr_assert_eq(coil_spawn(lock_both, &pairs[1], &fiber), 0);
    coil_fiber_name_set(fiber, "other");
    result = lock_both(&pairs[0]);
    coil_fiber_unref(fiber);
    while (coil_mutex_owner(&mutexes[1]))
        coil_yield();
    return result;
}

Test(stuck_locks, two_mutexes_locked_in_opposite_orders_are_a_circle, .timeout = 20)
{
    assert_stuck(lock_in_opposite_orders, "circle: 1 'main' waits for mutex held by 2 'other' "
                                          "waits for mutex held by 1 'main'");
}

static int read_for_ever(void *arg)
{
    coil_mutex mutex;
    coil_cond cond;

    coil_mutex_init(&mutex);
    coil_cond_init(&cond);
    cr_assert_eq(coil_rwlock_lock_read(arg), 0);
    cr_assert_eq(coil_mutex_lock(&mutex), 0);
    cr_assert_eq(coil_cond_wait(&cond, &mutex), -ECANCELED);
    cr_assert_eq(coil_mutex_unlock(&mutex), 0);
    return coil_rwlock_unlock(arg);
}

static int write_behind_a_reader(void *arg)
{
    coil_rwlock lock;
    coil_fiber *fiber;
    int result;

    (void)arg;
    coil_rwlock_init(&lock);
    fiber = spawn_until_parked(read_for_ever, &lock);
    coil_fiber_name_set(fiber, "reader");
    result = coil_rwlock_lock_write(&lock);
    while (fiber->tcb)
        coil_yield();
    coil_fiber_unref(fiber);
    return result;
}

Test(stuck_locks, a_writer_names_the_reader_and_that_what_it_waits_for, .timeout = 20)
{
    assert_stuck(write_behind_a_reader, "'main': waits for write lock held by 2 'reader'");
    cr_assert_not_null(strstr(logged, "'reader': waits for condition"), "%s", logged);
}

struct relay {
    coil_mutex mutex;
    coil_cond cond;
};

static int wait_for_the_signal(void *arg)
{
    struct relay *relay = arg;

    cr_assert_eq(coil_mutex_lock(&relay->mutex), 0);
    cr_assert_eq(coil_cond_wait(&relay->cond, &relay->mutex), 0, "it was signalled");
    return coil_mutex_unlock(&relay->mutex);
}

static int signal_and_keep_the_mutex(void *arg)
{
    struct relay relay;
    coil_fiber *fiber;
    int result;

    (void)arg;
    coil_mutex_init(&relay.mutex);
    coil_cond_init(&relay.cond);
    fiber = spawn_until_parked(wait_for_the_signal, &relay);
    coil_fiber_name_set(fiber, "signalled");
    cr_assert_eq(coil_mutex_lock(&relay.mutex), 0);
    coil_cond_signal(&relay.cond);
    result = coil_join(fiber, NULL);
    cr_assert_eq(coil_mutex_unlock(&relay.mutex), 0);
    while (fiber->tcb)
        coil_yield();
    coil_fiber_unref(fiber);
    return result;
}

Test(stuck_locks, a_signalled_fiber_waits_for_who_keeps_the_mutex, .timeout = 20)
{
    assert_stuck(signal_and_keep_the_mutex, "circle: 1 'main' waits for join of 2 'signalled' "
                                            "waits for mutex held by 1 'main'");
}

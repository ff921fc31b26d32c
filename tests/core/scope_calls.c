/* SPDX-License-Identifier: MIT */
/* The table of parking calls (tests/core/scope_calls.h). */
#include "core/scope_calls.h"

#include <sys/socket.h>
#include <unistd.h>

#include "core/op.h"

static int sleep_forever(void *arg)
{
    (void)arg;
    return coil_sleep(COIL_NEVER);
}

/* Holds what other calls wait for. */
static int hold_forever(void *arg)
{
    struct call_fixture *fixture = arg;
    int result;

    cr_assert_eq(coil_mutex_lock(&fixture->held), 0);
    cr_assert_eq(coil_rwlock_lock_write(&fixture->written), 0);
    result = coil_once_do(&fixture->running, sleep_forever, NULL);
    cr_assert_eq(coil_rwlock_unlock(&fixture->written), 0);
    cr_assert_eq(coil_mutex_unlock(&fixture->held), 0);
    return result;
}

static int return_five(void *arg)
{
    (void)arg;
    return 5;
}

static int wait_sleep(struct call_fixture *fixture)
{
    (void)fixture;
    return coil_sleep(COIL_NEVER);
}

static int succeed_sleep(struct call_fixture *fixture)
{
    (void)fixture;
    return coil_sleep(0);
}

static int wait_sem(struct call_fixture *fixture)
{
    return coil_sem_acquire(&fixture->empty);
}

static int succeed_sem(struct call_fixture *fixture)
{
    const int result = coil_sem_acquire(&fixture->full);

    if (result == 0)
        coil_sem_release(&fixture->full);
    return result;
}

static int wait_capped_acquire(struct call_fixture *fixture)
{
    return coil_capped_sem_acquire(&fixture->capped_empty);
}

static int succeed_capped_acquire(struct call_fixture *fixture)
{
    const int result = coil_capped_sem_acquire(&fixture->capped_full);

    if (result == 0)
        cr_assert_eq(coil_capped_sem_try_release(&fixture->capped_full), 0);
    return result;
}

static int wait_capped_release(struct call_fixture *fixture)
{
    return coil_capped_sem_release(&fixture->capped_full);
}

static int succeed_capped_release(struct call_fixture *fixture)
{
    const int result = coil_capped_sem_release(&fixture->capped_empty);

    if (result == 0)
        cr_assert_eq(coil_capped_sem_try_acquire(&fixture->capped_empty), 0);
    return result;
}

static int wait_mutex(struct call_fixture *fixture)
{
    return coil_mutex_lock(&fixture->held);
}

static int succeed_mutex(struct call_fixture *fixture)
{
    const int result = coil_mutex_lock(&fixture->free);

    if (result == 0)
        cr_assert_eq(coil_mutex_unlock(&fixture->free), 0);
    return result;
}

static int wait_read_lock(struct call_fixture *fixture)
{
    return coil_rwlock_lock_read(&fixture->written);
}

static int succeed_read_lock(struct call_fixture *fixture)
{
    const int result = coil_rwlock_lock_read(&fixture->unlocked);

    if (result == 0)
        cr_assert_eq(coil_rwlock_unlock(&fixture->unlocked), 0);
    return result;
}

static int wait_write_lock(struct call_fixture *fixture)
{
    return coil_rwlock_lock_write(&fixture->written);
}

static int succeed_write_lock(struct call_fixture *fixture)
{
    const int result = coil_rwlock_lock_write(&fixture->unlocked);

    if (result == 0)
        cr_assert_eq(coil_rwlock_unlock(&fixture->unlocked), 0);
    return result;
}

static int wait_with_the_mutex(coil_cond *cond, coil_mutex *mutex)
{
    int result;

    cr_assert_eq(coil_mutex_try_lock(mutex), 0);
    result = coil_cond_wait(cond, mutex);
    cr_assert_eq(coil_mutex_unlock(mutex), 0, "it ends with the mutex in any case");
    return result;
}

static int wait_cond(struct call_fixture *fixture)
{
    return wait_with_the_mutex(&fixture->silent_cond, &fixture->free);
}

static int signal_cond(void *arg)
{
    coil_cond_signal(arg);
    return 0;
}

static int succeed_cond(struct call_fixture *fixture)
{
    cr_assert_eq(coil_spawn(signal_cond, &fixture->signalled_cond, NULL), 0);
    return wait_with_the_mutex(&fixture->signalled_cond, &fixture->free);
}

static int wait_once(struct call_fixture *fixture)
{
    return coil_once_do(&fixture->running, return_five, NULL);
}

static int succeed_once(struct call_fixture *fixture)
{
    return coil_once_do(&fixture->done, return_five, NULL);
}

static int wait_event(struct call_fixture *fixture)
{
    return coil_event_wait(&fixture->unset, NULL);
}

static int succeed_event(struct call_fixture *fixture)
{
    return coil_event_wait(&fixture->set, NULL);
}

static int wait_flag(struct call_fixture *fixture)
{
    return coil_flag_wait(&fixture->clear);
}

static int succeed_flag(struct call_fixture *fixture)
{
    return coil_flag_wait(&fixture->raised);
}

static int wait_waitgroup(struct call_fixture *fixture)
{
    return coil_waitgroup_wait(&fixture->busy);
}

static int succeed_waitgroup(struct call_fixture *fixture)
{
    return coil_waitgroup_wait(&fixture->idle);
}

static int wait_barrier(struct call_fixture *fixture)
{
    return coil_barrier_wait(&fixture->pair);
}

static int succeed_barrier(struct call_fixture *fixture)
{
    return coil_barrier_wait(&fixture->single);
}

static int wait_join(struct call_fixture *fixture)
{
    return coil_join(fixture->endless, NULL);
}

static int succeed_join(struct call_fixture *fixture)
{
    return coil_join(fixture->ended, NULL);
}

static int wait_read(struct call_fixture *fixture)
{
    char byte;

    return (int)coil_read(fixture->silent, &byte, 1);
}

static int succeed_read(struct call_fixture *fixture)
{
    char byte;
    const int result = (int)coil_read(fixture->talking, &byte, 1);

    if (result == 1)
        cr_assert_eq(write(fixture->talking_fd, "x", 1), 1);
    return result;
}

static int recv_op(int fd)
{
    char byte;
    struct coil__op op = coil__op_make(COIL__OP_RECV, fd, &byte, 1, MSG_PEEK);

    return coil__op_run(&op, "test");
}

/* The other ends of the streams serve as plain sockets: nobody writes to the silent one's. */
static int wait_op(struct call_fixture *fixture)
{
    return recv_op(fixture->silent_fd);
}

static int succeed_op(struct call_fixture *fixture)
{
    struct coil__op op = coil__op_make(COIL__OP_NOP, -1, NULL, 0, 0);

    (void)fixture;
    return coil__op_run(&op, "test");
}

const struct parking_call parking_calls[] = {
    {"sleep", wait_sleep, succeed_sleep},
    {"sem", wait_sem, succeed_sem},
    {"capped sem, acquire", wait_capped_acquire, succeed_capped_acquire},
    {"capped sem, release", wait_capped_release, succeed_capped_release},
    {"mutex", wait_mutex, succeed_mutex},
    {"read lock", wait_read_lock, succeed_read_lock},
    {"write lock", wait_write_lock, succeed_write_lock},
    {"cond", wait_cond, succeed_cond},
    {"once", wait_once, succeed_once},
    {"event", wait_event, succeed_event},
    {"flag", wait_flag, succeed_flag},
    {"wait group", wait_waitgroup, succeed_waitgroup},
    {"barrier", wait_barrier, succeed_barrier},
    {"join", wait_join, succeed_join},
    {"read", wait_read, succeed_read},
    {"op", wait_op, succeed_op},
};

const size_t parking_call_count = sizeof parking_calls / sizeof parking_calls[0];

static void init_sync(struct call_fixture *fixture)
{
    coil_sem_init(&fixture->empty, 0);
    coil_sem_init(&fixture->full, 1);
    coil_capped_sem_init(&fixture->capped_empty, 0, 1);
    coil_capped_sem_init(&fixture->capped_full, 1, 1);
    coil_mutex_init(&fixture->held);
    coil_mutex_init(&fixture->free);
    coil_rwlock_init(&fixture->written);
    coil_rwlock_init(&fixture->unlocked);
    coil_once_init(&fixture->running);
    coil_once_init(&fixture->done);
    coil_cond_init(&fixture->silent_cond);
    coil_cond_init(&fixture->signalled_cond);
    coil_event_init(&fixture->unset);
    coil_event_init(&fixture->set);
    cr_assert_eq(coil_event_set(&fixture->set, NULL), 0);
    coil_flag_init(&fixture->clear);
    coil_flag_init(&fixture->raised);
    coil_flag_set(&fixture->raised);
    coil_waitgroup_init(&fixture->busy);
    coil_waitgroup_add(&fixture->busy, 1);
    coil_waitgroup_init(&fixture->idle);
    coil_barrier_init(&fixture->pair, 2);
    coil_barrier_init(&fixture->single, 1);
}

void call_fixture_open(struct call_fixture *fixture)
{
    init_sync(fixture);
    fixture->endless = spawn_until_parked(hold_forever, fixture);
    fixture->ended = spawn_until_parked(return_five, NULL);
    stream_and_fd(&fixture->silent, &fixture->silent_fd);
    stream_and_fd(&fixture->talking, &fixture->talking_fd);
    cr_assert_eq(write(fixture->talking_fd, "x", 1), 1);
}

void call_fixture_close(struct call_fixture *fixture)
{
    char byte;

    cr_assert_eq(coil_sem_balance(&fixture->empty), 0);
    cr_assert_eq(coil_sem_balance(&fixture->full), 1);
    cr_assert_eq(coil_capped_sem_balance(&fixture->capped_empty), 0);
    cr_assert_eq(coil_capped_sem_balance(&fixture->capped_full), 1);
    cr_assert_eq(coil_barrier_waiting(&fixture->pair), 0);
    cr_assert_eq(coil_read(fixture->talking, &byte, 1), 1, "the byte that is always there");
    coil_cancel(fixture->endless);
    cr_assert_eq(join_and_drop(fixture->endless), -ECANCELED);
    cr_assert_null(coil_mutex_owner(&fixture->held));
    cr_assert_null(coil_mutex_owner(&fixture->free));
    cr_assert_eq(coil_rwlock_unlock(&fixture->written), -EPERM, "nobody holds it");
    cr_assert_eq(coil_rwlock_unlock(&fixture->unlocked), -EPERM);
    cr_assert_eq(join_and_drop(fixture->ended), 5);
    cr_assert_eq(coil_close(fixture->silent), 0);
    cr_assert_eq(coil_close(fixture->talking), 0);
    cr_assert_eq(close(fixture->silent_fd), 0);
    cr_assert_eq(close(fixture->talking_fd), 0);
}

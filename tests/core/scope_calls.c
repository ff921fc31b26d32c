/* SPDX-License-Identifier: MIT */
/* Parking calls of core and of the primitives of sync, and the table that the tests of scopes go
 * through (tests/core/scope_checks.h).
 */
#include "core/scope_calls.h"

#include <sys/socket.h>
#include <unistd.h>

#include "core/op.h"
#include "core/scope_checks.h"

static struct {
    coil_sem empty;
    coil_sem full;
    coil_capped_sem capped_empty;
    coil_capped_sem capped_full;
    coil_mutex held; /* these by `endless` */
    coil_rmutex held_rmutex;
    coil_rwlock written;
    coil_once running;
    coil_mutex free;
    coil_rmutex free_rmutex;
    coil_rwlock unlocked;
    coil_once done;
    coil_cond silent_cond;
    coil_cond signalled_cond;
    coil_event unset;
    coil_event set;
    coil_flag clear;
    coil_flag raised;
    coil_waitgroup busy;
    coil_waitgroup idle;
    coil_barrier pair;
    coil_barrier single;
    coil_fiber *endless;
    coil_fiber *ended;
    coil_stream *silent;
    coil_stream *talking; /* one byte of input is always there */
    int silent_fd;
    int talking_fd;
} fixture;

static int sleep_forever(void *arg)
{
    (void)arg;
    return coil_sleep(COIL_NEVER);
}

/* Holds what other calls wait for. */
static int hold_forever(void *arg)
{
    int result;

    cr_assert_eq(coil_mutex_lock(&fixture.held), 0);
    cr_assert_eq(coil_rmutex_lock(&fixture.held_rmutex), 0);
    cr_assert_eq(coil_rwlock_lock_write(&fixture.written), 0);
    result = coil_once_do(&fixture.running, sleep_forever, arg);
    cr_assert_eq(coil_rwlock_unlock(&fixture.written), 0);
    cr_assert_eq(coil_rmutex_unlock(&fixture.held_rmutex), 0);
    cr_assert_eq(coil_mutex_unlock(&fixture.held), 0);
    return result;
}

static int return_five(void *arg)
{
    (void)arg;
    return 5;
}

static int wait_sleep(void)
{
    return coil_sleep(COIL_NEVER);
}

static int succeed_sleep(void)
{
    return coil_sleep(0);
}

static int wait_sem(void)
{
    return coil_sem_acquire(&fixture.empty);
}

static int succeed_sem(void)
{
    const int result = coil_sem_acquire(&fixture.full);

    if (result == 0)
        coil_sem_release(&fixture.full);
    return result;
}

static int wait_capped_acquire(void)
{
    return coil_capped_sem_acquire(&fixture.capped_empty);
}

static int succeed_capped_acquire(void)
{
    const int result = coil_capped_sem_acquire(&fixture.capped_full);

    if (result == 0)
        cr_assert_eq(coil_capped_sem_try_release(&fixture.capped_full), 0);
    return result;
}

static int wait_capped_release(void)
{
    return coil_capped_sem_release(&fixture.capped_full);
}

static int succeed_capped_release(void)
{
    const int result = coil_capped_sem_release(&fixture.capped_empty);

    if (result == 0)
        cr_assert_eq(coil_capped_sem_try_acquire(&fixture.capped_empty), 0);
    return result;
}

static int wait_mutex(void)
{
    return coil_mutex_lock(&fixture.held);
}

static int succeed_mutex(void)
{
    const int result = coil_mutex_lock(&fixture.free);

    if (result == 0)
        cr_assert_eq(coil_mutex_unlock(&fixture.free), 0);
    return result;
}

static int wait_rmutex(void)
{
    return coil_rmutex_lock(&fixture.held_rmutex);
}

static int succeed_rmutex(void)
{
    const int result = coil_rmutex_lock(&fixture.free_rmutex);

    if (result == 0)
        cr_assert_eq(coil_rmutex_unlock(&fixture.free_rmutex), 0);
    return result;
}

static int wait_read_lock(void)
{
    return coil_rwlock_lock_read(&fixture.written);
}

static int succeed_read_lock(void)
{
    const int result = coil_rwlock_lock_read(&fixture.unlocked);

    if (result == 0)
        cr_assert_eq(coil_rwlock_unlock(&fixture.unlocked), 0);
    return result;
}

static int wait_write_lock(void)
{
    return coil_rwlock_lock_write(&fixture.written);
}

static int succeed_write_lock(void)
{
    const int result = coil_rwlock_lock_write(&fixture.unlocked);

    if (result == 0)
        cr_assert_eq(coil_rwlock_unlock(&fixture.unlocked), 0);
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

static int wait_cond(void)
{
    return wait_with_the_mutex(&fixture.silent_cond, &fixture.free);
}

static int signal_cond(void *arg)
{
    coil_cond_signal(arg);
    return 0;
}

static int succeed_cond(void)
{
    cr_assert_eq(coil_spawn(signal_cond, &fixture.signalled_cond, NULL), 0);
    return wait_with_the_mutex(&fixture.signalled_cond, &fixture.free);
}

static int wait_once(void)
{
    return coil_once_do(&fixture.running, return_five, NULL);
}

static int succeed_once(void)
{
    return coil_once_do(&fixture.done, return_five, NULL);
}

static int wait_event(void)
{
    return coil_event_wait(&fixture.unset, NULL);
}

static int succeed_event(void)
{
    return coil_event_wait(&fixture.set, NULL);
}

static int wait_flag(void)
{
    return coil_flag_wait(&fixture.clear);
}

static int succeed_flag(void)
{
    return coil_flag_wait(&fixture.raised);
}

static int wait_waitgroup(void)
{
    return coil_waitgroup_wait(&fixture.busy);
}

static int succeed_waitgroup(void)
{
    return coil_waitgroup_wait(&fixture.idle);
}

static int wait_barrier(void)
{
    return coil_barrier_wait(&fixture.pair);
}

static int succeed_barrier(void)
{
    return coil_barrier_wait(&fixture.single);
}

static int wait_join(void)
{
    return coil_join(fixture.endless, NULL);
}

static int succeed_join(void)
{
    return coil_join(fixture.ended, NULL);
}

static int wait_read(void)
{
    char byte;

    return (int)coil_read(fixture.silent, &byte, 1);
}

static int succeed_read(void)
{
    char byte;
    const int result = (int)coil_read(fixture.talking, &byte, 1);

    if (result == 1)
        cr_assert_eq(write(fixture.talking_fd, "x", 1), 1);
    return result;
}

static int recv_op(int fd)
{
    char byte;
    struct coil__op op = coil__op_make(COIL__OP_RECV, fd, &byte, 1, MSG_PEEK);

    return coil__op_run(&op, "test");
}

/* The other ends of the streams serve as plain sockets: nobody writes to the silent one's. */
static int wait_op(void)
{
    return recv_op(fixture.silent_fd);
}

static int succeed_op(void)
{
    struct coil__op op = coil__op_make(COIL__OP_NOP, -1, NULL, 0, 0);

    return coil__op_run(&op, "test");
}

static int wait_call(void)
{
    return coil_on(coil_core(), sleep_forever, NULL, NULL);
}

static int succeed_call(void)
{
    return coil_on(coil_core(), return_five, NULL, NULL);
}

static int wait_each_core(void)
{
    return coil_each_core(sleep_forever, NULL);
}

static int succeed_each_core(void)
{
    return coil_each_core(return_five, NULL);
}

static const struct parking_call calls[] = {
    {"sleep", wait_sleep, succeed_sleep},
    {"sem", wait_sem, succeed_sem},
    {"capped sem, acquire", wait_capped_acquire, succeed_capped_acquire},
    {"capped sem, release", wait_capped_release, succeed_capped_release},
    {"mutex", wait_mutex, succeed_mutex},
    {"recursive mutex", wait_rmutex, succeed_rmutex},
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
    {"call to a core", wait_call, succeed_call},
    {"calls to all cores", wait_each_core, succeed_each_core},
};

static void init_sync(void)
{
    coil_sem_init(&fixture.empty, 0);
    coil_sem_init(&fixture.full, 1);
    coil_capped_sem_init(&fixture.capped_empty, 0, 1);
    coil_capped_sem_init(&fixture.capped_full, 1, 1);
    coil_mutex_init(&fixture.held);
    coil_mutex_init(&fixture.free);
    coil_rmutex_init(&fixture.held_rmutex);
    coil_rmutex_init(&fixture.free_rmutex);
    coil_rwlock_init(&fixture.written);
    coil_rwlock_init(&fixture.unlocked);
    coil_once_init(&fixture.running);
    coil_once_init(&fixture.done);
    coil_cond_init(&fixture.silent_cond);
    coil_cond_init(&fixture.signalled_cond);
    coil_event_init(&fixture.unset);
    coil_event_init(&fixture.set);
    cr_assert_eq(coil_event_set(&fixture.set, NULL), 0);
    coil_flag_init(&fixture.clear);
    coil_flag_init(&fixture.raised);
    coil_flag_set(&fixture.raised);
    coil_waitgroup_init(&fixture.busy);
    coil_waitgroup_add(&fixture.busy, 1);
    coil_waitgroup_init(&fixture.idle);
    coil_barrier_init(&fixture.pair, 2);
    coil_barrier_init(&fixture.single, 1);
}

void parking_calls_open(void)
{
    init_sync();
    fixture.endless = spawn_until_parked(hold_forever, NULL);
    fixture.ended = spawn_until_parked(return_five, NULL);
    stream_and_fd(&fixture.silent, &fixture.silent_fd);
    stream_and_fd(&fixture.talking, &fixture.talking_fd);
    cr_assert_eq(write(fixture.talking_fd, "x", 1), 1);
    parking_calls_add(calls, sizeof calls / sizeof calls[0]);
    scope_calls_sets_open();
}

void parking_calls_close(void)
{
    char byte;

    scope_calls_sets_close();
    cr_assert_eq(coil_sem_balance(&fixture.empty), 0);
    cr_assert_eq(coil_sem_balance(&fixture.full), 1);
    cr_assert_eq(coil_capped_sem_balance(&fixture.capped_empty), 0);
    cr_assert_eq(coil_capped_sem_balance(&fixture.capped_full), 1);
    cr_assert_eq(coil_barrier_waiting(&fixture.pair), 0);
    cr_assert_eq(coil_read(fixture.talking, &byte, 1), 1, "the byte that is always there");
    coil_cancel(fixture.endless);
    cr_assert_eq(join_and_drop(fixture.endless), -ECANCELED);
    cr_assert_null(coil_mutex_owner(&fixture.held));
    cr_assert_null(coil_mutex_owner(&fixture.free));
    cr_assert_eq(coil_rmutex_unlock(&fixture.free_rmutex), -EPERM);
    cr_assert_eq(coil_rwlock_unlock(&fixture.written), -EPERM, "nobody holds it");
    cr_assert_eq(coil_rwlock_unlock(&fixture.unlocked), -EPERM);
    cr_assert_eq(join_and_drop(fixture.ended), 5);
    cr_assert_eq(coil_close(fixture.silent), 0);
    cr_assert_eq(coil_close(fixture.talking), 0);
    cr_assert_eq(close(fixture.silent_fd), 0);
    cr_assert_eq(close(fixture.talking_fd), 0);
}

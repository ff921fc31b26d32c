/* SPDX-License-Identifier: MIT */
/* What happens to the process around the loop: signals that interrupt its system calls, and forks.
 *
 * No fiber may notice a signal that is somebody else's: every wait goes on as if it had not come. A
 * fork's child may exec or leave; the parent's loop does not notice that either.
 */
#include "support/fiber_test.h"

#include <signal.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum {
    ROUNDS = 50,
    KIB = 1024,
};

/* ---- Signals ---- */

static volatile sig_atomic_t caught;

static void catch_signal(int number)
{
    (void)number;
    caught = 1;
}

/* From now on the loop's thread is struck by a signal without SA_RESTART, ten times a ms. */
static void storm_begin(timer_t *ret_storm)
{
    const struct sigaction action = {.sa_handler = catch_signal};
    const struct itimerspec often = {.it_interval.tv_nsec = 100000, .it_value.tv_nsec = 100000};
    struct sigevent event = {.sigev_notify = SIGEV_THREAD_ID, .sigev_signo = SIGUSR1};

    event._sigev_un._tid = (pid_t)syscall(SYS_gettid); /* glibc has no other name for it */
    cr_assert_eq(sigaction(SIGUSR1, &action, NULL), 0);
    cr_assert_eq(timer_create(CLOCK_MONOTONIC, &event, ret_storm), 0);
    cr_assert_eq(timer_settime(*ret_storm, 0, &often, NULL), 0);
}

static void storm_end(timer_t storm)
{
    cr_assert_eq(timer_delete(storm), 0);
    cr_assert_gt(caught, 0);
}

FIBER_TEST(surroundings, a_storm_of_signals_shortens_no_sleep_and_no_deadline)
{
    timer_t storm;

    storm_begin(&storm);
    for (int i = 0; i < ROUNDS; i++) {
        const int64_t start = coil_now();
        coil_scope scope;

        cr_assert_eq(coil_sleep(COIL_MS(1)), 0);
        cr_assert_geq(coil_now() - start, COIL_MS(1));
        coil_scope_enter(&scope, COIL_MS(1));
        cr_assert_eq(coil_sleep(COIL_NEVER), -ETIMEDOUT);
        cr_assert(coil_scope_leave(&scope));
        cr_assert_geq(coil_now() - start, COIL_MS(2));
    }
    storm_end(storm);
}

static int look_at_signal_stack(void *arg)
{
    return sigaltstack(NULL, arg) < 0 ? -errno : 0;
}

static int give_signal_stack(void *arg)
{
    return sigaltstack(arg, NULL) < 0 ? -errno : 0;
}

Test(surroundings, the_thread_has_a_stack_for_signals_meanwhile_and_then_what_it_had_or_was_given)
{
    static char other[64 * KIB];
    const stack_t given = {.ss_sp = other, .ss_size = sizeof other};
    stack_t before;
    stack_t during;
    stack_t after;
    int result = -1;

    cr_assert_eq(sigaltstack(NULL, &before), 0);
    cr_assert_eq(fiber_test_coil_run(look_at_signal_stack, &during, NULL, &result), 0);
    cr_assert_eq(result, 0);
    cr_assert_not(during.ss_flags & SS_DISABLE);
    cr_assert_geq(during.ss_size, 16 * KIB);
    cr_assert_eq(sigaltstack(NULL, &after), 0);
    cr_assert_eq(after.ss_flags, before.ss_flags);
    cr_assert(after.ss_flags & SS_DISABLE || after.ss_sp == before.ss_sp);

    cr_assert_eq(fiber_test_coil_run(give_signal_stack, (void *)(uintptr_t)&given, NULL, &result),
                 0);
    cr_assert_eq(result, 0);
    cr_assert_eq(sigaltstack(NULL, &after), 0);
    cr_assert_eq(after.ss_sp, other);
    cr_assert_eq(sigaltstack(&before, NULL), 0);
}

static int answer_clients(void *arg)
{
    static char data[64 * KIB];
    int result = 0;

    for (int i = 0; i < ROUNDS && result == 0; i++) {
        coil_stream *stream;

        result = coil_accept(arg, &stream);
        if (result < 0)
            return result;
        if (coil_read_full(stream, data, sizeof data, NULL) != sizeof data)
            result = -ENODATA;
        (void)coil_sleep(COIL_US(300)); /* so that the client's read is struck, too */
        (void)coil_write(stream, data, sizeof data);
        if (coil_close(stream) < 0)
            result = -EIO;
    }
    return result;
}

FIBER_TEST(surroundings, a_storm_of_signals_breaks_neither_accept_nor_connect_nor_read_nor_write)
{
    static char data[64 * KIB];
    timer_t storm;
    coil_listener *listener;
    coil_fiber *server;
    char address[COIL_ADDRESS_SIZE];

    cr_assert_eq(coil_listen("127.0.0.1:0", NULL, &listener), 0);
    cr_assert_gt(coil_listener_address(listener, address, sizeof address), 0);
    storm_begin(&storm);
    server = spawn_until_parked(answer_clients, listener);
    for (int i = 0; i < ROUNDS; i++) {
        coil_stream *stream;

        cr_assert_eq(coil_connect(address, NULL, &stream), 0);
        cr_assert_eq(coil_write(stream, data, sizeof data), 0);
        cr_assert_eq(coil_read_full(stream, data, sizeof data, NULL), sizeof data);
        cr_assert_eq(coil_close(stream), 0);
    }
    cr_assert_eq(join_and_drop(server), 0);
    storm_end(storm);
    coil_listener_close(listener);
}

/* ---- Forks ---- */

static int tick(void *arg)
{
    int *ticks = arg;

    while (coil_sleep(COIL_US(100)) == 0)
        ++*ticks;
    return 0;
}

/* Runs in a fiber. The child does what POSIX allows after a fork, and nothing of coil. */
static pid_t fork_child(bool is_to_exec)
{
    const pid_t child = fork();

    if (child == 0) {
        if (is_to_exec)
            (void)execl("/bin/sh", "sh", "-c", "exit 7", (char *)NULL);
        _exit(is_to_exec ? 127 : 7);
    }
    return child;
}

FIBER_TEST(surroundings, a_forked_child_may_exec_or_exit_and_the_loop_goes_on)
{
    coil_stream *streams[2];
    coil_fiber *ticker;
    int ticks = 0;
    char byte;

    stream_pair(&streams[0], &streams[1]);
    ticker = spawn_until_parked(tick, &ticks);
    for (int i = 0; i < 10; i++) {
        const pid_t child = fork_child(i % 2);
        const int ticks_before = ticks;
        int status = 0;

        cr_assert_gt(child, 0);
        cr_assert_eq(coil_write(streams[0], "x", 1), 0);
        cr_assert_eq(coil_flush(streams[0]), 0);
        cr_assert_eq(coil_read(streams[1], &byte, 1), 1, "the parent's I/O is its own");
        while (waitpid(child, &status, WNOHANG) == 0 || ticks == ticks_before)
            coil_yield();
        cr_assert(WIFEXITED(status));
        cr_assert_eq(WEXITSTATUS(status), 7);
    }
    coil_cancel(ticker);
    cr_assert_eq(join_and_drop(ticker), 0);
    cr_assert_eq(coil_close(streams[0]), 0);
    cr_assert_eq(coil_close(streams[1]), 0);
}

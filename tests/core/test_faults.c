/* SPDX-License-Identifier: MIT */
/* A kernel that refuses: the N-th io_uring_enter, or every k-th, fails with EINTR, EAGAIN or EBUSY,
 * or takes only a part of the entries. Fibers must notice nothing: the result of a scenario of
 * streams, sleeps, deadlines and cancellations is the same as without.
 */
#include <sys/socket.h>
#include <unistd.h>

#include "core/op.h"
#include "engine/uring.h"
#include "support/child.h"
#include "support/fiber_test.h"

enum {
    ROUNDS = 20,
    MESSAGE_SIZE = 100,
    SLEEPERS = 3,
    WAITERS = 5,
    SHORT_SUBMIT = 1, /* instead of a negative errno */
    /* 20 messages and their echo, 3 sleeps, 5 cancelled receives, 1 deadline. */
    SCENARIO_RESULT = 2 * ROUNDS * MESSAGE_SIZE + SLEEPERS + WAITERS + 1,
};

/* ---- The kernel ---- */

static const struct coil__uring_kernel *real_kernel;
static int enter_count;
static int faulty_enter;  /* the number of the one that fails, 0 for none */
static int faulty_period; /* every so many fail, 0 for none */
static int fault;

static int enter_badly(int fd, unsigned to_submit, unsigned min_complete, unsigned flags, void *arg,
                       size_t argsize)
{
    const bool is_faulty =
        ++enter_count == faulty_enter || (faulty_period && enter_count % faulty_period == 0);

    if (!is_faulty)
        return real_kernel->enter(fd, to_submit, min_complete, flags, arg, argsize);
    if (fault == SHORT_SUBMIT)
        return real_kernel->enter(fd, (to_submit + 1) / 2, 0, flags, arg, argsize);
    return fault;
}

/* ---- The scenario ---- */

static int echo(void *arg)
{
    coil_stream *stream = arg;
    char message[MESSAGE_SIZE];
    ssize_t count;

    do {
        count = coil_read(stream, message, sizeof message);
    } while (count > 0 && coil_write(stream, message, (size_t)count) >= 0);
    return (int)count;
}

static int ping(void *arg)
{
    coil_stream *stream = arg;
    int sum = 0;

    for (int i = 0; i < ROUNDS; i++) {
        char message[MESSAGE_SIZE];
        char reply[MESSAGE_SIZE] = "";

        memset(message, 'a' + i, sizeof message);
        cr_assert_geq(coil_write(stream, message, sizeof message), 0);
        cr_assert_eq(coil_read_full(stream, reply, sizeof reply, NULL), MESSAGE_SIZE);
        cr_assert_arr_eq(reply, message, MESSAGE_SIZE);
        sum += 2 * MESSAGE_SIZE;
    }
    return sum;
}

static int sleep_once(void *arg)
{
    (void)arg;
    return coil_sleep(COIL_US(200)) == 0;
}

static int receive(void *arg)
{
    char byte;
    struct coil__op op = coil__op_make(COIL__OP_RECV, *(int *)arg, &byte, 1, 0);

    return coil__op_run(&op, "test");
}

static int cancel_waiters(int fd)
{
    coil_fiber *waiters[WAITERS];
    coil_scope scope;
    int sum = 0;

    for (int i = 0; i < WAITERS; i++)
        waiters[i] = spawn_until_parked(receive, &fd);
    coil_scope_enter(&scope, COIL_US(200));
    cr_assert_eq(receive(&fd), -ETIMEDOUT);
    sum += coil_scope_leave(&scope);
    for (int i = 0; i < WAITERS; i++)
        coil_cancel(waiters[i]);
    for (int i = 0; i < WAITERS; i++)
        sum += join_and_drop(waiters[i]) == -ECANCELED;
    return sum;
}

static int scenario(void *arg)
{
    coil_stream *streams[2];
    coil_fiber *sleepers[SLEEPERS];
    coil_fiber *fibers[2];
    int fds[2];
    int sum = 0;

    (void)arg;
    stream_pair(&streams[0], &streams[1]);
    cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
    for (int i = 0; i < SLEEPERS; i++)
        cr_assert_eq(coil_spawn(sleep_once, NULL, &sleepers[i]), 0);
    cr_assert_eq(coil_spawn(ping, streams[0], &fibers[0]), 0);
    cr_assert_eq(coil_spawn(echo, streams[1], &fibers[1]), 0);
    sum += cancel_waiters(fds[0]);
    sum += join_and_drop(fibers[0]);
    cr_assert_eq(coil_close(streams[0]), 0);
    cr_assert_eq(join_and_drop(fibers[1]), 0, "the end of the input");
    cr_assert_eq(coil_close(streams[1]), 0);
    for (int i = 0; i < SLEEPERS; i++)
        sum += join_and_drop(sleepers[i]);
    cr_assert_eq(close(fds[0]), 0);
    cr_assert_eq(close(fds[1]), 0);
    return sum;
}

static int run_on_bad_kernel(int *ret_result)
{
    static struct coil__uring_kernel kernel;

    if (!real_kernel)
        real_kernel = coil__uring_kernel;
    kernel = *real_kernel;
    kernel.enter = enter_badly;
    coil__uring_kernel = &kernel;
    enter_count = 0;
    return coil_run(scenario, NULL, NULL, ret_result);
}

static void expect_usual_result(void)
{
    int result = 0;

    cr_assert_eq(run_on_bad_kernel(&result), 0, "fault %d at %d or every %d", fault, faulty_enter,
                 faulty_period);
    cr_assert_eq(result, SCENARIO_RESULT, "fault %d at %d or every %d", fault, faulty_enter,
                 faulty_period);
}

/* ---- Tests ---- */

static const int faults[] = {-EINTR, -EAGAIN, -EBUSY, SHORT_SUBMIT};

Test(faults, the_nth_enter_fails_for_each_n_and_nobody_notices, .timeout = 60)
{
    expect_usual_result();
    for (size_t i = 0; i < sizeof faults / sizeof faults[0]; i++) {
        fault = faults[i];
        faulty_enter = 0;
        do {
            faulty_enter++;
            expect_usual_result();
        } while (enter_count >= faulty_enter);
        cr_assert_gt(faulty_enter, ROUNDS, "the seam is not in use");
    }
}

/* From 2: after a refusal the engine enters once without entries, so every second refusal is the
 * one in step with it, which meets entries only. */
Test(faults, every_kth_enter_fails_and_nobody_notices, .timeout = 60)
{
    for (size_t i = 0; i < sizeof faults / sizeof faults[0]; i++) {
        fault = faults[i];
        for (faulty_period = 2; faulty_period <= 9; faulty_period++)
            expect_usual_result();
    }
}

static int break_the_ring(void *arg)
{
    int result = 77;

    (void)arg;
    fault = -EBADF;
    faulty_enter = 10;
    child_check(run_on_bad_kernel(&result) == -EBADF, "status is not the ring's error");
    child_check(result == 77, "a failed run stored a result");
    return 0;
}

Test(faults, a_ring_that_is_broken_for_good_ends_the_run_with_its_error, .timeout = 60)
{
    struct child_end end;

    child_run(break_the_ring, NULL, &end);

    cr_assert_eq(end.exit_code, 0, "signal %d: %s", end.signal, end.output);
    cr_assert_not_null(strstr(end.output, "coil: error: the engine failed"), "%s", end.output);
    cr_assert_not_null(strstr(end.output, "fibers"), "%s", end.output);
}

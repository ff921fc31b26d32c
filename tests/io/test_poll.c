/* SPDX-License-Identifier: MIT */
/* Polling of foreign descriptors: the answers of poll(2), exactly, and no operation left behind. */
#include <coil/poll.h>

#include <fcntl.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include "base/alloc.h"
#include "support/fiber_test.h"

TestSuite(poll, .timeout = 60);

static void make_pipe(int fds[2])
{
    cr_assert_eq(pipe2(fds, O_CLOEXEC | O_NONBLOCK), 0);
}

static void close_pipe(const int fds[2])
{
    cr_assert_eq(close(fds[0]), 0);
    cr_assert_eq(close(fds[1]), 0);
}

static void put(int fd)
{
    cr_assert_eq(write(fd, "x", 1), 1);
}

static uint64_t active(void)
{
    return coil__sched()->engine->stats.active_count;
}

static int poll_for_input(void *arg)
{
    const int *fd = arg;

    return coil_poll_fd(*fd, POLLIN);
}

FIBER_TEST(poll, a_descriptor_that_is_ready_is_told_at_once)
{
    int fds[2];

    make_pipe(fds);
    cr_assert_eq(coil_poll_fd(fds[1], POLLOUT), POLLOUT);
    cr_assert_eq(coil_poll_fd(fds[1], POLLOUT | POLLIN), POLLOUT);
    put(fds[1]);
    cr_assert_eq(coil_poll_fd(fds[0], POLLIN), POLLIN);
    cr_assert_eq(active(), 0);
    close_pipe(fds);
}

FIBER_TEST(poll, a_fiber_waits_for_what_is_to_come_while_others_run)
{
    int fds[2];
    coil_fiber *fiber;

    make_pipe(fds);
    fiber = spawn_until_parked(poll_for_input, &fds[0]);
    coil_yield();
    cr_assert_not_null(fiber->tcb);

    put(fds[1]);

    cr_assert_eq(join_and_drop(fiber), POLLIN);
    cr_assert_eq(active(), 0);
    close_pipe(fds);
}

FIBER_TEST(poll, a_hang_up_is_told_without_being_asked_for)
{
    int fds[2];
    coil_fiber *fiber;

    make_pipe(fds);
    fiber = spawn_until_parked(poll_for_input, &fds[0]);
    cr_assert_eq(close(fds[1]), 0);

    cr_assert_eq(join_and_drop(fiber), POLLHUP);
    cr_assert_eq(coil_poll_fd(fds[0], 0), POLLHUP);
    cr_assert_eq(close(fds[0]), 0);
}

FIBER_TEST(poll, a_descriptor_that_is_not_open_is_refused)
{
    cr_assert_eq(coil_poll_fd(-1, POLLIN), -EBADF);
    cr_assert_eq(coil_poll_fd(12345, POLLIN), -EBADF);
}

FIBER_TEST(poll, files_are_always_ready)
{
    const int fd = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);

    cr_assert_eq(coil_poll_fd(fd, POLLIN | POLLOUT), POLLIN | POLLOUT);
    cr_assert_eq(close(fd), 0);
}

FIBER_TEST(poll, the_answer_is_that_of_poll_for_odd_descriptors_and_duplicates)
{
    int fds[2];
    struct pollfd asked[6];

    make_pipe(fds);
    put(fds[1]);
    asked[0] = (struct pollfd){.fd = -1, .events = POLLIN, .revents = 77};
    asked[1] = (struct pollfd){.fd = 12345, .events = POLLIN};
    asked[2] = (struct pollfd){.fd = fds[0], .events = POLLIN};
    asked[3] = (struct pollfd){.fd = fds[0], .events = POLLIN | POLLPRI};
    asked[4] = (struct pollfd){.fd = fds[1], .events = POLLIN, .revents = 77};
    asked[5] = (struct pollfd){.fd = fds[1], .events = POLLOUT};

    cr_assert_eq(coil_poll(asked, 6), 4);

    cr_assert_eq(asked[0].revents, 0);
    cr_assert_eq(asked[1].revents, POLLNVAL);
    cr_assert_eq(asked[2].revents, POLLIN);
    cr_assert_eq(asked[3].revents, POLLIN);
    cr_assert_eq(asked[4].revents, 0);
    cr_assert_eq(asked[5].revents, POLLOUT);
    close_pipe(fds);
}

struct question {
    struct pollfd *fds;
    size_t count;
};

static int ask(void *arg)
{
    const struct question *question = arg;

    return coil_poll(question->fds, question->count);
}

FIBER_TEST(poll, of_duplicates_all_are_told_after_a_wait_too)
{
    int fds[2];
    struct pollfd asked[3];
    struct question question = {asked, 3};
    coil_fiber *fiber;

    make_pipe(fds);
    asked[0] = (struct pollfd){.fd = fds[0], .events = POLLIN};
    asked[1] = (struct pollfd){.fd = -5, .events = POLLIN};
    asked[2] = asked[0];
    fiber = spawn_until_parked(ask, &question);
    put(fds[1]);

    cr_assert_eq(join_and_drop(fiber), 2);
    cr_assert_eq(asked[0].revents, POLLIN);
    cr_assert_eq(asked[2].revents, POLLIN);
    cr_assert_eq(active(), 0);
    close_pipe(fds);
}

FIBER_TEST(poll, a_deadline_ends_the_wait_and_leaves_no_operation)
{
    int fds[2];
    struct pollfd asked;
    coil_scope scope;

    make_pipe(fds);
    asked = (struct pollfd){.fd = fds[0], .events = POLLIN};
    coil_scope_enter(&scope, COIL_MS(1));
    cr_assert_eq(coil_poll(&asked, 1), -ETIMEDOUT);
    cr_assert(coil_scope_leave(&scope));
    cr_assert_eq(active(), 0);

    coil_scope_enter(&scope, 0);
    put(fds[1]);
    cr_assert_eq(coil_poll(&asked, 1), -ETIMEDOUT, "also when it would not have had to wait");
    cr_assert(coil_scope_leave(&scope));
    close_pipe(fds);
}

FIBER_TEST(poll, none_at_all_wait_for_the_deadline_or_the_cancellation)
{
    struct pollfd nobody = {.fd = -1, .events = POLLIN};
    struct question question = {NULL, 0};
    const uint64_t submissions = coil__sched()->engine->stats.submission_count;
    coil_scope scope;
    coil_fiber *fiber;

    coil_scope_enter(&scope, COIL_MS(1));
    cr_assert_eq(coil_poll(NULL, 0), -ETIMEDOUT);
    cr_assert(coil_scope_leave(&scope));
    coil_scope_enter(&scope, COIL_MS(1));
    cr_assert_eq(coil_poll(&nobody, 1), -ETIMEDOUT);
    cr_assert(coil_scope_leave(&scope));

    fiber = spawn_until_parked(ask, &question);
    coil_cancel(fiber);
    cr_assert_eq(join_and_drop(fiber), -ECANCELED);
    cr_assert_leq(coil__sched()->engine->stats.submission_count, submissions + 1,
                  "there was nothing to ask the kernel but the engine's own wake");
}

FIBER_TEST(poll, what_another_fiber_has_taken_is_not_told)
{
    int fds[2];
    coil_fiber *fiber;
    char byte;

    make_pipe(fds);
    fiber = spawn_until_parked(poll_for_input, &fds[0]);
    put(fds[1]);
    while (fiber->tcb->state == COIL__FIBER_PARKED)
        coil_yield();
    cr_assert_eq(read(fds[0], &byte, 1), 1); /* between its wake and its turn */
    until_parked(fiber);
    cr_assert_not_null(fiber->tcb, "it was told of what is gone");

    put(fds[1]);
    cr_assert_eq(join_and_drop(fiber), POLLIN);
    close_pipe(fds);
}

enum {
    MANY = 1000,
};

FIBER_TEST(poll, a_thousand_descriptors_are_waited_for_at_once)
{
    struct pollfd *asked = malloc(MANY * sizeof *asked);
    struct question question = {asked, MANY};
    int(*fds)[2] = malloc(MANY * sizeof *fds);
    coil_fiber *fiber;

    for (int i = 0; i < MANY; i++) {
        make_pipe(fds[i]);
        asked[i] = (struct pollfd){.fd = fds[i][0], .events = POLLIN};
    }
    for (int i = 0; i < 3; i++) {
        char byte;
        const int chosen = i * (MANY - 1) / 2;

        fiber = spawn_until_parked(ask, &question);
        put(fds[chosen][1]);
        cr_assert_eq(join_and_drop(fiber), 1);
        cr_assert_eq(asked[chosen].revents, POLLIN);
        cr_assert_eq(active(), 0);
        cr_assert_eq(read(fds[chosen][0], &byte, 1), 1);
    }
    for (int i = 0; i < MANY; i++)
        close_pipe(fds[i]);
    free(fds);
    free(asked);
}

FIBER_TEST(poll, impossible_counts_and_a_lack_of_memory_are_told)
{
    struct pollfd asked[17];
    struct rlimit limit;
    struct rlimit tight;
    int fds[2];

    make_pipe(fds);
    for (int i = 0; i < 17; i++)
        asked[i] = (struct pollfd){.fd = fds[0], .events = POLLIN};
    coil__alloc_fail_after(0);
    cr_assert_eq(coil_poll(asked, 17), -ENOMEM);
    coil__alloc_fail_after(-1);
    cr_assert_eq(coil_poll(asked, (size_t)1 << 40), -EINVAL);
    cr_assert_eq(getrlimit(RLIMIT_NOFILE, &limit), 0);
    tight = (struct rlimit){.rlim_cur = 16, .rlim_max = limit.rlim_max};
    cr_assert_eq(setrlimit(RLIMIT_NOFILE, &tight), 0);
    cr_assert_eq(coil_poll(asked, 17), -EINVAL);
    cr_assert_eq(setrlimit(RLIMIT_NOFILE, &limit), 0);
    close_pipe(fds);
}

/* ---- What the ring tells and poll(2) does not ---- */

static int poll_for_room(void *arg)
{
    const int *fd = arg;

    return coil_poll_fd(*fd, POLLOUT);
}

FIBER_TEST(poll, a_peer_that_has_half_closed_wakes_nobody_who_waits_for_room)
{
    char block[4096] = "";
    coil_fiber *fiber;
    uint64_t completions;
    int fds[2];

    cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
    while (send(fds[0], block, sizeof block, MSG_DONTWAIT) > 0)
        continue;
    cr_assert_eq(shutdown(fds[1], SHUT_WR), 0);
    fiber = spawn_until_parked(poll_for_room, &fds[0]);
    for (int i = 0; i < 10; i++)
        coil_yield();
    completions = coil__sched()->engine->stats.completion_count;
    for (int i = 0; i < 1000; i++)
        coil_yield();
    cr_assert_lt(coil__sched()->engine->stats.completion_count, completions + 10);

    while (recv(fds[1], block, sizeof block, MSG_DONTWAIT) > 0)
        continue;
    cr_assert_eq(join_and_drop(fiber), POLLOUT);
    cr_assert_eq(active(), 0);
    close_pipe(fds);
}

FIBER_TEST(poll, of_duplicates_each_is_heeded_beside_a_peer_that_has_half_closed)
{
    struct pollfd asked[4];
    struct question question = {asked, 4};
    char block[4096] = "";
    coil_fiber *fiber;
    int fds[2];

    cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
    while (send(fds[0], block, sizeof block, MSG_DONTWAIT) > 0)
        continue;
    cr_assert_eq(shutdown(fds[1], SHUT_WR), 0);
    asked[0] = (struct pollfd){.fd = -1, .events = POLLIN};
    asked[1] = (struct pollfd){.fd = fds[0], .events = POLLPRI};
    asked[2] = (struct pollfd){.fd = fds[0], .events = POLLOUT};
    asked[3] = (struct pollfd){.fd = fds[0], .events = POLLPRI};
    fiber = spawn_until_parked(ask, &question);
    for (int i = 0; i < 10; i++)
        coil_yield();

    while (recv(fds[1], block, sizeof block, MSG_DONTWAIT) > 0)
        continue;
    cr_assert_eq(join_and_drop(fiber), 1);
    cr_assert_eq(asked[2].revents, POLLOUT);
    cr_assert_eq(active(), 0);
    close_pipe(fds);
}

static atomic_int strike_count;

static void count_strike(int number)
{
    (void)number;
    atomic_fetch_add(&strike_count, 1);
}

FIBER_TEST(poll, a_signal_that_strikes_is_not_the_end_of_a_wait)
{
    const struct itimerval often = {.it_interval = {0, 200}, .it_value = {0, 200}};
    const struct itimerval never = {.it_interval = {0, 0}};
    struct sigaction action = {.sa_handler = count_strike, .sa_flags = SA_RESTART};
    struct sigaction previous;
    struct pollfd *asked = malloc(MANY * sizeof *asked);
    int fds[2];

    make_pipe(fds);
    for (int i = 0; i < MANY; i++)
        asked[i] = (struct pollfd){.fd = fds[0], .events = POLLIN};
    cr_assert_eq(sigaction(SIGALRM, &action, &previous), 0);
    cr_assert_eq(setitimer(ITIMER_REAL, &often, NULL), 0);
    for (int i = 0; i < 200; i++) {
        coil_scope scope;
        int result;

        coil_scope_enter(&scope, COIL_US(100));
        result = coil_poll(asked, MANY);
        (void)coil_scope_leave(&scope);
        cr_assert_eq(result, -ETIMEDOUT, "%d after %d signals", result, strike_count);
    }
    cr_assert_eq(setitimer(ITIMER_REAL, &never, NULL), 0);
    cr_assert_eq(sigaction(SIGALRM, &previous, NULL), 0);
    cr_assert_gt(strike_count, 0);
    close_pipe(fds);
    free(asked);
}

/* SPDX-License-Identifier: MIT */
/* The engine table: what every engine owes its callers about operations, cancels and waits.
 *
 * Each test runs on all engines there are. They run with tiny rings too (COIL_URING_SIZE), where
 * nothing fits: that must never show.
 */
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/uio.h>

#include "engine/engine_fixture.h"

/* ---- One-shot operations ---- */

static char hello[] = "hello";

CONTRACT(contract, an_operation_is_done_in_wait_and_not_in_submit)
{
    struct op_probe probe;

    op_start(bench, &probe, OP(COIL__OP_NOP, -1, .flags = 0));

    cr_assert_eq(probe.done_count, 0);
    cr_assert_eq(bench->engine->stats.active_count, 1);
    bench_run_until(bench, &probe.done_count, 1);
    cr_assert_eq(probe.op.result, 0);
    cr_assert_eq(probe.op.request.state, COIL__REQUEST_IDLE);
    cr_assert_eq(bench->engine->stats.active_count, 0);
}

CONTRACT(contract, sent_bytes_are_received_by_the_peer)
{
    int fds[2];
    char text[8] = "";

    make_pair(fds);

    cr_assert_eq(op_run(bench, OP(COIL__OP_SEND, fds[0], .data = hello, .length = 5,
                                  .flags = MSG_NOSIGNAL | MSG_WAITALL)),
                 5);
    cr_assert_eq(op_run(bench, OP(COIL__OP_RECV, fds[1], .data = text, .length = 8)), 5);

    cr_assert_str_eq(text, "hello");
    close_pair(fds);
}

CONTRACT(contract, a_send_to_a_closed_peer_is_an_error_and_no_signal)
{
    int fds[2];

    make_pair(fds);
    (void)close(fds[1]);

    cr_assert_eq(
        op_run(bench, OP(COIL__OP_SEND, fds[0], .data = hello, .length = 1, .flags = MSG_NOSIGNAL)),
        -EPIPE);
    (void)close(fds[0]);
}

CONTRACT(contract, a_quiet_write_to_a_pipe_without_a_reader_is_an_error_and_no_signal)
{
    int fds[2];

    cr_assert_eq(pipe(fds), 0);
    (void)close(fds[0]);

    for (int i = 0; i < 2; i++) {
        cr_assert_eq(op_run(bench, OP(COIL__OP_WRITE, fds[1], .data = hello, .length = 1,
                                      .flags = COIL__OP_QUIET, .more.offset = UINT64_MAX)),
                     -EPIPE);
    }
    (void)close(fds[1]);
}

CONTRACT(contract, messages_carry_several_pieces)
{
    int fds[2];
    char text[8] = "";
    struct iovec out[2] = {{.iov_base = (char[]){'a', 'b'}, .iov_len = 2},
                           {.iov_base = (char[]){'c'}, .iov_len = 1}};
    struct iovec in = {.iov_base = text, .iov_len = sizeof text};
    struct msghdr sent = {.msg_iov = out, .msg_iovlen = 2};
    struct msghdr received = {.msg_iov = &in, .msg_iovlen = 1};

    make_pair(fds);

    cr_assert_eq(op_run(bench, OP(COIL__OP_SENDMSG, fds[0], .data = &sent, .flags = MSG_NOSIGNAL)),
                 3);
    cr_assert_eq(op_run(bench, OP(COIL__OP_RECVMSG, fds[1], .data = &received)), 3);

    cr_assert_str_eq(text, "abc");
    close_pair(fds);
}

CONTRACT(contract, a_poll_tells_which_events_there_are)
{
    int fds[2];
    struct op_probe probe;

    make_pair(fds);
    op_start(bench, &probe, OP(COIL__OP_POLL, fds[0], .flags = POLLIN));

    bench_turn(bench);
    cr_assert_eq(probe.done_count, 0);

    cr_assert_eq(write(fds[1], "x", 1), 1);
    bench_run_until(bench, &probe.done_count, 1);
    cr_assert_eq(probe.op.result, POLLIN);
    close_pair(fds);
}

CONTRACT(contract, a_connection_is_made_and_a_refused_one_says_so)
{
    struct sockaddr_in address;
    const int listener = make_listener(&address);
    const int good = socket(AF_INET, SOCK_STREAM, 0);
    const int bad = socket(AF_INET, SOCK_STREAM, 0);

    cr_assert_eq(
        op_run(bench, OP(COIL__OP_CONNECT, good, .data = &address, .length = sizeof address)), 0);
    (void)close(listener);
    cr_assert_eq(
        op_run(bench, OP(COIL__OP_CONNECT, bad, .data = &address, .length = sizeof address)),
        -ECONNREFUSED);

    (void)close(good);
    (void)close(bad);
}

CONTRACT(contract, files_are_opened_written_read_described_synced_and_closed)
{
    char directory[] = "/tmp/coil-engine-XXXXXX";
    char name[] = "f";
    char missing[] = "none";
    char content[] = "abcdef";
    char text[16] = "";
    struct statx status;
    int dir_fd;
    int fd;

    cr_assert_not_null(mkdtemp(directory));
    dir_fd = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    fd = op_run(bench, OP(COIL__OP_OPENAT, dir_fd, .data = name, .length = 0600,
                          .flags = O_RDWR | O_CREAT | O_CLOEXEC));
    cr_assert_geq(fd, 0);
    cr_assert_eq(
        op_run(bench, OP(COIL__OP_WRITE, fd, .data = content, .length = 6, .more.offset = 2)), 6);
    cr_assert_eq(op_run(bench, OP(COIL__OP_FSYNC, fd, .flags = 0)), 0);
    cr_assert_eq(
        op_run(bench, OP(COIL__OP_READ, fd, .data = text, .length = 3, .more.offset = UINT64_MAX)),
        3);
    cr_assert_eq(memcmp(text, "\0\0a", 3), 0);
    cr_assert_eq(
        op_run(bench, OP(COIL__OP_READ, fd, .data = text, .length = 16, .more.offset = UINT64_MAX)),
        5, "the first read moved the file's position");
    cr_assert_eq(memcmp(text, "bcdef", 5), 0);
    cr_assert_eq(op_run(bench, OP(COIL__OP_STATX, dir_fd, .data = name, .length = STATX_SIZE,
                                  .more.extra = &status)),
                 0);
    cr_assert_eq(status.stx_size, 8);
    cr_assert_eq(op_run(bench, OP(COIL__OP_CLOSE, fd, .flags = 0)), 0);
    cr_assert_eq(fcntl(fd, F_GETFD), -1);
    cr_assert_eq(op_run(bench, OP(COIL__OP_OPENAT, dir_fd, .data = missing)), -ENOENT);

    cr_assert_eq(unlinkat(dir_fd, "f", 0), 0);
    (void)close(dir_fd);
    cr_assert_eq(rmdir(directory), 0);
}

/* Names in a directory, and pieces of a file. -EINVAL is what an engine without an operation says,
 * having done nothing; then the rest proves nothing. */
CONTRACT(contract, names_are_made_moved_linked_and_removed)
{
    char directory[] = "/tmp/coil-engine-XXXXXX";
    char a[] = "a";
    char b[] = "b";
    struct stat status;
    int dir_fd;
    int made;

    cr_assert_not_null(mkdtemp(directory));
    dir_fd = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    made = op_run(bench, OP(COIL__OP_MKDIRAT, dir_fd, .data = a, .length = 0700));
    if (made == 0) {
        cr_assert_eq(op_run(bench, OP(COIL__OP_RENAMEAT, dir_fd, .data = a,
                                      .length = (uint64_t)dir_fd, .more.extra = b)),
                     0);
        cr_assert_eq(fstatat(dir_fd, "b", &status, 0), 0);
        cr_assert_eq(op_run(bench, OP(COIL__OP_SYMLINKAT, dir_fd, .data = a, .more.extra = b)), 0);
        cr_assert_eq(op_run(bench, OP(COIL__OP_UNLINKAT, dir_fd, .data = b)), -EISDIR);
        cr_assert_eq(op_run(bench, OP(COIL__OP_UNLINKAT, dir_fd, .data = b, .flags = AT_REMOVEDIR)),
                     0);
        cr_assert_eq(op_run(bench, OP(COIL__OP_LINKAT, dir_fd, .data = a,
                                      .length = (uint64_t)dir_fd, .more.extra = b)),
                     0);
        cr_assert_eq(fstatat(dir_fd, "b", &status, AT_SYMLINK_NOFOLLOW), 0);
        cr_assert_eq(status.st_nlink, 2);
        cr_assert_eq(op_run(bench, OP(COIL__OP_UNLINKAT, dir_fd, .data = a)), 0);
        cr_assert_eq(op_run(bench, OP(COIL__OP_UNLINKAT, dir_fd, .data = b)), 0);
    } else {
        cr_assert_eq(made, -EINVAL);
        cr_assert_eq(fstatat(dir_fd, "a", &status, 0), -1);
    }
    (void)close(dir_fd);
    cr_assert_eq(rmdir(directory), 0);
}

CONTRACT(contract, files_are_written_in_pieces_allocated_and_cut)
{
    char directory[] = "/tmp/coil-engine-XXXXXX";
    char name[80];
    char text[8] = "";
    struct iovec pieces[2] = {{hello, 2}, {hello + 2, 3}};
    struct stat status;
    int fd;
    int result;

    cr_assert_not_null(mkdtemp(directory));
    (void)snprintf(name, sizeof name, "%s/f", directory);
    fd = open(name, O_RDWR | O_CREAT | O_CLOEXEC, 0600);

    cr_assert_eq(op_run(bench, OP(COIL__OP_WRITEV, fd, .data = pieces, .length = 2)), 5);
    pieces[0].iov_base = text;
    pieces[1].iov_base = text + 2;
    cr_assert_eq(
        op_run(bench, OP(COIL__OP_READV, fd, .data = pieces, .length = 2, .more.offset = 1)), 4);
    cr_assert_str_eq(text, "ello");

    result = op_run(bench, OP(COIL__OP_FALLOCATE, fd, .length = 4096, .more.offset = 4096));
    cr_assert(result == 0 || result == -EINVAL || result == -EOPNOTSUPP, "%d", result);
    cr_assert_eq(fstat(fd, &status), 0);
    cr_assert_eq(status.st_size, result == 0 ? 8192 : 5);
    result = op_run(bench, OP(COIL__OP_FADVISE, fd, .flags = POSIX_FADV_DONTNEED));
    cr_assert(result == 0 || result == -EINVAL, "%d", result);
    result = op_run(bench, OP(COIL__OP_FTRUNCATE, fd, .length = 3));
    cr_assert(result == 0 || result == -EINVAL, "%d", result);
    cr_assert_eq(fstat(fd, &status), 0);
    cr_assert(result < 0 || status.st_size == 3);

    (void)close(fd);
    cr_assert_eq(unlink(name), 0);
    cr_assert_eq(rmdir(directory), 0);
}

struct chain {
    struct coil__op op;
    struct bench *bench;
    unsigned count;
};

static void chain_done(struct coil__op *op)
{
    struct chain *chain = container_of(op, struct chain, op);

    if (++chain->count < 500)
        chain->bench->engine->ops->submit(chain->bench->engine, op);
}

CONTRACT(contract, an_operation_may_be_submitted_again_from_its_own_callback)
{
    struct chain chain = {.op = OP(COIL__OP_NOP, -1, .done = chain_done), .bench = bench};

    bench->engine->ops->submit(bench->engine, &chain.op);
    bench_run_until(bench, &chain.count, 500);

    cr_assert_eq(bench->engine->stats.active_count, 0);
}

CONTRACT(contract, more_operations_than_any_queue_holds_are_all_done)
{
    enum {
        COUNT = 3000
    };
    static struct op_probe probes[COUNT];
    unsigned done_count = 0;

    for (unsigned i = 0; i < COUNT; i++)
        op_start(bench, &probes[i], OP(COIL__OP_NOP, -1, .flags = 0));
    cr_assert_eq(bench->engine->stats.active_count, COUNT);

    for (unsigned i = 0; i < COUNT; i++) {
        bench_run_until(bench, &probes[i].done_count, 1);
        done_count += probes[i].done_count;
    }
    cr_assert_eq(done_count, COUNT, "each is done once");
    cr_assert_eq(bench->engine->stats.active_count, 0);
}

/* ---- Cancelling ---- */

CONTRACT(contract, a_cancelled_receive_takes_no_bytes)
{
    int fds[2];
    char byte = 0;
    struct op_probe probe;

    make_pair(fds);
    op_start(bench, &probe, OP(COIL__OP_RECV, fds[0], .data = &byte, .length = 1));
    bench_turn(bench);

    bench->engine->ops->cancel(bench->engine, &probe.op);
    cr_assert_eq(probe.done_count, 0, "cancel() does not call back");
    bench_run_until(bench, &probe.done_count, 1);

    cr_assert_eq(probe.op.result, -ECANCELED);
    cr_assert_eq(write(fds[1], "x", 1), 1);
    cr_assert_eq(op_run(bench, OP(COIL__OP_RECV, fds[0], .data = &byte, .length = 1)), 1);
    close_pair(fds);
}

CONTRACT(contract, a_cancel_before_the_first_turn_ends_the_operation_too)
{
    int fds[2];
    char byte;
    struct op_probe probe;

    make_pair(fds);
    op_start(bench, &probe, OP(COIL__OP_RECV, fds[0], .data = &byte, .length = 1));
    bench->engine->ops->cancel(bench->engine, &probe.op);
    bench->engine->ops->cancel(bench->engine, &probe.op); /* twice is once */

    bench_run_until(bench, &probe.done_count, 1);
    cr_assert_eq(probe.op.result, -ECANCELED);
    close_pair(fds);
}

CONTRACT(contract, queued_operations_can_be_cancelled_in_any_order)
{
    enum {
        COUNT = 1000
    };
    static struct op_probe probes[COUNT];
    static char bytes[COUNT];
    int fds[2];

    make_pair(fds);
    for (unsigned i = 0; i < COUNT; i++)
        op_start(bench, &probes[i], OP(COIL__OP_RECV, fds[0], .data = &bytes[i], .length = 1));
    for (unsigned i = 0; i < COUNT; i += 2)
        bench->engine->ops->cancel(bench->engine, &probes[i].op);
    bench_turn(bench);
    for (unsigned i = COUNT; i-- > 0;)
        if (i % 2 == 1)
            bench->engine->ops->cancel(bench->engine, &probes[i].op);

    for (unsigned i = 0; i < COUNT; i++) {
        bench_run_until(bench, &probes[i].done_count, 1);
        cr_assert_eq(probes[i].done_count, 1);
        cr_assert_eq(probes[i].op.result, -ECANCELED);
    }
    close_pair(fds);
}

/* The operation and its cancel meet in every state; a byte must be either delivered or left. */
CONTRACT(contract, a_success_that_races_with_its_cancel_is_delivered)
{
    int fds[2];
    unsigned success_count = 0;

    make_pair(fds);
    for (unsigned round = 0; round < 200; round++) {
        char byte = 0;
        struct op_probe probe;

        op_start(bench, &probe, OP(COIL__OP_RECV, fds[0], .data = &byte, .length = 1));
        if (round % 3 == 1)
            bench_turn(bench);
        cr_assert_eq(write(fds[1], "x", 1), 1);
        if (round % 3 == 2)
            bench_turn(bench);
        if (probe.done_count == 0)
            bench->engine->ops->cancel(bench->engine, &probe.op);
        bench_run_until(bench, &probe.done_count, 1);

        if (probe.op.result == 1) {
            success_count++;
        } else {
            cr_assert_eq(probe.op.result, -ECANCELED);
            cr_assert_eq(recv(fds[0], &byte, 1, MSG_DONTWAIT), 1, "round %u", round);
        }
        cr_assert_eq(byte, 'x');
        cr_assert_eq(recv(fds[0], &byte, 1, MSG_DONTWAIT), -1);
    }
    cr_assert_gt(success_count, 0);
    close_pair(fds);
}

struct assassin {
    struct coil__op op;
    struct bench *bench;
    struct op_probe *victim;
};

static void assassin_done(struct coil__op *op)
{
    struct assassin *assassin = container_of(op, struct assassin, op);

    if (assassin->victim->done_count == 0)
        assassin->bench->engine->ops->cancel(assassin->bench->engine, &assassin->victim->op);
}

CONTRACT(contract, a_callback_may_cancel_what_completes_in_the_same_turn)
{
    int fds[2];

    make_pair(fds);
    for (unsigned round = 0; round < 50; round++) {
        char byte = 0;
        struct op_probe victim;
        struct assassin assassin = {
            .op = OP(COIL__OP_NOP, -1, .done = assassin_done),
            .bench = bench,
            .victim = &victim,
        };

        cr_assert_eq(write(fds[1], "x", 1), 1);
        bench->engine->ops->submit(bench->engine, &assassin.op);
        op_start(bench, &victim, OP(COIL__OP_RECV, fds[0], .data = &byte, .length = 1));
        bench_run_until(bench, &victim.done_count, 1);

        if (victim.op.result != 1)
            cr_assert_eq(recv(fds[0], &byte, 1, MSG_DONTWAIT), 1);
        cr_assert_eq(byte, 'x');
    }
    /* No cancel is left that could hit the next operation at the same address. */
    for (unsigned i = 0; i < 4; i++)
        bench_turn(bench);
    close_pair(fds);
}

/* ---- Waiting and waking ---- */

CONTRACT(contract, a_wait_never_ends_before_its_deadline)
{
    for (unsigned i = 0; i < 10; i++) {
        const int64_t deadline = coil__clock_now() + MS(3) + i * 100000;

        cr_assert_eq(bench->engine->ops->wait(bench->engine, deadline), 0);
        cr_assert_geq(coil__clock_now(), deadline);
    }
}

CONTRACT(contract, a_wait_for_a_passed_deadline_returns)
{
    cr_assert_eq(bench->engine->ops->wait(bench->engine, 0), 0);
    cr_assert_eq(bench->engine->ops->wait(bench->engine, 1), 0);
    cr_assert_eq(bench->engine->ops->wait(bench->engine, coil__clock_now() - 1), 0);
}

CONTRACT(contract, a_wake_before_the_wait_ends_the_wait)
{
    for (unsigned i = 0; i < 100; i++) {
        bench->engine->ops->wake(bench->engine);
        bench->engine->ops->wake(bench->engine);
        cr_assert_eq(bench->engine->ops->wait(bench->engine, INT64_MAX), 0);
    }
    cr_assert_geq(bench->engine->stats.wake_count, 100);
}

struct waker {
    struct bench *bench;
    unsigned count;
    pthread_t owner;
    atomic_uint wakes_seen;
};

/* Each wake waits until the one before was seen, so a lost one hangs the test. */
static void *wake_often(void *arg)
{
    struct waker *waker = arg;

    for (unsigned i = 0; i < waker->count; i++) {
        while (atomic_load(&waker->wakes_seen) != i)
            ;
        waker->bench->engine->ops->wake(waker->bench->engine);
    }
    return NULL;
}

CONTRACT(contract, no_wake_from_another_thread_is_lost)
{
    struct waker waker = {.bench = bench, .count = 3000};
    pthread_t thread;

    cr_assert_eq(pthread_create(&thread, NULL, wake_often, &waker), 0);
    for (unsigned i = 0; i < waker.count; i++) {
        cr_assert_eq(bench->engine->ops->wait(bench->engine, INT64_MAX), 0);
        atomic_fetch_add(&waker.wakes_seen, 1);
    }
    cr_assert_eq(pthread_join(thread, NULL), 0);
}

static struct coil__engine *signalled_engine;

static void wake_in_handler(int number)
{
    (void)number;
    signalled_engine->ops->wake(signalled_engine);
}

static void *signal_often(void *arg)
{
    struct waker *waker = arg;

    for (unsigned i = 0; i < waker->count; i++) {
        while (atomic_load(&waker->wakes_seen) != i)
            ;
        (void)pthread_kill(waker->owner, SIGUSR1);
    }
    return NULL;
}

CONTRACT(contract, no_wake_from_a_signal_handler_is_lost)
{
    struct sigaction action = {.sa_handler = wake_in_handler, .sa_flags = SA_RESTART};
    struct waker waker = {.bench = bench, .count = 1000, .owner = pthread_self()};
    pthread_t thread;

    signalled_engine = bench->engine;
    cr_assert_eq(sigaction(SIGUSR1, &action, NULL), 0);
    cr_assert_eq(pthread_create(&thread, NULL, signal_often, &waker), 0);
    for (unsigned i = 0; i < waker.count; i++) {
        cr_assert_eq(bench->engine->ops->wait(bench->engine, INT64_MAX), 0);
        atomic_fetch_add(&waker.wakes_seen, 1);
    }
    cr_assert_eq(pthread_join(thread, NULL), 0);
}

static void ignore_signal(int number)
{
    (void)number;
}

CONTRACT(contract, a_signal_does_not_end_a_wait)
{
    struct sigaction action = {.sa_handler = ignore_signal};
    const struct itimerval every_ms = {.it_value.tv_usec = 1000, .it_interval.tv_usec = 1000};
    const struct itimerval never = {.it_value.tv_usec = 0};
    const int64_t deadline = coil__clock_now() + MS(30);

    cr_assert_eq(sigaction(SIGALRM, &action, NULL), 0);
    cr_assert_eq(setitimer(ITIMER_REAL, &every_ms, NULL), 0);
    cr_assert_eq(bench->engine->ops->wait(bench->engine, deadline), 0);
    cr_assert_eq(setitimer(ITIMER_REAL, &never, NULL), 0);

    cr_assert_geq(coil__clock_now(), deadline);
}

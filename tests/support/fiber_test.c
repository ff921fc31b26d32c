/* SPDX-License-Identifier: MIT */
/* Running test bodies as fibers, and counting what they leave (tests/support/fiber_test.h). */
#include "support/fiber_test.h"

#include <dirent.h>
#include <stdlib.h>
#include <sys/socket.h>

#include "base/alloc.h"
#include "coil/stats.h"
#include "core/run.h"
#include "support/poll_engine.h"

struct body {
    void (*run)(void);
};

static int run_body(void *arg)
{
    const struct body *body = arg;

    body->run();
    return 0;
}

int fiber_test_coil_run(int (*main)(void *), void *arg, const coil_options *options,
                        int *ret_result)
{
    const char *engine = getenv("COIL_TEST_ENGINE");

    if (engine && strcmp(engine, "poll") == 0)
        coil__run_engine_open = coil__poll_engine_open;
    return coil_run(main, arg, options, ret_result);
}

void fiber_test_run(void (*body)(void), const coil_options *options)
{
    struct body wrapped = {.run = body};
    const int fds_before = count_fds();
    const int64_t blocks_before = coil__alloc_live_count();
    int result = -1;

    cr_assert_eq(fiber_test_coil_run(run_body, &wrapped, options, &result), 0,
                 "coil_run() itself failed, or fibers were left");
    cr_assert_eq(result, 0);
    cr_assert_eq(count_fds(), fds_before, "descriptors were left open");
    cr_assert_eq(coil__alloc_live_count(), blocks_before, "memory was left allocated");
}

static void be_silent(coil_log_level level, const char *message, void *arg)
{
    (void)level;
    (void)message;
    (void)arg;
}

int run_with_allocations(int (*main)(void *), void *arg, int n)
{
    const int64_t blocks = coil__alloc_live_count();
    const int fds = count_fds();
    int result = -1;
    int run_result;

    coil_log_set(be_silent, NULL);
    coil__alloc_fail_after(n);
    run_result = fiber_test_coil_run(main, arg, NULL, &result);
    coil__alloc_fail_after(-1);
    cr_assert_eq(coil__alloc_live_count(), blocks, "allocation %d", n);
    cr_assert_eq(count_fds(), fds, "allocation %d", n);
    return result != 0 ? result : run_result;
}

void until_parked(const coil_fiber *fiber)
{
    while (fiber->tcb && fiber->tcb->state != COIL__FIBER_PARKED)
        coil_yield();
}

void until_no_call_is_offloaded(void)
{
    coil_stats_info stats = COIL_STATS_INIT;

    do {
        coil_yield();
        cr_assert_eq(coil_stats(&stats), 0);
    } while (stats.offload_running > 0);
}

coil_fiber *spawn_until_parked(int (*fn)(void *), void *arg)
{
    coil_fiber *fiber;

    cr_assert_eq(coil_spawn(fn, arg, &fiber), 0);
    until_parked(fiber);
    return fiber;
}

int join_and_drop(coil_fiber *fiber)
{
    int result = INT32_MIN;

    cr_assert_eq(coil_join(fiber, &result), 0);
    coil_fiber_unref(fiber);
    return result;
}

int count_fds(void)
{
    DIR *directory = opendir("/proc/self/fd");
    int count = -1; /* its own */

    cr_assert_not_null(directory);
    while (readdir(directory))
        count++;
    cr_assert_eq(closedir(directory), 0);
    return count;
}

void stream_and_fd(coil_stream **ret_stream, int *ret_fd)
{
    int fds[2];

    cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
    cr_assert_eq(coil_adopt(fds[0], ret_stream), 0);
    *ret_fd = fds[1];
}

void stream_pair(coil_stream **ret_a, coil_stream **ret_b)
{
    int fd;

    stream_and_fd(ret_a, &fd);
    cr_assert_eq(coil_adopt(fd, ret_b), 0);
}

void tcp_pair(coil_stream **ret_client, coil_stream **ret_server)
{
    coil_listener *listener;
    char address[COIL_ADDRESS_SIZE];

    cr_assert_eq(coil_listen("127.0.0.1:0", NULL, &listener), 0);
    cr_assert_gt(coil_listener_address(listener, address, sizeof address), 0);
    cr_assert_eq(coil_connect(address, NULL, ret_client), 0);
    cr_assert_eq(coil_accept(listener, ret_server), 0);
    coil_listener_close(listener);
}

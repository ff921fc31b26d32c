/* SPDX-License-Identifier: MIT */
/* Tests whose body runs as a fiber, and small helpers for them.
 *
 * FIBER_TEST(suite, name) is Criterion's Test() with the body run as main of a fresh coil_run(). At
 * the end it fails when the body left anything behind: fibers, descriptors, or blocks of memory.
 * The engine is io_uring unless COIL_TEST_ENGINE=poll.
 *
 * No helper sleeps: what other fibers have to do first is awaited by watching their state.
 */
#ifndef COIL_TESTS_SUPPORT_FIBER_TEST_H
#define COIL_TESTS_SUPPORT_FIBER_TEST_H

#include <criterion/criterion.h>
#include <errno.h>
#include <string.h>

#include <coil/coil.h>

#include "core/sched.h"

#define FIBER_TEST(suite, name) FIBER_TEST_WITH(suite, name, NULL)

/* With coil_options: FIBER_TEST_WITH(net, few_buffers, (&(coil_options){...})). */
#define FIBER_TEST_WITH(suite, name, options)     \
 static void suite##_##name##_body(void);         \
 Test(suite, name, .timeout = 60)                 \
 {                                                \
  fiber_test_run(suite##_##name##_body, options); \
 }                                                \
 static void suite##_##name##_body(void)

void fiber_test_run(void (*body)(void), const coil_options *options);

/* coil_run() on the engine that the environment asks for, without the checks. */
int fiber_test_coil_run(int (*main)(void *), void *arg, const coil_options *options,
                        int *ret_result);

/* The same with a silent log and memory for `n` allocations only: each later one fails. The test
 * fails if blocks or descriptors are left. Returns 0 if the run and main passed, or what failed. */
int run_with_allocations(int (*main)(void *), void *arg, int n);

/* Spawns, and lets it run until it parks or ends. */
coil_fiber *spawn_until_parked(int (*fn)(void *), void *arg);

/* Yields until `fiber` is parked or has ended. */
void until_parked(const coil_fiber *fiber);

/* Yields until no thread of the offload pool runs a call any more, also one that nobody awaits. */
void until_no_call_is_offloaded(void);

/* Joins, drops the handle, returns the fiber's result. */
int join_and_drop(coil_fiber *fiber);

/* The number of open descriptors of this process. */
int count_fds(void);

/* Two connected streams; or a stream and the raw blocking descriptor of its peer. */
void stream_pair(coil_stream **ret_a, coil_stream **ret_b);
void stream_and_fd(coil_stream **ret_stream, int *ret_fd);

/* The same over TCP on loopback, through coil's own listener and connect. */
void tcp_pair(coil_stream **ret_client, coil_stream **ret_server);

#endif

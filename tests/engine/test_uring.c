/* SPDX-License-Identifier: MIT */
/* The io_uring engine at work: its buffers, its turn, its cancels, under a kernel that misbehaves.
 */
#include <signal.h>
#include <stdlib.h>
#include <sys/wait.h>

#include "base/alloc.h"
#include "engine/faulty_kernel.h"

/* ---- Buffers ---- */

URING_TEST(uring, receive_buffers_are_made_at_the_first_receive)
{
    struct receive_probe probe = {.last_result = 0};
    struct bench bench;
    int64_t count;
    int fds[2];

    make_pair(fds);
    bench_open(&bench, coil__uring_open, NULL);
    count = coil__alloc_live_count();
    cr_assert_eq(op_run(&bench, OP(COIL__OP_NOP, -1, .flags = 0)), 0);
    cr_assert_eq(coil__alloc_live_count(), count);

    receive_start(&bench, &probe, fds[0]);
    cr_assert_gt(coil__alloc_live_count(), count);
    receive_stop(&probe);
    bench_close(&bench);
    close_pair(fds);
}

URING_TEST(uring, refused_shared_buffers_are_replaced_by_private_ones)
{
    static const int errors[] = {-EINVAL, -ENOMEM, -EPERM};

    for (unsigned i = 0; i < 3; i++) {
        struct bench bench;

        fault = (struct fault){.register_opcode = IORING_REGISTER_PBUF_RING,
                               .register_error = errors[i]};
        bench_open(&bench, coil__uring_open, NULL);
        use_engine(&bench);
        cr_assert_not_null(strstr(bench.engine->ops->describe(bench.engine), "buffer_ring"));
        bench_close(&bench);
    }
}

URING_TEST(uring, without_memory_for_any_buffer_a_receive_is_starved)
{
    struct receive_probe probe = {.last_result = 0};
    struct bench bench;
    int fds[2];

    make_pair(fds);
    bench_open(&bench, coil__uring_open, NULL);
    coil__alloc_fail_after(0);
    receive_start(&bench, &probe, fds[0]);
    cr_assert_eq(probe.end_count, 0, "start() does not call back");
    bench_run_until(&bench, &probe.end_count, 1);
    coil__alloc_fail_after(-1);

    cr_assert_eq(probe.last_result, -ENOBUFS);
    cr_assert_eq(bench.engine->stats.starved_count, 1);
    use_engine(&bench);
    bench_close(&bench);
    close_pair(fds);
}

URING_TEST(uring, a_queued_receive_that_finds_no_buffer_does_not_sleep_on_it)
{
    struct receive_probe probe = {.last_result = 0};
    struct op_probe parked[2];
    struct bench bench;
    char bytes[2];
    int fds[2];

    cr_assert_eq(setenv("COIL_URING_SIZE", "2,4,4", 1), 0);
    cr_assert_eq(setenv("COIL_URING_OFF", "buffer_ring", 1), 0);
    make_pair(fds);
    bench_open(&bench, coil__uring_open, NULL);
    bench_turn(&bench);
    for (unsigned i = 0; i < 2; i++)
        op_start(&bench, &parked[i], OP(COIL__OP_RECV, fds[0], .data = &bytes[i], .length = 1));
    receive_start(&bench, &probe, fds[0]);
    cr_assert_eq(probe.receive.request.state, COIL__REQUEST_QUEUED);

    coil__alloc_fail_after(0);
    bench_wait(&bench);
    coil__alloc_fail_after(-1);

    cr_assert_eq(probe.last_result, -ENOBUFS);
    for (unsigned i = 0; i < 2; i++)
        bench.engine->ops->cancel(bench.engine, &parked[i].op);
    for (unsigned i = 0; i < 2; i++)
        bench_run_until(&bench, &parked[i].done_count, 1);
    bench_close(&bench);
    close_pair(fds);
}

URING_TEST(uring, a_kernel_without_multishot_is_found_out_by_use)
{
    struct bench bench;
    const char *text;

    fault.is_without_multishot = true;
    bench_open(&bench, coil__uring_open, NULL);
    fault.uring = coil__uring_of(bench.engine);
    use_engine(&bench);
    text = bench.engine->ops->describe(bench.engine);
    cr_assert_not_null(strstr(text, "multishot_recv"), "%s", text);
    cr_assert_not_null(strstr(text, "multishot_accept"), "%s", text);
    bench_close(&bench);
}

URING_TEST(uring, neighbouring_buffers_start_in_different_cache_sets)
{
    struct receive_probe probe = {.is_hoarding = true};
    struct bench bench;
    uintptr_t distance;
    int fds[2];

    make_pair(fds);
    bench_open(&bench, coil__uring_open, NULL);
    receive_start(&bench, &probe, fds[0]);
    cr_assert_eq(write(fds[1], "x", 1), 1);
    bench_run_until(&bench, &probe.event_count, 1);
    cr_assert_eq(write(fds[1], "x", 1), 1);
    bench_run_until(&bench, &probe.event_count, 2);

    distance = (uintptr_t)probe.hoard->data - (uintptr_t)probe.hoard->next->data;
    cr_assert_eq(distance % 4096, 64);
    receive_release(&probe);
    receive_stop(&probe);
    bench_close(&bench);
    close_pair(fds);
}

/* ---- The turn ---- */

URING_TEST(uring, a_turn_is_one_system_call)
{
    struct receive_probe probe = {.last_result = 0};
    struct op_probe send;
    struct bench bench;
    static char text[] = "hello";
    unsigned before;
    int fds[2];

    make_pair(fds);
    bench_open(&bench, coil__uring_open, NULL);
    receive_start(&bench, &probe, fds[0]);
    bench_turn(&bench);
    before = fault.enter_count;

    op_start(&bench, &send, OP(COIL__OP_SEND, fds[1], .data = text, .length = 5));
    cr_assert_eq(bench.engine->ops->wait(bench.engine, coil__clock_now() + MS(1000)), 0);
    cr_assert_eq(send.done_count, 1);
    cr_assert_eq(probe.length, 5, "submitted, run and reaped in the same turn");
    cr_assert_eq(fault.enter_count, before + 1);

    bench_turn(&bench);
    bench_turn(&bench);
    cr_assert_eq(fault.enter_count, before + 1, "no system call without a reason");

    cr_assert_eq(bench.engine->ops->wait(bench.engine, coil__clock_now() + MS(2)), 0);
    cr_assert_eq(fault.enter_count, before + 2, "one for an idle wait");
    receive_stop(&probe);
    bench_close(&bench);
    close_pair(fds);
}

URING_TEST(uring, passing_failures_of_the_nth_enter_are_survived)
{
    static const int errors[] = {-EBUSY, -EAGAIN, -EINTR};

    for (unsigned i = 0; i < 3; i++) {
        unsigned n = 0;

        do {
            n++;
            fault = (struct fault){
                .enter_fail_at = n, .enter_fail_count = 1 + n % 3, .enter_error = errors[i]};
            open_use_close();
        } while (fault.enter_count >= fault.enter_fail_at);
        cr_assert_gt(n, 5);
    }
}

URING_TEST(uring, a_kernel_that_stays_busy_for_a_while_does_not_stop_the_clock)
{
    struct bench bench;
    const int64_t deadline = coil__clock_now() + MS(20);
    struct op_probe probe;

    bench_open(&bench, coil__uring_open, NULL);
    fault.enter_fail_at = fault.enter_count + 1;
    fault.enter_fail_count = UINT32_MAX / 2;
    fault.enter_error = -EBUSY;
    op_start(&bench, &probe, OP(COIL__OP_NOP, -1, .flags = 0));
    cr_assert_eq(bench.engine->ops->wait(bench.engine, deadline), 0);
    cr_assert_geq(coil__clock_now(), deadline);
    cr_assert_eq(probe.done_count, 0);

    fault.enter_fail_at = 0;
    bench_run_until(&bench, &probe.done_count, 1);
    bench_close(&bench);
}

URING_TEST(uring, short_submits_are_continued)
{
    for (unsigned max = 1; max < 4; max++) {
        fault = (struct fault){.submit_max = max};
        open_use_close();
    }
}

URING_TEST(uring, a_turn_hands_over_everything_to_a_kernel_that_takes_one_at_a_time)
{
    struct op_probe probes[5];
    struct bench bench;
    const struct coil__uring *uring;

    bench_open(&bench, coil__uring_open, NULL);
    uring = coil__uring_of(bench.engine);
    fault.submit_max = 1;
    for (unsigned i = 0; i < 5; i++)
        op_start(&bench, &probes[i], OP(COIL__OP_NOP, -1, .flags = 0));
    bench_turn(&bench);

    cr_assert_eq(*uring->ring.sq.khead, uring->ring.sq.sqe_tail);
    bench_run_until(&bench, &probes[4].done_count, 1);
    bench_close(&bench);
}

/* Without SUBMIT_ALL the kernel stops at an entry that it refuses. */
URING_TEST(uring, an_invalid_operation_does_not_hold_up_the_next_ones)
{
    static const char *const off[] = {"", "submit_all"};

    for (unsigned i = 0; i < 2; i++) {
        struct op_probe before;
        struct op_probe invalid;
        struct op_probe after;
        struct bench bench;

        cr_assert_eq(setenv("COIL_URING_OFF", off[i], 1), 0);
        bench_open(&bench, coil__uring_open, NULL);
        op_start(&bench, &before, OP(COIL__OP_NOP, -1, .flags = 0));
        op_start(&bench, &invalid, OP(COIL__OP_FSYNC, 0, .flags = 0x80000000U));
        op_start(&bench, &after, OP(COIL__OP_NOP, -1, .flags = 0));
        bench_run_until(&bench, &after.done_count, 1);

        cr_assert_eq(before.done_count, 1);
        cr_assert_eq(invalid.op.result, -EINVAL);
        bench_close(&bench);
    }
}

URING_TEST(uring, a_broken_ring_is_reported)
{
    struct bench bench;

    bench_open(&bench, coil__uring_open, NULL);
    bench_turn(&bench);
    fault.enter_fail_at = fault.enter_count + 1;
    fault.enter_fail_count = 1;
    fault.enter_error = -EBADR;

    cr_assert_eq(bench.engine->ops->wait(bench.engine, INT64_MAX), -EBADR);
    bench_close(&bench);
}

URING_TEST(uring, a_kernel_without_absolute_deadlines_gets_relative_ones)
{
    struct bench bench;
    const int64_t deadline = coil__clock_now() + MS(10);

    bench_open(&bench, coil__uring_open, NULL);
    bench_turn(&bench);
    fault.enter_fail_at = fault.enter_count + 1;
    fault.enter_fail_count = 1;
    fault.enter_error = -EINVAL;

    cr_assert_eq(bench.engine->ops->wait(bench.engine, deadline), 0);
    cr_assert_geq(coil__clock_now(), deadline);
    cr_assert_not_null(strstr(bench.engine->ops->describe(bench.engine), "abs_timer"));
    bench_close(&bench);
}

URING_TEST(uring, an_overflown_completion_queue_loses_nothing_and_is_counted)
{
    enum {
        COUNT = 500
    };
    static struct op_probe probes[COUNT];
    struct bench bench;

    cr_assert_eq(setenv("COIL_URING_SIZE", "2,4,4", 1), 0);
    bench_open(&bench, coil__uring_open, NULL);
    for (unsigned i = 0; i < COUNT; i++)
        op_start(&bench, &probes[i], OP(COIL__OP_NOP, -1, .flags = 0));
    for (unsigned i = 0; i < COUNT; i++)
        bench_run_until(&bench, &probes[i].done_count, 1);

    cr_assert_gt(bench.engine->stats.overflow_count, 0);
    cr_assert_gt(bench.engine->stats.queued_count, 0);
    bench_close(&bench);
}

URING_TEST(uring, an_overflown_completion_queue_is_emptied_without_waiting)
{
    enum {
        COUNT = 20
    };
    struct op_probe probes[COUNT];
    struct bench bench;

    cr_assert_eq(setenv("COIL_URING_SIZE", "2,4,4", 1), 0);
    bench_open(&bench, coil__uring_open, NULL);
    for (unsigned i = 0; i < COUNT; i++)
        op_start(&bench, &probes[i], OP(COIL__OP_NOP, -1, .flags = 0));
    for (unsigned i = 0; i < COUNT; i++)
        bench_turn(&bench);

    for (unsigned i = 0; i < COUNT; i++)
        cr_assert_eq(probes[i].done_count, 1);
    bench_close(&bench);
}

URING_TEST(uring, each_submission_has_a_generation_of_its_own)
{
    struct op_probe probe;
    struct bench bench;
    uint16_t last;

    bench_open(&bench, coil__uring_open, NULL);
    op_start(&bench, &probe, OP(COIL__OP_NOP, -1, .flags = 0));
    last = probe.op.request.generation;
    bench_run_until(&bench, &probe.done_count, 1);

    op_start(&bench, &probe, OP(COIL__OP_NOP, -1, .flags = 0));
    cr_assert_neq(probe.op.request.generation, last);
    bench_run_until(&bench, &probe.done_count, 1);
    bench_close(&bench);
}

/* ---- Cancels ---- */

static void cancel_operation_that_ends_with(int kernel_result)
{
    struct bench bench;
    struct op_probe probe;
    char byte;
    int fds[2];

    make_pair(fds);
    bench_open(&bench, coil__uring_open, NULL);
    fault.uring = coil__uring_of(bench.engine);
    fault.cancelled_result = kernel_result;
    op_start(&bench, &probe, OP(COIL__OP_RECV, fds[0], .data = &byte, .length = 1));
    bench_turn(&bench);
    bench.engine->ops->cancel(bench.engine, &probe.op);
    bench_run_until(&bench, &probe.done_count, 1);

    cr_assert_eq(probe.op.result, -ECANCELED);
    bench_close(&bench);
    close_pair(fds);
}

URING_TEST(uring, an_interrupted_worker_thread_looks_like_any_other_cancel)
{
    cancel_operation_that_ends_with(-EINTR);
    fault = (struct fault){.uring = NULL};
    cancel_operation_that_ends_with(-512); /* ERESTARTSYS, from an open that waits */
}

/* The kernel refuses entries, so the cancel waits in its list while the target completes. */
URING_TEST(uring, a_cancel_that_comes_too_late_does_not_hit_the_next_tenant)
{
    struct bench bench;
    struct op_probe probe;
    struct op_probe other;
    char byte = 0;
    int fds[2];

    make_pair(fds);
    bench_open(&bench, coil__uring_open, NULL);
    op_start(&bench, &probe, OP(COIL__OP_RECV, fds[0], .data = &byte, .length = 1));
    bench_turn(&bench);
    op_start(&bench, &other, OP(COIL__OP_NOP, -1, .flags = 0));
    fault.enter_fail_at = fault.enter_count + 1;
    fault.enter_fail_count = 1;
    fault.enter_error = -EBUSY;
    bench_turn(&bench);
    cr_assert_eq(fault.enter_count, fault.enter_fail_at);

    bench.engine->ops->cancel(bench.engine, &probe.op);
    cr_assert_eq(write(fds[1], "x", 1), 1);
    bench_run_until(&bench, &probe.done_count, 1);
    cr_assert_eq(probe.op.result, 1, "the success is delivered");

    op_start(&bench, &probe, OP(COIL__OP_RECV, fds[0], .data = &byte, .length = 1));
    for (unsigned i = 0; i < 5; i++)
        bench_turn(&bench);
    cr_assert_eq(probe.done_count, 0, "the next operation at this address lives");
    cr_assert_eq(write(fds[1], "y", 1), 1);
    bench_run_until(&bench, &probe.done_count, 1);
    cr_assert_eq(byte, 'y');
    bench_run_until(&bench, &other.done_count, 1);
    bench_close(&bench);
    close_pair(fds);
}

URING_TEST(uring, a_cancel_goes_before_everything_that_is_queued)
{
    enum {
        COUNT = 100
    };
    static struct op_probe probes[COUNT];
    struct op_probe parked;
    struct bench bench;
    char byte;
    int fds[2];

    cr_assert_eq(setenv("COIL_URING_SIZE", "2,64,4", 1), 0);
    make_pair(fds);
    bench_open(&bench, coil__uring_open, NULL);
    op_start(&bench, &parked, OP(COIL__OP_RECV, fds[0], .data = &byte, .length = 1));
    bench_turn(&bench);
    for (unsigned i = 0; i < COUNT; i++)
        op_start(&bench, &probes[i], OP(COIL__OP_NOP, -1, .flags = 0));
    bench.engine->ops->cancel(bench.engine, &parked.op);
    fault.uring = coil__uring_of(bench.engine);

    bench_run_until(&bench, &parked.done_count, 1);
    cr_assert_eq(fault.cancel_position, 3, "two were in the submission queue already");
    for (unsigned i = 0; i < COUNT; i++)
        bench_run_until(&bench, &probes[i].done_count, 1);
    bench_close(&bench);
    close_pair(fds);
}

URING_TEST(uring, a_completion_for_another_tenant_stops_the_program)
{
    int status;
    const pid_t child = fork();

    if (child == 0) {
        const struct coil__engine_options options = {.sq_size = 0};
        struct coil__engine *engine;
        struct coil__op op = {.request = {.kind = COIL__OP_NOP, .fd = -1}};
        char why[256];

        (void)signal(SIGABRT, SIG_DFL);
        if (coil__uring_open(&options, &engine, why) < 0)
            _exit(1);
        engine->ops->submit(engine, &op);
        op.request.generation++;
        (void)engine->ops->wait(engine, 0);
        _exit(2);
    }
    cr_assert_eq(waitpid(child, &status, 0), child);
    cr_assert(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
}

/* SPDX-License-Identifier: MIT */
/* The io_uring engine against a kernel that refuses, fails and does things by halves.
 *
 * The engine's three system calls are replaced by functions that pass on to the real ones, after
 * doing what `fault` asks for.
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>

#include "base/alloc.h"
#include "engine/engine_fixture.h"
#include "engine/uring.h"

TestSuite(uring, .timeout = 30);

/* ---- The faulty kernel ---- */

static const struct coil__uring_kernel *real;

static struct fault {
    unsigned refused_setup_flags; /* -EINVAL for set-ups with any of these */
    int setup_error;              /* of the first `setup_error_count` set-ups */
    unsigned setup_error_count;
    unsigned sq_max;           /* -ENOMEM for more entries; 0 for no limit */
    unsigned missing_features; /* taken away from what set-up reports */
    int register_error;        /* of `register_opcode` */
    unsigned register_opcode;
    bool is_registered_fd_useless;
    unsigned enter_fail_at; /* the N-th enter fails, from 1 */
    unsigned enter_fail_count;
    int enter_error;
    unsigned submit_max;       /* entries taken by an enter; 0 for no limit */
    bool is_without_multishot; /* as Linux before 5.19 */

    unsigned setup_count;
    unsigned enter_count;
    unsigned entry_count;     /* submitted since `uring` was set */
    unsigned cancel_position; /* of the first cancel among them, from 1 */
    unsigned last_sq_entries;
    unsigned last_cq_entries;
    struct coil__uring *uring;
} fault;

static int faulty_setup(unsigned entries, struct io_uring_params *params)
{
    int fd;

    fault.setup_count++;
    fault.last_sq_entries = entries;
    fault.last_cq_entries = params->cq_entries;
    if (params->flags & fault.refused_setup_flags)
        return -EINVAL;
    if (fault.setup_count <= fault.setup_error_count)
        return fault.setup_error;
    if (fault.sq_max && entries > fault.sq_max)
        return -ENOMEM;
    fd = real->setup(entries, params);
    params->features &= ~fault.missing_features;
    return fd;
}

/* Looks at the entries that are about to be submitted, and spoils multishot ones if asked to. */
static void inspect_entries(const struct coil__uring *uring)
{
    const struct io_uring_sq *sq = &uring->ring.sq;

    for (unsigned i = *sq->khead; i != sq->sqe_tail; i++) {
        struct io_uring_sqe *sqe = &sq->sqes[i & sq->ring_mask];

        fault.entry_count++;
        if (sqe->opcode == IORING_OP_ASYNC_CANCEL && fault.cancel_position == 0)
            fault.cancel_position = fault.entry_count;
        if (fault.is_without_multishot && sqe->ioprio &&
            (sqe->opcode == IORING_OP_RECV || sqe->opcode == IORING_OP_ACCEPT))
            sqe->ioprio = 0x8000; /* an unknown flag */
    }
}

static int faulty_enter(int fd, unsigned to_submit, unsigned min_complete, unsigned flags,
                        void *arg, size_t argsize)
{
    fault.enter_count++;
    if (fault.enter_fail_at && fault.enter_count >= fault.enter_fail_at &&
        fault.enter_count < fault.enter_fail_at + fault.enter_fail_count)
        return fault.enter_error;
    if (fault.is_registered_fd_useless && (flags & IORING_ENTER_REGISTERED_RING))
        return -EBADF;
    if (fault.uring && to_submit > 0)
        inspect_entries(fault.uring);
    if (fault.submit_max && to_submit > fault.submit_max) {
        /* The kernel does not wait after it took a part. */
        return real->enter(fd, fault.submit_max, 0, flags & ~(unsigned)IORING_ENTER_GETEVENTS, NULL,
                           0);
    }
    return real->enter(fd, to_submit, min_complete, flags, arg, argsize);
}

static int faulty_register(int fd, unsigned opcode, void *arg, unsigned nr)
{
    if (fault.register_error && opcode == fault.register_opcode)
        return fault.register_error;
    return real->register_(fd, opcode, arg, nr);
}

static const struct coil__uring_kernel faulty_kernel = {
    .setup = faulty_setup,
    .enter = faulty_enter,
    .register_ = faulty_register,
};

static void set_up(void)
{
    real = coil__uring_kernel;
    coil__uring_kernel = &faulty_kernel;
    /* These tests choose their own environment. */
    (void)unsetenv("COIL_URING_OFF");
    (void)unsetenv("COIL_URING_SIZE");
    fault = (struct fault){.setup_count = 0};
}

#define URING_TEST(name) Test(uring, name, .init = set_up)

/* ---- Scenarios ---- */

static void close_pair(const int fds[2])
{
    (void)close(fds[0]);
    (void)close(fds[1]);
}

/* A bit of everything: standing orders, sends, operations, a cancel. */
static void use(struct bench *bench)
{
    struct sockaddr_in address;
    const int listener = make_listener(&address);
    static char message[] = "0123456789";
    char received[64];
    struct receive_probe receive = {
        .bytes = received, .size = sizeof received, .is_restarting = true};
    struct accept_probe accept;
    struct op_probe parked;
    char byte;
    int client;
    int fds[2];

    make_pair(fds);
    receive_start(bench, &receive, fds[0]);
    accept_start(bench, &accept, listener, false);
    op_start(bench, &parked, OP(COIL__OP_RECV, fds[1], .data = &byte, .length = 1));
    for (unsigned i = 0; i < 3; i++)
        cr_assert_eq(op_run(bench, OP(COIL__OP_SEND, fds[1], .data = message, .length = 10,
                                      .flags = MSG_NOSIGNAL | MSG_WAITALL)),
                     10);
    client = dial(&address);
    bench_run_until(bench, &accept.accepted_count, 1);
    bench->engine->ops->cancel(bench->engine, &parked.op);
    bench_run_until(bench, &parked.done_count, 1);
    cr_assert_eq(parked.op.result, -ECANCELED);
    while (receive.length < 30)
        cr_assert_eq(bench->engine->ops->wait(bench->engine, coil__clock_now() + MS(1000)), 0);
    cr_assert_eq(memcmp(received, "012345678901234567890123456789", 30), 0);

    receive_stop(&receive);
    accept_stop(&accept);
    accept_close_all(&accept);
    (void)close(client);
    (void)close(listener);
    close_pair(fds);
}

static void open_use_close(void)
{
    struct bench bench;

    bench_open(&bench, coil__uring_open, NULL);
    fault.uring = coil__uring_of(bench.engine);
    use(&bench);
    bench_close(&bench);
    fault.uring = NULL;
}

static int open_failing(char why[256])
{
    const struct coil__engine_options options = {.sq_size = 0};
    struct coil__engine *engine = NULL;
    const int fd_count = count_open_fds();
    const int64_t alloc_count = coil__alloc_live_count();
    const int result = coil__uring_open(&options, &engine, why);

    cr_assert_lt(result, 0);
    cr_assert_null(engine, "untouched on failure");
    cr_assert_eq(count_open_fds(), fd_count);
    cr_assert_eq(coil__alloc_live_count(), alloc_count);
    return result;
}

/* ---- Set-up ---- */

URING_TEST(a_ring_with_everything_works)
{
    struct bench bench;

    bench_open(&bench, coil__uring_open, NULL);
    cr_assert_not_null(strstr(bench.engine->ops->describe(bench.engine), "io_uring, sq "));
    use(&bench);
    bench_close(&bench);
}

static const struct {
    const char *name;
    unsigned setup_flag;
} names[] = {
    {"defer_taskrun", IORING_SETUP_DEFER_TASKRUN},
    {"single_issuer", IORING_SETUP_SINGLE_ISSUER},
    {"coop_taskrun", IORING_SETUP_COOP_TASKRUN},
    {"taskrun_flag", IORING_SETUP_TASKRUN_FLAG},
    {"submit_all", IORING_SETUP_SUBMIT_ALL},
    {"cqsize", IORING_SETUP_CQSIZE},
    {"clamp", IORING_SETUP_CLAMP},
    {"registered_fd", 0},
    {"multishot_accept", 0},
    {"multishot_recv", 0},
    {"buffer_ring", 0},
    {"abs_timer", 0},
    {"no_iowait", 0},
};

enum {
    NAME_COUNT = sizeof names / sizeof names[0]
};

URING_TEST(each_ability_can_be_left_off_by_the_environment)
{
    for (unsigned i = 0; i < NAME_COUNT; i++) {
        struct bench bench;
        char expected[64];

        (void)snprintf(expected, sizeof expected, ", %s off", names[i].name);
        cr_assert_eq(setenv("COIL_URING_OFF", names[i].name, 1), 0);
        bench_open(&bench, coil__uring_open, NULL);
        cr_assert_not_null(strstr(bench.engine->ops->describe(bench.engine), expected), "%s",
                           names[i].name);
        use(&bench);
        bench_close(&bench);
    }
}

URING_TEST(each_refused_set_up_flag_is_done_without)
{
    for (unsigned i = 0; i < NAME_COUNT; i++) {
        struct bench bench;
        char expected[64];

        if (names[i].setup_flag == 0)
            continue;
        fault = (struct fault){.refused_setup_flags = names[i].setup_flag};
        (void)snprintf(expected, sizeof expected, ", %s refused", names[i].name);
        bench_open(&bench, coil__uring_open, NULL);
        cr_assert_not_null(strstr(bench.engine->ops->describe(bench.engine), expected), "%s",
                           bench.engine->ops->describe(bench.engine));
        use(&bench);
        bench_close(&bench);
    }
}

URING_TEST(a_kernel_that_refuses_all_flags_and_registrations_will_do)
{
    fault.refused_setup_flags = ~0U;
    fault.register_error = -EINVAL;
    fault.register_opcode = IORING_REGISTER_RING_FDS;
    open_use_close();
}

URING_TEST(an_unknown_name_in_the_environment_is_named)
{
    char why[256] = "";

    cr_assert_eq(setenv("COIL_URING_OFF", "submit_all,defer_taskrum,cqsize", 1), 0);
    cr_assert_eq(open_failing(why), -EINVAL);
    cr_assert_not_null(strstr(why, "COIL_URING_OFF"), "%s", why);
    cr_assert_not_null(strstr(why, "\"defer_taskrum\""), "%s", why);
}

URING_TEST(sizes_that_make_no_sense_are_an_error)
{
    static const char *const wrong[] = {"8",      "8,16",   "8,16,x",   "0,16,4",
                                        "8,16,3", "8,4,4",  "8,16,4,1", "-1,16,4",
                                        "8,16,",  "8 16 4", "8,16,4 ",  "99999999,99999999,4"};

    for (unsigned i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        char why[256] = "";

        cr_assert_eq(setenv("COIL_URING_SIZE", wrong[i], 1), 0);
        cr_assert_eq(open_failing(why), -EINVAL, "%s", wrong[i]);
        cr_assert_gt(strlen(why), 20);
    }
}

URING_TEST(the_environment_overrides_the_sizes)
{
    struct bench bench;

    cr_assert_eq(setenv("COIL_URING_SIZE", "2,4,4", 1), 0);
    bench_open(&bench, coil__uring_open, NULL);
    cr_assert_not_null(
        strstr(bench.engine->ops->describe(bench.engine), "sq 2, cq 4, buffers 4 x 16384"));
    use(&bench);
    bench_close(&bench);
}

URING_TEST(a_refusal_says_what_happened_and_what_to_do)
{
    static const struct {
        int error;
        const char *expected[4];
    } cases[] = {
        {-EPERM, {"EPERM", "error 1)", "seccomp", "kernel.io_uring_disabled"}},
        {-EACCES, {"EACCES", "error 13)", "seccomp", "kernel.io_uring_disabled"}},
        {-ENOSYS, {"ENOSYS", "error 38)", "kernel", "seccomp"}},
        {-EMFILE, {"EMFILE", "error 24)", "ulimit -n", "file descriptor"}},
        {-EFAULT, {"EFAULT", "error 14)", "io_uring", "refused"}},
    };

    for (unsigned i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char why[256] = "";

        fault = (struct fault){.setup_error = cases[i].error, .setup_error_count = 1000};
        cr_assert_eq(open_failing(why), cases[i].error);
        for (unsigned k = 0; k < 4; k++)
            cr_assert_not_null(strstr(why, cases[i].expected[k]), "%s", why);
        cr_assert_lt(strlen(why), 255, "not cut off");
    }
}

URING_TEST(a_kernel_without_the_features_that_coil_needs_is_refused)
{
    const unsigned needed[] = {IORING_FEAT_EXT_ARG, IORING_FEAT_NODROP};

    for (unsigned i = 0; i < 2; i++) {
        char why[256] = "";

        fault.missing_features = needed[i];
        cr_assert_eq(open_failing(why), -ENOSYS);
        cr_assert_not_null(strstr(why, "5.11"), "%s", why);
    }
}

URING_TEST(too_little_memory_halves_the_queues)
{
    struct bench bench;

    fault.sq_max = 64;
    bench_open(&bench, coil__uring_open,
               &(struct coil__engine_options){.sq_size = 256, .cq_size = 4096});
    cr_assert_eq(fault.last_sq_entries, 64);
    cr_assert_eq(fault.last_cq_entries, 1024);
    use(&bench);
    bench_close(&bench);
}

URING_TEST(memory_that_comes_back_late_is_waited_for)
{
    fault.setup_error = -ENOMEM;
    fault.setup_error_count = 9;
    open_use_close();
    cr_assert_eq(fault.last_sq_entries, 32);
}

URING_TEST(memory_that_does_not_come_back_is_explained_after_a_second)
{
    const int64_t start = coil__clock_now();
    char why[256] = "";

    fault.setup_error = -ENOMEM;
    fault.setup_error_count = UINT32_MAX;
    cr_assert_eq(open_failing(why), -ENOMEM);

    cr_assert_not_null(strstr(why, "raise memlock (ulimit -l)"), "%s", why);
    cr_assert_geq(coil__clock_now() - start, MS(1000));
    cr_assert_lt(coil__clock_now() - start, MS(3000));
}

URING_TEST(a_registration_of_the_ring_without_effect_is_not_used)
{
    struct bench bench;

    fault.is_registered_fd_useless = true;
    bench_open(&bench, coil__uring_open, NULL);
    cr_assert_not_null(strstr(bench.engine->ops->describe(bench.engine), "registered_fd refused"));
    use(&bench);
    bench_close(&bench);
}

URING_TEST(the_nth_allocation_may_fail_at_open)
{
    const struct coil__engine_options options = {.sq_size = 0};
    const int fd_count = count_open_fds();
    struct coil__engine *engine = NULL;
    char why[256] = "";
    int64_t n = 0;

    for (;; n++) {
        const int64_t alloc_count = coil__alloc_live_count();
        int result;

        coil__alloc_fail_after(n);
        result = coil__uring_open(&options, &engine, why);
        coil__alloc_fail_after(-1);
        if (result == 0)
            break;
        cr_assert_eq(result, -ENOMEM);
        cr_assert_gt(strlen(why), 0);
        cr_assert_eq(coil__alloc_live_count(), alloc_count);
        cr_assert_eq(count_open_fds(), fd_count);
    }
    cr_assert_geq(n, 1);
    engine->ops->close(engine);
}

URING_TEST(running_out_of_descriptors_at_open_leaves_nothing)
{
    struct bench bench;
    char why[256] = "";
    int fds[1024];
    int count = 0;
    struct rlimit limit = {.rlim_cur = 64, .rlim_max = 1024};

    cr_assert_eq(setrlimit(RLIMIT_NOFILE, &limit), 0);
    while ((fds[count] = dup(0)) >= 0)
        count++;
    /* With one descriptor free the ring is made, and then taken down for want of an eventfd. */
    (void)close(fds[--count]);
    cr_assert_eq(open_failing(why), -EMFILE);
    cr_assert_not_null(strstr(why, "ulimit -n"), "%s", why);
    while (count > 0)
        (void)close(fds[--count]);

    bench_open(&bench, coil__uring_open, NULL);
    use(&bench);
    bench_close(&bench);
}

URING_TEST(a_child_process_does_not_inherit_the_ring)
{
    struct bench bench;
    const struct coil__uring *uring;
    int status;
    pid_t child;

    bench_open(&bench, coil__uring_open, NULL);
    uring = coil__uring_of(bench.engine);
    child = fork();
    if (child == 0) {
        unsigned char resident[64];

        _exit(mincore(uring->ring.sq.sqes, 4096, resident) == -1 ? 0 : 1);
    }
    cr_assert_eq(waitpid(child, &status, 0), child);
    cr_assert_eq(status, 0);
    bench_close(&bench);
}

/* ---- Buffers ---- */

URING_TEST(receive_buffers_are_made_at_the_first_receive)
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

URING_TEST(refused_shared_buffers_are_replaced_by_private_ones)
{
    static const int errors[] = {-EINVAL, -ENOMEM, -EPERM};

    for (unsigned i = 0; i < 3; i++) {
        struct bench bench;

        fault = (struct fault){.register_opcode = IORING_REGISTER_PBUF_RING,
                               .register_error = errors[i]};
        bench_open(&bench, coil__uring_open, NULL);
        use(&bench);
        cr_assert_not_null(strstr(bench.engine->ops->describe(bench.engine), "buffer_ring"));
        bench_close(&bench);
    }
}

URING_TEST(without_memory_for_any_buffer_a_receive_is_starved)
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
    use(&bench);
    bench_close(&bench);
    close_pair(fds);
}

URING_TEST(a_kernel_without_multishot_is_found_out_by_use)
{
    struct bench bench;
    const char *text;

    fault.is_without_multishot = true;
    bench_open(&bench, coil__uring_open, NULL);
    fault.uring = coil__uring_of(bench.engine);
    use(&bench);
    text = bench.engine->ops->describe(bench.engine);
    cr_assert_not_null(strstr(text, "multishot_recv"), "%s", text);
    cr_assert_not_null(strstr(text, "multishot_accept"), "%s", text);
    bench_close(&bench);
}

URING_TEST(neighbouring_buffers_start_in_different_cache_sets)
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

URING_TEST(a_turn_is_one_system_call)
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

URING_TEST(passing_failures_of_the_nth_enter_are_survived)
{
    static const int errors[] = {-EBUSY, -EAGAIN, -EINTR};

    for (unsigned i = 0; i < 3; i++) {
        unsigned n = 1;

        do {
            fault = (struct fault){
                .enter_fail_at = n++, .enter_fail_count = 1 + n % 3, .enter_error = errors[i]};
            open_use_close();
        } while (fault.enter_count >= fault.enter_fail_at);
        cr_assert_gt(n, 5);
    }
}

URING_TEST(a_kernel_that_stays_busy_for_a_while_does_not_stop_the_clock)
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

URING_TEST(short_submits_are_continued)
{
    for (unsigned max = 1; max < 4; max++) {
        fault = (struct fault){.submit_max = max};
        open_use_close();
    }
}

URING_TEST(a_broken_ring_is_reported)
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

URING_TEST(a_kernel_without_absolute_deadlines_gets_relative_ones)
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

URING_TEST(an_overflown_completion_queue_loses_nothing_and_is_counted)
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

/* ---- Cancels ---- */

/* The kernel refuses entries, so the cancel waits in its list while the target completes. */
URING_TEST(a_cancel_that_comes_too_late_does_not_hit_the_next_tenant)
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

URING_TEST(a_cancel_goes_before_everything_that_is_queued)
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

URING_TEST(a_completion_for_another_tenant_stops_the_program)
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

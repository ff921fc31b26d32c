/* SPDX-License-Identifier: MIT */
/* Setting up the ring: whatever the kernel refuses is done without, or explained. */
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>

#include "base/alloc.h"
#include "engine/faulty_kernel.h"

URING_TEST(uring_setup, a_ring_with_everything_works)
{
    struct bench bench;

    bench_open(&bench, coil__uring_open, NULL);
    cr_assert_not_null(strstr(bench.engine->ops->describe(bench.engine), "io_uring, sq "));
    use_engine(&bench);
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
    {"multishot_recvmsg", 0},
    {"buffer_ring", 0},
    {"abs_timer", 0},
    {"no_iowait", 0},
    {"nosignal", 0},
};

enum {
    NAME_COUNT = sizeof names / sizeof names[0]
};

URING_TEST(uring_setup, each_ability_can_be_left_off_by_the_environment)
{
    for (unsigned i = 0; i < NAME_COUNT; i++) {
        struct bench bench;
        char expected[64];

        (void)snprintf(expected, sizeof expected, ", %s off", names[i].name);
        cr_assert_eq(setenv("COIL_URING_OFF", names[i].name, 1), 0);
        bench_open(&bench, coil__uring_open, NULL);
        cr_assert_not_null(strstr(bench.engine->ops->describe(bench.engine), expected), "%s",
                           names[i].name);
        use_engine(&bench);
        bench_close(&bench);
    }
}

URING_TEST(uring_setup, each_refused_set_up_flag_is_done_without)
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
        use_engine(&bench);
        bench_close(&bench);
    }
}

URING_TEST(uring_setup, a_kernel_that_refuses_all_flags_and_registrations_will_do)
{
    fault.refused_setup_flags = ~0U;
    fault.register_error = -EINVAL;
    fault.register_opcode = IORING_REGISTER_RING_FDS;
    open_use_close();
}

URING_TEST(uring_setup, an_unknown_name_in_the_environment_is_named)
{
    char why[256] = "";

    cr_assert_eq(setenv("COIL_URING_OFF", "submit_all,defer_taskrum,cqsize", 1), 0);
    cr_assert_eq(open_failing(why), -EINVAL);
    cr_assert_not_null(strstr(why, "COIL_URING_OFF"), "%s", why);
    cr_assert_not_null(strstr(why, "\"defer_taskrum\""), "%s", why);
}

URING_TEST(uring_setup, sizes_that_make_no_sense_are_an_error)
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

URING_TEST(uring_setup, the_environment_overrides_the_sizes)
{
    struct bench bench;

    cr_assert_eq(setenv("COIL_URING_SIZE", "2,4,4", 1), 0);
    bench_open(&bench, coil__uring_open, NULL);
    cr_assert_not_null(
        strstr(bench.engine->ops->describe(bench.engine), "sq 2, cq 4, buffers 4 x 16384"));
    use_engine(&bench);
    bench_close(&bench);
}

URING_TEST(uring_setup, a_refusal_says_what_happened_and_what_to_do)
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

URING_TEST(uring_setup, a_kernel_without_the_features_that_coil_needs_is_refused)
{
    const unsigned needed[] = {IORING_FEAT_EXT_ARG, IORING_FEAT_NODROP};

    for (unsigned i = 0; i < 2; i++) {
        char why[256] = "";

        fault.missing_features = needed[i];
        cr_assert_eq(open_failing(why), -ENOSYS);
        cr_assert_not_null(strstr(why, "5.11"), "%s", why);
    }
}

URING_TEST(uring_setup, too_little_memory_halves_the_queues)
{
    struct bench bench;

    fault.sq_max = 64;
    bench_open(&bench, coil__uring_open,
               &(struct coil__engine_options){.sq_size = 256, .cq_size = 4096});
    cr_assert_eq(fault.last_sq_entries, 64);
    cr_assert_eq(fault.last_cq_entries, 1024);
    use_engine(&bench);
    bench_close(&bench);
}

URING_TEST(uring_setup, memory_that_comes_back_late_is_waited_for)
{
    fault.setup_error = -ENOMEM;
    fault.setup_error_count = 6; /* five halve the queues, one is waited for */
    open_use_close();
    cr_assert_eq(fault.last_sq_entries, 32);
}

URING_TEST(uring_setup, memory_that_does_not_come_back_is_explained_after_a_second)
{
    const int64_t start = coil__clock_now();
    char why[256] = "";

    fault.setup_error = -ENOMEM;
    fault.setup_error_count = UINT32_MAX;
    cr_assert_eq(open_failing(why), -ENOMEM);

    cr_assert_not_null(strstr(why, "raise memlock (ulimit -l)"), "%s", why);
    cr_assert_geq(coil__clock_now() - start, MS(1000));
    cr_assert_lt(fault.setup_count, 100, "it waits between two attempts");
}

URING_TEST(uring_setup, a_registration_of_the_ring_without_effect_is_not_used)
{
    struct bench bench;

    fault.is_registered_fd_useless = true;
    bench_open(&bench, coil__uring_open, NULL);
    cr_assert_not_null(strstr(bench.engine->ops->describe(bench.engine), "registered_fd refused"));
    use_engine(&bench);
    bench_close(&bench);
}

URING_TEST(uring_setup, the_registration_of_the_ring_ends_with_the_engine)
{
    /* A thread can register 16 rings. */
    for (unsigned i = 0; i < 40; i++) {
        struct bench bench;

        bench_open(&bench, coil__uring_open, NULL);
        cr_assert_null(strstr(bench.engine->ops->describe(bench.engine), "registered_fd"));
        bench_close(&bench);
    }
}

URING_TEST(uring_setup, the_nth_allocation_may_fail_at_open)
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

URING_TEST(uring_setup, running_out_of_descriptors_at_open_leaves_nothing)
{
    struct bench bench;
    char why[256] = "";
    int fds[64];
    int count = 0;
    struct rlimit limit = {.rlim_cur = 64, .rlim_max = 64};

    cr_assert_eq(setrlimit(RLIMIT_NOFILE, &limit), 0);
    while ((fds[count] = dup(0)) >= 0)
        count++;
    cr_assert_gt(count, 1);
    /* With one descriptor free the ring is made, and then taken down for want of an eventfd. */
    (void)close(fds[--count]);
    cr_assert_eq(open_failing(why), -EMFILE);
    cr_assert_not_null(strstr(why, "ulimit -n"), "%s", why);
    while (count > 0)
        (void)close(fds[--count]);

    bench_open(&bench, coil__uring_open, NULL);
    use_engine(&bench);
    bench_close(&bench);
}

URING_TEST(uring_setup, a_child_process_does_not_inherit_the_ring)
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

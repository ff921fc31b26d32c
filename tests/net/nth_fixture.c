/* SPDX-License-Identifier: MIT */
/* A kernel that fails the N-th operation or refuses the N-th enter (tests/net/nth_fixture.h). */
#include "net/nth_fixture.h"

#include <fcntl.h>
#include <stdatomic.h>

#include "base/alloc.h"
#include "engine/uring.h"
#include "io/file_fixture.h"
#include "net/process_fixture.h"

enum {
    OP_UNKNOWN = 255,
    NOP_INJECT_RESULT = 1, /* IORING_NOP_INJECT_RESULT, newer than the headers of liburing 2.3 */
    MANY = 1000,
};

static const coil_time long_enough = COIL_SECONDS(20);

/* ---- The kernel ---- */

static const struct coil__uring_kernel *real;

static struct {
    unsigned cores;   /* of the runs; 0 is one */
    unsigned fail_at; /* that operation or enter fails, from 1 */
    atomic_uint operation_count;
    atomic_uint enter_count;
    int error;
    bool is_unknown;        /* the operation, to the kernel */
    bool is_only_accepting; /* what can fail */
} kernel;

static bool may_fail(const struct coil__uring *uring, const struct io_uring_sqe *sqe)
{
    if (kernel.is_only_accepting)
        return sqe->opcode == IORING_OP_ACCEPT;
    switch (sqe->opcode) {
    case IORING_OP_ASYNC_CANCEL:
    case IORING_OP_CLOSE:
        return false;
    case IORING_OP_ACCEPT:
        return kernel.error == -ENOMEM; /* others: fail_each_accept() */
    case IORING_OP_READ:
        return sqe->fd != uring->wake_fd;
    default:
        return true;
    }
}

static void spoil(struct io_uring_sqe *sqe)
{
    const uint64_t data = sqe->user_data;

    memset(sqe, 0, sizeof *sqe);
    sqe->user_data = data;
    sqe->opcode = kernel.is_unknown ? OP_UNKNOWN : IORING_OP_NOP;
    sqe->rw_flags = kernel.is_unknown ? 0 : NOP_INJECT_RESULT;
    sqe->len = kernel.is_unknown ? 0 : (unsigned)kernel.error;
}

/* `entries` are about to be handed over. */
static void inspect(const struct coil__uring *uring, unsigned entries)
{
    const struct io_uring_sq *sq = &uring->ring.sq;

    for (unsigned i = 0; i < entries; i++) {
        struct io_uring_sqe *sqe = &sq->sqes[(*sq->khead + i) & sq->ring_mask];

        if (may_fail(uring, sqe) && ++kernel.operation_count == kernel.fail_at)
            spoil(sqe);
    }
}

static int enter_with_a_bad_entry(int fd, unsigned to_submit, unsigned min_complete, unsigned flags,
                                  void *arg, size_t argsize)
{
    if (coil__sched_this) /* the engine begins before it and ends after it */
        inspect(coil__uring_of(coil__sched_this->engine), to_submit);
    return real->enter(fd, to_submit, min_complete, flags, arg, argsize);
}

static int enter_refused(int fd, unsigned to_submit, unsigned min_complete, unsigned flags,
                         void *arg, size_t argsize)
{
    if (++kernel.enter_count == kernel.fail_at)
        return kernel.error;
    return real->enter(fd, to_submit, min_complete, flags, arg, argsize);
}

/* ---- Running ---- */

static int run_in_time(void *arg)
{
    int (*const *use)(void) = arg;
    coil_scope scope;
    int result;

    coil_scope_enter(&scope, long_enough);
    result = (*use)();
    cr_assert_not(coil_scope_leave(&scope), "hangs, operation %u", kernel.fail_at);
    return result;
}

static void be_silent(coil_log_level level, const char *message, void *arg)
{
    (void)level;
    (void)message;
    (void)arg;
}

/* Returns what `use` did, after looking for what it left. */
static int run_once(int (*use)(void), unsigned fail_at)
{
    const int64_t blocks = coil__alloc_live_count();
    const int fds = count_fds();
    coil_options options = COIL_OPTIONS_INIT;
    int result = -1;

    options.cores = kernel.cores;

    kernel.fail_at = fail_at;
    kernel.operation_count = 0;
    kernel.enter_count = 0;
    cr_assert_eq(coil_run(run_in_time, &use, &options, &result), 0, "at %u", fail_at);
    cr_assert_eq(coil__alloc_live_count(), blocks, "at %u: memory", fail_at);
    cr_assert_eq(count_fds(), fds, "at %u: descriptors", fail_at);
    cr_assert_neq(result, -EILSEQ, "at %u: wrong data", fail_at);
    expect_no_children();
    remove_directory();
    make_directory();
    return result;
}

static void fail_each_operation(int (*use)(void))
{
    unsigned n = 0;
    int result;

    do {
        cr_assert_lt(++n, MANY);
        result = run_once(use, n);
    } while (kernel.operation_count >= n);
    cr_assert_eq(result, 0, "without a fault: %s", coil_strerror(result));
    cr_assert_gt(n, 1, "nothing can fail");
}

static void refuse_each_enter(int (*use)(void))
{
    unsigned n = 0;

    do {
        cr_assert_lt(++n, MANY);
        cr_assert_eq(run_once(use, n), 0, "enter %u, %s", n, coil_strerror(kernel.error));
    } while (kernel.enter_count >= n);
}

static int unlink_nothing(void *arg)
{
    (void)arg;
    return coil_path_unlink(AT_FDCWD, "/no/such/file");
}

/* Whether the kernel can give an operation that does nothing a result (6.8). */
static bool can_inject(void)
{
    int result;

    kernel.is_unknown = false;
    kernel.error = -ENOMEM;
    kernel.fail_at = 1;
    kernel.operation_count = 0;
    cr_assert_eq(coil_run(unlink_nothing, NULL, NULL, &result), 0);
    cr_assert_eq(kernel.operation_count, 1);
    kernel.error = 0;
    return result == -ENOMEM;
}

static void begin(struct coil__uring_kernel *changed)
{
    *changed = *coil__uring_kernel;
    coil_log_set(be_silent, NULL);
    real = coil__uring_kernel;
    coil__uring_kernel = changed;
    changed->enter = enter_with_a_bad_entry;
}

void fail_everything(int (*use)(void))
{
    static const int operation_errors[] = {-ENOMEM, -EIO, -EINVAL};
    static const int enter_errors[] = {-EAGAIN, -EBUSY, -EINTR};
    struct coil__uring_kernel changed;
    bool can;

    begin(&changed);
    can = can_inject();
    kernel.is_unknown = true;
    fail_each_operation(use);
    kernel.is_unknown = false;
    for (int i = 0; can && i < 3; i++) {
        kernel.error = operation_errors[i];
        fail_each_operation(use);
    }
    changed.enter = enter_refused;
    for (int i = 0; i < 3; i++) {
        kernel.error = enter_errors[i];
        refuse_each_enter(use);
    }
    coil__uring_kernel = real;
}

void fail_everything_on_two_cores(int (*use)(void))
{
    kernel.cores = 2;
    fail_everything(use);
    kernel.cores = 0;
}

static void fail_accepts_with(int error, bool is_final, int (*use)(void))
{
    unsigned n = 0;
    int result;

    kernel.error = error;
    do {
        cr_assert_lt(++n, MANY);
        result = run_once(use, n);
        if (!is_final || kernel.operation_count < n)
            cr_assert_eq(result, 0, "accept %u, %s: %s", n, coil_strerror(error),
                         coil_strerror(result));
    } while (kernel.operation_count >= n);
    cr_assert_gt(n, 1, "nothing is accepted");
}

void fail_each_accept(int (*use)(void))
{
    static const int passing[] = {-ECONNABORTED, -EPERM, -EPROTO, -EMFILE, -ENFILE, -ENOBUFS};
    static const int final[] = {-EACCES, -EINVAL, -EIO};
    struct coil__uring_kernel changed;

    begin(&changed);
    if (can_inject()) {
        kernel.is_only_accepting = true;
        for (int i = 0; i < 6; i++)
            fail_accepts_with(passing[i], false, use);
        for (int i = 0; i < 3; i++)
            fail_accepts_with(final[i], true, use);
        kernel.is_only_accepting = false;
    }
    coil__uring_kernel = real;
}

/* SPDX-License-Identifier: MIT */
/* See faulty_kernel.h. */
#include "engine/faulty_kernel.h"

#include <stdlib.h>

#include "base/alloc.h"

static const struct coil__uring_kernel *real;

struct fault fault;

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
            (sqe->opcode == IORING_OP_RECV || sqe->opcode == IORING_OP_RECVMSG ||
             sqe->opcode == IORING_OP_ACCEPT))
            sqe->ioprio = 0x8000; /* an unknown flag */
    }
}

static void change_results(const struct coil__uring *uring)
{
    const struct io_uring_cq *cq = &uring->ring.cq;

    for (unsigned i = *cq->khead; i != *cq->ktail; i++) {
        struct io_uring_cqe *cqe = &cq->cqes[i & cq->ring_mask];

        if (cqe->res == -ECANCELED)
            cqe->res = fault.cancelled_result;
    }
}

static int faulty_enter(int fd, unsigned to_submit, unsigned min_complete, unsigned flags,
                        void *arg, size_t argsize)
{
    int result;

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
    result = real->enter(fd, to_submit, min_complete, flags, arg, argsize);
    if (fault.uring && fault.cancelled_result)
        change_results(fault.uring);
    return result;
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

void faulty_kernel_install(void)
{
    real = coil__uring_kernel;
    coil__uring_kernel = &faulty_kernel;
    /* These tests choose their own environment. */
    (void)unsetenv("COIL_URING_OFF");
    (void)unsetenv("COIL_URING_SIZE");
    fault = (struct fault){.setup_count = 0};
}

/* A bit of everything: standing orders, sends, operations, a cancel. */
void use_engine(struct bench *bench)
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
    for (unsigned i = 0; i < 3; i++) {
        cr_assert_eq(op_run(bench, OP(COIL__OP_SEND, fds[1], .data = message, .length = 10,
                                      .flags = MSG_NOSIGNAL | MSG_WAITALL)),
                     10);
    }
    client = dial_address(&address);
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

void open_use_close(void)
{
    struct bench bench;

    bench_open(&bench, coil__uring_open, NULL);
    fault.uring = coil__uring_of(bench.engine);
    use_engine(&bench);
    bench_close(&bench);
    fault.uring = NULL;
}

int open_failing(char why[256])
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

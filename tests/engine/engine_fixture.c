/* SPDX-License-Identifier: MIT */
/* See engine_fixture.h. */
#include "engine/engine_fixture.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <netinet/in.h>

#include "base/alloc.h"

int count_open_fds(void)
{
    DIR *directory = opendir("/proc/self/fd");
    int count = 0;

    cr_assert_not_null(directory);
    while (readdir(directory)) /* NOLINT(concurrency-mt-unsafe): one thread */
        count++;
    (void)closedir(directory);
    return count;
}

void bench_open(struct bench *bench, coil__engine_open *open,
                const struct coil__engine_options *options)
{
    static const struct coil__engine_options defaults;
    char why[256] = "";

    *bench = (struct bench){.fd_count = count_open_fds(), .alloc_count = coil__alloc_live_count()};
    cr_assert_eq(open(options ? options : &defaults, &bench->engine, why), 0, "%s", why);
}

void bench_close(struct bench *bench)
{
    bench->engine->ops->close(bench->engine);
    cr_assert_eq(count_open_fds(), bench->fd_count, "descriptors are left");
    cr_assert_eq(coil__alloc_live_count(), bench->alloc_count, "allocations are left");
}

void run_contract(coil__engine_open *open, void (*body)(struct bench *))
{
    struct bench bench;

    bench_open(&bench, open, NULL);
    body(&bench);
    bench_close(&bench);
}

void bench_turn(struct bench *bench)
{
    cr_assert_eq(bench->engine->ops->wait(bench->engine, 0), 0);
}

void bench_wait(struct bench *bench)
{
    const int64_t deadline = coil__clock_now() + MS(10000);

    cr_assert_eq(bench->engine->ops->wait(bench->engine, deadline), 0);
    cr_assert_lt(coil__clock_now(), deadline, "nothing happened for 10 s");
}

void bench_run_until(struct bench *bench, const unsigned *count, unsigned target)
{
    const int64_t deadline = coil__clock_now() + MS(10000);

    while (*count < target) {
        cr_assert_eq(bench->engine->ops->wait(bench->engine, deadline), 0);
        cr_assert_lt(coil__clock_now(), deadline, "%u of %u after 10 s", *count, target);
    }
}

static void op_done(struct coil__op *op)
{
    container_of(op, struct op_probe, op)->done_count++;
}

void op_start(struct bench *bench, struct op_probe *probe, struct coil__op op)
{
    *probe = (struct op_probe){.op = op};
    probe->op.done = op_done;
    probe->op.result = INT32_MIN;
    bench->engine->ops->submit(bench->engine, &probe->op);
}

int op_run(struct bench *bench, struct coil__op op)
{
    struct op_probe probe;

    op_start(bench, &probe, op);
    bench_run_until(bench, &probe.done_count, 1);
    return probe.op.result;
}

static void store(struct receive_probe *probe, struct coil__lease *lease)
{
    const size_t length = lease->end - lease->start;

    if (probe->bytes) {
        cr_assert_leq(probe->length + length, probe->size);
        memcpy(probe->bytes + probe->length, lease->data + lease->start, length);
    }
    probe->length += length;
    if (!probe->is_hoarding) {
        probe->bench->engine->ops->lease_return(probe->bench->engine, lease);
        return;
    }
    lease->next = probe->hoard;
    probe->hoard = lease;
}

static void receive_event(struct coil__receive *receive, struct coil__lease *lease, int result,
                          bool more)
{
    struct receive_probe *probe = container_of(receive, struct receive_probe, receive);

    probe->event_count++;
    probe->last_result = result;
    cr_assert_eq(lease != NULL, result > 0);
    if (lease) {
        cr_assert_eq(lease->end - lease->start, (unsigned)result);
        store(probe, lease);
    }
    if (more)
        return;
    probe->end_count++;
    probe->starved_count += result == -ENOBUFS;
    if (probe->is_restarting && (result > 0 || result == -ENOBUFS))
        probe->bench->engine->ops->receive_start(probe->bench->engine, receive);
}

void receive_start(struct bench *bench, struct receive_probe *probe, int fd)
{
    probe->bench = bench;
    probe->receive = (struct coil__receive){
        .request = {.kind = COIL__REQUEST_RECEIVE, .fd = fd},
        .event = receive_event,
    };
    bench->engine->ops->receive_start(bench->engine, &probe->receive);
}

void receive_stop(struct receive_probe *probe)
{
    if (probe->receive.request.state != COIL__REQUEST_IDLE)
        probe->bench->engine->ops->receive_stop(probe->bench->engine, &probe->receive);
    probe->is_restarting = false;
    while (probe->receive.request.state != COIL__REQUEST_IDLE)
        bench_wait(probe->bench);
}

void receive_release(struct receive_probe *probe)
{
    while (probe->hoard) {
        struct coil__lease *lease = probe->hoard;

        probe->hoard = lease->next;
        probe->bench->engine->ops->lease_return(probe->bench->engine, lease);
    }
}

static void accept_event(struct coil__accept *accept, int result, bool more)
{
    struct accept_probe *probe = container_of(accept, struct accept_probe, accept);

    probe->last_result = result;
    if (result >= 0)
        probe->fds[probe->accepted_count++] = result;
    if (more)
        return;
    probe->end_count++;
    if (result >= 0 && !accept->once && !probe->is_stopped)
        probe->bench->engine->ops->accept_start(probe->bench->engine, accept);
}

void accept_stop(struct accept_probe *probe)
{
    struct coil__engine *engine = probe->bench->engine;

    probe->is_stopped = true;
    if (probe->accept.request.state != COIL__REQUEST_IDLE)
        engine->ops->accept_stop(engine, &probe->accept);
    while (probe->accept.request.state != COIL__REQUEST_IDLE)
        bench_wait(probe->bench);
}

void accept_close_all(struct accept_probe *probe)
{
    for (unsigned i = 0; i < probe->accepted_count; i++)
        (void)close(probe->fds[i]);
}

void accept_start(struct bench *bench, struct accept_probe *probe, int fd, bool once)
{
    *probe = (struct accept_probe){.bench = bench};
    probe->accept = (struct coil__accept){
        .request = {.kind = COIL__REQUEST_ACCEPT, .fd = fd},
        .once = once,
        .event = accept_event,
    };
    bench->engine->ops->accept_start(bench->engine, &probe->accept);
}

void make_pair(int ret_fds[2])
{
    cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ret_fds), 0);
}

void close_pair(const int fds[2])
{
    (void)close(fds[0]);
    (void)close(fds[1]);
}

int make_listener(struct sockaddr_in *ret_address)
{
    const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    socklen_t length = sizeof *ret_address;

    *ret_address =
        (struct sockaddr_in){.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    cr_assert_eq(bind(fd, (struct sockaddr *)ret_address, length), 0);
    cr_assert_eq(listen(fd, 64), 0);
    cr_assert_eq(getsockname(fd, (struct sockaddr *)ret_address, &length), 0);
    return fd;
}

int dial_address(const struct sockaddr_in *address)
{
    const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    cr_assert_eq(connect(fd, (const struct sockaddr *)address, sizeof *address), 0);
    return fd;
}

/* SPDX-License-Identifier: MIT */
/* Streams, listeners and the server when memory, the kernel or everything at random fails: no hang,
 * nothing left behind, no wrong byte, and all is well again afterwards.
 */
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/alloc.h"
#include "engine/uring.h"
#include "net/listener.h"
#include "net/net_fixture.h"

TestSuite(net_faults, .timeout = 120);

enum {
    KIB = 1024,
};

/* ---- The scenario: a server, clients that use every call, a stop ---- */

static const coil_time long_enough = COIL_SECONDS(20);

enum {
    CLIENTS = 3,
    BODY = 100 * KIB,
};

/* Answers "N\n" + N bytes with the same, as the client can check. */
static int answer(coil_stream *stream, void *arg)
{
    const char *data;
    char line[32];
    ssize_t n;
    int result;

    (void)arg;
    for (;;) {
        size_t size;

        coil_stream_idle(stream);
        n = coil_read_line(stream, line, sizeof line);
        if (n <= 0)
            return (int)n;
        size = (size_t)strtoul(line, NULL, 10);
        n = coil_peek(stream, size, &data);
        if (n < (ssize_t)size)
            return n < 0 ? (int)n : -ENODATA;
        result = coil_printf(stream, "%zu\n", size);
        if (result == 0)
            result = coil_write(stream, data, size);
        if (result < 0)
            return result;
        coil_consume(stream, size);
    }
}

static int exchange(coil_stream *stream, char *body)
{
    char line[32];
    ssize_t n;
    int result;

    pattern_fill(body, BODY, 0);
    result = coil_printf(stream, "%d\n", BODY);
    if (result == 0)
        result = coil_write(stream, body, BODY);
    if (result < 0)
        return result;
    n = coil_read_line(stream, line, sizeof line);
    if (n <= 0)
        return n < 0 ? (int)n : -ENODATA;
    if (strtol(line, NULL, 10) != BODY)
        return -EILSEQ;
    n = coil_read_full(stream, body, BODY, NULL);
    if (n < BODY)
        return n < 0 ? (int)n : -ENODATA;
    return pattern_matches(body, BODY, 0) ? 0 : -EILSEQ;
}

static int be_client(void *arg)
{
    const char *address = arg;
    char *body = malloc(BODY);
    coil_stream *stream;
    int result = coil_connect(address, NULL, &stream);

    if (result == 0) {
        result = exchange(stream, body);
        if (result == 0)
            result = exchange(stream, body);
        (void)coil_close(stream);
    }
    free(body);
    return result;
}

static int serve_answers(void *arg)
{
    return coil_serve(arg, answer, NULL, NULL);
}

/* Runs the clients at once. Returns 0 or one of their errors. */
static int run_clients(char *address)
{
    coil_fiber *fibers[CLIENTS];
    int spawned = 0;
    int result = 0;

    while (spawned < CLIENTS && result == 0) {
        result = coil_spawn(be_client, address, &fibers[spawned]);
        spawned += result == 0;
    }
    while (spawned > 0) {
        const int client_result = join_and_drop(fibers[--spawned]);

        if (client_result < 0)
            result = client_result;
    }
    return result;
}

/* The whole of it; with `arg`, once more with the faults gone. */
static int scenario(void *arg)
{
    const bool *is_repeated = arg;
    char address[COIL_ADDRESS_SIZE];
    coil_listener *listener;
    coil_fiber *server;
    coil_scope scope;
    int result = coil_listen("127.0.0.1:0", NULL, &listener);

    if (result < 0)
        return result;
    (void)coil_listener_address(listener, address, sizeof address);
    result = coil_spawn(serve_answers, listener, &server);
    if (result < 0) {
        coil_listener_close(listener);
        return result;
    }
    coil_scope_enter(&scope, long_enough);
    result = run_clients(address);
    if (*is_repeated) {
        coil__alloc_fail_after(-1);
        cr_assert_eq(run_clients(address), 0, "all is well without faults");
    }
    cr_assert_not(coil_scope_leave(&scope), "hangs");
    coil_serve_stop(listener);
    cr_assert_eq(join_and_drop(server), 0);
    coil_listener_close(listener);
    return result;
}

/* ---- Memory ---- */

Test(net_faults, every_allocation_may_fail_and_nothing_is_left_or_hangs)
{
    bool is_repeated = true;
    int failures = 0;

    for (int n = 0;; n++) {
        const int result = run_with_allocations(scenario, &is_repeated, n);

        cr_assert_neq(result, -EILSEQ, "allocation %d", n);
        if (result == 0 && failures > 0 && n > 60)
            break;
        failures += result < 0;
        cr_assert_lt(n, 1000);
    }
    cr_assert_gt(failures, 5);
}

FIBER_TEST(net_faults, a_connection_that_there_is_no_memory_for_waits_for_the_next_accept)
{
    coil_listener *listener;
    coil_stream *stream = NULL;
    char address[COIL_ADDRESS_SIZE];
    char byte;
    int fd;

    cr_assert_eq(coil_listen("127.0.0.1:0", NULL, &listener), 0);
    cr_assert_gt(coil_listener_address(listener, address, sizeof address), 0);
    fd = dial(address);
    coil__alloc_fail_after(0);
    cr_assert_eq(coil_accept(listener, &stream), -ENOMEM);
    coil__alloc_fail_after(-1);
    cr_assert_null(stream);

    cr_assert_eq(coil_accept(listener, &stream), 0);
    write_text(fd, "x");
    cr_assert_eq(coil_read(stream, &byte, 1), 1);
    cr_assert_eq(coil_close(stream), 0);
    cr_assert_eq(close(fd), 0);
    coil_listener_close(listener);
}

FIBER_TEST(net_faults, a_call_without_memory_fails_once_and_the_stream_lives)
{
    coil_stream *stream;
    char text[16];
    int fd;

    stream_and_fd(&stream, &fd);
    coil__alloc_fail_after(0);
    cr_assert_eq(coil_write(stream, "x", 1), -ENOMEM);
    cr_assert_eq(coil_writev(stream, &(struct iovec){text, 3}, 1), -ENOMEM);
    cr_assert_eq(coil_printf(stream, "%d", 5), -ENOMEM);
    coil__alloc_fail_after(-1);
    cr_assert_eq(coil_write(stream, "y", 1), 0);
    cr_assert_eq(coil_close(stream), 0);
    cr_assert_eq(read_fd(fd, text, sizeof text), 1);
    cr_assert_eq(text[0], 'y');
    cr_assert_eq(close(fd), 0);
}

/* ---- The kernel ---- */

static const struct coil__uring_kernel *real;

static struct {
    unsigned count;
    unsigned fail_at;    /* that enter fails, from 1 */
    unsigned fail_every; /* or each so many-th */
    unsigned submit_max; /* entries that an enter takes */
    int error;
} enters;

static int faulty_enter(int fd, unsigned to_submit, unsigned min_complete, unsigned flags,
                        void *arg, size_t argsize)
{
    enters.count++;
    if (enters.count == enters.fail_at ||
        (enters.fail_every && enters.count % enters.fail_every == 0))
        return enters.error;
    if (enters.submit_max && to_submit > enters.submit_max) /* it does not wait after a part */
        return real->enter(fd, enters.submit_max, 0, flags & ~(unsigned)IORING_ENTER_GETEVENTS,
                           NULL, 0);
    return real->enter(fd, to_submit, min_complete, flags, arg, argsize);
}

static void run_with_faulty_enters(void)
{
    struct coil__uring_kernel kernel = *coil__uring_kernel;
    bool is_repeated = false;
    int result = -1;

    real = coil__uring_kernel;
    kernel.enter = faulty_enter;
    coil__uring_kernel = &kernel;
    enters.count = 0;
    cr_assert_eq(fiber_test_coil_run(scenario, &is_repeated, NULL, &result), 0);
    coil__uring_kernel = real;
    cr_assert_eq(result, 0, "error %d, at %u, every %u: %s", enters.error, enters.fail_at,
                 enters.fail_every, coil_strerror(result));
}

Test(net_faults, every_enter_may_be_refused_once)
{
    static const int errors[] = {-EAGAIN, -EBUSY, -EINTR};

    for (int i = 0; i < 3; i++) {
        unsigned at = 1;

        do {
            enters.error = errors[i];
            enters.fail_at = at++;
            run_with_faulty_enters();
        } while (enters.count >= enters.fail_at && at < 400);
    }
}

Test(net_faults, enters_that_are_refused_all_the_time_only_slow_things_down)
{
    static const int errors[] = {-EAGAIN, -EBUSY, -EINTR};

    enters.fail_at = 0;
    for (unsigned i = 0; i < 9; i++) {
        enters.error = errors[i % 3];
        enters.fail_every = 3 + i / 3;
        run_with_faulty_enters();
    }
}

Test(net_faults, a_kernel_that_takes_one_entry_at_a_time_is_served)
{
    enters.fail_at = 0;
    enters.fail_every = 0;
    enters.submit_max = 1;
    run_with_faulty_enters();
}

/* ---- Everything at random ---- */

static uint64_t seed;
static uint64_t random_state;

static unsigned random_below(unsigned limit)
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return (unsigned)((random_state >> 11) % limit);
}

/* One direction of a pair. */
struct flow {
    coil_stream *from;
    coil_stream *to;
    uint64_t size;
    uint64_t written;
    uint64_t read;
    bool is_broken; /* a byte was wrong */
    bool is_over;   /* the reader has seen the end or an error */
};

static void check(struct flow *flow, const void *data, size_t size)
{
    flow->is_broken = flow->is_broken || !pattern_matches(data, size, flow->read);
    flow->read += size;
}

/* One reading call of some kind. Returns its result, 0 for the end. */
static ssize_t read_somehow(struct flow *flow)
{
    char buffer[3000];
    const char *data;
    const size_t size = 1 + random_below(sizeof buffer - 1);
    size_t len = 0;
    ssize_t n;

    switch (random_below(4)) {
    case 0:
        n = coil_read(flow->to, buffer, size);
        break;
    case 1:
        n = coil_read_full(flow->to, buffer, size, &len);
        check(flow, buffer, len);
        return n < 0 || len > 0 ? n : 0;
    case 2:
        n = coil_read_until(flow->to, buffer, size + 1, (char)random_below(256));
        break;
    default:
        n = coil_peek(flow->to, 1 + random_below(40000), &data);
        if (n <= 0)
            return n;
        n = 1 + (ssize_t)random_below((unsigned)n);
        check(flow, data, (size_t)n);
        coil_consume(flow->to, (size_t)n);
        return n;
    }
    if (n > 0)
        check(flow, buffer, (size_t)n);
    return n;
}

/* Reads until the end, an error or its cancellation; deadlines come and go. */
static int read_flow(void *arg)
{
    struct flow *flow = arg;

    for (;;) {
        coil_scope scope;
        ssize_t n;

        coil_scope_enter(&scope, random_below(8) ? COIL_NEVER : COIL_US(random_below(300)));
        n = read_somehow(flow);
        if (!coil_scope_leave(&scope) && n <= 0 && n != -EMSGSIZE) {
            flow->is_over = n != -ECANCELED;
            return (int)n;
        }
    }
}

/* Lets readers run one after the other, each until it is cancelled at some moment. */
static int supervise(void *arg)
{
    struct flow *flow = arg;
    coil_scope shield;
    int result = 0;

    while (!flow->is_over) {
        coil_fiber *fiber;

        cr_assert_eq(coil_spawn(read_flow, flow, &fiber), 0);
        if (random_below(3))
            (void)coil_sleep(COIL_US(random_below(2000)));
        else
            coil_yield();
        coil_cancel(fiber);
        coil_scope_enter_shield(&shield, COIL_NEVER);
        result = join_and_drop(fiber);
        (void)coil_scope_leave(&shield);
    }
    return result;
}

static int write_somehow(struct flow *flow, char *buffer, size_t buffer_size)
{
    const uint64_t left = flow->size - flow->written;
    size_t size = 1 + random_below(random_below(4) ? 2000 : (unsigned)buffer_size - 1);
    int result;

    size = size < left ? size : (size_t)left;
    pattern_fill(buffer, size, flow->written);
    if (random_below(2)) {
        result = coil_write(flow->from, buffer, size);
    } else {
        const size_t cut = random_below((unsigned)size);

        result =
            coil_writev(flow->from, (struct iovec[]){{buffer, cut}, {buffer + cut, size - cut}}, 2);
    }
    if (result == 0)
        flow->written += size;
    return result;
}

static int write_flow(void *arg)
{
    struct flow *flow = arg;
    char *buffer = malloc(60000);
    int result = 0;

    while (flow->written < flow->size && result == 0) {
        coil_scope scope;

        result = write_somehow(flow, buffer, 60000);
        if (result < 0 || random_below(6))
            continue;
        coil_scope_enter(&scope, COIL_US(random_below(200)));
        result = coil_flush(flow->from);
        if (coil_scope_leave(&scope))
            result = 0; /* what was not sent goes on by itself */
    }
    free(buffer);
    return result < 0 ? result : coil_shutdown(flow->from);
}

enum {
    PAIRS = 16,
};

struct pair {
    coil_stream *a;
    coil_stream *b;
    struct flow flows[2];
    coil_fiber *fibers[4];
    bool is_doomed; /* one end is closed in the middle of it all */
};

static void pair_start(struct pair *pair, bool is_tcp)
{
    if (is_tcp)
        tcp_pair(&pair->a, &pair->b);
    else
        stream_pair(&pair->a, &pair->b);
    pair->is_doomed = random_below(4) == 0;
    pair->flows[0] = (struct flow){.from = pair->a, .to = pair->b, .size = random_below(400000)};
    pair->flows[1] = (struct flow){.from = pair->b, .to = pair->a, .size = random_below(400000)};
    for (int i = 0; i < 2; i++) {
        cr_assert_eq(coil_spawn(write_flow, &pair->flows[i], &pair->fibers[2 * i]), 0);
        cr_assert_eq(coil_spawn(supervise, &pair->flows[i], &pair->fibers[2 * i + 1]), 0);
    }
}

static void pair_end(struct pair *pair)
{
    int results[4];

    for (int i = 0; i < 4; i++)
        results[i] = join_and_drop(pair->fibers[i]);
    for (int i = 0; i < 2; i++) {
        const struct flow *flow = &pair->flows[i];

        cr_assert_not(flow->is_broken, "seed %llu", (unsigned long long)seed);
        cr_assert_leq(flow->read, flow->size);
        if (pair->is_doomed)
            continue;
        cr_assert_eq(results[2 * i], 0, "writer: %d, seed %llu", results[2 * i],
                     (unsigned long long)seed);
        cr_assert_eq(results[2 * i + 1], 0, "reader: %d, seed %llu", results[2 * i + 1],
                     (unsigned long long)seed);
        cr_assert_eq(flow->read, flow->size, "seed %llu", (unsigned long long)seed);
        cr_assert_eq(coil_stream_sent(flow->from), flow->size);
    }
}

/* A close in the middle: whoever is inside leaves; who comes later must not touch it any more. */
static int doom(void *arg)
{
    struct pair *pair = arg;
    coil_scope scope;

    (void)coil_sleep(COIL_US(random_below(3000)));
    coil_cancel(pair->fibers[0]);
    coil_cancel(pair->fibers[3]);
    pair->flows[1].is_over = true;
    coil_scope_enter(&scope, COIL_MS(random_below(5)));
    (void)coil_join(pair->fibers[0], NULL);
    (void)coil_scope_leave(&scope);
    cr_assert_eq(coil_join(pair->fibers[3], NULL), 0);
    cr_assert_eq(coil_join(pair->fibers[0], NULL), 0);
    coil_fiber_unref(pair->fibers[0]);
    coil_fiber_unref(pair->fibers[3]);
    (void)coil_close(pair->a);
    return 0;
}

FIBER_TEST(net_faults, random_sizes_deadlines_cancels_and_closes_spoil_no_byte)
{
    const char *given = getenv("COIL_TEST_SEED");
    struct pair *pairs = calloc(PAIRS, sizeof *pairs);
    coil_fiber *doomers[PAIRS] = {NULL};

    seed = given ? strtoull(given, NULL, 10) : (uint64_t)coil_now() | 1;
    random_state = seed;
    (void)fprintf(stderr, "net_faults: COIL_TEST_SEED=%llu\n", (unsigned long long)seed);
    for (int i = 0; i < PAIRS; i++)
        pair_start(&pairs[i], i % 2 == 0);
    for (int i = 0; i < PAIRS; i++) {
        if (!pairs[i].is_doomed)
            continue;
        (void)coil_fiber_ref(pairs[i].fibers[0]);
        (void)coil_fiber_ref(pairs[i].fibers[3]);
        cr_assert_eq(coil_spawn(doom, &pairs[i], &doomers[i]), 0);
    }
    for (int i = 0; i < PAIRS; i++) {
        pair_end(&pairs[i]);
        if (doomers[i])
            (void)join_and_drop(doomers[i]);
        else
            (void)coil_close(pairs[i].a);
        (void)coil_close(pairs[i].b);
    }
    free(pairs);
}

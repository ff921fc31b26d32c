/* SPDX-License-Identifier: MIT */
/* Moving a stream to another core: no byte is lost or doubled in either direction, whatever was
 * under way; and a move that fails closes the stream.
 *
 * What runs on the other core reports through atomics: Criterion's assertions belong to main's
 * thread.
 */
#include <fcntl.h>
#include <stdatomic.h>
#include <unistd.h>

#include <coil/unix.h>

#include "base/alloc.h"
#include "net/net_fixture.h"

enum {
    BIG = 3 * 1024 * 1024,
    BEFORE = 100 * 1000, /* bytes read before the move */
    ALLOCATIONS_MAX = 40,
};

#define CORES_TEST(name) \
 FIBER_TEST_WITH(move, name, (&(coil_options){.size = sizeof(coil_options), .cores = 2}))

struct arrival {
    atomic_bool is_done;
    atomic_uint core;
    atomic_long read;
    atomic_bool is_intact;
    uint64_t offset; /* of the pattern, where it goes on */
    uint64_t sent;   /* what coil_stream_sent() said on arrival */
};

static void await(struct arrival *arrival)
{
    while (!arrival->is_done)
        coil_yield();
}

static int read_to_the_end(coil_stream *stream, void *arg)
{
    struct arrival *arrival = arg;
    static char buffer[20000];
    ssize_t n;

    arrival->core = coil_core();
    arrival->sent = coil_stream_sent(stream);
    arrival->is_intact = true;
    while ((n = coil_read(stream, buffer, sizeof buffer)) > 0) {
        if (!pattern_matches(buffer, (size_t)n, arrival->offset))
            arrival->is_intact = false;
        arrival->offset += (uint64_t)n;
        arrival->read += n;
    }
    arrival->is_done = true;
    return (int)n;
}

static void read_pattern(coil_stream *stream, size_t size)
{
    static char buffer[BEFORE];

    cr_assert_eq(coil_read_full(stream, buffer, size, NULL), (ssize_t)size);
    cr_assert(pattern_matches(buffer, size, 0));
}

CORES_TEST(a_peer_that_keeps_sending_loses_no_byte)
{
    struct arrival arrival = {.offset = BEFORE};
    struct peer peer;
    coil_stream *stream;
    int fd;

    stream_and_fd(&stream, &fd);
    peer_start(&peer, peer_send, fd, BIG);
    read_pattern(stream, BEFORE);
    cr_assert_eq(coil_stream_move(stream, 1, read_to_the_end, &arrival), 0);
    peer_join(&peer);
    cr_assert_eq(close(fd), 0);
    await(&arrival);
    cr_assert_eq(arrival.core, 1);
    cr_assert_eq(arrival.read, BIG - BEFORE);
    cr_assert(arrival.is_intact);
}

CORES_TEST(what_is_unread_and_the_end_move_along)
{
    struct arrival arrival = {.offset = 10};
    static char bytes[9000];
    coil_stream *stream;
    int fd;

    pattern_fill(bytes, sizeof bytes, 0);
    stream_and_fd(&stream, &fd);
    cr_assert_eq(write(fd, bytes, sizeof bytes), (ssize_t)sizeof bytes);
    cr_assert_eq(close(fd), 0);
    read_pattern(stream, 10);
    until_received(stream, sizeof bytes - 10);
    cr_assert_eq(coil_stream_move(stream, 1, read_to_the_end, &arrival), 0);
    await(&arrival);
    cr_assert_eq(arrival.read, (long)sizeof bytes - 10);
    cr_assert(arrival.is_intact);
}

CORES_TEST(what_is_unsent_moves_along)
{
    struct arrival arrival = {.offset = 0};
    static char bytes[9000];
    coil_stream *stream;
    struct peer peer;
    int fd;

    pattern_fill(bytes, sizeof bytes, 0);
    stream_and_fd(&stream, &fd);
    cr_assert_geq(coil_write(stream, bytes, sizeof bytes), 0);
    cr_assert_eq(coil_stream_move(stream, 1, read_to_the_end, &arrival), 0);
    peer_start(&peer, peer_receive, fd, sizeof bytes);
    peer_join(&peer);
    cr_assert(peer.is_intact);
    cr_assert_eq(peer.count, sizeof bytes);
    cr_assert_eq(close(fd), 0);
    await(&arrival);
    cr_assert_eq(arrival.sent, 0);
}

static void receive_pattern(coil_stream *stream, uint64_t size)
{
    static char buffer[20000];
    uint64_t offset = 0;

    while (offset < size) {
        const ssize_t n = coil_read(stream, buffer, sizeof buffer);

        cr_assert_gt(n, 0);
        cr_assert(pattern_matches(buffer, (size_t)n, offset));
        offset += (uint64_t)n;
    }
    cr_assert_eq(offset, size);
}

/* Writes until the buffers are full: a part of the chunk is gone, the rest is with the kernel. */
static uint64_t write_until_stuck(coil_stream *stream)
{
    static char bytes[10000];
    uint64_t written = 0;
    int result = 0;

    while (result == 0) {
        coil_scope scope;

        pattern_fill(bytes, sizeof bytes, written);
        cr_assert_geq(coil_write(stream, bytes, sizeof bytes), 0);
        written += sizeof bytes;
        coil_scope_enter(&scope, COIL_MS(20));
        result = coil_flush(stream);
        (void)coil_scope_leave(&scope);
    }
    cr_assert_eq(result, -ETIMEDOUT);
    return written;
}

CORES_TEST(a_send_that_is_stuck_moves_along)
{
    struct arrival arrival = {.offset = 0};
    coil_stream *stream;
    coil_stream *other;
    uint64_t written;

    tcp_pair(&stream, &other);
    written = write_until_stuck(stream);
    cr_assert_eq(coil_stream_move(stream, 1, read_to_the_end, &arrival), 0);
    receive_pattern(other, written);
    cr_assert_eq(coil_close(other), 0);
    await(&arrival);
    cr_assert_gt(arrival.sent, 0);
}

static int hold(coil_stream *stream, void *arg)
{
    struct arrival *arrival = arg;

    (void)stream;
    while (!arrival->is_intact)
        (void)coil_sleep(COIL_MS(1));
    arrival->is_done = true;
    return 0;
}

CORES_TEST(what_was_being_sent_goes_on_by_itself)
{
    struct arrival arrival = {.is_intact = false};
    coil_scope scope;
    coil_stream *stream;
    coil_stream *other;
    uint64_t written;

    tcp_pair(&stream, &other);
    written = write_until_stuck(stream);
    cr_assert_eq(coil_stream_move(stream, 1, hold, &arrival), 0);
    coil_scope_enter(&scope, COIL_SECONDS(20));
    receive_pattern(other, written);
    (void)coil_scope_leave(&scope);
    arrival.is_intact = true;
    await(&arrival);
    cr_assert_eq(coil_close(other), 0);
}

struct fd_arrival {
    struct arrival arrival;
    atomic_int passed[2];
};

static int take_passed_fds(coil_stream *stream, void *arg)
{
    struct fd_arrival *passed = arg;
    char bytes[4];
    int fd = -1;

    for (int i = 0; i < 2; i++) {
        if (coil_read_full(stream, bytes, 4, NULL) != 4 || coil_take_fds(stream, &fd, 1) != 1)
            fd = -1;
        passed->passed[i] = fd;
    }
    passed->arrival.is_done = true;
    return 0;
}

static int open_null(void)
{
    const int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);

    cr_assert_geq(fd, 0);
    return fd;
}

/* One descriptor has arrived unread before the move, the other comes after it. */
CORES_TEST(descriptors_that_were_passed_move_along)
{
    struct fd_arrival passed = {.arrival = {.offset = 0}, .passed = {-1, -1}};
    const int sent[2] = {open_null(), open_null()};
    const char *data;
    coil_stream *stream;
    coil_stream *peer;

    stream_pair(&stream, &peer);
    cr_assert_eq(coil_stream_want_fds(stream, 4), 0);
    cr_assert_geq(coil_send_fds(peer, "left", 4, &sent[0], 1), 0);
    cr_assert_eq(coil_peek(stream, 4, &data), 4);
    cr_assert_eq(coil_stream_move(stream, 1, take_passed_fds, &passed), 0);
    cr_assert_geq(coil_send_fds(peer, "righ", 4, &sent[1], 1), 0);
    await(&passed.arrival);
    cr_assert_eq(coil_close(peer), 0);
    for (int i = 0; i < 2; i++) {
        cr_assert_geq(passed.passed[i], 0, "descriptor %d", i);
        cr_assert_eq(close(passed.passed[i]), 0);
        cr_assert_eq(close(sent[i]), 0);
    }
}

/* ---- Further moves ---- */

struct second_arrival {
    struct arrival arrival;
    atomic_int moved;
    atomic_bool is_released;
    atomic_bool has_left;
};

/* Lets the stream go home and stays. */
static int move_home_and_stay(coil_stream *stream, void *arg)
{
    struct second_arrival *second = arg;
    char byte;

    if (coil_read(stream, &byte, 1) != 1)
        return -EILSEQ;
    second->moved = coil_stream_move(stream, 0, read_to_the_end, &second->arrival);
    while (!second->is_released)
        (void)coil_sleep(COIL_MS(1));
    second->has_left = true;
    return 0;
}

CORES_TEST(a_stream_moves_on_and_only_its_last_handlers_return_closes_it)
{
    struct second_arrival second = {.arrival.offset = 1, .moved = 1};
    coil_stream *stream;
    char bytes[20];
    int fd;

    pattern_fill(bytes, sizeof bytes, 0);
    stream_and_fd(&stream, &fd);
    write_fd(fd, bytes, 10);
    cr_assert_eq(coil_stream_move(stream, 1, move_home_and_stay, &second), 0);
    while (second.arrival.read < 9)
        coil_yield();
    second.is_released = true;
    while (!second.has_left)
        coil_yield();
    write_fd(fd, bytes + 10, 10);
    cr_assert_eq(shutdown(fd, SHUT_WR), 0);
    await(&second.arrival);
    cr_assert_eq(second.moved, 0);
    cr_assert_eq(second.arrival.core, 0);
    cr_assert_eq(second.arrival.read, 19);
    cr_assert(second.arrival.is_intact);
    cr_assert_eq(read_fd(fd, bytes, 1), 0);
    cr_assert_eq(close(fd), 0);
}

/* ---- Failures ---- */

static void assert_closed(int fd)
{
    char byte;

    cr_assert_leq(read(fd, &byte, 1), 0);
    cr_assert_eq(close(fd), 0);
}

CORES_TEST(a_move_that_is_impossible_closes_the_stream)
{
    struct arrival arrival = {.offset = 0};
    coil_stream *stream;
    coil_stream *writer;
    int fd;

    stream_and_fd(&stream, &fd);
    cr_assert_eq(coil_stream_move(stream, 2, read_to_the_end, &arrival), -EINVAL);
    assert_closed(fd);

    cr_assert_eq(coil_pipe(&stream, &writer), 0);
    cr_assert_eq(coil_stream_move(stream, 1, read_to_the_end, &arrival), -EOPNOTSUPP);
    cr_assert_eq(coil_close(writer), 0);
    cr_assert_not(arrival.is_done);
}

CORES_TEST(standard_streams_stay_and_their_descriptors_open)
{
    struct arrival arrival = {.offset = 0};
    coil_stream *stream;

    for (int i = 0; i < 2; i++) {
        cr_assert_eq(coil_stderr(&stream), 0, "a new one");
        cr_assert_eq(coil_stream_move(stream, 1, read_to_the_end, &arrival), -EOPNOTSUPP);
        cr_assert_geq(fcntl(STDERR_FILENO, F_GETFD), 0);
    }
    cr_assert_not(arrival.is_done);
}

static int read_one_byte(void *arg)
{
    char byte;

    return (int)coil_read(arg, &byte, 1);
}

static int stay(void *arg)
{
    (void)arg;
    return coil_sleep(COIL_NEVER);
}

FIBER_TEST_WITH(move, a_core_that_is_full_refuses_and_the_stream_is_closed,
                (&(coil_options){.size = sizeof(coil_options), .cores = 2, .fibers_max = 1}))
{
    struct arrival arrival = {.offset = 0};
    coil_stream *stream;
    int fd;

    cr_assert_eq(coil_spawn_on(1, stay, NULL), 0);
    stream_and_fd(&stream, &fd);
    cr_assert_eq(coil_stream_move(stream, 1, read_to_the_end, &arrival), -EAGAIN);
    assert_closed(fd);
}

CORES_TEST(a_fiber_that_reads_meanwhile_leaves_with_an_error)
{
    struct arrival arrival = {.offset = 0};
    coil_stream *stream;
    coil_fiber *reader;
    int fd;

    stream_and_fd(&stream, &fd);
    reader = spawn_until_parked(read_one_byte, stream);
    cr_assert_eq(coil_stream_move(stream, 1, read_to_the_end, &arrival), 0);
    cr_assert_eq(join_and_drop(reader), -EBADF);
    cr_assert_eq(close(fd), 0);
    await(&arrival);
    cr_assert_eq(arrival.core, 1);
}

/* On one core: the others have their own business with the allocator meanwhile. */
FIBER_TEST(move, the_nth_allocation_fails_cleanly_for_each_n)
{
    int n;

    for (n = 0; n < ALLOCATIONS_MAX; n++) {
        struct arrival arrival = {.offset = 0};
        coil_stream *stream;
        const char *data;
        int result;
        int fd;

        stream_and_fd(&stream, &fd);
        cr_assert_eq(write(fd, "x", 1), 1);
        cr_assert_eq(coil_peek(stream, 1, &data), 1);
        coil__alloc_fail_after(n);
        result = coil_stream_move(stream, 0, read_to_the_end, &arrival);
        coil__alloc_fail_after(-1);
        if (result == 0) {
            cr_assert_eq(close(fd), 0);
            await(&arrival);
            break;
        }
        cr_assert_eq(result, -ENOMEM);
        assert_closed(fd);
    }
    cr_assert_gt(n, 1);
    cr_assert_lt(n, ALLOCATIONS_MAX);
}

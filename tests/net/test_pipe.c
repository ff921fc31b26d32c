/* SPDX-License-Identifier: MIT */
/* Streams over pipes: the same calls as over sockets, no byte lost, no signal. */
#include <fcntl.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

#include "net/pipe_fixture.h"

TestSuite(pipe, .timeout = 60);

/* ---- Reading ---- */

FIBER_TEST(pipe, what_is_written_can_be_read_and_then_comes_the_end)
{
    coil_stream *reader;
    coil_stream *writer;
    char line[16];

    cr_assert_eq(coil_pipe(&reader, &writer), 0);

    cr_assert_eq(coil_printf(writer, "one\ntwo"), 0);
    cr_assert_eq(coil_close(writer), 0);

    cr_assert_eq(coil_read_line(reader, line, sizeof line), 4);
    cr_assert_str_eq(line, "one\n");
    cr_assert_eq(coil_read_line(reader, line, sizeof line), 3);
    cr_assert_str_eq(line, "two");
    cr_assert_eq(coil_read_line(reader, line, sizeof line), 0);
    cr_assert_eq(coil_read(reader, line, 1), 0);
    cr_assert_eq(coil_close(reader), 0);
}

FIBER_TEST(pipe, a_read_gives_what_is_there_and_waits_only_for_the_first_byte)
{
    coil_stream *reader;
    coil_fiber *fiber;
    char buffer[16];
    int fd;

    pipe_reader_and_fd(&reader, &fd);
    fiber = spawn_until_parked(pipe_read_byte, reader);
    pipe_put(fd, "abc");

    cr_assert_eq(join_and_drop(fiber), 'a');
    cr_assert_eq(coil_read(reader, buffer, sizeof buffer), 2);
    cr_assert_eq(memcmp(buffer, "bc", 2), 0);

    pipe_put(fd, "defgh");
    cr_assert_eq(coil_read_full(reader, buffer, 4, NULL), 4);
    cr_assert_eq(memcmp(buffer, "defg", 4), 0);
    cr_assert_eq(close(fd), 0);
    cr_assert_eq(coil_read_full(reader, buffer, 4, NULL), 1);
    cr_assert_eq(coil_read(reader, buffer, 1), 0);
    cr_assert_eq(coil_close(reader), 0);
}

FIBER_TEST(pipe, a_waiting_reader_is_told_when_the_last_writer_closes)
{
    coil_stream *reader;
    coil_fiber *fiber;
    int second;
    int fd;

    pipe_reader_and_fd(&reader, &fd);
    second = dup(fd);
    fiber = spawn_until_parked(pipe_read_byte, reader);

    cr_assert_eq(close(fd), 0);
    coil_yield();
    cr_assert_not_null(fiber->tcb, "one writer is left");
    cr_assert_eq(close(second), 0);

    cr_assert_eq(join_and_drop(fiber), 0);
    cr_assert_eq(coil_close(reader), 0);
}

FIBER_TEST(pipe, an_interrupted_reader_leaves_what_comes_later_to_other_readers_of_the_pipe)
{
    coil_stream *reader;
    coil_scope scope;
    char byte;
    int theirs;
    int fd;

    pipe_reader_and_fd(&reader, &fd);
    theirs = dup(coil_stream_fd(reader));
    coil_scope_enter(&scope, COIL_MS(1));
    cr_assert_eq(coil_read(reader, &byte, 1), -ETIMEDOUT);
    cr_assert(coil_scope_leave(&scope));
    while (reader->input.is_active)
        coil_yield();

    pipe_put(fd, "theirs");
    coil_yield();
    pipe_expect(theirs, "theirs");

    pipe_put(fd, "m");
    cr_assert_eq(coil_read(reader, &byte, 1), 1);
    cr_assert_eq(byte, 'm');
    cr_assert_eq(close(theirs), 0);
    cr_assert_eq(close(fd), 0);
    cr_assert_eq(coil_close(reader), 0);
}

FIBER_TEST(pipe, a_reader_that_follows_an_interrupted_one_at_once_gets_all)
{
    coil_stream *reader;
    int fd;

    pipe_reader_and_fd(&reader, &fd);
    for (int i = 0; i < 50; i++) {
        coil_fiber *fiber = spawn_until_parked(pipe_read_byte, reader);

        coil_cancel(fiber);
        cr_assert_eq(join_and_drop(fiber), -ECANCELED);
        fiber = spawn_until_parked(pipe_read_byte, reader);
        pipe_put(fd, "x");
        cr_assert_eq(join_and_drop(fiber), 'x');
    }
    cr_assert_eq(close(fd), 0);
    cr_assert_eq(coil_close(reader), 0);
}

FIBER_TEST(pipe, closing_under_a_reader_and_a_writer_wakes_both)
{
    struct pipe_transfer transfer = {.size = MIB};
    coil_stream *reader;
    coil_fiber *fiber;
    int fd;

    pipe_reader_and_fd(&reader, &fd);
    fiber = spawn_until_parked(pipe_read_byte, reader);
    cr_assert_eq(coil_close(reader), 0);
    cr_assert_eq(join_and_drop(fiber), -EBADF);
    cr_assert_eq(close(fd), 0);

    pipe_writer_and_fd(&transfer.stream, &fd);
    fiber = spawn_until_parked(pipe_write_pattern, &transfer);
    while (!pipe_is_readable(fd))
        coil_yield();
    cr_assert_eq(coil_close(transfer.stream), -EPIPE, "a part went out, the rest never will");
    cr_assert_eq(join_and_drop(fiber), -EBADF);
    cr_assert_eq(close(fd), 0);
}

/* ---- Writing ---- */

FIBER_TEST(pipe, a_pipe_carries_more_than_it_holds)
{
    struct pipe_transfer transfer = {.size = 3 * MIB + 7};
    coil_stream *reader;
    coil_fiber *fiber;

    cr_assert_eq(coil_pipe(&reader, &transfer.stream), 0);
    fiber = spawn_until_parked(pipe_write_pattern, &transfer);

    pipe_expect_pattern(reader, transfer.size);
    cr_assert_eq(join_and_drop(fiber), 0);
    cr_assert_eq(coil_close(reader), 0);
}

FIBER_TEST(pipe, several_pieces_leave_in_order_empty_ones_too)
{
    static char large[100 * KIB];
    const struct iovec pieces[] = {{NULL, 0}, {(char[]){'a'}, 1}, {NULL, 0}, {large, sizeof large}};
    coil_stream *reader;
    coil_stream *writer;
    char *data = malloc(sizeof large + 2);
    int fds[2];

    memset(large, 'b', sizeof large);
    cr_assert_eq(pipe2(fds, O_CLOEXEC), 0);
    cr_assert_geq(fcntl(fds[1], F_SETPIPE_SZ, 256 * KIB), 256 * KIB);
    cr_assert_eq(coil_adopt(fds[0], &reader), 0);
    cr_assert_eq(coil_adopt(fds[1], &writer), 0);

    cr_assert_eq(coil_write(writer, "0", 1), 0);
    cr_assert_eq(coil_writev(writer, pieces, 4), 0);

    cr_assert_eq(coil_read_full(reader, data, sizeof large + 2, NULL), sizeof large + 2);
    cr_assert_eq(memcmp(data, "0ab", 3), 0);
    cr_assert_eq(data[sizeof large + 1], 'b');
    cr_assert_eq(coil_stream_sent(writer), sizeof large + 2);
    free(data);
    pipe_close_both(reader, writer);
}

FIBER_TEST(pipe, writing_without_a_reader_is_an_error_and_no_signal)
{
    static char large[100 * KIB];
    coil_stream *writer;
    int fd;

    pipe_writer_and_fd(&writer, &fd);
    cr_assert_eq(close(fd), 0);
    cr_assert_eq(coil_write(writer, "x", 1), 0);
    cr_assert_eq(coil_flush(writer), -EPIPE);
    cr_assert_eq(coil_write(writer, "x", 1), -EPIPE);
    cr_assert_eq(coil_close(writer), -EPIPE);

    pipe_writer_and_fd(&writer, &fd);
    cr_assert_eq(close(fd), 0);
    cr_assert_eq(coil_write(writer, large, sizeof large), -EPIPE);
    cr_assert_eq(coil_close(writer), -EPIPE);
}

FIBER_TEST(pipe, a_reader_that_goes_away_is_noticed_by_a_waiting_writer)
{
    struct pipe_transfer transfer = {.size = MIB};
    coil_fiber *fiber;
    int fd;

    pipe_writer_and_fd(&transfer.stream, &fd);
    fiber = spawn_until_parked(pipe_write_pattern, &transfer);

    cr_assert_eq(close(fd), 0);

    cr_assert_eq(join_and_drop(fiber), -EPIPE);
    cr_assert_eq(coil_close(transfer.stream), -EPIPE);
}

FIBER_TEST(pipe, a_write_that_a_deadline_cuts_tells_how_much_went_out)
{
    static char large[MIB];
    coil_stream *writer;
    coil_scope scope;
    int fd;

    pattern_fill(large, sizeof large, 0);
    pipe_writer_and_fd(&writer, &fd);
    do { /* on a busy machine the time may be up before the write begins */
        coil_scope_enter(&scope, COIL_MS(5));
        cr_assert_eq(coil_write(writer, large, sizeof large), -ETIMEDOUT);
        cr_assert(coil_scope_leave(&scope));
    } while (coil_stream_sent(writer) == 0);

    cr_assert_eq(coil_write(writer, "x", 1), -EPIPE, "nobody knows where to go on");
    for (size_t length = 0; length < coil_stream_sent(writer);) {
        char bytes[1000];
        const ssize_t n = read(fd, bytes, sizeof bytes);

        cr_assert_gt(n, 0);
        cr_assert(pattern_matches(bytes, (size_t)n, length));
        length += (size_t)n;
    }
    cr_assert_eq(coil_close(writer), -EPIPE);
    cr_assert_eq(read(fd, large, 1), 0, "not a byte more than was told");
    cr_assert_eq(close(fd), 0);
}

FIBER_TEST(pipe, the_direction_that_a_descriptor_was_not_opened_for_is_refused)
{
    coil_stream *reader;
    coil_stream *writer;
    char byte;

    cr_assert_eq(coil_pipe(&reader, &writer), 0);

    cr_assert_eq(coil_read(writer, &byte, 1), -EBADF);
    cr_assert_eq(coil_skip_line(writer), -EBADF);
    cr_assert_eq(coil_write(reader, "x", 1), -EBADF);
    cr_assert_eq(coil_flush(reader), -EBADF);
    cr_assert_eq(coil_shutdown(reader), -EBADF);

    pipe_close_both(reader, writer);
}

FIBER_TEST(pipe, a_shutdown_of_the_writing_end_ends_the_readers_input)
{
    coil_stream *reader;
    coil_stream *writer;
    char buffer[8];

    cr_assert_eq(coil_pipe(&reader, &writer), 0);
    cr_assert_eq(coil_write(writer, "last", 4), 0);

    cr_assert_eq(coil_shutdown(writer), 0);

    cr_assert_eq(coil_read_full(reader, buffer, sizeof buffer, NULL), 4);
    cr_assert_eq(coil_write(writer, "x", 1), -EPIPE);
    pipe_close_both(reader, writer);
}

/* ---- Shortages ---- */

static int use_a_pipe(void *arg)
{
    coil_stream *reader;
    coil_stream *writer;
    char byte = 0;
    int result = coil_pipe(&reader, &writer);

    (void)arg;
    if (result < 0)
        return result;
    result = coil_write(writer, "x", 1);
    if (result == 0)
        result = coil_flush(writer);
    if (result == 0)
        result = (int)coil_read(reader, &byte, 1);
    cr_assert(result < 0 || byte == 'x');
    (void)coil_close(writer);
    (void)coil_close(reader);
    return result < 0 ? result : 0;
}

Test(pipe, every_allocation_may_fail_and_nothing_is_left)
{
    int failures;

    for (failures = 0; run_with_allocations(use_a_pipe, NULL, failures) != 0; failures++)
        cr_assert_lt(failures, 1000);
    cr_assert_gt(failures, 4);
}

FIBER_TEST(pipe, without_descriptors_no_pipe_and_nothing_left)
{
    coil_stream *reader = NULL;
    coil_stream *writer = NULL;
    const int next = dup(0);
    struct rlimit limit;
    struct rlimit tight;

    cr_assert_eq(getrlimit(RLIMIT_NOFILE, &limit), 0);
    cr_assert_eq(close(next), 0);
    tight = (struct rlimit){.rlim_cur = (rlim_t)next + 1, .rlim_max = limit.rlim_max};
    cr_assert_eq(setrlimit(RLIMIT_NOFILE, &tight), 0);

    cr_assert_eq(coil_pipe(&reader, &writer), -EMFILE);

    cr_assert_eq(setrlimit(RLIMIT_NOFILE, &limit), 0);
    cr_assert_null(reader);
    cr_assert_null(writer);
}

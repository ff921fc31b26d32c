/* SPDX-License-Identifier: MIT */
/* Streams over descriptors of all kinds and in all modes: the mode stays as it was, files keep
 * their position, and neither a terminal nor a FIFO makes the loop stand still.
 */
#include <fcntl.h>
#include <poll.h>
#include <pty.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <termios.h>
#include <unistd.h>

#include "net/pipe_fixture.h"

TestSuite(pipe_modes, .timeout = 60);

/* ---- The mode of the descriptor ---- */

FIBER_TEST(pipe_modes, a_nonblocking_descriptor_keeps_its_mode_and_waits_all_the_same)
{
    struct pipe_transfer transfer = {.size = MIB};
    coil_stream *reader;
    coil_fiber *fiber;
    int kept[2];
    int fds[2];

    cr_assert_eq(pipe2(fds, O_CLOEXEC | O_NONBLOCK), 0);
    kept[0] = dup(fds[0]);
    kept[1] = dup(fds[1]);
    cr_assert_eq(coil_adopt(fds[0], &reader), 0);
    cr_assert_eq(coil_adopt(fds[1], &transfer.stream), 0);

    fiber = spawn_until_parked(pipe_read_byte, reader);
    pipe_put(kept[1], "x");
    cr_assert_eq(join_and_drop(fiber), 'x');
    cr_assert_eq(close(kept[1]), 0);
    fiber = spawn_until_parked(pipe_write_pattern, &transfer);
    cr_assert_neq(fcntl(coil_stream_fd(transfer.stream), F_GETFL) & O_NONBLOCK, 0);
    pipe_expect_pattern(reader, MIB);
    cr_assert_eq(join_and_drop(fiber), 0);

    cr_assert_neq(fcntl(kept[0], F_GETFL) & O_NONBLOCK, 0);
    cr_assert_eq(coil_close(reader), 0);
    cr_assert_neq(fcntl(kept[0], F_GETFL) & O_NONBLOCK, 0);
    cr_assert_eq(close(kept[0]), 0);
}

FIBER_TEST(pipe_modes, a_mode_that_changes_under_a_waiting_reader_harms_nobody)
{
    coil_stream *reader;
    coil_fiber *fiber;
    char byte;
    int fd;

    pipe_reader_and_fd(&reader, &fd);
    fiber = spawn_until_parked(pipe_read_byte, reader);
    cr_assert_eq(fcntl(coil_stream_fd(reader), F_SETFL, O_NONBLOCK), 0);
    pipe_put(fd, "ab");
    cr_assert_eq(join_and_drop(fiber), 'a');
    cr_assert_eq(fcntl(coil_stream_fd(reader), F_SETFL, 0), 0);
    cr_assert_eq(coil_read(reader, &byte, 1), 1);

    cr_assert_eq(close(fd), 0);
    cr_assert_eq(coil_read(reader, &byte, 1), 0);
    cr_assert_eq(coil_close(reader), 0);
}

/* Older kernels answer READ and WRITE of a non-blocking descriptor with -EAGAIN instead of waiting.
 * This engine does that to the first `refusals` of them. */
static const struct coil__engine_ops *true_ops;
static void (*refused_done)(struct coil__op *op);
static unsigned refused_kind;
static unsigned refusals;

static void refuse(struct coil__op *op)
{
    op->request.kind = (uint8_t)refused_kind;
    op->done = refused_done;
    op->result = -EAGAIN;
    op->done(op);
}

static void submit_or_refuse(struct coil__engine *engine, struct coil__op *op)
{
    const bool is_io = op->request.kind == COIL__OP_READ || op->request.kind == COIL__OP_WRITE;

    if (is_io && refusals > 0) {
        refusals--;
        refused_kind = op->request.kind;
        refused_done = op->done;
        op->request.kind = COIL__OP_NOP;
        op->done = refuse;
    }
    true_ops->submit(engine, op);
}

static void refuse_next(unsigned count)
{
    static struct coil__engine_ops ops;
    struct coil__engine *engine = coil__sched()->engine;

    if (!true_ops)
        true_ops = engine->ops;
    ops = *true_ops;
    ops.submit = submit_or_refuse;
    engine->ops = &ops;
    refusals = count;
}

FIBER_TEST(pipe_modes, a_kernel_that_says_try_again_is_asked_when_to)
{
    static char large[20 * KIB];
    coil_stream *reader;
    coil_stream *writer;
    coil_fiber *fiber;

    cr_assert_eq(coil_pipe(&reader, &writer), 0);
    refuse_next(1);
    fiber = spawn_until_parked(pipe_read_byte, reader);
    while (reader->receive.private.request.kind != COIL__OP_POLL)
        coil_yield();
    cr_assert_eq(coil_write(writer, "x", 1), 0);
    cr_assert_eq(coil_flush(writer), 0);
    cr_assert_eq(join_and_drop(fiber), 'x');

    refuse_next(2);
    cr_assert_eq(coil_write(writer, "y", 1), 0);
    cr_assert_eq(coil_flush(writer), 0);
    refuse_next(2);
    cr_assert_eq(coil_write(writer, large, sizeof large), 0);
    cr_assert_eq(coil_read_full(reader, large, sizeof large, NULL), sizeof large);
    cr_assert_eq(large[0], 'y');
    pipe_close_both(reader, writer);
}

static int flush(void *arg)
{
    return coil_flush(arg);
}

FIBER_TEST(pipe_modes, who_waits_to_try_again_can_be_interrupted_and_closed)
{
    coil_stream *reader;
    coil_stream *writer;
    coil_fiber *fiber;
    coil_scope scope;

    cr_assert_eq(coil_pipe(&reader, &writer), 0);
    refuse_next(1);
    fiber = spawn_until_parked(pipe_read_byte, reader);
    while (reader->receive.private.request.kind != COIL__OP_POLL)
        coil_yield();
    coil_cancel(fiber);
    cr_assert_eq(join_and_drop(fiber), -ECANCELED);

    cr_assert_gt(fcntl(coil_stream_fd(writer), F_SETPIPE_SZ, 4096), 0);
    cr_assert_eq(coil_write(writer, (char[4096]){0}, 4096), 0);
    cr_assert_eq(coil_flush(writer), 0);
    refuse_next(1);
    cr_assert_eq(coil_write(writer, "y", 1), 0);
    fiber = spawn_until_parked(flush, writer);
    while (writer->send.request.kind != COIL__OP_POLL)
        coil_yield();
    coil_cancel(fiber);
    cr_assert_eq(join_and_drop(fiber), -ECANCELED);
    coil_scope_enter(&scope, 0);
    cr_assert_eq(coil_close(writer), -ETIMEDOUT);
    cr_assert(coil_scope_leave(&scope));
    cr_assert_eq(coil_close(reader), 0);
}

/* ---- FIFOs and terminals ---- */

FIBER_TEST(pipe_modes, a_fifo_that_takes_no_more_stops_only_its_writer)
{
    struct pipe_transfer transfer = {.size = MIB};
    char name[] = "/tmp/coil-test-fifo-XXXXXX";
    char path[64];
    coil_stream *reader;
    coil_fiber *fiber;

    cr_assert_not_null(mkdtemp(name));
    (void)snprintf(path, sizeof path, "%s/fifo", name);
    cr_assert_eq(mkfifo(path, 0600), 0);
    cr_assert_eq(coil_adopt(open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC), &reader), 0);
    cr_assert_eq(coil_adopt(open(path, O_WRONLY | O_CLOEXEC), &transfer.stream), 0);
    cr_assert_eq(unlink(path), 0);
    cr_assert_eq(rmdir(name), 0);

    fiber = spawn_until_parked(pipe_write_pattern, &transfer);
    pipe_expect_pattern(reader, MIB);

    cr_assert_eq(join_and_drop(fiber), 0);
    cr_assert_eq(coil_close(reader), 0);
}

/* A terminal in raw mode, as a stream, and the descriptor of who sits before it. */
static void terminal(coil_stream **ret_stream, int *ret_fd)
{
    struct termios mode;
    int fd;

    cr_assert_eq(openpty(ret_fd, &fd, NULL, NULL, NULL), 0);
    cr_assert_eq(tcgetattr(fd, &mode), 0);
    cfmakeraw(&mode);
    cr_assert_eq(tcsetattr(fd, TCSANOW, &mode), 0);
    cr_assert_eq(coil_adopt(fd, ret_stream), 0);
}

FIBER_TEST(pipe_modes, a_terminal_is_read_and_written)
{
    coil_stream *stream;
    coil_fiber *fiber;
    int fd;

    terminal(&stream, &fd);
    fiber = spawn_until_parked(pipe_read_byte, stream);
    coil_yield();
    cr_assert_not_null(fiber->tcb, "nothing typed yet");
    pipe_put(fd, "t");
    cr_assert_eq(join_and_drop(fiber), 't');

    cr_assert_eq(coil_write(stream, "shown", 5), 0);
    cr_assert_eq(coil_flush(stream), 0);
    await_fd(fd, POLLIN);
    pipe_expect(fd, "shown");
    cr_assert_eq(coil_shutdown(stream), -EOPNOTSUPP, "has no halves");
    cr_assert_eq(coil_close(stream), -EPIPE, "the shutdown is sticky");
    cr_assert_eq(close(fd), 0);
}

FIBER_TEST(pipe_modes, a_terminal_that_nobody_looks_at_stops_only_its_writer)
{
    struct pipe_transfer transfer = {.size = 256 * KIB};
    const char *engine = getenv("COIL_TEST_ENGINE");
    coil_fiber *fiber;
    size_t length = 0;
    int fd;

    if (engine && strcmp(engine, "poll") == 0)
        return; /* a terminal says that it would not block, and blocks: that needs a worker */
    terminal(&transfer.stream, &fd);
    fiber = spawn_until_parked(pipe_write_pattern, &transfer);
    for (int i = 0; i < 100; i++)
        coil_yield();
    cr_assert_not_null(fiber->tcb);

    while (length < transfer.size) {
        char bytes[4096];
        ssize_t n;

        coil_yield();
        if (!pipe_is_readable(fd))
            continue;
        n = read(fd, bytes, sizeof bytes);
        cr_assert_gt(n, 0);
        cr_assert(pattern_matches(bytes, (size_t)n, length));
        length += (size_t)n;
    }
    cr_assert_eq(join_and_drop(fiber), 0);
    cr_assert_eq(close(fd), 0);
}

/* ---- Devices and files ---- */

FIBER_TEST(pipe_modes, devices_can_be_read_and_written)
{
    static char bytes[100 * KIB];
    coil_stream *stream;

    cr_assert_eq(coil_adopt(open("/dev/zero", O_RDONLY | O_CLOEXEC), &stream), 0);
    cr_assert_eq(coil_read_full(stream, bytes, sizeof bytes, NULL), sizeof bytes);
    cr_assert_eq(bytes[sizeof bytes - 1], 0);
    cr_assert_eq(coil_close(stream), 0);

    cr_assert_eq(coil_adopt(open("/dev/null", O_RDWR | O_CLOEXEC), &stream), 0);
    cr_assert_eq(coil_read(stream, bytes, 1), 0);
    cr_assert_eq(coil_write(stream, bytes, sizeof bytes), 0);
    cr_assert_eq(coil_close(stream), 0);
}

static int temporary(void)
{
    char name[] = "/tmp/coil-test-file-XXXXXX";
    const int fd = mkstemp(name);

    cr_assert_geq(fd, 0);
    cr_assert_eq(unlink(name), 0);
    return fd;
}

FIBER_TEST(pipe_modes, a_file_is_written_and_read_at_its_position)
{
    const int fd = temporary();
    coil_stream *stream;
    char line[16];

    pipe_put(fd, "zero\n");
    cr_assert_eq(coil_adopt(dup(fd), &stream), 0);
    cr_assert_eq(coil_printf(stream, "one\ntwo\nthree"), 0);
    cr_assert_eq(coil_close(stream), 0);
    cr_assert_eq(lseek(fd, 0, SEEK_CUR), 18);

    cr_assert_eq(lseek(fd, 5, SEEK_SET), 5);
    cr_assert_eq(coil_adopt(dup(fd), &stream), 0);
    cr_assert_eq(coil_read_line(stream, line, sizeof line), 4);
    cr_assert_str_eq(line, "one\n");
    cr_assert_eq(coil_read_line(stream, line, sizeof line), 4);
    cr_assert_eq(coil_close(stream), 0);
    cr_assert_eq(lseek(fd, 0, SEEK_CUR), 13, "behind what was read, not behind what was buffered");

    pipe_expect(fd, "three");
    cr_assert_eq(close(fd), 0);
}

FIBER_TEST(pipe_modes, the_end_of_a_file_is_the_end_of_the_input)
{
    const int fd = temporary();
    coil_stream *stream;
    char *data = malloc(40 * KIB);

    pattern_fill(data, 40 * KIB, 0);
    cr_assert_eq(write(fd, data, 40 * KIB), 40 * KIB);
    free(data);
    cr_assert_eq(lseek(fd, 0, SEEK_SET), 0);
    cr_assert_eq(coil_adopt(fd, &stream), 0);

    pipe_expect_pattern(stream, 40 * KIB);
    cr_assert_eq(coil_close(stream), 0);
}

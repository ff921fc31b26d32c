/* SPDX-License-Identifier: MIT */
/* Pipes and what goes through them (tests/net/pipe_fixture.h). */
#include "net/pipe_fixture.h"

#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <unistd.h>

int pipe_read_byte(void *arg)
{
    char byte;
    const ssize_t n = coil_read(arg, &byte, 1);

    return n > 0 ? byte : (int)n;
}

/* Adopts one end of a pipe; the other stays as it is, blocking. */
void pipe_reader_and_fd(coil_stream **ret_reader, int *ret_fd)
{
    int fds[2];

    cr_assert_eq(pipe2(fds, O_CLOEXEC), 0);
    cr_assert_eq(coil_adopt(fds[0], ret_reader), 0);
    *ret_fd = fds[1];
}

void pipe_writer_and_fd(coil_stream **ret_writer, int *ret_fd)
{
    int fds[2];

    cr_assert_eq(pipe2(fds, O_CLOEXEC), 0);
    cr_assert_eq(coil_adopt(fds[1], ret_writer), 0);
    *ret_fd = fds[0];
}

void pipe_put(int fd, const char *text)
{
    cr_assert_eq(write(fd, text, strlen(text)), (ssize_t)strlen(text));
}

bool pipe_is_readable(int fd)
{
    struct pollfd poll_fd = {.fd = fd, .events = POLLIN};

    return poll(&poll_fd, 1, 0) == 1;
}

/* Reads what is there; fails the test if it would block. */
void pipe_expect(int fd, const char *text)
{
    char buffer[64] = "";

    cr_assert(pipe_is_readable(fd), "nothing there");
    cr_assert_eq(read(fd, buffer, sizeof buffer - 1), (ssize_t)strlen(text));
    cr_assert_str_eq(buffer, text);
}

void pipe_close_both(coil_stream *reader, coil_stream *writer)
{
    cr_assert_eq(coil_close(reader), 0);
    cr_assert_eq(coil_close(writer), 0);
}

int pipe_write_pattern(void *arg)
{
    const struct pipe_transfer *transfer = arg;
    char *data = malloc(transfer->size);
    int result;

    pattern_fill(data, transfer->size, 0);
    result = coil_write(transfer->stream, data, transfer->size);
    free(data);
    return result < 0 ? result : coil_close(transfer->stream);
}

void pipe_expect_pattern(coil_stream *reader, size_t size)
{
    char buffer[3000];
    size_t length = 0;
    ssize_t n;

    while ((n = coil_read(reader, buffer, sizeof buffer)) > 0) {
        cr_assert(pattern_matches(buffer, (size_t)n, length));
        length += (size_t)n;
    }
    cr_assert_eq(n, 0);
    cr_assert_eq(length, size);
}

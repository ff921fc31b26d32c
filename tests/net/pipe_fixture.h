/* SPDX-License-Identifier: MIT */
/* What the tests of pipes share: one end as a stream, the other one as it is, and transfers of the
 * pattern that are larger than a pipe.
 */
#ifndef COIL_TESTS_NET_PIPE_FIXTURE_H
#define COIL_TESTS_NET_PIPE_FIXTURE_H

#include "net/net_fixture.h"

enum {
    KIB = 1024,
    MIB = 1024 * KIB,
};

/* Adopts one end of a pipe; the other stays a blocking descriptor. */
void pipe_reader_and_fd(coil_stream **ret_reader, int *ret_fd);
void pipe_writer_and_fd(coil_stream **ret_writer, int *ret_fd);

/* Closes both without an error. */
void pipe_close_both(coil_stream *reader, coil_stream *writer);

/* A fiber that reads a byte of the stream `arg`: its result is the byte, 0 or an error. */
int pipe_read_byte(void *arg);

void pipe_put(int fd, const char *text);
bool pipe_is_readable(int fd);

/* Reads what is there, which must be `text`; fails the test if it would block. */
void pipe_expect(int fd, const char *text);

struct pipe_transfer {
    coil_stream *stream;
    size_t size;
};

/* A fiber that writes as much of the pattern as the transfer `arg` says, then closes. */
int pipe_write_pattern(void *arg);

/* Reads to the end, which comes after `size` bytes of the pattern. */
void pipe_expect_pattern(coil_stream *reader, size_t size);

#endif

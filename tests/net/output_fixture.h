/* SPDX-License-Identifier: MIT */
/* What the tests of output share: a count of the sends, and a fiber that writes and then reads. */
#ifndef COIL_TESTS_NET_OUTPUT_FIXTURE_H
#define COIL_TESTS_NET_OUTPUT_FIXTURE_H

#include "net/net_fixture.h"

enum {
    KIB = 1024,
    MIB = 1024 * KIB,
};

/* Counts the sends of the stream from now on in `send_count`; one stream at a time. */
void count_sends(coil_stream *stream);

extern unsigned send_count;

/* Closes both, whatever has become of the stream. */
void finish(coil_stream *stream, int fd);

struct asker {
    coil_stream *stream;
    char answer[16];
};

/* A fiber that writes a question of 9 bytes and reads a line: the result is its length. */
int ask(void *arg);

#endif

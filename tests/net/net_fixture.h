/* SPDX-License-Identifier: MIT */
/* What the tests of net share: raw peers, threads that block, a pattern that shows lost bytes.
 *
 * The other end of a stream is a plain blocking descriptor wherever that makes a test sharper: it
 * does exactly what the test says, one system call at a time. A peer that has to block while coil
 * runs is a thread (struct peer). Progress of the stream under test is awaited by looking at it.
 */
#ifndef COIL_TESTS_NET_FIXTURE_H
#define COIL_TESTS_NET_FIXTURE_H

#include <pthread.h>
#include <stdatomic.h>

#include "net/stream.h"
#include "support/fiber_test.h"

/* ---- Raw descriptors ---- */

/* All of it, or the test fails. */
void write_fd(int fd, const void *data, size_t size);
void write_text(int fd, const char *text);

/* Up to `size` bytes, fewer only at the end of the input. Blocks. */
size_t read_fd(int fd, void *buffer, size_t size);

/* What is there now, without blocking; 0 when there is nothing. */
size_t read_now(int fd, void *buffer, size_t size);

/* Fills the socket until it takes no more; returns how much that was. */
size_t fill_fd(int fd);

/* Small kernel buffers, so that a peer that does not read is felt soon. */
void shrink_buffers(int fd);

/* Closes so that the peer sees a reset (TCP). */
void reset_fd(int fd);

/* Blocks until poll(2) reports one of `events` on the descriptor. */
void await_fd(int fd, short events);

/* A stream accepted on loopback and the blocking descriptor of its client. */
void tcp_and_fd(coil_stream **ret_stream, int *ret_fd);

/* A blocking socket connected to `address`, in coil's notation. */
int dial(const char *address);

/* ---- Waiting for a stream ---- */

/* Yields until the stream holds `length` unread bytes, or its input has ended. */
void until_received(const coil_stream *stream, size_t length);

/* Yields until no send of the stream is under way. */
void until_sent(const coil_stream *stream);

/* ---- Pattern ---- */

/* Fills with the bytes of the pattern from `offset` on; checks them. */
void pattern_fill(void *data, size_t size, uint64_t offset);
bool pattern_matches(const void *data, size_t size, uint64_t offset);

/* ---- Threads ---- */

struct peer {
    void (*run)(struct peer *peer);
    int fd;
    size_t size;    /* what `run` should do */
    uint64_t count; /* what it has done */
    bool is_intact;
    atomic_bool is_told_to_end;
    atomic_bool is_done;
    pthread_t thread;
};

void peer_start(struct peer *peer, void (*run)(struct peer *peer), int fd, size_t size);

/* Yields until the thread is done, then joins it. */
void peer_join(struct peer *peer);

/* For `run`: send or receive `size` bytes of the pattern. */
void peer_send(struct peer *peer);
void peer_receive(struct peer *peer);

/* ---- The log ---- */

/* Keeps the last message of coil's log, instead of printing it. */
void log_keep(char *text, size_t size);

#endif

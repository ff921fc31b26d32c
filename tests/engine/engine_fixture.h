/* SPDX-License-Identifier: MIT */
/* Helpers for tests that drive an engine directly, without fibers.
 *
 * A bench opens an engine and remembers how many descriptors and allocations there were; closing it
 * compares. Probes are requests that record what they were told.
 */
#ifndef COIL_TESTS_ENGINE_ENGINE_FIXTURE_H
#define COIL_TESTS_ENGINE_ENGINE_FIXTURE_H

#include <criterion/criterion.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "engine/engine.h"
#include "support/poll_engine.h"

#define MS(milliseconds) ((int64_t)(milliseconds)*1000000)

struct bench {
    struct coil__engine *engine;
    int fd_count; /* before the engine was opened */
    int64_t alloc_count;
};

void bench_open(struct bench *bench, coil__engine_open *open,
                const struct coil__engine_options *options);
void bench_close(struct bench *bench); /* asserts that nothing is left */

/* Turns until `*count` reaches `target`; fails the test after 10 s. */
void bench_run_until(struct bench *bench, const unsigned *count, unsigned target);

/* One turn that waits until something happens, at most 10 s; one that does not wait. */
void bench_wait(struct bench *bench);
void bench_turn(struct bench *bench);

int count_open_fds(void);

/* A one-shot operation and how often it was done. */
struct op_probe {
    struct coil__op op;
    unsigned done_count;
};

void op_start(struct bench *bench, struct op_probe *probe, struct coil__op op);

/* Runs one operation to its end and returns its result. */
int op_run(struct bench *bench, struct coil__op op);

#define OP(op_kind, op_fd, ...) \
 ((struct coil__op){.request = {.kind = (op_kind), .fd = (op_fd)}, __VA_ARGS__})

/* A receive that collects what arrives. Leases go back at once unless `is_hoarding`. */
struct receive_probe {
    struct coil__receive receive;
    struct bench *bench;
    char *bytes; /* where the bytes go, of `size`; NULL counts only */
    size_t size;
    size_t length;
    bool is_hoarding;
    bool is_restarting; /* starts again after every end without error, and after -ENOBUFS */
    struct coil__lease *hoard;
    unsigned event_count;
    unsigned end_count; /* callbacks without `more` */
    unsigned starved_count;
    int last_result;
};

void receive_start(struct bench *bench, struct receive_probe *probe, int fd);
void receive_stop(struct receive_probe *probe);    /* and waits for the end */
void receive_release(struct receive_probe *probe); /* gives the hoard back */

/* An accept that collects descriptors, and starts again after an end without error. */
struct accept_probe {
    struct coil__accept accept;
    struct bench *bench;
    bool is_stopped;
    unsigned accepted_count;
    unsigned end_count;
    int fds[64];
    int last_result;
};

void accept_start(struct bench *bench, struct accept_probe *probe, int fd, bool once);
void accept_stop(struct accept_probe *probe);
void accept_close_all(struct accept_probe *probe); /* the accepted descriptors */

/* Defines one test per engine from one body, in the suites uring_AREA and poll_AREA. */
#define CONTRACT(area, name)                  \
 static void name(struct bench *bench);       \
 Test(uring_##area, name, .timeout = 30)      \
 {                                            \
  run_contract(coil__uring_open, name);       \
 }                                            \
 Test(poll_##area, name, .timeout = 30)       \
 {                                            \
  run_contract(coil__poll_engine_open, name); \
 }                                            \
 static void name(struct bench *bench)

void run_contract(coil__engine_open *open, void (*body)(struct bench *));

/* Sockets. */
void make_pair(int ret_fds[2]);
void close_pair(const int fds[2]);
int make_listener(struct sockaddr_in *ret_address);  /* TCP on a free loopback port */
int dial_address(const struct sockaddr_in *address); /* a blocking connect */

#endif

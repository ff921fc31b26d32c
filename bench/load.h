/* SPDX-License-Identifier: MIT */
/* The seam between the two halves of the load generator.
 *
 * load.c decides when messages are sent and what is reported; load_wire.c keeps the connections,
 * moves the bytes and checks them. There is one load per process, so the wire has no handle. The
 * caller turns the loop: nothing is sent or received outside load_turn().
 */
#ifndef BENCH_LOAD_H
#define BENCH_LOAD_H

#include <netinet/in.h>
#include <stdbool.h>
#include <stdint.h>

/* What happened since load_reset_counts(). */
struct load_counts {
    uint64_t replies;    /* whole messages that came back */
    uint64_t mismatches; /* replies, or pieces of them, that differ from what was sent */
    uint64_t errors;     /* connections lost while nobody had asked the server to stop */
};

/* How the connections ended after the server was told to stop, see --stop-pid. */
struct load_ends {
    uint64_t complete;   /* connections with end of file at the end of a reply or before any */
    uint64_t partial;    /* connections whose last reply is cut off */
    uint64_t reset;      /* connections that ended in an error instead of end of file */
    uint64_t unanswered; /* messages sent or being sent, whose reply never came */
};

/* Connects @p connections times, keeping @p pipeline messages of @p size bytes in flight on each
 * once started. Ends the program on failure. */
void load_open(const struct sockaddr_in *address, unsigned connections, unsigned size,
               unsigned pipeline);

/* Lets each connection start up to @p share more messages (UINT64_MAX: until load_hold). */
void load_start(uint64_t share);

/* Gives @p count connections, the first ones, one message more than load_start() gave. */
void load_start_extra(unsigned count);

/* Starts no further messages; what is in flight still comes back. */
void load_hold(void);

/* Submits what is queued and handles what has come, waiting for at most a second. Returns false
 * when nothing came in that time. */
bool load_turn(void);

/* Messages whose reply has not fully arrived, and connections that are still open. */
uint64_t load_in_flight(void);
unsigned load_open_count(void);

/* From now on the server's closing a connection is expected and goes to @p ends. */
void load_expect_end(struct load_ends *ends);

void load_reset_counts(void);
const struct load_counts *load_counts_now(void);

/* The time within which @p share (0 to 1) of the replies since load_reset_counts() came, in us. */
double load_latency_us(double share);

#endif

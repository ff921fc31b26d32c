/* SPDX-License-Identifier: MIT */
/* What the hand-written servers and the load generator share: addresses, listening, complaints.
 *
 * None of this runs while a measurement does. It is kept apart so that raw_epoll.c and raw_uring.c
 * hold nothing but the loop that is being measured.
 */
#ifndef BENCH_RAW_H
#define BENCH_RAW_H

#include <netinet/in.h>
#include <stddef.h>

/* Fibers and rings are not needed for 127.0.0.1:PORT, so IPv4 literals are all that is accepted. */
struct sockaddr_in raw_address(const char *text);

/* Listens on "HOST:PORT" (port 0 lets the kernel choose), prints "listening on HOST:PORT" as every
 * server that bench/run starts must, and makes SIGTERM end the program with status 0. Accepted
 * sockets do not wait for Nagle: they inherit that. @p type_flags is added to the socket type
 * (SOCK_NONBLOCK or 0). Ends the program on failure. */
int raw_listen(const char *text, int type_flags);

/* The same for datagrams: binds a UDP socket and returns it. */
int raw_bind(const char *text);

/* Messages must leave at once: who waits for Nagle measures the peer's delayed ack. */
void raw_nodelay(int fd);

/* The number of descriptors this process may open, within reason for a table of that size. */
unsigned raw_descriptors_max(void);

/* Reads a whole number between @p min and @p max, or ends the program naming @p option. */
long raw_number(const char *option, const char *text, long min, long max);

/* The same for a number of seconds, whole or not. */
double raw_seconds(const char *option, const char *text);

/* Maps @p size bytes of zeros that cost nothing until they are touched, or ends the program. */
void *raw_map(size_t size);

/* Ties this thread to one core, or ends the program. */
void raw_pin(int cpu);

/* Prints "what: reason" (@p error is an errno, positive or negative; 0 prints none), exits 1. */
_Noreturn void raw_die(const char *what, int error);

#endif

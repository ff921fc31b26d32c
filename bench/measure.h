/* SPDX-License-Identifier: MIT */
/* What the small programs of `bench/run core` share: options, repetitions, the JSON at the end.
 *
 * A program is a table of cases. A case performs `count` operations and returns how long they took,
 * without what it did to prepare. The first repetition warms caches and stacks up and is dropped.
 */
#ifndef BENCH_MEASURE_H
#define BENCH_MEASURE_H

#include <stdint.h>

#include <coil/run.h>

struct measure_case {
    const char *name;
    int64_t (*run)(long count); /* nanoseconds for `count` operations */
};

/* Measures the cases up to the one without a name and prints {"NAME": [ns per operation, ...]}.
 * Options: --count N, --repeat N, --only NAME,... Returns the program's exit status. */
int measure_main(int argc, char **argv, const struct measure_case *cases);

/* The same inside coil_run(). */
int measure_main_in_fiber(int argc, char **argv, const struct measure_case *cases);
int measure_main_in_fiber_with(int argc, char **argv, const struct measure_case *cases,
                               const coil_options *options);

/* Nanoseconds of CPU time of this process: nothing that is measured here waits, and what other
 * programs take of the core does not count. */
int64_t measure_now(void);

/* What `count` operations take if `operations` took `taken`: for cases whose work is fixed. */
int64_t measure_scaled(int64_t taken, long operations, long count);

/* Ends the program unless `result` is 0 or more: a measurement of failures is worth nothing. */
void measure_check(int result, const char *what);

#endif

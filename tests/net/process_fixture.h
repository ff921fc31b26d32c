/* SPDX-License-Identifier: MIT */
/* What the tests of processes share: programs to run, and proof that none is left. */
#ifndef COIL_TESTS_NET_PROCESS_FIXTURE_H
#define COIL_TESTS_NET_PROCESS_FIXTURE_H

#include "support/fiber_test.h"

/* Starts sh(1) with a script. */
coil_process *spawn_script(const char *script, const coil_process_options *options);

/* Its status, awaited. */
int status_of(coil_process *process);

/* Runs a script to its end: its output is in `output`, its status the result. */
int run_script(const char *script, const coil_process_options *options,
               coil_process_output *output);

/* Fails the test if this program has a child, a zombie too. */
void expect_no_children(void);

/* Reads up to the end, without a fiber waiting: the loop goes on meanwhile. Returns the length. */
size_t read_to_end(int fd, char *text, size_t size);

#endif

/* SPDX-License-Identifier: MIT */
/* Running a function in a process of its own, for what ends, spoils or limits the whole process.
 *
 * The child inherits the test program as it is, runs the function, and leaves by _exit(2) with its
 * result, so no clean-up of Criterion or of a sanitizer's leak check runs in it. What it writes to
 * standard error is collected. Assertions of Criterion do not work in it: use child_check().
 */
#ifndef COIL_TESTS_SUPPORT_CHILD_H
#define COIL_TESTS_SUPPORT_CHILD_H

#include <stddef.h>

enum {
    CHILD_OUTPUT_SIZE = 8192,
};

struct child_end {
    int exit_code;                  /* -1 when a signal ended it */
    int signal;                     /* 0 when it exited */
    char output[CHILD_OUTPUT_SIZE]; /* its standard error, NUL-terminated */
};

/* Runs function(arg) in a child and waits for it; its result (0 .. 255) is the exit code. */
void child_run(int (*function)(void *arg), void *arg, struct child_end *ret_end);

/* In a child: unless `is_true`, writes `text` to standard error and exits with 1. */
void child_check(int is_true, const char *text);

#endif

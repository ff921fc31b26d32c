/* SPDX-License-Identifier: MIT */
/* What scopes owe to every parking call, checked for a table of calls.
 *
 * Each call has two forms: one that would wait for ever, and one that would succeed at once. Scopes
 * and cancellation must treat all calls alike, so every property is asserted for each entry of the
 * table; a new kind of parking call joins by a new entry. A test program brings the calls of its
 * areas: core/scope_calls.c and core/scope_calls_sets.c, net/scope_calls_net.c.
 */
#ifndef COIL_TESTS_CORE_SCOPE_CHECKS_H
#define COIL_TESTS_CORE_SCOPE_CHECKS_H

#include "support/fiber_test.h"

enum {
    PARKING_CALLS_MAX = 64,
};

struct parking_call {
    const char *name;
    int (*wait)(void);    /* never ends by itself */
    int (*succeed)(void); /* >= 0 without waiting long */
};

/* Adds `count` calls to the table. */
void parking_calls_add(const struct parking_call *more, size_t count);

/* The test program's: makes what its calls need, adds them, and unmakes it; also asserts that no
 * call consumed anything behind the caller's back. */
void parking_calls_open(void);
void parking_calls_close(void);

void check_that_deadlines_interrupt_every_call(void);
void check_that_no_time_fails_every_call(void);
void check_that_cancellations_interrupt_every_call(void);
void check_that_shields_hide_from_every_call(void);

#endif

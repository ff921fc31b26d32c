/* SPDX-License-Identifier: MIT */
/* The parking calls that the tests of scopes go through, as a table.
 *
 * Each has two forms in the fixture: one that would wait for ever, and one that would succeed at
 * once. Scopes and cancellation must treat all calls alike, so every property is asserted for each
 * entry of the table; a new kind of parking call joins by a new entry.
 */
#ifndef COIL_TESTS_CORE_SCOPE_CALLS_H
#define COIL_TESTS_CORE_SCOPE_CALLS_H

#include "support/fiber_test.h"

struct call_fixture {
    coil_sem empty;
    coil_sem full;
    coil_capped_sem capped_empty;
    coil_capped_sem capped_full;
    coil_mutex held; /* these by `endless` */
    coil_rwlock written;
    coil_once running;
    coil_mutex free;
    coil_rwlock unlocked;
    coil_once done;
    coil_cond silent_cond;
    coil_cond signalled_cond;
    coil_event unset;
    coil_event set;
    coil_flag clear;
    coil_flag raised;
    coil_waitgroup busy;
    coil_waitgroup idle;
    coil_barrier pair;
    coil_barrier single;
    coil_fiber *endless;
    coil_fiber *ended;
    coil_stream *silent;
    coil_stream *talking; /* one byte of input is always there */
    int silent_fd;
    int talking_fd;
};

struct parking_call {
    const char *name;
    int (*wait)(struct call_fixture *fixture);    /* never ends by itself */
    int (*succeed)(struct call_fixture *fixture); /* >= 0 without waiting long */
};

extern const struct parking_call parking_calls[];
extern const size_t parking_call_count;

void call_fixture_open(struct call_fixture *fixture);

/* Also asserts that no call consumed anything behind the caller's back. */
void call_fixture_close(struct call_fixture *fixture);

#endif

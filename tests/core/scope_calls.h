/* SPDX-License-Identifier: MIT */
/* The second half of the parking calls of core and sync (tests/core/scope_checks.h): channels,
 * selects, and sets of fibers.
 */
#ifndef COIL_TESTS_CORE_SCOPE_CALLS_H
#define COIL_TESTS_CORE_SCOPE_CALLS_H

void scope_calls_sets_open(void);
void scope_calls_sets_close(void);

#endif

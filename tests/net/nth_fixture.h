/* SPDX-License-Identifier: MIT */
/* A kernel that fails the N-th operation it is given, for each N, or refuses the N-th
 * io_uring_enter: whatever uses the ring reports it or gets over it, leaves nothing behind, hangs
 * nowhere and gives nobody wrong data.
 *
 * The entry of the N-th operation is changed before the kernel sees it: into one that does nothing
 * and completes with an error, or into one that no kernel knows. Left alone are cancels and closes,
 * which do not fail in this way, the operation that wakes the loop, which is the engine's own, and
 * accepts, but for -ENOMEM: other errors have a test of their own.
 */
#ifndef COIL_TESTS_NET_NTH_FIXTURE_H
#define COIL_TESTS_NET_NTH_FIXTURE_H

#include "support/fiber_test.h"

/* Runs `use` in a fresh coil_run() for each operation and each enter. It returns 0, a negative
 * errno, or -EILSEQ for wrong data; nothing else may be left of it than files in `directory`
 * (io/file_fixture.h), which is made anew. With an enter refused it must return 0. */
void fail_everything(int (*use)(void));

/* The same on two cores. */
void fail_everything_on_two_cores(int (*use)(void));

/* Fails each accept only, in the ways that accept(2) knows: after a lost connection or a shortage
 * `use` must return 0, after anything else it returns a negative errno. */
void fail_each_accept(int (*use)(void));

#endif

/* SPDX-License-Identifier: MIT */
/* What the plain programs share that let cores and threads race at random: the seed, choices made
 * from it, and checks that count.
 *
 *     test_NAME_race [SEED]
 *
 * The seed is printed first. Each fiber and thread derives a state of its own from it, so a run
 * with the same seed makes the same choices, though not in the same order. A check that fails is
 * told and counted, from whatever thread, and the run goes on: what follows from it shows, too.
 */
#ifndef COIL_TESTS_SUPPORT_RACE_H
#define COIL_TESTS_SUPPORT_RACE_H

#include <stdatomic.h>
#include <stdbool.h>

/* One run of a program. */
struct race {
    unsigned seed;
    atomic_int faults;
};

/* Returns the seed that the program was given, or else a new one, and prints it. */
unsigned race_begin(int argc, char **argv);

/* Adds a fault if memory is left. Returns the program's exit status. */
int race_end(unsigned seed, int faults);

/* Unless `is_true`, writes `text` to standard error and counts a fault. */
void race_check(struct race *race, bool is_true, const char *text);

/* The next random number. The state must not be 0. */
unsigned next_random(unsigned *state);

/* The same from 0 to `end` - 1. */
unsigned below(unsigned *state, unsigned end);

/* True of what a call returns that a deadline or a cancellation has ended. */
bool is_interruption(int result);

#endif

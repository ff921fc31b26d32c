/* SPDX-License-Identifier: MIT */
/* A directory of its own below /tmp for each test that works on files.
 *
 * A suite makes it in its .init and removes it, with all that is in it, in its .fini.
 */
#ifndef COIL_TESTS_FILE_FIXTURE_H
#define COIL_TESTS_FILE_FIXTURE_H

#include "support/fiber_test.h"

extern char directory[64];

void make_directory(void);
void remove_directory(void);

/* The path of `name` in the directory; good until the next but one call. */
const char *at(const char *name);

/* Makes the file `name` with `text` in it. */
void write_file(const char *name, const char *text);

/* Opens the new or old file `name` for reading and writing. */
int create(const char *name);

/* Fails the test unless the file `name` holds exactly `text`. */
void expect_file(const char *name, const char *text);

/* Whether there is something of that name, a dangling link included. */
bool exists(const char *name);

#endif

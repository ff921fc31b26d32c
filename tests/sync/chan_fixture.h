/* SPDX-License-Identifier: MIT */
/* What the tests of channels and select share: channels of int, and fibers that send or receive one
 * item. */
#ifndef COIL_TESTS_SYNC_CHAN_FIXTURE_H
#define COIL_TESTS_SYNC_CHAN_FIXTURE_H

#include "support/fiber_test.h"

struct party {
    coil_chan *chan;
    int item;
};

/* Entries of fibers; `arg` is a struct party, the result that of the call. */
int send_one(void *arg);
int receive_one(void *arg);
int peek_one(void *arg);

coil_chan *new_chan(size_t capacity);

/* The smallest int first. */
coil_chan *new_priority_chan(size_t capacity);
coil_chan *new_lifo_chan(size_t capacity);

/* Calls that must succeed at once. */
void send_now(coil_chan *chan, int item);
int receive_now(coil_chan *chan);

#endif

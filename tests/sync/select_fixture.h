/* SPDX-License-Identifier: MIT */
/* What the tests of select share: a fiber that selects among its cases. */
#ifndef COIL_TESTS_SYNC_SELECT_FIXTURE_H
#define COIL_TESTS_SYNC_SELECT_FIXTURE_H

#include "sync/chan_fixture.h"

enum {
    SELECTOR_CASES = 4,
};

struct selector {
    coil_case cases[SELECTOR_CASES];
    size_t count;
    int items[SELECTOR_CASES];
    int result;
};

/* Entry of a fiber; `arg` is a struct selector, the result that of coil_select(). */
int select_one(void *arg);

/* Another case, with an item of its own: -1 until one is received, or what is sent. */
void add_recv(struct selector *selector, coil_chan *chan);
void add_send(struct selector *selector, coil_chan *chan, int item);

#endif

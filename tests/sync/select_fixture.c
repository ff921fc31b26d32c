/* SPDX-License-Identifier: MIT */
/* A fiber that selects among its cases (tests/sync/select_fixture.h). */
#include "sync/select_fixture.h"

int select_one(void *arg)
{
    struct selector *selector = arg;

    selector->result = coil_select(selector->cases, selector->count);
    return selector->result;
}

void add_recv(struct selector *selector, coil_chan *chan)
{
    const size_t i = selector->count++;

    selector->items[i] = -1;
    selector->cases[i] = coil_case_recv(chan, &selector->items[i]);
}

void add_send(struct selector *selector, coil_chan *chan, int item)
{
    const size_t i = selector->count++;

    selector->items[i] = item;
    selector->cases[i] = coil_case_send(chan, &selector->items[i]);
}

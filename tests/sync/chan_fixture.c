/* SPDX-License-Identifier: MIT */
/* Channels of int and fibers at them (tests/sync/chan_fixture.h). */
#include "sync/chan_fixture.h"

int send_one(void *arg)
{
    const struct party *party = arg;

    return coil_chan_send(party->chan, &party->item);
}

int receive_one(void *arg)
{
    struct party *party = arg;

    return coil_chan_recv(party->chan, &party->item);
}

int peek_one(void *arg)
{
    struct party *party = arg;

    return coil_chan_peek(party->chan, &party->item);
}

coil_chan *new_chan(size_t capacity)
{
    coil_chan *chan = NULL;

    cr_assert_eq(coil_chan_new(capacity, sizeof(int), &chan), 0);
    return chan;
}

static int smaller_first(const void *a, const void *b)
{
    const int x = *(const int *)a;
    const int y = *(const int *)b;

    return (x > y) - (x < y);
}

static coil_chan *new_chan_with(size_t capacity, coil_chan_options options)
{
    coil_chan *chan = NULL;

    options.size = sizeof options;
    cr_assert_eq(coil_chan_new_with(capacity, sizeof(int), &options, &chan), 0);
    return chan;
}

coil_chan *new_priority_chan(size_t capacity)
{
    return new_chan_with(
        capacity, (coil_chan_options){.order = COIL_CHAN_PRIORITY, .compare = smaller_first});
}

coil_chan *new_lifo_chan(size_t capacity)
{
    return new_chan_with(capacity, (coil_chan_options){.order = COIL_CHAN_LIFO});
}

void send_now(coil_chan *chan, int item)
{
    cr_assert_eq(coil_chan_try_send(chan, &item), 0);
}

int receive_now(coil_chan *chan)
{
    int item = -1;

    cr_assert_eq(coil_chan_try_recv(chan, &item), 1);
    return item;
}

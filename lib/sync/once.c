/* SPDX-License-Identifier: MIT */
/* Once (coil/once.h).
 *
 * The turn is handed over like a mutex: a runner that fails makes the first waiter the runner
 * before that fiber runs. Each waiter parks with the address of a flag of its own, which says
 * whether it was woken by the end of the matter or for its turn. A fiber that is cancelled after it
 * was given the turn takes it all the same; where its function parks it fails, and the turn goes
 * on.
 *
 * The queue is made when the first runner begins, so that zeroed storage is a fresh once.
 *
 * Invariant: fibers wait only while there is a runner.
 */
#include <coil/once.h>

#include <errno.h>

#include "core/waitq.h"

COIL_STATIC_ASSERT(sizeof(coil_once) == 32, "a promise of the header");

void coil_once_init(coil_once *once)
{
    *once = (coil_once){.is_done = false};
}

static void settle(coil_once *once, int result)
{
    struct coil__waiter *next;

    once->runner = NULL;
    if (result >= 0) {
        once->is_done = true;
        once->result = result;
        coil__waitq_wake_all(&once->waiters, result);
        return;
    }
    next = coil__waitq_first(&once->waiters);
    if (next) {
        once->runner = next->tcb->handle;
        *(bool *)next->object = true;
        coil__waiter_wake(next, 0);
    }
}

int coil_once_do(coil_once *once, int (*fn)(void *), void *arg)
{
    struct coil__tcb *self = coil__self();
    bool is_my_turn = false;
    int result;

    if (once->runner == self->handle)
        return -EDEADLK;
    result = coil__checkpoint(self);
    if (result < 0)
        return result;
    if (once->is_done)
        return once->result;
    if (once->runner) {
        result = coil__waitq_park_owned(&once->waiters, "once", &is_my_turn, &once->runner);
        if (!is_my_turn)
            return result;
    } else {
        coil__waitq_init(&once->waiters);
        once->runner = self->handle;
    }

    result = fn(arg);
    COIL_ASSERT(once->runner == self->handle && "nobody else ends its turn");
    settle(once, result);
    return result;
}

bool coil_once_is_done(const coil_once *once)
{
    return once->is_done;
}

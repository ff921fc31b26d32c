/* SPDX-License-Identifier: MIT */
/* One-shot event (coil/event.h).
 *
 * The value is handed over, not looked up: each waiter parks with the address of a variable of its
 * own, and setting the event writes there before it wakes. That is what lets the event be reset, or
 * its storage go, between the wake and the turn of the fiber that was woken.
 *
 * Invariant: while the event is set, nobody waits; `value` and `result` mean something only then.
 */
#include <coil/event.h>

#include <errno.h>

#include "core/waitq.h"

COIL_STATIC_ASSERT(sizeof(coil_event) == 32, "a promise of the header");

void coil_event_init(coil_event *event)
{
    *event = (coil_event){.is_set = false};
    coil__waitq_init(&event->waiters);
}

static int settle(coil_event *event, void *value, int result)
{
    const struct coil__waiter *waiter;

    if (event->is_set)
        return -EALREADY;
    event->is_set = true;
    event->value = value;
    event->result = result;
    for (waiter = coil__waitq_first(&event->waiters); waiter;
         waiter = coil__waitq_first(&event->waiters)) {
        void **slot = waiter->object;

        *slot = value;
        coil__waitq_wake_one(&event->waiters, result);
    }
    return 0;
}

int coil_event_set(coil_event *event, void *value)
{
    return settle(event, value, 0);
}

int coil_event_fail(coil_event *event, int error)
{
    COIL_ASSERT(error < 0 && error >= -4095 && "an error is a negative errno");
    return settle(event, NULL, error);
}

int coil_event_wait(coil_event *event, void **ret_value)
{
    void *value;
    int result = coil__checkpoint(coil__self());

    if (result < 0)
        return result;
    if (event->is_set) {
        COIL_ASSERT(coil__waitq_is_empty(&event->waiters));
        value = event->value;
        result = event->result;
    } else {
        result = coil__waitq_park(&event->waiters, "event", &value);
    }
    if (result == 0 && ret_value)
        *ret_value = value;
    return result;
}

bool coil_event_is_set(const coil_event *event)
{
    return event->is_set;
}

void coil_event_reset(coil_event *event)
{
    event->is_set = false;
}

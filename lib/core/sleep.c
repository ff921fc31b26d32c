/* SPDX-License-Identifier: MIT */
/* Sleeping, and fibers that start later (coil/fiber.h).
 *
 * A sleeper is a timer on the stack of the fiber that sleeps. A fiber that is to start later exists
 * from the beginning, with its stack and its handle, and sleeps before it becomes the function that
 * was asked for: so it can be joined, cancelled, named and seen like any other.
 */
#include <coil/fiber.h>

#include <errno.h>

#include "base/alloc.h"
#include "core/sched.h"

struct sleeper {
    struct coil__timer timer;
    struct coil__tcb *tcb;
};

static void sleep_over(struct coil__timer *timer)
{
    coil__wake(container_of(timer, struct sleeper, timer)->tcb, 0);
}

static void sleep_interrupted(struct coil__tcb *tcb)
{
    struct sleeper *sleeper = tcb->wait_object;

    coil__timer_disarm(&tcb->sched->timers, &sleeper->timer);
    coil__wake_interrupted(tcb);
}

int coil_sleep(coil_time duration)
{
    struct coil__tcb *self = coil__self();
    struct sleeper sleeper = {.timer = {.fire = sleep_over}, .tcb = self};
    const int result = coil__checkpoint(self);

    if (result < 0)
        return result;
    if (duration <= 0) {
        coil__yield(self);
        return 0;
    }
    coil__timer_arm(&self->sched->timers, &sleeper.timer, coil__clock_deadline(duration));
    return coil__park("sleep", &sleeper, sleep_interrupted);
}

struct delayed {
    int (*fn)(void *);
    void *arg;
    int64_t deadline;
};

/* Sleeps, then is the function that was asked for. Whatever ends the sleep, the function runs, as
 * it owns its argument (design D5); a cancellation is still there when it does. */
static int delayed_main(void *arg)
{
    struct coil__tcb *self = coil__self();
    const struct delayed delayed = *(struct delayed *)arg;
    struct sleeper sleeper = {.timer = {.fire = sleep_over}, .tcb = self};

    coil__free(arg);
    self->entry = delayed.fn;
    self->arg = delayed.arg;
    coil__timer_arm(&self->sched->timers, &sleeper.timer, delayed.deadline);
    (void)coil__park("its start", &sleeper, sleep_interrupted);
    return delayed.fn(delayed.arg);
}

int coil_spawn_after(coil_time delay, int (*fn)(void *), void *arg, coil_fiber **ret_fiber)
{
    struct delayed *delayed = coil__alloc(sizeof *delayed);
    int result;

    if (!delayed)
        return -ENOMEM;
    *delayed = (struct delayed){.fn = fn, .arg = arg, .deadline = coil__clock_deadline(delay)};
    result = coil__fiber_spawn(coil__sched(), delayed_main, delayed, __builtin_return_address(0),
                               ret_fiber);
    if (result < 0)
        coil__free(delayed);
    return result;
}

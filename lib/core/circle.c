/* SPDX-License-Identifier: MIT */
/* Circles of fibers that wait for each other (core/circle.h). The registry is followed for as many
 * steps as there are fibers, and a pointer that is NULL too early ends it: a dump is for programs
 * that are broken, too. */
#include "core/circle.h"

#include "core/describe.h"

enum {
    CIRCLES_SHOWN = 20,
};

static struct coil__tcb *next_in_wait(const struct coil__tcb *tcb)
{
    const struct coil_fiber *owner = coil__describe_owner(tcb);

    return owner && coil__describe_is_alive(owner) ? owner->tcb : NULL;
}

/* Walks from `start` to where it ends, or to somebody who was met before. Returns a fiber of the
 * circle that this walk has entered, or NULL. */
static struct coil__tcb *walk(struct coil__tcb *start, unsigned mark)
{
    struct coil__tcb *tcb = start;

    while (tcb && tcb->mark == 0) {
        tcb->mark = mark;
        tcb = next_in_wait(tcb);
    }
    return tcb && tcb->mark == mark ? tcb : NULL;
}

void coil__circles_visit(struct coil__sched *sched,
                         void (*found)(const struct coil__tcb *first, void *arg), void *arg)
{
    const struct coil_fiber *fiber = NULL;
    size_t shown = 0;
    unsigned mark = 0;

    for (size_t n = sched->fiber_count; n > 0 && (fiber = coil__fiber_next(sched, fiber)); n--)
        if (fiber->tcb)
            fiber->tcb->mark = 0;
    fiber = NULL;
    while (mark < sched->fiber_count && (fiber = coil__fiber_next(sched, fiber)) != NULL) {
        const struct coil__tcb *met = walk(fiber->tcb, ++mark);

        if (met && shown++ < CIRCLES_SHOWN)
            found(met, arg);
    }
}

void coil__circle_describe(struct coil__text *text, const struct coil__tcb *first)
{
    const struct coil__tcb *tcb = first;

    coil__text_add(text, "circle: ");
    coil__describe_name(text, first->handle);
    do {
        coil__text_add(text, " ");
        coil__describe_state(text, tcb);
        tcb = next_in_wait(tcb);
    } while (tcb && tcb != first);
}

/* SPDX-License-Identifier: MIT */
/* The deadlock report (core/stuck.h).
 *
 * A line of the log for each fiber, oldest first, then one for each circle of fibers that wait for
 * each other. A wait has at most one known owner, so the graph has at most one edge per fiber, and
 * a walk along the edges that marks its way meets its own mark if and only if it has entered a
 * circle. Every fiber is marked once: the search is linear.
 */
#include "core/stuck.h"

#include "base/log.h"
#include "core/describe.h"

enum {
    LINE_SIZE = 400,   /* what the log takes */
    FIBERS_NAMED = 50, /* more would scroll the cause away; coil_dump() shows all */
    CIRCLES_NAMED = 20,
};

static struct coil__tcb *next_in_wait(const struct coil__tcb *tcb)
{
    const struct coil_fiber *owner = coil__describe_owner(tcb);

    return owner && coil__describe_is_alive(owner) ? owner->tcb : NULL;
}

static void log_fiber(const struct coil_fiber *fiber, int64_t now)
{
    char line[LINE_SIZE];
    struct coil__text text;

    coil__text_init(&text, line, sizeof line, NULL);
    coil__describe_fiber(&text, fiber, now);
    coil__text_add(&text, ", spawned at ");
    coil__describe_code(&text, fiber->spawn_site);
    coil__log(COIL_LOG_ERROR, "%s", line);
}

/* "circle: 1 'a' waits for mutex held by 2 'b' waits for join of 1 'a'" */
static void log_circle(const struct coil__tcb *first)
{
    char line[LINE_SIZE];
    struct coil__text text;
    const struct coil__tcb *tcb = first;

    coil__text_init(&text, line, sizeof line, NULL);
    coil__text_add(&text, "circle: ");
    coil__describe_name(&text, first->handle);
    do {
        coil__text_add(&text, " ");
        coil__describe_state(&text, tcb);
        tcb = next_in_wait(tcb);
    } while (tcb && tcb != first);
    coil__log(COIL_LOG_ERROR, "%s", line);
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

static void log_circles(struct coil__sched *sched)
{
    struct coil__list *link;
    unsigned mark = 0;
    size_t named = 0;

    for (link = sched->registry.next; link != &sched->registry; link = link->next)
        container_of(link, struct coil_fiber, registry)->tcb->mark = 0;
    for (link = sched->registry.next; link != &sched->registry; link = link->next) {
        struct coil_fiber *fiber = container_of(link, struct coil_fiber, registry);
        const struct coil__tcb *met = walk(fiber->tcb, ++mark);

        if (met && named++ < CIRCLES_NAMED)
            log_circle(met);
    }
}

void coil__stuck_report(struct coil__sched *sched)
{
    const int64_t now = coil__clock_now();
    struct coil__list *link;
    size_t named = 0;

    COIL_ASSERT(sched->fiber_count > 0 && "without fibers it is no deadlock but the end");
    coil__log(COIL_LOG_ERROR, "deadlock: %zu fibers wait, and nothing can ever wake one of them",
              sched->fiber_count);
    for (link = sched->registry.next; link != &sched->registry; link = link->next) {
        if (named++ >= FIBERS_NAMED)
            break;
        log_fiber(container_of(link, struct coil_fiber, registry), now);
    }
    if (sched->fiber_count > FIBERS_NAMED)
        coil__log(COIL_LOG_ERROR, "and %zu more", sched->fiber_count - FIBERS_NAMED);
    log_circles(sched);
}

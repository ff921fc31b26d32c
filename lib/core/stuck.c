/* SPDX-License-Identifier: MIT */
/* The deadlock report (core/stuck.h).
 *
 * A line of the log for each fiber, oldest first, then one for each circle of fibers that wait for
 * each other.
 */
#include "core/stuck.h"

#include "base/log.h"
#include "core/circle.h"
#include "core/describe.h"

enum {
    FIBERS_NAMED = 50, /* more would scroll the cause away; coil_dump() shows all */
};

static void log_fiber(const struct coil_fiber *fiber, int64_t now)
{
    char line[COIL__LOG_LINE_SIZE];
    struct coil__text text;

    coil__text_init(&text, line, sizeof line, NULL);
    coil__describe_fiber(&text, fiber, now);
    coil__text_add(&text, ", spawned at ");
    coil__describe_code(&text, fiber->spawn_site);
    coil__log(COIL_LOG_ERROR, "%s", line);
}

static void log_circle(const struct coil__tcb *first, void *arg)
{
    char line[COIL__LOG_LINE_SIZE];
    struct coil__text text;

    (void)arg;
    coil__text_init(&text, line, sizeof line, NULL);
    coil__circle_describe(&text, first);
    coil__log(COIL_LOG_ERROR, "%s", line);
}

void coil__stuck_report(struct coil__sched *sched)
{
    const int64_t now = coil__clock_now();
    const struct coil_fiber *fiber = coil__fiber_next(sched, NULL);

    COIL_ASSERT(sched->fiber_count > 0 && "without fibers it is no deadlock but the end");
    coil__log(COIL_LOG_ERROR, "deadlock: %zu fiber%s, and nothing can ever wake %s",
              sched->fiber_count, sched->fiber_count == 1 ? " waits" : "s wait",
              sched->fiber_count == 1 ? "it" : "one of them");
    for (int i = 0; fiber && i < FIBERS_NAMED; i++) {
        log_fiber(fiber, now);
        fiber = coil__fiber_next(sched, fiber);
    }
    if (sched->fiber_count > FIBERS_NAMED)
        coil__log(COIL_LOG_ERROR, "and %zu more", sched->fiber_count - FIBERS_NAMED);
    coil__circles_visit(sched, log_circle, NULL);
}

/* SPDX-License-Identifier: MIT */
/* Circles of fibers that wait for each other: in a program where nothing else can run they are the
 * deadlock, elsewhere a deadline, a cancellation or another case of a select may still end one.
 *
 * A wait has at most one known owner (coil__describe_owner), so the graph has at most one edge per
 * fiber, and a walk along the edges that marks its way meets its own mark if and only if it has
 * entered a circle. Every fiber is marked once: the search is linear, and allocates nothing.
 */
#ifndef COIL_LIB_CORE_CIRCLE_H
#define COIL_LIB_CORE_CIRCLE_H

#include "base/text.h"
#include "core/sched.h"

/* Calls found(first, arg) for each circle, with one of its fibers, at most 20 times: more would
 * scroll the cause away. On the thread of `sched`, or in a debugger that has stopped it. */
void coil__circles_visit(struct coil__sched *sched,
                         void (*found)(const struct coil__tcb *first, void *arg), void *arg);

/* "circle: 1 'a' waits for mutex held by 2 'b' waits for join of 1 'a'" */
void coil__circle_describe(struct coil__text *text, const struct coil__tcb *first);

#endif

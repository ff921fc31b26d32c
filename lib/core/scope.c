/* SPDX-License-Identifier: MIT */
/* Scopes: ambient deadlines and cancellation (coil/scope.h, design D5).
 *
 * A fiber's scopes form a chain through `outer`. When a scope's timer fires, the scope is marked,
 * and the fiber is interrupted if it is parked and no shield hides the mark. What a call returns is
 * decided when the fiber runs again, by one walk over the chain: the outermost visible reason wins,
 * and cancellation is outside of everything. The scope that spoke is marked as reported, which is
 * what coil_scope_leave() tells.
 *
 * `interrupts` counts the marks in the chain (and the cancellation), hidden or not, so that the
 * usual checkpoint is one comparison.
 */
#include <coil/scope.h>

#include <errno.h>

#include "core/sched.h"

enum {
    SCOPE_EXPIRED = 1,
    SCOPE_REPORTED = 2,
    SCOPE_SHIELD = 4,
};

COIL_STATIC_ASSERT(sizeof(coil_scope) == 72, "a promise of the header");

static void scope_expire(struct coil__timer *timer)
{
    coil_scope *scope = container_of(timer, coil_scope, timer);
    struct coil__tcb *tcb = scope->fiber;

    scope->flags |= SCOPE_EXPIRED;
    tcb->interrupts++;
    coil__interrupt_if_due(tcb);
}

/* The error that is due, and the scope that it comes from (NULL for a cancellation). */
static int find_due(const struct coil__tcb *tcb, coil_scope **ret_scope)
{
    coil_scope *expired = NULL;
    coil_scope *scope;

    for (scope = tcb->scope; scope; scope = scope->outer) {
        if (scope->flags & SCOPE_EXPIRED)
            expired = scope;
        if (scope->flags & SCOPE_SHIELD)
            break;
    }
    *ret_scope = expired;
    if (!scope && tcb->is_cancelled) {
        *ret_scope = NULL;
        return -ECANCELED;
    }
    return expired ? -ETIMEDOUT : 0;
}

int coil__scope_due(const struct coil__tcb *tcb)
{
    coil_scope *scope;

    return find_due(tcb, &scope);
}

int64_t coil__scope_deadline(const struct coil__tcb *tcb)
{
    int64_t nearest = INT64_MAX;

    for (const coil_scope *scope = tcb->scope; scope; scope = scope->outer) {
        if (coil__heap_has(&scope->timer.node) && scope->timer.node.key < nearest)
            nearest = scope->timer.node.key;
        if (scope->flags & SCOPE_SHIELD)
            break;
    }
    return nearest;
}

/* Marks the scopes whose deadline has passed since the loop last looked. */
static void expire_passed(struct coil__tcb *tcb)
{
    const int64_t now = tcb->scope ? coil__clock_now() : 0;

    for (coil_scope *scope = tcb->scope; scope; scope = scope->outer) {
        if (!coil__heap_has(&scope->timer.node) || scope->timer.node.key > now)
            continue;
        coil__timer_disarm(&tcb->sched->timers, &scope->timer);
        scope_expire(&scope->timer);
    }
}

int coil__scope_report(struct coil__tcb *tcb)
{
    coil_scope *scope;
    int result;

    COIL_ASSERT(tcb->state == COIL__FIBER_RUNNING && "a fiber speaks for itself");
    expire_passed(tcb);
    result = find_due(tcb, &scope);
    if (scope)
        scope->flags |= SCOPE_REPORTED;
    return result;
}

static void enter(coil_scope *scope, coil_time timeout, unsigned flags)
{
    struct coil__tcb *self = coil__self();

    *scope = (coil_scope){
        .timer = {.fire = scope_expire},
        .outer = self->scope,
        .fiber = self,
        .flags = flags,
    };
    self->scope = scope;
    if (timeout <= 0)
        scope_expire(&scope->timer);
    else
        coil__timer_arm(&self->sched->timers, &scope->timer, coil__clock_deadline(timeout));
}

void coil_scope_enter(coil_scope *scope, coil_time timeout)
{
    enter(scope, timeout, 0);
}

void coil_scope_enter_shield(coil_scope *scope, coil_time timeout)
{
    enter(scope, timeout, SCOPE_SHIELD);
}

bool coil_scope_leave(coil_scope *scope)
{
    struct coil__tcb *self = scope->fiber;

    COIL_ASSERT(self == coil__self() && "left by the fiber that entered it");
    COIL_ASSERT(self->scope == scope && "inner scopes are left first");
    coil__timer_disarm(&self->sched->timers, &scope->timer);
    self->scope = scope->outer;
    if (scope->flags & SCOPE_EXPIRED) {
        COIL_ASSERT(self->interrupts > 0);
        self->interrupts--;
        self->failure_count = 0; /* whoever leaves has seen it: a poll with no time is no mistake */
    }
    return scope->flags & SCOPE_REPORTED;
}

int coil_expired(void)
{
    return coil__scope_report(coil__self());
}

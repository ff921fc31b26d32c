/* SPDX-License-Identifier: MIT */
/* Structured groups of fibers (coil/group.h, design D6).
 *
 * A member is a fiber whose entry is member_main() and whose argument is a record, in the group's
 * list from the spawn until its function has returned. The record is what can be cancelled, and how
 * a fiber is recognised as a member.
 *
 * The group is not touched after its last member has woken the waiters: the fiber that leaves may
 * then give up the storage before this one has ended, and before others who waited have run. These
 * park with the address of a variable of their own, to which the failure is handed.
 *
 * Invariants: `running` is the length of `members`; fibers wait only while it is not 0.
 */
#include <coil/group.h>

#include <errno.h>

#include "base/alloc.h"
#include "core/waitq.h"

enum {
    GROUP_CANCELLED = 2, /* in flags, besides the public ones */
};

COIL_STATIC_ASSERT(sizeof(coil_group) == 48, "a promise of the header");

struct member {
    struct coil__list link; /* in the group's members */
    coil_group *group;
    int (*fn)(void *);
    void *arg;
    struct coil_fiber *fiber; /* borrowed: the record is gone before its fiber */
};

COIL_STATIC_ASSERT(sizeof(struct member) <= 48, "a promise of the header");

void coil_group_enter(coil_group *group, unsigned flags)
{
    COIL_ASSERT((flags & ~(unsigned)COIL_GROUP_COLLECT) == 0 && "flags are 0 or a public one");
    *group = (coil_group){.flags = flags};
    coil__list_init(&group->members);
    coil__waitq_init(&group->waiters);
    coil__self()->groups_open++;
}

/* ---- Members ---- */

static void note_failure(coil_group *group, struct coil_fiber *fiber, int failure)
{
    if (failure >= 0 || failure == -ECANCELED || group->failure)
        return;
    group->failure = failure;
    fiber->is_collected = true; /* by whoever leaves */
    if (!(group->flags & COIL_GROUP_COLLECT))
        coil_group_cancel(group);
}

static void wake_waiters(coil_group *group)
{
    struct coil__waiter *waiter;

    while ((waiter = coil__waitq_first(&group->waiters)) != NULL) {
        if (waiter->object)
            *(int *)waiter->object = group->failure;
        coil__waiter_wake(waiter, 0);
    }
}

static int member_main(void *arg)
{
    struct member *member = arg;
    coil_group *group = member->group;
    struct coil__tcb *self = coil__self();
    const int result = member->fn(member->arg);

    self->entry = NULL; /* what this fiber calls from now on, it calls as no member */
    coil__list_remove(&member->link);
    coil__free(member);
    note_failure(group, self->handle, result);
    COIL_ASSERT(group->running > 0);
    if (--group->running == 0)
        wake_waiters(group);
    return result;
}

static bool is_member(const coil_group *group, const struct coil__tcb *tcb)
{
    return tcb->entry == member_main && ((const struct member *)tcb->arg)->group == group;
}

int coil_group_spawn(coil_group *group, int (*fn)(void *), void *arg, coil_fiber **ret_fiber)
{
    struct member *member = coil__alloc(sizeof *member);
    int result;

    if (!member)
        return -ENOMEM;
    *member = (struct member){.group = group, .fn = fn, .arg = arg};
    result = coil__fiber_spawn(coil__sched(), member_main, member, __builtin_return_address(0),
                               &member->fiber);
    if (result < 0) {
        coil__free(member);
        return result;
    }
    coil__list_push_back(&group->members, &member->link);
    group->running++;
    if (group->flags & GROUP_CANCELLED)
        coil_cancel(member->fiber);
    if (ret_fiber)
        *ret_fiber = member->fiber;
    else
        coil_fiber_unref(member->fiber);
    return 0;
}

void coil_group_cancel(coil_group *group)
{
    struct coil__list *link;

    group->flags |= GROUP_CANCELLED;
    for (link = group->members.next; link != &group->members; link = link->next)
        coil_cancel(container_of(link, struct member, link)->fiber);
}

/* ---- Waiting and leaving ---- */

static const char wait_name[] = "group members";

int coil_group_wait(coil_group *group)
{
    struct coil__tcb *self = coil__self();
    int failure = 0;
    int result;

    if (is_member(group, self))
        return -EDEADLK;
    result = coil__checkpoint(self);
    if (result < 0)
        return result;
    if (group->running == 0)
        return group->failure;
    result = coil__waitq_park(&group->waiters, wait_name, &failure);
    return result < 0 ? result : failure;
}

int coil_group_leave(coil_group *group)
{
    struct coil__tcb *self = coil__self();
    int result = 0;

    COIL_ASSERT(!is_member(group, self) && "a member would wait for itself");
    COIL_ASSERT(self->groups_open > 0 && "a group is left once, by the fiber that entered it");
    self->groups_open--;
    if (group->running > 0)
        result = coil__checkpoint(self);
    while (group->running > 0 && result == 0)
        result = coil__waitq_park(&group->waiters, wait_name, NULL);
    if (result < 0) {
        coil_group_cancel(group);
        while (group->running > 0)
            (void)coil__waitq_park_shielded(&group->waiters, "cancelled group members");
    }
    return group->failure ? group->failure : result;
}

size_t coil_group_running(const coil_group *group)
{
    return group->running;
}

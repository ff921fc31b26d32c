/* SPDX-License-Identifier: MIT */
/* Wait group (coil/waitgroup.h): a count, and those who wait for it to be 0.
 *
 * Invariant: while the count is 0, nobody waits.
 */
#include <coil/waitgroup.h>

#include "core/waitq.h"

COIL_STATIC_ASSERT(sizeof(coil_waitgroup) == 24, "a promise of the header");

void coil_waitgroup_init(coil_waitgroup *group)
{
    group->count = 0;
    coil__waitq_init(&group->waiters);
}

void coil_waitgroup_add(coil_waitgroup *group, unsigned count)
{
    COIL_ASSERT(group->count + count >= count && "no more than UINT_MAX at a time");
    group->count += count;
}

void coil_waitgroup_done(coil_waitgroup *group)
{
    COIL_ASSERT(group->count > 0 && "done no more often than added");
    if (--group->count == 0)
        coil__waitq_wake_all(&group->waiters, 0);
}

int coil_waitgroup_wait(coil_waitgroup *group)
{
    const int result = coil__checkpoint(coil__self());

    if (result < 0)
        return result;
    if (group->count > 0)
        return coil__waitq_park(&group->waiters, "wait group", group);
    COIL_ASSERT(coil__waitq_is_empty(&group->waiters));
    return 0;
}

unsigned coil_waitgroup_count(const coil_waitgroup *group)
{
    return group->count;
}

/* SPDX-License-Identifier: MIT */
/* Level-triggered flag (coil/flag.h).
 *
 * Being let go is handed over like everything else: a waiter that was woken does not look at the
 * flag again, which may have been cleared, or be gone.
 *
 * Invariant: while the flag is set, nobody waits.
 */
#include <coil/flag.h>

#include "core/waitq.h"

COIL_STATIC_ASSERT(sizeof(coil_flag) == 24, "a promise of the header");

void coil_flag_init(coil_flag *flag)
{
    flag->is_set = false;
    coil__waitq_init(&flag->waiters);
}

void coil_flag_set(coil_flag *flag)
{
    flag->is_set = true;
    coil__waitq_wake_all(&flag->waiters, 0);
}

void coil_flag_clear(coil_flag *flag)
{
    flag->is_set = false;
}

int coil_flag_wait(coil_flag *flag)
{
    const int result = coil__checkpoint(coil__self());

    if (result < 0)
        return result;
    if (!flag->is_set)
        return coil__waitq_park(&flag->waiters, "flag", flag);
    COIL_ASSERT(coil__waitq_is_empty(&flag->waiters));
    return 0;
}

bool coil_flag_is_set(const coil_flag *flag)
{
    return flag->is_set;
}

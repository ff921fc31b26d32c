/* SPDX-License-Identifier: MIT */
/* All schedulers of the process (core/census.h). */
#include "core/census.h"

#include <sched.h>

_Atomic(struct coil__sched *) coil__census[COIL__CENSUS_MAX];

static _Atomic(int) visitor_count;

void coil__census_enter(struct coil__sched *sched)
{
    for (int i = 0; i < COIL__CENSUS_MAX; i++) {
        struct coil__sched *nobody = NULL;

        if (atomic_compare_exchange_strong(&coil__census[i], &nobody, sched))
            return;
    }
}

void coil__census_leave(struct coil__sched *sched)
{
    for (int i = 0; i < COIL__CENSUS_MAX; i++) {
        struct coil__sched *expected = sched;

        if (atomic_compare_exchange_strong(&coil__census[i], &expected, NULL))
            break;
    }
    while (atomic_load(&visitor_count) > 0)
        (void)sched_yield();
}

void coil__census_visit(void (*visit)(struct coil__sched *sched))
{
    atomic_fetch_add(&visitor_count, 1);
    for (int i = 0; i < COIL__CENSUS_MAX; i++) {
        struct coil__sched *sched = atomic_load(&coil__census[i]);

        if (sched)
            visit(sched);
    }
    atomic_fetch_sub(&visitor_count, 1);
}

/* SPDX-License-Identifier: MIT */
/* Scopes and the calls of io and net: what core/test_scope.c shows for fibers among themselves, for
 * those that wait for the kernel, for threads and for processes.
 */
#include "core/scope_checks.h"

FIBER_TEST(scope_net, a_deadline_interrupts_every_call_and_every_further_one)
{
    check_that_deadlines_interrupt_every_call();
}

FIBER_TEST(scope_net, zero_and_negative_timeouts_fail_every_call_at_once)
{
    check_that_no_time_fails_every_call();
}

FIBER_TEST(scope_net, a_cancellation_interrupts_every_call_and_every_further_one)
{
    check_that_cancellations_interrupt_every_call();
}

FIBER_TEST(scope_net, a_shield_hides_cancellation_and_outer_deadlines_from_every_call)
{
    check_that_shields_hide_from_every_call();
}

/* SPDX-License-Identifier: MIT */
/* The checks of tests/core/scope_checks.h. */
#include "core/scope_checks.h"

static struct parking_call calls[PARKING_CALLS_MAX];
static size_t call_count;

void parking_calls_add(const struct parking_call *more, size_t count)
{
    cr_assert_leq(call_count + count, PARKING_CALLS_MAX);
    memcpy(&calls[call_count], more, count * sizeof *more);
    call_count += count;
}

void check_that_deadlines_interrupt_every_call(void)
{
    parking_calls_open();
    for (size_t i = 0; i < call_count; i++) {
        coil_scope scope;

        coil_scope_enter(&scope, COIL_MS(1));
        cr_assert_eq(calls[i].wait(), -ETIMEDOUT, "%s", calls[i].name);
        for (size_t j = 0; j < call_count; j++) {
            cr_assert_eq(calls[j].wait(), -ETIMEDOUT, "%s", calls[j].name);
            cr_assert_eq(calls[j].succeed(), -ETIMEDOUT, "%s", calls[j].name);
        }
        cr_assert(coil_scope_leave(&scope), "%s", calls[i].name);
        cr_assert_geq(calls[i].succeed(), 0, "%s", calls[i].name);
    }
    parking_calls_close();
}

void check_that_no_time_fails_every_call(void)
{
    static const coil_time timeouts[] = {0, -1, INT64_MIN};

    parking_calls_open();
    for (size_t i = 0; i < call_count; i++) {
        for (size_t j = 0; j < 3; j++) {
            uint64_t turn;
            coil_scope scope;

            coil_yield(); /* a whole budget, so that no call gives way for others */
            turn = coil__sched_this->turn_count;
            coil_scope_enter(&scope, timeouts[j]);
            cr_assert_eq(calls[i].wait(), -ETIMEDOUT, "%s", calls[i].name);
            cr_assert_eq(calls[i].succeed(), -ETIMEDOUT, "%s", calls[i].name);
            cr_assert(coil_scope_leave(&scope));
            cr_assert_eq(coil__sched_this->turn_count, turn, "%s parked", calls[i].name);
        }
    }
    parking_calls_close();
}

struct cancelled_call {
    const struct parking_call *call;
    int first;
};

static int wait_then_try_all(void *arg)
{
    struct cancelled_call *cancelled = arg;
    int result = cancelled->call->wait();

    cancelled->first = result;
    for (size_t i = 0; i < call_count && result == -ECANCELED; i++) {
        result = calls[i].wait();
        if (result == -ECANCELED)
            result = calls[i].succeed();
    }
    return result;
}

void check_that_cancellations_interrupt_every_call(void)
{
    parking_calls_open();
    for (size_t i = 0; i < call_count; i++) {
        struct cancelled_call cancelled = {.call = &calls[i]};
        coil_fiber *fiber = spawn_until_parked(wait_then_try_all, &cancelled);

        coil_cancel(fiber);
        cr_assert_eq(join_and_drop(fiber), -ECANCELED, "%s", calls[i].name);
        cr_assert_eq(cancelled.first, -ECANCELED, "%s", calls[i].name);
    }
    parking_calls_close();
}

void check_that_shields_hide_from_every_call(void)
{
    coil_scope outer;

    parking_calls_open();
    coil_scope_enter(&outer, 0);
    for (size_t i = 0; i < call_count; i++) {
        coil_scope shield;

        coil_scope_enter_shield(&shield, COIL_NEVER);
        cr_assert_geq(calls[i].succeed(), 0, "%s", calls[i].name);
        cr_assert_not(coil_scope_leave(&shield));
        cr_assert_eq(calls[i].succeed(), -ETIMEDOUT, "%s", calls[i].name);

        coil_scope_enter_shield(&shield, COIL_MS(1));
        cr_assert_eq(calls[i].wait(), -ETIMEDOUT, "the shield's own timeout, %s", calls[i].name);
        cr_assert(coil_scope_leave(&shield));
    }
    cr_assert(coil_scope_leave(&outer));
    parking_calls_close();
}

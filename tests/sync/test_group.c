/* SPDX-License-Identifier: MIT */
/* Groups: leaving joins, a failure cancels the rest, an interruption cancels and still joins. */
#include <signal.h>

#include "base/alloc.h"
#include "support/child.h"
#include "support/fiber_test.h"

enum {
    MEMBERS = 5,
    FAILURE = -EIO,
    LATER_FAILURE = -EPROTO,
};

struct work {
    coil_group *group;
    coil_sem *gate; /* acquired first, when there is one */
    int result;     /* returned, unless the gate was not passed */
    int gate_result;
    bool has_ended;
};

static int pass_gate(void *arg)
{
    struct work *work = arg;

    if (work->gate)
        work->gate_result = coil_sem_acquire(work->gate);
    work->has_ended = true;
    return work->gate_result < 0 ? work->gate_result : work->result;
}

static void spawn_works(coil_group *group, struct work *works, size_t count)
{
    for (size_t i = 0; i < count; i++)
        cr_assert_eq(coil_group_spawn(group, pass_gate, &works[i], NULL), 0);
}

static void count_unhandled(const coil_fiber *fiber, int result, void *arg)
{
    (void)fiber;
    (void)result;
    ++*(int *)arg;
}

FIBER_TEST(group, leaving_waits_for_every_member)
{
    coil_group group;
    struct work works[MEMBERS] = {{.result = 0}};

    coil_group_enter(&group, 0);
    spawn_works(&group, works, MEMBERS);
    cr_assert_eq(coil_group_running(&group), MEMBERS);
    cr_assert_eq(coil_group_leave(&group), 0);

    for (int i = 0; i < MEMBERS; i++)
        cr_assert(works[i].has_ended);
    cr_assert_eq(coil_group_running(&group), 0);
}

FIBER_TEST(group, leaving_an_empty_group_returns_at_once_also_in_an_expired_scope)
{
    coil_group group;
    coil_scope scope;

    coil_group_enter(&group, 0);
    cr_assert_eq(coil_group_leave(&group), 0);
    coil_scope_enter(&scope, 0);
    coil_group_enter(&group, 0);
    cr_assert_eq(coil_group_wait(&group), -ETIMEDOUT, "a parking call like any other");
    cr_assert_eq(coil_group_leave(&group), 0, "nothing was cut short");
    (void)coil_scope_leave(&scope);
}

FIBER_TEST(group, the_first_failure_cancels_the_others_and_is_what_leaving_returns)
{
    coil_group group;
    coil_sem never;
    struct work works[MEMBERS];
    int unhandled = 0;

    coil_unhandled_set(count_unhandled, &unhandled);
    coil_sem_init(&never, 0);
    for (int i = 0; i < MEMBERS; i++)
        works[i] = (struct work){.gate = i == 2 ? NULL : &never, .result = FAILURE};
    coil_group_enter(&group, 0);
    spawn_works(&group, works, MEMBERS);
    cr_assert_eq(coil_group_leave(&group), FAILURE);

    for (int i = 0; i < MEMBERS; i++) {
        cr_assert(works[i].has_ended);
        cr_assert_eq(works[i].gate_result, i == 2 ? 0 : -ECANCELED);
    }
    cr_assert_eq(unhandled, 0);
}

FIBER_TEST(group, a_later_failure_that_nobody_can_collect_is_reported)
{
    coil_group group;
    struct work works[2] = {{.result = FAILURE}, {.result = LATER_FAILURE}};
    int unhandled = 0;

    coil_unhandled_set(count_unhandled, &unhandled);
    coil_group_enter(&group, 0);
    spawn_works(&group, works, 2);
    cr_assert_eq(coil_group_leave(&group), FAILURE);

    cr_assert_eq(unhandled, 1);
}

FIBER_TEST(group, collecting_cancels_nobody_and_still_tells_of_the_first_failure)
{
    coil_group group;
    coil_sem gate;
    struct work works[3] = {{.gate = &gate, .result = 1},
                            {.gate = NULL, .result = FAILURE},
                            {.gate = &gate, .result = LATER_FAILURE}};
    coil_fiber *fibers[3];
    int result = 0;

    coil_sem_init(&gate, 0);
    coil_group_enter(&group, COIL_GROUP_COLLECT);
    for (int i = 0; i < 3; i++)
        cr_assert_eq(coil_group_spawn(&group, pass_gate, &works[i], &fibers[i]), 0);
    until_parked(fibers[2]);
    coil_sem_release(&gate);
    coil_sem_release(&gate);
    cr_assert_eq(coil_group_leave(&group), FAILURE);

    for (int i = 0; i < 3; i++) {
        cr_assert_eq(coil_try_join(fibers[i], &result), 0);
        cr_assert_eq(result, works[i].result);
        coil_fiber_unref(fibers[i]);
    }
}

FIBER_TEST(group, a_member_that_is_cancelled_by_itself_ends_quietly)
{
    coil_group group;
    coil_sem gate;
    struct work works[2] = {{.gate = &gate}, {.gate = &gate}};
    coil_fiber *fibers[2];

    coil_sem_init(&gate, 0);
    coil_group_enter(&group, 0);
    for (int i = 0; i < 2; i++)
        cr_assert_eq(coil_group_spawn(&group, pass_gate, &works[i], &fibers[i]), 0);
    until_parked(fibers[1]);
    coil_cancel(fibers[0]);
    coil_sem_release(&gate);
    cr_assert_eq(coil_group_leave(&group), 0);

    cr_assert_eq(works[0].gate_result, -ECANCELED);
    cr_assert_eq(works[1].gate_result, 0, "its sibling is not disturbed");
    for (int i = 0; i < 2; i++)
        coil_fiber_unref(fibers[i]);
}

FIBER_TEST(group, a_deadline_around_it_cancels_the_members_and_they_are_awaited)
{
    coil_group group;
    coil_scope scope;
    coil_sem never;
    struct work works[2] = {{.gate = &never}, {.gate = &never}};

    coil_sem_init(&never, 0);
    coil_scope_enter(&scope, COIL_MS(1));
    coil_group_enter(&group, 0);
    spawn_works(&group, works, 2);
    cr_assert_eq(coil_group_leave(&group), -ETIMEDOUT);
    cr_assert(coil_scope_leave(&scope));

    for (int i = 0; i < 2; i++) {
        cr_assert(works[i].has_ended);
        cr_assert_eq(works[i].gate_result, -ECANCELED);
    }
}

FIBER_TEST(group, left_in_an_expired_scope_it_cancels_the_members_at_once)
{
    coil_group group;
    coil_scope scope;
    coil_sem never;
    struct work work = {.gate = &never};

    coil_sem_init(&never, 0);
    coil_group_enter(&group, 0);
    spawn_works(&group, &work, 1);
    coil_scope_enter(&scope, 0);
    cr_assert_eq(coil_group_leave(&group), -ETIMEDOUT);
    (void)coil_scope_leave(&scope);

    cr_assert(work.has_ended);
    cr_assert_eq(work.gate_result, -ECANCELED);
}

static int clean_up_in_shield(void *arg)
{
    struct work *work = arg;
    coil_scope shield;

    work->gate_result = coil_sem_acquire(work->gate);
    coil_scope_enter_shield(&shield, COIL_SECONDS(10));
    cr_assert_eq(coil_sleep(COIL_MS(1)), 0);
    (void)coil_scope_leave(&shield);
    work->has_ended = true;
    return work->gate_result;
}

static int leave_what_cleans_up(void *arg)
{
    coil_group group;

    coil_group_enter(&group, 0);
    cr_assert_eq(coil_group_spawn(&group, clean_up_in_shield, arg, NULL), 0);
    return coil_group_leave(&group);
}

FIBER_TEST(group, a_cancelled_leaver_waits_for_members_that_clean_up)
{
    coil_sem never;
    struct work work = {.gate = &never};
    coil_fiber *leaver;

    coil_sem_init(&never, 0);
    leaver = spawn_until_parked(leave_what_cleans_up, &work);
    coil_yield(); /* the member waits */
    coil_cancel(leaver);

    cr_assert_eq(join_and_drop(leaver), -ECANCELED);
    cr_assert_eq(work.gate_result, -ECANCELED);
    cr_assert(work.has_ended);
}

FIBER_TEST(group, a_members_failure_is_told_rather_than_the_interruption)
{
    coil_group group;
    coil_scope scope;
    coil_sem never;
    struct work works[2] = {{.gate = &never}, {.gate = NULL, .result = FAILURE}};

    coil_sem_init(&never, 0);
    coil_group_enter(&group, COIL_GROUP_COLLECT);
    spawn_works(&group, works, 2);
    coil_scope_enter(&scope, COIL_MS(1));
    cr_assert_eq(coil_group_leave(&group), FAILURE);
    cr_assert(coil_scope_leave(&scope));
}

FIBER_TEST(group, waiting_does_not_cancel_when_it_is_interrupted)
{
    coil_group group;
    coil_scope scope;
    coil_sem gate;
    struct work work = {.gate = &gate, .result = 1};

    coil_sem_init(&gate, 0);
    coil_group_enter(&group, 0);
    spawn_works(&group, &work, 1);
    coil_scope_enter(&scope, COIL_MS(1));
    cr_assert_eq(coil_group_wait(&group), -ETIMEDOUT);
    cr_assert(coil_scope_leave(&scope));
    coil_sem_release(&gate);
    cr_assert_eq(coil_group_wait(&group), 0);
    cr_assert_eq(coil_group_leave(&group), 0);

    cr_assert_eq(work.gate_result, 0);
}

static int wait_for_own_group(void *arg)
{
    return coil_group_wait(arg);
}

FIBER_TEST(group, a_member_cannot_wait_for_its_own_group)
{
    coil_group group;
    coil_fiber *fiber;

    coil_group_enter(&group, COIL_GROUP_COLLECT);
    cr_assert_eq(coil_group_spawn(&group, wait_for_own_group, &group, &fiber), 0);
    cr_assert_eq(join_and_drop(fiber), -EDEADLK);
    cr_assert_eq(coil_group_leave(&group), -EDEADLK);
}

static int spawn_sibling(void *arg)
{
    struct work *work = arg;

    return coil_group_spawn(work->group, pass_gate, work, NULL);
}

FIBER_TEST(group, members_may_spawn_siblings_while_somebody_leaves)
{
    coil_group group;
    struct work work = {.group = &group};

    coil_group_enter(&group, 0);
    cr_assert_eq(coil_group_spawn(&group, spawn_sibling, &work, NULL), 0);
    cr_assert_eq(coil_group_leave(&group), 0);

    cr_assert(work.has_ended);
}

FIBER_TEST(group, in_a_cancelled_group_new_members_are_born_cancelled_and_run)
{
    coil_group group;
    coil_sem never;
    struct work works[2] = {{.gate = &never}, {.gate = &never}};

    coil_sem_init(&never, 0);
    coil_group_enter(&group, 0);
    spawn_works(&group, &works[0], 1);
    coil_group_cancel(&group);
    spawn_works(&group, &works[1], 1);
    cr_assert_eq(coil_group_leave(&group), 0);

    for (int i = 0; i < 2; i++) {
        cr_assert(works[i].has_ended);
        cr_assert_eq(works[i].gate_result, -ECANCELED);
    }
}

struct hooked {
    coil_exit_hook hook;
    coil_group *group;
    int wait_result;
};

static void wait_in_hook(coil_fiber *fiber, int result, void *arg)
{
    struct hooked *hooked = arg;

    (void)fiber;
    (void)result;
    hooked->wait_result = coil_group_wait(hooked->group);
}

FIBER_TEST(group, a_members_exit_hook_is_no_member_and_may_wait)
{
    coil_group group;
    coil_sem gate;
    struct work works[2] = {{.result = 0}, {.gate = &gate}};
    struct hooked hooked = {.group = &group, .wait_result = -1};
    coil_fiber *fiber;

    coil_sem_init(&gate, 0);
    coil_group_enter(&group, 0);
    cr_assert_eq(coil_group_spawn(&group, pass_gate, &works[0], &fiber), 0);
    spawn_works(&group, &works[1], 1);
    coil_on_exit(fiber, &hooked.hook, wait_in_hook, &hooked);
    until_parked(fiber);
    coil_sem_release(&gate);

    cr_assert_eq(coil_group_leave(&group), 0);
    cr_assert_eq(join_and_drop(fiber), 0);
    cr_assert_eq(hooked.wait_result, 0);
}

struct leaving {
    coil_group group;
    struct work *work;
};

static int enter_spawn_leave(void *arg)
{
    struct leaving leaving; /* the group's storage goes when this returns */
    int result;

    coil_group_enter(&leaving.group, 0);
    cr_assert_eq(coil_group_spawn(&leaving.group, pass_gate, arg, NULL), 0);
    result = coil_group_leave(&leaving.group);
    memset(&leaving, 0xa5, sizeof leaving);
    return result;
}

FIBER_TEST(group, its_storage_may_go_as_soon_as_it_was_left)
{
    struct work works[MEMBERS] = {{.result = 3}};
    coil_fiber *fibers[MEMBERS];

    for (int i = 0; i < MEMBERS; i++)
        cr_assert_eq(coil_spawn(enter_spawn_leave, &works[i], &fibers[i]), 0);
    for (int i = 0; i < MEMBERS; i++)
        cr_assert_eq(join_and_drop(fibers[i]), 0);
}

struct left_early {
    coil_group *group;
    coil_sem *gate;
};

static int leave_first(void *arg)
{
    struct left_early *left = arg;
    struct work work = {.gate = left->gate, .result = FAILURE};
    struct leaving leaving; /* as above */
    int result;

    coil_group_enter(&leaving.group, 0);
    left->group = &leaving.group;
    cr_assert_eq(coil_group_spawn(&leaving.group, pass_gate, &work, NULL), 0);
    result = coil_group_leave(&leaving.group);
    memset(&leaving, 0xa5, sizeof leaving);
    return result;
}

static int wait_for_group(void *arg)
{
    return coil_group_wait(arg);
}

FIBER_TEST(group, its_storage_may_go_before_others_who_waited_for_it_run)
{
    coil_sem gate;
    struct left_early left = {.gate = &gate};
    coil_fiber *leaver;
    coil_fiber *waiter;

    coil_sem_init(&gate, 0);
    leaver = spawn_until_parked(leave_first, &left);
    waiter = spawn_until_parked(wait_for_group, left.group);
    coil_sem_release(&gate);

    cr_assert_eq(join_and_drop(leaver), FAILURE);
    cr_assert_eq(join_and_drop(waiter), FAILURE);
}

FIBER_TEST(group, when_any_allocation_fails_the_spawn_says_so_and_nothing_leaks)
{
    coil_group group;
    struct work work = {.result = 0};
    int result = -ENOMEM;

    coil_group_enter(&group, 0);
    for (int64_t after = 0; result == -ENOMEM; after++) {
        coil__alloc_fail_after(after);
        result = coil_group_spawn(&group, pass_gate, &work, NULL);
        coil__alloc_fail_after(-1);
        cr_assert_eq(coil_group_running(&group), result == 0);
    }
    cr_assert_eq(result, 0);
    cr_assert_eq(coil_group_leave(&group), 0);
    cr_assert(work.has_ended);
}

FIBER_TEST_WITH(group, beyond_the_limit_of_fibers_the_spawn_says_so,
                (&(coil_options){.size = sizeof(coil_options), .fibers_max = 2}))
{
    coil_group group;
    struct work works[2] = {{.result = 0}, {.result = 0}};

    coil_group_enter(&group, 0);
    cr_assert_eq(coil_group_spawn(&group, pass_gate, &works[0], NULL), 0);
    cr_assert_eq(coil_group_spawn(&group, pass_gate, &works[1], NULL), -EAGAIN);
    cr_assert_eq(coil_group_leave(&group), 0);
    cr_assert_not(works[1].has_ended);
}

/* ---- Mistakes ---- */

static int leave_early(void *arg)
{
    coil_group *group = arg;

    coil_fiber_name_set(coil_self(), "hasty");
    coil_group_enter(group, 0);
    return 0;
}

static int leave_group(void *arg)
{
    return coil_group_leave(arg);
}

static int spawn_the_hasty(void *arg)
{
    coil_group group;

    (void)arg;
    return join_and_drop(spawn_until_parked(leave_early, &group));
}

static int spawn_the_meddler(void *arg)
{
    coil_group group;

    (void)arg;
    coil_group_enter(&group, 0);
    return join_and_drop(spawn_until_parked(leave_group, &group));
}

static int run_as_child(void *arg)
{
    int (*const *main)(void *) = arg;

    return fiber_test_coil_run(*main, NULL, NULL, NULL);
}

Test(group, a_fiber_that_ends_and_has_not_left_is_named_and_the_program_stops, .timeout = 60)
{
    int (*main)(void *) = spawn_the_hasty;
    struct child_end end;

    child_run(run_as_child, &main, &end);
    cr_assert_eq(end.signal, SIGABRT, "%d %s", end.exit_code, end.output);
    cr_assert_not_null(strstr(end.output, "'hasty' ends and has not left 1 group\n"), "%s",
                       end.output);
}

Test(group, a_group_is_left_by_nobody_but_who_entered_it, .timeout = 60)
{
    int (*main)(void *) = spawn_the_meddler;
    struct child_end end;

    child_run(run_as_child, &main, &end);
    cr_assert_eq(end.signal, SIGABRT, "%d %s", end.exit_code, end.output);
    cr_assert_not_null(strstr(end.output, "left once, by the fiber that entered it"), "%s",
                       end.output);
}

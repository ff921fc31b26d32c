/* SPDX-License-Identifier: MIT */
/* Exit hooks: called by the ending fiber, in order, once each; taken off; added late. */
#include "support/fiber_test.h"

enum {
    RESULT = 17,
};

struct note {
    coil_exit_hook hook;
    char *log;
    char name;
    coil_fiber *fiber; /* as the hook saw it */
    coil_fiber *caller;
    int result;
    struct note *adds;      /* the hook adds this one */
    struct note *takes_off; /* and takes off this one */
};

static void note_exit(coil_fiber *fiber, int result, void *arg)
{
    struct note *note = arg;

    strncat(note->log, &note->name, 1);
    note->fiber = fiber;
    note->caller = coil_self();
    note->result = result;
    if (note->adds)
        coil_on_exit(fiber, &note->adds->hook, note_exit, note->adds);
    if (note->takes_off)
        cr_assert(coil_off_exit(fiber, &note->takes_off->hook));
}

static int return_result(void *arg)
{
    (void)arg;
    return RESULT;
}

static int fail_quietly(void *arg)
{
    (void)arg;
    return -EIO;
}

static int sleep_forever(void *arg)
{
    (void)arg;
    return coil_sleep(COIL_NEVER);
}

FIBER_TEST(exit_hook, hooks_are_called_in_order_by_the_fiber_that_ends_before_its_joiners_run)
{
    char log[4] = "";
    struct note first = {.log = log, .name = 'a'};
    struct note second = {.log = log, .name = 'b'};
    coil_fiber *fiber;

    cr_assert_eq(coil_spawn(return_result, NULL, &fiber), 0);
    coil_on_exit(fiber, &first.hook, note_exit, &first);
    coil_on_exit(fiber, &second.hook, note_exit, &second);
    cr_assert_str_eq(log, "");
    cr_assert_eq(coil_join(fiber, NULL), 0);

    cr_assert_str_eq(log, "ab");
    cr_assert_eq(first.result, RESULT);
    cr_assert_eq(first.fiber, fiber);
    cr_assert_eq(first.caller, fiber);
    cr_assert_eq(second.result, RESULT);
    coil_fiber_unref(fiber);
}

FIBER_TEST(exit_hook, on_a_fiber_that_has_ended_the_hook_is_called_at_once)
{
    char log[4] = "";
    struct note note = {.log = log, .name = 'a'};
    coil_fiber *fiber;

    cr_assert_eq(coil_spawn(return_result, NULL, &fiber), 0);
    coil_yield();
    coil_on_exit(fiber, &note.hook, note_exit, &note);

    cr_assert_str_eq(log, "a");
    cr_assert_eq(note.result, RESULT);
    cr_assert_eq(note.caller, coil_self());
    cr_assert_not(coil_off_exit(fiber, &note.hook));
    coil_fiber_unref(fiber);
}

FIBER_TEST(exit_hook, a_hook_that_was_taken_off_is_not_called)
{
    char log[4] = "";
    struct note notes[3] = {
        {.log = log, .name = 'a'}, {.log = log, .name = 'b'}, {.log = log, .name = 'c'}};
    coil_fiber *fiber;

    cr_assert_eq(coil_spawn(return_result, NULL, &fiber), 0);
    for (int i = 0; i < 3; i++)
        coil_on_exit(fiber, &notes[i].hook, note_exit, &notes[i]);
    cr_assert(coil_off_exit(fiber, &notes[1].hook));
    cr_assert_not(coil_off_exit(fiber, &notes[1].hook));
    cr_assert_eq(join_and_drop(fiber), RESULT);

    cr_assert_str_eq(log, "ac");
}

FIBER_TEST(exit_hook, a_hook_may_add_and_take_off_others)
{
    char log[8] = "";
    struct note added = {.log = log, .name = 'd'};
    struct note removed = {.log = log, .name = 'c'};
    struct note kept = {.log = log, .name = 'b'};
    struct note first = {.log = log, .name = 'a', .adds = &added, .takes_off = &removed};
    coil_fiber *fiber;

    cr_assert_eq(coil_spawn(return_result, NULL, &fiber), 0);
    coil_on_exit(fiber, &first.hook, note_exit, &first);
    coil_on_exit(fiber, &kept.hook, note_exit, &kept);
    coil_on_exit(fiber, &removed.hook, note_exit, &removed);
    cr_assert_eq(join_and_drop(fiber), RESULT);

    cr_assert_str_eq(log, "abd");
}

FIBER_TEST(exit_hook, a_cancelled_fiber_calls_its_hooks_and_the_canceller_calls_none)
{
    char log[4] = "";
    struct note note = {.log = log, .name = 'a'};
    coil_fiber *fiber = spawn_until_parked(sleep_forever, NULL);

    coil_on_exit(fiber, &note.hook, note_exit, &note);
    coil_cancel(fiber);
    cr_assert_str_eq(log, "");
    cr_assert_eq(join_and_drop(fiber), -ECANCELED);

    cr_assert_str_eq(log, "a");
    cr_assert_eq(note.result, -ECANCELED);
    cr_assert_eq(note.caller, fiber);
}

FIBER_TEST(exit_hook, a_fiber_cancelled_before_its_start_calls_its_hooks)
{
    char log[4] = "";
    struct note note = {.log = log, .name = 'a'};
    coil_fiber *fiber;

    cr_assert_eq(coil_spawn(sleep_forever, NULL, &fiber), 0);
    coil_on_exit(fiber, &note.hook, note_exit, &note);
    coil_cancel(fiber);
    cr_assert_eq(join_and_drop(fiber), -ECANCELED);

    cr_assert_str_eq(log, "a");
}

static void count_unhandled(const coil_fiber *fiber, int result, void *arg)
{
    (void)fiber;
    (void)result;
    ++*(int *)arg;
}

FIBER_TEST(exit_hook, a_failure_that_a_hook_has_seen_is_not_unhandled)
{
    char log[4] = "";
    struct note note = {.log = log, .name = 'a'};
    int unhandled = 0;
    coil_fiber *fiber;

    coil_unhandled_set(count_unhandled, &unhandled);
    cr_assert_eq(coil_spawn(fail_quietly, NULL, &fiber), 0);
    coil_on_exit(fiber, &note.hook, note_exit, &note);
    coil_fiber_unref(fiber);
    coil_yield();

    cr_assert_eq(note.result, -EIO);
    cr_assert_eq(unhandled, 0);
}

struct waiting_hook {
    coil_exit_hook hook;
    coil_sem sem;
    bool is_over;
};

static void wait_in_hook(coil_fiber *fiber, int result, void *arg)
{
    struct waiting_hook *waiting = arg;

    (void)fiber;
    (void)result;
    cr_assert_eq(coil_sem_acquire(&waiting->sem), 0);
    waiting->is_over = true;
}

FIBER_TEST(exit_hook, a_hook_may_park_and_the_joiners_wait_for_it)
{
    struct waiting_hook waiting = {.is_over = false};
    coil_fiber *fiber;
    int result = 0;

    coil_sem_init(&waiting.sem, 0);
    cr_assert_eq(coil_spawn(return_result, NULL, &fiber), 0);
    coil_on_exit(fiber, &waiting.hook, wait_in_hook, &waiting);
    until_parked(fiber);
    cr_assert_eq(coil_try_join(fiber, &result), -EAGAIN);
    coil_sem_release(&waiting.sem);

    cr_assert_eq(coil_join(fiber, &result), 0);
    cr_assert(waiting.is_over);
    cr_assert_eq(result, RESULT);
    cr_assert_eq(coil_try_join(fiber, &result), 0);
    coil_fiber_unref(fiber);
}

static void acquire_late(void *value)
{
    cr_assert_eq(coil_sem_acquire(value), 0);
}

static const coil_local late = {.destroy = acquire_late};

static int set_late(void *arg)
{
    return coil_local_set(&late, arg);
}

FIBER_TEST(exit_hook, a_hook_that_comes_while_locals_are_destroyed_is_called)
{
    char log[4] = "";
    struct note note = {.log = log, .name = 'a'};
    coil_sem gate;
    coil_fiber *fiber;

    coil_sem_init(&gate, 0);
    fiber = spawn_until_parked(set_late, &gate);
    coil_on_exit(fiber, &note.hook, note_exit, &note);
    coil_sem_release(&gate);
    cr_assert_eq(join_and_drop(fiber), 0);

    cr_assert_str_eq(log, "a");
    cr_assert_eq(note.caller, note.fiber);
}

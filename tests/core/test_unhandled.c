/* SPDX-License-Identifier: MIT */
/* Results that nobody can collect: which are reported, how often, and what the hook may do. */
#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "support/fiber_test.h"

static int return_number(void *arg)
{
    return *(int *)arg;
}

struct reports {
    int count;
    int result;
    uint64_t id;
};

static void count_report(const coil_fiber *fiber, int result, void *arg)
{
    struct reports *reports = arg;

    reports->count++;
    reports->result = result;
    reports->id = coil_fiber_id(fiber);
}

FIBER_TEST(unhandled, a_detached_fibers_failure_is_reported)
{
    struct reports reports = {0};
    int number = -EPIPE;

    coil_unhandled_set(count_report, &reports);
    cr_assert_eq(coil_spawn(return_number, &number, NULL), 0);
    coil_yield();

    cr_assert_eq(reports.count, 1);
    cr_assert_eq(reports.result, -EPIPE);
    cr_assert_eq(reports.id, coil_fiber_id(coil_self()) + 1);
}

static void keep_line(coil_log_level level, const char *message, void *arg)
{
    (void)level;
    (void)snprintf(arg, COIL__LOG_LINE_SIZE, "%s", message);
}

FIBER_TEST(unhandled, without_a_hook_the_log_says_who_and_where_it_was_spawned)
{
    char line[COIL__LOG_LINE_SIZE] = "";
    char expected[80];
    int number = -EPIPE;

    coil_log_set(keep_line, line);
    cr_assert_eq(coil_spawn(return_number, &number, NULL), 0);
    coil_yield();
    coil_log_set(NULL, NULL);
    (void)snprintf(expected, sizeof expected, "fiber %llu '' ended with -32 (Broken pipe)",
                   (unsigned long long)coil_fiber_id(coil_self()) + 1);
    cr_assert_not_null(strstr(line, expected), "%s", line);
    cr_assert_not_null(strstr(line, ", spawned at "), "%s", line);
    cr_assert_not_null(strstr(line, "+0x"), "%s", line);
}

FIBER_TEST(unhandled, a_failure_behind_a_dropped_handle_is_reported_once)
{
    struct reports reports = {0};
    int number = -EPIPE;
    coil_fiber *fiber;

    coil_unhandled_set(count_report, &reports);
    cr_assert_eq(coil_spawn(return_number, &number, &fiber), 0);
    coil_fiber_unref(fiber);
    coil_yield();
    cr_assert_eq(reports.count, 1, "dropped before the end");

    cr_assert_eq(coil_spawn(return_number, &number, &fiber), 0);
    coil_yield();
    cr_assert_eq(reports.count, 1, "somebody may still join");
    coil_fiber_unref(fiber);
    cr_assert_eq(reports.count, 2, "dropped after the end, not joined");
}

FIBER_TEST(unhandled, what_was_collected_or_cancelled_or_good_is_not_reported)
{
    struct reports reports = {0};
    int numbers[] = {-EPIPE, -ECANCELED, 0, 5};
    coil_fiber *fiber;

    coil_unhandled_set(count_report, &reports);
    cr_assert_eq(coil_spawn(return_number, &numbers[0], &fiber), 0);
    cr_assert_eq(join_and_drop(fiber), -EPIPE);
    for (int i = 1; i < 4; i++)
        cr_assert_eq(coil_spawn(return_number, &numbers[i], NULL), 0);
    coil_yield();

    cr_assert_eq(reports.count, 0);
}

struct last_message {
    int count;
    char text[200];
};

static void keep_message(coil_log_level level, const char *message, void *arg)
{
    struct last_message *last = arg;

    (void)level;
    last->count++;
    strncpy(last->text, message, sizeof last->text - 1);
}

FIBER_TEST(unhandled, without_a_hook_a_failure_is_a_line_in_the_log)
{
    struct last_message last = {0};
    struct reports reports = {0};
    int number = -EPIPE;
    coil_fiber *fiber;

    coil_unhandled_set(count_report, &reports);
    coil_unhandled_set(NULL, NULL);
    coil_log_set(keep_message, &last);
    cr_assert_eq(coil_spawn(return_number, &number, &fiber), 0);
    coil_fiber_name_set(fiber, "broken");
    coil_fiber_unref(fiber);
    coil_yield();
    coil_log_set(NULL, NULL);

    cr_assert_eq(last.count, 1);
    cr_assert_not_null(strstr(last.text, "'broken'"));
    cr_assert_not_null(strstr(last.text, coil_strerror(-EPIPE)));
    cr_assert_eq(reports.count, 0);
}

/* ---- What the hook may do ---- */

struct parking_hook {
    coil_sem gate;
    int begun;
    int done;
};

static void park_in_the_hook(const coil_fiber *fiber, int result, void *arg)
{
    struct parking_hook *hook = arg;

    cr_assert_eq(result, -EPIPE);
    cr_assert_str_eq(coil_fiber_name(fiber), "broken");
    hook->begun++;
    cr_assert_eq(coil_sleep(COIL_MS(1)), 0);
    cr_assert_eq(coil_sem_acquire(&hook->gate), 0);
    cr_assert_str_eq(coil_fiber_name(fiber), "broken");
    hook->done++;
}

FIBER_TEST(unhandled, the_hook_may_park)
{
    struct parking_hook hook = {0};
    int number = -EPIPE;
    coil_fiber *fiber;

    coil_sem_init(&hook.gate, 0);
    coil_unhandled_set(park_in_the_hook, &hook);
    for (int i = 0; i < 3; i++) {
        cr_assert_eq(coil_spawn(return_number, &number, &fiber), 0);
        coil_fiber_name_set(fiber, "broken");
        coil_fiber_unref(fiber);
    }
    while (hook.begun < 3)
        coil_yield();
    cr_assert_eq(hook.done, 0);
    for (int i = 0; i < 3; i++)
        coil_sem_release(&hook.gate);
    while (hook.done < 3)
        coil_yield();
    coil_yield();
    cr_assert_eq(hook.begun, 3, "each is reported once");
}

static void sleep_in_the_hook(const coil_fiber *fiber, int result, void *arg)
{
    struct parking_hook *hook = arg;

    (void)result;
    cr_assert_eq(coil_self(), fiber, "it still is a fiber");
    hook->begun++;
    hook->done += coil_sleep(COIL_NEVER) == -ECANCELED;
}

static int leave_a_parked_hook(void *arg)
{
    struct parking_hook *hook = arg;
    int number = -EPIPE;

    coil_unhandled_set(sleep_in_the_hook, hook);
    cr_assert_eq(coil_spawn(return_number, &number, NULL), 0);
    while (hook->begun == 0)
        coil_yield();
    return 3;
}

Test(unhandled, a_hook_that_is_parked_when_main_returns_is_cancelled_and_awaited, .timeout = 60)
{
    struct parking_hook hook = {0};
    int result = 0;

    cr_assert_eq(fiber_test_coil_run(leave_a_parked_hook, &hook, NULL, &result), 0);
    cr_assert_eq(result, 3);
    cr_assert_eq(hook.done, 1);
}

struct restarting_hook {
    int number;
    int spawned;
};

static void spawn_in_the_hook(const coil_fiber *fiber, int result, void *arg)
{
    struct restarting_hook *hook = arg;

    (void)fiber;
    cr_assert_eq(result, -EPIPE);
    hook->number = 0;
    hook->spawned++;
    cr_assert_eq(coil_spawn(return_number, &hook->number, NULL), 0);
}

FIBER_TEST(unhandled, the_hook_may_spawn)
{
    struct restarting_hook hook = {.number = -EPIPE};

    coil_unhandled_set(spawn_in_the_hook, &hook);
    cr_assert_eq(coil_spawn(return_number, &hook.number, NULL), 0);
    coil_yield();
    coil_yield();
    cr_assert_eq(hook.spawned, 1);
}

static void note_end(coil_fiber *fiber, int result, void *arg)
{
    (void)fiber;
    *(int *)arg = result;
}

FIBER_TEST(unhandled, an_exit_hook_that_comes_while_the_hook_is_parked_is_called)
{
    struct parking_hook hook = {0};
    coil_exit_hook exit_hook;
    int number = -EPIPE;
    int noted = 0;
    coil_fiber *fiber;

    coil_sem_init(&hook.gate, 0);
    coil_unhandled_set(park_in_the_hook, &hook);
    cr_assert_eq(coil_spawn(return_number, &number, &fiber), 0);
    coil_fiber_name_set(fiber, "broken");
    coil_fiber_unref(fiber);
    while (hook.begun == 0)
        coil_yield();
    coil_on_exit(fiber, &exit_hook, note_end, &noted);
    coil_sem_release(&hook.gate);
    while (hook.done == 0)
        coil_yield();
    coil_yield();

    cr_assert_eq(noted, -EPIPE);
    cr_assert_eq(hook.begun, 1);
}

static void count_destroyed(void *value)
{
    ++*(int *)value;
}

static const coil_local counted = {.destroy = count_destroyed};

static void set_local_in_the_hook(const coil_fiber *fiber, int result, void *arg)
{
    (void)fiber;
    (void)result;
    cr_assert_eq(coil_local_set(&counted, arg), 0);
}

FIBER_TEST(unhandled, a_local_that_the_hook_sets_is_destroyed)
{
    int number = -EPIPE;
    int destroyed = 0;

    coil_unhandled_set(set_local_in_the_hook, &destroyed);
    cr_assert_eq(coil_spawn(return_number, &number, NULL), 0);
    coil_yield();

    cr_assert_eq(destroyed, 1);
}

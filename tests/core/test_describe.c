/* SPDX-License-Identifier: MIT */
/* Fibers in words. The words are for people and may change; what is in them may not go missing. */
#include "core/describe.h"

#include <dlfcn.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "core/waitq.h"
#include "support/child.h"
#include "support/fiber_test.h"

static char line[400];

static const char *describe_at(const coil_fiber *fiber, int64_t now)
{
    struct coil__text text;

    coil__text_init(&text, line, sizeof line, NULL);
    coil__describe_fiber(&text, fiber, now);
    return line;
}

static const char *describe(const coil_fiber *fiber)
{
    return describe_at(fiber, coil__clock_now());
}

static void assert_says(const char *expected)
{
    cr_assert_not_null(strstr(line, expected), "no '%s' in '%s'", expected, line);
}

static int acquire(void *arg)
{
    return coil_sem_acquire(arg);
}

static int acquire_within(void *arg)
{
    coil_scope outer;
    coil_scope inner;
    int result;

    coil_scope_enter(&outer, COIL_SECONDS(50));
    coil_scope_enter(&inner, COIL_SECONDS(500));
    result = coil_sem_acquire(arg);
    (void)coil_scope_leave(&inner);
    (void)coil_scope_leave(&outer);
    return result;
}

static int acquire_shielded(void *arg)
{
    coil_scope outer;
    coil_scope inner;
    int result;

    coil_scope_enter(&outer, COIL_SECONDS(50));
    coil_scope_enter_shield(&inner, COIL_NEVER);
    result = coil_sem_acquire(arg);
    (void)coil_scope_leave(&inner);
    (void)coil_scope_leave(&outer);
    return result;
}

FIBER_TEST(describe, the_line_has_number_name_state_and_time)
{
    coil_fiber *fiber;
    coil_sem sem;

    coil_sem_init(&sem, 0);
    cr_assert_str_eq(describe(coil_self()), "fiber 1 'main': running");
    cr_assert_eq(coil_spawn(acquire, &sem, &fiber), 0);
    coil_fiber_name_set(fiber, "a\nb");
    cr_assert_str_eq(describe(fiber), "fiber 2 'a b': runnable");
    until_parked(fiber);
    (void)describe_at(fiber, fiber->tcb->wait_since + COIL_SECONDS(3));
    assert_says("fiber 2 'a b': waits for semaphore for 3.000 s");

    coil_sem_release(&sem);
    cr_assert_eq(coil_join(fiber, NULL), 0);
    cr_assert_str_eq(describe(fiber), "fiber 2 'a b': ended");
    coil_fiber_unref(fiber);
}

FIBER_TEST(describe, the_nearest_deadline_that_counts_is_told)
{
    coil_fiber *fiber;
    coil_fiber *shielded;
    coil_sem sem;

    coil_sem_init(&sem, 0);
    fiber = spawn_until_parked(acquire_within, &sem);
    shielded = spawn_until_parked(acquire_shielded, &sem);
    (void)describe_at(fiber, coil__scope_deadline(fiber->tcb) - COIL_MS(49500));
    assert_says(", deadline in 49.500 s");
    cr_assert_null(strstr(describe(shielded), "deadline"), "nothing reaches through a shield");

    coil_cancel(shielded);
    (void)describe(shielded);
    assert_says(", cancelled");
    coil_sem_release(&sem);
    coil_sem_release(&sem);
    cr_assert_eq(join_and_drop(fiber), 0);
    cr_assert_eq(join_and_drop(shielded), 0);
}

FIBER_TEST(describe, a_deadline_that_has_passed_is_told)
{
    coil_scope scope;

    coil_scope_enter(&scope, 0);
    (void)describe(coil_self());
    assert_says("running, deadline passed");
    (void)coil_scope_leave(&scope);
}

/* A wait in two queues at once, of which the second has an owner. */
static int choose(void *arg)
{
    struct coil__waitq queues[2];
    struct coil__waiter waiters[2];
    struct coil__choice choice;

    for (int i = 0; i < 2; i++)
        coil__waitq_init(&queues[i]);
    coil__choice_init(&choice, waiters, 2, 1);
    coil__choice_queue(&choice, 0, &queues[0], NULL, NULL);
    coil__choice_queue(&choice, 1, &queues[1], NULL, arg);
    return coil__choice_park(&choice, "one of two");
}

FIBER_TEST(describe, in_a_choice_the_first_known_owner_is_told)
{
    coil_fiber *self = coil_self();
    coil_fiber *fiber = spawn_until_parked(choose, &self);

    cr_assert_eq(coil__describe_owner(fiber->tcb), self);
    (void)describe(fiber);
    assert_says("waits for one of two held by 1 'main' for ");
    self = NULL;
    cr_assert_null(coil__describe_owner(fiber->tcb));
    coil_cancel(fiber);
    cr_assert_eq(join_and_drop(fiber), -ECANCELED);
}

/* ---- Code ---- */

static const char *describe_code(const void *address)
{
    struct coil__text text;

    coil__text_init(&text, line, sizeof line, NULL);
    coil__describe_code(&text, address);
    return line;
}

Test(describe, code_of_a_library_has_name_and_place)
{
    static const char before[] = "qsort+0x7 (libc.so.6+";
    void *library = dlopen("libc.so.6", RTLD_LAZY | RTLD_NOLOAD); /* ASan has a qsort of its own */
    const char *function = (const char *)dlsym(library, "qsort");
    Dl_info info;

    cr_assert_neq(dladdr(function, &info), 0);
    (void)describe_code(function + 8);
    assert_says(before);
    cr_assert_eq((const char *)info.dli_fbase + strtoul(line + strlen(before), NULL, 16),
                 function + 7);
    cr_assert_eq(dlclose(library), 0);
}

Test(describe, code_of_nobody_is_a_number)
{
    cr_assert_str_eq(describe_code((const void *)0x1235), "0x1234");
    cr_assert_str_eq(describe_code(NULL), "?");
}

/* What addr2line makes of the second half is the function's name: the test's own is static. */
Test(describe, code_can_be_looked_up_with_addr2line)
{
    const char *here = (const char *)(uintptr_t)describe_code;
    const char *offset = strchr(describe_code(here + 1), '+');
    char program[400] = "";
    char command[500];
    char name[64] = "";
    FILE *pipe;

    cr_assert_not_null(offset, "%s", line);
    cr_assert_gt(readlink("/proc/self/exe", program, sizeof program - 1), 0);
    (void)snprintf(command, sizeof command, "addr2line -f -e %s %.*s", program,
                   (int)strcspn(offset + 1, ")"), offset + 1);
    pipe = popen(command, "re");
    cr_assert_not_null(pipe);
    (void)!fgets(name, sizeof name, pipe);
    if (pclose(pipe) != 0)
        cr_skip_test("addr2line does not know this architecture");
    cr_assert_str_eq(name, "describe_code\n", "%s: %s", command, line);
}

/* ---- Assertions ---- */

static int leave_twice(void *arg)
{
    coil_scope scope;

    (void)arg;
    coil_scope_enter(&scope, COIL_NEVER);
    (void)coil_scope_leave(&scope);
    return coil_scope_leave(&scope);
}

static int spawn_who_leaves_twice(void *arg)
{
    coil_fiber *fiber;

    child_check(coil_spawn(leave_twice, arg, &fiber) == 0, "coil_spawn");
    coil_fiber_name_set(fiber, "careless");
    return coil_join(fiber, NULL);
}

static int run_who_leaves_twice(void *arg)
{
    return fiber_test_coil_run(spawn_who_leaves_twice, arg, NULL, NULL);
}

Test(describe, an_assertion_names_the_fiber, .timeout = 60)
{
    struct child_end end;

    child_run(run_who_leaves_twice, NULL, &end);
    cr_assert_eq(end.signal, SIGABRT, "%d %s", end.exit_code, end.output);
    cr_assert_not_null(strstr(end.output, "assertion failed in fiber 2 'careless': "), "%s",
                       end.output);
}

static int yield_outside(void *arg)
{
    (void)arg;
    coil_yield();
    return 0;
}

Test(describe, an_assertion_without_a_fiber_names_none, .timeout = 60)
{
    struct child_end end;

    child_run(yield_outside, NULL, &end);
    cr_assert_eq(end.signal, SIGABRT, "%d %s", end.exit_code, end.output);
    cr_assert_not_null(strstr(end.output, "assertion failed: "), "%s", end.output);
}

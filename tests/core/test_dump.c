/* SPDX-License-Identifier: MIT */
/* The dump of all fibers: who is in it and where, backtraces that are right and never leave their
 * stack, and what happens when a descriptor or memory is refused.
 */
#include "core/dump.h"

#include <dlfcn.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/alloc.h"
#include "core/backtrace.h"
#include "core/switch.h"
#include "support/fiber_test.h"

enum {
    MANY = 10000,
    LEVELS = 3,
    DEEP = 40 * 1024,
};

static char *dumped;

/* Runs a dump into a file in memory, whose contents `dumped` points to then. */
static int dump_with(const coil_dump_options *options)
{
    const int fd = memfd_create("dump", MFD_CLOEXEC);
    int result;
    off_t len;

    cr_assert_geq(fd, 0);
    result = coil_dump_with(fd, options);
    len = lseek(fd, 0, SEEK_END);
    free(dumped);
    dumped = calloc(1, (size_t)len + 1);
    cr_assert_not_null(dumped);
    cr_assert_eq(pread(fd, dumped, (size_t)len, 0), len);
    cr_assert_eq(close(fd), 0);
    return result;
}

static void dump_lines(void)
{
    coil_dump_options options = COIL_DUMP_OPTIONS_INIT;

    options.no_details = true;
    cr_assert_eq(dump_with(&options), 0);
}

static const char *assert_dumped(const char *text)
{
    const char *at = strstr(dumped, text);

    cr_assert_not_null(at, "no '%s' in:\n%s", text, dumped);
    return at;
}

static int acquire(void *arg)
{
    return coil_sem_acquire(arg);
}

static void release_all(coil_sem *sem, coil_fiber **fibers, size_t count)
{
    for (size_t i = 0; i < count; i++)
        coil_sem_release(sem);
    for (size_t i = 0; i < count; i++)
        cr_assert_eq(join_and_drop(fibers[i]), 0);
}

/* ---- The tree ---- */

struct family {
    coil_sem sem;
    coil_fiber *children[4];
};

static int have_children(void *arg)
{
    struct family *family = arg;

    for (int i = 0; i < 2; i++)
        cr_assert_eq(coil_spawn(acquire, &family->sem, &family->children[i]), 0);
    return coil_sem_acquire(&family->sem);
}

static int have_a_child_and_end(void *arg)
{
    struct family *family = arg;

    return coil_spawn(acquire, &family->sem, &family->children[2]);
}

FIBER_TEST(dump, children_are_below_their_parents_in_order)
{
    struct family family;
    coil_fiber *parent;
    coil_fiber *gone;

    coil_sem_init(&family.sem, 0);
    cr_assert_eq(coil_spawn(have_children, &family, &parent), 0);
    gone = spawn_until_parked(have_a_child_and_end, &family);
    family.children[3] = spawn_until_parked(acquire, &family.sem);
    coil_fiber_name_set(parent, "parent");
    dump_lines();

    assert_dumped("coil: 6 fibers, 0 runnable, ");
    assert_dumped("\nfiber 1 'main': running\n"
                  "  fiber 2 'parent': waits for semaphore for ");
    cr_assert_lt(assert_dumped("\n  fiber 2 "), assert_dumped("\n    fiber 4 ''"));
    cr_assert_lt(assert_dumped("\n    fiber 4 "), assert_dumped("\n    fiber 5 ''"));
    cr_assert_lt(assert_dumped("\n    fiber 5 "), assert_dumped("\n  fiber 7 ''"));
    cr_assert_lt(assert_dumped("\n  fiber 7 "), assert_dumped("\nfiber 6 ''"),
                 "whose parent has ended is a root");
    cr_assert_null(strstr(dumped, "fiber 3"), "it has ended");

    coil_sem_release(&family.sem);
    cr_assert_eq(join_and_drop(parent), 0);
    cr_assert_eq(join_and_drop(gone), 0);
    release_all(&family.sem, family.children, 4);
}

/* ---- Who waits for whom ---- */

struct locks {
    coil_mutex first;
    coil_mutex second;
};

static int lock_both(coil_mutex *first, coil_mutex *second)
{
    int result;

    cr_assert_eq(coil_mutex_lock(first), 0);
    coil_yield();
    result = coil_mutex_lock(second);
    if (result == 0)
        coil_mutex_unlock(second);
    coil_mutex_unlock(first);
    return result;
}

static int lock_in_order(void *arg)
{
    struct locks *locks = arg;

    return lock_both(&locks->first, &locks->second);
}

static int lock_in_reverse(void *arg)
{
    struct locks *locks = arg;

    return lock_both(&locks->second, &locks->first);
}

FIBER_TEST(dump, a_circle_is_shown_while_others_still_run)
{
    struct locks locks;
    coil_fiber *fibers[2];

    coil_mutex_init(&locks.first);
    coil_mutex_init(&locks.second);
    cr_assert_eq(coil_spawn(lock_in_order, &locks, &fibers[0]), 0);
    cr_assert_eq(coil_spawn(lock_in_reverse, &locks, &fibers[1]), 0);
    dump_lines();
    cr_assert_null(strstr(dumped, "circle"), "not yet");
    coil_yield(); /* each takes its first lock */
    coil_yield();
    dump_lines();
    assert_dumped("\ncircle: 2 '' waits for mutex held by 3 '' waits for mutex held by 2 ''\n");
    coil_cancel(fibers[0]);
    cr_assert_eq(coil_join(fibers[0], NULL), 0);
    coil_fiber_unref(fibers[0]);
    cr_assert_eq(join_and_drop(fibers[1]), 0);
    dump_lines();
    cr_assert_null(strstr(dumped, "circle"), "any more");
}

/* ---- Generations ---- */

struct generation {
    coil_sem *sem;
    int left;
};

static int have_descendants(void *arg)
{
    struct generation *generation = arg;
    struct generation next = {generation->sem, generation->left - 1};

    if (next.left > 0)
        cr_assert_eq(coil_spawn(have_descendants, &next, NULL), 0);
    return coil_sem_acquire(generation->sem);
}

FIBER_TEST(dump, each_generation_is_below_the_one_before)
{
    struct generation first;
    coil_fiber *fiber;
    coil_sem sem;

    coil_sem_init(&sem, 0);
    first = (struct generation){&sem, 24};
    cr_assert_eq(coil_spawn(have_descendants, &first, &fiber), 0);
    while (coil__sched_this->fiber_count < 25)
        coil_yield();
    dump_lines();
    for (int id = 1; id <= 25; id++) {
        char expected[80];

        (void)snprintf(expected, sizeof expected, "\n%*sfiber %d '", id <= 20 ? 2 * (id - 1) : 40,
                       "", id);
        assert_dumped(expected);
    }
    for (int i = 0; i < 24; i++)
        coil_sem_release(&sem);
    cr_assert_eq(join_and_drop(fiber), 0);
}

FIBER_TEST(dump, without_memory_all_come_flat)
{
    coil_fiber *fibers[3];
    coil_sem sem;

    coil_sem_init(&sem, 0);
    for (int i = 0; i < 3; i++)
        fibers[i] = spawn_until_parked(acquire, &sem);
    coil__alloc_fail_after(0);
    dump_lines();
    coil__alloc_fail_after(-1);
    assert_dumped("\nfiber 1 'main'");
    for (int i = 2; i < 5; i++) {
        char expected[32];

        (void)snprintf(expected, sizeof expected, "\nfiber %d ''", i);
        assert_dumped(expected);
    }
    release_all(&sem, fibers, 3);
}

/* By memmem(3): ASan's strstr(3) measures the whole text each time. */
static size_t count_lines(const char *beginning)
{
    const char *end = dumped + strlen(dumped);
    const char *at = dumped;
    size_t count = 0;

    while ((at = memmem(at, (size_t)(end - at), beginning, strlen(beginning))) != NULL) {
        count++;
        at++;
    }
    return count;
}

FIBER_TEST(dump, ten_thousand_fibers_are_all_there_and_cost_one_mapping)
{
    coil_fiber **fibers = calloc(MANY, sizeof(coil_fiber *));
    coil_sem sem;
    int64_t asked;

    cr_assert_not_null(fibers);
    coil_sem_init(&sem, 0);
    for (int i = 0; i < MANY; i++)
        cr_assert_eq(coil_spawn(acquire, &sem, &fibers[i]), 0);
    until_parked(fibers[MANY - 1]);
    asked = coil__alloc_total_count();
    cr_assert_eq(dump_with(NULL), 0);
    cr_assert_eq(coil__alloc_total_count() - asked, 1);
    cr_assert_eq(count_lines("\n  fiber "), MANY);
    cr_assert_eq(count_lines("\n    runs "), MANY);
    cr_assert_geq(count_lines("\n    #1 "), MANY);

    release_all(&sem, fibers, MANY);
    free(fibers);
}

/* ---- Backtraces ---- */

struct levels {
    const void *sites[LEVELS]; /* where each level returns to, outermost first */
    coil_sem sem;
    const void *found[COIL__BACKTRACE_MAX];
    size_t found_count;
};

/* NOLINTNEXTLINE(misc-no-recursion): three levels, to be found again */
__attribute__((noinline)) static int wait_at_level(struct levels *levels, int level)
{
    int result;

    levels->sites[level] = __builtin_return_address(0);
    result = level + 1 < LEVELS ? wait_at_level(levels, level + 1) : coil_sem_acquire(&levels->sem);
    return result < 0 ? result : level;
}

static int wait_deep(void *arg)
{
    return wait_at_level(arg, 0);
}

/* NOLINTNEXTLINE(misc-no-recursion): three levels, to be found again */
__attribute__((noinline)) static int look_at_level(struct levels *levels, int level)
{
    levels->sites[level] = __builtin_return_address(0);
    if (level + 1 < LEVELS) {
        int result = look_at_level(levels, level + 1);

        __asm__ volatile("" : "+r"(result)); /* or an optimiser makes a loop of it */
        return result + level;
    }
    levels->found_count = coil__backtrace(coil_self()->tcb, levels->found, COIL__BACKTRACE_MAX);
    return level;
}

static void assert_has_levels(const struct levels *levels)
{
    size_t at = 0;

    while (at < levels->found_count && levels->found[at] != levels->sites[LEVELS - 1])
        at++;
    cr_assert_leq(at + LEVELS, levels->found_count, "the innermost level is not there");
    for (size_t i = 0; i < LEVELS; i++)
        cr_assert_eq(levels->found[at + i], levels->sites[LEVELS - 1 - i], "level %zu", i);
}

FIBER_TEST(dump, a_parked_fibers_backtrace_has_every_call_from_the_inside_out)
{
    struct levels levels = {.found_count = 0};
    coil_fiber *fiber;

    coil_sem_init(&levels.sem, 0);
    fiber = spawn_until_parked(wait_deep, &levels);
    levels.found_count = coil__backtrace(fiber->tcb, levels.found, COIL__BACKTRACE_MAX);
    assert_has_levels(&levels);
    cr_assert_eq(coil__backtrace(fiber->tcb, levels.found, 2), 2);
    cr_assert_eq(coil__backtrace(fiber->tcb, levels.found, 0), 0);
    release_all(&levels.sem, &fiber, 1);
}

FIBER_TEST(dump, a_running_fibers_backtrace_begins_where_it_is)
{
    struct levels levels = {.found_count = 0};

    cr_assert_eq(look_at_level(&levels, 0), 3);
    assert_has_levels(&levels);
}

FIBER_TEST(dump, a_fiber_that_has_not_run_is_at_its_beginning)
{
    const void *found[COIL__BACKTRACE_MAX];
    coil_fiber *fiber;
    coil_sem sem;

    coil_sem_init(&sem, 1);
    cr_assert_eq(coil_spawn(acquire, &sem, &fiber), 0);
    cr_assert_eq(coil__backtrace(fiber->tcb, found, COIL__BACKTRACE_MAX), 1);
    cr_assert_eq(dump_with(NULL), 0);
    assert_dumped("fiber 2 '': runnable\n    runs ");
    cr_assert_eq(join_and_drop(fiber), 0);
}

/* Frames are pairs: the outer frame, and where it returns to. */
Test(dump, a_walk_ends_at_whatever_is_no_frame)
{
    uintptr_t stack[12] = {0};
    const uintptr_t low = (uintptr_t)stack;
    const uintptr_t high = low + sizeof stack;

    const struct {
        uintptr_t outer;
        uintptr_t site;
        size_t expected;
    } rows[] = {
        {low + 8 * sizeof(uintptr_t), 5, 2},  /* a proper one */
        {low + 11 * sizeof(uintptr_t), 5, 1}, /* half outside */
        {high, 5, 1},
        {high + 16, 5, 1},
        {low - 16, 5, 1},
        {low, 5, 1},                             /* a circle */
        {low + 8 * sizeof(uintptr_t) + 1, 5, 1}, /* not aligned */
        {UINTPTR_MAX - 7, 5, 1},
        {0, 5, 1},
        {low + 8 * sizeof(uintptr_t), 0, 0}, /* returns to nowhere */
    };

    const void *found[4];

    memset(&stack[9], 7, sizeof stack[9]);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        stack[0] = rows[i].outer;
        stack[1] = rows[i].site;
        cr_assert_eq(coil__backtrace_frames(low, low, high, found, 4), rows[i].expected, "%zu", i);
    }
    cr_assert_eq(coil__backtrace_frames(low - 8, low, high, found, 4), 0);
    cr_assert_eq(coil__backtrace_frames(high, low, high, found, 4), 0);
}

FIBER_TEST(dump, a_fiber_whose_stack_is_broken_is_in_it_all_the_same)
{
    coil_fiber *fiber;
    coil_sem sem;
    struct coil__context *context;
    const void *frame;
    void *saved;

    coil_sem_init(&sem, 0);
    fiber = spawn_until_parked(acquire, &sem);
    context = fiber->tcb->context;
    frame = context->frame;
    context->frame = &sem; /* on another stack */
    cr_assert_eq(dump_with(NULL), 0);
    assert_dumped("fiber 2 '': waits for semaphore");
    context->frame = frame;

    saved = fiber->tcb->context;
    fiber->tcb->context = NULL;
    fiber->tcb->wait_name = NULL;
    fiber->tcb->state = 99;
    cr_assert_eq(dump_with(NULL), 0);
    assert_dumped("fiber 2 '': in no known state");
    fiber->tcb->context = saved;
    fiber->tcb->state = COIL__FIBER_PARKED;
    release_all(&sem, &fiber, 1);
}

/* ---- Details ---- */

FIBER_TEST(dump, the_details_tell_function_spawner_and_site)
{
    char expected[200];
    coil_fiber *fiber;
    coil_sem sem;
    Dl_info info;

    coil_sem_init(&sem, 0);
    fiber = spawn_until_parked(acquire, &sem);
    cr_assert_neq(dladdr((const void *)(uintptr_t)acquire, &info), 0);
    cr_assert_eq(dump_with(NULL), 0);
    (void)snprintf(expected, sizeof expected, "+%#lx, spawned at ",
                   (unsigned long)((uintptr_t)acquire - (uintptr_t)info.dli_fbase));
    assert_dumped(expected);
    assert_dumped(" by 1, stack ");
    release_all(&sem, &fiber, 1);
}

__attribute__((noinline)) static int touch_much(coil_sem *sem)
{
    volatile char much[DEEP];

    for (size_t i = 0; i < sizeof much; i += 512)
        much[i] = 1;
    return coil_sem_acquire(sem) + much[0] - 1;
}

static int use_much_stack(void *arg)
{
    return touch_much(arg);
}

FIBER_TEST(dump, the_stack_is_as_deep_as_it_has_ever_been)
{
    coil_dump_options options = COIL_DUMP_OPTIONS_INIT;
    coil_fiber *fiber;
    coil_sem sem;
    long shallow;
    long deep;

    coil_sem_init(&sem, 0);
    fiber = spawn_until_parked(acquire, &sem);
    options.fiber_id = coil_fiber_id(fiber);
    cr_assert_eq(dump_with(&options), 0);
    shallow = strtol(assert_dumped(", stack ") + 8, NULL, 10);
    release_all(&sem, &fiber, 1);

    fiber = spawn_until_parked(use_much_stack, &sem);
    options.fiber_id = coil_fiber_id(fiber);
    cr_assert_eq(dump_with(&options), 0);
    deep = strtol(assert_dumped(", stack ") + 8, NULL, 10);
    cr_assert_geq(shallow, 4);
    cr_assert_geq(deep, DEEP / 1024);
    cr_assert_leq(deep, (long)coil__sched_this->stacks.usable_size / 1024);
    release_all(&sem, &fiber, 1);
}

/* ---- Options and failures ---- */

FIBER_TEST(dump, options_choose_one_fiber_and_less_of_it)
{
    coil_dump_options options = COIL_DUMP_OPTIONS_INIT;
    coil_dump_options blank = {0};
    coil_fiber *fiber;
    coil_sem sem;

    coil_sem_init(&sem, 0);
    fiber = spawn_until_parked(acquire, &sem);
    options.fiber_id = 2;
    cr_assert_eq(dump_with(&options), 0);
    assert_dumped("\nfiber 2 '': waits");
    assert_dumped("\n  #0 ");
    cr_assert_null(strstr(dumped, "fiber 1"));
    options.no_backtraces = true;
    cr_assert_eq(dump_with(&options), 0);
    assert_dumped("\n  runs ");
    cr_assert_null(strstr(dumped, "#0"));
    options.no_details = true;
    cr_assert_eq(dump_with(&options), 0);
    cr_assert_null(strstr(dumped, "runs"));

    options.fiber_id = 3;
    cr_assert_eq(dump_with(&options), -ENOENT);
    cr_assert_str_eq(dumped, "");
    cr_assert_eq(dump_with(&blank), -EINVAL);
    cr_assert_str_eq(dumped, "");
    release_all(&sem, &fiber, 1);
}

FIBER_TEST(dump, what_cannot_be_written_is_reported_and_errno_kept)
{
    const int fd = open("/dev/full", O_WRONLY | O_CLOEXEC);

    errno = EXDEV;
    cr_assert_eq(coil_dump(-1), -EBADF);
    cr_assert_eq(coil_dump(fd), -ENOSPC);
    cr_assert_eq(errno, EXDEV);
    cr_assert_eq(close(fd), 0);
}

FIBER_TEST(dump, a_full_pipe_that_does_not_block_is_given_up)
{
    int fds[2];

    cr_assert_eq(pipe2(fds, O_CLOEXEC | O_NONBLOCK), 0);
    while (write(fds[1], "full", 4) > 0)
        continue;
    cr_assert_eq(coil_dump(fds[1]), -EAGAIN);
    cr_assert_eq(close(fds[0]) + close(fds[1]), 0);
}

Test(dump, a_thread_without_fibers_says_so)
{
    cr_assert_eq(dump_with(NULL), -ESRCH);
    assert_dumped("not inside coil_run()");
}

/* SPDX-License-Identifier: MIT */
/* SIGQUIT: a dump of every thread that wants it, without harm; and as it was before, afterwards.
 *
 * Everything is in child processes: a signal for all of a process would meet Criterion's threads.
 */
#include <pthread.h>
#include <signal.h>
#include <unistd.h>

#include "core/census.h"
#include "support/child.h"
#include "support/fiber_test.h"

enum {
    SIGNALS = 50,
};

static int wait_for_end(void *arg)
{
    return coil_sem_acquire(arg);
}

static int quit_and_go_on(void *arg)
{
    coil_fiber *fiber;
    coil_sem sem;

    (void)arg;
    coil_sem_init(&sem, 0);
    if (coil_spawn(wait_for_end, &sem, &fiber) < 0)
        return -1;
    coil_fiber_name_set(fiber, "watched");
    coil_yield();
    for (unsigned i = 0; i < 2; i++) {
        (void)raise(SIGQUIT);
        while (coil__sched_this->quit.count == i)
            coil_yield();
    }
    coil_sem_release(&sem);
    (void)coil_join(fiber, NULL);
    coil_fiber_unref(fiber);
    return 9;
}

static int run_and_quit(void *arg)
{
    coil_options options = COIL_OPTIONS_INIT;
    struct sigaction after;
    int result = 0;

    (void)signal(SIGQUIT, SIG_DFL); /* a shell has its background programs ignore it */
    options.dump_on_quit = true;
    child_check(coil_run(quit_and_go_on, arg, &options, &result) == 0, "status");
    child_check(result == 9, "it went on");
    child_check(sigaction(SIGQUIT, NULL, &after) == 0 && after.sa_handler == SIG_DFL,
                "as it was before");
    return 0;
}

Test(quit, it_dumps_to_standard_error_and_goes_on, .timeout = 20)
{
    struct child_end end;

    child_run(run_and_quit, NULL, &end);
    cr_assert_eq(end.exit_code, 0, "%d %s", end.signal, end.output);
    cr_assert_not_null(strstr(end.output, "coil: 2 fibers"), "%s", end.output);
    cr_assert_not_null(strstr(end.output, "fiber 1 'main': runnable"), "%s", end.output);
    cr_assert_not_null(strstr(end.output, "fiber 2 'watched': waits for semaphore"));
    cr_assert_not_null(strstr(end.output, "#1 "));
}

static int ignore_quit(void *arg)
{
    (void)arg;
    return signal(SIGQUIT, SIG_IGN) == SIG_ERR ? -1 : 0;
}

static int run_and_ignore(void *arg)
{
    coil_options options = COIL_OPTIONS_INIT;
    struct sigaction after;
    int result = -1;

    options.dump_on_quit = true;
    child_check(coil_run(ignore_quit, arg, &options, &result) == 0 && result == 0, "status");
    child_check(sigaction(SIGQUIT, NULL, &after) == 0 && after.sa_handler == SIG_IGN,
                "what came later");
    return 0;
}

Test(quit, what_the_program_has_installed_meanwhile_stays, .timeout = 20)
{
    struct child_end end;

    child_run(run_and_ignore, NULL, &end);
    cr_assert_eq(end.exit_code, 0, "%d %s", end.signal, end.output);
}

static int run_unasked(void *arg)
{
    int result = 0;

    return coil_run(quit_and_go_on, arg, NULL, &result);
}

Test(quit, who_has_not_asked_ends_as_ever, .timeout = 20)
{
    struct child_end end;

    child_run(run_unasked, NULL, &end);
    cr_assert_eq(end.signal, SIGQUIT);
}

/* ---- Several threads ---- */

struct side {
    pthread_t thread;
    const char *name;
    bool wants_dump;
    int status;
};

static pthread_barrier_t ready;
static pthread_barrier_t done;

static int be_dumped(void *arg)
{
    const struct side *side = arg;

    coil_fiber_name_set(coil_self(), side->name);
    (void)pthread_barrier_wait(&ready);
    while (side->wants_dump && coil__sched_this->quit.count == 0)
        coil_yield();
    (void)pthread_barrier_wait(&done);
    coil_yield();
    coil_yield(); /* a loop that was posted to has run it */
    return 0;
}

static void *run_side(void *arg)
{
    struct side *side = arg;
    coil_options options = COIL_OPTIONS_INIT;
    int result;

    options.dump_on_quit = side->wants_dump;
    side->status = coil_run(be_dumped, side, &options, &result);
    return NULL;
}

static int run_three(void *arg)
{
    struct side sides[] = {
        {.name = "left", .wants_dump = true},
        {.name = "shy"},
        {.name = "right", .wants_dump = true},
    };

    (void)arg;
    (void)pthread_barrier_init(&ready, NULL, 4);
    (void)pthread_barrier_init(&done, NULL, 3);
    for (int i = 0; i < 3; i++)
        child_check(pthread_create(&sides[i].thread, NULL, run_side, &sides[i]) == 0, "thread");
    (void)pthread_barrier_wait(&ready);
    (void)kill(getpid(), SIGQUIT);
    for (int i = 0; i < 3; i++) {
        (void)pthread_join(sides[i].thread, NULL);
        child_check(sides[i].status == 0, "status");
    }
    for (int i = 0; i < COIL__CENSUS_MAX; i++)
        child_check(!atomic_load(&coil__census[i]), "nobody is left in the census");
    return 0;
}

Test(quit, every_thread_that_wants_it_dumps_its_own, .timeout = 20)
{
    struct child_end end;

    child_run(run_three, NULL, &end);
    cr_assert_eq(end.exit_code, 0, "%d %s", end.signal, end.output);
    cr_assert_not_null(strstr(end.output, "fiber 1 'left'"), "%s", end.output);
    cr_assert_not_null(strstr(end.output, "fiber 1 'right'"), "%s", end.output);
    cr_assert_null(strstr(end.output, "shy"), "%s", end.output);
}

/* Signals come from another thread while runs begin and end. */
static _Atomic(bool) is_over;

static void *shoot(void *arg)
{
    (void)arg;
    while (!atomic_load(&is_over))
        (void)kill(getpid(), SIGQUIT);
    return NULL;
}

static int yield_once(void *arg)
{
    (void)arg;
    coil_yield();
    return 0;
}

static int begin_and_end(void *arg)
{
    coil_options options = COIL_OPTIONS_INIT;
    const struct sigaction ignore = {.sa_handler = SIG_IGN};
    pthread_t thread;

    (void)arg;
    (void)sigaction(SIGQUIT, &ignore, NULL);
    options.dump_on_quit = true;
    child_check(pthread_create(&thread, NULL, shoot, NULL) == 0, "thread");
    for (int i = 0; i < SIGNALS; i++)
        child_check(coil_run(yield_once, NULL, &options, NULL) == 0, "status");
    atomic_store(&is_over, true);
    (void)pthread_join(thread, NULL);
    return 0;
}

Test(quit, a_run_may_begin_and_end_under_fire, .timeout = 40)
{
    struct child_end end;

    child_run(begin_and_end, NULL, &end);
    cr_assert_eq(end.exit_code, 0, "%d %s", end.signal, end.output);
}

/* SPDX-License-Identifier: MIT */
/* The watchdog: who blocks is reported once, with its stack, and lives; who does not, or may, is
 * not. Blockers spin until the report has come, so nothing depends on how fast the machine is; only
 * what must not be reported needs time to pass. A thread that stands still within a slice is
 * reported, and rightly: main is one that may block where only another one is to be reported, and
 * where nobody is, it is tried again with twice the time.
 */
#include <coil/watchdog.h>

#include <dirent.h>
#include <pthread.h>
#include <sched.h>
#include <semaphore.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/alloc.h"
#include "support/fiber_test.h"

enum {
    FUNCTION_SIZE_MAX = 1024, /* of the blocker below */
    FRAMES_KEPT = 64,
    ATTEMPTS = 20, /* at what a thread that stands still may spoil */
};

static const coil_time short_limit = COIL_MS(5);

/* What the hook has seen; its thread fills this before it counts. */
static struct seen {
    uint64_t fiber_id;
    char name[32];
    coil_time ran;
    coil_time ran_in_all;
    const void *frames[FRAMES_KEPT];
    size_t frame_count;
    pthread_t thread;
} seen;

static _Atomic(int) began_count;
static _Atomic(int) over_count;
static _Atomic(int) pipe_fd = -1; /* gets a byte at each first report */

static void remember(const coil_watchdog_report *report, void *arg)
{
    *(int *)arg += 1;
    seen.thread = pthread_self();
    if (report->is_over) {
        seen.ran_in_all = report->ran;
        atomic_fetch_add(&over_count, 1);
        return;
    }
    seen.fiber_id = report->fiber_id;
    (void)strncpy(seen.name, report->fiber_name, sizeof seen.name - 1);
    seen.ran = report->ran;
    for (size_t i = 0; i < report->frame_count && i < FRAMES_KEPT; i++)
        seen.frames[i] = report->frames[i];
    seen.frame_count = report->frame_count;
    atomic_fetch_add(&began_count, 1);
    if (atomic_load(&pipe_fd) >= 0)
        cr_assert_eq(write(atomic_load(&pipe_fd), "x", 1), 1);
}

static int calls;

/* Forgets what it has seen before. */
static void start(coil_time limit)
{
    coil_watchdog_options options = COIL_WATCHDOG_OPTIONS_INIT;

    calls = 0;
    memset(&seen, 0, sizeof seen);
    atomic_store(&began_count, 0);
    atomic_store(&over_count, 0);
    options.limit = limit;
    options.hook = remember;
    options.arg = &calls;
    cr_assert_eq(coil_watchdog_start(&options), 0);
}

__attribute__((noinline)) static int spin_until_reported(int count)
{
    int rounds = 0;

    while (atomic_load(&began_count) < count)
        rounds++;
    return rounds;
}

static int block(void *arg)
{
    return spin_until_reported(*(int *)arg) >= 0 ? 5 : -1;
}

static void await_over(int count)
{
    while (atomic_load(&over_count) < count)
        cr_assert_eq(coil_sleep(COIL_MS(1)), 0);
}

static void spin_for(coil_time duration)
{
    const int64_t begin = coil_now();

    while (coil_now() - begin < duration)
        continue;
}

/* Nobody is reported in what `body` does in a time that is a multiple of the limit. Some body is
 * reported each time if it is the watchdog's fault, and not with each limit if a stall's. */
static void expect_no_report(void (*body)(coil_time limit), coil_time limit, coil_time limit_max)
{
    do {
        start(limit);
        body(limit);
        coil_watchdog_stop();
        limit *= 2;
    } while (calls != 0 && limit <= limit_max);
    cr_assert_eq(calls, 0, "fiber %llu was reported after %lld us",
                 (unsigned long long)seen.fiber_id, (long long)(seen.ran / COIL_US(1)));
}

static bool has_frame_in(const void *function)
{
    for (size_t i = 0; i < seen.frame_count; i++)
        if ((uintptr_t)seen.frames[i] - (uintptr_t)function < FUNCTION_SIZE_MAX)
            return true;
    return false;
}

static bool is_in(const void *frame, int (*function)(int count))
{
    return (uintptr_t)frame - (uintptr_t)function < FUNCTION_SIZE_MAX;
}

/* Again when the fiber has stood still before it spun, or so long that it seemed not to answer. */
FIBER_TEST(watchdog, who_blocks_is_reported_once_with_its_stack_and_lives)
{
    uint64_t blocker = 0;
    int count = 1;

    (void)coil_watchdog_ignore(true);
    for (int i = 0; i < ATTEMPTS && !(seen.fiber_id && is_in(seen.frames[0], spin_until_reported));
         i++) {
        coil_fiber *fiber;

        start(short_limit);
        cr_assert_eq(coil_spawn(block, &count, &fiber), 0);
        coil_fiber_name_set(fiber, "blocker");
        blocker = coil_fiber_id(fiber);
        cr_assert_eq(join_and_drop(fiber), 5, "it went on to its end");
        await_over(1);
        coil_watchdog_stop();
    }

    cr_assert_eq(seen.fiber_id, blocker);
    cr_assert_str_eq(seen.name, "blocker");
    cr_assert_geq(seen.ran, short_limit);
    cr_assert_geq(seen.ran_in_all, seen.ran);
    cr_assert_eq(calls, 2);
    cr_assert(is_in(seen.frames[0], spin_until_reported), "the innermost frame is where it spins");
    cr_assert(has_frame_in((const void *)(uintptr_t)block));
    cr_assert_not(pthread_equal(seen.thread, pthread_self()));
}

FIBER_TEST(watchdog, the_next_incident_is_reported_again)
{
    (void)coil_watchdog_ignore(true);
    start(short_limit);
    for (int count = 1; count <= 3; count++) {
        (void)coil_watchdog_ignore(false);
        (void)spin_until_reported(count);
        (void)coil_watchdog_ignore(true);
        spin_for(short_limit);
        await_over(count);
        cr_assert_geq(seen.ran_in_all, seen.ran, "also the time in which it might block again");
    }
    coil_watchdog_stop();
    cr_assert_eq(calls, 6);
}

static int yield_until(void *arg)
{
    const int64_t *end = arg;

    while (coil_now() < *end)
        coil_yield();
    return 0;
}

static void yield_all_the_time(coil_time limit)
{
    int64_t end = coil_now() + 3 * limit;
    coil_fiber *fibers[2];

    for (int i = 0; i < 2; i++)
        cr_assert_eq(coil_spawn(yield_until, &end, &fibers[i]), 0);
    for (int i = 0; i < 2; i++)
        cr_assert_eq(join_and_drop(fibers[i]), 0);
}

FIBER_TEST(watchdog, fibers_that_keep_the_loop_busy_but_yield_are_none)
{
    expect_no_report(yield_all_the_time, COIL_MS(40), COIL_MS(2560));
}

static void sleep_for_long(coil_time limit)
{
    cr_assert_eq(coil_sleep(10 * limit), 0);
}

FIBER_TEST(watchdog, a_loop_that_sleeps_is_none)
{
    expect_no_report(sleep_for_long, short_limit, 256 * short_limit);
}

/* ---- Who may block ---- */

FIBER_TEST(watchdog, who_may_block_is_not_reported_until_it_may_no_more)
{
    cr_assert_not(coil_watchdog_ignore(true));
    start(short_limit);
    spin_for(10 * short_limit);
    cr_assert(coil_watchdog_ignore(true), "regions nest");
    cr_assert(coil_watchdog_ignore(true));
    spin_for(10 * short_limit);
    coil_yield();
    coil_yield();
    spin_for(10 * short_limit);
    cr_assert_eq(atomic_load(&began_count), 0);

    cr_assert(coil_watchdog_ignore(false));
    (void)spin_until_reported(1);
    await_over(1);
    coil_watchdog_stop();
}

FIBER_TEST(watchdog, time_in_which_it_might_block_does_not_count)
{
    int64_t end;

    (void)coil_watchdog_ignore(true);
    start(short_limit);
    spin_for(10 * short_limit);
    end = coil_now();
    (void)coil_watchdog_ignore(false);
    (void)spin_until_reported(1);
    cr_assert_leq(seen.ran, coil_now() - end);
    coil_watchdog_stop();
}

/* The signal comes when it is unblocked. Again when that was too late for an answer. */
FIBER_TEST(watchdog, a_question_that_comes_when_it_may_block_no_more_counts_no_time_before)
{
    sigset_t own;

    (void)sigemptyset(&own);
    (void)sigaddset(&own, SIGRTMAX - 1);
    for (int i = 0; i < ATTEMPTS && seen.fiber_id == 0; i++) {
        sigset_t pending;
        int64_t end;

        (void)coil_watchdog_ignore(true);
        cr_assert_eq(pthread_sigmask(SIG_BLOCK, &own, NULL), 0);
        start(short_limit);
        do
            cr_assert_eq(sigpending(&pending), 0);
        while (!sigismember(&pending, SIGRTMAX - 1));
        end = coil_now();
        (void)coil_watchdog_ignore(false);
        cr_assert_eq(pthread_sigmask(SIG_UNBLOCK, &own, NULL), 0);
        (void)spin_until_reported(1);
        cr_assert(seen.fiber_id == 0 || seen.ran <= coil_now() - end);
        coil_watchdog_stop();
    }
    cr_assert_eq(seen.fiber_id, 1);
}

enum {
    NOWHERE,
    BEFORE_ANSWER,
    BEHIND_ANSWER,
};

static _Atomic(int) standstill = NOWHERE;

/* In the place of the C library's, by which the watchdog waits for an answer: once it has the next
 * one, its thread stands still. */
/* NOLINTNEXTLINE(readability-inconsistent-declaration-parameter-name): those are reserved */
int sem_timedwait(sem_t *restrict sem, const struct timespec *restrict deadline)
{
    if (atomic_load(&standstill) == NOWHERE)
        return sem_clockwait(sem, CLOCK_REALTIME, deadline);
    while (sem_wait(sem) != 0)
        continue;
    atomic_store(&standstill, BEHIND_ANSWER);
    while (atomic_load(&standstill) == BEHIND_ANSWER)
        (void)sched_yield();
    return 0;
}

FIBER_TEST(watchdog, an_old_answer_does_not_undo_that_it_may_block_no_more)
{
    (void)coil_watchdog_ignore(true);
    atomic_store(&standstill, BEFORE_ANSWER);
    start(short_limit);
    while (atomic_load(&standstill) != BEHIND_ANSWER)
        continue;
    (void)coil_watchdog_ignore(false);
    atomic_store(&standstill, NOWHERE);
    (void)spin_until_reported(1);
    coil_watchdog_stop();
}

/* ---- Stopped ---- */

static bool is_stopped(pid_t pid)
{
    char path[40];
    char state = '?';
    FILE *file;

    (void)snprintf(path, sizeof path, "/proc/%ld/stat", (long)pid);
    file = fopen(path, "re");
    if (!file || fscanf(file, "%*d (%*[^)]) %c", &state) != 1) /* NOLINT(cert-err34-c) */
        state = '?';
    if (file)
        (void)fclose(file);
    return state == 'T';
}

/* Continues this process, once it is stopped, when it has been for a while. */
static pid_t fork_continuer(coil_time stopped)
{
    const pid_t stopped_one = getpid();
    const pid_t pid = fork();

    if (pid != 0)
        return pid;
    while (!is_stopped(stopped_one))
        (void)sched_yield();
    spin_for(stopped);
    (void)kill(stopped_one, SIGCONT);
    _exit(0);
}

static void be_stopped_for_long(coil_time limit)
{
    const pid_t continuer = fork_continuer(2 * limit);
    int status;

    cr_assert_gt(continuer, 0);
    spin_for(limit / 2); /* it has looked at least once */
    cr_assert_eq(kill(getpid(), SIGSTOP), 0);
    spin_for(limit / 8); /* it looks again */
    cr_assert_eq(waitpid(continuer, &status, 0), continuer);
}

FIBER_TEST(watchdog, time_in_which_the_process_was_stopped_does_not_count)
{
    expect_no_report(be_stopped_for_long, COIL_MS(80), COIL_MS(2560));
}

/* ---- It does not disturb ---- */

FIBER_TEST(watchdog, a_blocking_read_goes_on_and_errno_stays)
{
    char byte;
    int fds[2];

    cr_assert_eq(pipe(fds), 0);
    atomic_store(&pipe_fd, fds[1]);
    start(short_limit);
    errno = EXDEV;
    cr_assert_eq(read(fds[0], &byte, 1), 1, "no EINTR: the report itself is what it waits for");
    (void)spin_until_reported(1);
    cr_assert_eq(errno, EXDEV);
    await_over(1);
    coil_watchdog_stop();
    atomic_store(&pipe_fd, -1);
    cr_assert_eq(close(fds[0]) + close(fds[1]), 0);
}

/* A signal that a thread has blocked stays with the kernel, and its default action is the end. */
FIBER_TEST(watchdog, a_signal_that_was_blocked_all_the_time_does_no_harm_afterwards)
{
    sigset_t own;

    (void)sigemptyset(&own);
    (void)sigaddset(&own, SIGRTMAX - 1);
    cr_assert_eq(pthread_sigmask(SIG_BLOCK, &own, NULL), 0);
    start(short_limit);
    (void)spin_until_reported(1);
    cr_assert_eq(seen.fiber_id, 0, "it could not answer");
    coil_watchdog_stop();
    cr_assert_eq(pthread_sigmask(SIG_UNBLOCK, &own, NULL), 0);
}

FIBER_TEST(watchdog, the_signal_is_the_programs_again_afterwards)
{
    const struct sigaction ignore = {.sa_handler = SIG_IGN};
    coil_watchdog_options options = COIL_WATCHDOG_OPTIONS_INIT;
    struct sigaction after;

    cr_assert_eq(sigaction(SIGUSR2, &ignore, NULL), 0);
    options.signal_number = SIGUSR2;
    cr_assert_eq(coil_watchdog_start(&options), 0);
    cr_assert_eq(sigaction(SIGUSR2, NULL, &after), 0);
    cr_assert_neq(after.sa_handler, SIG_IGN);
    cr_assert_eq(raise(SIGUSR2), 0, "a signal that nobody asked for does nothing");
    coil_watchdog_stop();
    cr_assert_eq(sigaction(SIGUSR2, NULL, &after), 0);
    cr_assert_eq(after.sa_handler, SIG_IGN);
}

FIBER_TEST(watchdog, a_handler_that_somebody_else_installs_meanwhile_stays)
{
    const struct sigaction ignore = {.sa_handler = SIG_IGN};
    coil_watchdog_options options = COIL_WATCHDOG_OPTIONS_INIT;
    struct sigaction after;

    options.signal_number = SIGUSR2;
    cr_assert_eq(coil_watchdog_start(&options), 0);
    cr_assert_eq(sigaction(SIGUSR2, &ignore, NULL), 0);
    coil_watchdog_stop();
    cr_assert_eq(sigaction(SIGUSR2, NULL, &after), 0);
    cr_assert_eq(after.sa_handler, SIG_IGN);
}

/* ---- The log ---- */

static char logged[8192];
static _Atomic(int) line_count;

static void keep_line(coil_log_level level, const char *message, void *arg)
{
    (void)level;
    (void)arg;
    strncat(logged, message, sizeof logged - strlen(logged) - 2);
    strncat(logged, "\n", 2);
    if (strstr(message, " blocks the loop: ")) /* the report is under way: enough to go on */
        atomic_fetch_add(&began_count, 1);
    if (strstr(message, "' ran for "))
        atomic_fetch_add(&over_count, 1);
    atomic_fetch_add(&line_count, 1);
}

/* Again when it has stood still so long that it seemed not to answer. */
FIBER_TEST(watchdog, without_a_hook_it_goes_to_the_log)
{
    coil_watchdog_options options = COIL_WATCHDOG_OPTIONS_INIT;

    options.limit = short_limit;
    coil_log_set(keep_line, NULL);
    for (int i = 0; i < ATTEMPTS && !strstr(logged, "fiber 1 "); i++) {
        logged[0] = '\0';
        atomic_store(&began_count, 0);
        atomic_store(&over_count, 0);
        cr_assert_eq(coil_watchdog_start(&options), 0);
        (void)spin_until_reported(1);
        await_over(1);
        coil_watchdog_stop();
    }
    coil_log_set(NULL, NULL);
    cr_assert_not_null(strstr(logged, "fiber 1 'main' blocks the loop: it has run for "));
    cr_assert_not_null(strstr(logged, "\n  #0  "));
    cr_assert_not_null(strstr(logged, "\nfiber 1 'main' ran for "), "%s", logged);
}

/* ---- Life ---- */

FIBER_TEST(watchdog, there_is_one_per_run_and_it_ends_with_it)
{
    coil_watchdog_options options = COIL_WATCHDOG_OPTIONS_INIT;
    coil_watchdog_options blank = {0};

    coil_watchdog_stop();
    cr_assert_eq(coil_watchdog_start(&blank), -EINVAL);
    options.limit = COIL_US(999);
    cr_assert_eq(coil_watchdog_start(&options), -EINVAL);
    options.limit = 0;
    options.signal_number = SIGKILL;
    cr_assert_eq(coil_watchdog_start(&options), -EINVAL);
    options.signal_number = 65;
    cr_assert_eq(coil_watchdog_start(&options), -EINVAL);
    cr_assert_eq(coil_watchdog_start(NULL), 0);
    cr_assert_eq(coil_watchdog_start(NULL), -EBUSY);
    coil_watchdog_stop();
    cr_assert_eq(coil_watchdog_start(NULL), 0, "the end of the run stops it");
}

FIBER_TEST(watchdog, without_memory_there_is_none_and_nothing_is_left)
{
    struct sigaction after;

    coil__alloc_fail_after(0);
    cr_assert_eq(coil_watchdog_start(NULL), -ENOMEM);
    coil__alloc_fail_after(1);
    cr_assert_eq(coil_watchdog_start(NULL), 0, "it needs no more than one block");
    coil__alloc_fail_after(-1);
    coil_watchdog_stop();
    cr_assert_eq(sigaction(SIGRTMAX - 1, NULL, &after), 0);
    cr_assert_eq(after.sa_handler, SIG_DFL);
}

/* The thread of this process with that name, or 0. */
static pid_t thread_named(const char *wanted)
{
    DIR *threads = opendir("/proc/self/task");
    const struct dirent *entry;
    pid_t found = 0;

    cr_assert_not_null(threads);
    while (found == 0 && (entry = readdir(threads)) != NULL) {
        char path[300];
        char name[32] = "";
        FILE *file;

        (void)snprintf(path, sizeof path, "/proc/self/task/%s/comm", entry->d_name);
        file = fopen(path, "re");
        if (file && fgets(name, sizeof name, file) && strcmp(name, wanted) == 0)
            found = (pid_t)strtol(entry->d_name, NULL, 10);
        if (file)
            (void)fclose(file);
    }
    (void)closedir(threads);
    return found;
}

static const coil_options pinned = {.size = sizeof pinned, .pin_cores = true};

FIBER_TEST_WITH(watchdog, it_is_not_tied_to_the_cpu_that_it_watches, &pinned)
{
    cpu_set_t all;
    cpu_set_t cpus;
    pid_t thread;

    cr_assert_eq(coil_watchdog_start(NULL), 0);
    while ((thread = thread_named("coil-watchdog\n")) == 0)
        coil_yield();
    cr_assert_eq(sched_getaffinity(getppid(), sizeof all, &all), 0);
    do
        cr_assert_eq(sched_getaffinity(thread, sizeof cpus, &cpus), 0);
    while (CPU_COUNT(&cpus) < CPU_COUNT(&all));
    coil_watchdog_stop();
}

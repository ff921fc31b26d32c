/* SPDX-License-Identifier: MIT */
/* A program for test_gdb.py to look at: a fiber that waits three calls deep, one that joins it, one
 * that has not run, one more thread with a coil_run() of its own; then it stops in all_parked(),
 * and afterwards goes on to a result that says that nothing has been disturbed. With the argument
 * "abort" it leaves a core file there instead, with "overflow" its main fiber overflows its stack,
 * and with "printf" it formats, which fibers do on the loop's stack.
 */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <coil/coil.h>

struct subject {
    coil_sem sem;
    coil_fiber *waiter;
    coil_fiber *joiner;
    int depth;
};

static pthread_barrier_t other_is_parked;
static pthread_barrier_t may_end;

static const char *wanted = "";

/* Where the debugger stops. */
__attribute__((noinline)) static void all_parked(void)
{
    if (strcmp(wanted, "abort") == 0)
        abort();
    __asm__ volatile("" ::: "memory");
}

__attribute__((noinline)) static int wait_inner(struct subject *subject, int marker)
{
    const int result = coil_sem_acquire(&subject->sem);

    return result + marker;
}

__attribute__((noinline)) static int wait_outer(struct subject *subject, int marker)
{
    const int result = wait_inner(subject, marker * 2);

    return result + 1;
}

static int waiter_main(void *arg)
{
    struct subject *subject = arg;

    return wait_outer(subject, 21) + subject->depth;
}

static int joiner_main(void *arg)
{
    const struct subject *subject = arg;
    int result = 0;

    (void)coil_join(subject->waiter, &result);
    return result;
}

static int late_main(void *arg)
{
    (void)arg;
    return 0;
}

/* NOLINTNEXTLINE(misc-no-recursion): that is the point */
__attribute__((noinline)) static int recurse(volatile int *depth)
{
    volatile char frame[1024] = {0};

    ++*depth;
    return frame[0] + (*depth > 0 ? recurse(depth) : 0) + frame[0];
}

static int print(void)
{
    coil_stream *out;
    const int result = coil_stdout(&out);

    return result < 0 ? result : coil_printf(out, "%d\n", result);
}

static int main_fiber(void *arg)
{
    struct subject subject = {.depth = 100};
    int result = 0;

    (void)arg;
    if (strcmp(wanted, "overflow") == 0)
        return recurse(&result);
    if (strcmp(wanted, "printf") == 0)
        return print();
    coil_sem_init(&subject.sem, 0);
    if (coil_spawn(waiter_main, &subject, &subject.waiter) < 0 ||
        coil_spawn(joiner_main, &subject, &subject.joiner) < 0)
        return 1;
    coil_fiber_name_set(subject.waiter, "waiter");
    coil_fiber_name_set(subject.joiner, "joiner");
    coil_yield();
    if (coil_spawn(late_main, NULL, NULL) < 0)
        return 1;
    all_parked();
    coil_sem_release(&subject.sem);
    (void)coil_join(subject.joiner, &result);
    coil_fiber_unref(subject.waiter);
    coil_fiber_unref(subject.joiner);
    return result;
}

static int other_fiber(void *arg)
{
    (void)arg;
    coil_fiber_name_set(coil_self(), "other");
    (void)pthread_barrier_wait(&other_is_parked);
    (void)pthread_barrier_wait(&may_end);
    return 0;
}

static void *other_main(void *arg)
{
    (void)coil_run(other_fiber, arg, NULL, NULL);
    return NULL;
}

int main(int count, char **arguments)
{
    pthread_t thread;
    int result = 0;

    if (count > 1)
        wanted = arguments[1];
    (void)pthread_barrier_init(&other_is_parked, NULL, 2);
    (void)pthread_barrier_init(&may_end, NULL, 2);
    if (pthread_create(&thread, NULL, other_main, NULL) != 0)
        return 1;
    (void)pthread_barrier_wait(&other_is_parked);
    if (coil_run(main_fiber, NULL, NULL, &result) < 0)
        return 1;
    (void)pthread_barrier_wait(&may_end);
    (void)pthread_join(thread, NULL);
    (void)printf("result %d\n", result);
    return 0;
}

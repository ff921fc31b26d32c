/* SPDX-License-Identifier: MIT */
/* A million fibers, one batch after the other: some are cancelled, some run into their deadline,
 * some end by themselves or before they have begun. Neither the number of allocations nor the
 * memory of the process grows.
 *
 * A plain program, since Criterion's own memory is none of the test's. Skipped under ASan, whose
 * quarantine is growth.
 */
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <unistd.h>

#include <coil/coil.h>

#include "base/alloc.h"
#include "base/sanitize.h"
#include "core/sched.h"

enum {
    CYCLES = 1000000,
    BATCH = 1000,
    WARM_UP = 100, /* batches */
    SLACK_PAGES = 128,
};

#ifdef COIL__WITH_ASAN
enum {
    IS_UNDER_ASAN = 1
};
#else
enum {
    IS_UNDER_ASAN = 0
};
#endif

struct growth {
    coil_sem never;
    coil_fiber *fibers[BATCH];
    int by_itself;
    int timed_out;
    int cancelled;
};

static int wait_within_a_moment(void *arg)
{
    struct growth *growth = arg;
    coil_scope scope;
    int result;

    coil_scope_enter(&scope, COIL_US(1));
    result = coil_sem_acquire(&growth->never);
    return coil_scope_leave(&scope) ? -ETIMEDOUT : result;
}

static int wait_for_ever(void *arg)
{
    struct growth *growth = arg;
    coil_scope scope;
    int result;

    coil_scope_enter(&scope, COIL_SECONDS(1000));
    result = coil_sem_acquire(&growth->never);
    (void)coil_scope_leave(&scope);
    return result;
}

static int end_at_once(void *arg)
{
    (void)arg;
    return 0;
}

static int run_batch(struct growth *growth)
{
    static int (*const functions[])(void *) = {end_at_once, wait_within_a_moment, wait_for_ever,
                                               wait_for_ever};

    for (int i = 0; i < BATCH; i++)
        if (coil_spawn(functions[i % 4], growth, &growth->fibers[i]) < 0)
            return -1;
    for (int i = 3; i < BATCH; i += 4)
        coil_cancel(growth->fibers[i]); /* before its start */
    coil_yield();
    for (int i = 2; i < BATCH; i += 4)
        coil_cancel(growth->fibers[i]); /* in its wait */
    for (int i = 0; i < BATCH; i++) {
        int result = 1;

        if (coil_join(growth->fibers[i], &result) < 0)
            return -1;
        coil_fiber_unref(growth->fibers[i]);
        growth->by_itself += result == 0;
        growth->timed_out += result == -ETIMEDOUT;
        growth->cancelled += result == -ECANCELED;
    }
    return 0;
}

/* Pages of the process in memory; -1 when it can't be told. */
static long resident_pages(void)
{
    FILE *file = fopen("/proc/self/statm", "re");
    long pages = -1;

    if (!file)
        return -1;
    if (fscanf(file, "%*d %ld", &pages) != 1) /* NOLINT(cert-err34-c): the kernel's own number */
        pages = -1;
    (void)fclose(file);
    return pages;
}

static int run_all(void *arg)
{
    struct growth *growth = arg;
    int64_t blocks = 0;
    long pages = 0;

    coil_sem_init(&growth->never, 0);
    for (int i = 0; i < CYCLES / BATCH; i++) {
        if (i == WARM_UP)
            blocks = coil__alloc_live_count();
        if (run_batch(growth) < 0)
            return 1;
        if (i >= WARM_UP && i < CYCLES / BATCH / 2) {
            const long now = resident_pages();

            pages = now > pages ? now : pages; /* free stacks are given back from time to time */
        }
    }
    printf("blocks %lld, then %lld; pages %ld, then %ld; ended %d, timed out %d, cancelled %d\n",
           (long long)blocks, (long long)coil__alloc_live_count(), pages, resident_pages(),
           growth->by_itself, growth->timed_out, growth->cancelled);
    if (coil__alloc_live_count() > blocks || resident_pages() > pages + SLACK_PAGES)
        return 2;
    if (growth->timed_out == 0 || growth->cancelled < CYCLES / 4)
        return 3;
    return growth->by_itself + growth->timed_out + growth->cancelled == CYCLES ? 0 : 3;
}

int main(void)
{
    static struct growth growth;
    int result = 0;

    if (IS_UNDER_ASAN)
        return 77;
    if (coil_run(run_all, &growth, NULL, &result) < 0)
        return 4;
    return result;
}

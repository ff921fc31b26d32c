/* SPDX-License-Identifier: MIT */
/* A watchdog over a loop that switches, blocks and ends, in two threads at once: a plain program
 * for ThreadSanitizer. Passes when every blocker has been reported and nothing raced.
 */
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>

#include <coil/coil.h>

enum {
    SIDES = 2,
    ROUNDS = 5,
};

struct side {
    pthread_t thread;
    _Atomic(int) report_count;
    _Atomic(int) over_count;
    int wanted; /* how many reports end the blocking */
    int status;
};

static void count_report(const coil_watchdog_report *report, void *arg)
{
    struct side *side = arg;

    if (report->is_over)
        atomic_fetch_add(&side->over_count, 1);
    else
        atomic_fetch_add(&side->report_count, 1);
}

/* TSan delivers signals at calls of the C library, such as the clock's. */
static int block(void *arg)
{
    const struct side *side = arg;

    while (atomic_load(&side->report_count) < side->wanted)
        (void)coil_now();
    return 0;
}

static int run_side(void *arg)
{
    struct side *side = arg;
    coil_watchdog_options options = COIL_WATCHDOG_OPTIONS_INIT;
    int result;

    options.limit = COIL_MS(20);
    options.hook = count_report;
    options.arg = side;
    result = coil_watchdog_start(&options);
    for (int i = 0; i < ROUNDS && result == 0; i++) {
        coil_fiber *fiber;

        /* Not one more than there are when it begins: it may have been reported by then. */
        side->wanted = i + 1;
        result = coil_spawn(block, side, &fiber);
        if (result == 0)
            result = coil_join(fiber, NULL);
        if (result == 0)
            coil_fiber_unref(fiber);
        while (result == 0 && atomic_load(&side->over_count) <= i)
            result = coil_sleep(COIL_MS(1));
    }
    return result;
}

static void *run_thread(void *arg)
{
    struct side *side = arg;
    int result = -1;

    side->status = coil_run(run_side, side, NULL, &result);
    if (side->status == 0)
        side->status = result;
    return NULL;
}

int main(void)
{
    static struct side sides[SIDES];
    int status = 0;

    for (int i = 0; i < SIDES; i++)
        if (pthread_create(&sides[i].thread, NULL, run_thread, &sides[i]) != 0)
            return 1;
    for (int i = 0; i < SIDES; i++) {
        (void)pthread_join(sides[i].thread, NULL);
        if (sides[i].status != 0 || atomic_load(&sides[i].report_count) < ROUNDS) {
            (void)fprintf(stderr, "side %d: status %d, %d reports\n", i, sides[i].status,
                          atomic_load(&sides[i].report_count));
            status = 1;
        }
    }
    return status;
}

/* SPDX-License-Identifier: MIT */
/* An unwinder may come at any instruction: a profiler's signal, or the watchdog's. Here one comes
 * after each, by the trap flag of x86-64, while fibers start, give way and end. */
#include <signal.h>
#include <ucontext.h>
#include <unwind.h>

#include <criterion/criterion.h>

#include <coil/coil.h>

enum {
    FRAMES_MAX = 200, /* Criterion's and those of sanitizers included */
    TRAP_FLAG = 0x100,
    YIELDS = 3,
};

TestSuite(switch_steps, .timeout = 100);

static volatile unsigned long steps;
static volatile unsigned long endless; /* walks that went on beyond all sense */

static _Unwind_Reason_Code count_frame(struct _Unwind_Context *context, void *arg)
{
    unsigned *count = arg;

    (void)context;
    return ++*count < FRAMES_MAX ? _URC_NO_REASON : _URC_NORMAL_STOP;
}

static void walk(int number)
{
    unsigned count = 0;

    (void)number;
    (void)_Unwind_Backtrace(count_frame, &count);
    steps++;
    endless += count >= FRAMES_MAX;
}

static void set_trap_flag(int number, siginfo_t *info, void *context)
{
    greg_t *flags = &((ucontext_t *)context)->uc_mcontext.gregs[REG_EFL];

    (void)info;
    if (number == SIGUSR1)
        *flags |= TRAP_FLAG;
    else
        *flags &= ~(greg_t)TRAP_FLAG;
}

static int yield_and_end(void *arg)
{
    (void)arg;
    for (int i = 0; i < YIELDS; i++)
        coil_yield();
    return 0;
}

static int end(void *arg)
{
    (void)arg;
    return 0;
}

static int run_some(void *arg)
{
    coil_fiber *fiber;

    (void)arg;
    (void)raise(SIGUSR1);
    if (coil_spawn(end, NULL, NULL) < 0 || coil_spawn(yield_and_end, NULL, &fiber) < 0)
        return -1;
    (void)coil_join(fiber, NULL);
    (void)coil_sleep(COIL_US(1)); /* through the loop */
    (void)raise(SIGUSR2);
    coil_fiber_unref(fiber);
    return 0;
}

Test(switch_steps, an_unwinder_finds_its_way_out_from_every_instruction)
{
    const struct sigaction on_step = {.sa_handler = walk, .sa_flags = SA_ONSTACK};
    const struct sigaction on_flag = {.sa_sigaction = set_trap_flag,
                                      .sa_flags = SA_ONSTACK | SA_SIGINFO};
    int result = -1;

    cr_assert_eq(sigaction(SIGTRAP, &on_step, NULL), 0);
    cr_assert_eq(sigaction(SIGUSR1, &on_flag, NULL), 0);
    cr_assert_eq(sigaction(SIGUSR2, &on_flag, NULL), 0);

    cr_assert_eq(coil_run(run_some, NULL, NULL, &result), 0);

    cr_assert_eq(result, 0);
    cr_assert_gt(steps, 1000);
    cr_assert_eq(endless, 0);
}

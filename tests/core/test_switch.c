/* SPDX-License-Identifier: MIT */
/* Context switch: registers and stacks survive, a fiber starts with its argument on an aligned
 * stack, and unwinders stop at the fiber's first frame.
 *
 * The fibers here are bare contexts; ASan is told about each switch as the scheduler tells it. */
#include "core/switch.h"

#include <criterion/criterion.h>
#include <execinfo.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/sanitize.h"

enum {
    STACK_SIZE = 256 * 1024,
    FIBER_COUNT = 64,
    ROUND_COUNT = 2000
};

TestSuite(switch, .timeout = 20);

struct context {
    void *saved;
    void *fake_stack;
    const void *bottom;
    size_t size;
    void *memory;
    int rounds;
};

static struct context loop;
static struct context fibers[FIBER_COUNT];

static COIL_OPAQUE void switch_to(struct context *from, struct context *to)
{
    coil__sanitize_switch_begin(&from->fake_stack, to->bottom, to->size, NULL);
    coil__switch(&from->saved, to->saved);
    coil__sanitize_switch_end(from->fake_stack);
}

static void fiber_new(struct context *context, void (*entry)(void *), void *arg)
{
    void *memory = aligned_alloc(4096, STACK_SIZE);

    cr_assert_not_null(memory);
    context->memory = memory;
    context->bottom = memory;
    context->size = STACK_SIZE;
    context->saved = coil__switch_prepare((char *)memory + STACK_SIZE, entry, arg);
}

static void set_up(void)
{
    coil__sanitize_thread_stack(&loop.bottom, &loop.size);
}

static void tear_down(void)
{
    for (int i = 0; i < FIBER_COUNT; i++) {
        if (fibers[i].memory)
            coil__sanitize_unpoison(fibers[i].memory, STACK_SIZE);
        free(fibers[i].memory);
    }
}

static void *seen_arg;
static uintptr_t seen_alignment;
static uintptr_t seen_frame_pointer;

static void report_start(void *arg)
{
    coil__sanitize_switch_end(NULL);
    seen_arg = arg;
    seen_alignment = (uintptr_t)__builtin_frame_address(0) % 16;
    seen_frame_pointer = *(const uintptr_t *)__builtin_frame_address(0);
    for (;;)
        switch_to(&fibers[0], &loop);
}

Test(switch, a_fiber_starts_with_its_argument_on_an_aligned_stack, .init = set_up,
     .fini = tear_down)
{
    int anything;

    fiber_new(&fibers[0], report_start, &anything);
    switch_to(&loop, &fibers[0]);

    cr_assert_eq(seen_arg, &anything);
    /* With a frame pointer the frame starts 16 bytes below the alignment at the call. */
    cr_assert_eq(seen_alignment, 0);
    cr_assert_eq(seen_frame_pointer, 0, "a walk by frame pointers ends here");
}

/* Counts twice, in memory and in a local variable, and stops counting when they differ. */
static void count_rounds(void *arg)
{
    struct context *self = arg;

    coil__sanitize_switch_end(NULL);
    for (int rounds = 1;; rounds++) {
        if (++self->rounds != rounds)
            self->rounds = INT32_MIN;
        switch_to(self, &loop);
    }
}

Test(switch, local_variables_survive_thousands_of_switches_between_many_fibers, .init = set_up,
     .fini = tear_down)
{
    for (int i = 0; i < FIBER_COUNT; i++)
        fiber_new(&fibers[i], count_rounds, &fibers[i]);

    for (int round = 0; round < ROUND_COUNT; round++) {
        for (int i = 0; i < FIBER_COUNT; i++)
            switch_to(&loop, &fibers[i]);
    }

    for (int i = 0; i < FIBER_COUNT; i++)
        cr_assert_eq(fibers[i].rounds, ROUND_COUNT);
}

static double seen_double;
static char seen_text[64];

/* printf saves vector registers with instructions that fault on a misaligned stack. */
static void use_floating_point(void *arg)
{
    coil__sanitize_switch_end(NULL);
    for (;;) {
        const double *in = arg;

        (void)snprintf(seen_text, sizeof seen_text, "%.3f %.2Lf", *in, (long double)*in * 2);
        seen_double = *in * *in;
        switch_to(&fibers[0], &loop);
    }
}

Test(switch, floating_point_works_on_both_sides, .init = set_up, .fini = tear_down)
{
    double in = 2.25;
    volatile double three = 3;
    const double held = in * three;

    fiber_new(&fibers[0], use_floating_point, &in);
    switch_to(&loop, &fibers[0]);

    cr_assert_str_eq(seen_text, "2.250 4.50");
    cr_assert_float_eq(seen_double, 5.0625, 1e-12);
    cr_assert_float_eq(held, 6.75, 1e-12);
}

/* Puts values made from `seed` into all callee-saved registers, switches, and returns a mask of
 * bits that are different afterwards. In assembly: a compiler may keep values elsewhere. */
extern uint64_t switch_and_compare_registers(void **ret_save, void *load, uint64_t seed);

/* What it switches by, as a function: that the compiler saves here what a switch does not is what
 * is tested. */
void switch_as_function(void **ret_save, void *load);

__attribute__((noinline)) void switch_as_function(void **ret_save, void *load)
{
    coil__switch(ret_save, load);
}

static uint64_t seen_difference;

static void disturb_registers(void *arg)
{
    (void)arg;
    coil__sanitize_switch_end(NULL);
    for (uint64_t seed = 1000000;; seed += 1000) {
        coil__sanitize_switch_begin(&fibers[0].fake_stack, loop.bottom, loop.size, NULL);
        seen_difference |= switch_and_compare_registers(&fibers[0].saved, loop.saved, seed);
        coil__sanitize_switch_end(fibers[0].fake_stack);
    }
}

Test(switch, every_callee_saved_register_survives, .init = set_up, .fini = tear_down)
{
    uint64_t difference = 0;

    fiber_new(&fibers[0], disturb_registers, NULL);
    for (uint64_t seed = 0; seed < 10000; seed += 1000) {
        coil__sanitize_switch_begin(&loop.fake_stack, fibers[0].bottom, STACK_SIZE, NULL);
        difference |= switch_and_compare_registers(&loop.saved, fibers[0].saved, seed);
        coil__sanitize_switch_end(loop.fake_stack);
    }

    cr_assert_eq(difference, 0);
    cr_assert_eq(seen_difference, 0);
}

enum {
    FRAME_COUNT_MAX = 64
};

static void *frames[FRAME_COUNT_MAX];
static int frame_count;
static void *trampoline;

static __attribute__((noinline)) void unwind(int depth) // NOLINT(misc-no-recursion)
{
    if (depth > 0)
        unwind(depth - 1);
    else
        frame_count = backtrace(frames, FRAME_COUNT_MAX);
    __asm__ volatile("" ::: "memory"); /* no tail call */
}

static void unwind_in_fiber(void *arg)
{
    (void)arg;
    coil__sanitize_switch_end(NULL);
    trampoline = __builtin_return_address(0);
    for (;;) {
        unwind(3);
        switch_to(&fibers[0], &loop);
    }
}

Test(switch, unwinding_a_fiber_ends_at_its_first_frame, .init = set_up, .fini = tear_down)
{
    fiber_new(&fibers[0], unwind_in_fiber, NULL);

    for (int i = 0; i < 2; i++) {
        switch_to(&loop, &fibers[0]);
        cr_assert_geq(frame_count, 6);
        cr_assert_leq(frame_count, 8, "not beyond the stack");
        cr_assert_eq(frames[frame_count - 1], trampoline);
    }
}

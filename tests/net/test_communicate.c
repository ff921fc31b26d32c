/* SPDX-License-Identifier: MIT */
/* Talking to a child: whatever it reads and writes, and when it does not, nobody hangs, nothing
 * that came is lost, and the limits are exact.
 */
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

#include "net/process_fixture.h"

TestSuite(communicate, .timeout = 60);

enum {
    KIB = 1024,
    MIB = 1024 * KIB,
};

static char *make_text(size_t size)
{
    char *text = malloc(size);

    for (size_t i = 0; i < size; i++)
        text[i] = (char)(i * 2654435761U >> 13);
    return text;
}

static coil_process_options all_pipes(void)
{
    coil_process_options options = COIL_PROCESS_OPTIONS_INIT;

    options.in = COIL_PROCESS_PIPE;
    options.out = COIL_PROCESS_PIPE;
    options.err = COIL_PROCESS_PIPE;
    return options;
}

/* ---- To the end ---- */

FIBER_TEST(communicate, a_program_is_run_and_its_output_collected)
{
    const char *const argv[] = {"sort", "-u", NULL};
    coil_process_output output = {0};

    cr_assert_eq(coil_process_run(argv, NULL, "b\na\nb\n", 6, &output), 0);

    cr_assert_eq(output.status, 0);
    cr_assert_str_eq(output.out, "a\nb\n");
    cr_assert_eq(output.out_len, 4);
    cr_assert_null(output.err);
    cr_assert_eq(output.in_len, 6);
    coil_process_output_free(&output);
    cr_assert_null(output.out);
    expect_no_children();
}

FIBER_TEST(communicate, the_status_and_the_errors_are_told)
{
    coil_process_output output = {0};

    cr_assert_eq(run_script("echo bad >&2; exit 9", NULL, &output), 9);
    cr_assert_str_eq(output.err, "bad\n");
    cr_assert_null(output.out);
    coil_process_output_free(&output);

    cr_assert_eq(run_script("kill -TERM $$", NULL, &output), -SIGTERM);
    coil_process_output_free(&output);
}

FIBER_TEST(communicate, more_than_the_pipes_hold_goes_both_ways_at_once)
{
    const char *const argv[] = {"cat", NULL};
    char *text = make_text(3 * MIB);
    coil_process_output output = {0};

    cr_assert_eq(coil_process_run(argv, NULL, text, 3 * MIB, &output), 0);

    cr_assert_eq(output.out_len, 3 * MIB);
    cr_assert_eq(memcmp(output.out, text, 3 * MIB), 0);
    coil_process_output_free(&output);
    free(text);
}

FIBER_TEST(communicate, a_flood_on_one_pipe_does_not_stop_the_other)
{
    coil_process_output output = {0};

    cr_assert_eq(
        run_script("head -c 300000 /dev/zero >&2; head -c 400000 /dev/zero", NULL, &output), 0);

    cr_assert_eq(output.err_len, 300000);
    cr_assert_eq(output.out_len, 400000);
    coil_process_output_free(&output);
}

FIBER_TEST(communicate, a_child_that_takes_no_input_is_no_failure)
{
    const char *const argv[] = {"sh", "-c", "exec <&-; echo done; exit 4", NULL};
    char *text = make_text(MIB);
    coil_process_output output = {0};

    cr_assert_eq(coil_process_run(argv, NULL, text, MIB, &output), 0);

    cr_assert_eq(output.status, 4);
    cr_assert_str_eq(output.out, "done\n");
    cr_assert_lt(output.in_len, MIB);
    coil_process_output_free(&output);
    free(text);
}

FIBER_TEST(communicate, a_child_that_closes_its_output_early_is_waited_for)
{
    coil_process_output output = {0};

    cr_assert_eq(run_script("echo x; exec >&- 2>&-; exit 6", NULL, &output), 6);

    cr_assert_str_eq(output.out, "x\n");
    coil_process_output_free(&output);
}

FIBER_TEST(communicate, what_is_not_a_pipe_is_left_out)
{
    coil_process_options options = COIL_PROCESS_OPTIONS_INIT;
    coil_process_output output = {0};

    options.in = COIL_PROCESS_NULL;
    cr_assert_eq(run_script("exit 2", &options, &output), 2);
    cr_assert_null(output.out);
    cr_assert_null(output.err);
    coil_process_output_free(&output);
}

/* ---- Deadlines ---- */

struct talk {
    coil_process *process;
    const char *input;
    size_t size;
    coil_process_output output;
};

static int communicate(void *arg)
{
    struct talk *talk = arg;

    return coil_process_communicate(talk->process, talk->input, talk->size, &talk->output);
}

FIBER_TEST(communicate, a_child_that_reads_nothing_is_left_at_the_deadline)
{
    const char *const argv[] = {"sleep", "60", NULL};
    char *text = make_text(MIB);
    coil_process_output output = {0};
    coil_scope scope;

    coil_scope_enter(&scope, COIL_MS(50));
    cr_assert_eq(coil_process_run(argv, NULL, text, MIB, &output), -ETIMEDOUT);
    cr_assert(coil_scope_leave(&scope));

    cr_assert_lt(output.in_len, MIB);
    coil_process_output_free(&output);
    free(text);
    until_no_call_is_offloaded(); /* the thread that starts a process may have to reap it */
    expect_no_children();
}

FIBER_TEST(communicate, what_came_before_an_interruption_is_kept_and_the_rest_follows)
{
    coil_process_options options = all_pipes();
    int gate[2];
    struct talk talk = {.input = "ignored", .size = 7};
    coil_fiber *fiber;

    cr_assert_eq(pipe2(gate, O_CLOEXEC), 0);
    options.fds = gate;
    options.fd_count = 1;
    talk.process = spawn_script("echo first; echo worst >&2; read x <&3; echo second", &options);
    fiber = spawn_until_parked(communicate, &talk);
    while (talk.output.out_len == 0 || talk.output.err_len == 0)
        coil_yield();
    coil_cancel(fiber);
    cr_assert_eq(join_and_drop(fiber), -ECANCELED);
    cr_assert_str_eq(talk.output.out, "first\n");
    cr_assert_str_eq(talk.output.err, "worst\n");

    cr_assert_eq(write(gate[1], "\n", 1), 1);
    cr_assert_eq(communicate(&talk), 0);
    cr_assert_str_eq(talk.output.out, "first\nsecond\n");
    cr_assert_str_eq(talk.output.err, "worst\n");
    cr_assert_eq(talk.output.status, 0);
    coil_process_output_free(&talk.output);
    coil_process_free(talk.process);
    cr_assert_eq(close(gate[0]), 0);
    cr_assert_eq(close(gate[1]), 0);
}

FIBER_TEST(communicate, interrupted_again_and_again_no_byte_is_lost_or_doubled)
{
    const char *const argv[] = {"cat", NULL};
    coil_process_options options = all_pipes();
    char *text = make_text(2 * MIB);
    struct talk talk = {.input = text, .size = 2 * MIB};
    int result = -ETIMEDOUT;
    int interruptions = 0;

    cr_assert_eq(coil_process_spawn(argv, &options, &talk.process), 0);
    while (result == -ETIMEDOUT) {
        coil_scope scope;

        coil_scope_enter(&scope, COIL_US(100 + 50 * interruptions));
        result = communicate(&talk);
        if (coil_scope_leave(&scope))
            interruptions++;
    }

    cr_assert_eq(result, 0);
    cr_assert_gt(interruptions, 0);
    cr_assert_eq(talk.output.out_len, 2 * MIB);
    cr_assert_eq(memcmp(talk.output.out, text, 2 * MIB), 0);
    coil_process_output_free(&talk.output);
    coil_process_free(talk.process);
    free(text);
}

/* As "kill" at the backdoor does. */
static bool cancel_by_name(const char *name)
{
    struct coil_fiber *fiber = coil__fiber_next(coil__sched(), NULL);

    while (fiber && strcmp(fiber->name, name) != 0)
        fiber = coil__fiber_next(coil__sched(), fiber);
    if (fiber)
        coil_cancel(fiber);
    return fiber != NULL;
}

FIBER_TEST(communicate, a_pump_that_somebody_cancels_ends_the_call)
{
    coil_process_options options = all_pipes();
    struct talk talk = {.input = NULL};
    coil_fiber *fiber;

    talk.process = spawn_script("exec sleep 60", &options);
    fiber = spawn_until_parked(communicate, &talk);
    cr_assert(cancel_by_name("process pump"));
    cr_assert_eq(join_and_drop(fiber), -ECANCELED);
    coil_process_output_free(&talk.output);
    coil_process_free(talk.process);
    expect_no_children();
}

FIBER_TEST(communicate, a_grandchild_that_holds_the_output_keeps_it_open_but_not_the_end)
{
    coil_process_options options = all_pipes();
    struct talk talk = {.input = NULL};
    coil_scope scope;

    options.new_group = true;
    talk.process = spawn_script("sleep 60 & echo done; exit 3", &options);
    cr_assert_eq(status_of(talk.process), 3);

    coil_scope_enter(&scope, COIL_MS(20));
    cr_assert_eq(communicate(&talk), -ETIMEDOUT);
    cr_assert(coil_scope_leave(&scope));

    cr_assert_str_eq(talk.output.out, "done\n");
    coil_process_output_free(&talk.output);
    coil_process_free(talk.process);
    expect_no_children();
}

/* ---- Limits ---- */

FIBER_TEST(communicate, output_up_to_the_limit_is_taken_and_one_byte_more_is_an_error)
{
    const char *const argv[] = {"head", "-c", "100000", "/dev/zero", NULL};
    coil_process_output output = {.limit = 100000};

    cr_assert_eq(coil_process_run(argv, NULL, NULL, 0, &output), 0);
    cr_assert_eq(output.out_len, 100000);
    coil_process_output_free(&output);
    cr_assert_eq(output.limit, 100000);

    output.limit = 99999;
    cr_assert_eq(coil_process_run(argv, NULL, NULL, 0, &output), -EMSGSIZE);
    cr_assert_eq(output.out_len, 99999);
    cr_assert_eq(output.out[99999], '\0');
    coil_process_output_free(&output);
    expect_no_children();
}

FIBER_TEST(communicate, a_child_without_end_is_cut_at_the_limit)
{
    coil_process_output output = {.limit = 10};
    const char *const argv[] = {"yes", NULL};

    cr_assert_eq(coil_process_run(argv, NULL, NULL, 0, &output), -EMSGSIZE);
    cr_assert_str_eq(output.out, "y\ny\ny\ny\ny\n");
    coil_process_output_free(&output);
    expect_no_children();
}

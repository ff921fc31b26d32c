/* SPDX-License-Identifier: MIT */
/* One-shot operations of fibers (core/op.h): a fiber leaves only on its operation's own completion,
 * and what raced with an interruption is neither lost nor reported twice (design D2, D3).
 *
 * The races are scripted: an engine of the test completes its one operation when and with what the
 * test says. What needs a kernel (buffers, bytes) runs on the real engine.
 */
#include "core/op.h"

#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "core/run.h"
#include "support/fiber_test.h"

enum {
    BYTE_COUNT = 5000,
    BUFFER_SIZE = 16,
};

/* ---- An engine that does what it is told ---- */

struct script {
    struct coil__engine engine;
    struct coil__op *pending;
    int cancel_count;
    int result;       /* what the pending operation is to end with */
    bool is_complete; /* it is to end at the next wait */
    bool completes_on_cancel;
};

static struct script script;

static void script_submit(struct coil__engine *engine, struct coil__op *op)
{
    engine->stats.active_count++;
    cr_assert_null(script.pending, "one operation at a time");
    op->request.state = COIL__REQUEST_ACTIVE;
    script.pending = op;
}

static void script_cancel(struct coil__engine *engine, struct coil__op *op)
{
    (void)engine;
    cr_assert_eq(script.pending, op, "a cancel for what has been completed");
    script.cancel_count++;
    if (script.completes_on_cancel)
        script.is_complete = true;
}

static int script_wait(struct coil__engine *engine, int64_t deadline)
{
    struct coil__op *op = script.pending;

    if (op && script.is_complete) {
        engine->stats.active_count--;
        script.pending = NULL;
        script.is_complete = false;
        op->request.state = COIL__REQUEST_IDLE;
        op->result = script.result;
        op->done(op);
        return 0;
    }
    cr_assert_neq(deadline, INT64_MAX, "it would wait for ever");
    while (coil_now() < deadline)
        continue;
    return 0;
}

static void script_wake(struct coil__engine *engine)
{
    (void)engine;
}

static void script_close(struct coil__engine *engine)
{
    (void)engine;
    cr_assert_null(script.pending);
}

static const struct coil__engine_ops script_ops = {
    .name = "script",
    .close = script_close,
    .submit = script_submit,
    .cancel = script_cancel,
    .wait = script_wait,
    .wake = script_wake,
};

static int script_open(const struct coil__engine_options *options, struct coil__engine **ret_engine,
                       char *ret_why)
{
    (void)options;
    ret_why[0] = '\0';
    script = (struct script){.engine.ops = &script_ops};
    *ret_engine = &script.engine;
    return 0;
}

static int run_script_body(void *arg)
{
    void (*const *body)(void) = arg;

    (*body)();
    return 0;
}

static void run_on_script(void (*body)(void))
{
    coil__run_engine_open = script_open;
    cr_assert_eq(coil_run(run_script_body, &body, NULL, NULL), 0);
}

#define SCRIPT_TEST(name)             \
 static void op_script_##name(void);  \
 Test(op_script, name, .timeout = 20) \
 {                                    \
  run_on_script(op_script_##name);    \
 }                                    \
 static void op_script_##name(void)

static int run_op(void)
{
    struct coil__op op = coil__op_make(COIL__OP_NOP, -1, NULL, 0, 0);

    return coil__op_run(&op, "test");
}

static int run_op_fiber(void *arg)
{
    (void)arg;
    return run_op();
}

static int complete_soon(void *arg)
{
    script.is_complete = true;
    return arg ? *(int *)arg : 0;
}

/* What an operation gives that ends with `result` by itself, not interrupted. */
static int plain_outcome(int result)
{
    script.result = result;
    cr_assert_eq(coil_spawn(complete_soon, NULL, NULL), 0);
    return run_op();
}

SCRIPT_TEST(without_an_interruption_every_result_is_the_operations_own)
{
    static const int results[] = {0, 1, 4096, -EPIPE, -ECANCELED, -EINTR, -ETIMEDOUT};

    for (size_t i = 0; i < sizeof results / sizeof results[0]; i++)
        cr_assert_eq(plain_outcome(results[i]), results[i]);
    cr_assert_eq(script.cancel_count, 0);
}

SCRIPT_TEST(an_interrupted_fiber_stays_until_its_operation_has_completed)
{
    coil_scope scope;
    coil_fiber *fiber;

    script.result = -ECANCELED;
    fiber = spawn_until_parked(run_op_fiber, NULL);
    coil_cancel(fiber);
    cr_assert_eq(script.cancel_count, 1);
    coil_scope_enter(&scope, COIL_MS(1));
    cr_assert_eq(coil_join(fiber, NULL), -ETIMEDOUT);
    cr_assert(coil_scope_leave(&scope));
    cr_assert_eq(fiber->tcb->state, COIL__FIBER_PARKED, "the kernel still has its stack");

    script.is_complete = true;
    cr_assert_eq(join_and_drop(fiber), -ECANCELED);
    cr_assert_eq(script.cancel_count, 1);
}

/* What an operation gives that a deadline interrupts, and then ends with `result`. */
static int interrupted_outcome(int result, int *ret_next)
{
    coil_scope scope;
    int outcome;

    script.result = result;
    script.completes_on_cancel = true;
    coil_scope_enter(&scope, COIL_US(100));
    outcome = run_op();
    *ret_next = coil_sleep(0);
    cr_assert(coil_scope_leave(&scope));
    return outcome;
}

SCRIPT_TEST(a_success_that_beats_the_cancel_is_delivered_and_the_next_call_fails)
{
    static const int results[] = {0, 1, 4096, -EPIPE};
    int next;

    for (size_t i = 0; i < sizeof results / sizeof results[0]; i++) {
        cr_assert_eq(interrupted_outcome(results[i], &next), results[i]);
        cr_assert_eq(next, -ETIMEDOUT);
    }
}

SCRIPT_TEST(a_cancelled_operation_reports_what_interrupted_it)
{
    int next;

    cr_assert_eq(interrupted_outcome(-ECANCELED, &next), -ETIMEDOUT);
    cr_assert_eq(interrupted_outcome(-EINTR, &next), -ETIMEDOUT);
    cr_assert_eq(script.cancel_count, 2);
}

SCRIPT_TEST(an_interruption_that_is_over_does_not_colour_the_next_operation)
{
    int next;

    cr_assert_eq(interrupted_outcome(-ECANCELED, &next), -ETIMEDOUT);
    cr_assert_eq(plain_outcome(-ECANCELED), -ECANCELED, "somebody else's cancel");
    cr_assert_eq(plain_outcome(-EINTR), -EINTR);
}

static int run_op_with_deadline(void *arg)
{
    coil_scope scope;
    int result;

    coil_scope_enter(&scope, COIL_US(100));
    result = run_op();
    *(bool *)arg = coil_scope_leave(&scope);
    return result;
}

SCRIPT_TEST(a_deadline_and_then_a_cancellation_cancel_the_operation_once)
{
    bool is_reported = true;
    coil_fiber *fiber = spawn_until_parked(run_op_with_deadline, &is_reported);

    script.result = -ECANCELED;
    cr_assert_eq(coil_sleep(COIL_MS(1)), 0);
    cr_assert_eq(script.cancel_count, 1);
    coil_cancel(fiber);
    cr_assert_eq(script.cancel_count, 1);
    script.is_complete = true;

    cr_assert_eq(join_and_drop(fiber), -ECANCELED, "what is outside speaks");
    cr_assert_not(is_reported);
}

SCRIPT_TEST(a_call_that_fails_at_once_submits_nothing)
{
    coil_scope scope;

    coil_scope_enter(&scope, 0);
    cr_assert_eq(run_op(), -ETIMEDOUT);
    cr_assert(coil_scope_leave(&scope));

    cr_assert_null(script.pending);
    cr_assert_eq(script.cancel_count, 0);
}

SCRIPT_TEST(a_completion_in_the_same_turn_before_the_cancel_is_final)
{
    coil_fiber *fiber = spawn_until_parked(run_op_fiber, NULL);
    struct coil__op *op = script.pending;

    script.pending = NULL;
    op->result = 3;
    op->done(op);
    coil_cancel(fiber);

    cr_assert_eq(join_and_drop(fiber), 3);
    cr_assert_eq(script.cancel_count, 0);
}

static int run_op_shielded(void *arg)
{
    struct coil__op op = coil__op_make(COIL__OP_NOP, -1, NULL, 0, 0);

    (void)arg;
    return coil__op_run_shielded(&op, "test");
}

SCRIPT_TEST(a_shielded_operation_is_never_cancelled)
{
    coil_fiber *fiber;

    script.result = 4;
    fiber = spawn_until_parked(run_op_shielded, NULL);
    coil_cancel(fiber);
    script.is_complete = true;
    cr_assert_eq(join_and_drop(fiber), 4);

    cr_assert_eq(coil_spawn(run_op_shielded, NULL, &fiber), 0);
    coil_cancel(fiber);
    until_parked(fiber);
    script.is_complete = true;
    cr_assert_eq(join_and_drop(fiber), 4, "cancelled before it began");
    cr_assert_eq(script.cancel_count, 0);
}

/* ---- With a kernel ---- */

static void open_pair(int fds[2])
{
    cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
}

static void close_pair(const int fds[2])
{
    cr_assert_eq(close(fds[0]), 0);
    cr_assert_eq(close(fds[1]), 0);
}

static int receive(int fd, void *buffer, size_t size)
{
    struct coil__op op = coil__op_make(COIL__OP_RECV, fd, buffer, size, 0);

    return coil__op_run(&op, "test");
}

FIBER_TEST(op, a_cancelled_receive_writes_to_its_buffer_no_more_and_loses_nothing)
{
    char buffer[BUFFER_SIZE] = "untouched";
    char other[BUFFER_SIZE] = "";
    coil_scope scope;
    int fds[2];

    open_pair(fds);
    coil_scope_enter(&scope, COIL_MS(1));
    cr_assert_eq(receive(fds[0], buffer, sizeof buffer), -ETIMEDOUT);
    cr_assert(coil_scope_leave(&scope));
    cr_assert_eq(write(fds[1], "late", 4), 4);
    cr_assert_eq(coil_sleep(COIL_MS(1)), 0);
    cr_assert_str_eq(buffer, "untouched");

    cr_assert_eq(receive(fds[0], other, sizeof other), 4);
    cr_assert_str_eq(other, "late");
    close_pair(fds);
}

static int send_numbers(void *arg)
{
    const int fd = *(int *)arg;

    for (int i = 0; i < BYTE_COUNT; i++) {
        const char byte = (char)i;

        if (write(fd, &byte, 1) != 1)
            return -errno;
        if (rand() % 3 == 0 && coil_sleep(COIL_US(rand() % 40)) < 0)
            return -1;
    }
    return 0;
}

FIBER_TEST(op, receives_with_deadlines_that_race_with_input_lose_no_byte)
{
    int fds[2];
    int timeouts = 0;
    coil_fiber *sender;

    open_pair(fds);
    cr_assert_eq(coil_spawn(send_numbers, &fds[1], &sender), 0);
    for (int at = 0; at < BYTE_COUNT;) {
        char buffer[BUFFER_SIZE];
        coil_scope scope;
        int count;

        coil_scope_enter(&scope, COIL_US(rand() % 40));
        count = receive(fds[0], buffer, (size_t)(1 + rand() % BUFFER_SIZE));
        cr_assert_eq(coil_scope_leave(&scope), count == -ETIMEDOUT);
        if (count == -ETIMEDOUT) {
            timeouts++;
            coil_yield();
            continue;
        }
        cr_assert_gt(count, 0);
        for (int i = 0; i < count; i++)
            cr_assert_eq(buffer[i], (char)at++, "byte %d", at - 1);
    }

    cr_assert_gt(timeouts, 0);
    cr_assert_eq(join_and_drop(sender), 0);
    close_pair(fds);
}

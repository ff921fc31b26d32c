/* SPDX-License-Identifier: MIT */
/* The table of parking calls (tests/core/scope_calls.h). */
#include "core/scope_calls.h"

#include <sys/socket.h>
#include <unistd.h>

#include "core/op.h"

static int sleep_forever(void *arg)
{
    (void)arg;
    return coil_sleep(COIL_NEVER);
}

static int return_five(void *arg)
{
    (void)arg;
    return 5;
}

static int wait_sleep(struct call_fixture *fixture)
{
    (void)fixture;
    return coil_sleep(COIL_NEVER);
}

static int succeed_sleep(struct call_fixture *fixture)
{
    (void)fixture;
    return coil_sleep(0);
}

static int wait_sem(struct call_fixture *fixture)
{
    return coil_sem_acquire(&fixture->empty);
}

static int succeed_sem(struct call_fixture *fixture)
{
    const int result = coil_sem_acquire(&fixture->full);

    if (result == 0)
        coil_sem_release(&fixture->full);
    return result;
}

static int wait_join(struct call_fixture *fixture)
{
    return coil_join(fixture->endless, NULL);
}

static int succeed_join(struct call_fixture *fixture)
{
    return coil_join(fixture->ended, NULL);
}

static int wait_read(struct call_fixture *fixture)
{
    char byte;

    return (int)coil_read(fixture->silent, &byte, 1);
}

static int succeed_read(struct call_fixture *fixture)
{
    char byte;
    const int result = (int)coil_read(fixture->talking, &byte, 1);

    if (result == 1)
        cr_assert_eq(write(fixture->talking_fd, "x", 1), 1);
    return result;
}

static int recv_op(int fd)
{
    char byte;
    struct coil__op op = coil__op_make(COIL__OP_RECV, fd, &byte, 1, MSG_PEEK);

    return coil__op_run(&op, "test");
}

/* The other ends of the streams serve as plain sockets: nobody writes to the silent one's. */
static int wait_op(struct call_fixture *fixture)
{
    return recv_op(fixture->silent_fd);
}

static int succeed_op(struct call_fixture *fixture)
{
    struct coil__op op = coil__op_make(COIL__OP_NOP, -1, NULL, 0, 0);

    (void)fixture;
    return coil__op_run(&op, "test");
}

const struct parking_call parking_calls[] = {
    {"sleep", wait_sleep, succeed_sleep}, {"sem", wait_sem, succeed_sem},
    {"join", wait_join, succeed_join},    {"read", wait_read, succeed_read},
    {"op", wait_op, succeed_op},
};

const size_t parking_call_count = sizeof parking_calls / sizeof parking_calls[0];

void call_fixture_open(struct call_fixture *fixture)
{
    coil_sem_init(&fixture->empty, 0);
    coil_sem_init(&fixture->full, 1);
    fixture->endless = spawn_until_parked(sleep_forever, NULL);
    fixture->ended = spawn_until_parked(return_five, NULL);
    stream_and_fd(&fixture->silent, &fixture->silent_fd);
    stream_and_fd(&fixture->talking, &fixture->talking_fd);
    cr_assert_eq(write(fixture->talking_fd, "x", 1), 1);
}

void call_fixture_close(struct call_fixture *fixture)
{
    char byte;

    cr_assert_eq(coil_sem_balance(&fixture->empty), 0);
    cr_assert_eq(coil_sem_balance(&fixture->full), 1);
    cr_assert_eq(coil_read(fixture->talking, &byte, 1), 1, "the byte that is always there");
    coil_cancel(fixture->endless);
    cr_assert_eq(join_and_drop(fixture->endless), -ECANCELED);
    cr_assert_eq(join_and_drop(fixture->ended), 5);
    cr_assert_eq(coil_close(fixture->silent), 0);
    cr_assert_eq(coil_close(fixture->talking), 0);
    cr_assert_eq(close(fixture->silent_fd), 0);
    cr_assert_eq(close(fixture->talking_fd), 0);
}

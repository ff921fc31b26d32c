/* SPDX-License-Identifier: MIT */
/* The numbers of a scheduler: each moves with what it counts, and the struct may grow. */
#include <coil/stats.h>

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "core/sched.h"
#include "support/fiber_test.h"

enum {
    FIBERS = 4, /* of the large stacks under ASan, all from one slab */
    BIG_SIZE = sizeof(coil_stats_info) + 64,
};

static coil_stats_info look(void)
{
    coil_stats_info stats = COIL_STATS_INIT;

    cr_assert_eq(coil_stats(&stats), 0);
    return stats;
}

static int acquire(void *arg)
{
    return coil_sem_acquire(arg);
}

FIBER_TEST(stats, fibers_are_counted_alive_runnable_and_at_their_peak)
{
    coil_fiber *fibers[FIBERS];
    const coil_stats_info before = look();
    coil_stats_info stats;
    coil_sem sem;

    coil_sem_init(&sem, 0);
    for (int i = 0; i < FIBERS; i++)
        cr_assert_eq(coil_spawn(acquire, &sem, &fibers[i]), 0);
    stats = look();
    cr_assert_eq(stats.fibers, 1 + FIBERS);
    cr_assert_eq(stats.ready, FIBERS);
    cr_assert_eq(stats.spawns - before.spawns, FIBERS);
    cr_assert_eq(stats.stacks, 1 + FIBERS);
    cr_assert_eq(stats.stack_slabs, 1);
    cr_assert_geq(stats.stack_bytes, (1 + FIBERS) * 64 * 1024);
    until_parked(fibers[FIBERS - 1]);
    cr_assert_eq(look().ready, 0);
    cr_assert_geq(look().switches - stats.switches, FIBERS);

    for (int i = 0; i < FIBERS; i++)
        coil_sem_release(&sem);
    for (int i = 0; i < FIBERS; i++)
        cr_assert_eq(join_and_drop(fibers[i]), 0);
    stats = look();
    cr_assert_eq(stats.fibers, 1);
    cr_assert_eq(stats.fibers_peak, 1 + FIBERS);
    cr_assert_eq(stats.stacks, 1);
    cr_assert_eq(stats.stacks_warm, FIBERS);
}

FIBER_TEST(stats, timers_are_counted_while_they_are_armed)
{
    enum {
        SCOPES = 40,
    };

    coil_scope scopes[SCOPES];
    const uint64_t before = look().timers;

    for (int i = 0; i < SCOPES; i++) {
        coil_scope_enter(&scopes[i], COIL_SECONDS(10 + i * 7 % 5));
        cr_assert_eq(look().timers, before + (uint64_t)i + 1);
    }
    for (int i = SCOPES - 1; i >= 0; i--) {
        (void)coil_scope_leave(&scopes[i]);
        cr_assert_eq(look().timers, before + (uint64_t)i);
    }
}

FIBER_TEST(stats, operations_are_counted_on_their_way_to_the_kernel_and_back)
{
    coil_stats_info before;
    coil_stats_info open;
    coil_stats_info after;
    coil_stream *a;
    coil_stream *b;
    char byte;

    stream_pair(&a, &b);
    before = look();
    coil_write(a, "x", 1);
    cr_assert_eq(coil_flush(a), 0);
    cr_assert_eq(coil_read(b, &byte, 1), 1);
    open = look();
    cr_assert_gt(open.enters, before.enters);
    cr_assert_geq(open.submissions - before.submissions, 2);
    cr_assert_geq(open.completions - before.completions, 2);
    cr_assert_gt(open.turns, before.turns);
    (void)coil_close(a);
    (void)coil_close(b);
    after = look();
    cr_assert_eq(after.requests, 0);
}

/* ---- A ring that is too small ---- */

enum {
    POLLERS = 32,
};

static int poll_one(void *arg)
{
    return coil_poll_fd(*(int *)arg, POLLIN);
}

FIBER_TEST_WITH(stats, completions_that_find_no_room_are_counted_and_not_lost,
                (&(coil_options){.size = sizeof(coil_options), .sq_size = 2, .cq_size = 4}))
{
    coil_fiber *pollers[POLLERS];
    int fds[POLLERS];
    const coil_stats_info before = look();

    for (int i = 0; i < POLLERS; i++) {
        fds[i] = eventfd(0, EFD_CLOEXEC);
        cr_assert_geq(fds[i], 0);
        cr_assert_eq(coil_spawn(poll_one, &fds[i], &pollers[i]), 0);
    }
    until_parked(pollers[POLLERS - 1]);
    coil_yield(); /* a look at I/O: the requests are with the kernel */
    for (int i = 0; i < POLLERS; i++)
        cr_assert_eq(eventfd_write(fds[i], 1), 0);
    for (int i = 0; i < POLLERS; i++) {
        cr_assert_eq(join_and_drop(pollers[i]), POLLIN);
        (void)close(fds[i]);
    }
    cr_expect_gt(look().overflows, before.overflows);
    cr_expect_gt(look().queued_submissions, before.queued_submissions);
    cr_expect_eq(look().starved_receives, before.starved_receives);
}

/* Older kernels, and runs that are to be like on one, have no buffers to share: none can lack. */
static bool shares_buffers(void)
{
    struct coil__engine *engine = coil__sched_this->engine;
    const char *without = engine->ops->describe(engine);

    return !strstr(without, "buffer_ring") && !strstr(without, "multishot_recv");
}

FIBER_TEST_WITH(stats, receives_that_find_no_buffer_are_counted_and_lose_nothing,
                (&(coil_options){.size = sizeof(coil_options), .buffer_count = 4}))
{
    enum {
        BYTES = 64 * 1024, /* for each stream: as much as all buffers hold */
        STREAMS = 8,
    };

    static char bytes[BYTES];
    static char got[BYTES];
    coil_stream *streams[STREAMS][2];
    const coil_stats_info before = look();

    for (int i = 0; i < STREAMS; i++) {
        stream_pair(&streams[i][0], &streams[i][1]);
        coil_write(streams[i][1], "x", 1);
        cr_assert_eq(coil_flush(streams[i][1]), 0);
        cr_assert_eq(coil_read(streams[i][0], got, 1), 1); /* from here on it receives */
    }
    for (int i = 0; i < STREAMS; i++) {
        memset(bytes, 'a' + i, BYTES);
        cr_assert_eq(write(coil_stream_fd(streams[i][1]), bytes, BYTES), BYTES);
    }
    for (int i = 0; i < STREAMS; i++) {
        memset(bytes, 'a' + i, BYTES);
        cr_assert_eq(coil_read_full(streams[i][0], got, BYTES, NULL), BYTES);
        cr_assert_arr_eq(got, bytes, BYTES);
    }
    if (shares_buffers())
        cr_expect_gt(look().starved_receives, before.starved_receives);
    if (!getenv("COIL_URING_SIZE")) /* or the completion queue is small as well */
        cr_expect_eq(look().overflows, 0);
    for (int i = 0; i < STREAMS; i++) {
        (void)coil_close(streams[i][0]);
        (void)coil_close(streams[i][1]);
    }
}

/* ---- Other threads ---- */

static atomic_bool may_return;

static int return_when_told(void *arg)
{
    (void)arg;
    while (!atomic_load(&may_return))
        (void)sched_yield();
    return 0;
}

static int offload(void *arg)
{
    return coil_offload(return_when_told, arg, NULL, NULL);
}

FIBER_TEST(stats, offloaded_calls_are_counted_with_their_threads)
{
    coil_fiber *fibers[2];
    coil_stats_info stats = look();

    cr_assert_eq(stats.offload_threads + stats.offload_running + stats.offload_queued, 0);
    for (int i = 0; i < 2; i++)
        fibers[i] = spawn_until_parked(offload, NULL);
    while (look().offload_running < 2)
        coil_yield();
    stats = look();
    cr_assert_eq(stats.offload_threads, 2);
    cr_assert_eq(stats.offload_queued, 0);
    atomic_store(&may_return, true);
    for (int i = 0; i < 2; i++)
        cr_assert_eq(join_and_drop(fibers[i]), 0);
    cr_assert_eq(look().posts, 2);
    while (look().offload_running > 0) /* a thread sits down after it has reported */
        coil_yield();
}

/* ---- The struct ---- */

FIBER_TEST(stats, a_shorter_struct_is_not_written_beyond_its_size)
{
    union {
        coil_stats_info info;
        unsigned char bytes[sizeof(coil_stats_info)];
    } old;

    const size_t size = offsetof(coil_stats_info, ready);

    memset(&old, 0x5a, sizeof old);
    old.info.size = size;
    cr_assert_eq(coil_stats(&old.info), 0);
    cr_assert_eq(old.info.size, size);
    cr_assert_eq(old.info.fibers, 1);
    for (size_t i = size; i < sizeof old; i++)
        cr_assert_eq(old.bytes[i], 0x5a);
}

FIBER_TEST(stats, a_longer_struct_ends_in_zeros)
{
    union {
        coil_stats_info info;
        unsigned char bytes[BIG_SIZE];
    } newer;

    memset(&newer, 0x5a, sizeof newer);
    newer.info.size = BIG_SIZE;
    cr_assert_eq(coil_stats(&newer.info), 0);
    cr_assert_eq(newer.info.fibers, 1);
    for (size_t i = sizeof newer.info; i < BIG_SIZE; i++)
        cr_assert_eq(newer.bytes[i], 0);
}

FIBER_TEST(stats, without_its_initialiser_it_is_refused)
{
    coil_stats_info stats = {.size = 0};

    cr_assert_eq(coil_stats(&stats), -EINVAL);
}

Test(stats, a_thread_without_fibers_has_none)
{
    coil_stats_info stats = COIL_STATS_INIT;

    cr_assert_eq(coil_stats(&stats), -ESRCH);
}

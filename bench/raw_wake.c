/* SPDX-License-Identifier: MIT */
/* Waking a ring that sleeps on another core: by an eventfd that it reads, by a message from another
 * ring in the enter that also sleeps, and by a message sent at once without a ring.
 *
 *     raw_wake [COUNT]
 *
 * Two pinned threads with a ring each wake each other in turn. Prints, as JSON, for each way the
 * nanoseconds of a round trip (two wakes), by the clock and in CPU time of both sides, the medians
 * of 9 repetitions. The eventfd's read is armed again in the enter that sleeps, as the engine does
 * it.
 */
#include <errno.h>
#include <liburing.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "raw.h"

enum {
    SIDES = 2,
    REPEAT = 9,
    COUNT_DEFAULT = 20000,
    REGISTER_SEND_MSG_RING = 31, /* newer than the headers of liburing 2.3 */
};

enum way {
    WAY_EVENTFD,
    WAY_MESSAGE,
    WAY_MESSAGE_AT_ONCE,
    WAY_COUNT,
};

static const char *const names[] = {"eventfd", "msg_ring", "msg_ring_at_once"};

struct side {
    struct io_uring ring;
    int wake_fd;
    uint64_t value;
    struct side *other;
};

static struct side sides[SIDES];
static pthread_barrier_t barrier;
static long count;

/* The queue is never full: few entries are under way. */
static struct io_uring_sqe *get_entry(struct side *side)
{
    struct io_uring_sqe *sqe = io_uring_get_sqe(&side->ring);

    if (!sqe)
        raw_die("io_uring_get_sqe", EBUSY);
    return sqe;
}

static void prepare_message(struct io_uring_sqe *sqe, const struct side *to)
{
    io_uring_prep_rw(IORING_OP_MSG_RING, sqe, to->ring.ring_fd, NULL, 0, 1);
    sqe->user_data = 2;
}

/* With MESSAGE the wake goes out in the enter that sleeps next. */
static void wake(struct side *side, enum way way)
{
    const uint64_t one = 1;
    struct io_uring_sqe *sqe_of_ring;
    struct io_uring_sqe sqe = {0};

    switch (way) {
    case WAY_EVENTFD:
        if (write(side->other->wake_fd, &one, sizeof one) != (ssize_t)sizeof one)
            raw_die("write", errno);
        break;
    case WAY_MESSAGE:
        sqe_of_ring = get_entry(side);
        prepare_message(sqe_of_ring, side->other);
        sqe_of_ring->flags |= IOSQE_CQE_SKIP_SUCCESS;
        break;
    case WAY_MESSAGE_AT_ONCE:
    case WAY_COUNT:
        prepare_message(&sqe, side->other);
        if (syscall(__NR_io_uring_register, -1, REGISTER_SEND_MSG_RING, &sqe, 1) < 0)
            raw_die("send message", errno);
    }
}

static void arm(struct side *side)
{
    struct io_uring_sqe *sqe = get_entry(side);

    io_uring_prep_read(sqe, side->wake_fd, &side->value, sizeof side->value, 0);
    sqe->user_data = 1;
}

static void sleep_until_woken(struct side *side, enum way way)
{
    bool is_woken = false;

    while (!is_woken) {
        struct io_uring_cqe *cqe;
        const int result = io_uring_submit_and_wait(&side->ring, 1);

        if (result < 0 && result != -EINTR)
            raw_die("enter", result);
        while (io_uring_peek_cqe(&side->ring, &cqe) == 0) {
            if (cqe->user_data == 2 && cqe->res < 0)
                raw_die("message", cqe->res);
            is_woken |= cqe->user_data == 1;
            io_uring_cqe_seen(&side->ring, cqe);
        }
    }
    if (way == WAY_EVENTFD)
        arm(side);
}

static void open_side(struct side *side)
{
    struct io_uring_params params = {.flags =
                                         IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN};
    const int result = io_uring_queue_init_params(64, &side->ring, &params);

    if (result < 0)
        raw_die("io_uring", result);
    side->wake_fd = eventfd(0, EFD_CLOEXEC);
}

static void *answer(void *arg)
{
    struct side *side = arg;

    raw_pin(1);
    open_side(side);
    (void)pthread_barrier_wait(&barrier);
    for (enum way way = 0; way < WAY_COUNT; way++) {
        if (way == WAY_EVENTFD)
            arm(side);
        for (long i = 0; i < REPEAT * count; i++) {
            sleep_until_woken(side, way);
            wake(side, way);
        }
        if (way == WAY_MESSAGE)
            (void)io_uring_submit(&side->ring);
        (void)pthread_barrier_wait(&barrier);
    }
    return NULL;
}

static int64_t read_clock(clockid_t clock)
{
    struct timespec time;

    (void)clock_gettime(clock, &time);
    return (int64_t)time.tv_sec * 1000000000 + time.tv_nsec;
}

static int compare(const void *a, const void *b)
{
    const double x = *(const double *)a;
    const double y = *(const double *)b;

    return (x > y) - (x < y);
}

static double median(double *numbers)
{
    qsort(numbers, REPEAT, sizeof *numbers, compare);
    return numbers[REPEAT / 2];
}

static void measure(struct side *side, enum way way)
{
    double rounds[REPEAT];
    double cpu[REPEAT];

    if (way == WAY_EVENTFD)
        arm(side);
    for (int i = 0; i < REPEAT; i++) {
        const int64_t start = read_clock(CLOCK_MONOTONIC);
        const int64_t cpu_start = read_clock(CLOCK_PROCESS_CPUTIME_ID);

        for (long j = 0; j < count; j++) {
            wake(side, way);
            sleep_until_woken(side, way);
        }
        rounds[i] = (double)(read_clock(CLOCK_MONOTONIC) - start) / (double)count;
        cpu[i] = (double)(read_clock(CLOCK_PROCESS_CPUTIME_ID) - cpu_start) / (double)count;
    }
    (void)printf("\"%s\": {\"ns\": %.0f, \"cpu\": %.0f}", names[way], median(rounds), median(cpu));
}

int main(int argc, char **argv)
{
    pthread_t thread;
    int error;

    count = argc > 1 ? raw_number("COUNT", argv[1], 1, 1000000000) : COUNT_DEFAULT;
    if (argc > 2) {
        (void)fprintf(stderr, "usage: raw_wake [COUNT]\n");
        return 2;
    }
    (void)pthread_barrier_init(&barrier, NULL, SIDES);
    for (int i = 0; i < SIDES; i++)
        sides[i].other = &sides[1 - i];
    raw_pin(0);
    open_side(&sides[0]);
    error = pthread_create(&thread, NULL, answer, &sides[1]);
    if (error)
        raw_die("pthread_create", error);
    (void)pthread_barrier_wait(&barrier);
    (void)printf("{");
    for (enum way way = 0; way < WAY_COUNT; way++) {
        (void)printf("%s", way > 0 ? ", " : "");
        measure(&sides[0], way);
        (void)pthread_barrier_wait(&barrier);
    }
    (void)printf("}\n");
    (void)pthread_join(thread, NULL);
    return EXIT_SUCCESS;
}

/* SPDX-License-Identifier: MIT */
/* The reads of file.c without coil: on a bare ring, and by a thread for each read under way.
 *
 * `raw_cached` and `raw_direct` keep 32 reads on the ring and hand in the next one of each as it
 * completes, all that have completed in one system call: 1.00 of `bench/run file`. The threads call
 * pread(2), as a program does that has nothing else.
 */
#include <liburing.h>
#include <pthread.h>
#include <stdlib.h>
#include <unistd.h>

#include "file_blocks.h"
#include "measure.h"

static void submit(struct io_uring *ring, int fd, char *block, uint32_t *seed)
{
    struct io_uring_sqe *sqe = io_uring_get_sqe(ring);

    if (!sqe)
        abort(); /* there is one for each read */
    io_uring_prep_read(sqe, fd, block, FILE_BLOCK, file_next_offset(seed));
    io_uring_sqe_set_data(sqe, block);
}

/* Takes what has completed and hands in as many more as are left. Returns how many were taken. */
static long turn(struct io_uring *ring, int fd, const char *blocks, uint32_t *seeds, long left)
{
    struct io_uring_cqe *cqes[FILE_DEPTH];
    const unsigned count = io_uring_peek_batch_cqe(ring, cqes, FILE_DEPTH);

    for (unsigned i = 0; i < count; i++) {
        char *block = io_uring_cqe_get_data(cqes[i]);

        measure_check(cqes[i]->res == FILE_BLOCK ? 0 : -1, "read");
        if (left-- > 0)
            submit(ring, fd, block, &seeds[(block - blocks) / FILE_BLOCK]);
    }
    io_uring_cq_advance(ring, count);
    return count;
}

static int64_t on_ring(long count, bool is_direct)
{
    const unsigned flags = IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN;
    char *blocks = file_blocks();
    const int fd = file_open(is_direct);
    uint32_t seeds[FILE_DEPTH];
    struct io_uring ring;
    int64_t start;
    int64_t taken;
    long left = count - FILE_DEPTH;

    measure_check(io_uring_queue_init(2 * FILE_DEPTH, &ring, flags), "io_uring_queue_init");
    start = measure_now();
    for (uint32_t i = 0; i < FILE_DEPTH; i++) {
        seeds[i] = i + 1;
        submit(&ring, fd, blocks + i * FILE_BLOCK, &seeds[i]);
    }
    while (left > -FILE_DEPTH) {
        measure_check(io_uring_submit_and_wait(&ring, 1), "io_uring_submit_and_wait");
        left -= turn(&ring, fd, blocks, seeds, left);
    }
    taken = measure_now() - start;
    io_uring_queue_exit(&ring);
    file_close(fd, blocks);
    return taken;
}

struct reading {
    pthread_t thread;
    int fd;
    long count;
    uint32_t seed;
    char *block;
};

static void *read_blocks(void *arg)
{
    struct reading *reading = arg;

    for (long i = 0; i < reading->count; i++) {
        const off_t offset = (off_t)file_next_offset(&reading->seed);

        measure_check(pread(reading->fd, reading->block, FILE_BLOCK, offset) == FILE_BLOCK ? 0 : -1,
                      "pread");
    }
    return NULL;
}

static int64_t by_threads(long count, bool is_direct)
{
    struct reading readings[FILE_DEPTH];
    char *blocks = file_blocks();
    const int fd = file_open(is_direct);
    const int64_t start = measure_now();
    int64_t taken;

    for (uint32_t i = 0; i < FILE_DEPTH; i++) {
        readings[i] = (struct reading){
            .fd = fd,
            .count = count / FILE_DEPTH,
            .seed = i + 1,
            .block = blocks + i * FILE_BLOCK,
        };
        measure_check(-pthread_create(&readings[i].thread, NULL, read_blocks, &readings[i]),
                      "pthread_create");
    }
    for (int i = 0; i < FILE_DEPTH; i++)
        (void)pthread_join(readings[i].thread, NULL);
    taken = measure_now() - start;
    file_close(fd, blocks);
    return taken;
}

static int64_t raw_cached(long count)
{
    return on_ring(count, false);
}

static int64_t raw_direct(long count)
{
    return on_ring(count, true);
}

static int64_t threads_cached(long count)
{
    return by_threads(count, false);
}

static int64_t threads_direct(long count)
{
    return by_threads(count, true);
}

int main(int argc, char **argv)
{
    static const struct measure_case cases[] = {
        {"raw_cached", raw_cached},
        {"raw_direct", raw_direct},
        {"threads_cached", threads_cached},
        {"threads_direct", threads_direct},
        {0},
    };

    return measure_main(argc, argv, cases);
}

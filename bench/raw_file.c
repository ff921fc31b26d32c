/* SPDX-License-Identifier: MIT */
/* The reads of file.c without coil: on a bare ring, and by a thread for each read under way.
 *
 * `raw_cached` and `raw_direct` keep 32 reads on the ring and hand in the next one of each as it
 * completes, all that have completed in one system call: 1.00 of `bench/run file`. `fixed_...` does
 * it with the file and the memory registered: the kernel need not look both up for each read, but a
 * library can't do that for memory that its callers choose. The threads call pread(2), as a program
 * does that has nothing else.
 */
#include <errno.h>
#include <liburing.h>
#include <pthread.h>
#include <stdlib.h>
#include <unistd.h>

#include "file_blocks.h"
#include "measure.h"

struct reader {
    struct io_uring ring;
    int fd;
    bool is_fixed;
    char *blocks;
    uint32_t seeds[FILE_DEPTH];
};

/* Hands in the next read into a block. */
static void submit(struct reader *reader, unsigned block)
{
    struct io_uring_sqe *sqe = io_uring_get_sqe(&reader->ring);
    const uint64_t offset = file_next_offset(&reader->seeds[block]);
    char *data = reader->blocks + (size_t)block * FILE_BLOCK;

    if (!sqe)
        abort(); /* there is one for each read */
    if (reader->is_fixed) {
        io_uring_prep_read_fixed(sqe, 0, data, FILE_BLOCK, offset, 0);
        sqe->flags |= IOSQE_FIXED_FILE;
    } else {
        io_uring_prep_read(sqe, reader->fd, data, FILE_BLOCK, offset);
    }
    io_uring_sqe_set_data64(sqe, block);
}

/* Takes what has completed and hands in as many more as are left. Returns how many were taken. */
static long turn(struct reader *reader, long left)
{
    struct io_uring_cqe *cqes[FILE_DEPTH];
    const unsigned count = io_uring_peek_batch_cqe(&reader->ring, cqes, FILE_DEPTH);

    for (unsigned i = 0; i < count; i++) {
        measure_check(cqes[i]->res == FILE_BLOCK ? 0 : -EIO, "read");
        if (left-- > 0)
            submit(reader, (unsigned)cqes[i]->user_data);
    }
    io_uring_cq_advance(&reader->ring, count);
    return count;
}

static void reader_open(struct reader *reader, bool is_direct)
{
    const unsigned flags = IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN;
    const struct iovec blocks = {file_blocks(), (size_t)FILE_DEPTH * FILE_BLOCK};

    reader->blocks = blocks.iov_base;
    reader->fd = file_open(is_direct);
    measure_check(io_uring_queue_init(2 * FILE_DEPTH, &reader->ring, flags), "io_uring_queue_init");
    measure_check(io_uring_register_ring_fd(&reader->ring), "io_uring_register_ring_fd");
    if (!reader->is_fixed)
        return;
    measure_check(io_uring_register_files(&reader->ring, &reader->fd, 1), "register_files");
    measure_check(io_uring_register_buffers(&reader->ring, &blocks, 1), "register_buffers");
}

static int64_t on_ring(long count, bool is_direct, bool is_fixed)
{
    struct reader reader = {.is_fixed = is_fixed};
    long left = count - FILE_DEPTH;
    int64_t start;
    int64_t taken;

    reader_open(&reader, is_direct);
    start = measure_now();
    for (unsigned i = 0; i < FILE_DEPTH; i++) {
        reader.seeds[i] = i + 1;
        submit(&reader, i);
    }
    while (left > -FILE_DEPTH) {
        measure_check(io_uring_submit_and_wait(&reader.ring, 1), "io_uring_submit_and_wait");
        left -= turn(&reader, left);
    }
    taken = measure_now() - start;
    io_uring_queue_exit(&reader.ring);
    file_close(reader.fd, reader.blocks);
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

        measure_check(pread(reading->fd, reading->block, FILE_BLOCK, offset) == FILE_BLOCK ? 0
                                                                                           : -EIO,
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
    return on_ring(count, false, false);
}

static int64_t raw_direct(long count)
{
    return on_ring(count, true, false);
}

static int64_t fixed_cached(long count)
{
    return on_ring(count, false, true);
}

static int64_t fixed_direct(long count)
{
    return on_ring(count, true, true);
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
        {"fixed_cached", fixed_cached},
        {"fixed_direct", fixed_direct},
        {"threads_cached", threads_cached},
        {"threads_direct", threads_direct},
        {0},
    };

    return measure_main(argc, argv, cases);
}

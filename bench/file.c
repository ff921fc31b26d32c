/* SPDX-License-Identifier: MIT */
/* Random reads of 4 KiB by 32 fibers: what a file read costs through coil.
 *
 * Each fiber reads one block after the other, so 32 reads are under way. `file_cached` reads a file
 * that is in the page cache, `file_direct` the same one around it (O_DIRECT). raw_file.c does the
 * same on a bare ring and by 32 threads, in the same order of blocks. An operation is one read.
 */
#include <fcntl.h>

#include <coil/coil.h>

#include "file_blocks.h"
#include "measure.h"

struct reading {
    int fd;
    long count; /* of this fiber */
    uint32_t seed;
    char *block;
};

static int read_blocks(void *arg)
{
    struct reading *reading = arg;

    for (long i = 0; i < reading->count; i++) {
        const uint64_t offset = file_next_offset(&reading->seed);

        measure_check(
            coil_file_read(reading->fd, reading->block, FILE_BLOCK, offset) == FILE_BLOCK ? 0 : -1,
            "coil_file_read");
    }
    return 0;
}

static int64_t run(long count, bool is_direct)
{
    struct reading readings[FILE_DEPTH];
    coil_fiber *fibers[FILE_DEPTH];
    char *blocks = file_blocks();
    const int fd = file_open(is_direct);
    int64_t start;
    int64_t taken;

    start = measure_now();
    for (uint32_t i = 0; i < FILE_DEPTH; i++) {
        readings[i] = (struct reading){fd, count / FILE_DEPTH, i + 1, blocks + i * FILE_BLOCK};
        measure_check(coil_spawn(read_blocks, &readings[i], &fibers[i]), "coil_spawn");
    }
    for (int i = 0; i < FILE_DEPTH; i++) {
        measure_check(coil_join(fibers[i], NULL), "coil_join");
        coil_fiber_unref(fibers[i]);
    }
    taken = measure_now() - start;
    file_close(fd, blocks);
    return taken;
}

static int64_t cached(long count)
{
    return run(count, false);
}

static int64_t direct(long count)
{
    return run(count, true);
}

int main(int argc, char **argv)
{
    static const struct measure_case cases[] = {
        {"file_cached", cached}, {"file_direct", direct}, {0}};

    return measure_main_in_fiber(argc, argv, cases);
}

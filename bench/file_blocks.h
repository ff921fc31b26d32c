/* SPDX-License-Identifier: MIT */
/* The file that file.c and raw_file.c read, and which of its blocks; and how such a file is made.
 *
 * It is FILE_MIB large, without a name, in TMPDIR or /tmp, and filled, so that a read moves bytes.
 */
#ifndef BENCH_FILE_BLOCKS_H
#define BENCH_FILE_BLOCKS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    FILE_MIB = 64,
    FILE_BLOCK = 4096,
    FILE_DEPTH = 32, /* reads under way */
};

/* The next of a sequence of random blocks, begun by any seed but 0. */
static inline uint64_t file_next_offset(uint32_t *seed)
{
    *seed ^= *seed << 13;
    *seed ^= *seed >> 17;
    *seed ^= *seed << 5;
    return (uint64_t)(*seed % (FILE_MIB * 256U)) * FILE_BLOCK;
}

/* Makes a file of `pieces` times `size` bytes, written in so many pieces: how large the parts are
 * that the kernel keeps a file in depends on it, and with that what a read costs. Returns its
 * descriptor, or ends the program. */
int file_make(unsigned pieces, size_t size);

/* Opens the file, in the page cache or with O_DIRECT. Ends the program on failure. */
int file_open(bool is_direct);

/* Memory for FILE_DEPTH blocks, aligned for O_DIRECT. */
char *file_blocks(void);

void file_close(int fd, char *blocks);

#endif

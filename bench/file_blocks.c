/* SPDX-License-Identifier: MIT */
/* Making the file (file_blocks.h). */
#include "file_blocks.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static _Noreturn void die(const char *what)
{
    (void)fprintf(stderr, "%s: %s\n", what, strerrordesc_np(errno));
    exit(EXIT_FAILURE);
}

int file_make(unsigned pieces, size_t size)
{
    const char *directory = getenv("TMPDIR");
    const int fd = open(directory ? directory : "/tmp", O_RDWR | O_TMPFILE | O_CLOEXEC, 0600);
    char *data = malloc(size);

    if (fd < 0 || !data)
        die("no file");
    memset(data, 'x', size);
    for (unsigned i = 0; i < pieces; i++) {
        if (write(fd, data, size) != (ssize_t)size)
            die("write");
    }
    free(data);
    return fd;
}

int file_open(bool is_direct)
{
    static int made = -1; /* by the first call, for all */
    char path[64];
    int fd;

    if (made < 0)
        made = file_make(FILE_MIB, 1024L * 1024);
    if (is_direct && fdatasync(made) < 0)
        die("fdatasync");
    (void)snprintf(path, sizeof path, "/proc/self/fd/%d", made);
    fd = open(path, O_RDONLY | O_CLOEXEC | (is_direct ? O_DIRECT : 0));
    if (fd < 0)
        die("open");
    return fd;
}

char *file_blocks(void)
{
    char *blocks = aligned_alloc(FILE_BLOCK, (size_t)FILE_DEPTH * FILE_BLOCK);

    if (!blocks)
        die("memory");
    memset(blocks, 0, (size_t)FILE_DEPTH * FILE_BLOCK);
    return blocks;
}

void file_close(int fd, char *blocks)
{
    (void)close(fd);
    free(blocks);
}

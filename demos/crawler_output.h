/* SPDX-License-Identifier: MIT */
/* Mirroring bodies into a directory.
 *
 * "http://host:80/a/b?c" becomes DIR/host:80/a/b?c, "/a/" becomes a/index.html. A body is written
 * under a temporary name and renamed when it is complete: what has its name is whole. "/a" becomes
 * a, or "a%" when a has to be a directory, whichever of its pages come first.
 */
#ifndef COIL_DEMOS_CRAWLER_OUTPUT_H
#define COIL_DEMOS_CRAWLER_OUTPUT_H

#include <stddef.h>
#include <stdint.h>

enum {
    PATH_ROOM = 4096, /* as the kernel's own limit */
};

struct output {
    const char *directory;
    unsigned long long counter; /* of temporary names */
};

struct sink {
    char path[PATH_ROOM];
    char part[PATH_ROOM];
    uint64_t offset;
    int fd;
};

/* Writes the path that the body of `url` (normal form) gets beneath `directory`. No path leaves the
 * directory, and no two URLs share one, but "/" and "/index.html". Returns the length or
 * -ENAMETOOLONG. */
int output_path(const char *directory, const char *url, char *ret_path, size_t size);

/* Makes the directory. Returns 0 or why not. */
int output_prepare(const struct output *output);

/* Begins the body of `url`. All of these park. Each returns 0 or an error; after a successful open,
 * exactly one of commit and abort follows. */
int sink_open(struct output *output, const char *url, struct sink *sink);
int sink_write(struct sink *sink, const void *data, size_t size);
int sink_commit(struct sink *sink);
void sink_abort(struct sink *sink);

#endif

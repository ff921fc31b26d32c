/* SPDX-License-Identifier: MIT */
/* A directory per test (tests/io/file_fixture.h). */
#include "io/file_fixture.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

char directory[64];

void make_directory(void)
{
    (void)snprintf(directory, sizeof directory, "/tmp/coil_file_XXXXXX");
    cr_assert_not_null(mkdtemp(directory));
}

void remove_directory(void)
{
    char command[96];

    (void)snprintf(command, sizeof command, "rm -rf %s", directory);
    cr_assert_eq(system(command), 0); /* NOLINT(cert-env33-c,concurrency-mt-unsafe) */
}

const char *at(const char *name)
{
    static char paths[2][384];
    static int next;
    char *path = paths[next ^= 1];

    (void)snprintf(path, sizeof paths[0], "%s/%s", directory, name);
    return path;
}

void write_file(const char *name, const char *text)
{
    const int fd = open(at(name), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);

    cr_assert_geq(fd, 0);
    cr_assert_eq(write(fd, text, strlen(text)), (ssize_t)strlen(text));
    (void)close(fd);
}

int create(const char *name)
{
    const int fd = coil_file_open(at(name), O_RDWR | O_CREAT, 0644);

    cr_assert_geq(fd, 0);
    return fd;
}

void expect_file(const char *name, const char *text)
{
    char found[256] = "";
    const int fd = open(at(name), O_RDONLY | O_CLOEXEC);

    cr_assert_geq(fd, 0, "%s", name);
    cr_assert_geq(read(fd, found, sizeof found - 1), 0);
    (void)close(fd);
    cr_assert_str_eq(found, text);
}

bool exists(const char *name)
{
    struct stat status;

    return lstat(at(name), &status) == 0;
}

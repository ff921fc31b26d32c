/* SPDX-License-Identifier: MIT */
/* coil/dir.h: every entry is seen once, also after interruptions, and what a thread still uses is
 * not taken from it.
 */
#include <dirent.h>
#include <fcntl.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/alloc.h"
#include "io/dir.h"
#include "io/file_fixture.h"

enum {
    MANY = 500, /* several batches of long names */
    NAME_LENGTH = 220,
};

/* ---- A getdents64(2) that waits until it may ---- */

static sem_t gate;
static atomic_int begun_count;
static atomic_int read_count;

static ssize_t read_when_allowed(int fd, void *batch, size_t size)
{
    atomic_fetch_add(&begun_count, 1);
    while (sem_wait(&gate) < 0)
        ;
    atomic_fetch_add(&read_count, 1);
    return getdents64(fd, batch, size);
}

static void close_gate(void)
{
    cr_assert_eq(sem_init(&gate, 0, 0), 0);
    coil__dir_read = read_when_allowed;
}

static void open_gate(void)
{
    for (int i = 0; i < 100; i++)
        cr_assert_eq(sem_post(&gate), 0);
}

static void prepare(void)
{
    make_directory();
    coil__dir_read = getdents64;
}

TestSuite(dir, .init = prepare, .fini = remove_directory);

/* ---- Helpers ---- */

static coil_dir *open_dir(const char *path)
{
    coil_dir *dir = NULL;

    cr_assert_eq(coil_dir_open(AT_FDCWD, path, &dir), 0);
    return dir;
}

static void make_many(void)
{
    char name[NAME_LENGTH + 1];

    for (int i = 0; i < MANY; i++) {
        (void)snprintf(name, sizeof name, "%0*d", NAME_LENGTH, i);
        write_file(name, "");
    }
}

/* Counts each of the files of make_many(). */
static void take_number(const coil_dir_entry *entry, unsigned char *seen)
{
    const long number = strtol(entry->name, NULL, 10);

    cr_assert(number >= 0 && number < MANY, "%s", entry->name);
    cr_assert_eq(seen[number], 0, "%s came twice", entry->name);
    seen[number] = 1;
}

static void expect_all(const unsigned char *seen)
{
    for (int i = 0; i < MANY; i++)
        cr_assert(seen[i], "%d is missing", i);
}

struct taking {
    coil_dir *dir;
    coil_dir_entry entry;
};

static int take_one(void *arg)
{
    struct taking *taking = arg;

    return coil_dir_next(taking->dir, &taking->entry);
}

/* Takes in a fiber that is cancelled when its call is in a thread. */
static void take_and_cancel(coil_dir *dir)
{
    struct taking taking = {.dir = dir};
    coil_fiber *fiber = spawn_until_parked(take_one, &taking);

    while (atomic_load(&begun_count) == 0)
        coil_yield();
    coil_cancel(fiber);
    cr_assert_eq(join_and_drop(fiber), -ECANCELED);
}

/* ---- Entries ---- */

FIBER_TEST(dir, every_entry_of_a_large_directory_comes_once)
{
    static unsigned char seen[MANY];
    coil_dir_entry entry;
    coil_dir *dir;
    int result;

    make_many();
    dir = open_dir(directory);
    while ((result = coil_dir_next(dir, &entry)) > 0)
        take_number(&entry, seen);

    cr_assert_eq(result, 0);
    expect_all(seen);
    cr_assert_eq(coil_dir_next(dir, &entry), 0, "the end stays the end");
    coil_dir_close(dir);
}

FIBER_TEST(dir, an_entry_tells_its_type_and_inode)
{
    coil_dir_entry entry;
    struct stat status;
    unsigned seen = 0;
    coil_dir *dir;

    write_file("file", "x");
    cr_assert_eq(mkdir(at("directory"), 0755), 0);
    cr_assert_eq(symlink("nowhere", at("link")), 0);
    cr_assert_eq(mkfifo(at("fifo"), 0600), 0);

    dir = open_dir(directory);
    while (coil_dir_next(dir, &entry) > 0) {
        seen++;
        cr_assert_eq(lstat(at(entry.name), &status), 0, "%s", entry.name);
        cr_assert(entry.type == (status.st_mode & (unsigned)S_IFMT) || entry.type == 0);
        cr_assert_eq(entry.inode, status.st_ino);
    }
    cr_assert_eq(seen, 4);
    coil_dir_close(dir);
}

FIBER_TEST(dir, an_empty_directory_has_no_entries_and_dots_in_names_are_names)
{
    coil_dir_entry entry = {.name = "untouched"};
    coil_dir *dir;

    cr_assert_eq(mkdir(at("empty"), 0755), 0);
    dir = open_dir(at("empty"));
    cr_assert_eq(coil_dir_next(dir, &entry), 0);
    cr_assert_str_eq(entry.name, "untouched");
    coil_dir_close(dir);

    write_file("empty/...", "");
    dir = open_dir(at("empty"));
    cr_assert_eq(coil_dir_next(dir, &entry), 1);
    cr_assert_str_eq(entry.name, "...");
    cr_assert_eq(coil_dir_next(dir, &entry), 0);
    coil_dir_close(dir);
    coil_dir_close(NULL);
}

FIBER_TEST(dir, entries_are_opened_through_the_directory)
{
    coil_dir_entry entry;
    coil_dir *outer;
    coil_dir *inner;
    char text[8] = "";
    int fd;

    cr_assert_eq(mkdir(at("sub"), 0755), 0);
    write_file("sub/leaf", "leaf");
    outer = open_dir(directory);
    cr_assert_eq(coil_dir_open(coil_dir_fd(outer), "sub", &inner), 0);
    cr_assert(fcntl(coil_dir_fd(inner), F_GETFD) & FD_CLOEXEC);
    cr_assert_eq(coil_dir_next(inner, &entry), 1);
    fd = coil_file_open_beneath(coil_dir_fd(inner), entry.name, O_RDONLY);
    cr_assert_eq(coil_file_read(fd, text, sizeof text, 0), 4);
    cr_assert_str_eq(text, "leaf");
    cr_assert_eq(coil_file_close(fd), 0);
    coil_dir_close(inner);
    coil_dir_close(outer);
}

/* ---- Errors ---- */

FIBER_TEST(dir, what_is_no_directory_is_not_opened)
{
    coil_dir *dir = NULL;

    write_file("file", "");

    cr_assert_eq(coil_dir_open(AT_FDCWD, at("missing"), &dir), -ENOENT);
    cr_assert_eq(coil_dir_open(AT_FDCWD, at("file"), &dir), -ENOTDIR);
    cr_assert_eq(coil_dir_open(-1, "file", &dir), -EBADF);
    cr_assert_null(dir);
}

FIBER_TEST(dir, a_removed_directory_is_an_error_or_the_end)
{
    coil_dir_entry entry;
    coil_dir *dir;
    int result;

    cr_assert_eq(mkdir(at("gone"), 0755), 0);
    dir = open_dir(at("gone"));
    cr_assert_eq(rmdir(at("gone")), 0);

    result = coil_dir_next(dir, &entry);
    cr_assert(result == -ENOENT || result == 0, "%d", result);
    coil_dir_close(dir);
}

static ssize_t fail_to_read(int fd, void *batch, size_t size)
{
    (void)fd;
    (void)batch;
    (void)size;
    errno = EIO;
    return -1;
}

FIBER_TEST(dir, an_error_of_the_disk_is_told_and_is_not_the_end)
{
    coil_dir_entry entry;
    coil_dir *dir;

    write_file("file", "");
    dir = open_dir(directory);
    coil__dir_read = fail_to_read;
    cr_assert_eq(coil_dir_next(dir, &entry), -EIO);
    cr_assert_eq(coil_dir_next(dir, &entry), -EIO);
    coil__dir_read = getdents64;
    cr_assert_eq(coil_dir_next(dir, &entry), 1);
    cr_assert_eq(coil_dir_next(dir, &entry), 0);
    coil_dir_close(dir);
}

FIBER_TEST(dir, without_memory_nothing_is_opened_and_no_entry_lost)
{
    coil_dir_entry entry;
    coil_dir *dir = NULL;
    int64_t after = 0;
    int result;

    write_file("file", "");
    do {
        coil__alloc_fail_after(after++);
        result = coil_dir_open(AT_FDCWD, directory, &dir);
        coil__alloc_fail_after(-1);
        cr_assert(result == 0 || result == -ENOMEM, "%d", result);
    } while (result < 0);
    cr_assert_eq(after, 3);

    after = 0;
    do {
        coil__alloc_fail_after(after++);
        result = coil_dir_next(dir, &entry);
        coil__alloc_fail_after(-1);
        cr_assert(result == 1 || result == -ENOMEM, "%d", result);
    } while (result < 0);
    cr_assert_gt(after, 2);
    cr_assert_str_eq(entry.name, "file");
    coil_dir_close(dir);
}

FIBER_TEST(dir, without_descriptors_nothing_is_opened)
{
    struct rlimit limit;
    struct rlimit none;
    coil_dir *dir = NULL;

    cr_assert_eq(getrlimit(RLIMIT_NOFILE, &limit), 0);
    none = limit;
    none.rlim_cur = 0;
    cr_assert_eq(setrlimit(RLIMIT_NOFILE, &none), 0);
    cr_assert_eq(coil_dir_open(AT_FDCWD, directory, &dir), -EMFILE);
    cr_assert_eq(setrlimit(RLIMIT_NOFILE, &limit), 0);
}

/* ---- Waiting and interruptions ---- */

FIBER_TEST(dir, a_slow_directory_parks_only_the_fiber_that_reads_it)
{
    struct taking taking;
    coil_fiber *fiber;

    write_file("file", "");
    taking.dir = open_dir(directory);
    close_gate();
    fiber = spawn_until_parked(take_one, &taking);
    cr_assert_eq(coil_dir_next(taking.dir, &taking.entry), -EBUSY);
    open_gate();

    cr_assert_eq(join_and_drop(fiber), 1);
    cr_assert_str_eq(taking.entry.name, "file");
    coil_dir_close(taking.dir);
}

FIBER_TEST(dir, an_interrupted_call_loses_no_entry_that_its_thread_reads_later)
{
    static unsigned char seen[MANY];
    coil_dir_entry entry;
    coil_dir *dir;

    make_many();
    dir = open_dir(directory);
    close_gate();
    take_and_cancel(dir);
    take_and_cancel(dir);
    take_and_cancel(dir);
    open_gate();

    while (coil_dir_next(dir, &entry) > 0)
        take_number(&entry, seen);
    expect_all(seen);
    coil_dir_close(dir);
}

/* The calls that were abandoned come late, when the fiber looks at the batch they were to read. */
FIBER_TEST(dir, an_abandoned_call_never_reads_into_a_batch_that_is_looked_at)
{
    coil_dir_entry entry;
    char name[NAME_LENGTH + 1];
    coil_dir *dir;
    int batches;

    make_many();
    dir = open_dir(directory);
    close_gate();
    for (int i = 0; i < 8; i++)
        take_and_cancel(dir);
    open_gate();
    cr_assert_eq(coil_dir_next(dir, &entry), 1);
    (void)snprintf(name, sizeof name, "%s", entry.name);
    batches = atomic_load(&read_count);
    for (int i = 0; i < 100; i++)
        (void)coil_sleep(COIL_US(100));

    cr_assert_eq(batches, 1);
    cr_assert_eq(atomic_load(&read_count), 1, "somebody has read on");
    cr_assert_str_eq(entry.name, name);
    coil_dir_close(dir);
}

FIBER_TEST(dir, a_directory_closed_under_its_abandoned_call_stays_open_until_that_has_ended)
{
    coil_dir *dir = open_dir(directory);
    const int fd = coil_dir_fd(dir);

    close_gate();
    take_and_cancel(dir);
    coil_dir_close(dir);
    cr_assert_neq(fcntl(fd, F_GETFD), -1, "the thread reads from it");

    open_gate();
    while (fcntl(fd, F_GETFD) != -1)
        coil_yield();
}

FIBER_TEST(dir, a_call_that_waits_for_a_thread_is_withdrawn)
{
    struct taking taking;
    coil_dir_entry entry;
    coil_fiber *fiber;
    coil_dir *dir;

    write_file("file", "");
    cr_assert_eq(setenv("COIL_THREADS", "1", 1), 0); /* NOLINT(concurrency-mt-unsafe) */
    dir = open_dir(directory);
    taking.dir = open_dir(directory);
    close_gate();
    fiber = spawn_until_parked(take_one, &taking);
    take_and_cancel(dir);
    coil_dir_close(dir);
    open_gate();

    cr_assert_eq(join_and_drop(fiber), 1);
    cr_assert_eq(coil_dir_next(taking.dir, &entry), 0);
    coil_dir_close(taking.dir);
}

FIBER_TEST(dir, an_expired_scope_takes_no_entry_and_closes_all_the_same)
{
    coil_dir_entry entry;
    coil_scope scope;
    coil_dir *other = NULL;
    coil_dir *dir;

    write_file("a", "");
    write_file("b", "");
    dir = open_dir(directory);
    cr_assert_eq(coil_dir_next(dir, &entry), 1);
    coil_scope_enter(&scope, 0);
    cr_assert_eq(coil_dir_open(AT_FDCWD, directory, &other), -ETIMEDOUT);
    cr_assert_eq(coil_dir_next(dir, &entry), -ETIMEDOUT);
    cr_assert(coil_scope_leave(&scope));
    cr_assert_eq(coil_dir_next(dir, &entry), 1);
    cr_assert_eq(coil_dir_next(dir, &entry), 0);

    coil_scope_enter(&scope, 0);
    coil_dir_close(dir);
    (void)coil_scope_leave(&scope);
}

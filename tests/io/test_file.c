/* SPDX-License-Identifier: MIT */
/* coil/file.h: bytes land where they were sent, nothing escapes a directory, no descriptor is lost.
 *
 * What is done to names, whole files and directories is in the tests beside this one.
 */
#include <fcntl.h>
#include <pty.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <termios.h>
#include <unistd.h>

#include "io/file_fixture.h"

TestSuite(file, .init = make_directory, .fini = remove_directory);

/* The poll engine opens in a plain system call, which a FIFO would block for ever. */
static void skip_unless_opening_parks(void)
{
    const char *engine = getenv("COIL_TEST_ENGINE"); /* NOLINT(concurrency-mt-unsafe) */

    if (engine && strcmp(engine, "poll") == 0) {
        remove_directory();
        cr_skip_test("the engine opens at once");
    }
}

/* ---- Bytes and offsets ---- */

FIBER_TEST(file, what_is_written_at_an_offset_is_read_back_from_there)
{
    const int fd = create("a");
    char text[16] = "";

    cr_assert_eq(coil_file_write(fd, "hello", 5, 3), 5);

    cr_assert_eq(coil_file_read(fd, text, sizeof text, 0), 8, "a read ends at the end of the file");
    cr_assert_arr_eq(text, "\0\0\0hello", 8);
    cr_assert_eq(coil_file_read(fd, text, 2, 4), 2);
    cr_assert_arr_eq(text, "el", 2);
    cr_assert_eq(coil_file_read(fd, text, sizeof text, 8), 0, "the end of the file");
    cr_assert_eq(coil_file_read(fd, text, sizeof text, 1 << 20), 0);
    cr_assert_eq(coil_file_close(fd), 0);
}

FIBER_TEST(file, offsets_leave_the_position_alone_and_the_position_moves_on)
{
    const int fd = create("a");
    char text[8] = "";

    cr_assert_eq(coil_file_write(fd, "ab", 2, COIL_FILE_POSITION), 2);
    cr_assert_eq(coil_file_write(fd, "zzzz", 4, 4), 4);
    cr_assert_eq(coil_file_write(fd, "cd", 2, COIL_FILE_POSITION), 2);

    cr_assert_eq(coil_file_read(fd, text, 4, 0), 4);
    cr_assert_str_eq(text, "abcd");
    cr_assert_eq(lseek(fd, 0, SEEK_CUR), 4);
    cr_assert_eq(coil_file_close(fd), 0);
}

FIBER_TEST(file, an_offset_no_file_can_have_is_refused)
{
    const int fd = create("a");
    char byte = 0;

    cr_assert_eq(coil_file_read(fd, &byte, 1, UINT64_MAX - 1), -EINVAL);
    cr_assert_eq(coil_file_write(fd, &byte, 1, (uint64_t)INT64_MAX + 1), -EINVAL);
    cr_assert_eq(coil_file_close(fd), 0);
}

enum {
    PARTS = 8,
    PART_SIZE = 64 * 1024,
};

struct part {
    int fd;
    unsigned char index;
    char data[PART_SIZE];
};

static int write_and_check_part(void *arg)
{
    struct part *part = arg;
    const uint64_t offset = (uint64_t)part->index * PART_SIZE;

    memset(part->data, 'a' + part->index, PART_SIZE);
    cr_assert_eq(coil_file_write(part->fd, part->data, PART_SIZE, offset), PART_SIZE);
    memset(part->data, 0, PART_SIZE);
    cr_assert_eq(coil_file_read(part->fd, part->data, PART_SIZE, offset), PART_SIZE);
    for (size_t i = 0; i < PART_SIZE; i++)
        cr_assert_eq(part->data[i], 'a' + part->index);
    return 0;
}

FIBER_TEST(file, fibers_share_a_descriptor)
{
    static struct part parts[PARTS];
    coil_fiber *fibers[PARTS];
    const int fd = create("a");

    for (int i = 0; i < PARTS; i++) {
        parts[i].fd = fd;
        parts[i].index = (unsigned char)i;
        fibers[i] = spawn_until_parked(write_and_check_part, &parts[i]);
    }
    for (int i = 0; i < PARTS; i++)
        cr_assert_eq(join_and_drop(fibers[i]), 0);

    cr_assert_eq(lseek(fd, 0, SEEK_END), PARTS * PART_SIZE);
    cr_assert_eq(coil_file_close(fd), 0);
}

FIBER_TEST(file, a_descriptor_may_be_read_or_written_only_as_it_was_opened)
{
    char byte = 'x';
    int fd = coil_file_open(at("a"), O_WRONLY | O_CREAT, 0644);

    cr_assert_geq(fd, 0);
    cr_assert_eq(coil_file_read(fd, &byte, 1, 0), -EBADF);
    cr_assert_eq(coil_file_close(fd), 0);

    fd = coil_file_open(at("a"), O_RDONLY, 0);
    cr_assert_geq(fd, 0);
    cr_assert_eq(coil_file_write(fd, &byte, 1, 0), -EBADF);
    cr_assert_eq(coil_file_close(fd), 0);

    fd = coil_file_open(directory, O_RDONLY | O_DIRECTORY, 0);
    cr_assert_geq(fd, 0);
    cr_assert_eq(coil_file_read(fd, &byte, 1, 0), -EISDIR);
    cr_assert_eq(coil_file_close(fd), 0);
}

FIBER_TEST(file, a_full_device_is_an_error)
{
    const int fd = coil_file_open("/dev/full", O_WRONLY, 0);

    cr_assert_geq(fd, 0);
    cr_assert_eq(coil_file_write(fd, "x", 1, 0), -ENOSPC);
    cr_assert_eq(coil_file_close(fd), 0);
}

/* ---- Opening ---- */

FIBER_TEST(file, a_missing_file_is_not_opened_and_one_that_exists_not_created_anew)
{
    int fd;

    cr_assert_eq(coil_file_open(at("missing"), O_RDONLY, 0), -ENOENT);
    cr_assert_eq(coil_file_open(at("missing/a"), O_RDWR | O_CREAT, 0644), -ENOENT);

    fd = create("a");
    cr_assert_eq(coil_file_open(at("a"), O_RDWR | O_CREAT | O_EXCL, 0644), -EEXIST);
    cr_assert_eq(coil_file_open(at("a/b"), O_RDONLY, 0), -ENOTDIR);
    cr_assert_eq(coil_file_close(fd), 0);
}

FIBER_TEST(file, a_new_file_has_its_mode_and_is_not_inherited)
{
    struct stat status;
    int fd;

    (void)umask(027);
    fd = coil_file_open(at("a"), O_RDWR | O_CREAT, 0666);

    cr_assert_geq(fd, 0);
    cr_assert_eq(fstat(fd, &status), 0);
    cr_assert_eq(status.st_mode & 07777, 0640);
    cr_assert(fcntl(fd, F_GETFD) & FD_CLOEXEC);
    cr_assert_eq(coil_file_close(fd), 0);
}

FIBER_TEST(file, permissions_are_those_of_the_calling_user)
{
    write_file("secret", "x");
    cr_assert_eq(chmod(at("secret"), 0), 0);
    cr_assert_eq(chmod(directory, 0755), 0);
    if (geteuid() == 0)
        cr_assert_eq(seteuid(65534), 0);

    cr_assert_eq(coil_file_open(at("secret"), O_RDONLY, 0), -EACCES);

    if (getuid() == 0)
        cr_assert_eq(seteuid(0), 0);
}

FIBER_TEST(file, no_descriptor_left_is_an_error)
{
    struct rlimit limit;
    struct rlimit none;

    write_file("a", "x");
    cr_assert_eq(getrlimit(RLIMIT_NOFILE, &limit), 0);
    none = (struct rlimit){.rlim_cur = 3, .rlim_max = limit.rlim_max};
    cr_assert_eq(setrlimit(RLIMIT_NOFILE, &none), 0);

    cr_assert_eq(coil_file_open(at("a"), O_RDONLY, 0), -EMFILE);

    cr_assert_eq(setrlimit(RLIMIT_NOFILE, &limit), 0);
}

/* ---- Staying beneath a directory ---- */

struct beneath_row {
    const char *path;
    int expected; /* 0: opens */
};

/* root/ holds "file", "sub/deep" and links; "outside" lies next to root. */
static int make_tree(void)
{
    int fd;

    write_file("outside", "secret");
    cr_assert_eq(mkdir(at("root"), 0755), 0);
    cr_assert_eq(mkdir(at("root/sub"), 0755), 0);
    write_file("root/file", "public");
    write_file("root/sub/deep", "public");
    cr_assert_eq(symlink("sub/deep", at("root/link")), 0);
    cr_assert_eq(symlink("../file", at("root/sub/up")), 0);
    cr_assert_eq(symlink("../outside", at("root/out")), 0);
    cr_assert_eq(symlink("..", at("root/parent")), 0);
    cr_assert_eq(symlink("/etc/passwd", at("root/absolute")), 0);
    cr_assert_eq(symlink(at("root/file"), at("root/detour")), 0);
    fd = coil_file_open(at("root"), O_RDONLY | O_DIRECTORY, 0);
    cr_assert_geq(fd, 0);
    return fd;
}

FIBER_TEST(file, nothing_beneath_a_directory_leads_out_of_it)
{
    static const struct beneath_row rows[] = {
        {"file", 0},
        {"sub/deep", 0},
        {"./sub/./deep", 0},
        {"sub/../file", 0},
        {"link", 0},
        {"sub/up", 0},
        {".", 0},
        {"missing", -ENOENT},
        {"", -ENOENT},
        {"..", -EXDEV},
        {"../outside", -EXDEV},
        {"../root/file", -EXDEV},
        {"sub/../../outside", -EXDEV},
        {"/etc/passwd", -EXDEV},
        {"//file", -EXDEV},
        {"out", -EXDEV},
        {"parent/outside", -EXDEV},
        {"absolute", -EXDEV},
        {"detour", -EXDEV},
        {"file/..", -ENOTDIR},
    };
    const int root = make_tree();

    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        const int fd = coil_file_open_beneath(root, rows[i].path, O_RDONLY);

        cr_expect_eq(fd < 0 ? fd : 0, rows[i].expected, "'%s' gave %d", rows[i].path, fd);
        if (fd >= 0) {
            cr_expect(fcntl(fd, F_GETFD) & FD_CLOEXEC);
            cr_assert_eq(coil_file_close(fd), 0);
        }
    }
    cr_assert_eq(coil_file_close(root), 0);
}

FIBER_TEST(file, magic_links_are_not_followed)
{
    const int root = coil_file_open("/proc/self", O_RDONLY | O_DIRECTORY, 0);

    cr_assert_geq(root, 0);
    cr_assert_eq(coil_file_open_beneath(root, "exe", O_RDONLY), -ELOOP);
    cr_assert_eq(coil_file_open_beneath(root, "root/etc/passwd", O_RDONLY), -ELOOP);
    cr_assert_eq(coil_file_close(root), 0);
}

FIBER_TEST(file, beneath_opens_what_exists_and_creates_nothing)
{
    const int root = make_tree();
    int fd;

    cr_assert_eq(coil_file_open_beneath(root, "new", O_WRONLY | O_CREAT), -EINVAL);
    cr_assert_eq(coil_file_open_beneath(root, ".", O_WRONLY | O_TMPFILE), -EINVAL);
    cr_assert_eq(access(at("root/new"), F_OK), -1);
    cr_assert_eq(coil_file_open_beneath(-1, "file", O_RDONLY), -EBADF);
    fd = coil_file_open_beneath(root, "file", O_RDONLY);
    cr_assert_geq(fd, 0);
    cr_assert_eq(coil_file_open_beneath(fd, "file", O_RDONLY), -ENOTDIR);
    cr_assert_eq(coil_file_close(fd), 0);
    fd = coil_file_open_beneath(root, "sub", O_RDONLY | O_DIRECTORY);
    cr_assert_geq(fd, 0, "O_DIRECTORY shares a bit with O_TMPFILE");
    cr_assert_eq(coil_file_close(fd), 0);
    cr_assert_eq(coil_file_close(root), 0);
}

/* ---- What is known of a file ---- */

FIBER_TEST(file, stat_tells_size_time_kind_and_identity)
{
    const struct timespec times[2] = {{.tv_sec = 5}, {.tv_sec = 1234567890, .tv_nsec = 123456789}};
    coil_file_info info;
    struct stat status;
    const int fd = create("a");

    cr_assert_eq(ftruncate(fd, 5000000000), 0);
    cr_assert_eq(fchmod(fd, 0604), 0);
    cr_assert_eq(futimens(fd, times), 0);
    cr_assert_eq(fstat(fd, &status), 0);

    cr_assert_eq(coil_file_stat(fd, &info), 0);

    cr_assert_eq(info.size, 5000000000);
    cr_assert_eq(info.modified_ns, 1234567890123456789);
    cr_assert_eq(info.mode, S_IFREG | 0604U);
    cr_assert(info.is_regular);
    cr_assert_not(info.is_directory);
    cr_assert_eq(info.inode, status.st_ino);
    cr_assert_eq(info.device, status.st_dev);
    cr_assert_eq(coil_file_close(fd), 0);
}

FIBER_TEST(file, stat_tells_directories_and_pipes_from_files)
{
    coil_file_info info;
    int fds[2];
    const int fd = coil_file_open(directory, O_RDONLY, 0);

    cr_assert_geq(fd, 0);
    cr_assert_eq(coil_file_stat(fd, &info), 0);
    cr_assert(info.is_directory);
    cr_assert_not(info.is_regular);
    cr_assert_eq(coil_file_close(fd), 0);

    cr_assert_eq(pipe2(fds, O_CLOEXEC), 0);
    cr_assert_eq(coil_file_stat(fds[0], &info), 0);
    cr_assert_not(info.is_directory);
    cr_assert_not(info.is_regular);
    cr_assert_eq(coil_file_close(fds[0]), 0);
    cr_assert_eq(coil_file_close(fds[1]), 0);
}

FIBER_TEST(file, stat_of_no_descriptor_fails_and_stores_nothing)
{
    coil_file_info info = {.size = 77};

    cr_assert_eq(coil_file_stat(-1, &info), -EBADF);
    cr_assert_eq(info.size, 77);
}

FIBER_TEST(file, a_time_before_1970_or_beyond_the_type_is_told)
{
    const struct timespec early[2] = {{.tv_sec = 0}, {.tv_sec = -2, .tv_nsec = 500000000}};
    const struct timespec late[2] = {{.tv_sec = 0}, {.tv_sec = 12345678901}};
    coil_file_info info;
    struct stat status;
    const int fd = create("a");

    cr_assert_eq(futimens(fd, early), 0);
    cr_assert_eq(coil_file_stat(fd, &info), 0);
    cr_assert_eq(info.modified_ns, -1500000000);

    cr_assert_eq(futimens(fd, late), 0);
    cr_assert_eq(fstat(fd, &status), 0);
    cr_assert_eq(coil_file_stat(fd, &info), 0);
    if (status.st_mtim.tv_sec == 12345678901) /* else the file system has cut it */
        cr_assert_eq(info.modified_ns, INT64_MAX);
    cr_assert_eq(coil_file_close(fd), 0);
}

/* ---- Closing ---- */

FIBER_TEST(file, close_tells_a_wrong_descriptor_and_minus_one_is_harmless)
{
    const int fd = create("a");

    cr_assert_eq(coil_file_close(fd), 0);
    cr_assert_eq(coil_file_close(fd), -EBADF);
    cr_assert_eq(coil_file_close(-1), 0);
    cr_assert_eq(coil_file_close(-2), -EBADF);
}

FIBER_TEST(file, an_expired_scope_opens_nothing_and_closes_all_the_same)
{
    const int fd = create("a");
    coil_file_info info;
    coil_scope scope;
    char byte = 0;

    coil_scope_enter(&scope, 0);
    cr_assert_eq(coil_file_open(at("new"), O_RDWR | O_CREAT, 0644), -ETIMEDOUT);
    cr_assert_eq(coil_file_open_beneath(AT_FDCWD, "etc", O_RDONLY), -ETIMEDOUT);
    cr_assert_eq(coil_file_read(fd, &byte, 1, 0), -ETIMEDOUT);
    cr_assert_eq(coil_file_write(fd, &byte, 1, 0), -ETIMEDOUT);
    cr_assert_eq(coil_file_stat(fd, &info), -ETIMEDOUT);
    cr_assert_eq(coil_file_close(fd), 0);
    cr_assert(coil_scope_leave(&scope));

    cr_assert_eq(access(at("new"), F_OK), -1);
    cr_assert_eq(fcntl(fd, F_GETFD), -1, "closed");
}

/* ---- Interruptions ---- */

struct pipe_read {
    int fd;
    char text[8];
};

static int read_pipe(void *arg)
{
    struct pipe_read *pipe_read = arg;

    return (int)coil_file_read(pipe_read->fd, pipe_read->text, sizeof pipe_read->text,
                               COIL_FILE_POSITION);
}

FIBER_TEST(file, an_empty_pipe_parks_only_the_fiber_that_reads_it)
{
    struct pipe_read pipe_read = {.fd = -1};
    coil_fiber *reader;
    int fds[2];

    cr_assert_eq(pipe2(fds, O_CLOEXEC), 0);
    pipe_read.fd = fds[0];
    reader = spawn_until_parked(read_pipe, &pipe_read);
    cr_assert_eq(coil_file_write(fds[1], "hello", 5, COIL_FILE_POSITION), 5);

    cr_assert_eq(join_and_drop(reader), 5);
    cr_assert_arr_eq(pipe_read.text, "hello", 5);
    cr_assert_eq(coil_file_close(fds[1]), 0);
    cr_assert_eq(read_pipe(&pipe_read), 0, "the end");
    cr_assert_eq(coil_file_close(fds[0]), 0);
}

FIBER_TEST(file, an_interrupted_read_takes_no_bytes)
{
    struct pipe_read pipe_read = {.fd = -1};
    coil_fiber *reader;
    coil_scope scope;
    int fds[2];

    cr_assert_eq(pipe2(fds, O_CLOEXEC), 0);
    pipe_read.fd = fds[0];
    coil_scope_enter(&scope, COIL_MS(1));
    cr_assert_eq(read_pipe(&pipe_read), -ETIMEDOUT);
    cr_assert(coil_scope_leave(&scope));
    reader = spawn_until_parked(read_pipe, &pipe_read);
    coil_cancel(reader);
    cr_assert_eq(join_and_drop(reader), -ECANCELED);

    cr_assert_eq(write(fds[1], "late", 4), 4);
    cr_assert_eq(read_pipe(&pipe_read), 4);
    cr_assert_eq(coil_file_close(fds[0]), 0);
    cr_assert_eq(coil_file_close(fds[1]), 0);
}

/* O_CREAT, because the kernel tries other opens first as if they had O_NONBLOCK, which for a FIFO
 * succeeds at once. */
static int open_fifo(void *arg)
{
    (void)arg;
    return coil_file_open(at("fifo"), O_RDONLY | O_CREAT, 0600);
}

FIBER_TEST(file, a_cancelled_open_gives_up)
{
    coil_fiber *opener;
    int result;

    skip_unless_opening_parks();
    cr_assert_eq(mkfifo(at("fifo"), 0600), 0);
    opener = spawn_until_parked(open_fifo, NULL);
    for (int i = 0; i < 100; i++)
        (void)coil_sleep(COIL_MS(1));
    coil_cancel(opener);

    result = join_and_drop(opener);
    cr_assert_eq(result, -ECANCELED, "%d", result);
}

/* Whichever wins, the descriptor belongs to somebody: the count at the test's end tells. */
FIBER_TEST(file, an_open_that_races_with_a_cancel_loses_no_descriptor)
{
    int opened_count = 0;

    skip_unless_opening_parks();
    cr_assert_eq(mkfifo(at("fifo"), 0600), 0);
    for (int i = 0; i < 100; i++) {
        coil_fiber *opener = spawn_until_parked(open_fifo, NULL);
        int writer;
        int fd;

        while ((writer = open(at("fifo"), O_WRONLY | O_NONBLOCK | O_CLOEXEC)) < 0)
            coil_yield();
        if (i % 2)
            coil_yield();
        coil_cancel(opener);
        fd = join_and_drop(opener);
        cr_assert(fd >= 0 || fd == -ECANCELED, "%d", fd);
        if (fd >= 0) {
            opened_count++;
            cr_assert_eq(coil_file_close(fd), 0);
        }
        (void)close(writer);
    }
    cr_assert_gt(opened_count, 0, "no open won: the race was not tried");
}

static atomic_int signal_count;

static void count_signal(int number)
{
    (void)number;
    atomic_fetch_add(&signal_count, 1);
}

FIBER_TEST(file, a_pipe_without_a_reader_is_an_error_and_no_signal)
{
    struct sigaction action = {.sa_handler = count_signal};
    struct sigaction previous;
    char data[] = "x";
    const struct iovec piece = {data, 1};
    int fds[2];

    cr_assert_eq(pipe2(fds, O_CLOEXEC), 0);
    cr_assert_eq(close(fds[0]), 0);
    cr_assert_eq(sigaction(SIGPIPE, &action, &previous), 0);

    cr_assert_eq(coil_file_write(fds[1], data, 1, COIL_FILE_POSITION), -EPIPE);
    cr_assert_eq(coil_file_writev(fds[1], &piece, 1, COIL_FILE_POSITION), -EPIPE);

    cr_assert_eq(signal_count, 0);
    cr_assert_eq(sigaction(SIGPIPE, &previous, NULL), 0);
    cr_assert_eq(coil_file_close(fds[1]), 0);
}

enum {
    LONG_TEXT = 64 * 1024,
};

static int write_long_text(void *arg)
{
    static const char text[LONG_TEXT] = "";
    const int *fd = arg;

    return coil_file_write_all(*fd, text, sizeof text, COIL_FILE_POSITION, NULL);
}

FIBER_TEST(file, a_terminal_that_nobody_looks_at_stops_only_its_writer)
{
    struct termios mode;
    char block[1024];
    coil_fiber *fiber;
    int watcher;
    int fd;

    skip_unless_opening_parks();
    cr_assert_eq(openpty(&watcher, &fd, NULL, NULL, NULL), 0);
    cr_assert_eq(tcgetattr(fd, &mode), 0);
    cfmakeraw(&mode);
    cr_assert_eq(tcsetattr(fd, TCSANOW, &mode), 0);
    cr_assert_eq(fcntl(watcher, F_SETFL, O_NONBLOCK), 0);

    fiber = spawn_until_parked(write_long_text, &fd);
    for (int i = 0; i < 100; i++)
        coil_yield();
    cr_assert_not_null(fiber->tcb);
    while (fiber->tcb) {
        (void)!read(watcher, block, sizeof block);
        coil_yield();
    }

    cr_assert_eq(join_and_drop(fiber), 0);
    cr_assert_eq(close(fd) + close(watcher), 0);
}

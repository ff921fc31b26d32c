/* SPDX-License-Identifier: MIT */
/* coil/file.h, beyond single reads and writes: pieces, whole amounts, length, room, syncing. */
#include <fcntl.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/alloc.h"
#include "io/file_fixture.h"

TestSuite(file_whole, .init = make_directory, .fini = remove_directory);

enum {
    BIG = 300000, /* several times what a pipe takes */
};

/* ---- Pieces ---- */

FIBER_TEST(file_whole, pieces_are_written_and_read_in_their_order)
{
    const int fd = create("a");
    char first[4] = "";
    char second[8] = "";
    char text[] = "abcdef";
    const struct iovec out[3] = {{text, 2}, {NULL, 0}, {text + 2, 4}};
    const struct iovec in[2] = {{first, 3}, {second, sizeof second}};

    cr_assert_eq(coil_file_writev(fd, out, 3, 1), 6);
    cr_assert_eq(coil_file_readv(fd, in, 2, 1), 6);

    cr_assert_str_eq(first, "abc");
    cr_assert_str_eq(second, "def");
    cr_assert_eq(lseek(fd, 0, SEEK_CUR), 0);
    cr_assert_eq(coil_file_writev(fd, out, 1, COIL_FILE_POSITION), 2);
    cr_assert_eq(coil_file_readv(fd, in, 1, COIL_FILE_POSITION), 3);
    cr_assert_str_eq(first, "bcd");
    cr_assert_eq(coil_file_readv(fd, in, -1, 0), -EINVAL);
    cr_assert_eq(coil_file_writev(fd, out, -1, 0), -EINVAL);
    cr_assert_eq(coil_file_readv(fd, in, 5000, 0), -EINVAL);
    cr_assert_eq(coil_file_close(fd), 0);
}

/* ---- Whole amounts ---- */

struct transfer {
    int fd;
    size_t size;
    size_t done;
    ssize_t result;
    char data[BIG];
};

/* Too big for a literal on a fiber's stack. */
static void transfer_init(struct transfer *transfer, int fd)
{
    memset(transfer, 0, sizeof *transfer);
    transfer->fd = fd;
    transfer->size = BIG;
}

static int write_all(void *arg)
{
    struct transfer *transfer = arg;

    transfer->result = coil_file_write_all(transfer->fd, transfer->data, transfer->size,
                                           COIL_FILE_POSITION, &transfer->done);
    return 0;
}

static int read_full(void *arg)
{
    struct transfer *transfer = arg;

    transfer->result = coil_file_read_full(transfer->fd, transfer->data, transfer->size,
                                           COIL_FILE_POSITION, &transfer->done);
    return 0;
}

FIBER_TEST(file_whole, short_transfers_are_continued)
{
    static struct transfer out;
    static struct transfer in;
    coil_fiber *writer;
    int fds[2];

    cr_assert_eq(pipe2(fds, O_CLOEXEC), 0);
    transfer_init(&out, fds[1]);
    transfer_init(&in, fds[0]);
    for (size_t i = 0; i < BIG; i++)
        out.data[i] = (char)(i * 7 + i / 251);

    writer = spawn_until_parked(write_all, &out);
    (void)read_full(&in);
    cr_assert_eq(join_and_drop(writer), 0);

    cr_assert_eq(out.result, 0);
    cr_assert_eq(in.result, BIG);
    cr_assert_eq(memcmp(in.data, out.data, BIG), 0);
    cr_assert_eq(coil_file_close(fds[0]), 0);
    cr_assert_eq(coil_file_close(fds[1]), 0);
}

FIBER_TEST(file_whole, offsets_move_on_with_the_bytes_and_the_end_is_a_short_count)
{
    const int fd = create("a");
    char text[16] = "";
    size_t done = 77;

    cr_assert_eq(coil_file_write_all(fd, "0123456789", 10, 5, &done), 0);
    cr_assert_eq(coil_file_read_full(fd, text, 4, 8, &done), 4);
    cr_assert_str_eq(text, "3456");
    cr_assert_eq(coil_file_read_full(fd, text, sizeof text, 12, &done), 3);
    cr_assert_arr_eq(text, "789", 3);
    cr_assert_eq(coil_file_read_full(fd, text, sizeof text, 15, &done), 0);
    cr_assert_eq(coil_file_read_full(fd, text, 0, 0, &done), 0);
    cr_assert_eq(coil_file_write_all(fd, "", 0, 0, &done), 0);
    cr_assert_eq(done, 77, "told on errors only");
    cr_assert_eq(lseek(fd, 0, SEEK_CUR), 0);
    cr_assert_eq(coil_file_close(fd), 0);
}

FIBER_TEST(file_whole, an_interruption_tells_how_much_was_moved)
{
    static struct transfer out;
    static struct transfer in;
    coil_fiber *fiber;
    int fds[2];

    cr_assert_eq(pipe2(fds, O_CLOEXEC), 0);
    transfer_init(&out, fds[1]);
    transfer_init(&in, fds[0]);

    cr_assert_eq(write(fds[1], "abc", 3), 3);
    fiber = spawn_until_parked(read_full, &in);
    while (in.data[2] == 0)
        coil_yield();
    until_parked(fiber);
    coil_cancel(fiber);
    cr_assert_eq(join_and_drop(fiber), 0);
    cr_assert_eq(in.result, -ECANCELED);
    cr_assert_eq(in.done, 3);

    fiber = spawn_until_parked(write_all, &out);
    for (int i = 0; i < 100; i++)
        coil_yield();
    coil_cancel(fiber);
    cr_assert_eq(join_and_drop(fiber), 0);
    cr_assert_eq(out.result, -ECANCELED);
    cr_assert_eq(coil_file_close(fds[1]), 0);
    in.size = sizeof in.data;
    (void)read_full(&in);
    cr_assert_eq(in.result, (ssize_t)out.done, "what it tells is what the pipe holds");
    cr_assert_eq(coil_file_close(fds[0]), 0);
}

FIBER_TEST(file_whole, a_full_device_ends_a_write_of_all)
{
    const int fd = coil_file_open("/dev/full", O_WRONLY, 0);
    size_t done = 77;

    cr_assert_geq(fd, 0);
    cr_assert_eq(coil_file_write_all(fd, "x", 1, 0, &done), -ENOSPC);
    cr_assert_eq(done, 0);
    cr_assert_eq(coil_file_write_all(fd, "x", 1, 0, NULL), -ENOSPC);
    cr_assert_eq(coil_file_read_full(fd, &(char){0}, 1, 0, NULL), -EBADF);
    cr_assert_eq(coil_file_close(fd), 0);
}

/* The limit of a file's size makes the first write short and the second one fail. */
FIBER_TEST(file_whole, a_write_that_was_short_goes_on_behind_what_was_written)
{
    const struct rlimit limit = {.rlim_cur = 10, .rlim_max = RLIM_INFINITY};
    const struct rlimit none = {.rlim_cur = RLIM_INFINITY, .rlim_max = RLIM_INFINITY};
    const struct sigaction ignore = {.sa_handler = SIG_IGN};
    const int fd = create("a");
    size_t done = 77;

    cr_assert_eq(sigaction(SIGXFSZ, &ignore, NULL), 0);
    cr_assert_eq(setrlimit(RLIMIT_FSIZE, &limit), 0);
    cr_assert_eq(coil_file_write_all(fd, "0123456789", 10, 5, &done), -EFBIG);
    cr_assert_eq(setrlimit(RLIMIT_FSIZE, &none), 0);

    cr_assert_eq(done, 5);
    cr_assert_eq(lseek(fd, 0, SEEK_END), 10);
    cr_assert_eq(coil_file_close(fd), 0);
}

/* ---- Loading ---- */

FIBER_TEST(file_whole, a_load_brings_all_bytes_and_a_nul)
{
    char *data = NULL;
    size_t size = 0;

    write_file("a", "some text");
    write_file("empty", "");

    cr_assert_eq(coil_file_load(at("a"), 100, &data, &size), 0);
    cr_assert_eq(size, 9);
    cr_assert_str_eq(data, "some text");
    coil_file_data_free(data);
    cr_assert_eq(coil_file_load(at("empty"), 0, &data, &size), 0);
    cr_assert_eq(size, 0);
    cr_assert_str_eq(data, "");
    coil_file_data_free(data);
    coil_file_data_free(NULL);
}

FIBER_TEST(file_whole, a_load_of_unknown_size_grows)
{
    char *data = NULL;
    size_t size = 0;

    cr_assert_eq(coil_file_load("/proc/self/maps", 1 << 20, &data, &size), 0);
    cr_assert_gt(size, 4096, "more than the first piece");
    cr_assert_eq(strlen(data), size);
    coil_file_data_free(data);
    cr_assert_eq(coil_file_load("/proc/self/maps", 4096, &data, &size), -EFBIG);
    cr_assert_eq(coil_file_load("/dev/zero", 100000, &data, &size), -EFBIG);
}

FIBER_TEST(file_whole, a_load_takes_exactly_the_limit_and_no_more)
{
    char *data = NULL;
    size_t size = 77;

    write_file("a", "12345");

    cr_assert_eq(coil_file_load(at("a"), 4, &data, &size), -EFBIG);
    cr_assert_eq(coil_file_load(at("missing"), 4, &data, &size), -ENOENT);
    cr_assert_eq(coil_file_load(directory, 1 << 20, &data, &size), -EISDIR);
    cr_assert_null(data);
    cr_assert_eq(size, 77);
    cr_assert_eq(coil_file_load(at("a"), 5, &data, &size), 0);
    cr_assert_eq(size, 5);
    coil_file_data_free(data);
    cr_assert_eq(coil_file_load(at("a"), SIZE_MAX, &data, &size), 0);
    coil_file_data_free(data);
}

FIBER_TEST(file_whole, a_load_without_memory_fails_and_leaves_nothing)
{
    char *data = NULL;
    size_t size = 0;
    int64_t after = 0;
    int result;

    do {
        coil__alloc_fail_after(after++);
        result = coil_file_load("/proc/self/maps", 1 << 20, &data, &size);
        coil__alloc_fail_after(-1);
        cr_assert(result == 0 || result == -ENOMEM, "%d", result);
    } while (result < 0);
    cr_assert_gt(after, 2, "it failed twice at least: at the first piece and at growing");
    coil_file_data_free(data);
}

/* ---- Length, room, syncing ---- */

FIBER_TEST(file_whole, a_file_is_cut_and_lengthened)
{
    const int fd = create("a");
    coil_file_info info;
    int reading;

    cr_assert_eq(coil_file_write_all(fd, "123456", 6, 0, NULL), 0);
    cr_assert_eq(coil_file_truncate(fd, 3), 0);
    expect_file("a", "123");
    cr_assert_eq(coil_file_truncate(fd, UINT64_C(5) << 32), 0);
    cr_assert_eq(coil_file_stat(fd, &info), 0);
    cr_assert_eq(info.size, UINT64_C(5) << 32);
    cr_assert_eq(coil_file_truncate(fd, UINT64_MAX), -EINVAL);
    cr_assert_eq(coil_file_truncate(-1, 0), -EBADF);
    cr_assert_eq(coil_file_close(fd), 0);

    reading = coil_file_open(at("a"), O_RDONLY, 0);
    cr_assert_geq(reading, 0);
    cr_assert_eq(coil_file_truncate(reading, 0), -EINVAL);
    cr_assert_eq(coil_file_close(reading), 0);
}

FIBER_TEST(file_whole, room_is_made_before_it_is_needed)
{
    const int fd = create("a");
    coil_file_info info;
    int result = coil_file_allocate(fd, 0, 4096, 8192);

    if (result != -EOPNOTSUPP) {
        cr_assert_eq(result, 0);
        cr_assert_eq(coil_file_stat(fd, &info), 0);
        cr_assert_eq(info.size, 4096 + 8192);
        cr_assert_eq(coil_file_allocate(fd, FALLOC_FL_KEEP_SIZE, 0, 1 << 20), 0);
        cr_assert_eq(coil_file_stat(fd, &info), 0);
        cr_assert_eq(info.size, 4096 + 8192);
    }
    cr_assert_eq(coil_file_allocate(fd, 0, 0, 0), -EINVAL);
    cr_assert_eq(coil_file_close(fd), 0);
}

FIBER_TEST(file_whole, advice_is_taken_for_any_length)
{
    const int fd = create("a");
    int fds[2];

    cr_assert_eq(coil_file_advise(fd, 0, 0, POSIX_FADV_SEQUENTIAL), 0);
    cr_assert_eq(coil_file_advise(fd, 4096, UINT64_C(1) << 40, POSIX_FADV_DONTNEED), 0);
    cr_assert_eq(coil_file_advise(fd, 0, 4096, POSIX_FADV_WILLNEED), 0);
    cr_assert_eq(coil_file_advise(fd, 0, 0, 77), -EINVAL);
    cr_assert_eq(coil_file_close(fd), 0);
    cr_assert_eq(pipe2(fds, O_CLOEXEC), 0);
    cr_assert_eq(coil_file_advise(fds[0], 0, 0, POSIX_FADV_NORMAL), -ESPIPE);
    cr_assert_eq(coil_file_close(fds[0]), 0);
    cr_assert_eq(coil_file_close(fds[1]), 0);
}

FIBER_TEST(file_whole, a_file_and_its_directory_are_synced_and_a_pipe_is_not)
{
    const int fd = create("a");
    const int dir_fd = coil_file_open(directory, O_RDONLY | O_DIRECTORY, 0);
    int fds[2];

    cr_assert_eq(coil_file_write_all(fd, "x", 1, 0, NULL), 0);
    cr_assert_eq(coil_file_sync(fd), 0);
    cr_assert_eq(coil_file_sync_data(fd), 0);
    cr_assert_eq(coil_file_sync(dir_fd), 0);
    cr_assert_eq(coil_file_sync(-1), -EBADF);
    cr_assert_eq(pipe2(fds, O_CLOEXEC), 0);
    cr_assert_eq(coil_file_sync(fds[1]), -EINVAL);
    cr_assert_eq(coil_file_sync_data(fds[1]), -EINVAL);
    cr_assert_eq(coil_file_close(fds[0]), 0);
    cr_assert_eq(coil_file_close(fds[1]), 0);
    cr_assert_eq(coil_file_close(dir_fd), 0);
    cr_assert_eq(coil_file_close(fd), 0);
}

FIBER_TEST(file_whole, an_expired_scope_moves_cuts_and_syncs_nothing)
{
    const int fd = create("a");
    struct iovec piece = {(char[]){"y"}, 1};
    char *data = NULL;
    size_t size;
    coil_scope scope;

    cr_assert_eq(coil_file_write_all(fd, "x", 1, 0, NULL), 0);
    coil_scope_enter(&scope, 0);
    cr_assert_eq(coil_file_writev(fd, &piece, 1, 0), -ETIMEDOUT);
    cr_assert_eq(coil_file_readv(fd, &piece, 1, 0), -ETIMEDOUT);
    cr_assert_eq(coil_file_write_all(fd, "z", 1, 0, NULL), -ETIMEDOUT);
    cr_assert_eq(coil_file_read_full(fd, piece.iov_base, 1, 0, NULL), -ETIMEDOUT);
    cr_assert_eq(coil_file_truncate(fd, 0), -ETIMEDOUT);
    cr_assert_eq(coil_file_allocate(fd, 0, 0, 100), -ETIMEDOUT);
    cr_assert_eq(coil_file_advise(fd, 0, 0, POSIX_FADV_NORMAL), -ETIMEDOUT);
    cr_assert_eq(coil_file_sync(fd), -ETIMEDOUT);
    cr_assert_eq(coil_file_sync_data(fd), -ETIMEDOUT);
    cr_assert_eq(coil_file_load(at("a"), 10, &data, &size), -ETIMEDOUT);
    cr_assert(coil_scope_leave(&scope));

    expect_file("a", "x");
    cr_assert_eq(coil_file_close(fd), 0);
}

/* SPDX-License-Identifier: MIT */
/* coil_run() when something is refused: io_uring by a seccomp filter, locked memory by a limit, the
 * N-th allocation for each N. Whatever it is, a clear error, a line that helps, and nothing left.
 *
 * Filters and limits are for ever, so they are put on a child process.
 */
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/alloc.h"
#include "support/child.h"
#include "support/fiber_test.h"

enum {
    ALLOCATIONS_MAX = 200,
};

/* ---- A small scenario that allocates all there is to allocate ---- */

static int echo_byte(void *arg)
{
    coil_stream *stream = arg;
    char byte;
    ssize_t result = coil_read(stream, &byte, 1);

    if (result == 1)
        result = coil_write(stream, &byte, 1);
    if (result >= 0)
        result = coil_flush(stream);
    return (int)result;
}

static int exchange(coil_stream *stream)
{
    char byte = 'x';
    ssize_t result = coil_write(stream, &byte, 1);

    if (result >= 0)
        result = coil_read(stream, &byte, 1);
    return result == 0 ? -EPIPE : (int)result;
}

static int talk(int near_fd, int far_fd)
{
    coil_stream *near_end = NULL;
    coil_stream *far_end = NULL;
    coil_fiber *echo = NULL;
    int result = coil_adopt(near_fd, &near_end);

    if (result < 0) {
        (void)close(near_fd);
        (void)close(far_fd);
        return result;
    }
    result = coil_adopt(far_fd, &far_end);
    if (result < 0)
        (void)close(far_fd);
    else
        result = coil_spawn(echo_byte, far_end, &echo);
    if (result == 0)
        result = exchange(near_end);
    if (echo) {
        coil_cancel(echo);
        (void)coil_join(echo, NULL);
        coil_fiber_unref(echo);
    }
    if (far_end)
        (void)coil_close(far_end);
    (void)coil_close(near_end);
    return result;
}

static int talk_once(void *arg)
{
    int fds[2];

    (void)arg;
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) < 0)
        return -errno;
    return talk(fds[0], fds[1]);
}

static void drop_message(coil_log_level level, const char *message, void *arg)
{
    (void)level;
    (void)message;
    (void)arg;
}

Test(run_refused, the_nth_allocation_fails_cleanly_for_each_n, .timeout = 60)
{
    const int fds = count_fds();
    int n;

    coil_log_set(drop_message, NULL);
    for (n = 0; n < ALLOCATIONS_MAX; n++) {
        const int64_t blocks = coil__alloc_live_count();
        int result = 0;
        int status;

        coil__alloc_fail_after(n);
        status = coil_run(talk_once, NULL, NULL, &result);
        coil__alloc_fail_after(-1);
        cr_assert_eq(coil__alloc_live_count(), blocks, "leaked when allocation %d failed", n);
        cr_assert_eq(count_fds(), fds, "descriptors leaked when allocation %d failed", n);
        if (status == 0 && result > 0)
            break;
        cr_assert(status == -ENOMEM || (status == 0 && result == -ENOMEM),
                  "allocation %d: status %d, result %d", n, status, result);
    }

    cr_assert_gt(n, 3);
    cr_assert_lt(n, ALLOCATIONS_MAX, "it never passes");
}

/* ---- io_uring refused ---- */

static int refuse_io_uring(void)
{
    struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_io_uring_setup, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    const struct sock_fprog program = {.len = sizeof code / sizeof code[0], .filter = code};

    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
        return -1;
    return prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program);
}

static int run_without_io_uring(void *arg)
{
    int result = 77;

    child_check(refuse_io_uring() == 0, "no seccomp filter");
    child_check(coil_run(talk_once, arg, NULL, &result) == -EPERM, "status is not -EPERM");
    child_check(result == 77, "a failed run stored a result");
    child_check(coil__alloc_live_count() == 0, "memory is left");
    return 0;
}

Test(run_refused, a_refused_io_uring_says_what_happened_and_what_to_do, .timeout = 60)
{
    struct child_end end;

    child_run(run_without_io_uring, NULL, &end);

    cr_assert_eq(end.exit_code, 0, "%s", end.output);
    cr_assert_not_null(strstr(end.output, "coil: error: io_uring is refused with EPERM"));
    cr_assert_not_null(strstr(end.output, "seccomp"));
    cr_assert_not_null(strstr(end.output, "kernel.io_uring_disabled"));
    cr_assert_not_null(strstr(end.output, "io_uring_setup"));
}

/* ---- Little memory to lock: matters to those without CAP_IPC_LOCK ---- */

static int run_with_little_memlock(void *arg)
{
    const struct rlimit limit = {.rlim_cur = 64 * 1024, .rlim_max = 64 * 1024};
    int result = 0;

    child_check(setrlimit(RLIMIT_MEMLOCK, &limit) == 0, "no limit");
    child_check(coil_run(talk_once, arg, NULL, &result) == 0, "coil_run() failed");
    child_check(result == 1, "the scenario failed");
    return 0;
}

Test(run_refused, with_64_kib_to_lock_a_smaller_ring_works, .timeout = 60)
{
    struct child_end end;

    child_run(run_with_little_memlock, NULL, &end);

    cr_assert_eq(end.exit_code, 0, "%s", end.output);
    cr_assert_str_empty(end.output);
}

static int run_with_no_memlock(void *arg)
{
    const struct rlimit limit = {0};
    int status;

    child_check(setrlimit(RLIMIT_MEMLOCK, &limit) == 0, "no limit");
    status = coil_run(talk_once, arg, NULL, NULL);
    child_check(status == 0 || status == -ENOMEM, "neither worked nor said -ENOMEM");
    return status == 0 ? 2 : 0;
}

Test(run_refused, with_nothing_to_lock_the_log_says_memlock, .timeout = 60)
{
    struct child_end end;

    child_run(run_with_no_memlock, NULL, &end);

    if (end.exit_code == 2)
        cr_skip_test("privileged: the limit does not count");
    cr_assert_eq(end.exit_code, 0, "%s", end.output);
    cr_assert_not_null(strstr(end.output, "ulimit -l"));
}

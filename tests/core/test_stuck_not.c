/* SPDX-License-Identifier: MIT */
/* Waits that look like a deadlock and are none: something outside of the scheduler will end them.
 *
 * The outside is a thread that acts when the thread of the loop has fallen asleep, so that a loop
 * that takes the wait for a deadlock has had every opportunity.
 */
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "core/remote.h"
#include "support/fiber_test.h"

static int line_count;

static void count_line(coil_log_level level, const char *message, void *arg)
{
    (void)level;
    (void)message;
    (void)arg;
    line_count++;
}

struct outside {
    int (*wait)(struct outside *outside);
    void (*act)(struct outside *outside);
    struct coil__post post;
    struct coil__sched *sched;
    coil_listener *listener;
    coil_sem sem;
    int fds[2];
    pid_t loop; /* the thread that runs coil */
    pthread_t thread;
};

/* Returns when the thread of the loop sleeps in the kernel. */
static void until_asleep(pid_t thread)
{
    char path[64];
    char state = 0;

    (void)snprintf(path, sizeof path, "/proc/self/task/%d/stat", (int)thread);
    while (state != 'S') {
        FILE *file = fopen(path, "re");

        if (!file || fscanf(file, "%*d (%*[^)]) %c", &state) != 1)
            state = 0;
        if (file)
            (void)fclose(file);
        (void)sched_yield();
    }
}

static void *act_when_asleep(void *arg)
{
    struct outside *outside = arg;

    until_asleep(outside->loop);
    outside->act(outside);
    return NULL;
}

static int wait_outside(void *arg)
{
    struct outside *outside = arg;
    int result;

    outside->sched = coil__sched_this;
    outside->loop = gettid();
    coil_sem_init(&outside->sem, 0);
    cr_assert_eq(pthread_create(&outside->thread, NULL, act_when_asleep, outside), 0);
    result = outside->wait(outside);
    (void)pthread_join(outside->thread, NULL);
    return result;
}

static void assert_no_deadlock(struct outside *outside, const coil_options *options)
{
    int result = 77;

    coil_log_set(count_line, NULL);
    cr_assert_eq(fiber_test_coil_run(wait_outside, outside, options, &result), 0);
    coil_log_set(NULL, NULL);
    cr_assert_eq(result, 0);
    cr_assert_eq(line_count, 0);
}

static void release(struct coil__post *post)
{
    coil_sem_release(&container_of(post, struct outside, post)->sem);
}

static void post_release(struct outside *outside)
{
    outside->post.run = release;
    (void)coil__remote_post(outside->sched->remote, &outside->post);
}

static int acquire(struct outside *outside)
{
    return coil_sem_acquire(&outside->sem);
}

static int acquire_announced(struct outside *outside)
{
    int result;

    outside->sched->outside_count++;
    result = coil_sem_acquire(&outside->sem);
    outside->sched->outside_count--;
    return result;
}

Test(stuck_not, a_thread_that_is_known_to_post_is_waited_for, .timeout = 20)
{
    struct outside outside = {.wait = acquire_announced, .act = post_release};

    assert_no_deadlock(&outside, NULL);
}

Test(stuck_not, a_program_that_knows_better_may_have_it_ignored, .timeout = 20)
{
    struct outside outside = {.wait = acquire, .act = post_release};
    coil_options options = COIL_OPTIONS_INIT;

    options.on_deadlock = COIL_DEADLOCK_IGNORE;
    assert_no_deadlock(&outside, &options);
}

static void write_byte(struct outside *outside)
{
    cr_assert_eq(write(outside->fds[1], "x", 1), 1);
}

static int read_byte(struct outside *outside)
{
    coil_stream *stream;
    char byte;
    int result;

    cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, outside->fds), 0);
    cr_assert_eq(coil_adopt(outside->fds[0], &stream), 0);
    result = (int)coil_read_full(stream, &byte, 1, NULL);
    (void)coil_close(stream);
    (void)close(outside->fds[1]);
    return result < 0 ? result : 0;
}

Test(stuck_not, a_reader_waits_for_its_peer, .timeout = 20)
{
    struct outside outside = {.wait = read_byte, .act = write_byte};

    assert_no_deadlock(&outside, NULL);
}

static void connect_to_listener(struct outside *outside)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    socklen_t len;
    const int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    (void)snprintf(address.sun_path + 1, sizeof address.sun_path - 1, "coil-stuck-%d", getpid());
    len = (socklen_t)(sizeof address.sun_family + 1 + strlen(address.sun_path + 1));
    cr_assert_eq(connect(fd, (const struct sockaddr *)&address, len), 0);
    outside->fds[1] = fd;
}

static int accept_one(struct outside *outside)
{
    coil_stream *stream;
    char name[64];
    int result;

    (void)snprintf(name, sizeof name, "unix:@coil-stuck-%d", getpid());
    cr_assert_eq(coil_listen(name, NULL, &outside->listener), 0);
    result = coil_accept(outside->listener, &stream);
    if (result == 0)
        (void)coil_close(stream);
    coil_listener_close(outside->listener);
    (void)close(outside->fds[1]);
    return result;
}

Test(stuck_not, a_server_waits_for_clients, .timeout = 20)
{
    struct outside outside = {.wait = accept_one, .act = connect_to_listener};

    assert_no_deadlock(&outside, NULL);
}

static void do_nothing(struct outside *outside)
{
    (void)outside;
}

static int return_when_asleep(void *arg)
{
    const struct outside *outside = arg;

    until_asleep(outside->loop);
    return 0;
}

static int offload(struct outside *outside)
{
    int result = 77;
    const int status = coil_offload(return_when_asleep, outside, NULL, &result);

    return status < 0 ? status : result;
}

Test(stuck_not, an_offloaded_call_is_waited_for, .timeout = 20)
{
    struct outside outside = {.wait = offload, .act = do_nothing};

    assert_no_deadlock(&outside, NULL);
}

static int acquire_in_time(struct outside *outside)
{
    coil_scope scope;
    int result;

    coil_scope_enter(&scope, COIL_MS(1));
    result = coil_sem_acquire(&outside->sem);
    cr_assert(coil_scope_leave(&scope));
    return result == -ETIMEDOUT ? 0 : 1;
}

Test(stuck_not, a_deadline_is_waited_for, .timeout = 20)
{
    struct outside outside = {.wait = acquire_in_time, .act = do_nothing};

    assert_no_deadlock(&outside, NULL);
}

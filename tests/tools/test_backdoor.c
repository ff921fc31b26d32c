/* SPDX-License-Identifier: MIT */
/* The backdoor as a client sees it: every command, several clients, those that leave in the middle,
 * and those that send garbage.
 */
#include <coil/backdoor.h>

#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/alloc.h"
#include "support/fiber_test.h"

enum {
    ANSWER_SIZE = 65536,
    GARBAGE_LINES = 300,
    FIBERS = 300, /* more than the first piece of an answer takes */
};

static char directory[] = "/tmp/coil-backdoor-XXXXXX";
static char path[64];
static char answer[ANSWER_SIZE];

static coil_backdoor *open_backdoor(const coil_backdoor_options *options)
{
    coil_backdoor *backdoor;

    cr_assert_not_null(mkdtemp(directory));
    (void)snprintf(path, sizeof path, "%s/socket", directory);
    cr_assert_eq(coil_backdoor_open(path, options, &backdoor), 0);
    return backdoor;
}

static void close_backdoor(coil_backdoor *backdoor)
{
    coil_backdoor_close(backdoor);
    cr_assert_neq(access(path, F_OK), 0, "the file is gone");
    cr_assert_eq(rmdir(directory), 0);
}

static coil_stream *connect_client(void)
{
    char address[80];
    coil_stream *client;

    (void)snprintf(address, sizeof address, "unix:%s", path);
    cr_assert_eq(coil_connect(address, NULL, &client), 0);
    return client;
}

/* Sends a line and collects the answer up to its last line, which is returned. */
static const char *ask(coil_stream *client, const char *line)
{
    size_t len = 0;
    const char *last;

    coil_write(client, line, strlen(line));
    coil_write(client, "\n", 1);
    for (;;) {
        const ssize_t n = coil_read_line(client, answer + len, sizeof answer - len);

        cr_assert_gt(n, 0, "after %s", answer);
        last = answer + len;
        len += (size_t)n;
        if (strcmp(last, "ok\n") == 0 || strncmp(last, "error: ", 7) == 0)
            return last;
    }
}

static void assert_answers(coil_stream *client, const char *line, const char *expected)
{
    cr_assert_str_eq(ask(client, line), "ok\n", "%s", answer);
    cr_assert_not_null(strstr(answer, expected), "no '%s' in:\n%s", expected, answer);
}

static int acquire(void *arg)
{
    coil_scope scope;
    int result;

    coil_scope_enter(&scope, COIL_SECONDS(100));
    result = coil_sem_acquire(arg);
    (void)coil_scope_leave(&scope);
    return result;
}

FIBER_TEST(backdoor, it_shows_fibers_timers_descriptors_and_numbers)
{
    coil_backdoor *backdoor = open_backdoor(NULL);
    coil_stream *client = connect_client();
    char expected[100];
    coil_fiber *fiber;
    coil_sem sem;

    coil_sem_init(&sem, 0);
    fiber = spawn_until_parked(acquire, &sem);
    coil_fiber_name_set(fiber, "waiter");
    assert_answers(client, "help", "kill ID  cancels a fiber\n");
    assert_answers(client, "ps", "fiber 1 'main': waits for read for ");
    (void)snprintf(expected, sizeof expected, "  fiber %llu 'waiter': waits for semaphore for ",
                   (unsigned long long)coil_fiber_id(fiber));
    cr_assert_not_null(strstr(answer, expected), "%s", answer);
    cr_assert_not_null(strstr(answer, "'backdoor client': running"));
    cr_assert_null(strstr(answer, "#0"));
    assert_answers(client, "dump", "\n  #0  ");
    (void)snprintf(expected, sizeof expected, "bt %llu", (unsigned long long)coil_fiber_id(fiber));
    assert_answers(client, expected, "'waiter': waits for semaphore");
    cr_assert_null(strstr(answer, "'main'"));
    assert_answers(client, "fds", "socket:[");
    cr_assert_not_null(strstr(answer, path), "sockets have addresses: %s", answer);
    assert_answers(client, "timers", "in 9");
    cr_assert_eq(strncmp(answer, "armed 2\n", 8), 0, "and the client's patience: %s", answer);
    assert_answers(client, "stats", "\nswitches ");
    cr_assert_eq(strncmp(answer, "fibers 4\n", 9), 0, "%s", answer);

    coil_sem_release(&sem);
    cr_assert_eq(join_and_drop(fiber), 0);
    (void)coil_close(client);
    close_backdoor(backdoor);
}

FIBER_TEST(backdoor, its_path_may_be_an_address)
{
    coil_backdoor *backdoor;
    char address[80];
    coil_stream *client;

    (void)snprintf(address, sizeof address, "unix:@coil-backdoor-%d", (int)getpid());
    cr_assert_eq(coil_backdoor_open("unix:", NULL, &backdoor), -EINVAL);
    cr_assert_eq(coil_backdoor_open(address, NULL, &backdoor), 0);
    cr_assert_eq(coil_connect(address, NULL, &client), 0);
    assert_answers(client, "help", "kill ID");
    (void)coil_close(client);
    coil_backdoor_close(backdoor);
}

FIBER_TEST(backdoor, kill_cancels_one_fiber)
{
    coil_backdoor *backdoor = open_backdoor(NULL);
    coil_stream *client = connect_client();
    coil_fiber *fibers[2];
    char line[40];
    coil_sem sem;

    coil_sem_init(&sem, 0);
    for (int i = 0; i < 2; i++)
        fibers[i] = spawn_until_parked(acquire, &sem);
    (void)snprintf(line, sizeof line, "kill %llu", (unsigned long long)coil_fiber_id(fibers[0]));
    cr_assert_str_eq(ask(client, line), "ok\n");
    cr_assert_eq(join_and_drop(fibers[0]), -ECANCELED);
    cr_assert_str_eq(ask(client, line), "error: No such file or directory\n", "it has ended");
    cr_assert_str_eq(ask(client, "bt 99999"), "error: No such file or directory\n");

    coil_sem_release(&sem);
    cr_assert_eq(join_and_drop(fibers[1]), 0);
    (void)coil_close(client);
    close_backdoor(backdoor);
}

static uint64_t find_id(const char *name)
{
    const char *at = strstr(answer, name);

    cr_assert_not_null(at, "no %s in %s", name, answer);
    while (strncmp(at, "fiber ", 6) != 0)
        at--;
    return strtoull(at + 6, NULL, 10);
}

FIBER_TEST(backdoor, a_client_that_kills_its_own_fiber_gets_its_answer)
{
    coil_backdoor *backdoor = open_backdoor(NULL);
    coil_stream *client = connect_client();
    char line[40];

    assert_answers(client, "ps", "'backdoor client'");
    (void)snprintf(line, sizeof line, "kill %llu",
                   (unsigned long long)find_id("'backdoor client'"));
    cr_assert_str_eq(ask(client, line), "ok\n");
    cr_assert_eq(coil_read_line(client, answer, sizeof answer), 0, "and then the end");
    (void)coil_close(client);
    close_backdoor(backdoor);
}

FIBER_TEST(backdoor, nobody_kills_the_console_from_the_console)
{
    coil_backdoor *backdoor = open_backdoor(NULL);
    coil_stream *client = connect_client();
    char line[40];

    assert_answers(client, "ps", "'backdoor'");
    (void)snprintf(line, sizeof line, "kill %llu", (unsigned long long)find_id("'backdoor'"));
    cr_assert_str_eq(ask(client, line), "error: Operation not permitted\n");
    assert_answers(client, "ps", "'backdoor'");
    (void)coil_close(client);
    client = connect_client();
    assert_answers(client, "ps", "'backdoor'");
    (void)coil_close(client);
    close_backdoor(backdoor);
}

static int find_listening_socket(void)
{
    for (int fd = 0; fd < 1000; fd++) {
        socklen_t size = sizeof(int);
        int is_listening = 0;

        if (getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &is_listening, &size) == 0 && is_listening)
            return fd;
    }
    return -1;
}

static int warnings;

static void count_warning(coil_log_level level, const char *message, void *arg)
{
    (void)arg;
    if (level == COIL_LOG_WARNING && strstr(message, "backdoor"))
        warnings++;
}

FIBER_TEST(backdoor, when_its_socket_fails_it_says_so_and_lets_nobody_wait)
{
    coil_backdoor *backdoor = open_backdoor(NULL);
    coil_stream *client = connect_client();
    char address[80];

    assert_answers(client, "ps", "'backdoor'");
    coil_log_set(count_warning, NULL);
    cr_assert_eq(shutdown(find_listening_socket(), SHUT_RDWR), 0);
    assert_answers(client, "ps", "'backdoor client'");
    (void)coil_close(client);
    while (access(path, F_OK) == 0)
        coil_yield();
    cr_assert_eq(warnings, 1);
    (void)snprintf(address, sizeof address, "unix:%s", path);
    cr_assert_eq(coil_connect(address, NULL, &client), -ENOENT);
    close_backdoor(backdoor);
    cr_assert_eq(warnings, 1, "its end by the program is no news");
    coil_log_set(NULL, NULL);
}

FIBER_TEST(backdoor, a_long_answer_comes_whole)
{
    coil_backdoor *backdoor = open_backdoor(NULL);
    coil_stream *client = connect_client();
    coil_fiber *fibers[FIBERS];
    char last[40];
    coil_sem sem;

    coil_sem_init(&sem, 0);
    for (int i = 0; i < FIBERS; i++)
        fibers[i] = spawn_until_parked(acquire, &sem);
    (void)snprintf(last, sizeof last, "fiber %llu ''",
                   (unsigned long long)coil_fiber_id(fibers[FIBERS - 1]));
    assert_answers(client, "ps", last);
    for (int i = 0; i < FIBERS; i++)
        coil_sem_release(&sem);
    for (int i = 0; i < FIBERS; i++)
        cr_assert_eq(join_and_drop(fibers[i]), 0);
    (void)coil_close(client);
    close_backdoor(backdoor);
}

static void count_call(void *arg)
{
    ++*(int *)arg;
}

FIBER_TEST(backdoor, drain_calls_the_programs_function)
{
    coil_backdoor_options options = COIL_BACKDOOR_OPTIONS_INIT;
    coil_backdoor *backdoor;
    coil_stream *client;
    int calls = 0;

    options.drain = count_call;
    options.arg = &calls;
    backdoor = open_backdoor(&options);
    client = connect_client();
    cr_assert_str_eq(ask(client, "drain"), "ok\n");
    cr_assert_eq(calls, 1);
    cr_assert_str_eq(ask(client, "quit"), "ok\n");
    cr_assert_eq(coil_read_line(client, answer, sizeof answer), 0, "it has hung up");
    (void)coil_close(client);
    close_backdoor(backdoor);
}

FIBER_TEST(backdoor, two_clients_are_served_at_once)
{
    coil_backdoor *backdoor = open_backdoor(NULL);
    coil_stream *first = connect_client();
    coil_stream *second = connect_client();

    for (int i = 0; i < 3; i++) {
        assert_answers(second, "stats", "fibers");
        assert_answers(first, "ps", "'main'");
    }
    cr_assert_eq(strncmp(ask(first, "drain"), "error: ", 7), 0, "nobody has said how");
    (void)coil_close(first);
    assert_answers(second, "ps", "'main'");
    (void)coil_close(second);
    close_backdoor(backdoor);
}

static int connect_raw_from(const char *own_name, size_t len)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    const int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    memcpy(address.sun_path, own_name, len);
    cr_assert_eq(bind(fd, (const struct sockaddr *)&address,
                      (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len)),
                 0);
    (void)snprintf(address.sun_path, sizeof address.sun_path, "%s", path);
    cr_assert_eq(connect(fd, (const struct sockaddr *)&address, sizeof address), 0);
    return fd;
}

static int connect_raw(void)
{
    return connect_raw_from("", 0);
}

/* A peer chooses its own address. */
FIBER_TEST(backdoor, addresses_of_peers_neither_end_an_answer_nor_play_tricks)
{
    static const char name[] = "\0coil\nok\n\033[2J\x9b[2J\xc2\x9b\xc3\xbc";
    coil_backdoor *backdoor = open_backdoor(NULL);
    const int peer = connect_raw_from(name, sizeof name - 1);
    coil_stream *client = connect_client();

    assert_answers(client, "fds", "to unix:@coil ok  [2J [2J  \xc3\xbc\n");
    cr_assert_null(strchr(answer, '\033'));
    cr_assert_eq(close(peer), 0);
    (void)coil_close(client);
    close_backdoor(backdoor);
}

FIBER_TEST(backdoor, a_client_that_leaves_in_the_middle_harms_nobody)
{
    coil_backdoor *backdoor = open_backdoor(NULL);
    static const char *const last_words[] = {"", "p", "dump\ndump\ndump\n", "ps\nb"};
    coil_stream *client;

    for (size_t i = 0; i < sizeof last_words / sizeof last_words[0]; i++) {
        const int fd = connect_raw();

        cr_assert_eq(write(fd, last_words[i], strlen(last_words[i])),
                     (ssize_t)strlen(last_words[i]));
        cr_assert_eq(close(fd), 0);
    }
    client = connect_client();
    assert_answers(client, "ps", "'main'");
    (void)coil_close(client);
    close_backdoor(backdoor);
}

/* ---- Garbage ---- */

FIBER_TEST(backdoor, what_is_no_command_is_an_error_and_the_next_line_is_read)
{
    static const char *const lines[] = {
        "nonsense",
        " ps",
        "ps ",
        "ps 1",
        "bt",
        "bt ",
        "bt x",
        "bt 1x",
        "bt -1",
        "bt 0",
        "bt 18446744073709551617",
        "bt 99999999999999999999999",
        "kill",
        "kill 1 2",
        "PS",
        "\x01\x02\xff",
    };
    coil_backdoor *backdoor = open_backdoor(NULL);
    coil_stream *client = connect_client();

    for (size_t i = 0; i < sizeof lines / sizeof lines[0]; i++)
        cr_assert_eq(strncmp(ask(client, lines[i]), "error: no such command", 22), 0, "%s",
                     lines[i]);
    coil_write(client, "ps\0kill 1\n", 10);
    cr_assert_eq(strncmp(ask(client, "\r"), "error: no such command", 22), 0, "a NUL in a line");
    assert_answers(client, "ps\r", "'main'");
    (void)coil_close(client);
    close_backdoor(backdoor);
}

FIBER_TEST(backdoor, a_line_that_is_too_long_is_skipped)
{
    coil_backdoor *backdoor = open_backdoor(NULL);
    coil_stream *client = connect_client();
    char line[5000];

    memset(line, 'x', sizeof line);
    line[sizeof line - 1] = '\0';
    cr_assert_str_eq(ask(client, line), "error: the line is too long\n");
    line[254] = '\0';
    cr_assert_eq(strncmp(ask(client, line), "error: no such command", 22), 0);
    assert_answers(client, "ps", "'main'");
    (void)coil_close(client);
    close_backdoor(backdoor);
}

FIBER_TEST(backdoor, random_bytes_get_errors_and_no_more)
{
    coil_backdoor *backdoor = open_backdoor(NULL);
    coil_stream *client = connect_client();
    unsigned state = 1;

    for (int i = 0; i < GARBAGE_LINES; i++) {
        char line[40];
        size_t len;

        for (len = 0; len < 1 + (size_t)i % 38; len++) {
            state = state * 1664525U + 1013904223U;
            line[len] = (char)(state >> 24);
            if (line[len] == '\n' || line[len] == '\r' || line[len] == '\0')
                line[len] = 'x';
        }
        line[len] = '\0';
        cr_assert_eq(strncmp(ask(client, line), "error: ", 7), 0);
    }
    (void)coil_close(client);
    close_backdoor(backdoor);
}

/* ---- Life ---- */

static void bind_to(int fd, const char *name)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};

    (void)snprintf(address.sun_path, sizeof address.sun_path, "%s", name);
    cr_assert_eq(bind(fd, (const struct sockaddr *)&address, sizeof address), 0);
}

FIBER_TEST(backdoor, the_file_is_its_owners_from_the_beginning)
{
    coil_backdoor_options options = COIL_BACKDOOR_OPTIONS_INIT;
    coil_backdoor *backdoor;
    struct stat status;

    backdoor = open_backdoor(NULL);
    cr_assert_eq(stat(path, &status), 0);
    cr_assert_eq(status.st_mode & 0777, 0600);
    coil_backdoor_close(backdoor);
    options.mode = 0640;
    cr_assert_eq(coil_backdoor_open(path, &options, &backdoor), 0);
    cr_assert_eq(stat(path, &status), 0);
    cr_assert_eq(status.st_mode & 0777, 0640);
    close_backdoor(backdoor);
}

FIBER_TEST(backdoor, a_silent_client_is_disconnected)
{
    coil_backdoor_options options = COIL_BACKDOOR_OPTIONS_INIT;
    coil_backdoor *backdoor;
    coil_stream *client;

    options.idle = COIL_MS(5);
    backdoor = open_backdoor(&options);
    client = connect_client();
    cr_assert_eq(coil_read_line(client, answer, sizeof answer), 0);
    (void)coil_close(client);
    close_backdoor(backdoor);
}

FIBER_TEST(backdoor, closing_disconnects_and_can_be_done_without_one)
{
    coil_backdoor *backdoor = open_backdoor(NULL);
    coil_stream *client = connect_client();

    assert_answers(client, "ps", "'main'");
    close_backdoor(backdoor);
    cr_assert_leq(coil_read_line(client, answer, sizeof answer), 0);
    (void)coil_close(client);
    coil_backdoor_close(NULL);
}

FIBER_TEST(backdoor, closing_waits_for_no_client_that_does_not_read)
{
    coil_backdoor *backdoor = open_backdoor(NULL);
    const int fd = connect_raw();
    const int64_t begin = coil_now();
    coil_stream *client = connect_client();
    const char *const command = "dump\n";

    while (send(fd, command, strlen(command), MSG_DONTWAIT) > 0)
        assert_answers(client, "stats", "fibers");
    close_backdoor(backdoor);
    cr_assert_lt(coil_now() - begin, COIL_SECONDS(30));
    cr_assert_eq(close(fd), 0);
    (void)coil_close(client);
}

FIBER_TEST(backdoor, a_socket_file_of_a_program_that_has_crashed_is_replaced)
{
    coil_backdoor *backdoor;
    coil_stream *client;
    int fd;

    cr_assert_not_null(mkdtemp(directory));
    (void)snprintf(path, sizeof path, "%s/socket", directory);
    fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    bind_to(fd, path);
    cr_assert_eq(listen(fd, 1), 0);
    cr_assert_eq(coil_backdoor_open(path, NULL, &backdoor), -EADDRINUSE, "it is still alive");
    cr_assert_eq(close(fd), 0);
    cr_assert_eq(coil_backdoor_open(path, NULL, &backdoor), 0);
    client = connect_client();
    assert_answers(client, "ps", "'main'");
    (void)coil_close(client);
    close_backdoor(backdoor);
}

FIBER_TEST(backdoor, a_path_that_cannot_be_is_refused)
{
    coil_backdoor_options blank = {0};
    coil_backdoor *backdoor;
    char long_path[300];

    memset(long_path, 'x', sizeof long_path);
    long_path[sizeof long_path - 1] = '\0';
    cr_assert_eq(coil_backdoor_open("", NULL, &backdoor), -EINVAL);
    cr_assert_eq(coil_backdoor_open(long_path, NULL, &backdoor), -ENAMETOOLONG);
    cr_assert_eq(coil_backdoor_open("/nowhere/at/all", NULL, &backdoor), -ENOENT);
    cr_assert_eq(coil_backdoor_open("@coil", &blank, &backdoor), -EINVAL);
}

FIBER_TEST_WITH(backdoor, without_a_fiber_nothing_is_left_behind,
                (&(coil_options){.size = sizeof(coil_options), .fibers_max = 1}))
{
    coil_backdoor *backdoor;

    cr_assert_not_null(mkdtemp(directory));
    (void)snprintf(path, sizeof path, "%s/socket", directory);
    cr_assert_eq(coil_backdoor_open(path, NULL, &backdoor), -EAGAIN);
    cr_assert_neq(access(path, F_OK), 0);
    cr_assert_eq(rmdir(directory), 0);
}

FIBER_TEST(backdoor, without_memory_nothing_is_left_behind)
{
    coil_backdoor *backdoor = NULL;
    int result = -ENOMEM;

    cr_assert_not_null(mkdtemp(directory));
    (void)snprintf(path, sizeof path, "%s/socket", directory);
    for (int64_t n = 0; result < 0; n++) {
        coil__alloc_fail_after(n);
        result = coil_backdoor_open(path, NULL, &backdoor);
        coil__alloc_fail_after(-1);
        cr_assert(result == 0 || (result == -ENOMEM && access(path, F_OK) != 0), "%d", result);
    }
    close_backdoor(backdoor);
}

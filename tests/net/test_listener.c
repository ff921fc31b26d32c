/* SPDX-License-Identifier: MIT */
/* Listening and accepting: clear errors, no connection lost, a pause when descriptors run out. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "net/listener.h"
#include "net/net_fixture.h"

TestSuite(listener, .timeout = 30);

static void make_directory(char path[64])
{
    (void)snprintf(path, 64, "/tmp/coil_test_XXXXXX");
    cr_assert_not_null(mkdtemp(path));
}

static coil_listener *listen_to(const char *address)
{
    coil_listener *listener = NULL;
    const int result = coil_listen(address, NULL, &listener);

    cr_assert_eq(result, 0, "%s: %s", address, coil_strerror(result));
    return listener;
}

static void address_of(const coil_listener *listener, char text[COIL_ADDRESS_SIZE])
{
    const int length = coil_listener_address(listener, text, COIL_ADDRESS_SIZE);

    cr_assert_eq(length, (int)strlen(text));
}

/* A byte goes from the client to the accepted stream. */
static void assert_connects(coil_listener *listener, const char *address)
{
    const int fd = dial(address);
    coil_stream *stream;
    char byte;

    cr_assert_eq(coil_accept(listener, &stream), 0);
    write_text(fd, "x");
    cr_assert_eq(coil_read(stream, &byte, 1), 1);
    cr_assert_eq(coil_close(stream), 0);
    cr_assert_eq(close(fd), 0);
}

/* ---- coil_listen ---- */

FIBER_TEST(listener, addresses_that_cannot_be_read_are_einval)
{
    static const char *const addresses[] = {"",      ":",       "127.0.0.1", "localhost:80",
                                            ":x",    ":65536",  "1.2.3:80",  "::1:80",
                                            "unix:", "[::1]80", "unix:@"};
    coil_listener *listener = NULL;

    for (size_t i = 0; i < sizeof addresses / sizeof *addresses; i++)
        cr_assert_eq(coil_listen(addresses[i], NULL, &listener), -EINVAL, "%s", addresses[i]);
    cr_assert_null(listener, "untouched on failure");
}

FIBER_TEST(listener, addresses_in_use_foreign_and_too_long_are_refused)
{
    coil_listener *listener = listen_to("127.0.0.1:0");
    coil_listener *second = NULL;
    char address[COIL_ADDRESS_SIZE];
    char path[200] = "unix:/";

    address_of(listener, address);
    cr_assert_eq(coil_listen(address, NULL, &second), -EADDRINUSE);
    cr_assert_eq(coil_listen("192.0.2.1:0", NULL, &second), -EADDRNOTAVAIL);
    memset(path + 6, 'x', 150);
    cr_assert_eq(coil_listen(path, NULL, &second), -ENAMETOOLONG);
    cr_assert_eq(coil_listen("unix:/nonexistent/socket", NULL, &second), -ENOENT);
    cr_assert_null(second);
    coil_listener_close(listener);
    coil_listener_close(NULL);
}

FIBER_TEST(listener, what_only_root_may_is_refused_to_others)
{
    coil_listener *listener = NULL;
    char first_free[16] = "1024";
    FILE *file = fopen("/proc/sys/net/ipv4/ip_unprivileged_port_start", "re");

    if (file) {
        cr_assert_not_null(fgets(first_free, sizeof first_free, file));
        (void)fclose(file);
    }
    if (geteuid() == 0)
        return;
    cr_assert_eq(coil_listen("unix:/coil_test_socket", NULL, &listener), -EACCES);
    if (strtol(first_free, NULL, 10) > 79)
        cr_assert_eq(coil_listen("127.0.0.1:79", NULL, &listener), -EACCES);
    cr_assert_null(listener);
}

FIBER_TEST(listener, port_0_gets_a_port_that_the_address_tells)
{
    static const char *const addresses[] = {"127.0.0.1:0", "[::1]:0"};

    for (size_t i = 0; i < 2; i++) {
        coil_listener *listener = listen_to(addresses[i]);
        char address[COIL_ADDRESS_SIZE];

        address_of(listener, address);
        cr_assert_str_neq(strrchr(address, ':'), ":0");
        cr_assert_eq(coil_listener_address(listener, address, 5), -ENOBUFS);
        address_of(listener, address);
        assert_connects(listener, address);
        coil_listener_close(listener);
    }
}

FIBER_TEST(listener, a_port_alone_takes_ipv4_and_ipv6)
{
    coil_listener *listener = listen_to(":0");
    char address[COIL_ADDRESS_SIZE];
    char dialled[COIL_ADDRESS_SIZE + 16];

    address_of(listener, address);
    (void)snprintf(dialled, sizeof dialled, "127.0.0.1%s", strrchr(address, ':'));
    assert_connects(listener, dialled);
    (void)snprintf(dialled, sizeof dialled, "[::1]%s", strrchr(address, ':'));
    assert_connects(listener, dialled);
    coil_listener_close(listener);
}

FIBER_TEST(listener, a_port_can_be_shared_only_by_those_who_ask)
{
    const coil_listen_options options = {.size = sizeof options, .reuse_port = true};
    coil_listener *first;
    coil_listener *second;
    coil_listener *third;
    char address[COIL_ADDRESS_SIZE];

    cr_assert_eq(coil_listen("127.0.0.1:0", &options, &first), 0);
    address_of(first, address);
    cr_assert_eq(coil_listen(address, &options, &second), 0);
    cr_assert_eq(coil_listen(address, NULL, &third), -EADDRINUSE);
    coil_listener_close(first);
    coil_listener_close(second);
}

FIBER_TEST(listener, accepted_connections_do_not_delay_small_sends)
{
    coil_stream *a;
    coil_stream *b;
    int value = 0;
    socklen_t size = sizeof value;

    tcp_pair(&a, &b);
    cr_assert_eq(getsockopt(coil_stream_fd(a), 6 /* TCP */, 1 /* NODELAY */, &value, &size), 0);
    cr_assert_neq(value, 0);
    value = 0;
    cr_assert_eq(getsockopt(coil_stream_fd(b), 6, 1, &value, &size), 0);
    cr_assert_neq(value, 0);
    cr_assert(fcntl(coil_stream_fd(b), F_GETFD) & FD_CLOEXEC);
    cr_assert_eq(coil_close(a), 0);
    cr_assert_eq(coil_close(b), 0);
}

/* ---- Unix sockets ---- */

FIBER_TEST(listener, a_unix_socket_is_made_and_removed)
{
    char directory[64];
    char address[COIL_ADDRESS_SIZE];
    char text[COIL_ADDRESS_SIZE];
    struct stat status;
    coil_listener *listener;

    make_directory(directory);
    (void)snprintf(address, sizeof address, "unix:%s/socket", directory);
    listener = listen_to(address);
    address_of(listener, text);
    cr_assert_str_eq(text, address);
    assert_connects(listener, address);
    coil_listener_close(listener);
    cr_assert_eq(stat(address + 5, &status), -1);
    cr_assert_eq(rmdir(directory), 0);
}

FIBER_TEST(listener, a_unix_socket_is_kept_if_asked_and_a_stale_one_replaced)
{
    const coil_listen_options options = {.size = sizeof options, .keep_unix = true};
    char directory[64];
    char address[COIL_ADDRESS_SIZE];
    struct stat status;
    coil_listener *listener;
    coil_listener *second = NULL;

    make_directory(directory);
    (void)snprintf(address, sizeof address, "unix:%s/socket", directory);
    cr_assert_eq(coil_listen(address, &options, &listener), 0);
    cr_assert_eq(coil_listen(address, NULL, &second), -EADDRINUSE, "it lives");
    assert_connects(listener, address);
    coil_listener_close(listener);
    cr_assert_eq(stat(address + 5, &status), 0, "kept");

    listener = listen_to(address);
    assert_connects(listener, address);
    coil_listener_close(listener);
    cr_assert_eq(rmdir(directory), 0);
}

FIBER_TEST(listener, a_file_that_is_no_socket_is_never_replaced)
{
    char directory[64];
    char address[COIL_ADDRESS_SIZE];
    coil_listener *listener = NULL;
    int fd;

    make_directory(directory);
    (void)snprintf(address, sizeof address, "unix:%s/file", directory);
    fd = open(address + 5, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
    cr_assert_eq(close(fd), 0);
    cr_assert_eq(coil_listen(address, NULL, &listener), -EADDRINUSE);
    cr_assert_eq(unlink(address + 5), 0, "still there");
    cr_assert_eq(rmdir(directory), 0);
}

FIBER_TEST(listener, an_abstract_unix_socket_needs_no_file)
{
    char address[COIL_ADDRESS_SIZE];
    char text[COIL_ADDRESS_SIZE];
    coil_listener *listener;
    coil_listener *second = NULL;

    (void)snprintf(address, sizeof address, "unix:@coil test %d", (int)getpid());
    listener = listen_to(address);
    address_of(listener, text);
    cr_assert_str_eq(text, address);
    cr_assert_eq(coil_listen(address, NULL, &second), -EADDRINUSE);
    assert_connects(listener, address);
    coil_listener_close(listener);
    listener = listen_to(address);
    coil_listener_close(listener);
}

/* ---- coil_accept ---- */

struct acceptor {
    coil_listener *listener;
    char *order;
    char name;
    coil_stream *stream;
};

static int accept_one(void *arg)
{
    struct acceptor *acceptor = arg;
    const int result = coil_accept(acceptor->listener, &acceptor->stream);

    (void)strncat(acceptor->order, &acceptor->name, 1);
    return result;
}

FIBER_TEST(listener, acceptors_are_served_in_turn)
{
    coil_listener *listener = listen_to("127.0.0.1:0");
    char address[COIL_ADDRESS_SIZE];
    char order[8] = "";
    struct acceptor acceptors[] = {
        {listener, order, 'a', NULL}, {listener, order, 'b', NULL}, {listener, order, 'c', NULL}};
    coil_fiber *fibers[3];
    int fds[3];

    address_of(listener, address);
    for (int i = 0; i < 3; i++)
        fibers[i] = spawn_until_parked(accept_one, &acceptors[i]);
    for (int i = 0; i < 3; i++)
        fds[i] = dial(address);
    for (int i = 0; i < 3; i++) {
        char peer[COIL_ADDRESS_SIZE];
        char byte;

        cr_assert_eq(join_and_drop(fibers[i]), 0);
        write_text(fds[i], &(char[2]){acceptors[i].name}[0]);
        cr_assert_gt(coil_stream_peer(acceptors[i].stream, peer, sizeof peer), 0);
        cr_assert_eq(coil_read(acceptors[i].stream, &byte, 1), 1);
        cr_assert_eq(byte, acceptors[i].name, "connections in the order of arrival");
        cr_assert_eq(coil_close(acceptors[i].stream), 0);
        cr_assert_eq(close(fds[i]), 0);
    }
    cr_assert_str_eq(order, "abc");
    coil_listener_close(listener);
}

FIBER_TEST(listener, close_wakes_all_acceptors_with_ebadf)
{
    coil_listener *listener = listen_to("127.0.0.1:0");
    char order[8] = "";
    struct acceptor acceptors[] = {{listener, order, 'a', NULL}, {listener, order, 'b', NULL}};
    coil_fiber *fibers[2];

    for (int i = 0; i < 2; i++)
        fibers[i] = spawn_until_parked(accept_one, &acceptors[i]);
    coil_listener_close(listener);
    for (int i = 0; i < 2; i++) {
        cr_assert_eq(join_and_drop(fibers[i]), -EBADF);
        cr_assert_null(acceptors[i].stream);
    }
}

FIBER_TEST(listener, an_acceptor_with_its_connection_survives_a_close_before_it_runs)
{
    coil_listener *listener = listen_to("127.0.0.1:0");
    char address[COIL_ADDRESS_SIZE];
    char order[8] = "";
    struct acceptor acceptor = {listener, order, 'a', NULL};
    coil_fiber *fiber = spawn_until_parked(accept_one, &acceptor);
    int fd;

    address_of(listener, address);
    fd = dial(address);
    while (fiber->tcb->state == COIL__FIBER_PARKED)
        coil_yield();
    coil_listener_close(listener);
    cr_assert_eq(join_and_drop(fiber), 0);
    cr_assert_eq(coil_close(acceptor.stream), 0);
    cr_assert_eq(close(fd), 0);
}

static int accept_when_the_turn_ends(void *arg)
{
    coil__sched()->budget = 1;
    return accept_one(arg);
}

FIBER_TEST(listener, an_accept_that_yields_at_its_beginning_survives_a_close)
{
    coil_listener *listener = listen_to("127.0.0.1:0");
    char order[8] = "";
    struct acceptor acceptor = {listener, order, 'a', NULL};
    coil_fiber *fiber;

    cr_assert_eq(coil_spawn(accept_when_the_turn_ends, &acceptor, &fiber), 0);
    coil__sched()->budget = 100;
    coil_yield();
    cr_assert_not_null(fiber->tcb);
    coil_listener_close(listener);
    cr_assert_eq(join_and_drop(fiber), -EBADF);
}

FIBER_TEST(listener, an_interrupted_accept_loses_no_connection)
{
    coil_listener *listener = listen_to("127.0.0.1:0");
    char address[COIL_ADDRESS_SIZE];
    unsigned accepted = 0;
    int fds[40];

    address_of(listener, address);
    for (int i = 0; i < 40; i++) {
        char order[8] = "";
        struct acceptor acceptor = {listener, order, 'a', NULL};
        coil_fiber *fiber = spawn_until_parked(accept_one, &acceptor);

        fds[i] = dial(address);
        for (int turns = i % 4; turns > 0; turns--)
            coil_yield();
        coil_cancel(fiber);
        if (join_and_drop(fiber) == 0) {
            accepted++;
            cr_assert_eq(coil_close(acceptor.stream), 0);
        }
    }
    for (; accepted < 40; accepted++) {
        coil_stream *stream;

        cr_assert_eq(coil_accept(listener, &stream), 0);
        cr_assert_eq(coil_close(stream), 0);
    }
    for (int i = 0; i < 40; i++)
        cr_assert_eq(close(fds[i]), 0);
    coil_listener_close(listener);
}

FIBER_TEST(listener, an_expired_scope_fails_an_accept_even_with_a_connection_waiting)
{
    coil_listener *listener = listen_to("127.0.0.1:0");
    char address[COIL_ADDRESS_SIZE];
    coil_stream *stream = NULL;
    coil_scope scope;
    int fd;

    address_of(listener, address);
    coil_scope_enter(&scope, COIL_MS(5));
    cr_assert_eq(coil_accept(listener, &stream), -ETIMEDOUT);
    cr_assert(coil_scope_leave(&scope));
    fd = dial(address);
    while (listener->queue_count == 0)
        coil_yield();
    coil_scope_enter(&scope, 0);
    cr_assert_eq(coil_accept(listener, &stream), -ETIMEDOUT);
    cr_assert(coil_scope_leave(&scope));
    cr_assert_null(stream);
    cr_assert_eq(coil_accept(listener, &stream), 0);
    cr_assert_eq(coil_close(stream), 0);
    cr_assert_eq(close(fd), 0);
    coil_listener_close(listener);
}

FIBER_TEST(listener, connections_that_nobody_asks_for_wait_and_are_all_served)
{
    enum {
        COUNT = 200
    };

    coil_listener *listener = listen_to("127.0.0.1:0");
    char address[COIL_ADDRESS_SIZE];
    coil_stream *stream;
    coil_scope scope;
    int fds[COUNT];
    char byte;

    address_of(listener, address);
    coil_scope_enter(&scope, COIL_MS(1)); /* starts the standing order */
    cr_assert_eq(coil_accept(listener, &stream), -ETIMEDOUT);
    (void)coil_scope_leave(&scope);
    /* The queue is turned a little, then overflows in one burst. */
    for (int i = 0; i < 10; i++) {
        fds[0] = dial(address);
        cr_assert_eq(coil_accept(listener, &stream), 0);
        cr_assert_eq(coil_close(stream), 0);
        cr_assert_eq(close(fds[0]), 0);
        if (i % 2)
            continue;
        fds[0] = dial(address);
        while (listener->queue_count == 0)
            coil_yield();
        cr_assert_eq(coil_accept(listener, &stream), 0);
        cr_assert_eq(coil_close(stream), 0);
        cr_assert_eq(close(fds[0]), 0);
    }
    for (int i = 0; i < COUNT; i++) {
        fds[i] = dial(address);
        write_fd(fds[i], &(char){(char)i}, 1);
    }
    while (listener->is_active)
        coil_yield();
    for (int i = 0; i < COUNT; i++) {
        cr_assert_eq(coil_accept(listener, &stream), 0);
        cr_assert_eq(coil_read(stream, &byte, 1), 1);
        cr_assert_eq(byte, (char)i, "in the order of arrival");
        cr_assert_eq(coil_close(stream), 0);
        cr_assert_eq(close(fds[i]), 0);
    }
    coil_listener_close(listener);
}

FIBER_TEST(listener, connections_left_in_the_queue_are_closed_with_the_listener)
{
    coil_listener *listener = listen_to("127.0.0.1:0");
    char address[COIL_ADDRESS_SIZE];
    coil_stream *stream;
    coil_scope scope;
    char byte;
    int fd;

    address_of(listener, address);
    coil_scope_enter(&scope, COIL_MS(1));
    cr_assert_eq(coil_accept(listener, &stream), -ETIMEDOUT);
    (void)coil_scope_leave(&scope);
    fd = dial(address);
    while (listener->queue_count == 0)
        coil_yield();
    coil_listener_close(listener);
    cr_assert_eq(read_fd(fd, &byte, 1), 0);
    cr_assert_eq(close(fd), 0);
}

/* ---- No descriptors left ---- */

static void limit_fds(rlim_t limit)
{
    struct rlimit limits;

    cr_assert_eq(getrlimit(RLIMIT_NOFILE, &limits), 0);
    limits.rlim_cur = limit;
    cr_assert_eq(setrlimit(RLIMIT_NOFILE, &limits), 0);
}

/* Takes every descriptor there is; returns how many. */
static size_t take_all_fds(int *fds, size_t max)
{
    size_t count = 0;

    while (count < max) {
        fds[count] = fcntl(0, F_DUPFD_CLOEXEC, 0);
        if (fds[count] < 0)
            break;
        count++;
    }
    return count;
}

FIBER_TEST(listener, running_out_of_descriptors_pauses_accepting_without_burning_the_core)
{
    enum {
        LIMIT = 100
    };

    coil_listener *listener = listen_to("127.0.0.1:0");
    const struct coil__sched *sched = coil__sched();
    char address[COIL_ADDRESS_SIZE];
    char order[8] = "";
    struct acceptor acceptor = {listener, order, 'a', NULL};
    coil_fiber *fiber;
    uint64_t turns;
    uint64_t enters;
    int taken[LIMIT];
    size_t count;
    int fd;

    address_of(listener, address);
    limit_fds(LIMIT);
    fd = dial(address);
    count = take_all_fds(taken, LIMIT);
    cr_assert_lt(count, LIMIT);
    fiber = spawn_until_parked(accept_one, &acceptor);
    while (listener->retry_delay == 0)
        coil_yield();

    turns = sched->turn_count;
    enters = sched->engine->stats.enter_count;
    while (listener->retry_delay < COIL_MS(80)) /* it grows: 10 + 20 + 40 ms later */
        cr_assert_eq(coil_sleep(COIL_MS(20)), 0);
    cr_assert_leq(sched->turn_count - turns, 40, "%llu turns",
                  (unsigned long long)(sched->turn_count - turns));
    cr_assert_leq(sched->engine->stats.enter_count - enters, 80);
    cr_assert_not_null(fiber->tcb, "it waits");

    while (count > 0)
        cr_assert_eq(close(taken[--count]), 0);
    cr_assert_eq(join_and_drop(fiber), 0, "and recovers by itself");
    cr_assert_eq(listener->retry_delay, 0);
    cr_assert_eq(coil_close(acceptor.stream), 0);
    cr_assert_eq(close(fd), 0);
    coil_listener_close(listener);
}

FIBER_TEST(listener, close_during_the_pause_wakes_the_acceptor)
{
    enum {
        LIMIT = 100
    };

    coil_listener *listener = listen_to("127.0.0.1:0");
    char order[8] = "";
    struct acceptor acceptor = {listener, order, 'a', NULL};
    coil_fiber *fiber;
    int taken[LIMIT];
    size_t count;
    char address[COIL_ADDRESS_SIZE];
    int fd;

    address_of(listener, address);
    limit_fds(LIMIT);
    fd = dial(address);
    count = take_all_fds(taken, LIMIT);
    fiber = spawn_until_parked(accept_one, &acceptor);
    while (listener->retry_delay == 0)
        coil_yield();
    coil_listener_close(listener);
    cr_assert_eq(join_and_drop(fiber), -EBADF);
    while (count > 0)
        cr_assert_eq(close(taken[--count]), 0);
    cr_assert_eq(close(fd), 0);
}

FIBER_TEST(listener, near_the_limit_of_descriptors_only_asked_for_connections_are_accepted)
{
    enum {
        LIMIT = 60,
        CLIENTS = 10
    };

    coil_listener *listener;
    char address[COIL_ADDRESS_SIZE];
    coil_stream *stream;
    int fds[CLIENTS];

    limit_fds(LIMIT);
    listener = listen_to("127.0.0.1:0");
    address_of(listener, address);
    for (int i = 0; i < CLIENTS; i++)
        fds[i] = dial(address);
    for (int i = 0; i < CLIENTS; i++) {
        cr_assert_eq(coil_accept(listener, &stream), 0);
        cr_assert_eq(listener->queue_count, 0);
        cr_assert_eq(coil_close(stream), 0);
        cr_assert_eq(close(fds[i]), 0);
    }
    coil_listener_close(listener);
}

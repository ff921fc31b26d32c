/* SPDX-License-Identifier: MIT */
/* Servers, other cores, processes and threads, on a kernel that fails its N-th operation
 * (tests/net/nth_fixture.h).
 */
#include <fcntl.h>
#include <signal.h>

#include "io/file_fixture.h"
#include "net/nth_fixture.h"

TestSuite(nth_served, .init = make_directory, .fini = remove_directory, .timeout = 120);

/* What is not `expected` is wrong data; errors stay what they are. */
static int expect(ssize_t result, ssize_t expected)
{
    if (result < 0)
        return (int)result;
    return result == expected ? 0 : -EILSEQ;
}

static void report_nothing(const coil_fiber *fiber, int result, void *arg)
{
    (void)fiber;
    (void)result;
    (void)arg;
}

/* Asks once; a server that has failed may end the connection. */
static int ask(const char *address)
{
    char text[8] = "";
    coil_stream *stream;
    ssize_t length;
    int result = coil_connect(address, NULL, &stream);

    if (result < 0)
        return result;
    result = coil_write(stream, "ask\n", 4);
    if (result == 0)
        result = coil_flush(stream);
    if (result == 0) {
        length = coil_read_full(stream, text, 4, NULL);
        result = length >= 0 && length < 4 ? -ENODATA : expect(length, 4);
    }
    if (result == 0 && memcmp(text, "yes\n", 4) != 0)
        result = -EILSEQ;
    (void)coil_close(stream);
    return result;
}

static int answer(coil_stream *stream, void *arg)
{
    char line[8];
    const int result = expect(coil_read_line(stream, line, sizeof line), 4);

    (void)arg;
    return result < 0 ? result : coil_write(stream, "yes\n", 4);
}

/* ---- Accepting ---- */

static bool is_closed; /* by the server */

static int serve_and_close(void *arg)
{
    coil_listener *listener = arg;
    coil_serve_options options = COIL_SERVE_OPTIONS_INIT;
    int result;

    options.concurrency = 2; /* scarce: each connection has an accept of its own */
    result = coil_serve(listener, answer, NULL, &options);
    is_closed = true;
    coil_listener_close(listener);
    return result;
}

static int use_server(void)
{
    char address[COIL_ADDRESS_SIZE];
    coil_listener *listener;
    coil_fiber *server;
    int served;
    int result = coil_listen("127.0.0.1:0", NULL, &listener);

    if (result < 0)
        return result;
    is_closed = false;
    coil_unhandled_set(report_nothing, NULL);
    (void)coil_listener_address(listener, address, sizeof address);
    cr_assert_eq(coil_spawn(serve_and_close, listener, &server), 0);
    for (int i = 0; i < 3 && result == 0; i++)
        result = ask(address);
    if (!is_closed)
        coil_serve_stop(listener);
    served = join_and_drop(server);
    return result < 0 ? result : served;
}

Test(nth_served, accepting_goes_on_or_the_server_says_why_not)
{
    fail_each_accept(use_server);
}

static coil_listener *held;
static bool is_holding;

/* The first one keeps the server busy until somebody else has got an answer, or was refused. */
static int hold(coil_stream *stream, void *arg)
{
    char byte;
    coil_stream *late;
    ssize_t result;

    (void)stream;
    if (is_holding)
        return 0;
    is_holding = true;
    if (coil_connect(arg, NULL, &late) < 0)
        return 0;
    result = coil_read(late, &byte, 1); /* the end, or a reset */
    (void)coil_close(late);
    return result > 0 ? -EILSEQ : 0;
}

/* One place left is scarce: each connection has an accept of its own, which may fail. */
static int serve_held(void *arg)
{
    coil_serve_options options = COIL_SERVE_OPTIONS_INIT;

    options.concurrency = 2;
    options.grace = COIL_SECONDS(100);
    return coil_serve(held, hold, arg, &options);
}

static int use_held_server(void)
{
    char address[COIL_ADDRESS_SIZE];
    char byte;
    coil_stream *first;
    coil_fiber *server;
    int served;
    int result = coil_listen("127.0.0.1:0", NULL, &held);

    if (result < 0)
        return result;
    is_holding = false;
    (void)coil_listener_address(held, address, sizeof address);
    cr_assert_eq(coil_spawn(serve_held, address, &server), 0);
    result = coil_connect(address, NULL, &first);
    if (result == 0) {
        result = expect(coil_read(first, &byte, 1), 0);
        (void)coil_close(first);
    }
    coil_serve_stop(held);
    served = join_and_drop(server);
    coil_listener_close(held);
    return result < 0 ? result : served;
}

Test(nth_served, who_comes_when_the_listener_has_failed_is_refused_at_once)
{
    fail_each_accept(use_held_server);
}

/* ---- Datagrams ---- */

static int answer_datagram(const void *data, size_t size, const coil_address *from, coil_udp *udp,
                           void *arg)
{
    (void)arg;
    return size == 3 && memcmp(data, "ask", 3) == 0 ? coil_udp_send(udp, "yes", 3, from) : -EILSEQ;
}

static int serve_datagrams(void *arg)
{
    return coil_udp_serve(arg, answer_datagram, NULL, NULL);
}

/* A datagram whose server failed gets no answer, so the client asks again, in bounded time. */
static int ask_by_datagram(const char *address, coil_fiber *server)
{
    char text[8];
    coil_udp *client;
    bool is_late = false;
    int tries = 0;
    int result = coil_udp_connect(address, NULL, NULL, &client);

    if (result < 0)
        return result;
    do {
        coil_scope scope;
        int ended;

        coil_scope_enter(&scope, COIL_MS(50));
        result = coil_udp_send(client, "ask", 3, NULL);
        if (result == 0)
            result = expect(coil_udp_recv(client, text, sizeof text, NULL), 3);
        is_late = coil_scope_leave(&scope);
        if (coil_try_join(server, &ended) == 0)
            is_late = false;
    } while (is_late && ++tries < 100);
    if (result == 0 && memcmp(text, "yes", 3) != 0)
        result = -EILSEQ;
    cr_assert_lt(tries, 100, "nobody answers");
    coil_udp_close(client);
    return result;
}

static int use_datagram_server(void)
{
    char address[COIL_ADDRESS_SIZE];
    coil_fiber *server;
    coil_udp *udp;
    int served;
    int result = coil_udp_open("127.0.0.1:0", NULL, &udp);

    if (result < 0)
        return result;
    coil_unhandled_set(report_nothing, NULL);
    (void)coil_udp_address(udp, address, sizeof address);
    cr_assert_eq(coil_spawn(serve_datagrams, udp, &server), 0);
    for (int i = 0; i < 3 && result == 0; i++)
        result = ask_by_datagram(address, server);
    coil_udp_serve_stop(udp);
    served = join_and_drop(server);
    coil_udp_close(udp);
    return result < 0 ? result : served;
}

Test(nth_served, a_datagram_server_goes_on_or_says_why_not)
{
    fail_everything(use_datagram_server);
}

/* ---- Other cores ---- */

static int serve_on_cores(void *arg)
{
    return coil_serve_cores(arg, answer, NULL, NULL);
}

static int use_listeners(void)
{
    char address[COIL_ADDRESS_SIZE];
    coil_listeners *listeners;
    coil_fiber *server;
    int result = coil_listen_cores("127.0.0.1:0", NULL, &listeners);

    if (result < 0)
        return result;
    coil_unhandled_set(report_nothing, NULL);
    (void)coil_listeners_address(listeners, address, sizeof address);
    cr_assert_eq(coil_spawn(serve_on_cores, listeners, &server), 0);
    for (int i = 0; i < 3 && result == 0; i++)
        result = ask(address);
    coil_serve_cores_stop(listeners);
    cr_assert_eq(join_and_drop(server), 0);
    coil_listeners_close(listeners);
    return result;
}

Test(nth_served, servers_on_all_cores_get_over_it)
{
    fail_everything_on_two_cores(use_listeners);
}

static int use_move(void)
{
    char line[8] = "";
    coil_stream *client;
    coil_stream *server;
    ssize_t length;
    int result;

    coil_unhandled_set(report_nothing, NULL);
    stream_pair(&client, &server);
    result = coil_write(client, "go\nask\n", 7);
    if (result == 0)
        result = coil_flush(client);
    if (result == 0)
        result = expect(coil_read_line(server, line, sizeof line), 3);
    if (result == 0)
        result = coil_stream_move(server, 1, answer, NULL);
    else
        (void)coil_close(server);
    if (result == 0) {
        length = coil_read_full(client, line, 4, NULL);
        result = length >= 0 && length < 4 ? -ENODATA : expect(length, 4);
    }
    if (result == 0 && memcmp(line, "yes\n", 4) != 0)
        result = -EILSEQ;
    (void)coil_close(client);
    return result;
}

Test(nth_served, a_moved_stream_works_there_or_ends)
{
    fail_everything_on_two_cores(use_move);
}

/* ---- Processes ---- */

static int wait_killed(coil_process *process)
{
    int status = 0;
    int result = coil_process_kill(process, SIGTERM);

    if (result == 0)
        result = coil_process_wait(process, &status);
    if (result == 0 && status != -SIGTERM)
        result = -EILSEQ;
    return result;
}

static int use_killed_process(void)
{
    const char *const argv[] = {"cat", NULL};
    coil_process_options options = COIL_PROCESS_OPTIONS_INIT;
    coil_process *process;
    int result;

    options.in = COIL_PROCESS_PIPE;
    result = coil_process_spawn(argv, &options, &process);
    if (result < 0)
        return result;
    result = wait_killed(process);
    coil_process_free(process);
    return result;
}

Test(nth_served, a_killed_process_is_waited_for)
{
    fail_everything(use_killed_process);
}

/* ---- Threads ---- */

static int count_up(void *arg)
{
    return ++*(int *)arg;
}

static int use_offload(void)
{
    int count = 0;
    int value = 0;
    int result = coil_path_mkdir(AT_FDCWD, at("d"), 0700); /* a thread's end is no operation */

    for (int i = 0; i < 3 && result == 0; i++) {
        result = coil_offload(count_up, &count, NULL, &value);
        if (result == 0 && (value != i + 1 || count != i + 1))
            result = -EILSEQ;
    }
    return result < 0 ? result : coil_path_rmdir(AT_FDCWD, at("d"));
}

Test(nth_served, offloaded_calls_come_back)
{
    fail_everything(use_offload);
}

/* SPDX-License-Identifier: MIT */
/* Whatever uses the ring, on a kernel that fails its N-th operation (tests/net/nth_fixture.h). */
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <unistd.h>

#include "io/file_fixture.h"
#include "net/nth_fixture.h"

TestSuite(nth_operation, .init = make_directory, .fini = remove_directory, .timeout = 120);

/* What is not `expected` is wrong data; errors stay what they are. */
static int expect(ssize_t result, ssize_t expected)
{
    if (result < 0)
        return (int)result;
    return result == expected ? 0 : -EILSEQ;
}

/* ---- Files ---- */

static int use_descriptor(int fd)
{
    char text[8] = "";
    coil_file_info info;
    int result = coil_file_write_all(fd, "hello", 5, 0, NULL);

    if (result == 0)
        result = coil_file_sync(fd);
    if (result == 0)
        result = expect(coil_file_read_full(fd, text, 5, 0, NULL), 5);
    if (result == 0 && strcmp(text, "hello") != 0)
        result = -EILSEQ;
    if (result == 0)
        result = coil_file_truncate(fd, 2);
    if (result == 0)
        result = coil_file_stat(fd, &info);
    if (result == 0 && info.size != 2)
        result = -EILSEQ;
    return result;
}

static int use_files(void)
{
    const int fd = coil_file_open(at("a"), O_RDWR | O_CREAT | O_TRUNC, 0600);
    char *data;
    size_t size;
    int result;

    if (fd < 0)
        return fd;
    result = use_descriptor(fd);
    (void)coil_file_close(fd);
    if (result < 0)
        return result;
    result = coil_file_load(at("a"), 100, &data, &size);
    if (result < 0)
        return result;
    result = size == 2 && memcmp(data, "he", 2) == 0 ? 0 : -EILSEQ;
    coil_file_data_free(data);
    return result;
}

Test(nth_operation, files_report_what_fails_and_leave_nothing)
{
    fail_everything(use_files);
}

static int use_paths(void)
{
    coil_file_info info;
    int result = coil_path_mkdir(AT_FDCWD, at("d"), 0700);

    if (result == 0)
        result = coil_path_symlink("d", AT_FDCWD, at("s"));
    if (result == 0)
        result = coil_path_stat(AT_FDCWD, at("s"), 0, &info);
    if (result == 0)
        result = coil_path_link(AT_FDCWD, at("s"), AT_FDCWD, at("l"));
    if (result == 0)
        result = coil_path_rename(AT_FDCWD, at("l"), AT_FDCWD, at("m"), 0);
    if (result == 0)
        result = coil_path_unlink(AT_FDCWD, at("m"));
    if (result == 0)
        result = coil_path_rmdir(AT_FDCWD, at("d"));
    return result;
}

Test(nth_operation, paths_report_what_fails_and_leave_nothing)
{
    fail_everything(use_paths);
}

/* ---- Signals ---- */

static int use_signal(void)
{
    coil_signal *signal;
    sigset_t signals;
    int number = 0;
    int result;

    (void)sigemptyset(&signals);
    (void)sigaddset(&signals, SIGUSR1);
    result = coil_signal_open(&signals, &signal);
    if (result < 0)
        return result;
    cr_assert_eq(raise(SIGUSR1), 0);
    result = coil_signal_wait(signal, &number);
    if (result == 0 && number != SIGUSR1)
        result = -EILSEQ;
    coil_signal_close(signal);
    return result;
}

Test(nth_operation, signals_are_told_or_the_failure_is)
{
    fail_everything(use_signal);
}

/* ---- Pipes and other descriptors ---- */

static int use_pipe(void)
{
    coil_stream *reader;
    coil_stream *writer;
    char byte = 0;
    int result = coil_pipe(&reader, &writer);

    if (result < 0)
        return result;
    result = coil_write(writer, "x", 1);
    if (result == 0)
        result = coil_flush(writer);
    if (result == 0)
        result = expect(coil_read(reader, &byte, 1), 1);
    if (result == 0 && byte != 'x')
        result = -EILSEQ;
    (void)coil_close(writer);
    (void)coil_close(reader);
    return result;
}

Test(nth_operation, pipes_report_what_fails_and_leave_nothing)
{
    fail_everything(use_pipe);
}

static int write_later(void *arg)
{
    return write(*(int *)arg, "x", 1) == 1 ? 0 : -EIO;
}

static int use_poll(void)
{
    struct pollfd asked[2];
    coil_fiber *fiber;
    int fds[2];
    int result;

    cr_assert_eq(pipe2(fds, O_CLOEXEC), 0);
    asked[0] = (struct pollfd){.fd = fds[0], .events = POLLIN};
    asked[1] = (struct pollfd){.fd = fds[0], .events = POLLPRI};
    cr_assert_eq(coil_spawn(write_later, &fds[1], &fiber), 0);
    result = expect(coil_poll(asked, 2), 1);
    if (result == 0)
        result = expect(coil_poll_fd(fds[0], POLLIN), POLLIN);
    cr_assert_eq(join_and_drop(fiber), 0);
    (void)close(fds[0]);
    (void)close(fds[1]);
    return result;
}

Test(nth_operation, polls_report_what_fails_and_leave_nothing)
{
    fail_everything(use_poll);
}

/* ---- Processes ---- */

static int use_process(void)
{
    const char *const argv[] = {"cat", NULL};
    coil_process_output output = {0};
    int result = coil_process_run(argv, NULL, "text", 4, &output);

    if (result == 0 && (output.out_len != 4 || memcmp(output.out, "text", 4) != 0))
        result = -EILSEQ;
    coil_process_output_free(&output);
    return result;
}

Test(nth_operation, processes_report_what_fails_and_none_is_left)
{
    fail_everything(use_process);
}

/* ---- Sockets ---- */

static int exchange_datagrams(coil_udp *server, coil_udp *client)
{
    coil_address peer;
    char text[8];
    int result = coil_udp_send(client, "ask", 3, NULL);

    if (result == 0)
        result = expect(coil_udp_recv(server, text, sizeof text, &peer), 3);
    if (result == 0)
        result = coil_udp_send(server, "yes", 3, &peer);
    if (result == 0)
        result = expect(coil_udp_recv(client, text, sizeof text, NULL), 3);
    if (result == 0 && memcmp(text, "yes", 3) != 0)
        result = -EILSEQ;
    return result;
}

static int use_datagrams(void)
{
    char address[COIL_ADDRESS_SIZE];
    coil_udp *server;
    coil_udp *client;
    int result = coil_udp_open("127.0.0.1:0", NULL, &server);

    if (result < 0)
        return result;
    (void)coil_udp_address(server, address, sizeof address);
    result = coil_udp_connect(address, NULL, NULL, &client);
    if (result == 0) {
        for (int i = 0; i < 3 && result == 0; i++)
            result = exchange_datagrams(server, client);
        coil_udp_close(client);
    }
    coil_udp_close(server);
    return result;
}

Test(nth_operation, datagrams_are_right_or_the_failure_is_told)
{
    fail_everything(use_datagrams);
}

/* Answers a line with a file. */
static int send_a_file(coil_stream *stream, void *arg)
{
    char line[16];
    int result = expect(coil_read_line(stream, line, sizeof line), 5);

    if (result == 0)
        result = coil_sendfile(stream, *(int *)arg, 0, 5, NULL);
    return result;
}

static int ask_through_pool(coil_respool *pool, const char *address)
{
    char text[8] = "";
    coil_resource *connection;
    coil_stream *stream;
    int result = coil_respool_get(pool, address, &connection);

    if (result < 0)
        return result;
    stream = coil_resource_value(connection);
    result = coil_write(stream, "file\n", 5);
    if (result == 0)
        result = coil_flush(stream); /* a read does not tell that it failed */
    if (result == 0)
        result = expect(coil_read_full(stream, text, 5, NULL), 5);
    if (result == 0 && strcmp(text, "hello") != 0)
        result = -EILSEQ;
    coil_respool_drop(connection);
    /* Less than the file is what a server leaves that failed. */
    return result == -EILSEQ && strlen(text) < 5 ? -ENODATA : result;
}

struct site {
    coil_listener *listener;
    int fd;
};

static int serve_site(void *arg)
{
    const struct site *site = arg;
    int fd = site->fd;

    return coil_serve(site->listener, send_a_file, &fd, NULL);
}

static int ask_twice(const char *address)
{
    coil_respool_options options = COIL_CONNPOOL_OPTIONS_INIT;
    coil_respool *pool;
    int result = coil_respool_new(&options, &pool);

    if (result < 0)
        return result;
    result = ask_through_pool(pool, address);
    if (result == 0)
        result = ask_through_pool(pool, address);
    coil_respool_free(pool);
    return result;
}

static void report_nothing(const coil_fiber *fiber, int result, void *arg)
{
    (void)fiber;
    (void)result;
    (void)arg;
}

static int use_connections(void)
{
    char address[COIL_ADDRESS_SIZE];
    struct site site;
    coil_fiber *server;
    int result = coil_listen("127.0.0.1:0", NULL, &site.listener);

    if (result < 0)
        return result;
    coil_unhandled_set(report_nothing, NULL);
    write_file("f", "hello");
    site.fd = open(at("f"), O_RDONLY | O_CLOEXEC);
    cr_assert_geq(site.fd, 0);
    (void)coil_listener_address(site.listener, address, sizeof address);
    cr_assert_eq(coil_spawn(serve_site, &site, &server), 0);
    result = ask_twice(address);
    coil_serve_stop(site.listener);
    cr_assert_eq(join_and_drop(server), 0);
    coil_listener_close(site.listener);
    (void)close(site.fd);
    return result;
}

Test(nth_operation, connections_end_or_get_over_it_and_pass_no_wrong_byte)
{
    fail_everything(use_connections);
}

/* Looks at its reads only, which stream.h allows. */
static int echo(void *arg)
{
    coil_stream *stream = arg;
    char line[16];
    ssize_t len;

    while ((len = coil_read_line(stream, line, sizeof line)) > 0)
        coil_write(stream, line, (size_t)len);
    (void)coil_close(stream);
    return 0;
}

static int use_echo(void)
{
    coil_stream *client;
    coil_stream *server;
    coil_fiber *fiber;
    char line[16];
    int result = 0;

    stream_pair(&client, &server);
    cr_assert_eq(coil_spawn(echo, server, &fiber), 0);
    for (int i = 0; i < 3 && result == 0; i++) {
        coil_write(client, "hello\n", 6);
        result = (int)coil_read_line(client, line, sizeof line);
        if (result == 0)
            result = -ENODATA;
        if (result > 0)
            result = expect(result, 6);
    }
    (void)coil_close(client);
    cr_assert_eq(join_and_drop(fiber), 0);
    return result;
}

Test(nth_operation, nobody_waits_for_the_answer_to_what_could_not_be_sent)
{
    fail_everything(use_echo);
}

static int pass_a_descriptor(coil_stream *from, coil_stream *to)
{
    char line[8];
    int fd = -1;
    int result = coil_stream_want_fds(to, 4);

    if (result == 0)
        result = coil_send_fds(from, "take\n", 5, &(int){STDIN_FILENO}, 1);
    if (result == 0)
        result = expect(coil_read_line(to, line, sizeof line), 5);
    if (result == 0)
        result = expect(coil_take_fds(to, &fd, 1), 1);
    if (result == 0)
        (void)close(fd);
    return result;
}

static int use_descriptor_passing(void)
{
    coil_stream *from;
    coil_stream *to;
    int result;

    stream_pair(&from, &to);
    result = pass_a_descriptor(from, to);
    (void)coil_close(from);
    (void)coil_close(to);
    return result;
}

Test(nth_operation, no_descriptor_is_lost_on_its_way)
{
    fail_everything(use_descriptor_passing);
}

/* ---- The console ---- */

static int ask_console(const char *address)
{
    char line[256];
    coil_stream *stream;
    ssize_t length;
    int result = coil_connect(address, NULL, &stream);

    if (result < 0)
        return result;
    result = coil_write(stream, "ps\n", 3);
    if (result == 0)
        result = coil_flush(stream);
    do
        length = result < 0 ? 0 : coil_read_line(stream, line, sizeof line);
    while (length > 0 && strcmp(line, "ok\n") != 0);
    (void)coil_close(stream);
    if (result < 0 || length < 0)
        return result < 0 ? result : (int)length;
    return length > 0 ? 0 : -ENODATA;
}

static int use_console(void)
{
    char address[COIL_ADDRESS_SIZE];
    coil_backdoor *backdoor;
    int result = coil_backdoor_open(at("console"), NULL, &backdoor);

    if (result < 0)
        return result;
    coil_unhandled_set(report_nothing, NULL);
    (void)snprintf(address, sizeof address, "unix:%s", at("console"));
    result = ask_console(address);
    coil_backdoor_close(backdoor);
    return result;
}

Test(nth_operation, no_client_of_the_console_waits_for_ever)
{
    fail_everything(use_console);
}

/* SPDX-License-Identifier: MIT */
/* A graceful stop and the kernel's backlog: who is connected is served, who comes later is refused
 * at once, while the last handlers still run.
 */
#include <linux/filter.h>
#include <poll.h>
#include <sys/resource.h>
#include <unistd.h>

#include "net/listener.h"
#include "net/serve_fixture.h"

TestSuite(serve_backlog, .timeout = 60);

enum {
    CLIENTS = 20,
    LIMIT = 200,
    PEERS = 4,
};

static void open_site(struct site *site, bool is_unix)
{
    if (is_unix)
        site_open_unix(site, wait_for_line);
    else
        site_open(site, wait_for_line);
    site->options.concurrency = 1;
}

static void ask(int fd)
{
    write_text(fd, "x\n");
}

static void expect_answer(int fd)
{
    char text[8];

    cr_assert_eq(read_fd(fd, text, sizeof text), 5);
    cr_assert_eq(close(fd), 0);
}

/* One client is being served, the others are not. */
static void connect_clients(struct site *site, int fds[CLIENTS])
{
    fds[0] = dial(site->address);
    until_running(site, 1);
    for (int i = 1; i < CLIENTS; i++)
        fds[i] = dial(site->address);
}

FIBER_TEST(serve_backlog, what_is_there_at_a_stop_is_served_within_the_limit)
{
    for (int is_unix = 0; is_unix < 2; is_unix++) {
        struct site site;
        int fds[CLIENTS];

        open_site(&site, is_unix);
        site_start(&site);
        connect_clients(&site, fds);
        coil_serve_stop(site.listener);
        for (int i = 0; i < CLIENTS; i++)
            ask(fds[i]);
        cr_assert_eq(site_end(&site), 0);
        for (int i = 0; i < CLIENTS; i++)
            expect_answer(fds[i]);
        cr_assert_eq(site.served, CLIENTS);
        cr_assert_eq(site.running_max, 1);
    }
}

FIBER_TEST(serve_backlog, what_is_there_at_a_stop_before_the_server_begins_is_served)
{
    for (int is_unix = 0; is_unix < 2; is_unix++) {
        struct site site;
        int fds[CLIENTS];

        open_site(&site, is_unix);
        for (int i = 0; i < CLIENTS; i++) {
            fds[i] = dial(site.address);
            ask(fds[i]);
        }
        coil_serve_stop(site.listener);
        site_start(&site);
        cr_assert_eq(site_end(&site), 0);
        for (int i = 0; i < CLIENTS; i++)
            expect_answer(fds[i]);
    }
}

FIBER_TEST(serve_backlog, the_grace_of_a_stop_before_the_server_begins_has_an_end)
{
    for (int is_unix = 0; is_unix < 2; is_unix++) {
        struct site site;
        int fds[2];

        open_site(&site, is_unix);
        site.options.grace = COIL_MS(20);
        for (int i = 0; i < 2; i++)
            fds[i] = dial(site.address);
        coil_serve_stop(site.listener);
        site_start(&site);
        cr_assert_eq(site_end(&site), 0, "although nobody asks anything");
        for (int i = 0; i < 2; i++)
            cr_assert_eq(close(fds[i]), 0);
    }
}

FIBER_TEST(serve_backlog, what_is_there_at_a_stop_can_be_accepted_by_hand)
{
    for (int is_unix = 0; is_unix < 2; is_unix++) {
        struct site site;
        coil_stream *stream;
        int fds[2];

        open_site(&site, is_unix);
        for (int i = 0; i < 2; i++)
            fds[i] = dial(site.address);
        coil_serve_stop(site.listener);
        for (int i = 0; i < 2; i++) {
            cr_assert_eq(coil_accept(site.listener, &stream), 0);
            cr_assert_eq(coil_close(stream), 0);
            cr_assert_eq(close(fds[i]), 0);
        }
        cr_assert_eq(coil_accept(site.listener, &stream), -ESHUTDOWN);
        cr_assert_eq(coil_accept(site.listener, &stream), -ESHUTDOWN);
        coil_listener_close(site.listener);
    }
}

static int accept_one(void *arg)
{
    struct site *site = arg;
    coil_stream *stream;
    const int result = coil_accept(site->listener, &stream);

    if (result == 0)
        (void)coil_close(stream);
    return result;
}

FIBER_TEST(serve_backlog, what_is_there_at_a_stop_can_be_accepted_although_an_accept_was_waiting)
{
    for (int is_unix = 0; is_unix < 2; is_unix++) {
        coil_fiber *fibers[2];
        coil_fiber *waiting;
        struct site site;
        int fds[2];

        open_site(&site, is_unix);
        waiting = spawn_until_parked(accept_one, &site);
        cr_assert_eq(coil_sleep(0), 0, "the kernel has the order to accept");
        for (int i = 0; i < 2; i++)
            fds[i] = dial(site.address);
        coil_serve_stop(site.listener);
        for (int i = 0; i < 2; i++)
            cr_assert_eq(coil_spawn(accept_one, &site, &fibers[i]), 0);
        for (int i = 0; i < 2; i++) {
            cr_assert_eq(join_and_drop(fibers[i]), 0);
            cr_assert_eq(close(fds[i]), 0);
        }
        cr_assert_eq(join_and_drop(waiting), -ESHUTDOWN);
        cr_assert_eq(accept_one(&site), -ESHUTDOWN);
        coil_listener_close(site.listener);
    }
}

/* The result of connect(2). */
static int try_to_connect(const char *address)
{
    coil_address addr;
    int result;
    int fd;

    cr_assert_eq(coil_address_parse(address, &addr), 0);
    fd = socket(addr.storage.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    cr_assert_geq(fd, 0);
    result = connect(fd, coil__addr_sockaddr(&addr), addr.length) < 0 ? -errno : 0;
    cr_assert_eq(close(fd), 0);
    return result;
}

FIBER_TEST(serve_backlog, later_connections_are_refused_while_a_handler_still_runs)
{
    for (int is_unix = 0; is_unix < 2; is_unix++) {
        char address[COIL_ADDRESS_SIZE];
        struct site site;
        int fd;

        open_site(&site, is_unix);
        site.options.concurrency = 10;
        site_start(&site);
        fd = dial(site.address);
        until_running(&site, 1);
        coil_serve_stop(site.listener);
        while (!site.listener->is_over)
            coil_yield();
        cr_assert_eq(try_to_connect(site.address), -ECONNREFUSED);
        cr_assert_eq(site.running, 1);
        cr_assert_gt(coil_listener_address(site.listener, address, sizeof address), 0);
        cr_assert_str_eq(address, site.address);
        ask(fd);
        cr_assert_eq(site_end(&site), 0);
        expect_answer(fd);
    }
}

static int error_of(int fd)
{
    int error = 0;
    socklen_t length = sizeof error;

    cr_assert_eq(getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &length), 0);
    return error;
}

FIBER_TEST(serve_backlog, no_connection_begins_while_it_is_being_served)
{
    struct site site;
    struct pollfd late = {.events = POLLOUT};
    coil_address addr;
    int fds[CLIENTS];

    open_site(&site, false);
    site_start(&site);
    connect_clients(&site, fds);
    coil_serve_stop(site.listener);
    late.fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    cr_assert_eq(coil_address_parse(site.address, &addr), 0);
    cr_assert_eq(connect(late.fd, coil__addr_sockaddr(&addr), addr.length), -1);
    cr_assert_eq(errno, EINPROGRESS);
    for (int i = 0; i < CLIENTS; i++)
        ask(fds[i]);
    cr_assert_eq(site_end(&site), 0);
    for (int i = 0; i < CLIENTS; i++)
        expect_answer(fds[i]);

    /* After a second the kernel asks once more, and may find nobody. */
    cr_assert(poll(&late, 1, 0) == 0 || error_of(late.fd) == ECONNREFUSED);
    cr_assert_eq(close(late.fd), 0);
}

FIBER_TEST(serve_backlog, an_interrupted_server_leaves_it_alone)
{
    struct site site;
    int fds[CLIENTS];

    open_site(&site, false);
    site_start(&site);
    connect_clients(&site, fds);
    coil_cancel(site.fiber);
    cr_assert_eq(site_end(&site), -ECANCELED);
    cr_assert_lt(site.served, CLIENTS);
    for (int i = 0; i < CLIENTS; i++)
        cr_assert_eq(close(fds[i]), 0);
}

/* ---- Where the kernel refuses the filter ---- */

static void forbid_filters(const struct site *site)
{
    static struct sock_filter code[] = {BPF_STMT(BPF_RET | BPF_K, UINT32_MAX)};
    const struct sock_fprog program = {1, code};
    const int fd = site->listener->accept.request.fd;
    const int one = 1;

    cr_assert_eq(setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof program), 0);
    cr_assert_eq(setsockopt(fd, SOL_SOCKET, SO_LOCK_FILTER, &one, sizeof one), 0);
}

enum {
    SUCCESSORS = 100000,
};

/* Sees to it that there are always some more in the backlog. */
static int call_the_next(coil_stream *stream, void *arg)
{
    struct site *site = arg;

    (void)stream;
    came(site);
    if (site->served < SUCCESSORS)
        (void)try_to_connect(site->address);
    went(site);
    return 0;
}

FIBER_TEST(serve_backlog, no_stream_of_new_connections_keeps_a_server_beyond_the_grace)
{
    struct site site;

    site_open(&site, call_the_next);
    forbid_filters(&site);
    site.options.concurrency = 1;
    site.options.grace = COIL_MS(20);
    for (int i = 0; i < PEERS; i++)
        cr_assert_eq(try_to_connect(site.address), 0);
    site_start(&site);
    coil_serve_stop(site.listener);
    cr_assert_eq(site_end(&site), 0);
    cr_assert_lt(site.served, SUCCESSORS);
}

/* ---- Shortages ---- */

static int give_back(void *arg)
{
    int *fds = arg;

    (void)coil_sleep(COIL_MS(30));
    while (*fds >= 0)
        (void)close(*fds++);
    return 0;
}

/* Takes every descriptor there is; a list that ends with -1. */
static void take_descriptors(int *fds)
{
    struct rlimit limit;

    cr_assert_eq(getrlimit(RLIMIT_NOFILE, &limit), 0);
    limit.rlim_cur = LIMIT;
    cr_assert_eq(setrlimit(RLIMIT_NOFILE, &limit), 0);
    while ((*fds = dup(STDERR_FILENO)) >= 0)
        fds++;
}

FIBER_TEST(serve_backlog, without_descriptors_it_waits_for_a_while)
{
    struct site site;
    coil_stream *stream;
    coil_fiber *giver;
    int fds[LIMIT + 1];
    int client;

    open_site(&site, false);
    client = dial(site.address);
    take_descriptors(fds);
    coil_serve_stop(site.listener);
    cr_assert_eq(coil_spawn(give_back, fds, &giver), 0);
    cr_assert_eq(coil_accept(site.listener, &stream), 0);
    cr_assert_eq(join_and_drop(giver), 0);
    cr_assert_eq(coil_close(stream), 0);
    cr_assert_eq(close(client), 0);
    coil_listener_close(site.listener);
}

FIBER_TEST(serve_backlog, without_descriptors_it_does_not_wait_for_ever)
{
    struct site site;
    coil_stream *stream;
    int fds[LIMIT + 1];
    int client;

    open_site(&site, false);
    client = dial(site.address);
    take_descriptors(fds);
    coil_serve_stop(site.listener);
    cr_assert_eq(coil_accept(site.listener, &stream), -ESHUTDOWN);
    for (int *fd = fds; *fd >= 0; fd++)
        cr_assert_eq(close(*fd), 0);
    cr_assert_eq(close(client), 0);
    coil_listener_close(site.listener);
}

FIBER_TEST(serve_backlog, a_close_ends_the_wait_for_descriptors)
{
    struct site site;
    coil_fiber *waiting;
    int fds[LIMIT + 1];
    uint64_t turns;
    int client;

    open_site(&site, false);
    client = dial(site.address);
    take_descriptors(fds);
    coil_serve_stop(site.listener);
    waiting = spawn_until_parked(accept_one, &site);
    coil_serve_stop(site.listener);
    cr_assert_eq(coil_sleep(COIL_MS(20)), 0);
    cr_assert_not_null(waiting->tcb, "a second stop is none");
    turns = coil__sched()->turn_count;
    coil_listener_close(site.listener);
    cr_assert_eq(join_and_drop(waiting), -EBADF);
    cr_assert_lt(coil__sched()->turn_count - turns, 10);
    for (int *fd = fds; *fd >= 0; fd++)
        cr_assert_eq(close(*fd), 0);
    cr_assert_eq(close(client), 0);
}

/* ---- Whenever the stop comes ---- */

enum {
    ROUNDS = 12,
};

static char stormed[COIL_ADDRESS_SIZE];

/* Connects and asks until it is refused. Counts the connections that were made and not answered. */
static void storm(struct peer *peer)
{
    coil_address addr;

    if (coil_address_parse(stormed, &addr) < 0)
        return;
    for (;;) {
        const int fd = socket(addr.storage.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
        const bool is_made = connect(fd, coil__addr_sockaddr(&addr), addr.length) == 0;
        char text[8];
        ssize_t n = 0;

        if (is_made && send(fd, "x\n", 2, MSG_NOSIGNAL) == 2)
            n = recv(fd, text, sizeof text, 0);
        (void)close(fd);
        if (!is_made)
            return;
        peer->size++;
        peer->count += n != 5;
    }
}

FIBER_TEST(serve_backlog, no_connection_is_lost_whenever_the_stop_comes)
{
    uint64_t made = 0;
    uint64_t lost = 0;

    for (unsigned round = 0; round < ROUNDS; round++) {
        struct peer peers[PEERS] = {{0}};
        struct site site;

        open_site(&site, round % 2);
        site.options.concurrency = round % 3 ? 100 : 1;
        (void)strcpy(stormed, site.address);
        site_start(&site);
        for (int i = 0; i < PEERS; i++)
            peer_start(&peers[i], storm, -1, 0);
        while (site.served < 20 + round)
            coil_yield();
        site_stop(&site);
        for (int i = 0; i < PEERS; i++) {
            peer_join(&peers[i]);
            made += peers[i].size;
            lost += peers[i].count;
        }
    }
    cr_assert_eq(lost, 0, "%u of %u", (unsigned)lost, (unsigned)made);
}

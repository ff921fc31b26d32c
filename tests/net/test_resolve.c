/* SPDX-License-Identifier: MIT */
/* Names: what the resolver says reaches coil_connect(), which tries address after address.
 *
 * Most tests answer in the place of the C library, so that nothing depends on the machine's
 * configuration. Those that ask it look up "localhost", or an unknown name where no packet can
 * leave: in a network namespace without any interface.
 */
#include "net/resolve.h"

#include <netinet/in.h>
#include <sched.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/alloc.h"
#include "support/fiber_test.h"

/* ---- Answers ---- */

enum {
    ANSWERS = 20,
};

static struct answer {
    const char *hosts[ANSWERS]; /* numeric, then NULL */
    int code;                   /* instead, if not 0 */
    int error;                  /* errno with EAI_SYSTEM */
    int family_to_spoil;        /* these are reported as another family */
    bool is_slow;               /* waits for `proceed` */
    sem_t proceed;
    atomic_int asked_count;
    atomic_int answered_count;
    char asked_host[COIL__HOST_SIZE];
} answer;

static struct addrinfo *numeric(const char *host, const char *service)
{
    const struct addrinfo hints = {
        .ai_flags = AI_NUMERICHOST | AI_NUMERICSERV,
        .ai_socktype = SOCK_STREAM,
    };
    struct addrinfo *found = NULL;

    cr_assert_eq(getaddrinfo(host, service, &hints, &found), 0);
    cr_assert_null(found->ai_next);
    return found;
}

static int give_answer(const char *host, const char *service, const struct addrinfo *hints,
                       struct addrinfo **ret_list)
{
    struct addrinfo **end = ret_list;

    cr_assert_eq(hints->ai_family, AF_UNSPEC);
    cr_assert_eq(hints->ai_socktype, SOCK_STREAM);
    (void)snprintf(answer.asked_host, sizeof answer.asked_host, "%s", host);
    atomic_fetch_add(&answer.asked_count, 1);
    if (answer.is_slow)
        while (sem_wait(&answer.proceed) < 0)
            ;
    errno = answer.error;
    if (answer.code == 0) {
        for (int i = 0; i < ANSWERS && answer.hosts[i]; i++) {
            *end = numeric(answer.hosts[i], service);
            if ((*end)->ai_family == answer.family_to_spoil)
                (*end)->ai_family = AF_UNIX;
            end = &(*end)->ai_next;
        }
    }
    atomic_fetch_add(&answer.answered_count, 1);
    return answer.code;
}

static void answer_instead(void)
{
    memset(&answer, 0, sizeof answer);
    cr_assert_eq(sem_init(&answer.proceed, 0, 0), 0);
    coil__resolve_with = give_answer;
}

TestSuite(resolve, .init = answer_instead);

static const char *text_of(const coil_address *addr)
{
    static char text[COIL_ADDRESS_SIZE];

    cr_assert_gt(coil_address_format(addr, text, sizeof text), 0);
    return text;
}

/* ---- Looking up ---- */

FIBER_TEST(resolve, a_name_gives_its_addresses_in_order_with_the_port)
{
    coil_address addrs[4];

    answer.hosts[0] = "127.0.0.7";
    answer.hosts[1] = "::1";
    answer.hosts[2] = "127.0.0.8";

    cr_assert_eq(coil__resolve("some.name", 8080, addrs, 4), 3);

    cr_assert_str_eq(answer.asked_host, "some.name");
    cr_assert_str_eq(text_of(&addrs[0]), "127.0.0.7:8080");
    cr_assert_eq(addrs[0].length, sizeof(struct sockaddr_in));
    cr_assert_str_eq(text_of(&addrs[1]), "[::1]:8080");
    cr_assert_eq(addrs[1].length, sizeof(struct sockaddr_in6));
    cr_assert_str_eq(text_of(&addrs[2]), "127.0.0.8:8080");
}

FIBER_TEST(resolve, there_are_no_more_addresses_than_asked_for)
{
    coil_address addrs[ANSWERS];

    for (int i = 0; i < ANSWERS; i++)
        answer.hosts[i] = "127.0.0.1";
    memset(&addrs[2], 0x55, sizeof addrs[2]);

    cr_assert_eq(coil__resolve("many", 1, addrs, 2), 2);
    cr_assert_eq(addrs[2].length, 0x55555555);
    cr_assert_eq(coil__resolve("many", 65535, addrs, ANSWERS), COIL__RESOLVE_MAX);
    cr_assert_str_eq(text_of(&addrs[COIL__RESOLVE_MAX - 1]), "127.0.0.1:65535");
}

FIBER_TEST(resolve, addresses_that_coil_does_not_know_are_left_out)
{
    coil_address addr;

    answer.hosts[0] = "::1";
    answer.hosts[1] = "127.0.0.1";
    answer.family_to_spoil = AF_INET6;
    cr_assert_eq(coil__resolve("odd", 1, &addr, 1), 1);
    cr_assert_str_eq(text_of(&addr), "127.0.0.1:1");

    answer.hosts[1] = NULL;
    cr_assert_eq(coil__resolve("odd", 1, &addr, 1), -ENXIO);
}

FIBER_TEST(resolve, the_resolvers_errors_become_error_numbers)
{
    static const struct {
        int code;
        int error;
        int expected;
    } rows[] = {
        {EAI_NONAME, 0, -ENXIO},       {EAI_NODATA, 0, -ENXIO},     {EAI_ADDRFAMILY, 0, -ENXIO},
        {EAI_AGAIN, 0, -EAGAIN},       {EAI_FAIL, 0, -EREMOTEIO},   {EAI_MEMORY, 0, -ENOMEM},
        {EAI_SYSTEM, EMFILE, -EMFILE}, {EAI_SYSTEM, 0, -EREMOTEIO}, {EAI_BADFLAGS, 0, -EINVAL},
        {12345, 0, -EINVAL},
    };

    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        coil_stream *stream = NULL;

        answer.code = rows[i].code;
        answer.error = rows[i].error;
        cr_expect_eq(coil_connect("name:80", NULL, &stream), rows[i].expected, "row %zu", i);
        cr_expect_null(stream);
    }
}

FIBER_TEST(resolve, a_name_beyond_every_limit_is_not_asked_for)
{
    coil_address addr;
    char name[COIL__HOST_SIZE + 1];

    memset(name, 'a', COIL__HOST_SIZE);
    name[COIL__HOST_SIZE] = '\0';
    cr_assert_eq(coil__resolve(name, 1, &addr, 1), -EINVAL);
    cr_assert_eq(answer.asked_count, 0);
}

/* ---- Connecting ---- */

/* Listens on a port of 127.0.0.1; gives "some.name:PORT". */
static coil_listener *listen_as_name(char *ret_address, size_t size)
{
    char address[COIL_ADDRESS_SIZE];
    coil_listener *listener;

    cr_assert_eq(coil_listen("127.0.0.1:0", NULL, &listener), 0);
    cr_assert_gt(coil_listener_address(listener, address, sizeof address), 0);
    (void)snprintf(ret_address, size, "some.name%s", strchr(address, ':'));
    return listener;
}

FIBER_TEST(resolve, connect_goes_on_to_the_address_that_answers)
{
    char address[COIL_ADDRESS_SIZE];
    char peer[COIL_ADDRESS_SIZE];
    coil_listener *listener = listen_as_name(address, sizeof address);
    coil_stream *client;
    coil_stream *server;

    answer.hosts[0] = "127.0.0.2";
    answer.hosts[1] = "127.0.0.3";
    answer.hosts[2] = "127.0.0.1";
    answer.hosts[3] = "127.0.0.4";
    cr_assert_eq(coil_connect(address, NULL, &client), 0);
    cr_assert_eq(coil_accept(listener, &server), 0);

    cr_assert_gt(coil_stream_peer(client, peer, sizeof peer), 0);
    cr_assert_eq(strncmp(peer, "127.0.0.1:", 10), 0, "%s", peer);
    cr_assert_str_eq(strchr(peer, ':'), strchr(address, ':'));
    cr_assert_eq(coil_close(client), 0);
    cr_assert_eq(coil_close(server), 0);
    coil_listener_close(listener);
}

FIBER_TEST(resolve, when_no_address_answers_the_reason_is_told)
{
    char address[COIL_ADDRESS_SIZE];
    coil_listener *listener = listen_as_name(address, sizeof address);
    coil_stream *client = NULL;

    answer.hosts[0] = "127.0.0.2";
    answer.hosts[1] = "127.0.0.3";
    cr_assert_eq(coil_connect(address, NULL, &client), -ECONNREFUSED);
    cr_assert_null(client);
    coil_listener_close(listener);
}

FIBER_TEST(resolve, addresses_unlike_the_local_one_are_left_out)
{
    char address[COIL_ADDRESS_SIZE];
    char local[COIL_ADDRESS_SIZE];
    coil_listener *listener = listen_as_name(address, sizeof address);
    coil_stream *client = NULL;

    answer.hosts[0] = "127.0.0.1";
    answer.hosts[1] = "::1";
    cr_assert_eq(coil_connect(address, "127.0.0.9:0", &client), 0);
    cr_assert_gt(coil_stream_local(client, local, sizeof local), 0);
    cr_assert_eq(strncmp(local, "127.0.0.9:", 10), 0, "%s", local);
    cr_assert_eq(coil_close(client), 0);

    answer.hosts[0] = "::1";
    cr_assert_eq(coil_connect(address, "127.0.0.9:0", &client), -EAFNOSUPPORT);
    coil_listener_close(listener);
}

FIBER_TEST(resolve, names_are_for_the_remote_side_only)
{
    coil_listener *listener = NULL;
    coil_stream *client = NULL;

    cr_assert_eq(coil_listen("localhost:0", NULL, &listener), -EINVAL);
    cr_assert_eq(coil_connect("127.0.0.1:1", "localhost:0", &client), -EINVAL);
    cr_assert_eq(coil_connect("some.name:1", "localhost:0", &client), -EINVAL);
    cr_assert_eq(answer.asked_count, 0);
}

static int connect_and_close(void *arg)
{
    coil_stream *client;
    int result = coil_connect(arg, NULL, &client);

    if (result == 0)
        result = coil_close(client);
    return result;
}

FIBER_TEST(resolve, many_names_at_once)
{
    enum {
        COUNT = 100,
    };

    char address[COIL_ADDRESS_SIZE];
    coil_listener *listener = listen_as_name(address, sizeof address);
    coil_fiber *fibers[COUNT];

    answer.hosts[0] = "127.0.0.2";
    answer.hosts[1] = "127.0.0.1";
    for (int i = 0; i < COUNT; i++)
        cr_assert_eq(coil_spawn(connect_and_close, address, &fibers[i]), 0);
    for (int i = 0; i < COUNT; i++) {
        coil_stream *server;

        cr_assert_eq(coil_accept(listener, &server), 0);
        cr_assert_eq(coil_close(server), 0);
    }
    for (int i = 0; i < COUNT; i++)
        cr_assert_eq(join_and_drop(fibers[i]), 0);
    cr_assert_eq(answer.asked_count, COUNT);
    coil_listener_close(listener);
}

FIBER_TEST(resolve, without_memory_a_connect_by_name_fails_and_leaves_nothing)
{
    char address[COIL_ADDRESS_SIZE];
    coil_listener *listener = listen_as_name(address, sizeof address);
    int64_t after = 0;
    int result;

    answer.hosts[0] = "127.0.0.1";
    do {
        coil__alloc_fail_after(after++);
        result = connect_and_close(address);
        coil__alloc_fail_after(-1);
        cr_assert(result == 0 || result == -ENOMEM, "%d", result);
    } while (result < 0);
    cr_assert_gt(after, 3, "several allocations have failed");
    coil_listener_close(listener);
}

/* ---- Interruptions ---- */

FIBER_TEST(resolve, a_deadline_ends_a_slow_lookup_and_the_next_one_works)
{
    char address[COIL_ADDRESS_SIZE];
    coil_listener *listener = listen_as_name(address, sizeof address);
    coil_stream *client = NULL;
    coil_time time = COIL_MS(10);
    coil_scope scope;
    int tries = 0;

    answer.is_slow = true;
    answer.hosts[0] = "127.0.0.1";
    do { /* until a thread had begun before the deadline */
        time *= 2;
        tries++;
        coil_scope_enter(&scope, time);
        cr_assert_eq(coil_connect(address, NULL, &client), -ETIMEDOUT);
        cr_assert(coil_scope_leave(&scope));
        cr_assert_null(client);
    } while (atomic_load(&answer.asked_count) == 0);

    for (int i = 0; i <= tries; i++)
        cr_assert_eq(sem_post(&answer.proceed), 0);
    cr_assert_eq(connect_and_close(address), 0);
    until_no_call_is_offloaded();
    coil_listener_close(listener);
}

FIBER_TEST(resolve, a_cancelled_fiber_leaves_its_lookup_behind)
{
    char address[] = "some.name:1";
    coil_fiber *fiber;

    answer.is_slow = true;
    fiber = spawn_until_parked(connect_and_close, address);
    while (atomic_load(&answer.asked_count) < 1)
        coil_yield();
    coil_cancel(fiber);
    cr_assert_eq(join_and_drop(fiber), -ECANCELED);
    cr_assert_eq(answer.answered_count, 0);
    cr_assert_eq(sem_post(&answer.proceed), 0);
}

/* A listener of 127.0.0.2 at `port` whose queue is full: the next connect waits. */
static int listen_deaf(const char *port, int *ret_fillers, int filler_count)
{
    struct addrinfo *local = numeric("127.0.0.2", port);
    const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    cr_assert_geq(fd, 0);
    cr_assert_eq(bind(fd, local->ai_addr, local->ai_addrlen), 0);
    cr_assert_eq(listen(fd, 0), 0);
    for (int i = 0; i < filler_count; i++) {
        ret_fillers[i] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        cr_assert_geq(ret_fillers[i], 0);
        (void)connect(ret_fillers[i], local->ai_addr, local->ai_addrlen);
    }
    freeaddrinfo(local);
    return fd;
}

FIBER_TEST(resolve, an_interrupted_connect_does_not_go_on_to_the_next_address)
{
    enum {
        FILLERS = 4,
    };

    char address[COIL_ADDRESS_SIZE];
    coil_listener *listener = listen_as_name(address, sizeof address);
    coil_stream *stream = NULL;
    coil_scope scope;
    int fillers[FILLERS];
    const int deaf = listen_deaf(strchr(address, ':') + 1, fillers, FILLERS);

    answer.hosts[0] = "127.0.0.2";
    answer.hosts[1] = "127.0.0.1";
    coil_scope_enter(&scope, COIL_MS(50));
    cr_assert_eq(coil_connect(address, NULL, &stream), -ETIMEDOUT);
    cr_assert(coil_scope_leave(&scope));
    cr_assert_null(stream);

    coil_scope_enter(&scope, COIL_MS(5));
    cr_assert_eq(coil_accept(listener, &stream), -ETIMEDOUT, "nobody came");
    cr_assert(coil_scope_leave(&scope));
    for (int i = 0; i < FILLERS; i++)
        (void)close(fillers[i]);
    (void)close(deaf);
    coil_listener_close(listener);
}

/* ---- coil_address_resolve() ---- */

FIBER_TEST(resolve, a_literal_address_is_read_without_asking_anybody)
{
    coil_address address;

    cr_assert_eq(coil_address_resolve("127.0.0.1:5", &address, 1), 1);
    cr_assert_str_eq(text_of(&address), "127.0.0.1:5");
    cr_assert_eq(coil_address_resolve("unix:@x", &address, 1), 1);
    cr_assert_eq(coil_address_resolve("nonsense", &address, 1), -EINVAL);

    cr_assert_str_eq(text_of(&address), "unix:@x", "untouched on failure");
    cr_assert_eq(atomic_load(&answer.asked_count), 0);
}

FIBER_TEST(resolve, a_name_with_a_port_is_looked_up)
{
    coil_address addresses[2];

    answer.hosts[0] = "127.0.0.7";
    answer.hosts[1] = "127.0.0.8";

    cr_assert_eq(coil_address_resolve("some.name:53", addresses, 2), 2);
    cr_assert_str_eq(text_of(&addresses[0]), "127.0.0.7:53");
    cr_assert_str_eq(text_of(&addresses[1]), "127.0.0.8:53");

    cr_assert_eq(coil_address_resolve("some.name:53", addresses, 1), 1, "no more than fit");
}

/* ---- The C library's resolver ---- */

static bool hosts_file_has_localhost(void)
{
    FILE *file = fopen("/etc/hosts", "re");
    char line[512];
    bool found = false;

    while (file && !found && fgets(line, sizeof line, file))
        found = line[0] != '#' && strstr(line, "localhost");
    if (file)
        (void)fclose(file);
    return found;
}

FIBER_TEST(resolve, localhost_is_this_machine)
{
    char address[COIL_ADDRESS_SIZE];
    char by_name[COIL_ADDRESS_SIZE];
    coil_listener *listener;

    if (!hosts_file_has_localhost())
        cr_skip_test("/etc/hosts has no localhost: a lookup might leave this machine");
    coil__resolve_with = getaddrinfo;
    cr_assert_eq(coil_listen(":0", NULL, &listener), 0);
    cr_assert_gt(coil_listener_address(listener, address, sizeof address), 0);
    (void)snprintf(by_name, sizeof by_name, "localhost%s", strrchr(address, ':'));

    cr_assert_eq(connect_and_close(by_name), 0);
    coil_listener_close(listener);
}

FIBER_TEST(resolve, an_unknown_name_is_a_clear_error)
{
    coil_stream *stream = NULL;
    int result;

    if (unshare(CLONE_NEWNET) < 0)
        cr_skip_test("no namespace without network to be had: a lookup might leave this machine");
    coil__resolve_with = getaddrinfo;
    result = coil_connect("no-such-host.invalid:80", NULL, &stream);
    cr_assert(result == -ENXIO || result == -EAGAIN, "%d: %s", result, coil_strerror(result));
    cr_assert_null(stream);
}

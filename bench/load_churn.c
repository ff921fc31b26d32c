/* SPDX-License-Identifier: MIT */
/* Echo load of short connections: each is opened, sends one message, gets it back, compares it and
 * closes; then the next takes its place. A request is a whole connection.
 *
 * A plain epoll loop: a connection costs the kernel so much that the client's way of waiting does
 * not matter. Source addresses go round in 127.0.0.0/8, or the ports of one address would be used
 * up by closed connections that TCP still remembers.
 *
 * Prints the JSON of load.c. A sample of the server's account is taken when no connection is open.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <sched.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "account.h"
#include "raw.h"

enum {
    SIZE_MAX_BYTES = 65536,
    SOURCES = 200,
    EVENTS = 256,
    QUIET_MS = 10000, /* without any reply: the server counts as stuck */
    SETTLE_MS = 20,   /* until the server has closed its ends, too */
    LATENCIES = 1 << 20,
};

struct slot {
    int fd; /* -1 while closed */
    bool is_sent;
    unsigned replied_bytes;
    uint64_t started_ns;
};

static struct {
    struct sockaddr_in address;
    unsigned connections;
    unsigned size;
    double seconds;
    double warmup;
    int measure_pid; /* 0: nobody */
    int cpu;         /* -1: wherever */
} options = {.connections = 64, .size = 64, .seconds = 1, .cpu = -1};

static int epoll;
static struct slot *slots;
static char message[SIZE_MAX_BYTES];
static unsigned open_count;
static unsigned source_next;
static uint64_t request_count;
static uint64_t mismatch_count;
static bool is_stalled;
static uint64_t latencies[LATENCIES];

static void open_slot(struct slot *slot)
{
    struct sockaddr_in source = {.sin_family = AF_INET};
    struct epoll_event event = {.events = EPOLLOUT, .data.ptr = slot};
    const int one = 1;

    source.sin_addr.s_addr = htonl(INADDR_LOOPBACK + 1 + source_next++ % SOURCES);
    *slot = (struct slot){.started_ns = account_clock()};
    slot->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (slot->fd < 0)
        raw_die("socket", errno);
    /* The port is chosen at connect, when the peer is known: more of them will do. */
    (void)setsockopt(slot->fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &one, sizeof one);
    if (bind(slot->fd, (const struct sockaddr *)&source, sizeof source) < 0)
        raw_die("bind", errno);
    if (connect(slot->fd, (const struct sockaddr *)&options.address, sizeof options.address) < 0 &&
        errno != EINPROGRESS)
        raw_die("connect", errno);
    if (epoll_ctl(epoll, EPOLL_CTL_ADD, slot->fd, &event) < 0)
        raw_die("epoll_ctl", errno);
    open_count++;
}

static void close_slot(struct slot *slot)
{
    if (request_count < LATENCIES)
        latencies[request_count] = account_clock() - slot->started_ns;
    request_count++;
    (void)close(slot->fd);
    slot->fd = -1;
    open_count--;
}

static void send_message(struct slot *slot)
{
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = slot};

    if (send(slot->fd, message, options.size, MSG_NOSIGNAL) != (ssize_t)options.size)
        raw_die("connect or send", errno);
    slot->is_sent = true;
    if (epoll_ctl(epoll, EPOLL_CTL_MOD, slot->fd, &event) < 0)
        raw_die("epoll_ctl", errno);
}

static void read_reply(struct slot *slot)
{
    char reply[SIZE_MAX_BYTES];
    const ssize_t count = recv(slot->fd, reply, options.size - slot->replied_bytes, 0);

    if (count <= 0)
        raw_die("recv", count < 0 ? errno : 0);
    mismatch_count += memcmp(reply, message + slot->replied_bytes, (size_t)count) != 0;
    slot->replied_bytes += (unsigned)count;
    if (slot->replied_bytes == options.size)
        close_slot(slot);
}

/* Opens connections in place of those that end, until `end_ns`; returns when none is open. */
static void run_until(uint64_t end_ns)
{
    for (unsigned i = 0; i < options.connections; i++)
        open_slot(&slots[i]);
    while (open_count > 0 && !is_stalled) {
        struct epoll_event events[EVENTS];
        const int count = epoll_wait(epoll, events, EVENTS, QUIET_MS);

        is_stalled = count <= 0;
        for (int i = 0; i < count; i++) {
            struct slot *slot = events[i].data.ptr;

            if (!slot->is_sent)
                send_message(slot);
            else
                read_reply(slot);
            if (slot->fd < 0 && account_clock() < end_ns)
                open_slot(slot);
        }
    }
}

static void run_for(double seconds)
{
    run_until(account_clock() + (uint64_t)(seconds * 1e9));
}

static int compare(const void *a, const void *b)
{
    const uint64_t *one = a;
    const uint64_t *other = b;

    return (*one > *other) - (*one < *other);
}

static double latency_us(double share)
{
    const size_t count = request_count < LATENCIES ? request_count : LATENCIES;

    return count > 0 ? (double)latencies[(size_t)((double)(count - 1) * share)] / 1e3 : 0;
}

static int measure(void)
{
    struct account server_before;
    struct account server_after;
    struct account own_before;
    struct account own_after;
    uint64_t start_ns;
    double seconds;

    run_for(options.warmup);
    request_count = 0;
    mismatch_count = 0;
    server_before = account_settled(options.measure_pid, SETTLE_MS);
    own_before = account_of(getpid());
    start_ns = account_clock();
    run_for(options.seconds);
    seconds = (double)(account_clock() - start_ns) / 1e9;
    own_after = account_of(getpid());
    server_after = account_settled(options.measure_pid, SETTLE_MS);

    qsort(latencies, request_count < LATENCIES ? request_count : LATENCIES, sizeof(latencies[0]),
          compare);
    printf("{\"connections\": %u, \"size\": %u, \"requests\": %" PRIu64
           ", \"seconds\": %.6f, \"throughput\": %.1f, \"p50_us\": %.2f, \"p99_us\": %.2f"
           ", \"errors\": 0, \"mismatches\": %" PRIu64 ", \"stalled\": %s",
           options.connections, options.size, request_count, seconds,
           (double)request_count / seconds, latency_us(0.5), latency_us(0.99), mismatch_count,
           is_stalled ? "true" : "false");
    account_print("load", &own_before, &own_after);
    account_print("server", &server_before, &server_after);
    printf("}\n");
    return mismatch_count > 0 || is_stalled;
}

/* ---- Start ---- */

static void usage(FILE *out)
{
    fputs(
        "usage: load_churn --connect HOST:PORT [--connections N] [--size BYTES] [--seconds S]\n"
        "                  [--warmup S] [--measure-pid PID] [--cpu N]\n"
        "Keeps N connections to an echo server open, each for one message of BYTES and its reply,\n"
        "which is compared. Prints one line of JSON.\n",
        out);
}

static bool set_option(int option, const char *text)
{
    switch (option) {
    case 'a':
        options.address = raw_address(text);
        return true;
    case 'c':
        options.connections = (unsigned)raw_number("--connections", text, 1, 10000);
        return true;
    case 's':
        options.size = (unsigned)raw_number("--size", text, 1, SIZE_MAX_BYTES);
        return true;
    case 't':
        options.seconds = raw_seconds("--seconds", text);
        return true;
    case 'w':
        options.warmup = raw_seconds("--warmup", text);
        return true;
    case 'm':
        options.measure_pid = (int)raw_number("--measure-pid", text, 1, INT32_MAX);
        return true;
    case 'p':
        options.cpu = (int)raw_number("--cpu", text, 0, CPU_SETSIZE - 1);
        return true;
    default:
        return false;
    }
}

int main(int argc, char **argv)
{
    static const struct option table[] = {
        {"connect", required_argument, NULL, 'a'},
        {"connections", required_argument, NULL, 'c'},
        {"size", required_argument, NULL, 's'},
        {"seconds", required_argument, NULL, 't'},
        {"warmup", required_argument, NULL, 'w'},
        {"measure-pid", required_argument, NULL, 'm'},
        {"cpu", required_argument, NULL, 'p'},
        {"help", no_argument, NULL, 'h'},
        {0},
    };
    int option;

    do {
        option = getopt_long(argc, argv, "", table, NULL);
        if (option == 'h') {
            usage(stdout);
            return 0;
        }
        if (option != -1 && !set_option(option, optarg)) {
            usage(stderr);
            return 2;
        }
    } while (option != -1);
    if (options.address.sin_port == 0 || optind < argc) {
        usage(stderr);
        return 2;
    }

    if (options.cpu >= 0)
        raw_pin(options.cpu);
    epoll = epoll_create1(EPOLL_CLOEXEC);
    slots = calloc(options.connections, sizeof(*slots));
    if (epoll < 0 || !slots)
        raw_die("no memory", 0);
    for (size_t i = 0; i < options.size; i++)
        message[i] = (char)('a' + i % 23);
    return measure();
}

/* SPDX-License-Identifier: MIT */
/* Loads a datagram server and reports what it cost.
 *
 * A number of sockets each keep a window of datagrams under way. One way: all of a window but the
 * last are `.` and the last is `?`, which the server answers with 8 bytes, the number of datagrams
 * that it has received so far; the next window follows the answer, so nothing is lost to a full
 * socket unless the window is larger than that. With --echo all come back and are compared.
 *
 * Prints JSON: datagrams that reached the server (one way by its own count, which must not be more
 * than were sent; with --echo those that came back), windows that were given up after a second
 * without any answer, seconds, the server's CPU time and the time that it was ready but did not
 * run. Exits with 1 when an answer is wrong, with 2 for wrong arguments.
 */
#include "account.h"
#include "raw.h"

#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <poll.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define SOCKETS_MAX 64
#define WINDOW_MAX  128
#define SIZE_MAX_   1472
#define STALL_MS    1000
#define SETTLE_MS   3

struct options {
    struct sockaddr_in address;
    unsigned sockets;
    unsigned window;
    unsigned size;
    double seconds;
    int measure_pid;
    bool is_echo;
};

struct counts {
    uint64_t sent;     /* datagrams */
    uint64_t returned; /* datagrams that came back, or answers */
    uint64_t received; /* the largest count that the server has answered with */
    uint64_t lost;     /* windows that were given up */
};

static struct counts counts;

static int fds[SOCKETS_MAX];
static unsigned due[SOCKETS_MAX]; /* answers that the window still waits for */
static char payload[SIZE_MAX_];
static char request[SIZE_MAX_];

static void send_window(const struct options *options, unsigned i)
{
    struct mmsghdr out[WINDOW_MAX];
    struct iovec data = {payload, options->size};
    struct iovec last = {options->is_echo ? payload : request, options->size};

    for (unsigned at = 0; at < options->window; at++)
        out[at].msg_hdr =
            (struct msghdr){.msg_iov = at + 1 < options->window ? &data : &last, .msg_iovlen = 1};
    for (unsigned sent = 0; sent < options->window;) {
        const int part = sendmmsg(fds[i], out + sent, options->window - sent, 0);

        if (part < 0)
            raw_die("sendmmsg", errno);
        sent += (unsigned)part;
    }
    counts.sent += options->window;
    due[i] = options->is_echo ? options->window : 1;
}

static void take_answer(const struct options *options, const char *data, size_t length)
{
    uint64_t received;

    counts.returned++;
    if (options->is_echo) {
        if (length != options->size || memcmp(data, payload, length) != 0)
            raw_die("an answer is not what was sent", 0);
        return;
    }
    if (length != sizeof received)
        raw_die("an answer is no count", 0);
    memcpy(&received, data, sizeof received);
    if (received > counts.sent)
        raw_die("the server counts more than was sent", 0);
    if (received > counts.received)
        counts.received = received;
}

static void take_answers(const struct options *options, unsigned i)
{
    char data[WINDOW_MAX][SIZE_MAX_];
    struct iovec pieces[WINDOW_MAX];
    struct mmsghdr in[WINDOW_MAX];
    int count;

    for (unsigned at = 0; at < due[i]; at++) {
        pieces[at] = (struct iovec){data[at], SIZE_MAX_};
        in[at].msg_hdr = (struct msghdr){.msg_iov = &pieces[at], .msg_iovlen = 1};
    }
    count = recvmmsg(fds[i], in, due[i], MSG_DONTWAIT, NULL);
    if (count < 0 && errno == EAGAIN)
        return;
    if (count < 0)
        raw_die("recvmmsg", errno);
    for (int at = 0; at < count; at++)
        take_answer(options, data[at], in[at].msg_len);
    due[i] -= (unsigned)count;
}

/* Until `end`, then waits for what is under way. */
static void run(const struct options *options, uint64_t end)
{
    struct pollfd polled[SOCKETS_MAX];

    for (unsigned i = 0; i < options->sockets; i++)
        send_window(options, i);
    for (;;) {
        unsigned open = 0;
        int ready;

        for (unsigned i = 0; i < options->sockets; i++) {
            polled[i] = (struct pollfd){.fd = due[i] ? fds[i] : -1, .events = POLLIN};
            open += due[i] > 0;
        }
        if (open == 0)
            return;
        ready = poll(polled, options->sockets, STALL_MS);
        for (unsigned i = 0; i < options->sockets; i++) {
            if (due[i] == 0 || (ready > 0 && !polled[i].revents))
                continue;
            if (ready == 0) {
                counts.lost++;
                due[i] = 0;
            } else {
                take_answers(options, i);
            }
            if (due[i] > 0)
                continue;
            if (account_clock() < end)
                send_window(options, i);
        }
    }
}

static void usage(FILE *out)
{
    fputs(
        "usage: load_udp --connect HOST:PORT [--sockets N] [--window N] [--size BYTES] [--echo]\n"
        "                [--milliseconds N] [--measure-pid PID] [--cpu N]\n"
        "Keeps a window of N datagrams of BYTES under way on each socket, after 50 ms that do not\n"
        "count. Prints one line of JSON.\n",
        out);
}

static void parse(int argc, char **argv, struct options *options)
{
    static const struct option names[] = {{"connect", required_argument, NULL, 'c'},
                                          {"sockets", required_argument, NULL, 'n'},
                                          {"window", required_argument, NULL, 'w'},
                                          {"size", required_argument, NULL, 's'},
                                          {"milliseconds", required_argument, NULL, 't'},
                                          {"measure-pid", required_argument, NULL, 'p'},
                                          {"cpu", required_argument, NULL, 'u'},
                                          {"echo", no_argument, NULL, 'e'},
                                          {"help", no_argument, NULL, 'h'},
                                          {NULL, 0, NULL, 0}};

    for (;;) {
        const int option = getopt_long(argc, argv, "", names, NULL);

        if (option < 0)
            return;
        switch (option) {
        case 'c':
            options->address = raw_address(optarg);
            break;
        case 'n':
            options->sockets = (unsigned)raw_number("--sockets", optarg, 1, SOCKETS_MAX);
            break;
        case 'w':
            options->window = (unsigned)raw_number("--window", optarg, 1, WINDOW_MAX);
            break;
        case 's':
            options->size = (unsigned)raw_number("--size", optarg, 8, SIZE_MAX_);
            break;
        case 't':
            options->seconds = (double)raw_number("--milliseconds", optarg, 1, 600000) / 1000;
            break;
        case 'p':
            options->measure_pid = (int)raw_number("--measure-pid", optarg, 1, INT32_MAX);
            break;
        case 'u':
            raw_pin((int)raw_number("--cpu", optarg, 0, INT16_MAX));
            break;
        case 'e':
            options->is_echo = true;
            break;
        case 'h':
            usage(stdout);
            exit(0);
        default:
            usage(stderr);
            exit(2);
        }
    }
}

static uint64_t datagrams(const struct options *options)
{
    return options->is_echo ? counts.returned : counts.received;
}

int main(int argc, char **argv)
{
    struct options options = {.sockets = 8, .window = 32, .size = 64, .seconds = 1};
    struct account before;
    struct account after;
    uint64_t count;
    uint64_t begin;
    uint64_t end;

    parse(argc, argv, &options);
    if (options.address.sin_port == 0 || optind < argc) {
        usage(stderr);
        return 2;
    }
    memset(payload, '.', sizeof payload);
    memset(request, '.', sizeof request);
    request[0] = '?';
    for (unsigned i = 0; i < options.sockets; i++) {
        fds[i] = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
        if (fds[i] < 0 ||
            connect(fds[i], (struct sockaddr *)&options.address, sizeof options.address) < 0)
            raw_die("connect", errno);
    }
    run(&options, account_clock() + 50000000);
    counts.lost = 0;
    count = datagrams(&options);
    before = account_settled(options.measure_pid, SETTLE_MS);
    begin = account_clock();
    run(&options, begin + (uint64_t)(options.seconds * 1e9));
    end = account_clock();
    after = account_settled(options.measure_pid, SETTLE_MS);
    printf("{\"datagrams\": %" PRIu64 ", \"lost_windows\": %" PRIu64
           ", \"seconds\": %.6f, \"cpu_ns\": %" PRIu64 ", \"wait_ns\": %" PRIu64 "}\n",
           datagrams(&options) - count, counts.lost, (double)(end - begin) / 1e9,
           account_difference(after.cpu_ns, before.cpu_ns),
           account_difference(after.wait_ns, before.wait_ns));
    return 0;
}

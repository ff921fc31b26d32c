/* SPDX-License-Identifier: MIT */
/* Loads a datagram server and reports what it cost.
 *
 * A number of sockets each keep a window of datagrams under way. One way: all of a window but the
 * last are `.` and the last is `?`, which the server answers with 8 bytes, the number of datagrams
 * that it has received so far; the next window follows the answer, so nothing is lost to a full
 * socket unless the window is larger than that. With --echo all come back and are compared.
 *
 * Prints JSON: datagrams that reached the server, seconds, the server's CPU time and the time that
 * it was ready but did not run, by the kernel's account of its threads.
 */
#include "raw.h"

#include <dirent.h>
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <poll.h>
#include <sched.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define SOCKETS_MAX 64
#define WINDOW_MAX  128
#define SIZE_MAX_   1472
#define STALL_MS    1000

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
    uint64_t answered; /* datagrams whose window is over */
    uint64_t lost;     /* windows that were given up */
};

static int fds[SOCKETS_MAX];
static unsigned due[SOCKETS_MAX]; /* answers that the window still waits for */
static char payload[SIZE_MAX_];
static char request[SIZE_MAX_];

static uint64_t now(void)
{
    struct timespec time;

    (void)clock_gettime(CLOCK_MONOTONIC, &time);
    return (uint64_t)time.tv_sec * 1000000000 + (uint64_t)time.tv_nsec;
}

static void add_thread(const char *path, uint64_t *cpu, uint64_t *wait)
{
    uint64_t cpu_ns = 0;
    uint64_t wait_ns = 0;
    FILE *file = fopen(path, "re");

    if (!file)
        return; /* it has just ended */
    if (fscanf(file, "%" SCNu64 " %" SCNu64, &cpu_ns, &wait_ns) == 2) {
        *cpu += cpu_ns;
        *wait += wait_ns;
    }
    fclose(file);
}

/* All threads, because io_uring's own workers are among them; with nothing under way. */
static void account(int pid, uint64_t *ret_cpu, uint64_t *ret_wait)
{
    char path[300];
    DIR *tasks;

    *ret_cpu = 0;
    *ret_wait = 0;
    if (pid == 0)
        return;
    (void)nanosleep(&(struct timespec){.tv_nsec = 3000000}, NULL);
    (void)snprintf(path, sizeof path, "/proc/%d/task", pid);
    tasks = opendir(path);
    if (!tasks)
        raw_die(path, errno);
    for (;;) {
        const struct dirent *task = readdir(tasks);

        if (!task)
            break;
        if (task->d_name[0] == '.')
            continue;
        (void)snprintf(path, sizeof path, "/proc/%d/task/%s/schedstat", pid, task->d_name);
        add_thread(path, ret_cpu, ret_wait);
    }
    (void)closedir(tasks);
}

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
    due[i] = options->is_echo ? options->window : 1;
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
    for (int at = 0; at < count; at++) {
        const unsigned expected = options->is_echo ? options->size : sizeof(uint64_t);

        if (in[at].msg_len != expected ||
            (options->is_echo && memcmp(data[at], payload, options->size) != 0))
            raw_die("an answer is not what was expected", 0);
    }
    due[i] -= (unsigned)count;
}

/* Until `end`, then waits for what is under way. */
static void run(const struct options *options, uint64_t end, struct counts *counts)
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
                counts->lost++;
                due[i] = 0;
            } else {
                take_answers(options, i);
            }
            if (due[i] > 0)
                continue;
            counts->answered += options->window;
            if (now() < end)
                send_window(options, i);
        }
    }
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
                                          {NULL, 0, NULL, 0}};
    cpu_set_t cpus;

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
            CPU_ZERO(&cpus);
            CPU_SET((size_t)raw_number("--cpu", optarg, 0, CPU_SETSIZE - 1), &cpus);
            if (sched_setaffinity(0, sizeof cpus, &cpus) < 0)
                raw_die("sched_setaffinity", errno);
            break;
        case 'e':
            options->is_echo = true;
            break;
        default:
            exit(2);
        }
    }
}

int main(int argc, char **argv)
{
    struct options options = {.sockets = 8, .window = 32, .size = 64, .seconds = 1};
    struct counts warm = {0};
    struct counts counts = {0};
    uint64_t cpu[2];
    uint64_t wait[2];
    uint64_t begin;
    uint64_t end;

    parse(argc, argv, &options);
    if (options.address.sin_port == 0)
        raw_die("load_udp: --connect HOST:PORT", 0);
    memset(payload, '.', sizeof payload);
    request[0] = '?';
    for (unsigned i = 0; i < options.sockets; i++) {
        fds[i] = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
        if (fds[i] < 0 ||
            connect(fds[i], (struct sockaddr *)&options.address, sizeof options.address) < 0)
            raw_die("connect", errno);
    }
    run(&options, now() + 50000000, &warm);
    account(options.measure_pid, &cpu[0], &wait[0]);
    begin = now();
    run(&options, begin + (uint64_t)(options.seconds * 1e9), &counts);
    end = now();
    account(options.measure_pid, &cpu[1], &wait[1]);
    printf("{\"datagrams\": %" PRIu64 ", \"lost_windows\": %" PRIu64
           ", \"seconds\": %.6f, \"cpu_ns\": %" PRIu64 ", \"wait_ns\": %" PRIu64 "}\n",
           counts.answered, counts.lost, (double)(end - begin) / 1e9, cpu[1] - cpu[0],
           wait[1] - wait[0]);
    return 0;
}

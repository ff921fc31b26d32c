/* SPDX-License-Identifier: MIT */
/* Echo load generator: keeps a number of messages in flight, checks every byte that comes back, and
 * prints what it saw as one line of JSON.
 *
 * Three ways to run. `--seconds S` measures for a time, after `--warmup W` seconds that do not
 * count. `--requests N` sends exactly N messages, each connection its fixed share, for runs whose
 * difference is taken (callgrind, strace): their start and end cost the same and cancel out.
 * `--stop-pid PID` sends SIGTERM to the server after `--stop-after S` seconds of load, starts
 * nothing more, and reports how each connection ended.
 *
 * A measurement begins and ends with nothing in flight, and with `--measure-pid PID` the server's
 * CPU time is read at both moments, once it sleeps: all of it belongs to the messages that were
 * counted, and none is missing.
 *
 * Exit status: 0 when every reply was right; 1 when not, or when the server stalled; 2 for wrong
 * arguments.
 */
#include "load.h"

#include "account.h"
#include "raw.h"

#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define SETTLE_MS   3
#define STALL_TURNS 10 /* turns of a second without any reply before the server counts as stuck */

struct options {
    struct sockaddr_in address;
    unsigned connections;
    unsigned size;
    unsigned pipeline;
    double seconds;
    uint64_t requests; /* 0: run for `seconds` */
    double warmup;
    int measure_pid; /* 0: nobody */
    int stop_pid;    /* 0: nobody */
    double stop_after;
    int cpu; /* -1: wherever */
};

struct sample {
    uint64_t time_ns;
    struct account server;
    struct account own;
};

static bool stalled;

/* ---- Measuring ---- */

static struct sample take_sample(const struct options *options)
{
    struct sample sample = {.server = account_settled(options->measure_pid, SETTLE_MS)};

    sample.own = account_of(getpid());
    sample.time_ns = account_clock();
    return sample;
}

/* ---- Phases ---- */

static bool turn(void)
{
    static unsigned quiet;

    if (load_turn()) {
        quiet = 0;
        return true;
    }
    stalled = ++quiet >= STALL_TURNS;
    return !stalled;
}

static void drain(void)
{
    while (load_in_flight() > 0 && turn())
        ;
}

static void run_for(double seconds)
{
    const uint64_t end = account_clock() + (uint64_t)(seconds * 1e9);

    load_start(UINT64_MAX);
    while (account_clock() < end && load_open_count() > 0 && turn())
        ;
    load_hold();
}

static void print_result(const struct options *options, const struct sample *before,
                         const struct sample *after, uint64_t end_ns)
{
    const struct load_counts *counts = load_counts_now();
    const double seconds = (double)(end_ns - before->time_ns) / 1e9;

    printf("{\"connections\": %u, \"size\": %u, \"pipeline\": %u, \"requests\": %" PRIu64
           ", \"seconds\": %.6f, \"throughput\": %.1f, \"p50_us\": %.2f, \"p99_us\": %.2f"
           ", \"errors\": %" PRIu64 ", \"mismatches\": %" PRIu64 ", \"stalled\": %s",
           options->connections, options->size, options->pipeline, counts->replies, seconds,
           (double)counts->replies / seconds, load_latency_us(0.5), load_latency_us(0.99),
           counts->errors, counts->mismatches, stalled ? "true" : "false");
    account_print("load", &before->own, &after->own);
    if (options->measure_pid)
        account_print("server", &before->server, &after->server);
    printf("}\n");
}

static int measure(const struct options *options)
{
    if (options->warmup > 0) {
        run_for(options->warmup);
        drain();
    }
    load_reset_counts();

    const struct sample before = take_sample(options);
    if (options->requests) {
        load_start(options->requests / options->connections);
        load_start_extra((unsigned)(options->requests % options->connections));
    } else {
        run_for(options->seconds);
    }
    drain();
    const uint64_t end_ns = account_clock();
    const struct sample after = take_sample(options);

    print_result(options, &before, &after, end_ns);
    const struct load_counts *counts = load_counts_now();
    return counts->errors || counts->mismatches || stalled;
}

static int stop_under_load(const struct options *options)
{
    struct load_ends ends = {0};

    run_for(options->stop_after);
    load_expect_end(&ends);
    if (kill(options->stop_pid, SIGTERM) < 0)
        raw_die("--stop-pid", errno);
    while (load_open_count() > 0 && turn())
        ;

    const struct load_counts *counts = load_counts_now();
    printf("{\"connections\": %u, \"size\": %u, \"pipeline\": %u, \"requests\": %" PRIu64
           ", \"mismatches\": %" PRIu64 ", \"errors\": %" PRIu64 ", \"complete\": %" PRIu64
           ", \"partial\": %" PRIu64 ", \"reset\": %" PRIu64 ", \"open\": %u"
           ", \"unanswered\": %" PRIu64 "}\n",
           options->connections, options->size, options->pipeline, counts->replies,
           counts->mismatches, counts->errors, ends.complete, ends.partial, ends.reset,
           load_open_count(), ends.unanswered);
    return counts->mismatches || counts->errors || ends.partial || ends.reset || stalled;
}

/* ---- Start ---- */

static void usage(FILE *out)
{
    fputs("usage: load --connect HOST:PORT [--connections N] [--size BYTES] [--pipeline DEPTH]\n"
          "            [--seconds S [--warmup S] | --requests N | --stop-pid PID --stop-after S]\n"
          "            [--measure-pid PID] [--cpu N]\n"
          "Keeps DEPTH messages of BYTES in flight on N connections to an echo server and checks\n"
          "every byte of the replies. Prints one line of JSON.\n",
          out);
}

static bool set_option(struct options *options, int option, const char *text)
{
    switch (option) {
    case 'a':
        options->address = raw_address(text);
        return true;
    case 'c':
        options->connections = (unsigned)raw_number("--connections", text, 1, 1000000);
        return true;
    case 's':
        options->size = (unsigned)raw_number("--size", text, 1, 1 << 24);
        return true;
    case 'd':
        options->pipeline = (unsigned)raw_number("--pipeline", text, 1, 1024);
        return true;
    case 't':
        options->seconds = raw_seconds("--seconds", text);
        return true;
    case 'n':
        options->requests = (uint64_t)raw_number("--requests", text, 1, INT64_MAX);
        return true;
    case 'w':
        options->warmup = raw_seconds("--warmup", text);
        return true;
    case 'm':
        options->measure_pid = (int)raw_number("--measure-pid", text, 1, INT32_MAX);
        return true;
    case 'k':
        options->stop_pid = (int)raw_number("--stop-pid", text, 1, INT32_MAX);
        return true;
    case 'f':
        options->stop_after = raw_seconds("--stop-after", text);
        return true;
    case 'p':
        options->cpu = (int)raw_number("--cpu", text, 0, CPU_SETSIZE - 1);
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
        {"pipeline", required_argument, NULL, 'd'},
        {"seconds", required_argument, NULL, 't'},
        {"requests", required_argument, NULL, 'n'},
        {"warmup", required_argument, NULL, 'w'},
        {"measure-pid", required_argument, NULL, 'm'},
        {"stop-pid", required_argument, NULL, 'k'},
        {"stop-after", required_argument, NULL, 'f'},
        {"cpu", required_argument, NULL, 'p'},
        {"help", no_argument, NULL, 'h'},
        {0},
    };
    struct options options = {
        .connections = 64, .size = 64, .pipeline = 1, .seconds = 1, .stop_after = 1, .cpu = -1};

    for (;;) {
        const int option = getopt_long(argc, argv, "", table, NULL);

        if (option == -1)
            break;
        if (option == 'h') {
            usage(stdout);
            return 0;
        }
        if (!set_option(&options, option, optarg)) {
            usage(stderr);
            return 2;
        }
    }
    if (options.address.sin_port == 0 || optind < argc) {
        usage(stderr);
        return 2;
    }

    if (options.cpu >= 0)
        raw_pin(options.cpu);
    load_open(&options.address, options.connections, options.size, options.pipeline);
    return options.stop_pid ? stop_under_load(&options) : measure(&options);
}

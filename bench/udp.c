/* SPDX-License-Identifier: MIT */
/* Datagram server on coil, to be held against raw_udp.c; load_udp.c says what it answers.
 *
 *   --recv one    a loop of coil_udp_recv(), as most programs are written
 *   --recv batch  coil_udp_recv_batch() and coil_udp_send_batch()
 *   --recv serve  coil_udp_serve(): a fiber per datagram
 */
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <coil/coil.h>

enum {
    BATCH = 64,
    PAYLOAD = 2048,
};

static struct {
    const char *address;
    const char *how;
    bool is_echo;
    uint64_t count; /* datagrams received */
} server = {.address = "127.0.0.1:0", .how = "one"};

/* Turns a datagram into its answer; false when it has none. */
static bool wants_answer(char *data, size_t *length)
{
    server.count++;
    if (server.is_echo)
        return true;
    if (*length == 0 || data[0] != '?')
        return false;
    memcpy(data, &server.count, sizeof server.count);
    *length = sizeof server.count;
    return true;
}

static int run_one(coil_udp *udp)
{
    char data[PAYLOAD];
    coil_address from;

    for (;;) {
        const ssize_t n = coil_udp_recv(udp, data, sizeof data, &from);
        size_t length = (size_t)n;

        if (n < 0)
            return (int)n;
        if (wants_answer(data, &length) && coil_udp_send(udp, data, length, &from) < 0)
            return -1;
    }
}

static int run_batch(coil_udp *udp)
{
    static char data[BATCH][PAYLOAD];
    static coil_datagram in[BATCH];
    static coil_datagram out[BATCH];

    for (unsigned i = 0; i < BATCH; i++)
        in[i] = (coil_datagram){.data = data[i], .size = PAYLOAD};
    for (;;) {
        const ssize_t n = coil_udp_recv_batch(udp, in, BATCH);
        size_t answers = 0;

        if (n < 0)
            return (int)n;
        for (ssize_t i = 0; i < n; i++) {
            size_t length = in[i].length;

            if (!wants_answer(in[i].data, &length))
                continue;
            out[answers] = in[i];
            out[answers++].size = length;
        }
        if (answers > 0 && coil_udp_send_batch(udp, out, answers) < 0)
            return -1;
    }
}

static int handle(const void *data, size_t size, const coil_address *from, coil_udp *udp, void *arg)
{
    char answer[PAYLOAD];
    size_t length = size < sizeof answer ? size : sizeof answer;

    (void)arg;
    memcpy(answer, data, length);
    return wants_answer(answer, &length) ? coil_udp_send(udp, answer, length, from) : 0;
}

static int run(void *arg)
{
    char text[COIL_ADDRESS_SIZE];
    coil_udp *udp;
    int result = coil_udp_open(server.address, NULL, &udp);

    (void)arg;
    if (result < 0)
        return result;
    (void)coil_udp_address(udp, text, sizeof text);
    printf("listening on %s\n", text);
    (void)fflush(stdout);
    if (strcmp(server.how, "one") == 0)
        return run_one(udp);
    if (strcmp(server.how, "batch") == 0)
        return run_batch(udp);
    return coil_udp_serve(udp, handle, NULL, NULL);
}

/* Leaves from inside the handler: nothing is to be flushed, and the loops carry no check for it. */
static void leave(int signo)
{
    (void)signo;
    _exit(0);
}

static int usage(void)
{
    fprintf(stderr, "usage: udp [--listen HOST:PORT] [--recv one|batch|serve] [--echo]\n");
    return 2;
}

int main(int argc, char **argv)
{
    static const struct option names[] = {{"listen", required_argument, NULL, 'l'},
                                          {"recv", required_argument, NULL, 'r'},
                                          {"echo", no_argument, NULL, 'e'},
                                          {NULL, 0, NULL, 0}};
    const struct sigaction action = {.sa_handler = leave};
    int result = 0;
    int started;

    for (;;) {
        const int option = getopt_long(argc, argv, "", names, NULL);

        if (option < 0)
            break;
        if (option == 'l')
            server.address = optarg;
        else if (option == 'r')
            server.how = optarg;
        else if (option == 'e')
            server.is_echo = true;
        else
            return usage();
    }
    if (optind < argc || (strcmp(server.how, "one") != 0 && strcmp(server.how, "batch") != 0 &&
                          strcmp(server.how, "serve") != 0))
        return usage();
    (void)sigaction(SIGTERM, &action, NULL);
    started = coil_run(run, NULL, NULL, &result);
    fprintf(stderr, "udp: %s\n", coil_strerror(started < 0 ? started : result));
    return EXIT_FAILURE;
}

/* SPDX-License-Identifier: MIT */
/* Addresses, listening and complaints for the programs of bench/ (see raw.h).
 *
 * SIGTERM is handled by leaving from inside the handler: the raw servers own nothing that needs
 * flushing, and this way their loops carry no check for it and no descriptor more than the loop
 * they stand for. valgrind and strace print their totals at that exit.
 */
#include "raw.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

/* One row per descriptor is allocated at start; some containers report a limit of 10^9. */
#define DESCRIPTORS_MAX (1U << 20)

void raw_die(const char *what, int error)
{
    if (error == 0)
        fprintf(stderr, "%s\n", what);
    else
        fprintf(stderr, "%s: %s\n", what, strerrordesc_np(abs(error)));
    exit(1);
}

long raw_number(const char *option, const char *text, long min, long max)
{
    char *end = NULL;
    const long value = strtol(text, &end, 10);

    if (end == text || *end != '\0' || value < min || value > max) {
        fprintf(stderr, "%s: %s is not a number from %ld to %ld\n", option, text, min, max);
        exit(2);
    }
    return value;
}

double raw_seconds(const char *option, const char *text)
{
    char *end = NULL;
    const double value = strtod(text, &end);

    if (end == text || *end != '\0' || !(value >= 0 && value <= 86400)) {
        fprintf(stderr, "%s: %s is not a number of seconds\n", option, text);
        exit(2);
    }
    return value;
}

void *raw_map(size_t size)
{
    void *memory = mmap(NULL, size, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

    if (memory == MAP_FAILED)
        raw_die("mmap", errno);
    return memory;
}

void raw_pin(int cpu)
{
    cpu_set_t set;

    CPU_ZERO(&set);
    CPU_SET((size_t)cpu, &set);
    if (sched_setaffinity(0, sizeof set, &set) < 0)
        raw_die("--cpu", errno);
}

struct sockaddr_in raw_address(const char *text)
{
    const char *colon = strrchr(text, ':');
    char host[INET_ADDRSTRLEN] = "";

    if (!colon || (size_t)(colon - text) >= sizeof host) {
        fprintf(stderr, "%s: an address is HOST:PORT with HOST in dotted decimal\n", text);
        exit(2);
    }
    memcpy(host, text, (size_t)(colon - text));

    struct sockaddr_in address = {.sin_family = AF_INET};
    address.sin_port = htons((uint16_t)raw_number("port", colon + 1, 0, 65535));
    if (inet_pton(AF_INET, host, &address.sin_addr) != 1) {
        fprintf(stderr, "%s: %s is not an IPv4 address\n", text, host);
        exit(2);
    }
    return address;
}

void raw_nodelay(int fd)
{
    /* Failure means the peer has gone already; the next receive says so. */
    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &(int){1}, sizeof(int));
}

static void leave(int signo)
{
    (void)signo;
    _exit(0);
}

/* Binds `fd`, lets SIGTERM end the program and says where it listens, once it does. */
static void announce(int fd)
{
    const struct sigaction action = {.sa_handler = leave};
    struct sockaddr_in address;
    socklen_t length = sizeof address;
    char host[INET_ADDRSTRLEN];

    if (getsockname(fd, (struct sockaddr *)&address, &length) < 0)
        raw_die("getsockname", errno);
    if (sigaction(SIGTERM, &action, NULL) < 0)
        raw_die("sigaction", errno);
    inet_ntop(AF_INET, &address.sin_addr, host, sizeof host);
    printf("listening on %s:%u\n", host, ntohs(address.sin_port));
    fflush(stdout);
}

int raw_listen(const char *text, int type_flags)
{
    struct sockaddr_in address = raw_address(text);
    const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | type_flags, 0);

    if (fd < 0)
        raw_die("socket", errno);
    (void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &(int){1}, sizeof(int));
    raw_nodelay(fd);
    if (bind(fd, (struct sockaddr *)&address, sizeof address) < 0 || listen(fd, 4096) < 0)
        raw_die(text, errno);
    announce(fd);
    return fd;
}

int raw_bind(const char *text)
{
    struct sockaddr_in address = raw_address(text);
    const int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

    if (fd < 0)
        raw_die("socket", errno);
    if (bind(fd, (struct sockaddr *)&address, sizeof address) < 0)
        raw_die(text, errno);
    announce(fd);
    return fd;
}

unsigned raw_descriptors_max(void)
{
    struct rlimit limit;

    if (getrlimit(RLIMIT_NOFILE, &limit) < 0 || limit.rlim_cur > DESCRIPTORS_MAX)
        return DESCRIPTORS_MAX;
    return (unsigned)limit.rlim_cur;
}

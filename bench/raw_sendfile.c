/* SPDX-License-Identifier: MIT */
/* Sending a file over a socket with io_uring: read + send through a buffer, or splice by a pipe.
 *
 * What coil_sendfile() should do is decided by this program (lib/DECISIONS.md). A child drains a
 * TCP connection over loopback; the parent sends pieces of a file that is in the page cache, 64 KiB
 * at a time, one operation after the other as a fiber would. Reported are, for each way and size,
 * the CPU time of the whole sending process, kernel workers included, and the time that passed,
 * both in microseconds per MiB.
 *
 * Usage: raw_sendfile FILE (of 1 MiB or more)
 */
#include <errno.h>
#include <fcntl.h>
#include <liburing.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "raw.h"

enum {
    PIECE = 64 * 1024,
    MIB = 1024 * 1024,
    TOTAL = 512 * MIB, /* sent in each run */
};

struct sender {
    struct io_uring ring;
    int file;
    int socket;
    int pipe[2];
    char *buffer;
};

static struct io_uring_sqe *entry(struct sender *sender)
{
    struct io_uring_sqe *sqe = io_uring_get_sqe(&sender->ring);

    if (!sqe)
        raw_die("no entry", 0);
    return sqe;
}

/* Runs the entry that was prepared last. */
static int run(struct sender *sender)
{
    struct io_uring_cqe *cqe = NULL;
    int result = io_uring_submit_and_wait(&sender->ring, 1);

    if (result >= 0)
        result = io_uring_peek_cqe(&sender->ring, &cqe);
    if (result < 0 || !cqe)
        raw_die("io_uring", -result);
    result = cqe->res;
    io_uring_cqe_seen(&sender->ring, cqe);
    if (result <= 0)
        raw_die("operation", -result);
    return result;
}

static void send_by_buffer(struct sender *sender, unsigned offset, unsigned size)
{
    while (size > 0) {
        const unsigned wanted = size < PIECE ? size : PIECE;
        struct io_uring_sqe *sqe = entry(sender);
        unsigned length;

        io_uring_prep_read(sqe, sender->file, sender->buffer, wanted, offset);
        length = (unsigned)run(sender);
        sqe = entry(sender);
        io_uring_prep_send(sqe, sender->socket, sender->buffer, length, MSG_WAITALL | MSG_NOSIGNAL);
        (void)run(sender);
        offset += length;
        size -= length;
    }
}

static void send_by_splice(struct sender *sender, unsigned offset, unsigned size)
{
    while (size > 0) {
        const unsigned wanted = size < PIECE ? size : PIECE;
        struct io_uring_sqe *sqe = entry(sender);
        unsigned length;
        unsigned left;

        io_uring_prep_splice(sqe, sender->file, offset, sender->pipe[1], -1, wanted, 0);
        length = (unsigned)run(sender);
        for (left = length; left > 0;) {
            sqe = entry(sender);
            io_uring_prep_splice(sqe, sender->pipe[0], -1, sender->socket, -1, left,
                                 length < size ? SPLICE_F_MORE : 0);
            left -= (unsigned)run(sender);
        }
        offset += length;
        size -= length;
    }
}

static double seconds(clockid_t clock)
{
    struct timespec now;

    (void)clock_gettime(clock, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static void drain(int fd)
{
    static char buffer[256 * 1024];

    while (recv(fd, buffer, sizeof buffer, 0) > 0)
        ;
    _exit(0);
}

/* A connection whose other end a child drains. */
static int connect_to_child(void)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    socklen_t size = sizeof address;
    const int listener = socket(AF_INET, SOCK_STREAM, 0);
    const int fd = socket(AF_INET, SOCK_STREAM, 0);

    if (bind(listener, (const void *)&address, size) < 0 || listen(listener, 1) < 0 ||
        getsockname(listener, (void *)&address, &size) < 0 ||
        connect(fd, (const void *)&address, size) < 0)
        raw_die("connect", errno);
    if (fork() == 0) {
        (void)close(fd);
        drain(accept(listener, NULL, NULL));
    }
    (void)close(listener);
    return fd;
}

static void measure(struct sender *sender, const char *name, unsigned size,
                    void (*send_piece)(struct sender *, unsigned, unsigned))
{
    double cpu;
    double wall;

    sender->socket = connect_to_child();
    cpu = seconds(CLOCK_PROCESS_CPUTIME_ID);
    wall = seconds(CLOCK_MONOTONIC);
    for (unsigned sent = 0; sent < TOTAL; sent += size)
        send_piece(sender, 0, size);
    (void)shutdown(sender->socket, SHUT_WR);
    cpu = seconds(CLOCK_PROCESS_CPUTIME_ID) - cpu;
    (void)wait(NULL);
    wall = seconds(CLOCK_MONOTONIC) - wall;
    (void)close(sender->socket);
    (void)printf("%-7s %8u bytes each: %7.1f us CPU, %7.1f us passed per MiB\n", name, size,
                 cpu * 1e6 / (TOTAL / MIB), wall * 1e6 / (TOTAL / MIB));
}

int main(int argc, char **argv)
{
    static const unsigned sizes[] = {4096, 16384, 65536, MIB};
    struct sender sender = {.file = argc == 2 ? open(argv[1], O_RDONLY | O_CLOEXEC) : -1};

    if (sender.file < 0 || lseek(sender.file, 0, SEEK_END) < MIB) {
        (void)fprintf(stderr, "usage: raw_sendfile FILE (of 1 MiB or more)\n");
        return 2;
    }
    sender.buffer = malloc(PIECE);
    if (!sender.buffer || pipe2(sender.pipe, O_CLOEXEC) < 0 ||
        io_uring_queue_init(8, &sender.ring,
                            IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN) < 0)
        raw_die("set-up", errno);
    for (int round = 0; round < 3; round++) {
        for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
            measure(&sender, "buffer", sizes[i], send_by_buffer);
            measure(&sender, "splice", sizes[i], send_by_splice);
        }
    }
    free(sender.buffer);
    io_uring_queue_exit(&sender.ring);
    return EXIT_SUCCESS;
}

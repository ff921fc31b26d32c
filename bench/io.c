/* SPDX-License-Identifier: MIT */
/* Small operations of the kernel's, between fibers of one thread: what coil adds to them.
 *
 * `udp_echo`: two fibers with a socket each on loopback answer each other, one datagram of 64 bytes
 * under way; an operation is a datagram sent and received. `file_read_32`: 32 fibers read blocks of
 * 4 KiB of a file in the page cache; an operation is a read. `process_spawn`: one true(1) at a time
 * is started and awaited; the CPU time is that of this process.
 */
#include <unistd.h>

#include <coil/coil.h>

#include "file_blocks.h"
#include "measure.h"

enum {
    PROCESSES = 100,
    DATAGRAMS = 20000,
    DATAGRAM_SIZE = 64,
    READERS = 32,
    READS = 32 * 1024,
    BLOCKS = 1024,
    BLOCK_SIZE = 4096,
};

/* ---- Datagrams ---- */

static int answer(void *arg)
{
    coil_udp *udp = arg;

    for (long i = 0; i < DATAGRAMS; i += 2) {
        char data[DATAGRAM_SIZE];
        coil_address from;
        const ssize_t length = coil_udp_recv(udp, data, sizeof data, &from);

        measure_check((int)length, "coil_udp_recv");
        measure_check(coil_udp_send(udp, data, (size_t)length, &from), "coil_udp_send");
    }
    return 0;
}

static int64_t udp_echo(long count)
{
    char address[64];
    char data[DATAGRAM_SIZE] = "";
    coil_fiber *partner;
    coil_udp *server;
    coil_udp *client;
    int64_t start;
    int64_t taken;

    measure_check(coil_udp_open("127.0.0.1:0", NULL, &server), "coil_udp_open");
    measure_check(coil_udp_address(server, address, sizeof address), "coil_udp_address");
    measure_check(coil_udp_connect(address, NULL, NULL, &client), "coil_udp_connect");
    measure_check(coil_spawn(answer, server, &partner), "coil_spawn");

    start = measure_now();
    for (long i = 0; i < DATAGRAMS; i += 2) {
        measure_check(coil_udp_send(client, data, sizeof data, NULL), "coil_udp_send");
        measure_check((int)coil_udp_recv(client, data, sizeof data, NULL), "coil_udp_recv");
    }
    taken = measure_now() - start;

    measure_check(coil_join(partner, NULL), "coil_join");
    coil_fiber_unref(partner);
    coil_udp_close(client);
    coil_udp_close(server);
    return measure_scaled(taken, DATAGRAMS, count);
}

/* ---- Files ---- */

struct reader {
    int fd;
    int first;
};

static int read_blocks(void *arg)
{
    const struct reader *reader = arg;
    char block[BLOCK_SIZE];

    for (int i = reader->first; i < READS; i += READERS) {
        const uint64_t offset = (uint64_t)(i % BLOCKS) * BLOCK_SIZE;

        measure_check((int)coil_file_read(reader->fd, block, sizeof block, offset),
                      "coil_file_read");
    }
    return 0;
}

static int64_t file_read_32(long count)
{
    struct reader readers[READERS];
    coil_fiber *fibers[READERS];
    const int fd = file_make(1, (size_t)BLOCKS * BLOCK_SIZE);
    const int64_t start = measure_now();
    int64_t taken;

    for (int i = 0; i < READERS; i++) {
        readers[i] = (struct reader){.fd = fd, .first = i};
        measure_check(coil_spawn(read_blocks, &readers[i], &fibers[i]), "coil_spawn");
    }
    for (int i = 0; i < READERS; i++) {
        measure_check(coil_join(fibers[i], NULL), "coil_join");
        coil_fiber_unref(fibers[i]);
    }
    taken = measure_now() - start;
    (void)close(fd);
    return measure_scaled(taken, READS, count);
}

/* ---- Processes ---- */

static int64_t process_spawn(long count)
{
    static const char *const program[] = {"/bin/true", NULL};
    const int64_t start = measure_now();

    for (int i = 0; i < PROCESSES; i++) {
        coil_process *process;
        int status;

        measure_check(coil_process_spawn(program, NULL, &process), "coil_process_spawn");
        measure_check(coil_process_wait(process, &status), "coil_process_wait");
        measure_check(-status, "true");
        coil_process_free(process);
    }
    return measure_scaled(measure_now() - start, PROCESSES, count);
}

int main(int argc, char **argv)
{
    static const struct measure_case cases[] = {{"udp_echo", udp_echo},
                                                {"file_read_32", file_read_32},
                                                {"process_spawn", process_spawn},
                                                {0}};

    return measure_main_in_fiber(argc, argv, cases);
}

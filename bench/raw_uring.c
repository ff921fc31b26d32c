/* SPDX-License-Identifier: MIT */
/* Echo server on io_uring, written by hand and without fibers: the limit that coil is held against.
 *
 * One thread, one ring, one enter per turn: handle every completion there is, queue what follows
 * from it, submit all of that and wait in the same call. Two choices have no winner for all loads,
 * so they are flags and bench/run takes the fastest combination of each cell as its 1.00:
 *   --recv multishot  one receive per connection that stays armed and takes from shared buffers
 *   --recv oneshot    a receive into the connection's own buffer, queued when its reply has left
 *   --send ring       replies are entries of the turn's batch (MSG_WAITALL re-arms short sends)
 *   --send inline     replies leave by send(2) at once; only what does not fit becomes an entry
 *
 * Both ways of receiving deliver "chunks": numbered slices of one mapping. A chunk is sent from
 * where it was received and is free again when its last byte has left. (Receiving into a second
 * buffer while the first is being sent costs 10 %: the receive is then tried too early, finds
 * nothing, and has to wait for readiness. To let a one-shot receive wait for readiness first,
 * IORING_RECVSEND_POLL_FIRST, gains nothing and costs 10 % where connections are short.)
 *
 * Invariants: a connection has at most one send in flight, later chunks queue behind it in order;
 * a one-shot receive is armed only while the connection's chunk is free; a connection is freed when
 * nothing of it is in flight or in line; a receive that found no buffer waits in line for one.
 */
#include "raw.h"
#include "raw_ring.h"

#include <errno.h>
#include <getopt.h>
#include <liburing.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define SHARED_CHUNKS 512 /* of 16 KiB: larger traffic needs them, smaller does not suffer */
#define BUFFER_GROUP  0
#define NO_CHUNK      UINT32_MAX
#define TAG_SEND      1UL /* user_data is the connection, with this bit for sends; NULL: accept */

struct chunk {
    uint32_t len;
    uint32_t next; /* in the queue of its connection */
};

struct conn {
    int fd;
    bool receiving;    /* a receive is in flight */
    bool sending;      /* a send is in flight */
    bool ended;        /* no more input: the peer closed, or sending failed */
    bool broken;       /* sending failed: replies are discarded */
    bool starving;     /* in the line for a buffer */
    uint32_t head;     /* first chunk to send, NO_CHUNK when there is none */
    uint32_t tail;     /* last one; meaningless without a head */
    uint32_t sent;     /* bytes of the head that have left */
    struct conn *next; /* in the line of the starved, or among the free */
};

struct server {
    struct io_uring ring;
    struct io_uring_buf_ring *shared;
    struct chunk *chunks;
    char *area;
    size_t size; /* bytes a chunk holds */
    unsigned entries;
    bool multishot;
    bool send_inline;
    int listener;
    unsigned conns_max;
    struct conn *conns;
    struct conn *free_conns;
    struct conn *starved; /* receives that found no buffer, oldest first */
    struct conn *starved_last;
    unsigned returned;  /* buffers put back in this turn, not yet published */
    unsigned available; /* buffers the kernel may take, the returned ones included */
};

static struct io_uring_sqe *entry(struct server *server)
{
    for (;;) {
        struct io_uring_sqe *sqe = io_uring_get_sqe(&server->ring);

        if (sqe)
            return sqe;
        const int status = io_uring_submit(&server->ring);
        if (status < 0 && status != -EINTR && status != -EAGAIN && status != -EBUSY)
            raw_die("io_uring_submit", status);
    }
}

static char *chunk_data(const struct server *server, uint32_t chunk)
{
    return server->area + (size_t)chunk * server->size;
}

static uint32_t own_chunk(const struct server *server, const struct conn *conn)
{
    return (uint32_t)(conn - server->conns);
}

/* ---- Receiving ---- */

static void arm_accept(struct server *server)
{
    struct io_uring_sqe *sqe = entry(server);

    io_uring_prep_multishot_accept(sqe, server->listener, NULL, NULL, SOCK_CLOEXEC);
    io_uring_sqe_set_data(sqe, NULL);
}

static void arm_receive(struct server *server, struct conn *conn)
{
    if (conn->receiving || conn->ended || (!server->multishot && conn->head != NO_CHUNK))
        return;

    struct io_uring_sqe *sqe = entry(server);
    if (server->multishot) {
        io_uring_prep_recv_multishot(sqe, conn->fd, NULL, 0, 0);
        sqe->flags |= IOSQE_BUFFER_SELECT;
        sqe->buf_group = BUFFER_GROUP;
    } else {
        char *data = chunk_data(server, own_chunk(server, conn));
        io_uring_prep_recv(sqe, conn->fd, data, server->size, 0);
    }
    io_uring_sqe_set_data(sqe, conn);
    conn->receiving = true;
}

static void return_buffer(struct server *server, uint32_t chunk)
{
    io_uring_buf_ring_add(server->shared, chunk_data(server, chunk), (unsigned)server->size,
                          (unsigned short)chunk, io_uring_buf_ring_mask(SHARED_CHUNKS),
                          (int)server->returned++);
    server->available++;
}

static void free_chunk(struct server *server, struct conn *conn, uint32_t chunk)
{
    if (server->multishot)
        return_buffer(server, chunk);
    else
        arm_receive(server, conn);
}

static void starve(struct server *server, struct conn *conn)
{
    conn->next = NULL;
    conn->starving = true;
    if (server->starved)
        server->starved_last->next = conn;
    else
        server->starved = conn;
    server->starved_last = conn;
}

static void free_if_over(struct server *server, struct conn *conn)
{
    if (!conn->ended || conn->receiving || conn->sending || conn->starving)
        return;
    close(conn->fd);
    conn->next = server->free_conns;
    server->free_conns = conn;
}

/* Publishes the turn's buffers and lets as many starved connections try again as there are buffers:
 * one more would only come back with ENOBUFS. */
static void return_buffers(struct server *server)
{
    if (server->returned)
        io_uring_buf_ring_advance(server->shared, (int)server->returned);
    server->returned = 0;
    for (unsigned i = 0; i < server->available && server->starved; i++) {
        struct conn *conn = server->starved;

        server->starved = conn->next;
        conn->starving = false;
        arm_receive(server, conn);
        free_if_over(server, conn);
    }
}

/* ---- Sending ---- */

static void arm_send(struct server *server, struct conn *conn)
{
    const char *data = chunk_data(server, conn->head) + conn->sent;
    const size_t len = server->chunks[conn->head].len - conn->sent;
    struct io_uring_sqe *sqe = entry(server);

    io_uring_prep_send(sqe, conn->fd, data, len, MSG_WAITALL | MSG_NOSIGNAL);
    io_uring_sqe_set_data64(sqe, (uint64_t)(uintptr_t)conn | TAG_SEND);
    conn->sending = true;
}

/* Takes a send's result into account; true while more of the same chunk has to go. */
static bool account_send(struct server *server, struct conn *conn, int result)
{
    struct chunk *chunk = &server->chunks[conn->head];

    if (result < 0) {
        conn->broken = true;
        conn->ended = true;
        /* An armed multishot must end for the connection to be freed. */
        shutdown(conn->fd, SHUT_RDWR);
    } else {
        conn->sent += (uint32_t)result;
    }
    if (!conn->broken && conn->sent < chunk->len)
        return true;

    const uint32_t done = conn->head;
    conn->head = chunk->next;
    conn->sent = 0;
    free_chunk(server, conn, done);
    return false;
}

static void send_queued(struct server *server, struct conn *conn)
{
    while (conn->head != NO_CHUNK && conn->broken)
        account_send(server, conn, 0);
    while (conn->head != NO_CHUNK && server->send_inline) {
        const char *data = chunk_data(server, conn->head) + conn->sent;
        const size_t len = server->chunks[conn->head].len - conn->sent;
        const ssize_t sent = send(conn->fd, data, len, MSG_DONTWAIT | MSG_NOSIGNAL);

        if (sent < 0 && errno == EAGAIN)
            break;
        if (account_send(server, conn, sent < 0 ? -errno : (int)sent))
            break;
    }
    if (conn->head != NO_CHUNK)
        arm_send(server, conn);
}

static void enqueue(struct server *server, struct conn *conn, uint32_t chunk, uint32_t len)
{
    server->chunks[chunk] = (struct chunk){.len = len, .next = NO_CHUNK};
    if (conn->head == NO_CHUNK)
        conn->head = chunk;
    else
        server->chunks[conn->tail].next = chunk;
    conn->tail = chunk;
    if (!conn->sending)
        send_queued(server, conn);
}

/* ---- Completions ---- */

static void on_accept(struct server *server, const struct io_uring_cqe *cqe)
{
    if (!(cqe->flags & IORING_CQE_F_MORE))
        arm_accept(server);
    if (cqe->res < 0)
        return;

    struct conn *conn = server->free_conns;
    if (!conn) {
        close(cqe->res);
        return;
    }
    server->free_conns = conn->next;
    *conn = (struct conn){.fd = cqe->res, .head = NO_CHUNK};
    arm_receive(server, conn);
}

static void on_receive(struct server *server, struct conn *conn, const struct io_uring_cqe *cqe)
{
    uint32_t chunk = NO_CHUNK;

    conn->receiving = cqe->flags & IORING_CQE_F_MORE;
    if (!server->multishot) {
        chunk = own_chunk(server, conn);
    } else if (cqe->flags & IORING_CQE_F_BUFFER) {
        chunk = cqe->flags >> IORING_CQE_BUFFER_SHIFT;
        server->available--;
    }

    if (cqe->res > 0) {
        enqueue(server, conn, chunk, (uint32_t)cqe->res);
        arm_receive(server, conn);
    } else if (cqe->res == -ENOBUFS && !conn->ended) {
        starve(server, conn);
        return;
    } else {
        conn->ended = true;
        if (chunk != NO_CHUNK)
            free_chunk(server, conn, chunk);
    }
    free_if_over(server, conn);
}

static void on_send(struct server *server, struct conn *conn, int result)
{
    conn->sending = false;
    if (account_send(server, conn, result))
        arm_send(server, conn);
    else
        send_queued(server, conn);
    free_if_over(server, conn);
}

_Noreturn static void run(struct server *server)
{
    for (;;) {
        const int status = io_uring_submit_and_wait(&server->ring, 1);
        struct io_uring_cqe *cqe;
        unsigned head;
        unsigned count = 0;

        if (status < 0 && status != -EINTR && status != -EAGAIN && status != -EBUSY)
            raw_die("io_uring_submit_and_wait", status);
        io_uring_for_each_cqe(&server->ring, head, cqe)
        {
            struct conn *conn = (struct conn *)(uintptr_t)(cqe->user_data & ~TAG_SEND);

            if (!conn)
                on_accept(server, cqe);
            else if (cqe->user_data & TAG_SEND)
                on_send(server, conn, cqe->res);
            else
                on_receive(server, conn, cqe);
            count++;
        }
        io_uring_cq_advance(&server->ring, count);
        return_buffers(server);
    }
}

/* ---- Start ---- */

static void share_buffers(struct server *server)
{
    server->shared = raw_share_buffers(&server->ring, SHARED_CHUNKS, BUFFER_GROUP);
    for (uint32_t chunk = 0; chunk < SHARED_CHUNKS; chunk++)
        return_buffer(server, chunk);
    return_buffers(server);
}

static void prepare(struct server *server)
{
    server->conns_max = raw_descriptors_max();
    const size_t count = server->multishot ? SHARED_CHUNKS : server->conns_max;

    server->area = raw_map(count * server->size);
    server->chunks = raw_map(count * sizeof *server->chunks);
    server->conns = raw_map(server->conns_max * sizeof *server->conns);
    for (unsigned i = server->conns_max; i-- > 0;) {
        server->conns[i].next = server->free_conns;
        server->free_conns = &server->conns[i];
    }
    raw_open_ring(&server->ring, server->entries);
    if (server->multishot)
        share_buffers(server);
}

static bool choose(const char *option, const char *text, const char *yes, const char *no)
{
    if (strcmp(text, yes) != 0 && strcmp(text, no) != 0) {
        fprintf(stderr, "%s: %s is neither %s nor %s\n", option, text, yes, no);
        exit(2);
    }
    return strcmp(text, yes) == 0;
}

static int usage(void)
{
    fprintf(stderr, "usage: raw_uring [--listen HOST:PORT] [--recv oneshot|multishot]\n"
                    "                 [--send ring|inline] [--size BUFFER_BYTES]\n"
                    "                 [--entries N]\n");
    return 2;
}

int main(int argc, char **argv)
{
    static const struct option options[] = {
        {"listen", required_argument, NULL, 'l'},  {"size", required_argument, NULL, 's'},
        {"recv", required_argument, NULL, 'r'},    {"send", required_argument, NULL, 'w'},
        {"entries", required_argument, NULL, 'e'}, {0},
    };
    static struct server server = {.size = 16384, .entries = 256, .multishot = true};
    const char *address = "127.0.0.1:0";
    int option;

    while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
        switch (option) {
        case 'l':
            address = optarg;
            break;
        case 's':
            server.size = (size_t)raw_number("--size", optarg, 64, 1 << 20);
            break;
        case 'r':
            server.multishot = choose("--recv", optarg, "multishot", "oneshot");
            break;
        case 'w':
            server.send_inline = choose("--send", optarg, "inline", "ring");
            break;
        case 'e':
            server.entries = (unsigned)raw_number("--entries", optarg, 1, 32768);
            break;
        default:
            return usage();
        }
    }

    if (optind < argc)
        return usage();
    prepare(&server);
    server.listener = raw_listen(address, 0);
    arm_accept(&server);
    run(&server);
}

/* SPDX-License-Identifier: MIT */
/* The moving half of the load generator: connections, patterns, latencies, one io_uring.
 *
 * Message number s of connection c is a window into a table of random bytes, at a place that
 * depends on both, so nothing is composed or stored to send it, and a reply is checked with one
 * memcmp per piece against the same window. Neighbouring messages and neighbouring connections
 * start at different places: a lost, repeated, shifted or swapped byte is seen, which a constant
 * pattern would let pass.
 *
 * It must not be what limits the server: one multishot receive per connection into shared buffers,
 * sends in the turn's batch, all replies of a turn answered with one send per connection.
 *
 * A message's clock starts when the turn that queues it begins and stops when the turn that sees
 * its last byte begins; waiting in this program's own batch is part of the latency, as it is for
 * any client with an event loop.
 *
 * Invariant per connection: replied <= sent (whole messages on the wire) <= queued
 * <= replied + pipeline, and at most one send is in flight.
 */
#include "load.h"

#include "account.h"
#include "raw.h"

#include <errno.h>
#include <liburing.h> /* tidy: allow include-direction: epoll would make the load the slower side */
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#define BUFFERS            1024
#define BUFFER_SIZE        16384U
#define BUFFER_STRIDE      (BUFFER_SIZE + 64)
#define WINDOWS            65521U /* a prime, so that steps of any length visit all places */
#define TAG_SEND           1UL
#define BUCKETS_PER_OCTAVE 64
#define OCTAVES            40

struct conn {
    int fd; /* -1 once closed */
    unsigned index;
    bool sending;
    bool receiving;
    uint64_t share;         /* messages it may still queue */
    uint64_t queued;        /* messages that are to be sent, ever */
    uint64_t sent;          /* messages that have left whole */
    uint64_t replied;       /* replies that have arrived whole */
    unsigned sent_bytes;    /* of message number `sent` */
    unsigned replied_bytes; /* of reply number `replied` */
    uint64_t *started_ns;   /* by message number modulo pipeline */
    struct iovec *pieces;   /* of the send in flight */
    struct msghdr message;
};

static struct {
    struct io_uring ring;
    struct io_uring_buf_ring *shared;
    char *buffers;
    unsigned returned; /* buffers put back in this turn */
    char *table;       /* random bytes */
    unsigned size;
    unsigned pipeline;
    struct conn *conns;
    unsigned conn_count;
    unsigned open_count;
    uint64_t in_flight;
    uint64_t now_ns; /* when the current turn began */
    struct load_counts counts;
    struct load_ends *ends; /* NULL while no end is expected */
    uint64_t buckets[OCTAVES * BUCKETS_PER_OCTAVE];
} wire;

/* ---- Latencies: buckets of 1.6 % width ---- */

static void record(uint64_t ns)
{
    unsigned bucket = (unsigned)ns;

    if (ns >= BUCKETS_PER_OCTAVE) {
        const unsigned octave = 63U - (unsigned)__builtin_clzll(ns) - 6U;
        bucket = octave * BUCKETS_PER_OCTAVE + (unsigned)(ns >> octave);
    }
    if (bucket >= OCTAVES * BUCKETS_PER_OCTAVE)
        bucket = OCTAVES * BUCKETS_PER_OCTAVE - 1;
    wire.buckets[bucket]++;
}

double load_latency_us(double share)
{
    const double wanted = share * (double)wire.counts.replies;
    uint64_t seen = 0;

    for (unsigned bucket = 0; bucket < OCTAVES * BUCKETS_PER_OCTAVE; bucket++) {
        seen += wire.buckets[bucket];
        if (seen == 0 || (double)seen < wanted)
            continue;
        if (bucket < 2 * BUCKETS_PER_OCTAVE)
            return bucket / 1e3;
        const unsigned octave = bucket / BUCKETS_PER_OCTAVE - 1;
        const uint64_t in_octave = bucket % BUCKETS_PER_OCTAVE + BUCKETS_PER_OCTAVE;
        return (double)(in_octave << octave) / 1e3;
    }
    return 0;
}

void load_reset_counts(void)
{
    wire.counts = (struct load_counts){0};
    memset(wire.buckets, 0, sizeof wire.buckets);
}

const struct load_counts *load_counts_now(void)
{
    return &wire.counts;
}

/* ---- Sending ---- */

static const char *pattern(const struct conn *conn, uint64_t number)
{
    return wire.table + (conn->index * 7919ULL + number * 104729ULL) % WINDOWS;
}

static struct io_uring_sqe *entry(void)
{
    for (;;) {
        struct io_uring_sqe *sqe = io_uring_get_sqe(&wire.ring);

        if (sqe)
            return sqe;
        const int status = io_uring_submit(&wire.ring);
        if (status < 0 && status != -EINTR && status != -EAGAIN && status != -EBUSY)
            raw_die("io_uring_submit", status);
    }
}

static void arm_send(struct conn *conn)
{
    size_t count = 0;
    unsigned skip = conn->sent_bytes;

    if (conn->fd < 0 || conn->sending || conn->sent == conn->queued)
        return;
    for (uint64_t number = conn->sent; number < conn->queued; number++) {
        /* The kernel only reads what iov_base points to; the cast drops the const it lacks. */
        char *piece = (char *)(uintptr_t)(pattern(conn, number) + skip);
        conn->pieces[count++] = (struct iovec){piece, wire.size - skip};
        skip = 0;
    }

    struct io_uring_sqe *sqe = entry();
    if (count == 1) {
        const struct iovec *piece = &conn->pieces[0];
        io_uring_prep_send(sqe, conn->fd, piece->iov_base, piece->iov_len,
                           MSG_WAITALL | MSG_NOSIGNAL);
    } else {
        conn->message = (struct msghdr){.msg_iov = conn->pieces, .msg_iovlen = count};
        io_uring_prep_sendmsg(sqe, conn->fd, &conn->message, MSG_WAITALL | MSG_NOSIGNAL);
    }
    io_uring_sqe_set_data64(sqe, (uint64_t)(uintptr_t)conn | TAG_SEND);
    conn->sending = true;
}

/* Queues messages up to the pipeline's depth or the connection's share. */
static void queue(struct conn *conn)
{
    while (conn->share > 0 && conn->queued - conn->replied < wire.pipeline) {
        conn->started_ns[conn->queued % wire.pipeline] = wire.now_ns;
        conn->queued++;
        conn->share--;
        wire.in_flight++;
    }
    arm_send(conn);
}

void load_start(uint64_t share)
{
    wire.now_ns = account_clock();
    for (unsigned i = 0; i < wire.conn_count; i++) {
        wire.conns[i].share = share;
        queue(&wire.conns[i]);
    }
}

void load_start_extra(unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        wire.conns[i].share++;
        queue(&wire.conns[i]);
    }
}

void load_hold(void)
{
    for (unsigned i = 0; i < wire.conn_count; i++)
        wire.conns[i].share = 0;
}

/* ---- Receiving ---- */

static void arm_receive(struct conn *conn)
{
    struct io_uring_sqe *sqe = entry();

    io_uring_prep_recv_multishot(sqe, conn->fd, NULL, 0, 0);
    sqe->flags |= IOSQE_BUFFER_SELECT;
    sqe->buf_group = 0;
    io_uring_sqe_set_data(sqe, conn);
    conn->receiving = true;
}

static void return_buffer(unsigned id)
{
    io_uring_buf_ring_add(wire.shared, wire.buffers + (size_t)id * BUFFER_STRIDE, BUFFER_SIZE,
                          (unsigned short)id, io_uring_buf_ring_mask(BUFFERS),
                          (int)wire.returned++);
}

static void check(struct conn *conn, const char *data, size_t len)
{
    while (len > 0) {
        const size_t rest = wire.size - conn->replied_bytes;
        const size_t piece = len < rest ? len : rest;

        if (conn->replied == conn->queued) {
            wire.counts.mismatches++; /* a reply to nothing */
            return;
        }
        if (memcmp(pattern(conn, conn->replied) + conn->replied_bytes, data, piece) != 0)
            wire.counts.mismatches++;
        data += piece;
        len -= piece;
        conn->replied_bytes += (unsigned)piece;
        if (conn->replied_bytes < wire.size)
            continue;
        record(wire.now_ns - conn->started_ns[conn->replied % wire.pipeline]);
        conn->replied_bytes = 0;
        conn->replied++;
        wire.counts.replies++;
        wire.in_flight--;
    }
}

static void end(struct conn *conn, int result)
{
    const uint64_t missing = conn->queued - conn->replied;

    if (!wire.ends) {
        wire.counts.errors++;
    } else {
        if (result < 0)
            wire.ends->reset++;
        else if (conn->replied_bytes)
            wire.ends->partial++;
        else
            wire.ends->complete++;
        wire.ends->unanswered += missing;
    }
    wire.in_flight -= missing;
    wire.open_count--;
    conn->share = 0;
    close(conn->fd);
    conn->fd = -1;
}

static void on_receive(struct conn *conn, const struct io_uring_cqe *cqe)
{
    conn->receiving = cqe->flags & IORING_CQE_F_MORE;
    if (cqe->res > 0) {
        const unsigned id = cqe->flags >> IORING_CQE_BUFFER_SHIFT;

        check(conn, wire.buffers + (size_t)id * BUFFER_STRIDE, (size_t)cqe->res);
        return_buffer(id);
        queue(conn);
    } else if (cqe->res != -ENOBUFS) {
        end(conn, cqe->res);
        return;
    }
    if (!conn->receiving)
        arm_receive(conn);
}

static void on_send(struct conn *conn, int result)
{
    conn->sending = false;
    if (result < 0)
        return; /* the receive side sees the end too, and tells which kind it is */

    const uint64_t bytes = conn->sent_bytes + (uint64_t)result;
    conn->sent += bytes / wire.size;
    conn->sent_bytes = (unsigned)(bytes % wire.size);
    arm_send(conn);
}

bool load_turn(void)
{
    struct __kernel_timespec second = {.tv_sec = 1};
    struct io_uring_cqe *cqe = NULL;
    unsigned head;
    unsigned count = 0;

    const int status = io_uring_submit_and_wait_timeout(&wire.ring, &cqe, 1, &second, NULL);
    if (status < 0 && status != -ETIME && status != -EINTR && status != -EAGAIN && status != -EBUSY)
        raw_die("io_uring_submit_and_wait_timeout", status);
    wire.now_ns = account_clock();
    io_uring_for_each_cqe(&wire.ring, head, cqe)
    {
        struct conn *conn = (struct conn *)(uintptr_t)(cqe->user_data & ~TAG_SEND);

        if (cqe->user_data & TAG_SEND)
            on_send(conn, cqe->res);
        else
            on_receive(conn, cqe);
        count++;
    }
    io_uring_cq_advance(&wire.ring, count);
    if (wire.returned)
        io_uring_buf_ring_advance(wire.shared, (int)wire.returned);
    wire.returned = 0;
    return count > 0;
}

uint64_t load_in_flight(void)
{
    return wire.in_flight;
}

unsigned load_open_count(void)
{
    return wire.open_count;
}

void load_expect_end(struct load_ends *ends)
{
    wire.ends = ends;
}

/* ---- Start ---- */

static void *map(size_t size)
{
    void *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    if (memory == MAP_FAILED)
        raw_die("mmap", errno);
    return memory;
}

static void fill_table(unsigned size)
{
    const size_t length = (size_t)WINDOWS + size;
    uint64_t state = 0x9e3779b97f4a7c15;

    wire.table = map(length);
    for (size_t i = 0; i < length; i++) {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        wire.table[i] = (char)(state >> 32);
    }
}

static void open_ring(void)
{
    struct io_uring_params params = {
        .flags = IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN |
                 IORING_SETUP_COOP_TASKRUN | IORING_SETUP_SUBMIT_ALL | IORING_SETUP_CQSIZE,
        .cq_entries = 16384,
    };
    struct io_uring_buf_reg reg = {.ring_entries = BUFFERS};
    int status = io_uring_queue_init_params(1024, &wire.ring, &params);

    if (status < 0)
        raw_die("io_uring_queue_init_params", status);
    (void)io_uring_register_ring_fd(&wire.ring); /* saves a little; not needed */
    wire.buffers = map((size_t)BUFFERS * BUFFER_STRIDE);
    wire.shared = map(BUFFERS * sizeof(struct io_uring_buf));
    io_uring_buf_ring_init(wire.shared);
    reg.ring_addr = (uint64_t)(uintptr_t)wire.shared;
    status = io_uring_register_buf_ring(&wire.ring, &reg, 0);
    if (status < 0)
        raw_die("io_uring_register_buf_ring", status);
    for (unsigned id = 0; id < BUFFERS; id++)
        return_buffer(id);
    io_uring_buf_ring_advance(wire.shared, (int)wire.returned);
    wire.returned = 0;
}

static int dial(const struct sockaddr_in *address)
{
    const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    if (fd < 0)
        raw_die("socket", errno);
    if (connect(fd, (const struct sockaddr *)address, sizeof *address) < 0)
        raw_die("connect", errno);
    raw_nodelay(fd);
    return fd;
}

void load_open(const struct sockaddr_in *address, unsigned connections, unsigned size,
               unsigned pipeline)
{
    wire.size = size;
    wire.pipeline = pipeline;
    wire.conn_count = connections;
    wire.open_count = connections;
    fill_table(size);
    open_ring();

    wire.conns = map(connections * sizeof *wire.conns);
    uint64_t *started_ns = map((size_t)connections * pipeline * sizeof *started_ns);
    struct iovec *pieces = map((size_t)connections * pipeline * sizeof *pieces);
    for (unsigned i = 0; i < connections; i++) {
        struct conn *conn = &wire.conns[i];

        conn->fd = dial(address);
        conn->index = i;
        conn->started_ns = started_ns + (size_t)i * pipeline;
        conn->pieces = pieces + (size_t)i * pipeline;
        arm_receive(conn);
    }
}

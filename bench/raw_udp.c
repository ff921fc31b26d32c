/* SPDX-License-Identifier: MIT */
/* Datagram servers written by hand and without fibers: what coil's receiving is held against.
 *
 * One thread, one socket. What it answers is in load_udp.c. Three ways of receiving:
 *   --recv mmsg       recvmmsg(2) waits for a datagram and takes what else is there, in one call
 *   --recv oneshot    one recvmsg entry of the ring at a time; it is queued again with the answer
 *   --recv multishot  one standing recvmsg that takes from shared buffers until it ends
 * Answers leave by sendmmsg(2) for mmsg, as entries of the turn's batch for the others.
 *
 * Invariant: a shared buffer is with the kernel, or holds the datagram that is being answered.
 */
#include "raw.h"
#include "raw_ring.h"

#include <errno.h>
#include <getopt.h>
#include <liburing.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define BATCH        64
#define BUFFERS      512
#define BUFFER_GROUP 0
#define PAYLOAD      2048
#define STANDING     UINT64_MAX /* user_data of the receive; the others are slots */

struct slot {
    struct msghdr message;
    struct iovec piece;
    struct sockaddr_in peer;
    uint16_t buffer; /* given back when the answer has left */
    char data[PAYLOAD];
};

struct server {
    struct io_uring ring;
    struct io_uring_buf_ring *shared;
    char *area;
    size_t size; /* bytes of a shared buffer */
    struct msghdr shape;
    struct slot *slots;
    uint32_t free_slots[BUFFERS];
    unsigned free_count;
    unsigned returned;
    int fd;
    bool is_echo;
    bool is_multishot;
    uint64_t count; /* datagrams received */
};

static bool wants_answer(struct server *server, char *data, size_t *length)
{
    server->count++;
    if (server->is_echo)
        return true;
    if (*length == 0 || data[0] != '?')
        return false;
    memcpy(data, &server->count, sizeof server->count);
    *length = sizeof server->count;
    return true;
}

/* ---- recvmmsg ---- */

static void prepare_slot(struct server *server, struct mmsghdr *in, unsigned i)
{
    struct slot *slot = &server->slots[i];

    slot->piece = (struct iovec){slot->data, PAYLOAD};
    in[i].msg_hdr = (struct msghdr){.msg_name = &slot->peer,
                                    .msg_namelen = sizeof slot->peer,
                                    .msg_iov = &slot->piece,
                                    .msg_iovlen = 1};
}

_Noreturn static void run_mmsg(struct server *server)
{
    struct mmsghdr in[BATCH];
    struct mmsghdr out[BATCH];
    int count = BATCH; /* slots to prepare: those that were used */

    for (;;) {
        unsigned answers = 0;

        for (int i = 0; i < count; i++)
            prepare_slot(server, in, (unsigned)i);
        count = recvmmsg(server->fd, in, BATCH, MSG_WAITFORONE, NULL);
        if (count < 0)
            raw_die("recvmmsg", errno);
        for (int i = 0; i < count; i++) {
            size_t length = in[i].msg_len;

            if (!wants_answer(server, server->slots[i].data, &length))
                continue;
            server->slots[i].piece.iov_len = length;
            out[answers++].msg_hdr = in[i].msg_hdr;
        }
        for (unsigned sent = 0; sent < answers;) {
            const int part = sendmmsg(server->fd, out + sent, answers - sent, 0);

            if (part < 0)
                raw_die("sendmmsg", errno);
            sent += (unsigned)part;
        }
    }
}

/* ---- The ring ---- */

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

static char *buffer_data(const struct server *server, unsigned buffer)
{
    return server->area + (size_t)buffer * (server->size + 64);
}

static void return_buffer(struct server *server, unsigned buffer)
{
    io_uring_buf_ring_add(server->shared, buffer_data(server, buffer), (unsigned)server->size,
                          (unsigned short)buffer, io_uring_buf_ring_mask(BUFFERS),
                          (int)server->returned++);
}

static void arm_receive(struct server *server)
{
    struct io_uring_sqe *sqe = entry(server);

    if (server->is_multishot) {
        io_uring_prep_recvmsg_multishot(sqe, server->fd, &server->shape, 0);
        sqe->flags |= IOSQE_BUFFER_SELECT;
        sqe->buf_group = BUFFER_GROUP;
    } else {
        struct slot *slot = &server->slots[server->free_slots[server->free_count - 1]];

        slot->piece = (struct iovec){slot->data, PAYLOAD};
        slot->message = (struct msghdr){.msg_name = &slot->peer,
                                        .msg_namelen = sizeof slot->peer,
                                        .msg_iov = &slot->piece,
                                        .msg_iovlen = 1};
        io_uring_prep_recvmsg(sqe, server->fd, &slot->message, 0);
    }
    io_uring_sqe_set_data64(sqe, STANDING);
}

static void answer(struct server *server, struct slot *slot)
{
    struct io_uring_sqe *sqe = entry(server);

    io_uring_prep_sendmsg(sqe, server->fd, &slot->message, 0);
    io_uring_sqe_set_data64(sqe, (uint64_t)(slot - server->slots));
}

static void on_multishot(struct server *server, const struct io_uring_cqe *cqe)
{
    const unsigned buffer = cqe->flags >> IORING_CQE_BUFFER_SHIFT;

    if (cqe->flags & IORING_CQE_F_BUFFER) {
        struct io_uring_recvmsg_out *out =
            io_uring_recvmsg_validate(buffer_data(server, buffer), cqe->res, &server->shape);
        char *payload;
        size_t length;

        if (!out)
            raw_die("io_uring_recvmsg_validate", EPROTO);
        payload = io_uring_recvmsg_payload(out, &server->shape);
        length = out->payloadlen;
        if (wants_answer(server, payload, &length)) {
            struct slot *slot = &server->slots[server->free_slots[--server->free_count]];

            slot->buffer = (uint16_t)buffer;
            slot->piece = (struct iovec){payload, length};
            slot->message = (struct msghdr){.msg_name = io_uring_recvmsg_name(out),
                                            .msg_namelen = out->namelen,
                                            .msg_iov = &slot->piece,
                                            .msg_iovlen = 1};
            answer(server, slot);
        } else {
            return_buffer(server, buffer);
        }
    }
    if (!(cqe->flags & IORING_CQE_F_MORE))
        arm_receive(server);
}

static void on_oneshot(struct server *server, const struct io_uring_cqe *cqe)
{
    struct slot *slot = &server->slots[server->free_slots[server->free_count - 1]];
    size_t length = (size_t)cqe->res;

    if (cqe->res < 0)
        raw_die("recvmsg", cqe->res);
    if (wants_answer(server, slot->data, &length)) {
        server->free_count--;
        slot->piece.iov_len = length;
        answer(server, slot);
    }
    arm_receive(server);
}

static void on_completion(struct server *server, const struct io_uring_cqe *cqe)
{
    if (cqe->user_data != STANDING) {
        if (server->is_multishot)
            return_buffer(server, server->slots[cqe->user_data].buffer);
        server->free_slots[server->free_count++] = (uint32_t)cqe->user_data;
    } else if (server->is_multishot) {
        on_multishot(server, cqe);
    } else {
        on_oneshot(server, cqe);
    }
}

_Noreturn static void run_ring(struct server *server)
{
    arm_receive(server);
    for (;;) {
        const int status = io_uring_submit_and_wait(&server->ring, 1);
        struct io_uring_cqe *cqe;
        unsigned head;
        unsigned count = 0;

        if (status < 0 && status != -EINTR && status != -EAGAIN && status != -EBUSY)
            raw_die("io_uring_submit_and_wait", status);
        io_uring_for_each_cqe(&server->ring, head, cqe)
        {
            on_completion(server, cqe);
            count++;
        }
        io_uring_cq_advance(&server->ring, count);
        if (server->returned)
            io_uring_buf_ring_advance(server->shared, (int)server->returned);
        server->returned = 0;
    }
}

/* ---- Start ---- */

static void open_ring(struct server *server)
{
    raw_open_ring(&server->ring, 256);
    if (!server->is_multishot)
        return;
    server->shared = raw_share_buffers(&server->ring, BUFFERS, BUFFER_GROUP);
    server->area = raw_map(BUFFERS * (server->size + 64));
    for (unsigned i = 0; i < BUFFERS; i++)
        return_buffer(server, i);
    io_uring_buf_ring_advance(server->shared, (int)server->returned);
    server->returned = 0;
}

static int usage(void)
{
    fprintf(stderr, "usage: raw_udp [--listen HOST:PORT] [--recv mmsg|oneshot|multishot] [--echo]\n"
                    "               [--size BUFFER_BYTES]\n");
    return 2;
}

int main(int argc, char **argv)
{
    static const struct option names[] = {{"listen", required_argument, NULL, 'l'},
                                          {"recv", required_argument, NULL, 'r'},
                                          {"size", required_argument, NULL, 's'},
                                          {"echo", no_argument, NULL, 'e'},
                                          {NULL, 0, NULL, 0}};
    static struct server server = {.size = 2048};
    const char *listen_on = "127.0.0.1:0";
    const char *how = "multishot";

    for (;;) {
        const int option = getopt_long(argc, argv, "", names, NULL);

        if (option < 0)
            break;
        switch (option) {
        case 'l':
            listen_on = optarg;
            break;
        case 'r':
            how = optarg;
            break;
        case 's':
            server.size = (size_t)raw_number("--size", optarg, 1024, 65536);
            break;
        case 'e':
            server.is_echo = true;
            break;
        default:
            return usage();
        }
    }
    if (optind < argc ||
        (strcmp(how, "mmsg") != 0 && strcmp(how, "oneshot") != 0 && strcmp(how, "multishot") != 0))
        return usage();
    server.is_multishot = strcmp(how, "multishot") == 0;
    server.shape.msg_namelen = sizeof(struct sockaddr_in);
    server.slots = raw_map(BUFFERS * sizeof *server.slots);
    while (server.free_count < BUFFERS) {
        server.free_slots[server.free_count] = server.free_count;
        server.free_count++;
    }
    server.fd = raw_bind(listen_on);
    if (strcmp(how, "mmsg") == 0)
        run_mmsg(&server);
    open_ring(&server);
    run_ring(&server);
}

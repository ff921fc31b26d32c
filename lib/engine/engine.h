/* SPDX-License-Identifier: MIT */
/* The engine table: what the rest of coil may ask of the kernel, in meanings, not in SQEs.
 *
 * One engine per scheduler does all waiting. Callers describe what they want (send these bytes,
 * accept from now on) in a request that they own; the engine performs it and calls back. The table
 * has several implementations (io_uring; a blocking poll loop in the tests; later epoll and a
 * simulator), and no caller may be able to tell which one it has.
 *
 * Four kinds of request:
 *   op       one-shot: submitted once, `done` called exactly once with its result. Usually on the
 *            stack of the fiber that waits, which therefore stays parked until then (D2, D3).
 *   receive  a standing order on a socket: bytes arrive as leases, pieces of engine memory that the
 *            holder gives back when it has consumed them. Idle sockets hold none.
 *   datagrams  the same on a datagram socket: a lease is a datagram, with its sender.
 *   accept   a standing order on a listening socket: connected descriptors arrive.
 *
 * Rules that every engine keeps, and its callers rely on:
 *   - submit, cancel, start, stop and lease_return never fail, never call back and never block:
 *     what cannot be handed to the kernel now waits in an intrusive list inside the request.
 *     Callbacks come from wait() only.
 *   - cancel() and stop() are requests, not results: the request stays the engine's until its final
 *     callback, whose result may still be a success. -ECANCELED means nothing was done. Cancelling
 *     what has already had its final callback is the caller's bug.
 *   - Any callback of a standing order may be the last one (`more` false), whatever its result:
 *     starting it again is routine. -ENOBUFS from a receive means that the shared buffers are out.
 *   - After the final callback began the engine does not touch the request again: the callback may
 *     free it, or submit it anew.
 *
 * Callbacks run on the scheduler's stack inside wait(); they make fibers runnable, never run them.
 */
#ifndef COIL_LIB_ENGINE_ENGINE_H
#define COIL_LIB_ENGINE_ENGINE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/list.h"

enum coil__request_kind {
    /* One-shot operations. Arguments in struct coil__op: */
    COIL__OP_NOP,
    COIL__OP_POLL,    /* fd, flags = events; result = revents */
    COIL__OP_RECV,    /* fd, data, length, flags = MSG_*; result = bytes, 0 = end */
    COIL__OP_SEND,    /* fd, data, length, flags = MSG_*; result = bytes, may be short */
    COIL__OP_SENDMSG, /* fd, data = struct msghdr, flags = MSG_* */
    COIL__OP_RECVMSG, /* fd, data = struct msghdr, flags = MSG_* */
    COIL__OP_CONNECT, /* fd, data = struct sockaddr, length */
    COIL__OP_READ,    /* fd, data, length, offset (UINT64_MAX: the file's own position) */
    COIL__OP_WRITE,   /* as READ; both, and WRITEV: flags = enum coil__op_flag */
    COIL__OP_OPENAT,  /* fd = directory, data = path, flags = O_*, length = mode; gives the fd */
    COIL__OP_OPENAT2, /* fd = directory, data = path, extra = struct open_how; gives the fd */
    COIL__OP_STATX,   /* fd = directory, data = path, flags = AT_*, length = mask, extra = statx */
    COIL__OP_FSYNC,   /* fd, flags = COIL__FSYNC_DATA or 0 */
    COIL__OP_CLOSE,   /* fd */
    COIL__OP_READV,   /* fd, data = struct iovec[length], offset as READ */
    COIL__OP_WRITEV,  /* as READV */
    /* Newer ones, up to UNLINKAT: an engine without them says -EINVAL and has done nothing. */
    COIL__OP_FALLOCATE, /* fd, flags = FALLOC_FL_*, offset, length */
    COIL__OP_FADVISE,   /* fd, flags = POSIX_FADV_*, offset, length */
    COIL__OP_FTRUNCATE, /* fd, length */
    COIL__OP_RENAMEAT,  /* fd = directory, data = path, length = directory of extra = new path,
                           flags = RENAME_* */
    COIL__OP_LINKAT,    /* the same, flags = AT_* */
    COIL__OP_SYMLINKAT, /* fd = directory, data = path, extra = what it points to */
    COIL__OP_MKDIRAT,   /* fd = directory, data = path, length = mode */
    COIL__OP_UNLINKAT,  /* fd = directory, data = path, flags = AT_REMOVEDIR */
    /* Standing orders. */
    COIL__REQUEST_RECEIVE,
    COIL__REQUEST_DATAGRAMS, /* a struct coil__receive; only of an engine that has_datagrams */
    COIL__REQUEST_ACCEPT,
};

enum coil__op_flag {
    /* A WRITE that finds nobody to read is -EPIPE, as always, but sends no SIGPIPE. */
    COIL__OP_QUIET = 1,
    /* The descriptor may block although it said that it would not (terminals do): the engine must
     * not be the one who waits. */
    COIL__OP_MAY_BLOCK = 2,
};

enum {
    COIL__FSYNC_DATA = 1, /* the bytes and the size only */
};

enum coil__request_state {
    COIL__REQUEST_IDLE,      /* the caller's: never started, or finally called back */
    COIL__REQUEST_QUEUED,    /* waits in the engine for room in the submission queue */
    COIL__REQUEST_ACTIVE,    /* with the kernel */
    COIL__REQUEST_CANCELLED, /* with the kernel, which has been or will be asked to give it up */
    COIL__REQUEST_FINISHED,  /* has its result, which the next wait() reports */
};

/* What all requests begin with. The kernel's handle of a request is its address, with `generation`
 * in the top 16 bits to catch a completion that meets another request at the same address. */
struct coil__request {
    struct coil__list link; /* the engine's: a submission or a cancel that waits for room */
    uint16_t generation;    /* the engine's */
    uint8_t kind;           /* enum coil__request_kind */
    uint8_t state;          /* enum coil__request_state, kept by the engine */
    int fd;
};

struct coil__op {
    struct coil__request request;
    void (*done)(struct coil__op *op); /* `result` is set; the op is the caller's again */
    void *waiter;                      /* the caller's; the engine does not look at it */
    int result;                        /* >= 0 or a negative errno */
    uint32_t flags;
    void *data; /* not written to by operations that only read it */
    uint64_t length;

    union {
        uint64_t offset;
        void *extra;
    } more;
};

/* Received bytes data[start .. end). The holder moves `start` as it consumes, may append to the
 * spare room behind `end`, and links leases through `next`. */
struct coil__lease {
    struct coil__lease *next;
    char *data;
    uint32_t start;
    uint32_t end;
    uint32_t capacity;
    uint16_t id;    /* the engine's */
    bool is_shared; /* the engine's: goes back by lease_return. Else the holder made it */
    uint8_t group;  /* the engine's */
};

/* What the lease of a datagram begins with, at `data`; the payload is data[start .. end), and all
 * of it unless `length` says more. As the kernel writes it. */
struct coil__datagram {
    uint32_t address_length; /* bytes of the sender's address */
    uint32_t control_length; /* 0 */
    uint32_t length;         /* of the whole datagram */
    uint32_t flags;          /* MSG_* */
    char address[32];        /* of IPv4 or IPv6; unix datagrams come in other ways (net/udp.h) */
};

struct coil__receive {
    struct coil__request request;
    /* `lease` holds `result` > 0 bytes, or a datagram of 0 or more, and is the callee's now; or, in
     * the last callback only, is NULL with `result` 0 for the end of the stream, or a negative
     * errno. Without `more` the receive is idle again. */
    void (*event)(struct coil__receive *receive, struct coil__lease *lease, int result, bool more);
    struct coil__lease *lease; /* the engine's: where a kernel without shared buffers writes */
};

struct coil__accept {
    struct coil__request request;
    bool once; /* one connection per start: callers near their limit must not be overrun */
    /* `result` is a connected descriptor (close-on-exec, blocking, no address: getpeername tells),
     * or a negative errno. Without `more` the accept is idle again. */
    void (*event)(struct coil__accept *accept, int result, bool more);
};

/* Counters since open; plain reads from the scheduler's thread. */
struct coil__engine_stats {
    uint64_t enter_count;      /* system calls that submit or wait */
    uint64_t submission_count; /* entries handed to the kernel */
    uint64_t completion_count; /* entries taken from it */
    uint64_t queued_count;     /* submissions that had to wait for room */
    uint64_t cancel_count;
    uint64_t overflow_count; /* turns that found the completion queue overflown */
    uint64_t starved_count;  /* receives ended for lack of shared buffers */
    uint64_t rearm_count;    /* standing orders started again after an end without error */
    uint64_t active_count;   /* requests with the engine now */
    uint64_t wake_count;     /* wake-ups from other threads */
};

struct coil__engine;

struct coil__engine_ops {
    const char *name;

    /* Cancels nothing: every request must have had its final callback. */
    void (*close)(struct coil__engine *engine);

    void (*submit)(struct coil__engine *engine, struct coil__op *op);
    void (*cancel)(struct coil__engine *engine, struct coil__op *op);

    void (*receive_start)(struct coil__engine *engine, struct coil__receive *receive);
    void (*receive_stop)(struct coil__engine *engine, struct coil__receive *receive);
    void (*lease_return)(struct coil__engine *engine, struct coil__lease *lease);

    void (*accept_start)(struct coil__engine *engine, struct coil__accept *accept);
    void (*accept_stop)(struct coil__engine *engine, struct coil__accept *accept);

    /* One turn: hands everything queued to the kernel, waits until something completes, wake() is
     * called or `deadline` (absolute, INT64_MAX for never, 0 for do not wait) has passed, and calls
     * back. Returns 0, or a negative errno when the engine is broken for good. */
    int (*wait)(struct coil__engine *engine, int64_t deadline);

    /* Ends a wait() that is under way or the next one. From any thread and from signal handlers. */
    void (*wake)(struct coil__engine *engine);

    /* One line for people: the engine, its sizes, what was refused and dropped at set-up. */
    const char *(*describe)(const struct coil__engine *engine);
};

/* Implementations embed this as their first member. */
struct coil__engine {
    const struct coil__engine_ops *ops;
    bool has_datagrams; /* serves COIL__REQUEST_DATAGRAMS; may turn out not to, and then ends such
                         * an order with -ENOBUFS and says so here */
    struct coil__engine_stats stats;
};

/* Zero means the default for each. */
struct coil__engine_options {
    unsigned sq_size;      /* submission entries: 256 */
    unsigned cq_size;      /* completion entries: 4096 */
    unsigned buffer_count; /* shared receive buffers: 512, a power of two */
    unsigned buffer_size;  /* bytes of each: 16 KiB */
};

/* The signature of an engine's constructor. On failure *ret_engine is untouched and `ret_why` (at
 * least 256 bytes) holds a sentence for the user: what was refused and what to do about it. */
typedef int coil__engine_open(const struct coil__engine_options *options,
                              struct coil__engine **ret_engine, char *ret_why);

/* The io_uring engine. Its environment: COIL_URING_OFF (set-up flags to leave off) and
 * COIL_URING_SIZE (sq,cq,buffers), which overrides the options. */
coil__engine_open coil__uring_open;

#endif

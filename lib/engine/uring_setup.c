/* SPDX-License-Identifier: MIT */
/* Setting up the ring: everything is tried, nothing is assumed (design D12).
 *
 * Kernels refuse set-up flags that they do not know with EINVAL and no further hint. So the first
 * try has all of them, and each refusal peels the newest one off, together with those that make no
 * sense without it, until a ring comes out. Kernel versions are never compared: vendors backport.
 * COIL_URING_OFF leaves abilities off by hand, for tests and for users with a broken kernel.
 *
 * Ring memory counts against RLIMIT_MEMLOCK, per user, and comes back late after a ring is closed.
 * ENOMEM therefore halves the sizes down to a floor, then waits up to a second, and only then says
 * what the user can do. A refusal for good (seccomp profiles of containers, a sysctl) is answered
 * at once by a sentence that names the number and the remedy.
 *
 * Invariant: on failure nothing is left behind, whichever step failed.
 */
#include "engine/uring.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/clock.h"

enum {
    SQ_DEFAULT = 256,
    CQ_DEFAULT = 4096,
    BUFFER_COUNT_DEFAULT = 512,
    BUFFER_SIZE_DEFAULT = 16 * 1024,
    DATAGRAM_COUNT_MAX = 256, /* 16 MiB of addresses; a page of memory each for most */
    DATAGRAM_SIZE =
        65536 + 128, /* the largest of UDP, its head, and another cache set than the last */
    SQ_FLOOR = 32,   /* ENOMEM does not shrink the rings below these */
    CQ_FLOOR = 128,
    SIZE_MAX_ENTRIES = 32768, /* the kernel's own limit for SQ and buffers */
    MEMORY_WAIT_MS = 1000,
    MEMORY_WAIT_STEP_MS = 20,
};

/* Newer than the headers of liburing 2.3. */
enum {
    FEATURE_MIN_TIMEOUT = 1U << 15, /* 6.12, which also brought absolute wait deadlines */
    FEATURE_NO_IOWAIT = 1U << 17,   /* 6.15 */
    ENTER_NO_IOWAIT = 1U << 7,
};

static const struct {
    const char *name;
    unsigned ability;
    unsigned setup_flag; /* 0 where it is not a set-up flag */
} abilities[] = {
    /* Newest first: the order of peeling. */
    {"nosignal", COIL__URING_NOSIGNAL, 0},
    {"file_ops", COIL__URING_FILE_OPS, 0},
    {"no_iowait", COIL__URING_NO_IOWAIT, 0},
    {"abs_timer", COIL__URING_ABS_TIMER, 0},
    {"defer_taskrun", COIL__URING_DEFER_TASKRUN, IORING_SETUP_DEFER_TASKRUN},
    {"single_issuer", COIL__URING_SINGLE_ISSUER, IORING_SETUP_SINGLE_ISSUER},
    {"multishot_recv", COIL__URING_MULTISHOT_RECV, 0},
    {"multishot_recvmsg", COIL__URING_MULTISHOT_RECVMSG, 0},
    {"taskrun_flag", COIL__URING_TASKRUN_FLAG, IORING_SETUP_TASKRUN_FLAG},
    {"coop_taskrun", COIL__URING_COOP_TASKRUN, IORING_SETUP_COOP_TASKRUN},
    {"buffer_ring", COIL__URING_BUFFER_RING, 0},
    {"multishot_accept", COIL__URING_MULTISHOT_ACCEPT, 0},
    {"registered_fd", COIL__URING_REGISTERED_FD, 0},
    {"submit_all", COIL__URING_SUBMIT_ALL, IORING_SETUP_SUBMIT_ALL},
    {"clamp", COIL__URING_CLAMP, IORING_SETUP_CLAMP},
    {"cqsize", COIL__URING_CQSIZE, IORING_SETUP_CQSIZE},
};

enum {
    ABILITY_COUNT = sizeof abilities / sizeof abilities[0]
};

static int enter_real(int fd, unsigned to_submit, unsigned min_complete, unsigned flags, void *arg,
                      size_t argsize)
{
    return io_uring_enter2((unsigned)fd, to_submit, min_complete, flags, arg, argsize);
}

static int register_real(int fd, unsigned opcode, void *arg, unsigned nr)
{
    return io_uring_register((unsigned)fd, opcode, arg, nr);
}

static const struct coil__uring_kernel real_kernel = {
    .setup = io_uring_setup,
    .enter = enter_real,
    .register_ = register_real,
};

const struct coil__uring_kernel *coil__uring_kernel = &real_kernel;

/* ---- What the environment says ---- */

static unsigned ability_named(const char *name, size_t length)
{
    for (unsigned i = 0; i < ABILITY_COUNT; i++)
        if (strlen(abilities[i].name) == length && memcmp(abilities[i].name, name, length) == 0)
            return abilities[i].ability;
    return 0;
}

static int parse_off(const char *text, unsigned *ret_off, char *ret_why)
{
    unsigned off = 0;

    while (text && *text) {
        const size_t length = strcspn(text, ",");
        const unsigned ability = ability_named(text, length);

        if (ability == 0 && length > 0) {
            (void)snprintf(ret_why, COIL__URING_WHY_SIZE,
                           "COIL_URING_OFF names \"%.*s\", which is no ability "
                           "of the io_uring engine",
                           (int)(length < 64 ? length : 64), text);
            return -EINVAL;
        }
        off |= ability;
        text += length + (text[length] == ',');
    }
    *ret_off = off;
    return 0;
}

/* Reads one number of COIL_URING_SIZE and what ends it. */
static bool parse_size(const char **text, char end, unsigned *ret_size)
{
    char *behind;
    const unsigned long value = strtoul(*text, &behind, 10);

    if (behind == *text || *behind != end || value == 0 || value > 2UL * SIZE_MAX_ENTRIES)
        return false;
    *text = behind + 1;
    *ret_size = (unsigned)value;
    return true;
}

static int parse_sizes(const char *text, struct coil__engine_options *sizes, char *ret_why)
{
    const char *at = text;

    if (!text || !*text)
        return 0;
    if (parse_size(&at, ',', &sizes->sq_size) && parse_size(&at, ',', &sizes->cq_size) &&
        parse_size(&at, '\0', &sizes->buffer_count))
        return 0;
    (void)snprintf(ret_why, COIL__URING_WHY_SIZE,
                   "COIL_URING_SIZE is \"%.64s\", but must be three numbers: "
                   "submission entries, completion entries, receive buffers",
                   text);
    return -EINVAL;
}

static int choose_sizes(const struct coil__engine_options *options,
                        struct coil__engine_options *ret_sizes, char *ret_why)
{
    struct coil__engine_options sizes = *options;
    const int error = parse_sizes(getenv("COIL_URING_SIZE"), &sizes, ret_why);

    if (error < 0)
        return error;
    if (sizes.sq_size == 0)
        sizes.sq_size = SQ_DEFAULT;
    if (sizes.cq_size == 0)
        sizes.cq_size = CQ_DEFAULT;
    if (sizes.buffer_count == 0)
        sizes.buffer_count = BUFFER_COUNT_DEFAULT;
    if (sizes.buffer_size == 0)
        sizes.buffer_size = BUFFER_SIZE_DEFAULT;
    if (sizes.sq_size > SIZE_MAX_ENTRIES || sizes.cq_size > 2 * SIZE_MAX_ENTRIES ||
        sizes.cq_size < sizes.sq_size || sizes.buffer_count > SIZE_MAX_ENTRIES ||
        (sizes.buffer_count & (sizes.buffer_count - 1)) != 0 || sizes.buffer_size > INT_MAX / 2) {
        (void)snprintf(ret_why, COIL__URING_WHY_SIZE,
                       "io_uring cannot have %u submission entries, %u "
                       "completion entries and %u buffers: at most 32768, 65536 and 32768, "
                       "completions at least as many as submissions, buffers a power of two",
                       sizes.sq_size, sizes.cq_size, sizes.buffer_count);
        return -EINVAL;
    }
    *ret_sizes = sizes;
    return 0;
}

/* ---- Set-up ---- */

/* Takes away what makes no sense, or is refused, without the rest. */
static unsigned consistent(unsigned able)
{
    if (!(able & COIL__URING_SINGLE_ISSUER))
        able &= ~(unsigned)COIL__URING_DEFER_TASKRUN;
    if (!(able & (COIL__URING_DEFER_TASKRUN | COIL__URING_COOP_TASKRUN)))
        able &= ~(unsigned)COIL__URING_TASKRUN_FLAG;
    if (!(able & COIL__URING_BUFFER_RING))
        able &= ~(unsigned)(COIL__URING_MULTISHOT_RECV | COIL__URING_MULTISHOT_RECVMSG);
    return able;
}

static unsigned setup_flags(unsigned able)
{
    unsigned flags = 0;

    for (unsigned i = 0; i < ABILITY_COUNT; i++)
        if (able & abilities[i].ability)
            flags |= abilities[i].setup_flag;
    return flags;
}

/* Leaves out the newest set-up flag that is still in. False when there is none. */
static bool peel(unsigned *able)
{
    for (unsigned i = 0; i < ABILITY_COUNT; i++) {
        if (abilities[i].setup_flag != 0 && (*able & abilities[i].ability)) {
            *able = consistent(*able & ~abilities[i].ability);
            return true;
        }
    }
    return false;
}

static unsigned halved(unsigned size, unsigned floor)
{
    if (size <= floor)
        return size;
    return size / 2 > floor ? size / 2 : floor;
}

static void sleep_ms(long milliseconds)
{
    const struct timespec duration = {.tv_nsec = milliseconds * 1000000};

    (void)nanosleep(&duration, NULL);
}

/* A ring's descriptor, with `params` and `*able` describing what it is; or a negative errno. */
static int create(struct coil__engine_options *sizes, unsigned *able,
                  struct io_uring_params *params)
{
    int64_t give_up = 0; /* set at the first ENOMEM that cannot be answered by halving */

    for (;;) {
        int fd;

        *params =
            (struct io_uring_params){.flags = setup_flags(*able), .cq_entries = sizes->cq_size};
        fd = coil__uring_kernel->setup(sizes->sq_size, params);
        if (fd == -EINVAL && peel(able))
            continue;
        if (fd != -ENOMEM)
            return fd;

        if (sizes->sq_size > SQ_FLOOR || sizes->cq_size > CQ_FLOOR) {
            sizes->sq_size = halved(sizes->sq_size, SQ_FLOOR);
            sizes->cq_size = halved(sizes->cq_size, CQ_FLOOR);
            continue;
        }
        if (give_up == 0)
            give_up = coil__clock_now() + MEMORY_WAIT_MS * INT64_C(1000000);
        else if (coil__clock_now() >= give_up)
            return fd;
        sleep_ms(MEMORY_WAIT_STEP_MS);
    }
}

static void explain(int error, char *ret_why)
{
    const char *advice;

    switch (-error) {
    case EPERM:
    case EACCES:
        advice = "a container's seccomp profile or sysctl kernel.io_uring_disabled denies it; "
                 "allow io_uring_setup, io_uring_enter and io_uring_register, or set it to 0";
        break;
    case ENOSYS:
        advice = "the kernel is older than 5.11, or built without it, or a container's seccomp "
                 "profile hides io_uring_setup, io_uring_enter and io_uring_register: allow them";
        break;
    case ENOMEM:
        advice = "no memory for its queues; raise memlock (ulimit -l), which limits the queues "
                 "of all programs of a user together";
        break;
    case EMFILE:
    case ENFILE:
        advice = "no file descriptor left; raise the limit of open files (ulimit -n)";
        break;
    default:
        advice = "the kernel gives no reason";
        break;
    }
    (void)snprintf(ret_why, COIL__URING_WHY_SIZE, "io_uring is refused with %s (error %d): %s",
                   strerrorname_np(-error), -error, advice);
}

/* Saves a table look-up per enter. Some kernels accept the call and ignore it: verified by use. */
static void register_fd(struct coil__uring *uring)
{
    struct io_uring_rsrc_update update = {.offset = UINT_MAX,
                                          .data = (unsigned)uring->ring.ring_fd};
    int result;

    if (!coil__uring_can(uring, COIL__URING_REGISTERED_FD))
        return;
    result =
        coil__uring_kernel->register_(uring->ring.ring_fd, IORING_REGISTER_RING_FDS, &update, 1);
    if (result == 1) {
        result = coil__uring_kernel->enter((int)update.offset, 0, 0,
                                           IORING_ENTER_GETEVENTS | IORING_ENTER_REGISTERED_RING,
                                           NULL, 0);
        if (result == 0) {
            uring->enter_fd = (int)update.offset;
            uring->enter_flags |= IORING_ENTER_REGISTERED_RING;
            return;
        }
        (void)coil__uring_kernel->register_(uring->ring.ring_fd, IORING_UNREGISTER_RING_FDS,
                                            &update, 1);
    }
    uring->abilities &= ~(unsigned)COIL__URING_REGISTERED_FD;
}

static void adopt_features(struct coil__uring *uring)
{
    if (!(uring->ring.features & FEATURE_MIN_TIMEOUT))
        uring->abilities &= ~(unsigned)COIL__URING_ABS_TIMER;
    if (!(uring->ring.features & FEATURE_NO_IOWAIT))
        uring->abilities &= ~(unsigned)COIL__URING_NO_IOWAIT;
    if (coil__uring_can(uring, COIL__URING_NO_IOWAIT))
        uring->enter_flags |= ENTER_NO_IOWAIT;
}

/* By use: neither the ring nor a feature tells. A kernel that does not know the flag refuses it
 * before it looks at the pipe. */
void coil__uring_prove_write(struct coil__uring *uring)
{
    char byte = 0;
    const struct iovec piece = {&byte, 1};
    int fds[2];
    bool is_known = false;

    uring->is_write_proven = true;
    if (!coil__uring_can(uring, COIL__URING_NOSIGNAL))
        return;
    if (pipe2(fds, O_CLOEXEC) == 0) {
        (void)close(fds[0]);
        is_known = pwritev2(fds[1], &piece, 1, -1, COIL__URING_RWF_NOSIGNAL) < 0 && errno == EPIPE;
        (void)close(fds[1]);
    }
    if (!is_known)
        coil__uring_drop_ability(uring, COIL__URING_NOSIGNAL);
}

static int map_ring(struct coil__uring *uring, int fd, struct io_uring_params *params,
                    char *ret_why)
{
    const unsigned needed = IORING_FEAT_EXT_ARG | IORING_FEAT_NODROP;
    int error;

    if ((params->features & needed) != needed) {
        (void)snprintf(ret_why, COIL__URING_WHY_SIZE,
                       "io_uring of this kernel is too old (features 0x%x): "
                       "coil needs Linux 5.11 or newer",
                       params->features);
        (void)close(fd);
        return -ENOSYS;
    }
    error = io_uring_queue_mmap(fd, params, &uring->ring);
    if (error < 0) {
        explain(error, ret_why);
        (void)close(fd);
        return error;
    }
    uring->ring.features = params->features;
    uring->enter_fd = fd;
    /* A child that inherited the mappings could write to a ring that is not its own. */
    (void)io_uring_ring_dontfork(&uring->ring);
    for (unsigned i = 0; i < params->sq_entries; i++)
        uring->ring.sq.array[i] = i;
    return 0;
}

static void describe(struct coil__uring *uring)
{
    char *text = uring->description;
    const size_t size = sizeof uring->description;
    int length = snprintf(text, size, "io_uring, sq %u, cq %u, buffers %u x %u bytes",
                          uring->ring.sq.ring_entries, uring->ring.cq.ring_entries,
                          uring->buffers.count, uring->buffers.size);

    for (unsigned i = 0; i < ABILITY_COUNT && (size_t)length < size; i++) {
        const bool is_off = (uring->abilities_off & abilities[i].ability) != 0;

        if (!(uring->abilities & abilities[i].ability))
            length += snprintf(text + length, size - (size_t)length, ", %s %s", abilities[i].name,
                               is_off ? "off" : "refused");
    }
}

void coil__uring_drop_ability(struct coil__uring *uring, enum coil__uring_ability what)
{
    uring->abilities &= ~(unsigned)what;
    describe(uring);
}

void coil__uring_drop_datagrams(struct coil__uring *uring)
{
    coil__uring_drop_ability(uring, COIL__URING_MULTISHOT_RECVMSG);
    uring->engine.has_datagrams = false;
}

static void size_buffers(struct coil__uring *uring, const struct coil__engine_options *sizes)
{
    uring->buffers.count = sizes->buffer_count;
    uring->buffers.size = sizes->buffer_size;
    uring->buffers.group = COIL__URING_STREAM_GROUP;
    uring->datagrams.count =
        sizes->buffer_count < DATAGRAM_COUNT_MAX ? sizes->buffer_count : DATAGRAM_COUNT_MAX;
    uring->datagrams.size = DATAGRAM_SIZE;
    uring->datagrams.group = COIL__URING_DATAGRAM_GROUP;
    uring->engine.has_datagrams = coil__uring_can(uring, COIL__URING_MULTISHOT_RECVMSG);
}

int coil__uring_set_up(struct coil__uring *uring, const struct coil__engine_options *options,
                       char *ret_why)
{
    struct coil__engine_options sizes;
    struct io_uring_params params;
    int result = choose_sizes(options, &sizes, ret_why);

    if (result < 0)
        return result;
    result = parse_off(getenv("COIL_URING_OFF"), &uring->abilities_off, ret_why);
    if (result < 0)
        return result;
    uring->abilities = consistent(COIL__URING_ALL & ~uring->abilities_off);

    result = create(&sizes, &uring->abilities, &params);
    if (result < 0) {
        explain(result, ret_why);
        return result;
    }
    result = map_ring(uring, result, &params, ret_why);
    if (result < 0)
        return result;

    size_buffers(uring, &sizes);
    adopt_features(uring);
    register_fd(uring);
    describe(uring);
    return 0;
}

void coil__uring_tear_down(struct coil__uring *uring)
{
    if (coil__uring_can(uring, COIL__URING_REGISTERED_FD)) {
        struct io_uring_rsrc_update update = {.offset = (uint32_t)uring->enter_fd};

        /* The registration holds the ring: without this it would live as long as the thread. */
        (void)coil__uring_kernel->register_(uring->ring.ring_fd, IORING_UNREGISTER_RING_FDS,
                                            &update, 1);
    }
    io_uring_queue_exit(&uring->ring);
}

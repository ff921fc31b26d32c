/* SPDX-License-Identifier: MIT */
/* The functions of liburing that coil calls, for a machine without io_uring: the tests that run
 * there use the poll engine of tests/support, and the io_uring engine has only to compile and link.
 */
#include <errno.h>
#include <liburing.h>

int io_uring_setup(unsigned entries, struct io_uring_params *params)
{
    (void)entries;
    (void)params;
    return -ENOSYS;
}

int io_uring_enter2(unsigned fd, unsigned to_submit, unsigned min_complete, unsigned flags,
                    sigset_t *sig, size_t size)
{
    (void)fd;
    (void)to_submit;
    (void)min_complete;
    (void)flags;
    (void)sig;
    (void)size;
    return -ENOSYS;
}

int io_uring_register(unsigned fd, unsigned opcode, const void *arg, unsigned arg_count)
{
    (void)fd;
    (void)opcode;
    (void)arg;
    (void)arg_count;
    return -ENOSYS;
}

int io_uring_queue_mmap(int fd, struct io_uring_params *params, struct io_uring *ring)
{
    (void)fd;
    (void)params;
    (void)ring;
    return -ENOSYS;
}

int io_uring_ring_dontfork(struct io_uring *ring)
{
    (void)ring;
    return -ENOSYS;
}

void io_uring_queue_exit(struct io_uring *ring)
{
    (void)ring;
}

/* SPDX-License-Identifier: MIT */
/* Receive buffers: a ring of them shared with the kernel, and private ones where that is missing.
 *
 * All receives of a ring draw from one group of buffers, so a connection that waits for bytes holds
 * none. The kernel takes the buffer that was offered longest ago and names it in the completion;
 * the engine hands it on as a lease; a returned lease is offered again, in one store of the ring's
 * tail per turn.
 *
 * One mapping holds the ring of descriptors (page aligned: the kernel pins it), the leases, which
 * are found by buffer id, and the buffers. The buffers lie 64 bytes further apart than their size:
 * the first lines of 16 KiB aligned buffers would all compete for the same set of the L1 cache, and
 * small messages touch nothing but first lines. Untouched buffers cost address space only; the
 * whole is mapped at the first receive, so programs without sockets do not pay at all.
 *
 * Datagrams have a second ring, whose buffers hold the largest one there can be: what does not fit
 * would be lost. They take their addresses, not their memory, from the start.
 *
 * A kernel without buffer rings or multishot receive gets one private lease per waiting receive
 * instead. They come from the allocator and a short list of recycled ones.
 *
 * Invariant: a shared buffer is offered to the kernel, named in a completion not yet seen, or
 * leased out; at most `count` are offered, so the ring cannot overflow.
 */
#include "engine/uring.h"

#include <errno.h>
#include <sys/mman.h>

#include "base/alloc.h"
#include "base/assert.h"
#include "base/log.h"

enum {
    COLOUR = 64,             /* bytes by which one buffer is shifted against the last */
    PAGE = 4096,             /* only the start of the mapping must be page aligned */
    PRIVATE_FREE_MAX = 64,   /* recycled private leases: 1 MiB of the default size */
    PRIVATE_ID = UINT16_MAX, /* shared ids end at 32767 */
};

static size_t round_up(size_t value, size_t unit)
{
    return (value + unit - 1) / unit * unit;
}

/* ---- Shared buffers ---- */

static void offer(struct coil__uring_buffers *buffers, const struct coil__lease *lease)
{
    /* The header declares the slots as an array of none. */
    struct io_uring_buf *slots = (void *)buffers->ring;
    struct io_uring_buf *slot = &slots[buffers->tail & buffers->mask];

    slot->addr = (uint64_t)(uintptr_t)lease->data;
    slot->len = lease->capacity;
    slot->bid = lease->id;
    buffers->tail++;
}

static int register_ring(const struct coil__uring *uring, const struct coil__uring_buffers *buffers,
                         void *memory)
{
    struct io_uring_buf_reg registration = {
        .ring_addr = (uint64_t)(uintptr_t)memory,
        .ring_entries = buffers->count,
        .bgid = buffers->group,
    };

    return coil__uring_kernel->register_(uring->ring.ring_fd, IORING_REGISTER_PBUF_RING,
                                         &registration, 1);
}

int coil__uring_buffers_open(struct coil__uring *uring, struct coil__uring_buffers *buffers)
{
    const size_t stride = (size_t)buffers->size + COLOUR;
    const size_t leases_at = round_up(buffers->count * sizeof(struct io_uring_buf), COLOUR);
    const size_t data_at = round_up(leases_at + buffers->count * sizeof(struct coil__lease), PAGE);
    const size_t mapping_size = data_at + buffers->count * stride;
    char *memory = coil__map(mapping_size);
    int error;

    if (!memory)
        return -ENOMEM;
    /* A huge page would make 2 MiB resident for the first 64 bytes received. */
    (void)madvise(memory, mapping_size, MADV_NOHUGEPAGE);
    error = register_ring(uring, buffers, memory);
    if (error < 0) {
        coil__unmap(memory, mapping_size);
        return error;
    }

    buffers->ring = (void *)memory;
    buffers->leases = (void *)(memory + leases_at);
    buffers->mapping_size = mapping_size;
    buffers->mask = (uint16_t)(buffers->count - 1);
    for (unsigned i = 0; i < buffers->count; i++) {
        struct coil__lease *lease = &buffers->leases[i];

        lease->data = memory + data_at + i * stride;
        lease->capacity = buffers->size;
        lease->id = (uint16_t)i;
        lease->is_shared = true;
        lease->group = buffers->group;
        offer(buffers, lease);
    }
    coil__uring_buffers_publish(buffers);
    return 0;
}

/* ---- Private leases ---- */

struct coil__lease *coil__uring_private_lease(struct coil__uring_buffers *buffers)
{
    struct coil__lease *lease = buffers->private_free;

    if (lease) {
        buffers->private_free = lease->next;
        buffers->private_free_count--;
    } else {
        lease = coil__alloc(sizeof *lease + buffers->size);
        if (!lease)
            return NULL;
        lease->data = (char *)(lease + 1);
        lease->capacity = buffers->size;
        lease->id = PRIVATE_ID;
        lease->is_shared = true;
    }
    buffers->held_count++;
    lease->next = NULL;
    lease->start = 0;
    return lease;
}

static void return_private(struct coil__uring_buffers *buffers, struct coil__lease *lease)
{
    if (buffers->private_free_count == PRIVATE_FREE_MAX) {
        coil__free(lease);
        return;
    }
    lease->next = buffers->private_free;
    buffers->private_free = lease;
    buffers->private_free_count++;
}

/* ---- Both ---- */

void coil__uring_lease_return(struct coil__uring_buffers *buffers, struct coil__lease *lease)
{
    COIL_ASSERT(lease->is_shared && buffers->held_count > 0);

    buffers->held_count--;
    if (COIL_LIKELY(lease->id != PRIVATE_ID))
        offer(buffers, lease);
    else
        return_private(buffers, lease);
}

void coil__uring_buffers_close(struct coil__uring *uring, struct coil__uring_buffers *buffers)
{
    struct io_uring_buf_reg registration = {.bgid = buffers->group};

    if (buffers->held_count > 0) {
        coil__log(COIL_LOG_WARNING,
                  "%u buffers of received bytes were not given back: a stream or a datagram socket "
                  "was not closed",
                  buffers->held_count);
    }
    while (buffers->private_free) {
        struct coil__lease *lease = buffers->private_free;

        buffers->private_free = lease->next;
        coil__free(lease);
    }
    if (!buffers->ring)
        return;
    /* Cannot fail while the ring lives; if it does, closing the ring ends the use as well. */
    (void)coil__uring_kernel->register_(uring->ring.ring_fd, IORING_UNREGISTER_PBUF_RING,
                                        &registration, 1);
    coil__unmap(buffers->ring, buffers->mapping_size);
    buffers->ring = NULL;
}

/* SPDX-License-Identifier: MIT */
/* Pool of equal-sized objects (base/slab.h).
 *
 * A chunk is one allocation: a header that links it to the other chunks, then the blocks. A block
 * in the pool holds the link to the next one in its first word; all else in it is dead. Blocks are
 * aligned to 16 bytes and not to cache lines: the pools hold one thread's objects, so there is no
 * false sharing to avoid, and rounding up to 64 would add a quarter to the objects that a
 * connection consists of.
 *
 * Under ASan a block in the pool is poisoned, the link included: that makes a use after put, and a
 * second put, an error report.
 *
 * Invariant: each block is either handed out (live_count) or in free_list.
 */
#include "base/slab.h"

#include "base/alloc.h"

enum {
    BLOCK_ALIGNMENT = 16
};

struct chunk {
    _Alignas(BLOCK_ALIGNMENT) struct chunk *next;
};

COIL_STATIC_ASSERT(_Alignof(max_align_t) <= BLOCK_ALIGNMENT, "blocks suit any type");

void coil__slab_init(struct coil__slab *slab, size_t object_size, size_t objects_per_chunk)
{
    const size_t size = (object_size + BLOCK_ALIGNMENT - 1) / BLOCK_ALIGNMENT * BLOCK_ALIGNMENT;

    COIL_ASSERT(object_size > 0);
    COIL_ASSERT(objects_per_chunk > 0);

    *slab = (struct coil__slab){
        .object_size = size,
        .chunk_size = sizeof(struct chunk) + size * objects_per_chunk,
    };
}

void coil__slab_fini(struct coil__slab *slab)
{
    struct chunk *chunk = slab->chunks;

    COIL_ASSERT(slab->live_count == 0 && "objects outlive their slab");

    while (chunk) {
        struct chunk *next = chunk->next;

        coil__sanitize_unpoison(chunk, slab->chunk_size);
        coil__free(chunk);
        chunk = next;
    }
    slab->chunks = NULL;
    slab->free_list = NULL;
}

bool coil__slab_grow(struct coil__slab *slab)
{
    struct chunk *chunk = coil__alloc(slab->chunk_size);

    if (!chunk)
        return false;
    chunk->next = slab->chunks;
    slab->chunks = chunk;

    /* From the far end, so that objects are handed out in order of address. */
    char *const first = (char *)(chunk + 1);

    for (char *at = (char *)chunk + slab->chunk_size; at > first; at -= slab->object_size) {
        slab->live_count++; /* each one comes back as if it had been handed out */
        coil__slab_put(slab, at - slab->object_size);
    }
    return true;
}

/* SPDX-License-Identifier: MIT */
/* The one seam through which coil allocates memory (design D13).
 *
 * Everything goes through here, for two reasons: tests make the N-th allocation fail, N = 1.. until
 * a scenario passes, and count what is still allocated at its end. Mappings (stacks, buffers) go
 * through the same seam as large allocations do. Thread-safe, as malloc is.
 */
#ifndef COIL_LIB_BASE_ALLOC_H
#define COIL_LIB_BASE_ALLOC_H

#include <stddef.h>
#include <stdint.h>

/* Zeroed memory aligned for any type, or NULL. */
void *coil__alloc(size_t size) __attribute__((malloc, alloc_size(1)));
void coil__free(void *memory);

/* Grows or shrinks; on failure NULL and the old block stays. New bytes are not zeroed. */
void *coil__realloc(void *memory, size_t size) __attribute__((alloc_size(2)));

/* Address space from the kernel (page aligned, zeroed, not committed), or NULL. */
void *coil__map(size_t size);
void coil__unmap(void *memory, size_t size);

/* ---- For tests ---- */

/* Lets the next `after` allocations pass and makes each later one fail; -1 switches off. */
void coil__alloc_fail_after(int64_t after);

/* Blocks (allocated and mapped) that have not been freed, and how many were ever asked for. */
int64_t coil__alloc_live_count(void);
int64_t coil__alloc_total_count(void);

#endif

/* SPDX-License-Identifier: MIT */
/* coil/private.h - layouts that public structs embed, not for use.
 *
 * The small types that live in the caller's storage (scopes, semaphores, ...) hold links into
 * coil's own queues. Their layouts must be known to the compiler, hence this header; their fields
 * are nobody's business. lib/base/list.h, lib/base/heap.h, lib/core/timer.h and
 * lib/core/remote.h say what they mean.
 */
#ifndef COIL_PRIVATE_H
#define COIL_PRIVATE_H

#include <stdint.h>

struct coil__list {
    struct coil__list *next;
    struct coil__list *prev;
};

struct coil__heap_node {
    struct coil__heap_node *child;   /* first child */
    struct coil__heap_node *sibling; /* next child of the same parent */
    struct coil__heap_node **link;   /* what points here; NULL while the node is in no heap */
    int64_t key;
    uint64_t sequence; /* orders equal keys */
};

struct coil__timer {
    struct coil__heap_node node;
    void (*fire)(struct coil__timer *timer);
};

struct coil__waitq {
    struct coil__list waiters;
};

struct coil__post {
    struct coil__post *next;
    void (*run)(struct coil__post *post);
};

#endif

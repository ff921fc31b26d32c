/* SPDX-License-Identifier: MIT */
/* The inside of a mutex, for another wait that ends with the mutex (cond.c).
 *
 * A fiber that waits for a condition has given its mutex up and must have it again. Instead of
 * being woken to ask for it, it is moved: from the queue of the condition to that of the mutex.
 */
#ifndef COIL_LIB_SYNC_MUTEX_H
#define COIL_LIB_SYNC_MUTEX_H

#include <coil/mutex.h>

#include "core/waitq.h"

/* Lets `waiter`, which is in some queue, wait for the mutex instead: its fiber runs once it owns
 * it, at once if the mutex is free, and nothing interrupts it. */
void coil__mutex_pass(coil_mutex *mutex, struct coil__waiter *waiter);

#endif

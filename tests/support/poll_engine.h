/* SPDX-License-Identifier: MIT */
/* A second engine behind the table of engine/engine.h, made of poll(2) and plain system calls.
 *
 * It proves that the table speaks meanings and not io_uring: whatever runs on it without a change
 * depends on nothing but the contract. It is slow (every turn tries every request) and its few
 * small buffers run out early, which is what tests want.
 */
#ifndef COIL_TESTS_SUPPORT_POLL_ENGINE_H
#define COIL_TESTS_SUPPORT_POLL_ENGINE_H

#include "engine/engine.h"

/* Of the options it honours buffer_count and buffer_size; their defaults are 8 and 4 KiB. */
coil__engine_open coil__poll_engine_open;

#endif

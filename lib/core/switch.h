/* SPDX-License-Identifier: MIT */
/* The context switch (design D11): callee-saved registers only, one file of assembly per
 * architecture, chosen by CMake.
 *
 * Not saved: the floating point control words (mxcsr, x87), which the ABI calls callee-saved but
 * nobody changes per fiber, and the shadow stack pointer (the ending jump would break it).
 */
#ifndef COIL_LIB_CORE_SWITCH_H
#define COIL_LIB_CORE_SWITCH_H

#include <stdint.h>

/* Saves the caller's context, stores where in *ret_save, and continues `load`. Returns when
 * somebody loads what was saved. */
void coil__switch(void **ret_save, void *load);

/* Prepares the context of a fiber that has not run: the first switch to the result calls
 * entry(arg) on the stack that ends at `top` (16-byte aligned, grows down). entry must not
 * return. Unwinders see it as the outermost frame. */
void *coil__switch_prepare(void *top, void (*entry)(void *), void *arg);

/* Where in a saved context, in words from where it points, the frame pointer and the address to
 * continue at lie, and how many words it has: for backtraces. */
struct coil__switch_layout {
    uint32_t frame_word;
    uint32_t resume_word;
    uint32_t word_count;
};

extern const struct coil__switch_layout coil__switch_layout __attribute__((visibility("hidden")));

#endif

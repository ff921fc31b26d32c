/* SPDX-License-Identifier: MIT */
/* The outermost frame of a fiber on x86-64 (core/switch.h).
 *
 * A context that has not run continues here, with its entry and argument next on the stack. When
 * the entry returns, coil__fiber_exit() is jumped to, for it does not. Unwinders end here, because
 * what this would return to is declared undefined; rbp becomes zero, which ends a walk by frame
 * pointers.
 *
 * No .note.gnu.property: the linker then drops the claim to support shadow stacks for the whole
 * program.
 */

        .text

        .type   fiber_start, @function
        .p2align 4
fiber_start:
        .cfi_startproc
        .cfi_undefined %rip
        .cfi_def_cfa %rsp, 0
        /* Unwinders look up the byte before a return address: of a fiber that has not run, this. */
        nop
        .globl  coil__switch_start
        .hidden coil__switch_start
coil__switch_start:
        xorl    %ebp, %ebp
        popq    %rax                    /* entry */
        popq    %rbx                    /* its argument; the stack is empty now, and aligned */
        movq    %rbx, %rdi
        callq   *%rax
        movq    %rbx, %rdi
        leaq    .Lnever(%rip), %rax
        pushq   %rax
        jmp     coil__fiber_exit
.Lnever:
        ud2
        .cfi_endproc
        .size   fiber_start, . - fiber_start

        .section .note.GNU-stack, "", @progbits

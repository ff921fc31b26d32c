/* SPDX-License-Identifier: MIT */
/* The context switch for x86-64, System V ABI (core/switch.h).
 *
 * A context that does not run is a stack pointer; at it lie, upwards: r15 r14 r13 r12 rbx rbp and
 * the address to continue at. To its caller a switch is a function call, so the compiler has saved
 * all other registers.
 *
 * It ends in an indirect jump instead of ret: the processor predicts ret from the calls it has
 * seen, and here the return goes to another stack than the call came from, so that every ret would
 * be mispredicted (2 ns against 11 ns). The price: a hardware shadow stack would notice the missing
 * ret, and an IBT kernel the missing endbr64, hence no .note.gnu.property that claims support; the
 * linker then drops the claim for the whole program.
 *
 * Unwinders pass through a switch by the CFI, which stays right across the change of stacks as both
 * hold the same frame. They stop at the trampoline, whose return address is declared undefined; rbp
 * is zero there, which ends a walk by frame pointers.
 */

        .text

/* ---- void coil__switch(void **ret_save, void *load) ---- */
        .globl  coil__switch
        .hidden coil__switch
        .type   coil__switch, @function
        .p2align 4
coil__switch:
        .cfi_startproc
        pushq   %rbp
        .cfi_adjust_cfa_offset 8
        .cfi_rel_offset %rbp, 0
        pushq   %rbx
        .cfi_adjust_cfa_offset 8
        .cfi_rel_offset %rbx, 0
        pushq   %r12
        .cfi_adjust_cfa_offset 8
        .cfi_rel_offset %r12, 0
        pushq   %r13
        .cfi_adjust_cfa_offset 8
        .cfi_rel_offset %r13, 0
        pushq   %r14
        .cfi_adjust_cfa_offset 8
        .cfi_rel_offset %r14, 0
        pushq   %r15
        .cfi_adjust_cfa_offset 8
        .cfi_rel_offset %r15, 0
        movq    %rsp, (%rdi)
        movq    %rsi, %rsp
        popq    %r15
        .cfi_adjust_cfa_offset -8
        .cfi_restore %r15
        popq    %r14
        .cfi_adjust_cfa_offset -8
        .cfi_restore %r14
        popq    %r13
        .cfi_adjust_cfa_offset -8
        .cfi_restore %r13
        popq    %r12
        .cfi_adjust_cfa_offset -8
        .cfi_restore %r12
        popq    %rbx
        .cfi_adjust_cfa_offset -8
        .cfi_restore %rbx
        popq    %rbp
        .cfi_adjust_cfa_offset -8
        .cfi_restore %rbp
        popq    %rcx
        .cfi_adjust_cfa_offset -8
        .cfi_register %rip, %rcx
        jmp     *%rcx
        .cfi_endproc
        .size   coil__switch, . - coil__switch

/* ---- The outermost frame of a fiber: calls r12(r13), the stack being 16-byte aligned ---- */
        .type   fiber_start, @function
        .p2align 4
fiber_start:
        .cfi_startproc
        .cfi_undefined %rip
        .cfi_def_cfa %rsp, 0
        /* Unwinders look up the byte before a return address: of a fiber that has not run, this. */
        nop
.Lfirst_instruction:
        movq    %r13, %rdi
        callq   *%r12
        ud2
        .cfi_endproc
        .size   fiber_start, . - fiber_start

/* ---- void *coil__switch_prepare(void *top, void (*entry)(void *), void *arg) ---- */
        .globl  coil__switch_prepare
        .hidden coil__switch_prepare
        .type   coil__switch_prepare, @function
        .p2align 4
coil__switch_prepare:
        .cfi_startproc
        xorl    %r8d, %r8d
        leaq    .Lfirst_instruction(%rip), %rcx
        leaq    -56(%rdi), %rax
        movq    %r8, 0(%rax)            /* r15 */
        movq    %r8, 8(%rax)            /* r14 */
        movq    %rdx, 16(%rax)          /* r13: arg */
        movq    %rsi, 24(%rax)          /* r12: entry */
        movq    %r8, 32(%rax)           /* rbx */
        movq    %r8, 40(%rax)           /* rbp */
        movq    %rcx, 48(%rax)          /* where to continue; afterwards rsp is top */
        ret
        .cfi_endproc
        .size   coil__switch_prepare, . - coil__switch_prepare

/* ---- struct coil__switch_layout: frame pointer, where to continue, number of words ---- */
        .section .rodata
        .globl  coil__switch_layout
        .hidden coil__switch_layout
        .type   coil__switch_layout, @object
        .p2align 2
coil__switch_layout:
        .long   5, 6, 7
        .size   coil__switch_layout, . - coil__switch_layout

        .section .note.GNU-stack, "", @progbits

// See activation.h. x86-64, System V convention.

#include "runtime/native/activation_offsets.h"

        .text

// EnterResult callgate_enter(activation: rdi, entry: rsi, context: rdx,
//                            fuel: rcx, code: r8, args: r9,
//                            stack_top: 8(%rsp))
//
// The frame, from its end: return address, rbp, rbx, r12, r13, r14, r15,
// padding. rbx keeps the frame's address while the callee runs.
        .globl  callgate_enter
        .type   callgate_enter, @function
        .p2align 4
callgate_enter:
        .cfi_startproc
        movq    8(%rsp), %rax
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
        subq    $8, %rsp
        .cfi_adjust_cfa_offset 8
        movq    %rsp, CALLGATE_ACTIVATION_RSP(%rdi)
        movq    %rsp, %rbx
        .cfi_def_cfa_register %rbx
        testq   %rax, %rax
        cmovneq %rax, %rsp
        movq    %rsi, %rax
        movq    %rdx, %rdi
        movq    %rcx, %rsi
        movq    %r8, %rdx
        movq    %r9, %rcx
        xorl    %ebp, %ebp
        callq   *%rax
        movq    %rbx, %rsp
        .cfi_def_cfa_register %rsp
        xorl    %edx, %edx
.Lleave_activation:
        addq    $8, %rsp
        .cfi_adjust_cfa_offset -8
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
        retq
        .cfi_endproc
        .size   callgate_enter, .-callgate_enter

// void callgate_unwind(activation: rdi)
        .globl  callgate_unwind
        .type   callgate_unwind, @function
        .p2align 4
callgate_unwind:
        .cfi_startproc
        movq    CALLGATE_ACTIVATION_RSP(%rdi), %rsp
        xorl    %eax, %eax
        movl    $1, %edx
        jmp     .Lleave_activation
        .cfi_endproc
        .size   callgate_unwind, .-callgate_unwind

// uint32_t callgate_try_call(context: rdi, fuel: rsi, code: rdx, args: rcx,
//                            callee_context: r8, entry: r9)
//
// The frame, from its end: return address, rbp, rbx, r12, r13, r14, r15,
// padding, then an ExceptionHandler at rsp. rbx keeps the StoreContext.
        .globl  callgate_try_call
        .type   callgate_try_call, @function
        .p2align 4
callgate_try_call:
        .cfi_startproc
        pushq   %rbp
        .cfi_def_cfa_offset 16
        .cfi_offset %rbp, -16
        movq    %rsp, %rbp
        .cfi_def_cfa_register %rbp
        pushq   %rbx
        .cfi_offset %rbx, -24
        pushq   %r12
        .cfi_offset %r12, -32
        pushq   %r13
        .cfi_offset %r13, -40
        pushq   %r14
        .cfi_offset %r14, -48
        pushq   %r15
        .cfi_offset %r15, -56
        subq    $24, %rsp
        movq    CALLGATE_CONTEXT_STORE(%rdi), %rbx
        movq    CALLGATE_STORE_HANDLER(%rbx), %rax
        movq    %rax, CALLGATE_HANDLER_OUTER(%rsp)
        movq    %rsp, CALLGATE_HANDLER_RSP(%rsp)
        movq    %rsp, CALLGATE_STORE_HANDLER(%rbx)
        movq    %r8, %rdi
        callq   *%r9
        movq    CALLGATE_HANDLER_OUTER(%rsp), %rcx
        movq    %rcx, CALLGATE_STORE_HANDLER(%rbx)
        movq    %rax, CALLGATE_STORE_FUEL(%rbx)
        xorl    %eax, %eax
.Lleave_try:
        addq    $24, %rsp
        popq    %r15
        popq    %r14
        popq    %r13
        popq    %r12
        popq    %rbx
        popq    %rbp
        .cfi_def_cfa %rsp, 8
        retq
        .cfi_endproc
        .size   callgate_try_call, .-callgate_try_call

// void callgate_throw_to(handler: rdi)
        .globl  callgate_throw_to
        .type   callgate_throw_to, @function
        .p2align 4
callgate_throw_to:
        .cfi_startproc
        movq    CALLGATE_HANDLER_RSP(%rdi), %rsp
        movl    $1, %eax
        jmp     .Lleave_try
        .cfi_endproc
        .size   callgate_throw_to, .-callgate_throw_to

        .section .note.GNU-stack, "", @progbits

# What LLVM 19 writes for a module of two functions: a switch that calls itself,
# the other function and memset and takes an address; and arithmetic with
# constants in memory. From LLVM IR by
#   llc -O0 -relocation-model=pic -x86-asm-syntax=intel
	.text
	.intel_syntax noprefix
	.file	"module"
	.hidden	f0
	.globl	f0
	.p2align	4, 0x90
	.type	f0,@function
f0:
	.cfi_startproc

	push	rbp
	.cfi_def_cfa_offset 16
	.cfi_offset rbp, -16
	mov	rbp, rsp
	.cfi_def_cfa_register rbp
	sub	rsp, 32
	mov	qword ptr [rbp - 24], rdi
	mov	qword ptr [rbp - 16], rsi
	mov	rax, rsi
	mov	qword ptr [rbp - 8], rax
	sub	rsi, 4
	ja	.LBB0_6

	mov	rax, qword ptr [rbp - 8]
	lea	rcx, [rip + .LJTI0_0]
	movsxd	rax, dword ptr [rcx + 4*rax]
	add	rax, rcx
	jmp	rax
.LBB0_1:
	mov	eax, 55
	add	rsp, 32
	pop	rbp
	.cfi_def_cfa rsp, 8
	ret
.LBB0_2:
	.cfi_def_cfa rbp, 16
	mov	rdx, qword ptr [rbp - 16]
	mov	rdi, qword ptr [rbp - 24]
	mov	esi, 7
	call	memset@PLT
	mov	eax, 98
	add	rsp, 32
	pop	rbp
	.cfi_def_cfa rsp, 8
	ret
.LBB0_3:
	.cfi_def_cfa rbp, 16
	mov	rdi, qword ptr [rbp - 24]
	mov	esi, 40
	call	f1
	add	rsp, 32
	pop	rbp
	.cfi_def_cfa rsp, 8
	ret
.LBB0_4:
	.cfi_def_cfa rbp, 16
	mov	rdi, qword ptr [rbp - 24]
	mov	esi, 2
	call	f0
	add	rax, 1
	add	rsp, 32
	pop	rbp
	.cfi_def_cfa rsp, 8
	ret
.LBB0_5:
	.cfi_def_cfa rbp, 16
	lea	rax, [rip + f1]
	add	rsp, 32
	pop	rbp
	.cfi_def_cfa rsp, 8
	ret
.LBB0_6:
	.cfi_def_cfa rbp, 16
	mov	rax, -1
	add	rsp, 32
	pop	rbp
	.cfi_def_cfa rsp, 8
	ret
.Lfunc_end0:
	.size	f0, .Lfunc_end0-f0
	.cfi_endproc
	.section	.rodata,"a",@progbits
	.p2align	2, 0x0
.LJTI0_0:
	.long	.LBB0_1-.LJTI0_0
	.long	.LBB0_2-.LJTI0_0
	.long	.LBB0_3-.LJTI0_0
	.long	.LBB0_4-.LJTI0_0
	.long	.LBB0_5-.LJTI0_0

	.section	.rodata.cst8,"aM",@progbits,8
	.p2align	3, 0x0
.LCPI1_0:
	.quad	0x400c000000000000
	.section	.rodata.cst16,"aM",@progbits,16
	.p2align	4, 0x0
.LCPI1_1:
	.long	1127219200
	.long	1160773632
	.long	0
	.long	0
.LCPI1_2:
	.quad	0x4330000000000000
	.quad	0x4530000000000000
	.text
	.hidden	f1
	.globl	f1
	.p2align	4, 0x90
	.type	f1,@function
f1:
	.cfi_startproc

	push	rbp
	.cfi_def_cfa_offset 16
	.cfi_offset rbp, -16
	mov	rbp, rsp
	.cfi_def_cfa_register rbp
	movq	xmm0, rsi
	movaps	xmm1, xmmword ptr [rip + .LCPI1_1]
	punpckldq	xmm0, xmm1
	movapd	xmm1, xmmword ptr [rip + .LCPI1_2]
	subpd	xmm0, xmm1
	movaps	xmm1, xmm0
	unpckhpd	xmm0, xmm0
	addsd	xmm0, xmm1
	movsd	xmm1, qword ptr [rip + .LCPI1_0]
	mulsd	xmm0, xmm1
	cvttsd2si	rax, xmm0
	pop	rbp
	.cfi_def_cfa rsp, 8
	ret
.Lfunc_end1:
	.size	f1, .Lfunc_end1-f1
	.cfi_endproc

	.hidden	e0
	.globl	e0
	.p2align	4, 0x90
	.type	e0,@function
e0:
	.cfi_startproc

	push	rbp
	.cfi_def_cfa_offset 16
	.cfi_offset rbp, -16
	mov	rbp, rsp
	.cfi_def_cfa_register rbp
	mov	rdi, qword ptr [rcx]
	mov	rsi, qword ptr [rcx + 16]
	call	rdx
	pop	rbp
	.cfi_def_cfa rsp, 8
	ret
.Lfunc_end2:
	.size	e0, .Lfunc_end2-e0
	.cfi_endproc

	.hidden	t0
	.globl	t0
	.p2align	4, 0x90
	.type	t0,@function
t0:
	.cfi_startproc

	push	rbp
	.cfi_def_cfa_offset 16
	.cfi_offset rbp, -16
	mov	rbp, rsp
	.cfi_def_cfa_register rbp
	mov	eax, 30
	pop	rbp
	.cfi_def_cfa rsp, 8
	ret
.Lfunc_end3:
	.size	t0, .Lfunc_end3-t0
	.cfi_endproc

	.section	".note.GNU-stack","",@progbits

# One of two objects of a module, in the shape of the compiler's: its functions
# take two integers and return one, unless it says otherwise.
#
# Functions 0 to 10, of which 0 is imported; types 0 and 1.

	.intel_syntax noprefix
	.text

	.globl	f1			# f2(a, b) + 1, f2 being in the other object
	.hidden	f1
	.hidden	f2
	.type	f1, @function
	.p2align 4
f1:
	.cfi_startproc
	push	rbp
	.cfi_def_cfa_offset 16
	.cfi_offset rbp, -16
	mov	rbp, rsp
	.cfi_def_cfa_register rbp
	call	f2@PLT
	add	rax, 1
	pop	rbp
	.cfi_def_cfa rsp, 8
	ret
	.cfi_endproc
	.size	f1, .-f1

	.globl	f3			# memcpy(a, b, c)
	.hidden	f3
	.type	f3, @function
	.p2align 4
f3:
	push	rbp
	mov	rbp, rsp
	call	memcpy@PLT
	pop	rbp
	ret
	.size	f3, .-f3

	.globl	f4			# memset(a, b, c)
	.hidden	f4
	.type	f4, @function
	.p2align 4
f4:
	jmp	memset@PLT
	.size	f4, .-f4

	.globl	f6			# 100 + a, by a jump table; 7 when a > 2
	.hidden	f6
	.type	f6, @function
	.p2align 4
f6:
	cmp	rdi, 2
	ja	.Lother
	lea	rax, [rip + .Ljumps]
	movsxd	rcx, dword ptr [rax + 4*rdi]
	add	rax, rcx
	jmp	rax
.Lzero:
	mov	eax, 100
	ret
.Lone:
	mov	eax, 101
	ret
.Ltwo:
	mov	eax, 102
	ret
.Lother:
	mov	eax, 7
	ret
	.size	f6, .-f6

	.globl	f9			# 1 + ... + a, calling itself
	.hidden	f9
	.type	f9, @function
	.p2align 4
f9:
	push	rbp
	mov	rbp, rsp
	push	rdi
	push	rdi
	xor	eax, eax
	test	rdi, rdi
	je	.Ldone
	dec	rdi
	call	f9@PLT
	add	rax, qword ptr [rbp - 8]
.Ldone:
	leave
	ret
	.size	f9, .-f9

	.globl	b9			# 9
	.hidden	b9
	.type	b9, @function
	.p2align 4
b9:
	mov	eax, 9
	ret
	.size	b9, .-b9

	.globl	e0			# (context, fuel, code, args): code(args[0], args[1])
	.hidden	e0
	.type	e0, @function
	.p2align 4
e0:
	push	rbp
	mov	rbp, rsp
	mov	rax, rdx
	mov	rdi, qword ptr [rcx]
	mov	rsi, qword ptr [rcx + 16]
	call	rax
	pop	rbp
	ret
	.size	e0, .-e0

	.globl	t1			# 31
	.hidden	t1
	.type	t1, @function
	.p2align 4
t1:
	mov	eax, 31
	ret
	.size	t1, .-t1

	.globl	p0			# probe context: {calls, the function}
	.hidden	p0
	.type	p0, @function
	.p2align 4
p0:
	inc	qword ptr [r10]
	jmp	qword ptr [r10 + 8]
	.size	p0, .-p0

	.section .rodata,"a",@progbits
	.p2align 2
.Ljumps:
	.long	.Lzero-.Ljumps
	.long	.Lone-.Ljumps
	.long	.Ltwo-.Ljumps

	.section .note.GNU-stack,"",@progbits

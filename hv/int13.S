/* SPDX-License-Identifier: BSD-2-Clause */
/* The option ROM: INT 13h for the disks that hv has, and a way to start from a
 * disc. All that is done is done at an exit (int13/); what comes back is in
 * the registers, and in two flags: carry is the caller's carry, zero says that
 * the drive is not ours.
 *
 * One sector; int13.awk sets the checksums. The firmware copies it to RAM, runs
 * `init`, and before it boots `hook`; `disc` is one more thing to boot.
 * Sources: Plug and Play BIOS Specification 1.0A, section 3; BIOS Boot
 * Specification 1.01.
 */
#define PORT_CALL  0xe8
#define PORT_START 0xe9
#define PORT_DVD   0xea

#define VECTOR_13  (4 * 0x13)

	.code16
	.text
rom:
	.byte	0x55, 0xaa
	.byte	1			/* of 512 bytes */
init:
	xorw	%ax, %ax
	lretw
	.org	rom + 0x18
	.word	0			/* no PCI device */
	.word	disks_header - rom

	.balign	16
disks_header:
	.ascii	"$PnP"
	.byte	1, 2			/* revision; of 16 bytes */
	.word	disc_header - rom
	.byte	0, 0			/* checksum last */
	.long	0
	.word	maker - rom
	.word	disks_name - rom
	.byte	1, 0, 0			/* mass storage */
	.byte	0x14			/* may be an initial program load device */
	.word	hook - rom		/* boot connection vector */
	.word	0, 0, 0, 0

	.balign	16
disc_header:
	.ascii	"$PnP"
	.byte	1, 2
	.word	0
	.byte	0, 0
	.long	0
	.word	maker - rom
	.word	disc_name - rom
	.byte	1, 0, 0
	.byte	0x14
	.word	0, 0
	.word	disc - rom		/* bootstrap entry vector */
	.word	0, 0

maker:
	.asciz	"hv"
disks_name:
	.asciz	"hv disks"
disc_name:
	.asciz	"hv DVD"

/* Take the vector; the former one is for drives that are not ours. */
hook:
	pushw	%ax
	pushw	%ds
	xorw	%ax, %ax
	movw	%ax, %ds
	movw	VECTOR_13, %ax
	movw	%ax, %cs:(former - rom)
	movw	VECTOR_13 + 2, %ax
	movw	%ax, %cs:(former - rom + 2)
	movw	$(int13 - rom), VECTOR_13
	movw	%cs, VECTOR_13 + 2
	outb	%al, $PORT_START
	popw	%ds
	popw	%ax
	lretw

int13:
	outb	%al, $PORT_CALL
	jz	1f
	pushw	%bp
	movw	%sp, %bp
	jc	2f
	andb	$0xfe, 6(%bp)		/* carry, in the caller's flags */
	popw	%bp
	iretw
2:	orb	$1, 6(%bp)
	popw	%bp
	iretw
1:	ljmpw	*%cs:(former - rom)

/* Back to the firmware, where no disc boots. */
disc:
	outb	%al, $PORT_DVD
	jc	1f
	pushw	%bx
	pushw	%ax
1:	lretw

	.balign	4
former:
	.long	0

	.org	rom + 511
	.byte	0			/* checksum */

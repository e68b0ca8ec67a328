/* SPDX-License-Identifier: BSD-2-Clause */
/* Static tracepoints (USDT) of a request's way: a no-operation in the code and
 * a note in the file that tells bpftrace, perf and SystemTap where it is and
 * where its arguments are. Nothing is computed for it, and nothing is linked.
 *
 *   storvsp:request_start     channel, id, path, target, lun, opcode
 *   storvsp:request_submit    channel, id, op (enum vhd_op), lba, sectors
 *   storvsp:request_complete  channel, id, verdict (enum scsi_verdict)
 *
 * `id` is the guest's transaction id, which with `channel` names a request as
 * long as it is not answered. All arguments are 64 bits wide.
 * Source: the description of the .note.stapsdt section in SystemTap's wiki
 *   ("UserSpaceProbeImplementation"); two lines of assembler instead of a
 *   dependency on its header.
 */
#ifndef STORVSP_TRACE_H
#define STORVSP_TRACE_H

#include <stdint.h>

_Static_assert(sizeof(void *) == 8, "addresses in the note have 8 bytes");

/* The note: where the probe is, what the section of its base was linked at (to
 * see how far the file was moved since), no semaphore, names, arguments.
 */
#define TRACE_NOTE(name, args)                                                 \
	"990: nop\n"                                                          \
	".pushsection .note.stapsdt,\"?\",\"note\"\n"                     \
	".balign 4\n"                                                         \
	".4byte 992f-991f, 994f-993f, 3\n"                                    \
	"991: .asciz \"stapsdt\"\n"                                         \
	"992: .balign 4\n"                                                    \
	"993: .8byte 990b, _.stapsdt.base, 0\n"                               \
	".asciz \"storvsp\"\n"                                              \
	".asciz \"" name "\"\n"                                             \
	".asciz \"" args "\"\n"                                             \
	"994: .balign 4\n"                                                    \
	".popsection\n"                                                       \
	".ifndef _.stapsdt.base\n"                                            \
	".pushsection .stapsdt.base,\"aG\",\"progbits\","                  \
	".stapsdt.base,comdat\n"                                              \
	".weak _.stapsdt.base\n"                                              \
	".hidden _.stapsdt.base\n"                                            \
	"_.stapsdt.base: .space 1\n"                                          \
	".size _.stapsdt.base, 1\n"                                           \
	".popsection\n"                                                       \
	".endif\n"
#define TRACE_ARG(x) "nor"((uint64_t)(x))

#define TRACE_REQUEST_START(channel, id, path, target, lun, opcode)            \
	__asm__ __volatile__(                                                  \
		TRACE_NOTE("request_start", "8@%0 8@%1 8@%2 8@%3 8@%4 8@%5")   \
		:                                                              \
		: TRACE_ARG(channel), TRACE_ARG(id), TRACE_ARG(path),          \
		  TRACE_ARG(target), TRACE_ARG(lun), TRACE_ARG(opcode))

#define TRACE_REQUEST_SUBMIT(channel, id, op, lba, sectors)                    \
	__asm__ __volatile__(                                                  \
		TRACE_NOTE("request_submit", "8@%0 8@%1 8@%2 8@%3 8@%4")       \
		:                                                              \
		: TRACE_ARG(channel), TRACE_ARG(id), TRACE_ARG(op),            \
		  TRACE_ARG(lba), TRACE_ARG(sectors))

#define TRACE_REQUEST_COMPLETE(channel, id, verdict)                           \
	__asm__ __volatile__(TRACE_NOTE("request_complete", "8@%0 8@%1 8@%2")  \
			     :                                                 \
			     : TRACE_ARG(channel), TRACE_ARG(id),              \
			       TRACE_ARG(verdict))

#endif

/* SPDX-License-Identifier: BSD-2-Clause */
/* Unit attentions: what happened to a disk behind the guest's back. Each kind
 * is pending or not, so a storm of them is one; it is reported once, by the
 * next command on any channel but those that let it wait (command.c says
 * which), as CHECK CONDITION, or handed over by REQUEST SENSE as data.
 *
 * There is one initiator, the guest, so there is one set a disk. The kinds are
 * the verdicts SCSI_UA_FIRST to SCSI_UA_LAST in the order of precedence; what
 * they look like to a guest is in sense.c's table.
 *
 * Not told this way: resets that the guest asked for, as on Hyper-V, which has
 * no more to say of them than its answer; and that a controller has other LUNs
 * (3F/0E), which ENUMERATE_BUS tells, and of which Linux would only complain in
 * its log.
 * Sources: SAM-5 5.14, SPC-4 4.5; what Linux makes of each: scsi_error.c.
 */
#ifndef STORVSP_ATTENTION_H
#define STORVSP_ATTENTION_H

#include "scsi.h"

/* Any thread. What was stored before raising is seen by who takes. */
void scsi_attention_raise(struct storvsp_switches *s, enum scsi_verdict kind);
/* The pending one of highest precedence, pending no more; SCSI_GOOD: none. */
enum scsi_verdict scsi_attention_take(struct storvsp_switches *s);
/* A guest starts anew and looks at everything anyway. */
void scsi_attention_clear(struct storvsp_switches *s);

#endif

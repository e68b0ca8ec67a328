/* SPDX-License-Identifier: BSD-2-Clause */
/* Commands that ask for what is so anyway. */
#include "scsi.h"

enum scsi_verdict scsi_nothing_to_do(struct scsi_task *t)
{
	(void)t;
	return SCSI_GOOD;
}

/* The default self-test, which passes: nothing here could fail that a command
 * would not tell. Others would need a log of their results.
 */
enum scsi_verdict scsi_send_diagnostic(struct scsi_task *t)
{
	bool only_self_test = (t->cdb[1] & 0xEF) == 0x04;

	if (scsi_get16(t->cdb + 3) != 0 || !only_self_test)
		return SCSI_BAD_FIELD;
	return SCSI_GOOD;
}

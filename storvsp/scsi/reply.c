/* SPDX-License-Identifier: BSD-2-Clause */
/* An answer that a command writes itself, and how much of it the guest gets:
 * what it allocated and has room for.
 * Source: SPC-3 4.3.4.6 (allocation length).
 */
#include <assert.h>
#include <string.h>

#include "scsi.h"

uint8_t *scsi_reply(struct scsi_task *t, uint32_t bytes, uint32_t alloc_bytes)
{
	assert(bytes <= sizeof(t->reply));
	memset(t->reply, 0, bytes);
	t->reply_bytes = bytes;
	t->alloc_bytes = alloc_bytes;
	return t->reply;
}

uint32_t scsi_reply_sent(const struct scsi_task *t)
{
	uint32_t n = t->reply_bytes;

	if (n > t->alloc_bytes)
		n = t->alloc_bytes;
	if (n > t->buffer_bytes)
		n = t->buffer_bytes;
	return n;
}

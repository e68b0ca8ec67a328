/* SPDX-License-Identifier: BSD-2-Clause */
/* The two steps of COMPARE AND WRITE: the buffer holds the blocks that must be
 * there, then those that are to be there. Both halves are copied once; what is
 * compared is the host's copy. From the look to the end of the write nothing
 * else is written to the disk (turn.h).
 *
 * Source: SBC-3 5.2.
 */
#include <string.h>

#include "compare.h"
#include "slot.h"
#include "state.h"

/* Three parts of a slot's memory. */

static uint8_t *wanted(const struct request *r)
{
	return r->pattern;
}

static uint8_t *written(const struct request *r)
{
	return r->pattern + SCSI_COMPARE_BYTES_MAX;
}

static uint8_t *found(const struct request *r)
{
	return r->pattern + 2 * SCSI_COMPARE_BYTES_MAX;
}

static void step(struct request *r, enum vhd_op op, uint8_t *bytes)
{
	size_t len = (size_t)(r->io.bytes / 2);

	r->iov[0] = (struct iovec){bytes, len};
	r->sectors = len / VHD_SECTOR_BYTES;
	r->req = (struct vhd_req){
		.img = r->disk->img,
		.op = op,
		.flags = op == VHD_OP_WRITE && r->io.fua ? VHD_REQ_FUA : 0,
		.lba = r->io.lba,
		.iov = r->iov,
		.iov_count = 1,
		.user = r,
	};
}

void storvsp_compare_prepare(struct channel *ch, struct request *r)
{
	const struct scsi_task *t = &ch->task;
	size_t half = (size_t)(t->io.bytes / 2);

	r->disk = t->disk;
	r->io = t->io;
	r->at = 0; /* of two: a reset in between ends it */
	r->count = 1;
	memcpy(wanted(r), t->param, half);
	memcpy(written(r), t->param + half, half);
	step(r, VHD_OP_READ, found(r));
}

bool storvsp_compare_next(struct request *r, struct scsi_end *end)
{
	size_t half = (size_t)(r->io.bytes / 2), i = 0;

	r->at = r->count;
	if (memcmp(wanted(r), found(r), half) == 0) {
		step(r, VHD_OP_WRITE, written(r));
		return true;
	}
	while (wanted(r)[i] == found(r)[i])
		i++;
	end->verdict = SCSI_MISCOMPARE;
	end->miscompare_at = (uint32_t)i;
	return false;
}

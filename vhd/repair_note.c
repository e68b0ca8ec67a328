/* SPDX-License-Identifier: BSD-2-Clause */
/* The steps of a repair as they are planned: told and counted, and the bytes
 * that each is to change.
 */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fail.h"
#include "repair.h"

static void tell(struct repair *r, const struct vhd_repair_step *step)
{
	if (step->held_back)
		r->result->held_back++;
	else
		r->result->steps++;
	if (!r->stopped && r->opts->step && r->opts->step(r->opts->ctx, step))
		r->stopped = true;
}

void repair_step(struct repair *r, enum vhd_repair_code code, uint64_t at_bytes,
		 const char *fmt, ...)
{
	struct vhd_repair_step step = {
		.code = code,
		.at_bytes = at_bytes,
		.block = VHD_NO_BLOCK,
	};
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(step.text, sizeof(step.text), fmt, ap);
	va_end(ap);
	tell(r, &step);
}

bool repair_step_lossy(struct repair *r, const struct repair_loss *loss,
		       const char *fmt, ...)
{
	uint64_t block_bytes =
		(uint64_t)survey_block_sectors(&r->s, loss->block) *
		VHD_SECTOR_BYTES;
	struct vhd_repair_step step = {
		.code = loss->code,
		.lossy = true,
		.held_back = !r->opts->lossy,
		.at_bytes = loss->at_bytes,
		.block = loss->block,
		.lost_bytes =
			(uint64_t)loss->block * r->s.header.block_size_bytes +
			loss->in_block_bytes,
	};
	va_list ap;

	if (block_bytes > loss->in_block_bytes)
		step.lost_len_bytes = block_bytes - loss->in_block_bytes;
	va_start(ap, fmt);
	vsnprintf(step.text, sizeof(step.text), fmt, ap);
	va_end(ap);
	tell(r, &step);
	return !step.held_back;
}

static int more_room(struct repair *r, struct vhd_err *err)
{
	size_t room = r->change_room ? r->change_room * 2 : 16;
	void *more = realloc(r->changes, room * sizeof(*r->changes));

	if (!more)
		return vhd_fail_nomem(err, room * sizeof(*r->changes),
				      "a repair plan");
	r->changes = more;
	r->change_room = room;
	return 0;
}

/* Whether the file has these bytes there already. */
static int is_there(struct repair *r, uint64_t off, const void *now,
		    uint32_t len, bool *there, struct vhd_err *err)
{
	uint8_t was[VHD_SECTOR_BYTES];
	int rc;

	*there = false;
	if (off > r->s.file_bytes || len > r->s.file_bytes - off)
		return 0;
	rc = vhd_file_read(r->file, was, len, off, err);
	if (!rc)
		*there = memcmp(was, now, len) == 0;
	return rc;
}

int repair_put(struct repair *r, enum repair_stage stage, uint64_t off_bytes,
	       const void *now, uint32_t len_bytes, struct vhd_err *err)
{
	struct repair_change *c;
	bool there;
	int rc = is_there(r, off_bytes, now, len_bytes, &there, err);

	if (rc || there)
		return rc;
	if (r->change_count == r->change_room) {
		rc = more_room(r, err);
		if (rc)
			return rc;
	}
	c = &r->changes[r->change_count++];
	c->off_bytes = off_bytes;
	c->len_bytes = len_bytes;
	c->stage = stage;
	memcpy(c->now, now, len_bytes);
	r->result->written_bytes += len_bytes;
	if (off_bytes + len_bytes > r->result->new_file_bytes)
		r->result->new_file_bytes = off_bytes + len_bytes;
	return 0;
}

/* SPDX-License-Identifier: BSD-2-Clause */
/* Answers: which row of the status table each is, whether that row may be,
 * and what the guest knows from it.
 */
#include <string.h>

#include "tests/proof/sim.h"

/* The table once more, apart from storvsp/sense.c. */
static const struct row {
	const char *name;
	uint32_t status;
	uint8_t srb, scsi, key, asc, ascq;
} rows[ROW_COUNT] = {
	[ROW_GOOD] = {"GOOD", 0, 0x01, 0, 0, 0, 0},
	[ROW_NO_LUN] = {"NO_LUN", 0xC00000C0, 0x20, 0, 0, 0, 0},
	[ROW_BAD_OPCODE] = {"BAD_OPCODE", 0xC0000185, 0x86, 2, 5, 0x20, 0},
	[ROW_BAD_FIELD] = {"BAD_FIELD", 0xC0000185, 0x86, 2, 5, 0x24, 0},
	[ROW_BAD_PARAM] = {"BAD_PARAM", 0xC0000185, 0x86, 2, 5, 0x26, 0},
	[ROW_PARAM_LENGTH] = {"PARAM_LENGTH", 0xC0000185, 0x86, 2, 5, 0x1A, 0},
	[ROW_NO_SAVED_PAGES] = {"NO_SAVED_PAGES", 0xC0000185, 0x86, 2, 5, 0x39,
				0},
	[ROW_LBA_RANGE] = {"LBA_RANGE", 0xC0000185, 0x86, 2, 5, 0x21, 0},
	[ROW_WRITE_PROTECTED] = {"WRITE_PROTECTED", 0xC0000185, 0x84, 2, 7,
				 0x27, 0},
	[ROW_NO_SPACE] = {"NO_SPACE", 0xC0000185, 0x84, 2, 7, 0x27, 7},
	[ROW_READ_ERROR] = {"READ_ERROR", 0xC0000185, 0x84, 2, 3, 0x11, 0},
	[ROW_WRITE_ERROR] = {"WRITE_ERROR", 0xC0000185, 0x84, 2, 3, 0x0C, 0},
	[ROW_TARGET_FAILURE] = {"TARGET_FAILURE", 0xC0000185, 0x84, 2, 4, 0x44,
				0},
	[ROW_RESOURCES] = {"RESOURCES", 0xC0000185, 0x84, 2, 0xB, 0x55, 3},
	[ROW_TASK_SET_FULL] = {"TASK_SET_FULL", 0x80000011, 0x05, 0x28, 0, 0, 0},
	[ROW_ABORTED] = {"ABORTED", 0xC0000120, 0x82, 2, 0xB, 0, 0},
	[ROW_DONE] = {"DONE", 0, 0, 0, 0, 0, 0},
	[ROW_REFUSED] = {"REFUSED", 0, 0, 0, 0, 0, 0},
};

const char *sim_row_name(enum sim_row row)
{
	return rows[row].name;
}

static enum sim_row row_of(struct sim *s, const struct sim_req *r,
			   const struct vsc_answer *a)
{
	const struct vsc_status st = vsc_status(a);
	uint32_t status = le32_get(a->p.status);

	if (r->op_code != STORVSP_OP_EXECUTE_SRB)
		return status ? ROW_REFUSED : ROW_DONE;
	for (enum sim_row i = 0; i < ROW_DONE; i++)
		if (rows[i].status == status && rows[i].srb == st.srb &&
		    rows[i].scsi == st.scsi && rows[i].key == st.key &&
		    rows[i].asc == st.asc && rows[i].ascq == st.ascq)
			return i;
	if (st.srb == 0x06 && st.scsi == 0 && status)
		return ROW_REFUSED;
	sim_fail(s, "no such row: %08x %02x %02x %x/%02x/%02x", status, st.srb,
		 st.scsi, st.key, st.asc, st.ascq);
}

/* What may have come of faults below since it was posted. */
static uint32_t rows_of_faults(const struct sim *s, const struct sim_req *r)
{
	const struct sim_disk *d = r->disk;
	bool reading = r->op == VHD_OP_READ;
	uint32_t some = reading ? ROW(READ_ERROR) | ROW(RESOURCES)
				: ROW(WRITE_ERROR) | ROW(NO_SPACE) |
					  ROW(WRITE_PROTECTED) |
					  ROW(RESOURCES) | ROW(TARGET_FAILURE);
	uint32_t may = ROW(TASK_SET_FULL);

	if (r->verify)
		some |= ROW(READ_ERROR);
	for (enum sim_row i = 0; i < ROW_COUNT; i++)
		if (some & 1u << i && d->fault[i] >= r->posted)
			may |= 1u << i;
	if (d->may_be_poisoned)
		may |= some & ROW(TARGET_FAILURE);
	if (s->broken[r->channel])
		may |= some & (ROW(READ_ERROR) | ROW(WRITE_ERROR));
	if (r->aborts)
		may |= ROW(ABORTED);
	return may;
}

static void check_row(struct sim *s, const struct sim_req *r, enum sim_row row)
{
	uint32_t may = r->rows;

	if (r->io)
		may |= rows_of_faults(s, r);
	if (s->added_at >= r->posted) /* a disk came where there was none */
		return;
	if (!(may & 1u << row))
		sim_fail(s, "op %u, CDB %02x: %s, which it may not (%x)",
			 r->op_code, r->cdb[0], rows[row].name, may);
	if (row == ROW_GOOD && r->io && r->disk->sync_failed &&
	    r->posted > r->disk->sync_failed && !r->select &&
	    (r->op == VHD_OP_FLUSH || r->fua || r->cache_off))
		sim_fail(s, "called safe after a failed sync");
}

static void check_data(struct sim *s, struct sim_req *r)
{
	static uint8_t bytes[SIM_REQ_SECTORS * 512];

	sim_buffer(s, r, bytes, r->sectors * 512, false);
	for (uint32_t i = 0; i < r->sectors; i++)
		if (!simmodel_read(r->disk->model, r->lba + i, bytes + i * 512,
				   r->posted, s->now)) {
			simmodel_tell(r->disk->model, r->lba + i,
				      bytes + i * 512);
			sim_fail(s, "a read of sector %u brings what was never "
				 "there, or not any more", r->lba + i);
		}
	sim_mix(s, bytes, (size_t)r->sectors * 512);
}

static void learn_cache(struct sim *s, const struct sim_req *r, bool good)
{
	struct sim_disk *d = r->disk;

	d->selecting = false;
	d->cache = !good ? CACHE_UNKNOWN : r->wce ? CACHE_ON : CACHE_OFF;
	/* switching it off writes it out */
	if (good && !r->wce && r->cache_was == CACHE_ON)
		simmodel_flushed(d->model, r->posted, s->now);
}

static void learn(struct sim *s, struct sim_req *r, bool good)
{
	struct simmodel *m = r->disk->model;

	if (r->select)
		learn_cache(s, r, good);
	else if (r->op == VHD_OP_READ && good)
		check_data(s, r);
	else if (r->op == VHD_OP_FLUSH && good)
		simmodel_flushed(m, r->posted, s->now);
	else if (r->op == VHD_OP_WRITE || r->op == VHD_OP_ZERO)
		simmodel_written(m, r->lba, r->sectors, r->number,
				 good && !r->unsure, r->fua || r->cache_off,
				 s->now);
}

static uint32_t be32_at(const uint8_t *p)
{
	return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 |
	       (uint32_t)p[2] << 8 | p[3];
}

static const struct sim_disk *disk_at(const struct sim *s,
				      const struct sim_req *r)
{
	for (unsigned i = 0; i < s->disks; i++) {
		const struct sim_disk *d = &s->disk[i];

		if (d->present && d->path == r->path &&
		    d->target == r->target && d->lun == r->lun)
			return d;
	}
	return NULL;
}

static unsigned disks_beside(const struct sim *s, const struct sim_req *r)
{
	unsigned n = 0;

	for (unsigned i = 0; i < s->disks; i++)
		n += s->disk[i].present && s->disk[i].path == r->path &&
		     s->disk[i].target == r->target;
	return n;
}

/* Facts that a guest builds on. */
static void check_facts(struct sim *s, const struct sim_req *r,
			const uint8_t *b, uint32_t len)
{
	const struct sim_disk *d = disk_at(s, r);
	uint64_t want = d ? d->size / 512 - 1 : 0;
	bool right = true;

	if (s->added_at >= r->posted)
		return;
	if (r->cdb[0] == 0x12 && !r->cdb[1] && len)
		right = b[0] == (d ? 0x00 : 0x7F);
	else if (r->cdb[0] == 0x25 && len >= 8)
		right = be32_at(b) == want && be32_at(b + 4) == 512;
	else if (r->cdb[0] == 0x9E && r->cdb[1] == 0x10 && len >= 12)
		right = be32_at(b + 4) == want && be32_at(b + 8) == 512;
	else if (r->cdb[0] == 0xA0 && len >= 4 && r->cdb[2] != 1)
		right = be32_at(b) == 8 * disks_beside(s, r);
	else if (r->cdb[0] == 0x1A && len >= 4)
		right = (b[2] & 0x80) == (d->lun_readonly ? 0x80 : 0);
	if (!right)
		sim_fail(s, "CDB %02x: a wrong fact", r->cdb[0]);
}

static void good(struct sim *s, struct sim_req *r, const struct vsc_answer *a)
{
	uint32_t moved = le32_get(a->p.u.request.transfer_length);
	static uint8_t bytes[SIM_REQ_PAGES * HV_PAGE_BYTES];

	if (r->bytes != UINT32_MAX && moved != r->bytes)
		sim_fail(s, "%u bytes moved, not %u", moved, r->bytes);
	if (r->bytes != UINT32_MAX || r->op_code != STORVSP_OP_EXECUTE_SRB)
		return;
	if (moved > r->buffer_bytes)
		sim_fail(s, "%u bytes into a buffer of %u", moved,
			 r->buffer_bytes);
	sim_buffer(s, r, bytes, moved, false);
	sim_mix(s, bytes, moved);
	check_facts(s, r, bytes, moved);
}

/* On one channel all that a reset names has been answered before it. */
static void check_reset(struct sim *s, const struct sim_req *reset)
{
	for (unsigned i = 0; i < SIM_REQS; i++) {
		const struct sim_req *r = &s->req[i];
		const struct sim_disk *d = r->disk;

		if (!r->busy || !r->io || r->channel != reset->channel ||
		    r->posted > reset->posted)
			continue;
		if (reset->op_code == STORVSP_OP_RESET_ADAPTER ||
		    (d->path == reset->path &&
		     (reset->op_code == STORVSP_OP_RESET_BUS ||
		      (d->target == reset->target && d->lun == reset->lun))))
			sim_fail(s, "a reset ends before what it ends");
	}
}

bool sim_answer(struct sim *s, unsigned channel)
{
	struct vsc_answer a;
	struct sim_req *r;
	enum sim_row row;

	if (!vsc_try_recv(s->channel[channel], &a))
		return false;
	s->now++;
	r = &s->req[a.id % SIM_REQS];
	if (!r->busy || r->channel != channel)
		sim_fail(s, "an answer to nothing");
	row = row_of(s, r, &a);
	sim_mix64(s, a.id << 8 | row);
	sim_mix(s, &a.p, sizeof(a.p));
	if (s->trace)
		sim_say(s, "  answer %llu: %s", (unsigned long long)a.id,
			rows[row].name);
	check_row(s, r, row);
	if (r->reset)
		check_reset(s, r);
	if (row == ROW_GOOD)
		good(s, r, &a);
	/* one that found no room has done nothing */
	if (r->io && (r->select || row != ROW_TASK_SET_FULL))
		learn(s, r, row == ROW_GOOD);
	r->busy = false;
	sim_sums.row[row]++;
	sim_sums.answers++;
	return true;
}

void sim_forget(struct sim *s, unsigned channel)
{
	for (unsigned i = 0; i < SIM_REQS; i++) {
		struct sim_req *r = &s->req[i];

		if (!r->busy || r->channel != channel)
			continue;
		s->now++;
		if (r->io)
			learn(s, r, false);
		r->busy = false;
	}
}

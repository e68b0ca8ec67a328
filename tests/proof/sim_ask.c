/* SPDX-License-Identifier: BSD-2-Clause */
/* Questions that reach the disk: reads, writes, flushes, zeros, the write
 * cache; and what the model has to know of each.
 */
#include "tests/proof/sim_ask.h"

/* ------------------------------------------------------ reads and writes -- */

void sim_put_transfer(struct ask *a, unsigned form, bool write, uint32_t lba,
			 uint32_t n, bool fua)
{
	static const uint8_t codes[4] = {0x08, 0x28, 0xA8, 0x88};
	uint8_t *c = a->cmd.cdb;

	memset(c, 0, sizeof(a->cmd.cdb));
	c[0] = (uint8_t)(codes[form] + (write ? 2 : 0));
	if (form == 0) {
		put32(c, lba);
		c[0] = write ? 0x0A : 0x08;
		c[4] = (uint8_t)n;
		return;
	}
	c[1] = fua ? 0x08 : 0;
	if (form == 3)
		put32(c + 6, lba);
	else
		put32(c + 2, lba);
	if (form == 1)
		put16(c + 7, n);
	else
		put32(c + (form == 2 ? 6 : 10), n);
}

void sim_transfer(struct sim *s, struct ask *a, bool write)
{
	uint32_t size = (uint32_t)(a->d->size / 512);
	uint32_t n = 1 + sim_below(s, sim_below(s, 3) ? 8 : SIM_REQ_SECTORS);
	struct sim_req *r = a->r;
	unsigned form = sim_below(s, 4);

	if (n > size)
		n = size;
	r->disk = a->d;
	r->io = true;
	r->op = write ? VHD_OP_WRITE : VHD_OP_READ;
	r->sectors = n;
	r->lba = sim_below(s, size - n + 1);
	if (sim_below(s, 3) == 0) /* a few sectors are favourites */
		r->lba = sim_below(s, 8) < size - n ? sim_below(s, 8) : 0;
	if (r->lba + n > size)
		r->lba = size - n;
	r->fua = write && form && sim_below(s, 6) == 0;
	r->bytes = n * 512;
	sim_put_transfer(a, form, write, r->lba, n, r->fua);
	buffer(a, write ? STORVSP_DATA_OUT : STORVSP_DATA_IN, n * 512);
}

static uint32_t oldest_read(const struct sim *s)
{
	uint32_t oldest = SIMMODEL_NEVER;

	for (unsigned i = 0; i < SIM_REQS; i++)
		if (s->req[i].busy && s->req[i].posted < oldest)
			oldest = s->req[i].posted;
	return oldest;
}

static void flush(struct sim *s, struct ask *a)
{
	static const uint8_t codes[] = {0x35, 0x91, 0x1B};
	struct sim_req *r = a->r;

	*a->cmd.cdb = codes[sim_below(s, 3)];
	a->cmd.data_in = STORVSP_DATA_NONE;
	r->op = VHD_OP_FLUSH;
	r->bytes = 0;
	if (a->d->lun_readonly)
		return;
	r->disk = a->d;
	r->io = true;
}

void sim_ask_read(struct sim *s, struct ask *a)
{
	static uint8_t junk[SIM_REQ_SECTORS * 512];

	sim_transfer(s, a, false);
	memset(junk, (int)sim_below(s, 256), (size_t)a->r->sectors * 512);
	sim_buffer(s, a->r, junk, a->r->sectors * 512, true);
}

/* Whether the disk may be changed, and the model can follow. Where too many
 * contents are possible a flush is asked for instead, so that some settle.
 */
static bool may_write(struct sim *s, struct ask *a)
{
	struct sim_req *r = a->r;

	if (a->d->lun_readonly || a->d->image_readonly) {
		r->rows = ROW(WRITE_PROTECTED);
		r->sectors = 0;
		return false;
	}
	if (simmodel_room(a->d->model, r->lba, r->sectors, oldest_read(s)))
		return true;
	a->cmd = (struct vsc_cmd){.path = a->cmd.path,
				  .target = a->cmd.target,
				  .lun = a->cmd.lun};
	a->ranges = 0;
	r->sectors = 0;
	r->fua = r->cache_off = r->verify = r->unsure = false;
	flush(s, a);
	return false;
}

void sim_ask_write(struct sim *s, struct ask *a)
{
	static uint8_t bytes[SIM_REQ_SECTORS * 512];
	struct sim_req *r = a->r;
	struct simmodel *m = a->d->model;

	sim_transfer(s, a, true);
	if (sim_below(s, 10) == 0) { /* WRITE AND VERIFY */
		r->fua = r->verify = true;
		if (*a->cmd.cdb == 0x0A)
			sim_put_transfer(a, 3, true, r->lba, r->sectors, false);
		a->cmd.cdb[0] += 4;
		a->cmd.cdb[1] = 0;
	}
	if (!may_write(s, a))
		return;
	r->number = m->next;
	r->cache_off = a->d->cache == CACHE_OFF;
	for (uint32_t i = 0; i < r->sectors; i++)
		simmodel_fill(m, r->lba + i, r->number, bytes + i * 512);
	sim_buffer(s, r, bytes, r->sectors * 512, true);
}

/* ----------------------------------------------------- zeros and caches -- */

static bool unmaps(const struct sim_disk *d)
{
	return d->format == VHD_FORMAT_DYNAMIC || d->format == VHD_FORMAT_DIFF;
}

static void zeros(struct sim *s, struct ask *a)
{
	struct sim_req *r = a->r;
	uint32_t size = (uint32_t)(a->d->size / 512);
	uint32_t n = 1 + sim_below(s, 40);

	r->disk = a->d;
	r->io = true;
	r->op = VHD_OP_ZERO;
	r->sectors = n < size ? n : size;
	r->lba = sim_below(s, size - r->sectors + 1);
	r->number = a->d->model->next | SIMMODEL_ZEROS;
}

/* One range, in up to three extents. */
void sim_ask_unmap(struct sim *s, struct ask *a)
{
	uint8_t list[8 + 3 * 16] = {0};
	struct sim_req *r = a->r;
	uint32_t at, left, count = 0;

	zeros(s, a);
	at = r->lba;
	left = r->sectors;
	while (left) {
		uint32_t n = count < 2 ? 1 + sim_below(s, left) : left;

		put32(list + 8 + 16 * count + 4, at);
		put32(list + 8 + 16 * count++ + 8, n);
		at += n;
		left -= n;
	}
	put16(list, 6 + 16 * count);
	put16(list + 2, 16 * count);
	cdb(a, 0x42, 0, 0);
	put16(a->cmd.cdb + 7, 8 + 16 * count);
	buffer(a, STORVSP_DATA_OUT, 8 + 16 * count);
	r->bytes = 8 + 16 * count;
	r->unsure = a->d->below > 0; /* the parent's may stay as they are */
	if (unmaps(a->d)) {
		sim_buffer(s, r, list, sizeof(list), true);
		(void)may_write(s, a);
		return;
	}
	r->rows = ROW(BAD_OPCODE);
	r->io = false;
	r->sectors = 0;
}

void sim_ask_same(struct sim *s, struct ask *a)
{
	static uint8_t sector[512];
	struct sim_req *r = a->r;
	uint8_t flag = unmaps(a->d) && sim_below(s, 2) ? 0x08 : 0;

	zeros(s, a);
	r->cache_off = a->d->cache == CACHE_OFF;
	buffer(a, STORVSP_DATA_OUT, 512);
	sim_buffer(s, r, sector, 512, true);
	if (sim_below(s, 2)) {
		cdb(a, 0x41, flag, 0);
		put32(a->cmd.cdb + 2, r->lba);
		put16(a->cmd.cdb + 7, r->sectors);
	} else {
		if (sim_below(s, 2)) {
			flag |= 0x01; /* no data */
			buffer(a, STORVSP_DATA_NONE, 0);
		}
		cdb(a, 0x93, flag, 0);
		put32(a->cmd.cdb + 6, r->lba);
		put32(a->cmd.cdb + 10, r->sectors);
	}
	r->bytes = a->cmd.bytes;
	(void)may_write(s, a);
}

void sim_ask_verify(struct sim *s, struct ask *a)
{
	static const uint8_t codes[] = {0x2F, 0xAF, 0x8F};
	uint32_t form = sim_below(s, 3);

	zeros(s, a);
	a->r->op = VHD_OP_READ;
	sim_put_transfer(a, form + 1, false, a->r->lba, a->r->sectors, false);
	*a->cmd.cdb = codes[form];
	a->cmd.data_in = STORVSP_DATA_NONE;
	a->r->sectors = 0;
	a->r->bytes = 0;
}

/* MODE SELECT: the write cache on or off, one at a time. */
void sim_ask_cache(struct sim *s, struct ask *a)
{
	uint8_t list[4 + 20] = {[4] = 0x08, [5] = 18};
	struct sim_req *r = a->r;
	struct sim_disk *d = a->d;

	if (d->lun_readonly || d->selecting) {
		flush(s, a);
		return;
	}
	r->wce = sim_below(s, 3) != 0;
	list[6] = r->wce ? 0x04 : 0;
	cdb(a, 0x15, 0x10, 0);
	a->cmd.cdb[4] = sizeof(list);
	buffer(a, STORVSP_DATA_OUT, sizeof(list));
	sim_buffer(s, r, list, sizeof(list), true);
	r->disk = d;
	r->io = r->select = true;
	r->op = VHD_OP_FLUSH;
	r->bytes = 0;
	r->cache_was = d->cache;
}

/* Where the disk has space; reads bitmaps. */
void sim_ask_status(struct sim *s, struct ask *a)
{
	zeros(s, a);
	a->r->op = VHD_OP_READ;
	a->r->sectors = 0;
	cdb(a, 0x9E, 0x12, 0);
	put32(a->cmd.cdb + 6, a->r->lba);
	put32(a->cmd.cdb + 10, 512);
	buffer(a, STORVSP_DATA_IN, 512);
}

void sim_ask_flush(struct sim *s, struct ask *a)
{
	flush(s, a);
}

/* SPDX-License-Identifier: BSD-2-Clause */
/* INT 13h: the functions of the first PCs, by cylinder, head and sector. A disk
 * has them as far as that goes.
 * Source: R. Brown's interrupt list.
 */
#include "int13_int.h"

uint32_t int13_cylinders(const struct hv_disk *disk)
{
	uint64_t n = disk->blocks / (HEADS * TRACK_SECTORS);

	return n == 0 ? 1 : n > CYLINDERS_MAX ? CYLINDERS_MAX : (uint32_t)n;
}

/* What CX and DH say, or false. */
static bool chs(const struct hv_int13_regs *r, uint64_t *lba)
{
	uint32_t cylinder = high(r->cx) | (uint32_t)(low(r->cx) & 0xc0) << 2;
	uint32_t head = high(r->dx), sector = low(r->cx) & 0x3f;

	if (sector == 0 || head >= HEADS)
		return false;
	*lba = ((uint64_t)cylinder * HEADS + head) * TRACK_SECTORS + sector - 1;
	return true;
}

static enum status chs_move(struct hv_int13 *h, const struct drive *d,
			    struct hv_int13_regs *r, enum move way)
{
	uint32_t count = low(r->ax), moved = 0;
	enum status st = ST_PARAMETER;
	uint64_t lba;

	if (count > 0 && chs(r, &lba))
		st = int13_move(h, d->disk, way, lba, count, linear(r->es, r->bx),
			  &moved);
	set_low(&r->ax, (uint8_t)moved);
	return st;
}

static enum status chs_read(struct hv_int13 *h, const struct drive *d,
			    struct hv_int13_regs *r)
{
	return chs_move(h, d, r, MOVE_READ);
}

static enum status chs_write(struct hv_int13 *h, const struct drive *d,
			     struct hv_int13_regs *r)
{
	return chs_move(h, d, r, MOVE_WRITE);
}

static enum status chs_verify(struct hv_int13 *h, const struct drive *d,
			      struct hv_int13_regs *r)
{
	uint64_t lba;

	(void)h;
	if (low(r->ax) == 0 || !chs(r, &lba))
		return ST_PARAMETER;
	return int13_on_disk(d->disk, lba, low(r->ax)) ? ST_OK : ST_NOT_FOUND;
}

static enum status chs_seek(struct hv_int13 *h, const struct drive *d,
			    struct hv_int13_regs *r)
{
	uint64_t lba;

	(void)h;
	if (!chs(r, &lba))
		return ST_PARAMETER;
	return int13_on_disk(d->disk, lba, 1) ? ST_OK : ST_NOT_FOUND;
}

static enum status geometry(struct hv_int13 *h, const struct drive *d,
			    struct hv_int13_regs *r)
{
	uint32_t last = int13_cylinders(d->disk) - 1;
	uint8_t count = 0;

	(void)hv_gpa_read(h->mem, BDA_COUNT, &count, 1);
	set_low(&r->ax, 0);
	set_high(&r->cx, (uint8_t)last);
	set_low(&r->cx, (uint8_t)((last >> 2 & 0xc0) | TRACK_SECTORS));
	set_high(&r->dx, HEADS - 1);
	set_low(&r->dx, count);
	return ST_OK;
}

static enum status type(struct hv_int13 *h, const struct drive *d,
			struct hv_int13_regs *r)
{
	uint32_t n = d->disk->blocks > UINT32_MAX ? UINT32_MAX
						  : (uint32_t)d->disk->blocks;

	(void)h;
	set_high(&r->ax, 3); /* a hard disk */
	r->cx = (uint16_t)(n >> 16);
	r->dx = (uint16_t)n;
	return ST_OK;
}

static enum status last_status(struct hv_int13 *h, const struct drive *d,
			       struct hv_int13_regs *r)
{
	uint8_t status = 0;

	(void)d;
	(void)r;
	(void)hv_gpa_read(h->mem, BDA_STATUS, &status, 1);
	return status;
}

static enum status nothing(struct hv_int13 *h, const struct drive *d,
			   struct hv_int13_regs *r)
{
	(void)h;
	(void)d;
	(void)r;
	return ST_OK;
}

const struct function int13_chs[] = {
	{0x00, true, nothing}, /* reset */
	{0x01, true, last_status},
	{0x02, false, chs_read},
	{0x03, false, chs_write},
	{0x04, false, chs_verify},
	{0x08, false, geometry},
	{0x09, false, nothing}, /* set up a table of types */
	{0x0c, false, chs_seek},
	{0x0d, true, nothing}, /* reset, too */
	{0x10, true, nothing}, /* ready? */
	{0x11, true, nothing}, /* recalibrate */
	{0x14, false, nothing}, /* diagnose */
	{0x15, false, type},
	{0},
};

/* SPDX-License-Identifier: BSD-2-Clause */
/* INT 13h: the extensions, by block number, with a packet in memory.
 * Source: Phoenix BIOS Enhanced Disk Drive Specification 1.1 and 3.0 (T13).
 */
#include <assert.h>
#include <string.h>

#include "int13_int.h"
#include "vhd/endian.h"

enum {
	EDD_VERSION = 0x30,
	EDD_EXTENDED = 1u << 0, /* 42h to 44h, 47h, 48h */
	EDD_ENHANCED = 1u << 2, /* 48h tells more, 4Eh */
};

struct packet_wire {
	uint8_t bytes; /* 16, or 24 with `flat` */
	uint8_t reserved;
	le16 count;
	le16 offset, segment; /* of memory; both ones: see `flat` */
	le64 lba;
};
static_assert(sizeof(struct packet_wire) == 16, "disk address packet");

struct packet {
	uint64_t at;  /* of itself */
	uint16_t count;
	uint64_t gpa; /* of the data */
	uint64_t lba;
};

static enum status packet_fetch(struct hv_int13 *h,
				const struct hv_int13_regs *r,
				struct packet *out)
{
	struct packet_wire w;
	le64 flat;
	uint64_t at = linear(r->ds, r->si);

	if (hv_gpa_read(h->mem, at, &w, sizeof(w)) < 0 || w.bytes < sizeof(w))
		return ST_PARAMETER;
	out->at = at;
	out->count = le16_get(w.count);
	out->lba = le64_get(w.lba);
	out->gpa = linear(le16_get(w.segment), le16_get(w.offset));
	if (le16_get(w.segment) != 0xffff || le16_get(w.offset) != 0xffff ||
	    w.bytes < sizeof(w) + sizeof(flat))
		return ST_OK;
	if (hv_gpa_read(h->mem, at + sizeof(w), &flat, sizeof(flat)) < 0)
		return ST_PARAMETER;
	out->gpa = le64_get(flat);
	return ST_OK;
}

static enum status edd_check(struct hv_int13 *h, const struct drive *d,
			     struct hv_int13_regs *r)
{
	(void)h;
	(void)d;
	if (r->bx != 0x55aa)
		return ST_PARAMETER;
	r->bx = 0xaa55;
	r->cx = EDD_EXTENDED | EDD_ENHANCED;
	set_high(&r->ax, EDD_VERSION);
	return ST_OK;
}

static enum status edd_move(struct hv_int13 *h, const struct drive *d,
			    const struct hv_int13_regs *r, enum move way)
{
	struct packet p;
	uint32_t moved = 0;
	enum status st = packet_fetch(h, r, &p);
	le16 count;

	if (st)
		return st;
	st = int13_move(h, d->disk, way, p.lba, p.count, p.gpa, &moved);
	count = le16_put((uint16_t)moved);
	(void)hv_gpa_write(h->mem, p.at + offsetof(struct packet_wire, count),
			   &count, sizeof(count));
	return st;
}

static enum status edd_read(struct hv_int13 *h, const struct drive *d,
			    struct hv_int13_regs *r)
{
	return edd_move(h, d, r, MOVE_READ);
}

static enum status edd_write(struct hv_int13 *h, const struct drive *d,
			     struct hv_int13_regs *r)
{
	if (low(r->ax) > 1) /* with a verify, which nobody promised */
		return ST_PARAMETER;
	return edd_move(h, d, r, MOVE_WRITE);
}

static enum status edd_verify(struct hv_int13 *h, const struct drive *d,
			      struct hv_int13_regs *r)
{
	struct packet p;
	enum status st = packet_fetch(h, r, &p);

	if (st)
		return st;
	return int13_on_disk(d->disk, p.lba, p.count) ? ST_OK : ST_NOT_FOUND;
}

struct parameters_wire {
	le16 bytes;
	le16 flags;
	le32 cylinders, heads, track_sectors;
	le64 blocks;
	le16 block_bytes;
	le32 dpte; /* of 1.1 on: none */
};
#define PARAMETERS_10 26u
#define PARAMETERS_11 30u

enum {
	FLAG_ANY_BOUNDARY = 1u << 0,
	FLAG_GEOMETRY = 1u << 1,
	FLAG_REMOVABLE = 1u << 2,
};

static void parameters_fill(const struct hv_disk *disk,
			    struct parameters_wire *p)
{
	memset(p, 0, sizeof(*p));
	p->blocks = le64_put(disk->blocks);
	p->block_bytes = le16_put((uint16_t)disk->block_bytes);
	p->dpte = le32_put(UINT32_MAX);
	if (disk->dvd) {
		p->flags = le16_put(FLAG_ANY_BOUNDARY | FLAG_REMOVABLE);
		p->cylinders = p->heads = p->track_sectors =
			le32_put(UINT32_MAX);
		return;
	}
	p->flags = le16_put(FLAG_ANY_BOUNDARY | FLAG_GEOMETRY);
	p->cylinders = le32_put(int13_cylinders(disk));
	p->heads = le32_put(HEADS);
	p->track_sectors = le32_put(TRACK_SECTORS);
}

static enum status edd_parameters(struct hv_int13 *h, const struct drive *d,
				  struct hv_int13_regs *r)
{
	static_assert(sizeof(struct parameters_wire) == PARAMETERS_11,
		      "drive parameters");
	uint64_t at = linear(r->ds, r->si);
	struct parameters_wire p;
	le16 room;
	size_t n;

	if (hv_gpa_read(h->mem, at, &room, sizeof(room)) < 0 ||
	    le16_get(room) < PARAMETERS_10)
		return ST_PARAMETER;
	n = le16_get(room) < PARAMETERS_11 ? PARAMETERS_10 : PARAMETERS_11;
	parameters_fill(d->disk, &p);
	p.bytes = le16_put((uint16_t)n);
	return hv_gpa_write(h->mem, at, &p, n) < 0 ? ST_PARAMETER : ST_OK;
}

/* DMA and prefetch as they are; PIO mode 0: all that has no effect here. */
static enum status edd_configure(struct hv_int13 *h, const struct drive *d,
				 struct hv_int13_regs *r)
{
	uint8_t what = low(r->ax);

	(void)h;
	(void)d;
	return what == 1 || what == 3 || what == 4 || what == 6 ? ST_OK
								: ST_PARAMETER;
}

const struct function int13_edd[] = {
	{0x41, true, edd_check},
	{0x42, true, edd_read},
	{0x43, true, edd_write},
	{0x44, true, edd_verify},
	{0x47, true, edd_verify}, /* seek */
	{0x48, true, edd_parameters},
	{0x4e, true, edd_configure},
	{0},
};

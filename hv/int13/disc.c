/* SPDX-License-Identifier: BSD-2-Clause */
/* INT 13h: a guest that starts from a disc, and what it is told of it.
 * Source: "El Torito" Bootable CD-ROM Format Specification 1.0.
 */
#include <assert.h>
#include <errno.h>

#include "int13_int.h"
#include "vhd/endian.h"

/* Conventional memory that a boot image may be loaded to. */
#define LOAD_FIRST 0x500u
#define LOAD_END   0x9fc00u

/* What the guest was started from. */
struct specification_wire {
	uint8_t bytes;
	uint8_t media; /* 0: emulates no drive */
	uint8_t drive;
	uint8_t controller;
	le32 lba;
	le16 device;
	le16 buffer;
	le16 segment;
	le16 sectors;
	uint8_t chs[3];
};
static_assert(sizeof(struct specification_wire) == 19, "specification packet");

static enum status disc_status(struct hv_int13 *h, const struct drive *d,
			       struct hv_int13_regs *r)
{
	struct specification_wire s = {.bytes = sizeof(s)};

	if (low(r->ax) > 1 || !h->from_disc || d->number != h->boot_drive)
		return ST_PARAMETER;
	s.drive = h->boot_drive;
	s.lba = le32_put(h->boot.lba);
	s.segment = le16_put(h->boot.segment);
	s.sectors = le16_put(h->boot.sectors);
	return hv_gpa_write(h->mem, linear(r->ds, r->si), &s, sizeof(s)) < 0
		       ? ST_PARAMETER
		       : ST_OK;
}

/* The image's last block may go beyond it: by way of a buffer. */
static int load(struct hv_int13 *h, const struct hv_disk *disc,
		const struct hv_eltorito *e)
{
	uint64_t gpa = linear(e->segment, 0);
	uint32_t left = e->sectors * 512u, lba = e->lba;
	uint8_t buf[2048];
	int ret = 0;

	if (gpa < LOAD_FIRST || gpa + left > LOAD_END)
		return -EINVAL;
	while (left > 0 && ret == 0) {
		const struct iovec iov = {buf, sizeof(buf)};
		uint32_t n = left < sizeof(buf) ? left : (uint32_t)sizeof(buf);

		ret = disc->ops->read(disc->arg, lba++, &iov, 1);
		if (ret == 0)
			ret = hv_gpa_write(h->mem, gpa, buf, n);
		if (ret == 0)
			int13_count_bytes(h, MOVE_READ, n);
		gpa += n;
		left -= n;
	}
	return ret;
}

enum hv_int13_result int13_start_disc(struct hv_int13 *h,
				      struct hv_int13_regs *r)
{
	for (unsigned i = 0; i < h->disks.dvds; i++) {
		const struct hv_disk *disc = h->disks.dvd[i];
		struct hv_eltorito e;

		if (hv_eltorito_find(disc, &e) < 0 || load(h, disc, &e) < 0)
			continue;
		h->from_disc = true;
		h->boot = e;
		h->boot_drive = (uint8_t)(HV_INT13_DVD_FIRST + i);
		set_low(&r->dx, h->boot_drive);
		r->ax = (uint16_t)((e.segment & 0xfff) << 4);
		r->bx = e.segment & 0xf000;
		return HV_INT13_OK;
	}
	return HV_INT13_ERROR;
}

const struct function int13_disc[] = {
	{0x4b, true, disc_status},
	{0},
};

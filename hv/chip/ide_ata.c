/* SPDX-License-Identifier: BSD-2-Clause */
/* What a hard disk does: a table of commands. Those that move data differ in
 * how they address, which way, by what protocol; the rest are a function each.
 * Source: ATA/ATAPI-6 chapter 8; chapter 9 for the protocols.
 */
#include "ide_int.h"

#include <errno.h>
#include <string.h>

#define LBA28_MAX (1u << 28)

enum {
	EXT = 0x01,   /* addresses of 48 bits, counts of 16 */
	DMA = 0x02,
	WRITE = 0x04,
	MULTI = 0x08, /* several sectors a piece */
	FUA = 0x10,
	PACKETS = 0x20, /* a DVD drive knows it, too ... */
	DVD_ONLY = 0x40, /* ... and a disk does not */
};

struct command {
	void (*run)(struct ide_channel *ch, struct ide_drive *d,
		    const struct command *c);
	uint8_t flags;
};

/* ------------------------------------------------------------ addresses -- */

struct address {
	uint64_t lba;
	uint32_t count;
};

static uint64_t lba_of(const struct ide_taskfile *t)
{
	return t->lba[0] | (uint32_t)t->lba[1] << 8 | (uint32_t)t->lba[2] << 16;
}

/* Sector, cylinder and head of the taskfile by the drive's idea of them. */
static int64_t from_cylinders(const struct ide_channel *ch,
			      const struct ide_drive *d)
{
	const struct ide_taskfile *t = &d->now;
	uint32_t cylinder = t->lba[1] | (uint32_t)t->lba[2] << 8;
	uint32_t head = ch->device & 0x0f;

	if (t->lba[0] == 0 || t->lba[0] > d->sectors || head >= d->heads)
		return -1;
	return ((int64_t)cylinder * d->heads + head) * d->sectors +
	       t->lba[0] - 1;
}

/* False: no such place on the medium. */
static bool address(const struct ide_channel *ch, const struct ide_drive *d,
		    bool ext, struct address *out)
{
	int64_t lba;

	if (ext) {
		out->count = d->now.count | (uint32_t)d->before.count << 8;
		out->count = out->count ? out->count : 0x10000;
		lba = (int64_t)(lba_of(&d->now) | lba_of(&d->before) << 24);
	} else {
		out->count = d->now.count ? d->now.count : 0x100;
		lba = ch->device & IDE_DEVICE_LBA
			      ? (int64_t)(lba_of(&d->now) |
					  (uint32_t)(ch->device & 0x0f) << 24)
			      : from_cylinders(ch, d);
	}
	if (lba < 0 || (uint64_t)lba >= d->disk->blocks ||
	    out->count > d->disk->blocks - (uint64_t)lba)
		return false;
	out->lba = (uint64_t)lba;
	return true;
}

/* Tell the place of an error, in the form in which it was given. */
static void tell_place(struct ide_channel *ch, struct ide_drive *d,
		       uint64_t lba)
{
	uint32_t low = (uint32_t)lba, track;

	if (!(ch->device & IDE_DEVICE_LBA)) {
		track = low / d->sectors;
		d->now.lba[0] = (uint8_t)(low % d->sectors + 1);
		d->now.lba[1] = (uint8_t)(track / d->heads);
		d->now.lba[2] = (uint8_t)(track / d->heads >> 8);
		ch->device = (uint8_t)((ch->device & 0xf0) | track % d->heads);
		return;
	}
	for (unsigned i = 0; i < 3; i++) {
		d->now.lba[i] = (uint8_t)(lba >> 8 * i);
		d->before.lba[i] = (uint8_t)(lba >> (24 + 8 * i));
	}
	if (lba < LBA28_MAX)
		ch->device = (uint8_t)((ch->device & 0xf0) | low >> 24);
}

/* ----------------------------------------------------------------- data -- */

/* A write that is refused (the disk is read-only, or another driver's) is
 * aborted, as is one that fails: a disk has no other word for it.
 */
static void disk_failed(struct ide_channel *ch, struct ide_drive *d,
			enum ide_phase how, uint64_t lba, int rc)
{
	bool write = how == IDE_OUT || how == IDE_DMA_OUT;
	bool there = rc != -ENOMEDIUM && rc != -ECANCELED;

	tell_place(ch, d, lba);
	ide_abort(ch, d, !write && there ? IDE_ERR_UNC : IDE_ERR_ABRT);
}

static void disk_piece(struct ide_drive *d, uint32_t bytes)
{
	(void)d;
	(void)bytes;
}

/* The guest took the last piece by itself; all else it is told of. */
static void disk_done(struct ide_channel *ch, struct ide_drive *d,
		      enum ide_phase how)
{
	if (how == IDE_IN) {
		d->status = IDE_READY;
		return;
	}
	d->now.count = 0;
	ide_complete(ch, d);
}

const struct ide_type ide_disk = {
	.signature = 0x0000,
	.reset_status = IDE_READY,
	.piece = disk_piece,
	.done = disk_done,
	.failed = disk_failed,
};

static void transfer(struct ide_channel *ch, struct ide_drive *d,
		     const struct command *c)
{
	bool write = c->flags & WRITE;
	struct ide_transfer t = {.drive = d, .piece = IDE_SECTOR};
	struct address a;

	if (((c->flags & MULTI) && d->multiple == 0) ||
	    (write && d->disk->read_only)) {
		ide_abort(ch, d, IDE_ERR_ABRT);
		return;
	}
	if (!address(ch, d, c->flags & EXT, &a)) {
		ide_abort(ch, d, IDE_ERR_IDNF);
		return;
	}
	if (c->flags & MULTI)
		t.piece = d->multiple * IDE_SECTOR;
	t.lba = a.lba;
	t.left = a.count;
	t.flush = write && ((c->flags & FUA) || d->write_through);
	if (c->flags & DMA)
		t.phase = write ? IDE_DMA_OUT : IDE_DMA_IN;
	else
		t.phase = write ? IDE_OUT : IDE_IN;
	ide_begin(ch, &t);
}

/* Read all, and give none of it to the guest. */
static void verify(struct ide_channel *ch, struct ide_drive *d,
		   const struct command *c)
{
	struct ide_transfer *t = &ch->transfer;
	struct address a;
	int rc = 0;

	if (!address(ch, d, c->flags & EXT, &a)) {
		ide_abort(ch, d, IDE_ERR_IDNF);
		return;
	}
	ide_take_over(ch, d);
	*t = (struct ide_transfer){.drive = d, .lba = a.lba, .left = a.count};
	while (t->left > 0 && rc == 0)
		rc = ide_fill(ch);
	if (rc < 0)
		ide_fail(ch, rc);
	else
		ide_complete(ch, d);
}

/* ------------------------------------------------------------ the others -- */

static void nothing(struct ide_channel *ch, struct ide_drive *d,
		    const struct command *c)
{
	(void)c;
	ide_complete(ch, d);
}

static void flush(struct ide_channel *ch, struct ide_drive *d,
		  const struct command *c)
{
	(void)c;
	if (d->disk->ops->flush(d->disk->arg) < 0)
		ide_abort(ch, d, IDE_ERR_ABRT);
	else
		ide_complete(ch, d);
}

static void identify(struct ide_channel *ch, struct ide_drive *d,
		     const struct command *c)
{
	const struct ide_transfer t = {.phase = IDE_IN,
				       .drive = d,
				       .end = IDE_SECTOR,
				       .piece = IDE_SECTOR};

	(void)c;
	ch->packet_piece = 0; /* no packet's */
	if (d->disk->dvd)
		ide_identify_dvd(d, ch->buffer);
	else
		ide_identify_disk(ch, d, ch->buffer);
	ide_begin(ch, &t);
}

static void set_multiple(struct ide_channel *ch, struct ide_drive *d,
			 const struct command *c)
{
	uint8_t n = d->now.count;

	(void)c;
	if (n > IDE_MULTIPLE_MAX || (n & (n - 1)) != 0) {
		d->multiple = 0;
		ide_abort(ch, d, IDE_ERR_ABRT);
		return;
	}
	d->multiple = n;
	ide_complete(ch, d);
}

/* "Initialize device parameters": the geometry of addresses by cylinder. */
static void set_geometry(struct ide_channel *ch, struct ide_drive *d,
			 const struct command *c)
{
	(void)c;
	if (d->now.count == 0 || d->now.count > 63) {
		ide_abort(ch, d, IDE_ERR_ABRT);
		return;
	}
	d->sectors = d->now.count;
	d->heads = (uint8_t)((ch->device & 0x0f) + 1);
	ide_complete(ch, d);
}

/* Transfer mode: which of them makes no difference here, but the guest reads
 * back what it set.
 */
static bool set_mode(struct ide_drive *d, uint8_t mode)
{
	unsigned kind = mode >> 3, n = mode & 7u;

	if (kind <= 1) /* programmed I/O, also "default" */
		return n <= (kind ? 4 : 1);
	if ((kind != 4 && kind != 8) || n > 2)
		return false;
	d->word_dma = d->ultra_dma = 0;
	*(kind == 4 ? &d->word_dma : &d->ultra_dma) = (uint8_t)(1u << n);
	return true;
}

/* No cache any more: what was written is durable first. */
static bool cache_off(struct ide_drive *d)
{
	if (d->disk->dvd || d->disk->ops->flush(d->disk->arg) < 0)
		return false;
	d->write_through = true;
	return true;
}

static void set_features(struct ide_channel *ch, struct ide_drive *d,
			 const struct command *c)
{
	bool ok;

	(void)c;
	switch (d->now.features) {
	case 0x02: /* write cache */
		ok = !d->disk->dvd;
		if (ok)
			d->write_through = false;
		break;
	case 0x82:
		ok = cache_off(d);
		break;
	case 0x03:
		ok = set_mode(d, d->now.count);
		break;
	case 0x55: /* reading ahead; settings after a reset: as they are */
	case 0xaa:
	case 0x66:
	case 0xcc:
		ok = true;
		break;
	default:
		ok = false;
	}
	if (ok)
		ide_complete(ch, d);
	else
		ide_abort(ch, d, IDE_ERR_ABRT);
}

static void power_mode(struct ide_channel *ch, struct ide_drive *d,
		       const struct command *c)
{
	(void)c;
	d->now.count = 0xff; /* active or idle */
	ide_complete(ch, d);
}

static void native_max(struct ide_channel *ch, struct ide_drive *d,
		       const struct command *c)
{
	uint64_t last = d->disk->blocks - 1;

	if (!(c->flags & EXT) && last >= LBA28_MAX)
		last = LBA28_MAX - 1;
	ch->device |= IDE_DEVICE_LBA;
	tell_place(ch, d, last);
	ide_complete(ch, d);
}

/* Both drives take it, and the first answers for both. */
static void diagnose(struct ide_channel *ch, struct ide_drive *d,
		     const struct command *c)
{
	(void)d;
	(void)c;
	ide_idle(ch);
	ch->device = 0;
	for (unsigned i = 0; i < 2; i++)
		if (ch->drive[i].disk)
			ide_sign(ch, &ch->drive[i]);
	if (ch->drive[0].disk)
		ide_interrupt(ch, &ch->drive[0]);
}

/* Of a DVD drive, at any moment; without an interrupt. */
static void device_reset(struct ide_channel *ch, struct ide_drive *d,
			 const struct command *c)
{
	(void)c;
	if (ch->transfer.drive == d)
		ide_idle(ch);
	ide_sign(ch, d);
}

static void packet(struct ide_channel *ch, struct ide_drive *d,
		   const struct command *c)
{
	(void)c;
	ide_packet_begin(ch, d);
}

enum { DEVICE_RESET = 0x08 };

static const struct command commands[256] = {
	[0x08] = {device_reset, DVD_ONLY},
	[0x10] = {nothing, 0}, /* recalibrate */
	[0x20] = {transfer, 0},
	[0x21] = {transfer, 0},
	[0x24] = {transfer, EXT},
	[0x25] = {transfer, EXT | DMA},
	[0x27] = {native_max, EXT},
	[0x29] = {transfer, EXT | MULTI},
	[0x30] = {transfer, WRITE},
	[0x31] = {transfer, WRITE},
	[0x34] = {transfer, EXT | WRITE},
	[0x35] = {transfer, EXT | WRITE | DMA},
	[0x39] = {transfer, EXT | WRITE | MULTI},
	[0x3d] = {transfer, EXT | WRITE | DMA | FUA},
	[0x40] = {verify, 0},
	[0x41] = {verify, 0},
	[0x42] = {verify, EXT},
	[0x70] = {nothing, 0}, /* seek */
	[0x90] = {diagnose, PACKETS},
	[0x91] = {set_geometry, 0},
	[0xa0] = {packet, DVD_ONLY},
	[0xa1] = {identify, DVD_ONLY},
	[0xc4] = {transfer, MULTI},
	[0xc5] = {transfer, WRITE | MULTI},
	[0xc6] = {set_multiple, 0},
	[0xc8] = {transfer, DMA},
	[0xc9] = {transfer, DMA},
	[0xca] = {transfer, WRITE | DMA},
	[0xcb] = {transfer, WRITE | DMA},
	[0xce] = {transfer, EXT | WRITE | MULTI | FUA},
	[0xe0] = {nothing, PACKETS}, /* standby and idle, of either kind */
	[0xe1] = {nothing, PACKETS},
	[0xe2] = {nothing, PACKETS},
	[0xe3] = {nothing, PACKETS},
	[0xe5] = {power_mode, PACKETS},
	[0xe6] = {nothing, PACKETS}, /* sleep */
	[0xe7] = {flush, 0},
	[0xea] = {flush, EXT},
	[0xec] = {identify, 0},
	[0xef] = {set_features, PACKETS},
	[0xf8] = {native_max, 0},
};

static bool knows(const struct ide_drive *d, const struct command *c)
{
	if (!c->run)
		return false;
	return d->disk->dvd ? c->flags & (PACKETS | DVD_ONLY)
			    : !(c->flags & DVD_ONLY);
}

/* A DVD drive that is asked to read, or who it is, as if it were a disk says
 * by its registers that it is none.
 */
static void refuse(struct ide_channel *ch, struct ide_drive *d, uint8_t code)
{
	if (d->disk->dvd && (code == 0xec || code == 0x20))
		ide_sign(ch, d);
	ide_abort(ch, d, IDE_ERR_ABRT);
}

void ide_command(struct ide_channel *ch, struct ide_drive *d, uint8_t code)
{
	const struct command *c = &commands[code];

	if ((d->status & (IDE_BSY | IDE_DRQ)) &&
	    !(code == DEVICE_RESET && d->disk->dvd))
		return;
	if (knows(d, c))
		c->run(ch, d, c);
	else
		refuse(ch, d, code);
}

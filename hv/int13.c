/* SPDX-License-Identifier: BSD-2-Clause */
/* INT 13h. See int13.h. One function of the interrupt is one function here, in
 * a table; each returns the status that the caller finds in AH.
 */
#include "int13.h"

#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "eltorito.h"
#include "vhd/endian.h"

/* What the BIOS keeps of hard disks, in its data area. */
#define BDA_STATUS 0x474u
#define BDA_COUNT  0x475u

#define DISK_FIRST 0x80u

/* Geometry of a disk that is addressed by blocks. */
#define HEADS		255u
#define TRACK_SECTORS	63u
#define CYLINDERS_MAX	1024u

/* A transfer goes by pieces, so that what each needs is bounded. */
#define PIECE_BYTES (1u << 20)
#define PIECE_PAGES (PIECE_BYTES / HV_PAGE_BYTES + 1)

/* Conventional memory that a boot image may be loaded to. */
#define LOAD_FIRST 0x500u
#define LOAD_END   0x9fc00u

enum status {
	ST_OK = 0x00,
	ST_PARAMETER = 0x01,
	ST_WRITE_PROTECTED = 0x03,
	ST_NOT_FOUND = 0x04,
	ST_BOUNDARY = 0x09, /* the memory is none */
	ST_MEDIUM = 0x10,
	ST_CONTROLLER = 0x20,
	ST_NO_MEDIUM = 0x31,
	ST_TIMEOUT = 0x80,
};

enum move { MOVE_READ, MOVE_WRITE };

struct drive {
	const struct hv_disk *disk;
	uint8_t number;
};

struct hv_int13 {
	const struct hv_mem *mem;

	pthread_mutex_t lock; /* all below, and a call as a whole */
	struct hv_int13_disks disks;
	unsigned first; /* number of the first disk; 0: not started */
	unsigned count; /* disks that have a number */
	bool counted;   /* since all have one */
	bool from_disc; /* `boot` is what it was started from */
	struct hv_eltorito boot;
	uint8_t boot_drive;
	struct hv_int13_stats stats;
};

/* -------------------------------------------------------------- registers */

static uint8_t low(uint16_t r)
{
	return (uint8_t)r;
}

static uint8_t high(uint16_t r)
{
	return (uint8_t)(r >> 8);
}

static void set_low(uint16_t *r, uint8_t v)
{
	*r = (uint16_t)((*r & 0xff00) | v);
}

static void set_high(uint16_t *r, uint8_t v)
{
	*r = (uint16_t)((*r & 0xff) | v << 8);
}

/* As the processor forms it in real mode, with A20 on. */
static uint64_t linear(uint16_t segment, uint16_t offset)
{
	return (uint64_t)segment * 16 + offset;
}

/* --------------------------------------------------------------- transfer */

static enum status status_of(int ret)
{
	switch (ret) {
	case 0:
		return ST_OK;
	case -EINVAL:
		return ST_NOT_FOUND;
	case -EROFS:
	case -EBUSY: /* the guest's own driver has it */
		return ST_WRITE_PROTECTED;
	case -ENOMEDIUM:
		return ST_NO_MEDIUM;
	case -ECANCELED:
		return ST_TIMEOUT;
	case -EIO:
		return ST_MEDIUM;
	default:
		return ST_CONTROLLER;
	}
}

/* All of it is RAM, and at most PIECE_BYTES. */
static int move_piece(struct hv_int13 *h, const struct hv_disk *disk,
		      enum move way, uint64_t lba, uint64_t gpa, uint32_t bytes)
{
	struct iovec iov[HV_MEM_REGIONS_MAX + 1];
	uint64_t pfn[PIECE_PAGES];
	uint32_t offset = (uint32_t)(gpa % HV_PAGE_BYTES);
	size_t pages = (offset + (size_t)bytes + HV_PAGE_BYTES - 1) /
		       HV_PAGE_BYTES;
	int n;

	for (size_t i = 0; i < pages; i++)
		pfn[i] = gpa / HV_PAGE_BYTES + i;
	n = hv_gpa_iov(h->mem, pfn, pages, offset, bytes, iov,
		       sizeof(iov) / sizeof(iov[0]));
	if (n < 0)
		return -EFAULT;
	if (way == MOVE_READ)
		return disk->ops->read(disk->arg, lba, iov, (unsigned)n);
	return disk->ops->write(disk->arg, lba, iov, (unsigned)n);
}

static void count_bytes(struct hv_int13 *h, enum move way, uint64_t bytes)
{
	if (way == MOVE_READ)
		h->stats.bytes_read += bytes;
	else
		h->stats.bytes_written += bytes;
}

static bool on_disk(const struct hv_disk *disk, uint64_t lba, uint64_t count)
{
	return count <= disk->blocks && lba <= disk->blocks - count;
}

/* *moved: how many blocks were, whatever the status. What is written is durable
 * on return: nobody would ask for it before the guest's own driver starts.
 */
static enum status move(struct hv_int13 *h, const struct hv_disk *disk,
			enum move way, uint64_t lba, uint32_t count,
			uint64_t gpa, uint32_t *moved)
{
	const uint32_t at_once = PIECE_BYTES / disk->block_bytes;
	int ret = 0;

	*moved = 0;
	if (!on_disk(disk, lba, count))
		return ST_NOT_FOUND;
	if (!hv_gpa_ok(h->mem, gpa, (uint64_t)count * disk->block_bytes))
		return ST_BOUNDARY;
	while (*moved < count && ret == 0) {
		uint32_t n = count - *moved < at_once ? count - *moved
						      : at_once;
		uint32_t bytes = n * disk->block_bytes;

		ret = move_piece(h, disk, way, lba + *moved, gpa, bytes);
		if (ret < 0)
			break;
		count_bytes(h, way, bytes);
		*moved += n;
		gpa += bytes;
	}
	if (ret == 0 && way == MOVE_WRITE && count > 0)
		ret = disk->ops->flush(disk->arg);
	return status_of(ret);
}

/* ------------------------------------------- by cylinder, head and sector */

static uint32_t cylinders(const struct hv_disk *disk)
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
		st = move(h, d->disk, way, lba, count, linear(r->es, r->bx),
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
	return on_disk(d->disk, lba, low(r->ax)) ? ST_OK : ST_NOT_FOUND;
}

static enum status chs_seek(struct hv_int13 *h, const struct drive *d,
			    struct hv_int13_regs *r)
{
	uint64_t lba;

	(void)h;
	if (!chs(r, &lba))
		return ST_PARAMETER;
	return on_disk(d->disk, lba, 1) ? ST_OK : ST_NOT_FOUND;
}

static enum status geometry(struct hv_int13 *h, const struct drive *d,
			    struct hv_int13_regs *r)
{
	uint32_t last = cylinders(d->disk) - 1;
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

/* ---------------------------------------------------- by block number (EDD) */

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
	st = move(h, d->disk, way, p.lba, p.count, p.gpa, &moved);
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
	return on_disk(d->disk, p.lba, p.count) ? ST_OK : ST_NOT_FOUND;
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
	p->cylinders = le32_put(cylinders(disk));
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

/* ------------------------------------------------------------------- discs */

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
			count_bytes(h, MOVE_READ, n);
		gpa += n;
		left -= n;
	}
	return ret;
}

/* AX and BX: offset and segment to start at; DL: the drive. */
static enum hv_int13_result start_disc(struct hv_int13 *h,
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

/* --------------------------------------------------------------- the calls */

static const struct function {
	uint8_t ah;
	bool disc; /* a disc's drive has it, too */
	enum status (*run)(struct hv_int13 *h, const struct drive *d,
			   struct hv_int13_regs *r);
} functions[] = {
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
	{0x41, true, edd_check},
	{0x42, true, edd_read},
	{0x43, true, edd_write},
	{0x44, true, edd_verify},
	{0x47, true, edd_verify}, /* seek */
	{0x48, true, edd_parameters},
	{0x4b, true, disc_status},
	{0x4e, true, edd_configure},
};

static const struct function *find(uint8_t ah, bool disc)
{
	for (size_t i = 0; i < sizeof(functions) / sizeof(functions[0]); i++)
		if (functions[i].ah == ah)
			return disc && !functions[i].disc ? NULL
							  : &functions[i];
	return NULL;
}

static bool drive_find(const struct hv_int13 *h, uint8_t number,
		       struct drive *d)
{
	d->number = number;
	if (h->first && number >= h->first && number < h->first + h->count)
		d->disk = h->disks.disk[number - h->first];
	else if (number >= HV_INT13_DVD_FIRST &&
		 number < HV_INT13_DVD_FIRST + h->disks.dvds)
		d->disk = h->disks.dvd[number - HV_INT13_DVD_FIRST];
	else
		return false;
	return true;
}

/* Numbers behind ours: no drives. The firmware gives them to what it finds
 * itself, drives of the emulated IDE controller, which are ours once more.
 */
static bool is_twice(const struct hv_int13 *h, uint8_t number)
{
	return h->first && number >= h->first + h->count &&
	       number < HV_INT13_DVD_FIRST;
}

/* The same for how many there are: the first call comes when all have their
 * numbers; later the word is the guest's.
 */
static void count_once(struct hv_int13 *h)
{
	uint8_t count = (uint8_t)(h->first - DISK_FIRST + h->count);

	if (!h->first || h->counted)
		return;
	h->counted = true;
	if (h->count > 0)
		(void)hv_gpa_write(h->mem, BDA_COUNT, &count, 1);
}

static enum hv_int13_result call(struct hv_int13 *h, struct hv_int13_regs *r)
{
	const struct function *f = NULL;
	struct drive d;
	enum status st = ST_PARAMETER;
	bool twice = is_twice(h, low(r->dx));
	uint8_t byte;

	count_once(h);
	if (!twice && !drive_find(h, low(r->dx), &d))
		return HV_INT13_NOT_OURS;
	h->stats.calls++;
	if (!twice)
		f = find(high(r->ax), d.disk->dvd);
	set_high(&r->ax, 0);
	if (f)
		st = f->run(h, &d, r);
	byte = (uint8_t)st;
	(void)hv_gpa_write(h->mem, BDA_STATUS, &byte, 1);
	if (st == ST_OK)
		return HV_INT13_OK;
	h->stats.errors++;
	set_high(&r->ax, byte);
	return HV_INT13_ERROR;
}

/* Disks come behind those that the firmware has by now: none, as it is told to
 * begin with ours.
 */
static void start(struct hv_int13 *h)
{
	uint8_t found = 0;
	unsigned room;

	if (h->first)
		return; /* once is enough */
	(void)hv_gpa_read(h->mem, BDA_COUNT, &found, 1);
	room = HV_INT13_DVD_FIRST - DISK_FIRST;
	room = found < room ? room - found : 0;
	h->first = DISK_FIRST + found;
	h->count = h->disks.disks < room ? h->disks.disks : room;
	found = (uint8_t)(found + h->count);
	(void)hv_gpa_write(h->mem, BDA_COUNT, &found, 1);
}

enum hv_int13_result hv_int13_exit(struct hv_int13 *h, enum hv_int13_port port,
				   struct hv_int13_regs *r)
{
	enum hv_int13_result result = HV_INT13_OK;

	pthread_mutex_lock(&h->lock);
	if (port == HV_INT13_CALL)
		result = call(h, r);
	else if (port == HV_INT13_START)
		start(h);
	else
		result = start_disc(h, r);
	pthread_mutex_unlock(&h->lock);
	return result;
}

/* ---------------------------------------------------------- life and death */

void hv_int13_disks_add(struct hv_int13_disks *d, const struct hv_disk *disk)
{
	if (disk->dvd && d->dvds < HV_INT13_DVDS_MAX)
		d->dvd[d->dvds++] = disk;
	else if (!disk->dvd && d->disks < HV_INT13_DISKS_MAX)
		d->disk[d->disks++] = disk;
}

void hv_int13_reset(struct hv_int13 *h, const struct hv_int13_disks *disks)
{
	pthread_mutex_lock(&h->lock);
	h->disks = *disks;
	h->first = h->count = 0;
	h->counted = h->from_disc = false;
	pthread_mutex_unlock(&h->lock);
}

void hv_int13_get_stats(struct hv_int13 *h, struct hv_int13_stats *out)
{
	pthread_mutex_lock(&h->lock);
	*out = h->stats;
	pthread_mutex_unlock(&h->lock);
}

int hv_int13_create(const struct hv_mem *mem,
		    const struct hv_int13_disks *disks, struct hv_int13 **out)
{
	struct hv_int13 *h = calloc(1, sizeof(*h));

	if (!h)
		return -ENOMEM;
	h->mem = mem;
	h->disks = *disks;
	pthread_mutex_init(&h->lock, NULL);
	*out = h;
	return 0;
}

void hv_int13_destroy(struct hv_int13 *h)
{
	if (!h)
		return;
	pthread_mutex_destroy(&h->lock);
	free(h);
}

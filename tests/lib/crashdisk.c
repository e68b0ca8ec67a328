/* SPDX-License-Identifier: BSD-2-Clause */
/* See crashdisk.h. The way back is a list of former sectors and lengths. */
#include <errno.h>
#include <isa-l/crc64.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "tests/lib/crashdisk.h"

#define LENGTH UINT64_MAX /* in place of a sector's number */

struct former {
	uint64_t sector;
	uint64_t len, top;
	uint64_t hash;
	uint64_t sector_hash;
	uint8_t bytes[CRASH_SECTOR];
};

struct crashdisk {
	unsigned number;
	uint8_t *bytes;
	uint64_t len;
	uint64_t top; /* behind this there are zeros */
	uint64_t hash;
	uint64_t *hashes; /* of each sector */
	struct former *former;
	size_t count, room;
	struct crash_record *rec;
	uint64_t own_off, own_len; /* of the next flush; 0: it covers all */
};

static const uint8_t zeros[CRASH_SECTOR];

static void *need(void *p)
{
	if (!p)
		abort();
	return p;
}

/* -------------------------------------------------------------- record -- */

void crash_record_init(struct crash_record *r)
{
	memset(r, 0, sizeof(*r));
	r->lose = CRASH_LOSE_NOTHING;
}

void crash_record_fini(struct crash_record *r)
{
	free(r->events);
	free(r->bytes);
	memset(r, 0, sizeof(*r));
}

static void add(struct crash_record *r, struct crash_event e, const void *data)
{
	if (data) {
		while (r->bytes_room - r->bytes_used < e.len) {
			r->bytes_room = r->bytes_room ? 2 * r->bytes_room
						      : 1 << 16;
			r->bytes = need(realloc(r->bytes, r->bytes_room));
		}
		e.data = r->bytes_used;
		memcpy(r->bytes + e.data, data, e.len);
		r->bytes_used += e.len;
	}
	if (r->count == r->room) {
		r->room = r->room ? r->room * 2 : 64;
		r->events =
			need(realloc(r->events, r->room * sizeof(*r->events)));
	}
	r->events[r->count++] = e;
}

void crash_record_mark(struct crash_record *r, int mark)
{
	add(r, (struct crash_event){.kind = CRASH_MARK, .mark = mark}, NULL);
}

/* ------------------------------------------------------------- content -- */

static uint64_t mix(uint64_t z)
{
	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
	z = (z ^ z >> 27) * 0x94d049bb133111ebu;
	return z ^ z >> 31;
}

/* Zero for a sector of zeros, so that a hole costs nothing. */
static uint64_t sector_hash(uint64_t sector, const uint8_t *b)
{
	if (!memcmp(b, zeros, CRASH_SECTOR))
		return 0;
	return mix(crc64_ecma_refl(0, b, CRASH_SECTOR) +
		   mix(sector + 0x9e3779b97f4a7c15u));
}

static uint64_t len_hash(uint64_t len)
{
	return mix(len + 0x9e3779b97f4a7c15u);
}

static struct former *remember(struct crashdisk *d, uint64_t sector)
{
	struct former *f;

	if (d->count == d->room) {
		d->room = d->room ? d->room * 2 : 256;
		d->former =
			need(realloc(d->former, d->room * sizeof(*d->former)));
	}
	f = &d->former[d->count++];
	f->sector = sector;
	f->len = d->len;
	f->top = d->top;
	f->hash = d->hash;
	return f;
}

static void put_sector(struct crashdisk *d, uint64_t sector, const uint8_t *b)
{
	uint8_t *at = d->bytes + sector * CRASH_SECTOR;
	struct former *f;

	if (!memcmp(at, b, CRASH_SECTOR))
		return;
	f = remember(d, sector);
	memcpy(f->bytes, at, CRASH_SECTOR);
	f->sector_hash = d->hashes[sector];
	d->hashes[sector] = sector_hash(sector, b);
	d->hash ^= f->sector_hash ^ d->hashes[sector];
	memcpy(at, b, CRASH_SECTOR);
	if ((sector + 1) * CRASH_SECTOR > d->top)
		d->top = (sector + 1) * CRASH_SECTOR;
}

/* `from` NULL: zeros. */
static void put(struct crashdisk *d, const uint8_t *from, uint64_t len,
		uint64_t off)
{
	if (off > CRASHDISK_ROOM || len > CRASHDISK_ROOM - off)
		abort();
	while (len) {
		uint64_t sector = off / CRASH_SECTOR, in = off % CRASH_SECTOR;
		uint64_t n = len < CRASH_SECTOR - in ? len : CRASH_SECTOR - in;
		uint8_t b[CRASH_SECTOR];
		const uint8_t *whole = from ? from : zeros;

		if (n < CRASH_SECTOR) {
			memcpy(b, d->bytes + sector * CRASH_SECTOR,
			       CRASH_SECTOR);
			memcpy(b + in, whole, n);
			whole = b;
		}
		put_sector(d, sector, whole);
		from = from ? from + n : NULL;
		off += n;
		len -= n;
	}
}

void crashdisk_poke(struct crashdisk *d, const void *bytes, uint64_t len,
		    uint64_t off)
{
	put(d, bytes, len, off);
}

void crashdisk_zero(struct crashdisk *d, uint64_t len, uint64_t off)
{
	if (off >= d->top)
		return;
	put(d, NULL, len < d->top - off ? len : d->top - off, off);
}

void crashdisk_set_len(struct crashdisk *d, uint64_t len)
{
	crashdisk_zero(d, UINT64_MAX - len, len);
	if (len == d->len)
		return;
	remember(d, LENGTH);
	d->hash ^= len_hash(d->len) ^ len_hash(len);
	d->len = len;
	if (d->top > len) /* the next one need not look there again */
		d->top = (len + CRASH_SECTOR - 1) / CRASH_SECTOR * CRASH_SECTOR;
}

size_t crashdisk_now(const struct crashdisk *d)
{
	return d->count;
}

void crashdisk_back(struct crashdisk *d, size_t then)
{
	while (d->count > then) {
		const struct former *f = &d->former[--d->count];

		if (f->sector != LENGTH) {
			memcpy(d->bytes + f->sector * CRASH_SECTOR, f->bytes,
			       CRASH_SECTOR);
			d->hashes[f->sector] = f->sector_hash;
		}
		d->len = f->len;
		d->top = f->top;
		d->hash = f->hash;
	}
}

/* ----------------------------------------------------------- operations -- */

static ssize_t disk_pread(void *state, void *buf, size_t len, uint64_t off)
{
	const struct crashdisk *d = state;

	if (off >= d->len)
		return 0;
	if (len > d->len - off)
		len = (size_t)(d->len - off);
	memcpy(buf, d->bytes + off, len);
	return (ssize_t)len;
}

static void write_down(struct crashdisk *d, enum crash_kind kind, uint64_t off,
		       uint64_t len, const void *data)
{
	const struct crash_event e = {
		.kind = kind,
		.file = d->number,
		.off = off,
		.len = len,
		.was_len = d->len,
	};

	if (d->rec)
		add(d->rec, e, data);
}

static ssize_t disk_pwrite(void *state, const void *buf, size_t len,
			   uint64_t off)
{
	struct crashdisk *d = state;

	if (off > CRASHDISK_ROOM || len > CRASHDISK_ROOM - off)
		return -EFBIG;
	write_down(d, CRASH_WRITE, off, len, buf);
	put(d, buf, len, off);
	if (off + len > d->len)
		crashdisk_set_len(d, off + len);
	return (ssize_t)len;
}

static int disk_flush(void *state)
{
	struct crashdisk *d = state;
	struct crash_record *r = d->rec;
	uint64_t len = d->own_len;
	int number;

	d->own_len = 0;
	if (!r)
		return 0;
	number = r->flushes++;
	if (r->at_flush)
		r->at_flush(r->ctx, number);
	if (number != r->lose)
		write_down(d, len ? CRASH_OWN_SYNC : CRASH_FLUSH, d->own_off,
			   len, NULL);
	return 0;
}

static int disk_zero(void *state, uint64_t off, uint64_t len)
{
	struct crashdisk *d = state;

	if (off >= d->len)
		return 0;
	if (len > d->len - off)
		len = d->len - off;
	write_down(d, CRASH_ZERO, off, len, NULL);
	crashdisk_zero(d, len, off);
	return 0;
}

static int disk_truncate(void *state, uint64_t len)
{
	struct crashdisk *d = state;

	if (len > CRASHDISK_ROOM)
		return -EFBIG;
	write_down(d, CRASH_TRUNCATE, len, 0, NULL);
	crashdisk_set_len(d, len);
	return 0;
}

static int disk_size(void *state, uint64_t *len)
{
	const struct crashdisk *d = state;

	*len = d->len;
	return 0;
}

/* The bytes stay; crashdisk_destroy is the owner's. */
static int disk_close(void *state)
{
	(void)state;
	return 0;
}

static const struct vhd_file_ops disk_ops = {
	.name = "crash",
	.pread = disk_pread,
	.pwrite = disk_pwrite,
	.flush = disk_flush,
	.zero = disk_zero,
	.truncate = disk_truncate,
	.size = disk_size,
	.close = disk_close,
};

/* ----------------------------------------------------------- the owner -- */

struct crashdisk *crashdisk_create(unsigned number)
{
	struct crashdisk *d = need(calloc(1, sizeof(*d)));

	d->number = number;
	d->bytes = mmap(NULL, CRASHDISK_ROOM, PROT_READ | PROT_WRITE,
			MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (d->bytes == MAP_FAILED)
		abort();
	d->hashes = need(calloc(CRASHDISK_ROOM / CRASH_SECTOR,
				sizeof(*d->hashes)));
	d->hash = len_hash(0);
	return d;
}

void crashdisk_destroy(struct crashdisk *d)
{
	if (!d)
		return;
	munmap(d->bytes, CRASHDISK_ROOM);
	free(d->former);
	free(d->hashes);
	free(d);
}

struct vhd_file crashdisk_file(struct crashdisk *d)
{
	return (struct vhd_file){
		.ops = &disk_ops,
		.state = d,
		.fd = -1,
		.direct_fd = -1,
	};
}

void crashdisk_load(struct crashdisk *d, const struct memfile *m)
{
	uint64_t len = m ? memfile_len(m) : 0;

	if (len > CRASHDISK_ROOM)
		abort();
	crashdisk_set_len(d, 0);
	for (uint64_t at = 0; at < len; at += CRASH_SECTOR) {
		uint8_t b[CRASH_SECTOR];

		memfile_peek(m, b, sizeof(b), at);
		put_sector(d, at / CRASH_SECTOR, b);
	}
	crashdisk_set_len(d, len);
	d->count = 0;
}

void crashdisk_set_record(struct crashdisk *d, struct crash_record *r)
{
	d->rec = r;
}

void crashdisk_own_sync(struct crashdisk *d, uint64_t off, uint64_t len)
{
	d->own_off = off;
	d->own_len = len;
}

struct crash_record *crashdisk_record(const struct crashdisk *d)
{
	return d->rec;
}

const uint8_t *crashdisk_bytes(const struct crashdisk *d)
{
	return d->bytes;
}

uint64_t crashdisk_len(const struct crashdisk *d)
{
	return d->len;
}

uint64_t crashdisk_hash(const struct crashdisk *d)
{
	return d->hash;
}

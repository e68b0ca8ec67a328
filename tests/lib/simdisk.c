/* SPDX-License-Identifier: BSD-2-Clause */
/* See simdisk.h. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "tests/lib/random.h"
#include "tests/lib/simdisk.h"

#define SECTOR	     512u
#define SECTORS	     (SIMDISK_BYTES / SECTOR)
#define LENGTHS_MAX  32u
#define NONE	     UINT32_MAX

/* One content of a sector that is not safe. */
struct version {
	uint32_t next; /* an older one of the same sector */
	uint8_t data[SECTOR];
};

struct simdisk {
	uint8_t now[SIMDISK_BYTES];  /* zero from `len` on */
	uint8_t safe[SIMDISK_BYTES]; /* likewise */
	uint64_t len, safe_len;
	uint64_t high; /* nothing was ever behind this */
	uint32_t newest[SECTORS];
	uint32_t dirty[SECTORS];
	uint32_t dirty_count;
	struct version *pool;
	uint32_t pool_count, pool_room;
	uint64_t lengths[LENGTHS_MAX]; /* that are not safe */
	uint32_t length_count;
	uint64_t written_to; /* by the last write */
	uint64_t only_off, only_len; /* of the next flush; 0: all */
	uint64_t rnd;
	bool dead;
	simdisk_hook hook;
	void *ctx;
};

/* ------------------------------------------------------------- versions -- */

static void *need(void *p)
{
	if (!p)
		abort();
	return p;
}

/* The sector's content as it is now may stay, or one of those before it. */
static void note(struct simdisk *d, uint32_t sector)
{
	struct version *v;

	if (d->pool_count == d->pool_room) {
		d->pool_room = d->pool_room ? d->pool_room * 2 : 1024;
		d->pool = need(realloc(d->pool,
				       d->pool_room * sizeof(*d->pool)));
	}
	if (d->newest[sector] == NONE)
		d->dirty[d->dirty_count++] = sector;
	v = &d->pool[d->pool_count];
	v->next = d->newest[sector];
	memcpy(v->data, d->now + (size_t)sector * SECTOR, SECTOR);
	d->newest[sector] = d->pool_count++;
}

static void note_range(struct simdisk *d, uint64_t off, uint64_t len)
{
	for (uint64_t s = off / SECTOR; s * SECTOR < off + len; s++)
		note(d, (uint32_t)s);
}

/* The pieces of one vectored write come one by one: where a piece goes on in
 * the sector in which the one before it ended, both are one content. Returns
 * where the next sector begins, `*len` from there.
 */
static uint64_t note_rest(struct simdisk *d, uint64_t off, size_t *len)
{
	uint32_t s = (uint32_t)(off / SECTOR);
	uint64_t next = ((uint64_t)s + 1) * SECTOR;

	if (d->newest[s] == NONE)
		return off;
	memcpy(d->pool[d->newest[s]].data, d->now + (size_t)s * SECTOR, SECTOR);
	*len = off + *len > next ? (size_t)(off + *len - next) : 0;
	return next;
}

static void set_length(struct simdisk *d, uint64_t len)
{
	d->len = len;
	if (len > d->high)
		d->high = len;
	if (d->length_count < LENGTHS_MAX)
		d->lengths[d->length_count++] = len;
	else
		d->lengths[LENGTHS_MAX - 1] = len;
}

static void forget(struct simdisk *d)
{
	for (uint32_t i = 0; i < d->dirty_count; i++)
		d->newest[d->dirty[i]] = NONE;
	d->dirty_count = 0;
	d->pool_count = 0;
	d->length_count = 0;
}

/* One of the contents that `sector` may have after a power cut. */
static const uint8_t *choose(struct simdisk *d, uint32_t sector)
{
	uint32_t count = 0, at;

	for (at = d->newest[sector]; at != NONE; at = d->pool[at].next)
		count++;
	count = (uint32_t)random_below(&d->rnd, count + 1);
	for (at = d->newest[sector]; count--; at = d->pool[at].next)
		if (!count)
			return d->pool[at].data;
	return d->safe + (size_t)sector * SECTOR;
}

static uint64_t choose_length(struct simdisk *d)
{
	uint64_t n = random_below(&d->rnd, d->length_count + 1);
	uint64_t from = d->safe_len, to;

	if (!n)
		return from;
	if (n > 1)
		from = d->lengths[n - 2];
	to = d->lengths[n - 1];
	/* while a file grows it may be seen with any length in between */
	if (to > from && random_below(&d->rnd, 4) == 0)
		to = from + random_below(&d->rnd, (to - from) / SECTOR + 1) *
				    SECTOR;
	return to;
}

/* The dice decide what of the unsafe is safe. */
static void decide(struct simdisk *d)
{
	for (uint32_t i = 0; i < d->dirty_count; i++) {
		uint32_t s = d->dirty[i];

		memmove(d->safe + (size_t)s * SECTOR, choose(d, s), SECTOR);
	}
	d->safe_len = choose_length(d);
	memset(d->safe + d->safe_len, 0, d->high - d->safe_len);
	forget(d);
}

/* A power cut does not cut within a sector. */
static void flush_all(struct simdisk *d)
{
	for (uint32_t i = 0; i < d->dirty_count; i++) {
		size_t at = (size_t)d->dirty[i] * SECTOR;

		memcpy(d->safe + at, d->now + at, SECTOR);
	}
	if (d->length_count) {
		d->safe_len = d->len;
		memset(d->safe + d->len, 0, d->high - d->len);
	}
	forget(d);
}

static void flush_range(struct simdisk *d, uint64_t off, uint64_t len)
{
	uint32_t kept = 0;

	if (off + len > d->safe_len) { /* what is needed to find it again */
		d->safe_len = d->len;
		memset(d->safe + d->len, 0, d->high - d->len);
		d->length_count = 0;
	}
	for (uint32_t i = 0; i < d->dirty_count; i++) {
		uint32_t s = d->dirty[i];
		size_t at = (size_t)s * SECTOR;

		if (at + SECTOR <= off || at >= off + len) {
			d->dirty[kept++] = s;
			continue;
		}
		memcpy(d->safe + at, d->now + at, SECTOR);
		d->newest[s] = NONE;
	}
	d->dirty_count = kept;
}

/* ----------------------------------------------------------- operations -- */

static int ask(struct simdisk *d, enum memfile_op op, size_t *most)
{
	return d->hook && !d->dead ? d->hook(d->ctx, op, most) : 0;
}

static ssize_t disk_pread(void *state, void *buf, size_t len, uint64_t off)
{
	struct simdisk *d = state;
	int rc = ask(d, MEMFILE_READ, &len);

	if (rc)
		return rc;
	if (off >= d->len)
		return 0;
	if (len > d->len - off)
		len = (size_t)(d->len - off);
	memcpy(buf, d->now + off, len);
	return (ssize_t)len;
}

static ssize_t disk_pwrite(void *state, const void *buf, size_t len,
			   uint64_t off)
{
	struct simdisk *d = state;
	int rc = ask(d, MEMFILE_WRITE, &len);
	size_t done = len;
	uint64_t end = off + len;

	if (rc || d->dead)
		return rc ? rc : (ssize_t)len;
	if (off > SIMDISK_BYTES || len > SIMDISK_BYTES - off)
		return -EFBIG;
	memcpy(d->now + off, buf, len);
	if (off + len > d->len)
		set_length(d, off + len);
	if (off % SECTOR && off == d->written_to)
		off = note_rest(d, off, &len);
	note_range(d, off, len);
	d->written_to = end;
	return (ssize_t)done;
}

static int disk_flush(void *state)
{
	struct simdisk *d = state;
	size_t most = 0;
	uint64_t only = d->only_len;
	int rc = ask(d, MEMFILE_FLUSH, &most);

	d->only_len = 0;
	if (d->dead)
		return 0;
	if (rc)
		decide(d);
	else if (only)
		flush_range(d, d->only_off, only);
	else
		flush_all(d);
	return rc;
}

static int disk_zero(void *state, uint64_t off, uint64_t len)
{
	struct simdisk *d = state;
	size_t most = 0;
	int rc = ask(d, MEMFILE_ZERO, &most);

	if (rc || d->dead || off >= d->len)
		return rc;
	if (len > d->len - off)
		len = d->len - off;
	memset(d->now + off, 0, len);
	note_range(d, off, len);
	return 0;
}

static int disk_truncate(void *state, uint64_t len)
{
	struct simdisk *d = state;
	uint64_t old = d->len;
	size_t most = 0;
	int rc = ask(d, MEMFILE_TRUNCATE, &most);

	if (rc || d->dead)
		return rc;
	if (len > SIMDISK_BYTES)
		return -EFBIG;
	set_length(d, len);
	if (len < old) {
		memset(d->now + len, 0, old - len);
		note_range(d, len, old - len);
	}
	return 0;
}

static int disk_size(void *state, uint64_t *len)
{
	struct simdisk *d = state;
	size_t most = 0;
	int rc = ask(d, MEMFILE_SIZE, &most);

	if (!rc)
		*len = d->len;
	return rc;
}

/* The bytes stay; simdisk_destroy is the owner's. */
static int disk_close(void *state)
{
	(void)state;
	return 0;
}

static const struct vhd_file_ops disk_ops = {
	.name = "simulated",
	.pread = disk_pread,
	.pwrite = disk_pwrite,
	.flush = disk_flush,
	.zero = disk_zero,
	.truncate = disk_truncate,
	.size = disk_size,
	.close = disk_close,
};

/* ------------------------------------------------------------- the owner -- */

struct simdisk *simdisk_create(void)
{
	struct simdisk *d = need(calloc(1, sizeof(*d)));

	memset(d->newest, 0xff, sizeof(d->newest));
	return d;
}

void simdisk_destroy(struct simdisk *d)
{
	free(d->pool);
	free(d);
}

struct vhd_file simdisk_file(struct simdisk *d)
{
	return (struct vhd_file){
		.ops = &disk_ops,
		.state = d,
		.fd = -1,
		.direct_fd = -1,
	};
}

void simdisk_set_hook(struct simdisk *d, simdisk_hook hook, void *ctx)
{
	d->hook = hook;
	d->ctx = ctx;
}

void simdisk_clear(struct simdisk *d, uint64_t seed)
{
	forget(d);
	d->rnd = seed;
	memset(d->now, 0, d->high);
	memset(d->safe, 0, d->high);
	d->len = d->safe_len = d->high = 0;
	d->only_len = 0;
	d->dead = false;
}

void simdisk_load(struct simdisk *d, const struct memfile *m, uint64_t seed)
{
	simdisk_clear(d, seed);
	d->len = d->safe_len = d->high = memfile_len(m);
	if (d->len > SIMDISK_BYTES)
		abort();
	memfile_peek(m, d->now, d->len, 0);
	memcpy(d->safe, d->now, d->len);
}

void simdisk_flush_only(struct simdisk *d, uint64_t off, uint64_t len)
{
	d->only_off = off;
	d->only_len = len;
}

void simdisk_lose(struct simdisk *d)
{
	if (!d->dead)
		decide(d);
}

void simdisk_cut(struct simdisk *d)
{
	decide(d);
	memcpy(d->now, d->safe, d->high);
	d->len = d->safe_len;
	d->only_len = 0;
}

void simdisk_dead(struct simdisk *d, bool dead)
{
	d->dead = dead;
}

const uint8_t *simdisk_bytes(const struct simdisk *d)
{
	return d->now;
}

uint64_t simdisk_len(const struct simdisk *d)
{
	return d->len;
}

size_t simdisk_unsafe(const struct simdisk *d)
{
	return d->dirty_count;
}

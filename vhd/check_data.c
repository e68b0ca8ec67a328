/* SPDX-License-Identifier: BSD-2-Clause */
/* Every allocated byte is read: what the medium does not give is told, and so
 * is a sector that a bitmap declares unwritten although bytes are there.
 * Readers disagree about such a sector: QEMU shows the bytes, all others show
 * zeros. In a differencing disk they mean nothing and are not looked at.
 * Holes of the host's file are known to be zero and not read.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <isa-l/mem_routines.h>

#include "check.h"
#include "fail.h"

#define CHUNK_BYTES (1u << 20)

struct reader {
	struct check *c;
	uint8_t *buf; /* CHUNK_BYTES */
	uint8_t *map; /* one bitmap */
	uint64_t done_bytes;
	uint64_t total_bytes;
	struct survey_hole hole;
};

static void progress(struct reader *r, uint64_t more)
{
	const struct vhd_check_opts *o = r->c->opts;

	r->done_bytes += more;
	if (o->progress && o->progress(o->ctx, r->done_bytes, r->total_bytes))
		r->c->stopped = true;
}

/* The medium may fail in one place and give the rest: tell the place. */
static int unreadable(struct reader *r, uint64_t at, uint64_t block,
		      const struct vhd_err *fault, struct vhd_err *err)
{
	if (fault->code == -ENOMEM) {
		if (err)
			*err = *fault;
		return fault->code;
	}
	check_tell(r->c, VHD_FIND_UNREADABLE, at, block, "%s", fault->text);
	return 0;
}

/* Read [from, to) of the file. With `zero` it should be: `*at` becomes the
 * offset of the first byte that is not, or stays.
 */
static int read_range(struct reader *r, uint64_t from, uint64_t to,
		      uint64_t block, bool zero, uint64_t *at,
		      struct vhd_err *err)
{
	while (from < to && !r->c->stopped) {
		uint64_t data = survey_skip_hole(&r->c->s, &r->hole, from);
		struct vhd_err fault;
		size_t n;
		int rc;

		if (data > from) {
			data = data < to ? data : to;
			progress(r, data - from);
			from = data;
			continue;
		}
		n = to - from < CHUNK_BYTES ? (size_t)(to - from) : CHUNK_BYTES;
		rc = vhd_file_read(r->c->s.file, r->buf, n, from, &fault);
		if (rc)
			rc = unreadable(r, from, block, &fault, err);
		else if (zero && *at == UINT64_MAX &&
			 isal_zero_detect(r->buf, n))
			for (size_t i = 0; *at == UINT64_MAX; i++)
				if (r->buf[i])
					*at = from + i;
		if (rc)
			return rc;
		progress(r, n);
		from += n;
	}
	return 0;
}

static void tell_hidden(struct check *c, uint32_t block, uint64_t bitmap_at,
			uint64_t data_at, uint64_t at)
{
	uint64_t sector = (at - data_at) / VHD_SECTOR_BYTES;

	check_tell(c, VHD_FIND_BITMAP_HIDES, bitmap_at + sector / 8, block,
		   "block %u: the bitmap hides sector %llu, which is not "
		   "zero; QEMU shows it, other programs do not",
		   block, (unsigned long long)sector);
}

static int read_block(struct reader *r, const struct survey_place *p,
		      struct vhd_err *err)
{
	const struct survey *s = &r->c->s;
	uint64_t bitmap_at = (uint64_t)p->sector * VHD_SECTOR_BYTES;
	uint64_t data_at = bitmap_at + s->bitmap_bytes;
	uint32_t sectors = survey_block_sectors(s, p->block);
	uint64_t hidden = UINT64_MAX;
	struct vhd_err fault;
	bool full;
	int rc = survey_bitmap(s, p->block, p->sector, r->map, &full, &fault);

	if (rc)
		return unreadable(r, bitmap_at, p->block, &fault, err);
	for (uint32_t in = 0; in < sectors && !rc && !r->c->stopped;) {
		bool set;
		uint32_t n = vhd_bits_run(r->map, in, sectors, &set);
		uint64_t from = data_at + (uint64_t)in * VHD_SECTOR_BYTES;
		uint64_t to = from + (uint64_t)n * VHD_SECTOR_BYTES;

		if (to > s->limit_bytes) /* a block that is cut */
			to = s->limit_bytes;
		if (set || s->info.format != VHD_FORMAT_DIFF)
			rc = read_range(r, from, to, p->block, !set, &hidden,
					err);
		in += n;
	}
	if (!rc && hidden != UINT64_MAX)
		tell_hidden(r->c, p->block, bitmap_at, data_at, hidden);
	return rc;
}

static int read_blocks(struct reader *r, struct vhd_err *err)
{
	struct check *c = r->c;
	uint64_t end = 0;
	int rc = 0;

	r->total_bytes =
		(uint64_t)c->place_count * c->s.header.block_size_bytes;
	r->map = malloc(c->s.bitmap_bytes);
	if (!r->map)
		return vhd_fail_nomem(err, c->s.bitmap_bytes,
				      "a sector bitmap");
	/* Of blocks that claim the same bytes the first is read, so that no
	 * table makes this longer than the file.
	 */
	for (uint32_t i = 0; i < c->place_count && !rc && !c->stopped; i++) {
		uint64_t start =
			(uint64_t)c->places[i].sector * VHD_SECTOR_BYTES;

		if (start < end)
			continue;
		end = start + c->s.stride_bytes;
		rc = read_block(r, &c->places[i], err);
	}
	free(r->map);
	return rc;
}

int check_data(struct check *c, struct vhd_err *err)
{
	struct reader r = {.c = c};
	uint64_t unused = 0;
	int rc = 0;

	r.buf = malloc(CHUNK_BYTES);
	if (!r.buf)
		return vhd_fail_nomem(err, CHUNK_BYTES, "a buffer");
	if (c->places) {
		rc = read_blocks(&r, err);
	} else if (c->s.info.format == VHD_FORMAT_FIXED) {
		r.total_bytes = c->s.limit_bytes;
		rc = read_range(&r, 0, c->s.limit_bytes, VHD_NO_BLOCK, false,
				&unused, err);
	}
	free(r.buf);
	return rc;
}

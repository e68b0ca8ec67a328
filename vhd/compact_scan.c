/* SPDX-License-Identifier: BSD-2-Clause */
/* Which blocks need not be there. A block stays as soon as one grain of it is
 * found that must be kept, so full blocks cost one short read each.
 *
 * Of a dynamic disk a block may go when every sector of it reads as zero or is
 * free. Of a differencing one that would show the parent: it may go where no
 * sector is valid, where all that are valid are free, or, asked for, where the
 * parent has the same. What a file system calls free may read as anything.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <isa-l/mem_routines.h>

#include "compact_int.h"
#include "fail.h"

#define CHUNK_BYTES 65536u

/* One block being looked at. */
struct look {
	uint32_t block;
	uint64_t data_off; /* in the file */
	uint64_t disk_off; /* on the disk */
	bool saw_free;	   /* something was let go that is not zero */
	bool saw_equal;
	bool saw_set;
};

/* Sectors of this block that belong to the disk. */
static uint32_t sectors_of(const struct vhd *img, uint32_t block)
{
	uint64_t left = img->sectors - ((uint64_t)block << img->block_shift);

	return left < vhd_block_sectors(img) ? (uint32_t)left
					     : vhd_block_sectors(img);
}

static bool is_free(const struct compact *c, uint64_t off, uint64_t len)
{
	return c->opts->is_free && c->opts->is_free(c->opts->ctx, off, len);
}

/* What the layers below have, zeros behind their end. */
static int read_parent(struct compact *c, uint64_t off, size_t len,
		       struct vhd_err *err)
{
	struct vhd *parent = c->img->parent;
	uint64_t size = parent->info.size_bytes;
	size_t have = 0;
	int rc = 0;

	if (off < size)
		have = size - off < len ? (size_t)(size - off) : len;
	if (have)
		rc = vhd_read(parent, off, c->other, have, err);
	memset(c->other + have, 0, len - have);
	return rc;
}

/* A grain of valid sectors, at c->buf + at: may it go? */
static bool grain_may_go(struct compact *c, struct look *k, size_t at,
			 size_t len, uint64_t disk_off)
{
	bool diff = c->img->info.format == VHD_FORMAT_DIFF;

	if (!diff && isal_zero_detect(c->buf + at, len) == 0)
		return true;
	if (diff && c->opts->parent_equal &&
	    memcmp(c->buf + at, c->other + at, len) == 0) {
		k->saw_equal = true;
		return true;
	}
	if (!is_free(c, disk_off, len))
		return false;
	k->saw_free = true;
	return true;
}

/* `sectors` valid ones from sector `in` of the block. */
static int run_may_go(struct compact *c, struct look *k, uint32_t in,
		      uint32_t sectors, bool *go, struct vhd_err *err)
{
	uint64_t at = (uint64_t)in * VHD_SECTOR_BYTES;
	uint64_t end = at + (uint64_t)sectors * VHD_SECTOR_BYTES;
	bool parent =
		c->img->info.format == VHD_FORMAT_DIFF && c->opts->parent_equal;

	for (*go = true; at < end && *go;) {
		size_t len = end - at < CHUNK_BYTES ? (size_t)(end - at)
						    : CHUNK_BYTES;
		int rc = vhd_file_read(&c->img->file, c->buf, len,
				       k->data_off + at, err);

		if (!rc && parent)
			rc = read_parent(c, k->disk_off + at, len, err);
		if (rc)
			return rc;
		for (size_t g = 0, n; g < len && *go; g += n) {
			n = COMPACT_GRAIN_BYTES -
			    (k->disk_off + at + g) % COMPACT_GRAIN_BYTES;
			n = n < len - g ? n : len - g;
			*go = grain_may_go(c, k, g, n, k->disk_off + at + g);
		}
		at += len;
	}
	return 0;
}

/* The block's data is a hole of the file, which reads as zero. */
static bool is_hole(const struct compact *c, uint64_t off, uint64_t len)
{
	off_t data;

	if (c->img->file.fd < 0)
		return false;
	data = lseek(c->img->file.fd, (off_t)off, SEEK_DATA);
	return (data < 0 && errno == ENXIO) ||
	       (data >= 0 && (uint64_t)data >= off + len);
}

static int bits_may_go(struct compact *c, struct look *k, const uint8_t *map,
		       bool *go, struct vhd_err *err)
{
	uint32_t sectors = sectors_of(c->img, k->block), n;
	int rc = 0;

	for (uint32_t in = 0; in < sectors && *go && !rc; in += n) {
		bool set;

		n = vhd_bits_run(map, in, sectors, &set);
		if (!set)
			continue;
		k->saw_set = true;
		rc = run_may_go(c, k, in, n, go, err);
	}
	return rc;
}

static int may_go(struct compact *c, struct look *k, uint32_t sector,
		  uint8_t *map, bool *go, struct vhd_err *err)
{
	const struct vhd *img = c->img;
	uint64_t len = (uint64_t)sectors_of(img, k->block) * VHD_SECTOR_BYTES;
	int rc;

	k->data_off = vhd_block_data(img, sector);
	k->disk_off = (uint64_t)k->block * img->info.block_size_bytes;
	*go = true;
	if (is_free(c, k->disk_off, len)) {
		k->saw_free = true;
		return 0;
	}
	if (img->info.format == VHD_FORMAT_DYNAMIC &&
	    is_hole(c, k->data_off, len))
		return 0;
	rc = vhd_file_read(&img->file, map, img->info.bitmap_bytes,
			   (uint64_t)sector * VHD_SECTOR_BYTES, err);
	return rc ? rc : bits_may_go(c, k, map, go, err);
}

static void drop(struct compact *c, const struct look *k)
{
	struct vhd_compact_result *r = c->result;

	c->dropped[k->block / 64] |= 1ull << (k->block % 64);
	if (k->saw_free)
		r->blocks_free++;
	else if (k->saw_equal)
		r->blocks_equal++;
	else if (!k->saw_set && c->img->info.format == VHD_FORMAT_DIFF)
		r->blocks_unset++;
	else
		r->blocks_zero++;
}

int compact_scan(struct compact *c, struct vhd_err *err)
{
	uint32_t len = c->img->info.bitmap_bytes;
	uint8_t *map = malloc(len);
	int rc = 0;

	if (!map)
		return vhd_fail_nomem(err, len, "a sector bitmap");
	for (uint32_t i = 0; i < c->l.count && !rc; i++) {
		struct look k = {.block = c->l.places[i].block};
		bool go;

		rc = may_go(c, &k, c->l.places[i].sector, map, &go, err);
		if (!rc && go)
			drop(c, &k);
		if (!rc)
			rc = compact_tell(c, (uint64_t)i + 1, c->l.count, err);
	}
	free(map);
	return rc;
}

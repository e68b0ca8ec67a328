/* SPDX-License-Identifier: BSD-2-Clause */
/* All that an image holds, in order, into another file: footer copy, header,
 * parent locators, table with batmap, then the blocks by their numbers, data
 * on 4 KiB boundaries, the footer in the last sector of a file whose length is
 * a multiple of 4096. Footer and header keep every byte but the places.
 *
 * Sectors that a bitmap calls unset are left out: nobody may read them.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "checked.h"
#include "compact_int.h"
#include "fail.h"

#define HEADER_AT 512u

struct copy {
	struct compact *c;
	const struct vhd_file *out;
	struct vhd_header_wire header;
	be32 *table; /* owned */
	uint64_t table_bytes;
	uint64_t end_bytes; /* of what has a place so far */
};

/* Without a file it is only found out how long it would be. */
static int put(const struct copy *y, const void *b, uint64_t len, uint64_t off,
	       struct vhd_err *err)
{
	return y->out ? vhd_file_write(y->out, b, len, off, err) : 0;
}

static uint64_t whole_sectors(uint64_t n)
{
	return (n + VHD_SECTOR_BYTES - 1) & ~(uint64_t)(VHD_SECTOR_BYTES - 1);
}

/* A locator keeps its length and what it has reserved beyond it. One that
 * points nowhere has nothing to keep: its slot is emptied.
 */
static int copy_locator(struct copy *y, struct vhd_locator_wire *w,
			const struct vhd_locator *l, struct vhd_err *err)
{
	uint64_t limit = y->c->img->limit_bytes;
	uint64_t space = whole_sectors(
		l->space_bytes > l->len_bytes ? l->space_bytes : l->len_bytes);
	uint8_t *payload;
	int rc;

	if (!l->platform || !l->len_bytes)
		return 0;
	if (l->len_bytes > (1u << 20) || space > (1u << 20) ||
	    !range_ok(l->off_bytes, l->len_bytes, limit)) {
		memset(w, 0, sizeof(*w));
		return 0;
	}
	payload = malloc(l->len_bytes);
	if (!payload)
		return vhd_fail_nomem(err, l->len_bytes, "a parent's name");
	rc = vhd_file_read(&y->c->img->file, payload, l->len_bytes,
			   l->off_bytes, err);
	if (!rc)
		rc = put(y, payload, l->len_bytes, y->end_bytes, err);
	free(payload);
	w->data_offset = be64_put(y->end_bytes);
	y->end_bytes += space;
	return rc;
}

static int copy_locators(struct copy *y, struct vhd_err *err)
{
	struct vhd_header h;
	int rc = 0;

	vhd_header_decode(&y->header, &h);
	if (y->c->img->info.format != VHD_FORMAT_DIFF)
		return 0;
	for (int i = 0; i < VHD_LOCATORS && !rc; i++)
		rc = copy_locator(y, &y->header.locator[i], &h.locator[i], err);
	return rc;
}

/* Of the sectors [in, in + count), whose data is in `data`. */
static void unset_to_zero(const uint8_t *map, uint32_t in, uint32_t count,
			  uint8_t *data)
{
	uint32_t end = in + count, n;

	for (; in < end; in += n) {
		uint64_t len;
		bool set;

		n = vhd_bits_run(map, in, end, &set);
		len = (uint64_t)n * VHD_SECTOR_BYTES;
		if (!set)
			memset(data, 0, len);
		data += len;
	}
}

/* Data of a block at `from`, its bitmap in c->other, to `to`. */
static int copy_data(struct copy *y, uint64_t from, uint64_t to,
		     struct vhd_err *err)
{
	struct compact *c = y->c;
	uint64_t size = c->img->info.block_size_bytes;
	int rc = 0;

	for (uint64_t at = 0, n; at < size && !rc; at += n) {
		n = size - at < COMPACT_BUF_BYTES ? size - at
						  : COMPACT_BUF_BYTES;
		rc = vhd_file_read(&c->img->file, c->buf, n, from + at, err);
		if (rc)
			break;
		unset_to_zero(c->other, (uint32_t)(at / VHD_SECTOR_BYTES),
			      (uint32_t)(n / VHD_SECTOR_BYTES), c->buf);
		rc = compact_put(y->out, c->buf, n, to + at, true, err);
	}
	return rc;
}

static int copy_block(struct copy *y, uint32_t block, uint32_t sector,
		      struct vhd_err *err)
{
	struct vhd *img = y->c->img;
	uint32_t bitmap = img->info.bitmap_bytes;
	uint64_t data;
	int rc;

	if (align_up_ovf(y->end_bytes + bitmap, VHD_ALIGN_BYTES, &data) ||
	    data / VHD_SECTOR_BYTES >= VHD_BAT_NONE)
		return vhd_fail(err, -EFBIG, VHD_WHY_NO_SPACE, 0,
				"the file would pass 2^32 sectors");
	y->end_bytes = data + img->info.block_size_bytes;
	if (!y->out)
		return 0;
	rc = vhd_file_read(&img->file, y->c->other, bitmap,
			   (uint64_t)sector * VHD_SECTOR_BYTES, err);
	if (!rc)
		rc = vhd_file_write(y->out, y->c->other, bitmap, data - bitmap,
				    err);
	if (!rc)
		rc = copy_data(y, (uint64_t)sector * VHD_SECTOR_BYTES + bitmap,
			       data, err);
	y->table[block] =
		be32_put((uint32_t)((data - bitmap) / VHD_SECTOR_BYTES));
	return rc;
}

static int copy_blocks(struct copy *y, struct vhd_err *err)
{
	struct vhd *img = y->c->img;
	uint32_t kept = y->c->l.count, done = 0;
	int rc = 0;

	for (uint32_t b = 0; b < img->info.blocks && !rc; b++) {
		uint32_t sector = atomic_load_explicit(&img->bat[b],
						       memory_order_relaxed);

		if (sector == VHD_BAT_NONE || compact_is_dropped(y->c, b))
			continue;
		rc = copy_block(y, b, sector, err);
		if (!rc && y->out)
			rc = compact_tell(y->c, ++done, kept, err);
	}
	return rc;
}

static int write_batmap(struct copy *y, uint64_t at, struct vhd_err *err)
{
	struct layout_batmap *b = &y->c->l.batmap;
	uint64_t len = layout_unit_bytes(&y->c->l, y->c->img->info.blocks) -
		       y->table_bytes - sizeof(b->w);
	uint32_t sum = 0;
	int rc;

	/* A map may be longer than the disk, and never is shorter. */
	if (len > b->len_bytes)
		len = b->len_bytes;
	for (uint64_t i = 0; i < len; i++)
		sum += b->map[i];
	b->w.map_offset = be64_put(at + sizeof(b->w));
	b->w.map_sectors = be32_put((uint32_t)(len / VHD_SECTOR_BYTES));
	b->w.version = be32_put(0x00010002);
	b->w.checksum = be32_put(~sum);
	rc = put(y, &b->w, sizeof(b->w), at, err);
	return rc ? rc : put(y, b->map, len, at + sizeof(b->w), err);
}

static int write_metadata(struct copy *y, uint64_t table_at,
			  struct vhd_err *err)
{
	const struct vhd *img = y->c->img;
	struct vhd_footer_wire f = img->footer;
	uint64_t len = vhd_length_for(y->end_bytes);
	int rc = put(y, y->table, y->table_bytes, table_at, err);

	if (!rc && y->c->l.batmap.there)
		rc = write_batmap(y, table_at + y->table_bytes, err);
	y->header.table_offset = be64_put(table_at);
	y->header.table_entries = be32_put(img->info.blocks);
	y->header.checksum = be32_put(
		vhd_wire_checksum(&y->header, sizeof(y->header),
				  offsetof(struct vhd_header_wire, checksum)));
	f.data_offset = be64_put(HEADER_AT);
	f.checksum = be32_put(vhd_wire_checksum(
		&f, sizeof(f), offsetof(struct vhd_footer_wire, checksum)));
	if (!rc)
		rc = put(y, &y->header, sizeof(y->header), HEADER_AT, err);
	if (!rc)
		rc = put(y, &f, sizeof(f), len - VHD_FOOTER_BYTES, err);
	if (!rc)
		rc = put(y, &f, sizeof(f), 0, err);
	y->c->result->new_file_bytes = len;
	return rc;
}

int compact_copy(struct compact *c, const struct vhd_file *out,
		 struct vhd_err *err)
{
	struct copy y = {
		.c = c,
		.out = out,
		.header = c->l.header,
		.table_bytes = layout_table_bytes(c->img->info.blocks),
		.end_bytes = HEADER_AT + VHD_HEADER_BYTES,
	};
	uint64_t table_at;
	int rc;

	y.table = malloc(y.table_bytes);
	if (!y.table)
		return vhd_fail_nomem(err, y.table_bytes, "the block table");
	memset(y.table, 0xff, y.table_bytes);
	rc = copy_locators(&y, err);
	table_at = y.end_bytes;
	y.end_bytes += layout_unit_bytes(&c->l, c->img->info.blocks);
	if (!rc)
		rc = copy_blocks(&y, err);
	if (!rc)
		rc = write_metadata(&y, table_at, err);
	free(y.table);
	return rc;
}

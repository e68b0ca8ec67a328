/* SPDX-License-Identifier: BSD-2-Clause */
/* Images front to back. Where everything goes is known beforehand: a block in
 * use lies one stride behind the one before it, in the order of the disk.
 *
 *   [copy][header][table] then a stride each: [gap][bitmap][data],
 *   then [gap][footer] up to a multiple of 4096
 *
 * The same rules are alloc.c's and tail.c's for files; a test holds the two
 * together.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "create.h"

#define HEADER_AT VHD_FOOTER_BYTES

struct vhd_stream {
	enum vhd_format format;
	uint64_t size_bytes;
	uint64_t file_bytes;
	struct vhd_footer_wire footer;

	/* DYNAMIC */
	struct vhd_header_wire header;
	uint64_t table_bytes; /* where it begins, ... */
	uint64_t head_bytes;  /* ... and ends */
	uint64_t blocks;
	uint32_t block_bytes;
	uint32_t bitmap_bytes;
	uint64_t data_bytes;  /* first block's data */
	uint64_t stride_bytes;
	uint32_t used;
	uint32_t *order;      /* blocks in use, ascending; owned */
};

static bool is_used(const uint8_t *used, uint64_t block)
{
	return used[block / 8] >> block % 8 & 1;
}

static int order_make(struct vhd_stream *s, const uint8_t *used,
		      struct vhd_err *err)
{
	uint32_t n = 0;

	for (uint64_t b = 0; b < s->blocks; b++)
		n += is_used(used, b);
	s->order = malloc((n ? n : 1) * sizeof(*s->order));
	if (!s->order)
		return vhd_fail(err, -ENOMEM, VHD_WHY_NOMEM, 0,
				"out of memory for %u blocks", n);
	for (uint64_t b = 0; b < s->blocks; b++)
		if (is_used(used, b))
			s->order[s->used++] = (uint32_t)b;
	return 0;
}

/* Sizes are far from wrapping: opts were checked, blocks are bounded. */
static int plan_dynamic(struct vhd_stream *s,
			const struct vhd_create_opts *opts,
			const uint8_t *used, struct vhd_err *err)
{
	struct vhd_header h;
	uint64_t end;
	int rc;

	s->block_bytes = opts->block_size_bytes ? opts->block_size_bytes
						: VHD_BLOCK_BYTES_DEFAULT;
	s->blocks = vhd_blocks_for(opts->size_bytes, s->block_bytes);
	s->bitmap_bytes = vhd_bitmap_size(s->block_bytes);
	h = vhd_create_header(opts->size_bytes, s->block_bytes);
	vhd_header_encode(&h, &s->header);
	s->table_bytes = h.table_bytes;
	s->head_bytes = s->table_bytes +
			((s->blocks * 4 + VHD_SECTOR_BYTES - 1) &
			 ~(uint64_t)(VHD_SECTOR_BYTES - 1));
	s->data_bytes = vhd_aligned(s->head_bytes + s->bitmap_bytes);
	s->stride_bytes = vhd_aligned((uint64_t)s->bitmap_bytes + s->block_bytes);
	rc = order_make(s, used, err);
	if (rc)
		return rc;
	end = s->used ? s->data_bytes + (s->used - 1) * s->stride_bytes +
				s->block_bytes
		      : s->head_bytes;
	s->file_bytes = vhd_length_for(end);
	if (s->file_bytes > VHD_FILE_BYTES_MAX)
		return vhd_fail(err, -EFBIG, VHD_WHY_NO_SPACE, s->file_bytes,
				"the file would pass 2^32 sectors, the reach "
				"of a VHD's block table");
	return 0;
}

int vhd_stream_create(const struct vhd_create_opts *opts, const uint8_t *used,
		      struct vhd_stream **out, struct vhd_err *err)
{
	struct vhd_stream *s;
	int rc;

	if (opts->format == VHD_FORMAT_DIFF)
		return vhd_fail(err, -EINVAL, VHD_WHY_ARGUMENT, 0,
				"a differencing image cannot be a stream");
	if (opts->batmap && opts->format == VHD_FORMAT_DYNAMIC)
		return vhd_fail(err, -ENOTSUP, VHD_WHY_UNSUPPORTED, 0,
				"an image with a batmap cannot be a stream");
	s = calloc(1, sizeof(*s));
	if (!s)
		return vhd_fail(err, -ENOMEM, VHD_WHY_NOMEM, 0,
				"out of memory");
	rc = vhd_create_footer(opts, &s->footer, err);
	if (!rc) {
		s->format = opts->format;
		s->size_bytes = opts->size_bytes;
		s->file_bytes = opts->size_bytes;
		if (s->format == VHD_FORMAT_FIXED)
			s->file_bytes += VHD_FOOTER_BYTES;
		if (s->format == VHD_FORMAT_DYNAMIC)
			rc = plan_dynamic(s, opts, used, err);
	}
	if (rc)
		vhd_stream_destroy(s);
	else
		*out = s;
	return rc;
}

void vhd_stream_destroy(struct vhd_stream *s)
{
	if (s)
		free(s->order);
	free(s);
}

uint64_t vhd_stream_bytes(const struct vhd_stream *s)
{
	return s->file_bytes;
}

/* ------------------------------------------------------------- what is where */

/* The data of block number `n` among those in use: how much is the disk's. */
static uint64_t disk_part(const struct vhd_stream *s, uint32_t n)
{
	uint64_t from = (uint64_t)s->order[n] * s->block_bytes;
	uint64_t left = s->size_bytes - from;

	return left < s->block_bytes ? left : s->block_bytes;
}

static void at_dynamic(const struct vhd_stream *s, uint64_t off,
		       struct vhd_stream_run *run)
{
	uint64_t n = off < s->data_bytes
			     ? 0
			     : (off - s->data_bytes) / s->stride_bytes;
	uint64_t data, in;

	/* Behind a block's data there is the gap before the next one. */
	if (n < s->used && off >= s->data_bytes + n * s->stride_bytes +
					  disk_part(s, (uint32_t)n))
		n++;
	run->kind = VHD_STREAM_META;
	if (n >= s->used) {
		run->len_bytes = s->file_bytes - off;
		return;
	}
	data = s->data_bytes + n * s->stride_bytes;
	if (off < data) {
		run->len_bytes = data - off;
		return;
	}
	in = off - data;
	run->kind = VHD_STREAM_DATA;
	run->len_bytes = disk_part(s, (uint32_t)n) - in;
	run->disk_bytes = (uint64_t)s->order[n] * s->block_bytes + in;
}

void vhd_stream_at(const struct vhd_stream *s, uint64_t off_bytes,
		   struct vhd_stream_run *run)
{
	*run = (struct vhd_stream_run){ .kind = VHD_STREAM_META };
	if (off_bytes >= s->file_bytes)
		return;
	if (s->format == VHD_FORMAT_DYNAMIC) {
		at_dynamic(s, off_bytes, run);
	} else if (off_bytes < s->size_bytes) {
		run->kind = VHD_STREAM_DATA;
		run->len_bytes = s->size_bytes - off_bytes;
		run->disk_bytes = off_bytes;
	} else {
		run->len_bytes = s->file_bytes - off_bytes;
	}
}

/* -------------------------------------------------------------- metadata */

/* Copy what of [src_off, src_off + src_len) lies in [off, off + len). */
static void overlay(uint8_t *buf, uint64_t off, size_t len, const void *src,
		    uint64_t src_off, size_t src_len)
{
	uint64_t from = off > src_off ? off : src_off;
	uint64_t to = off + len < src_off + src_len ? off + len
						    : src_off + src_len;

	if (from < to)
		memcpy(buf + (from - off),
		       (const uint8_t *)src + (from - src_off), to - from);
}

/* Where block `b` is among those in use, or `used`. */
static uint32_t rank(const struct vhd_stream *s, uint64_t b)
{
	uint32_t low = 0, high = s->used;

	while (low < high) {
		uint32_t mid = low + (high - low) / 2;

		if (s->order[mid] < b)
			low = mid + 1;
		else
			high = mid;
	}
	return low < s->used && s->order[low] == b ? low : s->used;
}

/* What the table says of block `b`; behind the last one it is padding. */
static be32 entry(const struct vhd_stream *s, uint64_t b)
{
	uint32_t n = b < s->blocks ? rank(s, b) : s->used;

	if (n == s->used)
		return be32_put(VHD_BAT_NONE);
	return be32_put((uint32_t)((s->data_bytes + n * s->stride_bytes -
				    s->bitmap_bytes) /
				   VHD_SECTOR_BYTES));
}

static void table(const struct vhd_stream *s, uint8_t *buf, uint64_t off,
		  size_t len)
{
	uint64_t from = off > s->table_bytes ? off : s->table_bytes;
	uint64_t to = off + len < s->head_bytes ? off + len : s->head_bytes;

	if (from >= to)
		return;
	for (uint64_t b = (from - s->table_bytes) / 4;
	     s->table_bytes + b * 4 < to; b++) {
		be32 e = entry(s, b);

		overlay(buf, off, len, &e, s->table_bytes + b * 4, sizeof(e));
	}
}

/* Bitmaps are all ones, as alloc.c has them; gaps are zero. */
static void bitmaps(const struct vhd_stream *s, uint8_t *buf, uint64_t off,
		    size_t len)
{
	uint64_t n = off < s->data_bytes
			     ? 0
			     : (off - s->data_bytes) / s->stride_bytes;

	for (; n < s->used; n++) {
		uint64_t to = s->data_bytes + n * s->stride_bytes;
		uint64_t from = to - s->bitmap_bytes;

		if (from >= off + len)
			return;
		if (from < off)
			from = off;
		if (to > off + len)
			to = off + len;
		if (from < to)
			memset(buf + (from - off), 0xff, to - from);
	}
}

void vhd_stream_meta(const struct vhd_stream *s, uint64_t off_bytes,
		     uint8_t *buf, size_t len_bytes)
{
	memset(buf, 0, len_bytes);
	if (s->format == VHD_FORMAT_DYNAMIC) {
		overlay(buf, off_bytes, len_bytes, &s->footer, 0,
			VHD_FOOTER_BYTES);
		overlay(buf, off_bytes, len_bytes, &s->header, HEADER_AT,
			VHD_HEADER_BYTES);
		table(s, buf, off_bytes, len_bytes);
		bitmaps(s, buf, off_bytes, len_bytes);
	}
	if (s->format != VHD_FORMAT_RAW)
		overlay(buf, off_bytes, len_bytes, &s->footer,
			s->file_bytes - VHD_FOOTER_BYTES, VHD_FOOTER_BYTES);
}

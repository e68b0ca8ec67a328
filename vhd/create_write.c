/* SPDX-License-Identifier: BSD-2-Clause */
/* The bytes of a new image.
 *
 * Creator: Windows 10's tag and `Wi2k`, because a tag of our own makes QEMU
 * before version 10 trust the geometry and cut the disk, and Azure wants the
 * OS tag. Layout: footer copy, header, BAT, then the footer in the last sector
 * of a file whose length is a multiple of 4096.
 * Source: VHD specification 1.0; reader behaviour as noted in geometry.c.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "create.h"
#include "fail.h"

#define HEADER_AT	  512u
#define TABLE_AT	  (HEADER_AT + VHD_HEADER_BYTES)
#define CREATOR_VERSION	  0x000a0000u
#define TABLE_CHUNK_BYTES 65536u

static int block_size_ok(const struct vhd_create_opts *o, uint32_t *block,
			 struct vhd_err *err)
{
	uint32_t n = o->block_size_bytes ? o->block_size_bytes
					 : VHD_BLOCK_BYTES_DEFAULT;

	if (n < VHD_BLOCK_BYTES_MIN || n > VHD_BLOCK_BYTES_MAX || (n & (n - 1)))
		return vhd_fail(err, -EINVAL, VHD_WHY_BLOCK_SIZE, 0,
				"block size %u; must be a power of two from "
				"4 KiB to 256 MiB",
				n);
	if (vhd_blocks_for(o->size_bytes, n) > VHD_BLOCKS_MAX)
		return vhd_fail(err, -EINVAL, VHD_WHY_TABLE_ENTRIES, 0,
				"blocks of %u bytes are too small for a disk "
				"of %llu: more than %u of them",
				n, (unsigned long long)o->size_bytes,
				VHD_BLOCKS_MAX);
	*block = n;
	return 0;
}

static int size_ok(const struct vhd_create_opts *o, struct vhd_err *err)
{
	bool blocked = o->format == VHD_FORMAT_DYNAMIC ||
		       o->format == VHD_FORMAT_DIFF;
	uint64_t max = blocked ? VHD_DYNAMIC_BYTES_MAX : VHD_FIXED_BYTES_MAX;

	if (o->size_bytes == 0)
		return vhd_fail(err, -EINVAL, VHD_WHY_SIZE_ZERO, 0,
				"a disk of 0 bytes is of no use");
	if (o->size_bytes % VHD_SECTOR_BYTES)
		return vhd_fail(err, -EINVAL, VHD_WHY_SIZE_ALIGN, 0,
				"size %llu is not a multiple of 512",
				(unsigned long long)o->size_bytes);
	if (o->size_bytes > max)
		return vhd_fail(err, -EINVAL, VHD_WHY_SIZE_LIMIT, 0,
				"size %llu is beyond the limit of %llu for a "
				"%s disk",
				(unsigned long long)o->size_bytes,
				(unsigned long long)max,
				vhd_format_name(o->format));
	return 0;
}

/* Nobody looks for a batmap in what others made. */
static int batmap_ok(const struct vhd_create_opts *o, struct vhd_err *err)
{
	bool blocked = o->format == VHD_FORMAT_DYNAMIC ||
		       o->format == VHD_FORMAT_DIFF;

	if (!o->batmap || (blocked && o->creator &&
			   memcmp(o->creator->app, "tap", 4) == 0))
		return 0;
	return vhd_fail(err, -EINVAL, VHD_WHY_ARGUMENT, 0,
			"a batmap is for dynamic and differencing images with "
			"blktap as creator");
}

int vhd_create_check(const struct vhd_create_opts *o, uint32_t *block,
		     struct vhd_err *err)
{
	int rc;

	*block = 0;
	if (!o)
		return vhd_fail(err, -EINVAL, VHD_WHY_ARGUMENT, 0,
				"no options given");
	rc = batmap_ok(o, err);
	if (rc)
		return rc;
	switch (o->format) {
	case VHD_FORMAT_RAW:
	case VHD_FORMAT_FIXED:
		return size_ok(o, err);
	case VHD_FORMAT_DYNAMIC:
	case VHD_FORMAT_DIFF:
		rc = size_ok(o, err);
		return rc ? rc : block_size_ok(o, block, err);
	default:
		return vhd_fail(err, -EINVAL, VHD_WHY_ARGUMENT, 0,
				"cannot create a %s image",
				vhd_format_name(o->format));
	}
}

/* Seconds since 2000, as far as 32 bits reach. */
static uint32_t timestamp(int64_t now_unix_s)
{
	int64_t s = now_unix_s - VHD_EPOCH_UNIX_S;

	if (s < 0)
		return 0;
	return s > UINT32_MAX ? UINT32_MAX : (uint32_t)s;
}

static void make_footer(const struct vhd_create_opts *o,
			struct vhd_footer_wire *w)
{
	bool fixed = o->format == VHD_FORMAT_FIXED;
	enum vhd_wire_type type = fixed ? VHD_WIRE_FIXED
				  : o->format == VHD_FORMAT_DIFF
					  ? VHD_WIRE_DIFF
					  : VHD_WIRE_DYNAMIC;
	struct vhd_footer f = {
		.features = VHD_FEATURE_RESERVED,
		.version = VHD_VERSION_1_0,
		.data_offset_bytes = fixed ? VHD_NO_OFFSET : HEADER_AT,
		.timestamp_s = timestamp(o->now_unix_s),
		.creator_app = {'w', 'i', 'n', ' '},
		.creator_version = CREATOR_VERSION,
		.creator_os = {'W', 'i', '2', 'k'},
		.original_size_bytes = o->size_bytes,
		.current_size_bytes = o->size_bytes,
		.geometry = vhd_geometry_for_create(o->size_bytes),
		.type = type,
	};

	if (o->creator) {
		memcpy(f.creator_app, o->creator->app, sizeof(f.creator_app));
		f.creator_version = o->creator->version;
		memcpy(f.creator_os, o->creator->os, sizeof(f.creator_os));
	}
	memcpy(f.unique_id, o->unique_id, sizeof(f.unique_id));
	vhd_footer_encode(&f, w);
}

int vhd_create_footer(const struct vhd_create_opts *opts,
		      struct vhd_footer_wire *w, struct vhd_err *err)
{
	uint32_t block;
	int rc = vhd_create_check(opts, &block, err);

	if (!rc)
		make_footer(opts, w);
	return rc;
}

struct vhd_header vhd_create_header(uint64_t size_bytes,
				    uint32_t block_size_bytes)
{
	return (struct vhd_header){
		.next_offset_bytes = VHD_NO_OFFSET,
		.table_bytes = TABLE_AT,
		.version = VHD_VERSION_1_0,
		.table_entries = (uint32_t)vhd_blocks_for(size_bytes,
							  block_size_bytes),
		.block_size_bytes = block_size_bytes,
	};
}

static int write_table(const struct vhd_file *f, uint64_t len,
		       struct vhd_err *err)
{
	uint8_t *chunk = malloc(TABLE_CHUNK_BYTES);
	int rc = 0;

	if (!chunk)
		return vhd_fail_nomem(err, TABLE_CHUNK_BYTES,
				      "the block table");
	memset(chunk, 0xff, TABLE_CHUNK_BYTES);
	for (uint64_t off = 0; off < len && !rc; off += TABLE_CHUNK_BYTES) {
		uint64_t n = len - off;

		if (n > TABLE_CHUNK_BYTES)
			n = TABLE_CHUNK_BYTES;
		rc = vhd_file_write(f, chunk, n, TABLE_AT + off, err);
	}
	free(chunk);
	return rc;
}

/* One locator behind `*end`, in a page of its own. */
static int write_locator(const struct vhd_file *f, struct vhd_locator *l,
			 uint32_t platform, const uint8_t *payload,
			 uint32_t len, uint64_t *end, struct vhd_err *err)
{
	if (!len)
		return 0;
	*l = (struct vhd_locator){
		.platform = platform,
		.space_bytes = VHD_RELATION_SPACE_BYTES,
		.len_bytes = len,
		.off_bytes = vhd_aligned(*end),
	};
	*end = l->off_bytes + VHD_RELATION_SPACE_BYTES;
	return vhd_file_write(f, payload, len, l->off_bytes, err);
}

static int write_relation(const struct vhd_file *f,
			  const struct vhd_relation *r, struct vhd_header *h,
			  uint64_t *end, struct vhd_err *err)
{
	int rc;

	memcpy(h->parent_id, r->parent_id, sizeof(h->parent_id));
	memcpy(h->parent_name, r->name, sizeof(h->parent_name));
	h->parent_timestamp_s = r->parent_timestamp_s;
	rc = write_locator(f, &h->locator[0], VHD_LOCATOR_W2RU, r->relative,
			   r->relative_len, end, err);
	if (!rc)
		rc = write_locator(f, &h->locator[1], VHD_LOCATOR_W2KU,
				   r->absolute, r->absolute_len, end, err);
	return rc;
}

/* blktap's map of full blocks, none of which is: its header right behind the
 * table, where its readers look, and the map behind that.
 */
static int write_batmap(const struct vhd_file *f, uint64_t blocks,
			uint64_t *end, struct vhd_err *err)
{
	static const uint8_t zeros[VHD_SECTOR_BYTES];
	uint64_t bytes = (blocks + 7) / 8;
	uint64_t sectors = (bytes + VHD_SECTOR_BYTES - 1) / VHD_SECTOR_BYTES;
	uint64_t map = *end + sizeof(struct vhd_batmap_wire);
	struct vhd_batmap_wire w = {
		.map_offset = be64_put(map),
		.map_sectors = be32_put((uint32_t)sectors),
		.version = be32_put(VHD_BATMAP_1_2),
		.checksum = be32_put(~(uint32_t)0), /* of zeros */
	};
	int rc;

	memcpy(w.cookie, VHD_COOKIE_BATMAP, VHD_COOKIE_BYTES);
	rc = vhd_file_write(f, &w, sizeof(w), *end, err);
	*end = map + sectors * VHD_SECTOR_BYTES;
	for (uint64_t at = map; at < *end && !rc; at += VHD_SECTOR_BYTES)
		rc = vhd_file_write(f, zeros, sizeof(zeros), at, err);
	return rc;
}

static int write_ends(const struct vhd_file *f, const struct vhd_create_opts *o,
		      uint64_t end, struct vhd_err *err)
{
	struct vhd_footer_wire footer;
	int rc;

	end = vhd_length_for(end);
	make_footer(o, &footer);
	rc = vhd_file_write(f, &footer, sizeof(footer), 0, err);
	if (!rc)
		rc = vhd_file_write(f, &footer, sizeof(footer),
				    end - VHD_FOOTER_BYTES, err);
	return rc;
}

static int write_blocked(const struct vhd_file *f,
			 const struct vhd_create_opts *o, uint32_t block,
			 const struct vhd_relation *r, struct vhd_err *err)
{
	uint64_t blocks = vhd_blocks_for(o->size_bytes, block);
	uint64_t table_len = (blocks * 4 + VHD_SECTOR_BYTES - 1) &
			     ~(uint64_t)(VHD_SECTOR_BYTES - 1);
	uint64_t end = TABLE_AT + table_len;
	struct vhd_header h = vhd_create_header(o->size_bytes, block);
	struct vhd_header_wire header;
	int rc = write_table(f, table_len, err);

	if (!rc && o->batmap)
		rc = write_batmap(f, blocks, &end, err);
	if (!rc && r)
		rc = write_relation(f, r, &h, &end, err);
	if (rc)
		return rc;
	vhd_header_encode(&h, &header);
	rc = vhd_file_write(f, &header, sizeof(header), HEADER_AT, err);
	return rc ? rc : write_ends(f, o, end, err);
}

int vhd_create_write(const struct vhd_file *f, const struct vhd_create_opts *o,
		     uint32_t block, const struct vhd_relation *r,
		     struct vhd_err *err)
{
	struct vhd_footer_wire footer;
	uint64_t old_bytes;
	int rc = vhd_file_size(f, &old_bytes, err);

	if (!rc && old_bytes)
		rc = vhd_file_truncate(f, 0, err);
	if (rc)
		return rc;
	if (block)
		return write_blocked(f, o, block, r, err);
	rc = vhd_file_truncate(f, o->size_bytes, err);
	if (rc || o->format == VHD_FORMAT_RAW)
		return rc;
	make_footer(o, &footer);
	return vhd_file_write(f, &footer, sizeof(footer), o->size_bytes, err);
}

int vhd_create_open(const char *path, const struct vhd_create_opts *opts,
		    struct vhd_file *f, bool *made, struct vhd_err *err)
{
	struct vhd_file_open how = {
		.writable = true,
		.create = true,
		.exclusive = true,
		.direct = opts->direct,
		.no_sync = opts->no_sync,
	};
	int rc = vhd_file_open(path, &how, f, err);

	*made = rc == 0;
	if (rc != -EEXIST || opts->exclusive)
		return rc;
	how.exclusive = false;
	return vhd_file_open(path, &how, f, err);
}

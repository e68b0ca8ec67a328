/* SPDX-License-Identifier: BSD-2-Clause */
/* The dynamic disk header: where the BAT lies and how large a block is. There
 * is one copy only. Every number in it is bounded here, before anything is
 * allocated or multiplied.
 * Source: VHD specification 1.0, "Dynamic Disk Header Format".
 */
#include <errno.h>
#include <string.h>

#include "checked.h"
#include "format.h"

#define AT(field) (header_bytes + offsetof(struct vhd_header_wire, field))

static void locator_decode(const struct vhd_locator_wire *w,
			   struct vhd_locator *l)
{
	uint32_t space = be32_get(w->data_space);

	l->platform = be32_get(w->platform);
	/* Sectors in the specification, bytes in everything that exists. */
	l->space_bytes = space < 512 ? space * VHD_SECTOR_BYTES : space;
	l->len_bytes = be32_get(w->data_len);
	l->off_bytes = be64_get(w->data_offset);
}

void vhd_header_decode(const struct vhd_header_wire *w, struct vhd_header *h)
{
	h->cookie_ok =
		memcmp(w->cookie, VHD_COOKIE_HEADER, VHD_COOKIE_BYTES) == 0;
	h->checksum_ok =
		vhd_wire_checksum(w, sizeof(*w),
				  offsetof(struct vhd_header_wire, checksum)) ==
		be32_get(w->checksum);
	h->next_offset_bytes = be64_get(w->next_offset);
	h->table_bytes = be64_get(w->table_offset);
	h->version = be32_get(w->version);
	h->table_entries = be32_get(w->table_entries);
	h->block_size_bytes = be32_get(w->block_size);
	memcpy(h->parent_id, w->parent_id, sizeof(h->parent_id));
	h->parent_timestamp_s = be32_get(w->parent_timestamp);
	memcpy(h->parent_name, w->parent_name, sizeof(h->parent_name));
	for (int i = 0; i < VHD_LOCATORS; i++)
		locator_decode(&w->locator[i], &h->locator[i]);
	h->reserved_nonzero =
		be32_get(w->reserved1) ||
		vhd_any_nonzero(w->reserved2, sizeof(w->reserved2));
}

void vhd_header_encode(const struct vhd_header *h, struct vhd_header_wire *w)
{
	memset(w, 0, sizeof(*w));
	memcpy(w->cookie, VHD_COOKIE_HEADER, VHD_COOKIE_BYTES);
	w->next_offset = be64_put(h->next_offset_bytes);
	w->table_offset = be64_put(h->table_bytes);
	w->version = be32_put(h->version);
	w->table_entries = be32_put(h->table_entries);
	w->block_size = be32_put(h->block_size_bytes);
	memcpy(w->parent_id, h->parent_id, sizeof(h->parent_id));
	w->parent_timestamp = be32_put(h->parent_timestamp_s);
	memcpy(w->parent_name, h->parent_name, sizeof(h->parent_name));
	for (int i = 0; i < VHD_LOCATORS; i++) {
		w->locator[i].platform = be32_put(h->locator[i].platform);
		w->locator[i].data_space = be32_put(h->locator[i].space_bytes);
		w->locator[i].data_len = be32_put(h->locator[i].len_bytes);
		w->locator[i].data_offset = be64_put(h->locator[i].off_bytes);
	}
	w->checksum = be32_put(vhd_wire_checksum(
		w, sizeof(*w), offsetof(struct vhd_header_wire, checksum)));
}

uint32_t vhd_bitmap_size(uint32_t block_size_bytes)
{
	uint32_t bits = block_size_bytes / VHD_SECTOR_BYTES;

	return ((bits + 7) / 8 + VHD_SECTOR_BYTES - 1) &
	       ~(VHD_SECTOR_BYTES - 1);
}

uint64_t vhd_blocks_for(uint64_t size_bytes, uint32_t block_size_bytes)
{
	return size_bytes / block_size_bytes +
	       (size_bytes % block_size_bytes != 0);
}

static int block_size_check(const struct vhd_header *h, uint64_t header_bytes,
			    struct vhd_err *err)
{
	uint32_t n = h->block_size_bytes;

	if (n >= VHD_BLOCK_BYTES_MIN && n <= VHD_BLOCK_BYTES_MAX &&
	    (n & (n - 1)) == 0)
		return 0;
	return vhd_fail(err, -EUCLEAN, VHD_WHY_BLOCK_SIZE, AT(block_size),
			"block size %u; must be a power of two from 4 KiB to "
			"256 MiB",
			n);
}

static int entries_check(const struct vhd_header *h, uint64_t header_bytes,
			 uint64_t size_bytes, struct vhd_err *err)
{
	uint64_t need = vhd_blocks_for(size_bytes, h->block_size_bytes);

	if (h->table_entries == 0)
		return vhd_fail(err, -EUCLEAN, VHD_WHY_TABLE_ENTRIES,
				AT(table_entries),
				"the block table has no entries");
	if (h->table_entries < need)
		return vhd_fail(
			err, -EUCLEAN, VHD_WHY_TABLE_SHORT, AT(table_entries),
			"the block table has %u entries; %llu bytes of "
			"disk need %llu",
			h->table_entries, (unsigned long long)size_bytes,
			(unsigned long long)need);
	if (need > VHD_BLOCKS_MAX)
		return vhd_fail(err, -EUCLEAN, VHD_WHY_TABLE_ENTRIES,
				AT(table_entries),
				"%llu blocks; more than %u are not handled",
				(unsigned long long)need, VHD_BLOCKS_MAX);
	return 0;
}

static int table_check(const struct vhd_header *h, uint64_t header_bytes,
		       uint64_t file_bytes, struct vhd_err *err)
{
	uint64_t off = h->table_bytes;
	uint64_t len = (uint64_t)h->table_entries * 4;
	uint64_t end;

	if (off < VHD_FOOTER_BYTES || off % VHD_SECTOR_BYTES)
		return vhd_fail(err, -EUCLEAN, VHD_WHY_TABLE_OFFSET,
				AT(table_offset),
				"block table at offset %llu: not on a sector, "
				"or inside the footer copy",
				(unsigned long long)off);
	if (add_ovf(off, len, &end) || end > file_bytes)
		return vhd_fail(err, -EUCLEAN, VHD_WHY_TABLE_PAST_END,
				AT(table_offset),
				"block table of %u entries at offset %llu ends "
				"behind the file's %llu bytes",
				h->table_entries, (unsigned long long)off,
				(unsigned long long)file_bytes);
	if (off < header_bytes + VHD_HEADER_BYTES && header_bytes < end)
		return vhd_fail(err, -EUCLEAN, VHD_WHY_TABLE_OFFSET,
				AT(table_offset),
				"block table at offset %llu overlaps the "
				"dynamic header at %llu",
				(unsigned long long)off,
				(unsigned long long)header_bytes);
	return 0;
}

int vhd_header_check(const struct vhd_header *h, uint64_t header_bytes,
		     uint64_t size_bytes, uint64_t file_bytes,
		     struct vhd_err *err)
{
	int rc;

	if (h->version >> 16 != VHD_VERSION_1_0 >> 16)
		return vhd_fail(err, -EUCLEAN, VHD_WHY_HEADER_VERSION,
				AT(version),
				"dynamic header version %u.%u; only major "
				"version 1 is known",
				h->version >> 16, h->version & 0xffff);
	rc = block_size_check(h, header_bytes, err);
	if (rc)
		return rc;
	rc = entries_check(h, header_bytes, size_bytes, err);
	if (rc)
		return rc;
	return table_check(h, header_bytes, file_bytes, err);
}

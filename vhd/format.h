/* SPDX-License-Identifier: BSD-2-Clause */
/* Decoded structures and the rules they must meet. Each is decoded once and
 * checked once; behind open.c nothing sees wire bytes, except that the footer
 * is kept whole so that unknown bytes survive a rewrite. Private to vhd/.
 */
#ifndef VHD_FORMAT_H
#define VHD_FORMAT_H

#include "vhd.h"
#include "wire.h"

/* Limits. Dynamic: the specification's 2040 GiB, and 2^32 sectors of file
 * because BAT entries count sectors in 32 bits. Blocks: a bound of this
 * library, so that no image makes it allocate more than about 350 MiB;
 * 2040 GiB of 128 KiB blocks fit. Fixed: far past any file system, small
 * enough that sums of two offsets cannot wrap.
 */
#define VHD_DYNAMIC_BYTES_MAX (2040ull << 30)
#define VHD_FIXED_BYTES_MAX   ((1ull << 62) - VHD_SECTOR_BYTES)
#define VHD_FILE_BYTES_MAX    ((1ull << 32) * VHD_SECTOR_BYTES)
#define VHD_BLOCKS_MAX	      (1u << 24)
#define VHD_BLOCK_BYTES_MIN   4096u
#define VHD_BLOCK_BYTES_MAX   (256u << 20)
#define VHD_ALIGN_BYTES	      4096u /* of block data and of the file's length */

#define VHD_EPOCH_UNIX_S 946684800ll /* 2000-01-01 00:00:00 UTC */

/* What a sector that might be a footer is. */
enum vhd_mark {
	VHD_MARK_NONE,	       /* no cookie */
	VHD_MARK_POISON,       /* `v_poison` */
	VHD_MARK_BAD_CHECKSUM, /* cookie, wrong sum */
	VHD_MARK_OK,
};

struct vhd_footer {
	uint32_t features;
	uint32_t version;
	uint64_t data_offset_bytes;
	uint32_t timestamp_s;
	uint8_t creator_app[4];
	uint32_t creator_version;
	uint8_t creator_os[4];
	uint64_t original_size_bytes;
	uint64_t current_size_bytes;
	struct vhd_geometry geometry;
	uint32_t type;
	uint32_t checksum;
	uint8_t unique_id[16];
	uint8_t saved_state;
	uint8_t hidden; /* blktap */
	bool reserved_nonzero;
};

static inline bool vhd_any_nonzero(const uint8_t *b, size_t len)
{
	for (size_t i = 0; i < len; i++)
		if (b[i])
			return true;
	return false;
}

/* Bitwise NOT of the byte sum, the 4 bytes at `field_off` counted as zero. */
uint32_t vhd_wire_checksum(const void *bytes, size_t len, size_t field_off);

enum vhd_mark vhd_footer_mark(const struct vhd_footer_wire *w);
void vhd_footer_decode(const struct vhd_footer_wire *w, struct vhd_footer *f);
void vhd_footer_encode(const struct vhd_footer *f, struct vhd_footer_wire *w);
/* Version, type and size rules. `at_bytes`: where the footer lies. */
int vhd_footer_check(const struct vhd_footer *f, uint64_t at_bytes,
		     struct vhd_err *err);

struct vhd_locator {
	uint32_t platform;
	uint32_t space_bytes; /* by blktap's rule: < 512 means sectors */
	uint32_t len_bytes;
	uint64_t off_bytes;
};

struct vhd_header {
	uint64_t next_offset_bytes;
	uint64_t table_bytes;
	uint32_t version;
	uint32_t table_entries;
	uint32_t block_size_bytes;
	uint8_t parent_id[16];
	uint32_t parent_timestamp_s;
	uint8_t parent_name[512];
	struct vhd_locator locator[VHD_LOCATORS];
	bool cookie_ok;
	bool checksum_ok;
	bool reserved_nonzero;
};

void vhd_header_decode(const struct vhd_header_wire *w, struct vhd_header *h);
void vhd_header_encode(const struct vhd_header *h, struct vhd_header_wire *w);
/* Everything but cookie and checksum. `size_bytes` is the virtual size. */
int vhd_header_check(const struct vhd_header *h, uint64_t header_bytes,
		     uint64_t size_bytes, uint64_t file_bytes,
		     struct vhd_err *err);

/* Bitmap in front of each block, whole sectors. */
uint32_t vhd_bitmap_size(uint32_t block_size_bytes);
/* ceil(size / block size); both already checked. */
uint64_t vhd_blocks_for(uint64_t size_bytes, uint32_t block_size_bytes);

bool vhd_geometry_is_marker(const struct vhd_geometry *g);
uint64_t vhd_geometry_product_bytes(const struct vhd_geometry *g);
/* What a new image carries: never a geometry that makes a reader truncate. */
struct vhd_geometry vhd_geometry_for_create(uint64_t size_bytes);

#endif

/* SPDX-License-Identifier: BSD-2-Clause */
/* The undo file of a repair: every byte that is going to be replaced, and the
 * file's length, so that the image can be brought back bit for bit. It is
 * complete and durable before the image changes; its header is written last,
 * so that a file cut off half-way is recognised.
 *
 * All numbers are big-endian, as in the image.
 *
 *     0   8  "vhdundo1"
 *     8   4  version, 0x00010000
 *    12   4  CRC-32C of the 512 bytes of this header, this field as zero
 *    16   8  length of the image before the repair
 *    24   8  ... and after it
 *    32   8  number of records
 *    40   8  length of the undo file
 *    48  16  unique id of the image before the repair (0 if it had none)
 *    64  16  ... and after it
 *    80   4  CRC-32C of everything behind this header
 *    84      zero up to 512, then the records:
 *
 *     0   8  offset in the image
 *     8   4  length n, 1 to 512; a record does not cross a sector
 *    12   4  CRC-32C of the n bytes the repair put there
 *    16   n  the bytes it replaced
 *
 * A record never reaches behind the former end of the image. Private to vhd/.
 */
#ifndef VHD_UNDO_H
#define VHD_UNDO_H

#include "file.h"
#include "wire.h"

#define UNDO_COOKIE	  "vhdundo1"
#define UNDO_VERSION	  0x00010000u
#define UNDO_HEADER_BYTES 512u

struct undo_header_wire {
	uint8_t cookie[8];
	be32 version;
	be32 crc;
	be64 old_len;
	be64 new_len;
	be64 records;
	be64 file_len;
	uint8_t old_id[16];
	uint8_t new_id[16];
	be32 body_crc;
	uint8_t reserved[428];
};

static_assert(sizeof(struct undo_header_wire) == UNDO_HEADER_BYTES, "undo");
static_assert(offsetof(struct undo_header_wire, old_id) == 48, "undo");
static_assert(offsetof(struct undo_header_wire, body_crc) == 80, "undo");

struct undo_record_wire {
	be64 off;
	be32 len;
	be32 new_crc;
};

static_assert(sizeof(struct undo_record_wire) == 16, "undo");

/* One change of a repair, all within one sector. */
struct undo_change {
	uint64_t off_bytes;
	uint32_t len_bytes;
	const uint8_t *now; /* what will be there */
};

/* Writing: begin, add each change in any order, end. Borrows both files. */
struct undo_writer {
	const struct vhd_file *image;
	const struct vhd_file *undo;
	uint64_t image_len;
	uint64_t records;
	uint64_t len_bytes; /* of the undo file so far */
	uint32_t body_crc;
};

void undo_begin(struct undo_writer *w, const struct vhd_file *image,
		uint64_t image_len, const struct vhd_file *undo);
int undo_add(struct undo_writer *w, const struct undo_change *c,
	     struct vhd_err *err);
/* Make it whole and durable. */
int undo_end(struct undo_writer *w, uint64_t new_len, const uint8_t old_id[16],
	     const uint8_t new_id[16], struct vhd_err *err);

/* The seam for tests; as vhd_undo. */
int vhd_undo_file(const struct vhd_file *image, const struct vhd_file *undo,
		  bool force, struct vhd_undo_result *result,
		  struct vhd_err *err);

uint32_t undo_crc(uint32_t crc, const void *bytes, size_t len);

#endif

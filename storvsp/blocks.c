/* SPDX-License-Identifier: BSD-2-Clause */
/* A disk's logical and physical blocks, as its options name them.
 *
 * A logical block of 512 bytes is the default, as Hyper-V has it for VHD. One
 * of 4096 makes the guest count in units of 8 sectors; the image stays what it
 * is. A physical block of 4096 over logical ones of 512 ("512e") is advice: a
 * guest aligns what it lays out.
 * Source: SBC-3 4.4 (logical and physical blocks).
 */
#include <errno.h>

#include "blocks.h"
#include "scsi/scsi.h"

static bool block_ok(uint32_t bytes)
{
	return bytes == VHD_SECTOR_BYTES || bytes == SCSI_BLOCK_BYTES_MAX;
}

static uint8_t log2_of(uint32_t n)
{
	return (uint8_t)__builtin_ctz(n);
}

int storvsp_blocks_set(struct storvsp_disk *d,
		       const struct storvsp_disk_opts *o, uint64_t size_bytes,
		       struct vhd_err *err)
{
	uint32_t block = o->block_bytes ? o->block_bytes : VHD_SECTOR_BYTES;
	uint32_t physical = o->physical_bytes ? o->physical_bytes : block;

	if (!block_ok(block) || !block_ok(physical) || physical < block)
		return vhd_fail(err, -EINVAL, VHD_WHY_ARGUMENT, 0,
				"blocks of %u bytes, physical ones of %u: "
				"either is 512 or 4096, the physical one not "
				"smaller",
				block, physical);
	if (size_bytes % block)
		return vhd_fail(err, -EINVAL, VHD_WHY_ARGUMENT, 0,
				"a disk of %llu bytes cannot have blocks of "
				"%u",
				(unsigned long long)size_bytes, block);
	d->block_log2 = log2_of(block / VHD_SECTOR_BYTES);
	d->physical_log2 = log2_of(physical / block);
	return 0;
}

/* SPDX-License-Identifier: BSD-2-Clause */
/* One row a product. The limits are those that `vhd check --for` holds a file
 * against, so that what is made by a preset is taken.
 * Source: the products' documentation; readers' behaviour.
 */
#include <stddef.h>

#include "preset.h"

#define MIB    (1ull << 20)
#define GIB    (1ull << 30)
#define TIB    (1ull << 40)
#define SECTOR 512ull

/* 65535 * 16 * 255 sectors, what geometry can tell. */
#define CHS_BYTES_MAX 136899993600ull
/* Cylinders between the size asked for and one that geometry tells exactly. */
#define CHS_TRIES 4096

static const struct vhd_creator virtual_pc = {
	{'v', 'p', 'c', ' '},
	0x00050003,
	{'W', 'i', '2', 'k'},
};

static const struct vhd_creator blktap = {
	{'t', 'a', 'p', 0},
	0x00010003,
	{0, 0, 0, 0},
};

static const struct verb_preset presets[VHD_TARGET_COUNT] = {
	[VHD_TARGET_HYPERV] =
		{
			.format = VHD_FORMAT_DYNAMIC,
			.size_min_bytes = 3 * MIB,
			.size_max_bytes = 2040 * GIB,
			.size_unit_bytes = SECTOR,
		},
	[VHD_TARGET_AZURE] =
		{
			.format = VHD_FORMAT_FIXED,
			.format_only = true,
			.size_min_bytes = 20 * MIB,
			.size_max_bytes = 32 * TIB,
			.size_unit_bytes = MIB,
		},
	[VHD_TARGET_VIRTUALPC] =
		{
			.format = VHD_FORMAT_DYNAMIC,
			.size_max_bytes = CHS_BYTES_MAX,
			.size_unit_bytes = SECTOR,
			.size_chs = true,
			.block_size_bytes = 2 * MIB,
			.creator = &virtual_pc,
		},
	[VHD_TARGET_XENSERVER] =
		{
			.format = VHD_FORMAT_DYNAMIC,
			.format_only = true,
			.size_max_bytes = 2040 * GIB,
			.size_unit_bytes = 2 * MIB,
			.block_size_bytes = 2 * MIB,
			.creator = &blktap,
			.batmap = true,
		},
	[VHD_TARGET_VIRTUALBOX] =
		{
			.format = VHD_FORMAT_DYNAMIC,
			.size_max_bytes = 2040 * GIB,
			.size_unit_bytes = SECTOR,
		},
	[VHD_TARGET_QEMU] =
		{
			.format = VHD_FORMAT_DYNAMIC,
			.size_max_bytes = 2040 * GIB,
			.size_unit_bytes = SECTOR,
		},
};

const struct verb_preset *verb_preset(enum vhd_target target)
{
	return target == VHD_TARGET_NONE ? NULL : &presets[target];
}

/* The smallest size from `bytes` on whose geometry, by the specification's
 * rule, gives just this size: cylinder by cylinder.
 */
static bool round_to_chs(uint64_t bytes, uint64_t *out)
{
	for (int i = 0; i < CHS_TRIES; i++) {
		struct vhd_geometry g = vhd_geometry_from_size(bytes);
		uint64_t cylinder =
			(uint64_t)g.heads * g.sectors_per_track * SECTOR;
		uint64_t product = cylinder * g.cylinders;

		if (product == bytes) {
			*out = bytes;
			return true;
		}
		bytes = product + cylinder;
	}
	return false;
}

bool verb_preset_size(const struct verb_preset *p, uint64_t asked_bytes,
		      uint64_t *bytes)
{
	uint64_t n = asked_bytes;

	if (n < p->size_min_bytes || n > p->size_max_bytes)
		return false;
	n = (n + p->size_unit_bytes - 1) / p->size_unit_bytes *
	    p->size_unit_bytes;
	if (p->size_chs && !round_to_chs(n, &n))
		return false;
	*bytes = n;
	return n <= p->size_max_bytes;
}

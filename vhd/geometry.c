/* SPDX-License-Identifier: BSD-2-Clause */
/* CHS geometry: the appendix of the specification, and what to write so that
 * no reader cuts the disk short.
 *
 * Three schools of readers exist. Most take current_size. Virtual PC and QEMU
 * before 10 (for most creators) take the C*H*S product. QEMU since 2015 reads
 * 65535/16/255 as "use current_size". The product equals the size only for few
 * sizes, so new images carry the computed geometry where it is exact and the
 * marker otherwise.
 * Source: VHD specification 1.0, appendix "CHS Calculation".
 */
#include "format.h"

#define CYLINDERS_MAX 65535u
#define HEADS_MAX     16u
#define SPT_MAX	      255u
#define SECTORS_MAX   (65535u * 16 * 255)
#define SECTORS_LARGE (65535u * 16 * 63)

struct vhd_geometry vhd_geometry_from_size(uint64_t size_bytes)
{
	uint64_t sectors = size_bytes / VHD_SECTOR_BYTES;
	uint32_t total =
		sectors > SECTORS_MAX ? SECTORS_MAX : (uint32_t)sectors;
	uint32_t spt = 17, heads, cth;

	if (total >= SECTORS_LARGE) {
		spt = SPT_MAX;
		heads = HEADS_MAX;
		cth = total / spt;
	} else {
		cth = total / spt;
		heads = (cth + 1023) / 1024;
		if (heads < 4)
			heads = 4;
		if (cth >= heads * 1024 || heads > HEADS_MAX) {
			spt = 31;
			heads = HEADS_MAX;
			cth = total / spt;
		}
		if (cth >= heads * 1024) {
			spt = 63;
			heads = HEADS_MAX;
			cth = total / spt;
		}
	}
	return (struct vhd_geometry){
		.cylinders = (uint16_t)(cth / heads),
		.heads = (uint8_t)heads,
		.sectors_per_track = (uint8_t)spt,
	};
}

bool vhd_geometry_is_marker(const struct vhd_geometry *g)
{
	return g->cylinders == CYLINDERS_MAX && g->heads == HEADS_MAX &&
	       g->sectors_per_track == SPT_MAX;
}

uint64_t vhd_geometry_product_bytes(const struct vhd_geometry *g)
{
	return (uint64_t)g->cylinders * g->heads * g->sectors_per_track *
	       VHD_SECTOR_BYTES;
}

struct vhd_geometry vhd_geometry_for_create(uint64_t size_bytes)
{
	struct vhd_geometry g = vhd_geometry_from_size(size_bytes);

	if (vhd_geometry_product_bytes(&g) == size_bytes)
		return g;
	return (struct vhd_geometry){CYLINDERS_MAX, HEADS_MAX, SPT_MAX};
}

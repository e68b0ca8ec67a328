/* SPDX-License-Identifier: BSD-2-Clause */
/* Who made an image, and which size a reader that trusts geometry shows.
 * Source: creator tags as found in images and in the writers' sources.
 */
#include <string.h>

#include "format.h"

struct creator {
	char app[5]; /* four bytes as on disk, NULs included */
	uint32_t version_min;
	uint32_t version_max;
	const char *name;
};

#define ANY 0, UINT32_MAX

static const struct creator creators[] = {
	{"vpc ", 0x00050003, 0x00050003, "Virtual PC 2007"},
	{"vpc ", 0x00050000, 0x00050002, "Virtual PC 2004"},
	{"vpc ", 0x00040000, 0x0004ffff, "Virtual PC for Mac"},
	{"vpc ", ANY, "Virtual PC"},
	{"vs  ", ANY, "Virtual Server 2005"},
	{"win ", 0x00060001, 0x00060001, "Windows 7 / Server 2008 R2"},
	{"win ", 0x00060002, 0x00060002, "Windows 8 / Server 2012"},
	{"win ", 0x00060003, 0x00060003, "Windows 8.1 / Server 2012 R2"},
	{"win ", 0x000a0000, 0x000affff, "Windows 10 or later"},
	{"win ", ANY, "Windows / Hyper-V"},
	{"d2v\0", ANY, "Sysinternals Disk2vhd"},
	{"qemu", ANY, "QEMU"},
	{"qem2", ANY, "QEMU (exact size)"},
	{"tap\0", ANY, "XenServer / XCP-ng blktap"},
	{"vbox", ANY, "VirtualBox"},
	{"wa\0\0", ANY, "Microsoft Azure"},
	{"CTXS", ANY, "Citrix XenConverter"},
	{"dutl", ANY, "DiscUtils"},
	{"*img", ANY, "FreeBSD mkimg"},
	{"mkim", ANY, "FreeBSD mkimg"},
	{"pcem", ANY, "PCem (MiniVHD)"},
	{"VARC", ANY, "86Box (MiniVHD)"},
	{"dic ", ANY, "DiscImageChef"},
	{"aaru", ANY, "Aaru"},
	{"\0\0\0\0", 0x000a0000, 0x000a0000, "OpenVMM"},
};

const char *vhd_creator_name(const uint8_t app[4], uint32_t version)
{
	for (size_t i = 0; i < sizeof(creators) / sizeof(creators[0]); i++) {
		const struct creator *c = &creators[i];

		if (memcmp(c->app, app, 4) == 0 && version >= c->version_min &&
		    version <= c->version_max)
			return c->name;
	}
	return NULL;
}

uint64_t vhd_chs_reader_bytes(const struct vhd_info *info)
{
	if (info->format == VHD_FORMAT_RAW ||
	    vhd_geometry_is_marker(&info->geometry))
		return info->size_bytes;
	return info->geometry_bytes;
}

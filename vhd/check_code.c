/* SPDX-License-Identifier: BSD-2-Clause */
/* One row a finding: its stable word, how grave it is, the code Windows uses
 * for it, the reason for which opening refuses the image, and the products
 * that do not take a file that has it.
 *
 * Who verifies what differs: QEMU judges the footer it starts from and the
 * table's bounds, but neither the header's checksum nor overlaps; VirtualBox
 * judges no checksum at all on opening; blktap and Windows judge all of it.
 * Source: Windows' virtual disk error codes (0xC03A0001 to 0xC03A001A); the
 * readers' sources and behaviour.
 */
#include <stddef.h>

#include "check.h"

#define INFO	VHD_SEVERITY_INFO
#define WARNING VHD_SEVERITY_WARNING
#define ERROR	VHD_SEVERITY_ERROR

#define T(x)	  (1u << VHD_TARGET_##x)
#define MICROSOFT (T(HYPERV) | T(AZURE) | T(VIRTUALPC))
#define STRICT	  (MICROSOFT | T(XENSERVER)) /* judge every checksum */
#define ALL	  (STRICT | T(VIRTUALBOX) | T(QEMU))

#define WHY(x) VHD_WHY_##x
#define ROW(code, name, severity, hresult, why, refused_by)                    \
	[VHD_FIND_##code] = {name, severity, hresult, why, refused_by}

const struct check_code check_codes[VHD_FIND_COUNT] = {
	ROW(FOOTER_MISSING, "footer-missing", ERROR, 0x01, 0,
	    MICROSOFT | T(VIRTUALBOX)),
	ROW(FOOTER_CHECKSUM, "footer-checksum", ERROR, 0x02,
	    WHY(FOOTER_CHECKSUM), MICROSOFT),
	ROW(FOOTER_VERSION, "footer-version", ERROR, 0x05, WHY(FOOTER_VERSION),
	    STRICT),
	ROW(FOOTER_TYPE, "footer-type", ERROR, 0x04, WHY(FOOTER_TYPE), ALL),
	ROW(FOOTER_511, "footer-511", WARNING, 0x03, 0,
	    MICROSOFT | T(VIRTUALBOX)),
	ROW(COPY_MISSING, "copy-missing", ERROR, 0x03, 0, MICROSOFT | T(QEMU)),
	ROW(COPY_CHECKSUM, "copy-checksum", ERROR, 0x02, WHY(FOOTER_CHECKSUM),
	    MICROSOFT | T(QEMU)),
	ROW(FOOTERS_DIFFER, "footers-differ", WARNING, 0x03, 0, T(HYPERV)),
	ROW(POISON_COOKIE, "poison-cookie", ERROR, 0x03, WHY(POISON_COOKIE),
	    ALL),
	ROW(SIZE, "size", ERROR, 0x12, 0, ALL),
	ROW(ORIGINAL_SIZE, "original-size", INFO, 0, 0, 0),
	ROW(FILE_LENGTH, "file-length", ERROR, 0x13, WHY(FIXED_LENGTH),
	    MICROSOFT | T(XENSERVER)),
	ROW(GEOMETRY, "geometry", WARNING, 0x03, 0,
	    T(VIRTUALPC) | T(XENSERVER)),
	ROW(GEOMETRY_CUTS, "geometry-cuts", INFO, 0, 0, 0),
	ROW(FEATURES, "features", WARNING, 0, 0, T(XENSERVER)),
	ROW(DATA_OFFSET, "data-offset", ERROR, 0x08, WHY(DATA_OFFSET), ALL),
	ROW(FORGED_START, "forged-start", WARNING, 0, 0, T(QEMU)),
	ROW(ID_ZERO, "id-zero", WARNING, 0, 0, 0),
	ROW(TIMESTAMP, "timestamp", WARNING, 0, 0, T(XENSERVER)),
	ROW(SAVED_STATE, "saved-state", WARNING, 0, 0, 0),
	ROW(HIDDEN, "hidden", INFO, 0, 0, 0),
	ROW(RESERVED, "reserved", INFO, 0, 0, 0),
	ROW(CREATOR, "creator", INFO, 0, 0, 0),
	ROW(RESIZE_CUT, "resize-cut", WARNING, 0, 0, 0),

	ROW(HEADER_COOKIE, "header-cookie", ERROR, 0x08, WHY(HEADER_COOKIE),
	    ALL),
	ROW(HEADER_CHECKSUM, "header-checksum", ERROR, 0x06,
	    WHY(HEADER_CHECKSUM), STRICT),
	ROW(HEADER_VERSION, "header-version", ERROR, 0x07, WHY(HEADER_VERSION),
	    STRICT | T(VIRTUALBOX)),
	ROW(NEXT_OFFSET, "next-offset", WARNING, 0x08, 0, T(XENSERVER)),
	ROW(BLOCK_SIZE, "block-size", ERROR, 0x0b, WHY(BLOCK_SIZE), ALL),
	ROW(BLOCK_SIZE_RARE, "block-size-rare", INFO, 0, 0, 0),
	ROW(TABLE_OFFSET, "table-offset", ERROR, 0x0a, WHY(TABLE_OFFSET), ALL),
	ROW(TABLE_ENTRIES, "table-entries", ERROR, 0x0a, WHY(TABLE_ENTRIES),
	    ALL),
	ROW(TABLE_SHORT, "table-short", ERROR, 0x0a, WHY(TABLE_SHORT), ALL),
	ROW(TABLE_LONG, "table-long", INFO, 0, 0, 0),
	ROW(TABLE_PAST_END, "table-past-end", ERROR, 0x0a, WHY(TABLE_PAST_END),
	    ALL),

	ROW(PARENT, "parent", INFO, 0x0d, WHY(NEEDS_PARENT), T(QEMU)),
	ROW(PARENT_NAME, "parent-name", WARNING, 0x0d, 0, 0),
	ROW(LOCATOR_LENGTH, "locator-length", WARNING, 0x08, 0, 0),
	ROW(LOCATOR_PLACE, "locator-place", WARNING, 0x08, 0, 0),
	ROW(LOCATOR_PLATFORM, "locator-platform", INFO, 0, 0, 0),
	ROW(LOCATOR_NONE, "locator-none", WARNING, 0x0d, 0,
	    MICROSOFT | T(XENSERVER)),
	ROW(PARENT_MISSING, "parent-missing", ERROR, 0x0d, WHY(PARENT_MISSING),
	    ALL),
	ROW(PARENT_ID, "parent-id", ERROR, 0x0e, WHY(PARENT_ID), ALL),
	ROW(PARENT_SIZE, "parent-size", ERROR, 0x17, WHY(PARENT_SIZE),
	    MICROSOFT),
	ROW(PARENT_TIME, "parent-time", INFO, 0x0f, 0, 0),
	ROW(PARENT_FAULT, "parent-fault", ERROR, 0x19, 0, ALL),
	ROW(CHAIN, "chain", ERROR, 0x18, WHY(CHAIN_CYCLE), ALL),

	ROW(BAT_IN_METADATA, "bat-in-metadata", ERROR, 0x0a,
	    WHY(BAT_IN_METADATA), STRICT | T(VIRTUALBOX)),
	ROW(BAT_PAST_END, "bat-past-end", ERROR, 0x0a, WHY(BAT_PAST_END), ALL),
	ROW(BAT_CUT, "bat-cut", ERROR, 0x0a, WHY(BAT_PAST_END), ALL),
	ROW(BAT_SHORT_LAST, "bat-short-last", WARNING, 0x0a, 0,
	    STRICT | T(QEMU)),
	ROW(BAT_DUPLICATE, "bat-duplicate", ERROR, 0x0a, WHY(BAT_DUPLICATE),
	    STRICT),
	ROW(BAT_OVERLAP, "bat-overlap", ERROR, 0x0a, WHY(BAT_OVERLAP), STRICT),
	ROW(BAT_EXTRA, "bat-extra", WARNING, 0x0a, 0, T(AZURE)),
	ROW(BAT_PADDING, "bat-padding", INFO, 0, 0, 0),
	ROW(UNALIGNED, "unaligned", INFO, 0, 0, 0),
	ROW(ORPHAN_SPACE, "orphan-space", INFO, 0, 0, 0),
	ROW(TAIL_GAP, "tail-gap", INFO, 0, 0, 0),

	ROW(BATMAP_PLACE, "batmap-place", WARNING, 0, 0, T(XENSERVER)),
	ROW(BATMAP_SIZE, "batmap-size", WARNING, 0, 0, T(XENSERVER)),
	ROW(BATMAP_CHECKSUM, "batmap-checksum", WARNING, 0, 0, T(XENSERVER)),
	ROW(BATMAP_STALE, "batmap-stale", ERROR, 0x0c, 0, T(XENSERVER)),

	ROW(BITMAP_HIDES, "bitmap-hides", WARNING, 0x0c, 0, 0),
	ROW(UNREADABLE, "unreadable", ERROR, 0x10, WHY(IO), ALL),

	ROW(HOST_SPARSE, "host-sparse", INFO, 0x1a, 0, 0),
	ROW(HOST_ATTRIBUTE, "host-attribute", INFO, 0x1a, 0, 0),

	ROW(WANTS_TYPE, "wants-type", ERROR, 0, 0, ALL),
	ROW(WANTS_SIZE, "wants-size", ERROR, 0x12, 0, ALL),
	ROW(WANTS_BLOCK_SIZE, "wants-block-size", ERROR, 0x0b, 0, ALL),
	ROW(WANTS_CREATOR, "wants-creator", ERROR, 0, 0, ALL),
	ROW(WANTS_GEOMETRY, "wants-geometry", ERROR, 0, 0, ALL),
	ROW(WANTS_TABLE, "wants-table", WARNING, 0x0a, 0, 0),
	ROW(WANTS_NAME, "wants-name", WARNING, 0, 0, 0),
	ROW(WANTS_BATMAP, "wants-batmap", INFO, 0, 0, 0),
	ROW(WANTS_ALIGNMENT, "wants-alignment", INFO, 0, 0, 0),
};

const char *vhd_finding_name(enum vhd_finding_code code)
{
	return (unsigned)code < VHD_FIND_COUNT ? check_codes[code].name
					       : "unknown";
}

static const char *const target_names[VHD_TARGET_COUNT] = {
	[VHD_TARGET_HYPERV] = "hyperv",
	[VHD_TARGET_AZURE] = "azure",
	[VHD_TARGET_VIRTUALPC] = "virtualpc",
	[VHD_TARGET_XENSERVER] = "xenserver",
	[VHD_TARGET_VIRTUALBOX] = "virtualbox",
	[VHD_TARGET_QEMU] = "qemu",
};

const char *vhd_target_name(enum vhd_target target)
{
	return (unsigned)target < VHD_TARGET_COUNT ? target_names[target]
						   : NULL;
}

/* A size can break three rules, and one finding tells of it. */
enum vhd_finding_code check_code_of(enum vhd_why why)
{
	if (why == VHD_WHY_SIZE_ZERO || why == VHD_WHY_SIZE_ALIGN ||
	    why == VHD_WHY_SIZE_LIMIT)
		return VHD_FIND_SIZE;
	for (int i = 0; i < VHD_FIND_COUNT; i++)
		if (why != VHD_WHY_NONE && check_codes[i].why == why)
			return (enum vhd_finding_code)i;
	return VHD_FIND_COUNT;
}

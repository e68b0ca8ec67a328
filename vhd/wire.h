/* SPDX-License-Identifier: BSD-2-Clause */
/* The structures of a VHD as they lie on disk. Layout only; decoding is in
 * footer.c, header.c and bat.c.
 * Source: VHD specification 1.0, "Hard Disk Footer Format", "Dynamic Disk
 * Header Format"; blktap's batmap as its readers describe it.
 */
#ifndef VHD_WIRE_H
#define VHD_WIRE_H

#include <assert.h>
#include <stddef.h>

#include "endian.h"

#define VHD_COOKIE_FOOTER "conectix"
#define VHD_COOKIE_POISON "v_poison" /* blktap: disabled on purpose */
#define VHD_COOKIE_HEADER "cxsparse"
#define VHD_COOKIE_BATMAP "tdbatmap"
#define VHD_COOKIE_VHDX	  "vhdxfile"
#define VHD_COOKIE_BYTES  8

#define VHD_FOOTER_BYTES     512u
#define VHD_FOOTER_511_BYTES 511u /* before Virtual PC 2004 */
#define VHD_HEADER_BYTES     1024u
#define VHD_VERSION_1_0	     0x00010000u
#define VHD_NO_OFFSET	     UINT64_MAX

#define VHD_FEATURE_TEMPORARY 0x1u
#define VHD_FEATURE_RESERVED  0x2u /* always set by living writers */

enum vhd_wire_type {
	VHD_WIRE_FIXED = 2,
	VHD_WIRE_DYNAMIC = 3,
	VHD_WIRE_DIFF = 4,
};

struct vhd_footer_wire {
	uint8_t cookie[8];
	be32 features;
	be32 version;
	be64 data_offset;
	be32 timestamp;
	uint8_t creator_app[4];
	be32 creator_version;
	uint8_t creator_os[4];
	be64 original_size;
	be64 current_size;
	be16 cylinders;
	uint8_t heads;
	uint8_t sectors_per_track;
	be32 type;
	be32 checksum;
	uint8_t unique_id[16];
	uint8_t saved_state;
	uint8_t hidden; /* blktap; reserved in the specification */
	uint8_t reserved[426];
};

static_assert(sizeof(struct vhd_footer_wire) == 512, "footer is one sector");
static_assert(offsetof(struct vhd_footer_wire, data_offset) == 16, "footer");
static_assert(offsetof(struct vhd_footer_wire, timestamp) == 24, "footer");
static_assert(offsetof(struct vhd_footer_wire, creator_app) == 28, "footer");
static_assert(offsetof(struct vhd_footer_wire, original_size) == 40, "footer");
static_assert(offsetof(struct vhd_footer_wire, current_size) == 48, "footer");
static_assert(offsetof(struct vhd_footer_wire, cylinders) == 56, "footer");
static_assert(offsetof(struct vhd_footer_wire, type) == 60, "footer");
static_assert(offsetof(struct vhd_footer_wire, checksum) == 64, "footer");
static_assert(offsetof(struct vhd_footer_wire, unique_id) == 68, "footer");
static_assert(offsetof(struct vhd_footer_wire, saved_state) == 84, "footer");
static_assert(offsetof(struct vhd_footer_wire, hidden) == 85, "footer");

struct vhd_locator_wire {
	be32 platform;
	be32 data_space; /* bytes, whatever the specification says */
	be32 data_len;
	be32 reserved;
	be64 data_offset;
};

#define VHD_LOCATORS 8

struct vhd_header_wire {
	uint8_t cookie[8];
	be64 next_offset;
	be64 table_offset;
	be32 version;
	be32 table_entries;
	be32 block_size;
	be32 checksum;
	uint8_t parent_id[16];
	be32 parent_timestamp;
	be32 reserved1;
	uint8_t parent_name[512]; /* UTF-16BE */
	struct vhd_locator_wire locator[VHD_LOCATORS];
	uint8_t reserved2[256];
};

static_assert(sizeof(struct vhd_locator_wire) == 24, "locator");
static_assert(sizeof(struct vhd_header_wire) == 1024, "header");
static_assert(offsetof(struct vhd_header_wire, table_offset) == 16, "header");
static_assert(offsetof(struct vhd_header_wire, version) == 24, "header");
static_assert(offsetof(struct vhd_header_wire, table_entries) == 28, "header");
static_assert(offsetof(struct vhd_header_wire, block_size) == 32, "header");
static_assert(offsetof(struct vhd_header_wire, checksum) == 36, "header");
static_assert(offsetof(struct vhd_header_wire, parent_id) == 40, "header");
static_assert(offsetof(struct vhd_header_wire, parent_name) == 64, "header");
static_assert(offsetof(struct vhd_header_wire, locator) == 576, "header");

#define VHD_BATMAP_1_2 0x00010002u /* 1.1 summed signed bytes */

struct vhd_batmap_wire {
	uint8_t cookie[8];
	be64 map_offset;
	be32 map_sectors;
	be32 version;
	be32 checksum; /* of the map, not of this structure */
	uint8_t marker;
	uint8_t key_hash[65];
	uint8_t reserved[418];
};

static_assert(sizeof(struct vhd_batmap_wire) == 512, "batmap header");

/* BAT entries: sector numbers, big-endian. */
#define VHD_BAT_NONE	       0xffffffffu
#define VHD_BAT_SECTOR_ENTRIES 128u /* per 512 bytes of table */

#endif

/* SPDX-License-Identifier: BSD-2-Clause */
/* What codes mean: one table a kind, shared by the report for people and the
 * one for programs, so that they cannot disagree.
 */
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "picture.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

const char *inspect_footer_word(enum vhd_footer_state state)
{
	static const char *const words[] = {
		[VHD_FOOTER_ABSENT] = "none",
		[VHD_FOOTER_OK] = "sound",
		[VHD_FOOTER_MISSING] = "missing",
		[VHD_FOOTER_BAD_CHECKSUM] = "bad checksum",
		[VHD_FOOTER_DIFFERS] = "differs",
	};

	return (unsigned)state < COUNT(words) ? words[state] : "unknown";
}

const char *inspect_note_name(enum vhd_note note)
{
	static const struct {
		enum vhd_note note;
		const char *name;
	} names[] = {
		{ VHD_NOTE_DIRTY, "dirty" },
		{ VHD_NOTE_FOOTER_511, "footer-511" },
		{ VHD_NOTE_FORGED_START, "forged-start" },
		{ VHD_NOTE_NEXT_OFFSET, "next-offset" },
		{ VHD_NOTE_TABLE_LONG, "table-long" },
		{ VHD_NOTE_SAVED_STATE, "saved-state" },
		{ VHD_NOTE_UNKNOWN_FEATURES, "unknown-features" },
		{ VHD_NOTE_BATMAP, "batmap" },
		{ VHD_NOTE_RESERVED_NONZERO, "reserved-nonzero" },
		{ VHD_NOTE_LAST_BLOCK_SHORT, "last-block-short" },
		{ VHD_NOTE_FOOTERS_DIFFER, "footers-differ" },
		{ VHD_NOTE_LOCATOR_BAD, "locator-bad" },
		{ VHD_NOTE_PARENT_TIME, "parent-time" },
		{ VHD_NOTE_HIDDEN, "hidden" },
		{ VHD_NOTE_BATMAP_BAD, "batmap-bad" },
		{ VHD_NOTE_RESIZE_CUT, "resize-cut" },
		{ VHD_NOTE_SPLIT, "split" },
		{ VHD_NOTE_TABLE_EXTRA, "table-extra" },
	};

	for (size_t i = 0; i < COUNT(names); i++)
		if (names[i].note == note)
			return names[i].name;
	return "unknown";
}

bool inspect_is_vhd(const struct vhd_info *info)
{
	return info->format != VHD_FORMAT_RAW;
}

bool inspect_has_blocks(const struct vhd_info *info)
{
	return info->format == VHD_FORMAT_DYNAMIC ||
	       info->format == VHD_FORMAT_DIFF;
}

/* Virtual PC always shows the geometry's size. QEMU did until 2.5; from 2.6
 * to 9.2 it did not for the creators below; from 10.0 on it does only for
 * what Virtual PC and old QEMU made.
 */
const char *inspect_chs_readers(const struct vhd_info *info)
{
	static const struct {
		char app[5];
		const char *readers;
	} creators[] = {
		{ "vpc ", "Virtual PC and every QEMU" },
		{ "qemu", "Virtual PC and every QEMU" },
		{ "win ", "Virtual PC and QEMU before 2.6" },
		{ "qem2", "Virtual PC and QEMU before 2.6" },
		{ "CTXS", "Virtual PC and QEMU before 2.6" },
		{ "tap\0", "Virtual PC and QEMU before 2.6" },
	};

	if (vhd_chs_reader_bytes(info) == info->size_bytes)
		return "";
	for (size_t i = 0; i < COUNT(creators); i++)
		if (!memcmp(info->creator_app, creators[i].app, 4))
			return creators[i].readers;
	return "Virtual PC and QEMU before 10.0";
}

/* The types that disks of virtual machines have. */
static const struct {
	const char *table;
	const char *type;
	const char *name;
} part_types[] = {
	{ "gpt", "c12a7328-f81f-11d2-ba4b-00a0c93ec93b", "EFI system" },
	{ "gpt", "21686148-6449-6e6f-744e-656564454649", "BIOS boot" },
	{ "gpt", "0fc63daf-8483-4772-8e79-3d69d8477de4", "Linux data" },
	{ "gpt", "4f68bce3-e8cd-4db1-96e7-fbcaf984b709", "Linux root x86-64" },
	{ "gpt", "44479540-f297-41b2-9af7-d131d5f0458a", "Linux root x86" },
	{ "gpt", "bc13c2ff-59e6-4262-a352-b275fd6f7172", "Linux boot" },
	{ "gpt", "933ac7e1-2eb4-4f13-b844-0e14e2aef915", "Linux home" },
	{ "gpt", "0657fd6d-a4ab-43c4-84e5-0933c84b4f4f", "Linux swap" },
	{ "gpt", "e6d6d379-f507-44c2-a23c-238f2a3df928", "Linux LVM" },
	{ "gpt", "a19d880f-05fc-4d3b-a006-743f0f84911e", "Linux RAID" },
	{ "gpt", "e3c9e316-0b5c-4db8-817d-f92df00215ae",
	  "Microsoft reserved" },
	{ "gpt", "ebd0a0a2-b9e5-4433-87c0-68b6b72699c7",
	  "Microsoft basic data" },
	{ "gpt", "de94bba4-06d1-4d40-a16a-bfd50179d6ac", "Windows recovery" },
	{ "dos", "0x01", "FAT12" },
	{ "dos", "0x04", "FAT16 below 32 MiB" },
	{ "dos", "0x05", "extended" },
	{ "dos", "0x06", "FAT16" },
	{ "dos", "0x07", "NTFS or exFAT" },
	{ "dos", "0x0b", "FAT32" },
	{ "dos", "0x0c", "FAT32 LBA" },
	{ "dos", "0x0e", "FAT16 LBA" },
	{ "dos", "0x0f", "extended LBA" },
	{ "dos", "0x27", "Windows recovery" },
	{ "dos", "0x82", "Linux swap" },
	{ "dos", "0x83", "Linux" },
	{ "dos", "0x85", "Linux extended" },
	{ "dos", "0x8e", "Linux LVM" },
	{ "dos", "0xa5", "FreeBSD" },
	{ "dos", "0xa6", "OpenBSD" },
	{ "dos", "0xa9", "NetBSD" },
	{ "dos", "0xee", "GPT protective" },
	{ "dos", "0xef", "EFI system" },
	{ "dos", "0xfd", "Linux RAID" },
};

const char *inspect_part_type(const char *table, const char *type)
{
	for (size_t i = 0; i < COUNT(part_types); i++)
		if (!strcmp(part_types[i].table, table) &&
		    !strcasecmp(part_types[i].type, type))
			return part_types[i].name;
	return NULL;
}

bool inspect_part_extended(const struct inspect_content *c,
			   const struct inspect_part *p)
{
	static const char *const types[] = {"0x05", "0x0f", "0x85"};

	for (size_t i = 0; i < COUNT(types); i++)
		if (!strcmp(c->table, "dos") && !strcmp(p->type, types[i]))
			return true;
	return false;
}

const char *inspect_part_label(const struct inspect_content *c,
			       const struct inspect_part *p, char *buf,
			       size_t n)
{
	const char *type = inspect_part_type(c->table, p->type);
	const char *what = p->fs.type[0] ? p->fs.type
			   : p->name[0]	 ? p->name
			   : type	 ? type
					 : "";
	const char *name = p->fs.label[0] ? p->fs.label : "";

	snprintf(buf, n, "%d%s%s%s%s%s", p->number, *what ? " " : "", what,
		 *name ? " \"" : "", name, *name ? "\"" : "");
	return buf;
}

const char *inspect_layer_name(const struct inspect_report *r, unsigned layer,
			       char buf[INSPECT_LAYER_NAME])
{
	struct vhd_layer l;
	const char *path = r->path, *slash;

	if (layer && !vhd_layer(r->img, layer, &l) && l.path)
		path = l.path;
	slash = strrchr(path, '/');
	snprintf(buf, INSPECT_LAYER_NAME, "%s",
		 slash && slash[1] ? slash + 1 : path);
	cli_text_clean(buf);
	return buf;
}

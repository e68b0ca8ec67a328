/* SPDX-License-Identifier: BSD-2-Clause */
/* Names and facts for people. */
#include "image.h"

const char *vhd_format_name(enum vhd_format format)
{
	switch (format) {
	case VHD_FORMAT_AUTO:
		return "auto";
	case VHD_FORMAT_RAW:
		return "raw";
	case VHD_FORMAT_FIXED:
		return "fixed";
	case VHD_FORMAT_DYNAMIC:
		return "dynamic";
	case VHD_FORMAT_DIFF:
		return "differencing";
	}
	return "unknown";
}

static const struct {
	enum vhd_note note;
	const char *text;
} notes[] = {
	{VHD_NOTE_DIRTY, "a writer was interrupted: one footer is missing"},
	{VHD_NOTE_FOOTER_511, "511-byte footer, from before Virtual PC 2004"},
	{VHD_NOTE_FORGED_START,
	 "the disk's first sector imitates a VHD footer; it is ignored"},
	{VHD_NOTE_NEXT_OFFSET,
	 "the dynamic header points to a further one; it is ignored"},
	{VHD_NOTE_TABLE_LONG, "the block table is longer than the disk needs"},
	{VHD_NOTE_SAVED_STATE, "a suspended machine depends on this image"},
	{VHD_NOTE_UNKNOWN_FEATURES, "unknown feature bits; they are kept"},
	{VHD_NOTE_BATMAP, "blktap batmap present; it is kept truthful"},
	{VHD_NOTE_RESERVED_NONZERO, "reserved bytes are not zero; kept"},
	{VHD_NOTE_LAST_BLOCK_SHORT, "the file ends inside the last block"},
	{VHD_NOTE_FOOTERS_DIFFER, "the two footers are valid but differ"},
	{VHD_NOTE_HIDDEN, "hidden: blktap keeps it as an inner node of a chain"},
	{VHD_NOTE_BATMAP_BAD, "blktap batmap points nowhere; it is ignored"},
	{VHD_NOTE_LOCATOR_BAD,
	 "a parent locator makes no sense; it is ignored"},
	{VHD_NOTE_PARENT_TIME,
	 "the parent's date is not the one recorded; that may mean nothing"},
	{VHD_NOTE_RESIZE_CUT,
	 "a resize was interrupted; opening it for writing finishes that"},
	{VHD_NOTE_TABLE_EXTRA,
	 "the block table has entries in use behind the disk's last block; "
	 "they are kept, not read"},
	{VHD_NOTE_SPLIT, "a split set of several files; it can only be read"},
};

const char *vhd_note_text(enum vhd_note note)
{
	for (size_t i = 0; i < sizeof(notes) / sizeof(notes[0]); i++)
		if (notes[i].note == note)
			return notes[i].text;
	return "";
}

const struct vhd_info *vhd_get_info(const struct vhd *img)
{
	return &img->info;
}

const struct vhd_file *vhd_get_file(const struct vhd *img)
{
	return &img->file;
}

bool vhd_is_writable(const struct vhd *img)
{
	return img->writable;
}

bool vhd_data_aligned(const struct vhd *img)
{
	return img->data_aligned;
}

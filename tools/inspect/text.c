/* SPDX-License-Identifier: BSD-2-Clause */
/* The report for people: one block an image, a label column, the most asked
 * for first. Numbers are exact, with a rounded form beside the long ones.
 */
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>

#include "inspect.h"

#define PART_TYPE_COLUMNS 20

/* "2 GiB (2147483648 bytes)", and plain bytes where both say the same. */
static const char *size_text(uint64_t bytes, char *buf, size_t n)
{
	char human[CLI_SIZE_TEXT];

	cli_size_text(bytes, human, sizeof(human));
	if (bytes < 1024)
		snprintf(buf, n, "%s", human);
	else
		snprintf(buf, n, "%s (%" PRIu64 " bytes)", human, bytes);
	return buf;
}

static double percent(uint64_t part, uint64_t whole)
{
	return whole ? 100.0 * (double)part / (double)whole : 0.0;
}

static void type_rows(FILE *out, const struct vhd_info *info)
{
	static const char *const names[] = {
		[VHD_FORMAT_RAW] = "raw disk",
		[VHD_FORMAT_FIXED] = "fixed VHD",
		[VHD_FORMAT_DYNAMIC] = "dynamic VHD",
		[VHD_FORMAT_DIFF] = "differencing VHD",
	};

	inspect_row(out, "Type", "%s", names[info->format]);
	inspect_row(out, "", "%s", info->probe);
}

static void size_rows(FILE *out, const struct inspect_report *r)
{
	const struct vhd_info *info = r->info;
	char text[80], host[80];

	inspect_row(out, "Virtual size", "%s",
	    size_text(info->size_bytes, text, sizeof(text)));
	if (inspect_is_vhd(info) &&
	    info->original_size_bytes != info->size_bytes) {
		inspect_row(out, "", "made with %s and changed since;",
		    size_text(info->original_size_bytes, text, sizeof(text)));
		inspect_row(out, "", "libvhdi shows that older size");
	}
	if (S_ISBLK(r->st.st_mode) || vhd_is_nbd_uri(r->path)) {
		inspect_row(out, S_ISBLK(r->st.st_mode) ? "Device" : "Export",
			    "%s",
		    size_text(info->file_bytes, text, sizeof(text)));
		return;
	}
	inspect_row(out, "File", "%s, %s on the host",
	    size_text(info->file_bytes, text, sizeof(text)),
	    cli_size_text((uint64_t)r->st.st_blocks * 512, host,
			  sizeof(host)));
}

static void geometry_rows(FILE *out, const struct vhd_info *info)
{
	uint64_t seen = vhd_chs_reader_bytes(info);
	const char *readers = inspect_chs_readers(info);
	char text[80];

	if (seen == info->size_bytes) {
		inspect_row(out, "Geometry", "%u/%u/%u, no reader truncates",
		    info->geometry.cylinders, info->geometry.heads,
		    info->geometry.sectors_per_track);
		return;
	}
	inspect_row(out, "Geometry", "%u/%u/%u = %s", info->geometry.cylinders,
	    info->geometry.heads, info->geometry.sectors_per_track,
	    size_text(info->geometry_bytes, text, sizeof(text)));
	if (seen < info->size_bytes)
		inspect_row(out, "", "%s cut off the last %s", readers,
		    size_text(info->size_bytes - seen, text, sizeof(text)));
	else
		inspect_row(out, "", "%s show %s too much", readers,
		    size_text(seen - info->size_bytes, text, sizeof(text)));
}

/* Four bytes as characters, or as hex when they are none. */
static const char *tag_text(const uint8_t tag[4], char buf[16])
{
	size_t n = 4;

	while (n && !tag[n - 1])
		n--;
	for (size_t i = 0; i < n; i++)
		if (tag[i] < 0x20 || tag[i] > 0x7e) {
			snprintf(buf, 16, "0x%02x%02x%02x%02x", tag[0], tag[1],
				 tag[2], tag[3]);
			return buf;
		}
	snprintf(buf, 16, "'%.*s'", (int)n, (const char *)tag);
	return buf;
}

static const char *host_os(const uint8_t os[4])
{
	if (!memcmp(os, "Wi2k", 4))
		return "Windows";
	if (!memcmp(os, "Mac ", 4))
		return "Mac";
	return "unknown";
}

static void origin_rows(FILE *out, const struct vhd_info *info)
{
	const char *name = vhd_creator_name(info->creator_app,
					    info->creator_version);
	char app[16], os[16], when[CLI_TIME_TEXT], id[CLI_ID_TEXT];

	inspect_row(out, "Created", "%s",
	    info->timestamp_s ? cli_time_text(info->timestamp_s, when)
			      : "no date recorded");
	inspect_row(out, "Creator", "%s: %s version %u.%u, host %s %s",
	    name ? name : "unknown program", tag_text(info->creator_app, app),
	    info->creator_version >> 16, info->creator_version & 0xffff,
	    host_os(info->creator_os), tag_text(info->creator_os, os));
	inspect_row(out, "Id", "%s as Windows spells it",
	    cli_id_windows(info->unique_id, id));
	inspect_row(out, "", "%s as in RFC 4122", cli_id_rfc4122(info->unique_id, id));
	inspect_row(out, "", "%s in hex", cli_id_hex(info->unique_id, id));
}

static void footer_rows(FILE *out, const struct vhd_info *info)
{
	inspect_row(out, "Footer", "%s, at offset %" PRIu64 ", checksum 0x%08x",
	    inspect_footer_word(info->footer_end), info->footer_end_bytes,
	    info->footer_checksum);
	if (inspect_has_blocks(info))
		inspect_row(out, "Footer copy", "%s, at offset 0",
		    inspect_footer_word(info->footer_copy));
}

static void block_rows(FILE *out, const struct vhd_info *info)
{
	char text[80];

	inspect_row(out, "Blocks", "%u of %u in use, %.1f %%, %s each",
	    info->blocks_used, info->blocks,
	    percent(info->blocks_used, info->blocks),
	    cli_size_text(info->block_size_bytes, text, sizeof(text)));
	inspect_row(out, "Block table", "%u entries at offset %" PRIu64
	    ", header at offset %" PRIu64,
	    info->table_entries, info->table_bytes, info->header_bytes);
	if (!info->blocks_used)
		return;
	if (info->fragments == 1)
		inspect_row(out, "Fragments", "1: the blocks follow one another");
	else
		inspect_row(out, "Fragments", "%u, on average %.1f blocks each",
		    info->fragments,
		    info->fragments ? (double)info->blocks_used /
					      info->fragments
				    : 0.0);
	inspect_row(out, "Alignment", "%u of %u blocks start on 4 KiB%s",
	    info->blocks_aligned, info->blocks_used,
	    info->blocks_aligned == info->blocks_used
		    ? ""
		    : "; the others cost extra I/O");
}

static void parent_rows(FILE *out, const struct vhd_info *info)
{
	char name[1024], id[CLI_ID_TEXT];

	if (info->format != VHD_FORMAT_DIFF)
		return;
	cli_text_utf16be(info->parent_name_utf16be,
			 sizeof(info->parent_name_utf16be), name,
			 sizeof(name));
	inspect_row(out, "Parent", "%s", *name ? name : "no name recorded");
	inspect_row(out, "", "%s as Windows spells it",
	    cli_id_windows(info->parent_id, id));
	inspect_row(out, "", "%s in hex", cli_id_hex(info->parent_id, id));
}

static void note_rows(FILE *out, const struct vhd_info *info)
{
	const char *label = "Notes";

	for (unsigned i = 0; i < VHD_NOTE_COUNT_BITS; i++) {
		enum vhd_note note = (enum vhd_note)(1u << i);

		if (!(info->notes & note))
			continue;
		inspect_row(out, label, "%s", vhd_note_text(note));
		label = "";
	}
}

static const char *fs_text(const struct inspect_fs *fs, char *buf, size_t n)
{
	int at;

	if (fs->ambiguous)
		return "traces of several file systems";
	if (!fs->type[0])
		return "";
	at = snprintf(buf, n, "%s", fs->type);
	/* ext2's "1.0" tells nobody anything; FAT's "FAT32" does. */
	if (fs->version[0] && strncmp(fs->type, "ext", 3) && at > 0 &&
	    (size_t)at < n)
		at += snprintf(buf + at, n - (size_t)at, " %s", fs->version);
	if (fs->label[0] && at > 0 && (size_t)at < n)
		at += snprintf(buf + at, n - (size_t)at, " \"%s\"", fs->label);
	if (fs->uuid[0] && at > 0 && (size_t)at < n)
		snprintf(buf + at, n - (size_t)at, " %s", fs->uuid);
	return buf;
}

static void part_row(FILE *out, const struct inspect_content *c,
		     const struct inspect_part *p)
{
	const char *type = inspect_part_type(c->table, p->type);
	char from[CLI_SIZE_TEXT], len[CLI_SIZE_TEXT], text[256];
	const char *fs = p->past_end ? "past the end of the disk"
				     : fs_text(&p->fs, text, sizeof(text));

	cli_size_text(p->off_bytes, from, sizeof(from));
	cli_size_text(p->len_bytes, len, sizeof(len));
	fprintf(out, "  %*d  at %-10s %-10s %-*s%s%s\n",
		INSPECT_LABEL_COLUMNS - 2, p->number, from, len,
		*fs ? PART_TYPE_COLUMNS : 0, type ? type : p->type,
		*fs ? " " : "", fs);
}

static void content_rows(FILE *out, const struct inspect_report *r)
{
	const struct inspect_content *c = r->content;
	char text[256];

	if (!c)
		return;
	if (!c->looked) {
		inspect_row(out, "Content", "not known: %s", c->err.text);
		return;
	}
	if (!c->table[0]) {
		const char *fs = fs_text(&c->fs, text, sizeof(text));

		inspect_row(out, "Content", "no partition table, %s%s",
		    *fs ? "" : "no known file system", fs);
		return;
	}
	inspect_row(out, "Content", "%s partition table%s%s, %u partition%s",
	    strcmp(c->table, "dos") ? c->table : "MBR",
	    c->table_id[0] ? " " : "", c->table_id, c->part_count,
	    c->part_count == 1 ? "" : "s");
	for (unsigned i = 0; i < c->part_count; i++)
		part_row(out, c, &c->parts[i]);
	if (c->part_more)
		inspect_row(out, "", "and %u more", c->part_more);
	if (c->truncated)
		inspect_row(out, "", "not everything was looked at: there is too much");
}

static void fault_rows(FILE *out, const struct inspect_report *r)
{
	if (r->fault.why == VHD_WHY_NONE)
		return;
	inspect_row(out, "FAULT", "%s", r->fault.text);
	if (r->info->faults > 1)
		inspect_row(out, "", "and %u more; the rest of this is as far as it "
		    "can be trusted", r->info->faults - 1);
}

void inspect_text(const struct inspect_report *r, FILE *out)
{
	const struct vhd_info *info = r->info;
	char shown[PATH_MAX];

	snprintf(shown, sizeof(shown), "%s", r->path);
	cli_text_clean(shown);
	fprintf(out, "%s\n", shown);
	type_rows(out, info);
	size_rows(out, r);
	if (inspect_has_blocks(info))
		block_rows(out, info);
	if (inspect_is_vhd(info)) {
		geometry_rows(out, info);
		origin_rows(out, info);
		footer_rows(out, info);
	}
	parent_rows(out, info);
	inspect_chain_rows(out, r);
	note_rows(out, info);
	content_rows(out, r);
	fault_rows(out, r);
}

/* SPDX-License-Identifier: BSD-2-Clause */
/* The report for programs. The keys are stable and always there; null says
 * that a thing does not apply or is not known. Sizes and offsets are bytes.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "inspect.h"

static void put(struct json_object *o, const char *key,
		struct json_object *value)
{
	cli_json_put(o, key, value);
}

static void put_text(struct json_object *o, const char *key, const char *text)
{
	put(o, key, text && *text ? cli_json_string(text) : NULL);
}

/* JSON is UTF-8; a path, and a text that names one, is bytes. */
static void put_bytes(struct json_object *o, const char *key, const char *path)
{
	char *clean = strdup(path);

	if (clean)
		cli_text_clean(clean);
	put_text(o, key, clean);
	free(clean);
}

static void put_number(struct json_object *o, const char *key, uint64_t n)
{
	put(o, key, cli_json_number(n));
}

static void put_bool(struct json_object *o, const char *key, bool yes)
{
	put(o, key, cli_json_bool(yes));
}

static struct json_object *object(void)
{
	return cli_json_object();
}

static struct json_object *fault_object(const struct vhd_err *fault)
{
	struct json_object *o;

	if (fault->why == VHD_WHY_NONE)
		return NULL;
	o = object();
	put_text(o, "why", cli_why_name(fault->why));
	put_number(o, "offset", fault->at_bytes);
	put_bytes(o, "text", fault->text);
	put_text(o, "advice", cli_advice(fault));
	return o;
}

static struct json_object *geometry_object(const struct vhd_info *info)
{
	struct json_object *o;

	if (!inspect_is_vhd(info))
		return NULL;
	o = object();
	put_number(o, "cylinders", info->geometry.cylinders);
	put_number(o, "heads", info->geometry.heads);
	put_number(o, "sectors-per-track", info->geometry.sectors_per_track);
	put_number(o, "size", info->geometry_bytes);
	put_number(o, "shown-size", vhd_chs_reader_bytes(info));
	put_text(o, "trusted-by", inspect_chs_readers(info));
	return o;
}

/* Tags are bytes; what is no text is replaced, and there is the hex. */
static void put_tag(struct json_object *o, const char *key,
		    const char *hex_key, const uint8_t tag[4])
{
	char text[5], hex[9];

	memcpy(text, tag, 4);
	text[4] = '\0';
	cli_text_clean(text);
	put_text(o, key, text);
	snprintf(hex, sizeof(hex), "%02x%02x%02x%02x", tag[0], tag[1], tag[2],
		 tag[3]);
	put_text(o, hex_key, hex);
}

static struct json_object *creator_object(const struct vhd_info *info)
{
	struct json_object *o;
	char version[32];

	if (!inspect_is_vhd(info))
		return NULL;
	o = object();
	put_text(o, "name",
		 vhd_creator_name(info->creator_app, info->creator_version));
	put_tag(o, "application", "application-hex", info->creator_app);
	snprintf(version, sizeof(version), "%u.%u", info->creator_version >> 16,
		 info->creator_version & 0xffff);
	put_text(o, "version", version);
	put_tag(o, "host", "host-hex", info->creator_os);
	return o;
}

static struct json_object *footer_object(const struct vhd_info *info)
{
	struct json_object *o;
	char checksum[16];

	if (!inspect_is_vhd(info))
		return NULL;
	o = object();
	put_text(o, "state", inspect_footer_word(info->footer_end));
	put_number(o, "offset", info->footer_end_bytes);
	put_text(o, "copy-state", inspect_footer_word(info->footer_copy));
	snprintf(checksum, sizeof(checksum), "0x%08x", info->footer_checksum);
	put_text(o, "checksum", checksum);
	put_number(o, "features", info->features);
	put_bool(o, "saved-state", info->saved_state != 0);
	put_bool(o, "hidden", info->notes & VHD_NOTE_HIDDEN);
	return o;
}

static struct json_object *parent_object(const struct vhd_info *info)
{
	struct json_object *o;
	char name[1024], when[CLI_TIME_TEXT];

	if (info->format != VHD_FORMAT_DIFF)
		return NULL;
	o = object();
	put_text(o, "name",
		 cli_text_utf16be(info->parent_name_utf16be,
				  sizeof(info->parent_name_utf16be), name,
				  sizeof(name)));
	put(o, "id", inspect_id_json(info->parent_id));
	put_text(o, "modified",
		 info->parent_timestamp_s
			 ? cli_time_text(info->parent_timestamp_s, when)
			 : "");
	return o;
}

/* Where the parent that the chain lacks was looked for. */
static struct json_object *looked_array(const struct inspect_report *r)
{
	struct json_object *list;
	struct vhd_layer l;
	char text[1024];

	if (!r->info || r->info->format != VHD_FORMAT_DIFF ||
	    vhd_layer(r->img, r->info->layers - 1, &l) ||
	    l.info->format != VHD_FORMAT_DIFF)
		return NULL;
	list = cli_json_array();
	for (unsigned i = 0;
	     vhd_parent_path(r->img, i, text, sizeof(text)) > 0; i++) {
		cli_text_clean(text);
		cli_json_add(list, cli_json_string(text));
	}
	return list;
}

static struct json_object *notes_array(const struct vhd_info *info)
{
	struct json_object *list = cli_json_array();

	for (unsigned i = 0; i < VHD_NOTE_COUNT_BITS; i++) {
		enum vhd_note note = (enum vhd_note)(1u << i);
		struct json_object *o;

		if (!(info->notes & note))
			continue;
		o = object();
		put_text(o, "note", inspect_note_name(note));
		put_text(o, "text", vhd_note_text(note));
		cli_json_add(list, o);
	}
	return list;
}

static struct json_object *fs_object(const struct inspect_fs *fs)
{
	struct json_object *o;

	if (!fs->type[0] && !fs->ambiguous)
		return NULL;
	o = object();
	put_text(o, "type", fs->type);
	put_text(o, "version", fs->version);
	put_text(o, "label", fs->label);
	put_text(o, "uuid", fs->uuid);
	put_bool(o, "ambiguous", fs->ambiguous);
	return o;
}

static struct json_object *parts_array(const struct inspect_content *c)
{
	struct json_object *list = cli_json_array();

	for (unsigned i = 0; i < c->part_count; i++) {
		const struct inspect_part *p = &c->parts[i];
		struct json_object *o = object();

		put_number(o, "number", (uint64_t)p->number);
		put_number(o, "offset", p->off_bytes);
		put_number(o, "size", p->len_bytes);
		put_text(o, "type", p->type);
		put_text(o, "type-name", inspect_part_type(c->table, p->type));
		put_text(o, "name", p->name);
		put_text(o, "uuid", p->uuid);
		put_bool(o, "past-end", p->past_end);
		put(o, "filesystem", fs_object(&p->fs));
		cli_json_add(list, o);
	}
	return list;
}

static struct json_object *content_object(const struct inspect_content *c)
{
	struct json_object *o;

	if (!c || !c->looked)
		return NULL;
	o = object();
	put_text(o, "table", c->table);
	put_text(o, "table-id", c->table_id);
	put(o, "filesystem", c->table[0] ? NULL : fs_object(&c->fs));
	put(o, "partitions", parts_array(c));
	put_bool(o, "complete", !c->truncated && !c->part_more);
	return o;
}

struct json_object *inspect_json(const struct inspect_report *r)
{
	static const struct vhd_info none;
	const struct vhd_info *info = r->info ? r->info : &none;
	bool vhd = r->info && inspect_is_vhd(info);
	struct json_object *o = object();
	char when[CLI_TIME_TEXT];

	put_bytes(o, "path", r->path);
	put(o, "fault", fault_object(&r->fault));
	put_number(o, "faults", info->faults ? info->faults
					     : r->fault.why != VHD_WHY_NONE);
	put_text(o, "format", r->info ? vhd_format_name(info->format) : "");
	put_text(o, "probe", info->probe);
	put(o, "virtual-size",
	    r->info ? cli_json_number(info->size_bytes) : NULL);
	put(o, "original-size",
	    vhd ? cli_json_number(info->original_size_bytes) : NULL);
	put(o, "file-size",
	    r->info ? cli_json_number(info->file_bytes) : NULL);
	put(o, "host-size",
	    r->info && S_ISREG(r->st.st_mode)
		    ? cli_json_number((uint64_t)r->st.st_blocks * 512)
		    : NULL);
	put_text(o, "created",
		 info->timestamp_s ? cli_time_text(info->timestamp_s, when)
				   : "");
	put(o, "id", vhd ? inspect_id_json(info->unique_id) : NULL);
	put(o, "creator", vhd ? creator_object(info) : NULL);
	put(o, "geometry", vhd ? geometry_object(info) : NULL);
	put(o, "footer", vhd ? footer_object(info) : NULL);
	put(o, "blocks", vhd ? inspect_blocks_json(info) : NULL);
	put(o, "parent", vhd ? parent_object(info) : NULL);
	put(o, "chain", inspect_chain_json(r));
	put(o, "allocation", r->alloc ? inspect_alloc_json(r->alloc) : NULL);
	put(o, "parent-looked-for", looked_array(r));
	put(o, "notes", notes_array(info));
	put(o, "content", content_object(r->content));
	return o;
}

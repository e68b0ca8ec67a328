/* SPDX-License-Identifier: BSD-2-Clause */
/* The layers of a chain, for people and for programs: what each is, whether
 * its parent is the one it asks for, and what of the disk comes from it.
 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "alloc.h"

bool inspect_chain_whole(const struct inspect_report *r)
{
	struct vhd_layer low;

	return r->info && r->info->format == VHD_FORMAT_DIFF &&
	       !vhd_layer(r->img, r->info->layers - 1, &low) &&
	       low.info->format != VHD_FORMAT_DIFF;
}

bool inspect_chain_broken(const struct inspect_report *r)
{
	return r->info && r->info->format == VHD_FORMAT_DIFF &&
	       !inspect_chain_whole(r);
}

/* Layers are linked only where the ids match, or where a raw disk is allowed
 * to have none.
 */
static const char *parent_match(const struct vhd *img, unsigned i,
				const struct vhd_info *info)
{
	struct vhd_layer parent;

	if (info->format != VHD_FORMAT_DIFF)
		return NULL;
	if (vhd_layer(img, i + 1, &parent))
		return "missing";
	if (parent.info->format == VHD_FORMAT_RAW)
		return "raw";
	return info->notes & VHD_NOTE_PARENT_TIME ? "id-only" : "full";
}

static const char *match_text(const char *match)
{
	if (!strcmp(match, "full"))
		return "its parent's id matches";
	if (!strcmp(match, "id-only"))
		return "its parent's id matches, the date does not (a copy "
		       "changes it)";
	if (!strcmp(match, "raw"))
		return "its parent is a raw disk, which has none";
	return "its parent is not here";
}

/* -------------------------------------------------------------- people -- */

static void share_row(FILE *out, const struct inspect_alloc *a, unsigned i)
{
	const struct inspect_share *s = &a->share[i];
	char seen[CLI_SIZE_TEXT], stored[CLI_SIZE_TEXT];
	uint64_t covered = s->stored_bytes > s->seen_bytes
				   ? s->stored_bytes - s->seen_bytes
				   : 0;

	cli_size_text(s->seen_bytes, seen, sizeof(seen));
	if (!covered) {
		inspect_row(out, "", "   gives %s of the disk, %.1f %%", seen,
			    100.0 * (double)s->seen_bytes /
				    (double)a->size_bytes);
		return;
	}
	inspect_row(out, "",
		    "   gives %s of the disk, %.1f %%; %s more are covered by "
		    "layers above",
		    seen, 100.0 * (double)s->seen_bytes / (double)a->size_bytes,
		    cli_size_text(covered, stored, sizeof(stored)));
}

static void block_row(FILE *out, const struct inspect_report *r,
		      const struct vhd_info *info, unsigned i)
{
	if (!inspect_has_blocks(info))
		return;
	if (r->alloc && r->alloc->bitmaps)
		inspect_row(out, "", "   %u of %u blocks in use, %u of them in "
				     "part",
			    info->blocks_used, info->blocks,
			    r->alloc->share[i].partial);
	else
		inspect_row(out, "", "   %u of %u blocks in use",
			    info->blocks_used, info->blocks);
}

/* A raw disk has a size and no more. */
static void what_rows(FILE *out, const struct inspect_report *r, unsigned i,
		      const struct vhd_layer *l)
{
	char size[CLI_SIZE_TEXT], id[CLI_ID_TEXT], when[CLI_TIME_TEXT];
	const char *match = parent_match(r->img, i, l->info);

	cli_size_text(l->info->size_bytes, size, sizeof(size));
	if (!inspect_is_vhd(l->info)) {
		inspect_row(out, "", "   raw, %s", size);
		return;
	}
	inspect_row(out, "", "   %s, %s, made %s",
		    vhd_format_name(l->info->format), size,
		    l->info->timestamp_s
			    ? cli_time_text(l->info->timestamp_s, when)
			    : "at no recorded date");
	inspect_row(out, "", "   id %s%s%s",
		    cli_id_windows(l->info->unique_id, id), match ? "; " : "",
		    match ? match_text(match) : "");
}

static void layer_rows(FILE *out, const struct inspect_report *r, unsigned i,
		       const struct vhd_layer *l)
{
	char path[1024];

	snprintf(path, sizeof(path), "%s", l->path ? l->path : r->path);
	cli_text_clean(path);
	inspect_row(out, i ? "" : "Chain", "%u: %s", i, path);
	what_rows(out, r, i, l);
	block_row(out, r, l->info, i);
	if (r->alloc)
		share_row(out, r->alloc, i);
}

void inspect_chain_rows(FILE *out, const struct inspect_report *r)
{
	struct vhd_layer l;
	char text[1024];

	if (r->info->format != VHD_FORMAT_DIFF || !r->parent_dir)
		return;
	for (unsigned i = 0; !vhd_layer(r->img, i, &l); i++)
		layer_rows(out, r, i, &l);
	if (r->alloc && !r->alloc->bitmaps)
		inspect_row(out, "",
			    "blocks count as a whole: there are many, their "
			    "bitmaps were not read");
	if (inspect_chain_whole(r))
		return;
	inspect_row(out, "", "broken: no parent below %s", r->parent_dir);
	for (unsigned i = 0;
	     vhd_parent_path(r->img, i, text, sizeof(text)) > 0; i++) {
		cli_text_clean(text);
		inspect_row(out, "", "   looked for %s", text);
	}
}

/* ------------------------------------------------------------ programs -- */

static void put(struct json_object *o, const char *key,
		struct json_object *value)
{
	cli_json_put(o, key, value);
}

static void put_number(struct json_object *o, const char *key, uint64_t n)
{
	put(o, key, cli_json_number(n));
}

static void put_text(struct json_object *o, const char *key, const char *text)
{
	char *clean = text ? strdup(text) : NULL;

	if (clean)
		cli_text_clean(clean);
	put(o, key, clean ? cli_json_string(clean) : NULL);
	free(clean);
}

static struct json_object *share_json(const struct inspect_alloc *a,
				      unsigned i)
{
	const struct inspect_share *s = &a->share[i];
	struct json_object *o = cli_json_object();
	uint64_t covered = s->stored_bytes > s->seen_bytes
				   ? s->stored_bytes - s->seen_bytes
				   : 0;

	put_number(o, "seen", s->seen_bytes);
	put(o, "seen-zeros",
	    a->zeros ? cli_json_number(s->seen_zero_bytes) : NULL);
	put_number(o, "stored", s->stored_bytes);
	put_number(o, "covered", covered);
	put_number(o, "unset", s->unset_bytes);
	put(o, "partial-blocks",
	    a->bitmaps ? cli_json_number(s->partial) : NULL);
	return o;
}

/* The image itself first; then its parents, as far as they were found. */
struct json_object *inspect_chain_json(const struct inspect_report *r)
{
	struct json_object *list, *o;
	char when[CLI_TIME_TEXT];
	struct vhd_layer l;

	if (!r->info || r->info->format != VHD_FORMAT_DIFF)
		return NULL;
	list = cli_json_array();
	for (unsigned i = 0; !vhd_layer(r->img, i, &l); i++) {
		o = cli_json_object();
		put_text(o, "path", l.path ? l.path : r->path);
		put_text(o, "format", vhd_format_name(l.info->format));
		put(o, "id", inspect_id_json(l.info->unique_id));
		put_number(o, "virtual-size", l.info->size_bytes);
		put_text(o, "created",
			 l.info->timestamp_s
				 ? cli_time_text(l.info->timestamp_s, when)
				 : NULL);
		put_text(o, "parent-match",
			 parent_match(r->img, i, l.info));
		put(o, "blocks", inspect_blocks_json(l.info));
		put(o, "contribution",
		    r->alloc ? share_json(r->alloc, i) : NULL);
		cli_json_add(list, o);
	}
	return list;
}

/* Sums over the composed disk; together they are its size. */
struct json_object *inspect_alloc_json(const struct inspect_alloc *a)
{
	struct json_object *o = cli_json_object();
	struct json_object *list = cli_json_array();

	put_number(o, "data", inspect_data_bytes(a));
	put_number(o, "zero", a->rest_bytes[INSPECT_ZERO]);
	put_number(o, "hole", a->rest_bytes[INSPECT_HOLE]);
	put_number(o, "missing-parent", a->rest_bytes[INSPECT_LOST]);
	put(o, "data-in-partial-blocks",
	    a->bitmaps ? cli_json_number(a->partial_bytes) : NULL);
	put(o, "bitmaps-read", cli_json_bool(a->bitmaps));
	put(o, "zeros-sought", cli_json_bool(a->zeros));
	for (unsigned i = 0; i < a->layers; i++)
		cli_json_add(list, share_json(a, i));
	put(o, "layers", list);
	return o;
}

/* SPDX-License-Identifier: BSD-2-Clause */
/* vhd set: fields of the footer that are nobody's data. Tells what changes,
 * from what to what, and who may miss the old value.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "verb.h"
#include "preset.h"
#include "set.h"
#include "tools/sandbox/sandbox.h"

#define EPOCH_2000_S 946684800
#define VALUE_TEXT 64

enum {
	OPT_ID = 256,
	OPT_PARENT_ID,
	OPT_PARENT,
	OPT_PARENT_DIR,
	OPT_LARGER,
	OPT_HIDDEN,
	OPT_SAVED_STATE,
	OPT_GEOMETRY,
	OPT_CREATOR,
	OPT_TIMESTAMP,
	OPT_FORMAT,
	OPT_JSON,
};

static const struct cli_option options[] = {
	{"id", OPT_ID, "ID",
	 "the unique id: new (a random one), with dashes as\n"
	 "Windows spells it, or 32 hexadecimal digits as bytes"},
	{"parent-id", OPT_PARENT_ID, "ID",
	 "the id of the disk that a differencing disk builds on"},
	{"parent", OPT_PARENT, "PARENT",
	 "name PARENT, whose content is not looked at, as the disk\n"
	 "that a differencing disk builds on: its id and path"},
	{"parent-dir", OPT_PARENT_DIR, "DIR",
	 "FILE and PARENT are in or below DIR (default: the\n"
	 "directory of FILE)"},
	{"larger-child", OPT_LARGER, NULL,
	 "let FILE be larger than PARENT"},
	{"hidden", OPT_HIDDEN, "YES|NO",
	 "whether blktap takes it for an inner node of a chain"},
	{"saved-state", OPT_SAVED_STATE, "YES|NO",
	 "whether a suspended machine depends on it"},
	{"geometry", OPT_GEOMETRY, "C/H/S",
	 "cylinders, heads, sectors a track; or auto (what the\n"
	 "specification computes) or max (no reader cuts the disk)"},
	{"creator", OPT_CREATOR, "WHO",
	 "hyperv, virtualpc or xenserver, or APP,MAJOR.MINOR,HOST\n"
	 "such as 'win ,10.0,Wi2k'"},
	{"timestamp", OPT_TIMESTAMP, "WHEN",
	 "now, or a date such as 2026-01-31 or\n"
	 "2026-01-31T12:00:00Z"},
	{"format", OPT_FORMAT, "FORMAT",
	 "take the file as fixed, dynamic or differencing instead\n"
	 "of finding out by looking"},
	{"dry-run", 'n', NULL, "only tell what would change"},
	{"json", OPT_JSON, NULL, "print JSON for programs"},
	{"quiet", 'q', NULL, "print nothing but errors and warnings"},
	{0},
};

struct set {
	const char *prog;
	const char *path;
	struct vhd_set_opts opts;
	struct vhd_rebase_opts rebase; /* parent_path NULL: none is named */
	struct verb_parents parents;
	bool geometry_auto; /* of the disk's size, once that is known */
	bool json;
	bool quiet;
	struct vhd_set_result result;
	struct json_object *children; /* with the old id; JSON only */
	unsigned child_count;
};

/* -------------------------------------------------------- command line -- */

static int yes_no(struct set *s, const char *option, const char *text,
		  uint32_t field, uint8_t *to)
{
	bool yes = !strcmp(text, "yes");

	if (!yes && strcmp(text, "no") != 0)
		return cli_usage(s->prog, "--%s %s: not yes or no", option,
				 text);
	*to = yes;
	s->opts.fields |= field;
	return CLI_OK;
}

static int id_parse(struct set *s, const char *option, const char *text,
		    uint8_t id[16])
{
	if (!cli_id_parse(text, id))
		return CLI_OK;
	return cli_usage(s->prog,
			 "--%s %s: not %san id such as 2c844f54-0b18-402d-8cd6-"
			 "471a059ac6d5, or 32 hexadecimal digits",
			 option, text, strcmp(option, "id") ? "" : "new, ");
}

static int id_apply(struct set *s, const char *text)
{
	uint8_t *id = s->opts.values.unique_id;
	struct vhd_err err;

	s->opts.fields |= VHD_SET_ID;
	if (!strcmp(text, "new"))
		return verb_new_id(id, &err) ? cli_fail(s->prog, NULL, &err)
					     : CLI_OK;
	return id_parse(s, "id", text, id);
}

static int geometry_apply(struct set *s, const char *text)
{
	struct vhd_geometry *g = &s->opts.values.geometry;
	unsigned c, h, n;
	int used = 0;

	s->opts.fields |= VHD_SET_GEOMETRY;
	s->geometry_auto = !strcmp(text, "auto");
	*g = (struct vhd_geometry){65535, 16, 255};
	if (s->geometry_auto || !strcmp(text, "max"))
		return CLI_OK;
	if (sscanf(text, "%5u/%3u/%3u%n", &c, &h, &n, &used) != 3 ||
	    text[used] || strspn(text, "0123456789/") != strlen(text) || !c ||
	    c > 65535 || !h || h > 255 || !n || n > 255)
		return cli_usage(s->prog,
				 "--geometry %s: not auto, max, or a geometry "
				 "such as 1024/16/63",
				 text);
	*g = (struct vhd_geometry){(uint16_t)c, (uint8_t)h, (uint8_t)n};
	return CLI_OK;
}

/* Four bytes; a shorter text is filled up with NULs. */
static bool tag_parse(const char *text, size_t len, uint8_t tag[4])
{
	if (len > 4)
		return false;
	memset(tag, 0, 4);
	memcpy(tag, text, len);
	for (size_t i = 0; i < len; i++)
		if (text[i] < 0x20 || text[i] > 0x7e)
			return false;
	return true;
}

static bool creator_parse(const char *text, struct vhd_creator *c)
{
	const char *one = strchr(text, ',');
	const char *two = one ? strchr(one + 1, ',') : NULL;
	unsigned major, minor;
	int used = 0;

	if (!two || sscanf(one + 1, "%5u.%5u%n", &major, &minor, &used) != 2 ||
	    one + 1 + used != two || major > 65535 || minor > 65535)
		return false;
	c->version = major << 16 | minor;
	return tag_parse(text, (size_t)(one - text), c->app) &&
	       tag_parse(two + 1, strlen(two + 1), c->os);
}

static int creator_apply(struct set *s, const char *text)
{
	static const struct vhd_creator windows = {
		{'w', 'i', 'n', ' '},
		0x000a0000,
		{'W', 'i', '2', 'k'},
	};

	s->opts.fields |= VHD_SET_CREATOR;
	for (int i = 1; i < VHD_TARGET_COUNT; i++) {
		enum vhd_target t = (enum vhd_target)i;
		const struct vhd_creator *c = verb_preset(t)->creator;

		if (t == VHD_TARGET_HYPERV)
			c = &windows;
		if (!c || strcmp(text, vhd_target_name(t)) != 0)
			continue;
		s->opts.values.creator = *c;
		return CLI_OK;
	}
	if (!creator_parse(text, &s->opts.values.creator))
		return cli_usage(s->prog,
				 "--creator %s: not hyperv, virtualpc, "
				 "xenserver, or a creator such as "
				 "'win ,10.0,Wi2k'",
				 text);
	return CLI_OK;
}

static int timestamp_apply(struct set *s, const char *text)
{
	uint32_t *to = &s->opts.values.timestamp_s;
	int rc;

	s->opts.fields |= VHD_SET_TIMESTAMP;
	if (!strcmp(text, "now")) {
		*to = (uint32_t)(time(NULL) - EPOCH_2000_S);
		return CLI_OK;
	}
	rc = cli_time_parse(text, to);
	if (rc == -ERANGE)
		return cli_usage(s->prog,
				 "--timestamp %s: an image's dates are from "
				 "2000 to 2136",
				 text);
	if (rc)
		return cli_usage(s->prog,
				 "--timestamp %s: not now or a date such as "
				 "2026-01-31T12:00:00Z",
				 text);
	return CLI_OK;
}

static const struct cli_set sets[] = {
	{OPT_PARENT, CLI_TAKES(struct set, rebase.parent_path)},
	{OPT_PARENT_DIR, CLI_TAKES(struct set, parents.dir)},
	{OPT_LARGER, CLI_SETS(struct set, rebase.larger_child)},
	{'n', CLI_CLEARS(struct set, opts.write)},
	{OPT_JSON, CLI_SETS(struct set, json)},
	{'q', CLI_SETS(struct set, quiet)},
	{0},
};

static int apply(void *into, int id, const char *value)
{
	struct set *s = into;

	switch (id) {
	case OPT_ID:
		return id_apply(s, value);
	case OPT_PARENT_ID:
		s->opts.fields |= VHD_SET_PARENT_ID;
		return id_parse(s, "parent-id", value,
				s->opts.values.parent_id);
	case OPT_HIDDEN:
		return yes_no(s, "hidden", value, VHD_SET_HIDDEN,
			      &s->opts.values.hidden);
	case OPT_SAVED_STATE:
		return yes_no(s, "saved-state", value, VHD_SET_SAVED_STATE,
			      &s->opts.values.saved_state);
	case OPT_GEOMETRY:
		return geometry_apply(s, value);
	case OPT_CREATOR:
		return creator_apply(s, value);
	case OPT_TIMESTAMP:
		return timestamp_apply(s, value);
	default:
		return verb_format(s->prog, "format", value, false,
				   &s->opts.format);
	}
}

/* Returns -1 to go on, or the exit code to end with. */
static int parse(struct set *s, int argc, char **argv)
{
	struct cli_options o = {
		.prog = s->prog,
		.usage = "[options] FILE",
		.about = "Change what an image says of itself; its data stays.",
		.table = options,
		.sets = sets,
		.apply = apply,
		.into = s,
		.argc = argc,
		.argv = argv,
	};
	int status = cli_options_all(&o);

	if (status >= 0)
		return status;
	if (argc - o.first_operand != 1)
		return cli_usage(s->prog, "needs one file");
	if (!s->opts.fields && !s->rebase.parent_path)
		return cli_usage(s->prog, "nothing to set");
	if (s->opts.fields & VHD_SET_PARENT_ID && s->rebase.parent_path)
		return cli_usage(s->prog, "--parent excludes --parent-id");
	s->path = argv[o.first_operand];
	return -1;
}

/* -------------------------------------------------------------- values -- */

static void tag_text(const uint8_t tag[4], char out[9])
{
	memcpy(out, tag, 4);
	out[4] = '\0';
	for (int i = 0; i < 4; i++)
		if ((tag[i] && tag[i] < 0x20) || tag[i] > 0x7e) {
			snprintf(out, 9, "%02x%02x%02x%02x", tag[0], tag[1],
				 tag[2], tag[3]);
			return;
		}
}

static const char *value_text(uint32_t field, const struct vhd_set_values *v,
			      char buf[VALUE_TEXT])
{
	char app[9], os[9];

	switch (field) {
	case VHD_SET_ID:
		return cli_id_windows(v->unique_id, buf);
	case VHD_SET_PARENT_ID:
		return cli_id_windows(v->parent_id, buf);
	case VHD_SET_HIDDEN:
		return v->hidden ? "yes" : "no";
	case VHD_SET_SAVED_STATE:
		return v->saved_state ? "yes" : "no";
	case VHD_SET_GEOMETRY:
		snprintf(buf, VALUE_TEXT, "%u/%u/%u", v->geometry.cylinders,
			 v->geometry.heads, v->geometry.sectors_per_track);
		return buf;
	case VHD_SET_CREATOR:
		tag_text(v->creator.app, app);
		tag_text(v->creator.os, os);
		snprintf(buf, VALUE_TEXT, "%s,%u.%u,%s", app,
			 v->creator.version >> 16, v->creator.version & 0xffff,
			 os);
		return buf;
	default:
		return cli_time_text(v->timestamp_s, buf);
	}
}

static const struct {
	uint32_t field;
	const char *name;
} fields[] = {
	{VHD_SET_ID, "id"},
	{VHD_SET_PARENT_ID, "parent-id"},
	{VHD_SET_HIDDEN, "hidden"},
	{VHD_SET_SAVED_STATE, "saved-state"},
	{VHD_SET_GEOMETRY, "geometry"},
	{VHD_SET_CREATOR, "creator"},
	{VHD_SET_TIMESTAMP, "timestamp"},
};

#define FIELDS (sizeof(fields) / sizeof(fields[0]))

/* ------------------------------------------------------------ children -- */

static void tell_child(void *ctx, const char *path)
{
	struct set *s = ctx;
	char shown[VERB_SHOWN_BYTES], id[CLI_ID_TEXT];

	s->child_count++;
	verb_shown(path, shown);
	if (s->children)
		cli_json_add(s->children, cli_json_string(shown));
	fprintf(stderr,
		"%s: warning: %s builds on this image and asks for the id %s; "
		"it %s find it under another\n",
		s->prog, shown, cli_id_windows(s->result.before.unique_id, id),
		s->opts.write ? "will not" : "would not");
}

/* Whether the disk that is now asked for is where the image's names lead. */
static void look_for_parent(const struct set *s)
{
	char *dir = cli_parent_dir(s->path);
	const struct vhd_open_opts how = {
		.parent_dir = dir,
		.larger_child = true,
	};
	struct vhd_err err;
	struct vhd *img;

	if (dir && !vhd_open(s->path, &how, &img, &err))
		vhd_abandon(img);
	else if (dir)
		fprintf(stderr, "%s: warning: %s\n", s->prog, err.text);
	free(dir);
}

/* -------------------------------------------------------------- report -- */

/* Readers that trust the geometry see another disk from now on. */
static void geometry_warning(const struct set *s)
{
	const struct vhd_geometry *g = &s->result.after.geometry;
	const struct vhd_info info = {
		.format = s->result.format,
		.size_bytes = s->result.size_bytes,
		.geometry = *g,
		.geometry_bytes = (uint64_t)g->cylinders * g->heads *
				  g->sectors_per_track * VHD_SECTOR_BYTES,
	};
	uint64_t seen = vhd_chs_reader_bytes(&info);

	if (s->result.changed & VHD_SET_GEOMETRY && seen < info.size_bytes)
		fprintf(stderr,
			"%s: warning: programs that trust the geometry show "
			"%" PRIu64 " of %" PRIu64 " bytes\n",
			s->prog, seen, info.size_bytes);
	if (s->result.changed & VHD_SET_GEOMETRY && seen > info.size_bytes)
		fprintf(stderr,
			"%s: warning: programs that trust the geometry show "
			"%" PRIu64 " bytes that the disk does not have\n",
			s->prog, seen - info.size_bytes);
}

static void report_text(const struct set *s)
{
	char shown[VERB_SHOWN_BYTES], parent[VERB_SHOWN_BYTES];
	char a[VALUE_TEXT], b[VALUE_TEXT];

	verb_shown(s->path, shown);
	if (s->rebase.parent_path)
		printf("%s: parent: %s\n", shown,
		       verb_shown(s->rebase.parent_path, parent));
	for (size_t i = 0; i < FIELDS; i++)
		if (s->result.changed & fields[i].field)
			printf("%s: %s: %s -> %s\n", shown, fields[i].name,
			       value_text(fields[i].field, &s->result.before,
					  a),
			       value_text(fields[i].field, &s->result.after,
					  b));
	if (!s->opts.write)
		printf("%s: nothing was written\n", shown);
	else if (!s->result.changed && !s->rebase.parent_path)
		printf("%s: is so already%s\n", shown,
		       s->result.written_bytes ? "; its footers agree again"
					       : "");
}

static struct json_object *report(struct set *s)
{
	struct json_object *o = cli_json_object();
	struct json_object *list = cli_json_array();
	char buf[VALUE_TEXT];

	verb_put_text(o, "path", s->path);
	verb_put_text(o, "format", vhd_format_name(s->result.format));
	verb_put_bool(o, "dry-run", !s->opts.write);
	for (size_t i = 0; i < FIELDS; i++) {
		struct json_object *c;

		if (!(s->result.changed & fields[i].field))
			continue;
		c = cli_json_object();
		verb_put_text(c, "field", fields[i].name);
		verb_put_text(c, "from",
			      value_text(fields[i].field, &s->result.before,
					 buf));
		verb_put_text(c, "to",
			      value_text(fields[i].field, &s->result.after,
					 buf));
		cli_json_add(list, c);
	}
	cli_json_put(o, "changes", list);
	verb_put_text(o, "parent", s->rebase.parent_path);
	verb_put_number(o, "written-bytes", s->result.written_bytes);
	cli_json_put(o, "children", json_object_get(s->children));
	return o;
}

/* ----------------------------------------------------------------- run -- */

/* The plan first: geometry follows from the size, and children are asked about
 * before anything changes.
 */
static int plan(struct set *s, struct vhd_err *err)
{
	struct vhd_set_opts look = s->opts;
	int rc;

	look.write = false;
	rc = vhd_set(s->path, &look, &s->result, err);
	if (!rc && s->geometry_auto) {
		s->opts.values.geometry =
			vhd_geometry_from_size(s->result.size_bytes);
		look.values = s->opts.values;
		rc = vhd_set(s->path, &look, &s->result, err);
	}
	return rc;
}

/* The parent's names and id: what rebase does that is told not to compare. */
static int name_parent(struct set *s, bool write, struct vhd_err *err)
{
	struct vhd_rebase_result unused;

	if (!s->rebase.parent_path)
		return 0;
	s->rebase.unsafe = true;
	s->rebase.dry_run = !write;
	s->rebase.parent_dir = verb_parent_dir(&s->parents, s->path);
	if (!s->rebase.parent_dir)
		return vhd_fail(err, -ENOENT, VHD_WHY_SYSTEM, 0,
				"cannot find its directory");
	return vhd_rebase(s->path, &s->rebase, &unused, err);
}

static int write_all(struct set *s, struct vhd_err *err)
{
	int rc = name_parent(s, true, err);

	if (!rc && s->opts.fields)
		rc = vhd_set(s->path, &s->opts, &s->result, err);
	return rc;
}

/* Everything is asked for before the first thing changes; what is refused, as
 * an image that is open elsewhere, ends in its own line and no warning.
 */
static int run(struct set *s, struct vhd_err *err)
{
	int rc = s->opts.fields ? plan(s, err) : 0;

	if (!rc)
		rc = name_parent(s, false, err);
	if (!rc && s->opts.write)
		rc = write_all(s, err);
	if (rc)
		return rc;
	if (s->result.changed & VHD_SET_ID)
		set_children_find(s->path, s->result.before.unique_id,
				  tell_child, s);
	geometry_warning(s);
	if (s->opts.write && s->result.changed & VHD_SET_PARENT_ID)
		look_for_parent(s);
	return 0;
}

/* Who builds on the disk is looked for beside it. */
static int sandbox(struct set *v)
{
	struct sandbox s = {.role = SANDBOX_WRITER};

	sandbox_allow_image(&s, v->path, verb_parent_dir(&v->parents, v->path));
	sandbox_allow_dir_of(&s, v->path, SANDBOX_READ);
	sandbox_allow(&s, v->path, SANDBOX_CHANGE);
	sandbox_allow_image(&s, v->rebase.parent_path, NULL);
	verb_parents_fini(&v->parents);
	return sandbox_enter(&s, v->prog);
}

int verb_set(const char *prog, int argc, char **argv)
{
	struct set s = {.prog = prog, .opts = {.write = true}};
	struct vhd_err err = {0};
	int rc, status = parse(&s, argc, argv);

	if (status >= 0)
		return status;
	status = sandbox(&s);
	if (status != CLI_OK)
		return status;
	s.children = s.json ? cli_json_array() : NULL;
	rc = run(&s, &err);
	if (!rc && !s.json && !s.quiet)
		report_text(&s);
	status = rc ? cli_fail(prog, s.path, &err)
		    : cli_json_end(prog, s.json ? report(&s) : NULL, CLI_OK);
	json_object_put(s.children);
	verb_parents_fini(&s.parents);
	return status;
}

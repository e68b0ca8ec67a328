/* SPDX-License-Identifier: BSD-2-Clause */
/* vhd repair --salvage: what can be read goes into a new dynamic image, which
 * gets its name only when it is complete; what cannot is listed.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "tools/convert/convert.h"
#include "verb.h"
#include "repair.h"

struct salvage {
	struct repair_verb *v;
	struct cli_progress progress;
};

static int lost(void *ctx, const struct vhd_salvage_loss *l)
{
	struct salvage *s = ctx;
	struct json_object *o;

	if (!s->v->json) {
		if (s->v->quiet)
			return 0;
		cli_progress_end(&s->progress);
		printf("%s: %s: %" PRIu64 " bytes of the disk from %" PRIu64
		       " (%s)\n",
		       s->v->shown, l->doubtful ? "doubtful" : "lost",
		       l->len_bytes, l->off_bytes, cli_why_name(l->why));
		return 0;
	}
	o = cli_json_object();
	verb_put_number(o, "start", l->off_bytes);
	verb_put_number(o, "length", l->len_bytes);
	verb_put_text(o, "why", cli_why_name(l->why));
	verb_put_bool(o, "doubtful", l->doubtful);
	cli_json_add(s->v->list, o);
	return 0;
}

static int progressed(void *ctx, uint64_t pos, uint64_t total)
{
	struct salvage *s = ctx;

	s->progress.total = total;
	cli_progress_show(&s->progress, pos, pos);
	return 0;
}

static struct json_object *report(const struct repair_verb *v,
				  const struct vhd_salvage_result *r)
{
	struct json_object *o = cli_json_object();

	verb_put_text(o, "path", v->path);
	verb_put_text(o, "salvaged-to", v->salvage_path);
	verb_put_number(o, "size", r->size_bytes);
	verb_put_number(o, "copied-bytes", r->copied_bytes);
	verb_put_number(o, "parent-bytes", r->parent_bytes);
	verb_put_number(o, "lost-bytes", r->lost_bytes);
	verb_put_number(o, "doubtful-bytes", r->doubtful_bytes);
	cli_json_put(o, "losses", v->list);
	return o;
}

static void report_text(const struct repair_verb *v,
			const struct vhd_salvage_result *r)
{
	char copied[CLI_SIZE_TEXT], gone[CLI_SIZE_TEXT], from[CLI_SIZE_TEXT];
	char out[VERB_SHOWN_BYTES];

	cli_size_text(r->copied_bytes, copied, sizeof(copied));
	cli_size_text(r->lost_bytes, gone, sizeof(gone));
	printf("%s: %s of data saved to %s, ", v->shown, copied,
	       verb_shown(v->salvage_path, out));
	if (r->parent_bytes)
		printf("%s of it from parents, ",
		       cli_size_text(r->parent_bytes, from, sizeof(from)));
	printf("%s lost\n", gone);
}

/* Between the two files. `*blame` becomes the one an error is about. */
static int salvage(struct salvage *s, struct convert_output *out,
		   struct vhd_salvage_result *r, const char **blame,
		   struct vhd_err *err)
{
	struct repair_verb *v = s->v;
	struct vhd_salvage_opts opts = {
		.format = v->opts.format,
		.size_bytes = v->opts.size_bytes,
		.replace = true, /* the nameless file */
		.parent_dir = verb_parent_dir(&v->parents, v->path),
		.alone = v->parents.none,
		.larger_child = v->larger_child,
		.now_unix_s = time(NULL),
		.lost = lost,
		.progress = progressed,
		.ctx = s,
	};
	int rc = verb_new_id(opts.unique_id, err);

	cli_progress_start(&s->progress, "saving", 0, v->quiet);
	if (!rc)
		rc = vhd_salvage(v->path, out->path, &opts, r, err);
	cli_progress_end(&s->progress);
	verb_parents_fini(&v->parents);
	if (rc)
		return rc;
	*blame = v->salvage_path;
	return convert_output_publish(out, true, err);
}

int verb_salvage(struct repair_verb *v)
{
	struct salvage s = {.v = v};
	struct vhd_salvage_result r = {0};
	struct convert_output out;
	struct json_object *root = NULL;
	struct vhd_err err = {0};
	const char *blame = v->path;
	struct stat st;
	int rc;

	if (stat(v->path, &st) < 0) {
		vhd_fail(&err, -errno, VHD_WHY_SYSTEM, 0, "cannot open: %s",
			 strerror(errno));
		return cli_fail(v->prog, v->path, &err);
	}
	rc = convert_output_open(&out, v->salvage_path, v->force, &st, &err);
	if (rc)
		return cli_fail(v->prog, v->salvage_path, &err);
	if (v->json)
		v->list = cli_json_array();
	rc = salvage(&s, &out, &r, &blame, &err);
	cli_strip_path(&err, out.path);
	convert_output_close(&out);
	if (rc) {
		json_object_put(v->list);
		fflush(stdout);
		return cli_fail(v->prog, blame, &err);
	}
	if (v->json)
		root = report(v, &r);
	else if (!v->quiet)
		report_text(v, &r);
	return cli_json_end(v->prog, root,
			   r.lost_bytes || r.doubtful_bytes ? CLI_DIFFERENT
							    : CLI_OK);
}

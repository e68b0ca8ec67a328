/* SPDX-License-Identifier: BSD-2-Clause */
/* One state, judged: by the independent reader as it lies there, by the
 * library as it is, and by both after each way to get over it.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/proof/crash.h"
#include "vhd/check.h"
#include "vhd/repair.h"
#include "vhd/undo.h"

#define CHAIN_MAX (1 + 2 * LAYERS_MAX)

static uint8_t disk[DISK_MAX];

__attribute__((format(printf, 1, 2))) static const char *say(const char *fmt,
							      ...)
{
	static char text[2][400];
	static int turn;
	va_list ap;

	turn = !turn; /* what is said may be about what was said */
	va_start(ap, fmt);
	vsnprintf(text[turn], sizeof(text[turn]), fmt, ap);
	va_end(ap);
	return text[turn];
}

static bool under_way(const struct verdict *c)
{
	return c->op && !c->expect->done;
}

static unsigned lax(const struct verdict *c, enum vhd_format format)
{
	unsigned fixed = c->after ? LAX_CUT : LAX_CUT | LAX_GROWN;

	return (c->torn ? LAX_TORN : 0) |
	       (format == VHD_FORMAT_FIXED ? fixed : 0);
}

/* ----------------------------------------------------- by the other reader -- */

static const char *chain_open(struct oracle *chain, unsigned *n,
			      const struct layers *l)
{
	for (unsigned i = l ? l->count : 0; i-- > 0;)
		if (!oracle_open(&chain[(*n)++], l->bytes[i], l->len[i]))
			return say("layer %u: %s", i, chain[*n - 1].fault);
	return NULL;
}

static const char *below(const struct verdict *c, struct oracle *chain,
			 unsigned *n)
{
	const struct oracle *own = &chain[*n - 1];
	const struct layers *low;

	if (!own->diff)
		return NULL;
	low = env_layers(c->env, own->bytes + own->header + 40);
	if (!low)
		return "it asks for a parent that nobody has";
	return chain_open(chain, n, low);
}

static enum vhd_format form(const struct oracle *o)
{
	return o->diff	    ? VHD_FORMAT_DIFF
	       : o->dynamic ? VHD_FORMAT_DYNAMIC
			    : VHD_FORMAT_FIXED;
}

/* A name that leads to the parent the header asks for by id: a relative
 * locator that ends in the file's.
 */
static const char *name_check(const struct verdict *c, const struct oracle *o)
{
	const struct layers *low;
	const char *want;

	if (!o->diff || !c->env->names)
		return NULL;
	low = env_layers(c->env, o->bytes + o->header + 40);
	want = low == &c->env->other ? "other.vhd" : "parent.vhd";
	for (unsigned i = 0; i < 8; i++) {
		const uint8_t *l = o->bytes + o->header + 576 + i * 24;
		uint64_t at = img_get64(l + 16), n = strlen(want);
		uint32_t len = img_get32(l + 8);
		bool same = len >= 2 * n && at + len <= o->len &&
			    img_get32(l) == 0x57327275;

		for (uint64_t k = 0; same && k < n; k++)
			same = o->bytes[at + len - 2 * (n - k)] ==
			       (uint8_t)want[k];
		if (same)
			return NULL;
	}
	return say("no name leads to %s", want);
}

/* The disk that `own` is, over its parents: content, and what the layers above
 * make of it while they are merged.
 */
static const char *content_check(const struct verdict *c, const struct oracle *own)
{
	const struct env *e = c->env;
	const uint8_t *above = e->info[e->op].chain;
	struct oracle chain[CHAIN_MAX];
	const char *fault;
	unsigned n = 1;

	chain[0] = *own;
	fault = below(c, chain, &n);
	if (fault)
		return fault;
	if (own->size > DISK_MAX)
		return say("the disk has %llu bytes",
			   (unsigned long long)own->size);
	oracle_content(chain, n, disk);
	fault = model_judge(&e->model, c->expect, disk, own->size, form(own),
			    lax(c, form(own)));
	if (fault || !above)
		return fault;
	n = 0;
	fault = chain_open(chain, &n, &e->up);
	chain[n++] = *own;
	if (!fault)
		fault = below(c, chain, &n);
	if (!fault && chain[0].size > DISK_MAX)
		fault = say("the child has %llu bytes",
			    (unsigned long long)chain[0].size);
	if (!fault)
		oracle_content(chain, n, disk);
	for (uint64_t k = 0; !fault && k < own->size / SECTOR; k++) {
		if (memcmp(disk + k * SECTOR, above + k * SECTOR, SECTOR))
			fault = say("sector %llu of the chain has changed",
				    (unsigned long long)k);
	}
	return fault;
}

/* By one of its footers, or by both if that is right. */
static const char *look_by(const struct verdict *c, enum oracle_footer by,
			   bool strict)
{
	const struct crashdisk *d = c->env->disk[0];
	uint64_t len = crashdisk_len(d);
	struct oracle o;
	const char *fault;

	if (len && !oracle_open_by(&o, crashdisk_bytes(d), len, by)) {
		if (c->expect->formats & 1u << VHD_FORMAT_RAW)
			return model_judge(&c->env->model, c->expect,
					   crashdisk_bytes(d), len,
					   VHD_FORMAT_RAW,
					   lax(c, VHD_FORMAT_RAW));
		return say("%s", o.fault);
	}
	if (!len)
		return "the file is empty";
	if (strict && !o.footer_end_ok)
		return "no trailing footer";
	if (strict && o.dynamic && !o.footer_copy_ok)
		return "no footer at offset 0";
	if (!oracle_check(&o))
		return say("%s", o.fault);
	fault = content_check(c, &o);
	return fault ? fault : name_check(c, &o);
}

static const char *look_raw(const struct verdict *c)
{
	const char *fault = look_by(c, ORACLE_COPY, false);

	if (!fault)
		fault = look_by(c, ORACLE_END, false);
	return fault ? say("as it is, by the other reader: %s", fault) : NULL;
}

/* Nothing is left that differs, but for what only the command itself ends, or
 * a repair that was cut.
 */
static const char *look_strict(const struct verdict *c, enum recovery how,
			       const char *when)
{
	bool differ = how == RECOVER_OPEN &&
		      (c->inner || (under_way(c) && c->op->differ));
	const char *fault = look_by(c, differ ? ORACLE_END : ORACLE_BOTH, true);

	if (!fault && differ)
		fault = look_by(c, ORACLE_COPY, true);
	return fault ? say("%s, by the other reader: %s", when, fault) : NULL;
}

/* -------------------------------------------------------- by the library -- */

static const char *library_reads(const struct verdict *c, struct vhd *img)
{
	const struct vhd_info *info = vhd_get_info(img);
	const char *fault;
	struct vhd_err err;

	if (info->size_bytes > DISK_MAX)
		return say("the disk has %llu bytes",
			   (unsigned long long)info->size_bytes);
	if (vhd_read(img, 0, disk, info->size_bytes, &err))
		return say("reading: %s", err.text);
	fault = model_judge(&c->env->model, c->expect, disk, info->size_bytes,
			    info->format, lax(c, info->format));
	return fault ? say("by the library: %s", fault) : NULL;
}

static bool may_refuse(const struct verdict *c, int rc, const struct vhd_err *err,
		       bool writing)
{
	if (!under_way(c))
		return false;
	if (c->op->any_why)
		return rc == -EUCLEAN || rc == -EROFS;
	if (c->op->why_open && err->why == c->op->why_open)
		return true;
	return writing && c->op->why_write && err->why == c->op->why_write;
}

/* `*refused`: by a documented reason, so that it takes more than opening. */
static const char *library_opens(const struct verdict *c, bool *refused)
{
	struct vhd_file f = crashdisk_file(c->env->disk[0]);
	const char *fault;
	struct vhd_err err;
	struct vhd *img;
	int rc = env_open(c->env, f, false, VHD_FORMAT_AUTO, &img, &err);

	*refused = rc != 0;
	if (rc)
		return may_refuse(c, rc, &err, false)
			       ? NULL
			       : say("it does not open: %s", err.text);
	fault = library_reads(c, img);
	vhd_abandon(img);
	return fault;
}

/* ----------------------------------------------------------- recovering -- */

static bool is_vhd(const struct verdict *c)
{
	return !(c->expect->formats & 1u << VHD_FORMAT_RAW);
}

static const char *open_and_close(const struct verdict *c)
{
	struct vhd_file f = crashdisk_file(c->env->disk[0]);
	struct vhd_err err;
	struct vhd *img;
	int rc = env_open(c->env, f, true, VHD_FORMAT_AUTO, &img, &err);

	if (rc)
		return may_refuse(c, rc, &err, true)
			       ? ""
			       : say("it does not open for writing: %s",
				     err.text);
	return vhd_close(img, &err) ? say("closing: %s", err.text) : NULL;
}

static const char *repaired(const struct verdict *c)
{
	const struct vhd_repair_opts how = {.write = true};
	struct vhd_file f = crashdisk_file(c->env->disk[0]);
	struct vhd_repair_result r;
	struct vhd_err err;
	int rc = vhd_repair_file(&f, NULL, &how, &r, &err);

	/* What is for the command itself to end may be beyond a repair. */
	if (rc || r.held_back)
		return under_way(c) && (c->op->any_why || c->op->why_write)
			       ? ""
			       : say("repair: %s",
				     rc ? err.text : "something is held back");
	rc = vhd_repair_file(&f, NULL, &how, &r, &err);
	if (rc || r.steps)
		return say("a second repair finds %llu steps",
			   (unsigned long long)r.steps);
	return NULL;
}

static const char *again(const struct verdict *c)
{
	struct vhd_file f = crashdisk_file(c->env->disk[0]);
	const struct vhd_repair_opts how = {.write = true};
	struct vhd_err err;
	int rc = c->op->again(c->env, c->op, f, &err);

	if (rc && (c->torn || err.why == VHD_WHY_READ_ONLY_LAYOUT ||
		   (c->op->why_open && err.why == c->op->why_open))) {
		if (vhd_repair_file(&f, NULL, &how, NULL, &err))
			return say("repair: %s", err.text);
		rc = c->op->again(c->env, c->op, f, &err);
	}
	return rc ? say("the same command again: %s", err.text) : NULL;
}

bool recover(const struct verdict *c, enum recovery how, const char **fault)
{
	switch (how) {
	case RECOVER_OPEN:
		*fault = open_and_close(c);
		break;
	case RECOVER_REPAIR:
		if (!is_vhd(c))
			return false;
		*fault = repaired(c);
		break;
	default:
		if (!c->op || !c->op->again || (c->torn && c->op->harms))
			return false;
		*fault = again(c);
		break;
	}
	if (!*fault || **fault)
		return true;
	*fault = NULL; /* refused, and rightly so */
	return false;
}

/* What a check finds after a repair. Before it, blktap's map of full blocks
 * may have a wrong sum, for which it is ignored, or be behind the table.
 */
static const char *sound(const struct verdict *c)
{
	const struct vhd_check_opts how = {0};
	const struct vhd_file f = crashdisk_file(c->env->disk[0]);
	struct vhd_check_result r;
	struct vhd_err err;

	if (!is_vhd(c) || c->torn)
		return NULL;
	if (vhd_check_file(&f, &how, &r, &err))
		return say("checking: %s", err.text);
	return r.severity_count[VHD_SEVERITY_ERROR] ? "a check finds errors"
						    : NULL;
}

/* Of the states that recovering leads to. */
static const char *recovered(const struct verdict *c, enum recovery how,
			     struct expect *end)
{
	static const char *const names[] = {"after opening for writing",
					    "after a repair",
					    "after the same command again"};
	size_t now = crashdisk_now(c->env->disk[0]);
	struct verdict then = *c;
	const char *fault = NULL;

	then.after = true;
	if (recover(c, how, &fault) && !fault &&
	    !(how == RECOVER_AGAIN && c->op->harms)) {
		if (how == RECOVER_AGAIN && !c->op->steady)
			then.expect = end;
		fault = look_strict(&then, how, names[how]);
		if (!fault && how == RECOVER_REPAIR)
			fault = sound(&then);
	}
	crashdisk_back(c->env->disk[0], now);
	return fault;
}

/* With its undo file an image comes back as it was; without a whole one it has
 * not been touched.
 */
static const char *undone(const struct verdict *c)
{
	struct vhd_file f = crashdisk_file(c->env->disk[0]);
	struct vhd_file undo = crashdisk_file(c->env->disk[1]);
	size_t now = crashdisk_now(c->env->disk[0]);
	const char *fault = NULL;
	struct vhd_err err;
	uint64_t to = c->env->info[c->env->op].undo_to;
	int rc;

	if (!to || !under_way(c) || c->inner)
		return NULL;
	/* Of garbage it cannot tell whose it is. */
	rc = vhd_undo_file(&f, &undo, c->torn, NULL, &err);
	if (rc && err.why != VHD_WHY_UNDO_FILE)
		fault = say("undo: %s", err.text);
	else if (crashdisk_hash(c->env->disk[0]) != to)
		fault = rc ? "changed before the undo file was whole"
			   : "an undo leads to another image";
	crashdisk_back(c->env->disk[0], now);
	return fault;
}

/* ------------------------------------------------------------ the state -- */

/* Nothing is promised but that everybody comes through. */
static const char *survive(const struct verdict *c)
{
	struct vhd_file f = crashdisk_file(c->env->disk[0]);
	const struct vhd_repair_opts fix = {.write = true, .lossy = true};
	size_t now = crashdisk_now(c->env->disk[0]);
	struct vhd *img;

	if (!env_open(c->env, f, false, VHD_FORMAT_AUTO, &img, NULL)) {
		if (img->info.size_bytes <= DISK_MAX)
			(void)vhd_read(img, 0, disk, img->info.size_bytes,
				       NULL);
		vhd_abandon(img);
	}
	if (!env_open(c->env, f, true, VHD_FORMAT_AUTO, &img, NULL))
		(void)vhd_close(img, NULL);
	crashdisk_back(c->env->disk[0], now);
	(void)vhd_repair_file(&f, NULL, &fix, NULL, NULL);
	crashdisk_back(c->env->disk[0], now);
	return NULL;
}

const char *check_state(const struct verdict *c)
{
	static struct expect end;
	bool refused;
	const char *fault;

	if (c->exempt || (under_way(c) && c->op->makes))
		return survive(c);
	fault = library_opens(c, &refused);
	if (!fault && !refused)
		fault = look_raw(c);
	if (!fault)
		fault = undone(c);
	if (fault)
		return fault;
	if (!end.base)
		expect_init(&end);
	if (c->deep || refused)
		expect_end(&end, c->expect, &c->env->model,
			   &c->env->info[c->env->op]);
	if (refused)
		return recovered(c,
				 c->op->mends ? RECOVER_AGAIN : RECOVER_REPAIR,
				 &end);
	for (int how = 0; !fault && how < RECOVERIES; how++)
		if (how == RECOVER_OPEN || c->deep)
			fault = recovered(c, (enum recovery)how, &end);
	return fault;
}

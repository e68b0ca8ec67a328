/* SPDX-License-Identifier: BSD-2-Clause */
/* The check: every part of an image judged, every fault told with its place,
 * its gravity and the code Windows has for it. Nothing is written, and no
 * fault keeps the others from being found unless they cannot be seen.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "fail.h"
#include "nbd.h"
#include "split.h"

/* ---------------------------------------------------------- the course -- */

/* What is no VHD at all is not checked. A dynamic header without footers is
 * one that lost them; so is a file that the caller says is a VHD.
 */
static int nothing_to_check(const struct check *c, struct vhd_err *err)
{
	const struct survey *s = &c->s;

	if (!s->verdict && s->info.format == VHD_FORMAT_RAW)
		return vhd_fail(err, -EUCLEAN, VHD_WHY_NOT_VHD, 0,
				"no VHD structure at either end: a raw disk, "
				"or a fixed one that lost its footer (name it "
				"fixed)");
	if (!s->verdict || s->blocked)
		return 0;
	switch (s->verdict_err.why) {
	case VHD_WHY_POISON_COOKIE:
	case VHD_WHY_FOOTER_TYPE:
		return 0;
	case VHD_WHY_NOT_VHD:
		if (c->opts->format == VHD_FORMAT_FIXED)
			return 0;
		break;
	default:
		break;
	}
	if (err)
		*err = s->verdict_err;
	return s->verdict;
}

static int run(struct check *c, struct vhd_err *err)
{
	int rc = nothing_to_check(c, err);

	if (rc)
		return rc;
	check_footers(c);
	if (c->s.blocked && c->s.end.mark != VHD_MARK_POISON &&
	    c->s.copy.mark != VHD_MARK_POISON)
		rc = check_header(c, err);
	if (!rc && c->s.table_ok && !c->stopped)
		rc = check_bat(c, err);
	if (!rc && c->s.batmap && !c->stopped)
		rc = check_batmap(c, err);
	if (!rc && c->s.info.format == VHD_FORMAT_DIFF && !c->stopped)
		rc = check_chain(c, err);
	if (!rc && c->opts->data && !c->stopped)
		rc = check_data(c, err);
	if (rc)
		return rc;
	check_host(c);
	if (c->opts->target != VHD_TARGET_NONE)
		check_target(c);
	return 0;
}

static int opts_check(const struct vhd_check_opts *o, struct vhd_err *err)
{
	if (!o || o->format > VHD_FORMAT_DIFF || o->format == VHD_FORMAT_RAW)
		return vhd_fail(err, -EINVAL, VHD_WHY_ARGUMENT, 0,
				"only VHDs can be checked: fixed, dynamic, "
				"differencing, or auto");
	if ((unsigned)o->target >= VHD_TARGET_COUNT)
		return vhd_fail(err, -EINVAL, VHD_WHY_ARGUMENT, 0,
				"unknown product %d", (int)o->target);
	return 0;
}

static int check_on(const struct vhd_file *f, const char *path,
		    const struct vhd_check_opts *opts,
		    struct vhd_check_result *result, struct vhd_err *err)
{
	const struct survey_opts so = {.format = opts ? opts->format : 0};
	struct vhd_check_result unused;
	struct check *c;
	int rc = opts_check(opts, err);

	if (rc)
		return rc;
	c = calloc(1, sizeof(*c));
	if (!c)
		return vhd_fail_nomem(err, sizeof(*c), "a check");
	c->opts = opts;
	c->path = path;
	c->result = result ? result : &unused;
	memset(c->result, 0, sizeof(*c->result));
	c->limit = opts->limit ? opts->limit : VHD_CHECK_LIMIT_DEFAULT;
	rc = survey_read(&c->s, f, &so, err);
	if (!rc) {
		c->result->format = c->s.info.format;
		c->result->size_bytes = c->s.size_bytes;
		c->result->file_bytes = c->s.file_bytes;
		c->result->layers = 1;
		rc = run(c, err);
	}
	if (!rc && c->stopped)
		rc = vhd_fail(err, -ECANCELED, VHD_WHY_CANCELLED, 0,
			      "the check was ended");
	free(c->places);
	free(c);
	return rc;
}

int vhd_check_file(const struct vhd_file *f, const struct vhd_check_opts *opts,
		   struct vhd_check_result *result, struct vhd_err *err)
{
	return check_on(f, NULL, opts, result, err);
}

int vhd_check(const char *path, const struct vhd_check_opts *opts,
	      struct vhd_check_result *result, struct vhd_err *err)
{
	struct vhd_file_open how = {0};
	struct vhd_file f;
	int rc = opts_check(opts, err);

	if (rc)
		return rc;
	how.no_lock = opts->force_read;
	if (opts->nbd && vhd_is_nbd_uri(path))
		rc = vhd_nbd_open_as(path, opts->nbd, false, &f, err);
	else
		rc = vhd_split_open(path, &how, &f, err);
	if (rc)
		return rc;
	rc = check_on(&f, path, opts, result, err);
	vhd_file_close(&f);
	return rc;
}

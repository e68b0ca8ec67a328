/* SPDX-License-Identifier: BSD-2-Clause */
/* A differencing disk onto another parent: all is opened and judged before
 * anything is written; then data, a flush, the header, and at last the image
 * is opened once more as a reader would, by what it says now.
 * Source: VHD specification 1.0, "Differencing Hard Disks".
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "fail.h"
#include "rebase.h"

struct rebase {
	const struct vhd_rebase_opts *opts;
	struct vhd_rebase_result *r;
	char *dir, *parent_path, *child_path; /* resolved */
	struct vhd *parent;
	struct vhd *child;
	struct vhd_relation relation;
};

/* -------------------------------------------------------------- opening -- */

static int resolve(const char *path, char **out, struct vhd_err *err)
{
	int rc = vhd_path_resolve(path, out);

	if (!rc)
		return 0;
	return vhd_fail(err, rc, vhd_system_why(rc), 0, "cannot find %.80s: %s",
			path, vhd_errno_text(rc));
}

static int places(struct rebase *b, const char *path, struct vhd_err *err)
{
	const struct vhd_rebase_opts *o = b->opts;
	int rc;

	if (!o || !o->parent_path || !o->parent_dir)
		return vhd_fail(err, -EINVAL, VHD_WHY_ARGUMENT, 0,
				"rebasing takes a parent, and a directory in "
				"which all images are");
	rc = resolve(o->parent_dir, &b->dir, err);
	if (!rc)
		rc = resolve(o->parent_path, &b->parent_path, err);
	if (!rc)
		rc = resolve(path, &b->child_path, err);
	if (rc || vhd_path_below(b->parent_path, b->dir))
		return rc;
	return vhd_fail(err, -EINVAL, VHD_WHY_PARENT_MISSING, 0,
			"the new parent is not below %.80s", b->dir);
}

/* The child must not be among those its new parent builds on. Opening it for
 * writing would say that it is in use, namely here.
 */
static int circle_check(const struct rebase *b, struct vhd_err *err)
{
	struct stat child, have;
	int rc;

	if (stat(b->child_path, &child) < 0)
		goto fail;
	for (const struct vhd *l = b->parent; l; l = l->parent) {
		if (l->file.fd < 0) /* a split set, which is no child's */
			continue;
		if (fstat(l->file.fd, &have) < 0)
			goto fail;
		if (have.st_dev == child.st_dev && have.st_ino == child.st_ino)
			return vhd_fail(err, -EUCLEAN, VHD_WHY_CHAIN_CYCLE, 0,
					"the new parent builds on this very "
					"image");
	}
	return 0;
fail:
	rc = -errno;
	return vhd_fail(err, rc, vhd_system_why(rc), 0, "cannot examine %.80s: %s",
			b->child_path, vhd_errno_text(rc));
}

static struct vhd_open_opts how_to_open(const struct rebase *b)
{
	return (struct vhd_open_opts){
		.parent_dir = b->dir,
		.larger_child = b->opts->larger_child,
	};
}

static int parent_open(struct rebase *b, struct vhd_err *err)
{
	const struct vhd_open_opts how = how_to_open(b);
	struct vhd_err why;
	int rc = vhd_open(b->parent_path, &how, &b->parent, &why);

	if (!rc)
		return circle_check(b, err);
	return vhd_fail(err, rc, why.why, why.at_bytes, "new parent: %.140s",
			why.text);
}

/* Without its parents, which may be missing. */
static int child_open(struct rebase *b, struct vhd_err *err)
{
	const struct vhd_file_open file = {.writable = !b->opts->dry_run};
	struct vhd_open_opts how = how_to_open(b);
	struct vhd_file f;
	int rc = vhd_file_open(b->child_path, &file, &f, err);

	if (rc)
		return rc;
	how.writable = file.writable;
	rc = vhd_open_file(&f, &how, &b->child, err);
	if (rc)
		vhd_file_close(&f);
	else
		b->r->old_file_bytes = b->child->info.file_bytes;
	return rc;
}

/* ------------------------------------------------------------ judgement -- */

static int size_check(const struct rebase *b, struct vhd_err *err)
{
	uint64_t c = b->child->info.size_bytes;
	uint64_t p = b->parent->info.size_bytes;

	if (c == p || (c > p && b->opts->larger_child))
		return 0;
	return vhd_fail(err, -EUCLEAN, VHD_WHY_PARENT_SIZE, 0,
			"the image has %llu bytes, its new parent %llu",
			(unsigned long long)c, (unsigned long long)p);
}

static int judge(const struct rebase *b, struct vhd_err *err)
{
	const struct vhd_info *c = &b->child->info;

	if (c->format != VHD_FORMAT_DIFF)
		return vhd_fail(err, -ENOTSUP, VHD_WHY_UNSUPPORTED, 0,
				"a %s disk has no parent",
				vhd_format_name(c->format));
	for (const struct vhd *l = b->parent; l; l = l->parent)
		if (memcmp(l->info.unique_id, c->unique_id, 16) == 0)
			return vhd_fail(err, -EUCLEAN, VHD_WHY_CHAIN_CYCLE, 0,
					"the new parent, or what it builds on, "
					"has the image's own id");
	if (b->parent->info.layers >= VHD_CHAIN_MAX)
		return vhd_fail(err, -EUCLEAN, VHD_WHY_CHAIN_DEPTH, 0,
				"more than %u images would stand on one "
				"another",
				VHD_CHAIN_MAX);
	return size_check(b, err);
}

/* ------------------------------------------------------------- the work -- */

int rebase_carry_out(struct vhd *child, struct vhd *parent,
		     const struct vhd_relation *rel,
		     const struct vhd_rebase_opts *opts,
		     struct vhd_rebase_result *r, struct vhd_err *err)
{
	int rc = 0;

	if (child->parent)
		rc = rebase_copy(child, parent, opts, r, err);
	if (rc || opts->dry_run)
		return rc;
	rc = vhd_flush(child, err);
	return rc ? rc : rebase_header(child, rel, err);
}

/* Also where it failed, the file is left in order if it can be. */
static int child_close(struct rebase *b, int rc, struct vhd_err *err)
{
	struct vhd_err late;
	struct stat st;
	int closed = vhd_close(b->child, &late);

	b->child = NULL;
	if (!rc && closed && err)
		*err = late;
	if (stat(b->child_path, &st) == 0)
		b->r->new_file_bytes = (uint64_t)st.st_size;
	return rc ? rc : closed;
}

/* As a reader would: by what the image says now. */
static int verify(const struct rebase *b, struct vhd_err *err)
{
	const struct vhd_open_opts how = how_to_open(b);
	struct vhd *img;
	int rc = vhd_open(b->child_path, &how, &img, err);

	if (!rc)
		vhd_abandon(img);
	return rc;
}

static int work(struct rebase *b, struct vhd_err *err)
{
	const struct vhd_open_opts how = how_to_open(b);
	int rc = judge(b, err);

	if (!rc)
		rc = vhd_relation_make(b->child_path, b->parent_path, b->parent,
				       &b->relation, err);
	if (rc)
		return rc;
	b->r->size_bytes = b->child->info.size_bytes;
	b->r->same_parent = memcmp(b->child->info.parent_id,
				   b->relation.parent_id, 16) == 0;
	if (!b->opts->unsafe && !b->r->same_parent)
		rc = vhd_parents_open(b->child, b->child_path, &how, err);
	if (rc)
		return rc;
	return rebase_carry_out(b->child, b->parent, &b->relation, b->opts,
				b->r, err);
}

int vhd_rebase(const char *path, const struct vhd_rebase_opts *opts,
	       struct vhd_rebase_result *result, struct vhd_err *err)
{
	struct vhd_rebase_result unused;
	struct rebase b = {.opts = opts, .r = result ? result : &unused};
	int rc;

	memset(b.r, 0, sizeof(*b.r));
	rc = places(&b, path, err);
	if (!rc)
		rc = parent_open(&b, err);
	if (!rc)
		rc = child_open(&b, err);
	if (!rc) {
		rc = work(&b, err);
		rc = child_close(&b, rc, err);
		if (!rc && !opts->dry_run)
			rc = verify(&b, err);
	}
	vhd_abandon(b.parent);
	free(b.child_path);
	free(b.parent_path);
	free(b.dir);
	return rc;
}

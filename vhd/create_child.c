/* SPDX-License-Identifier: BSD-2-Clause */
/* New differencing disks. The parent is opened first, read-only and locked
 * against writers, and stays so until the child has it; the child is then
 * opened like any other, by what it says about its parent itself, so that one
 * which would not find it is never handed out.
 * Source: VHD specification 1.0, "Differencing Hard Disks".
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "create.h"
#include "fail.h"

struct birth {
	const char *path;
	struct vhd_create_opts opts; /* with what the parent decides */
	uint32_t block;
	char *dir;	   /* resolved parent_dir */
	char *parent_path; /* resolved */
	char *child_path;  /* resolved, where it is going to be */
	struct vhd *parent;
	struct vhd_relation relation;
};

static int resolve(const char *path, char **out, struct vhd_err *err)
{
	int rc = vhd_path_resolve(path, out);

	if (!rc)
		return 0;
	return vhd_fail(err, rc, vhd_system_why(rc), 0, "cannot find %.80s: %s",
			path, vhd_errno_text(rc));
}

static int below(const struct birth *b, const char *path, const char *what,
		 struct vhd_err *err)
{
	if (vhd_path_below(path, b->dir))
		return 0;
	return vhd_fail(err, -EINVAL, VHD_WHY_PARENT_MISSING, 0,
			"the %s is not below %.80s", what, b->dir);
}

static int places(struct birth *b, struct vhd_err *err)
{
	const struct vhd_create_opts *o = &b->opts;
	int rc;

	if (!o->parent_path || !o->parent_dir)
		return vhd_fail(err, -EINVAL, VHD_WHY_ARGUMENT, 0,
				"a differencing disk needs a parent, and a "
				"directory in which both are");
	rc = resolve(o->parent_dir, &b->dir, err);
	if (!rc)
		rc = resolve(o->parent_path, &b->parent_path, err);
	if (!rc)
		rc = resolve(o->final_path ? o->final_path : b->path,
			     &b->child_path, err);
	if (!rc)
		rc = below(b, b->parent_path, "parent", err);
	if (!rc)
		rc = below(b, b->child_path, "new image", err);
	return rc;
}

static int parent_open(struct birth *b, struct vhd_err *err)
{
	const struct vhd_open_opts how = {
		.parent_dir = b->dir,
		.larger_child = b->opts.larger_child,
	};
	struct vhd_err why;
	int rc = vhd_open(b->parent_path, &how, &b->parent, &why);

	if (rc)
		return vhd_fail(err, rc, why.why, why.at_bytes,
				"parent: %.140s", why.text);
	return 0;
}

/* What the parent decides where the caller does not. */
static int inherit(struct birth *b, struct vhd_err *err)
{
	const struct vhd_info *p = &b->parent->info;
	struct vhd_create_opts *o = &b->opts;

	if (!o->size_bytes)
		o->size_bytes = p->size_bytes;
	if (!o->block_size_bytes)
		o->block_size_bytes = p->block_size_bytes;
	if (o->size_bytes < p->size_bytes)
		return vhd_fail(err, -EINVAL, VHD_WHY_ARGUMENT, 0,
				"%llu bytes are less than the parent's %llu",
				(unsigned long long)o->size_bytes,
				(unsigned long long)p->size_bytes);
	if (o->size_bytes > p->size_bytes && !o->larger_child)
		return vhd_fail(err, -EINVAL, VHD_WHY_ARGUMENT, 0,
				"%llu bytes are more than the parent's %llu, "
				"which has to be allowed",
				(unsigned long long)o->size_bytes,
				(unsigned long long)p->size_bytes);
	return vhd_create_check(o, &b->block, err);
}

/* Open the new image with its parents. */
static int reopen(const struct birth *b, const struct vhd_file *f,
		  struct vhd **out, struct vhd_err *err)
{
	const struct vhd_open_opts how = {
		.format = VHD_FORMAT_DIFF,
		.writable = true,
		.direct = b->opts.direct,
		.parent_dir = b->dir,
		.larger_child = b->opts.larger_child,
	};
	struct vhd *img;
	int rc = vhd_open_file(f, &how, &img, err);

	if (rc)
		return rc;
	rc = vhd_parents_open(img, b->child_path, &how, err);
	if (rc) {
		vhd_chain_free(img);
		vhd_image_free(img);
		return rc;
	}
	atomic_store(&img->touched, true);
	*out = img;
	return 0;
}

static int make(struct birth *b, struct vhd **out, struct vhd_err *err)
{
	struct vhd_file f;
	bool made;
	int rc = vhd_create_open(b->path, &b->opts, &f, &made, err);

	if (rc)
		return rc;
	rc = vhd_create_write(&f, &b->opts, b->block, &b->relation, err);
	if (!rc)
		rc = reopen(b, &f, out, err);
	if (rc) {
		if (made) /* should this fail too: the first fault is told */
			(void)unlink(b->path);
		vhd_file_close(&f);
	}
	return rc;
}

int vhd_create_child(const char *path, const struct vhd_create_opts *opts,
		     struct vhd **out, struct vhd_err *err)
{
	struct birth b = {.path = path, .opts = *opts};
	int rc = places(&b, err);

	if (!rc)
		rc = parent_open(&b, err);
	if (!rc)
		rc = inherit(&b, err);
	if (!rc)
		rc = vhd_relation_make(b.child_path, b.parent_path, b.parent,
				       &b.relation, err);
	if (!rc)
		rc = make(&b, out, err);
	vhd_abandon(b.parent);
	free(b.child_path);
	free(b.parent_path);
	free(b.dir);
	return rc;
}

/* SPDX-License-Identifier: BSD-2-Clause */
/* Merging: layers of a chain brought down into one of their ancestors.
 *
 * The chain is opened to be read, with all its locks, and judged. Then it is
 * parted above the target, the lower part is closed, and the target is opened
 * again to be written, which nobody else may have open by then. It must be the
 * file it was.
 *
 * Order: plan -> data and what alloc.h says of new blocks -> sync -> the
 * target closed -> layers removed, each durably, lowest first: what is left of
 * the chain after an interruption does not open, instead of reading as a disk
 * that never was.
 * Source: VHD specification 1.0, "Differencing Hard Disks".
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fail.h"
#include "filesys.h"
#include "merge_int.h"
#include "split.h"

struct merge {
	const struct vhd_merge_opts *opts;
	struct vhd_merge_result *r;
	struct vhd *top;   /* to be read; from the cut on, the upper part */
	struct vhd *lower; /* the target and what it builds on, to be read */
	unsigned at;	   /* the target's number in the chain */
	char *path;	   /* owned: the target's */
	struct stat st;	   /* the target's file */
	uint8_t id[16];
};

static const char *name_of(const char *path)
{
	const char *slash = path ? strrchr(path, '/') : NULL;

	return slash ? slash + 1 : "the image";
}

/* ------------------------------------------------- which, and may it be -- */

static bool same_file(const struct stat *a, const struct stat *b)
{
	return a->st_dev == b->st_dev && a->st_ino == b->st_ino;
}

/* A split set has no descriptor of its own; its first file stands for it. */
static int stat_of(const struct vhd *layer, struct stat *st)
{
	return layer->file.fd < 0 ? stat(layer->path, st)
				  : fstat(layer->file.fd, st);
}

static int choose_named(struct merge *m, struct vhd_err *err)
{
	struct stat want, have;
	int rc;

	if (stat(m->opts->into, &want) < 0) {
		rc = -errno;
		return vhd_fail(err, rc, vhd_system_why(rc), 0,
				"cannot find %.80s: %s", m->opts->into,
				vhd_errno_text(rc));
	}
	for (unsigned i = 1; i < m->top->info.layers; i++) {
		if (stat_of(vhd_get_layer(m->top, i), &have) < 0) {
			rc = -errno;
			return vhd_fail(err, rc, vhd_system_why(rc), 0,
					"cannot examine layer %u: %s", i,
					vhd_errno_text(rc));
		}
		if (same_file(&want, &have)) {
			m->at = i;
			return 0;
		}
	}
	return vhd_fail(err, -EINVAL, VHD_WHY_ARGUMENT, 0,
			"%.80s is not among the images below this one",
			m->opts->into);
}

static int choose(struct merge *m, struct vhd_err *err)
{
	if (m->top->info.format != VHD_FORMAT_DIFF)
		return vhd_fail(err, -ENOTSUP, VHD_WHY_UNSUPPORTED, 0,
				"a %s disk: only a differencing disk has "
				"something to be merged into",
				vhd_format_name(m->top->info.format));
	m->at = m->opts->all ? m->top->info.layers - 1 : 1;
	return m->opts->into ? choose_named(m, err) : 0;
}

/* Layer `i` against the one above it. A target of another size, or layers of
 * different sizes to be brought down, would leave a chain that does not open
 * any more when the merge ends early.
 */
static int sizes_check(const struct merge *m, unsigned i, struct vhd_err *err)
{
	const struct vhd *above = vhd_get_layer(m->top, i - 1);
	const struct vhd *layer = vhd_get_layer(m->top, i);

	if (above->info.size_bytes == layer->info.size_bytes ||
	    (i > m->at && m->opts->larger_child))
		return 0;
	return vhd_fail(err, -EUCLEAN, VHD_WHY_PARENT_SIZE, 0,
			"%.40s has %llu bytes, %.40s above it %llu: resize "
			"it first",
			name_of(layer->path),
			(unsigned long long)layer->info.size_bytes,
			name_of(above->path),
			(unsigned long long)above->info.size_bytes);
}

/* Layer `i`, which is the target or brought down. */
static int layer_check(const struct merge *m, unsigned i, struct vhd_err *err)
{
	const struct vhd *layer = vhd_get_layer(m->top, i);
	bool split = vhd_split_parts(&layer->file) > 1;

	if (layer->info.saved_state)
		return vhd_fail(err, -EUCLEAN, VHD_WHY_SAVED_STATE, 0,
				"%.60s belongs to the saved state of a machine",
				name_of(layer->path));
	if (split && i == m->at)
		return vhd_fail(err, -EROFS, VHD_WHY_READ_ONLY_LAYOUT, 0,
				"%.60s is split into several files, which are "
				"only read",
				name_of(layer->path));
	if (split && m->opts->remove)
		return vhd_fail(err, -ENOTSUP, VHD_WHY_UNSUPPORTED, 0,
				"%.60s is split into several files: merge "
				"first, then remove them by hand",
				name_of(layer->path));
	return 0;
}

static int may_be(const struct merge *m, struct vhd_err *err)
{
	int rc = 0;

	for (unsigned i = 1; !rc && i < m->top->info.layers; i++)
		rc = sizes_check(m, i, err);
	for (unsigned i = 0; !rc && i <= m->at; i++)
		rc = layer_check(m, i, err);
	return rc;
}

/* ----------------------------------------------------------- the parts -- */

static int chain_open(struct merge *m, const char *path, struct vhd_err *err)
{
	const struct vhd_open_opts o = {
		.direct = m->opts->direct,
		.parent_dir = m->opts->parent_dir,
		.larger_child = true, /* judged by may_be */
	};

	return vhd_open(path, &o, &m->top, err);
}

static int remember(struct merge *m, struct vhd_err *err)
{
	const struct vhd *target = vhd_get_layer(m->top, m->at);
	int rc;

	memcpy(m->id, target->info.unique_id, sizeof(m->id));
	m->path = strdup(target->path);
	if (!m->path)
		return vhd_fail_nomem(err, strlen(target->path), "a path");
	if (fstat(target->file.fd, &m->st) == 0)
		return 0;
	rc = -errno;
	return vhd_fail(err, rc, vhd_system_why(rc), 0, "cannot examine %.80s: %s",
			m->path, vhd_errno_text(rc));
}

static int tell_plan(struct merge *m, struct vhd_layer *layers,
		     struct vhd_err *err)
{
	if (!m->opts->planned || !m->opts->planned(m->opts->ctx, layers, m->r))
		return 0;
	return vhd_fail(err, -ECANCELED, VHD_WHY_CANCELLED, 0,
			"the merge was stopped before it began");
}

/* Part the chain, see what there is to do, and let the caller judge it. */
static int plan(struct merge *m, struct vhd_err *err)
{
	struct vhd_layer *layers = calloc(m->at + 1, sizeof(*layers));
	int rc;

	if (!layers)
		return vhd_fail_nomem(err, (m->at + 1) * sizeof(*layers),
				      "a list of layers");
	for (unsigned i = 0; i <= m->at; i++)
		(void)vhd_layer(m->top, i, &layers[i]);
	m->lower = vhd_chain_cut(m->top, m->at);
	rc = merge_room(m->top, m->lower, m->opts->dry_run, m->r, err);
	if (!rc)
		rc = tell_plan(m, layers, err);
	free(layers);
	return rc;
}

/* The target, alone and to be written. */
static int target_open(struct merge *m, struct vhd **target,
		       struct vhd_err *err)
{
	const struct vhd_open_opts o = {
		.format = m->lower->info.format,
		.writable = true,
		.direct = m->opts->direct,
		.parent_dir = m->opts->parent_dir,
		.larger_child = m->opts->larger_child,
	};
	struct stat st;
	int rc;

	vhd_abandon(m->lower);
	m->lower = NULL;
	rc = vhd_open(m->path, &o, target, err);
	if (rc)
		return rc;
	if (fstat((*target)->file.fd, &st) < 0)
		rc = vhd_fail(err, -errno, VHD_WHY_SYSTEM, 0,
			      "cannot examine %.80s", m->path);
	else if (same_file(&st, &m->st) &&
		 !memcmp((*target)->info.unique_id, m->id, sizeof(m->id)) &&
		 (*target)->sectors == m->top->sectors)
		return 0;
	vhd_abandon(*target);
	if (rc)
		return rc;
	return vhd_fail(err, -EBUSY, VHD_WHY_LOCKED, 0,
			"%.80s was replaced meanwhile; nothing was written",
			m->path);
}

/* A merge that fails still leaves the target's file in order, if it can. */
static int bring_down(struct merge *m, struct vhd_err *err)
{
	struct vhd *target;
	struct vhd_err late;
	struct stat st;
	int rc = target_open(m, &target, err), closed;

	if (rc)
		return rc;
	rc = merge_copy(m->top, target, m->opts, m->r, err);
	closed = vhd_close(target, &late);
	if (!rc && closed && err)
		*err = late;
	if (stat(m->path, &st) == 0)
		m->r->new_file_bytes = (uint64_t)st.st_size;
	return rc ? rc : closed;
}

/* ------------------------------------------------------------- removal -- */

static int remove_fail(const char *path, int code, struct vhd_err *err)
{
	return vhd_fail(err, code, vhd_system_why(code), 0,
			"the merge is done, but %.60s cannot be removed: %s",
			name_of(path), vhd_errno_text(code));
}

static int sync_folder(const char *path)
{
	char *dir = strdup(path), *slash = dir ? strrchr(dir, '/') : NULL;
	int fd, rc = 0;

	if (!slash) {
		free(dir);
		return -ENOMEM;
	}
	slash[slash == dir] = '\0';
	fd = vhd_open_retry(dir, O_RDONLY | O_DIRECTORY);
	if (fd < 0)
		rc = fd;
	else if (fsync(fd) < 0)
		rc = -errno;
	if (fd >= 0)
		close(fd);
	free(dir);
	return rc;
}

static int remove_one(const struct vhd *layer, struct vhd_err *err)
{
	struct stat named, open_one;
	int rc = 0;

	if (lstat(layer->path, &named) < 0 ||
	    fstat(layer->file.fd, &open_one) < 0)
		rc = -errno;
	else if (!same_file(&named, &open_one))
		rc = -EBUSY; /* the name belongs to another file by now */
	else if (unlink(layer->path) < 0)
		rc = -errno;
	if (!rc)
		rc = sync_folder(layer->path);
	return rc ? remove_fail(layer->path, rc, err) : 0;
}

static int remove_layers(const struct merge *m, struct vhd_err *err)
{
	int rc = 0;

	for (unsigned i = m->at; !rc && i-- > 0;)
		rc = remove_one(vhd_get_layer(m->top, i), err);
	return rc;
}

/* --------------------------------------------------------------- merge -- */

static int opts_check(const struct vhd_merge_opts *o, struct vhd_err *err)
{
	if (!o || !o->parent_dir || (o->into && o->all))
		return vhd_fail(err, -EINVAL, VHD_WHY_ARGUMENT, 0,
				"a merge needs a directory for the parents, "
				"and at most one of `into` and `all`");
	return 0;
}

int vhd_merge(const char *path, const struct vhd_merge_opts *opts,
	      struct vhd_merge_result *result, struct vhd_err *err)
{
	struct vhd_merge_result own;
	struct merge m = {.opts = opts, .r = result ? result : &own};
	int rc = opts_check(opts, err);

	if (!rc)
		rc = chain_open(&m, path, err);
	if (!rc)
		rc = choose(&m, err);
	if (!rc)
		rc = may_be(&m, err);
	if (!rc)
		rc = remember(&m, err);
	if (!rc)
		rc = plan(&m, err);
	if (!rc && !opts->dry_run)
		rc = bring_down(&m, err);
	if (!rc && !opts->dry_run && opts->remove)
		rc = remove_layers(&m, err);
	vhd_abandon(m.lower);
	vhd_abandon(m.top);
	free(m.path);
	return rc;
}

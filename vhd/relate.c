/* SPDX-License-Identifier: BSD-2-Clause */
/* See relate.h. A path is only written when reading it gives the same again:
 * Linux allows names, with a backslash in them or in no encoding, that mean
 * something else to every reader of a VHD.
 *
 * The relative path is what finds the parent wherever the two are moved to
 * together. The absolute one has no drive, as this host has none; a reader
 * elsewhere takes its last part.
 * Source: VHD specification 1.0, "Parent Locator Entries"; the parent's time
 * is that of its file, in the footer's epoch.
 */
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "fail.h"
#include "relate.h"

/* --------------------------------------------------------------- paths -- */

bool vhd_path_below(const char *path, const char *dir)
{
	size_t n = strlen(dir);

	if (strcmp(dir, "/") == 0)
		n = 0;
	return strncmp(path, dir, n) == 0 && path[n] == '/';
}

static char *in_dir(const char *dir, const char *name)
{
	size_t a = strlen(dir), b = strlen(name);
	char *path = malloc(a + b + 2);

	if (!path)
		return NULL;
	memcpy(path, dir, a);
	if (a && dir[a - 1] != '/')
		path[a++] = '/';
	memcpy(path + a, name, b + 1);
	return path;
}

/* Only the directory is there. */
static int resolve_new(const char *path, char **out)
{
	const char *slash = strrchr(path, '/');
	const char *name = slash ? slash + 1 : path;
	char *dir, *real;
	int rc = 0;

	if (!*name || !strcmp(name, ".") || !strcmp(name, ".."))
		return -ENOENT;
	dir = !slash	      ? strdup(".")
	      : slash == path ? strdup("/")
			      : strndup(path, (size_t)(slash - path));
	real = dir ? realpath(dir, NULL) : NULL;
	if (!real)
		rc = -errno;
	else if (!(*out = in_dir(real, name)))
		rc = -ENOMEM;
	free(real);
	free(dir);
	return rc;
}

int vhd_path_resolve(const char *path, char **out)
{
	char *real = realpath(path, NULL);

	if (real) {
		*out = real;
		return 0;
	}
	return errno == ENOENT ? resolve_new(path, out) : -errno;
}

/* From the directory of one file to another file, with `..` as needed. False:
 * does not fit.
 */
static bool relative_path(const char *from, const char *to, char *out,
			  size_t cap)
{
	size_t same = 0, o = 0, n;

	for (size_t i = 0; from[i] && from[i] == to[i]; i++)
		if (from[i] == '/')
			same = i + 1;
	for (const char *p = from + same; (p = strchr(p, '/')); p++) {
		if (cap - o < 4)
			return false;
		memcpy(out + o, "../", 3);
		o += 3;
	}
	n = strlen(to + same) + 1;
	if (cap - o < n)
		return false;
	memcpy(out + o, to + same, n);
	return true;
}

/* ------------------------------------------------------------- encoding -- */

static const char *base_name(const char *path)
{
	const char *slash = strrchr(path, '/');

	return slash ? slash + 1 : path;
}

/* Encode and read it back. */
static bool put_relative(struct vhd_relation *r, const char *path)
{
	char back[VHD_PARENT_PATH_MAX];
	ssize_t n = vhd_locator_payload(path, r->relative, sizeof(r->relative));

	if (n <= 0)
		return false;
	r->relative_len = (uint32_t)n;
	return vhd_locator_path(VHD_LOCATOR_W2RU, r->relative, (size_t)n, back,
				sizeof(back)) > 0 &&
	       strcmp(back, path) == 0;
}

static void put_absolute(struct vhd_relation *r, const char *path)
{
	char back[VHD_PARENT_PATH_MAX];
	ssize_t n = vhd_utf16_encode(path, VHD_UTF16_LE, r->absolute,
				     sizeof(r->absolute));

	r->absolute_len = 0;
	if (n <= 0)
		return;
	for (ssize_t i = 0; i < n; i += 2)
		if (r->absolute[i] == '/' && !r->absolute[i + 1])
			r->absolute[i] = '\\';
	if (vhd_locator_path(VHD_LOCATOR_W2KU, r->absolute, (size_t)n, back,
			     sizeof(back)) > 0 &&
	    strcmp(back, base_name(path)) == 0)
		r->absolute_len = (uint32_t)n;
}

static bool put_name(struct vhd_relation *r, const char *name)
{
	memset(r->name, 0, sizeof(r->name));
	/* the last unit stays 0 */
	return vhd_utf16_encode(name, VHD_UTF16_BE, r->name,
				sizeof(r->name) - 2) > 0;
}

static uint32_t file_time(const struct vhd *parent)
{
	struct stat st;
	int64_t s;

	if (parent->file.fd < 0 || fstat(parent->file.fd, &st) < 0)
		return 0; /* as Windows 10 writes it */
	s = st.st_mtim.tv_sec - VHD_EPOCH_UNIX_S;
	return s < 0 || s > UINT32_MAX ? 0 : (uint32_t)s;
}

static int parent_check(const struct vhd *parent, struct vhd_err *err)
{
	const struct vhd_info *info = &parent->info;

	if (info->format == VHD_FORMAT_RAW)
		return vhd_fail(err, -ENOTSUP, VHD_WHY_UNSUPPORTED, 0,
				"a raw disk has no id by which a child knows "
				"its parent; convert it to a VHD first");
	if (!vhd_any_nonzero(info->unique_id, sizeof(info->unique_id)))
		return vhd_fail(err, -ENOTSUP, VHD_WHY_UNSUPPORTED, 0,
				"the parent's id is all zero, which says "
				"nothing to a child; repair gives it one");
	return 0;
}

int vhd_relation_make(const char *child_path, const char *parent_path,
		      const struct vhd *parent, struct vhd_relation *r,
		      struct vhd_err *err)
{
	char relative[VHD_PARENT_PATH_MAX];
	int rc = parent_check(parent, err);

	if (rc)
		return rc;
	memset(r, 0, sizeof(*r));
	memcpy(r->parent_id, parent->info.unique_id, sizeof(r->parent_id));
	r->parent_timestamp_s = file_time(parent);
	if (!relative_path(child_path, parent_path, relative,
			   sizeof(relative)) ||
	    !put_relative(r, relative) || !put_name(r, base_name(parent_path)))
		return vhd_fail(err, -EINVAL, VHD_WHY_ARGUMENT, 0,
				"the parent's name cannot be written down so "
				"that it is found again: too long, not UTF-8, "
				"or with a backslash in it");
	put_absolute(r, parent_path);
	return 0;
}

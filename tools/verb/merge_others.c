/* SPDX-License-Identifier: BSD-2-Clause */
/* Other children: an image says who its parent is, and nothing says who its
 * children are. So the files beside the images of a chain are looked at, the
 * way `inspect` does: without a lock, and whatever state they are in.
 */
#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "verb.h"
#include "merge.h"

struct search {
	const struct vhd_layer *layers;
	unsigned count;
	bool goes;
	struct json_object *found;
};

static bool is_layer(const struct search *s, const struct stat *st)
{
	struct stat have;

	for (unsigned i = 0; i < s->count; i++) {
		const struct vhd_layer *l = &s->layers[i];
		/* A split set has no descriptor. */
		int rc = l->fd < 0 ? stat(l->path, &have) : fstat(l->fd, &have);

		if (rc == 0 && have.st_dev == st->st_dev &&
		    have.st_ino == st->st_ino)
			return true;
	}
	return false;
}

static bool builds_on(const struct search *s, const struct vhd_info *info)
{
	if (info->format != VHD_FORMAT_DIFF)
		return false;
	for (unsigned i = s->goes ? 0 : 1; i < s->count; i++)
		if (!memcmp(info->parent_id, s->layers[i].info->unique_id, 16))
			return true;
	return false;
}

/* What cannot be opened is nobody's child that could be harmed; that the means
 * are lacking is no such answer.
 */
static int look_at(const struct search *s, const char *path,
		   struct vhd_err *err)
{
	const struct vhd_open_opts how = {.inspect = true, .force_read = true};
	struct vhd_err why;
	struct stat st;
	struct vhd *img;
	int rc;

	if (stat(path, &st) < 0 || !S_ISREG(st.st_mode) || is_layer(s, &st))
		return 0;
	rc = vhd_open(path, &how, &img, &why);
	if (rc == -ENOMEM || rc == -EMFILE || rc == -ENFILE)
		*err = why;
	if (rc)
		return rc == -ENOMEM || rc == -EMFILE || rc == -ENFILE ? rc : 0;
	if (builds_on(s, vhd_get_info(img)))
		cli_json_add(s->found, cli_json_text(path));
	vhd_abandon(img);
	if (!cli_json_lost())
		return 0;
	return vhd_fail(err, -ENOMEM, VHD_WHY_NOMEM, 0,
			"out of memory for the images that build on it");
}

static int directory(const struct search *s, const char *dir,
		     struct vhd_err *err)
{
	DIR *d = opendir(dir);
	struct dirent *e;
	int rc = 0;

	errno = d ? 0 : errno;
	while (d && !rc && (errno = 0, e = readdir(d))) {
		char *path;

		if (asprintf(&path, "%s/%s", strcmp(dir, "/") ? dir : "",
			     e->d_name) < 0) {
			errno = ENOMEM;
			break;
		}
		rc = look_at(s, path, err);
		free(path);
	}
	if (errno && !rc)
		rc = vhd_fail(err, -errno, VHD_WHY_SYSTEM, 0,
			      "cannot look for other children in %.80s: %s",
			      dir, strerror(errno));
	if (d)
		closedir(d);
	return rc;
}

/* The directory of layer `i`, or NULL if one before it has the same. */
static char *directory_of(const struct search *s, unsigned i)
{
	const char *path = s->layers[i].path;
	size_t n = (size_t)(strrchr(path, '/') - path) + 1;

	for (unsigned k = 0; k < i; k++)
		if (!strncmp(s->layers[k].path, path, n) &&
		    !strchr(s->layers[k].path + n, '/'))
			return NULL;
	return strndup(path, n > 1 ? n - 1 : 1);
}

int merge_others_find(const struct vhd_layer *layers, unsigned count, bool goes,
		      struct json_object *found, struct vhd_err *err)
{
	const struct search s = {layers, count, goes, found};
	int rc = 0;

	for (unsigned i = 0; i < count && !rc; i++) {
		char *dir = directory_of(&s, i);

		if (dir)
			rc = directory(&s, dir, err);
		free(dir);
	}
	return rc;
}

/* SPDX-License-Identifier: BSD-2-Clause */
/* Who builds on an image: nothing in it says so, and the files beside it are
 * looked at, without a lock and in whatever state they are.
 */
#include <dirent.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "verb.h"
#include "set.h"

#define NEIGHBOURS_MAX 10000 /* files looked at */
#define CHILD_BYTES_MIN 2048 /* footers and header */

/* Whether a chain's second layer is another file than the image: a copy of it
 * that keeps the id.
 */
static bool has_another(const struct vhd *child, const struct stat *image)
{
	struct vhd_layer below;
	struct stat st;

	return !vhd_layer(child, 1, &below) && fstat(below.fd, &st) == 0 &&
	       (st.st_dev != image->st_dev || st.st_ino != image->st_ino);
}

static bool is_child(const char *path, const char *dir, const struct stat *st,
		     const uint8_t parent_id[16])
{
	struct vhd_open_opts how = {
		.inspect = true,
		.force_read = true,
		.larger_child = true,
		.parent_dir = dir,
	};
	struct vhd *img;
	bool yes;

	if (vhd_open(path, &how, &img, NULL))
		return false;
	yes = vhd_get_info(img)->format == VHD_FORMAT_DIFF &&
	      !memcmp(vhd_get_info(img)->parent_id, parent_id, 16) &&
	      !has_another(img, st);
	vhd_abandon(img);
	return yes;
}

struct search {
	const char *dir;
	struct stat image;
	const uint8_t *id;
	void (*found)(void *ctx, const char *path);
	void *ctx;
};

static void look_at(const struct search *s, int dir_fd, const char *name)
{
	char path[PATH_MAX];
	struct stat st;
	int n = snprintf(path, sizeof(path), "%s/%s", s->dir, name);

	if (n > 0 && (size_t)n < sizeof(path) &&
	    fstatat(dir_fd, name, &st, 0) == 0 && S_ISREG(st.st_mode) &&
	    st.st_size >= CHILD_BYTES_MIN &&
	    is_child(path, s->dir, &s->image, s->id))
		s->found(s->ctx, path);
}

void set_children_find(const char *path, const uint8_t id[16],
		       void (*found)(void *ctx, const char *path), void *ctx)
{
	char *dir = cli_parent_dir(path);
	struct search s = {.dir = dir, .id = id, .found = found, .ctx = ctx};
	DIR *d = dir ? opendir(dir) : NULL;
	struct dirent *e;

	if (d && stat(path, &s.image) == 0)
		for (unsigned i = 0; i < NEIGHBOURS_MAX && (e = readdir(d));
		     i++)
			look_at(&s, dirfd(d), e->d_name);
	if (d)
		closedir(d);
	free(dir);
}

/* SPDX-License-Identifier: BSD-2-Clause */
/* An image from descriptors: for a program that may open nothing any more and
 * is given its files. Who is whose parent is decided by the ids, as always;
 * names are not followed.
 */
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fail.h"
#include "image.h"
#include "nbd.h"

/* Whatever its offset, a write would go to the end. */
static int appends(int fd, const char *path, struct vhd_err *err)
{
	int flags = fcntl(fd, F_GETFL);

	if (flags < 0 || !(flags & O_APPEND))
		return 0;
	return vhd_fail(err, -EINVAL, VHD_WHY_ARGUMENT, 0,
			"%.80s is open for appending (O_APPEND), and an image "
			"is written to anywhere",
			path);
}

/* Not a file but the end of a connector's. */
static bool is_connector(int fd)
{
	struct stat st;

	return fstat(fd, &st) == 0 && S_ISSOCK(st.st_mode);
}

static int medium_open(int fd, const char *path,
		       const struct vhd_file_open *how,
		       const struct vhd_nbd_opts *nbd, struct vhd_file *out,
		       struct vhd_err *err)
{
	if (nbd && is_connector(fd))
		return vhd_nbd_open_handed(fd, path, nbd, how->writable, out,
					   err);
	return vhd_file_adopt(fd, path, how, out, err);
}

/* `direct`: a second descriptor, taken whatever happens, or -1. */
static int open_layer(int fd, int direct, const char *path,
		      const struct vhd *child,
		      const struct vhd_open_opts *opts, struct vhd **out,
		      struct vhd_err *err)
{
	bool raw = child && opts->raw_parent && vhd_chain_wants_raw(child);
	const struct vhd_file_open how = {
		.writable = opts->writable && !child,
		.no_lock = opts->force_read,
	};
	const struct vhd_open_opts o = {
		.format = raw	  ? VHD_FORMAT_RAW
			  : child ? VHD_FORMAT_AUTO
				  : opts->format,
		.writable = how.writable,
		.force_read = opts->force_read,
		.larger_child = opts->larger_child,
		.raw_parent = opts->raw_parent,
		.parent_dir = "", /* a parent comes next */
	};
	struct vhd_file f;
	int rc = how.writable ? appends(fd, path, err) : 0;

	if (rc)
		close(fd);
	else
		rc = medium_open(fd, path, &how, opts->nbd, &f, err);
	if (rc) {
		if (direct >= 0)
			close(direct);
		return rc;
	}
	if (direct >= 0)
		rc = vhd_file_direct(&f, direct, path, err);
	if (!rc)
		rc = vhd_open_file(&f, &o, out, err);
	if (rc)
		vhd_file_close(&f);
	return rc;
}

static int whole(const struct vhd *lowest, struct vhd_err *err)
{
	if (lowest->info.format != VHD_FORMAT_DIFF)
		return 0;
	return vhd_fail(err, -ENOENT, VHD_WHY_PARENT_MISSING, 0,
			"a differencing disk, whose parent is not among the "
			"files given");
}

int vhd_open_fds(const int *fds, unsigned count, const char *path,
		 const struct vhd_open_opts *opts, struct vhd **out,
		 struct vhd_err *err)
{
	struct vhd *top = NULL, *last = NULL, *img = NULL;
	bool direct = opts->direct && count > 1;
	unsigned at = 0;
	int rc = 0;

	if (count == 0 || opts->inspect || (opts->direct && count == 1))
		rc = vhd_fail(err, -EINVAL, VHD_WHY_ARGUMENT, 0,
			      count ? "no second descriptor for direct "
				      "transfers"
				    : "no files to open an image from");
	while (!rc && at < count) {
		int fd = fds[at++];

		rc = open_layer(fd, !top && direct ? fds[at++] : -1, path,
				last, opts, &img, err);
		if (rc)
			break;
		if (top)
			rc = vhd_chain_link(top, last, img, err);
		else
			top = img;
		if (rc)
			vhd_abandon(img);
		last = img;
	}
	for (; at < count; at++)
		close(fds[at]);
	if (!rc)
		rc = whole(last, err);
	vhd_hurry(top, VHD_NBD_FOREVER); /* opening was bounded */
	if (rc)
		vhd_abandon(top);
	else
		*out = top;
	return rc;
}

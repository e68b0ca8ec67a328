/* SPDX-License-Identifier: BSD-2-Clause */
/* The source of a conversion: opened once, so that the image the library
 * reads, the inode compared with the destination and the file asked for its
 * holes are the same file whatever happens to the name meanwhile. It is only
 * ever opened for reading.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "convert.h"

static int fail(struct vhd_err *err, const char *what)
{
	int code = -errno;

	return vhd_fail(err, code, VHD_WHY_SYSTEM, 0, "%s: %s", what,
			strerror(-code));
}

static int file_check(const struct convert_input *in, struct vhd_err *err)
{
	if (S_ISREG(in->st.st_mode) || S_ISBLK(in->st.st_mode))
		return 0;
	if (S_ISDIR(in->st.st_mode))
		return vhd_fail(err, -EISDIR, VHD_WHY_NOT_FILE, 0,
				"is a directory, not an image");
	return vhd_fail(err, -EINVAL, VHD_WHY_NOT_FILE, 0,
			"is neither a regular file nor a block device");
}

int convert_proc_check(struct vhd_err *err)
{
	if (access("/proc/self/fd", X_OK) == 0)
		return 0;
	return vhd_fail(err, -ENOSYS, VHD_WHY_SYSTEM, 0,
			"/proc is not mounted here, and files are reached "
			"through /proc/self/fd; mount it first");
}

int convert_input_open(struct convert_input *in, const char *path,
		       const struct vhd_open_opts *opts, struct vhd_err *err)
{
	char self[32];
	int rc;

	*in = (struct convert_input){ .fd = -1 };
	if (opts->nbd && vhd_is_nbd_uri(path))
		return vhd_open(path, opts, &in->img, err);
	/* O_NONBLOCK: a FIFO must be refused, not waited for. */
	in->fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	if (in->fd < 0)
		return fail(err, "cannot open");
	rc = fstat(in->fd, &in->st) < 0 ? fail(err, "cannot examine")
					: file_check(in, err);
	if (!rc)
		rc = convert_proc_check(err);
	if (rc)
		goto out;
	snprintf(self, sizeof(self), "/proc/self/fd/%d", in->fd);
	rc = vhd_open(self, opts, &in->img, err);
	if (rc)
		cli_strip_path(err, self);
out:
	if (rc)
		convert_input_close(in);
	return rc;
}

bool convert_input_has_parent(const struct convert_input *in, const char *path)
{
	struct vhd_layer layer;
	struct stat st, have;

	if (stat(path, &st) < 0)
		return false;
	for (unsigned i = 1; !vhd_layer(in->img, i, &layer); i++)
		if (fstat(layer.fd, &have) == 0 && have.st_dev == st.st_dev &&
		    have.st_ino == st.st_ino)
			return true;
	return false;
}

void convert_input_close(struct convert_input *in)
{
	vhd_abandon(in->img);
	if (in->fd >= 0)
		close(in->fd);
	*in = (struct convert_input){ .fd = -1 };
}

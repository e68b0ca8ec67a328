/* SPDX-License-Identifier: BSD-2-Clause */
/* New images. What is written is then opened like any other, so an image that
 * this library would refuse is never handed out.
 */
#include <errno.h>
#include <unistd.h>

#include "create.h"
#include "fail.h"

int vhd_create_file(const struct vhd_file *f,
		    const struct vhd_create_opts *opts, struct vhd **out,
		    struct vhd_err *err)
{
	struct vhd_open_opts open = {.writable = true};
	uint32_t block;
	int rc = vhd_create_check(opts, &block, err);

	if (!rc && opts->format == VHD_FORMAT_DIFF)
		rc = vhd_fail(err, -EINVAL, VHD_WHY_ARGUMENT, 0,
			      "a differencing disk is created by path, as its "
			      "parent is found by path");
	if (!rc)
		rc = vhd_create_write(f, opts, block, NULL, err);
	if (rc)
		return rc;
	open.format = opts->format;
	rc = vhd_open_file(f, &open, out, err);
	if (!rc)
		atomic_store(&(*out)->touched, true);
	return rc;
}

static int create_alone(const char *path, const struct vhd_create_opts *opts,
			struct vhd **out, struct vhd_err *err)
{
	struct vhd_file f;
	uint32_t block;
	bool made;
	int rc = vhd_create_check(opts, &block, err);

	if (rc)
		return rc;
	rc = vhd_create_open(path, opts, &f, &made, err);
	if (rc)
		return rc;
	rc = vhd_create_file(&f, opts, out, err);
	if (rc) {
		if (made) /* should this fail too: the first fault is told */
			(void)unlink(path);
		vhd_file_close(&f);
	}
	return rc;
}

int vhd_create(const char *path, const struct vhd_create_opts *opts,
	       struct vhd **out, struct vhd_err *err)
{
	if (opts && opts->format == VHD_FORMAT_DIFF)
		return vhd_create_child(path, opts, out, err);
	return create_alone(path, opts, out, err);
}

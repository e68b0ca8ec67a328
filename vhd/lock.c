/* SPDX-License-Identifier: BSD-2-Clause */
/* OFD locks; see lock.h. */
#include <errno.h>
#include <fcntl.h>

#include "fail.h"
#include "lock.h"

int vhd_lock(int fd, bool exclusive, const char *path, struct vhd_err *err)
{
	struct flock fl = {
		.l_type = exclusive ? F_WRLCK : F_RDLCK,
		.l_whence = SEEK_SET,
	};
	int rc;

	do
		rc = fcntl(fd, F_OFD_SETLK, &fl);
	while (rc < 0 && errno == EINTR);
	if (rc == 0)
		return 0;
	rc = -errno;
	if (rc == -EAGAIN || rc == -EACCES)
		return vhd_fail(err, -EBUSY, VHD_WHY_LOCKED, 0,
				"%.80s is open %s; close it there first", path,
				exclusive ? "elsewhere"
					  : "elsewhere for writing");
	return vhd_fail(err, rc, VHD_WHY_SYSTEM, 0, "cannot lock %.80s: %s",
			path, vhd_errno_text(rc));
}

void vhd_unlock(int fd)
{
	struct flock fl = {.l_type = F_UNLCK, .l_whence = SEEK_SET};

	/* Where this fails, the last close releases the lock. */
	(void)fcntl(fd, F_OFD_SETLK, &fl);
}

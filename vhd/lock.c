/* SPDX-License-Identifier: BSD-2-Clause */
/* OFD locks; see lock.h. */
#include <errno.h>
#include <fcntl.h>

#include "fail.h"
#include "lock.h"

/* A lock that is not waited for is hardly ever interrupted. */
#define RETRIES_MAX 1000

/* QEMU says what it does by shared locks on single bytes: 101 "writes", 103
 * "resizes". They do not get in the way of a shared lock on the whole file, so
 * they are asked for. A lock on the whole file is another reader's, and keeps
 * such a writer out.
 * Source: QEMU block/file-posix.c, RAW_LOCK_PERM_BASE.
 */
static bool qemu_writes(int fd)
{
	static const off_t bytes[] = {101, 103};

	for (unsigned i = 0; i < sizeof(bytes) / sizeof(bytes[0]); i++) {
		struct flock fl = {
			.l_type = F_WRLCK,
			.l_whence = SEEK_SET,
			.l_start = bytes[i],
			.l_len = 1,
		};

		if (fcntl(fd, F_OFD_GETLK, &fl) == 0 &&
		    fl.l_type != F_UNLCK && fl.l_len != 0)
			return true;
	}
	return false;
}

static int set_lock(int fd, short type)
{
	struct flock fl = {.l_type = type, .l_whence = SEEK_SET};
	unsigned tries = 0;
	int rc;

	do
		rc = fcntl(fd, F_OFD_SETLK, &fl);
	while (rc < 0 && errno == EINTR && ++tries <= RETRIES_MAX);
	return rc;
}

int vhd_lock(int fd, bool exclusive, const char *path, struct vhd_err *err)
{
	int rc = set_lock(fd, exclusive ? F_WRLCK : F_RDLCK);

	if (rc == 0 && (exclusive || !qemu_writes(fd)))
		return 0;
	rc = rc == 0 ? -EAGAIN : -errno;
	if (rc == -EAGAIN || rc == -EACCES)
		return vhd_fail(err, -EBUSY, VHD_WHY_LOCKED, 0,
				"%.80s is open %s; close it there first", path,
				exclusive ? "elsewhere"
					  : "elsewhere for writing");
	return vhd_fail(err, rc, vhd_system_why(rc), 0, "cannot lock %.80s: %s",
			path, vhd_errno_text(rc));
}

void vhd_unlock(int fd)
{
	/* Where this fails, the last close releases the lock: a ring's end may
	 * hold the file for a moment longer than its descriptor is there.
	 */
	(void)set_lock(fd, F_UNLCK);
}

/* SPDX-License-Identifier: BSD-2-Clause */
/* Whether a ring of io_uring, which the disk queue's engine makes and
 * restricts, can be restricted on this kernel. A kernel that makes no rings
 * has nothing to restrict: the queue uses another engine then.
 * Source: io_uring_register(2), IORING_REGISTER_RESTRICTIONS (5.10).
 */
#include <errno.h>
#include <linux/io_uring.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "sandbox.h"

int sandbox_ring_check(struct vhd_err *err)
{
	struct io_uring_params p = {.flags = IORING_SETUP_R_DISABLED};
	struct io_uring_restriction one = {
		.opcode = IORING_RESTRICTION_SQE_OP,
		.sqe_op = IORING_OP_READ,
	};
	int fd = (int)syscall(SYS_io_uring_setup, 1, &p);
	int rc = 0;

	/* ENOSYS, EPERM and others: no rings; EINVAL: older than that flag. */
	if (fd < 0)
		rc = errno == EINVAL ? -EOPNOTSUPP : 0;
	else if (syscall(SYS_io_uring_register, fd,
			 IORING_REGISTER_RESTRICTIONS, &one, 1) < 0)
		rc = -errno;
	else if (!(p.features & IORING_FEAT_EXT_ARG))
		rc = -EOPNOTSUPP;
	if (fd >= 0)
		close(fd);
	if (!rc)
		return 0;
	return vhd_fail(err, rc, VHD_WHY_SYSTEM, 0,
			"rings of io_uring cannot be restricted here: %s",
			strerror(-rc));
}

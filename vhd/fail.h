/* SPDX-License-Identifier: BSD-2-Clause */
/* Errors that come from the system: one place that turns an errno into words
 * without the shared buffer of strerror. Private to vhd/.
 */
#ifndef VHD_FAIL_H
#define VHD_FAIL_H

#include <errno.h>
#include <string.h>

#include "err.h"

static inline const char *vhd_errno_text(int code)
{
	const char *s = strerrordesc_np(code < 0 ? -code : code);

	return s ? s : "unknown error";
}

/* The reason that fits an errno of any other system call. */
static inline enum vhd_why vhd_system_why(int code)
{
	return code == -ENOMEM ? VHD_WHY_NOMEM : VHD_WHY_SYSTEM;
}

/* The reason that fits an errno of a read, write, truncate or sync. */
static inline enum vhd_why vhd_io_why(int code)
{
	switch (-code) {
	case ENOSPC:
	case EDQUOT:
	case EFBIG:
		return VHD_WHY_NO_SPACE;
	case ENOMEM:
		return VHD_WHY_NOMEM;
	case ENOTCONN: /* an NBD server's connection is gone */
		return VHD_WHY_SERVER;
	default:
		return VHD_WHY_IO;
	}
}

static inline int vhd_fail_nomem(struct vhd_err *err, uint64_t bytes,
				 const char *what)
{
	return vhd_fail(err, -ENOMEM, VHD_WHY_NOMEM, 0,
			"out of memory: %llu bytes for %s",
			(unsigned long long)bytes, what);
}

#endif

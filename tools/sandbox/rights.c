/* SPDX-License-Identifier: BSD-2-Clause */
/* What a process may do beyond its files: no new privileges, capabilities
 * given up, no core dump that would hold a guest's memory.
 *
 * A tool that root runs keeps the capabilities that decide about files, or it
 * could not read what belongs to others, as root is used to; Landlock says
 * which files. `hv` has everything open by then and keeps none.
 * Source: capabilities(7), prctl(2).
 */
#include <errno.h>
#include <linux/capability.h>
#include <string.h>
#include <sys/personality.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "sandbox.h"

#define CAP_BIT(cap) (1u << (cap))

/* All below 32. */
static const uint32_t file_caps =
	CAP_BIT(CAP_CHOWN) | CAP_BIT(CAP_DAC_OVERRIDE) |
	CAP_BIT(CAP_DAC_READ_SEARCH) | CAP_BIT(CAP_FOWNER) |
	CAP_BIT(CAP_FSETID) | CAP_BIT(CAP_LINUX_IMMUTABLE) |
	CAP_BIT(CAP_SYS_RESOURCE);

static bool is_tool(enum sandbox_role role)
{
	return role >= SANDBOX_READER;
}

static int caps_drop(enum sandbox_role role)
{
	struct __user_cap_header_struct head = {
		.version = _LINUX_CAPABILITY_VERSION_3,
	};
	struct __user_cap_data_struct cap[2];

	if (prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) < 0 &&
	    errno != EINVAL)
		return -errno;
	if (syscall(SYS_capget, &head, cap) < 0)
		return -errno;
	cap[0].permitted &= is_tool(role) ? file_caps : 0;
	cap[0].effective &= cap[0].permitted;
	cap[0].inheritable = 0;
	memset(&cap[1], 0, sizeof(cap[1]));
	return syscall(SYS_capset, &head, cap) < 0 ? -errno : 0;
}

/* Memory that is readable must not be executable because of an old setting. */
static int personality_clear(void)
{
	int now = personality(0xffffffff);

	if (now < 0 || !(now & READ_IMPLIES_EXEC))
		return 0;
	now = personality((unsigned long)now & ~(unsigned)READ_IMPLIES_EXEC);
	return now < 0 ? -errno : 0;
}

int sandbox_rights(enum sandbox_role role, struct vhd_err *err)
{
	int rc = prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 ? -errno : 0;

	if (!rc && !is_tool(role) && prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) < 0)
		rc = -errno;
	if (!rc)
		rc = personality_clear();
	if (!rc)
		rc = caps_drop(role);
	if (!rc)
		return 0;
	return vhd_fail(err, rc, VHD_WHY_SYSTEM, 0,
			"privileges cannot be given up here: %s",
			strerror(-rc));
}

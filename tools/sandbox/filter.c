/* SPDX-License-Identifier: BSD-2-Clause */
/* A role's rows of the table as a seccomp filter of the calling thread, made
 * and loaded by libseccomp.
 *
 * Whatever is not in the rows kills the process, other architectures' calls
 * included. Number -1 passes: it is what a tracer puts in place of a call that
 * it skips (strace's injected faults), and the kernel knows no such call.
 */
#include <errno.h>
#include <seccomp.h>
#include <string.h>

#include "sandbox.h"

static int add_values(scmp_filter_ctx ctx, const struct sandbox_rule *r,
		      unsigned role)
{
	int rc = 0;

	for (const struct sandbox_value *v = r->values; v->name && !rc; v++)
		if (v->roles & role)
			rc = seccomp_rule_add(
				ctx, SCMP_ACT_ALLOW, r->number, 1,
				SCMP_CMP(r->arg, SCMP_CMP_MASKED_EQ,
					 0xffffffff, v->value));
	return rc;
}

static int add(scmp_filter_ctx ctx, const struct sandbox_rule *r, unsigned role)
{
	if (r->errno_value)
		return seccomp_rule_add(
			ctx, SCMP_ACT_ERRNO((uint16_t)r->errno_value),
			r->number, 0);
	if (r->values)
		return add_values(ctx, r, role);
	if (r->zero)
		return seccomp_rule_add(ctx, SCMP_ACT_ALLOW, r->number, 1,
					SCMP_CMP(r->arg, SCMP_CMP_MASKED_EQ,
						 r->zero, 0));
	return seccomp_rule_add(ctx, SCMP_ACT_ALLOW, r->number, 0);
}

static int fill(scmp_filter_ctx ctx, unsigned role)
{
	size_t count;
	const struct sandbox_rule *rules = sandbox_rules(&count);
	int rc = seccomp_attr_set(ctx, SCMP_FLTATR_ACT_BADARCH,
				  SCMP_ACT_KILL_PROCESS);

	if (!rc)
		rc = seccomp_attr_set(ctx, SCMP_FLTATR_API_TSKIP, 1);
	if (!rc)
		rc = seccomp_rule_add(ctx, SCMP_ACT_ALLOW, -1, 0);
	for (size_t i = 0; i < count && !rc; i++)
		if (rules[i].roles & role)
			rc = add(ctx, &rules[i], role);
	return rc;
}

int sandbox_filter_load(enum sandbox_role role, struct vhd_err *err)
{
	scmp_filter_ctx ctx = seccomp_init(SCMP_ACT_KILL_PROCESS);
	int rc = ctx ? fill(ctx, SANDBOX_BIT(role)) : -ENOMEM;

	if (!rc) {
		/* What the kernel itself says, not "cancelled". */
		(void)seccomp_attr_set(ctx, SCMP_FLTATR_API_SYSRAWRC, 1);
		rc = seccomp_load(ctx);
	}
	seccomp_release(ctx);
	if (!rc)
		return 0;
	return vhd_fail(err, rc, VHD_WHY_SYSTEM, 0,
			"seccomp filters cannot be used here: %s",
			strerror(-rc));
}

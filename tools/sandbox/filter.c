/* SPDX-License-Identifier: BSD-2-Clause */
/* A role's rows of the table as a seccomp filter of the calling thread, made
 * by libseccomp.
 *
 * Whatever is not in the rows kills the process, other architectures' calls
 * included. Number -1 passes: it is what a tracer puts in place of a call that
 * it skips (strace's injected faults), and the kernel knows no such call.
 */
#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <seccomp.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

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

/* As the kernel wants them; made once a role and kept, so that a thread that is
 * in a filter already loads a narrower one by one system call. Written while
 * the process has one thread.
 */
static struct sock_fprog made[SANDBOX_ROLES];

/* libseccomp writes the program to a file. */
static int export(scmp_filter_ctx ctx, struct sock_fprog *out)
{
	int fd = memfd_create("filter", MFD_CLOEXEC);
	int rc = fd < 0 ? -errno : seccomp_export_bpf(ctx, fd);
	struct stat st = {0};
	void *p = MAP_FAILED;

	if (!rc && fstat(fd, &st) < 0)
		rc = -errno;
	if (!rc)
		p = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd,
			 0);
	if (!rc && p == MAP_FAILED)
		rc = -errno;
	if (fd >= 0)
		close(fd);
	if (rc)
		return rc;
	out->filter = p;
	out->len = (unsigned short)((size_t)st.st_size /
				    sizeof(*out->filter));
	return 0;
}

int sandbox_filter_make(enum sandbox_role role)
{
	scmp_filter_ctx ctx;
	int rc;

	if (made[role].len)
		return 0;
	ctx = seccomp_init(SCMP_ACT_KILL_PROCESS);
	rc = ctx ? fill(ctx, SANDBOX_BIT(role)) : -EOPNOTSUPP;
	if (!rc)
		rc = export(ctx, &made[role]);
	seccomp_release(ctx);
	return rc;
}

int sandbox_filter_load(enum sandbox_role role, struct vhd_err *err)
{
	int rc = sandbox_filter_make(role);

	if (!rc && syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0,
			   &made[role]) < 0)
		rc = -errno;
	if (!rc)
		return 0;
	return vhd_fail(err, rc, VHD_WHY_SYSTEM, 0,
			"seccomp filters cannot be used here: %s",
			strerror(-rc));
}

/* SPDX-License-Identifier: BSD-2-Clause */
/* A role's rows of the table as a seccomp filter of the calling thread, made
 * by libseccomp.
 *
 * Whatever is not in the rows kills the process, other architectures' calls
 * included. Number -1 passes: it is what a tracer puts in place of a call that
 * it skips (strace's injected faults), and the kernel knows no such call.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <seccomp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "sandbox.h"

#define CODE_BYTES_MAX 65536u

static int add_values(scmp_filter_ctx ctx, const struct sandbox_rule *r,
		      unsigned role)
{
	const struct scmp_arg_cmp own =
		SCMP_A0(SCMP_CMP_MASKED_EQ, 0xffffffff, 0);
	int rc = 0;

	for (const struct sandbox_value *v = r->values; v->name && !rc; v++) {
		const struct scmp_arg_cmp is[] = {
			SCMP_CMP(r->arg, SCMP_CMP_MASKED_EQ, 0xffffffff,
				 v->value),
			own,
		};

		if (v->roles & role)
			rc = seccomp_rule_add_array(ctx, SCMP_ACT_ALLOW,
						    r->number,
						    r->itself ? 2 : 1, is);
	}
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

/* libseccomp writes the program to a descriptor: a pipe, which no limit on the
 * size of files reaches, and which holds far more than a program has.
 */
static int export(scmp_filter_ctx ctx, struct sock_fprog *out)
{
	struct sock_filter *code = malloc(CODE_BYTES_MAX);
	int p[2] = {-1, -1};
	ssize_t n = -1;
	int rc = code ? 0 : -ENOMEM;

	if (!rc && pipe2(p, O_CLOEXEC | O_NONBLOCK) < 0)
		rc = -errno;
	if (!rc)
		rc = seccomp_export_bpf(ctx, p[1]);
	if (!rc) {
		n = read(p[0], code, CODE_BYTES_MAX);
		rc = n < 0 ? -errno : 0;
	}
	for (int i = 0; i < 2; i++)
		if (p[i] >= 0)
			close(p[i]);
	if (rc) {
		free(code);
		return rc;
	}
	out->filter = code;
	out->len = (unsigned short)((size_t)n / sizeof(*code));
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

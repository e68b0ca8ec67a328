/* SPDX-License-Identifier: BSD-2-Clause */
/* Into the sandbox, one mechanism after the other, and what is said where one
 * is missing.
 *
 * Order: privileges (Landlock and seccomp ask for that), Landlock, the look at
 * rings, and last the filter, which allows none of these calls.
 */
#include <errno.h>
#include <limits.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "sandbox.h"
#include "vhd/vhd.h"

/* -------------------------------------------------------------- images -- */

/* NAME.vhd with NAME.v01 beside it. */
static bool is_split(const char *path)
{
	size_t len = strlen(path);
	char part[PATH_MAX];

	if (len < 4 || len >= sizeof(part) ||
	    strcasecmp(path + len - 4, ".vhd") != 0)
		return false;
	memcpy(part, path, len + 1);
	memcpy(part + len - 2, "01", 2);
	return access(part, F_OK) == 0;
}

void sandbox_allow_image(struct sandbox *s, const char *path,
			 const char *parent_dir)
{
	sandbox_allow(s, parent_dir, SANDBOX_READ);
	if (path && vhd_is_nbd_uri(path)) {
		sandbox_allow_server(s, path);
		return;
	}
	sandbox_allow(s, path, SANDBOX_READ);
	if (path && is_split(path))
		sandbox_allow_dir_of(s, path, SANDBOX_READ);
}

/* ------------------------------------------------------------ entering -- */

static bool best_effort(void)
{
	return cli_sandbox_mode() == CLI_SANDBOX_BEST_EFFORT;
}

/* 0 to go on. */
static int missing(const char *prog, int rc, struct vhd_err *err)
{
	struct vhd_err why;

	if (!rc)
		return 0;
	why = *err;
	if (best_effort()) {
		cli_tell("%s: sandbox: %s: going on without\n", prog,
			 why.text);
		return 0;
	}
	return vhd_fail(err, rc, VHD_WHY_SYSTEM, 0,
			"sandbox: %.100s: --sandbox=best-effort goes on "
			"without", why.text);
}

static int enter_before_filter(const struct sandbox *s, const char *prog,
			       struct vhd_err *err)
{
	int rc = missing(prog, sandbox_rights(s->role, err), err);

	if (!rc)
		rc = missing(prog, sandbox_landlock(s, err), err);
	if (!rc)
		rc = missing(prog, sandbox_ring_check(err), err);
	return rc;
}

int sandbox_try(struct sandbox *s, const char *prog, struct vhd_err *err)
{
	int rc = 0;

	if (cli_sandbox_mode() == CLI_SANDBOX_OFF)
		goto out;
	rc = s->error ? vhd_fail(err, s->error, VHD_WHY_SYSTEM, 0,
				 "sandbox: cannot be prepared: %s",
				 strerror(-s->error))
		      : enter_before_filter(s, prog, err);
	if (!rc)
		rc = sandbox_filter(s->role, prog, err);
out:
	sandbox_places_free(s);
	return rc;
}

int sandbox_enter(struct sandbox *s, const char *prog)
{
	struct vhd_err err;

	return sandbox_try(s, prog, &err) ? cli_fail(prog, NULL, &err) : CLI_OK;
}

/* With an arena a thread malloc counts processors and opens files in /proc.
 * While a guest runs at full speed only connections to servers allocate.
 */
static void one_arena(void)
{
	(void)mallopt(M_ARENA_MAX, 1);
}

int sandbox_thread(enum sandbox_role role, const char *prog,
		   struct vhd_err *err)
{
	const struct sandbox s = {.role = role};
	int rc;

	if (cli_sandbox_mode() == CLI_SANDBOX_OFF)
		return 0;
	one_arena();
	rc = missing(prog, sandbox_rights(role, err), err);
	if (!rc)
		rc = missing(prog, sandbox_landlock(&s, err), err);
	return rc ? rc : sandbox_filter(role, prog, err);
}

int sandbox_enter_no_files(const char *prog, int remove_fd,
			   struct vhd_err *err)
{
	struct sandbox_place dir = {remove_fd, SANDBOX_REMOVE};
	const struct sandbox s = {
		.role = SANDBOX_CONTROL,
		.places = &dir,
		.count = remove_fd >= 0,
	};

	if (cli_sandbox_mode() == CLI_SANDBOX_OFF)
		return 0;
	one_arena();
	tzset(); /* gmtime, too, wants to know the zone's file */
	/* Where this fails, loading tells. */
	for (int role = SANDBOX_VCPU; role <= SANDBOX_HANDED; role++)
		(void)sandbox_filter_make((enum sandbox_role)role);
	return enter_before_filter(&s, prog, err);
}

int sandbox_filter(enum sandbox_role role, const char *prog,
		   struct vhd_err *err)
{
	if (cli_sandbox_mode() == CLI_SANDBOX_OFF)
		return 0;
	return missing(prog, sandbox_filter_load(role, err), err);
}

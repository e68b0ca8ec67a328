/* SPDX-License-Identifier: BSD-2-Clause */
/* Where a guest runs: on this machine's own KVM, or in an emulated machine, and
 * what the latter lacks. One line for whoever cannot have it so.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "ctl.h"

/* "FILE" as a line of text. */
static const char *shown(const char *path, char text[256])
{
	snprintf(text, 256, "%.255s", path);
	cli_text_clean(text);
	return text;
}

/* What is asked for only KVM gives: `why` is that there is none, or NULL where
 * that was the user's wish.
 */
static int wants_kvm(const char *option, const char *value, const char *lack,
		     const char *why)
{
	char text[256];

	fprintf(stderr, "%s: %s %s: %s; it needs --accel kvm%s%s\n", hv_prog,
		option, shown(value, text), lack, why ? ", and " : "",
		why ? why : "");
	return CLI_REFUSED;
}

/* The emulated machine has files of ours and no network. */
static int disks_check(const struct hv_args *args, const char *why)
{
	for (unsigned i = 0; i < args->disk_count; i++) {
		const struct hv_disk_arg *d = &args->disks[i];

		if (vhd_is_nbd_uri(d->path))
			return wants_kvm("--disk", d->path,
					 "an emulated machine reaches no NBD "
					 "server", why);
		if (d->parent)
			return wants_kvm("--disk", d->path,
					 "an emulated machine looks for parents "
					 "itself, without parent=", why);
	}
	return CLI_OK;
}

/* That the name is taken is the same anywhere. */
static int name_check(const struct hv_args *args, const char *why)
{
	struct ctl_place place;
	struct vhd_err err;
	int fd = -1, rc;

	if (!args->name)
		return CLI_OK;
	rc = ctl_place_find(args->name, false, &place, &err);
	if (rc == 0) {
		rc = ctl_connect(&place, &fd, &err);
		ctl_place_close(&place);
		if (rc == 0)
			(void)close(fd);
		if (rc == 0 || rc == -EAGAIN) {
			(void)ctl_name_taken(&err);
			return cli_fail(hv_prog, NULL, &err);
		}
	}
	return wants_kvm("--name", args->name,
			 "nobody reaches a guest in an emulated machine", why);
}

static int pins_check(const struct hv_args *args, bool kvm, const char *why)
{
	int missing = hv_pin_check(&args->pin);

	if (args->pin.count && !kvm)
		return wants_kvm("--pin", "", "an emulated machine has one "
					      "processor", why);
	if (missing < 0)
		return CLI_OK;
	fprintf(stderr, "%s: --pin: this process may not use processor %d\n",
		hv_prog, missing);
	return CLI_REFUSED;
}

static int emulated_check(const struct hv_args *args, const char *why)
{
	int status = disks_check(args, why);

	if (status == CLI_OK)
		status = name_check(args, why);
	return status == CLI_OK ? pins_check(args, false, why) : status;
}

int hv_accel_choose(const struct hv_args *args, bool *kvm)
{
	struct vhd_err err;
	int status;

	*kvm = args->accel == HV_ACCEL_KVM ? hv_present(&err)
	       : args->accel == HV_ACCEL_TCG ? false
					     : hv_available(&err);
	if (*kvm)
		return pins_check(args, true, NULL);
	if (args->accel == HV_ACCEL_KVM) {
		fprintf(stderr, "%s: --accel kvm: %s\n", hv_prog, err.text);
		return CLI_IO;
	}
	if (args->accel == HV_ACCEL_TCG)
		return emulated_check(args, NULL);
	status = emulated_check(args, err.text);
	if (status == CLI_OK)
		fprintf(stderr, "%s: %s: the guest runs in an emulated machine "
			"(QEMU), slowly\n", hv_prog, err.text);
	return status;
}

/* SPDX-License-Identifier: BSD-2-Clause */
/* A request to `hv ctl`'s server: any bytes. Beyond memory safety: what is
 * accepted makes sense, and means the same when it is written and read again.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tools/hv/ctl.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(bool ok, const char *what)
{
	if (ok)
		return;
	fprintf(stderr, "%s\n", what);
	abort();
}

static void judge(const struct ctl_request *r)
{
	check(r->command < CTL_COMMANDS, "command");
	check(r->controller < HV_CONTROLLERS_MAX, "controller");
	check(r->lun < HV_LUNS_MAX, "LUN");
	check(!r->next_lun || r->command == CTL_ADD, "which LUN");
	check(r->command != CTL_ADD || r->name[0], "name");
	check(memchr(r->name, 0, sizeof(r->name)), "end of the name");
	check(r->format <= VHD_FORMAT_DIFF, "format");
	check(r->unmap <= STORVSP_UNMAP_ON, "unmap");
	check(r->on_error <= STORVSP_ON_ERROR_PAUSE, "policy");
	check(r->size_bytes <= INT64_MAX, "size");
	check(!(r->set & ~CTL_SET_ALL), "limits");
	check(r->limits.iops <= STORVSP_IOPS_MAX &&
		      r->limits.bps <= STORVSP_BPS_MAX &&
		      r->limits.depth <= STORVSP_DEPTH_MAX,
	      "limit");
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct ctl_request r, again;
	struct json_object *o;
	struct vhd_err err;
	const char *text;

	memset(&r, 0xEE, sizeof(r));
	if (ctl_request_parse((const char *)data, size, &r, &err)) {
		check(err.text[0], "no reason");
		return 0;
	}
	judge(&r);
	o = ctl_request_json(&r);
	text = json_object_to_json_string_ext(o, JSON_C_TO_STRING_PLAIN);
	check(text && !ctl_request_parse(text, strlen(text), &again, &err),
	      "its own text is refused");
	check(memcmp(&r, &again, sizeof(r)) == 0, "not the same again");
	json_object_put(o);
	return 0;
}

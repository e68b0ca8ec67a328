/* SPDX-License-Identifier: BSD-2-Clause */
/* hv ctl and the hv of a guest: the call is opened, a request is answered, and
 * the answer judged.
 */
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "ctl.h"
#include "tools/cli/json.h"

static const char prog[] = "hv ctl";

int ctl_timeout_take(const char *text, uint32_t *out)
{
	enum { MAX = 86400 };
	uint64_t n = 0;

	if (cli_number_parse(text, 0, MAX, &n))
		return cli_usage(prog,
				 "--timeout %s: not a number from 0 to "
				 "%d",
				 text, MAX);
	*out = (uint32_t)n;
	return CLI_OK;
}

int ctl_open(const char *name, uint32_t answer_s, int *status)
{
	struct ctl_place place;
	struct vhd_err err;
	int fd, rc = ctl_place_find(name, false, &place, &err);

	if (rc == 0) {
		rc = ctl_connect(&place, &fd, &err);
		ctl_place_close(&place);
	}
	if (rc == 0)
		rc = ctl_patience(fd, answer_s * 1000);
	if (rc == 0)
		return fd;
	if (rc == -EAGAIN) {
		cli_tell("%s: the hv of guest %s takes no call: is it "
			 "stopped?\n",
			 prog, name);
		*status = CLI_IO;
	} else if (rc == -ENOENT || rc == -ECONNREFUSED) {
		cli_tell("%s: no guest %s is running (hv run --name %s)\n",
			 prog, name, name);
		*status = CLI_REFUSED;
	} else {
		*status = cli_fail(prog, NULL, &err);
	}
	return -1;
}

/* A negative errno, or 0: the other side is gone. */
static void no_answer(int fd, int rc)
{
	if (rc == -EAGAIN)
		cli_tell("%s: no answer in %u s: is that hv stopped, or busy? "
			 "What was asked may still be done\n",
			 prog, ctl_patience_ms(fd) / 1000);
	else
		cli_tell("%s: no answer: %s\n", prog,
			 rc ? strerror(-rc) : "the guest has ended");
}

struct json_object *ctl_ask(int fd, const struct ctl_request *r,
			    const int *files, unsigned files_count)
{
	static char text[CTL_ANSWER_BYTES_MAX + 1];
	struct json_object *o = ctl_request_json(r);
	const char *s = cli_json_print(o, JSON_C_TO_STRING_PLAIN);
	int fds[CTL_FILES_MAX], rc = -ENOMEM;
	unsigned count = 0;
	ssize_t n = 0;

	if (s)
		rc = ctl_send(fd, s, strlen(s), files, files_count, 0);
	json_object_put(o);
	if (rc == 0)
		n = ctl_receive(fd, text, sizeof(text) - 1, fds, &count, 0);
	for (unsigned i = 0; i < count; i++)
		close(fds[i]); /* nobody sends any */
	if (rc || n <= 0) {
		no_answer(fd, rc ? rc : (int)n);
		return NULL;
	}
	text[n] = '\0';
	o = json_tokener_parse(text);
	if (!json_object_is_type(o, json_type_object)) {
		cli_tell("%s: the answer is no JSON object\n", prog);
		json_object_put(o);
		return NULL;
	}
	return o;
}

int ctl_judge(struct json_object *o, bool json)
{
	int code = json_object_get_int(cli_json_get(o, "exit"));

	if (json_object_get_boolean(cli_json_get(o, "ok")))
		return CLI_OK;
	if (!json) {
		const char *why =
			json_object_get_string(cli_json_get(o, "error"));

		cli_tell("%s: %s\n", prog, why ? why : "refused");
	}
	return code > CLI_OK && code <= CLI_IO ? code : CLI_REFUSED;
}

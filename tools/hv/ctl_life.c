/* SPDX-License-Identifier: BSD-2-Clause */
/* What a request does to the guest itself. Each is asked of the guest's control
 * thread, which says some time later how it went; until then the call belongs
 * to both, and the server goes on with other clients.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>

#include "ctl.h"
#include "tools/cli/json.h"

static void put(struct json_object *o, const char *key, uint64_t n)
{
	cli_json_put(o, key, cli_json_number(n));
}

/* ----------------------------------------------------------------- calls - */

static void done(struct hv_ask *a)
{
	struct ctl_call *c = a->arg;
	int wake_fd = c->wake_fd; /* the call may be gone right after */

	atomic_store(&c->done, true);
	(void)eventfd_write(wake_fd, 1);
}

static struct ctl_call *call_new(int wake_fd)
{
	struct ctl_call *c = calloc(1, sizeof(*c));

	if (!c)
		return NULL;
	atomic_init(&c->done, false);
	c->wake_fd = wake_fd;
	c->ask.done = done;
	c->ask.arg = c;
	return c;
}

void ctl_call_free(struct ctl_call *c)
{
	if (!c)
		return;
	free(c->input);
	free(c);
}

static const struct {
	enum hv_ask_what what;
	enum hv_ic_op op;
} asks[CTL_COMMANDS] = {
	[CTL_INFO] = {HV_ASK_INFO, 0},
	[CTL_SHUTDOWN] = {HV_ASK_SERVICE, HV_IC_OP_POWER_OFF},
	[CTL_REBOOT] = {HV_ASK_SERVICE, HV_IC_OP_RESTART},
	[CTL_PAUSE] = {HV_ASK_PAUSE, 0},
	[CTL_CONTINUE] = {HV_ASK_RESUME, 0},
	[CTL_TIME] = {HV_ASK_SERVICE, HV_IC_OP_SYNC_TIME},
	[CTL_FREEZE] = {HV_ASK_SERVICE, HV_IC_OP_FREEZE},
	[CTL_THAW] = {HV_ASK_SERVICE, HV_IC_OP_THAW},
	[CTL_KVP_GET] = {HV_ASK_SERVICE, HV_IC_OP_KVP_GET},
	[CTL_KVP_SET] = {HV_ASK_SERVICE, HV_IC_OP_KVP_SET},
	[CTL_KVP_DELETE] = {HV_ASK_SERVICE, HV_IC_OP_KVP_DELETE},
	[CTL_KVP_ENUMERATE] = {HV_ASK_SERVICE, HV_IC_OP_KVP_ENUMERATE},
};

static void fill(struct ctl_call *c, const struct ctl_request *r)
{
	struct hv_ic_request *s = &c->ask.service;

	c->command = r->command;
	c->hold = r->hold;
	c->wait = r->wait;
	c->ask.what = asks[r->command].what;
	s->op = asks[r->command].op;
	s->force = r->force;
	s->limit_s = r->limit_s;
	s->pool = r->pool;
	s->index = r->index;
	memcpy(s->key, r->key, sizeof(s->key));
	memcpy(s->value, r->value, sizeof(s->value));
}

static struct ctl_call *begin(struct hv *hv, struct ctl_call *c,
			      struct vhd_err *err)
{
	if (c && hv_ask(hv, &c->ask, err) == 0)
		return c;
	if (!c)
		(void)vhd_fail(err, -ENOMEM, VHD_WHY_NOMEM, 0,
			       "no memory for a request");
	ctl_call_free(c);
	return NULL;
}

struct ctl_call *ctl_call_begin(struct hv *hv, const struct ctl_request *r,
				int wake_fd, struct json_object **answer)
{
	struct ctl_call *c = call_new(wake_fd);
	struct vhd_err err;

	if (c)
		fill(c, r);
	c = begin(hv, c, &err);
	if (!c)
		*answer = ctl_refusal_as(&err, CLI_REFUSED);
	return c;
}

struct ctl_call *ctl_call_input(struct hv *hv, const void *bytes, size_t len,
				int wake_fd)
{
	struct ctl_call *c = call_new(wake_fd);
	struct vhd_err err;

	if (c)
		c->input = malloc(len);
	if (!c || !c->input) {
		ctl_call_free(c);
		return NULL;
	}
	memcpy(c->input, bytes, len);
	c->command = CTL_CONSOLE;
	c->ask.what = HV_ASK_INPUT;
	c->ask.bytes = c->input;
	c->ask.len = len;
	return begin(hv, c, &err);
}

/* --------------------------------------------------------------- answers - */

static struct json_object *version(uint32_t v)
{
	char text[24];

	snprintf(text, sizeof(text), "%u.%u", v >> 16, v & 0xffff);
	return v ? cli_json_string(text) : NULL;
}

static const char *state_word(enum hv_ic_state state)
{
	static const char *const words[] = {
		[HV_IC_CLOSED] = "no driver",
		[HV_IC_NEGOTIATING] = "no daemon",
		[HV_IC_READY] = "ready",
		[HV_IC_UNSUITABLE] = "unsuitable",
	};

	return words[state];
}

static struct json_object *services(const struct hv_ic_info *ic)
{
	static const char *const names[HV_IC_SERVICES] = {
		"shutdown", "timesync", "heartbeat", "kvp", "vss"};
	struct json_object *all = cli_json_array();

	for (unsigned i = 0; i < HV_IC_SERVICES; i++) {
		struct json_object *o = cli_json_object();

		cli_json_put(o, "service", cli_json_string(names[i]));
		cli_json_put(o, "state",
			     cli_json_string(state_word(ic->service[i].state)));
		cli_json_put(o, "version", version(ic->service[i].version));
		cli_json_add(all, o);
	}
	return all;
}

/* The guest's word for how its applications are. */
static struct json_object *application(uint32_t n)
{
	static const char *const words[] = {"unknown", "healthy", "critical",
					    "stopped"};
	char text[16];

	if (n < sizeof(words) / sizeof(words[0]))
		return cli_json_string(words[n]);
	snprintf(text, sizeof(text), "%u", n);
	return cli_json_string(text);
}

static void put_info(struct json_object *o, const struct hv_info *i)
{
	const char *beat = !i->ic.heard	  ? "none"
			   : i->paused	  ? "paused"
			   : i->ic.alive ? "ok"
					  : "no contact";

	cli_json_put(o, "state",
		     cli_json_string(i->paused ? "paused" : "running"));
	put(o, "uptime-ms", i->uptime_ms);
	put(o, "cpus", i->cpus);
	put(o, "memory", i->memory_bytes);
	cli_json_put(o, "vmbus", version(i->vmbus_version));
	cli_json_put(o, "heartbeat", cli_json_string(beat));
	put(o, "silent-ms", i->ic.silent_ms);
	cli_json_put(o, "applications", application(i->ic.application));
	cli_json_put(o, "frozen", cli_json_bool(i->ic.frozen));
	put(o, "frozen-left-ms", i->ic.frozen_left_ms);
	put(o, "console-held-ms", i->console_held_ms);
	put(o, "console-lost", i->console_lost);
	cli_json_put(o, "services", services(&i->ic));
}

/* 1: an answer of its kind, and not the one hoped for. */
static int exit_code(int result)
{
	switch (result) {
	case -ENOENT:	/* no such key */
	case -EALREADY: /* was not frozen, any more maybe */
		return CLI_DIFFERENT;
	case -ETIMEDOUT:
		return CLI_IO;
	}
	return CLI_REFUSED;
}

struct json_object *ctl_call_answer(const struct ctl_call *c)
{
	const struct hv_ic_request *s = &c->ask.service;
	struct json_object *o;

	if (c->ask.result)
		return ctl_refusal_as(&c->ask.err, exit_code(c->ask.result));
	o = ctl_yes();
	/* keys and values are UTF-8, which hv has seen to */
	if (c->command == CTL_INFO)
		put_info(o, &c->ask.info);
	if (c->command == CTL_KVP_ENUMERATE)
		cli_json_put(o, "key", cli_json_string(s->key));
	if (c->command == CTL_KVP_ENUMERATE || c->command == CTL_KVP_GET)
		cli_json_put(o, "value", cli_json_string(s->value));
	return o;
}

/* SPDX-License-Identifier: BSD-2-Clause */
/* A request as one JSON object, strict: every key is known and has the type and
 * range it must have, so that a mistyped one is told and not passed over.
 *
 *   {"command": "limit", "controller": 0, "lun": 3, "iops": 500}
 *
 * The text is foreign: its length and depth are bounded, numbers are checked
 * before they are used.
 */
#include <errno.h>
#include <string.h>

#include "ctl.h"
#include "tools/cli/json.h"

#define JSON_DEPTH 4
/* json-c makes what does not fit the largest number there is. */
#define SIZE_MAX_BYTES (1ull << 62)

static const char *const commands[CTL_COMMANDS] = {
	[CTL_LIST] = "list",	 [CTL_ADD] = "add",
	[CTL_REMOVE] = "remove", [CTL_CHANGE] = "change",
	[CTL_RESIZE] = "resize", [CTL_RESUME] = "resume",
	[CTL_LIMIT] = "limit",	 [CTL_STATS] = "stats",
	[CTL_INFO] = "info",	 [CTL_SHUTDOWN] = "shutdown",
	[CTL_REBOOT] = "reboot", [CTL_KILL] = "kill",
	[CTL_PAUSE] = "pause",	 [CTL_CONTINUE] = "continue",
	[CTL_TIME] = "time",	 [CTL_FREEZE] = "freeze",
	[CTL_THAW] = "thaw",	 [CTL_KVP_GET] = "kvp-get",
	[CTL_KVP_SET] = "kvp-set", [CTL_KVP_DELETE] = "kvp-delete",
	[CTL_KVP_ENUMERATE] = "kvp-enumerate",
	[CTL_CONSOLE] = "console", [CTL_WAIT] = "wait",
};

#define ON(command) (1u << (command))
#define LIMITED	    (ON(CTL_LIMIT) | ON(CTL_ADD))
#define OPENED	    (ON(CTL_ADD) | ON(CTL_CHANGE))
#define ON_DISK	    ((ON(CTL_INFO) - 1) & ~ON(CTL_LIST))
#define ON_KEY	    (ON(CTL_KVP_GET) | ON(CTL_KVP_SET) | ON(CTL_KVP_DELETE))
#define ON_POOL	    (ON_KEY | ON(CTL_KVP_ENUMERATE))

static const char *const formats[] = {"auto", "raw", "fixed", "dynamic",
				      "differencing", NULL};
static const char *const unmaps[] = {"auto", "off", "on", NULL};
static const char *const policies[] = {"report", "pause", NULL};
static const char *const pools[] = {"external", "guest", "auto",
				    "auto-external", "auto-internal", NULL};

/* EXACT: a text that goes to the guest as it is, and may be empty. */
enum kind { KIND_NUMBER, KIND_BOOL, KIND_TEXT, KIND_EXACT, KIND_WORD };

/* One key: who may have it, what it is, and where it goes. */
static const struct key {
	const char *name;
	unsigned commands;
	enum kind kind;
	size_t at;
	size_t bytes;		  /* of a number or text */
	uint64_t max;		  /* of a number */
	const char *const *words; /* of a word, an enum */
	uint32_t set;		  /* bit of `set` */
} keys[] = {
#define AT(field) offsetof(struct ctl_request, field), \
		  sizeof(((struct ctl_request *)0)->field)
	{"controller", ON_DISK, KIND_NUMBER, AT(controller),
	 HV_CONTROLLERS_MAX - 1, NULL, 0},
	{"lun", ON_DISK, KIND_NUMBER, AT(lun), HV_LUNS_MAX - 1, NULL, 0},
	{"name", OPENED, KIND_TEXT, AT(name), 0, NULL, 0},
	{"read-only", ON(CTL_ADD) | ON(CTL_CONSOLE), KIND_BOOL, AT(read_only), 0, NULL, 0},
	{"format", OPENED, KIND_WORD, AT(format), 0, formats, 0},
	{"direct", ON(CTL_ADD), KIND_BOOL, AT(direct), 0, NULL, 0},
	{"pr", ON(CTL_ADD), KIND_BOOL, AT(keeper), 0, NULL, 0},
	{"unmap", ON(CTL_ADD), KIND_WORD, AT(unmap), 0, unmaps, 0},
	{"sector", ON(CTL_ADD), KIND_NUMBER, AT(sector_bytes), 4096, NULL, 0},
	{"physical", ON(CTL_ADD), KIND_NUMBER, AT(physical_bytes), 4096, NULL,
	 0},
	{"reconnect", OPENED, KIND_NUMBER, AT(reconnect_ms), UINT32_MAX, NULL,
	 0},
	{"answer", OPENED, KIND_NUMBER, AT(answer_ms), UINT32_MAX, NULL, 0},
	{"now", ON(CTL_REMOVE), KIND_BOOL, AT(now), 0, NULL, 0},
	{"by", ON(CTL_RESIZE), KIND_BOOL, AT(by), 0, NULL, 0},
	{"size", ON(CTL_RESIZE), KIND_NUMBER, AT(size_bytes), SIZE_MAX_BYTES, NULL,
	 0},
	{"iops", LIMITED, KIND_NUMBER, AT(limits.iops), STORVSP_IOPS_MAX,
	 NULL, CTL_SET_IOPS},
	{"iops-burst", LIMITED, KIND_NUMBER, AT(limits.iops_burst),
	 SIZE_MAX_BYTES, NULL, CTL_SET_IOPS_BURST},
	{"bps", LIMITED, KIND_NUMBER, AT(limits.bps), STORVSP_BPS_MAX,
	 NULL, CTL_SET_BPS},
	{"bps-burst", LIMITED, KIND_NUMBER, AT(limits.bps_burst),
	 SIZE_MAX_BYTES, NULL, CTL_SET_BPS_BURST},
	{"depth", LIMITED, KIND_NUMBER, AT(limits.depth),
	 STORVSP_DEPTH_MAX, NULL, CTL_SET_DEPTH},
	{"on-error", LIMITED, KIND_WORD, AT(on_error), 0, policies,
	 CTL_SET_ON_ERROR},
	{"force", ON(CTL_SHUTDOWN) | ON(CTL_REBOOT), KIND_BOOL, AT(force), 0,
	 NULL, 0},
	{"wait", ON(CTL_SHUTDOWN), KIND_BOOL, AT(wait), 0, NULL, 0},
	{"limit", ON(CTL_FREEZE), KIND_NUMBER, AT(limit_s), HV_IC_FREEZE_S_MAX,
	 NULL, 0},
	{"hold", ON(CTL_FREEZE), KIND_BOOL, AT(hold), 0, NULL, 0},
	{"pool", ON_POOL, KIND_WORD, AT(pool), 0, pools, 0},
	{"index", ON(CTL_KVP_ENUMERATE), KIND_NUMBER, AT(index), UINT32_MAX,
	 NULL, 0},
	{"key", ON_KEY, KIND_EXACT, AT(key), 0, NULL, 0},
	{"value", ON(CTL_KVP_SET), KIND_EXACT, AT(value), 0, NULL, 0},
#undef AT
};

#define KEYS (sizeof(keys) / sizeof(keys[0]))

static int bad(struct vhd_err *err, const char *what, const char *why)
{
	return vhd_fail(err, -EINVAL, VHD_WHY_ARGUMENT, 0, "request: %.40s %s",
			what, why);
}

/* ------------------------------------------------------------- reading --- */

static void number_put(void *to, size_t bytes, uint64_t n)
{
	if (bytes == 1)
		*(uint8_t *)to = (uint8_t)n;
	else if (bytes == 4)
		*(uint32_t *)to = (uint32_t)n;
	else
		*(uint64_t *)to = n;
}

static uint64_t number_get(const void *from, size_t bytes)
{
	if (bytes == 1)
		return *(const uint8_t *)from;
	if (bytes == 4)
		return *(const uint32_t *)from;
	return *(const uint64_t *)from;
}

static int number_take(const struct key *k, struct json_object *v, void *to,
		       struct vhd_err *err)
{
	int64_t n = json_object_get_int64(v);

	if (!json_object_is_type(v, json_type_int) || n < 0 ||
	    (uint64_t)n > k->max)
		return bad(err, k->name, "is no number in its range");
	number_put(to, k->bytes, (uint64_t)n);
	return 0;
}

static int text_take(const struct key *k, struct json_object *v, char *to,
		     struct vhd_err *err)
{
	int len = json_object_get_string_len(v);
	const char *s = json_object_get_string(v);

	if (!json_object_is_type(v, json_type_string) ||
	    (len < 1 && k->kind == KIND_TEXT) || (size_t)len >= k->bytes ||
	    strlen(s) != (size_t)len)
		return bad(err, k->name, "is no text, empty or too long");
	memcpy(to, s, (size_t)len + 1);
	if (k->kind == KIND_TEXT)
		cli_text_clean(to);
	return 0;
}

static int word_take(const struct key *k, struct json_object *v, void *to,
		     struct vhd_err *err)
{
	const char *s = json_object_get_string(v);

	for (uint32_t i = 0; s && k->words[i]; i++) {
		if (strcmp(s, k->words[i]) == 0) {
			number_put(to, k->bytes, i);
			return 0;
		}
	}
	return bad(err, k->name, "is none of the words it may be");
}

static int key_take(const struct key *k, struct json_object *v,
		    struct ctl_request *r, struct vhd_err *err)
{
	void *to = (uint8_t *)r + k->at;

	r->set |= k->set;
	switch (k->kind) {
	case KIND_NUMBER:
		return number_take(k, v, to, err);
	case KIND_TEXT:
	case KIND_EXACT:
		return text_take(k, v, to, err);
	case KIND_WORD:
		return word_take(k, v, to, err);
	case KIND_BOOL:
		break;
	}
	if (!json_object_is_type(v, json_type_boolean))
		return bad(err, k->name, "is neither true nor false");
	*(bool *)to = json_object_get_boolean(v);
	return 0;
}

static int command_take(struct json_object *o, struct ctl_request *r,
			struct vhd_err *err)
{
	struct json_object *v;
	const char *s;

	if (!json_object_object_get_ex(o, "command", &v) ||
	    !json_object_is_type(v, json_type_string))
		return bad(err, "command", "is missing");
	s = json_object_get_string(v);
	for (unsigned i = 0; i < CTL_COMMANDS; i++) {
		if (strcmp(s, commands[i]) == 0) {
			r->command = (enum ctl_command)i;
			return 0;
		}
	}
	return bad(err, "command", "is not known");
}

static const struct key *key_find(const char *name, unsigned on)
{
	for (size_t i = 0; i < KEYS; i++)
		if (keys[i].commands & on && strcmp(keys[i].name, name) == 0)
			return &keys[i];
	return NULL;
}

static int fields_take(struct json_object *o, struct ctl_request *r,
		       struct vhd_err *err)
{
	json_object_object_foreach(o, name, v) {
		const struct key *k = key_find(name, ON(r->command));
		int rc;

		if (strcmp(name, "command") == 0)
			continue;
		if (!k)
			return bad(err, commands[r->command],
				   "has a key that it does not know");
		rc = key_take(k, v, r, err);
		if (rc)
			return rc;
	}
	return 0;
}

static int judge(struct json_object *o, struct ctl_request *r,
		 struct vhd_err *err)
{
	bool lun = json_object_object_get_ex(o, "lun", NULL);

	r->next_lun = r->command == CTL_ADD && !lun;
	if (ON(r->command) & ON_DISK & ~ON(CTL_ADD) && !lun)
		return bad(err, "lun", "is missing");
	if (ON(r->command) & ON_KEY && !r->key[0])
		return bad(err, "key", "is missing");
	if (r->command == CTL_ADD && !r->name[0])
		return bad(err, "name", "is missing");
	return 0;
}

int ctl_request_parse(const char *text, size_t len, struct ctl_request *out,
		      struct vhd_err *err)
{
	struct json_tokener *t = json_tokener_new_ex(JSON_DEPTH);
	struct json_object *o;
	int rc = 0;

	if (!t)
		return vhd_fail(err, -ENOMEM, VHD_WHY_NOMEM, 0,
				"no memory for a request");
	memset(out, 0, sizeof(*out));
	json_tokener_set_flags(t, JSON_TOKENER_STRICT |
					  JSON_TOKENER_VALIDATE_UTF8);
	o = len <= CTL_REQUEST_BYTES_MAX
		    ? json_tokener_parse_ex(t, text, (int)len)
		    : NULL;
	if (!o || json_tokener_get_error(t) != json_tokener_success ||
	    json_tokener_get_parse_end(t) != len ||
	    !json_object_is_type(o, json_type_object))
		rc = bad(err, "it", "is not one JSON object");
	if (!rc)
		rc = command_take(o, out, err);
	if (!rc)
		rc = fields_take(o, out, err);
	if (!rc)
		rc = judge(o, out, err);
	json_object_put(o);
	json_tokener_free(t);
	return rc;
}

/* ------------------------------------------------------------- writing --- */

static bool is_said(const struct ctl_request *r, const struct key *k)
{
	if (!(k->commands & ON(r->command)) || (k->set && !(r->set & k->set)))
		return false;
	if (k->kind == KIND_TEXT && !r->name[0])
		return false;
	return !(r->command == CTL_ADD && r->next_lun &&
		 strcmp(k->name, "lun") == 0);
}

static struct json_object *value(const struct ctl_request *r,
				 const struct key *k)
{
	const void *from = (const uint8_t *)r + k->at;

	switch (k->kind) {
	case KIND_NUMBER:
		return cli_json_number(number_get(from, k->bytes));
	case KIND_TEXT:
		return cli_json_text(from);
	case KIND_EXACT:
		return cli_json_string(from);
	case KIND_WORD:
		return cli_json_string(k->words[number_get(from, k->bytes)]);
	case KIND_BOOL:
		break;
	}
	return cli_json_bool(*(const bool *)from);
}

struct json_object *ctl_request_json(const struct ctl_request *r)
{
	struct json_object *o = cli_json_object();

	cli_json_put(o, "command", cli_json_string(commands[r->command]));
	for (size_t i = 0; i < KEYS; i++)
		if (is_said(r, &keys[i]))
			cli_json_put(o, keys[i].name, value(r, &keys[i]));
	return o;
}

/* SPDX-License-Identifier: BSD-2-Clause */
/* hv ctl: the commands for the guest itself. Exit codes beside those of cli.h:
 * 1 says that what was asked was done, or looked for, and did not come out as
 * hoped: the guest has not ended in time, or crashed; no such key; it was not
 * frozen any more.
 */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "ctl.h"
#include "tools/cli/json.h"
#include "tools/sandbox/sandbox.h"

static const char prog[] = "hv ctl";

#define SHUTDOWN_S  120u
#define FREEZE_S    300u /* asked, frozen; after what was asked before */
#define KEYS_MAX    4096u /* more a guest cannot make us list */

enum {
	OPT_JSON = 256,
	OPT_FORCE,
	OPT_TIMEOUT,
	OPT_LIMIT,
	OPT_HOLD,
	OPT_POOL,
	OPT_READ_ONLY,
};

static const struct cli_option options[] = {
	{"json", OPT_JSON, NULL, "print the answer as it came"},
	{"force", OPT_FORCE, NULL,
	 "shutdown, reboot: programs in the guest are not waited for"},
	{"timeout", OPT_TIMEOUT, "SECONDS",
	 "wait so long for an answer (default 60, freeze: 300; 0:\n"
	 "for ever); shutdown: for the end (default 120; 0: do\n"
	 "not wait)"},
	{"limit", OPT_LIMIT, "SECONDS",
	 "freeze: the guest is thawed after so long by itself\n"
	 "(default 60, at most 900)"},
	{"hold", OPT_HOLD, NULL,
	 "freeze: until standard input ends, then thaw"},
	{"pool", OPT_POOL, "POOL",
	 "kvp: external (the host's values), guest, or auto (what\n"
	 "the guest says of itself)"},
	{"read-only", OPT_READ_ONLY, NULL, "console: look on, do not type"},
	{0},
};

static const char *const pools[] = {"external", "guest", "auto", NULL};

struct args {
	const char *name;
	const struct verb *verb;
	struct ctl_request request;
	uint32_t timeout_s, answer_s;
	bool json, pool;
	unsigned given; /* bits: which options there were */
};

#define BIT(option) (1u << ((option) - OPT_JSON))

static int run_plain(struct args *a, int fd);
static int run_info(struct args *a, int fd);
static int run_end(struct args *a, int fd);
static int run_freeze(struct args *a, int fd);
static int run_kvp_get(struct args *a, int fd);
static int run_kvp_list(struct args *a, int fd);
static int run_console(struct args *a, int fd);

static const struct verb {
	const char *name, *sub; /* sub: "kvp get" */
	enum ctl_command command;
	unsigned operands;
	unsigned options; /* beside --json and --timeout */
	int (*run)(struct args *a, int fd);
	const char *done; /* what is said of success */
} verbs[] = {
	{"info", NULL, CTL_INFO, 0, 0, run_info, NULL},
	{"shutdown", NULL, CTL_SHUTDOWN, 0, BIT(OPT_FORCE), run_end, NULL},
	{"reboot", NULL, CTL_REBOOT, 0, BIT(OPT_FORCE), run_plain,
	 "the guest restarts"},
	{"kill", NULL, CTL_KILL, 0, 0, run_end, NULL},
	{"pause", NULL, CTL_PAUSE, 0, 0, run_plain, "paused"},
	{"resume", NULL, CTL_CONTINUE, 0, 0, run_plain, "running"},
	{"time", NULL, CTL_TIME, 0, 0, run_plain, "the guest's clock is set"},
	{"freeze", NULL, CTL_FREEZE, 0, BIT(OPT_LIMIT) | BIT(OPT_HOLD),
	 run_freeze, "frozen"},
	{"thaw", NULL, CTL_THAW, 0, 0, run_plain, "thawed"},
	{"kvp", "list", CTL_KVP_ENUMERATE, 0, BIT(OPT_POOL), run_kvp_list,
	 NULL},
	{"kvp", "get", CTL_KVP_GET, 1, BIT(OPT_POOL), run_kvp_get, NULL},
	{"kvp", "set", CTL_KVP_SET, 2, 0, run_plain, ""},
	{"kvp", "delete", CTL_KVP_DELETE, 1, 0, run_plain, ""},
	{"console", NULL, CTL_CONSOLE, 0, BIT(OPT_READ_ONLY), run_console,
	 NULL},
};

#define VERBS (sizeof(verbs) / sizeof(verbs[0]))

bool ctl_guest_verb(const char *name)
{
	for (size_t i = 0; i < VERBS; i++)
		if (strcmp(verbs[i].name, name) == 0)
			return true;
	return false;
}

/* --------------------------------------------------------- command line -- */

static int seconds(const char *what, const char *text, uint32_t min,
		   uint32_t max, uint32_t *out)
{
	uint64_t n;

	if (cli_number_parse(text, min, max, &n))
		return cli_usage(prog, "%s %s: not a number from %u to %u",
				 what, text, min, max);
	*out = (uint32_t)n;
	return CLI_OK;
}

static int pool_take(struct args *a, const char *text)
{
	for (unsigned i = 0; pools[i]; i++) {
		if (strcmp(pools[i], text) == 0) {
			a->request.pool = (enum hv_ic_pool)i;
			a->pool = true;
			return CLI_OK;
		}
	}
	return cli_usage(prog, "--pool %s: not external, guest or auto", text);
}

static int apply(void *into, int id, const char *v)
{
	struct args *a = into;

	a->given |= BIT(id);
	switch (id) {
	case OPT_JSON:
		a->json = true;
		break;
	case OPT_FORCE:
		a->request.force = true;
		break;
	case OPT_TIMEOUT:
		return ctl_timeout_take(v, &a->timeout_s);
	case OPT_LIMIT:
		return seconds("--limit", v, 1, HV_IC_FREEZE_S_MAX,
			       &a->request.limit_s);
	case OPT_HOLD:
		a->request.hold = true;
		break;
	case OPT_POOL:
		return pool_take(a, v);
	case OPT_READ_ONLY:
		a->request.read_only = true;
		break;
	}
	return CLI_OK;
}

static int text_take(const char *what, const char *text, char *to, size_t bytes)
{
	size_t n = strlen(text);

	if (n >= bytes)
		return cli_usage(prog, "the %s is longer than %zu bytes", what,
				 bytes - 1);
	memcpy(to, text, n + 1);
	return CLI_OK;
}

static int verb_missing(int n, char **op)
{
	if (strcmp(op[0], "kvp") != 0)
		return cli_usage(prog, "%s: no such command", op[0]);
	if (n < 2)
		return cli_usage(prog, "kvp: needs list, get, set or delete");
	return cli_usage(prog, "kvp %s: not list, get, set or delete", op[1]);
}

/* An option of another command would be silently without effect. */
static int options_check(const struct args *a)
{
	const struct verb *v = a->verb;
	unsigned known = v->options | BIT(OPT_TIMEOUT);

	if (v->command != CTL_CONSOLE)
		known |= BIT(OPT_JSON);
	for (const struct cli_option *o = options; o->name; o++)
		if (a->given & ~known & BIT(o->id))
			return cli_usage(prog, "%s%s%s has no option --%s",
					 v->name, v->sub ? " " : "",
					 v->sub ? v->sub : "", o->name);
	return CLI_OK;
}

static int verb_take(struct args *a, int n, char **op)
{
	const struct verb *v = NULL;
	int status = CLI_OK;
	bool sub;

	for (size_t i = 0; i < VERBS && !v; i++)
		if (strcmp(verbs[i].name, op[0]) == 0 &&
		    (!verbs[i].sub ||
		     (n > 1 && strcmp(verbs[i].sub, op[1]) == 0)))
			v = &verbs[i];
	if (!v)
		return verb_missing(n, op);
	sub = v->sub;
	a->verb = v;
	a->request.command = v->command;
	n -= 1 + sub;
	op += 1 + sub;
	if (n != (int)v->operands)
		return cli_usage(prog, "%s%s%s takes %s", v->name,
				 sub ? " " : "", sub ? v->sub : "",
				 v->operands == 0   ? "no operands"
				 : v->operands == 1 ? "KEY"
						    : "KEY VALUE");
	status = options_check(a);
	if (n > 0 && status == CLI_OK)
		status = text_take("key", op[0], a->request.key,
				   sizeof(a->request.key));
	if (n > 0 && status == CLI_OK && !*op[0])
		status = cli_usage(prog, "the key is empty");
	if (n > 1 && status == CLI_OK)
		status = text_take("value", op[1], a->request.value,
				   sizeof(a->request.value));
	return status;
}

/* How long an answer may take, and then the end of a guest that shuts down. */
static void times_take(struct args *a)
{
	bool given = a->given & BIT(OPT_TIMEOUT);

	switch (a->request.command) {
	case CTL_SHUTDOWN:
		a->answer_s = CTL_ANSWER_S;
		a->timeout_s = given ? a->timeout_s : SHUTDOWN_S;
		break;
	case CTL_FREEZE:
		a->answer_s = given ? a->timeout_s : FREEZE_S;
		break;
	default:
		a->answer_s = given ? a->timeout_s : CTL_ANSWER_S;
	}
}

static int parse(int argc, char **argv, struct args *a)
{
	struct cli_options o = {
		.prog = prog,
		.usage = "NAME info\n"
			 "NAME shutdown [--force] [--timeout SECONDS]\n"
			 "NAME reboot [--force]\n"
			 "NAME kill\n"
			 "NAME pause | resume\n"
			 "NAME time\n"
			 "NAME freeze [--limit SECONDS] [--hold] | thaw\n"
			 "NAME kvp list [--pool POOL]\n"
			 "NAME kvp get [--pool POOL] KEY\n"
			 "NAME kvp set KEY VALUE\n"
			 "NAME kvp delete KEY\n"
			 "NAME console [--read-only]\n"
			 "NAME disk ...     see hv ctl NAME disk --help",
		.about = "Control the guest that `hv run --name NAME` runs.",
		.table = options,
		.apply = apply,
		.into = a,
		.argc = argc,
		.argv = argv,
	};
	int n, status;

	status = cli_options_all(&o);
	if (status >= 0)
		return status;
	n = argc - o.first_operand;
	argv += o.first_operand;
	if (n < 2)
		return cli_usage(prog, "needs NAME and a command");
	a->name = argv[0];
	if (!hv_name_ok(a->name))
		return cli_usage(prog, "%s: not a name that a guest can have",
				 a->name);
	status = verb_take(a, n - 1, argv + 1);
	times_take(a);
	return status ? status : -1;
}

/* --------------------------------------------------------------- asking -- */

static struct json_object *ask(const struct ctl_request *r, int fd)
{
	return ctl_ask(fd, r, NULL, 0);
}

/* Prints it as it came, or what success is said to be. */
static int end(const struct args *a, struct json_object *o, int status)
{
	if (a->json)
		return cli_json_end(prog, o, status);
	if (status == CLI_OK && a->verb->done && *a->verb->done)
		puts(a->verb->done);
	json_object_put(o);
	return cli_json_end(prog, NULL, status);
}

static int run_plain(struct args *a, int fd)
{
	struct json_object *o = ask(&a->request, fd);

	return o ? end(a, o, ctl_judge(o, a->json)) : CLI_IO;
}

static int run_info(struct args *a, int fd)
{
	struct json_object *o = ask(&a->request, fd);
	int status = o ? ctl_judge(o, a->json) : CLI_IO;

	if (!o)
		return status;
	if (status == CLI_OK && !a->json)
		ctl_show_info(o);
	return end(a, o, status);
}

/* ------------------------------------------------------------- the end --- */

/* Until there is something to read: false when that took too long. */
static bool wait_for(int fd, int64_t due_ms)
{
	struct pollfd p = {.fd = fd, .events = POLLIN};
	int64_t left;
	int rc;

	do {
		left = due_ms - cli_now_ms();
		rc = poll(&p, 1, left > 0 ? (int)left : 0);
	} while ((rc < 0 && errno == EINTR) || (rc == 0 && left > 0));
	return rc > 0;
}

static int ended(const struct args *a, struct json_object *o)
{
	const char *how = json_object_get_string(cli_json_get(o, "ended"));
	bool wanted = how && (strcmp(how, "power-off") == 0 ||
			      a->request.command == CTL_KILL);
	int status = wanted ? CLI_OK : CLI_DIFFERENT;

	if (a->json)
		return cli_json_end(prog, o, status);
	if (wanted)
		puts("the guest has ended");
	else
		cli_tell("%s: the guest has ended otherwise: %s\n", prog,
			 how ? how : "nobody knows how");
	json_object_put(o);
	return cli_json_end(prog, NULL, status);
}

static struct json_object *answer_take(int fd)
{
	char text[512];
	int fds[CTL_FILES_MAX];
	unsigned count;
	ssize_t n = ctl_receive(fd, text, sizeof(text) - 1, fds, &count, 0);

	for (unsigned i = 0; i < count; i++)
		(void)close(fds[i]);
	if (n <= 0)
		return NULL;
	text[n] = '\0';
	return json_tokener_parse(text);
}

/* A guest that is killed is gone in a moment; one that shuts down agrees, and
 * then takes its time.
 */
static int run_end(struct args *a, int fd)
{
	bool kills = a->request.command == CTL_KILL;
	int64_t due = cli_now_ms() + (int64_t)a->timeout_s * 1000;
	struct json_object *o;
	int status;

	a->request.wait = !kills && a->timeout_s > 0;
	o = ask(&a->request, fd);
	if (!o)
		return CLI_IO;
	status = ctl_judge(o, a->json);
	if (status != CLI_OK)
		return end(a, o, status);
	if (kills)
		return ended(a, o);
	if (!a->request.wait) {
		if (!a->json)
			puts("the guest shuts down");
		return end(a, o, status);
	}
	json_object_put(o);
	if (!wait_for(fd, due)) {
		cli_tell("%s: the guest has not ended in %u s\n", prog,
			 a->timeout_s);
		return CLI_DIFFERENT;
	}
	o = answer_take(fd);
	if (o)
		return ended(a, o);
	cli_tell("%s: hv is gone without a word\n", prog);
	return CLI_IO;
}

/* --------------------------------------------------------------- freeze -- */

static void until_input_ends(int fd)
{
	struct pollfd p[2] = {{.fd = STDIN_FILENO, .events = POLLIN},
			      {.fd = fd, .events = 0}};
	char byte[256];

	for (;;) {
		if (poll(p, 2, -1) < 0) {
			if (errno == EINTR)
				continue;
			return;
		}
		if (p[1].revents)
			return;
		if (p[0].revents && read(STDIN_FILENO, byte, sizeof(byte)) <= 0)
			return;
	}
}

static int run_freeze(struct args *a, int fd)
{
	const struct ctl_request thaw = {.command = CTL_THAW};
	struct json_object *o = ask(&a->request, fd);
	int status = o ? ctl_judge(o, a->json) : CLI_IO;

	if (!o)
		return status;
	if (status != CLI_OK || !a->request.hold)
		return end(a, o, status);
	status = end(a, o, status);
	if (status != CLI_OK)
		return status; /* whoever reads us would not know: it thaws */
	until_input_ends(fd);
	o = ask(&thaw, fd);
	if (!o)
		return CLI_IO;
	status = ctl_judge(o, a->json);
	if (!a->json && status == CLI_OK)
		puts("thawed");
	return cli_json_end(prog, a->json ? o : (json_object_put(o), NULL),
			    status);
}

/* ------------------------------------------------------------------ kvp -- */

/* All of a pool into `all`; an exit code. */
static int pool_list(int fd, enum hv_ic_pool pool, struct json_object *all,
		     bool json)
{
	struct ctl_request r = {.command = CTL_KVP_ENUMERATE, .pool = pool};
	int status = CLI_OK;

	for (r.index = 0; r.index < KEYS_MAX && status == CLI_OK; r.index++) {
		struct json_object *o = ask(&r, fd), *one;
		bool ok;

		if (!o)
			return CLI_IO;
		ok = json_object_get_boolean(cli_json_get(o, "ok"));
		status = json_object_get_int(cli_json_get(o, "exit"));
		if (!ok && status != CLI_DIFFERENT) {
			status = ctl_judge(o, json);
			if (json)
				(void)cli_json_end(prog, json_object_get(o),
						   status);
		}
		if (ok) {
			one = cli_json_object();
			cli_json_put(one, "pool", cli_json_string(pools[pool]));
			cli_json_put(one, "key",
				     json_object_get(cli_json_get(o, "key")));
			cli_json_put(one, "value",
				     json_object_get(cli_json_get(o, "value")));
			cli_json_add(all, one);
		}
		json_object_put(o);
	}
	return status == CLI_DIFFERENT ? CLI_OK : status;
}

static void show_pairs(struct json_object *all)
{
	for (size_t i = 0; i < cli_json_count(all); i++) {
		struct json_object *o = json_object_array_get_idx(all, i);
		char key[HV_IC_KEY_BYTES], value[HV_IC_VALUE_BYTES];

		snprintf(key, sizeof(key), "%s",
			 json_object_get_string(cli_json_get(o, "key")));
		snprintf(value, sizeof(value), "%s",
			 json_object_get_string(cli_json_get(o, "value")));
		cli_text_clean(key);
		cli_text_clean(value);
		printf("%-8s  %-26s  %s\n",
		       json_object_get_string(cli_json_get(o, "pool")), key,
		       value);
	}
}

/* The three pools that have something for people, or the one asked for. */
static int pools_list(const struct args *a, int fd, struct json_object *all)
{
	static const enum hv_ic_pool order[] = {
		HV_IC_POOL_AUTO, HV_IC_POOL_GUEST, HV_IC_POOL_EXTERNAL};
	int status = CLI_OK;

	if (a->pool)
		return pool_list(fd, a->request.pool, all, a->json);
	for (unsigned i = 0; i < 3 && status == CLI_OK; i++)
		status = pool_list(fd, order[i], all, a->json);
	return status;
}

static int run_kvp_list(struct args *a, int fd)
{
	struct json_object *all = cli_json_array(), *o;
	int status = pools_list(a, fd, all);

	if (status == CLI_OK && a->json) {
		o = cli_json_object();
		cli_json_put(o, "ok", cli_json_bool(true));
		cli_json_put(o, "pairs", all);
		return cli_json_end(prog, o, status);
	}
	if (status == CLI_OK)
		show_pairs(all);
	json_object_put(all);
	return cli_json_end(prog, NULL, status);
}

/* What a guest says of itself can only be listed. */
static struct json_object *find(struct json_object *all, const char *key)
{
	for (size_t i = 0; i < cli_json_count(all); i++) {
		struct json_object *o = json_object_array_get_idx(all, i);
		const char *k = json_object_get_string(cli_json_get(o, "key"));

		if (k && strcmp(k, key) == 0)
			return o;
	}
	return NULL;
}

/* The value and nothing else, for scripts; what would steer a terminal is in
 * --json only.
 */
static int show_value(const struct args *a, struct json_object *o)
{
	const char *s = json_object_get_string(cli_json_get(o, "value"));
	char value[HV_IC_VALUE_BYTES];

	if (a->json) {
		cli_json_put(o, "ok", cli_json_bool(true));
		return cli_json_end(prog, json_object_get(o), CLI_OK);
	}
	snprintf(value, sizeof(value), "%s", s ? s : "");
	cli_text_clean(value);
	puts(value);
	return cli_json_end(prog, NULL, CLI_OK);
}

static int no_key(const struct args *a)
{
	char text[HV_IC_KEY_BYTES + 32];
	struct json_object *o;

	snprintf(text, sizeof(text), "the guest has no key %s", a->request.key);
	if (!a->json) {
		cli_tell("%s: %s\n", prog, text);
		return CLI_DIFFERENT;
	}
	o = cli_json_object();
	cli_json_put(o, "ok", cli_json_bool(false));
	cli_json_put(o, "error", cli_json_string(text));
	return cli_json_end(prog, o, CLI_DIFFERENT);
}

static int run_kvp_get(struct args *a, int fd)
{
	struct json_object *all = cli_json_array(), *o;
	int status;

	status = pools_list(a, fd, all);
	o = find(all, a->request.key);
	if (status == CLI_OK && o)
		status = show_value(a, o);
	else if (status == CLI_OK)
		status = no_key(a);
	json_object_put(all);
	return status;
}

/* -------------------------------------------------------------- console -- */

static int run_console(struct args *a, int fd)
{
	struct json_object *o = ask(&a->request, fd);
	int status = o ? ctl_judge(o, false) : CLI_IO;

	json_object_put(o);
	return status == CLI_OK ? ctl_attach(fd) : status;
}

/* ----------------------------------------------------------- the program - */

int ctl_guest_main(int argc, char **argv)
{
	struct sandbox s = {.role = SANDBOX_REMOTE};
	const char *runtime = getenv("XDG_RUNTIME_DIR");
	struct args a = {0};
	int fd = -1, status = parse(argc, argv, &a);

	if (status >= 0)
		return status;
	(void)signal(SIGPIPE, SIG_IGN);
	/* The terminal is made raw before, as later nothing is asked of it. */
	if (a.request.command == CTL_CONSOLE && !a.request.read_only &&
	    hv_terminal_raw())
		hv_terminal_signals(true); /* until it is attached */
	sandbox_allow(&s, runtime ? runtime : "/run", SANDBOX_READ);
	status = sandbox_enter(&s, prog);
	if (status == CLI_OK)
		fd = ctl_open(a.name, a.answer_s, &status);
	if (fd >= 0) {
		status = a.verb->run(&a, fd);
		close(fd);
	}
	hv_terminal_restore();
	return status;
}

/* SPDX-License-Identifier: BSD-2-Clause */
/* hv ctl: ask a running guest's hv for something. All of it happens in the
 * sandbox of a tool that speaks to a server.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "ctl.h"
#include "tools/cli/json.h"
#include "tools/sandbox/sandbox.h"

static const char prog[] = "hv ctl";

enum {
	OPT_JSON = 256,
	OPT_CONTROLLER,
	OPT_LUN,
	OPT_NOW,
	OPT_WATCH,
	OPT_IOPS,
	OPT_IOPS_BURST,
	OPT_BPS,
	OPT_BPS_BURST,
	OPT_DEPTH,
	OPT_ON_ERROR,
	OPT_TIMEOUT,
};

static const struct cli_option options[] = {
	{"json", OPT_JSON, NULL, "print the answer as it came"},
	{"controller", OPT_CONTROLLER, "N",
	 "the disk is on this one (default 0)"},
	{"lun", OPT_LUN, "N", "add: at this LUN (default: one that is free)"},
	{"now", OPT_NOW, NULL, "remove: abort what is in flight at once"},
	{"watch", OPT_WATCH, NULL, "stats: again every second"},
	{"iops", OPT_IOPS, "N", "limit: requests of 8 KiB a second; 0: none"},
	{"iops-burst", OPT_IOPS_BURST, "N", "so many may come at once"},
	{"bps", OPT_BPS, "SIZE", "limit: bytes a second; 0: none"},
	{"bps-burst", OPT_BPS_BURST, "SIZE", "so many may come at once"},
	{"depth", OPT_DEPTH, "N",
	 "limit: requests in flight, each channel; 0: none"},
	{"on-error", OPT_ON_ERROR, "WORD",
	 "limit: report failures of the host to the guest, or\n"
	 "pause the disk until it is resumed"},
	{"timeout", OPT_TIMEOUT, "SECONDS",
	 "wait so long for an answer (default 60; 0: for ever)"},
	{0},
};

struct ctl_args {
	const char *name;
	struct ctl_request request;
	const char *file; /* add: FILE[,WORD]... */
	uint32_t timeout_s;
	bool json, watch, all; /* all: stats of every disk */
};

/* -------------------------------------------------------- command line -- */

static int number(const char *what, const char *text, uint64_t max,
		  uint64_t *out)
{
	if (cli_number_parse(text, 0, max, out))
		return cli_usage(prog, "%s %s: not a number from 0 to %llu",
				 what, text, (unsigned long long)max);
	return CLI_OK;
}

static int on_error(struct ctl_request *r, const char *text)
{
	r->set |= CTL_SET_ON_ERROR;
	if (hv_on_error_parse(text, &r->on_error) == 0)
		return CLI_OK;
	return cli_usage(prog, "--on-error %s: neither report nor pause", text);
}

static int apply_limit(struct ctl_request *r, int id, const char *text)
{
	static const struct {
		int id;
		const char *name;
		uint32_t bit;
	} limits[] = {
		{OPT_IOPS, "iops", CTL_SET_IOPS},
		{OPT_IOPS_BURST, "iops-burst", CTL_SET_IOPS_BURST},
		{OPT_BPS, "bps", CTL_SET_BPS},
		{OPT_BPS_BURST, "bps-burst", CTL_SET_BPS_BURST},
		{OPT_DEPTH, "depth", CTL_SET_DEPTH},
	};

	for (size_t i = 0; i < sizeof(limits) / sizeof(limits[0]); i++) {
		if (limits[i].id != id)
			continue;
		r->set |= limits[i].bit;
		if (hv_limit_set(limits[i].name, text, &r->limits) > 0)
			return CLI_OK;
		return cli_usage(prog, "--%s %s: not such a number or size, "
				       "or too large a one",
				 limits[i].name, text);
	}
	return on_error(r, text);
}

static int apply(void *into, int id, const char *v)
{
	struct ctl_args *a = into;
	uint64_t n = 0;
	int status = CLI_OK;

	switch (id) {
	case OPT_JSON:
		a->json = true;
		return CLI_OK;
	case OPT_WATCH:
		a->watch = true;
		return CLI_OK;
	case OPT_TIMEOUT:
		return ctl_timeout_take(v, &a->timeout_s);
	case OPT_NOW:
		a->request.now = true;
		return CLI_OK;
	case OPT_CONTROLLER:
		status = number("--controller", v, HV_CONTROLLERS_MAX - 1, &n);
		a->request.controller = (uint8_t)n;
		return status;
	case OPT_LUN:
		status = number("--lun", v, HV_LUNS_MAX - 1, &n);
		a->request.lun = (uint8_t)n;
		a->request.next_lun = false;
		return status;
	default:
		return apply_limit(&a->request, id, v);
	}
}

/* "LUN", "CONTROLLER:LUN", or "0:0:LUN" as hv's messages have it. */
static int disk_take(struct ctl_args *a, const char *text)
{
	struct ctl_request *r = &a->request;
	const char *colon = strchr(text, ':');
	char *copy;
	uint64_t c, l;
	int status;

	if (strncmp(text, "0:0:", 4) == 0)
		text += 4, colon = NULL;
	if (!colon) {
		status = number("LUN", text, HV_LUNS_MAX - 1, &l);
		r->lun = (uint8_t)l;
		return status;
	}
	copy = strndup(text, (size_t)(colon - text));
	if (!copy)
		return cli_usage(prog, "out of memory");
	status = number("controller", copy, HV_CONTROLLERS_MAX - 1, &c);
	free(copy);
	if (status == CLI_OK)
		status = number("LUN", colon + 1, HV_LUNS_MAX - 1, &l);
	if (status)
		return status;
	r->controller = (uint8_t)c;
	r->lun = (uint8_t)l;
	return CLI_OK;
}

static int size_take(struct ctl_request *r, const char *text)
{
	r->by = *text == '+';
	if (cli_size_parse(text + r->by, &r->size_bytes))
		return cli_usage(prog, "size %s: not a size such as 512M or 2G",
				 text + r->by);
	return CLI_OK;
}

static const struct verb {
	const char *name;
	enum ctl_command command;
	int min, max; /* operands */
	const char *operands;
	unsigned options; /* of `allowed` */
} verbs[] = {
	{"list", CTL_LIST, 0, 0, "", 0},
	{"add", CTL_ADD, 1, 1, "FILE[,WORD]...", 1},
	{"remove", CTL_REMOVE, 1, 1, "DISK", 2},
	{"insert", CTL_CHANGE, 2, 2, "DISK FILE[,WORD]...", 0},
	{"eject", CTL_CHANGE, 1, 1, "DISK", 0},
	{"resize", CTL_RESIZE, 1, 2, "DISK [[+]SIZE]", 0},
	{"resume", CTL_RESUME, 1, 1, "DISK", 0},
	{"limit", CTL_LIMIT, 1, 1, "DISK", 4},
	{"stats", CTL_STATS, 0, 1, "[DISK]", 8},
};

#define VERBS (sizeof(verbs) / sizeof(verbs[0]))

static const struct verb *verb_find(const char *name)
{
	for (size_t i = 0; i < VERBS; i++)
		if (strcmp(verbs[i].name, name) == 0)
			return &verbs[i];
	return NULL;
}

/* An option of another command would be silently without effect. */
static int options_check(const struct ctl_args *a, const struct verb *v,
			 bool lun)
{
	static const char text[] = "disk %s has no option %s";

	if (lun && !(v->options & 1))
		return cli_usage(prog, text, v->name, "--lun");
	if (a->request.now && !(v->options & 2))
		return cli_usage(prog, text, v->name, "--now");
	if (a->request.set && !(v->options & 4))
		return cli_usage(prog, text, v->name,
				 "of limits (--iops, --bps, ...)");
	if (a->watch && !(v->options & 8))
		return cli_usage(prog, text, v->name, "--watch");
	if (v->command == CTL_LIMIT && !a->request.set)
		return cli_usage(prog, "disk limit: says no limit to change");
	return CLI_OK;
}

static int operands_take(struct ctl_args *a, const struct verb *v, int n,
			 char **op)
{
	int status = CLI_OK;

	if (n < v->min || n > v->max)
		return cli_usage(prog, "disk %s takes %s", v->name,
				 *v->operands ? v->operands : "no operands");
	a->all = v->command == CTL_STATS && n == 0;
	if (v->command == CTL_ADD)
		a->file = op[0];
	else if (n > 0)
		status = disk_take(a, op[0]);
	if (status != CLI_OK || n < 2)
		return status;
	if (v->command == CTL_CHANGE)
		a->file = op[1];
	else
		status = size_take(&a->request, op[1]);
	return status;
}

static int parse(int argc, char **argv, struct ctl_args *a)
{
	struct cli_options o = {
		.prog = prog,
		.usage = "NAME disk list\n"
			 "NAME disk add [--controller N] [--lun N] "
			 "FILE[,WORD]...\n"
			 "NAME disk remove [--now] DISK\n"
			 "NAME disk insert DISK FILE[,WORD]...\n"
			 "NAME disk eject DISK\n"
			 "NAME disk resize DISK [[+]SIZE]\n"
			 "NAME disk resume DISK\n"
			 "NAME disk limit [options] DISK\n"
			 "NAME disk stats [--watch] [DISK]",
		.about = "Change the disks of the guest that `hv run --name "
			 "NAME` runs, or look at them.\n"
			 "DISK is a LUN, or CONTROLLER:LUN.",
		.table = options,
		.apply = apply,
		.into = a,
		.argc = argc,
		.argv = argv,
	};
	const struct verb *v;
	int n, status;

	a->request.next_lun = true;
	a->timeout_s = CTL_ANSWER_S;
	status = cli_options_all(&o);
	if (status >= 0)
		return status;
	n = argc - o.first_operand;
	argv += o.first_operand;
	if (n < 3)
		return cli_usage(prog, "needs NAME disk and a command, such as "
				       "list");
	a->name = argv[0];
	if (!hv_name_ok(a->name))
		return cli_usage(prog, "%s: not a name that a guest can have",
				 a->name);
	v = strcmp(argv[1], "disk") == 0 ? verb_find(argv[2]) : NULL;
	if (!v)
		return cli_usage(prog, "%s %s: no such command", argv[1],
				 argv[2]);
	a->request.command = v->command;
	status = options_check(a, v, !a->request.next_lun);
	if (status == CLI_OK)
		status = operands_take(a, v, n - 3, argv + 3);
	return status ? status : -1;
}

/* ------------------------------------------------------------- talking --- */

static struct json_object *ask(int fd, const struct ctl_request *r,
			       const struct ctl_files *f)
{
	return ctl_ask(fd, r, f->fd, f->count);
}

static void say_done(const struct ctl_args *a, struct json_object *o)
{
	char was[CLI_SIZE_TEXT], now[CLI_SIZE_TEXT];

	(void)cli_size_text(
		(uint64_t)json_object_get_int64(cli_json_get(o, "size")), now,
		sizeof(now));
	switch (a->request.command) {
	case CTL_ADD:
		printf("disk %d:%d, %s\n",
		       json_object_get_int(cli_json_get(o, "controller")),
		       json_object_get_int(cli_json_get(o, "lun")), now);
		break;
	case CTL_RESIZE:
		(void)cli_size_text(
			(uint64_t)json_object_get_int64(cli_json_get(o, "was")),
			was, sizeof(was));
		printf("%s, was %s\n", now, was);
		break;
	case CTL_RESUME:
		puts(json_object_get_boolean(cli_json_get(o, "was-paused"))
			     ? "resumed"
			     : "was not paused");
		break;
	case CTL_LIST:
		ctl_show_list(o);
		break;
	default:
		break;
	}
}

static int once(const struct ctl_args *a, int fd, struct ctl_files *f)
{
	struct json_object *o = ask(fd, &a->request, f);
	int status;

	f->unsure = !o;
	if (!o)
		return CLI_IO;
	status = ctl_judge(o, a->json);
	if (a->json)
		return cli_json_end(prog, o, status);
	if (status == CLI_OK)
		say_done(a, o);
	return cli_json_end(prog, (json_object_put(o), NULL), status);
}

/* ----------------------------------------------------------- statistics -- */

/* One object for each disk asked for, or NULL after a complaint. */
static struct json_object *collect(const struct ctl_args *a, int fd,
				   int *status)
{
	const struct ctl_request list = {.command = CTL_LIST};
	const struct ctl_files none = {.count = 0};
	struct json_object *all = cli_json_array(), *o, *disks;
	struct ctl_request r = a->request;

	*status = CLI_IO;
	o = ask(fd, a->all ? &list : &r, &none);
	if (!o || (*status = ctl_judge(o, a->json)) != CLI_OK) {
		if (o && a->json)
			*status = cli_json_end(prog, json_object_get(o),
					       *status);
		json_object_put(o);
		json_object_put(all);
		return NULL;
	}
	if (!a->all) {
		cli_json_add(all, o);
		return all;
	}
	disks = cli_json_get(o, "disks");
	for (size_t i = 0; i < cli_json_count(disks); i++) {
		struct json_object *d = json_object_array_get_idx(disks, i);

		r.controller = (uint8_t)json_object_get_int(
			cli_json_get(d, "controller"));
		r.lun = (uint8_t)json_object_get_int(cli_json_get(d, "lun"));
		d = ask(fd, &r, &none);
		if (d && json_object_get_boolean(cli_json_get(d, "ok")))
			cli_json_add(all, d);
		else
			json_object_put(d);
	}
	json_object_put(o);
	return all;
}

static int stats(const struct ctl_args *a, int fd)
{
	struct json_object *before = NULL, *now;
	int64_t then = 0, at;
	int status;

	for (;;) {
		now = collect(a, fd, &status);
		at = cli_now_ms();
		if (!now)
			break;
		if (a->json) {
			const char *s = cli_json_print(
				now, JSON_C_TO_STRING_PLAIN);

			printf("{\"disks\": %s}\n", s ? s : "null");
		} else {
			ctl_show_stats(now, before,
				       (double)(at - then) / 1000);
		}
		json_object_put(before);
		before = now;
		then = at;
		if (!a->watch)
			break;
		fflush(stdout);
		(void)nanosleep(&(struct timespec){1, 0}, NULL);
	}
	json_object_put(before);
	return cli_json_end(prog, NULL, status);
}

/* ----------------------------------------------------------- the program -- */

static int talk(struct ctl_args *a, struct ctl_files *f)
{
	int status = CLI_IO, fd = ctl_open(a->name, a->timeout_s, &status);

	if (fd < 0)
		return status;
	status = a->request.command == CTL_STATS ? stats(a, fd)
						 : once(a, fd, f);
	close(fd);
	return status;
}

static int enter(const struct ctl_args *a, const struct ctl_files *f)
{
	struct sandbox s = {.role = SANDBOX_REMOTE};
	const char *runtime = getenv("XDG_RUNTIME_DIR");

	sandbox_allow(&s, runtime ? runtime : "/run", SANDBOX_READ);
	if (a->file)
		ctl_files_allow(f, &s);
	return sandbox_enter(&s, prog);
}

/* The command is the second word that is no option, but --json, which all
 * commands have; those of disks have options with words of their own.
 */
static bool is_for_guest(int argc, char **argv)
{
	int words = 0;
	bool disk = false;

	for (int i = 1; i < argc; i++) {
		if (*argv[i] == '-')
			continue;
		if (++words == 2 && ctl_guest_verb(argv[i]))
			return true;
		disk |= words >= 2 && strcmp(argv[i], "disk") == 0;
	}
	return !disk;
}

int ctl_main(int argc, char **argv)
{
	struct ctl_args a = {0};
	struct ctl_files f = {.link_fd = -1, .parent_fd = -1};
	struct vhd_err err;
	int status;

	if (is_for_guest(argc, argv))
		return ctl_guest_main(argc, argv);
	status = parse(argc, argv, &a);
	if (status >= 0)
		return status;
	(void)signal(SIGPIPE, SIG_IGN);
	status = a.file ? ctl_files_words(a.file, &a.request, &f) : CLI_OK;
	/* a process for each server, before this one cannot make any */
	if (status == CLI_OK && a.file && ctl_files_link(&f, &err))
		status = cli_fail(prog, f.disk.path, &err);
	if (status == CLI_OK)
		status = enter(&a, &f);
	if (status == CLI_OK && a.file &&
	    ctl_files_find(&f, a.request.name, &err))
		status = cli_fail(prog, f.disk.path, &err);
	if (status == CLI_OK)
		status = talk(&a, &f);
	ctl_files_close(&f, status != CLI_OK);
	return status;
}

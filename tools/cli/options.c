/* SPDX-License-Identifier: BSD-2-Clause */
/* Command lines from one table: it parses them and prints their help, so the
 * two cannot disagree.
 */
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <string.h>

#include "cli.h"

#define OPTIONS_MAX 48
#define ID_SANDBOX 0x7ffffffd
#define ID_HELP 0x7ffffffe
#define ID_VERSION 0x7fffffff
#define HELP_COLUMN 26

static void help_option(const struct cli_option *opt)
{
	char left[80], letter[8] = "    ";
	const char *line = opt->help;

	if (opt->id < 127)
		snprintf(letter, sizeof(letter), "-%c, ", opt->id);
	snprintf(left, sizeof(left), "%s--%s%s%s", letter, opt->name,
		 opt->arg ? " " : "", opt->arg ? opt->arg : "");
	/* A long option stands on a line of its own. */
	printf("  %-*s", HELP_COLUMN - 2, left);
	if (strlen(left) > HELP_COLUMN - 3)
		printf("\n%*s", HELP_COLUMN, "");
	for (;;) {
		size_t len = strcspn(line, "\n");

		printf("%.*s\n", (int)len, line);
		if (!line[len])
			return;
		line += len + 1;
		printf("%*s", HELP_COLUMN, "");
	}
}

static void help(const struct cli_options *o)
{
	static const struct cli_option common[] = {
		{ "sandbox", ID_SANDBOX, "MODE",
		  "on (default), best-effort or off: what is given up\n"
		  "before an image or a guest is met" },
		{ "help", ID_HELP, NULL, "show this text" },
		{ "version", ID_VERSION, NULL, "show the version" },
	};
	const char *line = o->usage;
	const char *lead = "usage:";

	for (;; lead = "      ") {
		size_t len = strcspn(line, "\n");

		printf("%s %s %.*s\n", lead, o->prog, (int)len, line);
		if (!line[len])
			break;
		line += len + 1;
	}
	printf("\n%s\n\n", o->about);
	for (const struct cli_option *opt = o->table; opt->name; opt++)
		help_option(opt);
	for (size_t i = 0; i < sizeof(common) / sizeof(common[0]); i++)
		help_option(&common[i]);
}

/* What was asked for has been printed, if standard output took it. */
static int printed(const char *prog)
{
	if (fflush(stdout) == 0 && !ferror(stdout))
		return CLI_OK;
	fprintf(stderr, "%s: standard output: cannot write: %s\n", prog,
		strerror(errno));
	return CLI_IO;
}

/* getopt's own tables, from ours. Returns how many long options there are. */
static size_t tables(const struct cli_option *table, struct option *longs,
		     char *shorts)
{
	size_t n = 0;

	*shorts++ = ':';
	for (; n < OPTIONS_MAX && table[n].name; n++) {
		longs[n] = (struct option){
			table[n].name,
			table[n].arg ? required_argument : no_argument,
			NULL,
			table[n].id,
		};
		if (table[n].id < 127) {
			*shorts++ = (char)table[n].id;
			if (table[n].arg)
				*shorts++ = ':';
		}
	}
	*shorts = '\0';
	longs[n++] =
		(struct option){ "sandbox", required_argument, NULL, ID_SANDBOX };
	longs[n++] = (struct option){ "help", no_argument, NULL, ID_HELP };
	longs[n++] =
		(struct option){ "version", no_argument, NULL, ID_VERSION };
	longs[n] = (struct option){ 0 };
	return n;
}

static const char *name_of(const struct cli_options *o, int id)
{
	for (const struct cli_option *t = o->table; t->name; t++)
		if (t->id == id)
			return t->name;
	return id == ID_SANDBOX ? "sandbox" : "?";
}

/* What getopt stumbled over: a letter it names, or the word just passed. */
static int bad_option(const struct cli_options *o, int at)
{
	const char *word = at < o->argc ? o->argv[at] : "";

	if (optopt > 0 && optopt < 127 && strncmp(word, "--", 2) != 0)
		return cli_usage(o->prog, "-%c: no such option", optopt);
	if (optopt)
		return cli_usage(o->prog, "%s: this option takes no value",
				 word);
	return cli_usage(o->prog, "%s: no such option", word);
}

static int end_of_options(struct cli_options *o, int *status)
{
	o->first_operand = optind;
	*status = cli_sandbox_check(o->prog);
	return *status == CLI_OK ? 0 : -1;
}

/* What every program has. Returns 0 to go on, or -1. */
static int common_option(struct cli_options *o, int id, int *status)
{
	if (id == ID_SANDBOX) {
		*status = cli_sandbox_set(o->prog, o->value);
		return *status == CLI_OK ? 0 : -1;
	}
	if (id == ID_HELP)
		help(o);
	else
		printf("%s %s\n", o->prog, CLI_VERSION);
	*status = printed(o->prog);
	return -1;
}

int cli_options_next(struct cli_options *o, int *status)
{
	struct option longs[OPTIONS_MAX + 4];
	char shorts[2 * OPTIONS_MAX + 2];

	tables(o->table, longs, shorts);
	opterr = 0;
	for (;;) {
		int at = optind ? optind : 1;
		int id = getopt_long(o->argc, o->argv, shorts, longs, NULL);

		o->value = optarg;
		switch (id) {
		case -1:
			return end_of_options(o, status);
		case ':':
			*status = cli_usage(o->prog, "--%s: needs a value",
					    name_of(o, optopt));
			return -1;
		case '?':
			/* Operands before it have been skipped over. */
			*status = bad_option(o, optind > at ? optind - 1 : at);
			return -1;
		case ID_SANDBOX:
		case ID_HELP:
		case ID_VERSION:
			if (common_option(o, id, status))
				return -1;
			break;
		default:
			return id;
		}
	}
}

static int apply_one(struct cli_options *o, int id)
{
	const struct cli_set *set = o->sets;
	void *at;

	while (set && set->id && set->id != id)
		set++;
	if (!set || !set->id)
		return o->apply(o->into, id, o->value);
	at = (char *)o->into + set->at;
	if (set->kind == CLI_SET_TEXT)
		*(const char **)at = o->value;
	else
		*(bool *)at = set->kind == CLI_SET_TRUE;
	return CLI_OK;
}

int cli_options_all(struct cli_options *o)
{
	int id, status = CLI_OK;

	while (status == CLI_OK && (id = cli_options_next(o, &status)) != 0) {
		if (id < 0)
			return status;
		status = apply_one(o, id);
	}
	return status == CLI_OK ? -1 : status;
}

/* SPDX-License-Identifier: BSD-2-Clause */
/* vhd: one program with many verbs. Called as `vhd VERB ...`, or by a link
 * whose name is `vhd-VERB`. Verbs that are programs of their own are looked
 * for beside this one, then in PATH.
 */
#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "verb.h"

struct verb {
	const char *name;
	const char *about;
	int (*run)(const char *prog, int argc, char **argv);
	const char *program; /* where `run` is NULL */
};

static const struct verb verbs[] = {
	{"bench", "measure how fast an image is read or written",
	 verb_bench, NULL},
	{"check", "name every fault of an image", verb_check, NULL},
	{"compact", "make the file shorter", verb_compact, NULL},
	{"compare", "compare what two images hold", verb_compare, NULL},
	{"convert", "turn an image into another type", NULL, "vhd-convert"},
	{"create", "make an empty image, or one that builds on another",
	 verb_create, NULL},
	{"diff", "show what a differencing disk changes", verb_diff, NULL},
	{"inspect", "show what there is to know about images", NULL,
	 "vhd-inspect"},
	{"map", "show where an image has data", verb_map, NULL},
	{"merge", "bring a child's content down into its parent", verb_merge,
	 NULL},
	{"rebase", "put a differencing disk onto another parent", verb_rebase,
	 NULL},
	{"repair", "put an image right, or save what it still holds",
	 verb_repair, NULL},
	{"resize", "make the disk larger or smaller", verb_resize, NULL},
	{"set", "change what an image says of itself", verb_set, NULL},
	{"snapshot", "keep what a disk holds, go on in a child", verb_snapshot,
	 NULL},
	{"serve", "serve an image as a network block device", verb_serve,
	 NULL},
	{"mount", "show a disk, or mount its file systems", NULL, "vhd-mount"},
	{"unmount", "undo that, and wait until the image is closed",
	 verb_unmount, NULL},
};

#define VERBS (sizeof(verbs) / sizeof(verbs[0]))

static const struct verb *find(const char *name)
{
	for (size_t i = 0; i < VERBS; i++)
		if (!strcmp(verbs[i].name, name))
			return &verbs[i];
	return NULL;
}

/* Options before the verb: only those every program has. */
static const struct cli_option options[] = {{0}};

static int help(void)
{
	puts("usage: vhd VERB [options] ...\n\n"
	     "Make, look at, check, repair and convert Virtual Hard Disk "
	     "images.\n");
	for (size_t i = 0; i < VERBS; i++)
		printf("  %-22s  %s\n", verbs[i].name, verbs[i].about);
	puts("      --help              show this text; after a verb, its "
	     "options\n"
	     "      --version           show the version\n\n"
	     "Exit status: 0 all is well, 1 something was found or differs, "
	     "2 the command line\n"
	     "makes no sense, 3 the input was refused, 4 the machine failed.");
	return cli_json_end("vhd", NULL, CLI_OK);
}

/* Beside this program, so that a build folder and an installed tree both use
 * their own.
 */
static void run_beside(const char *program, char **argv)
{
	char path[PATH_MAX];
	ssize_t n = readlink("/proc/self/exe", path, sizeof(path) - 1);
	char *slash;

	if (n <= 0)
		return;
	path[n] = '\0';
	slash = strrchr(path, '/');
	if (!slash ||
	    (size_t)(slash + 1 - path) + strlen(program) >= sizeof(path))
		return;
	strcpy(slash + 1, program);
	execv(path, argv);
}

static int run_program(const char *program, char **argv)
{
	char name[32];

	snprintf(name, sizeof(name), "%s", program);
	argv[0] = name;
	run_beside(program, argv);
	execvp(program, argv);
	fprintf(stderr,
		"vhd: cannot run %s: %s: install it beside vhd or in "
		"PATH\n",
		program, strerror(errno));
	return errno == ENOENT ? CLI_REFUSED : CLI_IO;
}

static int run(const struct verb *v, const char *how, int argc, char **argv)
{
	char prog[32];

	if (!v->run)
		return run_program(v->program, argv);
	signal(SIGXFSZ, SIG_IGN); /* the file size limit becomes EFBIG */
	snprintf(prog, sizeof(prog), "vhd%s%s", how, v->name);
	return v->run(prog, argc, argv);
}

int main(int argc, char **argv)
{
	const char *slash = strrchr(argc ? argv[0] : "vhd", '/');
	const char *name = slash ? slash + 1 : argc ? argv[0] : "vhd";
	const struct verb *v;

	if (!cli_streams_hold()) {
		cli_tell("vhd: cannot open /: %s\n", strerror(errno));
		return CLI_IO;
	}
	if (!strncmp(name, "vhd-", 4)) {
		v = find(name + 4);
		if (v && v->run)
			return run(v, "-", argc, argv);
	}
	if (argc < 2)
		return cli_usage("vhd", "needs a verb");
	if (!strcmp(argv[1], "--help") || !strcmp(argv[1], "help"))
		return help();
	if (argv[1][0] == '-') {
		struct cli_options o = {
			.prog = "vhd",
			.table = options,
			.argc = 2,
			.argv = argv,
		};
		int status = CLI_USAGE;

		(void)cli_options_next(&o, &status);
		return status;
	}
	v = find(argv[1]);
	if (!v)
		return cli_usage("vhd", "%s: no such verb", argv[1]);
	return run(v, " ", argc - 1, argv + 1);
}

/* SPDX-License-Identifier: BSD-2-Clause */
/* vhd serve: an image as a network block device. nbdkit is the server, our
 * plugin its disk; this verb finds both, looks at the image first, tells the
 * address once clients can connect, and cleans up behind it.
 *
 * nbdkit runs as a child that ends when this process does. It writes its pid
 * when it is ready, here into a pipe, whose other end so learns both readiness
 * and failure.
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "serve.h"
#include "tools/verb/verb.h"

enum {
	OPT_WRITABLE = 256,
	OPT_OVERLAY,
	OPT_SOCKET,
	OPT_PORT,
	OPT_LISTEN,
	OPT_ONCE,
	OPT_RUN,
	OPT_FORMAT,
	OPT_PARENT_DIR,
	OPT_LARGER_CHILD,
	OPT_DIRECT,
};

static const struct cli_option options[] = {
	{"writable", OPT_WRITABLE, NULL, "let clients write to FILE"},
	{"overlay", OPT_OVERLAY, NULL,
	 "let clients write, but into a temporary layer that is\n"
	 "thrown away at the end"},
	{"socket", OPT_SOCKET, "PATH",
	 "listen on this Unix socket (default: one in a\n"
	 "directory of its own, for this user only)"},
	{"port", OPT_PORT, "N", "listen on TCP port N of this machine"},
	{"listen", OPT_LISTEN, "ADDRESS",
	 "listen on this address, 0.0.0.0 for all that the\n"
	 "machine has (default with --port: localhost)"},
	{"once", OPT_ONCE, NULL, "end when the last client has gone"},
	{"run", OPT_RUN, "COMMAND",
	 "run a shell command, in which $uri is the address,\n"
	 "and end with its exit status"},
	{"format", OPT_FORMAT, "FORMAT",
	 "take the file as raw, fixed, dynamic or differencing\n"
	 "instead of finding out by looking"},
	{"parent-dir", OPT_PARENT_DIR, "DIR",
	 "look for the parents of a differencing disk in and\n"
	 "below DIR (default: the disk's own directory)"},
	{"larger-child", OPT_LARGER_CHILD, NULL,
	 "let it be larger than its parent; the rest is zero"},
	{"direct", OPT_DIRECT, NULL, "go around the page cache"},
	{"quiet", 'q', NULL, "print nothing but errors"},
	{0},
};

/* -------------------------------------------------------- command line -- */

static int port_set(struct serve *s, const char *text)
{
	uint64_t n;

	if (cli_number_parse(text, 1, 65535, &n))
		return cli_usage(s->prog, "--port %s: not from 1 to 65535",
				 text);
	s->port = text;
	return CLI_OK;
}

static const struct cli_set sets[] = {
	{OPT_WRITABLE, CLI_SETS(struct serve, opts.writable)},
	{OPT_OVERLAY, CLI_SETS(struct serve, overlay)},
	{OPT_SOCKET, CLI_TAKES(struct serve, socket)},
	{OPT_LISTEN, CLI_TAKES(struct serve, listen)},
	{OPT_ONCE, CLI_SETS(struct serve, once)},
	{OPT_RUN, CLI_TAKES(struct serve, run)},
	{OPT_PARENT_DIR, CLI_TAKES(struct serve, parents.dir)},
	{OPT_LARGER_CHILD, CLI_SETS(struct serve, opts.larger_child)},
	{OPT_DIRECT, CLI_SETS(struct serve, opts.direct)},
	{'q', CLI_SETS(struct serve, quiet)},
	{0},
};

static int apply(void *into, int id, const char *value)
{
	struct serve *s = into;

	switch (id) {
	case OPT_PORT:
		return port_set(s, value);
	default:
		s->format = value;
		return verb_format(s->prog, "format", value, true,
				   &s->opts.format);
	}
}

static int check(const struct serve *s)
{
	if (s->opts.writable && s->overlay)
		return cli_usage(s->prog, "--overlay excludes --writable");
	if (s->socket && (s->port || s->listen))
		return cli_usage(s->prog,
				 "--socket excludes --port and --listen");
	if (s->run && s->once)
		return cli_usage(s->prog, "--run excludes --once");
	return -1;
}

/* What follows "--" is nbdkit's. Returns -1 to go on, or the exit code. */
static int parse(struct serve *s, int argc, char **argv)
{
	struct cli_options o = {
		.prog = s->prog,
		.usage = "[options] FILE [-- NBDKIT-OPTION...]",
		.about = "Serve an image as a network block device.",
		.table = options,
		.sets = sets,
		.apply = apply,
		.into = s,
		.argc = argc,
		.argv = argv,
	};
	int status;

	for (int i = 1; i < argc; i++)
		if (!strcmp(argv[i], "--")) {
			s->extra = argv + i + 1;
			s->extra_count = argc - i - 1;
			o.argc = i;
			break;
		}
	status = cli_options_all(&o);
	if (status >= 0)
		return status;
	if (o.argc - o.first_operand != 1)
		return cli_usage(s->prog, "needs one file");
	s->path = argv[o.first_operand];
	return check(s);
}

/* ----------------------------------------------------------- the image -- */

/* Whatever is wrong with it is said here, in our words. */
static int look(struct serve *s)
{
	struct vhd_err err = {0};
	struct vhd *img;

	s->opts.parent_dir = verb_parent_dir(&s->parents, s->path);
	if (vhd_open(s->path, &s->opts, &img, &err))
		return cli_fail(s->prog, s->path, &err);
	s->size_bytes = vhd_get_info(img)->size_bytes;
	s->type = vhd_format_name(vhd_get_info(img)->format);
	s->layers = vhd_get_info(img)->layers;
	vhd_abandon(img);
	return CLI_OK;
}

/* ---------------------------------------------------------- the socket -- */

/* A directory that only this user can enter, since a socket's own permissions
 * are those of the umask.
 */
static int place_make(struct serve *s)
{
	const char *base = getenv("XDG_RUNTIME_DIR");
	int n;

	if (!base || access(base, W_OK | X_OK))
		base = getenv("TMPDIR");
	if (!base || !*base)
		base = "/tmp";
	n = snprintf(s->place, sizeof(s->place), "%s/vhd-serve.XXXXXX", base);
	if (n < 0 || (size_t)n >= sizeof(s->place) || !mkdtemp(s->place)) {
		cli_tell("%s: %s: no directory for the socket: %s\n",
			s->prog, base, strerror(errno));
		s->place[0] = '\0';
		return CLI_IO;
	}
	snprintf(s->own_socket, sizeof(s->own_socket), "%s/nbd", s->place);
	s->socket = s->own_socket;
	return CLI_OK;
}

/* nbdkit says less plainly that it cannot have a socket there. */
static int socket_dir_check(const struct serve *s)
{
	char dir[PATH_MAX];
	char *slash;

	snprintf(dir, sizeof(dir), "%s", s->socket);
	slash = strrchr(dir, '/');
	if (slash)
		slash[slash == dir] = '\0';
	if (access(slash ? dir : ".", W_OK | X_OK) == 0)
		return CLI_OK;
	cli_tell("%s: %s: cannot listen there: %s: check the name\n", s->prog,
		 s->socket, strerror(errno));
	return CLI_REFUSED;
}

static int socket_choose(struct serve *s)
{
	struct stat st;

	if (s->port || s->listen || (s->run && !s->socket))
		return CLI_OK;
	if (!s->socket)
		return place_make(s);
	if (lstat(s->socket, &st) == 0) {
		cli_tell(
			"%s: %s: exists: another server may listen there; "
			"choose another name, or remove it\n",
			s->prog, s->socket);
		return CLI_REFUSED;
	}
	return socket_dir_check(s);
}

static void socket_remove(struct serve *s)
{
	if (s->socket)
		(void)unlink(s->socket);
	if (s->place[0])
		(void)rmdir(s->place);
}

/* ------------------------------------------------------------- running -- */

static const char no_nbdkit[] =
	"nbdkit, which does the serving, is not installed: "
	"apt install nbdkit";

/* In the child, or with --run perhaps in this process itself. */
static void run_nbdkit(const struct serve *s)
{
	char **argv = serve_argv(s);

	if (!argv) {
		cli_tell("%s: out of memory\n", s->prog);
		return;
	}
	execvp(argv[0], argv);
	if (errno == ENOENT)
		cli_tell("%s: %s\n", s->prog, no_nbdkit);
	else
		cli_tell("%s: cannot run nbdkit: %s\n", s->prog,
			strerror(errno));
	serve_argv_free(argv);
}

/* True once nbdkit said that it is ready; false when it ended before. */
static bool ready(int fd)
{
	char c;
	ssize_t n;

	do
		n = read(fd, &c, 1);
	while (n < 0 && errno == EINTR);
	return n == 1;
}

static volatile sig_atomic_t stop;

static void on_stop(int number)
{
	stop = number;
}

/* nbdkit ends on these signals by itself and in order; here they only must
 * not kill. One that came to this process alone is handed on.
 */
static void signals_catch(void)
{
	static const int numbers[] = {SIGINT, SIGTERM, SIGHUP};
	struct sigaction act = {.sa_handler = on_stop};

	for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++)
		sigaction(numbers[i], &act, NULL);
}

/* As waitpid gives it; -1 where that fails. */
static int end_of(pid_t child)
{
	int status;

	while (waitpid(child, &status, 0) < 0) {
		if (errno != EINTR)
			return -1;
		if (stop)
			kill(child, SIGTERM);
	}
	return status;
}

static int await(const struct serve *s, pid_t child)
{
	int status = end_of(child);

	if (status < 0)
		return CLI_IO;
	if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
		return CLI_OK;
	if (WIFSIGNALED(status)) {
		cli_tell("%s: nbdkit was ended by signal %d\n", s->prog,
			WTERMSIG(status));
		return CLI_IO;
	}
	return WEXITSTATUS(status) == SERVE_NOT_RUN ? CLI_REFUSED : CLI_IO;
}

static int serve(struct serve *s)
{
	int fds[2], status;
	pid_t child;

	if (pipe(fds)) {
		cli_tell("%s: %s\n", s->prog, strerror(errno));
		return CLI_IO;
	}
	s->ready_fd = fds[1];
	signals_catch();
	child = fork();
	if (child == 0) {
		close(fds[0]);
		run_nbdkit(s);
		_exit(SERVE_NOT_RUN);
	}
	close(fds[1]);
	if (child < 0) {
		cli_tell("%s: %s\n", s->prog, strerror(errno));
		close(fds[0]);
		return CLI_IO;
	}
	if (ready(fds[0]) && !s->quiet)
		serve_tell(s);
	close(fds[0]);
	status = await(s, child);
	socket_remove(s);
	return status;
}

/* nbdkit ends as the command does, and so does this. It removes a socket that
 * it has chosen, not one that it was given.
 */
static int serve_run(struct serve *s)
{
	pid_t child;
	int status;

	if (!s->socket) {
		run_nbdkit(s);
		return CLI_REFUSED;
	}
	signals_catch();
	child = fork();
	if (child == 0) {
		run_nbdkit(s);
		_exit(CLI_REFUSED);
	}
	if (child < 0) {
		cli_tell("%s: %s\n", s->prog, strerror(errno));
		return CLI_IO;
	}
	status = end_of(child);
	socket_remove(s);
	if (status >= 0 && WIFEXITED(status))
		return WEXITSTATUS(status);
	if (status >= 0 && WIFSIGNALED(status)) {
		signal(WTERMSIG(status), SIG_DFL);
		raise(WTERMSIG(status));
	}
	return CLI_IO;
}

static int run(struct serve *s, int argc, char **argv)
{
	int status = parse(s, argc, argv);

	if (status >= 0)
		return status;
	status = look(s);
	if (!status)
		status = serve_plugin_find(s);
	if (!status)
		status = socket_choose(s);
	if (status)
		return status;
	return s->run ? serve_run(s) : serve(s);
}

int verb_serve(const char *prog, int argc, char **argv)
{
	struct serve s = {.prog = prog, .ready_fd = -1};
	int status = run(&s, argc, argv);

	verb_parents_fini(&s.parents);
	return status;
}

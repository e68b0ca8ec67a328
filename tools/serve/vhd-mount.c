/* SPDX-License-Identifier: BSD-2-Clause */
/* vhd-mount: the disk in an image as files in a directory; or one of its file
 * systems.
 *
 * Always a FUSE file system with the disk and its partitions. For a partition
 * it is mounted on a directory of its own and that file in it on the one that
 * was asked for; it then ends by itself when the file system is unmounted.
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "mount.h"
#include "tools/verb/verb.h"

static const char prog[] = "vhd-mount";

enum {
	OPT_PARTITION = 256,
	OPT_WRITABLE,
	OPT_OVERLAY,
	OPT_FOREGROUND,
	OPT_FORMAT,
	OPT_PARENT_DIR,
	OPT_LARGER_CHILD,
	OPT_DIRECT,
};

static const struct cli_option options[] = {
	{"partition", OPT_PARTITION, "N",
	 "mount the file system in partition N (0: the one that\n"
	 "is on the disk without a partition table)"},
	{"writable", OPT_WRITABLE, NULL, "let FILE be written to"},
	{"overlay", OPT_OVERLAY, NULL,
	 "let it be written to, but into a temporary layer that\n"
	 "is thrown away at the end"},
	{"options", 'o', "OPTIONS",
	 "options of the mount, such as allow_other, or with\n"
	 "--partition those of the file system"},
	{"foreground", OPT_FOREGROUND, NULL,
	 "do not go into the background"},
	{"format", OPT_FORMAT, "FORMAT",
	 "take the file as raw, fixed, dynamic or differencing\n"
	 "instead of finding out by looking"},
	{"parent-dir", OPT_PARENT_DIR, "DIR",
	 "look for the parents of a differencing disk in and\n"
	 "below DIR (default: the disk's own directory)"},
	{"larger-child", OPT_LARGER_CHILD, NULL,
	 "let it be larger than its parent; the rest is zero"},
	{"direct", OPT_DIRECT, NULL, "go around the page cache"},
	{0},
};

struct mount {
	char *path; /* absolute, as is the next; owned */
	char *dir;
	struct vhd_open_opts opts;
	struct verb_parents parents;
	int partition; /* -1: the files */
	bool overlay;
	bool foreground;
	const char *options;
	char place[PATH_MAX]; /* with a partition: where the files are */
	struct mount_fs fs;
	struct inspect_content content;
};

/* -------------------------------------------------------- command line -- */

static int partition_set(struct mount *m, const char *text)
{
	uint64_t n;

	if (cli_number_parse(text, 0, 9999, &n))
		return cli_usage(prog, "--partition %s: not a number", text);
	m->partition = (int)n;
	return CLI_OK;
}

static const struct cli_set sets[] = {
	{OPT_WRITABLE, CLI_SETS(struct mount, opts.writable)},
	{OPT_OVERLAY, CLI_SETS(struct mount, overlay)},
	{'o', CLI_TAKES(struct mount, options)},
	{OPT_FOREGROUND, CLI_SETS(struct mount, foreground)},
	{OPT_PARENT_DIR, CLI_TAKES(struct mount, parents.dir)},
	{OPT_LARGER_CHILD, CLI_SETS(struct mount, opts.larger_child)},
	{OPT_DIRECT, CLI_SETS(struct mount, opts.direct)},
	{0},
};

static int apply(void *into, int id, const char *value)
{
	struct mount *m = into;

	switch (id) {
	case OPT_PARTITION:
		return partition_set(m, value);
	default:
		return verb_format(prog, "format", value, true,
				   &m->opts.format);
	}
}

static int absolute(const char *path, char **out)
{
	*out = realpath(path, NULL);
	if (*out)
		return CLI_OK;
	cli_tell("%s: %s: %s: check the name\n", prog, path,
		strerror(errno));
	return CLI_REFUSED;
}

/* FUSE would say it less plainly. */
static int dir_check(const char *dir)
{
	struct stat st;

	if (stat(dir, &st) == 0 && S_ISDIR(st.st_mode))
		return CLI_OK;
	cli_tell("%s: %s: not a directory: make one first\n", prog,
		dir);
	return CLI_REFUSED;
}

/* Returns -1 to go on, or the exit code to end with. */
static int parse(struct mount *m, int argc, char **argv)
{
	struct cli_options o = {
		.prog = prog,
		.usage = "[options] FILE DIR",
		.about = "Show the disk in an image, and its partitions, as "
			 "files in a directory.",
		.table = options,
		.sets = sets,
		.apply = apply,
		.into = m,
		.argc = argc,
		.argv = argv,
	};
	int status = cli_options_all(&o);

	if (status >= 0)
		return status;
	if (argc - o.first_operand != 2)
		return cli_usage(prog, "needs a file and a directory");
	if (m->opts.writable && m->overlay)
		return cli_usage(prog, "--overlay excludes --writable");
	if (m->foreground && m->partition >= 0)
		return cli_usage(prog, "--partition excludes --foreground");
	status = absolute(argv[o.first_operand], &m->path);
	if (!status)
		status = dir_check(argv[o.first_operand + 1]);
	if (!status)
		status = absolute(argv[o.first_operand + 1], &m->dir);
	return status ? status : -1;
}

/* ------------------------------------------------------------ the image -- */

static int open_image(struct mount *m)
{
	struct vhd_err err = {0};
	struct stat st;
	struct vhd *img;

	m->opts.parent_dir = verb_parent_dir(&m->parents, m->path);
	if (served_open(m->path, &m->opts, &m->fs.served, &err))
		return cli_fail(prog, m->path, &err);
	if (m->overlay &&
	    overlay_create(m->fs.served, &m->fs.overlay, &err))
		return cli_fail(prog, m->path, &err);
	img = served_image(m->fs.served);
	m->fs.writable = m->opts.writable || m->overlay;
	if (stat(m->path, &st) == 0)
		m->fs.mtime_s = st.st_mtime;
	inspect_content_find(&m->content, img, m->path);
	mount_fs_fill(&m->fs, vhd_get_info(img)->size_bytes, &m->content);
	return CLI_OK;
}

static int close_image(struct mount *m)
{
	struct vhd_err err = {0};

	overlay_destroy(m->fs.overlay);
	if (served_close(m->fs.served, &err))
		return cli_fail(prog, m->path, &err);
	return CLI_OK;
}

/* -------------------------------------------------------- the partition -- */

static const struct inspect_fs *file_system(const struct mount *m)
{
	const struct inspect_content *c = &m->content;

	if (m->partition == 0)
		return c->table[0] ? NULL : &c->fs;
	for (unsigned i = 0; i < c->part_count; i++)
		if (c->parts[i].number == m->partition &&
		    !c->parts[i].past_end)
			return &c->parts[i].fs;
	return NULL;
}

static int partition_check(const struct mount *m)
{
	const struct inspect_fs *fs = file_system(m);

	if (!m->content.looked) {
		cli_fail(prog, m->path, &m->content.err);
		return CLI_REFUSED;
	}
	if (fs && fs->type[0])
		return CLI_OK;
	if (fs)
		cli_tell("%s: %s: no known file system there: vhd "
				"inspect shows what there is\n",
			prog, m->path);
	else
		cli_tell("%s: %s: no partition %d: vhd inspect shows "
				"what there is\n",
			prog, m->path, m->partition);
	return CLI_REFUSED;
}

static int place_make(struct mount *m)
{
	const char *base = getenv("XDG_RUNTIME_DIR");

	if (!base || access(base, W_OK | X_OK))
		base = "/tmp";
	if (snprintf(m->place, sizeof(m->place), "%s/vhd-mount.XXXXXX",
		     base) >= (int)sizeof(m->place) ||
	    !mkdtemp(m->place)) {
		cli_tell("%s: %s: no directory for the disk: %s\n",
			prog, base, strerror(errno));
		return CLI_IO;
	}
	return CLI_OK;
}

/* In the process that serves the files. */
static int serve_files(struct mount *m, int ready_fd)
{
	int status = mount_fs_run(&m->fs, prog, m->place, m->path, NULL, false,
				  ready_fd);
	int closed = close_image(m);

	(void)rmdir(m->place);
	return status ? status : closed;
}

/* With the files served by `child`: the file system, and from then on the
 * child ends with it.
 */
static int mount_it(struct mount *m, pid_t child)
{
	char file[PATH_MAX + 32];
	int status;

	snprintf(file, sizeof(file), "%s/", m->place);
	if (m->partition)
		snprintf(file + strlen(file), 16, "p%d", m->partition);
	else
		strcat(file, MOUNT_DISK);
	status = mount_part(prog, file, file_system(m)->type, m->dir,
			    m->fs.writable, m->options);
	if (!status && setxattr(m->place, MOUNT_ATTR_ONCE, "", 0, 0) == 0)
		return CLI_OK;
	if (!status) {
		cli_tell("%s: %s: %s\n", prog, m->place,
			strerror(errno));
		(void)umount2(m->dir, 0);
		status = CLI_IO;
	}
	kill(child, SIGTERM);
	while (waitpid(child, NULL, 0) < 0 && errno == EINTR)
		;
	return status;
}

static int mount_partition(struct mount *m)
{
	int fds[2], status = partition_check(m);
	pid_t child;
	char c;

	if (!status)
		status = place_make(m);
	if (status)
		return status;
	m->fs.internal = true;
	if (pipe(fds))
		return CLI_IO;
	child = fork();
	if (child == 0) {
		close(fds[0]);
		(void)setsid();
		_exit(serve_files(m, fds[1]));
	}
	close(fds[1]);
	if (child < 0 || read(fds[0], &c, 1) != 1) {
		/* The child has said why. */
		close(fds[0]);
		(void)rmdir(m->place);
		return CLI_IO;
	}
	close(fds[0]);
	return mount_it(m, child);
}

/* ----------------------------------------------------------------- main -- */

static int mount_files(struct mount *m)
{
	int status = mount_fs_run(&m->fs, prog, m->dir, m->path, m->options,
				  !m->foreground, -1);
	int closed = close_image(m);

	return status ? status : closed;
}

static int run(struct mount *m, int argc, char **argv)
{
	int status = parse(m, argc, argv);

	if (status >= 0)
		return status;
	signal(SIGXFSZ, SIG_IGN); /* the file size limit becomes EFBIG */
	status = open_image(m);
	if (!status && m->partition < 0)
		return mount_files(m);
	if (!status)
		status = mount_partition(m);
	/* Another process has it now, or nobody has. */
	overlay_destroy(m->fs.overlay);
	served_abandon(m->fs.served);
	return status;
}

int main(int argc, char **argv)
{
	struct mount *m;
	int status;

	if (!cli_streams_hold()) {
		cli_tell("%s: cannot open /: %s\n", prog, strerror(errno));
		return CLI_IO;
	}
	m = calloc(1, sizeof(*m));
	if (!m) {
		cli_tell("%s: out of memory\n", prog);
		return CLI_IO;
	}
	m->partition = -1;
	status = run(m, argc, argv);
	verb_parents_fini(&m->parents);
	free(m->path);
	free(m->dir);
	free(m);
	return status;
}

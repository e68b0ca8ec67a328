/* SPDX-License-Identifier: BSD-2-Clause */
/* vhd snapshot: from now on a disk is written to in a child, and keeps what it
 * holds. Either the child has a name of its own, or it takes the disk's, so
 * that whoever uses the disk by name goes on in the child:
 *
 *   1. the disk gets BASE as its second name, durable
 *   2. the child is made without a name, on BASE, durable
 *   3. the child takes the disk's name in one step, durable
 *
 * The disk's name leads to a whole disk at every instant. After a cut behind
 * the first step the same command goes on from there, without the child that
 * the cut may have left on its way to its name, complete and empty. Whoever made
 * BASE takes it back on failure; whoever found it there never does, and looks
 * first that the other one is gone.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "tools/convert/convert.h"
#include "verb.h"
#include "merge.h"
#include "tools/sandbox/sandbox.h"

enum { OPT_RENAME = 256, OPT_PARENT_DIR, OPT_BLOCK, OPT_LARGER, OPT_JSON };

static const struct cli_option options[] = {
	{"rename", OPT_RENAME, "BASE",
	 "give DISK the name BASE and the child the name DISK"},
	{"parent-dir", OPT_PARENT_DIR, "DIR",
	 "all images are in or below DIR (default: the directory\n"
	 "of the child)"},
	{"larger-child", OPT_LARGER, NULL,
	 "let DISK be larger than its own parent"},
	{"block-size", OPT_BLOCK, "SIZE",
	 "bytes per block of the child (default: what DISK has,\n"
	 "or 2M)"},
	{"force", 'f', NULL,
	 "replace CHILD if it exists; with --rename: although\n"
	 "other images build on DISK and will look for it by its\n"
	 "old name"},
	{"json", OPT_JSON, NULL, "print JSON for programs"},
	{"quiet", 'q', NULL, "print nothing but errors"},
	{0},
};

/* Of a disk's name, and a process: whom nobody has in its directory. */
#define CHILD_NAME_BYTES 200
#define CHILD_NAME ".%.200s.child-%lld"

struct snapshot {
	const char *prog;
	const char *disk;  /* as given */
	const char *child; /* as given; the same as `disk` with `base` */
	const char *base;  /* --rename */
	struct verb_parents parents;
	struct vhd_create_opts opts;
	bool force;
	bool json;
	bool quiet;
	char *real; /* of the disk; owned */
	struct stat disk_st;
	bool resumes; /* BASE was the disk's second name when it began */
	bool linked;  /* BASE became that by this call */
};

/* -------------------------------------------------------- command line -- */

static const struct cli_set sets[] = {
	{OPT_RENAME, CLI_TAKES(struct snapshot, base)},
	{OPT_PARENT_DIR, CLI_TAKES(struct snapshot, parents.dir)},
	{OPT_LARGER, CLI_SETS(struct snapshot, opts.larger_child)},
	{OPT_JSON, CLI_SETS(struct snapshot, json)},
	{'f', CLI_SETS(struct snapshot, force)},
	{'q', CLI_SETS(struct snapshot, quiet)},
	{0},
};

static int apply(void *into, int id, const char *value)
{
	struct snapshot *s = into;

	(void)id; /* the only one */
	return verb_block_size(s->prog, value, &s->opts.block_size_bytes);
}

/* Returns -1 to go on, or the exit code to end with. */
static int parse(struct snapshot *s, int argc, char **argv)
{
	struct cli_options o = {
		.prog = s->prog,
		.usage = "[options] DISK CHILD | --rename BASE [options] DISK",
		.about = "Keep what a disk holds and go on writing in a child "
			 "of it.",
		.table = options,
		.sets = sets,
		.apply = apply,
		.into = s,
		.argc = argc,
		.argv = argv,
	};
	int status = cli_options_all(&o);

	if (status >= 0)
		return status;
	if (argc - o.first_operand != (s->base ? 1 : 2))
		return cli_usage(s->prog, s->base
						  ? "needs one disk"
						  : "needs a disk and a name "
						    "for its child");
	s->disk = argv[o.first_operand];
	s->child = s->base ? s->disk : argv[o.first_operand + 1];
	return -1;
}

/* ----------------------------------------------------------- the child -- */

static int fail(struct vhd_err *err, int code, const char *what)
{
	return vhd_fail(err, code, VHD_WHY_SYSTEM, 0, "%s: %s", what,
			strerror(-code));
}

/* What is not needed for the disk to be used is tried and no more: the child
 * is to be as usable as the disk is for whom it belongs to.
 */
static void give_away(const struct snapshot *s, int fd)
{
	if (fchown(fd, s->disk_st.st_uid, s->disk_st.st_gid) < 0)
		return;
}

/* Make the child on `parent` in `out`, to be found as `final` later. */
static int fill(struct snapshot *s, struct convert_output *out,
		const char *parent, const char *final, struct vhd_err *err)
{
	struct vhd *img = NULL;
	int rc = verb_new_id(s->opts.unique_id, err);

	if (rc)
		return rc;
	s->opts.format = VHD_FORMAT_DIFF;
	s->opts.now_unix_s = time(NULL);
	s->opts.parent_path = parent;
	s->opts.final_path = final;
	s->opts.parent_dir = s->parents.dir ? s->parents.dir : out->dir;
	rc = vhd_create(out->path, &s->opts, &img, err);
	s->opts.final_path = NULL; /* the caller's */
	if (rc) {
		cli_strip_path(err, out->path);
		return rc;
	}
	s->opts.size_bytes = vhd_get_info(img)->size_bytes;
	return vhd_close(img, err);
}

static int under_its_own_name(struct snapshot *s, struct vhd_err *err)
{
	struct convert_output out;
	char final[PATH_MAX];
	int rc = convert_output_open(&out, s->child, s->force, &s->disk_st, err);

	if (rc)
		return rc;
	if (snprintf(final, sizeof(final), "%s/%s", out.dir, out.name) >=
	    (int)sizeof(final))
		rc = fail(err, -ENAMETOOLONG, "cannot create");
	if (!rc)
		rc = fill(s, &out, s->real, final, err);
	if (!rc)
		rc = convert_output_publish(&out, true, err);
	convert_output_close(&out);
	return rc;
}

/* ------------------------------------------------- under the disk's name -- */

/* Another name of the disk, and no symbolic link to it. */
static bool is_disk(const struct snapshot *s, const char *path)
{
	struct stat st;

	return lstat(path, &st) == 0 && st.st_dev == s->disk_st.st_dev &&
	       st.st_ino == s->disk_st.st_ino;
}

static const char *file_of(const char *path)
{
	const char *slash = strrchr(path, '/');

	return slash ? slash + 1 : path;
}

/* The directory that a path names its file in. */
static int dir_open(const char *path)
{
	char dir[PATH_MAX];

	if (snprintf(dir, sizeof(dir), "%.*s.", (int)(file_of(path) - path),
		     path) >= (int)sizeof(dir)) {
		errno = ENAMETOOLONG;
		return -1;
	}
	return open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
}

/* BASE names the very entry that the child shall take, however it is spelled;
 * or the disk's entries are fewer than its names, as where letters' case does
 * not count.
 */
static int base_check(struct snapshot *s, struct vhd_err *err)
{
	int real = dir_open(s->real), base = dir_open(s->base);
	struct stat a, b;
	bool same;

	if (real < 0 || base < 0 || fstat(real, &a) < 0 || fstat(base, &b) < 0) {
		fail(err, -errno, "cannot examine the directory of BASE");
	} else {
		same = a.st_dev == b.st_dev && a.st_ino == b.st_ino &&
		       !strcmp(file_of(s->real), file_of(s->base));
		s->resumes = is_disk(s, s->base);
		if (same || (s->resumes && s->disk_st.st_nlink < 2))
			vhd_fail(err, -EEXIST, VHD_WHY_UNSUPPORTED, 0,
				 "BASE is its own name; choose another");
		else
			err->code = 0;
	}
	if (real >= 0)
		close(real);
	if (base >= 0)
		close(base);
	return err->code;
}

/* Whoever made BASE may be at work still, and take it back when it fails. Such
 * a call has a lock on the disk; where there are no locks nobody is asked.
 */
static int alone_check(const struct snapshot *s, struct vhd_err *err)
{
	struct flock fl = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
	int fd = open(s->real, O_RDONLY | O_CLOEXEC);
	bool held = fd >= 0 && fcntl(fd, F_OFD_GETLK, &fl) == 0 &&
		    fl.l_type != F_UNLCK;

	if (fd >= 0)
		close(fd);
	if (!held)
		return 0;
	return vhd_fail(err, -EBUSY, VHD_WHY_LOCKED, 0,
			"BASE is its name already, and it is open elsewhere: "
			"close it there first");
}

/* ------------------------------------------- what an interrupted call left -- */

/* As the child is called as long as the disk has its name. */
static bool is_left_name(const struct snapshot *s, const char *file)
{
	const char *name = file_of(s->real);
	size_t n = strnlen(name, CHILD_NAME_BYTES);
	char child[NAME_MAX + 1];
	long long pid;

	if (convert_output_is_temp(file, name))
		return true;
	if (strncmp(file, "..", 2) != 0 || strncmp(file + 2, name, n) != 0 ||
	    sscanf(file + 2 + n, ".child-%lld.", &pid) != 1)
		return false;
	snprintf(child, sizeof(child), "." CHILD_NAME, name, pid);
	return convert_output_is_temp(file, child);
}

/* A file of ours with one name that nobody has open, and in it a child of the
 * disk that nobody has written to: nothing is lost with it.
 */
static bool is_left(int fd, const struct vhd_info *disk)
{
	const struct vhd_open_opts how = {.inspect = true, .force_read = true};
	struct flock fl = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
	const struct vhd_info *info;
	struct vhd_err why;
	char path[64];
	struct stat st;
	struct vhd *img;
	bool left;

	if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode) || st.st_nlink != 1 ||
	    st.st_uid != geteuid() || fcntl(fd, F_OFD_SETLK, &fl) < 0)
		return false;
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	if (vhd_open(path, &how, &img, &why))
		return false;
	info = vhd_get_info(img);
	left = info->format == VHD_FORMAT_DIFF && info->blocks_used == 0 &&
	       !memcmp(info->parent_id, disk->unique_id, 16);
	vhd_abandon(img);
	return left;
}

/* What stays is found again by others_check. */
static void leftovers_remove(const struct snapshot *s, struct vhd *disk)
{
	int dir = dir_open(s->real);
	DIR *d = dir < 0 ? NULL : fdopendir(dir);
	struct dirent *e;

	while (d && (e = readdir(d))) {
		int fd = is_left_name(s, e->d_name)
				 ? openat(dir, e->d_name,
					  O_RDWR | O_NOFOLLOW | O_NONBLOCK |
						  O_CLOEXEC)
				 : -1;

		if (fd >= 0 && is_left(fd, vhd_get_info(disk)))
			(void)unlinkat(dir, e->d_name, 0);
		if (fd >= 0)
			close(fd);
	}
	if (d)
		closedir(d);
	else if (dir >= 0)
		close(dir);
}

/* What looks for the disk by the name that the child gets would find another
 * id there.
 */
static int others_check(struct snapshot *s, struct vhd *disk,
			struct vhd_err *err)
{
	struct json_object *found = cli_json_array();
	char shown[VERB_SHOWN_BYTES];
	struct vhd_layer layer;
	int rc;

	if (!found)
		return vhd_fail(err, -ENOMEM, VHD_WHY_NOMEM, 0,
				"out of memory");
	(void)vhd_layer(disk, 0, &layer);
	layer.path = s->real;
	rc = merge_others_find(&layer, 1, true, found, err);
	if (!rc && cli_json_count(found) && !s->force) {
		const char *path = cli_json_at(found, 0);

		rc = vhd_fail(err, -EBUSY, VHD_WHY_UNSUPPORTED, 0,
			      "%.90s builds on it and would no longer find "
			      "it; --force does it nevertheless",
			      verb_shown(path, shown));
	}
	json_object_put(found);
	return rc;
}

/* ------------------------------------------------------------- the names -- */

static int dir_sync(const char *path, struct vhd_err *err)
{
	char dir[PATH_MAX];
	char *slash;
	int fd, rc = 0;

	snprintf(dir, sizeof(dir), "%s", path);
	slash = strrchr(dir, '/');
	if (slash)
		slash[slash == dir] = '\0';
	fd = open(slash ? dir : ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	/* Some file systems do not sync directories; they say EINVAL. */
	if (fd < 0 || (fsync(fd) < 0 && errno != EINVAL))
		rc = fail(err, -errno, "cannot make its name durable");
	if (fd >= 0)
		close(fd);
	return rc;
}

static int second_name(struct snapshot *s, struct vhd_err *err)
{
	char shown[VERB_SHOWN_BYTES];
	int code;

	if (s->resumes)
		return dir_sync(s->base, err);
	if (linkat(AT_FDCWD, s->real, AT_FDCWD, s->base, 0) == 0) {
		s->linked = true;
		return dir_sync(s->base, err);
	}
	code = -errno;
	verb_shown(s->base, shown);
	if (code == -EEXIST)
		return vhd_fail(err, code, VHD_WHY_UNSUPPORTED, 0,
				"there is a %.90s already; choose another name",
				shown);
	if (code == -EXDEV)
		return vhd_fail(err, code, VHD_WHY_UNSUPPORTED, 0,
				"%.90s is on another file system: that would "
				"take a copy",
				shown);
	if (code == -EPERM || code == -EOPNOTSUPP)
		return vhd_fail(err, code, VHD_WHY_UNSUPPORTED, 0,
				"the file system gives no second name; make "
				"the child under a name of its own");
	return vhd_fail(err, code, VHD_WHY_SYSTEM, 0, "cannot name it %.80s: %s",
			shown, strerror(-code));
}

static int take_name(struct snapshot *s, struct vhd_err *err)
{
	const char *name = file_of(s->real);
	struct convert_output out;
	char path[PATH_MAX];
	int rc;

	if (snprintf(path, sizeof(path), "%.*s" CHILD_NAME,
		     (int)(name - s->real), s->real, name,
		     (long long)getpid()) >= (int)sizeof(path))
		return fail(err, -ENAMETOOLONG, "cannot create");
	rc = convert_output_open(&out, path, false, &s->disk_st, err);
	if (rc)
		return rc;
	rc = fill(s, &out, s->base, s->real, err);
	if (!rc)
		rc = convert_output_take(&out, name, err);
	if (!rc)
		give_away(s, out.fd);
	if (!rc)
		rc = convert_output_publish(&out, true, err);
	convert_output_close(&out);
	return rc;
}

/* Its own name is the disk's still: the second one, made here, may go. Nobody
 * relies on it, for whoever finds it there waits for this call to end.
 */
static void take_back(const struct snapshot *s)
{
	if (s->linked && is_disk(s, s->real))
		(void)unlink(s->base);
}

/* Signals wait: it does not take long. */
static void signals_hold(sigset_t *old)
{
	sigset_t held;

	sigemptyset(&held);
	sigaddset(&held, SIGINT);
	sigaddset(&held, SIGTERM);
	sigaddset(&held, SIGHUP);
	sigprocmask(SIG_BLOCK, &held, old);
}

/* The disk is held, and so locked against writers, until the child has its
 * name.
 */
static int under_the_disks_name(struct snapshot *s, struct vhd_err *err)
{
	struct verb_parents parents = s->parents;
	const struct vhd_open_opts how = {
		.parent_dir = verb_parent_dir(&parents, s->real),
		.larger_child = s->opts.larger_child,
	};
	struct vhd *disk = NULL;
	sigset_t old;
	int rc = base_check(s, err);

	if (!rc && s->resumes)
		rc = alone_check(s, err);
	if (!rc)
		rc = vhd_open(s->real, &how, &disk, err);
	if (!rc && s->resumes)
		leftovers_remove(s, disk);
	if (!rc)
		rc = others_check(s, disk, err);
	if (!rc) {
		signals_hold(&old);
		rc = second_name(s, err);
		if (!rc)
			rc = take_name(s, err);
		if (rc)
			take_back(s);
		sigprocmask(SIG_SETMASK, &old, NULL);
	}
	vhd_abandon(disk);
	verb_parents_fini(&parents);
	return rc;
}

/* -------------------------------------------------------------- the end -- */

static int disk_find(struct snapshot *s, struct vhd_err *err)
{
	s->real = realpath(s->disk, NULL);
	if (!s->real || stat(s->real, &s->disk_st) < 0)
		return fail(err, -errno, "cannot find the disk");
	if (!S_ISREG(s->disk_st.st_mode))
		return vhd_fail(err, -EINVAL, VHD_WHY_NOT_FILE, 0,
				"is not a regular file");
	return 0;
}

static struct json_object *report(const struct snapshot *s)
{
	struct json_object *o = cli_json_object();
	char hex[CLI_ID_TEXT], windows[CLI_ID_TEXT];

	verb_put_text(o, "path", s->child);
	verb_put_text(o, "parent", s->base ? s->base : s->disk);
	verb_put_bool(o, "renamed", s->base != NULL);
	verb_put_number(o, "size", s->opts.size_bytes);
	verb_put_text(o, "id", cli_id_windows(s->opts.unique_id, windows));
	verb_put_text(o, "id-hex", cli_id_hex(s->opts.unique_id, hex));
	return o;
}

static void report_text(const struct snapshot *s)
{
	char size[CLI_SIZE_TEXT], shown[2][VERB_SHOWN_BYTES];

	cli_size_text(s->opts.size_bytes, size, sizeof(size));
	printf("%s: differencing, %s, on %s%s\n",
	       verb_shown(s->child, shown[0]), size,
	       verb_shown(s->base ? s->base : s->disk, shown[1]),
	       s->base ? ", which is the disk that had this name" : "");
}

/* With --rename the disk gets a second name, and the child its first. */
static int sandbox(struct snapshot *v)
{
	struct sandbox s = {.role = SANDBOX_WRITER};

	sandbox_allow_image(&s, v->disk, verb_parent_dir(&v->parents, v->disk));
	sandbox_allow_dir_of(&s, v->child, SANDBOX_MAKE);
	sandbox_allow_dir_of(&s, v->base, SANDBOX_MAKE);
	verb_parents_fini(&v->parents);
	return sandbox_enter(&s, v->prog);
}

int verb_snapshot(const char *prog, int argc, char **argv)
{
	struct snapshot s = {.prog = prog};
	struct json_object *root = NULL;
	struct vhd_err err = {0};
	int status = parse(&s, argc, argv);
	int rc;

	if (status >= 0)
		return status;
	status = sandbox(&s);
	if (status != CLI_OK)
		return status;
	rc = disk_find(&s, &err);
	if (!rc)
		rc = s.base ? under_the_disks_name(&s, &err)
			    : under_its_own_name(&s, &err);
	free(s.real);
	if (rc)
		return cli_fail(prog, s.child, &err);
	if (s.json)
		root = report(&s);
	else if (!s.quiet)
		report_text(&s);
	return cli_json_end(prog, root, CLI_OK);
}

/* SPDX-License-Identifier: BSD-2-Clause */
/* The destination: a file without a name (O_TMPFILE) in the directory it is
 * going to live in, so that nothing is left behind however the program ends.
 * Where the file system has no such files, one with a dot name, removed again
 * on failure. It is linked or renamed to its name only when its content is
 * durable, and the directory is synced after that.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "convert.h"

/* Names tried for a temporary one before giving up. */
#define TEMP_TRIES 100

/* As much of a name as its temporary one has. */
#define TEMP_NAME_BYTES 200

static int fail(struct vhd_err *err, int code, const char *what)
{
	return vhd_fail(err, code, VHD_WHY_SYSTEM, 0, "%s: %s", what,
			strerror(-code));
}

/* Refuse what must not be replaced. A symbolic link is followed: its target
 * is what the user means.
 */
static int existing_check(const struct stat *st, const struct stat *src,
			  bool force, struct vhd_err *err)
{
	if (st->st_dev == src->st_dev && st->st_ino == src->st_ino)
		return vhd_fail(err, -EINVAL, VHD_WHY_ARGUMENT, 0,
				"is the very file to read from");
	if (S_ISDIR(st->st_mode))
		return vhd_fail(err, -EISDIR, VHD_WHY_NOT_FILE, 0,
				"is a directory");
	if (!S_ISREG(st->st_mode))
		return vhd_fail(err, -EINVAL, VHD_WHY_NOT_FILE, 0,
				"is not a regular file");
	if (!force)
		return vhd_fail(err, -EEXIST, VHD_WHY_SYSTEM, 0,
				"exists already");
	return 0;
}

/* Split `path` into directory and name; both owned by `out`. */
static int split(struct convert_output *out, const char *path,
		 struct vhd_err *err)
{
	const char *slash = strrchr(path, '/');
	const char *name = slash ? slash + 1 : path;

	if (!*name)
		return vhd_fail(err, -EISDIR, VHD_WHY_NOT_FILE, 0, "%s",
				*path ? "ends in a slash, so it names a "
					"directory"
				      : "an empty name");
	if (!slash)
		out->dir = strdup(".");
	else
		out->dir = strndup(path, slash == path ? 1
						       : (size_t)(slash - path));
	out->name = strdup(name);
	if (!out->dir || !out->name)
		return vhd_fail(err, -ENOMEM, VHD_WHY_NOMEM, 0,
				"out of memory");
	return 0;
}

/* Whoever uses the old file would go on writing to a file without a name. The
 * lock is held until the new one is in its place. One that we may not write to
 * is replaced without: that takes a right to its directory only.
 */
static int old_lock(struct convert_output *out, const char *real,
		    struct vhd_err *err)
{
	struct flock fl = {.l_type = F_WRLCK, .l_whence = SEEK_SET};

	out->old_fd = open(real, O_RDWR | O_NOFOLLOW | O_CLOEXEC);
	if (out->old_fd < 0 || fcntl(out->old_fd, F_OFD_SETLK, &fl) == 0)
		return 0;
	if (errno == EAGAIN || errno == EACCES)
		return vhd_fail(err, -EBUSY, VHD_WHY_LOCKED, 0,
				"is in use; close it there first");
	return 0; /* no locks on this file system */
}

static int locate(struct convert_output *out, const char *path, bool force,
		  const struct stat *src, struct vhd_err *err)
{
	struct stat st;
	char *real;
	int rc;

	if (stat(path, &st) < 0 && errno != ENOENT)
		return fail(err, -errno, "cannot examine");
	if (lstat(path, &st) < 0)
		return split(out, path, err);
	real = realpath(path, NULL);
	if (!real)
		return fail(err, -errno, "cannot follow this link");
	rc = stat(real, &st) < 0 ? fail(err, -errno, "cannot examine")
				 : existing_check(&st, src, force, err);
	if (!rc)
		rc = split(out, real, err);
	if (!rc)
		rc = old_lock(out, real, err);
	free(real);
	return rc;
}

/* A name in the directory that nobody has: ".NAME.xxxxxx". */
static void temp_name(struct convert_output *out, unsigned try)
{
	unsigned long long salt = (unsigned long long)cli_now_ms() * 1000 + try;

	snprintf(out->temp, sizeof(out->temp), ".%.*s.%06llx",
		 TEMP_NAME_BYTES, out->name,
		 (salt ^ ((unsigned long long)getpid() << 8)) & 0xffffff);
}

bool convert_output_is_temp(const char *file, const char *name)
{
	size_t n = strnlen(name, TEMP_NAME_BYTES);

	if (file[0] != '.' || strncmp(file + 1, name, n) != 0 ||
	    file[n + 1] != '.')
		return false;
	file += n + 2;
	return strlen(file) == 6 && strspn(file, "0123456789abcdef") == 6;
}

static int temp_open(struct convert_output *out, mode_t mode)
{
	for (unsigned i = 0; i < TEMP_TRIES; i++) {
		temp_name(out, i);
		out->fd = openat(out->dir_fd, out->temp,
				 O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, mode);
		if (out->fd >= 0 || errno != EEXIST)
			break;
	}
	if (out->fd < 0)
		out->temp[0] = '\0';
	return out->fd < 0 ? -errno : 0;
}

static int file_open(struct convert_output *out, mode_t mode)
{
	out->fd = openat(out->dir_fd, ".", O_TMPFILE | O_RDWR | O_CLOEXEC,
			 mode);
	if (out->fd >= 0)
		return 0;
	/* No nameless files here: old kernels say EISDIR or ENOENT. */
	if (errno == EOPNOTSUPP || errno == EISDIR || errno == ENOENT ||
	    errno == EINVAL)
		return temp_open(out, mode);
	return -errno;
}

/* The same name each time, and whatever is there already. */
static int partial_open(struct convert_output *out, mode_t mode)
{
	struct stat st;

	/* Its journal's name is longer still. */
	if (snprintf(out->temp, sizeof(out->temp), ".%s.partial.journal",
		     out->name) >= (int)sizeof(out->temp)) {
		out->temp[0] = '\0';
		return -ENAMETOOLONG;
	}
	snprintf(out->temp, sizeof(out->temp), ".%s.partial", out->name);
	out->keep = true;
	out->fd = openat(out->dir_fd, out->temp,
			 O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, mode);
	if (out->fd < 0 || fstat(out->fd, &st) < 0)
		return -errno;
	return S_ISREG(st.st_mode) && st.st_uid == geteuid() ? 0 : -EPERM;
}

static int open_by(struct convert_output *out, const char *path, bool force,
		   const struct stat *src,
		   int (*make)(struct convert_output *out, mode_t mode),
		   struct vhd_err *err)
{
	/* Who may not read the source may not read its copy. A block
	 * device's permissions say nothing about files.
	 */
	mode_t mode = S_ISREG(src->st_mode) ? (src->st_mode & 0666) | 0600
					    : 0600;
	int rc;

	*out = (struct convert_output){ .dir_fd = -1, .fd = -1, .old_fd = -1 };
	out->replace = force;
	rc = locate(out, path, force, src, err);
	if (!rc)
		rc = convert_proc_check(err);
	if (rc)
		goto out;
	out->dir_fd = open(out->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	rc = out->dir_fd < 0 ? -errno : make(out, mode);
	if (rc) {
		fail(err, rc, "cannot create");
		goto out;
	}
	snprintf(out->path, sizeof(out->path), "/proc/self/fd/%d", out->fd);
out:
	if (rc)
		convert_output_close(out);
	return rc;
}

int convert_output_open(struct convert_output *out, const char *path,
			bool force, const struct stat *src,
			struct vhd_err *err)
{
	return open_by(out, path, force, src, file_open, err);
}

int convert_output_open_partial(struct convert_output *out, const char *path,
				bool force, const struct stat *src,
				struct vhd_err *err)
{
	return open_by(out, path, force, src, partial_open, err);
}

/* Give the nameless file a name; -EEXIST when it is taken. */
static int link_as(const struct convert_output *out, const char *name)
{
	if (linkat(AT_FDCWD, out->path, out->dir_fd, name,
		   AT_SYMLINK_FOLLOW) < 0)
		return -errno;
	return 0;
}

/* For --force: a link cannot replace a file, a rename can. */
static int temp_link(struct convert_output *out)
{
	int rc = -EEXIST;

	for (unsigned i = 0; i < TEMP_TRIES && rc == -EEXIST; i++) {
		temp_name(out, i);
		rc = link_as(out, out->temp);
	}
	if (rc)
		out->temp[0] = '\0';
	return rc;
}

static int rename_to(struct convert_output *out)
{
	unsigned flags = out->replace ? 0 : RENAME_NOREPLACE;

	if (renameat2(out->dir_fd, out->temp, out->dir_fd, out->name,
		      flags) == 0) {
		out->temp[0] = '\0';
		return 0;
	}
	if (errno != EINVAL || out->replace)
		return -errno;
	/* A file system without RENAME_NOREPLACE: a link does not replace. */
	if (linkat(out->dir_fd, out->temp, out->dir_fd, out->name, 0) < 0)
		return -errno;
	return 0; /* the temporary name goes with convert_output_close */
}

static int name_it(struct convert_output *out)
{
	int rc;

	if (!out->temp[0]) {
		rc = link_as(out, out->name);
		if (rc != -EEXIST || !out->replace)
			return rc;
		rc = temp_link(out);
		if (rc)
			return rc;
	}
	return rename_to(out);
}

int convert_output_take(struct convert_output *out, const char *name,
			struct vhd_err *err)
{
	char *copy = strdup(name);

	if (!copy)
		return vhd_fail(err, -ENOMEM, VHD_WHY_NOMEM, 0,
				"out of memory");
	free(out->name);
	out->name = copy;
	out->replace = true;
	return 0;
}

int convert_output_publish(struct convert_output *out, bool durable,
			   struct vhd_err *err)
{
	int rc;

	if (durable && fsync(out->fd) < 0)
		return fail(err, -errno, "cannot make the file durable");
	rc = name_it(out);
	if (rc == -EEXIST)
		return vhd_fail(err, rc, VHD_WHY_SYSTEM, 0,
				"appeared meanwhile");
	if (rc)
		return fail(err, rc, "cannot name the finished file");
	/* Some file systems do not sync directories; they say EINVAL. */
	if (durable && fsync(out->dir_fd) < 0 && errno != EINVAL)
		return fail(err, -errno,
			    "is complete and in place, but its name may not "
			    "survive a power cut: cannot sync the directory");
	return 0;
}

void convert_output_close(struct convert_output *out)
{
	if (out->temp[0] && !out->keep)
		(void)unlinkat(out->dir_fd, out->temp, 0);
	if (out->fd >= 0)
		close(out->fd);
	if (out->dir_fd >= 0)
		close(out->dir_fd);
	if (out->old_fd >= 0)
		close(out->old_fd);
	free(out->dir);
	free(out->name);
	*out = (struct convert_output){ .dir_fd = -1, .fd = -1, .old_fd = -1 };
}

/* SPDX-License-Identifier: BSD-2-Clause */
/* From a child to the file of its parent.
 *
 * The names an image carries are hostile: each is only a place to look at,
 * opened by the kernel beneath the one directory the caller allowed, whatever
 * `..` and symbolic links it passes. A file counts only if its id is the one
 * the child asks for; where several are named, the first that counts is taken.
 * A file of the right name that is damaged, locked or unreadable ends the
 * search: another file must not quietly take its place.
 * Source: VHD specification 1.0, "Parent Locator Entries"; the order is that
 * of what stays true when images are moved together.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "fail.h"
#include "filesys.h"
#include "image.h"
#include "locator.h"
#include "nbd.h"
#include "relate.h"
#include "split.h"

#define RETRIES_MAX  64 /* of openat2, which may see a rename in between */
#define EPOCH_2000_S 946684800
/* Every kind of locator once a slot, and the name field. */
#define NAMES_MAX (VHD_LOCATORS + 1)

struct search {
	struct vhd *top;
	struct vhd *child;
	const struct vhd_open_opts *opts;
	char *root; /* absolute path of the allowed directory */
	int root_fd;
	char *dir;    /* the child's, relative to root; "" for root */
	bool outside; /* a name led out of the root */
	bool other;   /* a file had the name, but not the id */
	char last[VHD_PARENT_PATH_MAX]; /* the first name, for the message */
};

/* ----------------------------------------------------------- the names -- */

/* In the order they are tried. */
static const uint32_t platforms[] = {
	VHD_LOCATOR_W2RU, VHD_LOCATOR_WI2R, VHD_LOCATOR_MACX,
	VHD_LOCATOR_W2KU, VHD_LOCATOR_WI2K,
};

/* One locator's path; empty where it has none that can be used. */
static int locator_name(const struct vhd *child, const struct vhd_locator *l,
			char *out, size_t cap, struct vhd_err *err)
{
	uint8_t *payload = malloc(l->len_bytes);
	int rc;

	out[0] = '\0';
	if (!payload)
		return vhd_fail_nomem(err, l->len_bytes, "the parent's name");
	rc = vhd_file_read(&child->file, payload, l->len_bytes, l->off_bytes,
			   err);
	if (!rc &&
	    vhd_locator_path(l->platform, payload, l->len_bytes, out, cap) < 0)
		out[0] = '\0';
	free(payload);
	return rc;
}

static bool known(char names[][VHD_PARENT_PATH_MAX], unsigned count)
{
	for (unsigned i = 0; i < count; i++)
		if (!strcmp(names[i], names[count]))
			return true;
	return false;
}

/* All names of a child's parent, each once. Returns how many, or an error. */
static int names_of(const struct vhd *child,
		    char names[NAMES_MAX][VHD_PARENT_PATH_MAX],
		    struct vhd_err *err)
{
	unsigned n = 0;

	for (size_t p = 0; p < sizeof(platforms) / sizeof(platforms[0]); p++)
		for (uint32_t i = 0; i < child->locator_count; i++) {
			const struct vhd_locator *l = &child->locator[i];
			int rc;

			if (l->platform != platforms[p])
				continue;
			rc = locator_name(child, l, names[n],
					  VHD_PARENT_PATH_MAX, err);
			if (rc)
				return rc;
			if (names[n][0] && !known(names, n))
				n++;
		}
	if (vhd_parent_name_path(child->info.parent_name_utf16be, names[n],
				 VHD_PARENT_PATH_MAX) > 0 &&
	    !known(names, n))
		n++;
	return (int)n;
}

int vhd_parent_path(const struct vhd *img, unsigned i, char *buf, size_t n)
{
	char(*names)[VHD_PARENT_PATH_MAX] = calloc(NAMES_MAX, sizeof(*names));
	const struct vhd *low = vhd_get_layer(img, img->info.layers - 1);
	int rc = names ? names_of(low, names, NULL) : -ENOMEM;

	if (rc >= 0 &&
	    (low->info.format != VHD_FORMAT_DIFF || i >= (unsigned)rc))
		rc = -ENOENT;
	if (rc >= 0) {
		size_t len = strlen(names[i]);

		rc = len < n ? (int)len : -ENAMETOOLONG;
		if (rc >= 0)
			memcpy(buf, names[i], len + 1);
	}
	free(names);
	return rc;
}

/* ----------------------------------------------------------- the files -- */

static int open_beneath(int root_fd, const char *path, uint64_t flags)
{
	struct open_how how = {
		.flags = flags | O_CLOEXEC | O_NOCTTY,
		.resolve = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS,
	};
	int tries = 0;
	long fd;

	do
		fd = syscall(SYS_openat2, root_fd, path, &how, sizeof(how));
	while (fd < 0 && (errno == EINTR || errno == EAGAIN) &&
	       ++tries < RETRIES_MAX);
	return fd < 0 ? -errno : (int)fd;
}

/* "DIR/NAME", or NAME below the root itself. */
static char *join(const char *dir, const char *name)
{
	size_t a = strlen(dir), b = strlen(name);
	char *path = malloc(a + b + 2);

	if (!path)
		return NULL;
	memcpy(path, dir, a);
	if (a && dir[a - 1] != '/')
		path[a++] = '/';
	memcpy(path + a, name, b + 1);
	return path;
}

/* The layer whose very file this is, or NULL. */
static const struct vhd *same_file(const struct vhd *top, int fd)
{
	struct stat a, b;

	if (fstat(fd, &a) < 0)
		return NULL;
	for (const struct vhd *l = top; l; l = l->parent)
		if (fstat(l->file.fd, &b) == 0 && a.st_dev == b.st_dev &&
		    a.st_ino == b.st_ino)
			return l;
	return NULL;
}

/* A further part of a parent that is a split set; `name` is absolute. */
static int part_open(void *ctx, const char *name, struct vhd_file *out,
		     struct vhd_err *err)
{
	const struct search *s = ctx;
	const struct vhd_file_open how = {.no_lock = s->opts->force_read};
	const char *rel = name + strlen(s->root);
	int fd = open_beneath(s->root_fd, rel + strspn(rel, "/"),
			      O_RDONLY | O_NONBLOCK);

	if (fd < 0)
		return vhd_fail(err, fd, vhd_system_why(fd), 0,
				"cannot open %.80s: %s", name,
				vhd_errno_text(fd));
	return vhd_file_adopt(fd, name, &how, out, err);
}

static int open_image(struct search *s, int fd, const char *path,
		      struct vhd **out, struct vhd_err *err)
{
	const struct vhd_split_dir dir = {.open = part_open, .ctx = s};
	bool raw = vhd_chain_wants_raw(s->child);
	const struct vhd_open_opts opts = {
		.format = raw ? VHD_FORMAT_RAW : VHD_FORMAT_AUTO,
		.direct = s->opts->direct,
		.force_read = s->opts->force_read,
		.larger_child = s->opts->larger_child,
		.raw_parent = s->opts->raw_parent,
		.parent_dir = s->opts->parent_dir,
	};
	const struct vhd_file_open how = {
		.direct = s->opts->direct,
		.no_lock = s->opts->force_read,
	};
	struct vhd_file f;
	int rc = vhd_file_adopt(fd, path, &how, &f, err);

	if (rc)
		return rc;
	if (!raw)
		rc = vhd_split_gather(&f, path, &dir, false, err);
	if (!rc)
		rc = vhd_open_file(&f, &opts, out, err);
	if (rc)
		vhd_file_close(&f);
	return rc;
}

/* What says only that the parent is not this one. */
static bool passes(enum vhd_why why)
{
	return why == VHD_WHY_NOT_VHD || why == VHD_WHY_TOO_SMALL ||
	       why == VHD_WHY_NOT_FILE || why == VHD_WHY_IS_VHDX ||
	       why == VHD_WHY_PARENT_ID;
}

static void note_time(struct vhd *child, const struct vhd *parent)
{
	struct stat st;

	if (!child->info.parent_timestamp_s || fstat(parent->file.fd, &st) < 0)
		return;
	if (st.st_mtim.tv_sec - EPOCH_2000_S !=
	    (int64_t)child->info.parent_timestamp_s)
		child->info.notes |= VHD_NOTE_PARENT_TIME;
}

/* Open a file found and make it the parent; takes `fd` and `path`. */
static int link_file(struct search *s, int fd, char *path, struct vhd_err *err)
{
	struct vhd_err why;
	struct vhd *img;
	int rc = open_image(s, fd, path, &img, &why);

	if (rc) {
		const char *name = strrchr(path, '/') + 1;

		vhd_fail(err, rc, why.why, why.at_bytes, "parent %.40s: %.110s",
			 name, why.text);
		free(path);
		return rc;
	}
	img->path = path;
	rc = vhd_chain_link(s->top, s->child, img, err);
	if (rc)
		vhd_abandon(img);
	else
		note_time(s->child, img);
	return rc;
}

/* Judge an open file. 1: the parent, linked; 0: not it; or an error. Takes
 * `fd` and `path`.
 */
static int try_file(struct search *s, int fd, char *path, struct vhd_err *err)
{
	const struct vhd *layer = same_file(s->top, fd);
	int rc;

	if (layer) {
		close(fd);
		free(path);
		s->other = true;
		if (memcmp(layer->info.unique_id, s->child->info.parent_id, 16))
			return 0;
		return vhd_fail(err, -EUCLEAN, VHD_WHY_CHAIN_CYCLE, 0,
				"the image is among its own ancestors");
	}
	rc = link_file(s, fd, path, err);
	if (!rc)
		return 1;
	if (!passes(err->why))
		return rc;
	s->other = true;
	return 0;
}

/* A name below the root. 1: the parent; 0: not there, or not it. */
static int try_path(struct search *s, const char *rel, struct vhd_err *err)
{
	char *path = join(s->root, rel);
	int fd;

	if (!path)
		return vhd_fail_nomem(err, strlen(rel), "a path");
	fd = open_beneath(s->root_fd, rel, O_RDONLY | O_NONBLOCK);
	if (fd >= 0)
		return try_file(s, fd, path, err);
	free(path);
	switch (-fd) {
	case EXDEV:
	case ELOOP:
		s->outside = true;
		return 0;
	case ENOENT:
	case ENOTDIR:
	case ENAMETOOLONG:
	case ENXIO: /* a socket */
		return 0;
	default:
		return vhd_fail(err, fd, vhd_system_why(fd), 0,
				"cannot open the parent %.80s: %s", rel,
				vhd_errno_text(fd));
	}
}

/* Windows' names do not care about case. Only ASCII is folded: what else is
 * the same depends on the volume the image came from.
 */
static bool same_but_case(const char *a, const char *b)
{
	for (; *a && *b; a++, b++) {
		unsigned char x = (unsigned char)*a, y = (unsigned char)*b;

		x = x >= 'A' && x <= 'Z' ? x | 0x20 : x;
		y = y >= 'A' && y <= 'Z' ? y | 0x20 : y;
		if (x != y)
			return false;
	}
	return *a == *b;
}

static int cannot_search(const struct search *s, int code, const char *where,
			 struct vhd_err *err)
{
	if (code == -ENOMEM)
		return vhd_fail_nomem(err, 0, "a directory");
	return vhd_fail(err, code, vhd_system_why(code), 0,
			"cannot search %.60s/%.60s for the parent: %s", s->root,
			where, vhd_errno_text(code));
}

static int try_entries(struct search *s, DIR *dir, const char *where,
		       const char *name, struct vhd_err *err)
{
	struct dirent *e;
	int rc = 0;

	while (!rc) {
		char *rel;

		errno = 0;
		e = readdir(dir);
		if (!e && errno)
			return cannot_search(s, -errno, where, err);
		if (!e)
			break;

		/* The exact name was tried already. */
		if (!same_but_case(e->d_name, name) || !strcmp(e->d_name, name))
			continue;
		rel = join(where, e->d_name);
		if (!rel)
			return vhd_fail_nomem(err, strlen(name), "a path");
		rc = try_path(s, rel, err);
		free(rel);
	}
	return rc;
}

/* A directory below the root, for its names. `*dir` stays NULL where there is
 * none that may be read.
 */
static int dir_open(const struct search *s, const char *where, DIR **dir,
		    struct vhd_err *err)
{
	int fd = open_beneath(s->root_fd, *where ? where : ".",
			      O_RDONLY | O_DIRECTORY);
	int rc;

	*dir = NULL;
	switch (fd < 0 ? -fd : 0) {
	case 0:
		break;
	case EXDEV:
	case ELOOP:
	case ENOENT:
	case ENOTDIR:
	case ENAMETOOLONG:
	case EACCES:
		return 0;
	default:
		return cannot_search(s, fd, where, err);
	}
	*dir = fdopendir(fd);
	if (*dir)
		return 0;
	rc = -errno;
	close(fd);
	return cannot_search(s, rc, where, err);
}

/* The same name in another case, in the directory where it should be. */
static int try_folded(struct search *s, const char *rel, struct vhd_err *err)
{
	char *where = strdup(rel), *slash;
	const char *name = rel;
	DIR *dir;
	int rc;

	if (!where)
		return vhd_fail_nomem(err, strlen(rel), "a path");
	slash = strrchr(where, '/');
	if (slash) {
		*slash = '\0';
		name = rel + (slash - where) + 1;
	} else {
		*where = '\0';
	}
	rc = dir_open(s, where, &dir, err);
	if (!rc && dir)
		rc = try_entries(s, dir, where, name, err);
	if (dir)
		closedir(dir);
	free(where);
	return rc;
}

/* ------------------------------------------------------ one generation -- */

/* Where the child lies below the root. Its path is absolute and resolved. */
static int child_dir(struct search *s, struct vhd_err *err)
{
	size_t n = strcmp(s->root, "/") ? strlen(s->root) : 0;
	const char *path = s->child->path;
	char *slash;

	/* What is on a server has its parents in the directory itself. */
	if (vhd_nbd_of(&s->child->file)) {
		s->dir = strdup("");
		return s->dir ? 0 : vhd_fail_nomem(err, 1, "a path");
	}
	if (!vhd_path_below(path, s->root))
		return vhd_fail(err, -EINVAL, VHD_WHY_ARGUMENT, 0,
				"the image is not below %.80s, where its "
				"parents may be",
				s->root);
	s->dir = strdup(path + n + 1);
	if (!s->dir)
		return vhd_fail_nomem(err, strlen(path), "a path");
	slash = strrchr(s->dir, '/');
	if (slash)
		*slash = '\0';
	else
		s->dir[0] = '\0';
	return 0;
}

static int nothing_found(const struct search *s, struct vhd_err *err)
{
	if (s->other)
		return vhd_fail(err, -EUCLEAN, VHD_WHY_PARENT_ID, 0,
				"the parent is missing: %.60s is not the disk "
				"it was made on",
				s->last);
	return vhd_fail(err, -ENOENT, VHD_WHY_PARENT_MISSING, 0,
			"the parent %.50s is missing below %.50s%s", s->last,
			s->root,
			s->outside ? "; a name that leads out of there is not "
				     "followed"
				   : "");
}

static int try_names(struct search *s, char names[][VHD_PARENT_PATH_MAX],
		     int count,
		     int (*attempt)(struct search *, const char *,
				    struct vhd_err *),
		     struct vhd_err *err)
{
	int rc = 0;

	for (int i = 0; !rc && i < count; i++) {
		char *rel = join(s->dir, names[i]);

		if (!rel)
			return vhd_fail_nomem(err, VHD_PARENT_PATH_MAX,
					      "a path");
		rc = attempt(s, rel, err);
		free(rel);
	}
	return rc;
}

/* Its content would be that of whatever file the child names: no id tells. */
static int raw_check(const struct search *s, struct vhd_err *err)
{
	if (s->opts->raw_parent || !vhd_chain_wants_raw(s->child))
		return 0;
	return vhd_fail(err, -ENOTSUP, VHD_WHY_PARENT_RAW, 0,
			"blktap made it on a raw disk, which no id tells from "
			"any other file");
}

/* Find the parent of `s->child` and link it. */
static int one_parent(struct search *s, struct vhd_err *err)
{
	char(*names)[VHD_PARENT_PATH_MAX] = calloc(NAMES_MAX, sizeof(*names));
	int count, rc = names ? child_dir(s, err)
			      : vhd_fail_nomem(err, NAMES_MAX, "names");

	s->outside = s->other = false;
	if (!rc)
		rc = raw_check(s, err);
	if (rc)
		goto out;
	count = names_of(s->child, names, err);
	if (count < 0) {
		rc = count;
		goto out;
	}
	memcpy(s->last, count ? names[0] : "(no name)",
	       count ? sizeof(s->last) : sizeof("(no name)"));
	rc = try_names(s, names, count, try_path, err);
	if (!rc)
		rc = try_names(s, names, count, try_folded, err);
	rc = rc > 0 ? 0 : rc < 0 ? rc : nothing_found(s, err);
out:
	free(names);
	free(s->dir);
	s->dir = NULL;
	return rc;
}

int vhd_path_note(struct vhd *img, const char *path)
{
	if (!vhd_nbd_of(&img->file))
		return vhd_path_resolve(path, &img->path);
	img->path = strdup(path);
	return img->path ? 0 : -ENOMEM;
}

/* A lost symlink race leaves a path that does not name the open file; then
 * only the file's own place is wrong, and the ids still decide.
 */
static int search_open(struct search *s, const char *path, struct vhd_err *err)
{
	int rc;

	rc = vhd_path_note(s->top, path);
	if (!rc)
		rc = vhd_path_resolve(s->opts->parent_dir, &s->root);
	if (rc) {
		if (rc == -ENOMEM)
			return vhd_fail_nomem(err, strlen(path), "a path");
		return vhd_fail(err, rc, vhd_system_why(rc), 0,
				"cannot find %.80s: %s",
				s->top->path ? s->opts->parent_dir : path,
				vhd_errno_text(rc));
	}
	s->root_fd = vhd_open_retry(s->root, O_PATH | O_DIRECTORY);
	if (s->root_fd < 0) {
		rc = s->root_fd;
		return vhd_fail(err, rc, vhd_system_why(rc), 0,
				"cannot open %.80s: %s", s->root,
				vhd_errno_text(rc));
	}
	return 0;
}

int vhd_parents_open(struct vhd *top, const char *path,
		     const struct vhd_open_opts *opts, struct vhd_err *err)
{
	struct search s = {
		.top = top,
		.child = top,
		.opts = opts,
		.root_fd = -1,
	};
	struct vhd_err fault;
	int rc = search_open(&s, path, &fault);

	/* Every turn adds a layer, and no more than VHD_CHAIN_MAX link. */
	while (!rc && s.child->info.format == VHD_FORMAT_DIFF) {
		rc = one_parent(&s, &fault);
		if (!rc)
			s.child = s.child->parent;
	}
	if (s.root_fd >= 0)
		close(s.root_fd);
	free(s.root);
	return rc ? vhd_tolerate(&top->info, opts->inspect, &fault, err) : 0;
}

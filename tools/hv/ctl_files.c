/* SPDX-License-Identifier: BSD-2-Clause */
/* hv ctl: the image that is to be added, as descriptors for hv, which may open
 * nothing: its files are opened here, with its parents; for what is on a server
 * there is a socket whose other end connects to it (ctl_link.c), and hv looks at
 * the image itself.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "ctl.h"
#include "tools/sandbox/sandbox.h"

/* Where an image on a server has to be looked at before hv has it. */
#define LOOK_MS 10000u

static const char prog[] = "hv ctl";

/* ---------------------------------------------------------------- words -- */

static bool remote(const char *path)
{
	return path && vhd_is_nbd_uri(path);
}

static bool any_remote(const struct hv_disk_arg *d)
{
	return remote(d->path) || remote(d->parent);
}

static bool wants_tls(const char *path)
{
	return remote(path) && strncmp(path, "nbds", 4) == 0;
}

/* What this disk cannot be, or CLI_OK. */
static int words_check(const struct hv_disk_arg *d, bool disc)
{
	if (wants_tls(d->path) || wants_tls(d->parent))
		return cli_usage(prog, "%s: TLS to a server does not work in "
				       "the sandbox of hv: have a tunnel in "
				       "between, and add its other end",
				 wants_tls(d->path) ? d->path : d->parent);
	if ((d->reconnect_ms || d->answer_ms) && !any_remote(d))
		return cli_usage(prog, "%s: reconnect= and answer= are for "
				       "disks on a server", d->path);
	if (disc && d->placed)
		return cli_usage(prog, "%s: DISK says which drive; no "
				       "controller= or ide=", d->path);
	if (hv_is_ide(d->controller))
		return cli_usage(prog, "%s: a disk on IDE can be given to hv "
				       "run only", d->path);
	if (d->dvd && !disc)
		return cli_usage(prog, "%s: a DVD drive can be given to hv run "
				       "only", d->path);
	if (d->keeper_path && disc)
		return cli_usage(prog, "%s: pr= is for disks", d->path);
	if (d->direct && disc)
		return cli_usage(prog, "%s: direct is for disks", d->path);
	return CLI_OK;
}

int ctl_files_words(const char *text, struct ctl_request *r,
		    struct ctl_files *f)
{
	const struct hv_disk_arg *d = &f->disk;
	bool disc = r->command == CTL_CHANGE;
	char *real;
	int status;

	f->link_fd = f->parent_fd = -1;
	f->disk.dvd = disc;
	status = hv_disk_arg_parse(text, &f->disk);
	if (status == CLI_OK)
		status = words_check(d, disc);
	if (status)
		return status;
	r->keeper = d->keeper_path;
	r->direct = d->direct && !remote(d->path);
	if (d->controller)
		r->controller = d->controller;
	r->read_only = d->read_only;
	r->format = d->format;
	r->unmap = d->unmap;
	r->sector_bytes = d->sector_bytes;
	r->physical_bytes = d->physical_bytes;
	r->limits = d->limits;
	r->on_error = d->on_error;
	r->reconnect_ms = d->reconnect_ms;
	r->answer_ms = d->answer_ms;
	r->set = CTL_SET_ALL;
	real = remote(d->path) ? NULL : realpath(d->path, NULL);
	(void)stpncpy(r->name, real ? real : d->path, sizeof(r->name) - 1);
	free(real);
	cli_text_clean(r->name);
	return CLI_OK;
}

/* -------------------------------------------------------------- servers -- */

int ctl_files_link(struct ctl_files *f, struct vhd_err *err)
{
	int rc = 0;

	if (remote(f->disk.path))
		rc = ctl_link_start(f->disk.path, &f->link_fd, err);
	if (rc == 0 && remote(f->disk.parent))
		rc = ctl_link_start(f->disk.parent, &f->parent_fd, err);
	return rc;
}

void ctl_files_allow(const struct ctl_files *f, struct sandbox *s)
{
	const struct hv_disk_arg *d = &f->disk;
	char *dir = remote(d->path) ? NULL : cli_parent_dir(d->path);

	sandbox_allow_image(s, d->path, dir);
	free(dir);
	if (!remote(d->path))
		sandbox_allow(s, d->path,
			      d->read_only ? SANDBOX_READ : SANDBOX_CHANGE);
	if (d->parent) {
		dir = remote(d->parent) ? NULL : cli_parent_dir(d->parent);
		sandbox_allow_image(s, d->parent, dir);
		free(dir);
	}
	if (d->keeper_path)
		sandbox_allow_dir_of(s, d->keeper_path, SANDBOX_MAKE);
}

/* ---------------------------------------------------------- descriptors -- */

static int room_check(const struct ctl_files *f, struct vhd_err *err)
{
	if (f->count == CTL_FILES_MAX)
		return vhd_fail(err, -EUCLEAN, VHD_WHY_CHAIN_DEPTH, 0,
				"a running guest takes no more than %u images "
				"that stand on one another", CTL_FILES_MAX);
	return 0;
}

static int file_open(struct ctl_files *f, const char *path, int mode,
		     struct vhd_err *err)
{
	int fd, rc = room_check(f, err);

	if (rc)
		return rc;
	fd = open(path, mode | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	if (fd < 0)
		return vhd_fail(err, -errno, VHD_WHY_SYSTEM, 0,
				"cannot open %.100s: %s%s", path,
				strerror(errno),
				mode & O_DIRECT && errno == EINVAL
					? "; its file system has no direct "
					  "transfers"
					: "");
	f->fd[f->count++] = fd;
	return 0;
}

/* As hv_disks_open does it; `name` is what hv will know the image by. */
static int keeper_open(struct ctl_files *f, const char *name,
		       const struct vhd_info *info, struct vhd_err *err)
{
	uint8_t id[16];
	struct vhd_err why;
	int fd, rc = room_check(f, err);

	if (rc)
		return rc;
	hv_disk_id(name, info, id);
	fd = hv_keeper_file(f->disk.keeper_path, id, &f->made, &why);
	if (fd < 0)
		return vhd_fail(err, fd, why.why, 0, "pr=%.50s: %.60s",
				f->disk.keeper_path, why.text);
	f->fd[f->count++] = fd;
	return 0;
}

/* Without a lock: hv locks its files and judges for itself. */
static int look(const char *path, const char *parent, enum vhd_format format,
		struct vhd **img, struct vhd_err *err)
{
	const char *below = parent ? parent : path;
	char *dir = remote(below) ? NULL : cli_parent_dir(below);
	const struct vhd_nbd_opts nbd = {
		.reconnect_ms = LOOK_MS,
		.answer_ms = LOOK_MS,
	};
	const struct vhd_open_opts o = {
		.format = format,
		.force_read = true,
		.parent_dir = dir,
		.parent_path = parent,
		.nbd = &nbd,
	};
	int rc = vhd_open(path, &o, img, err);

	free(dir);
	if (rc == 0 && vhd_get_info(*img)->notes & VHD_NOTE_SPLIT)
		rc = vhd_fail(err, -ENOTSUP, VHD_WHY_UNSUPPORTED, 0,
			      "a split set cannot be added to a running guest");
	return rc;
}

static int layers_open(struct ctl_files *f, const struct vhd *img,
		       unsigned first, struct vhd_err *err)
{
	struct vhd_layer l;
	int rc = 0;

	for (unsigned i = first; rc == 0 && vhd_layer(img, i, &l) == 0; i++)
		rc = file_open(f, l.path, O_RDONLY, err);
	return rc;
}

static int local_find(struct ctl_files *f, const char *name,
		      struct vhd_err *err)
{
	const struct hv_disk_arg *d = &f->disk;
	const int mode = d->read_only ? O_RDONLY : O_RDWR;
	struct vhd *img = NULL;
	int rc = look(d->path, d->parent, d->format, &img, err);

	if (rc == 0)
		rc = file_open(f, d->path, mode, err);
	if (rc == 0 && d->direct)
		rc = file_open(f, d->path, mode | O_DIRECT, err);
	if (rc == 0)
		rc = layers_open(f, img, 1, err);
	/* it may be new: after all that may be refused here */
	if (rc == 0 && d->keeper_path)
		rc = keeper_open(f, name, vhd_get_info(img), err);
	vhd_abandon(img);
	return rc;
}

/* The one that connects is handed over like a file. */
static int link_take(struct ctl_files *f, int *fd, struct vhd_err *err)
{
	int rc = room_check(f, err);

	if (rc)
		return rc;
	f->fd[f->count++] = *fd;
	*fd = -1;
	return 0;
}

static int remote_parent_find(struct ctl_files *f, struct vhd_err *err)
{
	struct vhd *img = NULL;
	int rc;

	if (!f->disk.parent)
		return 0;
	if (f->parent_fd >= 0)
		return link_take(f, &f->parent_fd, err);
	rc = look(f->disk.parent, NULL, VHD_FORMAT_AUTO, &img, err);
	if (rc == 0)
		rc = layers_open(f, img, 0, err);
	vhd_abandon(img);
	return rc;
}

/* Only what keeps reservations has to know which disk it is before hv does. */
static int remote_keeper_open(struct ctl_files *f, const char *name,
			      struct vhd_err *err)
{
	static const struct vhd_info raw = {.format = VHD_FORMAT_RAW};
	const struct hv_disk_arg *d = &f->disk;
	struct vhd *img = NULL;
	int rc;

	if (d->format == VHD_FORMAT_RAW)
		return keeper_open(f, name, &raw, err);
	rc = look(d->path, d->parent, d->format, &img, err);
	if (rc == 0)
		rc = keeper_open(f, name, vhd_get_info(img), err);
	vhd_abandon(img);
	return rc;
}

/* A server may take one client and no other, or end after the first one: so it
 * is hv that looks at an image there, and nobody before.
 */
static int remote_find(struct ctl_files *f, const char *name,
		       struct vhd_err *err)
{
	const struct hv_disk_arg *d = &f->disk;
	const int mode = d->read_only ? O_RDONLY : O_RDWR;
	int rc;

	if (f->link_fd >= 0)
		rc = link_take(f, &f->link_fd, err);
	else
		rc = file_open(f, d->path, mode, err);
	if (rc == 0 && d->direct && !remote(d->path))
		rc = file_open(f, d->path, mode | O_DIRECT, err);
	if (rc == 0)
		rc = remote_parent_find(f, err);
	if (rc == 0 && d->keeper_path)
		rc = remote_keeper_open(f, name, err);
	return rc;
}

int ctl_files_find(struct ctl_files *f, const char *name, struct vhd_err *err)
{
	return any_remote(&f->disk) ? remote_find(f, name, err)
				    : local_find(f, name, err);
}

void ctl_files_close(struct ctl_files *f, bool refused)
{
	if (refused && f->made && !f->unsure)
		(void)unlink(f->disk.keeper_path); /* nobody has it */
	for (unsigned i = 0; i < f->count; i++)
		(void)close(f->fd[i]);
	if (f->link_fd >= 0)
		(void)close(f->link_fd);
	if (f->parent_fd >= 0)
		(void)close(f->parent_fd);
	hv_disk_arg_free(&f->disk);
}

/* SPDX-License-Identifier: BSD-2-Clause */
/* The guest's disks: images opened for the whole run, and their names. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "hv.h"
#include "tools/sandbox/sandbox.h"

#define DISC_BYTES_MIN 2048u

/* A raw disk is opened as such only when it was named so: a guest can write
 * to it whatever looks like a VHD, and the next look would believe it.
 */
static int check_probed(const struct hv_disk_arg *arg, struct vhd *img,
			struct vhd_err *err)
{
	if (arg->format != VHD_FORMAT_AUTO ||
	    vhd_get_info(img)->format != VHD_FORMAT_RAW)
		return 0;
	return vhd_fail(err, -EUCLEAN, VHD_WHY_UNSUPPORTED, 0,
			"not a VHD; if it is a raw disk, write --disk FILE,raw");
}

/* The connection's thread: it is the one that meets a server, and goes on doing
 * so while a guest runs.
 */
static int connection(void *disk, struct vhd_err *err)
{
	const struct hv_disk_arg *arg = disk;

	/* Set up again, TLS wants files, and more calls than are known. */
	if (cli_sandbox_mode() != CLI_SANDBOX_OFF &&
	    (strncmp(arg->path, "nbds", 4) == 0 ||
	     (arg->parent && strncmp(arg->parent, "nbds", 4) == 0)))
		return vhd_fail(err, -ENOTSUP, VHD_WHY_UNSUPPORTED, 0,
				"TLS to an NBD server does not work in the "
				"sandbox; have a tunnel in between, or "
				"--sandbox=off");
	return sandbox_thread(SANDBOX_LINK, hv_prog, err);
}

/* Where parents may be. What is on a server has none but by `parent=`. */
static char *parent_dir(const struct hv_disk_arg *arg)
{
	const char *path = arg->parent ? arg->parent : arg->path;

	return vhd_is_nbd_uri(path) ? NULL : cli_parent_dir(path);
}

static int say_parent(const struct hv_disk_arg *arg, struct vhd_err *err)
{
	if (err->why != VHD_WHY_NEEDS_PARENT || !vhd_is_nbd_uri(arg->path))
		return err->code;
	return vhd_fail(err, err->code, err->why, 0,
			"a differencing disk on a server: name its parent, "
			"--disk URI,parent=FILE");
}

static int open_one(const struct hv_disk_arg *arg, struct vhd **out,
		    struct vhd_err *err)
{
	char *dir = parent_dir(arg);
	const struct vhd_nbd_opts nbd = {
		.reconnect_ms = arg->reconnect_ms,
		.answer_ms = arg->answer_ms,
		.thread_begins = connection,
		.thread_arg = (void *)(uintptr_t)arg,
		.tell = hv_say_line,
	};
	const struct vhd_open_opts opts = {
		.format = arg->format,
		.writable = !arg->read_only,
		.direct = arg->direct,
		.parent_dir = dir,
		.parent_path = arg->parent,
		.nbd = &nbd,
	};
	bool remote = vhd_is_nbd_uri(arg->path) ||
		      (arg->parent && vhd_is_nbd_uri(arg->parent));
	struct vhd *img = NULL;
	int ret = remote ? hv_nbd_load(err) : 0;

	if (ret == 0)
		ret = vhd_open(arg->path, &opts, &img, err);
	free(dir);
	if (ret < 0)
		return say_parent(arg, err);
	ret = check_probed(arg, img, err);
	if (ret == 0 && arg->dvd &&
	    vhd_get_info(img)->size_bytes < DISC_BYTES_MIN)
		ret = vhd_fail(err, -EINVAL, VHD_WHY_UNSUPPORTED, 0,
			       "is no disc: shorter than one block of %u bytes",
			       DISC_BYTES_MIN);
	if (ret < 0)
		vhd_abandon(img);
	else
		*out = img;
	return ret;
}

void hv_disk_wait_less(struct vhd *img)
{
	vhd_hurry(img, VHD_NBD_RECONNECT_MS);
}

int hv_disks_close(struct hv_disks *d)
{
	int status = CLI_OK;

	for (unsigned i = 0; i < d->args->disk_count; i++) {
		struct vhd *img = d->img[i];
		struct vhd_err err;

		d->img[i] = NULL;
		hv_keeper_close(d->keeper[i]);
		d->keeper[i] = NULL;
		hv_disk_wait_less(img);
		if (vhd_close(img, &err) < 0)
			status = cli_fail(hv_prog, d->args->disks[i].path,
					  &err);
	}
	return status;
}

void hv_disk_forget(struct hv_disks *d, unsigned i)
{
	d->img[i] = NULL;
	hv_keeper_close(d->keeper[i]);
	d->keeper[i] = NULL;
}

void hv_disks_abandon(struct hv_disks *d)
{
	for (unsigned i = 0; i < HV_DISKS_MAX; i++) {
		vhd_abandon(d->img[i]);
		d->img[i] = NULL;
		hv_keeper_close(d->keeper[i]);
		d->keeper[i] = NULL;
	}
}

/* What a guest knows the disk by. A VHD has an id; a raw disk gets one from
 * its name, which is the same wherever it runs.
 */
void hv_disk_id(const char *path, const struct vhd_info *info, uint8_t id[16])
{
	const char *slash = vhd_is_nbd_uri(path) ? NULL : strrchr(path, '/');
	uint64_t h[2] = {0xcbf29ce484222325u, 0x84222325cbf29ce4u};

	if (info->format != VHD_FORMAT_RAW) {
		memcpy(id, info->unique_id, 16);
		return;
	}
	for (const char *p = slash ? slash + 1 : path; *p; p++)
		for (unsigned i = 0; i < 2; i++)
			h[i] = (h[i] ^ (uint8_t)*p) * 0x100000001b3u; /* FNV-1a */
	memcpy(id, h, 16);
}

static bool id_taken(const uint8_t ids[][16], unsigned count,
		     const uint8_t id[16])
{
	for (unsigned i = 0; i < count; i++)
		if (memcmp(ids[i], id, 16) == 0)
			return true;
	return false;
}

/* A drive is known by its place, whatever disc is in it. */
static void drive_id(const struct hv_disk_arg *arg, uint8_t id[16])
{
	static const struct vhd_info nothing = {.format = VHD_FORMAT_RAW};
	char text[32];

	snprintf(text, sizeof(text), "dvd %u:%u", arg->controller, arg->lun);
	hv_disk_id(text, &nothing, id);
}

/* Copies of one image share its id: a guest would take them for two ways to
 * one disk, whatever controllers they are on.
 */
static void name(struct hv_disks *d, unsigned i)
{
	const struct hv_disk_arg *arg = &d->args->disks[i];

	if (arg->dvd)
		drive_id(arg, d->id[i]);
	else
		hv_disk_id(arg->path, vhd_get_info(d->img[i]), d->id[i]);
	while (id_taken((const uint8_t(*)[16])d->id, i, d->id[i]))
		d->id[i][15]++;
}

/* What is no word is part of the name, and then there is no such file. */
static void say_word(const char *path, struct vhd_err *err)
{
	const char *comma = vhd_is_nbd_uri(path) ? NULL : strrchr(path, ',');

	if (comma && !strchr(comma, '/') && err->code == -ENOENT &&
	    access(path, F_OK) < 0)
		(void)vhd_fail(err, -ENOENT, err->why, 0,
			       "no such file, and %.40s is not a word of --disk",
			       comma + 1);
}

int hv_disks_open(struct hv_disks *d, const struct hv_args *args)
{
	struct vhd_err err;
	const char *path;

	memset(d, 0, sizeof(*d));
	d->args = args;
	for (unsigned i = 0; i < args->disk_count; i++) {
		path = args->disks[i].path;
		if (!args->disks[i].no_disc &&
		    open_one(&args->disks[i], &d->img[i], &err) < 0) {
			say_word(path, &err);
			return cli_fail(hv_prog, path, &err);
		}
		name(d, i);
	}
	/* the only ones that may be new: after all that may be refused */
	for (unsigned i = 0; i < args->disk_count; i++) {
		path = args->disks[i].keeper_path;
		if (path && hv_keeper_open(path, d->id[i], &d->keeper[i],
					   &err) < 0)
			return cli_fail(hv_prog, path, &err);
	}
	return CLI_OK;
}

int hv_disks_attach(struct hv_disks *d, unsigned controller,
		    struct storvsp *vsp, struct vhd_err *err)
{
	for (unsigned i = 0; i < d->args->disk_count; i++) {
		const struct hv_disk_arg *arg = &d->args->disks[i];
		struct storvsp_disk_opts o = {
			.lun = arg->lun,
			.read_only = arg->read_only,
			.unmap = arg->unmap,
			.block_bytes = arg->sector_bytes,
			.physical_bytes = arg->physical_bytes,
			.limits = arg->limits,
			.on_error = arg->on_error,
			.dvd = arg->dvd,
		};
		int ret;

		if (arg->controller != controller)
			continue;
		if (hv_is_ide(controller)) {
			o.path = hv_ide_address(controller).path;
			o.target = hv_ide_address(controller).target;
		}
		memcpy(o.unique_id, d->id[i], sizeof(o.unique_id));
		if (d->keeper[i]) {
			o.reservations = *hv_keeper_kept(d->keeper[i]);
			o.reservations_keep = hv_keeper_keep;
			o.reservations_arg = d->keeper[i];
		}
		ret = storvsp_disk_add(vsp, &o, d->img[i], err);
		if (ret < 0)
			return ret;
	}
	return 0;
}

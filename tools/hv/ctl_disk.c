/* SPDX-License-Identifier: BSD-2-Clause */
/* What a request does to the guest's disks: one place for each LUN of each
 * controller. All of it runs in the server's thread, one request at a time;
 * where channels have to let go of an image first it waits, for a bounded time.
 *
 * A disk's image is closed only after the controller said that nobody uses it
 * any more. Where an operation of the host never ends that is never said: then
 * the disk is gone for the guest, its image stays open and the LUN taken.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "ctl_disk_int.h"
#include "fwdisk.h"
#include "hv/clock.h"
#include "tools/cli/json.h"
#include "tools/sandbox/sandbox.h"

#define END_MS	  5000  /* for requests to end by themselves */
#define HURRY_MS  10000 /* ... after they were asked to */
#define FREEZE_MS 5000
#define SERVER_MS 2000u /* then, for an NBD server to answer */

/* ------------------------------------------------------------- notices --- */

static void now_free(void *arg, struct vhd *img)
{
	struct ctl_disk *e = arg;

	(void)img;
	atomic_store(&e->free, true);
	sem_post(&e->told);
}

static void now_idle(void *arg, struct vhd *img)
{
	struct ctl_disk *e = arg;

	(void)img;
	atomic_store(&e->idle, true);
	sem_post(&e->told);
}

static bool wait_for(struct ctl_disk *e, const atomic_bool *flag, unsigned ms)
{
	const struct timespec due = hv_at_ms(hv_now_ms() + ms);

	while (!atomic_load(flag))
		if (sem_clockwait(&e->told, CLOCK_MONOTONIC, &due) < 0 &&
		    errno != EINTR)
			break;
	return atomic_load(flag);
}

/* ------------------------------------------------------------- closing --- */

/* hv_disks does not close it any more: it goes, or stays only until its last
 * request has ended.
 */
static void forget(struct ctl_disks *d, struct ctl_disk *e)
{
	if (e->initial < 0)
		return;
	hv_disk_forget(d->disks, (unsigned)e->initial);
	e->initial = -1;
}

/* What firmware and emulated controllers find there after the next reset. */
static int tell_firmware(struct ctl_disks *d, const struct ctl_request *r,
			 const struct ctl_disk *e, struct vhd *img,
			 struct vhd_err *err)
{
	struct hv_fwdisk_is is = {
		.img = img,
		.block_bytes = e->dvd ? 0 : r->sector_bytes,
		.read_only = e->read_only,
		.dvd = e->dvd,
	};

	memcpy(is.id, e->id, sizeof(is.id));
	return hv_fwdisks_put(d->controllers->fwdisks, r->controller, r->lun,
			      &is, err);
}

/* Nobody uses the image any more. */
static int close_image(struct ctl_disks *d, struct ctl_disk *e,
		       struct vhd_err *err)
{
	int rc;

	forget(d, e);
	hv_disk_wait_less(e->img);
	rc = vhd_close(e->img, err);
	e->img = NULL;
	hv_keeper_close(e->keeper);
	e->keeper = NULL;
	e->state = CTL_ABSENT;
	e->left = ++d->removals;
	return rc;
}

static int close_old(struct ctl_disk *e, struct vhd_err *err)
{
	struct vhd *old = e->old;

	e->old = NULL;
	hv_disk_wait_less(old);
	return vhd_close(old, err);
}

static int close_any(struct ctl_disks *d, struct ctl_disk *e,
		     struct vhd_err *err)
{
	return e->old ? close_old(e, err) : close_image(d, e, err);
}

bool ctl_disks_tidy(struct ctl_disks *d)
{
	bool waiting = false;

	for (unsigned c = 0; c < HV_CONTROLLERS_MAX; c++) {
		for (unsigned l = 0; l < hv_luns(c); l++) {
			struct ctl_disk *e = &d->at[c][l];
			struct vhd_err err;

			if (e->state != CTL_LEAVING && !e->old)
				continue;
			if (!atomic_load(&e->free))
				waiting = true;
			else if (close_any(d, e, &err) < 0)
				hv_say_line(NULL, err.text);
		}
	}
	return waiting;
}

/* -------------------------------------------------------------- adding --- */

static int mode_check(const int *fds, const struct ctl_request *r,
		      struct vhd_err *err)
{
	int flags = fcntl(fds[0], F_GETFL);

	if (flags < 0)
		return vhd_fail(err, -errno, VHD_WHY_SYSTEM, 0,
				"the file cannot be used");
	if (!r->read_only && (flags & O_ACCMODE) != O_RDWR)
		return vhd_fail(err, -EROFS, VHD_WHY_READ_ONLY, 0,
				"the file is not open for writing; add it "
				"with the word `ro`");
	return 0;
}

/* Whether an image here, or a parent of it, is this file, and one of the two
 * would write to it.
 */
static bool clashes(const struct vhd *img, bool img_writes,
		    const struct stat *file, bool file_writes)
{
	struct vhd_layer layer;
	struct stat st;

	for (unsigned i = 0; img && vhd_layer(img, i, &layer) == 0; i++)
		if (((i == 0 && img_writes) || file_writes) && layer.fd >= 0 &&
		    fstat(layer.fd, &st) == 0 && st.st_dev == file->st_dev &&
		    st.st_ino == file->st_ino)
			return true;
	return false;
}

static bool in_use(const struct ctl_disks *d, const struct stat *file,
		   bool writes)
{
	for (unsigned c = 0; c < HV_CONTROLLERS_MAX; c++) {
		for (unsigned l = 0; l < hv_luns(c); l++) {
			const struct ctl_disk *e = &d->at[c][l];
			bool e_writes = !e->read_only && !e->dvd;

			if (clashes(e->img, e_writes, file, writes) ||
			    clashes(e->old, false, file, writes))
				return true;
		}
	}
	return false;
}

/* A lock keeps out whoever opened the file anew, but not a descriptor that is
 * a copy of the one in use: taking the lock once more, or letting it go, would
 * end what there is.
 */
static int in_use_check(const struct ctl_disks *d, const int *fds,
			unsigned count, const struct ctl_request *r,
			struct vhd_err *err)
{
	struct stat st;

	for (unsigned i = 0; i < count; i++)
		if (fstat(fds[i], &st) == 0 &&
		    in_use(d, &st, i == 0 && !r->read_only))
			return vhd_fail(err, -EBUSY, VHD_WHY_LOCKED, 0,
					"file %u of %.80s is open elsewhere: "
					"a disk of this guest has it", i + 1,
					r->name);
	return 0;
}

static int files_check(const struct ctl_disks *d, const int *fds,
		       unsigned count, const struct ctl_request *r,
		       struct vhd_err *err)
{
	int rc;

	if (count == 0)
		return vhd_fail(err, -EINVAL, VHD_WHY_ARGUMENT, 0,
				"no file came with the request");
	rc = mode_check(fds, r, err);
	return rc ? rc : in_use_check(d, fds, count, r, err);
}

/* The connection's thread of a disk on a server. */
static int connection(void *unused, struct vhd_err *err)
{
	(void)unused;
	return sandbox_filter(SANDBOX_HANDED, hv_prog, err);
}

static int image_open(const struct ctl_disks *d, const struct ctl_request *r,
		      int *fds, unsigned count, struct vhd **img,
		      struct vhd_err *err)
{
	const struct vhd_nbd_opts nbd = {
		.reconnect_ms = r->reconnect_ms,
		.answer_ms = r->answer_ms,
		.thread_begins = connection,
		.tell = hv_say_line,
	};
	const struct vhd_open_opts o = {
		.format = r->format,
		.writable = !r->read_only,
		.direct = r->direct,
		.nbd = &nbd,
	};
	int rc = files_check(d, fds, count, r, err);

	if (rc) {
		for (unsigned i = 0; i < count; i++)
			close(fds[i]);
		return rc;
	}
	rc = vhd_open_fds(fds, count, r->name, &o, img, err);
	if (rc == 0 && r->format == VHD_FORMAT_AUTO &&
	    vhd_get_info(*img)->format == VHD_FORMAT_RAW) {
		vhd_abandon(*img);
		*img = NULL;
		return vhd_fail(err, -EUCLEAN, VHD_WHY_UNSUPPORTED, 0,
				"not a VHD; if it is a raw disk, add it as "
				"FILE,raw");
	}
	return rc;
}

/* Guests do not look again at what is on an IDE controller. */
static int ide_stays(const struct ctl_request *r, struct vhd_err *err)
{
	return vhd_fail(err, -ENOTSUP, VHD_WHY_UNSUPPORTED, 0,
			"what is at IDE position %u stays as it is while the "
			"guest runs", r->controller - HV_IDE_CONTROLLER);
}

static int ide_check(struct ctl_disks *d, const struct ctl_request *r,
		     struct vhd_err *err)
{
	if (r->command == CTL_REMOVE)
		return ide_stays(r, err);
	if (ctl_controller(d, r))
		return 0;
	return vhd_fail(err, -ENOTSUP, VHD_WHY_UNSUPPORTED, 0,
			"the DVD drive at IDE position %u is emulated only: "
			"nothing is counted or limited there",
			r->controller - HV_IDE_CONTROLLER);
}

/* One that no disk had before, or else the one that has been free longest: a
 * guest that has not looked yet would take another disk for the former one.
 */
static unsigned free_lun(const struct ctl_disks *d, unsigned controller)
{
	const struct ctl_disk *at = d->at[controller];
	unsigned best = HV_LUNS_MAX;

	for (unsigned l = 0; l < HV_LUNS_MAX; l++)
		if (at[l].state == CTL_ABSENT &&
		    (best == HV_LUNS_MAX || at[l].left < at[best].left))
			best = l;
	return best;
}

static int place_find(struct ctl_disks *d, struct ctl_request *r,
		      struct vhd_err *err)
{
	if (hv_is_ide(r->controller))
		return ide_stays(r, err);
	if (!ctl_controller(d, r))
		return vhd_fail(err, -ENOENT, VHD_WHY_ARGUMENT, 0,
				"the guest has no controller %u: one is made "
				"where hv run has a disk on it", r->controller);
	if (r->next_lun)
		r->lun = (uint8_t)free_lun(d, r->controller);
	if (r->lun == HV_LUNS_MAX)
		return vhd_fail(err, -ENOSPC, VHD_WHY_ARGUMENT, 0,
				"controller %u has %d disks, no more",
				r->controller, HV_LUNS_MAX);
	if (ctl_disk_at(d, r)->state != CTL_ABSENT)
		return vhd_fail(err, -EEXIST, VHD_WHY_ARGUMENT, 0,
				"LUN %u of controller %u is taken", r->lun,
				r->controller);
	return 0;
}

static bool id_taken(const struct ctl_disks *d, const uint8_t id[16])
{
	for (unsigned c = 0; c < HV_CONTROLLERS_MAX; c++)
		for (unsigned l = 0; l < hv_luns(c); l++)
			if (d->at[c][l].state != CTL_ABSENT &&
			    memcmp(d->at[c][l].id, id, 16) == 0)
				return true;
	return false;
}

static void name_it(struct ctl_disks *d, struct ctl_disk *e,
		    const struct ctl_request *r, const struct vhd *img)
{
	hv_disk_id(r->name, vhd_get_info(img), e->id);
	while (id_taken(d, e->id))
		e->id[15]++;
	memcpy(e->name, r->name, sizeof(e->name));
	e->read_only = r->read_only;
	e->dvd = false;
	e->initial = -1;
}

static struct json_object *added(const struct ctl_request *r,
				 const struct ctl_disk *e)
{
	struct json_object *o = ctl_yes();

	ctl_put_place(o, r->controller, r->lun);
	ctl_put_number(o, "size", vhd_get_info(e->img)->size_bytes);
	return o;
}

/* The last of the files; -1: there is none. */
static int keeper_fd_take(const struct ctl_request *r, int *fds,
			  unsigned *count)
{
	return r->keeper && *count > 1 ? fds[--*count] : -1;
}

static int keeper_take(struct ctl_disk *e, int fd, struct storvsp_disk_opts *o,
		       struct vhd_err *err)
{
	struct vhd_err why;
	int rc = hv_keeper_take(fd, e->id, &e->keeper, &why);

	if (rc)
		return vhd_fail(err, rc, why.why, 0,
				"its file of reservations: %.90s", why.text);
	o->reservations = *hv_keeper_kept(e->keeper);
	o->reservations_keep = hv_keeper_keep;
	o->reservations_arg = e->keeper;
	return 0;
}

/* At its place, which is free; takes `keeper_fd`, and on success `img`. */
static int add_there(struct ctl_disks *d, const struct ctl_request *r,
		     struct vhd *img, int keeper_fd, struct vhd_err *err)
{
	struct storvsp_disk_opts o = {
		.lun = r->lun,
		.read_only = r->read_only,
		.unmap = r->unmap,
		.block_bytes = r->sector_bytes,
		.physical_bytes = r->physical_bytes,
		.limits = r->limits,
		.on_error = r->on_error,
	};
	struct ctl_disk *e = ctl_disk_at(d, r);
	int rc = 0;

	name_it(d, e, r, img);
	memcpy(o.unique_id, e->id, sizeof(o.unique_id));
	if (keeper_fd >= 0)
		rc = keeper_take(e, keeper_fd, &o, err);
	if (rc == 0)
		rc = tell_firmware(d, r, e, img, err);
	if (rc == 0)
		rc = storvsp_disk_add(ctl_controller(d, r), &o, img, err);
	if (rc) {
		hv_fwdisks_forget(d->controllers->fwdisks, r->controller,
				  r->lun);
		hv_keeper_close(e->keeper);
		e->keeper = NULL;
		return rc;
	}
	e->img = img;
	e->state = CTL_SERVED;
	return 0;
}

static struct json_object *add(struct ctl_disks *d, struct ctl_request *r,
			       int *fds, unsigned count)
{
	int keeper_fd = keeper_fd_take(r, fds, &count);
	struct vhd *img = NULL;
	struct vhd_err err;
	int rc = image_open(d, r, fds, count, &img, &err);

	if (rc == 0)
		rc = place_find(d, r, &err);
	if (rc == 0 && r->keeper && keeper_fd < 0)
		rc = vhd_fail(&err, -EINVAL, VHD_WHY_ARGUMENT, 0,
			      "no file for reservations came with the request");
	if (rc == 0)
		rc = add_there(d, r, img, keeper_fd, &err);
	else if (keeper_fd >= 0)
		(void)close(keeper_fd);
	if (rc == 0)
		return added(r, ctl_disk_at(d, r));
	vhd_abandon(img);
	return ctl_refusal(&err);
}

/* ------------------------------------------------------------ removing --- */

/* Notices say of one image at a time that it is free. */
static int old_check(const struct ctl_disk *e, struct vhd_err *err)
{
	if (!e->old)
		return 0;
	return vhd_fail(err, -EBUSY, VHD_WHY_IO, 0,
			"the disc before this one is still in use");
}

static int still_busy(const struct ctl_request *r, struct vhd_err *err)
{
	return vhd_fail(err, -EBUSY, VHD_WHY_IO, 0,
			"the guest has lost LUN %u, but the host does not end "
			"what is in flight: its image stays open until then",
			r->lun);
}

static struct json_object *remove_disk(struct ctl_disks *d,
				       const struct ctl_request *r)
{
	struct ctl_disk *e = ctl_disk_at(d, r);
	const struct storvsp_notice gone = {now_free, e};
	struct vhd_err err;
	int rc = old_check(e, &err);

	if (rc)
		return ctl_refusal(&err);
	atomic_store(&e->free, false);
	rc = storvsp_disk_remove(ctl_controller(d, r), ctl_address(r), &gone,
				 &err);
	if (rc)
		return ctl_refusal(&err);
	e->state = CTL_LEAVING;
	hv_fwdisks_forget(d->controllers->fwdisks, r->controller, r->lun);
	if (r->now || !wait_for(e, &e->free, END_MS)) {
		storvsp_disk_hurry(ctl_controller(d, r));
		vhd_hurry(e->img, SERVER_MS);
		if (!wait_for(e, &e->free, HURRY_MS)) {
			(void)still_busy(r, &err);
			return ctl_refusal(&err);
		}
	}
	rc = close_image(d, e, &err);
	return rc ? ctl_refusal(&err) : ctl_yes();
}

/* ------------------------------------------------------ another disc ----- */

static int drive_check(const struct ctl_disk *e, const struct ctl_request *r,
		       struct vhd_err *err)
{
	if (!e->dvd)
		return vhd_fail(err, -EINVAL, VHD_WHY_UNSUPPORTED, 0,
				"LUN %u is no DVD drive", r->lun);
	return old_check(e, err);
}

/* What was in the drive belonged to hv_disks or to this server. */
static void swap(struct ctl_disks *d, struct ctl_disk *e,
		 const struct ctl_request *r, struct vhd *img)
{
	struct vhd_err err;

	forget(d, e);
	e->old = e->img;
	e->img = img;
	memcpy(e->name, img ? r->name : "none", img ? sizeof(e->name) : 5);
	if (tell_firmware(d, r, e, img, &err) < 0)
		hv_say_line(NULL, err.text);
}

static struct json_object *change(struct ctl_disks *d,
				  const struct ctl_request *request, int *fds,
				  unsigned count)
{
	struct ctl_disk *e = ctl_disk_at(d, request);
	const struct storvsp_notice gone = {now_free, e};
	struct ctl_request r = *request;
	struct vhd *img = NULL;
	struct vhd_err err;
	int rc;

	if (hv_is_ide(r.controller)) {
		for (unsigned i = 0; i < count; i++)
			close(fds[i]);
		(void)ide_stays(&r, &err);
		return ctl_refusal(&err);
	}
	r.read_only = true;
	rc = count ? image_open(d, &r, fds, count, &img, &err) : 0;
	if (rc == 0)
		rc = drive_check(e, &r, &err);
	if (rc == 0) {
		/* not before: it may be the former disc's notice */
		atomic_store(&e->free, false);
		rc = storvsp_dvd_change(ctl_controller(d, &r),
					ctl_address(&r), img, &gone, &err);
	}
	if (rc) {
		vhd_abandon(img);
		return ctl_refusal(&err);
	}
	swap(d, e, &r, img);
	if (!wait_for(e, &e->free, END_MS))
		storvsp_disk_hurry(ctl_controller(d, &r));
	else if (close_old(e, &err) < 0)
		return ctl_refusal(&err);
	return ctl_yes();
}

/* ------------------------------------------------------------ resizing --- */

static int new_size(const struct ctl_request *r, const struct ctl_disk *e,
		    uint64_t *size, struct vhd_err *err)
{
	uint64_t now;

	if (e->dvd)
		return vhd_fail(err, -EINVAL, VHD_WHY_UNSUPPORTED, 0,
				"a disc does not grow");
	now = vhd_get_info(e->img)->size_bytes;
	*size = r->by ? now + r->size_bytes : r->size_bytes;
	if (*size % 4096 || *size > INT64_MAX)
		return vhd_fail(err, -EINVAL, VHD_WHY_ARGUMENT, 0,
				"%llu bytes is no size for a disk that a "
				"guest uses: not a multiple of 4096",
				(unsigned long long)*size);
	if (*size && *size < now)
		return vhd_fail(err, -EUCLEAN, VHD_WHY_SHRINK, 0,
				"the disk has %llu bytes, and a guest's disk "
				"only grows", (unsigned long long)now);
	return 0;
}

/* Attached to no queue, which would not learn of it. */
static int grow(struct ctl_disks *d, const struct ctl_request *r,
		struct vhd *img, uint64_t size, struct vhd_err *err)
{
	struct hv_fwdisks *f = d->controllers->fwdisks;
	struct vhd_err lost;
	int rc = hv_fwdisks_hold(f, r->controller, r->lun, FREEZE_MS, err);

	if (rc)
		return rc;
	rc = vhd_grow(img, size, err);
	if (hv_fwdisks_let_go(f, r->controller, r->lun, &lost) < 0)
		hv_say_line(NULL, lost.text);
	return rc;
}

static struct json_object *resize(struct ctl_disks *d,
				  const struct ctl_request *r)
{
	struct ctl_disk *e = ctl_disk_at(d, r);
	const struct storvsp_notice idle = {now_idle, e};
	struct json_object *o;
	struct vhd_err err;
	uint64_t size = 0, was;
	int rc = new_size(r, e, &size, &err);

	atomic_store(&e->idle, false);
	if (rc == 0)
		rc = storvsp_disk_freeze(ctl_controller(d, r), ctl_address(r),
					 &idle, &err);
	if (rc)
		return ctl_refusal(&err);
	was = vhd_get_info(e->img)->size_bytes;
	if (wait_for(e, &e->idle, FREEZE_MS)) {
		rc = grow(d, r, e->img, size, &err);
	} else {
		rc = vhd_fail(&err, -EBUSY, VHD_WHY_IO, 0,
			      "requests in flight did not end within %d s; "
			      "nothing was changed", FREEZE_MS / 1000);
	}
	storvsp_disk_thaw(ctl_controller(d, r));
	if (rc)
		return ctl_refusal(&err);
	o = ctl_yes();
	ctl_put_number(o, "was", was);
	ctl_put_number(o, "size", vhd_get_info(e->img)->size_bytes);
	return o;
}

/* ------------------------------------------------------------- wishes ---- */

static struct json_object *resume(struct ctl_disks *d,
				  const struct ctl_request *r)
{
	struct json_object *o;
	struct vhd_err err;
	int rc = storvsp_disk_resume(ctl_controller(d, r), ctl_address(r),
				     &err);

	if (rc < 0)
		return ctl_refusal(&err);
	o = ctl_yes();
	cli_json_put(o, "was-paused", cli_json_bool(rc > 0));
	return o;
}

/* A burst goes with its limit, unless the request names one. */
static void merge(struct storvsp_limits *l, const struct ctl_request *r)
{
	if (r->set & CTL_SET_IOPS) {
		l->iops = r->limits.iops;
		l->iops_burst = l->iops ? l->iops_burst : 0;
	}
	if (r->set & CTL_SET_IOPS_BURST)
		l->iops_burst = r->limits.iops_burst;
	if (r->set & CTL_SET_BPS) {
		l->bps = r->limits.bps;
		l->bps_burst = l->bps ? l->bps_burst : 0;
	}
	if (r->set & CTL_SET_BPS_BURST)
		l->bps_burst = r->limits.bps_burst;
	if (r->set & CTL_SET_DEPTH)
		l->depth = r->limits.depth;
}

static struct json_object *limit(struct ctl_disks *d,
				 const struct ctl_request *r)
{
	struct storvsp_limits l =
		ctl_look_at(d, r->controller, r->lun)->limits;
	struct json_object *o;
	struct vhd_err err;
	int rc;

	merge(&l, r);
	rc = storvsp_disk_limit(ctl_controller(d, r), ctl_address(r), &l,
				&err);
	if (rc == 0 && r->set & CTL_SET_ON_ERROR)
		rc = storvsp_disk_on_error(ctl_controller(d, r),
					   ctl_address(r), r->on_error, &err);
	if (rc)
		return ctl_refusal(&err);
	o = ctl_yes();
	ctl_put_limits(o, &l);
	return o;
}

/* ------------------------------------------------------------- all of it - */

static struct json_object *on_disk(struct ctl_disks *d,
				   const struct ctl_request *r)
{
	struct ctl_disk *e = ctl_disk_at(d, r);
	struct vhd_err err;

	if (e->state != CTL_SERVED) {
		(void)vhd_fail(&err, -ENOENT, VHD_WHY_ARGUMENT, 0,
			       e->state == CTL_LEAVING
				       ? "LUN %u of controller %u is still "
					 "being removed"
				       : "there is no LUN %u on controller %u",
			       r->lun, r->controller);
		return ctl_refusal(&err);
	}
	if (hv_is_ide(r->controller) && ide_check(d, r, &err) < 0)
		return ctl_refusal(&err);
	switch (r->command) {
	case CTL_REMOVE:
		return remove_disk(d, r);
	case CTL_RESIZE:
		return resize(d, r);
	case CTL_RESUME:
		return resume(d, r);
	case CTL_LIMIT:
		return limit(d, r);
	default:
		return ctl_stats(d, r);
	}
}

struct json_object *ctl_disks_do(struct ctl_disks *d,
				 const struct ctl_request *request, int *fds,
				 unsigned count)
{
	struct ctl_request r = *request;

	(void)ctl_disks_tidy(d);
	if (r.command == CTL_ADD)
		return add(d, &r, fds, count);
	if (r.command == CTL_CHANGE && ctl_disk_at(d, &r)->state == CTL_SERVED)
		return change(d, &r, fds, count);
	for (unsigned i = 0; i < count; i++)
		close(fds[i]);
	return r.command == CTL_LIST ? ctl_list(d) : on_disk(d, &r);
}

struct ctl_disks *ctl_disks_create(struct hv_disks *disks,
				   struct hv_controllers *controllers)
{
	struct ctl_disks *d = calloc(1, sizeof(*d));

	if (!d)
		return NULL;
	d->disks = disks;
	d->controllers = controllers;
	for (unsigned c = 0; c < HV_CONTROLLERS_MAX; c++)
		for (unsigned l = 0; l < hv_luns(c); l++)
			sem_init(&d->at[c][l].told, 0, 0);
	for (unsigned i = 0; i < disks->args->disk_count; i++) {
		const struct hv_disk_arg *a = &disks->args->disks[i];
		struct ctl_disk *e = &d->at[a->controller][a->lun];

		e->state = CTL_SERVED;
		e->img = disks->img[i];
		e->initial = (int)i;
		e->read_only = a->read_only;
		e->dvd = a->dvd;
		memcpy(e->id, disks->id[i], sizeof(e->id));
		(void)stpncpy(e->name, a->path, sizeof(e->name) - 1);
	}
	return d;
}

int ctl_disks_destroy(struct ctl_disks *d)
{
	int status = CLI_OK;

	if (!d)
		return CLI_OK;
	for (unsigned c = 0; c < HV_CONTROLLERS_MAX; c++) {
		for (unsigned l = 0; l < hv_luns(c); l++) {
			struct ctl_disk *e = &d->at[c][l];
			struct vhd_err err;

			if (e->state != CTL_ABSENT && e->initial < 0) {
				hv_disk_wait_less(e->img);
				if (vhd_close(e->img, &err) < 0)
					status = cli_fail(hv_prog, e->name,
							  &err);
			}
			hv_keeper_close(e->keeper);
			hv_disk_wait_less(e->old);
			if (vhd_close(e->old, &err) < 0)
				status = cli_fail(hv_prog, e->name, &err);
			sem_destroy(&e->told);
		}
	}
	free(d);
	return status;
}

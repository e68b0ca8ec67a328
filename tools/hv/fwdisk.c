/* SPDX-License-Identifier: BSD-2-Clause */
/* The thread that owns the queue, and the life of all. One request at a time:
 * firmware waits for each anyway. See fwdisk.h.
 */
#include "fwdisk_int.h"

#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "hv/clock.h"

/* For one that was cancelled, where it is for an NBD server to end it; then for
 * the server, which is given up.
 */
#define HURRY_MS 500

/* ------------------------------------------------------------- the thread */

static void drain(struct hv_fwdisks *f)
{
	uint64_t count;

	while (read(f->wake_fd, &count, sizeof(count)) < 0 && errno == EINTR)
		;
}

static bool hurried(struct hv_fwdisks *f)
{
	bool yes;

	pthread_mutex_lock(&f->lock);
	yes = f->hurry || f->stop || f->evict;
	pthread_mutex_unlock(&f->lock);
	return yes;
}

/* To its end; a request that is hurried still ends once, by the queue. */
static void carry_out(struct hv_fwdisks *f, struct vhd_req *req)
{
	enum { GOES_ON, CANCELLED, GIVEN_UP } how = GOES_ON;
	struct vhd_req *done;
	int64_t due_ms = 0;

	vhd_queue_submit(f->queue, req);
	while (vhd_queue_reap(f->queue, &done, 1) == 0) {
		int64_t left = due_ms - hv_now_ms();

		(void)vhd_queue_wait(f->queue, f->wake_fd,
				     how != CANCELLED ? -1
				     : left > 0	      ? (int)left
						      : 0);
		drain(f);
		if (how == GOES_ON && hurried(f)) {
			vhd_queue_cancel(f->queue, req);
			due_ms = hv_now_ms() + HURRY_MS;
			how = CANCELLED;
		} else if (how == CANCELLED && hv_now_ms() >= due_ms) {
			vhd_hurry(req->img, HURRY_MS);
			how = GIVEN_UP;
		}
	}
	if (how == GIVEN_UP) /* others wait as long as they like */
		vhd_hurry(req->img, VHD_NBD_FOREVER);
}

static void serve(struct hv_fwdisks *f)
{
	pthread_mutex_lock(&f->lock);
	while (!f->stop || f->turn == TURN_ASKED) {
		if (f->turn != TURN_ASKED) {
			pthread_cond_wait(&f->moved, &f->lock);
			continue;
		}
		f->turn = TURN_WORKING;
		pthread_mutex_unlock(&f->lock);
		if (f->leaving)
			fwdisk_leave(f, f->leaving);
		else if (f->coming)
			(void)fwdisk_come(f, f->coming, &f->come_err);
		else
			carry_out(f, &f->req);
		pthread_mutex_lock(&f->lock);
		f->turn = TURN_DONE;
		pthread_cond_broadcast(&f->moved);
	}
	pthread_mutex_unlock(&f->lock);
}

static void *thread_main(void *arg)
{
	struct hv_fwdisks *f = arg;
	struct vhd_err err = {0};
	int rc = 0;

	(void)pthread_setname_np(pthread_self(), "firmware-disk");
	/* A queue with disks on servers puts what it waits for in one place, by
	 * a call that is given up next.
	 */
	(void)vhd_queue_wait(f->queue, f->wake_fd, 0);
	if (f->begins)
		rc = f->begins(vhd_queue_engine(f->queue), &err);
	pthread_mutex_lock(&f->lock);
	if (rc < 0) {
		f->begin_err = err;
		f->stop = true;
	}
	f->ready = true;
	pthread_cond_broadcast(&f->moved);
	pthread_mutex_unlock(&f->lock);
	if (rc == 0)
		serve(f);
	return NULL;
}

void hv_fwdisks_hurry(struct hv_fwdisks *f, bool on)
{
	pthread_mutex_lock(&f->lock);
	f->hurry = on;
	pthread_cond_broadcast(&f->moved);
	pthread_mutex_unlock(&f->lock);
	fwdisks_wake(f);
}

/* --------------------------------------------------------- life and death */

static int fill(struct hv_fwdisks *f, struct hv_disks *disks,
		const unsigned *order, struct vhd_err *err)
{
	int rc = 0;

	for (unsigned n = 0; n < disks->args->disk_count && rc == 0; n++) {
		unsigned i = order ? order[n] : n;
		const struct hv_disk_arg *arg = &disks->args->disks[i];
		struct hv_fwdisk_is is = {
			.img = disks->img[i],
			.block_bytes = arg->sector_bytes,
			.read_only = arg->read_only,
			.dvd = arg->dvd,
		};

		memcpy(is.id, disks->id[i], sizeof(is.id));
		rc = hv_fwdisks_put(f, arg->controller, arg->lun, &is, err);
	}
	hv_fwdisks_renew(f);
	return rc;
}

int hv_fwdisks_create(struct hv_disks *disks, const unsigned *order,
		      struct hv_fwdisks **out, struct vhd_err *err)
{
	const struct vhd_queue_opts o = {
		.depth = HV_DISK_IOV_MAX,
		.nbd_later = disks->args->name != NULL, /* by hv ctl */
	};
	struct hv_fwdisks *f = calloc(1, sizeof(*f));
	int rc;

	if (!f)
		return vhd_fail(err, -ENOMEM, VHD_WHY_NOMEM, 0,
				"out of memory");
	pthread_mutex_init(&f->lock, NULL);
	pthread_cond_init(&f->moved, NULL);
	for (unsigned c = 0; c < HV_CONTROLLERS_MAX; c++)
		for (unsigned l = 0; l < hv_luns(c); l++) {
			f->place[c][l].all = f;
			f->place[c][l].controller = c;
		}
	f->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (f->wake_fd < 0)
		rc = vhd_fail(err, -errno, VHD_WHY_SYSTEM, 0,
			      "cannot create an eventfd: %s", strerror(errno));
	else
		rc = vhd_queue_create(&o, &f->queue, err);
	if (rc == 0)
		rc = fill(f, disks, order, err);
	if (rc < 0) {
		hv_fwdisks_destroy(f);
		return rc;
	}
	*out = f;
	return 0;
}

int hv_fwdisks_start(struct hv_fwdisks *f,
		     int (*begins)(enum vhd_engine engine, struct vhd_err *err),
		     struct vhd_err *err)
{
	sigset_t all, old;
	int rc;

	f->begins = begins;
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	rc = pthread_create(&f->thread, NULL, thread_main, f);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	if (rc != 0)
		return vhd_fail(err, -rc, VHD_WHY_SYSTEM, 0,
				"cannot start a thread: %s", strerror(rc));
	pthread_mutex_lock(&f->lock);
	f->started = true;
	while (!f->ready)
		pthread_cond_wait(&f->moved, &f->lock);
	rc = f->stop ? f->begin_err.code : 0;
	pthread_mutex_unlock(&f->lock);
	if (rc < 0 && err)
		*err = f->begin_err;
	return rc;
}

void hv_fwdisks_destroy(struct hv_fwdisks *f)
{
	if (!f)
		return;
	if (f->started) {
		pthread_mutex_lock(&f->lock);
		f->stop = true;
		pthread_cond_broadcast(&f->moved);
		pthread_mutex_unlock(&f->lock);
		fwdisks_wake(f);
		(void)pthread_join(f->thread, NULL);
	}
	assert(f->turn == TURN_FREE || f->turn == TURN_DONE);
	for (unsigned c = 0; c < HV_CONTROLLERS_MAX; c++)
		for (unsigned l = 0; l < hv_luns(c); l++)
			fwdisk_leave(f, &f->place[c][l]);
	vhd_queue_destroy(f->queue);
	if (f->wake_fd >= 0)
		(void)close(f->wake_fd);
	pthread_cond_destroy(&f->moved);
	pthread_mutex_destroy(&f->lock);
	free(f);
}

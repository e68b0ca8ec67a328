/* SPDX-License-Identifier: BSD-2-Clause */
/* One request at a time: firmware waits for each anyway. A caller leaves its
 * request under the lock, wakes the thread, which owns the queue, and waits.
 * Who asks for more than a request (see `urgent`) is never held up for long by
 * one whose medium does not answer. See fwdisk.h.
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

/* For a request to end by itself when somebody waits who has to go on. */
#define GRACE_MS 1000u
/* ... and for one that was cancelled, where it is for an NBD server to end it;
 * then for the server, which is given up.
 */
#define HURRY_MS 500

/* ------------------------------------------------------------- the thread */

static void wake(struct hv_fwdisks *f)
{
	uint64_t one = 1;

	while (write(f->wake_fd, &one, sizeof(one)) < 0 && errno == EINTR)
		;
}

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

/* ---------------------------------------------------------------- callers */

/* Have the lock, and the place for a request: false where the machine stops
 * meanwhile, and only the lock is there.
 */
static bool take_turn(struct hv_fwdisks *f)
{
	pthread_mutex_lock(&f->lock);
	while (f->turn != TURN_FREE || f->urgent) {
		if (f->hurry || f->stop)
			return false;
		pthread_cond_wait(&f->moved, &f->lock);
	}
	return true;
}

/* With the lock: until it is so, or for `most_ms` (0: as long as it takes);
 * whether it is. What is in flight has its time to end by itself, and is then
 * ended: whoever calls serves the whole guest, or a person.
 */
static bool until(struct hv_fwdisks *f,
		  bool (*so)(const struct hv_fwdisks *f, unsigned controller),
		  unsigned controller, unsigned most_ms)
{
	const int64_t began_ms = hv_now_ms();
	const struct timespec grace = hv_at_ms(began_ms + GRACE_MS);
	const struct timespec end = hv_at_ms(began_ms + most_ms);
	bool late = most_ms && most_ms <= GRACE_MS, over = false;

	while (!so(f, controller) && !over) {
		if (!late) {
			late = pthread_cond_clockwait(&f->moved, &f->lock,
						      CLOCK_MONOTONIC,
						      &grace) == ETIMEDOUT;
			continue;
		}
		f->evict = true;
		wake(f);
		if (!most_ms)
			pthread_cond_wait(&f->moved, &f->lock);
		else
			over = pthread_cond_clockwait(&f->moved, &f->lock,
						      CLOCK_MONOTONIC,
						      &end) == ETIMEDOUT;
	}
	return so(f, controller);
}

static bool is_free(const struct hv_fwdisks *f, unsigned unused)
{
	(void)unused;
	return f->turn == TURN_FREE;
}

static bool writes_nothing(const struct hv_fwdisks *f, unsigned controller)
{
	bool in_flight = f->turn == TURN_ASKED || f->turn == TURN_WORKING;

	return !in_flight || !f->at || f->req.op != VHD_OP_WRITE ||
	       f->at->controller != controller;
}

/* As take_turn, before all who ask for a request only. */
bool fwdisks_take_turn_within(struct hv_fwdisks *f, unsigned most_ms)
{
	bool taken;

	pthread_mutex_lock(&f->lock);
	f->urgent++;
	taken = until(f, is_free, 0, most_ms);
	f->urgent--;
	if (taken)
		return true;
	pthread_cond_broadcast(&f->moved); /* others go on */
	pthread_mutex_unlock(&f->lock);
	return false;
}

void fwdisks_take_turn_first(struct hv_fwdisks *f)
{
	(void)fwdisks_take_turn_within(f, 0);
}

void fwdisks_end_turn(struct hv_fwdisks *f)
{
	f->turn = TURN_FREE;
	f->at = NULL;
	f->leaving = f->coming = NULL;
	pthread_cond_broadcast(&f->moved);
	pthread_mutex_unlock(&f->lock);
}

void fwdisks_ask(struct hv_fwdisks *f)
{
	f->turn = TURN_ASKED;
	f->evict = false; /* it was meant for one that has ended */
	pthread_cond_broadcast(&f->moved);
	while (f->turn != TURN_DONE)
		pthread_cond_wait(&f->moved, &f->lock);
}

/* Why not, with the turn taken. */
static int refusal(const struct hv_fwdisks *f, const struct fwdisk *d,
		   enum vhd_op op)
{
	if (f->stop || f->hurry || !f->started)
		return -ECANCELED;
	if (!d->is.img || !d->told)
		return -ENOMEDIUM;
	if (op == VHD_OP_READ)
		return 0;
	if (d->disk.read_only)
		return -EROFS;
	return op == VHD_OP_WRITE && f->guest_has[d->controller] ? -EBUSY : 0;
}

static int submit(struct fwdisk *d, struct vhd_req *req)
{
	struct hv_fwdisks *f = d->all;
	int rc;

	if (!take_turn(f)) {
		pthread_mutex_unlock(&f->lock);
		return -ECANCELED;
	}
	rc = refusal(f, d, req->op);
	if (rc == 0) {
		f->req = *req;
		f->req.img = d->is.img;
		f->at = d;
		fwdisks_ask(f);
		rc = f->req.result;
	}
	fwdisks_end_turn(f);
	return rc;
}

/* Whole blocks of this disk, all on it. */
static int move(struct fwdisk *d, enum vhd_op op, uint64_t lba,
		const struct iovec *iov, unsigned count)
{
	const struct hv_disk *disk = &d->disk;
	struct vhd_req req = {.op = op, .iov = iov, .iov_count = count};
	uint64_t bytes = 0, blocks;

	if (count == 0 || count > HV_DISK_IOV_MAX)
		return -EINVAL;
	for (unsigned i = 0; i < count; i++)
		if (__builtin_add_overflow(bytes, iov[i].iov_len, &bytes))
			return -EINVAL;
	blocks = bytes / disk->block_bytes;
	if (blocks == 0 || bytes % disk->block_bytes != 0 ||
	    lba >= disk->blocks || blocks > disk->blocks - lba)
		return -EINVAL;
	req.lba = lba * (disk->block_bytes / 512);
	return submit(d, &req);
}

static int fw_read(void *arg, uint64_t lba, const struct iovec *iov,
		   unsigned count)
{
	return move(arg, VHD_OP_READ, lba, iov, count);
}

static int fw_write(void *arg, uint64_t lba, const struct iovec *iov,
		    unsigned count)
{
	return move(arg, VHD_OP_WRITE, lba, iov, count);
}

static int fw_flush(void *arg)
{
	struct fwdisk *d = arg;
	struct vhd_req req = {.op = VHD_OP_FLUSH};

	/* Nothing was written through this door. */
	if (d->disk.read_only)
		return 0;
	return submit(d, &req);
}

const struct hv_disk_ops fwdisk_ops = {
	.read = fw_read,
	.write = fw_write,
	.flush = fw_flush,
};

void hv_fwdisks_guest_has(struct hv_fwdisks *f, unsigned controller, bool yes)
{
	pthread_mutex_lock(&f->lock);
	f->guest_has[controller] = yes; /* no write begins any more */
	if (yes)
		(void)until(f, writes_nothing, controller, 0);
	pthread_mutex_unlock(&f->lock);
}

void hv_fwdisks_hurry(struct hv_fwdisks *f, bool on)
{
	pthread_mutex_lock(&f->lock);
	f->hurry = on;
	pthread_cond_broadcast(&f->moved);
	pthread_mutex_unlock(&f->lock);
	wake(f);
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
		wake(f);
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

/* SPDX-License-Identifier: BSD-2-Clause */
/* The door: requests of firmware and of emulated controllers, each with a turn
 * of its own; and when it is shut to writes.
 */
#include "fwdisk_int.h"

#include <errno.h>

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

	if (!fwdisks_take_turn(f)) {
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

static bool writes_nothing(const struct hv_fwdisks *f, unsigned controller)
{
	bool in_flight = f->turn == TURN_ASKED || f->turn == TURN_WORKING;

	return !in_flight || !f->at || f->req.op != VHD_OP_WRITE ||
	       f->at->controller != controller;
}

void hv_fwdisks_guest_has(struct hv_fwdisks *f, unsigned controller, bool yes)
{
	pthread_mutex_lock(&f->lock);
	f->guest_has[controller] = yes; /* no write begins any more */
	if (yes)
		(void)fwdisks_until(f, writes_nothing, controller, 0);
	pthread_mutex_unlock(&f->lock);
}

/* SPDX-License-Identifier: BSD-2-Clause */
/* A disk as firmware and emulated controllers reach it: whole blocks between
 * guest memory and the medium, done when the call returns. Who runs the guest
 * gives them to the partition; what is behind one is not known here.
 *
 * What it says of itself is what a machine finds when it is built: a disk that
 * grows, a disc that is changed are another one only for the next machine.
 *
 * Threads: any, several at once; a call may wait for the medium.
 */
#ifndef HV_DISK_H
#define HV_DISK_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/uio.h>

#define HV_DISK_IOV_MAX 256u /* pieces of one call */

/* All: 0 or a negative errno: -EINVAL (beyond the end, no whole blocks, too
 * many pieces), -ENOMEDIUM, -EROFS, -EIO and what else the medium says. A
 * write, besides, -EBUSY: the guest's own driver has the disk now.
 */
struct hv_disk_ops {
	int (*read)(void *arg, uint64_t lba, const struct iovec *iov,
		    unsigned count);
	int (*write)(void *arg, uint64_t lba, const struct iovec *iov,
		     unsigned count);
	/* What was written through this door is durable on return. */
	int (*flush)(void *arg);
};

struct hv_disk {
	const struct hv_disk_ops *ops;
	void *arg;
	uint64_t blocks;
	uint32_t block_bytes; /* 512 or 4096; a DVD's 2048 */
	bool read_only;
	bool dvd;
	uint8_t id[16]; /* stable */
};

/* Whether a disc has what a BIOS boots (El Torito, no emulation). */
bool hv_disc_boots(const struct hv_disk *disc);

#endif

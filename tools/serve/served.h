/* SPDX-License-Identifier: BSD-2-Clause */
/* An image served to any number of threads by plain calls: what an NBD server
 * and a file system in user space need, whose threads each carry one request
 * and may as well do its I/O. Private to tools/.
 *
 * Each call takes one of a pool of queues over the `sync` engine, which is
 * tied to no thread. Measured under nbdkit with fio, 4 KiB random reads: as
 * fast as nbdkit's own file plugin on raw bytes, and not slower than a ring
 * per thread; one ring with a thread of its own gives half of it.
 */
#ifndef SERVED_H
#define SERVED_H

#include "vhd/vhd.h"

struct served;

/* Errors: those of vhd_open. */
int served_open(const char *path, const struct vhd_open_opts *opts,
		struct served **out, struct vhd_err *err);

/* Takes `s` (may be NULL), of which no call may be under way. Not 0: the last
 * data may not be durable.
 */
int served_close(struct served *s, struct vhd_err *err);

/* The same without writing anything more: in the parent of a process that goes
 * on with it, or where nothing was done with it.
 */
void served_abandon(struct served *s);

/* For its facts, its map and vhd_zero. */
struct vhd *served_image(struct served *s);

/* Whole sectors. `flags` are those of struct vhd_req. Any thread.
 * Errors: as a request's, put into words.
 */
int served_read(struct served *s, void *buf, size_t len, uint64_t off_bytes,
		struct vhd_err *err);
int served_write(struct served *s, const void *buf, size_t len,
		 uint64_t off_bytes, uint32_t flags, struct vhd_err *err);
int served_flush(struct served *s, struct vhd_err *err);

/* Have whole sectors read as zero, without writing where that is possible. */
#define SERVED_WISH 1u /* what only a write can zero is left as it is */
#define SERVED_FAST 2u /* it is an error: -EOPNOTSUPP */
int served_zero(struct served *s, uint64_t len, uint64_t off_bytes,
		uint32_t flags, struct vhd_err *err);

#endif

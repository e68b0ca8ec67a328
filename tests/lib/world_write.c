/* SPDX-License-Identifier: BSD-2-Clause */
/* A session with the top image of a world: everything that changes the disk's
 * content, in any order, plain and queued.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "tests/lib/cm.h"
#include "tests/lib/random.h"
#include "tests/lib/world.h"

#define FLIGHT	  8u
#define WRITE_MAX 200u /* sectors */

/* New content for part of the head's disk: noise, one value, or zeros. */
static void redraw(struct world *w, uint64_t lba, uint64_t sectors)
{
	uint8_t *at = world_head(w)->model + lba * 512;
	uint64_t kind = world_below(w, 4);

	for (uint64_t i = 0; i < sectors; i++, at += 512) {
		if (kind == 0) {
			memset(at, 0, 512);
			continue;
		}
		memset(at, (int)world_below(w, 256), 512);
		if (kind == 1)
			memcpy(at, &(uint64_t){random_next(&w->rnd)}, 8);
	}
}

static void pick(struct world *w, uint64_t *lba, uint64_t *sectors)
{
	uint64_t all = world_head(w)->size / 512;
	uint64_t most = world_below(w, 4) ? 1 + world_below(w, 24) : WRITE_MAX;

	*lba = world_below(w, all);
	*sectors = 1 + world_below(w, most);
	if (*sectors > all - *lba)
		*sectors = all - *lba;
}

static void write_plain(struct world *w, struct vhd *img)
{
	uint64_t lba, n;
	struct vhd_err e;

	pick(w, &lba, &n);
	redraw(w, lba, n);
	if (vhd_write(img, lba * 512, world_head(w)->model + lba * 512,
		      (size_t)n * 512, &e))
		world_fail(w, "write: %s", e.text);
}

/* Zeros without writing them, where that can be done. */
static void zero_some(struct world *w, struct vhd *img)
{
	uint64_t lba, n, done;
	struct vhd_err e;

	pick(w, &lba, &n);
	memset(world_head(w)->model + lba * 512, 0, (size_t)n * 512);
	for (; n; lba += done, n -= done) {
		int rc = vhd_zero(img, lba, n, &done, &e);

		if (rc == -EOPNOTSUPP)
			rc = vhd_write(img, lba * 512,
				       world_head(w)->model + lba * 512,
				       (size_t)done * 512, &e);
		if (rc || !done || done > n)
			world_fail(w, "zero: %d: %s", rc, e.text);
	}
}

/* A place for bytes that then do not come: nothing may look different. */
static void place_some(struct world *w, struct vhd *img)
{
	struct vhd_run run;
	uint64_t lba, n;
	struct vhd_err e;
	int rc;

	pick(w, &lba, &n);
	rc = vhd_place(img, lba, n, &run, &e);
	if (vhd_get_info(img)->format == VHD_FORMAT_DIFF) {
		if (rc != -ENOTSUP)
			world_fail(w, "place: %d in a child", rc);
	} else if (rc || run.kind != VHD_RUN_FILE || run.sectors > n) {
		world_fail(w, "place: %d: %s", rc, e.text);
	}
}

/* Many at once, none touching another; a bitmap of sectors would say the same
 * as this: each has its own part of the disk.
 */
static void write_many(struct world *w, struct vhd *img)
{
	struct vhd_queue_opts o = {.engine = world_engine(w), .depth = 5};
	uint64_t share = world_head(w)->size / 512 / FLIGHT;
	struct vhd_req req[FLIGHT], *done[FLIGHT];
	struct iovec iov[FLIGHT];
	struct vhd_queue *q;
	unsigned back = 0;
	struct vhd_err e;

	if (!share || vhd_queue_create(&o, &q, &e))
		return; /* too small a disk, or the machine bars the engine */
	if (vhd_queue_attach(q, img, &e))
		world_fail(w, "attach: %s", e.text);
	for (unsigned i = 0; i < FLIGHT; i++) {
		uint64_t from = world_below(w, share);
		uint64_t n = 1 + world_below(w, share - from);

		from += i * share;
		if (n > WRITE_MAX)
			n = WRITE_MAX;
		redraw(w, from, n);
		iov[i].iov_base = world_head(w)->model + from * 512;
		iov[i].iov_len = n * 512;
		req[i] = (struct vhd_req){
			.img = img,
			.op = VHD_OP_WRITE,
			.flags = world_below(w, 4) ? 0 : VHD_REQ_FUA,
			.lba = from,
			.iov = &iov[i],
			.iov_count = 1,
		};
		vhd_queue_submit(q, &req[i]);
	}
	while (back < FLIGHT) {
		back += vhd_queue_reap(q, done, FLIGHT);
		if (back < FLIGHT && vhd_queue_wait(q, -1, -1))
			world_fail(w, "the engine broke");
	}
	for (unsigned i = 0; i < FLIGHT; i++)
		if (req[i].result)
			world_fail(w, "queued write: %d", req[i].result);
	vhd_queue_destroy(q);
}

static void read_back(struct world *w, struct vhd *img)
{
	uint64_t lba, n;
	uint8_t *b;
	struct vhd_err e;

	pick(w, &lba, &n);
	b = malloc(n * 512);
	assert_non_null(b);
	if (vhd_read(img, lba * 512, b, n * 512, &e))
		world_fail(w, "read: %s", e.text);
	if (memcmp(b, world_head(w)->model + lba * 512, n * 512) != 0)
		world_fail(w, "read back something else at %llu",
			   (unsigned long long)lba);
	free(b);
}

static void flush(struct world *w, struct vhd *img)
{
	struct vhd_err e;

	if (vhd_flush(img, &e))
		world_fail(w, "flush: %s", e.text);
	world_judge_bytes(w, w->count - 1);
}

/* Open the top image, do some of everything, and close it, or leave it as a
 * crash right after a flush would.
 */
void world_write(struct world *w)
{
	struct vhd *img = world_open(w, w->count - 1, true);
	unsigned n = 1 + (unsigned)world_below(w, 8);
	bool crash = world_below(w, 5) == 0;
	struct vhd_err e;

	while (n--)
		switch (world_below(w, 9)) {
		case 3:
			zero_some(w, img);
			break;
		case 4:
			place_some(w, img);
			break;
		case 0:
			flush(w, img);
			break;
		case 1:
			write_many(w, img);
			break;
		case 2:
			read_back(w, img);
			break;
		default:
			write_plain(w, img);
			break;
		}
	if (crash) {
		world_note(w, "+crash");
		flush(w, img);
		vhd_abandon(img);
	} else if (vhd_close(img, &e)) {
		world_fail(w, "close: %s", e.text);
	}
}

/* SPDX-License-Identifier: BSD-2-Clause */
/* Operations of a disk in use: writes of each extent at each place, zeros,
 * queues with flushes and with FUA, in order and out of it.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "tests/lib/simengine.h"
#include "tests/proof/crash.h"

/* Of a write: what comes then. */
enum ending {
	THEN_CLOSE, /* a flush, and the image is closed */
	THEN_LEAVE, /* the process dies */
	THEN_AGAIN, /* a flush, the same sectors once more, a flush */
};

static uint64_t per_block(const struct env *e)
{
	return e->block ? e->block / SECTOR : 16;
}

static uint64_t blocks(const struct env *e)
{
	return (env_sectors(e) + per_block(e) - 1) / per_block(e);
}

/* The first block that is there, or is not. */
static bool block_that(const struct env *e, bool used, uint64_t *block)
{
	for (*block = 0; *block < blocks(e); ++*block)
		if (env_block_used(e, (uint32_t)*block) == used)
			return true;
	return false;
}

static bool boundary(const struct env *e, uint64_t *block)
{
	for (*block = 0; *block + 1 < blocks(e); ++*block)
		if (!e->block ||
		    env_block_used(e, (uint32_t)*block) !=
			    env_block_used(e, (uint32_t)*block + 1))
			return true;
	return blocks(e) > 1 && (*block = 0, true);
}

static bool inside(const struct env *e, int extent, uint64_t block,
		   struct extent *x)
{
	uint64_t per = per_block(e);
	uint64_t left = env_sectors(e) - block * per;

	x->lba = block * per + (extent == PART ? 3 : 0);
	x->count = extent == ONE ? 1 : extent == PART ? 5 : per;
	if (left > per)
		left = per;
	if (x->lba >= block * per + left)
		return false;
	if (x->count > block * per + left - x->lba)
		x->count = block * per + left - x->lba;
	return true;
}

bool extent_find(const struct env *e, int place, int extent, struct extent *x)
{
	uint64_t block, per = per_block(e), n;

	switch (place) {
	case AT_NEW:
		return e->block && block_that(e, false, &block) &&
		       inside(e, extent, block, x);
	case AT_OLD:
		return block_that(e, true, &block) &&
		       inside(e, extent, block, x);
	case AT_LAST:
		return inside(e, extent, blocks(e) - 1, x);
	case AT_ACROSS:
		if (!boundary(e, &block) || (e->cls->large && extent == WHOLE))
			return false;
		n = extent == ONE ? 1 : extent == PART ? 3 : per;
		x->lba = (block + 1) * per - n;
		x->count = extent == WHOLE ? 2 * per : n + 1;
		if (x->count > env_sectors(e) - x->lba)
			x->count = env_sectors(e) - x->lba;
		return true;
	default:
		*x = (struct extent){0, env_sectors(e)};
		return extent == WHOLE && !e->cls->large;
	}
}

static bool has_disk(const struct env *e)
{
	return !e->absent;
}

/* --------------------------------------------------------------- writes -- */

bool extent_fits(const struct env *e, const struct op *o)
{
	struct extent x;

	return has_disk(e) && extent_find(e, o->a, o->b, &x) &&
	       !(e->cls->large && o->b == WHOLE);
}

static int put(struct env *e, struct vhd *img, struct extent x)
{
	int step = env_write(e, x.lba, x.count);
	struct vhd_err err;

	if (vhd_write(img, x.lba * SECTOR, e->model.step[step].data,
		      x.count * SECTOR, &err))
		broken("write: %s", err.text);
	return step;
}

static void flush(struct env *e, struct vhd *img)
{
	struct vhd_err err;

	if (vhd_flush(img, &err))
		broken("flush: %s", err.text);
	env_durable(e);
}

/* Nobody knows what is left of these writes; what is found now stays. */
static void take_as_found(struct env *e, struct extent x)
{
	uint64_t size = env_sectors(e) * SECTOR;
	uint8_t *disk = malloc(size);
	int step = env_write(e, x.lba, x.count);

	if (!disk)
		abort();
	env_content(e, disk, size);
	memcpy(e->model.step[step].data, disk + x.lba * SECTOR,
	       x.count * SECTOR);
	free(disk);
}

static void write_run(struct env *e, const struct op *o)
{
	struct vhd *img = env_use(e);
	struct extent x;

	if (!extent_find(e, o->a, o->b, &x))
		broken("no such place");
	put(e, img, x);
	if (o->c == THEN_LEAVE) {
		vhd_abandon(img);
		take_as_found(e, x);
		return;
	}
	flush(e, img);
	if (o->c == THEN_AGAIN) {
		put(e, img, x);
		flush(e, img);
	}
	env_close(img);
}

/* Another sector of the same block between two flushes that see it. */
static void two_flushes_run(struct env *e, const struct op *o)
{
	struct vhd *img = env_use(e);
	struct extent x;

	if (!extent_find(e, o->a, PART, &x))
		broken("no such place");
	for (int i = 0; i < 2; i++) {
		put(e, img, (struct extent){x.lba + (uint64_t)i, 1});
		flush(e, img);
	}
	put(e, img, (struct extent){x.lba + 2, 1});
	vhd_abandon(img);
	take_as_found(e, (struct extent){x.lba + 2, 1});
}

static bool two_flushes_fit(const struct env *e, const struct op *o)
{
	struct extent x;

	return has_disk(e) && extent_find(e, o->a, PART, &x) && x.count > 2;
}

/* ---------------------------------------------------------------- zeros -- */

static void zeros_write(struct vhd *img, uint64_t lba, uint64_t count)
{
	uint8_t *b = calloc(count, SECTOR);
	struct vhd_err err;

	if (!b || vhd_write(img, lba * SECTOR, b, count * SECTOR, &err))
		broken("writing zeros");
	free(b);
}

static void zero_run(struct env *e, const struct op *o)
{
	struct vhd *img = env_use(e);
	struct extent x;
	struct vhd_err err;

	if (!extent_find(e, o->a, o->b, &x))
		broken("no such place");
	env_zero(e, x.lba, x.count);
	for (uint64_t n; x.count; x.lba += n, x.count -= n) {
		int rc = vhd_zero(img, x.lba, x.count, &n, &err);

		if (rc && rc != -EOPNOTSUPP)
			broken("zero: %s", err.text);
		if (rc)
			zeros_write(img, x.lba, n);
	}
	flush(e, img);
	env_close(img);
}

/* Where a parent has the sectors they may stay as they were. */
void extent_as_read(struct env *e, struct vhd *img, struct extent x)
{
	int step = env_write(e, x.lba, x.count);

	if (vhd_read(img, x.lba * SECTOR, e->model.step[step].data,
		     x.count * SECTOR, NULL))
		broken("reading back");
}

/* --------------------------------------------------------------- queues -- */

/* A write with FUA is durable once it is finished, whatever else is not. */
static void reap(struct env *e, struct vhd_queue *q, unsigned count)
{
	struct vhd_req *req;

	while (count) {
		if (vhd_queue_reap(q, &req, 1)) {
			if (req->result)
				broken("a request fails: %d", req->result);
			if (req->flags & VHD_REQ_FUA)
				env_durable_one(e, (int)(intptr_t)req->user);
			count--;
		} else if (vhd_queue_wait(q, -1, 1000)) {
			broken("the engine broke");
		}
	}
}

struct queued {
	struct vhd_req req;
	struct iovec iov;
};

void env_decide(void *ctx, const struct vhd_io *io, struct sim_fate *fate)
{
	struct env *e = ctx;
	uint64_t len = 0;

	(void)fate;
	for (uint32_t i = 0; i < io->iov_count; i++)
		len += io->iov[i].iov_len;
	if (io->op == VHD_IO_WRITE && io->dsync)
		crashdisk_own_sync(e->disk[0], io->off_bytes, len);
}

/* An engine that does things in order, or late by this chance. */
static struct vhd_queue *queue_make(struct env *e, struct simengine **s,
				    uint64_t seed, unsigned late_permille)
{
	const struct sim_opts how = {.seed = seed,
				     .late_permille = late_permille,
				     .decide = env_decide,
				     .ctx = e};
	struct vhd_queue *q;

	*s = simengine_create(&how);
	if (simengine_queue(*s, 16, &q))
		broken("no queue");
	return q;
}

static void submit(struct env *e, struct vhd_queue *q, struct vhd *img,
		   struct queued *r, struct extent x, bool fua)
{
	int step = env_write(e, x.lba, x.count);

	r->iov = (struct iovec){e->model.step[step].data, x.count * SECTOR};
	r->req = (struct vhd_req){
		.img = img,
		.op = VHD_OP_WRITE,
		.flags = fua ? VHD_REQ_FUA : 0,
		.lba = x.lba,
		.iov = &r->iov,
		.iov_count = 1,
		.user = (void *)(intptr_t)step,
	};
	vhd_queue_submit(q, &r->req);
}

static void queue_flush(struct env *e, struct vhd_queue *q, struct vhd *img)
{
	struct vhd_req req = {.img = img, .op = VHD_OP_FLUSH};

	vhd_queue_submit(q, &req);
	reap(e, q, 1);
	env_durable(e);
}

/* Zeros by a request; UNMAP leaves what only a write could change. */
static void submit_zero(struct env *e, struct vhd_queue *q, struct vhd *img,
			struct queued *r, struct extent x, uint32_t flags)
{
	int step = env_zero(e, x.lba, x.count);

	r->req = (struct vhd_req){
		.img = img,
		.op = VHD_OP_ZERO,
		.flags = flags,
		.lba = x.lba,
		.sectors = x.count,
		.user = (void *)(intptr_t)step,
	};
	vhd_queue_submit(q, &r->req);
}

static void attach(struct vhd_queue *q, struct vhd *img)
{
	struct vhd_err err;

	if (vhd_queue_attach(q, img, &err))
		broken("attach: %s", err.text);
}

/* c: FUA, or a flush behind it. */
static void queue_run(struct env *e, const struct op *o)
{
	struct simengine *s;
	struct vhd_queue *q = queue_make(e, &s, 1, 0);
	struct vhd *img = env_use(e);
	struct extent x;
	struct queued r;

	if (!extent_find(e, o->a, o->b, &x))
		broken("no such place");
	attach(q, img);
	submit(e, q, img, &r, x, o->c);
	reap(e, q, 1);
	if (!o->c)
		queue_flush(e, q, img);
	vhd_queue_detach(q, img);
	vhd_queue_destroy(q);
	simengine_destroy(s);
	env_close(img);
	env_durable(e);
}

/* c: the request's flags. */
static void queue_zero_run(struct env *e, const struct op *o)
{
	struct simengine *s;
	struct vhd_queue *q = queue_make(e, &s, 1, 0);
	struct vhd *img = env_use(e);
	struct extent x;
	struct queued r;

	if (!extent_find(e, o->a, o->b, &x))
		broken("no such place");
	attach(q, img);
	submit_zero(e, q, img, &r, x, (uint32_t)o->c);
	reap(e, q, 1);
	if (o->c & (int)VHD_REQ_UNMAP)
		extent_as_read(e, img, x);
	queue_flush(e, q, img);
	vhd_queue_detach(q, img);
	vhd_queue_destroy(q);
	simengine_destroy(s);
	env_close(img);
}

#define MIXED 6u

/* Writes all over the disk at once, finished in any order, some of them with
 * FUA; then a flush.
 */
static void mixed_run(struct env *e, const struct op *o)
{
	struct simengine *s;
	struct vhd_queue *q = queue_make(e, &s, e->seed + (uint64_t)o->a, 600);
	struct vhd *img = env_use(e);
	uint64_t each = env_sectors(e) / MIXED;
	struct queued r[MIXED];

	attach(q, img);
	for (unsigned i = 0; i < MIXED; i++)
		submit(e, q, img, &r[i],
		       (struct extent){i * each, 1 + (i & 3)}, i % 3 == 1);
	reap(e, q, MIXED);
	queue_flush(e, q, img);
	vhd_queue_detach(q, img);
	vhd_queue_destroy(q);
	simengine_destroy(s);
	env_close(img);
}

static bool any_disk(const struct env *e, const struct op *o)
{
	(void)o;
	return has_disk(e);
}

/* -------------------------------------------------------------- the rest -- */

static bool place_fits(const struct env *e, const struct op *o)
{
	struct extent x;

	return has_disk(e) && e->format == VHD_FORMAT_DYNAMIC &&
	       extent_find(e, o->a, WHOLE, &x);
}

/* Space that somebody else will fill reads as zero. */
static void place_run(struct env *e, const struct op *o)
{
	struct vhd *img = env_use(e);
	struct vhd_run run;
	struct extent x;
	struct vhd_err err;

	if (!extent_find(e, o->a, WHOLE, &x) ||
	    vhd_place(img, x.lba, x.count, &run, &err))
		broken("place");
	flush(e, img);
	env_close(img);
}

static void reopen_run(struct env *e, const struct op *o)
{
	(void)o;
	env_close(env_use(e));
}

static const struct op ops[] = {
#define WRITE(what, place, extent)                                            \
	{.name = "write " what ", close", .fits = extent_fits,                 \
	 .run = write_run, .a = place, .b = extent, .c = THEN_CLOSE,          \
	 .durable = true},                                                    \
	{.name = "write " what ", die", .fits = extent_fits,                   \
	 .run = write_run, .a = place, .b = extent, .c = THEN_LEAVE},         \
	{.name = "write " what " twice", .fits = extent_fits,                  \
	 .run = write_run, .a = place, .b = extent, .c = THEN_AGAIN,          \
	 .durable = true}
#define ZERO(what, place, extent)                                             \
	{.name = "zero " what, .fits = extent_fits, .run = zero_run,           \
	 .a = place, .b = extent, .durable = true}
#define QUEUE(what, place, extent)                                            \
	{.name = "queue " what ", flush", .fits = extent_fits,                 \
	 .run = queue_run, .a = place, .b = extent, .durable = true},         \
	{.name = "queue " what ", FUA", .fits = extent_fits, .run = queue_run, \
	 .a = place, .b = extent, .c = 1, .durable = true}
#define QUEUE_ZERO(what, place, extent)                                       \
	{.name = "queue zeros to " what, .fits = extent_fits,                 \
	 .run = queue_zero_run, .a = place, .b = extent, .durable = true},    \
	{.name = "queue unmapping of " what, .fits = extent_fits,             \
	 .run = queue_zero_run, .a = place, .b = extent, .c = VHD_REQ_UNMAP,  \
	 .durable = true}
	WRITE("a sector of a new block", AT_NEW, ONE),
	WRITE("a part of a new block", AT_NEW, PART),
	WRITE("a new block", AT_NEW, WHOLE),
	WRITE("a sector of an old block", AT_OLD, ONE),
	WRITE("a part of an old block", AT_OLD, PART),
	WRITE("an old block", AT_OLD, WHOLE),
	WRITE("a sector of the last block", AT_LAST, ONE),
	WRITE("a part of the last block", AT_LAST, PART),
	WRITE("the last block", AT_LAST, WHOLE),
	WRITE("a sector of each of two blocks", AT_ACROSS, ONE),
	WRITE("parts of two blocks", AT_ACROSS, PART),
	WRITE("two blocks", AT_ACROSS, WHOLE),
	WRITE("all", AT_ALL, WHOLE),
	{.name = "two flushes, new block", .fits = two_flushes_fit,
	 .run = two_flushes_run, .a = AT_NEW},
	{.name = "two flushes, old block", .fits = two_flushes_fit,
	 .run = two_flushes_run, .a = AT_OLD},
	ZERO("a part of an old block", AT_OLD, PART),
	ZERO("an old block", AT_OLD, WHOLE),
	ZERO("parts of two blocks", AT_ACROSS, PART),
	ZERO("all", AT_ALL, WHOLE),
	QUEUE("a part of a new block", AT_NEW, PART),
	QUEUE("a part of an old block", AT_OLD, PART),
	QUEUE("two blocks", AT_ACROSS, WHOLE),
	QUEUE("all", AT_ALL, WHOLE),
	QUEUE_ZERO("a part of an old block", AT_OLD, PART),
	QUEUE_ZERO("parts of two blocks", AT_ACROSS, PART),
	QUEUE_ZERO("all", AT_ALL, WHOLE),
	{.name = "queue all over", .fits = any_disk, .run = mixed_run, .a = 1,
	 .durable = true},
	{.name = "queue all over, other order", .fits = any_disk,
	 .run = mixed_run, .a = 2, .durable = true},
	{.name = "place a block", .fits = place_fits, .run = place_run,
	 .a = AT_NEW, .durable = true},
	{.name = "open and close", .fits = any_disk, .run = reopen_run,
	 .durable = true},
#undef WRITE
#undef ZERO
#undef QUEUE
#undef QUEUE_ZERO
};

const struct op_table use_ops = {ops, sizeof(ops) / sizeof(ops[0])};

/* SPDX-License-Identifier: BSD-2-Clause */
/* Workloads through a queue, by each engine: reads, writes, writes that must
 * be durable, flushes, more of them than the queue is deep.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "tests/lib/faultwork.h"
#include "vhd/image.h"

#define REQS	  10u
#define DEPTH	  3u
#define TURNS_MAX 100000u

struct session {
	struct fx *f;
	struct vhd *img;
	struct vhd_queue *q;
	struct vhd_req req[REQS];
	struct iovec iov[REQS][3];
	unsigned count;
	bool sync_failed;
};

/* Buffers outlive a ring that broke with requests in the kernel. */
static uint8_t room[REQS][12 * 512];

static void add(struct session *s, enum vhd_op op, uint64_t lba,
		unsigned sectors, uint32_t flags)
{
	unsigned i = s->count++;
	size_t len = (size_t)sectors * 512, third = len / 3;

	if (op == VHD_OP_WRITE) {
		memset(room[i], (int)(0x80 + lba + flags), len);
		fx_wrote(s->f, lba * 512, room[i], len);
	}
	s->iov[i][0] = (struct iovec){room[i], third};
	s->iov[i][1] = (struct iovec){room[i] + third, third};
	s->iov[i][2] = (struct iovec){room[i] + 2 * third, len - 2 * third};
	if (op == VHD_OP_ZERO)
		memset(s->f->high + lba * 512, 0, len);
	s->req[i] = (struct vhd_req){
		.img = s->img,
		.op = op,
		.flags = flags,
		.lba = lba,
		.sectors = op == VHD_OP_ZERO ? sectors : 0,
		.iov = s->iov[i],
		.iov_count = op == VHD_OP_FLUSH || op == VHD_OP_ZERO ? 0 : 3,
	};
	vhd_queue_submit(s->q, &s->req[i]);
}

/* Wait for all of them, each once; the first fault is told. */
static int all_done(struct session *s, struct vhd_err *e)
{
	struct vhd_req *done[REQS];
	unsigned left = s->count, seen = 0;
	int rc = 0;

	for (unsigned turn = 0; left && turn < TURNS_MAX; turn++) {
		unsigned n = vhd_queue_reap(s->q, done, REQS);

		for (unsigned i = 0; i < n; i++) {
			unsigned bit = 1u << (done[i] - s->req);

			if (seen & bit)
				fx_wrong(s->f, "a request ends twice");
			seen |= bit;
			/* Others may fail sooner by what it led to. */
			if (!done[i]->result ||
			    (rc && e->why != VHD_WHY_POISONED))
				continue;
			rc = done[i]->result;
			*e = (struct vhd_err){.code = rc, .why = done[i]->why};
			strcpy(e->text, "a request failed");
		}
		left -= n < left ? n : left;
		if (left)
			(void)vhd_queue_wait(s->q, -1, 100);
	}
	if (left || vhd_queue_in_flight(s->q))
		fx_wrong(s->f, "%u requests never end", left);
	s->count = 0;
	return rc;
}

static int writes(struct session *s, struct vhd_err *e)
{
	int rc;

	add(s, VHD_OP_WRITE, 1, 7, 0);
	add(s, VHD_OP_WRITE, 14, 11, 0);
	add(s, VHD_OP_WRITE, 40, 12, VHD_REQ_FUA);
	add(s, VHD_OP_WRITE, 60, 3, 0);
	add(s, VHD_OP_WRITE, 96, 12, 0);
	rc = all_done(s, e);
	if (rc)
		return rc;
	add(s, VHD_OP_FLUSH, 0, 0, 0);
	add(s, VHD_OP_FLUSH, 0, 0, 0);
	rc = all_done(s, e);
	if (!rc)
		fx_durable(s->f);
	return rc;
}

static int reads(struct session *s, struct vhd_err *e)
{
	static const unsigned lba[] = {0, 12, 30, 55, 90, 116};
	int rc;

	for (unsigned i = 0; i < 6; i++)
		add(s, VHD_OP_READ, lba[i], 12, 0);
	rc = all_done(s, e);
	for (unsigned i = 0; i < 6 && !rc; i++)
		fx_check(s->f, room[i], lba[i] * 512, 12 * 512);
	return rc;
}

/* Over what exists by now: durable by the write alone. */
static int again(struct session *s, struct vhd_err *e)
{
	int rc;

	add(s, VHD_OP_WRITE, 41, 5, VHD_REQ_FUA);
	rc = all_done(s, e);
	if (!rc)
		add(s, VHD_OP_WRITE, 128, 3, 0);
	if (!rc)
		add(s, VHD_OP_ZERO, 98, 9, 0);
	if (!rc)
		rc = all_done(s, e);
	if (!rc)
		add(s, VHD_OP_FLUSH, 0, 0, 0);
	return rc ? rc : all_done(s, e);
}

static void expect_poison(struct session *s)
{
	struct vhd_err e = {0};
	int rc;

	if (!fx_struck(s->f) || (fault_hit()->call != FAULT_FSYNC &&
				 fault_hit()->call != FAULT_DONE_SYNC))
		return;
	fault_suspend(true);
	if (!vhd_poisoned(s->img))
		fx_wrong(s->f, "a failed sync does not poison");
	memset(room[0], 0, 512);
	s->count = 0;
	s->req[0] = (struct vhd_req){.img = s->img, .op = VHD_OP_FLUSH};
	vhd_queue_submit(s->q, &s->req[s->count++]);
	rc = all_done(s, &e);
	if (rc != -EIO || e.why != VHD_WHY_POISONED)
		fx_wrong(s->f, "a poisoned image is flushed: %d", rc);
	fault_suspend(false);
}

static int session(struct fx *f, enum vhd_engine engine, bool writable,
		   struct vhd_err *e)
{
	const struct vhd_open_opts o = {
		.writable = writable,
		.parent_dir = ".",
		.direct = strstr(f->work->name, "direct"),
	};
	const struct vhd_queue_opts how = {.engine = engine, .depth = DEPTH};
	const struct iovec memory = {room, sizeof(room)};
	struct session s = {.f = f};
	int rc = vhd_open(f->file[f->files - 1].name, &o, &s.img, e);

	f->cannot_tell = true;
	if (rc)
		return rc;
	rc = vhd_queue_create(&how, &s.q, e);
	if (!rc)
		rc = vhd_queue_attach(s.q, s.img, e);
	if (!rc && engine == VHD_ENGINE_URING)
		rc = vhd_queue_memory(s.q, &memory, 1, e);
	if (rc)
		goto out;
	if (writable)
		rc = writes(&s, e);
	if (!rc)
		rc = reads(&s, e);
	if (!rc && writable)
		rc = again(&s, e);
	if (rc)
		expect_poison(&s);
	vhd_queue_detach(s.q, s.img);
out:
	vhd_queue_destroy(s.q);
	if (!rc)
		return vhd_close(s.img, e);
	vhd_abandon(s.img);
	return rc;
}

static int run_sync(struct fx *f, struct vhd_err *e)
{
	return session(f, VHD_ENGINE_SYNC, true, e);
}

static int run_aio(struct fx *f, struct vhd_err *e)
{
	return session(f, VHD_ENGINE_AIO, true, e);
}

static int run_uring(struct fx *f, struct vhd_err *e)
{
	return session(f, VHD_ENGINE_URING, true, e);
}

static int run_auto(struct fx *f, struct vhd_err *e)
{
	return session(f, VHD_ENGINE_AUTO, true, e);
}

static int run_uring_read(struct fx *f, struct vhd_err *e)
{
	return session(f, VHD_ENGINE_URING, false, e);
}

static int run_aio_read(struct fx *f, struct vhd_err *e)
{
	return session(f, VHD_ENGINE_AIO, false, e);
}

#define CHAIN3 "l2.vhd l1.vhd l0.vhd"

const struct work fault_work_queue[] = {
	{"queue sync fixed", 0, fw_fixed, run_sync, "l0.vhd", "l0.vhd", NULL},
	{"queue sync dynamic", 0, fw_dynamic, run_sync, "l0.vhd", "l0.vhd",
	 NULL},
	{"queue sync diff", 0, fw_diff, run_sync, "l2.vhd", CHAIN3, NULL},
	{"queue aio fixed", WORK_LONG, fw_fixed, run_aio, "l0.vhd", "l0.vhd",
	 NULL},
	{"queue aio dynamic", WORK_LONG, fw_dynamic, run_aio, "l0.vhd",
	 "l0.vhd", NULL},
	{"queue aio diff", WORK_SLOW | WORK_FEW, fw_diff, run_aio, "l2.vhd",
	 CHAIN3, NULL},
	{"queue aio read", WORK_READS | WORK_LONG, fw_diff, run_aio_read, "",
	 CHAIN3, NULL},
	{"queue uring fixed", WORK_SLOW, fw_fixed, run_uring, "l0.vhd",
	 "l0.vhd", NULL},
	{"queue uring dynamic", WORK_SLOW, fw_dynamic, run_uring, "l0.vhd",
	 "l0.vhd", NULL},
	{"queue uring diff", WORK_SLOW, fw_diff, run_uring, "l2.vhd", CHAIN3,
	 NULL},
	{"queue uring read", WORK_READS | WORK_SLOW, fw_diff, run_uring_read,
	 "", CHAIN3, NULL},
	{"queue direct", 0, fw_dynamic, run_sync, "l0.vhd", "l0.vhd", NULL},
	{"queue auto", WORK_SLOW, fw_dynamic, run_auto, "l0.vhd", "l0.vhd",
	 NULL},
	{0},
};

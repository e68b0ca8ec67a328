/* SPDX-License-Identifier: BSD-2-Clause */
/* A queue over a simulated engine over an image in memory, and a table of
 * faults that says what becomes of which operation.
 */
#ifndef TESTS_LIB_QSIM_H
#define TESTS_LIB_QSIM_H

#include "tests/lib/qtest.h"
#include "tests/lib/simengine.h"

#define BLOCK (64u << 10)
#define BLOCK_SECTORS (BLOCK / SECTOR)
#define DISK_BYTES (4u << 20)

/* The n-th completed operation of a kind (from 1) has this fate. */
struct qsim_plan {
	enum vhd_io_op op;
	unsigned nth; /* 0: unused */
	bool and_later;
	struct sim_fate fate;
};

struct qsim {
	struct memfile *mem;
	struct vhd *img;
	struct simengine *sim;
	struct vhd_queue *q;
	struct qsim_plan plan[4];
	unsigned seen[VHD_IO_ZERO + 1]; /* of each vhd_io_op */
	int medium_fault; /* for hooks of the medium */
	uint8_t buf[8 * BLOCK];
};

static inline void qsim_decide(void *ctx, const struct vhd_io *io,
			       struct sim_fate *fate)
{
	struct qsim *f = ctx;
	unsigned nth = ++f->seen[io->op];

	for (unsigned i = 0; i < 4; i++) {
		const struct qsim_plan *p = &f->plan[i];

		if (p->nth && p->op == io->op &&
		    (p->nth == nth || (p->and_later && nth > p->nth)))
			*fate = p->fate;
	}
}

static inline struct qsim *qsim_build(enum vhd_format format, uint32_t depth,
				      struct sim_opts opts)
{
	struct qsim *f = calloc(1, sizeof(*f));

	assert_non_null(f);
	f->mem = memfile_create();
	f->img = qtest_create_mem(memfile_file(f->mem), format, DISK_BYTES,
				  BLOCK);
	opts.decide = qsim_decide;
	opts.ctx = f;
	f->sim = simengine_create(&opts);
	assert_int_equal(simengine_queue(f->sim, depth, &f->q), 0);
	qtest_attach(f->q, f->img);
	return f;
}

static inline int qsim_tear_down(void **state)
{
	struct qsim *f = *state;

	assert_int_equal(vhd_queue_in_flight(f->q), 0);
	vhd_queue_detach(f->q, f->img);
	vhd_queue_destroy(f->q);
	simengine_destroy(f->sim);
	vhd_abandon(f->img);
	memfile_destroy(f->mem);
	free(f);
	return 0;
}

static inline struct vhd_req qsim_req(struct qsim *f, enum vhd_op op,
				      uint64_t lba, const struct iovec *iov)
{
	return (struct vhd_req){.img = f->img, .op = op, .lba = lba,
				.iov = iov, .iov_count = iov ? 1 : 0};
}

static inline int qsim_io(struct qsim *f, enum vhd_op op, uint64_t lba,
			  size_t len)
{
	return qtest_io(f->q, f->img, op, lba, f->buf, len);
}

/* Make the blocks of [0, len) exist and durable, with generation 1 in them,
 * and count operations from here.
 */
static inline void qsim_prepare(struct qsim *f, size_t len)
{
	qtest_fill(f->buf, len, 0, 1);
	assert_int_equal(qsim_io(f, VHD_OP_WRITE, 0, len), 0);
	assert_int_equal(qtest_flush(f->q, f->img), 0);
	memset(f->seen, 0, sizeof(f->seen));
}

static inline void qsim_plan(struct qsim *f, unsigned i, enum vhd_io_op op,
			     unsigned nth, struct sim_fate fate)
{
	f->plan[i] = (struct qsim_plan){op, nth, false, fate};
}

/* Nothing finishes now, however often one asks. */
static inline void qsim_nothing_ends(struct qsim *f)
{
	struct vhd_req *req;

	for (int i = 0; i < 3; i++) {
		assert_int_equal(vhd_queue_wait(f->q, -1, 0), 0);
		assert_int_equal(vhd_queue_reap(f->q, &req, 1), 0);
	}
}

#endif

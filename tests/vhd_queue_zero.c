/* SPDX-License-Identifier: BSD-2-Clause */
/* VHD_OP_ZERO: which sectors get a hole, which are written, which are left,
 * and what a fault on the way does.
 */
#include <errno.h>

#include "tests/lib/childpair.h"
#include "tests/lib/simengine.h"

#define BLOCK (64 * KIB)
#define DISK  (1 * MIB)

struct bed {
	struct pair p;
	struct simengine *sim;
	struct vhd_queue *q;
};

static void bed_make(struct bed *b)
{
	pair_make(&b->p, DISK, BLOCK);
	b->sim = simengine_create(NULL);
	assert_int_equal(simengine_queue(b->sim, 16, &b->q), 0);
	qtest_attach(b->q, b->p.img);
}

static void bed_free(struct bed *b)
{
	vhd_queue_detach(b->q, b->p.img);
	vhd_queue_destroy(b->q);
	simengine_destroy(b->sim);
	pair_close(&b->p);
	pair_free(&b->p);
}

static struct vhd_req zero(struct bed *b, uint64_t lba, uint64_t sectors,
			   uint32_t flags)
{
	struct vhd_req req = {
		.img = b->p.img,
		.op = VHD_OP_ZERO,
		.flags = flags,
		.lba = lba,
		.sectors = sectors,
	};
	struct vhd_req *done;

	vhd_queue_submit(b->q, &req);
	while (!vhd_queue_reap(b->q, &done, 1))
		assert_int_equal(vhd_queue_wait(b->q, -1, 1000), 0);
	assert_ptr_equal(done, &req);
	return req;
}

static void a_parents_sectors_are_hidden_by_zeros(void **state)
{
	struct bed b;

	(void)state;
	bed_make(&b);
	put(&b.p, 10, 4);
	assert_int_equal(zero(&b, 8, 8, 0).result, 0);
	expect(&b.p, 7, OLD);
	for (uint64_t lba = 8; lba < 16; lba++)
		expect(&b.p, lba, 0);
	expect(&b.p, 16, OLD);
	/* the child's own four by a hole, the parent's around them by writes */
	assert_int_equal(simengine_count_op(b.sim, VHD_IO_ZERO), 1);
	assert_int_equal(simengine_count_op(b.sim, VHD_IO_WRITE), 2);
	bed_free(&b);
}

static void unmapping_leaves_a_parents_sectors(void **state)
{
	struct bed b;
	uint64_t len;

	(void)state;
	bed_make(&b);
	put(&b.p, 10, 4);
	len = memfile_len(b.p.top);
	assert_int_equal(zero(&b, 0, DISK / 512, VHD_REQ_UNMAP).result, 0);
	expect(&b.p, 9, OLD);
	expect(&b.p, 10, 0);
	expect(&b.p, 13, 0);
	expect(&b.p, 14, OLD);
	assert_int_equal(simengine_count_op(b.sim, VHD_IO_WRITE), 0);
	assert_int_equal(memfile_len(b.p.top), len);
	bed_free(&b);
}

static void without_holes_zeros_are_written_or_nothing(void **state)
{
	struct bed b;

	(void)state;
	bed_make(&b);
	memfile_set_no_zero(b.p.top, true);
	put(&b.p, 0, 128);
	assert_int_equal(zero(&b, 1, 2, VHD_REQ_UNMAP).result, 0);
	expect(&b.p, 1, NEW);
	assert_int_equal(simengine_count_op(b.sim, VHD_IO_ZERO), 1);
	assert_int_equal(zero(&b, 4, 100, 0).result, 0);
	expect(&b.p, 3, NEW);
	expect(&b.p, 4, 0);
	expect(&b.p, 103, 0);
	expect(&b.p, 104, NEW);
	/* asked once, known then */
	assert_int_equal(simengine_count_op(b.sim, VHD_IO_ZERO), 1);
	bed_free(&b);
}

static void fail_zero(void *ctx, const struct vhd_io *io, struct sim_fate *f)
{
	if (io->op == VHD_IO_ZERO)
		f->code = *(const int *)ctx;
}

static void a_fault_is_told_with_its_sector(void **state)
{
	int code = -EIO;
	const struct sim_opts opts = {.decide = fail_zero, .ctx = &code};
	struct vhd_req req;
	struct bed b;

	(void)state;
	pair_make(&b.p, DISK, BLOCK);
	b.sim = simengine_create(&opts);
	assert_int_equal(simengine_queue(b.sim, 16, &b.q), 0);
	qtest_attach(b.q, b.p.img);
	put(&b.p, 10, 4);
	req = zero(&b, 8, 8, VHD_REQ_UNMAP);
	assert_int_equal(req.result, -EIO);
	assert_int_equal(req.bad_lba, 10);
	code = -ENOSPC;
	req = zero(&b, 8, 8, VHD_REQ_UNMAP);
	assert_int_equal(req.result, -ENOSPC);
	assert_int_equal(req.why, VHD_WHY_NO_SPACE);
	/* This one alone may be badly aligned for a device: zeros then. */
	code = -EINVAL;
	assert_int_equal(zero(&b, 8, 8, 0).result, 0);
	expect(&b.p, 10, 0);
	bed_free(&b);
}

static void bad_requests_are_refused(void **state)
{
	struct bed b;
	struct vhd_req req;

	(void)state;
	bed_make(&b);
	assert_int_equal(zero(&b, 0, 0, 0).result, 0);
	assert_int_equal(zero(&b, DISK / 512, 1, 0).why, VHD_WHY_RANGE);
	assert_int_equal(zero(&b, UINT64_MAX, 2, 0).why, VHD_WHY_RANGE);
	req = zero(&b, 0, UINT64_MAX, 0);
	assert_int_equal(req.result, -EINVAL);
	assert_int_equal(zero(&b, 0, 1, VHD_REQ_FUA).why, VHD_WHY_ARGUMENT);
	vhd_poison(b.p.img);
	assert_int_equal(zero(&b, 0, 1, VHD_REQ_UNMAP).why, VHD_WHY_POISONED);
	vhd_queue_detach(b.q, b.p.img);
	vhd_queue_destroy(b.q);
	simengine_destroy(b.sim);
	vhd_abandon(b.p.img);
	b.p.img = NULL;
	pair_free(&b.p);
}

#define T(name) cmocka_unit_test(name)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(a_parents_sectors_are_hidden_by_zeros),
		T(unmapping_leaves_a_parents_sectors),
		T(without_holes_zeros_are_written_or_nothing),
		T(a_fault_is_told_with_its_sector),
		T(bad_requests_are_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: BSD-2-Clause */
/* Faults of the host's disk as the guest sees them: each gives exactly one
 * answer, with the sense of the table.
 */
#include <errno.h>

#include "tests/lib/simvsp.h"

/* What happens to the n-th operation from now on (0: the next), and after. */
struct plan {
	unsigned skip;
	int code;
	uint64_t most_bytes;
	bool nothing;
	bool forever;
	enum vhd_io_op op;
};

static void decide(void *ctx, const struct vhd_io *io, struct sim_fate *fate)
{
	struct plan *p = ctx;

	if (io->op != p->op || (!p->code && !p->nothing && !p->most_bytes))
		return;
	if (p->skip-- > 0)
		return;
	fate->code = p->code;
	fate->nothing = p->nothing;
	fate->most_bytes = p->most_bytes;
	if (p->forever)
		p->skip = 0;
	else
		*p = (struct plan){0};
}

static void start(struct simvsp *w, struct plan *p)
{
	struct sim_opts sim = {.decide = decide, .ctx = p};

	*p = (struct plan){0};
	simvsp_start(w, NULL, &sim);
}

static void check(struct simvsp *w, char what, uint8_t lun, uint64_t lba,
		  const struct vsc_status *want, uint32_t *information)
{
	uint64_t id = simvsp_send(w, w->c, what, lun, lba);
	struct vsc_answer a;
	struct vsc_status s;

	vsc_wait(w->c, id, &a);
	simvsp_quiet(w->c);
	s = vsc_status(&a);
	assert_int_equal(s.srb, want->srb);
	assert_int_equal(s.scsi, want->scsi);
	assert_int_equal(s.key, want->key);
	assert_int_equal(s.asc, want->asc);
	assert_int_equal(s.ascq, want->ascq);
	if (want->srb != 1)
		assert_int_equal(le32_get(a.p.u.request.transfer_length), 0);
	if (information) {
		const uint8_t *d = a.p.u.request.cdb_or_sense;

		*information = d[0] & 0x80 ? (uint32_t)d[3] << 24 |
						     (uint32_t)d[4] << 16 |
						     (uint32_t)d[5] << 8 | d[6]
					   : 0;
	}
}

#define GOOD                                                                   \
	{                                                                      \
		0x01, 0x00, 0, 0, 0                                            \
	}
#define READ_ERROR                                                             \
	{                                                                      \
		0x84, 0x02, 0x3, 0x11, 0x00                                    \
	}
#define WRITE_ERROR                                                            \
	{                                                                      \
		0x84, 0x02, 0x3, 0x0C, 0x00                                    \
	}
#define NO_SPACE                                                               \
	{                                                                      \
		0x84, 0x02, 0x7, 0x27, 0x07                                    \
	}
#define PROTECTED                                                              \
	{                                                                      \
		0x84, 0x02, 0x7, 0x27, 0x00                                    \
	}
#define POISONED                                                               \
	{                                                                      \
		0x84, 0x02, 0x4, 0x44, 0x00                                    \
	}
#define RESOURCES                                                              \
	{                                                                      \
		0x84, 0x02, 0xB, 0x55, 0x03                                    \
	}

static const struct vsc_status good = GOOD;

static void every_fault_has_its_sense(void **state)
{
	static const struct {
		char what;
		enum vhd_io_op op;
		int code;
		struct vsc_status want;
	} rows[] = {
		{'r', VHD_IO_READ, -EIO, READ_ERROR},
		{'r', VHD_IO_READ, -ENODEV, READ_ERROR},
		{'r', VHD_IO_READ, -ENOMEM, RESOURCES},
		{'w', VHD_IO_WRITE, -EIO, WRITE_ERROR},
		{'w', VHD_IO_WRITE, -ENOSPC, NO_SPACE},
		{'w', VHD_IO_WRITE, -EDQUOT, NO_SPACE},
		{'w', VHD_IO_WRITE, -EFBIG, NO_SPACE},
		{'w', VHD_IO_WRITE, -EROFS, PROTECTED},
		{'w', VHD_IO_WRITE, -ENOMEM, RESOURCES},
		{'f', VHD_IO_WRITE, -EIO, WRITE_ERROR},
		{'f', VHD_IO_WRITE, -ENOSPC, NO_SPACE},
		{'s', VHD_IO_SYNC, -EIO, WRITE_ERROR},
		{'s', VHD_IO_SYNC, -ENOSPC, NO_SPACE},
		{'s', VHD_IO_SYNC, -EDQUOT, NO_SPACE},
	};

	(void)state;
	for (unsigned i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct storvsp_stats s;
		struct simvsp w;
		struct plan p;

		start(&w, &p);
		p.op = rows[i].op;
		p.code = rows[i].code;
		check(&w, rows[i].what, 1, 16, &rows[i].want, NULL);
		storvsp_get_stats(vsc_vsp(w.v), &s);
		assert_int_equal(s.errors, 1);
		assert_int_equal(s.read_bytes + s.written_bytes, 0);
		assert_true(vsc_log_lines(w.v) >= 2);
		simvsp_stop(&w);
	}
}

static void faults_that_pass_are_not_seen(void **state)
{
	static const struct plan plans[] = {
		{.op = VHD_IO_READ, .code = -EINTR},
		{.op = VHD_IO_READ, .code = -EAGAIN},
		{.op = VHD_IO_READ, .most_bytes = 1},
		{.op = VHD_IO_READ, .most_bytes = 513},
	};

	(void)state;
	for (unsigned i = 0; i < 4; i++) {
		struct simvsp w;
		struct plan p;

		start(&w, &p);
		p = plans[i];
		check(&w, 'r', 1, 16, &good, NULL);
		simvsp_stop(&w);
	}
}

static void read_past_the_end_of_the_file_is_a_read_error(void **state)
{
	static const struct vsc_status want = READ_ERROR;
	struct simvsp w;
	struct plan p;

	(void)state;
	start(&w, &p);
	p = (struct plan){.op = VHD_IO_READ, .nothing = true};
	check(&w, 'r', 1, 16, &want, NULL);
	simvsp_stop(&w);
}

static int short_then_fail;

static void decide_short(void *ctx, const struct vhd_io *io,
			 struct sim_fate *fate)
{
	int *n = ctx;

	if (io->op != VHD_IO_READ || *n == 0)
		return;
	if ((*n)-- == 2)
		fate->most_bytes = 3 * 512 + 100;
	else
		fate->code = -EIO;
}

/* Linux takes what comes before the first bad sector as read. */
static void first_bad_sector_is_told(void **state)
{
	static const struct vsc_status want = READ_ERROR;
	struct sim_opts sim = {
		.decide = decide_short,
		.ctx = &short_then_fail,
	};
	uint32_t information;
	struct simvsp w;

	(void)state;
	short_then_fail = 0;
	simvsp_start(&w, NULL, &sim);
	short_then_fail = 2;
	check(&w, 'r', 1, 100, &want, &information);
	assert_int_equal(information, 103);
	/* at once: the first sector */
	short_then_fail = 1;
	check(&w, 'r', 1, 100, &want, &information);
	assert_int_equal(information, 100);
	check(&w, 'r', 1, 100, &good, NULL);
	simvsp_stop(&w);
}

/* Never flush again and call the data safe. */
static void failed_flush_poisons_writes_but_not_reads(void **state)
{
	static const struct vsc_status failed = WRITE_ERROR,
				       poisoned = POISONED;
	struct simvsp w;
	struct plan p;

	(void)state;
	start(&w, &p);
	check(&w, 'w', 0, 0, &good, NULL);
	p = (struct plan){.op = VHD_IO_SYNC, .code = -EIO};
	check(&w, 's', 0, 0, &failed, NULL);
	check(&w, 's', 0, 0, &poisoned, NULL);
	check(&w, 'w', 0, 0, &poisoned, NULL);
	check(&w, 'r', 0, 0, &good, NULL);
	/* the other disk is not touched by it */
	check(&w, 'w', 1, 0, &good, NULL);
	check(&w, 's', 1, 0, &good, NULL);
	simvsp_stop(&w);
}

static int no_growth(void *ctx, enum memfile_op op, uint64_t off, uint64_t len)
{
	if (op == MEMFILE_READ || op == MEMFILE_FLUSH || op == MEMFILE_SIZE)
		return 0;
	return off + len > *(uint64_t *)ctx ? -ENOSPC : 0;
}

static void full_host_disk_is_told_as_no_space(void **state)
{
	static const struct vsc_status want = NO_SPACE;
	uint64_t limit;
	struct simvsp w;
	struct plan p;

	(void)state;
	start(&w, &p);
	limit = memfile_len(w.m[0]);
	memfile_set_hook(w.m[0], no_growth, &limit);
	check(&w, 'w', 0, 0, &want, NULL);
	check(&w, 'r', 0, 0, &good, NULL);
	/* somebody makes room: it goes on */
	memfile_set_hook(w.m[0], NULL, NULL);
	check(&w, 'w', 0, 0, &good, NULL);
	check(&w, 's', 0, 0, &good, NULL);
	simvsp_stop(&w);
}

static void disk_that_the_host_opened_read_only_is_protected(void **state)
{
	static const struct vsc_status want = PROTECTED;
	struct vhd_open_opts ro = {.format = VHD_FORMAT_FIXED};
	struct memfile *m = memfile_create();
	struct vhd_file file;
	struct vhd *img;
	struct simvsp w;
	struct plan p;

	(void)state;
	qtest_close(qtest_create_mem(memfile_file(m), VHD_FORMAT_FIXED, 1 << 20,
				     0));
	file = memfile_file(m);
	assert_int_equal(vhd_open_file(&file, &ro, &img, NULL), 0);
	start(&w, &p);
	vsc_disk(w.v, img, 0, 0, 2, true);
	check(&w, 'w', 2, 0, &want, NULL);
	check(&w, 'f', 2, 0, &want, NULL);
	check(&w, 's', 2, 0, &good, NULL);
	check(&w, 'r', 2, 0, &good, NULL);
	/* even where the controller was not told */
	simvsp_stop(&w);
	start(&w, &p);
	vsc_disk(w.v, img, 0, 0, 3, false);
	check(&w, 'w', 3, 0, &want, NULL);
	check(&w, 's', 3, 0, &good, NULL);
	simvsp_stop(&w);
	qtest_close(img);
	memfile_destroy(m);
}

static void broken_engine_fails_all_requests_and_can_be_closed(void **state)
{
	static const struct vsc_status r = READ_ERROR, wr = WRITE_ERROR;
	uint64_t id[3];
	struct simvsp w;
	struct plan p;

	(void)state;
	start(&w, &p);
	simvsp_hold(&w, true);
	for (unsigned i = 0; i < 3; i++)
		id[i] = simvsp_send(&w, w.c, 'r', 1, i);
	vsc_pump(w.v);
	simengine_break(w.sim[0], -EBADF);
	for (unsigned i = 0; i < 3; i++) {
		struct vsc_answer a;

		assert_true(vsc_recv(w.c, &a));
		assert_true(a.id >= id[0] && a.id <= id[2]);
		assert_int_equal(vsc_status(&a).asc, 0x11);
	}
	check(&w, 'r', 1, 0, &r, NULL);
	check(&w, 'w', 1, 0, &wr, NULL);
	vsc_close(w.c);
	/* what was in flight at the engine is gone with it */
	w.c = vsc_open(w.v, 0);
	vsc_negotiate(w.c, STORVSP_VERSION_WIN10, NULL);
	check(&w, 'r', 1, 0, &good, NULL);
	vsc_destroy(w.v);
	for (unsigned i = 0; i < w.engines; i++)
		simengine_destroy(w.sim[i]);
	for (unsigned i = 0; i < 2; i++) {
		qtest_close(w.img[i]);
		memfile_destroy(w.m[i]);
	}
}

static int no_queue(void *arg, struct vhd_queue **out, struct vhd_err *err)
{
	(void)out;
	if (*(bool *)arg)
		return vhd_fail(err, -ENOSYS, VHD_WHY_SYSTEM, 0,
				"no engine today");
	return vhd_queue_create(
		&(struct vhd_queue_opts){.engine = VHD_ENGINE_SYNC}, out, err);
}

static void channel_without_a_disk_queue_is_refused(void **state)
{
	bool barred = true;
	struct vsc_opts o = {
		.vsp.queue_create = no_queue,
		.vsp.queue_arg = &barred,
	};

	(void)state;
	for (unsigned threaded = 0; threaded < 2; threaded++) {
		struct vsc_channel *c;
		struct vsc *v;

		barred = true;
		o.threaded = threaded;
		v = vsc_create(&o);
		assert_null(vsc_open(v, 0));
		assert_true(vsc_log_lines(v) == 1);
		barred = false;
		c = vsc_open(v, 0);
		assert_non_null(c);
		vsc_negotiate(c, STORVSP_VERSION_WIN10, NULL);
		vsc_destroy(v);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_fault_has_its_sense),
		cmocka_unit_test(faults_that_pass_are_not_seen),
		cmocka_unit_test(read_past_the_end_of_the_file_is_a_read_error),
		cmocka_unit_test(first_bad_sector_is_told),
		cmocka_unit_test(failed_flush_poisons_writes_but_not_reads),
		cmocka_unit_test(full_host_disk_is_told_as_no_space),
		cmocka_unit_test(
			disk_that_the_host_opened_read_only_is_protected),
		cmocka_unit_test(
			broken_engine_fails_all_requests_and_can_be_closed),
		cmocka_unit_test(channel_without_a_disk_queue_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

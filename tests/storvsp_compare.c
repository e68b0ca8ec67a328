/* SPDX-License-Identifier: BSD-2-Clause */
/* COMPARE AND WRITE: what is refused, what is found to differ and where, and
 * that nothing is written between its look and its write, on any channel, at
 * any step, whatever ends it.
 */
#include <pthread.h>

#include "tests/lib/qtest.h"
#include "tests/lib/random.h"
#include "tests/lib/scsitask.h"
#include "tests/lib/simvsp.h"

#define LUN 1 /* fixed: an operation each for the look and the write */

/* ------------------------------------------------------------- refused --- */

static enum scsi_verdict decode(struct task *k, uint8_t flags, uint64_t lba,
				uint8_t blocks, uint32_t buffer)
{
	uint8_t cdb[16] = {0x89, flags, [13] = blocks};

	scsi_put64(cdb + 2, lba);
	k->t.data_in = STORVSP_DATA_OUT;
	k->t.buffer_bytes = buffer;
	memcpy(k->t.cdb, cdb, 16);
	k->t.disk = &k->disk;
	k->t.param_bytes = scsi_param_wanted(&k->t);
	k->luns = (struct storvsp_luns){0};
	assert_int_equal(storvsp_luns_add(&k->luns, &k->disk), 0);
	return task_run(k, 0, cdb, 16);
}

static void what_does_not_fit_is_refused(void **state)
{
	static const struct {
		uint8_t flags;
		uint64_t lba;
		uint8_t blocks;
		uint32_t buffer;
		bool large;
		enum scsi_verdict want;
	} rows[] = {
		{0, 0, 1, 1024, false, SCSI_IO},
		{0, 0, 8, 8192, false, SCSI_IO}, /* N, as B0 says ... */
		{0, 0, 9, 16384, false, SCSI_BAD_FIELD}, /* ... and N + 1 */
		{0, 0, 255, 1u << 20, false, SCSI_BAD_FIELD},
		{0, 0, 1, 8192, true, SCSI_IO},
		{0, 0, 2, 16384, true, SCSI_BAD_FIELD},
		{0, 0, 1, 1023, false, SCSI_BAD_FIELD},
		{0, 0, 1, 0, false, SCSI_BAD_FIELD},
		{0, 0, 0, 0, false, SCSI_GOOD},
		{0, TASK_SECTORS - 1, 1, 1024, false, SCSI_IO},
		{0, TASK_SECTORS - 1, 2, 2048, false, SCSI_LBA_RANGE},
		{0, TASK_SECTORS, 1, 1024, false, SCSI_LBA_RANGE},
		{0, UINT64_MAX, 1, 1024, false, SCSI_LBA_RANGE},
		{0x20, 0, 1, 1024, false, SCSI_BAD_FIELD}, /* WRPROTECT */
		{0x80, 0, 1, 1024, false, SCSI_BAD_FIELD},
		{0x18, 0, 1, 1024, false, SCSI_IO}, /* DPO, FUA */
	};

	(void)state;
	for (unsigned i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct task k;

		task_init(&k, 0, STORVSP_DATA_OUT);
		k.disk.block_log2 = rows[i].large ? 3 : 0;
		assert_int_equal(decode(&k, rows[i].flags, rows[i].lba,
					rows[i].blocks, rows[i].buffer),
				 rows[i].want);
		if (rows[i].want == SCSI_IO)
			assert_int_equal(k.t.io.fua, rows[i].flags == 0x18);
		atomic_store(&k.switches.cache_off, true);
		if (rows[i].want == SCSI_IO) {
			assert_int_equal(decode(&k, rows[i].flags, rows[i].lba,
						rows[i].blocks,
						rows[i].buffer),
					 SCSI_IO);
			assert_true(k.t.io.fua);
		}
		k.disk.read_only = true;
		if (rows[i].want == SCSI_IO)
			assert_int_equal(decode(&k, rows[i].flags, rows[i].lba,
						rows[i].blocks,
						rows[i].buffer),
					 SCSI_WRITE_PROTECTED);
	}
}

/* ------------------------------------------------------ through the VSP -- */

/* One of `blocks` sectors at `lba`; both halves of the buffer are filled with
 * bytes of generations.
 */
static struct vsc_cmd command(struct vsc_buffer *b, uint8_t lun, uint64_t lba,
			      uint8_t blocks, unsigned expected,
			      unsigned replaced)
{
	struct vsc_cmd cmd = {
		.lun = lun,
		.cdb = {0x89, [13] = blocks},
		.data_in = STORVSP_DATA_OUT,
		.bytes = 2u * blocks * SECTOR,
		.buffer = b,
	};
	uint8_t data[16 * SECTOR];
	size_t half = (size_t)blocks * SECTOR;

	scsi_put64(cmd.cdb + 2, lba);
	qtest_fill(data, half, lba, expected);
	qtest_fill(data + half, half, lba, replaced);
	vsc_buffer_put(b, data, 2 * half);
	return cmd;
}

static void put(struct simvsp *w, uint64_t lba, unsigned sectors,
		unsigned generation)
{
	uint8_t data[16 * SECTOR];

	qtest_fill(data, sectors * SECTOR, lba, generation);
	assert_int_equal(vhd_write(w->img[LUN], lba * SECTOR, data,
				   sectors * SECTOR, NULL),
			 0);
}

static void check(struct simvsp *w, uint64_t lba, unsigned sectors,
		  unsigned generation)
{
	uint8_t data[16 * SECTOR];

	assert_int_equal(vhd_read(w->img[LUN], lba * SECTOR, data,
				  sectors * SECTOR, NULL),
			 0);
	qtest_check(data, sectors * SECTOR, lba, generation);
}

static void what_is_as_expected_is_replaced(void **state)
{
	(void)state;
	for (uint8_t n = 1; n <= 8; n++) {
		struct simvsp w;
		struct vsc_answer a;
		struct storvsp_stats s;
		struct vsc_cmd cmd;

		simvsp_start(&w, NULL, NULL);
		put(&w, 5, 16, 1);
		cmd = command(&w.b, LUN, 5, n, 1, 2);
		cmd.cdb[1] = 0x08; /* FUA */
		w.b.offset = 0;
		vsc_run(w.c, &cmd, &a);
		assert_true(vsc_good(&a));
		assert_int_equal(le32_get(a.p.u.request.transfer_length),
				 2u * n * SECTOR);
		check(&w, 5, n, 2);
		assert_true(simengine_event(w.sim[0], 1)->dsync);
		storvsp_get_stats(vsc_vsp(w.v), &s);
		assert_int_equal(s.reads, 1);
		assert_int_equal(s.writes, 1);
		assert_int_equal(s.written_bytes, n * SECTOR);
		simvsp_stop(&w);
	}
}

static void what_differs_is_told_by_its_place_and_stays(void **state)
{
	struct simvsp w;
	unsigned said;

	(void)state;
	simvsp_start(&w, NULL, NULL);
	said = vsc_log_lines(w.v);
	put(&w, 8, 8, 1);
	/* from the last byte on */
	for (unsigned n = 1; n <= 8 * SECTOR; n += 1 + n / 9) {
		struct vsc_cmd cmd = command(&w.b, LUN, 8, 8, 1, 2);
		struct vsc_answer a;
		const uint8_t *s = a.p.u.request.cdb_or_sense;
		unsigned at = 8 * SECTOR - n;
		uint8_t data[8 * SECTOR];

		vsc_buffer_get(&w.b, data, sizeof(data));
		data[at] ^= 0x01;
		vsc_buffer_put(&w.b, data, sizeof(data));
		vsc_run(w.c, &cmd, &a);
		assert_int_equal(vsc_status(&a).key, 0xE);
		assert_int_equal(vsc_status(&a).asc, 0x1D);
		assert_int_equal(s[0], 0xF0); /* VALID */
		assert_int_equal(scsi_get32(s + 3), at);
		check(&w, 8, 8, 1);
	}
	assert_int_equal(vsc_log_lines(w.v), said); /* no failure of ours */
	simvsp_stop(&w);
}

/* -------------------------------------------------------------- turns ---- */

static void two_channels(struct simvsp *w, struct vsc_channel **sub)
{
	const struct vsc_opts o = {.vsp.max_subchannels = 1, .guest.vps = 2};

	simvsp_start(w, &o, NULL);
	assert_int_equal(vsc_create_subs(w->c, 1), 0);
	*sub = simvsp_sub(w, 1);
}

static size_t reads(const struct simvsp *w)
{
	return simengine_count_op(w->sim[0], VHD_IO_READ);
}

static void it_waits_for_writes_and_writes_wait_for_it(void **state)
{
	struct vsc_buffer b;
	struct vsc_channel *sub;
	uint64_t before, compare, read, after;
	struct vsc_cmd cmd;
	struct simvsp w;

	(void)state;
	two_channels(&w, &sub);
	vsc_buffer_init(w.v, &b, 16);
	put(&w, 0, 8, 1);
	simvsp_hold(&w, true);
	vsc_buffer_put(&w.b, (uint8_t[8 * SECTOR]){0}, 8 * SECTOR);
	before = simvsp_send(&w, sub, 'w', LUN, 64);
	simvsp_quiet(sub);
	cmd = command(&b, LUN, 0, 8, 1, 2);
	compare = vsc_start(w.c, &cmd);
	simvsp_quiet(w.c);
	assert_int_equal(simengine_in_flight(w.sim[0]), 0);
	/* who wants to be alone is not overtaken by later writes */
	after = simvsp_send(&w, sub, 'w', LUN, 0);
	simvsp_quiet(sub);
	assert_int_equal(simengine_in_flight(w.sim[1]), 1);
	simengine_allow(w.sim[1], 1);
	simvsp_expect(sub, before, "good");
	vsc_pump(w.v);
	assert_int_equal(simengine_in_flight(w.sim[0]), 1);
	assert_int_equal(simengine_in_flight(w.sim[1]), 0);
	/* other disks go on */
	read = simvsp_send(&w, sub, 'r', 0, 0);
	simengine_allow(w.sim[1], 1);
	simvsp_expect(sub, read, "good");
	simengine_allow(w.sim[0], 1); /* the look */
	vsc_pump(w.v);
	assert_int_equal(reads(&w), 1);
	assert_int_equal(simengine_in_flight(w.sim[1]), 0);
	simengine_allow(w.sim[0], 1);
	simvsp_expect(w.c, compare, "good");
	simengine_hold(w.sim[1], false);
	simvsp_expect(sub, after, "good");
	{
		uint8_t data[8 * SECTOR];

		assert_int_equal(
			vhd_read(w.img[LUN], 0, data, sizeof(data), NULL), 0);
		qtest_check_zero(data, sizeof(data));
	}
	simvsp_stop(&w);
}

/* One writes, one waits to be alone, one is ended there: the next may write. */
static void a_reset_while_it_waits_lets_writes_go_on(void **state)
{
	struct vsc_channel *sub;
	uint64_t before, compare, reset, after;
	struct vsc_cmd cmd;
	struct simvsp w;

	(void)state;
	two_channels(&w, &sub);
	simengine_hold(w.sim[1], true);
	before = simvsp_send(&w, sub, 'w', LUN, 64);
	simvsp_quiet(sub);
	cmd = command(&w.b, LUN, 0, 1, 1, 2);
	compare = vsc_start(w.c, &cmd);
	simvsp_quiet(w.c);
	reset = simvsp_reset(w.c, STORVSP_OP_RESET_LUN, 0, 0, LUN);
	simvsp_expect(w.c, compare, "aborted");
	simvsp_expect(sub, before, "aborted");
	simvsp_expect(w.c, reset, "");
	simengine_hold(w.sim[1], false);
	after = simvsp_send(&w, sub, 'w', LUN, 0);
	simvsp_expect(sub, after, "good");
	after = simvsp_send(&w, w.c, 'w', LUN, 0);
	simvsp_expect(w.c, after, "good");
	simvsp_stop(&w);
}

static void a_reset_after_the_look_leaves_all_as_it_is(void **state)
{
	struct vsc_channel *sub;
	uint64_t compare, reset, after;
	struct vsc_cmd cmd;
	struct simvsp w;

	(void)state;
	for (unsigned steps = 0; steps < 2; steps++) {
		two_channels(&w, &sub);
		put(&w, 0, 8, 1);
		cmd = command(&w.b, LUN, 0, 8, 1, 2);
		simengine_hold(w.sim[0], true);
		compare = vsc_start(w.c, &cmd);
		simvsp_quiet(w.c);
		simengine_allow(w.sim[0], steps);
		simvsp_quiet(w.c);
		assert_int_equal(reads(&w), steps);
		reset = simvsp_reset(w.c, STORVSP_OP_RESET_LUN, 0, 0, LUN);
		simvsp_expect(w.c, compare, "aborted");
		simvsp_expect(w.c, reset, "");
		check(&w, 0, 8, 1);
		simengine_hold(w.sim[0], false);
		after = simvsp_send(&w, sub, 'w', LUN, 0);
		simvsp_expect(sub, after, "good");
		simvsp_stop(&w);
	}
}

/* One that waits is gone: the other is alone as before, and ends well. */
static void a_close_of_one_that_waits_leaves_the_other_alone(void **state)
{
	struct vsc_channel *sub;
	struct vsc_buffer b;
	struct vsc_cmd cmd;
	struct simvsp w;
	uint64_t first;

	(void)state;
	two_channels(&w, &sub);
	vsc_buffer_init(w.v, &b, 16);
	put(&w, 0, 8, 1);
	simengine_hold(w.sim[0], true);
	cmd = command(&w.b, LUN, 0, 8, 1, 2);
	first = vsc_start(w.c, &cmd);
	simvsp_quiet(w.c);
	cmd = command(&b, LUN, 8, 8, 0, 3);
	vsc_start(sub, &cmd);
	simvsp_quiet(sub);
	assert_int_equal(simengine_in_flight(w.sim[1]), 0);
	vsc_close(sub);
	/* a write behind it waits still */
	simvsp_send(&w, w.c, 'w', LUN, 64);
	simvsp_quiet(w.c);
	assert_int_equal(simengine_in_flight(w.sim[0]), 1);
	simengine_hold(w.sim[0], false);
	simvsp_expect(w.c, first, "good");
	check(&w, 0, 8, 2);
	simvsp_stop(&w);
}

/* Closing its channel with it at any step leaves the disk to the others. */
static void a_close_at_any_step_lets_others_write(void **state)
{
	struct vsc_channel *sub;
	struct vsc_cmd cmd;
	struct simvsp w;

	(void)state;
	for (unsigned steps = 0; steps < 3; steps++) {
		two_channels(&w, &sub);
		put(&w, 0, 8, 1);
		cmd = command(&w.b, LUN, 0, 8, 1, 2);
		simengine_hold(w.sim[1], true);
		vsc_start(sub, &cmd);
		simvsp_quiet(sub);
		simengine_allow(w.sim[1], steps);
		vsc_pump(w.v);
		vsc_close(sub);
		simvsp_expect(w.c, simvsp_send(&w, w.c, 'w', LUN, 0), "good");
		simvsp_stop(&w);
	}
}

/* -------------------------------------------------------------- threads -- */

#define CHANNELS 4u
#define ROUNDS	 150u

/* Each driver adds one to a number on the disk, again and again: reads it,
 * and replaces what it read. No increment is lost. A driver in between writes
 * to the sectors around it.
 */
struct driver {
	struct vsc_channel *c;
	struct vsc_buffer b;
	unsigned done, missed;
	bool writes; /* beside the number */
	pthread_t thread;
};

static void must(bool ok, const char *what)
{
	if (!ok) {
		fprintf(stderr, "%s\n", what);
		abort();
	}
}

static void write_beside(struct driver *d)
{
	uint8_t sector[SECTOR];
	struct vsc_answer a;
	struct vsc_cmd cmd;

	memset(sector, (int)d->done, sizeof(sector));
	vsc_buffer_put(&d->b, sector, SECTOR);
	cmd = vsc_rw(true, 0, d->done % 2 ? 6 : 8, 1, false, &d->b);
	vsc_run(d->c, &cmd, &a);
	must(vsc_good(&a), "write");
	d->done++;
}

static void add_one(struct driver *d)
{
	uint8_t both[2 * SECTOR];
	struct vsc_cmd cmd = vsc_rw(false, 0, 7, 1, false, &d->b);
	struct vsc_answer a;

	vsc_run(d->c, &cmd, &a);
	must(vsc_good(&a), "read");
	vsc_buffer_get(&d->b, both, SECTOR);
	memcpy(both + SECTOR, both, SECTOR);
	scsi_put64(both + SECTOR, scsi_get64(both) + 1);
	vsc_buffer_put(&d->b, both, sizeof(both));
	cmd = (struct vsc_cmd){
		.cdb = {0x89, [9] = 7, [13] = 1},
		.data_in = STORVSP_DATA_OUT,
		.bytes = 2 * SECTOR,
		.buffer = &d->b,
	};
	vsc_run(d->c, &cmd, &a);
	if (vsc_good(&a)) {
		d->done++;
		return;
	}
	must(vsc_status(&a).key == 0xE, "neither done nor different");
	d->missed++;
}

static void *drive(void *arg)
{
	struct driver *d = arg;

	while (d->done < ROUNDS) {
		if (d->writes)
			write_beside(d);
		else
			add_one(d);
	}
	return NULL;
}

static void no_increment_of_many_channels_is_lost(void **state)
{
	const struct vsc_opts o = {
		.vsp.max_subchannels = CHANNELS - 1,
		.guest.vps = CHANNELS,
		.threaded = true,
	};
	struct driver d[CHANNELS] = {0};
	uint8_t sector[SECTOR];
	char *path = qtest_path();
	struct vhd *img = qtest_create(path, VHD_FORMAT_DYNAMIC, 1u << 20,
				       512 << 10, false);
	struct vsc *v = vsc_create(&o);

	(void)state;
	vsc_disk(v, img, 0, 0, 0, false);
	d[0].c = vsc_open(v, 0);
	vsc_negotiate(d[0].c, STORVSP_VERSION_WIN10, NULL);
	assert_int_equal(vsc_create_subs(d[0].c, CHANNELS - 1), 0);
	for (uint16_t i = 1; i < CHANNELS; i++)
		d[i].c = vsc_open(v, i);
	for (unsigned i = 0; i < CHANNELS; i++) {
		vsc_buffer_init(v, &d[i].b, 1);
		d[i].writes = i == CHANNELS - 1;
	}
	for (unsigned i = 0; i < CHANNELS; i++)
		assert_int_equal(
			pthread_create(&d[i].thread, NULL, drive, &d[i]), 0);
	for (unsigned i = 0; i < CHANNELS; i++)
		pthread_join(d[i].thread, NULL);
	vsc_destroy(v);
	assert_int_equal(vhd_read(img, 7 * SECTOR, sector, SECTOR, NULL), 0);
	assert_int_equal(scsi_get64(sector), (CHANNELS - 1) * ROUNDS);
	qtest_close(img);
	unlink(path);
	free(path);
}

#define T(name) cmocka_unit_test(name)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(what_does_not_fit_is_refused),
		T(what_is_as_expected_is_replaced),
		T(what_differs_is_told_by_its_place_and_stays),
		T(it_waits_for_writes_and_writes_wait_for_it),
		T(a_reset_while_it_waits_lets_writes_go_on),
		T(a_reset_after_the_look_leaves_all_as_it_is),
		T(a_close_of_one_that_waits_leaves_the_other_alone),
		T(a_close_at_any_step_lets_others_write),
		T(no_increment_of_many_channels_is_lost),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: BSD-2-Clause */
/* MODE SELECT, VERIFY, WRITE AND VERIFY, REPORT SUPPORTED OPERATION CODES. */
#include "tests/lib/plainvsp.h"
#include "tests/lib/scsitask.h"

#define CACHING_BYTES 20u

/* Header of 4 bytes and the caching page as told, with this WCE bit. */
static uint32_t caching_list(struct task *k, bool wce)
{
	memset(k->t.param, 0, sizeof(k->t.param));
	k->t.param[4] = 0x08;
	k->t.param[5] = 18;
	k->t.param[6] = wce ? 0x04 : 0;
	return 4 + CACHING_BYTES;
}

static enum scsi_verdict select_6(struct task *k, uint32_t list)
{
	k->t.buffer_bytes = list;
	k->t.param_bytes = list;
	return RUN(k, 0x15, 0x10, 0, 0, (uint8_t)list, 0);
}

static uint8_t told_wce(struct task *k, uint8_t control)
{
	struct task copy = *k;

	copy.t.data_in = STORVSP_DATA_IN;
	copy.t.buffer_bytes = 255;
	copy.luns = (struct storvsp_luns){0};
	assert_int_equal(storvsp_luns_add(&copy.luns, &copy.disk), 0);
	assert_int_equal(RUN(&copy, 0x1A, 8, (uint8_t)(control << 6 | 8), 0,
			     255, 0),
			 SCSI_GOOD);
	return copy.t.reply[6];
}

static void the_write_cache_can_be_switched(void **state)
{
	struct task k;

	(void)state;
	task_init(&k, 0, STORVSP_DATA_OUT);
	assert_int_equal(told_wce(&k, 0), 0x04);
	/* off: what it holds is flushed first */
	assert_int_equal(select_6(&k, caching_list(&k, false)), SCSI_IO);
	assert_int_equal(k.t.io.op, VHD_OP_FLUSH);
	assert_int_equal(told_wce(&k, 0), 0);
	assert_int_equal(told_wce(&k, 2), 0x04); /* the default */
	assert_int_equal(select_6(&k, caching_list(&k, false)), SCSI_GOOD);
	/* a write is durable now, FUA or not */
	k.t.buffer_bytes = 512;
	assert_int_equal(RUN(&k, 0x2A, 0, 0, 0, 0, 0, 0, 0, 1, 0), SCSI_IO);
	assert_true(k.t.io.fua);
	assert_int_equal(select_6(&k, caching_list(&k, true)), SCSI_GOOD);
	assert_int_equal(told_wce(&k, 0), 0x04);
	k.t.buffer_bytes = 512;
	assert_int_equal(RUN(&k, 0x2A, 0, 0, 0, 0, 0, 0, 0, 1, 0), SCSI_IO);
	assert_false(k.t.io.fua);
}

/* D_SENSE alone: the cache stays as it is, and nothing is flushed. */
static void the_format_of_sense_can_be_switched(void **state)
{
	static const uint8_t page[12] = {0x0A, 10, 0x06, 0x10};
	struct task k, s;

	(void)state;
	task_init(&k, 0, STORVSP_DATA_OUT);
	memcpy(k.t.param + 4, page, sizeof(page));
	assert_int_equal(select_6(&k, 16), SCSI_GOOD);
	assert_true(atomic_load(&k.switches.descriptor_sense));
	assert_false(atomic_load(&k.switches.cache_off));
	task_init(&s, 255, STORVSP_DATA_IN);
	atomic_store(&s.switches.descriptor_sense, true);
	assert_int_equal(RUN(&s, 0x1A, 8, 0x0A, 0, 255, 0), SCSI_GOOD);
	assert_memory_equal(s.t.reply + 4, page, sizeof(page));
	assert_int_equal(RUN(&s, 0x1A, 8, 0x8A, 0, 255, 0), SCSI_GOOD);
	assert_int_equal(s.t.reply[6], 0x02); /* the default */
	k.t.param[6] = 0x02;
	assert_int_equal(select_6(&k, 16), SCSI_GOOD);
	assert_false(atomic_load(&k.switches.descriptor_sense));
	/* SWP, GLTSD */
	k.t.param[8] = 0x08;
	assert_int_equal(select_6(&k, 16), SCSI_BAD_PARAM);
	k.t.param[8] = 0;
	k.t.param[6] = 0x00;
	assert_int_equal(select_6(&k, 16), SCSI_BAD_PARAM);
}

static void failures_tell_descriptors_when_switched(void **state)
{
	static const uint8_t list[16] = {[4] = 0x0A, 10, 0x06, 0x10};
	struct vsc_cmd cmd = {
		.cdb = {0x15, 0x10, 0, 0, 16},
		.data_in = STORVSP_DATA_OUT,
		.bytes = 16,
	};
	struct vsc_answer a;
	struct world w;

	(void)state;
	start(&w);
	vsc_negotiate(w.c, STORVSP_VERSION_WIN10, NULL);
	cmd.buffer = &w.b;
	vsc_buffer_put(&w.b, list, sizeof(list));
	vsc_run(w.c, &cmd, &a);
	assert_true(vsc_good(&a));
	cmd.cdb[0] = 0xFF;
	vsc_run(w.c, &cmd, &a);
	assert_memory_equal(a.p.u.request.cdb_or_sense,
			    "\x72\x05\x20\0\0\0\0\0\0\0\0\0\0\0", 14);
	assert_int_equal(vsc_status(&a).asc, 0x20);
	stop(&w);
}

/* What MODE SENSE says can be sent back. */
static void all_pages_as_they_are_told_are_taken(void **state)
{
	struct task k, s;
	uint32_t n;

	(void)state;
	/* with a block descriptor, a long one, none */
	for (uint8_t how = 0; how < 0x20; how = (uint8_t)(how + 8)) {
		task_init(&s, 255, STORVSP_DATA_IN);
		assert_int_equal(
			RUN(&s, 0x5A, how, 0x3F, 0, 0, 0, 0, 0, 255, 0),
			SCSI_GOOD);
		n = s.t.reply_bytes;
		task_init(&k, n, STORVSP_DATA_OUT);
		memcpy(k.t.param, s.t.reply, n);
		k.t.param_bytes = n;
		assert_int_equal(
			RUN(&k, 0x55, 0x10, 0, 0, 0, 0, 0, 0, (uint8_t)n, 0),
			SCSI_GOOD);
		if (how & 8)
			continue;
		/* blocks of another size */
		k.t.param[k.t.param[7] + 8 - 2] = 0x10;
		assert_int_equal(
			RUN(&k, 0x55, 0x10, 0, 0, 0, 0, 0, 0, (uint8_t)n, 0),
			SCSI_BAD_PARAM);
	}
}

static void a_list_that_is_not_all_good_changes_nothing(void **state)
{
	static const struct {
		unsigned at;
		uint8_t value;
		int longer;
		enum scsi_verdict want;
	} rows[] = {
		{3, 7, 0, SCSI_BAD_PARAM},    /* block descriptors */
		{3, 8, 0, SCSI_BAD_PARAM},    /* sectors of no bytes */
		{3, 255, 0, SCSI_BAD_PARAM},
		{4, 0x3F, 0, SCSI_BAD_PARAM}, /* all pages */
		{4, 0x48, 0, SCSI_BAD_PARAM}, /* a sub-page */
		{4, 0x0A, 0, SCSI_BAD_PARAM}, /* another page's length */
		{5, 17, 0, SCSI_BAD_PARAM},
		{5, 19, 0, SCSI_BAD_PARAM},
		{7, 1, 0, SCSI_BAD_PARAM},    /* what cannot be changed */
		{23, 1, 0, SCSI_BAD_PARAM},
		{3, 8, -14, SCSI_PARAM_LENGTH}, /* not all of it */
		{0, 0, -1, SCSI_PARAM_LENGTH},
		{0, 0, -18, SCSI_PARAM_LENGTH},
		{0, 0, -19, SCSI_PARAM_LENGTH},
		{0, 0, -21, SCSI_PARAM_LENGTH},
		{0, 0, 1, SCSI_PARAM_LENGTH}, /* half a page behind */
		{0, 0, 2, SCSI_BAD_PARAM},    /* page 0 behind */
	};

	(void)state;
	for (unsigned i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct task k;
		uint32_t n;

		task_init(&k, 0, STORVSP_DATA_OUT);
		n = caching_list(&k, false);
		if (rows[i].at)
			k.t.param[rows[i].at] = rows[i].value;
		assert_int_equal(select_6(&k, (uint32_t)((int)n +
							 rows[i].longer)),
				 rows[i].want);
		assert_false(atomic_load(&k.switches.cache_off));
	}
}

static void the_forms_of_mode_select_are_held_to(void **state)
{
	struct task k;
	uint32_t n;

	(void)state;
	task_init(&k, 0, STORVSP_DATA_OUT);
	n = caching_list(&k, false);
	k.t.buffer_bytes = n;
	assert_int_equal(RUN(&k, 0x15, 0x00, 0, 0, (uint8_t)n, 0),
			 SCSI_BAD_FIELD); /* not PF */
	assert_int_equal(RUN(&k, 0x15, 0x11, 0, 0, (uint8_t)n, 0),
			 SCSI_BAD_FIELD); /* SP */
	assert_int_equal(RUN(&k, 0x15, 0x10, 0, 0, 0, 0), SCSI_GOOD);
	k.t.buffer_bytes = n - 1;
	assert_int_equal(RUN(&k, 0x15, 0x10, 0, 0, (uint8_t)n, 0),
			 SCSI_BAD_FIELD);
	/* a descriptor of what is so anyway */
	caching_list(&k, false);
	memmove(k.t.param + 12, k.t.param + 4, CACHING_BYTES);
	memset(k.t.param + 4, 0, 8);
	k.t.param[3] = 8;
	scsi_put32(k.t.param + 4, TASK_SECTORS);
	scsi_put32(k.t.param + 8, 512);
	assert_int_equal(select_6(&k, 12 + CACHING_BYTES), SCSI_IO);
	/* nor is any other count of sectors that does not say otherwise */
	for (unsigned i = 0; i < 3; i++) {
		static const uint32_t counts[] = {0, UINT32_MAX, 1};

		scsi_put32(k.t.param + 4, counts[i]);
		assert_int_equal(select_6(&k, 12 + CACHING_BYTES),
				 counts[i] == 1 ? SCSI_BAD_PARAM : SCSI_GOOD);
	}
	/* a list without pages asks for nothing */
	caching_list(&k, true);
	assert_int_equal(select_6(&k, 4), SCSI_GOOD);
	assert_true(atomic_load(&k.switches.cache_off));
	/* a read-only disk has no cache to switch */
	task_init(&k, 0, STORVSP_DATA_OUT);
	k.disk.read_only = true;
	assert_int_equal(select_6(&k, caching_list(&k, false)), SCSI_GOOD);
	assert_int_equal(select_6(&k, caching_list(&k, true)), SCSI_BAD_PARAM);
	assert_false(atomic_load(&k.switches.cache_off));
}

static void the_long_form_has_limits_of_its_own(void **state)
{
	const uint16_t most = SCSI_PARAM_BYTES_MAX;
	struct task k;

	(void)state;
	task_init(&k, most + 8, STORVSP_DATA_OUT);
	k.t.param_bytes = most;
	assert_int_equal(RUN(&k, 0x55, 0x10, 0, 0, 0, 0, 0, 0, 0, 0),
			 SCSI_GOOD);
	assert_int_equal(RUN(&k, 0x55, 0x10, 0, 0, 0, 0, 0, 0, 7, 0),
			 SCSI_PARAM_LENGTH);
	assert_int_equal(RUN(&k, 0x55, 0x10, 0, 0, 0, 0, 0, 0, 8, 0),
			 SCSI_GOOD);
	/* a long block descriptor says what is so anyway, or is refused */
	for (unsigned i = 0; i < 5; i++) {
		static const struct {
			uint64_t blocks;
			uint32_t bytes;
			enum scsi_verdict want;
		} rows[] = {
			{0, 512, SCSI_GOOD},
			{UINT64_MAX, 512, SCSI_GOOD},
			{TASK_SECTORS, 512, SCSI_GOOD},
			{TASK_SECTORS + 1, 512, SCSI_BAD_PARAM},
			{0, 513, SCSI_BAD_PARAM},
		};

		memset(k.t.param, 0, sizeof(k.t.param));
		k.t.param[4] = 0x01; /* LONGLBA */
		k.t.param[7] = 16;
		scsi_put64(k.t.param + 8, rows[i].blocks);
		scsi_put32(k.t.param + 20, rows[i].bytes);
		assert_int_equal(RUN(&k, 0x55, 0x10, 0, 0, 0, 0, 0, 0, 24, 0),
				 rows[i].want);
	}
	/* more than any list of pages */
	assert_int_equal(RUN(&k, 0x55, 0x10, 0, 0, 0, 0, 0,
			     (uint8_t)((most + 1) >> 8), (uint8_t)(most + 1),
			     0),
			 SCSI_BAD_FIELD);
}

/* ------------------------------------------------- supported commands -- */

static uint32_t codes(struct task *k, uint8_t option, uint8_t opcode,
		      uint16_t action)
{
	uint8_t cdb[12] = {0xA3, 0x0C, option, opcode, (uint8_t)(action >> 8),
			   (uint8_t)action, 0, 0, 0x10, 0};

	task_init(k, 4096, STORVSP_DATA_IN);
	k->disk.unmap = true;
	assert_int_equal(task_run(k, 0, cdb, 12), SCSI_GOOD);
	return k->t.reply_bytes;
}

/* Every listed command runs, every other opcode is unknown. */
static void the_list_of_commands_is_the_truth(void **state)
{
	for (unsigned rctd = 0; rctd < 2; rctd++) {
		uint32_t step = rctd ? 20 : 8;
		bool listed[256] = {false};
		struct task k, q;
		uint32_t n;

		(void)state;
		n = codes(&k, rctd ? 0x80 : 0, 0, 0);
		assert_int_equal(scsi_get32(k.t.reply), n - 4);
		assert_int_equal((n - 4) % step, 0);
		for (uint32_t at = 4; at < n; at += step)
			listed[k.t.reply[at]] = true;
		for (unsigned op = 0; op < 256; op++) {
			uint8_t cdb[16] = {(uint8_t)op};

			task_init(&q, 0, STORVSP_DATA_NONE);
			q.disk.unmap = true;
			assert_int_equal(task_run(&q, 0, cdb, 16) ==
						 SCSI_BAD_OPCODE,
					 !listed[op]);
			if (listed[op])
				continue;
			assert_int_equal(codes(&q, 1, (uint8_t)op, 0), 4);
			assert_int_equal(q.t.reply[1], 1); /* not supported */
		}
	}
}

static void one_command_is_told_bit_by_bit(void **state)
{
	static const uint8_t read_10[10] = {0x28, 0x18, 0xFF, 0xFF, 0xFF,
					    0xFF, 0,	0xFF, 0xFF, 0x04};
	struct task k;

	(void)state;
	assert_int_equal(codes(&k, 1, 0x28, 0), 14);
	assert_int_equal(k.t.reply[1], 3);
	assert_int_equal(scsi_get16(k.t.reply + 2), 10);
	assert_memory_equal(k.t.reply + 4, read_10, 10);
	assert_int_equal(codes(&k, 2, 0x9E, 0x12), 20);
	assert_int_equal(k.t.reply[5], 0x12);
	assert_int_equal(codes(&k, 3, 0x9E, 0x11), 4);
	assert_int_equal(k.t.reply[1], 1);
	/* either form: a service action where none is, is none */
	assert_int_equal(codes(&k, 3, 0x28, 0), 14);
	assert_int_equal(codes(&k, 3, 0x28, 1), 4);
	assert_int_equal(k.t.reply[1], 1);
	assert_int_equal(codes(&k, 1, 0x28, 1), 14); /* not looked at */
	assert_int_equal(codes(&k, 0x81, 0x28, 0), 26);
	assert_int_equal(k.t.reply[1], 0x83);
	assert_int_equal(scsi_get16(k.t.reply + 14), 10);
	/* asked the wrong way */
	task_init(&k, 64, STORVSP_DATA_IN);
	assert_int_equal(RUN(&k, 0xA3, 0x0C, 2, 0x28, 0, 0, 0, 0, 0, 64, 0, 0),
			 SCSI_BAD_FIELD);
	assert_int_equal(RUN(&k, 0xA3, 0x0C, 1, 0x9E, 0, 0, 0, 0, 0, 64, 0, 0),
			 SCSI_BAD_FIELD);
	assert_int_equal(RUN(&k, 0xA3, 0x0C, 4, 0x28, 0, 0, 0, 0, 0, 64, 0, 0),
			 SCSI_BAD_FIELD);
	assert_int_equal(RUN(&k, 0xA3, 0x0D, 0, 0, 0, 0, 0, 0, 0, 64, 0, 0),
			 SCSI_BAD_FIELD);
}

static void unmapping_is_told_where_it_is_there(void **state)
{
	struct task k;

	(void)state;
	assert_int_equal(codes(&k, 1, 0x42, 0), 14);
	k.disk.unmap = false;
	assert_int_equal(RUN(&k, 0xA3, 0x0C, 1, 0x42, 0, 0, 0, 0, 1, 0, 0, 0),
			 SCSI_GOOD);
	assert_int_equal(k.t.reply_bytes, 4);
	assert_int_equal(k.t.reply[1], 1);
}

/* ---------------------------------------------------------- verifying -- */

static void verifying_reads_and_moves_nothing(void **state)
{
	struct vsc_cmd cmd = {
		.cdb = {0x8F, 0, [10] = 0, 0, 0x40, 0}, /* the whole disk */
		.data_in = STORVSP_DATA_NONE,
	};
	struct storvsp_stats s;
	struct vsc_answer a;
	struct world w;

	(void)state;
	start(&w);
	vsc_negotiate(w.c, STORVSP_VERSION_WIN10, NULL);
	run_rw(&w, true, 0, 2048, false);
	scsi_put32(cmd.cdb + 10, SECTORS);
	vsc_run(w.c, &cmd, &a);
	assert_true(vsc_good(&a));
	assert_int_equal(le32_get(a.p.u.request.transfer_length), 0);
	storvsp_get_stats(vsc_vsp(w.v), &s);
	assert_int_equal(s.reads, 4); /* 2 MiB a step */
	scsi_put32(cmd.cdb + 10, SECTORS + 1);
	vsc_run(w.c, &cmd, &a);
	assert_int_equal(vsc_status(&a).asc, 0x21);
	cmd.cdb[1] = 0x02; /* BYTCHK */
	vsc_run(w.c, &cmd, &a);
	assert_int_equal(vsc_status(&a).asc, 0x24);
	stop(&w);
}

static void write_and_verify_writes(void **state)
{
	uint8_t data[SECTOR], got[SECTOR];
	struct storvsp_stats s;
	struct vsc_answer a;
	struct vsc_cmd cmd;
	struct world w;

	(void)state;
	start(&w);
	vsc_negotiate(w.c, STORVSP_VERSION_WIN10, NULL);
	memset(data, 0x3c, sizeof(data));
	vsc_buffer_put(&w.b, data, SECTOR);
	cmd = (struct vsc_cmd){
		.cdb = {0x2E, 0, 0, 0, 0, 77, 0, 0, 1},
		.data_in = STORVSP_DATA_OUT,
		.bytes = SECTOR,
		.buffer = &w.b,
	};
	vsc_run(w.c, &cmd, &a);
	assert_true(vsc_good(&a));
	assert_int_equal(le32_get(a.p.u.request.transfer_length), SECTOR);
	storvsp_get_stats(vsc_vsp(w.v), &s);
	assert_int_equal(s.writes, 1);
	assert_int_equal(s.reads, 1);
	cmd.cdb[1] = 0x02; /* BYTCHK */
	vsc_run(w.c, &cmd, &a);
	assert_int_equal(vsc_status(&a).asc, 0x24);
	run_rw(&w, false, 77, 1, false);
	vsc_buffer_get(&w.b, got, SECTOR);
	assert_memory_equal(got, data, SECTOR);
	stop(&w);
}

#define T(name) cmocka_unit_test(name)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(the_write_cache_can_be_switched),
		T(the_format_of_sense_can_be_switched),
		T(failures_tell_descriptors_when_switched),
		T(all_pages_as_they_are_told_are_taken),
		T(a_list_that_is_not_all_good_changes_nothing),
		T(the_forms_of_mode_select_are_held_to),
		T(the_long_form_has_limits_of_its_own),
		T(the_list_of_commands_is_the_truth),
		T(one_command_is_told_bit_by_bit),
		T(unmapping_is_told_where_it_is_there),
		T(verifying_reads_and_moves_nothing),
		T(write_and_verify_writes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

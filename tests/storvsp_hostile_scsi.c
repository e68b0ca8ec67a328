/* SPDX-License-Identifier: BSD-2-Clause */
/* The catalogue of hostile cases (tests/proof/hostile.tsv), as far as it is
 * SCSI: a table of commands through the whole VSP, what each is answered, and
 * that no sector of either disk changes by any of them.
 */
#include "tests/lib/hostile.h"

enum { OUT = STORVSP_DATA_OUT, IN = STORVSP_DATA_IN, NONE = STORVSP_DATA_NONE };

struct row {
	uint8_t cdb[16];
	uint8_t data_in;
	uint32_t bytes;
	uint8_t key, asc; /* key 0: good */
};

#define GOOD	  0, 0
#define BAD_FIELD 5, 0x24
#define RANGE	  5, 0x21
#define UNKNOWN	  5, 0x20

/* Run it on a LUN; the buffer starts as 0xEE. */
static struct vsc_answer run(struct simvsp *w, const struct row *r, uint8_t lun)
{
	struct vsc_cmd cmd = {
		.lun = lun,
		.data_in = r->data_in,
		.bytes = r->bytes,
		.buffer = r->bytes ? &w->b : NULL,
	};
	uint8_t fill[16 * 4096];
	struct vsc_answer a;

	memset(fill, 0xEE, sizeof(fill));
	vsc_buffer_put(&w->b, fill, sizeof(fill));
	memcpy(cmd.cdb, r->cdb, 16);
	vsc_run(w->c, &cmd, &a);
	return a;
}

static void check_unwritten(struct simvsp *w)
{
	static uint8_t data[SIMVSP_BYTES];

	for (unsigned i = 0; i < 2; i++) {
		assert_int_equal(
			vhd_read(w->img[i], 0, data, sizeof(data), NULL), 0);
		qtest_check_zero(data, sizeof(data));
	}
}

static void run_rows(const struct row *rows, size_t count)
{
	struct simvsp w;

	simvsp_start(&w, NULL, NULL);
	for (size_t i = 0; i < 2 * count; i++) {
		const struct row *r = &rows[i / 2];
		struct vsc_answer a = run(&w, r, i % 2);
		struct vsc_status s = vsc_status(&a);

		if (r->key ? s.scsi != 2 || s.key != r->key || s.asc != r->asc
			   : !vsc_good(&a))
			fail_msg("row %zu: SRB %02x SCSI %02x key %x asc %02x",
				 i / 2, s.srb, s.scsi, s.key, s.asc);
	}
	check_unwritten(&w);
	still_serves(&w);
	simvsp_stop(&w);
}

#define RUN(rows) run_rows(rows, sizeof(rows) / sizeof((rows)[0]))

/* 2048 sectors are 0x800. */
static void addresses_and_counts_that_overflow_are_out_of_range(void **state)
{
	static const struct row rows[] = {
		/* 6 bytes: the last sector, the one behind, the highest */
		{{0x08, 0, 0x08, 0, 1}, IN, 512, RANGE},
		{{0x08, 0, 0x07, 0xFF, 2}, IN, 1024, RANGE},
		{{0x0A, 0x1F, 0xFF, 0xFF, 0}, OUT, 65536, RANGE},
		{{0x08, 0, 0x07, 0xFF, 1}, IN, 512, GOOD},
		/* 10 bytes */
		{{0x28, 0, 0, 0, 0x08, 0, 0, 0, 1}, IN, 512, RANGE},
		{{0x28, 0, 0, 0, 0x07, 0xFF, 0, 0, 2}, IN, 1024, RANGE},
		{{0x28, 0, 0xFF, 0xFF, 0xFF, 0xFF, 0, 0, 1}, IN, 512, RANGE},
		{{0x2A, 0, 0xFF, 0xFF, 0xFF, 0xFF, 0, 0xFF, 0xFF},
		 OUT,
		 65536,
		 RANGE},
		{{0x28, 0, 0, 0, 0, 0, 0, 0xFF, 0xFF}, IN, 65536, RANGE},
		/* 12 bytes: sums that wrap in 32 bits */
		{{0xA8, 0, 0, 0, 0, 1, 0xFF, 0xFF, 0xFF, 0xFF}, IN, 512, RANGE},
		{{0xAA, 0, 0xFF, 0xFF, 0xFF, 0xFF, 0, 0, 0, 1},
		 OUT,
		 512,
		 RANGE},
		{{0xA8, 0, 0x80, 0, 0, 0, 0x80, 0, 0, 0}, IN, 512, RANGE},
		/* 16 bytes: sums that wrap in 64 bits */
		{{0x88, 0, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0, 0,
		  0, 1},
		 IN,
		 512,
		 RANGE},
		{{0x8A, 0, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xF8, 0, 0,
		  0, 8},
		 OUT,
		 4096,
		 RANGE},
		/* bytes that wrap in 64 bits */
		{{0x88, 0, 0, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1},
		 IN,
		 512,
		 RANGE},
		{{0x88, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xFF, 0xFF, 0xFF, 0xFF},
		 IN,
		 65536,
		 RANGE},
	};

	(void)state;
	RUN(rows);
}

static void a_count_of_zero_is_nothing_or_256(void **state)
{
	static const struct row rows[] = {
		{{0x08, 0, 0, 0, 0}, IN, 512, BAD_FIELD}, /* it means 256 */
		{{0x0A, 0, 0, 0, 0}, OUT, 512, BAD_FIELD},
		{{0x08, 0, 0x07, 0x01, 0}, IN, 65536, RANGE},
		{{0x28}, IN, 512, GOOD},
		{{0x2A}, OUT, 512, GOOD},
		{{0xA8}, IN, 512, GOOD},
		{{0xAA}, OUT, 512, GOOD},
		{{0x88}, IN, 512, GOOD},
		{{0x8A}, OUT, 512, GOOD},
		/* of nothing, too, the place must be there */
		{{0x28, 0, 0, 0, 0x08, 0}, IN, 512, GOOD},
		{{0x28, 0, 0, 0, 0x08, 1}, IN, 512, RANGE},
		{{0x8A, 0, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF},
		 OUT,
		 512,
		 RANGE},
	};

	(void)state;
	RUN(rows);
}

/* 0, 1, 4, 35, 36, all: cut to what was asked for and to the buffer. */
static void allocation_lengths_bound_what_is_written(void **state)
{
	static const uint16_t lengths[] = {0, 1, 4, 35, 36, 104, 255, 65535};
	static const struct row rows[] = {
		{{0x12}, IN, 4096, GOOD},
		{{0x12, 1, 0x00}, IN, 4096, GOOD},
		{{0x12, 1, 0x80}, IN, 4096, GOOD},
		{{0x12, 1, 0x83}, IN, 4096, GOOD},
		{{0x12, 1, 0xB0}, IN, 4096, GOOD},
		{{0x12, 1, 0xB2}, IN, 4096, GOOD},
	};
	struct simvsp w;

	(void)state;
	simvsp_start(&w, NULL, NULL);
	for (unsigned i = 0; i < 6 * 8 * 3; i++) {
		struct row r = rows[i % 6];
		uint32_t len = lengths[i / 6 % 8], most;
		uint8_t got[4096];
		struct vsc_answer a;

		r.bytes = i / 48 == 0 ? 4096 : i / 48 == 1 ? len % 4096 : 20;
		r.cdb[3] = (uint8_t)(len >> 8);
		r.cdb[4] = (uint8_t)len;
		a = run(&w, &r, 1);
		assert_true(vsc_good(&a));
		most = len < r.bytes ? len : r.bytes;
		assert_true(le32_get(a.p.u.request.transfer_length) <= most);
		vsc_buffer_get(&w.b, got, sizeof(got));
		for (uint32_t b = most; b < sizeof(got); b++)
			assert_int_equal(got[b], 0xEE);
	}
	simvsp_stop(&w);
}

/* Verbs that this disk does not have: no byte of their lists is believed. */
static void verbs_that_a_disk_may_lack_are_unknown(void **state)
{
	static const struct row rows[] = {
		/* what would destroy the disk */
		{{0x04, 0x10}, OUT, 4, UNKNOWN},  /* FORMAT UNIT */
		{{0x48, 0x03}, OUT, 4, UNKNOWN},  /* SANITIZE */
		{{0x3B, 0x07}, OUT, 64, UNKNOWN}, /* WRITE BUFFER */
		{{0x07}, OUT, 16, UNKNOWN},	  /* REASSIGN BLOCKS */
		{{0x3F}, OUT, 512, UNKNOWN},	  /* WRITE LONG */
		{{0x83, 0x11}, OUT, 64, UNKNOWN}, /* token copies */
		{{0x84, 0x07}, IN, 64, UNKNOWN},
		{{0x7F, 0, 0, 0, 0, 0, 0, 0x18, 0, 0x0B}, OUT, 512, UNKNOWN},
	};

	(void)state;
	RUN(rows);
}

/* Every opcode there is, with arguments of ones and of zeros, in each
 * direction: answered, and no byte is written where the disk is to be read.
 */
static void every_opcode_in_every_direction_is_answered(void **state)
{
	struct simvsp w;

	(void)state;
	simvsp_start(&w, NULL, NULL);
	for (unsigned i = 0; i < 256 * 3 * 2; i++) {
		struct row r = {.data_in = (uint8_t)(i / 256 % 3),
				.bytes = i / 256 % 3 == NONE ? 0 : 4096};
		struct vsc_status s;
		struct vsc_answer a;

		if (i / 768)
			memset(r.cdb, 0xFF, sizeof(r.cdb));
		r.cdb[0] = (uint8_t)i;
		a = run(&w, &r, 1);
		s = vsc_status(&a);
		assert_true(vsc_good(&a) || s.scsi == 2 || s.scsi == 0x18);
		if (s.scsi == 2)
			assert_true(s.key == 5 || s.key == 0xE);
	}
	check_unwritten(&w);
	simvsp_stop(&w);
}

#define LENGTH	 5, 0x1A
#define BAD_LIST 5, 0x26

/* The buffer is full of 0xEE: SPEC_I_PT is set in it. */
static void reservations_are_not_made_by_nonsense(void **state)
{
	static const struct row rows[] = {
		{{0x56, 0x1F}, NONE, 0, BAD_FIELD},
		{{0x57, 0x10}, NONE, 0, BAD_FIELD},
		{{0x16, 0x01}, NONE, 0, BAD_FIELD},
		{{0x5E, 0, 0, 0, 0, 0, 0, 0xFF, 0xFF}, IN, 4096, GOOD},
		{{0x5E, 3, 0, 0, 0, 0, 0, 0, 8}, IN, 8, GOOD},
		{{0x5E, 0, 0, 0, 0, 0, 0, 0, 0}, IN, 0, GOOD},
		{{0x5E, 4, 0, 0, 0, 0, 0, 0, 8}, IN, 8, BAD_FIELD},
		{{0x5E, 0x1F, 0, 0, 0, 0, 0, 0, 8}, IN, 8, BAD_FIELD},
		{{0x5F, 0, 0, 0, 0, 0, 0, 0, 24}, OUT, 24, BAD_LIST},
		{{0x5F, 0, 0, 0, 0, 0, 0, 0, 0}, OUT, 24, LENGTH},
		{{0x5F, 0, 0, 0, 0, 0, 0, 0, 23}, OUT, 24, LENGTH},
		{{0x5F, 0, 0, 0, 0, 0, 0, 0, 25}, OUT, 64, LENGTH},
		{{0x5F, 0, 0, 0, 0, 0, 0, 0, 24}, OUT, 23, BAD_FIELD},
		{{0x5F, 6, 0, 0, 0, 0xFF, 0xFF, 0xFF, 0xFF}, OUT, 24, LENGTH},
		{{0x5F, 7, 0, 0, 0, 0, 0, 0, 24}, OUT, 24, BAD_FIELD}, /* move */
		{{0x5F, 8, 0, 0, 0, 0, 0, 0, 24}, OUT, 24, BAD_FIELD},
		{{0x5F, 0x1F, 0, 0, 0, 0, 0, 0, 24}, OUT, 24, BAD_FIELD},
		/* nothing of this is left */
		{{0x16}, NONE, 0, GOOD},
		{{0x17}, NONE, 0, GOOD},
		{{0x5E, 0, 0, 0, 0, 0, 0, 0, 8}, IN, 8, GOOD},
	};

	(void)state;
	RUN(rows);
}

static void flushes_past_the_end_are_out_of_range(void **state)
{
	static const struct row rows[] = {
		{{0x35, 0, 0, 0, 0x08, 0}, NONE, 0, GOOD},
		{{0x35, 0, 0, 0, 0x08, 1}, NONE, 0, RANGE},
		{{0x35, 0, 0, 0, 0x07, 0xFF, 0, 0, 2}, NONE, 0, RANGE},
		{{0x35, 0, 0xFF, 0xFF, 0xFF, 0xFF, 0, 0xFF, 0xFF},
		 NONE,
		 0,
		 RANGE},
		{{0x91, 0, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF,
		  0xFF, 0xFF, 0xFF},
		 NONE,
		 0,
		 RANGE},
		{{0x91, 0, 0, 0, 0, 0, 0, 0, 0x08, 0}, NONE, 0, GOOD},
	};

	(void)state;
	RUN(rows);
}

static void lists_of_luns_below_16_bytes_are_cut(void **state)
{
	static const struct row rows[] = {
		{{0xA0}, IN, 4096, GOOD},
		{{0xA0, 0, 0, 0, 0, 0, 0, 0, 0, 1}, IN, 4096, GOOD},
		{{0xA0, 0, 0, 0, 0, 0, 0, 0, 0, 15}, IN, 4096, GOOD},
		{{0xA0, 0, 0, 0, 0, 0, 0, 0, 0, 16}, IN, 15, GOOD},
		{{0xA0, 0, 0, 0, 0, 0, 0xFF, 0xFF, 0xFF, 0xFF}, IN, 4096, GOOD},
		{{0xA0, 0, 3, 0, 0, 0, 0, 0, 0, 16}, IN, 16, BAD_FIELD},
		{{0xA0, 0, 0xFF, 0, 0, 0, 0, 0, 0, 16}, IN, 16, BAD_FIELD},
	};

	(void)state;
	RUN(rows);
}

static void service_actions_and_pages_that_are_none_are_bad_fields(void **state)
{
	static const struct row rows[] = {
		{{0x9E, 0x11, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 32},
		 IN,
		 32,
		 BAD_FIELD},
		{{0x9E, 0x1F}, IN, 32, BAD_FIELD},
		{{0x12, 1, 0x01, 0, 255}, IN, 255, BAD_FIELD},
		{{0x12, 1, 0xFF, 0xFF, 0xFF}, IN, 4096, BAD_FIELD},
		{{0x12, 0, 0x80, 0, 255}, IN, 255, BAD_FIELD},
		{{0x12, 2, 0x00, 0, 255}, IN, 255, BAD_FIELD},
		{{0x1A, 0, 0x00, 0, 255}, IN, 255, BAD_FIELD},
		{{0x1A, 0, 0x3E, 0, 255}, IN, 255, BAD_FIELD},
		{{0x5A, 0, 0x08, 0x01, 0, 0, 0, 0xFF, 0xFF},
		 IN,
		 4096,
		 BAD_FIELD},
		{{0x1B, 0, 0, 0, 0xFE}, NONE, 0, BAD_FIELD},
		{{0x00, 0, 0, 0, 0, 0x04}, NONE, 0, BAD_FIELD}, /* NACA */
	};

	(void)state;
	RUN(rows);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(
			addresses_and_counts_that_overflow_are_out_of_range),
		cmocka_unit_test(a_count_of_zero_is_nothing_or_256),
		cmocka_unit_test(allocation_lengths_bound_what_is_written),
		cmocka_unit_test(verbs_that_a_disk_may_lack_are_unknown),
		cmocka_unit_test(every_opcode_in_every_direction_is_answered),
		cmocka_unit_test(reservations_are_not_made_by_nonsense),
		cmocka_unit_test(flushes_past_the_end_are_out_of_range),
		cmocka_unit_test(lists_of_luns_below_16_bytes_are_cut),
		cmocka_unit_test(
			service_actions_and_pages_that_are_none_are_bad_fields),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

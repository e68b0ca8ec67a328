/* SPDX-License-Identifier: BSD-2-Clause */
/* Data between the guest's pages and a disk, in every shape. */
#include "tests/lib/random.h"
#include "tests/lib/plainvsp.h"

/* 2 MiB in scattered pages at every allowed kind of offset. */
static void largest_transfer_goes_through_unaligned_scattered_pages(
	void **state)
{
	static const uint32_t offsets[] = {0, 4, 512, 4092};
	uint8_t *data = malloc(2u << 20);
	struct world w;

	(void)state;
	start_with(&w, (struct vsc_opts){.guest.scatter = true});
	vsc_negotiate(w.c, STORVSP_VERSION_WIN10, NULL);
	for (unsigned i = 0; i < 4; i++) {
		w.b.offset = offsets[i];
		qtest_fill(data, 2u << 20, 100, i);
		vsc_buffer_put(&w.b, data, 2u << 20);
		run_rw(&w, true, 100, 4096, false);
		memset(data, 0, 2u << 20);
		vsc_buffer_put(&w.b, data, 2u << 20);
		run_rw(&w, false, 100, 4096, false);
		vsc_buffer_get(&w.b, data, 2u << 20);
		qtest_check(data, 2u << 20, 100, i);
	}
	free(data);
	stop(&w);
}

static void one_page_more_than_the_limit_is_refused(void **state)
{
	struct vsc_cmd cmd;
	struct vsc_answer a;
	struct world w;

	(void)state;
	start_with(&w, (struct vsc_opts){.vsp.max_transfer_bytes = 65536});
	vsc_negotiate(w.c, STORVSP_VERSION_WIN10, NULL);
	cmd = vsc_rw(false, 0, 0, 128, false, &w.b);
	vsc_run(w.c, &cmd, &a);
	assert_true(vsc_good(&a));
	cmd = vsc_rw(false, 0, 0, 129, false, &w.b);
	vsc_run(w.c, &cmd, &a);
	assert_int_equal(vsc_status(&a).asc, 0x24);
	stop(&w);
}

/* Reads and writes of all forms against a flat model. */
static void random_requests_match_a_flat_model(void **state)
{
	uint8_t *model = calloc(1, DISK_BYTES), *data = malloc(1u << 20);
	uint64_t seed = random_seed();
	struct world w;

	(void)state;
	start(&w);
	vsc_negotiate(w.c, STORVSP_VERSION_WIN10, NULL);
	for (unsigned i = 0; i < 4000; i++) {
		uint32_t n =
			1 + (uint32_t)random_below(&seed, i % 16 ? 32 : 1024);
		uint64_t lba = random_below(&seed, SECTORS - n + 1);
		size_t len = n * (size_t)SECTOR;
		bool write = random_below(&seed, 2);

		w.b.offset = (uint32_t)random_below(&seed, 1024) * 4;
		if (write) {
			qtest_fill(data, len, lba, i);
			memcpy(model + lba * SECTOR, data, len);
			vsc_buffer_put(&w.b, data, len);
		}
		run_rw(&w, write, lba, n, random_below(&seed, 8) == 0);
		if (!write) {
			vsc_buffer_get(&w.b, data, len);
			assert_memory_equal(data, model + lba * SECTOR, len);
		}
		if (random_below(&seed, 64) == 0) {
			struct vsc_cmd flush = {.cdb = {0x35}, .data_in = 2};
			struct vsc_answer a;

			vsc_run(w.c, &flush, &a);
			assert_true(vsc_good(&a));
		}
	}
	vsc_close(w.c);
	for (uint64_t off = 0; off < DISK_BYTES; off += 1u << 20) {
		assert_int_equal(vhd_read(w.img, off, data, 1u << 20, NULL), 0);
		assert_memory_equal(data, model + off, 1u << 20);
	}
	free(model);
	free(data);
	stop(&w);
}

static void fua_and_flush_reach_the_medium(void **state)
{
	struct vsc_cmd flush = {.cdb = {0x35}, .data_in = STORVSP_DATA_NONE};
	struct vsc_cmd unit_stop = {.cdb = {0x1B}, .data_in = 2};
	struct vsc_answer a;
	struct world w;
	uint64_t n;

	(void)state;
	start(&w);
	vsc_negotiate(w.c, STORVSP_VERSION_WIN10, NULL);
	run_rw(&w, true, 0, 8, false);
	n = memfile_count(w.m, MEMFILE_FLUSH);
	run_rw(&w, true, 0, 8, false);
	assert_int_equal(memfile_count(w.m, MEMFILE_FLUSH), n);
	run_rw(&w, true, 0, 8, true);
	assert_true(memfile_count(w.m, MEMFILE_FLUSH) > n);
	n = memfile_count(w.m, MEMFILE_FLUSH);
	vsc_run(w.c, &flush, &a);
	assert_true(vsc_good(&a));
	assert_true(memfile_count(w.m, MEMFILE_FLUSH) > n);
	n = memfile_count(w.m, MEMFILE_FLUSH);
	vsc_run(w.c, &unit_stop, &a);
	assert_true(vsc_good(&a));
	assert_true(memfile_count(w.m, MEMFILE_FLUSH) > n);
	stop(&w);
}

static void statistics_count_what_happened(void **state)
{
	struct storvsp_stats s;
	struct vsc_cmd bad;
	struct vsc_answer a;
	struct world w;

	(void)state;
	start(&w);
	vsc_negotiate(w.c, STORVSP_VERSION_WIN10, NULL); /* 4 packets */
	run_rw(&w, true, 0, 8, false);
	run_rw(&w, false, 0, 4, false);
	bad = vsc_rw(false, 0, SECTORS, 1, false, &w.b);
	vsc_run(w.c, &bad, &a);
	vsc_close(w.c);
	storvsp_get_stats(vsc_vsp(w.v), &s);
	assert_int_equal(s.packets, 7);
	assert_int_equal(s.completions, 7);
	assert_int_equal(s.writes, 1);
	assert_int_equal(s.reads, 1);
	assert_int_equal(s.written_bytes, 4096);
	assert_int_equal(s.read_bytes, 2048);
	assert_int_equal(s.errors, 1);
	assert_int_equal(s.refused + s.cancelled, 0);
	stop(&w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(
			largest_transfer_goes_through_unaligned_scattered_pages),
		cmocka_unit_test(one_page_more_than_the_limit_is_refused),
		cmocka_unit_test(random_requests_match_a_flat_model),
		cmocka_unit_test(fua_and_flush_reach_the_medium),
		cmocka_unit_test(statistics_count_what_happened),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: BSD-2-Clause */
/* The backup of a GUID partition table follows the disk's end: what is
 * refused, what is written, and that a power cut leaves a table whole.
 */
#include <errno.h>
#include <string.h>

#include "tests/lib/cm.h"
#include "tests/lib/random.h"
#include "tests/lib/recfile.h"
#include "tests/lib/vhdimg.h"
#include "tools/verb/gpt.h"

#define SECTORS 400u /* of the disk */
#define ENTRIES 128u
#define CUTS	6

/* ---------------------------------------------- a table, made by hand -- */

static uint32_t crc32_slow(const uint8_t *p, size_t n)
{
	uint32_t c = ~0u;

	while (n--) {
		c ^= *p++;
		for (int k = 0; k < 8; k++)
			c = c >> 1 ^ (c & 1 ? 0xedb88320u : 0);
	}
	return ~c;
}

static void put(uint8_t *p, uint64_t v, int n)
{
	for (int i = 0; i < n; i++, v >>= 8)
		p[i] = (uint8_t)v;
}

static uint64_t get(const uint8_t *p, int n)
{
	uint64_t v = 0;

	while (n--)
		v = v << 8 | p[n];
	return v;
}

static void seal(uint8_t *h)
{
	put(h + 16, 0, 4);
	put(h + 16, crc32_slow(h, 92), 4);
}

struct table {
	uint8_t mbr[512];
	uint8_t primary[512];
	uint8_t entries[ENTRIES * 128];
	uint8_t backup[512];
};

static void header(uint8_t *h, const uint8_t *entries, uint64_t my,
		   uint64_t other, uint64_t entries_at)
{
	memset(h, 0, 512);
	memcpy(h, "EFI PART", 8);
	put(h + 8, 0x10000, 4);
	put(h + 12, 92, 4);
	put(h + 24, my, 8);
	put(h + 32, other, 8);
	put(h + 40, 34, 8);
	put(h + 48, SECTORS - 34, 8);
	memcpy(h + 56, "the disk's guid!", 16);
	put(h + 72, entries_at, 8);
	put(h + 80, ENTRIES, 4);
	put(h + 84, 128, 4);
	put(h + 88, crc32_slow(entries, ENTRIES * 128), 4);
	seal(h);
}

/* One partition, [40, last]. */
static void make(struct table *t, uint64_t last)
{
	memset(t, 0, sizeof(*t));
	t->mbr[446 + 4] = 0xee;
	put(t->mbr + 446 + 8, 1, 4);
	put(t->mbr + 446 + 12, SECTORS - 1, 4);
	t->mbr[510] = 0x55;
	t->mbr[511] = 0xaa;
	memcpy(t->entries, "linux filesystem", 16);
	put(t->entries + 32, 40, 8);
	put(t->entries + 40, last, 8);
	header(t->primary, t->entries, 1, SECTORS - 1, 2);
	header(t->backup, t->entries, SECTORS - 1, 1, SECTORS - 33);
}

static void write_at(struct vhd *img, uint64_t lba, const void *b, size_t n)
{
	struct vhd_err e;

	assert_int_equal(vhd_write(img, lba * 512, b, n, &e), 0);
}

static struct memfile *disk(const struct table *t)
{
	struct memfile *m = img_fixed(SECTORS * 512);
	struct vhd *img;
	struct vhd_err e;

	assert_int_equal(img_open(m, VHD_FORMAT_AUTO, true, &img, &e), 0);
	write_at(img, 0, t->mbr, 512);
	write_at(img, 1, t->primary, 512);
	write_at(img, 2, t->entries, sizeof(t->entries));
	write_at(img, SECTORS - 33, t->entries, sizeof(t->entries));
	write_at(img, SECTORS - 1, t->backup, 512);
	assert_int_equal(vhd_close(img, &e), 0);
	return m;
}

static int read_table(struct memfile *m, struct gpt *g, struct vhd_err *e)
{
	struct vhd *img;
	int rc;

	assert_int_equal(img_open(m, VHD_FORMAT_AUTO, false, &img, e), 0);
	rc = gpt_read(g, img, e);
	vhd_abandon(img);
	return rc;
}

/* --------------------------------------------------------------- tests -- */

static void a_sound_table_is_read(void **state)
{
	struct vhd_err e;
	struct memfile *m;
	struct table t;
	struct gpt g;

	(void)state;
	make(&t, 300);
	m = disk(&t);
	assert_int_equal(read_table(m, &g, &e), 1);
	assert_true(g.last_used_lba == 300);
	assert_true(g.backup_there && g.backup_lba == SECTORS - 33);
	assert_true(gpt_fits(&g, SECTORS) && !gpt_fits(&g, SECTORS + 1));
	assert_int_equal(gpt_room(&g, 301 + 33, &e), 0);
	assert_refused(gpt_room(&g, 300 + 33, &e), &e, EUCLEAN,
		       VHD_WHY_DATA_BEHIND);
	gpt_fini(&g);
	memfile_destroy(m);

	m = img_fixed(SECTORS * 512);
	assert_int_equal(read_table(m, &g, &e), 0);
	memfile_destroy(m);
}

static void d_header_sum(struct table *t)
{
	t->primary[60] ^= 1;
}

static void d_entries_sum(struct table *t)
{
	t->entries[200] ^= 1;
}

static void d_header_size(struct table *t)
{
	put(t->primary + 12, 91, 4);
	seal(t->primary);
}

static void d_header_huge(struct table *t)
{
	put(t->primary + 12, 513, 4);
}

static void d_place(struct table *t)
{
	put(t->primary + 24, 2, 8);
	seal(t->primary);
}

static void d_entry_size(struct table *t)
{
	put(t->primary + 84, 64, 4);
	seal(t->primary);
}

static void d_entry_count(struct table *t)
{
	put(t->primary + 80, 0xffffffff, 4);
	seal(t->primary);
}

static void d_no_entries(struct table *t)
{
	put(t->primary + 80, 0, 4);
	seal(t->primary);
}

static void d_entries_far(struct table *t)
{
	put(t->primary + 72, UINT64_MAX - 1, 8);
	seal(t->primary);
}

static void d_entries_on_header(struct table *t)
{
	put(t->primary + 72, 1, 8);
	seal(t->primary);
}

static void d_partition_backwards(struct table *t)
{
	put(t->entries + 40, 39, 8);
	header(t->primary, t->entries, 1, SECTORS - 1, 2);
}

static void d_partition_far(struct table *t)
{
	put(t->entries + 40, SECTORS, 8);
	header(t->primary, t->entries, 1, SECTORS - 1, 2);
}

static void damaged_tables_are_refused(void **state)
{
	static void (*const harms[])(struct table * t) = {
		d_header_sum,
		d_entries_sum,
		d_header_size,
		d_header_huge,
		d_place,
		d_entry_size,
		d_entry_count,
		d_no_entries,
		d_entries_far,
		d_entries_on_header,
		d_partition_backwards,
		d_partition_far,
	};

	(void)state;
	for (size_t i = 0; i < sizeof(harms) / sizeof(harms[0]); i++) {
		struct vhd_err e = {0};
		struct memfile *m;
		struct table t;
		struct gpt g;

		make(&t, 300);
		harms[i](&t);
		m = disk(&t);
		print_message("%zu\n", i);
		assert_refused(read_table(m, &g, &e), &e, EUCLEAN,
			       VHD_WHY_UNSUPPORTED);
		memfile_destroy(m);
	}
}

/* Both headers and both lists as they must be for an end at `sectors`. */
static void is_moved(struct memfile *m, const struct table *t, uint64_t sectors)
{
	uint8_t h[512], list[ENTRIES * 128], sum[4];
	uint64_t at[2] = {1, sectors - 1};

	for (int i = 0; i < 2; i++) {
		memfile_peek(m, h, 512, at[i] * 512);
		assert_memory_equal(h, "EFI PART", 8);
		assert_true(get(h + 24, 8) == at[i]);
		assert_true(get(h + 32, 8) == at[!i]);
		assert_true(get(h + 48, 8) == sectors - 34);
		assert_memory_equal(h + 56, "the disk's guid!", 16);
		assert_true(get(h + 72, 8) == (i ? sectors - 33 : 2));
		memcpy(sum, h + 16, 4);
		seal(h);
		assert_memory_equal(h + 16, sum, 4);
		memfile_peek(m, list, sizeof(list), get(h + 72, 8) * 512);
		assert_memory_equal(list, t->entries, sizeof(list));
	}
	memfile_peek(m, h, 512, 0);
	assert_true(get(h + 446 + 12, 4) == sectors - 1);
}

static int move(struct vhd_file f, uint64_t sectors, struct vhd_err *e)
{
	struct vhd_open_opts o = {.writable = true};
	struct vhd *img;
	struct gpt g;
	int rc;

	assert_int_equal(vhd_open_file(&f, &o, &img, e), 0);
	assert_int_equal(gpt_read(&g, img, e), 1);
	rc = gpt_move(&g, img, sectors, e);
	gpt_fini(&g);
	assert_int_equal(vhd_close(img, NULL), 0);
	return rc;
}

static void a_table_moves_in_front_of_a_new_end(void **state)
{
	static const uint64_t ends[] = {SECTORS - 1, SECTORS - 20, 334};
	struct vhd_err e;
	struct table t;

	(void)state;
	make(&t, 300);
	for (size_t i = 0; i < sizeof(ends) / sizeof(ends[0]); i++) {
		struct memfile *m = disk(&t);
		uint8_t h[512];

		assert_int_equal(move(memfile_file(m), ends[i], &e), 0);
		is_moved(m, &t, ends[i]);
		/* nothing of the former one is left */
		for (uint64_t lba = SECTORS - 33; lba < SECTORS; lba++) {
			if (lba >= ends[i] - 33 && lba < ends[i])
				continue;
			memfile_peek(m, h, 512, lba * 512);
			for (int b = 0; b < 512; b++)
				assert_int_equal(h[b], 0);
		}
		memfile_destroy(m);
	}
}

static void a_table_follows_a_larger_disk(void **state)
{
	static const uint64_t by[] = {1, 20, 32, 33, 34, 5000};
	struct vhd_err e;
	struct table t;

	(void)state;
	make(&t, 300);
	for (size_t i = 0; i < sizeof(by) / sizeof(by[0]); i++) {
		uint64_t end = SECTORS + by[i];
		struct memfile *m = disk(&t);
		uint8_t h[512];

		memfile_peek(m, h, 512, SECTORS * 512);
		img_put64(h + IMG_F_CURRENT_SIZE, end * 512);
		img_seal(h, 512);
		memfile_resize(m, SECTORS * 512);
		assert_int_equal(memfile_poke(m, h, 512, end * 512), 0);
		assert_int_equal(move(memfile_file(m), end, &e), 0);
		is_moved(m, &t, end);
		for (uint64_t lba = SECTORS - 33; lba < end - 33; lba++) {
			memfile_peek(m, h, 512, lba * 512);
			for (int b = 0; b < 512; b++)
				assert_int_equal(h[b], 0);
		}
		memfile_destroy(m);
	}
}

static void a_table_without_room_stays(void **state)
{
	struct memfile *m, *was;
	struct vhd_err e;
	struct table t;

	(void)state;
	make(&t, 300);
	m = disk(&t);
	was = memfile_clone(m);
	assert_refused(move(memfile_file(m), 333, &e), &e, EUCLEAN,
		       VHD_WHY_DATA_BEHIND);
	assert_refused(move(memfile_file(m), 3, &e), &e, EUCLEAN,
		       VHD_WHY_DATA_BEHIND);
	assert_true(memfile_equal(m, was));
	memfile_destroy(was);
	memfile_destroy(m);
}

/* What a program would find: a sound header, its list sound, and the header it
 * names as the other one sound, too, or still the former.
 */
static bool whole(struct memfile *m, uint64_t at)
{
	uint8_t h[512], list[ENTRIES * 128], sum[4];

	memfile_peek(m, h, 512, at * 512);
	memcpy(sum, h + 16, 4);
	if (memcmp(h, "EFI PART", 8) != 0 || get(h + 24, 8) != at)
		return false;
	seal(h);
	if (memcmp(h + 16, sum, 4) != 0)
		return false;
	memfile_peek(m, list, sizeof(list), get(h + 72, 8) * 512);
	return crc32_slow(list, sizeof(list)) == get(h + 88, 4);
}

static void a_power_cut_leaves_two_sound_headers(void **state)
{
	uint64_t rnd = random_seed();
	struct recfile *rec;
	struct memfile *m;
	struct vhd_err e;
	struct table t;

	(void)state;
	make(&t, 300);
	m = disk(&t);
	rec = recfile_create(m);
	assert_int_equal(move(recfile_file(rec), 350, &e), 0);
	for (size_t n = 0; n <= recfile_count(rec); n++)
		for (int k = 0; k < CUTS; k++) {
			struct memfile *cut =
				recfile_cut(rec, n, random_next(&rnd));
			uint8_t h[512];

			assert_true(whole(cut, 1));
			memfile_peek(cut, h, 512, 512);
			assert_true(whole(cut, get(h + 32, 8)));
			assert_int_equal(move(memfile_file(cut), 350, &e), 0);
			is_moved(cut, &t, 350);
			memfile_destroy(cut);
		}
	recfile_destroy(rec);
	memfile_destroy(m);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_sound_table_is_read),
		cmocka_unit_test(damaged_tables_are_refused),
		cmocka_unit_test(a_table_moves_in_front_of_a_new_end),
		cmocka_unit_test(a_table_follows_a_larger_disk),
		cmocka_unit_test(a_table_without_room_stays),
		cmocka_unit_test(a_power_cut_leaves_two_sound_headers),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

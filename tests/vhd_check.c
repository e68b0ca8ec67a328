/* SPDX-License-Identifier: BSD-2-Clause */
/* Checking: every damage is named by its own word, with its place, and what
 * opening refuses is never called sound.
 */
#include <errno.h>
#include <string.h>

#include "tests/lib/cm.h"
#include "tests/lib/random.h"
#include "tests/lib/vhdimg.h"
#include "vhd/check.h"
#include "vhd/format.h"

#define KIB 1024u
#define MIB (1u << 20)
#define SIZE (4 * MIB)
#define NOW 1700000000
#define FOUND_MAX 64

static const uint32_t three[] = {2, 0, 3};

static struct memfile *dynamic(void)
{
	return img_dynamic(SIZE, MIB, three, 3);
}

struct found {
	struct vhd_finding f[FOUND_MAX];
	unsigned count;
	struct vhd_check_result r;
	struct vhd_err err;
	int rc;
};

static int collect(void *ctx, const struct vhd_finding *f)
{
	struct found *all = ctx;

	assert_true(all->count < FOUND_MAX);
	assert_true(f->text[0] != '\0');
	all->f[all->count++] = *f;
	return 0;
}

static void check_with(struct memfile *m, struct vhd_check_opts *o,
		       struct found *all)
{
	struct vhd_file f = memfile_file(m);

	memset(all, 0, sizeof(*all));
	o->found = collect;
	o->ctx = all;
	o->now_unix_s = NOW;
	all->rc = vhd_check_file(&f, o, &all->r, &all->err);
}

static void check(struct memfile *m, struct found *all)
{
	struct vhd_check_opts o = {.data = true};

	check_with(m, &o, all);
}

static const struct vhd_finding *find(const struct found *all,
				      enum vhd_finding_code code)
{
	for (unsigned i = 0; i < all->count; i++)
		if (all->f[i].code == code)
			return &all->f[i];
	return NULL;
}

static uint64_t faults(const struct found *all)
{
	return all->r.severity_count[VHD_SEVERITY_ERROR] +
	       all->r.severity_count[VHD_SEVERITY_WARNING];
}

static void poke(struct memfile *m, const void *b, size_t len, uint64_t off)
{
	assert_int_equal(memfile_poke(m, b, len, off), 0);
}

static void poke_zeros(struct memfile *m, size_t len, uint64_t off)
{
	static const uint8_t zeros[4096];

	assert_true(len <= sizeof(zeros));
	poke(m, zeros, len, off);
}

/* ------------------------------------------------------------- the damages -- */

static uint64_t end_of(const struct memfile *m)
{
	return memfile_len(m) - 512;
}

static void d_version(struct memfile *m)
{
	img_footers32(m, IMG_F_VERSION, 0x00020000);
}

static void d_type(struct memfile *m)
{
	img_footers32(m, IMG_F_TYPE, 6);
}

static void d_size_zero(struct memfile *m)
{
	img_footers64(m, IMG_F_CURRENT_SIZE, 0);
}

static void d_size_odd(struct memfile *m)
{
	img_footers64(m, IMG_F_CURRENT_SIZE, SIZE - 1);
}

static void d_size_huge(struct memfile *m)
{
	img_footers64(m, IMG_F_CURRENT_SIZE, 1ull << 62);
}

static void d_footer_sum(struct memfile *m)
{
	poke(m, "\1\2\3\4", 4, end_of(m) + IMG_F_CHECKSUM);
}

static void d_footer_gone(struct memfile *m)
{
	poke_zeros(m, 512, end_of(m));
}

static void d_footer_c7(struct memfile *m)
{
	uint8_t b[512];

	memset(b, 0xc7, sizeof(b));
	poke(m, b, sizeof(b), end_of(m));
}

static void d_footer_511(struct memfile *m)
{
	memfile_resize(m, memfile_len(m) - 1);
}

static void d_copy_gone(struct memfile *m)
{
	poke_zeros(m, 512, 0);
}

static void d_copy_sum(struct memfile *m)
{
	poke(m, "\1\2\3\4", 4, IMG_F_CHECKSUM);
}

static void d_both_sums(struct memfile *m)
{
	d_footer_sum(m);
	d_copy_sum(m);
}

static void d_both_gone(struct memfile *m)
{
	d_footer_gone(m);
	d_copy_gone(m);
}

static void d_differ_flag(struct memfile *m)
{
	uint8_t one = 1;

	img_set(m, end_of(m), 512, IMG_F_SAVED, &one, 1);
}

static void d_differ_id(struct memfile *m)
{
	img_set(m, end_of(m), 512, IMG_F_ID, "0123456789abcdef", 16);
}

static void d_poison(struct memfile *m)
{
	img_set(m, end_of(m), 512, IMG_F_COOKIE, "v_poison", 8);
}

static void d_features(struct memfile *m)
{
	img_footers32(m, IMG_F_FEATURES, 0x102);
}

static void d_saved(struct memfile *m)
{
	uint8_t one = 1;

	img_footers(m, IMG_F_SAVED, &one, 1);
}

static void d_hidden(struct memfile *m)
{
	uint8_t one = 1;

	img_footers(m, IMG_F_HIDDEN, &one, 1);
}

static void d_reserved(struct memfile *m)
{
	img_footers32(m, IMG_F_RESERVED + 100, 1);
}

static void d_id_zero(struct memfile *m)
{
	static const uint8_t zero[16];

	img_footers(m, IMG_F_ID, zero, 16);
}

static void d_future(struct memfile *m)
{
	img_footers32(m, IMG_F_TIMESTAMP, NOW - 946684800 + 1801);
}

static void d_creator(struct memfile *m)
{
	img_footers(m, IMG_F_APP, "what", 4);
}

static void d_original(struct memfile *m)
{
	img_footers64(m, IMG_F_ORIGINAL_SIZE, MIB);
}

static void d_geometry_large(struct memfile *m)
{
	img_footers(m, 56, "\xff\xff\x10\xfe", 4);
}

static void d_geometry_zero(struct memfile *m)
{
	img_footers(m, 56, "\0\0\0\0", 4);
}

/* 4 MiB by the rule: 120/4/17, which is 16384 bytes less. */
static void d_geometry_cuts(struct memfile *m)
{
	img_footers(m, 56, "\0\x78\x04\x11", 4);
}

static void d_data_offset_0(struct memfile *m)
{
	img_footers64(m, IMG_F_DATA_OFFSET, 0);
}

static void d_data_offset_odd(struct memfile *m)
{
	img_footers64(m, IMG_F_DATA_OFFSET, 513);
}

static void d_data_offset_huge(struct memfile *m)
{
	img_footers64(m, IMG_F_DATA_OFFSET, UINT64_MAX - 511);
}

static void d_header_cookie(struct memfile *m)
{
	img_set(m, IMG_HEADER, 1024, IMG_H_COOKIE, "cxspars3", 8);
}

static void d_header_sum(struct memfile *m)
{
	poke(m, "\1\2\3\4", 4, IMG_HEADER + IMG_H_CHECKSUM);
}

static void d_header_version(struct memfile *m)
{
	img_set32(m, IMG_HEADER, 1024, IMG_H_VERSION, 0x00020000);
}

static void d_header_reserved(struct memfile *m)
{
	img_set32(m, IMG_HEADER, 1024, 900, 1);
}

static void d_next(struct memfile *m)
{
	img_set64(m, IMG_HEADER, 1024, IMG_H_NEXT, 512);
}

static void block(struct memfile *m, uint32_t bytes)
{
	img_set32(m, IMG_HEADER, 1024, IMG_H_BLOCK, bytes);
}

static void d_block_0(struct memfile *m)
{
	block(m, 0);
}

static void d_block_3m(struct memfile *m)
{
	block(m, 3 * MIB);
}

static void d_block_256(struct memfile *m)
{
	block(m, 256);
}

static void d_block_2g(struct memfile *m)
{
	block(m, 1u << 31);
}

static void table(struct memfile *m, uint64_t at)
{
	img_set64(m, IMG_HEADER, 1024, IMG_H_TABLE, at);
}

static void d_table_0(struct memfile *m)
{
	table(m, 0);
}

static void d_table_odd(struct memfile *m)
{
	table(m, 1537);
}

static void d_table_header(struct memfile *m)
{
	table(m, 1024);
}

static void d_table_huge(struct memfile *m)
{
	table(m, UINT64_MAX - 511);
}

static void entries(struct memfile *m, uint32_t n)
{
	img_set32(m, IMG_HEADER, 1024, IMG_H_ENTRIES, n);
}

static void d_entries_0(struct memfile *m)
{
	entries(m, 0);
}

static void d_entries_short(struct memfile *m)
{
	entries(m, 3);
}

static void d_entries_wrap(struct memfile *m)
{
	entries(m, 0x40000000);
}

static void d_entries_long(struct memfile *m)
{
	entries(m, 5);
}

static void d_extra_used(struct memfile *m)
{
	entries(m, 5);
	img_bat(m, 4, 4096);
}

static void d_padding(struct memfile *m)
{
	poke(m, "abc", 3, IMG_TABLE + 100);
}

static void d_bat_0(struct memfile *m)
{
	img_bat(m, 1, 0);
}

static void d_bat_header(struct memfile *m)
{
	img_bat(m, 1, 2);
}

static void d_bat_table(struct memfile *m)
{
	img_bat(m, 1, 3);
}

static void d_bat_fffe(struct memfile *m)
{
	img_bat(m, 1, 0xfffffffe);
}

static void d_bat_end(struct memfile *m)
{
	img_bat(m, 1, (uint32_t)(end_of(m) / 512));
}

/* Three quarters of the block would be behind the footer. */
static void d_bat_cut(struct memfile *m)
{
	poke_zeros(m, 512, end_of(m));
	memfile_resize(m, memfile_len(m) + 256 * KIB);
	img_bat(m, 1, (uint32_t)((end_of(m) - 255 * KIB) / 512));
	uint8_t f[512];

	img_footer(f, IMG_TYPE_DYNAMIC, SIZE);
	poke(m, f, 512, end_of(m));
}

static void d_bat_same(struct memfile *m)
{
	img_bat(m, 1, (uint32_t)(img_place(SIZE, MIB, 1) / 512));
}

static void d_bat_overlap(struct memfile *m)
{
	img_bat(m, 1, (uint32_t)(img_place(SIZE, MIB, 1) / 512) + 8);
}

static void d_orphan(struct memfile *m)
{
	img_bat(m, 0, 0xffffffff);
}

static void d_tail_gap(struct memfile *m)
{
	img_bat(m, 3, 0xffffffff);
}

static void d_hides(struct memfile *m)
{
	poke(m, "\xfe", 1, img_place(SIZE, MIB, 1) + 2);
}

/* `code` COUNT: nothing but what is always said. */
struct damage {
	const char *what;
	void (*harm)(struct memfile *m);
	enum vhd_finding_code code;
	enum vhd_severity severity;
	uint32_t hresult;
	uint64_t at;
	uint64_t block;
};

#define E VHD_SEVERITY_ERROR
#define W VHD_SEVERITY_WARNING
#define I VHD_SEVERITY_INFO
#define NB VHD_NO_BLOCK
#define ANY UINT64_MAX
#define BAT(n) (IMG_TABLE + 4 * (n))

static const struct damage damages[] = {
	{"version", d_version, VHD_FIND_FOOTER_VERSION, E, 5, ANY, NB},
	{"type", d_type, VHD_FIND_FOOTER_TYPE, E, 4, ANY, NB},
	{"size 0", d_size_zero, VHD_FIND_SIZE, E, 0x12, ANY, NB},
	{"size odd", d_size_odd, VHD_FIND_SIZE, E, 0x12, ANY, NB},
	{"size huge", d_size_huge, VHD_FIND_SIZE, E, 0x12, ANY, NB},
	{"footer sum", d_footer_sum, VHD_FIND_FOOTER_CHECKSUM, E, 2, ANY, NB},
	{"footer gone", d_footer_gone, VHD_FIND_FOOTER_MISSING, E, 1, ANY, NB},
	{"footer C7", d_footer_c7, VHD_FIND_FOOTER_MISSING, E, 1, ANY, NB},
	{"footer 511", d_footer_511, VHD_FIND_FOOTER_511, W, 3, ANY, NB},
	{"copy gone", d_copy_gone, VHD_FIND_COPY_MISSING, E, 3, 0, NB},
	{"copy sum", d_copy_sum, VHD_FIND_COPY_CHECKSUM, E, 2, 64, NB},
	{"both sums", d_both_sums, VHD_FIND_COPY_CHECKSUM, E, 2, 64, NB},
	{"both gone", d_both_gone, VHD_FIND_FOOTER_MISSING, E, 1, ANY, NB},
	{"flags differ", d_differ_flag, VHD_FIND_FOOTERS_DIFFER, W, 3, ANY,
	 NB},
	{"ids differ", d_differ_id, VHD_FIND_FOOTERS_DIFFER, E, 3, ANY, NB},
	{"poison", d_poison, VHD_FIND_POISON_COOKIE, E, 3, ANY, NB},
	{"features", d_features, VHD_FIND_FEATURES, W, 0, ANY, NB},
	{"saved state", d_saved, VHD_FIND_SAVED_STATE, W, 0, ANY, NB},
	{"hidden", d_hidden, VHD_FIND_HIDDEN, I, 0, ANY, NB},
	{"reserved", d_reserved, VHD_FIND_RESERVED, I, 0, ANY, NB},
	{"no id", d_id_zero, VHD_FIND_ID_ZERO, W, 0, ANY, NB},
	{"future", d_future, VHD_FIND_TIMESTAMP, W, 0, ANY, NB},
	{"creator", d_creator, VHD_FIND_CREATOR, I, 0, ANY, NB},
	{"original", d_original, VHD_FIND_ORIGINAL_SIZE, I, 0, ANY, NB},
	{"geometry +", d_geometry_large, VHD_FIND_GEOMETRY, W, 3, ANY, NB},
	{"geometry 0", d_geometry_zero, VHD_FIND_GEOMETRY, W, 3, ANY, NB},
	{"geometry -", d_geometry_cuts, VHD_FIND_GEOMETRY_CUTS, I, 0, ANY,
	 NB},
	{"data offset 0", d_data_offset_0, VHD_FIND_DATA_OFFSET, E, 8, ANY,
	 NB},
	{"data offset odd", d_data_offset_odd, VHD_FIND_DATA_OFFSET, E, 8,
	 ANY, NB},
	{"data offset far", d_data_offset_huge, VHD_FIND_DATA_OFFSET, E, 8,
	 ANY, NB},
	{"cookie", d_header_cookie, VHD_FIND_HEADER_COOKIE, E, 8, 512, NB},
	{"header sum", d_header_sum, VHD_FIND_HEADER_CHECKSUM, E, 6, 548, NB},
	{"header version", d_header_version, VHD_FIND_HEADER_VERSION, E, 7,
	 536, NB},
	{"header reserved", d_header_reserved, VHD_FIND_RESERVED, I, 0, ANY,
	 NB},
	{"next", d_next, VHD_FIND_NEXT_OFFSET, W, 8, 520, NB},
	{"block 0", d_block_0, VHD_FIND_BLOCK_SIZE, E, 0xb, 544, NB},
	{"block 3M", d_block_3m, VHD_FIND_BLOCK_SIZE, E, 0xb, 544, NB},
	{"block 256", d_block_256, VHD_FIND_BLOCK_SIZE, E, 0xb, 544, NB},
	{"block 2G", d_block_2g, VHD_FIND_BLOCK_SIZE, E, 0xb, 544, NB},
	{"table 0", d_table_0, VHD_FIND_TABLE_OFFSET, E, 0xa, 528, NB},
	{"table odd", d_table_odd, VHD_FIND_TABLE_OFFSET, E, 0xa, 528, NB},
	{"table header", d_table_header, VHD_FIND_TABLE_OFFSET, E, 0xa, 528,
	 NB},
	{"table far", d_table_huge, VHD_FIND_TABLE_PAST_END, E, 0xa, 528, NB},
	{"no entries", d_entries_0, VHD_FIND_TABLE_ENTRIES, E, 0xa, 540, NB},
	{"few entries", d_entries_short, VHD_FIND_TABLE_SHORT, E, 0xa, 540,
	 NB},
	{"2^30 entries", d_entries_wrap, VHD_FIND_TABLE_PAST_END, E, 0xa, 528,
	 NB},
	{"an entry more", d_entries_long, VHD_FIND_TABLE_LONG, I, 0, 540, NB},
	{"and used", d_extra_used, VHD_FIND_BAT_EXTRA, W, 0xa, BAT(4), 4},
	{"padding", d_padding, VHD_FIND_BAT_PADDING, I, 0, ANY, NB},
	{"entry 0", d_bat_0, VHD_FIND_BAT_IN_METADATA, E, 0xa, BAT(1), 1},
	{"in header", d_bat_header, VHD_FIND_BAT_IN_METADATA, E, 0xa, BAT(1),
	 1},
	{"in table", d_bat_table, VHD_FIND_BAT_IN_METADATA, E, 0xa, BAT(1), 1},
	{"entry FFFFFFFE", d_bat_fffe, VHD_FIND_BAT_PAST_END, E, 0xa, BAT(1),
	 1},
	{"on the footer", d_bat_end, VHD_FIND_BAT_PAST_END, E, 0xa, BAT(1),
	 1},
	{"cut", d_bat_cut, VHD_FIND_BAT_CUT, E, 0xa, BAT(1), 1},
	{"same place", d_bat_same, VHD_FIND_BAT_DUPLICATE, E, 0xa, BAT(1), 1},
	{"overlap", d_bat_overlap, VHD_FIND_BAT_OVERLAP, E, 0xa, BAT(1), 1},
	{"orphan", d_orphan, VHD_FIND_ORPHAN_SPACE, I, 0, ANY, NB},
	{"tail gap", d_tail_gap, VHD_FIND_TAIL_GAP, I, 0, ANY, NB},
	{"hidden data", d_hides, VHD_FIND_BITMAP_HIDES, W, 0xc, ANY, 0},
};

#define DAMAGES (sizeof(damages) / sizeof(damages[0]))

static void each_damage_is_named_with_its_place_and_code(void **state)
{
	(void)state;
	for (size_t i = 0; i < DAMAGES; i++) {
		const struct damage *d = &damages[i];
		struct memfile *m = dynamic();
		const struct vhd_finding *f;
		struct found all;

		print_message("%s\n", d->what);
		d->harm(m);
		check(m, &all);
		assert_int_equal(all.rc, 0);
		f = find(&all, d->code);
		assert_non_null(f);
		assert_int_equal(f->severity, d->severity);
		assert_int_equal(f->hresult,
				 d->hresult ? 0xc03a0000u | d->hresult : 0);
		assert_int_equal(f->block, d->block);
		if (d->at != ANY)
			assert_int_equal(f->at_bytes, d->at);
		memfile_destroy(m);
	}
}

static void what_opening_refuses_is_found_for_the_same_reason(void **state)
{
	(void)state;
	for (size_t i = 0; i < DAMAGES; i++) {
		struct memfile *m = dynamic();
		struct vhd *img = NULL;
		struct vhd_err err;
		struct found all;
		bool same = false;

		damages[i].harm(m);
		check(m, &all);
		if (!img_open(m, VHD_FORMAT_AUTO, false, &img, &err)) {
			vhd_abandon(img);
			memfile_destroy(m);
			continue;
		}
		print_message("%s: %s\n", damages[i].what, err.text);
		for (unsigned k = 0; k < all.count; k++)
			same |= all.f[k].why == err.why &&
				all.f[k].severity == VHD_SEVERITY_ERROR;
		/* Both footers lost is told of each place. */
		assert_true(same || err.why == VHD_WHY_NOT_VHD);
		memfile_destroy(m);
	}
}

static void a_sound_image_has_no_errors_or_warnings(void **state)
{
	struct memfile *m = dynamic();
	struct found all;

	(void)state;
	check(m, &all);
	assert_int_equal(all.rc, 0);
	assert_int_equal(faults(&all), 0);
	assert_int_equal(all.r.blocks_used, 3);
	assert_int_equal(all.r.size_bytes, SIZE);
	assert_int_equal(all.r.format, VHD_FORMAT_DYNAMIC);
	memfile_destroy(m);
	m = img_fixed(SIZE);
	check(m, &all);
	assert_int_equal(all.rc, 0);
	assert_int_equal(all.count, 0);
	assert_int_equal(all.r.format, VHD_FORMAT_FIXED);
	memfile_destroy(m);
}

static void several_damages_are_all_found(void **state)
{
	struct memfile *m = dynamic();
	struct found all;

	(void)state;
	d_version(m);
	d_saved(m);
	d_next(m);
	d_header_version(m);
	d_bat_0(m);
	img_bat(m, 3, 0xfffffffe);
	d_header_sum(m);
	d_footer_sum(m);
	check(m, &all);
	assert_int_equal(all.rc, 0);
	assert_non_null(find(&all, VHD_FIND_FOOTER_VERSION));
	assert_non_null(find(&all, VHD_FIND_FOOTER_CHECKSUM));
	assert_non_null(find(&all, VHD_FIND_SAVED_STATE));
	assert_non_null(find(&all, VHD_FIND_NEXT_OFFSET));
	assert_non_null(find(&all, VHD_FIND_HEADER_VERSION));
	assert_non_null(find(&all, VHD_FIND_HEADER_CHECKSUM));
	assert_non_null(find(&all, VHD_FIND_BAT_IN_METADATA));
	assert_non_null(find(&all, VHD_FIND_BAT_PAST_END));
	memfile_destroy(m);
}

static void every_bad_entry_is_found_and_the_rest_counted(void **state)
{
	struct vhd_check_opts o = {.limit = 5};
	struct memfile *m = img_bare(64 * MIB, MIB, NULL, 0);
	struct found all;

	(void)state;
	for (uint32_t b = 0; b < 64; b++)
		img_bat(m, b, 0);
	check_with(m, &o, &all);
	assert_int_equal(all.rc, 0);
	assert_int_equal(all.r.count[VHD_FIND_BAT_IN_METADATA], 64);
	assert_int_equal(all.r.severity_count[VHD_SEVERITY_ERROR], 64);
	assert_int_equal(all.count, 1 + 5); /* with the block size */
	for (unsigned i = 0; i < 5; i++)
		assert_int_equal(all.f[1 + i].block, i);
	assert_true(!find(&all, VHD_FIND_BAT_DUPLICATE));
	memfile_destroy(m);
}

/* ------------------------------------------------------------ fixed disks -- */

static void a_fixed_disk_of_another_length_is_found(void **state)
{
	struct memfile *m = img_fixed(SIZE);
	const struct vhd_finding *f;
	struct found all;

	(void)state;
	img_set64(m, SIZE, 512, IMG_F_CURRENT_SIZE, SIZE + 512);
	check(m, &all);
	f = find(&all, VHD_FIND_FILE_LENGTH);
	assert_non_null(f);
	assert_int_equal(f->why, VHD_WHY_FIXED_LENGTH);
	assert_int_equal(f->hresult, 0xc03a0013);
	assert_int_equal(f->at_bytes, SIZE);
	memfile_destroy(m);
}

static void a_forged_start_of_a_fixed_disk_is_found(void **state)
{
	struct memfile *m = img_fixed(SIZE);
	uint8_t f[512];
	struct found all;

	(void)state;
	img_footer(f, IMG_TYPE_DYNAMIC, SIZE);
	poke(m, f, 512, 0);
	check(m, &all);
	assert_non_null(find(&all, VHD_FIND_FORGED_START));
	assert_int_equal(all.r.format, VHD_FORMAT_FIXED);
	memfile_destroy(m);
}

static void a_fixed_disk_without_footer_must_be_named(void **state)
{
	struct vhd_check_opts o = {.format = VHD_FORMAT_FIXED};
	struct memfile *m = img_fixed(SIZE);
	struct found all;

	(void)state;
	memfile_resize(m, SIZE);
	check(m, &all);
	assert_refused(all.rc, &all.err, EUCLEAN, VHD_WHY_NOT_VHD);
	check_with(m, &o, &all);
	assert_int_equal(all.rc, 0);
	assert_non_null(find(&all, VHD_FIND_FOOTER_MISSING));
	memfile_destroy(m);
}

static void a_vhdx_is_no_vhd_to_check(void **state)
{
	struct memfile *m = memfile_create();
	struct found all;

	(void)state;
	poke(m, "vhdxfile", 8, 0);
	memfile_resize(m, MIB);
	check(m, &all);
	assert_refused(all.rc, &all.err, EUCLEAN, VHD_WHY_IS_VHDX);
	memfile_destroy(m);
}

/* ---------------------------------------------------------------- bitmaps -- */

static void data_is_looked_at_only_when_asked_for(void **state)
{
	struct vhd_check_opts o = {0};
	struct memfile *m = dynamic();
	struct found all;

	(void)state;
	d_hides(m);
	check_with(m, &o, &all);
	assert_null(find(&all, VHD_FIND_BITMAP_HIDES));
	check(m, &all);
	assert_int_equal(find(&all, VHD_FIND_BITMAP_HIDES)->at_bytes,
			 img_place(SIZE, MIB, 1) + 2);
	memfile_destroy(m);
}

static void zeros_under_a_zero_bit_are_as_they_should_be(void **state)
{
	struct memfile *m = dynamic();
	struct found all;

	(void)state;
	d_hides(m);
	poke_zeros(m, 512, img_place(SIZE, MIB, 1) + 512 + 23 * 512);
	check(m, &all);
	assert_int_equal(faults(&all), 0);
	memfile_destroy(m);
}

static void bits_behind_the_disk_mean_nothing(void **state)
{
	struct memfile *m = img_dynamic(SIZE - 512, MIB, three, 3);
	uint8_t last = 0xfe;
	struct found all;

	(void)state;
	/* 2047 sectors belong to the last block: bit 2047 is padding. */
	poke(m, &last, 1, img_place(SIZE, MIB, 2) + 255);
	check(m, &all);
	assert_int_equal(faults(&all), 0);
	memfile_destroy(m);
}

struct bad_medium {
	uint64_t at;
};

static int fail_at(void *ctx, enum memfile_op op, uint64_t off, uint64_t len)
{
	const struct bad_medium *b = ctx;

	return op == MEMFILE_READ && off <= b->at && b->at < off + len
		       ? -EIO : 0;
}

static void an_unreadable_place_is_told_and_the_rest_checked(void **state)
{
	struct memfile *m = dynamic();
	struct bad_medium bad = {img_place(SIZE, MIB, 0) + 9999};
	struct found all;

	(void)state;
	d_hides(m); /* in a later block */
	memfile_set_hook(m, fail_at, &bad);
	check(m, &all);
	assert_int_equal(all.rc, 0);
	assert_non_null(find(&all, VHD_FIND_UNREADABLE));
	assert_int_equal(find(&all, VHD_FIND_UNREADABLE)->block, 2);
	assert_non_null(find(&all, VHD_FIND_BITMAP_HIDES));
	memfile_destroy(m);
}

static void unreadable_metadata_ends_the_check(void **state)
{
	struct memfile *m = dynamic();
	struct bad_medium bad = {IMG_TABLE};
	struct found all;

	(void)state;
	memfile_set_hook(m, fail_at, &bad);
	check(m, &all);
	assert_refused(all.rc, &all.err, EIO, VHD_WHY_IO);
	memfile_destroy(m);
}

/* ----------------------------------------------------------------- batmap -- */

#define BATMAP (IMG_TABLE + 512)

/* A blktap image of four blocks, all full, its batmap where its header says,
 * the blocks behind.
 */
static struct memfile *blktap(uint8_t map)
{
	struct memfile *m = img_bare(SIZE, MIB, NULL, 0);
	uint8_t w[512] = {0}, b[512] = {0}, ones[256], f[512];
	uint64_t at = BATMAP + 1024;

	memcpy(w, "tdbatmap", 8);
	img_put64(w + 8, BATMAP + 512);
	img_put32(w + 16, 1);
	img_put32(w + 20, 0x00010002);
	img_put32(w + 24, ~(uint32_t)map);
	b[0] = map;
	poke(m, w, 512, BATMAP);
	poke(m, b, 512, BATMAP + 512);
	memset(ones, 0xff, sizeof(ones));
	for (uint32_t k = 0; k < 4; k++, at += 512 + MIB) {
		poke(m, ones, sizeof(ones), at);
		img_bat(m, k, (uint32_t)(at / 512));
	}
	img_footer(f, IMG_TYPE_DYNAMIC, SIZE);
	poke(m, f, 512, 0);
	poke(m, f, 512, at);
	img_footers(m, IMG_F_APP, "tap\0", 4);
	img_footers32(m, IMG_F_APP_VERSION, 0x00010003);
	return m;
}

static void a_true_batmap_is_sound(void **state)
{
	struct memfile *m = blktap(0xf0);
	struct found all;

	(void)state;
	check(m, &all);
	assert_int_equal(all.rc, 0);
	assert_int_equal(faults(&all), 0);
	memfile_destroy(m);
}

static void a_batmap_that_understates_is_sound(void **state)
{
	struct memfile *m = blktap(0x40);
	struct found all;

	(void)state;
	check(m, &all);
	assert_int_equal(faults(&all), 0);
	memfile_destroy(m);
}

static void a_batmap_full_of_a_partial_block_is_found(void **state)
{
	struct memfile *m = blktap(0xf0);
	const struct vhd_finding *f;
	struct found all;

	(void)state;
	poke(m, "\x7f", 1, BATMAP + 1024 + 2 * (512 + MIB) + 9);
	check(m, &all);
	f = find(&all, VHD_FIND_BATMAP_STALE);
	assert_non_null(f);
	assert_int_equal(f->block, 2);
	assert_int_equal(f->at_bytes, BATMAP + 512);
	assert_int_equal(all.r.count[VHD_FIND_BATMAP_STALE], 1);
	memfile_destroy(m);
}

static void a_batmap_full_of_a_missing_block_is_found(void **state)
{
	struct memfile *m = blktap(0xf0);
	struct found all;

	(void)state;
	img_bat(m, 1, 0xffffffff);
	check(m, &all);
	assert_non_null(find(&all, VHD_FIND_BATMAP_STALE));
	assert_int_equal(find(&all, VHD_FIND_BATMAP_STALE)->block, 1);
	memfile_destroy(m);
}

static void a_batmap_that_points_nowhere_is_found(void **state)
{
	static const uint64_t bad[] = {0, 512, IMG_TABLE, 1ull << 40,
				       UINT64_MAX - 100};
	struct found all;

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct memfile *m = blktap(0xf0);
		uint8_t b[8];

		img_put64(b, bad[i]);
		poke(m, b, 8, BATMAP + 8);
		check(m, &all);
		assert_int_equal(all.rc, 0);
		assert_non_null(find(&all, VHD_FIND_BATMAP_PLACE));
		memfile_destroy(m);
	}
}

static void a_wrong_batmap_checksum_is_found(void **state)
{
	struct memfile *m = blktap(0xf0);
	struct found all;

	(void)state;
	poke(m, "\1", 1, BATMAP + 27);
	check(m, &all);
	assert_non_null(find(&all, VHD_FIND_BATMAP_CHECKSUM));
	memfile_destroy(m);
}

static void a_batmap_summed_with_signed_bytes_is_sound(void **state)
{
	struct memfile *m = blktap(0xf0);
	struct found all;
	uint8_t b[4];

	(void)state;
	img_put32(b, ~(uint32_t)(int32_t)(int8_t)0xf0);
	poke(m, b, 4, BATMAP + 24);
	check(m, &all);
	assert_int_equal(faults(&all), 0);
	memfile_destroy(m);
}

/* ----------------------------------------------------------- differencing -- */

static struct memfile *child(void)
{
	struct memfile *m = dynamic();
	uint8_t loc[24] = {0};

	img_footers32(m, IMG_F_TYPE, IMG_TYPE_DIFF);
	img_set(m, IMG_HEADER, 1024, 40, "parent-identity!", 16);
	img_set(m, IMG_HEADER, 1024, 64, "\0p\0.\0v\0h\0d\0\0", 12);
	img_put32(loc, 0x57327275); /* W2ru */
	img_put32(loc + 4, 512);
	img_put32(loc + 8, 14);
	img_put64(loc + 16, img_place(SIZE, MIB, 3) + 512);
	img_set(m, IMG_HEADER, 1024, IMG_H_LOCATOR, loc, 24);
	/* The payload behind the blocks, then the footer. */
	uint8_t f[512];

	memfile_peek(m, f, 512, end_of(m));
	poke(m, f, 512, memfile_len(m) + 512);
	poke_zeros(m, 512, img_place(SIZE, MIB, 3));
	poke(m, ".\0\\\0p\0.\0v\0h\0d\0", 14,
	     img_place(SIZE, MIB, 3) + 512);
	return m;
}

static void a_sound_child_is_sound_but_for_its_parent(void **state)
{
	struct memfile *m = child();
	struct found all;

	(void)state;
	check(m, &all);
	assert_int_equal(all.rc, 0);
	assert_int_equal(all.r.format, VHD_FORMAT_DIFF);
	assert_int_equal(faults(&all), 0);
	assert_non_null(find(&all, VHD_FIND_PARENT));
	memfile_destroy(m);
}

static void bits_over_data_of_a_child_are_no_fault(void **state)
{
	struct memfile *m = child();
	struct found all;

	(void)state;
	d_hides(m);
	check(m, &all);
	assert_int_equal(faults(&all), 0);
	memfile_destroy(m);
}

static void locator32(struct memfile *m, size_t field, uint32_t v)
{
	img_set32(m, IMG_HEADER, 1024, IMG_H_LOCATOR + field, v);
}

static void bad_locators_are_found(void **state)
{
	static const struct {
		size_t field;
		uint32_t value;
		enum vhd_finding_code code;
	} cases[] = {
		{0, 0x12345678, VHD_FIND_LOCATOR_PLATFORM},
		{8, 13, VHD_FIND_LOCATOR_LENGTH},
		{8, 65538, VHD_FIND_LOCATOR_LENGTH},
		{8, 514, VHD_FIND_LOCATOR_LENGTH},
		{16, 0x7fffffff, VHD_FIND_LOCATOR_PLACE},
		{20, 512, VHD_FIND_LOCATOR_PLACE},
		{20, IMG_TABLE, VHD_FIND_LOCATOR_PLACE},
	};
	struct found all;

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct memfile *m = child();

		locator32(m, cases[i].field, cases[i].value);
		check(m, &all);
		assert_int_equal(all.rc, 0);
		assert_non_null(find(&all, cases[i].code));
		memfile_destroy(m);
	}
}

static void a_parent_name_without_end_is_found(void **state)
{
	struct memfile *m = child();
	uint8_t name[512];
	struct found all;

	(void)state;
	memset(name, 0x41, sizeof(name));
	img_set(m, IMG_HEADER, 1024, 64, name, 512);
	check(m, &all);
	assert_non_null(find(&all, VHD_FIND_PARENT_NAME));
	img_set(m, IMG_HEADER, 1024, 64, "\xd8\0\0a\0\0", 6);
	check(m, &all);
	assert_non_null(find(&all, VHD_FIND_PARENT_NAME));
	img_set(m, IMG_HEADER, 1024, 64, "\xd8\0\xdc\0\0\0", 6);
	check(m, &all);
	assert_null(find(&all, VHD_FIND_PARENT_NAME));
	memfile_destroy(m);
}

static void a_child_without_a_way_to_its_parent_is_found(void **state)
{
	struct memfile *m = child();
	struct found all;

	(void)state;
	locator32(m, 0, 0);
	check(m, &all);
	assert_non_null(find(&all, VHD_FIND_LOCATOR_NONE));
	memfile_destroy(m);
}

/* ---------------------------------------------------------------- products -- */

static uint64_t refusals(struct memfile *m, enum vhd_target target,
			 const char *name)
{
	struct vhd_check_opts o = {.target = target, .name = name};
	struct found all;

	check_with(m, &o, &all);
	assert_int_equal(all.rc, 0);
	return all.r.refusals;
}

static void azure_takes_whole_mib_fixed_disks_only(void **state)
{
	struct memfile *m = img_fixed(20 * MIB);

	(void)state;
	assert_int_equal(refusals(m, VHD_TARGET_AZURE, "x.vhd"), 0);
	memfile_destroy(m);
	m = img_fixed(20 * MIB + 512);
	assert_int_equal(refusals(m, VHD_TARGET_AZURE, "x.vhd"), 1);
	memfile_destroy(m);
	m = img_fixed(19 * MIB);
	assert_int_equal(refusals(m, VHD_TARGET_AZURE, "x.vhd"), 1);
	memfile_destroy(m);
	m = img_bare(20 * MIB, 2 * MIB, NULL, 0);
	assert_int_equal(refusals(m, VHD_TARGET_AZURE, "x.vhd"), 1);
	memfile_destroy(m);
}

static void virtual_pc_wants_exact_geometry_and_2_mib_blocks(void **state)
{
	/* 31 MiB * 5 is whole cylinders of 31/16; so its geometry is exact. */
	const uint64_t size = 155ull * MIB;
	struct memfile *m = img_bare(size, 2 * MIB, NULL, 0);

	(void)state;
	assert_int_equal(refusals(m, VHD_TARGET_VIRTUALPC, NULL), 1);
	img_footers(m, 56, "\x02\x80\x10\x1f", 4);
	assert_int_equal(refusals(m, VHD_TARGET_VIRTUALPC, NULL), 0);
	memfile_destroy(m);
	m = img_bare(size, MIB, NULL, 0);
	img_footers(m, 56, "\x02\x80\x10\x1f", 4);
	assert_int_equal(refusals(m, VHD_TARGET_VIRTUALPC, NULL), 1);
	memfile_destroy(m);
}

static void xenserver_wants_its_own_creator_and_unit(void **state)
{
	struct memfile *m = blktap(0xf0);

	(void)state;
	assert_int_equal(refusals(m, VHD_TARGET_XENSERVER, NULL), 1);
	memfile_destroy(m);
	m = img_bare(8 * MIB, 2 * MIB, NULL, 0);
	assert_int_equal(refusals(m, VHD_TARGET_XENSERVER, NULL), 1);
	img_footers(m, IMG_F_APP, "tap\0", 4);
	assert_int_equal(refusals(m, VHD_TARGET_XENSERVER, NULL), 0);
	memfile_destroy(m);
	m = img_bare(9 * MIB, 2 * MIB, NULL, 0);
	img_footers(m, IMG_F_APP, "tap\0", 4);
	assert_int_equal(refusals(m, VHD_TARGET_XENSERVER, NULL), 1);
	memfile_destroy(m);
}

static void qemu_cuts_its_own_and_takes_no_child(void **state)
{
	struct memfile *m = dynamic();

	(void)state;
	assert_int_equal(refusals(m, VHD_TARGET_QEMU, NULL), 0);
	d_geometry_cuts(m);
	assert_int_equal(refusals(m, VHD_TARGET_QEMU, NULL), 0);
	img_footers(m, IMG_F_APP, "qemu", 4);
	assert_int_equal(refusals(m, VHD_TARGET_QEMU, NULL), 1);
	memfile_destroy(m);
	m = child();
	assert_true(refusals(m, VHD_TARGET_QEMU, NULL) > 0);
	memfile_destroy(m);
}

static void products_judge_checksums_as_their_readers_do(void **state)
{
	struct memfile *m = dynamic();

	(void)state;
	d_header_sum(m);
	assert_true(refusals(m, VHD_TARGET_HYPERV, NULL) > 0);
	assert_int_equal(refusals(m, VHD_TARGET_QEMU, NULL), 0);
	assert_int_equal(refusals(m, VHD_TARGET_VIRTUALBOX, NULL), 0);
	memfile_destroy(m);
	m = dynamic();
	d_footer_gone(m);
	assert_true(refusals(m, VHD_TARGET_HYPERV, NULL) > 0);
	assert_int_equal(refusals(m, VHD_TARGET_QEMU, NULL), 0);
	memfile_destroy(m);
}

/* ------------------------------------------------------------------ limits -- */

static int end_it(void *ctx, const struct vhd_finding *f)
{
	unsigned *calls = ctx;

	(void)f;
	++*calls;
	return 1;
}

static void the_caller_can_end_a_check(void **state)
{
	unsigned calls = 0;
	struct vhd_check_opts o = {.found = end_it, .ctx = &calls};
	struct memfile *m = dynamic();
	struct vhd_file f = memfile_file(m);
	struct vhd_err err;

	(void)state;
	img_bat(m, 0, 0);
	img_bat(m, 1, 0);
	assert_refused(vhd_check_file(&f, &o, NULL, &err), &err, ECANCELED,
		       VHD_WHY_CANCELLED);
	assert_int_equal(calls, 1);
	memfile_destroy(m);
}

static void raw_is_no_format_to_check(void **state)
{
	struct vhd_check_opts o = {.format = VHD_FORMAT_RAW};
	struct memfile *m = dynamic();
	struct vhd_file f = memfile_file(m);
	struct vhd_err err;

	(void)state;
	assert_refused(vhd_check_file(&f, &o, NULL, &err), &err, EINVAL,
		       VHD_WHY_ARGUMENT);
	o.format = VHD_FORMAT_FIXED;
	assert_refused(vhd_check_file(&f, &o, NULL, &err), &err, EUCLEAN,
		       VHD_WHY_TYPE_MISMATCH);
	memfile_destroy(m);
}

static void every_code_and_product_has_its_own_word(void **state)
{
	(void)state;
	for (int i = 0; i < VHD_FIND_COUNT; i++) {
		const char *name = vhd_finding_name((enum vhd_finding_code)i);

		assert_non_null(name);
		for (int k = 0; k < i; k++)
			assert_string_not_equal(
				name,
				vhd_finding_name((enum vhd_finding_code)k));
	}
	for (int i = 1; i < VHD_TARGET_COUNT; i++)
		assert_non_null(vhd_target_name((enum vhd_target)i));
	assert_null(vhd_target_name(VHD_TARGET_NONE));
}

/* Bytes of the metadata changed at random, some sealed again: what opening
 * refuses must have been found, and a check must come to an end.
 */
static void no_random_damage_is_called_sound_and_then_refused(void **state)
{
	uint64_t seed = random_seed();

	(void)state;
	for (int round = 0; round < 4000; round++) {
		struct memfile *m = img_dynamic(4 * 4096, 4096, three, 3);
		unsigned harms = 1 + (unsigned)random_below(&seed, 3);
		struct vhd *img = NULL;
		struct vhd_err err;
		struct found all;

		for (unsigned i = 0; i < harms; i++) {
			uint64_t at = random_below(&seed, 2 * KIB);
			uint8_t b = (uint8_t)random_next(&seed);

			poke(m, &b, 1, at);
		}
		if (random_next(&seed) & 1)
			img_set(m, IMG_HEADER, 1024, 0, "cxsparse", 8);
		if (random_next(&seed) & 1)
			img_set(m, 0, 512, 0, "conectix", 8);
		check(m, &all);
		if (img_open(m, VHD_FORMAT_AUTO, false, &img, &err))
			assert_true(all.rc || faults(&all));
		else if (!all.rc)
			for (unsigned i = 0; i < all.count; i++)
				assert_false(all.f[i].code >=
						     VHD_FIND_BAT_IN_METADATA &&
					     all.f[i].severity ==
						     VHD_SEVERITY_ERROR);
		vhd_abandon(img);
		memfile_destroy(m);
	}
}

static void a_table_of_2040_gib_in_reverse_order_is_sound(void **state)
{
	const uint64_t size = 2040ull << 30;
	const uint32_t blocks = 1044480;
	uint32_t *order = malloc(blocks * sizeof(*order));
	struct vhd_check_opts o = {0};
	struct memfile *m;
	struct found all;

	(void)state;
	assert_non_null(order);
	for (uint32_t i = 0; i < blocks; i++)
		order[i] = blocks - 1 - i;
	m = img_bare(size, 2 * MIB, order, blocks);
	check_with(m, &o, &all);
	assert_int_equal(all.rc, 0);
	assert_int_equal(faults(&all), 0);
	assert_int_equal(all.r.blocks_used, blocks);
	img_bat(m, 7, (uint32_t)(img_place(size, 2 * MIB, 9) / 512));
	check_with(m, &o, &all);
	assert_int_equal(all.r.count[VHD_FIND_BAT_DUPLICATE], 1);
	memfile_destroy(m);
	free(order);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_damage_is_named_with_its_place_and_code),
		cmocka_unit_test(
			what_opening_refuses_is_found_for_the_same_reason),
		cmocka_unit_test(a_sound_image_has_no_errors_or_warnings),
		cmocka_unit_test(several_damages_are_all_found),
		cmocka_unit_test(every_bad_entry_is_found_and_the_rest_counted),
		cmocka_unit_test(a_fixed_disk_of_another_length_is_found),
		cmocka_unit_test(a_forged_start_of_a_fixed_disk_is_found),
		cmocka_unit_test(a_fixed_disk_without_footer_must_be_named),
		cmocka_unit_test(a_vhdx_is_no_vhd_to_check),
		cmocka_unit_test(data_is_looked_at_only_when_asked_for),
		cmocka_unit_test(zeros_under_a_zero_bit_are_as_they_should_be),
		cmocka_unit_test(bits_behind_the_disk_mean_nothing),
		cmocka_unit_test(
			an_unreadable_place_is_told_and_the_rest_checked),
		cmocka_unit_test(unreadable_metadata_ends_the_check),
		cmocka_unit_test(a_true_batmap_is_sound),
		cmocka_unit_test(a_batmap_that_understates_is_sound),
		cmocka_unit_test(a_batmap_full_of_a_partial_block_is_found),
		cmocka_unit_test(a_batmap_full_of_a_missing_block_is_found),
		cmocka_unit_test(a_batmap_that_points_nowhere_is_found),
		cmocka_unit_test(a_wrong_batmap_checksum_is_found),
		cmocka_unit_test(a_batmap_summed_with_signed_bytes_is_sound),
		cmocka_unit_test(a_sound_child_is_sound_but_for_its_parent),
		cmocka_unit_test(bits_over_data_of_a_child_are_no_fault),
		cmocka_unit_test(bad_locators_are_found),
		cmocka_unit_test(a_parent_name_without_end_is_found),
		cmocka_unit_test(a_child_without_a_way_to_its_parent_is_found),
		cmocka_unit_test(azure_takes_whole_mib_fixed_disks_only),
		cmocka_unit_test(
			virtual_pc_wants_exact_geometry_and_2_mib_blocks),
		cmocka_unit_test(xenserver_wants_its_own_creator_and_unit),
		cmocka_unit_test(qemu_cuts_its_own_and_takes_no_child),
		cmocka_unit_test(products_judge_checksums_as_their_readers_do),
		cmocka_unit_test(the_caller_can_end_a_check),
		cmocka_unit_test(raw_is_no_format_to_check),
		cmocka_unit_test(every_code_and_product_has_its_own_word),
		cmocka_unit_test(
			no_random_damage_is_called_sound_and_then_refused),
		cmocka_unit_test(a_table_of_2040_gib_in_reverse_order_is_sound),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: BSD-2-Clause */
/* See checkimg.h: one damage after the other to the same sound image. */
#include <string.h>

#include "tests/lib/checkimg.h"

#define KIB 1024u

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
	img_footers64(m, IMG_F_CURRENT_SIZE, IMG_THREE_BYTES - 1);
}

static void d_size_huge(struct memfile *m)
{
	img_footers64(m, IMG_F_CURRENT_SIZE, 1ull << 62);
}

static void d_footer_sum(struct memfile *m)
{
	img_poke(m, "\1\2\3\4", 4, img_end(m) + IMG_F_CHECKSUM);
}

static void d_footer_gone(struct memfile *m)
{
	img_poke_zeros(m, 512, img_end(m));
}

static void d_footer_c7(struct memfile *m)
{
	uint8_t b[512];

	memset(b, 0xc7, sizeof(b));
	img_poke(m, b, sizeof(b), img_end(m));
}

static void d_footer_511(struct memfile *m)
{
	memfile_resize(m, memfile_len(m) - 1);
}

static void d_copy_gone(struct memfile *m)
{
	img_poke_zeros(m, 512, 0);
}

static void d_copy_sum(struct memfile *m)
{
	img_poke(m, "\1\2\3\4", 4, IMG_F_CHECKSUM);
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

	img_set(m, img_end(m), 512, IMG_F_SAVED, &one, 1);
}

static void d_differ_id(struct memfile *m)
{
	img_set(m, img_end(m), 512, IMG_F_ID, "0123456789abcdef", 16);
}

static void d_poison(struct memfile *m)
{
	img_set(m, img_end(m), 512, IMG_F_COOKIE, "v_poison", 8);
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
	img_footers32(m, IMG_F_TIMESTAMP, FOUND_NOW_S - 946684800 + 1801);
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
	img_poke(m, "\1\2\3\4", 4, IMG_HEADER + IMG_H_CHECKSUM);
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
	img_poke(m, "abc", 3, IMG_TABLE + 100);
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
	img_bat(m, 1, (uint32_t)(img_end(m) / 512));
}

/* Three quarters of the block would be behind the footer. */
static void d_bat_cut(struct memfile *m)
{
	uint8_t f[512], ones[256];

	img_poke_zeros(m, 512, img_end(m));
	memfile_resize(m, memfile_len(m) + 256 * KIB);
	img_bat(m, 1, (uint32_t)((img_end(m) - 255 * KIB) / 512));
	memset(ones, 0xff, sizeof(ones));
	img_poke(m, ones, sizeof(ones), img_end(m) - 255 * KIB);
	img_footer(f, IMG_TYPE_DYNAMIC, IMG_THREE_BYTES);
	img_poke(m, f, 512, img_end(m));
}

static void d_bat_same(struct memfile *m)
{
	img_bat(m, 1, (uint32_t)(img_place(IMG_THREE_BYTES, MIB, 1) / 512));
}

static void d_bat_overlap(struct memfile *m)
{
	img_bat(m, 1, (uint32_t)(img_place(IMG_THREE_BYTES, MIB, 1) / 512) + 8);
}

static void d_orphan(struct memfile *m)
{
	img_bat(m, 0, 0xffffffff);
}

static void d_tail_gap(struct memfile *m)
{
	img_bat(m, 3, 0xffffffff);
}

static void d_type_0(struct memfile *m)
{
	img_footers32(m, IMG_F_TYPE, 0);
}

static void d_type_1(struct memfile *m)
{
	img_footers32(m, IMG_F_TYPE, 1);
}

static void d_type_5(struct memfile *m)
{
	img_footers32(m, IMG_F_TYPE, 5);
}

static void d_type_7(struct memfile *m)
{
	img_footers32(m, IMG_F_TYPE, 7);
}

static void d_copy_poison(struct memfile *m)
{
	img_set(m, 0, 512, IMG_F_COOKIE, "v_poison", 8);
}

static void d_footer_cut(struct memfile *m)
{
	memfile_resize(m, img_end(m));
}

static void d_data_offset_256(struct memfile *m)
{
	img_footers64(m, IMG_F_DATA_OFFSET, 256);
}

/* A table longer than the file, by far less than what wraps. */
static void d_entries_many(struct memfile *m)
{
	entries(m, 1u << 21);
}

/* In the middle of the last block of the file and of the disk. */
static void d_file_cut(struct memfile *m)
{
	memfile_resize(m, img_place(IMG_THREE_BYTES, MIB, 3) - MIB / 2);
}

#define E      VHD_SEVERITY_ERROR
#define W      VHD_SEVERITY_WARNING
#define I      VHD_SEVERITY_INFO
#define NB     VHD_NO_BLOCK
#define ANY    IMG_ANYWHERE
#define BAT(n) (IMG_TABLE + 4 * (n))

const struct img_damage img_damages[] = {
	{"version", d_version, VHD_FIND_FOOTER_VERSION, E, 5, ANY, NB},
	{"type", d_type, VHD_FIND_FOOTER_TYPE, E, 4, ANY, NB},
	{"type 0", d_type_0, VHD_FIND_FOOTER_TYPE, E, 4, ANY, NB},
	{"type 1", d_type_1, VHD_FIND_FOOTER_TYPE, E, 4, ANY, NB},
	{"type 5", d_type_5, VHD_FIND_FOOTER_TYPE, E, 4, ANY, NB},
	{"type 7", d_type_7, VHD_FIND_FOOTER_TYPE, E, 4, ANY, NB},
	{"size 0", d_size_zero, VHD_FIND_SIZE, E, 0x12, ANY, NB},
	{"size odd", d_size_odd, VHD_FIND_SIZE, E, 0x12, ANY, NB},
	{"size huge", d_size_huge, VHD_FIND_SIZE, E, 0x12, ANY, NB},
	{"footer sum", d_footer_sum, VHD_FIND_FOOTER_CHECKSUM, E, 2, ANY, NB},
	{"footer gone", d_footer_gone, VHD_FIND_FOOTER_MISSING, E, 1, ANY, NB},
	{"footer C7", d_footer_c7, VHD_FIND_FOOTER_MISSING, E, 1, ANY, NB},
	{"footer cut off", d_footer_cut, VHD_FIND_FOOTER_MISSING, E, 1, ANY,
	 NB},
	{"footer 511", d_footer_511, VHD_FIND_FOOTER_511, W, 3, ANY, NB},
	{"copy gone", d_copy_gone, VHD_FIND_COPY_MISSING, E, 3, 0, NB},
	{"copy sum", d_copy_sum, VHD_FIND_COPY_CHECKSUM, E, 2, 64, NB},
	{"both sums", d_both_sums, VHD_FIND_COPY_CHECKSUM, E, 2, 64, NB},
	{"both gone", d_both_gone, VHD_FIND_FOOTER_MISSING, E, 1, ANY, NB},
	{"flags differ", d_differ_flag, VHD_FIND_FOOTERS_DIFFER, W, 3, ANY, NB},
	{"ids differ", d_differ_id, VHD_FIND_FOOTERS_DIFFER, E, 3, ANY, NB},
	{"poison", d_poison, VHD_FIND_POISON_COOKIE, E, 3, ANY, NB},
	{"copy poisoned", d_copy_poison, VHD_FIND_POISON_COOKIE, E, 3, 0, NB},
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
	{"geometry -", d_geometry_cuts, VHD_FIND_GEOMETRY_CUTS, I, 0, ANY, NB},
	{"data offset 0", d_data_offset_0, VHD_FIND_DATA_OFFSET, E, 8, ANY, NB},
	{"data offset 256", d_data_offset_256, VHD_FIND_DATA_OFFSET, E, 8, ANY,
	 NB},
	{"data offset odd", d_data_offset_odd, VHD_FIND_DATA_OFFSET, E, 8, ANY,
	 NB},
	{"data offset far", d_data_offset_huge, VHD_FIND_DATA_OFFSET, E, 8, ANY,
	 NB},
	{"cookie", d_header_cookie, VHD_FIND_HEADER_COOKIE, E, 8, 512, NB},
	{"header sum", d_header_sum, VHD_FIND_HEADER_CHECKSUM, E, 6, 548, NB},
	{"header version", d_header_version, VHD_FIND_HEADER_VERSION, E, 7, 536,
	 NB},
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
	{"few entries", d_entries_short, VHD_FIND_TABLE_SHORT, E, 0xa, 540, NB},
	{"2^30 entries", d_entries_wrap, VHD_FIND_TABLE_PAST_END, E, 0xa, 528,
	 NB},
	{"a table too long", d_entries_many, VHD_FIND_TABLE_PAST_END, E, 0xa,
	 528, NB},
	{"an entry more", d_entries_long, VHD_FIND_TABLE_LONG, I, 0, 540, NB},
	{"and used", d_extra_used, VHD_FIND_BAT_EXTRA, W, 0xa, BAT(4), 4},
	{"padding", d_padding, VHD_FIND_BAT_PADDING, I, 0, ANY, NB},
	{"entry 0", d_bat_0, VHD_FIND_BAT_IN_METADATA, E, 0xa, BAT(1), 1},
	{"in header", d_bat_header, VHD_FIND_BAT_IN_METADATA, E, 0xa, BAT(1),
	 1},
	{"in table", d_bat_table, VHD_FIND_BAT_IN_METADATA, E, 0xa, BAT(1), 1},
	{"entry FFFFFFFE", d_bat_fffe, VHD_FIND_BAT_PAST_END, E, 0xa, BAT(1),
	 1},
	{"on the footer", d_bat_end, VHD_FIND_BAT_PAST_END, E, 0xa, BAT(1), 1},
	{"cut", d_bat_cut, VHD_FIND_BAT_CUT, E, 0xa, BAT(1), 1},
	{"file cut", d_file_cut, VHD_FIND_BAT_CUT, E, 0xa, BAT(3), 3},
	{"same place", d_bat_same, VHD_FIND_BAT_DUPLICATE, E, 0xa, BAT(1), 1},
	{"overlap", d_bat_overlap, VHD_FIND_BAT_OVERLAP, E, 0xa, BAT(1), 1},
	{"orphan", d_orphan, VHD_FIND_ORPHAN_SPACE, I, 0, ANY, NB},
	{"tail gap", d_tail_gap, VHD_FIND_TAIL_GAP, I, 0, ANY, NB},
	{"hidden data", img_hide_sector, VHD_FIND_BITMAP_HIDES, W, 0xc, ANY, 0},
};

const size_t img_damage_count = sizeof(img_damages) / sizeof(img_damages[0]);

void img_harm(struct memfile *m, const char *what)
{
	for (size_t i = 0; i < img_damage_count; i++) {
		if (strcmp(img_damages[i].what, what) != 0)
			continue;
		img_damages[i].harm(m);
		return;
	}
	fail_msg("no damage called %s", what);
}

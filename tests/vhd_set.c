/* SPDX-License-Identifier: BSD-2-Clause */
/* vhd/set.c: fields of the footers change alone and in both, every power cut
 * leaves the old ones or the new ones, and what is damaged is left alone.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "tests/lib/cm.h"
#include "tests/lib/diffimg.h"
#include "tests/lib/random.h"
#include "tests/lib/recfile.h"
#include "tests/lib/vhdimg.h"
#include "vhd/set.h"

#define KIB  1024u
#define MIB  (1024u * KIB)
#define SIZE (4 * MIB)

#define FOOTER_FIELDS 0x3fu
#define ALL_FIELDS    0x7fu

static const uint32_t order[] = {1, 0};

static const struct vhd_set_values other = {
	.unique_id = {9, 8, 7, 6, 5, 4, 3, 2, 1, 1, 2, 3, 4, 5, 6, 7},
	.hidden = 1,
	.saved_state = 1,
	.geometry = {100, 4, 17},
	.creator = {{'v', 'b', 'o', 'x'}, 0x00070001, {'M', 'a', 'c', ' '}},
	.timestamp_s = 0x23456789,
	.parent_id = {0x77, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15},
};

/* Where each field lies in a footer. */
static const struct {
	uint32_t field;
	unsigned at;
	unsigned len;
} places[] = {
	{VHD_SET_ID, IMG_F_ID, 16},
	{VHD_SET_HIDDEN, IMG_F_HIDDEN, 1},
	{VHD_SET_SAVED_STATE, IMG_F_SAVED, 1},
	{VHD_SET_GEOMETRY, 56, 4},
	{VHD_SET_CREATOR, IMG_F_APP, 12},
	{VHD_SET_TIMESTAMP, IMG_F_TIMESTAMP, 4},
};

#define FIELDS (sizeof(places) / sizeof(places[0]))

static struct memfile *image(int type)
{
	return type == IMG_TYPE_FIXED	 ? img_fixed(SIZE)
	       : type == IMG_TYPE_DYNAMIC ? img_dynamic(SIZE, 2 * MIB, order, 2)
					  : diff_empty(3, SIZE, 2 * MIB);
}

static int set(struct memfile *m, uint32_t fields, bool write,
	       struct vhd_set_result *r, struct vhd_err *e)
{
	const struct vhd_set_opts o = {
		.fields = fields,
		.values = other,
		.write = write,
	};
	struct vhd_file f = memfile_file(m);

	return vhd_set_file(&f, &o, r, e);
}

static bool in_fields(uint32_t fields, unsigned at)
{
	if (at >= IMG_F_CHECKSUM && at < IMG_F_CHECKSUM + 4)
		return true;
	for (unsigned i = 0; i < FIELDS; i++)
		if (fields & places[i].field && at >= places[i].at &&
		    at < places[i].at + places[i].len)
			return true;
	return false;
}

/* One footer: sound, the fields as wanted, every other byte as it was. */
static void footer_check(const struct memfile *m, const struct memfile *was,
			 uint64_t at, uint32_t fields)
{
	uint8_t now[512], old[512], sealed[512];

	memfile_peek(m, now, 512, at);
	memfile_peek(was, old, 512, at);
	memcpy(sealed, now, 512);
	img_seal(sealed, 512);
	assert_memory_equal(sealed, now, 512);
	for (unsigned i = 0; i < 512; i++)
		if (!in_fields(fields, i))
			assert_int_equal(now[i], old[i]);
	if (fields & VHD_SET_ID)
		assert_memory_equal(now + IMG_F_ID, other.unique_id, 16);
	if (fields & VHD_SET_HIDDEN)
		assert_int_equal(now[IMG_F_HIDDEN], 1);
	if (fields & VHD_SET_SAVED_STATE)
		assert_int_equal(now[IMG_F_SAVED], 1);
	if (fields & VHD_SET_GEOMETRY)
		assert_memory_equal(now + 56, "\0\144\4\21", 4);
	if (fields & VHD_SET_CREATOR)
		assert_memory_equal(now + IMG_F_APP, "vbox\0\7\0\1Mac ", 12);
	if (fields & VHD_SET_TIMESTAMP)
		assert_memory_equal(now + IMG_F_TIMESTAMP, "\43\105\147\211", 4);
}

/* The header: sound, the parent's id as wanted, all else as it was. */
static void header_check(const struct memfile *m, struct memfile *was,
			 bool changed)
{
	uint8_t now[1024], sealed[1024];

	if (changed)
		img_set(was, IMG_HEADER, 1024, DIFF_H_PARENT_ID,
			other.parent_id, 16);
	memfile_peek(m, now, 1024, IMG_HEADER);
	memfile_peek(was, sealed, 1024, IMG_HEADER);
	assert_memory_equal(now, sealed, 1024);
}

/* All but the footers is as it was. */
static void rest_check(const struct memfile *m, const struct memfile *was,
		       bool copy)
{
	uint64_t len = memfile_len(m);
	uint8_t *a = malloc(len), *b = malloc(len);
	uint64_t from = copy ? 512 : 0;

	assert_int_equal(len, memfile_len(was));
	memfile_peek(m, a, len, 0);
	memfile_peek(was, b, len, 0);
	assert_memory_equal(a + from, b + from, len - 512 - from);
	free(a);
	free(b);
}

static void fields_change_in_both_footers_and_nowhere_else(void **state)
{
	static const int types[] = {IMG_TYPE_FIXED, IMG_TYPE_DYNAMIC,
				    IMG_TYPE_DIFF};

	(void)state;
	for (int t = 0; t < 3; t++)
		for (uint32_t fields = 1;
		     fields <= (t == 2 ? ALL_FIELDS : FOOTER_FIELDS);
		     fields++) {
			bool copy = types[t] != IMG_TYPE_FIXED;
			bool parent = fields & VHD_SET_PARENT_ID;
			uint64_t sectors = parent;
			struct memfile *m = image(types[t]);
			struct memfile *was = memfile_clone(m);
			struct vhd_set_result r;
			struct vhd_err e;

			assert_int_equal(set(m, fields, true, &r, &e), 0);
			assert_int_equal(r.changed, fields);
			if (fields & FOOTER_FIELDS)
				sectors += copy ? 2 : 1;
			assert_int_equal(r.written_bytes, sectors * 512);
			if (t == 2)
				header_check(m, was, parent);
			footer_check(m, was, memfile_len(m) - 512, fields);
			if (copy)
				footer_check(m, was, 0, fields);
			rest_check(m, was, copy);
			memfile_destroy(was);
			memfile_destroy(m);
		}
}

static void what_is_so_already_is_not_written(void **state)
{
	struct memfile *m = image(IMG_TYPE_DIFF);
	struct vhd_set_result r;
	struct vhd_err e;
	uint64_t writes;

	(void)state;
	assert_int_equal(set(m, ALL_FIELDS, true, &r, &e), 0);
	writes = memfile_count(m, MEMFILE_WRITE);
	assert_int_equal(set(m, ALL_FIELDS, true, &r, &e), 0);
	assert_int_equal(r.changed, 0);
	assert_int_equal(r.written_bytes, 0);
	assert_int_equal(memfile_count(m, MEMFILE_WRITE), writes);
	memfile_destroy(m);
}

static void a_dry_run_tells_and_writes_nothing(void **state)
{
	struct memfile *m = image(IMG_TYPE_DYNAMIC);
	struct vhd_set_result r;
	struct vhd_err e;

	(void)state;
	assert_int_equal(set(m, VHD_SET_ID | VHD_SET_HIDDEN, false, &r, &e), 0);
	assert_int_equal(r.changed, VHD_SET_ID | VHD_SET_HIDDEN);
	assert_memory_equal(r.after.unique_id, other.unique_id, 16);
	assert_int_equal(r.before.hidden, 0);
	assert_int_equal(memfile_count(m, MEMFILE_WRITE), 0);
	memfile_destroy(m);
}

static void unknown_bytes_stay(void **state)
{
	struct memfile *m = image(IMG_TYPE_DYNAMIC), *was;
	struct vhd_set_result r;
	struct vhd_err e;

	(void)state;
	img_footers(m, IMG_F_RESERVED + 100, "\1\2\3", 3);
	img_footers32(m, IMG_F_FEATURES, 0x102);
	was = memfile_clone(m);
	assert_int_equal(set(m, FOOTER_FIELDS, true, &r, &e), 0);
	footer_check(m, was, 0, FOOTER_FIELDS);
	footer_check(m, was, memfile_len(m) - 512, FOOTER_FIELDS);
	memfile_destroy(was);
	memfile_destroy(m);
}

/* -------------------------------------------------------------- crashes -- */

/* A state some power cut leaves: opens, has the fields of before or after, the
 * same disk; and the same command ends the work.
 */
static void state_check(struct memfile *m, const struct memfile *before,
			int type)
{
	bool copy = type != IMG_TYPE_FIXED;
	uint32_t fields = type == IMG_TYPE_DIFF ? ALL_FIELDS : FOOTER_FIELDS;
	struct memfile *was = memfile_clone(before);
	const struct vhd_open_opts how = {.inspect = true};
	struct vhd_file f = memfile_file(m);
	struct vhd_set_result r;
	struct vhd *img;
	struct vhd_err e;
	uint8_t old[512];

	memfile_peek(was, old, 512, memfile_len(was) - 512);
	assert_int_equal(vhd_open_file(&f, &how, &img, &e), 0);
	if (memcmp(vhd_get_info(img)->unique_id, old + IMG_F_ID, 16) != 0)
		assert_memory_equal(vhd_get_info(img)->unique_id,
				    other.unique_id, 16);
	assert_int_equal(vhd_get_info(img)->size_bytes, SIZE);
	if (type == IMG_TYPE_DIFF && vhd_get_info(img)->parent_id[0] != 0x77) {
		memfile_peek(was, old, 16, IMG_HEADER + DIFF_H_PARENT_ID);
		assert_memory_equal(vhd_get_info(img)->parent_id, old, 16);
	}
	vhd_abandon(img);
	assert_int_equal(set(m, fields, true, &r, &e), 0);
	footer_check(m, was, memfile_len(m) - 512, fields);
	if (copy)
		footer_check(m, was, 0, fields);
	if (type == IMG_TYPE_DIFF)
		header_check(m, was, true);
	rest_check(m, was, copy);
	memfile_destroy(was);
}

static void every_power_cut_leaves_the_old_fields_or_the_new(void **state)
{
	static const int types[] = {IMG_TYPE_FIXED, IMG_TYPE_DYNAMIC,
				    IMG_TYPE_DIFF};
	struct vhd_set_opts o = {.values = other, .write = true};

	(void)state;
	for (int t = 0; t < 3; t++) {
		struct memfile *m = image(types[t]);
		struct memfile *was = memfile_clone(m);
		struct recfile *rec = recfile_create(m);
		struct vhd_file f = recfile_file(rec);
		struct vhd_set_result r;
		struct vhd_err e;

		o.fields = t == 2 ? ALL_FIELDS : FOOTER_FIELDS;
		assert_int_equal(vhd_set_file(&f, &o, &r, &e), 0);
		assert_int_equal(recfile_count(rec), 2 * (t + 1));
		for (size_t n = 0; n <= recfile_count(rec); n++)
			for (uint64_t seed = 0; seed < 8; seed++) {
				struct memfile *cut = recfile_cut(rec, n, seed);

				state_check(cut, was, types[t]);
				memfile_destroy(cut);
			}
		recfile_destroy(rec);
		memfile_destroy(was);
		memfile_destroy(m);
	}
}

static void a_torn_copy_is_written_anew(void **state)
{
	struct memfile *m = image(IMG_TYPE_DYNAMIC);
	struct memfile *was = memfile_clone(m);
	uint8_t torn[256];

	(void)state;
	memset(torn, 0xa5, sizeof(torn));
	assert_int_equal(memfile_poke(m, torn, sizeof(torn), 0), 0);
	state_check(m, was, IMG_TYPE_DYNAMIC);
	memfile_destroy(was);
	memfile_destroy(m);
}

static int fail_at(void *ctx, enum memfile_op op, uint64_t off, uint64_t len)
{
	unsigned *left = ctx;

	(void)off;
	(void)len;
	if (op != MEMFILE_WRITE && op != MEMFILE_FLUSH)
		return 0;
	return (*left)-- ? 0 : -EIO;
}

static void faults_are_told_and_can_be_repeated(void **state)
{
	(void)state;
	for (unsigned at = 0; at < 6; at++) {
		struct memfile *m = image(IMG_TYPE_DIFF);
		struct memfile *was = memfile_clone(m);
		struct vhd_set_result r;
		struct vhd_err e;
		unsigned left = at;

		memfile_set_hook(m, fail_at, &left);
		assert_refused(set(m, ALL_FIELDS, true, &r, &e), &e, EIO,
			       VHD_WHY_IO);
		memfile_set_hook(m, NULL, NULL);
		state_check(m, was, IMG_TYPE_DIFF);
		memfile_destroy(was);
		memfile_destroy(m);
	}
}

/* ------------------------------------------------------------- refusals -- */

/* Takes `m`. */
static void refuses(struct memfile *m, int code, enum vhd_why why)
{
	struct memfile *was = memfile_clone(m);
	struct vhd_set_result r;
	struct vhd_err e;

	assert_refused(set(m, FOOTER_FIELDS, true, &r, &e), &e, code, why);
	assert_true(memfile_equal(m, was));
	memfile_destroy(was);
	memfile_destroy(m);
}

static void damaged_images_are_left_alone(void **state)
{
	struct memfile *m = image(IMG_TYPE_DYNAMIC);

	(void)state;
	memfile_resize(m, memfile_len(m) - 512); /* no trailing footer */
	refuses(m, EROFS, VHD_WHY_READ_ONLY_LAYOUT);
	m = image(IMG_TYPE_DYNAMIC);
	memfile_resize(m, memfile_len(m) - 1);
	refuses(m, EROFS, VHD_WHY_READ_ONLY_LAYOUT);
	m = image(IMG_TYPE_DYNAMIC);
	img_set64(m, 0, 512, IMG_F_CURRENT_SIZE, SIZE / 2);
	refuses(m, EROFS, VHD_WHY_READ_ONLY_LAYOUT);
	m = image(IMG_TYPE_DYNAMIC);
	img_set32(m, 0, 512, IMG_F_FEATURES, 3);
	refuses(m, EROFS, VHD_WHY_READ_ONLY_LAYOUT);
	m = image(IMG_TYPE_DYNAMIC);
	img_footers(m, IMG_F_COOKIE, "v_poison", 8);
	refuses(m, EUCLEAN, VHD_WHY_POISON_COOKIE);
	m = image(IMG_TYPE_FIXED);
	img_set(m, SIZE, 512, IMG_F_COOKIE, "nothing!", 8);
	refuses(m, EUCLEAN, VHD_WHY_NOT_VHD);
	m = image(IMG_TYPE_FIXED);
	memfile_resize(m, 0);
	refuses(m, EUCLEAN, VHD_WHY_NOT_VHD);
}

static void senseless_values_are_refused(void **state)
{
	struct vhd_set_opts o = {.fields = VHD_SET_ID, .write = true};
	struct memfile *m = image(IMG_TYPE_DIFF);
	struct vhd_file f = memfile_file(m);
	struct vhd_set_result r;
	struct vhd_err e;

	(void)state;
	assert_refused(vhd_set_file(&f, &o, &r, &e), &e, EINVAL,
		       VHD_WHY_ARGUMENT);
	diff_id(o.values.unique_id, 2); /* its parent's */
	assert_refused(vhd_set_file(&f, &o, &r, &e), &e, EINVAL,
		       VHD_WHY_ARGUMENT);
	o.fields = VHD_SET_HIDDEN;
	o.values.hidden = 2;
	assert_refused(vhd_set_file(&f, &o, &r, &e), &e, EINVAL,
		       VHD_WHY_ARGUMENT);
	o.fields = VHD_SET_GEOMETRY;
	assert_refused(vhd_set_file(&f, &o, &r, &e), &e, EINVAL,
		       VHD_WHY_ARGUMENT);
	o.fields = 0;
	assert_refused(vhd_set_file(&f, &o, &r, &e), &e, EINVAL,
		       VHD_WHY_ARGUMENT);
	o.fields = ALL_FIELDS + 1;
	assert_refused(vhd_set_file(&f, &o, &r, &e), &e, EINVAL,
		       VHD_WHY_ARGUMENT);
	assert_int_equal(memfile_count(m, MEMFILE_WRITE), 0);
	memfile_destroy(m);
}

static void only_a_child_with_a_sound_header_gets_a_parent(void **state)
{
	struct memfile *m = image(IMG_TYPE_DYNAMIC);
	struct vhd_set_opts o = {.fields = VHD_SET_PARENT_ID, .write = true};
	struct vhd_file f;
	struct vhd_set_result r;
	struct vhd_err e;

	(void)state;
	assert_refused(set(m, VHD_SET_PARENT_ID, true, &r, &e), &e, ENOTSUP,
		       VHD_WHY_UNSUPPORTED);
	memfile_destroy(m);
	m = image(IMG_TYPE_DIFF);
	assert_int_equal(memfile_poke(m, "x", 1, IMG_HEADER + 900), 0);
	assert_refused(set(m, VHD_SET_PARENT_ID, true, &r, &e), &e, EUCLEAN,
		       VHD_WHY_HEADER_CHECKSUM);
	assert_int_equal(set(m, VHD_SET_HIDDEN, true, &r, &e), 0);
	memfile_destroy(m);
	m = image(IMG_TYPE_DIFF);
	f = memfile_file(m);
	diff_id(o.values.parent_id, 3); /* its own */
	assert_refused(vhd_set_file(&f, &o, &r, &e), &e, EINVAL,
		       VHD_WHY_ARGUMENT);
	memset(o.values.parent_id, 0, 16);
	assert_refused(vhd_set_file(&f, &o, &r, &e), &e, EINVAL,
		       VHD_WHY_ARGUMENT);
	assert_int_equal(memfile_count(m, MEMFILE_WRITE), 0);
	memfile_destroy(m);
}

/* blktap 0.1 and 1.1 left `hidden` out of the sum. */
static void an_old_blktaps_hidden_flag_is_taken_and_summed(void **state)
{
	struct vhd_set_opts o = {.fields = VHD_SET_HIDDEN, .write = true};
	struct memfile *m = image(IMG_TYPE_DYNAMIC), *was;
	struct vhd_file f = memfile_file(m);
	struct vhd_set_result r;
	struct vhd_err e;

	(void)state;
	img_footers(m, IMG_F_APP, "tap\0\0\1\0\1", 8);
	was = memfile_clone(m);
	assert_int_equal(memfile_poke(m, "\1", 1, IMG_F_HIDDEN), 0);
	assert_int_equal(memfile_poke(m, "\1", 1,
				      memfile_len(m) - 512 + IMG_F_HIDDEN),
			 0);
	o.values.hidden = 1;
	assert_int_equal(vhd_set_file(&f, &o, &r, &e), 0);
	assert_int_equal(r.changed, 0);
	footer_check(m, was, 0, VHD_SET_HIDDEN);
	o.values.hidden = 0;
	assert_int_equal(vhd_set_file(&f, &o, &r, &e), 0);
	assert_true(memfile_equal(m, was));
	memfile_destroy(was);
	memfile_destroy(m);
}

int main(void)
{
#define T(name) cmocka_unit_test(name)
	const struct CMUnitTest tests[] = {
		T(fields_change_in_both_footers_and_nowhere_else),
		T(what_is_so_already_is_not_written),
		T(a_dry_run_tells_and_writes_nothing),
		T(unknown_bytes_stay),
		T(every_power_cut_leaves_the_old_fields_or_the_new),
		T(a_torn_copy_is_written_anew),
		T(faults_are_told_and_can_be_repeated),
		T(damaged_images_are_left_alone),
		T(senseless_values_are_refused),
		T(only_a_child_with_a_sound_header_gets_a_parent),
		T(an_old_blktaps_hidden_flag_is_taken_and_summed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

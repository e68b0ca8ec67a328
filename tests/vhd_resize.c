/* SPDX-License-Identifier: BSD-2-Clause */
/* Resizing: what the disk holds afterwards, what is refused, what the caller is
 * asked.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "tests/lib/checkimg.h"
#include "tests/lib/random.h"
#include "tests/lib/resizeimg.h"

static void content_stays_and_new_space_is_zero(void **state)
{
	uint64_t rnd = random_seed();

	(void)state;
	for (size_t i = 0; i < RESIZE_SOURCES; i++)
		for (const uint64_t *to = resize_sources[i].sizes; *to; to++) {
			struct memfile *m = resize_sources[i].make(&rnd);
			uint64_t size;
			uint8_t *was = disk_content(m, &size);

			print_message("%s to %llu\n", resize_sources[i].what,
				      (unsigned long long)*to);
			must_resize(m, *to);
			disk_holds(m, was, size, *to);
			disk_is_clean(m, *to);
			free(was);
			memfile_destroy(m);
		}
}

/* Smaller and larger again, many times: nothing of before comes back. */
static void what_was_cut_off_does_not_come_back(void **state)
{
	uint64_t rnd = random_seed();

	(void)state;
	for (size_t i = 0; i < RESIZE_SOURCES; i++) {
		struct memfile *m = resize_sources[i].make(&rnd);
		uint64_t size;
		uint8_t *model = disk_content(m, &size);

		for (int k = 0; k < 40; k++) {
			uint64_t to = 512 * (1 + random_below(&rnd, 900));
			uint64_t len = 512 * (1 + random_below(&rnd, 9));
			uint8_t *now;

			must_resize(m, to);
			disk_holds(m, model, size, to);
			disk_is_clean(m, to);
			if (len > to)
				len = to;
			disk_put(m,
				 random_below(&rnd, (to - len) / 512 + 1) * 512,
				 len, &rnd);
			now = disk_content(m, &size);
			free(model);
			model = now;
		}
		free(model);
		memfile_destroy(m);
	}
}

/* blktap's batmap goes with the table, and says no more than is true. */
static void a_batmap_moves_with_a_longer_table(void **state)
{
	static const uint64_t to[] = {5 * MIB, 200 * MIB, 5000ull * MIB,
				      3 * MIB, 0};
	uint64_t rnd = 0;

	(void)state;
	for (const uint64_t *s = to; *s; s++) {
		struct memfile *m = blktap_image(&rnd);
		struct vhd_resize_result r;
		struct vhd_err e = {0};
		struct found all;
		struct vhd *img;
		uint8_t got[512], want[512] = {0};

		disk_put(m, 2 * MIB, 512, &rnd);
		assert_int_equal(resize_on(memfile_file(m), *s, true, &r, &e),
				 0);
		assert_int_equal(r.table_moved, *s >= 200 * MIB);
		found_in(m, &all);
		assert_int_equal(all.rc, 0);
		assert_int_equal(found_faults(&all), 0);
		assert_int_equal(
			img_open(m, VHD_FORMAT_DYNAMIC, false, &img, &e), 0);
		assert_true(vhd_get_info(img)->notes & VHD_NOTE_BATMAP);
		assert_true(vhd_get_info(img)->size_bytes == *s);
		assert_int_equal(vhd_read(img, 2 * MIB, got, 512, &e), 0);
		rnd = 0;
		for (int i = 0; i < 512; i++)
			want[i] = (uint8_t)(random_next(&rnd) | 1);
		assert_memory_equal(got, want, 512);
		vhd_abandon(img);
		memfile_destroy(m);
		rnd = 0;
	}
}

static void geometry_and_footer_follow_and_the_rest_stays(void **state)
{
	struct memfile *m = img_three();
	uint8_t was[512], now[512], end[512];
	struct vhd_resize_result r;
	struct vhd_err e;

	(void)state;
	img_footers(m, IMG_F_RESERVED, "kept", 4);
	img_footers32(m, IMG_F_FEATURES, 0x102);
	memfile_peek(m, was, 512, 0);
	assert_int_equal(resize_on(memfile_file(m), 1000 * MIB, false, &r, &e),
			 0);
	memfile_peek(m, now, 512, 0);
	memfile_peek(m, end, 512, img_end(m));
	assert_memory_equal(now, end, 512);
	assert_memory_equal(now, was, IMG_F_CURRENT_SIZE);
	assert_true(img_get64(now + IMG_F_CURRENT_SIZE) == 1000ull * MIB);
	assert_true(img_get64(now + IMG_F_ORIGINAL_SIZE) == IMG_THREE_BYTES);
	assert_int_equal(r.geometry.cylinders, 65535);
	assert_memory_equal(now + IMG_F_TYPE, was + IMG_F_TYPE, 4);
	assert_memory_equal(now + IMG_F_ID, was + IMG_F_ID, 512 - IMG_F_ID);
	memfile_destroy(m);
}

static void refuses(struct memfile *m, const struct vhd_resize_opts *o,
		    int code, enum vhd_why why)
{
	struct memfile *was = memfile_clone(m);
	struct vhd_file f = memfile_file(m);
	struct vhd_err e = {0};

	assert_refused(vhd_resize_file(&f, o, NULL, &e), &e, code, why);
	assert_true(memfile_equal(m, was));
	memfile_destroy(was);
}

static void what_makes_no_sense_is_refused_and_changes_nothing(void **state)
{
	static const struct {
		struct vhd_resize_opts o;
		int code;
		enum vhd_why why;
	} cases[] = {
		{{.size_bytes = 0, .write = true}, EINVAL, VHD_WHY_SIZE_ZERO},
		{{.size_bytes = 5 * MIB + 1, .write = true},
		 EINVAL,
		 VHD_WHY_ARGUMENT},
		{{.size_bytes = (2040ull << 30) + 512, .write = true},
		 EINVAL,
		 VHD_WHY_SIZE_LIMIT},
		{{.size_bytes = MIB, .write = true}, EUCLEAN, VHD_WHY_SHRINK},
		{{.size_bytes = 4 * MIB - 512, .write = true},
		 EUCLEAN,
		 VHD_WHY_SHRINK},
		{{.by = VHD_RESIZE_CUT,
		  .size_bytes = 5 * MIB,
		  .write = true,
		  .shrink = true},
		 EINVAL,
		 VHD_WHY_SIZE_LIMIT},
		{{.by = VHD_RESIZE_CUT,
		  .size_bytes = 4 * MIB,
		  .write = true,
		  .shrink = true},
		 EINVAL,
		 VHD_WHY_SIZE_ZERO},
		{{.by = VHD_RESIZE_GROW,
		  .size_bytes = UINT64_MAX - 511,
		  .write = true},
		 EINVAL,
		 VHD_WHY_SIZE_LIMIT},
		{{.by = VHD_RESIZE_CUT,
		  .size_bytes = MIB,
		  .write = true,
		  .shrink = true},
		 EUCLEAN,
		 VHD_WHY_DATA_BEHIND},
		{{.format = VHD_FORMAT_FIXED,
		  .size_bytes = 5 * MIB,
		  .write = true},
		 EUCLEAN,
		 VHD_WHY_TYPE_MISMATCH},
	};
	struct memfile *m = img_three();
	const struct vhd_resize_opts grow = {.size_bytes = 9 * MIB,
					     .write = true};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		refuses(m, &cases[i].o, cases[i].code, cases[i].why);
	img_footers(m, IMG_F_SAVED, "\1", 1);
	refuses(m, &grow, EUCLEAN, VHD_WHY_SAVED_STATE);
	img_footers(m, IMG_F_SAVED, "\0\1", 2);
	refuses(m, &grow, ENOTSUP, VHD_WHY_UNSUPPORTED);
	memfile_destroy(m);
	m = memfile_create();
	memfile_resize(m, MIB);
	refuses(m, &grow, ENOTSUP, VHD_WHY_UNSUPPORTED);
	memfile_destroy(m);
}

static void the_limit_itself_is_reached(void **state)
{
	struct memfile *m = img_dynamic(4 * MIB, 2 * MIB, img_three_order, 1);
	struct vhd_err e;

	(void)state;
	img_bat(m, 2, 0xffffffff);
	assert_int_equal(
		resize_on(memfile_file(m), 2040ull << 30, false, NULL, &e), 0);
	assert_true(memfile_len(m) < 16 * MIB);
	memfile_destroy(m);
}

static void a_plan_writes_nothing(void **state)
{
	struct memfile *m = img_three(), *was = memfile_clone(m);
	struct vhd_resize_opts o = {
		.size_bytes = 2 * MIB, .shrink = true, .force = true};
	struct vhd_file f = memfile_file(m);
	struct vhd_resize_result r;
	struct vhd_err e;

	(void)state;
	assert_int_equal(vhd_resize_file(&f, &o, &r, &e), 0);
	assert_int_equal(r.blocks_dropped, 2);
	assert_true(r.data_dropped);
	o.size_bytes = 900ull * MIB;
	assert_int_equal(vhd_resize_file(&f, &o, &r, &e), 0);
	assert_true(r.table_moved);
	assert_true(memfile_equal(m, was));
	memfile_destroy(was);
	memfile_destroy(m);
}

/* -------------------------------------------------------- the caller's say --
 */

struct say {
	int calls[3];
	int refuse_at; /* a moment, or -1 */
	uint64_t sizes[3];
	uint64_t mark; /* written before and after, at this place */
	struct vhd_resize_free gone;
};

static int say(void *ctx, enum vhd_resize_moment moment, struct vhd *img,
	       const struct vhd_resize_result *plan,
	       struct vhd_resize_free *gone, struct vhd_err *err)
{
	struct say *s = ctx;
	uint8_t b[512];

	s->calls[moment]++;
	s->sizes[moment] = vhd_get_info(img)->size_bytes;
	assert_true(plan->new_size_bytes != plan->old_size_bytes);
	assert_int_equal(gone != NULL, moment == VHD_RESIZE_LOOK);
	if (gone)
		*gone = s->gone;
	if ((int)moment == s->refuse_at)
		return vhd_fail(err, -EUCLEAN, VHD_WHY_UNSUPPORTED, 0, "no");
	memset(b, 0x55, sizeof(b));
	if (moment != VHD_RESIZE_LOOK)
		return vhd_write(img, s->mark * moment, b, sizeof(b), err);
	return 0;
}

static void the_caller_is_asked_at_three_moments(void **state)
{
	struct say s = {.refuse_at = VHD_RESIZE_LOOK, .mark = 512};
	struct vhd_resize_opts o = {
		.size_bytes = 90 * MIB,
		.write = true,
		.disk = say,
		.ctx = &s,
	};
	struct memfile *m = img_three();
	struct vhd_file f = memfile_file(m);
	uint8_t b[1024], want[1024];
	struct vhd_err e;
	struct vhd *img;

	(void)state;
	refuses(m, &o, EUCLEAN, VHD_WHY_UNSUPPORTED);
	s.refuse_at = -1;
	assert_int_equal(vhd_resize_file(&f, &o, NULL, &e), 0);
	assert_int_equal(s.calls[VHD_RESIZE_LOOK], 2);
	assert_int_equal(s.calls[VHD_RESIZE_BEFORE], 1);
	assert_int_equal(s.calls[VHD_RESIZE_AFTER], 1);
	assert_true(s.sizes[VHD_RESIZE_BEFORE] == 4 * MIB);
	assert_true(s.sizes[VHD_RESIZE_AFTER] == 90 * MIB);
	assert_int_equal(img_open(m, VHD_FORMAT_AUTO, false, &img, &e), 0);
	assert_int_equal(vhd_read(img, 512, b, 1024, &e), 0);
	memset(want, 0x55, sizeof(want));
	assert_memory_equal(b, want, sizeof(b));
	vhd_abandon(img);
	memfile_destroy(m);
}

static void what_the_caller_calls_free_does_not_count_as_data(void **state)
{
	struct say s = {.refuse_at = -1, .mark = 512};
	struct vhd_resize_opts o = {
		.size_bytes = 2 * MIB,
		.write = true,
		.shrink = true,
		.disk = say,
		.ctx = &s,
	};
	struct memfile *m = img_three(); /* blocks 0, 2, 3 */
	struct vhd_file f = memfile_file(m);
	struct vhd_err e;

	(void)state;
	s.gone = (struct vhd_resize_free){2 * MIB + 512, 2 * MIB - 512};
	refuses(m, &o, EUCLEAN, VHD_WHY_DATA_BEHIND);
	s.gone = (struct vhd_resize_free){2 * MIB, 2 * MIB - 512};
	refuses(m, &o, EUCLEAN, VHD_WHY_DATA_BEHIND);
	s.gone = (struct vhd_resize_free){2 * MIB, 2 * MIB};
	assert_int_equal(vhd_resize_file(&f, &o, NULL, &e), 0);
	memfile_destroy(m);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(content_stays_and_new_space_is_zero),
		cmocka_unit_test(what_was_cut_off_does_not_come_back),
		cmocka_unit_test(a_batmap_moves_with_a_longer_table),
		cmocka_unit_test(geometry_and_footer_follow_and_the_rest_stays),
		cmocka_unit_test(
			what_makes_no_sense_is_refused_and_changes_nothing),
		cmocka_unit_test(the_limit_itself_is_reached),
		cmocka_unit_test(a_plan_writes_nothing),
		cmocka_unit_test(the_caller_is_asked_at_three_moments),
		cmocka_unit_test(
			what_the_caller_calls_free_does_not_count_as_data),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

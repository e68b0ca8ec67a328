/* SPDX-License-Identifier: BSD-2-Clause */
/* Undo files: they bring an image back bit for bit, are whole before the
 * image changes, and spoil nothing when they are damaged, foreign or late.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "tests/lib/checkimg.h"
#include "tests/lib/recfile.h"
#include "vhd/repair.h"

static struct vhd_repair_opts everything(void)
{
	struct vhd_repair_opts o = {.write = true, .lossy = true};

	memcpy(o.new_id, "a new identity!", sizeof(o.new_id));
	return o;
}

/* Repair with an undo file, which the caller owns. */
static struct memfile *repaired(struct memfile *m)
{
	struct vhd_repair_opts o = everything();
	struct memfile *undo = memfile_create();
	struct vhd_file f = memfile_file(m), u;
	struct vhd_err err;

	assert_non_null(undo);
	u = memfile_file(undo);
	assert_int_equal(vhd_repair_file(&f, &u, &o, NULL, &err), 0);
	return undo;
}

static int undo_on(const struct vhd_file *f, struct memfile *undo, bool force,
		   struct vhd_undo_result *r, struct vhd_err *err)
{
	struct vhd_file u = memfile_file(undo);

	return vhd_undo_file(f, &u, force, r, err);
}

static int undo_it(struct memfile *m, struct memfile *undo, bool force,
		   struct vhd_undo_result *r, struct vhd_err *err)
{
	struct vhd_file f = memfile_file(m);

	return undo_on(&f, undo, force, r, err);
}

static const char *const repairable[] = {
	"footer sum", "footer gone", "footer C7",      "footer 511",
	"copy gone",  "copy sum",    "both sums",      "flags differ",
	"no id",      "geometry +",  "header sum",     "next",
	"and used",   "entry 0",     "entry FFFFFFFE", "same place",
	"overlap",    "cut",
};

#define REPAIRABLE (sizeof(repairable) / sizeof(repairable[0]))

static struct memfile *badly_harmed(void)
{
	struct memfile *m = img_three();

	img_harm(m, "no id");
	img_harm(m, "geometry +");
	img_harm(m, "next");
	img_harm(m, "header sum");
	img_harm(m, "cut");
	img_harm(m, "copy sum");
	return m;
}

static void crc_is_the_one_of_the_standard(void **state)
{
	(void)state;
	assert_int_equal(undo_crc(0, "123456789", 9), 0xe3069283);
	assert_int_equal(undo_crc(undo_crc(0, "1234", 4), "56789", 5),
			 0xe3069283);
	assert_int_equal(undo_crc(0, "", 0), 0);
}

static void every_repair_is_undone_bit_for_bit(void **state)
{
	(void)state;
	for (size_t i = 0; i < REPAIRABLE; i++) {
		struct memfile *m = img_three(), *was, *undo;
		struct vhd_undo_result r;
		struct vhd_err err;

		print_message("%s\n", repairable[i]);
		img_harm(m, repairable[i]);
		was = memfile_clone(m);
		undo = repaired(m);
		assert_false(memfile_equal(m, was));
		assert_int_equal(undo_it(m, undo, false, &r, &err), 0);
		assert_true(memfile_equal(m, was));
		assert_true(r.records > 0);
		assert_int_equal(r.old_file_bytes, memfile_len(was));
		memfile_destroy(undo);
		memfile_destroy(was);
		memfile_destroy(m);
	}
}

static void an_undo_can_be_repeated(void **state)
{
	struct memfile *m = badly_harmed();
	struct memfile *was = memfile_clone(m), *undo = repaired(m);
	struct vhd_undo_result r;
	struct vhd_err err;

	(void)state;
	assert_int_equal(undo_it(m, undo, false, &r, &err), 0);
	assert_true(r.restored_bytes > 0);
	assert_int_equal(undo_it(m, undo, false, &r, &err), 0);
	assert_int_equal(r.restored_bytes, 0);
	assert_true(memfile_equal(m, was));
	memfile_destroy(undo);
	memfile_destroy(was);
	memfile_destroy(m);
}

static void a_repair_cut_off_anywhere_is_undone(void **state)
{
	struct memfile *m = badly_harmed();
	struct memfile *was = memfile_clone(m), *undo = memfile_create();
	struct recfile *rec = recfile_create(m);
	struct vhd_file f = recfile_file(rec), u = memfile_file(undo);
	struct vhd_repair_opts o = everything();
	struct vhd_err err;

	(void)state;
	assert_int_equal(vhd_repair_file(&f, &u, &o, NULL, &err), 0);
	for (size_t n = 0; n <= recfile_count(rec); n++)
		for (uint64_t seed = 0; seed < 30; seed++) {
			struct memfile *cut = recfile_cut(rec, n, seed);

			assert_int_equal(undo_it(cut, undo, false, NULL, &err),
					 0);
			assert_true(memfile_equal(cut, was));
			memfile_destroy(cut);
		}
	recfile_destroy(rec);
	memfile_destroy(undo);
	memfile_destroy(was);
	memfile_destroy(m);
}

static void an_undo_cut_off_anywhere_is_finished_by_the_next(void **state)
{
	struct memfile *m = badly_harmed();
	struct memfile *was = memfile_clone(m), *undo = repaired(m);
	struct recfile *rec = recfile_create(m);
	struct vhd_file f = recfile_file(rec);
	struct vhd_err err;

	(void)state;
	assert_int_equal(undo_on(&f, undo, false, NULL, &err), 0);
	for (size_t n = 0; n <= recfile_count(rec); n++)
		for (uint64_t seed = 0; seed < 30; seed++) {
			struct memfile *cut = recfile_cut(rec, n, seed);

			assert_int_equal(undo_it(cut, undo, false, NULL, &err),
					 0);
			assert_true(memfile_equal(cut, was));
			memfile_destroy(cut);
		}
	recfile_destroy(rec);
	memfile_destroy(undo);
	memfile_destroy(was);
	memfile_destroy(m);
}

/* --------------------------------------------------------------- order -- */

struct order {
	struct memfile *undo;
	struct memfile *was;
	bool checked;
};

/* When the image is first written to, the undo file must be whole, synced
 * after its last write, and able to bring the image back.
 */
static int first_write(void *ctx, enum memfile_op op, uint64_t off,
		       uint64_t len)
{
	struct order *o = ctx;
	struct memfile *image;
	struct vhd_err err;

	(void)off;
	(void)len;
	if (op != MEMFILE_WRITE || o->checked)
		return 0;
	o->checked = true;
	assert_true(memfile_count(o->undo, MEMFILE_FLUSH) >= 2);
	image = memfile_clone(o->was);
	assert_int_equal(undo_it(image, o->undo, false, NULL, &err), 0);
	assert_true(memfile_equal(image, o->was));
	memfile_destroy(image);
	return 0;
}

static void the_undo_file_is_whole_before_the_image_changes(void **state)
{
	struct memfile *m = badly_harmed();
	struct order o = {memfile_create(), memfile_clone(m), false};
	struct vhd_file f = memfile_file(m), u = memfile_file(o.undo);
	struct vhd_repair_opts opts = everything();
	struct vhd_err err;

	(void)state;
	memfile_set_hook(m, first_write, &o);
	assert_int_equal(vhd_repair_file(&f, &u, &opts, NULL, &err), 0);
	assert_true(o.checked);
	memfile_destroy(o.undo);
	memfile_destroy(o.was);
	memfile_destroy(m);
}

struct nth {
	enum memfile_op op;
	uint64_t left;
};

static int fail_nth(void *ctx, enum memfile_op op, uint64_t off, uint64_t len)
{
	struct nth *n = ctx;

	(void)off;
	(void)len;
	return op == n->op && n->left-- == 1 ? -ENOSPC : 0;
}

static void an_undo_file_that_fails_leaves_the_image_alone(void **state)
{
	static const enum memfile_op ops[] = {MEMFILE_WRITE, MEMFILE_FLUSH};

	(void)state;
	for (size_t k = 0; k < 2; k++)
		for (uint64_t n = 1;; n++) {
			struct memfile *m = badly_harmed();
			struct memfile *was = memfile_clone(m);
			struct memfile *undo = memfile_create();
			struct vhd_file f = memfile_file(m);
			struct vhd_file u = memfile_file(undo);
			struct vhd_repair_opts o = everything();
			struct nth nth = {ops[k], n};
			struct vhd_err err;
			int rc;

			memfile_set_hook(undo, fail_nth, &nth);
			rc = vhd_repair_file(&f, &u, &o, NULL, &err);
			if (rc) {
				assert_refused(rc, &err, ENOSPC,
					       VHD_WHY_NO_SPACE);
				assert_true(memfile_equal(m, was));
			}
			memfile_destroy(undo);
			memfile_destroy(was);
			memfile_destroy(m);
			if (!rc)
				break;
		}
}

/* ------------------------------------------------------------ refusals -- */

static void an_image_used_since_is_refused_unless_forced(void **state)
{
	struct memfile *m = badly_harmed();
	struct memfile *was = memfile_clone(m), *undo = repaired(m), *used;
	struct vhd_err err;

	(void)state;
	img_poke(m, "\1", 1, IMG_HEADER + 200); /* in a sector that changed */
	used = memfile_clone(m);
	assert_refused(undo_it(m, undo, false, NULL, &err), &err, EUCLEAN,
		       VHD_WHY_UNDO_MISMATCH);
	assert_true(memfile_equal(m, used));
	assert_int_equal(undo_it(m, undo, true, NULL, &err), 0);
	assert_true(memfile_equal(m, was));
	memfile_destroy(used);
	memfile_destroy(undo);
	memfile_destroy(was);
	memfile_destroy(m);
}

static void an_image_of_another_length_is_refused(void **state)
{
	struct memfile *m = badly_harmed();
	struct memfile *undo = repaired(m);
	uint64_t len = memfile_len(m);
	struct vhd_err err;

	(void)state;
	memfile_resize(m, len + 512);
	assert_refused(undo_it(m, undo, false, NULL, &err), &err, EUCLEAN,
		       VHD_WHY_UNDO_MISMATCH);
	memfile_resize(m, 4096);
	assert_refused(undo_it(m, undo, true, NULL, &err), &err, EUCLEAN,
		       VHD_WHY_UNDO_MISMATCH);
	memfile_destroy(undo);
	memfile_destroy(m);
}

/* A footer put behind a fixed disk replaces nothing: only the id tells. */
static void an_undo_without_records_goes_by_the_id(void **state)
{
	struct vhd_repair_opts o = everything();
	struct memfile *m = img_fixed(IMG_THREE_BYTES);
	struct memfile *undo = memfile_create(), *other = memfile_clone(m);
	struct vhd_file f = memfile_file(m), u = memfile_file(undo);
	struct vhd_undo_result r;
	struct vhd_err err;

	(void)state;
	memfile_resize(m, IMG_THREE_BYTES);
	o.format = VHD_FORMAT_FIXED;
	assert_int_equal(vhd_repair_file(&f, &u, &o, NULL, &err), 0);
	assert_refused(undo_it(other, undo, false, NULL, &err), &err, EUCLEAN,
		       VHD_WHY_UNDO_MISMATCH);
	assert_int_equal(undo_it(m, undo, false, &r, &err), 0);
	assert_int_equal(r.records, 0);
	assert_int_equal(memfile_len(m), IMG_THREE_BYTES);
	memfile_destroy(other);
	memfile_destroy(undo);
	memfile_destroy(m);
}

static void every_damaged_byte_of_an_undo_file_is_noticed(void **state)
{
	struct memfile *m = badly_harmed();
	struct memfile *undo = repaired(m), *now = memfile_clone(m);
	uint64_t len = memfile_len(undo);
	struct vhd_err err;

	(void)state;
	for (uint64_t at = 0; at < len; at++) {
		uint8_t b, harm;

		memfile_peek(undo, &b, 1, at);
		harm = (uint8_t)(b ^ (1u << at % 8));
		img_poke(undo, &harm, 1, at);
		assert_refused(undo_it(m, undo, false, NULL, &err), &err,
			       EUCLEAN, VHD_WHY_UNDO_FILE);
		img_poke(undo, &b, 1, at);
	}
	assert_true(memfile_equal(m, now));
	memfile_destroy(now);
	memfile_destroy(undo);
	memfile_destroy(m);
}

static void an_undo_file_of_any_other_length_is_refused(void **state)
{
	struct memfile *m = badly_harmed();
	struct memfile *undo = repaired(m), *now = memfile_clone(m);
	struct vhd_err err;

	(void)state;
	memfile_resize(undo, memfile_len(undo) + 1);
	while (memfile_len(undo)) {
		assert_refused(undo_it(m, undo, false, NULL, &err), &err,
			       EUCLEAN, VHD_WHY_UNDO_FILE);
		memfile_resize(undo, memfile_len(undo) - 1);
		if (memfile_len(undo) % 7 == 1)
			assert_true(memfile_equal(m, now));
		if (memfile_len(undo) > 600 &&
		    memfile_len(undo) + 3 < memfile_len(now))
			memfile_resize(undo, memfile_len(undo) / 2);
	}
	memfile_destroy(now);
	memfile_destroy(undo);
	memfile_destroy(m);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(crc_is_the_one_of_the_standard),
		cmocka_unit_test(every_repair_is_undone_bit_for_bit),
		cmocka_unit_test(an_undo_can_be_repeated),
		cmocka_unit_test(a_repair_cut_off_anywhere_is_undone),
		cmocka_unit_test(
			an_undo_cut_off_anywhere_is_finished_by_the_next),
		cmocka_unit_test(
			the_undo_file_is_whole_before_the_image_changes),
		cmocka_unit_test(
			an_undo_file_that_fails_leaves_the_image_alone),
		cmocka_unit_test(an_image_used_since_is_refused_unless_forced),
		cmocka_unit_test(an_image_of_another_length_is_refused),
		cmocka_unit_test(an_undo_without_records_goes_by_the_id),
		cmocka_unit_test(every_damaged_byte_of_an_undo_file_is_noticed),
		cmocka_unit_test(an_undo_file_of_any_other_length_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

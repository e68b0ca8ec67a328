/* SPDX-License-Identifier: BSD-2-Clause */
/* Split sets: read as one file by every way in, refused with the part that is
 * at fault, never written to, and never taken for what they are not.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/lib/checkimg.h"
#include "tests/lib/diffimg.h"
#include "tests/lib/qtest.h"
#include "tests/lib/random.h"
#include "tests/lib/scratch.h"
#include "vhd/split.h"

#define KIB  1024u
#define PART (1u << 20)
#define SIZE (5u * MIB + 512)

static struct scratch home;

static int set_up(void **state)
{
	(void)state;
	scratch_enter(&home, "split", false);
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	scratch_leave(&home);
	return 0;
}

static const char *part_name(const char *stem, unsigned i)
{
	static char name[64];

	if (i)
		snprintf(name, sizeof(name), "%s.v%02u", stem, i);
	else
		snprintf(name, sizeof(name), "%s.vhd", stem);
	return name;
}

/* Cut an image into files of `part` bytes. Returns how many. */
static unsigned save(struct memfile *m, const char *stem, uint64_t part)
{
	uint64_t len = memfile_len(m);
	uint8_t *b = malloc(part);
	unsigned n = 0;

	assert_non_null(b);
	for (uint64_t at = 0; at < len; at += part, n++) {
		size_t have = len - at < part ? (size_t)(len - at) : part;
		int fd = open(part_name(stem, n),
			      O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

		memfile_peek(m, b, have, at);
		assert_true(fd >= 0 && write(fd, b, have) == (ssize_t)have);
		close(fd);
	}
	free(b);
	memfile_destroy(m);
	return n;
}

static struct memfile *filled(uint32_t type, uint8_t *model)
{
	uint64_t rnd = 17;

	return diff_random(type, 3, SIZE, 512 * KIB, model, &rnd);
}

static int open_set(const char *path, struct vhd **img, struct vhd_err *e)
{
	const struct vhd_open_opts o = {.parent_dir = "."};

	return vhd_open(path, &o, img, e);
}

static void assert_set(const char *path, const char *said)
{
	struct vhd *img = NULL;
	struct vhd_err e = {0};

	assert_refused(open_set(path, &img, &e), &e, EUCLEAN,
		       VHD_WHY_SPLIT_SET);
	if (!strstr(e.text, said))
		fail_msg("no '%s' in: %s", said, e.text);
}

/* ------------------------------------------------------------- reading -- */

static void reads(struct vhd *img, const uint8_t *model)
{
	uint8_t *got = malloc(SIZE);
	struct vhd_err e;

	assert_non_null(got);
	assert_int_equal(vhd_read(img, 0, got, SIZE, &e), 0);
	assert_memory_equal(got, model, SIZE);
	free(got);
}

/* Through a queue that another image is attached to already. */
static void reads_queued(struct vhd *img, const uint8_t *model)
{
	struct vhd_queue *q = qtest_queue(VHD_ENGINE_AUTO, 4);
	char *path = qtest_path();
	struct vhd *other =
		qtest_create(path, VHD_FORMAT_DYNAMIC, SIZE, 4096, false);
	uint8_t *got = malloc(SIZE);

	assert_non_null(got);
	qtest_attach(q, other);
	qtest_attach(q, img);
	assert_int_equal(vhd_queue_engine(q), VHD_ENGINE_SYNC);
	for (uint64_t at = 0; at < SIZE; at += 128 * KIB) {
		size_t n = SIZE - at < 128 * KIB ? SIZE - at : 128 * KIB;

		assert_int_equal(
			qtest_io(q, img, VHD_OP_READ, at / 512, got + at, n),
			0);
	}
	assert_memory_equal(got, model, SIZE);
	assert_int_equal(qtest_io(q, other, VHD_OP_WRITE, 0, got, 4096), 0);
	assert_int_equal(qtest_flush(q, other), 0);
	vhd_queue_detach(q, img);
	vhd_queue_detach(q, other);
	vhd_queue_destroy(q);
	qtest_close(other);
	unlink(path);
	free(path);
	free(got);
}

static void a_set_reads_as_one_file(void **state)
{
	static const uint32_t types[] = {IMG_TYPE_FIXED, IMG_TYPE_DYNAMIC};
	uint8_t *model = malloc(SIZE);

	(void)state;
	assert_non_null(model);
	for (unsigned i = 0; i < 2; i++) {
		struct memfile *m = filled(types[i], model);
		uint64_t len = memfile_len(m);
		struct vhd *img = NULL;
		struct vhd_err e = {0};

		assert_true(save(m, "disk", 300 * KIB + 1) > 3);
		assert_int_equal(open_set("disk.vhd", &img, &e), 0);
		assert_int_equal(e.why, VHD_WHY_NONE);
		assert_int_equal(vhd_get_info(img)->notes, VHD_NOTE_SPLIT);
		assert_int_equal(vhd_get_info(img)->file_bytes, len);
		reads(img, model);
		reads_queued(img, model);
		assert_int_equal(vhd_close(img, &e), 0);
	}
	free(model);
}

static void a_named_engine_does_not_serve_a_set(void **state)
{
	uint8_t *model = malloc(SIZE);
	struct vhd_queue *q = qtest_queue(VHD_ENGINE_AIO, 4);
	struct vhd *img = NULL;
	struct vhd_err e;

	(void)state;
	assert_non_null(model);
	save(filled(IMG_TYPE_FIXED, model), "disk", PART);
	assert_int_equal(open_set("disk.vhd", &img, &e), 0);
	assert_refused(vhd_queue_attach(q, img, &e), &e, ENOTSUP,
		       VHD_WHY_UNSUPPORTED);
	vhd_queue_destroy(q);
	vhd_abandon(img);
	free(model);
}

static void a_set_of_names_in_capitals_and_behind_a_link(void **state)
{
	uint8_t *model = malloc(SIZE);
	struct vhd *img = NULL;
	struct vhd_err e;

	(void)state;
	assert_non_null(model);
	assert_int_equal(save(filled(IMG_TYPE_FIXED, model), "disk", 3 * PART),
			 2);
	assert_int_equal(rename("disk.vhd", "DISK.VHD"), 0);
	assert_int_equal(rename("disk.v01", "DISK.V01"), 0);
	assert_int_equal(symlink("DISK.VHD", "link"), 0);
	assert_int_equal(open_set("link", &img, &e), 0);
	reads(img, model);
	vhd_abandon(img);
	free(model);
}

static void a_footer_of_511_bytes_closes_a_set(void **state)
{
	uint8_t *model = malloc(SIZE);
	struct memfile *m = filled(IMG_TYPE_FIXED, model);
	struct vhd *img = NULL;
	struct vhd_err e;

	(void)state;
	assert_non_null(model);
	memfile_resize(m, memfile_len(m) - 1);
	save(m, "disk", 2 * PART);
	assert_int_equal(open_set("disk.vhd", &img, &e), 0);
	assert_int_equal(vhd_get_info(img)->notes,
			 VHD_NOTE_SPLIT | VHD_NOTE_FOOTER_511);
	reads(img, model);
	vhd_abandon(img);
	free(model);
}

static void a_parent_may_be_a_set(void **state)
{
	uint8_t *model = malloc(SIZE);
	struct memfile *child = diff_empty(4, SIZE, 4096);
	struct vhd *img = NULL;
	struct vhd_err e = {0};

	(void)state;
	assert_non_null(model);
	save(filled(IMG_TYPE_DYNAMIC, model), "base", 900 * KIB);
	diff_locator_text(child, 0, 0x57327275, ".\\base.vhd");
	diff_save(child, "child.vhd");
	memfile_destroy(child);
	assert_int_equal(open_set("child.vhd", &img, &e), 0);
	reads(img, model);
	vhd_abandon(img);
	assert_int_equal(unlink("base.v01"), 0);
	assert_refused(open_set("child.vhd", &img, &e), &e, EUCLEAN,
		       VHD_WHY_SPLIT_SET);
	free(model);
}

static void sixty_four_parts_are_a_set_and_one_more_is_none(void **state)
{
	uint8_t *model = malloc(SIZE);
	struct memfile *m = filled(IMG_TYPE_FIXED, model);
	uint64_t len = memfile_len(m);
	struct vhd *img = NULL;
	struct vhd_err e;

	(void)state;
	assert_non_null(model);
	assert_int_equal(save(m, "disk", len / VHD_SPLIT_PARTS_MAX + 1), 64);
	assert_int_equal(open_set("disk.vhd", &img, &e), 0);
	assert_int_equal(vhd_split_parts(vhd_get_file(img)), 64);
	reads(img, model);
	vhd_abandon(img);
	assert_int_equal(link("disk.v63", "disk.v64"), 0);
	assert_set("disk.vhd", "at most 64");
	free(model);
}

/* ------------------------------------------------------------- refusals -- */

static void a_missing_or_cut_part_is_named(void **state)
{
	static const uint32_t types[] = {IMG_TYPE_FIXED, IMG_TYPE_DYNAMIC};
	uint8_t *model = malloc(SIZE);

	(void)state;
	assert_non_null(model);
	for (unsigned i = 0; i < 2; i++) {
		unsigned n = save(filled(types[i], model), "disk", 600 * KIB);

		assert_true(n > 4);
		assert_int_equal(rename("disk.v02", "gone"), 0);
		assert_set("disk.vhd", ".v02 is missing");
		assert_int_equal(rename("gone", "disk.v02"), 0);
		assert_int_equal(rename("disk.v01", "gone"), 0);
		assert_set("disk.vhd", ".v01 is missing");
		assert_int_equal(rename("gone", "disk.v01"), 0);
		assert_int_equal(rename(part_name("disk", n - 1), "gone"), 0);
		assert_set("disk.vhd", "parts behind it are missing");
		assert_int_equal(rename("gone", part_name("disk", n - 1)), 0);
		assert_int_equal(truncate("disk.v01", 600 * KIB - 512), 0);
		assert_set("disk.vhd", "disk.v01 has 613888 bytes");
		assert_int_equal(truncate("disk.v01", 600 * KIB), 0);
		assert_int_equal(truncate("disk.vhd", 600 * KIB - 512), 0);
		assert_set("disk.vhd", "disk.v01 has 614400 bytes");
		for (; n; n--)
			assert_int_equal(unlink(part_name("disk", n - 1)), 0);
	}
	free(model);
}

static void a_further_part_is_told_to_be_one(void **state)
{
	uint8_t *model = malloc(SIZE);
	struct vhd *img = NULL;
	struct vhd_err e;

	(void)state;
	assert_non_null(model);
	save(filled(IMG_TYPE_DYNAMIC, model), "disk", PART);
	assert_set("disk.v01", "open disk.vhd");
	assert_int_equal(open_set("disk.vhd", &img, &e), 0);
	vhd_abandon(img);
	free(model);
}

static void a_part_of_another_disk_is_refused(void **state)
{
	uint8_t *model = malloc(SIZE);
	struct memfile *m = filled(IMG_TYPE_DYNAMIC, model);

	(void)state;
	assert_non_null(model);
	img_set(m, img_end(m), 512, IMG_F_ID, "somebody else's!", 16);
	save(m, "disk", PART);
	assert_set("disk.vhd", "of another disk");
	free(model);
}

static void a_set_is_never_written_to(void **state)
{
	const struct vhd_open_opts rw = {.writable = true};
	const struct vhd_repair_opts mend = {.write = true};
	uint8_t *model = malloc(SIZE);
	struct vhd *img = NULL;
	struct vhd_err e;

	(void)state;
	assert_non_null(model);
	save(filled(IMG_TYPE_DYNAMIC, model), "disk", PART);
	assert_refused(vhd_open("disk.vhd", &rw, &img, &e), &e, EROFS,
		       VHD_WHY_READ_ONLY_LAYOUT);
	assert_refused(vhd_repair("disk.vhd", &mend, NULL, &e), &e, EROFS,
		       VHD_WHY_READ_ONLY_LAYOUT);
	assert_int_equal(open_set("disk.vhd", &img, &e), 0);
	assert_refused(vhd_write(img, 0, model, 512, &e), &e, EROFS,
		       VHD_WHY_READ_ONLY);
	vhd_abandon(img);
	free(model);
}

static void each_part_is_locked(void **state)
{
	const struct vhd_open_opts rw = {.writable = true,
					 .format = VHD_FORMAT_RAW};
	uint8_t *model = malloc(SIZE);
	struct vhd *img = NULL, *part = NULL;
	struct vhd_err e;

	(void)state;
	assert_non_null(model);
	save(filled(IMG_TYPE_DYNAMIC, model), "disk", PART);
	assert_int_equal(open_set("disk.vhd", &img, &e), 0);
	assert_refused(vhd_open("disk.v01", &rw, &part, &e), &e, EBUSY,
		       VHD_WHY_LOCKED);
	vhd_abandon(img);
	assert_int_equal(vhd_open("disk.v01", &rw, &part, &e), 0);
	assert_refused(open_set("disk.vhd", &img, &e), &e, EBUSY,
		       VHD_WHY_LOCKED);
	vhd_abandon(part);
	free(model);
}

/* --------------------------------------------------------- not a set -- */

static void a_whole_image_is_no_set_whatever_is_beside_it(void **state)
{
	static const uint32_t types[] = {IMG_TYPE_FIXED, IMG_TYPE_DYNAMIC};
	const struct vhd_open_opts raw = {.format = VHD_FORMAT_RAW};
	uint8_t *model = malloc(SIZE);
	struct vhd *img = NULL;
	struct vhd_err e;

	(void)state;
	assert_non_null(model);
	for (unsigned i = 0; i < 2; i++) {
		save(filled(types[i], model), "disk", 64 * PART);
		save(filled(IMG_TYPE_FIXED, model), "other", 64 * PART);
		assert_int_equal(rename("other.vhd", "disk.v01"), 0);
		assert_int_equal(open_set("disk.vhd", &img, &e), 0);
		assert_int_equal(vhd_get_info(img)->notes, 0);
		vhd_abandon(img);
		assert_int_equal(open_set("disk.v01", &img, &e), 0);
		vhd_abandon(img);
	}
	/* A disk that is named raw is raw, and so is a piece of one. */
	save(filled(IMG_TYPE_FIXED, model), "disk", PART);
	assert_int_equal(vhd_open("disk.vhd", &raw, &img, &e), 0);
	assert_int_equal(vhd_get_info(img)->size_bytes, PART);
	vhd_abandon(img);
	free(model);
}

static void a_lone_raw_file_is_as_it_was(void **state)
{
	struct vhd *img = NULL;
	struct vhd_err e;
	int fd = open("disk.vhd", O_WRONLY | O_CREAT | O_CLOEXEC, 0600);

	(void)state;
	assert_true(fd >= 0 && ftruncate(fd, PART) == 0);
	close(fd);
	assert_int_equal(open_set("disk.vhd", &img, &e), 0);
	assert_int_equal(vhd_get_info(img)->format, VHD_FORMAT_RAW);
	vhd_abandon(img);
	/* With a neighbour of that name it is one no more. */
	assert_int_equal(link("disk.vhd", "disk.v01"), 0);
	assert_set("disk.vhd", "does not end with a footer");
}

/* ------------------------------------------------------ check, salvage -- */

static void a_set_is_checked_and_saved_as_one(void **state)
{
	const struct vhd_check_opts check = {.data = true};
	const struct vhd_salvage_opts save_it = {.now_unix_s = FOUND_NOW_S};
	uint8_t *model = malloc(SIZE);
	struct vhd_check_result r;
	struct vhd *img = NULL;
	struct vhd_err e;

	(void)state;
	assert_non_null(model);
	save(filled(IMG_TYPE_DYNAMIC, model), "disk", 777 * KIB);
	assert_int_equal(vhd_check("disk.vhd", &check, &r, &e), 0);
	assert_int_equal(r.severity_count[VHD_SEVERITY_ERROR], 0);
	assert_int_equal(r.size_bytes, SIZE);
	assert_int_equal(vhd_salvage("disk.vhd", "one.vhd", &save_it, NULL, &e),
			 0);
	assert_int_equal(open_set("one.vhd", &img, &e), 0);
	assert_int_equal(vhd_get_info(img)->notes, 0);
	reads(img, model);
	vhd_abandon(img);
	free(model);
}

#define T(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(a_set_reads_as_one_file),
		T(a_named_engine_does_not_serve_a_set),
		T(a_set_of_names_in_capitals_and_behind_a_link),
		T(a_footer_of_511_bytes_closes_a_set),
		T(a_parent_may_be_a_set),
		T(sixty_four_parts_are_a_set_and_one_more_is_none),
		T(a_missing_or_cut_part_is_named),
		T(a_further_part_is_told_to_be_one),
		T(a_part_of_another_disk_is_refused),
		T(a_set_is_never_written_to),
		T(each_part_is_locked),
		T(a_whole_image_is_no_set_whatever_is_beside_it),
		T(a_lone_raw_file_is_as_it_was),
		T(a_set_is_checked_and_saved_as_one),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

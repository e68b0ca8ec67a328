/* SPDX-License-Identifier: BSD-2-Clause */
/* tools/convert: extents, output files, copy and verify, on small images
 * in a temporary directory.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/lib/cm.h"
#include "tests/lib/random.h"
#include "tools/convert/convert.h"

#define KIB UINT64_C(1024)
#define MIB (KIB * 1024)
#define UNIT (512 * KIB)

struct dir {
	char path[64];
	char file[160];
};

static char *in_dir(struct dir *d, const char *name)
{
	snprintf(d->file, sizeof(d->file), "%s/%s", d->path, name);
	return d->file;
}

static int setup(void **state)
{
	const char *tmp = getenv("TMPDIR");
	struct dir *d = calloc(1, sizeof(*d));

	assert_non_null(d);
	snprintf(d->path, sizeof(d->path), "%.40s/convertXXXXXX",
		 tmp ? tmp : "/tmp");
	assert_non_null(mkdtemp(d->path));
	*state = d;
	return 0;
}

static const char *const names[] = { "src", "dst", "dst2", "link", "sub" };

/* Fails when a test left anything but the names it may use. */
static int teardown(void **state)
{
	struct dir *d = *state;
	int rc;

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (unlink(in_dir(d, names[i])) < 0 && errno == EISDIR)
			rmdir(d->file);
	rc = rmdir(d->path);
	free(d);
	return rc;
}

static void write_at(const char *path, uint64_t off, const void *buf, size_t n)
{
	int fd = open(path, O_WRONLY | O_CREAT, 0600);

	assert_true(fd >= 0);
	assert_int_equal(pwrite(fd, buf, n, (off_t)off), n);
	close(fd);
}

static void fill(const char *path, uint64_t off, uint64_t len, int byte)
{
	uint8_t *buf = malloc(len);

	assert_non_null(buf);
	memset(buf, byte, len);
	write_at(path, off, buf, len);
	free(buf);
}

static void raw_make(const char *path, uint64_t size)
{
	fill(path, 0, 1, 0);
	assert_int_equal(truncate(path, 0), 0);
	assert_int_equal(truncate(path, (off_t)size), 0);
}

static void open_as(struct convert_input *in, const char *path,
		    enum vhd_format format)
{
	struct vhd_err err = { 0 };

	const struct vhd_open_opts how = {.format = format};

	if (convert_input_open(in, path, &how, &err))
		fail_msg("%s: %s", path, err.text);
}

/* ------------------------------------------------------------- extents -- */

static void next_is(struct convert_extents *x, uint64_t *at, uint64_t off,
		    uint64_t len)
{
	uint64_t got = 0;

	assert_int_equal(convert_extents_next(x, UNIT, at, &got, NULL), 0);
	assert_int_equal(got, len);
	if (len)
		assert_int_equal(*at, off);
	*at += got;
}

static void extents_skip_holes_and_stop_at_units(void **state)
{
	char *path = in_dir(*state, "src");
	struct convert_extents x;
	struct convert_input in;
	uint64_t at = 0;

	raw_make(path, 8 * MIB);
	fill(path, 2 * MIB - 4 * KIB, UNIT, 1);
	fill(path, 8 * MIB - 8 * KIB, 8 * KIB, 1);
	open_as(&in, path, VHD_FORMAT_RAW);
	convert_extents_init(&x, in.img, in.fd);
	next_is(&x, &at, 2 * MIB - 4 * KIB, 4 * KIB);
	next_is(&x, &at, 2 * MIB, UNIT - 4 * KIB);
	next_is(&x, &at, 8 * MIB - 8 * KIB, 8 * KIB);
	next_is(&x, &at, 0, 0);
	convert_input_close(&in);
}

static void extents_of_an_all_hole_disk_are_none(void **state)
{
	char *path = in_dir(*state, "src");
	struct convert_extents x;
	struct convert_input in;
	uint64_t at = 0;

	raw_make(path, 3 * MIB + 512);
	open_as(&in, path, VHD_FORMAT_RAW);
	convert_extents_init(&x, in.img, in.fd);
	next_is(&x, &at, 0, 0);
	convert_input_close(&in);
}

static void extents_end_with_the_disk_not_with_the_grain(void **state)
{
	char *path = in_dir(*state, "src");
	struct convert_extents x;
	struct convert_input in;
	uint64_t at = 0;

	raw_make(path, 64 * KIB + 512);
	fill(path, 64 * KIB, 512, 1);
	open_as(&in, path, VHD_FORMAT_RAW);
	convert_extents_init(&x, in.img, in.fd);
	next_is(&x, &at, 64 * KIB, 512);
	next_is(&x, &at, 0, 0);
	convert_input_close(&in);
}

/* -------------------------------------------------------------- output -- */

static int exists(const char *path)
{
	return access(path, F_OK) == 0;
}

static void output_has_no_name_until_published(void **state)
{
	char *path = in_dir(*state, "dst");
	struct convert_output out;
	struct stat src = { .st_mode = S_IFREG | 0640 }, st;

	assert_int_equal(convert_output_open(&out, path, false, &src, NULL),
			 0);
	assert_false(exists(path));
	assert_int_equal(write(out.fd, "x", 1), 1);
	assert_int_equal(convert_output_publish(&out, true, NULL), 0);
	convert_output_close(&out);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_size, 1);
	/* no more open than its source was */
	assert_int_equal(st.st_mode & 0137, 0);
}

static void output_that_is_closed_unpublished_is_gone(void **state)
{
	char *path = in_dir(*state, "dst");
	struct convert_output out;
	struct stat src = { .st_mode = S_IFREG | 0600 };

	assert_int_equal(convert_output_open(&out, path, true, &src, NULL), 0);
	convert_output_close(&out);
	convert_output_close(&out);
	assert_false(exists(path));
}

static void output_refuses_what_exists_unless_forced(void **state)
{
	char *path = in_dir(*state, "dst");
	struct convert_output out;
	struct stat src = { .st_mode = S_IFREG | 0600 }, st;
	struct vhd_err err;

	fill(path, 0, 3, 7);
	assert_refused(convert_output_open(&out, path, false, &src, &err),
		       &err, EEXIST, VHD_WHY_SYSTEM);
	assert_int_equal(convert_output_open(&out, path, true, &src, NULL), 0);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_size, 3); /* still the old one */
	assert_int_equal(convert_output_publish(&out, true, NULL), 0);
	convert_output_close(&out);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_size, 0);
}

static void output_does_not_replace_what_appeared_meanwhile(void **state)
{
	char *path = in_dir(*state, "dst");
	struct convert_output out;
	struct stat src = { .st_mode = S_IFREG | 0600 }, st;
	struct vhd_err err;

	assert_int_equal(convert_output_open(&out, path, false, &src, NULL),
			 0);
	fill(path, 0, 3, 7);
	assert_refused(convert_output_publish(&out, true, &err), &err, EEXIST,
		       VHD_WHY_SYSTEM);
	convert_output_close(&out);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_size, 3);
}

static void output_refuses_its_source_under_any_name(void **state)
{
	char *path = in_dir(*state, "src");
	struct convert_output out;
	struct stat src;
	struct vhd_err err;
	char other[160];

	fill(path, 0, 512, 1);
	assert_int_equal(stat(path, &src), 0);
	snprintf(other, sizeof(other), "%s", in_dir(*state, "link"));
	assert_int_equal(link(in_dir(*state, "src"), other), 0);
	assert_refused(convert_output_open(&out, other, true, &src, &err),
		       &err, EINVAL, VHD_WHY_ARGUMENT);
	unlink(other);
	assert_int_equal(symlink("src", other), 0);
	assert_refused(convert_output_open(&out, other, true, &src, &err),
		       &err, EINVAL, VHD_WHY_ARGUMENT);
}

static void output_goes_where_a_symbolic_link_leads(void **state)
{
	struct convert_output out;
	struct stat src = { .st_mode = S_IFREG | 0600 }, st;

	fill(in_dir(*state, "dst"), 0, 3, 7);
	assert_int_equal(symlink("dst", in_dir(*state, "link")), 0);
	assert_int_equal(convert_output_open(&out, in_dir(*state, "link"), true,
					     &src, NULL),
			 0);
	assert_int_equal(convert_output_publish(&out, false, NULL), 0);
	convert_output_close(&out);
	assert_int_equal(lstat(in_dir(*state, "link"), &st), 0);
	assert_true(S_ISLNK(st.st_mode));
	assert_int_equal(stat(in_dir(*state, "dst"), &st), 0);
	assert_int_equal(st.st_size, 0);
}

/* ------------------------------------------------------ copy and verify -- */

struct bench {
	struct convert_job job;
	struct convert_input in;
};

static void bench_open(struct bench *b, const char *src, enum vhd_engine e)
{
	*b = (struct bench){ .job = { .src = "src", .dst = "dst",
				      .signal_fd = -1 } };
	open_as(&b->in, src, VHD_FORMAT_AUTO);
	assert_int_equal(convert_job_init(&b->job, e, NULL), 0);
}

static void bench_close(struct bench *b)
{
	convert_job_fini(&b->job);
	convert_input_close(&b->in);
}

static void pump(struct bench *b, struct vhd *img, struct convert_writeback *wb,
		 struct convert_stats *stats)
{
	struct convert_image_source source;
	struct convert_image_sink sink;
	struct vhd_err err = { 0 };

	assert_int_equal(convert_image_source_init(&source, &b->job, &b->in,
						   "src", NULL), 0);
	assert_int_equal(convert_image_sink_init(&sink, &b->job, img, wb, NULL),
			 0);
	if (convert_copy(&b->job, &source.source, &sink.sink, stats,
			 &err))
		fail_msg("copy: %s", err.text);
	convert_sink_close(&sink.sink);
	convert_source_close(&source.source);
}

static void copy_to(struct bench *b, const char *dst, enum vhd_format to,
		    uint32_t block, struct convert_stats *stats)
{
	const struct vhd_create_opts opts = {
		.format = to,
		.size_bytes = vhd_get_info(b->in.img)->size_bytes,
		.block_size_bytes = block,
		.no_sync = true,
	};
	struct convert_writeback wb;
	struct vhd *img;
	int fd;

	*stats = (struct convert_stats){ 0 };
	assert_int_equal(vhd_create(dst, &opts, &img, NULL), 0);
	fd = open(dst, O_RDWR);
	assert_true(fd >= 0);
	convert_writeback_init(&wb, fd, true);
	pump(b, img, &wb, stats);
	close(fd);
	assert_int_equal(vhd_close(img, NULL), 0);
}

static int verify_against(struct bench *b, const char *dst, uint64_t *at)
{
	struct convert_image_source ends[2];
	struct convert_input again;
	struct vhd_err err = { 0 };
	int rc;

	open_as(&again, dst, VHD_FORMAT_AUTO);
	assert_int_equal(convert_image_source_init(&ends[0], &b->job, &b->in,
						   "src", NULL), 0);
	assert_int_equal(convert_image_source_init(&ends[1], &b->job, &again,
						   "dst", NULL), 0);
	rc = convert_compare_ends(&b->job, &ends[0].source, &ends[1].source,
				  at, &err);
	if (rc < 0)
		fail_msg("verify: %s", err.text);
	convert_source_close(&ends[0].source);
	convert_source_close(&ends[1].source);
	convert_input_close(&again);
	return rc;
}

/* Byte by byte, without the code under test. */
static void same_bytes(struct vhd *a, const char *path)
{
	struct vhd_open_opts opts = { 0 };
	uint64_t size = vhd_get_info(a)->size_bytes;
	uint8_t *x = malloc(size), *y = malloc(size);
	struct vhd *b;

	assert_non_null(x);
	assert_non_null(y);
	assert_int_equal(vhd_open(path, &opts, &b, NULL), 0);
	assert_int_equal(vhd_get_info(b)->size_bytes, size);
	assert_int_equal(vhd_read(a, 0, x, size, NULL), 0);
	assert_int_equal(vhd_read(b, 0, y, size, NULL), 0);
	assert_memory_equal(x, y, size);
	vhd_abandon(b);
	free(x);
	free(y);
}

static void random_disk(const char *path, uint64_t size, uint64_t *seed)
{
	raw_make(path, size);
	for (int i = 0; i < 40; i++) {
		uint64_t off = random_below(seed, size);
		uint64_t len = random_below(seed, i % 4 ? 6 * KIB : UNIT);

		/* a quarter of it zeros that are no holes */
		fill(path, off, len < size - off ? len + 1 : size - off,
		     (int)random_below(seed, 4));
	}
	assert_int_equal(truncate(path, (off_t)size), 0);
}

static void random_disks_arrive_whole_in_every_format(void **state)
{
	static const enum vhd_engine engines[] = { VHD_ENGINE_SYNC,
						   VHD_ENGINE_AUTO };
	static const uint32_t blocks[] = { 0, 4096, 512 << 10, 16 << 20 };
	uint64_t seed = random_seed(), at = 0;
	char src[160], dst[160];

	snprintf(src, sizeof(src), "%s", in_dir(*state, "src"));
	snprintf(dst, sizeof(dst), "%s", in_dir(*state, "dst"));
	for (unsigned i = 0; i < 24; i++) {
		uint64_t sectors = 1 + random_below(&seed, 12 * MIB / 512);
		enum vhd_format to = VHD_FORMAT_RAW + i % 3;
		struct convert_stats stats;
		struct bench b;

		random_disk(src, sectors * 512, &seed);
		bench_open(&b, src, engines[i & 1]);
		copy_to(&b, dst, to,
			to == VHD_FORMAT_DYNAMIC ? blocks[i / 3 % 4] : 0,
			&stats);
		same_bytes(b.in.img, dst);
		assert_int_equal(verify_against(&b, dst, &at), 0);
		assert_true(stats.written_bytes <= stats.read_bytes);
		bench_close(&b);
		unlink(src);
		unlink(dst);
	}
}

static void zero_grains_are_not_written(void **state)
{
	struct convert_stats stats;
	struct bench b;
	struct stat st;
	char dst[160];

	snprintf(dst, sizeof(dst), "%s", in_dir(*state, "dst"));
	raw_make(in_dir(*state, "src"), 4 * MIB);
	fill(in_dir(*state, "src"), 0, 4 * MIB, 0); /* zeros, but no hole */
	fill(in_dir(*state, "src"), 3 * MIB + 4096, 1, 1);
	bench_open(&b, in_dir(*state, "src"), VHD_ENGINE_AUTO);
	copy_to(&b, dst, VHD_FORMAT_DYNAMIC, 0, &stats);
	assert_int_equal(stats.written_bytes, 4096);
	assert_int_equal(stats.read_bytes, 4 * MIB);
	assert_int_equal(stat(dst, &st), 0);
	assert_true(st.st_blocks * 512 <= 32 * 1024);
	bench_close(&b);
}

static void the_same_source_gives_the_same_layout(void **state)
{
	uint64_t seed = random_seed();
	struct convert_stats stats;
	struct bench b;
	char dst[160], dst2[160];

	snprintf(dst, sizeof(dst), "%s", in_dir(*state, "dst"));
	snprintf(dst2, sizeof(dst2), "%s", in_dir(*state, "dst2"));
	random_disk(in_dir(*state, "src"), 40 * MIB, &seed);
	bench_open(&b, in_dir(*state, "src"), VHD_ENGINE_AUTO);
	copy_to(&b, dst, VHD_FORMAT_DYNAMIC, 0, &stats);
	copy_to(&b, dst2, VHD_FORMAT_DYNAMIC, 0, &stats);
	for (uint64_t lba = 0; lba < 40 * MIB / 512; lba += 4096) {
		struct vhd_open_opts opts = { 0 };
		struct vhd_run r[2];
		struct vhd *img[2];

		assert_int_equal(vhd_open(dst, &opts, &img[0], NULL), 0);
		assert_int_equal(vhd_open(dst2, &opts, &img[1], NULL), 0);
		for (int i = 0; i < 2; i++)
			assert_int_equal(vhd_map(img[i], lba, 1, &r[i], NULL),
					 0);
		assert_int_equal(r[0].kind, r[1].kind);
		assert_int_equal(r[0].off_bytes, r[1].off_bytes);
		vhd_abandon(img[0]);
		vhd_abandon(img[1]);
	}
	bench_close(&b);
}

static void verify_finds_the_first_difference(void **state)
{
	uint64_t seed = random_seed(), at = 0;
	struct convert_stats stats;
	struct bench b;
	char dst[160];

	snprintf(dst, sizeof(dst), "%s", in_dir(*state, "dst"));
	random_disk(in_dir(*state, "src"), 6 * MIB, &seed);
	bench_open(&b, in_dir(*state, "src"), VHD_ENGINE_AUTO);
	for (int i = 0; i < 12; i++) {
		uint64_t off = random_below(&seed, 6 * MIB - 1);

		copy_to(&b, dst, VHD_FORMAT_RAW, 0, &stats);
		fill(dst, off + 1 + random_below(&seed, 6 * MIB - 1 - off), 1,
		     0x55);
		fill(dst, off, 1, 0x55);
		assert_int_equal(verify_against(&b, dst, &at), 1);
		assert_int_equal(at, off);
	}
	bench_close(&b);
}

static void a_shorter_disk_counts_as_zero_behind_its_end(void **state)
{
	uint64_t at = 0;
	struct bench b;

	raw_make(in_dir(*state, "src"), 2 * MIB);
	raw_make(in_dir(*state, "dst"), 1 * MIB);
	bench_open(&b, in_dir(*state, "src"), VHD_ENGINE_AUTO);
	assert_int_equal(verify_against(&b, in_dir(*state, "dst"), &at), 0);
	fill(in_dir(*state, "src"), 1 * MIB + 77, 1, 1);
	assert_int_equal(verify_against(&b, in_dir(*state, "dst"), &at), 1);
	assert_int_equal(at, 1 * MIB + 77);
	bench_close(&b);
}

static void input_refuses_what_is_no_image_file(void **state)
{
	const struct vhd_open_opts how = {.format = VHD_FORMAT_AUTO};
	struct convert_input in;
	struct vhd_err err;
	char *path = in_dir(*state, "sub");

	assert_int_equal(mkdir(path, 0700), 0);
	assert_refused(convert_input_open(&in, path, &how, &err),
		       &err, EISDIR, VHD_WHY_NOT_FILE);
	rmdir(path);
	assert_refused(convert_input_open(&in, path, &how, &err),
		       &err, ENOENT, VHD_WHY_SYSTEM);
	assert_int_equal(mkfifo(path, 0600), 0);
	assert_refused(convert_input_open(&in, path, &how, &err),
		       &err, EINVAL, VHD_WHY_NOT_FILE);
}

#define T(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(extents_skip_holes_and_stop_at_units),
		T(extents_of_an_all_hole_disk_are_none),
		T(extents_end_with_the_disk_not_with_the_grain),
		T(output_has_no_name_until_published),
		T(output_that_is_closed_unpublished_is_gone),
		T(output_refuses_what_exists_unless_forced),
		T(output_does_not_replace_what_appeared_meanwhile),
		T(output_refuses_its_source_under_any_name),
		T(output_goes_where_a_symbolic_link_leads),
		T(random_disks_arrive_whole_in_every_format),
		T(zero_grains_are_not_written),
		T(the_same_source_gives_the_same_layout),
		T(verify_finds_the_first_difference),
		T(a_shorter_disk_counts_as_zero_behind_its_end),
		T(input_refuses_what_is_no_image_file),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: BSD-2-Clause */
/* vhd/stream.c: an image front to back is, byte for byte, the file that the
 * library makes in place.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "tests/lib/cm.h"
#include "tests/lib/memfile.h"
#include "tests/lib/random.h"
#include "vhd/alloc.h"
#include "vhd/image.h"

#define KIB 1024u
#define MIB (1ull << 20)
#define GIB (1ull << 30)

static struct vhd_create_opts opts(enum vhd_format format, uint64_t size,
				   uint32_t block)
{
	return (struct vhd_create_opts){
		.format = format,
		.size_bytes = size,
		.block_size_bytes = block,
		.unique_id = { 1, 2, 3 },
		.now_unix_s = 1700000000,
	};
}

static bool used_at(const uint8_t *used, uint64_t b)
{
	return used[b / 8] >> b % 8 & 1;
}

/* A sector at a place of its own in each block in use; in order. */
static struct memfile *in_place(const struct vhd_create_opts *o,
				const uint8_t *used, uint8_t *disk,
				uint64_t *seed)
{
	struct memfile *m = memfile_create();
	struct vhd_file f = memfile_file(m);
	uint64_t block = o->format == VHD_FORMAT_DYNAMIC ? o->block_size_bytes
							 : 64 * KIB;
	struct vhd *img;

	assert_int_equal(vhd_create_file(&f, o, &img, NULL), 0);
	for (uint64_t at = 0; at < o->size_bytes; at += block) {
		uint64_t left = (o->size_bytes - at) / 512;
		uint64_t in = random_below(seed, left < block / 512
							 ? left
							 : block / 512);

		if (!used_at(used, at / block))
			continue;
		memset(disk + at + in * 512, (int)(at / block % 250) + 1, 512);
		assert_int_equal(vhd_write(img, at + in * 512,
					   disk + at + in * 512, 512, NULL),
				 0);
	}
	assert_int_equal(vhd_close(img, NULL), 0);
	return m;
}

/* The same by the stream, metadata in pieces of any size. */
static void front_to_back(const struct vhd_stream *s, const uint8_t *disk,
			  uint8_t *out, uint64_t *seed)
{
	struct vhd_stream_run run;
	uint64_t off = 0;

	for (;;) {
		uint64_t n;

		vhd_stream_at(s, off, &run);
		if (!run.len_bytes)
			break;
		n = 1 + random_below(seed, 6000);
		if (n > run.len_bytes)
			n = run.len_bytes;
		if (run.kind == VHD_STREAM_META)
			vhd_stream_meta(s, off, out + off, n);
		else
			memcpy(out + off, disk + run.disk_bytes, n);
		off += n;
	}
	assert_int_equal(off, vhd_stream_bytes(s));
}

static void one(const struct vhd_create_opts *o, const uint8_t *used,
		uint64_t *seed)
{
	uint8_t *disk = calloc(1, o->size_bytes), *have, *want;
	struct vhd_err err = { 0 };
	struct vhd_stream *s;
	struct memfile *m;
	struct vhd_file f;
	uint64_t size;

	assert_non_null(disk);
	m = in_place(o, used, disk, seed);
	f = memfile_file(m);
	assert_int_equal(vhd_file_size(&f, &size, NULL), 0);
	if (vhd_stream_create(o, used, &s, &err))
		fail_msg("%s", err.text);
	assert_int_equal(vhd_stream_bytes(s), size);
	have = malloc(size);
	want = malloc(size);
	assert_non_null(have);
	assert_non_null(want);
	assert_int_equal(vhd_file_read(&f, want, size, 0, NULL), 0);
	front_to_back(s, disk, have, seed);
	assert_memory_equal(have, want, size);
	vhd_stream_destroy(s);
	memfile_destroy(m);
	free(have);
	free(want);
	free(disk);
}

static void streams_are_the_files_made_in_place(void **state)
{
	static const uint32_t blocks[] = { 4096, 64 * KIB, 512 * KIB, 2 << 20 };
	uint64_t seed = random_seed();

	(void)state;
	for (unsigned i = 0; i < 120; i++) {
		enum vhd_format format = VHD_FORMAT_RAW + i % 3;
		uint32_t block = blocks[i / 3 % 4];
		uint64_t sectors = 1 + random_below(&seed, 4 * MIB / 512);
		struct vhd_create_opts o = opts(
			format, sectors * 512,
			format == VHD_FORMAT_DYNAMIC ? block : 0);
		uint8_t used[129] = { 0 };
		unsigned density = (unsigned)random_below(&seed, 5);

		for (uint64_t b = 0; b < 1024 && density; b++)
			if (random_below(&seed, density) == 0)
				used[b / 8] |= (uint8_t)(1u << b % 8);
		one(&o, used, &seed);
	}
}

static void an_empty_disk_is_its_metadata(void **state)
{
	uint64_t seed = 1;
	struct vhd_create_opts o = opts(VHD_FORMAT_DYNAMIC, 127 * MIB, 2 << 20);
	uint8_t used[8] = { 0 };

	(void)state;
	one(&o, used, &seed);
}

/* The file length limit is 2^32 sectors: 2040 GiB of 2 MiB blocks fit with
 * their bitmaps and gaps or they do not; nothing wraps.
 */
static void the_reach_of_the_table_is_kept(void **state)
{
	uint64_t size = 2040 * GIB;
	struct vhd_create_opts o = opts(VHD_FORMAT_DYNAMIC, size, 512 * KIB);
	uint64_t blocks = size / (512 * KIB);
	uint8_t *used = malloc(blocks / 8);
	struct vhd_stream_run run;
	struct vhd_err err = { 0 };
	struct vhd_stream *s;

	(void)state;
	assert_non_null(used);
	memset(used, 0xff, blocks / 8);
	assert_int_equal(vhd_stream_create(&o, used, &s, &err), -EFBIG);
	assert_int_equal(err.why, VHD_WHY_NO_SPACE);
	memset(used, 0, blocks / 8);
	used[blocks / 8 - 1] = 0x80;
	assert_int_equal(vhd_stream_create(&o, used, &s, &err), 0);
	vhd_stream_at(s, vhd_stream_bytes(s) - 512 * KIB - 4096, &run);
	assert_int_equal(run.kind, VHD_STREAM_DATA);
	assert_int_equal(run.disk_bytes, size - 512 * KIB);
	vhd_stream_at(s, vhd_stream_bytes(s), &run);
	assert_int_equal(run.len_bytes, 0);
	vhd_stream_destroy(s);
	free(used);
}

static void options_are_those_of_a_file(void **state)
{
	uint8_t used[1] = { 0 };
	struct vhd_create_opts bad[] = {
		opts(VHD_FORMAT_RAW, 0, 0),
		opts(VHD_FORMAT_FIXED, 513, 0),
		opts(VHD_FORMAT_DYNAMIC, 2041 * GIB, 0),
		opts(VHD_FORMAT_DYNAMIC, MIB, 5000),
		opts(VHD_FORMAT_DIFF, MIB, 0),
		opts(VHD_FORMAT_AUTO, MIB, 0),
	};
	struct vhd_stream *s;

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_int_equal(vhd_stream_create(&bad[i], used, &s, NULL),
				 -EINVAL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(streams_are_the_files_made_in_place),
		cmocka_unit_test(an_empty_disk_is_its_metadata),
		cmocka_unit_test(the_reach_of_the_table_is_kept),
		cmocka_unit_test(options_are_those_of_a_file),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

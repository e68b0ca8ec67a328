/* SPDX-License-Identifier: BSD-2-Clause */
/* tools/convert/{feed,stream,bytes,gzip,serial}.c: what comes and goes as one
 * sequence of bytes, against zlib's own gzip files and flat arrays.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <zlib.h>

#include "tests/lib/cm.h"
#include "tests/lib/random.h"
#include "tools/convert/serial.h"
#include "tools/convert/stream.h"

#define UNIT CONVERT_UNIT_BYTES

static int memory_file(const void *bytes, size_t len)
{
	int fd = memfd_create("test", MFD_CLOEXEC);

	assert_true(fd >= 0);
	assert_int_equal(pwrite(fd, bytes, len, 0), len);
	return fd;
}

static void job_open(struct convert_job *job)
{
	*job = (struct convert_job){ .src = "src", .dst = "dst",
				     .signal_fd = -1 };
	assert_int_equal(convert_job_init(job, VHD_ENGINE_SYNC, NULL), 0);
}

static void noise(uint8_t *buf, size_t len, uint64_t *seed)
{
	for (size_t i = 0; i < len; i++)
		buf[i] = (uint8_t)random_below(seed, i / 4096 % 3 ? 4 : 256);
}

/* ------------------------------------------------------------------ gzip -- */

static void crcs_of_parts_join_to_that_of_the_whole(void **state)
{
	static const uint64_t zeros[] = { 0, 1, 2, 511, 512, 65535, 1000003 };
	uint64_t seed = random_seed();
	uint8_t *buf = calloc(1, 1 << 20);

	(void)state;
	assert_non_null(buf);
	for (size_t i = 0; i < sizeof(zeros) / sizeof(zeros[0]); i++)
		assert_int_equal(convert_crc_zeros(zeros[i]),
				 crc32_z(0, buf, zeros[i]));
	noise(buf, 1 << 20, &seed);
	for (unsigned i = 0; i < 50; i++) {
		size_t len = random_below(&seed, 1 << 20);
		size_t cut = random_below(&seed, len + 1);

		assert_int_equal(convert_crc_join(
					 convert_crc(buf, cut),
					 convert_crc(buf + cut, len - cut),
					 len - cut),
				 crc32_z(0, buf, len));
	}
	free(buf);
}

/* A gzip file of zlib's own making. */
static size_t packed(const uint8_t *in, size_t len, uint8_t *out, size_t room)
{
	z_stream z = { 0 };

	assert_int_equal(deflateInit2(&z, 6, Z_DEFLATED, 16 + 15, 8,
				      Z_DEFAULT_STRATEGY),
			 Z_OK);
	z.next_in = (Bytef *)(uintptr_t)in;
	z.avail_in = (uInt)len;
	z.next_out = out;
	z.avail_out = (uInt)room;
	assert_int_equal(deflate(&z, Z_FINISH), Z_STREAM_END);
	deflateEnd(&z);
	return room - z.avail_out;
}

static int64_t feed_all(const uint8_t *gz, size_t len, uint8_t *out,
			size_t room, size_t step, struct vhd_err *err)
{
	int fd = memory_file(gz, len);
	struct convert_feed *f = convert_feed_open(fd, -1);
	size_t done = 0;
	int64_t n = 0;

	assert_non_null(f);
	assert_int_equal(convert_feed_inflate(f, err), 0);
	while (done < room) {
		size_t want = room - done < step ? room - done : step;

		n = convert_feed_read(f, out + done, want, err);
		if (n < 0)
			break;
		done += (size_t)n;
		if ((size_t)n < want)
			break;
	}
	convert_feed_close(f);
	close(fd);
	return n < 0 ? n : (int64_t)done;
}

static void gzip_is_cut_nowhere_without_a_word(void **state)
{
	uint8_t in[3000], gz[4000], out[4000];
	uint64_t seed = random_seed();
	struct vhd_err err = { 0 };
	size_t len;

	(void)state;
	noise(in, sizeof(in), &seed);
	len = packed(in, sizeof(in), gz, sizeof(gz));
	for (size_t step = 1; step < 5000; step = step * 3 + 1) {
		assert_int_equal(feed_all(gz, len, out, sizeof(out), step,
					  &err),
				 sizeof(in));
		assert_memory_equal(in, out, sizeof(in));
	}
	for (size_t cut = 0; cut < len; cut++) {
		assert_int_equal(feed_all(gz, cut, out, sizeof(out), 777, &err),
				 -EUCLEAN);
		assert_int_equal(err.why, VHD_WHY_SHORT_IO);
		assert_int_equal(err.at_bytes, cut);
	}
}

/* Each bit of it: an error, or one that says nothing: in the header, or of the
 * padding between the last block and the trailer.
 */
static void damaged_gzip_never_gives_other_bytes(void **state)
{
	uint8_t in[600], gz[1000], out[1000];
	uint64_t seed = random_seed();
	size_t len, told = 0;

	(void)state;
	noise(in, sizeof(in), &seed);
	len = packed(in, sizeof(in), gz, sizeof(gz));
	for (size_t bit = 0; bit < len * 8; bit++) {
		struct vhd_err err = { 0 };
		int64_t n;

		gz[bit / 8] ^= (uint8_t)(1u << bit % 8);
		n = feed_all(gz, len, out, sizeof(out), 333, &err);
		gz[bit / 8] ^= (uint8_t)(1u << bit % 8);
		if (n < 0) {
			assert_int_equal(n, -EUCLEAN);
			told++;
			continue;
		}
		assert_int_equal(n, sizeof(in));
		assert_memory_equal(in, out, sizeof(in));
	}
	assert_true(told >= (len - 10) * 8 - 7);
}

static void members_and_padding_are_one_stream(void **state)
{
	uint8_t in[2000], gz[6000], out[6000];
	uint64_t seed = random_seed();
	struct vhd_err err = { 0 };
	size_t len;

	(void)state;
	noise(in, sizeof(in), &seed);
	len = packed(in, 1200, gz, sizeof(gz));
	len += packed(in + 1200, 0, gz + len, sizeof(gz) - len);
	len += packed(in + 1200, 800, gz + len, sizeof(gz) - len);
	memset(gz + len, 0, 600);
	for (size_t pad = 0; pad <= 600; pad += 200) {
		assert_int_equal(feed_all(gz, len + pad, out, sizeof(out), 99,
					  &err),
				 sizeof(in));
		assert_memory_equal(in, out, sizeof(in));
	}
}

/* ----------------------------------------------------------------- bytes -- */

static void put_all(struct convert_job *job, struct convert_bytes *b,
		    const uint8_t *bytes, uint64_t len)
{
	uint64_t done = 0;

	for (;;) {
		if (bytes)
			done += convert_bytes_put(b, bytes + done, len - done);
		else
			done += convert_bytes_zeros(b, len - done);
		if (done == len)
			return;
		assert_int_equal(convert_wait(job, NULL), 0);
		convert_bytes_turn(b);
		assert_int_equal(job->fault.code, 0);
	}
}

/* Bytes and zeros in random pieces, also whole runs, all at one level. */
static void one_level(int level, uint64_t *seed)
{
	const size_t size = 9 << 20;
	uint8_t *model = calloc(1, size), *have = malloc(size + 1);
	int fd = memfd_create("out", MFD_CLOEXEC);
	struct convert_bytes *b;
	struct vhd_err err = { 0 };
	struct convert_job job;
	uint64_t at = 0;

	assert_true(fd >= 0 && model && have);
	job_open(&job);
	assert_int_equal(convert_bytes_open(&b, &job, fd, "dst", level, NULL),
			 0);
	while (at < size) {
		uint64_t n = random_below(seed, random_below(seed, 3) ? 70000
								      : size);

		if (n > size - at)
			n = size - at;
		if (random_below(seed, 2)) {
			put_all(&job, b, NULL, n);
		} else {
			noise(model + at, n, seed);
			put_all(&job, b, model + at, n);
		}
		at += n;
	}
	assert_int_equal(convert_bytes_end(b, &err), 0);
	convert_bytes_close(b);
	assert_int_equal(lseek(fd, 0, SEEK_SET), 0);
	if (level) {
		gzFile gz = gzdopen(dup(fd), "rb");

		assert_non_null(gz);
		assert_int_equal(gzread(gz, have, (unsigned)size + 1), size);
		assert_int_equal(gzclose(gz), Z_OK);
	} else {
		assert_int_equal(pread(fd, have, size + 1, 0), size);
	}
	assert_memory_equal(model, have, size);
	convert_job_fini(&job);
	close(fd);
	free(model);
	free(have);
}

static void bytes_come_out_as_they_went_in(void **state)
{
	static const int levels[] = { 0, 1, 6, 9 };
	uint64_t seed = random_seed();

	(void)state;
	for (unsigned i = 0; i < 12; i++)
		one_level(levels[i % 4], &seed);
}

static void a_full_disk_is_told_once(void **state)
{
	struct vhd_err err = { 0 };
	struct convert_bytes *b;
	struct convert_job job;
	int fd = open("/dev/full", O_WRONLY);

	(void)state;
	assert_true(fd >= 0);
	job_open(&job);
	assert_int_equal(convert_bytes_open(&b, &job, fd, "dst", 6, NULL), 0);
	(void)convert_bytes_zeros(b, 5 << 20);
	assert_int_equal(convert_bytes_end(b, &err), -ENOSPC);
	assert_int_equal(err.why, VHD_WHY_NO_SPACE);
	convert_bytes_close(b);
	convert_job_fini(&job);
	close(fd);
}

/* ---------------------------------------------------------------- source -- */

#define IOS 4u

struct reader {
	struct convert_source *src;
	struct convert_io io[IOS];
	uint8_t *buf;      /* of all of them */
	uint8_t *disk;     /* what came */
	uint64_t at;       /* asked for */
	unsigned busy;
	int result;
};

static void io_done(struct convert_io *io)
{
	struct reader *r = io->user;

	r->busy--;
	if (io->result)
		r->result = io->result;
	else
		memcpy(r->disk + io->off_bytes, io->buf, io->len_bytes);
	io->user = NULL; /* free */
}

static void ask(struct reader *r, bool *end)
{
	for (unsigned i = 0; i < IOS; i++) {
		uint64_t off = r->at, len = 0;

		if (r->io[i].user)
			continue;
		assert_int_equal(r->src->ops->next(r->src, UNIT, &off, &len,
						   NULL),
				 0);
		*end = !len;
		if (!len)
			return;
		assert_int_equal(off, r->at);
		r->io[i] = (struct convert_io){
			.off_bytes = off,
			.len_bytes = len,
			.buf = r->buf + (size_t)i * UNIT,
			.done = io_done,
			.user = r,
		};
		r->at += len;
		r->busy++;
		r->src->ops->read(r->src, &r->io[i]);
	}
}

/* The disk that a stream of these bytes holds: its size, or an error. */
static int64_t stream_read(const uint8_t *bytes, size_t len,
			   enum vhd_format from, uint64_t told, uint8_t *disk,
			   struct vhd_err *err)
{
	struct reader r = { .buf = malloc(IOS * UNIT), .disk = disk };
	int fd = memory_file(bytes, len);
	struct convert_stream_opts how = {
		.feed = convert_feed_open(fd, -1),
		.from = from,
		.size_bytes = told,
	};
	struct convert_stream *s;
	struct convert_job job;
	bool end = false;
	int64_t rc;

	job_open(&job);
	assert_non_null(r.buf);
	assert_int_equal(convert_stream_open(&s, &job, "src", &how, NULL), 0);
	r.src = convert_stream_source(s);
	while (!r.result && (!end || r.busy)) {
		ask(&r, &end);
		assert_int_equal(convert_wait(&job, NULL), 0);
		r.src->ops->turn(r.src);
	}
	*err = job.fault;
	rc = r.result ? r.result : (int64_t)r.src->size_bytes;
	convert_stream_close(s);
	convert_job_fini(&job);
	free(r.buf);
	close(fd);
	return rc;
}

/* Around the sector that is kept back and the pieces that are asked for. */
static const size_t sizes[] = { 512, 1024, 1536, UNIT - 512, UNIT, UNIT + 512,
				UNIT + 1024, 3 * UNIT - 512, 5 * UNIT,
				5 * UNIT + 512 };
#define SIZE_MAX_BYTES (6 * UNIT)

static size_t add_footer(uint8_t *image, uint64_t size)
{
	struct vhd_create_opts o = {
		.format = VHD_FORMAT_FIXED,
		.size_bytes = size,
		.unique_id = { 1 },
	};
	struct vhd_stream *plan;

	assert_int_equal(vhd_stream_create(&o, NULL, &plan, NULL), 0);
	vhd_stream_meta(plan, size, image + size, 512);
	vhd_stream_destroy(plan);
	return size + 512;
}

static void streams_are_the_disks_they_hold(void **state)
{
	uint8_t *in = malloc(SIZE_MAX_BYTES), *out = malloc(SIZE_MAX_BYTES);
	uint64_t seed = random_seed();
	struct vhd_err err;

	(void)state;
	assert_true(in && out);
	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		size_t n = sizes[i];

		noise(in, n, &seed);
		for (enum vhd_format f = VHD_FORMAT_AUTO; f <= VHD_FORMAT_RAW;
		     f++) {
			assert_int_equal(
				stream_read(in, n, f, CONVERT_SIZE_UNKNOWN,
					    out, &err),
				n);
			assert_memory_equal(in, out, n);
		}
		assert_int_equal(stream_read(in, n, VHD_FORMAT_RAW, n, out,
					     &err),
				 n);
		assert_memory_equal(in, out, n);
		add_footer(in, n);
		for (enum vhd_format f = VHD_FORMAT_AUTO;
		     f <= VHD_FORMAT_FIXED; f += VHD_FORMAT_FIXED) {
			assert_int_equal(
				stream_read(in, n + 512, f,
					    CONVERT_SIZE_UNKNOWN, out, &err),
				n);
			assert_memory_equal(in, out, n);
		}
		/* named raw it is a disk that ends in a footer */
		assert_int_equal(stream_read(in, n + 512, VHD_FORMAT_RAW,
					     CONVERT_SIZE_UNKNOWN, out, &err),
				 n + 512);
		assert_memory_equal(in, out, n + 512);
	}
	free(in);
	free(out);
}

static void streams_of_another_size_are_refused(void **state)
{
	uint8_t *in = calloc(1, SIZE_MAX_BYTES), *out = malloc(SIZE_MAX_BYTES);
	struct vhd_err err;

	(void)state;
	assert_true(in && out);
	in[0] = 1;
	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		size_t n = sizes[i];

		assert_int_equal(stream_read(in, n, VHD_FORMAT_RAW, n + 512,
					     out, &err),
				 -EINVAL);
		assert_int_equal(err.why, VHD_WHY_RANGE);
		assert_int_equal(stream_read(in, n + 1, VHD_FORMAT_RAW, n, out,
					     &err),
				 -EINVAL);
		assert_int_equal(err.why, VHD_WHY_RANGE);
		assert_int_equal(stream_read(in, n - 1, VHD_FORMAT_RAW,
					     CONVERT_SIZE_UNKNOWN, out, &err),
				 -EUCLEAN);
		assert_int_equal(err.why, VHD_WHY_SIZE_ALIGN);
		assert_true(stream_read(in, n, VHD_FORMAT_FIXED,
					CONVERT_SIZE_UNKNOWN, out, &err) < 0);
		/* a footer that is right, behind a disk that is cut */
		if (n < 1536)
			continue;
		add_footer(in, n);
		memmove(in + n - 1024, in + n, 512);
		assert_int_equal(stream_read(in, n - 512, VHD_FORMAT_AUTO,
					     CONVERT_SIZE_UNKNOWN, out, &err),
				 -EUCLEAN);
		assert_int_equal(err.why, VHD_WHY_FIXED_LENGTH);
		memset(in + n - 1024, 0, 2048);
	}
	assert_true(stream_read(in, 0, VHD_FORMAT_AUTO, CONVERT_SIZE_UNKNOWN,
				out, &err) < 0);
	free(in);
	free(out);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(crcs_of_parts_join_to_that_of_the_whole),
		cmocka_unit_test(gzip_is_cut_nowhere_without_a_word),
		cmocka_unit_test(damaged_gzip_never_gives_other_bytes),
		cmocka_unit_test(members_and_padding_are_one_stream),
		cmocka_unit_test(bytes_come_out_as_they_went_in),
		cmocka_unit_test(a_full_disk_is_told_once),
		cmocka_unit_test(streams_are_the_disks_they_hold),
		cmocka_unit_test(streams_of_another_size_are_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

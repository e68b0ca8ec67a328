/* SPDX-License-Identifier: BSD-2-Clause */
/* Bytes that come as a stream, gzip or plain: what the feed gives is what zlib
 * gives for each member, with the same verdict on damage, however it is read;
 * what a stream is taken for is what the library takes the same file for, and
 * its disk is that file's.
 *
 * An input:
 *   0      0x03: 0 the rest is the stream as it comes; 1 the rest is content
 *          that is compressed first, in members, and then damaged; 2, 3 as 0
 *          and 1 without compression (1 so becomes 3); 0x04 a fixed disk's
 *          footer is put behind the content; 0x08 as a raw disk, 0x10 as a
 *          fixed one, else it is to be found out; 0x20 its size is told
 *   1      bytes of each read, times 37, plus 1
 *   2      content of a member, times 64, plus 1
 *   3..4   where a byte of the stream is damaged (0: none), little-endian
 *   5      by which it is changed
 *   6      how often the content is repeated, plus 1
 *   7      bytes told less or more than there are, signed, in sectors
 *   8..    the stream, or the content
 */
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <zlib.h>

#include "tests/lib/fuzzin.h"
#include "tests/lib/memfile.h"
#include "tools/convert/stream.h"
#include "vhd/image.h"

#define CONTROL_BYTES 8u
#define CONTENT_MAX   (1u << 20)
#define PACKED_MAX    (CONTENT_MAX + (64u << 10))
#define UNIT	      CONVERT_UNIT_BYTES

static uint8_t content[CONTENT_MAX];
static uint8_t stream[PACKED_MAX];
static uint8_t want[CONTENT_MAX];
static uint8_t got[CONTENT_MAX];

/* ----------------------------------------------------------- the stream -- */

static size_t fill(const uint8_t *data, size_t size, unsigned times)
{
	size_t n = 0;

	for (unsigned i = 0; i < times && size; i++) {
		size_t part = size < CONTENT_MAX - 1024 - n
				      ? size
				      : CONTENT_MAX - 1024 - n;

		memcpy(content + n, data, part);
		n += part;
	}
	return n;
}

static size_t add_footer(size_t n)
{
	struct vhd_create_opts o = {.format = VHD_FORMAT_FIXED,
				    .unique_id = {1}};
	struct vhd_stream *plan;

	n = n / VHD_SECTOR_BYTES * VHD_SECTOR_BYTES;
	if (!n)
		return 0;
	o.size_bytes = n;
	must(vhd_stream_create(&o, NULL, &plan, NULL) == 0);
	vhd_stream_meta(plan, n, content + n, VHD_FOOTER_BYTES);
	vhd_stream_destroy(plan);
	return n + VHD_FOOTER_BYTES;
}

static size_t pack(size_t len, size_t member)
{
	size_t out = 0;

	for (size_t at = 0; at < len || !at; at += member) {
		size_t part = len - at < member ? len - at : member;
		z_stream z = {0};

		must(deflateInit2(&z, 1, Z_DEFLATED, 16 + 15, 8,
				  Z_DEFAULT_STRATEGY) == Z_OK);
		z.next_in = content + at;
		z.avail_in = (uInt)part;
		z.next_out = stream + out;
		z.avail_out = (uInt)(sizeof(stream) - out);
		if (deflate(&z, Z_FINISH) == Z_STREAM_END)
			out += z.total_out;
		deflateEnd(&z);
		if (out + 4096 > sizeof(stream))
			break;
	}
	return out;
}

/* ----------------------------------------------------------- as zlib does -- */

/* What the members hold; `*bad`: one is damaged or cut. `*over`: more than
 * there is room for. `*trailing`: bytes that are no member follow.
 */
static size_t reference(size_t len, bool *bad, bool *over, bool *trailing)
{
	size_t at = 0, n = 0;
	unsigned members = 0;

	*bad = *over = *trailing = false;
	for (;;) {
		z_stream z = {0};
		int rc;

		while (members && at < len && stream[at] == 0)
			at++;
		if (members && (len - at < 2 || stream[at] != 0x1f ||
				stream[at + 1] != 0x8b)) {
			*trailing = at < len;
			return n;
		}
		must(inflateInit2(&z, 16 + 15) == Z_OK);
		z.next_in = stream + at;
		z.avail_in = (uInt)(len - at);
		z.next_out = want + n;
		z.avail_out = (uInt)(sizeof(want) - n);
		rc = inflate(&z, Z_FINISH);
		at += z.total_in;
		n += z.total_out;
		*over = z.avail_out == 0;
		inflateEnd(&z);
		members++;
		*bad = rc != Z_STREAM_END;
		if (*bad || *over)
			return n;
	}
}

static int stream_file(size_t len)
{
	int fd = memfd_create("stream", MFD_CLOEXEC);

	must(fd >= 0 && pwrite(fd, stream, len, 0) == (ssize_t)len);
	return fd;
}

static void feed(size_t len, size_t step)
{
	int fd = stream_file(len);
	struct convert_feed *f = convert_feed_open(fd, -1);
	bool gzip, bad, over, trailing;
	struct vhd_err e = {0};
	size_t n = 0, have;
	int64_t rc = 0;

	must(f && convert_feed_is_gzip(f, &gzip, &e) == 0);
	must(gzip == (len >= 3 && stream[0] == 0x1f && stream[1] == 0x8b &&
		      stream[2] == 8));
	must(convert_feed_inflate(f, &e) == 0);
	have = reference(len, &bad, &over, &trailing);
	while (n + step <= sizeof(got)) {
		rc = convert_feed_read(f, got + n, step, &e);
		if (rc < 0)
			break;
		n += (size_t)rc;
		if ((size_t)rc < step)
			break;
	}
	if (rc < 0)
		must(bad && rc == -EUCLEAN && e.code == -EUCLEAN && e.text[0] &&
		     (e.why == VHD_WHY_PACKED || e.why == VHD_WHY_SHORT_IO));
	else if (!over && n + step <= sizeof(got))
		must(!bad && n == have &&
		     convert_feed_trailing(f) == trailing);
	must(memcmp(got, want, n < have ? n : have) == 0);
	convert_feed_close(f);
	close(fd);
}

/* -------------------------------------------------------------- a source -- */

struct ask {
	struct convert_io io;
	bool busy;
};

static void arrived(struct convert_io *io)
{
	((struct ask *)io->user)->busy = false;
}

/* The disk, into `got`: its size or an error. One piece at a time. */
static int64_t disk_read(struct convert_source *src, struct convert_job *job)
{
	static uint8_t unit[UNIT];
	uint64_t at = 0;

	for (;;) {
		struct ask a = {.io = {.off_bytes = at,
				       .buf = unit,
				       .done = arrived}};
		uint64_t len = 0;

		must(src->ops->next(src, UNIT, &at, &len, NULL) == 0);
		if (!len)
			return (int64_t)src->size_bytes;
		a.io.user = &a;
		a.io.off_bytes = at;
		a.io.len_bytes = len;
		a.busy = true;
		src->ops->read(src, &a.io);
		while (a.busy) {
			must(convert_wait(job, NULL) == 0);
			src->ops->turn(src);
		}
		if (a.io.result)
			return a.io.result;
		must(a.io.len_bytes <= len &&
		     at + a.io.len_bytes <= sizeof(got));
		memcpy(got + at, unit, a.io.len_bytes);
		at += a.io.len_bytes;
		if (a.io.len_bytes < len && src->size_bytes > at)
			must(false); /* short, but not the end */
	}
}

/* What the library takes the same file for. */
static int as_file(size_t len, enum vhd_format from, struct vhd_info *info,
		   struct vhd_err *e)
{
	struct vhd_open_opts o = {.format = from};
	struct memfile *m = memfile_create();
	struct vhd_file f;
	struct vhd *img;
	int rc;

	must(m != NULL && memfile_poke(m, stream, len, 0) == 0);
	f = memfile_file(m);
	rc = vhd_open_file(&f, &o, &img, e);
	if (!rc) {
		*info = *vhd_get_info(img);
		vhd_abandon(img);
	}
	memfile_destroy(m);
	return rc;
}

static void judge(const struct convert_stream *s, int64_t size, size_t len,
		  enum vhd_format from, const struct vhd_err *fault)
{
	struct vhd_info info;
	const char *why;
	struct vhd_err e;
	int rc = as_file(len, from, &info, &e);

	if (size < 0) {
		must(rc == size && e.why == fault->why);
		return;
	}
	must(rc == 0 && (uint64_t)size == info.size_bytes);
	must(convert_stream_verdict(s, &why) == info.format);
	must(memcmp(got, stream, (size_t)size) == 0);
}

static void source(size_t len, enum vhd_format from, uint64_t told)
{
	int fd = stream_file(len);
	struct convert_stream_opts how = {.feed = convert_feed_open(fd, -1),
					  .from = from,
					  .size_bytes = told};
	struct convert_job job = {.src = "src", .dst = "dst", .signal_fd = -1};
	struct convert_stream *s;
	int64_t size;

	must(how.feed != NULL);
	must(convert_job_init(&job, VHD_ENGINE_SYNC, NULL) == 0);
	must(convert_stream_open(&s, &job, "src", &how, NULL) == 0);
	size = disk_read(convert_stream_source(s), &job);
	if (told == CONVERT_SIZE_UNKNOWN) {
		judge(s, size, len, from, &job.fault);
	} else {
		must((size >= 0) == (told == len));
		must(size < 0 || (told == (uint64_t)size &&
				  memcmp(got, stream, len) == 0));
	}
	convert_stream_close(s);
	convert_job_fini(&job);
	close(fd);
}

/* Those that convert_from_stream() uses as they come. */
static void plain(const uint8_t *data, size_t len)
{
	enum vhd_format from = data[0] & 0x08	? VHD_FORMAT_RAW
			       : data[0] & 0x10 ? VHD_FORMAT_FIXED
						: VHD_FORMAT_AUTO;
	uint64_t told = CONVERT_SIZE_UNKNOWN;

	if (from != VHD_FORMAT_RAW && len >= 8 &&
	    memcmp(stream, "conectix", 8) == 0)
		return;
	if (data[0] & 0x20 && len / VHD_SECTOR_BYTES > 128) {
		from = VHD_FORMAT_RAW;
		told = len / VHD_SECTOR_BYTES;
		told = (told + (uint64_t)(int64_t)(int8_t)data[7]) *
		       VHD_SECTOR_BYTES;
		len = len / VHD_SECTOR_BYTES * VHD_SECTOR_BYTES;
	}
	source(len, from, told);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	size_t len, n, at;

	if (size < CONTROL_BYTES)
		return 0;
	n = fill(data + CONTROL_BYTES, size - CONTROL_BYTES, data[6] + 1u);
	if (data[0] & 0x04)
		n = add_footer(n);
	if (data[0] % 4 == 1) {
		len = pack(n, data[2] * 64u + 1);
	} else {
		memcpy(stream, content, n);
		len = n;
	}
	at = (size_t)little(data + 3, 2);
	if (at && at <= len)
		stream[len - at] ^= data[5];
	if (data[0] & 0x02)
		plain(data, len);
	else
		feed(len, data[1] * 37u + 1);
	return 0;
}

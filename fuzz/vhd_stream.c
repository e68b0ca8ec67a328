/* SPDX-License-Identifier: BSD-2-Clause */
/* An image front to back, of any options and any map of blocks in use: where
 * the options are refused, creating a file refuses them for the same reason;
 * where the disk is small, the bytes are those of the file made in place, in
 * whatever pieces they are asked for; where it is large, the runs still cover
 * the file without a gap and name each block once.
 *
 * An input:
 *   0      format, modulo 5; 0x40 with a batmap
 *   1..8   size in bytes; 0x80 of byte 0: in sectors, modulo SMALL_SECTORS
 *   9      block size: 1 << modulo 32, or (0x80) that much and 512 more
 *   10     pieces: 1 + this * 7 bytes of metadata at a time
 *   11     density: block b of the map is in use if bit b of the rest, which
 *          repeats, is set; 0: none
 *   12..   that map
 */
#include <stdlib.h>
#include <string.h>

#include "tests/lib/fuzzin.h"
#include "tests/lib/memfile.h"
#include "vhd/image.h"

#define SMALL_SECTORS 2048u
#define SMALL_FILE    (4u << 20)
#define BLOCKS_MAX    (1u << 16)
#define RUNS_MAX      4096u

static uint8_t disk[SMALL_SECTORS * VHD_SECTOR_BYTES];
static uint8_t used[BLOCKS_MAX / 8];

static bool in_use(uint64_t b)
{
	return used[b / 8] >> b % 8 & 1;
}

static uint64_t block_of(const struct vhd_create_opts *o)
{
	return o->block_size_bytes ? o->block_size_bytes : 2u << 20;
}

static void take_opts(struct input *in, struct vhd_create_opts *o)
{
	uint8_t kind = (uint8_t)take(in, 1), shift;

	*o = (struct vhd_create_opts){
		.format = (enum vhd_format)(kind % 5),
		.unique_id = {1, 2, 3},
		.now_unix_s = 1700000000,
		.batmap = kind & 0x40,
	};
	o->size_bytes = take(in, 8);
	if (kind & 0x80)
		o->size_bytes = (1 + o->size_bytes % SMALL_SECTORS) *
				VHD_SECTOR_BYTES;
	shift = (uint8_t)take(in, 1);
	if (o->format == VHD_FORMAT_DYNAMIC && shift)
		o->block_size_bytes = (1u << shift % 32) +
				      (shift & 0x80 ? VHD_SECTOR_BYTES : 0);
}

static void take_map(struct input *in, bool any)
{
	memset(used, 0, sizeof(used));
	for (size_t i = 0; any && i < sizeof(used) && in->left; i++)
		used[i] = in->at[i % in->left];
}

/* ----------------------------------------------------------- in place --- */

/* Each block in use gets its own byte, whole; blocks in order. */
static struct memfile *in_place(const struct vhd_create_opts *o)
{
	struct memfile *m = memfile_create();
	struct vhd_file f;
	uint64_t block = o->format == VHD_FORMAT_DYNAMIC ? block_of(o)
							 : o->size_bytes;
	struct vhd *img;

	must(m != NULL);
	f = memfile_file(m);
	must(vhd_create_file(&f, o, &img, NULL) == 0);
	memset(disk, 0, sizeof(disk));
	for (uint64_t at = 0; at < o->size_bytes; at += block) {
		uint64_t n = o->size_bytes - at < block ? o->size_bytes - at
							: block;

		if (!in_use(at / block))
			continue;
		memset(disk + at, (int)(at / block % 250) + 1, n);
		must(vhd_write(img, at, disk + at, n, NULL) == 0);
	}
	must(vhd_close(img, NULL) == 0);
	return m;
}

static void compare(const struct vhd_stream *s, struct memfile *m,
		    uint64_t piece)
{
	static uint8_t want[SMALL_FILE], got[2048];
	struct vhd_stream_run run;
	uint64_t off = 0, len = memfile_len(m);

	must(len <= sizeof(want) && vhd_stream_bytes(s) == len);
	memfile_peek(m, want, len, 0);
	for (vhd_stream_at(s, 0, &run); run.len_bytes;
	     vhd_stream_at(s, off, &run)) {
		uint64_t n = run.len_bytes < piece ? run.len_bytes : piece;

		if (run.kind == VHD_STREAM_META) {
			vhd_stream_meta(s, off, got, n);
			must(memcmp(got, want + off, n) == 0);
		} else {
			n = run.len_bytes;
			must(memcmp(disk + run.disk_bytes, want + off, n) ==
			     0);
		}
		off += n;
	}
	must(off == len);
}

/* ---------------------------------------------------------------- large -- */

/* Runs follow each other; the disk's parts ascend and are those in use. */
static void walk(const struct vhd_stream *s, const struct vhd_create_opts *o)
{
	uint64_t off = 0, next = 0;

	for (unsigned i = 0; i < RUNS_MAX; i++) {
		struct vhd_stream_run run;
		uint8_t b[64];

		vhd_stream_at(s, off, &run);
		if (!run.len_bytes) {
			must(off == vhd_stream_bytes(s));
			return;
		}
		must(run.len_bytes <= vhd_stream_bytes(s) - off);
		if (run.kind == VHD_STREAM_META) {
			size_t n = run.len_bytes < sizeof(b)
					   ? (size_t)run.len_bytes
					   : sizeof(b);

			vhd_stream_meta(s, off + run.len_bytes - n, b, n);
		} else {
			must(run.disk_bytes >= next &&
			     run.disk_bytes < o->size_bytes &&
			     run.len_bytes <= o->size_bytes - run.disk_bytes);
			if (o->format == VHD_FORMAT_DYNAMIC)
				must(in_use(run.disk_bytes / block_of(o)));
			next = run.disk_bytes + run.len_bytes;
		}
		off += run.len_bytes;
	}
}

/* A refusal is that of vhd_create_file, but for what only streams refuse. */
static void refused(const struct vhd_create_opts *o, int rc,
		    const struct vhd_err *e)
{
	struct memfile *m = memfile_create();
	struct vhd_file f;
	struct vhd *img;
	struct vhd_err why;

	must(m != NULL && rc == e->code && e->why != VHD_WHY_NONE &&
	     e->text[0]);
	f = memfile_file(m);
	if (e->why != VHD_WHY_UNSUPPORTED && e->why != VHD_WHY_NO_SPACE &&
	    o->format != VHD_FORMAT_DIFF) {
		must(vhd_create_file(&f, o, &img, &why) == rc);
		must(why.why == e->why);
	}
	memfile_destroy(m);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct input in = {data, size};
	struct vhd_create_opts o;
	struct vhd_stream *s;
	struct vhd_err e;
	uint64_t piece;
	int rc;

	take_opts(&in, &o);
	piece = 1 + take(&in, 1) * 7;
	take_map(&in, take(&in, 1) != 0);
	/* The map is the caller's to make large enough. */
	if (o.format == VHD_FORMAT_DYNAMIC &&
	    o.size_bytes / block_of(&o) >= BLOCKS_MAX)
		return 0;
	rc = vhd_stream_create(&o, used, &s, &e);
	if (rc) {
		refused(&o, rc, &e);
		return 0;
	}
	if (o.size_bytes <= sizeof(disk) && vhd_stream_bytes(s) <= SMALL_FILE) {
		struct memfile *m = in_place(&o);

		compare(s, m, piece);
		memfile_destroy(m);
	} else {
		walk(s, &o);
	}
	vhd_stream_destroy(s);
	return 0;
}

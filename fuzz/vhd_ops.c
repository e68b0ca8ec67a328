/* SPDX-License-Identifier: BSD-2-Clause */
/* A sound image, raw, fixed or dynamic, and a list of operations, against a
 * flat array: written, read, zeroed, given places, flushed, closed, dropped
 * after a flush, resized, compacted in place and into another file. At each
 * opening and at the end all of it is compared; at the end the independent
 * reader judges the file, too, and `check` must find nothing wrong with it.
 *
 * An input:
 *   0      format: modulo 3 of `formats`; 0x40 the medium cannot zero; 0x80 it
 *          moves 100 bytes at a time
 *   1..2   size in sectors, less one (modulo SECTORS_MAX)
 *   3      block size, of `blocks`
 *   4..    operations of one byte and their operands; `act` is the list
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "tests/lib/fuzzin.h"
#include "tests/lib/memfile.h"
#include "tests/lib/oracle.h"
#include "vhd/check.h"
#include "vhd/compact_int.h"
#include "vhd/resize.h"

#define CONTROL_BYTES 4u
#define SECTORS_MAX   1024u
#define RUN_MAX	      256u /* sectors of one operation */
#define ACTIONS_MAX   200u
#define FLAG_NO_ZERO  0x40
#define FLAG_SHORT    0x80

struct world {
	struct memfile *m;
	struct vhd *img;
	enum vhd_format format;
	uint64_t sectors;
	uint8_t how;
	uint8_t model[SECTORS_MAX * VHD_SECTOR_BYTES];
};

static const enum vhd_format formats[] = {VHD_FORMAT_DYNAMIC, VHD_FORMAT_FIXED,
					  VHD_FORMAT_RAW};
static const uint32_t blocks[] = {4096, 8192, 65536, 32768};

static uint8_t *at(struct world *w, uint64_t lba)
{
	return w->model + lba * VHD_SECTOR_BYTES;
}

static void medium(const struct world *w, struct memfile *m)
{
	memfile_set_no_zero(m, w->how & FLAG_NO_ZERO);
	memfile_set_chunk(m, w->how & FLAG_SHORT ? 100 : 0);
}

/* ------------------------------------------------------------- compare -- */

static void compare(struct world *w, uint64_t lba, uint64_t n)
{
	static uint8_t got[sizeof(w->model)];

	memset(got, 0xee, n * VHD_SECTOR_BYTES);
	must(vhd_read(w->img, lba * VHD_SECTOR_BYTES, got, n * VHD_SECTOR_BYTES,
		      NULL) == 0);
	must(memcmp(got, at(w, lba), n * VHD_SECTOR_BYTES) == 0);
}

/* The map says what is zero, and where the rest lies in the file. */
static void compare_map(struct world *w)
{
	static const uint8_t zero[VHD_SECTOR_BYTES];
	uint8_t got[VHD_SECTOR_BYTES];
	struct vhd_run r;

	for (uint64_t lba = 0; lba < w->sectors; lba += r.sectors) {
		must(vhd_map(w->img, lba, w->sectors - lba, &r, NULL) == 0);
		must(r.sectors >= 1 && r.sectors <= w->sectors - lba);
		must(r.kind != VHD_RUN_PARENT);
		for (uint64_t i = 0; i < r.sectors; i++) {
			if (r.kind == VHD_RUN_FILE)
				memfile_peek(w->m, got, sizeof(got),
					     r.off_bytes +
						     i * VHD_SECTOR_BYTES);
			must(memcmp(r.kind == VHD_RUN_FILE ? got : zero,
				    at(w, lba + i), VHD_SECTOR_BYTES) == 0);
		}
	}
}

static void open_again(struct world *w)
{
	struct vhd_open_opts o = {.format = w->format, .writable = true};
	struct vhd_file f = memfile_file(w->m);
	const struct vhd_info *info;

	must(vhd_open_file(&f, &o, &w->img, NULL) == 0);
	info = vhd_get_info(w->img);
	must(info->size_bytes == w->sectors * VHD_SECTOR_BYTES);
	must(!(info->notes & (VHD_NOTE_DIRTY | VHD_NOTE_TABLE_EXTRA |
			      VHD_NOTE_RESIZE_CUT | VHD_NOTE_FOOTERS_DIFFER)));
	compare(w, 0, w->sectors);
}

/* --------------------------------------------------------- operations ---- */

static uint64_t range(struct world *w, struct input *in, uint64_t *n)
{
	uint64_t lba = take(in, 2) % w->sectors;

	*n = 1 + take(in, 1) % RUN_MAX;
	if (*n > w->sectors - lba)
		*n = w->sectors - lba;
	return lba;
}

/* Each sector gets bytes of its own; value 0 is all zero. */
static void write_some(struct world *w, struct input *in)
{
	uint64_t n, lba = range(w, in, &n);
	uint8_t value = (uint8_t)take(in, 1);

	for (uint64_t i = 0; i < n; i++) {
		memset(at(w, lba + i), value, VHD_SECTOR_BYTES);
		if (value)
			*at(w, lba + i) = (uint8_t)(lba + i);
	}
	must(vhd_write(w->img, lba * VHD_SECTOR_BYTES, at(w, lba),
		       n * VHD_SECTOR_BYTES, NULL) == 0);
}

static void zero_some(struct world *w, struct input *in)
{
	uint64_t n, done, lba = range(w, in, &n);
	struct vhd_err e;

	for (; n > 0; lba += done, n -= done) {
		int rc;

		done = 0;
		rc = vhd_zero(w->img, lba, n, &done, &e);
		must(rc == 0 ||
		     (rc == -EOPNOTSUPP && e.why == VHD_WHY_UNSUPPORTED));
		must(done >= 1 && done <= n);
		if (rc == 0)
			memset(at(w, lba), 0, done * VHD_SECTOR_BYTES);
	}
}

static void place_some(struct world *w, struct input *in)
{
	uint64_t n, lba = range(w, in, &n);
	struct vhd_run r;

	must(vhd_place(w->img, lba, n, &r, NULL) == 0);
	must(r.kind == VHD_RUN_FILE && r.sectors >= 1 && r.sectors <= n);
	compare(w, lba, r.sectors);
}

/* What does not lie on the disk is refused and changes nothing. */
static void beyond(struct world *w, struct input *in)
{
	uint64_t how = take(in, 1), n = 1 + how % 4, done;
	uint64_t lba = w->sectors + 1 - n + (how >> 2 & 3);
	uint8_t b[4 * VHD_SECTOR_BYTES] = {1};
	struct vhd_run r;

	if (how & 0x80)
		lba = (1ull << 55) - 1;
	must(vhd_write(w->img, lba * VHD_SECTOR_BYTES, b, n * VHD_SECTOR_BYTES,
		       NULL) == -EINVAL);
	must(vhd_read(w->img, lba * VHD_SECTOR_BYTES, b, n * VHD_SECTOR_BYTES,
		      NULL) == -EINVAL);
	must(vhd_zero(w->img, lba, n, &done, NULL) == -EINVAL);
	must(vhd_place(w->img, lba, n, &r, NULL) == -EINVAL);
	must(vhd_map(w->img, w->sectors, n, &r, NULL) == -EINVAL);
}

static void resize(struct world *w, struct input *in)
{
	uint64_t sectors = 1 + take(in, 2) % SECTORS_MAX;
	struct vhd_resize_opts o = {.format = w->format,
				    .size_bytes = sectors * VHD_SECTOR_BYTES,
				    .write = true,
				    .shrink = true,
				    .force = true};
	struct vhd_file f = memfile_file(w->m);

	if (w->format == VHD_FORMAT_RAW)
		return;
	must(vhd_close(w->img, NULL) == 0);
	must(vhd_resize_file(&f, &o, NULL, NULL) == 0);
	if (sectors < w->sectors)
		memset(at(w, sectors), 0,
		       (w->sectors - sectors) * VHD_SECTOR_BYTES);
	w->sectors = sectors;
	open_again(w);
}

static void compact(struct world *w, bool into_other)
{
	struct vhd_compact_opts o = {
		.format = w->format, .write = true, .punch = true};
	struct vhd_file f = memfile_file(w->m), g;
	uint64_t before;
	struct memfile *out;

	if (w->format == VHD_FORMAT_RAW ||
	    (into_other && w->format == VHD_FORMAT_FIXED))
		return;
	must(vhd_close(w->img, NULL) == 0);
	before = memfile_len(w->m);
	if (into_other) {
		out = memfile_create();
		must(out != NULL);
		medium(w, out);
		g = memfile_file(out);
		must(vhd_compact_to_file(&f, &g, &o, NULL, NULL) == 0);
		memfile_destroy(w->m);
		w->m = out;
	} else {
		must(vhd_compact_file(&f, &o, NULL, NULL) == 0);
		must(memfile_len(w->m) <= before);
	}
	open_again(w);
}

/* Everything flushed is there although nothing is tidied up. */
static void drop(struct world *w)
{
	struct vhd_file f = memfile_file(w->m);
	struct vhd_open_opts o = {.format = w->format, .writable = true};

	must(vhd_flush(w->img, NULL) == 0);
	vhd_abandon(w->img);
	must(vhd_open_file(&f, &o, &w->img, NULL) == 0);
	compare(w, 0, w->sectors);
}

static void act(struct world *w, struct input *in)
{
	uint64_t n, lba;

	switch (take(in, 1) % 14) {
	case 0:
	case 1:
	case 2:
		write_some(w, in);
		break;
	case 3:
		lba = range(w, in, &n);
		compare(w, lba, n);
		break;
	case 4:
	case 5:
		zero_some(w, in);
		break;
	case 6:
		must(vhd_flush(w->img, NULL) == 0);
		break;
	case 7:
		must(vhd_close(w->img, NULL) == 0);
		open_again(w);
		break;
	case 8:
		resize(w, in);
		break;
	case 9:
		compact(w, false);
		break;
	case 10:
		compact(w, true);
		break;
	case 11:
		drop(w);
		break;
	case 12:
		place_some(w, in);
		break;
	default:
		beyond(w, in);
		compare_map(w);
	}
}

/* ------------------------------------------------------------ the judges -- */

static void judge(struct world *w)
{
	struct vhd_check_opts o = {.format = w->format, .data = true};
	uint64_t len = memfile_len(w->m);
	struct vhd_file f = memfile_file(w->m);
	uint8_t *bytes = malloc(len), b[VHD_SECTOR_BYTES];
	struct vhd_check_result r;
	struct oracle judge;

	must(bytes != NULL);
	memfile_peek(w->m, bytes, len, 0);
	must(oracle_open(&judge, bytes, len) && oracle_check(&judge));
	must(judge.footer_end_ok &&
	     judge.size == w->sectors * VHD_SECTOR_BYTES);
	for (uint64_t lba = 0; lba < w->sectors; lba++) {
		must(oracle_sector(&judge, lba, b));
		must(memcmp(b, at(w, lba), sizeof(b)) == 0);
	}
	free(bytes);
	must(vhd_check_file(&f, &o, &r, NULL) == 0);
	must(r.severity_count[VHD_SEVERITY_ERROR] == 0);
}

static void create(struct world *w, const uint8_t *data)
{
	struct vhd_create_opts o = {.format = formats[data[0] % 3],
				    .unique_id = {1}};
	struct vhd_file f;

	w->how = data[0];
	w->format = o.format;
	w->sectors = 1 + (data[1] | (uint64_t)data[2] << 8) % SECTORS_MAX;
	o.size_bytes = w->sectors * VHD_SECTOR_BYTES;
	if (o.format == VHD_FORMAT_DYNAMIC)
		o.block_size_bytes = blocks[data[3] % 4];
	w->m = memfile_create();
	must(w->m != NULL);
	medium(w, w->m);
	f = memfile_file(w->m);
	must(vhd_create_file(&f, &o, &w->img, NULL) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct input in = {data + CONTROL_BYTES, size - CONTROL_BYTES};
	static struct world w;

	if (size < CONTROL_BYTES)
		return 0;
	memset(&w, 0, sizeof(w));
	create(&w, data);
	for (unsigned i = 0; i < ACTIONS_MAX && in.left > 0; i++)
		act(&w, &in);
	must(vhd_close(w.img, NULL) == 0);
	if (w.format != VHD_FORMAT_RAW)
		judge(&w);
	open_again(&w);
	compare_map(&w);
	vhd_abandon(w.img);
	memfile_destroy(w.m);
	return 0;
}

/* SPDX-License-Identifier: BSD-2-Clause */
/* An image that wants to do harm, resized, compacted and compacted into
 * another file, its partition table moved: whatever is refused leaves the disk
 * as it was, whatever is done keeps what it must keep.
 *
 * An input is that of fuzz/vhd_repair.c; of its unused bytes
 *   2      flags: 1 no resize, 2 with force, 4 no compaction, 8 move the GPT
 *   3..4   the new size in sectors, little-endian
 */
#include <stdlib.h>
#include <string.h>

#include "tests/lib/fuzzimg.h"
#include "tools/verb/gpt.h"
#include "vhd/checked.h"
#include "vhd/compact_int.h"
#include "vhd/resize.h"


#define DATA_BYTES_MAX (256u << 10)
#define FILE_BYTES_MAX (4u << 20)

/* The disk as it reads, or NULL where it cannot be opened. */
static uint8_t *content(struct memfile *m, uint64_t *size)
{
	struct vhd_open_opts o = {0};
	struct vhd_file f = memfile_file(m);
	struct vhd *img;
	uint8_t *b;

	if (vhd_open_file(&f, &o, &img, NULL))
		return NULL;
	*size = vhd_get_info(img)->size_bytes;
	b = malloc(*size < DATA_BYTES_MAX ? *size : DATA_BYTES_MAX);
	must(b != NULL);
	must(vhd_read(img, 0, b,
		      *size < DATA_BYTES_MAX ? *size : DATA_BYTES_MAX,
		      NULL) == 0);
	vhd_abandon(img);
	return b;
}

/* The disk reads as `was` as far as both go, and behind that as zero. */
static void holds(struct memfile *m, const uint8_t *was, uint64_t was_size,
		  uint64_t size)
{
	uint64_t have = 0, both = size < was_size ? size : was_size;
	uint8_t *b = content(m, &have);

	must(b != NULL && have == size);
	if (both > DATA_BYTES_MAX)
		both = DATA_BYTES_MAX;
	must(memcmp(b, was, both) == 0);
	for (uint64_t i = both; i < size && i < DATA_BYTES_MAX; i++)
		must(b[i] == 0);
	free(b);
}

static bool told(int rc, const struct vhd_err *e)
{
	must(rc == 0 ||
	     (rc == e->code && e->why != VHD_WHY_NONE && e->text[0]));
	return rc == 0;
}

static uint64_t resize(struct memfile *m, const uint8_t *data,
		       const uint8_t *was, uint64_t size)
{
	struct vhd_resize_opts o = {
		.size_bytes = little(data + 3, 2) * VHD_SECTOR_BYTES,
		.write = true,
		.shrink = true,
		.force = data[2] & 2,
	};
	struct vhd_file f = memfile_file(m);
	struct vhd_err e;

	if (told(vhd_resize_file(&f, &o, NULL, &e), &e)) {
		holds(m, was, size, o.size_bytes);
		return o.size_bytes;
	}
	holds(m, was, size, size);
	return size;
}

static void compact(struct memfile *m, const uint8_t *was, uint64_t was_size,
		    uint64_t size)
{
	struct vhd_compact_opts o = {.write = true, .punch = true};
	struct memfile *out = memfile_create();
	struct vhd_file f = memfile_file(m), g;
	struct vhd_compact_result r;
	struct vhd_err e;

	must(out != NULL);
	g = memfile_file(out);
	if (told(vhd_compact_to_file(&f, &g, &o, &r, &e), &e)) {
		must(memfile_len(out) == r.new_file_bytes);
		holds(out, was, was_size, size);
	}
	memfile_destroy(out);
	if (told(vhd_compact_file(&f, &o, &r, &e), &e))
		must(r.new_file_bytes == memfile_len(m));
	holds(m, was, was_size, size);
}

static void move_table(struct memfile *m, uint64_t size)
{
	struct vhd_open_opts o = {.writable = true};
	struct vhd_file f = memfile_file(m);
	uint64_t sectors = size / VHD_SECTOR_BYTES;
	struct vhd *img;
	struct vhd_err e;
	struct gpt g;

	if (vhd_open_file(&f, &o, &img, &e))
		return;
	if (gpt_read(&g, img, &e) == 1) {
		if (told(gpt_move(&g, img, sectors, &e), &e))
			must(gpt_fits(&g, sectors));
		gpt_fini(&g);
	}
	must(vhd_close(img, &e) == 0);
}

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size,
			       unsigned seed)
{
	return fuzzimg_mutate(data, size, max_size, seed);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct memfile *m;
	uint64_t was_size = 0, now;
	uint8_t *was;

	if (size < FUZZIMG_CONTROL_BYTES)
		return 0;
	m = fuzzimg_make(data, size, FILE_BYTES_MAX);
	was = content(m, &was_size);
	now = was_size;
	if (was && !(data[2] & 1))
		now = resize(m, data, was, was_size);
	if (was && !(data[2] & 4))
		compact(m, was, was_size, now);
	if (was && data[2] & 8)
		move_table(m, now);
	free(was);
	memfile_destroy(m);
	return 0;
}

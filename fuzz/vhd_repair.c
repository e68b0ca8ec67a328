/* SPDX-License-Identifier: BSD-2-Clause */
/* An image that wants to do harm, checked, set, repaired, brought back and
 * salvaged. What opening refuses a check must have found; a plan writes
 * nothing; a repaired image opens, and a second repair finds nothing to do; a
 * repair that is refused, and one that is undone, leave the image as it was.
 *
 * An input is an image as in tests/lib/fuzzimg.h, like that of vhd_open, whose
 * seeds serve here too, and:
 *   0      format to name (modulo 5); raw is taken for auto
 *   1      flags, below
 *   2      product to check for
 *   3      fields to set
 */
#include <stdlib.h>
#include <string.h>

#include "tests/lib/fuzzimg.h"
#include "vhd/check.h"
#include "vhd/checked.h"
#include "vhd/repair.h"
#include "vhd/salvage.h"
#include "vhd/set.h"

#define FLAG_LOSSY  0x01
#define FLAG_PREFER 0x02 /* the copy, else the trailing footer */
#define FLAG_SIZE   0x08 /* say a size where both footers are lost */
#define FLAG_CHOOSE 0x10 /* say which footer */
#define FLAG_FAR    0x20 /* a file of up to 2 TiB; only checked */

/* Beyond, data is not read: zeros by the gibibyte tell nothing. */
#define DATA_BYTES_MAX (8u << 20)
/* A table of 2^24 bad entries takes seconds here, and tells nothing more. */
#define FILE_BYTES_MAX (4u << 20)

static struct memfile *build(const uint8_t *data, size_t size)
{
	return fuzzimg_make(data, size,
			    data[1] & FLAG_FAR ? MEMFILE_BYTES_MAX / 2
					       : FILE_BYTES_MAX);
}

static enum vhd_format format_of(const uint8_t *data)
{
	enum vhd_format f = (enum vhd_format)(data[0] % 5);

	return f == VHD_FORMAT_RAW ? VHD_FORMAT_AUTO : f;
}

/* ---------------------------------------------------------------- check -- */

static void check(struct memfile *m, const uint8_t *data)
{
	struct vhd_check_opts o = {.format = format_of(data)};
	struct vhd_open_opts open = {.format = o.format};
	struct vhd_file f = memfile_file(m);
	struct vhd_check_result r;
	struct vhd *img = NULL;
	struct vhd_err e;
	int rc;

	o.data = memfile_len(m) <= DATA_BYTES_MAX;
	o.target = (enum vhd_target)(data[2] % VHD_TARGET_COUNT);
	rc = vhd_check_file(&f, &o, &r, &e);
	must(!rc || (e.code < 0 && e.why != VHD_WHY_NONE && e.text[0]));
	if (vhd_open_file(&f, &open, &img, &e))
		must(rc || r.severity_count[VHD_SEVERITY_ERROR] ||
		     e.why == VHD_WHY_NEEDS_PARENT ||
		     e.why == VHD_WHY_UNSUPPORTED);
	vhd_abandon(img);
}

/* ------------------------------------------------------------------ set -- */

/* How it opens: 0, or the reason why not. */
static enum vhd_why opening(struct memfile *m, const uint8_t *data)
{
	const struct vhd_open_opts o = {.format = format_of(data),
					.parent_dir = ""};
	struct vhd_file f = memfile_file(m);
	struct vhd *img = NULL;
	struct vhd_err e = {.why = VHD_WHY_NONE};
	int rc = vhd_open_file(&f, &o, &img, &e);

	vhd_abandon(img);
	return rc ? e.why : VHD_WHY_NONE;
}

static uint64_t sectors_changed(const struct memfile *m,
				const struct memfile *was)
{
	uint64_t n = 0;

	for (uint64_t at = 0; at < memfile_len(m); at += VHD_SECTOR_BYTES) {
		uint8_t a[VHD_SECTOR_BYTES], b[VHD_SECTOR_BYTES];

		memfile_peek(m, a, sizeof(a), at);
		memfile_peek(was, b, sizeof(b), at);
		n += memcmp(a, b, sizeof(a)) != 0;
	}
	return n;
}

static void set(const struct memfile *image, const uint8_t *data)
{
	struct vhd_set_opts o = {
		.format = format_of(data),
		.fields = data[3] % (VHD_SET_PARENT_ID << 1),
		.values = {
			.unique_id = "an id for fuzzer",
			.hidden = 1,
			.saved_state = 1,
			.geometry = {1, 2, 3},
			.creator = {"fuzz", 1, "Wi2k"},
			.timestamp_s = 1,
			.parent_id = "id of its parent",
		},
		.write = true,
	};
	struct memfile *m = memfile_clone(image);
	struct vhd_file f = memfile_file(m);
	struct vhd_set_result r, again;
	enum vhd_why why = opening(m, data);
	struct vhd_err e;

	if (vhd_set_file(&f, &o, &r, &e)) {
		must(e.code < 0 && e.why != VHD_WHY_NONE && e.text[0]);
		must(memfile_equal(m, image));
	} else {
		must(memfile_len(m) == memfile_len(image));
		must(sectors_changed(m, image) * VHD_SECTOR_BYTES <=
		     r.written_bytes);
		/* A damaged copy is written anew. */
		must(opening(m, data) == why || why != VHD_WHY_NONE);
		must(vhd_set_file(&f, &o, &again, &e) == 0);
		must(!again.changed && !again.written_bytes);
	}
	memfile_destroy(m);
}

/* --------------------------------------------------------------- repair -- */

static struct vhd_repair_opts options(const uint8_t *data)
{
	struct vhd_repair_opts o = {
		.format = format_of(data),
		.lossy = data[1] & FLAG_LOSSY,
		.new_id = "an id for fuzzer",
	};

	if (data[1] & FLAG_CHOOSE)
		o.prefer = data[1] & FLAG_PREFER ? VHD_PREFER_COPY
						 : VHD_PREFER_END;
	if (data[1] & FLAG_SIZE)
		o.size_bytes = 4u << 20;
	return o;
}

/* What is repaired, nothing held back, opens. */
static void opens(struct memfile *m, const struct vhd_repair_opts *o)
{
	struct vhd_open_opts open = {.format = o->format};
	struct vhd_file f = memfile_file(m);
	struct vhd *img = NULL;
	struct vhd_err e;

	if (vhd_open_file(&f, &open, &img, &e))
		must(e.why == VHD_WHY_NEEDS_PARENT ||
		     e.why == VHD_WHY_UNSUPPORTED);
	vhd_abandon(img);
}

static void repair(struct memfile *m, const uint8_t *data)
{
	struct vhd_repair_opts o = options(data);
	struct memfile *was = memfile_clone(m), *undo = memfile_create();
	struct vhd_file f = memfile_file(m), u;
	struct vhd_repair_result plan, r;
	struct vhd_err e;
	int rc;

	must(was && undo);
	u = memfile_file(undo);
	rc = vhd_repair_file(&f, NULL, &o, &plan, &e);
	must(memfile_count(m, MEMFILE_WRITE) == 0);
	o.write = true;
	must(vhd_repair_file(&f, &u, &o, &r, &e) == rc);
	if (rc) {
		must(e.code < 0 && e.why != VHD_WHY_NONE && e.text[0]);
		must(memfile_equal(m, was));
	} else {
		must(memcmp(&plan, &r, sizeof(r)) == 0);
		must(r.new_file_bytes == memfile_len(m));
		if (!r.held_back)
			opens(m, &o);
		must(vhd_repair_file(&f, NULL, &o, &plan, &e) == 0);
		must(plan.steps == 0 && plan.written_bytes == 0);
		must(plan.held_back == r.held_back);
	}
	if (!rc && r.written_bytes) {
		must(vhd_undo_file(&f, &u, false, NULL, &e) == 0);
		must(memfile_equal(m, was));
	}
	memfile_destroy(undo);
	memfile_destroy(was);
}

/* -------------------------------------------------------------- salvage -- */

static void salvage(struct memfile *m, const uint8_t *data)
{
	struct vhd_salvage_opts o = {.format = format_of(data)};
	struct memfile *out = memfile_create();
	struct vhd_check_opts c = {0};
	struct vhd_check_result found;
	struct vhd_salvage_result r;
	struct vhd_file f = memfile_file(m), d;
	struct vhd_err e;

	must(out != NULL);
	d = memfile_file(out);
	if (data[1] & FLAG_SIZE)
		o.size_bytes = 4u << 20;
	if (vhd_salvage_file(&f, &d, &o, &r, &e)) {
		must(e.code < 0 && e.why != VHD_WHY_NONE && e.text[0]);
	} else {
		must(r.copied_bytes + r.lost_bytes <= r.size_bytes);
		must(vhd_check_file(&d, &c, &found, &e) == 0);
		must(found.severity_count[VHD_SEVERITY_ERROR] == 0);
		must(found.size_bytes == r.size_bytes);
	}
	memfile_destroy(out);
}

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size,
			       unsigned seed)
{
	return fuzzimg_mutate(data, size, max_size, seed);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct memfile *m;

	if (size < FUZZIMG_CONTROL_BYTES)
		return 0;
	m = build(data, size);
	check(m, data);
	if (memfile_len(m) <= FILE_BYTES_MAX) {
		set(m, data);
		salvage(m, data);
		repair(m, data);
	}
	memfile_destroy(m);
	return 0;
}

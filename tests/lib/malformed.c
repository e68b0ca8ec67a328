/* SPDX-License-Identifier: BSD-2-Clause */
/* See malformed.h. */
#include "tests/lib/malformed.h"
#include "vhd/image.h"
#include "vhd/repair.h"
#include "vhd/salvage.h"

/* --------------------------------------------------------------- the case --
 */

struct memfile *malformed_image(const struct malformed *c)
{
	struct memfile *m = c->make ? c->make() : img_three();

	if (c->harm)
		c->harm(m);
	else if (c->what)
		img_harm(m, c->what);
	return m;
}

/* A child opens without its parent: that is the chain's affair. */
int malformed_open(struct memfile *m, bool writable, struct vhd **img,
		   struct vhd_err *e)
{
	const struct vhd_open_opts o = {
		.writable = writable,
		.parent_dir = ".",
	};
	struct vhd_file f = memfile_file(m);

	return vhd_open_file(&f, &o, img, e);
}

static void opens(const struct malformed *c, bool writable)
{
	enum vhd_why why = writable ? c->rw : c->ro;
	struct memfile *m = malformed_image(c), *before = memfile_clone(m);
	struct vhd *img = NULL;
	struct vhd_err e = {0};
	int rc = malformed_open(m, writable, &img, &e);

	if (rc)
		print_message("  %s: %s\n", writable ? "rw" : "ro", e.text);
	assert_int_equal(e.why, why);
	assert_int_equal(!!rc, why != VHD_WHY_NONE);
	if (rc) {
		assert_true(memfile_equal(m, before));
	} else {
		assert_int_equal(vhd_get_info(img)->notes, c->notes);
		assert_int_equal(vhd_close(img, &e), 0);
	}
	if (!writable)
		assert_true(memfile_equal(m, before));
	memfile_destroy(before);
	memfile_destroy(m);
}

static void is_found(const struct malformed *c)
{
	struct memfile *m = malformed_image(c);
	const struct vhd_finding *f;
	struct found all;

	found_in(m, &all);
	assert_int_equal(all.rc, 0);
	f = found_find(&all, c->find);
	assert_non_null(f);
	assert_int_equal(f->severity, c->severity);
	/* What use refuses is never only a warning. */
	if (c->ro != VHD_WHY_NONE)
		assert_true(all.r.severity_count[VHD_SEVERITY_ERROR] > 0);
	memfile_destroy(m);
}

static int repair(struct memfile *m, bool lossy, struct vhd_repair_result *r,
		  struct vhd_err *e)
{
	const struct vhd_repair_opts o = {
		.write = true,
		.lossy = lossy,
		.now_unix_s = FOUND_NOW_S,
		.new_id = "a new identity!",
	};
	struct vhd_file f = memfile_file(m);

	return vhd_repair_file(&f, NULL, &o, r, e);
}

static void is_mended(const struct malformed *c)
{
	struct memfile *m = malformed_image(c), *before = memfile_clone(m);
	struct vhd_repair_result r;
	struct vhd_err e = {0};
	struct found all;
	int rc = repair(m, false, &r, &e);

	if (c->mends == REFUSES) {
		assert_refused(rc, &e, -rc, c->mend_why);
		assert_true(memfile_equal(m, before));
	} else {
		assert_int_equal(rc, 0);
		if (c->mends != GIVES_UP)
			assert_int_equal(!r.steps, c->mends == LEAVES);
		assert_int_equal(!!r.held_back, c->mends == GIVES_UP);
		assert_int_equal(memfile_equal(m, before), !r.steps);
	}
	if (c->mends == GIVES_UP)
		assert_int_equal(repair(m, true, &r, &e), 0);
	if (c->mends == MENDS || c->mends == GIVES_UP) {
		found_in(m, &all);
		assert_int_equal(all.rc, 0);
		assert_int_equal(all.r.severity_count[VHD_SEVERITY_ERROR], 0);
		assert_null(found_find(&all, c->find));
	}
	memfile_destroy(before);
	memfile_destroy(m);
}

void malformed_row(const struct malformed *cases, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		print_message("%s\n", cases[i].what ? cases[i].what : "-");
		opens(&cases[i], false);
		opens(&cases[i], true);
		is_found(&cases[i]);
		is_mended(&cases[i]);
	}
}

/* A byte of the disk, opened for reading. */
uint8_t malformed_byte(struct memfile *m, uint64_t off)
{
	struct vhd *img = NULL;
	struct vhd_err e;
	uint8_t b[512];

	assert_int_equal(img_open(m, VHD_FORMAT_AUTO, false, &img, &e), 0);
	assert_int_equal(vhd_read(img, off & ~511ull, b, 512, &e), 0);
	vhd_abandon(img);
	return b[off & 511];
}

struct vhd_salvage_result malformed_salvage(struct memfile *m,
					    const struct vhd_salvage_opts *o,
					    struct memfile **out)
{
	struct vhd_file f = memfile_file(m), d;
	struct vhd_salvage_result r;
	struct vhd_err e;

	*out = memfile_create();
	assert_non_null(*out);
	d = memfile_file(*out);
	assert_int_equal(vhd_salvage_file(&f, &d, o, &r, &e), 0);
	return r;
}

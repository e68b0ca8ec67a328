/* SPDX-License-Identifier: BSD-2-Clause */
/* Raw to fixed and back without moving the disk: a fixed VHD is the raw disk
 * with a footer behind it.
 *
 * Each way is one change and one sync, so whatever instant the power fails the
 * file is one of the two, whole:
 *   - raw to fixed: one write of the footer behind the end, or behind the
 *     larger disk's end; the gap is a hole and reads as zero. The length grows
 *     with the sector that is written;
 *   - fixed to raw: one truncation.
 * A write that fails half-way is cut off again.
 *
 * Nothing but the last sector tells the two apart, and a guest can write a
 * footer into its own. So the caller names what the file is, and where the
 * raw disk, before or after, would be taken for a VHD by its content, it has
 * to insist: running the same command twice must not cut into the disk or put
 * a second footer behind the first.
 * Source: VHD specification 1.0, "Fixed Hard Disk Image".
 */
#include <errno.h>
#include <string.h>

#include "fail.h"
#include "filesys.h"
#include "image.h"

/* ------------------------------------------- the raw disk on its own -- */

/* The first `len_bytes` of a file, to be looked at. */
struct part {
	const struct vhd_file *under;
	uint64_t len_bytes;
};

static ssize_t part_pread(void *state, void *buf, size_t len, uint64_t off)
{
	const struct part *p = state;

	if (off >= p->len_bytes)
		return 0;
	if (len > p->len_bytes - off)
		len = (size_t)(p->len_bytes - off);
	return p->under->ops->pread(p->under->state, buf, len, off);
}

static int part_size(void *state, uint64_t *len)
{
	const struct part *p = state;

	*len = p->len_bytes;
	return 0;
}

static const struct vhd_file_ops part_ops = {
	.name = "part",
	.pread = part_pread,
	.size = part_size,
};

/* Whether a reader that looks takes these bytes for a raw disk. */
static int raw_check(const struct vhd_file *f, uint64_t len_bytes, bool before,
		     struct vhd_err *err)
{
	struct part part = {.under = f, .len_bytes = len_bytes};
	const struct vhd_file on = {.ops = &part_ops,
				    .state = &part,
				    .fd = -1,
				    .direct_fd = -1};
	const struct vhd_open_opts look = {.format = VHD_FORMAT_AUTO};
	struct vhd_info info = {0};
	struct vhd_probe probe;
	int rc = vhd_probe(&on, &look, &info, &probe, err);

	if (rc && rc != -EUCLEAN)
		return rc;
	if (!rc && info.format == VHD_FORMAT_RAW)
		return 0;
	return vhd_fail(err, -EUCLEAN, VHD_WHY_LOOKS_LIKE_VHD, 0,
			before ? "named raw, but looks like a VHD already"
			       : "the disk itself looks like a VHD: without "
				 "its own footer it would be taken for one");
}

/* ------------------------------------------------------------- both ways -- */

static int to_raw(const struct vhd_file *f, const struct vhd_in_place_opts *o,
		  struct vhd_err *err)
{
	const struct vhd_open_opts named = {.format = VHD_FORMAT_FIXED};
	struct vhd_info info = {0};
	struct vhd_probe probe;
	int rc = vhd_probe(f, &named, &info, &probe, err);

	if (rc)
		return rc;
	rc = vhd_footer_check(&probe.footer, probe.footer_at_bytes, err);
	if (!rc && probe.footer_at_bytes == 0)
		rc = vhd_fail(err, -EUCLEAN, VHD_WHY_SIZE_ZERO, 0,
			      "there is nothing in front of the footer");
	if (!rc && !o->force)
		rc = raw_check(f, probe.footer_at_bytes, false, err);
	if (!rc)
		rc = vhd_file_truncate(f, probe.footer_at_bytes, err);
	return rc ? rc : vhd_file_flush(f, err);
}

static int fixed_footer(const struct vhd_in_place_opts *o, uint64_t have_bytes,
			uint64_t *size_bytes, struct vhd_footer_wire *footer,
			struct vhd_err *err)
{
	struct vhd_create_opts create = {
		.format = VHD_FORMAT_FIXED,
		.size_bytes = o->size_bytes ? o->size_bytes : have_bytes,
		.now_unix_s = o->now_unix_s,
		.creator = o->creator,
	};

	if (create.size_bytes < have_bytes)
		return vhd_fail(err, -EINVAL, VHD_WHY_ARGUMENT, 0,
				"a disk of %llu bytes does not fit into %llu",
				(unsigned long long)have_bytes,
				(unsigned long long)create.size_bytes);
	memcpy(create.unique_id, o->unique_id, sizeof(create.unique_id));
	*size_bytes = create.size_bytes;
	return vhd_create_footer(&create, footer, err);
}

static int to_fixed(const struct vhd_file *f, const struct vhd_in_place_opts *o,
		    struct vhd_err *err)
{
	struct vhd_footer_wire footer;
	uint64_t have_bytes, size_bytes = 0;
	int rc = vhd_file_size(f, &have_bytes, err);

	if (!rc && have_bytes % VHD_SECTOR_BYTES)
		rc = vhd_fail(err, -EINVAL, VHD_WHY_SIZE_ALIGN, 0,
			      "%llu bytes are not whole sectors",
			      (unsigned long long)have_bytes);
	if (!rc)
		rc = fixed_footer(o, have_bytes, &size_bytes, &footer, err);
	if (!rc && !o->force)
		rc = raw_check(f, have_bytes, true, err);
	if (rc)
		return rc;
	rc = vhd_file_write(f, &footer, sizeof(footer), size_bytes, err);
	if (rc) {
		/* Should this fail too: the first fault is told. */
		(void)vhd_file_truncate(f, have_bytes, NULL);
		return rc;
	}
	return vhd_file_flush(f, err);
}

int vhd_in_place_file(const struct vhd_file *f,
		      const struct vhd_in_place_opts *opts, struct vhd_err *err)
{
	if (opts->from == VHD_FORMAT_FIXED && opts->to == VHD_FORMAT_RAW)
		return to_raw(f, opts, err);
	if (opts->from == VHD_FORMAT_RAW && opts->to == VHD_FORMAT_FIXED)
		return to_fixed(f, opts, err);
	return vhd_fail(err, -EINVAL, VHD_WHY_ARGUMENT, 0,
			"only raw and fixed turn into one another in place");
}

int vhd_in_place(const char *path, const struct vhd_in_place_opts *opts,
		 struct vhd_err *err)
{
	const struct vhd_file_open how = {.writable = true};
	struct vhd_file f;
	int rc;

	if (!opts)
		return vhd_fail(err, -EINVAL, VHD_WHY_ARGUMENT, 0,
				"no options given");
	rc = vhd_file_open(path, &how, &f, err);
	if (rc)
		return rc;
	if (vhd_file_is_device(&f))
		rc = vhd_fail(err, -EINVAL, VHD_WHY_NOT_FILE, 0,
			      "a device's length does not change");
	else
		rc = vhd_in_place_file(&f, opts, err);
	return vhd_file_close_after(&f, rc, err);
}

/* SPDX-License-Identifier: BSD-2-Clause */
/* A fixed disk longer or shorter: data and a footer behind it, which is all
 * that says what the file is.
 *
 * Growing. The new footer is written far behind the old one in a single write
 * of one sector, which lengthens the file: it is there with the new length or
 * neither is. What lies between reads as zero, but for the old footer, which
 * is inside the disk now; the new footer tells where in its reserved bytes.
 * That is made durable, the old footer becomes zero, that is made durable,
 * and the footer is written again without the note. Cut off in between, the
 * image is valid for every reader, and opening it for writing goes on.
 *
 * Shrinking. The new footer is written where the disk will end and made
 * durable while the old one still rules; then the file is cut behind it, which
 * is one step of the file system.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "fail.h"
#include "filesys.h"
#include "resize.h"

#define RETRIES_MAX 1000

/* The last bytes of the footer while the former one is to be erased. */
struct grown_note {
	uint8_t cookie[4];
	be64 old_size;
};

static const uint8_t grown_cookie[4] = {'g', 'r', 'e', 'w'};

static_assert(sizeof(struct grown_note) == 12, "three words");

static void note_get(const struct vhd_footer_wire *w, struct grown_note *note)
{
	memcpy(note, w->reserved + sizeof(w->reserved) - sizeof(*note),
	       sizeof(*note));
}

static void note_put(struct vhd_footer_wire *w, const struct grown_note *note)
{
	memcpy(w->reserved + sizeof(w->reserved) - sizeof(*note), note,
	       sizeof(*note));
	w->checksum = be32_put(vhd_wire_checksum(
		w, sizeof(*w), offsetof(struct vhd_footer_wire, checksum)));
}

bool resize_fixed_pending(const struct vhd_footer_wire *w)
{
	struct grown_note note;

	note_get(w, &note);
	return memcmp(note.cookie, grown_cookie, sizeof(grown_cookie)) == 0;
}

static int write_footer(struct vhd *img, const struct vhd_footer_wire *w,
			uint64_t at_bytes, struct vhd_err *err)
{
	int rc = vhd_file_write(&img->file, w, sizeof(*w), at_bytes, err);

	return rc ? rc : vhd_file_flush(&img->file, err);
}

/* Is the sector at `at` this disk's footer for a disk that ends there? A guest
 * may have been given the disk meanwhile and use the place.
 */
static int is_former(const struct vhd_file *f,
		     const struct vhd_footer_wire *now, uint64_t at_bytes,
		     bool *yes, struct vhd_err *err)
{
	struct vhd_footer_wire w;
	int rc = vhd_file_read(f, &w, sizeof(w), at_bytes, err);

	*yes = !rc && vhd_footer_mark(&w) == VHD_MARK_OK &&
	       be64_get(w.current_size) == at_bytes &&
	       memcmp(w.unique_id, now->unique_id, sizeof(w.unique_id)) == 0;
	return rc;
}

int resize_fixed_former(const struct vhd_file *f, struct vhd_footer_wire *w,
			uint64_t *at_bytes, bool *there, struct vhd_err *err)
{
	struct grown_note note;
	int rc = 0;

	note_get(w, &note);
	*at_bytes = be64_get(note.old_size);
	*there = false;
	if (*at_bytes % VHD_SECTOR_BYTES == 0 &&
	    *at_bytes < be64_get(w->current_size))
		rc = is_former(f, w, *at_bytes, there, err);
	if (rc)
		return rc;
	memset(&note, 0, sizeof(note));
	note_put(w, &note);
	return 0;
}

int resize_fixed_finish(struct vhd *img, struct vhd_err *err)
{
	struct vhd_footer_wire w = img->footer;
	uint64_t at;
	bool former;
	int rc = resize_fixed_former(&img->file, &w, &at, &former, err);

	if (!rc && former)
		rc = vhd_file_zero(&img->file, at, VHD_FOOTER_BYTES, err);
	if (!rc && former)
		rc = vhd_file_flush(&img->file, err);
	if (rc)
		return rc;
	rc = write_footer(img, &w, img->info.size_bytes, err);
	if (!rc)
		img->footer = w;
	return rc;
}

int resize_fixed_plan(struct resize *r, struct vhd_err *err)
{
	if (vhd_file_is_device(&r->img->file))
		return vhd_fail(err, -ENOTSUP, VHD_WHY_UNSUPPORTED, 0,
				"a fixed disk on a block device ends with the "
				"device");
	r->result->new_file_bytes = r->new_bytes + VHD_FOOTER_BYTES;
	return 0;
}

static int reserve_once(int fd, uint64_t from, uint64_t len)
{
	if (fd < 0)
		return -EOPNOTSUPP;
	return fallocate(fd, FALLOC_FL_KEEP_SIZE, (off_t)from, (off_t)len) < 0
		       ? -errno
		       : 0;
}

/* Space for all of it, without a byte of it in the file yet. */
static int reserve(struct resize *r, struct vhd_err *err)
{
	uint64_t from = r->old_bytes, len = r->new_bytes - from;
	unsigned tries = 0;
	int rc;

	if (!r->opts->prealloc)
		return 0;
	do
		rc = reserve_once(r->img->file.fd, from,
				  len + VHD_FOOTER_BYTES);
	while (rc == -EINTR && ++tries <= RETRIES_MAX);
	if (!rc)
		return 0;
	return vhd_fail(err, rc, vhd_io_why(rc), from,
			"cannot reserve %llu bytes: %s",
			(unsigned long long)len, vhd_errno_text(rc));
}

static int grow(struct resize *r, struct vhd_err *err)
{
	struct grown_note note = {.old_size = be64_put(r->old_bytes)};
	uint64_t old_file = r->old_bytes + VHD_FOOTER_BYTES;
	struct vhd_footer_wire w = r->footer;
	int rc = reserve(r, err);

	memcpy(note.cookie, grown_cookie, sizeof(grown_cookie));
	note_put(&w, &note);
	if (!rc)
		rc = vhd_file_write(&r->img->file, &w, sizeof(w), r->new_bytes,
				    err);
	if (rc) {
		/* Also gives back what was reserved. That it fails as well
		 * would leave a file of the old length, or one that a repair
		 * is needed for; the first fault is told.
		 */
		(void)vhd_file_truncate(&r->img->file, old_file, NULL);
		return rc;
	}
	rc = vhd_file_flush(&r->img->file, err);
	if (rc)
		return rc;
	r->img->footer = w;
	r->img->info.size_bytes = r->new_bytes;
	return resize_fixed_finish(r->img, err);
}

static int shrink(struct resize *r, struct vhd_err *err)
{
	int rc = write_footer(r->img, &r->footer, r->new_bytes, err);

	if (!rc)
		rc = vhd_file_truncate(&r->img->file,
				       r->new_bytes + VHD_FOOTER_BYTES, err);
	return rc ? rc : vhd_file_flush(&r->img->file, err);
}

int resize_fixed(struct resize *r, struct vhd_err *err)
{
	if (r->new_bytes == r->old_bytes)
		return 0;
	return r->new_bytes > r->old_bytes ? grow(r, err) : shrink(r, err);
}

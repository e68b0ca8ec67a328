/* SPDX-License-Identifier: BSD-2-Clause */
/* The footer: 512 bytes at the end of every VHD and, but for fixed disks, at
 * offset 0 as well.
 *
 * The checksum adds bytes without regard to order, so it proves little: every
 * field is checked on its own. It is summed over the raw bytes, reserved ones
 * included.
 * Source: VHD specification 1.0, "Hard Disk Footer Format".
 */
#include <errno.h>
#include <string.h>

#include "format.h"

uint32_t vhd_wire_checksum(const void *bytes, size_t len, size_t field_off)
{
	const uint8_t *b = bytes;
	uint32_t sum = 0;

	for (size_t i = 0; i < len; i++)
		if (i < field_off || i >= field_off + 4)
			sum += b[i];
	return ~sum;
}

/* blktap 0.1 and 1.1 set `hidden` and left the checksum as it was. */
static bool sum_ok_but_for_hidden(const struct vhd_footer_wire *w)
{
	struct vhd_footer_wire copy = *w;

	if (memcmp(w->creator_app, "tap", 4) != 0 || w->hidden == 0)
		return false;
	copy.hidden = 0;
	return vhd_wire_checksum(&copy, sizeof(copy),
				 offsetof(struct vhd_footer_wire, checksum)) ==
	       be32_get(w->checksum);
}

enum vhd_mark vhd_footer_mark(const struct vhd_footer_wire *w)
{
	uint32_t sum;

	if (memcmp(w->cookie, VHD_COOKIE_POISON, VHD_COOKIE_BYTES) == 0)
		return VHD_MARK_POISON;
	if (memcmp(w->cookie, VHD_COOKIE_FOOTER, VHD_COOKIE_BYTES) != 0)
		return VHD_MARK_NONE;
	sum = vhd_wire_checksum(w, sizeof(*w),
				offsetof(struct vhd_footer_wire, checksum));
	if (sum == be32_get(w->checksum) || sum_ok_but_for_hidden(w))
		return VHD_MARK_OK;
	return VHD_MARK_BAD_CHECKSUM;
}

void vhd_footer_decode(const struct vhd_footer_wire *w, struct vhd_footer *f)
{
	f->features = be32_get(w->features);
	f->version = be32_get(w->version);
	f->data_offset_bytes = be64_get(w->data_offset);
	f->timestamp_s = be32_get(w->timestamp);
	memcpy(f->creator_app, w->creator_app, sizeof(f->creator_app));
	f->creator_version = be32_get(w->creator_version);
	memcpy(f->creator_os, w->creator_os, sizeof(f->creator_os));
	f->original_size_bytes = be64_get(w->original_size);
	f->current_size_bytes = be64_get(w->current_size);
	f->geometry.cylinders = be16_get(w->cylinders);
	f->geometry.heads = w->heads;
	f->geometry.sectors_per_track = w->sectors_per_track;
	f->type = be32_get(w->type);
	f->checksum = be32_get(w->checksum);
	memcpy(f->unique_id, w->unique_id, sizeof(f->unique_id));
	f->saved_state = w->saved_state;
	f->hidden = w->hidden;
	f->reserved_nonzero =
		vhd_any_nonzero(w->reserved, sizeof(w->reserved));
}

void vhd_footer_encode(const struct vhd_footer *f, struct vhd_footer_wire *w)
{
	memset(w, 0, sizeof(*w));
	memcpy(w->cookie, VHD_COOKIE_FOOTER, VHD_COOKIE_BYTES);
	w->features = be32_put(f->features);
	w->version = be32_put(f->version);
	w->data_offset = be64_put(f->data_offset_bytes);
	w->timestamp = be32_put(f->timestamp_s);
	memcpy(w->creator_app, f->creator_app, sizeof(f->creator_app));
	w->creator_version = be32_put(f->creator_version);
	memcpy(w->creator_os, f->creator_os, sizeof(f->creator_os));
	w->original_size = be64_put(f->original_size_bytes);
	w->current_size = be64_put(f->current_size_bytes);
	w->cylinders = be16_put(f->geometry.cylinders);
	w->heads = f->geometry.heads;
	w->sectors_per_track = f->geometry.sectors_per_track;
	w->type = be32_put(f->type);
	memcpy(w->unique_id, f->unique_id, sizeof(f->unique_id));
	w->saved_state = f->saved_state;
	w->hidden = f->hidden;
	w->checksum = be32_put(vhd_wire_checksum(
		w, sizeof(*w), offsetof(struct vhd_footer_wire, checksum)));
}

static int size_check(const struct vhd_footer *f, uint64_t at_bytes,
		      struct vhd_err *err)
{
	uint64_t size = f->current_size_bytes;
	uint64_t max = f->type == VHD_WIRE_FIXED ? VHD_FIXED_BYTES_MAX
						 : VHD_DYNAMIC_BYTES_MAX;

	at_bytes += offsetof(struct vhd_footer_wire, current_size);
	if (size == 0)
		return vhd_fail(err, -EUCLEAN, VHD_WHY_SIZE_ZERO, at_bytes,
				"the footer gives a virtual size of 0 bytes");
	if (size % VHD_SECTOR_BYTES)
		return vhd_fail(err, -EUCLEAN, VHD_WHY_SIZE_ALIGN, at_bytes,
				"virtual size %llu is not a whole number of "
				"512-byte sectors: the footer is damaged; "
				"restore a good copy",
				(unsigned long long)size);
	if (size > max)
		return vhd_fail(err, -EUCLEAN, VHD_WHY_SIZE_LIMIT, at_bytes,
				"virtual size %llu is beyond the limit of %llu "
				"for this type",
				(unsigned long long)size,
				(unsigned long long)max);
	return 0;
}

int vhd_footer_check(const struct vhd_footer *f, uint64_t at_bytes,
		     struct vhd_err *err)
{
	if (f->version >> 16 != VHD_VERSION_1_0 >> 16)
		return vhd_fail(
			err, -EUCLEAN, VHD_WHY_FOOTER_VERSION,
			at_bytes + offsetof(struct vhd_footer_wire, version),
			"footer version %u.%u; only major version 1 "
			"is known",
			f->version >> 16, f->version & 0xffff);
	switch (f->type) {
	case VHD_WIRE_FIXED:
	case VHD_WIRE_DYNAMIC:
	case VHD_WIRE_DIFF:
		return size_check(f, at_bytes, err);
	default:
		return vhd_fail(err, -EUCLEAN, VHD_WHY_FOOTER_TYPE,
				at_bytes +
					offsetof(struct vhd_footer_wire, type),
				"disk type %u is none of fixed (2), dynamic "
				"(3), differencing (4)",
				f->type);
	}
}

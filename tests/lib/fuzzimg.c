/* SPDX-License-Identifier: BSD-2-Clause */
/* An image out of a fuzzer's input; see fuzzimg.h. */
#include "tests/lib/fuzzimg.h"

#include "vhd/checked.h"
#include "vhd/format.h"

static void seal(struct memfile *m, uint64_t at, size_t len, size_t field)
{
	uint8_t b[1024];
	be32 sum;

	if (!range_ok(at, len, memfile_len(m)))
		return;
	memfile_peek(m, b, len, at);
	sum = be32_put(vhd_wire_checksum(b, len, field));
	must(memfile_poke(m, &sum, 4, at + field) == 0);
}

static void seal_all(struct memfile *m)
{
	uint64_t end = memfile_len(m);
	struct vhd_footer_wire w;

	if (end < VHD_FOOTER_BYTES)
		return;
	end -= VHD_FOOTER_BYTES;
	memfile_peek(m, &w, sizeof(w), end);
	seal(m, be64_get(w.data_offset), VHD_HEADER_BYTES,
	     offsetof(struct vhd_header_wire, checksum));
	seal(m, 0, VHD_FOOTER_BYTES,
	     offsetof(struct vhd_footer_wire, checksum));
	seal(m, end, VHD_FOOTER_BYTES,
	     offsetof(struct vhd_footer_wire, checksum));
}

struct memfile *fuzzimg_make(const uint8_t *data, size_t size,
			     uint64_t max_bytes)
{
	struct memfile *m = memfile_create();
	uint64_t len = little(data + 8, 8) % max_bytes;
	size_t at = FUZZIMG_CONTROL_BYTES;

	must(m != NULL);
	while (size - at >= 8) {
		uint64_t off = little(data + at, 6);
		size_t n = (size_t)little(data + at + 6, 2);

		at += 8;
		if (n > size - at)
			n = size - at;
		if (off < len && n > len - off)
			n = (size_t)(len - off);
		if (off < len && n)
			must(memfile_poke(m, data + at, n, off) == 0);
		at += n;
	}
	memfile_resize(m, len);
	if (data[1] & FUZZIMG_SEAL)
		seal_all(m);
	return m;
}

/* SPDX-License-Identifier: BSD-2-Clause */
/* An image out of a fuzzer's input; see fuzzimg.h. */
#include "tests/lib/fuzzimg.h"

#include <string.h>

#include "tests/lib/random.h"
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

/* ------------------------------------------------------------- mutation -- */

/* A number of the image: any 4 or 8 bytes on a multiple of 4 of a piece. NULL:
 * there is none.
 */
static uint8_t *pick(uint8_t *data, size_t size, size_t bytes, uint64_t *rnd)
{
	size_t at = FUZZIMG_CONTROL_BYTES;
	uint8_t *chosen = NULL;
	uint64_t seen = 0;

	while (size - at >= 8) {
		uint64_t off = little(data + at, 6);
		size_t n = (size_t)little(data + at + 6, 2);
		size_t skip = (size_t)(-off & 3);

		at += 8;
		if (n > size - at)
			n = size - at;
		if (n >= skip + bytes) {
			uint64_t count = (n - skip - bytes) / 4 + 1;

			seen += count;
			if (random_below(rnd, seen) < count)
				chosen = data + at + skip +
					 random_below(rnd, count) * 4;
		}
		at += n;
	}
	return chosen;
}

static uint64_t big(const uint8_t *p, size_t n)
{
	uint64_t v = 0;

	while (n--)
		v = v << 8 | *p++;
	return v;
}

static void number_change(uint8_t *data, size_t size, uint64_t *rnd)
{
	size_t bytes = random_below(rnd, 4) ? 4 : 8;
	uint64_t unit = bytes == 4 ? 1 : VHD_SECTOR_BYTES;
	uint64_t end = little(data + 8, 8) % MEMFILE_BYTES_MAX;
	uint8_t *p = pick(data, size, bytes, rnd), *from;
	uint64_t v;

	/* Most of an image is bytes all alike, which are hardly numbers. */
	for (int i = 0; p && i < 8 && memcmp(p, p + 1, bytes - 1) == 0; i++)
		p = pick(data, size, bytes, rnd);
	if (!p)
		return;
	v = big(p, bytes);
	from = pick(data, size, bytes, rnd);
	switch (random_below(rnd, 5)) {
	case 0:
		v = big(from, bytes);
		break;
	case 1:
		v = bytes == 4 ? end / VHD_SECTOR_BYTES : end;
		break;
	case 2:
		v = random_below(rnd, 2) ? 0 : UINT64_MAX;
		break;
	default:
		break;
	}
	v += unit * (random_below(rnd, 33) - 16);
	for (size_t i = bytes; i--; v >>= 8)
		p[i] = (uint8_t)v;
}

void fuzzimg_tweak(uint8_t *data, size_t size, uint64_t *rnd)
{
	for (uint64_t n = 1 + random_below(rnd, 3); n > 0; n--)
		number_change(data, size, rnd);
}

size_t fuzzimg_mutate(uint8_t *data, size_t size, size_t max_size,
		      unsigned seed)
{
	uint64_t rnd = seed;

	if (size < FUZZIMG_CONTROL_BYTES || random_below(&rnd, 2))
		return LLVMFuzzerMutate ? LLVMFuzzerMutate(data, size, max_size)
					: size;
	fuzzimg_tweak(data, size, &rnd);
	return size;
}

/* SPDX-License-Identifier: BSD-2-Clause */
/* One gzip member out of parts that several threads compress: each part is
 * raw deflate data that ends on a byte (Z_SYNC_FLUSH), with the 32 KiB in
 * front of it as dictionary, so parts may simply follow one another; their
 * CRCs are combined.
 * Source: RFC 1951, RFC 1952; zlib.h.
 */
#include <stdlib.h>
#include <string.h>

#include <isa-l/crc.h>
#include <zlib.h>

#include "bytes.h"

struct convert_deflate {
	z_stream z;
};

struct convert_deflate *convert_deflate_open(int level)
{
	struct convert_deflate *d = calloc(1, sizeof(*d));

	if (d && deflateInit2(&d->z, level, Z_DEFLATED, -15, 8,
			      Z_DEFAULT_STRATEGY) == Z_OK)
		return d;
	free(d);
	return NULL;
}

void convert_deflate_close(struct convert_deflate *d)
{
	if (d)
		(void)deflateEnd(&d->z);
	free(d);
}

size_t convert_deflate_part(struct convert_deflate *d, const uint8_t *dict,
			    size_t dict_len, const uint8_t *in, size_t len,
			    uint8_t *out)
{
	z_stream *z = &d->z;

	if (deflateReset(z) != Z_OK ||
	    (dict_len &&
	     deflateSetDictionary(z, dict, (uInt)dict_len) != Z_OK))
		return 0;
	z->next_in = (Bytef *)(uintptr_t)in; /* zlib does not write there */
	z->avail_in = (uInt)len;
	z->next_out = out;
	z->avail_out = CONVERT_PACKED_BYTES;
	/* Room left over says that the flush is complete. */
	if (deflate(z, Z_SYNC_FLUSH) != Z_OK || z->avail_in || !z->avail_out)
		return 0;
	return CONVERT_PACKED_BYTES - z->avail_out;
}

uint32_t convert_crc(const uint8_t *bytes, size_t len)
{
	return crc32_gzip_refl(0, bytes, len);
}

uint32_t convert_crc_join(uint32_t a, uint32_t b, uint64_t b_len)
{
	return (uint32_t)crc32_combine(a, b, (z_off_t)b_len);
}

/* By doubling: a run of 2^n zeros is two of 2^(n-1). */
uint32_t convert_crc_zeros(uint64_t len)
{
	static const uint8_t zero[1];
	uint32_t run = convert_crc(zero, 1), crc = 0;

	for (uint64_t n = 1; len; n <<= 1, len >>= 1) {
		if (len & 1)
			crc = convert_crc_join(crc, run, n);
		run = convert_crc_join(run, run, n);
	}
	return crc;
}

static void put32(uint8_t *to, uint32_t n)
{
	for (unsigned i = 0; i < 4; i++)
		to[i] = (uint8_t)(n >> 8 * i);
}

/* No name and no time: the same disk gives the same file. */
void convert_gzip_head(uint8_t out[CONVERT_GZIP_HEAD_BYTES], int level)
{
	static const uint8_t head[CONVERT_GZIP_HEAD_BYTES] = {
		0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3 /* Unix */
	};

	memcpy(out, head, sizeof(head));
	out[8] = level == 9 ? 2 : level == 1 ? 4 : 0;
}

void convert_gzip_tail(uint8_t out[CONVERT_GZIP_TAIL_BYTES], uint32_t crc,
		       uint64_t len)
{
	out[0] = 3; /* an empty last block */
	out[1] = 0;
	put32(out + 2, crc);
	put32(out + 6, (uint32_t)len);
}

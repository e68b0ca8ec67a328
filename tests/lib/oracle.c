/* SPDX-License-Identifier: BSD-2-Clause */
/* The independent reader, as oracle.h says. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "oracle.h"

static uint32_t num32(const uint8_t *p)
{
	return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 |
	       (uint32_t)p[2] << 8 | (uint32_t)p[3];
}

static uint64_t num64(const uint8_t *p)
{
	return (uint64_t)num32(p) << 32 | num32(p + 4);
}

/* Sum of all bytes but the four of the sum itself, inverted; `len` is whole
 * sectors. Eight bytes at a time: four sums of 16 bits, which 128 pairs of bytes
 * cannot fill.
 */
static bool sum_ok(const uint8_t *p, size_t len, size_t field)
{
	uint32_t sum = 0;

	for (size_t at = 0; at < len; at += 512) {
		const uint64_t odd = 0x00ff00ff00ff00ffu;
		uint64_t four = 0;

		for (size_t i = 0; i < 512; i += 8) {
			uint64_t w;

			memcpy(&w, p + at + i, 8);
			four += (w & odd) + (w >> 8 & odd);
		}
		sum += (uint32_t)((four & 0xffff) + (four >> 16 & 0xffff) +
				  (four >> 32 & 0xffff) + (four >> 48));
	}
	for (size_t i = field; i < field + 4; i++)
		sum -= p[i];
	return ~sum == num32(p + field);
}

static bool footer_ok(const uint8_t *p)
{
	return !memcmp(p, "conectix", 8) && num32(p + 12) == 0x10000 &&
	       sum_ok(p, 512, 64);
}

static bool no(struct oracle *o, const char *what, uint64_t at)
{
	snprintf(o->fault, sizeof(o->fault), "%s (offset %llu)", what,
		 (unsigned long long)at);
	return false;
}

static bool open_dynamic(struct oracle *o, const uint8_t *footer)
{
	const uint8_t *h;

	o->header = num64(footer + 16);
	if (o->header % 512 || o->header < 512 || o->header > o->len ||
	    o->len - o->header < 1024)
		return no(o, "dynamic header out of the file", o->header);
	h = o->bytes + o->header;
	if (memcmp(h, "cxsparse", 8) || !sum_ok(h, 1024, 36))
		return no(o, "dynamic header damaged", o->header);
	o->table = num64(h + 16);
	o->entries = num32(h + 28);
	o->block = num32(h + 32);
	if (o->block < 4096 || (o->block & (o->block - 1)))
		return no(o, "block size", o->header + 32);
	o->bitmap = (o->block / 4096 + 511) / 512 * 512;
	if ((uint64_t)o->entries * o->block < o->size)
		return no(o, "BAT too short", o->header + 28);
	if (o->table % 512 || o->table > o->len ||
	    o->len - o->table < ((uint64_t)o->entries * 4 + 511) / 512 * 512)
		return no(o, "BAT out of the file", o->table);
	return true;
}

bool oracle_open_by(struct oracle *o, const uint8_t *bytes, uint64_t len,
		    enum oracle_footer by)
{
	const uint8_t *f;

	memset(o, 0, sizeof(*o));
	o->bytes = bytes;
	o->len = len;
	if (len < 512 || len % 512)
		return no(o, "length is not whole sectors", len);
	o->footer = len - 512;
	o->footer_end_ok = footer_ok(bytes + o->footer);
	if (o->footer_end_ok && num32(bytes + o->footer + 60) == 2) {
		o->size = num64(bytes + o->footer + 48);
		if (o->size != len - 512)
			return no(o, "fixed: size and length disagree", len);
		return true;
	}
	o->dynamic = true;
	o->footer_copy_ok = footer_ok(bytes);
	if (!o->footer_copy_ok && !o->footer_end_ok)
		return no(o, "no valid footer at either end", 0);
	if (by == ORACLE_BOTH && o->footer_copy_ok && o->footer_end_ok &&
	    memcmp(bytes, bytes + o->footer, 512))
		return no(o, "footers differ", o->footer);
	f = o->footer_copy_ok && (by != ORACLE_END || !o->footer_end_ok)
		    ? bytes
		    : bytes + o->footer;
	o->diff = num32(f + 60) == 4;
	if (num32(f + 60) != 3 && !o->diff)
		return no(o, "type is neither dynamic nor differencing", 60);
	o->size = num64(f + 48);
	return open_dynamic(o, f);
}

bool oracle_open(struct oracle *o, const uint8_t *bytes, uint64_t len)
{
	return oracle_open_by(o, bytes, len, ORACLE_BOTH);
}

struct span {
	uint64_t from, to;
};

static int span_cmp(const void *a, const void *b)
{
	const struct span *x = a, *y = b;

	return (x->from > y->from) - (x->from < y->from);
}

bool oracle_check(struct oracle *o)
{
	uint64_t used = (o->size + (o->block ? o->block : 1) - 1) /
			(o->block ? o->block : 1);
	struct span *s;
	size_t n = 0;
	bool ok = true;

	if (!o->dynamic)
		return true;
	s = calloc((size_t)used + 4 + 8, sizeof(*s));
	if (!s)
		return no(o, "out of memory", 0);
	s[n++] = (struct span){0, 512};
	s[n++] = (struct span){o->header, o->header + 1024};
	s[n++] = (struct span){o->table, o->table + (uint64_t)o->entries * 4};
	if (o->footer_end_ok)
		s[n++] = (struct span){o->footer, o->footer + 512};
	for (size_t i = 0; i < 8 && o->diff; i++) {
		const uint8_t *l = o->bytes + o->header + 576 + i * 24;

		if (num32(l))
			s[n++] = (struct span){num64(l + 16),
					       num64(l + 16) + num32(l + 4)};
	}
	for (uint64_t i = 0; i < o->entries; i++) {
		uint32_t e = num32(o->bytes + o->table + i * 4);
		uint64_t at = (uint64_t)e * 512;

		if (e == 0xffffffff || i >= used)
			continue;
		s[n++] = (struct span){at, at + o->bitmap + o->block};
	}
	qsort(s, n, sizeof(*s), span_cmp);
	for (size_t i = 0; i < n && ok; i++) {
		if (s[i].to > o->len)
			ok = no(o, "past the end of the file", s[i].from);
		else if (i && s[i].from < s[i - 1].to)
			ok = no(o, "two structures overlap", s[i].from);
	}
	free(s);
	return ok;
}

bool oracle_absent(const struct oracle *o, uint64_t lba, uint64_t *end)
{
	uint64_t index;

	*end = UINT64_MAX;
	if (lba >= o->size / 512)
		return true;
	if (!o->dynamic)
		return false;
	index = lba * 512 / o->block;
	*end = (index + 1) * (o->block / 512);
	return num32(o->bytes + o->table + index * 4) == 0xffffffff;
}

/* Whether this layer says what the sector holds, and what. */
static bool sector_here(const struct oracle *o, uint64_t lba, uint8_t out[512])
{
	uint64_t index, sector, at;
	uint32_t e;

	if (!o->dynamic) {
		memcpy(out, o->bytes + lba * 512, 512);
		return true;
	}
	index = lba * 512 / o->block;
	sector = lba - index * (o->block / 512);
	e = num32(o->bytes + o->table + index * 4);
	if (e == 0xffffffff)
		return false;
	at = (uint64_t)e * 512;
	if (at + o->bitmap + (sector + 1) * 512 > o->len ||
	    !(o->bytes[at + sector / 8] & (0x80 >> sector % 8)))
		return false;
	memcpy(out, o->bytes + at + o->bitmap + sector * 512, 512);
	return true;
}

bool oracle_chain(const struct oracle *chain, unsigned layers, uint64_t lba,
		  uint8_t out[512])
{
	if (!layers || lba >= chain->size / 512)
		return false;
	memset(out, 0, 512);
	for (unsigned i = 0; i < layers && lba < chain[i].size / 512; i++)
		if (sector_here(&chain[i], lba, out) || !chain[i].diff)
			break;
	return true;
}

/* What a dynamic layer holds of its block at file offset `at`: the sectors
 * `first` to `end` of the disk.
 */
static void block_here(const struct oracle *o, uint64_t at, uint64_t first,
		       uint64_t end, uint8_t *out)
{
	for (uint64_t k = 0; k < end - first;) {
		uint64_t data = at + o->bitmap + k * 512, n = 1;
		uint8_t bits = o->bytes[at + k / 8];

		if (k % 8 == 0 && end - first - k >= 8 &&
		    (bits == 0 || bits == 0xff))
			n = 8;
		if (data + n * 512 > o->len && n == 8)
			n = 1;
		if (data + n * 512 > o->len)
			return;
		if (bits & (0x80 >> k % 8))
			memcpy(out + (first + k) * 512, o->bytes + data,
			       n * 512);
		k += n;
	}
}

static void layer_here(const struct oracle *o, uint64_t size, uint8_t *out)
{
	uint64_t sectors = (size < o->size ? size : o->size) / 512;

	if (!o->dynamic) {
		memcpy(out, o->bytes, sectors * 512);
		return;
	}
	for (uint64_t first = 0, i = 0; first < sectors; i++) {
		uint32_t e = num32(o->bytes + o->table + i * 4);
		uint64_t end = first + o->block / 512;

		if (end > sectors)
			end = sectors;
		if (e != 0xffffffff)
			block_here(o, (uint64_t)e * 512, first, end, out);
		first = end;
	}
}

void oracle_content(const struct oracle *chain, unsigned layers, uint8_t *out)
{
	uint64_t size = layers ? chain[0].size : 0;

	/* nothing below a layer that is no child counts */
	for (unsigned i = 0; i < layers; i++)
		if (!chain[i].diff)
			layers = i + 1;
	memset(out, 0, size);
	for (unsigned i = layers; i-- > 0;) {
		/* nor what those below have behind a layer's end */
		if (i + 1 < layers && chain[i].size < size)
			memset(out + chain[i].size, 0, size - chain[i].size);
		layer_here(&chain[i], size, out);
	}
}

bool oracle_sector(const struct oracle *o, uint64_t lba, uint8_t out[512])
{
	return oracle_chain(o, 1, lba, out);
}

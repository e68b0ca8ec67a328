/* SPDX-License-Identifier: BSD-2-Clause */
/* Texts between UTF-8, as here, and UTF-16, as the guest has them. Strict both
 * ways: what is no text is refused and not repaired.
 * Source: RFC 3629; RFC 2781.
 */
#include <errno.h>
#include <string.h>

#include "ic_int.h"

/* One character of UTF-8: its length, or 0. Shortest form only, no half of a
 * surrogate pair.
 */
static unsigned decode(const uint8_t *s, uint32_t *out)
{
	static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
	unsigned len = s[0] < 0x80		 ? 1
		       : (s[0] & 0xe0) == 0xc0 ? 2
		       : (s[0] & 0xf0) == 0xe0 ? 3
		       : (s[0] & 0xf8) == 0xf0 ? 4
						 : 0;
	uint32_t c;

	if (len == 0)
		return 0;
	c = len == 1 ? s[0] : s[0] & (0xffu >> (len + 1));
	for (unsigned i = 1; i < len; i++) {
		if ((s[i] & 0xc0) != 0x80) /* the zero at the end, too */
			return 0;
		c = c << 6 | (s[i] & 0x3fu);
	}
	if (c < least[len] || c > 0x10ffff || (c >= 0xd800 && c < 0xe000))
		return 0;
	*out = c;
	return len;
}

static void put_unit(uint8_t *to, uint32_t unit)
{
	to[0] = (uint8_t)unit;
	to[1] = (uint8_t)(unit >> 8);
}

int ic_text_put(const char *from, uint8_t *to, size_t to_bytes)
{
	const uint8_t *s = (const uint8_t *)from;
	size_t at = 0;

	while (*s) {
		uint32_t c;
		unsigned len = decode(s, &c), units = 1;

		if (len == 0)
			return -EINVAL;
		units += c > 0xffff;
		if (at + 2u * units + 2 > to_bytes)
			return -EINVAL;
		if (units == 2) {
			put_unit(to + at, 0xd800 + ((c - 0x10000) >> 10));
			at += 2;
			c = 0xdc00 + ((c - 0x10000) & 0x3ff);
		}
		put_unit(to + at, c);
		at += 2;
		s += len;
	}
	put_unit(to + at, 0);
	return (int)at + 2;
}

static unsigned encode(uint32_t c, uint8_t *to)
{
	unsigned len = c < 0x80 ? 1 : c < 0x800 ? 2 : c < 0x10000 ? 3 : 4;

	if (len == 1) {
		to[0] = (uint8_t)c;
		return 1;
	}
	for (unsigned i = len - 1; i > 0; i--, c >>= 6)
		to[i] = (uint8_t)(0x80 | (c & 0x3f));
	to[0] = (uint8_t)(0xf00u >> len | c);
	return len;
}

static uint32_t unit_at(const uint8_t *from, uint32_t i)
{
	return from[2 * i] | (uint32_t)from[2 * i + 1] << 8;
}

int ic_text_get(const uint8_t *from, uint32_t bytes, size_t max, char *to,
		size_t to_bytes)
{
	uint32_t units = bytes / 2;
	size_t at = 0;

	if (bytes % 2 || bytes > max)
		return -EBADMSG;
	for (uint32_t i = 0; i < units; i++) {
		uint32_t c = unit_at(from, i), low;
		uint8_t utf8[4];
		unsigned len;

		if (c == 0) {
			to[at] = '\0';
			return 0;
		}
		if (c >= 0xd800 && c < 0xe000) {
			low = i + 1 < units ? unit_at(from, ++i) : 0;
			if (c >= 0xdc00 || low < 0xdc00 || low >= 0xe000)
				return -EBADMSG;
			c = 0x10000 + ((c - 0xd800) << 10) + (low - 0xdc00);
		}
		len = encode(c, utf8);
		if (at + len >= to_bytes)
			return -EBADMSG;
		memcpy(to + at, utf8, len);
		at += len;
	}
	return -EBADMSG; /* no zero at its end */
}

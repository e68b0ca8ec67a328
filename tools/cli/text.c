/* SPDX-License-Identifier: BSD-2-Clause */
/* Foreign text made fit for a terminal and for JSON: labels and names come
 * from images, and an image may hold escape sequences.
 */
#include <string.h>

#include "cli.h"

/* Bytes of the UTF-8 sequence at `p`, 0 when it is none or a control. */
static size_t sequence(const unsigned char *p)
{
	size_t n, i;
	uint32_t c;

	if (p[0] < 0x80)
		return p[0] >= 0x20 && p[0] != 0x7f ? 1 : 0;
	n = (p[0] & 0xe0) == 0xc0 ? 2
	    : (p[0] & 0xf0) == 0xe0 ? 3
	    : (p[0] & 0xf8) == 0xf0 ? 4
				    : 0;
	c = n == 2 ? p[0] & 0x1fu : n == 3 ? p[0] & 0x0fu : p[0] & 0x07u;
	for (i = 1; i < n; i++) {
		if ((p[i] & 0xc0) != 0x80)
			return 0;
		c = c << 6 | (p[i] & 0x3fu);
	}
	/* C1 controls, overlong forms, surrogates, past the last plane. */
	if ((n == 2 && c < 0xa0) || (n == 3 && c < 0x800) ||
	    (n == 4 && (c < 0x10000 || c > 0x10ffff)) ||
	    (c >= 0xd800 && c < 0xe000))
		return 0;
	return n;
}

void cli_text_clean(char *text)
{
	unsigned char *p = (unsigned char *)text;

	while (*p) {
		size_t n = sequence(p);

		if (!n)
			*p = '?';
		p += n ? n : 1;
	}
}

static size_t put_utf8(uint32_t c, char *out)
{
	if (c < 0x80) {
		out[0] = (char)c;
		return 1;
	}
	if (c < 0x800) {
		out[0] = (char)(0xc0 | c >> 6);
		out[1] = (char)(0x80 | (c & 0x3f));
		return 2;
	}
	if (c < 0x10000) {
		out[0] = (char)(0xe0 | c >> 12);
		out[1] = (char)(0x80 | (c >> 6 & 0x3f));
		out[2] = (char)(0x80 | (c & 0x3f));
		return 3;
	}
	out[0] = (char)(0xf0 | c >> 18);
	out[1] = (char)(0x80 | (c >> 12 & 0x3f));
	out[2] = (char)(0x80 | (c >> 6 & 0x3f));
	out[3] = (char)(0x80 | (c & 0x3f));
	return 4;
}

const char *cli_text_utf16be(const uint8_t *src, size_t src_bytes, char *buf,
			     size_t n)
{
	size_t at = 0;

	for (size_t i = 0; i + 2 <= src_bytes && at + 5 <= n; i += 2) {
		uint32_t c = (uint32_t)src[i] << 8 | src[i + 1];

		if (!c)
			break;
		if (c >= 0xd800 && c < 0xdc00 && i + 4 <= src_bytes &&
		    (src[i + 2] & 0xfc) == 0xdc) {
			c = 0x10000 + ((c & 0x3ff) << 10) +
			    ((uint32_t)(src[i + 2] & 3) << 8 | src[i + 3]);
			i += 2;
		} else if (c >= 0xd800 && c < 0xe000) {
			c = '?'; /* half a pair */
		}
		at += put_utf8(c, buf + at);
	}
	buf[at] = '\0';
	cli_text_clean(buf);
	return buf;
}

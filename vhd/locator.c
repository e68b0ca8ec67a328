/* SPDX-License-Identifier: BSD-2-Clause */
/* Parent names, as locator.h says. The text is hostile: every length is
 * bounded, nothing is trusted to end in NUL, and no result names anything
 * outside what a later beneath-only open allows.
 */
#include <errno.h>
#include <string.h>

#include "locator.h"

#define REPLACEMENT 0xfffdu

/* ------------------------------------------------------------- unicode -- */

static uint32_t unit_get(const uint8_t *b, enum vhd_utf16_order order)
{
	return order == VHD_UTF16_BE ? (uint32_t)(b[0] << 8 | b[1])
				     : (uint32_t)(b[1] << 8 | b[0]);
}

static size_t utf8_put(uint32_t c, char *out)
{
	unsigned char b[4];
	size_t n;

	if (c < 0x80) {
		b[0] = (unsigned char)c;
		n = 1;
	} else if (c < 0x800) {
		b[0] = (unsigned char)(0xc0 | c >> 6);
		n = 2;
	} else if (c < 0x10000) {
		b[0] = (unsigned char)(0xe0 | c >> 12);
		n = 3;
	} else {
		b[0] = (unsigned char)(0xf0 | c >> 18);
		n = 4;
	}
	for (size_t i = 1; i < n; i++)
		b[i] = (unsigned char)(0x80 | (c >> 6 * (n - 1 - i) & 0x3f));
	memcpy(out, b, n);
	return n;
}

ssize_t vhd_utf16_decode(const uint8_t *in, size_t len_bytes,
			 enum vhd_utf16_order order, char *out, size_t cap)
{
	size_t o = 0;

	if (len_bytes % 2)
		return -EINVAL;
	for (size_t i = 0; i < len_bytes; i += 2) {
		uint32_t c = unit_get(in + i, order);

		if (!c)
			break;
		if (c >= 0xd800 && c < 0xdc00 && i + 4 <= len_bytes) {
			uint32_t lo = unit_get(in + i + 2, order);

			if (lo >= 0xdc00 && lo < 0xe000) {
				c = 0x10000 + ((c - 0xd800) << 10) +
				    (lo - 0xdc00);
				i += 2;
			}
		}
		if (c >= 0xd800 && c < 0xe000)
			c = REPLACEMENT;
		if (cap - o < 5) /* the longest sequence and the NUL */
			return -ENAMETOOLONG;
		o += utf8_put(c, out + o);
	}
	if (o >= cap)
		return -ENAMETOOLONG;
	out[o] = '\0';
	return (ssize_t)o;
}

/* One code point; 0 at the end of the string, UINT32_MAX when malformed. */
static uint32_t utf8_next(const char **p)
{
	static const uint32_t least[] = {0, 0x80, 0x800, 0x10000};
	const unsigned char *s = (const unsigned char *)*p;
	uint32_t c = *s++;
	unsigned more = c < 0x80 ? 0 : c < 0xe0 ? 1 : c < 0xf0 ? 2 : 3;

	if ((c >= 0x80 && c < 0xc0) || c >= 0xf8)
		return UINT32_MAX;
	if (more)
		c &= 0x3fu >> more;
	for (unsigned i = 0; i < more; i++, s++) {
		if ((*s & 0xc0) != 0x80)
			return UINT32_MAX;
		c = c << 6 | (*s & 0x3f);
	}
	if (c < least[more] || c > 0x10ffff || (c >= 0xd800 && c < 0xe000))
		return UINT32_MAX;
	*p = (const char *)s;
	return c;
}

static void unit_put(uint8_t *b, uint32_t unit, enum vhd_utf16_order order)
{
	b[order == VHD_UTF16_BE ? 0 : 1] = (uint8_t)(unit >> 8);
	b[order == VHD_UTF16_BE ? 1 : 0] = (uint8_t)unit;
}

ssize_t vhd_utf16_encode(const char *in, enum vhd_utf16_order order,
			 uint8_t *out, size_t cap)
{
	size_t o = 0;

	for (;;) {
		uint32_t c = utf8_next(&in);
		size_t need = c >= 0x10000 ? 4 : 2;

		if (!c)
			return (ssize_t)o;
		if (c == UINT32_MAX)
			return -EINVAL;
		if (cap - o < need)
			return -ENAMETOOLONG;
		if (need == 4) {
			c -= 0x10000;
			unit_put(out + o, 0xd800 + (c >> 10), order);
			o += 2;
			c = 0xdc00 + (c & 0x3ff);
		}
		unit_put(out + o, c, order);
		o += 2;
	}
}

/* --------------------------------------------------------------- paths -- */

/* `\` and `/` become `/`; empty and `.` parts vanish; in place. */
static void path_tidy(char *path)
{
	char *to = path;

	for (char *p = path; *p;) {
		size_t n = strcspn(p, "\\/");

		if (n && !(n == 1 && p[0] == '.')) {
			if (to != path)
				*to++ = '/';
			memmove(to, p, n);
			to += n;
		}
		p += n;
		if (*p)
			p++;
	}
	*to = '\0';
}

static void path_last_part(char *path)
{
	char *slash = strrchr(path, '/');

	if (slash)
		memmove(path, slash + 1, strlen(slash + 1) + 1);
}

/* "C:..." or a separator in front: a place on one machine only. */
static bool path_absolute(const char *path)
{
	bool letter = (path[0] >= 'A' && path[0] <= 'Z') ||
		      (path[0] >= 'a' && path[0] <= 'z');

	return path[0] == '\\' || path[0] == '/' || (letter && path[1] == ':');
}

static ssize_t path_finish(char *path, bool absolute)
{
	/* "C:name" is relative to a drive's directory we do not have */
	if (absolute && path[0] && path[1] == ':')
		memmove(path, path + 2, strlen(path + 2) + 1);
	path_tidy(path);
	if (absolute)
		path_last_part(path);
	if (!path[0] || !strcmp(path, "..") ||
	    (strlen(path) >= 3 && !strcmp(path + strlen(path) - 3, "/..")))
		return -EINVAL;
	return (ssize_t)strlen(path);
}

static int hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return -1;
}

/* "file://HOST/PATH", percent-encoded; blktap writes "file://./NAME". */
static ssize_t url_path(const char *url, char *out, size_t cap)
{
	static const char scheme[] = "file://";
	static const char host[] = "localhost";
	size_t o = 0;
	bool absolute;

	if (strncmp(url, scheme, sizeof(scheme) - 1))
		return -EINVAL;
	url += sizeof(scheme) - 1;
	if (!strncmp(url, host, sizeof(host) - 1))
		url += sizeof(host) - 1;
	for (; *url; url++) {
		int hi = url[0] == '%' ? hex_digit(url[1]) : -1;
		int lo = hi >= 0 ? hex_digit(url[2]) : -1;

		char c = *url;

		if (c == '%') {
			if (lo < 0 || !(hi | lo))
				return -EINVAL;
			c = (char)(hi << 4 | lo);
			url += 2;
		}
		if (cap - o < 2)
			return -ENAMETOOLONG;
		out[o++] = c;
	}
	out[o] = '\0';
	absolute = path_absolute(out);
	return path_finish(out, absolute);
}

/* 8-bit text of no stated code page: copied as it is. */
static ssize_t bytes_copy(const uint8_t *in, size_t len, char *out, size_t cap)
{
	size_t n = strnlen((const char *)in, len);

	if (n >= cap)
		return -ENAMETOOLONG;
	memcpy(out, in, n);
	out[n] = '\0';
	return (ssize_t)n;
}

ssize_t vhd_locator_path(uint32_t platform, const uint8_t *payload,
			 size_t len_bytes, char *out, size_t cap)
{
	char url[VHD_PARENT_PATH_MAX];
	ssize_t n;

	if (!cap || len_bytes > VHD_LOCATOR_PAYLOAD_MAX)
		return -EINVAL;
	switch (platform) {
	case VHD_LOCATOR_W2RU:
	case VHD_LOCATOR_W2KU:
		n = vhd_utf16_decode(payload, len_bytes, VHD_UTF16_LE, out,
				     cap);
		break;
	case VHD_LOCATOR_WI2R:
	case VHD_LOCATOR_WI2K:
		n = bytes_copy(payload, len_bytes, out, cap);
		break;
	case VHD_LOCATOR_MACX:
		n = bytes_copy(payload, len_bytes, url, sizeof(url));
		return n < 0 ? n : url_path(url, out, cap);
	default:
		return -ENOTSUP;
	}
	return n < 0 ? n : path_finish(out, path_absolute(out));
}

ssize_t vhd_parent_name_path(const uint8_t name[512], char *out, size_t cap)
{
	ssize_t n = vhd_utf16_decode(name, 512, VHD_UTF16_BE, out, cap);

	if (n < 0)
		return n;
	n = path_finish(out, path_absolute(out));
	if (n > 0)
		path_last_part(out);
	return n < 0 ? n : (ssize_t)strlen(out);
}

ssize_t vhd_locator_payload(const char *relative, uint8_t *out, size_t cap)
{
	bool up = strncmp(relative, "../", 3) == 0;
	ssize_t n = vhd_utf16_encode(up ? "" : ".\\", VHD_UTF16_LE, out, cap);
	ssize_t m;

	if (n < 0)
		return n;
	m = vhd_utf16_encode(relative, VHD_UTF16_LE, out + n, cap - (size_t)n);
	if (m < 0)
		return m;
	/* only ASCII '/' has this unit: no half of a pair does */
	for (ssize_t i = n; i < n + m; i += 2)
		if (out[i] == '/' && !out[i + 1])
			out[i] = '\\';
	return n + m;
}

const char *vhd_locator_name(uint32_t platform)
{
	static const struct {
		uint32_t code;
		const char *name;
	} names[] = {
		{VHD_LOCATOR_WI2R, "Wi2r (relative, 8-bit)"},
		{VHD_LOCATOR_WI2K, "Wi2k (absolute, 8-bit)"},
		{VHD_LOCATOR_W2RU, "W2ru (relative)"},
		{VHD_LOCATOR_W2KU, "W2ku (absolute)"},
		{VHD_LOCATOR_MAC, "Mac (alias)"},
		{VHD_LOCATOR_MACX, "MacX (file URL)"},
	};

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (names[i].code == platform)
			return names[i].name;
	return NULL;
}

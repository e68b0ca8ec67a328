/* SPDX-License-Identifier: BSD-2-Clause */
/* Identifiers and times as people read them.
 *
 * The 16 bytes of a VHD's id are opaque: Windows writes a native GUID, whose
 * first three groups are little-endian, others write RFC 4122 order. Nobody
 * can tell from the bytes, so both spellings are offered.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "cli.h"

#define VHD_EPOCH_UNIX_S INT64_C(946684800) /* 2000-01-01 00:00:00 UTC */

static const char *spell(const uint8_t id[16], const uint8_t order[16],
			 bool dashes, char *buf)
{
	static const char hex[] = "0123456789abcdef";
	char *p = buf;

	for (int i = 0; i < 16; i++) {
		if (dashes && (i == 4 || i == 6 || i == 8 || i == 10))
			*p++ = '-';
		*p++ = hex[id[order[i]] >> 4];
		*p++ = hex[id[order[i]] & 15];
	}
	*p = '\0';
	return buf;
}

static const uint8_t straight[16] = { 0, 1, 2,	3,  4,	5,  6,	7,
				      8, 9, 10, 11, 12, 13, 14, 15 };

const char *cli_id_windows(const uint8_t id[16], char *buf)
{
	static const uint8_t mixed[16] = { 3, 2, 1,  0,	 5,  4,	 7,  6,
					   8, 9, 10, 11, 12, 13, 14, 15 };

	return spell(id, mixed, true, buf);
}

const char *cli_id_rfc4122(const uint8_t id[16], char *buf)
{
	return spell(id, straight, true, buf);
}

const char *cli_id_hex(const uint8_t id[16], char *buf)
{
	return spell(id, straight, false, buf);
}

static int hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c = (char)(c | 0x20);
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* Dashes belong behind these many digits. */
static bool dash_due(int digits)
{
	return digits == 8 || digits == 12 || digits == 16 || digits == 20;
}

int cli_id_parse(const char *text, uint8_t id[16])
{
	static const uint8_t mixed[16] = { 3, 2, 1,  0,	 5,  4,	 7,  6,
					   8, 9, 10, 11, 12, 13, 14, 15 };
	bool brace = *text == '{', dashes = false;
	uint8_t b[16] = { 0 };
	int n = 0;

	for (text += brace; n < 32; n++, text++) {
		int digit;

		if (*text == '-' && dash_due(n) && (dashes || n == 8)) {
			dashes = true;
			text++;
		} else if (dashes && dash_due(n)) {
			return -EINVAL;
		}
		digit = hex_digit(*text);
		if (digit < 0)
			return -EINVAL;
		b[n / 2] = (uint8_t)(b[n / 2] << 4 | digit);
	}
	if (strcmp(text, brace ? "}" : "") != 0 || (brace && !dashes))
		return -EINVAL;
	for (int i = 0; i < 16; i++)
		id[dashes ? mixed[i] : i] = b[i];
	return 0;
}

int cli_time_parse(const char *text, uint32_t *since_2000_s)
{
	struct tm tm = { 0 };
	const char *end = strptime(text, "%Y-%m-%dT%H:%M:%SZ", &tm);
	int64_t s;

	if (!end)
		end = strptime(text, "%Y-%m-%d", &tm);
	if (!end || *end)
		return -EINVAL;
	s = (int64_t)timegm(&tm) - VHD_EPOCH_UNIX_S;
	if (s < 0 || s > UINT32_MAX)
		return -ERANGE;
	*since_2000_s = (uint32_t)s;
	return 0;
}

const char *cli_time_text(uint32_t since_2000_s, char *buf)
{
	time_t t = (time_t)(VHD_EPOCH_UNIX_S + since_2000_s);
	struct tm tm;

	if (!gmtime_r(&t, &tm) ||
	    !strftime(buf, CLI_TIME_TEXT, "%Y-%m-%dT%H:%M:%SZ", &tm))
		snprintf(buf, CLI_TIME_TEXT, "%" PRIu32, since_2000_s);
	return buf;
}

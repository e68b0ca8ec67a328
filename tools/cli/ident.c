/* SPDX-License-Identifier: BSD-2-Clause */
/* Identifiers and times as people read them.
 *
 * The 16 bytes of a VHD's id are opaque: Windows writes a native GUID, whose
 * first three groups are little-endian, others write RFC 4122 order. Nobody
 * can tell from the bytes, so both spellings are offered.
 */
#include <inttypes.h>
#include <stdio.h>
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

const char *cli_time_text(uint32_t since_2000_s, char *buf)
{
	time_t t = (time_t)(VHD_EPOCH_UNIX_S + since_2000_s);
	struct tm tm;

	if (!gmtime_r(&t, &tm) ||
	    !strftime(buf, CLI_TIME_TEXT, "%Y-%m-%dT%H:%M:%SZ", &tm))
		snprintf(buf, CLI_TIME_TEXT, "%" PRIu32, since_2000_s);
	return buf;
}

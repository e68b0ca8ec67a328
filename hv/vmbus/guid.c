/* SPDX-License-Identifier: BSD-2-Clause */
/* GUIDs: text to wire bytes. The first three groups are little-endian
 * integers on the wire, the last two are bytes in the order of the text.
 */
#include "hv/vmbus.h"

#include <errno.h>

#define GUID_TEXT_CHARS 36

/* For each wire byte, the position of its two digits in the text. */
static const uint8_t digits_at[16] = {6,  4,  2,  0,  11, 9,  16, 14,
				      19, 21, 24, 26, 28, 30, 32, 34};

static int hex_value(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return -1;
}

int vmbus_guid_parse(const char *text, struct vmbus_guid *out)
{
	struct vmbus_guid guid;
	unsigned len = 0;

	while (len <= GUID_TEXT_CHARS && text[len] != '\0')
		len++;
	if (len != GUID_TEXT_CHARS || text[8] != '-' || text[13] != '-' ||
	    text[18] != '-' || text[23] != '-')
		return -EINVAL;
	for (unsigned i = 0; i < 16; i++) {
		int hi = hex_value(text[digits_at[i]]);
		int lo = hex_value(text[digits_at[i] + 1]);

		if (hi < 0 || lo < 0)
			return -EINVAL;
		guid.b[i] = (uint8_t)(hi << 4 | lo);
	}
	*out = guid;
	return 0;
}

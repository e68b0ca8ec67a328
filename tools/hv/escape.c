/* SPDX-License-Identifier: BSD-2-Clause */
/* The escape key in console input: a filter that keeps one bit of state. */
#include "hv.h"

#define CTRL_A 1

size_t hv_escape_filter(struct hv_escape *e, uint8_t *bytes, size_t len)
{
	size_t kept = 0;

	for (size_t i = 0; i < len; i++) {
		uint8_t c = bytes[i];

		if (!e->pending) {
			if (c == CTRL_A)
				e->pending = true;
			else
				bytes[kept++] = c;
			continue;
		}
		e->pending = false;
		if (c == CTRL_A)
			bytes[kept++] = c;
		else if (c == 'x' || c == 'X')
			e->quit = true;
		else if (c == 'h' || c == 'H' || c == '?')
			e->help = true;
		/* Anything else after Ctrl-A is a slip and goes nowhere. */
	}
	return kept;
}

/* SPDX-License-Identifier: BSD-2-Clause */
/* One row of the report for people: a label column, then the text. */
#include <stdarg.h>
#include <stdio.h>

#include "inspect.h"

void inspect_row(FILE *out, const char *label, const char *fmt, ...)
{
	va_list ap;

	fprintf(out, "  %-*s", INSPECT_LABEL_COLUMNS, label);
	va_start(ap, fmt);
	vfprintf(out, fmt, ap);
	va_end(ap);
	fputc('\n', out);
}

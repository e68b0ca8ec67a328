/* SPDX-License-Identifier: BSD-2-Clause */
/* Text in the SVG: foreign bytes are escaped, what is too long is cut. */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "svg.h"

void svg_put(FILE *out, const char *text, size_t most)
{
	size_t chars = 0;

	for (const char *p = text; *p; p++)
		chars += (*p & 0xc0) != 0x80;
	for (size_t n = 0; *text; text++) {
		if ((*text & 0xc0) != 0x80 && chars > most && ++n >= most) {
			fputs("…", out);
			return;
		}
		/* U+FFFE and U+FFFF are no characters of XML. */
		if (!strncmp(text, "\xef\xbf\xbe", 3) ||
		    !strncmp(text, "\xef\xbf\xbf", 3)) {
			fputc('?', out);
			text += 2;
			continue;
		}
		switch (*text) {
		case '&':
			fputs("&amp;", out);
			break;
		case '<':
			fputs("&lt;", out);
			break;
		case '>':
			fputs("&gt;", out);
			break;
		case '"':
			fputs("&quot;", out);
			break;
		default:
			fputc(*text, out);
		}
	}
}

void svg_text(const struct svg *s, double x, double y, const char *class,
	      const char *fmt, ...)
{
	char text[512];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	cli_text_clean(text);
	fprintf(s->out, "<text x=\"%.1f\" y=\"%.1f\" class=\"%s\">", x, y,
		class);
	svg_put(s->out, text, 200);
	fputs("</text>\n", s->out);
}

/* The byte at which character `n` begins. */
static size_t char_at(const char *text, size_t n)
{
	size_t i = 0;

	for (; text[i]; i++)
		if ((text[i] & 0xc0) != 0x80 && !n--)
			break;
	return i;
}

const char *svg_shorten(const char *text, size_t most, char buf[SVG_SHORT])
{
	size_t chars = 0, tail = most / 3;

	for (const char *p = text; *p; p++)
		chars += (*p & 0xc0) != 0x80;
	if (chars <= most)
		return text;
	snprintf(buf, SVG_SHORT, "%.*s…%s",
		 (int)char_at(text, most - tail - 1), text,
		 text + char_at(text, chars - tail));
	return buf;
}

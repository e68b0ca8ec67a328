/* SPDX-License-Identifier: BSD-2-Clause */
/* A stream into memory that fails when there is none. What open_memstream
 * gives (glibc 2.36) drops what does not fit, and says that all is well.
 */
#include <stdlib.h>
#include <string.h>

#include "cli.h"

#define ROOM_MIN 4096u

static ssize_t take(void *cookie, const char *bytes, size_t n)
{
	struct cli_text_stream *s = cookie;

	if (n >= s->room - s->len) { /* with room for a NUL */
		size_t room = s->room + (n > s->room ? n : s->room) + ROOM_MIN;
		char *more = room > s->room ? realloc(s->text, room) : NULL;

		if (!more)
			return 0; /* the stream's error */
		s->text = more;
		s->room = room;
	}
	memcpy(s->text + s->len, bytes, n);
	s->len += n;
	s->text[s->len] = '\0';
	return (ssize_t)n;
}

FILE *cli_text_stream_open(struct cli_text_stream *s)
{
	const cookie_io_functions_t calls = {.write = take};

	*s = (struct cli_text_stream){.text = NULL};
	return fopencookie(s, "w", calls);
}

bool cli_text_stream_close(FILE *f)
{
	bool whole = !fflush(f) && !ferror(f);

	return !fclose(f) && whole;
}

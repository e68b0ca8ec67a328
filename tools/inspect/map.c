/* SPDX-License-Identifier: BSD-2-Clause */
/* The picture in a terminal: rows of equal cells from the disk's start to its
 * end, partitions as brackets above them, a legend with totals below. A cell
 * shows the layer that most of its data is in, and how much of it is data.
 *
 * Names are foreign: they were cleaned when they were read, and are cut here by
 * columns, not bytes.
 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <wchar.h>

#include "alloc.h"
#include "picture.h"

#define LABEL_COLUMNS 13 /* "1023.875 GiB " less a rare digit */
#define ROWS_MAX 16
#define CELLS_STEP 16 /* so that rows begin at round places */
#define CELLS_MIN 16
#define CELLS_MAX 256

/* One column of the terminal: a character, and what is before it. */
struct column {
	char text[8];
	bool taken;
};

struct glyphs {
	const char *full; /* of this image: most of the cell is data */
	const char *half;
	const char *low;
	const char *partial;
	const char *zero;
	const char *hole;
	const char *lost;
	const char *from; /* brackets */
	const char *to;
	const char *line;
	const char *alone;
	const char *cut;
};

static const struct glyphs unicode = {
	.full = "█", .half = "▒", .low = "░", .partial = "▚",
	.zero = "╌", .hole = "·", .lost = "?", .from = "┌",
	.to = "┐", .line = "─", .alone = "╷", .cut = "…",
};

static const struct glyphs ascii = {
	.full = "#", .half = "+", .low = "-", .partial = "%",
	.zero = "z", .hole = ".", .lost = "?", .from = "/",
	.to = "\\", .line = "_", .alone = "|", .cut = ".",
};

struct drawing {
	FILE *out;
	const struct inspect_report *r;
	const struct inspect_alloc *a;
	const struct inspect_grid *g;
	const struct inspect_style *style;
	const struct glyphs *glyph;
	uint32_t row_cells;
	const char *colour; /* the terminal's now */
	bool named[INSPECT_PARTS_MAX]; /* partitions whose label was drawn */
};

/* --------------------------------------------------------------- sizes -- */

/* Where a row begins: exact as far as three decimals go. */
static const char *row_label(uint64_t at, char *buf, size_t n)
{
	static const char *const units[] = {"bytes", "KiB", "MiB", "GiB",
					    "TiB"};
	double value = (double)at;
	size_t u = 0, len;

	for (; value >= 1024 && u < 4; u++)
		value /= 1024;
	snprintf(buf, n, "%.3f", value);
	len = strlen(buf);
	while (buf[len - 1] == '0')
		len--;
	if (buf[len - 1] == '.')
		len--;
	snprintf(buf + len, n - len, " %s", units[u]);
	return at ? buf : "0";
}

static uint32_t row_cells(unsigned columns)
{
	uint32_t n = columns > LABEL_COLUMNS ? columns - LABEL_COLUMNS : 0;

	n -= n % CELLS_STEP;
	if (n < CELLS_MIN)
		return CELLS_MIN;
	return n < CELLS_MAX ? n : CELLS_MAX;
}

uint64_t inspect_map_cell(uint64_t size_bytes, unsigned columns)
{
	uint64_t most = (uint64_t)row_cells(columns) * ROWS_MAX;
	uint64_t cell = VHD_SECTOR_BYTES;

	while ((size_bytes + cell - 1) / cell > most)
		cell *= 2;
	return cell;
}

/* -------------------------------------------------------------- colour -- */

static const char grey[] = "\033[90m";

static const char *layer_colour(uint32_t layer)
{
	static const char *const colours[] = {
		"\033[94m", "\033[93m", "\033[92m",
		"\033[95m", "\033[96m", "\033[91m",
	};

	return colours[layer % (sizeof(colours) / sizeof(colours[0]))];
}

static void set_colour(struct drawing *d, const char *colour)
{
	if (!d->style->colour || d->colour == colour)
		return;
	fputs(colour ? colour : "\033[0m", d->out);
	d->colour = colour;
}

static void put(struct drawing *d, const char *colour, const char *text)
{
	set_colour(d, colour);
	fputs(text, d->out);
}

/* --------------------------------------------------------------- cells -- */

/* Without colours a parent is known by its number. */
static const char *layer_glyph(const struct drawing *d, uint32_t layer,
			       const char *shade, char buf[8])
{
	if (d->style->colour || !layer)
		return shade;
	snprintf(buf, 8, "%c", layer < 10 ? (char)('0' + layer) : '*');
	return buf;
}

static uint32_t dominant_layer(const struct drawing *d, uint32_t cell,
			       uint64_t *sum)
{
	uint32_t best = 0;

	*sum = 0;
	for (uint32_t i = 0; i < d->a->layers; i++) {
		uint64_t n = inspect_seen(d->g, i, cell);

		*sum += n;
		if (n > inspect_seen(d->g, best, cell))
			best = i;
	}
	return best;
}

static void put_rest(struct drawing *d, uint32_t cell)
{
	const char *const glyphs[INSPECT_RESTS] = {
		[INSPECT_ZERO] = d->glyph->zero,
		[INSPECT_HOLE] = d->glyph->hole,
		[INSPECT_LOST] = d->glyph->lost,
	};
	uint32_t best = 0;

	for (uint32_t i = 1; i < INSPECT_RESTS; i++)
		if (inspect_seen(d->g, d->a->layers + i, cell) >
		    inspect_seen(d->g, d->a->layers + best, cell))
			best = i;
	put(d, best == INSPECT_LOST ? NULL : grey, glyphs[best]);
}

static void put_cell(struct drawing *d, uint32_t cell)
{
	uint64_t start = cell * d->g->cell_bytes, data;
	uint64_t len = d->a->size_bytes - start;
	uint32_t layer = dominant_layer(d, cell, &data);
	const char *shade = d->glyph->low;
	char buf[8];

	if (!data) {
		put_rest(d, cell);
		return;
	}
	if (len > d->g->cell_bytes)
		len = d->g->cell_bytes;
	if (d->g->partial[cell] * 2 > data)
		shade = d->glyph->partial;
	else if (data >= len - len / 4)
		shade = d->glyph->full;
	else if (data >= len / 4)
		shade = d->glyph->half;
	put(d, layer_colour(layer), layer_glyph(d, layer, shade, buf));
}

/* ------------------------------------------------------------ brackets -- */

/* The next character of `*text` as one column or two; 0: no more. */
static int next_char(const struct drawing *d, const char **text, char buf[8])
{
	mbstate_t state = {0};
	wchar_t c;
	size_t n = mbrtowc(&c, *text, strlen(*text), &state);
	int width;

	if (!**text)
		return 0;
	if (n == 0 || n > 6) {
		n = 1;
		c = L'?';
	}
	width = wcwidth(c);
	memcpy(buf, *text, n);
	buf[n] = '\0';
	*text += n;
	if (width < 1 || (!d->style->utf8 && n > 1)) {
		strcpy(buf, "?");
		return 1;
	}
	return width;
}

/* Write `text` over columns [from, to), the last one a sign that it was cut. */
static void put_label(const struct drawing *d, struct column *line,
		      uint32_t from, uint32_t to, const char *text)
{
	uint32_t at = from;
	char buf[8];
	int width;

	while (at < to && (width = next_char(d, &text, buf)) > 0) {
		if (at + (uint32_t)width > to ||
		    (at + (uint32_t)width == to && *text)) {
			strcpy(line[at].text, d->glyph->cut);
			return;
		}
		strcpy(line[at++].text, buf);
		if (width == 2)
			line[at++].text[0] = '\0';
	}
}

static void put_frame(const struct drawing *d, struct column *line, uint32_t a,
		      uint32_t b, bool begins, bool ends)
{
	for (uint32_t i = a; i <= b; i++) {
		strcpy(line[i].text, d->glyph->line);
		line[i].taken = true;
	}
	if (a == b) {
		strcpy(line[a].text, begins ? d->glyph->alone : d->glyph->to);
		return;
	}
	if (begins)
		strcpy(line[a].text, d->glyph->from);
	if (ends)
		strcpy(line[b].text, d->glyph->to);
}

/* Partition `n` in the row that begins with cell `first`; whether that is
 * worth a line: it begins or ends there, or is still without its label.
 */
static bool put_bracket(struct drawing *d, struct column *line, unsigned n,
			uint32_t first)
{
	const struct inspect_part *p = &d->r->content->parts[n];
	uint64_t from = p->off_bytes / d->g->cell_bytes;
	uint64_t to = (p->off_bytes + p->len_bytes - 1) / d->g->cell_bytes;
	uint64_t last = first + d->row_cells - 1;
	bool begins = from >= first, ends = to <= last, was_named = d->named[n];
	uint32_t a, b;
	char text[256];

	if (to < first || from > last)
		return false;
	a = begins ? (uint32_t)from - first : 0;
	b = ends ? (uint32_t)to - first : d->row_cells - 1;
	/* A neighbour that ends in the cell where this one begins. */
	if (line[a].taken && a < b)
		a++;
	if (line[a].taken)
		return true;
	put_frame(d, line, a, b, begins, ends);
	if (b > a + 2) {
		inspect_part_label(d->r->content, p, text, sizeof(text));
		put_label(d, line, a + 1, ends ? b : b + 1, text);
		d->named[n] = true;
	}
	return begins || ends || !was_named;
}

/* A row in which nothing begins or ends needs no line: what the last one left
 * open goes on.
 */
static void put_brackets(struct drawing *d, uint32_t first)
{
	const struct inspect_content *c = d->r->content;
	struct column line[CELLS_MAX];
	bool any = false;
	uint32_t end = 0;

	for (uint32_t i = 0; i < d->row_cells; i++)
		line[i] = (struct column){.text = " "};
	for (unsigned i = 0; c && i < c->part_count; i++)
		if (!c->parts[i].past_end && c->parts[i].len_bytes &&
		    !inspect_part_extended(c, &c->parts[i]))
			any |= put_bracket(d, line, i, first);
	if (!any)
		return;
	for (uint32_t i = 0; i < d->row_cells; i++)
		if (strcmp(line[i].text, " ") != 0)
			end = i + 1;
	fprintf(d->out, "%*s", LABEL_COLUMNS, "");
	for (uint32_t i = 0; i < end; i++)
		fputs(line[i].text, d->out);
	fputc('\n', d->out);
}

/* -------------------------------------------------------------- legend -- */

static void legend_row(struct drawing *d, const char *colour,
		       const char *glyph, const char *name, uint64_t bytes)
{
	char size[CLI_SIZE_TEXT];

	fprintf(d->out, "%*s", LABEL_COLUMNS, "");
	put(d, colour, glyph);
	set_colour(d, NULL);
	fprintf(d->out, "  %-10s %5.1f %%  %s\n",
		cli_size_text(bytes, size, sizeof(size)),
		100.0 * (double)bytes / (double)d->a->size_bytes, name);
}

static void layer_rows(struct drawing *d)
{
	const struct inspect_alloc *a = d->a;

	for (uint32_t i = 0; i < a->layers; i++) {
		const struct inspect_share *s = &a->share[i];
		uint64_t bytes = s->seen_bytes - s->seen_zero_bytes;
		char name[INSPECT_LAYER_NAME + 32], text[INSPECT_LAYER_NAME];
		char buf[8];

		inspect_layer_name(d->r, i, text);
		if (i)
			snprintf(name, sizeof(name), "from parent %u, %s", i,
				 text);
		else
			snprintf(name, sizeof(name), "used, in %s", text);
		if (!i || bytes)
			legend_row(d, layer_colour(i),
				   layer_glyph(d, i, d->glyph->full, buf), name,
				   bytes);
	}
}

static void partial_row(struct drawing *d)
{
	uint64_t blocks = 0;
	char name[64];

	for (uint32_t i = 0; i < d->a->layers; i++)
		blocks += d->a->share[i].partial;
	if (!d->a->partial_bytes)
		return;
	snprintf(name, sizeof(name),
		 "of it in bitmap-partial blocks (%" PRIu64 ")", blocks);
	legend_row(d, layer_colour(0), d->glyph->partial, name,
		   d->a->partial_bytes);
}

static void legend(struct drawing *d)
{
	const struct inspect_alloc *a = d->a;
	char size[CLI_SIZE_TEXT];

	layer_rows(d);
	partial_row(d);
	legend_row(d, grey, d->glyph->zero, "zero-filled",
		   a->rest_bytes[INSPECT_ZERO]);
	legend_row(d, grey, d->glyph->hole, "hole",
		   a->rest_bytes[INSPECT_HOLE]);
	if (a->rest_bytes[INSPECT_LOST] || inspect_chain_broken(d->r))
		legend_row(d, NULL, d->glyph->lost,
			   "in a parent that is not open",
			   a->rest_bytes[INSPECT_LOST]);
	fprintf(d->out,
		"%*sA cell is %s; %s %s %s: over 3/4, 1/4, less of it is "
		"data.\n",
		LABEL_COLUMNS, "",
		cli_size_text(d->g->cell_bytes, size, sizeof(size)),
		d->glyph->full, d->glyph->half, d->glyph->low);
	if (!a->bitmaps)
		fprintf(d->out,
			"%*sBlocks count as a whole: their bitmaps were not "
			"read (--bitmaps).\n",
			LABEL_COLUMNS, "");
}

void inspect_map(const struct inspect_report *r, const struct inspect_alloc *a,
		 const struct inspect_grid *g, const struct inspect_style *style,
		 FILE *out)
{
	struct drawing d = {
		.out = out,
		.r = r,
		.a = a,
		.g = g,
		.style = style,
		.glyph = style->utf8 ? &unicode : &ascii,
		.row_cells = row_cells(style->columns),
	};

	fputc('\n', out);
	for (uint32_t first = 0; first < g->cells; first += d.row_cells) {
		uint32_t end = first + d.row_cells;
		char label[48];

		put_brackets(&d, first);
		fprintf(out, "%*s ", LABEL_COLUMNS - 1,
			row_label(first * g->cell_bytes, label, sizeof(label)));
		for (uint32_t i = first; i < end && i < g->cells; i++)
			put_cell(&d, i);
		set_colour(&d, NULL);
		fputc('\n', out);
	}
	fputc('\n', out);
	legend(&d);
}

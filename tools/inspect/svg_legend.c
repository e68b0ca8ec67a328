/* SPDX-License-Identifier: BSD-2-Clause */
/* The legend of the SVG: a swatch, a total, its share of the disk, words. */
#include <inttypes.h>

#include "svg.h"

struct legend {
	const struct svg *s;
	double y;
	unsigned n;
};

#define LEGEND_COLUMN 480
#define LEGEND_ROW 24
#define LAYERS_MAX 8
#define NAME_CHARS 40 /* of 13 px, to the page's edge */

static void key(struct legend *l, const char *fill, const char *hatch,
		uint64_t bytes, const char *name)
{
	const struct svg *s = l->s;
	double x = SVG_PLOT_X + (l->n % 2) * LEGEND_COLUMN;
	double y = l->y + (l->n / 2) * LEGEND_ROW;
	char size[CLI_SIZE_TEXT];

	fprintf(s->out,
		"<rect x=\"%.1f\" y=\"%.1f\" width=\"14\" height=\"14\" "
		"rx=\"2\" fill=\"%s\" stroke=\"#c3ccd6\"/>\n",
		x, y, fill);
	if (*hatch)
		fprintf(s->out,
			"<rect x=\"%.1f\" y=\"%.1f\" width=\"14\" "
			"height=\"14\" rx=\"2\" fill=\"%s\"/>\n",
			x, y, hatch);
	svg_text(s, x + 100, y + 12, "num", "%s",
		cli_size_text(bytes, size, sizeof(size)));
	svg_text(s, x + 160, y + 12, "num", "%.1f %%",
		100.0 * (double)bytes / (double)s->a->size_bytes);
	svg_text(s, x + 176, y + 12, "key", "%s", name);
	l->n++;
}

static uint64_t partial_blocks(const struct inspect_alloc *a)
{
	uint64_t sum = 0;

	for (uint32_t i = 0; i < a->layers; i++)
		sum += a->share[i].partial;
	return sum;
}

static uint64_t covered_bytes(const struct inspect_alloc *a)
{
	uint64_t sum = 0;

	for (uint32_t i = 0; i < a->layers; i++)
		if (a->share[i].stored_bytes > a->share[i].seen_bytes)
			sum += a->share[i].stored_bytes -
			       a->share[i].seen_bytes;
	return sum;
}

static void key_layers(struct legend *l)
{
	const struct inspect_alloc *a = l->s->a;
	char text[SVG_SHORT + 32], name[INSPECT_LAYER_NAME], buf[SVG_SHORT];

	for (uint32_t i = 0; i < a->layers; i++) {
		const struct inspect_share *share = &a->share[i];

		/* Of a long chain only what is seen. */
		if (i && !share->seen_bytes && a->layers > LAYERS_MAX)
			continue;
		inspect_layer_name(l->s->r, i, name);
		if (i)
			snprintf(text, sizeof(text), "from parent %u, %s", i,
				 svg_shorten(name, NAME_CHARS - 15, buf));
		else
			snprintf(text, sizeof(text), "used, in %s",
				 svg_shorten(name, NAME_CHARS - 9, buf));
		key(l, svg_layer_colour(i), "",
		    share->seen_bytes - share->seen_zero_bytes, text);
	}
}

double svg_legend(const struct svg *s, double y)
{
	const struct inspect_alloc *a = s->a;
	struct legend l = {.s = s, .y = y + 8};
	char text[64];

	key_layers(&l);
	if (a->partial_bytes) {
		snprintf(text, sizeof(text),
			 "of it in bitmap-partial blocks (%" PRIu64 ")",
			 partial_blocks(a));
		key(&l, svg_layer_colour(0), "url(#partial)",
		    a->partial_bytes, text);
	}
	key(&l, SVG_ZERO_COLOUR, "", a->rest_bytes[INSPECT_ZERO],
	    "zero-filled: has space, reads as zero");
	key(&l, SVG_HOLE_COLOUR, "", a->rest_bytes[INSPECT_HOLE],
	    "hole: nothing allocated, reads as zero");
	if (a->rest_bytes[INSPECT_LOST] || inspect_chain_broken(s->r))
		key(&l, SVG_LOST_COLOUR, "", a->rest_bytes[INSPECT_LOST],
		    "in a parent that is not open");
	if (covered_bytes(a))
		key(&l, "#22303f\" fill-opacity=\"" SVG_COVERED_OPACITY, "",
		    covered_bytes(a), "pale: in a layer, covered by one above");
	return l.y + (l.n + 1) / 2 * LEGEND_ROW;
}

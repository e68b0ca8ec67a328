/* SPDX-License-Identifier: BSD-2-Clause */
/* The picture for a report: one page of SVG without scripts or outside
 * references. Foreign text is escaped; everything else is numbers.
 *
 * From the top: title, scale, partitions, the composed disk, its layers, the
 * order of the blocks in the file, legend. Heights depend on what there is.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tools/convert/convert.h"
#include "svg.h"

#define LEFT 40
#define PLOT_END (SVG_PLOT_X + SVG_PLOT_WIDTH)
#define LABEL_END (SVG_PLOT_X - 14)
#define SCALE_Y 128.0
#define PART_HEIGHT 30.0
#define DISK_HEIGHT 64.0
#define LAYER_HEIGHT 30.0
#define ORDER_HEIGHT 120.0
#define GAP 16.0
#define TICKS_MAX 9
/* Average width of a character of 12 px, which cannot be measured here. */
#define GLYPH_WIDTH 6.4
#define BOLD_WIDTH 7.6

uint64_t inspect_svg_cell(uint64_t size_bytes)
{
	uint64_t sectors = size_bytes / VHD_SECTOR_BYTES;

	return (sectors + SVG_PLOT_WIDTH - 1) / SVG_PLOT_WIDTH *
	       VHD_SECTOR_BYTES;
}

/* ---------------------------------------------------------------- text -- */

static double text_width(const char *text)
{
	double width = 0;

	for (; *text; text++)
		width += (*text & 0xc0) != 0x80 ? GLYPH_WIDTH : 0;
	return width;
}

static void band_label(const struct svg *s, double y, double height,
		       const char *name, const char *detail)
{
	char buf[SVG_SHORT];

	name = svg_shorten(name, (size_t)((LABEL_END - LEFT) / BOLD_WIDTH),
			   buf);
	svg_text(s, LABEL_END, y + height / 2 - (*detail ? 2 : -4), "name",
		 "%s", name);
	if (*detail)
		svg_text(s, LABEL_END, y + height / 2 + 12, "detail", "%s",
			 detail);
}

/* ---------------------------------------------------------------- head -- */

static void head(const struct svg *s, double height)
{
	fprintf(s->out,
		"<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n"
		"<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%d\" "
		"height=\"%.0f\" viewBox=\"0 0 %d %.0f\" role=\"img\">\n<title>",
		SVG_WIDTH, height, SVG_WIDTH, height);
	svg_put(s->out, "Allocation of a disk image", 120);
	fputs("</title>\n"
	      "<defs><pattern id=\"partial\" width=\"4\" height=\"4\" "
	      "patternUnits=\"userSpaceOnUse\" "
	      "patternTransform=\"rotate(45)\"><rect width=\"1.6\" "
	      "height=\"4\" fill=\"#fff\" fill-opacity=\".55\"/></pattern>"
	      "</defs>\n"
	      "<style>text{font-family:'Helvetica Neue',Helvetica,Arial,"
	      "'Liberation Sans','DejaVu Sans',sans-serif;fill:#22303f}"
	      ".title{font-size:24px;font-weight:bold}"
	      ".sub{font-size:14px;fill:#5a6978}"
	      ".name{font-size:12px;font-weight:bold;text-anchor:end}"
	      ".detail{font-size:11px;fill:#5a6978;text-anchor:end}"
	      ".tick{font-size:11px;fill:#5a6978;text-anchor:middle}"
	      ".part{font-size:12px;text-anchor:middle}"
	      ".key{font-size:13px}"
	      ".num{font-size:13px;text-anchor:end}"
	      ".note{font-size:11px;fill:#5a6978}"
	      ".frame{fill:none;stroke:#c3ccd6;stroke-width:1}"
	      ".grid{stroke:#dde3e9;stroke-width:1}</style>\n",
	      s->out);
	fprintf(s->out, "<rect width=\"%d\" height=\"%.0f\" fill=\"#fff\"/>\n",
		SVG_WIDTH, height);
}

static void title(const struct svg *s)
{
	static const char *const names[] = {
		[VHD_FORMAT_RAW] = "Raw disk",
		[VHD_FORMAT_FIXED] = "Fixed VHD",
		[VHD_FORMAT_DYNAMIC] = "Dynamic VHD",
		[VHD_FORMAT_DIFF] = "Differencing VHD",
	};
	const struct vhd_info *info = s->r->info;
	char name[INSPECT_LAYER_NAME], size[CLI_SIZE_TEXT];
	char file[CLI_SIZE_TEXT], data[CLI_SIZE_TEXT], more[64] = "";
	char id[CLI_ID_TEXT], when[CLI_TIME_TEXT];

	if (info->layers > 1)
		snprintf(more, sizeof(more), " · chain of %u images",
			 info->layers);
	else if (inspect_has_blocks(info) && info->blocks_used)
		snprintf(more, sizeof(more), " · %u of %u blocks in use",
			 info->blocks_used, info->blocks);
	svg_text(s, LEFT, 50, "title", "%s", inspect_layer_name(s->r, 0, name));
	svg_text(s, LEFT, 76, "sub",
		"%s · %s disk, %s of data · %s file%s", names[info->format],
		cli_size_text(info->size_bytes, size, sizeof(size)),
		cli_size_text(inspect_data_bytes(s->a), data, sizeof(data)),
		cli_size_text(info->file_bytes, file, sizeof(file)), more);
	if (inspect_is_vhd(info))
		svg_text(s, LEFT, 96, "note", "id %s, made %s",
			cli_id_windows(info->unique_id, id),
			info->timestamp_s
				? cli_time_text(info->timestamp_s, when)
				: "at no recorded date");
}

/* --------------------------------------------------------------- scale -- */

/* A unit for the scale and a round distance in hundredths of it, for at most
 * TICKS_MAX ticks.
 */
static uint64_t tick_bytes(uint64_t size, uint64_t *unit, const char **name)
{
	static const struct {
		uint64_t bytes;
		const char *name;
	} units[] = {
		{1ull << 30, "GiB"},
		{1ull << 20, "MiB"},
		{1ull << 10, "KiB"},
	};
	static const unsigned quarters[] = {1, 2, 4, 8, 16, 20};
	size_t u = 0;

	while (u < 2 && size < units[u].bytes)
		u++;
	*unit = units[u].bytes;
	*name = units[u].name;
	for (uint64_t ten = 1;; ten *= 10)
		for (size_t i = ten > 1 ? 2 : 0; i < 6; i++) {
			uint64_t step = *unit / 4 * quarters[i] * ten;

			if (size / step <= TICKS_MAX)
				return step;
		}
}

/* "1.25 GiB": whole quarters of the unit. */
static void tick_label(const struct svg *s, double x, double y, uint64_t at,
		       uint64_t unit, const char *name)
{
	static const char *const quarters[] = {"", ".25", ".5", ".75"};

	svg_text(s, x, y, "tick", "%" PRIu64 "%s%s%s", at / unit,
		quarters[at % unit / (unit / 4)], at ? " " : "",
		at ? name : "");
}

static double at_x(uint64_t at, uint64_t whole)
{
	return SVG_PLOT_X + SVG_PLOT_WIDTH * ((double)at / (double)whole);
}

static void scale(const struct svg *s, double y, uint64_t whole,
		  double grid_to)
{
	const char *name;
	uint64_t unit, step = tick_bytes(whole, &unit, &name);

	for (uint64_t at = 0; at <= whole; at += step) {
		double x = at_x(at, whole);

		fprintf(s->out,
			"<line x1=\"%.1f\" y1=\"%.1f\" x2=\"%.1f\" "
			"y2=\"%.1f\" class=\"grid\"/>\n",
			x, y + 5, x, grid_to);
		/* The end of the scale has the last word. */
		if (at != whole && PLOT_END - x < 70)
			continue;
		if (at == whole)
			break;
		tick_label(s, x, y, at, unit, name);
	}
	/* In the unit of the others: 2040 GiB, not 2.0 TiB. */
	svg_text(s, PLOT_END, y, "tick", "%.*f %s",
		whole % unit ? whole * 10 % unit ? 2 : 1 : 0,
		(double)whole / (double)unit, name);
}

/* ---------------------------------------------------------- partitions -- */

static bool drawn(const struct svg *s, unsigned i)
{
	const struct inspect_part *p = &s->r->content->parts[i];

	return !p->past_end && p->len_bytes &&
	       !inspect_part_extended(s->r->content, p);
}

static bool has_parts(const struct svg *s)
{
	const struct inspect_content *c = s->r->content;

	for (unsigned i = 0; c && i < c->part_count; i++)
		if (drawn(s, i))
			return true;
	return false;
}

static void part(const struct svg *s, const struct inspect_part *p, double y)
{
	double x = at_x(p->off_bytes, s->a->size_bytes);
	double end = at_x(p->off_bytes + p->len_bytes, s->a->size_bytes);
	char label[256], size[CLI_SIZE_TEXT], text[300];
	double width = end - x < 2 ? 2 : end - x;

	fprintf(s->out,
		"<rect x=\"%.2f\" y=\"%.1f\" width=\"%.2f\" height=\"%.1f\" "
		"rx=\"3\" fill=\"#e3ebf4\" stroke=\"#8fa5bd\"/>\n",
		x + 0.5, y, width > 2 ? width - 1 : 1.5, PART_HEIGHT);
	inspect_part_label(s->r->content, p, label, sizeof(label));
	snprintf(text, sizeof(text), "%s, %s", label,
		 cli_size_text(p->len_bytes, size, sizeof(size)));
	if (text_width(text) > width)
		snprintf(text, sizeof(text), "%s", label);
	if (text_width(text) > width)
		snprintf(text, sizeof(text), "%d", p->number);
	if (text_width(text) + 4 <= width)
		svg_text(s, x + width / 2, y + PART_HEIGHT / 2 + 4, "part", "%s",
			text);
}

static double parts(const struct svg *s, double y)
{
	const struct inspect_content *c = s->r->content;
	char detail[64];

	if (!has_parts(s))
		return y;
	snprintf(detail, sizeof(detail), "%s table",
		 strcmp(c->table, "dos") ? c->table : "MBR");
	band_label(s, y, PART_HEIGHT, "Partitions", detail);
	for (unsigned i = 0; i < c->part_count; i++)
		if (drawn(s, i))
			part(s, &c->parts[i], y);
	return y + PART_HEIGHT + GAP;
}

/* --------------------------------------------------------------- bands -- */

static double layers(const struct svg *s, double y)
{
	char name[INSPECT_LAYER_NAME], detail[96];
	char seen[CLI_SIZE_TEXT], stored[CLI_SIZE_TEXT];

	for (uint32_t i = 0; s->a->layers > 1 && i < s->a->layers; i++) {
		const struct inspect_share *share = &s->a->share[i];

		cli_size_text(share->seen_bytes, seen, sizeof(seen));
		cli_size_text(share->stored_bytes, stored, sizeof(stored));
		if (share->seen_bytes == share->stored_bytes)
			snprintf(detail, sizeof(detail), "%s", seen);
		else
			snprintf(detail, sizeof(detail), "%s of %s seen", seen,
				 stored);
		band_label(s, y, LAYER_HEIGHT, inspect_layer_name(s->r, i, name),
			   detail);
		svg_band_layer(s, i, y, LAYER_HEIGHT);
		y += LAYER_HEIGHT + 8;
	}
	return s->a->layers > 1 ? y + GAP - 8 : y;
}

static bool has_order(const struct svg *s)
{
	return inspect_has_blocks(s->r->info) && s->r->info->blocks_used;
}

/* Where the file has the disk's parts: a straight line upwards is in order. */
static int order(const struct svg *s, double *y, struct vhd_err *err)
{
	const struct vhd_info *info = s->r->info;
	char detail[64];
	int rc;

	if (!has_order(s))
		return 0;
	*y += 14;
	scale(s, *y, info->file_bytes, *y + 8 + ORDER_HEIGHT);
	*y += 8;
	snprintf(detail, sizeof(detail), "%u fragment%s", info->fragments,
		 info->fragments == 1 ? "" : "s");
	band_label(s, *y, ORDER_HEIGHT, "Order in the file", detail);
	rc = svg_band_order(s, *y, ORDER_HEIGHT, err);
	svg_text(s, LABEL_END, *y + ORDER_HEIGHT / 2 + 32, "detail",
		"right: offset in the file");
	svg_text(s, LABEL_END, *y + ORDER_HEIGHT / 2 + 46, "detail",
		"up: offset on the disk");
	*y += ORDER_HEIGHT + GAP;
	return rc;
}

/* ---------------------------------------------------------------- page -- */

static void notes(const struct svg *s, double y)
{
	char cell[CLI_SIZE_TEXT];

	svg_text(s, SVG_PLOT_X, y + 14, "note",
		"One column is %s; heights show shares of it, the least at "
		"2 px.%s%s",
		cli_size_text(s->g->cell_bytes, cell, sizeof(cell)),
		s->a->bitmaps ? ""
			      : " Sector bitmaps were not read: each block "
				"counts as a whole.",
		s->a->zeros ? " Data was read to find zeros." : "");
}

/* Everything below the head; returns the height of the page. */
static int body(const struct svg *s, double *height, struct vhd_err *err)
{
	double y = SCALE_Y + 14, bottom;
	int rc;

	bottom = y + (has_parts(s) ? PART_HEIGHT + GAP : 0) + DISK_HEIGHT;
	if (s->a->layers > 1)
		bottom += GAP + s->a->layers * (LAYER_HEIGHT + 8) - 8;
	title(s);
	scale(s, SCALE_Y, s->a->size_bytes, bottom);
	y = parts(s, y);
	band_label(s, y, DISK_HEIGHT, "Disk",
		   s->a->layers > 1 ? "as composed" : "");
	svg_band_disk(s, y, DISK_HEIGHT);
	y = layers(s, y + DISK_HEIGHT + GAP);
	rc = order(s, &y, err);
	y = svg_legend(s, y);
	notes(s, y);
	*height = y + 40;
	return rc;
}

/* The body is drawn first, into memory: only then its height is known. */
static int draw(struct svg *s, struct cli_text_stream *text,
		struct vhd_err *err)
{
	struct cli_text_stream inner = {.text = NULL};
	double height = 0;
	FILE *page;
	int rc;

	s->out = cli_text_stream_open(&inner);
	if (!s->out)
		return vhd_fail(err, -ENOMEM, VHD_WHY_NOMEM, 0,
				"out of memory");
	rc = body(s, &height, err);
	if (!cli_text_stream_close(s->out) && !rc)
		rc = vhd_fail(err, -ENOMEM, VHD_WHY_NOMEM, 0, "out of memory");
	page = rc ? NULL : cli_text_stream_open(text);
	if (page) {
		s->out = page;
		head(s, height);
		fwrite(inner.text, 1, inner.len, page);
		fputs("</svg>\n", page);
	}
	if (!rc && (!page || !cli_text_stream_close(page)))
		rc = vhd_fail(err, -ENOMEM, VHD_WHY_NOMEM, 0, "out of memory");
	free(inner.text);
	return rc;
}

/* ---------------------------------------------------------------- file -- */

/* A wrong name must not cost an image: only a picture is replaced. */
static int replace_check(const char *path, bool *there, struct vhd_err *err)
{
	char begin[64] = "";
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	ssize_t n;

	*there = fd >= 0;
	if (fd < 0)
		return 0; /* absent, or what making it will say */
	n = read(fd, begin, sizeof(begin) - 1);
	close(fd);
	if (n > 0 &&
	    (!strncmp(begin, "<?xml", 5) || !strncmp(begin, "<svg", 4)))
		return 0;
	return vhd_fail(err, -EEXIST, VHD_WHY_UNSUPPORTED, 0,
			"exists and is no SVG, so it is not replaced; choose "
			"another name");
}

static int put_all(int fd, const char *text, size_t len, struct vhd_err *err)
{
	while (len) {
		ssize_t n = write(fd, text, len);
		int code = -errno;

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return vhd_fail(err, n ? code : -EIO, VHD_WHY_SYSTEM, 0,
					"cannot write: %s",
					strerror(n ? -code : EIO));
		text += n;
		len -= (size_t)n;
	}
	return 0;
}

int inspect_svg(const struct inspect_report *r, const struct inspect_alloc *a,
		const struct inspect_grid *g, const char *path,
		struct vhd_err *err)
{
	struct svg s = {.r = r, .a = a, .g = g};
	struct convert_output out = {.dir_fd = -1, .old_fd = -1, .fd = -1};
	struct cli_text_stream text = {.text = NULL};
	bool there;
	int rc = replace_check(path, &there, err);

	if (!rc)
		rc = draw(&s, &text, err);
	if (!rc) {
		rc = convert_output_open(&out, path, there, &r->st, err);
		if (!rc)
			rc = put_all(out.fd, text.text, text.len, err);
		if (!rc)
			rc = convert_output_publish(&out, true, err);
		convert_output_close(&out);
	}
	free(text.text);
	return rc;
}

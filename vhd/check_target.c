/* SPDX-License-Identifier: BSD-2-Clause */
/* What products demand of a file beyond the format: one row a demand, with
 * the products that make it and a function that says how it is not met. A
 * product does not take a file with a finding that its mask in check_code.c
 * has, or with a demand of this table told as an error.
 * Source: the products' documentation and readers' sources; see the rows.
 */
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "check.h"

#define MIB (1ull << 20)
#define GIB (1ull << 30)
#define TIB (1ull << 40)

#define AZURE_BYTES_MIN	   (20 * MIB)
#define AZURE_BYTES_MAX	   (32 * TIB)
#define AZURE_OS_BYTES_MAX (2 * TIB)
#define WINDOWS_BYTES_MIN  (3 * MIB)
#define CHS_BYTES_MAX	   136899993600ull /* 65535 * 16 * 255 sectors */
#define XEN_UNIT_BYTES	   (2 * MIB)

#define T(x)	   (1u << VHD_TARGET_##x)
#define TEXT_BYTES 200

/* Whether a demand is broken; then `text` (TEXT_BYTES) says how. */
typedef bool (*broken_fn)(const struct check *c, char *text);

static const struct vhd_footer *footer(const struct check *c)
{
	return &c->s.probe.footer;
}

static uint64_t product(const struct check *c)
{
	return vhd_geometry_product_bytes(&footer(c)->geometry);
}

static bool app_is(const struct check *c, const char *app)
{
	return memcmp(footer(c)->creator_app, app, 4) == 0;
}

__attribute__((format(printf, 2, 3))) static bool say(char *text,
						      const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, TEXT_BYTES, fmt, ap);
	va_end(ap);
	return true;
}

/* ------------------------------------------------------------- demands -- */

static bool not_fixed(const struct check *c, char *text)
{
	return c->s.info.format != VHD_FORMAT_FIXED &&
	       say(text, "Azure takes fixed disks only: `vhd convert --to "
			 "fixed`");
}

static bool not_whole_mib(const struct check *c, char *text)
{
	return c->s.size_bytes % MIB &&
	       say(text, "the size %llu is not a whole number of MiB",
		   (unsigned long long)c->s.size_bytes);
}

static bool outside_azure(const struct check *c, char *text)
{
	return (c->s.size_bytes < AZURE_BYTES_MIN ||
		c->s.size_bytes > AZURE_BYTES_MAX) &&
	       say(text, "the size %llu is not between 20 MiB and 32 TiB",
		   (unsigned long long)c->s.size_bytes);
}

static bool too_large_to_boot(const struct check *c, char *text)
{
	return c->s.size_bytes > AZURE_OS_BYTES_MAX &&
	       say(text, "more than 2 TiB: a data disk, but no system disk");
}

static bool foreign_os(const struct check *c, char *text)
{
	return memcmp(footer(c)->creator_os, "Wi2k", 4) != 0 &&
	       say(text, "the creator's system is not `Wi2k`; uploads with "
			 "other tags have been refused");
}

static bool table_not_exact(const struct check *c, char *text)
{
	return c->s.table_ok &&
	       c->s.header.table_entries >
		       vhd_blocks_for(c->s.size_bytes,
				      c->s.header.block_size_bytes) &&
	       say(text, "the table has more entries than the disk needs; "
			 "Azure's converter then gets the size wrong");
}

static bool past_2040(const struct check *c, char *text)
{
	return c->s.size_bytes > VHD_DYNAMIC_BYTES_MAX &&
	       say(text, "more than 2040 GiB");
}

static bool past_2_tib(const struct check *c, char *text)
{
	return c->s.size_bytes > 2 * TIB && say(text, "more than 2 TiB");
}

static bool below_3_mib(const struct check *c, char *text)
{
	return c->s.size_bytes < WINDOWS_BYTES_MIN &&
	       say(text, "less than 3 MiB, the least Windows makes");
}

static bool past_chs(const struct check *c, char *text)
{
	return c->s.size_bytes > CHS_BYTES_MAX &&
	       say(text, "more than 127.5 GiB, all that Virtual PC's "
			 "geometry reaches");
}

static bool not_chs_exact(const struct check *c, char *text)
{
	return c->s.size_bytes <= CHS_BYTES_MAX &&
	       product(c) != c->s.size_bytes &&
	       say(text,
		   "Virtual PC shows the geometry's %llu bytes, the "
		   "disk has %llu",
		   (unsigned long long)product(c),
		   (unsigned long long)c->s.size_bytes);
}

static bool other_blocks(const struct check *c, char *text)
{
	return c->s.table_ok &&
	       c->s.header.block_size_bytes != VHD_BLOCK_BYTES_DEFAULT &&
	       say(text, "blocks of %u bytes instead of 2 MiB",
		   c->s.header.block_size_bytes);
}

static bool not_blktap(const struct check *c, char *text)
{
	return !app_is(c, "tap\0") &&
	       say(text, "not written by blktap: XenServer resizes and "
			 "coalesces its own files only, and refuses some "
			 "others; `vhd create --for xenserver` makes one");
}

static bool not_xen_unit(const struct check *c, char *text)
{
	return c->s.size_bytes % XEN_UNIT_BYTES &&
	       say(text, "the size %llu is not a multiple of 2 MiB",
		   (unsigned long long)c->s.size_bytes);
}

static bool no_batmap(const struct check *c, char *text)
{
	return c->s.table_ok && !c->s.batmap &&
	       say(text, "no batmap: blktap reads every bitmap");
}

static bool xen_fixed(const struct check *c, char *text)
{
	return c->s.info.format == VHD_FORMAT_FIXED &&
	       say(text, "a fixed disk; XenServer's storage wants dynamic "
			 "ones");
}

/* QEMU takes any type 4 for a dynamic disk: zeros instead of the parent. */
static bool differencing(const struct check *c, char *text)
{
	return c->s.info.format == VHD_FORMAT_DIFF &&
	       say(text, "QEMU opens a differencing disk without its parent "
			 "and shows zeros instead");
}

static bool cut_always(const struct check *c, char *text)
{
	return (app_is(c, "vpc ") || app_is(c, "qemu")) &&
	       !vhd_geometry_is_marker(&footer(c)->geometry) &&
	       product(c) < c->s.size_bytes &&
	       say(text,
		   "QEMU shows the geometry's %llu bytes, the disk has "
		   "%llu; name force_size_calc=current_size",
		   (unsigned long long)product(c),
		   (unsigned long long)c->s.size_bytes);
}

static bool cut_before_10(const struct check *c, char *text)
{
	return !check_qemu_trusts_size(footer(c)->creator_app) &&
	       !app_is(c, "vpc ") && !app_is(c, "qemu") &&
	       !vhd_geometry_is_marker(&footer(c)->geometry) &&
	       product(c) != c->s.size_bytes &&
	       say(text,
		   "QEMU 2.6 to 9.2 show the geometry's %llu bytes, "
		   "QEMU 10 all %llu",
		   (unsigned long long)product(c),
		   (unsigned long long)c->s.size_bytes);
}

static bool needs_naming(const struct check *c, char *text)
{
	return c->s.info.format == VHD_FORMAT_FIXED &&
	       say(text, "QEMU takes a fixed VHD for a raw disk with 512 "
			 "bytes more, unless told `-f vpc`");
}

static bool not_aligned(const struct check *c, char *text)
{
	return c->unaligned &&
	       say(text, "blocks are not on 4 KiB boundaries; Windows reports "
			 "that as poor alignment");
}

static bool other_name(const struct check *c, char *text)
{
	const char *dot = c->opts->name ? strrchr(c->opts->name, '.') : NULL;
	bool ok = dot && (!strcasecmp(dot, ".vhd") ||
			  (c->opts->target == VHD_TARGET_HYPERV &&
			   !strcasecmp(dot, ".avhd")));

	return c->opts->name && !ok &&
	       say(text, "the name does not end in .vhd");
}

/* --------------------------------------------------------------- table -- */

#define E VHD_SEVERITY_ERROR
#define W VHD_SEVERITY_WARNING
#define I VHD_SEVERITY_INFO

static const struct demand {
	unsigned targets;
	enum vhd_finding_code code;
	enum vhd_severity severity;
	broken_fn broken;
} demands[] = {
	{T(AZURE), VHD_FIND_WANTS_TYPE, E, not_fixed},
	{T(AZURE), VHD_FIND_WANTS_SIZE, E, not_whole_mib},
	{T(AZURE), VHD_FIND_WANTS_SIZE, E, outside_azure},
	{T(AZURE), VHD_FIND_WANTS_SIZE, I, too_large_to_boot},
	{T(AZURE), VHD_FIND_WANTS_CREATOR, W, foreign_os},
	{T(AZURE), VHD_FIND_WANTS_TABLE, W, table_not_exact},
	{T(AZURE) | T(HYPERV), VHD_FIND_WANTS_NAME, W, other_name},

	{T(HYPERV) | T(QEMU) | T(VIRTUALPC) | T(XENSERVER), VHD_FIND_WANTS_SIZE,
	 E, past_2040},
	{T(HYPERV), VHD_FIND_WANTS_SIZE, W, below_3_mib},
	{T(HYPERV), VHD_FIND_WANTS_ALIGNMENT, I, not_aligned},

	{T(VIRTUALPC), VHD_FIND_WANTS_SIZE, E, past_chs},
	{T(VIRTUALPC), VHD_FIND_WANTS_GEOMETRY, E, not_chs_exact},
	{T(VIRTUALPC) | T(XENSERVER), VHD_FIND_WANTS_BLOCK_SIZE, E,
	 other_blocks},

	{T(XENSERVER), VHD_FIND_WANTS_CREATOR, E, not_blktap},
	{T(XENSERVER), VHD_FIND_WANTS_SIZE, E, not_xen_unit},
	{T(XENSERVER), VHD_FIND_WANTS_TYPE, W, xen_fixed},
	{T(XENSERVER), VHD_FIND_WANTS_BATMAP, I, no_batmap},

	{T(VIRTUALBOX), VHD_FIND_WANTS_SIZE, E, past_2_tib},

	{T(QEMU), VHD_FIND_WANTS_TYPE, E, differencing},
	{T(QEMU), VHD_FIND_WANTS_TYPE, I, needs_naming},
	{T(QEMU), VHD_FIND_WANTS_GEOMETRY, E, cut_always},
	{T(QEMU), VHD_FIND_WANTS_GEOMETRY, W, cut_before_10},
};

void check_target(struct check *c)
{
	unsigned mask = 1u << c->opts->target;
	char text[TEXT_BYTES];

	/* Without a footer there is nothing to hold against the demands. */
	if (c->s.verdict || !c->s.size_bytes)
		return;
	for (size_t i = 0; i < sizeof(demands) / sizeof(demands[0]); i++) {
		const struct demand *d = &demands[i];

		if (d->targets & mask && d->broken(c, text))
			check_tell_as(c, d->severity, d->code,
				      c->s.probe.footer_at_bytes, VHD_NO_BLOCK,
				      "%s", text);
	}
}

/* SPDX-License-Identifier: BSD-2-Clause */
/* vhd diff in two parts: diff.c finds the ranges, diff_report.c prints
 * them as they are found. Private to tools/.
 */
#ifndef DIFF_H
#define DIFF_H

#include "tools/convert/convert.h"
#include "tools/inspect/extent.h"
#include "tools/inspect/inspect.h"
#include "verb.h"

struct diff {
	const char *prog;
	const char *path[2]; /* the older, the newer; of one image: parent,
			      * which may be NULL, and child */
	bool two;
	enum vhd_format format;
	struct verb_parents parents;
	bool content;
	bool no_partitions;
	bool larger_child;
	bool direct;
	bool json;
	bool quiet;
	struct convert_input in[2];
	uint64_t size_bytes[2];
	char *parent_path; /* owned */
	struct extents extents; /* of the child */
	struct inspect_content *parts; /* NULL: not known */
	uint64_t *part_bytes;          /* one a partition, one for the rest */
	/* the range that may go on */
	uint64_t from_bytes;
	uint64_t len_bytes;
	unsigned part;
	uint64_t ranges;
	uint64_t range_bytes;
	uint64_t set_bytes; /* with --content: of which those are a part */
};

/* What comes before the first range, one range, and the sums. */
void diff_print_begin(const struct diff *d);
void diff_print_range(const struct diff *d);
void diff_print_end(const struct diff *d);

#endif

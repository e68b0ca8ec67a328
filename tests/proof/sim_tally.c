/* SPDX-License-Identifier: BSD-2-Clause */
/* Which reasons and status rows have occurred. The VSP's own table is asked
 * through a wrapper (--wrap=scsi_verdict_from_vhd): reasons are not told to
 * the guest.
 */
#include <string.h>

#include "storvsp/scsi/scsi.h"
#include "tests/proof/sim.h"

struct sim_sums sim_sums;

enum scsi_verdict __real_scsi_verdict_from_vhd(enum vhd_op op, int result,
					       enum vhd_why why);
enum scsi_verdict __wrap_scsi_verdict_from_vhd(enum vhd_op op, int result,
					       enum vhd_why why);

enum scsi_verdict __wrap_scsi_verdict_from_vhd(enum vhd_op op, int result,
					       enum vhd_why why)
{
	sim_sums.why[why]++;
	return __real_scsi_verdict_from_vhd(op, result, why);
}

#define W(why) [VHD_WHY_##why] = #why
static const char *const why_names[VHD_WHY_COUNT] = {
	W(NONE),	    W(ARGUMENT),	W(NOMEM),
	W(SYSTEM),	    W(IO),		W(SHORT_IO),
	W(NO_SPACE),	    W(LOCKED),		W(NOT_FILE),
	W(READ_ONLY),	    W(POISONED),	W(RANGE),
	W(UNSUPPORTED),	    W(CANCELLED),	W(SERVER),
	W(TOO_SMALL),	    W(NOT_VHD),		W(IS_VHDX),
	W(POISON_COOKIE),   W(FOOTER_CHECKSUM), W(FOOTER_VERSION),
	W(FOOTER_TYPE),	    W(SIZE_ZERO),	W(SIZE_ALIGN),
	W(SIZE_LIMIT),	    W(FIXED_LENGTH),	W(TYPE_MISMATCH),
	W(DATA_OFFSET),	    W(HEADER_COOKIE),	W(HEADER_CHECKSUM),
	W(HEADER_VERSION),  W(BLOCK_SIZE),	W(TABLE_OFFSET),
	W(TABLE_ENTRIES),   W(TABLE_SHORT),	W(TABLE_PAST_END),
	W(BAT_IN_METADATA), W(BAT_PAST_END),	W(BAT_DUPLICATE),
	W(BAT_OVERLAP),	    W(NEEDS_PARENT),	W(READ_ONLY_LAYOUT),
	W(UNDO_FILE),	    W(UNDO_MISMATCH),	W(PARENT_MISSING),
	W(PARENT_ID),	    W(PARENT_SIZE),	W(CHAIN_CYCLE),
	W(CHAIN_DEPTH),	    W(SAVED_STATE),	W(SHRINK),
	W(DATA_BEHIND),	    W(LOOKS_LIKE_VHD),	W(PARENT_RAW),
	W(SPLIT_SET),	    W(PACKED),		W(KERNEL_FORMAT),
	W(KERNEL_OLD),	    W(KERNEL_FIT),
};
#undef W

const char *sim_why_name(enum vhd_why why)
{
	const char *name = why < VHD_WHY_COUNT ? why_names[why] : NULL;

	return name ? name : "a reason without a name";
}

/* A line "why|row<TAB>NAME<TAB>REASON<TAB>PROGRAM:TEST" of the table. */
static bool in_table(const char *text, const char *kind, const char *name)
{
	char want[64];
	const char *at;
	int n = snprintf(want, sizeof(want), "%s\t%s\t", kind, name);

	for (at = text; at; at = strchr(at, '\n'), at += at ? 1 : 0)
		if (!strncmp(at, want, (size_t)n))
			return true;
	return false;
}

static char *read_table(const char *path)
{
	static char text[32768];
	FILE *f = fopen(path, "r");
	size_t n = f ? fread(text, 1, sizeof(text) - 1, f) : 0;

	if (!f || n == sizeof(text) - 1) {
		fprintf(stderr, "sim: %s cannot be read\n", path);
		return NULL;
	}
	fclose(f);
	text[n] = 0;
	return text;
}

static unsigned judge(const char *text, const char *kind, const char *name,
		      uint64_t times, unsigned *here, unsigned *elsewhere)
{
	bool listed = in_table(text, kind, name);

	printf("  %s %-17s %12llu%s\n", kind, name, (unsigned long long)times,
	       listed ? "  elsewhere" : "");
	*here += times != 0;
	*elsewhere += listed;
	if ((times != 0) != listed)
		return 0;
	printf("sim: %s %s %s\n", kind, name,
	       listed ? "occurs, and the table says it cannot"
		      : "never occurred, and the table does not say why");
	return 1;
}

unsigned sim_tally_check(const char *table, unsigned *whys, unsigned *rows,
			 unsigned *elsewhere)
{
	const char *text = read_table(table);
	unsigned bad = 0;

	*whys = *rows = *elsewhere = 0;
	if (!text)
		return 1;
	for (enum vhd_why i = 0; i < VHD_WHY_COUNT; i++)
		bad += judge(text, "why", sim_why_name(i), sim_sums.why[i],
			     whys, elsewhere);
	for (enum sim_row i = 0; i < ROW_COUNT; i++)
		bad += judge(text, "row", sim_row_name(i), sim_sums.row[i],
			     rows, elsewhere);
	return bad;
}

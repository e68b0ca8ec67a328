/* SPDX-License-Identifier: BSD-2-Clause */
/* A check under way, and its parts. Private to vhd/check*.c.
 *
 *   check.c          opens, runs the parts in order
 *   check_tell.c     counts and tells what they find
 *   check_code.c     one row a finding: word, severity, Windows' code, and
 *                    which products refuse the file for it
 *   check_footer.c   both footers, by themselves and against each other
 *   check_header.c   dynamic header, locators, parent's name
 *   check_bat.c      the table: places, overlaps, what lies between
 *   check_batmap.c   blktap's map of full blocks
 *   check_chain.c    the parents of a differencing disk
 *   check_data.c     bitmaps against data; every allocated byte
 *   check_host.c     the file on the host
 *   check_target.c   what a product demands beyond the format
 */
#ifndef VHD_CHECK_H
#define VHD_CHECK_H

#include "survey.h"

struct check {
	const struct vhd_check_opts *opts;
	const char *path; /* NULL: not opened by one */
	struct vhd_check_result *result;
	struct survey s;
	uint32_t limit;
	bool stopped;		     /* the caller had enough */
	struct survey_place *places; /* sound entries, sorted; check_bat.c */
	uint32_t place_count;
	uint32_t unaligned; /* of them */
};

/* check_tell.c */
/* Tell a finding. `block` may be VHD_NO_BLOCK. */
__attribute__((format(printf, 5, 6))) void check_tell(
	struct check *c, enum vhd_finding_code code, uint64_t at_bytes,
	uint64_t block, const char *fmt, ...);
/* The same, of an other severity than the code's own. */
__attribute__((format(printf, 6, 7))) void check_tell_as(
	struct check *c, enum vhd_severity severity, enum vhd_finding_code code,
	uint64_t at_bytes, uint64_t block, const char *fmt, ...);
/* A rule of opening that is broken. */
void check_tell_fault(struct check *c, enum vhd_finding_code code,
		      const struct vhd_err *fault);

/* check_code.c */
struct check_code {
	const char *name;
	enum vhd_severity severity;
	uint8_t hresult;     /* low byte of 0xC03A00xx, or 0 */
	enum vhd_why why;    /* of opening; NONE where it opens */
	unsigned refused_by; /* 1 << enum vhd_target */
};

extern const struct check_code check_codes[VHD_FIND_COUNT];
/* The code for a broken rule of opening, or COUNT. */
enum vhd_finding_code check_code_of(enum vhd_why why);

/* The parts. Errors: only what keeps the file from being read. */
void check_footers(struct check *c);
int check_header(struct check *c, struct vhd_err *err);
int check_bat(struct check *c, struct vhd_err *err);
int check_batmap(struct check *c, struct vhd_err *err);
int check_chain(struct check *c, struct vhd_err *err);
int check_data(struct check *c, struct vhd_err *err);
void check_host(struct check *c);
void check_target(struct check *c);

/* Whether QEMU before 10 takes current_size for this creator's files. */
bool check_qemu_trusts_size(const uint8_t app[4]);

/* The seam for tests: over a medium the caller has; borrows it. */
int vhd_check_file(const struct vhd_file *f, const struct vhd_check_opts *opts,
		   struct vhd_check_result *result, struct vhd_err *err);

#endif

/* SPDX-License-Identifier: BSD-2-Clause */
/* What a check says of each fault, and counts. */
#include <stdarg.h>
#include <stdio.h>

#include "check.h"

#define HRESULT_BASE 0xc03a0000u

static bool refused(const struct check *c, enum vhd_finding_code code,
		    enum vhd_severity severity)
{
	/* A demand told more mildly than usual is no reason to refuse. */
	return c->opts->target != VHD_TARGET_NONE &&
	       check_codes[code].refused_by & 1u << c->opts->target &&
	       severity >= check_codes[code].severity;
}

/* Count a finding. Returns whether it is to be told: a table of 2^24 bad
 * entries must not cost as many lines that nobody asked for.
 */
static bool count(struct check *c, enum vhd_severity severity,
		  enum vhd_finding_code code)
{
	struct vhd_check_result *r = c->result;

	r->severity_count[severity]++;
	if (refused(c, code, severity))
		r->refusals++;
	return ++r->count[code] <= c->limit && !c->stopped && c->opts->found;
}

static struct vhd_finding finding(const struct check *c,
				  enum vhd_severity severity,
				  enum vhd_finding_code code)
{
	const struct check_code *row = &check_codes[code];

	return (struct vhd_finding){
		.severity = severity,
		.code = code,
		.why = row->why,
		.hresult = row->hresult ? HRESULT_BASE | row->hresult : 0,
		.refuses = refused(c, code, severity),
		.block = VHD_NO_BLOCK,
	};
}

static void tell(struct check *c, const struct vhd_finding *f)
{
	if (c->opts->found(c->opts->ctx, f))
		c->stopped = true;
}

__attribute__((format(printf, 6, 0))) static void tell_text(
	struct check *c, enum vhd_severity severity, enum vhd_finding_code code,
	uint64_t at_bytes, uint64_t block, const char *fmt, va_list ap)
{
	struct vhd_finding f;

	if (!count(c, severity, code))
		return;
	f = finding(c, severity, code);
	f.at_bytes = at_bytes;
	f.block = block;
	vsnprintf(f.text, sizeof(f.text), fmt, ap);
	tell(c, &f);
}

void check_tell(struct check *c, enum vhd_finding_code code, uint64_t at_bytes,
		uint64_t block, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	tell_text(c, check_codes[code].severity, code, at_bytes, block, fmt,
		  ap);
	va_end(ap);
}

void check_tell_as(struct check *c, enum vhd_severity severity,
		   enum vhd_finding_code code, uint64_t at_bytes,
		   uint64_t block, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	tell_text(c, severity, code, at_bytes, block, fmt, ap);
	va_end(ap);
}

void check_tell_fault(struct check *c, enum vhd_finding_code code,
		      const struct vhd_err *fault)
{
	enum vhd_severity severity = check_codes[code].severity;
	struct vhd_finding f;

	if (!count(c, severity, code))
		return;
	f = finding(c, severity, code);
	f.why = fault->why;
	f.at_bytes = fault->at_bytes;
	snprintf(f.text, sizeof(f.text), "%s", fault->text);
	tell(c, &f);
}

/* SPDX-License-Identifier: BSD-2-Clause */
/* What the two halves of vhd repair share. Private to tools/verb/repair.c and
 * tools/verb/salvage.c.
 */
#ifndef VERB_REPAIR_H
#define VERB_REPAIR_H

#include "verb.h"

struct repair_verb {
	const char *prog;
	const char *path;
	char shown[VERB_SHOWN_BYTES]; /* the path, for people */
	const char *undo_operand;
	const char *salvage_path;
	struct vhd_repair_opts opts;
	bool dry_run;
	bool no_undo;
	bool undo_apply;
	struct verb_parents parents; /* salvage only */
	bool larger_child;
	bool force;
	bool json;
	bool quiet;
	struct json_object *list; /* steps, or losses */
	char undo_default[PATH_MAX + 16];
};

/* --salvage. Returns the exit code. */
int verb_salvage(struct repair_verb *v);

#endif

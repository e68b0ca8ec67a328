/* SPDX-License-Identifier: BSD-2-Clause */
/* Workloads that make new images, and those that only look. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/lib/diffimg.h"
#include "tests/lib/faultwork.h"

/* ---------------------------------------------------------------- create -- */

static void nothing(struct fx *f)
{
	f->size = FW_BYTES;
	f->start = f->model[0];
}

static void old_file(struct fx *f)
{
	struct memfile *m = memfile_create();

	nothing(f);
	if (!m || memfile_poke(m, "something old", 13, 5000))
		abort();
	fx_add(f, "out.vhd", m);
}

/* As the tools do: what is not finished goes. */
static int create(struct vhd_create_opts o, struct vhd_err *e)
{
	struct vhd *img = NULL;
	int rc;

	o.unique_id[0] = 9;
	o.now_unix_s = 1700000000;
	rc = vhd_create("out.vhd", &o, &img, e);
	if (rc)
		return rc;
	rc = vhd_close(img, e);
	if (!rc)
		return 0;
	fault_suspend(true);
	(void)unlink("out.vhd");
	fault_suspend(false);
	return rc;
}

static int run_create_raw(struct fx *f, struct vhd_err *e)
{
	(void)f;
	return create((struct vhd_create_opts){.format = VHD_FORMAT_RAW,
					       .size_bytes = FW_BYTES},
		      e);
}

static int run_create_fixed(struct fx *f, struct vhd_err *e)
{
	(void)f;
	return create((struct vhd_create_opts){.format = VHD_FORMAT_FIXED,
					       .size_bytes = FW_BYTES},
		      e);
}

static int run_create_dynamic(struct fx *f, struct vhd_err *e)
{
	(void)f;
	return create((struct vhd_create_opts){.format = VHD_FORMAT_DYNAMIC,
					       .size_bytes = FW_BYTES,
					       .block_size_bytes = FW_BLOCK},
		      e);
}

static int run_create_batmap(struct fx *f, struct vhd_err *e)
{
	static const struct vhd_creator tap = {{'t', 'a', 'p'}, 0x10003, {0}};

	(void)f;
	return create((struct vhd_create_opts){.format = VHD_FORMAT_DYNAMIC,
					       .size_bytes = FW_BYTES,
					       .block_size_bytes = FW_BLOCK,
					       .creator = &tap,
					       .batmap = true},
		      e);
}

static int run_create_diff(struct fx *f, struct vhd_err *e)
{
	(void)f;
	return create((struct vhd_create_opts){.format = VHD_FORMAT_DIFF,
					       .parent_path = "l2.vhd",
					       .parent_dir = "."},
		      e);
}

/* ---------------------------------------------------------------- copies -- */

static int run_compact_to(struct fx *f, struct vhd_err *e)
{
	const struct vhd_compact_opts o = {
		.write = true,
		.parent_equal = true,
		.parent_dir = ".",
	};

	return vhd_compact_to(f->file[f->files - 1].name, false, "out.vhd", &o,
			      NULL, e);
}

struct losses {
	struct fx *f;
	uint64_t bytes;
};

/* What is told as lost is zero in the new image. */
static int lost(void *ctx, const struct vhd_salvage_loss *l)
{
	struct losses *s = ctx;

	if (l->doubtful) {
		memset(s->f->any + l->off_bytes / 512, 1, l->len_bytes / 512);
		return 0;
	}
	s->bytes += l->len_bytes;
	memset(s->f->high + l->off_bytes, 0, l->len_bytes);
	return 0;
}

static int run_salvage(struct fx *f, struct vhd_err *e)
{
	struct losses losses = {.f = f};
	const struct vhd_salvage_opts o = {
		.parent_dir = ".",
		.unique_id = {3},
		.now_unix_s = 1700000000,
		.lost = lost,
		.ctx = &losses,
	};
	struct vhd_salvage_result r = {0};
	int rc = vhd_salvage(f->file[f->files - 1].name, "out.vhd", &o, &r, e);

	if (!rc && r.lost_bytes != losses.bytes)
		fx_wrong(f, "not all that is lost is told");
	return rc;
}

static void no_footer(struct fx *f)
{
	fw_dynamic(f);
	memset(f->file[0].bytes + f->file[0].len - 512, 0, 512);
}

/* ----------------------------------------------------------------- check -- */

static int run_check(struct fx *f, struct vhd_err *e)
{
	const struct vhd_check_opts o = {.data = true, .parent_dir = "."};
	struct vhd_check_result r;
	int rc = vhd_check(f->file[f->files - 1].name, &o, &r, e);

	if (rc || r.severity_count[VHD_SEVERITY_ERROR])
		return rc;
	/* The image is sound: what was not looked at must not be called so. */
	if (fx_struck(f) && fault_hit()->call != FAULT_STAT &&
	    fault_hit()->call != FAULT_REALPATH && fault_is_error())
		fx_wrong(f, "a fault is not told");
	return 0;
}

static int run_plan_repair(struct fx *f, struct vhd_err *e)
{
	const struct vhd_repair_opts o = {.new_id = "a new identity!"};

	return vhd_repair(f->file[f->files - 1].name, &o, NULL, e);
}

#define MAKES WORK_MAKES

const struct work fault_work_create[] = {
	{"create raw", MAKES, nothing, run_create_raw, "", NULL, NULL},
	{"create fixed", MAKES, nothing, run_create_fixed, "", NULL, "out.vhd"},
	{"create dynamic", MAKES, nothing, run_create_dynamic, "", NULL,
	 "out.vhd"},
	{"create batmap", MAKES, nothing, run_create_batmap, "", NULL,
	 "out.vhd"},
	{"create diff", MAKES, fw_diff, run_create_diff, "", NULL,
	 "out.vhd l2.vhd l1.vhd l0.vhd"},
	{"create over", 0, old_file, run_create_dynamic, "out.vhd", NULL,
	 "out.vhd"},
	{"copy compact", MAKES | WORK_LEAVES, fw_blocks, run_compact_to, "",
	 NULL, "out.vhd"},
	{"copy compact diff", MAKES | WORK_LEAVES, fw_diff, run_compact_to, "",
	 NULL, "out.vhd l1.vhd l0.vhd"},
	{"salvage", MAKES | WORK_ONCE, fw_dynamic, run_salvage, "", NULL,
	 "out.vhd"},
	{"salvage footer", MAKES | WORK_ONCE, no_footer, run_salvage, "", NULL,
	 "out.vhd"},
	{"salvage diff", MAKES | WORK_ONCE, fw_diff, run_salvage, "", NULL,
	 "out.vhd"},
	{"check dynamic", WORK_READS, fw_dynamic, run_check, "", "l0.vhd",
	 NULL},
	{"check fixed", WORK_READS, fw_fixed, run_check, "", "l0.vhd", NULL},
	{"check diff", WORK_READS, fw_diff, run_check, "",
	 "l2.vhd l1.vhd l0.vhd", NULL},
	{"plan repair", WORK_READS, no_footer, run_plan_repair, "", "l0.vhd",
	 NULL},
	{0},
};

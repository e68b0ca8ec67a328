/* SPDX-License-Identifier: BSD-2-Clause */
/* Workloads under faults: files as they are before, one operation of the
 * library on them, and what must hold of the files afterwards; run once clean
 * to learn its calls, and then once for each call, each kind of fault that
 * applies to it, once and for ever (see fault.h).
 *
 * Every run is in the current directory, which holds nothing else.
 */
#ifndef TESTS_LIB_FAULTRUN_H
#define TESTS_LIB_FAULTRUN_H

#include "tests/lib/fault.h"
#include "tests/lib/memfile.h"
#include "vhd/vhd.h"

#define FX_FILES  10u
#define FX_LAYERS 4u
#define FX_ROOM	  (1280u << 10)

struct fx_file {
	char name[24];
	uint8_t *bytes;
	uint64_t len;
};

/* The files of a workload, and what its disk must read as: each sector is what
 * `low` or `high` has, after success what `high` has.
 */
struct fx {
	const struct work *work;
	struct fx_file file[FX_FILES];
	unsigned files;
	uint8_t *model[FX_LAYERS]; /* as made, 0 the lowest layer */
	uint64_t size;		   /* of the disk as made */
	const uint8_t *start;	   /* and its content */
	uint8_t *low, *high;	   /* FX_ROOM bytes, `room` of them used */
	size_t room;
	bool any[FX_ROOM / 512]; /* sectors of which nothing is promised */
	uint64_t low_size, high_size;
	char fault[300];  /* what a run itself found wrong, or "" */
	bool clean;	  /* this run is to meet no fault */
	bool cannot_tell; /* the run's `err` has no position */
};

enum work_flag {
	WORK_READS = 1u << 0,  /* nothing may change, whatever happens */
	WORK_REPAIR = 1u << 1, /* what is left may need vhd_repair */
	WORK_ONCE = 1u << 2,   /* is not run again after a fault */
	WORK_MAKES = 1u << 3,  /* "out.vhd": there after success, else gone */
	WORK_LEAVES = 1u << 4, /* ... or there and worth nothing */
	WORK_EITHER = 1u << 5, /* after a fault either chain may be right */
	WORK_LARGE = 1u << 6,  /* needs more room */
	WORK_SLOW = 1u << 7,   /* not every call, unless PROOF_LONG=1 */
	WORK_FEW = 1u << 8,    /* ... one of each site */
	WORK_LONG = 1u << 9,   /* ... none */
	WORK_NO_HOLES = 1u << 10, /* the file system has none */
};

struct work {
	const char *name;
	unsigned flags;
	void (*make)(struct fx *f);
	int (*run)(struct fx *f, struct vhd_err *e);
	/* Files that the operation may change, separated by spaces, beside
	 * "out.vhd"; the first is for vhd_repair.
	 */
	const char *target;
	/* The disk judged, topmost layer first: after a fault, and after
	 * success where that is another. NULL: none.
	 */
	const char *chain;
	const char *chain_done;
};

/* What is rightly otherwise than the table has it. The first that fits. */
struct fault_allow {
	const char *work;     /* start of the workload's name; "": each */
	enum fault_call call; /* FAULT_CALLS: each */
	enum fault_kind kind; /* NONE: each */
	const char *site;     /* part of the site's name; "": each */
	int code;	      /* 0: nobody notices, else the errno told */
	enum vhd_why why;     /* told; NONE: any */
	const char *reason;
};

struct faultrun_totals {
	uint64_t runs;
	uint64_t deep;	 /* of them, with two faults */
	uint64_t judged; /* states of files looked at */
	unsigned wrong;
};

extern struct faultrun_totals faultrun_totals;

/* Of the fixture; NULL: none of that name. */
const struct fx_file *fx_named(const struct fx *f, const char *name);
/* Look at what the run left, with success or without; repairs where that may
 * be needed. What is wrong goes into `f`.
 */
void fx_judge(struct fx *f, bool done);

/* Make all runs of a workload; failures are printed and counted. */
void faultrun(const struct work *w, const struct fault_allow *allow);

/* -------------------------------------------------------- for workloads -- */

/* A file of the fixture; takes `m`. */
void fx_add(struct fx *f, const char *name, struct memfile *m);
/* The run saw something wrong, with success or without. */
__attribute__((format(printf, 2, 3))) void fx_wrong(struct fx *f,
						    const char *fmt, ...);
/* Whether a fault has struck in this run. */
bool fx_struck(const struct fx *f);
/* What an operation wrote, and made durable. */
void fx_wrote(struct fx *f, uint64_t off, const void *bytes, size_t len);
void fx_durable(struct fx *f);
/* The bytes [off, off + len) of a disk that was read with success. */
void fx_check(struct fx *f, const void *got, uint64_t off, size_t len);

#endif

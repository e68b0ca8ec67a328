/* SPDX-License-Identifier: BSD-2-Clause */
/* The crash harness (goals C1 to C6): small tables of images and operations,
 * every combination of them carried out over a recorded medium, and every state
 * that a power cut may then leave checked against what was promised.
 *
 *   crash.c          counts, seeds, figures
 *   crash_class.c    the images
 *   crash_op.c       operations of a disk in use
 *   crash_edit.c     operations on whole images
 *   crash_repair.c   repair and undo
 *   crash_guest.c    the same through a guest's rings
 *   crash_model.c    what a sector may read as, and when
 *   crash_check.c    one state, judged
 *   crash_run.c      a workload from its beginning to its last state
 *   crash_barrier.c  the flushes, by the place in the source that asks for them
 *
 * Promises (PROOF.md's I1 to I6): I1 the image opens, or fails with the reason
 * that the operation documents and is put right by the command that it
 * documents; I2 what was flushed reads back; I3 any other sector reads as
 * something it held since; I4 no two structures overlap; I5 parents are not
 * written to; I6 repairing twice changes nothing more.
 */
#ifndef TESTS_PROOF_CRASH_H
#define TESTS_PROOF_CRASH_H

#include "tests/lib/crashstate.h"
#include "tests/lib/diffimg.h"
#include "tests/lib/oracle.h"
#include "tests/lib/random.h"
#include "vhd/image.h"

#define SECTOR	   512u
#define DISK_MAX   (4u << 20)
#define STEPS_MAX  64u
#define LAYERS_MAX 3u

/* ---------------------------------------------------------------- model -- */

enum step_kind {
	STEP_WRITE,
	STEP_SIZE,   /* the disk gets `size` bytes */
	STEP_FORMAT, /* the file becomes a `format` */
};

/* Something an operation does to the disk, as its user sees it. */
struct step {
	enum step_kind kind;
	uint64_t lba;
	uint64_t count;
	uint8_t *data; /* owned; NULL: zeros */
	/* Owned; NULL: an ordinary write. Where an earlier write was lost, a
	 * sector may read as this instead: from another parent.
	 */
	uint8_t *under;
	uint64_t size;
	enum vhd_format format;
};

struct model {
	uint8_t *was; /* owned; DISK_MAX bytes, zeros behind the disk */
	uint64_t size;
	uint64_t max_size; /* of all steps */
	enum vhd_format format;
	struct step step[STEPS_MAX];
	unsigned count;
};

struct op_info;

/* What may be found at a point of the record. */
struct expect {
	unsigned begun;	  /* steps that have begun */
	uint64_t durable; /* a bit a step */
	unsigned op;	  /* number of the operation to come, under way, done */
	bool done;
	uint64_t sizes[4];
	unsigned size_count;
	unsigned formats; /* 1 << enum vhd_format */
	uint8_t *base;	  /* owned, DISK_MAX: the latest durable content */
	uint8_t *loose;	  /* owned, a byte a sector: or something later */
};

void model_init(struct model *m);
void model_fini(struct model *m);
void expect_init(struct expect *e);
void expect_fini(struct expect *e);
/* By the marks among the first `n` events. */
void expect_at(struct expect *e, const struct model *m,
	       const struct crash_record *r, size_t n);
/* From what `now` expects: the steps [first, last) are done and durable. */
void expect_end(struct expect *e, const struct expect *now,
		const struct model *m, const struct op_info *info);
/* The same with those steps begun, whether they are durable or not. */
void expect_widen(struct expect *e, const struct model *m,
		  const struct op_info *info);
/* For telling states of equal content apart that promise different things. */
uint64_t expect_key(const struct expect *e);
/* The first point at which the operation of this number has begun. */
size_t expect_begins(const struct crash_record *r, unsigned op);
/* Is this what the disk may be? NULL: yes. LAX_TORN: sectors being written may
 * be garbage. LAX_GROWN: a fixed disk may show its former footer where it has
 * just grown; LAX_CUT: its next one where it is going to be cut.
 */
enum { LAX_TORN = 1, LAX_GROWN = 2, LAX_CUT = 4 };
const char *model_judge(const struct model *m, const struct expect *e,
			const uint8_t *got, uint64_t size,
			enum vhd_format format, unsigned lax);
bool expect_size(const struct expect *e, uint64_t size);

/* ------------------------------------------------------------------ env -- */

/* Images below or above the one under test, the lowest first. */
struct layers {
	struct memfile *m[LAYERS_MAX];
	uint8_t *bytes[LAYERS_MAX];
	uint64_t len[LAYERS_MAX];
	unsigned count;
};

/* What an operation was asked for, and what is known of its beginning. */
struct op_info {
	unsigned first, last; /* its steps: [first, last) */
	enum vhd_format format;
	uint64_t disk_bytes;
	uint64_t size_arg;
	uint8_t *chain;	  /* owned: what the layers above read as, or NULL */
	uint64_t undo_to; /* hash of disk 0 that an undo leads back to; or 0 */
};

#define OPS_MAX 2u

struct env {
	const struct class *cls;
	/* 0: the image; 1: a file beside it (undo, the new one of a copy) */
	struct crashdisk *disk[2];
	struct layers low;   /* what it builds on */
	struct layers other; /* what it can be put onto instead */
	struct layers up;    /* what builds on it: to be merged into it */
	struct model model;
	struct crash_record *rec; /* NULL: nothing is being recorded */
	unsigned op; /* the operation that runs, or that is judged */
	struct op_info info[OPS_MAX];
	unsigned stamp;		  /* of the next data */
	uint64_t seed;
	bool absent; /* there is no image yet, or nothing worth keeping */
	/* of the image as it is now */
	enum vhd_format format;
	uint32_t block;
	bool names; /* its locators lead to the parent */
	bool died;  /* somebody did, and left what may or may not stay */
};

/* Open the image on `f` with its parents, whichever it asks for. */
int env_open(const struct env *e, struct vhd_file f, bool writable,
	     enum vhd_format format, struct vhd **out, struct vhd_err *err);
/* The same of disk 0, which must succeed. */
struct vhd *env_use(const struct env *e);
void env_close(struct vhd *img);
/* The layers whose topmost has this id, or NULL. */
const struct layers *env_layers(const struct env *e, const uint8_t id[16]);
struct vhd *layers_open(const struct layers *l);
void layers_add(struct layers *l, struct memfile *m);
bool layers_untouched(const struct layers *l);

/* Marks of the record, and the model with them. */
int env_write(struct env *e, uint64_t lba, uint64_t count);
int env_zero(struct env *e, uint64_t lba, uint64_t count);
int env_size(struct env *e, uint64_t size);
int env_format(struct env *e, enum vhd_format format);
int env_becomes(struct env *e, uint8_t *disk, uint64_t size); /* takes */
/* It is on `e->other` from now on. */
int env_moves(struct env *e, uint64_t size);
void env_durable(struct env *e);	  /* all of this operation's so far */
void env_durable_one(struct env *e, int step); /* this one */
void env_op_begins(struct env *e, unsigned op);
void env_op_ends(struct env *e);
static inline struct op_info *env_info(struct env *e)
{
	return &e->info[e->op];
}

/* The independent reader on disk 0; a disk without blocks has all of them. */
bool env_block_used(const struct env *e, uint32_t block);
uint64_t env_sectors(const struct env *e);
/* What it reads as now, by that reader; aborts where it cannot. With the
 * layers above it, or over others than it asks for (NULL: those).
 */
void env_content(const struct env *e, uint8_t *disk, uint64_t size);
void layers_content(const struct layers *l, uint8_t *disk, uint64_t size);
void env_content_over(const struct env *e, const struct layers *low, bool up,
		      uint8_t *disk, uint64_t size);

__attribute__((format(printf, 1, 2), noreturn)) void broken(const char *fmt,
							     ...);

/* -------------------------------------------------------------- classes -- */

struct class {
	const char *name;
	enum vhd_format format;
	uint64_t size;	/* bytes of the disk; 0: there is no image */
	uint32_t block; /* bytes; 0: flat */
	uint32_t parent_block;
	unsigned depth; /* images in the chain */
	bool large;	/* fewer states will do */
	struct memfile *(*make)(struct env *e, const struct class *c);
};

extern const struct class classes[];
extern const unsigned class_count;

void env_make(struct env *e, const struct class *c, uint64_t seed);
void env_free(struct env *e);

/* ----------------------------------------------------------- operations -- */

struct op {
	const char *name;
	bool (*fits)(const struct env *e, const struct op *o);
	/* Carries it out on disk 0, with marks. */
	void (*run)(struct env *e, const struct op *o);
	/* The same command again, on a disk that a power cut left; NULL: there
	 * is none. All steps are durable afterwards.
	 */
	int (*again)(const struct env *e, const struct op *o,
		     struct vhd_file f, struct vhd_err *err);
	int a, b, c;
	/* While it is under way: what opening may say (repairing helps), and
	 * what opening for writing may say (the same command helps).
	 */
	enum vhd_why why_open, why_write; /* NONE: nothing */
	bool any_why; /* why_open is any reason to call an image damaged */
	bool durable; /* nothing is in flight when it is done */
	bool steady;  /* `again` leaves what has not been durable as it is */
	bool makes;   /* the image; before it is done there need be none */
	bool mends;   /* `again` also gets over `why_open` */
	bool differ;  /* under way, two sound footers may differ for good */
	bool harms;   /* it leads back to a damaged image */
	/* Before recording: what the operation is for. NULL: nothing. */
	void (*prepare)(struct env *e, const struct op *o);
};

/* All of them, in one list. */
unsigned op_count(void);
const struct op *op_get(unsigned i);

struct op_table {
	const struct op *ops;
	unsigned count;
};
extern const struct op_table use_ops, guest_ops, edit_ops, repair_ops;

/* For simulated engines: a write with RWF_DSYNC makes itself durable and no
 * more. `ctx` is the env.
 */
struct vhd_io;
struct sim_fate;
void env_decide(void *ctx, const struct vhd_io *io, struct sim_fate *fate);

/* Where on the disk, and how much. */
enum place { AT_NEW, AT_OLD, AT_LAST, AT_ACROSS, AT_ALL };
enum extent_kind { ONE, PART, WHOLE };
struct extent {
	uint64_t lba, count;
};
/* False: this disk has no such place. */
bool extent_find(const struct env *e, int place, int kind, struct extent *x);
bool extent_fits(const struct env *e, const struct op *o); /* a and b */
/* What the image reads as there stays, whatever was done. */
void extent_as_read(struct env *e, struct vhd *img, struct extent x);

/* -------------------------------------------------------------- checking -- */

/* What a state is judged by, beside its content. */
struct verdict {
	const struct env *env;
	const struct expect *expect;
	const struct op *op; /* under way or done last; NULL: none */
	const struct crash_state *state;
	bool inner;  /* a cut of a recovery, not of the operation */
	bool after;  /* it was recovered from */
	bool torn;   /* data sectors may be garbage */
	bool exempt; /* metadata that exists once is garbage: only survive */
	bool deep;   /* also repair, and the same command again */
};

/* NULL, or what does not hold; the media are as before. */
const char *check_state(const struct verdict *c);
/* The ways to get over a power cut. False: this one does not apply. */
enum recovery { RECOVER_OPEN, RECOVER_REPAIR, RECOVER_AGAIN, RECOVERIES };
bool recover(const struct verdict *c, enum recovery how, const char **fault);

/* --------------------------------------------------------------- running -- */

/* Hashes seen. */
struct seen {
	uint64_t *slot;
	size_t room, count;
};
bool seen_add(struct seen *s, uint64_t hash); /* true: it is new */
void seen_free(struct seen *s);

struct run_opts {
	uint64_t seed;
	unsigned exhaustive; /* as in crash_opts */
	unsigned samples[CRASH_MODES];
	unsigned deep_every; /* a state of so many is checked deeply */
	unsigned depth2;     /* states of a workload that are cut again */
	unsigned depth2_samples;
	/* Of one mode: samples at a point times bytes of the disk, which is all
	 * looked at each time; 0: no bound. Only large disks meet it.
	 */
	uint64_t bytes_most;
	/* Of two operations, only the second one's points: those of the first
	 * are the same whatever follows, and one_op's.
	 */
	bool tail;
};

struct run_stats {
	struct seen states, depth2;
	uint64_t visited, checked, deep;
	uint64_t points, points_hit;
	uint64_t flushes;
	unsigned workloads;
};

/* A workload: `count` operations after one another on an image. */
struct workload {
	const struct class *cls;
	const struct op *ops[OPS_MAX];
	unsigned count;
};

void workload_name(const struct workload *w, char *buf, size_t n);
/* NULL, or what does not hold, with the workload and the point. */
const char *workload_run(const struct workload *w, const struct run_opts *o,
			 struct run_stats *s);
/* Record it with flush `lose` skipped (CRASH_LOSE_NOTHING: none); the number of
 * flushes. A state that breaks a promise is told in `fault`, else NULL.
 * `*rec`, if asked for, is the record as it grows.
 */
int workload_lose(const struct workload *w, int lose,
		  void (*at_flush)(void *ctx, int number), void *ctx,
		  const struct crash_record **rec, const char **fault);
/* A state of it after it was opened for writing and closed: the image into
 * `vhd`, what the independent reader finds in it into `raw`. False: it had no
 * state that is chosen.
 */
bool workload_export(const struct workload *w, uint64_t seed, const char *vhd,
		     const char *raw);
/* Do the operations fit this image? */
bool workload_fits(const struct workload *w);

/* -------------------------------------------------------------- barriers -- */

struct barrier_stats {
	unsigned sites, killed, excused;
	unsigned runs;
};

/* Skip each flush of each workload, by call sites, until a state of it breaks
 * a promise. Prints the sites; false: one is needed by nothing and is not in
 * the table `excuses`, or it is in there and is needed.
 */
bool barriers_run(const char *excuses, struct barrier_stats *s);

#endif

/* SPDX-License-Identifier: BSD-2-Clause */
/* One deterministic run: a guest, its rings, the VSP, the disk queues and the
 * disks in one thread, every decision drawn from one seed.
 *
 *   sim.c          seeds, figures, what failed
 *   sim_event.c    which event comes next
 *   sim_machine.c  VSP and channels: opened, closed, reset, rebooted
 *   sim_disk.c     images: made, opened, cut, repaired, judged
 *   sim_ask.c      what the guest asks of a disk
 *   sim_post.c     all else that it asks, and the sending
 *   sim_answer.c   what it is told, and whether it may be
 *   sim_fault.c    what goes wrong below
 *   sim_tally.c    which reasons and status rows have occurred
 */
#ifndef TESTS_PROOF_SIM_H
#define TESTS_PROOF_SIM_H

#include "tests/lib/random.h"
#include "tests/lib/simdisk.h"
#include "tests/lib/simengine.h"
#include "tests/lib/simmodel.h"
#include "tests/lib/vsc.h"

#define SIM_DISKS	3u
#define SIM_LAYERS	3u /* below the image itself */
#define SIM_CHANNELS	3u
#define SIM_REQS	24u
#define SIM_REQ_PAGES	3u
#define SIM_REQ_SECTORS 16u
#define SIM_TRANSFER	(64u << 10)

/* How a request may end; index of the table in sim_answer.c. */
enum sim_row {
	ROW_GOOD,
	ROW_NO_LUN,
	ROW_BAD_OPCODE,
	ROW_BAD_FIELD,
	ROW_BAD_PARAM,
	ROW_PARAM_LENGTH,
	ROW_NO_SAVED_PAGES,
	ROW_LBA_RANGE,
	ROW_WRITE_PROTECTED,
	ROW_NO_SPACE,
	ROW_READ_ERROR,
	ROW_WRITE_ERROR,
	ROW_TARGET_FAILURE,
	ROW_RESOURCES,
	ROW_TASK_SET_FULL,
	ROW_ABORTED,
	ROW_DONE,    /* not a SCSI request: well */
	ROW_REFUSED, /* not in this session, or no such operation */
	ROW_COUNT
};
#define ROW(r) (1u << ROW_##r)

struct sim;

enum sim_cache {
	CACHE_ON,
	CACHE_OFF, /* every write is durable */
	CACHE_UNKNOWN,
};

struct sim_disk {
	struct sim *sim;
	bool present;	     /* in the controller */
	bool lun_readonly;   /* its address there says so */
	bool image_readonly; /* it is opened so */
	uint8_t path, target, lun;
	enum vhd_format format;
	uint64_t size;
	struct simdisk *medium;
	unsigned below;			   /* parents */
	struct memfile *parent[SIM_LAYERS]; /* 0 is the lowest */
	struct vhd *img;
	struct simmodel *model;
	uint32_t fault[ROW_COUNT]; /* when it was last to be expected */
	uint32_t sync_failed;	   /* nothing may be called safe since; or 0 */
	bool may_be_poisoned;
	enum sim_cache cache; /* as the guest knows it */
	bool selecting;	      /* it is being switched */
	uint8_t *below_bytes[SIM_LAYERS]; /* of the parents, for the judge */
};

struct sim_req {
	bool busy;
	unsigned channel;
	struct sim_disk *disk; /* NULL: nothing of the disk's */
	enum vhd_op op;
	bool io;      /* reads, writes or flushes */
	bool fua;    /* durable with its answer */
	bool cache_off; /* the same, as long as that is so */
	bool verify; /* reads besides */
	bool unsure; /* may do nothing though it ends well */
	bool select; /* of the cache */
	bool wce;
	enum sim_cache cache_was;
	bool reset;
	bool aborts; /* a reset that names it was under way */
	uint32_t lba, sectors, number;
	uint32_t posted;
	uint32_t rows; /* it may end so, whatever goes wrong below */
	uint32_t bytes; /* that a good answer moves, or UINT32_MAX */
	uint32_t buffer_bytes;
	uint8_t cdb[16];
	uint8_t path, target, lun;
	uint32_t op_code; /* of the packet */
	uint64_t gpas[SIM_REQ_PAGES];
	uint32_t offset;
};

struct sim {
	uint64_t seed, rnd, hash;
	uint32_t now;	/* ticks with each post and answer */
	unsigned event, events;
	bool trace;
	bool live; /* a machine is up */

	struct vsc *v;
	struct vsc_channel *channel[SIM_CHANNELS];
	struct simengine *engine[SIM_CHANNELS];
	unsigned opening;
	unsigned subs;
	uint16_t version;
	uint64_t serial; /* of transaction ids */

	unsigned disks;
	struct sim_disk disk[SIM_DISKS];
	struct sim_req req[SIM_REQS];
	bool broken[SIM_CHANNELS]; /* its engine */
	bool masked[SIM_CHANNELS]; /* the guest wants no interrupt ... */
	bool sleeps[SIM_CHANNELS]; /* ... or waits for one */
	bool lost[SIM_CHANNELS];   /* an operation of it never ends */
	uint32_t added_at;	   /* a disk came */

	unsigned fault_permille, lost_permille;
	struct sim_engine {
		struct sim *sim;
		unsigned channel;
	} engine_of[SIM_CHANNELS];
	bool in_engine, calm; /* nothing goes wrong now */
};

extern struct sim_sums {
	uint64_t why[VHD_WHY_COUNT];
	uint64_t row[ROW_COUNT];
	uint64_t events, posts, answers, crashes, faults, refused_images;
	uint64_t resumed;
} sim_sums;

/* sim.c. End: say seed, event and how to see it again. */
__attribute__((format(printf, 2, 3), noreturn)) void sim_fail(
	struct sim *s, const char *fmt, ...);
__attribute__((format(printf, 2, 3))) void sim_say(struct sim *s,
						   const char *fmt, ...);
void sim_mix(struct sim *s, const void *bytes, size_t len);
static inline void sim_mix64(struct sim *s, uint64_t n)
{
	s->hash = (s->hash ^ n) * 0x9fb21c651e98df25u;
	s->hash ^= s->hash >> 29;
}

static inline uint32_t sim_below(struct sim *s, uint32_t n)
{
	return (uint32_t)random_below(&s->rnd, n);
}

static inline bool sim_chance(struct sim *s, uint32_t permille)
{
	return sim_below(s, 1000) < permille;
}

static inline struct storvsp_address sim_address(const struct sim_disk *d)
{
	return (struct storvsp_address){d->path, d->target, d->lun};
}

/* sim_event.c */
void sim_run(struct sim *s);

/* sim_machine.c */
void sim_power_on(struct sim *s);
/* Everything of the VSP goes; what is under way ends as it can. */
void sim_power_off(struct sim *s);
void sim_open_channels(struct sim *s);
void sim_close_channel(struct sim *s, unsigned i);
void sim_reboot(struct sim *s, bool unload);
void sim_hold(struct sim *s, bool held);
void sim_poll(struct sim *s);
void sim_add_disk(struct sim *s, unsigned i);

/* sim_disk.c */
void sim_disks_make(struct sim *s);
void sim_disks_free(struct sim *s);
void sim_disks_open(struct sim *s);
/* Close well, or let go where an image is no longer sound. */
void sim_disks_close(struct sim *s);
/* The power fails for all disks; then everything is opened again. */
void sim_crash(struct sim *s);
void sim_judge(struct sim *s, unsigned i, bool cut);
/* A damaged image: opens unless a check calls the damage an error. Which
 * reason belongs to which damage is for tests/vhd_malformed_*.c.
 */
void sim_refused_image(struct sim *s);

/* sim_post.c */
void sim_post(struct sim *s);
void sim_post_reset(struct sim *s);
/* The bytes of a request's buffer, from the guest's memory or into it. */
void sim_buffer(struct sim *s, const struct sim_req *r, void *bytes,
		uint32_t len, bool into);

/* sim_answer.c */
/* The next answer of a channel; false: there is none. */
bool sim_answer(struct sim *s, unsigned channel);
/* What is under way on a channel will never be answered. */
void sim_forget(struct sim *s, unsigned channel);
const char *sim_row_name(enum sim_row row);

/* sim_fault.c */
struct sim_opts sim_faults(struct sim *s, unsigned channel);
int sim_medium_fault(void *disk, enum memfile_op op, size_t *most);

/* sim_tally.c */
const char *sim_why_name(enum vhd_why why);
/* What has not occurred must be in the table with a reason, and what is in
 * the table must not have occurred. Says what is wrong; how many.
 */
unsigned sim_tally_check(const char *table, unsigned *whys, unsigned *rows,
			 unsigned *elsewhere);

#endif

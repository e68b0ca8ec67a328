/* SPDX-License-Identifier: BSD-2-Clause */
/* The storage VSP: a SCSI controller on a VMBus channel, its disks images of
 * the VHD library. Runs in a plain process with no KVM.
 *
 *   ring packet -> copied request -> CDB decoded -> disk queue -> completion
 *
 * Threads: each open channel has its own thread, queue and request slots.
 *   Disks are added before the guest opens the controller, or later from the
 *   control thread.
 * Sources: Linux drivers/scsi/storvsc_drv.c, OpenVMM storvsp, SPC-3, SBC-3.
 */
#ifndef STORVSP_H
#define STORVSP_H

#include <stdbool.h>
#include <stdint.h>

#include "hv/vmbus.h"
#include "vhd/vhd.h"

struct storvsp;

struct storvsp_opts {
	struct vmbus_guid instance;  /* stable controller id */
	/* An IDE accelerator instead of a SCSI controller: the way on which an
	 * enlightened guest reaches a disk of an emulated IDE controller. It is
	 * known by the disk's position (0 and 1: the first channel's), not by
	 * `instance`; its one disk has storvsp_ide_address. Without
	 * sub-channels.
	 */
	bool ide;
	uint8_t ide_position;
	uint16_t max_subchannels;    /* 0: single channel */
	uint32_t max_transfer_bytes; /* 0 means 2 MiB; multiple of 4096 */
	/* Requests of one disk that a channel takes and has not answered, at
	 * disks or waiting; 0 means 1024. See "Depth".
	 */
	uint32_t depth;
	/* A channel that has nothing to do may look for work for as long as
	 * this before it sleeps, where that paid off lately; 0: never. It
	 * looks at the ring and at the disk alike, and before it sleeps the
	 * guest's signals are let through: nothing waits for its end.
	 */
	uint32_t poll_us;
	/* Channels and guest have one processor: a channel may wait with what
	 * the guest sends until that has nothing more to do, where it sends
	 * several requests at a time (gather.h). Its thread changes between
	 * SCHED_OTHER, which it has to begin with, and SCHED_BATCH.
	 */
	bool one_processor;
	/* Register the guest's memory with each channel's queue: all of it is
	 * there and locked while a channel is open (vhd_queue_memory). Where
	 * that fails the channel works without, and a line says so.
	 */
	bool register_memory;
	enum vhd_engine engine;
	bool nbd_later; /* see struct vhd_queue_opts; disks that are added */
	vmbus_log_fn log; /* may be NULL; any thread */
	void *log_arg;
	/* Called by a channel's thread once its queue is made, by which
	 * engine; before it takes a packet. A negative errno, with its reason,
	 * keeps the channel from opening. May be NULL.
	 */
	int (*thread_begins)(void *arg, enum vhd_engine engine,
			     struct vhd_err *err);
	void *thread_arg;
	/* The guest opens the controller's first channel, and has closed its
	 * last one: with the disks reached in other ways, too, those know by it
	 * whose they are. On the control thread, nothing in flight at either
	 * moment; it may wait. May be NULL.
	 */
	void (*guest_has)(void *arg, bool yes);
	void *guest_arg;
	/* No threads: the test calls storvsp_poll. */
	bool manual;

	/* For people: what to type to resume a paused disk, for the log; its
	 * LUN follows as a word. May be NULL. Borrowed.
	 */
	const char *resume_hint;
	uint32_t stall_ms; /* see struct storvsp_disk_stats; 0 means 10 s */

	/* Seams for tests; NULL for the real thing. A queue other than
	 * vhd_queue_create would give, made and used by the channel's thread;
	 * and the clock: of limits, latencies, and the rate of log lines.
	 */
	int (*queue_create)(void *arg, struct vhd_queue **out,
			    struct vhd_err *err);
	void *queue_arg;
	uint64_t (*now_ms)(void *arg);
	void *now_arg;
};

#define STORVSP_DEPTH_MAX	1024u
#define STORVSP_TRANSFER_MAX	(1023u * 4096u) /* IOV_MAX pages, unaligned */
#define STORVSP_SUBCHANNELS_MAX 255u
#define STORVSP_POLL_MAX_US	10000u

/* Whether a guest can give space back (UNMAP). Fixed and raw disks may have
 * been given all their space on purpose: they keep it unless told.
 */
enum storvsp_unmap {
	STORVSP_UNMAP_AUTO, /* on for dynamic and differencing disks */
	STORVSP_UNMAP_OFF,
	STORVSP_UNMAP_ON,
};

/* What a disk's persistent reservations are: the guest's, the one initiator
 * that there is.
 */
struct storvsp_reservations {
	bool registered;
	uint64_t key;
	uint8_t type; /* of the reservation, as SPC-4 counts; 0: none */
};

/* What becomes of a request that failed for a reason of the host's (no space,
 * an I/O error, a file that is gone). A request whose failure ended the image,
 * as a failed sync does, is reported in either case: the guest must know.
 */
enum storvsp_on_error {
	STORVSP_ON_ERROR_REPORT, /* the guest is told */
	/* It is held, and the disk paused: its requests wait, in all channels,
	 * until storvsp_disk_resume. One log line says so.
	 */
	STORVSP_ON_ERROR_PAUSE,
};

/* How fast a disk may be, over all its channels. 0 everywhere: no limits. A
 * request counts once for each 8 KiB it moves, or part of it, and once when it
 * moves nothing. The bursts are what may pass at once after a time of rest; 0:
 * what a tenth of a second allows. A burst of less than a hundredth is taken
 * for that.
 */
struct storvsp_limits {
	uint64_t iops, iops_burst;
	uint64_t bps, bps_burst; /* bytes a second */
	/* Requests at the host's disk at once, in each channel; 0: as many as
	 * there is room for.
	 */
	uint32_t depth;
};

#define STORVSP_IOPS_MAX 10000000u
#define STORVSP_BPS_MAX	 (1ull << 40)

struct storvsp_disk_opts {
	uint8_t path, target, lun;
	bool read_only;
	enum storvsp_unmap unmap;
	uint8_t unique_id[16]; /* VPD 80 and 83; stable */
	enum storvsp_on_error on_error;
	struct storvsp_limits limits;
	/* What the guest counts in: 512 (0 means that) or 4096; the image's
	 * size must be a multiple. And what it is told of the medium: the same
	 * (0) or 4096.
	 */
	uint32_t block_bytes, physical_bytes;
	/* Reservations that outlive the guest's power (APTPL): those that were
	 * kept, and how to keep others, durably before it returns, or -errno.
	 * A channel's thread calls it, one at a time. NULL: they are not kept,
	 * and the guest is told so.
	 */
	struct storvsp_reservations reservations;
	int (*reservations_keep)(void *arg,
				 const struct storvsp_reservations *r);
	void *reservations_arg;
	/* A DVD-ROM drive: the image is the disc, read only, in blocks of
	 * 2048 bytes; NULL: no disc is in it.
	 */
	bool dvd;
};

/* -EINVAL (a limit above), -ENOMEM. */
int storvsp_create(const struct storvsp_opts *opts, struct storvsp **out,
		   struct vhd_err *err);
/* After the bus it was offered on. Takes `vsp` (may be NULL). */
void storvsp_destroy(struct storvsp *vsp);

/* Borrows `img` until it is removed or the controller is destroyed. An image
 * that was opened read-only needs `read_only`, too. A guest that is already
 * there is told to look again. Path 0..7, target 0..1, LUN 0..254: where Linux
 * looks. Any thread but a channel's own. -EEXIST (address or image in use),
 * -EINVAL, -ENOMEM, -ENOSPC (VHD_QUEUE_IMAGES_MAX disks).
 */
int storvsp_disk_add(struct storvsp *vsp, const struct storvsp_disk_opts *opts,
		     struct vhd *img, struct vhd_err *err);

/* Offer the controller on a bus. */
int storvsp_offer(struct storvsp *vsp, struct vmbus *bus, struct vhd_err *err);

/* manual mode: handle everything that is ready on all channels; returns the
 * number of packets taken and completions sent.
 */
unsigned storvsp_poll(struct storvsp *vsp);

/* For people and tests. With nothing in flight,
 * packets = completions + refused + cancelled.
 */
struct storvsp_stats {
	uint64_t packets;     /* taken from the guest */
	uint64_t completions; /* answers sent */
	uint64_t refused;     /* dropped: not answerable */
	uint64_t cancelled;   /* their channel closed before the answer */
	uint64_t reads, writes, flushes, zeros; /* given to the disk queue */
	uint64_t errors; /* SCSI requests that did not end well */
	uint64_t read_bytes, written_bytes; /* of those that did */
	uint64_t sleeps; /* of channels that had nothing to do */
	uint64_t polled; /* times that work came before a channel slept */
};
void storvsp_get_stats(struct storvsp *vsp, struct storvsp_stats *out);

/* ------------------------------------------------------------- disks ----- */

/* Depth. A request is at the host's disk, or waits in the channel for its turn
 * (the disk is paused, a limit holds it, or the disk has its share of places).
 * A channel has `depth` of its options and a quarter more slots for requests.
 * One disk has at most `depth` of them and less than four times what is free,
 * and at most half of the places at the host's disks; the last of both are for
 * disks that have none. So however slow one is, the others, and a reset, still
 * get through. Requests beyond the share are
 * answered TASK SET FULL where the channel has other disks (the guest lowers
 * its depth and sends them again); otherwise they stay in the ring.
 *
 * What follows is for any thread but a channel's own.
 */
struct storvsp_address {
	uint8_t path, target, lun;
};

#define STORVSP_IDE_POSITIONS 4u
/* Where a guest looks for the disk of an IDE position. */
static inline struct storvsp_address storvsp_ide_address(unsigned position)
{
	return (struct storvsp_address){.path = (uint8_t)(position / 2),
					.target = (uint8_t)(position % 2)};
}

/* -ENOENT (no disk there), -EINVAL. Requests that wait follow at once. */
int storvsp_disk_limit(struct storvsp *vsp, struct storvsp_address at,
		       const struct storvsp_limits *limits,
		       struct vhd_err *err);
/* -ENOENT. A paused disk stays paused. */
int storvsp_disk_on_error(struct storvsp *vsp, struct storvsp_address at,
			  enum storvsp_on_error on_error, struct vhd_err *err);
/* Let a paused disk go on: what was held is tried again, each request once.
 * Returns 1; 0 when it was not paused; -ENOENT; -EIO (POISONED): the image
 * cannot be written any more until it is opened again, and what waits is
 * answered so.
 */
int storvsp_disk_resume(struct storvsp *vsp, struct storvsp_address at,
			struct vhd_err *err);

/* Called once, by any thread, perhaps inside the call that it was given to.
 * No lock is held; it may do no more than take note, as a channel may be
 * waiting for it. `call` may be NULL.
 */
struct storvsp_notice {
	void (*call)(void *arg, struct vhd *img);
	void *arg;
};

/* Take a disk away. The guest is told to look again; from here on nothing is
 * found there. What is in flight ends first, each request once. `gone` then
 * says that nobody uses the image any more, which the caller may close.
 * -ENOENT.
 */
int storvsp_disk_remove(struct storvsp *vsp, struct storvsp_address at,
			const struct storvsp_notice *gone, struct vhd_err *err);
/* Ask for an early end of what removed disks still have in flight. Then only
 * operations that the kernel has begun and never ends keep an image.
 */
void storvsp_disk_hurry(struct storvsp *vsp);

/* Keep everybody off a disk's image for a moment: once `idle` was called it
 * may be changed, such as by vhd_grow. Meanwhile the controller takes nothing
 * from the guest, for any of its disks; so be quick. One disk at a time.
 * -ENOENT, -EBUSY (another one is frozen).
 */
int storvsp_disk_freeze(struct storvsp *vsp, struct storvsp_address at,
			const struct storvsp_notice *idle, struct vhd_err *err);
/* Go on, also where `idle` has not been called yet, and then never is. If the
 * image has another size now the guest is told so. Does nothing where no disk
 * is frozen.
 */
void storvsp_disk_thaw(struct storvsp *vsp);

/* Put another disc into a DVD drive, or none (NULL), whatever the guest does
 * with the one in it: requests under way end with that one, and `gone` is
 * called once it is out of use. The guest hears of it by a unit attention and a
 * media event. Any thread but a channel's own. -ENOENT (no drive there),
 * -EEXIST (the image is in use), -EINVAL, -ENOMEM, -ENOSPC.
 */
int storvsp_dvd_change(struct storvsp *vsp, struct storvsp_address at,
		       struct vhd *img, const struct storvsp_notice *gone,
		       struct vhd_err *err);

/* ------------------------------------------------------------- sight ----- */

/* Times, each known to an eighth of itself. */
#define STORVSP_HISTOGRAM_BUCKETS 304u

struct storvsp_histogram {
	uint64_t n[STORVSP_HISTOGRAM_BUCKETS];
	uint64_t max_ns;
};

/* The smallest time that a bucket counts. */
uint64_t storvsp_histogram_floor_ns(unsigned bucket);
uint64_t storvsp_histogram_count(const struct storvsp_histogram *h);
/* 50000 for the median, 99990 for p99.99, 100000 for the longest; 0 when
 * nothing was counted. Of two moments' difference: leave `max_ns` as it is.
 */
uint64_t storvsp_histogram_ns(const struct storvsp_histogram *h,
			      unsigned per_100000);

enum storvsp_kind {
	STORVSP_KIND_READ,
	STORVSP_KIND_WRITE,
	STORVSP_KIND_FLUSH,
	STORVSP_KIND_ZERO, /* UNMAP, WRITE SAME of zeros */
	STORVSP_KINDS
};

/* "read", "write", "flush", "zero". */
const char *storvsp_kind_name(enum storvsp_kind kind);

/* One disk, over all channels there are and were. Only requests that need the
 * disk count. Latency is from the packet taken to the answer ready, with all
 * waiting in between, of whatever ended but for what a reset cut short.
 */
struct storvsp_disk_stats {
	struct storvsp_address at;
	struct storvsp_limits limits;
	enum storvsp_on_error on_error;
	struct {
		uint64_t count;	 /* ended; `errors` of them not well */
		uint64_t errors;
		uint64_t bytes;	 /* moved for the guest */
		struct storvsp_histogram latency;
	} kind[STORVSP_KINDS];
	uint64_t aborted; /* by a reset or the end of their channel */
	/* now; and the most there ever were in one channel */
	uint64_t in_flight, in_flight_max; /* at the host's disk */
	uint64_t waiting, waiting_max;	   /* for their turn */
	uint64_t full;	    /* answered TASK SET FULL */
	/* waited for a limit, and for how long something did */
	uint64_t throttled, throttled_ns;
	/* at the host's disk for longer than the controller's stall_ms: so
	 * far, and now; each is logged once
	 */
	uint64_t stalls, stalled;
	bool paused, poisoned;
	int pause_code;	  /* of the last pause: a negative errno */
	uint64_t pauses;
	uint64_t held;	  /* requests that failed and were held, so far */
};
/* 0, or -ENOENT. */
int storvsp_disk_get_stats(struct storvsp *vsp, struct storvsp_address at,
			   struct storvsp_disk_stats *out);
/* The addresses of the disks in their order: how many there are, of which at
 * most `max` are written.
 */
unsigned storvsp_disk_list(struct storvsp *vsp, struct storvsp_address *out,
			   unsigned max);

/* An open channel. */
struct storvsp_channel_stats {
	unsigned index; /* 0: the primary */
	unsigned slots; /* for packets */
	uint64_t packets, completions, errors;
	uint64_t busy, busy_max;	   /* slots in use */
	uint64_t in_flight, in_flight_max; /* at the host's disks */
	uint64_t waiting;		   /* at their disk's gate */
};
/* By index: how many there are, of which at most `max` are written. */
unsigned storvsp_channel_list(struct storvsp *vsp,
			      struct storvsp_channel_stats *out, unsigned max);

#endif

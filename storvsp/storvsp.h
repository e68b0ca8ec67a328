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
	uint16_t max_subchannels;    /* 0: single channel */
	uint32_t max_transfer_bytes; /* 0 means 2 MiB; multiple of 4096 */
	uint32_t depth;		     /* requests per channel; 0 means 256 */
	/* A channel that has nothing to do may look for work for as long as
	 * this before it sleeps, where that paid off lately; 0: never. It
	 * looks at the ring and at the disk alike, and before it sleeps the
	 * guest's signals are let through: nothing waits for its end.
	 */
	uint32_t poll_us;
	/* Register the guest's memory with each channel's queue: all of it is
	 * there and locked while a channel is open (vhd_queue_memory). Where
	 * that fails the channel works without, and a line says so.
	 */
	bool register_memory;
	enum vhd_engine engine;
	vmbus_log_fn log; /* may be NULL; any thread */
	void *log_arg;
	/* Called by a channel's thread once its queue is made, by which
	 * engine; before it takes a packet. A negative errno, with its reason,
	 * keeps the channel from opening. May be NULL.
	 */
	int (*thread_begins)(void *arg, enum vhd_engine engine,
			     struct vhd_err *err);
	void *thread_arg;
	/* No threads: the test calls storvsp_poll. */
	bool manual;

	/* Seams for tests; NULL for the real thing. A queue other than
	 * vhd_queue_create would give, made and used by the channel's thread;
	 * and the clock that limits the rate of log lines.
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

struct storvsp_disk_opts {
	uint8_t path, target, lun;
	bool read_only;
	enum storvsp_unmap unmap;
	uint8_t unique_id[16]; /* VPD 80 and 83; stable */
};

/* -EINVAL (a limit above), -ENOMEM. */
int storvsp_create(const struct storvsp_opts *opts, struct storvsp **out,
		   struct vhd_err *err);
/* After the bus it was offered on. Takes `vsp` (may be NULL). */
void storvsp_destroy(struct storvsp *vsp);

/* Borrows `img` until the controller is destroyed. An image that was opened
 * read-only needs `read_only`, too. A guest that is already there is told to
 * look again. Path 0..7, target 0..1, LUN 0..254: where Linux looks.
 * Control thread, or before storvsp_offer. -EEXIST (address or image in
 * use), -EINVAL, -ENOSPC (VHD_QUEUE_IMAGES_MAX disks).
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

#endif

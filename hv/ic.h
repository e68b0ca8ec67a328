/* SPDX-License-Identifier: BSD-2-Clause */
/* Integration services: what a host and a guest's hv_utils say to one another
 * over five VMBus channels. The guest's side is foreign in every byte.
 *
 *   shutdown    end or restart in order
 *   timesync    the host's time, at start, now and then, and on request
 *   heartbeat   is it alive
 *   kvp         names and values, either way
 *   vss         hold its file systems still for a copy of its disks
 *
 * Thread: all of it belongs to the control thread; nothing here blocks.
 * Sources: Linux drivers/hv/hv_util.c, hv_kvp.c, hv_snapshot.c,
 *   include/uapi/linux/hyperv.h; OpenVMM hyperv_ic_protocol.
 */
#ifndef HV_IC_H
#define HV_IC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "vhd/err.h"
#include "vmbus.h"

enum hv_ic_service {
	HV_IC_SHUTDOWN,
	HV_IC_TIMESYNC,
	HV_IC_HEARTBEAT,
	HV_IC_KVP,
	HV_IC_VSS,
	HV_IC_SERVICES
};

enum hv_ic_state {
	HV_IC_CLOSED,	   /* no driver has opened its channel */
	HV_IC_NEGOTIATING, /* it is open; versions not agreed on yet */
	HV_IC_READY,
	HV_IC_UNSUITABLE, /* no version in common, or a broken ring */
};

enum hv_ic_op {
	HV_IC_OP_POWER_OFF,
	HV_IC_OP_RESTART,
	HV_IC_OP_HIBERNATE,
	HV_IC_OP_SYNC_TIME,
	HV_IC_OP_KVP_GET,
	HV_IC_OP_KVP_SET,
	HV_IC_OP_KVP_DELETE,
	HV_IC_OP_KVP_ENUMERATE,
	HV_IC_OP_FREEZE,
	HV_IC_OP_THAW,
	HV_IC_OPS
};

/* Where a guest keeps its values: the host's, its own, and what it tells of
 * itself.
 */
enum hv_ic_pool {
	HV_IC_POOL_EXTERNAL,
	HV_IC_POOL_GUEST,
	HV_IC_POOL_AUTO,
	HV_IC_POOL_AUTO_EXTERNAL,
	HV_IC_POOL_AUTO_INTERNAL,
	HV_IC_POOLS
};

/* UTF-16 units with the zero at the end; as UTF-8 up to three bytes each. */
#define HV_IC_KEY_UNITS	    256u
#define HV_IC_VALUE_UNITS   1024u
#define HV_IC_KEY_BYTES	    (3u * HV_IC_KEY_UNITS)
#define HV_IC_VALUE_BYTES   (3u * HV_IC_VALUE_UNITS)
#define HV_IC_FREEZE_S_MAX  900u /* the guest's own limit (Linux) */
#define HV_IC_FREEZE_S	    60u	 /* where nothing else is said */

/* The caller's until it is submitted, the service's until `done`, which comes
 * exactly once, maybe before the call that submits it returns.
 */
struct hv_ic_request {
	enum hv_ic_op op;
	bool force;	  /* POWER_OFF, RESTART: do not wait for programs */
	uint32_t limit_s; /* FREEZE: thawed again after that; 0: the default */
	enum hv_ic_pool pool;
	uint32_t index;	 /* ENUMERATE */
	char key[HV_IC_KEY_BYTES];     /* UTF-8; ENUMERATE: an answer */
	char value[HV_IC_VALUE_BYTES]; /* UTF-8; GET, ENUMERATE: an answer */
	/* 0; -ENOTCONN: no such service in this guest; -ENOENT: no such key,
	 * or none of this index; -ETIMEDOUT; -EBUSY, -EALREADY: frozen, not
	 * frozen; -ECONNRESET: the guest closed the channel; -EREMOTEIO: it
	 * says no; -EINVAL: no such text; -EAGAIN: its ring is full.
	 */
	int result;
	struct vhd_err err; /* the same in words */
	void (*done)(struct hv_ic_request *r);
	void *arg;
	struct hv_ic_request *next; /* the service's */
};

/* What may be asked of them all. */
struct hv_ic_info {
	struct {
		enum hv_ic_state state;
		uint32_t version; /* major << 16 | minor, when READY */
	} service[HV_IC_SERVICES];
	/* Heartbeat: never heard, or milliseconds since. */
	bool heard;
	uint64_t silent_ms;
	bool alive;	      /* heard lately enough */
	uint32_t application; /* the guest's word: 1 healthy, 2 critical */
	bool frozen;
	uint64_t frozen_left_ms; /* until it is thawed by itself */
};

struct hv_ic;

struct hv_ic_opts {
	struct vmbus *bus; /* borrows */
	uint64_t (*now_ms)(void *arg);
	/* Take the host's time and the guest's reference counter at one moment
	 * and call hv_ic_time with them, on the control thread, at once or
	 * later; never, while the guest is paused.
	 */
	void (*sample)(void *arg);
	vmbus_log_fn log; /* may be NULL */
	void *arg;
};

/* Offer all of them on the bus. They go with hv_ic_destroy, after the bus. */
int hv_ic_create(const struct hv_ic_opts *opts, struct hv_ic **out,
		 struct vhd_err *err);
void hv_ic_destroy(struct hv_ic *ic);

/* Readable when hv_ic_serve has something to do; the same for its life. */
int hv_ic_fd(const struct hv_ic *ic, enum hv_ic_service service);
void hv_ic_serve(struct hv_ic *ic, enum hv_ic_service service);
/* What time has made due; milliseconds until there is more, or -1. To be asked
 * again after any other call.
 */
int hv_ic_tick(struct hv_ic *ic);

void hv_ic_submit(struct hv_ic *ic, struct hv_ic_request *r);
/* 100 ns since 1601 UTC, and the partition's reference counter. */
void hv_ic_time(struct hv_ic *ic, uint64_t utc_100ns, uint64_t ref_100ns);
/* No heartbeat and no answer is expected meanwhile, and a freeze gets no older;
 * afterwards the guest's clock is set.
 */
void hv_ic_paused(struct hv_ic *ic, bool paused);
/* The guest is gone: what waits for it fails. */
void hv_ic_end(struct hv_ic *ic);

void hv_ic_get_info(struct hv_ic *ic, struct hv_ic_info *out);
/* "shutdown", "kvp". */
const char *hv_ic_name(enum hv_ic_service service);

#endif

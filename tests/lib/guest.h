/* SPDX-License-Identifier: BSD-2-Clause */
/* A VMBus guest in user space, for tests and fuzzers: some plain memory, a bus
 * on top of it, and the guest's side of every conversation. No KVM.
 *
 * Manual mode (default): nothing runs by itself. The functions below post a
 *   message, run vmbus_service and look at the answer; one thread does all.
 * Threaded mode: a control thread runs vmbus_service, as in the product;
 *   functions that wait then block until the answer is there. It starts with
 *   the first message posted: until then the test itself may do what belongs
 *   to the control thread (vmbus_offer_add).
 *
 * The ring side is written independently of hv/vmbus/ring.c: masking, the
 * empty -> non-empty signal and pending_send_sz as the Linux driver does them.
 * Guest functions belong to one thread, except that each opened channel may
 * be driven by a thread of its own.
 */
#ifndef TESTS_LIB_GUEST_H
#define TESTS_LIB_GUEST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "hv/vmbus.h"

#define GUEST_VERSION_5_3 0x00050003u
#define GUEST_NO_ANSWER	  (-110) /* nothing came (ETIMEDOUT) */
#define GUEST_WAIT_MS	  100000 /* patience of waiting functions, threaded */
#define GUEST_VPS_MAX	  64

struct guest;

struct guest_opts {
	uint32_t vps;	       /* 0 means 1 */
	uint64_t memory_bytes; /* 0 means 16 MiB; RAM at GPA 0 */
	uint64_t high_bytes;   /* a second region at 4 GiB, above a hole */
	uint32_t max_version;  /* for vmbus_opts */
	bool threaded;
	bool scatter;	  /* guest_alloc never gives adjacent pages */
	vmbus_log_fn log; /* NULL: lines are counted and the last kept */
	void *log_arg;
};

/* NULL `opts` is all defaults. Aborts when the machine refuses memory. */
struct guest *guest_create(const struct guest_opts *opts);
void guest_destroy(struct guest *g); /* destroys the bus, too */

struct vmbus *guest_bus(struct guest *g);
struct hv_mem *guest_mem(struct guest *g);
unsigned guest_log_lines(const struct guest *g);
const char *guest_log_last(const struct guest *g);

/* ------------------------------------------------------------- memory ---- */

/* `count` fresh zeroed pages; their GPAs into `gpas`. Aborts when exhausted.
 */
void guest_alloc(struct guest *g, unsigned count, uint64_t *gpas);
uint64_t guest_alloc_page(struct guest *g);
/* Where a GPA lies in this process; NULL outside RAM. */
void *guest_ptr(struct guest *g, uint64_t gpa);

/* ----------------------------------------------------------- messages ---- */

/* The guest's clock for the bus (ms); moves only by guest_advance. Threaded
 * mode uses the real clock.
 */
void guest_advance(struct guest *g, unsigned ms);

/* HvPostMessage; returns its status. Connection ids 1 and 4 exist. */
uint64_t guest_post(struct guest *g, uint32_t connection_id, const void *msg,
		    size_t len);
/* Same on the connection's own id. */
uint64_t guest_say(struct guest *g, const void *msg, size_t len);

/* Manual mode: run vmbus_service; returns what it returned. */
int guest_service(struct guest *g);

/* Take the next host message of any VP: its length, 0 when there is none.
 * In manual mode the bus is served until it is quiet; in threaded mode up to
 * GUEST_WAIT_MS pass. Offers met on the way are noted (guest_offer_find).
 * `buf` has 240 bytes; `vp` may be NULL.
 */
size_t guest_hear(struct guest *g, void *buf, uint32_t *vp);
/* Take messages until one of `type` comes; others are dropped (offers and
 * rescinds noted). Its length, or 0.
 */
size_t guest_hear_type(struct guest *g, uint32_t type, void *buf);
/* Do not consume slots: the host finds them busy. */
void guest_deafen(struct guest *g, bool deaf);
/* Binding a connection id fails from now on. */
void guest_refuse_bind(struct guest *g, bool refuse);
/* This VP's SynIC is off: the host gets -ENXIO. */
void guest_vp_off(struct guest *g, uint32_t vp, bool off);

/* ------------------------------------------------------- conversations --- */

/* INITIATE_CONTACT on the id that fits the version: 1 accepted, 0 refused,
 * or GUEST_NO_ANSWER.
 */
int guest_connect(struct guest *g, uint32_t version);
/* REQUESTOFFERS up to ALLOFFERS_DELIVERED: number of offers, or
 * GUEST_NO_ANSWER.
 */
int guest_request_offers(struct guest *g);
/* Both, at 5.3; aborts on failure. */
void guest_start(struct guest *g);
int guest_unload(struct guest *g); /* 0 or GUEST_NO_ANSWER */

struct guest_offer {
	struct vmbus_guid type, instance;
	uint16_t channel_flags, mmio_mb, sub_index;
	uint8_t user[120];
	uint32_t relid, connection_id;
	bool dedicated;
	bool rescinded;
};
/* The n-th (from 0) living offer with this sub-channel index, in order of
 * arrival; NULL `type` is any. Manual mode serves the bus first, threaded
 * mode waits for it. Valid until the next contact or unload.
 */
const struct guest_offer *guest_offer_find(struct guest *g,
					   const struct vmbus_guid *type,
					   uint16_t sub_index, unsigned n);

/* One range of whole pages: the status of GPADL_CREATED (0 is success), or
 * GUEST_NO_ANSWER.
 */
int64_t guest_gpadl_create(struct guest *g, uint32_t relid, uint32_t handle,
			   const uint64_t *gpas, unsigned pages);
int guest_gpadl_teardown(struct guest *g, uint32_t relid, uint32_t handle);

/* ----------------------------------------------------------- channels ---- */

struct guest_channel;

struct guest_open_opts {
	unsigned out_pages; /* guest -> host, control page included; 0: 32 */
	unsigned in_pages;  /* host -> guest; 0: 32 */
	uint32_t vp;
	const uint8_t *user; /* 120 bytes or NULL */
};

/* Make rings, GPADL and OPENCHANNEL. NULL `opts` is all defaults. NULL when
 * refused; *status then has the answer (or GUEST_NO_ANSWER).
 */
struct guest_channel *guest_open(struct guest *g,
				 const struct guest_offer *offer,
				 const struct guest_open_opts *opts,
				 int64_t *status);
/* CLOSECHANNEL, GPADL_TEARDOWN, wait for TORNDOWN. Takes `ch`.
 * 0 or GUEST_NO_ANSWER.
 */
int guest_close(struct guest_channel *ch);
/* Forget the guest's side only (after a rescind, unload or reset). */
void guest_drop(struct guest_channel *ch);

uint32_t guest_channel_relid(const struct guest_channel *ch);
uint32_t guest_channel_gpadl(const struct guest_channel *ch);
/* GPAs of the control pages, to spoil them. */
uint64_t guest_out_ctrl(const struct guest_channel *ch);
uint64_t guest_in_ctrl(const struct guest_channel *ch);
uint32_t guest_out_size(const struct guest_channel *ch);
/* The GPA of a byte of the guest -> host data area. */
uint64_t guest_out_gpa(const struct guest_channel *ch, uint32_t off);

/* HvSignalEvent on this channel. */
void guest_signal(struct guest_channel *ch);
uint64_t guest_signals_sent(const struct guest_channel *ch);

/* -------------------------------------------------------------- rings ---- */

struct guest_range {
	uint32_t offset, len; /* offset into the first page */
	const uint64_t *gpas; /* page addresses */
	unsigned pages;	      /* entries to write; need not fit len */
};

/* Put a packet, publish it, signal by the rules. 0, or -EAGAIN: no room, and
 * pending_send_sz is set so that the host will tell.
 */
int guest_send(struct guest_channel *ch, uint16_t type, uint16_t flags,
	       uint64_t trans_id, const void *payload, size_t len);
/* The same as GPA direct with `count` ranges, as storvsc does with one. */
int guest_send_gpa(struct guest_channel *ch, uint16_t flags, uint64_t trans_id,
		   const struct guest_range *ranges, uint32_t count,
		   const void *payload, size_t len);
/* Any bytes as they are (descriptor included, no trailer added, length a
 * multiple of 8), at the write index: for impossible packets.
 */
int guest_send_raw(struct guest_channel *ch, const void *bytes, size_t len);

struct guest_packet {
	uint16_t type, flags;
	uint64_t trans_id;
	uint32_t payload_len;
	uint64_t trailer;
	uint32_t start; /* where it began in the data area */
};

/* Take a packet: 1, 0 (empty), -EMSGSIZE, -EBADMSG (the host wrote
 * nonsense). Payload (with its padding) into `buf`. Publishes the read index
 * and signals a waiting host by the rules.
 */
int guest_recv(struct guest_channel *ch, void *buf, size_t cap,
	       struct guest_packet *out);

/* Mask and unmask the host's signals, as a driver in its poll loop does;
 * unmask returns true when packets came meanwhile.
 */
void guest_mask(struct guest_channel *ch);
bool guest_unmask(struct guest_channel *ch);

/* Event flag of this channel: take it (manual) or wait for it (threaded). */
bool guest_take_interrupt(struct guest_channel *ch);
bool guest_wait_interrupt(struct guest_channel *ch, int timeout_ms);
/* How often the host called for it. */
uint64_t guest_interrupts(const struct guest_channel *ch);
/* The VP that the last signal of this channel went to. */
uint32_t guest_interrupt_vp(const struct guest_channel *ch);

#endif

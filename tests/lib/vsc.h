/* SPDX-License-Identifier: BSD-2-Clause */
/* A storage driver in user space (the guest's storvsc) against the whole VSP:
 * negotiation, SCSI commands, sub-channels, over tests/lib/guest.h. No KVM.
 *
 * Every packet sent is written down; every answer must belong to one, once,
 * and have the right form and size. vsc_destroy checks the sums on both sides:
 * what was issued has been answered or went down with its channel.
 * What must hold and does not aborts with a line on stderr, so that fuzzers
 * can use this, too.
 *
 * Manual mode (default): everything runs inside the calls below. Threaded:
 * the VSP has its threads; each vsc_channel may be driven by a thread of its
 * own, all else belongs to one thread.
 */
#ifndef TESTS_LIB_VSC_H
#define TESTS_LIB_VSC_H

#include "storvsp/storvsp.h"
#include "storvsp/wire.h"
#include "tests/lib/guest.h"

#define VSC_WAIT_MS	 100000
#define VSC_BUFFER_PAGES 514u /* 2 MiB at any offset */
#define VSC_CHANNELS_MAX 300u

struct vsc;
struct vsc_channel;

struct vsc_opts {
	struct storvsp_opts vsp; /* `manual` is set from `threaded` */
	struct guest_opts guest;
	bool threaded;
	unsigned out_pages, in_pages; /* rings; 0: 32 */
};

/* A guest that has met the bus, and a controller on offer. */
struct vsc *vsc_create(const struct vsc_opts *opts);
void vsc_destroy(struct vsc *v); /* closes what is open */

struct guest *vsc_guest(struct vsc *v);
struct storvsp *vsc_vsp(struct vsc *v);
unsigned vsc_log_lines(const struct vsc *v); /* of the VSP, not the bus */
const char *vsc_log_last(const struct vsc *v);

/* Disk at path:target:lun; its unique id is 10 11 .. 1f. Borrows `img`. */
void vsc_disk(struct vsc *v, struct vhd *img, uint8_t path, uint8_t target,
	      uint8_t lun, bool read_only);

/* ----------------------------------------------------------- channels ---- */

/* The primary, or sub-channel `index` once it is offered (waits for that); it
 * interrupts processor `index` (modulo their number).
 * NULL when the host refuses.
 */
struct vsc_channel *vsc_open(struct vsc *v, uint16_t index);
/* What is not answered yet counts as gone down. Takes `c`. */
void vsc_close(struct vsc_channel *c);
/* Forget the guest's side: after a rescind or reset of the bus. */
void vsc_drop(struct vsc_channel *c);
struct guest_channel *vsc_ring(struct vsc_channel *c);

/* Size of the packets vsc_* functions send; 64 until negotiated otherwise. */
size_t vsc_packet_bytes(const struct vsc_channel *c);
void vsc_set_packet_bytes(struct vsc_channel *c, size_t bytes);

/* Packets sent and not yet answered. */
unsigned vsc_outstanding(const struct vsc_channel *c);
uint64_t vsc_issued(const struct vsc_channel *c);
/* Packets that nobody asked for: how many came, the last one's op and size.
 */
unsigned vsc_unasked(const struct vsc_channel *c);
uint32_t vsc_unasked_op(const struct vsc_channel *c);
uint32_t vsc_unasked_bytes(const struct vsc_channel *c);

/* ------------------------------------------------------------ packets ---- */

struct vsc_answer {
	uint64_t id;
	uint32_t bytes;		      /* of payload */
	struct storvsp_packet_wire p; /* zero beyond `bytes` */
};

/* Send a payload in-band, or with a GPA list when `count` is not 0. Returns
 * its id, or 0 when the ring is full.
 */
uint64_t vsc_send(struct vsc_channel *c, const void *payload, size_t bytes,
		  const struct guest_range *ranges, uint32_t count);
/* The same with a chosen id (which may be in use); false: ring full. */
bool vsc_send_as(struct vsc_channel *c, uint64_t id, const void *payload,
		 size_t bytes, const struct guest_range *ranges,
		 uint32_t count);
/* For packets sent by other means that the host has to answer, with this
 * payload size; or not to answer.
 */
void vsc_expect(struct vsc_channel *c, uint64_t id, size_t bytes);
void vsc_expect_none(struct vsc_channel *c);
/* The guest spoils its rings: the VSP may then see any packets, and only its
 * own sums are checked at the end.
 */
void vsc_distrust(struct vsc *v);

/* Run what can run (manual mode). */
void vsc_pump(struct vsc *v);
/* Next answer: true, or false when none comes (manual: at once; threaded:
 * after VSC_WAIT_MS).
 */
bool vsc_recv(struct vsc_channel *c, struct vsc_answer *out);
/* The same without waiting or pumping. */
bool vsc_try_recv(struct vsc_channel *c, struct vsc_answer *out);
/* The answer with this id; others that come before are dropped. */
void vsc_wait(struct vsc_channel *c, uint64_t id, struct vsc_answer *out);
/* Send and wait. */
void vsc_ask(struct vsc_channel *c, const void *payload, size_t bytes,
	     struct vsc_answer *out);
/* An operation without body: its status. `bytes` is the packet size. */
uint32_t vsc_op(struct vsc_channel *c, uint32_t op, size_t bytes);

/* -------------------------------------------------------- negotiation ---- */

struct vsc_properties {
	uint16_t version; /* the one that was agreed */
	uint16_t max_subchannels;
	uint32_t flags;
	uint32_t max_transfer_bytes;
};

/* As Linux does it, from `version` downwards; aborts when it fails. Packets
 * have 48 bytes when `version` is below 5.1. `out` may be NULL.
 */
void vsc_negotiate(struct vsc_channel *c, uint16_t version,
		   struct vsc_properties *out);
/* CREATE_SUB_CHANNELS: its status. */
uint32_t vsc_create_subs(struct vsc_channel *c, uint16_t count);

/* --------------------------------------------------------------- SCSI ---- */

/* Guest memory for data. */
struct vsc_buffer {
	struct vsc *v;
	uint64_t gpas[VSC_BUFFER_PAGES];
	unsigned pages;
	uint32_t offset; /* into the first page */
};

void vsc_buffer_init(struct vsc *v, struct vsc_buffer *b, unsigned pages);
void vsc_buffer_put(struct vsc_buffer *b, const void *src, size_t bytes);
void vsc_buffer_get(const struct vsc_buffer *b, void *dst, size_t bytes);

struct vsc_cmd {
	uint8_t path, target, lun;
	uint8_t cdb_bytes; /* 0: by the opcode's group */
	uint8_t cdb[16];
	uint8_t data_in; /* enum storvsp_data_in */
	uint32_t bytes;	 /* data_transfer_length, and of the range */
	struct vsc_buffer *buffer;
};

/* The request packet of a command. */
void vsc_packet(const struct vsc_cmd *cmd, struct storvsp_packet_wire *p);
/* Send it; its id, or 0 when the ring is full. */
uint64_t vsc_start(struct vsc_channel *c, const struct vsc_cmd *cmd);
void vsc_run(struct vsc_channel *c, const struct vsc_cmd *cmd,
	     struct vsc_answer *out);

/* READ(16) and WRITE(16) of a buffer; FUA for writes. */
struct vsc_cmd vsc_rw(bool write, uint8_t lun, uint64_t lba, uint32_t sectors,
		      bool fua, struct vsc_buffer *b);

/* What the guest's midlayer looks at. */
struct vsc_status {
	uint8_t srb, scsi, key, asc, ascq;
};
struct vsc_status vsc_status(const struct vsc_answer *a);
bool vsc_good(const struct vsc_answer *a);

#endif

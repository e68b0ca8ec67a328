/* SPDX-License-Identifier: BSD-2-Clause */
/* The VMBus host: connection, offers, GPADLs, channels and rings. Words as the
 * Linux driver uses them. Knows nothing of KVM: the partition is behind
 * `struct vmbus_host_ops`, devices behind `struct vmbus_device_ops`.
 *
 * Threads: guest messages are queued by vCPU threads (vmbus_post_message) and
 *   handled by one control thread (vmbus_service), which also calls the
 *   device's open and close. An open channel's ring belongs to one thread, the
 *   device's, between open and close.
 * Sources: Linux drivers/hv and include/linux/hyperv.h; OpenVMM vmbus_core.
 */
#ifndef HV_VMBUS_H
#define HV_VMBUS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "gpa.h"
#include "vhd/err.h"

#define VMBUS_SINT		2
#define VMBUS_MESSAGE_BYTES_MAX 240
#define VMBUS_CHANNELS_MAX	2047 /* relid 1..2047 */
#define VMBUS_GPADL_PAGES_MAX	8192 /* per GPADL */

struct vmbus_guid {
	uint8_t b[16]; /* as on the wire: first three groups little-endian */
};

/* "ba6163d9-04a1-4d29-b605-72e2ffb1dc7f" -> wire bytes; -EINVAL. */
int vmbus_guid_parse(const char *text, struct vmbus_guid *out);

struct vmbus;
struct vmbus_channel;

/* ---------------------------------------------- the partition's side ---- */

/* HvPostMessage statuses (TLFS). */
enum vmbus_hv_status {
	VMBUS_HV_SUCCESS = 0,
	VMBUS_HV_INVALID_HYPERCALL_CODE = 2,
	VMBUS_HV_INVALID_HYPERCALL_INPUT = 3,
	VMBUS_HV_INVALID_ALIGNMENT = 4,
	VMBUS_HV_INVALID_PARAMETER = 5,
	VMBUS_HV_INVALID_CONNECTION_ID = 0x12,
	VMBUS_HV_INSUFFICIENT_BUFFERS = 0x13,
};

struct vmbus_host_ops {
	/* Put one message into the VP's slot of `sint` and raise it. 0, or
	 * -EAGAIN: the slot is busy, the bus tries again at vmbus_kick; or
	 * -ENXIO: this VP cannot receive now, the message is dropped.
	 * Control thread.
	 */
	int (*post)(void *host, uint32_t vp, uint8_t sint, const void *msg,
		    size_t len);
	/* Set the event flag; raise the SINT if it was clear. Any thread. */
	void (*signal)(void *host, uint32_t vp, uint8_t sint, uint16_t flag);
	/* HvSignalEvent on `connection_id` writes to `eventfd`. Control. */
	int (*bind)(void *host, uint32_t connection_id, int eventfd);
	void (*unbind)(void *host, uint32_t connection_id, int eventfd);
	/* Number of virtual processors: a valid VP is below it. */
	uint32_t (*vp_count)(void *host);
};

/* One line for the person running the guest; rate-limited by the caller of
 * the callback where a guest can cause it. From any thread, maybe from several
 * at once; must not call back into the bus.
 */
typedef void (*vmbus_log_fn)(void *arg, const char *line);

struct vmbus_opts {
	struct hv_mem *mem; /* borrows */
	const struct vmbus_host_ops *ops;
	void *host;
	vmbus_log_fn log; /* may be NULL */
	void *log_arg;
	uint32_t max_version; /* 0 means 5.3 (0x00050003) */
	/* A clock in milliseconds; NULL means CLOCK_MONOTONIC. Any thread. */
	uint64_t (*clock_ms)(void *arg);
	void *clock_arg;
};

int vmbus_create(const struct vmbus_opts *opts, struct vmbus **out,
		 struct vhd_err *err);
/* Closes every channel first. Takes `bus` (may be NULL). */
void vmbus_destroy(struct vmbus *bus);

/* A HvPostMessage input block, already copied out of the guest: returns the
 * hypercall's status. Never blocks: a full queue is INSUFFICIENT_BUFFERS.
 * vCPU threads.
 */
uint64_t vmbus_post_message(struct vmbus *bus, uint32_t connection_id,
			    uint32_t message_type, const void *payload,
			    size_t len);

/* Readable when vmbus_service has something to do. */
int vmbus_eventfd(const struct vmbus *bus);

/* Handle queued guest messages and send queued host messages. Returns the
 * number of milliseconds after which it wants to be called again although
 * nothing happens, or -1. Control thread.
 */
int vmbus_service(struct vmbus *bus);

/* A message slot was freed (EOM) or a VP's SynIC changed. Any thread. */
void vmbus_kick(struct vmbus *bus);

/* The guest is gone or is being reset: close every channel, forget all. */
void vmbus_reset(struct vmbus *bus);

/* For people: negotiated version, 0 while not connected. */
uint32_t vmbus_version(const struct vmbus *bus);

/* --------------------------------------------------- the device's side -- */

struct vmbus_device_ops {
	const char *name;
	/* The guest opened the channel; its rings are ready. 0 or -errno:
	 * then the guest sees a failed open and close is not called.
	 * `user` is the guest's 120 bytes of OPENCHANNEL. The guest's signals
	 * are masked until the first vmbus_recv_unmask; the channel's eventfd
	 * becomes readable once after an open, so that a device that drains
	 * and unmasks at each wake-up starts by itself.
	 */
	int (*open)(void *dev, struct vmbus_channel *ch, const uint8_t *user);
	/* Stop using the ring and all guest memory reached through it: on
	 * return nothing of this channel is in flight. Bounded in time.
	 */
	void (*close)(void *dev, struct vmbus_channel *ch);
};

struct vmbus_offer {
	struct vmbus_guid type;
	struct vmbus_guid instance;
	uint16_t channel_flags;
	uint16_t mmio_mb;
	uint8_t user[120];
	const struct vmbus_device_ops *ops;
	void *dev;
};

/* Offer a device. Before the guest asks, or at any time after.
 * Control thread. -ENOSPC, -EEXIST (type and instance), -ENOMEM.
 */
int vmbus_offer_add(struct vmbus *bus, const struct vmbus_offer *offer,
		    struct vmbus_channel **out, struct vhd_err *err);

/* Offer `count` sub-channels of an open primary channel, numbered after those
 * it has. Any thread (it is carried out on the control thread). They are
 * rescinded when the primary closes. -ENOSPC (no relids left), -EINVAL (not a
 * primary).
 */
int vmbus_offer_sub(struct vmbus_channel *primary, uint16_t count);

/* Withdraw an offer: closes the channel (and its sub-channels) and tells the
 * guest. The channel is gone on return. Control thread, not from a device's
 * open or close.
 */
void vmbus_rescind(struct vmbus_channel *ch);

/* Sub-channel index: 0 for the primary. */
uint16_t vmbus_channel_index(const struct vmbus_channel *ch);
struct vmbus_channel *vmbus_channel_primary(struct vmbus_channel *ch);
uint32_t vmbus_channel_vp(const struct vmbus_channel *ch);
struct hv_mem *vmbus_channel_mem(const struct vmbus_channel *ch);
/* A place for the device to keep its per-channel state. */
void vmbus_channel_set_data(struct vmbus_channel *ch, void *data);
void *vmbus_channel_data(const struct vmbus_channel *ch);

/* --------------------------------------------- rings of an open channel -- */

/* Packet types that occur. */
enum vmbus_packet_type {
	VMBUS_PACKET_INBAND = 6,
	VMBUS_PACKET_GPA_DIRECT = 9,
	VMBUS_PACKET_COMPLETION = 11,
};

#define VMBUS_PACKET_WANTS_COMPLETION 1u

/* One received packet, copied out of the ring in one pass; offsets into the
 * copy. The GPA list of a GPA-direct packet is checked for shape (count,
 * lengths, overflow) but not against RAM.
 */
struct vmbus_packet {
	uint16_t type;
	uint16_t flags;
	uint64_t trans_id;
	const uint8_t *payload; /* in the caller's buffer */
	uint32_t payload_len;
	uint32_t range_count;  /* GPA direct: 1 or more, else 0 */
	uint32_t range_len;    /* first range: bytes */
	uint32_t range_offset; /* first range: offset into first page */
	const uint8_t *pfns;   /* first range: le64 each, may be unaligned */
	uint32_t pfn_count;    /* PFNs present; may exceed what is needed */
};

/* Readable when the guest signalled. Owned by the channel. */
int vmbus_channel_eventfd(const struct vmbus_channel *ch);

/* Take the next packet: 1, 0 (ring empty), -EMSGSIZE (larger than `cap`; it
 * has been skipped), -EBADMSG (ring corrupt: the device stops using it).
 * Guest packets with impossible shape inside a sound frame come back as
 * 1 with type 0: consumed, to be refused by the device. Other packet types
 * come back as they are. Flags and transaction id are the guest's words.
 */
int vmbus_recv(struct vmbus_channel *ch, void *buf, size_t cap,
	       struct vmbus_packet *out);

/* Publish what has been consumed; signals a guest that waits for space. */
void vmbus_recv_done(struct vmbus_channel *ch);

/* Interrupt masking of the guest's signals: mask while draining; unmask
 * returns true when packets arrived in between and draining must go on.
 */
void vmbus_recv_mask(struct vmbus_channel *ch);
bool vmbus_recv_unmask(struct vmbus_channel *ch);

/* Bytes of the host->guest ring that a new packet may use in whole packets of
 * 16 + payload + 8; -EBADMSG when the guest's index is nonsense.
 */
int64_t vmbus_send_space(struct vmbus_channel *ch);

/* Put a packet into the outgoing ring; invisible to the guest until
 * vmbus_send_done. -EAGAIN (no room), -EMSGSIZE (this ring can never hold
 * it), -EBADMSG.
 */
int vmbus_send(struct vmbus_channel *ch, uint16_t type, uint16_t flags,
	       uint64_t trans_id, const void *payload, size_t len);
/* Publish and signal the guest if the rules require it. */
void vmbus_send_done(struct vmbus_channel *ch);

/* Ask to be signalled (eventfd) once vmbus_send_space would be at least
 * `bytes` (rounded up to 8, at most what an empty ring has); returns true,
 * with nothing asked, when it already is or the ring is broken. 0 withdraws,
 * which is due after a wake-up, too.
 */
bool vmbus_send_wait(struct vmbus_channel *ch, uint32_t bytes);

#endif

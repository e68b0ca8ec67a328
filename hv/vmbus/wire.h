/* SPDX-License-Identifier: BSD-2-Clause */
/* VMBus as bytes: channel-management messages, the ring's control page and
 * the packet descriptor. Layout only; all integers little-endian.
 * Sources: Linux include/linux/hyperv.h, drivers/hv/hyperv_vmbus.h; OpenVMM
 * vmbus_core/src/protocol.rs.
 */
#ifndef HV_VMBUS_WIRE_H
#define HV_VMBUS_WIRE_H

#include <assert.h>
#include <stddef.h>
#include <stdint.h>

#include "vhd/endian.h"

#define VMBUS_MESSAGE_TYPE 1u /* HvPostMessage message type, both ways */

/* Ports that the guest posts to. */
#define VMBUS_CONN_OLD 1u /* protocol below 5.0 */
#define VMBUS_CONN_NEW 4u /* protocol 5.0 and later */

/* Channel n signals the host on this connection id (OpenVMM's numbering). */
#define VMBUS_CONN_CHANNEL(relid) (0x2000u | (relid))

#define VMBUS_VP_NONE 0xFFFFFFFFu /* the guest wants no interrupts */

#define VMBUS_VERSION_2_4 0x00020004u
#define VMBUS_VERSION_3_0 0x00030000u
#define VMBUS_VERSION_4_0 0x00040000u
#define VMBUS_VERSION_4_1 0x00040001u
#define VMBUS_VERSION_5_0 0x00050000u
#define VMBUS_VERSION_5_1 0x00050001u
#define VMBUS_VERSION_5_2 0x00050002u
#define VMBUS_VERSION_5_3 0x00050003u

enum vmbus_msg {
	VMBUS_MSG_OFFERCHANNEL = 1,
	VMBUS_MSG_RESCIND = 2,
	VMBUS_MSG_REQUESTOFFERS = 3,
	VMBUS_MSG_ALLOFFERS_DELIVERED = 4,
	VMBUS_MSG_OPENCHANNEL = 5,
	VMBUS_MSG_OPENCHANNEL_RESULT = 6,
	VMBUS_MSG_CLOSECHANNEL = 7,
	VMBUS_MSG_GPADL_HEADER = 8,
	VMBUS_MSG_GPADL_BODY = 9,
	VMBUS_MSG_GPADL_CREATED = 10,
	VMBUS_MSG_GPADL_TEARDOWN = 11,
	VMBUS_MSG_GPADL_TORNDOWN = 12,
	VMBUS_MSG_RELID_RELEASED = 13,
	VMBUS_MSG_INITIATE_CONTACT = 14,
	VMBUS_MSG_VERSION_RESPONSE = 15,
	VMBUS_MSG_UNLOAD = 16,
	VMBUS_MSG_UNLOAD_RESPONSE = 17,
	VMBUS_MSG_OPEN_RESERVED = 18,
	VMBUS_MSG_CLOSE_RESERVED = 19,
	VMBUS_MSG_CLOSE_RESERVED_RESPONSE = 20,
	VMBUS_MSG_TL_CONNECT_REQUEST = 21,
	VMBUS_MSG_MODIFYCHANNEL = 22,
	VMBUS_MSG_TL_CONNECT_RESULT = 23,
	VMBUS_MSG_MODIFYCHANNEL_RESPONSE = 24,
	VMBUS_MSG_MODIFY_CONNECTION = 25,
	VMBUS_MSG_MODIFY_CONNECTION_RESPONSE = 26,
	VMBUS_MSG_PAUSE = 27,
	VMBUS_MSG_PAUSE_RESPONSE = 28,
	VMBUS_MSG_RESUME = 29,
	VMBUS_MSG_COUNT
};

/* Statuses in answers: zero or not is what guests look at. */
#define VMBUS_STATUS_OK			0u
#define VMBUS_STATUS_FAILED		0x8000FFFFu /* E_UNEXPECTED */
#define VMBUS_STATUS_CONNECTION_REFUSED 0xC0000236u /* NTSTATUS */

/* connection_state of VERSION_RESPONSE */
#define VMBUS_STATE_SUCCESSFUL	    0u
#define VMBUS_STATE_UNKNOWN_FAILURE 2u

struct vmbus_wire_header {
	le32 type;
	le32 padding;
};

struct vmbus_wire_initiate_contact {
	struct vmbus_wire_header hdr;
	le32 version;
	le32 target_vp;
	/* below 5.0 these eight bytes are the interrupt page's GPA */
	uint8_t target_sint;
	uint8_t target_vtl;
	le16 padding;
	le32 feature_flags;
	le64 monitor_p2c;
	le64 monitor_c2p;
};
static_assert(sizeof(struct vmbus_wire_initiate_contact) == 40, "size");
static_assert(offsetof(struct vmbus_wire_initiate_contact, target_sint) == 16,
	      "initiate contact: sint");
static_assert(offsetof(struct vmbus_wire_initiate_contact, monitor_p2c) == 24,
	      "initiate contact: monitor pages");

struct vmbus_wire_version_response {
	struct vmbus_wire_header hdr;
	uint8_t supported;
	uint8_t state;
	le16 padding;
	le32 version_or_connection; /* >= 5.0: connection id to use now */
};
static_assert(sizeof(struct vmbus_wire_version_response) == 16, "size");

struct vmbus_wire_offer {
	struct vmbus_wire_header hdr;
	uint8_t type[16];
	uint8_t instance[16];
	uint8_t reserved[16];
	le16 channel_flags;
	le16 mmio_mb;
	uint8_t user[120];
	le16 sub_index;
	le16 reserved2;
	le32 relid;
	uint8_t monitor_id;
	uint8_t monitor_allocated;
	le16 dedicated_interrupt;
	le32 connection_id;
};
static_assert(sizeof(struct vmbus_wire_offer) == 196, "size");
static_assert(offsetof(struct vmbus_wire_offer, channel_flags) == 56, "offer");
static_assert(offsetof(struct vmbus_wire_offer, user) == 60, "offer");
static_assert(offsetof(struct vmbus_wire_offer, sub_index) == 180, "offer");
static_assert(offsetof(struct vmbus_wire_offer, relid) == 184, "offer");
static_assert(offsetof(struct vmbus_wire_offer, monitor_id) == 188, "offer");
static_assert(offsetof(struct vmbus_wire_offer, connection_id) == 192, "offer");

/* RESCIND, CLOSECHANNEL, RELID_RELEASED, CLOSE_RESERVED_RESPONSE */
struct vmbus_wire_relid {
	struct vmbus_wire_header hdr;
	le32 relid;
};
static_assert(sizeof(struct vmbus_wire_relid) == 12, "size");

struct vmbus_wire_open {
	struct vmbus_wire_header hdr;
	le32 relid;
	le32 open_id;
	le32 gpadl;
	le32 target_vp;
	le32 downstream_page;
	uint8_t user[120];
};
static_assert(sizeof(struct vmbus_wire_open) == 148, "size");
static_assert(offsetof(struct vmbus_wire_open, user) == 28, "open: user data");

struct vmbus_wire_open_result {
	struct vmbus_wire_header hdr;
	le32 relid;
	le32 open_id;
	le32 status;
};
static_assert(sizeof(struct vmbus_wire_open_result) == 20, "size");

struct vmbus_wire_gpadl_header {
	struct vmbus_wire_header hdr;
	le32 relid;
	le32 handle;
	le16 range_buflen;
	le16 range_count;
	/* then the range buffer */
};
static_assert(sizeof(struct vmbus_wire_gpadl_header) == 20, "size");

struct vmbus_wire_gpadl_body {
	struct vmbus_wire_header hdr;
	le32 number;
	le32 handle;
	/* then more of the range buffer */
};
static_assert(sizeof(struct vmbus_wire_gpadl_body) == 16, "size");

/* A range: this, then a le64 PFN for each page it touches. */
struct vmbus_wire_range {
	le32 byte_count;
	le32 byte_offset;
};
static_assert(sizeof(struct vmbus_wire_range) == 8, "size");

struct vmbus_wire_gpadl_created {
	struct vmbus_wire_header hdr;
	le32 relid;
	le32 handle;
	le32 status;
};
static_assert(sizeof(struct vmbus_wire_gpadl_created) == 20, "size");

struct vmbus_wire_gpadl_teardown {
	struct vmbus_wire_header hdr;
	le32 relid;
	le32 handle;
};
static_assert(sizeof(struct vmbus_wire_gpadl_teardown) == 16, "size");

struct vmbus_wire_gpadl_torndown {
	struct vmbus_wire_header hdr;
	le32 handle;
};
static_assert(sizeof(struct vmbus_wire_gpadl_torndown) == 12, "size");

struct vmbus_wire_modify {
	struct vmbus_wire_header hdr;
	le32 relid;
	le32 target_vp;
};
static_assert(sizeof(struct vmbus_wire_modify) == 16, "size");

struct vmbus_wire_modify_response {
	struct vmbus_wire_header hdr;
	le32 relid;
	le32 status;
};
static_assert(sizeof(struct vmbus_wire_modify_response) == 16, "size");

struct vmbus_wire_tl_connect {
	struct vmbus_wire_header hdr;
	uint8_t endpoint[16];
	uint8_t service[16];
};
static_assert(sizeof(struct vmbus_wire_tl_connect) == 40, "size");

struct vmbus_wire_tl_result {
	struct vmbus_wire_header hdr;
	uint8_t endpoint[16];
	uint8_t service[16];
	le32 status;
};
static_assert(sizeof(struct vmbus_wire_tl_result) == 44, "size");

/* Ring control page: words at these offsets; data starts one page on. */
enum vmbus_ring_word {
	VMBUS_RING_IN = 0,	 /* write index, by the producer */
	VMBUS_RING_OUT = 4,	 /* read index, by the consumer */
	VMBUS_RING_MASK = 8,	 /* 1: do not signal me, by the consumer */
	VMBUS_RING_PENDING = 12, /* bytes a blocked producer waits for */
	VMBUS_RING_FEATURES = 64,
};
#define VMBUS_RING_FEATURE_PENDING 1u /* the producer uses PENDING */

/* Packet: this, more header up to offset8, payload up to length8 (both in
 * units of 8 bytes from the start), then an 8-byte trailer not counted.
 */
struct vmbus_wire_packet {
	le16 type;
	le16 offset8;
	le16 length8;
	le16 flags;
	le64 trans_id;
};
static_assert(sizeof(struct vmbus_wire_packet) == 16, "size");
#define VMBUS_TRAILER_BYTES 8u

/* After the descriptor of a GPA-direct packet; then the ranges. */
struct vmbus_wire_gpa_direct {
	le32 reserved;
	le32 range_count;
};
static_assert(sizeof(struct vmbus_wire_gpa_direct) == 8, "size");

#endif

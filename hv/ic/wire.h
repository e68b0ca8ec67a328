/* SPDX-License-Identifier: BSD-2-Clause */
/* Messages of the integration services as they lie in a ring's packet. All
 * words are little-endian; texts are UTF-16.
 * Sources: Linux include/linux/hyperv.h, include/uapi/linux/hyperv.h; OpenVMM
 * vm/devices/hyperv_ic_protocol.
 */
#ifndef HV_IC_WIRE_H
#define HV_IC_WIRE_H

#include <assert.h>
#include <stddef.h>
#include <stdint.h>

#include "vhd/endian.h"

enum ic_type {
	IC_TYPE_NEGOTIATE = 0,
	IC_TYPE_HEARTBEAT = 1,
	IC_TYPE_KVP = 2,
	IC_TYPE_SHUTDOWN = 3,
	IC_TYPE_TIMESYNC = 4,
	IC_TYPE_VSS = 5,
};

#define IC_PIPE_DATA	    1u
#define IC_FLAG_TRANSACTION 1u
#define IC_FLAG_REQUEST	    2u
#define IC_FLAG_RESPONSE    4u

/* HRESULTs. */
#define IC_STATUS_OK	    0u
#define IC_STATUS_FAIL	    0x80004005u
#define IC_STATUS_NO_MORE   0x80070103u /* ERROR_NO_MORE_ITEMS */
#define IC_STATUS_NOT_FOUND 0x80041002u

/* The pipe's two words, then the message's. */
struct ic_wire_header {
	le32 pipe_type;
	le32 pipe_bytes; /* behind these two */
	le16 framework_major, framework_minor;
	le16 type;
	le16 version_major, version_minor;
	le16 body_bytes;
	le32 status;
	uint8_t transaction, flags;
	uint8_t reserved[2];
};

static_assert(sizeof(struct ic_wire_header) == 28, "header");
static_assert(offsetof(struct ic_wire_header, type) == 12, "type");
static_assert(offsetof(struct ic_wire_header, status) == 20, "status");

#define IC_PIPE_BYTES 8u

struct ic_wire_version {
	le16 major, minor;
};

/* Framework versions, then message versions, follow. */
struct ic_wire_negotiate {
	le16 frameworks, messages;
	le32 reserved;
};

static_assert(sizeof(struct ic_wire_negotiate) == 8, "negotiate");

#define IC_SHUTDOWN_FORCE     1u
#define IC_SHUTDOWN_RESTART   2u
#define IC_SHUTDOWN_HIBERNATE 4u
#define IC_SHUTDOWN_PLANNED   0x80000000u

struct ic_wire_shutdown {
	le32 reason;
	le32 timeout_s;
	le32 flags;
	uint8_t text[2048];
};

static_assert(sizeof(struct ic_wire_shutdown) == 2060, "shutdown");

struct ic_wire_heartbeat {
	le64 sequence;
	le32 application;
	uint8_t reserved[28];
};

static_assert(sizeof(struct ic_wire_heartbeat) == 40, "heartbeat");

#define IC_TIME_SYNC   1u
#define IC_TIME_SAMPLE 2u

struct ic_wire_time_v4 {
	le64 utc_100ns, ref_100ns;
	uint8_t flags, leap, stratum;
	uint8_t reserved[5];
};

struct ic_wire_time_v1 {
	le64 utc_100ns, guest_100ns, round_trip_100ns;
	uint8_t flags;
	uint8_t reserved[7];
};

static_assert(sizeof(struct ic_wire_time_v4) == 24, "time, version 4");
static_assert(sizeof(struct ic_wire_time_v1) == 32, "time, before");

enum ic_kvp_op {
	IC_KVP_GET = 0,
	IC_KVP_SET = 1,
	IC_KVP_DELETE = 2,
	IC_KVP_ENUMERATE = 3,
};

enum ic_kvp_value { IC_KVP_STRING = 1, IC_KVP_U32 = 4, IC_KVP_U64 = 8 };

#define IC_KEY_BYTES   512u
#define IC_VALUE_BYTES 2048u

struct ic_wire_kvp_head {
	uint8_t op, pool;
	uint8_t reserved[2];
};

struct ic_wire_kvp_value {
	le32 type;
	le32 key_bytes, value_bytes;
	uint8_t key[IC_KEY_BYTES];
	uint8_t value[IC_VALUE_BYTES];
};

/* GET and SET. */
struct ic_wire_kvp {
	struct ic_wire_kvp_head head;
	struct ic_wire_kvp_value data;
};

struct ic_wire_kvp_delete {
	struct ic_wire_kvp_head head;
	le32 key_bytes;
	uint8_t key[IC_KEY_BYTES];
};

struct ic_wire_kvp_enumerate {
	struct ic_wire_kvp_head head;
	le32 index;
	struct ic_wire_kvp_value data;
};

static_assert(sizeof(struct ic_wire_kvp) == 2576, "kvp");
static_assert(sizeof(struct ic_wire_kvp_enumerate) == 2580, "kvp enumerate");
static_assert(sizeof(struct ic_wire_kvp_delete) == 520, "kvp delete");

enum ic_vss_op {
	IC_VSS_HOT_BACKUP = 2,
	IC_VSS_FREEZE = 5,
	IC_VSS_THAW = 6,
};

struct ic_wire_vss {
	uint8_t op;
	uint8_t reserved[7];
	le32 flags;
	uint8_t pad[4];
};

static_assert(sizeof(struct ic_wire_vss) == 16, "vss");

#define IC_BODY_MAX 2580u /* what we send */

#endif

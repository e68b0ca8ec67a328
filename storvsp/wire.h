/* SPDX-License-Identifier: BSD-2-Clause */
/* The bytes of the storage protocol: packets that travel as the payload of
 * VMBus ring packets. All numbers little-endian, except inside CDB and sense.
 *
 * A packet has 64 bytes since protocol 5.1 and 48 before; the shorter form is
 * the longer one cut off.
 * Sources: Linux drivers/scsi/storvsc_drv.c (vstor_packet, vmscsi_request);
 *   OpenVMM storvsp protocol.
 */
#ifndef STORVSP_WIRE_H
#define STORVSP_WIRE_H

#include <assert.h>
#include <stddef.h>
#include <stdint.h>

#include "vhd/endian.h"

#define STORVSP_PACKET_BYTES_V1 48u
#define STORVSP_PACKET_BYTES	64u
#define STORVSP_CDB_BYTES	16u
#define STORVSP_SENSE_BYTES_V1	18u
#define STORVSP_SENSE_BYTES	20u

enum storvsp_op {
	STORVSP_OP_COMPLETE_IO = 1,
	STORVSP_OP_REMOVE_DEVICE = 2,
	STORVSP_OP_EXECUTE_SRB = 3,
	STORVSP_OP_RESET_LUN = 4,
	STORVSP_OP_RESET_ADAPTER = 5,
	STORVSP_OP_RESET_BUS = 6,
	STORVSP_OP_BEGIN_INITIALIZATION = 7,
	STORVSP_OP_END_INITIALIZATION = 8,
	STORVSP_OP_QUERY_PROTOCOL_VERSION = 9,
	STORVSP_OP_QUERY_PROPERTIES = 10,
	STORVSP_OP_ENUMERATE_BUS = 11,
	STORVSP_OP_FCHBA_DATA = 12,
	STORVSP_OP_CREATE_SUB_CHANNELS = 13,
	STORVSP_OP_EVENT_NOTIFICATION = 14,
};

/* NTSTATUS values in storvsp_packet_wire.status. */
#define STORVSP_STATUS_SUCCESS		 0x00000000u
#define STORVSP_STATUS_BUFFER_OVERFLOW	 0x80000005u
#define STORVSP_STATUS_DEVICE_BUSY	 0x80000011u
#define STORVSP_STATUS_UNSUCCESSFUL	 0xC0000001u
#define STORVSP_STATUS_INVALID_PARAMETER 0xC000000Du
#define STORVSP_STATUS_INVALID_REQUEST	 0xC0000010u
#define STORVSP_STATUS_REVISION_MISMATCH 0xC0000059u
#define STORVSP_STATUS_NOT_CONNECTED	 0xC000009Du
#define STORVSP_STATUS_TIMEOUT		 0xC00000B5u
#define STORVSP_STATUS_NO_SUCH_DEVICE	 0xC00000C0u
#define STORVSP_STATUS_CANCELLED	 0xC0000120u
#define STORVSP_STATUS_INVALID_STATE	 0xC0000184u
#define STORVSP_STATUS_IO_ERROR		 0xC0000185u

/* Protocol versions: major << 8 | minor. */
#define STORVSP_VERSION_WIN6   0x0200u
#define STORVSP_VERSION_WIN7   0x0402u
#define STORVSP_VERSION_WIN8   0x0501u
#define STORVSP_VERSION_WIN8_1 0x0600u
#define STORVSP_VERSION_WIN10  0x0602u

enum storvsp_srb_status {
	STORVSP_SRB_PENDING = 0x00,
	STORVSP_SRB_SUCCESS = 0x01,
	STORVSP_SRB_ABORTED = 0x02,
	STORVSP_SRB_ERROR = 0x04,
	STORVSP_SRB_BUSY = 0x05,
	STORVSP_SRB_INVALID_REQUEST = 0x06,
	STORVSP_SRB_NO_DEVICE = 0x08,
	STORVSP_SRB_TIMEOUT = 0x09,
	STORVSP_SRB_SELECTION_TIMEOUT = 0x0A,
	STORVSP_SRB_COMMAND_TIMEOUT = 0x0B,
	STORVSP_SRB_NO_HBA = 0x11,
	STORVSP_SRB_DATA_OVERRUN = 0x12,
	STORVSP_SRB_BAD_LENGTH = 0x15,
	STORVSP_SRB_FLUSHED = 0x16,
	STORVSP_SRB_INVALID_LUN = 0x20,
	STORVSP_SRB_INVALID_TARGET = 0x21,
	STORVSP_SRB_BAD_FUNCTION = 0x22,
};
#define STORVSP_SRB_STATUS_MASK 0x3Fu
#define STORVSP_SRB_AUTOSENSE	0x80u

enum storvsp_data_in {
	STORVSP_DATA_OUT = 0,
	STORVSP_DATA_IN = 1,
	STORVSP_DATA_NONE = 2,
};

/* A SCSI request, and its answer. */
struct storvsp_request_wire {
	le16 length;
	uint8_t srb_status;
	uint8_t scsi_status;
	uint8_t port;
	uint8_t path;
	uint8_t target;
	uint8_t lun;
	uint8_t cdb_length;
	uint8_t sense_length;
	uint8_t data_in; /* enum storvsp_data_in */
	uint8_t reserved;
	le32 transfer_length;
	uint8_t cdb_or_sense[STORVSP_SENSE_BYTES];
	/* from 5.1 on */
	le16 reserve;
	uint8_t queue_tag;
	uint8_t queue_action;
	le32 srb_flags;
	le32 timeout_s;
	le32 sort_key;
};

#define STORVSP_REQUEST_BYTES_V1 36u
#define STORVSP_REQUEST_BYTES	 52u

struct storvsp_version_wire {
	le16 version; /* major << 8 | minor */
	le16 revision;
};

struct storvsp_properties_wire {
	le32 reserved0;
	le16 max_subchannels;
	le16 reserved1;
	le32 flags;
	le32 max_transfer_bytes;
	le64 reserved2;
};

#define STORVSP_PROPERTY_MULTI_CHANNEL 1u

struct storvsp_packet_wire {
	le32 op;     /* enum storvsp_op */
	le32 flags;  /* bit 0: the sender wants a completion */
	le32 status; /* host to guest */
	union {
		struct storvsp_request_wire request;
		struct storvsp_version_wire version;
		struct storvsp_properties_wire properties;
		le16 subchannels;
		uint8_t body[52];
	} u;
};

#define STORVSP_HEADER_BYTES 12u

/* The offer of an IDE accelerator: its instance id, and bytes of its own. */
#define STORVSP_IDE_MARK 0x8899u
struct storvsp_ide_instance_wire {
	le32 path;   /* IDE channel */
	le16 target; /* drive on it */
	le16 mark;
	uint8_t unused[8];
};
#define STORVSP_IDE_OFFER_FLAG 2u
struct storvsp_ide_offer_wire {
	uint8_t unused0[2];
	uint8_t path, target;
	uint8_t unused4[4];
	le32 flags;
	uint8_t unused12[12];
};

static_assert(sizeof(struct storvsp_ide_instance_wire) == 16, "an id");
static_assert(sizeof(struct storvsp_ide_offer_wire) == 24, "offer's bytes");
static_assert(sizeof(struct storvsp_request_wire) == STORVSP_REQUEST_BYTES,
	      "request of protocol 5.1");
static_assert(offsetof(struct storvsp_request_wire, path) == 5, "path");
static_assert(offsetof(struct storvsp_request_wire, cdb_length) == 8, "cdb");
static_assert(offsetof(struct storvsp_request_wire, data_in) == 10, "data_in");
static_assert(offsetof(struct storvsp_request_wire, transfer_length) == 12,
	      "transfer length");
static_assert(offsetof(struct storvsp_request_wire, cdb_or_sense) == 16,
	      "CDB and sense");
static_assert(offsetof(struct storvsp_request_wire, reserve) ==
		      STORVSP_REQUEST_BYTES_V1,
	      "request before protocol 5.1");
static_assert(sizeof(struct storvsp_properties_wire) == 24, "properties");
static_assert(offsetof(struct storvsp_properties_wire, flags) == 8, "flags");
static_assert(sizeof(struct storvsp_packet_wire) == STORVSP_PACKET_BYTES,
	      "packet of protocol 5.1");
static_assert(offsetof(struct storvsp_packet_wire, u) == STORVSP_HEADER_BYTES,
	      "body behind the header");

#endif

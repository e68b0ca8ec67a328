/* SPDX-License-Identifier: BSD-2-Clause */
/* The protocol session: which operation is legal when, and what is answered.
 * A plain state machine over packets that were copied out of the ring; it
 * does nothing itself but says what is to be done.
 *
 *   CLOSED -begin-> BEGUN -version-> VERSIONED -properties-> DESCRIBED
 *                                                     -end-> READY
 *
 * An operation in the wrong state fails and leaves the state as it is. Closing
 * the channel is the way back: a session lives as long as its channel is open.
 * Thread: the primary channel's. Sub-channels have a session of their own that
 *   is READY or CLOSED as the primary's is.
 * Sources: Linux storvsc_channel_init, OpenVMM storvsp protocol state.
 */
#ifndef STORVSP_SESSION_H
#define STORVSP_SESSION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "wire.h"

enum session_state {
	STORVSP_SESSION_CLOSED = 0,
	STORVSP_SESSION_BEGUN,
	STORVSP_SESSION_VERSIONED,
	STORVSP_SESSION_DESCRIBED,
	STORVSP_SESSION_READY,
};

struct session {
	enum session_state state;
	bool sub;		/* of a sub-channel */
	uint16_t version;	/* 0 until negotiated */
	bool sub_channels_made; /* the guest asked for them once */
	/* what the controller offers */
	uint16_t max_subchannels;
	uint32_t max_transfer_bytes;
};

/* What the caller has to do with a packet. */
enum session_act {
	STORVSP_SESSION_REPLY,	 /* send `reply` */
	STORVSP_SESSION_STARTED, /* send `reply`; the session has become READY
				  */
	STORVSP_SESSION_OFFER,	 /* send `reply`, offer `count` sub-channels */
	STORVSP_SESSION_EXECUTE, /* run the SCSI request */
	STORVSP_SESSION_RESET,	 /* end what is in flight, then send `reply` */
};

/* Handle one packet: `in` with `in_bytes` present, the rest of it zero.
 * Fills `reply` (a COMPLETE_IO packet) and, for OFFER, `*count`.
 */
enum session_act storvsp_session_handle(struct session *s,
					const struct storvsp_packet_wire *in,
					size_t in_bytes,
					struct storvsp_packet_wire *reply,
					uint16_t *count);

/* Requests have the form of before protocol 5.1. */
bool storvsp_session_is_v1(const struct session *s);

/* An answer: COMPLETE_IO with this status and an empty body. */
void storvsp_session_reply(struct storvsp_packet_wire *reply, uint32_t status);
/* The same for a packet that may carry a SCSI request: its SRB status then
 * says "invalid request", so that nobody takes it for pending.
 */
void storvsp_session_refuse(const struct storvsp_packet_wire *in,
			    struct storvsp_packet_wire *reply, uint32_t status);

/* Payload bytes of the answer to a packet with `in_bytes` of payload. */
size_t storvsp_session_reply_bytes(size_t in_bytes);
/* Payload bytes of a packet that nobody asked for. */
size_t storvsp_session_unasked_bytes(const struct session *s);

#endif

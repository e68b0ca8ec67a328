/* SPDX-License-Identifier: BSD-2-Clause */
/* One SCSI request: see request.c. */
#ifndef STORVSP_REQUEST_H
#define STORVSP_REQUEST_H

struct channel;
struct request;
struct storvsp_packet_wire;
struct vmbus_packet;

/* Run the SCSI request in `in`, whose packet is `pkt`. */
void storvsp_request_start(struct channel *ch, struct request *r,
			   const struct storvsp_packet_wire *in,
			   const struct vmbus_packet *pkt);
/* The disk queue is done with it. */
void storvsp_request_end(struct channel *ch, struct request *r);
/* A reset came while it waited at its gate, from which it was taken. */
void storvsp_request_abort(struct channel *ch, struct request *r);

#endif

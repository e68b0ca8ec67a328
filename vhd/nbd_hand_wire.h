/* SPDX-License-Identifier: BSD-2-Clause */
/* Connections that one process makes and negotiates and another one uses: so a
 * process that runs a guest reaches one export, chosen by somebody else, and
 * needs no right to open or connect anything. Private to vhd/.
 *
 * Between the two is a socket that keeps packets apart. Whoever has the image
 * (nbd_hand.c) asks for a connection, each time the last one is lost; the answer
 * of the connector (nbd_connector.c) has the export's facts and, as a
 * descriptor, the connection: without TLS, ready for commands, answers in the
 * simple form (nbd_line.c). When the asker's end is closed the connector is
 * done.
 *
 * Nothing of this is kept anywhere, but the two may be of different releases:
 * so packets have a magic and fixed places.
 */
#ifndef VHD_NBD_HAND_WIRE_H
#define VHD_NBD_HAND_WIRE_H

#include <assert.h>

#include "endian.h"
#include "nbd_int.h"

#define NBD_ASK_MAGIC	 "vhdlink?"
#define NBD_ANSWER_MAGIC "vhdlink!"
#define NBD_MAGIC_BYTES	 8u

struct nbd_ask_wire {
	uint8_t magic[NBD_MAGIC_BYTES];
	be32 number, timeout_ms;
};

struct nbd_answer_wire {
	uint8_t magic[NBD_MAGIC_BYTES];
	be32 number;
	be32 error; /* 0, or why there is no connection */
	be64 size_bytes, min_bytes, max_bytes;
	be32 flags;
	char text[120]; /* of the error */
};

static_assert(sizeof(struct nbd_ask_wire) == 16, "ask");
static_assert(sizeof(struct nbd_answer_wire) == 164, "answer");

/* Room for one descriptor. */
union nbd_hand_control {
	struct cmsghdr head;
	char bytes[CMSG_SPACE(sizeof(int))];
};

#endif

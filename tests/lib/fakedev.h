/* SPDX-License-Identifier: BSD-2-Clause */
/* A device that does nothing but remember: what the bus told it, and which
 * channels are open. Tests drive the channels themselves.
 */
#ifndef TESTS_LIB_FAKEDEV_H
#define TESTS_LIB_FAKEDEV_H

#include "hv/vmbus.h"

#define FAKEDEV_CHANNELS 64

struct fakedev {
	unsigned opens, closes;
	int refuse;	       /* what open returns: 0 or -errno */
	uint16_t sub_on_close; /* asks for so many as it is closed */
	uint8_t user[120];
	struct vmbus_channel *open[FAKEDEV_CHANNELS]; /* by sub-channel index */
	uint16_t last_closed;			      /* sub-channel index */
	struct vmbus_channel *offered;
};

extern const struct vmbus_guid fakedev_type;

/* An offer of `dev` whose instance differs by `n`. */
struct vmbus_offer fakedev_offer(struct fakedev *dev, uint8_t n);
/* Add it to the bus; aborts on failure. */
void fakedev_add(struct fakedev *dev, struct vmbus *bus, uint8_t n);

#endif

/* SPDX-License-Identifier: BSD-2-Clause */
/* The device that remembers. */
#include "fakedev.h"

#include <stdlib.h>
#include <string.h>

const struct vmbus_guid fakedev_type = {{0xd9, 0x63, 0x61, 0xba, 0xa1, 0x04,
					 0x29, 0x4d, 0xb6, 0x05, 0x72, 0xe2,
					 0xff, 0xb1, 0xdc, 0x7f}};

static int on_open(void *arg, struct vmbus_channel *ch, const uint8_t *user)
{
	struct fakedev *dev = arg;

	dev->opens++;
	memcpy(dev->user, user, sizeof(dev->user));
	if (dev->refuse)
		return dev->refuse;
	dev->open[vmbus_channel_index(ch) % FAKEDEV_CHANNELS] = ch;
	return 0;
}

static void on_close(void *arg, struct vmbus_channel *ch)
{
	struct fakedev *dev = arg;

	dev->closes++;
	if (dev->sub_on_close)
		vmbus_offer_sub(ch, dev->sub_on_close);
	dev->last_closed = vmbus_channel_index(ch);
	dev->open[vmbus_channel_index(ch) % FAKEDEV_CHANNELS] = NULL;
}

static const struct vmbus_device_ops ops = {
	.name = "fake",
	.open = on_open,
	.close = on_close,
};

struct vmbus_offer fakedev_offer(struct fakedev *dev, uint8_t n)
{
	struct vmbus_offer offer = {
		.type = fakedev_type,
		.channel_flags = 0x1234,
		.mmio_mb = 0x56,
		.ops = &ops,
		.dev = dev,
	};

	for (unsigned i = 0; i < 16; i++)
		offer.instance.b[i] = (uint8_t)(0xA0 + i);
	offer.instance.b[15] = n;
	for (unsigned i = 0; i < sizeof(offer.user); i++)
		offer.user[i] = (uint8_t)i;
	return offer;
}

void fakedev_add(struct fakedev *dev, struct vmbus *bus, uint8_t n)
{
	struct vmbus_offer offer = fakedev_offer(dev, n);

	if (vmbus_offer_add(bus, &offer, &dev->offered, NULL))
		abort();
}

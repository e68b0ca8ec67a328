/* SPDX-License-Identifier: BSD-2-Clause */
/* The controller as a device on the bus: its offer, and the opening and closing
 * of its channels.
 */
#include <assert.h>
#include <errno.h>
#include <string.h>

#include "channel.h"
#include "controller.h"
#include "state.h"

static const char scsi_class[] = "ba6163d9-04a1-4d29-b605-72e2ffb1dc7f";
static const char ide_class[] = "32412632-86cb-44a2-9b5c-50d1417354f5";

/* ---------------------------------------------------- open and close ----- */

/* One channel more or less. Control thread. */
static void opened(struct storvsp *vsp)
{
	if (vsp->open_channels++ == 0 && vsp->opts.guest_has)
		vsp->opts.guest_has(vsp->opts.guest_arg, true);
}

static void closed(struct storvsp *vsp)
{
	if (--vsp->open_channels == 0 && vsp->opts.guest_has)
		vsp->opts.guest_has(vsp->opts.guest_arg, false);
}

static int device_open(void *dev, struct vmbus_channel *bus,
		       const uint8_t *user)
{
	struct storvsp *vsp = dev;
	struct channel *ch = storvsp_channel_create(vsp, bus);
	struct storvsp_luns luns;
	int rc;

	(void)user; /* 24 zero bytes from every guest */
	if (!ch) {
		storvsp_log_line(&vsp->log, "no memory to open a channel");
		return -ENOMEM;
	}
	opened(vsp);
	storvsp_controller_join(vsp, ch, &luns);
	rc = storvsp_channel_start(ch, &luns);
	if (rc) {
		storvsp_log_line(&vsp->log, "channel %u cannot be opened: %s",
				 vmbus_channel_index(bus), ch->start_err.text);
		storvsp_controller_leave(vsp, ch);
		storvsp_channel_destroy(ch);
		closed(vsp);
		return rc;
	}
	vmbus_channel_set_data(bus, ch);
	return 0;
}

/* The protocol starts anew with the next opening of the primary; until then
 * sub-channels that are still open take nothing.
 */
static void device_close(void *dev, struct vmbus_channel *bus)
{
	struct storvsp *vsp = dev;
	struct channel *ch = vmbus_channel_data(bus);

	storvsp_channel_stop(ch);
	storvsp_controller_leave(vsp, ch);
	if (!ch->sub)
		storvsp_controller_session(vsp, false, 0);
	vmbus_channel_set_data(bus, NULL);
	storvsp_channel_destroy(ch);
	closed(vsp);
}

static const struct vmbus_device_ops device_ops = {
	.name = "scsi",
	.open = device_open,
	.close = device_close,
};

/* ------------------------------------------------------------- offer ----- */

/* Which disk it is: Linux takes it from the instance, old Windows from the
 * offer's own bytes.
 */
static void identify_ide(const struct storvsp *vsp, struct vmbus_offer *offer)
{
	struct storvsp_address at = storvsp_ide_address(vsp->opts.ide_position);
	const struct storvsp_ide_instance_wire instance = {
		.path = le32_put(at.path),
		.target = le16_put(at.target),
		.mark = le16_put(STORVSP_IDE_MARK),
	};
	const struct storvsp_ide_offer_wire user = {
		.path = at.path,
		.target = at.target,
		.flags = le32_put(STORVSP_IDE_OFFER_FLAG),
	};

	memcpy(&offer->instance, &instance, sizeof(instance));
	memcpy(offer->user, &user, sizeof(user));
}

int storvsp_offer(struct storvsp *vsp, struct vmbus *bus, struct vhd_err *err)
{
	struct vmbus_offer offer = {
		.instance = vsp->opts.instance,
		.ops = &device_ops,
		.dev = vsp,
	};
	struct vmbus_channel *ch;
	int rc = vmbus_guid_parse(vsp->opts.ide ? ide_class : scsi_class,
				  &offer.type);

	assert(rc == 0);
	if (vsp->opts.ide)
		identify_ide(vsp, &offer);
	return vmbus_offer_add(bus, &offer, &ch, err);
}

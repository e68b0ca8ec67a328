/* SPDX-License-Identifier: BSD-2-Clause */
/* The table of guest messages, and when they are handled.
 *
 * Guest messages are handled strictly in order, each only while there is room
 * for its answer; a guest that does not empty its slot therefore stops being
 * heard, except for INITIATE_CONTACT, which makes all that came before it
 * void (a kdump kernel must get through to a bus that the crashed one left
 * stuck).
 *
 * Offers and rescinds are not queued but due: they are written when there is
 * room (offer.c), so their number needs no bound here.
 * Sources: Linux drivers/hv/{connection.c,channel_mgmt.c}.
 */
#include "bus.h"

#include <sys/eventfd.h>

static const struct vmbus_handler handlers[VMBUS_MSG_COUNT] = {
	[VMBUS_MSG_REQUESTOFFERS] = {"REQUESTOFFERS", 8, 0, 0, false,
				     vmbus_on_request_offers, NULL},
	[VMBUS_MSG_OPENCHANNEL] = {"OPENCHANNEL",
				   sizeof(struct vmbus_wire_open), 16, 0, false,
				   vmbus_on_open, vmbus_refuse_open},
	[VMBUS_MSG_CLOSECHANNEL] = {"CLOSECHANNEL", 12, 0, 0, false,
				    vmbus_on_close, NULL},
	[VMBUS_MSG_GPADL_HEADER] = {"GPADL_HEADER",
				    sizeof(struct vmbus_wire_gpadl_header) +
					    sizeof(struct vmbus_wire_range),
				    16, 0, false, vmbus_on_gpadl_header,
				    vmbus_refuse_gpadl},
	[VMBUS_MSG_GPADL_BODY] = {"GPADL_BODY",
				  sizeof(struct vmbus_wire_gpadl_body), 0, 0,
				  false, vmbus_on_gpadl_body, NULL},
	[VMBUS_MSG_GPADL_TEARDOWN] = {"GPADL_TEARDOWN", 16, 0, 0, false,
				      vmbus_on_gpadl_teardown, NULL},
	[VMBUS_MSG_RELID_RELEASED] = {"RELID_RELEASED", 12, 0, 0, false,
				      vmbus_on_released, NULL},
	[VMBUS_MSG_INITIATE_CONTACT] = {"INITIATE_CONTACT", 40, 16, 0, true,
					vmbus_on_initiate_contact,
					vmbus_refuse_contact},
	[VMBUS_MSG_UNLOAD] = {"UNLOAD", 8, 0, 0, true, vmbus_on_unload, NULL},
	[VMBUS_MSG_TL_CONNECT_REQUEST] = {"TL_CONNECT_REQUEST", 40, 0,
					  VMBUS_VERSION_4_0, false,
					  vmbus_on_tl_connect, NULL},
	[VMBUS_MSG_MODIFYCHANNEL] = {"MODIFYCHANNEL", 16, 12, VMBUS_VERSION_4_1,
				     false, vmbus_on_modify,
				     vmbus_refuse_modify},
};

void vmbus_dispatch(struct vmbus *bus, const struct vmbus_in_msg *msg)
{
	const struct vmbus_handler *h;
	uint32_t type = vmbus_kind_of(msg);

	if (msg->len < sizeof(struct vmbus_wire_header)) {
		vmbus_log(bus, "dropped a guest message of %u bytes", msg->len);
		return;
	}
	h = type < VMBUS_MSG_COUNT ? &handlers[type] : NULL;
	if (!h || !h->name) {
		vmbus_log(bus, "dropped guest message %u: not supported", type);
		return;
	}
	if (bus->version == 0 && !h->unconnected) {
		vmbus_log(bus, "dropped %s: the guest is not connected",
			  h->name);
		return;
	}
	if (bus->version < h->since) {
		vmbus_log(bus, "dropped %s: not part of version %u.%u", h->name,
			  bus->version >> 16, bus->version & 0xffff);
		return;
	}
	if (msg->len >= h->min_len) {
		h->handle(bus, msg);
		return;
	}
	vmbus_log(bus, "refused %s: %u bytes, needs %u", h->name, msg->len,
		  h->min_len);
	if (h->refuse && msg->len >= h->refuse_len)
		h->refuse(bus, msg);
}

static void out_flush(struct vmbus *bus)
{
	bool more;

	do {
		more = vmbus_send_notices(bus);
		vmbus_out_post(bus);
	} while (more && !bus->out_blocked);
}

/* True when there is more to do at once. */
static bool handle_queue(struct vmbus *bus)
{
	struct vmbus_in_msg msg;

	for (unsigned n = 0; n < VMBUS_SERVICE_MAX; n++) {
		if (bus->out_count == VMBUS_QUEUE_OUT)
			vmbus_out_post(bus);
		if (bus->out_count == VMBUS_QUEUE_OUT &&
		    !vmbus_in_skip_to_contact(bus))
			return false;
		if (!vmbus_in_pop(bus, &msg))
			return false;
		vmbus_dispatch(bus, &msg);
	}
	return vmbus_in_waiting(bus);
}

int vmbus_service(struct vmbus *bus)
{
	eventfd_t ignored;
	int wait_ms;

	/* Fails with EAGAIN when called without a wake: nothing lost. */
	(void)eventfd_read(bus->wake_fd, &ignored);
	vmbus_log_refused_posts(bus);
	bus->out_blocked = false;
	vmbus_make_subs(bus);
	out_flush(bus);
	if (handle_queue(bus))
		vmbus_wake(bus);
	out_flush(bus);
	wait_ms = vmbus_unstick(bus);
	if (bus->out_blocked && (wait_ms < 0 || wait_ms > VMBUS_RETRY_MS))
		wait_ms = VMBUS_RETRY_MS;
	return wait_ms;
}

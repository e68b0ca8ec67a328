/* SPDX-License-Identifier: BSD-2-Clause */
/* Messages in and out: the bounded queue that vCPU threads fill, the table of
 * guest messages, and the queue towards the guest's slot.
 *
 * Guest messages are handled strictly in order, each only while there is room
 * for its answer; a guest that does not empty its slot therefore stops being
 * heard, except for INITIATE_CONTACT, which makes all that came before it
 * void (a kdump kernel must get through to a bus that the crashed one left
 * stuck).
 *
 * All host messages of one connection go to one VP, so one queue keeps them
 * in order. Offers and rescinds are not queued but due: they are written when
 * there is room (offer.c), so their number needs no bound here.
 * Sources: Linux drivers/hv/{connection.c,channel_mgmt.c}; TLFS HvPostMessage.
 */
#include "bus.h"

#include <assert.h>
#include <errno.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

void vmbus_wake(struct vmbus *bus)
{
	/* Fails only when the counter is full: then it is readable. */
	(void)eventfd_write(bus->wake_fd, 1);
}

int vmbus_eventfd(const struct vmbus *bus)
{
	return bus->wake_fd;
}

void vmbus_kick(struct vmbus *bus)
{
	vmbus_wake(bus);
}

/* ---------------------------------------------------- from the guest ---- */

static uint32_t kind_of(const struct vmbus_in_msg *msg)
{
	struct vmbus_wire_header hdr;

	memcpy(&hdr, msg->data, sizeof(hdr));
	return le32_get(hdr.type);
}

static bool is_contact(const struct vmbus_in_msg *msg)
{
	return msg->len >= sizeof(struct vmbus_wire_initiate_contact) &&
	       kind_of(msg) == VMBUS_MSG_INITIATE_CONTACT;
}

/* Under the lock. */
static bool in_push(struct vmbus *bus, const struct vmbus_in_msg *msg)
{
	if (bus->in_count == VMBUS_QUEUE_IN) {
		if (!is_contact(msg))
			return false;
		bus->in_count = 0;
	}
	bus->in[(bus->in_first + bus->in_count) % VMBUS_QUEUE_IN] = *msg;
	bus->in_count++;
	return true;
}

uint64_t vmbus_post_message(struct vmbus *bus, uint32_t connection_id,
			    uint32_t message_type, const void *payload,
			    size_t len)
{
	struct vmbus_in_msg msg = {.connection_id = connection_id};
	uint64_t status = VMBUS_HV_SUCCESS;

	if (len > VMBUS_MESSAGE_BYTES_MAX || message_type != VMBUS_MESSAGE_TYPE)
		status = VMBUS_HV_INVALID_PARAMETER;
	else if (connection_id != VMBUS_CONN_OLD &&
		 connection_id != VMBUS_CONN_NEW)
		status = VMBUS_HV_INVALID_CONNECTION_ID;
	if (status == VMBUS_HV_SUCCESS) {
		msg.len = (uint32_t)len;
		memcpy(msg.data, payload, len);
	}
	pthread_mutex_lock(&bus->lock);
	if (status != VMBUS_HV_SUCCESS)
		bus->posts_refused++;
	else if (!in_push(bus, &msg))
		status = VMBUS_HV_INSUFFICIENT_BUFFERS;
	pthread_mutex_unlock(&bus->lock);
	vmbus_wake(bus);
	return status;
}

void vmbus_in_clear(struct vmbus *bus)
{
	pthread_mutex_lock(&bus->lock);
	bus->in_count = 0;
	pthread_mutex_unlock(&bus->lock);
}

static bool in_pop(struct vmbus *bus, struct vmbus_in_msg *msg)
{
	bool any;

	pthread_mutex_lock(&bus->lock);
	any = bus->in_count > 0;
	if (any) {
		*msg = bus->in[bus->in_first];
		bus->in_first = (bus->in_first + 1) % VMBUS_QUEUE_IN;
		bus->in_count--;
	}
	pthread_mutex_unlock(&bus->lock);
	return any;
}

/* The guest's slot is stuck: look whether it starts anew. True when an
 * INITIATE_CONTACT is now first in the queue.
 */
static bool in_skip_to_contact(struct vmbus *bus)
{
	bool found = false;

	pthread_mutex_lock(&bus->lock);
	for (unsigned i = 0; i < bus->in_count && !found; i++) {
		unsigned at = (bus->in_first + i) % VMBUS_QUEUE_IN;

		if (is_contact(&bus->in[at])) {
			bus->in_first = at;
			bus->in_count -= i;
			found = true;
		}
	}
	pthread_mutex_unlock(&bus->lock);
	return found;
}

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
	uint32_t type = kind_of(msg);

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

/* ------------------------------------------------------ to the guest ---- */

void vmbus_say(struct vmbus *bus, const void *msg, size_t len)
{
	struct vmbus_out_msg *out;

	assert(bus->out_count < VMBUS_QUEUE_OUT && len <= sizeof(out->data));
	out = &bus->out[(bus->out_first + bus->out_count) % VMBUS_QUEUE_OUT];
	memcpy(out->data, msg, len);
	out->len = (uint32_t)len;
	bus->out_count++;
}

void vmbus_out_clear(struct vmbus *bus)
{
	bus->out_count = 0;
	bus->out_blocked = false;
}

/* Write messages into the guest's slot until it is busy or all are out. */
static void out_post(struct vmbus *bus)
{
	while (bus->out_count > 0 && !bus->out_blocked) {
		struct vmbus_out_msg *m = &bus->out[bus->out_first];
		int rc = bus->opts.ops->post(bus->opts.host, bus->target_vp,
					     VMBUS_SINT, m->data, m->len);

		if (rc == -EAGAIN) {
			bus->out_blocked = true;
			return;
		}
		if (rc)
			vmbus_log(bus, "lost a message for VP %u: %s",
				  bus->target_vp, strerror(-rc));
		bus->out_first = (bus->out_first + 1) % VMBUS_QUEUE_OUT;
		bus->out_count--;
	}
}

static void out_flush(struct vmbus *bus)
{
	bool more;

	do {
		more = vmbus_send_notices(bus);
		out_post(bus);
	} while (more && !bus->out_blocked);
}

static void log_refused_posts(struct vmbus *bus)
{
	unsigned n;

	pthread_mutex_lock(&bus->lock);
	n = bus->posts_refused;
	bus->posts_refused = 0;
	pthread_mutex_unlock(&bus->lock);
	if (n > 0)
		vmbus_log(bus,
			  "refused %u HvPostMessage calls: unknown "
			  "connection id, type or length",
			  n);
}

static bool in_waiting(struct vmbus *bus)
{
	bool any;

	pthread_mutex_lock(&bus->lock);
	any = bus->in_count > 0;
	pthread_mutex_unlock(&bus->lock);
	return any;
}

/* True when there is more to do at once. */
static bool handle_queue(struct vmbus *bus)
{
	struct vmbus_in_msg msg;

	for (unsigned n = 0; n < VMBUS_SERVICE_MAX; n++) {
		if (bus->out_count == VMBUS_QUEUE_OUT)
			out_post(bus);
		if (bus->out_count == VMBUS_QUEUE_OUT &&
		    !in_skip_to_contact(bus))
			return false;
		if (!in_pop(bus, &msg))
			return false;
		vmbus_dispatch(bus, &msg);
	}
	return in_waiting(bus);
}

int vmbus_service(struct vmbus *bus)
{
	eventfd_t ignored;
	int wait_ms;

	/* Fails with EAGAIN when called without a wake: nothing lost. */
	(void)eventfd_read(bus->wake_fd, &ignored);
	log_refused_posts(bus);
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

/* SPDX-License-Identifier: BSD-2-Clause */
/* Messages in and out: the bounded queue that vCPU threads fill, and the queue
 * towards the guest's slot.
 *
 * All host messages of one connection go to one VP, so one queue keeps them
 * in order.
 * Source: TLFS HvPostMessage.
 */
#include "bus.h"

#include <assert.h>
#include <errno.h>
#include <string.h>
#include <sys/eventfd.h>

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

uint32_t vmbus_kind_of(const struct vmbus_in_msg *msg)
{
	struct vmbus_wire_header hdr;

	memcpy(&hdr, msg->data, sizeof(hdr));
	return le32_get(hdr.type);
}

static bool is_contact(const struct vmbus_in_msg *msg)
{
	return msg->len >= sizeof(struct vmbus_wire_initiate_contact) &&
	       vmbus_kind_of(msg) == VMBUS_MSG_INITIATE_CONTACT;
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

bool vmbus_in_pop(struct vmbus *bus, struct vmbus_in_msg *msg)
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

bool vmbus_in_skip_to_contact(struct vmbus *bus)
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

bool vmbus_in_waiting(struct vmbus *bus)
{
	bool any;

	pthread_mutex_lock(&bus->lock);
	any = bus->in_count > 0;
	pthread_mutex_unlock(&bus->lock);
	return any;
}

void vmbus_log_refused_posts(struct vmbus *bus)
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

void vmbus_out_post(struct vmbus *bus)
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

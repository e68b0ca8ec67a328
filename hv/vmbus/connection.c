/* SPDX-License-Identifier: BSD-2-Clause */
/* The bus itself and its connection with the guest.
 *
 * INITIATE_CONTACT and UNLOAD come in any state (kexec, kdump, reboot without
 * a word) and first undo everything the guest had: channels closed, GPADLs
 * forgotten, messages dropped. Only then is the answer queued.
 * Monitor and interrupt pages are checked but never used: channels from 2.4
 * on have event flags and connection ids of their own, so nothing is kept
 * that could be written to after the guest is gone.
 * Sources: Linux drivers/hv/connection.c (vmbus_negotiate_version); OpenVMM
 * vmbus_server/src/channels.rs.
 */
#include "bus.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

static const uint32_t versions[] = {
	VMBUS_VERSION_2_4, VMBUS_VERSION_3_0, VMBUS_VERSION_4_0,
	VMBUS_VERSION_4_1, VMBUS_VERSION_5_0, VMBUS_VERSION_5_1,
	VMBUS_VERSION_5_2, VMBUS_VERSION_5_3,
};

static bool version_known(uint32_t version)
{
	for (size_t i = 0; i < sizeof(versions) / sizeof(versions[0]); i++)
		if (versions[i] == version)
			return true;
	return false;
}

static int bus_init(struct vmbus *bus, const struct vmbus_opts *opts,
		    struct vhd_err *err)
{
	bus->opts = *opts;
	if (bus->opts.max_version == 0)
		bus->opts.max_version = VMBUS_VERSION_5_3;
	if (!version_known(bus->opts.max_version))
		return vhd_fail(err, -EINVAL, VHD_WHY_ARGUMENT, 0,
				"VMBus version 0x%x does not exist; the "
				"newest is 0x%x",
				opts->max_version, VMBUS_VERSION_5_3);
	bus->wake_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	if (bus->wake_fd < 0)
		return vhd_fail(err, -errno, VHD_WHY_SYSTEM, 0,
				"cannot make an eventfd for VMBus: %s",
				strerror(errno));
	return 0;
}

int vmbus_create(const struct vmbus_opts *opts, struct vmbus **out,
		 struct vhd_err *err)
{
	struct vmbus *bus = calloc(1, sizeof(*bus));
	int rc;

	if (!bus)
		return vhd_fail(err, -ENOMEM, VHD_WHY_NOMEM, 0,
				"no memory for the VMBus");
	rc = bus_init(bus, opts, err);
	if (rc) {
		free(bus);
		return rc;
	}
	/* Default attributes: neither call can fail with glibc. */
	pthread_mutex_init(&bus->lock, NULL);
	pthread_mutex_init(&bus->limiter.lock, NULL);
	vmbus_limiter_init(&bus->limiter);
	*out = bus;
	return 0;
}

void vmbus_destroy(struct vmbus *bus)
{
	if (!bus)
		return;
	vmbus_forget_guest(bus);
	vmbus_free_channels(bus);
	close(bus->wake_fd);
	pthread_mutex_destroy(&bus->limiter.lock);
	pthread_mutex_destroy(&bus->lock);
	free(bus);
}

uint32_t vmbus_version(const struct vmbus *bus)
{
	/* The lock is no part of what the caller sees as constant. */
	struct vmbus *b = (struct vmbus *)(uintptr_t)bus;
	uint32_t version;

	pthread_mutex_lock(&b->lock);
	version = b->shown_version;
	pthread_mutex_unlock(&b->lock);
	return version;
}

static void set_version(struct vmbus *bus, uint32_t version)
{
	bus->version = version;
	pthread_mutex_lock(&bus->lock);
	bus->shown_version = version;
	pthread_mutex_unlock(&bus->lock);
}

static void disconnect(struct vmbus *bus)
{
	vmbus_forget_guest(bus);
	vmbus_out_clear(bus);
	bus->offers_requested = false;
	bus->all_offers_due = false;
	bus->notices_due = false;
	set_version(bus, 0);
}

void vmbus_reset(struct vmbus *bus)
{
	disconnect(bus);
	bus->target_vp = 0;
	vmbus_in_clear(bus);
}

/* ------------------------------------------------------------- contact -- */

static void answer_contact(struct vmbus *bus, bool supported, uint8_t state,
			   uint32_t value)
{
	struct vmbus_wire_version_response msg = {
		.hdr.type = le32_put(VMBUS_MSG_VERSION_RESPONSE),
		.supported = supported,
		.state = state,
		.version_or_connection = le32_put(value),
	};

	vmbus_say(bus, &msg, sizeof(msg));
}

static bool monitor_page_ok(const struct vmbus *bus, uint64_t gpa)
{
	return gpa % HV_PAGE_BYTES == 0 &&
	       hv_gpa_ok(bus->opts.mem, gpa, HV_PAGE_BYTES);
}

static bool monitor_pages_ok(const struct vmbus *bus,
			     const struct vmbus_wire_initiate_contact *m)
{
	uint64_t a = le64_get(m->monitor_p2c), b = le64_get(m->monitor_c2p);

	if (a == 0 && b == 0)
		return true;
	return a != 0 && b != 0 && monitor_page_ok(bus, a) &&
	       monitor_page_ok(bus, b);
}

/* Why a contact of a version we speak is impossible, or NULL. */
static const char *contact_fault(const struct vmbus *bus,
				 const struct vmbus_wire_initiate_contact *m,
				 uint32_t connection_id)
{
	bool is_new = le32_get(m->version) >= VMBUS_VERSION_5_0;

	if (connection_id != (is_new ? VMBUS_CONN_NEW : VMBUS_CONN_OLD))
		return "wrong connection id for this version";
	if (bus->target_vp != le32_get(m->target_vp))
		return "no such VP";
	if (is_new && m->target_sint != VMBUS_SINT)
		return "messages wanted on another SINT than 2";
	if (is_new && m->target_vtl != 0)
		return "messages wanted at a higher VTL";
	if (!monitor_pages_ok(bus, m))
		return "monitor pages are not RAM";
	return NULL;
}

/* Answers go where the guest says, or to VP 0 if that does not exist. */
static void set_target(struct vmbus *bus, uint32_t vp)
{
	bool exists = vp < bus->opts.ops->vp_count(bus->opts.host);

	bus->target_vp = exists ? vp : 0;
}

void vmbus_on_initiate_contact(struct vmbus *bus,
			       const struct vmbus_in_msg *msg)
{
	struct vmbus_wire_initiate_contact m;
	uint32_t version;
	const char *fault;

	memcpy(&m, msg->data, sizeof(m));
	version = le32_get(m.version);
	disconnect(bus);
	set_target(bus, le32_get(m.target_vp));
	if (!version_known(version) || version > bus->opts.max_version) {
		vmbus_log(bus,
			  "guest asks for version %u.%u: not supported, "
			  "it may try another",
			  version >> 16, version & 0xffff);
		answer_contact(bus, false, VMBUS_STATE_SUCCESSFUL, 0);
		return;
	}
	fault = contact_fault(bus, &m, msg->connection_id);
	if (fault) {
		vmbus_log(bus, "refused INITIATE_CONTACT: %s", fault);
		answer_contact(bus, false, VMBUS_STATE_UNKNOWN_FAILURE, 0);
		return;
	}
	set_version(bus, version);
	vmbus_log(bus, "guest connected: version %u.%u, messages to VP %u",
		  version >> 16, version & 0xffff, bus->target_vp);
	answer_contact(bus, true, VMBUS_STATE_SUCCESSFUL,
		       version >= VMBUS_VERSION_5_0 ? VMBUS_CONN_OLD : version);
}

/* Too short to be believed, long enough to be answered. */
void vmbus_refuse_contact(struct vmbus *bus, const struct vmbus_in_msg *msg)
{
	struct vmbus_wire_initiate_contact m;

	memcpy(&m, msg->data, sizeof(m));
	disconnect(bus);
	set_target(bus, le32_get(m.target_vp));
	answer_contact(bus, false, VMBUS_STATE_UNKNOWN_FAILURE, 0);
}

void vmbus_on_unload(struct vmbus *bus, const struct vmbus_in_msg *msg)
{
	struct vmbus_wire_header answer = {
		.type = le32_put(VMBUS_MSG_UNLOAD_RESPONSE),
	};

	(void)msg;
	vmbus_log(bus, "guest disconnected");
	disconnect(bus);
	vmbus_say(bus, &answer, sizeof(answer));
}

/* Sockets are not offered here: say so, or the guest waits for its time-out.
 */
void vmbus_on_tl_connect(struct vmbus *bus, const struct vmbus_in_msg *msg)
{
	struct vmbus_wire_tl_connect m;
	struct vmbus_wire_tl_result answer = {
		.hdr.type = le32_put(VMBUS_MSG_TL_CONNECT_RESULT),
		.status = le32_put(VMBUS_STATUS_CONNECTION_REFUSED),
	};

	memcpy(&m, msg->data, sizeof(m));
	memcpy(answer.endpoint, m.endpoint, sizeof(answer.endpoint));
	memcpy(answer.service, m.service, sizeof(answer.service));
	vmbus_say(bus, &answer, sizeof(answer));
}

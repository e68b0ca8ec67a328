/* SPDX-License-Identifier: BSD-2-Clause */
/* The partition behind the bus: messages and event flags into the guest's
 * SynIC pages, SINTs, and connections bound to eventfds.
 *
 * A page belongs to us only while the guest's registers say so. The guest
 * writes what it likes there; a slot's content is advice about the guest's own
 * progress and can hurt nobody else.
 *
 * KVM does the rest in the kernel: SINT registers, EOM, timers. It announces
 * emptied slots on `ack_fd`, which is looked at only while a post waits: it
 * fires at every end of interrupt.
 * Source: TLFS chapter 11; Linux drivers/hv (the guest's side of the slot).
 */
#include <errno.h>
#include <linux/kvm.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "part.h"
#include "vhd/endian.h"

#define ENABLED 1ull
#define PAGE_MASK (~(uint64_t)(HV_PAGE_BYTES - 1))
#define SLOT_BYTES 256u
#define SLOT_TYPE 0u
#define SLOT_FLAGS 4u    /* dword: payload size, flags, reserved */
#define SLOT_SENDER 8u
#define SLOT_PAYLOAD 16u
#define MESSAGE_PENDING (1u << 8) /* flag bit 0 in that dword */
#define MESSAGE_TYPE_CHANNEL 1u
#define EVENT_FLAGS_PER_SINT 2048u
#define CONNECTION_ID_MAX 0x00ffffffu

/* These cannot fail: neither allocates. */
void hv_synic_init(struct hv_synic *s)
{
	memset(s, 0, sizeof(*s));
	pthread_mutex_init(&s->lock, NULL);
	pthread_cond_init(&s->moved, NULL);
}

void hv_synic_fini(struct hv_synic *s)
{
	pthread_cond_destroy(&s->moved);
	pthread_mutex_destroy(&s->lock);
}

void hv_synic_reset(struct hv_synic *s)
{
	pthread_mutex_lock(&s->lock);
	s->control = s->message_page = s->event_page = 0;
	pthread_mutex_unlock(&s->lock);
}

void hv_synic_enter(struct hv_synic *s)
{
	pthread_mutex_lock(&s->lock);
	while (s->wanted_out)
		pthread_cond_wait(&s->moved, &s->lock);
	s->inside = true;
	pthread_mutex_unlock(&s->lock);
}

void hv_synic_leave(struct hv_synic *s)
{
	pthread_mutex_lock(&s->lock);
	s->inside = false;
	if (s->wanted_out)
		pthread_cond_signal(&s->moved);
	pthread_mutex_unlock(&s->lock);
}

/* Take the lock with the processor outside of the guest. It is outside when
 * it handles an exit as well, so this waits for nothing that waits for us.
 */
static void lock_outside(struct hv_vcpu *v)
{
	struct hv_synic *s = &v->synic;

	pthread_mutex_lock(&s->lock);
	s->wanted_out = true;
	if (s->inside)
		hv_vcpu_kick(v);
	while (s->inside)
		pthread_cond_wait(&s->moved, &s->lock);
}

static void unlock_outside(struct hv_vcpu *v)
{
	struct hv_synic *s = &v->synic;

	s->wanted_out = false;
	pthread_cond_signal(&s->moved);
	pthread_mutex_unlock(&s->lock);
}

void hv_synic_update(struct hv_vcpu *v, uint64_t control,
		     uint64_t message_page, uint64_t event_page)
{
	struct hv_synic *s = &v->synic;

	pthread_mutex_lock(&s->lock);
	s->control = control;
	s->message_page = message_page;
	s->event_page = event_page;
	pthread_mutex_unlock(&s->lock);
	vmbus_kick(v->hv->bus);
}

/* Linux sets the pages first and SCONTROL last: before that, nothing may be
 * sent, for an interrupt on a masked SINT is lost.
 */
static bool page_ready(const struct hv_synic *s, uint64_t reg, uint64_t *gpa)
{
	*gpa = reg & PAGE_MASK;
	return (s->control & ENABLED) && (reg & ENABLED);
}

static void raise_sint(struct hv_vcpu *v)
{
	uint64_t one = 1;

	/* Cannot block or fail short of a counter at its maximum, which means
	 * that the interrupt is pending anyway.
	 */
	while (write(v->sint_fd, &one, sizeof(one)) < 0 && errno == EINTR)
		;
}

/* True when the slot is empty. Where it is not, the guest is asked for an
 * end-of-message; it may have emptied the slot just before, hence the second
 * look. Pairs with the guest's: type = 0, barrier, read the flag.
 */
static int slot_claim(const struct hv_mem *mem, uint64_t slot)
{
	uint32_t type, old;

	if (hv_gpa_load32(mem, slot + SLOT_TYPE, &type) < 0)
		return -ENXIO;
	if (type == 0)
		return 0;
	if (hv_gpa_or32(mem, slot + SLOT_FLAGS, MESSAGE_PENDING, &old) < 0 ||
	    hv_gpa_load32(mem, slot + SLOT_TYPE, &type) < 0)
		return -ENXIO;
	return type == 0 ? 0 : -EAGAIN;
}

/* The type goes last: it is what tells the guest that the rest is there. */
static int slot_fill(const struct hv_mem *mem, uint64_t slot, const void *msg,
		     size_t len)
{
	struct {
		uint8_t size, flags;
		le16 reserved;
		le64 sender;
	} head = {.size = (uint8_t)len};

	if (hv_gpa_write(mem, slot + SLOT_FLAGS, &head, sizeof(head)) < 0 ||
	    hv_gpa_write(mem, slot + SLOT_PAYLOAD, msg, len) < 0 ||
	    hv_gpa_store32(mem, slot + SLOT_TYPE, MESSAGE_TYPE_CHANNEL) < 0)
		return -ENXIO;
	return 0;
}

static int synic_post(void *host, uint32_t vp, uint8_t sint, const void *msg,
		      size_t len)
{
	struct hv *hv = host;
	struct hv_vcpu *v;
	uint64_t page;
	int ret;

	if (vp >= hv->opts.cpus || sint != VMBUS_SINT ||
	    len > VMBUS_MESSAGE_BYTES_MAX)
		return -ENXIO;
	v = &hv->vcpu[vp];
	lock_outside(v);
	ret = -ENXIO;
	if (page_ready(&v->synic, v->synic.message_page, &page)) {
		uint64_t slot = page + (uint64_t)sint * SLOT_BYTES;

		ret = slot_claim(hv->mem, slot);
		if (ret == 0)
			ret = slot_fill(hv->mem, slot, msg, len);
	}
	unlock_outside(v);
	if (ret == 0)
		raise_sint(v);
	if (ret == -EAGAIN)
		hv->ack_wanted = true;
	return ret;
}

static void synic_signal(void *host, uint32_t vp, uint8_t sint, uint16_t flag)
{
	struct hv *hv = host;
	struct hv_vcpu *v;
	uint32_t bit = 1u << flag % 32, old = bit;
	uint64_t page;

	if (vp >= hv->opts.cpus || sint != VMBUS_SINT ||
	    flag >= EVENT_FLAGS_PER_SINT)
		return;
	v = &hv->vcpu[vp];
	pthread_mutex_lock(&v->synic.lock);
	if (page_ready(&v->synic, v->synic.event_page, &page)) {
		uint64_t word = page + (uint64_t)sint * SLOT_BYTES +
				flag / 32u * 4u;

		if (hv_gpa_or32(hv->mem, word, bit, &old) < 0)
			old = bit;
	}
	pthread_mutex_unlock(&v->synic.lock);
	if (!(old & bit))
		raise_sint(v);
}

static int connection(struct hv *hv, uint32_t id, int eventfd, uint32_t flags)
{
	struct kvm_hyperv_eventfd e = {
		.conn_id = id, .fd = eventfd, .flags = flags};

	if (id > CONNECTION_ID_MAX)
		return -EINVAL;
	return ioctl(hv->vm_fd, KVM_HYPERV_EVENTFD, &e) < 0 ? -errno : 0;
}

static int synic_bind(void *host, uint32_t connection_id, int eventfd)
{
	return connection(host, connection_id, eventfd, 0);
}

static void synic_unbind(void *host, uint32_t connection_id, int eventfd)
{
	/* ENOENT only if it was never bound. */
	(void)connection(host, connection_id, eventfd,
			 KVM_HYPERV_EVENTFD_DEASSIGN);
}

static uint32_t synic_vp_count(void *host)
{
	const struct hv *hv = host;

	return hv->opts.cpus;
}

const struct vmbus_host_ops hv_synic_ops = {
	.post = synic_post,
	.signal = synic_signal,
	.bind = synic_bind,
	.unbind = synic_unbind,
	.vp_count = synic_vp_count,
};

/* SPDX-License-Identifier: BSD-2-Clause */
/* Interrupt lines: the routing table of the in-kernel chips, and one irqfd per
 * processor for SINT 2.
 *
 * The table replaces KVM's own, so it lists the ISA pins again. It must be set
 * after every processor's SynIC is on: KVM silently forgets the way back (end
 * of message) for the others.
 * Source: Linux Documentation/virt/kvm/api.rst; arch/x86/kvm/irq_comm.c.
 */
#include "irq.h"

#include <errno.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "part.h"

#define IOAPIC_PINS 24u
#define PIC_PINS 16u
#define PIC_CASCADE 2u
#define TIMER_IRQ 0u
#define TIMER_PIN 2u /* as the MADT's override says */

static void add(struct hv_irq_table *t, uint32_t gsi, uint32_t chip,
		uint32_t pin)
{
	t->entries[t->nr++] = (struct kvm_irq_routing_entry){
		.gsi = gsi,
		.type = KVM_IRQ_ROUTING_IRQCHIP,
		.u.irqchip = {.irqchip = chip, .pin = pin},
	};
}

void hv_irq_table_fill(uint32_t cpus, struct hv_irq_table *t)
{
	memset(t, 0, sizeof(*t));
	for (uint32_t i = 0; i < PIC_PINS; i++)
		if (i != PIC_CASCADE)
			add(t, i, i < 8 ? KVM_IRQCHIP_PIC_MASTER
					: KVM_IRQCHIP_PIC_SLAVE, i % 8);
	for (uint32_t i = 0; i < IOAPIC_PINS; i++)
		if (i != TIMER_PIN)
			add(t, i, KVM_IRQCHIP_IOAPIC,
			    i == TIMER_IRQ ? TIMER_PIN : i);
	for (uint32_t vp = 0; vp < cpus; vp++)
		t->entries[t->nr++] = (struct kvm_irq_routing_entry){
			.gsi = HV_GSI_SINT + vp,
			.type = KVM_IRQ_ROUTING_HV_SINT,
			.u.hv_sint = {.vcpu = vp, .sint = VMBUS_SINT},
		};
}

static int new_eventfd(struct vhd_err *err)
{
	int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);

	if (fd < 0)
		return vhd_fail(err, -errno, VHD_WHY_SYSTEM, 0,
				"cannot create an eventfd: %s",
				strerror(errno));
	return fd;
}

static int assign(struct hv *hv, struct hv_vcpu *v, struct vhd_err *err)
{
	struct kvm_irqfd irqfd = {
		.gsi = HV_GSI_SINT + v->index,
		.flags = KVM_IRQFD_FLAG_RESAMPLE,
		.resamplefd = (uint32_t)hv->ack_fd,
	};
	int fd = new_eventfd(err);

	if (fd < 0)
		return fd;
	v->sint_fd = fd;
	irqfd.fd = (uint32_t)fd;
	if (ioctl(hv->vm_fd, KVM_IRQFD, &irqfd) < 0)
		return vhd_fail(err, -errno, VHD_WHY_SYSTEM, 0,
				"KVM refuses an interrupt for processor %u: %s",
				v->index, strerror(errno));
	return 0;
}

int hv_irq_setup(struct hv *hv, struct vhd_err *err)
{
	struct hv_irq_table table;
	int ret = 0;

	hv_irq_table_fill(hv->opts.cpus, &table);
	if (ioctl(hv->vm_fd, KVM_SET_GSI_ROUTING, &table) < 0)
		return vhd_fail(err, -errno, VHD_WHY_SYSTEM, 0,
				"KVM refuses the interrupt routing: %s",
				strerror(errno));
	hv->ack_fd = new_eventfd(err);
	if (hv->ack_fd < 0)
		return hv->ack_fd;
	for (uint32_t i = 0; i < hv->opts.cpus && ret == 0; i++)
		ret = assign(hv, &hv->vcpu[i], err);
	return ret;
}

static void close_one(int *fd)
{
	if (*fd >= 0)
		(void)close(*fd);
	*fd = -1;
}

void hv_irq_fini(struct hv *hv)
{
	for (uint32_t i = 0; i < hv->opts.cpus; i++)
		close_one(&hv->vcpu[i].sint_fd);
	close_one(&hv->ack_fd);
	hv->ack_wanted = false;
}

void hv_irq_line(struct hv *hv, unsigned line, bool level)
{
	struct kvm_irq_level irq = {.irq = line, .level = level};

	/* Fails only without an irqchip, which hv_create made. */
	(void)ioctl(hv->vm_fd, KVM_IRQ_LINE, &irq);
}

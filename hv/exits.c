/* SPDX-License-Identifier: BSD-2-Clause */
/* Why a processor left the guest, and what is done then, in its thread.
 * Source: Linux Documentation/virt/kvm/api.rst, section 5.
 */
#include <errno.h>
#include <linux/kvm.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>

#include "boot_bios.h"
#include "chip/fwcfg.h"
#include "hypercall.h"
#include "part.h"

bool hv_vcpu_fail(struct hv_vcpu *v, const char *fmt, ...)
{
	char text[sizeof(v->err.text)];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	(void)vhd_fail(&v->err, -EIO, VHD_WHY_SYSTEM, 0, "%s", text);
	hv_end_set(v->hv, HV_END_FAILED, v->index);
	return false;
}

static void say_crash(struct hv_vcpu *v)
{
	struct {
		uint32_t nmsrs, pad;
		struct kvm_msr_entry entries[5];
	} m = {.nmsrs = 5};

	for (uint32_t i = 0; i < 5; i++)
		m.entries[i].index = 0x40000100 + i;
	if (ioctl(v->fd, KVM_GET_MSRS, &m) != 5) {
		hv_say(v->hv, "the guest crashed");
		return;
	}
	hv_say(v->hv,
	       "the guest crashed: P0=%#llx P1=%#llx P2=%#llx P3=%#llx "
	       "P4=%#llx",
	       (unsigned long long)m.entries[0].data,
	       (unsigned long long)m.entries[1].data,
	       (unsigned long long)m.entries[2].data,
	       (unsigned long long)m.entries[3].data,
	       (unsigned long long)m.entries[4].data);
}

static bool on_io(struct hv_vcpu *v)
{
	struct kvm_run *r = v->run;
	uint8_t *data = (uint8_t *)r + r->io.data_offset;
	bool out = r->io.direction == KVM_EXIT_IO_OUT;
	int ret;

	if (v->hv->bios && out && hv_bios_is_port(r->io.port)) {
		ret = hv_bios_exit(v, r->io.port);
		return ret == 0 ||
		       hv_vcpu_fail(v, "KVM keeps a processor's registers: %s",
				    strerror(-ret));
	}
	if (out)
		hv_board_out(v->hv->board, r->io.port, r->io.size, r->io.count,
			     data);
	else
		hv_board_in(v->hv->board, r->io.port, r->io.size, r->io.count,
			    data);
	return true;
}

/* Nothing lives in the hole that KVM does not serve itself. */
static bool on_mmio(struct hv_vcpu *v)
{
	if (!v->run->mmio.is_write)
		memset(v->run->mmio.data, 0xff, sizeof(v->run->mmio.data));
	return true;
}

static bool on_hyperv(struct hv_vcpu *v)
{
	struct kvm_hyperv_exit *x = &v->run->hyperv;

	switch (x->type) {
	case KVM_EXIT_HYPERV_SYNIC:
		hv_synic_update(v, x->u.synic.control, x->u.synic.msg_page,
				x->u.synic.evt_page);
		return true;
	case KVM_EXIT_HYPERV_HCALL:
		x->u.hcall.result = hv_hypercall(v->hv->mem, v->hv->bus,
						 x->u.hcall.input,
						 x->u.hcall.params[0]);
		return true;
	}
	return hv_vcpu_fail(v, "unexpected Hyper-V exit %u", x->type);
}

static bool on_system_event(struct hv_vcpu *v)
{
	switch (v->run->system_event.type) {
	case KVM_SYSTEM_EVENT_SHUTDOWN:
		hv_end_set(v->hv, HV_END_POWEROFF, v->index);
		return false;
	case KVM_SYSTEM_EVENT_RESET:
		hv_end_set(v->hv, HV_END_RESET, v->index);
		return false;
	case KVM_SYSTEM_EVENT_CRASH:
		say_crash(v);
		hv_end_set(v->hv, HV_END_CRASH, v->index);
		return false;
	}
	return hv_vcpu_fail(v, "unexpected system event %u",
			    v->run->system_event.type);
}

static bool on_shutdown(struct hv_vcpu *v)
{
	hv_end_set(v->hv, HV_END_TRIPLE_FAULT, v->index);
	return false;
}

unsigned long long hv_vcpu_where(struct hv_vcpu *v)
{
	struct kvm_regs regs;

	return ioctl(v->fd, KVM_GET_REGS, &regs) == 0 ? regs.rip : 0;
}

static bool on_fail_entry(struct hv_vcpu *v)
{
	uint64_t why = v->run->fail_entry.hardware_entry_failure_reason;

	return hv_vcpu_fail(v, "the processor refuses to enter the guest "
			       "(reason %#llx, rip %#llx)",
			    (unsigned long long)why, hv_vcpu_where(v));
}

static bool on_internal_error(struct hv_vcpu *v)
{
	return hv_vcpu_fail(v, "KVM cannot go on (internal error %u, rip "
			       "%#llx)",
			    v->run->internal.suberror, hv_vcpu_where(v));
}

static enum hv_cause cause_of_port(uint16_t port)
{
	static const struct {
		uint16_t first, last;
		enum hv_cause cause;
	} ports[] = {
		{HV_PORT_COM1, HV_PORT_COM1 + 7, HV_CAUSE_SERIAL},
		{HV_PORT_CMOS, HV_PORT_CMOS + 1, HV_CAUSE_CLOCK},
		{HV_PORT_PM1_EVENT, HV_PORT_PM1_CONTROL + 1, HV_CAUSE_POWER},
		{HV_PORT_RESET, HV_PORT_RESET, HV_CAUSE_POWER},
		{HV_PORT_KBD, HV_PORT_KBD, HV_CAUSE_POWER},
		{0xcf8, 0xcff, HV_CAUSE_PCI},
		{HV_FWCFG_PORT, HV_FWCFG_PORT_LAST, HV_CAUSE_FIRMWARE},
		{HV_INT13_CALL, HV_INT13_PORT_LAST, HV_CAUSE_FIRMWARE},
	};

	for (size_t i = 0; i < sizeof(ports) / sizeof(ports[0]); i++)
		if (port >= ports[i].first && port <= ports[i].last)
			return ports[i].cause;
	return HV_CAUSE_PORT;
}

static void count_exit(struct hv_vcpu *v)
{
	enum hv_cause cause = HV_CAUSE_OTHER;
	uint64_t n;

	switch (v->run->exit_reason) {
	case KVM_EXIT_IO:
		cause = cause_of_port(v->run->io.port);
		break;
	case KVM_EXIT_MMIO:
		cause = HV_CAUSE_MEMORY;
		break;
	case KVM_EXIT_HYPERV:
		cause = HV_CAUSE_HYPERV;
		break;
	}
	/* One writer: no need for an addition that others cannot split. */
	n = atomic_load_explicit(&v->left[cause], memory_order_relaxed);
	atomic_store_explicit(&v->left[cause], n + 1, memory_order_relaxed);
}

static const struct {
	uint32_t reason;
	bool (*handle)(struct hv_vcpu *v); /* false: leave the loop */
} exits[] = {
	{KVM_EXIT_IO, on_io},
	{KVM_EXIT_HYPERV, on_hyperv},
	{KVM_EXIT_MMIO, on_mmio},
	{KVM_EXIT_SYSTEM_EVENT, on_system_event},
	{KVM_EXIT_SHUTDOWN, on_shutdown},
	{KVM_EXIT_FAIL_ENTRY, on_fail_entry},
	{KVM_EXIT_INTERNAL_ERROR, on_internal_error},
};

bool hv_vcpu_exit(struct hv_vcpu *v)
{
	count_exit(v);
	for (size_t i = 0; i < sizeof(exits) / sizeof(exits[0]); i++)
		if (exits[i].reason == v->run->exit_reason)
			return exits[i].handle(v);
	return hv_vcpu_fail(v, "unexpected exit %u from the guest (rip %#llx)",
			    v->run->exit_reason, hv_vcpu_where(v));
}

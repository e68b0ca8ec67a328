/* SPDX-License-Identifier: BSD-2-Clause */
/* A machine: what KVM has of a partition. The order of creation is KVM's:
 * chips, memory, processors with their SynICs, interrupt routing, CPUID.
 *
 * The first one is built before the sandbox is entered, those of later resets
 * in it: all they need is KVM's descriptor and what is kept in struct hv.
 * Source: Linux Documentation/virt/kvm/api.rst.
 */
#include "part.h"

#include <errno.h>
#include <linux/kvm.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "kvm.h"

/* Intel processors need four pages of address space for their own use in real
 * mode; here, at the end of the hole, nobody misses them.
 */
#define IDENTITY_MAP_GPA 0xfffbc000ull
#define TSS_GPA 0xfffbd000ul

static int refused(const char *what, struct vhd_err *err)
{
	return vhd_fail(err, -errno, VHD_WHY_SYSTEM, 0, "KVM refuses %s: %s",
			what, strerror(errno));
}

static int create_vm(struct hv *hv, struct vhd_err *err)
{
	struct kvm_pit_config pit = {.flags = KVM_PIT_SPEAKER_DUMMY};
	uint64_t identity = IDENTITY_MAP_GPA;

	hv->vm_fd = hv_kvm_create_vm(hv->kvm_fd);
	if (hv->vm_fd < 0)
		return refused("a virtual machine", err);
	if (ioctl(hv->vm_fd, KVM_SET_IDENTITY_MAP_ADDR, &identity) < 0)
		return refused("the identity map", err);
	if (ioctl(hv->vm_fd, KVM_SET_TSS_ADDR, TSS_GPA) < 0)
		return refused("the TSS address", err);
	if (ioctl(hv->vm_fd, KVM_CREATE_IRQCHIP, 0) < 0)
		return refused("an interrupt controller", err);
	if (ioctl(hv->vm_fd, KVM_CREATE_PIT2, &pit) < 0)
		return refused("a timer chip", err);
	return 0;
}

/* What KVM supports, asked for once: in the sandbox it cannot be asked any
 * more. Old kernels tell their Hyper-V leaves by a processor only.
 */
static int ask_cpuid(struct hv *hv, struct vhd_err *err)
{
	struct hv_cpuid *c = calloc(2, sizeof(*c));
	int fd = hv->kvm_fd;

	if (!c)
		return vhd_fail(err, -ENOMEM, VHD_WHY_NOMEM, 0,
				"out of memory");
	hv->kvm_cpuid = c;
	c[0].nent = c[1].nent = HV_CPUID_ENTRIES_MAX;
	if (ioctl(fd, KVM_GET_SUPPORTED_CPUID, &c[0]) < 0)
		return refused("its CPUID", err);
	if (ioctl(fd, KVM_CHECK_EXTENSION, KVM_CAP_SYS_HYPERV_CPUID) <= 0)
		fd = hv->vcpu[0].fd;
	if (ioctl(fd, KVM_GET_SUPPORTED_HV_CPUID, &c[1]) < 0)
		return refused("the Hyper-V CPUID", err);
	if (ioctl(hv->kvm_fd, KVM_CHECK_EXTENSION, KVM_CAP_TSC_DEADLINE_TIMER) >
	    0)
		hv_cpuid_tsc_deadline(&c[0]);
	if (hv_kvm_hardware_apic())
		hv_cpuid_hardware_apic(&c[1]);
	if (hv->opts.no_flush_call)
		hv_cpuid_forget_flush(&c[1]);
	return 0;
}

static int ask_size(struct hv *hv, struct vhd_err *err)
{
	int bytes = ioctl(hv->kvm_fd, KVM_GET_VCPU_MMAP_SIZE, 0);
	int max = ioctl(hv->kvm_fd, KVM_CHECK_EXTENSION, KVM_CAP_MAX_VCPUS);

	if (bytes < (int)sizeof(struct kvm_run))
		return refused("processors", err);
	hv->run_bytes = (size_t)bytes;
	if (max > 0 && hv->opts.cpus > (uint32_t)max)
		return vhd_fail(err, -EINVAL, VHD_WHY_ARGUMENT, 0,
				"this kernel's KVM runs at most %d processors",
				max);
	return 0;
}

static int create_cpus(struct hv *hv, struct vhd_err *err)
{
	int ret = hv->run_bytes ? 0 : ask_size(hv, err);

	for (uint32_t i = 0; i < hv->opts.cpus && ret == 0; i++)
		ret = hv_vcpu_create(&hv->vcpu[i], err);
	if (ret == 0)
		ret = hv_irq_setup(hv, err);
	if (ret == 0 && !hv->kvm_cpuid)
		ret = ask_cpuid(hv, err);
	for (uint32_t i = 0; i < hv->opts.cpus && ret == 0; i++)
		ret = hv_vcpu_setup(&hv->vcpu[i], err);
	return ret;
}

int hv_machine_build(struct hv *hv, struct vhd_err *err)
{
	int ret = create_vm(hv, err);

	if (ret == 0)
		ret = hv_ram_give(&hv->ram, hv->vm_fd, err);
	if (ret == 0)
		ret = create_cpus(hv, err);
	return ret;
}

/* KVM lets go of it all with the last of these. */
void hv_machine_destroy(struct hv *hv)
{
	for (uint32_t i = 0; i < hv->opts.cpus; i++)
		hv_vcpu_destroy(&hv->vcpu[i]);
	hv_irq_fini(hv);
	if (hv->vm_fd >= 0)
		(void)close(hv->vm_fd);
	hv->vm_fd = -1;
}

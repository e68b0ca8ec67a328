/* SPDX-License-Identifier: BSD-2-Clause */
/* /dev/kvm. See kvm.h. Its presence alone proves nothing: the module may be
 * loaded, the device node open, and the processor without virtualization.
 */
#include "kvm.h"

#include <cpuid.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <stdbool.h>
#include <stddef.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "cpuid.h"
#include "hv.h"

unsigned hv_kvm_phys_bits(void)
{
	unsigned a, b, c, d;

	if (!__get_cpuid(0x80000008, &a, &b, &c, &d) || (a & 0xff) == 0)
		return 36;
	return a & 0xff;
}

static const struct {
	int cap;
	const char *name;
} needed[] = {
	{KVM_CAP_IRQCHIP, "an interrupt controller"},
	{KVM_CAP_USER_MEMORY, "user memory"},
	{KVM_CAP_SET_TSS_ADDR, "SET_TSS_ADDR"},
	{KVM_CAP_PIT2, "a timer chip"},
	{KVM_CAP_IRQ_ROUTING, "interrupt routing"},
	{KVM_CAP_IRQFD, "irqfd"},
	{KVM_CAP_IRQFD_RESAMPLE, "irqfd resampling"},
	{KVM_CAP_EXT_CPUID, "CPUID"},
	{KVM_CAP_HYPERV, "Hyper-V support"},
	{KVM_CAP_HYPERV_SYNIC2, "the Hyper-V SynIC (CONFIG_KVM_HYPERV)"},
	{KVM_CAP_HYPERV_VP_INDEX, "Hyper-V VP indices"},
	{KVM_CAP_HYPERV_EVENTFD, "Hyper-V event eventfds"},
	{KVM_CAP_HYPERV_CPUID, "Hyper-V CPUID"},
};

static int check_capabilities(int fd, struct vhd_err *err)
{
	int version = ioctl(fd, KVM_GET_API_VERSION, 0);

	if (version != KVM_API_VERSION)
		return vhd_fail(err, -ENOTSUP, VHD_WHY_UNSUPPORTED, 0,
				"/dev/kvm speaks API version %d, not %d",
				version, KVM_API_VERSION);
	for (size_t i = 0; i < sizeof(needed) / sizeof(needed[0]); i++)
		if (ioctl(fd, KVM_CHECK_EXTENSION, needed[i].cap) <= 0)
			return vhd_fail(err, -ENOTSUP, VHD_WHY_UNSUPPORTED, 0,
					"this kernel's KVM lacks %s",
					needed[i].name);
	return 0;
}

int hv_kvm_open(int *fd, struct vhd_err *err)
{
	int f, ret;

	if (!hv_cpu_virtualizes())
		return vhd_fail(err, -ENODEV, VHD_WHY_UNSUPPORTED, 0,
				"this processor shows no virtualization (no "
				"vmx or svm flag)");
	f = open("/dev/kvm", O_RDWR | O_CLOEXEC);
	if (f < 0)
		return vhd_fail(err, -errno, VHD_WHY_SYSTEM, 0,
				"cannot open /dev/kvm: %s%s", strerror(errno),
				errno == EACCES ? " (join the group kvm)" : "");
	ret = check_capabilities(f, err);
	if (ret < 0) {
		(void)close(f);
		return ret;
	}
	*fd = f;
	return 0;
}

bool hv_kvm_hardware_apic(void)
{
	static const char *const modules[] = {
		"/sys/module/kvm_intel/parameters/enable_apicv",
		"/sys/module/kvm_amd/parameters/avic",
	};

	for (size_t i = 0; i < sizeof(modules) / sizeof(modules[0]); i++) {
		int fd = open(modules[i], O_RDONLY | O_CLOEXEC);
		char c = 'Y';
		ssize_t n;

		if (fd < 0)
			continue;
		n = read(fd, &c, 1);
		(void)close(fd);
		return n != 1 || (c != 'N' && c != '0');
	}
	return true;
}

int hv_kvm_create_vm(int kvm_fd)
{
	int fd;

	do
		fd = ioctl(kvm_fd, KVM_CREATE_VM, 0);
	while (fd < 0 && errno == EINTR);
	return fd;
}

bool hv_present(struct vhd_err *err)
{
	int kvm_fd;

	if (hv_kvm_open(&kvm_fd, err) < 0)
		return false;
	(void)close(kvm_fd);
	return true;
}

bool hv_available(struct vhd_err *err)
{
	int kvm_fd, vm_fd, ret = hv_kvm_open(&kvm_fd, err);

	if (ret < 0)
		return false;
	vm_fd = hv_kvm_create_vm(kvm_fd);
	if (vm_fd < 0)
		(void)vhd_fail(err, -errno, VHD_WHY_SYSTEM, 0,
			       "KVM cannot create a virtual machine: %s",
			       strerror(errno));
	else
		(void)close(vm_fd);
	(void)close(kvm_fd);
	return vm_fd >= 0;
}

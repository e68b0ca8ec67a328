/* SPDX-License-Identifier: BSD-2-Clause */
/* A partition from its creation to its end. The order of creation is KVM's:
 * chips, processors with their SynICs, interrupt routing, CPUID, memory.
 */
#include "part.h"

#include <errno.h>
#include <linux/kvm.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

#include "boot_linux.h"
#include "kvm.h"

/* Intel processors need four pages of address space for their own use in real
 * mode; here, at the end of the hole, nobody misses them.
 */
#define IDENTITY_MAP_GPA 0xfffbc000ull
#define TSS_GPA 0xfffbd000ul

void hv_wake(struct hv *hv)
{
	uint64_t one = 1;

	while (write(hv->wake_fd, &one, sizeof(one)) < 0 && errno == EINTR)
		;
}

void hv_end_set(struct hv *hv, enum hv_end end, uint32_t vcpu)
{
	uint32_t none = HV_END_NONE;

	if (atomic_compare_exchange_strong(&hv->end, &none,
					   (uint32_t)end | vcpu << 8))
		hv_wake(hv);
}

void hv_stop(struct hv *hv)
{
	int saved = errno;

	hv_end_set(hv, HV_END_STOPPED, 0);
	errno = saved;
}

void hv_say(struct hv *hv, const char *fmt, ...)
{
	char line[256];
	va_list ap;

	if (!hv->opts.log)
		return;
	va_start(ap, fmt);
	vsnprintf(line, sizeof(line), fmt, ap);
	va_end(ap);
	hv->opts.log(hv->opts.log_arg, line);
}

/* ---------------------------------------------------- board callbacks --- */

static void board_irq(void *arg, unsigned line, bool level)
{
	hv_irq_line(arg, line, level);
}

static void board_power(void *arg, enum hv_pm_request what)
{
	hv_end_set(arg, what == HV_PM_OFF ? HV_END_POWEROFF : HV_END_RESET, 0);
}

static void board_wake(void *arg)
{
	hv_wake(arg);
}

static int64_t board_now(void *arg)
{
	(void)arg;
	return (int64_t)time(NULL);
}

static const struct hv_board_ops board_ops = {
	.irq = board_irq,
	.power = board_power,
	.wake = board_wake,
	.now_s = board_now,
};

/* ------------------------------------------------------------- create --- */

static int refused(const char *what, struct vhd_err *err)
{
	return vhd_fail(err, -errno, VHD_WHY_SYSTEM, 0, "KVM refuses %s: %s",
			what, strerror(errno));
}

static int create_vm(struct hv *hv, struct vhd_err *err)
{
	struct kvm_pit_config pit = {.flags = KVM_PIT_SPEAKER_DUMMY};
	uint64_t identity = IDENTITY_MAP_GPA;
	int bytes;

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
	bytes = ioctl(hv->kvm_fd, KVM_GET_VCPU_MMAP_SIZE, 0);
	if (bytes < (int)sizeof(struct kvm_run))
		return refused("processors", err);
	hv->run_bytes = (size_t)bytes;
	return 0;
}

static int check_cpus(struct hv *hv, struct vhd_err *err)
{
	int max = ioctl(hv->kvm_fd, KVM_CHECK_EXTENSION, KVM_CAP_MAX_VCPUS);

	if (max > 0 && hv->opts.cpus > (uint32_t)max)
		return vhd_fail(err, -EINVAL, VHD_WHY_ARGUMENT, 0,
				"this kernel's KVM runs at most %d processors",
				max);
	return 0;
}

static int setup_cpus(struct hv *hv, struct vhd_err *err)
{
	struct hv_cpuid *host = calloc(1, sizeof(*host));
	int ret = 0;

	if (!host)
		return vhd_fail(err, -ENOMEM, VHD_WHY_NOMEM, 0,
				"out of memory");
	host->nent = HV_CPUID_ENTRIES_MAX;
	if (ioctl(hv->kvm_fd, KVM_GET_SUPPORTED_CPUID, host) < 0)
		ret = refused("its CPUID", err);
	for (uint32_t i = 0; i < hv->opts.cpus && ret == 0; i++)
		ret = hv_vcpu_setup(&hv->vcpu[i], host, err);
	free(host);
	return ret;
}

static int create_cpus(struct hv *hv, struct vhd_err *err)
{
	int ret = check_cpus(hv, err);

	for (uint32_t i = 0; i < hv->opts.cpus && ret == 0; i++)
		ret = hv_vcpu_create(hv, i, err);
	if (ret == 0)
		ret = hv_irq_setup(hv, err);
	if (ret == 0)
		ret = setup_cpus(hv, err);
	return ret;
}

static int create_bus(struct hv *hv, struct vhd_err *err)
{
	struct vmbus_opts o = {
		.mem = hv->mem,
		.ops = &hv_synic_ops,
		.host = hv,
		.log = hv->opts.log,
		.log_arg = hv->opts.log_arg,
	};

	return vmbus_create(&o, &hv->bus, err);
}

static int create_parts(struct hv *hv, struct vhd_err *err)
{
	int ret = hv_kvm_open(&hv->kvm_fd, err);

	if (ret < 0)
		return ret;
	ret = hv_layout_set(hv->opts.memory_bytes, hv_kvm_phys_bits(),
			    &hv->layout, err);
	if (ret < 0)
		return ret;
	hv->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (hv->wake_fd < 0)
		return vhd_fail(err, -errno, VHD_WHY_SYSTEM, 0,
				"cannot create an eventfd: %s",
				strerror(errno));
	if (hv_mem_create(&hv->mem) < 0 ||
	    hv_board_create(&board_ops, hv, &hv->board) < 0)
		return vhd_fail(err, -ENOMEM, VHD_WHY_NOMEM, 0,
				"out of memory");
	ret = create_vm(hv, err);
	if (ret == 0)
		ret = hv_ram_create(&hv->ram, &hv->layout, hv->vm_fd, hv->mem,
				    err);
	if (ret == 0)
		ret = create_bus(hv, err);
	if (ret == 0)
		ret = create_cpus(hv, err);
	return ret;
}

int hv_create(const struct hv_opts *opts, struct hv **out, struct vhd_err *err)
{
	struct hv *hv;
	int ret;

	if (opts->cpus < 1 || opts->cpus > HV_CPUS_MAX)
		return vhd_fail(err, -EINVAL, VHD_WHY_ARGUMENT, 0,
				"a guest has 1 to %d processors, not %u",
				HV_CPUS_MAX, opts->cpus);
	hv = calloc(1, sizeof(*hv) + opts->cpus * sizeof(hv->vcpu[0]));
	if (!hv)
		return vhd_fail(err, -ENOMEM, VHD_WHY_NOMEM, 0,
				"out of memory");
	hv->opts = *opts;
	hv->kvm_fd = hv->vm_fd = hv->wake_fd = hv->ack_fd = -1;
	atomic_init(&hv->end, HV_END_NONE);
	sem_init(&hv->gate, 0, 0);
	for (uint32_t i = 0; i < opts->cpus; i++) {
		struct hv_vcpu *v = &hv->vcpu[i];

		v->hv = hv;
		v->index = i;
		v->fd = v->sint_fd = -1;
		hv_synic_init(&v->synic);
	}
	ret = create_parts(hv, err);
	if (ret < 0) {
		hv_destroy(hv);
		return ret;
	}
	*out = hv;
	return 0;
}

void hv_destroy(struct hv *hv)
{
	if (!hv)
		return;
	vmbus_destroy(hv->bus);
	for (uint32_t i = 0; i < hv->opts.cpus; i++)
		hv_vcpu_destroy(&hv->vcpu[i]);
	hv_irq_fini(hv);
	if (hv->vm_fd >= 0)
		(void)close(hv->vm_fd);
	if (hv->kvm_fd >= 0)
		(void)close(hv->kvm_fd);
	hv_ram_destroy(&hv->ram);
	hv_mem_destroy(hv->mem);
	hv_board_destroy(hv->board);
	if (hv->wake_fd >= 0)
		(void)close(hv->wake_fd);
	sem_destroy(&hv->gate);
	free(hv);
}

/* ---------------------------------------------------------------- use --- */

int hv_boot_linux(struct hv *hv, const char *kernel_path,
		  const char *initrd_path, const char *cmdline,
		  struct vhd_err *err)
{
	const struct hv_boot_files files = {kernel_path, initrd_path, cmdline};
	uint64_t entry;
	int ret = hv_boot_linux_load(hv->mem, &hv->layout, hv->opts.cpus,
				     &files, &entry, err);

	if (ret == 0)
		ret = hv_vcpu_enter_linux(&hv->vcpu[0], entry, err);
	hv->loaded = ret == 0;
	return ret;
}

struct hv_mem *hv_memory(struct hv *hv)
{
	return hv->mem;
}

struct vmbus *hv_bus(struct hv *hv)
{
	return hv->bus;
}

void hv_vcpus_stop(struct hv *hv)
{
	hv_board_stop(hv->board);
	if (hv->opts.disks_hurry)
		hv->opts.disks_hurry(hv->opts.disks_arg, true);
	for (uint32_t i = 0; i < hv->opts.cpus; i++)
		hv_vcpu_join(&hv->vcpu[i]);
}

static int control_begins(struct hv *hv, struct vhd_err *err)
{
	const struct hv_opts *o = &hv->opts;

	return o->thread_begins
		       ? o->thread_begins(o->thread_arg, HV_THREAD_CONTROL, err)
		       : 0;
}

enum hv_end hv_run(struct hv *hv, struct vhd_err *err)
{
	uint32_t end, vcpu, i;
	int ret = 0;

	if (!hv->loaded) {
		(void)vhd_fail(err, -EINVAL, VHD_WHY_ARGUMENT, 0,
			       "nothing was loaded to run");
		return HV_END_FAILED;
	}
	/* The first one last: it wakes the others. */
	for (i = hv->opts.cpus; i-- > 0 && ret == 0;)
		ret = hv_vcpu_start(&hv->vcpu[i], err);
	if (ret == 0)
		ret = control_begins(hv, err);
	if (ret < 0)
		hv_end_set(hv, HV_END_FAILED, 0);
	for (i = 0; i < hv->opts.cpus; i++)
		(void)sem_post(&hv->gate);
	if (ret < 0) {
		hv_vcpus_stop(hv);
		return HV_END_FAILED;
	}
	hv_control_run(hv);
	vmbus_reset(hv->bus);
	end = atomic_load(&hv->end) & 0xff;
	vcpu = atomic_load(&hv->end) >> 8;
	if (end == HV_END_FAILED && err)
		*err = hv->vcpu[vcpu].err;
	return (enum hv_end)end;
}

void hv_say_state(struct hv *hv)
{
	for (uint32_t i = 0; i < hv->opts.cpus; i++)
		hv_vcpu_say_state(&hv->vcpu[i]);
}

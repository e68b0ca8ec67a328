/* SPDX-License-Identifier: BSD-2-Clause */
/* A partition from its creation to its end: what outlives its machines. */
#include "part.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include "boot_linux.h"
#include "kvm.h"
#include "piix.h"

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
	ret = hv_console_create(hv, err);
	if (ret == 0)
		ret = hv_ram_create(&hv->ram, &hv->layout, hv->mem, err);
	if (ret == 0)
		ret = create_bus(hv, err);
	return ret == 0 ? hv_machine_build(hv, err) : ret;
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
	hv->sleeps_badly = hv_rouse_needed();
	hv->kvm_fd = hv->vm_fd = hv->wake_fd = hv->ack_fd = -1;
	atomic_init(&hv->end, HV_END_NONE);
	hv_life_init(hv);
	for (uint32_t i = 0; i < opts->cpus; i++)
		hv_vcpu_init(&hv->vcpu[i], hv, i);
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
	vmbus_destroy(hv->bus); /* with channels that the machine knows of */
	hv_machine_destroy(hv);
	hv_console_end(hv);
	hv_life_fini(hv);
	for (uint32_t i = 0; i < hv->opts.cpus; i++)
		hv_vcpu_fini(&hv->vcpu[i]);
	if (hv->boot)
		hv->boot->close(hv);
	if (hv->kvm_fd >= 0)
		(void)close(hv->kvm_fd);
	hv_ram_destroy(&hv->ram);
	hv_mem_destroy(hv->mem);
	hv_board_destroy(hv->board);
	hv_piix_destroy(hv->piix);
	if (hv->wake_fd >= 0)
		(void)close(hv->wake_fd);
	free(hv->kvm_cpuid);
	free(hv);
}

/* ---------------------------------------------------------------- use --- */

static int linux_load(struct hv *hv, struct vhd_err *err)
{
	struct hv_boot_entry entry;
	int ret = hv_boot_image_load(hv->linux_image, hv->mem, &hv->layout,
				     hv->opts.cpus, hv->piix, &entry, err);

	return ret == 0 ? hv_vcpu_enter_linux(&hv->vcpu[0], &entry, err) : ret;
}

static void linux_close(struct hv *hv)
{
	hv_boot_image_close(hv->linux_image);
}

static const struct hv_boot linux_boot = {linux_load, linux_close};

int hv_boot_linux(struct hv *hv, const char *kernel_path,
		  const char *initrd_path, const char *cmdline,
		  struct vhd_err *err)
{
	const struct hv_boot_files files = {kernel_path, initrd_path, cmdline};
	int ret = hv_boot_image_open(&files, &hv->layout, &hv->linux_image,
				     err);

	if (ret < 0)
		return ret;
	hv->boot = &linux_boot;
	return hv->boot->load(hv, err);
}

static void ide_irq(void *arg, unsigned channel, bool level)
{
	hv_irq_line(arg, HV_IRQ_IDE + channel, level);
}

int hv_add_ide(struct hv *hv, const struct hv_disk *const disks[HV_IDE_POSITIONS],
	       struct vhd_err *err)
{
	int ret = hv_piix_create(hv->board, hv->mem, disks, ide_irq, hv,
				 &hv->piix);

	if (ret < 0)
		return vhd_fail(err, ret, VHD_WHY_ARGUMENT, 0,
				"cannot add an IDE controller: %s",
				strerror(-ret));
	return 0;
}

struct hv_mem *hv_memory(struct hv *hv)
{
	return hv->mem;
}

struct vmbus *hv_bus(struct hv *hv)
{
	return hv->bus;
}

/* ---------------------------------------------------------------- run --- */

static int control_begins(struct hv *hv, struct vhd_err *err)
{
	const struct hv_opts *o = &hv->opts;

	return o->thread_begins
		       ? o->thread_begins(o->thread_arg, HV_THREAD_CONTROL, err)
		       : 0;
}

/* All threads are through their beginning before a guest has its first. */
static int begin(struct hv *hv, struct vhd_err *err)
{
	int ret = hv_console_begin(hv, err);

	for (uint32_t i = 0; i < hv->opts.cpus && ret == 0; i++)
		ret = hv_vcpu_start(&hv->vcpu[i], err);
	for (uint32_t i = 0; i < hv->opts.cpus && ret == 0; i++)
		ret = hv_vcpu_ready(&hv->vcpu[i], err);
	return ret == 0 ? control_begins(hv, err) : ret;
}

static enum hv_end run(struct hv *hv, struct vhd_err *err)
{
	uint32_t end, vcpu;

	if (!hv->boot) {
		(void)vhd_fail(err, -EINVAL, VHD_WHY_ARGUMENT, 0,
			       "nothing was loaded to run");
		return HV_END_FAILED;
	}
	if (begin(hv, err) < 0) {
		atomic_store(&hv->end, HV_END_FAILED);
		err = NULL; /* it is told */
	} else {
		hv_vcpus_go(hv);
		hv_control_run(hv);
	}
	for (uint32_t i = 0; i < hv->opts.cpus; i++)
		hv_vcpu_join(&hv->vcpu[i]);
	hv_console_end(hv);
	end = atomic_load(&hv->end) & 0xff;
	vcpu = atomic_load(&hv->end) >> 8;
	if (end == HV_END_FAILED && err)
		*err = hv->vcpu[vcpu].err;
	return (enum hv_end)end;
}

static int create_rouse(struct hv *hv, struct vhd_err *err)
{
	int ret = hv_rouse_create(hv);

	if (ret == 0)
		return 0;
	return vhd_fail(err, ret, VHD_WHY_ARGUMENT, 0,
			"too many things to look after");
}

enum hv_end hv_run(struct hv *hv, struct vhd_err *err)
{
	enum hv_end end = HV_END_FAILED;

	/* Offered last: the guest finds its disks first. */
	if (hv_services_create(hv, err) == 0 && create_rouse(hv, err) == 0)
		end = run(hv, err);
	hv_asks_end(hv); /* whoever asked is told, however it ended */
	return end;
}

void hv_get_stats(const struct hv *hv, struct hv_stats *out)
{
	memset(out, 0, sizeof(*out));
	out->entered_ns = atomic_load(&hv->entered_ns);
	for (uint32_t i = 0; i < hv->opts.cpus; i++)
		for (unsigned c = 0; c < HV_CAUSES; c++)
			out->left[c] += atomic_load_explicit(
				&hv->vcpu[i].left[c], memory_order_relaxed);
	for (uint32_t i = 0; i < hv->opts.cpus; i++)
		out->roused += atomic_load(&hv->vcpu[i].roused);
}

void hv_tell_state(struct hv *hv)
{
	int saved = errno;

	atomic_fetch_add(&hv->tell, 1);
	for (uint32_t i = 0; i < hv->opts.cpus; i++)
		hv_vcpu_kick(&hv->vcpu[i]);
	errno = saved;
}

void hv_say_state(struct hv *hv)
{
	for (uint32_t i = 0; i < hv->opts.cpus; i++)
		hv_vcpu_say_state(&hv->vcpu[i]);
}

/* SPDX-License-Identifier: BSD-2-Clause */
/* Run a guest on this machine's KVM: partition, controllers, disks, and the
 * way down in the opposite order; the images are committed last.
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "ctl.h"
#include "firmware.h"
#include "fwdisk.h"
#include "tools/sandbox/sandbox.h"

/* ------------------------------------------------------------- signals -- */

/* What the handler needs; set while no signal is watched for. */
static void (*volatile watcher)(void *arg);
static void *volatile watcher_arg;
static volatile sig_atomic_t timed_out;

static void on_signal(int sig)
{
	if (sig == SIGALRM)
		timed_out = 1;
	if (watcher)
		watcher(watcher_arg);
}

void hv_signals_watch(void (*wake)(void *arg), void *arg, uint32_t timeout_s)
{
	static const int signals[] = {SIGINT, SIGTERM, SIGHUP, SIGALRM};
	struct sigaction sa = {.sa_handler = wake ? on_signal : SIG_IGN};

	sigemptyset(&sa.sa_mask);
	if (wake) {
		watcher_arg = arg;
		watcher = wake;
	}
	for (size_t i = 0; i < sizeof(signals) / sizeof(signals[0]); i++)
		(void)sigaction(signals[i], &sa, NULL);
	(void)alarm(timeout_s);
	if (!wake)
		watcher = NULL;
}

/* The same for SIGQUIT, which ends nothing. */
static void (*volatile looker)(void *arg);
static void *volatile looker_arg;

static void on_look(int sig)
{
	(void)sig;
	if (looker)
		looker(looker_arg);
}

static void signals_look(void (*look)(void *arg), void *arg)
{
	struct sigaction sa = {.sa_handler = look ? on_look : SIG_IGN,
			       .sa_flags = SA_RESTART};

	sigemptyset(&sa.sa_mask);
	looker_arg = arg;
	looker = look;
	(void)sigaction(SIGQUIT, &sa, NULL);
}

bool hv_signals_timed_out(void)
{
	return timed_out != 0;
}

/* --------------------------------------------------------------- parts -- */

struct run {
	struct hv *hv;
	struct hv_fwdisks *fwdisks; /* or NULL */
	struct hv_controllers controllers;
	struct ctl_server *ctl; /* or NULL */
	struct hv_escape escape;
};

static void stop(void *arg)
{
	hv_stop(arg);
}

static void look(void *arg)
{
	hv_tell_state(arg);
}

static size_t filter(void *arg, uint8_t *bytes, size_t len)
{
	struct run *r = arg;

	len = hv_escape_filter(&r->escape, bytes, len);
	if (r->escape.quit)
		hv_stop(r->hv);
	if (r->escape.help) {
		r->escape.help = false;
		hv_escape_show_help();
	}
	return len;
}

static void tap(void *arg, const uint8_t *bytes, size_t len)
{
	const struct run *r = arg;

	ctl_server_tap(r->ctl, bytes, len);
}

/* Each thread's own filter; the rest was given up before them. */
static int thread_begins(void *unused, enum hv_thread thread,
			 struct vhd_err *err)
{
	static const enum sandbox_role roles[] = {
		[HV_THREAD_CPU] = SANDBOX_VCPU,
		[HV_THREAD_CONTROL] = SANDBOX_CONTROL,
		[HV_THREAD_CONSOLE] = SANDBOX_OUTPUT,
	};

	(void)unused;
	return sandbox_filter(roles[thread], hv_prog, err);
}

static void disks_hurry(void *arg, bool on)
{
	struct run *r = arg;

	if (r->fwdisks)
		hv_fwdisks_hurry(r->fwdisks, on);
}

static void disks_renew(void *arg)
{
	const struct run *r = arg;

	hv_fwdisks_renew(r->fwdisks);
}

static bool has_ide(const struct hv_args *args)
{
	for (unsigned i = 0; i < args->disk_count; i++)
		if (hv_is_ide(args->disks[i].controller))
			return true;
	return false;
}

/* Whether anything but the guest's own driver reaches the disks. */
static bool wants_fwdisks(const struct hv_args *args)
{
	return !args->kernel || has_ide(args);
}

static int add_ide(struct run *r, const struct hv_args *args,
		   struct vhd_err *err)
{
	const struct hv_disk *at[HV_IDE_POSITIONS] = {NULL};

	for (unsigned i = 0; i < args->disk_count; i++) {
		unsigned c = args->disks[i].controller;

		if (hv_is_ide(c))
			at[c - HV_IDE_CONTROLLER] = hv_fwdisk(r->fwdisks, c, 0);
	}
	return hv_add_ide(r->hv, at, err);
}

static int create_disks(struct run *r, const struct hv_args *args,
			struct hv_disks *disks, struct vhd_err *err)
{
	unsigned order[HV_DISKS_MAX];
	int ret = 0;

	(void)hv_firmware_order(args, order);
	if (wants_fwdisks(args))
		ret = hv_fwdisks_create(disks, order, &r->fwdisks, err);
	if (ret == 0)
		ret = hv_controllers_create(&r->controllers, disks, r->fwdisks,
					    hv_bus(r->hv), err);
	if (ret == 0 && has_ide(args))
		ret = add_ide(r, args, err);
	return ret;
}

static const struct hv_disk *nth_disk(void *arg, unsigned i)
{
	return hv_fwdisks_nth(arg, i);
}

static int load_firmware(struct run *r, const struct hv_args *args,
			 struct vhd_err *err)
{
	struct hv_bios_opts o = {
		.disk = nth_disk,
		.disk_arg = r->fwdisks,
		.dvd_first = hv_firmware_dvd_first(args),
	};
	struct hv_firmware f;
	int ret = hv_firmware_read(args->firmware, &f, err);

	if (ret < 0)
		return ret;
	o.image = f.image;
	o.image_bytes = f.bytes;
	ret = hv_boot_bios(r->hv, &o, err);
	hv_firmware_free(&f);
	return ret;
}

static int load(struct run *r, const struct hv_args *args, struct vhd_err *err)
{
	if (!args->kernel)
		return load_firmware(r, args, err);
	return hv_boot_linux(r->hv, args->kernel, args->initrd, args->append,
			     err);
}

/* All is open, for later resets as well: the guest's first instruction comes
 * after this.
 */
static int confine(struct run *r, struct vhd_err *err)
{
	int ret = sandbox_enter_no_files(
		hv_prog, r->ctl ? ctl_server_dir_fd(r->ctl) : -1, err);

	if (ret == 0)
		ret = hv_say_begin(err);
	if (ret == 0 && r->fwdisks)
		ret = hv_fwdisks_start(r->fwdisks, hv_io_begins, err);
	if (ret == 0 && r->ctl)
		ret = ctl_server_start(r->ctl, err);
	return ret;
}

static int create(struct run *r, const struct hv_args *args,
		  struct hv_disks *disks, const struct hv_console *con,
		  struct vhd_err *err)
{
	const struct hv_opts o = {
		.cpus = args->cpus,
		.memory_bytes = args->memory_bytes,
		.no_reboot = args->no_reboot,
		.no_flush_call = args->kernel_32,
		.pin = args->pin.count ? args->pin.cpu : NULL,
		.console_in_fd = con->in_fd,
		.console_out_fd = con->out_fd,
		.console_filter = con->terminal ? filter : NULL,
		.console_tap = tap,
		.console_arg = r,
		.thread_begins = thread_begins,
		.disks_hurry = disks_hurry,
		.disks_renew = disks_renew,
		.disks_arg = r,
		.log = hv_say_line,
	};
	int ret = hv_create(&o, &r->hv, err);

	if (ret == 0)
		ret = create_disks(r, args, disks, err);
	if (ret == 0)
		ret = load(r, args, err);
	if (ret == 0 && args->name)
		ret = ctl_server_create(args->name, r->hv, disks,
					&r->controllers, &r->ctl, err);
	if (ret == 0)
		ret = hv_say_create(true, err);
	return ret == 0 ? confine(r, err) : ret;
}

/* ------------------------------------------------------------- the end -- */

/* A guest that should have ended by itself: what it and its disks were at. */
static void say_where(struct run *r)
{
	hv_say_state(r->hv);
	hv_controllers_say(&r->controllers);
}

/* How much of the boot went through firmware: a figure to judge it by. */
static void say_firmware(const struct run *r)
{
	struct hv_bios_calls c;
	char line[160];

	if (!hv_bios_calls(r->hv, &c))
		return;
	snprintf(line, sizeof(line),
		 "firmware: %llu disk calls, %llu failed; %llu KiB read, %llu "
		 "KiB written",
		 (unsigned long long)c.calls, (unsigned long long)c.errors,
		 (unsigned long long)(c.bytes_read >> 10),
		 (unsigned long long)(c.bytes_written >> 10));
	hv_say_line(NULL, line);
}

/* For who asks what a guest costs: its exits above all. */
static void say_stats(const struct run *r, const struct hv_args *args)
{
	static const char *const names[HV_CAUSES] = {
		[HV_CAUSE_SERIAL] = "serial port",
		[HV_CAUSE_CLOCK] = "clock",
		[HV_CAUSE_POWER] = "power",
		[HV_CAUSE_PCI] = "PCI ports",
		[HV_CAUSE_FIRMWARE] = "firmware",
		[HV_CAUSE_PORT] = "other ports",
		[HV_CAUSE_MEMORY] = "addresses",
		[HV_CAUSE_HYPERV] = "Hyper-V",
		[HV_CAUSE_OTHER] = "other",
	};
	struct hv_stats s;
	uint64_t all = 0;
	char line[400]; /* whatever the numbers are */
	size_t len;

	hv_get_stats(r->hv, &s);
	snprintf(line, sizeof(line), "entered the guest %.1f ms after the "
		 "start", s.entered_ns ? (double)(s.entered_ns -
						  args->began_ns) / 1e6 : 0.0);
	hv_say_line(NULL, line);
	for (unsigned i = 0; i < HV_CAUSES; i++)
		all += s.left[i];
	len = (size_t)snprintf(line, sizeof(line), "left the guest %llu times:",
			       (unsigned long long)all);
	for (unsigned i = 0; i < HV_CAUSES; i++)
		len += (size_t)snprintf(line + len, sizeof(line) - len,
					"%s %s %llu", i ? "," : "", names[i],
					(unsigned long long)s.left[i]);
	hv_say_line(NULL, line);
	if (s.roused) {
		snprintf(line, sizeof(line), "had processors out of a halt "
			 "%llu times: QEMU emulates them",
			 (unsigned long long)s.roused);
		hv_say_line(NULL, line);
	}
	say_firmware(r);
}

static int end_status(struct run *r, enum hv_end end,
		      const struct vhd_err *err)
{
	switch (end) {
	case HV_END_POWEROFF:
		return CLI_OK;
	case HV_END_RESET:
		hv_say_line(NULL, "the guest asked for a reset");
		return HV_EXIT_RESET;
	case HV_END_CRASH: /* reported with its details when it happened */
		return HV_EXIT_CRASH;
	case HV_END_TRIPLE_FAULT:
		hv_say_line(NULL, "the guest's processor shut down (triple "
				  "fault)");
		hv_say_state(r->hv);
		return HV_EXIT_TRIPLE_FAULT;
	case HV_END_STOPPED:
		if (hv_signals_timed_out()) {
			hv_say_line(NULL, "the time is over: guest stopped");
			say_where(r);
			return HV_EXIT_TIMEOUT;
		}
		hv_say_line(NULL, "guest stopped");
		if (!r->escape.quit)
			say_where(r);
		return HV_EXIT_STOPPED;
	case HV_END_FAILED:
		break;
	}
	hv_say_line(NULL, err->text);
	return CLI_IO;
}

/* For programs that waited for it. */
static const char *end_word(enum hv_end end)
{
	static const char *const words[] = {
		[HV_END_POWEROFF] = "power-off",
		[HV_END_RESET] = "reset",
		[HV_END_CRASH] = "crash",
		[HV_END_TRIPLE_FAULT] = "triple-fault",
		[HV_END_STOPPED] = "stopped",
		[HV_END_FAILED] = "failed",
	};

	return words[end];
}

int hv_run_kvm(const struct hv_args *args, struct hv_disks *disks,
	       const struct hv_console *con)
{
	struct run r = {0};
	enum hv_end end = HV_END_FAILED;
	struct vhd_err err;
	int status, closed, added;

	if (create(&r, args, disks, con, &err) < 0) {
		hv_terminal_restore();
		status = cli_fail(hv_prog, NULL, &err);
	} else {
		hv_signals_watch(stop, r.hv, args->timeout_s);
		signals_look(look, r.hv);
		end = hv_run(r.hv, &err);
		status = end_status(&r, end, &err);
		signals_look(NULL, NULL);
		hv_signals_watch(NULL, NULL, 0);
		if (args->stats)
			say_stats(&r, args);
	}
	ctl_server_stop(r.ctl);
	hv_destroy(r.hv);
	hv_controllers_destroy(&r.controllers);
	hv_fwdisks_destroy(r.fwdisks);
	hv_terminal_restore();
	added = ctl_server_close_disks(r.ctl);
	closed = hv_disks_close(disks);
	ctl_server_destroy(r.ctl, end_word(end));
	hv_say_end();
	if (added != CLI_OK)
		closed = added;
	return closed != CLI_OK ? closed : status;
}

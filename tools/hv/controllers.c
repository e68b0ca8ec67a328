/* SPDX-License-Identifier: BSD-2-Clause */
/* The guest's SCSI controllers and IDE accelerators: which there are, and what
 * each may use of this machine. Only those that have a disk are made.
 */
#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>

#include "fwdisk.h"
#include "tools/sandbox/sandbox.h"

/* The last byte counts controllers. The ids are the same in every run, so that
 * a guest finds the same hardware again.
 */
static const char controller_id[] = "5a0f2f64-9e4c-4d0c-8a7e-76686420766d";

int hv_io_begins(enum vhd_engine engine, struct vhd_err *err)
{
	return sandbox_filter(engine == VHD_ENGINE_URING ? SANDBOX_IO
							 : SANDBOX_IO_PLAIN,
			      hv_prog, err);
}

static int channel_begins(void *unused, enum vhd_engine engine,
			  struct vhd_err *err)
{
	(void)unused;
	return hv_io_begins(engine, err);
}

static void guest_has(void *arg, bool yes)
{
	const struct hv_controller_owner *o = arg;

	hv_fwdisks_guest_has(o->fwdisks, o->controller, yes);
}

static bool one_processor(void)
{
	cpu_set_t set;

	return sched_getaffinity(0, sizeof(set), &set) == 0 &&
	       CPU_COUNT(&set) < 2;
}

/* Each channel counts all of the guest's memory as locked. It is asked of the
 * limit and not of the kernel, which lets root lock what it likes: guests that
 * together have more memory than the host are nobody's wish by accident.
 */
static bool register_memory(const struct hv_args *args, unsigned channels)
{
	uint64_t want = args->memory_bytes * channels;
	struct rlimit limit = {0};
	char line[160];

	if (args->no_register || channels == 0)
		return false;
	(void)getrlimit(RLIMIT_MEMLOCK, &limit); /* failed: nothing is allowed */
	if (limit.rlim_cur == RLIM_INFINITY || want <= limit.rlim_cur)
		return true;
	snprintf(line, sizeof(line),
		 "guest memory is not registered for I/O: %llu MiB would be "
		 "locked by %u channel%s, the limit (ulimit -l) is %llu MiB",
		 (unsigned long long)(want >> 20), channels,
		 channels == 1 ? "" : "s",
		 (unsigned long long)(limit.rlim_cur >> 20));
	hv_say_line(NULL, line);
	return false;
}

static int create(struct hv_controllers *c, unsigned i, bool registered,
		  struct hv_disks *disks, struct vmbus *bus,
		  struct vhd_err *err)
{
	const struct hv_args *args = disks->args;
	const bool one = one_processor();
	struct storvsp_opts o = {
		.max_subchannels =
			hv_is_ide(i) ? 0 : (uint16_t)(args->channels - 1),
		.ide = hv_is_ide(i),
		.ide_position = (uint8_t)(hv_is_ide(i) ? i - HV_IDE_CONTROLLER
						       : 0),
		/* who spins keeps off the one processor what is waited for */
		.poll_us = one ? 0 : args->poll_us,
		.one_processor = one && sched_getscheduler(0) == SCHED_OTHER,
		.register_memory = registered,
		.nbd_later = args->name != NULL, /* by hv ctl */
		.log = hv_say_line,
		.thread_begins = channel_begins,
	};
	int ret = vmbus_guid_parse(controller_id, &o.instance);

	if (ret < 0)
		return vhd_fail(err, ret, VHD_WHY_ARGUMENT, 0,
				"the controller's id is malformed");
	o.instance.b[15] = (uint8_t)(o.instance.b[15] + i);
	if (args->name) {
		(void)snprintf(c->resume_hint[i], sizeof(c->resume_hint[i]),
			       "hv ctl %s disk resume --controller %u",
			       args->name, i);
		o.resume_hint = c->resume_hint[i];
	}
	if (c->fwdisks) {
		c->owner[i] = (struct hv_controller_owner){c->fwdisks, i};
		o.guest_has = guest_has;
		o.guest_arg = &c->owner[i];
	}
	ret = storvsp_create(&o, &c->vsp[i], err);
	if (ret == 0)
		ret = hv_disks_attach(disks, i, c->vsp[i], err);
	if (ret == 0)
		ret = storvsp_offer(c->vsp[i], bus, err);
	return ret;
}

int hv_controllers_create(struct hv_controllers *c, struct hv_disks *disks,
			  struct hv_fwdisks *fwdisks, struct vmbus *bus,
			  struct vhd_err *err)
{
	bool used[HV_CONTROLLERS_MAX] = {false};
	unsigned channels = 0;
	bool registered;
	int ret = 0;

	memset(c, 0, sizeof(*c));
	c->fwdisks = fwdisks;
	used[0] = disks->args->name != NULL; /* for what may be added */
	for (unsigned i = 0; i < disks->args->disk_count; i++) {
		const struct hv_disk_arg *d = &disks->args->disks[i];

		if (!d->dvd || !hv_is_ide(d->controller))
			used[d->controller] = true;
	}
	for (unsigned i = 0; i < HV_CONTROLLERS_MAX; i++)
		channels += !used[i]	   ? 0
			    : hv_is_ide(i) ? 1
					   : disks->args->channels;
	registered = register_memory(disks->args, channels);
	for (unsigned i = 0; i < HV_CONTROLLERS_MAX && ret == 0; i++)
		if (used[i])
			ret = create(c, i, registered, disks, bus, err);
	return ret;
}

void hv_controllers_destroy(struct hv_controllers *c)
{
	for (unsigned i = 0; i < HV_CONTROLLERS_MAX; i++) {
		storvsp_destroy(c->vsp[i]);
		c->vsp[i] = NULL;
	}
}

void hv_controllers_say(const struct hv_controllers *c)
{
	struct storvsp_stats s;
	char line[320];

	for (unsigned i = 0; i < HV_CONTROLLERS_MAX; i++) {
		if (!c->vsp[i])
			continue;
		storvsp_get_stats(c->vsp[i], &s);
		snprintf(line, sizeof(line),
			 "disks (controller %u): %llu packets, %llu answered, "
			 "%llu refused, %llu never answered; %llu reads, %llu "
			 "writes, %llu flushes, %llu errors; slept %llu times, "
			 "found work while polling %llu times",
			 i, (unsigned long long)s.packets,
			 (unsigned long long)s.completions,
			 (unsigned long long)s.refused,
			 (unsigned long long)s.cancelled,
			 (unsigned long long)s.reads,
			 (unsigned long long)s.writes,
			 (unsigned long long)s.flushes,
			 (unsigned long long)s.errors,
			 (unsigned long long)s.sleeps,
			 (unsigned long long)s.polled);
		hv_say_line(NULL, line);
	}
}

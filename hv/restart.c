/* SPDX-License-Identifier: BSD-2-Clause */
/* The way from one machine to the next: all processors leave the one, and enter
 * the other together.
 */
#include "part.h"

void hv_vcpus_halt(struct hv *hv)
{
	hv_board_stop(hv->board);
	if (hv->opts.disks_hurry)
		hv->opts.disks_hurry(hv->opts.disks_arg, true);
	for (uint32_t i = 0; i < hv->opts.cpus; i++)
		hv_vcpu_halt(&hv->vcpu[i]);
}

/* The first one last: it wakes the others. */
void hv_vcpus_go(struct hv *hv)
{
	for (uint32_t i = hv->opts.cpus; i-- > 0;)
		hv_vcpu_go(&hv->vcpu[i]);
}

/* A guest can reset for ever: a line each for the first times, then for each
 * power of two.
 */
static void say_restart(struct hv *hv)
{
	enum { ALL_UP_TO = 8 };
	unsigned n = ++hv->restarts;

	if (n == 1)
		hv_say(hv, "the guest restarts");
	else if (n <= ALL_UP_TO || (n & (n - 1)) == 0)
		hv_say(hv, "the guest restarts (%u times by now)", n);
}

static int next_machine(struct hv *hv, struct vhd_err *err)
{
	int ret;

	hv_machine_destroy(hv);
	if (hv->opts.disks_renew)
		hv->opts.disks_renew(hv->opts.disks_arg);
	ret = hv_ram_clear(&hv->ram, err);
	if (ret == 0)
		ret = hv_machine_build(hv, err);
	if (ret < 0)
		return ret;
	hv_board_reset(hv->board);
	return hv->boot->load(hv, err);
}

bool hv_restart(struct hv *hv)
{
	/* Channels first: they end what they do with the old memory. */
	vmbus_reset(hv->bus);
	if ((atomic_load(&hv->end) & 0xff) != HV_END_RESET ||
	    hv->opts.no_reboot)
		return false;
	/* A stop that came after the reset was asked for is not lost. */
	atomic_store(&hv->end, HV_END_NONE);
	if (atomic_load(&hv->stop))
		hv_end_set(hv, HV_END_STOPPED, 0);
	if (hv_ended(hv))
		return false;
	say_restart(hv);
	hv_console_say_lost(hv);
	if (next_machine(hv, &hv->vcpu[0].err) < 0)
		hv_end_set(hv, HV_END_FAILED, 0);
	if (hv_ended(hv))
		return false;
	if (hv->opts.disks_hurry)
		hv->opts.disks_hurry(hv->opts.disks_arg, false);
	hv_vcpus_go(hv);
	return true;
}

/* SPDX-License-Identifier: BSD-2-Clause */
/* Resets on a KVM that is not there (fakekvm.h): the next machine starts as the
 * first one did, what belongs to the run stays, nothing adds up, and whatever
 * fails on the way ends the run with its reason.
 */
#include <errno.h>
#include <malloc.h>
#include <string.h>

#include "tests/lib/cm.h"
#include "tests/lib/fakedev.h"
#include "tests/lib/fakedisk.h"
#include "tests/lib/fakekvm.h"

#define RESETS 20
#define MARK_GPA 0x123000u

/* What steps look at. */
static struct {
	struct hv *hv;
	unsigned resets;
	unsigned files[RESETS];
	size_t mapped[RESETS], heap[RESETS];
} seen;

static void begin(struct hv **hv)
{
	struct vhd_err err = {0};

	fake_reset();
	memset(&seen, 0, sizeof(seen));
	assert_int_equal(fake_make(hv, false, &err), 0);
	seen.hv = *hv;
}

/* Port accesses as the guest's: the exit is filled as KVM fills it. */
static void port(struct kvm_run *run, uint8_t direction, uint16_t at,
		 uint8_t value)
{
	run->exit_reason = KVM_EXIT_IO;
	run->io.direction = direction;
	run->io.size = 1;
	run->io.count = 1;
	run->io.port = at;
	run->io.data_offset = 4096;
	((uint8_t *)run)[4096] = value;
}

static int reset_by_cf9(struct kvm_run *run)
{
	port(run, KVM_EXIT_IO_OUT, 0xcf9, 6);
	return 0;
}

static int reset_by_keyboard(struct kvm_run *run)
{
	port(run, KVM_EXIT_IO_OUT, 0x64, 0xfe);
	return 0;
}

static int note_and_reset(struct kvm_run *run)
{
	unsigned n = seen.resets++;

	assert_false(fake.hurry);
	assert_int_equal(fake.renewed, n);
	seen.files[n] = fake_open_files();
	seen.mapped[n] = fake.mapped_bytes;
	seen.heap[n] = mallinfo2().uordblks;
	return n % 2 ? fake_reboot(run) : reset_by_cf9(run);
}

static void a_guest_may_reset_again_and_again_and_nothing_adds_up(void **state)
{
	static fake_step steps[RESETS + 2];
	unsigned files = fake_open_files();
	struct vhd_err err = {0};
	struct hv_stats stats;
	struct hv *hv;

	(void)state;
	begin(&hv);
	for (unsigned i = 0; i < RESETS; i++)
		steps[i] = note_and_reset;
	steps[RESETS] = fake_off;
	fake.step = steps;
	assert_int_equal(hv_run(hv, &err), HV_END_POWEROFF);
	assert_int_equal(seen.resets, RESETS);
	assert_int_equal(fake.renewed, RESETS);
	for (unsigned i = 1; i < RESETS; i++) {
		assert_int_equal(seen.files[i], seen.files[0]);
		assert_int_equal(seen.mapped[i], seen.mapped[0]);
		/* the first one may have warmed something up */
		assert_int_equal(seen.heap[i], seen.heap[1]);
	}
	hv_get_stats(hv, &stats);
	assert_int_equal(stats.left[HV_CAUSE_POWER], RESETS / 2);
	assert_int_equal(stats.left[HV_CAUSE_OTHER], RESETS / 2 + 1);
	assert_true(stats.entered_ns > 0);
	/* 1 to 8, and 16 */
	assert_int_equal(fake.told, 9);
	assert_string_equal(fake.line[0], "the guest restarts");
	assert_string_equal(fake.line[1],
			    "the guest restarts (2 times by now)");
	hv_destroy(hv);
	fake_gone(files);
}

/* ------------------------------------------------- what stays, what goes -- */

static int dirty(struct kvm_run *run)
{
	const uint64_t mark = 0x1122334455667788;

	assert_int_equal(hv_gpa_write(seen.hv->mem, MARK_GPA, &mark,
				      sizeof(mark)), 0);
	run->exit_reason = KVM_EXIT_HYPERV;
	run->hyperv.type = KVM_EXIT_HYPERV_SYNIC;
	run->hyperv.u.synic.control = 1;
	run->hyperv.u.synic.msg_page = 0x1001;
	run->hyperv.u.synic.evt_page = 0x2001;
	return 0;
}

static int set_scratch(struct kvm_run *run)
{
	port(run, KVM_EXIT_IO_OUT, 0x3ff, 0x5a);
	return 0;
}

static int say_x(struct kvm_run *run)
{
	port(run, KVM_EXIT_IO_OUT, 0x3f8, 'x');
	return 0;
}

static int get_scratch(struct kvm_run *run)
{
	uint64_t mark;

	assert_int_equal(hv_gpa_read(seen.hv->mem, MARK_GPA, &mark,
				     sizeof(mark)), 0);
	assert_int_equal(mark, 0);
	assert_int_equal(seen.hv->vcpu[0].synic.control, 0);
	assert_int_equal(seen.hv->vcpu[0].synic.message_page, 0);
	port(run, KVM_EXIT_IO_IN, 0x3ff, 0xee);
	return 0;
}

static int off_if_clear(struct kvm_run *run)
{
	assert_int_equal(((uint8_t *)run)[4096], 0);
	return fake_off(run);
}

static void the_next_machine_starts_as_the_first_did(void **state)
{
	static const fake_step steps[] = {dirty, set_scratch, say_x,
					  reset_by_keyboard, get_scratch,
					  off_if_clear, NULL};
	unsigned files = fake_open_files();
	struct vhd_err err = {0};
	struct hv *hv;

	(void)state;
	begin(&hv);
	fake.step = steps;
	assert_int_equal(hv_run(hv, &err), HV_END_POWEROFF);
	hv_destroy(hv);
	fake_gone(files);
}

static int set_sectors(struct kvm_run *run)
{
	port(run, KVM_EXIT_IO_OUT, 0x1f2, 0x55);
	return 0;
}

static int get_sectors(struct kvm_run *run)
{
	port(run, KVM_EXIT_IO_IN, 0x1f2, 0xee);
	return 0;
}

static int reset_if_set(struct kvm_run *run)
{
	assert_int_equal(((uint8_t *)run)[4096], 0x55);
	return reset_by_cf9(run);
}

static int off_if_signed(struct kvm_run *run)
{
	assert_int_equal(((uint8_t *)run)[4096], 1);
	return fake_off(run);
}

static void a_disk_on_ide_is_there_in_each_machine(void **state)
{
	static const fake_step steps[] = {set_sectors, get_sectors,
					  reset_if_set, get_sectors,
					  off_if_signed, NULL};
	static uint8_t bytes[16 * 512];
	unsigned files = fake_open_files();
	struct vhd_err err = {0};
	struct fakedisk disk;
	const struct hv_disk *at[HV_IDE_POSITIONS] = {&disk.disk};
	struct hv *hv;

	(void)state;
	begin(&hv);
	fakedisk_init(&disk, false, bytes, 16);
	disk.disk.block_bytes = 4096;
	assert_refused(hv_add_ide(hv, at, &err), &err, EINVAL,
		       VHD_WHY_ARGUMENT);
	disk.disk.block_bytes = 512;
	assert_int_equal(hv_add_ide(hv, at, &err), 0);
	fake.step = steps;
	assert_int_equal(hv_run(hv, &err), HV_END_POWEROFF);
	hv_destroy(hv);
	fake_gone(files);
}

static void offers_stay_and_the_connection_goes(void **state)
{
	static const fake_step steps[] = {fake_reboot, fake_off, NULL};
	unsigned files = fake_open_files();
	struct vmbus_channel *ch = NULL;
	struct vhd_err err = {0};
	struct fakedev dev = {0};
	struct vmbus_offer offer = fakedev_offer(&dev, 0);
	struct hv *hv;

	(void)state;
	begin(&hv);
	assert_int_equal(vmbus_offer_add(hv_bus(hv), &offer, &ch, &err), 0);
	fake.step = steps;
	assert_int_equal(hv_run(hv, &err), HV_END_POWEROFF);
	assert_int_equal(vmbus_version(hv_bus(hv)), 0);
	assert_int_equal(vmbus_offer_add(hv_bus(hv), &offer, &ch, &err),
			 -EEXIST);
	hv_destroy(hv);
	fake_gone(files);
}

static void without_reboots_a_reset_is_the_end(void **state)
{
	static const fake_step steps[] = {reset_by_cf9, NULL};
	unsigned files = fake_open_files();
	struct vhd_err err = {0};
	struct hv *hv;

	(void)state;
	fake_reset();
	assert_int_equal(fake_make(&hv, true, &err), 0);
	fake.step = steps;
	assert_int_equal(hv_run(hv, &err), HV_END_RESET);
	hv_destroy(hv);
	fake_gone(files);
}

static int triple(struct kvm_run *run)
{
	run->exit_reason = KVM_EXIT_SHUTDOWN;
	return 0;
}

static void a_triple_fault_is_no_reset(void **state)
{
	static const fake_step steps[] = {fake_reboot, triple, NULL};
	struct vhd_err err = {0};
	struct hv *hv;

	(void)state;
	begin(&hv);
	fake.step = steps;
	assert_int_equal(hv_run(hv, &err), HV_END_TRIPLE_FAULT);
	hv_destroy(hv);
}

/* --------------------------------------------------------------- a stop -- */

static void stop_it(void)
{
	if (seen.hv)
		hv_stop(seen.hv);
}

/* The other processor: when it is kicked, the reset is decided. */
static int stop_when_kicked(struct kvm_run *run)
{
	int rc = fake_until_kicked(run);

	stop_it();
	return rc;
}

static void a_stop_that_meets_a_reset_is_not_lost(void **state)
{
	static const fake_step steps[] = {fake_reboot, fake_until_kicked, NULL};
	struct vhd_err err = {0};
	struct hv *hv;

	(void)state;
	begin(&hv);
	fake.step = steps;
	fake.other = stop_when_kicked;
	assert_int_equal(hv_run(hv, &err), HV_END_STOPPED);
	hv_destroy(hv);

	begin(&hv);
	fake.step = steps;
	fake.creates = stop_it;
	assert_int_equal(hv_run(hv, &err), HV_END_STOPPED);
	hv_destroy(hv);
}

/* -------------------------------------------------------------- failure -- */

static int count_and_reset(struct kvm_run *run)
{
	fake.calls = 0;
	fake.counts = true;
	return fake_reboot(run);
}

static void each_call_of_a_reset_may_fail_and_ends_the_run(void **state)
{
	static const int kinds[] = {EIO, ENOMEM, EAGAIN};
	static const fake_step steps[] = {count_and_reset, fake_off, NULL};
	unsigned files = fake_open_files(), n = 0, k = 0;

	(void)state;
	for (bool all = false; !all; k = (k + 1) % 3) {
		struct vhd_err err = {0};
		struct hv *hv;
		enum hv_end end;

		begin(&hv);
		n += k == 0;
		fake.step = steps;
		fake.fail_at = n;
		fake.fail_errno = kinds[k];
		/* the threads are made before */
		fake.calls = n;
		end = hv_run(hv, &err);
		all = fake.failed == 0;
		if (all) {
			assert_int_equal(end, HV_END_POWEROFF);
		} else {
			assert_int_equal(end, HV_END_FAILED);
			assert_int_equal(err.code, -kinds[k]);
			assert_true(strlen(err.text) > 10);
		}
		hv_destroy(hv);
		fake_gone(files);
	}
	assert_true(n > 25);
}

#define T(name) cmocka_unit_test(name)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(a_guest_may_reset_again_and_again_and_nothing_adds_up),
		T(the_next_machine_starts_as_the_first_did),
		T(a_disk_on_ide_is_there_in_each_machine),
		T(offers_stay_and_the_connection_goes),
		T(without_reboots_a_reset_is_the_end),
		T(a_triple_fault_is_no_reset),
		T(a_stop_that_meets_a_reset_is_not_lost),
		T(each_call_of_a_reset_may_fail_and_ends_the_run),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

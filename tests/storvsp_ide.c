/* SPDX-License-Identifier: BSD-2-Clause */
/* The storage VSP as an IDE accelerator: what is offered, and its disk. */
#include <errno.h>
#include <string.h>

#include "tests/lib/bytes.h"
#include "tests/lib/plainvsp.h"

static struct vsc_opts accelerator(unsigned position)
{
	return (struct vsc_opts){
		.vsp = {.ide = true,
			.ide_position = (uint8_t)position,
			.engine = VHD_ENGINE_SYNC},
	};
}

static void the_offer_says_which_disk_it_is(void **state)
{
	struct vmbus_guid type;

	(void)state;
	assert_int_equal(vmbus_guid_parse(
		"32412632-86cb-44a2-9b5c-50d1417354f5", &type), 0);
	for (unsigned i = 0; i < STORVSP_IDE_POSITIONS; i++) {
		struct vsc_opts o = accelerator(i);
		struct vsc *v = vsc_create(&o);
		const struct guest_offer *offer =
			guest_offer_find(vsc_guest(v), &type, 0, 0);

		assert_non_null(offer);
		assert_int_equal(at32(offer->instance.b), i / 2);
		assert_int_equal(at16(offer->instance.b + 4), i % 2);
		assert_int_equal(at16(offer->instance.b + 6), 0x8899);
		assert_int_equal(at64(offer->instance.b + 8), 0);
		assert_int_equal(offer->user[2], i / 2);
		assert_int_equal(offer->user[3], i % 2);
		assert_int_equal(at32(offer->user + 8), 2);
		vsc_destroy(v);
	}
}

static void a_scsi_controllers_offer_is_as_it_was(void **state)
{
	struct vsc *v = vsc_create(NULL);
	const struct guest_offer *offer =
		guest_offer_find(vsc_guest(v), NULL, 0, 0);
	struct vmbus_guid type;

	(void)state;
	assert_int_equal(vmbus_guid_parse(
		"ba6163d9-04a1-4d29-b605-72e2ffb1dc7f", &type), 0);
	assert_memory_equal(&offer->type, &type, sizeof(type));
	for (unsigned i = 0; i < sizeof(offer->user); i++)
		assert_int_equal(offer->user[i], 0);
	vsc_destroy(v);
}

static unsigned told[2];

static void tell(void *arg, bool yes)
{
	(void)arg;
	told[yes]++;
}

static void its_disk_is_where_the_offer_said(void **state)
{
	struct vsc_opts o = accelerator(3);
	struct storvsp_address at = storvsp_ide_address(3);
	struct world w = {0};
	struct vsc_properties p;
	struct vsc_answer a;
	struct vsc_cmd cmd;

	(void)state;
	o.vsp.guest_has = tell;
	told[0] = told[1] = 0;
	w.m = memfile_create();
	w.img = qtest_create_mem(memfile_file(w.m), VHD_FORMAT_DYNAMIC,
				 DISK_BYTES, 512 << 10);
	w.v = vsc_create(&o);
	assert_int_equal(at.path, 1);
	assert_int_equal(at.target, 1);
	assert_int_equal(at.lun, 0);
	vsc_disk(w.v, w.img, at.path, at.target, at.lun, false);
	assert_int_equal(told[1], 0);
	w.c = vsc_open(w.v, 0);
	assert_int_equal(told[1], 1);
	vsc_negotiate(w.c, STORVSP_VERSION_WIN10, &p);
	assert_int_equal(p.max_subchannels, 0);
	vsc_buffer_init(w.v, &w.b, 16);
	cmd = vsc_rw(true, 0, 5, 8, false, &w.b);
	cmd.path = at.path;
	cmd.target = at.target;
	vsc_run(w.c, &cmd, &a);
	assert_true(vsc_good(&a));
	cmd.target = 0; /* the other drive's is another controller */
	vsc_run(w.c, &cmd, &a);
	assert_false(vsc_good(&a));
	assert_int_equal(told[0], 0);
	vsc_close(w.c);
	assert_int_equal(told[0], 1);
	stop(&w);
}

static void what_it_cannot_be_is_refused(void **state)
{
	struct storvsp_opts o = {.ide = true, .ide_position = 3, .manual = true};
	struct storvsp *vsp = NULL;
	struct vhd_err err;

	(void)state;
	assert_int_equal(storvsp_create(&o, &vsp, &err), 0);
	storvsp_destroy(vsp);
	o.ide_position = 4;
	assert_refused(storvsp_create(&o, &vsp, &err), &err, EINVAL,
		       VHD_WHY_ARGUMENT);
	o.ide_position = 0;
	o.max_subchannels = 1;
	assert_refused(storvsp_create(&o, &vsp, &err), &err, EINVAL,
		       VHD_WHY_ARGUMENT);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_offer_says_which_disk_it_is),
		cmocka_unit_test(a_scsi_controllers_offer_is_as_it_was),
		cmocka_unit_test(its_disk_is_where_the_offer_said),
		cmocka_unit_test(what_it_cannot_be_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

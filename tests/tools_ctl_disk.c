/* SPDX-License-Identifier: BSD-2-Clause */
/* hv ctl: what its requests do to the disks of a guest in memory, and what they
 * refuse.
 */
#include <errno.h>
#include <fcntl.h>

#include "tests/lib/ctlworld.h"
#include "storvsp/scsi/scsi.h"
#include "tools/hv/fwdisk.h"

static void appears_asc(struct world *w, uint8_t asc)
{
	for (unsigned i = 0; i < 2000; i++)
		if (run(w, 0, 0).asc == asc)
			return;
	fail_msg("ASC %02x", asc);
}

static uint32_t last_lba(struct world *w, uint8_t lun)
{
	uint8_t data[8];

	assert_int_equal(run(w, lun, 0x25).srb, 0x01);
	vsc_buffer_get(&w->b, data, sizeof(data));
	return scsi_get32(data);
}

static bool can_write(const char *path)
{
	const struct vhd_open_opts o = {.writable = true};
	struct vhd *img;

	if (vhd_open(path, &o, &img, NULL))
		return false;
	assert_int_equal(vhd_close(img, NULL), 0);
	return true;
}

static void a_disk_comes_grows_and_goes(void **state)
{
	struct world w;

	(void)state;
	start(&w);
	expect(w.fd, "{\"command\":\"list\"}", NULL, 0, "0.vhd");
	assert_int_equal(run(&w, 1, 0).srb, 0x20);
	add(&w, "{\"command\":\"add\",\"name\":\"one\"}", w.path[1],
	    "\"lun\":1");
	assert_false(can_write(w.path[1])); /* locked */
	appears(&w, 1, true);
	assert_int_equal(last_lba(&w, 1), DISK_BYTES / 512 - 1);
	expect(w.fd, "{\"command\":\"resize\",\"lun\":1,\"size\":8388608}",
	       NULL, 0, "\"size\":8388608");
	assert_int_equal(run(&w, 1, 0).asc, 0x2A);
	assert_int_equal(last_lba(&w, 1), 2 * DISK_BYTES / 512 - 1);
	expect(w.fd,
	       "{\"command\":\"resize\",\"lun\":1,\"by\":true,\"size\":4096}",
	       NULL, 0, "\"size\":8392704");
	expect(w.fd, "{\"command\":\"stats\",\"lun\":1}", NULL, 0,
	       "latency-ns");
	expect(w.fd, "{\"command\":\"remove\",\"lun\":1}", NULL, 0, OK);
	assert_true(can_write(w.path[1]));
	appears(&w, 1, false);
	stop(&w);
}

static void the_disk_of_the_beginning_goes_too(void **state)
{
	struct world w;

	(void)state;
	start(&w);
	assert_false(can_write(w.path[0]));
	expect(w.fd, "{\"command\":\"remove\",\"lun\":0,\"now\":true}", NULL, 0,
	       OK);
	assert_true(can_write(w.path[0]));
	/* where no disk was before, for the guest may not have looked yet */
	add(&w, "{\"command\":\"add\",\"name\":\"two\"}", w.path[2],
	    "\"lun\":1");
	appears(&w, 1, true);
	stop(&w);
}

static int firmware_reads(const struct hv_fwdisks *f, unsigned lun)
{
	static uint8_t block[2048];
	const struct hv_disk *d = hv_fwdisk(f, 0, lun);
	const struct iovec iov = {block, d->block_bytes};

	return d->ops->read(d->arg, 0, &iov, 1);
}

/* Its image is closed: firmware and emulated controllers must not have it. */
static void a_disk_that_goes_is_gone_for_firmware(void **state)
{
	struct vhd_err err;
	struct world w;

	(void)state;
	start(&w);
	assert_int_equal(hv_fwdisks_create(&w.disks, NULL,
					   &w.controllers.fwdisks, &err), 0);
	assert_int_equal(hv_fwdisks_start(w.controllers.fwdisks, NULL, &err),
			 0);
	assert_int_equal(firmware_reads(w.controllers.fwdisks, 0), 0);
	expect(w.fd, "{\"command\":\"remove\",\"lun\":0,\"now\":true}", NULL, 0,
	       OK);
	assert_true(can_write(w.path[0]));
	assert_int_equal(firmware_reads(w.controllers.fwdisks, 0),
			 -ENOMEDIUM);
	hv_fwdisks_destroy(w.controllers.fwdisks);
	stop(&w);
}

static uint64_t firmware_blocks(const struct world *w, unsigned i)
{
	const struct hv_disk *d = hv_fwdisks_nth(w->controllers.fwdisks, i);

	assert_non_null(d);
	return d->blocks;
}

static void after_a_reset_firmware_has_the_disks_of_by_then(void **state)
{
	struct hv_fwdisks *f;
	struct vhd_err err;
	struct world w;

	(void)state;
	start(&w);
	assert_int_equal(hv_fwdisks_create(&w.disks, NULL, &f, &err), 0);
	w.controllers.fwdisks = f;
	assert_int_equal(hv_fwdisks_start(f, NULL, &err), 0);
	add(&w, "{\"command\":\"add\",\"name\":\"one\"}", w.path[1],
	    "\"lun\":1");
	assert_int_equal(firmware_reads(f, 1), -EINVAL);
	expect(w.fd, "{\"command\":\"resize\",\"lun\":0,\"size\":8388608}",
	       NULL, 0, OK);
	assert_int_equal(firmware_blocks(&w, 0), DISK_BYTES / 512);
	assert_int_equal(firmware_reads(f, 0), 0);
	hv_fwdisks_renew(f);
	assert_int_equal(firmware_blocks(&w, 0), 8388608 / 512);
	assert_int_equal(firmware_blocks(&w, 1), DISK_BYTES / 512);
	assert_int_equal(firmware_reads(f, 1), 0);
	/* its number comes free, which another one at its place has not got */
	expect(w.fd, "{\"command\":\"remove\",\"lun\":0}", NULL, 0, OK);
	assert_true(can_write(w.path[0]));
	add(&w, "{\"command\":\"add\",\"name\":\"two\",\"lun\":0}",
	    w.path[2], "\"lun\":0");
	assert_int_equal(firmware_reads(f, 0), -ENOMEDIUM);
	hv_fwdisks_renew(f);
	assert_ptr_equal(hv_fwdisks_nth(f, 0), hv_fwdisk(f, 0, 1));
	assert_ptr_equal(hv_fwdisks_nth(f, 1), hv_fwdisk(f, 0, 0));
	assert_int_equal(firmware_reads(f, 0), 0);
	hv_fwdisks_destroy(f);
	stop(&w);
}

/* An IDE position is a controller of one disk; its accelerator has the disk
 * elsewhere than a LUN, and what is there stays.
 */
static void ide_positions_are_looked_at_and_stay_as_they_are(void **state)
{
	struct vhd_err err;
	struct world w;
	int fd;

	(void)state;
	memset(&w, 0, sizeof(w));
	begin(&w);
	w.args.disks[0].path = w.path[0];
	w.args.disks[0].controller = HV_IDE_CONTROLLER + 3;
	w.args.disks[1].path = (char *)(uintptr_t)"none";
	w.args.disks[1].controller = HV_IDE_CONTROLLER + 1;
	w.args.disks[1].dvd = w.args.disks[1].no_disc = true;
	w.args.disk_count = 2;
	assert_int_equal(hv_disks_open(&w.disks, &w.args), 0);
	w.controllers.vsp[HV_IDE_CONTROLLER + 3] = world_guest(&w);
	w.controllers.vsp[0] = NULL;
	assert_int_equal(hv_disks_attach(&w.disks, HV_IDE_CONTROLLER + 3,
					 vsc_vsp(w.v), &err), 0);
	serve(&w);
	expect(w.fd, "{\"command\":\"list\"}", NULL, 0, "\"ide\":3");
	expect(w.fd, "{\"command\":\"list\"}", NULL, 0, "\"ide\":1");
	expect(w.fd, "{\"command\":\"stats\",\"controller\":7,\"lun\":0}",
	       NULL, 0, OK);
	expect(w.fd, "{\"command\":\"limit\",\"controller\":7,\"lun\":0,"
		     "\"iops\":9}", NULL, 0, OK);
	expect(w.fd, "{\"command\":\"resize\",\"controller\":7,\"lun\":0,"
		     "\"size\":16777216}", NULL, 0, OK);
	expect(w.fd, "{\"command\":\"remove\",\"controller\":7,\"lun\":0}",
	       NULL, 0, "IDE position 3 stays");
	expect(w.fd, "{\"command\":\"stats\",\"controller\":7,\"lun\":1}",
	       NULL, 0, "no LUN 1");
	expect(w.fd, "{\"command\":\"stats\",\"controller\":5,\"lun\":0}",
	       NULL, 0, "emulated only");
	fd = opened(w.path[1], O_RDWR);
	expect(w.fd, "{\"command\":\"add\",\"name\":\"x\","
		     "\"controller\":6}", &fd, 1, "IDE position 2 stays");
	expect(w.fd, "{\"command\":\"change\",\"name\":\"x\","
		     "\"controller\":5,\"lun\":0}", &fd, 1,
	       "IDE position 1 stays");
	close(fd);
	stop(&w);
}

static void a_child_comes_with_its_parent(void **state)
{
	struct vhd_create_opts o = {.format = VHD_FORMAT_DIFF,
				    .unique_id = {4}};
	struct vhd *img;
	struct world w;
	int fds[2];

	(void)state;
	start(&w);
	o.parent_path = w.path[1];
	o.parent_dir = w.dir;
	assert_int_equal(vhd_create(w.path[3], &o, &img, NULL), 0);
	assert_int_equal(vhd_close(img, NULL), 0);
	fds[0] = opened(w.path[3], O_RDWR);
	fds[1] = opened(w.path[1], O_RDONLY);
	expect(w.fd, "{\"command\":\"add\",\"name\":\"x\"}", fds, 1,
	       "parent");
	expect(w.fd, "{\"command\":\"add\",\"name\":\"x\"}", fds, 2, OK);
	close(fds[0]);
	close(fds[1]);
	appears(&w, 1, true);
	assert_int_equal(last_lba(&w, 1), DISK_BYTES / 512 - 1);
	expect(w.fd, "{\"command\":\"resize\",\"lun\":1,\"size\":8388608}",
	       NULL, 0, "parent's size");
	stop(&w);
}

static void a_disk_for_direct_transfers_comes_with_two_descriptors(
	void **state)
{
	struct world w;
	int fds[3];

	(void)state;
	start(&w);
	fds[0] = opened(w.path[1], O_RDWR);
	fds[1] = opened(w.path[2], O_RDWR);
	fds[2] = open(w.path[1], O_RDWR | O_DIRECT);
	expect(w.fd, "{\"command\":\"add\",\"name\":\"x\",\"direct\":true}",
	       fds, 1, "second descriptor");
	expect(w.fd, "{\"command\":\"add\",\"name\":\"x\",\"direct\":true}",
	       fds, 2, "not x opened with O_DIRECT");
	if (fds[2] >= 0) { /* not every file system has it */
		fds[1] = (close(fds[1]), fds[2]);
		expect(w.fd, "{\"command\":\"add\",\"name\":\"x\","
			     "\"direct\":true}",
		       fds, 2, OK);
		appears(&w, 1, true);
	}
	close(fds[0]);
	close(fds[1]);
	stop(&w);
}

static void a_disc_is_exchanged_in_its_drive(void **state)
{
	const struct storvsp_disk_opts o = {.lun = 0, .dvd = true};
	struct hv_fwdisks *f;
	struct storvsp *vsp;
	struct vhd_err err;
	struct world w;
	int fd;

	(void)state;
	start(&w);
	expect(w.fd, "{\"command\":\"change\",\"lun\":0}", NULL, 0,
	       "no DVD drive");
	stop(&w);
	/* a guest that has nothing but an empty drive */
	memset(&w, 0, sizeof(w));
	begin(&w);
	w.args.disks[0] = (struct hv_disk_arg){.path = w.path[1],
					       .dvd = true,
					       .no_disc = true};
	w.args.disk_count = 1;
	vsp = world_guest(&w);
	assert_int_equal(storvsp_disk_add(vsp, &o, NULL, &err), 0);
	w.disks.args = &w.args;
	assert_int_equal(hv_fwdisks_create(&w.disks, NULL, &f, &err), 0);
	w.controllers.fwdisks = f;
	assert_int_equal(hv_fwdisks_start(f, NULL, &err), 0);
	serve(&w);
	expect(w.fd, "{\"command\":\"list\"}", NULL, 0, "\"dvd\":true");
	fd = opened(w.path[2], O_RDONLY);
	expect(w.fd,
	       "{\"command\":\"change\",\"lun\":0,\"name\":\"d\","
	       "\"format\":\"raw\"}",
	       &fd, 1, OK);
	close(fd);
	appears_asc(&w, 0x28); /* another disc */
	assert_int_equal(run(&w, 0, 0).srb, 0x01);
	assert_int_equal(firmware_blocks(&w, 0), 0);
	hv_fwdisks_renew(f);
	assert_int_equal(firmware_blocks(&w, 0), DISK_BYTES / 2048);
	assert_int_equal(firmware_reads(f, 0), 0);
	expect(w.fd,
	       "{\"command\":\"resize\",\"lun\":0,\"size\":8388608}", NULL, 0,
	       "does not grow");
	expect(w.fd, "{\"command\":\"change\",\"lun\":0}", NULL, 0, OK);
	assert_true(can_write(w.path[2]));
	appears_asc(&w, 0x3A); /* no disc */
	assert_int_equal(firmware_reads(f, 0), -ENOMEDIUM);
	expect(w.fd, "{\"command\":\"remove\",\"lun\":0}", NULL, 0, OK);
	hv_fwdisks_renew(f);
	assert_null(hv_fwdisks_nth(f, 0));
	hv_fwdisks_destroy(f);
	stop(&w);
}

static void limits_change_and_others_stay(void **state)
{
	struct world w;

	(void)state;
	start(&w);
	expect(w.fd, "{\"command\":\"limit\",\"lun\":0,\"iops\":500}", NULL, 0,
	       "\"iops\":500");
	expect(w.fd,
	       "{\"command\":\"limit\",\"lun\":0,\"bps\":1000000,\"on-error\":"
	       "\"pause\"}",
	       NULL, 0, "\"iops\":500");
	expect(w.fd, "{\"command\":\"stats\",\"lun\":0}", NULL, 0,
	       "\"on-error\":\"pause\"");
	/* a burst ends with its limit */
	expect(w.fd,
	       "{\"command\":\"limit\",\"lun\":0,\"iops-burst\":900,"
	       "\"bps-burst\":2000000}",
	       NULL, 0, "\"iops-burst\":900");
	expect(w.fd, "{\"command\":\"limit\",\"lun\":0,\"iops\":0}", NULL, 0,
	       "\"iops-burst\":0");
	expect(w.fd, "{\"command\":\"limit\",\"lun\":0,\"bps\":0}", NULL, 0,
	       "\"bps-burst\":0");
	expect(w.fd,
	       "{\"command\":\"limit\",\"lun\":0,\"iops\":0,"
	       "\"iops-burst\":9}",
	       NULL, 0, "but no limit");
	expect(w.fd, "{\"command\":\"resume\",\"lun\":0}", NULL, 0,
	       "\"was-paused\":false");
	stop(&w);
}

static void what_cannot_be_is_refused_and_no_file_stays_open(void **state)
{
	static const struct {
		const char *request, *part;
		int which; /* path, or -1: none */
		int flags;
	} rows[] = {
		{"{\"command\":\"remove\",\"lun\":9}", "no LUN 9", -1, 0},
		{"{\"command\":\"resize\",\"lun\":9,\"size\":4096}", "no LUN 9",
		 1, O_RDWR},
		{"{\"command\":\"add\",\"name\":\"x\"}", "no file came", -1, 0},
		{"{\"command\":\"add\",\"name\":\"x\"}", "not open for writing",
		 1, O_RDONLY},
		{"{\"command\":\"add\",\"name\":\"x\"}", "is open elsewhere", 0,
		 O_RDWR},
		{"{\"command\":\"add\",\"name\":\"x\"}", "FILE,raw", 3,
		 O_RDWR},
		{"{\"command\":\"add\",\"name\":\"x\"}", "for appending", 1,
		 O_RDWR | O_APPEND},
		{"{\"command\":\"add\",\"name\":\"x\",\"lun\":0}", "is taken",
		 1, O_RDWR},
		{"{\"command\":\"add\",\"name\":\"x\",\"controller\":2}",
		 "no controller 2", 1, O_RDWR},
		{"{\"command\":\"add\",\"name\":\"x\",\"sector\":513}",
		 "either is 512 or 4096", 1, O_RDWR},
		{"{\"command\":\"resize\",\"lun\":0,\"size\":4096}",
		 "only grows", -1, 0},
		{"{\"command\":\"resize\",\"lun\":0,\"size\":9000001}",
		 "multiple of 4096", -1, 0},
		{"{\"command\":\"resize\",\"lun\":0}", "0 bytes", -1, 0},
		{"{\"command\":\"resize\",\"lun\":0,\"size\":"
		 "4398046511104}", "limit", -1, 0},
		{"nonsense", "not one JSON object", 1, O_RDWR},
	};
	struct world w;
	unsigned before;

	(void)state;
	start(&w);
	create(w.path[3], VHD_FORMAT_RAW, 0);
	expect(w.fd, "{\"command\":\"list\"}", NULL, 0, OK);
	before = fds_open();
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		int fd = rows[i].which < 0 ? -1
					   : opened(w.path[rows[i].which],
						    rows[i].flags);

		expect(w.fd, rows[i].request, &fd, fd >= 0, rows[i].part);
		if (fd >= 0)
			close(fd);
		assert_int_equal(fds_open(), before);
		assert_true(can_write(w.path[1]));
	}
	expect(w.fd, "{\"command\":\"resize\",\"lun\":0,\"size\":8388608}",
	       NULL, 0, OK);
	stop(&w);
}

/* Its lock excludes nobody who has a copy of the descriptor. */
static void one_descriptor_is_not_two_disks(void **state)
{
	static const char *const again[] = {
		"{\"command\":\"add\",\"name\":\"x\"}",
		"{\"command\":\"add\",\"name\":\"x\",\"read-only\":true}",
	};
	struct world w;
	int fds[2];

	(void)state;
	start(&w);
	fds[0] = opened(w.path[1], O_RDWR);
	expect(w.fd, again[0], fds, 1, OK);
	for (unsigned i = 0; i < 2; i++)
		expect(w.fd, again[i], fds, 1, "is open elsewhere");
	fds[1] = fds[0];
	fds[0] = opened(w.path[2], O_RDWR);
	expect(w.fd, again[0], fds, 2, "file 2 of x is open elsewhere");
	assert_false(can_write(w.path[1])); /* still locked */
	expect(w.fd, "{\"command\":\"remove\",\"lun\":1}", NULL, 0, OK);
	/* neither writes; then one would */
	expect(w.fd, again[1], &fds[1], 1, OK);
	expect(w.fd, again[0], &fds[1], 1, "is open elsewhere");
	expect(w.fd, again[1], &fds[1], 1, OK);
	close(fds[0]);
	close(fds[1]);
	stop(&w);
}

/* ---------------------------------------------------------- reservations - */

/* The guest registers a key, to be kept (APTPL). */
static void guest_registers(struct world *w, uint8_t lun)
{
	const struct vsc_cmd cmd = {.lun = lun,
				    .cdb = {0x5f, 6, [8] = 24},
				    .data_in = STORVSP_DATA_OUT,
				    .bytes = 24,
				    .buffer = &w->b};
	const uint8_t list[24] = {[15] = 0x5a, [20] = 1};
	struct vsc_answer a;

	vsc_buffer_put(&w->b, list, sizeof(list));
	vsc_run(w->c, &cmd, &a);
	assert_true(vsc_good(&a));
}

#define ADD_PR "{\"command\":\"add\",\"lun\":1,\"name\":\"x\",\"pr\":true}"

static void reservations_of_an_added_disk_are_kept(void **state)
{
	static const uint8_t id[16] = {2}; /* of path 1 */
	struct world w;
	struct vhd_err err;
	struct hv_keeper *k;
	unsigned before;
	char path[128];
	bool made;
	int fds[2];

	(void)state;
	start(&w);
	snprintf(path, sizeof(path), "%s/keys", w.dir);
	expect(w.fd, "{\"command\":\"list\"}", NULL, 0, OK);
	for (unsigned round = 0; round < 2; round++) {
		before = fds_open();
		fds[0] = opened(w.path[1], O_RDWR);
		fds[1] = hv_keeper_file(path, id, &made, &err);
		assert_true(fds[1] >= 0);
		assert_int_equal(made, round == 0);
		expect(w.fd, ADD_PR, fds, 2, OK);
		close(fds[0]);
		close(fds[1]);
		appears(&w, 1, true);
		/* it is locked, and goes with its disk */
		assert_int_equal(hv_keeper_open(path, id, &k, &err), -EBUSY);
		guest_registers(&w, 1);
		expect(w.fd, "{\"command\":\"remove\",\"lun\":1}", NULL, 0, OK);
		appears(&w, 1, false);
		assert_int_equal(hv_keeper_open(path, id, &k, &err), 0);
		assert_true(hv_keeper_kept(k)->registered);
		assert_int_equal(hv_keeper_kept(k)->key, 0x5a);
		hv_keeper_close(k);
		assert_int_equal(fds_open(), before);
	}
	assert_int_equal(unlink(path), 0);
	stop(&w);
}

static void a_file_that_keeps_no_reservations_of_it_is_refused(void **state)
{
	static const uint8_t other[16] = {9};
	struct world w;
	struct vhd_err err;
	unsigned before;
	char path[128];
	bool made;
	int fds[2];

	(void)state;
	start(&w);
	snprintf(path, sizeof(path), "%s/keys", w.dir);
	fds[1] = hv_keeper_file(path, other, &made, &err);
	assert_true(fds[1] >= 0 && made);
	close(fds[1]);
	expect(w.fd, "{\"command\":\"list\"}", NULL, 0, OK);
	before = fds_open();
	for (unsigned i = 0; i < 4; i++) {
		static const struct {
			const char *file, *part;
			int flags;
		} rows[] = {
			{NULL, "no file for reservations came", 0},
			{"keys", "of another disk", O_RDWR},
			{"keys", "not open for reading and writing", O_RDONLY},
			{"2.vhd", "not a file of reservations", O_RDWR},
		};

		fds[0] = opened(w.path[1], O_RDWR);
		snprintf(path, sizeof(path), "%s/%s", w.dir,
			 rows[i].file ? rows[i].file : "keys");
		fds[1] = opened(path, rows[i].flags);
		expect(w.fd, ADD_PR, fds, rows[i].file ? 2 : 1, rows[i].part);
		close(fds[0]);
		close(fds[1]);
		assert_int_equal(fds_open(), before);
		assert_true(can_write(w.path[1]));
	}
	snprintf(path, sizeof(path), "%s/keys", w.dir);
	assert_int_equal(unlink(path), 0);
	stop(&w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(reservations_of_an_added_disk_are_kept),
		cmocka_unit_test(
			a_file_that_keeps_no_reservations_of_it_is_refused),
		cmocka_unit_test(a_disk_comes_grows_and_goes),
		cmocka_unit_test(the_disk_of_the_beginning_goes_too),
		cmocka_unit_test(a_disk_that_goes_is_gone_for_firmware),
		cmocka_unit_test(
			after_a_reset_firmware_has_the_disks_of_by_then),
		cmocka_unit_test(
			ide_positions_are_looked_at_and_stay_as_they_are),
		cmocka_unit_test(a_child_comes_with_its_parent),
		cmocka_unit_test(
			a_disk_for_direct_transfers_comes_with_two_descriptors),
		cmocka_unit_test(a_disc_is_exchanged_in_its_drive),
		cmocka_unit_test(limits_change_and_others_stay),
		cmocka_unit_test(
			what_cannot_be_is_refused_and_no_file_stays_open),
		cmocka_unit_test(one_descriptor_is_not_two_disks),
	};

	if (cli_sandbox_set("test", "off"))
		return 1;
	return cmocka_run_group_tests(tests, NULL, NULL);
}

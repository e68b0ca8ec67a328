/* SPDX-License-Identifier: BSD-2-Clause */
/* The whole VSP with a simulated guest, everything in one thread: negotiation,
 * a scan as Linux does it, sub-channels, disks that come later.
 */
#include <errno.h>

#include "tests/lib/plainvsp.h"

#define DISKS_MAX VHD_QUEUE_IMAGES_MAX

/* ------------------------------------------------------- negotiation ---- */

static void linux_agrees_on_its_first_version(void **state)
{
	struct vsc_properties p;
	struct world w;

	(void)state;
	start(&w);
	vsc_negotiate(w.c, STORVSP_VERSION_WIN10, &p);
	assert_int_equal(p.version, 0x0602);
	assert_int_equal(p.max_subchannels, 0);
	assert_int_equal(p.flags, 0);
	assert_int_equal(p.max_transfer_bytes, 2u << 20);
	stop(&w);
}

static void every_version_reads_a_disk(void **state)
{
	static const uint16_t versions[] = {0x0602, 0x0600, 0x0501, 0x0402,
					    0x0200};

	(void)state;
	for (unsigned i = 0; i < 5; i++) {
		struct vsc_cmd cmd;
		struct vsc_answer a;
		struct world w;

		start(&w);
		vsc_negotiate(w.c, versions[i], NULL);
		cmd = vsc_rw(false, 0, 0, 8, false, &w.b);
		vsc_run(w.c, &cmd, &a);
		assert_true(vsc_good(&a));
		assert_int_equal(a.bytes, versions[i] < 0x0501 ? 48 : 64);
		assert_int_equal(le16_get(a.p.u.request.length),
				 versions[i] < 0x0501 ? 36 : 52);
		assert_int_equal(a.p.u.request.sense_length,
				 versions[i] < 0x0501 ? 18 : 20);
		assert_int_equal(le32_get(a.p.u.request.transfer_length), 4096);
		stop(&w);
	}
}

static void requests_before_ready_and_begin_after_it_are_refused(void **state)
{
	struct storvsp_packet_wire p = {
		.op = le32_put(STORVSP_OP_EXECUTE_SRB),
		.u.request.cdb_length = 6,
	};
	struct vsc_answer a;
	struct world w;

	(void)state;
	start(&w);
	vsc_ask(w.c, &p, 64, &a);
	assert_int_equal(le32_get(a.p.status), STORVSP_STATUS_INVALID_STATE);
	assert_int_equal(a.p.u.request.srb_status, 0x06);
	vsc_negotiate(w.c, STORVSP_VERSION_WIN10, NULL);
	assert_int_equal(vsc_op(w.c, STORVSP_OP_BEGIN_INITIALIZATION, 64),
			 STORVSP_STATUS_INVALID_STATE);
	vsc_ask(w.c, &p, 64, &a);
	assert_true(vsc_good(&a)); /* TEST UNIT READY */
	stop(&w);
}

static void reopened_channel_starts_anew(void **state)
{
	struct storvsp_packet_wire p = {
		.op = le32_put(STORVSP_OP_EXECUTE_SRB),
		.u.request.cdb_length = 6,
	};
	struct vsc_answer a;
	struct world w;

	(void)state;
	start(&w);
	for (unsigned i = 0; i < 3; i++) {
		vsc_ask(w.c, &p, 64, &a);
		assert_int_equal(le32_get(a.p.status),
				 STORVSP_STATUS_INVALID_STATE);
		vsc_negotiate(w.c, STORVSP_VERSION_WIN10, NULL);
		vsc_ask(w.c, &p, 64, &a);
		assert_true(vsc_good(&a));
		vsc_close(w.c);
		w.c = vsc_open(w.v, 0);
		assert_non_null(w.c);
	}
	stop(&w);
}

/* What the guest put into the rest of the packet comes back nowhere. */
static void answers_have_the_size_of_the_question(void **state)
{
	struct world w;

	(void)state;
	start(&w);
	for (size_t n = 0; n <= 200; n += 8) {
		uint8_t payload[200];
		struct vsc_answer a;

		memset(payload, 0xA5, sizeof(payload));
		vsc_ask(w.c, payload, n, &a); /* vsc checks the size */
		assert_int_equal(le32_get(a.p.status),
				 n < 12 ? STORVSP_STATUS_INVALID_PARAMETER
					: STORVSP_STATUS_INVALID_REQUEST);
		qtest_check_zero(&a.p.u, sizeof(a.p.u));
	}
	stop(&w);
}

/* ---------------------------------------------------------------- scan -- */

static void inquire(struct world *w, const struct vsc_cmd *where, uint8_t evpd,
		    uint8_t page, uint8_t alloc, struct vsc_answer *a,
		    uint8_t *data)
{
	struct vsc_cmd cmd = *where;

	memcpy(cmd.cdb, (uint8_t[]){0x12, evpd, page, 0, alloc, 0}, 6);
	cmd.data_in = STORVSP_DATA_IN;
	cmd.bytes = alloc;
	cmd.buffer = &w->b;
	memset(data, 0xEE, 256);
	vsc_buffer_put(&w->b, data, 256);
	vsc_run(w->c, &cmd, a);
	vsc_buffer_get(&w->b, data, 256);
}

static unsigned report_luns(struct world *w, const struct vsc_cmd *where,
			    uint8_t *data)
{
	struct vsc_cmd cmd = *where;
	struct vsc_answer a;

	memcpy(cmd.cdb, (uint8_t[]){0xA0, 0, 0, 0, 0, 0, 0, 0, 0x10, 0}, 10);
	cmd.data_in = STORVSP_DATA_IN;
	cmd.bytes = 4096;
	cmd.buffer = &w->b;
	vsc_run(w->c, &cmd, &a);
	assert_true(vsc_good(&a));
	vsc_buffer_get(&w->b, data, 4096);
	return (unsigned)(data[0] << 24 | data[1] << 16 | data[2] << 8 |
			  data[3]) /
	       8;
}

/* One product data page as Linux fetches it: 4 bytes, then all. */
static void fetch_page(struct world *w, const struct vsc_cmd *where,
		       uint8_t page, uint16_t want)
{
	struct vsc_answer a;
	uint8_t data[256];
	unsigned len;

	inquire(w, where, 1, page, 4, &a, data);
	assert_true(vsc_good(&a));
	assert_int_equal(le32_get(a.p.u.request.transfer_length), 4);
	assert_int_equal(data[1], page);
	assert_int_equal(data[4], 0xEE);
	len = 4u + (unsigned)(data[2] << 8 | data[3]);
	assert_int_equal(len, want);
	inquire(w, where, 1, page, (uint8_t)len, &a, data);
	assert_true(vsc_good(&a));
	assert_int_equal(le32_get(a.p.u.request.transfer_length), len);
}

/* What sd asks of a disk it has found. */
static void attach_disk(struct world *w, const struct vsc_cmd *where)
{
	static const struct {
		uint8_t bytes;
		uint8_t cdb[16];
	} asks[] = {
		{0, {0x00}},
		{32, {0x9E, 0x10, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 32}},
		{4, {0x1A, 0, 0x3F, 0, 4}},
		{4, {0x1A, 0, 0x08, 0, 4}},
		{24, {0x1A, 0, 0x08, 0, 24}},
	};
	static const uint16_t pages[][2] = {
		{0x00, 10}, {0x80, 36}, {0x83, 52},
		{0xB0, 64}, {0xB1, 64}, {0xB2, 8},
	};

	for (unsigned i = 0; i < 6; i++)
		fetch_page(w, where, (uint8_t)pages[i][0], pages[i][1]);
	for (unsigned i = 0; i < sizeof(asks) / sizeof(asks[0]); i++) {
		struct vsc_cmd cmd = *where;
		struct vsc_answer a;

		memcpy(cmd.cdb, asks[i].cdb, 16);
		cmd.data_in =
			asks[i].bytes ? STORVSP_DATA_IN : STORVSP_DATA_NONE;
		cmd.bytes = asks[i].bytes;
		cmd.buffer = asks[i].bytes ? &w->b : NULL;
		vsc_run(w->c, &cmd, &a);
		assert_true(vsc_good(&a));
		assert_int_equal(le32_get(a.p.u.request.transfer_length),
				 asks[i].bytes);
	}
}

/* As scsi_scan.c goes over a host with 8 channels and 2 targets. */
static unsigned scan(struct world *w)
{
	unsigned disks = 0;

	for (unsigned t = 0; t < 16; t++) {
		struct vsc_cmd where = {
			.path = (uint8_t)(t / 2),
			.target = t % 2,
		};
		uint8_t data[256], luns[4096];
		struct vsc_answer a;
		unsigned n;

		inquire(w, &where, 0, 0, 36, &a, data);
		assert_true(vsc_good(&a));
		assert_int_equal(le32_get(a.p.u.request.transfer_length), 36);
		assert_true(data[0] == 0x00 || data[0] == 0x7F);
		inquire(w, &where, 0, 0, (uint8_t)(data[4] + 5), &a, data);
		assert_int_equal(le32_get(a.p.u.request.transfer_length), 104);
		n = report_luns(w, &where, luns);
		for (unsigned i = 0; i < n; i++) {
			where.lun = luns[8 + 8 * i + 1];
			inquire(w, &where, 0, 0, 36, &a, data);
			assert_int_equal(data[0], 0x00);
			assert_memory_equal(data + 8, "Msft    Virtual Disk ",
					    21);
			attach_disk(w, &where);
			disks++;
		}
	}
	return disks;
}

static void linux_scan_finds_exactly_the_disks_there_are(void **state)
{
	struct memfile *m[3];
	struct vhd *img[3];
	struct world w;

	(void)state;
	start(&w);
	for (unsigned i = 0; i < 3; i++) {
		m[i] = memfile_create();
		img[i] = qtest_create_mem(memfile_file(m[i]), VHD_FORMAT_FIXED,
					  1 << 20, 0);
	}
	vsc_disk(w.v, img[0], 0, 0, 5, false);
	vsc_disk(w.v, img[1], 0, 1, 3, true); /* no LUN 0 here */
	vsc_disk(w.v, img[2], 7, 1, 254, false);
	vsc_negotiate(w.c, STORVSP_VERSION_WIN10, NULL);
	assert_int_equal(scan(&w), 4);
	stop(&w);
	for (unsigned i = 0; i < 3; i++) {
		qtest_close(img[i]);
		memfile_destroy(m[i]);
	}
}

static void absent_lun_is_no_device(void **state)
{
	struct vsc_cmd cmd = {.lun = 1};
	struct vsc_answer a;
	struct world w;

	(void)state;
	start(&w);
	vsc_negotiate(w.c, STORVSP_VERSION_WIN10, NULL);
	vsc_run(w.c, &cmd, &a);
	assert_int_equal(a.p.u.request.srb_status, 0x20);
	assert_int_equal(a.p.u.request.scsi_status, 0x00);
	assert_int_equal(le32_get(a.p.status), 0xC00000C0);
	stop(&w);
}

/* ------------------------------------------------------------- changes -- */

/* The first protocol has no word for it: its guest is told nothing. */
static void disk_added_later_is_announced_and_found(void **state)
{
	static const struct {
		uint16_t version;
		unsigned announced;
		uint32_t bytes;
	} rows[] = {
		{STORVSP_VERSION_WIN10, 1, 64},
		{STORVSP_VERSION_WIN8, 1, 64},
		{STORVSP_VERSION_WIN7, 1, 48},
		{STORVSP_VERSION_WIN6, 0, 0},
	};

	(void)state;
	for (unsigned i = 0; i < 4; i++) {
		struct memfile *m = memfile_create();
		struct vhd *img = qtest_create_mem(
			memfile_file(m), VHD_FORMAT_FIXED, 1 << 20, 0);
		struct world w;

		start(&w);
		vsc_negotiate(w.c, rows[i].version, NULL);
		assert_int_equal(scan(&w), 1);
		assert_int_equal(vsc_unasked(w.c), 0);
		vsc_disk(w.v, img, 0, 0, 1, false);
		vsc_pump(w.v);
		assert_int_equal(scan(&w), 2);
		assert_int_equal(vsc_unasked(w.c), rows[i].announced);
		assert_int_equal(vsc_unasked_bytes(w.c), rows[i].bytes);
		if (rows[i].announced)
			assert_int_equal(vsc_unasked_op(w.c),
					 STORVSP_OP_ENUMERATE_BUS);
		stop(&w);
		qtest_close(img);
		memfile_destroy(m);
	}
}

static void no_announcement_before_the_guest_scans_anyway(void **state)
{
	struct memfile *m = memfile_create();
	struct vhd *img =
		qtest_create_mem(memfile_file(m), VHD_FORMAT_FIXED, 1 << 20, 0);
	struct world w;

	(void)state;
	start(&w);
	vsc_disk(w.v, img, 0, 0, 1, false);
	vsc_pump(w.v);
	vsc_negotiate(w.c, STORVSP_VERSION_WIN10, NULL);
	assert_int_equal(scan(&w), 2);
	assert_int_equal(vsc_unasked(w.c), 0);
	stop(&w);
	qtest_close(img);
	memfile_destroy(m);
}

static void sub_channels_serve_the_same_disks(void **state)
{
	struct memfile *m = memfile_create();
	struct vhd *img =
		qtest_create_mem(memfile_file(m), VHD_FORMAT_FIXED, 1 << 20, 0);
	struct vsc_channel *sub[3];
	struct vsc_properties p;
	uint8_t data[4096];
	struct world w;

	(void)state;
	start_with(&w, (struct vsc_opts){.vsp.max_subchannels = 3});
	vsc_negotiate(w.c, STORVSP_VERSION_WIN10, &p);
	assert_int_equal(p.max_subchannels, 3);
	assert_int_equal(p.flags, 1);
	assert_int_equal(vsc_create_subs(w.c, 4),
			 STORVSP_STATUS_INVALID_PARAMETER);
	assert_int_equal(vsc_create_subs(w.c, 3), 0);
	for (unsigned i = 0; i < 3; i++)
		sub[i] = vsc_open(w.v, (uint16_t)(i + 1));
	for (unsigned i = 0; i < 3; i++) {
		struct vsc_cmd cmd = vsc_rw(true, 0, i * 8, 8, false, &w.b);
		struct vsc_answer a;

		qtest_fill(data, 4096, i * 8, i);
		vsc_buffer_put(&w.b, data, 4096);
		vsc_run(sub[i], &cmd, &a);
		assert_true(vsc_good(&a));
		memset(data, 0, 4096);
		vsc_buffer_put(&w.b, data, 4096);
		run_rw(&w, false, i * 8, 8, false);
		vsc_buffer_get(&w.b, data, 4096);
		qtest_check(data, 4096, i * 8, i);
		/* negotiation is the primary's */
		assert_int_equal(
			vsc_op(sub[i], STORVSP_OP_BEGIN_INITIALIZATION, 64),
			STORVSP_STATUS_INVALID_STATE);
	}
	/* a new disk is announced once, on the primary */
	vsc_disk(w.v, img, 0, 0, 1, false);
	vsc_pump(w.v);
	for (unsigned i = 0; i < 3; i++) {
		struct vsc_cmd cmd = {.lun = 1, .data_in = STORVSP_DATA_NONE};
		struct vsc_answer a;

		vsc_run(sub[i], &cmd, &a);
		assert_true(vsc_good(&a));
		assert_int_equal(vsc_unasked(sub[i]), 0);
		vsc_run(w.c, &cmd, &a);
	}
	assert_int_equal(vsc_unasked(w.c), 1);
	stop(&w);
	qtest_close(img);
	memfile_destroy(m);
}

/* As far as sub-channels may be asked for, but not to the end. */
static void negotiate_half(struct world *w)
{
	struct storvsp_packet_wire p = {
		.op = le32_put(STORVSP_OP_QUERY_PROTOCOL_VERSION),
		.u.version.version = le16_put(STORVSP_VERSION_WIN10),
	};
	struct vsc_answer a;

	assert_int_equal(vsc_op(w->c, STORVSP_OP_BEGIN_INITIALIZATION, 64), 0);
	vsc_ask(w->c, &p, 64, &a);
	assert_int_equal(vsc_op(w->c, STORVSP_OP_QUERY_PROPERTIES, 64), 0);
	assert_int_equal(vsc_create_subs(w->c, 1), 0);
}

/* Linux may open a sub-channel while END_INITIALIZATION is on its way; also
 * where an earlier session had been ready.
 */
static void sub_channel_waits_until_the_session_is_ready(void **state)
{
	struct vsc_cmd cmd = {.data_in = STORVSP_DATA_NONE};
	struct vsc_channel *sub;
	struct vsc_answer a;
	struct world w;

	(void)state;
	start_with(&w, (struct vsc_opts){.vsp.max_subchannels = 1});
	for (unsigned i = 0; i < 2; i++) {
		negotiate_half(&w);
		sub = vsc_open(w.v, 1);
		assert_true(vsc_start(sub, &cmd) != 0);
		assert_false(vsc_recv(sub, &a));
		assert_int_equal(vsc_op(w.c, STORVSP_OP_END_INITIALIZATION, 64),
				 0);
		assert_true(vsc_recv(sub, &a));
		assert_true(vsc_good(&a));
		vsc_close(sub);
		vsc_close(w.c);
		w.c = vsc_open(w.v, 0);
	}
	stop(&w);
}

/* -------------------------------------------------------------- misuse -- */

static void impossible_controllers_and_disks_are_refused(void **state)
{
	struct storvsp_opts o = {.depth = STORVSP_DEPTH_MAX + 1};
	struct storvsp_disk_opts d = {0};
	struct storvsp *vsp = NULL;
	struct vhd_err err;
	struct world w;

	(void)state;
	assert_refused(storvsp_create(&o, &vsp, &err), &err, EINVAL,
		       VHD_WHY_ARGUMENT);
	o = (struct storvsp_opts){.max_transfer_bytes = 4095};
	assert_refused(storvsp_create(&o, &vsp, &err), &err, EINVAL,
		       VHD_WHY_ARGUMENT);
	o = (struct storvsp_opts){.max_transfer_bytes =
					  STORVSP_TRANSFER_MAX + 4096};
	assert_refused(storvsp_create(&o, &vsp, &err), &err, EINVAL,
		       VHD_WHY_ARGUMENT);
	o = (struct storvsp_opts){.max_subchannels =
					  STORVSP_SUBCHANNELS_MAX + 1};
	assert_refused(storvsp_create(&o, &vsp, &err), &err, EINVAL,
		       VHD_WHY_ARGUMENT);
	o = (struct storvsp_opts){
		.depth = STORVSP_DEPTH_MAX,
		.max_transfer_bytes = STORVSP_TRANSFER_MAX,
		.max_subchannels = STORVSP_SUBCHANNELS_MAX,
	};
	assert_int_equal(storvsp_create(&o, &vsp, &err), 0);
	storvsp_destroy(vsp);
	storvsp_destroy(NULL);

	start(&w);
	assert_refused(storvsp_disk_add(vsc_vsp(w.v), &d, w.img, &err), &err,
		       EEXIST, VHD_WHY_ARGUMENT);
	d.path = 8;
	assert_refused(storvsp_disk_add(vsc_vsp(w.v), &d, w.img, &err), &err,
		       EINVAL, VHD_WHY_ARGUMENT);
	d = (struct storvsp_disk_opts){.target = 2};
	assert_refused(storvsp_disk_add(vsc_vsp(w.v), &d, w.img, &err), &err,
		       EINVAL, VHD_WHY_ARGUMENT);
	d = (struct storvsp_disk_opts){.lun = 255};
	assert_refused(storvsp_disk_add(vsc_vsp(w.v), &d, w.img, &err), &err,
		       EINVAL, VHD_WHY_ARGUMENT);
	stop(&w);
}

static void controller_holds_256_disks_and_no_more(void **state)
{
	static struct memfile *m[DISKS_MAX + 1];
	static struct vhd *img[DISKS_MAX + 1];
	struct storvsp_disk_opts d = {.path = 7, .target = 1, .lun = 254};
	struct vhd_err err;
	struct world w;

	(void)state;
	for (unsigned i = 0; i <= DISKS_MAX; i++) {
		m[i] = memfile_create();
		img[i] = qtest_create_mem(memfile_file(m[i]), VHD_FORMAT_FIXED,
					  1 << 16, 0);
	}
	start(&w); /* with one disk at 0:0:0 */
	vsc_negotiate(w.c, STORVSP_VERSION_WIN10, NULL);
	for (unsigned i = 1; i < DISKS_MAX; i++)
		vsc_disk(w.v, img[i], (uint8_t)(i / 32), i % 2,
			 (uint8_t)(i % 32), false);
	assert_refused(storvsp_disk_add(vsc_vsp(w.v), &d, img[0], &err), &err,
		       ENOSPC, VHD_WHY_ARGUMENT);
	for (unsigned i = 1; i < DISKS_MAX; i++) {
		struct vsc_cmd cmd =
			vsc_rw(false, (uint8_t)(i % 32), 120, 8, false, &w.b);
		struct vsc_answer a;

		cmd.path = (uint8_t)(i / 32);
		cmd.target = i % 2;
		vsc_run(w.c, &cmd, &a);
		assert_true(vsc_good(&a));
	}
	stop(&w);
	for (unsigned i = 0; i <= DISKS_MAX; i++) {
		qtest_close(img[i]);
		memfile_destroy(m[i]);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(linux_agrees_on_its_first_version),
		cmocka_unit_test(every_version_reads_a_disk),
		cmocka_unit_test(
			requests_before_ready_and_begin_after_it_are_refused),
		cmocka_unit_test(reopened_channel_starts_anew),
		cmocka_unit_test(answers_have_the_size_of_the_question),
		cmocka_unit_test(linux_scan_finds_exactly_the_disks_there_are),
		cmocka_unit_test(absent_lun_is_no_device),
		cmocka_unit_test(disk_added_later_is_announced_and_found),
		cmocka_unit_test(no_announcement_before_the_guest_scans_anyway),
		cmocka_unit_test(sub_channels_serve_the_same_disks),
		cmocka_unit_test(sub_channel_waits_until_the_session_is_ready),
		cmocka_unit_test(controller_holds_256_disks_and_no_more),
		cmocka_unit_test(impossible_controllers_and_disks_are_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: BSD-2-Clause */
/* hv ctl: its protocol, its server with a guest in memory that does I/O all the
 * while, and its command line against that server.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <pthread.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include "tests/lib/fakehv.h"
#include "tests/lib/qtest.h"
#include "tests/lib/random.h"
#include "tests/lib/vsc.h"
#include "tools/hv/ctl.h"
#include "tools/hv/fwdisk.h"
#include "storvsp/scsi/scsi.h"

const char hv_prog[] = "hv";

#define DISK_BYTES (4u << 20)

/* ------------------------------------------------------------- requests -- */

static int parse(const char *text, struct ctl_request *r)
{
	struct vhd_err err;

	return ctl_request_parse(text, strlen(text), r, &err);
}

static void every_request_is_the_same_written_and_read_again(void **state)
{
	static const char *const texts[] = {
		"{\"command\":\"list\"}",
		"{\"command\":\"add\",\"controller\":3,\"lun\":63,\"name\":"
		"\"/a/b.vhd\",\"read-only\":true,\"format\":\"raw\",\"direct\":"
		"false,\"unmap\":\"on\",\"sector\":4096,\"physical\":4096}",
		"{\"command\":\"remove\",\"controller\":0,\"lun\":1,\"now\":"
		"true}",
		"{\"command\":\"resize\",\"controller\":0,\"lun\":1,\"by\":"
		"false,\"size\":4611686018427387904}",
		"{\"command\":\"resume\",\"controller\":0,\"lun\":0}",
		"{\"command\":\"limit\",\"controller\":0,\"lun\":0,\"iops\":"
		"500,\"depth\":0,\"on-error\":\"pause\"}",
		"{\"command\":\"stats\",\"controller\":1,\"lun\":2}",
	};

	(void)state;
	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		struct json_object *o;
		struct ctl_request r;

		assert_int_equal(parse(texts[i], &r), 0);
		o = ctl_request_json(&r);
		assert_string_equal(json_object_to_json_string_ext(
					    o, JSON_C_TO_STRING_PLAIN |
						       JSON_C_TO_STRING_NOSLASHESCAPE),
				    texts[i]);
		json_object_put(o);
	}
}

static void what_is_no_request_is_refused(void **state)
{
	static const char *const texts[] = {
		"",
		"{}",
		"[]",
		"nonsense",
		"{\"command\":\"list\"}{}",
		"{\"command\":\"list\",\"lun\":0}",
		"{\"command\":\"fly\"}",
		"{\"command\":1}",
		"{\"command\":\"remove\"}",
		"{\"command\":\"remove\",\"lun\":64}",
		"{\"command\":\"remove\",\"lun\":-1}",
		"{\"command\":\"remove\",\"lun\":1.5}",
		"{\"command\":\"remove\",\"lun\":\"1\"}",
		"{\"command\":\"remove\",\"lun\":1,\"controller\":8}",
		"{\"command\":\"remove\",\"lun\":1,\"now\":1}",
		"{\"command\":\"remove\",\"lun\":1,\"size\":1}",
		"{\"command\":\"resize\",\"lun\":1,\"size\":-1}",
		"{\"command\":\"resize\",\"lun\":1,\"size\":99999999999999999999}",
		"{\"command\":\"add\",\"lun\":1}",
		"{\"command\":\"add\",\"name\":\"\"}",
		"{\"command\":\"add\",\"name\":\"a\\u0000b\"}",
		"{\"command\":\"add\",\"name\":\"a\",\"format\":\"qcow2\"}",
		"{\"command\":\"limit\",\"lun\":1,\"iops\":10000001}",
		"{\"command\":\"limit\",\"lun\":1,\"on-error\":\"panic\"}",
		"{\"command\":[[[[[[[[]]]]]]]]}",
	};

	(void)state;
	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		struct ctl_request r;

		if (parse(texts[i], &r) != -EINVAL)
			fail_msg("%s", texts[i]);
	}
}

/* ---------------------------------------------------------- the world ---- */

struct world {
	char dir[64], path[4][96];
	struct hv_args args;
	struct hv_disks disks;
	struct hv_controllers controllers;
	struct ctl_server *server;
	struct vsc *v;
	struct vsc_channel *c;
	struct vsc_buffer b;
	int fd; /* a client */
};

static void create(const char *path, enum vhd_format format, uint8_t id)
{
	const struct vhd_create_opts o = {
		.format = format,
		.size_bytes = DISK_BYTES,
		.unique_id = {id},
	};
	struct vhd *img;

	assert_int_equal(vhd_create(path, &o, &img, NULL), 0);
	qtest_close(img);
}

static int connect_to(const char *name)
{
	struct ctl_place p;
	struct vhd_err err;
	int fd, rc;

	assert_int_equal(ctl_place_find(name, false, &p, &err), 0);
	rc = ctl_connect(&p, &fd, &err);
	ctl_place_close(&p);
	return rc ? rc : fd;
}

static void begin(struct world *w)
{
	strcpy(w->dir, "/tmp/vhdctl.XXXXXX");
	assert_non_null(mkdtemp(w->dir));
	setenv("XDG_RUNTIME_DIR", w->dir, 1);
	for (unsigned i = 0; i < 4; i++)
		snprintf(w->path[i], sizeof(w->path[i]), "%s/%u.vhd", w->dir,
			 i);
	create(w->path[0], VHD_FORMAT_DYNAMIC, 1);
	create(w->path[1], VHD_FORMAT_DYNAMIC, 2);
	create(w->path[2], VHD_FORMAT_FIXED, 3);
	w->args.name = "vm";
}

static struct storvsp *world_guest(struct world *w)
{
	const struct vsc_opts o = {.threaded = true};

	w->disks.args = &w->args;
	w->v = vsc_create(&o);
	w->controllers.vsp[0] = vsc_vsp(w->v);
	return vsc_vsp(w->v);
}

static void serve(struct world *w)
{
	struct vhd_err err = {0};

	if (ctl_server_create("vm", fakehv(), &w->disks, &w->controllers,
			      &w->server, &err) ||
	    ctl_server_start(w->server, &err))
		fail_msg("%s", err.text);
	w->c = vsc_open(w->v, 0);
	vsc_negotiate(w->c, STORVSP_VERSION_WIN10, NULL);
	vsc_buffer_init(w->v, &w->b, 16);
	w->fd = connect_to("vm");
	assert_true(w->fd >= 0);
}

static void start(struct world *w)
{
	struct vhd_err err;

	memset(w, 0, sizeof(*w));
	begin(w);
	w->args.disks[0].path = w->path[0];
	w->args.disk_count = 1;
	assert_int_equal(hv_disks_open(&w->disks, &w->args), 0);
	assert_int_equal(hv_disks_attach(&w->disks, 0, world_guest(w), &err),
			 0);
	serve(w);
}

static void stop(struct world *w)
{
	char path[128];

	close(w->fd);
	ctl_server_stop(w->server);
	vsc_destroy(w->v);
	assert_int_equal(ctl_server_close_disks(w->server), CLI_OK);
	ctl_server_destroy(w->server, "power-off");
	assert_int_equal(hv_disks_close(&w->disks), CLI_OK);
	for (unsigned i = 0; i < 4; i++)
		(void)unlink(w->path[i]);
	/* nothing is left in there */
	snprintf(path, sizeof(path), "%s/hv", w->dir);
	assert_int_equal(rmdir(path), 0);
	assert_int_equal(rmdir(w->dir), 0);
}

/* What is answered, as text; valid until the next call. */
static const char *ask(int fd, const char *request, const int *fds,
		       unsigned count)
{
	static char text[CTL_ANSWER_BYTES_MAX + 1];
	int got[CTL_FILES_MAX];
	unsigned n_got;
	ssize_t n;

	assert_int_equal(ctl_send(fd, request, strlen(request), fds, count, 0),
			 0);
	n = ctl_receive(fd, text, sizeof(text) - 1, got, &n_got, 0);
	assert_true(n > 0);
	assert_int_equal(n_got, 0);
	text[n] = '\0';
	return text;
}

static void expect(int fd, const char *request, const int *fds, unsigned count,
		   const char *part)
{
	const char *text = ask(fd, request, fds, count);

	if (!strstr(text, part))
		fail_msg("%s\n%s, not %s", request, text, part);
}

#define OK "\"ok\":true"

static int opened(const char *path, int flags)
{
	int fd = open(path, flags | O_CLOEXEC);

	assert_true(fd >= 0);
	return fd;
}

/* As client: send, and let go of what was sent. */
static void add(struct world *w, const char *request, const char *path,
		const char *part)
{
	int fd = opened(path, O_RDWR);

	expect(w->fd, request, &fd, 1, part);
	close(fd);
}

static struct vsc_status run(struct world *w, uint8_t lun, uint8_t opcode)
{
	struct vsc_cmd cmd = {.lun = lun,
			      .cdb = {opcode},
			      .data_in = opcode ? STORVSP_DATA_IN
						: STORVSP_DATA_NONE,
			      .bytes = opcode ? 8 : 0,
			      .buffer = &w->b};
	struct vsc_answer a;

	vsc_run(w->c, &cmd, &a);
	return vsc_status(&a);
}

/* Until the channel has heard of it. */
static void appears(struct world *w, uint8_t lun, bool there)
{
	for (unsigned i = 0; i < 2000; i++)
		if ((run(w, lun, 0).srb != 0x20) == there)
			return;
	fail_msg("LUN %u", lun);
}

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

static unsigned fds_open(void)
{
	DIR *d = opendir("/proc/self/fd");
	unsigned n = 0;

	assert_non_null(d);
	while (readdir(d))
		n++;
	closedir(d);
	return n;
}

/* ------------------------------------------------------------- disks ----- */

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

static int firmware_reads(const struct hv_fwdisks *f)
{
	static uint8_t sector[512];
	const struct iovec iov = {sector, sizeof(sector)};
	const struct hv_disk *d = hv_fwdisk(f, 0);

	return d->ops->read(d->arg, 0, &iov, 1);
}

/* Its image is closed: firmware and emulated controllers must not have it. */
static void a_disk_that_goes_is_gone_for_firmware(void **state)
{
	struct vhd_err err;
	struct world w;

	(void)state;
	start(&w);
	assert_int_equal(hv_fwdisks_create(&w.disks, &w.controllers.fwdisks,
					   &err), 0);
	assert_int_equal(hv_fwdisks_start(w.controllers.fwdisks, NULL, &err),
			 0);
	assert_int_equal(firmware_reads(w.controllers.fwdisks), 0);
	expect(w.fd, "{\"command\":\"remove\",\"lun\":0,\"now\":true}", NULL, 0,
	       OK);
	assert_true(can_write(w.path[0]));
	assert_int_equal(firmware_reads(w.controllers.fwdisks), -ENOMEDIUM);
	hv_fwdisks_destroy(w.controllers.fwdisks);
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
	expect(w.fd,
	       "{\"command\":\"resize\",\"lun\":0,\"size\":8388608}", NULL, 0,
	       "does not grow");
	expect(w.fd, "{\"command\":\"change\",\"lun\":0}", NULL, 0, OK);
	assert_true(can_write(w.path[2]));
	appears_asc(&w, 0x3A); /* no disc */
	expect(w.fd, "{\"command\":\"remove\",\"lun\":0}", NULL, 0, OK);
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

/* --------------------------------------------------------- bad clients --- */

static uint64_t cpu_ms(void)
{
	struct timespec t;

	assert_int_equal(clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t), 0);
	return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

static void without_descriptors_clients_wait_and_nothing_spins(void **state)
{
	const char *list = "{\"command\":\"list\"}";
	struct sockaddr_un to = {.sun_family = AF_UNIX};
	struct rlimit was, none;
	struct ctl_place p;
	struct vhd_err err;
	struct world w;
	uint64_t before;
	unsigned n = 0;
	int fd, more[33];

	(void)state;
	start(&w);
	expect(w.fd, list, NULL, 0, OK);
	assert_int_equal(ctl_place_find("vm", false, &p, &err), 0);
	memcpy(to.sun_path, p.path, sizeof(to.sun_path));
	ctl_place_close(&p);
	fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	assert_true(fd >= 0);
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &was), 0);
	none = (struct rlimit){32, was.rlim_max}; /* poll takes no more */
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
	while ((more[n] = dup(fd)) >= 0)
		n++;
	before = cpu_ms();
	assert_int_equal(connect(fd, (struct sockaddr *)&to, sizeof(to)), 0);
	usleep(800000);
	before = cpu_ms() - before;
	while (n > 0)
		close(more[--n]);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &was), 0);
	assert_in_range(before, 0, 200);
	expect(fd, list, NULL, 0, OK);
	close(fd);
	stop(&w);
}

static void who_does_not_read_holds_up_nobody(void **state)
{
	const char *list = "{\"command\":\"list\"}";
	struct world w;
	int slow;

	(void)state;
	start(&w);
	slow = connect_to("vm");
	while (ctl_send(slow, list, strlen(list), NULL, 0, MSG_DONTWAIT) == 0)
		;
	for (unsigned i = 0; i < 20; i++)
		expect(w.fd, list, NULL, 0, OK);
	close(slow);
	stop(&w);
}

static void one_client_too_many_is_sent_away(void **state)
{
	struct world w;
	int fd[9], got[CTL_FILES_MAX];
	unsigned n;
	char c;

	(void)state;
	start(&w); /* has one */
	expect(w.fd, "{\"command\":\"list\"}", NULL, 0, OK);
	for (unsigned i = 0; i < 8; i++)
		fd[i] = connect_to("vm");
	for (unsigned i = 0; i < 7; i++)
		expect(fd[i], "{\"command\":\"list\"}", NULL, 0, OK);
	assert_true(ctl_receive(fd[7], &c, 1, got, &n, 0) <= 0);
	close(fd[0]);
	expect(w.fd, "{\"command\":\"list\"}", NULL, 0, OK);
	fd[8] = connect_to("vm");
	expect(fd[8], "{\"command\":\"list\"}", NULL, 0, OK);
	for (unsigned i = 1; i < 9; i++)
		close(fd[i]);
	stop(&w);
}

static void garbage_is_answered_or_ends_its_client_only(void **state)
{
	uint64_t seed = random_seed();
	struct world w;
	unsigned before;

	(void)state;
	start(&w);
	expect(w.fd, "{\"command\":\"list\"}", NULL, 0, OK);
	before = fds_open();
	for (unsigned i = 0; i < 200; i++) {
		static char bytes[CTL_REQUEST_BYTES_MAX + 100];
		size_t len = random_below(&seed, sizeof(bytes)) + 1;
		int fd = connect_to("vm"), fds[3];

		if (i % 3 == 0)
			len = CTL_REQUEST_BYTES_MAX + 1;
		for (size_t k = 0; k < len; k++)
			bytes[k] = "{}[]\",:0ax\0 "[random_below(&seed, 12)];
		for (unsigned k = 0; k < 3; k++)
			fds[k] = opened("/dev/null", O_RDWR);
		(void)ctl_send(fd, bytes, len, fds, (unsigned)(i % 4), 0);
		for (unsigned k = 0; k < 3; k++)
			close(fds[k]);
		close(fd);
	}
	/* all of it has been looked at */
	expect(w.fd, "{\"command\":\"list\"}", NULL, 0, OK);
	for (unsigned i = 0; i < 1000 && fds_open() != before; i++)
		expect(w.fd, "{\"command\":\"list\"}", NULL, 0, OK);
	assert_int_equal(fds_open(), before);
	stop(&w);
}

/* -------------------------------------------------------- names, places -- */

static void a_name_is_one_guests(void **state)
{
	struct ctl_server *other;
	struct vhd_err err;
	struct world w;

	(void)state;
	start(&w);
	assert_int_equal(ctl_server_create("vm", fakehv(), &w.disks, &w.controllers,
					   &other, &err),
			 -EBUSY);
	ctl_server_destroy(other, "failed");
	expect(w.fd, "{\"command\":\"list\"}", NULL, 0, OK);
	assert_int_equal(connect_to("other"), -ENOENT);
	stop(&w);
}

static void a_socket_left_behind_is_replaced_and_is_private(void **state)
{
	struct ctl_place p;
	struct vhd_err err;
	struct stat st;
	struct world w;
	int fd;

	(void)state;
	start(&w);
	assert_int_equal(ctl_place_find("dead", true, &p, &err), 0);
	assert_int_equal(ctl_listen(&p, &fd, &err), 0);
	assert_int_equal(stat(p.path, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0600);
	close(fd); /* without removing it */
	assert_int_equal(connect_to("dead"), -ECONNREFUSED);
	assert_int_equal(ctl_listen(&p, &fd, &err), 0);
	close(fd);
	assert_int_equal(unlink(p.path), 0);
	ctl_place_close(&p);
	stop(&w);
}

/* ------------------------------------------------------- under load ------ */

struct load {
	struct world *w;
	atomic_bool end;
	unsigned done;
};

static void *guest(void *arg)
{
	struct load *l = arg;
	struct vsc_answer a;

	while (!atomic_load(&l->end)) {
		struct vsc_cmd cmd = vsc_rw(l->done % 2, 0,
					    (l->done * 8) % 8192, 8, false,
					    &l->w->b);

		vsc_run(l->w->c, &cmd, &a);
		if (!vsc_good(&a) && vsc_status(&a).asc != 0x2A) {
			fprintf(stderr, "a request failed\n");
			abort();
		}
		l->done++;
	}
	return NULL;
}

static void the_guest_works_on_while_disks_come_grow_and_go(void **state)
{
	struct load l = {0};
	struct world w;
	pthread_t t;
	char text[128];

	(void)state;
	start(&w);
	l.w = &w;
	assert_int_equal(pthread_create(&t, NULL, guest, &l), 0);
	for (unsigned i = 1; i <= 10; i++) {
		add(&w, "{\"command\":\"add\",\"name\":\"one\",\"lun\":1}", w.path[1],
		    OK);
		snprintf(text, sizeof(text),
			 "{\"command\":\"resize\",\"lun\":%u,\"size\":%u}",
			 i % 2, DISK_BYTES + i * 65536);
		expect(w.fd, text, NULL, 0, OK);
		expect(w.fd, "{\"command\":\"remove\",\"lun\":1}", NULL, 0, OK);
	}
	atomic_store(&l.end, true);
	pthread_join(t, NULL);
	assert_true(l.done > 10);
	stop(&w);
}

/* ----------------------------------------------------------- the program -- */

static int program(const char *first, ...)
{
	char *argv[16] = {(char *)(uintptr_t)"ctl"};
	int argc = 1, status, saved, null = open("/dev/null", O_WRONLY);
	va_list ap;

	va_start(ap, first);
	for (const char *s = first; s; s = va_arg(ap, const char *))
		argv[argc++] = (char *)(uintptr_t)s;
	va_end(ap);
	fflush(stdout);
	saved = dup(1);
	dup2(null, 1);
	optind = 0; /* getopt starts anew */
	status = ctl_main(argc, argv);
	fflush(stdout);
	dup2(saved, 1);
	close(saved);
	close(null);
	return status;
}

static void the_program_does_it_all_and_says_how_it_went(void **state)
{
	struct world w;

	(void)state;
	start(&w);
	assert_int_equal(program("vm", "disk", "add", w.path[1], NULL), 0);
	appears(&w, 1, true);
	assert_int_equal(program("vm", "disk", "list", NULL), 0);
	assert_int_equal(program("vm", "disk", "list", "--json", NULL), 0);
	assert_int_equal(program("vm", "disk", "resize", "0:1", "8M", NULL), 0);
	assert_int_equal(program("vm", "disk", "resize", "1", "+8M", NULL), 0);
	assert_int_equal(program("vm", "disk", "resize", "1", "1M", NULL), 3);
	assert_int_equal(program("vm", "disk", "stats", NULL), 0);
	assert_int_equal(program("vm", "disk", "stats", "1", "--json", NULL),
			 0);
	assert_int_equal(program("vm", "disk", "limit", "0:0:1", "--iops",
				 "100", "--on-error", "pause", NULL),
			 0);
	assert_int_equal(program("vm", "disk", "resume", "1", NULL), 0);
	assert_int_equal(program("vm", "disk", "remove", "1", NULL), 0);
	assert_int_equal(program("vm", "disk", "remove", "1", NULL), 3);
	assert_int_equal(program("vm", "disk", "add", "/none.vhd", NULL), 3);
	assert_int_equal(program("nobody", "disk", "list", NULL), 3);
	stop(&w);
}

static void what_makes_no_sense_is_usage(void **state)
{
	(void)state;
	assert_int_equal(program("vm", NULL), 2);
	assert_int_equal(program("vm", "disk", NULL), 2);
	assert_int_equal(program("vm", "disk", "fly", NULL), 2);
	assert_int_equal(program("vm", "cpu", "list", NULL), 2);
	assert_int_equal(program("../vm", "disk", "list", NULL), 2);
	assert_int_equal(program("vm", "disk", "list", "1", NULL), 2);
	assert_int_equal(program("vm", "disk", "remove", "x", NULL), 2);
	assert_int_equal(program("vm", "disk", "remove", "8:0", NULL), 2);
	assert_int_equal(program("vm", "disk", "remove", "64", NULL), 2);
	assert_int_equal(program("vm", "disk", "resize", "1", "8KB", NULL), 2);
	assert_int_equal(program("vm", "disk", "limit", "1", NULL), 2);
	assert_int_equal(program("vm", "disk", "list", "--now", NULL), 2);
	assert_int_equal(program("vm", "disk", "add", "a,sector=3", NULL), 2);
	assert_int_equal(program("vm", "disk", "add", "a,dvd", NULL), 2);
	assert_int_equal(program("vm", "disk", "add", "a,ide=1", NULL), 2);
	assert_int_equal(program("vm", "disk", "insert", "1", "a,controller=1",
				 NULL), 2);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(
			every_request_is_the_same_written_and_read_again),
		cmocka_unit_test(what_is_no_request_is_refused),
		cmocka_unit_test(a_disk_comes_grows_and_goes),
		cmocka_unit_test(the_disk_of_the_beginning_goes_too),
		cmocka_unit_test(a_disk_that_goes_is_gone_for_firmware),
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
		cmocka_unit_test(who_does_not_read_holds_up_nobody),
		cmocka_unit_test(
			without_descriptors_clients_wait_and_nothing_spins),
		cmocka_unit_test(one_client_too_many_is_sent_away),
		cmocka_unit_test(garbage_is_answered_or_ends_its_client_only),
		cmocka_unit_test(a_name_is_one_guests),
		cmocka_unit_test(
			a_socket_left_behind_is_replaced_and_is_private),
		cmocka_unit_test(
			the_guest_works_on_while_disks_come_grow_and_go),
		cmocka_unit_test(the_program_does_it_all_and_says_how_it_went),
		cmocka_unit_test(what_makes_no_sense_is_usage),
	};

	if (cli_sandbox_set("test", "off"))
		return 1;
	return cmocka_run_group_tests(tests, NULL, NULL);
}

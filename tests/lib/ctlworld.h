/* SPDX-License-Identifier: BSD-2-Clause */
/* A control server beside a guest in memory, for its tests: a folder with three
 * images, of which the guest has the first one, a channel on its controller,
 * and a client of the server.
 */
#ifndef TESTS_LIB_CTLWORLD_H
#define TESTS_LIB_CTLWORLD_H

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/lib/fakehv.h"
#include "tests/lib/qtest.h"
#include "tests/lib/vsc.h"
#include "tools/hv/ctl.h"

#define DISK_BYTES (4u << 20)

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

static inline void create(const char *path, enum vhd_format format,
			  uint8_t id)
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

static inline int connect_to(const char *name)
{
	struct ctl_place p;
	struct vhd_err err;
	int fd, rc;

	assert_int_equal(ctl_place_find(name, false, &p, &err), 0);
	rc = ctl_connect(&p, &fd, &err);
	ctl_place_close(&p);
	return rc ? rc : fd;
}

static inline void begin(struct world *w)
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

static inline struct storvsp *world_guest(struct world *w)
{
	const struct vsc_opts o = {.threaded = true};

	w->disks.args = &w->args;
	w->v = vsc_create(&o);
	w->controllers.vsp[0] = vsc_vsp(w->v);
	return vsc_vsp(w->v);
}

static inline void serve(struct world *w)
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

static inline void start(struct world *w)
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

static inline void stop(struct world *w)
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
static inline const char *ask(int fd, const char *request, const int *fds,
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

static inline void expect(int fd, const char *request, const int *fds,
			  unsigned count, const char *part)
{
	const char *text = ask(fd, request, fds, count);

	if (!strstr(text, part))
		fail_msg("%s\n%s, not %s", request, text, part);
}

#define OK "\"ok\":true"

static inline int opened(const char *path, int flags)
{
	int fd = open(path, flags | O_CLOEXEC);

	assert_true(fd >= 0);
	return fd;
}

/* As client: send, and let go of what was sent. */
static inline void add(struct world *w, const char *request, const char *path,
		       const char *part)
{
	int fd = opened(path, O_RDWR);

	expect(w->fd, request, &fd, 1, part);
	close(fd);
}

static inline struct vsc_status run(struct world *w, uint8_t lun,
				    uint8_t opcode)
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
static inline void appears(struct world *w, uint8_t lun, bool there)
{
	for (unsigned i = 0; i < 2000; i++)
		if ((run(w, lun, 0).srb != 0x20) == there)
			return;
	fail_msg("LUN %u", lun);
}

static inline unsigned fds_open(void)
{
	DIR *d = opendir("/proc/self/fd");
	unsigned n = 0;

	assert_non_null(d);
	while (readdir(d))
		n++;
	closedir(d);
	return n;
}

#endif

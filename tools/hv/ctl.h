/* SPDX-License-Identifier: BSD-2-Clause */
/* Control of a running guest over a UNIX socket. Private to tools/hv.
 *
 *   ctl_request.c  a request as JSON text, and back
 *   ctl_socket.c   the socket: its place, messages with descriptors
 *   ctl_server.c   the thread inside `hv run`: clients, one request at a time
 *   ctl_disk.c     what a request does to the guest's disks
 *   ctl_look.c     what it tells of them
 *   ctl.c          the program `hv ctl`; ctl_show.c: its tables
 *
 * A message is a packet (SOCK_SEQPACKET): a request one JSON object, with the
 * files of an image to be added beside it as descriptors, as hv may open none
 * itself; an answer one JSON object. Answers come in the order of requests.
 */
#ifndef TOOLS_HV_CTL_H
#define TOOLS_HV_CTL_H

#include <json-c/json.h>

#include "hv.h"

#define CTL_REQUEST_BYTES_MAX 4096u
#define CTL_ANSWER_BYTES_MAX  (128u << 10)
/* Of one image and its parents. */
#define CTL_FILES_MAX 64u
#define CTL_TEXT_MAX  512u

/* ------------------------------------------------------------- requests -- */

enum ctl_command {
	CTL_LIST,
	CTL_ADD,
	CTL_REMOVE,
	CTL_CHANGE, /* the disc in a DVD drive; without a file: none */
	CTL_RESIZE,
	CTL_RESUME,
	CTL_LIMIT,
	CTL_STATS,
	CTL_COMMANDS
};

/* Of ctl_request.set: which limits there are in it; the others stay. */
#define CTL_SET_IOPS	   (1u << 0)
#define CTL_SET_IOPS_BURST (1u << 1)
#define CTL_SET_BPS	   (1u << 2)
#define CTL_SET_BPS_BURST  (1u << 3)
#define CTL_SET_DEPTH	   (1u << 4)
#define CTL_SET_ON_ERROR   (1u << 5)
#define CTL_SET_ALL	   63u

struct ctl_request {
	enum ctl_command command;
	/* which disk; all but LIST */
	uint8_t controller, lun;
	bool next_lun; /* ADD: one that is free */
	/* ADD; CHANGE: name and format, if any */
	char name[CTL_TEXT_MAX]; /* of the image, for people */
	bool read_only;
	enum vhd_format format; /* AUTO never means RAW */
	enum storvsp_unmap unmap;
	uint32_t sector_bytes, physical_bytes; /* 0: the default */
	/* REMOVE */
	bool now; /* end early what is in flight */
	/* RESIZE */
	bool by;	     /* larger by so much, not to so much */
	uint64_t size_bytes; /* 0: as large as its file is by now */
	/* LIMIT, ADD */
	uint32_t set;
	struct storvsp_limits limits;
	enum storvsp_on_error on_error;
};

/* -EINVAL, with what is wrong. */
int ctl_request_parse(const char *text, size_t len, struct ctl_request *out,
		      struct vhd_err *err);
/* NULL: no memory. The caller owns it. */
struct json_object *ctl_request_json(const struct ctl_request *r);

/* ------------------------------------------------------------ the socket -- */

struct ctl_place {
	int dir_fd;
	char name[HV_GUEST_NAME_MAX + 8]; /* of the socket in there */
	char path[108];		    /* for connecting, and people */
};

/* Where a guest's socket is or will be: $XDG_RUNTIME_DIR/hv, /run/hv. The
 * directory is made where `make`.
 */
int ctl_place_find(const char *name, bool make, struct ctl_place *out,
		   struct vhd_err *err);
void ctl_place_close(struct ctl_place *p);

/* -EBUSY: a guest of this name is running. One that does not answer any more
 * is replaced.
 */
int ctl_listen(const struct ctl_place *p, int *fd, struct vhd_err *err);
/* -ENOENT, -ECONNREFUSED: none is running. */
int ctl_connect(const struct ctl_place *p, int *fd, struct vhd_err *err);

/* One message. Receiving: how many bytes, at most `max` and cut there; 0: the
 * other side is gone; negative errno. `fds` has room for CTL_FILES_MAX, and
 * `*count` says how many came.
 */
int ctl_send(int fd, const void *bytes, size_t len, const int *fds,
	     unsigned count, int flags);
ssize_t ctl_receive(int fd, void *bytes, size_t max, int *fds, unsigned *count,
		    int flags);

/* ------------------------------------------------------- inside hv run --- */

struct ctl_server;

/* Make the socket; before the sandbox. Borrows the disks and controllers. */
int ctl_server_create(const char *name, struct hv_disks *disks,
		      struct hv_controllers *controllers,
		      struct ctl_server **out, struct vhd_err *err);
/* The directory that the socket is removed from in the end. */
int ctl_server_dir_fd(const struct ctl_server *s);
/* Its thread; after the sandbox was entered. */
int ctl_server_start(struct ctl_server *s, struct vhd_err *err);
/* No more requests; the socket is gone. The controllers are still there. */
void ctl_server_stop(struct ctl_server *s);
/* After the controllers: commit and close what was added; CLI_OK or CLI_IO.
 * Takes `s` (may be NULL).
 */
int ctl_server_destroy(struct ctl_server *s);

/* ctl_disk.c: the disks as requests see them. */
struct ctl_disks;

struct ctl_disks *ctl_disks_create(struct hv_disks *disks,
				   struct hv_controllers *controllers);
/* Carry out; takes the descriptors. The answer, which the caller owns. */
struct json_object *ctl_disks_do(struct ctl_disks *d,
				 const struct ctl_request *r, int *fds,
				 unsigned count);
/* Close images that became free only now; true while some are not yet. */
bool ctl_disks_tidy(struct ctl_disks *d);
int ctl_disks_destroy(struct ctl_disks *d); /* takes; may be NULL */
/* An answer that says no. */
struct json_object *ctl_refusal(const struct vhd_err *err);

/* ---------------------------------------------------------- the program -- */

int ctl_main(int argc, char **argv);
/* Tables for a person, from answers. */
void ctl_show_list(struct json_object *answer);
void ctl_show_stats(struct json_object *disks, struct json_object *before,
		    double seconds);

#endif

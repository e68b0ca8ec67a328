/* SPDX-License-Identifier: BSD-2-Clause */
/* Control of a running guest over a UNIX socket. Private to tools/hv.
 *
 *   ctl_request.c  a request as JSON text, and back
 *   ctl_socket.c   the socket: its place, messages with descriptors
 *   ctl_server.c   the thread inside `hv run`: clients, one request at a time
 *   ctl_disk.c     what a request does to the guest's disks
 *   ctl_look.c     what it tells of them
 *   ctl_life.c     what a request does to the guest itself
 *   ctl_console.c  the console of whoever is attached to it
 *   ctl.c          the program `hv ctl`; ctl_show.c: its tables
 *   ctl_files.c    the image that it adds; ctl_link.c: one on a server
 *   ctl_guest.c    its commands for the guest itself; ctl_attach.c: console
 *
 * A message is a packet (SOCK_SEQPACKET): a request one JSON object, with the
 * files of an image to be added beside it as descriptors, as hv may open none
 * itself (a socket among them: see vhd_open_fds); an answer one JSON object. Answers come in the order of requests, and
 * a client that waits for one is not heard meanwhile. After the answer to
 * "console" its packets are the console's bytes, both ways.
 */
#ifndef TOOLS_HV_CTL_H
#define TOOLS_HV_CTL_H

#include <json-c/json.h>
#include <stdatomic.h>

#include "hv.h"

#define CTL_REQUEST_BYTES_MAX 8192u
#define CTL_ANSWER_BYTES_MAX  (128u << 10)
/* Of one image, its parents and its reservations. */
#define CTL_FILES_MAX 64u
#define CTL_TEXT_MAX  512u
/* For an answer: longer than hv itself waits for what it asks of others, a guest
 * (ic.h) or a disk (ctl_disk.c), some in a row.
 */
#define CTL_ANSWER_S 60u

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
	/* of the guest itself */
	CTL_INFO,
	CTL_SHUTDOWN,
	CTL_REBOOT,
	CTL_KILL, /* answered as WAIT is */
	CTL_PAUSE,
	CTL_CONTINUE,
	CTL_TIME,
	CTL_FREEZE,
	CTL_THAW,
	CTL_KVP_GET,
	CTL_KVP_SET,
	CTL_KVP_DELETE,
	CTL_KVP_ENUMERATE,
	CTL_CONSOLE,
	CTL_WAIT, /* answered when the guest has ended and its disks are shut */
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
	bool direct; /* ADD: the second file is for direct transfers */
	bool keeper; /* ADD: the last file keeps its reservations */
	enum vhd_format format; /* AUTO never means RAW */
	enum storvsp_unmap unmap;
	uint32_t sector_bytes, physical_bytes; /* 0: the default */
	uint32_t reconnect_ms, answer_ms; /* on a server; likewise */
	/* REMOVE */
	bool now; /* end early what is in flight */
	/* RESIZE */
	bool by;	     /* larger by so much, not to so much */
	uint64_t size_bytes; /* 0: as large as its file is by now */
	/* LIMIT, ADD */
	uint32_t set;
	struct storvsp_limits limits;
	enum storvsp_on_error on_error;
	/* SHUTDOWN, REBOOT */
	bool force;
	bool wait; /* SHUTDOWN: answered again as WAIT is */
	/* FREEZE */
	uint32_t limit_s; /* 0: the default */
	bool hold;	  /* no longer than this client stays connected */
	/* KVP_* */
	enum hv_ic_pool pool;
	uint32_t index;
	char key[HV_IC_KEY_BYTES];
	char value[HV_IC_VALUE_BYTES];
	/* CONSOLE: read_only */
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
int ctl_name_taken(struct vhd_err *err);
int ctl_listen(const struct ctl_place *p, int *fd, struct vhd_err *err);
/* -ENOENT, -ECONNREFUSED: none is running; -EAGAIN: it takes no client. */
int ctl_connect(const struct ctl_place *p, int *fd, struct vhd_err *err);

/* From now on a message may take so long, each way, and is -EAGAIN then; 0: as
 * long as it likes.
 */
int ctl_patience(int fd, unsigned ms);
unsigned ctl_patience_ms(int fd);

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

/* Make the socket; before the sandbox. Borrows the guest, disks and
 * controllers.
 */
int ctl_server_create(const char *name, struct hv *hv, struct hv_disks *disks,
		      struct hv_controllers *controllers,
		      struct ctl_server **out, struct vhd_err *err);
/* The directory that the socket is removed from in the end. */
int ctl_server_dir_fd(const struct ctl_server *s);
/* Its thread; after the sandbox was entered. */
int ctl_server_start(struct ctl_server *s, struct vhd_err *err);
/* What the guest wrote to its console; control thread. `s` may be NULL. */
void ctl_server_tap(struct ctl_server *s, const uint8_t *bytes, size_t len);
/* After hv_run: no more requests; the socket is gone. The controllers are
 * still there.
 */
void ctl_server_stop(struct ctl_server *s);
/* After the controllers: commit and close what was added; CLI_OK or CLI_IO. */
int ctl_server_close_disks(struct ctl_server *s);
/* Last: tell who waited for the end how it came ("power-off"). Takes `s`; as
 * above it may be NULL.
 */
void ctl_server_destroy(struct ctl_server *s, const char *how);

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
/* An answer that says no; of an exit code of its own. */
struct json_object *ctl_refusal(const struct vhd_err *err);
struct json_object *ctl_refusal_as(const struct vhd_err *err, int exit_code);
/* One that says yes. */
struct json_object *ctl_yes(void);

/* ctl_life.c: requests that the guest's control thread carries out. */
struct ctl_call {
	struct hv_ask ask;
	enum ctl_command command;
	bool hold;	   /* a freeze that goes with its client */
	bool wait;	   /* for the end, too */
	atomic_bool done;  /* set last, on another thread */
	int wake_fd;	   /* is written to then */
	uint8_t *input;	   /* of a console */
	struct ctl_call *next; /* the server's */
};

/* Begin one; NULL: it was refused, and `*answer` says why. */
struct ctl_call *ctl_call_begin(struct hv *hv, const struct ctl_request *r,
				int wake_fd, struct json_object **answer);
struct ctl_call *ctl_call_input(struct hv *hv, const void *bytes, size_t len,
				int wake_fd);
/* The answer to one that is done. */
struct json_object *ctl_call_answer(const struct ctl_call *c);
void ctl_call_free(struct ctl_call *c);

/* ctl_console.c: what the guest wrote lately, for any number of readers, none
 * of which it waits for.
 */
#define CTL_CONSOLE_BYTES 65536u
#define CTL_CONSOLE_BACK  4096u /* shown to who comes */
#define CTL_CONSOLE_CHUNK 4096u

struct ctl_console;

struct ctl_console *ctl_console_create(void);
void ctl_console_destroy(struct ctl_console *c); /* may be NULL */
void ctl_console_put(struct ctl_console *c, const uint8_t *bytes, size_t len);
/* Where one who comes now begins. */
uint64_t ctl_console_begin(struct ctl_console *c);
bool ctl_console_behind(struct ctl_console *c, uint64_t at);
/* Up to CHUNK bytes from `*at` on; the caller moves it when they are gone. What
 * was overwritten before is passed over, and counted.
 */
size_t ctl_console_get(struct ctl_console *c, uint64_t *at, uint8_t *out,
		       uint64_t *lost);

/* ---------------------------------------------------------- the program -- */

int ctl_main(int argc, char **argv);
/* ctl_guest.c: whether it is one of its commands; and the program then. */
bool ctl_guest_verb(const char *name);
int ctl_guest_main(int argc, char **argv);
/* ctl_talk.c: what both use. ctl_ask: one request and its answer, or NULL after a
 * complaint; ctl_judge: the exit code of an answer, after telling a refusal
 * unless it is printed as JSON anyway; ctl_open: the guest's socket, which waits
 * so long for each answer (0: for ever), or an exit code through `status`.
 */
struct json_object *ctl_ask(int fd, const struct ctl_request *r,
			    const int *fds, unsigned count);
int ctl_judge(struct json_object *answer, bool json);
int ctl_open(const char *name, uint32_t answer_s, int *status);
/* --timeout: into `*out`; CLI_OK or CLI_USAGE. */
int ctl_timeout_take(const char *text, uint32_t *out);
/* ctl_files.c: the image that an ADD or CHANGE brings, in its order of use:
 * _words takes FILE[,WORD]... into both (CLI_OK, or CLI_USAGE after a
 * complaint); _link, before the sandbox, starts what connects to servers; _allow
 * says what the sandbox has to leave; _find fills in the descriptors. _close in
 * any case.
 */
struct ctl_files {
	struct hv_disk_arg disk;
	int fd[CTL_FILES_MAX];
	unsigned count;
	int link_fd, parent_fd; /* of servers, until they are in `fd`; or -1 */
	bool made;   /* the file of reservations, which was not there */
	bool unsure; /* what was asked may still be done */
};

struct sandbox;

int ctl_files_words(const char *text, struct ctl_request *r,
		    struct ctl_files *f);
int ctl_files_link(struct ctl_files *f, struct vhd_err *err);
void ctl_files_allow(const struct ctl_files *f, struct sandbox *s);
int ctl_files_find(struct ctl_files *f, const char *name, struct vhd_err *err);
void ctl_files_close(struct ctl_files *f, bool refused);
/* ctl_link.c: a process that connects to `uri` until the last copy of `*fd`, the
 * caller's, is closed: a descriptor for vhd_open_fds.
 */
int ctl_link_start(const char *uri, int *fd, struct vhd_err *err);
/* ctl_attach.c: the guest's console on this terminal, until Ctrl-A x or the
 * end; an exit code.
 */
int ctl_attach(int fd);
void ctl_show_info(struct json_object *answer);
/* Tables for a person, from answers. */
void ctl_show_list(struct json_object *answer);
void ctl_show_stats(struct json_object *disks, struct json_object *before,
		    double seconds);

#endif

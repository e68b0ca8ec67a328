/* SPDX-License-Identifier: BSD-2-Clause */
/* The sandbox: what a program, or one thread of it, gives up before it meets
 * bytes of a guest or of an image. Private to tools/.
 *
 *   table.c     which system calls each role may make, and why
 *   filter.c    a role's row of that table as a seccomp filter (libseccomp)
 *   landlock.c  which files can still be opened, made, renamed, removed
 *   rights.c    capabilities, new privileges, core dumps
 *   ring.c      whether a ring of io_uring can be restricted here
 *   places.c    what is to stay within reach, noted beforehand
 *   server.c    what connecting to a server reads
 *   enter.c     all of these in order, and what is said when one is missing
 *
 * Invariants: a role's filter kills the process for every call that the table
 *   does not give it; nothing here gives anything back; the filters of a
 *   thread add up, so that of a thread made later is never wider.
 * "on" needs seccomp filters that can kill a process (Linux 4.14), Landlock of
 *   any version (5.13) and, where rings can be made at all, restricted rings
 *   (5.10). What later Landlocks know is used where it is there: truncation
 *   (6.2), TCP (6.7), ioctl of devices (6.10), signals and abstract sockets
 *   (6.12).
 * Sources: seccomp(2), landlock(7), capabilities(7), io_uring_register(2).
 */
#ifndef TOOLS_SANDBOX_H
#define TOOLS_SANDBOX_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "tools/cli/cli.h"

/* ---------------------------------------------------------------- roles -- */

enum sandbox_role {
	SANDBOX_VCPU,    /* hv: a processor's thread */
	SANDBOX_IO,      /* hv: a storage channel's thread, its queue made */
	SANDBOX_IO_PLAIN, /* the same where the kernel makes no rings */
	SANDBOX_CONTROL, /* hv: the main thread: bus, console, the end */
	SANDBOX_OUTPUT,  /* hv: the threads that write its console, messages */
	SANDBOX_CTL,     /* hv: the thread that serves hv ctl */
	SANDBOX_HANDED,  /* hv: that of a disk on a server, added by hv ctl */
	SANDBOX_LINK,    /* hv: the thread of an NBD disk's connection */
	SANDBOX_READER,  /* a tool that only reads images */
	SANDBOX_WRITER,  /* one that changes an image or makes a file */
	SANDBOX_REMOTE,  /* one whose source or destination is a server */
	SANDBOX_ROLES
};

#define SANDBOX_BIT(role) (1u << (role))

const char *sandbox_role_name(enum sandbox_role role);

/* A value that an argument may have. */
struct sandbox_value {
	uint64_t value;
	unsigned roles; /* of SANDBOX_BIT */
	const char *name;
};

/* One row of the table. */
struct sandbox_rule {
	const char *name; /* of the system call */
	int number;
	unsigned roles;   /* of SANDBOX_BIT */
	int errno_value;  /* not 0: not done; fails with this, by design */
	/* Which argument decides, where one does: `values` lists what it may
	 * be (its low 32 bits; the list ends with name NULL); without them the
	 * bits of `zero` must not be set.
	 */
	unsigned arg;
	const struct sandbox_value *values;
	uint64_t zero;
	bool itself; /* with `values`: the first one is 0, the thread's own */
	const char *why;
};

/* The table; `*count` rows. */
const struct sandbox_rule *sandbox_rules(size_t *count);
/* How many system calls a role may make. */
unsigned sandbox_calls(enum sandbox_role role);

/* ---------------------------------------------------------------- files -- */

enum sandbox_access {
	SANDBOX_REMOVE, /* a directory: no more than remove files */
	SANDBOX_READ,   /* a file, or all below a directory */
	SANDBOX_CHANGE, /* the same, and write to what exists */
	SANDBOX_MAKE,   /* a directory: besides, make, rename, remove files */
};

/* What a tool will need; all zero but the role to begin with. */
struct sandbox {
	enum sandbox_role role;
	struct sandbox_place {
		int fd; /* O_PATH */
		enum sandbox_access access;
	} *places;
	size_t count;
	int error; /* of collecting; sandbox_enter tells it */
};

/* Keep `path` within reach. What does not exist is left out: opening it will
 * say so. NULL is allowed and nothing.
 */
void sandbox_allow(struct sandbox *s, const char *path,
		   enum sandbox_access access);
/* The directory that `path`, which need not exist, is in or would be in, links
 * to the file followed.
 */
void sandbox_allow_dir_of(struct sandbox *s, const char *path,
			  enum sandbox_access access);
/* An image to be read: the file, and all below `parent_dir`, where its parents
 * may be; NULL: no parents are looked for. A split set's directory, as its
 * parts are beside it. An NBD URI: its server.
 */
void sandbox_allow_image(struct sandbox *s, const char *path,
			 const char *parent_dir);

/* The server of an NBD URI; the role becomes SANDBOX_REMOTE. */
void sandbox_allow_server(struct sandbox *s, const char *uri);

/* ------------------------------------------------------------- entering -- */

/* From here on the calling thread, and what it will start, is in the sandbox;
 * to be called while it is the only one. Takes what `s` collected. Returns 0,
 * also where --sandbox=off; or a negative errno where something is missing.
 * With best-effort that is told on stderr, and it goes on.
 */
int sandbox_try(struct sandbox *s, const char *prog, struct vhd_err *err);
/* The same; tells why, and returns an exit code. */
int sandbox_enter(struct sandbox *s, const char *prog);

/* The same in parts, for a program whose threads differ: all but the filter,
 * with no file within reach, but that files may be removed from the directory
 * `remove_fd` (-1: none); then each thread its own.
 */
int sandbox_enter_no_files(const char *prog, int remove_fd,
			   struct vhd_err *err);
int sandbox_filter(enum sandbox_role role, const char *prog,
		   struct vhd_err *err);

/* All parts for one thread, before the others enter: for the connection of an
 * NBD disk, which is made again while a guest runs. Called by that thread
 * before anything else; while it is, no other thread is in here.
 */
int sandbox_thread(enum sandbox_role role, const char *prog,
		   struct vhd_err *err);

/* ------------------------------------------------- parts of this folder -- */

/* What was collected is within reach no more than before. */
void sandbox_places_free(struct sandbox *s);

/* Each: 0, or a negative errno with its reason; -ENOSYS and -EOPNOTSUPP where
 * the kernel has no such thing.
 */
int sandbox_landlock(const struct sandbox *s, struct vhd_err *err);
int sandbox_rights(enum sandbox_role role, struct vhd_err *err);
int sandbox_ring_check(struct vhd_err *err);
int sandbox_filter_make(enum sandbox_role role);
int sandbox_filter_load(enum sandbox_role role, struct vhd_err *err);

#endif

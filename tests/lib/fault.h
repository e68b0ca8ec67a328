/* SPDX-License-Identifier: BSD-2-Clause */
/* Faults of system calls at the library's own call sites. A program linked
 * with the --wrap list of the Makefile (FAULT_WRAP) and fault_wrap.c has every
 * system call of vhd/ go through here: while armed, calls are numbered, each
 * is put down with its site, and the chosen one fails as planned.
 *
 * A site is the place that made the call, by return address, together with the
 * place that called the vhd_file_* function around it, if one did: a write of
 * the BAT and one of the footer are two sites, though both end in one pwrite.
 * Thread: one.
 */
#ifndef TESTS_LIB_FAULT_H
#define TESTS_LIB_FAULT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "vhd/err.h"

enum fault_call {
	FAULT_PREAD,
	FAULT_PWRITE,
	FAULT_PREADV,
	FAULT_PWRITEV,
	FAULT_FSYNC,	 /* and fdatasync */
	FAULT_FSYNC_DIR, /* of a directory */
	FAULT_FALLOCATE,
	FAULT_FTRUNCATE,
	FAULT_OPEN,
	FAULT_OPENAT2,	/* within the parents' directory */
	FAULT_CLOSE,	/* of a file that was written to */
	FAULT_CLOSE_RO, /* of any other */
	FAULT_UNLINK,
	FAULT_RENAME,
	FAULT_LOCK,
	FAULT_GETLK,
	FAULT_UNLOCK,
	FAULT_FCNTL, /* status flags */
	FAULT_SEEK_END,
	FAULT_SEEK_DATA, /* and SEEK_HOLE */
	FAULT_STAT,	 /* stat, lstat, fstat, fstatvfs */
	FAULT_STATX,
	FAULT_REALPATH,
	FAULT_READDIR,
	FAULT_FDOPENDIR,
	FAULT_FADVISE,
	FAULT_IOCTL, /* of file systems */
	FAULT_RING_SETUP,
	FAULT_RING_SPARSE, /* IORING_REGISTER_FILES2 */
	FAULT_RING_FILES,  /* IORING_REGISTER_FILES */
	FAULT_RING_UPDATE, /* io_uring_register_files_update */
	FAULT_RING_BUFFERS, /* registered memory */
	FAULT_RING_RESTRICT,
	FAULT_RING_ENABLE,
	FAULT_RING_SUBMIT,
	FAULT_RING_WAIT,
	FAULT_RING_EVENTS, /* io_uring_get_events */
	FAULT_AIO_SETUP,
	FAULT_AIO_SUBMIT,
	FAULT_AIO_EVENTS, /* io_getevents */
	FAULT_DONE_READ,  /* the result in a completion, of either kind */
	FAULT_DONE_WRITE,
	FAULT_DONE_SYNC,
	FAULT_DONE_ZERO,     /* a hole made by the ring */
	FAULT_EVENTFD,
	FAULT_EVENTFD_READ,
	FAULT_POLL,
	FAULT_KVM, /* ioctl(KVM_*) */
	FAULT_CALLS
};

enum fault_kind {
	FAULT_NONE,
	FAULT_SHORT,	/* a part of it is done */
	FAULT_ZERO,	/* 0 bytes, or the end of the file */
	FAULT_SMALL_SQ, /* fewer places for submissions than asked for */
	FAULT_SMALL_CQ, /* and for completions, which overflow */
	FAULT_EIO,
	FAULT_ENOSPC,
	FAULT_EINTR,
	FAULT_EAGAIN,
	FAULT_ENOMEM,
	FAULT_EISDIR,
	FAULT_EFBIG,
	FAULT_EDQUOT,
	FAULT_EROFS,
	FAULT_EOPNOTSUPP,
	FAULT_EACCES,
	FAULT_ELOOP,
	FAULT_EXDEV,
	FAULT_ETXTBSY,
	FAULT_EMFILE,
	FAULT_EDEADLK,
	FAULT_ENOLCK,
	FAULT_EPERM,
	FAULT_ENOSYS,
	FAULT_EBUSY,
	FAULT_EINVAL,
	FAULT_ECANCELED,
	FAULT_EFAULT,
	FAULT_EBADF,
	FAULT_KINDS
};

const char *fault_call_name(enum fault_call call);
const char *fault_kind_name(enum fault_kind kind);
int fault_errno(enum fault_kind kind); /* 0 where there is none */

/* ------------------------------------------------------------- the table -- */

/* What a fault leads to. */
enum fault_want {
	FAULT_WANT_DONE,   /* nobody notices: tried again, or by other means */
	FAULT_WANT_SAME,   /* the call's own errno reaches the caller */
	FAULT_WANT_EIO,	   /* -EIO does */
	FAULT_WANT_EOF,	   /* -EIO, VHD_WHY_SHORT_IO */
	FAULT_WANT_LOCKED, /* -EBUSY, VHD_WHY_LOCKED */
};

struct fault_cell {
	enum fault_kind kind;
	enum fault_want once;
	enum fault_want forever; /* from this call on, every one like it */
};

#define FAULT_CELLS_MAX 12u

/* One kind of call: which faults apply to it, and why others do not. */
struct fault_row {
	enum fault_call call;
	struct fault_cell cells[FAULT_CELLS_MAX]; /* ends with FAULT_NONE */
	const char *others;
};

const struct fault_row *fault_row(enum fault_call call);
/* A row for each call, each with a reason; true: so it is. */
bool fault_table_whole(void);

/* -------------------------------------------------------------- the plan -- */

struct fault_plan {
	enum fault_call call;
	unsigned at;	      /* number among those calls, from 0 */
	enum fault_kind kind; /* NONE: only put down what happens */
	bool forever;	      /* all calls of its kind from there on */
	/* after that, the first call from this site, unless NONE */
	unsigned second_site;
	enum fault_kind second;
	bool second_forever;
};

/* One call that was made. */
struct fault_event {
	enum fault_call call;
	unsigned site;
	uint64_t off; /* in the file, where there is one */
	uint64_t len;
};

void fault_arm(const struct fault_plan *plan);
void fault_disarm(void);
/* While suspended nothing is numbered or fails. */
void fault_suspend(bool on);
/* Holes cannot be made, as on some file systems: no fault, but how it is. */
void fault_no_holes(bool on);
bool fault_holes(void);
bool fault_fired(void);
bool fault_second_fired(void);
unsigned fault_second_site(void);
/* Of the planned kind: one that has an errno and is not tried again. */
bool fault_is_error(void);
/* What the fault struck; valid when it fired. */
const struct fault_event *fault_hit(void);
/* What happened since arming. */
unsigned fault_count(void);
const struct fault_event *fault_event(unsigned i);

/* ------------------------------------------------------------- the sites -- */

#define FAULT_SITES_MAX 1024u

unsigned fault_sites(void);
enum fault_call fault_site_call(unsigned site);
/* "function (file:line)", by addr2line; from where it was called behind it. */
const char *fault_site_name(unsigned site);
/* Cells executed of those that apply to the sites seen so far; each counts
 * twice, once and forever.
 */
void fault_cells_count(unsigned *executed, unsigned *applicable);
bool fault_cell_executed(unsigned site, enum fault_kind kind, bool forever);
/* A cell that cannot occur at a site (half of one byte): it does not count. */
void fault_cell_void(unsigned site, enum fault_kind kind);

/* ---------------------------------------------------- for fault_wrap.c -- */

/* A call is about to be made; what is to become of it. */
enum fault_kind fault_ask(enum fault_call call, const void *from, uint64_t off,
			  uint64_t len);
/* The vhd_file_* call being made, by its caller; the one before it. */
const void *fault_via(const void *from);
/* fault_aio.c: operations given to the kernel's AIO, or (negative) reaped; and
 * io_destroy, which waits where nobody has to.
 */
void fault_aio_moved(long submitted);
int fault_aio_destroy(void *ctx);
int fault_real_io_destroy(void *ctx);

#endif

/* SPDX-License-Identifier: BSD-2-Clause */
/* Which faults apply to which call, what each must lead to, and why the others
 * do not apply. The counterpart of the matrix in the plan of proof; what is
 * rightly otherwise at some place is listed with its reason in vhd_fault.c.
 */
#include <errno.h>
#include <stddef.h>

#include "tests/lib/fault.h"

#define DONE   FAULT_WANT_DONE
#define SAME   FAULT_WANT_SAME
#define TO_EIO FAULT_WANT_EIO
#define EOF_   FAULT_WANT_EOF
#define LOCKED FAULT_WANT_LOCKED

#define READS                                                                  \
	{FAULT_EIO, SAME, SAME}, {FAULT_EINTR, DONE, SAME},                    \
		{FAULT_EAGAIN, DONE, SAME}, {FAULT_SHORT, DONE, DONE},         \
		{FAULT_ZERO, EOF_, EOF_},                                      \
	{                                                                      \
		FAULT_EISDIR, SAME, SAME                                       \
	}

#define WRITES                                                                 \
	{FAULT_EIO, SAME, SAME}, {FAULT_ENOSPC, SAME, SAME},                   \
		{FAULT_EINTR, DONE, SAME}, {FAULT_SHORT, DONE, DONE},          \
		{FAULT_EFBIG, SAME, SAME}, {FAULT_EDQUOT, SAME, SAME},         \
	{                                                                      \
		FAULT_EROFS, SAME, SAME                                        \
	}

static const struct fault_row rows[] = {
	{FAULT_PREAD, {READS}, "reading takes no space and changes nothing"},
	{FAULT_PREADV, {READS}, "reading takes no space and changes nothing"},
	{FAULT_PWRITE,
	 {WRITES, {FAULT_EAGAIN, DONE, TO_EIO}, {FAULT_ZERO, DONE, TO_EIO}},
	 "the rest is about paths and other objects"},
	{FAULT_PWRITEV,
	 {WRITES, {FAULT_EAGAIN, DONE, SAME}, {FAULT_ZERO, EOF_, EOF_}},
	 "the rest is about paths and other objects"},
	{FAULT_FSYNC,
	 {{FAULT_EIO, SAME, SAME},
	  {FAULT_ENOSPC, SAME, SAME},
	  {FAULT_EINTR, SAME, SAME}, /* never again: it may not be told twice */
	  {FAULT_EDQUOT, SAME, SAME}},
	 "a sync moves no count and does not say EAGAIN"},
	{FAULT_FSYNC_DIR,
	 {{FAULT_EIO, SAME, SAME},
	  {FAULT_ENOSPC, SAME, SAME},
	  {FAULT_EINTR, SAME, SAME},
	  {FAULT_EDQUOT, SAME, SAME}},
	 "as of files"},
	{FAULT_FALLOCATE,
	 {{FAULT_EIO, SAME, SAME},
	  {FAULT_ENOSPC, SAME, SAME},
	  {FAULT_EINTR, DONE, SAME},
	  {FAULT_EOPNOTSUPP, DONE, DONE},
	  {FAULT_EFBIG, SAME, SAME}},
	 "it moves no count"},
	{FAULT_FTRUNCATE,
	 {{FAULT_EIO, SAME, SAME},
	  {FAULT_ENOSPC, SAME, SAME},
	  {FAULT_EINTR, DONE, SAME},
	  {FAULT_EFBIG, SAME, SAME}},
	 "it moves no count, and every file system has it"},
	{FAULT_OPEN,
	 {{FAULT_EIO, SAME, SAME},
	  {FAULT_ENOSPC, SAME, SAME},
	  {FAULT_EINTR, DONE, SAME},
	  {FAULT_ENOMEM, SAME, SAME},
	  {FAULT_EACCES, SAME, SAME},
	  {FAULT_ELOOP, SAME, SAME},
	  {FAULT_ETXTBSY, SAME, SAME},
	  {FAULT_EMFILE, SAME, SAME}},
	 "EXDEV is of openat2"},
	{FAULT_OPENAT2,
	 {{FAULT_EIO, SAME, SAME},
	  {FAULT_EINTR, DONE, SAME},
	  {FAULT_EAGAIN, DONE, SAME},
	  {FAULT_ENOMEM, SAME, SAME},
	  {FAULT_EACCES, SAME, SAME},
	  {FAULT_ELOOP, SAME, SAME},
	  {FAULT_EXDEV, SAME, SAME},
	  {FAULT_EMFILE, SAME, SAME}},
	 "nothing is made by it, nor opened for writing"},
	{FAULT_CLOSE,
	 {{FAULT_EIO, SAME, SAME},
	  {FAULT_ENOSPC, SAME, SAME},
	  {FAULT_EDQUOT, SAME, SAME},
	  {FAULT_EINTR, DONE, DONE}},
	 "the descriptor is gone whatever it says"},
	{FAULT_CLOSE_RO,
	 {{FAULT_EIO, DONE, DONE}, {FAULT_EINTR, DONE, DONE}},
	 "nothing was written that it could tell about"},
	{FAULT_UNLINK,
	 {{FAULT_EIO, SAME, SAME},
	  {FAULT_EACCES, SAME, SAME},
	  {FAULT_EROFS, SAME, SAME}},
	 "a name is gone or it is not"},
	{FAULT_RENAME,
	 {{FAULT_NONE, DONE, DONE}},
	 "the library renames nothing"},
	{FAULT_LOCK,
	 {{FAULT_EINTR, DONE, SAME},
	  {FAULT_EAGAIN, LOCKED, LOCKED},
	  {FAULT_EDEADLK, SAME, SAME},
	  {FAULT_ENOLCK, SAME, SAME}},
	 "a lock takes no space and no path"},
	{FAULT_GETLK,
	 {{FAULT_EINTR, DONE, DONE}, {FAULT_EINVAL, DONE, DONE}},
	 "it only asks for QEMU's own locks, beside our own"},
	{FAULT_UNLOCK,
	 {{FAULT_EINTR, DONE, DONE}, {FAULT_ENOLCK, DONE, DONE}},
	 "the close that follows releases it, too"},
	{FAULT_FCNTL, {{FAULT_EPERM, SAME, SAME}}, "it needs nothing"},
	{FAULT_SEEK_END, {{FAULT_EIO, SAME, SAME}}, "it needs nothing"},
	{FAULT_SEEK_DATA,
	 {{FAULT_EIO, DONE, DONE}, {FAULT_EINVAL, DONE, DONE}},
	 "where holes are not told, everything is read"},
	{FAULT_STAT,
	 {{FAULT_EIO, SAME, SAME},
	  {FAULT_ENOMEM, SAME, SAME},
	  {FAULT_EACCES, SAME, SAME}},
	 "it changes nothing and moves no count"},
	{FAULT_STATX,
	 {{FAULT_EIO, DONE, DONE}, {FAULT_ENOSYS, DONE, DONE}},
	 "without it the alignment is taken for unknown"},
	{FAULT_REALPATH,
	 {{FAULT_EIO, SAME, SAME},
	  {FAULT_EACCES, SAME, SAME},
	  {FAULT_ELOOP, SAME, SAME},
	  {FAULT_ENOMEM, SAME, SAME}},
	 "it changes nothing"},
	{FAULT_READDIR, {{FAULT_EIO, SAME, SAME}}, "it needs nothing"},
	{FAULT_FDOPENDIR,
	 {{FAULT_ENOMEM, SAME, SAME}, {FAULT_EBADF, SAME, SAME}},
	 "it only wraps a descriptor"},
	{FAULT_FADVISE, {{FAULT_EINVAL, DONE, DONE}}, "advice"},
	{FAULT_IOCTL,
	 {{FAULT_EIO, DONE, DONE}, {FAULT_EOPNOTSUPP, DONE, DONE}},
	 "the file's attributes are only remarked upon"},
	{FAULT_RING_SETUP,
	 {{FAULT_EINTR, SAME, SAME},
	  {FAULT_EAGAIN, SAME, SAME},
	  {FAULT_ENOMEM, SAME, SAME},
	  {FAULT_EPERM, SAME, SAME},
	  {FAULT_ENOSYS, SAME, SAME},
	  {FAULT_EMFILE, SAME, SAME},
	  {FAULT_EINVAL, DONE, SAME}, /* an older kernel: fewer flags */
	  {FAULT_SMALL_SQ, DONE, DONE},
	  {FAULT_SMALL_CQ, DONE, DONE}},
	 "a named engine says so; the choice of one is its own workload"},
	{FAULT_RING_SPARSE,
	 {{FAULT_EINVAL, DONE, DONE},
	  {FAULT_ENOMEM, DONE, DONE},
	  {FAULT_EMFILE, DONE, DONE}},
	 "plain descriptors serve where the table is refused"},
	{FAULT_RING_FILES,
	 {{FAULT_EINVAL, DONE, DONE},
	  {FAULT_ENOMEM, DONE, DONE},
	  {FAULT_EMFILE, DONE, DONE}},
	 "plain descriptors serve where the table is refused"},
	{FAULT_RING_UPDATE,
	 {{FAULT_ENOMEM, SAME, SAME}, {FAULT_EBADF, SAME, SAME}},
	 "it does not wait"},
	{FAULT_RING_BUFFERS,
	 {{FAULT_ENOMEM, SAME, SAME}, {FAULT_EOPNOTSUPP, SAME, SAME},
	  {FAULT_EFAULT, SAME, SAME}},
	 "it is made once; its owner goes on without"},
	{FAULT_RING_RESTRICT,
	 {{FAULT_EINVAL, SAME, SAME},
	  {FAULT_ENOMEM, SAME, SAME},
	  {FAULT_EBUSY, SAME, SAME}},
	 "it is made once, before anything else"},
	{FAULT_RING_ENABLE,
	 {{FAULT_EBADF, TO_EIO, TO_EIO}},
	 "the kernel knows no other reason"},
	{FAULT_RING_SUBMIT,
	 {{FAULT_EINTR, DONE, DONE},
	  {FAULT_EAGAIN, DONE, DONE},
	  {FAULT_EBUSY, DONE, DONE},
	  {FAULT_EBADF, TO_EIO, TO_EIO}},
	 "memory for it is there since setup"},
	{FAULT_RING_WAIT,
	 {{FAULT_EINTR, DONE, DONE},
	  {FAULT_EAGAIN, DONE, DONE},
	  {FAULT_EBUSY, DONE, DONE},
	  {FAULT_EBADF, TO_EIO, TO_EIO}},
	 "as of submission"},
	{FAULT_RING_EVENTS,
	 {{FAULT_EINTR, DONE, DONE}},
	 "what is wrong shows in the wait that follows"},
	{FAULT_AIO_SETUP,
	 {{FAULT_EAGAIN, SAME, SAME},
	  {FAULT_ENOMEM, SAME, SAME},
	  {FAULT_ENOSYS, SAME, SAME}},
	 "as of the ring"},
	{FAULT_AIO_SUBMIT,
	 {{FAULT_EINTR, DONE, DONE},
	  {FAULT_EAGAIN, DONE, SAME},
	  {FAULT_EBADF, SAME, SAME},
	  {FAULT_SHORT, DONE, DONE},
	  {FAULT_ZERO, TO_EIO, TO_EIO}},
	 "it is refused one by one"},
	{FAULT_AIO_EVENTS,
	 {{FAULT_EINTR, DONE, DONE}, {FAULT_EINVAL, DONE, TO_EIO}},
	 "it needs nothing"},
	{FAULT_DONE_READ,
	 {{FAULT_EIO, SAME, SAME},
	  {FAULT_EINTR, DONE, SAME},
	  {FAULT_EAGAIN, DONE, SAME},
	  {FAULT_SHORT, DONE, DONE},
	  {FAULT_ZERO, EOF_, EOF_},
	  {FAULT_ENOMEM, SAME, SAME},
	  {FAULT_ECANCELED, SAME, SAME}},
	 "reading takes no space"},
	{FAULT_DONE_WRITE,
	 {{FAULT_EIO, SAME, SAME},
	  {FAULT_ENOSPC, SAME, SAME},
	  {FAULT_EINTR, DONE, SAME},
	  {FAULT_EAGAIN, DONE, SAME},
	  {FAULT_SHORT, DONE, DONE},
	  {FAULT_ZERO, EOF_, EOF_},
	  {FAULT_ENOMEM, SAME, SAME},
	  {FAULT_ECANCELED, SAME, SAME}},
	 "late, reordered and lost ones: the simulated engine"},
	{FAULT_DONE_SYNC,
	 {{FAULT_EIO, SAME, SAME},
	  {FAULT_ENOSPC, SAME, SAME},
	  {FAULT_EINTR, SAME, SAME},
	  {FAULT_EAGAIN, SAME, SAME},
	  {FAULT_ENOMEM, SAME, SAME},
	  {FAULT_ECANCELED, SAME, SAME}},
	 "a sync moves no count"},
	{FAULT_DONE_ZERO,
	 {{FAULT_EIO, SAME, SAME},
	  {FAULT_ENOSPC, SAME, SAME},
	  {FAULT_EINTR, DONE, SAME},
	  {FAULT_EAGAIN, DONE, SAME},
	  {FAULT_EOPNOTSUPP, DONE, DONE},
	  {FAULT_EFBIG, SAME, SAME},
	  {FAULT_ENOMEM, SAME, SAME},
	  {FAULT_ECANCELED, SAME, SAME}},
	 "it moves no count"},
	{FAULT_EVENTFD,
	 {{FAULT_ENOMEM, SAME, SAME}, {FAULT_EMFILE, SAME, SAME}},
	 "it does not wait"},
	{FAULT_EVENTFD_READ,
	 {{FAULT_EINTR, DONE, DONE},
	  {FAULT_EAGAIN, DONE, DONE},
	  {FAULT_EBADF, TO_EIO, TO_EIO}},
	 "a count is read whole"},
	{FAULT_POLL,
	 {{FAULT_EINTR, DONE, DONE}, {FAULT_ENOMEM, TO_EIO, TO_EIO}},
	 "it moves no count"},
	{FAULT_KVM,
	 {{FAULT_NONE, DONE, DONE}},
	 "the library makes none, and hv has no fake of KVM to fail"},
};

const struct fault_row *fault_row(enum fault_call call)
{
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		if (rows[i].call == call)
			return &rows[i];
	return NULL;
}

bool fault_table_whole(void)
{
	for (unsigned c = 0; c < FAULT_CALLS; c++) {
		const struct fault_row *r = fault_row((enum fault_call)c);

		if (!r || !r->others || !r->others[0])
			return false;
	}
	return true;
}

static const char *const call_names[FAULT_CALLS] = {
	"pread",	"pwrite",      "preadv",      "pwritev",
	"fsync",	"fsync-dir",   "fallocate",   "ftruncate",
	"open",		"openat2",     "close",	      "close-ro",
	"unlink",	"rename",      "lock",	      "getlk",
	"unlock",	"fcntl",       "seek-end",    "seek-data",
	"stat",		"statx",       "realpath",    "readdir",
	"fdopendir",	"fadvise",     "ioctl",	      "ring-setup",
	"ring-sparse",	"ring-files",  "ring-update", "ring-buffers", "ring-restrict",
	"ring-enable",	"ring-submit", "ring-wait",   "ring-events",
	"aio-setup",	"aio-submit",  "aio-events",  "done-read",
	"done-write",	"done-sync",   "done-zero",   "eventfd",
	"eventfd-read", "poll",	       "kvm",
};

static const struct {
	const char *name;
	int code;
} kinds[FAULT_KINDS] = {
	[FAULT_NONE] = {"none", 0},
	[FAULT_SHORT] = {"short", 0},
	[FAULT_ZERO] = {"zero", 0},
	[FAULT_SMALL_SQ] = {"small-sq", 0},
	[FAULT_SMALL_CQ] = {"small-cq", 0},
	[FAULT_EIO] = {"EIO", EIO},
	[FAULT_ENOSPC] = {"ENOSPC", ENOSPC},
	[FAULT_EINTR] = {"EINTR", EINTR},
	[FAULT_EAGAIN] = {"EAGAIN", EAGAIN},
	[FAULT_ENOMEM] = {"ENOMEM", ENOMEM},
	[FAULT_EISDIR] = {"EISDIR", EISDIR},
	[FAULT_EFBIG] = {"EFBIG", EFBIG},
	[FAULT_EDQUOT] = {"EDQUOT", EDQUOT},
	[FAULT_EROFS] = {"EROFS", EROFS},
	[FAULT_EOPNOTSUPP] = {"EOPNOTSUPP", EOPNOTSUPP},
	[FAULT_EACCES] = {"EACCES", EACCES},
	[FAULT_ELOOP] = {"ELOOP", ELOOP},
	[FAULT_EXDEV] = {"EXDEV", EXDEV},
	[FAULT_ETXTBSY] = {"ETXTBSY", ETXTBSY},
	[FAULT_EMFILE] = {"EMFILE", EMFILE},
	[FAULT_EDEADLK] = {"EDEADLK", EDEADLK},
	[FAULT_ENOLCK] = {"ENOLCK", ENOLCK},
	[FAULT_EPERM] = {"EPERM", EPERM},
	[FAULT_ENOSYS] = {"ENOSYS", ENOSYS},
	[FAULT_EBUSY] = {"EBUSY", EBUSY},
	[FAULT_EINVAL] = {"EINVAL", EINVAL},
	[FAULT_ECANCELED] = {"ECANCELED", ECANCELED},
	[FAULT_EFAULT] = {"EFAULT", EFAULT},
	[FAULT_EBADF] = {"EBADF", EBADF},
};

const char *fault_call_name(enum fault_call call)
{
	return call < FAULT_CALLS ? call_names[call] : "?";
}

const char *fault_kind_name(enum fault_kind kind)
{
	return kind < FAULT_KINDS ? kinds[kind].name : "?";
}

int fault_errno(enum fault_kind kind)
{
	return kind < FAULT_KINDS ? kinds[kind].code : 0;
}

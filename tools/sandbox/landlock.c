/* SPDX-License-Identifier: BSD-2-Clause */
/* Which files can still be reached: a Landlock domain that handles every right
 * the running kernel knows, with a rule for each place of the plan and for
 * nothing else. It holds for rings of io_uring, too.
 *
 * The numbers are the kernel's; its header here may be older than it. Rights
 * are given to directories as a whole, as Landlock knows nothing finer; a
 * file's rule has only rights that a file can have.
 * Source: landlock(7); Linux include/uapi/linux/landlock.h.
 */
#include <errno.h>
#include <stdint.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "sandbox.h"

enum {
	FS_EXECUTE = 1 << 0,
	FS_WRITE_FILE = 1 << 1,
	FS_READ_FILE = 1 << 2,
	FS_READ_DIR = 1 << 3,
	FS_REMOVE_FILE = 1 << 5,
	FS_MAKE_REG = 1 << 8,
	FS_REFER = 1 << 13,     /* version 2: rename between directories */
	FS_TRUNCATE = 1 << 14,  /* 3 */
	FS_IOCTL_DEV = 1 << 15, /* 5 */
	FS_OF_FILES = FS_EXECUTE | FS_WRITE_FILE | FS_READ_FILE | FS_TRUNCATE |
		      FS_IOCTL_DEV,
};
enum { NET_BIND_TCP = 1 << 0, NET_CONNECT_TCP = 1 << 1 };             /* 4 */
enum { SCOPE_ABSTRACT_UNIX_SOCKET = 1 << 0, SCOPE_SIGNAL = 1 << 1 }; /* 6 */

#define CREATE_RULESET_VERSION 1u
#define RULE_PATH_BENEATH 1

struct ruleset_attr {
	uint64_t fs, net, scoped;
};

struct path_beneath_attr {
	uint64_t allowed;
	int32_t parent_fd;
} __attribute__((packed));

static uint64_t fs_handled(int abi)
{
	static const unsigned bits[] = {0, 13, 14, 15, 15, 16};
	unsigned known = sizeof(bits) / sizeof(bits[0]) - 1;

	return (1ull << bits[(unsigned)abi < known ? (unsigned)abi : known]) -
	       1;
}

/* A server is connected to, and a helper of ours ended, by a remote one. */
static struct ruleset_attr handled(int abi, enum sandbox_role role)
{
	bool remote = role == SANDBOX_REMOTE || role == SANDBOX_LINK;
	struct ruleset_attr a = {.fs = fs_handled(abi)};

	if (abi >= 4)
		a.net = NET_BIND_TCP | (remote ? 0 : NET_CONNECT_TCP);
	if (abi >= 6 && !remote)
		a.scoped = SCOPE_ABSTRACT_UNIX_SOCKET | SCOPE_SIGNAL;
	return a;
}

static uint64_t rights_of(enum sandbox_access access)
{
	uint64_t r = FS_READ_FILE | FS_READ_DIR | FS_IOCTL_DEV;

	if (access == SANDBOX_REMOVE)
		return FS_REMOVE_FILE;
	if (access >= SANDBOX_CHANGE)
		r |= FS_WRITE_FILE | FS_TRUNCATE;
	if (access == SANDBOX_MAKE)
		r |= FS_MAKE_REG | FS_REMOVE_FILE | FS_REFER;
	return r;
}

static int add_place(int ruleset, const struct sandbox_place *p,
		     uint64_t handled_fs)
{
	struct path_beneath_attr a = {
		.allowed = rights_of(p->access) & handled_fs,
		.parent_fd = p->fd,
	};
	struct stat st;

	if (fstat(p->fd, &st) < 0)
		return -errno;
	if (!S_ISDIR(st.st_mode))
		a.allowed &= FS_OF_FILES;
	if (syscall(SYS_landlock_add_rule, ruleset, RULE_PATH_BENEATH, &a, 0))
		/* Pipes and the like are not files of a file system: nothing
		 * stands in their way.
		 */
		return errno == EBADFD ? 0 : -errno;
	return 0;
}

static int restrict_self(const struct sandbox *s, int abi)
{
	struct ruleset_attr attr = handled(abi, s->role);
	size_t bytes = abi >= 6 ? 24 : abi >= 4 ? 16 : 8;
	int fd = (int)syscall(SYS_landlock_create_ruleset, &attr, bytes, 0);
	int rc = fd < 0 ? -errno : 0;

	for (size_t i = 0; i < s->count && !rc; i++)
		rc = add_place(fd, &s->places[i], attr.fs);
	if (!rc && syscall(SYS_landlock_restrict_self, fd, 0) < 0)
		rc = -errno;
	if (fd >= 0)
		close(fd);
	return rc;
}

int sandbox_landlock(const struct sandbox *s, struct vhd_err *err)
{
	int abi = (int)syscall(SYS_landlock_create_ruleset, NULL, 0,
			       CREATE_RULESET_VERSION);
	int rc = abi < 0 ? -errno : abi == 0 ? -ENOSYS : restrict_self(s, abi);

	if (!rc)
		return 0;
	return vhd_fail(err, rc, VHD_WHY_SYSTEM, 0,
			"Landlock cannot be used here: %s", strerror(-rc));
}

/* SPDX-License-Identifier: BSD-2-Clause */
/* The nested machine's kernel, unpacked here: that takes half a second, and
 * several in the emulation. The unpacker is the program of the kernel's own
 * format; where it is not installed, or anything is unusual, the packed kernel
 * boots as well.
 * Source: Linux Documentation/x86/boot.rst (payload_offset, payload_length).
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/wait.h>
#include <unistd.h>

#include "nested.h"
#include "vhd/endian.h"

#define HEAD_BYTES 0x260u
#define SECTOR 512u
#define PAYLOAD_MAX (64u << 20)

enum {
	OFF_SETUP_SECTS = 0x1f1,
	OFF_MAGIC = 0x202,
	OFF_PAYLOAD = 0x248,
	OFF_PAYLOAD_LENGTH = 0x24c,
};

/* A kernel's payload ends in its unpacked size, which unpackers may complain
 * about: that size, and not their exit status, says whether all came out.
 */
static const struct unpacker {
	const char *magic;
	size_t magic_len;
	const char *argv[4];
} unpackers[] = {
	{"\xfd" "7zXZ", 6, {"xz", "-dc", "--single-stream", NULL}},
	{"\x28\xb5\x2f\xfd", 4, {"zstd", "-dcq", NULL}},
	{"\x1f\x8b", 2, {"gzip", "-dcq", NULL}},
};

static uint32_t get32(const uint8_t *p)
{
	le32 v;

	memcpy(&v, p, sizeof(v));
	return le32_get(v);
}

/* The payload in a file of its own, at its start; or -1. */
static int cut_payload(int image, const uint8_t *head,
		       const struct unpacker **how, uint32_t *unpacked)
{
	uint64_t sects = head[OFF_SETUP_SECTS] ? head[OFF_SETUP_SECTS] : 4;
	off_t at = (off_t)((sects + 1) * SECTOR + get32(head + OFF_PAYLOAD));
	size_t left = get32(head + OFF_PAYLOAD_LENGTH);
	uint8_t magic[8], tail[4];
	int fd;

	*how = NULL;
	if (left < sizeof(magic) || left > PAYLOAD_MAX ||
	    pread(image, magic, sizeof(magic), at) != (ssize_t)sizeof(magic) ||
	    pread(image, tail, sizeof(tail), at + (off_t)left - 4) !=
		    (ssize_t)sizeof(tail))
		return -1;
	*unpacked = get32(tail);
	for (size_t i = 0; i < sizeof(unpackers) / sizeof(unpackers[0]); i++)
		if (memcmp(magic, unpackers[i].magic,
			   unpackers[i].magic_len) == 0)
			*how = &unpackers[i];
	if (!*how)
		return -1;
	fd = memfd_create("payload", MFD_CLOEXEC);
	while (fd >= 0 && left > 0) {
		ssize_t n = sendfile(fd, image, &at, left);

		if (n <= 0) {
			(void)close(fd);
			return -1;
		}
		left -= (size_t)n;
	}
	if (fd >= 0 && lseek(fd, 0, SEEK_SET) < 0) {
		(void)close(fd);
		return -1;
	}
	return fd;
}

/* Between fork and exec: only system calls. */
__attribute__((noreturn)) static void child(const struct unpacker *u, int in,
					    int out)
{
	int null = open("/dev/null", O_WRONLY);

	(void)signal(SIGPIPE, SIG_DFL);
	if (dup2(in, 0) == 0 && dup2(out, 1) == 1 && dup2(null, 2) == 2)
		(void)execvp(u->argv[0],
			     (char *const *)(uintptr_t)u->argv);
	_exit(127);
}

static int unpack(const struct unpacker *u, int in, uint32_t unpacked)
{
	int out = memfd_create("vmlinux", MFD_CLOEXEC), status;
	char magic[5];
	pid_t pid;

	if (out < 0)
		return -1;
	pid = fork();
	if (pid == 0)
		child(u, in, out);
	while (pid > 0 && waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	if (pid < 0 || lseek(out, 0, SEEK_END) != (off_t)unpacked ||
	    pread(out, magic, sizeof(magic), 0) != (ssize_t)sizeof(magic) ||
	    memcmp(magic, "\177ELF\2", sizeof(magic)) != 0) {
		(void)close(out);
		return -1;
	}
	return out;
}

int hv_vmlinux_unpack(const char *image_path)
{
	int image = open(image_path, O_RDONLY | O_CLOEXEC);
	const struct unpacker *how;
	uint8_t head[HEAD_BYTES];
	uint32_t unpacked;
	int payload, out;

	if (image < 0)
		return -1;
	if (pread(image, head, sizeof(head), 0) != (ssize_t)sizeof(head) ||
	    memcmp(head + OFF_MAGIC, "HdrS", 4) != 0)
		payload = -1;
	else
		payload = cut_payload(image, head, &how, &unpacked);
	(void)close(image);
	if (payload < 0)
		return -1;
	out = unpack(how, payload, unpacked);
	(void)close(payload);
	return out;
}

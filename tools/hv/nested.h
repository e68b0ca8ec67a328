/* SPDX-License-Identifier: BSD-2-Clause */
/* The nested machine's parts. Private to tools/hv. */
#ifndef TOOLS_HV_NESTED_H
#define TOOLS_HV_NESTED_H

#include "hv.h"

#define HV_PATH_MAX 4096
#define HV_NAME_MAX 256

/* ------------------------------------------------- modules.c ------------ */

#define HV_MODULES_MAX 64

/* A kernel for the machine, and what it must load, in that order. */
struct hv_l1_kernel {
	char version[HV_NAME_MAX];
	char image[HV_PATH_MAX];
	char *kvm[HV_MODULES_MAX];   /* absolute paths */
	unsigned kvm_count;
	const char *kvm_options;     /* of the last one; NULL: none */
	char *devices[HV_MODULES_MAX];
	unsigned device_count;
};

/* Find the newest kernel under `boot_dir` with its modules in `modules_dir`
 * ("/boot", "/lib/modules"). -ENOENT: the text names the package to install.
 */
int hv_l1_kernel_find(const char *boot_dir, const char *modules_dir,
		      struct hv_l1_kernel *out, struct vhd_err *err);
void hv_l1_kernel_free(struct hv_l1_kernel *k);

/* ------------------------------------------------- vmlinux.c ------------ */

/* The unpacked kernel inside a bzImage, in a file without a name; -1 where
 * that is not possible.
 */
int hv_vmlinux_unpack(const char *image_path);

/* ------------------------------------------------- shares.c ------------- */

/* A PCI bus has room for 32 devices; some are taken. */
#define HV_SHARES_MAX 24

struct hv_share {
	char dir[HV_PATH_MAX];
	bool writable;
};

struct hv_shares {
	struct hv_share share[HV_SHARES_MAX];
	unsigned count;
};

/* Have `path` shared; `inner` (HV_PATH_MAX) receives its name inside. Shares
 * of one directory are one share. Writable files must be added first.
 */
int hv_shares_add(struct hv_shares *s, const char *path, bool writable,
		  char *inner, struct vhd_err *err);
/* "w0", "r1", ...; `tag` holds 8 bytes. */
void hv_share_tag(const struct hv_shares *s, unsigned i, char *tag);

/* ------------------------------------------------- cpio.c --------------- */

/* A newc archive under construction in a file. The first error sticks. */
struct hv_cpio {
	int fd;
	uint32_t inode;
	uint64_t bytes;
	struct vhd_err err;
};

void hv_cpio_dir(struct hv_cpio *c, const char *name);
void hv_cpio_data(struct hv_cpio *c, const char *name, unsigned mode,
		  const void *data, size_t len);
/* The file at `path`, with the directories on the way to `name`. */
void hv_cpio_file(struct hv_cpio *c, const char *name, unsigned mode,
		  const char *path);
void hv_cpio_end(struct hv_cpio *c);

/* ------------------------------------------------- initramfs.c ---------- */

/* What the machine boots: our first process, this very program with its
 * shared objects, the modules, and the plan. Returns the descriptor of a file
 * without a name.
 */
int hv_initramfs_make(const struct hv_args *args, const struct hv_l1_kernel *k,
		      const struct hv_shares *shares, char *const inner[],
		      struct vhd_err *err);

/* ------------------------------------------------- qemu.c --------------- */

struct hv_qemu {
	pid_t pid;
	int pid_fd;
	int console_fd, error_fd, control_fd; /* our ends, non-blocking */
	int log_fd;                           /* what QEMU and its kernel say */
};

/* Files of the machine. */
struct hv_qemu_boot {
	const char *kernel_path;
	int kernel_fd; /* instead, unpacked; or -1 */
	int initramfs_fd;
};

int hv_qemu_start(struct hv_qemu *q, const struct hv_args *args,
		  const struct hv_qemu_boot *boot,
		  const struct hv_shares *shares, struct vhd_err *err);
/* Kill it if it still runs and wait for it; its wait status. Twice is safe. */
int hv_qemu_end(struct hv_qemu *q);
void hv_qemu_close(struct hv_qemu *q);
/* The last lines of what it said, to stderr. */
void hv_qemu_show_log(const struct hv_qemu *q);

#endif

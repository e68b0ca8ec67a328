/* SPDX-License-Identifier: BSD-2-Clause */
/* Direct boot of a Linux bzImage by its 64-bit protocol, or by the 32-bit one
 * where it has no other: 32-bit kernels. The decisions are pure
 * functions over the file's header and the guest's memory layout; the file is
 * hostile until checked.
 * Source: Linux Documentation/x86/boot.rst (2.12 and newer),
 * Documentation/x86/zero-page.rst.
 */
#ifndef HV_BOOT_LINUX_H
#define HV_BOOT_LINUX_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "memory.h"
#include "vhd/err.h"

struct hv_mem;

/* Places in low memory, all below the kernel and outside what it reserves. */
#define HV_BOOT_GDT_GPA 0x6000u
#define HV_BOOT_PARAMS_GPA 0x7000u
#define HV_BOOT_PAGES_GPA 0x9000u /* 6 pages: one PML4, one PDPT, four PDs */
#define HV_BOOT_CMDLINE_GPA 0x20000u
#define HV_BOOT_CMDLINE_MAX 0x10000u

/* As much of the file's start as decides. */
#define HV_BZIMAGE_HEAD 4096u

struct hv_bzimage {
	uint16_t protocol;
	bool long_mode;        /* it has a 64-bit entry, which is taken */
	uint64_t load_off;     /* protected-mode part in the file ... */
	uint64_t load_bytes;   /* ... to its end */
	uint64_t load_gpa;     /* where it wants to be */
	uint64_t init_bytes;   /* memory it uses there before it looks around */
	uint64_t initrd_top;   /* first byte an initrd must not reach */
	uint32_t cmdline_max;  /* without the NUL */
	size_t header_bytes;   /* of the setup header, from HV_SETUP_OFF */
};
#define HV_SETUP_OFF 0x1f1u

/* Check a kernel file from its first `head_len` bytes and its length.
 * -EUCLEAN (KERNEL_FORMAT), -ENOTSUP (KERNEL_OLD).
 */
int hv_bzimage_parse(const uint8_t *head, size_t head_len, uint64_t file_len,
		     struct hv_bzimage *out, struct vhd_err *err);

/* Where the initrd goes: as high as allowed in low RAM. -EFBIG (KERNEL_FIT)
 * when kernel and initrd do not fit the memory.
 */
int hv_bzimage_place(const struct hv_bzimage *k, const struct hv_layout *l,
		     uint64_t initrd_bytes, uint64_t *initrd_gpa,
		     struct vhd_err *err);

/* Entry point of 64-bit code, behind the start of what is loaded; that of
 * 32-bit code is the start.
 */
#define HV_BOOT_ENTRY_64 0x200u

/* Where the first processor begins: in long mode with those tables, or in
 * protected mode without paging.
 */
struct hv_boot_entry {
	uint64_t gpa;
	bool long_mode;
};

struct hv_boot_entry hv_bzimage_entry(const struct hv_bzimage *k);

/* The zero page, 4096 bytes. */
struct hv_boot_params {
	const uint8_t *head; /* as given to hv_bzimage_parse */
	const struct hv_bzimage *kernel;
	const struct hv_layout *layout;
	uint64_t initrd_gpa, initrd_bytes;
	uint64_t rsdp_gpa;
};
void hv_boot_params_fill(const struct hv_boot_params *p, uint8_t page[4096]);

/* GDT for the entry; for one in long mode page tables, too: the first 4 GiB
 * mapped to themselves by 2 MiB pages.
 */
#define HV_BOOT_PAGES_BYTES (6 * 4096u)
void hv_boot_pages_fill(uint8_t *pages);
#define HV_BOOT_GDT_BYTES 32u
#define HV_BOOT_CS 0x10u
#define HV_BOOT_DS 0x18u
void hv_boot_gdt_fill(uint8_t *gdt, bool long_mode);

struct hv_boot_files {
	const char *kernel;
	const char *initrd; /* may be NULL */
	const char *cmdline;
};

/* The files of a boot, open to be loaded any number of times. */
struct hv_boot_image;

/* Open and check them; paths of regular files. Copies what it needs of `files`.
 */
int hv_boot_image_open(const struct hv_boot_files *files,
		       const struct hv_layout *layout,
		       struct hv_boot_image **out, struct vhd_err *err);
/* Check them again, as they may have changed; fill guest memory; say where to
 * enter. Opens nothing. `layout` as before; `pci`: there is such a bus.
 */
int hv_boot_image_load(struct hv_boot_image *image, struct hv_mem *mem,
		       const struct hv_layout *layout, uint32_t cpus, bool pci,
		       struct hv_boot_entry *entry, struct vhd_err *err);
void hv_boot_image_close(struct hv_boot_image *image); /* takes; may be NULL */

/* Do all of it: read the files, fill guest memory, say where to enter. */
int hv_boot_linux_load(struct hv_mem *mem, const struct hv_layout *layout,
		       uint32_t cpus, bool pci,
		       const struct hv_boot_files *files,
		       struct hv_boot_entry *entry, struct vhd_err *err);

#endif

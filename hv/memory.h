/* SPDX-License-Identifier: BSD-2-Clause */
/* Guest RAM: where it lies in the guest's address space, and the one mapping
 * behind it.
 *
 *   0 .. low_bytes            RAM, at most HV_LOW_MAX
 *   HV_LOW_MAX .. 4 GiB       the hole: APICs, and room for devices
 *   4 GiB .. + high_bytes     the rest of RAM
 */
#ifndef HV_MEMORY_H
#define HV_MEMORY_H

#include <stddef.h>
#include <stdint.h>

#include "gpa.h"
#include "vhd/err.h"

#define HV_LOW_MAX (3ull << 30)
#define HV_HIGH_GPA (4ull << 30)
#define HV_RAM_ALIGN (2ull << 20)

struct hv_layout {
	uint64_t low_bytes;
	uint64_t high_bytes;
};

/* Split `bytes` of RAM. `phys_bits` is what the processor can address.
 * -EINVAL: not a multiple of 2 MiB, outside HV_MEMORY_MIN..MAX, or too much
 * for the processor.
 */
int hv_layout_set(uint64_t bytes, unsigned phys_bits, struct hv_layout *out,
		  struct vhd_err *err);

/* The BIOS memory map ("e820") of a layout. */
#define HV_E820_MAX 6
enum { HV_E820_RAM = 1, HV_E820_RESERVED = 2 };
struct hv_e820 {
	uint64_t start, bytes;
	uint32_t type;
};
unsigned hv_layout_e820(const struct hv_layout *l,
			struct hv_e820 map[HV_E820_MAX]);

struct hv_ram {
	struct hv_layout layout;
	uint8_t *host;      /* 2 MiB-aligned; high RAM follows low RAM */
	void *mapping;
	size_t mapping_bytes;
};

/* Reserve the memory and give it to `mem`. Nothing is touched: the host spends
 * what the guest uses.
 */
int hv_ram_create(struct hv_ram *ram, const struct hv_layout *layout,
		  struct hv_mem *mem, struct vhd_err *err);
void hv_ram_destroy(struct hv_ram *ram);
/* Give it to a virtual machine. */
int hv_ram_give(const struct hv_ram *ram, int vm_fd, struct vhd_err *err);
/* Forget what is in it: it is zero again, and the host has it back. No virtual
 * machine has it any more.
 */
int hv_ram_clear(const struct hv_ram *ram, struct vhd_err *err);

#endif

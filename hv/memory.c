/* SPDX-License-Identifier: BSD-2-Clause */
/* Guest RAM. See memory.h. */
#include "memory.h"

#include <errno.h>
#include <linux/kvm.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>

#include "hv.h"
#include "vhd/checked.h"

/* Below 1 MiB the PC has its holes; the last KiB of the first 640 is where a
 * BIOS keeps its data.
 */
#define E820_BASE_END 0x9fc00u
#define E820_BASE_HOLE 0xa0000u
#define E820_ROM 0xe0000u
#define E820_EXTENDED 0x100000u

int hv_layout_set(uint64_t bytes, unsigned phys_bits, struct hv_layout *out,
		  struct vhd_err *err)
{
	struct hv_layout l;
	uint64_t top;

	if (bytes < HV_MEMORY_MIN)
		return vhd_fail(err, -EINVAL, VHD_WHY_ARGUMENT, 0,
				"%llu bytes of memory are too little; a guest "
				"needs at least %llu MiB",
				(unsigned long long)bytes, HV_MEMORY_MIN >> 20);
	if (bytes > HV_MEMORY_MAX)
		return vhd_fail(err, -EINVAL, VHD_WHY_ARGUMENT, 0,
				"%llu GiB of memory are more than the %llu GiB "
				"a guest can have",
				(unsigned long long)(bytes >> 30),
				HV_MEMORY_MAX >> 30);
	if (bytes % HV_RAM_ALIGN != 0)
		return vhd_fail(err, -EINVAL, VHD_WHY_ARGUMENT, 0,
				"memory must be a multiple of 2 MiB");
	l.low_bytes = bytes < HV_LOW_MAX ? bytes : HV_LOW_MAX;
	l.high_bytes = bytes - l.low_bytes;
	top = l.high_bytes ? HV_HIGH_GPA + l.high_bytes : HV_HIGH_GPA;
	if (phys_bits < 64 && top > 1ull << phys_bits)
		return vhd_fail(err, -EINVAL, VHD_WHY_ARGUMENT, 0,
				"%llu GiB of memory are more than this "
				"processor's %u address bits reach",
				(unsigned long long)(bytes >> 30), phys_bits);
	*out = l;
	return 0;
}

unsigned hv_layout_e820(const struct hv_layout *l,
			struct hv_e820 map[HV_E820_MAX])
{
	unsigned n = 0;

	map[n++] = (struct hv_e820){0, E820_BASE_END, HV_E820_RAM};
	map[n++] = (struct hv_e820){E820_BASE_END,
				    E820_BASE_HOLE - E820_BASE_END,
				    HV_E820_RESERVED};
	map[n++] = (struct hv_e820){E820_ROM, E820_EXTENDED - E820_ROM,
				    HV_E820_RESERVED};
	map[n++] = (struct hv_e820){E820_EXTENDED, l->low_bytes - E820_EXTENDED,
				    HV_E820_RAM};
	if (l->high_bytes > 0)
		map[n++] = (struct hv_e820){HV_HIGH_GPA, l->high_bytes,
					    HV_E820_RAM};
	return n;
}

/* A mapping that is not 2 MiB-aligned costs the guest small pages: 20,000 page
 * faults in a boot instead of 40.
 */
static int map_aligned(struct hv_ram *ram, struct vhd_err *err)
{
	uint64_t bytes = ram->layout.low_bytes + ram->layout.high_bytes;
	uint64_t whole, start;
	void *p;

	if (add_ovf(bytes, HV_RAM_ALIGN, &whole) || whole > SIZE_MAX)
		return vhd_fail(err, -ENOMEM, VHD_WHY_NOMEM, 0,
				"too much memory");
	p = mmap(NULL, (size_t)whole, PROT_READ | PROT_WRITE,
		 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (p == MAP_FAILED)
		return vhd_fail(err, -errno, VHD_WHY_NOMEM, 0,
				"cannot reserve %llu MiB of guest memory: %s",
				(unsigned long long)(bytes >> 20),
				strerror(errno));
	ram->mapping = p;
	ram->mapping_bytes = (size_t)whole;
	start = ((uintptr_t)p + HV_RAM_ALIGN - 1) & ~(HV_RAM_ALIGN - 1);
	ram->host = (uint8_t *)(uintptr_t)start;
	/* Both are wishes: a kernel without them still runs the guest. */
	(void)madvise(ram->host, (size_t)bytes, MADV_HUGEPAGE);
	(void)madvise(ram->host, (size_t)bytes, MADV_DONTDUMP);
	return 0;
}

static int add(struct hv_mem *mem, uint64_t gpa, uint64_t bytes, uint8_t *host,
	       struct vhd_err *err)
{
	int ret = bytes ? hv_mem_add(mem, gpa, bytes, host) : 0;

	if (ret < 0)
		return vhd_fail(err, ret, VHD_WHY_ARGUMENT, 0,
				"guest memory regions do not fit");
	return 0;
}

int hv_ram_create(struct hv_ram *ram, const struct hv_layout *layout,
		  struct hv_mem *mem, struct vhd_err *err)
{
	int ret;

	memset(ram, 0, sizeof(*ram));
	ram->layout = *layout;
	ret = map_aligned(ram, err);
	if (ret == 0)
		ret = add(mem, 0, layout->low_bytes, ram->host, err);
	if (ret == 0)
		ret = add(mem, HV_HIGH_GPA, layout->high_bytes,
			  ram->host + layout->low_bytes, err);
	return ret;
}

static int give(int vm_fd, uint32_t slot, uint64_t gpa, uint64_t bytes,
		uint8_t *host, struct vhd_err *err)
{
	struct kvm_userspace_memory_region r = {
		.slot = slot,
		.guest_phys_addr = gpa,
		.memory_size = bytes,
		.userspace_addr = (uintptr_t)host,
	};

	if (bytes == 0 || ioctl(vm_fd, KVM_SET_USER_MEMORY_REGION, &r) == 0)
		return 0;
	return vhd_fail(err, -errno, VHD_WHY_SYSTEM, 0,
			"KVM does not take %llu MiB of guest memory: %s",
			(unsigned long long)(bytes >> 20), strerror(errno));
}

int hv_ram_give(const struct hv_ram *ram, int vm_fd, struct vhd_err *err)
{
	const struct hv_layout *l = &ram->layout;
	int ret = give(vm_fd, 0, 0, l->low_bytes, ram->host, err);

	if (ret < 0)
		return ret;
	return give(vm_fd, 1, HV_HIGH_GPA, l->high_bytes,
		    ram->host + l->low_bytes, err);
}

int hv_ram_clear(const struct hv_ram *ram, struct vhd_err *err)
{
	uint64_t bytes = ram->layout.low_bytes + ram->layout.high_bytes;

	if (madvise(ram->host, (size_t)bytes, MADV_DONTNEED) == 0)
		return 0;
	return vhd_fail(err, -errno, VHD_WHY_SYSTEM, 0,
			"cannot clear the guest's memory: %s", strerror(errno));
}

void hv_ram_destroy(struct hv_ram *ram)
{
	if (ram->mapping)
		(void)munmap(ram->mapping, ram->mapping_bytes);
	ram->mapping = NULL;
}

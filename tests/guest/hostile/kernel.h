/* SPDX-License-Identifier: BSD-2-Clause */
/* A guest that means harm: a kernel of its own, so that nothing stands between
 * it and the hypervisor. It talks to VMBus and to the SCSI controller as a
 * driver does, and between times does what no driver would (acts.c). After
 * each act it must be served as ever: a guest may break its own device, never
 * the process.
 *
 * Runs in long mode on the loader's page tables (identity, 4 GiB), interrupts
 * off, one processor; the second one is started to race against the host.
 */
#ifndef TESTS_GUEST_HOSTILE_KERNEL_H
#define TESTS_GUEST_HOSTILE_KERNEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "hv/vmbus/wire.h"
#include "storvsp/wire.h"

#define PAGE	  4096u
#define RAM_BYTES 0x4000000ull /* of --memory 64M */
#define HOLE	  0xC0000000ull
/* Where things lie; all of it RAM that nothing else uses. */
#define HYPERCALL_PAGE 0x2000000ull
#define INPUT_PAGE     0x2001000ull
#define MESSAGE_PAGE   0x2002000ull
#define EVENT_PAGE     0x2003000ull
#define RING	       0x2010000ull /* control and data, there and back */
#define RING_PAGES     4u	    /* each way */
#define RING_BYTES     ((RING_PAGES - 1) * PAGE)
#define DATA	       0x2020000ull
#define DATA_PAGES     16u

enum {
	MSR_GUEST_OS_ID = 0x40000000,
	MSR_HYPERCALL = 0x40000001,
	MSR_SCONTROL = 0x40000080,
	MSR_SIEFP = 0x40000082,
	MSR_SIMP = 0x40000083,
	MSR_EOM = 0x40000084,
	MSR_SINT0 = 0x40000090,
	CALL_POST = 0x5c,
	CALL_SIGNAL = 0x5d,
	CALL_FAST = 0x10000,
};

/* ------------------------------------------------------------- machine --- */

static inline void out8(uint16_t port, uint8_t v)
{
	__asm__ volatile("outb %0, %1" : : "a"(v), "Nd"(port));
}

static inline void out16(uint16_t port, uint16_t v)
{
	__asm__ volatile("outw %0, %1" : : "a"(v), "Nd"(port));
}

static inline void out32(uint16_t port, uint32_t v)
{
	__asm__ volatile("outl %0, %1" : : "a"(v), "Nd"(port));
}

static inline uint8_t in8(uint16_t port)
{
	uint8_t v;

	__asm__ volatile("inb %1, %0" : "=a"(v) : "Nd"(port));
	return v;
}

static inline uint32_t in32(uint16_t port)
{
	uint32_t v;

	__asm__ volatile("inl %1, %0" : "=a"(v) : "Nd"(port));
	return v;
}

static inline volatile uint32_t *word(uint64_t gpa)
{
	return (volatile uint32_t *)gpa;
}

/* True when the processor refused it. */
bool write_msr(uint32_t msr, uint64_t v);

/* The line as a driver has it that listens. */
void console_good(void);
void say(const char *text);
void say_number(const char *text, uint64_t n);
__attribute__((noreturn)) void die(const char *why);
uint64_t random64(void);
uint64_t below(uint64_t n);
unsigned seconds(void); /* since the start, by the CMOS clock */

/* Pages, SynIC and hypercalls as a good guest has them. */
void machine_good(void);
uint64_t hypercall(uint64_t input, uint64_t in, uint64_t out);

/* The second processor writes over [gpa, gpa + len) until it is stopped. */
void race_start(uint64_t gpa, uint32_t len);
void race_stop(void);

/* --------------------------------------------------------- conversation -- */

/* HvPostMessage; its status. */
uint64_t post(uint32_t connection, const void *msg, uint32_t len);
/* Wait for a message of this type (0: any); false: none came. */
bool hear(uint32_t type, void *buf);
/* Throw away what lies in the slot. */
void drain_messages(void);

/* Contact, offers, rings, negotiation from nothing. NULL, or what failed. */
const char *channel_open(void);
/* A packet of `len` bytes of payload and `count` page numbers (0: in-band);
 * any type. False: no room.
 */
bool send_packet(uint16_t type, uint16_t flags, uint64_t id, uint32_t range_len,
		 uint32_t range_offset, const uint64_t *pfns, unsigned count,
		 const void *payload, uint32_t len);
void ring_signal(void);
/* Take one answer: its id, and up to 64 bytes. False: none there. */
bool receive(uint64_t *id, struct storvsp_packet_wire *p);
/* The same, waiting. */
bool wait_answer(uint64_t id, struct storvsp_packet_wire *p);

/* READ(10) of 8 sectors of LUN 0, which is read-only, or WRITE(10) of LUN 1.
 */
void rw_packet(bool write, uint32_t lba, struct storvsp_packet_wire *p);
/* Everything anew, and the disk's first sectors are what they were. */
void healthy(void);

void kernel_main(const uint8_t *boot_params);
void kernel_died(uint64_t vector, uint64_t rip);
void second_main(void);

struct act {
	const char *name;
	void (*run)(void);
};
extern const struct act acts[];
extern const unsigned act_count;
/* Data from the disk over the page tables: this is the end of it. */
void suicide(void);

void *memset(void *dst, int c, size_t n);
void *memcpy(void *dst, const void *src, size_t n);

#endif

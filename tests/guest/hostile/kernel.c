/* SPDX-License-Identifier: BSD-2-Clause */
/* The hostile kernel's machine: exceptions, console, clock, hypercalls, the
 * second processor. See kernel.h.
 */
#include "kernel.h"

extern const uint8_t stubs[], trampoline[], trampoline_end[];
uint64_t resume_at;

static struct {
	uint16_t low, segment;
	uint8_t stack, type;
	uint16_t middle;
	uint32_t high, zero;
} idt[32];

static uint64_t random_state = 1;
static unsigned started_at;
static const char *now = "the start"; /* or the name of the act */
static volatile uint64_t race_gpa;
static volatile uint32_t race_len, race_on;
static volatile uint64_t races; /* bytes changed by the second processor */

void *memset(void *dst, int c, size_t n)
{
	__asm__ volatile("rep stosb" : "+D"(dst), "+c"(n) : "a"(c) : "memory");
	return dst;
}

void *memcpy(void *dst, const void *src, size_t n)
{
	void *d = dst;

	__asm__ volatile("rep movsb"
			 : "+D"(d), "+S"(src), "+c"(n)
			 :
			 : "memory");
	return dst;
}

/* ------------------------------------------------------------- console --- */

void console_good(void)
{
	out8(0x3fb, 0x03);
	out8(0x3fa, 0x01); /* the FIFO as it is, not cleared */
	out8(0x3fc, 0x08); /* OUT2 and the interrupt: heard from now on */
	out8(0x3f9, 0x01);
}

void say(const char *text)
{
	for (; *text; text++) {
		while (!(in8(0x3fd) & 0x20))
			;
		out8(0x3f8, (uint8_t)*text);
	}
}

void say_number(const char *text, uint64_t n)
{
	char digits[24], *p = digits + sizeof(digits) - 1;

	*p = '\0';
	do
		*--p = (char)('0' + n % 10);
	while (n /= 10);
	say(text);
	say(p);
	say("\n");
}

void die(const char *why)
{
	race_stop();
	say("\nhostile: FAILED in ");
	say(now);
	say(": ");
	say(why);
	say("\n");
	out16(0x604, 5u << 10 | 1u << 13); /* off */
	for (;;)
		__asm__ volatile("hlt");
}

void kernel_died(uint64_t vector, uint64_t rip)
{
	say_number("\nhostile: at ", rip);
	say_number("hostile: exception ", vector);
	die("by an exception of its own");
}

/* ------------------------------------------------------------- machine --- */

uint64_t random64(void)
{
	uint64_t z = (random_state += 0x9e3779b97f4a7c15u);

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
	z = (z ^ z >> 27) * 0x94d049bb133111ebu;
	return z ^ z >> 31;
}

uint64_t below(uint64_t n)
{
	return random64() % n;
}

static unsigned cmos(uint8_t reg)
{
	unsigned v;

	out8(0x70, reg);
	v = in8(0x71);
	return (v >> 4) * 10 + (v & 15);
}

/* Read until it stands still: a minute may end between two registers. */
static unsigned second_of_day(void)
{
	unsigned now_s, before_s = ~0u;

	while ((now_s = (cmos(4) % 24 * 60 + cmos(2)) * 60 + cmos(0)) !=
	       before_s)
		before_s = now_s;
	return now_s;
}

unsigned seconds(void)
{
	return (second_of_day() + 86400 - started_at) % 86400;
}

bool write_msr(uint32_t msr, uint64_t v)
{
	uint32_t refused = 1;

	__asm__ volatile("movq $1f, resume_at\n\t"
			 "wrmsr\n\t"
			 "movl $0, %0\n"
			 "1:\tmovq $0, resume_at"
			 : "+r"(refused)
			 : "c"(msr), "a"((uint32_t)v), "d"((uint32_t)(v >> 32))
			 : "memory");
	return refused;
}

void machine_good(void)
{
	memset((void *)MESSAGE_PAGE, 0, PAGE);
	memset((void *)EVENT_PAGE, 0, PAGE);
	if (write_msr(MSR_GUEST_OS_ID, 0x8100000000000001) ||
	    write_msr(MSR_HYPERCALL, HYPERCALL_PAGE | 1) ||
	    write_msr(MSR_SIMP, MESSAGE_PAGE | 1) ||
	    write_msr(MSR_SIEFP, EVENT_PAGE | 1) ||
	    write_msr(MSR_SINT0 + 2, 0x40) || write_msr(MSR_SCONTROL, 1) ||
	    write_msr(MSR_EOM, 0))
		die("a good register is refused");
}

uint64_t hypercall(uint64_t input, uint64_t in, uint64_t out)
{
	register uint64_t r8 __asm__("r8") = out;
	uint64_t status;

	__asm__ volatile("call *%4"
			 : "=a"(status), "+c"(input), "+d"(in), "+r"(r8)
			 : "r"(HYPERCALL_PAGE)
			 : "memory", "cc", "r9", "r10", "r11");
	return status;
}

/* ---------------------------------------------------- second processor --- */

static void apic_send(uint32_t command)
{
	*word(0xfee00310) = 1u << 24;
	*word(0xfee00300) = command;
	for (unsigned i = 0; i < 100000 && (*word(0xfee00300) & 0x1000); i++)
		;
}

void race_start(uint64_t gpa, uint32_t len)
{
	race_gpa = gpa;
	race_len = len;
	race_on = 1;
	memcpy((void *)0x8000, trampoline,
	       (size_t)(trampoline_end - trampoline));
	*word(0xfee000f0) = 0x1ff;
	apic_send(0x4500); /* INIT, then where to start */
	apic_send(0x4608);
	apic_send(0x4608);
}

void race_stop(void)
{
	race_on = 0;
	apic_send(0x4500); /* it has no say in this */
	for (unsigned i = 0; i < 200; i++)
		(void)in8(0x80);
}

void second_main(void)
{
	uint64_t x = 0x1234567;

	while (race_on) {
		x ^= x << 13;
		x ^= x >> 7;
		x ^= x << 17;
		*word(race_gpa + x % race_len / 4 * 4) ^= 1u << (x >> 32) % 32;
		races++;
	}
}

/* ---------------------------------------------------------------- main --- */

/* An "e" on the console: enough. Acts may swallow some of them. */
static bool told_to_end(void)
{
	for (unsigned i = 0; i < 64 && (in8(0x3fd) & 1); i++)
		if (in8(0x3f8) == 'e')
			return true;
	return false;
}

/* The number behind `name` on the command line. */
static unsigned argument(const char *line, const char *name, unsigned value)
{
	for (; *line; line++) {
		const char *a = line, *b = name;

		while (*b && *a == *b)
			a++, b++;
		if (*b)
			continue;
		for (value = 0; *a >= '0' && *a <= '9'; a++)
			value = value * 10 + (unsigned)(*a - '0');
	}
	return value;
}

static void exceptions_set(void)
{
	struct __attribute__((packed)) {
		uint16_t limit;
		uint64_t base;
	} pointer = {sizeof(idt) - 1, (uint64_t)idt};

	for (unsigned v = 0; v < 32; v++) {
		uint64_t at = (uint64_t)stubs + 16 * v;

		idt[v].low = (uint16_t)at;
		idt[v].segment = 0x10;
		idt[v].type = 0x8e;
		idt[v].middle = (uint16_t)(at >> 16);
		idt[v].high = (uint32_t)(at >> 32);
	}
	__asm__ volatile("lidt %0" : : "m"(pointer));
}

void kernel_main(const uint8_t *boot_params)
{
	uint32_t at;
	const char *line;
	unsigned limit, rounds = 0, only;

	memcpy(&at, boot_params + 0x228, sizeof(at));
	line = (const char *)(uintptr_t)at;
	random_state = argument(line, "seed=", 1);
	limit = argument(line, "seconds=", 120);
	only = argument(line, "act=", act_count);
	exceptions_set();
	console_good();
	started_at = second_of_day();
	say_number("hostile: seed ", random_state);
	machine_good();
	healthy();
	do {
		for (unsigned i = 0; i < act_count; i++) {
			if (only < act_count && i != only)
				continue;
			if (rounds == 0) {
				say("hostile: ");
				say(acts[i].name);
				say("\n");
			}
			now = acts[i].name;
			acts[i].run();
			race_stop();
			healthy();
		}
		rounds++;
	} while (seconds() < limit && !told_to_end());
	say_number("hostile: rounds ", rounds);
	say_number("hostile: seconds ", seconds());
	say_number("hostile: changed in a race ", races);
	say("hostile: served to the end\n");
	suicide();
}

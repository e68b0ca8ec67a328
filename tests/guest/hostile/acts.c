/* SPDX-License-Identifier: BSD-2-Clause */
/* What the hostile kernel does to its hypervisor: the worst of the catalogue
 * (tests/proof/hostile.tsv), for real. Each act may leave its device in any
 * state; what follows starts it anew. See kernel.h.
 */
#include "kernel.h"

/* An address that is no good place, or seldom. */
static uint64_t bad_address(void)
{
	static const uint64_t places[] = {0,
					  RAM_BYTES - 8,
					  RAM_BYTES - 256,
					  RAM_BYTES,
					  RAM_BYTES + 4096,
					  HOLE,
					  0xfec00000,
					  0xfee00000,
					  0xfffff000,
					  0x100000000,
					  0x8000000000,
					  0xfffffffffffff,
					  0x10000000000000,
					  ~0ull,
					  ~0ull - 255,
					  INPUT_PAGE + 1,
					  INPUT_PAGE + 4,
					  INPUT_PAGE + 4088,
					  INPUT_PAGE + 3848};
	unsigned n = (unsigned)below(sizeof(places) / sizeof(places[0]) + 1);

	return n ? places[n - 1] : random64();
}

/* ---------------------------------------------------------- hypercalls --- */

static void hypercalls(void)
{
	static const uint16_t codes[] = {CALL_POST,   CALL_POST, CALL_POST,
					 CALL_SIGNAL, 0x5a,	 0x40,
					 0x7f,	      0x6000,	 0xffff};

	for (unsigned i = 0; i < 400; i++) {
		uint64_t input = codes[below(sizeof(codes) / 2)];

		if (below(4) == 0)
			input |= random64() & 0x0fff0fff03ff0000;
		for (unsigned b = 0; b < 64; b += 8) {
			uint64_t r = random64();

			memcpy((void *)(INPUT_PAGE + b), &r, 8);
		}
		if (below(2)) {
			*word(INPUT_PAGE) = (uint32_t)below(6);
			*word(INPUT_PAGE + 8) = (uint32_t)below(3);
			*word(INPUT_PAGE + 12) = (uint32_t)below(300);
		}
		(void)hypercall(input, below(2) ? INPUT_PAGE : bad_address(),
				bad_address());
	}
}

/* ------------------------------------------------------------ messages --- */

static uint32_t any_message(uint8_t m[256])
{
	for (unsigned i = 0; i < 256; i += 4) {
		uint32_t small = (uint32_t)below(8);

		memcpy(m + i, &small, 4);
	}
	*(uint32_t *)m = (uint32_t)below(30);
	if (below(4) == 0) /* a list of anything */
		for (unsigned i = 16; i < 256; i += 8)
			*(uint64_t *)(m + i) = random64();
	return (uint32_t)below(241);
}

/* Never reading the slot, for a part of the time. */
static void messages(void)
{
	bool deaf = below(2);
	uint8_t m[256];

	for (unsigned i = 0; i < 400; i++) {
		uint32_t len = any_message(m);

		/* a contact of its own would be answered on the way */
		if (*(uint32_t *)m == VMBUS_MSG_INITIATE_CONTACT)
			*(uint32_t *)m = 5;
		(void)post(below(5) ? 1 : 4, m, len);
		if (!deaf && i % 8 == 0)
			drain_messages();
	}
	drain_messages();
}

static void connections_in_a_storm(void)
{
	struct vmbus_wire_initiate_contact m = {
		.hdr.type = le32_put(VMBUS_MSG_INITIATE_CONTACT),
		.version = le32_put(0x50003),
		.target_sint = 2,
	};
	const uint32_t unload[2] = {VMBUS_MSG_UNLOAD, 0};

	for (unsigned i = 0; i < 150; i++) {
		if (below(2)) {
			m.version = le32_put(below(3) ? 0x50003
						      : (uint32_t)random64());
			m.target_vp = le32_put((uint32_t)below(3));
			(void)post(4, &m, sizeof(m));
		} else {
			(void)post(1, unload, sizeof(unload));
		}
		if (below(4) == 0)
			drain_messages();
	}
	/* what is still on its way has come when this is answered */
	(void)post(1, unload, sizeof(unload));
	for (unsigned i = 0; i < 200; i++)
		drain_messages();
}

/* --------------------------------------------------------------- SynIC --- */

static void synic_pages_anywhere(void)
{
	static const uint32_t msrs[] = {MSR_SIMP, MSR_SIEFP, MSR_SCONTROL,
					MSR_EOM, MSR_SINT0 + 2};
	const uint32_t offers[2] = {VMBUS_MSG_REQUESTOFFERS, 0};

	for (unsigned i = 0; i < 200; i++) {
		uint32_t msr = msrs[below(5)];
		uint64_t v = (bad_address() & ~0xfffull) | below(2);

		if (msr == MSR_SCONTROL || msr == MSR_EOM)
			v = below(2);
		if (msr == MSR_SINT0 + 2)
			v = 0x40 | below(2) << 16 | below(2) << 17;
		if (msr < MSR_SINT0 && v < 0x2000000 && msr != MSR_SCONTROL &&
		    msr != MSR_EOM)
			v = (RING + PAGE * below(8)) | 1; /* not itself */
		(void)write_msr(msr, v);
		(void)post(1, offers, sizeof(offers));
		ring_signal();
	}
}

static void registers_of_the_hypervisor(void)
{
	for (uint32_t msr = 0x40000000; msr < 0x40000130; msr++) {
		/* these end the guest, and rightly */
		if (msr >= 0x40000100 && msr <= 0x40000105)
			continue;
		if (msr == 0x40000003 || msr == MSR_HYPERCALL)
			continue; /* reset; the page that calls go through */
		(void)write_msr(msr, random64());
		(void)write_msr(msr, below(2) ? bad_address() | 1 : 0);
	}
}

/* ------------------------------------------------- ports, memory-mapped --- */

static bool ends_the_guest(uint16_t port)
{
	return (port >= 0x5fd && port <= 0x605) || port == 0xcf9 ||
	       port == 0x64;
}

static void ports(void)
{
	static const uint16_t first[] = {0x00,	0x20,  0x60,  0x70,
					 0x80,	0xa0,  0xe8,  0x3f0,
					 0x4d0, 0x500, 0x5f8, 0xcf0};

	for (unsigned i = 0; i < 12; i++)
		for (uint16_t port = first[i]; port < first[i] + 24; port++) {
			(void)in8(port);
			(void)in32(port);
			if (ends_the_guest(port) ||
			    (port >= 0x3f8 && port < 0x400))
				continue;
			out8(port, (uint8_t)random64());
			out16(port, (uint16_t)random64());
			out32(port, (uint32_t)random64());
		}
	for (unsigned i = 0; i < 100; i++) {
		uint16_t port = (uint16_t)random64();

		if (ends_the_guest(port))
			continue;
		out32(port, (uint32_t)random64());
		(void)in32(port);
	}
	out16(0x604, (uint16_t)(random64() & ~0x2000u)); /* all but SLP_EN */
}

/* The line's registers and a page of bytes at once; then as it was. */
static void console(void)
{
	uint64_t at = RING, count = 512;

	for (unsigned i = 0; i < 512; i++)
		*(volatile uint8_t *)(RING + i) = (uint8_t)(i % 26 + 'a');
	for (unsigned i = 0; i < 100; i++)
		out8((uint16_t)(0x3f9 + below(7)), (uint8_t)random64());
	console_good();
	__asm__ volatile("rep outsb"
			 : "+S"(at), "+c"(count)
			 : "d"(0x3f8)
			 : "memory");
	say("\n");
}

static void memory_that_is_not_there(void)
{
	for (unsigned i = 0; i < 200; i++) {
		uint64_t at = RAM_BYTES + below(0xfec00000 - RAM_BYTES);

		if (below(2))
			*word(at & ~3ull) = (uint32_t)random64();
		else
			(void)*word(at & ~3ull);
	}
}

/* -------------------------------------------------------------- packets --- */

static uint64_t any_page(void)
{
	return below(3) ? DATA / PAGE + below(DATA_PAGES)
			: bad_address() / PAGE;
}

/* Not every page may be read into: this program must go on. */
static uint64_t harmless_page(void)
{
	uint64_t pfn = any_page();

	return pfn < RAM_BYTES / PAGE ? DATA / PAGE + pfn % DATA_PAGES : pfn;
}

static void one_packet(void)
{
	static const uint16_t types[] = {9, 9, 9, 9, 6, 6, 11, 7, 0, 0xffff};
	struct storvsp_packet_wire p;
	uint16_t type = types[below(10)];
	uint8_t bytes[64];
	uint64_t pfns[4];
	uint32_t len = 64;

	rw_packet(below(2), 0x1000 + (uint32_t)below(0x1000), &p);
	memcpy(bytes, &p, sizeof(bytes));
	for (uint64_t n = below(4); n > 0; n--)
		bytes[below(64)] = (uint8_t)random64();
	if (below(8) == 0)
		bytes[0] = (uint8_t)below(16);
	if (below(8) == 0)
		len = (uint32_t)below(65);
	for (unsigned i = 0; i < 4; i++)
		pfns[i] = harmless_page();
	(void)send_packet(type, (uint16_t)below(4), random64(),
			  below(4) ? PAGE : (uint32_t)below(20000),
			  below(4) ? 0 : (uint32_t)below(5000), pfns,
			  type == 9 ? 1 + (unsigned)below(4) : 0, bytes, len);
}

static void take_answers(void)
{
	struct storvsp_packet_wire p;
	uint64_t id;

	while (receive(&id, &p))
		;
}

static void packets(void)
{
	for (unsigned i = 0; i < 600; i++) {
		one_packet();
		if (below(8) == 0)
			ring_signal();
		if (below(20) == 0)
			take_answers();
	}
	ring_signal();
}

/* Any control word becomes anything, with requests under way. */
static void control_words(void)
{
	static const uint8_t words[] = {0, 4, 8, 12, 64};

	for (unsigned round = 0; round < 6; round++) {
		const char *fault = channel_open();

		if (fault)
			die(fault);
		for (unsigned i = 0; i < 20; i++)
			one_packet();
		ring_signal();
		for (unsigned i = 0; i < 10; i++) {
			uint64_t ctrl =
				RING + (below(2) ? RING_PAGES * PAGE : 0);
			uint32_t v =
				below(2) ? (uint32_t)below(RING_BYTES / 8) * 8
					 : (uint32_t)random64();

			*word(ctrl + words[below(5)]) = v;
			ring_signal();
		}
	}
}

/* Channels closed, lists torn down, all forgotten, with requests under way. */
static void ends_under_way(void)
{
	for (unsigned round = 0; round < 8; round++) {
		const char *fault = channel_open();
		uint32_t m[4] = {0, 0, 1, 0x1000};

		if (fault)
			die(fault);
		for (unsigned i = 0; i < 40; i++)
			one_packet();
		ring_signal();
		for (unsigned i = 0; i < 4; i++) {
			static const uint8_t types[] = {
				VMBUS_MSG_CLOSECHANNEL, VMBUS_MSG_UNLOAD,
				VMBUS_MSG_GPADL_TEARDOWN,
				VMBUS_MSG_RELID_RELEASED};

			m[0] = types[below(4)];
			m[3] = 0x1000 + (uint32_t)below(64);
			(void)post(1, m, sizeof(m));
		}
		drain_messages();
	}
}

static void resets_and_sub_channels(void)
{
	const char *fault = channel_open();

	if (fault)
		die(fault);
	for (unsigned i = 0; i < 200; i++) {
		struct storvsp_packet_wire p = {
			.op = le32_put(below(2) ? 4 + (uint32_t)below(3) : 13),
			.flags = le32_put(1),
		};

		p.u.request.length = le16_put((uint16_t)random64());
		p.u.request.lun = (uint8_t)below(3);
		(void)send_packet(6, 1, i, 0, 0, NULL, 0, &p, sizeof(p));
		one_packet();
		if (below(8) == 0)
			ring_signal();
		take_answers();
	}
	ring_signal();
}

/* The disk's bytes into what the host reads: rings, slots, the call page. */
static void data_into_the_machine(void)
{
	static const uint64_t targets[] = {
		RING,	    RING + PAGE, RING + RING_PAGES * PAGE, MESSAGE_PAGE,
		EVENT_PAGE, INPUT_PAGE,	 RING + 2 * PAGE};

	for (unsigned i = 0; i < sizeof(targets) / sizeof(targets[0]); i++) {
		uint64_t pfn = targets[i] / PAGE;
		struct storvsp_packet_wire p;
		const char *fault;

		machine_good();
		fault = channel_open();
		if (fault)
			die(fault);
		for (unsigned n = 0; n < 10; n++) {
			rw_packet(false, 0, &p);
			(void)send_packet(9, 1, n, PAGE, 0, &pfn, 1, &p,
					  sizeof(p));
		}
		ring_signal();
		for (unsigned n = 0; n < 300; n++)
			(void)in8(0x80);
		ring_signal();
	}
}

/* ----------------------------------------------------------------- race --- */

/* The other processor changes what the host is reading just now. */
static void race_in_the_ring(void)
{
	for (unsigned round = 0; round < 4; round++) {
		const char *fault;

		race_stop();
		fault = channel_open();
		if (fault)
			die(fault);
		/* packets only, or the control page with them */
		race_start(round % 2 ? RING : RING + PAGE,
			   round % 2 ? 2 * PAGE : RING_BYTES);
		for (unsigned i = 0; i < 150; i++) {
			one_packet();
			if (i % 8 == 0)
				ring_signal();
			*word(RING + RING_PAGES * PAGE + VMBUS_RING_OUT) =
				*word(RING + RING_PAGES * PAGE + VMBUS_RING_IN);
		}
	}
	race_stop();
}

static void race_in_messages(void)
{
	uint8_t m[256];

	race_start(INPUT_PAGE, 256);
	for (unsigned i = 0; i < 300; i++) {
		uint32_t len = any_message(m);

		if (*(uint32_t *)m == VMBUS_MSG_INITIATE_CONTACT)
			*(uint32_t *)m = 8;
		(void)post(below(5) ? 1 : 4, m, len);
	}
	race_stop();
	race_start(MESSAGE_PAGE + 512, 256);
	for (unsigned i = 0; i < 100; i++) {
		const uint32_t offers[2] = {VMBUS_MSG_REQUESTOFFERS, 0};

		(void)post(1, offers, sizeof(offers));
		(void)write_msr(MSR_EOM, 0);
	}
	race_stop();
}

void suicide(void)
{
	const uint64_t pfn = 0x9000 / PAGE; /* the loader's page tables */
	struct storvsp_packet_wire p;

	rw_packet(false, 0, &p);
	(void)send_packet(9, 1, 1, PAGE, 0, &pfn, 1, &p, sizeof(p));
	ring_signal();
	for (;;)
		__asm__ volatile("mov %%cr3, %%rax\n\tmov %%rax, %%cr3"
				 :
				 :
				 : "rax", "memory");
}

const struct act acts[] = {
	{"hypercalls", hypercalls},
	{"messages", messages},
	{"connections in a storm", connections_in_a_storm},
	{"SynIC pages anywhere", synic_pages_anywhere},
	{"registers of the hypervisor", registers_of_the_hypervisor},
	{"ports", ports},
	{"console", console},
	{"memory that is not there", memory_that_is_not_there},
	{"packets", packets},
	{"control words", control_words},
	{"ends under way", ends_under_way},
	{"resets and sub-channels", resets_and_sub_channels},
	{"data into the machine", data_into_the_machine},
	{"race in the ring", race_in_the_ring},
	{"race in messages", race_in_messages},
};
const unsigned act_count = sizeof(acts) / sizeof(acts[0]);

/* SPDX-License-Identifier: BSD-2-Clause */
/* The machine's chips behind their ports, and the serial console's two byte
 * queues. One lock guards all of it: exits are rare next to what they cost.
 * No KVM here; tests drive it directly.
 *
 * Threads: vCPU threads call hv_board_in and _out; the control thread brings the
 *   console's input, the console's own takes its output. Callbacks run with the
 *   lock held and must not come back in, but for that of hv_board_on_wait.
 */
#ifndef HV_BOARD_H
#define HV_BOARD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "chip/pm.h"

/* Where things are; the ACPI tables and dsdt.asl say the same. */
#define HV_PORT_COM1 0x3f8
#define HV_IRQ_COM1 4
#define HV_PORT_CMOS 0x70
#define HV_PORT_PM1_EVENT 0x600
#define HV_PORT_PM1_CONTROL 0x604
#define HV_PORT_RESET 0xcf9
#define HV_PORT_KBD 0x64
#define HV_PORT_A 0x92

struct hv_board;

struct hv_board_ops {
	/* An ISA interrupt line changed. */
	void (*irq)(void *arg, unsigned line, bool level);
	/* The guest asked to be switched off or reset. */
	void (*power)(void *arg, enum hv_pm_request what);
	/* There is room for input again. */
	void (*wake)(void *arg);
	/* Seconds since 1970 UTC. */
	int64_t (*now_s)(void *arg);
};

int hv_board_create(const struct hv_board_ops *ops, void *arg,
		    struct hv_board **out);
void hv_board_destroy(struct hv_board *b);

/* A chip that not every machine has. It is given whole accesses, `count` of
 * `size` (1, 2 or 4) bytes at offset `off` in its range, and guards itself: the
 * board's lock is not held. Reads without `in` give ones.
 */
struct hv_port_range {
	uint16_t first, count;
	unsigned widths; /* sizes that are answered, or-ed */
	void (*in)(void *arg, unsigned off, unsigned size, uint32_t count,
		   uint8_t *data);
	void (*out)(void *arg, unsigned off, unsigned size, uint32_t count,
		    const uint8_t *data);
	/* As after power-on, see hv_board_reset; NULL: it has no state. */
	void (*reset)(void *arg);
};

/* Before the guest runs; borrows both. The board's own ports come first, then
 * those added, in order. -ENOSPC.
 */
#define HV_BOARD_RANGES_MAX 16
int hv_board_add(struct hv_board *b, const struct hv_port_range *range,
		 void *arg);

/* A byte of the CMOS memory (chip/cmos.h), for firmware. */
void hv_board_cmos_set(struct hv_board *b, unsigned index, uint8_t val);

/* One I/O exit: `count` accesses of `size` (1, 2 or 4) bytes at `data`.
 * Output to the console waits while nobody takes it, until hv_board_stop or as
 * long as hv_board_hurry says.
 */
void hv_board_in(struct hv_board *b, uint16_t port, unsigned size,
		 uint32_t count, uint8_t *data);
void hv_board_out(struct hv_board *b, uint16_t port, unsigned size,
		  uint32_t count, const uint8_t *data);

/* As after power-on, for the next machine; the console's output and waiting
 * input stay. No vCPU thread is in here.
 */
void hv_board_reset(struct hv_board *b);

/* Let no thread wait for the console any more; what does not fit is lost. */
void hv_board_stop(struct hv_board *b);

/* Firmware is started, which reads the console without interrupts. */
void hv_board_console_polled(struct hv_board *b);

/* A thread that waits for the console calls this before it sleeps, and again
 * after each hv_board_stir; without the lock. Before the guest runs.
 */
void hv_board_on_wait(struct hv_board *b, void (*waits)(void *arg), void *arg);
void hv_board_stir(struct hv_board *b);

/* From now on, until the other call or hv_board_reset, no thread waits longer
 * than so for the console; then what does not fit is lost, until something is
 * taken again.
 */
void hv_board_hurry(struct hv_board *b, unsigned patience_ms);
void hv_board_hurry_no_more(struct hv_board *b);

/* Take up to `cap` bytes that the guest wrote; _wait: when there are some. 0
 * after hv_board_output_end, when all was taken.
 */
size_t hv_board_output(struct hv_board *b, uint8_t *buf, size_t cap);
size_t hv_board_output_wait(struct hv_board *b, uint8_t *buf, size_t cap);
void hv_board_output_end(struct hv_board *b);
bool hv_board_has_output(struct hv_board *b);

struct hv_board_output {
	uint64_t held_ms; /* somebody waits for so long; 0: nobody */
	uint64_t lost;	  /* bytes, since the beginning */
	size_t left;	  /* not taken yet */
};
void hv_board_output_state(struct hv_board *b, struct hv_board_output *out);

/* Give the guest up to `len` bytes; returns how many it took. Where that is
 * less, `wake` comes when there is room.
 */
size_t hv_board_input(struct hv_board *b, const uint8_t *buf, size_t len);

#endif

/* SPDX-License-Identifier: BSD-2-Clause */
/* What guest.c, guest_talk.c and guest_ring.c share. Private to them. */
#ifndef TESTS_LIB_GUEST_INT_H
#define TESTS_LIB_GUEST_INT_H

#include <pthread.h>

#include "guest.h"

#define GUEST_RELIDS 2048

struct guest_slot {
	bool busy, pending;
	size_t len;
	uint8_t data[VMBUS_MESSAGE_BYTES_MAX];
};

struct guest_irq {
	uint64_t flags; /* a bit for each VP */
	uint64_t calls;
	uint32_t vp;
};

struct guest {
	struct guest_opts opts;
	struct hv_mem *mem;
	struct vmbus *bus;
	uint8_t *ram, *high;
	uint64_t next_low, next_high; /* pages not given out yet: [low, high) */
	uint64_t *free_pages;
	size_t free_count, free_room;

	pthread_mutex_t lock; /* everything below */
	pthread_cond_t change;
	struct guest_slot slot[GUEST_VPS_MAX];
	bool deaf, refuse_bind, off[GUEST_VPS_MAX];
	struct guest_irq irq[GUEST_RELIDS];
	int bound[GUEST_RELIDS]; /* eventfd or -1 */
	uint64_t clock_ms;
	unsigned log_lines;
	char log_last[256];

	bool started; /* the control thread */
	int stop_fd;
	pthread_t control;

	/* the guest's own thread */
	uint32_t version, connection_id;
	uint32_t next_handle;
	struct guest_offer **offers; /* each stays where it is */
	size_t offer_count, offer_room;
};

struct guest_half {
	uint8_t *ctrl;
	uint64_t ctrl_gpa;
	uint64_t *gpas; /* data pages */
	uint32_t size;
};

struct guest_channel {
	struct guest *g;
	uint32_t relid, connection_id, handle;
	uint64_t *gpas; /* all ring pages */
	unsigned pages;
	struct guest_half out, in;
	uint64_t signals_sent;
};

__attribute__((noreturn)) void guest_die(const char *what);
/* Room for one more entry of `bytes` in a growing array. */
void *guest_grow(void *array, size_t count, size_t *room, size_t bytes);
void guest_forget_offers(struct guest *g);
void guest_free_pages(struct guest *g, unsigned count, const uint64_t *gpas);
/* Threaded: from the first message on. */
void guest_start_control(struct guest *g);
/* Say until the queue takes it. */
void guest_insist(struct guest *g, const void *msg, size_t len);
/* Wait until `done` is true (threaded); lock held. False: time is up. */
bool guest_wait_locked(struct guest *g, int timeout_ms,
		       bool (*done)(struct guest *g, void *arg), void *arg);

#endif

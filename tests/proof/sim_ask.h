/* SPDX-License-Identifier: BSD-2-Clause */
/* One question of the simulated guest while it is made up: sim_ask.c has those
 * that reach the disk, sim_post.c the others and the sending.
 */
#ifndef TESTS_PROOF_SIM_ASK_H
#define TESTS_PROOF_SIM_ASK_H

#include <string.h>

#include "tests/proof/sim.h"

struct ask {
	struct sim_req *r;
	struct sim_disk *d; /* one that is present */
	struct vsc_cmd cmd;
	uint32_t claimed; /* length of the GPA range */
	unsigned ranges;
	bool wild;	/* one page of it is no RAM */
	size_t payload; /* bytes of the packet, 0: as negotiated */
};

static inline void put16(uint8_t *p, uint32_t n)
{
	p[0] = (uint8_t)(n >> 8);
	p[1] = (uint8_t)n;
}

static inline void put32(uint8_t *p, uint32_t n)
{
	put16(p, n >> 16);
	put16(p + 2, n);
}

static inline void buffer(struct ask *a, uint8_t dir, uint32_t bytes)
{
	a->cmd.data_in = dir;
	a->cmd.bytes = bytes;
	a->claimed = bytes;
	a->ranges = bytes ? 1 : 0;
}

static inline void cdb(struct ask *a, uint8_t b0, uint8_t b1, uint8_t b2)
{
	a->cmd.cdb[0] = b0;
	a->cmd.cdb[1] = b1;
	a->cmd.cdb[2] = b2;
}

/* A transfer of one of four forms: 6, 10, 12 and 16 bytes. */
void sim_put_transfer(struct ask *a, unsigned form, bool write, uint32_t lba,
		      uint32_t n, bool fua);
/* A random one, with its buffer. */
void sim_transfer(struct sim *s, struct ask *a, bool write);

void sim_ask_read(struct sim *s, struct ask *a);
void sim_ask_write(struct sim *s, struct ask *a);
void sim_ask_flush(struct sim *s, struct ask *a);
void sim_ask_unmap(struct sim *s, struct ask *a);
void sim_ask_same(struct sim *s, struct ask *a);
void sim_ask_verify(struct sim *s, struct ask *a);
void sim_ask_cache(struct sim *s, struct ask *a);
void sim_ask_status(struct sim *s, struct ask *a);

#endif

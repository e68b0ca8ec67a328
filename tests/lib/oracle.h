/* SPDX-License-Identifier: BSD-2-Clause */
/* An independent reader and checker of fixed, dynamic and differencing VHDs,
 * over bytes in memory. It shares no code with vhd/: a fault in the library cannot hide in
 * its own judge. Written from the specification, simple and slow.
 */
#ifndef TESTS_ORACLE_H
#define TESTS_ORACLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct oracle {
	const uint8_t *bytes;
	uint64_t len;
	bool dynamic; /* has blocks */
	bool diff;    /* ... and a parent */
	uint64_t size;        /* virtual bytes */
	uint64_t footer;      /* offset of the trailing footer, or of nothing */
	bool footer_end_ok;   /* trailing footer valid */
	bool footer_copy_ok;  /* dynamic: copy at 0 valid */
	uint64_t header, table;
	uint32_t entries, block, bitmap;
	char fault[160];      /* why oracle_open or oracle_check said no */
};

/* Recognise the image. A dynamic one may lack either footer (an interrupted
 * writer), not both. False: `fault` says why.
 */
bool oracle_open(struct oracle *o, const uint8_t *bytes, uint64_t len);

/* The same by one of two sound footers that differ. BOTH: that is a fault. */
enum oracle_footer { ORACLE_BOTH, ORACLE_COPY, ORACLE_END };
bool oracle_open_by(struct oracle *o, const uint8_t *bytes, uint64_t len,
		    enum oracle_footer by);

/* Nothing overlaps anything, everything lies inside the file. */
bool oracle_check(struct oracle *o);

/* One sector of the virtual disk. False past the end. */
bool oracle_sector(const struct oracle *o, uint64_t lba, uint8_t out[512]);

/* Whether this image has no block for a sector, and until which sector. */
bool oracle_absent(const struct oracle *o, uint64_t lba, uint64_t *end);

/* One sector through a chain, the child first. False past the end of the
 * child; what its parents lack is zero.
 */
bool oracle_chain(const struct oracle *chain, unsigned layers, uint64_t lba,
		  uint8_t out[512]);
/* All of the child's disk at once: chain[0].size bytes. */
void oracle_content(const struct oracle *chain, unsigned layers, uint8_t *out);

#endif

/* SPDX-License-Identifier: BSD-2-Clause */
/* A door to guest memory that counts and flips, in place of hv/gpa.c: link
 * tests/lib/gpa_watch.c ahead of the libraries (WATCHED in the Makefile).
 *
 * Always: a byte that hv_gpa_read gives to one thread twice for one packet ends
 * the program. A packet ends where an index is published (hv_gpa_store32) or
 * the next descriptor is fetched. Sums go to tests/lib/tally.h.
 *
 * Inside watched windows each byte fetched by hv_gpa_read or a 32-bit access
 * is counted, and after its first fetch it may be changed in guest memory as
 * a hostile processor would: what was checked and what is used then differ
 * if anything fetches twice. Data that the kernel moves (hv_gpa_iov) is not
 * counted. Windows and flips: one thread.
 */
#ifndef TESTS_LIB_GPA_WATCH_H
#define TESTS_LIB_GPA_WATCH_H

#include <stdint.h>

#define GPA_WATCH_WINDOWS 8
#define GPA_WATCH_BYTES	  65536 /* per window */

/* Forget all windows, counts and flips. */
void gpa_watch_clear(void);
/* Watch [gpa, gpa + len). Aborts beyond the limits above. */
void gpa_watch(uint64_t gpa, uint32_t len);
/* Counts back to zero; windows stay. */
void gpa_watch_restart(void);
/* XOR `mask` into each watched byte right after its first fetch; 0: none. */
void gpa_watch_flip_all(uint8_t mask);
/* The same for one byte, which need not be in a window. */
void gpa_watch_flip(uint64_t gpa, uint8_t mask);

/* Highest count of all watched bytes; *gpa (may be NULL): which. */
unsigned gpa_watch_max(uint64_t *gpa);
/* Number of watched bytes that were fetched at all. */
unsigned gpa_watch_touched(void);

#endif

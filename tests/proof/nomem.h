/* SPDX-License-Identifier: BSD-2-Clause */
/* What tests/proof/tools.c and the library that it puts in front of a tool's
 * allocations share: one page of memory, a file that NOMEM names.
 *
 * A site is the two innermost places in the program's own code from which an
 * allocation was asked for, whichever library it passed through; those that
 * no code of the program asked for have their library's place, and SITE_FOREIGN.
 */
#ifndef TESTS_PROOF_NOMEM_H
#define TESTS_PROOF_NOMEM_H

#include <stdatomic.h>
#include <stdint.h>

#define NOMEM_SITES_MAX 4096
#define SITE_FOREIGN	(1ull << 63)

struct nomem_page {
	/* asked for */
	uint64_t fail_site;  /* allocations from here fail; 0: none */
	uint64_t fail_index; /* or the n-th one, from 1; 0: none */
	uint32_t forever;    /* ... and all that follow */
	/* told */
	_Atomic uint32_t taken; /* by the first process; others go free */
	_Atomic uint32_t refused;
	_Atomic uint32_t asked;
	_Atomic uint32_t sites; /* each once, in the order they came */
	uint64_t site[NOMEM_SITES_MAX];
};

#endif

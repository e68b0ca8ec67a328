/* SPDX-License-Identifier: BSD-2-Clause */
/* Sums that many programs contribute to: what one adds is appended at its end
 * to the file $PROOF.tally, a line "NAME<TAB>SUM" for each name, and
 * tests/proof/hostile.sh adds the lines up. Without $PROOF nothing is written.
 * Any thread.
 */
#ifndef TESTS_LIB_TALLY_H
#define TESTS_LIB_TALLY_H

#include <stdint.h>

enum tally {
	TALLY_FETCHED,	  /* bytes of packets fetched from guest memory */
	TALLY_FETCHED_2,  /* of them a second time */
	TALLY_GUESTS,	  /* test guests torn down with their sums checked */
	TALLY_ISSUED,	  /* packets that a VSP took from its ring */
	TALLY_COMPLETED,  /* answered */
	TALLY_CANCELLED,  /* went down with their channel */
	TALLY_REFUSED,	  /* want no answer */
	TALLY_INPUTS,	  /* inputs of a fuzz corpus replayed */
	TALLY_COUNT,
};

void tally_add(enum tally which, uint64_t n);

#endif

/* SPDX-License-Identifier: BSD-2-Clause */
/* Which channels a controller has: see controller.c. */
#ifndef STORVSP_CONTROLLER_H
#define STORVSP_CONTROLLER_H

#include <stdbool.h>
#include <stdint.h>

struct channel;
struct storvsp;
struct storvsp_luns;

/* The channel belongs to the controller from now on, and starts with its
 * disks (into `luns`) and session.
 */
void storvsp_controller_join(struct storvsp *vsp, struct channel *ch,
			     struct storvsp_luns *luns);
/* And no longer: nobody sends it mail, its counters are kept. */
void storvsp_controller_leave(struct storvsp *vsp, struct channel *ch);
/* The primary's session begins or ends: so do those of all sub-channels. */
void storvsp_controller_session(struct storvsp *vsp, bool ready,
				uint16_t version);

#endif

/* SPDX-License-Identifier: BSD-2-Clause */
/* The early end of what is in flight: see reset.c. */
#ifndef STORVSP_RESET_H
#define STORVSP_RESET_H

#include "scope.h"

struct channel;
struct request;

/* A reset came as packet `r`: answered when everything has ended. */
void storvsp_reset_start(struct channel *ch, struct request *r,
			 const struct storvsp_packet_wire *in);
/* A reset came on another channel. */
void storvsp_reset_join(struct channel *ch, const struct reset_scope *scope,
			uint64_t ticket);
/* True when a reset ended. */
bool storvsp_reset_check(struct channel *ch);
/* Ask for an early end of what the scope names; NULL: of all. */
void storvsp_reset_cancel(struct channel *ch, const struct reset_scope *scope);

#endif

/* SPDX-License-Identifier: BSD-2-Clause */
/* Bytes on their way out of this process to a descriptor that may take its
 * time: a terminal that was stopped, a pipe that nobody reads, a file on a
 * server that does not answer. A thread of its own waits for that descriptor,
 * and nobody waits for the thread for longer than he says.
 *
 * Where it is given up in the middle of a write it stays behind, with memory
 * and a descriptor of its own, until the write ends or the process does.
 *
 * Threads: create, begin, end by one; the callbacks run on the outlet's own,
 *   and none of them once hv_outlet_end has returned.
 */
#ifndef HV_OUTLET_H
#define HV_OUTLET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "vhd/err.h"

struct hv_outlet;

struct hv_outlet_opts {
	int fd;		  /* copied; one that is not open takes everything */
	const char *name; /* of the thread, for people */
	/* The next bytes, as many as fit: waits until there are some; 0 ends
	 * the outlet.
	 */
	size_t (*take)(void *arg, uint8_t *to, size_t cap);
	/* The descriptor takes no more, for this reason (errno); what is still
	 * taken is lost. Once; must not block. May be NULL.
	 */
	void (*broken)(void *arg, int code);
	/* The first thing the thread does; it may refuse. May be NULL. */
	int (*begins)(void *arg, struct vhd_err *err);
	void *arg;
};

/* Makes what needs a descriptor or memory. */
int hv_outlet_create(const struct hv_outlet_opts *opts, struct hv_outlet **out,
		     struct vhd_err *err);
/* Start it, and wait until it has begun: 0, or what `begins` said. */
int hv_outlet_begin(struct hv_outlet *o, struct vhd_err *err);
/* After `take` was told to come to its end: wait for the rest to be written, as
 * long as something of it moves at least every `still_ms` and all of it is over
 * in `all_ms`. False: it was given up. Takes `o`, which may be NULL.
 */
bool hv_outlet_end(struct hv_outlet *o, unsigned still_ms, unsigned all_ms);

#endif

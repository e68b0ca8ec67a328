/* SPDX-License-Identifier: BSD-2-Clause */
/* COMPARE AND WRITE, as far as it is one request of two steps: compare.c. */
#ifndef STORVSP_COMPARE_H
#define STORVSP_COMPARE_H

#include <stdbool.h>

struct channel;
struct request;
struct scsi_end;

/* Take the guest's bytes and make the first step, the look, ready. */
void storvsp_compare_prepare(struct channel *ch, struct request *r);
/* The look is done. True: all is as it should be, the write is ready; false:
 * `end` says where it is not.
 */
bool storvsp_compare_next(struct request *r, struct scsi_end *end);

#endif

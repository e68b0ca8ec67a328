/* SPDX-License-Identifier: BSD-2-Clause */
/* Digests of the disk's content, made from what a copy reads anyway. Private
 * to tools/.
 *
 * OpenSSL's libcrypto computes them: it is in every Debian, has the processors'
 * own SHA instructions and assembler for the rest, and is looked after. It
 * has no CRC32C; ISA-L, which finds the zeros, has.
 */
#ifndef CONVERT_DIGEST_H
#define CONVERT_DIGEST_H

#include "convert.h"

#define CONVERT_DIGESTS_MAX 8u
#define CONVERT_DIGEST_TEXT 129 /* of 64 bytes in hex */

struct convert_digest;

/* Have libcrypto read its configuration now: it cannot in the sandbox. */
void convert_digest_prepare(void);

/* Make the digests that `words` names, parted by commas, of the size and the
 * content that a copy hands over. Owns threads, one a digest.
 * Errors: -EINVAL (ARGUMENT) for a word that is none, or too many of them.
 */
int convert_digest_open(struct convert_digest **out, struct convert_job *job,
			const char *words, struct vhd_err *err);
/* The sink that a copy hands the content to. */
struct convert_sink *convert_digest_sink(struct convert_digest *d);
/* The `i`th digest once the copy is over; false: no more of them. `name` is
 * the word asked for, `hex` holds CONVERT_DIGEST_TEXT bytes.
 */
bool convert_digest_get(const struct convert_digest *d, unsigned i,
			const char **name, char *hex);
/* Takes `d`, which may be NULL. */
void convert_digest_close(struct convert_digest *d);

#endif

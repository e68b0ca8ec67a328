/* SPDX-License-Identifier: BSD-2-Clause */
/* What the programs share: exit codes, the one-line error, sizes, options,
 * progress and JSON helpers. Private to tools/.
 */
#ifndef CLI_H
#define CLI_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* --------------------------------------------------------------- sizes -- */

/* Read a size as people type it: decimal digits and an optional unit of
 * K M G T (or KiB MiB GiB TiB, either case), all powers of 1024. "KB" and its
 * like mean different things to different people and are refused.
 * Errors: -EINVAL when it is not a size, -ERANGE when it does not fit; then
 * `*bytes` is untouched.
 */
int cli_size_parse(const char *text, uint64_t *bytes);

/* A size as people read it: "512 bytes", "127 MiB", "1.5 GiB". One decimal,
 * rounded to nearest, only where the size is not a whole number of units.
 * Returns `buf`, which CLI_SIZE_TEXT bytes always suffice for.
 */
#define CLI_SIZE_TEXT 32
const char *cli_size_text(uint64_t bytes, char *buf, size_t n);

#endif

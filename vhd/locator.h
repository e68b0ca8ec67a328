/* SPDX-License-Identifier: BSD-2-Clause */
/* Parent names: the eight locators of a dynamic header and its name field,
 * turned into relative paths that may be tried, and back. Nothing is opened
 * here. Private to vhd/.
 *
 * Two byte orders meet in one structure: the name field is UTF-16 big-endian,
 * locator payloads are UTF-16 little-endian.
 * Source: VHD specification 1.0, "Parent Locator Entries"; what blktap,
 * VirtualBox and Windows really write.
 */
#ifndef VHD_LOCATOR_H
#define VHD_LOCATOR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define VHD_LOCATOR_NONE 0u
#define VHD_LOCATOR_WI2R 0x57693272u /* relative, 8-bit, deprecated */
#define VHD_LOCATOR_WI2K 0x5769326bu /* absolute, 8-bit, deprecated */
#define VHD_LOCATOR_W2RU 0x57327275u /* relative, UTF-16LE */
#define VHD_LOCATOR_W2KU 0x57326b75u /* absolute, UTF-16LE */
#define VHD_LOCATOR_MAC 0x4d616320u  /* alias blob, opaque */
#define VHD_LOCATOR_MACX 0x4d616358u /* file URL, UTF-8 */

#define VHD_LOCATOR_PAYLOAD_MAX 65536u
#define VHD_PARENT_PATH_MAX 1024u /* bytes of UTF-8 with the NUL */

enum vhd_utf16_order {
	VHD_UTF16_LE,
	VHD_UTF16_BE,
};

/* UTF-16 to NUL-terminated UTF-8, up to the first NUL or the end. A surrogate
 * without its half becomes U+FFFD. Returns the length without the NUL;
 * -EINVAL: odd length; -ENAMETOOLONG: does not fit `cap`.
 */
ssize_t vhd_utf16_decode(const uint8_t *in, size_t len_bytes,
			 enum vhd_utf16_order order, char *out, size_t cap);

/* UTF-8 to UTF-16 without a terminator. Returns bytes written; -EINVAL:
 * malformed UTF-8; -ENAMETOOLONG.
 */
ssize_t vhd_utf16_encode(const char *in, enum vhd_utf16_order order,
			 uint8_t *out, size_t cap);

/* One locator's payload as a path to try, '/' between its parts, relative to
 * the child's directory. An absolute path means nothing on another machine:
 * only its last part is kept. `..` is kept: where it may lead is decided by
 * whoever opens the path. Returns the length; -EINVAL: not a path of this
 * kind; -ENOTSUP: an opaque or unknown platform; -ENAMETOOLONG.
 */
ssize_t vhd_locator_path(uint32_t platform, const uint8_t *payload,
			 size_t len_bytes, char *out, size_t cap);

/* The same for the header's 512-byte name field: its last part. */
ssize_t vhd_parent_name_path(const uint8_t name[512], char *out, size_t cap);

/* What a child over `relative` ('/' between its parts) carries: the payload
 * of a W2ru locator, `.\` in front unless it begins with `..\`.
 */
ssize_t vhd_locator_payload(const char *relative, uint8_t *out, size_t cap);

/* Name of a platform code for people, NULL when unknown. */
const char *vhd_locator_name(uint32_t platform);

#endif

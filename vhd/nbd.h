/* SPDX-License-Identifier: BSD-2-Clause */
/* An NBD server's export as a medium: what the rest of vhd/ knows of it. Its
 * insides are nbd_int.h's. Private to vhd/.
 */
#ifndef VHD_NBD_H
#define VHD_NBD_H

#include "file.h"
#include "nbd_req.h"
#include "vhd.h"

/* Connect and start the thread: the medium of vhd_open. Errors: -EROFS
 * (READ_ONLY), SERVER and what the system says.
 */
int vhd_nbd_open_as(const char *uri, const struct vhd_nbd_opts *opts,
		    bool writable, struct vhd_file *out, struct vhd_err *err);
/* The same, with connections from the other end of `fd`, which is taken whatever
 * happens: a vhd_nbd_connector. `name` is for messages. Until vhd_nbd_hurry
 * says otherwise nothing waits longer than NBD_HANDED_MS, and for a server that
 * answers each time just before that, all of them together not longer than
 * NBD_OPEN_MS.
 */
int vhd_nbd_open_handed(int fd, const char *name,
			const struct vhd_nbd_opts *opts, bool writable,
			struct vhd_file *out, struct vhd_err *err);
/* The export under a file, or NULL. */
struct vhd_nbd *vhd_nbd_of(const struct vhd_file *f);

/* A sync or durable write failed so because there is no connection: what was
 * acknowledged before is kept, and a later sync covers it. Nothing is lost.
 */
bool vhd_nbd_keeps(const struct vhd_file *f, int code);

/* Any thread. Ask; `over` may be called before this returns. A kick has to
 * follow one or several.
 */
void vhd_nbd_post(struct vhd_nbd *n, struct nbd_req *req);
void vhd_nbd_kick(struct vhd_nbd *n);
/* Ask for an early end (-ECANCELED) of one that was posted and may be over by
 * now; the caller sees to it that its memory is still there. One that a server
 * has is answered by it.
 */
void vhd_nbd_cancel(struct vhd_nbd *n, struct nbd_req *req);
/* The same, and let the connection go, so that even those end soon. */
void vhd_nbd_drop(struct vhd_nbd *n);
/* See vhd_hurry. */
void vhd_nbd_hurry(struct vhd_nbd *n, uint32_t ms);

#endif

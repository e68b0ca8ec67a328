/* SPDX-License-Identifier: BSD-2-Clause */
/* An NBD export as a medium: opened and closed, and the file table through
 * which metadata goes. Each call of that is one request to the connection's
 * thread, waited for.
 *
 * NBD has no locks and no way to change an export's size.
 */
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "fail.h"
#include "image.h"
#include "nbd.h"
#include "nbd_int.h"

bool vhd_is_nbd_uri(const char *text)
{
	static const char *const schemes[] = {
		"nbd://",
		"nbds://",
		"nbd+unix://",
		"nbds+unix://",
	};

	for (size_t i = 0; i < sizeof(schemes) / sizeof(schemes[0]); i++)
		if (!strncmp(text, schemes[i], strlen(schemes[i])))
			return true;
	return false;
}

/* ------------------------------------------------------------ requests -- */

void vhd_nbd_post(struct vhd_nbd *n, struct nbd_req *req)
{
	req->n = n;
	req->buf = req->bounce = NULL;
	req->part_bytes = 0;
	req->sends = 0;
	req->error = 0;
	req->flushing = req->cancelled = req->own = req->kept = false;
	req->counted = false;
	pthread_mutex_lock(&n->lock);
	nbd_list_add(&n->incoming, req);
	pthread_mutex_unlock(&n->lock);
}

void vhd_nbd_kick(struct vhd_nbd *n)
{
	bool idle;

	pthread_mutex_lock(&n->lock);
	idle = n->idle;
	n->idle = false;
	pthread_mutex_unlock(&n->lock);
	if (idle)
		(void)eventfd_write(n->event_fd, 1);
}

void vhd_nbd_cancel(struct vhd_nbd *n, struct nbd_req *req)
{
	pthread_mutex_lock(&n->lock);
	req->cancelled = true;
	n->cancels = true;
	pthread_mutex_unlock(&n->lock);
	vhd_nbd_kick(n);
}

void vhd_nbd_drop(struct vhd_nbd *n)
{
	pthread_mutex_lock(&n->lock);
	n->drop = true;
	pthread_mutex_unlock(&n->lock);
	vhd_nbd_kick(n);
}

void vhd_nbd_hurry(struct vhd_nbd *n, uint32_t ms)
{
	pthread_mutex_lock(&n->lock);
	n->hurry_ms = ms;
	n->end_ms = -1;
	n->hurried = true;
	pthread_mutex_unlock(&n->lock);
	vhd_nbd_kick(n);
}

void vhd_hurry(struct vhd *img, uint32_t ms)
{
	struct vhd_nbd *n;

	for (; img; img = img->parent) {
		n = vhd_nbd_of(&img->file);
		if (n)
			vhd_nbd_hurry(n, ms);
	}
}

/* One that its asker sleeps for. */
struct waited {
	struct nbd_req req;
	bool over;
};

static void wake_asker(struct nbd_req *req)
{
	struct waited *w = req->user;
	struct vhd_nbd *n = req->n;

	pthread_mutex_lock(&n->answer_lock);
	w->over = true;
	pthread_cond_broadcast(&n->answer);
	pthread_mutex_unlock(&n->answer_lock);
}

static int64_t ask(struct vhd_nbd *n, enum nbd_op op, void *buf, uint64_t len,
		   uint64_t off)
{
	struct iovec iov = {buf, (size_t)len};
	struct waited w = {
		.req = {
			.op = op,
			.off_bytes = off,
			.len_bytes = len,
			.iov = &iov,
			.iov_count = buf ? 1 : 0,
			.over = wake_asker,
		},
	};

	w.req.user = &w;
	vhd_nbd_post(n, &w.req);
	vhd_nbd_kick(n);
	pthread_mutex_lock(&n->answer_lock);
	while (!w.over)
		pthread_cond_wait(&n->answer, &n->answer_lock);
	pthread_mutex_unlock(&n->answer_lock);
	return w.req.res;
}

/* ---------------------------------------------------------- file table -- */

/* As far as there is an export: as reading a file. */
static size_t inside(const struct vhd_nbd *n, size_t len, uint64_t off)
{
	uint64_t size = n->facts.size_bytes;

	if (off >= size)
		return 0;
	return len < size - off ? len : (size_t)(size - off);
}

static ssize_t export_pread(void *state, void *buf, size_t len, uint64_t off)
{
	struct vhd_nbd *n = state;

	len = inside(n, len, off);
	return len ? (ssize_t)ask(n, NBD_READ, buf, len, off) : 0;
}

static ssize_t export_pwrite(void *state, const void *buf, size_t len,
			  uint64_t off)
{
	struct vhd_nbd *n = state;

	if (!n->how.writable)
		return -EBADF;
	if (len && inside(n, len, off) != len)
		return -ENOSPC;
	return len ? (ssize_t)ask(n, NBD_WRITE, (void *)(uintptr_t)buf, len,
				  off)
		   : 0;
}

static int export_flush(void *state)
{
	struct vhd_nbd *n = state;

	return n->facts.can_flush
		       ? (int)ask(n, NBD_FLUSH, NULL, 0, 0)
		       : 0;
}

static int export_zero(void *state, uint64_t off, uint64_t len)
{
	struct vhd_nbd *n = state;

	if (!n->facts.can_zero)
		return -EOPNOTSUPP;
	if (!n->how.writable)
		return -EBADF;
	if (len > n->facts.size_bytes || off > n->facts.size_bytes - len)
		return -ENOSPC;
	while (len) {
		int64_t done = ask(n, NBD_ZERO, NULL, len, off);

		if (done <= 0)
			return done < 0 ? (int)done : -EIO;
		off += (uint64_t)done;
		len -= (uint64_t)done;
	}
	return 0;
}

static int export_truncate(void *state, uint64_t len)
{
	const struct vhd_nbd *n = state;

	return len == n->facts.size_bytes ? 0 : -EINVAL;
}

static int export_size(void *state, uint64_t *len)
{
	const struct vhd_nbd *n = state;

	*len = n->facts.size_bytes;
	return 0;
}

static void export_free(struct vhd_nbd *n)
{
	if (n->how.handed)
		close(n->how.connector_fd);
	if (n->event_fd >= 0)
		close(n->event_fd);
	vhd_nbd_keep_clear(n);
	pthread_mutex_destroy(&n->lock);
	pthread_mutex_destroy(&n->answer_lock);
	pthread_cond_destroy(&n->answer);
	free(n->export_name);
	free(n->uri);
	free(n);
}

static int export_file_close(void *state)
{
	struct vhd_nbd *n = state;

	vhd_nbd_run_stop(n);
	export_free(n);
	return 0;
}

static const struct vhd_file_ops export_ops = {
	.name = "nbd",
	.pread = export_pread,
	.pwrite = export_pwrite,
	.flush = export_flush,
	.zero = export_zero,
	.truncate = export_truncate,
	.size = export_size,
	.close = export_file_close,
};

struct vhd_nbd *vhd_nbd_of(const struct vhd_file *f)
{
	return f->ops == &export_ops ? f->state : NULL;
}

bool vhd_nbd_keeps(const struct vhd_file *f, int code)
{
	return code == -ENOTCONN && vhd_nbd_of(f);
}

/* ------------------------------------------------------------- opening -- */

static struct vhd_nbd *export_new(const char *uri, const struct nbd_how *how)
{
	struct vhd_nbd *n = calloc(1, sizeof(*n));

	if (!n)
		return NULL;
	n->how = *how;
	n->kept_end = &n->kept;
	n->event_fd = n->line.fd = -1;
	n->hurry_ms = n->limit_ms =
		how->handed ? NBD_HANDED_MS : VHD_NBD_FOREVER;
	n->end_ms = n->over_ms = -1;
	if (how->handed)
		n->end_ms = vhd_nbd_now_ms() +
			    (how->open_ms ? how->open_ms : NBD_OPEN_MS);
	if (!n->how.answer_ms)
		n->how.answer_ms = VHD_NBD_ANSWER_MS;
	pthread_mutex_init(&n->lock, NULL);
	pthread_mutex_init(&n->answer_lock, NULL);
	pthread_cond_init(&n->answer, NULL);
	n->uri = strdup(uri);
	if (n->uri)
		return n;
	n->how.handed = false; /* the caller has it still */
	export_free(n);
	return NULL;
}

static int connect_and_start(struct vhd_nbd *n, struct vhd_err *err)
{
	int rc = vhd_nbd_link_first(n, err);

	if (rc)
		return rc;
	if (n->how.writable && n->facts.read_only) {
		vhd_nbd_link_bye(n);
		return vhd_fail(err, -EROFS, VHD_WHY_READ_ONLY, 0,
				"the server lets this export only be read");
	}
	return vhd_nbd_run_start(n, err);
}

int vhd_nbd_open(const char *uri, const struct nbd_how *how,
		 struct vhd_file *out, struct vhd_err *err)
{
	struct vhd_nbd *n = export_new(uri, how);
	int rc;

	if (!n) {
		if (how->handed)
			close(how->connector_fd);
		return vhd_fail_nomem(err, sizeof(*n), "an NBD connection");
	}
	n->event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (n->event_fd < 0) {
		rc = -errno;
		vhd_fail(err, rc, vhd_system_why(rc), 0,
			 "cannot create an eventfd: %s", vhd_errno_text(rc));
	} else {
		rc = connect_and_start(n, err);
	}
	if (rc) {
		export_free(n);
		return rc;
	}
	*out = (struct vhd_file){
		.ops = &export_ops, .state = n, .fd = -1, .direct_fd = -1};
	return 0;
}

static struct nbd_how how_of(const struct vhd_nbd_opts *opts, bool writable)
{
	return (struct nbd_how){
		.reconnect_ms = opts->reconnect_ms ? opts->reconnect_ms
						   : VHD_NBD_RECONNECT_MS,
		.answer_ms = opts->answer_ms,
		.writable = writable,
		.thread_begins = opts->thread_begins,
		.thread_arg = opts->thread_arg,
		.tell = opts->tell,
		.tell_arg = opts->tell_arg,
	};
}

int vhd_nbd_open_as(const char *uri, const struct vhd_nbd_opts *opts,
		    bool writable, struct vhd_file *out, struct vhd_err *err)
{
	const struct nbd_how how = how_of(opts, writable);

	return vhd_nbd_open(uri, &how, out, err);
}

int vhd_nbd_open_handed(int fd, const char *name,
			const struct vhd_nbd_opts *opts, bool writable,
			struct vhd_file *out, struct vhd_err *err)
{
	struct nbd_how how = how_of(opts, writable);

	how.handed = true;
	how.connector_fd = fd;
	return vhd_nbd_open(name, &how, out, err);
}

/* SPDX-License-Identifier: BSD-2-Clause */
/* libnbd only where a disk is on a server: with it come TLS, XML and ICU, 4 MiB
 * of memory and a third of the time that hv needs to start a guest.
 *
 * The functions that the VHD library calls are defined here and go on to the
 * real ones, which hv_nbd_load finds; nothing calls them before. It is done
 * while files can still be opened, by the thread that opens the disks.
 */
#include <dlfcn.h>
#include <errno.h>
#include <libnbd.h>
#include <string.h>

#include "hv.h"

#define LIBRARY "libnbd.so.0"

/* One that newer releases have, where this was built with such a one. */
#ifdef LIBNBD_HAVE_NBD_SET_REQUEST_EXTENDED_HEADERS
#define EXTENDED(F)                                                            \
	F(nbd_set_request_extended_headers, int,                               \
	  (struct nbd_handle *h, bool request), (h, request))
#else
#define EXTENDED(F)
#endif

/* Name, result, parameters, arguments; the first to be called, and that without
 * a result, are below.
 */
#define FUNCTIONS(F)                                                           \
	F(nbd_set_export_name, int, (struct nbd_handle *h, const char *name),  \
	  (h, name))                                                           \
	F(nbd_get_export_name, char *, (struct nbd_handle *h), (h))            \
	F(nbd_set_uri_allow_local_file, int,                                   \
	  (struct nbd_handle *h, bool allow), (h, allow))                      \
	F(nbd_set_request_structured_replies, int,                             \
	  (struct nbd_handle *h, bool request), (h, request))                  \
	F(nbd_get_structured_replies_negotiated, int, (struct nbd_handle *h),  \
	  (h))                                                                 \
	EXTENDED(F)                                                            \
	F(nbd_get_size, int64_t, (struct nbd_handle *h), (h))                  \
	F(nbd_get_block_size, int64_t, (struct nbd_handle *h, int type),       \
	  (h, type))                                                           \
	F(nbd_is_read_only, int, (struct nbd_handle *h), (h))                  \
	F(nbd_can_flush, int, (struct nbd_handle *h), (h))                     \
	F(nbd_can_fua, int, (struct nbd_handle *h), (h))                       \
	F(nbd_can_zero, int, (struct nbd_handle *h), (h))                      \
	F(nbd_can_fast_zero, int, (struct nbd_handle *h), (h))                 \
	F(nbd_aio_connect, int,                                                \
	  (struct nbd_handle *h, const struct sockaddr *at, socklen_t n),      \
	  (h, at, n))                                                          \
	F(nbd_aio_connect_socket, int, (struct nbd_handle *h, int fd),         \
	  (h, fd))                                                             \
	F(nbd_aio_connect_uri, int, (struct nbd_handle *h, const char *uri),   \
	  (h, uri))                                                            \
	F(nbd_aio_disconnect, int, (struct nbd_handle *h, uint32_t flags),     \
	  (h, flags))                                                          \
	F(nbd_aio_get_fd, int, (struct nbd_handle *h), (h))                    \
	F(nbd_aio_get_direction, unsigned, (struct nbd_handle *h), (h))        \
	F(nbd_aio_notify_read, int, (struct nbd_handle *h), (h))               \
	F(nbd_aio_notify_write, int, (struct nbd_handle *h), (h))              \
	F(nbd_aio_is_ready, int, (struct nbd_handle *h), (h))                  \
	F(nbd_aio_is_dead, int, (struct nbd_handle *h), (h))                   \
	F(nbd_aio_is_closed, int, (struct nbd_handle *h), (h))                 \
	F(nbd_aio_pread, int64_t,                                              \
	  (struct nbd_handle *h, void *buf, size_t n, uint64_t off,            \
	   nbd_completion_callback done, uint32_t flags),                      \
	  (h, buf, n, off, done, flags))                                       \
	F(nbd_aio_pwrite, int64_t,                                             \
	  (struct nbd_handle *h, const void *buf, size_t n, uint64_t off,      \
	   nbd_completion_callback done, uint32_t flags),                      \
	  (h, buf, n, off, done, flags))                                       \
	F(nbd_aio_zero, int64_t,                                               \
	  (struct nbd_handle *h, uint64_t n, uint64_t off,                     \
	   nbd_completion_callback done, uint32_t flags),                      \
	  (h, n, off, done, flags))                                            \
	F(nbd_aio_flush, int64_t,                                              \
	  (struct nbd_handle *h, nbd_completion_callback done,                 \
	   uint32_t flags),                                                    \
	  (h, done, flags))

#define POINTER(name, result, parameters, arguments) result (*name) parameters;
#define FORWARD(name, result, parameters, arguments)                           \
	result name parameters                                                 \
	{                                                                      \
		return real.name arguments;                                    \
	}
#define FIND(name, result, parameters, arguments)                              \
	{#name, &real.name},

/* Written once, while the program has one thread. */
static struct {
	FUNCTIONS(POINTER)
	struct nbd_handle *(*nbd_create)(void);
	const char *(*nbd_get_error)(void);
	int (*nbd_get_errno)(void);
	void (*nbd_close)(struct nbd_handle *h);
} real;

FUNCTIONS(FORWARD)

struct nbd_handle *nbd_create(void)
{
	return real.nbd_create ? real.nbd_create() : NULL;
}

const char *nbd_get_error(void)
{
	return real.nbd_get_error ? real.nbd_get_error()
				  : "libnbd is not there";
}

int nbd_get_errno(void)
{
	return real.nbd_get_errno ? real.nbd_get_errno() : ENOSYS;
}

void nbd_close(struct nbd_handle *h)
{
	real.nbd_close(h);
}

int hv_nbd_load(struct vhd_err *err)
{
	const struct {
		const char *name;
		void *at; /* of a pointer to a function */
	} wanted[] = {
		FUNCTIONS(FIND)
		{"nbd_create", &real.nbd_create},
		{"nbd_get_error", &real.nbd_get_error},
		{"nbd_get_errno", &real.nbd_get_errno},
		{"nbd_close", &real.nbd_close},
	};
	void *lib, *found;

	if (real.nbd_close) /* the last to be found */
		return 0;
	lib = dlopen(LIBRARY, RTLD_NOW | RTLD_LOCAL);
	if (!lib)
		return vhd_fail(err, -ENOENT, VHD_WHY_UNSUPPORTED, 0,
				"a disk on a server needs libnbd: %s",
				dlerror());
	for (size_t i = 0; i < sizeof(wanted) / sizeof(wanted[0]); i++) {
		found = dlsym(lib, wanted[i].name);
		if (!found)
			return vhd_fail(err, -ENOTSUP, VHD_WHY_UNSUPPORTED, 0,
					LIBRARY " has no %s", wanted[i].name);
		memcpy(wanted[i].at, &found, sizeof(found));
	}
	return 0; /* it stays to the end of the program */
}

/* SPDX-License-Identifier: BSD-2-Clause */
/* nbdkit plugin: one VHD image, with all its parents, as a network block
 * device.
 *
 *   nbdkit vhd [file=]FILE [format=...] [parent-dir=DIR] [larger-child=BOOL]
 *              [direct=BOOL]
 *
 * The image is opened before nbdkit goes into the background, read-only and
 * under the shared lock, so that whatever is wrong with it is said to the
 * user; it is opened again for writing when the first client connects to whom
 * nbdkit lets write. From then on it is writable, under the exclusive lock,
 * until nbdkit ends. With -r, or below a filter such as cow, it never is.
 *
 * Threads: requests come from as many as nbdkit has; see served.h. The plugin
 * interface has no place for state but static variables: `config` is constant
 * once nbdkit has read its command line, `disk` is guarded by its lock.
 */
#define NBDKIT_API_VERSION 2

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include <nbdkit-plugin.h>

#include "tools/cli/cli.h"
#include "tools/inspect/extent.h"
#include "served.h"

#define THREAD_MODEL NBDKIT_THREAD_MODEL_PARALLEL

/* Told per answer at most; the client asks on from where it ended. */
#define EXTENTS_MAX 65536u

static struct {
	char *path;
	char *parent_dir;
	struct vhd_open_opts opts;
} config;

static struct {
	pthread_mutex_t lock;
	struct served *served;
	bool writable;
	unsigned handles; /* clients connected */
	unsigned writers; /* among them */
} disk = {.lock = PTHREAD_MUTEX_INITIALIZER};

struct handle {
	struct served *served;
	bool writer;
};

/* --------------------------------------------------------------- errors -- */

static int complain(const struct vhd_err *err)
{
	const char *advice = cli_advice(err);
	struct vhd_err said = *err;

	cli_strip_path(&said, config.path);
	cli_text_clean(said.text);
	nbdkit_error("%s: %s%s%s", config.path, said.text,
		     *advice ? ": " : "", advice);
	nbdkit_set_error(-err->code);
	return -1;
}

/* -------------------------------------------------------- configuration -- */

static int format_set(const char *word)
{
	static const struct {
		const char *word;
		enum vhd_format format;
	} formats[] = {
		{"auto", VHD_FORMAT_AUTO},
		{"raw", VHD_FORMAT_RAW},
		{"fixed", VHD_FORMAT_FIXED},
		{"dynamic", VHD_FORMAT_DYNAMIC},
		{"differencing", VHD_FORMAT_DIFF},
	};

	for (size_t i = 0; i < sizeof(formats) / sizeof(formats[0]); i++)
		if (!strcmp(formats[i].word, word)) {
			config.opts.format = formats[i].format;
			return 0;
		}
	nbdkit_error("format=%s: not one of auto, raw, fixed, dynamic, "
		     "differencing",
		     word);
	return -1;
}

static int path_set(char **to, const char *path)
{
	free(*to);
	*to = nbdkit_realpath(path);
	return *to ? 0 : -1;
}

static int flag_set(bool *to, const char *word)
{
	int yes = nbdkit_parse_bool(word);

	*to = yes > 0;
	return yes < 0 ? -1 : 0;
}

static int plugin_config(const char *key, const char *value)
{
	if (!strcmp(key, "file"))
		return path_set(&config.path, value);
	if (!strcmp(key, "parent-dir"))
		return path_set(&config.parent_dir, value);
	if (!strcmp(key, "format"))
		return format_set(value);
	if (!strcmp(key, "direct"))
		return flag_set(&config.opts.direct, value);
	if (!strcmp(key, "larger-child"))
		return flag_set(&config.opts.larger_child, value);
	nbdkit_error("%s: no such parameter", key);
	return -1;
}

static int plugin_config_complete(void)
{
	if (!config.path) {
		nbdkit_error("which image? say file=FILE");
		return -1;
	}
	if (!config.parent_dir)
		config.parent_dir = cli_parent_dir(config.path);
	config.opts.parent_dir = config.parent_dir;
	return 0;
}

/* ------------------------------------------------------------ the image -- */

static int disk_open(bool writable)
{
	struct vhd_open_opts opts = config.opts;
	struct vhd_err err = {0};

	opts.writable = writable;
	if (served_open(config.path, &opts, &disk.served, &err))
		return complain(&err);
	disk.writable = writable;
	return 0;
}

static int disk_close(void)
{
	struct served *s = disk.served;
	struct vhd_err err = {0};

	disk.served = NULL;
	return served_close(s, &err) ? complain(&err) : 0;
}

static int plugin_get_ready(void)
{
	signal(SIGXFSZ, SIG_IGN); /* the file size limit becomes EFBIG */
	return disk_open(false);
}

/* For writing it is opened anew, which readers would not survive. Should that
 * fail, it is there for readers again.
 */
static int disk_upgrade(void)
{
	if (disk.handles) {
		nbdkit_error("%s: a client reads it, so it cannot be opened "
			     "for writing",
			     config.path);
		return -1;
	}
	if (disk_close())
		return -1;
	if (!disk_open(true))
		return 0;
	(void)disk_open(false);
	return -1;
}

static void *handle_open(bool writer)
{
	struct handle *h;

	if (!disk.served && disk_open(false))
		return NULL;
	if (writer && !disk.writable && disk_upgrade())
		return NULL;
	h = malloc(sizeof(*h));
	if (!h) {
		nbdkit_error("out of memory");
		return NULL;
	}
	*h = (struct handle){.served = disk.served, .writer = writer};
	disk.handles++;
	disk.writers += writer;
	return h;
}

static void *plugin_open(int readonly)
{
	void *h;

	pthread_mutex_lock(&disk.lock);
	h = handle_open(!readonly);
	pthread_mutex_unlock(&disk.lock);
	return h;
}

/* Clients need not flush before they go. With the last of them everything
 * becomes durable, so that an end of nbdkit in between costs nothing.
 */
static void plugin_close(void *handle)
{
	struct handle *h = handle;
	struct vhd_err err = {0};

	pthread_mutex_lock(&disk.lock);
	disk.handles--;
	disk.writers -= h->writer;
	if (h->writer && !disk.writers && served_flush(h->served, &err))
		(void)complain(&err);
	pthread_mutex_unlock(&disk.lock);
	free(h);
}

static void plugin_cleanup(void)
{
	(void)disk_close();
}

static void plugin_unload(void)
{
	free(config.path);
	free(config.parent_dir);
}

/* ---------------------------------------------------------------- facts -- */

static int64_t plugin_get_size(void *handle)
{
	struct handle *h = handle;

	return (int64_t)vhd_get_info(served_image(h->served))->size_bytes;
}

static int plugin_can_write(void *handle)
{
	struct handle *h = handle;

	return h->writer;
}

/* A flush covers what any client's completed requests wrote, and nothing is
 * kept per client.
 */
static int plugin_can_multi_conn(void *handle)
{
	(void)handle;
	return 1;
}

static int plugin_can_fua(void *handle)
{
	(void)handle;
	return NBDKIT_FUA_NATIVE;
}

static int plugin_can_fast_zero(void *handle)
{
	(void)handle;
	return 1;
}

static int plugin_block_size(void *handle, uint32_t *minimum,
			     uint32_t *preferred, uint32_t *maximum)
{
	(void)handle;
	*minimum = VHD_SECTOR_BYTES;
	*preferred = 4096;
	*maximum = 0xffffffffu;
	return 0;
}

static const char *plugin_export_description(void *handle)
{
	struct handle *h = handle;
	const struct vhd_info *info = vhd_get_info(served_image(h->served));
	char text[64];

	snprintf(text, sizeof(text), "%s%s, %u layer%s",
		 vhd_format_name(info->format),
		 info->format == VHD_FORMAT_RAW ? "" : " VHD",
		 info->layers, info->layers == 1 ? "" : "s");
	return nbdkit_strdup_intern(text);
}

/* ------------------------------------------------------------- requests -- */

static int plugin_pread(void *handle, void *buf, uint32_t count,
			uint64_t offset, uint32_t flags)
{
	struct handle *h = handle;
	struct vhd_err err = {0};

	(void)flags;
	if (served_read(h->served, buf, count, offset, &err))
		return complain(&err);
	return 0;
}

static int plugin_pwrite(void *handle, const void *buf, uint32_t count,
			 uint64_t offset, uint32_t flags)
{
	uint32_t fua = flags & NBDKIT_FLAG_FUA ? VHD_REQ_FUA : 0;
	struct handle *h = handle;
	struct vhd_err err = {0};

	if (served_write(h->served, buf, count, offset, fua, &err))
		return complain(&err);
	return 0;
}

static int plugin_flush(void *handle, uint32_t flags)
{
	struct handle *h = handle;
	struct vhd_err err = {0};

	(void)flags;
	return served_flush(h->served, &err) ? complain(&err) : 0;
}

static int release(struct handle *h, uint32_t count, uint64_t offset,
		   uint32_t how, uint32_t flags)
{
	struct vhd_err err = {0};
	int rc = served_zero(h->served, count, offset, how, &err);

	if (rc == -EOPNOTSUPP) {
		nbdkit_set_error(EOPNOTSUPP);
		return -1;
	}
	if (rc)
		return complain(&err);
	return flags & NBDKIT_FLAG_FUA ? plugin_flush(h, 0) : 0;
}

static int plugin_trim(void *handle, uint32_t count, uint64_t offset,
		       uint32_t flags)
{
	return release(handle, count, offset, SERVED_WISH, flags);
}

/* Who wants zeros that have their space gets them written, by nbdkit. */
static int plugin_zero(void *handle, uint32_t count, uint64_t offset,
		       uint32_t flags)
{
	uint32_t fast = flags & NBDKIT_FLAG_FAST_ZERO ? SERVED_FAST : 0;

	if (!(flags & NBDKIT_FLAG_MAY_TRIM)) {
		nbdkit_set_error(EOPNOTSUPP);
		return -1;
	}
	return release(handle, count, offset, fast, flags);
}

static uint32_t extent_type(const struct extent *x)
{
	switch (x->kind) {
	case EXTENT_HOLE:
		return NBDKIT_EXTENT_HOLE | NBDKIT_EXTENT_ZERO;
	case EXTENT_ZERO:
		return NBDKIT_EXTENT_ZERO;
	case EXTENT_DATA:
	case EXTENT_PARENT:
		break;
	}
	return 0;
}

static int plugin_extents(void *handle, uint32_t count, uint64_t offset,
			  uint32_t flags, struct nbdkit_extents *extents)
{
	const uint64_t mask = VHD_SECTOR_BYTES - 1;
	struct handle *h = handle;
	uint64_t at = offset & ~mask;
	struct vhd_err err = {0};
	struct extents x;
	struct extent e;

	extents_init(&x, served_image(h->served));
	x.host_holes = true;
	/* No further than asked for: a table can be long. */
	x.size_bytes = (offset + count + mask) & ~mask;
	for (unsigned n = 0; at < x.size_bytes && n < EXTENTS_MAX; n++) {
		if (extents_at(&x, at, &e, &err))
			return complain(&err);
		if (nbdkit_add_extent(extents, at, e.len_bytes,
				      extent_type(&e)))
			return -1;
		at += e.len_bytes;
		if (flags & NBDKIT_FLAG_REQ_ONE && at > offset)
			break;
	}
	return 0;
}

/* ------------------------------------------------------------- the table -- */

static struct nbdkit_plugin plugin = {
	.name = "vhd",
	.longname = "Virtual Hard Disk images",
	.version = CLI_VERSION,
	.description = "Serves fixed, dynamic and differencing VHD images, "
		       "and raw ones.",
	.config_help =
		"file=FILE           (required) The image.\n"
		"format=FORMAT       auto (the default), raw, fixed, dynamic "
		"or differencing.\n"
		"parent-dir=DIR      Look for parents in and below DIR; the "
		"default is FILE's\n"
		"                    own directory.\n"
		"larger-child=BOOL   Let FILE be larger than its parent.\n"
		"direct=BOOL         Go around the page cache.",
	.magic_config_key = "file",
	.unload = plugin_unload,
	.config = plugin_config,
	.config_complete = plugin_config_complete,
	.get_ready = plugin_get_ready,
	.cleanup = plugin_cleanup,
	.open = plugin_open,
	.close = plugin_close,
	.get_size = plugin_get_size,
	.export_description = plugin_export_description,
	.block_size = plugin_block_size,
	.can_write = plugin_can_write,
	.can_multi_conn = plugin_can_multi_conn,
	.can_fua = plugin_can_fua,
	.can_fast_zero = plugin_can_fast_zero,
	.pread = plugin_pread,
	.pwrite = plugin_pwrite,
	.flush = plugin_flush,
	.trim = plugin_trim,
	.zero = plugin_zero,
	.extents = plugin_extents,
	.errno_is_preserved = 0,
};

/* What nbdkit looks up by name. */
struct nbdkit_plugin *plugin_init(void);

NBDKIT_REGISTER_PLUGIN(plugin)

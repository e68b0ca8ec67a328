/* SPDX-License-Identifier: BSD-2-Clause */
/* What the emulated machine is made of in which hv runs where there is no KVM:
 * a kernel and its modules, shared directories, an archive.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>

#include "tools/hv/nested.h"

/* -------------------------------------------------------------- kernel -- */

static char root[] = "/tmp/tools_hv.XXXXXX";

static char *in_root(const char *name)
{
	static char path[4][HV_PATH_MAX];
	static unsigned n;
	char *p = path[n++ % 4];

	snprintf(p, HV_PATH_MAX, "%s/%s", root, name);
	return p;
}

static void put_file(const char *name, const char *text)
{
	FILE *f = fopen(in_root(name), "w");

	assert_non_null(f);
	fputs(text, f);
	assert_int_equal(fclose(f), 0);
}

static void put_kernel(const char *version, const char *dep,
		       const char *builtin)
{
	char name[128];

	snprintf(name, sizeof(name), "boot/vmlinuz-%s", version);
	put_file(name, "kernel");
	snprintf(name, sizeof(name), "modules/%s", version);
	assert_int_equal(mkdir(in_root(name), 0755), 0);
	snprintf(name, sizeof(name), "modules/%s/modules.dep", version);
	put_file(name, dep);
	snprintf(name, sizeof(name), "modules/%s/modules.builtin", version);
	put_file(name, builtin);
}

static const char dep_all[] =
	"k/ccp.ko:\n"
	"k/kvm-amd.ko: k/ccp.ko k/kvm.ko k/irqbypass.ko\n"
	"k/not-virtio_pci.ko:\n"
	"v/virtio_pci.ko: v/virtio.ko v/virtio_ring.ko\n"
	"v/virtio_console.ko.xz: v/virtio.ko v/virtio_ring.ko\n"
	"n/9pnet_virtio.ko: n/9pnet.ko v/virtio.ko v/virtio_ring.ko\n"
	"n/9p.ko: n/9pnet.ko n/netfs.ko\n"
	"n/9pnet.ko:\n";

static int make_root(void **state)
{
	(void)state;
	if (!mkdtemp(root) || mkdir(in_root("boot"), 0755) < 0 ||
	    mkdir(in_root("modules"), 0755) < 0)
		return -1;
	return 0;
}

static int remove_root(void **state)
{
	(void)state;
	char command[HV_PATH_MAX + 16];

	snprintf(command, sizeof(command), "rm -rf %s", root);
	return system(command);
}

static int find(struct hv_l1_kernel *k, struct vhd_err *err)
{
	return hv_l1_kernel_find(in_root("boot"), in_root("modules"), k, err);
}

static void a_kernel_without_the_modules_is_none(void **state)
{
	(void)state;
	struct hv_l1_kernel k;
	struct vhd_err err;

	assert_int_equal(find(&k, &err), -ENOENT);
	assert_non_null(strstr(err.text, "linux-image-amd64"));
	/* Debian's cloud kernel: no 9p. */
	put_kernel("9.9-cloud", "k/kvm-amd.ko:\nv/virtio_pci.ko:\n", "");
	assert_int_equal(find(&k, &err), -ENOENT);
	assert_int_equal(hv_l1_kernel_find("/nonexistent", "/nonexistent", &k,
					   &err),
			 -ENOENT);
}

static void the_newest_kernel_with_all_modules_is_taken(void **state)
{
	(void)state;
	struct hv_l1_kernel k;

	put_kernel("6.1.0-9", dep_all, "");
	put_kernel("6.1.0-10", dep_all, "");
	put_kernel("6.12.0-1", dep_all, "");
	/* its image is gone */
	assert_int_equal(unlink(in_root("boot/vmlinuz-6.12.0-1")), 0);
	assert_int_equal(find(&k, NULL), 0);
	assert_string_equal(k.version, "6.1.0-10");
	assert_string_equal(k.image, in_root("boot/vmlinuz-6.1.0-10"));
	hv_l1_kernel_free(&k);
}

static void modules_come_after_what_they_need_and_once(void **state)
{
	(void)state;
	static const char *const kvm[] = {"k/irqbypass.ko", "k/kvm.ko",
					  "k/ccp.ko", "k/kvm-amd.ko"};
	static const char *const devices[] = {
		"v/virtio_ring.ko",   "v/virtio.ko",
		"v/virtio_pci.ko",    "v/virtio_console.ko.xz",
		"n/9pnet.ko",	      "n/9pnet_virtio.ko",
		"n/netfs.ko",	      "n/9p.ko"};
	struct hv_l1_kernel k;
	char name[128];

	assert_int_equal(find(&k, NULL), 0);
	assert_int_equal(k.kvm_count, 4);
	assert_int_equal(k.device_count, 8);
	for (unsigned i = 0; i < 4; i++) {
		snprintf(name, sizeof(name), "modules/6.1.0-10/%s", kvm[i]);
		assert_string_equal(k.kvm[i], in_root(name));
	}
	for (unsigned i = 0; i < 8; i++) {
		snprintf(name, sizeof(name), "modules/6.1.0-10/%s",
			 devices[i]);
		assert_string_equal(k.devices[i], in_root(name));
	}
	hv_l1_kernel_free(&k);
}

static void what_is_built_in_need_not_be_loaded(void **state)
{
	(void)state;
	struct hv_l1_kernel k;

	put_kernel("7.0", "k/kvm-amd.ko:\nn/9p.ko:\nn/9pnet_virtio.ko:\n",
		   "v/virtio_pci.ko\nv/virtio_console.ko\n");
	assert_int_equal(find(&k, NULL), 0);
	assert_string_equal(k.version, "7.0");
	assert_int_equal(k.device_count, 2);
	hv_l1_kernel_free(&k);
}

/* -------------------------------------------------------------- shares -- */

static void files_of_one_directory_share_it(void **state)
{
	(void)state;
	struct hv_shares *s = calloc(1, sizeof(*s));
	char inner[HV_PATH_MAX], tag[8];

	assert_non_null(s);
	put_file("a,b", "");
	put_file("c", "");
	assert_int_equal(hv_shares_add(s, in_root("a,b"), true, inner, NULL),
			 0);
	assert_string_equal(inner, "/w0/a,b");
	assert_int_equal(hv_shares_add(s, in_root("c"), false, inner, NULL),
			 0);
	assert_string_equal(inner, "/w0/c");
	assert_int_equal(hv_shares_add(s, "/etc/hostname", false, inner, NULL),
			 0);
	assert_string_equal(inner, "/r1/hostname");
	assert_int_equal(hv_shares_add(s, "/etc/passwd", true, inner, NULL),
			 0);
	assert_string_equal(inner, "/w2/passwd");
	hv_share_tag(s, 2, tag);
	assert_string_equal(tag, "w2");
	assert_int_equal(hv_shares_add(s, "/nonexistent", false, inner, NULL),
			 -ENOENT);
	free(s);
}

static void a_link_is_shared_where_it_leads(void **state)
{
	(void)state;
	struct hv_shares *s = calloc(1, sizeof(*s));
	char inner[HV_PATH_MAX];

	assert_non_null(s);
	assert_int_equal(symlink("/etc/passwd", in_root("link")), 0);
	assert_int_equal(hv_shares_add(s, in_root("link"), false, inner, NULL),
			 0);
	assert_string_equal(inner, "/r0/passwd");
	assert_string_equal(s->share[0].dir, "/etc");
	free(s);
}

/* -------------------------------------------------------------- disks -- */

/* Nothing is attached here. */
int storvsp_disk_add(struct storvsp *vsp, const struct storvsp_disk_opts *opts,
		     struct vhd *img, struct vhd_err *err)
{
	(void)vsp;
	(void)opts;
	(void)img;
	(void)err;
	return 0;
}

static void put_disk(const char *name, const char *parent, uint8_t id)
{
	char path[HV_PATH_MAX], parent_path[HV_PATH_MAX];
	struct vhd_create_opts o = {
		.format = parent ? VHD_FORMAT_DIFF : VHD_FORMAT_DYNAMIC,
		.size_bytes = 1 << 20,
		.unique_id = {id},
	};
	struct vhd *img;

	snprintf(path, sizeof(path), "%s", in_root(name));
	if (parent) {
		snprintf(parent_path, sizeof(parent_path), "%s",
			 in_root(parent));
		o.parent_path = parent_path;
		o.parent_dir = in_root("");
	}
	assert_int_equal(vhd_create(path, &o, &img, NULL), 0);
	assert_int_equal(vhd_close(img, NULL), 0);
}

/* Open to the guest for writing in the child only, and out of reach of others
 * for as long as it runs; what the machine inside is given holds them all.
 */
static void a_childs_parents_come_along_locked(void **state)
{
	(void)state;
	const struct vhd_open_opts rw = {.writable = true};
	struct hv_shares *s = calloc(1, sizeof(*s));
	char inner[HV_PATH_MAX], child[HV_PATH_MAX], deep[HV_PATH_MAX];
	struct hv_args a = {.disk_count = 1};
	struct hv_disks disks;
	struct vhd_layer layer;
	struct vhd *img;
	struct vhd_err err;

	assert_non_null(s);
	assert_int_equal(mkdir(in_root("deep"), 0755), 0);
	put_disk("deep/base.vhd", NULL, 1);
	put_disk("mid.vhd", "deep/base.vhd", 2);
	put_disk("child.vhd", "mid.vhd", 3);
	snprintf(child, sizeof(child), "%s", in_root("child.vhd"));
	snprintf(deep, sizeof(deep), "%s", in_root("deep/base.vhd"));
	a.disks[0].path = child;
	assert_int_equal(hv_disks_open(&disks, &a), CLI_OK);
	assert_int_equal(vhd_get_info(disks.img[0])->layers, 3);
	assert_int_equal(vhd_write(disks.img[0], 0, inner, 512, &err), 0);
	assert_int_equal(vhd_open(deep, &rw, &img, &err), -EBUSY);
	assert_int_equal(hv_shares_add(s, child, true, inner, &err), 0);
	assert_string_equal(inner, "/w0/child.vhd");
	for (unsigned i = 0; i < 3; i++) {
		size_t n = strlen(s->share[0].dir);

		assert_int_equal(vhd_layer(disks.img[0], i, &layer), 0);
		assert_memory_equal(layer.path, s->share[0].dir, n);
		assert_int_equal(layer.path[n], '/');
	}
	assert_int_equal(hv_disks_close(&disks), CLI_OK);
	assert_int_equal(vhd_open(deep, &rw, &img, &err), 0);
	vhd_abandon(img);
	free(s);
}

static void there_are_24_shares_and_no_more(void **state)
{
	(void)state;
	struct hv_shares *s = calloc(1, sizeof(*s));
	char inner[HV_PATH_MAX], name[64];
	struct vhd_err err;

	assert_non_null(s);
	for (int i = 0; i <= HV_SHARES_MAX; i++) {
		snprintf(name, sizeof(name), "d%d", i);
		assert_int_equal(mkdir(in_root(name), 0755), 0);
		snprintf(name, sizeof(name), "d%d/file", i);
		put_file(name, "");
		assert_int_equal(hv_shares_add(s, in_root(name), false, inner,
					       &err),
				 i < HV_SHARES_MAX ? 0 : -ENOSPC);
	}
	free(s);
}

/* ---------------------------------------------------------------- cpio -- */

static uint32_t field(const char *header, unsigned n)
{
	char hex[9] = {0};

	memcpy(hex, header + 6 + 8 * n, 8);
	return (uint32_t)strtoul(hex, NULL, 16);
}

static void an_archive_reads_back(void **state)
{
	(void)state;
	static const struct {
		const char *name;
		uint32_t mode;
		const char *data;
	} want[] = {
		{"dev", S_IFDIR | 0755, ""},
		{"init", S_IFREG | 0755, "12345"},
		{"lib", S_IFDIR | 0755, ""},
		{"lib/deep", S_IFDIR | 0755, ""},
		{"lib/deep/file", S_IFREG | 0644, "contents"},
		{"TRAILER!!!", S_IFREG, ""},
	};
	struct hv_cpio c = {.fd = memfd_create("test", MFD_CLOEXEC)};
	static char buf[8192];
	size_t at = 0;
	ssize_t len;

	put_file("contents", "contents");
	hv_cpio_dir(&c, "dev");
	hv_cpio_data(&c, "init", 0755, "12345", 5);
	hv_cpio_file(&c, "lib/deep/file", 0644, in_root("contents"));
	hv_cpio_end(&c);
	assert_int_equal(c.err.code, 0);
	len = pread(c.fd, buf, sizeof(buf), 0);
	assert_int_equal(len, c.bytes);
	for (size_t i = 0; i < sizeof(want) / sizeof(want[0]); i++) {
		const char *h = buf + at;

		assert_memory_equal(h, "070701", 6);
		assert_int_equal(field(h, 0), i + 1); /* its own inode */
		assert_string_equal(h + 110, want[i].name);
		assert_int_equal(field(h, 11), strlen(want[i].name) + 1);
		assert_int_equal(field(h, 6), strlen(want[i].data));
		if (i < 5)
			assert_int_equal(field(h, 1), want[i].mode);
		at = (at + 110 + field(h, 11) + 3) & ~(size_t)3;
		assert_memory_equal(buf + at, want[i].data, field(h, 6));
		at = (at + field(h, 6) + 3) & ~(size_t)3;
	}
	assert_int_equal(at, len);
	close(c.fd);
}

static void a_file_that_is_none_fails_the_archive(void **state)
{
	(void)state;
	static const char *const bad[] = {"/nonexistent", "/", "/dev/null"};

	for (unsigned i = 0; i < 3; i++) {
		struct hv_cpio c = {.fd = memfd_create("test", MFD_CLOEXEC)};

		hv_cpio_file(&c, "x", 0644, bad[i]);
		assert_true(c.err.code < 0);
		assert_non_null(strstr(c.err.text, bad[i]));
		close(c.fd);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_kernel_without_the_modules_is_none),
		cmocka_unit_test(the_newest_kernel_with_all_modules_is_taken),
		cmocka_unit_test(modules_come_after_what_they_need_and_once),
		cmocka_unit_test(what_is_built_in_need_not_be_loaded),
		cmocka_unit_test(files_of_one_directory_share_it),
		cmocka_unit_test(a_link_is_shared_where_it_leads),
		cmocka_unit_test(a_childs_parents_come_along_locked),
		cmocka_unit_test(there_are_24_shares_and_no_more),
		cmocka_unit_test(an_archive_reads_back),
		cmocka_unit_test(a_file_that_is_none_fails_the_archive),
	};

	return cmocka_run_group_tests(tests, make_root, remove_root);
}

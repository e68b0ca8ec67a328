/* SPDX-License-Identifier: BSD-2-Clause */
/* --accel: what an emulated machine cannot give is refused with one line and a
 * status, and a name that is taken with those of a run on KVM.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/lib/cm.h"
#include "tools/hv/ctl.h"

static bool has_kvm;

bool hv_available(struct vhd_err *err)
{
	if (!has_kvm)
		(void)vhd_fail(err, -ENODEV, VHD_WHY_SYSTEM, 0, "no KVM here");
	return has_kvm;
}

bool hv_present(struct vhd_err *err)
{
	return hv_available(err);
}

static char said[512];

/* Its status; what it says, into `said`. */
static int choose(const struct hv_args *args, bool *kvm)
{
	char path[] = "/tmp/vhdaccel.XXXXXX";
	int fd = mkstemp(path), saved = dup(2), status;
	ssize_t n;

	assert_true(fd >= 0 && saved >= 0);
	(void)unlink(path);
	dup2(fd, 2);
	status = hv_accel_choose(args, kvm);
	dup2(saved, 2);
	close(saved);
	n = pread(fd, said, sizeof(said) - 1, 0);
	said[n > 0 ? n : 0] = '\0';
	close(fd);
	return status;
}

static void refused(struct hv_args *args, const char *line)
{
	bool kvm = true;

	args->accel = HV_ACCEL_TCG;
	assert_int_equal(choose(args, &kvm), CLI_REFUSED);
	assert_non_null(strstr(said, line));
	assert_ptr_equal(strchr(said, '\n'), said + strlen(said) - 1);
	/* the same where nobody asked for it, and why it is so */
	args->accel = HV_ACCEL_AUTO;
	has_kvm = false;
	assert_int_equal(choose(args, &kvm), CLI_REFUSED);
	assert_non_null(strstr(said, line));
	assert_non_null(strstr(said, "no KVM here"));
	assert_ptr_equal(strchr(said, '\n'), said + strlen(said) - 1);
	/* and nothing of it on KVM */
	has_kvm = true;
	assert_int_equal(choose(args, &kvm), CLI_OK);
	assert_true(kvm);
	assert_string_equal(said, "");
}

static void what_an_emulated_machine_lacks_is_one_line(void **state)
{
	static struct hv_args nbd, parent, name;

	(void)state;
	setenv("XDG_RUNTIME_DIR", "/nowhere", 1);
	nbd.disk_count = parent.disk_count = 1;
	nbd.disks[0].path = (char *)(uintptr_t)"nbd://host/a\nb";
	refused(&nbd, "hv: --disk nbd://host/a?b: an emulated machine reaches "
		      "no NBD server; it needs --accel kvm");
	parent.disks[0].path = (char *)(uintptr_t)"a.vhd";
	parent.disks[0].parent = "b.vhd";
	refused(&parent, "hv: --disk a.vhd: an emulated machine looks for "
			 "parents itself");
	name.name = "vm";
	refused(&name, "hv: --name vm: nobody reaches");
}

static void a_plain_guest_runs_where_it_can(void **state)
{
	static struct hv_args args;
	bool kvm = true;

	(void)state;
	has_kvm = false;
	assert_int_equal(choose(&args, &kvm), CLI_OK);
	assert_false(kvm);
	assert_string_equal(said, "hv: no KVM here: the guest runs in an "
				  "emulated machine (QEMU), slowly\n");
	args.accel = HV_ACCEL_TCG;
	assert_int_equal(choose(&args, &kvm), CLI_OK);
	assert_string_equal(said, "");
	args.accel = HV_ACCEL_KVM;
	assert_int_equal(choose(&args, &kvm), CLI_IO);
	assert_string_equal(said, "hv: --accel kvm: no KVM here\n");
}

/* What ctl_listen, and so a run on KVM, says of it. */
static void a_name_that_is_taken_is_what_it_is_on_kvm(void **state)
{
	static struct hv_args args = {.name = "vm", .accel = HV_ACCEL_TCG};
	char dir[] = "/tmp/vhdaccel.XXXXXX", path[64];
	struct ctl_place p;
	struct vhd_err err;
	int fd, other, status;
	bool kvm;

	(void)state;
	assert_non_null(mkdtemp(dir));
	setenv("XDG_RUNTIME_DIR", dir, 1);
	assert_int_equal(ctl_place_find("vm", true, &p, &err), 0);
	assert_int_equal(ctl_listen(&p, &fd, &err), 0);
	assert_int_equal(ctl_listen(&p, &other, &err), -EBUSY);
	status = cli_exit_code(&err);
	assert_int_equal(choose(&args, &kvm), status);
	assert_non_null(strstr(said, err.text));
	assert_ptr_equal(strchr(said, '\n'), said + strlen(said) - 1);
	close(fd);
	assert_int_equal(unlinkat(p.dir_fd, p.name, 0), 0);
	ctl_place_close(&p);
	snprintf(path, sizeof(path), "%s/hv", dir);
	assert_int_equal(rmdir(path), 0);
	assert_int_equal(rmdir(dir), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_an_emulated_machine_lacks_is_one_line),
		cmocka_unit_test(a_plain_guest_runs_where_it_can),
		cmocka_unit_test(a_name_that_is_taken_is_what_it_is_on_kvm),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: BSD-2-Clause */
/* hv with the KVM of tests/lib/fakekvm.h under it: what of a start is the
 * program's own, on a machine without virtualization. Its guest writes one byte
 * to the serial port, as that of first.c does, and switches itself off.
 */
#include "tests/lib/fakekvm.h"

int __real_main(int argc, char **argv);
int __wrap_main(int argc, char **argv);

static int say(struct kvm_run *run)
{
	run->exit_reason = KVM_EXIT_IO;
	run->io.direction = KVM_EXIT_IO_OUT;
	run->io.size = 1;
	run->io.count = 1;
	run->io.port = HV_PORT_COM1;
	run->io.data_offset = 4096;
	((uint8_t *)run)[4096] = '!';
	return 0;
}

int __wrap_main(int argc, char **argv)
{
	static const fake_step steps[] = {say, fake_off};

	fake_reset();
	fake.step = steps;
	return __real_main(argc, argv);
}

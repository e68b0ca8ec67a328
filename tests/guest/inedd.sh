# shellcheck shell=sh
# SPDX-License-Identifier: BSD-2-Clause
# What the small test guest does in the case "loaders": tells what the BIOS said
# of its disks, which a boot loader that starts a kernel in real mode has it ask
# for. It is /inmore.sh of the case's initramfs, which init.sh sources.

# Twice: with one disk, and after a restart with another one beside it.
test_edd()
{
	load
	load more
	wait_for /dev/sda
	for dev in /sys/firmware/edd/int13_dev8*; do
		say "edd ${dev##*dev} $(cat "$dev/sectors")"
	done
	[ ! -e /sys/firmware/edd/int13_dev81 ] || return
	was=$(cat /sys/block/sda/size)
	say 'ready for more'
	n=0
	until [ -e /sys/block/sdb ] &&
		[ "$(cat /sys/block/sda/size)" != "$was" ] ||
		[ $n -gt 300 ]; do
		usleep 100000
		n=$((n + 1))
	done
	reboot -f
}
